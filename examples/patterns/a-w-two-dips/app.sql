-- A W: two dips
-- Down, up, down again but not lower, up again.

CREATE STREAM Ticks (symbol STRING, price DOUBLE, ts TIMESTAMP, WATERMARK FOR ts AS ts)
WITH (type = 'source', extension = 'file', format = 'csv', "file.path" = 'ticks-12.csv');

SELECT a.price AS a, b.price AS b, c.price AS c, d.price AS d, e.price AS e
FROM SEQUENCE (EVERY a=Ticks, b=Ticks[price < a.price], c=Ticks[price > b.price AND price < a.price],
               d=Ticks[price < c.price AND price >= b.price], e=Ticks[price > c.price]);
