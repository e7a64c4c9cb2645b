//! What a streaming query may not say: parts of the language that are not built yet, and things streams cannot do.

use std::ops::ControlFlow;

use eventflux_sqlparser::walk::Walk;
use eventflux_sqlparser::{InsertMode, Query, RelationSource, Statement, StatementKind, StreamRelation};
use sqlparser::ast::{
    Distinct, Expr, GroupByExpr, LimitClause, Query as SqlQuery, Select, SetExpr, SetOperator, SetQuantifier, Spanned,
    TableFactor, TableWithJoins, Visitor,
};

use super::over;
use super::text::Text;
use crate::error::{Code, Diagnostic};

fn unsupported(what: &str) -> Diagnostic {
    Diagnostic::new(Code::Unsupported, format!("not supported yet: {what}"))
}

/// Refuses statements of which no kind is built yet.
pub fn statement(statement: &Statement, text: &Text) -> Result<(), Diagnostic> {
    let what = match &statement.kind {
        StatementKind::CreateStream(_)
        | StatementKind::CreateWindow(_)
        | StatementKind::Partition(_)
        | StatementKind::CreateFunction(_)
        | StatementKind::CreateTrigger(_)
        | StatementKind::CreateView(_)
        | StatementKind::CreateTable(_)
        | StatementKind::Update(_)
        | StatementKind::Delete(_)
        | StatementKind::Query(_)
        | StatementKind::Explain(_) => return Ok(()),
        StatementKind::CreateAggregation(_) => "CREATE AGGREGATION",
        StatementKind::Begin | StatementKind::Commit | StatementKind::Rollback => "transactions",
        _ => "this statement",
    };
    Err(text.at(unsupported(what), statement.span))
}

/// Refuses, of a query whose target is a stream, the forms of INSERT that are for tables.
pub fn table_forms(query: &Query, text: &Text) -> Result<(), Diagnostic> {
    let Some(target) = &query.target else {
        return Ok(());
    };
    let what = match (&target.mode, &target.on_conflict) {
        (InsertMode::Insert, None) => return Ok(()),
        (InsertMode::Insert, Some(_)) => "ON CONFLICT",
        (InsertMode::Upsert, _) => "UPSERT",
        (InsertMode::UpdateOrInsert { .. }, _) => "UPDATE OR INSERT",
    };
    let error = Diagnostic::new(
        Code::Unstreamable,
        format!("{what} changes tables, and '{}' is none", target.name.value),
    );
    Err(text.at(
        error.hint("INSERT INTO sends events to a stream; declare a table with CREATE TABLE"),
        target.span,
    ))
}

/// Tells whether a query reads nothing but tables, which have an end.
pub type ReadsTables<'a> = &'a dyn Fn(&SqlQuery) -> bool;

/// Refuses what cannot be run of a query, at its place. `reads_window`: one of its relations is a named window.
pub fn query(query: &Query, reads_window: bool, reads_tables: ReadsTables, text: &Text) -> Result<(), Diagnostic> {
    if let Some(target) = query.target.as_ref().filter(|target| target.inner) {
        return Err(text.at(unsupported("'#' streams, which live in a PARTITION"), target.name.span));
    }
    for lifted in &query.relations {
        relation(lifted, text)?;
    }
    let windowed = reads_window || query.relations.iter().any(|relation| relation.window.is_some());
    let order = if windowed { Order::Emissions } else { Order::None };
    sql_query(&query.body, order, text)?;
    let mut inside = Inside {
        text,
        order,
        reads_tables,
    };
    match query.body.walk(&mut inside) {
        ControlFlow::Break(error) => Err(*error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

fn relation(relation: &StreamRelation, text: &Text) -> Result<(), Diagnostic> {
    let what = match &relation.source {
        RelationSource::Stream { fault: true, .. } => "the fault stream of a '#' stream",
        RelationSource::Stream { inner: true, .. } => "'#' streams, which live in a PARTITION",
        RelationSource::Stream { .. } => return Ok(()),
        RelationSource::Pattern(_) => return Ok(()),
        RelationSource::MatchRecognize { .. } => "MATCH_RECOGNIZE",
        RelationSource::WindowFind { name, .. } => {
            let error = Diagnostic::new(
                Code::Unstreamable,
                "find(…) is for on-demand queries, which ask what a window holds at one moment",
            );
            let hint = format!(
                "read what it gives with FROM {0} WHERE …, or filter its input: FROM {0}[…]",
                name.value
            );
            return Err(text.at(error.hint(hint), relation.span));
        }
        _ => "this relation",
    };
    Err(text.at(unsupported(what), relation.span))
}

/// What ORDER BY may sort.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// Nothing: a stream has no end.
    None,
    /// Each emission of a window.
    Emissions,
}

fn sql_query(query: &SqlQuery, order: Order, text: &Text) -> Result<(), Diagnostic> {
    if let Some(with) = &query.with
        && with.recursive
    {
        let error = Diagnostic::new(Code::Unstreamable, "a stream's query cannot be recursive")
            .hint("leave RECURSIVE out; a WITH that does not read itself is fine");
        return Err(text.at(error, with.span()));
    }
    if order == Order::None
        && let Some(order) = &query.order_by
        && !has_limit(query)
    {
        let error = Diagnostic::new(Code::Unstreamable, "a stream has no end, so it cannot be sorted")
            .hint("add LIMIT n for a continuous top-n, or a window that closes");
        return Err(text.at(error, order.span()));
    }
    set_expr(&query.body, order, text)
}

fn has_limit(query: &SqlQuery) -> bool {
    match &query.limit_clause {
        Some(LimitClause::LimitOffset { limit, .. }) => limit.is_some(),
        Some(LimitClause::OffsetCommaLimit { .. }) => true,
        None => false,
    }
}

fn set_expr(body: &SetExpr, order: Order, text: &Text) -> Result<(), Diagnostic> {
    match body {
        SetExpr::Select(select) => self::select(select, order, text),
        SetExpr::Query(query) => sql_query(query, order, text),
        SetExpr::SetOperation {
            op: SetOperator::Union,
            set_quantifier: SetQuantifier::All | SetQuantifier::Distinct | SetQuantifier::None,
            left,
            right,
        } => {
            set_expr(left, order, text)?;
            set_expr(right, order, text)
        }
        SetExpr::SetOperation {
            op: SetOperator::Union, ..
        } => Err(text.at(unsupported("UNION BY NAME"), body.span())),
        SetExpr::SetOperation { op, .. } => {
            let error = Diagnostic::new(
                Code::Unstreamable,
                format!("{op} needs all rows of both sides, and streams have no end"),
            )
            .hint("to take rows of one stream only, use WHERE");
            Err(text.at(error, body.span()))
        }
        SetExpr::Values(_) => {
            let error = Diagnostic::new(Code::Unstreamable, "VALUES is not a stream")
                .hint("SELECT from a stream; its rows come from a source, or are sent through the API");
            Err(text.at(error, body.span()))
        }
        other => Err(text.at(unsupported("this kind of query"), other.span())),
    }
}

fn select(select: &Select, order: Order, text: &Text) -> Result<(), Diagnostic> {
    if select.from.is_empty() {
        let error = Diagnostic::new(Code::Unstreamable, "a query needs a stream to read").hint("add FROM <stream>");
        return Err(text.at(error, select.span()));
    }
    if let Some(Distinct::On(_)) = &select.distinct {
        return Err(text.at(unsupported("SELECT DISTINCT ON"), select.span()));
    }
    for from in &select.from {
        table(from, order, text)?;
    }
    match &select.group_by {
        GroupByExpr::All(_) => return Err(text.at(unsupported("GROUP BY ALL"), select.span())),
        GroupByExpr::Expressions(keys, modifiers) => {
            let sets = |key: &&Expr| matches!(key, Expr::GroupingSets(_) | Expr::Rollup(_) | Expr::Cube(_));
            if keys.iter().any(|key| sets(&key)) || !modifiers.is_empty() {
                let error = unsupported("GROUPING SETS, ROLLUP and CUBE");
                let error = error.hint(
                    "write a query for each grouping, all INSERT INTO one stream, with NULL for the columns left out",
                );
                let place = keys.iter().find(sets).map_or(select.span(), Spanned::span);
                return Err(text.at(error, place));
            }
        }
    }
    over::refuse_named(select, text)?;
    if !select.lateral_views.is_empty() || !select.connect_by.is_empty() {
        return Err(text.at(unsupported("this clause"), select.span()));
    }
    Ok(())
}

fn table(from: &TableWithJoins, order: Order, text: &Text) -> Result<(), Diagnostic> {
    for join in &from.joins {
        use sqlparser::ast::JoinOperator as J;
        let known = matches!(
            join.join_operator,
            J::Join(_)
                | J::Inner(_)
                | J::Left(_)
                | J::LeftOuter(_)
                | J::Right(_)
                | J::RightOuter(_)
                | J::FullOuter(_)
                | J::CrossJoin(_)
        );
        if !known {
            return Err(text.at(unsupported("this kind of join"), join.span()));
        }
        factor(&join.relation, order, text)?;
    }
    factor(&from.relation, order, text)
}

fn factor(relation: &TableFactor, order: Order, text: &Text) -> Result<(), Diagnostic> {
    match relation {
        TableFactor::Table { args: None, .. } => Ok(()),
        TableFactor::Derived {
            lateral: false,
            subquery,
            ..
        } => sql_query(subquery, order, text),
        TableFactor::NestedJoin { table_with_joins, .. } => table(table_with_joins, order, text),
        other => Err(text.at(unsupported("this relation"), other.span())),
    }
}

/// Looks for what may stand anywhere inside expressions.
struct Inside<'a> {
    order: Order,
    text: &'a Text<'a>,
    reads_tables: ReadsTables<'a>,
}

impl Visitor for Inside<'_> {
    type Break = Box<Diagnostic>;

    fn pre_visit_query(&mut self, query: &SqlQuery) -> ControlFlow<Self::Break> {
        if (self.reads_tables)(query) {
            return ControlFlow::Continue(());
        }
        match sql_query(query, self.order, self.text) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(Box::new(error)),
        }
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Self::Break> {
        match expr {
            Expr::Function(function) if function.over.is_some() => match over::refuse_call(function, self.text) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => ControlFlow::Break(Box::new(error)),
            },
            Expr::Convert { .. } => {
                let error = Diagnostic::new(Code::Type, "the second argument of convert is a text")
                    .hint("put the type in quotes: convert(x, 'int'); or write CAST(x AS INT)");
                ControlFlow::Break(Box::new(self.text.at(error, expr.span())))
            }
            Expr::Subquery(query) | Expr::Exists { subquery: query, .. } | Expr::InSubquery { subquery: query, .. }
                if !(self.reads_tables)(query) =>
            {
                let error = Diagnostic::new(
                    Code::Unstreamable,
                    "a subquery in an expression looks into tables, not streams",
                )
                .hint("join the streams, or keep the one in a table: INSERT INTO T SELECT …");
                ControlFlow::Break(Box::new(self.text.at(error, expr.span())))
            }
            _ => ControlFlow::Continue(()),
        }
    }
}
