-- Reads what app.sql could not, and puts right what it knows how to.

CREATE STREAM DeadLetters (originalEvent STRING, errorMessage STRING, errorType STRING, streamName STRING)
WITH (type = 'source', extension = 'file', format = 'json', path = 'out/dead.ndjson');

INSERT INTO Repaired
SELECT json_get_int(originalEvent, 'id') AS id,
       json_get_str(originalEvent, 'customer') AS customer,
       CASE json_get_str(originalEvent, 'items') WHEN 'two' THEN 2 ELSE json_get_int(originalEvent, 'items') END AS items
FROM DeadLetters WHERE streamName = 'Orders';

SELECT id, customer, items FROM Repaired WHERE id IS NOT NULL AND items > 0;

-- What is left is for people.
CREATE STREAM ForPeople (event STRING, reason STRING)
WITH (type = 'sink', extension = 'file', format = 'csv', path = 'out/for-people.csv', mode = 'overwrite');

INSERT INTO ForPeople
SELECT originalEvent AS event, errorMessage AS reason FROM DeadLetters
WHERE json_get_int(originalEvent, 'id') IS NULL OR json_get_int(originalEvent, 'items') = 0;
