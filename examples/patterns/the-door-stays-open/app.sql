-- The door stays open
-- Opened, and not closed for thirty seconds, nor muted by hand.

CREATE STREAM Doors (door STRING, what STRING, ts TIMESTAMP, WATERMARK FOR ts AS ts)
WITH (type = 'source', extension = 'file', format = 'csv', "file.path" = 'doors-22.csv');

SELECT o.door AS door
FROM PATTERN (EVERY o=Doors[what = 'open'] -> NOT Doors[door = o.door AND what IN ('close', 'mute')] FOR 30 SECONDS);
