//! Names in conditions and queries over patterns: what they mean, and the columns they become.

use std::ops::ControlFlow;

use arrow::datatypes::DataType;
use datafusion_expr::{Expr, ExprSchemable};
use eventflux_sqlparser::walk::{Walk, WalkMut};
use sqlparser::ast::{
    AccessExpr, BinaryOperator, Expr as SqlExpr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident,
    Spanned, Subscript, Value, Visitor, VisitorMut,
};
use sqlparser::tokenizer::Span;

use super::current_values::is_aggregate;
use super::failure;
use super::pattern::{Output, SpecElement, condition_schema, planned};
use super::text::Text;
use crate::catalog::functions::{EVENT_TIMESTAMP, Functions};
use crate::catalog::names::{Resolved, resolve};
use crate::catalog::types;
use crate::config::nearest::nearest;
use crate::error::{Code, Diagnostic};
use crate::operators::filter_project::EVENT_TIME;
use crate::patterns::gather::Which;
use crate::patterns::shape::ElementId;

/// A value of a match.
#[derive(Debug, Clone, PartialEq)]
pub enum Reference {
    /// Of an element's events.
    Value {
        /// Whose.
        element: ElementId,
        /// Which of them.
        which: Which,
        /// What of it.
        what: Part,
    },
    /// An aggregate over an element's events, over the columns of its stream.
    Aggregate {
        /// Whose.
        element: ElementId,
        /// The aggregate.
        call: Box<Expr>,
    },
}

/// What of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// A column.
    Column(String),
    /// Its time.
    Time,
    /// That it is there; of all events, how many.
    Presence,
}

/// Rewrites names to columns, and collects what these are.
pub struct Names<'a> {
    elements: &'a [SpecElement],
    /// The element whose condition it is; none in the query.
    candidate: Option<ElementId>,
    functions: &'a Functions,
    text: &'a Text<'a>,
    /// In the query: names that may be results of it.
    pub outputs: Vec<String>,
    /// In the query: whether it reads other relations, too. What no element has may be theirs.
    pub has_others: bool,
    /// In the query: columns of PARTITION BY, the same in all elements.
    pub partition_by: &'a [String],
    /// What has been met.
    pub references: Vec<Output>,
}

type Step = ControlFlow<Box<Diagnostic>>;

impl VisitorMut for Names<'_> {
    type Break = Box<Diagnostic>;

    fn pre_visit_expr(&mut self, expr: &mut SqlExpr) -> Step {
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

impl<'a> Names<'a> {
    /// For the condition of an element.
    pub fn of_condition(
        elements: &'a [SpecElement],
        candidate: ElementId,
        functions: &'a Functions,
        text: &'a Text<'a>,
    ) -> Self {
        Names {
            candidate: Some(candidate),
            ..Names::of_query(elements, functions, text)
        }
    }

    /// For the query over the pattern.
    pub fn of_query(elements: &'a [SpecElement], functions: &'a Functions, text: &'a Text<'a>) -> Self {
        Names {
            elements,
            candidate: None,
            functions,
            text,
            outputs: Vec::new(),
            has_others: false,
            partition_by: &[],
            references: Vec::new(),
        }
    }

    fn rewritten(&mut self, expr: &SqlExpr) -> Result<Option<SqlExpr>, Diagnostic> {
        match expr {
            SqlExpr::Identifier(ident) => self.bare(ident),
            SqlExpr::CompoundIdentifier(idents) => self.compound(idents),
            SqlExpr::CompoundFieldAccess { root, access_chain } => self.access(root, access_chain, expr.span()),
            SqlExpr::Function(call) => self.call(call),
            _ => Ok(None),
        }
    }

    /// `price`, or `e1` for whether it is there.
    fn bare(&mut self, ident: &Ident) -> Result<Option<SqlExpr>, Diagnostic> {
        if self.references.iter().any(|known| known.name == ident.value) {
            // Rewritten before.
            return Ok(None);
        }
        if let Some(candidate) = self.candidate
            && let Some(own) = self.own_column(candidate, ident)?
        {
            return Ok(Some(own));
        }
        if self.candidate.is_none() && self.outputs.contains(&ident.value) {
            return Ok(None);
        }
        if let Some(element) = self.alias(ident)? {
            self.check_order(element, ident)?;
            return self.value(element, Which::Only, Part::Presence, ident.span).map(Some);
        }
        if self.candidate.is_some() {
            return Err(self.unknown_column(ident, self.candidate));
        }
        let having: Vec<ElementId> = (0..self.elements.len())
            .filter(|element| !self.elements[*element].absent)
            .filter(|element| self.column(*element, ident).is_ok())
            .collect();
        let shared = self
            .partition_by
            .iter()
            .any(|column| column.eq_ignore_ascii_case(&ident.value));
        match having.as_slice() {
            [] if self
                .outputs
                .iter()
                .any(|output| output.eq_ignore_ascii_case(&ident.value)) =>
            {
                Ok(None)
            }
            [] if self.has_others => Ok(None),
            [] => Err(self.unknown_column(ident, None)),
            [element] => self.column_of(*element, ident).map(Some),
            [element, ..] if shared => self.column_of(*element, ident).map(Some),
            several => {
                let names: Vec<String> = several
                    .iter()
                    .map(|element| format!("{}.{}", self.elements[*element].name, ident.value))
                    .collect();
                let message = format!("'{}' could be {}", ident.value, names.join(" or "));
                let error = Diagnostic::new(Code::Ambiguous, message).hint(format!("say which: {}", names[0]));
                Err(self.text.at(error, ident.span))
            }
        }
    }

    /// `e1.price`, and fields of it.
    fn compound(&mut self, idents: &[Ident]) -> Result<Option<SqlExpr>, Diagnostic> {
        let [first, second, fields @ ..] = idents else {
            return Ok(None);
        };
        let Some(element) = self.alias(first)? else {
            // A field of a column of the candidate or of the one element that has it.
            if self.candidate.is_some_and(|own| self.column(own, first).is_ok())
                || self.candidate.is_none() && self.elements.iter().any(|element| has_column(element, first))
            {
                let column = self.bare(first)?.unwrap_or(SqlExpr::Identifier(first.clone()));
                return Ok(Some(field_of(column, &idents[1..])));
            }
            return match self.has_others {
                true => Ok(None),
                false => Err(self.unknown_alias(first)),
            };
        };
        let column = match self.candidate == Some(element) {
            true => match self.own_column(element, second)? {
                Some(own) => own,
                None => return Err(self.unknown_column(second, Some(element))),
            },
            false => {
                self.check_order(element, first)?;
                self.column_of(element, second)?
            }
        };
        Ok(Some(field_of(column, fields)))
    }

    /// `e1[0].price`, `e1[last]`.
    fn access(&mut self, root: &SqlExpr, chain: &[AccessExpr], span: Span) -> Result<Option<SqlExpr>, Diagnostic> {
        let SqlExpr::Identifier(alias) = root else {
            return Ok(None);
        };
        if self.candidate.is_some_and(|own| self.column(own, alias).is_ok()) {
            return Ok(None);
        }
        let Some(element) = self.alias(alias)? else {
            return match self.candidate.is_none() && self.elements.iter().any(|element| has_column(element, alias)) {
                true => Ok(None),
                false if self.has_others => Ok(None),
                false => Err(self.unknown_alias(alias)),
            };
        };
        let [AccessExpr::Subscript(Subscript::Index { index }), rest @ ..] = chain else {
            return Ok(None);
        };
        if self.candidate != Some(element) || !self.elements[element].collects {
            self.check_order(element, alias)?;
        }
        let which = self.index(index)?;
        let which = match (self.elements[element].collects, which) {
            (true, which) => which,
            // One event is its own first and last.
            (false, Which::At(0) | Which::FromLast(0)) => Which::Only,
            (false, _) => {
                let message = format!("'{}' is one event, not a collection", alias.value);
                let error = Diagnostic::new(Code::Type, message).hint(format!(
                    "write {}.<column>, or give the element a quantifier",
                    alias.value
                ));
                return Err(self.text.at(error, span));
            }
        };
        let (part, rest) = match rest {
            [AccessExpr::Dot(SqlExpr::Identifier(column)), rest @ ..] => {
                let column = self
                    .column(element, column)
                    .map_err(|error| self.text.at(error, column.span))?;
                (Part::Column(column), rest)
            }
            rest => (Part::Presence, rest),
        };
        let value = self.value(element, which, part, span)?;
        Ok(Some(match rest {
            [] => value,
            rest => SqlExpr::CompoundFieldAccess {
                root: Box::new(value),
                access_chain: rest.to_vec(),
            },
        }))
    }

    /// `3`, `last`, `last - 1`.
    fn index(&self, index: &SqlExpr) -> Result<Which, Diagnostic> {
        let number = |expr: &SqlExpr| match expr {
            SqlExpr::Value(value) => match &value.value {
                Value::Number(number, _) => number.parse::<u32>().ok(),
                _ => None,
            },
            _ => None,
        };
        let is_last =
            |expr: &SqlExpr| matches!(expr, SqlExpr::Identifier(ident) if ident.value.eq_ignore_ascii_case("last"));
        let which = match index {
            index if is_last(index) => Some(Which::FromLast(0)),
            SqlExpr::BinaryOp {
                left,
                op: BinaryOperator::Minus,
                right,
            } if is_last(left) => number(right).map(Which::FromLast),
            index => number(index).map(Which::At),
        };
        which.ok_or_else(|| {
            let error = Diagnostic::new(
                Code::Syntax,
                "an event of a collection is [0], [1], …, [last] or [last - n]",
            );
            self.text.at(error, index.span())
        })
    }

    /// `eventTimestamp(e1)`, and aggregates over a collection.
    fn call(&mut self, call: &Function) -> Result<Option<SqlExpr>, Diagnostic> {
        let name = call.name.to_string().replace('"', "");
        if name.eq_ignore_ascii_case(EVENT_TIMESTAMP) {
            return self.event_timestamp(call);
        }
        if self.functions.scalar(&name).is_none()
            && self.functions.aggregate(&name).is_none()
            && self.functions.higher_order(&name).is_none()
            && self.candidate.is_some()
        {
            let error = Diagnostic::new(Code::UnknownFunction, format!("there is no function '{name}'"));
            let error = match nearest(&name, self.functions.scalar_names()) {
                Some(near) => error.hint(format!("did you mean '{near}'?")),
                None => error,
            };
            return Err(self.text.at(error, call.name.span()));
        }
        if !is_aggregate(call, self.functions) {
            return Ok(None);
        }
        match self.collected(call)? {
            Some(element) => self.aggregate(call, element).map(Some),
            None if self.candidate.is_some() => {
                let error = Diagnostic::new(
                    Code::Type,
                    format!("{name} is over a collection, and none is named in it"),
                )
                .hint("such as count(e1) where e1 has a quantifier");
                Err(self.text.at(error, SqlExpr::Function(call.clone()).span()))
            }
            None => Ok(None),
        }
    }

    fn event_timestamp(&mut self, call: &Function) -> Result<Option<SqlExpr>, Diagnostic> {
        let FunctionArguments::List(list) = &call.args else {
            return Ok(None);
        };
        let element = match list.args.as_slice() {
            [] => None,
            [FunctionArg::Unnamed(FunctionArgExpr::Expr(SqlExpr::Identifier(alias)))] => match self.alias(alias)? {
                None => return Err(self.unknown_alias(alias)),
                element => element.map(|element| (element, alias.clone())),
            },
            [FunctionArg::Unnamed(FunctionArgExpr::Expr(SqlExpr::CompoundFieldAccess { root, access_chain }))] => {
                return match (root.as_ref(), access_chain.as_slice()) {
                    (SqlExpr::Identifier(alias), [AccessExpr::Subscript(Subscript::Index { index })]) => {
                        let Some(element) = self.alias(alias)? else {
                            return Err(self.unknown_alias(alias));
                        };
                        let which = self.index(index)?;
                        self.value(element, which, Part::Time, alias.span).map(Some)
                    }
                    _ => Ok(None),
                };
            }
            _ => return Ok(None),
        };
        match (element, self.candidate) {
            (None, None) => Ok(None),
            (None, Some(_)) => Ok(Some(quoted(EVENT_TIME, call.name.span()))),
            (Some((element, _)), Some(own)) if element == own => Ok(Some(quoted(EVENT_TIME, call.name.span()))),
            (Some((element, alias)), _) => {
                self.check_order(element, &alias)?;
                self.value(element, Which::Only, Part::Time, alias.span).map(Some)
            }
        }
    }

    /// The collection that the arguments of an aggregate are about.
    fn collected(&self, call: &Function) -> Result<Option<ElementId>, Diagnostic> {
        struct Aliases<'n, 'a> {
            names: &'n Names<'a>,
            counts: bool,
            found: Vec<ElementId>,
            error: Option<Diagnostic>,
        }
        impl Visitor for Aliases<'_, '_> {
            type Break = ();
            fn pre_visit_expr(&mut self, expr: &SqlExpr) -> ControlFlow<()> {
                let (first, alone) = match expr {
                    SqlExpr::Identifier(ident) => (ident, true),
                    SqlExpr::CompoundIdentifier(idents) if idents.len() > 1 => (&idents[0], false),
                    _ => return ControlFlow::Continue(()),
                };
                match self.names.alias(first) {
                    Ok(Some(element)) if alone && !self.counts && !self.names.elements[element].collects => {
                        let message = format!("'{}' is one event, not a collection", first.value);
                        let error = Diagnostic::new(Code::Type, message).hint(
                            "an aggregate over matches takes a column, or count(*); count(e) is how many events e has",
                        );
                        self.error = Some(self.names.text.at(error, first.span));
                        return ControlFlow::Break(());
                    }
                    Ok(Some(element)) => self.found.push(element),
                    Ok(None) if alone => self.found.extend(self.names.only_collection(first)),
                    Ok(None) => {}
                    Err(error) => {
                        self.error = Some(error);
                        return ControlFlow::Break(());
                    }
                }
                ControlFlow::Continue(())
            }
        }
        let mut aliases = Aliases {
            names: self,
            counts: self.counted(call)?.is_some(),
            found: Vec::new(),
            error: None,
        };
        let _ = call.args.walk(&mut aliases);
        let _ = call.filter.walk(&mut aliases);
        if let Some(error) = aliases.error {
            return Err(error);
        }
        if let Some(element) = self.counted(call)? {
            return Ok(Some(element));
        }
        let collection = aliases
            .found
            .iter()
            .copied()
            .find(|element| self.elements[*element].collects);
        match collection {
            Some(collection) if aliases.found.iter().any(|element| *element != collection) => {
                let message = format!(
                    "an aggregate over the events of '{}' takes only their columns",
                    self.elements[collection].name
                );
                let error = Diagnostic::new(Code::Unsupported, message);
                Err(self.text.at(error, SqlExpr::Function(call.clone()).span()))
            }
            collection => Ok(collection),
        }
    }

    /// Whose events `count(e1)` counts; of a single event 1, or 0 where it matched nothing.
    fn counted(&self, call: &Function) -> Result<Option<ElementId>, Diagnostic> {
        let FunctionArguments::List(list) = &call.args else {
            return Ok(None);
        };
        match list.args.as_slice() {
            [FunctionArg::Unnamed(FunctionArgExpr::Expr(SqlExpr::Identifier(ident)))]
                if call.name.to_string().eq_ignore_ascii_case("count")
                    && call.filter.is_none()
                    && list.duplicate_treatment.is_none() =>
            {
                self.alias(ident)
            }
            _ => Ok(None),
        }
    }

    /// The collection that alone has a column of that name.
    fn only_collection(&self, ident: &Ident) -> Option<ElementId> {
        if self.candidate.is_some() {
            return None;
        }
        let mut having = (0..self.elements.len())
            .filter(|element| !self.elements[*element].absent && has_column(&self.elements[*element], ident));
        let only = having.next().filter(|_| having.next().is_none())?;
        self.elements[only].collects.then_some(only)
    }

    /// The column of an aggregate over a collection.
    fn aggregate(&mut self, call: &Function, element: ElementId) -> Result<SqlExpr, Diagnostic> {
        let span = SqlExpr::Function(call.clone()).span();
        if self.candidate != Some(element) {
            let alias = Ident::new(self.elements[element].name.clone());
            self.check_order(element, &Ident { span, ..alias })?;
        }
        // `count(e1)`: how many events there are.
        if self.counted(call)?.is_some() {
            return self.value(element, Which::All, Part::Presence, span);
        }
        if let FunctionArguments::List(list) = &call.args
            && let [FunctionArg::Unnamed(FunctionArgExpr::Expr(SqlExpr::Identifier(ident)))] = list.args.as_slice()
            && self.alias(ident)? == Some(element)
        {
            let error = Diagnostic::new(Code::Type, format!("{} takes a column of '{}'", call.name, ident.value));
            return Err(self
                .text
                .at(error.hint(format!("such as {}.<column>", ident.value)), ident.span));
        }
        let mut call = SqlExpr::Function(call.clone());
        let written = call.to_string().replace('"', "");
        let mut columns = Columns { names: self, element };
        if let ControlFlow::Break(error) = WalkMut::walk_mut(&mut call, &mut columns) {
            return Err(*error);
        }
        let fail = |error| self.text.at(failure::of_condition(&error), span);
        let schema = condition_schema(&self.elements[element].schema, &[]).map_err(fail)?;
        let planned = planned(call, &schema, self.functions).map_err(fail)?;
        let data_type = planned.get_type(&schema).map_err(fail)?;
        let reference = Reference::Aggregate {
            element,
            call: Box::new(planned),
        };
        Ok(self.refer(written, reference, types::canonical(&data_type), span))
    }

    /// The candidate's own column, as it is called.
    fn own_column(&self, candidate: ElementId, ident: &Ident) -> Result<Option<SqlExpr>, Diagnostic> {
        match self.column(candidate, ident) {
            Ok(exact) => Ok(Some(quoted(&exact, ident.span))),
            Err(error) if error.code == Code::Ambiguous => Err(self.text.at(error, ident.span)),
            Err(_) => Ok(None),
        }
    }

    fn column_of(&mut self, element: ElementId, ident: &Ident) -> Result<SqlExpr, Diagnostic> {
        let column = self
            .column(element, ident)
            .map_err(|error| self.text.at(error, ident.span))?;
        let which = match self.elements[element].collects {
            true => Which::All,
            false => Which::Only,
        };
        self.value(element, which, Part::Column(column), ident.span)
    }

    /// The exact name of an element's column.
    fn column(&self, element: ElementId, ident: &Ident) -> Result<String, Diagnostic> {
        let element = &self.elements[element];
        let names = element.schema.fields().iter().map(|field| field.name().as_str());
        match resolve(&ident.value, names.clone()) {
            Resolved::One(exact) => Ok(exact.to_string()),
            Resolved::Ambiguous(candidates) => {
                let message = format!("'{}' could be {}", ident.value, candidates.join(" or "));
                Err(Diagnostic::new(Code::Ambiguous, message).hint("write the name in its exact case"))
            }
            Resolved::None => {
                let message = format!("there is no column '{}' in '{}'", ident.value, element.name);
                let error = Diagnostic::new(Code::UnknownColumn, message);
                Err(match nearest(&ident.value, names.clone()) {
                    Some(near) => error.hint(format!("did you mean '{near}'?")),
                    None => error.hint(format!("there are: {}", names.collect::<Vec<_>>().join(", "))),
                })
            }
        }
    }

    /// The element of that alias, or of that stream if it is the only one.
    fn alias(&self, ident: &Ident) -> Result<Option<ElementId>, Diagnostic> {
        let names: Vec<&str> = self.elements.iter().map(|element| element.name.as_str()).collect();
        let exact = match resolve(&ident.value, names.iter().copied()) {
            Resolved::One(exact) => exact,
            Resolved::None => return Ok(None),
            Resolved::Ambiguous(candidates) if candidates.iter().any(|name| *name != candidates[0]) => {
                let message = format!("'{}' could be {}", ident.value, candidates.join(" or "));
                let error = Diagnostic::new(Code::Ambiguous, message).hint("write the name in its exact case");
                return Err(self.text.at(error, ident.span));
            }
            Resolved::Ambiguous(candidates) => candidates[0],
        };
        let mut named = (0..names.len()).filter(|element| names[*element] == exact);
        match (named.next(), named.next()) {
            (Some(_), Some(_)) => {
                let message = format!("several elements of the pattern are called '{exact}'");
                let error = Diagnostic::new(Code::Ambiguous, message).hint("give them aliases: e1=…, e2=…");
                Err(self.text.at(error, ident.span))
            }
            (element, _) => Ok(element),
        }
    }

    /// A condition sees earlier elements; nobody sees what did not come.
    fn check_order(&self, element: ElementId, alias: &Ident) -> Result<(), Diagnostic> {
        let name = &self.elements[element].name;
        let error = if self.elements[element].absent && self.candidate != Some(element) {
            Diagnostic::new(
                Code::Unstreamable,
                format!("'{name}' stands after NOT: it has no event"),
            )
        } else if self.candidate.is_some_and(|own| element > own) {
            Diagnostic::new(Code::Unstreamable, format!("'{name}' comes later in the pattern"))
                .hint("a condition sees its own event and earlier elements; move it to the later element")
        } else {
            return Ok(());
        };
        Err(self.text.at(error, alias.span))
    }

    fn unknown_alias(&self, ident: &Ident) -> Diagnostic {
        let names: Vec<&str> = self.elements.iter().map(|element| element.name.as_str()).collect();
        let message = format!("the pattern has no element '{}'", ident.value);
        let error = Diagnostic::new(Code::UnknownStream, message);
        let error = match nearest(&ident.value, names.iter().copied()) {
            Some(near) => error.hint(format!("did you mean '{near}'?")),
            None => error.hint(format!("it has: {}", names.join(", "))),
        };
        self.text.at(error, ident.span)
    }

    fn unknown_column(&self, ident: &Ident, element: Option<ElementId>) -> Diagnostic {
        if let Some(element) = element
            && let Err(error) = self.column(element, ident)
        {
            return self.text.at(error, ident.span);
        }
        let fields = self.elements.iter().flat_map(|element| element.schema.fields().iter());
        let names: Vec<&str> = fields.map(|field| field.name().as_str()).collect();
        let message = format!("there is no column '{}' in the pattern", ident.value);
        let error = Diagnostic::new(Code::UnknownColumn, message);
        let error = match nearest(&ident.value, names.iter().copied()) {
            Some(near) => error.hint(format!("did you mean '{near}'?")),
            None => error,
        };
        self.text.at(error, ident.span)
    }

    /// The column of a value.
    pub fn value(&mut self, element: ElementId, which: Which, what: Part, span: Span) -> Result<SqlExpr, Diagnostic> {
        let place = &self.elements[element];
        let which = match (which, place.collects) {
            (Which::Only, true) if what == Part::Presence => Which::At(0),
            (Which::Only, true) => Which::FromLast(0),
            (which, _) => which,
        };
        let index = match which {
            Which::Only => String::new(),
            Which::At(index) => format!("[{index}]"),
            Which::FromLast(0) => "[last]".to_string(),
            Which::FromLast(back) => format!("[last-{back}]"),
            Which::All => "[]".to_string(),
        };
        let name = match &what {
            Part::Column(column) => format!("{}{index}.{column}", place.name),
            Part::Time => format!("eventTimestamp({}{index})", place.name),
            Part::Presence if which == Which::All => format!("count({})", place.name),
            Part::Presence => format!("{}{index}.*", place.name),
        };
        let one = match &what {
            Part::Column(column) => match place.schema.field_with_name(column) {
                Ok(field) => field.data_type().clone(),
                Err(error) => {
                    return Err(self
                        .text
                        .at(Diagnostic::new(Code::UnknownColumn, error.to_string()), span));
                }
            },
            Part::Time => types::TIMESTAMP,
            Part::Presence if which == Which::All => DataType::Int64,
            Part::Presence => DataType::Boolean,
        };
        let data_type = match (which, &what) {
            (Which::All, Part::Column(_) | Part::Time) => DataType::new_list(one, true),
            _ => one,
        };
        Ok(self.refer(name, Reference::Value { element, which, what }, data_type, span))
    }

    fn refer(&mut self, name: String, reference: Reference, data_type: DataType, span: Span) -> SqlExpr {
        let known = self.references.iter().find(|known| known.reference == reference);
        let name = match known {
            Some(known) => known.name.clone(),
            None => {
                // Two different calls may print the same.
                let mut name = name;
                while self.references.iter().any(|known| known.name == name) {
                    name.push('\'');
                }
                self.references.push(Output {
                    name: name.clone(),
                    reference,
                    data_type,
                });
                name
            }
        };
        quoted(&name, span)
    }
}

/// Rewrites the arguments of an aggregate over a collection to columns of its stream.
struct Columns<'n, 'a> {
    names: &'n Names<'a>,
    element: ElementId,
}

impl VisitorMut for Columns<'_, '_> {
    type Break = Box<Diagnostic>;

    fn pre_visit_expr(&mut self, expr: &mut SqlExpr) -> Step {
        let (column, fields) = match &*expr {
            SqlExpr::Identifier(ident) => (ident.clone(), Vec::new()),
            SqlExpr::CompoundIdentifier(idents) => match idents.as_slice() {
                [first, second, fields @ ..] if matches!(self.names.alias(first), Ok(Some(_))) => {
                    (second.clone(), fields.to_vec())
                }
                [first, fields @ ..] => (first.clone(), fields.to_vec()),
                [] => return ControlFlow::Continue(()),
            },
            _ => return ControlFlow::Continue(()),
        };
        match self.names.column(self.element, &column) {
            Ok(exact) => {
                *expr = field_of(quoted(&exact, column.span), &fields);
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(Box::new(self.names.text.at(error, column.span))),
        }
    }
}

fn has_column(element: &SpecElement, ident: &Ident) -> bool {
    let names = element.schema.fields().iter().map(|field| field.name().as_str());
    !matches!(resolve(&ident.value, names), Resolved::None)
}

/// A name that no later stage changes.
pub fn quoted(name: &str, span: Span) -> SqlExpr {
    SqlExpr::Identifier(Ident {
        value: name.to_string(),
        quote_style: Some('"'),
        span,
    })
}

fn field_of(column: SqlExpr, fields: &[Ident]) -> SqlExpr {
    match fields {
        [] => column,
        fields => SqlExpr::CompoundFieldAccess {
            root: Box::new(column),
            access_chain: fields
                .iter()
                .map(|field| AccessExpr::Dot(SqlExpr::Identifier(field.clone())))
                .collect(),
        },
    }
}
