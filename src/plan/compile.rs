//! The compiler: from an app's text to its stream plan.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion_expr::LogicalPlan;
use eventflux_sqlparser::{
    CreateView, CreateWindow, EmitKind, OutputEvents, Query, RelationSource, Statement, StatementKind, StreamRelation,
};
use sqlparser::ast::Spanned;

use super::carry_key::carry_key;
use super::compile_write::{Statement as TableStatement, Write};
use super::context::Source;
use super::define::Definer;
use super::fault_streams::name_all;
use super::logical::{
    Planner, check_output_names, fit_target, inferred_schema, name_columns, name_fields, output_spans,
};
use super::lower_rate::Rate;
use super::lower_top_n::closes;
use super::partition::{Scope, with_key, without_key};
use super::pattern::{PatternSpec, resolve_patterns};
use super::row_pattern_view::RowPatternView;
use super::scoped::CompiledPartition;
use super::state_ids::ID;
use super::text::Text;
use super::window_args::{table_function_time, window_kind};
use super::{
    current_values, failure, match_text, misplaced, over, pattern_options, refuse, resolve, session_keys,
    sql_functions, state_ids, wildcard,
};
use crate::catalog::faults::{self, fault_of};
use crate::catalog::functions::Functions;
use crate::catalog::names::{Resolved, resolve as resolve_name};
use crate::catalog::streams::{LatePolicy, Role, StreamDef};
use crate::catalog::windows::WindowKind;
use crate::config::layers::Layers;
use crate::connectors::Registry;
use crate::error::{Code, Diagnostic, SourceText};
use crate::operators::output_events::{OutputEventsPlan, OutputForm};
use crate::patterns::bounds::Bound;
use crate::tables::registry::Backends;
use crate::tables::slot::TableSlot;

/// What an app is compiled with.
pub struct Environment<'a> {
    /// Connectors and formats.
    pub registry: &'a Registry,
    /// What may keep tables.
    pub backends: &'a Backends,
    /// Functions.
    pub functions: &'a Functions,
    /// Environment variables for `${…}`.
    pub variables: &'a dyn Fn(&str) -> Option<String>,
    /// Options of streams from outside the app.
    pub layers: &'a Layers,
    /// Whether what options name outside (files) must be there: not when nothing will be connected.
    pub outside: Outside,
}

/// Whether the app will meet what its options name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outside {
    /// It will: what is missing is an error.
    Connected,
    /// Only the API feeds and reads it.
    Disconnected,
}

/// A checked app: its streams, and a logical plan for each of its queries.
pub struct Compiled {
    pub(super) source: SourceText,
    pub(super) streams: Vec<Arc<StreamDef>>,
    pub(super) tables: Vec<Arc<TableSlot>>,
    pub(super) queries: Vec<CompiledQuery>,
    /// The numbers of the queries that EXPLAIN stands before: they are printed, not run.
    pub(super) explained: BTreeSet<String>,
    /// By their numbers.
    pub(super) partitions: BTreeMap<usize, CompiledPartition>,
    /// What the app's author should know of its options.
    pub(super) warnings: Vec<Diagnostic>,
}

/// A query with its plan.
pub(super) struct CompiledQuery {
    pub(super) name: String,
    pub(super) target: String,
    pub(super) plan: LogicalPlan,
    pub(super) span: sqlparser::tokenizer::Span,
    pub(super) bare: bool,
    pub(super) output: OutputEventsPlan,
    pub(super) rate: Option<Rate>,
    /// Whether batch windows give running rows: EMIT CHANGES.
    pub(super) changes: bool,
    /// The PARTITION it stands in.
    pub(super) partition: Option<Arc<Scope>>,
    /// What its events do to a table, which then is its target.
    pub(super) write: Option<Write>,
}

/// Which columns of source streams are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Columns<'a> {
    /// All.
    All,
    /// Those that queries read; all of the streams named.
    ReadOr(&'a BTreeSet<String>),
}

impl Compiled {
    /// The names of the streams that queries without a target feed.
    pub fn bare_queries(&self) -> impl Iterator<Item = &str> {
        let bare = self
            .queries
            .iter()
            .filter(|query| query.bare && !self.explained.contains(&query.name));
        bare.map(|query| query.target.as_str())
    }

    /// The names of the queries that run.
    pub fn queries(&self) -> impl Iterator<Item = &str> {
        self.queries
            .iter()
            .map(|query| query.name.as_str())
            .filter(|name| !self.explained.contains(*name))
    }

    /// The names of the queries that EXPLAIN stands before.
    pub fn explained(&self) -> impl Iterator<Item = &str> {
        self.explained.iter().map(String::as_str)
    }

    /// A stream by its exact name.
    pub fn stream(&self, name: &str) -> Option<&Arc<StreamDef>> {
        self.streams.iter().find(|stream| stream.name == name)
    }

    /// All tables, in order of declaration.
    pub fn tables(&self) -> &[Arc<TableSlot>] {
        &self.tables
    }

    /// All streams, in order of declaration.
    pub fn streams(&self) -> &[Arc<StreamDef>] {
        &self.streams
    }
}

/// Checks an app and plans its queries. Nothing is started.
pub fn compile(source: SourceText, environment: &Environment) -> Result<Compiled, Diagnostic> {
    let text = Text::new(&source);
    let mut statements = eventflux_sqlparser::parse(&source.text).map_err(|error| text.parse_error(error))?;
    name_all(&mut statements);
    if statements.is_empty() {
        let error = Diagnostic::new(Code::Syntax, "the app is empty").hint("start with CREATE STREAM");
        return Err(text.finish(error));
    }
    let definer = Definer {
        registry: environment.registry,
        backends: environment.backends,
        text: &text,
        environment: environment.variables,
        layers: environment.layers,
        outside: environment.outside,
    };
    let mut functions = environment.functions.clone();
    sql_functions::declare(&statements, &mut functions, &text)?;
    let mut compiler = Compiler {
        text: &text,
        definer,
        functions: &functions,
        patterns: pattern_options::configured(environment.layers)?,
        streams: Vec::new(),
        tables: Vec::new(),
        sources: HashMap::new(),
        known: BTreeMap::new(),
        undeclared: Vec::new(),
        queries: Vec::new(),
        explained: BTreeSet::new(),
        scopes: Vec::new(),
        row_patterns: BTreeMap::new(),
    };
    // An option may be missing because the configuration gives it to a stream or a table that does not exist: that is what to tell.
    compiler.run(&statements).map_err(|error| match error.code {
        Code::MissingOption => {
            let streams = environment.layers.check_streams(stream_names(&statements));
            let tables = environment.layers.check_tables(table_names(&statements));
            streams.and(tables).err().unwrap_or(error)
        }
        _ => error,
    })?;
    compiler
        .definer
        .check_layers(&compiler.streams, &compiler.tables)
        .map_err(|error| text.finish(error))?;
    let partitions = compiler.partitions()?;
    let warnings = compiler.error_warnings();
    let Compiler {
        streams,
        tables,
        queries,
        explained,
        ..
    } = compiler;
    let compiled = Compiled {
        streams,
        tables,
        queries,
        explained,
        partitions,
        warnings,
        source: source.clone(),
    };
    compiled.check_connections(environment, &text)?;
    Ok(compiled)
}

/// The streams that statements declare or insert into, as written.
fn stream_names(statements: &[Statement]) -> impl Iterator<Item = &str> {
    statements.iter().filter_map(|statement| match &statement.kind {
        StatementKind::CreateStream(create) => Some(create.name.value.as_str()),
        StatementKind::CreateWindow(create) => Some(create.name.value.as_str()),
        StatementKind::CreateTrigger(create) => Some(create.name.value.as_str()),
        StatementKind::Query(query) => query.target.as_ref().map(|target| target.name.value.as_str()),
        _ => None,
    })
}

/// The tables that statements declare.
fn table_names(statements: &[Statement]) -> impl Iterator<Item = &str> {
    statements.iter().filter_map(|statement| match &statement.kind {
        StatementKind::CreateTable(create) => Some(create.name.value.as_str()),
        _ => None,
    })
}

/// Compiles one app.
pub(super) struct Compiler<'a> {
    pub(super) text: &'a Text<'a>,
    pub(super) definer: Definer<'a>,
    pub(super) functions: &'a Functions,
    /// How many attempts at a pattern may be open unless it says.
    patterns: Bound,
    pub(super) streams: Vec<Arc<StreamDef>>,
    pub(super) tables: Vec<Arc<TableSlot>>,
    pub(super) sources: HashMap<String, Arc<Source>>,
    pub(super) known: resolve::Known,
    /// Named windows without columns: they get those of the first query that feeds them.
    pub(super) undeclared: Vec<CreateWindow>,
    pub(super) queries: Vec<CompiledQuery>,
    pub(super) explained: BTreeSet<String>,
    /// The PARTITIONs, in statement order.
    pub(super) scopes: Vec<Arc<Scope>>,
    /// By the name of the view that each becomes: MATCH_RECOGNIZE.
    pub(super) row_patterns: BTreeMap<String, RowPatternView>,
}

/// A query whose names mean something.
pub(super) struct ResolvedQuery {
    pub(super) query: Query,
    /// By relation.
    pub(super) windows: Vec<Option<WindowKind>>,
    /// By relation.
    pub(super) patterns: Vec<Option<Arc<PatternSpec>>>,
}

/// A query waiting to be planned.
pub(super) struct Pending {
    pub(super) query: Query,
    pub(super) name: String,
    pub(super) explain: bool,
    /// The PARTITION it stands in.
    pub(super) scope: Option<Arc<Scope>>,
    /// The subqueries that its windows read, and its MATCH_RECOGNIZEs.
    pub(super) views: Vec<CreateView>,
    /// The UPDATE or DELETE whose events it gives.
    pub(super) statement: Option<TableStatement>,
}

impl Pending {
    pub(super) fn feeds(&self, name: &str) -> bool {
        let target = self.query.target.as_ref();
        target.is_some_and(|target| target.name.value.eq_ignore_ascii_case(name))
    }
}

impl Compiler<'_> {
    fn run(&mut self, statements: &[Statement]) -> Result<(), Diagnostic> {
        for statement in statements {
            refuse::statement(statement, self.text)?;
            if let StatementKind::CreateStream(create) = &statement.kind {
                let def = self.definer.stream(create).map_err(|error| self.text.finish(error))?;
                self.check_free(&def.name, create.name.span)?;
                self.declare(def);
            }
            if let StatementKind::CreateTable(create) = &statement.kind {
                self.check_free(&create.name.value, create.name.span)?;
                let slot = Arc::new(TableSlot::new(self.definer.table(create)?));
                self.known.insert(slot.def().name.clone(), slot.def().schema.clone());
                self.sources
                    .insert(slot.def().name.clone(), Arc::new(Source::table(slot.clone())));
                self.tables.push(slot);
            }
            if let StatementKind::CreateWindow(create) = &statement.kind {
                self.check_free(&create.name.value, create.name.span)?;
                match create.columns.is_empty() {
                    true => self.undeclared.push(create.clone()),
                    false => {
                        let def = self.definer.window(create, None, self.functions)?;
                        self.declare(def);
                    }
                }
            }
            if let StatementKind::CreateTrigger(create) = &statement.kind {
                let def = self.definer.trigger(create)?;
                self.check_free(&def.name, create.name.span)?;
                self.declare(def);
            }
        }
        let mut pending = self.pending(statements)?;
        let scopes = pending.iter().filter_map(|pending| pending.scope.clone());
        self.scopes = scopes.collect();
        self.scopes.dedup_by_key(|scope| scope.number);
        let mut views: Vec<CreateView> = pending
            .iter_mut()
            .flat_map(|pending| std::mem::take(&mut pending.views))
            .collect();
        for statement in statements {
            if let StatementKind::CreateView(view) = &statement.kind {
                let mut view = view.clone();
                views.extend(self.lift(&mut view.query, &view.name.value, None)?);
                views.push(view);
            }
        }
        let hidden: Vec<String> = views.iter().map(|view| view.name.value.clone()).collect();
        // Queries and views may stand before what they read: plan those whose inputs are known until none is left.
        while !pending.is_empty() || !views.is_empty() {
            let before = pending.len() + views.len();
            let mut later = Vec::new();
            for view in views {
                match self.missing(&view.query) {
                    Some(missing) if hidden.contains(&missing) || self.comes_later(&missing, &pending, statements) => {
                        later.push(view)
                    }
                    _ => self.view(&view)?,
                }
            }
            views = later;
            let mut later = Vec::new();
            for next in std::mem::take(&mut pending) {
                match self.missing(&next.query).or_else(|| self.missing_key(&next)) {
                    Some(missing) if hidden.contains(&missing) => later.push(next),
                    Some(missing) if self.comes_later_than(&missing, &next, statements) => later.push(next),
                    Some(missing) if next.feeds(&missing) => return Err(self.circle(Some(&next), None)),
                    _ => self.query(next)?,
                }
            }
            pending = later;
            if pending.len() + views.len() == before {
                return Err(self.circle(pending.first(), views.first()));
            }
        }
        self.queries
            .sort_by_key(|query| (query.span.start.line, query.span.start.column));
        self.check_redirects()?;
        self.declare_faults()?;
        self.check_dead_letters()?;
        state_ids::check(&self.streams, &self.tables, self.text)
    }

    fn pending(&mut self, statements: &[Statement]) -> Result<Vec<Pending>, Diagnostic> {
        let mut pending = Vec::new();
        let mut bare = 0;
        let mut partitions = 0;
        for (number, statement) in statements.iter().enumerate() {
            match &statement.kind {
                StatementKind::Query(query) => {
                    self.add_pending(&mut pending, query, number + 1, &mut bare, None, false)?
                }
                StatementKind::Explain(inner) => match &inner.kind {
                    StatementKind::Query(query) => {
                        self.add_pending(&mut pending, query, number + 1, &mut bare, None, true)?
                    }
                    _ => {
                        let error = Diagnostic::new(Code::Unstreamable, "EXPLAIN is for queries");
                        return Err(self.text.at(error, statement.span));
                    }
                },
                StatementKind::Update(update) => {
                    let statement = TableStatement::update(update);
                    self.add_statement(
                        &mut pending,
                        statement,
                        &update.from,
                        &update.relations,
                        number + 1,
                        None,
                    )?;
                }
                StatementKind::Delete(delete) => {
                    let statement = TableStatement::delete(delete);
                    self.add_statement(
                        &mut pending,
                        statement,
                        &delete.using,
                        &delete.relations,
                        number + 1,
                        None,
                    )?;
                }
                StatementKind::Partition(partition) => {
                    partitions += 1;
                    let scope = Arc::new(self.scope(partitions, partition, statement.span)?);
                    for (inside, statement) in partition.body.iter().enumerate() {
                        let StatementKind::Query(query) = &statement.kind else {
                            let error =
                                Diagnostic::new(Code::Unsupported, "not supported yet: this statement in a PARTITION");
                            return Err(self.text.at(error, statement.span));
                        };
                        let number = (number + 1) * 1_000 + inside + 1;
                        self.add_pending(&mut pending, query, number, &mut bare, Some(scope.clone()), false)?;
                    }
                }
                _ => {}
            }
        }
        Ok(pending)
    }

    fn add_pending(
        &mut self,
        pending: &mut Vec<Pending>,
        query: &Query,
        number: usize,
        bare: &mut usize,
        scope: Option<Arc<Scope>>,
        explain: bool,
    ) -> Result<(), Diagnostic> {
        let mut query = query.clone();
        let name = match &query.target {
            Some(target) if target.inner => {
                let name = scope.as_ref().map(|scope| scope.inner_name(&target.name.value));
                format!("{}#{number}", name.unwrap_or_else(|| target.name.value.clone()))
            }
            Some(target) => format!("{}#{number}", target.name.value),
            None => {
                *bare += 1;
                format!("query_{bare}")
            }
        };
        let views = self.lift(&mut query, &name, scope.as_ref())?;
        if let Some(scope) = &scope {
            scope.localise(&mut query);
        }
        refuse::query(&query, self.reads_window(&query), &self.reads_tables(), self.text)?;
        pending.push(Pending {
            views,
            query,
            name,
            explain,
            scope,
            statement: None,
        });
        Ok(())
    }

    /// Whether a query reads a named window.
    pub(super) fn reads_window(&self, query: &Query) -> bool {
        let tables = resolve::tables(&query.body, &query.relations);
        tables.iter().any(|table| {
            let windows = self.streams.iter().filter(|stream| stream.window.is_some());
            let declared = windows.map(|stream| stream.name.as_str());
            let undeclared = self.undeclared.iter().map(|window| window.name.value.as_str());
            resolve_name(&table.value, declared.chain(undeclared)) != Resolved::None
        })
    }

    pub(super) fn check_free(&self, name: &str, span: sqlparser::tokenizer::Span) -> Result<(), Diagnostic> {
        if self.known.contains_key(name) {
            let error = Diagnostic::new(Code::Duplicate, format!("'{name}' is declared twice"));
            return Err(self.text.at(error, span));
        }
        Ok(())
    }

    fn declare(&mut self, def: StreamDef) {
        let fault = fault_of(&def.name);
        self.sources
            .insert(fault.clone(), Arc::new(Source::stream(&fault, faults::schema())));
        self.known.insert(fault, faults::schema());
        self.sources.insert(
            def.name.clone(),
            Arc::new(Source::stream(&def.name, def.schema.clone())),
        );
        self.known.insert(def.name.clone(), def.schema.clone());
        self.streams.push(Arc::new(def));
    }

    pub(super) fn resolved(&self, query: &Query, scope: Option<&Scope>) -> Result<ResolvedQuery, Diagnostic> {
        let mut query = query.clone();
        let patterns = resolve_patterns(&mut query, &self.known, self.functions, self.patterns, self.text)?;
        misplaced::check(&query, self.functions, self.text)?;
        name_columns(&mut query, self.functions, self.text);
        resolve::resolve_query(
            &mut query.body,
            &mut query.relations,
            &self.known,
            self.functions,
            self.text,
        )?;
        wildcard::expand(&mut query, scope.is_some(), &self.known, self.functions);
        name_fields(&mut query);
        match_text::rewrite(&mut query, self.text)?;
        check_output_names(&query).map_err(|(error, span)| self.text.at(error, span))?;
        let windows = self.windows(&query)?;
        self.table_function_times(&mut query)?;
        if scope.is_some() {
            let tables: Vec<String> = self.tables.iter().map(|table| table.def().name.clone()).collect();
            carry_key(&mut query, self.functions, &tables);
        }
        current_values::wrap_query(&mut query.body, self.functions);
        over::complete(&mut query.body, &over::millisecond_times(&self.streams));
        Ok(ResolvedQuery {
            query,
            windows,
            patterns,
        })
    }

    /// The windows of a query's relations.
    fn windows(&self, query: &Query) -> Result<Vec<Option<WindowKind>>, Diagnostic> {
        let kind = |relation: &StreamRelation| {
            let (Some(spec), RelationSource::Stream { name, .. }) = (&relation.window, &relation.source) else {
                return Ok(None);
            };
            let schema = self
                .known
                .get(&name.value)
                .cloned()
                .unwrap_or_else(|| Arc::new(Schema::empty()));
            let kind = window_kind(spec, &schema, self.functions, self.text)?;
            Ok(Some(session_keys::from_grouping(kind, &query.body, &schema)))
        };
        query.relations.iter().map(kind).collect()
    }

    /// Leaves the time columns of table functions only where they are not what their stream goes by anyway.
    fn table_function_times(&self, query: &mut Query) -> Result<(), Diagnostic> {
        for relation in &mut query.relations {
            let (Some(time), RelationSource::Stream { name, .. }) = (&relation.time_column, &relation.source) else {
                continue;
            };
            let Some(schema) = self.known.get(&name.value) else {
                continue;
            };
            let column = table_function_time(time, schema, self.text)?;
            let stream = self.streams.iter().find(|stream| stream.name == name.value);
            let own = stream.and_then(|stream| stream.watermark.as_ref());
            let is_own = own.is_some_and(|own| *schema.field(own.column).name() == column.value);
            relation.time_column = (!is_own).then_some(sqlparser::ast::Expr::Identifier(column));
        }
        Ok(())
    }

    /// The plan of a resolved query, with its types.
    pub(super) fn analyzed(&self, query: &Query, planner: &Planner) -> Result<LogicalPlan, Diagnostic> {
        let fail = |error| failure::diagnose(&error, query, planner, self.text);
        let plan = planner.plan(&query.body, &query.relations).map_err(fail)?;
        over::check_order(&plan, &self.streams, self.text, query.span)?;
        planner.analyze(plan).map_err(fail)
    }

    fn query(&mut self, pending: Pending) -> Result<(), Diagnostic> {
        let scope = pending.scope.as_deref();
        let ResolvedQuery {
            query,
            windows,
            patterns,
        } = self.resolved(&pending.query, scope)?;
        let scoped = scope.map(|scope| self.scoped_sources(scope, &query)).transpose()?;
        let planner = Planner {
            sources: scoped.as_ref().unwrap_or(&self.sources),
            functions: self.functions,
            windows: &windows,
            patterns: &patterns,
        };
        let plan = self.analyzed(&query, &planner)?;
        let fail = |error| failure::diagnose(&error, &query, &planner, self.text);
        let table = query
            .target
            .as_ref()
            .and_then(|target| self.table_named(&target.name.value));
        if table.is_some() || pending.statement.is_some() {
            let compiled = self.write(&pending, &query, &planner, plan, table)?;
            if pending.explain {
                self.explained.insert(pending.name);
            }
            self.queries.push(compiled);
            return Ok(());
        }
        refuse::table_forms(&query, self.text)?;
        let target_name = query
            .target
            .as_ref()
            .map_or(pending.name.as_str(), |target| target.name.value.as_str());
        let known = self.streams.iter().map(|stream| stream.name.as_str());
        let existing = match resolve_name(target_name, known) {
            Resolved::One(name) => self.streams.iter().find(|stream| stream.name == name).cloned(),
            _ => None,
        };
        let place = query.target.as_ref().map_or(query.span, |target| target.name.span);
        let target = match existing {
            Some(target) if matches!(target.role, Role::Trigger(_)) => {
                let error = Diagnostic::new(
                    Code::Unstreamable,
                    format!("'{target_name}' is a trigger: it cannot be inserted into"),
                );
                return Err(self.text.at(error, place));
            }
            Some(target) => target,
            None => {
                if self.known.contains_key(target_name) {
                    let what = match target_name.starts_with(faults::FAULT) {
                        true => "a fault stream",
                        false => "a view",
                    };
                    let error = Diagnostic::new(
                        Code::Unstreamable,
                        format!("'{target_name}' is {what}: it cannot be inserted into"),
                    );
                    return Err(self.text.at(error, place));
                }
                let schema = inferred_schema(&plan).map_err(|error| self.text.at(error, query.body.span()))?;
                let schema = match scope.is_some() && !target_name.starts_with('#') {
                    true => without_key(&schema),
                    false => schema,
                };
                let window = self
                    .undeclared
                    .iter()
                    .position(|window| window.name.value == target_name);
                let def = match window {
                    Some(window) => self
                        .definer
                        .window(&self.undeclared.remove(window), Some(schema), self.functions),
                    None => self.definer.inferred(target_name, schema),
                };
                Arc::new(def.map_err(|error| self.text.at(error, place))?)
            }
        };
        if let Some(emit) = query.emit.as_ref().filter(|emit| emit.kind == EmitKind::Final)
            && !closes(&plan, &self.streams)
        {
            let error = Diagnostic::new(Code::Unstreamable, "EMIT FINAL needs a window that closes")
                .hint("leave it out: without a window each event gives its row at once");
            return Err(self.text.at(error, emit.span));
        }
        let columns = query.target.as_ref().map(|target| target.columns.clone());
        let mut columns = columns.unwrap_or_default();
        // The key goes along to the last operator.
        let wanted = match scope.is_some() && !target.name.starts_with('#') {
            true => with_key(&target.schema, &plan, &mut columns),
            false => target.schema.clone(),
        };
        let fitted = fit_target(plan, &wanted, &columns, &target.name, self.text, &output_spans(&query));
        let plan = fitted.map_err(|error| self.text.at(error, place))?;
        let plan = planner
            .analyze(plan)
            .and_then(|plan| planner.optimize(plan))
            .map_err(fail)?;
        let name = target.name.clone();
        if !self.known.contains_key(&name) {
            self.declare(target.as_ref().clone());
        }
        if let Some(sink) = &query.sink {
            self.attach_sink(&name, sink)?;
        }
        if pending.explain {
            self.explained.insert(pending.name.clone());
        }
        let (span, bare) = (query.span, query.target.is_none());
        self.queries.push(CompiledQuery {
            partition: pending.scope,
            name: pending.name,
            target: name,
            plan,
            span,
            bare,
            write: None,
            output: output_events(&query),
            changes: emits_changes(&query),
            rate: Rate::of(&query, self.text)?,
        });
        Ok(())
    }

    fn attach_sink(&mut self, stream: &str, sink: &eventflux_sqlparser::SinkClause) -> Result<(), Diagnostic> {
        let (role, settings) = self.definer.sink_clause(stream, sink)?;
        let Some(def) = self.streams.iter_mut().find(|def| def.name == stream) else {
            return Ok(());
        };
        if !matches!(def.role, Role::Internal) {
            let error = Diagnostic::new(Code::Duplicate, format!("'{stream}' already has a connector"));
            return Err(self
                .text
                .at(error.hint("send the query to a stream of its own"), sink.span));
        }
        let def = Arc::make_mut(def);
        def.role = role;
        if let Some(mut settings) = settings {
            if let (Some(declared), Some(_)) = (&def.settings.id, &settings.id) {
                let mut error = settings
                    .options
                    .invalid(ID, format!("'{stream}' has the id '{declared}' already"));
                error.code = Code::Duplicate;
                return Err(self.text.finish(error.hint("leave one of them out")));
            }
            settings.id = settings.id.or(def.settings.id.take());
            def.settings = settings;
        }
        Ok(())
    }

    /// Streams that take late events must exist and have the same columns.
    fn check_redirects(&self) -> Result<(), Diagnostic> {
        for stream in &self.streams {
            let LatePolicy::Redirect(name) = &stream.settings.late else {
                continue;
            };
            let error = match self.streams.iter().find(|target| target.name == *name) {
                None => Diagnostic::new(
                    Code::UnknownStream,
                    format!("there is no stream '{name}' to take late events"),
                )
                .hint("declare it with the same columns, or use late = 'drop'"),
                Some(target) if !same_types(stream, target) => Diagnostic::new(
                    Code::TargetMismatch,
                    format!(
                        "'{name}' takes the late events of '{}', so it must have the same columns",
                        stream.name
                    ),
                ),
                Some(_) => continue,
            };
            let error = match &stream.span {
                Some(span) => error.at(span.clone()),
                None => error,
            };
            return Err(self.text.finish(error));
        }
        Ok(())
    }
}

pub(super) fn emits_changes(query: &Query) -> bool {
    query.emit.as_ref().is_some_and(|emit| emit.kind == EmitKind::Changes)
}

pub(super) fn output_events(query: &Query) -> OutputEventsPlan {
    let events = query.target.as_ref().map(|target| target.events);
    OutputEventsPlan {
        current: events != Some(OutputEvents::Expired),
        expired: matches!(events, Some(OutputEvents::Expired | OutputEvents::All)),
        form: OutputForm::Events,
    }
}

fn same_types(a: &StreamDef, b: &StreamDef) -> bool {
    let types = |def: &StreamDef| {
        def.schema
            .fields()
            .iter()
            .map(|field| field.data_type().clone())
            .collect::<Vec<_>>()
    };
    types(a) == types(b)
}
