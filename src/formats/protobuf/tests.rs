use std::sync::Arc;

use arrow::datatypes::{DataType, Field, IntervalUnit, Schema, SchemaRef};
use proptest::prelude::*;

use super::ProtobufFormat;
use crate::catalog::types::TIMESTAMP;
use crate::error::Diagnostic;
use crate::formats::testing::{batches, every_type, field, list_of, map_of, options, read, same, write};
use crate::formats::{DecodeSchema, Format};

/// Made by protoc of `events.proto`.
const DESCRIPTOR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/formats/protobuf/testdata/events.desc");

/// Three trades that Google's library for Python wrote.
const TRADES: &[u8] = include_bytes!("testdata/trades.bin");

const TRADE: [(&str, &str); 2] = [("descriptor", DESCRIPTOR), ("message", "shop.Trade")];
const EVERY: [(&str, &str); 2] = [("descriptor", DESCRIPTOR), ("message", "shop.Every")];

fn schema(fields: Vec<Field>) -> DecodeSchema {
    DecodeSchema::all(Arc::new(Schema::new(fields)))
}

fn trades() -> Vec<Field> {
    let interval = DataType::Interval(IntervalUnit::MonthDayNano);
    vec![
        field("SYMBOL", DataType::Utf8View),
        field("side", DataType::Utf8View),
        field("took", interval),
        field("n", DataType::Int64),
        field("sizes", list_of(DataType::Int64)),
        field("limits", map_of(DataType::Utf8View, DataType::Float64)),
        field("text", DataType::Utf8View),
        field("code", DataType::Int64),
        field(
            "parent",
            DataType::Struct(vec![field("symbol", DataType::Utf8View)].into()),
        ),
    ]
}

#[test]
fn messages_of_others_are_read() {
    for piece in [1, 7, 1000] {
        let outcome = read(&ProtobufFormat, &schema(trades()), &TRADE, TRADES, piece).unwrap();
        assert_eq!(outcome.messages(), Vec::<String>::new());
        assert_eq!(
            outcome.rows(),
            [
                "A SELL 1 mins 30.005000000 secs 0 [1, -2, 3] {a: 1.0, b: 2.5} hi null {symbol: P}",
                " BUY null null [] {} null null null",
                "C 5 null null [] {} null 9 null",
            ]
        );
        let mut with_volume = trades();
        with_volume.push(field("volume", DataType::Int64));
        let outcome = read(&ProtobufFormat, &schema(with_volume), &TRADE, TRADES, piece).unwrap();
        assert_eq!(outcome.rows().len(), 2);
        assert_eq!(
            outcome.messages(),
            ["3: column 'volume': 9223372036854775808 is out of range for LONG"]
        );
    }
}

#[test]
fn poison_between_messages_takes_only_itself() {
    let one = schema(vec![field("symbol", DataType::Utf8View)]);
    let good = b"\x03\x0A\x01A";
    let poisons: [&[u8]; 5] = [
        b"\x01\x0A",
        b"\x03\x0A\x7FA",
        b"\x03\x0A\x01\xFF",
        b"\x06\x0A\xFF\xFF\xFF\xFF\x0F",
        b"\x02\x07\x07",
    ];
    for poison in poisons {
        let input = [good, poison, good].concat();
        for piece in [1, 1000] {
            let outcome = read(&ProtobufFormat, &one, &TRADE, &input, piece).unwrap();
            assert_eq!(outcome.rows(), ["A", "A"], "{poison:?}");
            assert_eq!(outcome.errors.len(), 1, "{poison:?}");
        }
    }
    // A message in a message in a message …
    let mut deep = Vec::new();
    for _ in 0..500 {
        let mut outer = vec![0x52];
        crate::formats::delimited::write_length(&mut outer, deep.len());
        outer.append(&mut deep);
        deep = outer;
    }
    let mut input = good.to_vec();
    crate::formats::delimited::write_length(&mut input, deep.len());
    input.extend_from_slice(&deep);
    input.extend_from_slice(good);
    let outcome = read(&ProtobufFormat, &one, &TRADE, &input, 64).unwrap();
    assert_eq!((outcome.rows().len(), outcome.errors.len()), (2, 1));
    assert!(
        outcome.errors[0].message.contains("recursion"),
        "{:?}",
        outcome.messages()
    );
}

fn refused(result: Result<impl Sized, Diagnostic>) -> String {
    result.err().map_or(String::new(), |error| error.message.clone())
}

#[test]
fn columns_that_do_not_fit_are_an_error_of_the_app() {
    let source = |given: &[(&str, &str)], fields| {
        refused(ProtobufFormat.decoder(&schema(fields), &options(&ProtobufFormat, given)))
    };
    assert_eq!(source(&TRADE, trades()), "");
    assert!(
        source(&TRADE, vec![field("simbol", DataType::Utf8View)])
            .contains("no field 'simbol'; its fields are symbol, ")
    );
    assert!(
        source(&TRADE, vec![field("symbol", DataType::Int64)]).contains("it is LONG and the message's field is string")
    );
    assert!(source(&TRADE, vec![field("sizes", DataType::Int64)]).contains("the message's field is repeated"));
    assert!(source(&TRADE, vec![field("took", TIMESTAMP)]).contains("google.protobuf.Duration"));
    let other = |message| [("descriptor", DESCRIPTOR), ("message", message)];
    assert!(source(&other("shop.Nothing"), trades()).contains("no message 'shop.Nothing'"));
    let nowhere = [("descriptor", "/nowhere"), ("message", "a")];
    assert!(source(&nowhere, trades()).contains("cannot read /nowhere"));
    let proto = DESCRIPTOR.replace(".desc", ".proto");
    assert!(source(&[("descriptor", &proto), ("message", "a")], trades()).contains("is no descriptor set"));
    let sink =
        |fields| refused(ProtobufFormat.encoder(&Arc::new(Schema::new(fields)), &options(&ProtobufFormat, &TRADE)));
    assert_eq!(sink(vec![Field::new("symbol", DataType::Utf8View, false)]), "");
    assert!(sink(vec![field("symbol", DataType::Utf8View)]).contains("declare the column NOT NULL"));
    assert_eq!(
        sink(vec![field("text", DataType::Utf8View), field("n", DataType::Int64)]),
        ""
    );
    assert!(sink(vec![field("code", DataType::Int64)]).contains("uint32"));
}

/// All types, NULL but where messages cannot hold it: lists, their items, values of maps.
fn all_types() -> SchemaRef {
    let fields = every_type();
    let fields = fields.fields().iter().map(|field| match field.name().as_str() {
        "l" => {
            let longs = DataType::List(Arc::new(Field::new("item", DataType::Int64, false)));
            Field::new("l", DataType::List(Arc::new(Field::new("item", longs, false))), false)
        }
        "m" => {
            let DataType::Map(entries, _) = field.data_type() else {
                return field.as_ref().clone();
            };
            let DataType::Struct(parts) = entries.data_type() else {
                return field.as_ref().clone();
            };
            let parts = vec![
                parts[0].as_ref().clone(),
                parts[1].as_ref().clone().with_nullable(false),
            ];
            let entries = Field::new("entries", DataType::Struct(parts.into()), false);
            Field::new("m", DataType::Map(Arc::new(entries), false), false)
        }
        _ => field.as_ref().clone(),
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

proptest! {
    #[test]
    fn what_is_written_reads_back(batch in batches(all_types()), piece in 1usize..2000) {
        let bytes = write(&ProtobufFormat, &EVERY, &batch);
        let outcome = read(&ProtobufFormat, &DecodeSchema::all(all_types()), &EVERY, &bytes, piece).unwrap();
        prop_assert_eq!(outcome.messages(), Vec::<String>::new());
        prop_assert!(same(&outcome.batch, &batch));
    }

    #[test]
    fn noise_takes_only_itself(noise in proptest::collection::vec(any::<u8>(), 0..100)) {
        let good = b"\x03\x0A\x01A";
        let input = [good.as_slice(), &[noise.len() as u8], &noise, good].concat();
        let outcome = read(&ProtobufFormat, &schema(trades()), &TRADE, &input, 9).unwrap();
        prop_assert_eq!(outcome.rows().len() + outcome.errors.len(), 3);
        let _ = read(&ProtobufFormat, &DecodeSchema::all(all_types()), &EVERY, &noise, 7);
    }
}
