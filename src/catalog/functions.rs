//! Functions: those of the SQL engine underneath, ours, and the embedder's.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion_common::{DataFusionError, ScalarValue};
use datafusion_expr::{
    AggregateUDF, ColumnarValue, HigherOrderUDF, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
    WindowUDF,
};

use super::{aggregates, scalars, types};
use crate::event::Clock;

/// The name of the function that reads an event's time; the planner turns it into a column.
pub const EVENT_TIMESTAMP: &str = "eventtimestamp";

/// Functions of the engine underneath that mean nothing here: of its files, its version, its union type.
const MEANINGLESS: &[&str] = &[
    "file_row_index",
    "input_file_name",
    "union_extract",
    "union_tag",
    "version",
];

/// All functions an app may call, by lower-case name.
#[derive(Clone)]
pub struct Functions {
    scalars: BTreeMap<String, Arc<ScalarUDF>>,
    higher_order: BTreeMap<String, Arc<HigherOrderUDF>>,
    aggregates: BTreeMap<String, Arc<AggregateUDF>>,
    windows: BTreeMap<String, Arc<WindowUDF>>,
}

impl Functions {
    /// The functions that come with the engine. Those of time read `clock`.
    pub fn builtin(clock: &Arc<dyn Clock>) -> Self {
        let mut functions = Functions {
            scalars: BTreeMap::new(),
            higher_order: BTreeMap::new(),
            aggregates: BTreeMap::new(),
            windows: BTreeMap::new(),
        };
        for scalar in datafusion_functions::all_default_functions()
            .into_iter()
            .chain(datafusion_functions_nested::all_default_nested_functions())
            .filter(|scalar| !MEANINGLESS.contains(&scalar.name()))
            .chain(scalars::all())
        {
            functions.add_scalar(scalar);
        }
        for function in datafusion_functions_nested::all_default_higher_order_functions() {
            functions.higher_order.insert(function.name().to_lowercase(), function);
        }
        for aggregate in datafusion_functions_aggregate::all_default_aggregate_functions()
            .into_iter()
            .chain(aggregates::all())
        {
            functions.add_aggregate(aggregate);
        }
        for (name, engine) in aggregates::ALIASES {
            if let Some(function) = functions.aggregate(engine) {
                functions.aggregates.insert(name.to_string(), function);
            }
        }
        for function in datafusion_functions_window::all_default_window_functions() {
            functions.windows.insert(function.name().to_lowercase(), function);
        }
        // Of the engine underneath, these would be the time of planning; of a stream, it is the time of the event's processing.
        for (name, kind) in ClockKind::NAMES {
            let function = ClockFunction::new(name, *kind, clock.clone());
            functions.add_scalar(Arc::new(ScalarUDF::new_from_impl(function)));
        }
        functions.add_scalar(Arc::new(ScalarUDF::new_from_impl(EventTimestamp::new())));
        for (name, engine) in [
            ("maximum", "greatest"),
            ("minimum", "least"),
            ("default", "coalesce"),
            ("sign", "signum"),
        ] {
            if let Some(function) = functions.scalars.get(engine).cloned() {
                functions.scalars.insert(name.to_string(), function);
            }
        }
        functions
    }

    /// Adds a function under its name and aliases, in place of any of that name.
    pub fn add_scalar(&mut self, function: Arc<ScalarUDF>) {
        for name in std::iter::once(function.name()).chain(function.aliases().iter().map(String::as_str)) {
            self.scalars.insert(name.to_lowercase(), function.clone());
        }
    }

    /// Adds an aggregate under its name and aliases, in place of any of that name.
    pub fn add_aggregate(&mut self, function: Arc<AggregateUDF>) {
        for name in std::iter::once(function.name()).chain(function.aliases().iter().map(String::as_str)) {
            self.aggregates.insert(name.to_lowercase(), function.clone());
        }
    }

    /// A scalar function.
    pub fn scalar(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.scalars.get(&name.to_lowercase()).cloned()
    }

    /// A function that takes functions.
    pub fn higher_order(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        self.higher_order.get(&name.to_lowercase()).cloned()
    }

    /// An aggregate.
    pub fn aggregate(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.aggregates.get(&name.to_lowercase()).cloned()
    }

    /// A function that exists only with OVER.
    pub fn window(&self, name: &str) -> Option<Arc<WindowUDF>> {
        let name = name.to_lowercase();
        let alias = || {
            let (_, engine) = aggregates::ALIASES.iter().find(|(alias, _)| *alias == name)?;
            self.windows.get(*engine)
        };
        self.windows.get(&name).or_else(alias).cloned()
    }

    /// The names of all functions that exist only with OVER.
    pub fn window_names(&self) -> impl Iterator<Item = &str> {
        self.windows.keys().map(String::as_str)
    }

    /// The names of all scalar functions.
    pub fn scalar_names(&self) -> impl Iterator<Item = &str> {
        self.scalars.keys().map(String::as_str)
    }

    /// The names of all aggregates, without the hidden one.
    pub fn aggregate_names(&self) -> impl Iterator<Item = &str> {
        let names = self.aggregates.keys().map(String::as_str);
        names.filter(|name| *name != aggregates::CURRENT)
    }

    /// The names of all functions that take functions.
    pub fn higher_order_names(&self) -> impl Iterator<Item = &str> {
        self.higher_order.keys().map(String::as_str)
    }
}

/// What a function of processing time returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum ClockKind {
    Timestamp,
    Millis,
    Date,
    Time,
}

impl ClockKind {
    const NAMES: &[(&'static str, ClockKind)] = &[
        ("now", ClockKind::Timestamp),
        ("current_timestamp", ClockKind::Timestamp),
        ("currenttimemillis", ClockKind::Millis),
        ("current_date", ClockKind::Date),
        ("today", ClockKind::Date),
        ("current_time", ClockKind::Time),
    ];
}

/// `now()` and its kin: processing time, the same for all events of a batch.
#[derive(Debug)]
struct ClockFunction {
    name: &'static str,
    kind: ClockKind,
    clock: Arc<dyn Clock>,
    signature: Signature,
}

impl ClockFunction {
    fn new(name: &'static str, kind: ClockKind, clock: Arc<dyn Clock>) -> Self {
        ClockFunction {
            name,
            kind,
            clock,
            signature: Signature::nullary(Volatility::Volatile),
        }
    }
}

impl PartialEq for ClockFunction {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && Arc::ptr_eq(&self.clock, &other.clock)
    }
}

impl Eq for ClockFunction {}

impl std::hash::Hash for ClockFunction {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for ClockFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType, DataFusionError> {
        Ok(match self.kind {
            ClockKind::Timestamp => types::TIMESTAMP,
            ClockKind::Millis => DataType::Int64,
            ClockKind::Date => DataType::Date32,
            ClockKind::Time => DataType::Time64(arrow::datatypes::TimeUnit::Microsecond),
        })
    }

    fn invoke_with_args(&self, _arguments: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        const DAY: i64 = 86_400_000_000;
        let now = self.clock.now();
        let value = match self.kind {
            ClockKind::Timestamp => ScalarValue::TimestampMicrosecond(Some(now), None),
            ClockKind::Millis => ScalarValue::Int64(Some(now.div_euclid(1_000))),
            ClockKind::Date => ScalarValue::Date32(i32::try_from(now.div_euclid(DAY)).ok()),
            ClockKind::Time => ScalarValue::Time64Microsecond(Some(now.rem_euclid(DAY))),
        };
        Ok(ColumnarValue::Scalar(value))
    }
}

/// `eventTimestamp()`: a stand-in that the planner replaces by the event-time column.
#[derive(Debug, PartialEq, Eq, Hash)]
struct EventTimestamp {
    signature: Signature,
}

impl EventTimestamp {
    fn new() -> Self {
        EventTimestamp {
            signature: Signature::nullary(Volatility::Volatile),
        }
    }
}

impl ScalarUDFImpl for EventTimestamp {
    fn name(&self) -> &str {
        EVENT_TIMESTAMP
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType, DataFusionError> {
        Ok(types::TIMESTAMP)
    }

    fn invoke_with_args(&self, _arguments: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        Err(DataFusionError::Internal(
            "eventTimestamp() must be planned away".to_string(),
        ))
    }
}
