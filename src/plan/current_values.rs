//! Columns of an aggregating query that are neither grouped nor aggregated: the current event's value.
//!
//! DataFusion plans standard SQL, where such a column is an error. So each is wrapped into an aggregate of our own,
//! [`CURRENT`], whose value is that of the group's latest event.

use std::ops::ControlFlow;

use eventflux_sqlparser::walk::{Walk, WalkMut};
use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, GroupByExpr, Ident,
    ObjectName, Query, Select, SelectItem, SetExpr, Value, Visitor, VisitorMut,
};

use crate::catalog::aggregates::CURRENT;
use crate::catalog::functions::Functions;

/// Wraps the columns of every SELECT in a query that aggregates.
pub fn wrap_query(query: &mut Query, functions: &Functions) {
    let mut selects = Selects {
        functions,
        with: CURRENT,
    };
    let _ = WalkMut::walk_mut(query, &mut selects);
}

/// The same for a query that the batch engine runs: the last row's value.
pub fn wrap_batch_query(query: &mut Query, functions: &Functions) {
    let mut selects = Selects {
        functions,
        with: "last_value",
    };
    let _ = WalkMut::walk_mut(query, &mut selects);
}

/// Whether a SELECT aggregates: it groups, or has an aggregate among its results.
pub fn aggregates(select: &Select, functions: &Functions) -> bool {
    let grouped = match &select.group_by {
        GroupByExpr::Expressions(exprs, _) => !exprs.is_empty(),
        GroupByExpr::All(_) => true,
    };
    let mut finder = FindAggregate { functions, inside: 0 };
    grouped
        || select.projection.walk(&mut finder).is_break()
        || select
            .having
            .as_ref()
            .is_some_and(|having| having.walk(&mut finder).is_break())
}

/// Whether a call is an aggregate's: not a scalar's of that name, not a window function's.
pub fn is_aggregate(function: &Function, functions: &Functions) -> bool {
    let name = function.name.to_string().replace('"', "");
    function.over.is_none() && functions.aggregate(&name).is_some() && functions.scalar(&name).is_none()
}

struct Selects<'a> {
    functions: &'a Functions,
    /// The aggregate that columns are wrapped into.
    with: &'static str,
}

impl VisitorMut for Selects<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        wrap_body(&mut query.body, self.functions, self.with);
        ControlFlow::Continue(())
    }
}

fn wrap_body(body: &mut SetExpr, functions: &Functions, with: &'static str) {
    match body {
        SetExpr::Select(select) if aggregates(select, functions) => wrap_select(select, functions, with),
        SetExpr::SetOperation { left, right, .. } => {
            wrap_body(left, functions, with);
            wrap_body(right, functions, with);
        }
        _ => {}
    }
}

fn wrap_select(select: &mut Select, functions: &Functions, with: &'static str) {
    let mut wrapper = Wrapper {
        functions,
        with,
        keys: group_keys(select),
        kept: Vec::new(),
        inside: 0,
    };
    for item in &mut select.projection {
        wrapper.item(item);
    }
    let outputs: Vec<(Ident, Expr)> = select
        .projection
        .iter()
        .filter_map(|item| match item {
            SelectItem::ExprWithAlias { expr, alias } => Some((alias.clone(), expr.clone())),
            _ => None,
        })
        .collect();
    if let Some(having) = &mut select.having {
        wrapper.having(having, outputs);
    }
}

/// What the query groups by, aliases and positions replaced by what they mean.
pub fn group_keys(select: &Select) -> Vec<Expr> {
    let GroupByExpr::Expressions(exprs, _) = &select.group_by else {
        return Vec::new();
    };
    let key = |expr: &Expr| {
        let named = match expr {
            Expr::Identifier(ident) => select.projection.iter().find_map(|item| match item {
                SelectItem::ExprWithAlias { expr, alias } if alias.value == ident.value => Some(expr.clone()),
                _ => None,
            }),
            Expr::Value(value) => match &value.value {
                Value::Number(number, _) => {
                    let position = number.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
                    position.and_then(|position| match select.projection.get(position)? {
                        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr.clone()),
                        _ => None,
                    })
                }
                _ => None,
            },
            _ => None,
        };
        std::iter::once(expr.clone()).chain(named)
    };
    exprs.iter().flat_map(key).collect()
}

/// Looks for an aggregate of the SELECT itself: those of subqueries are theirs.
struct FindAggregate<'a> {
    functions: &'a Functions,
    /// How many subqueries it is inside of.
    inside: usize,
}

impl Visitor for FindAggregate<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        self.inside += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        self.inside -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Function(function) if self.inside == 0 && is_aggregate(function, self.functions) => {
                ControlFlow::Break(())
            }
            _ => ControlFlow::Continue(()),
        }
    }
}

/// Wraps the columns of expressions. What is a key or an aggregate is put aside while what is around it is visited.
struct Wrapper<'a> {
    functions: &'a Functions,
    with: &'static str,
    keys: Vec<Expr>,
    kept: Vec<Expr>,
    /// How many subqueries it is inside of: their columns are their own affair.
    inside: usize,
}

impl Wrapper<'_> {
    fn item(&mut self, item: &mut SelectItem) {
        match item {
            SelectItem::UnnamedExpr(expr) => {
                let alias = match &*expr {
                    Expr::Identifier(ident) => Some(ident.clone()),
                    Expr::CompoundIdentifier(idents) => idents.last().cloned(),
                    _ => None,
                };
                self.wrap(expr);
                if let Some(alias) = alias {
                    let expr = expr.clone();
                    *item = SelectItem::ExprWithAlias { expr, alias };
                }
            }
            SelectItem::ExprWithAlias { expr, .. } => self.wrap(expr),
            _ => {}
        }
    }

    /// HAVING sees the query's results first, then columns.
    fn having(&mut self, having: &mut Expr, outputs: Vec<(Ident, Expr)>) {
        let mut replace = ReplaceOutputs {
            outputs,
            functions: self.functions,
            kept: Vec::new(),
        };
        let _ = WalkMut::walk_mut(having, &mut replace);
        self.wrap(having);
    }

    fn wrap(&mut self, expr: &mut Expr) {
        let _ = WalkMut::walk_mut(expr, self);
    }

    fn is_kept(&self, expr: &Expr) -> bool {
        match expr {
            Expr::Function(function) if is_aggregate(function, self.functions) => true,
            expr => self.keys.iter().any(|key| same(key, expr)),
        }
    }
}

/// Whether two expressions are the same; a column with its relation's name in front as without.
fn same(a: &Expr, b: &Expr) -> bool {
    match (column_name(a), column_name(b)) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

pub fn column_name(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Identifier(ident) => Some(&ident.value),
        Expr::CompoundIdentifier(idents) => idents.last().map(|ident| ident.value.as_str()),
        _ => None,
    }
}

/// Stands for what is put aside.
fn placeholder() -> Expr {
    Expr::Value(Value::Placeholder(PLACEHOLDER.to_string()).into())
}

const PLACEHOLDER: &str = "__kept";

fn is_placeholder(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(value) if matches!(&value.value, Value::Placeholder(name) if name == PLACEHOLDER))
}

impl VisitorMut for Wrapper<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.inside += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.inside -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if self.inside == 0 && self.is_kept(expr) {
            self.kept.push(std::mem::replace(expr, placeholder()));
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if self.inside > 0 {
            return ControlFlow::Continue(());
        }
        if is_placeholder(expr) {
            if let Some(kept) = self.kept.pop() {
                *expr = kept;
            }
        } else if column_name(expr).is_some() {
            *expr = current(expr.clone(), self.with);
        }
        ControlFlow::Continue(())
    }
}

struct ReplaceOutputs<'a> {
    outputs: Vec<(Ident, Expr)>,
    functions: &'a Functions,
    kept: Vec<Expr>,
}

impl VisitorMut for ReplaceOutputs<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        // Inside an aggregate a name is a column's.
        if matches!(expr, Expr::Function(function) if is_aggregate(function, self.functions)) {
            self.kept.push(std::mem::replace(expr, placeholder()));
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if is_placeholder(expr) {
            if let Some(kept) = self.kept.pop() {
                *expr = kept;
            }
        } else if let Expr::Identifier(ident) = expr
            && let Some((_, output)) = self.outputs.iter().find(|(name, _)| name.value == ident.value)
        {
            *expr = Expr::Nested(Box::new(output.clone()));
        }
        ControlFlow::Continue(())
    }
}

fn current(column: Expr, function: &str) -> Expr {
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(function)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(column))],
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}
