-- A V: down and up again
-- Falling trades, then rising ones past where it began.

CREATE STREAM Ticks (symbol STRING, price DOUBLE, ts TIMESTAMP, WATERMARK FOR ts AS ts)
WITH (type = 'source', extension = 'file', format = 'csv', "file.path" = 'ticks-11.csv');

SELECT high.price AS high, down[last].price AS bottom, up.price AS after
FROM SEQUENCE (EVERY high=Ticks, down=Ticks[price < coalesce(down[last].price, high.price)]+,
               rise=Ticks[price > coalesce(rise[last].price, down[last].price) AND price <= high.price]*,
               up=Ticks[price > high.price]);
