-- A spike that comes back to normal
-- A reading far off, then normal again within two: a glitch of the sensor, no alarm.

CREATE STREAM Temps (sensor STRING, c DOUBLE, ts TIMESTAMP, WATERMARK FOR ts AS ts)
WITH (type = 'source', extension = 'file', format = 'csv', "file.path" = 'temps-21.csv');

SELECT calm.c AS before, off.c AS glitch, again.c AS after
FROM SEQUENCE (EVERY calm=Temps, off=Temps[c > calm.c + 30], again=Temps[c < calm.c + 5]);
