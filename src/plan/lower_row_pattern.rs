//! From MATCH_RECOGNIZE to its operator: which columns come in, and its conditions and measures ready to run.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion_common::{Column, DFSchema};
use datafusion_expr::{Aggregate, EmptyRelation, Expr, LogicalPlan, UserDefinedLogicalNodeCore};

use super::lineage::is_time;
use super::lower::{Flow, Lowering, Pipe, cannot_retract};
use super::lower_aggregate::AggregateColumns;
use super::lower_slices::Bounds;
use super::partition::PARTITION_KEY;
use super::pattern::columns_of;
use super::physical::{physical_expr, with_event_time};
use super::row_pattern::{OutputColumn, RowPatternSpec, UNMATCHED, leaf_schema};
use super::row_pattern_aggregate::{AggregateSpec, LABEL_COLUMN, NUMBER_COLUMN};
use super::row_pattern_explain::lines;
use super::row_pattern_names::{LeafColumn, MARK};
use super::row_pattern_node::RowPatternNode;
use super::stream_plan::{NodeId, StreamId};
use crate::catalog::types;
use crate::error::{Code, Diagnostic};
use crate::operators::event_time_order::EventTimeOrderPlan;
use crate::operators::filter_project::{EVENT_TIME, FilterProjectPlan};
use crate::operators::output_events::{OutputEventsPlan, OutputForm};
use crate::patterns::columns::has_values;
use crate::row_patterns::aggregate::{Aggregated, Simple, SimpleKind};
use crate::row_patterns::conditions::{Conditions, PastCondition, RowLeaf};
use crate::row_patterns::leaf::{Leaf, reach};
use crate::row_patterns::matcher::{MatcherPlan, Skip};
use crate::row_patterns::measures::MeasuresPlan;
use crate::row_patterns::operator::RowPatternPlan;
use crate::row_patterns::registers::{Read, Registers};
use crate::row_patterns::scalar::Scalar;
use crate::windows::TimeDomain;

/// How many rows of a partition may be held. A match of more is a mistake rather than a match.
const MAX_ROWS: usize = 1_000_000;

/// How many ways an attempt may have to go on that conditions tell apart.
const MAX_THREADS: usize = 10_000;

impl Lowering<'_> {
    /// MATCH_RECOGNIZE: one node for all partitions.
    pub(super) fn row_pattern(&mut self, node: &RowPatternNode) -> Result<Pipe, Diagnostic> {
        let spec = &node.spec;
        let domain = self.plan.time_domain(&node.input);
        self.check_order(node)?;
        let (from, errors, input, places) = self.row_pattern_input(node, domain)?;
        let builder = Builder {
            spec,
            input: &input,
            places: &places,
        };
        let schema: SchemaRef = Arc::new(UserDefinedLogicalNodeCore::schema(node).as_arrow().clone());
        let conditions = builder.conditions()?;
        let measures = builder.measures(&schema)?;
        let row_leaves = conditions.leaves.iter();
        let shifts = row_leaves
            .map(|leaf| leaf.shift)
            .fold((0, 0), |(back, ahead), shift| match shift < 0 {
                true => (shift.unsigned_abs().max(back), ahead),
                false => (back, shift.unsigned_abs().max(ahead)),
            });
        let past = reach(used_leaves(spec).iter());
        let measured = reach(measures.leaves.iter());
        let order = spec.order.iter().skip(1);
        let order = order.map(|key| Ok((builder.place(key.column)?, key.options)));
        let order: Vec<_> = order.collect::<Result<_, Diagnostic>>()?;
        if domain == TimeDomain::Processing && !order.is_empty() {
            let error = Diagnostic::new(
                Code::Unstreamable,
                "without WATERMARK rows come one by one: nothing tells when all of one time are there",
            );
            return Err(error.hint("declare WATERMARK FOR <column>, or order by the event time alone"));
        }
        let keys = spec.keys.iter().map(|key| builder.place(*key));
        let numbers = |leaves: &[Leaf], aggregates: &[Aggregated]| {
            leaves.contains(&Leaf::Number) || aggregates.iter().any(|aggregate| aggregate.numbers)
        };
        let forgets = !spec.program.has_start
            && !numbers(&measures.leaves, &measures.aggregates)
            && !numbers(&used_leaves(spec), &conditions.aggregates);
        let matcher = MatcherPlan {
            forgets,
            program: spec.program.clone(),
            variables: spec.variables.clone(),
            conditions,
            measures,
            skip: spec.skip.clone(),
            within: spec.within,
            keys: keys.collect::<Result<_, _>>()?,
            in_block: spec
                .keys
                .first()
                .is_some_and(|key| spec.columns.field(*key).name() == PARTITION_KEY),
            back: shifts.0.max(past.0).max(measured.0),
            ahead: shifts.1.max(past.1),
            measured_ahead: measured.1,
            input: input.clone(),
            max_rows: MAX_ROWS,
            max_threads: MAX_THREADS,
        };
        if let Some(warning) = grows(spec) {
            self.plan.warnings.push(warning);
        }
        let plan = RowPatternPlan {
            lines: lines(spec, &matcher, domain),
            matcher,
            domain,
            order,
        };
        let added = self.add("match_recognize", errors, Arc::new(plan));
        self.plan.connect(from, added);
        if let Some(block) = self.partition
            && let (Some(keys), Some(_)) = (block.keys, block.purge)
        {
            self.plan.connect_control(keys, added);
        }
        let mut last = added;
        if self.in_order && domain == TimeDomain::Event {
            // Matches of different partitions are decided at different times.
            let operator = EventTimeOrderPlan { schema: schema.clone() };
            last = self.add_after(added, "in_order", errors, Arc::new(operator));
        }
        Ok(self.pipe_from(last, schema, errors, UserDefinedLogicalNodeCore::schema(node)))
    }

    /// The first key of ORDER BY must be the event time.
    fn check_order(&self, node: &RowPatternNode) -> Result<(), Diagnostic> {
        let spec = &node.spec;
        let (Some(first), Some(error)) = (spec.order.first(), &spec.not_time) else {
            return Ok(());
        };
        let name = spec.columns.field(first.column).name();
        let column = node.input.schema().index_of_column_by_name(None, name);
        let is_event_time =
            name == EVENT_TIME || column.is_some_and(|column| is_time(&node.input, column, &self.plan.time_columns));
        match is_event_time {
            true => Ok(()),
            false => Err(error.clone()),
        }
    }

    /// The rows, with the columns that are read; where each column of the specification is among them.
    #[expect(clippy::type_complexity, reason = "a node, whose errors, and its columns")]
    fn row_pattern_input(
        &mut self,
        node: &RowPatternNode,
        domain: TimeDomain,
    ) -> Result<(NodeId, StreamId, SchemaRef, HashMap<usize, usize>), Diagnostic> {
        let in_order = std::mem::replace(&mut self.in_order, domain == TimeDomain::Event);
        let retracts = std::mem::replace(&mut self.retracts, false);
        let holds = std::mem::replace(&mut self.holds, false);
        let pipe = self.pipe(&node.input);
        (self.in_order, self.retracts, self.holds) = (in_order, retracts, holds);
        let mut pipe = pipe?;
        match pipe.flow {
            Flow::Inserts => {}
            Flow::Changelog => {
                return Err(cannot_retract(
                    "MATCH_RECOGNIZE is over events, and those of a changelog may be taken back",
                ));
            }
            flow => {
                // What a window gives as it changes or closes are events.
                pipe = self.flushed(pipe, node.input.schema())?;
                let output = std::mem::replace(&mut self.output, ALL);
                let events = self.events_of(pipe.from, pipe.errors, flow);
                self.output = output;
                (pipe.from, pipe.flow) = (events?, Flow::Inserts);
            }
        }
        if pipe.projection.is_some() {
            pipe = self.flushed(pipe, node.input.schema())?;
        }
        let spec = &node.spec;
        let mut read = node.columns_read();
        read.extend(spec.outputs.iter().filter_map(|output| match output {
            OutputColumn::Input(column) => Some(*column),
            OutputColumn::Measure(_) => None,
        }));
        let mut fields = Vec::new();
        let mut exprs = Vec::new();
        let mut places = HashMap::new();
        let input = node.input.schema();
        for (index, (qualifier, field)) in input.iter().enumerate() {
            let column = spec
                .columns
                .index_of(field.name())
                .ok()
                .filter(|column| read.contains(column));
            // Rows of which nothing is read still come: a batch without columns would not say how many.
            if column.is_none() && !(index + 1 == input.fields().len() && fields.is_empty()) {
                continue;
            }
            let name = Expr::Column(Column::new(qualifier.cloned(), field.name()));
            if let Some(column) = column {
                places.insert(column, fields.len());
            }
            exprs.push(pipe.physical(&name)?);
            fields.push(Field::new(field.name(), field.data_type().clone(), true));
        }
        let time = spec.columns.fields().len() - 1;
        if read.contains(&time) {
            pipe.event_time = true;
            let name = Expr::Column(Column::new_unqualified(EVENT_TIME));
            exprs.push(physical_expr(&name, &with_event_time(&pipe.base)?)?);
            places.insert(time, fields.len());
            fields.push(Field::new(EVENT_TIME, types::TIMESTAMP, true));
        }
        pipe.projection = Some(exprs);
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        let (from, errors) = self.flush(pipe, &schema)?;
        Ok((from, errors, schema, places))
    }
}

/// The leaves that second parts of conditions read.
fn used_leaves(spec: &RowPatternSpec) -> Vec<Leaf> {
    let names: Vec<String> = spec
        .defines
        .iter()
        .filter_map(|define| define.of_past.as_ref())
        .flat_map(columns_of)
        .collect();
    let used = spec.past_leaves.iter().filter(|leaf| names.contains(&leaf.name));
    used.map(|leaf| leaf.leaf).collect()
}

struct Builder<'a> {
    spec: &'a RowPatternSpec,
    /// The columns that come in.
    input: &'a SchemaRef,
    /// Where columns of the specification are among them.
    places: &'a HashMap<usize, usize>,
}

impl Builder<'_> {
    fn place(&self, column: usize) -> Result<usize, Diagnostic> {
        let missing = || {
            missing(format!(
                "the column '{}' was not kept",
                self.spec.columns.field(column).name()
            ))
        };
        self.places.get(&column).copied().ok_or_else(missing)
    }

    /// A leaf with its column among those that come in.
    fn leaf(&self, leaf: Leaf) -> Result<Leaf, Diagnostic> {
        Ok(match leaf {
            Leaf::Column { target, column } => Leaf::Column {
                target,
                column: self.place(column)?,
            },
            other => other,
        })
    }

    fn conditions(&self) -> Result<Conditions, Diagnostic> {
        let spec = self.spec;
        let mut leaves = Vec::with_capacity(spec.row_leaves.len());
        let mut fields = Vec::with_capacity(spec.row_leaves.len());
        for (name, leaf, data_type) in &spec.row_leaves {
            leaves.push(RowLeaf {
                shift: leaf.shift,
                column: leaf.column.map(|column| self.place(column)).transpose()?,
            });
            fields.push(Field::new(name, data_type.clone(), true));
        }
        let rows = df_schema(fields.iter().cloned())?;
        let aggregates = self.aggregates(&spec.past_aggregates)?;
        let mut registers = Registers::default();
        let mut of_row = Vec::with_capacity(spec.defines.len());
        let mut of_past = Vec::with_capacity(spec.defines.len());
        for define in &spec.defines {
            let condition = define.of_row.as_ref().map(|expr| physical_expr(expr, &rows));
            of_row.push(condition.transpose()?);
            let condition = define.of_past.as_ref();
            let condition = condition.map(|expr| self.of_past(expr, &mut registers, &aggregates));
            of_past.push(condition.transpose()?);
        }
        Ok(Conditions {
            leaves,
            schema: Arc::new(Schema::new(fields)),
            of_row,
            reads_past: of_past.iter().any(Option::is_some),
            of_past,
            registers,
            aggregates,
        })
    }

    fn of_past(
        &self,
        expr: &Expr,
        registers: &mut Registers,
        aggregates: &[Aggregated],
    ) -> Result<PastCondition, Diagnostic> {
        let names = columns_of(expr);
        let used = self.spec.past_leaves.iter().filter(|leaf| names.contains(&leaf.name));
        let used: Vec<LeafColumn> = used.cloned().collect();
        let schema = leaf_schema(&used).map_err(missing)?;
        let count = self.spec.variables.len();
        let mut reads: Vec<Read> = Vec::with_capacity(used.len());
        for leaf in &used {
            let leaf = self.leaf(leaf.leaf)?;
            reads.push(registers.read(&leaf, count, |index| {
                (aggregates[index].variables, aggregates[index].labels)
            }));
        }
        let expr = physical_expr(expr, &schema)?;
        let schema: SchemaRef = Arc::new(schema.as_arrow().clone());
        Ok(PastCondition {
            scalar: Scalar::compile(&expr, &schema),
            reads,
            schema,
            expr,
        })
    }

    fn measures(&self, output: &SchemaRef) -> Result<MeasuresPlan, Diagnostic> {
        let spec = self.spec;
        let leaves = spec.leaves.iter().map(|leaf| self.leaf(leaf.leaf));
        let leaves: Vec<Leaf> = leaves.collect::<Result<_, _>>()?;
        let mut fields: Vec<Field> = spec
            .leaves
            .iter()
            .map(|leaf| Field::new(&leaf.name, leaf.data_type.clone(), true))
            .collect();
        let mut passed = Vec::new();
        for output in &spec.outputs {
            if let OutputColumn::Input(column) = output
                && let Some(place) = self.places.get(column)
            {
                passed.push(*place);
                fields.push(self.input.field(*place).clone());
            }
        }
        fields.push(Field::new(UNMATCHED, DataType::Boolean, true));
        let gathered = df_schema(fields.iter().cloned())?;
        let mut exprs = Vec::with_capacity(spec.outputs.len());
        for (place, column) in spec.outputs.iter().enumerate() {
            let expr = match column {
                OutputColumn::Measure(measure) => spec.measures[*measure].1.clone(),
                OutputColumn::Input(column) if self.places.contains_key(column) => {
                    Expr::Column(Column::new_unqualified(spec.columns.field(*column).name()))
                }
                // Nobody reads it.
                OutputColumn::Input(_) => {
                    let null = datafusion_common::ScalarValue::try_from(output.field(place).data_type());
                    Expr::Literal(null.map_err(missing)?, None)
                }
            };
            exprs.push(physical_expr(&expr, &gathered)?);
        }
        // What is printed of a row on which a measure fails.
        let shown = fields
            .iter()
            .map(|field| field.clone().with_name(field.name().replace(MARK, "")));
        Ok(MeasuresPlan {
            given: spec.given,
            leaves,
            aggregates: self.aggregates(&spec.aggregates)?,
            passed,
            schema: Arc::new(Schema::new(shown.collect::<Vec<_>>())),
            project: FilterProjectPlan {
                input: None,
                event_time: false,
                filter: None,
                projection: Some(exprs),
                schema: output.clone(),
            },
        })
    }

    fn aggregates(&self, specs: &[AggregateSpec]) -> Result<Vec<Aggregated>, Diagnostic> {
        specs.iter().map(|spec| self.aggregate(spec)).collect()
    }

    fn aggregate(&self, spec: &AggregateSpec) -> Result<Aggregated, Diagnostic> {
        let names = columns_of(&spec.call);
        let mut columns = Vec::new();
        let mut fields = Vec::new();
        for (column, field) in self.spec.columns.fields().iter().enumerate() {
            if names.contains(field.name()) {
                columns.push(self.place(column)?);
                fields.push(field.as_ref().clone().with_nullable(true));
            }
        }
        let labels = names.iter().any(|name| name == LABEL_COLUMN);
        let numbers = names.iter().any(|name| name == NUMBER_COLUMN);
        if labels {
            fields.push(Field::new(LABEL_COLUMN, DataType::Utf8View, true));
        }
        if numbers {
            fields.push(Field::new(NUMBER_COLUMN, DataType::Int64, true));
        }
        let schema: SchemaRef = Arc::new(Schema::new(fields.clone()));
        let rows = Arc::new(df_schema(fields.into_iter())?);
        let empty = LogicalPlan::EmptyRelation(EmptyRelation {
            produce_one_row: false,
            schema: rows.clone(),
        });
        let aggregate = Aggregate::try_new(Arc::new(empty), Vec::new(), vec![spec.call.clone()]).map_err(missing)?;
        let mut planned = AggregateColumns::new(&aggregate, &Bounds::default())?;
        let inputs = planned.inputs.iter().map(|(expr, _)| physical_expr(expr, &rows));
        let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
        let arguments = planned.input_schema();
        let plan = planned.plan(Flow::Inserts, ALL, arguments)?;
        let simple = match inputs.len() == plan.input.fields().len() {
            true => simple(&plan, &planned_columns(&aggregate), &schema, &columns),
            false => None,
        };
        Ok(Aggregated {
            text: spec.text.clone(),
            variables: spec.variables,
            columns,
            labels,
            numbers,
            schema,
            inputs,
            plan,
            simple,
        })
    }
}

/// The names of the columns that the arguments of an aggregate are, if they are columns.
fn planned_columns(aggregate: &Aggregate) -> Option<Vec<String>> {
    let Some(Expr::AggregateFunction(call)) = aggregate.aggr_expr.first().map(|expr| expr.clone().unalias()) else {
        return None;
    };
    if call.params.distinct || call.params.filter.is_some() || !call.params.order_by.is_empty() {
        return None;
    }
    let arguments = call.params.args.iter();
    let arguments = arguments.filter(|argument| !super::lower_aggregate::is_wildcard(argument));
    arguments
        .map(|argument| match without_casts(argument) {
            Expr::Column(column) => Some(column.name.clone()),
            Expr::Literal(value, _) if !value.is_null() => Some(String::new()),
            _ => None,
        })
        .collect()
}

/// What integers and floats are made wider from, which changes neither sums nor order.
fn without_casts(expr: &Expr) -> &Expr {
    match expr {
        Expr::Cast(cast) => match cast.field.data_type() {
            DataType::Int64 | DataType::Float64 => without_casts(&cast.expr),
            _ => expr,
        },
        other => other,
    }
}

/// How the values of an aggregate can be kept with sets.
fn simple(
    plan: &crate::operators::aggregate_plan::AggregatePlan,
    arguments: &Option<Vec<String>>,
    schema: &SchemaRef,
    columns: &[usize],
) -> Option<Simple> {
    let [aggregate] = plan.aggregates.as_slice() else {
        return None;
    };
    let name = aggregate.spec.function.name();
    let (column, data_type) = match arguments.as_deref()? {
        [] => (None, None),
        [constant] if constant.is_empty() => (None, None),
        [argument] => {
            let place = schema.index_of(argument).ok().filter(|place| *place < columns.len())?;
            (Some(columns[place]), Some(schema.field(place).data_type().clone()))
        }
        _ => return None,
    };
    let returned = plan.schema.field(0).data_type();
    let kind = match (name, &data_type) {
        ("count", None) => SimpleKind::Count,
        ("count", Some(data_type)) if has_values(data_type) => SimpleKind::Count,
        ("sum", Some(DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64))
            if *returned == DataType::Int64 =>
        {
            SimpleKind::SumInt
        }
        ("sum", Some(DataType::Float32 | DataType::Float64)) if *returned == DataType::Float64 => SimpleKind::SumFloat,
        ("avg", Some(data_type))
            if *returned == DataType::Float64
                && matches!(
                    data_type,
                    DataType::Int8
                        | DataType::Int16
                        | DataType::Int32
                        | DataType::Int64
                        | DataType::Float32
                        | DataType::Float64
                ) =>
        {
            SimpleKind::Avg
        }
        ("min", Some(data_type)) if has_values(data_type) && data_type == returned => SimpleKind::Min,
        ("max", Some(data_type)) if has_values(data_type) && data_type == returned => SimpleKind::Max,
        _ => return None,
    };
    Some(Simple { kind, column })
}

/// A warning about rows that are held for ever.
fn grows(spec: &RowPatternSpec) -> Option<Diagnostic> {
    if spec.within.is_some() || !spec.pattern.is_unbounded() {
        return None;
    }
    let message = "a match may take any number of rows, so its memory grows as long as none is decided";
    let error = Diagnostic::new(Code::Unstreamable, message);
    let skips = match spec.skip {
        Skip::PastLastRow => "",
        _ => "; its rows are held until it is decided",
    };
    Some(error.hint(format!(
        "bound it with WITHIN after PATTERN (…), such as WITHIN 10 MINUTES{skips}"
    )))
}

/// What goes in counts.
const ALL: OutputEventsPlan = OutputEventsPlan {
    current: true,
    expired: false,
    form: OutputForm::Events,
};

fn df_schema(fields: impl Iterator<Item = Field>) -> Result<DFSchema, Diagnostic> {
    let fields = fields.map(|field| (None, Arc::new(field))).collect();
    DFSchema::new_with_metadata(fields, HashMap::new()).map_err(missing)
}

fn missing(error: impl std::fmt::Display) -> Diagnostic {
    Diagnostic::new(Code::UnknownColumn, error.to_string())
}
