-- A missed heartbeat
-- Each beat starts a clock that the host's next one stops.

CREATE STREAM Beats (host STRING, load DOUBLE, ts TIMESTAMP, WATERMARK FOR ts AS ts)
WITH (type = 'source', extension = 'file', format = 'csv', "file.path" = 'beats-17.csv');

SELECT b.host AS host, eventTimestamp(b) AS last_seen
FROM PATTERN (EVERY b=Beats -> NOT Beats[host = b.host] FOR 10 SECONDS);
