-- Call home after infection
-- A download, and then the same host at least twice to an unknown address, evenly.

CREATE STREAM Flows (host STRING, what STRING, ts TIMESTAMP, WATERMARK FOR ts AS ts)
WITH (type = 'source', extension = 'file', format = 'csv', "file.path" = 'flows-27.csv');

SELECT d.host AS host, count(b) AS beacons
FROM PATTERN (EVERY d=Flows[what = 'download'] -> b=Flows[what = 'beacon']<2>) WITHIN 1 MINUTE PARTITION BY host;
