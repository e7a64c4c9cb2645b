//! `[server.auth]` and `[server.audit]`: who may do what on the server, and what is noted of it.

mod options;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::checkpoints::from_its_file;
use super::options::{Options, RawOption};
use super::server::list;
use crate::error::{Code, Diagnostic};
pub use options::{ACCESS_OPTIONS, ALGORITHMS, EVENTS, OPEN};

/// What the options belong to.
const OWNER: &str = "server";

/// What the keys of `[server.auth]` begin with.
const AUTH: &str = "auth.";

/// What the keys of `[server.audit]` begin with.
const AUDIT: &str = "audit.";

/// The shortest secret that tokens may be signed with, in bytes: as long as the shortest hash.
const SHORTEST_SECRET: usize = 32;

/// The shortest API key, in bytes.
const SHORTEST_KEY: usize = 16;

/// The largest tolerance for clocks that differ.
const MOST_LEEWAY: Duration = Duration::from_secs(3_600);

/// A text that no `Debug` shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Who may do what.
#[derive(Debug, Clone)]
pub struct AuthOptions {
    /// What needs no credential.
    pub open: Vec<String>,
    /// Whether a credential may stand in the URL.
    pub query_token: bool,
    /// How many verified credentials are remembered.
    pub remember: usize,
    /// The API keys.
    pub keys: Vec<KeyOptions>,
    /// How tokens are verified, if there are any.
    pub jwt: Option<JwtOptions>,
    /// The roles, by their names.
    pub roles: BTreeMap<String, RoleOptions>,
}

/// An API key.
#[derive(Debug, Clone)]
pub struct KeyOptions {
    /// What it is called.
    pub name: String,
    /// The key itself, or its hash.
    pub key: KeyText,
    /// The roles of who has it.
    pub roles: Vec<String>,
    /// What row filters know of who has it.
    pub claims: BTreeMap<String, Value>,
}

/// How a key is given.
#[derive(Debug, Clone)]
pub enum KeyText {
    /// As it is.
    Plain(Secret),
    /// As its SHA-256.
    Hash([u8; 32]),
}

/// How tokens are verified.
#[derive(Debug, Clone)]
pub struct JwtOptions {
    /// By what.
    pub keys: JwtKeys,
    /// The algorithms allowed; empty: all that fit the keys.
    pub algorithms: Vec<String>,
    /// Who may have issued them; empty: anybody.
    pub issuer: Vec<String>,
    /// For whom they must be; empty: for nobody.
    pub audience: Vec<String>,
    /// How much clocks may differ.
    pub leeway: Duration,
    /// The path of the claim with the name.
    pub name_claim: String,
    /// The path of the claim with the roles.
    pub roles_claim: String,
    /// The roles of every token.
    pub roles: Vec<String>,
}

/// By what tokens are verified.
#[derive(Debug, Clone)]
pub enum JwtKeys {
    /// A secret that is shared with the issuer.
    Secret(Secret),
    /// The issuer's public key, a PEM file.
    PublicKey(PathBuf),
    /// The issuer's public keys.
    Jwks(JwksOptions),
}

/// A set of keys that changes.
#[derive(Debug, Clone)]
pub struct JwksOptions {
    /// Where it is.
    pub place: JwksPlace,
    /// Whether it may come unprotected from another machine.
    pub insecure: bool,
    /// How often it is read again.
    pub refresh: Duration,
    /// How often at most for a key that is not known.
    pub cooldown: Duration,
    /// How long reading may take.
    pub timeout: Duration,
    /// How long keys are good that cannot be read again.
    pub max_age: Duration,
}

/// Where a set of keys is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JwksPlace {
    /// In a file.
    File(PathBuf),
    /// At a URL.
    Url(String),
}

/// What a role may do.
#[derive(Debug, Clone, Default)]
pub struct RoleOptions {
    /// Ask for rows.
    pub read: Vec<String>,
    /// Subscribe.
    pub subscribe: Vec<String>,
    /// Send events and messages.
    pub publish: Vec<String>,
    /// Have triggers.
    pub trigger: Vec<String>,
    /// Read `/metrics`.
    pub metrics: bool,
    /// Everything.
    pub admin: bool,
    /// What it sees of relations.
    pub relations: BTreeMap<String, ViewOptions>,
}

/// What a role sees of a relation.
#[derive(Debug, Clone, Default)]
pub struct ViewOptions {
    /// Which rows.
    pub row_filter: Option<String>,
    /// Which columns it does not.
    pub hidden: Vec<String>,
}

/// What is noted.
#[derive(Debug, Clone)]
pub struct AuditOptions {
    /// Where.
    pub file: PathBuf,
    /// What, of [`EVENTS`].
    pub events: Vec<String>,
    /// Whether rows are noted that are sent.
    pub rows: bool,
    /// Whether nothing is done that cannot be noted.
    pub refuse: bool,
    /// The bytes of a file.
    pub max_size: u64,
    /// How many files.
    pub keep: u32,
}

/// What is configured of who may do what; `None` if nothing is: then everybody may everything. `raw` has the options with their
/// variables replaced, but for claims.
pub(super) fn auth(
    raw: &[RawOption],
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<AuthOptions>, Diagnostic> {
    let raw: Vec<RawOption> = raw
        .iter()
        .filter(|option| option.key.starts_with(AUTH))
        .cloned()
        .collect();
    if raw.is_empty() {
        return Ok(None);
    }
    let options = Options::check(OWNER, ACCESS_OPTIONS, &raw)?;
    let keys = keys(&raw, &options, lookup)?;
    let jwt = jwt(&raw, &options)?;
    if keys.is_empty() && jwt.is_none() {
        let error = Diagnostic::new(Code::MissingOption, "[server.auth] says nobody who may sign in");
        let hint =
            "it needs [[server.auth.keys]] or [server.auth.jwt]; without [server.auth] everybody may do everything";
        return Err(error.hint(hint));
    }
    let roles = roles(&options)?;
    known_roles(&options, &keys, jwt.as_ref(), &roles)?;
    let open = words(&options, "auth.open", OPEN)?;
    Ok(Some(AuthOptions {
        open,
        query_token: options.boolean("auth.query-token"),
        remember: count(&options, "auth.remember"),
        keys,
        jwt,
        roles,
    }))
}

/// What is configured of the audit.
pub(super) fn audit(raw: &[RawOption]) -> Result<Option<AuditOptions>, Diagnostic> {
    let raw: Vec<RawOption> = raw
        .iter()
        .filter(|option| option.key.starts_with(AUDIT))
        .cloned()
        .collect();
    if raw.is_empty() {
        return Ok(None);
    }
    let options = Options::check(OWNER, ACCESS_OPTIONS, &raw)?;
    let Some(file) = path(&raw, "audit.file") else {
        let error = Diagnostic::new(Code::MissingOption, "[server.audit] needs the option 'file'");
        return Err(error.hint("such as file = \"audit.jsonl\""));
    };
    Ok(Some(AuditOptions {
        file,
        events: words(&options, "audit.events", EVENTS)?,
        rows: options.text("audit.sent") == Some("rows"),
        refuse: options.text("audit.on-failure") != Some("drop"),
        max_size: u64::try_from(options.integer("audit.max-size").unwrap_or_default()).unwrap_or(u64::MAX),
        keep: u32::try_from(options.integer("audit.keep").unwrap_or_default()).unwrap_or(u32::MAX),
    }))
}

fn count(options: &Options, name: &str) -> usize {
    usize::try_from(options.integer(name).unwrap_or_default()).unwrap_or(usize::MAX)
}

fn duration(options: &Options, name: &str) -> Duration {
    Duration::from_micros(u64::try_from(options.duration(name).unwrap_or_default()).unwrap_or_default())
}

fn path(raw: &[RawOption], name: &str) -> Option<PathBuf> {
    let option = raw.iter().find(|option| option.key == name)?;
    Some(from_its_file(option, option.value.clone()))
}

/// A list of words, each of which must be one of those known.
fn words(options: &Options, name: &str, known: &[&str]) -> Result<Vec<String>, Diagnostic> {
    let words = list(options.text(name));
    match words.iter().find(|word| !known.contains(&word.as_str())) {
        Some(wrong) => Err(options.invalid(name, format!("'{wrong}' is none of '{}'", known.join("', '")))),
        None => Ok(words),
    }
}

/// What stands between a beginning and an end of the names of options, each once.
fn named(options: &Options, before: &str, after: &[&str]) -> BTreeSet<String> {
    let names = options.names().filter_map(|name| {
        let rest = name.strip_prefix(before)?;
        let cut = after.iter().filter_map(|after| rest.find(after)).min()?;
        Some(rest[..cut].to_string())
    });
    names.collect()
}

/// That a name has no dots: what follows it would not be known from it.
fn plain(kind: &str, name: &str) -> Result<(), Diagnostic> {
    match name.is_empty() || name.contains('.') || name.chars().any(char::is_control) {
        true => Err(Diagnostic::new(
            Code::OptionValue,
            format!("[server.auth]: the name of a {kind} is a text without dots, not '{name}'"),
        )),
        false => Ok(()),
    }
}

fn keys(
    raw: &[RawOption],
    options: &Options,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<KeyOptions>, Diagnostic> {
    let names = named(options, "auth.keys.", &[".key", ".sha256", ".roles", ".claims."]);
    let mut keys = Vec::with_capacity(names.len());
    for name in names {
        plain("key", &name)?;
        let of = |what: &str| format!("auth.keys.{name}.{what}");
        let key = match (options.text(&of("key")), options.text(&of("sha256"))) {
            (Some(key), None) if key.len() >= SHORTEST_KEY => KeyText::Plain(Secret(key.to_string())),
            (Some(_), None) => {
                let reason = format!("an API key has {SHORTEST_KEY} bytes or more, at random: openssl rand -base64 32");
                return Err(options.invalid(&of("key"), reason));
            }
            (None, Some(hash)) => match hex(hash) {
                Some(hash) => KeyText::Hash(hash),
                None => return Err(options.invalid(&of("sha256"), "it is 64 hexadecimal digits, as sha256sum prints")),
            },
            (Some(_), Some(_)) => {
                return Err(options.invalid(&of("sha256"), "there is 'key' already: keep one of them"));
            }
            (None, None) => {
                let message = format!("the API key '{name}' has neither 'key' nor 'sha256'");
                return Err(Diagnostic::new(Code::MissingOption, message).hint(format!(
                    "under [[server.auth.keys]] with name = \"{name}\", add key = \"${{API_KEY}}\""
                )));
            }
        };
        let prefix = of("claims.");
        let mut claims = BTreeMap::new();
        for option in raw.iter().filter(|option| option.key.starts_with(&prefix)) {
            let claim = option.key[prefix.len()..].to_string();
            claims.insert(claim, claim_of(option, lookup)?);
        }
        keys.push(KeyOptions {
            roles: list(options.text(&of("roles"))),
            key,
            claims,
            name,
        });
    }
    Ok(keys)
}

/// A claim of a key: JSON, as files are read, or else a text. Its variables are replaced here, where nothing in them can be syntax.
fn claim_of(option: &RawOption, lookup: &dyn Fn(&str) -> Option<String>) -> Result<Value, Diagnostic> {
    fn filled(value: Value, option: &RawOption, lookup: &dyn Fn(&str) -> Option<String>) -> Result<Value, Diagnostic> {
        Ok(match value {
            Value::String(text) => {
                let one = RawOption {
                    value: text,
                    ..option.clone()
                };
                Value::String(one.substituted(lookup)?.value)
            }
            Value::Array(items) => {
                let items = items.into_iter().map(|item| filled(item, option, lookup));
                Value::Array(items.collect::<Result<_, _>>()?)
            }
            other => other,
        })
    }
    let value = serde_json::from_str(&option.value).unwrap_or_else(|_| Value::String(option.value.clone()));
    filled(value, option, lookup)
}

/// Whether the variables in a value are replaced when it is understood, not before.
pub(super) fn is_claim(key: &str) -> bool {
    key.strip_prefix("auth.keys.")
        .is_some_and(|rest| rest.contains(".claims."))
}

fn hex(text: &str) -> Option<[u8; 32]> {
    let text = text.trim();
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; 32];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

fn jwt(raw: &[RawOption], options: &Options) -> Result<Option<JwtOptions>, Diagnostic> {
    if !raw.iter().any(|option| option.key.starts_with("auth.jwt.")) {
        return Ok(None);
    }
    let secret = options.text("auth.jwt.secret");
    if secret.is_some_and(|secret| secret.len() < SHORTEST_SECRET) {
        let reason = format!("it has {SHORTEST_SECRET} bytes or more, at random: openssl rand -base64 48");
        return Err(options.invalid("auth.jwt.secret", reason));
    }
    let jwks = |place: JwksPlace| {
        JwtKeys::Jwks(JwksOptions {
            place,
            insecure: options.boolean("auth.jwt.jwks.insecure"),
            refresh: duration(options, "auth.jwt.jwks.refresh"),
            cooldown: duration(options, "auth.jwt.jwks.cooldown"),
            timeout: duration(options, "auth.jwt.jwks.timeout"),
            max_age: duration(options, "auth.jwt.jwks.max-age"),
        })
    };
    let given = [
        secret.map(|secret| JwtKeys::Secret(Secret(secret.to_string()))),
        path(raw, "auth.jwt.public-key").map(JwtKeys::PublicKey),
        path(raw, "auth.jwt.jwks.file").map(|file| jwks(JwksPlace::File(file))),
        options
            .text("auth.jwt.jwks.url")
            .map(|url| jwks(JwksPlace::Url(url.to_string()))),
    ];
    let mut given = given.into_iter().flatten();
    let (keys, None) = (given.next(), given.next()) else {
        let message =
            "[server.auth.jwt]: tokens are verified by one of 'secret', 'public-key', 'jwks.file' and 'jwks.url'";
        return Err(Diagnostic::new(Code::OptionValue, message).hint("keep one of them"));
    };
    let Some(keys) = keys else {
        let message = "[server.auth.jwt] does not say what tokens are verified by";
        return Err(Diagnostic::new(Code::MissingOption, message)
            .hint("it needs 'secret', 'public-key', 'jwks.file' or 'jwks.url'"));
    };
    for name in ["refresh", "cooldown", "timeout"] {
        let name = format!("auth.jwt.jwks.{name}");
        if duration(options, &name) < Duration::from_millis(10) {
            return Err(options.invalid(&name, "it is 10 ms or more"));
        }
    }
    let leeway = duration(options, "auth.jwt.leeway");
    if leeway > MOST_LEEWAY {
        return Err(options.invalid("auth.jwt.leeway", "it is 1 hour or less"));
    }
    Ok(Some(JwtOptions {
        keys,
        algorithms: words(options, "auth.jwt.algorithms", ALGORITHMS)?,
        issuer: list(options.text("auth.jwt.issuer")),
        audience: list(options.text("auth.jwt.audience")),
        leeway,
        name_claim: options.text("auth.jwt.name-claim").unwrap_or_default().to_string(),
        roles_claim: options.text("auth.jwt.roles-claim").unwrap_or_default().to_string(),
        roles: list(options.text("auth.jwt.roles")),
    }))
}

fn roles(options: &Options) -> Result<BTreeMap<String, RoleOptions>, Diagnostic> {
    const ENDS: &[&str] = &[
        ".read",
        ".subscribe",
        ".publish",
        ".trigger",
        ".metrics",
        ".admin",
        ".relations.",
    ];
    let mut roles = BTreeMap::new();
    for name in named(options, "auth.roles.", ENDS) {
        plain("role", &name)?;
        let of = |what: &str| format!("auth.roles.{name}.{what}");
        let names = |what: &str| list(options.text(&of(what)));
        let before = of("relations.");
        let mut relations: BTreeMap<String, ViewOptions> = BTreeMap::new();
        for option in options.names() {
            let Some(rest) = option.strip_prefix(&before) else {
                continue;
            };
            let text = options.text(option);
            if let Some(relation) = rest.strip_suffix(".row_filter") {
                relations.entry(relation.to_string()).or_default().row_filter = text.map(str::to_string);
            } else if let Some(relation) = rest.strip_suffix(".hidden") {
                relations.entry(relation.to_string()).or_default().hidden = list(text);
            }
        }
        let role = RoleOptions {
            read: names("read"),
            subscribe: names("subscribe"),
            publish: names("publish"),
            trigger: names("trigger"),
            metrics: options.boolean(&of("metrics")),
            admin: options.boolean(&of("admin")),
            relations,
        };
        roles.insert(name, role);
    }
    Ok(roles)
}

/// Checks that the roles that are given to somebody are there. Those of tokens' claims need not be.
fn known_roles(
    options: &Options,
    keys: &[KeyOptions],
    jwt: Option<&JwtOptions>,
    roles: &BTreeMap<String, RoleOptions>,
) -> Result<(), Diagnostic> {
    let of_keys = keys.iter().flat_map(|key| {
        key.roles
            .iter()
            .map(|role| (format!("auth.keys.{}.roles", key.name), role))
    });
    let of_tokens = jwt
        .into_iter()
        .flat_map(|jwt| jwt.roles.iter().map(|role| ("auth.jwt.roles".to_string(), role)));
    for (name, role) in of_keys.chain(of_tokens) {
        if roles.contains_key(role) {
            continue;
        }
        let error = options.invalid(&name, format!("there is no role '{role}'"));
        let known = roles.keys().map(String::as_str);
        return Err(match super::nearest::nearest(role, known) {
            Some(near) => error.hint(format!("did you mean '{near}'?")),
            None => error.hint(format!("write [server.auth.roles.{role}]")),
        });
    }
    Ok(())
}
