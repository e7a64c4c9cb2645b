//! Runs a workload: for its time, for the checksum of what it gives, or for its latency.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use eventflux::event::{EventBatch, VirtualClock};
use eventflux::{App, EventFlux, Input as Sender, Layers};
use serde_json::{Map, Value, json};

use super::app::Workload;
use super::data::{self, Events, times};
use super::options::{Failure, Input, Options};

/// The stream of the results.
const OUT: &str = "Out";

/// What a workload took, as JSON.
pub fn measure(name: &str, options: &Options) -> Result<Value, Failure> {
    let workload = Workload::read(name, &options.set)?;
    let folder = tempfile::tempdir()?;
    let mut result = Map::new();
    let mut add = |key: &str, value: Value| drop(result.insert(key.to_string(), value));
    add("name", json!(name));
    add("input", json!(format!("{:?}", options.input).to_lowercase()));
    add("parallelism", json!(options.parallelism));
    let prepared = Prepared::new(&workload, options, folder.path())?;
    add("events", json!(prepared.events));
    if options.checkpoint.is_some() && options.input == Input::Memory && options.parallelism == 0 {
        return Err("checkpoints are written beside an app on threads: --parallelism 1".into());
    }
    if let Some(rate) = options.rate {
        let latency = latency(&prepared, rate)?;
        add("rate", json!(rate));
        add("rows_out", json!(latency.len()));
        for (name, quantile) in [("p50_us", 0.5), ("p99_us", 0.99), ("p999_us", 0.999), ("max_us", 1.0)] {
            add(name, json!(percentile(&latency, quantile)));
        }
        add("peak_rss_mb", json!(peak_mb()));
        return Ok(Value::Object(result));
    }
    let mut best = f64::MAX;
    let mut rows = 0;
    for run in 0..options.runs.max(1) {
        let counted = Arc::new(AtomicU64::new(0));
        let own = counted.clone();
        let app = prepared.app(run, move |batch| {
            own.fetch_add(batch.num_rows() as u64, Ordering::Relaxed);
        })?;
        best = best.min(prepared.run(&app)?);
        rows = counted.load(Ordering::Relaxed);
    }
    add("seconds", json!(best));
    add("events_per_second", json!((prepared.events as f64 / best).round()));
    add("rows_out", json!(rows));
    // Before the checksum, which holds nothing but is another run.
    add("peak_rss_mb", json!(peak_mb()));
    if !options.no_checksum {
        let sum = Arc::new(Mutex::new(Checksum::default()));
        let own = sum.clone();
        let clock = Arc::new(VirtualClock::new(0));
        let app = prepared.app_by(Some(clock), options.runs, move |batch| {
            if let Ok(mut sum) = own.lock() {
                sum.add(batch);
            }
        })?;
        prepared.run(&app)?;
        let sum = sum.lock().map_err(|_| "the checksum has failed")?;
        add("checksum", json!(format!("{:016x}", sum.0)));
    }
    Ok(Value::Object(result))
}

/// A workload with its data.
struct Prepared<'a> {
    workload: &'a Workload,
    options: &'a Options,
    folder: &'a Path,
    events: usize,
    /// In memory: the streams' batches, which are sent in the order of their times.
    batches: Vec<Events>,
}

impl<'a> Prepared<'a> {
    fn new(workload: &'a Workload, options: &'a Options, folder: &'a Path) -> Result<Self, Failure> {
        let batches = match options.input {
            Input::Memory => {
                data::side_input(workload, folder)?;
                data::events(workload, options.events, options.seed)?
            }
            _ => {
                let format = options.input.format();
                data::write(workload, options.events, options.seed, format, folder)?;
                Vec::new()
            }
        };
        let rows = |events: &Events| events.batches.iter().map(RecordBatch::num_rows).sum::<usize>();
        let events = match options.input {
            Input::Memory => batches.iter().map(rows).sum(),
            _ => options.events,
        };
        Ok(Prepared {
            workload,
            options,
            folder,
            events,
            batches,
        })
    }

    /// The app for a run that is timed, with somebody who hears its results.
    fn app(&self, run: usize, heard: impl FnMut(&EventBatch) + Send + 'static) -> Result<App, Failure> {
        self.app_by(None, run, heard)
    }

    /// The app; in memory by a clock that may stand still, so that windows of processing time are the same every time.
    fn app_by(
        &self,
        clock: Option<Arc<VirtualClock>>,
        run: usize,
        heard: impl FnMut(&EventBatch) + Send + 'static,
    ) -> Result<App, Failure> {
        let folder = self.folder.to_string_lossy();
        let sql = self.workload.over(&folder, self.options.input.format());
        let mut layers = Layers::default();
        if let Some(interval) = &self.options.checkpoint {
            let state = self.folder.join(format!("state-{run}"));
            layers = layers
                .set(&format!("application.checkpoint.dir={}", state.display()))?
                .set(&format!("application.checkpoint.interval={interval}"))?;
        }
        let mut builder = EventFlux::builder().sql(sql).config(layers);
        if self.options.input == Input::Memory {
            builder = builder.disconnected();
            builder = match (self.options.parallelism, clock) {
                (0, Some(clock)) => builder.virtual_clock(clock),
                (0, None) => builder.inline(),
                (threads, _) => builder.parallelism(threads),
            };
        } else {
            builder = builder.parallelism(self.options.parallelism.max(1));
        }
        let app = builder.build()?;
        // An app that only writes tables has none.
        if app.stream(OUT).is_ok() {
            app.on(OUT, heard)?;
        }
        Ok(app)
    }

    /// Runs an app over all events; seconds.
    fn run(&self, app: &App) -> Result<f64, Failure> {
        if self.options.input != Input::Memory {
            let start = Instant::now();
            app.start()?;
            app.wait()?;
            return Ok(start.elapsed().as_secs_f64());
        }
        app.start()?;
        let inputs: Vec<Sender> = self
            .batches
            .iter()
            .map(|events| app.input(&events.stream))
            .collect::<Result<_, _>>()?;
        let order = self.order();
        let start = Instant::now();
        for (stream, batch) in order {
            inputs[stream].send_batch(self.batches[stream].batches[batch].clone())?;
        }
        match self.options.parallelism {
            0 => app.finish()?,
            _ => app.wait()?,
        }
        let seconds = start.elapsed().as_secs_f64();
        app.shutdown()?;
        Ok(seconds)
    }

    /// Batches of all streams by their first times: which stream's, and which of them.
    fn order(&self) -> Vec<(usize, usize)> {
        let streams = self.batches.iter().enumerate();
        let mut order: Vec<(i64, usize, usize)> = streams
            .flat_map(|(stream, events)| {
                let batches = events.batches.iter().enumerate();
                batches.map(move |(number, batch)| (data::first_time(batch), stream, number))
            })
            .collect();
        order.sort_unstable();
        order.into_iter().map(|(_, stream, batch)| (stream, batch)).collect()
    }
}

/// How long after its event was due each row came, in microseconds, sorted.
///
/// The events' times are when they are due, so that the time of an output row says of which it is. At most a thousand times a second
/// something is sent: what is due then, together.
fn latency(prepared: &Prepared<'_>, rate: u64) -> Result<Vec<i64>, Failure> {
    let [trades] = prepared.batches.as_slice() else {
        return Err("latency is measured with one stream in memory".into());
    };
    if trades
        .batches
        .first()
        .is_none_or(|batch| batch.column_by_name("ts").is_none())
    {
        return Err("latency is measured with trades".into());
    }
    let began = Instant::now();
    let since = move || i64::try_from(began.elapsed().as_micros()).unwrap_or(i64::MAX);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let own = seen.clone();
    let app = prepared.app(0, move |batch| {
        let now = since();
        if let Ok(mut seen) = own.lock() {
            seen.extend((0..batch.num_rows()).map(|row| now - batch.time(row)));
        }
    })?;
    app.start()?;
    let input = app.input(&trades.stream)?;
    let step = (rate / 1_000).max(1) as usize;
    let mut sent = 0;
    for batch in &trades.batches {
        let mut at = 0;
        while at < batch.num_rows() {
            let rows = step.min(batch.num_rows() - at);
            let due = i64::try_from(sent as u64 * 1_000_000 / rate)?;
            while since() < due {
                match due - since() {
                    long if long > 200 => std::thread::sleep(Duration::from_micros(long.unsigned_abs() - 100)),
                    _ => std::hint::spin_loop(),
                }
            }
            input.send_batch(due_at(&batch.slice(at, rows), due)?)?;
            (at, sent) = (at + rows, sent + rows);
        }
    }
    match prepared.options.parallelism {
        0 => app.finish()?,
        _ => app.wait()?,
    }
    app.shutdown()?;
    let mut seen = std::mem::take(&mut *seen.lock().map_err(|_| "the callback has failed")?);
    // The first tenth warms up.
    seen.drain(..seen.len() / 10);
    seen.sort_unstable();
    Ok(seen)
}

/// Events whose time is when they are due.
fn due_at(batch: &RecordBatch, due: i64) -> Result<RecordBatch, Failure> {
    let mut columns = batch.columns().to_vec();
    columns[0] = Arc::new(times((0..batch.num_rows()).map(|_| due)));
    Ok(RecordBatch::try_new(batch.schema(), columns)?)
}

fn percentile(sorted: &[i64], quantile: f64) -> i64 {
    let last = sorted.len().saturating_sub(1);
    sorted
        .get((last as f64 * quantile).round() as usize)
        .copied()
        .unwrap_or_default()
}

/// Rows, whatever their order: those that go take back what those that came have given.
#[derive(Default)]
struct Checksum(u64);

impl Checksum {
    fn add(&mut self, batch: &EventBatch) {
        let options = FormatOptions::default().with_null("NULL");
        let columns = batch.columns().columns().iter();
        let columns: Vec<_> = columns
            .filter_map(|column| ArrayFormatter::try_new(column, &options).ok())
            .collect();
        let mut text = String::new();
        for row in 0..batch.num_rows() {
            text.clear();
            for column in &columns {
                text += &column.value(row).to_string();
                text.push('\u{1f}');
            }
            let mut first = [0; 8];
            first.copy_from_slice(&blake3::hash(text.as_bytes()).as_bytes()[..8]);
            let hash = u64::from_le_bytes(first);
            self.0 = match batch.op(row).sign().starts_with('+') {
                true => self.0.wrapping_add(hash),
                false => self.0.wrapping_sub(hash),
            };
        }
    }
}

/// The most memory that this process has had, in MB.
fn peak_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or_default() / 1_024
}
