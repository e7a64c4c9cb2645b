-- Paid or refused, whichever comes first
-- OR: the other alternative is NULL.

CREATE STREAM Answers (id STRING, what STRING, ts TIMESTAMP, WATERMARK FOR ts AS ts)
WITH (type = 'source', extension = 'file', format = 'csv', "file.path" = 'answers-38.csv');

SELECT a.id AS id, p IS NOT NULL AS paid, r IS NOT NULL AS refused
FROM PATTERN (EVERY a=Answers[what = 'asked'] -> p=Answers[what = 'paid' AND id = a.id] OR r=Answers[what = 'refused' AND id = a.id]) WITHIN 1 MINUTE;
