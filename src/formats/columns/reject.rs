//! Why a value does not fit its column.

use std::borrow::Cow;

use arrow::datatypes::DataType;

use crate::catalog::types;

/// How much of a value a message shows, in bytes.
const SHOWN: usize = 60;

/// A refused value: where inside the column (empty for the column itself), and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reject {
    path: String,
    reason: String,
}

impl Reject {
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Reject {
            path: String::new(),
            reason: reason.into(),
        }
    }

    /// The value is not of the type: `expected LONG, found "abc"`.
    #[cold]
    pub(crate) fn expected(expected: &DataType, found: &str) -> Self {
        Reject::expected_as(&types::name(expected), found)
    }

    /// The same, with the type named by the caller.
    #[cold]
    pub(crate) fn expected_as(expected: &str, found: &str) -> Self {
        Reject::new(format!("expected {expected}, found {}", shorten(found)))
    }

    /// The value is of the kind but too large: `1e400 is out of range for DOUBLE`.
    #[cold]
    pub(crate) fn range(expected: &DataType, found: &str) -> Self {
        Reject::new(format!(
            "{} is out of range for {}",
            shorten(found),
            types::name(expected)
        ))
    }

    /// NULL, or no value, for a NOT NULL column.
    #[cold]
    pub(crate) fn null() -> Self {
        Reject::new("NULL in a NOT NULL column")
    }

    /// The same reason, one step further out: `.field` or `[3]`.
    pub(crate) fn inside(mut self, step: &str) -> Self {
        self.path.insert_str(0, step);
        self
    }

    /// The message, with the column's name: `column 'price': expected DOUBLE, found "abc"`.
    pub(crate) fn message(&self, column: &str) -> String {
        format!("column '{column}{}': {}", self.path, self.reason)
    }
}

/// A value as messages show it: whole when short, else its beginning and `…`.
pub(crate) fn shorten(text: &str) -> Cow<'_, str> {
    if text.len() <= SHOWN {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("{}…", &text[..text.floor_char_boundary(SHOWN)]))
}
