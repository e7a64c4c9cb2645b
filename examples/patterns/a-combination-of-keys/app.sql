-- A combination of keys
-- Up, up, down within so many events: WITHIN counts what else is pressed.

CREATE STREAM Pressed (key STRING, ts TIMESTAMP, WATERMARK FOR ts AS ts)
WITH (type = 'source', extension = 'file', format = 'csv', "file.path" = 'pressed-42.csv');

SELECT eventTimestamp(a) AS began
FROM PATTERN (EVERY (a=Pressed[key = 'up'] -> b=Pressed[key = 'up'] -> c=Pressed[key = 'down'])) WITHIN 4 EVENTS;
