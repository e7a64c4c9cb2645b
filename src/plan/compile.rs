//! The compiler: from an app's text to its stream plan.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion_common::Column;
use datafusion_expr::{LogicalPlan, LogicalPlanBuilder};
use eventflux_sqlparser::{
    CreateView, CreateWindow, OutputEvents, Partition, PartitionKey, Query, RelationSource, Statement, StatementKind,
    StreamRelation,
};
use sqlparser::ast::Spanned;

use super::context::Source;
use super::define::Definer;
use super::logical::{
    Planner, check_output_names, count_columns, fit_target, inferred_schema, name_columns, name_fields, output_spans,
};
use super::lower_rate::Rate;
use super::partition::{PARTITION_KEY, Scope, keyed_stream, with_key, without_key};
use super::pattern::{PatternSpec, resolve_patterns};
use super::text::Text;
use super::window_args::{table_function_time, window_kind};
use super::{current_values, failure, match_text, over, refuse, resolve, session_keys, sql_functions, wildcard};
use crate::catalog::functions::Functions;
use crate::catalog::names::{Resolved, resolve as resolve_name};
use crate::catalog::streams::{LatePolicy, Role, StreamDef};
use crate::catalog::windows::WindowKind;
use crate::config::layers::Layers;
use crate::connectors::Registry;
use crate::error::{Code, Diagnostic, SourceText};
use crate::operators::output_events::{OutputEventsPlan, OutputForm};

/// What an app is compiled with.
pub struct Environment<'a> {
    /// Connectors and formats.
    pub registry: &'a Registry,
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
    pub(super) queries: Vec<CompiledQuery>,
    /// The numbers of the queries that EXPLAIN stands before: they are printed, not run.
    pub(super) explained: BTreeSet<String>,
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
    /// The PARTITION it stands in.
    pub(super) partition: Option<Arc<Scope>>,
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

    /// All streams, in order of declaration.
    pub fn streams(&self) -> &[Arc<StreamDef>] {
        &self.streams
    }
}

/// Checks an app and plans its queries. Nothing is started.
pub fn compile(source: SourceText, environment: &Environment) -> Result<Compiled, Diagnostic> {
    let text = Text::new(&source);
    let statements = eventflux_sqlparser::parse(&source.text).map_err(|error| text.parse_error(error))?;
    if statements.is_empty() {
        let error = Diagnostic::new(Code::Syntax, "the app is empty").hint("start with CREATE STREAM");
        return Err(text.finish(error));
    }
    let definer = Definer {
        registry: environment.registry,
        text: &text,
        environment: environment.variables,
        layers: environment.layers,
    };
    let mut functions = environment.functions.clone();
    sql_functions::declare(&statements, &mut functions, &text)?;
    let mut compiler = Compiler {
        text: &text,
        definer,
        functions: &functions,
        streams: Vec::new(),
        sources: HashMap::new(),
        known: BTreeMap::new(),
        undeclared: Vec::new(),
        queries: Vec::new(),
        explained: BTreeSet::new(),
    };
    // An option may be missing because the configuration gives it to a stream that does not exist: that is what to tell.
    compiler.run(&statements).map_err(|error| match error.code {
        Code::MissingOption => environment
            .layers
            .check_streams(stream_names(&statements))
            .err()
            .unwrap_or(error),
        _ => error,
    })?;
    compiler
        .definer
        .check_layers(&compiler.streams)
        .map_err(|error| text.finish(error))?;
    let Compiler {
        streams,
        queries,
        explained,
        ..
    } = compiler;
    let compiled = Compiled {
        streams,
        queries,
        explained,
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

struct Compiler<'a> {
    text: &'a Text<'a>,
    definer: Definer<'a>,
    functions: &'a Functions,
    streams: Vec<Arc<StreamDef>>,
    sources: HashMap<String, Arc<Source>>,
    known: resolve::Known,
    /// Named windows without columns: they get those of the first query that feeds them.
    undeclared: Vec<CreateWindow>,
    queries: Vec<CompiledQuery>,
    explained: BTreeSet<String>,
}

/// A query whose names mean something.
struct ResolvedQuery {
    query: Query,
    /// By relation.
    windows: Vec<Option<WindowKind>>,
    /// By relation.
    patterns: Vec<Option<Arc<PatternSpec>>>,
}

/// A query waiting to be planned.
struct Pending {
    query: Query,
    name: String,
    explain: bool,
    /// The PARTITION it stands in.
    scope: Option<Arc<Scope>>,
}

impl Pending {
    fn feeds(&self, name: &str) -> bool {
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
        let mut views: Vec<&CreateView> = statements
            .iter()
            .filter_map(|statement| match &statement.kind {
                StatementKind::CreateView(view) => Some(view),
                _ => None,
            })
            .collect();
        // Queries and views may stand before what they read: plan those whose inputs are known until none is left.
        while !pending.is_empty() || !views.is_empty() {
            let before = pending.len() + views.len();
            let mut later = Vec::new();
            for view in views {
                match self.missing(&view.query) {
                    Some(missing) if self.comes_later(&missing, &pending, statements) => later.push(view),
                    _ => self.view(view)?,
                }
            }
            views = later;
            let mut later = Vec::new();
            for next in std::mem::take(&mut pending) {
                match self.missing(&next.query) {
                    Some(missing) if self.comes_later_than(&missing, &next, statements) => later.push(next),
                    Some(missing) if next.feeds(&missing) => return Err(self.circle(Some(&next), None)),
                    _ => self.query(next)?,
                }
            }
            pending = later;
            if pending.len() + views.len() == before {
                return Err(self.circle(pending.first(), views.first().copied()));
            }
        }
        self.queries
            .sort_by_key(|query| (query.span.start.line, query.span.start.column));
        self.check_redirects()
    }

    fn pending(&self, statements: &[Statement]) -> Result<Vec<Pending>, Diagnostic> {
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
                StatementKind::Partition(partition) => {
                    partitions += 1;
                    let scope = Arc::new(self.scope(partitions, partition)?);
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
        &self,
        pending: &mut Vec<Pending>,
        query: &Query,
        number: usize,
        bare: &mut usize,
        scope: Option<Arc<Scope>>,
        explain: bool,
    ) -> Result<(), Diagnostic> {
        let mut query = query.clone();
        if let Some(scope) = &scope {
            scope.localise(&mut query);
        }
        refuse::query(&query, self.reads_window(&query), self.text)?;
        let name = match &query.target {
            Some(target) => format!("{}#{number}", target.name.value),
            None => {
                *bare += 1;
                format!("query_{bare}")
            }
        };
        pending.push(Pending {
            query,
            name,
            explain,
            scope,
        });
        Ok(())
    }

    /// A PARTITION's keys, their streams by exact names.
    fn scope(&self, number: usize, partition: &Partition) -> Result<Scope, Diagnostic> {
        // A stream that is only inserted into has its name from there.
        let name = |key: &PartitionKey| match resolve::table(&key.stream, &self.known, self.text) {
            Ok(exact) => exact.value,
            Err(_) => key.stream.value.clone(),
        };
        let streams = partition.keys.iter().map(name).collect();
        Scope::new(number, partition, streams, self.text)
    }

    /// The relations of queries in a PARTITION: partitioned streams have their key as a column.
    fn scoped_sources(&self, scope: &Scope, query: &Query) -> Result<HashMap<String, Arc<Source>>, Diagnostic> {
        let mut sources = self.sources.clone();
        let read = resolve::tables(&query.body, &query.relations);
        for (stream, key) in &scope.keys {
            if !read.iter().any(|table| table.value == *stream) {
                continue;
            }
            let keyed = keyed_stream(stream, key, scope.keys.len() > 1)?;
            let mut keyed = keyed.clone();
            resolve::resolve_query(
                &mut keyed.body,
                &mut keyed.relations,
                &self.known,
                self.functions,
                self.text,
            )?;
            let planner = Planner {
                sources: &self.sources,
                functions: self.functions,
                windows: &[],
                patterns: &[],
            };
            let fail = |error| failure::diagnose(&error, &keyed, &planner, self.text);
            let plan = planner.plan(&keyed.body, &[]).map_err(fail)?;
            let plan = planner.analyze(plan).map_err(fail)?;
            let has_key = datafusion_expr::Expr::Column(Column::new_unqualified(PARTITION_KEY)).is_not_null();
            let plan = LogicalPlanBuilder::from(plan)
                .filter(has_key)
                .and_then(|plan| plan.build());
            sources.insert(stream.clone(), Arc::new(Source::view(plan.map_err(fail)?)));
        }
        Ok(sources)
    }

    /// Whether a query reads a named window.
    fn reads_window(&self, query: &Query) -> bool {
        let tables = resolve::tables(&query.body, &query.relations);
        tables.iter().any(|table| {
            let windows = self.streams.iter().filter(|stream| stream.window.is_some());
            let declared = windows.map(|stream| stream.name.as_str());
            let undeclared = self.undeclared.iter().map(|window| window.name.value.as_str());
            resolve_name(&table.value, declared.chain(undeclared)) != Resolved::None
        })
    }

    /// The first relation of a query that is not known yet.
    fn missing(&self, query: &Query) -> Option<String> {
        let tables = resolve::tables(&query.body, &query.relations);
        let known = || self.known.keys().map(String::as_str);
        tables
            .into_iter()
            .map(|ident| ident.value)
            .find(|name| resolve_name(name, known()) == Resolved::None)
    }

    fn comes_later(&self, name: &str, pending: &[Pending], statements: &[Statement]) -> bool {
        let targets = pending.iter().map(|pending| match &pending.query.target {
            Some(target) => target.name.value.as_str(),
            None => pending.name.as_str(),
        });
        let views = statements.iter().filter_map(|statement| match &statement.kind {
            StatementKind::CreateView(view) => Some(view.name.value.as_str()),
            _ => None,
        });
        resolve_name(name, targets.chain(views)) != Resolved::None
    }

    fn comes_later_than(&self, name: &str, next: &Pending, statements: &[Statement]) -> bool {
        let own = next.feeds(name);
        let others: Vec<&str> = statements
            .iter()
            .filter_map(|statement| match &statement.kind {
                StatementKind::CreateView(view) => Some(view.name.value.as_str()),
                StatementKind::Query(query) => query.target.as_ref().map(|target| target.name.value.as_str()),
                _ => None,
            })
            .collect();
        let bare = name.to_lowercase().starts_with("query_");
        !own && (bare && !self.known.contains_key(name) && self.bare_pending(name, statements)
            || resolve_name(name, others.iter().copied()) != Resolved::None)
    }

    fn bare_pending(&self, name: &str, statements: &[Statement]) -> bool {
        let bare = statements.iter().filter(|statement| match &statement.kind {
            StatementKind::Query(query) => query.target.is_none(),
            _ => false,
        });
        (1..=bare.count()).any(|number| name.eq_ignore_ascii_case(&format!("query_{number}")))
    }

    fn circle(&self, query: Option<&Pending>, view: Option<&CreateView>) -> Diagnostic {
        let span = query
            .map(|pending| pending.query.span)
            .or(view.map(|view| view.span))
            .unwrap_or(sqlparser::tokenizer::Span::empty());
        let error = Diagnostic::new(
            Code::Cycle,
            "the streams feed each other in a circle, so their columns cannot be inferred",
        )
        .hint("a query cannot read what it, or a query it feeds, produces");
        self.text.at(error, span)
    }

    fn check_free(&self, name: &str, span: sqlparser::tokenizer::Span) -> Result<(), Diagnostic> {
        if self.known.contains_key(name) {
            let error = Diagnostic::new(Code::Duplicate, format!("'{name}' is declared twice"));
            return Err(self.text.at(error, span));
        }
        Ok(())
    }

    fn declare(&mut self, def: StreamDef) {
        self.sources.insert(
            def.name.clone(),
            Arc::new(Source::stream(&def.name, def.schema.clone())),
        );
        self.known.insert(def.name.clone(), def.schema.clone());
        self.streams.push(Arc::new(def));
    }

    fn view(&mut self, view: &CreateView) -> Result<(), Diagnostic> {
        self.check_free(&view.name.value, view.name.span)?;
        refuse::query(&view.query, self.reads_window(&view.query), self.text)?;
        let ResolvedQuery {
            query,
            windows,
            patterns,
        } = self.resolved(&view.query, None)?;
        let planner = Planner {
            sources: &self.sources,
            functions: self.functions,
            windows: &windows,
            patterns: &patterns,
        };
        let fail = |error| failure::diagnose(&error, &query, &planner, self.text);
        let plan = planner.plan(&query.body, &query.relations).map_err(fail)?;
        over::check_order(&plan, &self.streams, self.text, query.span)?;
        let plan = planner.analyze(plan).map_err(fail)?;
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

    fn resolved(&self, query: &Query, scope: Option<&Scope>) -> Result<ResolvedQuery, Diagnostic> {
        let mut query = query.clone();
        let patterns = resolve_patterns(&mut query, &self.known, self.functions, self.text)?;
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
        if let Some(scope) = scope {
            scope.carry_key(&mut query, &self.known, self.functions, self.text)?;
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
        let fail = |error| failure::diagnose(&error, &query, &planner, self.text);
        let plan = planner.plan(&query.body, &query.relations).map_err(fail)?;
        over::check_order(&plan, &self.streams, self.text, query.span)?;
        let plan = planner.analyze(plan).map_err(fail)?;
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
                    let error = Diagnostic::new(
                        Code::Unstreamable,
                        format!("'{target_name}' is a view: it cannot be inserted into"),
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
            output: output_events(&query),
            rate: query
                .output
                .as_ref()
                .map(|output| Rate::new(output, self.text))
                .transpose()?,
        });
        Ok(())
    }

    fn attach_sink(&mut self, stream: &str, sink: &eventflux_sqlparser::SinkClause) -> Result<(), Diagnostic> {
        let role = self.definer.sink_clause(stream, sink)?;
        let Some(def) = self.streams.iter_mut().find(|def| def.name == stream) else {
            return Ok(());
        };
        if !matches!(def.role, Role::Internal) {
            let error = Diagnostic::new(Code::Duplicate, format!("'{stream}' already has a connector"));
            return Err(self
                .text
                .at(error.hint("send the query to a stream of its own"), sink.span));
        }
        Arc::make_mut(def).role = role;
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

fn output_events(query: &Query) -> OutputEventsPlan {
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
