//! From DataFusion's Aggregate node to the plan of an aggregation: which columns it needs, and what it makes of them.

use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{Column, ScalarValue};
use datafusion_expr::expr::{AggregateFunction, Case, NullTreatment};
use datafusion_expr::{Aggregate, Expr, ExprSchemable};

use super::lower::Flow;
use super::lower_slices::{Bounds, bound_of, current_of};
use crate::error::{Code, Diagnostic};
use crate::operators::aggregate_plan::{AggregateColumn, AggregatePlan, Form};
use crate::operators::aggregates::{AggregateSpec, Retraction, build};
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
    pub fn plan(
        &mut self,
        flow: Flow,
        output: OutputEventsPlan,
        input: SchemaRef,
    ) -> Result<AggregatePlan, Diagnostic> {
        let retraction = match flow {
            Flow::Inserts => Retraction::Never,
            Flow::Changes { fifo: true } | Flow::Emissions => Retraction::Fifo,
            Flow::Changes { fifo: false } | Flow::Changelog => Retraction::Any,
        };
        let (current, expired) = match flow {
            Flow::Inserts | Flow::Changelog => (true, false),
            _ => (output.current, output.expired),
        };
        for column in &self.aggregates {
            let built = build(&column.spec, retraction).map(|_| ());
            built.map_err(|error| Diagnostic::new(Code::Type, format!("{}: {error}", column.text)))?;
        }
        Ok(AggregatePlan {
            form: match flow {
                Flow::Emissions => Form::Emission,
                _ => Form::Running,
            },
            keys: self.keys.clone(),
            window_keys: self.keys.clone(),
            aggregates: std::mem::take(&mut self.aggregates),
            retraction,
            expired,
            current,
            deletes: flow == Flow::Changelog,
            counts_rows: flow != Flow::Inserts,
            input,
            schema: self.schema.clone(),
        })
    }

    /// The keys that are none of their window's bounds, when no bound was left out.
    pub fn window_keys(&self, aggregate: &Aggregate, bounds: &Bounds) -> Vec<usize> {
        let keys = self.keys.iter().zip(&aggregate.group_expr);
        let own = keys.filter(|(_, expr)| bound_of(expr, bounds).is_none());
        own.map(|(key, _)| *key).collect()
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
        let name = expr.schema_name().to_string();
        let text = written(expr);
        let Expr::AggregateFunction(AggregateFunction { func, params }) = expr.clone().unalias() else {
            return Err(Diagnostic::new(Code::Unsupported, format!("not supported yet: {text}")));
        };
        let mut params = params;
        if params.distinct && func.name() == "count" && params.args.len() > 1 {
            params.args = vec![distinct_tuple(params.args)];
        }
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
            name,
            arguments,
            filter,
        })
    }
}

/// An expression as one would write it: literals without their types, columns without their streams.
pub fn written(expr: &Expr) -> String {
    let bare = expr.clone().unalias().transform_up(|node| {
        Ok(match node {
            Expr::Column(column) => Transformed::yes(Expr::Column(Column::new_unqualified(column.name))),
            Expr::Cast(cast) => Transformed::yes(*cast.expr),
            other => Transformed::no(other),
        })
    });
    let bare = bare.map_or_else(|_| expr.clone(), |bare| bare.data);
    bare.human_display().to_string()
}

/// `count(DISTINCT a, b)` counts different pairs; one with a NULL in it is none, as with one column.
fn distinct_tuple(args: Vec<Expr>) -> Expr {
    let known = args.iter().map(|arg| arg.clone().is_not_null()).reduce(Expr::and);
    let tuple = datafusion_functions::core::expr_fn::r#struct(args);
    match known {
        Some(known) => Expr::Case(Case::new(None, vec![(Box::new(known), Box::new(tuple))], None)),
        None => tuple,
    }
}

/// Whether it is the `*` of `count(*)`.
pub fn is_wildcard(expr: &Expr) -> bool {
    #[expect(deprecated, reason = "DataFusion still plans count(*) with it")]
    let wildcard = matches!(expr, Expr::Wildcard { .. });
    wildcard
}
