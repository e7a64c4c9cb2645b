-- A quote that nobody takes
-- A quote that neither a trade nor a cancellation follows within ten seconds.

CREATE STREAM Quotes (id STRING, price DOUBLE, ts TIMESTAMP, WATERMARK FOR ts AS ts)
WITH (type = 'source', extension = 'file', format = 'csv', "file.path" = 'quotes-15.csv');
CREATE STREAM Deals (id STRING, what STRING, ts TIMESTAMP, WATERMARK FOR ts AS ts)
WITH (type = 'source', extension = 'file', format = 'csv', "file.path" = 'deals-15.csv');

SELECT q.id AS id, q.price AS price
FROM PATTERN (EVERY q=Quotes -> NOT Deals[id = q.id] FOR 10 SECONDS);
