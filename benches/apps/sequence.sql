-- A strict sequence of rising prices by key.
CREATE STREAM Trades (ts TIMESTAMP, symbol STRING, side STRING, price DOUBLE, volume LONG, account LONG, WATERMARK FOR ts AS ts)
WITH (type = 'source', extension = 'file', path = '${DATA:.}/trades-${KEYS:100}.${FORMAT:json}', format = '${FORMAT:json}');

INSERT INTO Out
SELECT a.symbol, c.price AS price
FROM SEQUENCE (EVERY a=Trades, b=Trades[price > a.price], c=Trades[price > b.price]) PARTITION BY symbol;
