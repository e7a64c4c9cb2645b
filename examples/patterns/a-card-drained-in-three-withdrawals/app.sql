-- A card drained in three withdrawals
-- Three withdrawals of one card within five minutes, each larger than the one before.

CREATE STREAM Withdrawals (card STRING, amount DOUBLE, ts TIMESTAMP, WATERMARK FOR ts AS ts)
WITH (type = 'source', extension = 'file', format = 'csv', "file.path" = 'withdrawals-3.csv');

SELECT a.card AS card, a.amount + b.amount + c.amount AS total
FROM PATTERN (EVERY a=Withdrawals -> b=Withdrawals[card = a.card AND amount > a.amount]
              -> c=Withdrawals[card = b.card AND amount > b.amount]) WITHIN 5 MINUTES;
