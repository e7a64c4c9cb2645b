-- A V shape by key.
CREATE STREAM Trades (ts TIMESTAMP, symbol STRING, side STRING, price DOUBLE, volume LONG, account LONG, WATERMARK FOR ts AS ts)
WITH (type = 'source', extension = 'file', path = '${DATA:.}/trades-${KEYS:100}.${FORMAT:json}', format = '${FORMAT:json}');

INSERT INTO Out
SELECT * FROM Trades MATCH_RECOGNIZE (
  PARTITION BY symbol ORDER BY ts
  MEASURES FIRST(down.price) AS top, LAST(down.price) AS bottom, LAST(up.price) AS back
  ONE ROW PER MATCH AFTER MATCH SKIP PAST LAST ROW
  PATTERN (down{2,} up{2,})
  DEFINE down AS price < PREV(price), up AS price > PREV(price));
