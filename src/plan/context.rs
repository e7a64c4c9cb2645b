//! What DataFusion's SQL planner asks of us: streams, views, functions, types, and our stricter rules for operators.

use std::any::Any;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, SchemaRef, TimeUnit};
use datafusion_common::config::ConfigOptions;
use datafusion_common::{DFSchema, DataFusionError, Result, ScalarValue, TableReference, plan_err};
use datafusion_expr::planner::{
    ContextProvider, ExprPlanner, PlannedRelation, PlannerResult, RawBinaryExpr, RelationPlanner,
    RelationPlannerContext, RelationPlanning, TypePlanner,
};
use datafusion_expr::{
    AggregateUDF, Expr, ExprSchemable, Extension, HigherOrderUDF, LogicalPlan, LogicalPlanBuilder, ScalarUDF,
    TableScan, TableSource, WindowUDF,
};
use eventflux_sqlparser::{RelationSource, StreamRelation};
use sqlparser::ast::{BinaryOperator, Ident, ObjectName, TableFactor};

use super::event_time_node::EventTimeNode;
use super::pattern::PatternSpec;
use super::pattern_node::PatternScan;
use super::trigger_side_node::TriggerSideNode;
use super::window_node::WindowNode;
use crate::catalog::functions::Functions;
use crate::catalog::scalars::json;
use crate::catalog::types;
use crate::catalog::windows::WindowKind;
use crate::tables::slot::TableSlot;

/// A stream, a table, or a view with its plan, as DataFusion sees it.
pub struct Source {
    /// The stream's or table's name; empty for views.
    pub stream: String,
    /// The table, if it is one.
    pub table: Option<Arc<TableSlot>>,
    schema: SchemaRef,
    view: Option<LogicalPlan>,
}

impl Source {
    /// A stream.
    pub fn stream(name: &str, schema: SchemaRef) -> Self {
        Source {
            stream: name.to_string(),
            table: None,
            schema,
            view: None,
        }
    }

    /// A table.
    pub fn table(slot: Arc<TableSlot>) -> Self {
        Source {
            stream: slot.def().name.clone(),
            schema: slot.def().schema.clone(),
            table: Some(slot),
            view: None,
        }
    }

    /// A view: its plan is put in its place.
    pub fn view(plan: LogicalPlan) -> Self {
        Source {
            stream: String::new(),
            table: None,
            schema: plan.schema().inner().clone(),
            view: Some(plan),
        }
    }

    /// What a scan reads; `None` for what is not of an app: a table that the batch engine already sees.
    pub fn of(scan: &TableScan) -> Option<&Self> {
        (scan.source.as_ref() as &dyn Any).downcast_ref()
    }
}

impl TableSource for Source {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn get_logical_plan(&self) -> Option<Cow<'_, LogicalPlan>> {
        self.view.as_ref().map(Cow::Borrowed)
    }
}

/// Names in reach of one query.
pub struct Context<'a> {
    sources: &'a HashMap<String, Arc<Source>>,
    functions: &'a Functions,
    options: ConfigOptions,
    expr_planners: Vec<Arc<dyn ExprPlanner>>,
    relation_planners: Vec<Arc<dyn RelationPlanner>>,
}

impl<'a> Context<'a> {
    /// For a query that reads `relations`, each with its window or its pattern if it has one, beside plain streams.
    pub fn new(
        sources: &'a HashMap<String, Arc<Source>>,
        functions: &'a Functions,
        relations: &[StreamRelation],
        windows: &[Option<WindowKind>],
        patterns: &[Option<Arc<PatternSpec>>],
    ) -> Self {
        let windows = windows.iter().cloned().chain(std::iter::repeat(None));
        let patterns = patterns.iter().cloned().chain(std::iter::repeat(None));
        let lifted = relations.iter().cloned().zip(windows).zip(patterns);
        let lifted = lifted.map(|((relation, window), pattern)| (relation, window, pattern));
        Context {
            sources,
            functions,
            options: ConfigOptions::default(),
            expr_planners: vec![
                Arc::new(Operators),
                Arc::new(datafusion_functions_nested::planner::NestedFunctionPlanner),
                Arc::new(datafusion_functions_nested::planner::FieldAccessPlanner),
                Arc::new(datafusion_functions::core::planner::CoreFunctionPlanner::default()),
                Arc::new(datafusion_functions::datetime::planner::DatetimeFunctionPlanner),
                Arc::new(datafusion_functions::unicode::planner::UnicodeFunctionPlanner),
            ],
            relation_planners: vec![Arc::new(Relations(lifted.collect()))],
        }
    }
}

impl ContextProvider for Context<'_> {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        match self.sources.get(name.table()) {
            Some(source) => Ok(source.clone()),
            None => plan_err!("there is no stream '{}'", name.table()),
        }
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.expr_planners
    }

    fn get_relation_planners(&self) -> &[Arc<dyn RelationPlanner>] {
        &self.relation_planners
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(Arc::new(Types))
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.functions.scalar(name)
    }

    fn get_higher_order_meta(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        self.functions.higher_order(name)
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.functions.aggregate(name)
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.functions.window(name)
    }

    fn get_variable_type(&self, _names: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        &self.options
    }

    fn udf_names(&self) -> Vec<String> {
        self.functions.scalar_names().map(str::to_string).collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        self.functions.higher_order_names().map(str::to_string).collect()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.functions.aggregate_names().map(str::to_string).collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.functions.window_names().map(str::to_string).collect()
    }
}

/// Types in CAST and the like are the language's.
#[derive(Debug)]
struct Types;

impl TypePlanner for Types {
    fn plan_type_field(&self, sql_type: &sqlparser::ast::DataType) -> Result<Option<FieldRef>> {
        let arrow = types::arrow_type(sql_type).map_err(DataFusionError::Plan)?;
        Ok(Some(Arc::new(Field::new("", arrow, true))))
    }
}

/// Plans the relations that the dialect lifted out of FROM.
#[derive(Debug)]
struct Relations(Vec<(StreamRelation, Option<WindowKind>, Option<Arc<PatternSpec>>)>);

impl RelationPlanner for Relations {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let TableFactor::Table { name, alias, .. } = &relation else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let lifted = self
            .0
            .iter()
            .enumerate()
            .find(|(index, _)| name.to_string() == eventflux_sqlparser::relation_name(*index));
        let Some((_, (lifted, window, pattern))) = lifted else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        if let Some(spec) = pattern {
            let streams = spec
                .streams
                .iter()
                .map(|stream| context.plan(named(Ident::with_quote('"', stream))));
            let node = PatternScan::new(streams.collect::<Result<_>>()?, spec.clone())?;
            let plan = LogicalPlan::Extension(Extension { node: Arc::new(node) });
            let planned = PlannedRelation::new(plan, alias.clone());
            return Ok(RelationPlanning::Planned(Box::new(planned)));
        }
        let RelationSource::Stream { name: stream, .. } = &lifted.source else {
            return plan_err!("only streams can be filtered with […]");
        };
        let mut plan = context.plan(named(stream.clone()))?;
        if let Some(filter) = &lifted.filter {
            let condition = context.sql_to_expr(filter.clone(), plan.schema())?;
            plan = LogicalPlanBuilder::from(plan).filter(condition)?.build()?;
        }
        if let Some(Expr::Column(column)) = lifted
            .time_column
            .as_ref()
            .map(|time| context.sql_to_expr(time.clone(), plan.schema()))
            .transpose()?
        {
            let node = Arc::new(EventTimeNode { input: plan, column });
            plan = LogicalPlan::Extension(Extension { node });
        }
        if let Some(kind) = window {
            let node = Arc::new(WindowNode::new(plan, kind.clone())?);
            plan = LogicalPlan::Extension(Extension { node });
        }
        if lifted.unidirectional {
            let node = Arc::new(TriggerSideNode { input: plan });
            plan = LogicalPlan::Extension(Extension { node });
        }
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(
            plan,
            alias.clone(),
        ))))
    }
}

/// A stream by its name, as a relation.
fn named(stream: Ident) -> TableFactor {
    TableFactor::Table {
        name: ObjectName::from(vec![stream]),
        alias: None,
        args: None,
        with_hints: Vec::new(),
        version: None,
        with_ordinality: false,
        partitions: Vec::new(),
        json_path: None,
        sample: None,
        index_hints: Vec::new(),
    }
}

/// PostgreSQL's rules where DataFusion's are laxer: text and numbers do not mix, a literal takes the other side's type.
#[derive(Debug)]
struct Operators;

impl ExprPlanner for Operators {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let RawBinaryExpr { op, left, right } = expr;
        match op {
            BinaryOperator::Arrow => return Ok(PlannerResult::Planned(json::arrow(left, right))),
            BinaryOperator::LongArrow => return Ok(PlannerResult::Planned(json::long_arrow(left, right))),
            _ => {}
        }
        if !is_comparison(&op) && !is_arithmetic(&op) {
            return Ok(PlannerResult::Original(RawBinaryExpr { op, left, right }));
        }
        let (left_type, right_type) = match (left.get_type(schema), right.get_type(schema)) {
            (Ok(left), Ok(right)) => (left, right),
            _ => return Ok(PlannerResult::Original(RawBinaryExpr { op, left, right })),
        };
        let left = adapt_literal(left, &right_type)?;
        let right = adapt_literal(right, &left_type)?;
        let (left, right) = match is_comparison(&op) {
            true => (adapt_duration(left, &right_type), adapt_duration(right, &left_type)),
            false => (left, right),
        };
        let (left_type, right_type) = (left.get_type(schema)?, right.get_type(schema)?);
        let mixed = |a: &DataType, b: &DataType| is_text(a) && (b.is_numeric() || *b == DataType::Boolean);
        let bool_arithmetic = is_arithmetic(&op) && (left_type == DataType::Boolean || right_type == DataType::Boolean);
        let bool_number = |a: &DataType, b: &DataType| *a == DataType::Boolean && b.is_numeric();
        if mixed(&left_type, &right_type)
            || mixed(&right_type, &left_type)
            || bool_arithmetic
            || bool_number(&left_type, &right_type)
            || bool_number(&right_type, &left_type)
            || (is_arithmetic(&op) && is_text(&left_type) && is_text(&right_type))
        {
            return plan_err!(
                "{} {op} {}: the types do not fit",
                types::name(&left_type),
                types::name(&right_type)
            );
        }
        Ok(PlannerResult::Original(RawBinaryExpr { op, left, right }))
    }
}

/// A literal beside a value of another type: an integer beside a narrower integer takes its type if it fits, text beside
/// a number is read as a number.
fn adapt_literal(expr: Expr, other: &DataType) -> Result<Expr> {
    let Expr::Literal(value, metadata) = &expr else {
        return Ok(expr);
    };
    match (value, other) {
        (ScalarValue::Int64(Some(number)), DataType::Int32) => Ok(match i32::try_from(*number) {
            Ok(number) => Expr::Literal(ScalarValue::Int32(Some(number)), metadata.clone()),
            Err(_) => expr,
        }),
        (ScalarValue::Utf8(Some(text)), other) if other.is_numeric() => {
            ScalarValue::try_from_string(text.trim().to_string(), other)
                .map(|value| Expr::Literal(value, metadata.clone()))
                .or_else(|_| plan_err!("'{text}' is not a {}", types::name(other)))
        }
        _ => Ok(expr),
    }
}

/// A literal compared with the distance of two times: an interval is its length, an integer is milliseconds.
fn adapt_duration(expr: Expr, other: &DataType) -> Expr {
    let (Expr::Literal(value, metadata), DataType::Duration(TimeUnit::Microsecond)) = (&expr, other) else {
        return expr;
    };
    let micros = match value {
        ScalarValue::Int32(Some(millis)) => Some(i64::from(*millis) * 1_000),
        ScalarValue::Int64(Some(millis)) => millis.checked_mul(1_000),
        ScalarValue::IntervalMonthDayNano(Some(interval)) if interval.months == 0 => i64::from(interval.days)
            .checked_mul(DAY)
            .and_then(|days| days.checked_add(interval.nanoseconds / 1_000)),
        _ => None,
    };
    match micros {
        Some(micros) => Expr::Literal(ScalarValue::DurationMicrosecond(Some(micros)), metadata.clone()),
        None => expr,
    }
}

/// A day in microseconds.
const DAY: i64 = 86_400_000_000;

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn is_comparison(op: &BinaryOperator) -> bool {
    use BinaryOperator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq)
}

fn is_arithmetic(op: &BinaryOperator) -> bool {
    use BinaryOperator::{Divide, Minus, Modulo, Multiply, Plus};
    matches!(op, Plus | Minus | Multiply | Divide | Modulo)
}
