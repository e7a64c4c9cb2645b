-- A pattern of two steps by key.
CREATE STREAM Trades (ts TIMESTAMP, symbol STRING, side STRING, price DOUBLE, volume LONG, account LONG, WATERMARK FOR ts AS ts)
WITH (type = 'source', extension = 'file', path = '${DATA:.}/trades-${KEYS:10000}.${FORMAT:json}', format = '${FORMAT:json}');

INSERT INTO Out
SELECT a.symbol, a.price AS first_price, b.price AS second_price
FROM PATTERN (EVERY a=Trades[price > 190] -> b=Trades[symbol = a.symbol AND price > a.price]) WITHIN ${WITHIN:10} SECONDS;
