-- Running aggregates by key, kept for ever: a row for each event.
CREATE STREAM Trades (ts TIMESTAMP, symbol STRING, side STRING, price DOUBLE, volume LONG, account LONG, WATERMARK FOR ts AS ts)
WITH (type = 'source', extension = 'file', path = '${DATA:.}/trades-${KEYS:1000000}.${FORMAT:json}', format = '${FORMAT:json}');

INSERT INTO Out
SELECT symbol, count(*) AS n, sum(price) AS s FROM Trades GROUP BY symbol;
