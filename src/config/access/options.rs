//! The options of `[server.auth]` and `[server.audit]`.

use crate::config::options::{OptionKind, OptionSpec};

/// The algorithms that tokens may be signed with.
pub const ALGORITHMS: &[&str] = &[
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA",
];

/// What may need no credential.
pub const OPEN: &[&str] = &["health", "ready", "metrics"];

/// What the audit may tell of.
pub const EVENTS: &[&str] = &["sign-in", "refusal", "trigger", "sent"];

/// The options of `[server.auth]` and `[server.audit]`.
pub const ACCESS_OPTIONS: &[OptionSpec] = &[
    OptionSpec::new(
        "auth.open",
        OptionKind::Text,
        "What needs no credential: 'health', 'ready', 'metrics'; a list. All else does, once anything of [server.auth] is set.",
    )
    .default("health, ready")
    .list(),
    OptionSpec::new(
        "auth.query-token",
        OptionKind::Boolean,
        "Whether a credential may stand in the URL, as access_token: for EventSource and WebSocket of browsers, which send no headers.",
    )
    .default("false"),
    OptionSpec::new(
        "auth.remember",
        OptionKind::Integer {
            min: 0,
            max: 10_000_000,
        },
        "How many verified credentials are remembered, so that they are not verified anew for each request.",
    )
    .default("10000"),
    OptionSpec::new("auth.keys.<name>.key", OptionKind::Text, "An API key, by its name.").secret(),
    OptionSpec::new(
        "auth.keys.<name>.sha256",
        OptionKind::Text,
        "In its place the SHA-256 of an API key, in hexadecimal: then the key itself is nowhere here.",
    ),
    OptionSpec::new("auth.keys.<name>.roles", OptionKind::Text, "The roles of who has the key: a list.").list(),
    OptionSpec::new(
        "auth.keys.<name>.claims.<claim>",
        OptionKind::Text,
        "What row filters know of who has the key, as claims.<claim>: a text, number, boolean or list.",
    ),
    OptionSpec::new(
        "auth.jwt.secret",
        OptionKind::Text,
        "The secret that tokens are signed with by HS256, HS384 or HS512: 32 bytes or more.",
    )
    .secret(),
    OptionSpec::new(
        "auth.jwt.public-key",
        OptionKind::Path,
        "The public key of who signs tokens, a PEM file: RSA, P-256, P-384 or Ed25519.",
    ),
    OptionSpec::new(
        "auth.jwt.jwks.file",
        OptionKind::Path,
        "The public keys of who signs tokens, a JWKS file. It is read again for a key that is not known, and every jwks.refresh.",
    ),
    OptionSpec::new(
        "auth.jwt.jwks.url",
        OptionKind::Text,
        "The same from a URL: https, or http to this machine.",
    ),
    OptionSpec::new(
        "auth.jwt.jwks.insecure",
        OptionKind::Boolean,
        "Whether the URL may be http to another machine: whoever is between can then make tokens.",
    )
    .default("false"),
    OptionSpec::new(
        "auth.jwt.jwks.refresh",
        OptionKind::Duration,
        "How often the keys are read again.",
    )
    .default("10 minutes"),
    OptionSpec::new(
        "auth.jwt.jwks.cooldown",
        OptionKind::Duration,
        "For a key that is not known, the keys are not read more often than this.",
    )
    .default("10 seconds"),
    OptionSpec::new(
        "auth.jwt.jwks.timeout",
        OptionKind::Duration,
        "How long reading the keys may take.",
    )
    .default("5 seconds"),
    OptionSpec::new(
        "auth.jwt.jwks.max-age",
        OptionKind::Duration,
        "How long keys are good when they cannot be read again.",
    )
    .default("24 hours"),
    OptionSpec::new(
        "auth.jwt.algorithms",
        OptionKind::Text,
        "The algorithms that tokens may be signed with: a list. Default: all that fit the keys; 'none' never does.",
    )
    .list(),
    OptionSpec::new("auth.jwt.issuer", OptionKind::Text, "Who may have issued a token (iss): a list.").list(),
    OptionSpec::new(
        "auth.jwt.audience",
        OptionKind::Text,
        "For whom a token must be (aud): a list. Without it, a token that is for somebody is refused.",
    )
    .list(),
    OptionSpec::new(
        "auth.jwt.leeway",
        OptionKind::Duration,
        "How much the clocks of the issuer and of this machine may differ.",
    )
    .default("30 seconds"),
    OptionSpec::new(
        "auth.jwt.name-claim",
        OptionKind::Text,
        "The claim that says who it is; dots lead into objects.",
    )
    .default("sub"),
    OptionSpec::new(
        "auth.jwt.roles-claim",
        OptionKind::Text,
        "The claim with the roles, a list or a text with spaces between them; dots lead into objects, as in realm_access.roles.",
    )
    .default("roles"),
    OptionSpec::new(
        "auth.jwt.roles",
        OptionKind::Text,
        "Roles that every token has, whatever it says: a list.",
    )
    .list(),
    OptionSpec::new(
        "auth.roles.<role>.read",
        OptionKind::Text,
        "The relations whose rows the role may ask for: a list, or '*' for all that is exposed.",
    )
    .list(),
    OptionSpec::new(
        "auth.roles.<role>.subscribe",
        OptionKind::Text,
        "The relations whose rows and changes it may subscribe to, and 'messages' for GET /events: a list, or '*'.",
    )
    .list(),
    OptionSpec::new(
        "auth.roles.<role>.publish",
        OptionKind::Text,
        "What of [server] publish it may send into: a list, or '*'.",
    )
    .list(),
    OptionSpec::new(
        "auth.roles.<role>.trigger",
        OptionKind::Text,
        "The relations it may have triggers on: a list, or '*'.",
    )
    .list(),
    OptionSpec::new(
        "auth.roles.<role>.metrics",
        OptionKind::Boolean,
        "Whether it may read /metrics.",
    )
    .default("false"),
    OptionSpec::new(
        "auth.roles.<role>.admin",
        OptionKind::Boolean,
        "Whether it may do all there is, with all rows and columns.",
    )
    .default("false"),
    OptionSpec::new(
        "auth.roles.<role>.relations.<relation>.row_filter",
        OptionKind::Text,
        "The rows of a relation that it sees: a condition, in which claims.<claim> is what the token or the key says.",
    ),
    OptionSpec::new(
        "auth.roles.<role>.relations.<relation>.hidden",
        OptionKind::Text,
        "The columns of a relation that it neither sees nor may ask about: a list.",
    )
    .list(),
    OptionSpec::new(
        "audit.file",
        OptionKind::Path,
        "Where the audit is written, a line of JSON for each event. The file is readable by its owner alone.",
    ),
    OptionSpec::new(
        "audit.events",
        OptionKind::Text,
        "What is written: 'sign-in', 'refusal', 'trigger', 'sent'; a list.",
    )
    .default("sign-in, refusal, trigger")
    .list(),
    OptionSpec::new(
        "audit.sent",
        OptionKind::Choice(&["count", "rows"]),
        "What is written of what a client was sent: how many rows, or the rows, too.",
    )
    .default("count"),
    OptionSpec::new(
        "audit.on-failure",
        OptionKind::Choice(&["refuse", "drop"]),
        "What happens when an event cannot be written: what it tells of is not done, or done without being told of.",
    )
    .default("refuse"),
    OptionSpec::new(
        "audit.max-size",
        OptionKind::Integer {
            min: 4_096,
            max: i64::MAX,
        },
        "The bytes after which the file is put aside, as <file>.1, and a new one begun.",
    )
    .default("104857600"),
    OptionSpec::new(
        "audit.keep",
        OptionKind::Integer { min: 1, max: 1_000 },
        "How many files are kept that were put aside.",
    )
    .default("9"),
];
