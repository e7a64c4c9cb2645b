-- A run of rises and the fall that ends it
-- How far it went, and after how many steps.

CREATE STREAM Ticks (symbol STRING, price DOUBLE, ts TIMESTAMP, WATERMARK FOR ts AS ts)
WITH (type = 'source', extension = 'file', format = 'csv', "file.path" = 'ticks-13.csv');

SELECT low.price AS low, up[last].price AS high, count(up) AS steps
FROM SEQUENCE (EVERY low=Ticks, up=Ticks[price > coalesce(up[last].price, low.price)]<2:>,
               down=Ticks[price < up[last].price]);
