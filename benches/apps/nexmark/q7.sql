-- Nexmark q7. Highest bid: those with the highest price of each ten seconds. Two windows that close together are joined, where the standard has an interval join.
CREATE STREAM bid (auction LONG, bidder LONG, price LONG, channel STRING, url STRING, dateTime TIMESTAMP, extra STRING,
                   WATERMARK FOR dateTime AS dateTime - 4 SECONDS)
WITH (type = 'source', extension = 'file', path = '${DATA:.}/bid.${FORMAT:json}', format = '${FORMAT:json}');

INSERT INTO Out
SELECT B.auction, B.price, B.bidder, B.dateTime, B.extra
FROM bid WINDOW('tumbling', 10 SECONDS) AS B
JOIN (SELECT max(price) AS price FROM TUMBLE(TABLE bid, DESCRIPTOR(dateTime), INTERVAL '10' SECOND)
      GROUP BY window_start, window_end) AS highest
ON B.price = highest.price;
