-- Nexmark q9. Winning bids: the best bid of each auction, as a changelog. The standard says ROW_NUMBER; here it is a top-n of each key.
CREATE STREAM auction (id LONG, itemName STRING, description STRING, initialBid LONG, reserve LONG, dateTime TIMESTAMP, expires TIMESTAMP,
                       seller LONG, category LONG, extra STRING, WATERMARK FOR dateTime AS dateTime - 4 SECONDS)
WITH (type = 'source', extension = 'file', path = '${DATA:.}/auction.${FORMAT:json}', format = '${FORMAT:json}');
CREATE STREAM bid (auction LONG, bidder LONG, price LONG, channel STRING, url STRING, dateTime TIMESTAMP, extra STRING,
                   WATERMARK FOR dateTime AS dateTime - 4 SECONDS)
WITH (type = 'source', extension = 'file', path = '${DATA:.}/bid.${FORMAT:json}', format = '${FORMAT:json}');

INSERT INTO candidates
SELECT A.id, A.itemName, A.description, A.initialBid, A.reserve, A.dateTime, A.expires, A.seller, A.category, A.extra,
       B.bidder, B.price, B.dateTime AS bid_dateTime, B.extra AS bid_extra
FROM auction AS A JOIN bid AS B ON A.id = B.auction AND B.dateTime BETWEEN A.dateTime AND A.expires;
PARTITION WITH (id OF candidates) BEGIN
  INSERT INTO Out SELECT * FROM candidates ORDER BY price DESC, bid_dateTime LIMIT 1;
END;
