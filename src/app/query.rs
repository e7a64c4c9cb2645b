//! On-demand queries: asking and changing tables while events flow.

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, Schema, SchemaRef};
use std::sync::Arc;

use super::App;
use crate::catalog::types;
use crate::error::{Result, SourceText};
use crate::plan::on_demand::{OnDemand, on_demand};

impl App {
    /// Runs one statement over the tables and named windows as they are now: any SELECT, whose rows it gives (one batch at least, be
    /// it empty), or INSERT, UPSERT, UPDATE or DELETE on a table, which give none and are done whole or not at all.
    ///
    /// It may be called from any thread while events flow, and holds none of them up.
    ///
    /// ```
    /// use eventflux::EventFlux;
    ///
    /// let app = EventFlux::builder()
    ///     .sql("CREATE STREAM Trades (symbol STRING, price DOUBLE);
    ///           CREATE TABLE Latest (symbol STRING PRIMARY KEY, price DOUBLE);
    ///           UPSERT INTO Latest SELECT symbol, price FROM Trades;")
    ///     .inline()
    ///     .build()?;
    /// app.start()?;
    /// let trades = app.input("Trades")?;
    /// trades.send(("IBM", 75.0))?;
    /// trades.send(("IBM", 76.5))?;
    /// let rows = app.query("SELECT price FROM Latest WHERE symbol = 'IBM'")?;
    /// assert_eq!(rows[0].num_rows(), 1);
    /// # Ok::<(), eventflux::Error>(())
    /// ```
    pub fn query(&self, sql: &str) -> Result<Vec<RecordBatch>> {
        self.running()?;
        let source = SourceText::new("query", sql);
        let content = |window: &str| self.window_content(window);
        match on_demand(&source, self.compiled(), self.functions(), &content)? {
            OnDemand::Point(point) => {
                let (schema, batches) = point.run()?;
                canonical(&schema, batches)
            }
            OnDemand::Select(plan) => {
                let (schema, batches) = self.engine().run(plan)?;
                canonical(&schema, batches)
            }
            OnDemand::Change(change) => {
                let (schema, batches) = self.engine().run(change.rows.clone())?;
                change.apply(&schema, &batches, self.clock().now())?;
                Ok(Vec::new())
            }
        }
    }
}

/// The rows in the language's own types.
fn canonical(schema: &SchemaRef, batches: Vec<RecordBatch>) -> Result<Vec<RecordBatch>> {
    let fields = schema.fields().iter().map(|field| {
        let data_type = types::canonical(field.data_type());
        Field::new(field.name(), data_type, true).with_metadata(field.metadata().clone())
    });
    let wanted = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    if batches.is_empty() {
        return Ok(vec![RecordBatch::new_empty(wanted)]);
    }
    let convert = |batch: RecordBatch| {
        let columns = batch.columns().iter().zip(wanted.fields());
        let columns = columns.map(|(column, field)| arrow::compute::cast(column, field.data_type()));
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let columns = columns.collect::<std::result::Result<_, _>>()?;
        Ok(RecordBatch::try_new_with_options(wanted.clone(), columns, &options)?)
    };
    batches.into_iter().map(convert).collect()
}
