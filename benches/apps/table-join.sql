-- A table that one half of the stream writes and the other half looks up.
CREATE STREAM Trades (ts TIMESTAMP, symbol STRING, side STRING, price DOUBLE, volume LONG, account LONG, WATERMARK FOR ts AS ts)
WITH (type = 'source', extension = 'file', path = '${DATA:.}/trades-${KEYS:10000}.${FORMAT:json}', format = '${FORMAT:json}');

CREATE TABLE Last (symbol STRING PRIMARY KEY, price DOUBLE);
UPSERT INTO Last SELECT symbol, price FROM Trades WHERE side = 'B';
INSERT INTO Out SELECT t.symbol, t.price - l.price AS difference FROM Trades AS t JOIN Last AS l ON t.symbol = l.symbol WHERE t.side = 'S';
