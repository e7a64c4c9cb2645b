//! Names in the conditions and measures of MATCH_RECOGNIZE: what they mean, and the columns they become.
//!
//! `A.price`, `PREV(LAST(A.price, 1), 2)`, `CLASSIFIER(U)`, `sum(A.price)` are *leaves*: each is replaced by a column that is called as it is
//! written. What is around them is ordinary SQL over these columns.

use std::ops::ControlFlow;

use arrow::datatypes::{DataType, SchemaRef};
use eventflux_sqlparser::walk::{Walk, WalkMut};
use sqlparser::ast::{
    CaseWhen, Expr as SqlExpr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident,
    ObjectName, Spanned, UnaryOperator, Value, VisitorMut,
};
use sqlparser::tokenizer::Span;

use super::current_values::is_aggregate;
use super::row_pattern_aggregate::AggregateSpec;
use super::row_pattern_variables::VariableNames;
use super::text::Text;
use crate::catalog::functions::{EVENT_TIMESTAMP, Functions};
use crate::catalog::names::{Resolved, resolve};
use crate::config::nearest::nearest;
use crate::error::{Code, Diagnostic};
use crate::operators::filter_project::EVENT_TIME;
use crate::row_patterns::leaf::{From, Leaf, Scope, Target};
use crate::row_patterns::pattern::{Variable, Variables, has};

/// Ends the names of leaves, which therefore are no names of columns. It has no width.
pub const MARK: char = '\u{200b}';

/// A leaf and its column.
#[derive(Debug, Clone, PartialEq)]
pub struct LeafColumn {
    /// What the column is called.
    pub name: String,
    /// What it is; columns are numbered as those of the input, the event time after them.
    pub leaf: Leaf,
    /// Its type.
    pub data_type: DataType,
}

/// Where an expression stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Around {
    /// In the condition of a variable.
    Define(Variable),
    /// In a measure.
    Measure,
}

/// Rewrites names to columns of leaves, and collects these.
pub struct Names<'a> {
    /// The columns of the input, the event time last.
    pub columns: &'a SchemaRef,
    /// The variables.
    pub variables: &'a VariableNames,
    /// Functions.
    pub functions: &'a Functions,
    /// The app's text.
    pub text: &'a Text<'a>,
    /// Where what is rewritten stands.
    pub around: Around,
    /// What has been met.
    pub leaves: Vec<LeafColumn>,
    /// The aggregates among that.
    pub aggregates: Vec<AggregateSpec>,
}

type Rewritten = Result<Option<SqlExpr>, Diagnostic>;

impl VisitorMut for Names<'_> {
    type Break = Box<Diagnostic>;

    fn pre_visit_expr(&mut self, expr: &mut SqlExpr) -> ControlFlow<Self::Break> {
        match self.rewritten(expr) {
            Ok(None) => ControlFlow::Continue(()),
            Ok(Some(new)) => {
                *expr = new;
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(Box::new(error)),
        }
    }
}

impl Names<'_> {
    /// Rewrites an expression.
    pub fn rewrite(&mut self, expr: &mut SqlExpr) -> Result<(), Diagnostic> {
        match WalkMut::walk_mut(expr, self) {
            ControlFlow::Break(error) => Err(*error),
            ControlFlow::Continue(()) => Ok(()),
        }
    }

    fn rewritten(&mut self, expr: &SqlExpr) -> Rewritten {
        match expr {
            SqlExpr::Identifier(ident) if is_leaf(ident) => Ok(None),
            SqlExpr::Identifier(_) | SqlExpr::CompoundIdentifier(_) => {
                let (variables, column, fields) = self.column_of(expr)?;
                let target = Target::last(variables.unwrap_or(self.variables.all()));
                let leaf = self.leaf(Leaf::Column { target, column }, expr.span())?;
                Ok(Some(field_of(leaf, &fields)))
            }
            SqlExpr::Function(call) => self.call(call, expr.span()),
            SqlExpr::Subquery(_) | SqlExpr::Exists { .. } | SqlExpr::InSubquery { .. } => {
                let error = Diagnostic::new(Code::Unsupported, "not supported yet: a subquery in MATCH_RECOGNIZE")
                    .hint("join the table before: FROM (SELECT … FROM S JOIN T …) MATCH_RECOGNIZE (…)");
                Err(self.text.at(error, expr.span()))
            }
            _ => Ok(None),
        }
    }

    /// What a name of a column means: the variables before the dot, the column, and fields of it.
    pub fn column_of(&self, expr: &SqlExpr) -> Result<(Option<Variables>, usize, Vec<Ident>), Diagnostic> {
        let idents = match expr {
            SqlExpr::Identifier(ident) => std::slice::from_ref(ident),
            SqlExpr::CompoundIdentifier(idents) => idents.as_slice(),
            _ => &[],
        };
        match idents {
            [] => Err(self
                .text
                .at(Diagnostic::new(Code::Syntax, "a column is missing"), expr.span())),
            [only] => {
                if self.column(only).is_err() && self.variables.find(only).is_some() {
                    let message = format!("'{}' is a variable, not a column", only.value);
                    let error = Diagnostic::new(Code::Type, message);
                    let error = error.hint(format!("name a column of its rows: {}.<column>", only.value));
                    return Err(self.text.at(error, only.span));
                }
                Ok((None, self.column(only)?, Vec::new()))
            }
            [first, second, fields @ ..] => match self.variables.find(first) {
                Some(variables) => Ok((Some(variables), self.column(second)?, fields.to_vec())),
                None => match self.column(first) {
                    Ok(column) => Ok((None, column, idents[1..].to_vec())),
                    Err(_) => Err(self.unknown_variable(first)),
                },
            },
        }
    }

    /// A column of the input.
    pub fn column(&self, ident: &Ident) -> Result<usize, Diagnostic> {
        let fields = self.columns.fields();
        let names = || fields.iter().map(|field| field.name().as_str());
        let error = match resolve(&ident.value, names()) {
            Resolved::One(exact) => {
                return Ok(fields
                    .iter()
                    .position(|field| field.name() == exact)
                    .unwrap_or_default());
            }
            Resolved::Ambiguous(candidates) => {
                let message = format!("'{}' could be {}", ident.value, candidates.join(" or "));
                Diagnostic::new(Code::Ambiguous, message).hint("write the name in its exact case")
            }
            Resolved::None => {
                let error = Diagnostic::new(Code::UnknownColumn, format!("there is no column '{}'", ident.value));
                let shown = names().filter(|name| !name.starts_with("__"));
                match nearest(&ident.value, shown.clone()) {
                    Some(near) => error.hint(format!("did you mean '{near}'?")),
                    None => error.hint(format!("there are: {}", shown.collect::<Vec<_>>().join(", "))),
                }
            }
        };
        Err(self.text.at(error, ident.span))
    }

    /// The error of a name that is no variable.
    pub fn unknown_variable(&self, ident: &Ident) -> Diagnostic {
        self.text.at(self.variables.unknown(ident), ident.span)
    }

    fn call(&mut self, call: &Function, span: Span) -> Rewritten {
        if call.over.is_some() {
            let error = Diagnostic::new(Code::Unsupported, "not supported yet: OVER in MATCH_RECOGNIZE");
            return Err(self
                .text
                .at(error.hint("compute it before, in a subquery, or after"), span));
        }
        let name = name_of(call);
        match name.as_str() {
            eventflux_sqlparser::RUNNING => self.scoped(call, Scope::Running, span).map(Some),
            eventflux_sqlparser::FINAL => self.scoped(call, Scope::Final, span).map(Some),
            "first" | "last" | "prev" | "next" => self.navigation(call, None, span).map(Some),
            "classifier" => {
                let variables = self.classifier(call)?;
                let target = Target::last(variables.unwrap_or(self.variables.all()));
                self.label(target, span).map(Some)
            }
            "match_number" => {
                self.no_arguments(call, span)?;
                self.leaf(Leaf::Number, span).map(Some)
            }
            _ if call.name.to_string().eq_ignore_ascii_case(EVENT_TIMESTAMP) => {
                self.event_timestamp(call, span).map(Some)
            }
            _ if is_aggregate(call, self.functions) => self.aggregate(call, Scope::Running, span).map(Some),
            _ => self.check_function(call).map(|()| None),
        }
    }

    /// RUNNING and FINAL before a call.
    fn scoped(&mut self, call: &Function, scope: Scope, span: Span) -> Result<SqlExpr, Diagnostic> {
        let word = match scope {
            Scope::Running => "RUNNING",
            Scope::Final => "FINAL",
        };
        if scope == Scope::Final && matches!(self.around, Around::Define(_)) {
            let error = Diagnostic::new(
                Code::Unstreamable,
                "a condition sees the rows so far: FINAL cannot stand there",
            );
            return Err(self.text.at(error.hint("leave FINAL out"), span));
        }
        if let Some(SqlExpr::Function(inner)) = arguments(call).first().copied() {
            match name_of(inner).as_str() {
                "first" | "last" => return self.navigation(inner, Some(scope), span),
                "prev" | "next" => {}
                _ if is_aggregate(inner, self.functions) => return self.aggregate(inner, scope, span),
                _ => {}
            }
        }
        let error = Diagnostic::new(Code::Syntax, format!("{word} goes before FIRST, LAST or an aggregate"));
        let hint = format!("inside of PREV and NEXT: PREV({word} LAST(A.price))");
        Err(self.text.at(error.hint(hint), span))
    }

    /// FIRST, LAST, PREV, NEXT, over an expression of one variable.
    fn navigation(&mut self, call: &Function, scope: Option<Scope>, span: Span) -> Result<SqlExpr, Diagnostic> {
        let name = name_of(call);
        let (argument, offset) = self.navigated(call, span)?;
        let mut target = Target::last(0);
        let mut argument = argument.clone();
        match name.as_str() {
            "first" | "last" => {
                target.from = if name == "first" { From::First } else { From::Last };
                target.offset = self.offset(offset.unwrap_or(0), span)?;
                target.scope = scope.unwrap_or(Scope::Running);
            }
            _ => {
                let offset = offset.unwrap_or(1);
                target.shift = if name == "prev" { -offset } else { offset };
                if let Some((inner, inner_scope)) = logical(&argument) {
                    let (innermost, inner_offset) = self.navigated(inner, span)?;
                    if inner_scope == Some(Scope::Final) && matches!(self.around, Around::Define(_)) {
                        return self.scoped(inner, Scope::Final, span);
                    }
                    target.from = if name_of(inner) == "first" {
                        From::First
                    } else {
                        From::Last
                    };
                    target.offset = self.offset(inner_offset.unwrap_or(0), span)?;
                    target.scope = inner_scope.unwrap_or(Scope::Running);
                    argument = innermost.clone();
                }
            }
        }
        let used = self.variables_in(&argument, &name)?;
        let Some(variables) = used else {
            let message = format!(
                "{} reads a row, and its argument names no column of it",
                name.to_uppercase()
            );
            let error = Diagnostic::new(Code::Type, message).hint("name a column, or CLASSIFIER()");
            return Err(self.text.at(error, span));
        };
        target.variables = variables;
        let bare = is_bare(&argument);
        let strict = is_strict(&argument);
        self.go_down(&mut argument, target)?;
        if bare {
            return Ok(argument);
        }
        let value = SqlExpr::Nested(Box::new(argument));
        if strict {
            return Ok(value);
        }
        // Where there is no such row the navigation is NULL, whatever the expression.
        Ok(SqlExpr::Case {
            case_token: sqlparser::ast::helpers::attached_token::AttachedToken::empty(),
            end_token: sqlparser::ast::helpers::attached_token::AttachedToken::empty(),
            operand: None,
            conditions: vec![CaseWhen {
                condition: self.leaf(Leaf::Exists(target), span)?,
                result: value,
            }],
            else_result: None,
        })
    }

    /// The argument of a navigation and its offset.
    fn navigated<'c>(&self, call: &'c Function, span: Span) -> Result<(&'c SqlExpr, Option<i64>), Diagnostic> {
        let name = name_of(call).to_uppercase();
        let wrong = |message: String| {
            let error = Diagnostic::new(Code::Type, message);
            self.text.at(
                error.hint(format!("such as {name}(A.price), or {name}(A.price, 2)")),
                span,
            )
        };
        if call.filter.is_some() || has_clauses(call) {
            return Err(wrong(format!(
                "{name} in MATCH_RECOGNIZE takes neither DISTINCT, ORDER BY nor FILTER"
            )));
        }
        match arguments(call).as_slice() {
            [argument] if all_plain(call) => Ok((argument, None)),
            [argument, offset] if all_plain(call) => match number(offset) {
                Some(offset) => Ok((argument, Some(offset))),
                None => {
                    let message = format!("the second argument of {name} is a constant number of rows, 0 or more");
                    Err(self.text.at(Diagnostic::new(Code::Type, message), offset.span()))
                }
            },
            _ => Err(wrong(format!("{name} takes a value of a row, and how many rows to go"))),
        }
    }

    fn offset(&self, offset: i64, span: Span) -> Result<u32, Diagnostic> {
        let most = match self.around {
            Around::Define(_) => MAX_OFFSET,
            Around::Measure => i64::from(u32::MAX) - 1,
        };
        if offset > most {
            let message = format!("FIRST and LAST count at most {most} rows here");
            return Err(self.text.at(Diagnostic::new(Code::Limit, message), span));
        }
        Ok(offset as u32)
    }

    /// The variables that the columns of an argument belong to; none without columns.
    pub fn variables_in(&self, argument: &SqlExpr, outer: &str) -> Result<Option<Variables>, Diagnostic> {
        let mut uses = Uses {
            names: self,
            outer,
            inside: 0,
            found: None,
        };
        match Walk::walk(argument, &mut uses) {
            ControlFlow::Break(error) => Err(*error),
            ControlFlow::Continue(()) => Ok(uses.found),
        }
    }

    /// Lets the columns of an expression be those of a target.
    fn go_down(&mut self, argument: &mut SqlExpr, target: Target) -> Result<(), Diagnostic> {
        struct Down<'n, 'a> {
            names: &'n mut Names<'a>,
            target: Target,
        }
        impl VisitorMut for Down<'_, '_> {
            type Break = Box<Diagnostic>;
            fn pre_visit_expr(&mut self, expr: &mut SqlExpr) -> ControlFlow<Self::Break> {
                match self.names.down(expr, self.target) {
                    Ok(Some(new)) => {
                        *expr = new;
                        ControlFlow::Continue(())
                    }
                    Ok(None) => ControlFlow::Continue(()),
                    Err(error) => ControlFlow::Break(Box::new(error)),
                }
            }
        }
        match WalkMut::walk_mut(argument, &mut Down { names: self, target }) {
            ControlFlow::Break(error) => Err(*error),
            ControlFlow::Continue(()) => Ok(()),
        }
    }

    fn down(&mut self, expr: &SqlExpr, target: Target) -> Rewritten {
        match expr {
            SqlExpr::Identifier(ident) if is_leaf(ident) => Ok(None),
            SqlExpr::Identifier(_) | SqlExpr::CompoundIdentifier(_) => {
                let (_, column, fields) = self.column_of(expr)?;
                let leaf = self.leaf(Leaf::Column { target, column }, expr.span())?;
                Ok(Some(field_of(leaf, &fields)))
            }
            SqlExpr::Function(call) => match name_of(call).as_str() {
                "classifier" => self.label(target, expr.span()).map(Some),
                "match_number" => self.leaf(Leaf::Number, expr.span()).map(Some),
                _ if call.name.to_string().eq_ignore_ascii_case(EVENT_TIMESTAMP) => {
                    let column = self.columns.fields().len() - 1;
                    self.leaf(Leaf::Column { target, column }, expr.span()).map(Some)
                }
                _ => self.check_function(call).map(|()| None),
            },
            _ => Ok(None),
        }
    }

    /// The variable of a row. Of the candidate of a condition it is known.
    fn label(&mut self, target: Target, span: Span) -> Result<SqlExpr, Diagnostic> {
        if let Around::Define(own) = self.around
            && is_candidate(&target, own)
            && target.shift == 0
        {
            let name = self.variables.name(own).to_string();
            let value = Value::SingleQuotedString(name).with_span(span);
            return Ok(SqlExpr::Value(value));
        }
        self.leaf(Leaf::Label(target), span)
    }

    /// The variables of CLASSIFIER(U).
    pub fn classifier(&self, call: &Function) -> Result<Option<Variables>, Diagnostic> {
        match arguments(call).as_slice() {
            [] if all_plain(call) => Ok(None),
            [SqlExpr::Identifier(ident)] => match self.variables.find(ident) {
                Some(variables) => Ok(Some(variables)),
                None => Err(self.unknown_variable(ident)),
            },
            _ => {
                let error = Diagnostic::new(Code::Type, "CLASSIFIER takes a variable, or nothing");
                Err(self
                    .text
                    .at(error.hint("CLASSIFIER() or CLASSIFIER(A)"), call.name.span()))
            }
        }
    }

    /// The event time of the current row, or of the last row of a variable.
    fn event_timestamp(&mut self, call: &Function, span: Span) -> Result<SqlExpr, Diagnostic> {
        let variables = match arguments(call).as_slice() {
            [] => self.variables.all(),
            [SqlExpr::Identifier(ident)] => match self.variables.find(ident) {
                Some(variables) => variables,
                None => return Err(self.unknown_variable(ident)),
            },
            _ => {
                let error = Diagnostic::new(Code::Type, "eventTimestamp takes a variable, or nothing");
                return Err(self.text.at(error, span));
            }
        };
        let target = Target::last(variables);
        let column = self.columns.fields().len() - 1;
        self.leaf(Leaf::Column { target, column }, span)
    }

    fn no_arguments(&self, call: &Function, span: Span) -> Result<(), Diagnostic> {
        match arguments(call).is_empty() && all_plain(call) {
            true => Ok(()),
            false => {
                let message = format!("{} takes no argument", call.name);
                Err(self.text.at(Diagnostic::new(Code::Type, message), span))
            }
        }
    }

    /// A function that is called must be there.
    pub fn check_function(&self, call: &Function) -> Result<(), Diagnostic> {
        let name = call.name.to_string().replace('"', "");
        let functions = self.functions;
        if functions.scalar(&name).is_some()
            || functions.higher_order(&name).is_some()
            || functions.aggregate(&name).is_some()
        {
            return Ok(());
        }
        let error = Diagnostic::new(Code::UnknownFunction, format!("there is no function '{name}'"));
        let known = functions.scalar_names().chain(functions.aggregate_names());
        let error = match nearest(&name, known) {
            Some(near) => error.hint(format!("did you mean '{near}'?")),
            None => error,
        };
        Err(self.text.at(error, call.name.span()))
    }

    /// The column of a leaf.
    pub fn leaf(&mut self, leaf: Leaf, span: Span) -> Result<SqlExpr, Diagnostic> {
        if let Some(known) = self.leaves.iter().find(|known| known.leaf == leaf) {
            return Ok(quoted(&known.name, span));
        }
        let data_type = match &leaf {
            Leaf::Column { column, .. } => self.columns.field(*column).data_type().clone(),
            Leaf::Label(_) => DataType::Utf8View,
            Leaf::Exists(_) => DataType::Boolean,
            Leaf::Number => DataType::Int64,
            Leaf::Aggregate { index, .. } => self.aggregates[*index].data_type.clone(),
        };
        let mut name = self.written(&leaf);
        while self.leaves.iter().any(|known| known.name == format!("{name}{MARK}")) {
            name.push('\'');
        }
        name.push(MARK);
        let expr = quoted(&name, span);
        self.leaves.push(LeafColumn { name, leaf, data_type });
        Ok(expr)
    }

    /// A leaf as one would write it.
    fn written(&self, leaf: &Leaf) -> String {
        match leaf {
            Leaf::Number => "MATCH_NUMBER()".to_string(),
            Leaf::Aggregate { index, scope } => {
                let text = &self.aggregates[*index].text;
                match scope {
                    Scope::Running => text.clone(),
                    Scope::Final => format!("FINAL {text}"),
                }
            }
            Leaf::Column { target, column } => {
                let name = match self.columns.field(*column).name().as_str() {
                    EVENT_TIME => "eventTimestamp()",
                    name => name,
                };
                let variable = self.variables.prefix(target.variables);
                navigated_text(target, format!("{variable}{name}"))
            }
            Leaf::Label(target) => {
                let variable = self.variables.called(target.variables).unwrap_or_default();
                navigated_text(target, format!("CLASSIFIER({variable})"))
            }
            Leaf::Exists(target) => {
                let variable = self.variables.prefix(target.variables);
                navigated_text(target, format!("{variable}*"))
            }
        }
    }
}

/// The most rows that FIRST and LAST of a condition count: threads remember so many.
const MAX_OFFSET: i64 = 1_000;

fn navigated_text(target: &Target, inner: String) -> String {
    let offset = match target.offset {
        0 => String::new(),
        offset => format!(", {offset}"),
    };
    let mut text = match (target.from, target.scope) {
        (From::Last, Scope::Running) if target.offset == 0 => inner,
        (From::Last, Scope::Running) => format!("LAST({inner}{offset})"),
        (From::First, Scope::Running) => format!("FIRST({inner}{offset})"),
        (From::Last, Scope::Final) => format!("FINAL LAST({inner}{offset})"),
        (From::First, Scope::Final) => format!("FINAL FIRST({inner}{offset})"),
    };
    if target.shift != 0 {
        let name = if target.shift < 0 { "PREV" } else { "NEXT" };
        text = format!("{name}({text}, {})", target.shift.unsigned_abs());
    }
    text
}

/// Whether a target of the condition of `own` is the candidate, or at a fixed distance from it.
pub fn is_candidate(target: &Target, own: Variable) -> bool {
    target.from == From::Last && target.offset == 0 && has(target.variables, own)
}

/// Looks for the variables of columns; all must be of one.
struct Uses<'n, 'a> {
    names: &'n Names<'a>,
    /// The call around.
    outer: &'n str,
    /// Inside of how many calls of CLASSIFIER and eventTimestamp, whose arguments are no columns.
    inside: usize,
    found: Option<Variables>,
}

impl Uses<'_, '_> {
    fn step(&mut self, expr: &SqlExpr) -> Result<(), Diagnostic> {
        let names = self.names;
        let variables = match expr {
            SqlExpr::Identifier(_) | SqlExpr::CompoundIdentifier(_) if self.inside == 0 => {
                names.column_of(expr)?.0.unwrap_or(names.variables.all())
            }
            SqlExpr::Function(call) => match name_of(call).as_str() {
                "classifier" => {
                    self.inside += 1;
                    names.classifier(call)?.unwrap_or(names.variables.all())
                }
                "match_number" => return Ok(()),
                inner @ ("first"
                | "last"
                | "prev"
                | "next"
                | eventflux_sqlparser::RUNNING
                | eventflux_sqlparser::FINAL) => {
                    return Err(self.nested(inner, expr.span()));
                }
                inner if is_aggregate(call, names.functions) => return Err(self.nested(inner, expr.span())),
                _ if call.name.to_string().eq_ignore_ascii_case(EVENT_TIMESTAMP) => names.variables.all(),
                _ => return Ok(()),
            },
            SqlExpr::Subquery(_) | SqlExpr::Exists { .. } | SqlExpr::InSubquery { .. } => {
                let error = Diagnostic::new(Code::Unsupported, "not supported yet: a subquery in MATCH_RECOGNIZE");
                return Err(names.text.at(error, expr.span()));
            }
            _ => return Ok(()),
        };
        match self.found {
            Some(found) if found != variables => {
                let outer = self.outer.to_uppercase();
                let message = format!("{outer} is about rows of one variable, and its arguments name several");
                let error = Diagnostic::new(Code::Type, message);
                let hint = "give all columns in it the same variable, or a SUBSET of the variables";
                Err(names.text.at(error.hint(hint), expr.span()))
            }
            _ => {
                self.found = Some(variables);
                Ok(())
            }
        }
    }

    fn nested(&self, inner: &str, span: Span) -> Diagnostic {
        let outer = self.outer.to_uppercase();
        let inner = inner.trim_start_matches("__").to_uppercase();
        let error = Diagnostic::new(Code::Type, format!("{inner} cannot stand inside of {outer}"));
        let error = error.hint("only FIRST and LAST may, inside of PREV and NEXT: PREV(LAST(A.price, 1), 2)");
        self.names.text.at(error, span)
    }
}

impl sqlparser::ast::Visitor for Uses<'_, '_> {
    type Break = Box<Diagnostic>;

    fn pre_visit_expr(&mut self, expr: &SqlExpr) -> ControlFlow<Self::Break> {
        match self.step(expr) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(Box::new(error)),
        }
    }

    fn post_visit_expr(&mut self, expr: &SqlExpr) -> ControlFlow<Self::Break> {
        if let SqlExpr::Function(call) = expr
            && name_of(call) == "classifier"
        {
            self.inside -= 1;
        }
        ControlFlow::Continue(())
    }
}

/// FIRST or LAST as the whole argument of PREV or NEXT, perhaps after RUNNING or FINAL.
fn logical(argument: &SqlExpr) -> Option<(&Function, Option<Scope>)> {
    let SqlExpr::Function(call) = argument else {
        return None;
    };
    let scope = match name_of(call).as_str() {
        "first" | "last" => return Some((call, None)),
        eventflux_sqlparser::RUNNING => Scope::Running,
        eventflux_sqlparser::FINAL => Scope::Final,
        _ => return None,
    };
    match arguments(call).first() {
        Some(SqlExpr::Function(inner)) if matches!(name_of(inner).as_str(), "first" | "last") => {
            Some((inner, Some(scope)))
        }
        _ => None,
    }
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
fn all_plain(call: &Function) -> bool {
    match &call.args {
        FunctionArguments::List(list) => list.args.len() == arguments(call).len(),
        FunctionArguments::None => true,
        FunctionArguments::Subquery(_) => false,
    }
}

fn has_clauses(call: &Function) -> bool {
    match &call.args {
        FunctionArguments::List(list) => list.duplicate_treatment.is_some() || !list.clauses.is_empty(),
        _ => false,
    }
}

fn number(expr: &SqlExpr) -> Option<i64> {
    match expr {
        SqlExpr::Value(value) => match &value.value {
            Value::Number(number, _) => number.parse().ok(),
            _ => None,
        },
        _ => None,
    }
}

/// Whether it is one leaf.
fn is_bare(expr: &SqlExpr) -> bool {
    match expr {
        SqlExpr::Identifier(_) | SqlExpr::CompoundIdentifier(_) => true,
        SqlExpr::Function(call) => matches!(name_of(call).as_str(), "classifier"),
        _ => false,
    }
}

/// Whether an expression is NULL if its columns are.
fn is_strict(expr: &SqlExpr) -> bool {
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

/// Whether a name is one of a leaf.
pub fn is_leaf(ident: &Ident) -> bool {
    ident.value.ends_with(MARK)
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
