//! `ifThenElse(condition, a, b)`.

use std::sync::OnceLock;

use arrow::array::AsArray;
use arrow::compute::kernels::zip::zip;
use arrow::compute::prep_null_mask_filter;
use arrow::datatypes::DataType;
use datafusion_common::{Result, plan_err};
use datafusion_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion_expr::type_coercion::binary::type_union_coercion;
use datafusion_expr::{
    ColumnarValue, Documentation, Expr, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility, when,
};

use super::{documentation, does_not_take, takes_exactly};

const NAME: &str = "ifThenElse";

/// `CASE WHEN condition THEN a ELSE b END`, and planned as that, so that only the branch taken is computed.
#[derive(Debug)]
pub struct IfThenElse {
    signature: Signature,
    documentation: OnceLock<Documentation>,
}

impl IfThenElse {
    /// The function.
    pub fn new() -> Self {
        IfThenElse {
            signature: Signature::user_defined(Volatility::Immutable),
            documentation: OnceLock::new(),
        }
    }
}

impl PartialEq for IfThenElse {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Eq for IfThenElse {}

impl std::hash::Hash for IfThenElse {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        NAME.hash(state);
    }
}

impl ScalarUDFImpl for IfThenElse {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        takes_exactly(NAME, 3, arguments)?;
        if !matches!(arguments[0], DataType::Boolean | DataType::Null) {
            return does_not_take(NAME, 0, "a condition", &arguments[0]);
        }
        match type_union_coercion(&arguments[1], &arguments[2]) {
            Some(value) => Ok(vec![DataType::Boolean, value.clone(), value]),
            None => plan_err!(
                "the values of {NAME} do not fit: {} and {}",
                crate::catalog::types::name(&arguments[1]),
                crate::catalog::types::name(&arguments[2])
            ),
        }
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        Ok(arguments.get(1).cloned().unwrap_or(DataType::Null))
    }

    fn simplify(&self, arguments: Vec<Expr>, _context: &SimplifyContext) -> Result<ExprSimplifyResult> {
        match <[Expr; 3]>::try_from(arguments) {
            Ok([condition, a, b]) => Ok(ExprSimplifyResult::Simplified(when(condition, a).otherwise(b)?)),
            Err(arguments) => Ok(ExprSimplifyResult::Original(arguments)),
        }
    }

    fn short_circuits(&self) -> bool {
        true
    }

    fn conditional_arguments<'a>(&self, args: &'a [Expr]) -> Option<(Vec<&'a Expr>, Vec<&'a Expr>)> {
        let (condition, values) = args.split_first()?;
        Some((vec![condition], values.iter().collect()))
    }

    /// Where nothing was simplified; then both values are computed.
    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&arguments.args)?;
        let condition = prep_null_mask_filter(arrays[0].as_boolean());
        Ok(ColumnarValue::Array(zip(&condition, &arrays[1], &arrays[2])?))
    }

    fn documentation(&self) -> Option<&Documentation> {
        let documentation = || {
            documentation(
                "Conditional Functions",
                "The first value where the condition holds, else the second; only that one is computed.",
                "ifThenElse(condition, value, otherwise)",
            )
        };
        Some(self.documentation.get_or_init(documentation))
    }
}
