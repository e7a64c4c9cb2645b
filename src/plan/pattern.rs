//! `PATTERN (…)` and `SEQUENCE (…)`: from the syntax tree to what is looked for, with all names resolved.
//!
//! What the query reads of a match becomes the columns of one wide relation, the pattern's: `e1.price`, `e1[0].price`,
//! `avg(e1.price)` are rewritten to columns called so ([`super::pattern_names`]), and only what is read becomes a column.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, SchemaRef};
use datafusion_common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion_common::{Column, DFSchema, DataFusionError};
use datafusion_expr::simplify::SimplifyContext;
use datafusion_expr::utils::{conjunction, split_conjunction_owned};
use datafusion_expr::{Expr, ExprSchemable};
use datafusion_optimizer::simplify_expressions::ExprSimplifier;
use datafusion_sql::planner::{PlannerContext, SqlToRel};
use eventflux_sqlparser::walk::WalkMut;
use eventflux_sqlparser::{
    Pattern, PatternElement, PatternKind, PatternNode, PatternNodeKind, Query, RelationSource, Within, WithinKind,
    duration_micros,
};
use sqlparser::ast::{Expr as SqlExpr, Ident, Spanned};
use sqlparser::tokenizer::Span;

use super::context::Context;
use super::failure;
use super::logical::parser_options;
use super::pattern_check::Check;
use super::pattern_names::{Names, Reference};
use super::pattern_options;
use super::pattern_select;
use super::resolve::{Known, table};
use super::text::Text;
use super::{match_text, partition};
use crate::catalog::functions::Functions;
use crate::catalog::names::{Resolved, resolve};
use crate::catalog::types;
use crate::config::nearest::nearest;
use crate::error::{Code, Diagnostic};
use crate::event::Micros;
use crate::operators::filter_project::EVENT_TIME;
use crate::patterns::bounds::Bound;
use crate::patterns::shape::{ElementId, Limit, MAX_ELEMENTS, Mode, Shape};

/// A pattern with its names resolved.
#[derive(Debug)]
pub struct PatternSpec {
    /// PATTERN or SEQUENCE.
    pub mode: Mode,
    /// WITHIN of the whole.
    pub limit: Option<Limit>,
    /// Its parts.
    pub shape: Shape,
    /// Its streams, each once, by exact names.
    pub streams: Vec<String>,
    /// Its elements, in the order of the text.
    pub elements: Vec<SpecElement>,
    /// What the query reads of matches.
    pub outputs: Vec<Output>,
    /// The columns of PARTITION BY; every stream has them.
    pub partition_by: Vec<String>,
    /// How many attempts may be open.
    pub bound: Bound,
    /// Warnings: what is kept without end.
    pub grows: Vec<Diagnostic>,
    /// As written.
    pub text: String,
}

/// An element.
#[derive(Debug, Clone)]
pub struct SpecElement {
    /// Its alias, else its stream's name.
    pub name: String,
    /// Which of the streams.
    pub port: usize,
    /// The columns of its stream.
    pub schema: SchemaRef,
    /// Where it is written.
    pub span: Span,
    /// Whether it may have several events.
    pub collects: bool,
    /// Whether it has none: `NOT`.
    pub absent: bool,
    /// What needs only the event, over the stream's columns.
    pub filter: Option<Expr>,
    /// What needs earlier events, too: over the stream's columns and those of `reads`.
    pub join: Option<Expr>,
    /// The earlier values that `join` reads.
    pub reads: Vec<Output>,
}

/// A value of a match, or of what there is of it.
#[derive(Debug, Clone)]
pub struct Output {
    /// What its column is called.
    pub name: String,
    /// What it is.
    pub reference: Reference,
    /// Its type.
    pub data_type: DataType,
}

impl Output {
    /// Its column.
    pub fn field(&self) -> Field {
        Field::new(&self.name, self.data_type.clone(), true)
    }
}

/// Resolves the patterns of a query and rewrites what it reads of them. One entry a relation.
pub fn resolve_patterns(
    query: &mut Query,
    known: &Known,
    functions: &Functions,
    bound: Bound,
    text: &Text,
) -> Result<Vec<Option<Arc<PatternSpec>>>, Diagnostic> {
    let mut specs = Vec::with_capacity(query.relations.len());
    for index in 0..query.relations.len() {
        let RelationSource::Pattern(pattern) = &mut query.relations[index].source else {
            specs.push(None);
            continue;
        };
        let builder = Builder {
            known,
            functions,
            text,
            elements: Vec::new(),
            written: Vec::new(),
            streams: Vec::new(),
            bound,
            check: Check::default(),
        };
        let mut spec = builder.build(pattern)?;
        let placeholder = eventflux_sqlparser::relation_name(index);
        spec.outputs = pattern_select::rewrite(&mut query.body, &placeholder, &spec, functions, text)?;
        specs.push(Some(Arc::new(spec)));
    }
    Ok(specs)
}

struct Builder<'a> {
    known: &'a Known,
    functions: &'a Functions,
    text: &'a Text<'a>,
    elements: Vec<SpecElement>,
    /// The conditions, with the places of their elements.
    written: Vec<(Option<SqlExpr>, Span)>,
    streams: Vec<String>,
    /// How many attempts may be open unless the pattern says.
    bound: Bound,
    check: Check,
}

impl Builder<'_> {
    fn build(mut self, pattern: &mut Pattern) -> Result<PatternSpec, Diagnostic> {
        let text = self
            .text
            .slice(pattern.span)
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        let mut shape = self.shape(&mut pattern.root, false)?;
        let mut limit = pattern.within.as_ref().map(|within| self.limit(within)).transpose()?;
        self.check.whole(&shape, pattern.root.span, self.text)?;
        // WITHIN of a group that is the whole is the whole's.
        if limit.is_none() {
            (shape, limit) = whole_limit(shape);
        }
        for index in 0..self.elements.len() {
            self.condition(index)?;
        }
        let partition_by = self.partition_by(&pattern.partition_by)?;
        let mode = match pattern.kind {
            PatternKind::Pattern => Mode::Skipping,
            PatternKind::Sequence => Mode::Strict,
        };
        let grows = match (mode, limit) {
            (Mode::Skipping, None) => self.check.growth(&shape, &self.elements, self.text),
            _ => Vec::new(),
        };
        Ok(PatternSpec {
            mode,
            grows,
            bound: pattern_options::bound(&pattern.options, self.bound, self.text)?,
            limit,
            shape,
            streams: self.streams,
            elements: self.elements,
            outputs: Vec::new(),
            partition_by,
            text,
        })
    }

    fn shape(&mut self, node: &mut PatternNode, repeated: bool) -> Result<Shape, Diagnostic> {
        let (min, max) = self.quantifier(node)?;
        let first = self.elements.len();
        let mut shape = match &mut node.kind {
            PatternNodeKind::Element(element) => {
                let collects = repeated || (min, max) != (1, Some(1));
                let element = self.element(element, collects, false)?;
                Shape::Events { element, min, max }
            }
            PatternNodeKind::Absent { element, duration } => {
                let wait = duration.as_ref().map(|duration| self.wait(duration)).transpose()?;
                let element = self.element(element, false, true)?;
                Shape::Absent { element, wait }
            }
            PatternNodeKind::Chain(parts) => {
                let shapes = self.shapes(parts, repeated)?;
                self.check.chain(parts, &shapes, self.text)?;
                Shape::Chain(shapes)
            }
            PatternNodeKind::And(parts) => {
                let shapes = self.shapes(parts, repeated)?;
                self.check.operands(&shapes, node.span, self.text)?;
                Shape::And(shapes)
            }
            PatternNodeKind::Or(parts) => {
                let shapes = self.shapes(parts, repeated)?;
                self.check.alternatives(parts, &shapes, self.text)?;
                Shape::Or(shapes)
            }
            PatternNodeKind::Group(body) => {
                let span = body.span;
                let repeats = (min, max) != (1, Some(1));
                match (self.shape(body, repeated || repeats)?, repeats) {
                    (body, false) => body,
                    (
                        Shape::Events {
                            element,
                            min: 1,
                            max: Some(1),
                        },
                        true,
                    ) => Shape::Events { element, min, max },
                    (body, true) => {
                        self.check.repeated(&body, span, self.text)?;
                        let body = Box::new(body);
                        Shape::Repeat { body, min, max }
                    }
                }
            }
        };
        if let Some(within) = &node.within {
            self.check.group(&shape, node.span, self.text)?;
            shape = Shape::Within {
                body: Box::new(shape),
                limit: self.limit(within)?,
            };
        }
        if node.every {
            self.check.every(&shape, first, node.span, self.text)?;
            // What begins with EVERY begins again by itself.
            if !shape.leads_with_every() {
                shape = Shape::Every(Box::new(shape));
            }
        }
        Ok(shape)
    }

    fn shapes(&mut self, nodes: &mut [PatternNode], repeated: bool) -> Result<Vec<Shape>, Diagnostic> {
        nodes.iter_mut().map(|node| self.shape(node, repeated)).collect()
    }

    fn quantifier(&self, node: &PatternNode) -> Result<(u32, Option<u32>), Diagnostic> {
        let Some(quantifier) = node.quantifier else {
            return Ok((1, Some(1)));
        };
        let count = |count: u64| {
            u32::try_from(count).map_err(|_| {
                let error = Diagnostic::new(Code::Limit, format!("{count} occurrences are too many"));
                self.text.at(error, quantifier.span)
            })
        };
        Ok((count(quantifier.min)?, quantifier.max.map(count).transpose()?))
    }

    fn element(&mut self, element: &mut PatternElement, collects: bool, absent: bool) -> Result<ElementId, Diagnostic> {
        if element.fault || element.inner {
            let what = match element.fault {
                true => "not supported yet: the fault stream of a '#' stream",
                false => "'#' streams live in a PARTITION",
            };
            return Err(self.text.at(Diagnostic::new(Code::Unsupported, what), element.span));
        }
        let id = self.elements.len();
        if id == MAX_ELEMENTS {
            let error = Diagnostic::new(Code::Limit, format!("a pattern has at most {MAX_ELEMENTS} elements"));
            return Err(self.text.at(error, element.span));
        }
        element.stream = table(&element.stream, self.known, self.text)?;
        let stream = element.stream.value.clone();
        if let Some(alias) = &element.alias
            && self.elements.iter().any(|known| known.name == alias.value)
        {
            let error = Diagnostic::new(
                Code::Duplicate,
                format!("two elements of the pattern are called '{}'", alias.value),
            )
            .hint("give each an alias of its own");
            return Err(self.text.at(error, alias.span));
        }
        let port = self
            .streams
            .iter()
            .position(|known| *known == stream)
            .unwrap_or_else(|| {
                self.streams.push(stream.clone());
                self.streams.len() - 1
            });
        let schema = self.known.get(&stream).cloned();
        self.elements.push(SpecElement {
            name: element.alias.as_ref().map_or(stream, |alias| alias.value.clone()),
            port,
            schema: schema.unwrap_or_else(|| Arc::new(arrow::datatypes::Schema::empty())),
            span: element.span,
            collects,
            absent,
            filter: None,
            join: None,
            reads: Vec::new(),
        });
        self.written.push((element.condition.clone(), element.span));
        Ok(id)
    }

    /// Plans an element's condition and splits it.
    fn condition(&mut self, index: usize) -> Result<(), Diagnostic> {
        let (Some(mut written), _) = self.written[index].clone() else {
            return Ok(());
        };
        let span = written.span();
        match_text::rewrite_expr(&mut written, self.text)?;
        let mut names = Names::of_condition(&self.elements, index, self.functions, self.text);
        if let ControlFlow::Break(error) = WalkMut::walk_mut(&mut written, &mut names) {
            return Err(*error);
        }
        let reads = names.references;
        let schema = condition_schema(&self.elements[index].schema, &reads);
        let schema = schema.map_err(|error| self.failed(&error, span))?;
        let expr = planned(written, &schema, self.functions).map_err(|error| self.failed(&error, span))?;
        let data_type = expr.get_type(&schema).map_err(|error| self.failed(&error, span))?;
        if data_type != DataType::Boolean {
            let message = format!("a condition is true or false, not {}", types::name(&data_type));
            let error = Diagnostic::new(Code::Type, message).hint("compare it with something");
            return Err(self.text.at(error, span));
        }
        let is_own = |expr: &Expr| {
            !columns_of(expr)
                .iter()
                .any(|name| reads.iter().any(|read| read.name == *name))
        };
        let (own, joined): (Vec<Expr>, Vec<Expr>) = split_conjunction_owned(expr).into_iter().partition(is_own);
        let element = &mut self.elements[index];
        element.filter = conjunction(own);
        element.join = conjunction(joined);
        element.reads = reads;
        Ok(())
    }

    fn failed(&self, error: &DataFusionError, span: Span) -> Diagnostic {
        self.text.at(failure::of_condition(error), span)
    }

    fn limit(&self, within: &Within) -> Result<Limit, Diagnostic> {
        Ok(match &within.kind {
            WithinKind::Time(time) => Limit::Time(self.duration(time)?),
            WithinKind::Events(0) => {
                let error = Diagnostic::new(Code::Type, "WITHIN 0 EVENTS is never");
                return Err(self.text.at(error, within.span));
            }
            WithinKind::Events(events) => Limit::Events(*events),
        })
    }

    /// How long what must not come must not come.
    fn wait(&self, expr: &SqlExpr) -> Result<Micros, Diagnostic> {
        match self.duration(expr)? {
            0 => {
                let error = Diagnostic::new(Code::Duration, "NOT … FOR takes a time above zero");
                Err(self.text.at(error.hint("such as 5 SECONDS"), expr.span()))
            }
            wait => Ok(wait),
        }
    }

    fn duration(&self, expr: &SqlExpr) -> Result<Micros, Diagnostic> {
        duration_micros(expr).filter(|micros| *micros >= 0).ok_or_else(|| {
            let error = Diagnostic::new(Code::Duration, "a pattern's time is a constant duration");
            self.text.at(error.hint("such as 5 SECONDS"), expr.span())
        })
    }

    fn partition_by(&self, written: &[SqlExpr]) -> Result<Vec<String>, Diagnostic> {
        written.iter().map(|expr| self.partition_column(expr)).collect()
    }

    fn partition_column(&self, expr: &SqlExpr) -> Result<String, Diagnostic> {
        let ident: Option<&Ident> = match expr {
            SqlExpr::Identifier(ident) => Some(ident),
            SqlExpr::CompoundIdentifier(idents) => idents.last(),
            _ => None,
        };
        let Some(ident) = ident else {
            let error = Diagnostic::new(Code::Unsupported, "PARTITION BY of a pattern takes columns");
            return Err(self.text.at(error, expr.span()));
        };
        let mut found: Option<(String, DataType)> = None;
        for element in &self.elements {
            let names = element.schema.fields().iter().map(|field| field.name().as_str());
            let stream = &self.streams[element.port];
            let Resolved::One(exact) = resolve(&ident.value, names.clone()) else {
                let message = format!("there is no column '{}' in '{stream}'", ident.value);
                let error = Diagnostic::new(Code::UnknownColumn, message);
                let error = match nearest(&ident.value, names) {
                    Some(near) => error.hint(format!("did you mean '{near}'?")),
                    None => error.hint("every stream of the pattern needs the columns of PARTITION BY"),
                };
                return Err(self.text.at(error, ident.span));
            };
            let data_type = element
                .schema
                .field_with_name(exact)
                .map(|field| field.data_type().clone());
            let data_type = data_type.unwrap_or(DataType::Null);
            match &found {
                Some((name, known)) if *known != data_type || name != exact => {
                    let message = format!("the streams of the pattern differ in '{}'", ident.value);
                    let error = Diagnostic::new(Code::Type, message).hint("it must have one name and one type in all");
                    return Err(self.text.at(error, ident.span));
                }
                Some(_) => {}
                None => found = Some((exact.to_string(), data_type)),
            }
        }
        Ok(found.map(|(name, _)| name).unwrap_or_default())
    }
}

fn whole_limit(shape: Shape) -> (Shape, Option<Limit>) {
    match shape {
        Shape::Within { body, limit } => (*body, Some(limit)),
        Shape::Every(body) => match *body {
            Shape::Within { body, limit } => (Shape::Every(body), Some(limit)),
            body => (Shape::Every(Box::new(body)), None),
        },
        shape => (shape, None),
    }
}

/// The columns that a condition sees: the event's, its time, and earlier values.
pub fn condition_schema(stream: &SchemaRef, reads: &[Output]) -> Result<DFSchema, DataFusionError> {
    let own = stream
        .fields()
        .iter()
        .filter(|field| field.name() != partition::PARTITION_KEY);
    let mut fields: Vec<_> = own.map(|field| (None, field.clone())).collect();
    fields.push((None, Arc::new(Field::new(EVENT_TIME, types::TIMESTAMP, false))));
    fields.extend(reads.iter().map(|read| (None, Arc::new(read.field()))));
    DFSchema::new_with_metadata(fields, HashMap::new())
}

/// Plans an expression over columns.
pub fn planned(expr: SqlExpr, schema: &DFSchema, functions: &Functions) -> Result<Expr, DataFusionError> {
    let sources = HashMap::new();
    let context = Context::new(&sources, functions, &[], &[], &[]);
    let planner = SqlToRel::new_with_options(&context, parser_options());
    let expr = planner.sql_to_expr(expr, schema, &mut PlannerContext::new())?;
    let context = SimplifyContext::builder().with_schema(Arc::new(schema.clone()));
    let simplifier = ExprSimplifier::new(context.build());
    // Some functions are there only to be simplified to others. An aggregate stays what it is.
    match simplifier.coerce(expr, schema)? {
        aggregate @ Expr::AggregateFunction(_) => {
            let simplified = aggregate.map_children(|part| Ok(Transformed::yes(simplifier.simplify(part)?)))?;
            Ok(simplified.data)
        }
        expr => simplifier.simplify(expr),
    }
}

/// The names of the columns in an expression.
pub fn columns_of(expr: &Expr) -> Vec<String> {
    let mut names = Vec::new();
    let _ = expr.apply(|node| {
        if let Expr::Column(Column { name, .. }) = node {
            names.push(name.clone());
        }
        Ok(TreeNodeRecursion::Continue)
    });
    names
}
