-- OVER a range of time.
CREATE STREAM Trades (ts TIMESTAMP, symbol STRING, side STRING, price DOUBLE, volume LONG, account LONG, WATERMARK FOR ts AS ts)
WITH (type = 'source', extension = 'file', path = '${DATA:.}/trades-${KEYS:100}.${FORMAT:json}', format = '${FORMAT:json}');

INSERT INTO Out
SELECT symbol, sum(price) OVER (PARTITION BY symbol ORDER BY ts RANGE BETWEEN INTERVAL '${WINDOW:10}' SECOND PRECEDING AND CURRENT ROW) AS s FROM Trades;
