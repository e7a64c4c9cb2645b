//! Views: those of the app, and those that stand for parts of queries (a subquery under a window, MATCH_RECOGNIZE).

use std::sync::Arc;

use eventflux_sqlparser::{CreateView, Query};
use sqlparser::ast::Spanned;

use super::compile::{Compiler, ResolvedQuery};
use super::context::Source;
use super::logical::{Planner, count_columns, inferred_schema};
use super::partition::Scope;
use super::{failure, refuse, row_pattern_view, subqueries};
use crate::error::{Code, Diagnostic};

impl Compiler<'_> {
    /// Puts views in the place of what of a query is planned by itself. Their names begin with `stem`.
    pub(super) fn lift(
        &mut self,
        query: &mut Query,
        stem: &str,
        scope: Option<&Arc<Scope>>,
    ) -> Result<Vec<CreateView>, Diagnostic> {
        let mut views = Vec::new();
        for (mut view, matched) in row_pattern_view::lift(query, stem, scope, self.text)? {
            if let Some(scope) = scope {
                scope.localise(&mut view.query);
            }
            views.extend(subqueries::lift(&mut view.query, &view.name.value));
            self.row_patterns.insert(view.name.value.clone(), matched);
            views.push(view);
        }
        views.extend(subqueries::lift(query, stem));
        let other = views
            .iter()
            .find(|view| !self.row_patterns.contains_key(&view.name.value));
        if let (Some(_), Some(view)) = (scope, other) {
            let error = Diagnostic::new(
                Code::Unsupported,
                "not supported yet: a window over a subquery in a PARTITION",
            );
            let error = error.hint("send the subquery to a '#' stream first");
            return Err(self.text.at(error, view.span));
        }
        Ok(views)
    }

    /// Plans a view, and from there on knows it.
    pub(super) fn view(&mut self, view: &CreateView) -> Result<(), Diagnostic> {
        self.check_free(&view.name.value, view.name.span)?;
        refuse::query(
            &view.query,
            self.reads_window(&view.query),
            &self.reads_tables(),
            self.text,
        )?;
        let matched = self.row_patterns.get(&view.name.value).cloned();
        let scope = matched.as_ref().and_then(|matched| matched.scope.as_deref());
        let ResolvedQuery {
            query,
            windows,
            patterns,
        } = self.resolved(&view.query, scope)?;
        let scoped = scope.map(|scope| self.scoped_sources(scope, &query)).transpose()?;
        let planner = Planner {
            sources: scoped.as_ref().unwrap_or(&self.sources),
            functions: self.functions,
            windows: &windows,
            patterns: &patterns,
        };
        let plan = self.analyzed(&query, &planner)?;
        let fail = |error| failure::diagnose(&error, &query, &planner, self.text);
        let plan = match &matched {
            Some(matched) => self.matches(plan, &matched.clause)?,
            None => plan,
        };
        let plan = match view.columns.as_slice() {
            [] => plan,
            columns if columns.len() == plan.schema().fields().len() => {
                let renamed = plan.schema().columns().into_iter().zip(columns);
                let renamed = renamed.map(|(column, name)| datafusion_expr::Expr::Column(column).alias(&name.value));
                let renamed: Vec<_> = renamed.collect();
                datafusion_expr::LogicalPlanBuilder::from(plan)
                    .project(renamed)
                    .and_then(|plan| plan.build())
                    .map_err(fail)?
            }
            columns => {
                let message = format!(
                    "the view names {}, but its query has {}",
                    count_columns(columns.len()),
                    count_columns(plan.schema().fields().len())
                );
                return Err(self
                    .text
                    .at(Diagnostic::new(Code::TargetMismatch, message), columns[0].span));
            }
        };
        inferred_schema(&plan).map_err(|error| self.text.at(error, view.query.body.span()))?;
        self.known
            .insert(view.name.value.clone(), plan.schema().inner().clone());
        self.sources
            .insert(view.name.value.clone(), Arc::new(Source::view(plan)));
        Ok(())
    }
}
