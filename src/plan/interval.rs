//! Bounds between the times of a join's two sides: `b.ts BETWEEN a.ts - 5 MINUTES AND a.ts`.

use std::collections::BTreeMap;
use std::ops::Bound;

use datafusion_common::ScalarValue;
use datafusion_expr::utils::{conjunction, split_conjunction};
use datafusion_expr::{Between, BinaryExpr, Cast, Expr, Join, LogicalPlan, Operator};

use super::lineage::is_time_column;
use crate::event::Micros;
use crate::operators::join::interval_join::Interval;
use crate::operators::join::spec::Side;

/// The interval that a join's condition asks for, and what else it asks.
pub struct IntervalCondition {
    /// How far the times are apart.
    pub interval: Interval,
    /// The rest of the condition.
    pub rest: Option<Expr>,
}

/// The interval of a join; `None` if its times are not bounded at both ends.
pub fn interval_of(join: &Join, times: &BTreeMap<String, usize>) -> Option<IntervalCondition> {
    let mut lower = None;
    let mut upper = None;
    let mut rest = Vec::new();
    for conjunct in split_conjunction(join.filter.as_ref()?) {
        for part in unfold(conjunct) {
            match bound(&part, join, times) {
                Some(At::Least(micros)) => lower = lower.max(Some(micros)),
                Some(At::Most(micros)) => upper = Some(upper.map_or(micros, |upper: Micros| upper.min(micros))),
                Some(At::Exactly(micros)) => {
                    lower = lower.max(Some(micros));
                    upper = Some(upper.map_or(micros, |upper: Micros| upper.min(micros)));
                }
                None => rest.push(part),
            }
        }
    }
    Some(IntervalCondition {
        interval: Interval::between(Bound::Included(lower?), Bound::Included(upper?))?,
        rest: conjunction(rest),
    })
}

/// BETWEEN as two comparisons.
fn unfold(conjunct: &Expr) -> Vec<Expr> {
    match conjunct {
        Expr::Between(Between {
            expr,
            negated: false,
            low,
            high,
        }) => vec![
            expr.as_ref().clone().gt_eq(low.as_ref().clone()),
            expr.as_ref().clone().lt_eq(high.as_ref().clone()),
        ],
        other => vec![other.clone()],
    }
}

/// What `right.time - left.time` must be, in µs.
enum At {
    Least(Micros),
    Most(Micros),
    Exactly(Micros),
}

fn bound(expr: &Expr, join: &Join, times: &BTreeMap<String, usize>) -> Option<At> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = expr else {
        return None;
    };
    let (a, b) = (time(left, join, times)?, time(right, join, times)?);
    // right + b OP left + a, whichever way it is written.
    let (op, left, right) = match (a.0, b.0) {
        (Side::Left, Side::Right) => (op.swap()?, a.1, b.1),
        (Side::Right, Side::Left) => (*op, b.1, a.1),
        _ => return None,
    };
    let apart = left.checked_sub(right)?;
    match op {
        Operator::GtEq => Some(At::Least(apart)),
        Operator::Gt => Some(At::Least(apart.checked_add(1)?)),
        Operator::LtEq => Some(At::Most(apart)),
        Operator::Lt => Some(At::Most(apart.checked_sub(1)?)),
        Operator::Eq => Some(At::Exactly(apart)),
        _ => None,
    }
}

/// The side whose time an expression is, and how much is added to it.
fn time(expr: &Expr, join: &Join, times: &BTreeMap<String, usize>) -> Option<(Side, Micros)> {
    match expr {
        Expr::Column(column) => {
            let of = |plan: &LogicalPlan| is_time_column(plan, column, times);
            match (of(&join.left), of(&join.right)) {
                (true, false) => Some((Side::Left, 0)),
                (false, true) => Some((Side::Right, 0)),
                _ => None,
            }
        }
        Expr::Cast(Cast { expr, .. }) => time(expr, join, times),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match op {
            Operator::Plus => match (time(left, join, times), micros(right)) {
                (Some((side, by)), Some(micros)) => Some((side, by.checked_add(micros)?)),
                _ => {
                    let (side, by) = time(right, join, times)?;
                    Some((side, by.checked_add(micros(left)?)?))
                }
            },
            Operator::Minus => {
                let (side, by) = time(left, join, times)?;
                Some((side, by.checked_sub(micros(right)?)?))
            }
            _ => None,
        },
        _ => None,
    }
}

/// A constant duration; a number is of milliseconds, as beside a LONG that holds time.
fn micros(expr: &Expr) -> Option<Micros> {
    match expr {
        Expr::Literal(value, _) => match value {
            ScalarValue::IntervalMonthDayNano(Some(interval)) if interval.months == 0 => {
                let days = i64::from(interval.days).checked_mul(86_400_000_000)?;
                days.checked_add(interval.nanoseconds / 1_000)
            }
            ScalarValue::IntervalDayTime(Some(interval)) => {
                let days = i64::from(interval.days).checked_mul(86_400_000_000)?;
                days.checked_add(i64::from(interval.milliseconds).checked_mul(1_000)?)
            }
            ScalarValue::DurationMicrosecond(Some(micros)) => Some(*micros),
            ScalarValue::Int64(Some(millis)) => millis.checked_mul(1_000),
            ScalarValue::Int32(Some(millis)) => i64::from(*millis).checked_mul(1_000),
            _ => None,
        },
        Expr::Cast(Cast { expr, .. }) => micros(expr),
        _ => None,
    }
}
