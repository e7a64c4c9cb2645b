//! The way into sqlparser: limits before it, true spans after it.

use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan};

use crate::dialect::EventFluxDialect;
use crate::error::ParseError;
use crate::hints;
use crate::limits::{MAX_ATTEMPTS_PER_TOKEN, MAX_NAME_PARTS, MAX_OPERATORS, MAX_RECURSION, MAX_TYPE_NESTING};

/// Lets sqlparser read all of `tokens`. `span` is where they stand, for errors at their end.
pub(crate) fn parse<T>(
    tokens: Vec<TokenWithSpan>,
    span: Span,
    read: impl FnOnce(&mut Parser) -> Result<T, ParserError>,
) -> Result<T, ParseError> {
    check_limits(&tokens)?;
    let fuel = tokens
        .len()
        .saturating_mul(MAX_ATTEMPTS_PER_TOKEN)
        .saturating_add(1_000);
    let dialect = EventFluxDialect::with_fuel(fuel);
    let mut parser = Parser::new(&dialect)
        .with_recursion_limit(MAX_RECURSION)
        .with_tokens_with_locations(tokens);
    let outcome = read(&mut parser).and_then(|value| match parser.peek_token_ref() {
        TokenWithSpan { token: Token::EOF, .. } => Ok(value),
        found => parser.expected_ref("the end of the clause", found),
    });
    outcome.map_err(|error| match error {
        ParserError::RecursionLimitExceeded if dialect.exhausted() => ParseError::limit(
            "this is too ambiguous to parse: too many readings have to be tried",
            span,
        )
        .with_hint("nest fewer calls, casts and subqueries inside one another"),
        ParserError::RecursionLimitExceeded => {
            ParseError::limit(format!("this is nested more than {MAX_RECURSION} deep"), span)
        }
        ParserError::ParserError(message) | ParserError::TokenizerError(message) => {
            located(&message, &parser.into_tokens(), span)
        }
    })
}

/// sqlparser says where in words: `… at Line: 1, Column: 5`. An error at the end has no place.
fn located(message: &str, tokens: &[TokenWithSpan], span: Span) -> ParseError {
    let (text, at) = split_location(message);
    let index = at.and_then(|at| tokens.iter().position(|token| token.span.start == at));
    let place = match (index, at) {
        (Some(index), _) => tokens[index].span,
        (None, Some(at)) => Span::new(at, at),
        (None, None) => Span::new(span.end, span.end),
    };
    let text = match text.strip_prefix("Expected: ") {
        Some(rest) => match rest.split_once(", found: ") {
            Some((wanted, "EOF")) => format!("expected {wanted}, found the end"),
            Some((wanted, found)) => format!("expected {wanted}, found `{found}`"),
            None => format!("expected {rest}"),
        },
        None => text.to_string(),
    };
    let error = ParseError::syntax(text, place);
    match hints::for_tokens(tokens, index.unwrap_or(tokens.len())) {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

fn split_location(message: &str) -> (&str, Option<Location>) {
    let Some((text, place)) = message.rsplit_once(" at Line: ") else {
        return (message, None);
    };
    let Some((line, column)) = place.split_once(", Column: ") else {
        return (message, None);
    };
    match (line.parse(), column.parse()) {
        (Ok(line), Ok(column)) => (text, Some(Location { line, column })),
        _ => (message, None),
    }
}

/// What is open at one level of brackets.
#[derive(Default)]
struct Level {
    /// AND and OR since the last separator: each is a level of the tree.
    logical: usize,
    /// Other operators since the last AND or OR, and the most there were between two.
    operators: usize,
    most: usize,
    /// The deepest bracket since the last separator.
    inner: usize,
}

impl Level {
    fn depth(&self) -> usize {
        self.logical + self.most.max(self.operators) + self.inner + 1
    }
}

/// Refuses what would make the tree too deep to walk, or sqlparser too slow.
fn check_limits(tokens: &[TokenWithSpan]) -> Result<(), ParseError> {
    let mut levels = vec![Level::default()];
    let mut name_parts = 0;
    let mut generics = 0_usize;
    let mut previous = &Token::EOF;
    for token in tokens {
        let too_deep = || {
            ParseError::limit(
                format!("an expression has at most {MAX_OPERATORS} operators one above another"),
                token.span,
            )
            .with_hint("use IN (…) for a list of values, or split the expression")
        };
        if token.token == Token::Period {
            name_parts += 1;
            if name_parts >= MAX_NAME_PARTS {
                return Err(ParseError::limit(
                    format!("a name has at most {MAX_NAME_PARTS} parts"),
                    token.span,
                ));
            }
        } else if !matches!(token.token, Token::Word(_)) || !matches!(previous, Token::Period) {
            name_parts = 0;
        }
        generics = match (&token.token, previous) {
            (Token::Lt, Token::Word(_)) => generics + 1,
            (Token::Lt | Token::Gt | Token::ShiftRight | Token::Word(_) | Token::Comma, _) => generics,
            _ => 0,
        };
        if generics > MAX_TYPE_NESTING {
            return Err(ParseError::limit(
                format!("types are nested more than {MAX_TYPE_NESTING} deep"),
                token.span,
            ));
        }
        match &token.token {
            Token::LParen | Token::LBracket | Token::LBrace => levels.push(Level::default()),
            Token::RParen | Token::RBracket | Token::RBrace => {
                if levels.len() > 1
                    && let Some(closed) = levels.pop()
                    && let Some(level) = levels.last_mut()
                {
                    level.inner = level.inner.max(closed.depth());
                }
            }
            other => {
                if let Some(level) = levels.last_mut() {
                    count(level, other);
                }
            }
        }
        if levels.last().is_some_and(|level| level.depth() > MAX_OPERATORS) {
            return Err(too_deep());
        }
        previous = &token.token;
    }
    Ok(())
}

fn count(level: &mut Level, token: &Token) {
    match token {
        // What comes next is a tree of its own; how deep the former was still counts for brackets around both.
        Token::Comma => {
            level.inner = level.inner.max(level.depth().saturating_sub(1));
            level.logical = 0;
            level.operators = 0;
            level.most = 0;
        }
        Token::Word(word) if word.quote_style.is_none() => match word.keyword {
            Keyword::AND | Keyword::OR | Keyword::XOR => {
                level.logical += 1;
                level.most = level.most.max(level.operators);
                level.operators = 0;
            }
            Keyword::NOT
            | Keyword::IS
            | Keyword::IN
            | Keyword::LIKE
            | Keyword::ILIKE
            | Keyword::BETWEEN
            | Keyword::DIV
            | Keyword::COLLATE
            | Keyword::AT
            | Keyword::WHEN
            | Keyword::UNION
            | Keyword::EXCEPT
            | Keyword::INTERSECT
            | Keyword::SIMILAR
            | Keyword::RLIKE
            | Keyword::REGEXP
            | Keyword::MATCH
            | Keyword::MEMBER
            | Keyword::OVERLAPS
            | Keyword::OPERATOR
            | Keyword::NOTNULL => level.operators += 1,
            _ => {}
        },
        Token::Word(_) | Token::Number(..) | Token::SingleQuotedString(_) | Token::Period | Token::EOF => {}
        _ => level.operators += 1,
    }
}
