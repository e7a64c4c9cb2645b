//! Conditions compiled to run on one thread and one row, without arrays: comparisons, arithmetic, AND, OR, NOT, IS NULL, IN.
//! What else there is, the SQL engine evaluates.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion_common::ScalarValue;
use datafusion_expr::Operator;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::{
    BinaryExpr, CastExpr, Column as ColumnExpr, IsNotNullExpr, IsNullExpr, Literal, NotExpr,
};

use crate::patterns::columns::{Value, has_values};

/// A compiled expression or a part of one.
#[derive(Debug, Clone)]
pub enum Scalar {
    /// A leaf, by its number.
    Leaf(usize),
    /// NULL.
    Null,
    /// An integer.
    Int(i64),
    /// A number.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// Text.
    Text(Box<str>),
    /// A comparison of two of one type.
    Compare(Operator, Box<Scalar>, Box<Scalar>),
    /// Arithmetic of integers of 64 bits.
    Integers(Operator, Box<Scalar>, Box<Scalar>),
    /// Arithmetic of DOUBLE.
    Floats(Operator, Box<Scalar>, Box<Scalar>),
    /// An integer as DOUBLE.
    ToFloat(Box<Scalar>),
    /// Both.
    And(Box<Scalar>, Box<Scalar>),
    /// One of them.
    Or(Box<Scalar>, Box<Scalar>),
    /// The opposite.
    Not(Box<Scalar>),
    /// Whether it is NULL.
    IsNull(Box<Scalar>),
}

/// Why an expression has no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The result does not fit.
    Overflow,
    /// Division by zero.
    DivideByZero,
    /// A leaf could not be read.
    Leaf,
}

impl Fault {
    /// The reason, in words.
    pub fn message(self) -> &'static str {
        match self {
            Fault::Overflow => "arithmetic overflow",
            Fault::DivideByZero => "division by zero",
            Fault::Leaf => "a value could not be read",
        }
    }
}

/// What evaluating gives.
pub type Evaluated<'v> = Result<Value<'v>, Fault>;

impl Scalar {
    /// Compiles an expression over leaves; `None` when it has anything that is not known here.
    pub fn compile(expr: &Arc<dyn PhysicalExpr>, leaves: &SchemaRef) -> Option<Self> {
        let boxed = |expr: &Arc<dyn PhysicalExpr>| Self::compile(expr, leaves).map(Box::new);
        let type_of = |expr: &Arc<dyn PhysicalExpr>| expr.data_type(leaves).ok();
        if let Some(column) = expr.downcast_ref::<ColumnExpr>() {
            return has_values(leaves.field(column.index()).data_type()).then(|| Scalar::Leaf(column.index()));
        }
        if let Some(literal) = expr.downcast_ref::<Literal>() {
            return constant(literal.value());
        }
        if let Some(not) = expr.downcast_ref::<NotExpr>() {
            return Some(Scalar::Not(boxed(not.arg())?));
        }
        if let Some(is_null) = expr.downcast_ref::<IsNullExpr>() {
            return Some(Scalar::IsNull(boxed(is_null.arg())?));
        }
        if let Some(is_not_null) = expr.downcast_ref::<IsNotNullExpr>() {
            return Some(Scalar::Not(Box::new(Scalar::IsNull(boxed(is_not_null.arg())?))));
        }
        if let Some(cast) = expr.downcast_ref::<CastExpr>() {
            return match (type_of(cast.expr())?, cast.cast_type()) {
                (DataType::Int8 | DataType::Int16 | DataType::Int32, DataType::Int32 | DataType::Int64)
                | (DataType::Float32, DataType::Float64) => Self::compile(cast.expr(), leaves),
                (DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64, DataType::Float64) => {
                    Some(Scalar::ToFloat(boxed(cast.expr())?))
                }
                (same, to) if same == *to => Self::compile(cast.expr(), leaves),
                _ => None,
            };
        }
        let binary = expr.downcast_ref::<BinaryExpr>()?;
        let (left, right) = (boxed(binary.left())?, boxed(binary.right())?);
        let types = (type_of(binary.left())?, type_of(binary.right())?);
        match binary.op() {
            Operator::And => Some(Scalar::And(left, right)),
            Operator::Or => Some(Scalar::Or(left, right)),
            Operator::Eq | Operator::NotEq | Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq => {
                let comparable = types.0 == types.1 && has_values(&types.0) || is_text(&types.0) && is_text(&types.1);
                comparable.then_some(Scalar::Compare(*binary.op(), left, right))
            }
            op @ (Operator::Plus | Operator::Minus | Operator::Multiply | Operator::Divide) => match types {
                (DataType::Int64, DataType::Int64) => Some(Scalar::Integers(*op, left, right)),
                (DataType::Float64, DataType::Float64) => Some(Scalar::Floats(*op, left, right)),
                _ => None,
            },
            _ => None,
        }
    }

    /// Its value; `leaf` gives those of the leaves. Recursion goes as deep as the expression.
    pub fn value<'v>(&'v self, leaf: &mut dyn FnMut(usize) -> Evaluated<'v>) -> Evaluated<'v> {
        Ok(match self {
            Scalar::Leaf(number) => leaf(*number)?,
            Scalar::Null => Value::Null,
            Scalar::Int(value) => Value::Int(*value),
            Scalar::Float(value) => Value::Float(*value),
            Scalar::Bool(value) => Value::Bool(*value),
            Scalar::Text(value) => Value::Text(value),
            Scalar::Compare(op, left, right) => compared(*op, left.value(leaf)?, right.value(leaf)?),
            Scalar::Integers(op, left, right) => match (left.value(leaf)?, right.value(leaf)?) {
                (Value::Int(left), Value::Int(right)) => Value::Int(integers(*op, left, right)?),
                _ => Value::Null,
            },
            Scalar::Floats(op, left, right) => match (left.value(leaf)?, right.value(leaf)?) {
                (Value::Float(left), Value::Float(right)) => Value::Float(floats(*op, left, right)),
                _ => Value::Null,
            },
            Scalar::ToFloat(value) => match value.value(leaf)? {
                Value::Int(value) => Value::Float(value as f64),
                other => other,
            },
            Scalar::And(left, right) => match left.value(leaf)? {
                Value::Bool(false) => Value::Bool(false),
                left => match (left, right.value(leaf)?) {
                    (_, Value::Bool(false)) => Value::Bool(false),
                    (Value::Bool(true), Value::Bool(true)) => Value::Bool(true),
                    _ => Value::Null,
                },
            },
            Scalar::Or(left, right) => match left.value(leaf)? {
                Value::Bool(true) => Value::Bool(true),
                left => match (left, right.value(leaf)?) {
                    (_, Value::Bool(true)) => Value::Bool(true),
                    (Value::Bool(false), Value::Bool(false)) => Value::Bool(false),
                    _ => Value::Null,
                },
            },
            Scalar::Not(value) => match value.value(leaf)? {
                Value::Bool(value) => Value::Bool(!value),
                _ => Value::Null,
            },
            Scalar::IsNull(value) => Value::Bool(value.value(leaf)? == Value::Null),
        })
    }
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8)
}

fn constant(value: &ScalarValue) -> Option<Scalar> {
    if value.is_null() {
        return Some(Scalar::Null);
    }
    Some(match value {
        ScalarValue::Boolean(Some(value)) => Scalar::Bool(*value),
        ScalarValue::Int8(Some(value)) => Scalar::Int(i64::from(*value)),
        ScalarValue::Int16(Some(value)) => Scalar::Int(i64::from(*value)),
        ScalarValue::Int32(Some(value)) => Scalar::Int(i64::from(*value)),
        ScalarValue::Int64(Some(value)) => Scalar::Int(*value),
        ScalarValue::Float32(Some(value)) => Scalar::Float(f64::from(*value)),
        ScalarValue::Float64(Some(value)) => Scalar::Float(*value),
        ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)) | ScalarValue::LargeUtf8(Some(text)) => {
            Scalar::Text(text.as_str().into())
        }
        _ => return None,
    })
}

/// As arrow compares: doubles by the total order.
fn compared<'v>(op: Operator, left: Value, right: Value) -> Value<'v> {
    let order = match (left, right) {
        (Value::Int(left), Value::Int(right)) => left.cmp(&right),
        (Value::Float(left), Value::Float(right)) => left.total_cmp(&right),
        (Value::Bool(left), Value::Bool(right)) => left.cmp(&right),
        (Value::Text(left), Value::Text(right)) => left.cmp(right),
        _ => return Value::Null,
    };
    Value::Bool(match op {
        Operator::Eq => order == Ordering::Equal,
        Operator::NotEq => order != Ordering::Equal,
        Operator::Lt => order == Ordering::Less,
        Operator::LtEq => order != Ordering::Greater,
        Operator::Gt => order == Ordering::Greater,
        _ => order != Ordering::Less,
    })
}

fn integers(op: Operator, left: i64, right: i64) -> Result<i64, Fault> {
    if op == Operator::Divide && right == 0 {
        return Err(Fault::DivideByZero);
    }
    let result = match op {
        Operator::Plus => left.checked_add(right),
        Operator::Minus => left.checked_sub(right),
        Operator::Multiply => left.checked_mul(right),
        _ => left.checked_div(right),
    };
    result.ok_or(Fault::Overflow)
}

fn floats(op: Operator, left: f64, right: f64) -> f64 {
    match op {
        Operator::Plus => left + right,
        Operator::Minus => left - right,
        Operator::Multiply => left * right,
        _ => left / right,
    }
}
