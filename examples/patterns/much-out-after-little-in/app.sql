-- Much out after little in
-- A host that sends ten times what it got, right after a log-in from outside.

CREATE STREAM Io (host STRING, kind STRING, mb DOUBLE, ts TIMESTAMP, WATERMARK FOR ts AS ts)
WITH (type = 'source', extension = 'file', format = 'csv', "file.path" = 'io-28.csv');

SELECT i.mb AS came, o.mb AS went
FROM PATTERN (EVERY l=Io[kind = 'login'] -> i=Io[kind = 'in' AND host = l.host] -> o=Io[kind = 'out' AND host = l.host AND mb > 10 * i.mb])
WITHIN 1 MINUTE;
