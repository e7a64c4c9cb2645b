-- A spike
-- One trade far above the one before it.

CREATE STREAM Ticks (symbol STRING, price DOUBLE, ts TIMESTAMP, WATERMARK FOR ts AS ts)
WITH (type = 'source', extension = 'file', format = 'csv', "file.path" = 'ticks-10.csv');

SELECT a.symbol AS symbol, a.price AS was, b.price AS now
FROM SEQUENCE (EVERY a=Ticks, b=Ticks[price > 1.1 * a.price]) PARTITION BY symbol;
