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
pub fn restricted(principal: &Principal, relation: &str, own: &str) -> String {
    both(&row_filter(principal, relation).unwrap_or_default(), own)
}

/// Whether a client's condition is to be evaluated only after what it may see: it may have no value for some row, a query then fails, and
/// who sees that learns of a row that it does not see.
pub fn comes_after(principal: &Principal, relation: &str, own: Option<&RowFilter>) -> bool {
    own.is_some_and(RowFilter::may_fail) && row_filter(principal, relation).is_some()
}
