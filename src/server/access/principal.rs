//! [`Principal`]: who asks, and what it may.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Action, Forbidden};

/// Who asks. Copying it is cheap.
#[derive(Debug, Clone)]
pub struct Principal(Arc<Who>);

#[derive(Debug)]
struct Who {
    /// What it is called in the audit and as the owner of what it makes.
    name: String,
    roles: Vec<String>,
}

/// The columns of a relation that somebody may not see.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hidden(Option<Arc<BTreeSet<String>>>);

impl Hidden {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.as_ref().is_none_or(|columns| columns.is_empty())
    }

    /// Whether a column is one of them.
    pub fn has(&self, column: &str) -> bool {
        self.0.as_ref().is_some_and(|columns| columns.contains(column))
    }

    /// Their names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flat_map(|columns| columns.iter().map(String::as_str))
    }
}

impl Principal {
    /// Nobody in particular, where nobody has to sign in.
    pub fn anonymous() -> Self {
        let name = "anonymous".to_string();
        Principal(Arc::new(Who {
            name,
            roles: Vec::new(),
        }))
    }

    /// Its name: of the API key, or the subject of the token.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Its roles.
    pub fn roles(&self) -> &[String] {
        &self.0.roles
    }

    pub(super) fn may(&self, _action: Action, _name: &str) -> Result<(), Forbidden> {
        Ok(())
    }

    pub(super) fn row_filter(&self, _relation: &str) -> Option<String> {
        None
    }

    pub(super) fn hidden(&self, _relation: &str) -> Hidden {
        Hidden::default()
    }
}
