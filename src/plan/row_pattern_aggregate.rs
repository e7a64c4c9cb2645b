//! Aggregates in conditions and measures of MATCH_RECOGNIZE.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion_common::DFSchema;
use datafusion_expr::{Expr, ExprSchemable};
use eventflux_sqlparser::walk::WalkMut;
use sqlparser::ast::{
    Expr as SqlExpr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Spanned,
    VisitorMut,
};
use sqlparser::tokenizer::Span;

use super::failure;
use super::pattern::planned;
use super::row_pattern_names::{Names, arguments, field_of, name_of, quoted};
use crate::catalog::functions::EVENT_TIMESTAMP;
use crate::error::{Code, Diagnostic};
use crate::operators::filter_project::EVENT_TIME;
use crate::row_patterns::leaf::{Leaf, Scope};
use crate::row_patterns::pattern::Variables;

/// The column of CLASSIFIER() in arguments.
pub const LABEL_COLUMN: &str = "CLASSIFIER()";

/// The column of MATCH_NUMBER() in arguments.
pub const NUMBER_COLUMN: &str = "MATCH_NUMBER()";

/// An aggregate over rows of a match.
#[derive(Debug, Clone, PartialEq)]
pub struct AggregateSpec {
    /// As written.
    pub text: String,
    /// The rows that it takes.
    pub variables: Variables,
    /// The call, over the columns of the input and those of CLASSIFIER() and MATCH_NUMBER().
    pub call: Expr,
    /// The type of its value.
    pub data_type: DataType,
}

impl Names<'_> {
    /// The column of an aggregate.
    pub fn aggregate(&mut self, call: &Function, scope: Scope, span: Span) -> Result<SqlExpr, Diagnostic> {
        let mut text = SqlExpr::Function(call.clone()).to_string().replace('"', "");
        text = text.replace("__", "");
        let (call, counted) = self.counted(call)?;
        let name = name_of(&call);
        let mut whole = SqlExpr::Function(call.clone());
        let inside = self.used(&call, &name)?;
        let variables = counted.or(inside).unwrap_or(self.variables.all());
        if let (Some(counted), Some(inside)) = (counted, inside)
            && counted != inside
        {
            let message = format!("{} is about rows of one variable", name.to_uppercase());
            return Err(self.text.at(Diagnostic::new(Code::Type, message), span));
        }
        let mut columns = Columns { names: self };
        if let ControlFlow::Break(error) = WalkMut::walk_mut(&mut whole, &mut columns) {
            return Err(*error);
        }
        let fail = |error| self.text.at(failure::of_condition(&error), span);
        let schema = self.argument_schema().map_err(fail)?;
        let call = planned(whole, &schema, self.functions).map_err(fail)?;
        let data_type = call.get_type(&schema).map_err(fail)?;
        let spec = AggregateSpec {
            text,
            variables,
            call,
            data_type,
        };
        let same = |known: &AggregateSpec| known.variables == spec.variables && known.call == spec.call;
        let index = match self.aggregates.iter().position(same) {
            Some(index) => index,
            None => {
                self.aggregates.push(spec);
                self.aggregates.len() - 1
            }
        };
        self.leaf(Leaf::Aggregate { index, scope }, span)
    }

    /// What arguments of aggregates see.
    pub fn argument_schema(&self) -> Result<DFSchema, datafusion_common::DataFusionError> {
        let mut fields: Vec<_> = self
            .columns
            .fields()
            .iter()
            .map(|field| (None, field.clone()))
            .collect();
        fields.push((None, Arc::new(Field::new(LABEL_COLUMN, DataType::Utf8View, true))));
        fields.push((None, Arc::new(Field::new(NUMBER_COLUMN, DataType::Int64, true))));
        DFSchema::new_with_metadata(fields, HashMap::new())
    }

    /// `count(A)`, `count(A.*)` and `count()` as `count(*)` of rows of some variables.
    fn counted(&self, call: &Function) -> Result<(Function, Option<Variables>), Diagnostic> {
        let FunctionArguments::List(list) = &call.args else {
            return Ok((call.clone(), None));
        };
        let all = |variables| {
            let list = FunctionArgumentList {
                args: vec![FunctionArg::Unnamed(FunctionArgExpr::Wildcard)],
                ..list.clone()
            };
            let call = Function {
                args: FunctionArguments::List(list),
                ..call.clone()
            };
            Ok((call, variables))
        };
        let is_count = name_of(call) == "count";
        match list.args.as_slice() {
            [] if is_count => all(None),
            [FunctionArg::Unnamed(FunctionArgExpr::QualifiedWildcard(name))] => {
                let ident = name.0.last().and_then(|part| part.as_ident());
                let variables = ident.and_then(|ident| self.variables.find(ident));
                match (is_count, variables, ident) {
                    (true, Some(variables), _) => all(Some(variables)),
                    (true, None, Some(ident)) => Err(self.unknown_variable(ident)),
                    _ => {
                        let message = format!("{} takes columns; only count takes all: count(A.*)", call.name);
                        Err(self.text.at(Diagnostic::new(Code::Type, message), call.name.span()))
                    }
                }
            }
            [FunctionArg::Unnamed(FunctionArgExpr::Expr(SqlExpr::Identifier(ident)))]
                if is_count && list.duplicate_treatment.is_none() =>
            {
                let exact_column = self.columns.fields().iter().any(|field| *field.name() == ident.value);
                let exact_variable = self.variables.is_exactly(ident);
                match self.variables.find(ident) {
                    Some(variables) if !exact_column && (exact_variable || self.column(ident).is_err()) => {
                        all(Some(variables))
                    }
                    _ => Ok((call.clone(), None)),
                }
            }
            _ => Ok((call.clone(), None)),
        }
    }

    /// The variables of the columns in a call: arguments, FILTER and ORDER BY.
    fn used(&self, call: &Function, name: &str) -> Result<Option<Variables>, Diagnostic> {
        let mut exprs: Vec<SqlExpr> = arguments(call).into_iter().cloned().collect();
        exprs.extend(call.filter.as_deref().cloned());
        exprs.extend(call.within_group.iter().map(|order| order.expr.clone()));
        if let FunctionArguments::List(list) = &call.args {
            for clause in &list.clauses {
                if let sqlparser::ast::FunctionArgumentClause::OrderBy(orders) = clause {
                    exprs.extend(orders.iter().map(|order| order.expr.clone()));
                }
            }
        }
        // One expression of all, so that they are compared with one another.
        self.variables_in(&SqlExpr::Tuple(exprs), name)
    }
}

/// Rewrites the arguments of an aggregate to columns of the input, whatever variable they have.
struct Columns<'n, 'a> {
    names: &'n Names<'a>,
}

impl VisitorMut for Columns<'_, '_> {
    type Break = Box<Diagnostic>;

    fn pre_visit_expr(&mut self, expr: &mut SqlExpr) -> ControlFlow<Self::Break> {
        let rewritten = match &*expr {
            SqlExpr::Identifier(ident) if [LABEL_COLUMN, NUMBER_COLUMN, EVENT_TIME].contains(&ident.value.as_str()) => {
                return ControlFlow::Continue(());
            }
            SqlExpr::Identifier(_) | SqlExpr::CompoundIdentifier(_) => {
                self.names.column_of(expr).map(|(_, column, fields)| {
                    let name = self.names.columns.field(column).name();
                    Some(field_of(quoted(name, expr.span()), &fields))
                })
            }
            SqlExpr::Function(call) => Ok(match name_of(call).as_str() {
                "classifier" => Some(quoted(LABEL_COLUMN, expr.span())),
                "match_number" => Some(quoted(NUMBER_COLUMN, expr.span())),
                _ if call.name.to_string().eq_ignore_ascii_case(EVENT_TIMESTAMP) => {
                    Some(quoted(EVENT_TIME, expr.span()))
                }
                _ => {
                    return match self.names.check_function(call) {
                        Ok(()) => ControlFlow::Continue(()),
                        Err(error) => ControlFlow::Break(Box::new(error)),
                    };
                }
            }),
            _ => return ControlFlow::Continue(()),
        };
        match rewritten {
            Ok(Some(new)) => {
                *expr = new;
                ControlFlow::Continue(())
            }
            Ok(None) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(Box::new(error)),
        }
    }
}
