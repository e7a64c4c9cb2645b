-- A sliding window of events: a row for each event.
CREATE STREAM Trades (ts TIMESTAMP, symbol STRING, side STRING, price DOUBLE, volume LONG, account LONG, WATERMARK FOR ts AS ts)
WITH (type = 'source', extension = 'file', path = '${DATA:.}/trades-${KEYS:100}.${FORMAT:json}', format = '${FORMAT:json}');

INSERT INTO Out
SELECT symbol, avg(price) AS a, sum(price) AS s FROM Trades WINDOW('length', ${LENGTH:1000}) GROUP BY symbol;
