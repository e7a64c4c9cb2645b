-- A tumbling window by two columns.
CREATE STREAM Trades (ts TIMESTAMP, symbol STRING, side STRING, price DOUBLE, volume LONG, account LONG, WATERMARK FOR ts AS ts)
WITH (type = 'source', extension = 'file', path = '${DATA:.}/trades-${KEYS:100}.${FORMAT:json}', format = '${FORMAT:json}');

INSERT INTO Out
SELECT symbol, side, count(*) AS n, sum(volume) AS v FROM Trades WINDOW('tumbling', ${WINDOW:10} SECONDS) GROUP BY symbol, side;
