-- Two streams joined by key and an interval of time.
CREATE STREAM Trades (ts TIMESTAMP, symbol STRING, side STRING, price DOUBLE, volume LONG, account LONG, WATERMARK FOR ts AS ts)
WITH (type = 'source', extension = 'file', path = '${DATA:.}/trades-${KEYS:10000}.${FORMAT:json}', format = '${FORMAT:json}');

INSERT INTO Out
SELECT a.symbol, a.price AS bought, b.price AS sold
FROM Trades[side = 'B'] AS a JOIN Trades[side = 'S'] AS b ON a.symbol = b.symbol AND b.ts BETWEEN a.ts - 100 MILLISECONDS AND a.ts + 100 MILLISECONDS;
