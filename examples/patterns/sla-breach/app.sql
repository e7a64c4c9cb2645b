-- SLA breach
-- A ticket that nobody answers within its time, here those of the first priority.

CREATE STREAM Tickets (id STRING, what STRING, prio INT, ts TIMESTAMP, WATERMARK FOR ts AS ts)
WITH (type = 'source', extension = 'file', format = 'csv', "file.path" = 'tickets-34.csv');

SELECT o.id AS id, o.prio AS prio
FROM PATTERN (EVERY o=Tickets[what = 'open' AND prio = 1] -> NOT Tickets[what = 'answer' AND id = o.id] FOR 1 MINUTE);
