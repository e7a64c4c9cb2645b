//! What a streaming query may not say: parts of the language that are not built yet, and things streams cannot do.

use std::ops::ControlFlow;

use eventflux_sqlparser::{EmitKind, InsertMode, Query, RelationSource, Statement, StatementKind, StreamRelation};
use sqlparser::ast::{
    Distinct, Expr, GroupByExpr, Query as SqlQuery, Select, SetExpr, SetOperator, SetQuantifier, Spanned, TableFactor,
    TableWithJoins, Visit, Visitor,
};

use super::over;
use super::text::Text;
use super::window_args::closes;
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
        | StatementKind::Query(_)
        | StatementKind::Explain(_) => return Ok(()),
        StatementKind::CreateTable(_) => "CREATE TABLE",
        StatementKind::CreateAggregation(_) => "CREATE AGGREGATION",
        StatementKind::Update(_) => "UPDATE",
        StatementKind::Delete(_) => "DELETE",
        StatementKind::Begin | StatementKind::Commit | StatementKind::Rollback => "transactions",
        _ => "this statement",
    };
    Err(text.at(unsupported(what), statement.span))
}

/// Refuses what cannot be run of a query, at its place. `reads_window`: one of its relations is a named window.
pub fn query(query: &Query, reads_window: bool, text: &Text) -> Result<(), Diagnostic> {
    if let Some(target) = &query.target {
        if target.inner {
            return Err(text.at(unsupported("'#' streams, which live in a PARTITION"), target.name.span));
        }
        if !matches!(target.mode, InsertMode::Insert) || target.on_conflict.is_some() {
            return Err(text.at(unsupported("changing tables"), target.span));
        }
    }
    for lifted in &query.relations {
        relation(lifted, text)?;
    }
    if let Some(emit) = &query.emit {
        let closes = query
            .relations
            .iter()
            .any(|relation| relation.window.as_ref().is_some_and(closes));
        match emit.kind {
            EmitKind::Final if !closes => {
                let error = Diagnostic::new(Code::Unstreamable, "EMIT FINAL needs a window that closes")
                    .hint("leave it out: without a window each event gives its row at once");
                return Err(text.at(error, emit.span));
            }
            EmitKind::Changes if closes => {
                let error = unsupported("EMIT CHANGES over a window that closes")
                    .hint("a sliding window, such as length or time, gives a row at each event");
                return Err(text.at(error, emit.span));
            }
            _ => {}
        }
    }
    let windowed = reads_window || query.relations.iter().any(|relation| relation.window.is_some());
    let order = if windowed { Order::Emissions } else { Order::None };
    sql_query(&query.body, order, text)?;
    let mut inside = Inside { text, order };
    match query.body.visit(&mut inside) {
        ControlFlow::Break(error) => Err(*error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

fn relation(relation: &StreamRelation, text: &Text) -> Result<(), Diagnostic> {
    let what = match &relation.source {
        _ if relation.unidirectional => "UNIDIRECTIONAL joins",
        RelationSource::Stream { fault: true, .. } => "fault streams ('!')",
        RelationSource::Stream { inner: true, .. } => "'#' streams, which live in a PARTITION",
        RelationSource::Stream { .. } => return Ok(()),
        RelationSource::Pattern(_) => return Ok(()),
        RelationSource::MatchRecognize { .. } => "MATCH_RECOGNIZE",
        RelationSource::WindowFind { .. } => "named windows",
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
    {
        let error = match &query.limit_clause {
            Some(_) => unsupported("ORDER BY … LIMIT, the continuous top-n"),
            None => Diagnostic::new(Code::Unstreamable, "a stream has no end, so it cannot be sorted")
                .hint("add LIMIT n for a continuous top-n, or a window that closes"),
        };
        return Err(text.at(error, order.span()));
    }
    set_expr(&query.body, order, text)
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
    if let [_, second, ..] = select.from.as_slice() {
        return Err(text.at(unsupported("joins"), second.span()));
    }
    for from in &select.from {
        table(from, order, text)?;
    }
    if let GroupByExpr::All(_) = &select.group_by {
        return Err(text.at(unsupported("GROUP BY ALL"), select.span()));
    }
    over::refuse_named(select, text)?;
    if !select.lateral_views.is_empty() || !select.connect_by.is_empty() {
        return Err(text.at(unsupported("this clause"), select.span()));
    }
    Ok(())
}

fn table(from: &TableWithJoins, order: Order, text: &Text) -> Result<(), Diagnostic> {
    if let Some(join) = from.joins.first() {
        return Err(text.at(unsupported("joins"), join.span()));
    }
    match &from.relation {
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
}

impl Visitor for Inside<'_> {
    type Break = Box<Diagnostic>;

    fn pre_visit_query(&mut self, query: &SqlQuery) -> ControlFlow<Self::Break> {
        match sql_query(query, self.order, self.text) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(Box::new(error)),
        }
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Self::Break> {
        let what = match expr {
            Expr::Function(function) if function.over.is_some() => {
                return match over::refuse_call(function, self.text) {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(error) => ControlFlow::Break(Box::new(error)),
                };
            }
            Expr::Convert { .. } => {
                let error = Diagnostic::new(Code::Type, "the second argument of convert is a text")
                    .hint("put the type in quotes: convert(x, 'int'); or write CAST(x AS INT)");
                return ControlFlow::Break(Box::new(self.text.at(error, expr.span())));
            }
            Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => "subqueries in expressions",
            _ => return ControlFlow::Continue(()),
        };
        ControlFlow::Break(Box::new(self.text.at(unsupported(what), expr.span())))
    }
}
