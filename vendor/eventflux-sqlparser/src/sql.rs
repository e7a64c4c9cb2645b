//! The way into sqlparser: limits before it, true spans after it.

use std::thread;

use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan};

use crate::dialect::EventFluxDialect;
use crate::error::ParseError;
use crate::hints;
use crate::limits::{MAX_ATTEMPTS_PER_TOKEN, MAX_NAME_PARTS, MAX_OPERATORS, MAX_RECURSION, MAX_TYPE_NESTING};

/// Lets sqlparser read all of `tokens`. `span` is where they stand, for errors at their end.
///
/// sqlparser needs much stack for each level of nesting (in a debug build a hundred kilobytes), and the caller may have
/// little left. What is nested deeper than usual is therefore read on a thread with a stack of its own.
pub(crate) fn parse<T: Send>(
    tokens: Vec<TokenWithSpan>,
    span: Span,
    read: impl FnOnce(&mut Parser) -> Result<T, ParserError> + Send,
) -> Result<T, ParseError> {
    if check_limits(&tokens)? <= SHALLOW {
        return parse_here(tokens, span, read);
    }
    let no_stack = || ParseError::limit("there is no memory to read something nested this deep", span);
    thread::scope(|scope| {
        thread::Builder::new()
            .stack_size(DEEP_STACK)
            .spawn_scoped(scope, || parse_here(tokens, span, read))
            .map_err(|_| no_stack())?
            .join()
            .map_err(|_| no_stack())?
    })
}

/// Nesting that a caller's stack of two megabytes always has room for.
const SHALLOW: usize = 8;

/// Room for [`MAX_RECURSION`] levels; what is not touched costs nothing.
const DEEP_STACK: usize = 32 << 20;

fn parse_here<T>(
    tokens: Vec<TokenWithSpan>,
    span: Span,
    read: impl FnOnce(&mut Parser) -> Result<T, ParserError>,
) -> Result<T, ParseError> {
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
        // At the end sqlparser cannot say what ends there.
        Some(rest) => match rest.split_once(", found: ") {
            Some(("identifier", "EOF")) => "expected a name, found the end".to_string(),
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

/// What is known of one level of brackets, or of one CASE.
#[derive(Default)]
struct Level {
    /// It is a CASE, which END closes.
    case: bool,
    /// AND and OR in the current expression: each is a level of its tree.
    logical: usize,
    /// Other operators since the last AND or OR, and the most there were between two.
    operators: usize,
    most: usize,
    /// The deepest bracket in the current expression.
    inner: usize,
    /// The deepest of the expressions before.
    finished: usize,
    /// UNION, EXCEPT and INTERSECT: each is above all before it.
    set_operators: usize,
}

impl Level {
    fn depth(&self) -> usize {
        let current = self.logical + self.most.max(self.operators) + self.inner;
        self.set_operators + self.finished.max(current) + 1
    }

    /// What comes next is a tree of its own.
    fn separate(&mut self) {
        let current = self.logical + self.most.max(self.operators) + self.inner;
        self.finished = self.finished.max(current);
        self.logical = 0;
        self.operators = 0;
        self.most = 0;
        self.inner = 0;
    }
}

/// Refuses what would make the tree too deep to walk, or sqlparser too slow; says how deep the nesting is.
fn check_limits(tokens: &[TokenWithSpan]) -> Result<usize, ParseError> {
    let mut levels = vec![Level::default()];
    let mut name_parts = 0;
    let mut generics = 0_usize;
    let mut prefixes = 0_usize;
    let mut nesting = 0;
    let mut previous = &Token::EOF;
    for TokenWithSpan { token, span } in tokens {
        if *token == Token::Period {
            name_parts += 1;
            if name_parts >= MAX_NAME_PARTS {
                let message = format!("a name has at most {MAX_NAME_PARTS} parts");
                return Err(ParseError::limit(message, *span));
            }
        } else if !matches!(token, Token::Word(_)) || !matches!(previous, Token::Period) {
            name_parts = 0;
        }
        // The one prefix that sqlparser follows without counting how deep it is.
        if is_interval(token) && is_interval(previous) {
            return Err(
                ParseError::syntax("INTERVAL is followed by INTERVAL", *span).with_hint("such as INTERVAL '5' MINUTE")
            );
        }
        generics = match (token, previous) {
            (Token::Lt, Token::Word(word)) if is_generic(word.keyword) => generics + 1,
            (Token::LParen, Token::Word(word)) if wraps_type(word.keyword) => generics + 1,
            (Token::Gt, _) => generics.saturating_sub(1),
            (Token::ShiftRight, _) => generics.saturating_sub(2),
            (Token::Eq | Token::Neq | Token::Plus | Token::Minus | Token::Div, _) => 0,
            _ => generics,
        };
        if generics > MAX_TYPE_NESTING {
            let message = format!("types are nested more than {MAX_TYPE_NESTING} deep");
            return Err(ParseError::limit(message, *span));
        }
        prefixes = if is_prefix(token) { prefixes + 1 } else { 0 };
        count(&mut levels, token);
        nesting = nesting.max(levels.len() + generics + prefixes);
        if levels.last().is_some_and(|level| level.depth() > MAX_OPERATORS) {
            return Err(ParseError::limit(
                format!("an expression has at most {MAX_OPERATORS} operators one above another"),
                *span,
            )
            .with_hint("use IN (…) for a list of values, or split the expression"));
        }
        previous = token;
    }
    Ok(nesting)
}

/// Types that take types between `<` and `>`.
fn is_generic(keyword: Keyword) -> bool {
    matches!(keyword, Keyword::ARRAY | Keyword::STRUCT | Keyword::MAP)
}

/// Types of other systems that sqlparser knows to take types between parentheses.
fn wraps_type(keyword: Keyword) -> bool {
    matches!(
        keyword,
        Keyword::TUPLE | Keyword::NESTED | Keyword::NULLABLE | Keyword::LOWCARDINALITY
    )
}

/// What sqlparser goes one level down for without a bracket.
fn is_prefix(token: &Token) -> bool {
    match token {
        Token::Word(word) => matches!(word.keyword, Keyword::NOT | Keyword::PRIOR | Keyword::EXISTS),
        Token::Plus | Token::Minus | Token::Tilde | Token::ExclamationMark => true,
        _ => false,
    }
}

fn is_interval(token: &Token) -> bool {
    matches!(token, Token::Word(word) if word.keyword == Keyword::INTERVAL)
}

/// Closes the innermost level into the one around it.
fn close(levels: &mut Vec<Level>) {
    if levels.len() > 1
        && let Some(closed) = levels.pop()
        && let Some(level) = levels.last_mut()
    {
        level.inner = level.inner.max(closed.depth());
    }
}

fn count(levels: &mut Vec<Level>, token: &Token) {
    match token {
        Token::LParen | Token::LBracket | Token::LBrace => levels.push(Level::default()),
        Token::RParen | Token::RBracket | Token::RBrace => {
            while levels.last().is_some_and(|level| level.case) {
                close(levels);
            }
            close(levels);
        }
        Token::Word(word) if word.quote_style.is_none() => count_word(levels, word.keyword),
        Token::Word(_) | Token::Number(..) | Token::SingleQuotedString(_) | Token::Period | Token::EOF => {}
        _ => {
            if let Some(level) = levels.last_mut() {
                match token {
                    Token::Comma => level.separate(),
                    _ => level.operators += 1,
                }
            }
        }
    }
}

fn count_word(levels: &mut Vec<Level>, keyword: Keyword) {
    if keyword == Keyword::CASE {
        levels.push(Level {
            case: true,
            ..Level::default()
        });
    }
    let Some(level) = levels.last_mut() else { return };
    match keyword {
        Keyword::END if level.case => close(levels),
        Keyword::WHEN
        | Keyword::THEN
        | Keyword::ELSE
        | Keyword::SELECT
        | Keyword::FROM
        | Keyword::WHERE
        | Keyword::GROUP
        | Keyword::HAVING
        | Keyword::ORDER
        | Keyword::JOIN
        | Keyword::ON
        | Keyword::SET => level.separate(),
        Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT => {
            level.separate();
            level.set_operators += 1;
        }
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
        | Keyword::SIMILAR
        | Keyword::RLIKE
        | Keyword::REGEXP
        | Keyword::MATCH
        | Keyword::MEMBER
        | Keyword::OVERLAPS
        | Keyword::OPERATOR
        | Keyword::NOTNULL => level.operators += 1,
        _ => {}
    }
}
