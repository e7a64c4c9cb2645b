//! UPDATE and DELETE.

use sqlparser::ast::{Expr, TableWithJoins};
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Span, Token};

use crate::ast::StreamRelation;
use crate::ast::{Assignment, Delete, StatementKind, Update};
use crate::error::ParseError;
use crate::query;
use crate::relation::take_alias;
use crate::rewrite::{Rewriter, State, after_distinct, find_relation};
use crate::sql;
use crate::tokens::Cursor;

impl Update {
    /// What a table of the statement stands for, if [`crate::relation_name`] made its name.
    pub fn relation(&self, table_name: &str) -> Option<&StreamRelation> {
        find_relation(&self.relations, table_name)
    }
}

impl Delete {
    /// What a table of the statement stands for, if [`crate::relation_name`] made its name.
    pub fn relation(&self, table_name: &str) -> Option<&StreamRelation> {
        find_relation(&self.relations, table_name)
    }
}

/// After UPDATE.
pub(crate) fn update(cursor: &mut Cursor<'_>, start: Span) -> Result<StatementKind, ParseError> {
    if cursor.take_words(&["OR", "INSERT", "INTO"]) {
        return query::update_or_insert(cursor, start).map(StatementKind::Query);
    }
    let table = cursor.ident("the table to update")?;
    let alias = if cursor.is_word("SET") {
        None
    } else {
        take_alias(cursor)?
    };
    cursor.expect_word("SET", "after the table")?;
    let mut rewriter = Rewriter::default();
    let from = cursor.find(|c| (c.is_word("FROM") && !after_distinct(c)) || c.is_word("WHERE"));
    let selection = from.find(|c| c.is_word("WHERE"));
    let set = assignments(cursor.until(&from), &mut rewriter)?;
    let from = relations(from.until(&selection), &mut rewriter)?;
    let selection = to_the_end(cursor, selection, &mut rewriter)?;
    Ok(StatementKind::Update(Update {
        table,
        alias,
        set,
        from,
        selection,
        relations: rewriter.relations,
        span: cursor.span_from(start),
    }))
}

/// After DELETE.
pub(crate) fn delete(cursor: &mut Cursor<'_>, start: Span) -> Result<StatementKind, ParseError> {
    cursor.expect_word("FROM", "after DELETE")?;
    let table = cursor.ident("the table to delete from")?;
    let alias = take_alias(cursor)?;
    let using = *cursor;
    if !cursor.is_empty() && !cursor.is_word("USING") && !cursor.is_word("WHERE") {
        return Err(cursor.expected("USING, WHERE or the end of the statement"));
    }
    let mut rewriter = Rewriter::default();
    let selection = using.find(|c| c.is_word("WHERE"));
    let using = relations(using.until(&selection), &mut rewriter)?;
    let selection = to_the_end(cursor, selection, &mut rewriter)?;
    Ok(StatementKind::Delete(Delete {
        table,
        alias,
        using,
        selection,
        relations: rewriter.relations,
        span: cursor.span_from(start),
    }))
}

/// `column = expr, …` to the end of the part.
pub(crate) fn assignments(part: Cursor<'_>, rewriter: &mut Rewriter) -> Result<Vec<Assignment>, ParseError> {
    if part.is_empty() {
        return Err(part.expected("column = value after SET"));
    }
    part.split_commas()
        .into_iter()
        .map(|part| assignment(part, rewriter))
        .collect()
}

fn assignment(part: Cursor<'_>, rewriter: &mut Rewriter) -> Result<Assignment, ParseError> {
    let span = part.span_of_rest();
    let mut part = part;
    let mut column = part.ident("a column to set")?;
    let mut table = None;
    if part.take(&Token::Period) {
        table = Some(std::mem::replace(&mut column, part.ident("a column to set")?));
    }
    part.expect(&Token::Eq, "after the column")?;
    let value = rewriter.expr(part, "a value")?;
    Ok(Assignment {
        column,
        table,
        value,
        span,
    })
}

/// `WHERE cond` or nothing.
pub(crate) fn selection(part: Cursor<'_>, rewriter: &mut Rewriter) -> Result<Option<Expr>, ParseError> {
    let mut part = part;
    if part.is_empty() {
        return Ok(None);
    }
    part.expect_word("WHERE", "before the condition")?;
    rewriter.expr(part, "a condition").map(Some)
}

fn to_the_end<'t>(
    cursor: &mut Cursor<'t>,
    part: Cursor<'t>,
    rewriter: &mut Rewriter,
) -> Result<Option<Expr>, ParseError> {
    let selection = selection(part, rewriter)?;
    let end = part.find(Cursor::is_empty);
    cursor.jump(&end);
    Ok(selection)
}

/// `FROM` or `USING` and its relations, or nothing.
fn relations(part: Cursor<'_>, rewriter: &mut Rewriter) -> Result<Vec<TableWithJoins>, ParseError> {
    let mut part = part;
    if part.is_empty() {
        return Ok(Vec::new());
    }
    part.advance();
    if part.is_empty() {
        return Err(part.expected("a relation"));
    }
    let span = part.span_of_rest();
    let tokens = rewriter.rewrite(&mut part, State::Relation, |_| false)?;
    sql::parse(tokens, span, |parser| {
        parser.parse_comma_separated(Parser::parse_table_and_joins)
    })
}
