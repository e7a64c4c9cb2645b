-- Nexmark q4. Average price of a category: a join, and an aggregate of an aggregate. The result of an auction changes, so the average is of a changelog.
CREATE STREAM auction (id LONG, itemName STRING, description STRING, initialBid LONG, reserve LONG, dateTime TIMESTAMP, expires TIMESTAMP,
                       seller LONG, category LONG, extra STRING, WATERMARK FOR dateTime AS dateTime - 4 SECONDS)
WITH (type = 'source', extension = 'file', path = '${DATA:.}/auction.${FORMAT:json}', format = '${FORMAT:json}');
CREATE STREAM bid (auction LONG, bidder LONG, price LONG, channel STRING, url STRING, dateTime TIMESTAMP, extra STRING,
                   WATERMARK FOR dateTime AS dateTime - 4 SECONDS)
WITH (type = 'source', extension = 'file', path = '${DATA:.}/bid.${FORMAT:json}', format = '${FORMAT:json}');

INSERT INTO Out
SELECT Q.category, avg(Q.final_price) AS final_price
FROM (SELECT A.id, A.category AS category, max(B.price) AS final_price
      FROM auction AS A JOIN bid AS B ON A.id = B.auction AND B.dateTime BETWEEN A.dateTime AND A.expires
      GROUP BY A.id, A.category) AS Q
GROUP BY Q.category;
