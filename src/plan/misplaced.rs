//! Aggregates where none can be, refused at their place.

use std::ops::ControlFlow;

use eventflux_sqlparser::Query;
use eventflux_sqlparser::walk::Walk;
use sqlparser::ast::{
    Expr, Function, FunctionArguments, GroupByExpr, Query as SqlQuery, Select, SetExpr, Spanned, Visitor,
};

use super::current_values::is_aggregate;
use super::text::Text;
use crate::catalog::functions::Functions;
use crate::error::{Code, Diagnostic};

/// Refuses aggregates in WHERE, in GROUP BY, in a stream's filter, and inside of one another.
pub fn check(query: &Query, functions: &Functions, text: &Text) -> Result<(), Diagnostic> {
    let mut visitor = Misplaced { functions, text };
    for filter in query.relations.iter().filter_map(|relation| relation.filter.as_ref()) {
        visitor.refuse(filter, "the filter of a stream", WHERE)?;
    }
    match query.body.walk(&mut visitor) {
        ControlFlow::Break(error) => Err(*error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

const WHERE: &str = "HAVING filters by what is aggregated";

struct Misplaced<'a> {
    functions: &'a Functions,
    text: &'a Text<'a>,
}

impl Misplaced<'_> {
    /// Refuses an aggregate anywhere in an expression.
    fn refuse(&self, within: &impl Walk, place: &str, hint: &str) -> Result<(), Diagnostic> {
        match within.walk(&mut First::of(self.functions)) {
            ControlFlow::Break((name, span)) => {
                let message = format!("{name} is an aggregate, and {place} sees single events");
                let error = Diagnostic::new(Code::Type, message).hint(hint);
                Err(self.text.at(error, span))
            }
            ControlFlow::Continue(()) => Ok(()),
        }
    }

    fn select(&self, select: &Select) -> Result<(), Diagnostic> {
        if let Some(selection) = &select.selection {
            self.refuse(selection, "WHERE", WHERE)?;
        }
        if let GroupByExpr::Expressions(keys, _) = &select.group_by {
            self.refuse(keys, "GROUP BY", "group by columns, or by what is computed from them")?;
        }
        Ok(())
    }

    fn body(&self, body: &SetExpr) -> Result<(), Diagnostic> {
        match body {
            SetExpr::Select(select) => self.select(select),
            SetExpr::SetOperation { left, right, .. } => {
                self.body(left)?;
                self.body(right)
            }
            _ => Ok(()),
        }
    }

    fn nested(&self, function: &Function) -> Result<(), Diagnostic> {
        let FunctionArguments::List(list) = &function.args else {
            return Ok(());
        };
        let ControlFlow::Break((name, span)) = list.walk(&mut First::of(self.functions)) else {
            return Ok(());
        };
        let outer = function.name.to_string().replace('"', "");
        let error = Diagnostic::new(Code::Type, format!("{name} is an aggregate inside of another, {outer}"));
        let hint =
            format!("aggregate in a subquery first: SELECT {outer}(x) FROM (SELECT {name}(…) AS x FROM … GROUP BY …)");
        Err(self.text.at(error.hint(hint), span))
    }
}

impl Visitor for Misplaced<'_> {
    type Break = Box<Diagnostic>;

    fn pre_visit_query(&mut self, query: &SqlQuery) -> ControlFlow<Self::Break> {
        stop_at(self.body(&query.body))
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Self::Break> {
        match expr {
            Expr::Function(function) if is_aggregate(function, self.functions) => stop_at(self.nested(function)),
            _ => ControlFlow::Continue(()),
        }
    }
}

fn stop_at(result: Result<(), Diagnostic>) -> ControlFlow<Box<Diagnostic>> {
    match result {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(Box::new(error)),
    }
}

/// Finds the first aggregate: its name and place. What a subquery aggregates is its own.
struct First<'a> {
    functions: &'a Functions,
    /// How many subqueries it is inside of.
    inside: usize,
}

impl<'a> First<'a> {
    fn of(functions: &'a Functions) -> Self {
        First { functions, inside: 0 }
    }
}

impl Visitor for First<'_> {
    type Break = (String, sqlparser::tokenizer::Span);

    fn pre_visit_query(&mut self, _query: &SqlQuery) -> ControlFlow<Self::Break> {
        self.inside += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &SqlQuery) -> ControlFlow<Self::Break> {
        self.inside -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Self::Break> {
        match expr {
            Expr::Function(function) if self.inside == 0 && is_aggregate(function, self.functions) => {
                ControlFlow::Break((function.name.to_string().replace('"', ""), expr.span()))
            }
            _ => ControlFlow::Continue(()),
        }
    }
}
