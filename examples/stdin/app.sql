-- Reads JSON objects from standard input, prints those that matter.
--   printf '{"level":"error","msg":"disk full"}\n' | eventflux run examples/stdin/app.sql

CREATE STREAM Logs (level STRING, service STRING, msg STRING)
WITH (type = 'source', extension = 'stdin', format = 'json');

SELECT coalesce(service, '?') AS service, msg FROM Logs WHERE lower(level) IN ('error', 'fatal');
