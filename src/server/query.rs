//! On-demand queries of clients: the rows of a relation now.

use std::sync::Arc;

use arrow::array::RecordBatch;

use super::Shared;
use super::access::{self, Action, Principal};
use super::audit::{Event, sent};
use super::exposed::Exposed;
use super::failure::{Failure, Kind};
use super::live::{Style, rows_as_json};

/// What a client asks for. Conditions and orders are SQL that has been checked or made here.
#[derive(Debug, Clone, Default)]
pub struct Ask {
    /// The condition.
    pub filter: String,
    /// Columns, and whether the largest come first.
    pub order_by: Vec<(usize, bool)>,
    /// How many rows.
    pub limit: Option<usize>,
    /// After how many.
    pub offset: usize,
}

/// An identifier as it is written.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The rows. *Errors.* For streams, which have none; for what is not allowed; for a filter that is none.
pub async fn rows(
    shared: &Arc<Shared>,
    principal: &Principal,
    exposed: &Exposed,
    ask: &Ask,
) -> Result<Vec<RecordBatch>, Failure> {
    let relation = &exposed.relation;
    access::may(principal, Action::Read, &relation.name)?;
    if !relation.has_rows {
        let message = format!(
            "'{}' is a stream: its events have gone by; subscribe to it",
            relation.name
        );
        return Err(Failure::bad(message));
    }
    // It is checked as a condition before it becomes a part of a query.
    let compiled = access::allowed_filter(&shared.hub, principal, exposed, &ask.filter)?;
    let filter = access::restricted(principal, &relation.name, &ask.filter, compiled.as_ref());
    let hidden = exposed.hidden(principal);
    let columns = match hidden.is_empty() {
        true => "*".to_string(),
        false => {
            let seen = (0..relation.schema.fields().len()).filter(|column| !hidden.contains(column));
            let seen: Vec<String> = seen
                .map(|column| quoted(relation.schema.field(column).name()))
                .collect();
            seen.join(", ")
        }
    };
    let mut sql = format!("SELECT {columns} FROM {}", quoted(&relation.source));
    if !filter.is_empty() {
        sql += &format!(" WHERE ({filter})");
    }
    if let Some((column, _)) = ask.order_by.iter().find(|(column, _)| hidden.contains(column)) {
        // Which it refuses.
        exposed.column(relation.schema.field(*column).name(), principal)?;
    }
    let name = |column: usize| quoted(relation.schema.field(column).name());
    let order = ask.order_by.iter().map(|(column, descending)| match descending {
        false => format!("{} ASC", name(*column)),
        true => format!("{} DESC", name(*column)),
    });
    let order: Vec<String> = order.collect();
    if !order.is_empty() {
        sql += &format!(" ORDER BY {}", order.join(", "));
    }
    let most = shared.options.max_rows;
    sql += &format!(" LIMIT {}", ask.limit.unwrap_or(most).min(most));
    if ask.offset > 0 {
        sql += &format!(" OFFSET {}", ask.offset);
    }
    let app = shared.app.clone();
    let done = tokio::task::spawn_blocking(move || app.query(&sql)).await;
    let done = done.map_err(|_| Failure::new(Kind::Internal, "the query was given up"))?;
    let batches = done?;
    note(principal, &relation.name, &batches)?;
    Ok(batches)
}

/// Notes what somebody is sent.
fn note(principal: &Principal, relation: &str, batches: &[RecordBatch]) -> Result<(), Failure> {
    let audit = &principal.place().audit;
    if !audit.notes(Event::Sent) {
        return Ok(());
    }
    let mut rows = Vec::new();
    if audit.notes_rows() {
        for batch in batches {
            rows.extend(rows_as_json(batch, Style::Json)?);
        }
    }
    let count = batches.iter().map(RecordBatch::num_rows).sum();
    audit.note(Event::Sent, principal, relation, "QUERY", sent(count, &rows))
}
