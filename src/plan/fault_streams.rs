//! Fault streams and streams of dead letters: what `!S` and `error.dlq.stream` mean, and the ways of errors through the graph.
//!
//! From the parser on `!S` is the name of a stream like any other. It exists where a query reads it. Errors reach it, and the
//! stream of dead letters, by edges of the graph, so that what they cause has its place in the order of things, in checkpoints and in
//! the search for circles.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use eventflux_sqlparser::{PatternNode, PatternNodeKind, RelationSource, Statement, StatementKind, StreamRelation};
use sqlparser::ast::Ident;

use super::compile::Compiler;
use super::lower::columns_read;
use super::stream_options::DEAD_LETTERS;
use super::stream_plan::{ErrorFlow, PlanNodeKind, StreamPlan};
use crate::catalog::error_policy::{Action, ErrorLog, ErrorPolicy, ErrorStrategy, Fallback, LogLevel};
use crate::catalog::faults::{FAULT, declaration, fault_of, schema};
use crate::catalog::names::{Resolved, resolve};
use crate::catalog::streams::{Role, StreamDef};
use crate::catalog::types;
use crate::config::nearest::nearest;
use crate::connectors::SinkConnector;
use crate::error::{Code, Diagnostic};

/// Lets `!S` be a name, wherever a statement reads it.
pub(super) fn name_all(statements: &mut [Statement]) {
    for statement in statements {
        match &mut statement.kind {
            StatementKind::Query(query) => name_in(&mut query.relations),
            StatementKind::CreateView(view) => name_in(&mut view.query.relations),
            StatementKind::Update(update) => name_in(&mut update.relations),
            StatementKind::Delete(delete) => name_in(&mut delete.relations),
            StatementKind::Explain(inner) => name_all(std::slice::from_mut(inner.as_mut())),
            StatementKind::Partition(partition) => name_all(&mut partition.body),
            _ => {}
        }
    }
}

fn name_in(relations: &mut [StreamRelation]) {
    relations
        .iter_mut()
        .for_each(|relation| name_source(&mut relation.source));
}

fn name_source(source: &mut RelationSource) {
    match source {
        RelationSource::Stream { name, fault, inner } if !*inner => take(name, fault),
        RelationSource::MatchRecognize { input, .. } => name_source(input),
        RelationSource::Pattern(pattern) => name_elements(&mut pattern.root),
        _ => {}
    }
}

fn name_elements(node: &mut PatternNode) {
    match &mut node.kind {
        PatternNodeKind::Chain(parts) | PatternNodeKind::And(parts) | PatternNodeKind::Or(parts) => {
            parts.iter_mut().for_each(name_elements);
        }
        PatternNodeKind::Group(inner) => name_elements(inner),
        PatternNodeKind::Element(element) | PatternNodeKind::Absent { element, .. } if !element.inner => {
            take(&mut element.stream, &mut element.fault);
        }
        PatternNodeKind::Element(_) | PatternNodeKind::Absent { .. } => {}
    }
}

fn take(name: &mut Ident, fault: &mut bool) {
    if std::mem::take(fault) {
        name.value = fault_of(&name.value);
        name.quote_style = Some('"');
    }
}

/// The stream whose errors a name stands for, or the name.
pub(super) fn without_mark(name: &str) -> &str {
    name.strip_prefix(FAULT).unwrap_or(name)
}

impl Compiler<'_> {
    /// Declares the fault streams that queries read.
    pub(super) fn declare_faults(&mut self) -> Result<(), Diagnostic> {
        let mut read = BTreeMap::new();
        self.queries
            .iter()
            .for_each(|query| columns_read(&query.plan, &mut read));
        for name in read.keys().filter(|name| name.starts_with(FAULT)) {
            let def = self.definer.inferred(name, schema().as_ref().clone());
            self.streams
                .push(Arc::new(def.map_err(|error| self.text.finish(error))?));
        }
        Ok(())
    }

    /// Checks where dead letters go, and gives the streams that take them what their trouble shall do.
    pub(super) fn check_dead_letters(&mut self) -> Result<(), Diagnostic> {
        let mut asked: BTreeMap<String, ErrorPolicy> = BTreeMap::new();
        for index in 0..self.streams.len() {
            let stream = self.streams[index].clone();
            let Some(queue) = self.queue_of(&stream).map_err(|error| self.located(error, &stream))? else {
                continue;
            };
            let policy = &stream.settings.errors;
            match asked.get_mut(&queue) {
                Some(strictest) if strictest.fallback >= policy.fallback => {}
                Some(strictest) => *strictest = policy.clone(),
                None => drop(asked.insert(queue.clone(), policy.clone())),
            }
            let own = &mut Arc::make_mut(&mut self.streams[index]).settings.errors;
            own.dead_letters = Some(queue);
        }
        for stream in &mut self.streams {
            if let Some(policy) = asked.get(&stream.name)
                && stream.settings.errors.strategy.is_none()
            {
                Arc::make_mut(stream).settings.errors = of_queue(policy);
            }
        }
        Ok(())
    }

    /// The stream that takes the dead letters of a stream, if any does.
    fn queue_of(&mut self, stream: &StreamDef) -> Result<Option<String>, Diagnostic> {
        let policy = &stream.settings.errors;
        let options = &stream.settings.options;
        let Some(wanted) = policy.queue().map(str::to_string) else {
            let needs =
                policy.of_the_outside() == Action::DeadLetter || policy.strategy == Some(ErrorStrategy::DeadLetter);
            return match needs {
                true => Err(without_queue(stream)),
                false => Ok(None),
            };
        };
        let known = self.streams.iter().map(|stream| stream.name.as_str());
        let target = match resolve(&wanted, known.clone()) {
            Resolved::One(name) => self.streams.iter().find(|stream| stream.name == name),
            _ => None,
        };
        let Some(target) = target else {
            return Err(self.no_such_queue(stream, &wanted));
        };
        if target.name == stream.name {
            // What all streams of an app share does not hold for the one that they mean.
            if !options.is_of_the_app(DEAD_LETTERS) {
                self.forget_strategy(&stream.name);
                return Ok(None);
            }
            let mut error = options.invalid(DEAD_LETTERS, "a stream cannot take its own dead letters");
            error.code = Code::Cycle;
            return Err(
                error.hint("name another stream; its own trouble is the business of error.dlq.fallback-strategy")
            );
        }
        if let Some(reason) = misfit(target) {
            let reason = format!("'{}' cannot take dead letters: {reason}", target.name);
            let mut error = options.invalid(DEAD_LETTERS, reason);
            error.code = Code::TargetMismatch;
            return Err(error.hint(format!("declare it so: {};", declaration(&target.name))));
        }
        Ok(Some(target.name.clone()))
    }

    fn forget_strategy(&mut self, name: &str) {
        if let Some(stream) = self.streams.iter_mut().find(|stream| stream.name == name) {
            let own = &mut Arc::make_mut(stream).settings.errors;
            (own.strategy, own.dead_letters) = (None, None);
        }
    }

    fn no_such_queue(&self, stream: &StreamDef, wanted: &str) -> Diagnostic {
        let table = self
            .tables
            .iter()
            .any(|table| table.def().name.eq_ignore_ascii_case(wanted));
        let options = &stream.settings.options;
        if table {
            let mut error = options.invalid(DEAD_LETTERS, format!("'{wanted}' is a table"));
            error.code = Code::UnknownStream;
            return error.hint(format!(
                "let a stream take them, and a query write them to the table: {};",
                declaration("DeadLetters")
            ));
        }
        let mut error = options.invalid(DEAD_LETTERS, format!("there is no stream '{wanted}'"));
        error.code = Code::UnknownStream;
        let known = self.streams.iter().map(|stream| stream.name.as_str());
        match nearest(wanted, known) {
            Some(near) => error.hint(format!(
                "did you mean '{near}'? Or declare it: {};",
                declaration(wanted)
            )),
            None => error.hint(format!("declare it: {};", declaration(wanted))),
        }
    }

    /// The error, pointing at the stream if it points nowhere.
    fn located(&self, mut error: Diagnostic, stream: &StreamDef) -> Diagnostic {
        if error.span.is_none() {
            error.span.clone_from(&stream.span);
        }
        self.text.finish(error)
    }

    /// Whether a connector's sinks try again whatever the strategy is.
    fn retries_by_itself(&self, connector: &str) -> bool {
        let connector = self.definer.registry.connector(connector).ok();
        connector.is_some_and(|connector| connector.sink().is_some_and(SinkConnector::retries))
    }

    /// What in the options of streams has no effect.
    pub(super) fn error_warnings(&self) -> Vec<Diagnostic> {
        let mut warnings = Vec::new();
        let retry: Vec<&str> = super::stream_options::STREAM_OPTIONS
            .iter()
            .map(|spec| spec.name)
            .filter(|name| name.starts_with("error.retry."))
            .collect();
        for stream in &self.streams {
            let (policy, options) = (&stream.settings.errors, &stream.settings.options);
            let by_itself = match &stream.role {
                Role::Sink(connection) => self.retries_by_itself(&connection.connector),
                _ => false,
            };
            let retries = by_itself
                || policy.strategy == Some(ErrorStrategy::Retry)
                || policy.queue().is_some() && policy.fallback == Fallback::Retry;
            let mut unused: Vec<(&str, &str)> = Vec::new();
            if !retries {
                unused.extend(retry.iter().map(|name| (*name, "error.strategy = 'retry'")));
            }
            if policy.queue().is_none() {
                unused.push((DEAD_LETTERS, "error.strategy = 'dlq' or 'retry'"));
                unused.push(("error.dlq.fallback-strategy", "error.strategy = 'dlq' or 'retry'"));
            }
            for (name, needs) in unused.into_iter().filter(|(name, _)| options.is_of_the_app(name)) {
                let warning = options.invalid(name, format!("it has no effect without {needs}"));
                warnings.push(self.located(warning, stream));
            }
        }
        warnings
    }
}

/// What a stream of dead letters that says nothing does about its own trouble, for a stream that sends them there.
fn of_queue(policy: &ErrorPolicy) -> ErrorPolicy {
    let (strategy, log) = match policy.fallback {
        Fallback::Log => (
            ErrorStrategy::Drop,
            ErrorLog {
                level: Some(LogLevel::Error),
                each: true,
            },
        ),
        Fallback::Retry => (ErrorStrategy::Retry, policy.log),
        Fallback::Fail => (ErrorStrategy::Fail, policy.log),
    };
    ErrorPolicy {
        strategy: Some(strategy),
        exhausted: Action::Fail,
        dead_letters: None,
        log,
        ..policy.clone()
    }
}

fn without_queue(stream: &StreamDef) -> Diagnostic {
    let options = &stream.settings.options;
    let key = match stream.settings.errors.strategy {
        Some(ErrorStrategy::DeadLetter) => "error.strategy",
        _ => "error.retry.then",
    };
    let mut error = options.invalid(key, "'dlq' needs error.dlq.stream, the stream that takes the events");
    error.code = Code::MissingOption;
    error.hint(format!(
        "add error.dlq.stream = 'DeadLetters', and declare that: {};",
        declaration("DeadLetters")
    ))
}

/// Why a stream cannot take dead letters.
fn misfit(target: &StreamDef) -> Option<String> {
    let wanted = schema();
    let has = |name: &str| target.schema.fields().iter().any(|field| field.name() == name);
    let missing = wanted.fields().iter().filter(|field| !has(field.name()));
    let missing: Vec<String> = missing
        .map(|field| format!("{} {}", field.name(), types::name(field.data_type())))
        .collect();
    if !missing.is_empty() {
        return Some(format!("it lacks {}", missing.join(", ")));
    }
    let names: BTreeSet<&str> = wanted.fields().iter().map(|field| field.name().as_str()).collect();
    let more = target
        .schema
        .fields()
        .iter()
        .find(|field| !names.contains(field.name().as_str()));
    if let Some(field) = more {
        return Some(format!("it has the column {} beside", field.name()));
    }
    for (field, own) in wanted.fields().iter().zip(target.schema.fields()) {
        if own.name() != field.name() {
            return Some(format!("{} stands where {} belongs", own.name(), field.name()));
        }
        if own.data_type() != field.data_type() {
            let (is, must) = (types::name(own.data_type()), types::name(field.data_type()));
            return Some(format!("{} is {is}, and must be {must}", own.name()));
        }
    }
    None
}

impl StreamPlan {
    /// Lets errors flow to the fault streams and the streams of dead letters that there are.
    pub(super) fn connect_errors(&mut self) {
        for stream in 0..self.streams.len() {
            let def = self.streams[stream].def.clone();
            let fault = self.stream(&fault_of(&def.name)).map(|to| (to, ErrorFlow::Fault));
            let queue = def.settings.errors.queue().and_then(|name| self.stream(name));
            let queue = queue.map(|to| (to, ErrorFlow::DeadLetters));
            for (to, flow) in fault.into_iter().chain(queue) {
                let entry = self.streams[to].entry;
                let own = self.streams[stream].node;
                for node in 0..self.nodes.len() {
                    let operates = matches!(self.nodes[node].kind, PlanNodeKind::Operator(_));
                    if self.nodes[node].errors == stream && (operates || node == own) {
                        self.connect_error(node, entry, flow);
                    }
                }
            }
        }
    }

    /// Whether a stream's errors go anywhere, so that its events must be whole.
    pub(super) fn keeps_errors<'d>(def: &StreamDef, mut streams: impl Iterator<Item = &'d Arc<StreamDef>>) -> bool {
        let fault = fault_of(&def.name);
        def.settings.errors.queue().is_some() || streams.any(|stream| stream.name == fault)
    }
}

/// The error of a circle that dead letters close.
pub(super) fn circle_of_letters(error: Diagnostic, defs: &[&StreamDef]) -> Diagnostic {
    let Some(def) = defs.iter().find(|def| def.settings.errors.queue().is_some()) else {
        return error;
    };
    let error = error.hint(
        "a dead letter's own trouble would go round for ever: give the streams made of dead letters another error.strategy, such as 'drop'",
    );
    let mut settings = def.settings.options.settings();
    let queue = settings.find(|setting| setting.name == DEAD_LETTERS);
    match queue
        .filter(|queue| queue.source.is_none())
        .and_then(|queue| queue.span)
    {
        Some(span) => error.at(span.clone()),
        None => error,
    }
}
