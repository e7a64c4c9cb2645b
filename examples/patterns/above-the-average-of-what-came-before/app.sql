-- Above the average of what came before
-- The aggregate is over the events collected so far.

CREATE STREAM Ticks (symbol STRING, price DOUBLE, ts TIMESTAMP, WATERMARK FOR ts AS ts)
WITH (type = 'source', extension = 'file', format = 'csv', "file.path" = 'ticks-14.csv');

SELECT avg(base.price) AS base, jump.price AS jump
FROM PATTERN (EVERY (base=Ticks[price < 20]<3:10> -> jump=Ticks[price > 2 * avg(base.price)])) WITHIN 1 MINUTE;
