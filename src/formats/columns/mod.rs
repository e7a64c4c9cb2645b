//! Columns in the making, shared by the text formats: typed growing vectors that can be cut back, the readers that
//! put texts into them, and the writers that turn finished columns into texts again.

mod column;
pub(crate) mod dates;
pub(crate) mod decimal;
mod interval;
pub(crate) mod json_value;
pub(crate) mod json_writer;
#[cfg(any(feature = "avro", feature = "protobuf"))]
pub(crate) mod native;
pub(crate) mod number;
mod reject;
pub(crate) mod scalar_text;
pub(crate) mod scalar_writer;
pub(crate) mod scan;
pub(crate) mod temporal;
mod views;

pub(crate) use column::{Column, Values, finish};
#[cfg(any(feature = "parquet", feature = "pg-client"))]
pub(crate) use interval::parse as parse_interval;
#[cfg(any(test, feature = "parquet"))]
pub(crate) use interval::write as write_interval;
#[cfg(any(feature = "avro", feature = "protobuf", feature = "pg-client"))]
pub(crate) use reject::Reject;
pub(crate) use reject::shorten;
pub(crate) use temporal::parse_timestamp;
pub(crate) use views::{Content, Views};
