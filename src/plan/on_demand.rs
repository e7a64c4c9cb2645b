//! On-demand queries: SELECT over tables as they are now, and statements that change them.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, RecordBatch, RecordBatchOptions};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion_common::DataFusionError;
use datafusion_common::tree_node::Transformed;
use datafusion_expr::{Expr, LogicalPlan, LogicalPlanBuilder, TableScan};
use eventflux_sqlparser::{Query, RelationSource, Statement, StatementKind, StreamRelation};

use super::compile::Compiled;
use super::compile_write::{Statement as TableStatement, Write, WritePlanner, as_excluded, events_query};
use super::context::Source;
use super::current_values;
use super::failure;
use super::logical::{Planner, check_output_names, name_columns, name_fields};
use super::lower_lookup::with_providers;
use super::lower_write::action;
use super::match_text;
use super::point_query::PointQuery;
use super::resolve;
use super::text::Text;
use crate::catalog::functions::Functions;
use crate::catalog::names::{Resolved, resolve as resolve_name};
use crate::error::{Code, Diagnostic, Error, SourceText};
use crate::event::{EventBatch, Micros, Times};
use crate::operators::table_write::TableWritePlan;
use crate::tables::slot::TableSlot;

/// An on-demand statement, ready to run.
pub enum OnDemand {
    /// Rows of a table by its key or an index.
    Point(PointQuery),
    /// Rows.
    Select(LogicalPlan),
    /// What rows do to a table.
    Change(Change),
}

/// What a statement does to a table.
pub struct Change {
    /// The plan of its rows.
    pub rows: LogicalPlan,
    write: TableWritePlan,
}

impl Change {
    /// Does it, whole or not at all.
    pub fn apply(&self, schema: &SchemaRef, rows: &[RecordBatch], now: Micros) -> Result<(), Error> {
        let rows = concat_batches(schema, rows)?;
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let schema = self.write.rows_schema().unwrap_or_else(|| rows.schema());
        let mut columns = schema.fields().iter().zip(rows.columns());
        if let Some((field, _)) = columns.find(|(field, column)| !field.is_nullable() && column.null_count() > 0) {
            let message = format!("column {} is NOT NULL but a row has NULL there", field.name());
            return Err(Error::failed(message));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        let rows = RecordBatch::try_new_with_options(schema, rows.columns().to_vec(), &options)?;
        self.write.apply(&EventBatch::inserts(rows, Times::Same(now)))
    }
}

/// The content of a named window now, by its name.
pub type WindowContent<'a> = &'a dyn Fn(&str) -> crate::error::Result<Vec<RecordBatch>>;

/// Compiles one statement against an app's tables and named windows. Errors point into `source`, which is the statement.
pub fn on_demand(
    source: &SourceText,
    compiled: &Compiled,
    functions: &Functions,
    content: WindowContent,
) -> Result<OnDemand, Diagnostic> {
    let text = Text::new(source);
    let statements = eventflux_sqlparser::parse(&source.text).map_err(|error| text.parse_error(error))?;
    let [statement] = statements.as_slice() else {
        let error = Diagnostic::new(
            Code::Syntax,
            format!("an on-demand query is one statement, not {}", statements.len()),
        );
        return Err(text.finish(error));
    };
    let compiler = OnDemandCompiler::new(compiled, functions, content, &text);
    compiler.statement(statement)
}

pub(super) struct OnDemandCompiler<'a> {
    pub(super) tables: &'a [Arc<TableSlot>],
    pub(super) functions: &'a Functions,
    pub(super) content: WindowContent<'a>,
    pub(super) text: &'a Text<'a>,
    pub(super) sources: HashMap<String, Arc<Source>>,
    pub(super) known: resolve::Known,
    pub(super) streams: Vec<&'a str>,
}

impl<'a> OnDemandCompiler<'a> {
    fn new(compiled: &'a Compiled, functions: &'a Functions, content: WindowContent<'a>, text: &'a Text<'a>) -> Self {
        let mut sources = HashMap::new();
        let mut known = resolve::Known::new();
        for slot in compiled.tables() {
            known.insert(slot.def().name.clone(), slot.def().schema.clone());
            sources.insert(slot.def().name.clone(), Arc::new(Source::table(slot.clone())));
        }
        let (windows, streams): (Vec<_>, Vec<_>) =
            compiled.streams().iter().partition(|stream| stream.window.is_some());
        for window in windows {
            known.insert(window.name.clone(), window.schema.clone());
            let source = Source::stream(&window.name, window.schema.clone());
            sources.insert(window.name.clone(), Arc::new(source));
        }
        OnDemandCompiler {
            tables: compiled.tables(),
            functions,
            content,
            text,
            sources,
            known,
            streams: streams.into_iter().map(|stream| stream.name.as_str()).collect(),
        }
    }

    fn planner(&self) -> Planner<'_> {
        Planner::new(&self.sources, self.functions)
    }

    fn statement(&self, statement: &Statement) -> Result<OnDemand, Diagnostic> {
        match &statement.kind {
            StatementKind::Query(query) => match &query.target {
                None => {
                    let (plan, _) = self.rows(query)?;
                    match PointQuery::of(&plan) {
                        Some(point) => Ok(OnDemand::Point(point)),
                        None => Ok(OnDemand::Select(self.executable(plan)?)),
                    }
                }
                Some(_) => self.insert(query),
            },
            StatementKind::Update(update) => {
                self.change(TableStatement::update(update), &update.from, &update.relations)
            }
            StatementKind::Delete(delete) => {
                self.change(TableStatement::delete(delete), &delete.using, &delete.relations)
            }
            _ => {
                let error = Diagnostic::new(
                    Code::Unstreamable,
                    "on demand there are SELECT, INSERT, UPSERT, UPDATE and DELETE",
                );
                Err(self.text.at(error, statement.span))
            }
        }
    }

    /// The plan of a query's rows, and the query with its names resolved.
    pub(super) fn rows(&self, query: &Query) -> Result<(LogicalPlan, Query), Diagnostic> {
        let mut query = query.clone();
        query.relations.iter_mut().for_each(find_as_filter);
        self.check(&query)?;
        name_columns(&mut query, self.functions, self.text);
        resolve::resolve_query(
            &mut query.body,
            &mut query.relations,
            &self.known,
            self.functions,
            self.text,
        )?;
        name_fields(&mut query);
        match_text::rewrite(&mut query, self.text)?;
        check_output_names(&query).map_err(|(error, span)| self.text.at(error, span))?;
        current_values::wrap_batch_query(&mut query.body, self.functions);
        let windows = vec![None; query.relations.len()];
        let planner = Planner {
            windows: &windows,
            ..self.planner()
        };
        let plan = planner
            .plan(&query.body, &query.relations)
            .and_then(|plan| planner.analyze(plan));
        let plan = plan.map_err(|error| failure::diagnose(&error, &query, &planner, self.text))?;
        Ok((plan, query))
    }

    /// Refuses what is for streams.
    fn check(&self, query: &Query) -> Result<(), Diagnostic> {
        for relation in &query.relations {
            let plain = matches!(
                relation.source,
                RelationSource::Stream {
                    fault: false,
                    inner: false,
                    ..
                }
            );
            if !plain || relation.window.is_some() || relation.unidirectional {
                let error = Diagnostic::new(
                    Code::Unstreamable,
                    "an on-demand query reads tables and named windows as they are",
                );
                return Err(self.text.at(
                    error.hint("windows, patterns and joins of streams are for queries of the app"),
                    relation.span,
                ));
            }
        }
        if let Some(span) = query
            .output
            .as_ref()
            .map(|output| output.span)
            .or(query.emit.map(|emit| emit.span))
        {
            let error = Diagnostic::new(Code::Unstreamable, "an on-demand query gives its rows at once");
            return Err(self.text.at(error.hint("leave the clause out"), span));
        }
        for name in resolve::tables(&query.body, &query.relations) {
            let known = resolve_name(&name.value, self.known.keys().map(String::as_str));
            let stream = resolve_name(&name.value, self.streams.iter().copied());
            if known == Resolved::None && stream != Resolved::None {
                let message = format!("'{}' is a stream: its events have gone by", name.value);
                let error = Diagnostic::new(Code::Unstreamable, message);
                let hint = "on demand there are tables and named windows: keep what you want to ask in one";
                return Err(self.text.at(error.hint(hint), name.span));
            }
        }
        Ok(())
    }

    /// A plan whose scans read the tables, and the windows as they are now.
    fn executable(&self, plan: LogicalPlan) -> Result<LogicalPlan, Diagnostic> {
        let plan = with_providers(plan)?;
        let replaced = plan.transform_up_with_subqueries(|node| {
            let LogicalPlan::TableScan(scan) = node else {
                return Ok(Transformed::no(node));
            };
            let source = Source::of(&scan);
            let Some(source) = source else {
                return Ok(Transformed::no(LogicalPlan::TableScan(scan)));
            };
            let batches = (self.content)(&source.stream).map_err(|error| DataFusionError::External(Box::new(error)))?;
            let schema = self
                .known
                .get(&source.stream)
                .cloned()
                .unwrap_or_else(|| scan.source.schema());
            let provider = MemTable::try_new(schema, vec![batches])?;
            let source = provider_as_source(Arc::new(provider));
            Ok(Transformed::yes(LogicalPlan::TableScan(TableScan { source, ..scan })))
        });
        Ok(replaced.map_err(super::physical::internal)?.data)
    }

    fn insert(&self, query: &Query) -> Result<OnDemand, Diagnostic> {
        let (plan, query) = self.rows(query)?;
        let Some(target) = &query.target else {
            return Ok(OnDemand::Select(self.executable(plan)?));
        };
        let table = self.table(&target.name)?;
        let planner = self.planner();
        let columns = target.columns.iter().map(|column| column.value.as_str());
        let plan = fitted_values(plan, &columns.collect::<Vec<_>>(), &table.def().schema);
        let writer = self.writer(&planner, table, &query);
        let (plan, write) = writer.insert(plan, target)?;
        let plan = as_excluded(plan).map_err(|error| failure::diagnose(&error, &query, &planner, self.text))?;
        self.changed(plan, &write)
    }

    fn change(
        &self,
        statement: TableStatement,
        from: &[sqlparser::ast::TableWithJoins],
        relations: &[StreamRelation],
    ) -> Result<OnDemand, Diagnostic> {
        let table = self.table(&statement.table)?;
        let query = events_query(from, relations, statement.span);
        let internal = || Diagnostic::new(Code::Syntax, "the statement cannot be planned");
        let query = query.ok_or_else(internal)?;
        let (plan, query) = match from.is_empty() {
            // One row without columns: the statement is done once.
            true => (
                LogicalPlanBuilder::empty(true)
                    .build()
                    .map_err(super::physical::internal)?,
                query,
            ),
            false => self.rows(&query)?,
        };
        let planner = self.planner();
        let writer = self.writer(&planner, table, &query);
        let write = writer.statement(&plan, &statement)?;
        self.changed(plan, &write)
    }

    fn changed(&self, plan: LogicalPlan, write: &Write) -> Result<OnDemand, Diagnostic> {
        let write = TableWritePlan {
            table: write.table.clone(),
            action: action(&plan, write)?,
        };
        // The names by which conditions know the columns are those of the plan; the rows come without.
        let columns: Vec<Expr> = plan.schema().columns().into_iter().map(Expr::Column).collect();
        let columns = columns
            .into_iter()
            .enumerate()
            .map(|(number, column)| column.alias(format!("c{number}")));
        let plan = match plan.schema().fields().is_empty() {
            true => plan,
            false => LogicalPlanBuilder::from(plan)
                .project(columns)
                .and_then(|plan| plan.build())
                .map_err(super::physical::internal)?,
        };
        Ok(OnDemand::Change(Change {
            rows: self.executable(plan)?,
            write,
        }))
    }

    fn writer<'w>(&'w self, planner: &'w Planner<'w>, table: Arc<TableSlot>, query: &'w Query) -> WritePlanner<'w> {
        WritePlanner {
            planner,
            table,
            text: self.text,
            query,
        }
    }

    fn table(&self, name: &sqlparser::ast::Ident) -> Result<Arc<TableSlot>, Diagnostic> {
        let names = self.tables.iter().map(|table| table.def().name.as_str());
        let found = match resolve_name(&name.value, names) {
            Resolved::One(exact) => self.tables.iter().find(|table| table.def().name == exact).cloned(),
            _ => None,
        };
        found.ok_or_else(|| {
            let stream = resolve_name(&name.value, self.streams.iter().copied()) != Resolved::None;
            let message = match stream {
                true => format!("'{}' is a stream: on demand only tables are changed", name.value),
                false => format!("there is no table '{}'", name.value),
            };
            self.text.at(Diagnostic::new(Code::UnknownStream, message), name.span)
        })
    }
}

/// `W.find(condition)` is W where the condition holds.
fn find_as_filter(relation: &mut StreamRelation) {
    if let RelationSource::WindowFind { name, condition } = &relation.source {
        let (name, condition) = (name.clone(), condition.clone());
        relation.filter = Some(condition);
        relation.source = RelationSource::Stream {
            name,
            fault: false,
            inner: false,
        };
    }
}

/// VALUES whose literals take the types of the columns they are for, where all of a column fit.
fn fitted_values(plan: LogicalPlan, columns: &[&str], schema: &Schema) -> LogicalPlan {
    let LogicalPlan::Values(values) = &plan else {
        return plan;
    };
    let field = |position: usize| match columns.get(position) {
        None if columns.is_empty() => schema.fields().get(position),
        None => None,
        Some(name) => schema
            .fields()
            .iter()
            .find(|field| field.name().eq_ignore_ascii_case(name)),
    };
    let mut rows = values.values.clone();
    for position in 0..values.schema.fields().len() {
        let Some(field) = field(position) else {
            continue;
        };
        let fit = |row: &Vec<Expr>| fitted(row.get(position)?, field.data_type());
        if let Some(fitting) = rows.iter().map(fit).collect::<Option<Vec<_>>>() {
            rows.iter_mut()
                .zip(fitting)
                .for_each(|(row, value)| row[position] = value);
        }
    }
    LogicalPlanBuilder::values(rows)
        .and_then(|plan| plan.build())
        .unwrap_or(plan)
}

/// A literal as one of another type, if it is the same number or the same text. Signs may stand before numbers.
fn fitted(value: &Expr, to: &DataType) -> Option<Expr> {
    let literal = match value {
        Expr::Literal(literal, _) => literal.clone(),
        Expr::Negative(inner) => match inner.as_ref() {
            Expr::Literal(literal, _) => literal.arithmetic_negate().ok()?,
            _ => return None,
        },
        Expr::Cast(cast) => match cast.expr.as_ref() {
            Expr::Literal(literal, _) => literal.clone(),
            _ => return None,
        },
        _ => return None,
    };
    let from = literal.data_type();
    let is_text = |data_type: &DataType| matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    let alike = from.is_null() || from.is_numeric() && to.is_numeric() || is_text(&from) && is_text(to);
    let cast = literal.cast_to(to).ok().filter(|_| alike)?;
    let same = literal.is_null() || to.is_floating() || cast.cast_to(&from).ok()? == literal;
    same.then(|| Expr::Literal(cast, None))
}
