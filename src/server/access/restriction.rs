//! What a client's own condition becomes for somebody who may not see all: nothing of what is not seen may be learnt by asking.

use super::{Principal, both, hidden, row_filter};
use crate::plan::row_filter::RowFilter;
use crate::server::exposed::Exposed;
use crate::server::failure::Failure;
use crate::server::live::Hub;

/// A client's condition, compiled, if the client may ask about all the columns in it. *Errors.* What is no condition; a hidden column.
pub fn allowed_filter(
    hub: &Hub,
    principal: &Principal,
    exposed: &Exposed,
    filter: &str,
) -> Result<Option<RowFilter>, Failure> {
    let relation = &exposed.relation;
    let compiled = hub.filter(relation, filter)?;
    let hidden = hidden(principal, &relation.name);
    if let Some(compiled) = &compiled
        && let Some(column) = compiled.columns().iter().find(|column| hidden.has(column))
    {
        let message = format!("'{}' may not ask about {}.{column}", principal.name(), relation.name);
        return Err(principal.refused(&relation.name, &message));
    }
    Ok(compiled)
}

/// The condition on the rows that a client gets: its own, and what it may see. `own` has been let through by [`allowed_filter`], or was made
/// here.
///
/// A condition that has no value for some row makes a query fail, and who sees that learns of the row: such a one is evaluated only for
/// rows that are seen.
pub fn restricted(principal: &Principal, relation: &str, own: &str, compiled: Option<&RowFilter>) -> String {
    let Some(seen) = row_filter(principal, relation) else {
        return own.to_string();
    };
    match compiled {
        Some(compiled) if compiled.may_fail() => {
            format!("({seen}) AND CASE WHEN {seen} THEN ({own}) ELSE FALSE END")
        }
        _ => both(&seen, own),
    }
}
