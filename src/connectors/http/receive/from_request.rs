//! Columns whose values are in the request around the body.

use std::net::IpAddr;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, StringViewBuilder, TimestampMicrosecondArray};
use arrow::datatypes::SchemaRef;
use hyper::Uri;
use hyper::header::{HeaderMap, HeaderName};
use percent_encoding::percent_decode_str;

use crate::error::Result;
use crate::event::Micros;
use crate::formats::DecodeSchema;

/// A column that is not in the body.
#[derive(Debug, Clone)]
pub struct FromRequest {
    /// Which of the declared ones.
    pub column: usize,
    /// What it is.
    pub taken: Taken,
}

/// What a request has besides its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// A header.
    Header(HeaderName),
    /// A parameter of the query.
    Query(String),
    /// The path.
    Path,
    /// The address of the caller.
    Remote,
    /// When it came.
    Time,
}

/// The values of one request, in the order of the columns.
pub type Values = Vec<Option<String>>;

impl Taken {
    /// As an option says it.
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once(':') {
            Some(("header", name)) => HeaderName::from_bytes(name.trim().as_bytes()).ok().map(Taken::Header),
            Some(("query", name)) if !name.trim().is_empty() => Some(Taken::Query(name.trim().to_string())),
            None if text == "path" => Some(Taken::Path),
            None if text == "remote" => Some(Taken::Remote),
            None if text == "time" => Some(Taken::Time),
            _ => None,
        }
    }

    /// Whether every request has it.
    pub fn is_always_there(&self) -> bool {
        !matches!(self, Taken::Header(_) | Taken::Query(_))
    }

    /// Its value in a request; that of the time is taken elsewhere.
    fn value(&self, uri: &Uri, headers: &HeaderMap, remote: IpAddr) -> Option<String> {
        match self {
            Taken::Header(name) => Some(String::from_utf8_lossy(headers.get(name)?.as_bytes()).into_owned()),
            Taken::Query(name) => parameter(uri.query()?, name),
            Taken::Path => Some(uri.path().to_string()),
            Taken::Remote => Some(remote.to_string()),
            Taken::Time => None,
        }
    }
}

/// The values of a request.
pub fn values(columns: &[FromRequest], uri: &Uri, headers: &HeaderMap, remote: IpAddr) -> Values {
    columns
        .iter()
        .map(|from| from.taken.value(uri, headers, remote))
        .collect()
}

fn parameter(query: &str, name: &str) -> Option<String> {
    let decoded = |text: &str| {
        percent_decode_str(&text.replace('+', " "))
            .decode_utf8_lossy()
            .into_owned()
    };
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let mut found = pairs.filter(|(key, _)| decoded(key) == name);
    found.next().map(|(_, value)| decoded(value))
}

/// Puts the columns of requests between those of their bodies: `rows` of each request.
pub fn complete(
    schema: &DecodeSchema,
    columns: &[FromRequest],
    bodies: &RecordBatch,
    requests: &[(&Values, Micros)],
    rows: &[usize],
) -> Result<RecordBatch> {
    let mut of_bodies = bodies.columns().iter();
    let mut arrays: Vec<ArrayRef> = Vec::with_capacity(schema.wanted.len());
    for column in schema.wanted.iter() {
        match columns.iter().position(|from| from.column == *column) {
            None => arrays.extend(of_bodies.next().cloned()),
            Some(at) if columns[at].taken == Taken::Time => {
                let each = requests.iter().zip(rows);
                let times = each.flat_map(|((_, time), rows)| std::iter::repeat_n(*time, *rows));
                arrays.push(Arc::new(TimestampMicrosecondArray::from_iter_values(times)));
            }
            Some(at) => {
                let mut texts = StringViewBuilder::new();
                for ((values, _), rows) in requests.iter().zip(rows) {
                    (0..*rows).for_each(|_| texts.append_option(values[at].as_deref()));
                }
                arrays.push(Arc::new(texts.finish()));
            }
        }
    }
    let options = RecordBatchOptions::new().with_row_count(Some(bodies.num_rows()));
    Ok(RecordBatch::try_new_with_options(schema.decoded(), arrays, &options)?)
}

/// The schema of what is decoded from bodies alone.
pub fn of_bodies(schema: &DecodeSchema, columns: &[FromRequest]) -> SchemaRef {
    let is_of_body = |column: &&usize| !columns.iter().any(|from| from.column == **column);
    let wanted: Vec<usize> = schema.wanted.iter().filter(is_of_body).copied().collect();
    let fields: Vec<_> = wanted
        .iter()
        .map(|&column| schema.declared.fields()[column].clone())
        .collect();
    Arc::new(arrow::datatypes::Schema::new(fields))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_and_the_first_counts() {
        assert_eq!(
            parameter("a=1&te%6eant=x+y%26z&tenant=2", "tenant"),
            Some("x y&z".to_string())
        );
        assert_eq!(parameter("tenant", "tenant"), Some(String::new()));
        assert_eq!(parameter("tenants=1", "tenant"), None);
    }

    #[test]
    fn what_a_request_has() {
        assert_eq!(
            Taken::parse("header:X-Source"),
            Some(Taken::Header(HeaderName::from_static("x-source")))
        );
        assert_eq!(Taken::parse("query:a"), Some(Taken::Query("a".to_string())));
        for text in ["header:", "header:a b", "query:", "body", "X-Source", ""] {
            assert_eq!(Taken::parse(text), None, "{text}");
        }
    }
}
