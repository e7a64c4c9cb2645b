//! Calls and names in the expressions of MATCH_RECOGNIZE, as they are written.

use std::ops::ControlFlow;

use eventflux_sqlparser::walk::WalkMut;
use sqlparser::ast::{
    AccessExpr, Expr as SqlExpr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments,
    Ident, ObjectName, UnaryOperator, Value, VisitorMut,
};
use sqlparser::tokenizer::Span;

/// Writes `A.m['x'].f` so that what is before the first bracket is one name, and fields after it are calls: names after dots would be
/// taken for columns.
pub fn join_names(expr: &mut SqlExpr) {
    struct Join;
    impl VisitorMut for Join {
        type Break = ();
        fn post_visit_expr(&mut self, expr: &mut SqlExpr) -> ControlFlow<()> {
            if let SqlExpr::CompoundFieldAccess { root, access_chain } = expr {
                *expr = joined(root, access_chain);
            }
            ControlFlow::Continue(())
        }
    }
    let _ = WalkMut::walk_mut(expr, &mut Join);
}

fn joined(root: &SqlExpr, chain: &[AccessExpr]) -> SqlExpr {
    let mut expr = root.clone();
    for access in chain {
        expr = match (expr, access) {
            (SqlExpr::Identifier(first), AccessExpr::Dot(SqlExpr::Identifier(next))) => {
                SqlExpr::CompoundIdentifier(vec![first, next.clone()])
            }
            (SqlExpr::CompoundIdentifier(mut names), AccessExpr::Dot(SqlExpr::Identifier(next))) => {
                names.push(next.clone());
                SqlExpr::CompoundIdentifier(names)
            }
            (inner, AccessExpr::Dot(SqlExpr::Identifier(next))) => field_of(inner, std::slice::from_ref(next)),
            (inner, other) => SqlExpr::CompoundFieldAccess {
                root: Box::new(inner),
                access_chain: vec![other.clone()],
            },
        };
    }
    expr
}

/// A function's name in small letters.
pub fn name_of(call: &Function) -> String {
    call.name.to_string().replace('"', "").to_lowercase()
}

/// The arguments that are expressions.
pub fn arguments(call: &Function) -> Vec<&SqlExpr> {
    let FunctionArguments::List(list) = &call.args else {
        return Vec::new();
    };
    let exprs = list.args.iter().filter_map(|argument| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    });
    exprs.collect()
}

/// Whether all arguments are expressions.
pub fn all_plain(call: &Function) -> bool {
    match &call.args {
        FunctionArguments::List(list) => list.args.len() == arguments(call).len(),
        FunctionArguments::None => true,
        FunctionArguments::Subquery(_) => false,
    }
}

/// Whether a call has DISTINCT, ORDER BY and the like among its arguments.
pub fn has_clauses(call: &Function) -> bool {
    match &call.args {
        FunctionArguments::List(list) => list.duplicate_treatment.is_some() || !list.clauses.is_empty(),
        _ => false,
    }
}

/// A constant number that is written.
pub fn number(expr: &SqlExpr) -> Option<i64> {
    match expr {
        SqlExpr::Value(value) => match &value.value {
            Value::Number(number, _) => number.parse().ok(),
            _ => None,
        },
        _ => None,
    }
}

/// Whether it is one leaf.
pub fn is_bare(expr: &SqlExpr) -> bool {
    match expr {
        SqlExpr::Identifier(_) | SqlExpr::CompoundIdentifier(_) => true,
        SqlExpr::Function(call) => matches!(name_of(call).as_str(), "classifier"),
        _ => false,
    }
}

/// Whether an expression is NULL if its columns are.
pub fn is_strict(expr: &SqlExpr) -> bool {
    use sqlparser::ast::BinaryOperator as B;
    match expr {
        SqlExpr::Nested(inner) => is_strict(inner),
        SqlExpr::UnaryOp {
            op: UnaryOperator::Minus | UnaryOperator::Plus | UnaryOperator::Not,
            expr,
        } => is_strict(expr),
        SqlExpr::Cast { expr, .. } => is_strict(expr),
        SqlExpr::BinaryOp { left, op, right } => {
            let strict = matches!(
                op,
                B::Plus
                    | B::Minus
                    | B::Multiply
                    | B::Divide
                    | B::Modulo
                    | B::StringConcat
                    | B::Eq
                    | B::NotEq
                    | B::Lt
                    | B::LtEq
                    | B::Gt
                    | B::GtEq
            );
            strict && (is_strict(left) || is_strict(right))
        }
        other => is_bare(other),
    }
}

/// A name that no later stage changes.
pub fn quoted(name: &str, span: Span) -> SqlExpr {
    SqlExpr::Identifier(Ident {
        value: name.to_string(),
        quote_style: Some('"'),
        span,
    })
}

/// Fields of a column. As a call: a name after a dot would be taken for a column.
pub fn field_of(column: SqlExpr, fields: &[Ident]) -> SqlExpr {
    fields.iter().fold(column, |column, field| {
        let name = SqlExpr::Value(Value::SingleQuotedString(field.value.clone()).with_span(field.span));
        call_of("get_field", vec![column, name])
    })
}

/// A call of a function.
pub fn call_of(name: &str, arguments: Vec<SqlExpr>) -> SqlExpr {
    let arguments = arguments
        .into_iter()
        .map(|argument| FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)));
    SqlExpr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: arguments.collect(),
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}
