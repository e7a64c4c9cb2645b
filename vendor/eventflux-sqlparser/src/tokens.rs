//! The token stream of an app, and a cursor over it.

use sqlparser::ast::Ident;
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer, Word};

use crate::dialect::EventFluxDialect;
use crate::error::{ParseError, ParseErrorKind};
use crate::limits::{MAX_NESTING, MAX_TOKENS};

/// An opener without its closer, in [`Tokens::partner`].
const ALONE: usize = usize::MAX;

/// The tokens of a text without whitespace and comments, each bracket knowing its partner.
pub(crate) struct Tokens {
    tokens: Vec<TokenWithSpan>,
    partner: Vec<usize>,
    end: Location,
}

impl Tokens {
    /// Tokenizes the text. Brackets are paired within statements, so one that is not closed does not reach the next.
    pub(crate) fn new(text: &str) -> Result<Self, ParseError> {
        let dialect = EventFluxDialect::default();
        let mut end = Location { line: 1, column: 1 };
        let mut tokens: Vec<TokenWithSpan> = Vec::new();
        let outcome = Tokenizer::new(&dialect, text).tokenize_with_location_into_buf(&mut tokens);
        if let Err(error) = outcome {
            let start = tokens.last().map_or(end, |last| last.span.end);
            return Err(lexical_error(text, start, &error.message, error.location));
        }
        if let Some(last) = tokens.last() {
            end = last.span.end;
        }
        tokens.retain(|token| !matches!(token.token, Token::Whitespace(_)));
        for token in &mut tokens {
            if token.token == Token::DoubleEq {
                token.token = Token::Eq;
            }
        }
        if tokens.len() > MAX_TOKENS {
            let span = tokens[MAX_TOKENS].span;
            return Err(ParseError::limit(
                format!("an app has at most {MAX_TOKENS} tokens"),
                span,
            ));
        }
        let partner = pair_brackets(&tokens)?;
        Ok(Self { tokens, partner, end })
    }

    pub(crate) fn cursor(&self) -> Cursor<'_> {
        Cursor {
            tokens: self,
            pos: 0,
            end: self.tokens.len(),
        }
    }
}

/// Names what the tokenizer stumbled over; `start` is where the bad token begins or whitespace before it.
fn lexical_error(text: &str, start: Location, message: &str, at: Location) -> ParseError {
    let lower = message.to_ascii_lowercase();
    let kind = ParseErrorKind::Lexical;
    let known = [
        ("comment", "a comment is not closed", "close it with */"),
        (
            "string",
            "a string is not closed",
            "close it with '; a quote inside a string is written ''",
        ),
        (
            "close delimiter",
            "a quoted name is not closed",
            "close it with the quote that opens it",
        ),
    ];
    let opening = first_visible(text, start);
    let span = Span::new(opening, opening);
    for (word, message, hint) in known {
        if lower.contains(word) {
            return ParseError::new(kind, message, span).with_hint(hint);
        }
    }
    ParseError::new(kind, message.to_string(), Span::new(at, at))
}

/// The first character at or after `start` that is not whitespace.
fn first_visible(text: &str, start: Location) -> Location {
    let mut at = Location { line: 1, column: 1 };
    for ch in text.chars() {
        if at >= start && !ch.is_whitespace() {
            break;
        }
        if ch == '\n' {
            at = Location {
                line: at.line + 1,
                column: 1,
            };
        } else {
            at.column += 1;
        }
    }
    at
}

/// Pairs `()`, `[]` and `{}` within each statement.
fn pair_brackets(tokens: &[TokenWithSpan]) -> Result<Vec<usize>, ParseError> {
    let mut partner = vec![ALONE; tokens.len()];
    let mut open: Vec<usize> = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        match &token.token {
            Token::LParen | Token::LBracket | Token::LBrace => {
                open.push(at);
                if open.len() > MAX_NESTING {
                    return Err(ParseError::limit(
                        format!("brackets are nested more than {MAX_NESTING} deep"),
                        token.span,
                    ));
                }
            }
            Token::RParen | Token::RBracket | Token::RBrace => match open.pop() {
                Some(opener) if closes(&tokens[opener].token, &token.token) => {
                    partner[opener] = at;
                    partner[at] = opener;
                }
                Some(opener) => {
                    return Err(ParseError::syntax(
                        format!("`{}` does not close `{}`", token.token, tokens[opener].token),
                        token.span,
                    )
                    .with_hint(format!(
                        "the `{}` opened at line {}, column {} is still open",
                        tokens[opener].token, tokens[opener].span.start.line, tokens[opener].span.start.column
                    )));
                }
                None => {
                    return Err(
                        ParseError::syntax(format!("`{}` closes nothing", token.token), token.span)
                            .with_hint("remove it, or open it before"),
                    );
                }
            },
            Token::SemiColon => not_closed(tokens, &open)?,
            _ => {}
        }
    }
    not_closed(tokens, &open)?;
    Ok(partner)
}

fn not_closed(tokens: &[TokenWithSpan], open: &[usize]) -> Result<(), ParseError> {
    match open.last() {
        None => Ok(()),
        Some(at) => {
            let token = &tokens[*at];
            let closer = match token.token {
                Token::LParen => ")",
                Token::LBracket => "]",
                _ => "}",
            };
            Err(
                ParseError::syntax(format!("`{}` is not closed", token.token), token.span)
                    .with_hint(format!("a `{closer}` is missing before the statement ends")),
            )
        }
    }
}

fn closes(opener: &Token, closer: &Token) -> bool {
    matches!(
        (opener, closer),
        (Token::LParen, Token::RParen) | (Token::LBracket, Token::RBracket) | (Token::LBrace, Token::RBrace)
    )
}

/// A position in a part of the token stream. Copying it is how one looks ahead.
#[derive(Clone, Copy)]
pub(crate) struct Cursor<'t> {
    tokens: &'t Tokens,
    pos: usize,
    end: usize,
}

impl<'t> Cursor<'t> {
    pub(crate) fn is_empty(&self) -> bool {
        self.pos >= self.end
    }

    pub(crate) fn pos(&self) -> usize {
        self.pos
    }

    /// The next token, `EOF` at the end.
    pub(crate) fn peek(&self) -> &'t Token {
        self.peek_nth(0)
    }

    pub(crate) fn peek_nth(&self, n: usize) -> &'t Token {
        self.raw(n).map_or(&Token::EOF, |token| &token.token)
    }

    pub(crate) fn raw(&self, n: usize) -> Option<&'t TokenWithSpan> {
        let at = self.pos + n;
        if at < self.end {
            self.tokens.tokens.get(at)
        } else {
            None
        }
    }

    /// The token before the next one, within the whole text.
    pub(crate) fn previous(&self) -> Option<&'t TokenWithSpan> {
        self.pos.checked_sub(1).and_then(|at| self.tokens.tokens.get(at))
    }

    /// Where the next token stands; at the end, the place just after the last one.
    pub(crate) fn span(&self) -> Span {
        match self.raw(0) {
            Some(token) => token.span,
            None => {
                let at = self.previous().map_or(self.tokens.end, |last| last.span.end);
                Span::new(at, at)
            }
        }
    }

    /// From `start` to the end of the token before the next one.
    pub(crate) fn span_from(&self, start: Span) -> Span {
        match self.previous() {
            Some(last) if last.span.end > start.start => Span::new(start.start, last.span.end),
            _ => start,
        }
    }

    /// The span of everything that is left.
    pub(crate) fn span_of_rest(&self) -> Span {
        let mut last = *self;
        last.pos = last.end;
        last.span_from(self.span())
    }

    pub(crate) fn advance(&mut self) {
        self.pos = (self.pos + 1).min(self.end);
    }

    /// Everything that is left, token by token.
    pub(crate) fn rest(&self) -> &'t [TokenWithSpan] {
        self.tokens.tokens.get(self.pos..self.end).unwrap_or_default()
    }

    /// The part from here to `other`, which is further on.
    pub(crate) fn until(&self, other: &Cursor<'t>) -> Cursor<'t> {
        Cursor {
            tokens: self.tokens,
            pos: self.pos,
            end: other.pos.min(self.end),
        }
    }

    /// What is left without its last token.
    pub(crate) fn without_last(&self) -> Cursor<'t> {
        Cursor {
            tokens: self.tokens,
            pos: self.pos,
            end: self.end.saturating_sub(1).max(self.pos),
        }
    }

    /// Moves on to where `other` is.
    pub(crate) fn jump(&mut self, other: &Cursor<'t>) {
        self.pos = other.pos.min(self.end);
    }

    /// If a bracket opens here: what is inside it; the cursor moves past the closer.
    pub(crate) fn group(&mut self) -> Option<Cursor<'t>> {
        let closer = self.closer()?;
        let inside = Cursor {
            tokens: self.tokens,
            pos: self.pos + 1,
            end: closer,
        };
        self.pos = closer + 1;
        Some(inside)
    }

    /// Moves past the next token, or past the whole group that it opens.
    pub(crate) fn skip(&mut self) {
        match self.closer() {
            Some(closer) => self.pos = closer + 1,
            None => self.advance(),
        }
    }

    fn closer(&self) -> Option<usize> {
        match self.peek() {
            Token::LParen | Token::LBracket | Token::LBrace => {
                self.tokens.partner.get(self.pos).copied().filter(|at| *at < self.end)
            }
            _ => None,
        }
    }

    /// The place of the first token outside brackets for which `stop` holds, or the end.
    pub(crate) fn find(&self, mut stop: impl FnMut(&Cursor<'t>) -> bool) -> Cursor<'t> {
        let mut at = *self;
        while !at.is_empty() && !stop(&at) {
            at.skip();
        }
        at
    }

    /// Splits what is left at commas outside brackets. Nothing left gives no parts.
    pub(crate) fn split_commas(&self) -> Vec<Cursor<'t>> {
        let mut parts = Vec::new();
        let mut rest = *self;
        while !rest.is_empty() {
            let comma = rest.find(|c| *c.peek() == Token::Comma);
            parts.push(rest.until(&comma));
            let at_end = comma.is_empty();
            rest.jump(&comma);
            rest.advance();
            if !at_end && rest.is_empty() {
                parts.push(rest);
            }
        }
        parts
    }

    /// The next token as an unquoted word.
    pub(crate) fn word(&self) -> Option<&'t Word> {
        self.word_at(0)
    }

    pub(crate) fn word_at(&self, n: usize) -> Option<&'t Word> {
        match self.peek_nth(n) {
            Token::Word(word) if word.quote_style.is_none() => Some(word),
            _ => None,
        }
    }

    /// Whether the nth token from here is this unquoted word, in any case.
    pub(crate) fn is_word_at(&self, n: usize, text: &str) -> bool {
        self.word_at(n)
            .is_some_and(|word| word.value.eq_ignore_ascii_case(text))
    }

    pub(crate) fn is_word(&self, text: &str) -> bool {
        self.is_word_at(0, text)
    }

    pub(crate) fn is_keyword(&self, keyword: Keyword) -> bool {
        self.word().is_some_and(|word| word.keyword == keyword)
    }

    /// Whether these unquoted words come next.
    pub(crate) fn is_words(&self, texts: &[&str]) -> bool {
        texts.iter().enumerate().all(|(n, text)| self.is_word_at(n, text))
    }

    pub(crate) fn take_word(&mut self, text: &str) -> bool {
        self.take_words(&[text])
    }

    pub(crate) fn take_words(&mut self, texts: &[&str]) -> bool {
        let found = self.is_words(texts);
        if found {
            self.pos += texts.len();
        }
        found
    }

    pub(crate) fn take(&mut self, token: &Token) -> bool {
        let found = self.peek() == token;
        if found {
            self.advance();
        }
        found
    }

    pub(crate) fn expect_word(&mut self, text: &str, place: &str) -> Result<Span, ParseError> {
        let span = self.span();
        if self.take_word(text) {
            Ok(span)
        } else {
            Err(self.expected(&format!("{text} {place}")))
        }
    }

    pub(crate) fn expect(&mut self, token: &Token, place: &str) -> Result<Span, ParseError> {
        let span = self.span();
        if self.take(token) {
            Ok(span)
        } else {
            Err(self.expected(&format!("`{token}` {place}")))
        }
    }

    /// A parenthesised group, which must come next.
    pub(crate) fn expect_group(&mut self, place: &str) -> Result<Cursor<'t>, ParseError> {
        match self.peek() {
            Token::LParen => self.group().ok_or_else(|| self.expected(&format!("`(` {place}"))),
            _ => Err(self.expected(&format!("`(` {place}"))),
        }
    }

    /// Nothing may be left.
    pub(crate) fn expect_end(&self, what: &str) -> Result<(), ParseError> {
        if self.is_empty() {
            Ok(())
        } else {
            Err(self.expected(&format!("the end of {what}")))
        }
    }

    /// The next token as a name: any word, quoted or not.
    pub(crate) fn ident(&mut self, what: &str) -> Result<Ident, ParseError> {
        match self.take_ident() {
            Some(ident) => Ok(ident),
            None => Err(self.expected(what)),
        }
    }

    pub(crate) fn take_ident(&mut self) -> Option<Ident> {
        let Token::Word(word) = self.peek() else { return None };
        let ident = word.to_ident(self.span());
        self.advance();
        Some(ident)
    }

    /// The next token as a count.
    pub(crate) fn count(&mut self, what: &str) -> Result<u64, ParseError> {
        if let Token::Number(text, false) = self.peek()
            && let Ok(n) = text.parse()
        {
            self.advance();
            return Ok(n);
        }
        Err(self.expected(what))
    }

    /// What was expected here, and what is here instead.
    pub(crate) fn expected(&self, what: &str) -> ParseError {
        let here = if self.is_empty() {
            self.tokens.tokens.get(self.end)
        } else {
            self.raw(0)
        };
        match here {
            Some(token) if token.token != Token::SemiColon => {
                ParseError::syntax(format!("expected {what}, found `{}`", token.token), token.span)
            }
            _ => ParseError::syntax(format!("expected {what}, found the end of the statement"), self.span()),
        }
    }
}
