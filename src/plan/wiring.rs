//! From checked queries to the graph that runs: the stream plan.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion_expr::LogicalPlan;

use super::changelogs::changelog_streams;
use super::compile::{Columns, Compiled, CompiledQuery, Environment, Outside};
use super::fault_streams::circle_of_letters;
use super::fingerprint::of_plan;
use super::lineage::time_columns;
use super::lower::{Block, Lowering, columns_read};
use super::lower_partition::has_broadcast;
use super::lower_top_n::ranks;
use super::meeting::streams_to_split;
use super::state_ids::StateNames;
use super::stream_plan::{PlanNodeKind, QueryPlan, QueryTarget, StreamPlan};
use super::text::Text;
use super::watermark::bound_is_computed;
use super::wire_stream::add_stream;
use crate::catalog::streams::{Connection, LatePolicy, Role, StreamDef};
use crate::connectors::{Registry, Unfit};
use crate::error::{Code, Diagnostic};
use crate::formats::DecodeSchema;
use crate::operators::output_events::{OutputEventsPlan, OutputForm};
use crate::windows::TimeDomain;

impl Compiled {
    /// Lets every connector check its options, without side effects.
    pub(super) fn check_connections(&self, environment: &Environment, text: &Text) -> Result<(), Diagnostic> {
        for stream in &self.streams {
            let at = |mut error: Diagnostic| {
                if error.span.is_none() {
                    error.span = stream.span.clone();
                }
                text.finish(error)
            };
            let source = environment
                .registry
                .build_source(stream, DecodeSchema::all(stream.schema.clone()));
            let sink = environment.registry.build_sink(stream);
            for error in [source.err(), sink.err()].into_iter().flatten() {
                if error.code != Code::Missing || environment.outside == Outside::Connected {
                    return Err(at(error));
                }
            }
        }
        self.check_exclusive(environment.registry, text)?;
        // Lowering finds what only it can: circles, watermarks that are not TIMESTAMPs.
        self.stream_plan(Columns::All).map(|_| ())
    }

    /// Asks every source whether what it reads is there and fits. Those that cannot be asked now are told to `unreachable`.
    pub fn check_outside(
        &self,
        registry: &Registry,
        mut unreachable: impl FnMut(Diagnostic) -> Result<(), Diagnostic>,
    ) -> Result<(), Diagnostic> {
        let text = Text::new(&self.source);
        for stream in &self.streams {
            let at = |mut error: Diagnostic| {
                if error.span.is_none() {
                    error.span.clone_from(&stream.span);
                }
                text.finish(error)
            };
            let schema = DecodeSchema::all(stream.schema.clone());
            let source = registry.build_source(stream, schema).map_err(at)?;
            match source.map_or(Ok(()), |mut source| source.check()) {
                Ok(()) => {}
                Err(Unfit::Unreachable(error)) => unreachable(at(error))?,
                Err(Unfit::Wrong(error)) => return Err(at(error)),
            }
        }
        Ok(())
    }

    /// Connectors that only one stream can read are read by one.
    fn check_exclusive(&self, registry: &Registry, text: &Text) -> Result<(), Diagnostic> {
        let mut readers: BTreeMap<&str, &str> = BTreeMap::new();
        for stream in &self.streams {
            let Role::Source(connection) = &stream.role else {
                continue;
            };
            let connector = registry.connector(&connection.connector)?;
            if connector.source().is_some_and(|source| source.is_exclusive())
                && let Some(first) = readers.insert(connector.name(), &stream.name)
            {
                let message = format!("'{first}' reads {} already, and only one stream can", connector.name());
                let mut error =
                    Diagnostic::new(Code::Duplicate, message).hint(format!("let both queries read '{first}'"));
                error.span.clone_from(&stream.span);
                return Err(text.finish(error));
            }
        }
        Ok(())
    }

    /// The stream plan. Called again at the start, when it is known who reads which columns.
    pub fn stream_plan(&self, columns: Columns) -> Result<StreamPlan, Diagnostic> {
        let text = Text::new(&self.source);
        let mut plan = StreamPlan {
            streams: Vec::new(),
            queries: Vec::new(),
            nodes: Vec::new(),
            warnings: self.warnings.clone(),
            ordered: BTreeMap::new(),
            event_time: self.event_time_streams(),
            blocks: BTreeMap::new(),
            time_columns: BTreeMap::new(),
            changelogs: BTreeSet::new(),
            tables: self.tables.clone(),
            state_names: StateNames::of(&self.streams, &self.tables),
        };
        let streams = || self.streams.iter().map(Arc::as_ref);
        plan.time_columns = time_columns(streams(), &self.queries);
        plan.changelogs = changelog_streams(streams(), &self.queries, &plan.event_time, &plan.time_columns);
        let split = streams_to_split(&self.queries);
        let read = self.columns_read();
        for def in &self.streams {
            let wanted = self.columns_wanted(def, columns, &read);
            add_stream(&mut plan, def, wanted, split.contains(&def.name), &text)?;
        }
        for stream in 0..plan.streams.len() {
            if let LatePolicy::Redirect(name) = &plan.streams[stream].def.settings.late.clone()
                && let Some(target) = plan.stream(name)
            {
                let (from, to) = (plan.streams[stream].entry, plan.streams[target].entry);
                plan.connect_late(from, to);
            }
        }
        let mut of_target: BTreeMap<&str, usize> = BTreeMap::new();
        for query in self
            .queries
            .iter()
            .filter(|query| !self.explained.contains(&query.name))
        {
            let number = of_target.entry(&query.target).or_default();
            *number += 1;
            let id = format!("{}#{number}", self.state_id(&query.target));
            self.add_query(&mut plan, query, &id, &text)?;
        }
        plan.connect_errors();
        check_circles(&plan, &text)?;
        Ok(plan)
    }

    /// What the state of queries into that stream or table is saved under.
    fn state_id<'a>(&'a self, target: &'a str) -> &'a str {
        let mut tables = self.tables.iter().map(|table| table.def().as_ref());
        match (self.stream(target), tables.find(|table| table.name == target)) {
            (Some(stream), _) => stream.state_id(),
            (None, Some(table)) => table.state_id(),
            (None, None) => target,
        }
    }

    /// The plan of the queries that EXPLAIN stands before, and of all others.
    pub fn explain_plan(&self) -> Result<StreamPlan, Diagnostic> {
        let text = Text::new(&self.source);
        let mut plan = self.stream_plan(Columns::ReadOr(&BTreeSet::new()))?;
        for query in self.queries.iter().filter(|query| self.explained.contains(&query.name)) {
            self.add_query(&mut plan, query, &query.name, &text)?;
        }
        Ok(plan)
    }

    /// The streams with a WATERMARK, and those that only such streams feed.
    fn event_time_streams(&self) -> BTreeSet<String> {
        let mut found: BTreeSet<String> = BTreeSet::new();
        let declared = self.streams.iter().filter(|stream| stream.has_event_time());
        found.extend(declared.map(|stream| stream.name.clone()));
        loop {
            let mut fed: BTreeMap<&str, bool> = BTreeMap::new();
            for query in &self.queries {
                let mut read = BTreeMap::new();
                columns_read(&query.plan, &mut read);
                let timed = !read.is_empty() && read.keys().all(|stream| found.contains(stream));
                *fed.entry(&query.target).or_insert(true) &= timed;
            }
            let before = found.len();
            let timed = fed.into_iter().filter(|(_, timed)| *timed);
            found.extend(timed.map(|(stream, _)| stream.to_string()));
            if found.len() == before {
                return found;
            }
        }
    }

    fn columns_read(&self) -> BTreeMap<String, BTreeSet<usize>> {
        let mut read = BTreeMap::new();
        for query in &self.queries {
            columns_read(&query.plan, &mut read);
        }
        for key in self.partitions.values().flat_map(|partition| &partition.keys) {
            columns_read(key, &mut read);
        }
        read
    }

    /// The columns of a stream that anybody reads, the stream itself included; all of them unless it is a source.
    fn columns_wanted(
        &self,
        def: &StreamDef,
        columns: Columns,
        read: &BTreeMap<String, BTreeSet<usize>>,
    ) -> Arc<[usize]> {
        let fields = 0..def.schema.fields().len();
        let redirects = |stream: &StreamDef| matches!(stream.settings.late, LatePolicy::Redirect(_));
        let receives_late = || {
            let late = LatePolicy::Redirect(def.name.clone());
            self.streams.iter().any(|other| other.settings.late == late)
        };
        let receives_letters = || {
            let mut others = self.streams.iter();
            others.any(|other| other.settings.errors.queue() == Some(def.name.as_str()))
        };
        let all = match columns {
            Columns::All => true,
            Columns::ReadOr(keep) => {
                keep.contains(&def.name)
                    || !matches!(def.role, Role::Source(_))
                    || redirects(def)
                    || self.queries.iter().any(|query| query.target == def.name)
                    || receives_late()
                    || receives_letters()
                    || StreamPlan::keeps_errors(def, self.streams.iter())
            }
        };
        if all {
            return fields.collect();
        }
        let mut wanted = read.get(&def.name).cloned().unwrap_or_default();
        wanted.extend(&def.primary_key);
        if let Some(watermark) = &def.watermark {
            wanted.insert(watermark.column);
            if bound_is_computed(def, watermark) {
                wanted.extend(fields);
            }
        }
        wanted.into_iter().collect()
    }

    /// Adds a query, whose operators' ids begin with `id`.
    fn add_query(&self, plan: &mut StreamPlan, query: &CompiledQuery, id: &str, text: &Text) -> Result<(), Diagnostic> {
        let target = plan.stream(&query.target);
        if let Some(target) = target.filter(|_| ranks(&query.plan, &self.streams)) {
            takes_changelog(&plan.streams[target].def).map_err(|error| text.at(error, query.span))?;
        }
        let block = match &query.partition {
            Some(scope) => Some(self.add_block(plan, scope.number, text)?),
            None => None,
        };
        let begun = plan.nodes.len();
        let number = plan.queries.len();
        let warnings = plan.warnings.len();
        let mut lowering = Lowering::new(plan, Some(number), id, query.output, query.rate.clone());
        lowering.changes = query.changes;
        lowering.partition = block;
        let lowered = match (&query.write, target) {
            (Some(write), _) => lowering.lower_write(&query.plan, write),
            (None, Some(target)) => {
                let schema = lowering.plan.streams[target].def.schema.clone();
                lowering.lower(&query.plan, &schema)
            }
            (None, None) => return Ok(()),
        };
        let first = std::mem::take(&mut lowering.first);
        let last = lowered.map_err(|error| text.at(error, query.span))?;
        let warnings = plan.warnings.split_off(warnings).into_iter();
        plan.warnings
            .extend(warnings.map(|warning| text.at(warning, query.span)));
        for node in plan.nodes[begun..].iter_mut().filter(|node| node.query == Some(number)) {
            node.block = query.partition.as_ref().map(|scope| scope.number);
        }
        let target = match (&query.write, target) {
            (Some(write), _) => QueryTarget::Table(write.table.clone()),
            (None, Some(target)) => {
                let entry = plan.streams[target].entry;
                plan.connect(last, entry);
                QueryTarget::Stream(target)
            }
            (None, None) => return Ok(()),
        };
        plan.queries.push(QueryPlan {
            name: query.name.clone(),
            target,
            first,
            last,
            definition: of_plan(&query.name, &query.plan, &plan.state_names),
        });
        Ok(())
    }

    /// What the queries of a PARTITION share. The keys alive are known before any query of the block sees an event.
    fn add_block(&self, plan: &mut StreamPlan, number: usize, text: &Text) -> Result<Block, Diagnostic> {
        let Some(partition) = self.partitions.get(&number) else {
            return Err(text.finish(Diagnostic::new(Code::Syntax, "a PARTITION without keys")));
        };
        let queries = self.queries.iter().filter(|query| {
            let scope = query.partition.as_ref();
            scope.is_some_and(|scope| scope.number == number)
        });
        let broadcasts = queries.into_iter().any(|query| has_broadcast(&query.plan));
        let timed = |key: &LogicalPlan| plan.time_domain(key) == TimeDomain::Event;
        let in_order = broadcasts && partition.keys.iter().all(timed);
        let mut block = Block {
            purge: partition.purge,
            in_order,
            keys: plan.blocks.get(&number).copied(),
        };
        if block.keys.is_none() && (broadcasts || partition.purge.is_some()) {
            let name = format!("partition_{number}");
            let begun = plan.nodes.len();
            let mut lowering = Lowering::new(plan, None, &name, OUTPUT, None);
            lowering.partition = Some(block);
            let node = lowering.keys(&partition.keys);
            let node = node.map_err(|error| text.at(error, partition.span))?;
            for added in &mut plan.nodes[begun..] {
                // What puts a stream into order is everybody's.
                let own = added.id.starts_with(&name);
                added.block = own.then_some(number);
            }
            plan.blocks.insert(number, node);
            block.keys = Some(node);
        }
        Ok(block)
    }
}

/// Refuses a stream that cannot pass on rows that leave.
fn takes_changelog(def: &StreamDef) -> Result<(), Diagnostic> {
    let (why, hint) = match &def.role {
        _ if def.window.is_some() => ("is a window, which holds events", "send the query to a stream"),
        _ if def.watermark.is_some() => (
            "has a WATERMARK, which drops what comes late",
            "leave it out: the changes come with their own times",
        ),
        Role::Sink(Connection { format: Some(_), .. }) => (
            "writes rows, and cannot say which of them leave",
            "print the query, or use extension = 'log'; both show +I and -D",
        ),
        _ => return Ok(()),
    };
    let message = format!(
        "'{}' {why}, but a query with ORDER BY … LIMIT gives a changelog: rows that enter and leave",
        def.name
    );
    Err(Diagnostic::new(Code::Unstreamable, message).hint(hint))
}
/// Every event that comes in goes out.
const OUTPUT: OutputEventsPlan = OutputEventsPlan {
    current: true,
    expired: false,
    form: OutputForm::Events,
};

fn check_circles(plan: &StreamPlan, text: &Text) -> Result<(), Diagnostic> {
    let Err(nodes) = plan.topological() else {
        return Ok(());
    };
    let streams: Vec<usize> = nodes
        .iter()
        .filter_map(|&node| match plan.nodes[node].kind {
            PlanNodeKind::Stream(stream) => Some(stream),
            _ => None,
        })
        .collect();
    let names: Vec<&str> = streams
        .iter()
        .map(|&stream| plan.streams[stream].def.name.as_str())
        .collect();
    let error = Diagnostic::new(
        Code::Cycle,
        format!("streams feed each other in a circle: {}", names.join(", ")),
    )
    .hint("an event would go round for ever; send the result to a stream of its own");
    let defs: Vec<&StreamDef> = streams
        .iter()
        .map(|&stream| plan.streams[stream].def.as_ref())
        .collect();
    let mut error = circle_of_letters(error, &defs);
    if error.span.is_none() {
        error.span = defs.iter().find_map(|def| def.span.clone());
    }
    Err(text.finish(error))
}
