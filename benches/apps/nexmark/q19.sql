-- Nexmark q19. The ten highest bids of each auction, as a changelog. The standard says ROW_NUMBER, and gives the rank, too.
CREATE STREAM bid (auction LONG, bidder LONG, price LONG, channel STRING, url STRING, dateTime TIMESTAMP, extra STRING,
                   WATERMARK FOR dateTime AS dateTime - 4 SECONDS)
WITH (type = 'source', extension = 'file', path = '${DATA:.}/bid.${FORMAT:json}', format = '${FORMAT:json}');

PARTITION WITH (auction OF bid) BEGIN
  INSERT INTO Out SELECT * FROM bid ORDER BY price DESC LIMIT 10;
END;
