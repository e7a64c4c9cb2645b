//! Relations in FROM: names with filters, windows and the rest, and what replaces a name.

use sqlparser::ast::{Expr, Ident};
use sqlparser::keywords::{Keyword, RESERVED_FOR_TABLE_ALIAS};
use sqlparser::tokenizer::{Span, Token, TokenWithSpan};

use crate::ast::{MatchRecognize, RelationSource, StreamRelation, WindowSpec};
use crate::error::ParseError;
use crate::rewrite::Rewriter;
use crate::sql;
use crate::tokens::Cursor;
use crate::window;

/// Words of ours that cannot be an alias without AS; sqlparser knows the standard ones.
const NOT_AN_ALIAS: &[&str] = &[
    "UNIDIRECTIONAL",
    "EMIT",
    "OUTPUT",
    "INSERT",
    "UPSERT",
    "UPDATE",
    "SINK",
    "WITHIN",
    "AGGREGATE",
    "PER",
    "APPLY",
    "VALUES",
];

/// What may stand after a relation's name.
#[derive(Default)]
struct Clauses {
    filter: Option<Expr>,
    window: Option<WindowSpec>,
    unidirectional: bool,
    match_recognize: Option<MatchRecognize>,
    alias: Option<Ident>,
}

impl Clauses {
    /// Whether any of them is not standard SQL.
    fn are_ours(&self) -> bool {
        self.filter.is_some() || self.window.is_some() || self.unidirectional || self.match_recognize.is_some()
    }
}

impl Rewriter {
    /// A relation is due here. False if it is nothing of ours and has not been copied.
    pub(crate) fn relation(
        &mut self,
        cursor: &mut Cursor<'_>,
        out: &mut Vec<TokenWithSpan>,
    ) -> Result<bool, ParseError> {
        let start = *cursor;
        if self.pattern_relation(cursor, out)? {
            return Ok(true);
        }
        if let Some((source, window, time_column, filter)) = self.window_tvf(cursor)? {
            let mut clauses = self.clauses(cursor)?;
            clauses.window.get_or_insert(window);
            if clauses.filter.is_none() {
                clauses.filter = filter;
            }
            self.finish(source, clauses, Some(time_column), &start, cursor, out);
            return Ok(true);
        }
        let fault = cursor.take(&Token::ExclamationMark);
        let Some(name) = cursor.take_ident() else {
            cursor.jump(&start);
            return Ok(false);
        };
        let (name, inner) = split_inner(name);
        if !fault && !inner && *cursor.peek() == Token::Period {
            if cursor.is_word_at(1, "find") && *cursor.peek_nth(2) == Token::LParen {
                cursor.advance();
                cursor.advance();
                let inside = cursor.expect_group("after find")?;
                let condition = self.expr(inside, "the condition of find")?;
                let source = RelationSource::WindowFind { name, condition };
                let clauses = self.clauses(cursor)?;
                self.finish(source, clauses, None, &start, cursor, out);
                return Ok(true);
            }
            while cursor.take(&Token::Period) {
                cursor.ident("a name after the `.`")?;
            }
            copy(&start, cursor, out);
            return Ok(true);
        }
        if *cursor.peek() == Token::LParen {
            copy(&start, cursor, out);
            return Ok(true);
        }
        let clauses = self.clauses(cursor)?;
        if !fault && !inner && !clauses.are_ours() {
            copy(&start, cursor, out);
            return Ok(true);
        }
        let source = RelationSource::Stream { name, fault, inner };
        self.finish(source, clauses, None, &start, cursor, out);
        Ok(true)
    }

    /// Brackets have closed where a relation was due: a subquery that ours may follow.
    pub(crate) fn subquery_relation(
        &mut self,
        cursor: &mut Cursor<'_>,
        out: &mut Vec<TokenWithSpan>,
        from: usize,
        start: Span,
    ) -> Result<(), ParseError> {
        let after = *cursor;
        let clauses = self.clauses(cursor)?;
        if !clauses.are_ours() {
            cursor.jump(&after);
            return Ok(());
        }
        let mut tokens = out.split_off(from.min(out.len()));
        tokens.pop();
        if !tokens.is_empty() {
            tokens.remove(0);
        }
        let span = after.span_from(start);
        let query = sql::parse(tokens, span, |parser| parser.parse_query())?;
        let span = cursor.span_from(start);
        let (source, alias) = with_match(RelationSource::Subquery(query), &clauses.alias, clauses.match_recognize);
        let relation = StreamRelation {
            source,
            filter: clauses.filter,
            window: clauses.window,
            time_column: None,
            unidirectional: clauses.unidirectional,
            alias: clauses.alias,
            span,
        };
        self.place(relation, alias, out);
        Ok(())
    }

    /// Pushes the relation and its placeholder.
    fn finish(
        &mut self,
        source: RelationSource,
        clauses: Clauses,
        time_column: Option<Expr>,
        start: &Cursor<'_>,
        cursor: &Cursor<'_>,
        out: &mut Vec<TokenWithSpan>,
    ) {
        let (source, alias) = with_match(source, &clauses.alias, clauses.match_recognize);
        let relation = StreamRelation {
            source,
            filter: clauses.filter,
            window: clauses.window,
            time_column,
            unidirectional: clauses.unidirectional,
            alias: clauses.alias,
            span: cursor.span_from(start.span()),
        };
        self.place(relation, alias, out);
    }

    /// Filter, window, alias, UNIDIRECTIONAL and MATCH_RECOGNIZE, each at most once, in any order.
    fn clauses(&mut self, cursor: &mut Cursor<'_>) -> Result<Clauses, ParseError> {
        let mut clauses = Clauses::default();
        loop {
            let place = cursor.span();
            if *cursor.peek() == Token::LBracket {
                let Some(inside) = cursor.group() else { break };
                refuse_second(clauses.filter.is_some(), "filter", place)?;
                clauses.filter = Some(self.expr(inside, "a condition")?);
            } else if window::starts(cursor) {
                refuse_second(clauses.window.is_some(), "window", place)?;
                cursor.advance();
                clauses.window = Some(self.window_spec(cursor, place)?);
            } else if cursor.take_word("UNIDIRECTIONAL") {
                refuse_second(clauses.unidirectional, "UNIDIRECTIONAL", place)?;
                clauses.unidirectional = true;
            } else if cursor.is_word("MATCH_RECOGNIZE") {
                refuse_second(clauses.match_recognize.is_some(), "MATCH_RECOGNIZE", place)?;
                let mut clause = self.match_recognize(cursor)?;
                clause.input_alias = clauses.alias.take();
                clauses.match_recognize = Some(clause);
            } else if clauses.alias.is_none()
                && let Some(alias) = take_alias(cursor)?
            {
                clauses.alias = Some(alias);
            } else {
                break;
            }
        }
        Ok(clauses)
    }
}

/// Wraps the input in its MATCH_RECOGNIZE, and says what the placeholder is called: what the user says, else the
/// stream's own name, so that `S.column` resolves.
fn with_match(
    source: RelationSource,
    alias: &Option<Ident>,
    clause: Option<MatchRecognize>,
) -> (RelationSource, Option<Ident>) {
    if let Some(clause) = clause {
        let source = RelationSource::MatchRecognize {
            input: Box::new(source),
            clause: Box::new(clause),
        };
        return (source, alias.clone());
    }
    let own = match &source {
        RelationSource::Stream { name, inner: true, .. } => Some(Ident {
            value: format!("#{}", name.value),
            ..name.clone()
        }),
        RelationSource::Stream { name, .. } | RelationSource::WindowFind { name, .. } => Some(name.clone()),
        _ => None,
    };
    (source, alias.clone().or(own))
}

/// `#S` unquoted is S, private to the partition.
pub(crate) fn split_inner(name: Ident) -> (Ident, bool) {
    match name.value.strip_prefix('#') {
        Some(rest) if name.quote_style.is_none() && !rest.is_empty() => (
            Ident {
                value: rest.to_string(),
                ..name
            },
            true,
        ),
        _ => (name, false),
    }
}

/// `AS alias`, or a bare word that nothing else can be.
pub(crate) fn take_alias(cursor: &mut Cursor<'_>) -> Result<Option<Ident>, ParseError> {
    if cursor.is_keyword(Keyword::AS) {
        cursor.advance();
        return cursor.ident("an alias after AS").map(Some);
    }
    let free = match cursor.peek() {
        Token::Word(word) => {
            word.quote_style.is_some()
                || !(RESERVED_FOR_TABLE_ALIAS.contains(&word.keyword)
                    || NOT_AN_ALIAS.iter().any(|w| w.eq_ignore_ascii_case(&word.value)))
        }
        _ => false,
    };
    Ok(if free { cursor.take_ident() } else { None })
}

fn refuse_second(twice: bool, what: &str, span: Span) -> Result<(), ParseError> {
    if twice {
        return Err(ParseError::syntax(format!("a relation has at most one {what}"), span));
    }
    Ok(())
}

/// Copies the tokens between two places.
fn copy(start: &Cursor<'_>, end: &Cursor<'_>, out: &mut Vec<TokenWithSpan>) {
    out.extend_from_slice(start.until(end).rest());
}
