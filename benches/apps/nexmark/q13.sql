-- Nexmark q13. Bounded side input: a look-up in a table that is there already.
CREATE STREAM bid (auction LONG, bidder LONG, price LONG, channel STRING, url STRING, dateTime TIMESTAMP, extra STRING,
                   WATERMARK FOR dateTime AS dateTime - 4 SECONDS)
WITH (type = 'source', extension = 'file', path = '${DATA:.}/bid.${FORMAT:json}', format = '${FORMAT:json}');

CREATE TABLE side_input ("key" LONG PRIMARY KEY, value STRING)
WITH (extension = 'sqlite', path = '${DATA:.}/side_input.db');
INSERT INTO Out
SELECT B.auction, B.bidder, B.price, B.dateTime, S.value FROM bid AS B JOIN side_input AS S ON mod(B.auction, 10000) = S."key";
