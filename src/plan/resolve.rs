//! Name resolution in a query's syntax tree: every name is rewritten to the exact spelling of what it means, so that
//! DataFusion, which compares exactly, plans it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use arrow::datatypes::SchemaRef;
use eventflux_sqlparser::walk::{Walk, WalkMut};
use eventflux_sqlparser::{
    PatternElement, PatternNode, PatternNodeKind, RelationSource, StreamRelation, relation_name,
};
use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, Query, SelectItem, SetExpr,
    TableAlias, TableFactor, Visitor, VisitorMut,
};

use super::text::Text;
use super::window_args::{has_bounds, with_bounds};
use crate::catalog::functions::{EVENT_TIMESTAMP, Functions};
use crate::catalog::names::{Resolved, resolve};
use crate::config::nearest::nearest;
use crate::error::{Code, Diagnostic};

/// The streams and views that a query may name, with their columns.
pub type Known = BTreeMap<String, SchemaRef>;

/// The names of the streams a query reads, as written, with their places.
pub fn tables(query: &Query, relations: &[StreamRelation]) -> Vec<Ident> {
    let mut names = Names::default();
    let _ = query.walk(&mut names);
    let lifted = relations.iter().filter_map(|relation| match &relation.source {
        RelationSource::Stream {
            name,
            fault: false,
            inner: false,
        } => Some(name.clone()),
        _ => None,
    });
    let plain = names
        .tables
        .iter()
        .filter(|name| !is_placeholder(&name.value, relations));
    let patterns = relations.iter().filter_map(|relation| match &relation.source {
        RelationSource::Pattern(pattern) => Some(elements(&pattern.root)),
        _ => None,
    });
    let patterns = patterns.flatten().map(|element| element.stream.clone());
    plain
        .filter(|name| !names.ctes.contains(&name.value))
        .cloned()
        .chain(lifted)
        .chain(patterns)
        .collect()
}

/// The elements of a pattern.
pub fn elements(node: &PatternNode) -> Vec<&PatternElement> {
    match &node.kind {
        PatternNodeKind::Chain(parts) | PatternNodeKind::And(parts) | PatternNodeKind::Or(parts) => {
            parts.iter().flat_map(elements).collect()
        }
        PatternNodeKind::Group(inner) => elements(inner),
        PatternNodeKind::Element(element) | PatternNodeKind::Absent { element, .. } => vec![element],
    }
}

fn is_placeholder(name: &str, relations: &[StreamRelation]) -> bool {
    (0..relations.len()).any(|index| name == relation_name(index))
}

/// Rewrites the names of a query and of the conditions of its relations.
pub fn resolve_query(
    query: &mut Query,
    relations: &mut [StreamRelation],
    known: &Known,
    functions: &Functions,
    text: &Text,
) -> Result<(), Diagnostic> {
    for relation in relations.iter_mut() {
        if let RelationSource::Stream {
            name,
            fault: false,
            inner: false,
        } = &mut relation.source
        {
            *name = table(name, known, text)?;
        }
    }
    let mut names = Names::default();
    let _ = Walk::walk(query, &mut names);
    let mut scope = Scope {
        names,
        known,
        relations,
        functions,
        text,
        aliases: BTreeMap::new(),
        columns: BTreeSet::new(),
    };
    scope.collect();
    let mut rewriter = Rewriter { scope: &scope };
    match WalkMut::walk_mut(query, &mut rewriter) {
        ControlFlow::Break(error) => return Err(*error),
        ControlFlow::Continue(()) => {}
    }
    let mut filters: Vec<Option<Expr>> = scope.relations.iter().map(|relation| relation.filter.clone()).collect();
    for filter in filters.iter_mut().flatten() {
        if let ControlFlow::Break(error) = WalkMut::walk_mut(filter, &mut rewriter) {
            return Err(*error);
        }
    }
    for (relation, filter) in relations.iter_mut().zip(filters) {
        relation.filter = filter;
    }
    Ok(())
}

/// A stream's or view's exact name.
pub fn table(name: &Ident, known: &Known, text: &Text) -> Result<Ident, Diagnostic> {
    let error = match resolve(&name.value, known.keys().map(String::as_str)) {
        Resolved::One(exact) => return Ok(renamed(name, exact)),
        Resolved::Ambiguous(candidates) => Diagnostic::new(
            Code::Ambiguous,
            format!("'{}' could be {}", name.value, candidates.join(" or ")),
        )
        .hint("write the name in its exact case"),
        Resolved::None => {
            let error = Diagnostic::new(Code::UnknownStream, format!("there is no stream '{}'", name.value));
            match nearest(&name.value, known.keys().map(String::as_str)) {
                Some(near) => error.hint(format!("did you mean '{near}'?")),
                None => error.hint("declare it with CREATE STREAM, or INSERT INTO it"),
            }
        }
    };
    Err(text.at(error, name.span))
}

fn renamed(ident: &Ident, exact: &str) -> Ident {
    // Quoted, so that no later stage folds its case.
    Ident {
        value: exact.to_string(),
        quote_style: Some('"'),
        span: ident.span,
    }
}

/// All names that stand in a query.
#[derive(Default)]
struct Names {
    tables: Vec<Ident>,
    ctes: BTreeSet<String>,
    /// Table aliases and what they stand for: the name of a table, or nothing for a subquery.
    aliases: Vec<(String, Option<String>)>,
    /// Names that the query itself gives to columns.
    columns: BTreeSet<String>,
}

impl Names {
    fn alias(&mut self, alias: &TableAlias, table: Option<&ObjectName>) {
        let table = table
            .and_then(|name| name.0.last()?.as_ident())
            .map(|ident| ident.value.clone());
        self.aliases.push((alias.name.value.clone(), table));
        self.columns
            .extend(alias.columns.iter().map(|column| column.name.value.clone()));
    }

    fn select_items(&mut self, body: &SetExpr) {
        match body {
            SetExpr::Select(select) => {
                for item in &select.projection {
                    match item {
                        SelectItem::ExprWithAlias { alias, .. } => {
                            self.columns.insert(alias.value.clone());
                        }
                        SelectItem::ExprWithAliases { aliases, .. } => {
                            self.columns.extend(aliases.iter().map(|alias| alias.value.clone()));
                        }
                        _ => {}
                    }
                }
            }
            SetExpr::SetOperation { left, right, .. } => {
                self.select_items(left);
                self.select_items(right);
            }
            _ => {}
        }
    }
}

impl Visitor for Names {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            self.ctes.insert(cte.alias.name.value.clone());
            self.alias(&cte.alias, None);
        }
        self.select_items(&query.body);
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        if let [part] = relation.0.as_slice()
            && let Some(ident) = part.as_ident()
        {
            self.tables.push(ident.clone());
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        match factor {
            TableFactor::Table {
                name,
                alias: Some(alias),
                ..
            } => self.alias(alias, Some(name)),
            TableFactor::Derived { alias: Some(alias), .. } => self.alias(alias, None),
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

struct Scope<'a> {
    names: Names,
    known: &'a Known,
    relations: &'a [StreamRelation],
    functions: &'a Functions,
    text: &'a Text<'a>,
    /// What may stand before a dot, and its columns where they are known.
    aliases: BTreeMap<String, Option<SchemaRef>>,
    /// All columns in reach of anything in the query.
    columns: BTreeSet<String>,
}

impl Scope<'_> {
    fn collect(&mut self) {
        let names = std::mem::take(&mut self.names);
        for table in &names.tables {
            let schema = self.schema_of(&table.value);
            if let Some((exact, schema)) = &schema {
                self.columns
                    .extend(schema.fields().iter().map(|field| field.name().clone()));
                self.aliases.insert(exact.clone(), Some(schema.clone()));
            }
        }
        for (alias, table) in &names.aliases {
            let schema = table.as_deref().and_then(|table| self.schema_of(table));
            self.aliases.insert(alias.clone(), schema.map(|(_, schema)| schema));
        }
        // A name of WITH that FROM spells otherwise is called as FROM says.
        let spelled = |cte: &&String| self.aliases.keys().any(|alias| alias.eq_ignore_ascii_case(cte));
        let ctes: Vec<String> = names.ctes.iter().filter(|cte| !spelled(cte)).cloned().collect();
        self.aliases.extend(ctes.into_iter().map(|cte| (cte, None)));
        self.columns.extend(names.columns.iter().cloned());
        self.names = names;
    }

    /// The exact name and columns of a stream, view or lifted relation.
    fn schema_of(&self, table: &str) -> Option<(String, SchemaRef)> {
        let lifted = self
            .relations
            .iter()
            .enumerate()
            .find(|(index, _)| relation_name(*index) == table);
        let name = match lifted.map(|(_, relation)| &relation.source) {
            Some(RelationSource::Stream { name, .. }) => name.value.as_str(),
            _ => table,
        };
        let exact = match resolve(name, self.known.keys().map(String::as_str)) {
            Resolved::One(exact) => exact,
            _ => return None,
        };
        let schema = self.known.get(exact)?.clone();
        let window = lifted.and_then(|(_, relation)| relation.window.as_ref());
        let schema = match window.is_some_and(has_bounds) {
            true => with_bounds(&schema),
            false => schema,
        };
        Some((exact.to_string(), schema))
    }

    fn column(&self, ident: &Ident) -> Result<Ident, Diagnostic> {
        match resolve(&ident.value, self.columns.iter().map(String::as_str)) {
            Resolved::One(exact) => Ok(renamed(ident, exact)),
            Resolved::Ambiguous(candidates) => Err(self.ambiguous(ident, &candidates)),
            Resolved::None => Ok(ident.clone()),
        }
    }

    fn ambiguous(&self, ident: &Ident, candidates: &[&str]) -> Diagnostic {
        let message = format!("'{}' could be {}", ident.value, candidates.join(" or "));
        self.text.at(
            Diagnostic::new(Code::Ambiguous, message).hint("write the name in its exact case"),
            ident.span,
        )
    }

    /// `a.b…`: a relation's column, or a column's field.
    fn compound(&self, idents: &mut [Ident]) -> Result<(), Diagnostic> {
        let [first, second, ..] = idents else {
            return Ok(());
        };
        match resolve(&first.value, self.aliases.keys().map(String::as_str)) {
            // A column of exactly that name is meant rather than a stream of that name in another case.
            Resolved::One(alias) if alias != first.value && self.columns.contains(&first.value) => {
                *first = self.column(first)?;
            }
            Resolved::One(alias) => {
                let alias = alias.to_string();
                *first = renamed(first, &alias);
                *second = match self.aliases.get(&alias).and_then(Option::as_ref) {
                    None => self.column(second)?,
                    Some(schema) => {
                        match resolve(&second.value, schema.fields().iter().map(|field| field.name().as_str())) {
                            Resolved::One(exact) => renamed(second, exact),
                            Resolved::Ambiguous(candidates) => return Err(self.ambiguous(second, &candidates)),
                            Resolved::None => second.clone(),
                        }
                    }
                };
            }
            Resolved::Ambiguous(candidates) => return Err(self.ambiguous(first, &candidates)),
            Resolved::None => *first = self.column(first)?,
        }
        Ok(())
    }

    /// `eventTimestamp(S)`, where S is what the query reads, is `eventTimestamp()`.
    fn event_timestamp(&self, function: &mut Function) -> Result<(), Diagnostic> {
        if !function.name.to_string().eq_ignore_ascii_case(EVENT_TIMESTAMP) {
            return Ok(());
        }
        let FunctionArguments::List(list) = &mut function.args else {
            return Ok(());
        };
        let [FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Identifier(ident)))] = list.args.as_slice() else {
            return Ok(());
        };
        let known = self.aliases.keys().map(String::as_str);
        let error = match resolve(&ident.value, known.clone()) {
            Resolved::One(_) if self.names.tables.len() > 1 => Diagnostic::new(
                Code::Unsupported,
                "not supported yet: eventTimestamp of one of several inputs",
            ),
            Resolved::One(_) => {
                list.args.clear();
                return Ok(());
            }
            Resolved::Ambiguous(candidates) => return Err(self.ambiguous(ident, &candidates)),
            Resolved::None => Diagnostic::new(
                Code::UnknownStream,
                format!("the query reads nothing that is called '{}'", ident.value),
            )
            .hint(format!("it reads: {}", known.collect::<Vec<_>>().join(", "))),
        };
        Err(self.text.at(error, ident.span))
    }

    fn function(&self, name: &ObjectName, over: bool) -> Result<(), Diagnostic> {
        let [part] = name.0.as_slice() else {
            return Ok(());
        };
        let Some(ident) = part.as_ident() else {
            return Ok(());
        };
        let functions = self.functions;
        let name = ident.value.as_str();
        if functions.scalar(name).is_some()
            || functions.aggregate(name).is_some()
            || functions.higher_order(name).is_some()
            || (over && functions.window(name).is_some())
        {
            return Ok(());
        }
        if functions.window(name).is_some() {
            let error = Diagnostic::new(Code::Type, format!("{name} needs OVER, which says among which events"));
            let hint = format!("such as {name}(…) OVER (PARTITION BY symbol)");
            return Err(self.text.at(error.hint(hint), ident.span));
        }
        let error = Diagnostic::new(Code::UnknownFunction, format!("there is no function '{name}'"));
        let names = functions.scalar_names().chain(functions.aggregate_names());
        let names = names.chain(functions.window_names());
        let error = match nearest(name, names) {
            Some(near) => error.hint(format!("did you mean '{near}'?")),
            None => error,
        };
        Err(self.text.at(error, ident.span))
    }
}

/// Functions that exist only with OVER.
pub const WINDOW_FUNCTIONS: &[&str] = &[
    "row_number",
    "rank",
    "dense_rank",
    "percent_rank",
    "cume_dist",
    "ntile",
    "lag",
    "lead",
    "first_value",
    "last_value",
    "nth_value",
];

struct Rewriter<'a, 'b> {
    scope: &'a Scope<'b>,
}

impl Rewriter<'_, '_> {
    fn step(&self, result: Result<(), Diagnostic>) -> ControlFlow<Box<Diagnostic>> {
        match result {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(Box::new(error)),
        }
    }
}

impl VisitorMut for Rewriter<'_, '_> {
    type Break = Box<Diagnostic>;

    fn pre_visit_relation(&mut self, relation: &mut ObjectName) -> ControlFlow<Self::Break> {
        let [part] = relation.0.as_slice() else {
            return ControlFlow::Continue(());
        };
        let Some(ident) = part.as_ident().cloned() else {
            return ControlFlow::Continue(());
        };
        if is_placeholder(&ident.value, self.scope.relations) {
            return ControlFlow::Continue(());
        }
        if let Resolved::One(exact) = resolve(&ident.value, self.scope.names.ctes.iter().map(String::as_str)) {
            *relation = ObjectName::from(vec![renamed(&ident, exact)]);
            return ControlFlow::Continue(());
        }
        match table(&ident, self.scope.known, self.scope.text) {
            Ok(exact) => {
                *relation = ObjectName::from(vec![exact]);
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(Box::new(error)),
        }
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        let result = match expr {
            Expr::Identifier(ident) => self.scope.column(ident).map(|exact| *ident = exact),
            Expr::CompoundIdentifier(idents) => self.scope.compound(idents),
            Expr::Function(function) => self
                .scope
                .function(&function.name, function.over.is_some())
                .and_then(|()| self.scope.event_timestamp(function)),
            _ => Ok(()),
        };
        self.step(result)
    }
}
