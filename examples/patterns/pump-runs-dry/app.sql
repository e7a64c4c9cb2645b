-- Pump runs dry
-- The pump is on, and the flow is neither seen nor the pump turned off for five seconds.

CREATE STREAM Pumps (pump STRING, state STRING, ts TIMESTAMP, WATERMARK FOR ts AS ts)
WITH (type = 'source', extension = 'file', format = 'csv', "file.path" = 'pumps-23.csv');
CREATE STREAM Flows (pump STRING, litres DOUBLE, ts TIMESTAMP, WATERMARK FOR ts AS ts)
WITH (type = 'source', extension = 'file', format = 'csv', "file.path" = 'flows-23.csv');

SELECT p.pump AS pump
FROM PATTERN (EVERY p=Pumps[state = 'on'] -> (NOT Flows[pump = p.pump] FOR 5 SECONDS
              AND NOT Pumps[pump = p.pump AND state = 'off'] FOR 5 SECONDS));
