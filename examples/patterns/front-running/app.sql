-- Front running
-- A broker buys for itself before a client's large order, and sells after it.

CREATE STREAM Orders (who STRING, side STRING, size LONG, ts TIMESTAMP, WATERMARK FOR ts AS ts)
WITH (type = 'source', extension = 'file', format = 'csv', "file.path" = 'orders-16.csv');

SELECT own.size AS own, c.size AS client, out.size AS sold
FROM PATTERN (EVERY own=Orders[who = 'broker' AND side = 'buy'] -> c=Orders[who = 'client' AND size > 10 * own.size]
              -> out=Orders[who = 'broker' AND side = 'sell' AND size = own.size]) WITHIN 10 SECONDS;
