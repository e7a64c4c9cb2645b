//! On-demand queries of clients: the rows of a relation now.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::filter_record_batch;

use super::Shared;
use super::access::{self, Action, Principal};
use super::audit::{Event, sent};
use super::exposed::Exposed;
use super::failure::{Failure, Kind};
use super::live::{Style, holds, rows_as_json};
use crate::plan::row_filter::RowFilter;

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
    let after = compiled.filter(|own| access::comes_after(principal, &relation.name, Some(own)));
    let own = if after.is_some() { "" } else { &ask.filter };
    let filter = access::restricted(principal, &relation.name, own);
    let hidden = exposed.hidden(principal);
    let seen: Vec<usize> = (0..relation.schema.fields().len())
        .filter(|column| !hidden.contains(column))
        .collect();
    // A condition that is evaluated here is one over all columns.
    let columns = match hidden.is_empty() || after.is_some() {
        true => "*".to_string(),
        false => {
            let names = seen.iter().map(|column| quoted(relation.schema.field(*column).name()));
            names.collect::<Vec<_>>().join(", ")
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
    let most = ask
        .limit
        .unwrap_or(shared.options.max_rows)
        .min(shared.options.max_rows);
    if after.is_none() {
        sql += &format!(" LIMIT {most}");
        if ask.offset > 0 {
            sql += &format!(" OFFSET {}", ask.offset);
        }
    }
    let (app, offset) = (shared.app.clone(), ask.offset);
    let work = move || -> crate::error::Result<Vec<RecordBatch>> {
        let batches = app.query(&sql)?;
        match after {
            None => Ok(batches),
            Some(own) => those_in(&own, &batches, &seen, offset, most),
        }
    };
    let done = tokio::task::spawn_blocking(work).await;
    let done = done.map_err(|_| Failure::new(Kind::Internal, "the query was given up"))?;
    let batches = done?;
    note(principal, &relation.name, &batches)?;
    Ok(batches)
}

/// The rows in a condition, `most` of them after `offset`, with some of their columns. One for which it has no value is not in it.
fn those_in(
    own: &RowFilter,
    batches: &[RecordBatch],
    columns: &[usize],
    mut offset: usize,
    mut most: usize,
) -> crate::error::Result<Vec<RecordBatch>> {
    let mut found = Vec::new();
    for batch in batches {
        let rows = filter_record_batch(batch, &holds(own, batch))?.project(columns)?;
        let from = offset.min(rows.num_rows());
        let count = most.min(rows.num_rows() - from);
        offset -= from;
        most -= count;
        found.push(rows.slice(from, count));
    }
    Ok(found)
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
