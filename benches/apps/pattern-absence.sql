-- Something that does not come.
CREATE STREAM Trades (ts TIMESTAMP, symbol STRING, side STRING, price DOUBLE, volume LONG, account LONG, WATERMARK FOR ts AS ts)
WITH (type = 'source', extension = 'file', path = '${DATA:.}/trades-${KEYS:10000}.${FORMAT:json}', format = '${FORMAT:json}');

INSERT INTO Out
SELECT a.symbol FROM PATTERN (EVERY a=Trades[price > 199] -> NOT Trades[symbol = a.symbol AND side = 'S'] FOR 1 SECOND);
