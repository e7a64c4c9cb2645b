//! The conditions of `expression` and `expressionBatch` windows: SQL over the window's events.
//!
//! Aggregates are over the window; `first.x` and `last.x` are columns of its oldest and its newest event, a bare `x` is the
//! newest's, `eventTimestamp(first)` and `eventTimestamp(last)` are their times.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion_common::{Column, DFSchema, DataFusionError};
use datafusion_expr::{Aggregate, EmptyRelation, Expr, ExprSchemable, LogicalPlan};
use eventflux_sqlparser::walk::{Walk, WalkMut};
use sqlparser::ast::{Expr as SqlExpr, Function, FunctionArguments, Ident, Visitor, VisitorMut};

use super::current_values::is_aggregate;
use super::lower::Flow;
use super::lower_aggregate::AggregateColumns;
use super::lower_slices::Bounds;
use super::pattern::planned;
use super::physical::physical_expr;
use crate::catalog::functions::{EVENT_TIMESTAMP, Functions};
use crate::catalog::names::{Resolved, resolve};
use crate::catalog::types;
use crate::catalog::windows::Condition;
use crate::config::nearest::nearest;
use crate::error::{Code, Diagnostic};
use crate::operators::output_events::{OutputEventsPlan, OutputForm};
use crate::windows::condition::{ConditionPlan, Operand};

/// Reads a condition over windows of events with columns of `schema`.
pub fn read(text: &str, schema: &Schema, functions: &Functions) -> Result<Condition, Diagnostic> {
    let mut expr = eventflux_sqlparser::parse_expr(text)
        .map_err(|error| Diagnostic::new(Code::Syntax, format!("in the window's condition: {}", error.message)))?;
    let mut names = Names {
        schema,
        functions,
        aggregates: Vec::new(),
        inside: 0,
    };
    if let ControlFlow::Break(error) = WalkMut::walk_mut(&mut expr, &mut names) {
        return Err(*error);
    }
    let events = df_schema(schema)?;
    let mut aggregates = Vec::new();
    for call in names.aggregates {
        aggregates.push(planned(call, &events, functions).map_err(not_planned)?);
    }
    let operands = df_schema(&operand_schema(&aggregates, schema)?)?;
    let expr = planned(expr, &operands, functions).map_err(not_planned)?;
    match expr.get_type(&operands).map_err(type_error)? {
        DataType::Boolean => {}
        other => {
            let message = format!("the window's condition is {}, not true or false", types::name(&other));
            return Err(Diagnostic::new(Code::Type, message));
        }
    }
    let mut columns: Vec<Column> = Vec::new();
    let read = aggregates.iter().chain([&expr]).flat_map(columns_of);
    for name in read.filter_map(|name| event_column(&name, schema)) {
        let column = Column::new_unqualified(name);
        if !columns.contains(&column) {
            columns.push(column);
        }
    }
    Ok(Condition {
        text: text.to_string(),
        aggregates,
        expr,
        columns,
    })
}

/// The condition over events with columns of `schema`, ready to be evaluated.
pub fn lower(condition: &Condition, schema: &SchemaRef) -> Result<ConditionPlan, Diagnostic> {
    let events = Arc::new(df_schema(schema)?);
    let mut inputs = Vec::new();
    let mut aggregate = None;
    if !condition.aggregates.is_empty() {
        let mut columns = aggregate_columns(&condition.aggregates, &events)?;
        for (expr, _) in &columns.inputs {
            inputs.push(physical_expr(expr, &events)?);
        }
        let input = columns.input_schema();
        aggregate = Some(columns.plan(Flow::Changes { fifo: true }, BOTH, input)?);
    }
    let all = operand_schema(&condition.aggregates, schema)?;
    let mut read: Vec<String> = columns_of(&condition.expr).collect();
    read.sort();
    read.dedup();
    let mut fields = Vec::new();
    let mut operands = Vec::new();
    for name in &read {
        fields.push(all.field_with_name(name).map_err(type_error)?.clone());
        operands.push(operand(name, schema)?);
    }
    let operand_schema = Arc::new(Schema::new(fields));
    Ok(ConditionPlan {
        text: condition.text.clone(),
        inputs,
        aggregate,
        operands,
        condition: physical_expr(&condition.expr, &df_schema(&operand_schema)?)?,
        operand_schema,
        schema: schema.clone(),
    })
}

/// What an aggregation of a condition gives is not told apart.
const BOTH: OutputEventsPlan = OutputEventsPlan {
    current: true,
    expired: true,
    form: OutputForm::Changes,
};

fn aggregate_columns(aggregates: &[Expr], events: &Arc<DFSchema>) -> Result<AggregateColumns, Diagnostic> {
    let empty = LogicalPlan::EmptyRelation(EmptyRelation {
        produce_one_row: false,
        schema: events.clone(),
    });
    let aggregate = Aggregate::try_new(Arc::new(empty), Vec::new(), aggregates.to_vec()).map_err(type_error)?;
    AggregateColumns::new(&aggregate, &Bounds::default())
}

const AGGREGATE: &str = "__aggregate:";
const FIRST: &str = "__first:";
const LAST: &str = "__last:";
/// No column can be called this.
const TIME: &str = "";

/// The values that a condition may read: those of its aggregates, and the columns and times of the first and last events.
fn operand_schema(aggregates: &[Expr], schema: &Schema) -> Result<Schema, Diagnostic> {
    let events = df_schema(schema)?;
    let mut fields = Vec::new();
    for (number, aggregate) in aggregates.iter().enumerate() {
        let data_type = aggregate.get_type(&events).map_err(type_error)?;
        fields.push(Field::new(format!("{AGGREGATE}{number}"), data_type, true));
    }
    for end in [FIRST, LAST] {
        fields.push(Field::new(format!("{end}{TIME}"), types::TIMESTAMP, true));
        for field in schema.fields() {
            let name = format!("{end}{}", field.name());
            fields.push(Field::new(name, field.data_type().clone(), true));
        }
    }
    Ok(Schema::new(fields))
}

/// Where an operand comes from.
fn operand(name: &str, schema: &SchemaRef) -> Result<Operand, Diagnostic> {
    let column = |name: &str| schema.index_of(name).map_err(type_error);
    if let Some(number) = name.strip_prefix(AGGREGATE) {
        return number.parse().map(Operand::Aggregate).map_err(type_error);
    }
    if let Some(name) = name.strip_prefix(FIRST) {
        return Ok(match name {
            TIME => Operand::FirstTime,
            name => Operand::First(column(name)?),
        });
    }
    Ok(match name.strip_prefix(LAST) {
        Some(TIME) | None => Operand::LastTime,
        Some(name) => Operand::Last(column(name)?),
    })
}

/// The stream's column behind a name in an aggregate or a condition.
fn event_column(name: &str, schema: &Schema) -> Option<String> {
    let name = name
        .strip_prefix(FIRST)
        .or_else(|| name.strip_prefix(LAST))
        .unwrap_or(name);
    schema.field_with_name(name).ok().map(|field| field.name().clone())
}

fn columns_of(expr: &Expr) -> impl Iterator<Item = String> + use<> {
    let mut names = Vec::new();
    let _ = expr.apply(|node| {
        if let Expr::Column(column) = node {
            names.push(column.name.clone());
        }
        Ok(TreeNodeRecursion::Continue)
    });
    names.into_iter()
}

fn df_schema(schema: &Schema) -> Result<DFSchema, Diagnostic> {
    let fields = schema.fields().iter().map(|field| (None, field.clone()));
    DFSchema::new_with_metadata(fields.collect(), HashMap::new()).map_err(type_error)
}

fn type_error(error: impl std::fmt::Display) -> Diagnostic {
    Diagnostic::new(Code::Type, format!("in the window's condition: {error}"))
}

fn not_planned(error: DataFusionError) -> Diagnostic {
    type_error(error.strip_backtrace())
}

/// Takes the aggregates out of a condition, and gives names their exact spelling and meaning.
struct Names<'a> {
    schema: &'a Schema,
    functions: &'a Functions,
    aggregates: Vec<SqlExpr>,
    /// How deep in aggregates we are: there, names are columns.
    inside: usize,
}

impl VisitorMut for Names<'_> {
    type Break = Box<Diagnostic>;

    fn pre_visit_expr(&mut self, expr: &mut SqlExpr) -> ControlFlow<Self::Break> {
        match self.rename(expr) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(Box::new(error)),
        }
    }
}

impl Names<'_> {
    fn rename(&mut self, expr: &mut SqlExpr) -> Result<(), Diagnostic> {
        let renamed = match &*expr {
            SqlExpr::Identifier(ident) if is_operand(&ident.value) => return Ok(()),
            SqlExpr::Function(call) if self.inside == 0 && is_aggregate(call, self.functions) => {
                self.aggregate(call)?
            }
            SqlExpr::Function(call) if call.name.to_string().eq_ignore_ascii_case(EVENT_TIMESTAMP) => {
                format!("{}{TIME}", event_of(call)?)
            }
            SqlExpr::Identifier(ident) if self.inside > 0 => self.column(ident)?,
            SqlExpr::Identifier(ident) => format!("{LAST}{}", self.column(ident)?),
            SqlExpr::CompoundIdentifier(idents) if self.inside == 0 => match idents.as_slice() {
                [end, column] => format!("{}{}", end_of(end)?, self.column(column)?),
                _ => return Ok(()),
            },
            _ => return Ok(()),
        };
        *expr = SqlExpr::Identifier(Ident::with_quote('"', renamed));
        Ok(())
    }

    /// Puts an aggregate aside; the name that stands for its value.
    fn aggregate(&mut self, call: &Function) -> Result<String, Diagnostic> {
        let mut call = SqlExpr::Function(call.clone());
        let mut arguments = Names {
            schema: self.schema,
            functions: self.functions,
            aggregates: Vec::new(),
            inside: 1,
        };
        if let ControlFlow::Break(error) = WalkMut::walk_mut(&mut call, &mut arguments) {
            return Err(*error);
        }
        self.aggregates.push(call);
        Ok(format!("{AGGREGATE}{}", self.aggregates.len() - 1))
    }

    fn column(&self, ident: &Ident) -> Result<String, Diagnostic> {
        let names = self.schema.fields().iter().map(|field| field.name().as_str());
        match resolve(&ident.value, names.clone()) {
            Resolved::One(exact) => Ok(exact.to_string()),
            _ => {
                let message = format!("in the window's condition: there is no column '{}'", ident.value);
                let error = Diagnostic::new(Code::UnknownColumn, message);
                Err(match nearest(&ident.value, names) {
                    Some(near) => error.hint(format!("did you mean '{near}'?")),
                    None => error,
                })
            }
        }
    }
}

fn is_operand(name: &str) -> bool {
    [AGGREGATE, FIRST, LAST].iter().any(|prefix| name.starts_with(prefix))
}

fn end_of(ident: &Ident) -> Result<&'static str, Diagnostic> {
    match ident.value.to_lowercase().as_str() {
        "first" => Ok(FIRST),
        "last" => Ok(LAST),
        other => {
            let message = format!("in the window's condition: there is no event '{other}'");
            Err(Diagnostic::new(Code::UnknownColumn, message).hint("write first.x or last.x"))
        }
    }
}

/// The event that `eventTimestamp(first)` asks for; the last without an argument.
fn event_of(call: &Function) -> Result<&'static str, Diagnostic> {
    struct Found(Vec<Ident>);
    impl Visitor for Found {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &SqlExpr) -> ControlFlow<()> {
            if let SqlExpr::Identifier(ident) = expr {
                self.0.push(ident.clone());
            }
            ControlFlow::Continue(())
        }
    }
    let mut found = Found(Vec::new());
    if let FunctionArguments::List(list) = &call.args {
        let _ = list.walk(&mut found);
    }
    found.0.first().map_or(Ok(LAST), end_of)
}
