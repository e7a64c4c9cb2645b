-- Nexmark q12. Windows of processing time: bids of each bidder in ten seconds. The stream is one of arrival times.
CREATE STREAM bid (auction LONG, bidder LONG, price LONG, channel STRING, url STRING, dateTime TIMESTAMP, extra STRING)
WITH (type = 'source', extension = 'file', path = '${DATA:.}/bid.${FORMAT:json}', format = '${FORMAT:json}');

INSERT INTO Out
SELECT bidder, count(*) AS bid_count FROM bid WINDOW('tumbling', 10 SECONDS) GROUP BY bidder;
