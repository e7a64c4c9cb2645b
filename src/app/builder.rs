//! From SQL to an [`App`].

use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};

use super::running::Parts;
use super::{App, Checkpoints};
use crate::catalog::functions::Functions;
use crate::config::app_options::MAX_PARALLELISM;
use crate::config::checkpoints::KeySource;
use crate::config::layers::Layers;
use crate::connectors::{Connector, Registry};
use crate::error::{Error, Result, SourceText};
use crate::event::{Clock, SystemClock, VirtualClock};
use crate::formats::Format;
use crate::plan::compile::{Environment, Outside, compile};
use crate::recovery::cipher::KEY_VARIABLE;
use crate::runtime::instance::Mode;
use crate::runtime::snapshot::Snapshot;
use crate::tables::registry::{Backends, TableBackend};

/// The entry to the engine.
///
/// ```
/// use eventflux::{EventFlux, Rows};
///
/// let app = EventFlux::builder()
///     .sql("CREATE STREAM Trades (symbol STRING, price DOUBLE);
///           INSERT INTO Alerts SELECT symbol, price * 2 AS twice FROM Trades WHERE price > 100;")
///     .build()?;
/// let alerts = app.subscribe("Alerts")?;
/// app.start()?;
/// app.input("Trades")?.send(("IBM", 75.0))?;
/// app.input("Trades")?.send(("ACME", 120.5))?;
/// app.wait()?;
///
/// let rows: Vec<(String, f64)> = alerts.flat_map(|batch| batch.rows().unwrap_or_default()).collect();
/// assert_eq!(rows, [("ACME".to_string(), 241.0)]);
/// # Ok::<(), eventflux::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct EventFlux;

impl EventFlux {
    /// Starts building an app.
    pub fn builder() -> Builder {
        Builder {
            source: SourceText::new("app", ""),
            name: None,
            layers: Layers::default(),
            registry: Registry::builtin(),
            backends: Backends::builtin(),
            functions: Vec::new(),
            mode: Mode::Threads,
            clock: Arc::new(SystemClock),
            virtual_clock: None,
            connect: true,
            snapshot: None,
            parallelism: None,
            checkpoints: None,
            lossy: false,
        }
    }
}

/// Collects what an app is made of.
pub struct Builder {
    source: SourceText,
    name: Option<Arc<str>>,
    layers: Layers,
    registry: Registry,
    backends: Backends,
    functions: Vec<Arc<ScalarUDF>>,
    mode: Mode,
    clock: Arc<dyn Clock>,
    virtual_clock: Option<Arc<VirtualClock>>,
    connect: bool,
    snapshot: Option<Snapshot>,
    parallelism: Option<usize>,
    checkpoints: Option<Checkpoints>,
    lossy: bool,
}

/// The body of a scalar function: arguments in, one value or column out.
pub type FunctionBody =
    dyn Fn(&[ColumnarValue]) -> std::result::Result<ColumnarValue, datafusion_common::DataFusionError> + Send + Sync;

impl Builder {
    /// The app's text. Relative paths in it start at the working directory.
    pub fn sql(mut self, text: impl AsRef<str>) -> Self {
        self.source = SourceText::new("app", text.as_ref());
        self
    }

    /// The app's text with what it is called.
    pub(crate) fn source(mut self, source: SourceText) -> Self {
        self.source = source;
        self
    }

    /// What to call the text in messages; `app` otherwise.
    pub fn name(mut self, name: impl AsRef<str>) -> Self {
        self.name = Some(Arc::from(name.as_ref()));
        self
    }

    /// The app's text from a file. Relative paths in it start at its directory.
    pub fn file(self, path: impl AsRef<Path>) -> Result<Self> {
        self.files([path])
    }

    /// The app's text from several files, read as one. Relative paths in each start at its directory.
    pub fn files<P: AsRef<Path>>(mut self, paths: impl IntoIterator<Item = P>) -> Result<Self> {
        let read = |path: P| match std::fs::read_to_string(&path) {
            Ok(text) => Ok((path, text)),
            Err(error) => Err(Error::io(format!("cannot read {}", path.as_ref().display()), error)),
        };
        self.source = SourceText::of_files(paths.into_iter().map(read).collect::<Result<Vec<_>>>()?);
        Ok(self)
    }

    /// Options of streams from outside the app: configuration files and settings.
    ///
    /// ```
    /// use eventflux::{EventFlux, Layers};
    ///
    /// let app = EventFlux::builder()
    ///     .sql("CREATE STREAM S (x LONG) WITH (type = 'source', extension = 'datagen');")
    ///     .config(Layers::default().set("streams.S.datagen.rows=10")?)
    ///     .build()?;
    /// # Ok::<(), eventflux::Error>(())
    /// ```
    pub fn config(mut self, layers: Layers) -> Self {
        self.layers = layers;
        self
    }

    /// Runs the pipeline on the thread that sends: no channel, no wake-up, the same results. A `send` returns when the event and
    /// all it causes are processed, callbacks included.
    ///
    /// Streams with a source connector still read on threads of their own.
    pub fn inline(mut self) -> Self {
        self.mode = Mode::Inline;
        self
    }

    /// Lets time stand still but for [`App::advance_to`]: every run is the same. Implies [`Builder::inline`].
    pub fn virtual_clock(mut self, clock: Arc<VirtualClock>) -> Self {
        self.mode = Mode::Inline;
        self.clock = clock.clone();
        self.virtual_clock = Some(clock);
        self
    }

    /// Leaves sources and sinks unconnected: only the API feeds the app and reads it. For tests.
    pub fn disconnected(mut self) -> Self {
        self.connect = false;
        self
    }

    /// Adds a scalar function.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use arrow::array::{AsArray, Int64Array};
    /// use arrow::datatypes::{DataType, Int64Type};
    /// use datafusion_expr::ColumnarValue;
    /// use eventflux::EventFlux;
    ///
    /// let app = EventFlux::builder()
    ///     .register_function("double_it", vec![DataType::Int64], DataType::Int64, |arguments| {
    ///         let arrays = ColumnarValue::values_to_arrays(arguments)?;
    ///         let doubled: Int64Array = arrays[0].as_primitive::<Int64Type>().unary(|value| value * 2);
    ///         Ok(ColumnarValue::Array(Arc::new(doubled)))
    ///     })
    ///     .sql("CREATE STREAM S (x LONG); INSERT INTO T SELECT double_it(x) AS y FROM S;")
    ///     .build()?;
    /// # Ok::<(), eventflux::Error>(())
    /// ```
    pub fn register_function(
        mut self,
        name: &str,
        arguments: Vec<DataType>,
        returns: DataType,
        body: impl Fn(&[ColumnarValue]) -> std::result::Result<ColumnarValue, datafusion_common::DataFusionError>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        let body: Arc<FunctionBody> = Arc::new(body);
        self.functions.push(Arc::new(create_udf(
            name,
            arguments,
            returns,
            Volatility::Volatile,
            body,
        )));
        self
    }

    /// Adds a scalar function of the SQL engine underneath.
    pub fn register_udf(mut self, function: ScalarUDF) -> Self {
        self.functions.push(Arc::new(function));
        self
    }

    /// Adds a connector: a source, a sink or both.
    pub fn register_connector(mut self, connector: Arc<dyn Connector>) -> Self {
        self.registry.add_connector(connector);
        self
    }

    /// Adds a backend of tables.
    pub fn register_table_backend(mut self, backend: Arc<dyn TableBackend>) -> Self {
        self.backends.add(backend);
        self
    }

    /// Adds a format.
    pub fn register_format(mut self, format: Arc<dyn Format>) -> Self {
        self.registry.add_format(format);
        self
    }

    /// On how many threads the keys of a `PARTITION` are worked off, each with its share of them; 1 unless the configuration says
    /// otherwise. The results of a key are the same and come in the same order; between keys there is none with more than one.
    /// Inline mode has one thread, whatever this says.
    ///
    /// ```
    /// use eventflux::{EventFlux, Rows};
    ///
    /// let app = EventFlux::builder()
    ///     .sql("CREATE STREAM Trades (symbol STRING, price DOUBLE);
    ///           PARTITION WITH (symbol OF Trades) BEGIN
    ///             INSERT INTO Counts SELECT symbol, count(*) AS n FROM Trades WINDOW('length', 2);
    ///           END;")
    ///     .parallelism(2)
    ///     .build()?;
    /// let counts = app.subscribe("Counts")?;
    /// app.start()?;
    /// for symbol in ["IBM", "ACME", "IBM", "IBM"] {
    ///     app.input("Trades")?.send((symbol, 75.0))?;
    /// }
    /// app.wait()?;
    ///
    /// let mut rows: Vec<(String, i64)> = counts.flat_map(|batch| batch.rows().unwrap_or_default()).collect();
    /// rows.sort();
    /// let expected = [("ACME", 1), ("IBM", 1), ("IBM", 2), ("IBM", 2)];
    /// assert_eq!(rows, expected.map(|(symbol, n)| (symbol.to_string(), n)));
    /// # Ok::<(), eventflux::Error>(())
    /// ```
    pub fn parallelism(mut self, threads: usize) -> Self {
        self.parallelism = Some(threads.max(1));
        self
    }

    /// Keeps checkpoints, and goes on from the newest one. Stronger than the configuration.
    pub fn checkpoints(mut self, checkpoints: Checkpoints) -> Self {
        self.checkpoints = Some(checkpoints);
        self
    }

    /// Lets state that does not fit the app begin anew, wherever the checkpoints are said to be.
    pub(crate) fn allow_state_loss(mut self) -> Self {
        self.lossy = true;
        self
    }

    /// Goes on from a snapshot of the same app.
    pub fn restore(mut self, snapshot: Snapshot) -> Self {
        self.snapshot = Some(snapshot);
        self
    }

    /// The connectors and formats registered so far.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Where checkpoints are kept, from what is said here and what is configured.
    fn kept(&self, variables: &dyn Fn(&str) -> Option<String>) -> Result<Option<Checkpoints>> {
        let mut options = self.layers.checkpoints(variables)?;
        options.key = options.key.or_else(|| variables(KEY_VARIABLE).map(KeySource::Text));
        let configured = options.dir.clone().map(Checkpoints::at);
        let said = self.checkpoints.clone().or(configured);
        if said.is_some() && self.snapshot.is_some() {
            return Err(Error::usage(
                "the app goes on from a snapshot or from its checkpoints, not from both",
            ));
        }
        Ok(said.map(|said| match self.lossy {
            true => said.or(&options).allow_state_loss(),
            false => said.or(&options),
        }))
    }

    /// Checks the app and plans it. Nothing runs yet.
    pub fn build(self) -> Result<App> {
        let parallelism = match self.parallelism {
            Some(threads) if threads > MAX_PARALLELISM => {
                return Err(Error::usage(format!("parallelism is {MAX_PARALLELISM} at most")));
            }
            Some(threads) => threads,
            None => self.layers.parallelism()?.unwrap_or(1),
        };
        let variables = |name: &str| std::env::var(name).ok();
        let checkpoints = self.kept(&variables)?;
        let mut functions = Functions::builtin(&self.clock);
        self.functions
            .into_iter()
            .for_each(|function| functions.add_scalar(function));
        let environment = Environment {
            registry: &self.registry,
            backends: &self.backends,
            functions: &functions,
            variables: &variables,
            layers: &self.layers,
            outside: match self.connect {
                true => Outside::Connected,
                false => Outside::Disconnected,
            },
        };
        let source = match self.name {
            Some(name) => self.source.named(name),
            None => self.source,
        };
        let server = self.layers.server(&variables)?;
        #[cfg(feature = "server")]
        let (compiled, shown) = {
            let expose = server.as_ref().map(|server| server.expose.clone()).unwrap_or_default();
            let mut compiled = compile(source.clone(), &environment)?;
            let shown = super::shown::shown(&compiled, &expose)?;
            let tables = super::shown::hidden_tables(&compiled, &shown);
            if !tables.is_empty() {
                compiled = compile(source.followed_by("rows of keyed streams", &tables), &environment)?;
            }
            (compiled, shown)
        };
        #[cfg(not(feature = "server"))]
        let compiled = compile(source, &environment)?;
        Ok(App::new(Parts {
            compiled,
            registry: self.registry,
            backends: self.backends,
            functions,
            mode: self.mode,
            parallelism,
            clock: self.clock,
            virtual_clock: self.virtual_clock,
            connect: self.connect,
            snapshot: self.snapshot,
            checkpoints,
            server,
            #[cfg(feature = "server")]
            shown,
        }))
    }
}
