-- Nexmark q21. Channel numbers, by a regular expression.
CREATE STREAM bid (auction LONG, bidder LONG, price LONG, channel STRING, url STRING, dateTime TIMESTAMP, extra STRING,
                   WATERMARK FOR dateTime AS dateTime - 4 SECONDS)
WITH (type = 'source', extension = 'file', path = '${DATA:.}/bid.${FORMAT:json}', format = '${FORMAT:json}');

INSERT INTO Out
SELECT auction, bidder, price, channel,
       CASE lower(channel) WHEN 'apple' THEN '0' WHEN 'google' THEN '1' WHEN 'facebook' THEN '2' WHEN 'baidu' THEN '3'
            ELSE regexp_match(url, '(&|^)channel_id=([^&]*)')[2] END AS channel_id
FROM bid
WHERE regexp_match(url, '(&|^)channel_id=([^&]*)')[2] IS NOT NULL OR lower(channel) IN ('apple', 'google', 'facebook', 'baidu');
