//! The compiler's part for statements that change tables.

use std::sync::Arc;

use datafusion_expr::LogicalPlan;
use eventflux_sqlparser::{Query, StreamRelation};
use sqlparser::ast::TableWithJoins;

use super::compile::{CompiledQuery, Compiler, Pending, emits_changes, output_events};
use super::compile_write::{Statement as TableStatement, WritePlanner, as_excluded, events_query};
use super::logical::Planner;
use super::lower_rate::Rate;
use super::partition::{Scope, without_partition};
use super::{failure, refuse, resolve};
use crate::catalog::names::{Resolved, resolve as resolve_name};
use crate::config::nearest::nearest;
use crate::error::{Code, Diagnostic};
use crate::tables::slot::TableSlot;

impl Compiler<'_> {
    /// An UPDATE or DELETE, as the query of the events that set it going.
    pub(super) fn add_statement(
        &mut self,
        pending: &mut Vec<Pending>,
        statement: TableStatement,
        from: &[TableWithJoins],
        relations: &[StreamRelation],
        number: usize,
        scope: Option<Arc<Scope>>,
    ) -> Result<(), Diagnostic> {
        let query = events_query(from, relations, statement.span).filter(|_| !from.is_empty());
        let Some(mut query) = query else {
            let error = Diagnostic::new(Code::Unstreamable, "nothing sets this statement going");
            let hint =
                "name the stream whose events do it: UPDATE T SET … FROM S WHERE …, DELETE FROM T USING S WHERE …";
            return Err(self.text.at(error.hint(hint), statement.span));
        };
        let name = format!("{}#{number}", statement.table.value);
        let views = self.lift(&mut query, &name, scope.as_ref())?;
        refuse::query(&query, self.reads_window(&query), &self.reads_tables(), self.text)?;
        pending.push(Pending {
            views,
            name,
            query,
            explain: false,
            scope,
            statement: Some(statement),
        });
        Ok(())
    }

    /// Tells whether a query reads nothing but tables.
    pub(super) fn reads_tables(&self) -> impl Fn(&sqlparser::ast::Query) -> bool + use<> {
        let tables: Vec<String> = self.tables.iter().map(|table| table.def().name.clone()).collect();
        move |query| {
            let read = resolve::tables(query, &[]);
            !read.is_empty()
                && read
                    .iter()
                    .all(|name| resolve_name(&name.value, tables.iter().map(String::as_str)) != Resolved::None)
        }
    }

    /// The table of that name.
    pub(super) fn table_named(&self, name: &str) -> Option<Arc<TableSlot>> {
        let names = self.tables.iter().map(|table| table.def().name.as_str());
        match resolve_name(name, names) {
            Resolved::One(exact) => self.tables.iter().find(|table| table.def().name == exact).cloned(),
            _ => None,
        }
    }

    /// A query whose events change a table.
    pub(super) fn write(
        &self,
        pending: &Pending,
        query: &Query,
        planner: &Planner,
        plan: LogicalPlan,
        table: Option<Arc<TableSlot>>,
    ) -> Result<CompiledQuery, Diagnostic> {
        let fail = |error| failure::diagnose(&error, query, planner, self.text);
        if let Some(sink) = &query.sink {
            let error = Diagnostic::new(Code::Unstreamable, "a table has no sink");
            return Err(self.text.at(error, sink.span));
        }
        let table = match (table, &pending.statement) {
            (Some(table), _) => table,
            (None, Some(statement)) => self.table_of(statement)?,
            (None, None) => return Err(Diagnostic::new(Code::UnknownStream, "there is no table to change")),
        };
        let plan = match pending.scope {
            Some(_) => without_partition(plan).map_err(fail)?,
            None => plan,
        };
        let writer = WritePlanner {
            planner,
            table: table.clone(),
            text: self.text,
            query,
        };
        let (plan, write) = match (&query.target, &pending.statement) {
            (Some(target), _) => {
                let (plan, write) = writer.insert(plan, target)?;
                (as_excluded(plan).map_err(fail)?, write)
            }
            (None, Some(statement)) => {
                let write = writer.statement(&plan, statement)?;
                (plan, write)
            }
            (None, None) => return Err(Diagnostic::new(Code::UnknownStream, "there is no table to change")),
        };
        let plan = planner
            .analyze(plan)
            .and_then(|plan| planner.optimize(plan))
            .map_err(fail)?;
        Ok(CompiledQuery {
            partition: pending.scope.clone(),
            name: pending.name.clone(),
            target: table.def().name.clone(),
            plan,
            span: query.span,
            bare: false,
            output: output_events(query),
            changes: emits_changes(query),
            rate: Rate::of(query, self.text)?,
            write: Some(write),
        })
    }

    /// The table of an UPDATE or DELETE.
    pub(super) fn table_of(&self, statement: &TableStatement) -> Result<Arc<TableSlot>, Diagnostic> {
        let name = &statement.table;
        self.table_named(&name.value).ok_or_else(|| {
            let error = match self.known.keys().any(|known| known.eq_ignore_ascii_case(&name.value)) {
                true => Diagnostic::new(
                    Code::Unstreamable,
                    format!("'{}' is a stream: only tables are changed", name.value),
                ),
                false => Diagnostic::new(Code::UnknownStream, format!("there is no table '{}'", name.value)),
            };
            let names = self.tables.iter().map(|table| table.def().name.as_str());
            let error = match nearest(&name.value, names) {
                Some(near) => error.hint(format!("did you mean '{near}'?")),
                None => error.hint("declare it with CREATE TABLE"),
            };
            self.text.at(error, name.span)
        })
    }
}
