//! The options of the format.

use crate::config::options::{OptionKind, OptionSpec};
use crate::formats::records;
use crate::formats::template::TEMPLATE;

pub(super) const ROOT: &str = "root";
pub(super) const IGNORE_PARSE_ERRORS: &str = "ignore-parse-errors";
pub(super) const FAIL_ON_MISSING_FIELD: &str = "fail-on-missing-field";
pub(super) const DATE_FORMAT: &str = "date-format";
pub(super) const CASE_INSENSITIVE: &str = "case-insensitive";

pub(super) const ENVELOPE: &str = "envelope";
pub(super) const INCLUDE_NULLS: &str = "include-nulls";
pub(super) const OPS: &str = "ops";

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
    OptionSpec::new(
        TEMPLATE,
        OptionKind::Text,
        "Sink: the text of a record, with {{column}} for values and {{#if column}}…{{else}}…{{/if}}. Outside of the template's \
         strings a value is JSON, within them it is escaped text.",
    ),
    OptionSpec::new(
        ENVELOPE,
        OptionKind::Text,
        "Sink: the member of an outer object that holds the record: a name, or names as in '$.data.event'.",
    ),
    OptionSpec::new(
        INCLUDE_NULLS,
        OptionKind::Boolean,
        "Sink: whether columns that are NULL are members.",
    )
    .default("true"),
    OptionSpec::new(
        OPS,
        OptionKind::Text,
        "Sink: the member that holds the event's operation (+I, -U, +U, -D): 'true' for 'op', or a name. Beside the envelope if \
         there is one, else the record's first.",
    )
    .default("false"),
    records::MAX_RECORD,
];
