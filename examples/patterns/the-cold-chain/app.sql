-- The cold chain
-- Above eight degrees for at least three readings between loading and delivery.

CREATE STREAM Box (box STRING, what STRING, c DOUBLE, ts TIMESTAMP, WATERMARK FOR ts AS ts)
WITH (type = 'source', extension = 'file', format = 'csv', "file.path" = 'box-31.csv');

SELECT l.box AS box, count(warm) AS warm, max(warm.c) AS peak
FROM PATTERN (EVERY (l=Box[what = 'load'] -> warm=Box[what = 'read' AND c > 8]<3:> -> d=Box[what = 'deliver'])) PARTITION BY box;
