-- Shoplifting
-- From the shelf to the exit, with no counter in between.

CREATE STREAM Tags (tag STRING, place STRING, ts TIMESTAMP, WATERMARK FOR ts AS ts)
WITH (type = 'source', extension = 'file', format = 'csv', "file.path" = 'tags-29.csv');

SELECT s.tag AS tag
FROM PATTERN (EVERY s=Tags[place = 'shelf'] -> (NOT Tags[place = 'counter' AND tag = s.tag]
              -> e=Tags[place = 'exit' AND tag = s.tag])) WITHIN 1 HOUR;
