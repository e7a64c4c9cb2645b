-- One password on many accounts
-- Failures of three different users from one address: password spraying.

CREATE STREAM Logins (who STRING, ok BOOL, ip STRING, ts TIMESTAMP, WATERMARK FOR ts AS ts)
WITH (type = 'source', extension = 'file', format = 'csv', "file.path" = 'logins-8.csv');

SELECT a.ip AS ip, a.who AS first_user, c.who AS last_user
FROM PATTERN (EVERY (a=Logins[NOT ok] -> b=Logins[NOT ok AND who <> a.who]
              -> c=Logins[NOT ok AND who <> a.who AND who <> b.who])) WITHIN 30 SECONDS PARTITION BY ip;
