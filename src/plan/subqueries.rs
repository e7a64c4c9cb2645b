//! Windows and filters over subqueries: `FROM (SELECT …) AS q WINDOW(…)`, and over a query's own WITH.
//!
//! What stands there becomes a view of its own, which no one else can name, and the window reads that.

use std::ops::ControlFlow;

use eventflux_sqlparser::walk::WalkMut;
use eventflux_sqlparser::{CreateView, Query, RelationSource, relation_name};
use sqlparser::ast::{Cte, Ident, ObjectName, Query as SqlQuery, Spanned, TableAlias, TableFactor, VisitorMut, With};

use crate::catalog::names::{Resolved, resolve};

/// Puts views in the place of the subqueries that a query's windows and filters read. The views' names begin with `stem`.
pub fn lift(query: &mut Query, stem: &str) -> Vec<CreateView> {
    let mut views = Vec::new();
    for index in 0..query.relations.len() {
        let Some((alias, columns, body)) = subquery(query, index) else {
            continue;
        };
        let name = Ident::with_quote('"', format!("{}@{stem}.{index}", alias.value));
        let mut view = CreateView {
            query: Query {
                target: None,
                relations: Vec::new(),
                span: body.span(),
                body: Box::new(body),
                emit: None,
                output: None,
                sink: None,
            },
            name: name.clone(),
            columns,
            or_replace: false,
            span: query.relations[index].span,
        };
        take_relations(&mut view.query, query);
        views.extend(lift(&mut view.query, &name.value));
        views.push(view);
        let relation = &mut query.relations[index];
        relation.source = RelationSource::Stream {
            name,
            fault: false,
            inner: false,
        };
        if relation.alias.is_none() {
            relation.alias = Some(alias.clone());
            name_relation(&mut query.body, index, alias);
        }
    }
    views
}

/// The subquery that a relation reads: what it is called, its columns, and itself with the names of the WITH that it sees.
fn subquery(query: &Query, index: usize) -> Option<(Ident, Vec<Ident>, SqlQuery)> {
    let relation = &query.relations[index];
    let ctes: &[Cte] = query.body.with.as_ref().map_or(&[], |with| &with.cte_tables);
    match &relation.source {
        RelationSource::Subquery(body) => {
            let alias = relation.alias.clone().unwrap_or_else(|| Ident::new("subquery"));
            Some((alias, Vec::new(), with_ctes(body, ctes)))
        }
        RelationSource::Stream {
            name,
            fault: false,
            inner: false,
        } => {
            let names = ctes.iter().map(|cte| cte.alias.name.value.as_str());
            let Resolved::One(exact) = resolve(&name.value, names) else {
                return None;
            };
            let place = ctes.iter().position(|cte| cte.alias.name.value == exact)?;
            let alias = &ctes[place].alias;
            let columns = alias.columns.iter().map(|column| column.name.clone()).collect();
            let body = with_ctes(&ctes[place].query, &ctes[..place]);
            Some((alias.name.clone(), columns, body))
        }
        _ => None,
    }
}

/// A query that sees the names of a WITH around it.
pub(super) fn with_ctes(query: &SqlQuery, outer: &[Cte]) -> SqlQuery {
    let mut query = query.clone();
    if outer.is_empty() {
        return query;
    }
    match &mut query.with {
        Some(with) => {
            with.cte_tables.splice(0..0, outer.iter().cloned());
        }
        with => {
            *with = Some(With {
                with_token: sqlparser::ast::helpers::attached_token::AttachedToken::empty(),
                recursive: false,
                cte_tables: outer.to_vec(),
            });
        }
    }
    query
}

/// Gives a query the relations of another that it reads, numbered anew.
pub(super) fn take_relations(query: &mut Query, from: &Query) {
    struct Renumber<'a> {
        from: &'a Query,
        taken: Vec<usize>,
    }
    impl VisitorMut for Renumber<'_> {
        type Break = ();
        fn pre_visit_relation(&mut self, relation: &mut ObjectName) -> ControlFlow<()> {
            let mut numbers = 0..self.from.relations.len();
            if let Some(index) = numbers.find(|&index| relation.to_string() == relation_name(index)) {
                self.taken.push(index);
                *relation = ObjectName::from(vec![Ident::new(relation_name(self.taken.len() - 1))]);
            }
            ControlFlow::Continue(())
        }
    }
    let mut renumber = Renumber {
        from,
        taken: Vec::new(),
    };
    let _ = WalkMut::walk_mut(&mut *query.body, &mut renumber);
    let taken = renumber.taken.iter().map(|&index| from.relations[index].clone());
    query.relations = taken.collect();
}

/// Lets columns be qualified by the name that was written for a relation.
fn name_relation(body: &mut SqlQuery, index: usize, alias: Ident) {
    struct Name(String, Ident);
    impl VisitorMut for Name {
        type Break = ();
        fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
            if let TableFactor::Table { name, alias, .. } = factor
                && alias.is_none()
                && name.to_string() == self.0
            {
                *alias = Some(TableAlias {
                    explicit: true,
                    name: self.1.clone(),
                    columns: Vec::new(),
                    at: None,
                });
            }
            ControlFlow::Continue(())
        }
    }
    let _ = WalkMut::walk_mut(body, &mut Name(relation_name(index), alias));
}
