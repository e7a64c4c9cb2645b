-- Stuck half way
-- EXPIRED EVENTS: orders that were placed and not paid in time, with what was there.

CREATE STREAM Orders (id STRING, state STRING, ts TIMESTAMP, WATERMARK FOR ts AS ts)
WITH (type = 'source', extension = 'file', format = 'csv', "file.path" = 'orders-35.csv');

INSERT EXPIRED EVENTS INTO Stuck
SELECT p.id AS id, c IS NOT NULL AS checked
FROM PATTERN (EVERY p=Orders[state = 'placed'] -> c=Orders[state = 'checked' AND id = p.id]
              -> m=Orders[state = 'paid' AND id = p.id]) WITHIN 10 MINUTES;

SELECT id, checked FROM Stuck;
