//! Statements that change tables: INSERT, UPSERT, ON CONFLICT, UPDATE OR INSERT, UPDATE … FROM, DELETE … USING.
//!
//! Each becomes the plan of the events that change the table, and a [`Write`]: what an event does. A condition between events and
//! rows, and the values of SET, are planned over both as if they were joined, so that names and types mean what they do in
//! a query.

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion_common::{Column, DFSchema, DataFusionError};
use datafusion_expr::utils::split_conjunction_owned;
use datafusion_expr::{Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, SubqueryAlias};
use datafusion_sql::planner::{PlannerContext, SqlToRel};
use eventflux_sqlparser::walk::WalkMut;
use eventflux_sqlparser::{
    Assignment, ConflictAction, Delete, InsertMode, InsertTarget, OnConflict, Query, StreamRelation, Update,
};
use sqlparser::ast::{Expr as SqlExpr, Ident, Spanned, VisitorMut};
use sqlparser::tokenizer::Span;

use super::access::TABLE;
use super::context::{Context, Source};
use super::failure;
use super::logical::{Planner, fit_target, output_spans, parser_options};
use super::text::Text;
use crate::catalog::names::{Resolved, resolve};
use crate::catalog::types;
use crate::config::nearest::nearest;
use crate::error::{Code, Diagnostic};
use crate::tables::slot::TableSlot;

/// What the row to be inserted is called beside the row that is there.
pub const EXCLUDED: &str = "excluded";

/// What an event does to a table.
#[derive(Clone)]
pub(super) struct Write {
    /// The table.
    pub table: Arc<TableSlot>,
    /// What happens.
    pub kind: WriteKind,
}

#[derive(Clone)]
pub(super) enum WriteKind {
    /// The event is a row.
    Insert,
    /// The event is a row, in the place of the one with its key.
    Upsert,
    /// Rows that match the event change.
    Matched(Matched),
}

/// Which rows match an event, and what becomes of them. Expressions are over the event's columns and the table's, which are
/// qualified with [`TABLE`].
#[derive(Clone)]
pub(super) struct Matched {
    pub conjuncts: Vec<Expr>,
    pub change: Change,
    /// Whether an event without a match becomes a row.
    pub inserts: bool,
}

#[derive(Clone)]
pub(super) enum Change {
    Update {
        set: Vec<(usize, Expr)>,
        when: Option<Expr>,
    },
    Delete,
    Keep,
}

/// An UPDATE or DELETE: the table's row beside what changes it.
#[derive(Clone)]
pub(super) struct Statement {
    pub table: Ident,
    pub alias: Option<Ident>,
    /// `None` for DELETE.
    pub set: Option<Vec<Assignment>>,
    pub selection: Option<SqlExpr>,
    pub span: Span,
}

impl Statement {
    /// Of an UPDATE.
    pub fn update(update: &Update) -> Self {
        Statement {
            table: update.table.clone(),
            alias: update.alias.clone(),
            set: Some(update.set.clone()),
            selection: update.selection.clone(),
            span: update.span,
        }
    }

    /// Of a DELETE.
    pub fn delete(delete: &Delete) -> Self {
        Statement {
            table: delete.table.clone(),
            alias: delete.alias.clone(),
            set: None,
            selection: delete.selection.clone(),
            span: delete.span,
        }
    }
}

/// Plans what statements do to one table.
pub(super) struct WritePlanner<'a> {
    pub planner: &'a Planner<'a>,
    pub table: Arc<TableSlot>,
    pub text: &'a Text<'a>,
    pub query: &'a Query,
}

impl WritePlanner<'_> {
    /// INSERT in all its forms: the plan of the rows, fitted to the table, and what they do.
    pub fn insert(&self, plan: LogicalPlan, target: &InsertTarget) -> Result<(LogicalPlan, Write), Diagnostic> {
        let def = self.table.def();
        let outputs: Vec<String> = plan
            .schema()
            .fields()
            .iter()
            .map(|field| field.name().clone())
            .collect();
        let spans = output_spans(self.query);
        let fitted = fit_target(plan, &def.schema, &target.columns, &def.name, self.text, &spans);
        let fitted = fitted.map_err(|error| self.text.at(error, target.name.span))?;
        let kind = match (&target.mode, &target.on_conflict) {
            (InsertMode::Insert, None) => WriteKind::Insert,
            (InsertMode::Insert, Some(conflict)) => self.on_conflict(conflict)?,
            (InsertMode::Upsert, None) if def.primary_key.is_empty() => {
                let error = Diagnostic::new(
                    Code::Unstreamable,
                    format!("UPSERT needs a key, and '{}' has none", def.name),
                );
                let hint =
                    "declare PRIMARY KEY, or say which rows are meant: UPDATE OR INSERT INTO T SELECT … ON T.id = id";
                return Err(self.text.at(error.hint(hint), target.span));
            }
            (InsertMode::Upsert, None) => WriteKind::Upsert,
            (InsertMode::UpdateOrInsert { set, on }, None) => self.update_or_insert(set, on, &outputs)?,
            (_, Some(conflict)) => {
                let error = Diagnostic::new(Code::Syntax, "ON CONFLICT is for INSERT INTO");
                return Err(self.text.at(error, conflict.span));
            }
        };
        Ok((fitted, self.write(kind)))
    }

    fn write(&self, kind: WriteKind) -> Write {
        Write {
            table: self.table.clone(),
            kind,
        }
    }

    fn on_conflict(&self, conflict: &OnConflict) -> Result<WriteKind, Diagnostic> {
        let def = self.table.def();
        let mut columns = Vec::new();
        for name in &conflict.columns {
            columns.push(self.column(name)?);
        }
        if columns.is_empty() {
            columns.clone_from(&def.primary_key);
        }
        if columns.is_empty() {
            let error = Diagnostic::new(
                Code::Unstreamable,
                format!("'{}' has no key that rows could conflict in", def.name),
            );
            return Err(self.text.at(
                error.hint("declare PRIMARY KEY, or name columns: ON CONFLICT (id)"),
                conflict.span,
            ));
        }
        let conjuncts = columns.iter().map(|&column| {
            let name = def.schema.field(column).name();
            let of = |relation: &str| Expr::Column(Column::new(Some(relation), name));
            of(EXCLUDED).eq(of(TABLE))
        });
        let conjuncts = conjuncts.collect();
        let change = match &conflict.action {
            ConflictAction::Nothing => Change::Keep,
            ConflictAction::Update { set, selection } => {
                let scope = Beside::Row { outputs: &[] };
                Change::Update {
                    set: self.assignments(set, &scope)?,
                    when: selection
                        .as_ref()
                        .map(|selection| self.condition(selection, &scope))
                        .transpose()?,
                }
            }
        };
        Ok(WriteKind::Matched(Matched {
            conjuncts,
            change,
            inserts: true,
        }))
    }

    fn update_or_insert(&self, set: &[Assignment], on: &SqlExpr, outputs: &[String]) -> Result<WriteKind, Diagnostic> {
        let scope = Beside::Event { outputs };
        let condition = self.condition(on, &scope)?;
        let set = match set {
            // Every column gets the event's value.
            [] => {
                let fields = self.table.def().schema.fields().iter().enumerate();
                let value = |(index, field): (usize, &Arc<arrow::datatypes::Field>)| {
                    (index, Expr::Column(Column::new(Some(EXCLUDED), field.name())))
                };
                fields.map(value).collect()
            }
            set => self.assignments(set, &scope)?,
        };
        Ok(WriteKind::Matched(Matched {
            conjuncts: split_conjunction_owned(condition),
            change: Change::Update { set, when: None },
            inserts: true,
        }))
    }

    /// UPDATE … FROM and DELETE … USING, whose events are `plan`'s rows.
    pub fn statement(&self, plan: &LogicalPlan, statement: &Statement) -> Result<Write, Diagnostic> {
        let alias = statement.alias.as_ref().unwrap_or(&statement.table);
        let scope = Beside::Relations {
            schema: plan.schema(),
            alias: &alias.value,
        };
        let conjuncts = match &statement.selection {
            Some(selection) => split_conjunction_owned(self.condition(selection, &scope)?),
            None => Vec::new(),
        };
        let change = match &statement.set {
            Some(set) => Change::Update {
                set: self.assignments(set, &scope)?,
                when: None,
            },
            None => Change::Delete,
        };
        Ok(self.write(WriteKind::Matched(Matched {
            conjuncts,
            change,
            inserts: false,
        })))
    }

    fn assignments(&self, set: &[Assignment], scope: &Beside) -> Result<Vec<(usize, Expr)>, Diagnostic> {
        let def = self.table.def();
        let mut values: Vec<(usize, Expr)> = Vec::with_capacity(set.len());
        for assignment in set {
            let column = self.column(&assignment.column)?;
            let field = def.schema.field(column);
            if values.iter().any(|(taken, _)| *taken == column) {
                let error = Diagnostic::new(Code::Duplicate, format!("column '{}' is set twice", field.name()));
                return Err(self.text.at(error, assignment.column.span));
            }
            let (value, schema) = self.expr(&assignment.value, scope)?;
            let value = assigned(value, field.data_type(), &schema).map_err(|reason| {
                let error = Diagnostic::new(
                    Code::TargetMismatch,
                    format!("column {} of '{}' {reason}", field.name(), def.name),
                );
                let hint = format!(
                    "write CAST(… AS {}) if that is what you want",
                    types::name(field.data_type())
                );
                self.text.at(error.hint(hint), assignment.value.span())
            })?;
            values.push((column, value));
        }
        Ok(values)
    }

    /// A column of the table by its name.
    fn column(&self, name: &Ident) -> Result<usize, Diagnostic> {
        let def = self.table.def();
        let known = || def.schema.fields().iter().map(|field| field.name().as_str());
        if let Resolved::One(exact) = resolve(&name.value, known()) {
            return Ok(def.schema.index_of(exact).unwrap_or_default());
        }
        let error = Diagnostic::new(
            Code::UnknownColumn,
            format!("'{}' has no column '{}'", def.name, name.value),
        );
        let error = match nearest(&name.value, known()) {
            Some(near) => error.hint(format!("did you mean '{near}'?")),
            None => error.hint(format!("there are: {}", known().collect::<Vec<_>>().join(", "))),
        };
        Err(self.text.at(error, name.span))
    }

    fn condition(&self, condition: &SqlExpr, scope: &Beside) -> Result<Expr, Diagnostic> {
        let (expr, schema) = self.expr(condition, scope)?;
        match expr.get_type(&schema) {
            Ok(DataType::Boolean | DataType::Null) => Ok(expr),
            Ok(other) => {
                let message = format!("a condition is a BOOL, not {}", types::name(&other));
                Err(self.text.at(Diagnostic::new(Code::Type, message), condition.span()))
            }
            Err(error) => Err(self.fail(&error, condition)),
        }
    }

    /// An expression over the event's columns and the table's, coerced; and the schema of both.
    fn expr(&self, expr: &SqlExpr, scope: &Beside) -> Result<(Expr, DFSchema), Diagnostic> {
        let def = self.table.def();
        let table = LogicalPlanBuilder::scan(TABLE, Arc::new(Source::table(self.table.clone())), None);
        let (own, expr) = scope.resolved(expr, def.name.as_str(), &def.schema, self.text)?;
        let plan = (|| {
            let events = match own {
                Some(schema) => rows_of(schema.clone()),
                None => {
                    let scan = LogicalPlanBuilder::scan(EXCLUDED, Arc::new(Source::table(self.table.clone())), None)?;
                    scan.build()
                }
            }?;
            LogicalPlanBuilder::from(events).cross_join(table?.build()?)?.build()
        })();
        let plan = plan.map_err(|error: DataFusionError| self.fail(&error, &expr))?;
        let context = Context::new(self.planner.sources, self.planner.functions, &[], &[], &[]);
        let to_rel = SqlToRel::new_with_options(&context, parser_options());
        let planned = to_rel.sql_to_expr(expr.clone(), plan.schema(), &mut PlannerContext::new());
        let projected = planned.and_then(|planned| {
            let plan = LogicalPlanBuilder::from(plan.clone())
                .project([planned.alias("value")])?
                .build()?;
            self.planner.analyze(plan)
        });
        match projected.map_err(|error| self.fail(&error, &expr))? {
            LogicalPlan::Projection(projection) if projection.expr.len() == 1 => {
                let value = projection.expr[0].clone().unalias();
                Ok((value, plan.schema().as_ref().clone()))
            }
            _ => Err(self.text.at(
                Diagnostic::new(Code::Unsupported, "not supported yet: this expression"),
                expr.span(),
            )),
        }
    }

    fn fail(&self, error: &DataFusionError, expr: &SqlExpr) -> Diagnostic {
        let diagnostic = failure::diagnose(error, self.query, self.planner, self.text);
        match self.text.range(expr.span()) {
            Some(range) => diagnostic.at(range),
            None => diagnostic,
        }
    }
}

/// A plan that has these columns; it is never run.
fn rows_of(schema: DFSchema) -> Result<LogicalPlan, DataFusionError> {
    Ok(LogicalPlan::EmptyRelation(datafusion_expr::EmptyRelation {
        produce_one_row: false,
        schema: Arc::new(schema),
    }))
}

/// What stands beside the table's row, and whose columns names without a relation are.
enum Beside<'a> {
    /// The relations of FROM or USING; the table under its alias.
    Relations { schema: &'a DFSchema, alias: &'a str },
    /// The row to be inserted, called `excluded`; bare names are the table's.
    Row { outputs: &'a [String] },
    /// The event; bare names are its own, by what the query calls them or the table does.
    Event { outputs: &'a [String] },
}

impl Beside<'_> {
    /// The columns of the events, unless they are those of the table, and the expression with its names in terms of both.
    fn resolved(
        &self,
        expr: &SqlExpr,
        table: &str,
        schema: &arrow::datatypes::Schema,
        text: &Text,
    ) -> Result<(Option<&DFSchema>, SqlExpr), Diagnostic> {
        let mut expr = expr.clone();
        let mut names = Names {
            beside: self,
            table,
            schema,
            text,
        };
        match WalkMut::walk_mut(&mut expr, &mut names) {
            ControlFlow::Break(error) => Err(*error),
            ControlFlow::Continue(()) => Ok((
                match self {
                    Beside::Relations { schema, .. } => Some(schema),
                    _ => None,
                },
                expr,
            )),
        }
    }
}

struct Names<'a, 'b> {
    beside: &'a Beside<'b>,
    table: &'a str,
    schema: &'a arrow::datatypes::Schema,
    text: &'a Text<'a>,
}

impl Names<'_, '_> {
    fn of_table(&self, name: &str) -> Option<String> {
        match resolve(name, self.schema.fields().iter().map(|field| field.name().as_str())) {
            Resolved::One(exact) => Some(exact.to_string()),
            _ => None,
        }
    }

    /// The column of the event that a name means.
    fn of_event(&self, name: &str, outputs: &[String]) -> Option<String> {
        let output = match resolve(name, outputs.iter().map(String::as_str)) {
            Resolved::One(exact) => outputs.iter().position(|output| output == exact),
            _ => None,
        };
        match output.and_then(|position| self.schema.fields().get(position)) {
            Some(field) => Some(field.name().clone()),
            None => self.of_table(name),
        }
    }

    fn bare(&self, ident: &Ident) -> Result<Option<SqlExpr>, Diagnostic> {
        let found = match self.beside {
            Beside::Relations { schema, alias: _ } => {
                let own = self.of_table(&ident.value);
                let events = schema
                    .fields()
                    .iter()
                    .filter(|field| field.name().eq_ignore_ascii_case(&ident.value));
                match (own, events.count()) {
                    (Some(_), 1..) => {
                        let message = format!(
                            "'{}' could be a column of '{}' or of what changes it",
                            ident.value, self.table
                        );
                        let error = Diagnostic::new(Code::Ambiguous, message);
                        return Err(self.text.at(
                            error.hint(format!("say which: {}.{}", self.table, ident.value)),
                            ident.span,
                        ));
                    }
                    (Some(own), 0) => Some((TABLE, own)),
                    (None, _) => {
                        let names = schema.fields().iter().map(|field| field.name().as_str());
                        return Ok(match resolve(&ident.value, names) {
                            Resolved::One(exact) => Some(SqlExpr::Identifier(quoted(exact, ident.span))),
                            _ => None,
                        });
                    }
                }
            }
            Beside::Row { .. } => self.of_table(&ident.value).map(|column| (TABLE, column)),
            Beside::Event { outputs } => self.of_event(&ident.value, outputs).map(|column| (EXCLUDED, column)),
        };
        Ok(found.map(|(relation, column)| compound(relation, &column, ident.span)))
    }

    fn qualified(&self, relation: &Ident, column: &Ident) -> Option<SqlExpr> {
        let same = |name: &str| relation.value.eq_ignore_ascii_case(name);
        let outputs: &[String] = match self.beside {
            Beside::Relations { schema, alias } => {
                if same(alias) {
                    let own = self.of_table(&column.value)?;
                    return Some(compound(TABLE, &own, column.span));
                }
                let of = schema
                    .iter()
                    .filter_map(|(qualifier, field)| Some((qualifier?.table(), field.name())));
                let mut of = of.filter(|(qualifier, _)| same(qualifier));
                let (qualifier, name) = of.find(|(_, name)| name.eq_ignore_ascii_case(&column.value))?;
                return Some(compound(qualifier, name, column.span));
            }
            Beside::Row { outputs } | Beside::Event { outputs } => outputs,
        };
        let (relation, name) = match same(self.table) {
            true => (TABLE, self.of_table(&column.value)?),
            // `excluded`, or the stream whose event it is.
            false => (EXCLUDED, self.of_event(&column.value, outputs)?),
        };
        Some(compound(relation, &name, column.span))
    }
}

fn compound(relation: &str, column: &str, span: Span) -> SqlExpr {
    SqlExpr::CompoundIdentifier(vec![quoted(relation, span), quoted(column, span)])
}

fn quoted(value: &str, span: Span) -> Ident {
    Ident {
        value: value.to_string(),
        quote_style: Some('"'),
        span,
    }
}

impl VisitorMut for Names<'_, '_> {
    type Break = Box<Diagnostic>;

    fn pre_visit_expr(&mut self, expr: &mut SqlExpr) -> ControlFlow<Self::Break> {
        let replaced = match expr {
            SqlExpr::Identifier(ident) => match self.bare(ident) {
                Ok(replaced) => replaced,
                Err(error) => return ControlFlow::Break(Box::new(error)),
            },
            SqlExpr::CompoundIdentifier(idents) => match idents.as_slice() {
                [relation, column] => self.qualified(relation, column),
                _ => None,
            },
            _ => None,
        };
        if let Some(replaced) = replaced {
            *expr = replaced;
        }
        ControlFlow::Continue(())
    }
}

/// A value for a column: of its type, widened, a literal that fits, or a DOUBLE for a FLOAT, as arithmetic makes of it.
fn assigned(value: Expr, to: &DataType, schema: &DFSchema) -> Result<Expr, String> {
    let from = value.get_type(schema).map_err(|error| error.strip_backtrace())?;
    if from == *to {
        return Ok(value);
    }
    let literal = match &value {
        Expr::Literal(literal, _) => {
            literal.is_null() || {
                let cast = literal.cast_to(to).and_then(|cast| cast.cast_to(&from));
                (from.is_numeric() && to.is_numeric() || is_text(&from) && is_text(to))
                    && cast.is_ok_and(|back| back == *literal || to.is_floating())
            }
        }
        _ => false,
    };
    if literal || types::widens(&from, to) || from.is_floating() && to.is_floating() {
        return value.cast_to(to, schema).map_err(|error| error.strip_backtrace());
    }
    Err(format!("is {}, and takes no {}", types::name(to), types::name(&from)))
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

/// `SELECT * FROM` the relations of an UPDATE or DELETE, as a query.
pub(super) fn events_query(
    from: &[sqlparser::ast::TableWithJoins],
    relations: &[StreamRelation],
    span: Span,
) -> Option<Query> {
    let text = "SELECT * FROM \"t\"";
    let statements = eventflux_sqlparser::parse(text).ok()?;
    let eventflux_sqlparser::StatementKind::Query(mut query) = statements.into_iter().next()?.kind else {
        return None;
    };
    let sqlparser::ast::SetExpr::Select(select) = query.body.body.as_mut() else {
        return None;
    };
    select.from = from.to_vec();
    query.relations = relations.to_vec();
    query.span = span;
    Some(query)
}

/// The events of INSERT … ON CONFLICT and UPDATE OR INSERT under the name that conditions have for them.
pub(super) fn as_excluded(plan: LogicalPlan) -> Result<LogicalPlan, DataFusionError> {
    Ok(LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(
        Arc::new(plan),
        EXCLUDED,
    )?))
}
