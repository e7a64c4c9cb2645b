//! [`Input`]: sends events into a stream.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::cast;
use parking_lot::Mutex;
use serde::Serialize;

use super::App;
use crate::catalog::streams::StreamDef;
use crate::catalog::types;
use crate::config::options::Options;
use crate::error::{Error, Result};
use crate::event::{EventBatch, Micros, Times};
use crate::formats::json::JsonFormat;
use crate::formats::{Block, DecodeSchema, Decoder, Format, FrameKind};

/// A way to send events into one stream. Cheap to keep and to share; in threaded mode `send` waits while the app is busy.
///
/// Rows are anything that serialises: a struct or map by column name (columns left out are NULL), a tuple or array by
/// position.
///
/// ```
/// # use eventflux::EventFlux;
/// #[derive(serde::Serialize)]
/// struct Trade<'a> {
///     symbol: &'a str,
///     price: f64,
/// }
///
/// let app = EventFlux::builder().sql("CREATE STREAM Trades (symbol STRING, price DOUBLE);").build()?;
/// app.start()?;
/// let trades = app.input("Trades")?;
/// trades.send(Trade { symbol: "IBM", price: 75.6 })?;
/// trades.send(("WSO2", 57.6))?;
/// app.shutdown()?;
/// # Ok::<(), eventflux::Error>(())
/// ```
pub struct Input {
    app: App,
    def: Arc<StreamDef>,
    decoder: Mutex<Box<dyn Decoder>>,
}

impl Input {
    pub(super) fn new(app: App, def: Arc<StreamDef>) -> Result<Self> {
        let options = Options::check("json", JsonFormat.options(), &[])?;
        let decoder = JsonFormat.decoder(&DecodeSchema::all(def.schema.clone()), &options)?;
        Ok(Input {
            app,
            def,
            decoder: Mutex::new(decoder),
        })
    }

    /// The stream.
    pub fn stream(&self) -> &StreamDef {
        &self.def
    }

    /// Sends a row, which arrives now.
    pub fn send(&self, row: impl Serialize) -> Result<()> {
        self.send_rows([row])
    }

    /// Sends a row with its event time. Where the stream has a WATERMARK column, that column's value holds instead.
    pub fn send_at(&self, time: Micros, row: impl Serialize) -> Result<()> {
        let columns = self.decode([row])?;
        self.send_events(EventBatch::inserts(columns, Times::Same(time)))
    }

    /// Sends rows as one batch.
    pub fn send_rows<T: Serialize>(&self, rows: impl IntoIterator<Item = T>) -> Result<()> {
        let columns = self.decode(rows)?;
        let now = self.app.clock().now();
        self.send_events(EventBatch::inserts(columns, Times::Same(now)))
    }

    /// Sends columns, which arrive now. They go by position and must have the stream's types; strings of any Arrow kind will
    /// do, and narrower numbers.
    pub fn send_batch(&self, columns: RecordBatch) -> Result<()> {
        let now = self.app.clock().now();
        self.send_events(EventBatch::inserts(columns, Times::Same(now)))
    }

    /// Sends columns with their event times.
    pub fn send_events(&self, batch: EventBatch) -> Result<()> {
        let running = self.app.running()?;
        let id = self.app.id(running, &self.def.name)?;
        let batch = self.fit(batch)?;
        let wanted = &running.plan.streams[id].wanted;
        let batch = match wanted.len() < self.def.schema.fields().len() {
            true => batch.with_columns(batch.columns().project(wanted)?),
            false => batch,
        };
        running.instance.send(id, batch, Vec::new())
    }

    fn decode<T: Serialize>(&self, rows: impl IntoIterator<Item = T>) -> Result<RecordBatch> {
        let mut bytes = Vec::new();
        for row in rows {
            let start = bytes.len();
            serde_json::to_writer(&mut bytes, &row).map_err(Error::usage)?;
            if bytes.get(start) == Some(&b'[') {
                let object = self.named(&bytes[start..])?;
                bytes.truncate(start);
                bytes.extend_from_slice(&object);
            }
            bytes.push(b'\n');
        }
        let block = Block {
            bytes,
            first_line: 1,
            layout: None,
            kind: FrameKind::Records,
        };
        let decoded = self.decoder.lock().decode(&block)?;
        match decoded.errors.into_iter().next() {
            None => Ok(decoded.columns),
            Some(bad) => Err(Error::usage(format!(
                "stream {}: {} (row: {})",
                self.def.name, bad.message, bad.raw
            ))),
        }
    }

    /// An array of values as an object with the stream's column names.
    fn named(&self, array: &[u8]) -> Result<Vec<u8>> {
        let values: Vec<&serde_json::value::RawValue> = serde_json::from_slice(array).map_err(Error::usage)?;
        let fields = self.def.schema.fields();
        if values.len() > fields.len() {
            return Err(Error::usage(format!(
                "stream {} has {} columns, the row has {}",
                self.def.name,
                fields.len(),
                values.len()
            )));
        }
        let mut object = vec![b'{'];
        for (index, (value, field)) in values.iter().zip(fields).enumerate() {
            if index > 0 {
                object.push(b',');
            }
            serde_json::to_writer(&mut object, field.name()).map_err(Error::usage)?;
            object.push(b':');
            object.extend_from_slice(value.get().as_bytes());
        }
        object.push(b'}');
        Ok(object)
    }

    /// The batch with exactly the stream's schema.
    fn fit(&self, batch: EventBatch) -> Result<EventBatch> {
        if Arc::ptr_eq(&batch.schema(), &self.def.schema) || batch.schema() == self.def.schema {
            return Ok(batch);
        }
        let (name, fields) = (&self.def.name, self.def.schema.fields());
        if batch.columns().num_columns() != fields.len() {
            return Err(Error::usage(format!(
                "stream {name} has {} columns, the batch has {}",
                fields.len(),
                batch.columns().num_columns()
            )));
        }
        let columns = fields
            .iter()
            .zip(batch.columns().columns())
            .map(|(field, column)| match column.data_type() {
                given if given == field.data_type() => Ok(column.clone()),
                given if types::widens(given, field.data_type()) => Ok(cast(column, field.data_type())?),
                given => Err(Error::usage(format!(
                    "stream {name}: column {} takes {}, not {}",
                    field.name(),
                    types::name(field.data_type()),
                    types::name(given)
                ))),
            });
        let columns = RecordBatch::try_new(self.def.schema.clone(), columns.collect::<Result<_>>()?)
            .map_err(|error| Error::usage(format!("stream {name}: {error}")))?;
        Ok(batch.with_columns(columns))
    }
}
