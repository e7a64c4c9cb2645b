-- A funnel
-- From the page by way of the basket to the purchase, in one visit, whatever else is looked at.

CREATE STREAM Clicks (visitor STRING, page STRING, ts TIMESTAMP, WATERMARK FOR ts AS ts)
WITH (type = 'source', extension = 'file', format = 'csv', "file.path" = 'clicks-36.csv');

SELECT p.visitor AS visitor
FROM PATTERN (EVERY p=Clicks[page = 'product'] -> b=Clicks[page = 'basket'] -> x=Clicks[page = 'bought']) WITHIN 30 MINUTES PARTITION BY visitor;
