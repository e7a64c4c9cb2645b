-- Brute force that succeeded
-- At least three failures of one user, then a success.

CREATE STREAM Logins (who STRING, ok BOOL, ip STRING, ts TIMESTAMP, WATERMARK FOR ts AS ts)
WITH (type = 'source', extension = 'file', format = 'csv', "file.path" = 'logins-6.csv');

SELECT fail[0].who AS who, count(fail) AS failures
FROM PATTERN (EVERY (fail=Logins[NOT ok]<3:> -> good=Logins[ok])) WITHIN 1 MINUTE PARTITION BY who;
