-- The same user from two addresses
-- Two good log-ins from different addresses with no log-out between them.

CREATE STREAM Sessions (who STRING, what STRING, ip STRING, ts TIMESTAMP, WATERMARK FOR ts AS ts)
WITH (type = 'source', extension = 'file', format = 'csv', "file.path" = 'sessions-9.csv');

SELECT a.who AS who, a.ip AS one, b.ip AS other
FROM PATTERN (EVERY a=Sessions[what = 'in'] -> (NOT Sessions[what = 'out' AND who = a.who]
              -> b=Sessions[what = 'in' AND who = a.who AND ip <> a.ip])) WITHIN 5 MINUTES;
