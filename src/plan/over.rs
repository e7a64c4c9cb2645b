//! OVER in a query's text: what streams cannot do is refused at its place, what is left out is put in.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion_common::DataFusionError;
use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion_expr::{Expr as PlanExpr, LogicalPlan};
use eventflux_sqlparser::duration_micros;
use eventflux_sqlparser::walk::{WalkMut, walk_expressions, walk_expressions_mut};
use sqlparser::ast::{
    DateTimeField, Expr, Function, FunctionArgumentClause, FunctionArgumentList, FunctionArguments, Ident, Interval,
    NamedWindowDefinition, NamedWindowExpr, NullTreatment, ObjectName, OrderByExpr, Query, Select, Spanned, Value,
    VisitorMut, WindowFrame, WindowFrameBound, WindowFrameUnits, WindowSpec, WindowType,
};
use sqlparser::tokenizer::Span;

use super::context::Source;
use super::text::Text;
use super::window_node::WindowNode;
use crate::catalog::functions::EVENT_TIMESTAMP;
use crate::catalog::names::{Resolved, resolve};
use crate::catalog::streams::StreamDef;
use crate::error::{Code, Diagnostic};

const CURRENT_ROW: &str = "end the frame at CURRENT ROW; LEAD(x) waits for a row that follows";

/// Refuses a call with OVER that streams cannot compute.
pub fn refuse_call(function: &Function, text: &Text) -> Result<(), Diagnostic> {
    let name = function.name.to_string().replace('"', "").to_lowercase();
    if matches!(name.as_str(), "ntile" | "percent_rank" | "cume_dist") {
        let error = Diagnostic::new(
            Code::Unstreamable,
            format!("{name} needs all rows of its partition, and a stream has no end"),
        )
        .hint("rank what came so far with RANK, DENSE_RANK or ROW_NUMBER, or take a percentile over a window");
        return Err(text.at(error, function.name.span()));
    }
    let clauses = match &function.args {
        FunctionArguments::List(list) => list.clauses.as_slice(),
        _ => &[],
    };
    let ignores = |clause: &FunctionArgumentClause| {
        matches!(
            clause,
            FunctionArgumentClause::IgnoreOrRespectNulls(NullTreatment::IgnoreNulls)
        )
    };
    if function.null_treatment == Some(NullTreatment::IgnoreNulls) || clauses.iter().any(ignores) {
        let error = Diagnostic::new(Code::Unsupported, "not supported yet: IGNORE NULLS with OVER")
            .hint("leave the NULLs out before: FROM S[x IS NOT NULL]");
        return Err(text.at(error, function.name.span()));
    }
    match &function.over {
        Some(WindowType::WindowSpec(spec)) => refuse_spec(spec, function.name.span(), text),
        _ => Ok(()),
    }
}

/// Refuses the windows that a SELECT names, and names that no window has.
pub fn refuse_named(select: &Select, text: &Text) -> Result<(), Diagnostic> {
    for named in &select.named_window {
        match &named.1 {
            NamedWindowExpr::WindowSpec(spec) => refuse_spec(spec, named.0.span, text)?,
            NamedWindowExpr::NamedWindow(other) => return Err(text.at(extends(), other.span)),
        }
    }
    let known = |expr: &Expr| match named_window(expr) {
        Some(name) if named_spec(name, &select.named_window).is_none() => ControlFlow::Break(name.clone()),
        _ => ControlFlow::Continue(()),
    };
    let unknown = walk_expressions(&select.projection, known).break_value();
    let unknown = unknown.or_else(|| walk_expressions(&select.qualify, known).break_value());
    unknown.map_or(Ok(()), |name| {
        let error = Diagnostic::new(Code::UnknownColumn, format!("there is no window '{}'", name.value));
        let hint = format!("define it after FROM: WINDOW {} AS (PARTITION BY …)", name.value);
        Err(text.at(error.hint(hint), name.span))
    })
}

/// The `w` of `f(x) OVER w`.
fn named_window(expr: &Expr) -> Option<&Ident> {
    match expr {
        Expr::Function(function) => match &function.over {
            Some(WindowType::NamedWindow(name)) => Some(name),
            _ => None,
        },
        _ => None,
    }
}

/// What a name of a window stands for.
fn named_spec<'a>(name: &Ident, named: &'a [NamedWindowDefinition]) -> Option<&'a WindowSpec> {
    let names = named.iter().map(|named| named.0.value.as_str());
    let Resolved::One(exact) = resolve(&name.value, names) else {
        return None;
    };
    named.iter().find_map(|named| match &named.1 {
        NamedWindowExpr::WindowSpec(spec) if named.0.value == exact => Some(spec),
        _ => None,
    })
}

fn extends() -> Diagnostic {
    Diagnostic::new(Code::Unsupported, "not supported yet: a window that builds on another")
        .hint("write its PARTITION BY, ORDER BY and frame out")
}

fn refuse_spec(spec: &WindowSpec, place: Span, text: &Text) -> Result<(), Diagnostic> {
    if let Some(other) = &spec.window_name {
        return Err(text.at(extends(), other.span));
    }
    if let Some(second) = spec.order_by.get(1) {
        let error = Diagnostic::new(
            Code::Unstreamable,
            "OVER goes through a stream in the order of its time, and by nothing else",
        )
        .hint("order by the event time alone; rows of one time keep the order in which they came");
        return Err(text.at(error, second.span()));
    }
    if let Some(descending) = spec.order_by.iter().find(|order| order.options.asc == Some(false)) {
        let error = Diagnostic::new(Code::Unstreamable, "a stream cannot be gone through backwards")
            .hint("leave DESC out; LAG and LEAD look back and ahead");
        return Err(text.at(error, descending.span()));
    }
    match &spec.window_frame {
        Some(frame) => refuse_frame(frame, place, text),
        None => Ok(()),
    }
}

fn refuse_frame(frame: &WindowFrame, place: Span, text: &Text) -> Result<(), Diagnostic> {
    if frame.units == WindowFrameUnits::Groups {
        let error = Diagnostic::new(Code::Unsupported, "not supported yet: GROUPS frames");
        return Err(text.at(error.hint("use ROWS or RANGE"), place));
    }
    for bound in [Some(&frame.start_bound), frame.end_bound.as_ref()]
        .into_iter()
        .flatten()
    {
        match bound {
            WindowFrameBound::Following(rows) => {
                let error = Diagnostic::new(
                    Code::Unstreamable,
                    "the rows that follow are not known when a row comes, so no frame can have them",
                )
                .hint(CURRENT_ROW);
                return Err(text.at(error, rows.as_ref().map_or(place, |rows| rows.span())));
            }
            WindowFrameBound::Preceding(Some(offset)) => refuse_offset(offset, frame.units, place, text)?,
            _ => {}
        }
    }
    let (start, end) = offsets(frame);
    if end > start {
        let error = Diagnostic::new(
            Code::Unstreamable,
            "the frame ends before it starts, so it never has a row",
        );
        return Err(text.at(error, place));
    }
    Ok(())
}

fn refuse_offset(offset: &Expr, units: WindowFrameUnits, place: Span, text: &Text) -> Result<(), Diagnostic> {
    let error = match (units, offset_of(offset, units)) {
        (_, Some(_)) => return Ok(()),
        (WindowFrameUnits::Rows, None) => Diagnostic::new(Code::Type, "ROWS takes a number of rows")
            .hint("such as ROWS BETWEEN 10 PRECEDING AND CURRENT ROW"),
        _ => Diagnostic::new(Code::Duration, "RANGE takes a duration, which is not negative")
            .hint("such as RANGE BETWEEN 10 SECONDS PRECEDING AND CURRENT ROW"),
    };
    let span = offset.span();
    Err(text.at(error, if span == Span::empty() { place } else { span }))
}

/// Rows, or microseconds.
fn offset_of(offset: &Expr, units: WindowFrameUnits) -> Option<i64> {
    let offset = match (units, offset) {
        (WindowFrameUnits::Rows, Expr::Value(value)) => match &value.value {
            Value::Number(rows, _) => rows.parse().ok(),
            _ => None,
        },
        (WindowFrameUnits::Rows, _) => None,
        (_, offset) => duration_micros(offset),
    };
    offset.filter(|offset| *offset >= 0)
}

/// How far before the current row a frame starts and ends.
fn offsets(frame: &WindowFrame) -> (i64, i64) {
    let offset = |bound: &WindowFrameBound| match bound {
        WindowFrameBound::Preceding(Some(offset)) => offset_of(offset, frame.units).unwrap_or(0),
        WindowFrameBound::Preceding(None) => i64::MAX,
        _ => 0,
    };
    (offset(&frame.start_bound), frame.end_bound.as_ref().map_or(0, offset))
}

/// Puts in what is left out: ORDER BY, which is the event time, and the unit of RANGE's durations. `millis` are the names of
/// event-time columns that are numbers of milliseconds.
pub fn complete(query: &mut Query, millis: &BTreeSet<String>) {
    struct Completer<'a>(&'a BTreeSet<String>);
    impl VisitorMut for Completer<'_> {
        type Break = ();
        fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
            let named = std::mem::take(&mut select.named_window);
            // The engine's planner knows names in the SELECT list only.
            let put_in = |expr: &mut Expr| {
                let spec = named_window(expr).and_then(|name| named_spec(name, &named)).cloned();
                if let (Some(spec), Expr::Function(function)) = (spec, expr) {
                    function.over = Some(WindowType::WindowSpec(spec));
                }
                ControlFlow::Continue(())
            };
            walk_expressions_mut(&mut select.projection, put_in)?;
            walk_expressions_mut(&mut select.qualify, put_in)
        }
        fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            if let Expr::Function(function) = expr
                && let Some(WindowType::WindowSpec(spec)) = &mut function.over
            {
                complete_spec(spec, self.0);
            }
            ControlFlow::Continue(())
        }
    }
    let _ = WalkMut::walk_mut(query, &mut Completer(millis));
}

fn complete_spec(spec: &mut WindowSpec, millis: &BTreeSet<String>) {
    let in_millis = match spec.order_by.first().map(|order| &order.expr) {
        None => {
            spec.order_by.push(by_event_time());
            false
        }
        Some(Expr::Identifier(ident)) => millis.contains(&ident.value),
        Some(Expr::CompoundIdentifier(idents)) => idents.last().is_some_and(|ident| millis.contains(&ident.value)),
        Some(_) => false,
    };
    let Some(frame) = spec
        .window_frame
        .as_mut()
        .filter(|frame| frame.units == WindowFrameUnits::Range)
    else {
        return;
    };
    for bound in [Some(&mut frame.start_bound), frame.end_bound.as_mut()]
        .into_iter()
        .flatten()
    {
        if let WindowFrameBound::Preceding(Some(offset)) = bound
            && let Some(micros) = duration_micros(offset)
        {
            **offset = if in_millis {
                number(micros / 1_000)
            } else {
                interval(micros)
            };
        }
    }
}

fn by_event_time() -> OrderByExpr {
    let event_time = Function {
        name: ObjectName::from(vec![Ident::new(EVENT_TIMESTAMP)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: Vec::new(),
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    };
    OrderByExpr {
        expr: Expr::Function(event_time),
        options: Default::default(),
        with_fill: None,
    }
}

fn number(number: i64) -> Expr {
    Expr::Value(Value::Number(number.to_string(), false).into())
}

fn interval(micros: i64) -> Expr {
    let value = Value::SingleQuotedString(micros.to_string());
    Expr::Interval(Interval {
        value: Box::new(Expr::Value(value.into())),
        leading_field: Some(DateTimeField::Microseconds),
        leading_precision: None,
        last_field: None,
        fractional_seconds_precision: None,
    })
}

/// The names of the streams' event-time columns that are numbers of milliseconds.
pub fn millisecond_times(streams: &[Arc<StreamDef>]) -> BTreeSet<String> {
    let columns = streams.iter().filter_map(|stream| {
        let column = stream.schema.field(stream.watermark.as_ref()?.column);
        (column.data_type() == &DataType::Int64).then(|| column.name().clone())
    });
    columns.collect()
}

/// Refuses window functions that are ordered by anything but event time.
pub fn check_order(plan: &LogicalPlan, streams: &[Arc<StreamDef>], text: &Text, place: Span) -> Result<(), Diagnostic> {
    let mut found: Option<Diagnostic> = None;
    let _ = plan.apply(|node| -> Result<TreeNodeRecursion, DataFusionError> {
        if let LogicalPlan::Window(window) = node {
            let calls = window
                .window_expr
                .iter()
                .filter_map(|expr| match expr.clone().unalias() {
                    PlanExpr::WindowFunction(call) => Some(call),
                    _ => None,
                });
            for sort in calls.flat_map(|call| call.params.order_by) {
                if found.is_none() && !is_event_time(&sort.expr, &window.input, streams) {
                    found = Some(text.at(no_event_time(&sort.expr, streams), span_of(&sort.expr).unwrap_or(place)));
                }
            }
        }
        Ok(TreeNodeRecursion::Continue)
    });
    found.map_or(Ok(()), Err)
}

fn no_event_time(expr: &PlanExpr, streams: &[Arc<StreamDef>]) -> Diagnostic {
    let name = match expr {
        PlanExpr::Column(column) => format!("'{}'", column.name),
        _ => "this".to_string(),
    };
    let error = Diagnostic::new(
        Code::Unstreamable,
        format!("a stream comes in the order of its time, and {name} is not its event time"),
    );
    match streams.iter().any(|stream| stream.watermark.is_some()) {
        true => error.hint("order by the column of WATERMARK FOR, or leave ORDER BY out, which means event time"),
        false => error.hint("leave ORDER BY out, which means the order of arrival, or declare WATERMARK FOR <column>"),
    }
}

/// Where an expression's first column stands.
fn span_of(expr: &PlanExpr) -> Option<Span> {
    let mut found = None;
    let _ = expr.apply(|node| {
        if let (None, PlanExpr::Column(column)) = (found, node) {
            found = column.spans.first();
        }
        Ok(TreeNodeRecursion::Continue)
    });
    let location = |location: datafusion_common::Location| sqlparser::tokenizer::Location {
        line: location.line,
        column: location.column,
    };
    found.map(|span| Span::new(location(span.start), location(span.end)))
}

fn is_event_time(expr: &PlanExpr, input: &LogicalPlan, streams: &[Arc<StreamDef>]) -> bool {
    match expr {
        PlanExpr::Alias(alias) => is_event_time(&alias.expr, input, streams),
        PlanExpr::ScalarFunction(function) => function.name() == EVENT_TIMESTAMP,
        PlanExpr::Column(column) => {
            let index = input.schema().index_of_column(column);
            index.is_ok_and(|index| is_time_column(index, input, streams))
        }
        _ => false,
    }
}

/// Whether a column of a plan is the event time of the stream that it reads.
fn is_time_column(index: usize, plan: &LogicalPlan, streams: &[Arc<StreamDef>]) -> bool {
    match plan {
        LogicalPlan::TableScan(scan) => {
            let source = Source::of(scan);
            let stream = source.and_then(|source| streams.iter().find(|stream| stream.name == source.stream));
            let column = scan
                .projection
                .as_ref()
                .map_or(Some(index), |columns| columns.get(index).copied());
            let time = stream
                .and_then(|stream| stream.watermark.as_ref())
                .map(|watermark| watermark.column);
            time.is_some() && time == column
        }
        LogicalPlan::Projection(projection) => {
            let expr = projection.expr.get(index);
            expr.is_some_and(|expr| is_event_time(expr, &projection.input, streams))
        }
        LogicalPlan::SubqueryAlias(alias) => is_time_column(index, &alias.input, streams),
        LogicalPlan::Filter(filter) => is_time_column(index, &filter.input, streams),
        LogicalPlan::Window(window) => passes(index, &window.input, streams),
        LogicalPlan::Union(union) => union.inputs.iter().all(|input| is_time_column(index, input, streams)),
        LogicalPlan::Extension(extension) => match extension.node.as_any().downcast_ref::<WindowNode>() {
            Some(window) => passes(index, &window.input, streams),
            None => false,
        },
        _ => false,
    }
}

/// For plans whose columns are those of their input, and some more.
fn passes(index: usize, input: &LogicalPlan, streams: &[Arc<StreamDef>]) -> bool {
    index < input.schema().fields().len() && is_time_column(index, input, streams)
}
