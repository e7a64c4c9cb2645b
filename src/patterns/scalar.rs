//! Conditions compiled to run on one attempt and one event, without arrays.
//!
//! Most conditions that need earlier events are comparisons of columns; building a batch of one row for each would cost more
//! than all the rest. What is not of that form is evaluated by the SQL engine underneath.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion_common::ScalarValue;
use datafusion_expr::Operator;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::{
    BinaryExpr, CastExpr, Column as ColumnExpr, IsNotNullExpr, IsNullExpr, Literal, NotExpr,
};

use super::captures::LinkId;
use super::columns::{Value, has_values};
use super::gather::{Capture, Captures, Gathered, What, Which};
use super::opened::Opened;

/// A compiled condition or a part of one.
#[derive(Debug, Clone)]
pub enum Scalar {
    /// A column of the event, by its index in the batch.
    Candidate(usize),
    /// A value of the attempt.
    Captured(Capture),
    /// A constant.
    Constant(Constant),
    /// A comparison.
    Compare(Operator, Box<Scalar>, Box<Scalar>),
    /// Arithmetic on DOUBLE.
    Arithmetic(Operator, Box<Scalar>, Box<Scalar>),
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

/// A constant's value.
#[derive(Debug, Clone, PartialEq)]
pub enum Constant {
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
}

/// An event and an attempt.
pub struct Row<'a> {
    /// The columns of the event's batch.
    pub columns: &'a [Opened],
    /// Its row.
    pub row: usize,
    /// Captured events.
    pub captures: &'a Captures<'a>,
    /// Those of the attempt.
    pub chain: LinkId,
}

/// What the columns of an expression are.
pub struct Inputs<'a> {
    /// The columns of the batch that come first.
    pub candidate: &'a [usize],
    /// Those after them.
    pub captured: &'a [Gathered],
    /// The types of all.
    pub types: &'a [DataType],
}

impl Scalar {
    /// Compiles an expression; `None` when it has anything that is not known here.
    pub fn compile(expr: &Arc<dyn PhysicalExpr>, inputs: &Inputs) -> Option<Self> {
        let boxed = |expr: &Arc<dyn PhysicalExpr>| Self::compile(expr, inputs).map(Box::new);
        if let Some(column) = expr.downcast_ref::<ColumnExpr>() {
            return inputs.column(column.index());
        }
        if let Some(literal) = expr.downcast_ref::<Literal>() {
            return Constant::of(literal.value()).map(Scalar::Constant);
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
            let from = inputs.type_of(cast.expr())?;
            return match (from, cast.cast_type()) {
                (DataType::Int8 | DataType::Int16 | DataType::Int32, DataType::Int32 | DataType::Int64)
                | (DataType::Float32, DataType::Float64) => Self::compile(cast.expr(), inputs),
                (DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64, DataType::Float64) => {
                    Some(Scalar::ToFloat(boxed(cast.expr())?))
                }
                _ => None,
            };
        }
        let binary = expr.downcast_ref::<BinaryExpr>()?;
        let (left, right) = (boxed(binary.left())?, boxed(binary.right())?);
        match binary.op() {
            Operator::And => Some(Scalar::And(left, right)),
            Operator::Or => Some(Scalar::Or(left, right)),
            Operator::Eq | Operator::NotEq | Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq => {
                let types = (inputs.type_of(binary.left())?, inputs.type_of(binary.right())?);
                (types.0 == types.1).then_some(Scalar::Compare(*binary.op(), left, right))
            }
            Operator::Plus | Operator::Minus | Operator::Multiply => {
                let types = (inputs.type_of(binary.left())?, inputs.type_of(binary.right())?);
                let doubles = types == (DataType::Float64, DataType::Float64);
                doubles.then_some(Scalar::Arithmetic(*binary.op(), left, right))
            }
            _ => None,
        }
    }

    /// Whether the condition holds; NULL is no.
    pub fn holds(&self, row: &Row) -> bool {
        self.truth(row) == Some(true)
    }

    fn truth(&self, row: &Row) -> Option<bool> {
        match self {
            Scalar::And(left, right) => match (left.truth(row), right) {
                (Some(false), _) => Some(false),
                (left, right) => match (left, right.truth(row)) {
                    (_, Some(false)) => Some(false),
                    (Some(true), Some(true)) => Some(true),
                    _ => None,
                },
            },
            Scalar::Or(left, right) => match (left.truth(row), right) {
                (Some(true), _) => Some(true),
                (left, right) => match (left, right.truth(row)) {
                    (_, Some(true)) => Some(true),
                    (Some(false), Some(false)) => Some(false),
                    _ => None,
                },
            },
            Scalar::Not(inner) => inner.truth(row).map(|truth| !truth),
            Scalar::IsNull(inner) => Some(inner.value(row) == Value::Null),
            Scalar::Compare(operator, left, right) => {
                let order = order(left.value(row), right.value(row))?;
                Some(match operator {
                    Operator::Eq => order.is_eq(),
                    Operator::NotEq => order.is_ne(),
                    Operator::Lt => order.is_lt(),
                    Operator::LtEq => order.is_le(),
                    Operator::Gt => order.is_gt(),
                    _ => order.is_ge(),
                })
            }
            other => match other.value(row) {
                Value::Bool(truth) => Some(truth),
                _ => None,
            },
        }
    }

    /// Whether it is made of an attempt's values alone, at least one, all of which `is_fixed` accepts.
    pub fn is_of_attempt(&self, is_fixed: &impl Fn(&Capture) -> bool) -> bool {
        match self {
            Scalar::Captured(capture) => is_fixed(capture),
            Scalar::ToFloat(inner) => inner.is_of_attempt(is_fixed),
            Scalar::Arithmetic(_, left, right) => match (left.as_ref(), right.as_ref()) {
                (Scalar::Constant(_), one) | (one, Scalar::Constant(_)) => one.is_of_attempt(is_fixed),
                (left, right) => left.is_of_attempt(is_fixed) && right.is_of_attempt(is_fixed),
            },
            _ => false,
        }
    }

    /// The value.
    pub fn value<'a>(&'a self, row: &Row<'a>) -> Value<'a> {
        match self {
            Scalar::Candidate(index) => row.columns[*index].value(row.row).unwrap_or(Value::Null),
            Scalar::Captured(capture) => captured(row.captures, row.chain, capture),
            Scalar::Constant(constant) => constant.value(),
            Scalar::ToFloat(inner) => match inner.value(row) {
                Value::Int(value) => Value::Float(value as f64),
                other => other,
            },
            Scalar::Arithmetic(operator, left, right) => match (left.value(row), right.value(row)) {
                (Value::Float(left), Value::Float(right)) => Value::Float(match operator {
                    Operator::Plus => left + right,
                    Operator::Minus => left - right,
                    _ => left * right,
                }),
                _ => Value::Null,
            },
            condition => condition.truth(row).map_or(Value::Null, Value::Bool),
        }
    }
}

/// A value of an attempt; [`Scalar::compile`] lets only those pass that have one.
pub fn captured<'a>(captures: &Captures<'a>, chain: LinkId, capture: &Capture) -> Value<'a> {
    let event = captures.event(chain, capture.element, capture.which);
    if event == super::columns::NO_EVENT {
        return Value::Null;
    }
    let store = &captures.stores[captures.ports[capture.element]];
    match capture.what {
        What::Column(column) => store.columns[column].value(event).unwrap_or(Value::Null),
        What::Time => Value::Int(store.uses.time(event)),
        What::Presence => Value::Bool(true),
    }
}

/// How two values of one type compare; `None` with NULL. Floats are in the total order, as in the SQL engine underneath.
fn order(left: Value, right: Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Int(left), Value::Int(right)) => Some(left.cmp(&right)),
        (Value::Float(left), Value::Float(right)) => Some(left.total_cmp(&right)),
        (Value::Text(left), Value::Text(right)) => Some(left.cmp(right)),
        (Value::Bool(left), Value::Bool(right)) => Some(left.cmp(&right)),
        _ => None,
    }
}

impl Inputs<'_> {
    fn column(&self, index: usize) -> Option<Scalar> {
        if !has_values(self.types.get(index)?) {
            return None;
        }
        match self.candidate.get(index) {
            Some(column) => Some(Scalar::Candidate(*column)),
            None => match self.captured.get(index - self.candidate.len())? {
                Gathered::Capture(capture) if capture.which != Which::All => Some(Scalar::Captured(*capture)),
                _ => None,
            },
        }
    }

    /// The type of an expression of the forms that are compiled.
    fn type_of(&self, expr: &Arc<dyn PhysicalExpr>) -> Option<DataType> {
        if let Some(column) = expr.downcast_ref::<ColumnExpr>() {
            return self.types.get(column.index()).cloned();
        }
        if let Some(cast) = expr.downcast_ref::<CastExpr>() {
            return Some(cast.cast_type().clone());
        }
        if let Some(literal) = expr.downcast_ref::<Literal>() {
            return Some(literal.value().data_type());
        }
        match expr.downcast_ref::<BinaryExpr>() {
            Some(binary) if matches!(binary.op(), Operator::Plus | Operator::Minus | Operator::Multiply) => {
                self.type_of(binary.left())
            }
            _ => None,
        }
    }
}

impl Constant {
    fn of(value: &ScalarValue) -> Option<Self> {
        if value.is_null() {
            return Some(Constant::Null);
        }
        Some(match value {
            ScalarValue::Boolean(Some(value)) => Constant::Bool(*value),
            ScalarValue::Int8(Some(value)) => Constant::Int((*value).into()),
            ScalarValue::Int16(Some(value)) => Constant::Int((*value).into()),
            ScalarValue::Int32(Some(value)) => Constant::Int((*value).into()),
            ScalarValue::Int64(Some(value)) => Constant::Int(*value),
            ScalarValue::Float32(Some(value)) => Constant::Float(f64::from(*value)),
            ScalarValue::Float64(Some(value)) => Constant::Float(*value),
            ScalarValue::TimestampMicrosecond(Some(value), _) => Constant::Int(*value),
            ScalarValue::Utf8View(Some(value)) => Constant::Text(value.as_str().into()),
            _ => return None,
        })
    }

    fn value(&self) -> Value<'_> {
        match self {
            Constant::Null => Value::Null,
            Constant::Int(value) => Value::Int(*value),
            Constant::Float(value) => Value::Float(*value),
            Constant::Bool(value) => Value::Bool(*value),
            Constant::Text(value) => Value::Text(value),
        }
    }
}
