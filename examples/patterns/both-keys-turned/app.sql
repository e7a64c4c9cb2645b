-- Both keys turned
-- Two people within five seconds, in either order.

CREATE STREAM Keys (person STRING, key INT, ts TIMESTAMP, WATERMARK FOR ts AS ts)
WITH (type = 'source', extension = 'file', format = 'csv', "file.path" = 'keys-32.csv');

SELECT a.person AS one, b.person AS two
FROM PATTERN (EVERY (a=Keys[key = 1] AND b=Keys[key = 2])) WITHIN 5 SECONDS;
