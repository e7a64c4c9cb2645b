//! Bounds on what is accepted, so that no text can exhaust the stack or the clock. Each is far above what an app needs.

/// Parentheses, brackets and braces inside one another in one statement.
pub const MAX_NESTING: usize = 64;

/// Operators above one another in one expression: `a AND b AND …` is a tree as deep as it is long, and a tree is
/// walked and freed by recursion.
pub const MAX_OPERATORS: usize = 512;

/// Names joined by dots. sqlparser's time grows exponentially in them when what follows is malformed.
pub const MAX_NAME_PARTS: usize = 10;

/// Generic types inside one another: `ARRAY<STRUCT<a ARRAY<…`.
pub const MAX_TYPE_NESTING: usize = 16;

/// Depth of sqlparser's own recursion (its default).
pub const MAX_RECURSION: usize = 50;

/// Expressions that sqlparser may start per token, counting those it takes back. Ordinary SQL needs about two.
pub const MAX_ATTEMPTS_PER_TOKEN: usize = 64;

/// Tokens of one app.
pub const MAX_TOKENS: usize = 4_000_000;
