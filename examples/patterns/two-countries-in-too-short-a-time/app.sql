-- Two countries in too short a time
-- Nobody pays in Lisbon ten minutes after Oslo.

CREATE STREAM Payments (card STRING, amount DOUBLE, country STRING, ts TIMESTAMP, WATERMARK FOR ts AS ts)
WITH (type = 'source', extension = 'file', format = 'csv', "file.path" = 'payments-2.csv');

SELECT a.card AS card, a.country AS first_in, b.country AS then_in
FROM PATTERN (EVERY a=Payments -> b=Payments[card = a.card AND country <> a.country]) WITHIN 10 MINUTES;
