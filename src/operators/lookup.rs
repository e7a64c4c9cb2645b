//! Finding a table's rows for events: by key, index or scan, and by what else must hold.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::{filter_record_batch, take, take_record_batch};
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion_common::DataFusionError;
use datafusion_physical_expr::utils::collect_columns;
use datafusion_physical_expr::{PhysicalExpr, conjunction, split_conjunction};

use super::expressions::{Narrowed, mask, values};
use crate::error::{Error, Result};
use crate::tables::slot::TableSlot;
use crate::tables::{Access, Matches, Probe, RowId};

/// At most so many pairs of an event and a row are looked at together.
const MOST_PAIRS: usize = 65_536;

/// How many events may be looked at together if each meets all rows of a table.
pub fn events_at_a_time(rows: usize) -> usize {
    (MOST_PAIRS / rows.max(1)).max(1)
}

/// How the rows for an event are found.
#[derive(Debug, Clone)]
pub struct LookupPlan {
    /// The table.
    pub table: Arc<TableSlot>,
    /// What the backend looks for.
    pub access: Access,
    /// For each of [`Access::equal`], the value over the event's columns, of the table column's type.
    pub equal: Vec<Arc<dyn PhysicalExpr>>,
    /// The lower bound.
    pub low: Option<Arc<dyn PhysicalExpr>>,
    /// The upper bound.
    pub high: Option<Arc<dyn PhysicalExpr>>,
    /// What else must hold: over the event's columns and, after them, those of the table that are read.
    pub residual: Option<Arc<dyn PhysicalExpr>>,
    /// The table's columns that are read.
    pub columns: Vec<usize>,
    /// The events' columns.
    pub events: SchemaRef,
}

impl LookupPlan {
    /// What it does, for EXPLAIN.
    pub fn details(&self) -> Vec<String> {
        let def = self.table.def();
        let name = |column: usize| def.schema.field(column).name().as_str();
        let mut details = vec![format!("table {} ({})", def.name, def.backend)];
        let equal = self.access.equal.iter().zip(&self.equal);
        let mut by: Vec<String> = equal
            .map(|(column, expr)| format!("{} = {expr}", name(*column)))
            .collect();
        if let Some(range) = &self.access.range {
            let low = self.low.as_ref().map(|low| format!("from {low}"));
            let high = self.high.as_ref().map(|high| format!("to {high}"));
            let bounds: Vec<String> = low.into_iter().chain(high).collect();
            by.push(format!("{} {}", name(range.column), bounds.join(" ")));
        }
        details.push(match by.is_empty() {
            true => "scan".to_string(),
            false => format!(
                "lookup {}{}",
                by.join(", "),
                if self.is_indexed() { "" } else { " (no index: scan)" }
            ),
        });
        if let Some(residual) = &self.residual {
            details.push(crate::catalog::types::in_our_names(&format!("where {residual}")));
        }
        details
    }

    /// Whether rows are found by equality with a key or an index.
    pub fn is_keyed(&self) -> bool {
        !self.access.equal.is_empty() && self.is_indexed()
    }

    /// Whether a key or an index of the table serves the access.
    fn is_indexed(&self) -> bool {
        let def = self.table.def();
        let serves =
            |index: &[usize]| !index.is_empty() && index.iter().all(|column| self.access.equal.contains(column));
        let ranged = |range: &crate::tables::RangeAccess| {
            let mut indexes = def.indexes.iter().chain(std::iter::once(&def.primary_key));
            indexes.any(|index| *index == [range.column])
        };
        serves(&def.primary_key)
            || def.indexes.iter().any(|index| serves(index))
            || self.access.range.as_ref().is_some_and(ranged)
    }

    /// The columns of a pair: the event's, then the row's.
    pub fn joined(&self) -> SchemaRef {
        let table = &self.table.def().schema;
        let rows = self
            .columns
            .iter()
            .map(|&column| table.field(column).clone().with_nullable(true));
        let events = self.events.fields().iter().map(|field| field.as_ref().clone());
        Arc::new(Schema::new(events.chain(rows).collect::<Vec<Field>>()))
    }

    /// Ready to look up.
    pub fn build(&self) -> Result<Lookup> {
        let scans = self.access.is_scan();
        let conditions = self.residual.iter().flat_map(split_conjunction);
        let width = self.events.fields().len();
        let mut parts: [Vec<Arc<dyn PhysicalExpr>>; 3] = Default::default();
        for condition in conditions {
            let columns = collect_columns(condition);
            let of_event = columns.iter().all(|column| column.index() < width);
            let of_row = columns.iter().all(|column| column.index() >= width);
            // A key finds few rows: what else must hold is asked of the pairs at once.
            let part = match scans {
                true if of_event => 0,
                true if of_row => 1,
                _ => 2,
            };
            parts[part].push(condition.clone());
        }
        let narrowed = |part: Vec<Arc<dyn PhysicalExpr>>| match part.is_empty() {
            true => Ok(None),
            false => Narrowed::new(&[conjunction(part)]).map(Some),
        };
        let [of_event, of_row, residual] = parts.map(narrowed);
        Ok(Lookup {
            of_event: of_event?,
            of_row: of_row?,
            residual: residual?,
            joined: self.joined(),
            plan: self.clone(),
        })
    }
}

/// Why a lookup failed.
#[derive(Debug)]
pub enum LookupError {
    /// The table's backend.
    Table(Error),
    /// An expression, on some event.
    Evaluate(DataFusionError),
}

impl From<DataFusionError> for LookupError {
    fn from(error: DataFusionError) -> Self {
        LookupError::Evaluate(error)
    }
}

impl From<arrow::error::ArrowError> for LookupError {
    fn from(error: arrow::error::ArrowError) -> Self {
        LookupError::Evaluate(error.into())
    }
}

/// Whom the rows are asked of: a table, or a writer.
pub type Reader<'a> = &'a mut dyn FnMut(&Access, &Probe, &[usize]) -> Result<Matches>;

/// Looks rows up.
pub struct Lookup {
    /// How.
    pub plan: LookupPlan,
    /// When all rows are looked at: what must hold of the event alone, and of the row alone.
    of_event: Option<Narrowed>,
    of_row: Option<Narrowed>,
    /// What must hold of a pair.
    residual: Option<Narrowed>,
    joined: SchemaRef,
}

/// The rows found, by event.
pub struct Found {
    /// For each row, the event that found it, ascending.
    pub probes: Vec<u32>,
    /// The rows, with the columns read.
    pub rows: RecordBatch,
    /// Their names, where a writer found them.
    pub ids: Vec<RowId>,
}

impl Lookup {
    /// The rows of a batch of events.
    pub fn find(&self, events: &RecordBatch, reader: Reader) -> Result<Found, LookupError> {
        let probe = self.probe(events)?;
        let access = &self.plan.access;
        if access.is_scan() {
            return self.find_in_all(events, reader);
        }
        let matches = reader(access, &probe, &self.plan.columns).map_err(LookupError::Table)?;
        let found = Found {
            probes: matches.probes,
            rows: matches.rows,
            ids: matches.ids,
        };
        let Some(residual) = &self.residual else {
            return Ok(found);
        };
        let pairs = self.pairs(events, &found.rows, &found.probes, None, &residual.columns)?;
        let kept = mask(&residual.exprs[0], &pairs)?;
        if kept.true_count() == kept.len() {
            return Ok(found);
        }
        let keep = |row: &usize| kept.value(*row);
        Ok(Found {
            probes: (0..kept.len()).filter(keep).map(|row| found.probes[row]).collect(),
            ids: match found.ids.is_empty() {
                true => Vec::new(),
                false => (0..kept.len()).filter(keep).map(|row| found.ids[row]).collect(),
            },
            rows: filter_record_batch(&found.rows, &kept)?,
        })
    }

    /// For each event, whether a row is found.
    pub fn contains(&self, events: &RecordBatch) -> Result<Vec<bool>, LookupError> {
        let table = self.plan.table.table().map_err(LookupError::Table)?;
        let scans = self.plan.access.is_scan();
        if self.residual.is_none() && !scans {
            let probe = self.probe(events)?;
            return table.contains(&self.plan.access, &probe).map_err(LookupError::Table);
        }
        let found = self.find(events, &mut |access, probe, columns| {
            table.lookup(access, probe, columns)
        })?;
        let mut contains = vec![false; events.num_rows()];
        found.probes.iter().for_each(|probe| contains[*probe as usize] = true);
        Ok(contains)
    }

    /// All rows with all events, in pieces; what else must hold decides, first of each event and each row by itself.
    fn find_in_all(&self, events: &RecordBatch, reader: Reader) -> Result<Found, LookupError> {
        let width = self.plan.events.fields().len();
        let considered = match &self.of_event {
            None => (0..events.num_rows() as u32).collect(),
            Some(of_event) => holding(of_event, events, 0)?,
        };
        if considered.is_empty() {
            let columns: Vec<usize> = (width..self.joined.fields().len()).collect();
            return Ok(Found {
                probes: Vec::new(),
                rows: RecordBatch::new_empty(Arc::new(self.joined.project(&columns)?)),
                ids: Vec::new(),
            });
        }
        let one = Probe {
            rows: 1,
            equal: Vec::new(),
            low: None,
            high: None,
        };
        let all = reader(&self.plan.access, &one, &self.plan.columns).map_err(LookupError::Table)?;
        let candidates = match &self.of_row {
            None => (0..all.rows.num_rows() as u32).collect(),
            Some(of_row) => holding(of_row, &all.rows, width)?,
        };
        let mut probes = Vec::new();
        let mut picks: Vec<u32> = Vec::new();
        for part in considered.chunks(events_at_a_time(candidates.len())) {
            let event = part
                .iter()
                .flat_map(|event| std::iter::repeat_n(*event, candidates.len()));
            let event: Vec<u32> = event.collect();
            let row = part.iter().flat_map(|_| candidates.iter().copied());
            let row: Vec<u32> = row.collect();
            let Some(residual) = &self.residual else {
                probes.extend(event);
                picks.extend(row);
                continue;
            };
            let pairs = self.pairs(events, &all.rows, &event, Some(&row), &residual.columns)?;
            let kept = mask(&residual.exprs[0], &pairs)?;
            for pair in (0..kept.len()).filter(|pair| kept.value(*pair)) {
                probes.push(event[pair]);
                picks.push(row[pair]);
            }
        }
        let ids = match all.ids.is_empty() {
            true => Vec::new(),
            false => picks.iter().map(|row| all.ids[*row as usize]).collect(),
        };
        let rows = take_rows(&all.rows, picks)?;
        Ok(Found { probes, rows, ids })
    }

    fn probe(&self, events: &RecordBatch) -> Result<Probe, LookupError> {
        let bound = |expr: &Option<Arc<dyn PhysicalExpr>>| expr.as_ref().map(|expr| values(expr, events)).transpose();
        Ok(Probe {
            rows: events.num_rows(),
            equal: self
                .plan
                .equal
                .iter()
                .map(|expr| values(expr, events))
                .collect::<Result<_, _>>()?,
            low: bound(&self.plan.low)?,
            high: bound(&self.plan.high)?,
        })
    }

    /// Pairs of events and rows: the `columns` of [`LookupPlan::joined`]. Row `i` is `rows[picks[i]]`, or `rows[i]`.
    pub fn pairs(
        &self,
        events: &RecordBatch,
        rows: &RecordBatch,
        probes: &[u32],
        picks: Option<&[u32]>,
        columns: &[usize],
    ) -> Result<RecordBatch, LookupError> {
        let width = self.plan.events.fields().len();
        let probed = UInt32Array::from(probes.to_vec());
        let picks = picks.map(|picks| UInt32Array::from(picks.to_vec()));
        let column = |&column: &usize| match (column < width, &picks) {
            (true, _) => take(events.column(column), &probed, None),
            (false, Some(picks)) => take(rows.column(column - width), picks, None),
            (false, None) => Ok(rows.column(column - width).clone()),
        };
        let arrays = columns.iter().map(column).collect::<Result<Vec<_>, _>>()?;
        let schema = Arc::new(self.joined.project(columns)?);
        let options = RecordBatchOptions::new().with_row_count(Some(probes.len()));
        Ok(RecordBatch::try_new_with_options(schema, arrays, &options)?)
    }
}

/// The rows of a batch for which a condition holds; its columns are counted from `offset`.
fn holding(condition: &Narrowed, rows: &RecordBatch, offset: usize) -> Result<Vec<u32>, LookupError> {
    let columns: Vec<usize> = condition.columns.iter().map(|column| column - offset).collect();
    let holds = mask(&condition.exprs[0], &rows.project(&columns)?)?;
    Ok(holds.values().set_indices().map(|row| row as u32).collect())
}

/// The rows at `picks`; also of a batch without columns.
fn take_rows(rows: &RecordBatch, picks: Vec<u32>) -> Result<RecordBatch, LookupError> {
    if rows.num_columns() == 0 {
        let options = RecordBatchOptions::new().with_row_count(Some(picks.len()));
        return Ok(RecordBatch::try_new_with_options(rows.schema(), Vec::new(), &options)?);
    }
    Ok(take_record_batch(rows, &UInt32Array::from(picks))?)
}
