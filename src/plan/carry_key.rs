//! The key of a PARTITION goes along with every row: each SELECT of the block takes it on.

use std::ops::ControlFlow;

use eventflux_sqlparser::walk::WalkMut;
use eventflux_sqlparser::{Query, RelationSource, relation_name};
use sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, GroupByExpr,
    Ident, JoinConstraint, JoinOperator, NamedWindowExpr, ObjectName, Query as SqlQuery, Select, SelectItem, SetExpr,
    TableFactor, VisitorMut, WindowType,
};

use super::current_values::aggregates;
use super::partition::PARTITION_KEY;
use crate::catalog::functions::Functions;

/// Lets every SELECT of a query carry the key on: as a column, as one more key where it groups or looks back (OVER), and as one more
/// condition where it joins. Tables have no key: their rows are everybody's.
pub fn carry_key(query: &mut Query, functions: &Functions, tables: &[String]) {
    // What stands for a table in FROM, beside the tables themselves.
    let lifted = query
        .relations
        .iter()
        .enumerate()
        .filter_map(|(index, relation)| match &relation.source {
            RelationSource::Stream { name, .. } if tables.contains(&name.value) => Some(relation_name(index)),
            _ => None,
        });
    let keyless: Vec<String> = tables.iter().cloned().chain(lifted).collect();
    let mut carrier = Carrier {
        functions,
        keyless,
        skipped: 0,
        keys: Vec::new(),
    };
    let _ = WalkMut::walk_mut(&mut *query.body, &mut carrier);
}

struct Carrier<'a> {
    functions: &'a Functions,
    keyless: Vec<String>,
    /// How many queries it is inside of that read only tables.
    skipped: usize,
    /// The key in each query that it is inside of.
    keys: Vec<Expr>,
}

impl VisitorMut for Carrier<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut SqlQuery) -> ControlFlow<Self::Break> {
        if self.skipped > 0 || self.reads_tables(&query.body) {
            self.skipped += 1;
            return ControlFlow::Continue(());
        }
        let key = self.body(&mut query.body);
        self.keys.push(key);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut SqlQuery) -> ControlFlow<Self::Break> {
        match self.skipped {
            0 => {
                self.keys.pop();
            }
            _ => self.skipped -= 1,
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        if let Expr::Function(function) = expr
            && let Some(WindowType::WindowSpec(spec)) = &mut function.over
            && spec.window_name.is_none()
            && self.skipped == 0
            && let Some(key) = self.keys.last()
        {
            spec.partition_by.push(key.clone());
        }
        ControlFlow::Continue(())
    }
}

/// The column of the key, perhaps of a relation.
fn key(relation: Option<&Ident>) -> Expr {
    let column = Ident::with_quote('"', PARTITION_KEY);
    match relation {
        None => Expr::Identifier(column),
        Some(relation) => Expr::CompoundIdentifier(vec![relation.clone(), column]),
    }
}

impl Carrier<'_> {
    fn body(&self, body: &mut SetExpr) -> Expr {
        match body {
            SetExpr::Select(select) => self.select(select),
            SetExpr::SetOperation { left, right, .. } => {
                self.body(left);
                self.body(right)
            }
            _ => key(None),
        }
    }

    /// Whether a query reads tables and nothing else.
    fn reads_tables(&self, body: &SetExpr) -> bool {
        let SetExpr::Select(select) = body else {
            return false;
        };
        let relations = || {
            let of = |from: &sqlparser::ast::TableWithJoins| {
                let joined = from.joins.iter().map(|join| join.relation.clone());
                std::iter::once(from.relation.clone()).chain(joined).collect::<Vec<_>>()
            };
            select.from.iter().flat_map(of)
        };
        relations().next().is_some() && relations().all(|relation| self.keyed(&relation).is_none())
    }

    /// What a relation that carries the key is called; `None` for tables, and queries over tables.
    fn keyed(&self, relation: &TableFactor) -> Option<Option<Ident>> {
        match relation {
            TableFactor::Table { name, alias, .. } => {
                let ident = name.0.last().and_then(|part| part.as_ident())?;
                let keyless = self.keyless.contains(&ident.value);
                let called = alias.as_ref().map_or(ident, |alias| &alias.name);
                (!keyless).then(|| Some(called.clone()))
            }
            TableFactor::Derived { subquery, alias, .. } => {
                let keyless = self.reads_tables(&subquery.body);
                (!keyless).then(|| alias.as_ref().map(|alias| alias.name.clone()))
            }
            _ => Some(None),
        }
    }

    fn select(&self, select: &mut Select) -> Expr {
        let key = self.joined(select);
        for window in &mut select.named_window {
            if let NamedWindowExpr::WindowSpec(spec) = &mut window.1
                && spec.window_name.is_none()
            {
                spec.partition_by.push(key.clone());
            }
        }
        if aggregates(select, self.functions)
            && let GroupByExpr::Expressions(exprs, _) = &mut select.group_by
        {
            exprs.push(key.clone());
        }
        select.projection.push(SelectItem::ExprWithAlias {
            expr: key.clone(),
            alias: Ident::with_quote('"', PARTITION_KEY),
        });
        key
    }

    /// Lets only rows of one key join; the key of what comes out.
    fn joined(&self, select: &mut Select) -> Expr {
        let mut sides: Vec<Ident> = Vec::new();
        let mut conditions = Vec::new();
        let mut outer = false;
        for from in &mut select.from {
            if let Some(name) = self.keyed(&from.relation).flatten() {
                if let Some(first) = sides.first() {
                    conditions.push(same_key(first, &name));
                }
                sides.push(name);
            }
            for join in &mut from.joins {
                let name = self.keyed(&join.relation).flatten();
                let condition = sides
                    .first()
                    .zip(name.as_ref())
                    .map(|(first, name)| same_key(first, name));
                outer |= !matches!(
                    join.join_operator,
                    JoinOperator::Join(_) | JoinOperator::Inner(_) | JoinOperator::CrossJoin(_)
                );
                if let Some(condition) = condition {
                    add_condition(&mut join.join_operator, condition);
                }
                sides.extend(name);
            }
        }
        for condition in conditions {
            select.selection = Some(match select.selection.take() {
                Some(selection) => and(selection, condition),
                None => condition,
            });
        }
        match sides.as_slice() {
            [] | [_] => key(None),
            [first, ..] if !outer => key(Some(first)),
            // The side that is there has it.
            sides => coalesce(sides.iter().map(|side| key(Some(side))).collect()),
        }
    }
}

fn same_key(left: &Ident, right: &Ident) -> Expr {
    Expr::BinaryOp {
        left: Box::new(key(Some(left))),
        op: BinaryOperator::Eq,
        right: Box::new(key(Some(right))),
    }
}

fn and(left: Expr, right: Expr) -> Expr {
    Expr::BinaryOp {
        left: Box::new(Expr::Nested(Box::new(left))),
        op: BinaryOperator::And,
        right: Box::new(right),
    }
}

fn add_condition(operator: &mut JoinOperator, condition: Expr) {
    use JoinOperator as J;
    let constraint = match operator {
        J::Join(constraint)
        | J::Inner(constraint)
        | J::Left(constraint)
        | J::LeftOuter(constraint)
        | J::Right(constraint)
        | J::RightOuter(constraint)
        | J::FullOuter(constraint) => constraint,
        _ => {
            *operator = J::Inner(JoinConstraint::On(condition));
            return;
        }
    };
    *constraint = match std::mem::replace(constraint, JoinConstraint::None) {
        JoinConstraint::On(on) => JoinConstraint::On(and(on, condition)),
        JoinConstraint::None => JoinConstraint::On(condition),
        JoinConstraint::Using(mut columns) => {
            columns.push(ObjectName::from(vec![Ident::with_quote('"', PARTITION_KEY)]));
            JoinConstraint::Using(columns)
        }
        other => other,
    };
}

fn coalesce(keys: Vec<Expr>) -> Expr {
    let args = keys
        .into_iter()
        .map(|key| FunctionArg::Unnamed(FunctionArgExpr::Expr(key)));
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new("coalesce")]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: args.collect(),
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}
