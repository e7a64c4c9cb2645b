-- Two steps of which the second never comes: attempts stay open until their time is over.
CREATE STREAM Trades (ts TIMESTAMP, symbol STRING, side STRING, price DOUBLE, volume LONG, account LONG, WATERMARK FOR ts AS ts)
WITH (type = 'source', extension = 'file', path = '${DATA:.}/trades-${KEYS:1000000}.${FORMAT:json}', format = '${FORMAT:json}');

INSERT INTO Out
SELECT a.symbol, b.price AS price
FROM PATTERN (EVERY a=Trades[side = 'B'] -> b=Trades[symbol = a.symbol AND price < 0]) WITHIN ${WITHIN:10} SECONDS WITH (max_instances = 2000000);
