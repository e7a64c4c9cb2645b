-- Large trades of a day. Run it:  eventflux run app.sql

CREATE STREAM Trades (
  symbol STRING, price DOUBLE, volume LONG, ts TIMESTAMP,
  WATERMARK FOR ts AS ts - 5 SECONDS
) WITH (type = 'source', extension = 'file', format = 'json', path = 'trades.ndjson');

INSERT INTO LargeTrades
SELECT symbol, price, volume, price * volume AS amount, ts
FROM Trades
WHERE price * volume >= 100000;

-- A query without a target prints its rows.
SELECT symbol, round(amount) AS amount, ts FROM LargeTrades;
