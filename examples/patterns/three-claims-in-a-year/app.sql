-- Three claims in a year
-- Counted by key, with a condition on the sum.

CREATE STREAM Claims (person STRING, amount DOUBLE, ts TIMESTAMP, WATERMARK FOR ts AS ts)
WITH (type = 'source', extension = 'file', format = 'csv', "file.path" = 'claims-41.csv');

SELECT c[0].person AS person, sum(c.amount) AS total
FROM PATTERN (EVERY c=Claims<3>) WITHIN 365 DAYS PARTITION BY person HAVING total > 1000;
