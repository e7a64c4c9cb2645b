//! Events joined with what a query over tables gives: joins of tables, aggregates of them.

use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, sort_to_indices, take_record_batch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt32Type};
use datafusion::catalog::{MemTable, TableProvider};
use datafusion::datasource::provider_as_source;
use datafusion_common::DataFusionError;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_expr::{LogicalPlan, TableScan};

use super::row_errors::{isolate, report_all};
use super::{Operator, OperatorPlan, Output, Port};
use crate::error::{ErrorKind, Result};
use crate::event::{EventBatch, Micros, Ops};
use crate::tables::batch_engine::BatchEngine;

/// The column, behind those of the events, that says which event of the batch a row is of.
pub const EVENT_ROW: &str = "__event_row";

/// The name of the scan that stands for the events.
pub const EVENTS: &str = "__events";

/// Runs a query over a batch of events and the tables as they are now.
///
/// *Semantics.* The rows of an event, in any order, stand where the event stood. *Ops.* Any, each row has its event's.
/// *State.* None. *Cost.* That of the query, planned and run for each batch: for tables of moderate size.
pub struct TableQueryJoin {
    plan: TableQueryJoinPlan,
    engine: BatchEngine,
}

/// What a [`TableQueryJoin`] does.
#[derive(Clone)]
pub struct TableQueryJoinPlan {
    /// The query: a scan called [`EVENTS`] stands for the events; its last column is [`EVENT_ROW`].
    pub query: LogicalPlan,
    /// The events' columns.
    pub events: SchemaRef,
    /// The columns that go out.
    pub schema: SchemaRef,
}

impl OperatorPlan for TableQueryJoinPlan {
    fn name(&self) -> &'static str {
        "TableQueryJoin"
    }

    fn details(&self) -> Vec<String> {
        let query = self.query.display_indent().to_string();
        vec![query.split('\n').map(str::trim).collect::<Vec<_>>().join(" ← ")]
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(TableQueryJoin {
            plan: self.clone(),
            engine: BatchEngine::default(),
        }))
    }
}

/// The columns of the scan that stands for the events: theirs, called `c0`, `c1` … since several may have one name, and
/// [`EVENT_ROW`].
pub fn numbered_schema(events: &Schema) -> SchemaRef {
    let row = Field::new(EVENT_ROW, DataType::UInt32, false);
    let fields = events.fields().iter().enumerate();
    let fields = fields.map(|(number, field)| field.as_ref().clone().with_name(format!("c{number}")));
    Arc::new(Schema::new(fields.chain([row]).collect::<Vec<_>>()))
}

impl Operator for TableQueryJoin {
    fn process(&mut self, _port: Port, batch: EventBatch, out: &mut Output) -> Result<()> {
        isolate(&batch, out, &mut |part, out| {
            match self.query(part) {
                Ok(rows) => out.emit(rows),
                Err(error) if part.num_rows() == 1 => report_all(part, ErrorKind::Table, &error.to_string(), out),
                Err(error) => return Err(DataFusionError::External(Box::new(error))),
            }
            Ok(())
        });
        Ok(())
    }

    fn next_watermark(&self) -> Option<Micros> {
        None
    }
}

impl TableQueryJoin {
    fn query(&self, batch: &EventBatch) -> Result<EventBatch> {
        let schema = numbered_schema(&self.plan.events);
        let mut columns = batch.columns().columns().to_vec();
        columns.push(Arc::new(UInt32Array::from_iter_values(0..batch.num_rows() as u32)));
        let events = RecordBatch::try_new(schema.clone(), columns)?;
        let events: Arc<dyn TableProvider> = Arc::new(MemTable::try_new(schema, vec![vec![events]])?);
        let source = provider_as_source(events);
        let query = self.plan.query.clone().transform_up(|node| match node {
            LogicalPlan::TableScan(scan) if scan.table_name.table() == EVENTS => {
                let source = source.clone();
                Ok(Transformed::yes(LogicalPlan::TableScan(TableScan { source, ..scan })))
            }
            node => Ok(Transformed::no(node)),
        })?;
        let (schema, batches) = self.engine.run(query.data)?;
        let rows = concat_batches(&schema, &batches)?;
        let order = sort_to_indices(rows.column(rows.num_columns() - 1), None, None)?;
        let rows = take_record_batch(&rows, &order)?;
        let (numbers, columns) = match rows.columns().split_last() {
            Some((numbers, columns)) => (numbers.as_primitive::<UInt32Type>().values().to_vec(), columns.to_vec()),
            None => (Vec::new(), Vec::new()),
        };
        let columns = columns
            .into_iter()
            .zip(self.plan.schema.fields())
            .map(|(column, field)| arrow::compute::cast(&column, field.data_type()));
        let columns = RecordBatch::try_new(self.plan.schema.clone(), columns.collect::<Result<_, _>>()?)?;
        let times = batch.times().take(&numbers);
        Ok(match batch.ops() {
            None => EventBatch::inserts(columns, times),
            Some(ops) => {
                let ops: Ops = numbers.iter().map(|row| ops[*row as usize]).collect();
                EventBatch::changes(columns, times, ops)
            }
        })
    }
}
