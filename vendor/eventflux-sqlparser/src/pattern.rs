//! `PATTERN (…)` and `SEQUENCE (…)`.
use crate::error::ParseError;
use crate::rewrite::Rewriter;
use crate::tokens::Cursor;
use sqlparser::tokenizer::TokenWithSpan;
impl Rewriter {
    pub(crate) fn pattern_relation(
        &mut self,
        _cursor: &mut Cursor<'_>,
        _out: &mut Vec<TokenWithSpan>,
    ) -> Result<bool, ParseError> {
        Ok(false)
    }
}
