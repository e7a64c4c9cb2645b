-- Three goals without reply
-- The other side's goal between them breaks it.

CREATE STREAM Goals (team STRING, player STRING, ts TIMESTAMP, WATERMARK FOR ts AS ts)
WITH (type = 'source', extension = 'file', format = 'csv', "file.path" = 'goals-44.csv');

SELECT count(g) AS goals, eventTimestamp(g[0]) AS first
FROM SEQUENCE (EVERY g=Goals[team = 'red']<3>);
