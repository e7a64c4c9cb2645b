//! DataFusion's errors in our words, at their place.

use std::ops::ControlFlow;

use datafusion_common::{DFSchema, DataFusionError, SchemaError};
use datafusion_expr::simplify::SimplifyContext;
use datafusion_expr::{Expr, ExprSchemable};
use datafusion_optimizer::simplify_expressions::ExprSimplifier;
use datafusion_sql::planner::{PlannerContext, SqlToRel};
use eventflux_sqlparser::Query;
use sqlparser::ast::{
    Expr as SqlExpr, Query as SqlQuery, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, Spanned, Visit, Visitor,
};
use sqlparser::tokenizer::Span;

use super::context::Context;
use super::logical::{Planner, parser_options};
use super::text::Text;
use crate::config::nearest::nearest;
use crate::error::{Code, Diagnostic};

/// A diagnostic for a query that could not be planned.
pub fn diagnose(error: &DataFusionError, query: &Query, planner: &Planner, text: &Text) -> Diagnostic {
    if let Some(own) = own_diagnostic(error) {
        return text.at(own, query.span);
    }
    let place = locate(query, planner);
    let root = error.find_root();
    let diagnostic = match root {
        DataFusionError::SchemaError(error, _) => match error.as_ref() {
            SchemaError::FieldNotFound { field, valid_fields } => {
                let place = find_identifier(query, &field.name).or(field.spans.first().map(span_of));
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
        other => Diagnostic::new(Code::Type, plain(&other.strip_backtrace())),
    };
    let diagnostic = match types_hint(&diagnostic.message) {
        Some(hint) if diagnostic.hint.is_none() => diagnostic.hint(hint),
        _ => diagnostic,
    };
    text.at(diagnostic, place.unwrap_or(query.span))
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
fn plain(message: &str) -> String {
    let mut message = message;
    for prefix in [
        "Error during planning: ",
        "Schema error: ",
        "type_coercion",
        "caused by",
        "Execution error: ",
        "This feature is not implemented: ",
    ] {
        message = message.trim().strip_prefix(prefix).unwrap_or(message);
    }
    let message = message.trim().lines().next().unwrap_or_default().trim_end_matches('.');
    let mut message = message.to_string();
    for (theirs, ours) in [
        ("Utf8View", "STRING"),
        ("LargeUtf8", "STRING"),
        ("Utf8", "STRING"),
        ("Float64", "DOUBLE"),
        ("Float32", "FLOAT"),
        ("Int64", "LONG"),
        ("Int32", "INT"),
        ("Boolean", "BOOL"),
        ("Timestamp(µs)", "TIMESTAMP"),
        ("BinaryView", "BYTES"),
    ] {
        message = message.replace(theirs, ours);
    }
    message
}

fn types_hint(message: &str) -> Option<&'static str> {
    let of_types =
        message.contains("types do not fit") || message.contains("coerce") || message.contains("common argument type");
    of_types.then_some("convert one side with CAST(… AS type)")
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
    let mut results = vec![query.body.visit(&mut find)];
    results.extend(
        query
            .relations
            .iter()
            .filter_map(|relation| Some(relation.filter.as_ref()?.visit(&mut find))),
    );
    results.into_iter().find_map(ControlFlow::break_value)
}

/// The smallest expression of the query that cannot be planned or typed by itself. Only looked for when there is an error.
fn locate(query: &Query, planner: &Planner) -> Option<Span> {
    let context = Context::new(planner.sources, planner.functions, &query.relations, planner.windows);
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
        if let ControlFlow::Break(span) = select.visit(&mut find) {
            return Some(span);
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
            && let ControlFlow::Break(span) = filter.visit(&mut Smallest {
                sql: &sql,
                schema: &schema,
            })
        {
            return Some(span);
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
    type Break = Span;

    fn post_visit_expr(&mut self, expr: &SqlExpr) -> ControlFlow<Span> {
        let planned = self
            .sql
            .sql_to_expr(expr.clone(), self.schema, &mut PlannerContext::new());
        match planned.and_then(|expr| typed(expr, self.schema)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) if expr.span() == Span::empty() => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(expr.span()),
        }
    }
}

fn typed(expr: Expr, schema: &DFSchema) -> Result<(), DataFusionError> {
    let simplifier = ExprSimplifier::new(SimplifyContext::default());
    let coerced = simplifier.coerce(expr, schema)?;
    coerced.get_type(schema).map(|_| ())
}
