//! The SELECT over a pattern: `*` written out, results named, and what it reads of matches made columns of the pattern.

use std::ops::ControlFlow;

use eventflux_sqlparser::walk::WalkMut;
use sqlparser::ast::{
    Expr as SqlExpr, GroupByExpr, Ident, Query as SqlQuery, Select, SelectItem, SelectItemQualifiedWildcardKind,
    SetExpr, Spanned, TableFactor, VisitorMut,
};

use super::logical::name_items;
use super::partition::PARTITION_KEY;
use super::pattern::{Output, PatternSpec};
use super::pattern_names::{Names, Part};
use super::text::Text;
use crate::catalog::functions::Functions;
use crate::error::{Code, Diagnostic};
use crate::patterns::gather::Which;
use crate::patterns::shape::ElementId;

/// Rewrites every SELECT from the pattern; what they read.
pub fn rewrite(
    query: &mut SqlQuery,
    placeholder: &str,
    spec: &PatternSpec,
    functions: &Functions,
    text: &Text,
) -> Result<Vec<Output>, Diagnostic> {
    let mut names = Names::of_query(&spec.elements, functions, text);
    names.partition_by = &spec.partition_by;
    let mut selects = Selects {
        placeholder,
        spec,
        names,
        text,
    };
    match WalkMut::walk_mut(query, &mut selects) {
        ControlFlow::Break(error) => Err(*error),
        ControlFlow::Continue(()) => Ok(selects.names.references),
    }
}

struct Selects<'a> {
    placeholder: &'a str,
    spec: &'a PatternSpec,
    names: Names<'a>,
    text: &'a Text<'a>,
}

impl VisitorMut for Selects<'_> {
    type Break = Box<Diagnostic>;

    fn pre_visit_query(&mut self, query: &mut SqlQuery) -> ControlFlow<Self::Break> {
        match self.body(&mut query.body) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(Box::new(error)),
        }
    }
}

impl Selects<'_> {
    fn body(&mut self, body: &mut SetExpr) -> Result<(), Diagnostic> {
        match body {
            SetExpr::Select(select) if self.reads_pattern(select) => self.select(select),
            SetExpr::SetOperation { left, right, .. } => {
                self.body(left)?;
                self.body(right)
            }
            _ => Ok(()),
        }
    }

    fn reads_pattern(&self, select: &Select) -> bool {
        select.from.iter().any(|from| match &from.relation {
            TableFactor::Table { name, .. } => name.to_string().replace('"', "") == self.placeholder,
            _ => false,
        })
    }

    fn select(&mut self, select: &mut Select) -> Result<(), Diagnostic> {
        self.write_out(select)?;
        name_items(&mut select.projection, self.text);
        let results: Vec<String> = select
            .projection
            .iter()
            .filter_map(|item| match item {
                SelectItem::ExprWithAlias { alias, .. } => Some(alias.value.clone()),
                _ => None,
            })
            .collect();
        self.names.outputs = Vec::new();
        self.names.has_others = select.from.len() > 1 || select.from.iter().any(|from| !from.joins.is_empty());
        for from in &mut select.from {
            for join in &mut from.joins {
                if let ControlFlow::Break(error) = WalkMut::walk_mut(&mut join.join_operator, &mut self.names) {
                    return Err(*error);
                }
            }
        }
        for item in &mut select.projection {
            if let SelectItem::ExprWithAlias { expr, .. } | SelectItem::UnnamedExpr(expr) = item {
                self.expr(expr)?;
            }
        }
        if let Some(condition) = &mut select.selection {
            self.expr(condition)?;
        }
        if let GroupByExpr::Expressions(exprs, _) = &mut select.group_by {
            for expr in exprs {
                let is_result = matches!(expr, SqlExpr::Identifier(ident)
                    if results.contains(&ident.value) && self.elements_with(ident) != 1);
                if !is_result {
                    self.expr(expr)?;
                }
            }
        }
        if let Some(having) = &mut select.having {
            self.names.outputs = results;
            self.expr(having)?;
        }
        self.names.outputs = Vec::new();
        Ok(())
    }

    fn expr(&mut self, expr: &mut SqlExpr) -> Result<(), Diagnostic> {
        match WalkMut::walk_mut(expr, &mut self.names) {
            ControlFlow::Break(error) => Err(*error),
            ControlFlow::Continue(()) => Ok(()),
        }
    }

    /// How many elements have a column of that name.
    fn elements_with(&self, ident: &Ident) -> usize {
        let elements = self.spec.elements.iter().filter(|element| !element.absent);
        let having = elements.filter(|element| {
            let mut fields = element.schema.fields().iter();
            fields.any(|field| field.name().eq_ignore_ascii_case(&ident.value))
        });
        having.count()
    }

    /// `*` and `e1.*` as their columns.
    fn write_out(&mut self, select: &mut Select) -> Result<(), Diagnostic> {
        let items = std::mem::take(&mut select.projection);
        for item in items {
            let span = item.span();
            let elements: Vec<ElementId> = match &item {
                SelectItem::Wildcard(_) => (0..self.spec.elements.len()).collect(),
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                    let name = name.to_string().replace('"', "");
                    let mut elements = self.spec.elements.iter();
                    match elements.position(|element| element.name.eq_ignore_ascii_case(&name)) {
                        Some(element) => vec![element],
                        None => {
                            let message = format!("the pattern has no element '{name}'");
                            return Err(self.text.at(Diagnostic::new(Code::UnknownStream, message), span));
                        }
                    }
                }
                _ => {
                    select.projection.push(item);
                    continue;
                }
            };
            for id in elements {
                let element = &self.spec.elements[id];
                let fields = element
                    .schema
                    .fields()
                    .iter()
                    .filter(|field| field.name() != PARTITION_KEY);
                for field in fields.filter(|_| !element.absent) {
                    let which = match element.collects {
                        true => Which::All,
                        false => Which::Only,
                    };
                    let expr = self.names.value(id, which, Part::Column(field.name().clone()), span)?;
                    let alias = Ident {
                        value: format!("{}_{}", element.name, field.name()),
                        quote_style: Some('"'),
                        span,
                    };
                    select.projection.push(SelectItem::ExprWithAlias { expr, alias });
                }
            }
        }
        Ok(())
    }
}
