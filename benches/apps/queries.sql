-- One of many queries over one stream. `workload queries` repeats the last statement so often, with another threshold each time.
CREATE STREAM Trades (ts TIMESTAMP, symbol STRING, side STRING, price DOUBLE, volume LONG, account LONG, WATERMARK FOR ts AS ts)
WITH (type = 'source', extension = 'file', path = '${DATA:.}/trades-${KEYS:100}.${FORMAT:json}', format = '${FORMAT:json}');

INSERT INTO Out
SELECT symbol, sum(price) AS s FROM Trades WINDOW('tumbling', 10 SECONDS) WHERE volume = ${N:0} GROUP BY symbol;
