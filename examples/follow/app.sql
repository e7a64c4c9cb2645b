-- Follows a file that another program appends to, like `tail -F`, until it is stopped.

CREATE STREAM Requests (path STRING, status INT, ms DOUBLE)
WITH (type = 'source', extension = 'file', format = 'json', path = 'requests.ndjson', follow = 'true');

CREATE STREAM Slow (path STRING, ms DOUBLE)
WITH (type = 'sink', extension = 'file', format = 'csv', path = 'out/slow.csv', mode = 'overwrite');

INSERT INTO Slow SELECT path, ms FROM Requests WHERE ms > 250;

SELECT path, status FROM Requests WHERE status >= 500;
