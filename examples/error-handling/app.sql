-- Orders, of which some are not what they should be. Run replay.sql afterwards.

CREATE STREAM Orders (id LONG, customer STRING, items INT, total DOUBLE)
WITH (type = 'source', extension = 'file', format = 'json', path = 'orders.ndjson',
      error.strategy = 'dlq', error.dlq.stream = 'DeadLetters', error.dlq.fallback-strategy = 'fail',
      error.log-level = 'off');

-- What is wrong with an order goes here, whatever it is.
CREATE STREAM DeadLetters (originalEvent STRING, errorMessage STRING, errorType STRING, timestamp TIMESTAMP, attemptCount INT,
                           streamName STRING)
WITH (type = 'sink', extension = 'file', format = 'json', path = 'out/dead.ndjson', mode = 'overwrite');

-- A disk that is full for a moment is waited for.
CREATE STREAM Averages (id LONG, customer STRING, per_item INT)
WITH (type = 'sink', extension = 'file', format = 'csv', path = 'out/averages.csv', mode = 'overwrite',
      error.strategy = 'retry', error.retry.max-attempts = 20, error.retry.initial-delay = '50 ms',
      error.retry.max-delay = '5 seconds');

INSERT INTO Averages SELECT id, customer, CAST(total AS INT) / items AS per_item FROM Orders;

-- The same errors, as a stream: how many there are of each kind.
SELECT errorType AS kind, count(*) AS errors, last(errorMessage) AS latest
FROM !Orders WINDOW TUMBLING(1 DAY) GROUP BY errorType;
