//! Values of a schema into columns: what is read, and where it goes, is found once for a schema.

use arrow::datatypes::{DataType, Field, IntervalMonthDayNano};

use super::schema::{Schema, Type, TypeId, Unit};
use super::wire::Input;
use crate::catalog::names::{Resolved, resolve};
use crate::catalog::types;
use crate::formats::DecodeSchema;
use crate::formats::columns::native::{self, Kind, Native};
use crate::formats::columns::{Column, Reject, Values};

/// How deep a value that nobody reads may nest: its type may hold itself.
const MAX_DEPTH: usize = 128;

/// Reads the records of a schema.
#[derive(Debug)]
pub(super) struct RecordReader {
    schema: Schema,
    steps: Vec<Step>,
    /// The columns that no field fills.
    absent: Vec<usize>,
}

/// What becomes of a field.
#[derive(Debug)]
enum Step {
    Skip(TypeId),
    /// The column (of a struct: the part) and how its values are read.
    Into(usize, Reader),
}

/// How values of a type become those of a column.
#[derive(Debug)]
enum Reader {
    Null,
    Scalar(Scalar),
    Array(Box<Reader>),
    Map(Box<Reader>),
    /// What fills its parts, and the parts that nothing fills.
    Record(Vec<Step>, Vec<usize>),
    Union(Vec<Reader>),
}

/// A value that is not made of others.
#[derive(Debug)]
enum Scalar {
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    Text,
    Fixed(usize),
    Enum(Vec<String>),
    Date,
    Time(Unit),
    Timestamp(Unit),
    Decimal(i8, Option<usize>),
    Duration,
}

/// Whether a schema is the stream's own: then it has all of its columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Columns {
    /// Those that the schema lacks are NULL, but not all of them.
    Some,
    /// The schema has every one.
    All,
}

impl RecordReader {
    /// Columns are found by name, exactly or else but for case; or why the schema does not fit.
    pub(super) fn new(schema: Schema, wanted: &DecodeSchema, columns: Columns) -> Result<Self, String> {
        let declared = wanted.declared.fields();
        let names = || schema.fields().iter().map(|field| field.name.as_str());
        let missing: Vec<&str> = declared
            .iter()
            .map(|field| field.name().as_str())
            .filter(|name| !matches!(resolve(name, names()), Resolved::One(_)))
            .collect();
        if let Some(one) = missing.first()
            && (columns == Columns::All || missing.len() == declared.len())
        {
            return Err(format!(
                "the schema has no field '{one}'; its fields are {}",
                names().collect::<Vec<_>>().join(", ")
            ));
        }
        let decoded = wanted.decoded();
        let fields: Vec<&Field> = decoded.fields().iter().map(AsRef::as_ref).collect();
        let (steps, absent) = steps(&schema, schema.fields(), &fields)?;
        Ok(RecordReader { schema, steps, absent })
    }

    /// Appends a row. What a refused one leaves behind is the caller's to cut off.
    pub(super) fn read(&self, input: &mut Input, columns: &mut [Column]) -> Result<(), String> {
        for step in &self.steps {
            match step {
                Step::Skip(of) => skip(&self.schema, *of, input, 0)?,
                Step::Into(index, reader) => {
                    let column = &mut columns[*index];
                    let name = column.field.clone();
                    push(&self.schema, reader, column, input).map_err(|reject| reject.message(name.name()))?;
                }
            }
        }
        for index in &self.absent {
            let column = &mut columns[*index];
            column.push_null().map_err(|reject| reject.message(column.name()))?;
        }
        Ok(())
    }
}

/// What becomes of each field, and the columns that are left.
fn steps(schema: &Schema, theirs: &[super::schema::Field], ours: &[&Field]) -> Result<(Vec<Step>, Vec<usize>), String> {
    let names = || theirs.iter().map(|field| field.name.as_str());
    let mut steps: Vec<Step> = theirs.iter().map(|field| Step::Skip(field.of)).collect();
    let mut absent = Vec::new();
    for (index, column) in ours.iter().enumerate() {
        let place = match resolve(column.name(), names()) {
            Resolved::One(found) => names().position(|name| name == found),
            _ => None,
        };
        match place {
            Some(place) => {
                let reader = reader(schema, theirs[place].of, column)
                    .map_err(|reason| format!("column '{}': {reason}", column.name()))?;
                steps[place] = Step::Into(index, reader);
            }
            None if column.is_nullable() => absent.push(index),
            None => {
                return Err(format!(
                    "the schema has no field '{}', which is NOT NULL",
                    column.name()
                ));
            }
        }
    }
    Ok((steps, absent))
}

/// How a type is read into a column; the column's type bounds how deep this goes.
fn reader(schema: &Schema, of: TypeId, column: &Field) -> Result<Reader, String> {
    let refused = || {
        let theirs = schema.get(of).name();
        format!(
            "it is {} and the schema's field is {theirs}",
            types::name(column.data_type())
        )
    };
    match (schema.get(of), column.data_type()) {
        (Type::Null, _) => Ok(Reader::Null),
        (Type::Union(branches), _) => {
            let readers = branches.iter().map(|branch| reader(schema, *branch, column));
            Ok(Reader::Union(readers.collect::<Result<_, _>>()?))
        }
        (Type::Array(items), DataType::List(item)) => Ok(Reader::Array(Box::new(reader(schema, *items, item)?))),
        (Type::Map(values), DataType::Map(entries, _)) => match entries.data_type() {
            DataType::Struct(parts) if parts.len() == 2 => {
                Ok(Reader::Map(Box::new(reader(schema, *values, &parts[1])?)))
            }
            _ => Err(refused()),
        },
        (Type::Record(fields), DataType::Struct(parts)) => {
            let parts: Vec<&Field> = parts.iter().map(AsRef::as_ref).collect();
            let (steps, absent) = steps(schema, fields, &parts)?;
            Ok(Reader::Record(steps, absent))
        }
        (theirs, _) => match scalar(theirs) {
            Some((scalar, kind)) if kind.fits(column) => Ok(Reader::Scalar(scalar)),
            _ => Err(refused()),
        },
    }
}

fn scalar(of: &Type) -> Option<(Scalar, Kind)> {
    Some(match of {
        Type::Boolean => (Scalar::Boolean, Kind::Bool),
        Type::Int => (Scalar::Int, Kind::Int),
        Type::Long => (Scalar::Long, Kind::Long),
        Type::Float => (Scalar::Float, Kind::Float),
        Type::Double => (Scalar::Double, Kind::Double),
        Type::Bytes => (Scalar::Bytes, Kind::Bytes),
        Type::Text => (Scalar::Text, Kind::Text),
        Type::Fixed(size) => (Scalar::Fixed(*size), Kind::Bytes),
        Type::Enum(symbols) => (Scalar::Enum(symbols.clone()), Kind::Text),
        Type::Date => (Scalar::Date, Kind::Date),
        Type::Time(unit) => (Scalar::Time(*unit), Kind::Time),
        Type::Timestamp(unit) => (Scalar::Timestamp(*unit), Kind::Timestamp),
        Type::Decimal {
            precision,
            scale,
            fixed,
        } => (Scalar::Decimal(*scale, *fixed), Kind::Decimal(*precision, *scale)),
        Type::Duration => (Scalar::Duration, Kind::Interval),
        Type::Null | Type::Array(_) | Type::Map(_) | Type::Union(_) | Type::Record(_) => return None,
    })
}

fn push(schema: &Schema, reader: &Reader, column: &mut Column, input: &mut Input) -> Result<(), Reject> {
    let native = match reader {
        Reader::Null => return column.push_null(),
        Reader::Scalar(scalar) => value(scalar, input).map_err(Reject::new)?,
        Reader::Union(branches) => {
            let index = input.long().map_err(Reject::new)?;
            let branch = usize::try_from(index).ok().and_then(|index| branches.get(index));
            let branch = branch.ok_or_else(|| Reject::new(format!("a union has no branch {index}")))?;
            return push(schema, branch, column, input);
        }
        Reader::Array(items) => return array(schema, items, column, input),
        Reader::Map(values) => return map(schema, values, column, input),
        Reader::Record(steps, absent) => return record(schema, steps, absent, column, input),
    };
    native::push(column, native)
}

fn array(schema: &Schema, reader: &Reader, column: &mut Column, input: &mut Input) -> Result<(), Reject> {
    let Values::List(lists) = &mut column.values else {
        return Err(Reject::new("it is no list"));
    };
    let start = lists.items.len();
    loop {
        let count = input.block().map_err(Reject::new)?;
        for _ in 0..count {
            let index = lists.items.len() - start;
            push(schema, reader, &mut lists.items, input).map_err(|reject| reject.inside(&format!("[{index}]")))?;
        }
        if count == 0 {
            lists.ends.push(end(lists.items.len())?);
            return Ok(());
        }
    }
}

fn map(schema: &Schema, reader: &Reader, column: &mut Column, input: &mut Input) -> Result<(), Reject> {
    let Values::Map(maps) = &mut column.values else {
        return Err(Reject::new("it is no map"));
    };
    loop {
        let count = input.block().map_err(Reject::new)?;
        for _ in 0..count {
            let key = input.text().map_err(Reject::new)?;
            let step = |reject: Reject| reject.inside(&format!("['{}']", crate::formats::columns::shorten(key)));
            native::push(&mut maps.keys, Native::Text(key)).map_err(step)?;
            push(schema, reader, &mut maps.values, input).map_err(step)?;
        }
        if count == 0 {
            maps.ends.push(end(maps.keys.len())?);
            return Ok(());
        }
    }
}

fn record(
    schema: &Schema,
    steps: &[Step],
    absent: &[usize],
    column: &mut Column,
    input: &mut Input,
) -> Result<(), Reject> {
    let Values::Struct(structs) = &mut column.values else {
        return Err(Reject::new("it is no struct"));
    };
    for step in steps {
        match step {
            Step::Skip(of) => skip(schema, *of, input, 0).map_err(Reject::new)?,
            Step::Into(index, reader) => {
                let part = &mut structs.parts[*index];
                let name = part.field.clone();
                push(schema, reader, part, input).map_err(|reject| reject.inside(&format!(".{}", name.name())))?;
            }
        }
    }
    for index in absent {
        structs.parts[*index].push_null()?;
    }
    structs.row_done();
    Ok(())
}

fn end(items: usize) -> Result<i32, Reject> {
    i32::try_from(items).map_err(|_| Reject::new("more than 2147483647 elements in one block"))
}

fn value<'a, 'b: 'a>(scalar: &'a Scalar, input: &mut Input<'b>) -> Result<Native<'a>, String> {
    Ok(match scalar {
        Scalar::Boolean => Native::Bool(input.boolean()?),
        Scalar::Int => Native::Int(input.int()?),
        Scalar::Long => Native::Long(input.long()?),
        Scalar::Float => Native::Float(input.float()?),
        Scalar::Double => Native::Double(input.double()?),
        Scalar::Bytes => Native::Bytes(input.bytes()?),
        Scalar::Text => Native::Text(input.text()?),
        Scalar::Fixed(size) => Native::Bytes(input.take(*size)?),
        Scalar::Enum(symbols) => {
            let index = input.int()?;
            let symbol = usize::try_from(index).ok().and_then(|index| symbols.get(index));
            Native::Text(symbol.ok_or_else(|| format!("an enum has no symbol {index}"))?)
        }
        Scalar::Date => Native::Date(input.int()?),
        Scalar::Time(unit) => {
            let time = match unit {
                Unit::Millis => i64::from(input.int()?) * 1_000,
                Unit::Micros | Unit::Nanos => input.long()?,
            };
            match (0..86_400_000_000).contains(&time) {
                true => Native::Time(time),
                false => return Err(format!("{time} µs is no time of the day")),
            }
        }
        Scalar::Timestamp(unit) => {
            let time = input.long()?;
            Native::Timestamp(match unit {
                Unit::Millis => time.checked_mul(1_000).ok_or_else(|| format!("{time} ms is no time"))?,
                Unit::Micros => time,
                Unit::Nanos => time.div_euclid(1_000),
            })
        }
        Scalar::Decimal(scale, fixed) => {
            let bytes = match fixed {
                Some(size) => input.take(*size)?,
                None => input.bytes()?,
            };
            Native::Decimal(big_endian(bytes).ok_or("a decimal of more than 38 digits")?, *scale)
        }
        Scalar::Duration => {
            let bytes = input.take(12)?;
            let part = |at: usize| {
                let four = bytes[at..at + 4].first_chunk().copied().unwrap_or_default();
                u32::from_le_bytes(four)
            };
            let whole = |part: u32| i32::try_from(part).map_err(|_| format!("a duration of {part} units"));
            let nanos = i64::from(part(8)) * 1_000_000;
            Native::Interval(IntervalMonthDayNano::new(whole(part(0))?, whole(part(4))?, nanos))
        }
    })
}

/// A number with sign, the greatest byte first; `None` when it is too large.
fn big_endian(bytes: &[u8]) -> Option<i128> {
    let negative = bytes.first().is_some_and(|first| first & 0x80 != 0);
    let fill = if negative { 0xFF } else { 0 };
    let (extra, digits) = bytes.split_at(bytes.len().saturating_sub(16));
    let mut all = [fill; 16];
    all[16 - digits.len()..].copy_from_slice(digits);
    let value = i128::from_be_bytes(all);
    (extra.iter().all(|byte| *byte == fill) && (value < 0) == negative).then_some(value)
}

/// Passes over a value.
fn skip(schema: &Schema, of: TypeId, input: &mut Input, depth: usize) -> Result<(), String> {
    if depth > MAX_DEPTH {
        return Err(format!("a value nests deeper than {MAX_DEPTH} levels"));
    }
    match schema.get(of) {
        Type::Null => {}
        Type::Boolean => {
            input.boolean()?;
        }
        Type::Int | Type::Date | Type::Enum(_) | Type::Time(Unit::Millis) => {
            input.int()?;
        }
        Type::Long | Type::Time(_) | Type::Timestamp(_) => {
            input.long()?;
        }
        Type::Float => {
            input.take(4)?;
        }
        Type::Double => {
            input.take(8)?;
        }
        Type::Bytes | Type::Text | Type::Decimal { fixed: None, .. } => {
            input.bytes()?;
        }
        Type::Fixed(size) | Type::Decimal { fixed: Some(size), .. } => {
            input.take(*size)?;
        }
        Type::Duration => {
            input.take(12)?;
        }
        Type::Array(items) => loop {
            let count = input.block()?;
            for _ in 0..count {
                skip(schema, *items, input, depth + 1)?;
            }
            if count == 0 {
                break;
            }
        },
        Type::Map(values) => loop {
            let count = input.block()?;
            for _ in 0..count {
                input.bytes()?;
                skip(schema, *values, input, depth + 1)?;
            }
            if count == 0 {
                break;
            }
        },
        Type::Union(branches) => {
            let index = input.long()?;
            let branch = usize::try_from(index).ok().and_then(|index| branches.get(index));
            let branch = branch.ok_or_else(|| format!("a union has no branch {index}"))?;
            skip(schema, *branch, input, depth + 1)?;
        }
        Type::Record(fields) => {
            for field in fields {
                skip(schema, field.of, input, depth + 1)?;
            }
        }
    }
    Ok(())
}
