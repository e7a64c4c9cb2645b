-- Two windows of a stream joined by key.
CREATE STREAM Trades (ts TIMESTAMP, symbol STRING, side STRING, price DOUBLE, volume LONG, account LONG, WATERMARK FOR ts AS ts)
WITH (type = 'source', extension = 'file', path = '${DATA:.}/trades-${KEYS:10000}.${FORMAT:json}', format = '${FORMAT:json}');

INSERT INTO Out
SELECT a.symbol, a.price AS bought, b.price AS sold
FROM Trades[side = 'B'] WINDOW('length', 1000) AS a JOIN Trades[side = 'S'] WINDOW('length', 1000) AS b ON a.symbol = b.symbol;
