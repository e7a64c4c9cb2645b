//! Values in PostgreSQL's binary forms, as the texts that PostgreSQL writes for them.
//!
//! What is common (integers, doubles, texts, times) goes into a column without a detour; the rest is written as text first, so that there
//! is one reading of it.

use std::fmt::Write;

use tokio_postgres::types::{Kind, Type};

use super::text;
use crate::formats::columns::{Column, Content, Reject, Values};

/// What PostgreSQL counts microseconds and days from: 2000-01-01.
const EPOCH_MICROS: i64 = 946_684_800_000_000;
const EPOCH_DAYS: i32 = 10_957;

/// Whether values of a type are read in their binary form.
pub(crate) fn reads(of: &Type) -> bool {
    match of.kind() {
        Kind::Array(item) => reads(item),
        _ => matches!(
            *of,
            Type::BOOL
                | Type::INT2
                | Type::INT4
                | Type::INT8
                | Type::OID
                | Type::FLOAT4
                | Type::FLOAT8
                | Type::NUMERIC
                | Type::TEXT
                | Type::VARCHAR
                | Type::BPCHAR
                | Type::NAME
                | Type::UUID
                | Type::DATE
                | Type::TIME
                | Type::TIMESTAMP
                | Type::TIMESTAMPTZ
                | Type::INTERVAL
                | Type::JSON
                | Type::JSONB
                | Type::BYTEA
        ),
    }
}

/// Appends a value of that type.
pub(crate) fn push(column: &mut Column, of: &Type, raw: &[u8]) -> Result<(), Reject> {
    let damaged = || Reject::new(format!("not a {} in binary", of.name()));
    match (&mut column.values, of) {
        (Values::Int64(values), &Type::INT8) => values.push(number(raw).ok_or_else(damaged)?),
        (Values::Int32(values), &Type::INT4) => {
            values.push(i32::from_be_bytes(raw.try_into().map_err(|_| damaged())?));
        }
        (Values::Float64(values), &Type::FLOAT8) => {
            values.push(f64::from_be_bytes(raw.try_into().map_err(|_| damaged())?));
        }
        (Values::Float32(values), &Type::FLOAT4) => {
            values.push(f32::from_be_bytes(raw.try_into().map_err(|_| damaged())?));
        }
        (Values::Views(views, Content::Bytes), &Type::BYTEA) => views.push_bytes(raw),
        (Values::Timestamp(values), &Type::TIMESTAMP | &Type::TIMESTAMPTZ) => {
            let micros = number(raw).ok_or_else(damaged)?;
            let micros = finite(micros).and_then(|micros| micros.checked_add(EPOCH_MICROS));
            values.push(micros.ok_or_else(|| Reject::new("a time out of range for TIMESTAMP"))?);
        }
        (Values::Date(values), &Type::DATE) => {
            let days = i32::from_be_bytes(raw.try_into().map_err(|_| damaged())?);
            let days = Some(days).filter(|days| *days > i32::MIN && *days < i32::MAX);
            let days = days.and_then(|days| days.checked_add(EPOCH_DAYS));
            values.push(days.ok_or_else(|| Reject::new("a day out of range for DATE"))?);
        }
        _ => {
            let mut written = String::new();
            write(&mut written, of, raw).ok_or_else(damaged)?;
            return text::push(column, &written);
        }
    }
    Ok(())
}

fn number(raw: &[u8]) -> Option<i64> {
    raw.try_into().ok().map(i64::from_be_bytes)
}

fn finite(micros: i64) -> Option<i64> {
    (micros > i64::MIN && micros < i64::MAX).then_some(micros)
}

/// Writes a value as PostgreSQL would as text; `None` when it is damaged.
pub(crate) fn write(out: &mut String, of: &Type, raw: &[u8]) -> Option<()> {
    if let Kind::Array(item) = of.kind() {
        return array(out, item, raw);
    }
    match *of {
        Type::BOOL => out.push_str(if *raw.first()? == 0 { "f" } else { "t" }),
        Type::INT2 => write!(out, "{}", i16::from_be_bytes(raw.try_into().ok()?)).ok()?,
        Type::INT4 => write!(out, "{}", i32::from_be_bytes(raw.try_into().ok()?)).ok()?,
        Type::OID => write!(out, "{}", u32::from_be_bytes(raw.try_into().ok()?)).ok()?,
        Type::INT8 => write!(out, "{}", number(raw)?).ok()?,
        Type::FLOAT4 => float(out, f64::from(f32::from_be_bytes(raw.try_into().ok()?)), |out, _| {
            write!(out, "{}", f32::from_be_bytes(raw.try_into().unwrap_or_default()))
        })?,
        Type::FLOAT8 => float(out, f64::from_be_bytes(raw.try_into().ok()?), |out, value| {
            write!(out, "{value}")
        })?,
        Type::NUMERIC => numeric(out, raw)?,
        Type::UUID => uuid(out, raw.try_into().ok()?)?,
        Type::DATE => {
            let days = i32::from_be_bytes(raw.try_into().ok()?).checked_add(EPOCH_DAYS)?;
            out.push_str(
                &chrono::DateTime::from_timestamp(i64::from(days) * 86_400, 0)?
                    .date_naive()
                    .to_string(),
            );
        }
        Type::TIME => {
            let micros = number(raw)?;
            let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
            let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
            write!(out, "{hours:02}:{minutes:02}:{:02}.{fraction:06}", seconds % 60).ok()?;
        }
        Type::TIMESTAMP | Type::TIMESTAMPTZ => {
            let micros = finite(number(raw)?)?.checked_add(EPOCH_MICROS)?;
            let time = chrono::DateTime::from_timestamp_micros(micros)?.naive_utc();
            write!(out, "{}", time.format("%Y-%m-%d %H:%M:%S%.6f")).ok()?;
            if *of == Type::TIMESTAMPTZ {
                out.push_str("+00");
            }
        }
        Type::INTERVAL => {
            let (micros, rest) = raw.split_first_chunk::<8>()?;
            let (days, months) = rest.split_first_chunk::<4>()?;
            let micros = i64::from_be_bytes(*micros);
            let months = i32::from_be_bytes(months.try_into().ok()?);
            let (seconds, fraction) = (micros.unsigned_abs() / 1_000_000, micros.unsigned_abs() % 1_000_000);
            let sign = if micros < 0 { "-" } else { "" };
            write!(out, "{months} mons {} days ", i32::from_be_bytes(*days)).ok()?;
            let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
            write!(out, "{sign}{hours:02}:{minutes:02}:{:02}.{fraction:06}", seconds % 60).ok()?;
        }
        Type::BYTEA => {
            out.push_str("\\x");
            raw.iter().try_for_each(|byte| write!(out, "{byte:02x}")).ok()?;
        }
        // Its first byte is the version of the form.
        Type::JSONB => out.push_str(std::str::from_utf8(raw.split_first()?.1).ok()?),
        _ => out.push_str(std::str::from_utf8(raw).ok()?),
    }
    Some(())
}

fn float(out: &mut String, value: f64, finite: impl FnOnce(&mut String, f64) -> std::fmt::Result) -> Option<()> {
    match value {
        value if value.is_nan() => out.push_str("NaN"),
        f64::INFINITY => out.push_str("Infinity"),
        f64::NEG_INFINITY => out.push_str("-Infinity"),
        value => finite(out, value).ok()?,
    }
    Some(())
}

fn uuid(out: &mut String, raw: [u8; 16]) -> Option<()> {
    for (at, byte) in raw.iter().enumerate() {
        if [4, 6, 8, 10].contains(&at) {
            out.push('-');
        }
        write!(out, "{byte:02x}").ok()?;
    }
    Some(())
}

/// Four decimal digits a group, `weight` says where the point is.
pub(crate) fn numeric(out: &mut String, raw: &[u8]) -> Option<()> {
    let word = |at: usize| Some(u16::from_be_bytes(raw.get(at * 2..at * 2 + 2)?.try_into().ok()?));
    let (groups, weight, sign, scale) = (word(0)?, word(1)? as i16, word(2)?, word(3)?);
    let special = match sign {
        0xC000 => "NaN",
        0xD000 => "Infinity",
        0xF000 => "-Infinity",
        _ => "",
    };
    out.push_str(special);
    if !special.is_empty() {
        return Some(());
    }
    if sign == 0x4000 {
        out.push('-');
    }
    let group = |at: i32| match u16::try_from(at) {
        Ok(at) if at < groups => word(usize::from(at) + 4),
        _ => Some(0),
    };
    if weight < 0 {
        out.push('0');
    }
    for at in 0..=i32::from(weight) {
        let digits = group(at)?;
        match at {
            0 => write!(out, "{digits}").ok()?,
            _ => write!(out, "{digits:04}").ok()?,
        }
    }
    if scale > 0 {
        out.push('.');
        let end = out.len() + usize::from(scale);
        let mut at = i32::from(weight) + 1;
        while out.len() < end {
            write!(out, "{:04}", group(at)?).ok()?;
            at += 1;
        }
        out.truncate(end);
    }
    Some(())
}

/// Dimensions, and then the items in one row.
fn array(out: &mut String, item: &Type, raw: &[u8]) -> Option<()> {
    let int = |raw: &mut &[u8]| {
        let (head, rest) = raw.split_first_chunk::<4>()?;
        *raw = rest;
        Some(i32::from_be_bytes(*head))
    };
    let mut raw = raw;
    let dimensions = int(&mut raw)?;
    let _has_nulls = int(&mut raw)?;
    let _item = int(&mut raw)?;
    let mut lengths = Vec::new();
    for _ in 0..usize::try_from(dimensions).ok().filter(|count| *count <= 6)? {
        lengths.push(usize::try_from(int(&mut raw)?).ok()?);
        let _first = int(&mut raw)?;
    }
    if lengths.is_empty() {
        out.push_str("{}");
        return Some(());
    }
    items(out, item, &mut raw, &lengths)
}

fn items(out: &mut String, item: &Type, raw: &mut &[u8], lengths: &[usize]) -> Option<()> {
    let (length, inner) = lengths.split_first()?;
    out.push('{');
    for at in 0..*length {
        if at > 0 {
            out.push(',');
        }
        if !inner.is_empty() {
            items(out, item, raw, inner)?;
            continue;
        }
        let (head, rest) = raw.split_first_chunk::<4>()?;
        let length = i32::from_be_bytes(*head);
        if length < 0 {
            out.push_str("NULL");
            *raw = rest;
            continue;
        }
        let (value, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        *raw = rest;
        let mut written = String::new();
        write(&mut written, item, value)?;
        out.push('"');
        for c in written.chars() {
            if matches!(c, '"' | '\\') {
                out.push('\\');
            }
            out.push(c);
        }
        out.push('"');
    }
    out.push('}');
    Some(())
}
