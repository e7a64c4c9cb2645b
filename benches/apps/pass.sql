-- Every column of every row: the decoder and handing on.
CREATE STREAM Trades (ts TIMESTAMP, symbol STRING, side STRING, price DOUBLE, volume LONG, account LONG, WATERMARK FOR ts AS ts)
WITH (type = 'source', extension = 'file', path = '${DATA:.}/trades-${KEYS:100}.${FORMAT:json}', format = '${FORMAT:json}');

INSERT INTO Out
SELECT * FROM Trades;
