//! One app per statement form of the language.

/// Every one of these must parse.
pub const SAMPLES: &[&str] = &[
    // Streams
    "CREATE STREAM Trades (symbol STRING, price DOUBLE, volume LONG, ts TIMESTAMP, WATERMARK FOR ts AS ts - 5 SECONDS)
     WITH (type = 'source', extension = 'file', format = 'json', \"file.path\" = 'trades.ndjson')",
    "DEFINE STREAM S (a INT NOT NULL, \"order\" LONG, `index` BOOL)",
    "CREATE STREAM T (id INT PRIMARY KEY, v STRING)",
    "CREATE STREAM T (id INT, k STRING, v DECIMAL(10, 2) DEFAULT 0 NOT NULL, PRIMARY KEY (id, k))",
    "CREATE STREAM S (a INT) WITH (auth.token = '${TOKEN:none}', error.retry.max-attempts = 3, idle.timeout = 30 SECONDS,
       'late' = 'accept', \"x\" = -1.5, on = true, policy = at-least-once, t = INTERVAL '5' MINUTE)",
    "CREATE STREAM S (a BOOL, b BOOLEAN, c INT, d INTEGER, e LONG, f BIGINT, g FLOAT, h REAL, i DOUBLE, j STRING, k VARCHAR,
       l TEXT, m BYTES, n BINARY, o TIMESTAMP, p DATE, q TIME, r DECIMAL(10,2), s INTERVAL, t ARRAY<INT>,
       u STRUCT<a INT, b ARRAY<STRING>>, v MAP<STRING, ARRAY<ARRAY<LONG>>>, w JSON, x OBJECT, y VARCHAR(20))",
    "CREATE SOURCE Web (a INT) WITH (type = 'http', port = 80) MAP (type = 'json', date-format = 'iso')",
    "CREATE VIEW v AS SELECT a, b FROM S WINDOW('length', 5) WHERE a > 1",
    "CREATE OR REPLACE VIEW v (x) AS SELECT a FROM S",
    // Queries
    "INSERT INTO X SELECT a FROM S",
    "INSERT ALL EVENTS INTO X SELECT a FROM S; INSERT CURRENT EVENTS INTO X SELECT a FROM S; INSERT EXPIRED EVENTS INTO X SELECT 1",
    "SELECT a FROM S INSERT EXPIRED EVENTS INTO X",
    "FROM S[a > 1] AS s WINDOW('time', 5 MINUTES) SELECT s.a, count(*) AS n GROUP BY s.a HAVING n > 3 INSERT INTO X",
    "FROM S WHERE a > 1 SELECT a ORDER BY a LIMIT 5",
    "SELECT * FROM (FROM S SELECT a, b WHERE a > 2) q",
    "SELECT a FROM S GROUP BY a EMIT CHANGES OUTPUT LAST EVERY 5 EVENTS INSERT INTO X",
    "SELECT a FROM S EMIT FINAL OUTPUT SNAPSHOT EVERY 1 hour 30 minutes",
    "SELECT a FROM S OUTPUT EVERY 500 ms; SELECT a FROM S OUTPUT ALL EVERY 1 SECOND; SELECT a FROM S OUTPUT FIRST EVERY 2 EVENTS",
    "INSERT INTO X SELECT a FROM S SINK (type = 'http', url = 'http://x', format = json)",
    "WITH c AS (SELECT a FROM S WINDOW('lengthBatch', 3)) SELECT c.a FROM c UNION ALL SELECT a FROM T WINDOW LENGTH(4)",
    "SELECT CASE WHEN a == 1 THEN 'x' ELSE 'y' END, CAST(b AS DOUBLE), TRY_CAST(c AS INT), d IN (1, 2), e BETWEEN 1 AND 2,
       f LIKE 'a%', f ILIKE 'b', f ~ 'x.*', a % 2, a != 3, a <> 4, j -> 'k', j ->> 'k', e1[0].price, m['k'], x::INT,
       count(*) FILTER (WHERE a > 1), EXTRACT(YEAR FROM ts), a IS DISTINCT FROM b, percentile(x, 0.5), and(a), first(b), default(a, 1),
       EXISTS (SELECT 1 FROM T WHERE T.a = S.a), (SELECT max(a) FROM T), count(DISTINCT a), now(), INTERVAL '1 hour 30 minutes'
     FROM S",
    "SELECT ts - 5 MINUTES, ts - INTERVAL '5' MINUTE, ts + 1 hour + 30 min, 5s, 2.5 h FROM S",
    "SELECT sum(a) OVER (PARTITION BY k ORDER BY ts RANGE BETWEEN 5 MINUTES PRECEDING AND CURRENT ROW) AS s, row_number() OVER w FROM S WINDOW w AS (PARTITION BY k ORDER BY ts)",
    "SELECT DISTINCT a FROM S LIMIT 5 OFFSET 2",
    "SELECT a FROM UNNEST([1, 2]) AS t(a)",
    "SELECT * EXCEPT (a) FROM S; SELECT a FROM S EXCEPT SELECT a FROM T; SELECT a FROM S INTERSECT SELECT a FROM T",
    // Windows
    "SELECT a FROM S WINDOW('length', 5) AS s; SELECT a FROM S s WINDOW('length', size = 5); SELECT a FROM S AS s WINDOW LENGTH(5)",
    "SELECT a FROM S WINDOW('sort', 2, a DESC, b ASC, c), T WINDOW('lossyFrequent', 0.1, 0.01, k)",
    "SELECT a FROM S WINDOW('hop', size = 10 SECONDS, slide = 5 SECONDS) GROUP BY window_start",
    "SELECT a FROM S WINDOW('externalTimeBatch', ts, 1 SECOND, 0, 3 SECONDS)",
    "SELECT a FROM S WINDOW('batch'), S2 WINDOW BATCH(), S3 WINDOW('cron', '*/5 * * * * ?'), S4 WINDOW('expression', 'count(*) <= 2')",
    "SELECT a FROM TUMBLE(S, ts, 5 SECONDS) t; SELECT a FROM HOP(S, ts, 1 SECOND, 5 SECONDS); SELECT a FROM CUMULATE(S, ts, 1 s, 5 s); SELECT a FROM SESSION(S, ts, 5 MINUTES)",
    "SELECT a FROM TABLE(TUMBLE(TABLE S, DESCRIPTOR(ts), INTERVAL '5' SECOND)) AS t; SELECT a FROM HOP(TABLE S, DESCRIPTOR(ts), 1 s, 5 s)",
    "SELECT a FROM SESSION(TABLE S PARTITION BY k, DESCRIPTOR(ts), 5 MINUTES)",
    "CREATE WINDOW W (a INT) WINDOW('length', 5); CREATE WINDOW W WINDOW('time', 1 MINUTE) OUTPUT EXPIRED EVENTS WITH (queryable = true)",
    "CREATE WINDOW W (a INT) TUMBLING(5 SECONDS) OUTPUT ALL EVENTS",
    "SELECT a FROM W.find(a > 5 AND b = 'x'); SELECT w.a FROM W.find(a > 5) w",
    // Joins
    "SELECT a.x FROM A WINDOW('time', 1 SECOND) AS a LEFT JOIN B WINDOW('length', 1) AS b ON a.x = b.x",
    "SELECT A.x FROM A[x > 1] WINDOW('time', 1 SECOND) UNIDIRECTIONAL JOIN B b WINDOW('length', 1) ON A.x = b.x FULL OUTER JOIN C ON C.x = A.x",
    "SELECT a.x FROM A a JOIN B b ON a.id = b.id AND b.ts BETWEEN a.ts - 5 MINUTES AND a.ts CROSS JOIN T",
    "SELECT q.x FROM (SELECT x FROM A WHERE x > 1) AS q WINDOW('length', 3) UNIDIRECTIONAL JOIN B ON q.x = B.x",
    "SELECT a FROM (A JOIN B WINDOW('length', 2) ON A.x = B.x)",
    "SELECT S.message FROM !S",
    // Tables
    "CREATE TABLE T (id STRING PRIMARY KEY, a INT, b INT, INDEX (a), INDEX (a, b)) WITH (extension = 'cache', max_size = 100, policy = lru, ttl = 1 HOUR)",
    "UPSERT INTO T SELECT a, b FROM S; SELECT a FROM S UPSERT INTO T",
    "INSERT INTO T (a, b) SELECT a, b FROM S ON CONFLICT (a) DO UPDATE SET b = S.b + 1, c = 2 WHERE T.b > 0",
    "INSERT INTO T SELECT a FROM S ON CONFLICT DO NOTHING; INSERT INTO T VALUES (1, 'x'), (2, 'y')",
    "UPDATE T SET c = S.a + 1, d = 'x' FROM S WHERE T.id = S.id; UPDATE T SET a = 1",
    "UPDATE T SET price = q.price FROM (SELECT price FROM S WINDOW('length', 1)) AS q WHERE T.v <= q.v",
    "DELETE FROM T USING S WHERE T.id = S.id; DELETE FROM T; DELETE FROM T WHERE a = 1",
    "UPDATE OR INSERT INTO T SELECT id, a FROM S LEFT JOIN T ON T.id = S.id SET a = S.a, b = 1 ON T.id = id",
    "UPDATE OR INSERT INTO T SELECT * FROM S ON T.id = id",
    "BEGIN; INSERT INTO T SELECT a FROM S; COMMIT",
    // Partitions
    "PARTITION WITH (symbol OF Trades, CASE WHEN price >= 100 THEN 'high' WHEN price >= 10 THEN 'mid' END OF Quotes) BEGIN
       INSERT INTO #In SELECT CASE WHEN a THEN 1 END AS x FROM Trades;
       SELECT #In.x FROM #In WINDOW('length', 2) JOIN Quotes ON #In.x = Quotes.x INSERT INTO Out
     END WITH (idle = 1 HOUR, check = 1 MINUTE); SELECT 1",
    // Patterns
    "SELECT e1.price, e2[0].price, e2[last].price, e2[last-1].price, avg(e2.price) FROM PATTERN (EVERY e1=S[price > 20] -> e2=T[price > e1.price AND e2[last].price IS NULL]<2:5> -> S<:3>[x = 1] AS e3 WITHIN 5 MINUTES) PARTITION BY symbol, k WHERE e1.a > 1",
    "SELECT * FROM PATTERN (EVERY (A -> B WITHIN 3 SECONDS)<2> -> (C{2,} OR D+ AND E*)? -> NOT F[x > 1] FOR 5 SECONDS AFTER G) WITHIN 10 EVENTS",
    "SELECT * FROM PATTERN (NOT A AND b=B -> NOT C -> D{3}) AS p WHERE p.x = 1",
    "SELECT * FROM SEQUENCE (EVERY e1=#A[x > 1]+, e2=B?, e3=!C -> D) WITHIN 1 hour 30 min EMIT CHANGES",
    "INSERT EXPIRED EVENTS INTO X SELECT a.x FROM PATTERN (a=A -> b=B) WITHIN 5 SECONDS",
    "SELECT q.x FROM (SELECT a.x FROM PATTERN (a=A -> b=B) WITHIN 5 SECONDS) AS q",
    "SELECT m.x FROM S MATCH_RECOGNIZE (
       PARTITION BY k, l ORDER BY ts, id DESC
       MEASURES FINAL LAST(A.price) - RUNNING FIRST(price, 2) AS x, CLASSIFIER(U) AS match, COUNT(A.*) AS n, PREV(LAST(B.price, 1), 2) AS p
       ALL ROWS PER MATCH OMIT EMPTY MATCHES
       AFTER MATCH SKIP TO LAST B
       PATTERN (^ A+? (B | C{2,3}?){,4} {- D* {- E -}+ -} () PERMUTE(F, G H) \"x y\" LAST $) WITHIN 5 MINUTES
       SUBSET U = (A, B), V = (C, D)
       DEFINE A AS price > PREV(price), B AS AVG(A.price) < 5 AND ts < FIRST(A.ts) + 5 SECONDS) AS m",
    "SELECT * FROM S MATCH_RECOGNIZE (PATTERN (A) DEFINE A AS true); SELECT * FROM S[x > 1] MATCH_RECOGNIZE (ONE ROW PER MATCH AFTER MATCH SKIP TO NEXT ROW PATTERN (A | B) DEFINE A AS true)",
    // Triggers, functions, aggregations, EXPLAIN
    "CREATE TRIGGER T AT START; CREATE TRIGGER T AT EVERY 5 SECONDS; CREATE TRIGGER T AT CRON '0 0 9 * * 1-5'",
    "CREATE FUNCTION f(x INT, y ARRAY<INT>) RETURNS INT LANGUAGE SQL AS 'x + 1; -- ''no'' end'; CREATE FUNCTION g() RETURNS DOUBLE LANGUAGE SQL AS '1'",
    "CREATE AGGREGATION A WITH (purge = true) AS SELECT k, sum(x) AS t FROM S GROUP BY k AGGREGATE BY ts EVERY SECONDS ... YEARS",
    "CREATE AGGREGATION A AS SELECT sum(x) AS t FROM S AGGREGATE EVERY SECONDS, DAYS",
    "EXPLAIN SELECT a FROM S WINDOW('length', 5); EXPLAIN INSERT INTO X SELECT a FROM S",
    "-- nothing but a comment\n/* and /* nested */ another */ ; ;",
];
