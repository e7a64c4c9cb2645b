-- Two bids with one offer
-- EVERY in an AND: the offer stands, and each bid that comes goes with it.

CREATE STREAM Auction (kind STRING, who STRING, amount DOUBLE, ts TIMESTAMP, WATERMARK FOR ts AS ts)
WITH (type = 'source', extension = 'file', format = 'csv', "file.path" = 'auction-40.csv');

SELECT o.amount AS offer, b.who AS who, b.amount AS bid
FROM PATTERN ((EVERY b=Auction[kind = 'bid']) AND o=Auction[kind = 'offer']) WITHIN 1 MINUTE;
