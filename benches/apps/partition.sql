-- A window for each key.
CREATE STREAM Trades (ts TIMESTAMP, symbol STRING, side STRING, price DOUBLE, volume LONG, account LONG, WATERMARK FOR ts AS ts)
WITH (type = 'source', extension = 'file', path = '${DATA:.}/trades-${KEYS:10000}.${FORMAT:json}', format = '${FORMAT:json}');

PARTITION WITH (symbol OF Trades) BEGIN
  INSERT INTO Out SELECT symbol, avg(price) AS a FROM Trades WINDOW('length', 10);
END;
