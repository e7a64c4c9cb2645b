-- A failure that nothing follows
-- A failed log-in that the user does not follow by a good one within a minute.

CREATE STREAM Logins (who STRING, ok BOOL, ip STRING, ts TIMESTAMP, WATERMARK FOR ts AS ts)
WITH (type = 'source', extension = 'file', format = 'csv', "file.path" = 'logins-7.csv');

SELECT f.who AS who
FROM PATTERN (EVERY f=Logins[NOT ok] -> NOT Logins[ok AND who = f.who] FOR 1 MINUTE);
