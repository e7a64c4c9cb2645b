//! The options of the format.

use crate::config::options::{OptionKind, OptionSpec};
use crate::formats::records;

/// What the name of the option of a column's path begins with.
pub(super) const MAPPING: &str = "mapping.";
pub(super) const ROOT: &str = "root";
pub(super) const IGNORE_PARSE_ERRORS: &str = "ignore-parse-errors";
pub(super) const FAIL_ON_MISSING_FIELD: &str = "fail-on-missing-field";
pub(super) const DATE_FORMAT: &str = "date-format";
pub(super) const CASE_INSENSITIVE: &str = "case-insensitive";

pub(super) const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new(
        "mapping.<column>",
        OptionKind::Text,
        "Source: where the column's value is in the record, a JSONPath such as '$.trade.legs[0].price'; from '$$' on in the \
         whole message. Given for all columns or for none, whose values are then the members of their names.",
    ),
    OptionSpec::new(
        ROOT,
        OptionKind::Text,
        "Source: where the record is in the message, a JSONPath such as '$.data.trades'. The elements of an array are a \
         record each.",
    ),
    OptionSpec::new(
        IGNORE_PARSE_ERRORS,
        OptionKind::Boolean,
        "Source: whether values that their columns do not take are NULL, and records that cannot be read are skipped \
         without a word.",
    )
    .default("false"),
    OptionSpec::new(
        FAIL_ON_MISSING_FIELD,
        OptionKind::Boolean,
        "Source: whether a record without a value for a column is an error. NULL is a value.",
    )
    .default("false"),
    OptionSpec::new(
        DATE_FORMAT,
        OptionKind::Text,
        "How the times of TIMESTAMP columns are written: a pattern such as 'yyyy-MM-dd HH:mm:ss' or '%d.%m.%Y', \
         'epoch-seconds', 'epoch-millis', 'epoch-micros', 'epoch-nanos', or 'iso-8601'. Without it a source reads ISO 8601 \
         and milliseconds, a sink writes ISO 8601.",
    ),
    OptionSpec::new(
        CASE_INSENSITIVE,
        OptionKind::Boolean,
        "Source: whether names of members are the same when they differ only in case.",
    )
    .default("false"),
    records::MAX_RECORD,
];
