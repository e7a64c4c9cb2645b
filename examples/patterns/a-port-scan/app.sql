-- A port scan
-- Four different ports of one host from one source, in order, within five seconds.

CREATE STREAM Packets (src STRING, dst STRING, port INT, ts TIMESTAMP, WATERMARK FOR ts AS ts)
WITH (type = 'source', extension = 'file', format = 'csv', "file.path" = 'packets-25.csv');

SELECT scan[0].src AS src, count(scan) AS ports
FROM PATTERN (EVERY scan=Packets[scan[last].port IS NULL OR port > scan[last].port]<4>) WITHIN 5 SECONDS PARTITION BY src, dst;
