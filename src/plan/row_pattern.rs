//! MATCH_RECOGNIZE: from the syntax tree to what is looked for, with all names resolved.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{Column, DFSchema, DataFusionError, ScalarValue};
use datafusion_expr::expr::Case;
use datafusion_expr::utils::{conjunction, split_conjunction_owned};
use datafusion_expr::{Expr, ExprSchemable};
use eventflux_sqlparser::{
    AfterMatchSkip, Define, MatchRecognize, Measure, RowPattern, RowPatternKind, RowsPerMatch, Within, WithinKind,
    duration_micros,
};
use sqlparser::ast::{Expr as SqlExpr, Ident, OrderByExpr, Spanned};
use sqlparser::tokenizer::Span;

use super::partition::PARTITION_KEY;
use super::pattern::{columns_of, planned};
use super::row_pattern_aggregate::AggregateSpec;
use super::row_pattern_names::{Around, LeafColumn, MARK, Names, is_candidate, name_of};
use super::row_pattern_variables::VariableNames;
use super::text::Text;
use super::{failure, match_text};
use crate::catalog::functions::{EVENT_TIMESTAMP, Functions};
use crate::catalog::types;
use crate::error::{Code, Diagnostic};
use crate::operators::filter_project::EVENT_TIME;
use crate::row_patterns::conditions::RowLeaf;
use crate::row_patterns::leaf::{From, Leaf};
use crate::row_patterns::matcher::{Limit, Skip};
use crate::row_patterns::measures::Given;
use crate::row_patterns::pattern::{Pattern, Variable, only};
use crate::row_patterns::program::{MAX_INSTRUCTIONS, Program, TooLarge};

/// A column that is true for rows in no match.
pub const UNMATCHED: &str = "unmatched\u{200b}";

/// MATCH_RECOGNIZE with its names resolved.
#[derive(Debug)]
pub struct RowPatternSpec {
    /// PATTERN as written.
    pub text: String,
    /// What variables are called.
    pub variables: Vec<String>,
    /// The pattern.
    pub pattern: Pattern,
    /// The same, compiled.
    pub program: Arc<Program>,
    /// The columns of the input, the event time last. Leaves number them so.
    pub columns: SchemaRef,
    /// The columns that partition; first the key of a PARTITION.
    pub keys: Vec<usize>,
    /// ORDER BY.
    pub order: Vec<OrderKey>,
    /// The error to give if the first key of `order` is not the event time.
    pub not_time: Option<Diagnostic>,
    /// By variable, its condition.
    pub defines: Vec<DefineSpec>,
    /// What conditions read of rows at a fixed distance, with the names of the columns.
    pub row_leaves: Vec<(String, RowLeaf, DataType)>,
    /// What they read of the past.
    pub past_leaves: Vec<LeafColumn>,
    /// The aggregates among that.
    pub past_aggregates: Vec<AggregateSpec>,
    /// The measures: name, expression over the leaves, type.
    pub measures: Vec<(String, Expr, DataType)>,
    /// What measures read.
    pub leaves: Vec<LeafColumn>,
    /// The aggregates among that.
    pub aggregates: Vec<AggregateSpec>,
    /// The columns that go out.
    pub outputs: Vec<OutputColumn>,
    /// Which rows go out.
    pub given: Given,
    /// AFTER MATCH SKIP.
    pub skip: Skip,
    /// WITHIN.
    pub within: Option<Limit>,
}

/// A key of ORDER BY.
#[derive(Debug, Clone)]
pub struct OrderKey {
    /// The column; the event time for eventTimestamp().
    pub column: usize,
    /// How it sorts.
    pub options: SortOptions,
}

/// The condition of a variable, in two parts.
#[derive(Debug, Clone, Default)]
pub struct DefineSpec {
    /// What needs only rows at a fixed distance: over `row_leaves`.
    pub of_row: Option<Expr>,
    /// The rest: over `past_leaves`.
    pub of_past: Option<Expr>,
}

/// A column that goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputColumn {
    /// One of the input.
    Input(usize),
    /// A measure.
    Measure(usize),
}

impl RowPatternSpec {
    /// Of a clause over an input.
    pub fn new(
        clause: &MatchRecognize,
        input: &SchemaRef,
        functions: &Functions,
        text: &Text,
    ) -> Result<Self, Diagnostic> {
        let (mut variables, pattern) = VariableNames::of_pattern(&clause.pattern, text)?;
        variables.add_subsets(&clause.subsets, text)?;
        let program = Program::new(&pattern).map_err(|error| text.at(too_large(error), clause.pattern.span))?;
        let columns = with_event_time(input);
        let names = |around| Names {
            columns: &columns,
            variables: &variables,
            functions,
            text,
            around,
            leaves: Vec::new(),
            aggregates: Vec::new(),
        };
        let given = given(clause, text)?;
        let mut keys: Vec<usize> = input.index_of(PARTITION_KEY).into_iter().collect();
        let measured = names(Around::Measure);
        for key in &clause.partition_by {
            let key = measured.key(key, "PARTITION BY")?;
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        let order = measured.order(&clause.order_by)?;
        let skip = skip(&clause.after_match, &variables, text)?;
        let within = clause.within.as_ref().map(|within| limit(within, text)).transpose()?;
        let mut builder = Builder {
            names: names(Around::Measure),
            defines: vec![DefineSpec::default(); variables.len()],
            row_leaves: Vec::new(),
            defined: 0,
        };
        if clause.defines.is_empty() {
            let error = Diagnostic::new(
                Code::Syntax,
                "MATCH_RECOGNIZE needs DEFINE, which says what its variables are",
            );
            let error = error.hint("write it after PATTERN: DEFINE A AS price > 10");
            return Err(text.at(error, clause.span));
        }
        for define in &clause.defines {
            builder.define(define)?;
        }
        let mut measures = Vec::with_capacity(clause.measures.len());
        let (past_leaves, past_aggregates) = builder.take_leaves();
        let unmatched = given
            == Given::All {
                empty: true,
                unmatched: true,
            };
        for measure in &clause.measures {
            measures.push(builder.measure(measure, unmatched)?);
        }
        let (leaves, aggregates) = builder.take_leaves();
        let outputs = outputs(given, &keys, &order, measures.len(), &columns);
        let spec = RowPatternSpec {
            text: text
                .slice(clause.pattern.span)
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" "),
            variables: variables.names(),
            pattern,
            program: Arc::new(program),
            keys,
            not_time: clause.order_by.first().map(|first| not_time(first, text)),
            order,
            defines: builder.defines,
            row_leaves: builder.row_leaves,
            past_leaves,
            past_aggregates,
            measures,
            leaves,
            aggregates,
            outputs,
            given,
            skip,
            within,
            columns: columns.clone(),
        };
        spec.check_names(&clause.measures, text)?;
        Ok(spec)
    }

    /// The columns that go out.
    pub fn fields(&self) -> Vec<Field> {
        let field = |output: &OutputColumn| match output {
            OutputColumn::Input(column) => self.columns.field(*column).clone().with_nullable(true),
            OutputColumn::Measure(measure) => {
                let (name, _, data_type) = &self.measures[*measure];
                Field::new(name, data_type.clone(), true)
            }
        };
        self.outputs.iter().map(field).collect()
    }

    fn check_names(&self, measures: &[Measure], text: &Text) -> Result<(), Diagnostic> {
        let fields = self.fields();
        for (place, field) in fields.iter().enumerate() {
            if fields[..place].iter().any(|other| other.name() == field.name()) {
                let measure = measures.iter().rfind(|measure| measure.alias.value == *field.name());
                let message = format!("two columns of MATCH_RECOGNIZE are called '{}'", field.name());
                let error = Diagnostic::new(Code::Duplicate, message).hint("give the measure another name");
                return Err(match measure {
                    Some(measure) => text.at(error, measure.alias.span),
                    None => error,
                });
            }
        }
        Ok(())
    }
}

/// The columns of an input and after them the event time.
fn with_event_time(input: &SchemaRef) -> SchemaRef {
    let mut fields: Vec<Arc<Field>> = input.fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new(EVENT_TIME, types::TIMESTAMP, true)));
    Arc::new(Schema::new(fields))
}

fn too_large(error: TooLarge) -> Diagnostic {
    match error {
        TooLarge::Instructions => Diagnostic::new(
            Code::Limit,
            format!("the pattern is too large: it has more than {MAX_INSTRUCTIONS} steps when its repetitions are written out"),
        )
        .hint("use smaller numbers in {…}, or + and *"),
        TooLarge::Depth => Diagnostic::new(Code::Limit, "too many repetitions inside one another"),
    }
}

fn given(clause: &MatchRecognize, text: &Text) -> Result<Given, Diagnostic> {
    let all = |empty, unmatched| Given::All { empty, unmatched };
    let given = match clause.rows {
        RowsPerMatch::One => Given::One,
        RowsPerMatch::AllShowEmpty => all(true, false),
        RowsPerMatch::AllOmitEmpty => all(false, false),
        RowsPerMatch::AllWithUnmatched => all(true, true),
    };
    if given == all(true, true)
        && let Some(span) = exclusion(&clause.pattern)
    {
        let error = Diagnostic::new(
            Code::Unstreamable,
            "WITH UNMATCHED ROWS gives all rows, and {- -} leaves some out",
        );
        return Err(text.at(error.hint("leave one of the two out"), span));
    }
    Ok(given)
}

/// Where the first exclusion of a pattern stands.
fn exclusion(pattern: &RowPattern) -> Option<Span> {
    match &pattern.kind {
        RowPatternKind::Exclude(_) => Some(pattern.span),
        RowPatternKind::Concat(parts) | RowPatternKind::Alternation(parts) | RowPatternKind::Permute(parts) => {
            parts.iter().find_map(exclusion)
        }
        RowPatternKind::Group(inner) => exclusion(inner),
        _ => None,
    }
}

fn skip(skip: &AfterMatchSkip, variables: &VariableNames, text: &Text) -> Result<Skip, Diagnostic> {
    let (from, word, ident) = match skip {
        AfterMatchSkip::PastLastRow => return Ok(Skip::PastLastRow),
        AfterMatchSkip::ToNextRow => return Ok(Skip::ToNextRow),
        AfterMatchSkip::ToFirst(ident) => (From::First, "FIRST", ident),
        AfterMatchSkip::ToLast(ident) => (From::Last, "LAST", ident),
    };
    match variables.find(ident) {
        Some(variables) => Ok(Skip::To {
            from,
            variables,
            text: format!("AFTER MATCH SKIP TO {word} {}", ident.value),
        }),
        None => Err(text.at(variables.unknown(ident), ident.span)),
    }
}

fn limit(within: &Within, text: &Text) -> Result<Limit, Diagnostic> {
    match &within.kind {
        WithinKind::Time(expr) => match duration_micros(expr).filter(|micros| *micros >= 0) {
            Some(micros) => Ok(Limit::Time(micros)),
            None => {
                let error = Diagnostic::new(Code::Duration, "WITHIN takes a constant duration");
                Err(text.at(error.hint("such as WITHIN 5 SECONDS"), expr.span()))
            }
        },
        WithinKind::Events(0) => {
            let error = Diagnostic::new(Code::Type, "WITHIN 0 EVENTS is never");
            Err(text.at(error, within.span))
        }
        WithinKind::Events(rows) => Ok(Limit::Rows(*rows)),
    }
}

fn not_time(first: &OrderByExpr, text: &Text) -> Diagnostic {
    let message = format!(
        "a stream comes in the order of its time, and '{}' is not its event time",
        first.expr.to_string().replace('"', "")
    );
    let error = Diagnostic::new(Code::Unstreamable, message);
    let error = error.hint(
        "order by the column of WATERMARK FOR first, or leave ORDER BY out, which means event time or, without WATERMARK, arrival",
    );
    text.at(error, first.expr.span())
}

/// `SELECT *`: with all rows the keys, the order, the measures, the rest; with one row the keys and the measures.
fn outputs(
    given: Given,
    keys: &[usize],
    order: &[OrderKey],
    measures: usize,
    columns: &SchemaRef,
) -> Vec<OutputColumn> {
    let time = columns.fields().len() - 1;
    // The key of a PARTITION goes along behind everything.
    let block = columns.index_of(PARTITION_KEY).ok();
    let mut outputs: Vec<OutputColumn> = Vec::new();
    let mut add = |column: OutputColumn| {
        if !outputs.contains(&column) {
            outputs.push(column);
        }
    };
    let all = matches!(given, Given::All { .. });
    let inputs = keys.iter().filter(|key| Some(**key) != block);
    inputs.for_each(|key| add(OutputColumn::Input(*key)));
    if all {
        let order = order.iter().map(|key| key.column).filter(|column| *column != time);
        order.for_each(|column| add(OutputColumn::Input(column)));
    }
    (0..measures).for_each(|measure| add(OutputColumn::Measure(measure)));
    if all {
        let rest = (0..time).filter(|column| Some(*column) != block);
        rest.for_each(|column| add(OutputColumn::Input(column)));
    }
    block.into_iter().for_each(|block| add(OutputColumn::Input(block)));
    outputs
}

impl Names<'_> {
    /// A column of PARTITION BY or ORDER BY.
    fn key(&self, expr: &SqlExpr, clause: &str) -> Result<usize, Diagnostic> {
        match expr {
            SqlExpr::Identifier(ident) => self.column(ident),
            SqlExpr::CompoundIdentifier(idents) if idents.len() == 2 && self.variables.find(&idents[0]).is_none() => {
                self.column(&idents[1])
            }
            _ => {
                let error = Diagnostic::new(Code::Unsupported, format!("{clause} of MATCH_RECOGNIZE takes columns"));
                let error = error.hint("compute it before: FROM (SELECT *, … AS k FROM S) MATCH_RECOGNIZE (…)");
                Err(self.text.at(error, expr.span()))
            }
        }
    }

    fn order(&self, keys: &[OrderByExpr]) -> Result<Vec<OrderKey>, Diagnostic> {
        let mut order = Vec::with_capacity(keys.len());
        for (place, key) in keys.iter().enumerate() {
            let is_time =
                matches!(&key.expr, SqlExpr::Function(call) if name_of(call).eq_ignore_ascii_case(EVENT_TIMESTAMP));
            let column = match is_time {
                true => self.columns.fields().len() - 1,
                false => self.key(&key.expr, "ORDER BY")?,
            };
            let descending = key.options.asc == Some(false);
            if place == 0 && descending {
                let error = Diagnostic::new(Code::Unstreamable, "a stream cannot be gone through backwards");
                let error = error.hint("leave DESC out; the first key is the event time, ascending");
                return Err(self.text.at(error, key.span()));
            }
            let data_type = self.columns.field(column).data_type();
            if data_type.is_nested() {
                let message = format!("{} has no order", types::name(data_type));
                return Err(self.text.at(Diagnostic::new(Code::Type, message), key.span()));
            }
            order.push(OrderKey {
                column,
                options: SortOptions {
                    descending,
                    // As in PostgreSQL NULL is greater than everything.
                    nulls_first: key.options.nulls_first.unwrap_or(descending),
                },
            });
        }
        Ok(order)
    }
}

struct Builder<'a> {
    names: Names<'a>,
    defines: Vec<DefineSpec>,
    row_leaves: Vec<(String, RowLeaf, DataType)>,
    /// The variables that have a condition.
    defined: u64,
}

impl Builder<'_> {
    fn take_leaves(&mut self) -> (Vec<LeafColumn>, Vec<AggregateSpec>) {
        let leaves = std::mem::take(&mut self.names.leaves);
        (leaves, std::mem::take(&mut self.names.aggregates))
    }

    /// Rewrites, plans and types an expression.
    fn planned(&mut self, expr: &SqlExpr, around: Around) -> Result<(Expr, DFSchema, DataType), Diagnostic> {
        let span = expr.span();
        let text = self.names.text;
        let mut expr = expr.clone();
        match_text::rewrite_expr(&mut expr, text)?;
        self.names.around = around;
        self.names.rewrite(&mut expr)?;
        let fail = |error: DataFusionError| text.at(failure::of_condition(&error), span);
        let schema = leaf_schema(&self.names.leaves).map_err(fail)?;
        let expr = planned(expr, &schema, self.names.functions).map_err(fail)?;
        let data_type = expr.get_type(&schema).map_err(fail)?;
        Ok((expr, schema, data_type))
    }

    fn define(&mut self, define: &Define) -> Result<(), Diagnostic> {
        let (variables, text) = (self.names.variables, self.names.text);
        let ident = &define.variable;
        let variable = variables.primary(ident, text)?;
        if self.defined & only(variable) != 0 {
            let message = format!("variable '{}' is defined twice", ident.value);
            return Err(text.at(Diagnostic::new(Code::Duplicate, message), ident.span));
        }
        self.defined |= only(variable);
        let span = define.condition.span();
        let (expr, schema, data_type) = self.planned(&define.condition, Around::Define(variable))?;
        let expr = match data_type {
            DataType::Boolean => expr,
            DataType::Null => expr
                .cast_to(&DataType::Boolean, &schema)
                .map_err(|error| text.at(failure::of_condition(&error), span))?,
            other => {
                let message = format!("a condition is true or false, not {}", types::name(&other));
                let error = Diagnostic::new(Code::Type, message).hint("compare it with something");
                return Err(text.at(error, span));
            }
        };
        let (of_row, of_past): (Vec<Expr>, Vec<Expr>) = split_conjunction_owned(expr)
            .into_iter()
            .partition(|part| self.is_of_row(part, variable));
        let of_row = of_row.into_iter().map(|part| self.row_columns(part));
        let of_row = of_row.collect::<Result<Vec<Expr>, _>>();
        self.defines[variable as usize] = DefineSpec {
            of_row: conjunction(of_row.map_err(|error| text.at(failure::of_condition(&error), span))?),
            of_past: conjunction(of_past),
        };
        Ok(())
    }

    fn row_leaf(&self, name: &str, variable: Variable) -> Option<RowLeaf> {
        let column = self.names.leaves.iter().find(|column| column.name == name)?;
        let (target, column) = match &column.leaf {
            Leaf::Column { target, column } => (target, Some(*column)),
            Leaf::Exists(target) => (target, None),
            _ => return None,
        };
        let shift = target.shift;
        is_candidate(target, variable).then_some(RowLeaf { shift, column })
    }

    /// Whether a condition of a variable needs only rows at a fixed distance from the candidate.
    fn is_of_row(&self, expr: &Expr, variable: Variable) -> bool {
        let names = columns_of(expr);
        names.iter().all(|name| self.row_leaf(name, variable).is_some())
    }

    /// The same over the columns of `row_leaves`. That it is of such is known.
    fn row_columns(&mut self, expr: Expr) -> Result<Expr, DataFusionError> {
        let expr = expr.transform_up(|node| {
            let Expr::Column(column) = &node else {
                return Ok(Transformed::no(node));
            };
            let Some(known) = self.names.leaves.iter().find(|known| known.name == column.name) else {
                return Ok(Transformed::no(node));
            };
            let (shift, index) = match &known.leaf {
                Leaf::Column { target, column } => (target.shift, Some(*column)),
                Leaf::Exists(target) => (target.shift, None),
                _ => return Ok(Transformed::no(node)),
            };
            let leaf = RowLeaf { shift, column: index };
            let name = match self.row_leaves.iter().find(|(_, other, _)| *other == leaf) {
                Some((name, ..)) => name.clone(),
                None => {
                    let name = row_leaf_name(leaf, self.names.columns);
                    self.row_leaves.push((name.clone(), leaf, known.data_type.clone()));
                    name
                }
            };
            Ok(Transformed::yes(Expr::Column(Column::new_unqualified(name))))
        });
        Ok(expr?.data)
    }

    fn measure(&mut self, measure: &Measure, unmatched: bool) -> Result<(String, Expr, DataType), Diagnostic> {
        let (mut expr, schema, data_type) = self.planned(&measure.expr, Around::Measure)?;
        let to = types::canonical(&data_type);
        if to != data_type {
            let cast = expr.cast_to(&to, &schema);
            expr = cast.map_err(|error| self.names.text.at(failure::of_condition(&error), measure.expr.span()))?;
        }
        if unmatched {
            // A row that is in no match has no measures, not even counts.
            let unmatched = Expr::Column(Column::new_unqualified(UNMATCHED));
            let null = ScalarValue::try_from(&to).unwrap_or(ScalarValue::Null);
            let null = Box::new(Expr::Literal(null, None));
            expr = Expr::Case(Case::new(None, vec![(Box::new(unmatched), null)], Some(Box::new(expr))));
        }
        let Ident { value: name, .. } = &measure.alias;
        Ok((name.clone(), expr, to))
    }
}

fn row_leaf_name(leaf: RowLeaf, columns: &SchemaRef) -> String {
    let name = leaf.column.map_or("*", |column| columns.field(column).name());
    match leaf.shift {
        0 => format!("{name}{MARK}"),
        shift if shift < 0 => format!("PREV({name}, {}){MARK}", shift.unsigned_abs()),
        shift => format!("NEXT({name}, {shift}){MARK}"),
    }
}

/// The columns of leaves.
pub fn leaf_schema(leaves: &[LeafColumn]) -> Result<DFSchema, DataFusionError> {
    let fields = leaves.iter().map(|leaf| {
        let field = Field::new(&leaf.name, leaf.data_type.clone(), true);
        (None, Arc::new(field))
    });
    DFSchema::new_with_metadata(fields.collect(), HashMap::new())
}
