//! From a query's syntax tree to an optimised logical plan whose columns are those of its target.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::compute::can_cast_types;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion_common::config::ConfigOptions;
use datafusion_common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion_common::{Column, DFSchema, DataFusionError, ScalarValue, plan_err};
use datafusion_expr::expr_rewriter::NamePreserver;
use datafusion_expr::utils::merge_schema;
use datafusion_expr::{Cast, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, TryCast, cast};
use datafusion_functions_nested::expr_fn::{array_element, map_extract};
use datafusion_optimizer::analyzer::Analyzer;
use datafusion_optimizer::common_subexpr_eliminate::CommonSubexprEliminate;
use datafusion_optimizer::decorrelate_predicate_subquery::DecorrelatePredicateSubquery;
use datafusion_optimizer::eliminate_cross_join::EliminateCrossJoin;
use datafusion_optimizer::eliminate_outer_join::EliminateOuterJoin;
use datafusion_optimizer::extract_equijoin_predicate::ExtractEquijoinPredicate;
use datafusion_optimizer::optimize_projections::OptimizeProjections;
use datafusion_optimizer::push_down_filter::PushDownFilter;
use datafusion_optimizer::scalar_subquery_to_join::ScalarSubqueryToJoin;
use datafusion_optimizer::simplify_expressions::SimplifyExpressions;
use datafusion_optimizer::{Optimizer, OptimizerContext};
use datafusion_sql::planner::{ParserOptions, SqlToRel};
use eventflux_sqlparser::walk::WalkMut;
use eventflux_sqlparser::{Query, StreamRelation};
use sqlparser::ast::{
    Expr as SqlExpr, Ident, Query as SqlQuery, Select, SelectItem, SetExpr, Spanned, Statement, VisitorMut,
};
use sqlparser::tokenizer::Span;

use super::context::{Context, Source};
use super::current_values::aggregates;
use super::pattern::PatternSpec;
use super::text::Text;
use crate::catalog::functions::Functions;
use crate::catalog::names::{Resolved, resolve};
use crate::catalog::types;
use crate::catalog::windows::WindowKind;
use crate::config::nearest::nearest;
use crate::error::{Code, Diagnostic};

/// Plans queries.
pub struct Planner<'a> {
    /// Streams and views.
    pub sources: &'a HashMap<String, Arc<Source>>,
    /// Functions.
    pub functions: &'a Functions,
    /// The windows of the query's relations.
    pub windows: &'a [Option<WindowKind>],
    /// The patterns of the query's relations.
    pub patterns: &'a [Option<Arc<PatternSpec>>],
}

/// How DataFusion reads SQL: names as they are, places remembered, strings as views.
pub fn parser_options() -> ParserOptions {
    ParserOptions::default()
        .with_enable_ident_normalization(false)
        .with_collect_spans(true)
        .with_map_string_types_to_utf8view(true)
        .with_support_varchar_with_length(true)
}

impl<'a> Planner<'a> {
    /// For queries without windows and patterns.
    pub fn new(sources: &'a HashMap<String, Arc<Source>>, functions: &'a Functions) -> Self {
        Planner {
            sources,
            functions,
            windows: &[],
            patterns: &[],
        }
    }

    /// The plan as written: names and types resolved, nothing moved.
    pub fn plan(&self, body: &SqlQuery, relations: &[StreamRelation]) -> Result<LogicalPlan, DataFusionError> {
        let context = Context::new(self.sources, self.functions, relations, self.windows, self.patterns);
        let planner = SqlToRel::new_with_options(&context, parser_options());
        let statement = Statement::Query(Box::new(body.clone()));
        planner.sql_statement_to_plan(statement)
    }

    /// Types coerced.
    pub fn analyze(&self, plan: LogicalPlan) -> Result<LogicalPlan, DataFusionError> {
        let plan = plan.transform_up(map_access)?.data;
        let plan = Analyzer::new().execute_and_check(plan, &ConfigOptions::default(), |_, _| {})?;
        let plan = plan.transform_up(checked_negation)?.data;
        check_casts(&plan)?;
        Ok(plan)
    }

    /// Expressions simplified, filters and projections moved to where they belong. Only rules that keep a plan streamable.
    pub fn optimize(&self, plan: LogicalPlan) -> Result<LogicalPlan, DataFusionError> {
        let optimizer = Optimizer::with_rules(vec![
            Arc::new(SimplifyExpressions::new()),
            Arc::new(DecorrelatePredicateSubquery::new()),
            Arc::new(ScalarSubqueryToJoin::new()),
            Arc::new(ExtractEquijoinPredicate::new()),
            Arc::new(EliminateCrossJoin::new()),
            Arc::new(EliminateOuterJoin::new()),
            Arc::new(PushDownFilter::new()),
            Arc::new(CommonSubexprEliminate::new()),
            Arc::new(OptimizeProjections::new()),
        ]);
        let mut options = ConfigOptions::default();
        // A subquery of one value becomes a join, too: operators have no other way to ask for it.
        options.optimizer.enable_physical_uncorrelated_scalar_subquery = false;
        let context = OptimizerContext::new_with_config_options(Arc::new(options)).without_query_execution_start_time();
        optimizer.optimize(plan, &context, |_, _| {})
    }
}

/// `map['key']` as the first of `map_extract(map, 'key')`, which takes texts of every kind; the engine's own access to maps
/// compares only one kind.
fn map_access(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>, DataFusionError> {
    let schema = merge_schema(&plan.inputs());
    let names = NamePreserver::new(&plan);
    plan.map_expressions(|expr| {
        let name = names.save(&expr);
        let rewritten = expr.transform_up(|expr| {
            let Expr::ScalarFunction(function) = &expr else {
                return Ok(Transformed::no(expr));
            };
            match function.args.as_slice() {
                [map, key] if function.name() == "get_field" && is_map(&map.get_type(&schema)?) => {
                    let values = map_extract(map.clone(), key.clone());
                    let first = Expr::Literal(ScalarValue::Int64(Some(1)), None);
                    Ok(Transformed::yes(array_element(values, first)))
                }
                _ => Ok(Transformed::no(expr)),
            }
        });
        Ok(rewritten?.update_data(|expr| name.restore(expr)))
    })
}

fn is_map(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Map(_, _))
}

/// Refuses casts between types of which no value can be converted.
fn check_casts(plan: &LogicalPlan) -> Result<(), DataFusionError> {
    plan.apply(|node| {
        let schema = merge_schema(&node.inputs());
        node.apply_expressions(|expr| {
            expr.apply(|expr| check_cast(expr, &schema).map(|()| TreeNodeRecursion::Continue))
        })
    })
    .map(|_| ())
}

/// Refuses an expression that is such a cast.
pub fn check_cast(expr: &Expr, schema: &DFSchema) -> Result<(), DataFusionError> {
    let (Expr::Cast(Cast { expr: value, .. }) | Expr::TryCast(TryCast { expr: value, .. })) = expr else {
        return Ok(());
    };
    let (from, to) = (value.get_type(schema)?, expr.get_type(schema)?);
    match can_cast_types(&from, &to) {
        true => Ok(()),
        false => plan_err!("{} cannot be converted to {}", types::name(&from), types::name(&to)),
    }
}

/// `-x` of integers as `0 - x`, which reports the overflow of the smallest one; the engine underneath wraps it around.
fn checked_negation(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>, DataFusionError> {
    let schema = merge_schema(&plan.inputs());
    plan.map_expressions(|expr| {
        expr.transform_up(|expr| {
            let Expr::Negative(value) = expr else {
                return Ok(Transformed::no(expr));
            };
            match value.get_type(&schema)? {
                data_type if data_type.is_signed_integer() => {
                    let zero = Expr::Literal(ScalarValue::new_zero(&data_type)?, None);
                    Ok(Transformed::yes(zero - *value))
                }
                _ => Ok(Transformed::no(Expr::Negative(value))),
            }
        })
    })
}

/// Gives every unnamed column of every SELECT the text it was written as for a name, and makes HAVING without aggregates
/// part of WHERE, output names first.
pub fn name_columns(query: &mut Query, functions: &Functions, text: &Text) {
    struct Namer<'a, 't>(&'a Functions, &'a Text<'t>);
    impl VisitorMut for Namer<'_, '_> {
        type Break = ();
        fn pre_visit_query(&mut self, query: &mut SqlQuery) -> std::ops::ControlFlow<()> {
            name_body(&mut query.body, self.0, self.1);
            std::ops::ControlFlow::Continue(())
        }
    }
    let _ = WalkMut::walk_mut(&mut *query.body, &mut Namer(functions, text));
}

/// Gives every unnamed item of a SELECT its name: a column's own, else the text it was written as.
pub fn name_items(items: &mut [SelectItem], text: &Text) {
    let mut taken = Vec::new();
    for item in items {
        let column = match &*item {
            SelectItem::UnnamedExpr(SqlExpr::Identifier(ident)) => Some(ident.clone()),
            SelectItem::UnnamedExpr(SqlExpr::CompoundIdentifier(idents)) => idents.last().cloned(),
            _ => None,
        };
        match (column, &*item) {
            (Some(column), SelectItem::UnnamedExpr(expr)) => {
                *item = SelectItem::ExprWithAlias {
                    expr: expr.clone(),
                    alias: Ident {
                        quote_style: Some('"'),
                        ..column
                    },
                };
            }
            _ => name_item(item, &mut taken, text),
        }
    }
}

fn name_body(body: &mut SetExpr, functions: &Functions, text: &Text) {
    match body {
        SetExpr::Select(select) => {
            let mut taken = Vec::new();
            for item in &mut select.projection {
                name_item(item, &mut taken, text);
            }
            if !aggregates(select, functions) {
                having_to_where(select);
            }
        }
        SetExpr::SetOperation { left, right, .. } => {
            name_body(left, functions, text);
            name_body(right, functions, text);
        }
        _ => {}
    }
}

/// Calls an unnamed `a.b` in a SELECT `b`, be it a stream's column or a field. Names are resolved before.
pub fn name_fields(query: &mut Query) {
    struct Namer;
    impl VisitorMut for Namer {
        type Break = ();
        fn pre_visit_select(&mut self, select: &mut Select) -> std::ops::ControlFlow<()> {
            for item in &mut select.projection {
                if let SelectItem::UnnamedExpr(expr @ SqlExpr::CompoundIdentifier(_)) = item
                    && let SqlExpr::CompoundIdentifier(idents) = &*expr
                    && let Some(last) = idents.last()
                {
                    let alias = Ident {
                        quote_style: Some('"'),
                        ..last.clone()
                    };
                    *item = SelectItem::ExprWithAlias {
                        expr: expr.clone(),
                        alias,
                    };
                }
            }
            std::ops::ControlFlow::Continue(())
        }
    }
    let _ = WalkMut::walk_mut(&mut *query.body, &mut Namer);
}

fn name_item(item: &mut SelectItem, taken: &mut Vec<String>, text: &Text) {
    use sqlparser::ast::Spanned;
    let SelectItem::UnnamedExpr(expr) = item else {
        return;
    };
    if matches!(expr, SqlExpr::Identifier(_) | SqlExpr::CompoundIdentifier(_)) {
        return;
    }
    let span = expr.span();
    // The place is not exact for every form of expression: only text that reads as the expression will do.
    let written = text.slice(span).split_whitespace().collect::<Vec<_>>().join(" ");
    let printed = expr.to_string().replace('"', "");
    let squeezed = |text: &str| text.replace([' ', '"', '`'], "").to_lowercase();
    let name = if squeezed(&written) == squeezed(&printed) {
        written
    } else {
        printed
    };
    // `SELECT 1, 1` names nothing twice: the second is 1_2.
    let number = taken.iter().filter(|other| **other == name).count();
    taken.push(name.clone());
    let name = if number == 0 {
        name
    } else {
        format!("{name}_{}", number + 1)
    };
    let alias = Ident {
        value: name,
        quote_style: Some('"'),
        span,
    };
    *item = SelectItem::ExprWithAlias {
        expr: expr.clone(),
        alias,
    };
}

fn having_to_where(select: &mut Select) {
    use sqlparser::ast::BinaryOperator;
    let Some(mut having) = select.having.take() else {
        return;
    };
    struct Outputs<'a>(&'a [SelectItem]);
    impl VisitorMut for Outputs<'_> {
        type Break = ();
        fn post_visit_expr(&mut self, expr: &mut SqlExpr) -> std::ops::ControlFlow<()> {
            if let SqlExpr::Identifier(ident) = expr {
                let output = self.0.iter().find_map(|item| match item {
                    SelectItem::ExprWithAlias { expr, alias } if alias.value == ident.value => Some(expr),
                    _ => None,
                });
                if let Some(output) = output {
                    *expr = SqlExpr::Nested(Box::new(output.clone()));
                }
            }
            std::ops::ControlFlow::Continue(())
        }
    }
    let _ = WalkMut::walk_mut(&mut having, &mut Outputs(&select.projection));
    select.selection = Some(match select.selection.take() {
        None => having,
        Some(selection) => SqlExpr::BinaryOp {
            left: Box::new(SqlExpr::Nested(Box::new(selection))),
            op: BinaryOperator::And,
            right: Box::new(SqlExpr::Nested(Box::new(having))),
        },
    });
}

/// Refuses a query with two output columns of one name, at the second one's place.
pub fn check_output_names(query: &Query) -> Result<(), (Diagnostic, Span)> {
    let mut body = query.body.body.as_ref();
    // The first SELECT names the columns of a UNION.
    while let SetExpr::SetOperation { left, .. } = body {
        body = left;
    }
    let SetExpr::Select(select) = body else {
        return Ok(());
    };
    let mut names: Vec<&str> = Vec::new();
    for item in &select.projection {
        let ident = match item {
            SelectItem::UnnamedExpr(SqlExpr::Identifier(ident)) => ident,
            SelectItem::UnnamedExpr(SqlExpr::CompoundIdentifier(idents)) if !idents.is_empty() => {
                &idents[idents.len() - 1]
            }
            SelectItem::ExprWithAlias { alias, .. } => alias,
            _ => continue,
        };
        if names.contains(&ident.value.as_str()) {
            return Err((two_columns(&ident.value), ident.span));
        }
        names.push(&ident.value);
    }
    Ok(())
}

fn two_columns(name: &str) -> Diagnostic {
    Diagnostic::new(Code::Duplicate, format!("two output columns are called '{name}'"))
        .hint("give one of them another name with AS")
}

/// The columns of a stream that is declared by being inserted into.
pub fn inferred_schema(plan: &LogicalPlan) -> Result<Schema, Diagnostic> {
    let mut fields: Vec<Field> = Vec::new();
    for field in plan.schema().fields() {
        if fields.iter().any(|known| known.name() == field.name()) {
            return Err(two_columns(field.name()));
        }
        let data_type = types::canonical(field.data_type());
        fields.push(Field::new(field.name(), data_type, true).with_metadata(field.metadata().clone()));
    }
    Ok(Schema::new(fields))
}

/// Where each output column of a query is written; empty when that is not one place for each.
pub fn output_spans(query: &Query) -> Vec<Span> {
    let SetExpr::Select(select) = query.body.body.as_ref() else {
        return Vec::new();
    };
    let span = |item: &SelectItem| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr.span()),
        _ => None,
    };
    let spans: Option<Vec<Span>> = select.projection.iter().map(span).collect();
    spans.unwrap_or_default()
}

/// `1 column`, `2 columns`.
pub fn count_columns(count: usize) -> String {
    format!("{count} column{}", if count == 1 { "" } else { "s" })
}

/// Puts a projection on top that gives the plan exactly the target's columns: by position, numbers widened.
pub fn fit_target(
    plan: LogicalPlan,
    target: &SchemaRef,
    columns: &[Ident],
    name: &str,
    text: &Text,
    spans: &[Span],
) -> Result<LogicalPlan, Diagnostic> {
    let order = target_order(target, columns, name, text)?;
    let given: Vec<Column> = plan.schema().columns();
    if given.len() != order.len() {
        let message = format!(
            "'{name}' takes {}, but the query has {}",
            count_columns(order.len()),
            count_columns(given.len())
        );
        let expected: Vec<String> = order.iter().map(|&index| describe(target.field(index))).collect();
        return Err(
            Diagnostic::new(Code::TargetMismatch, message).hint(format!("its columns are: {}", expected.join(", ")))
        );
    }
    for (position, column) in given.iter().enumerate() {
        if given[..position].iter().any(|other| other.name == column.name) {
            return Err(two_columns(&column.name));
        }
    }
    let mut outputs = Vec::with_capacity(target.fields().len());
    for (index, field) in target.fields().iter().enumerate() {
        let value =
            match order.iter().position(|&position| position == index) {
                Some(position) => fit_column(&plan, &given[position], position, field, name).map_err(|error| {
                    match spans.get(position) {
                        Some(span) => text.at(error, *span),
                        None => error,
                    }
                })?,
                None => cast(Expr::Literal(ScalarValue::Null, None), field.data_type().clone()),
            };
        outputs.push(value.alias(field.name()));
    }
    LogicalPlanBuilder::from(plan)
        .project(outputs)
        .and_then(LogicalPlanBuilder::build)
        .map_err(|error| Diagnostic::new(Code::TargetMismatch, error.strip_backtrace()))
}

/// The target's columns in the order of the query's.
fn target_order(target: &SchemaRef, columns: &[Ident], name: &str, text: &Text) -> Result<Vec<usize>, Diagnostic> {
    if columns.is_empty() {
        return Ok((0..target.fields().len()).collect());
    }
    let mut order: Vec<usize> = Vec::with_capacity(columns.len());
    for column in columns {
        let names = target.fields().iter().map(|field| field.name().as_str());
        let Resolved::One(exact) = resolve(&column.value, names.clone()) else {
            let error = Diagnostic::new(
                Code::UnknownColumn,
                format!("'{name}' has no column '{}'", column.value),
            );
            let error = match nearest(&column.value, names) {
                Some(near) => error.hint(format!("did you mean '{near}'?")),
                None => error,
            };
            return Err(text.at(error, column.span));
        };
        let index = target.index_of(exact).unwrap_or_default();
        if order.contains(&index) {
            let error = Diagnostic::new(Code::Duplicate, format!("column '{}' is named twice", column.value));
            return Err(text.at(error, column.span));
        }
        order.push(index);
    }
    Ok(order)
}

fn fit_column(
    plan: &LogicalPlan,
    column: &Column,
    position: usize,
    field: &Field,
    name: &str,
) -> Result<Expr, Diagnostic> {
    let value = Expr::Column(column.clone());
    let from = plan.schema().field(position).data_type();
    if from == field.data_type() {
        return Ok(value);
    }
    let fits = types::widens(from, field.data_type()) || literal_fits(plan, position, field);
    if !fits {
        let message = format!(
            "column {} of '{name}', {}, takes {}, not {}",
            position + 1,
            field.name(),
            types::name(field.data_type()),
            types::name(from)
        );
        return Err(Diagnostic::new(Code::TargetMismatch, message).hint(format!(
            "write CAST(… AS {}) if that is what you want",
            types::name(field.data_type())
        )));
    }
    value
        .cast_to(field.data_type(), plan.schema())
        .map_err(|error| Diagnostic::new(Code::TargetMismatch, error.strip_backtrace()))
}

/// A literal that fits may go into a narrower column: `SELECT 1` into INT.
fn literal_fits(plan: &LogicalPlan, position: usize, field: &Field) -> bool {
    let LogicalPlan::Projection(projection) = plan else {
        return false;
    };
    let Some(expr) = projection.expr.get(position) else {
        return false;
    };
    match expr.clone().unalias() {
        Expr::Literal(value @ (ScalarValue::Int64(_) | ScalarValue::Float64(_)), _) => {
            field.data_type().is_numeric()
                && value
                    .cast_to(field.data_type())
                    .is_ok_and(|fitted| !fitted.is_null() || value.is_null())
                && !(matches!(value, ScalarValue::Float64(_)) && field.data_type().is_integer())
        }
        _ => false,
    }
}

fn describe(field: &Field) -> String {
    format!("{} {}", field.name(), types::name(field.data_type()))
}
