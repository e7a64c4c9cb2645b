-- Trades from an NDJSON file and quotes from a CSV file, side by side.

CREATE STREAM Trades (
  symbol STRING, price DOUBLE, volume LONG, ts TIMESTAMP,
  WATERMARK FOR ts AS ts - 3 SECONDS
) WITH (type = 'source', extension = 'file', format = 'json', path = 'trades.ndjson');

CREATE STREAM Quotes (
  ts TIMESTAMP, symbol STRING, bid DOUBLE, ask DOUBLE,
  WATERMARK FOR ts AS ts
) WITH (type = 'source', extension = 'file', format = 'csv', path = 'quotes.csv');

-- Results for other programs: one JSON object a line, in a file that each run writes anew.
CREATE STREAM LargeTrades (symbol STRING, price DOUBLE, volume LONG, amount DOUBLE, ts TIMESTAMP)
WITH (type = 'sink', extension = 'file', format = 'json', path = 'out/large-trades.ndjson', mode = 'overwrite');

INSERT INTO LargeTrades
SELECT symbol, price, volume, price * volume AS amount, ts FROM Trades WHERE price * volume >= 250000;

-- Queries without a target print their rows.
SELECT symbol, round(amount) AS amount FROM LargeTrades WHERE amount >= 1000000;

SELECT symbol, bid, ask, round(10000 * (ask - bid) / bid, 1) AS spread_bps FROM Quotes WHERE symbol = 'HOOLI' AND bid < 1227;
