-- Overheating in steps
-- Three readings of one sensor above the limit, one after the other.

CREATE STREAM Temps (sensor STRING, c DOUBLE, ts TIMESTAMP, WATERMARK FOR ts AS ts)
WITH (type = 'source', extension = 'file', format = 'csv', "file.path" = 'temps-20.csv');

SELECT hot[0].sensor AS sensor, max(hot.c) AS peak
FROM SEQUENCE (EVERY hot=Temps[c > 90]<3>) PARTITION BY sensor;
