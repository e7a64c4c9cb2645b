-- SYN without ACK
-- A connection that is opened and left: a half-open one.

CREATE STREAM Tcp (conn STRING, flag STRING, ts TIMESTAMP, WATERMARK FOR ts AS ts)
WITH (type = 'source', extension = 'file', format = 'csv', "file.path" = 'tcp-26.csv');

SELECT s.conn AS conn
FROM PATTERN (EVERY s=Tcp[flag = 'SYN'] -> NOT Tcp[flag = 'ACK' AND conn = s.conn] FOR 3 SECONDS);
