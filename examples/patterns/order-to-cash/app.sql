-- Order to cash
-- When it was ordered, sent and paid, in one row.

CREATE STREAM Orders (id STRING, state STRING, ts TIMESTAMP, WATERMARK FOR ts AS ts)
WITH (type = 'source', extension = 'file', format = 'csv', "file.path" = 'orders-33.csv');

SELECT p.id AS id, eventTimestamp(p) AS placed, eventTimestamp(s) AS shipped
FROM PATTERN (EVERY p=Orders[state = 'placed'] -> s=Orders[state = 'shipped' AND id = p.id]
              -> c=Orders[state = 'paid' AND id = p.id]) WITHIN 1 HOUR;
