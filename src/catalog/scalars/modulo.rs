//! `mod(a, b)`.

use std::sync::OnceLock;

use arrow::compute::kernels::numeric::rem;
use arrow::datatypes::DataType;
use datafusion_common::Result;
use datafusion_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion_expr::type_coercion::binary::BinaryTypeCoercer;
use datafusion_expr::{
    ColumnarValue, Documentation, Expr, Operator, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility, binary_expr,
};

use super::{documentation, takes_exactly};

const NAME: &str = "mod";

/// `a % b`, and planned as that.
#[derive(Debug)]
pub struct Modulo {
    signature: Signature,
    documentation: OnceLock<Documentation>,
}

impl Modulo {
    /// The function.
    pub fn new() -> Self {
        Modulo {
            signature: Signature::user_defined(Volatility::Immutable),
            documentation: OnceLock::new(),
        }
    }
}

impl PartialEq for Modulo {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Eq for Modulo {}

impl std::hash::Hash for Modulo {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        NAME.hash(state);
    }
}

impl ScalarUDFImpl for Modulo {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        takes_exactly(NAME, 2, arguments)?;
        let (a, b) = BinaryTypeCoercer::new(&arguments[0], &Operator::Modulo, &arguments[1]).get_input_types()?;
        Ok(vec![a, b])
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        takes_exactly(NAME, 2, arguments)?;
        BinaryTypeCoercer::new(&arguments[0], &Operator::Modulo, &arguments[1]).get_result_type()
    }

    fn simplify(&self, arguments: Vec<Expr>, _context: &SimplifyContext) -> Result<ExprSimplifyResult> {
        match <[Expr; 2]>::try_from(arguments) {
            Ok([a, b]) => Ok(ExprSimplifyResult::Simplified(binary_expr(a, Operator::Modulo, b))),
            Err(arguments) => Ok(ExprSimplifyResult::Original(arguments)),
        }
    }

    /// Where nothing was simplified.
    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&arguments.args)?;
        Ok(ColumnarValue::Array(rem(&arrays[0], &arrays[1])?))
    }

    fn documentation(&self) -> Option<&Documentation> {
        let documentation = || {
            documentation(
                "Math Functions",
                "The remainder of a division, as `a % b`.",
                "mod(a, b)",
            )
        };
        Some(self.documentation.get_or_init(documentation))
    }
}
