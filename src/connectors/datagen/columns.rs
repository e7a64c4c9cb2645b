//! How a column's values are made: a [`Generator`] per column, from its type and parameters.

use std::fmt::Write;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Float32Array, Float64Array, Int32Array, Int64Array, StringArray, StringViewArray,
    StringViewBuilder, TimestampMicrosecondArray, UInt32Array, new_null_array,
};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{CastOptions, cast, cast_with_options, nullif, take};
use arrow::datatypes::{DataType, Field};
use rand_distr::weighted::WeightedAliasIndex;
use rand_distr::{Distribution, StandardNormal, Zipf};

use super::parameters::Parameters;
use super::random::{Stream, Use};
use super::words::{CITIES, COMPANIES, FIRST, LAST};
use crate::catalog::types::{self, TIMESTAMP};
use crate::error::{Code, Diagnostic, Result};
use crate::event::Micros;

/// Makes the values of some rows.
pub type Generator = Box<dyn Fn(Range<u64>) -> Result<ArrayRef> + Send>;

/// The first time when none is given: 2026-01-01T00:00:00Z.
const START: Micros = 1_767_225_600_000_000;

/// How many different values there are when it is not said.
const DEFAULT_KEYS: u64 = 1000;

/// Up to how many keys are kept as text; with more, text is made row by row.
const KEPT_KEYS: u64 = 1 << 16;

/// What a generator is made for.
pub struct Column<'a> {
    /// The column.
    pub field: &'a Field,
    /// Its index among the declared columns.
    pub index: usize,
    /// The seed of the source.
    pub seed: u64,
    /// The time between rows by default.
    pub step: Micros,
    /// What was given for it.
    pub parameters: Parameters<'a>,
}

impl Column<'_> {
    /// The generator, or what is wrong with the parameters.
    pub fn generator(&self) -> Result<Generator, Diagnostic> {
        let kind = match (self.parameters.text("kind"), self.field.data_type()) {
            (Some(kind), _) => kind,
            (None, DataType::Timestamp(_, _) | DataType::Date32) => "timestamp",
            (None, _) => "uniform",
        };
        self.parameters.fit(kind)?;
        let values = match kind {
            "sequence" => self.sequence()?,
            "normal" => self.normal()?,
            "choice" => self.choice()?,
            "zipf" => self.zipf()?,
            "name" => self.name()?,
            "timestamp" => self.timestamp()?,
            "constant" => self.constant()?,
            _ => self.uniform()?,
        };
        self.with_nulls(values)
    }

    fn stream(&self, use_: Use) -> Stream {
        Stream::new(self.seed, self.index, use_)
    }

    /// The error for a kind that has no values of the column's type.
    fn misfit(&self, kind: &str, takes: &str) -> Diagnostic {
        Diagnostic::new(
            Code::Type,
            format!(
                "datagen: kind '{kind}' makes {takes}, but the column '{}' is {}",
                self.field.name(),
                types::name(self.field.data_type())
            ),
        )
        .hint(format!(
            "set \"datagen.fields.{}.kind\" to another kind",
            self.field.name()
        ))
    }

    fn with_nulls(&self, values: Generator) -> Result<Generator, Diagnostic> {
        let rate = self.parameters.number("null-rate").unwrap_or(0.0);
        if !(0.0..=1.0).contains(&rate) {
            return Err(self.parameters.invalid("null-rate", "it is 0 to 1"));
        }
        if rate == 0.0 {
            return Ok(values);
        }
        if !self.field.is_nullable() {
            return Err(self.parameters.invalid("null-rate", "the column is NOT NULL"));
        }
        let stream = self.stream(Use::Null);
        Ok(Box::new(move |rows| {
            let count = rows.end.saturating_sub(rows.start) as usize;
            let first = rows.start;
            let nulls = BooleanBuffer::collect_bool(count, |i| stream.unit(first + i as u64) < rate);
            Ok(nullif(&values(rows)?, &BooleanArray::new(nulls, None))?)
        }))
    }

    fn sequence(&self) -> Result<Generator, Diagnostic> {
        let parameters = &self.parameters;
        if self.field.data_type().is_floating() {
            let start = parameters.parsed("start", "a number")?.unwrap_or(0.0);
            let step = parameters.parsed("step", "a number")?.unwrap_or(1.0);
            return self.floats(move |row| start + step * row as f64);
        }
        let start: i64 = parameters.parsed("start", "a whole number")?.unwrap_or(0);
        let step: i64 = parameters.parsed("step", "a whole number")?.unwrap_or(1);
        let number = move |row: u64| start.wrapping_add(step.wrapping_mul(row as i64));
        match self.field.data_type() {
            DataType::Utf8View => {
                let prefix = parameters.text("prefix").unwrap_or_default().to_string();
                Ok(Box::new(move |rows| Ok(numbered(&prefix, 1, rows.map(number)))))
            }
            other if is_number(other) => self.integers(number),
            _ => Err(self.misfit("sequence", "numbers and text")),
        }
    }

    fn uniform(&self) -> Result<Generator, Diagnostic> {
        let parameters = &self.parameters;
        let stream = self.stream(Use::Value);
        let (min, max) = (parameters.number("min"), parameters.number("max"));
        let bounds = |default: f64| -> Result<(f64, f64), Diagnostic> {
            let least = min.unwrap_or(0.0);
            let most = max.unwrap_or(default.max(least));
            match least <= most {
                true => Ok((least, most)),
                false => Err(parameters.invalid("max", format!("it is less than min, {least}"))),
            }
        };
        match self.field.data_type() {
            DataType::Boolean => Ok(Box::new(move |rows| {
                let count = rows.end.saturating_sub(rows.start) as usize;
                let first = rows.start;
                let bits = BooleanBuffer::collect_bool(count, |i| stream.bits(first + i as u64) >> 63 == 1);
                Ok(Arc::new(BooleanArray::new(bits, None)))
            })),
            DataType::Utf8View => {
                let keys = parameters.count("keys").unwrap_or(DEFAULT_KEYS);
                Ok(self.keyed(keys, move |row| stream.below(row, keys)))
            }
            DataType::Time64(_) => self.checked(cast_all(self.field, move |row| {
                stream.below(row, 86_400_000_000) as i64
            })),
            DataType::Float32 | DataType::Float64 => {
                let (min, max) = bounds(1.0)?;
                self.floats(move |row| min + stream.unit(row) * (max - min))
            }
            DataType::Decimal128(_, scale) if *scale > 0 => {
                let (min, max) = bounds(1.0)?;
                self.floats(move |row| min + stream.unit(row) * (max - min))
            }
            other if is_number(other) => {
                let default = if *other == DataType::Int8 { 99.0 } else { 999.0 };
                let (min, max) = bounds(default)?;
                let (min, max) = (self.whole("min", min)?, self.whole("max", max)?);
                let count = max.wrapping_sub(min).wrapping_add(1) as u64;
                self.integers(move |row| min.wrapping_add(stream.below(row, count) as i64))
            }
            _ => Err(self.misfit("uniform", "numbers, BOOL, TIME and text")),
        }
    }

    fn normal(&self) -> Result<Generator, Diagnostic> {
        let mean = self.parameters.number("mean").unwrap_or(0.0);
        let deviation = self.parameters.number("stddev").unwrap_or(1.0);
        if deviation < 0.0 {
            return Err(self.parameters.invalid("stddev", "it is negative"));
        }
        let stream = self.stream(Use::Value);
        let value = move |row| {
            let standard: f64 = StandardNormal.sample(&mut stream.rng(row));
            mean + deviation * standard
        };
        match self.field.data_type() {
            DataType::Float32 | DataType::Float64 | DataType::Decimal128(_, _) => self.floats(value),
            other if is_number(other) => {
                let (least, most) = limits(other);
                self.integers(move |row| (value(row).round() as i64).clamp(least, most))
            }
            _ => Err(self.misfit("normal", "numbers")),
        }
    }

    fn choice(&self) -> Result<Generator, Diagnostic> {
        let parameters = &self.parameters;
        let Some(values) = parameters.text("values") else {
            return Err(parameters.invalid("kind", "'choice' needs 'values'"));
        };
        let values: Vec<&str> = values.split(',').map(str::trim).collect();
        let array = self.parse("values", &values)?;
        let stream = self.stream(Use::Value);
        let count = values.len() as u64;
        let Some(weights) = parameters.text("weights") else {
            return Ok(chosen(array, move |row| stream.below(row, count) as u32));
        };
        let weights: Vec<f64> = weights
            .split(',')
            .map(|weight| weight.trim().parse().ok().filter(|weight: &f64| weight.is_finite()))
            .collect::<Option<_>>()
            .ok_or_else(|| parameters.invalid("weights", "it is a list of numbers, separated by commas"))?;
        if weights.len() != values.len() {
            return Err(parameters.invalid(
                "weights",
                format!("there are {} for {} values", weights.len(), values.len()),
            ));
        }
        let alias = WeightedAliasIndex::new(weights).map_err(|error| parameters.invalid("weights", error))?;
        Ok(chosen(array, move |row| alias.sample(&mut stream.rng(row)) as u32))
    }

    fn zipf(&self) -> Result<Generator, Diagnostic> {
        let parameters = &self.parameters;
        let keys = parameters.count("keys").unwrap_or(DEFAULT_KEYS);
        let exponent = parameters.number("exponent").unwrap_or(1.0);
        let zipf = Zipf::new(keys as f64, exponent).map_err(|error| parameters.invalid("exponent", error))?;
        let stream = self.stream(Use::Value);
        // Ranks come from 1.
        let key = move |row| (zipf.sample(&mut stream.rng(row)) as u64).clamp(1, keys) - 1;
        match self.field.data_type() {
            DataType::Utf8View => Ok(self.keyed(keys, key)),
            other if is_number(other) => self.integers(move |row| key(row) as i64),
            _ => Err(self.misfit("zipf", "whole numbers and text")),
        }
    }

    fn name(&self) -> Result<Generator, Diagnostic> {
        if *self.field.data_type() != DataType::Utf8View {
            return Err(self.misfit("name", "text"));
        }
        let names: StringViewArray = match self.parameters.text("of") {
            Some("first") => FIRST.iter().map(Some).collect(),
            Some("last") => LAST.iter().map(Some).collect(),
            Some("city") => CITIES.iter().map(Some).collect(),
            Some("company") => COMPANIES.iter().map(Some).collect(),
            _ => FIRST
                .iter()
                .flat_map(|first| LAST.iter().map(move |last| Some(format!("{first} {last}"))))
                .collect(),
        };
        let count = names.len() as u64;
        let stream = self.stream(Use::Value);
        Ok(chosen(Arc::new(names), move |row| stream.below(row, count) as u32))
    }

    fn timestamp(&self) -> Result<Generator, Diagnostic> {
        let parameters = &self.parameters;
        let start = parameters.time("start")?.unwrap_or(START);
        let step = parameters.step()?.unwrap_or(self.step);
        let up_to = |parameter| parameters.duration(parameter).unwrap_or(0).unsigned_abs() + 1;
        let (later, earlier) = (up_to("jitter"), up_to("out-of-orderness"));
        let (jitter, disorder) = (self.stream(Use::Jitter), self.stream(Use::Disorder));
        let time = move |row: u64| {
            let mut time = start.saturating_add(step.saturating_mul(row as i64));
            if later > 1 {
                time = time.saturating_add_unsigned(jitter.below(row, later));
            }
            if earlier > 1 {
                time = time.saturating_sub_unsigned(disorder.below(row, earlier));
            }
            time
        };
        match self.field.data_type() {
            data_type if *data_type == TIMESTAMP => Ok(Box::new(move |rows| {
                Ok(Arc::new(TimestampMicrosecondArray::from_iter_values(rows.map(time))))
            })),
            DataType::Int64 => self.integers(move |row| time(row).div_euclid(1_000)),
            DataType::Date32 => Ok(cast_all(self.field, move |row| {
                time(row).div_euclid(86_400_000_000) as i32
            })),
            _ => Err(self.misfit("timestamp", "TIMESTAMP, DATE and LONG (in milliseconds)")),
        }
    }

    fn constant(&self) -> Result<Generator, Diagnostic> {
        let Some(value) = self.parameters.text("value") else {
            return Err(self.parameters.invalid("kind", "'constant' needs 'value'"));
        };
        Ok(chosen(self.parse("value", &[value])?, |_| 0))
    }

    /// Values of the column's type, from text.
    fn parse(&self, parameter: &str, values: &[&str]) -> Result<ArrayRef, Diagnostic> {
        let strict = CastOptions {
            safe: false,
            ..CastOptions::default()
        };
        let text = StringArray::from(values.to_vec());
        cast_with_options(&text, self.field.data_type(), &strict).map_err(|_| {
            let name = types::name(self.field.data_type());
            self.parameters.invalid(parameter, format!("not all of it is {name}"))
        })
    }

    /// A bound that must be whole and within the column's type.
    fn whole(&self, parameter: &str, value: f64) -> Result<i64, Diagnostic> {
        let (least, most) = limits(self.field.data_type());
        if value.fract() != 0.0 || value < least as f64 || value > most as f64 {
            let name = types::name(self.field.data_type());
            return Err(self.parameters.invalid(parameter, format!("{value} is not {name}")));
        }
        Ok(value as i64)
    }

    /// Texts `<prefix><number>`, numbers padded to one width.
    fn keyed(&self, keys: u64, key: impl Fn(u64) -> u64 + Send + 'static) -> Generator {
        let prefix = self.parameters.text("prefix").unwrap_or_default().to_string();
        let width = keys.saturating_sub(1).to_string().len();
        if keys <= KEPT_KEYS {
            let kept = numbered(&prefix, width, 0..keys as i64);
            return chosen(kept, move |row| key(row) as u32);
        }
        Box::new(move |rows| Ok(numbered(&prefix, width, rows.map(|row| key(row) as i64))))
    }

    fn integers(&self, value: impl Fn(u64) -> i64 + Send + 'static) -> Result<Generator, Diagnostic> {
        Ok(match self.field.data_type() {
            DataType::Int64 => {
                Box::new(move |rows| Ok(Arc::new(Int64Array::from_iter_values(rows.map(&value))) as ArrayRef))
            }
            // Wraps, as the sequence of an INT column does.
            DataType::Int32 => Box::new(move |rows| {
                Ok(Arc::new(Int32Array::from_iter_values(rows.map(|row| value(row) as i32))) as ArrayRef)
            }),
            _ => return self.checked(cast_all(self.field, value)),
        })
    }

    fn floats(&self, value: impl Fn(u64) -> f64 + Send + 'static) -> Result<Generator, Diagnostic> {
        Ok(match self.field.data_type() {
            DataType::Float64 => {
                Box::new(move |rows| Ok(Arc::new(Float64Array::from_iter_values(rows.map(&value))) as ArrayRef))
            }
            DataType::Float32 => Box::new(move |rows| {
                Ok(Arc::new(Float32Array::from_iter_values(rows.map(|row| value(row) as f32))) as ArrayRef)
            }),
            _ => {
                let to = self.field.data_type().clone();
                let make: Generator =
                    Box::new(move |rows| Ok(cast(&Float64Array::from_iter_values(rows.map(&value)), &to)?));
                return self.checked(make);
            }
        })
    }

    /// The same, when a first row can be made.
    fn checked(&self, generator: Generator) -> Result<Generator, Diagnostic> {
        match generator(0..1) {
            Ok(_) => Ok(generator),
            Err(error) => Err(Diagnostic::new(
                Code::Type,
                format!("datagen: column '{}': {error}", self.field.name()),
            )),
        }
    }
}

/// A column nobody can make values for: NULL.
pub fn nulls(data_type: DataType) -> Generator {
    Box::new(move |rows| Ok(new_null_array(&data_type, rows.end.saturating_sub(rows.start) as usize)))
}

fn is_number(data_type: &DataType) -> bool {
    data_type.is_integer() || matches!(data_type, DataType::Decimal128(_, _))
}

/// The least and the largest whole number of a type.
fn limits(data_type: &DataType) -> (i64, i64) {
    match data_type {
        DataType::Int8 => (i8::MIN.into(), i8::MAX.into()),
        DataType::Int16 => (i16::MIN.into(), i16::MAX.into()),
        DataType::Int32 => (i32::MIN.into(), i32::MAX.into()),
        _ => (i64::MIN, i64::MAX),
    }
}

/// Whole numbers, cast to the column's type.
fn cast_all<T: Into<i64> + CastFrom>(field: &Field, value: impl Fn(u64) -> T + Send + 'static) -> Generator {
    let to = field.data_type().clone();
    Box::new(move |rows| Ok(cast(&T::array(rows.map(&value)), &to)?))
}

/// Whole numbers that make an Arrow array of their own width: a DATE is 32 bits, a TIME 64.
trait CastFrom: Sized {
    fn array(values: impl Iterator<Item = Self>) -> ArrayRef;
}

impl CastFrom for i64 {
    fn array(values: impl Iterator<Item = Self>) -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(values))
    }
}

impl CastFrom for i32 {
    fn array(values: impl Iterator<Item = Self>) -> ArrayRef {
        Arc::new(Int32Array::from_iter_values(values))
    }
}

/// One of `values` per row.
fn chosen(values: ArrayRef, index: impl Fn(u64) -> u32 + Send + 'static) -> Generator {
    Box::new(move |rows| {
        let indices = UInt32Array::from_iter_values(rows.map(&index));
        Ok(take(&values, &indices, None)?)
    })
}

/// `<prefix><number>` for each number, with at least `width` digits.
fn numbered(prefix: &str, width: usize, numbers: impl Iterator<Item = i64>) -> ArrayRef {
    let mut texts = StringViewBuilder::with_capacity(numbers.size_hint().0);
    let mut text = prefix.to_string();
    for number in numbers {
        text.truncate(prefix.len());
        // Writing to a String cannot fail.
        let _ = write!(text, "{number:0width$}");
        texts.append_value(&text);
    }
    Arc::new(texts.finish())
}
