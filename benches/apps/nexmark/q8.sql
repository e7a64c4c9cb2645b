-- Nexmark q8. Monitor new users: who came and sold within one window.
CREATE STREAM person (id LONG, name STRING, emailAddress STRING, creditCard STRING, city STRING, state STRING, dateTime TIMESTAMP, extra STRING,
                      WATERMARK FOR dateTime AS dateTime - 4 SECONDS)
WITH (type = 'source', extension = 'file', path = '${DATA:.}/person.${FORMAT:json}', format = '${FORMAT:json}');
CREATE STREAM auction (id LONG, itemName STRING, description STRING, initialBid LONG, reserve LONG, dateTime TIMESTAMP, expires TIMESTAMP,
                       seller LONG, category LONG, extra STRING, WATERMARK FOR dateTime AS dateTime - 4 SECONDS)
WITH (type = 'source', extension = 'file', path = '${DATA:.}/auction.${FORMAT:json}', format = '${FORMAT:json}');

INSERT INTO Out
SELECT P.id, P.name, P.window_start
FROM (SELECT id, name, window_start, window_end FROM TUMBLE(TABLE person, DESCRIPTOR(dateTime), INTERVAL '10' SECOND)
      GROUP BY id, name, window_start, window_end) AS P
JOIN (SELECT seller, window_start, window_end FROM TUMBLE(TABLE auction, DESCRIPTOR(dateTime), INTERVAL '10' SECOND)
      GROUP BY seller, window_start, window_end) AS A
ON P.id = A.seller AND P.window_start = A.window_start AND P.window_end = A.window_end;
