//! From DataFusion's Aggregate node to the plan of an aggregation: which columns it needs, and what it makes of them.

use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion_common::ScalarValue;
use datafusion_expr::expr::{AggregateFunction, NullTreatment};
use datafusion_expr::{Aggregate, Expr, ExprSchemable};

use super::lower::Flow;
use super::lower_slices::{Bounds, bound_of, current_of};
use crate::error::{Code, Diagnostic};
use crate::operators::aggregate_plan::{AggregateColumn, AggregatePlan, Form};
use crate::operators::aggregates::{AggregateSpec, Retraction};
use crate::operators::output_events::OutputEventsPlan;
use crate::operators::slice_aggregate::SliceColumn;

/// The columns that an aggregation reads, computed before it, and its keys and aggregates over them.
pub struct AggregateColumns {
    /// Expressions over the node's input, each with its type.
    pub inputs: Vec<(Expr, DataType)>,
    keys: Vec<usize>,
    aggregates: Vec<AggregateColumn>,
    /// Where each column of the node's output comes from.
    pub columns: Vec<SliceColumn>,
    schema: SchemaRef,
}

impl AggregateColumns {
    /// Of a node; columns that are `bounds` of its window are not computed.
    pub fn new(aggregate: &Aggregate, bounds: &Bounds) -> Result<Self, Diagnostic> {
        let mut columns = AggregateColumns {
            inputs: Vec::new(),
            keys: Vec::new(),
            aggregates: Vec::new(),
            columns: Vec::new(),
            schema: Arc::new(aggregate.schema.as_arrow().clone()),
        };
        for key in &aggregate.group_expr {
            if matches!(key, Expr::GroupingSet(_)) {
                let error = Diagnostic::new(Code::Unsupported, "not supported yet: GROUPING SETS, ROLLUP and CUBE");
                return Err(error);
            }
            if let Some(bound) = bound_of(key, bounds) {
                columns.columns.push(bound);
                continue;
            }
            let key = columns.input(key, aggregate)?;
            columns.columns.push(SliceColumn::Key(columns.keys.len()));
            columns.keys.push(key);
        }
        for expr in &aggregate.aggr_expr {
            if let Some(bound) = current_of(expr).and_then(|column| bound_of(column, bounds)) {
                columns.columns.push(bound);
                continue;
            }
            let column = columns.aggregate(expr, columns.columns.len(), aggregate)?;
            columns.columns.push(SliceColumn::Aggregate(columns.aggregates.len()));
            columns.aggregates.push(column);
        }
        Ok(columns)
    }

    /// The columns that are computed for the aggregation.
    pub fn input_schema(&self) -> SchemaRef {
        let fields = self.inputs.iter().map(|(expr, data_type)| {
            let name = expr.schema_name().to_string();
            Field::new(name, data_type.clone(), true)
        });
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    /// The plan over what kind of input and for which output.
    pub fn plan(&mut self, flow: Flow, output: OutputEventsPlan, input: SchemaRef) -> AggregatePlan {
        let retraction = match flow {
            Flow::Inserts => Retraction::Never,
            Flow::Changes { fifo: true } | Flow::Emissions => Retraction::Fifo,
            Flow::Changes { fifo: false } | Flow::Changelog => Retraction::Any,
        };
        let (current, expired) = match flow {
            Flow::Inserts | Flow::Changelog => (true, false),
            _ => (output.current, output.expired),
        };
        AggregatePlan {
            form: match flow {
                Flow::Emissions => Form::Emission,
                _ => Form::Running,
            },
            keys: self.keys.clone(),
            aggregates: std::mem::take(&mut self.aggregates),
            retraction,
            expired,
            current,
            deletes: flow == Flow::Changelog,
            counts_rows: flow != Flow::Inserts,
            input,
            schema: self.schema.clone(),
        }
    }

    fn input(&mut self, expr: &Expr, aggregate: &Aggregate) -> Result<usize, Diagnostic> {
        let expr = expr.clone().unalias();
        if let Some(known) = self.inputs.iter().position(|(known, _)| *known == expr) {
            return Ok(known);
        }
        let data_type = expr
            .get_type(aggregate.input.schema())
            .map_err(|error| Diagnostic::new(Code::Type, error.strip_backtrace()))?;
        self.inputs.push((expr, data_type));
        Ok(self.inputs.len() - 1)
    }

    fn aggregate(&mut self, expr: &Expr, output: usize, aggregate: &Aggregate) -> Result<AggregateColumn, Diagnostic> {
        let text = expr.schema_name().to_string();
        let Expr::AggregateFunction(AggregateFunction { func, params }) = expr.clone().unalias() else {
            return Err(Diagnostic::new(Code::Unsupported, format!("not supported yet: {text}")));
        };
        let mut arguments = Vec::new();
        let mut fields = Vec::new();
        // What `count(*)` counts is no column.
        let counted = params.args.iter().filter(|argument| !is_wildcard(argument));
        for argument in counted {
            let index = self.input(argument, aggregate)?;
            arguments.push(index);
            fields.push(Arc::new(Field::new("", self.inputs[index].1.clone(), true)));
        }
        let mut order_by = Vec::new();
        for sort in &params.order_by {
            let index = self.input(&sort.expr, aggregate)?;
            arguments.push(index);
            let options = SortOptions {
                descending: !sort.asc,
                nulls_first: sort.nulls_first,
            };
            order_by.push((self.inputs[index].1.clone(), options));
        }
        let filter = params
            .filter
            .as_ref()
            .map(|filter| self.input(filter, aggregate))
            .transpose()?;
        let constants: Vec<Option<ScalarValue>> = params
            .args
            .iter()
            .map(|argument| match argument {
                Expr::Literal(value, _) => Some(value.clone()),
                _ => None,
            })
            .collect();
        Ok(AggregateColumn {
            spec: AggregateSpec {
                function: func,
                arguments: fields,
                constants,
                distinct: params.distinct,
                order_by,
                return_type: self.schema.field(output).data_type().clone(),
                ignore_nulls: params.null_treatment == Some(NullTreatment::IgnoreNulls),
            },
            text,
            arguments,
            filter,
        })
    }
}

/// Whether it is the `*` of `count(*)`.
pub fn is_wildcard(expr: &Expr) -> bool {
    #[expect(deprecated, reason = "DataFusion still plans count(*) with it")]
    let wildcard = matches!(expr, Expr::Wildcard { .. });
    wildcard
}
