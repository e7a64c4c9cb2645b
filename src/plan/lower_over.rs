//! From DataFusion's Window node to the plans of its operators: which columns they need, and what they make of them.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion_common::tree_node::TreeNode;
use datafusion_common::{DataFusionError, ScalarValue};
use datafusion_expr::expr::{WindowFunction, WindowFunctionParams};
use datafusion_expr::{
    AggregateUDF, Expr, ExprSchemable, LogicalPlan, Window, WindowFrame, WindowFrameBound, WindowFrameUnits,
    WindowFunctionDefinition,
};

use super::failure;
use super::lower_aggregate::written;
use crate::error::{Code, Diagnostic};
use crate::event::Micros;
use crate::operators::aggregate_plan::AggregateColumn;
use crate::operators::aggregates::{AggregateSpec, build};
use crate::operators::over::frame::{Frame, FrameCall, Position, ValueCall, retraction};
use crate::operators::over::lead::{LeadCall, LeadColumn, LeadPlan};
use crate::operators::over::rank::RankKind;
use crate::operators::over::{OverCall, OverFunction, OverPlan};
use crate::windows::TimeDomain;

/// The operators of a Window node, and what they read.
pub struct OverOperators {
    /// The columns that come in, as expressions over those of the node's input: first these themselves, then what is computed.
    pub inputs: Vec<Expr>,
    /// Their schema.
    pub input: SchemaRef,
    /// Functions that look back.
    pub over: Option<OverPlan>,
    /// Functions that wait.
    pub lead: Option<LeadPlan>,
}

/// A function as planned: it looks back, or it waits.
enum Call {
    Back(OverCall),
    Ahead(LeadCall),
}

struct Builder<'a> {
    window: &'a Window,
    inputs: Vec<(Expr, Field)>,
}

/// Whether the rows of a plan may come in another order than that of the streams it reads.
pub fn disorders(plan: &LogicalPlan) -> bool {
    let disorders = plan.exists(|node| -> Result<bool, DataFusionError> {
        Ok(match node {
            LogicalPlan::Union(_) => true,
            LogicalPlan::Window(window) => window.window_expr.iter().any(waits),
            _ => false,
        })
    });
    disorders.unwrap_or(true)
}

/// Whether it is a LEAD, also one that is written as LAG of less than 0 rows.
fn waits(expr: &Expr) -> bool {
    let Expr::WindowFunction(call) = expr.clone().unalias() else {
        return false;
    };
    let offset = constant(call.params.args.get(1)).unwrap_or(1);
    match call.fun.name() {
        "lead" => offset > 0,
        "lag" => offset < 0,
        _ => false,
    }
}

impl OverOperators {
    /// Of a node whose time is moved so.
    pub fn new(window: &Window, domain: TimeDomain) -> Result<Self, Diagnostic> {
        let schema = window.input.schema();
        let columns = schema.columns().into_iter().zip(schema.fields());
        let passed = columns.map(|(column, field)| (Expr::Column(column), field.as_ref().clone()));
        let mut builder = Builder {
            window,
            inputs: passed.collect(),
        };
        let passed = builder.inputs.len();
        let mut keys = None;
        let mut calls = Vec::new();
        for (index, expr) in window.window_expr.iter().enumerate() {
            let Expr::WindowFunction(function) = expr.clone().unalias() else {
                return Err(unsupported(&expr.to_string()));
            };
            let text = call_text(expr);
            let own = builder.keys(&function.params)?;
            if *keys.get_or_insert_with(|| own.clone()) != own {
                return Err(unsupported("functions of several PARTITION BY in one step"));
            }
            let data_type = window.schema.field(passed + index).data_type().clone();
            calls.push((text, builder.call(*function, &data_type)?));
        }
        Ok(builder.operators(keys.unwrap_or_default(), calls, domain))
    }
}

impl Builder<'_> {
    fn operators(self, keys: Vec<usize>, calls: Vec<(String, Call)>, domain: TimeDomain) -> OverOperators {
        let schema: SchemaRef = Arc::new(self.window.schema.as_arrow().clone());
        let fields: Vec<Field> = self.inputs.iter().map(|(_, field)| field.clone()).collect();
        let input = Arc::new(Schema::new(fields.clone()));
        let passed = self.window.input.schema().fields().len();
        let (mut functions, mut leads) = (Vec::new(), Vec::new());
        let mut between = fields;
        let mut columns: Vec<LeadColumn> = (0..passed).map(LeadColumn::Input).collect();
        for (index, (text, call)) in calls.into_iter().enumerate() {
            match call {
                Call::Back(call) => {
                    columns.push(LeadColumn::Input(between.len()));
                    between.push(schema.field(passed + index).clone());
                    functions.push(OverFunction { text, call });
                }
                Call::Ahead(call) => {
                    columns.push(LeadColumn::Lead(leads.len()));
                    leads.push(LeadCall { text, ..call });
                }
            }
        }
        let between: SchemaRef = Arc::new(Schema::new(between));
        let over = (!functions.is_empty()).then(|| OverPlan {
            keys: keys.clone(),
            functions,
            domain,
            passed: if leads.is_empty() { passed } else { self.inputs.len() },
            input: input.clone(),
            schema: if leads.is_empty() {
                schema.clone()
            } else {
                between.clone()
            },
        });
        let lead = (!leads.is_empty()).then_some(LeadPlan {
            keys,
            calls: leads,
            columns,
            input: between,
            schema,
        });
        OverOperators {
            inputs: self.inputs.into_iter().map(|(expr, _)| expr).collect(),
            input,
            over,
            lead,
        }
    }

    /// The column of an expression, of a type if one is asked for.
    fn input(&mut self, expr: &Expr, data_type: Option<&DataType>) -> Result<usize, Diagnostic> {
        let schema = self.window.input.schema();
        let mut expr = expr.clone().unalias();
        let mut own = expr.get_type(schema).map_err(planning)?;
        if let Some(data_type) = data_type.filter(|data_type| **data_type != own) {
            expr = expr.cast_to(data_type, schema).map_err(planning)?;
            own = data_type.clone();
        }
        if let Some(known) = self.inputs.iter().position(|(known, _)| *known == expr) {
            return Ok(known);
        }
        let name = expr.schema_name().to_string();
        self.inputs.push((expr, Field::new(name, own, true)));
        Ok(self.inputs.len() - 1)
    }

    fn keys(&mut self, params: &WindowFunctionParams) -> Result<Vec<usize>, Diagnostic> {
        let keys = params.partition_by.iter().map(|key| self.input(key, None));
        let mut keys: Vec<usize> = keys.collect::<Result<_, _>>()?;
        keys.sort_unstable();
        keys.dedup();
        Ok(keys)
    }

    fn call(&mut self, function: WindowFunction, data_type: &DataType) -> Result<Call, Diagnostic> {
        let WindowFunction { fun, params } = function;
        let function = match fun {
            WindowFunctionDefinition::AggregateUDF(function) => {
                let frame = frame(&params.window_frame)?;
                let column = self.aggregate(function, params, data_type, frame)?;
                let call = FrameCall::Aggregate(Box::new(column));
                return Ok(Call::Back(OverCall::Framed(frame, call)));
            }
            WindowFunctionDefinition::WindowUDF(function) => function,
        };
        if params.filter.is_some() || params.distinct {
            let message = format!("{} takes neither FILTER nor DISTINCT", function.name());
            return Err(Diagnostic::new(Code::Type, message));
        }
        let rank = |kind| Ok(Call::Back(OverCall::Rank(kind)));
        match function.name() {
            "row_number" => rank(RankKind::RowNumber),
            "rank" => rank(RankKind::Rank),
            "dense_rank" => rank(RankKind::DenseRank),
            "lag" => self.beside(&params, data_type, -1),
            "lead" => self.beside(&params, data_type, 1),
            "first_value" => self.value(&params, data_type, Position::FromFirst(0)),
            "last_value" => self.value(&params, data_type, Position::Last),
            "nth_value" => match constant(params.args.get(1)) {
                Some(nth @ 1..) => self.value(&params, data_type, Position::FromFirst(nth.unsigned_abs() - 1)),
                _ => Err(Diagnostic::new(
                    Code::Type,
                    "the second argument of nth_value is a constant number from 1 on",
                )),
            },
            other => Err(unsupported(&format!("{other} with OVER"))),
        }
    }

    /// LAG and LEAD: the value so many rows before (`-1`) or after (`1`).
    fn beside(&mut self, params: &WindowFunctionParams, data_type: &DataType, way: i64) -> Result<Call, Diagnostic> {
        let offset = match params.args.get(1) {
            None => Some(1),
            given => constant(given),
        };
        let offset = offset.and_then(|offset| offset.checked_mul(way)).ok_or_else(|| {
            Diagnostic::new(
                Code::Type,
                "the second argument of LAG and LEAD is a constant number of rows",
            )
        })?;
        let default = params.args.get(2).filter(|default| !is_null(default));
        let default = default
            .map(|default| self.input(default, Some(data_type)))
            .transpose()?;
        let argument = self.argument(params, data_type)?;
        let rows = offset.unsigned_abs();
        Ok(match offset {
            1.. => Call::Ahead(LeadCall {
                text: String::new(),
                argument,
                offset: usize::try_from(rows).unwrap_or(usize::MAX),
                default,
            }),
            _ => {
                let frame = Frame::Rows {
                    start: Some(rows),
                    end: rows,
                };
                let position = Position::FromFirst(0);
                Call::Back(OverCall::Framed(frame, value_call(position, argument, default)))
            }
        })
    }

    fn value(
        &mut self,
        params: &WindowFunctionParams,
        data_type: &DataType,
        position: Position,
    ) -> Result<Call, Diagnostic> {
        let argument = self.argument(params, data_type)?;
        let frame = frame(&params.window_frame)?;
        Ok(Call::Back(OverCall::Framed(
            frame,
            value_call(position, argument, None),
        )))
    }

    fn argument(&mut self, params: &WindowFunctionParams, data_type: &DataType) -> Result<usize, Diagnostic> {
        let argument = params.args.first();
        let argument = argument.ok_or_else(|| Diagnostic::new(Code::Type, "the function needs an argument"))?;
        self.input(argument, Some(data_type))
    }

    fn aggregate(
        &mut self,
        function: Arc<AggregateUDF>,
        params: WindowFunctionParams,
        return_type: &DataType,
        frame: Frame,
    ) -> Result<AggregateColumn, Diagnostic> {
        let (mut arguments, mut fields) = (Vec::new(), Vec::new());
        // What `count(*)` counts is no column.
        for argument in params
            .args
            .iter()
            .filter(|argument| !super::lower_aggregate::is_wildcard(argument))
        {
            let index = self.input(argument, None)?;
            arguments.push(index);
            fields.push(Arc::new(Field::new("", self.inputs[index].1.data_type().clone(), true)));
        }
        let filter = params
            .filter
            .as_ref()
            .map(|filter| self.input(filter, None))
            .transpose()?;
        let constants = params.args.iter().map(|argument| match argument {
            Expr::Literal(value, _) => Some(value.clone()),
            _ => None,
        });
        let spec = AggregateSpec {
            function,
            arguments: fields,
            constants: constants.collect(),
            distinct: params.distinct,
            order_by: Vec::new(),
            return_type: return_type.clone(),
            ignore_nulls: false,
        };
        build(&spec, retraction(frame)).map_err(|message| Diagnostic::new(Code::Unsupported, message))?;
        let written: Vec<String> = params.args.iter().map(written).collect();
        Ok(AggregateColumn {
            text: format!("{}({})", spec.function.name(), written.join(", ")),
            name: String::new(),
            spec,
            arguments,
            filter,
        })
    }
}

/// The call without its OVER.
fn call_text(expr: &Expr) -> String {
    let text = expr.schema_name().to_string();
    let ends = [" PARTITION BY [", " ORDER BY [", " ROWS ", " RANGE "];
    let end = ends.iter().filter_map(|end| text.find(end)).min();
    text[..end.unwrap_or(text.len())].to_string()
}

fn value_call(position: Position, argument: usize, default: Option<usize>) -> FrameCall {
    FrameCall::Value(ValueCall {
        position,
        argument,
        default,
    })
}

/// An integer that is written.
fn constant(expr: Option<&Expr>) -> Option<i64> {
    let value = match expr? {
        Expr::Literal(value, _) => value.clone(),
        Expr::Negative(inner) => return constant(Some(inner))?.checked_neg(),
        _ => return None,
    };
    match value.cast_to(&DataType::Int64) {
        Ok(ScalarValue::Int64(number)) => number,
        _ => None,
    }
}

fn is_null(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(value, _) if value.is_null())
}

fn frame(frame: &WindowFrame) -> Result<Frame, Diagnostic> {
    let wrong = || unsupported(&format!("the frame {frame}"));
    match frame.units {
        WindowFrameUnits::Rows => Ok(Frame::Rows {
            start: offset(&frame.start_bound, rows).ok_or_else(wrong)?,
            end: offset(&frame.end_bound, rows).ok_or_else(wrong)?.ok_or_else(wrong)?,
        }),
        WindowFrameUnits::Range => Ok(Frame::Range {
            start: offset(&frame.start_bound, micros).ok_or_else(wrong)?,
            end: offset(&frame.end_bound, micros).ok_or_else(wrong)?.ok_or_else(wrong)?,
        }),
        WindowFrameUnits::Groups => Err(wrong()),
    }
}

/// How far back a bound is; `Some(None)` is without end.
fn offset<T: Default>(bound: &WindowFrameBound, read: fn(&ScalarValue) -> Option<T>) -> Option<Option<T>> {
    match bound {
        WindowFrameBound::CurrentRow => Some(Some(T::default())),
        WindowFrameBound::Preceding(value) if value.is_null() => Some(None),
        WindowFrameBound::Preceding(value) => read(value).map(Some),
        WindowFrameBound::Following(_) => None,
    }
}

fn rows(value: &ScalarValue) -> Option<u64> {
    match value {
        ScalarValue::UInt64(rows) => *rows,
        _ => None,
    }
}

/// A duration; a number is of milliseconds.
fn micros(value: &ScalarValue) -> Option<Micros> {
    const DAY: Micros = 86_400_000_000;
    match value {
        ScalarValue::Int64(Some(millis)) => millis.checked_mul(1_000),
        ScalarValue::IntervalMonthDayNano(Some(interval)) if interval.months == 0 => Micros::from(interval.days)
            .checked_mul(DAY)?
            .checked_add(interval.nanoseconds / 1_000),
        _ => None,
    }
}

fn unsupported(what: &str) -> Diagnostic {
    Diagnostic::new(Code::Unsupported, format!("not supported yet: {what}"))
}

fn planning(error: DataFusionError) -> Diagnostic {
    Diagnostic::new(Code::Type, failure::plain(&error.strip_backtrace()))
}
