-- Nexmark q3. Local items: a join without a window, of which one side is filtered.
CREATE STREAM person (id LONG, name STRING, emailAddress STRING, creditCard STRING, city STRING, state STRING, dateTime TIMESTAMP, extra STRING,
                      WATERMARK FOR dateTime AS dateTime - 4 SECONDS)
WITH (type = 'source', extension = 'file', path = '${DATA:.}/person.${FORMAT:json}', format = '${FORMAT:json}');
CREATE STREAM auction (id LONG, itemName STRING, description STRING, initialBid LONG, reserve LONG, dateTime TIMESTAMP, expires TIMESTAMP,
                       seller LONG, category LONG, extra STRING, WATERMARK FOR dateTime AS dateTime - 4 SECONDS)
WITH (type = 'source', extension = 'file', path = '${DATA:.}/auction.${FORMAT:json}', format = '${FORMAT:json}');

INSERT INTO Out
SELECT P.name, P.city, P.state, A.id
FROM auction AS A JOIN person AS P ON A.seller = P.id
WHERE A.category = 10 AND (P.state = 'or' OR P.state = 'id' OR P.state = 'ca');
