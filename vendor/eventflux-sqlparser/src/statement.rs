//! Which statement it is, and where it ends.

use sqlparser::ast::Expr;
use sqlparser::tokenizer::{Span, Token};

use crate::ast::{Statement, StatementKind};
use crate::error::{ParseError, nearest};
use crate::rewrite::Rewriter;
use crate::tokens::{Cursor, Tokens};
use crate::{create, dml, partition, query};

/// Words that start a statement.
const STARTS: &[&str] = &[
    "CREATE",
    "DEFINE",
    "SELECT",
    "FROM",
    "WITH",
    "VALUES",
    "INSERT",
    "UPSERT",
    "UPDATE",
    "DELETE",
    "PARTITION",
    "EXPLAIN",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
];

/// Reads a whole app: statements separated by `;`.
///
/// # Errors
/// The first thing that is wrong, and where.
pub fn parse(text: &str) -> Result<Vec<Statement>, ParseError> {
    let tokens = Tokens::new(text)?;
    let mut cursor = tokens.cursor();
    let mut statements = Vec::new();
    loop {
        while cursor.take(&Token::SemiColon) {}
        if cursor.is_empty() {
            return Ok(statements);
        }
        statements.push(one(&mut cursor, false)?);
    }
}

/// Reads one expression, such as the body of a function or the text of an `expression` window.
///
/// # Errors
/// What is wrong with it, and where; a relation that carries something of ours in a subquery of it is refused.
pub fn parse_expr(text: &str) -> Result<Expr, ParseError> {
    let tokens = Tokens::new(text)?;
    Rewriter::plain_expr(tokens.cursor(), "an expression")
}

/// A statement of a partition's block.
pub(crate) fn in_block(cursor: &mut Cursor<'_>) -> Result<Statement, ParseError> {
    if cursor.is_word("PARTITION") && cursor.is_word_at(1, "WITH") {
        return Err(ParseError::syntax(
            "a partition cannot contain a partition",
            cursor.span(),
        ));
    }
    one(cursor, true)
}

fn one(cursor: &mut Cursor<'_>, block: bool) -> Result<Statement, ParseError> {
    let start = cursor.span();
    if cursor.is_word("PARTITION") {
        cursor.advance();
        let kind = partition::partition(cursor, start)?;
        if !cursor.is_empty() && !cursor.take(&Token::SemiColon) {
            return Err(cursor.expected("`;` after END"));
        }
        let span = match &kind {
            StatementKind::Partition(partition) => partition.span,
            _ => start,
        };
        return Ok(Statement { span, kind });
    }
    let end = end_of(cursor, block);
    let mut part = cursor.until(&end);
    let kind = kind(&mut part, start, true)?;
    if !part.is_empty() {
        return Err(left_over(&part));
    }
    let span = part.span_from(start);
    cursor.jump(&end);
    cursor.take(&Token::SemiColon);
    Ok(Statement { span, kind })
}

/// The `;` of a statement; in a block also an END that closes no CASE.
fn end_of<'t>(cursor: &Cursor<'t>, block: bool) -> Cursor<'t> {
    let mut cases = 0_usize;
    cursor.find(|at| {
        if *at.peek() == Token::SemiColon {
            return true;
        }
        if block && at.is_word("CASE") {
            cases += 1;
        } else if block && at.is_word("END") {
            if cases == 0 {
                return true;
            }
            cases -= 1;
        }
        false
    })
}

fn left_over(part: &Cursor<'_>) -> ParseError {
    let error = part.expected("the end of the statement");
    match part.word() {
        Some(word) if starts_statement(&word.value) => {
            error.with_hint(format!("is a `;` missing before {}?", word.value))
        }
        _ => error,
    }
}

/// Whether a statement may start with this word.
pub(crate) fn starts_statement(word: &str) -> bool {
    STARTS.iter().any(|start| start.eq_ignore_ascii_case(word))
}

fn kind(cursor: &mut Cursor<'_>, start: Span, explainable: bool) -> Result<StatementKind, ParseError> {
    if *cursor.peek() == Token::LParen {
        return query::statement(cursor).map(StatementKind::Query);
    }
    let Some(word) = cursor.word() else {
        return Err(cursor.expected("a statement").with_hint(known_starts()));
    };
    match word.value.to_ascii_uppercase().as_str() {
        "CREATE" => {
            cursor.advance();
            create::create(cursor, start)
        }
        "DEFINE" => {
            cursor.advance();
            create::define(cursor, start)
        }
        "SELECT" | "FROM" | "WITH" | "VALUES" | "INSERT" | "UPSERT" => {
            query::statement(cursor).map(StatementKind::Query)
        }
        "UPDATE" => {
            cursor.advance();
            dml::update(cursor, start)
        }
        "DELETE" => {
            cursor.advance();
            dml::delete(cursor, start)
        }
        "EXPLAIN" if explainable => {
            cursor.advance();
            let inner = cursor.span();
            let kind = kind(cursor, inner, false)?;
            let span = cursor.span_from(inner);
            Ok(StatementKind::Explain(Box::new(Statement { span, kind })))
        }
        "BEGIN" => {
            cursor.advance();
            cursor.take_word("TRANSACTION");
            Ok(StatementKind::Begin)
        }
        "COMMIT" => {
            cursor.advance();
            Ok(StatementKind::Commit)
        }
        "ROLLBACK" => {
            cursor.advance();
            Ok(StatementKind::Rollback)
        }
        "PARTITION" | "EXPLAIN" => Err(cursor.expected("a query to explain")),
        _ => {
            let error = ParseError::syntax(format!("`{}` does not start a statement", word.value), start);
            Err(error.with_hint(match nearest(&word.value, STARTS) {
                Some(start) => format!("did you mean {start}?"),
                None => known_starts(),
            }))
        }
    }
}

fn known_starts() -> String {
    format!("a statement starts with one of {}", STARTS.join(", "))
}
