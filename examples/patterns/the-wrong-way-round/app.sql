-- The wrong way round
-- A parcel scanned at a later station before an earlier one.

CREATE STREAM Scans (parcel STRING, station INT, ts TIMESTAMP, WATERMARK FOR ts AS ts)
WITH (type = 'source', extension = 'file', format = 'csv', "file.path" = 'scans-30.csv');

SELECT a.parcel AS parcel, a.station AS was_at, b.station AS then_at
FROM SEQUENCE (EVERY a=Scans, b=Scans[station < a.station]) PARTITION BY parcel;
