//! From a pattern to its operator: which columns its streams bring, and its conditions ready to run.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion_common::{Column, DFSchema};
use datafusion_expr::utils::{conjunction, split_conjunction};
use datafusion_expr::{Aggregate, EmptyRelation, Expr, LogicalPlan, Operator, UserDefinedLogicalNodeCore};
use eventflux_sqlparser::OutputKind;

use super::lower::{Flow, Lowering, Pipe};
use super::lower_aggregate::AggregateColumns;
use super::lower_slices::Bounds;
use super::partition::PARTITION_KEY;
use super::pattern::{Output, SpecElement};
use super::pattern_explain::lines;
use super::pattern_names::{Part, Reference};
use super::pattern_node::PatternScan;
use super::physical::physical_expr;
use super::stream_plan::{NodeId, StreamId};
use crate::catalog::types;
use crate::error::{Code, Diagnostic};
use crate::operators::filter_project::EVENT_TIME;
use crate::patterns::columns::has_values;
use crate::patterns::conditions::{Condition, Join};
use crate::patterns::gather::{Capture, Collected, Gathered, What, Which};
use crate::patterns::matcher::{ElementPlan, MatcherPlan, PortPlan};
use crate::patterns::operator::PatternPlan;
use crate::patterns::order::Order;
use crate::patterns::program::Program;
use crate::patterns::shape::ElementId;
use crate::patterns::unread::superseding;
use crate::windows::TimeDomain;

impl Lowering<'_> {
    /// A pattern: one node with an input for each of its streams.
    pub(super) fn pattern(&mut self, scan: &PatternScan) -> Result<Pipe, Diagnostic> {
        let domains: Vec<TimeDomain> = scan.inputs.iter().map(|input| self.plan.time_domain(input)).collect();
        let domain = match domains.iter().all(|domain| *domain == TimeDomain::Event) {
            true => TimeDomain::Event,
            false => TimeDomain::Processing,
        };
        let snapshot = self.rate.as_ref().is_some_and(|rate| rate.kind == OutputKind::Snapshot);
        let expired = self.output.expired && !snapshot;
        if expired && self.retracts {
            let error = Diagnostic::new(Code::Unstreamable, "attempts that time out cannot be aggregated");
            return Err(error.hint("send them to a stream of their own, and aggregate that"));
        }
        let mut ports = Vec::with_capacity(scan.inputs.len());
        let mut from = Vec::with_capacity(scan.inputs.len());
        for (port, input) in scan.inputs.iter().enumerate() {
            // Several streams are put in order by the pattern itself.
            let ordered = domain == TimeDomain::Event && scan.inputs.len() == 1;
            let (node, errors, plan) = self.pattern_input(scan, port, input, ordered)?;
            from.push((node, errors));
            ports.push(plan);
        }
        let mut program = Program::new(&scan.spec.shape, scan.spec.mode, scan.spec.limit);
        let builder = Builder {
            scan,
            ports: &ports,
            program: &program,
        };
        let mut elements = Vec::with_capacity(scan.spec.elements.len());
        for id in 0..scan.spec.elements.len() {
            elements.push(builder.element(id)?);
        }
        let outputs: Result<Vec<Gathered>, _> = scan
            .spec
            .outputs
            .iter()
            .map(|output| builder.gathered(&output.reference))
            .collect();
        let outputs = outputs?;
        let schema = Arc::new(UserDefinedLogicalNodeCore::schema(scan).as_arrow().clone());
        let partition = builder.partition(&schema);
        program.supersedes = superseding(&program, &elements, &outputs);
        let matcher = MatcherPlan {
            outputs,
            partition,
            schema: schema.clone(),
            elements,
            expired,
            bound: scan.spec.bound,
            ports,
            program: Arc::new(program),
        };
        self.plan.warnings.extend(scan.spec.grows.iter().cloned());
        let plan = PatternPlan {
            lines: lines(scan, &matcher, domain),
            matcher,
            domain,
        };
        let errors = from.first().map_or(0, |(_, errors)| *errors);
        let node = self.add("pattern", errors, Arc::new(plan));
        for (input, _) in from {
            self.plan.connect(input, node);
        }
        if let Some(block) = self.partition
            && let (Some(keys), Some(_)) = (block.keys, block.purge)
        {
            self.plan.connect_control(keys, node);
        }
        let mut pipe = self.pipe_from(node, schema, errors, UserDefinedLogicalNodeCore::schema(scan));
        if expired {
            pipe.flow = Flow::Changes { fifo: false };
        }
        Ok(pipe)
    }

    /// A stream of a pattern, with the columns that are read of it.
    fn pattern_input(
        &mut self,
        scan: &PatternScan,
        port: usize,
        input: &LogicalPlan,
        ordered: bool,
    ) -> Result<(NodeId, StreamId, PortPlan), Diagnostic> {
        let in_order = std::mem::replace(&mut self.in_order, ordered);
        let retracts = std::mem::replace(&mut self.retracts, false);
        let holds = std::mem::replace(&mut self.holds, false);
        let pipe = self.pipe(input);
        (self.in_order, self.retracts, self.holds) = (in_order, retracts, holds);
        let mut pipe = pipe?;
        if pipe.flow != Flow::Inserts {
            let error = Diagnostic::new(
                Code::Unstreamable,
                "a pattern is over events, not over what leaves a window",
            );
            return Err(error.hint("send the window's output to a stream with INSERT INTO, and name that"));
        }
        let read = scan.columns(port);
        let mut fields = Vec::new();
        let mut exprs = Vec::new();
        if pipe.projection.is_some() {
            pipe = self.flushed(pipe, input.schema())?;
        }
        // Events of which nothing is read still come: a batch without columns would not say how many.
        let none = !input.schema().fields().iter().any(|field| read.contains(field.name()));
        let fields_read = input.schema().iter().enumerate();
        let fields_read = fields_read.filter(|(index, (_, field))| read.contains(field.name()) || none && *index == 0);
        for (_, (qualifier, field)) in fields_read {
            let column = Expr::Column(Column::new(qualifier.cloned(), field.name()));
            exprs.push(pipe.physical(&column)?);
            fields.push(Field::new(field.name(), field.data_type().clone(), true));
        }
        if read.contains(EVENT_TIME) {
            // `physical` makes the event time a column; its place is that of the last.
            let time = Expr::Column(Column::new_unqualified(EVENT_TIME));
            pipe.event_time = true;
            let with_time = super::physical::with_event_time(&pipe.base)?;
            exprs.push(physical_expr(&time, &with_time)?);
            fields.push(Field::new(EVENT_TIME, types::TIMESTAMP, true));
        }
        pipe.projection = Some(exprs);
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        let (node, errors) = self.flush(pipe, &schema)?;
        let index = |name: &String| schema.index_of(name).map_err(missing);
        let captured = scan.captured(port);
        let keys = scan.spec.partition_by.iter().map(String::as_str);
        let key = [PARTITION_KEY];
        let keys = key.into_iter().filter(|key| read.contains(*key)).chain(keys);
        let plan = PortPlan {
            stream: scan.spec.streams[port].clone(),
            captured: captured.iter().map(index).collect::<Result<_, _>>()?,
            partition: keys.map(|key| index(&key.to_string())).collect::<Result<_, _>>()?,
            schema: schema.clone(),
        };
        Ok((node, errors, plan))
    }
}

/// A condition with earlier events, taken apart.
struct Equalities {
    /// Columns of the event that equal values of earlier ones.
    equal: Vec<(usize, Capture)>,
    /// What else it asks.
    rest: Vec<Expr>,
}

struct Builder<'a> {
    scan: &'a PatternScan,
    ports: &'a [PortPlan],
    program: &'a Program,
}

impl Builder<'_> {
    fn element(&self, id: ElementId) -> Result<ElementPlan, Diagnostic> {
        let element = &self.scan.spec.elements[id];
        let port = &self.ports[element.port];
        let own = df_schema(port.schema.fields().iter().map(|field| field.as_ref().clone()))?;
        let filter = element.filter.as_ref().map(|filter| physical_expr(filter, &own));
        let mut condition = Condition::of_filter(filter.transpose()?);
        if let Some(join) = &element.join {
            let Equalities { equal, rest } = self.equalities(id, join)?;
            let is_word = |column: usize| *port.schema.field(column).data_type() != DataType::Utf8View;
            condition.exact = match equal.as_slice() {
                [] => true,
                [(column, _)] => is_word(*column),
                _ => false,
            };
            condition.equal = equal;
            let asked = match condition.exact {
                true => conjunction(rest),
                false => Some(join.clone()),
            };
            condition.join = asked.map(|asked| self.join(element, &asked)).transpose()?;
            let is_fixed = |capture: &Capture| {
                capture.which == Which::Only && self.program.elements[id].closes >> capture.element & 1 == 1
            };
            let scalar = condition.join.as_ref().and_then(|join| join.scalar.as_ref());
            condition.order = scalar.and_then(|scalar| Order::of(scalar, &is_fixed));
        }
        Ok(ElementPlan {
            name: element.name.clone(),
            port: element.port,
            condition,
        })
    }

    fn join(&self, element: &SpecElement, expr: &Expr) -> Result<Join, Diagnostic> {
        let port = &self.ports[element.port];
        let names = super::pattern::columns_of(expr);
        let reads: Vec<&Output> = element.reads.iter().filter(|read| names.contains(&read.name)).collect();
        let mut candidate = Vec::new();
        let mut fields = Vec::new();
        for (index, field) in port.schema.fields().iter().enumerate() {
            let read = reads.iter().any(|read| read.name == *field.name());
            if names.contains(field.name()) && !read {
                candidate.push(index);
                fields.push(field.as_ref().clone());
            }
        }
        fields.extend(reads.iter().map(|read| read.field()));
        let schema = Arc::new(Schema::new(fields.clone()));
        let captured = reads.iter().map(|read| self.gathered(&read.reference));
        Ok(Join::new(
            physical_expr(expr, &df_schema(fields.into_iter())?)?,
            candidate,
            captured.collect::<Result<_, _>>()?,
            schema,
        ))
    }

    /// `event.column = earlier.column`, where the earlier event is there when waiting begins; and what else the condition asks.
    fn equalities(&self, id: ElementId, expr: &Expr) -> Result<Equalities, Diagnostic> {
        let element = &self.scan.spec.elements[id];
        let port = &self.ports[element.port];
        let own = |expr: &Expr| match expr {
            Expr::Column(column) if !element.reads.iter().any(|read| read.name == column.name) => {
                port.schema.index_of(&column.name).ok()
            }
            _ => None,
        };
        let earlier = |expr: &Expr| match expr {
            Expr::Column(column) => element.reads.iter().find(|read| read.name == column.name),
            _ => None,
        };
        let found = |conjunct: &Expr| {
            let Expr::BinaryExpr(binary) = conjunct else {
                return None;
            };
            let sides = [(&binary.left, &binary.right), (&binary.right, &binary.left)];
            let mut sides = sides.iter().filter(|_| binary.op == Operator::Eq);
            let (column, read) = sides.find_map(|(left, right)| Some((own(left)?, earlier(right)?)))?;
            let Reference::Value {
                element: source,
                which: Which::Only,
                what: Part::Column(_),
            } = read.reference
            else {
                return None;
            };
            let data_type = port.schema.field(column).data_type();
            let comparable = *data_type == read.data_type && has_values(data_type) && !data_type.is_floating();
            let is_there = self.program.elements[id].closes >> source & 1 == 1;
            (comparable && is_there).then_some((column, &read.reference))
        };
        let (mut equal, mut rest) = (Vec::new(), Vec::new());
        for conjunct in split_conjunction(expr) {
            match found(conjunct) {
                Some((column, reference)) => {
                    if let Gathered::Capture(capture) = self.gathered(reference)? {
                        equal.push((column, capture));
                    }
                }
                None => rest.push(conjunct.clone()),
            }
        }
        Ok(Equalities { equal, rest })
    }

    /// Where a value comes from.
    fn gathered(&self, reference: &Reference) -> Result<Gathered, Diagnostic> {
        match reference {
            Reference::Value { element, which, what } => Ok(Gathered::Capture(Capture {
                element: *element,
                which: *which,
                what: match what {
                    Part::Column(column) => What::Column(self.captured(*element, column)?),
                    Part::Time => What::Time,
                    Part::Presence => What::Presence,
                },
            })),
            Reference::Aggregate { element, call } => self.collected(*element, call).map(Gathered::Aggregate),
        }
    }

    /// The place of a column among those captured of an element's stream.
    fn captured(&self, element: ElementId, column: &str) -> Result<usize, Diagnostic> {
        let port = &self.ports[self.scan.spec.elements[element].port];
        let mut captured = port.captured.iter();
        let place = captured.position(|index| port.schema.field(*index).name() == column);
        place.ok_or_else(|| missing(format!("the column '{column}' was not kept")))
    }

    fn collected(&self, element: ElementId, call: &Expr) -> Result<Arc<Collected>, Diagnostic> {
        let port = &self.ports[self.scan.spec.elements[element].port];
        let fields = port.captured.iter().map(|index| port.schema.field(*index).clone());
        let events = Arc::new(df_schema(fields)?);
        let empty = LogicalPlan::EmptyRelation(EmptyRelation {
            produce_one_row: false,
            schema: events.clone(),
        });
        let aggregate = Aggregate::try_new(Arc::new(empty), Vec::new(), vec![call.clone()]).map_err(missing)?;
        let mut columns = AggregateColumns::new(&aggregate, &Bounds::default())?;
        let inputs = columns.inputs.iter().map(|(expr, _)| physical_expr(expr, &events));
        let inputs = inputs.collect::<Result<_, _>>()?;
        let input = columns.input_schema();
        let all = crate::operators::output_events::OutputEventsPlan {
            current: true,
            expired: false,
            form: crate::operators::output_events::OutputForm::Events,
        };
        Ok(Arc::new(Collected {
            element,
            inputs,
            aggregate: columns.plan(Flow::Inserts, all, input)?,
        }))
    }

    /// The types of the partitions' keys, and where the key of a PARTITION stands among the outputs.
    fn partition(&self, schema: &SchemaRef) -> Option<(Vec<DataType>, Option<usize>)> {
        let port = self.ports.first().filter(|port| !port.partition.is_empty())?;
        let types = port
            .partition
            .iter()
            .map(|index| port.schema.field(*index).data_type().clone());
        Some((types.collect(), schema.index_of(PARTITION_KEY).ok()))
    }
}

fn df_schema(fields: impl Iterator<Item = Field>) -> Result<DFSchema, Diagnostic> {
    let fields = fields.map(|field| (None, Arc::new(field))).collect();
    DFSchema::new_with_metadata(fields, HashMap::new()).map_err(missing)
}

fn missing(error: impl std::fmt::Display) -> Diagnostic {
    Diagnostic::new(Code::UnknownColumn, error.to_string())
}
