//! Queries: the target before or after, and the clauses that follow standard SQL.

use sqlparser::ast::Ident;
use sqlparser::tokenizer::{Span, Token};

use crate::ast::{
    ConflictAction, Emit, EmitKind, InsertMode, InsertTarget, OnConflict, OutputEvents, OutputEvery, OutputKind,
    OutputRate, Query, SinkClause, StreamRelation,
};
use crate::columns::ident_list;
use crate::create::events;
use crate::dml;
use crate::error::ParseError;
use crate::options::options;
use crate::relation::split_inner;
use crate::rewrite::{Rewriter, find_relation};
use crate::tokens::Cursor;

impl Query {
    /// What a table of the body stands for, if [`crate::relation_name`] made its name.
    pub fn relation(&self, table_name: &str) -> Option<&StreamRelation> {
        find_relation(&self.relations, table_name)
    }
}

/// Everything a query has outside its body.
#[derive(Default)]
struct Trailing {
    emit: Option<Emit>,
    output: Option<OutputRate>,
    sink: Option<SinkClause>,
    on_conflict: Option<OnConflict>,
    target: Option<InsertTarget>,
}

/// A statement that starts with INSERT, UPSERT, SELECT, WITH, FROM, VALUES or a parenthesis.
pub(crate) fn statement(cursor: &mut Cursor<'_>) -> Result<Query, ParseError> {
    let start = cursor.span();
    let mut rewriter = Rewriter::default();
    let target = if starts_target(cursor) {
        Some(target(cursor)?)
    } else {
        None
    };
    if cursor.is_word("WITH") {
        let at = cursor.find(|c| starts_target(c) || c.is_word("SELECT") || c.is_word("FROM"));
        if starts_target(&at) && target.is_none() {
            return Err(ParseError::syntax("the target stands after WITH", at.span())
                .with_hint("write INSERT INTO name WITH … SELECT …, or INSERT INTO name at the end"));
        }
    }
    if target.is_some() && cursor.is_empty() {
        return Err(cursor.expected("SELECT, FROM or VALUES after the target"));
    }
    finish(cursor, start, target, &mut rewriter)
}

/// The query of a view or aggregation.
pub(crate) fn without_target(cursor: &mut Cursor<'_>, owner: &str) -> Result<Query, ParseError> {
    let query = statement(cursor)?;
    match &query.target {
        None => Ok(query),
        Some(target) => Err(ParseError::syntax(format!("{owner} has no INSERT INTO"), target.span)),
    }
}

/// After `UPDATE OR INSERT INTO`: `T SELECT … [SET …] ON cond`.
pub(crate) fn update_or_insert(cursor: &mut Cursor<'_>, start: Span) -> Result<Query, ParseError> {
    let name = cursor.ident("the table to update")?;
    let columns = column_names(cursor)?;
    let target_span = cursor.span_from(start);
    let mut rewriter = Rewriter::default();
    // The last ON outside brackets is the statement's, and SET may stand before it.
    let mut on = None;
    let mut set = None;
    let mut at = *cursor;
    while !at.is_empty() {
        if at.is_word("ON") {
            on = Some(at);
        } else if at.is_word("SET") {
            set = Some(at);
        }
        at.skip();
    }
    let Some(mut on) = on else {
        return Err(at
            .expected("ON and a condition at the end of UPDATE OR INSERT")
            .with_hint(format!("such as ON {}.id = id", name.value)));
    };
    let set = set.filter(|set| set.pos() < on.pos());
    let mut part = cursor.until(set.as_ref().unwrap_or(&on));
    let query = finish(&mut part, start, None, &mut rewriter)?;
    part.expect_end("the query")?;
    let assignments = match set {
        Some(mut set) => {
            set.advance();
            dml::assignments(set.until(&on), &mut rewriter)?
        }
        None => Vec::new(),
    };
    on.advance();
    let condition = rewriter.expr(on, "the condition that finds the rows")?;
    let end = on.find(Cursor::is_empty);
    cursor.jump(&end);
    let target = InsertTarget {
        name,
        inner: false,
        columns,
        events: OutputEvents::Current,
        mode: InsertMode::UpdateOrInsert {
            set: assignments,
            on: condition,
        },
        on_conflict: None,
        span: target_span,
    };
    Ok(Query {
        target: Some(target),
        relations: rewriter.relations,
        span: cursor.span_from(start),
        ..query
    })
}

fn finish(
    cursor: &mut Cursor<'_>,
    start: Span,
    target: Option<InsertTarget>,
    rewriter: &mut Rewriter,
) -> Result<Query, ParseError> {
    let body = rewriter.query(cursor, starts_trailing)?;
    let trailing = trailing(cursor, rewriter)?;
    let mut target = match (target, trailing.target) {
        (Some(_), Some(second)) => {
            return Err(second_target(&second, start));
        }
        (first, second) => first.or(second),
    };
    if let Some(on_conflict) = trailing.on_conflict {
        let Some(target) = &mut target else {
            return Err(ParseError::syntax("ON CONFLICT needs an INSERT INTO", on_conflict.span));
        };
        target.on_conflict = Some(on_conflict);
    }
    Ok(Query {
        target,
        body,
        relations: std::mem::take(&mut rewriter.relations),
        emit: trailing.emit,
        output: trailing.output,
        sink: trailing.sink,
        span: cursor.span_from(start),
    })
}

fn second_target(second: &InsertTarget, first: Span) -> ParseError {
    let at = first.start;
    ParseError::syntax("the query already has a target", second.span).with_hint(format!(
        "the first one is at line {}, column {}; INSERT INTO stands before SELECT or at the end, once",
        at.line, at.column
    ))
}

/// Whether a target starts here.
fn starts_target(cursor: &Cursor<'_>) -> bool {
    cursor.is_word("INSERT") || cursor.is_words(&["UPSERT", "INTO"])
}

/// Whether standard SQL ends here. Two words each, so that a column may be called `emit` or `output`.
fn starts_trailing(cursor: &Cursor<'_>) -> bool {
    let next = |words: &[&str]| words.iter().any(|word| cursor.is_word_at(1, word));
    let Some(word) = cursor.word() else { return false };
    match word.value.to_ascii_uppercase().as_str() {
        "EMIT" => next(&["CHANGES", "FINAL"]),
        "OUTPUT" => next(&["EVERY"]) || (next(&["ALL", "FIRST", "LAST", "SNAPSHOT"]) && cursor.is_word_at(2, "EVERY")),
        "INSERT" => next(&["INTO", "ALL", "CURRENT", "EXPIRED"]),
        "UPSERT" => next(&["INTO"]),
        "SINK" => *cursor.peek_nth(1) == Token::LParen && follows_value(cursor),
        "ON" => next(&["CONFLICT"]),
        _ => false,
    }
}

/// `SINK (` is a function call in a select list unless something complete stands before it.
fn follows_value(cursor: &Cursor<'_>) -> bool {
    match cursor.previous().map(|token| &token.token) {
        Some(Token::Word(word)) => !["SELECT", "DISTINCT", "AND", "OR", "NOT", "WHERE", "HAVING", "BY", "ON"]
            .iter()
            .any(|w| word.quote_style.is_none() && w.eq_ignore_ascii_case(&word.value)),
        Some(Token::Number(..) | Token::SingleQuotedString(_) | Token::RParen | Token::RBracket | Token::Mul) => true,
        _ => false,
    }
}

fn trailing(cursor: &mut Cursor<'_>, rewriter: &mut Rewriter) -> Result<Trailing, ParseError> {
    let mut found = Trailing::default();
    while starts_trailing(cursor) {
        let start = cursor.span();
        let twice = if cursor.is_word("EMIT") {
            cursor.advance();
            let kind = if cursor.is_word("CHANGES") {
                EmitKind::Changes
            } else {
                EmitKind::Final
            };
            cursor.advance();
            found
                .emit
                .replace(Emit {
                    kind,
                    span: cursor.span_from(start),
                })
                .is_some()
        } else if cursor.is_word("OUTPUT") {
            let rate = output_rate(cursor, rewriter)?;
            found.output.replace(rate).is_some()
        } else if cursor.take_word("SINK") {
            let options = options(cursor, "after SINK")?;
            let span = cursor.span_from(start);
            found.sink.replace(SinkClause { options, span }).is_some()
        } else if cursor.is_word("ON") {
            let clause = on_conflict(cursor, rewriter)?;
            found.on_conflict.replace(clause).is_some()
        } else {
            let target = target(cursor)?;
            if let Some(first) = found.target.replace(target.clone()) {
                return Err(second_target(&target, first.span));
            }
            false
        };
        if twice {
            return Err(ParseError::syntax(
                "this clause is there twice",
                cursor.span_from(start),
            ));
        }
    }
    cursor.expect_end("the query")?;
    Ok(found)
}

/// `INSERT [… EVENTS] INTO name [(columns)]` or `UPSERT INTO …`.
fn target(cursor: &mut Cursor<'_>) -> Result<InsertTarget, ParseError> {
    let start = cursor.span();
    let mode = if cursor.take_word("UPSERT") {
        InsertMode::Upsert
    } else {
        cursor.expect_word("INSERT", "")?;
        InsertMode::Insert
    };
    let events = match events(cursor) {
        Some(events) => {
            if !cursor.take_word("EVENTS") {
                cursor.expect_word("EVENTS", "before INTO")?;
            }
            events
        }
        None => OutputEvents::Current,
    };
    cursor.expect_word("INTO", "before the target")?;
    let name = match cursor.word() {
        Some(word)
            if ["SELECT", "FROM", "VALUES", "WITH"]
                .iter()
                .any(|w| w.eq_ignore_ascii_case(&word.value)) =>
        {
            return Err(cursor
                .expected("the name of a stream, table or window after INTO")
                .with_hint("INSERT INTO name SELECT …"));
        }
        _ => cursor.ident("the name of a stream, table or window after INTO")?,
    };
    let (name, inner) = split_inner(name);
    let columns = column_names(cursor)?;
    Ok(InsertTarget {
        name,
        inner,
        columns,
        events,
        mode,
        on_conflict: None,
        span: cursor.span_from(start),
    })
}

/// `(a, b)` after a target; a parenthesised query is not one.
fn column_names(cursor: &mut Cursor<'_>) -> Result<Vec<Ident>, ParseError> {
    let query = ["SELECT", "WITH", "FROM", "VALUES"]
        .iter()
        .any(|w| cursor.is_word_at(1, w))
        || *cursor.peek_nth(1) == Token::LParen;
    if *cursor.peek() == Token::LParen && !query {
        return ident_list(cursor, "a column");
    }
    Ok(Vec::new())
}

fn output_rate(cursor: &mut Cursor<'_>, rewriter: &mut Rewriter) -> Result<OutputRate, ParseError> {
    let start = cursor.span();
    cursor.advance();
    let kinds = [
        ("ALL", OutputKind::All),
        ("FIRST", OutputKind::First),
        ("LAST", OutputKind::Last),
        ("SNAPSHOT", OutputKind::Snapshot),
    ];
    let kind = kinds
        .into_iter()
        .find(|(word, _)| cursor.take_word(word))
        .map_or(OutputKind::All, |(_, kind)| kind);
    cursor.expect_word("EVERY", "in OUTPUT")?;
    if cursor.is_word_at(1, "EVENTS") || cursor.is_word_at(1, "EVENT") {
        let count = cursor.count("a number of events")?;
        cursor.advance();
        let every = OutputEvery::Events(count);
        return Ok(OutputRate {
            kind,
            every,
            span: cursor.span_from(start),
        });
    }
    let end = cursor.find(starts_trailing);
    let every = rewriter
        .duration(cursor.until(&end))
        .map_err(|error| match error.hint {
            Some(_) => error,
            None => error.with_hint("OUTPUT EVERY 5 EVENTS or OUTPUT EVERY 5 SECONDS"),
        })?;
    cursor.jump(&end);
    Ok(OutputRate {
        kind,
        every: OutputEvery::Time(every),
        span: cursor.span_from(start),
    })
}

fn on_conflict(cursor: &mut Cursor<'_>, rewriter: &mut Rewriter) -> Result<OnConflict, ParseError> {
    let start = cursor.span();
    cursor.take_words(&["ON", "CONFLICT"]);
    let columns = match cursor.peek() {
        Token::LParen => ident_list(cursor, "a column of the key")?,
        _ => Vec::new(),
    };
    cursor.expect_word("DO", "after ON CONFLICT")?;
    let action = if cursor.take_word("NOTHING") {
        ConflictAction::Nothing
    } else if cursor.take_words(&["UPDATE", "SET"]) {
        let end = cursor.find(starts_trailing);
        let part = cursor.until(&end);
        let selection = part.find(|c| c.is_word("WHERE"));
        let set = dml::assignments(part.until(&selection), rewriter)?;
        let selection = dml::selection(selection, rewriter)?;
        cursor.jump(&end);
        ConflictAction::Update { set, selection }
    } else {
        return Err(cursor.expected("NOTHING or UPDATE SET after DO"));
    };
    Ok(OnConflict {
        columns,
        action,
        span: cursor.span_from(start),
    })
}
