-- Refunded before it was paid
-- A refund with no payment of that order in the hour before it: NOT at the start looks back.

CREATE STREAM Ledger (kind STRING, amount DOUBLE, account STRING, ts TIMESTAMP, WATERMARK FOR ts AS ts)
WITH (type = 'source', extension = 'file', format = 'csv', "file.path" = 'ledger-5.csv');

SELECT r.account AS account, r.amount AS amount
FROM PATTERN (EVERY (NOT Ledger[kind = 'pay'] -> r=Ledger[kind = 'refund'])) WITHIN 1 HOUR PARTITION BY account;
