use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use tokio_postgres::types::Type;

use super::assembly::Assembly;
use super::statement::Subscribe;
use crate::connectors::pgwire::cells::Cells;
use crate::connectors::pgwire::copy::CopyForm;
use crate::connectors::pgwire::describe::{Found, fit};
use crate::connectors::pgwire::rows::{Form, Place, Rows};
use crate::connectors::{Around, Emitted};
use crate::event::Mark;

fn schema() -> Schema {
    Schema::new(vec![
        Field::new("name", DataType::Utf8View, true),
        Field::new("id", DataType::Int32, true),
        Field::new("at", DataType::Time64(arrow::datatypes::TimeUnit::Microsecond), true),
    ])
}

fn found() -> Vec<Found> {
    let column = |name: &str, of| Found {
        name: name.to_string(),
        of,
        modifier: -1,
    };
    vec![
        column("ID", Type::INT4),
        column("at", Type::TIME),
        column("na\"me", Type::XML),
        column("name", Type::XML),
    ]
}

#[test]
fn statements() {
    let (schema, found) = (schema(), found());
    let places = fit(&schema, &found, "'r'").unwrap();
    assert_eq!(places, [3, 0, 1]);
    let keyed = Subscribe::new("r", (&schema, &[0, 1], &[1]), (&found, &places), CopyForm::Binary);
    assert_eq!(
        keyed.copy(None),
        r#"COPY (SUBSCRIBE (SELECT "name"::text AS "name", "ID" FROM r) ENVELOPE UPSERT (KEY ("ID")) WITH (PROGRESS, SNAPSHOT = true)) TO STDOUT WITH (FORMAT BINARY)"#
    );
    let cells: Vec<usize> = keyed.places.iter().map(|place| place.cell).collect();
    assert_eq!(cells, [4, 3]);
    assert!(matches!(
        (&keyed.places[0].form, &keyed.places[1].form),
        (Form::Text, Form::Binary(_))
    ));
    // Without a key all columns are read, whatever is wanted of them.
    let events = Subscribe::new("r", (&schema, &[1], &[]), (&found, &places), CopyForm::Text);
    assert_eq!(
        events.copy(Some(7)),
        r#"COPY (SUBSCRIBE (SELECT "name", "ID", "at" FROM r) WITH (PROGRESS, SNAPSHOT = false) AS OF 7) TO STDOUT"#
    );
    assert_eq!(events.places[0].cell, 4);
}

struct Feed {
    assembly: Assembly,
    hand: Vec<Emitted>,
}

impl Feed {
    fn new(keyed: bool, whole: usize, after: Option<u64>) -> Self {
        let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int32, true)]));
        let rows = Rows::new(schema, keyed.then_some(0)).unwrap();
        let places = vec![Place {
            cell: 3,
            form: Form::Text,
        }];
        Feed {
            assembly: Assembly::new(rows, places, keyed, whole, "of".to_string(), after),
            hand: Vec::new(),
        }
    }

    /// Rows as `time t` for progress and `time change id` for others; what is handed over: the rows, what is around them, the
    /// time to go on after.
    fn take(&mut self, lines: &str) -> Vec<(String, Around, Option<u64>)> {
        let mut cells = Cells::default();
        for line in lines.split(", ") {
            let words: Vec<&str> = line.split(' ').collect();
            cells.clear();
            let (progress, rest) = if words[1] == "t" {
                ("t", &[][..])
            } else {
                ("f", &words[1..])
            };
            cells.push(Some(words[0].as_bytes()));
            cells.push(Some(progress.as_bytes()));
            (0..2).for_each(|at| cells.push(rest.get(at).map(|word| word.as_bytes())));
            self.assembly.take(&cells, 0, &mut self.hand).unwrap();
        }
        let shown = |emitted: Emitted| {
            let batch = &emitted.batch;
            let id = |row| arrow::util::display::array_value_to_string(batch.column(0), row).unwrap();
            let one = |row| format!("{}{}@{}", batch.op(row).sign(), id(row), batch.time(row) / 1000);
            let rows: Vec<String> = (0..batch.num_rows()).map(one).collect();
            let position = emitted.position.unwrap();
            assert_eq!(position["of"], "of");
            (rows.join(" "), emitted.around, position["as_of"].as_u64())
        };
        self.hand.drain(..).map(shown).collect()
    }
}

fn around(before: Option<Mark>, after: Option<Mark>, watermark: Option<i64>) -> Around {
    Around {
        before,
        after,
        watermark,
    }
}

#[test]
fn a_snapshot_is_whole_when_anything_later_comes() {
    let (begins, ends) = (Some(Mark::SnapshotBegins), Some(Mark::SnapshotEnds(5_000)));
    let mut feed = Feed::new(true, 100, None);
    assert_eq!(feed.take("5 t, 5 upsert 1, 5 upsert 2"), []);
    assert_eq!(feed.assembly.complete(), None);
    let got = feed.take("6 t");
    assert_eq!(
        got,
        [("+I1@5 +I2@5".to_string(), around(begins, ends, Some(6_000)), Some(5))]
    );
    // A row of a later time does it as well, and what is later goes by itself.
    let mut feed = Feed::new(true, 100, None);
    let got = feed.take("5 upsert 1, 7 delete 1, 9 t");
    assert_eq!(
        got,
        [
            ("+I1@5".to_string(), around(begins, ends, Some(5_000)), Some(5)),
            ("-D1@7".to_string(), around(None, None, Some(9_000)), Some(8)),
        ]
    );
    // Of nothing, too.
    let got = Feed::new(true, 100, None).take("5 t, 6 t");
    assert_eq!(got, [(String::new(), around(begins, ends, Some(6_000)), Some(5))]);
}

#[test]
fn times_are_not_cut_and_what_was_there_before_is_dropped() {
    let mut feed = Feed::new(false, 100, Some(5));
    assert_eq!(feed.take("5 t, 5 1 1, 6 1 2, 6 2 3, 7 -1 2"), []);
    assert_eq!(feed.assembly.complete(), Some(5));
    let got = feed.take("8 t, 8 t");
    assert_eq!(
        got,
        [(
            "+I2@6 +I3@6 +I3@6 -D2@7".to_string(),
            around(None, None, Some(8_000)),
            Some(7)
        )]
    );
}

#[test]
fn more_rows_than_are_held_come_in_parts_that_cannot_be_gone_on_after() {
    let mut feed = Feed::new(false, 2, None);
    let got = feed.take("5 t, 5 1 1, 5 3 2");
    let begins = around(Some(Mark::SnapshotBegins), None, None);
    assert_eq!(
        got,
        [
            ("+I1@5 +I2@5".to_string(), begins, None),
            ("+I2@5 +I2@5".to_string(), Around::default(), None),
        ]
    );
    let got = feed.take("6 t");
    let ends = around(None, Some(Mark::SnapshotEnds(5_000)), Some(6_000));
    assert_eq!(got, [(String::new(), ends, Some(5))]);
    // Live, too.
    assert_eq!(
        feed.take("7 2 1"),
        [("+I1@7 +I1@7".to_string(), Around::default(), None)]
    );
    assert_eq!(feed.assembly.complete(), None);
    assert_eq!(
        feed.take("8 t"),
        [(String::new(), around(None, None, Some(8_000)), Some(7))]
    );
    assert_eq!(feed.assembly.complete(), Some(7));
}

#[test]
fn rows_that_make_no_sense_are_errors() {
    let mut cells = Cells::default();
    for row in [
        &["x", "f", "1", "1"][..],
        &["1", "?", "1", "1"],
        &["1", "f", "upsert", "1"],
        &["1", "f"],
        &[],
    ] {
        cells.clear();
        row.iter().for_each(|cell| cells.push(Some(cell.as_bytes())));
        let mut feed = Feed::new(false, 2, Some(0));
        assert!(feed.assembly.take(&cells, 0, &mut feed.hand).is_err(), "{row:?}");
    }
}
