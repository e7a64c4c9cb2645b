//! Secrets that callers present, compared in constant time, and the headers in which they are sent.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderName};

use crate::config::options::Options;
use crate::error::{Code, Diagnostic};

/// How somebody signs in.
#[derive(Debug, Clone)]
pub struct SignIn {
    /// The header.
    pub header: HeaderName,
    /// The scheme before the secret, if there is one.
    pub scheme: Option<&'static str>,
    /// The secrets, any of which will do.
    secrets: Vec<Secret>,
}

/// What is in the header after the scheme.
#[derive(Clone)]
struct Secret {
    text: String,
    /// Two hashes are compared in constant time.
    hash: blake3::Hash,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Secret")
    }
}

impl Secret {
    fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        Secret {
            hash: blake3::hash(text.as_bytes()),
            text,
        }
    }
}

impl SignIn {
    /// As the options of a source say. *Errors.* What is missing, or too much.
    pub fn new(options: &Options) -> Result<Option<Self>, Diagnostic> {
        let given = [
            ("bearer", "bearer-token"),
            ("basic", "basic.user"),
            ("api-key", "api-key"),
        ];
        let given: Vec<(&str, &str)> = given
            .into_iter()
            .filter(|(_, option)| options.text(option).is_some())
            .collect();
        let kind = match (options.text("auth"), given.as_slice()) {
            (_, [_, (_, second), ..]) => return Err(options.invalid(second, "there is another way to sign in as well")),
            (Some(auth), [(kind, option)]) if auth != *kind => {
                return Err(options.invalid(option, format!("http.auth is '{auth}'")));
            }
            (_, [(kind, _)]) => *kind,
            (None | Some("none"), []) if options.text("basic.password").is_some() => {
                return Err(options.invalid("basic.password", "there is no basic.user"));
            }
            (None | Some("none"), []) => return Ok(None),
            (Some(auth), []) => {
                let option = match auth {
                    "bearer" => "bearer-token",
                    "basic" => "basic.user",
                    _ => "api-key",
                };
                let message = format!("\"http.auth\" = '{auth}' needs http.{option}");
                return Err(Diagnostic::new(Code::MissingOption, message)
                    .hint("secrets are best taken from the environment: '${NAME}'"));
            }
        };
        let several = |option: &str| -> Result<Vec<Secret>, Diagnostic> {
            let all: Vec<Secret> = options
                .text(option)
                .unwrap_or_default()
                .split_whitespace()
                .map(Secret::new)
                .collect();
            match all.is_empty() {
                true => Err(options.invalid(option, "it is empty")),
                false => Ok(all),
            }
        };
        Ok(Some(match kind {
            "bearer" => SignIn {
                header: AUTHORIZATION,
                scheme: Some("Bearer"),
                secrets: several("bearer-token")?,
            },
            "basic" => {
                let user = options.text("basic.user").unwrap_or_default();
                let both = format!("{user}:{}", options.text("basic.password").unwrap_or_default());
                SignIn {
                    header: AUTHORIZATION,
                    scheme: Some("Basic"),
                    secrets: vec![Secret::new(STANDARD.encode(both))],
                }
            }
            _ => SignIn {
                header: header_name(options, "api-key.header", "X-API-Key")?,
                scheme: None,
                secrets: several("api-key")?,
            },
        }))
    }

    /// Whether a request has one of the secrets. In constant time.
    pub fn admits(&self, headers: &HeaderMap) -> bool {
        let Some(value) = headers.get(&self.header) else {
            return false;
        };
        let secret = match self.scheme {
            None => value.as_bytes(),
            Some(scheme) => match value.as_bytes().split_at_checked(scheme.len()) {
                Some((given, rest)) if given.eq_ignore_ascii_case(scheme.as_bytes()) && rest.first() == Some(&b' ') => {
                    rest.trim_ascii()
                }
                _ => return false,
            },
        };
        let hash = blake3::hash(secret);
        // All of them are looked at, whichever it is.
        self.secrets
            .iter()
            .fold(false, |found, known| found | (known.hash == hash))
    }

    /// The value of the header for whoever signs in by himself: with the first secret.
    pub fn value(&self) -> String {
        let secret = self.secrets.first().map_or("", |secret| secret.text.as_str());
        match self.scheme {
            Some(scheme) => format!("{scheme} {secret}"),
            None => secret.to_string(),
        }
    }
}

/// The header that an option names.
pub fn header_name(options: &Options, option: &str, default: &str) -> Result<HeaderName, Diagnostic> {
    let name = options.text(option).unwrap_or(default).trim();
    HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| options.invalid(option, format!("'{name}' is no name of a header")))
}
