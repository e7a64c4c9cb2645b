-- Makes rows up: to try something out, or to see how fast it goes.
--   eventflux run examples/datagen/app.sql
--   eventflux run examples/datagen/app.sql --set streams.Orders.rows=10000000 --stats -

CREATE STREAM Orders (id LONG, customer STRING, amount DOUBLE, country STRING, ts TIMESTAMP)
WITH (
  type = 'source', extension = 'datagen', seed = 1,
  'fields.id.kind' = 'sequence', 'fields.customer.kind' = 'name',
  'fields.amount.kind' = 'normal', 'fields.amount.mean' = 80, 'fields.amount.stddev' = 25,
  'fields.country.kind' = 'choice', 'fields.country.values' = 'DE,FR,IT,PL', 'fields.country.weights' = '4,3,2,1',
  'fields.ts.step' = '250 ms'
);

SELECT id, customer, round(amount) AS amount, country FROM Orders WHERE amount > 150;
