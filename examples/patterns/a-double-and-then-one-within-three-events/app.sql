-- A double, and then one within three events
-- WITHIN n EVENTS of a group only: what follows may take its time.

CREATE STREAM Pressed (key STRING, ts TIMESTAMP, WATERMARK FOR ts AS ts)
WITH (type = 'source', extension = 'file', format = 'csv', "file.path" = 'pressed-43.csv');

SELECT eventTimestamp(a) AS began
FROM PATTERN (EVERY ((a=Pressed[key = 'a'] -> b=Pressed[key = 'b']) WITHIN 2 EVENTS) -> c=Pressed[key = 'c']) WITHIN 1 HOUR;
