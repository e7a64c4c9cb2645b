//! `FROM X MATCH_RECOGNIZE (…)` as a view: `SELECT * FROM X`, and the matches of its rows.
//!
//! The view has a name that no one else can name, and takes the relation's place, so that the query around it is any query.

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion_expr::{Extension, LogicalPlan};
use eventflux_sqlparser::{
    CreateView, MatchRecognize, Query, RelationSource, StatementKind, StreamRelation, relation_name,
};
use sqlparser::ast::{Cte, Ident, ObjectName, Query as SqlQuery, SetExpr, TableAlias, TableFactor, visit_relations};

use super::compile::Compiler;
use super::partition::Scope;
use super::row_pattern::RowPatternSpec;
use super::row_pattern_node::RowPatternNode;
use super::subqueries::{take_relations, with_ctes};
use super::text::Text;
use crate::error::{Code, Diagnostic};

/// What makes a view one of matches.
#[derive(Clone)]
pub struct RowPatternView {
    /// What is looked for.
    pub clause: MatchRecognize,
    /// The PARTITION that it stands in.
    pub scope: Option<Arc<Scope>>,
}

/// Puts views in the place of the relations of a query that match; their names begin with what the relation is called and `stem`.
pub fn lift(
    query: &mut Query,
    stem: &str,
    scope: Option<&Arc<Scope>>,
    text: &Text,
) -> Result<Vec<(CreateView, RowPatternView)>, Diagnostic> {
    let mut views = Vec::new();
    for index in 0..query.relations.len() {
        let RelationSource::MatchRecognize { input, clause } = query.relations[index].source.clone() else {
            continue;
        };
        refuse(&query.relations[index], text)?;
        let called = query.relations[index]
            .alias
            .as_ref()
            .map_or("match", |alias| alias.value.as_str());
        // What begins with '#' carries the key of its PARTITION.
        let block = if scope.is_some() { "#" } else { "" };
        let name = Ident::with_quote('"', format!("{block}{called}@{stem}.m{index}"));
        let mut inner = input_query(query, index, *input, &clause, text)?;
        views.extend(lift(&mut inner, &name.value, scope, text)?);
        let view = CreateView {
            query: inner,
            name: name.clone(),
            columns: Vec::new(),
            or_replace: false,
            span: query.relations[index].span,
        };
        let of_rows = RowPatternView {
            clause: *clause,
            scope: scope.cloned(),
        };
        views.push((view, of_rows));
        let relation = &mut query.relations[index];
        relation.filter = None;
        relation.source = RelationSource::Stream {
            name,
            fault: false,
            inner: false,
        };
    }
    Ok(views)
}

fn refuse(relation: &StreamRelation, text: &Text) -> Result<(), Diagnostic> {
    if relation.window.is_none() && relation.time_column.is_none() && !relation.unidirectional {
        return Ok(());
    }
    let error = Diagnostic::new(
        Code::Unstreamable,
        "a relation has a window or MATCH_RECOGNIZE, not both",
    );
    let hint = "put one of them into a subquery: FROM (SELECT … FROM S MATCH_RECOGNIZE (…)) AS m WINDOW(…)";
    Err(text.at(error.hint(hint), relation.span))
}

/// `SELECT * FROM` the input of a relation.
fn input_query(
    query: &Query,
    index: usize,
    input: RelationSource,
    clause: &MatchRecognize,
    text: &Text,
) -> Result<Query, Diagnostic> {
    let mut outer = query.clone();
    let filter = outer.relations[index].filter.take();
    let mut body = select_all(index, clause, text)?;
    let alias = |name: Ident| TableAlias {
        explicit: true,
        name,
        columns: Vec::new(),
        at: None,
    };
    if let SetExpr::Select(select) = body.body.as_mut()
        && let Some(from) = select.from.first_mut()
    {
        match input {
            RelationSource::Subquery(inner) => {
                select.selection = filter;
                let name = clause.input_alias.clone().unwrap_or_else(|| Ident::new("input"));
                from.relation = TableFactor::Derived {
                    lateral: false,
                    subquery: inner,
                    alias: Some(alias(name)),
                    sample: None,
                };
            }
            RelationSource::Stream {
                name,
                fault: false,
                inner: false,
            } if filter.is_none() => {
                if let TableFactor::Table {
                    name: table,
                    alias: called,
                    ..
                } = &mut from.relation
                {
                    *table = ObjectName::from(vec![name]);
                    *called = clause.input_alias.clone().map(alias);
                }
            }
            source @ RelationSource::Stream { .. } => {
                let name = match &source {
                    RelationSource::Stream { name, .. } => name.clone(),
                    _ => Ident::new("input"),
                };
                if let TableFactor::Table { alias: called, .. } = &mut from.relation {
                    *called = Some(alias(clause.input_alias.clone().unwrap_or(name)));
                }
                outer.relations[index] = StreamRelation {
                    source,
                    filter,
                    alias: clause.input_alias.clone(),
                    ..outer.relations[index].clone()
                };
            }
            _ => {
                let error = Diagnostic::new(Code::Unsupported, "MATCH_RECOGNIZE is over a stream or a subquery");
                return Err(text.at(error, clause.span));
            }
        }
    }
    let mut inner = Query {
        target: None,
        relations: Vec::new(),
        span: query.relations[index].span,
        body: Box::new(with_ctes(&body, ctes_before(query, index))),
        emit: None,
        output: None,
        sink: None,
    };
    take_relations(&mut inner, &outer);
    Ok(inner)
}

/// `SELECT * FROM __relation_<index>`.
fn select_all(index: usize, clause: &MatchRecognize, text: &Text) -> Result<SqlQuery, Diagnostic> {
    let statements = eventflux_sqlparser::parse(&format!("SELECT * FROM {}", relation_name(index)));
    let query = statements.ok().and_then(|statements| statements.into_iter().next());
    match query.map(|statement| statement.kind) {
        Some(StatementKind::Query(query)) => Ok(*query.body),
        _ => {
            let error = Diagnostic::new(Code::Unsupported, "MATCH_RECOGNIZE is over a stream or a subquery");
            Err(text.at(error, clause.span))
        }
    }
}

/// The names of a WITH that a relation sees: those before the one that it stands in.
fn ctes_before<'q>(query: &'q Query, index: usize) -> &'q [Cte] {
    let ctes: &[Cte] = query.body.with.as_ref().map_or(&[], |with| &with.cte_tables);
    let name = relation_name(index);
    let own = ctes.iter().position(|cte| {
        let reads = |relation: &ObjectName| match relation.to_string() == name {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        };
        visit_relations(&cte.query, reads).is_break()
    });
    &ctes[..own.unwrap_or(ctes.len())]
}

impl Compiler<'_> {
    /// The matches of a view's rows.
    pub(super) fn matches(&self, plan: LogicalPlan, clause: &MatchRecognize) -> Result<LogicalPlan, Diagnostic> {
        let input: SchemaRef = Arc::new(plan.schema().as_arrow().clone());
        for (place, field) in input.fields().iter().enumerate() {
            if input.fields()[..place].iter().any(|other| other.name() == field.name()) {
                let message = format!("MATCH_RECOGNIZE has two columns called '{}' to match", field.name());
                let error = Diagnostic::new(Code::Duplicate, message).hint("give one of them another name with AS");
                return Err(self.text.at(error, clause.span));
            }
        }
        let spec = RowPatternSpec::new(clause, &input, self.functions, self.text)?;
        let node = RowPatternNode::new(plan, Arc::new(spec));
        let node = node.map_err(|error| {
            self.text
                .at(Diagnostic::new(Code::Duplicate, error.strip_backtrace()), clause.span)
        })?;
        Ok(LogicalPlan::Extension(Extension { node: Arc::new(node) }))
    }
}
