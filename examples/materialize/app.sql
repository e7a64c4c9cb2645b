-- Positions of traders, as a view of Materialize has them, and what to watch in them.
CREATE STREAM Positions (id INT PRIMARY KEY, symbol STRING, quantity LONG, price DOUBLE, trader STRING)
WITH (type = 'source', extension = 'materialize',
      "materialize.url" = '${MATERIALIZE_URL:postgresql://materialize@localhost:6875/materialize}',
      "materialize.relation" = 'positions');

CREATE STREAM Large (id INT, symbol STRING, worth DOUBLE, trader STRING)
WITH (type = 'sink', extension = 'log');

-- A row comes when a position becomes large, and leaves when it no longer is.
INSERT INTO Large
SELECT id, symbol, quantity * price AS worth, trader FROM Positions WHERE quantity * price > 200000.0;
