-- A deployment that broke it
-- Errors above normal within two minutes after a deployment, and the deployment they are put down to.

CREATE STREAM Deploys (app STRING, version STRING, ts TIMESTAMP, WATERMARK FOR ts AS ts)
WITH (type = 'source', extension = 'file', format = 'csv', "file.path" = 'deploys-24.csv');
CREATE STREAM Errors (app STRING, n LONG, ts TIMESTAMP, WATERMARK FOR ts AS ts)
WITH (type = 'source', extension = 'file', format = 'csv', "file.path" = 'errors-24.csv');

SELECT d.version AS version, e.n AS errors
FROM PATTERN (EVERY d=Deploys -> e=Errors[app = d.app AND n > 10]) WITHIN 2 MINUTES;
