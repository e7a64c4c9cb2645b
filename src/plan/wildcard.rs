//! `SELECT *` where it must not mean every column: what the engine adds to rows, such as a window's bounds, stays out.

use std::ops::ControlFlow;

use eventflux_sqlparser::walk::WalkMut;
use eventflux_sqlparser::{Query, RelationSource, relation_name};
use sqlparser::ast::{Expr, Ident, Query as SqlQuery, Select, SelectItem, SetExpr, Spanned, TableFactor, VisitorMut};

use super::current_values::aggregates;
use super::partition::PARTITION_KEY;
use super::resolve::Known;
use crate::catalog::functions::Functions;

/// Writes out the columns of `*` in SELECTs from one windowed or partitioned stream, and in those that aggregate.
pub fn expand(query: &mut Query, partitioned: bool, known: &Known, functions: &Functions) {
    let streams: Vec<(String, String, bool)> = query
        .relations
        .iter()
        .enumerate()
        .filter_map(|(index, relation)| match &relation.source {
            RelationSource::Stream { name, .. } => Some((
                relation_name(index),
                name.value.clone(),
                relation.window.is_some() || partitioned,
            )),
            _ => None,
        })
        .collect();
    let mut expander = Expander {
        partitioned,
        streams,
        known,
        functions,
    };
    let _ = WalkMut::walk_mut(&mut *query.body, &mut expander);
}

struct Expander<'a> {
    /// Whether rows carry the key of a PARTITION.
    partitioned: bool,
    /// Placeholder, stream, and whether it has a window.
    streams: Vec<(String, String, bool)>,
    known: &'a Known,
    functions: &'a Functions,
}

impl VisitorMut for Expander<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut SqlQuery) -> ControlFlow<()> {
        self.body(&mut query.body);
        ControlFlow::Continue(())
    }
}

impl Expander<'_> {
    fn body(&self, body: &mut SetExpr) {
        match body {
            SetExpr::Select(select) => self.select(select),
            SetExpr::SetOperation { left, right, .. } => {
                self.body(left);
                self.body(right);
            }
            _ => {}
        }
    }

    fn select(&self, select: &mut Select) {
        let [from] = select.from.as_slice() else {
            return;
        };
        let TableFactor::Table { name, .. } = &from.relation else {
            return;
        };
        let name = name.to_string().replace('"', "");
        let lifted = self.streams.iter().find(|(placeholder, ..)| *placeholder == name);
        let (stream, windowed) = lifted.map_or((name.as_str(), self.partitioned), |(_, stream, windowed)| {
            (stream, *windowed)
        });
        let Some(schema) = self.known.get(stream).filter(|_| from.joins.is_empty()) else {
            return;
        };
        if !windowed && !aggregates(select, self.functions) {
            return;
        }
        let items = std::mem::take(&mut select.projection);
        select.projection = items
            .into_iter()
            .flat_map(|item| match &item {
                SelectItem::Wildcard(options) if options.opt_exclude.is_none() && options.opt_except.is_none() => {
                    let span = item.span();
                    let column = |name: &String| {
                        let mut ident = Ident::with_quote('"', name);
                        ident.span = span;
                        SelectItem::UnnamedExpr(Expr::Identifier(ident))
                    };
                    let names = schema.fields().iter().map(|field| field.name());
                    names.filter(|name| *name != PARTITION_KEY).map(column).collect()
                }
                _ => vec![item],
            })
            .collect();
    }
}
