-- Silence of a whole line
-- Every ten seconds in which nothing at all comes. The clock begins with the first event.

CREATE STREAM Beats (host STRING, load DOUBLE, ts TIMESTAMP, WATERMARK FOR ts AS ts)
WITH (type = 'source', extension = 'file', format = 'csv', "file.path" = 'beats-18.csv');

SELECT count(*) AS silences
FROM PATTERN (EVERY NOT Beats FOR 10 SECONDS);
