//! Aggregates that the SQL engine underneath lacks: their names, argument types and result types, for planning.
//!
//! Their values are computed by [`crate::operators::aggregates`] alone; the engine's own execution is refused.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion_common::{DataFusionError, not_impl_err};
use datafusion_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};

/// The hidden aggregate that gives the current event's value; the planner wraps columns with it that are neither grouped
/// nor aggregated.
pub const CURRENT: &str = "__current";

/// Other names of the engine's aggregates.
pub const ALIASES: &[(&str, &str)] = &[
    ("and", "bool_and"),
    ("or", "bool_or"),
    ("first", "first_value"),
    ("last", "last_value"),
    ("collect", "array_agg"),
    ("variance", "var_samp"),
    ("percentile", "percentile_cont"),
    ("approx_percentile", "percentile_cont"),
];

/// Those that the engine lacks.
pub fn all() -> Vec<Arc<AggregateUDF>> {
    let functions: [(&'static str, ReturnType); 5] = [
        (CURRENT, same),
        ("minForever", same),
        ("maxForever", same),
        ("distinctCount", |_| DataType::Int64),
        ("unionSet", list),
    ];
    let udf = |(name, return_type)| {
        Arc::new(AggregateUDF::new_from_impl(Streaming {
            name,
            signature: Signature::any(1, Volatility::Immutable),
            return_type,
        }))
    };
    functions.into_iter().map(udf).collect()
}

type ReturnType = fn(&[DataType]) -> DataType;

/// The type of the first argument.
fn same(arguments: &[DataType]) -> DataType {
    arguments.first().cloned().unwrap_or(DataType::Null)
}

/// The list of the first argument's items, or of it.
fn list(arguments: &[DataType]) -> DataType {
    match same(arguments) {
        DataType::List(item) => DataType::List(item),
        other => DataType::List(Arc::new(Field::new_list_field(other, true))),
    }
}

/// An aggregate that only streams can compute.
#[derive(Debug)]
struct Streaming {
    name: &'static str,
    signature: Signature,
    return_type: ReturnType,
}

impl PartialEq for Streaming {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Streaming {}

impl std::hash::Hash for Streaming {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl AggregateUDFImpl for Streaming {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType, DataFusionError> {
        Ok((self.return_type)(arguments))
    }

    fn accumulator(&self, _arguments: AccumulatorArgs) -> Result<Box<dyn Accumulator>, DataFusionError> {
        not_impl_err!("{} is computed by the streaming operators", self.name)
    }

    fn state_fields(&self, _arguments: StateFieldsArgs) -> Result<Vec<FieldRef>, DataFusionError> {
        not_impl_err!("{} is computed by the streaming operators", self.name)
    }
}
