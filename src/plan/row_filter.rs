//! Conditions on the rows of a relation that come from outside of the app: from a client that wants to see some of them.
//!
//! They are SQL with the types and the semantics of the app's own, but only what is cheap for whatever rows: comparisons, AND, OR,
//! NOT, IN, BETWEEN, LIKE, IS NULL and arithmetic over columns and constants. No functions, no subqueries.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::datatypes::SchemaRef;
use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion_expr::{Expr, LogicalPlan, Operator};
use datafusion_physical_expr::PhysicalExpr;
use eventflux_sqlparser::StatementKind;

use super::context::Source;
use super::on_demand::OnDemandCompiler;
use super::physical::physical_expr;
use super::resolve::Known;
use super::text::Text;
use crate::catalog::functions::Functions;
use crate::error::{Code, Diagnostic, Error, Result, SourceText};
use crate::operators::expressions::{mask, reason};

/// What the rows are called in the query that a condition is made into.
const ROWS: &str = "rows";

/// The longest condition, in bytes.
const MAX_LENGTH: usize = 16_384;

/// A condition that rows satisfy or not.
#[derive(Debug, Clone)]
pub struct RowFilter {
    condition: Arc<dyn PhysicalExpr>,
    columns: Arc<BTreeSet<String>>,
    may_fail: bool,
}

impl RowFilter {
    /// Where it holds; where it is NULL it does not. *Errors.* For a row for which it has no value: a division by zero.
    pub fn mask(&self, rows: &RecordBatch) -> Result<BooleanArray> {
        mask(&self.condition, rows).map_err(|error| Error::failed(reason(&error)))
    }

    /// The columns it looks at, as they are called.
    pub fn columns(&self) -> &BTreeSet<String> {
        &self.columns
    }

    /// Whether it may have no value for some row. Who sees whether it has learns of the row.
    pub fn may_fail(&self) -> bool {
        self.may_fail
    }
}

/// A condition over rows with that schema. *Errors.* What is no such condition; the message says what may stand there.
pub fn row_filter(condition: &str, schema: &SchemaRef, functions: &Functions) -> Result<RowFilter, Diagnostic> {
    if condition.len() > MAX_LENGTH {
        let message = format!("a filter has {MAX_LENGTH} bytes at most");
        return Err(Diagnostic::new(Code::Limit, message));
    }
    let sql = format!("SELECT * FROM {ROWS} WHERE ({condition})");
    let source = SourceText::new("filter", sql);
    let text = Text::new(&source);
    let statements = eventflux_sqlparser::parse(&source.text).map_err(|error| text.parse_error(error))?;
    let [statement] = statements.as_slice() else {
        return Err(no_condition());
    };
    let StatementKind::Query(query) = &statement.kind else {
        return Err(no_condition());
    };
    let mut known = Known::new();
    known.insert(ROWS.to_string(), schema.clone());
    let compiler = OnDemandCompiler {
        tables: &[],
        functions,
        content: &|_| Ok(Vec::new()),
        text: &text,
        sources: HashMap::from([(ROWS.to_string(), Arc::new(Source::stream(ROWS, schema.clone())))]),
        known,
        streams: Vec::new(),
    };
    let (plan, _) = compiler.rows(query)?;
    let LogicalPlan::Projection(projection) = plan else {
        return Err(no_condition());
    };
    let LogicalPlan::Filter(filter) = projection.input.as_ref() else {
        return Err(no_condition());
    };
    if !reads_rows_alone(&filter.input) || filter.input.schema().fields().len() != schema.fields().len() {
        return Err(no_condition());
    }
    // By itself, too: `1 = 1) OR (1 = 1` would leave the brackets, and whatever condition stands beside it.
    eventflux_sqlparser::parse_expr(condition).map_err(|_| no_condition())?;
    allowed(&filter.predicate)?;
    let columns = filter.predicate.column_refs();
    Ok(RowFilter {
        condition: physical_expr(&filter.predicate, filter.input.schema())?,
        columns: Arc::new(columns.into_iter().map(|column| column.name.clone()).collect()),
        may_fail: may_fail(&filter.predicate),
    })
}

/// Whether a condition has parts that have no value for some operands: divisions, sums that are too large, casts.
fn may_fail(predicate: &Expr) -> bool {
    let fails = predicate.exists(|node| {
        // What is the same for all rows tells nothing of one.
        Ok(!node.column_refs().is_empty()
            && match node {
                Expr::BinaryExpr(binary) => !(binary.op.supports_propagation() || is_logic(binary.op)),
                Expr::Negative(_) | Expr::Cast(_) => true,
                _ => false,
            })
    });
    fails.unwrap_or(true)
}

fn is_logic(operator: Operator) -> bool {
    matches!(
        operator,
        Operator::And | Operator::Or | Operator::NotEq | Operator::IsDistinctFrom | Operator::IsNotDistinctFrom
    )
}

fn no_condition() -> Diagnostic {
    Diagnostic::new(Code::Syntax, "a filter is one condition over the columns")
        .hint("such as: price > 100 AND symbol = 'IBM'")
}

fn reads_rows_alone(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::TableScan(_) => true,
        LogicalPlan::SubqueryAlias(alias) => reads_rows_alone(&alias.input),
        _ => false,
    }
}

/// Refuses what may take long or ask for other rows.
fn allowed(predicate: &Expr) -> Result<(), Diagnostic> {
    let mut refused = None;
    let _ = predicate.apply(|node| {
        let cheap = matches!(
            node,
            Expr::Alias(_)
                | Expr::Column(_)
                | Expr::Literal(..)
                | Expr::BinaryExpr(_)
                | Expr::Like(_)
                | Expr::Not(_)
                | Expr::IsNotNull(_)
                | Expr::IsNull(_)
                | Expr::IsTrue(_)
                | Expr::IsFalse(_)
                | Expr::IsUnknown(_)
                | Expr::IsNotTrue(_)
                | Expr::IsNotFalse(_)
                | Expr::IsNotUnknown(_)
                | Expr::Negative(_)
                | Expr::Between(_)
                | Expr::Case(_)
                | Expr::Cast(_)
                | Expr::TryCast(_)
                | Expr::InList(_)
        );
        if cheap {
            return Ok(TreeNodeRecursion::Continue);
        }
        refused = Some(match node {
            Expr::ScalarFunction(function) => format!("a filter calls no functions, such as {}", function.name()),
            _ => "a filter has no subqueries and no aggregates".to_string(),
        });
        Ok(TreeNodeRecursion::Stop)
    });
    match refused {
        Some(message) => Err(Diagnostic::new(Code::Unstreamable, message).hint(
            "it may compare columns and constants: = <> < <= > >= IN BETWEEN LIKE IS NULL, with AND, OR and NOT",
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float64Array, Int64Array, StringViewArray};
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;
    use crate::event::{Clock, SystemClock};

    fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![
            Field::new("symbol", DataType::Utf8View, true),
            Field::new("Price", DataType::Float64, true),
            Field::new("n", DataType::Int64, true),
        ]))
    }

    fn filter(condition: &str) -> Result<RowFilter, Diagnostic> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        row_filter(condition, &schema(), &Functions::builtin(&clock))
    }

    #[test]
    fn conditions_have_the_semantics_of_the_app() {
        let rows = RecordBatch::try_new(
            schema(),
            vec![
                Arc::new(StringViewArray::from(vec![Some("IBM"), Some("it's"), None])),
                Arc::new(Float64Array::from(vec![1.0, 2.0, 3.0])),
                Arc::new(Int64Array::from(vec![Some(1), None, Some(3)])),
            ],
        )
        .unwrap();
        for (condition, expected) in [
            ("price > 1.5", [false, true, true]),
            ("symbol = 'it''s'", [false, true, false]),
            ("symbol <> 'IBM'", [false, true, false]),
            ("symbol IS NULL OR n BETWEEN 1 AND 2", [true, false, true]),
            ("symbol ILIKE 'i%' AND NOT n = 5", [true, false, false]),
            ("n IN (1, 3) AND \"Price\" * 2 >= 2", [true, false, true]),
            ("n + 1 == 2", [true, false, false]),
        ] {
            let got = filter(condition).unwrap().mask(&rows).unwrap();
            let got: Vec<bool> = got.iter().map(|value| value == Some(true)).collect();
            assert_eq!(got, expected, "{condition}");
            assert_eq!(got.len(), rows.num_rows());
        }
    }

    #[test]
    fn what_a_condition_looks_at_and_whether_it_may_fail() {
        for (condition, columns, may_fail) in [
            ("symbol = 'IBM' OR price > 1.5", vec!["Price", "symbol"], false),
            (
                "n IN (1, 2) AND symbol LIKE 'I%' AND NOT (symbol IS NULL)",
                vec!["n", "symbol"],
                false,
            ),
            ("1 / (n - 5) > 0", vec!["n"], true),
            ("CAST(symbol AS LONG) = 1", vec!["symbol"], true),
            (
                "CASE WHEN n = 1 THEN price > 2 ELSE FALSE END",
                vec!["Price", "n"],
                false,
            ),
            ("1 = 1", vec![], false),
        ] {
            let filter = filter(condition).unwrap();
            let looked_at: Vec<&str> = filter.columns().iter().map(String::as_str).collect();
            assert_eq!((looked_at, filter.may_fail()), (columns, may_fail), "{condition}");
        }
    }

    #[test]
    fn what_is_no_cheap_condition_is_refused() {
        for (condition, what) in [
            ("", "ound"),
            ("prize > 1", "prize"),
            ("price", "takes a condition"),
            ("price > 'x'", ""),
            ("repeat(symbol, 1000000000) = ''", "no functions"),
            ("uuid() = symbol", "no functions"),
            ("n IN (SELECT 1)", ""),
            ("1 = 1) UNION SELECT * FROM rows WHERE (1 = 1", "one condition"),
            ("1 = 1) LIMIT 5 --", ""),
            ("1 = 1); DELETE FROM rows WHERE (1 = 1", ""),
            ("1 = 1) GROUP BY (n", ""),
            ("1 = 1) OR (1 = 1", "one condition"),
            ("n = 1 --", ""),
            ("n = 1 /*", ""),
            ("sum(n) > 1", ""),
            (&"(".repeat(10_000), ""),
            (&format!("n = 1{}", " OR n = 1".repeat(5_000)), "bytes at most"),
        ] {
            let error = filter(condition).map(|_| ()).unwrap_err();
            assert!(error.message.contains(what), "{condition:.60}: {error}");
        }
    }
}
