-- Nexmark q5. Hot items: the auctions with most bids in each hopping window.
CREATE STREAM bid (auction LONG, bidder LONG, price LONG, channel STRING, url STRING, dateTime TIMESTAMP, extra STRING,
                   WATERMARK FOR dateTime AS dateTime - 4 SECONDS)
WITH (type = 'source', extension = 'file', path = '${DATA:.}/bid.${FORMAT:json}', format = '${FORMAT:json}');

INSERT INTO Out
SELECT bids.auction, bids.num
FROM (SELECT auction, count(*) AS num, window_start, window_end
      FROM HOP(TABLE bid, DESCRIPTOR(dateTime), INTERVAL '2' SECOND, INTERVAL '10' SECOND)
      GROUP BY auction, window_start, window_end) AS bids
JOIN (SELECT max(counts.num) AS num, counts.window_start, counts.window_end
      FROM (SELECT count(*) AS num, window_start, window_end
            FROM HOP(TABLE bid, DESCRIPTOR(dateTime), INTERVAL '2' SECOND, INTERVAL '10' SECOND)
            GROUP BY auction, window_start, window_end) AS counts
      GROUP BY counts.window_start, counts.window_end) AS most
ON bids.window_start = most.window_start AND bids.window_end = most.window_end AND bids.num >= most.num;
