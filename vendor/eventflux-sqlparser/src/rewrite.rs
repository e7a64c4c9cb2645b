//! Lifting the streaming clauses out of standard SQL.
//!
//! One pass over the tokens follows the clauses of each query, bracket by bracket, without recursion: it knows when a
//! relation is due (after FROM, a comma or JOIN). A relation that carries something of ours becomes a placeholder table,
//! a duration becomes an INTERVAL, and `FROM … SELECT …` is put into standard order. Everything else is copied, spans and
//! all, and sqlparser reads the result.

use sqlparser::ast::{Expr, Ident, Query as SqlQuery};
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Span, Token, TokenWithSpan, Word};

use crate::ast::StreamRelation;
use crate::durations;
use crate::error::ParseError;
use crate::sql;
use crate::tokens::Cursor;

/// The table name that stands for `relations[index]` of a statement.
pub fn relation_name(index: usize) -> String {
    format!("__relation_{index}")
}

/// What a table name made by [`relation_name`] stands for.
pub(crate) fn find_relation<'r>(relations: &'r [StreamRelation], table_name: &str) -> Option<&'r StreamRelation> {
    let index: usize = table_name.strip_prefix("__relation_")?.parse().ok()?;
    relations.get(index)
}

/// Function that stands for RUNNING before a call in MATCH_RECOGNIZE: `RUNNING LAST(x)` is `__running(LAST(x))`.
pub const RUNNING: &str = "__running";

/// Function that stands for FINAL before a call in MATCH_RECOGNIZE: `FINAL LAST(x)` is `__final(LAST(x))`.
pub const FINAL: &str = "__final";

/// Rewrites the parts of one statement and collects its relations.
#[derive(Default)]
pub(crate) struct Rewriter {
    pub(crate) relations: Vec<StreamRelation>,
}

/// Where in a query a bracket's content is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// A query or an expression may begin.
    Fresh,
    /// It is an expression.
    Expr,
    /// Between WITH and the query.
    With,
    /// In the select list.
    Select,
    /// In FROM where a relation is due.
    Relation,
    /// In FROM after a relation.
    From,
    /// In the clauses after FROM.
    Tail,
}

/// One level of brackets.
struct Frame {
    state: State,
    /// FROM has been seen in this query.
    from: bool,
    /// Where FROM and SELECT are in the output, for `FROM … SELECT …`.
    from_first: Option<(usize, Span)>,
    select_after: Option<usize>,
    /// The bracket stands where a relation was due.
    relation: Option<(usize, Span)>,
}

impl Frame {
    fn new(state: State) -> Self {
        Self {
            state,
            from: false,
            from_first: None,
            select_after: None,
            relation: None,
        }
    }

    /// Puts the select list before FROM.
    fn reorder(&mut self, out: &mut [TokenWithSpan]) {
        if let (Some((from, _)), Some(select)) = (self.from_first.take(), self.select_after.take())
            && let Some(part) = out.get_mut(from..)
        {
            part.rotate_left(select - from);
        }
    }
}

impl Rewriter {
    /// An expression.
    pub(crate) fn expr(&mut self, cursor: Cursor<'_>, what: &str) -> Result<Expr, ParseError> {
        if cursor.is_empty() {
            return Err(cursor.expected(what));
        }
        let tokens = self.rewrite(&mut { cursor }, State::Expr, |_| false)?;
        sql::parse(tokens, cursor.span_of_rest(), |parser| parser.parse_expr())
    }

    /// Where nothing can stand for a relation of ours: a subquery here reads plain tables only.
    pub(crate) fn refuse_relations(&self) -> Result<(), ParseError> {
        match self.relations.first() {
            None => Ok(()),
            Some(relation) => Err(ParseError::syntax("only plain tables can be read here", relation.span)),
        }
    }

    /// An expression outside queries.
    pub(crate) fn plain_expr(cursor: Cursor<'_>, what: &str) -> Result<Expr, ParseError> {
        let mut rewriter = Self::default();
        let expr = rewriter.expr(cursor, what)?;
        rewriter.refuse_relations()?;
        Ok(expr)
    }

    /// A duration outside queries.
    pub(crate) fn plain_duration(cursor: Cursor<'_>) -> Result<Expr, ParseError> {
        let mut rewriter = Self::default();
        let expr = rewriter.duration(cursor)?;
        rewriter.refuse_relations()?;
        Ok(expr)
    }

    /// A duration, or an expression for one.
    pub(crate) fn duration(&mut self, cursor: Cursor<'_>) -> Result<Expr, ParseError> {
        durations::check_unit(&cursor)?;
        self.expr(cursor, "a duration such as 5 SECONDS")
    }

    /// A query that ends where `stop` holds outside brackets; the cursor is left there.
    pub(crate) fn query<'t>(
        &mut self,
        cursor: &mut Cursor<'t>,
        stop: impl Fn(&Cursor<'t>) -> bool,
    ) -> Result<Box<SqlQuery>, ParseError> {
        let start = *cursor;
        let tokens = self.rewrite(cursor, State::Fresh, stop)?;
        if tokens.is_empty() {
            return Err(start.expected("a query"));
        }
        sql::parse(tokens, cursor.span_from(start.span()), |parser| parser.parse_query())
    }

    /// Copies tokens up to `stop` or the end, lifting what is ours.
    pub(crate) fn rewrite<'t>(
        &mut self,
        cursor: &mut Cursor<'t>,
        state: State,
        stop: impl Fn(&Cursor<'t>) -> bool,
    ) -> Result<Vec<TokenWithSpan>, ParseError> {
        let mut out: Vec<TokenWithSpan> = Vec::with_capacity(cursor.rest().len().min(1024));
        let mut frames: Vec<Frame> = Vec::new();
        let mut frame = Frame::new(state);
        // Ends of calls after RUNNING and FINAL.
        let mut calls: Vec<usize> = Vec::new();
        while let Some(token) = cursor.raw(0) {
            if frames.is_empty() && stop(cursor) {
                break;
            }
            if let Some(duration) = durations::take(cursor) {
                let interval = matches!(
                    out.last(),
                    Some(TokenWithSpan { token: Token::Word(w), .. }) if w.keyword == Keyword::INTERVAL
                );
                out.extend(duration.tokens(interval));
                continue;
            }
            match &token.token {
                Token::LParen | Token::LBracket | Token::LBrace => {
                    let due = frame.state == State::Relation && token.token == Token::LParen;
                    let mut inner = Frame::new(if due { State::Relation } else { State::Fresh });
                    if due {
                        inner.relation = Some((out.len(), token.span));
                        frame.state = State::From;
                    } else if frame.state == State::Relation {
                        frame.state = State::From;
                    }
                    frames.push(std::mem::replace(&mut frame, inner));
                }
                Token::RParen | Token::RBracket | Token::RBrace => {
                    frame.end(&mut out)?;
                    let closed = match frames.pop() {
                        Some(outer) => std::mem::replace(&mut frame, outer),
                        None => return Err(cursor.expected("the end of the clause")),
                    };
                    if frame.state == State::Fresh {
                        frame.state = State::Expr;
                    }
                    out.push(token.clone());
                    if calls.last() == Some(&cursor.pos()) {
                        calls.pop();
                        out.push(TokenWithSpan {
                            token: Token::RParen,
                            span: token.span,
                        });
                    }
                    cursor.advance();
                    if let Some((start, span)) = closed.relation {
                        self.subquery_relation(cursor, &mut out, start, span)?;
                    }
                    continue;
                }
                Token::Comma if frame.state == State::From => frame.state = State::Relation,
                Token::Word(word) if word.quote_style.is_none() && !after_period(cursor) => {
                    if self.keyword(cursor, word, &mut frame, &mut out, &mut calls)? {
                        continue;
                    }
                }
                _ => {
                    if frame.state == State::Relation {
                        frame.state = State::From;
                        if self.relation(cursor, &mut out)? {
                            continue;
                        }
                    } else if frame.state == State::Fresh {
                        frame.state = State::Expr;
                    }
                }
            }
            out.push(token.clone());
            cursor.advance();
        }
        frame.end(&mut out)?;
        Ok(out)
    }

    /// Follows the clauses. True if the word and more has been dealt with.
    fn keyword(
        &mut self,
        cursor: &mut Cursor<'_>,
        word: &Word,
        frame: &mut Frame,
        out: &mut Vec<TokenWithSpan>,
        calls: &mut Vec<usize>,
    ) -> Result<bool, ParseError> {
        let at_start = matches!(frame.state, State::Fresh | State::With)
            || (frame.state == State::Relation && frame.relation.is_some() && !frame.from);
        match word.keyword {
            Keyword::SELECT if at_start => frame.state = State::Select,
            Keyword::SELECT if frame.from_first.is_some() && frame.select_after.is_none() => {
                frame.select_after = Some(out.len());
                frame.state = State::Select;
            }
            Keyword::WITH if at_start => frame.state = State::With,
            Keyword::VALUES if at_start => frame.state = State::Expr,
            Keyword::FROM if at_start => {
                frame.from_first = Some((out.len(), cursor.span()));
                frame.from = true;
                frame.state = State::Relation;
            }
            Keyword::FROM
                if matches!(frame.state, State::Select | State::Tail) && !frame.from && !after_distinct(cursor) =>
            {
                refuse_trailing_comma(cursor)?;
                frame.from = true;
                frame.state = State::Relation;
            }
            Keyword::LATERAL if frame.state == State::Relation => {}
            _ if frame.state == State::Relation => {
                frame.state = State::From;
                return self.relation(cursor, out);
            }
            Keyword::JOIN | Keyword::APPLY if frame.state == State::From => {
                frame.state = State::Relation;
            }
            Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT
                if !matches!(cursor.previous(), Some(TokenWithSpan { token: Token::Mul, .. })) =>
            {
                frame.end(out)?;
                let relation = frame.relation;
                *frame = Frame::new(State::Fresh);
                frame.relation = relation;
            }
            Keyword::ALL | Keyword::DISTINCT if frame.state == State::Fresh => {}
            Keyword::WHERE
            | Keyword::HAVING
            | Keyword::QUALIFY
            | Keyword::LIMIT
            | Keyword::OFFSET
            | Keyword::FETCH
            | Keyword::WINDOW
                if matches!(frame.state, State::Select | State::From | State::Tail) =>
            {
                frame.reorder_if_complete(out);
                frame.state = State::Tail;
            }
            Keyword::GROUP | Keyword::ORDER
                if matches!(frame.state, State::Select | State::From | State::Tail) && cursor.is_word_at(1, "BY") =>
            {
                frame.reorder_if_complete(out);
                frame.state = State::Tail;
            }
            _ => {
                if frame.state == State::Fresh {
                    frame.state = State::Expr;
                }
                return Ok(wrap_call(cursor, word, out, calls));
            }
        }
        Ok(false)
    }

    /// Emits the placeholder of a relation, called what the user calls it.
    pub(crate) fn place(&mut self, relation: StreamRelation, alias: Option<Ident>, out: &mut Vec<TokenWithSpan>) {
        let span = relation.span;
        let name = relation_name(self.relations.len());
        self.relations.push(relation);
        out.push(TokenWithSpan {
            token: Token::make_word(&name, None),
            span,
        });
        if let Some(alias) = alias {
            out.push(TokenWithSpan {
                token: Token::make_keyword("AS"),
                span: alias.span,
            });
            let word = Word {
                value: alias.value,
                quote_style: alias.quote_style,
                keyword: Keyword::NoKeyword,
            };
            out.push(TokenWithSpan {
                token: Token::Word(word),
                span: alias.span,
            });
        }
    }
}

impl Frame {
    /// The query has ended.
    fn end(&mut self, out: &mut [TokenWithSpan]) -> Result<(), ParseError> {
        if let (Some((_, span)), None) = (self.from_first, self.select_after) {
            return Err(ParseError::syntax("FROM is not followed by SELECT", span)
                .with_hint("write FROM S SELECT … or SELECT … FROM S"));
        }
        self.reorder(out);
        Ok(())
    }

    /// The select list has ended, if this is the clause after it.
    fn reorder_if_complete(&mut self, out: &mut [TokenWithSpan]) {
        if self.select_after.is_some() {
            self.reorder(out);
        }
    }
}

/// `RUNNING LAST(x)` → `__running(LAST(x))`.
fn wrap_call(cursor: &mut Cursor<'_>, word: &Word, out: &mut Vec<TokenWithSpan>, calls: &mut Vec<usize>) -> bool {
    let name = if word.value.eq_ignore_ascii_case("RUNNING") {
        RUNNING
    } else if word.value.eq_ignore_ascii_case("FINAL") {
        FINAL
    } else {
        return false;
    };
    if cursor.word_at(1).is_none() || *cursor.peek_nth(2) != Token::LParen {
        return false;
    }
    let span = cursor.span();
    cursor.advance();
    let mut call = *cursor;
    call.advance();
    call.skip();
    out.push(TokenWithSpan {
        token: Token::make_word(name, None),
        span,
    });
    out.push(TokenWithSpan {
        token: Token::LParen,
        span,
    });
    calls.push(call.pos() - 1);
    true
}

/// `SELECT a, FROM`.
fn refuse_trailing_comma(cursor: &Cursor<'_>) -> Result<(), ParseError> {
    match cursor.previous() {
        Some(TokenWithSpan {
            token: Token::Comma,
            span,
        }) => Err(ParseError::syntax("nothing follows the comma before FROM", *span)
            .with_hint("remove the comma, or name another column")),
        _ => Ok(()),
    }
}

fn after_period(cursor: &Cursor<'_>) -> bool {
    matches!(
        cursor.previous(),
        Some(TokenWithSpan {
            token: Token::Period,
            ..
        })
    )
}

/// `IS [NOT] DISTINCT FROM`.
pub(crate) fn after_distinct(cursor: &Cursor<'_>) -> bool {
    matches!(
        cursor.previous(),
        Some(TokenWithSpan { token: Token::Word(word), .. }) if word.keyword == Keyword::DISTINCT
    )
}
