-- Flapping
-- Down and up three times in a minute: a repeated group.

CREATE STREAM Links (port STRING, state STRING, ts TIMESTAMP, WATERMARK FOR ts AS ts)
WITH (type = 'source', extension = 'file', format = 'csv', "file.path" = 'links-19.csv');

SELECT d[0].port AS port, count(d) AS times, eventTimestamp(u[last]) AS at
FROM PATTERN (EVERY ((d=Links[state = 'down'] -> u=Links[state = 'up'])<3>)) WITHIN 1 MINUTE PARTITION BY port;
