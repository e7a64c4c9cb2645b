//! Declarations and table changes: names, spans and options.

use eventflux_sqlparser::{
    ConflictAction, InsertMode, LineIndex, OptionValueKind, OutputEvents, StatementKind, StreamOrigin, TriggerSchedule,
    parse,
};

fn one(text: &str) -> StatementKind {
    let mut statements = parse(text).unwrap_or_else(|error| panic!("{error} in {text}"));
    assert_eq!(statements.len(), 1, "{text}");
    statements.remove(0).kind
}

#[test]
fn a_stream_with_everything() {
    let text = "CREATE STREAM Trades (\n  \"sym bol\" STRING NOT NULL PRIMARY KEY, v STRUCT<a INT, b ARRAY<LONG>>,\n  \
                ts TIMESTAMP, WATERMARK FOR ts AS ts - 5 SECONDS)\nWITH (type = 'source', kafka.max-poll.ms = 10)";
    let StatementKind::CreateStream(stream) = one(text) else {
        panic!("not a stream")
    };
    let index = LineIndex::new(text);
    assert_eq!(stream.origin, StreamOrigin::CreateStream);
    assert_eq!(index.text(stream.name.span), "Trades");
    assert_eq!(index.text(stream.span), text);
    let columns: Vec<(&str, &str, &str)> = stream
        .columns
        .iter()
        .map(|c| (c.name.value.as_str(), index.text(c.name.span), index.text(c.type_span)))
        .collect();
    assert_eq!(
        columns,
        [
            ("sym bol", "\"sym bol\"", "STRING"),
            ("v", "v", "STRUCT<a INT, b ARRAY<LONG>>"),
            ("ts", "ts", "TIMESTAMP")
        ]
    );
    assert!(!stream.columns[0].nullable && stream.columns[1].nullable);
    assert_eq!(stream.primary_key[0].value, "sym bol");
    let watermark = stream.watermark.expect("a watermark");
    assert_eq!(
        (watermark.column.value.as_str(), index.text(watermark.span)),
        ("ts", "WATERMARK FOR ts AS ts - 5 SECONDS")
    );
    let options: Vec<(&str, &str, &str, &str)> = stream
        .options
        .iter()
        .map(|o| {
            (
                o.key.as_str(),
                index.text(o.key_span),
                o.value.text.as_str(),
                index.text(o.value_span),
            )
        })
        .collect();
    assert_eq!(
        options,
        [
            ("type", "type", "source", "'source'"),
            ("kafka.max-poll.ms", "kafka.max-poll.ms", "10", "10")
        ]
    );
}

#[test]
fn option_values() {
    let table: &[(&str, &str, OptionValueKind)] = &[
        ("'x y'", "x y", OptionValueKind::String),
        ("\"x\"", "x", OptionValueKind::String),
        ("12", "12", OptionValueKind::Number),
        ("-1.5", "-1.5", OptionValueKind::Number),
        ("TRUE", "TRUE", OptionValueKind::Bool),
        ("json", "json", OptionValueKind::Word),
        ("at-least-once", "at-least-once", OptionValueKind::Word),
        ("30 SECONDS", "30 seconds", OptionValueKind::Duration(30_000_000)),
        (
            "1 h 30 m",
            "1 hours 30 minutes",
            OptionValueKind::Duration(5_400_000_000),
        ),
        (
            "INTERVAL '5' MINUTE",
            "300000 milliseconds",
            OptionValueKind::Duration(300_000_000),
        ),
    ];
    for (value, text, kind) in table {
        let StatementKind::CreateStream(stream) = one(&format!("CREATE STREAM S (a INT) WITH (k = {value})")) else {
            panic!("not a stream")
        };
        assert_eq!(
            (stream.options[0].value.text.as_str(), stream.options[0].value.kind),
            (*text, *kind),
            "{value}"
        );
    }
}

#[test]
fn a_source_keeps_its_map_apart() {
    let StatementKind::CreateStream(stream) =
        one("CREATE SOURCE S (a INT) WITH (type = 'http', port = 80) MAP (type = 'json')")
    else {
        panic!("not a stream")
    };
    assert_eq!(stream.options.len(), 2);
    let StreamOrigin::Source(source) = stream.origin else {
        panic!("not a source")
    };
    assert_eq!(source.map.map(|map| map.len()), Some(1));
}

#[test]
fn tables_windows_triggers_functions() {
    let StatementKind::CreateTable(table) =
        one("CREATE TABLE T (a INT, b INT, PRIMARY KEY (a, b), INDEX (b)) WITH (extension = 'cache')")
    else {
        panic!("not a table")
    };
    assert_eq!(
        (table.primary_key.len(), table.indexes.len(), table.options.len()),
        (2, 1, 1)
    );
    let StatementKind::CreateWindow(window) =
        one("CREATE WINDOW W (a INT) WINDOW('Length', 5) OUTPUT EXPIRED EVENTS WITH (queryable = true)")
    else {
        panic!("not a window")
    };
    assert_eq!(
        (window.window.kind.as_str(), window.output),
        ("length", Some(OutputEvents::Expired))
    );
    let StatementKind::CreateTrigger(trigger) = one("CREATE TRIGGER T AT CRON '0 * * * ?'") else {
        panic!("not a trigger")
    };
    assert_eq!(trigger.schedule, TriggerSchedule::Cron("0 * * * ?".to_string()));
    let StatementKind::CreateFunction(function) =
        one("CREATE FUNCTION f(x INT, y MAP<STRING, INT>) RETURNS ARRAY<INT> LANGUAGE SQL AS 'x; ''y'''")
    else {
        panic!("not a function")
    };
    assert_eq!((function.params.len(), function.body.as_str()), (2, "x; 'y'"));
    assert_eq!(function.returns.to_string(), "ARRAY<INT>");
}

#[test]
fn table_changes() {
    let StatementKind::Update(update) =
        one("UPDATE T SET T.a = s.a + 1, b = c IS DISTINCT FROM d FROM S WINDOW('length', 1) AS s WHERE T.id = s.id")
    else {
        panic!("not an update")
    };
    assert_eq!(update.set[0].table.as_ref().map(|t| t.value.as_str()), Some("T"));
    assert_eq!(update.from[0].to_string(), "__relation_0 AS s");
    assert_eq!(
        (update.relations.len(), update.selection.map(|s| s.to_string())),
        (1, Some("T.id = s.id".to_string()))
    );
    let StatementKind::Delete(delete) = one("DELETE FROM T AS t USING S, R WHERE t.id = S.id") else {
        panic!("not a delete")
    };
    assert_eq!(
        (delete.alias.map(|a| a.value), delete.using.len()),
        (Some("t".to_string()), 2)
    );
    let StatementKind::Query(upsert) =
        one("UPDATE OR INSERT INTO T SELECT id, a FROM S JOIN R ON S.x = R.x SET a = S.a ON T.id = id")
    else {
        panic!("not a query")
    };
    assert_eq!(upsert.body.to_string(), "SELECT id, a FROM S JOIN R ON S.x = R.x");
    let Some(InsertMode::UpdateOrInsert { set, on }) = upsert.target.map(|t| t.mode) else {
        panic!("not an upsert")
    };
    assert_eq!((set.len(), on.to_string().as_str()), (1, "T.id = id"));
    let StatementKind::Query(insert) =
        one("INSERT INTO T SELECT a FROM S ON CONFLICT (a) DO UPDATE SET b = 1, c = 2 WHERE T.d > 0")
    else {
        panic!("not a query")
    };
    let conflict = insert.target.and_then(|t| t.on_conflict).expect("a conflict clause");
    assert!(matches!(conflict.action, ConflictAction::Update { set, selection: Some(_) } if set.len() == 2));
}

#[test]
fn partitions() {
    let text = "PARTITION WITH (k OF A, CASE WHEN x > 1 THEN 'y' END OF B) BEGIN\n  SELECT a FROM #A;\n  \
                SELECT CASE WHEN a THEN 1 END FROM B\nEND WITH (idle = 1 HOUR); SELECT 1";
    let statements = parse(text).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(statements.len(), 2);
    let StatementKind::Partition(partition) = &statements[0].kind else {
        panic!("not a partition")
    };
    assert_eq!(
        (partition.keys.len(), partition.body.len(), partition.options.len()),
        (2, 2, 1)
    );
    let index = LineIndex::new(text);
    assert_eq!(index.text(partition.keys[1].span), "CASE WHEN x > 1 THEN 'y' END OF B");
    assert_eq!(index.text(partition.body[0].span), "SELECT a FROM #A");
    assert_eq!(index.text(statements[1].span), "SELECT 1");
}
