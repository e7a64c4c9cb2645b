//! `CREATE FUNCTION f(x INT) RETURNS INT LANGUAGE SQL AS 'x + 1'`.
//!
//! A body is planned once, where it is declared, as a query over a stream whose columns are the parameters: so it obeys the
//! rules of every expression, and what is wrong with it is told at its place in the literal. The function is then one of the
//! catalog like any other. A call is put into the plan as the body with the arguments in place of the parameters, where that
//! means the same and does not blow the plan up; else it is computed as it stands.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use arrow::compute::can_cast_types;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion_common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion_common::{DFSchemaRef, DataFusionError, plan_err};
use datafusion_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion_expr::{
    ColumnarValue, Expr, ExprSchemable, LogicalPlan, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};
use datafusion_optimizer::simplify_expressions::ExprSimplifier;
use datafusion_physical_expr::PhysicalExpr;
use eventflux_sqlparser::walk::Walk;
use eventflux_sqlparser::{CreateFunction, Query, Statement, StatementKind};
use sqlparser::ast::{Expr as SqlExpr, Spanned, Visitor};

use super::context::Source;
use super::logical::{Planner, name_fields};
use super::physical::physical_expr;
use super::resolve::{WINDOW_FUNCTIONS, resolve_query};
use super::text::Text;
use super::{failure, match_text, refuse};
use crate::catalog::functions::{EVENT_TIMESTAMP, Functions};
use crate::catalog::types;
use crate::error::{Code, Diagnostic, SourceText};

/// The stream whose columns are the parameters.
const PARAMETERS: &str = "parameters";

/// What stands before a body in the query that it is planned as, and after it.
const QUERY: (&str, &str) = ("SELECT (\n", "\n) AS result FROM parameters");

/// How many nodes the expression that is put in place of a call may have. Above it, calls within calls would double the plan
/// again and again; below it, the optimiser sees through every function that a person writes.
const INLINED_NODES: usize = 2_000;

/// Adds the functions that an app declares, in order: each may call those before it.
pub fn declare(statements: &[Statement], functions: &mut Functions, text: &Text) -> Result<(), Diagnostic> {
    let creates = statements.iter().filter_map(|statement| match &statement.kind {
        StatementKind::CreateFunction(create) => Some(create),
        _ => None,
    });
    let all: BTreeSet<String> = creates.clone().map(|create| create.name.value.to_lowercase()).collect();
    let mut declared = BTreeSet::new();
    for create in creates {
        let name = create.name.value.to_lowercase();
        check_name(create, &name, &declared, functions).map_err(|error| text.at(error, create.name.span))?;
        let declaration = Declaration {
            create,
            functions,
            all: &all,
            text,
        };
        let function = declaration.function()?;
        functions.add_scalar(Arc::new(ScalarUDF::new_from_impl(function)));
        declared.insert(name);
    }
    Ok(())
}

fn check_name(
    create: &CreateFunction,
    name: &str,
    declared: &BTreeSet<String>,
    functions: &Functions,
) -> Result<(), Diagnostic> {
    let shown = &create.name.value;
    if declared.contains(name) {
        return match create.or_replace {
            true => Ok(()),
            false => Err(Diagnostic::new(
                Code::Duplicate,
                format!("the function '{shown}' is declared twice"),
            )),
        };
    }
    let known = functions.scalar(name).is_some()
        || functions.aggregate(name).is_some()
        || functions.higher_order(name).is_some()
        || WINDOW_FUNCTIONS.contains(&name);
    match known {
        true => Err(
            Diagnostic::new(Code::Duplicate, format!("there is a function '{shown}' already"))
                .hint("give yours another name: what an app calls must not depend on what stands before it"),
        ),
        false => Ok(()),
    }
}

/// A function on its way into the catalog.
struct Declaration<'a> {
    create: &'a CreateFunction,
    functions: &'a Functions,
    /// The names of all functions of the app, in lower case.
    all: &'a BTreeSet<String>,
    text: &'a Text<'a>,
}

impl Declaration<'_> {
    fn function(&self) -> Result<SqlFunction, Diagnostic> {
        let create = self.create;
        if !create.language.value.eq_ignore_ascii_case("SQL") {
            let error = Diagnostic::new(
                Code::Unsupported,
                format!("not supported yet: LANGUAGE {}", create.language.value),
            );
            return Err(self.text.at(error.hint("write LANGUAGE SQL"), create.language.span));
        }
        let parameters = self.parameters()?;
        let returns = types::field("result", &create.returns, true).map_err(|reason| {
            self.text
                .at(Diagnostic::new(Code::UnknownType, reason), create.returns_span)
        })?;
        let (body, schema) = self.body(&parameters)?;
        let body = self.converted(body, &schema, returns.data_type())?;
        let physical = physical_expr(&body, &schema).map_err(|error| self.text.at(error, create.body_span))?;
        Ok(SqlFunction::new(
            &create.name.value,
            parameters,
            returns,
            body,
            physical,
        ))
    }

    fn parameters(&self) -> Result<SchemaRef, Diagnostic> {
        let mut fields: Vec<Field> = Vec::with_capacity(self.create.params.len());
        for param in &self.create.params {
            let name = &param.name.value;
            if fields.iter().any(|field| field.name() == name) {
                let error = Diagnostic::new(Code::Duplicate, format!("the parameter '{name}' is declared twice"));
                return Err(self.text.at(error, param.name.span));
            }
            let field = types::field(name, &param.data_type, true);
            let field = field.map_err(|reason| Diagnostic::new(Code::UnknownType, reason));
            fields.push(field.map_err(|error| self.text.at(error, param.type_span))?);
        }
        Ok(Arc::new(Schema::new(fields)))
    }

    /// The body, planned, and the columns it is over.
    fn body(&self, parameters: &SchemaRef) -> Result<(Expr, DFSchemaRef), Diagnostic> {
        // Alone first: what it is in the query below must be one expression.
        eventflux_sqlparser::parse_expr(&self.create.body).map_err(|error| {
            let alone = SourceText::new("body", self.create.body.as_str());
            self.in_app(Text::new(&alone).parse_error(error), 0)
        })?;
        let source = SourceText::new("body", format!("{}{}{}", QUERY.0, self.create.body, QUERY.1));
        let text = Text::new(&source);
        let in_app = |error: Diagnostic| self.in_app(error, QUERY.0.len());
        let statements = eventflux_sqlparser::parse(&source.text).map_err(|error| in_app(text.parse_error(error)))?;
        let [
            Statement {
                kind: StatementKind::Query(query),
                ..
            },
        ] = statements.as_slice()
        else {
            return Err(in_app(
                text.finish(Diagnostic::new(Code::Syntax, "a body is an expression")),
            ));
        };
        self.check_calls(query, &text).map_err(in_app)?;
        refuse::query(query, false, &|_| false, &text).map_err(in_app)?;
        self.planned(query.clone(), parameters, &text).map_err(in_app)
    }

    fn planned(
        &self,
        mut query: Query,
        parameters: &SchemaRef,
        text: &Text,
    ) -> Result<(Expr, DFSchemaRef), Diagnostic> {
        let known = BTreeMap::from([(PARAMETERS.to_string(), parameters.clone())]);
        resolve_query(&mut query.body, &mut query.relations, &known, self.functions, text)?;
        name_fields(&mut query);
        match_text::rewrite(&mut query, text)?;
        let source = Arc::new(Source::stream(PARAMETERS, parameters.clone()));
        let sources = HashMap::from([(PARAMETERS.to_string(), source)]);
        let planner = Planner::new(&sources, self.functions);
        let plan = planner.plan(&query.body, &query.relations);
        let plan = plan
            .and_then(|plan| planner.analyze(plan))
            .map_err(|error| failure::diagnose(&error, &query, &planner, text))?;
        match plan {
            LogicalPlan::Projection(projection) if projection.expr.len() == 1 => {
                let schema = projection.input.schema().clone();
                let context = SimplifyContext::builder().with_schema(schema.clone()).build();
                let body = projection.expr[0].clone().unalias();
                let body = ExprSimplifier::new(context)
                    .simplify(body)
                    .map_err(|error| failure::diagnose(&error, &query, &planner, text))?;
                Ok((body, schema))
            }
            _ => Err(text.finish(Diagnostic::new(Code::Syntax, "a body is an expression"))),
        }
    }

    /// Refuses calls of what cannot stand in a body.
    fn check_calls(&self, query: &Query, text: &Text) -> Result<(), Diagnostic> {
        struct Calls<'a, 'b>(&'a Declaration<'b>, &'a Text<'a>);
        impl Visitor for Calls<'_, '_> {
            type Break = Box<Diagnostic>;

            fn pre_visit_expr(&mut self, expr: &SqlExpr) -> ControlFlow<Self::Break> {
                let SqlExpr::Function(function) = expr else {
                    return ControlFlow::Continue(());
                };
                match self.0.wrong_call(&function.name.to_string()) {
                    Some(error) => ControlFlow::Break(Box::new(self.1.at(error, function.name.span()))),
                    None => ControlFlow::Continue(()),
                }
            }
        }
        match query.body.walk(&mut Calls(self, text)) {
            ControlFlow::Break(error) => Err(*error),
            ControlFlow::Continue(()) => Ok(()),
        }
    }

    fn wrong_call(&self, called: &str) -> Option<Diagnostic> {
        let name = &self.create.name.value;
        if called.eq_ignore_ascii_case(name) && self.functions.scalar(called).is_none() {
            return Some(
                Diagnostic::new(Code::Cycle, format!("the function '{name}' calls itself"))
                    .hint("a call stands for the body, so it would never end"),
            );
        }
        if self.functions.scalar(called).is_none() && self.all.contains(&called.to_lowercase()) {
            return Some(
                Diagnostic::new(
                    Code::UnknownFunction,
                    format!("the function '{called}' is declared after '{name}'"),
                )
                .hint("a function may call those declared before it: change their order"),
            );
        }
        if self.functions.scalar(called).is_none() && self.functions.aggregate(called).is_some() {
            return Some(
                Diagnostic::new(Code::Unstreamable, "the body of a function cannot aggregate")
                    .hint("aggregate in the query, and give the function the result"),
            );
        }
        called.eq_ignore_ascii_case(EVENT_TIMESTAMP).then(|| {
            Diagnostic::new(Code::Unstreamable, "the body of a function sees no event").hint(format!(
                "make the time a parameter, and call {name}(eventTimestamp(), …)"
            ))
        })
    }

    fn converted(&self, body: Expr, schema: &DFSchemaRef, returns: &DataType) -> Result<Expr, Diagnostic> {
        let wrong = |error: Diagnostic| self.text.at(error, self.create.body_span);
        let given = body
            .get_type(schema)
            .map_err(|error| wrong(Diagnostic::new(Code::Type, error.strip_backtrace())))?;
        let fits = given == DataType::Null || takes(&given, returns) || given.is_numeric() && returns.is_numeric();
        if !fits || !can_cast_types(&given, returns) {
            let (given, returns) = (types::name(&given), types::name(returns));
            let error = Diagnostic::new(
                Code::Type,
                format!("the body is {given}, but the function RETURNS {returns}"),
            );
            return Err(wrong(error.hint(format!("write CAST(… AS {returns}) in the body"))));
        }
        body.cast_to(returns, schema)
            .map_err(|error| wrong(Diagnostic::new(Code::Type, error.strip_backtrace())))
    }

    /// An error found `before` bytes further in a text that holds the body, at its place in the app.
    fn in_app(&self, mut error: Diagnostic, before: usize) -> Diagnostic {
        let span = error.span.take();
        error.source = None;
        let place = span.and_then(|span| {
            let start = span.start.checked_sub(before)?;
            self.place(start..span.end.checked_sub(before)?.min(self.create.body.len()))
        });
        match place {
            Some(place) => self.text.finish(error.at(place)),
            None => self.text.at(error, self.create.body_span),
        }
    }

    /// Where a part of the body stands in the app, whose literal has two quotes for one.
    fn place(&self, part: Range<usize>) -> Option<Range<usize>> {
        let literal = self.text.range(self.create.body_span)?;
        let written = self.text.slice(self.create.body_span);
        let inside = written.strip_prefix('\'')?.strip_suffix('\'')?;
        let quotes = |until: usize| Some(self.create.body.get(..until)?.matches('\'').count());
        let start = literal.start + 1 + part.start + quotes(part.start)?;
        let end = literal.start + 1 + part.end + quotes(part.end)?;
        (inside.replace("''", "'") == self.create.body && start <= end).then_some(start..end)
    }
}

/// Whether an argument of a type is converted without the author's CAST: NULL, wider types, and whole numbers of every
/// width, since literals are LONG; what does not fit then is an error of its event.
fn takes(given: &DataType, parameter: &DataType) -> bool {
    types::widens(given, parameter)
        || given.is_integer() && parameter.is_integer()
        || given.is_floating() && parameter.is_floating()
}

/// A function whose body is an expression.
#[derive(Debug)]
struct SqlFunction {
    name: String,
    parameters: SchemaRef,
    returns: FieldRef,
    body: Expr,
    physical: Arc<dyn PhysicalExpr>,
    /// How often the body reads each parameter, and how many nodes it has.
    uses: Vec<usize>,
    nodes: usize,
    signature: Signature,
}

impl SqlFunction {
    fn new(name: &str, parameters: SchemaRef, returns: Field, body: Expr, physical: Arc<dyn PhysicalExpr>) -> Self {
        let volatility = match body.is_volatile() {
            true => Volatility::Volatile,
            false => Volatility::Immutable,
        };
        let mut uses = vec![0; parameters.fields().len()];
        let nodes = count_nodes(&body, |node| {
            if let Some(parameter) = parameter_of(node, &parameters) {
                uses[parameter] += 1;
            }
        });
        SqlFunction {
            name: name.to_string(),
            parameters,
            returns: Arc::new(returns),
            body,
            physical,
            uses,
            nodes,
            signature: Signature::user_defined(volatility),
        }
    }

    /// Whether the body may stand in place of a call: everything is computed as often as it would be, and the plan stays small.
    fn may_be_inlined(&self, arguments: &[Expr]) -> bool {
        let mut nodes = self.nodes;
        for (argument, &uses) in arguments.iter().zip(&self.uses) {
            if argument.is_volatile() && uses != 1 {
                return false;
            }
            nodes = nodes.saturating_add(uses.saturating_mul(count_nodes(argument, |_| {})));
        }
        nodes <= INLINED_NODES
    }
}

fn parameter_of(node: &Expr, parameters: &Schema) -> Option<usize> {
    match node {
        Expr::Column(column) => parameters.index_of(&column.name).ok(),
        _ => None,
    }
}

fn count_nodes(expr: &Expr, mut see: impl FnMut(&Expr)) -> usize {
    let mut nodes = 0;
    let _ = expr.apply(|node| {
        nodes += 1;
        see(node);
        Ok(TreeNodeRecursion::Continue)
    });
    nodes
}

impl PartialEq for SqlFunction {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.body == other.body && self.parameters == other.parameters
    }
}

impl Eq for SqlFunction {}

impl std::hash::Hash for SqlFunction {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.name.hash(state);
        self.body.hash(state);
    }
}

impl ScalarUDFImpl for SqlFunction {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>, DataFusionError> {
        let parameters = self.parameters.fields();
        if arguments.len() != parameters.len() {
            return plan_err!(
                "{} expects {} arguments but received {}",
                self.name,
                parameters.len(),
                arguments.len()
            );
        }
        for (position, (given, parameter)) in arguments.iter().zip(parameters).enumerate() {
            if !takes(given, parameter.data_type()) {
                return plan_err!(
                    "argument {} of {} is {}, not {}",
                    position + 1,
                    self.name,
                    types::name(parameter.data_type()),
                    types::name(given)
                );
            }
        }
        Ok(parameters
            .iter()
            .map(|parameter| parameter.data_type().clone())
            .collect())
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType, DataFusionError> {
        Ok(self.returns.data_type().clone())
    }

    fn return_field_from_args(&self, _arguments: ReturnFieldArgs) -> Result<FieldRef, DataFusionError> {
        Ok(self.returns.clone())
    }

    fn simplify(
        &self,
        arguments: Vec<Expr>,
        _context: &SimplifyContext,
    ) -> Result<ExprSimplifyResult, DataFusionError> {
        if !self.may_be_inlined(&arguments) {
            return Ok(ExprSimplifyResult::Original(arguments));
        }
        let inlined = self.body.clone().transform_up(|node| {
            Ok(
                match parameter_of(&node, &self.parameters).and_then(|index| arguments.get(index)) {
                    Some(argument) => Transformed::yes(argument.clone()),
                    None => Transformed::no(node),
                },
            )
        })?;
        Ok(ExprSimplifyResult::Simplified(inlined.data))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        let rows = arguments.number_rows;
        let columns = arguments.args.iter().map(|argument| argument.to_array(rows));
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(self.parameters.clone(), columns, &options)?;
        self.physical.evaluate(&batch)
    }
}
