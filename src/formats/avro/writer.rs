//! Columns to values of a schema: which field takes which column is found once.

use arrow::datatypes::{DataType, Field, Schema as Columns};

use super::schema::{self, Schema, Type, TypeId, Unit};
use super::wire::{write_bytes, write_long};
use crate::catalog::names::{Resolved, resolve};
use crate::catalog::types;
use crate::formats::columns::scalar_writer::{self, Cells, Typed};

/// Writes records of a schema.
#[derive(Debug)]
pub(super) struct RecordWriter {
    steps: Vec<Step>,
}

/// What a field is written from.
#[derive(Debug)]
enum Step {
    Column(usize, Writer),
    /// No column has its name: NULL, by this branch of its union.
    Null(Option<i64>),
}

/// How a column's values become those of a type.
#[derive(Debug)]
enum Writer {
    /// Null, in the first branch or the second, or the value in the other one.
    Optional {
        null: i64,
        value: i64,
        of: Box<Writer>,
    },
    /// A branch of a union that NULL is none of.
    Branch(i64, Box<Writer>),
    Plain,
    /// A FLOAT as a double.
    Double,
    Millis,
    Nanos,
    /// Digits behind the point to add, and how many bytes, of a fixed one.
    Decimal(u32, Option<usize>),
    Fixed(usize),
    Enum(Vec<String>),
    Array(Box<Writer>),
    Map(Box<Writer>),
    Record(Vec<Step>),
}

impl RecordWriter {
    /// For columns; or why they do not fit.
    pub(super) fn new(schema: &Schema, columns: &Columns) -> Result<Self, String> {
        let ours: Vec<&Field> = columns.fields().iter().map(AsRef::as_ref).collect();
        Ok(RecordWriter {
            steps: steps(schema, schema.fields(), &ours)?,
        })
    }

    /// Appends a row.
    pub(super) fn write(&self, out: &mut Vec<u8>, cells: &[Cells], row: usize) -> Result<(), String> {
        record(out, &self.steps, |index| &cells[index], row)
    }
}

fn steps(schema: &Schema, theirs: &[schema::Field], ours: &[&Field]) -> Result<Vec<Step>, String> {
    let names = || ours.iter().map(|field| field.name().as_str());
    let mut written = vec![false; ours.len()];
    let mut steps = Vec::with_capacity(theirs.len());
    for field in theirs {
        let place = match resolve(&field.name, names()) {
            Resolved::One(found) => names().position(|name| name == found),
            _ => None,
        };
        steps.push(match place {
            Some(place) => {
                written[place] = true;
                let writer = writer(schema, field.of, ours[place]);
                Step::Column(
                    place,
                    writer.map_err(|reason| format!("column '{}': {reason}", ours[place].name()))?,
                )
            }
            None => match schema.get(field.of) {
                Type::Null => Step::Null(None),
                Type::Union(branches) if let Some(null) = null_branch(schema, branches) => Step::Null(Some(null)),
                _ => {
                    return Err(format!(
                        "there is no column for the schema's field '{}', which cannot be null",
                        field.name
                    ));
                }
            },
        });
    }
    match written.iter().position(|written| !written) {
        None => Ok(steps),
        Some(place) => Err(format!("the schema has no field '{}'", ours[place].name())),
    }
}

fn null_branch(schema: &Schema, branches: &[TypeId]) -> Option<i64> {
    let place = branches.iter().position(|branch| *schema.get(*branch) == Type::Null);
    place.and_then(|place| i64::try_from(place).ok())
}

fn writer(schema: &Schema, of: TypeId, column: &Field) -> Result<Writer, String> {
    let Type::Union(branches) = schema.get(of) else {
        return match column.is_nullable() {
            true => Err("it may be NULL, and the schema's field may not: declare it NOT NULL, or make the field a union with \"null\"".to_string()),
            false => value(schema, of, column),
        };
    };
    let null = null_branch(schema, branches);
    let mut refused = "the schema's field is always null".to_string();
    for (place, branch) in (0..).zip(branches) {
        if Some(place) == null {
            continue;
        }
        match value(schema, *branch, column) {
            Ok(of) => {
                let of = Box::new(of);
                return match null {
                    Some(null) => Ok(Writer::Optional { null, value: place, of }),
                    None if column.is_nullable() => Err("it may be NULL, and the schema's field may not".to_string()),
                    None => Ok(Writer::Branch(place, of)),
                };
            }
            Err(reason) => refused = reason,
        }
    }
    Err(refused)
}

/// How values that are not NULL become those of a type that is no union.
fn value(schema: &Schema, of: TypeId, column: &Field) -> Result<Writer, String> {
    use DataType::{
        BinaryView, Boolean, Date32, Decimal128, Float32, Float64, Int8, Int16, Int32, Int64, Interval, List, Map,
        Struct, Time64, Timestamp, Utf8View,
    };
    Ok(match (schema.get(of), column.data_type()) {
        (Type::Boolean, Boolean)
        | (Type::Int, Int8 | Int16 | Int32)
        | (Type::Long, Int8 | Int16 | Int32 | Int64)
        | (Type::Float, Float32)
        | (Type::Double, Float64)
        | (Type::Bytes, BinaryView)
        | (Type::Text, Utf8View | Interval(_))
        | (Type::Date, Date32)
        | (Type::Time(Unit::Micros), Time64(_))
        | (Type::Timestamp(Unit::Micros), Timestamp(_, _)) => Writer::Plain,
        (Type::Double, Float32) => Writer::Double,
        (Type::Time(Unit::Millis), Time64(_)) | (Type::Timestamp(Unit::Millis), Timestamp(_, _)) => Writer::Millis,
        (Type::Timestamp(Unit::Nanos), Timestamp(_, _)) => Writer::Nanos,
        (Type::Fixed(size), BinaryView) => Writer::Fixed(*size),
        (Type::Enum(symbols), Utf8View) => Writer::Enum(symbols.clone()),
        (
            Type::Decimal {
                precision,
                scale,
                fixed,
            },
            Decimal128(_, from),
        ) if types::widens(column.data_type(), &Decimal128(*precision, *scale)) => {
            Writer::Decimal(u32::from(scale.abs_diff(*from)), *fixed)
        }
        (Type::Array(items), List(item)) => Writer::Array(Box::new(writer(schema, *items, item)?)),
        (Type::Map(values), Map(entries, _)) if let Struct(parts) = entries.data_type() => match parts.as_ref() {
            [_, part] => Writer::Map(Box::new(writer(schema, *values, part)?)),
            _ => return Err("it is no map".to_string()),
        },
        (Type::Record(fields), Struct(parts)) => {
            let parts: Vec<&Field> = parts.iter().map(AsRef::as_ref).collect();
            Writer::Record(steps(schema, fields, &parts)?)
        }
        (theirs, ours) => {
            return Err(format!(
                "it is {} and the schema's field is {}",
                types::name(ours),
                theirs.name()
            ));
        }
    })
}

fn record<'c>(out: &mut Vec<u8>, steps: &[Step], part: impl Fn(usize) -> &'c Cells, row: usize) -> Result<(), String> {
    for step in steps {
        match step {
            Step::Column(index, writer) => write(out, writer, part(*index), row)?,
            Step::Null(Some(branch)) => write_long(out, *branch),
            Step::Null(None) => {}
        }
    }
    Ok(())
}

fn write(out: &mut Vec<u8>, writer: &Writer, cells: &Cells, row: usize) -> Result<(), String> {
    match writer {
        Writer::Optional { null, .. } if cells.is_null(row) => {
            write_long(out, *null);
            Ok(())
        }
        _ if cells.is_null(row) => Err("NULL in a column that is NOT NULL".to_string()),
        Writer::Optional { value: branch, of, .. } | Writer::Branch(branch, of) => {
            write_long(out, *branch);
            write(out, of, cells, row)
        }
        _ => write_value(out, writer, cells, row),
    }
}

fn write_value(out: &mut Vec<u8>, writer: &Writer, cells: &Cells, row: usize) -> Result<(), String> {
    match (&cells.values, writer) {
        (Typed::Bool(array), _) => out.push(array.value(row).into()),
        (Typed::Int8(array), _) => write_long(out, array.value(row).into()),
        (Typed::Int16(array), _) => write_long(out, array.value(row).into()),
        (Typed::Int32(array), _) => write_long(out, array.value(row).into()),
        (Typed::Int64(array), _) => write_long(out, array.value(row)),
        (Typed::Float32(array), Writer::Double) => out.extend_from_slice(&f64::from(array.value(row)).to_le_bytes()),
        (Typed::Float32(array), _) => out.extend_from_slice(&array.value(row).to_le_bytes()),
        (Typed::Float64(array), _) => out.extend_from_slice(&array.value(row).to_le_bytes()),
        (Typed::Timestamp(array), Writer::Millis) => write_long(out, array.value(row).div_euclid(1_000)),
        (Typed::Timestamp(array), Writer::Nanos) => {
            let nanos = array.value(row).checked_mul(1_000);
            write_long(out, nanos.ok_or("the time is beyond what nanoseconds can count")?);
        }
        (Typed::Timestamp(array), _) => write_long(out, array.value(row)),
        (Typed::Date(array), _) => write_long(out, array.value(row).into()),
        (Typed::Time(array), Writer::Millis) => write_long(out, array.value(row) / 1_000),
        (Typed::Time(array), _) => write_long(out, array.value(row)),
        (Typed::Decimal(array, _), Writer::Decimal(power, fixed)) => decimal(out, array.value(row), *power, *fixed)?,
        (Typed::Text(array) | Typed::Json(array), Writer::Enum(symbols)) => {
            let text = array.value(row);
            let place = symbols.iter().position(|symbol| symbol == text);
            let place = place.ok_or_else(|| format!("'{text}' is no symbol of the schema's enum"))?;
            write_long(out, i64::try_from(place).unwrap_or(i64::MAX));
        }
        (Typed::Text(array) | Typed::Json(array), _) => write_bytes(out, array.value(row).as_bytes()),
        (Typed::Interval(_), _) => {
            let mut text = Vec::new();
            scalar_writer::write(&mut text, &cells.values, row);
            write_bytes(out, &text);
        }
        (Typed::Bytes(array), Writer::Fixed(size)) => match array.value(row) {
            bytes if bytes.len() == *size => out.extend_from_slice(bytes),
            bytes => {
                return Err(format!(
                    "{} bytes are not the {size} of the schema's field",
                    bytes.len()
                ));
            }
        },
        (Typed::Bytes(array), _) => write_bytes(out, array.value(row)),
        (Typed::List(array, items), Writer::Array(of)) => {
            let (start, end) = span(array.value_offsets(), row);
            each(out, start, end, |out, item| write(out, of, items, item))?;
        }
        (Typed::Map(array, keys, values), Writer::Map(of)) => {
            let (start, end) = span(array.value_offsets(), row);
            let mut text = Vec::new();
            each(out, start, end, |out, entry| {
                text.clear();
                scalar_writer::write(&mut text, &keys.values, entry);
                write_bytes(out, &text);
                write(out, of, values, entry)
            })?;
        }
        (Typed::Struct(parts), Writer::Record(steps)) => record(out, steps, |index| &parts[index].1, row)?,
        _ => return Err("a value that the schema's field does not take".to_string()),
    }
    Ok(())
}

fn span(offsets: &[i32], row: usize) -> (usize, usize) {
    (offsets[row] as usize, offsets[row + 1] as usize)
}

/// One block of items, and the end of them.
fn each(
    out: &mut Vec<u8>,
    start: usize,
    end: usize,
    mut item: impl FnMut(&mut Vec<u8>, usize) -> Result<(), String>,
) -> Result<(), String> {
    if end > start {
        write_long(out, i64::try_from(end - start).unwrap_or(i64::MAX));
        (start..end).try_for_each(|index| item(out, index))?;
    }
    write_long(out, 0);
    Ok(())
}

/// The digits, the greatest byte first, as few bytes as hold them.
fn decimal(out: &mut Vec<u8>, digits: i128, power: u32, fixed: Option<usize>) -> Result<(), String> {
    let scaled = 10i128.checked_pow(power).and_then(|factor| digits.checked_mul(factor));
    let bytes = scaled.ok_or("a decimal of more than 38 digits")?.to_be_bytes();
    let fill = if digits < 0 { 0xFF } else { 0 };
    // The first byte that stays has the sign.
    let spare = bytes
        .windows(2)
        .take_while(|two| two[0] == fill && (two[1] ^ fill) & 0x80 == 0)
        .count();
    let kept = &bytes[spare..];
    match fixed {
        None => write_bytes(out, kept),
        Some(size) if kept.len() <= size => {
            out.extend(std::iter::repeat_n(fill, size - kept.len()));
            out.extend_from_slice(kept);
        }
        Some(size) => return Err(format!("a decimal that does not fit {size} bytes")),
    }
    Ok(())
}
