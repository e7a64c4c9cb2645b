-- The least and the greatest of a sliding window.
CREATE STREAM Trades (ts TIMESTAMP, symbol STRING, side STRING, price DOUBLE, volume LONG, account LONG, WATERMARK FOR ts AS ts)
WITH (type = 'source', extension = 'file', path = '${DATA:.}/trades-${KEYS:100}.${FORMAT:json}', format = '${FORMAT:json}');

INSERT INTO Out
SELECT symbol, min(price) AS l, max(price) AS h FROM Trades WINDOW('time', ${WINDOW:10} SECONDS) GROUP BY symbol;
