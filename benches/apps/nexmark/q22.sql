-- Nexmark q22. Parts of a URL.
CREATE STREAM bid (auction LONG, bidder LONG, price LONG, channel STRING, url STRING, dateTime TIMESTAMP, extra STRING,
                   WATERMARK FOR dateTime AS dateTime - 4 SECONDS)
WITH (type = 'source', extension = 'file', path = '${DATA:.}/bid.${FORMAT:json}', format = '${FORMAT:json}');

INSERT INTO Out
SELECT auction, bidder, price, channel, split_part(url, '/', 4) AS dir1, split_part(url, '/', 5) AS dir2, split_part(url, '/', 6) AS dir3 FROM bid;
