-- Nexmark q18. Last bid of each bidder on each auction, as a changelog. The standard says ROW_NUMBER; here it is a window that holds the last of each key.
CREATE STREAM bid (auction LONG, bidder LONG, price LONG, channel STRING, url STRING, dateTime TIMESTAMP, extra STRING,
                   WATERMARK FOR dateTime AS dateTime - 4 SECONDS)
WITH (type = 'source', extension = 'file', path = '${DATA:.}/bid.${FORMAT:json}', format = '${FORMAT:json}');

INSERT ALL EVENTS INTO Out
SELECT auction, bidder, price, channel, url, dateTime, extra FROM bid WINDOW('unique', bidder, auction);
