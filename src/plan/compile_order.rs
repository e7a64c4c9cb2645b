//! The order in which queries are compiled: what they read must be known before.

use eventflux_sqlparser::{CreateView, Query, Statement, StatementKind};

use super::compile::{Compiler, Pending};
use super::fault_streams::without_mark;
use super::resolve;
use crate::catalog::names::{Resolved, resolve as resolve_name};
use crate::error::{Code, Diagnostic};

impl Compiler<'_> {
    /// The first relation of a query that is not known yet.
    pub(super) fn missing(&self, query: &Query) -> Option<String> {
        let tables = resolve::tables(&query.body, &query.relations);
        let known = || self.known.keys().map(String::as_str);
        tables
            .into_iter()
            .map(|ident| ident.value)
            .find(|name| resolve_name(name, known()) == Resolved::None)
    }

    pub(super) fn comes_later(&self, name: &str, pending: &[Pending], statements: &[Statement]) -> bool {
        let targets = pending.iter().map(|pending| match &pending.query.target {
            Some(target) => target.name.value.as_str(),
            None => pending.name.as_str(),
        });
        let views = statements.iter().filter_map(|statement| match &statement.kind {
            StatementKind::CreateView(view) => Some(view.name.value.as_str()),
            _ => None,
        });
        resolve_name(without_mark(name), targets.chain(views)) != Resolved::None
    }

    pub(super) fn comes_later_than(&self, name: &str, next: &Pending, statements: &[Statement]) -> bool {
        let name = without_mark(name);
        let own = next.feeds(name);
        let others: Vec<&str> = statements
            .iter()
            .filter_map(|statement| match &statement.kind {
                StatementKind::CreateView(view) => Some(view.name.value.as_str()),
                StatementKind::Query(query) => query.target.as_ref().map(|target| target.name.value.as_str()),
                _ => None,
            })
            .collect();
        let bare = name.to_lowercase().starts_with("query_");
        !own && (bare && !self.known.contains_key(name) && self.bare_pending(name, statements)
            || resolve_name(name, others.iter().copied()) != Resolved::None)
    }

    fn bare_pending(&self, name: &str, statements: &[Statement]) -> bool {
        let bare = statements.iter().filter(|statement| match &statement.kind {
            StatementKind::Query(query) => query.target.is_none(),
            _ => false,
        });
        (1..=bare.count()).any(|number| name.eq_ignore_ascii_case(&format!("query_{number}")))
    }

    pub(super) fn circle(&self, query: Option<&Pending>, view: Option<&CreateView>) -> Diagnostic {
        let span = query
            .map(|pending| pending.query.span)
            .or(view.map(|view| view.span))
            .unwrap_or(sqlparser::tokenizer::Span::empty());
        let error = Diagnostic::new(
            Code::Cycle,
            "the streams feed each other in a circle, so their columns cannot be inferred",
        )
        .hint("a query cannot read what it, or a query it feeds, produces");
        self.text.at(error, span)
    }
}
