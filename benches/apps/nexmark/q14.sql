-- Nexmark q14. Calculation: CASE, a function of texts, a filter.
CREATE STREAM bid (auction LONG, bidder LONG, price LONG, channel STRING, url STRING, dateTime TIMESTAMP, extra STRING,
                   WATERMARK FOR dateTime AS dateTime - 4 SECONDS)
WITH (type = 'source', extension = 'file', path = '${DATA:.}/bid.${FORMAT:json}', format = '${FORMAT:json}');

INSERT INTO Out
SELECT auction, bidder, 0.908 * price AS price,
       CASE WHEN extract(HOUR FROM dateTime) >= 8 AND extract(HOUR FROM dateTime) <= 18 THEN 'dayTime'
            WHEN extract(HOUR FROM dateTime) <= 6 OR extract(HOUR FROM dateTime) >= 20 THEN 'nightTime'
            ELSE 'otherTime' END AS bidTimeType,
       dateTime, extra, character_length(extra) - character_length(replace(extra, 'c', '')) AS c_counts
FROM bid WHERE 0.908 * price > 1000000 AND 0.908 * price < 50000000;
