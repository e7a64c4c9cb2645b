//! `MATCH_RECOGNIZE (…)`.
use crate::ast::MatchRecognize;
use crate::error::ParseError;
use crate::rewrite::Rewriter;
use crate::tokens::Cursor;
impl Rewriter {
    pub(crate) fn match_recognize(&mut self, cursor: &mut Cursor<'_>) -> Result<MatchRecognize, ParseError> {
        Err(ParseError::syntax("MATCH_RECOGNIZE is not read yet", cursor.span()))
    }
}
