-- All documents, in any order
-- A claim is complete with a form, a photo and an invoice.

CREATE STREAM Documents (claim STRING, kind STRING, ts TIMESTAMP, WATERMARK FOR ts AS ts)
WITH (type = 'source', extension = 'file', format = 'csv', "file.path" = 'documents-39.csv');

SELECT f.claim AS claim
FROM PATTERN (f=Documents[kind = 'form'] AND p=Documents[kind = 'photo'] AND i=Documents[kind = 'invoice']) PARTITION BY claim;
