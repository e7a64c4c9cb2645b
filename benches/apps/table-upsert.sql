-- A table of the last row of each key.
CREATE STREAM Trades (ts TIMESTAMP, symbol STRING, side STRING, price DOUBLE, volume LONG, account LONG, WATERMARK FOR ts AS ts)
WITH (type = 'source', extension = 'file', path = '${DATA:.}/trades-${KEYS:10000}.${FORMAT:json}', format = '${FORMAT:json}');

CREATE TABLE Last (symbol STRING PRIMARY KEY, price DOUBLE, volume LONG);
UPSERT INTO Last SELECT symbol, price, volume FROM Trades;
