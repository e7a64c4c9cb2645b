-- The receiver under load: `scripts/bench-http-source`. What comes is counted each second.
CREATE STREAM Posts (id LONG, item STRING, amount DOUBLE)
WITH (type = 'source', extension = 'http', format = 'json', "http.bind" = '127.0.0.1:18085', "http.path" = '/posts');

SELECT count(*) AS rows, sum(amount) AS amount FROM Posts WINDOW TUMBLING(1 SECOND);
