//! DataFusion's errors in our words, at their place.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use arrow::datatypes::DataType;
use datafusion_common::{Column, DFSchema, DataFusionError, SchemaError};
use datafusion_expr::ExprSchemable;
use datafusion_expr::simplify::SimplifyContext;
use datafusion_optimizer::simplify_expressions::ExprSimplifier;
use datafusion_sql::planner::{PlannerContext, SqlToRel};
use eventflux_sqlparser::Query;
use eventflux_sqlparser::walk::Walk;
use sqlparser::ast::{
    Expr as SqlExpr, FunctionArg, FunctionArgExpr, FunctionArguments, Query as SqlQuery, SelectItem,
    SelectItemQualifiedWildcardKind, SetExpr, Spanned, Visitor,
};
use sqlparser::tokenizer::Span;

use super::context::Context;
use super::logical::{Planner, check_cast, parser_options};
use super::text::Text;
use crate::catalog::types;
use crate::config::nearest::nearest;
use crate::error::{Code, Diagnostic};

/// A diagnostic for a query that could not be planned.
pub fn diagnose(error: &DataFusionError, query: &Query, planner: &Planner, text: &Text) -> Diagnostic {
    if let Some(own) = own_diagnostic(error) {
        return text.at(own, query.span);
    }
    let located = locate(query, planner);
    let place = located.as_ref().map(|located| located.span);
    let root = error.find_root();
    let diagnostic = match root {
        DataFusionError::SchemaError(error, _) => match error.as_ref() {
            SchemaError::FieldNotFound { field, valid_fields } => {
                let place = find_identifier(query, &field.name).or(field.spans.first().map(span_of));
                if let Some(error) = unknown_relation(field, valid_fields) {
                    return text.at(error, place.unwrap_or(query.span));
                }
                let message = match &field.relation {
                    Some(relation) => format!("there is no column '{}' in '{}'", field.name, relation.table()),
                    None => format!("there is no column '{}'", field.name),
                };
                let names: Vec<&str> = valid_fields.iter().map(|valid| valid.name.as_str()).collect();
                let error = Diagnostic::new(Code::UnknownColumn, message);
                let error = match nearest(&field.name, names.iter().copied()) {
                    Some(near) => error.hint(format!("did you mean '{near}'?")),
                    None if names.is_empty() => error,
                    None => error.hint(format!("there are: {}", names.join(", "))),
                };
                return text.at(error, place.unwrap_or(query.span));
            }
            SchemaError::AmbiguousReference { field } => {
                let place = find_identifier(query, &field.name);
                let error = Diagnostic::new(
                    Code::Ambiguous,
                    format!("'{}' could be a column of several inputs", field.name),
                )
                .hint(format!("say which: <stream>.{}", field.name));
                return text.at(error, place.unwrap_or(query.span));
            }
            other => Diagnostic::new(Code::Duplicate, other.to_string()),
        },
        DataFusionError::NotImplemented(what) => {
            Diagnostic::new(Code::Unsupported, format!("not supported yet: {}", plain(what)))
        }
        other => wrong_types(
            &plain(&other.strip_backtrace()),
            located.and_then(|located| located.call),
        ),
    };
    let place = place.or_else(|| diagnostic.message.starts_with("WHERE").then(|| condition(query))?);
    text.at(diagnostic, place.unwrap_or(query.span))
}

/// A condition that could not be planned; its names have been resolved before.
pub fn of_condition(error: &DataFusionError) -> Diagnostic {
    if let Some(own) = own_diagnostic(error) {
        return own;
    }
    match error.find_root() {
        DataFusionError::NotImplemented(what) => {
            Diagnostic::new(Code::Unsupported, format!("not supported yet: {}", plain(what)))
        }
        other => wrong_types(&plain(&other.strip_backtrace()), None),
    }
}

/// For `x.symbol` where nothing is called `x`.
fn unknown_relation(field: &Column, valid: &[Column]) -> Option<Diagnostic> {
    let relation = field.relation.as_ref()?.table();
    let known: Vec<&str> = valid
        .iter()
        .filter_map(|field| Some(field.relation.as_ref()?.table()))
        .collect();
    if known.is_empty() || known.iter().any(|known| known.eq_ignore_ascii_case(relation)) {
        return None;
    }
    let error = Diagnostic::new(
        Code::UnknownStream,
        format!("the query reads nothing that is called '{relation}'"),
    );
    let known: BTreeSet<&str> = known.into_iter().collect();
    Some(match nearest(relation, known.iter().copied()) {
        Some(near) => error.hint(format!("did you mean '{near}'?")),
        None => error.hint(format!(
            "it reads: {}",
            known.into_iter().collect::<Vec<_>>().join(", ")
        )),
    })
}

/// The engine's messages about types, in one form.
fn wrong_types(message: &str, call: Option<String>) -> Diagnostic {
    const CAST: &str = "convert one side with CAST(… AS type)";
    if let Some(expression) = message
        .strip_prefix("Projections require unique expression names but the expression \"")
        .and_then(|rest| rest.split('"').next())
    {
        let name = expression.rsplit_once('.').map_or(expression, |(_, name)| name);
        return Diagnostic::new(Code::Duplicate, format!("two output columns are called '{name}'"))
            .hint("give one of them another name with AS");
    }
    let between = |start: &str, end: &str| {
        let rest = message.split_once(start)?.1;
        Some(rest.split_once(end).map_or(rest, |(found, _)| found).to_string())
    };
    // What our own functions say of their arguments.
    if let Some(reason) = between("failed with: Error during planning: ", ". No function matches")
        && (reason.starts_with("argument ") || reason.contains("do not fit"))
    {
        return Diagnostic::new(Code::Type, reason).hint("convert it with CAST(… AS type)");
    }
    let of_call =
        message.contains("expects") || message.contains("signature") || message.contains("No function matches");
    if let (true, Some(call)) = (of_call, call) {
        let error = Diagnostic::new(Code::Type, format!("{call}: the arguments do not fit"));
        return match between(" expects ", " arguments but received") {
            // A function of several forms names them all; then their number is not what is wrong.
            Some(count) if !message.contains("failed to match any") => {
                let plural = if count == "1" { "" } else { "s" };
                error.hint(format!("it takes {count} argument{plural}"))
            }
            _ => error.hint("convert an argument with CAST(… AS type)"),
        };
    }
    if let Some(operation) = between("for comparison operation ", "\n") {
        return Diagnostic::new(Code::Type, format!("{operation}: the types do not fit")).hint(CAST);
    }
    if let Some(returned) =
        between("non-boolean predicate", "\n").and_then(|text| Some(text.split_once(" returning ")?.1.to_string()))
    {
        return Diagnostic::new(Code::Type, format!("WHERE takes a condition, not {returned}"))
            .hint("compare it with something");
    }
    if let (Some(then), Some(other)) = (between("coerce then (", ")"), between("else (", ")")) {
        return Diagnostic::new(
            Code::Type,
            format!("the branches of CASE do not fit: {then} and {other}"),
        )
        .hint(CAST);
    }
    if let Some(text) = between("for type interval: ", "\n") {
        let text = text.trim_matches('"');
        return Diagnostic::new(Code::Duration, format!("'{text}' is not a duration"))
            .hint("write '5 minutes', or '1 hour 30 minutes'");
    }
    let error = Diagnostic::new(Code::Type, message);
    let of_types =
        message.contains("types do not fit") || message.contains("coerce") || message.contains("common argument type");
    if of_types { error.hint(CAST) } else { error }
}

/// Where the condition of the query's WHERE stands.
fn condition(query: &Query) -> Option<Span> {
    match query.body.body.as_ref() {
        SetExpr::Select(select) => select.selection.as_ref().map(Spanned::span),
        _ => None,
    }
}

fn own_diagnostic(error: &DataFusionError) -> Option<Diagnostic> {
    match error.find_root() {
        DataFusionError::External(inner) => inner.downcast_ref::<Diagnostic>().cloned(),
        _ => None,
    }
}

fn span_of(span: datafusion_common::Span) -> Span {
    let location = |location: datafusion_common::Location| sqlparser::tokenizer::Location {
        line: location.line,
        column: location.column,
    };
    Span::new(location(span.start), location(span.end))
}

/// The engine's message without its prefixes, advice for its own users, and type names of its own.
pub(super) fn plain(message: &str) -> String {
    let mut message = message;
    for prefix in [
        "Error during planning: ",
        "Schema error: ",
        "type_coercion",
        "caused by",
        "Execution error: ",
        "This feature is not implemented: ",
        "Internal error: ",
    ] {
        message = message.trim().strip_prefix(prefix).unwrap_or(message);
    }
    let message = message.trim().lines().next().unwrap_or_default().trim_end_matches('.');
    types::in_our_names(message)
}

/// Where an identifier of that name stands.
fn find_identifier(query: &Query, name: &str) -> Option<Span> {
    struct Find<'a>(&'a str);
    impl Visitor for Find<'_> {
        type Break = Span;
        fn pre_visit_query(&mut self, query: &SqlQuery) -> ControlFlow<Span> {
            if let SetExpr::Select(select) = query.body.as_ref() {
                for item in &select.projection {
                    if let SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(object), _) = item
                        && object.to_string().trim_matches('"') == self.0
                    {
                        return ControlFlow::Break(object.span());
                    }
                }
            }
            ControlFlow::Continue(())
        }
        fn pre_visit_expr(&mut self, expr: &SqlExpr) -> ControlFlow<Span> {
            let found = match expr {
                SqlExpr::Identifier(ident) if ident.value == self.0 => Some(ident.span),
                SqlExpr::CompoundIdentifier(idents) if idents.iter().any(|ident| ident.value == self.0) => {
                    Some(Span::union_iter(idents.iter().map(|ident| ident.span)))
                }
                _ => None,
            };
            found.map_or(ControlFlow::Continue(()), ControlFlow::Break)
        }
    }
    let mut find = Find(name);
    let mut results = vec![query.body.walk(&mut find)];
    results.extend(
        query
            .relations
            .iter()
            .filter_map(|relation| Some(relation.filter.as_ref()?.walk(&mut find))),
    );
    results.into_iter().find_map(ControlFlow::break_value)
}

/// An expression that does not fit.
struct Located {
    span: Span,
    /// For a function: the call with the types of its arguments.
    call: Option<String>,
}

/// The smallest expression of the query that cannot be planned or typed by itself. Only looked for when there is an error.
fn locate(query: &Query, planner: &Planner) -> Option<Located> {
    let context = Context::new(
        planner.sources,
        planner.functions,
        &query.relations,
        planner.windows,
        planner.patterns,
    );
    let sql = SqlToRel::new_with_options(&context, parser_options());
    let mut selects = Vec::new();
    collect_selects(&query.body, &mut selects);
    for (select_query, body) in &selects {
        let SetExpr::Select(select) = body else {
            continue;
        };
        let Some(schema) = input_schema(select_query, body, planner, query) else {
            continue;
        };
        let mut find = Smallest {
            sql: &sql,
            schema: &schema,
        };
        if let ControlFlow::Break(located) = select.walk(&mut find) {
            return Some(located);
        }
    }
    for relation in &query.relations {
        if let (Some(filter), eventflux_sqlparser::RelationSource::Stream { name, .. }) =
            (&relation.filter, &relation.source)
            && let Some(source) = planner.sources.get(&name.value)
            && let Ok(schema) = DFSchema::try_from_qualified_schema(
                name.value.as_str(),
                &datafusion_expr::TableSource::schema(source.as_ref()),
            )
            && let ControlFlow::Break(located) = filter.walk(&mut Smallest {
                sql: &sql,
                schema: &schema,
            })
        {
            return Some(located);
        }
    }
    None
}

/// All SELECTs of a query, innermost first, each with the query it stands in.
fn collect_selects<'a>(query: &'a SqlQuery, selects: &mut Vec<(&'a SqlQuery, &'a SetExpr)>) {
    fn body<'a>(query: &'a SqlQuery, set: &'a SetExpr, selects: &mut Vec<(&'a SqlQuery, &'a SetExpr)>) {
        match set {
            SetExpr::Select(select) => {
                for from in &select.from {
                    if let sqlparser::ast::TableFactor::Derived { subquery, .. } = &from.relation {
                        collect_selects(subquery, selects);
                    }
                }
                selects.push((query, set));
            }
            SetExpr::Query(inner) => collect_selects(inner, selects),
            SetExpr::SetOperation { left, right, .. } => {
                body(query, left, selects);
                body(query, right, selects);
            }
            _ => {}
        }
    }
    for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
        collect_selects(&cte.query, selects);
    }
    body(query, &query.body, selects);
}

/// The columns that a SELECT's expressions see: those of `SELECT *` over its FROM.
fn input_schema(query: &SqlQuery, body: &SetExpr, planner: &Planner, whole: &Query) -> Option<DFSchema> {
    let SetExpr::Select(select) = body else {
        return None;
    };
    let mut all = select.as_ref().clone();
    all.projection = vec![SelectItem::Wildcard(Default::default())];
    all.selection = None;
    all.having = None;
    let mut star = query.clone();
    star.with = whole.body.with.clone();
    *star.body = SetExpr::Select(Box::new(all));
    star.limit_clause = None;
    star.order_by = None;
    let plan = planner.plan(&star, &whole.relations).ok()?;
    Some(plan.schema().as_ref().clone())
}

struct Smallest<'a, 'c> {
    sql: &'a SqlToRel<'a, Context<'c>>,
    schema: &'a DFSchema,
}

impl Visitor for Smallest<'_, '_> {
    type Break = Located;

    fn post_visit_expr(&mut self, expr: &SqlExpr) -> ControlFlow<Located> {
        match self.data_type(expr) {
            Ok(_) => ControlFlow::Continue(()),
            Err(_) if expr.span() == Span::empty() => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(Located {
                span: expr.span(),
                call: self.call(expr),
            }),
        }
    }
}

impl Smallest<'_, '_> {
    fn data_type(&self, expr: &SqlExpr) -> Result<DataType, DataFusionError> {
        let planned = self
            .sql
            .sql_to_expr(expr.clone(), self.schema, &mut PlannerContext::new())?;
        let simplifier = ExprSimplifier::new(SimplifyContext::default());
        let coerced = simplifier.coerce(planned, self.schema)?;
        check_cast(&coerced, self.schema)?;
        coerced.get_type(self.schema)
    }

    /// `upper(STRING, LONG)`.
    fn call(&self, expr: &SqlExpr) -> Option<String> {
        let SqlExpr::Function(function) = expr else {
            return None;
        };
        let FunctionArguments::List(list) = &function.args else {
            return None;
        };
        let types = list.args.iter().map(|argument| match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => Some(types::name(&self.data_type(value).ok()?)),
            _ => None,
        });
        let types: Option<Vec<String>> = types.collect();
        let name = function.name.to_string().replace('"', "");
        Some(format!("{name}({})", types?.join(", ")))
    }
}
