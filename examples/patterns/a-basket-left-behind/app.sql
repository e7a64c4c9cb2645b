-- A basket left behind
-- Filled, and neither bought nor emptied for half an hour.

CREATE STREAM Clicks (visitor STRING, page STRING, ts TIMESTAMP, WATERMARK FOR ts AS ts)
WITH (type = 'source', extension = 'file', format = 'csv', "file.path" = 'clicks-37.csv');

SELECT b.visitor AS visitor
FROM PATTERN (EVERY b=Clicks[page = 'basket'] -> NOT Clicks[page IN ('bought', 'emptied') AND visitor = b.visitor] FOR 30 MINUTES);
