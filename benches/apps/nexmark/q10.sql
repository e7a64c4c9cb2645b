-- Nexmark q10. Log: dates as texts, as for files by day.
CREATE STREAM bid (auction LONG, bidder LONG, price LONG, channel STRING, url STRING, dateTime TIMESTAMP, extra STRING,
                   WATERMARK FOR dateTime AS dateTime - 4 SECONDS)
WITH (type = 'source', extension = 'file', path = '${DATA:.}/bid.${FORMAT:json}', format = '${FORMAT:json}');

INSERT INTO Out
SELECT auction, bidder, price, dateTime, extra, formatDate(dateTime, 'yyyy-MM-dd') AS dt, formatDate(dateTime, 'HH:mm') AS hm FROM bid;
