use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, IntervalMonthDayNano, Schema};
use proptest::prelude::*;
use tokio_postgres::types::Type;

use super::cells::{Cells, is_relation_name};
use super::copy::{CopyForm, CopyRows};
use super::rows::{Form, Place, Rows};
use super::{binary, interval, text};
use crate::event::Op;
use crate::formats::columns::{Column, finish};

fn all(form: CopyForm, bytes: &[u8], piece: usize) -> Vec<Vec<Option<Vec<u8>>>> {
    let (mut rows, mut cells, mut all) = (CopyRows::new(form), Cells::default(), Vec::new());
    for piece in bytes.chunks(piece.max(1)) {
        rows.feed(piece).unwrap();
        while rows.next(&mut cells).unwrap() {
            all.push((0..cells.len()).map(|at| cells.get(at).map(<[u8]>::to_vec)).collect());
        }
    }
    all
}

#[test]
fn text_rows_with_nulls_and_escapes() {
    let got = all(CopyForm::Text, b"1\t\\N\t\n\\\\N\t\\t\\n\\x41\\101\\q\tz\n", 100);
    let cell = |text: &str| Some(text.as_bytes().to_vec());
    assert_eq!(got[0], [cell("1"), None, cell("")]);
    assert_eq!(got[1], [cell("\\N"), cell("\t\nAAq"), cell("z")]);
}

fn escaped(row: &[Option<Vec<u8>>]) -> Vec<u8> {
    let cell = |cell: &Option<Vec<u8>>| match cell {
        None => b"\\N".to_vec(),
        Some(bytes) => bytes
            .iter()
            .flat_map(|byte| match byte {
                b'\\' => b"\\\\".to_vec(),
                b'\n' => b"\\n".to_vec(),
                b'\t' => b"\\t".to_vec(),
                other => vec![*other],
            })
            .collect(),
    };
    let mut line = row.iter().map(cell).collect::<Vec<_>>().join(&b'\t');
    line.push(b'\n');
    line
}

fn tuples(rows: &[Vec<Option<Vec<u8>>>]) -> Vec<u8> {
    let mut out = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\x03abc".to_vec();
    for row in rows {
        out.extend_from_slice(&(row.len() as i16).to_be_bytes());
        for cell in row {
            match cell {
                None => out.extend_from_slice(&(-1_i32).to_be_bytes()),
                Some(bytes) => {
                    out.extend_from_slice(&(bytes.len() as i32).to_be_bytes());
                    out.extend_from_slice(bytes);
                }
            }
        }
    }
    out.extend_from_slice(&(-1_i16).to_be_bytes());
    out
}

proptest! {
    #[test]
    fn rows_come_back_whatever_pieces_they_come_in(
        rows in prop::collection::vec(prop::collection::vec(prop::option::of(prop::collection::vec(any::<u8>(), 0..12)), 1..5), 0..8),
        piece in 1_usize..40,
    ) {
        let text: Vec<u8> = rows.iter().flat_map(|row| escaped(row)).collect();
        prop_assert_eq!(&all(CopyForm::Text, &text, piece), &rows);
        prop_assert_eq!(&all(CopyForm::Binary, &tuples(&rows), piece), &rows);
    }

    #[test]
    fn damaged_copies_and_values_are_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), written in ".{0,40}") {
        for form in [CopyForm::Text, CopyForm::Binary] {
            let (mut rows, mut cells) = (CopyRows::new(form), Cells::default());
            let _ = rows.feed(&bytes);
            while rows.next(&mut cells).unwrap_or(false) {}
        }
        for of in [Type::NUMERIC, Type::INT4_ARRAY, Type::INTERVAL, Type::JSONB, Type::TIMESTAMPTZ, Type::UUID, Type::TEXT_ARRAY] {
            let _ = binary::write(&mut String::new(), &of, &bytes);
        }
        let list = DataType::List(Arc::new(Field::new("item", DataType::Int32, true)));
        for of in [DataType::Float64, list, DataType::BinaryView, crate::catalog::types::TIMESTAMP] {
            let mut column = Column::new(Arc::new(Field::new("c", of, true))).unwrap();
            let _ = text::push(&mut column, &written);
        }
    }
}

fn pushed(of: DataType, written: &str) -> Result<ArrayRef, String> {
    let schema = Arc::new(Schema::new(vec![Field::new("c", of, true)]));
    let mut column = Column::new(schema.fields()[0].clone()).unwrap();
    text::push(&mut column, written).map_err(|why| why.message("c"))?;
    let batch = finish(std::slice::from_mut(&mut column), &schema, 1).unwrap();
    Ok(batch.column(0).clone())
}

fn shown(of: DataType, written: &str) -> String {
    match pushed(of, written) {
        Ok(values) => arrow::util::display::array_value_to_string(&values, 0).unwrap(),
        Err(why) => why,
    }
}

#[test]
fn what_only_postgresql_writes() {
    let list = |of| DataType::List(Arc::new(Field::new("item", of, true)));
    assert_eq!(shown(DataType::Float64, "NaN"), "NaN");
    assert_eq!(shown(DataType::Float32, "-Infinity"), "-inf");
    assert_eq!(
        shown(crate::catalog::types::TIMESTAMP, "12024-01-01 00:00:00"),
        "+12024-01-01T00:00:00"
    );
    assert!(shown(crate::catalog::types::TIMESTAMP, "infinity").contains("expected"));
    assert_eq!(shown(DataType::BinaryView, "\\x00Ff"), "00ff");
    assert!(shown(DataType::BinaryView, "\\x0").contains("bytea"));
    assert_eq!(shown(list(DataType::Int32), "{}"), "[]");
    assert_eq!(
        shown(list(list(DataType::Int32)), "{{1,2},{NULL,4}}"),
        "[[1, 2], [, 4]]"
    );
    assert_eq!(
        shown(list(DataType::Utf8View), r#"{a,"b \"c\" \\ ,}",""}"#),
        r#"[a, b "c" \ ,}, ]"#
    );
    for bad in ["{1,", "{1}x", "{,}", "{1 2}", "1", "{{1}", "{\"1}"] {
        assert!(pushed(list(DataType::Int32), bad).is_err(), "{bad}");
    }
}

#[test]
fn intervals() {
    let of = |months, days, nanos| Some(IntervalMonthDayNano::new(months, days, nanos));
    assert_eq!(
        interval::parse("1 year 2 mons -3 days +04:05:06.7"),
        of(14, -3, 14_706_700_000_000)
    );
    assert_eq!(interval::parse("-00:00:01"), of(0, 0, -1_000_000_000));
    assert_eq!(interval::parse("00:00:00"), of(0, 0, 0));
    assert_eq!(interval::parse("100:00:00"), of(0, 0, 360_000_000_000_000));
    assert_eq!(interval::parse("P1M"), of(1, 0, 0));
    for bad in ["", "1", "1 week", "x days", "1:2:3:4", "99999999999 years"] {
        assert_eq!(interval::parse(bad), None, "{bad}");
    }
}

#[test]
fn numbers_in_groups_of_four_digits() {
    let of = |words: &[u16]| {
        let raw: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        let mut out = String::new();
        binary::numeric(&mut out, &raw).map(|()| out)
    };
    assert_eq!(of(&[2, 1, 0, 0, 1, 5]).as_deref(), Some("10005"));
    assert_eq!(of(&[1, 1, 0, 0, 1]).as_deref(), Some("10000"));
    assert_eq!(of(&[2, 0, 0x4000, 2, 12, 3400]).as_deref(), Some("-12.34"));
    assert_eq!(of(&[1, 0xFFFF, 0, 4, 5]).as_deref(), Some("0.0005"));
    assert_eq!(of(&[1, 0xFFFE, 0, 8, 5]).as_deref(), Some("0.00000005"));
    assert_eq!(of(&[0, 0, 0, 2]).as_deref(), Some("0.00"));
    assert_eq!(of(&[0, 0, 0xC000, 0]).as_deref(), Some("NaN"));
    assert_eq!(of(&[2, 0, 0, 0, 1]), Some("1".to_string()));
    assert_eq!(of(&[0, 0]), None);
}

#[test]
fn a_row_that_does_not_fit_leaves_nothing_and_a_deleted_one_needs_its_key() {
    let fields = vec![
        Field::new("id", DataType::Int32, false),
        Field::new("n", DataType::Int64, false),
    ];
    let schema = Arc::new(Schema::new(fields));
    let mut rows = Rows::new(schema, [0]).unwrap();
    let places: Vec<Place> = (0..2).map(|cell| Place { cell, form: Form::Text }).collect();
    let mut cells = Cells::default();
    let mut push = |values: [Option<&str>; 2], op| {
        cells.clear();
        values
            .into_iter()
            .for_each(|value| cells.push(value.map(str::as_bytes)));
        rows.push(&cells, &places, op, 7)
    };
    push([Some("1"), Some("10")], Op::Insert).unwrap();
    assert!(
        push([Some("2"), Some("x")], Op::Insert)
            .unwrap_err()
            .contains("column 'n'")
    );
    assert!(push([Some("2"), None], Op::Insert).unwrap_err().contains("NOT NULL"));
    push([Some("2"), None], Op::Delete).unwrap();
    let batch = rows.take(0).unwrap();
    assert_eq!(
        (batch.num_rows(), batch.op(0), batch.op(1), batch.time(1)),
        (2, Op::Insert, Op::Delete, 7)
    );
    assert_eq!(shown_column(batch.column(0)), ["1", "2"]);
    assert_eq!(rows.len(), 0);
}

fn shown_column(values: &ArrayRef) -> Vec<String> {
    (0..values.len())
        .map(|row| arrow::util::display::array_value_to_string(values, row).unwrap())
        .collect()
}

#[test]
fn names_of_relations() {
    for good in ["a", "a.b", "a.b.c", "\"A b\".c", "\"a\"\"b\"", "_x$1", "größe"] {
        assert!(is_relation_name(good), "{good}");
    }
    for bad in [
        "",
        "a.",
        ".a",
        "a b",
        "a;b",
        "\"a",
        "\"\"",
        "1a",
        "a'b",
        "a--",
        "(SELECT 1)",
    ] {
        assert!(!is_relation_name(bad), "{bad}");
    }
}
