//! Comparisons with earlier events, as an order of the attempts that wait.
//!
//! `price > a.price * 1.1` gives an attempt a rank when it begins to wait, that of `a.price * 1.1`, and an event a reach: all
//! ranks up to that of its own price. Ranks are in the order of values, but not one to one (of texts they are the first eight
//! bytes): who is within reach is still asked the condition.

use datafusion_expr::Operator;

use super::captures::LinkId;
use super::columns::Value;
use super::gather::{Capture, Captures};
use super::opened::Opened;
use super::scalar::{Row, Scalar};
use super::waiting::Reach;

/// A column of the event on one side of something that attempts have.
#[derive(Debug, Clone)]
pub struct Order {
    /// The column of the stream's batches.
    pub column: usize,
    /// The event's is the larger, or the same.
    above: bool,
    captured: Scalar,
}

impl Order {
    /// The first comparison that a condition asks for; `is_fixed` says of a value whether it stays what it is while an attempt waits.
    pub fn of(condition: &Scalar, is_fixed: &impl Fn(&Capture) -> bool) -> Option<Self> {
        match condition {
            Scalar::And(left, right) => Order::of(left, is_fixed).or_else(|| Order::of(right, is_fixed)),
            Scalar::Compare(operator, left, right) => {
                let above = match operator {
                    Operator::Gt | Operator::GtEq => true,
                    Operator::Lt | Operator::LtEq => false,
                    _ => return None,
                };
                let (column, captured, above) = match (left.as_ref(), right.as_ref()) {
                    (Scalar::Candidate(column), captured) => (*column, captured, above),
                    (captured, Scalar::Candidate(column)) => (*column, captured, !above),
                    _ => return None,
                };
                captured.is_of_attempt(is_fixed).then(|| Order {
                    column,
                    above,
                    captured: captured.clone(),
                })
            }
            _ => None,
        }
    }

    /// The rank of an attempt; none where it compares with NULL, which nothing can satisfy.
    pub fn rank(&self, captures: &Captures, chain: LinkId) -> Option<u64> {
        rank(self.captured.value(&Row {
            columns: &[],
            row: 0,
            captures,
            chain,
        }))
    }

    /// What an event can touch; nothing if its value is NULL.
    pub fn reach(&self, columns: &[Opened], row: usize) -> Option<Reach> {
        let rank = rank(columns[self.column].value(row)?)?;
        Some(match self.above {
            true => Reach::UpTo(rank),
            false => Reach::From(rank),
        })
    }
}

/// A number for a value, in the order of values.
fn rank(value: Value) -> Option<u64> {
    const SIGN: u64 = 1 << 63;
    Some(match value {
        Value::Null => return None,
        Value::Int(value) => value as u64 ^ SIGN,
        Value::Float(value) => match value.to_bits() {
            bits if bits & SIGN == 0 => bits | SIGN,
            bits => !bits,
        },
        Value::Bool(value) => u64::from(value),
        Value::Text(value) => {
            let mut first = [0; 8];
            let known = value.len().min(8);
            first[..known].copy_from_slice(&value.as_bytes()[..known]);
            u64::from_be_bytes(first)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_in_the_order_of_values() {
        let floats = [f64::NEG_INFINITY, -1.5, -0.0, 0.0, 1e-300, 2.0, f64::INFINITY, f64::NAN];
        let ranks: Vec<_> = floats.iter().map(|value| rank(Value::Float(*value))).collect();
        assert!(ranks.is_sorted_by(|one, next| one < next));
        let ints = [i64::MIN, -1, 0, 1, i64::MAX].map(|value| rank(Value::Int(value)));
        assert!(ints.is_sorted_by(|one, next| one < next));
        let texts = ["", "a", "ab", "abcdefgh", "abcdefghi", "b", "é"].map(|value| rank(Value::Text(value)));
        assert!(texts.is_sorted());
        assert_eq!(rank(Value::Null), None);
    }
}
