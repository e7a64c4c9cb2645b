//! Scalar functions of the language that the SQL engine underneath lacks, one family a file.

use std::sync::{Arc, OnceLock};

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion_common::{DataFusionError, Result, plan_err};
use datafusion_expr::{
    ColumnarValue, DocSection, Documentation, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

mod convert;
pub mod date_pattern;
mod dates;
mod if_then_else;
mod instance_of;
pub mod json;
mod json_path;
mod modulo;
mod sets;

/// All of them.
pub fn all() -> Vec<Arc<ScalarUDF>> {
    let mut functions = vec![
        Arc::new(ScalarUDF::new_from_impl(if_then_else::IfThenElse::new())),
        Arc::new(ScalarUDF::new_from_impl(modulo::Modulo::new())),
    ];
    let tables = [
        convert::FUNCTIONS,
        dates::FUNCTIONS,
        instance_of::FUNCTIONS,
        json::FUNCTIONS,
        sets::FUNCTIONS,
    ];
    functions.extend(tables.into_iter().flatten().map(Scalar::function));
    functions
}

/// A function as its family's table tells it. Without state, and the same for the same arguments.
#[derive(Debug)]
pub struct Scalar {
    name: &'static str,
    /// The section of the book's list.
    section: &'static str,
    syntax: &'static str,
    meaning: &'static str,
    /// The types its arguments are converted to, or why they do not fit.
    takes: fn(&[DataType]) -> Result<Vec<DataType>>,
    /// Its column.
    returns: fn(&ReturnFieldArgs) -> Result<Field>,
    compute: fn(&ScalarFunctionArgs) -> Result<ColumnarValue>,
}

impl Scalar {
    fn function(&'static self) -> Arc<ScalarUDF> {
        Arc::new(ScalarUDF::new_from_impl(TableFunction {
            scalar: self,
            signature: Signature::user_defined(Volatility::Immutable),
            documentation: OnceLock::new(),
        }))
    }
}

/// A [`Scalar`] as the engine underneath calls it.
#[derive(Debug)]
struct TableFunction {
    scalar: &'static Scalar,
    signature: Signature,
    documentation: OnceLock<Documentation>,
}

impl PartialEq for TableFunction {
    fn eq(&self, other: &Self) -> bool {
        self.scalar.name == other.scalar.name
    }
}

impl Eq for TableFunction {}

impl std::hash::Hash for TableFunction {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.scalar.name.hash(state);
    }
}

impl ScalarUDFImpl for TableFunction {
    fn name(&self) -> &str {
        self.scalar.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        (self.scalar.takes)(arguments)
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Err(DataFusionError::Internal(
            "return_field_from_args is asked instead".to_string(),
        ))
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> Result<FieldRef> {
        (self.scalar.returns)(&arguments).map(Arc::new)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        (self.scalar.compute)(&arguments)
    }

    fn documentation(&self) -> Option<&Documentation> {
        let scalar = self.scalar;
        Some(
            self.documentation
                .get_or_init(|| documentation(scalar.section, scalar.meaning, scalar.syntax)),
        )
    }
}

fn documentation(section: &'static str, meaning: &str, syntax: &str) -> Documentation {
    let section = DocSection {
        include: true,
        label: section,
        description: None,
    };
    Documentation::builder(section, meaning, syntax).build()
}

/// A nullable column of a type.
fn column(name: &str, data_type: DataType) -> Result<Field> {
    Ok(Field::new(name, data_type, true))
}

/// An error unless the number of arguments is `count`.
fn takes_exactly(name: &str, count: usize, arguments: &[DataType]) -> Result<()> {
    match arguments.len() == count {
        true => Ok(()),
        false => plan_err!("{name} expects {count} arguments but received {}", arguments.len()),
    }
}

/// An error that the type of the argument at `position` (from 0) is not what the function takes.
fn does_not_take<T>(name: &str, position: usize, wanted: &str, given: &DataType) -> Result<T> {
    let given = super::types::name(given);
    plan_err!("argument {} of {name} is {wanted}, not {given}", position + 1)
}

fn is_text(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null
    )
}
