//! Aggregates that the SQL engine underneath lacks: their names, argument types and result types, for planning.
//!
//! Their values are computed by [`crate::operators::aggregates`] alone; the engine's own execution is refused.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion_common::{DataFusionError, not_impl_err};
use datafusion_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};

/// The hidden aggregate that gives the current event's value; the planner wraps columns with it that are neither grouped
/// nor aggregated.
pub const CURRENT: &str = "__current";

/// All of them.
pub fn all() -> Vec<Arc<AggregateUDF>> {
    let functions = [
        (CURRENT, Signature::any(1, Volatility::Immutable), same as ReturnType),
        ("minForever", Signature::any(1, Volatility::Immutable), same),
        ("maxForever", Signature::any(1, Volatility::Immutable), same),
    ];
    let udf = |(name, signature, return_type)| {
        Arc::new(AggregateUDF::new_from_impl(Streaming {
            name,
            signature,
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
