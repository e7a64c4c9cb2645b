-- Small charges before a large one
-- A stolen card is first tried with amounts nobody notices. Each tries list is one card's; the index is `card = try[0].card`.

CREATE STREAM Payments (card STRING, amount DOUBLE, country STRING, ts TIMESTAMP, WATERMARK FOR ts AS ts)
WITH (type = 'source', extension = 'file', format = 'csv', "file.path" = 'payments-1.csv');

SELECT small[0].card AS card, count(small) AS tries, large.amount AS amount
FROM PATTERN (EVERY small=Payments[amount < 2 AND (small[last].card IS NULL OR card = small[last].card)]<2:5>
              -> large=Payments[card = small[0].card AND amount > 500]) WITHIN 10 MINUTES;
