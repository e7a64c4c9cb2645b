//! `PATTERN (…)` and `SEQUENCE (…)`.
//!
//! EVERY before a term binds the whole term (`EVERY a AND b` repeats both together); before an operand after AND or OR
//! it binds that operand. AND binds tighter than OR, OR tighter than `->`.

use sqlparser::ast::{Expr, Ident};
use sqlparser::tokenizer::{Span, Token, TokenWithSpan};

use crate::ast::{
    Pattern, PatternElement, PatternKind, PatternNode, PatternNodeKind, RelationSource, StreamRelation, Within,
    WithinKind,
};
use crate::error::ParseError;
use crate::options::with_options;
use crate::quantifier;
use crate::relation::{split_inner, take_alias};
use crate::rewrite::Rewriter;
use crate::tokens::Cursor;

impl PatternNode {
    fn new(kind: PatternNodeKind, span: Span) -> Self {
        Self {
            kind,
            every: false,
            quantifier: None,
            within: None,
            span,
        }
    }
}

impl Rewriter {
    /// A pattern where a relation is due. False if there is none.
    pub(crate) fn pattern_relation(
        &mut self,
        cursor: &mut Cursor<'_>,
        out: &mut Vec<TokenWithSpan>,
    ) -> Result<bool, ParseError> {
        let kind = if cursor.is_word("PATTERN") {
            PatternKind::Pattern
        } else if cursor.is_word("SEQUENCE") {
            PatternKind::Sequence
        } else {
            return Ok(false);
        };
        if *cursor.peek_nth(1) != Token::LParen {
            return Ok(false);
        }
        let start = cursor.span();
        cursor.advance();
        let pattern = self.pattern(cursor, kind, start)?;
        let alias = take_alias(cursor)?;
        let relation = StreamRelation {
            span: cursor.span_from(start),
            source: RelationSource::Pattern(Box::new(pattern)),
            filter: None,
            window: None,
            time_column: None,
            unidirectional: false,
            alias: alias.clone(),
        };
        self.place(relation, alias, out);
        Ok(true)
    }

    fn pattern(&mut self, cursor: &mut Cursor<'_>, kind: PatternKind, start: Span) -> Result<Pattern, ParseError> {
        let mut inside = cursor.expect_group("after PATTERN or SEQUENCE")?;
        let root = self.chain(&mut inside, kind)?;
        let mut within = self.within(&mut inside, ends_part)?;
        pattern_end(&inside, kind)?;
        let outside = self.within(cursor, ends_clause)?;
        if let (Some(_), Some(second)) = (&within, &outside) {
            return Err(ParseError::syntax("the pattern already has a WITHIN", second.span)
                .with_hint("WITHIN stands inside or outside the parentheses, not both"));
        }
        within = within.or(outside);
        let mut partition_by = Vec::new();
        if cursor.take_words(&["PARTITION", "BY"]) {
            loop {
                partition_by.push(self.partition_column(cursor)?);
                if !cursor.take(&Token::Comma) {
                    break;
                }
            }
        }
        let options = with_options(cursor)?;
        let span = cursor.span_from(start);
        Ok(Pattern {
            kind,
            root,
            within,
            partition_by,
            options,
            span,
        })
    }

    /// `column` or `alias.column`.
    fn partition_column(&mut self, cursor: &mut Cursor<'_>) -> Result<Expr, ParseError> {
        let start = *cursor;
        cursor.ident("a column to partition by")?;
        while cursor.take(&Token::Period) {
            cursor.ident("a column after the `.`")?;
        }
        self.expr(start.until(cursor), "a column to partition by")
    }

    /// `term -> term -> …`.
    fn chain(&mut self, cursor: &mut Cursor<'_>, kind: PatternKind) -> Result<PatternNode, ParseError> {
        let start = cursor.span();
        let mut terms = vec![self.term(cursor, kind)?];
        loop {
            match cursor.peek() {
                Token::Arrow => cursor.advance(),
                Token::Comma if kind == PatternKind::Sequence => cursor.advance(),
                _ => break,
            }
            terms.push(self.term(cursor, kind)?);
        }
        Ok(collect(terms, PatternNodeKind::Chain, cursor.span_from(start)))
    }

    /// `[EVERY] a AND b OR c`.
    fn term(&mut self, cursor: &mut Cursor<'_>, kind: PatternKind) -> Result<PatternNode, ParseError> {
        let start = cursor.span();
        let every = cursor.take_word("EVERY");
        if every && cursor.is_word("EVERY") {
            return Err(cursor.expected("what EVERY repeats"));
        }
        let mut alternatives = vec![self.conjunction(cursor, kind)?];
        while cursor.take_word("OR") {
            alternatives.push(self.conjunction(cursor, kind)?);
        }
        let mut node = collect(alternatives, PatternNodeKind::Or, cursor.span_from(start));
        if every {
            node.every = true;
            node.span = cursor.span_from(start);
        }
        Ok(node)
    }

    fn conjunction(&mut self, cursor: &mut Cursor<'_>, kind: PatternKind) -> Result<PatternNode, ParseError> {
        let start = cursor.span();
        let mut operands = vec![self.operand(cursor, kind)?];
        while cursor.take_word("AND") {
            operands.push(self.operand(cursor, kind)?);
        }
        Ok(collect(operands, PatternNodeKind::And, cursor.span_from(start)))
    }

    fn operand(&mut self, cursor: &mut Cursor<'_>, kind: PatternKind) -> Result<PatternNode, ParseError> {
        let start = cursor.span();
        let every = cursor.take_word("EVERY");
        let mut node = if *cursor.peek() == Token::LParen {
            self.group(cursor, kind)?
        } else if cursor.is_word("NOT") {
            self.absent(cursor)?
        } else {
            self.element_node(cursor)?
        };
        node.every = every;
        node.span = cursor.span_from(start);
        Ok(node)
    }

    /// `( pattern [WITHIN t] ) [quantifier] [WITHIN t]`.
    fn group(&mut self, cursor: &mut Cursor<'_>, kind: PatternKind) -> Result<PatternNode, ParseError> {
        let start = cursor.span();
        let mut inside = cursor.expect_group("before the group")?;
        let inner = self.chain(&mut inside, kind)?;
        let within = self.within(&mut inside, ends_part)?;
        pattern_end(&inside, kind)?;
        let quantifier = quantifier::take(cursor)?;
        let outside = self.within(cursor, ends_part)?;
        if let (Some(_), Some(second)) = (&within, &outside) {
            return Err(ParseError::syntax("the group already has a WITHIN", second.span));
        }
        let kind = PatternNodeKind::Group(Box::new(inner));
        let mut node = PatternNode::new(kind, cursor.span_from(start));
        node.quantifier = quantifier;
        node.within = within.or(outside);
        Ok(node)
    }

    /// `NOT element [FOR t [AFTER element]]`.
    fn absent(&mut self, cursor: &mut Cursor<'_>) -> Result<PatternNode, ParseError> {
        let start = cursor.span();
        cursor.advance();
        let element = self.element(cursor)?;
        if let Some(quantifier) = quantifier::take(cursor)? {
            return Err(ParseError::syntax(
                "what must not come has no quantifier",
                quantifier.span,
            ));
        }
        let element = self.trailing_alias(cursor, element)?;
        let duration = if cursor.take_word("FOR") {
            let end = cursor.find(ends_part);
            let duration = self.duration(cursor.until(&end))?;
            cursor.jump(&end);
            Some(duration)
        } else {
            None
        };
        let span = cursor.span_from(start);
        let node = PatternNode::new(PatternNodeKind::Absent { element, duration }, span);
        if !cursor.is_word("AFTER") {
            return Ok(node);
        }
        cursor.advance();
        let first = self.element_node(cursor)?;
        let span = cursor.span_from(start);
        let chain = PatternNode::new(PatternNodeKind::Chain(vec![first, node]), span);
        Ok(PatternNode::new(PatternNodeKind::Group(Box::new(chain)), span))
    }

    /// An element with its quantifier, which stands before or after the condition.
    fn element_node(&mut self, cursor: &mut Cursor<'_>) -> Result<PatternNode, ParseError> {
        let start = cursor.span();
        let mut element = self.element(cursor)?;
        let mut quantifier = quantifier::take(cursor)?;
        if element.condition.is_none() && *cursor.peek() == Token::LBracket {
            element.condition = self.condition(cursor)?;
            element.span = cursor.span_from(start);
            if quantifier.is_none() {
                quantifier = quantifier::take(cursor)?;
            }
        }
        let element = self.trailing_alias(cursor, element)?;
        let mut node = PatternNode::new(PatternNodeKind::Element(element), cursor.span_from(start));
        node.quantifier = quantifier;
        Ok(node)
    }

    /// `[alias =] Stream [ '[' condition ']' ]`.
    fn element(&mut self, cursor: &mut Cursor<'_>) -> Result<PatternElement, ParseError> {
        let start = cursor.span();
        let alias = match (cursor.peek(), cursor.peek_nth(1)) {
            (Token::Word(_), Token::Eq) => {
                let alias = cursor.ident("an alias")?;
                cursor.advance();
                Some(alias)
            }
            _ => None,
        };
        let fault = cursor.take(&Token::ExclamationMark);
        let refused = ["AND", "OR", "WITHIN", "FOR", "AFTER", "EVERY", "NOT"];
        if refused.iter().any(|word| cursor.is_word(word)) {
            return Err(cursor.expected("an element such as e1=Stream[condition]"));
        }
        let name = cursor.ident("an element such as e1=Stream[condition]")?;
        let (stream, inner) = split_inner(name);
        let condition = self.condition(cursor)?;
        let span = cursor.span_from(start);
        Ok(PatternElement {
            alias,
            stream,
            fault,
            inner,
            condition,
            span,
        })
    }

    fn condition(&mut self, cursor: &mut Cursor<'_>) -> Result<Option<Expr>, ParseError> {
        if *cursor.peek() != Token::LBracket {
            return Ok(None);
        }
        match cursor.group() {
            Some(inside) => self.expr(inside, "a condition").map(Some),
            None => Ok(None),
        }
    }

    /// `AS alias` after the element.
    fn trailing_alias(
        &mut self,
        cursor: &mut Cursor<'_>,
        mut element: PatternElement,
    ) -> Result<PatternElement, ParseError> {
        if !cursor.is_word("AS") {
            return Ok(element);
        }
        cursor.advance();
        let alias: Ident = cursor.ident("an alias after AS")?;
        if let Some(first) = &element.alias {
            return Err(ParseError::syntax(
                format!("the element is already called `{}`", first.value),
                alias.span,
            ));
        }
        element.alias = Some(alias);
        element.span = cursor.span_from(element.span);
        Ok(element)
    }

    /// `WITHIN t` or `WITHIN n EVENTS`, if it comes next; `ends` says where a duration ends.
    pub(crate) fn within(
        &mut self,
        cursor: &mut Cursor<'_>,
        ends: fn(&Cursor<'_>) -> bool,
    ) -> Result<Option<Within>, ParseError> {
        let start = cursor.span();
        if !cursor.take_word("WITHIN") {
            return Ok(None);
        }
        let kind = if cursor.is_word_at(1, "EVENTS") || cursor.is_word_at(1, "EVENT") {
            let count = cursor.count("a number of events")?;
            cursor.advance();
            WithinKind::Events(count)
        } else {
            let end = cursor.find(ends);
            let time = self.duration(cursor.until(&end))?;
            cursor.jump(&end);
            WithinKind::Time(time)
        };
        Ok(Some(Within {
            kind,
            span: cursor.span_from(start),
        }))
    }
}

/// One part stays itself, several become a node.
fn collect(mut parts: Vec<PatternNode>, make: fn(Vec<PatternNode>) -> PatternNodeKind, span: Span) -> PatternNode {
    if parts.len() == 1
        && let Some(only) = parts.pop()
    {
        return only;
    }
    PatternNode::new(make(parts), span)
}

/// Where a duration inside a pattern ends.
fn ends_part(cursor: &Cursor<'_>) -> bool {
    matches!(cursor.peek(), Token::Arrow | Token::Comma)
        || ["AND", "OR", "AFTER", "WITHIN"].iter().any(|word| cursor.is_word(word))
}

/// Where a duration after a pattern ends: at the next clause, an alias or a bracket.
fn ends_clause(cursor: &Cursor<'_>) -> bool {
    const CLAUSES: &[&str] = &[
        "PARTITION",
        "WITH",
        "AS",
        "WHERE",
        "GROUP",
        "HAVING",
        "ORDER",
        "LIMIT",
        "OFFSET",
        "UNION",
        "SELECT",
        "JOIN",
        "LEFT",
        "RIGHT",
        "FULL",
        "INNER",
        "CROSS",
        "EMIT",
        "OUTPUT",
        "INSERT",
        "UPSERT",
        "SINK",
        "WINDOW",
        "QUALIFY",
    ];
    matches!(cursor.peek(), Token::Comma | Token::RParen) || CLAUSES.iter().any(|word| cursor.is_word(word))
}

fn pattern_end(inside: &Cursor<'_>, kind: PatternKind) -> Result<(), ParseError> {
    if inside.is_empty() {
        return Ok(());
    }
    let error = inside.expected("`->`, AND, OR, WITHIN or the end of the pattern");
    Err(match inside.peek() {
        Token::Comma if kind == PatternKind::Pattern => {
            error.with_hint("in PATTERN elements follow with `->`; `,` is for SEQUENCE")
        }
        Token::Minus | Token::Gt | Token::RArrow => error.with_hint("write `->`"),
        _ => error,
    })
}
