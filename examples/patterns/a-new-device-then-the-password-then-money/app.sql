-- A new device, then the password, then money
-- Three different things, in two orders: the device and the password may change in either.

CREATE STREAM Acts (who STRING, what STRING, ts TIMESTAMP, WATERMARK FOR ts AS ts)
WITH (type = 'source', extension = 'file', format = 'csv', "file.path" = 'acts-4.csv');

SELECT d.who AS who, eventTimestamp(t) AS at
FROM PATTERN (EVERY (d=Acts[what = 'device'] AND p=Acts[what = 'password'])
              -> t=Acts[what = 'transfer']) WITHIN 10 MINUTES PARTITION BY who;
