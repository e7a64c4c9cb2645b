//! `[application.checkpoint.s3]`: how the S3 that checkpoints are kept in is reached; and `s3://bucket/prefix`, which says where
//! in it.
//!
//! What is not said here is looked for in the environment variables that all tools of S3 know (`AWS_ENDPOINT_URL`, `AWS_REGION`,
//! `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, …).

use std::fmt;

use super::checkpoints::Value;
use super::layers::wrong_value;
use crate::error::Diagnostic;
use crate::event::Micros;

/// What the URL of a bucket begins with.
const SCHEME: &str = "s3://";

/// The server.
pub(super) const ENDPOINT: &str = "checkpoint.s3.endpoint";

/// Its region.
pub(super) const REGION: &str = "checkpoint.s3.region";

/// Who signs requests.
pub(super) const ACCESS_KEY_ID: &str = "checkpoint.s3.access-key-id";

/// With what.
pub(super) const SECRET_ACCESS_KEY: &str = "checkpoint.s3.secret-access-key";

/// The token of temporary credentials.
pub(super) const SESSION_TOKEN: &str = "checkpoint.s3.session-token";

/// Whether TLS may be missing.
pub(super) const ALLOW_HTTP: &str = "checkpoint.s3.allow-http";

/// How long a request may take.
pub(super) const TIMEOUT: &str = "checkpoint.s3.timeout";

/// How others are kept out.
pub(super) const LOCK: &str = "checkpoint.s3.lock";

/// For how long.
pub(super) const LEASE: &str = "checkpoint.s3.lease";

/// How long a lease may be: long enough for a few requests, short enough to wait for.
const LEASES: std::ops::RangeInclusive<Micros> = 1_000_000..=600_000_000;

/// The shortest time that a request may take.
const MIN_TIMEOUT: Micros = 100_000;

/// How a server is reached; what is not said is looked for in the environment. `Debug` does not show secrets.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct S3Options {
    /// The server's URL.
    pub endpoint: Option<String>,
    /// The region.
    pub region: Option<String>,
    /// Who signs requests.
    pub access_key_id: Option<String>,
    /// With what.
    pub secret_access_key: Option<String>,
    /// The token of temporary credentials.
    pub session_token: Option<String>,
    /// Whether requests may go over the network without TLS.
    pub allow_http: Option<bool>,
    /// How long one request may take.
    pub timeout: Option<Micros>,
    /// How one app at a time uses the place.
    pub lock: S3Lock,
    /// How long a lease holds that is not renewed.
    pub lease: Option<Micros>,
}

/// How one app at a time uses a place in S3.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum S3Lock {
    /// By a lease that it renews.
    #[default]
    Lease,
    /// Nothing sees to it.
    None,
}

impl fmt::Debug for S3Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Options")
            .field("endpoint", &self.endpoint)
            .field("region", &self.region)
            .finish_non_exhaustive()
    }
}

impl S3Options {
    /// The options whose values `value` knows.
    pub(super) fn of<'a>(value: &dyn Fn(&str) -> Result<Option<Value<'a>>, Diagnostic>) -> Result<Self, Diagnostic> {
        let text = |key: &str| Ok(value(key)?.map(|(_, text)| text));
        let duration = |key: &str, within: std::ops::RangeInclusive<Micros>, what: &str| {
            let Some((option, text)) = value(key)? else {
                return Ok(None);
            };
            let micros = super::duration::parse(&text).filter(|micros| within.contains(micros));
            micros.map(Some).ok_or_else(|| wrong_value(option, what))
        };
        let allow_http = match value(ALLOW_HTTP)? {
            None => None,
            Some((_, text)) if text == "true" => Some(true),
            Some((_, text)) if text == "false" => Some(false),
            Some((option, _)) => return Err(wrong_value(option, "true or false")),
        };
        let lock = match value(LOCK)? {
            None => S3Lock::Lease,
            Some((_, text)) if text == "lease" => S3Lock::Lease,
            Some((_, text)) if text == "none" => S3Lock::None,
            Some((option, _)) => return Err(wrong_value(option, "lease or none")),
        };
        Ok(S3Options {
            endpoint: text(ENDPOINT)?,
            region: text(REGION)?,
            access_key_id: text(ACCESS_KEY_ID)?,
            secret_access_key: text(SECRET_ACCESS_KEY)?,
            session_token: text(SESSION_TOKEN)?,
            allow_http,
            timeout: duration(TIMEOUT, MIN_TIMEOUT..=Micros::MAX, "a duration of 100 ms or more")?,
            lock,
            lease: duration(LEASE, LEASES, "a duration from 1 second to 10 minutes")?,
        })
    }
}

/// A place in S3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Url {
    /// The bucket.
    pub bucket: String,
    /// What all names begin with, without slashes around it; may be empty.
    pub prefix: String,
}

impl S3Url {
    /// Of `s3://bucket/prefix`; `None` if the text is not such a URL, or holds what no place has.
    pub fn parse(text: &str) -> Option<Self> {
        let (bucket, prefix) = match text.strip_prefix(SCHEME)?.split_once('/') {
            Some((bucket, prefix)) => (bucket, prefix.trim_matches('/')),
            None => (text.strip_prefix(SCHEME)?, ""),
        };
        let named = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        // What could be taken for a query, credentials, or a way out of the prefix.
        let odd = prefix.contains(['?', '#', '@', '\\']) || prefix.split('/').any(|part| matches!(part, "." | ".."));
        let empty = !prefix.is_empty() && prefix.split('/').any(str::is_empty);
        (!bucket.is_empty() && bucket.bytes().all(named) && !odd && !empty).then(|| S3Url {
            bucket: bucket.to_string(),
            prefix: prefix.to_string(),
        })
    }
}

impl fmt::Display for S3Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", self.bucket)?;
        match self.prefix.as_str() {
            "" => Ok(()),
            prefix => write!(f, "/{prefix}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::layers::Layers;

    #[test]
    fn urls() {
        for (text, shown) in [
            ("s3://b", "s3://b"),
            ("s3://b/", "s3://b"),
            ("s3://my-bucket.x/apps/trades/", "s3://my-bucket.x/apps/trades"),
        ] {
            assert_eq!(S3Url::parse(text).unwrap().to_string(), shown);
        }
        for wrong in [
            "s3://",
            "s3:///x",
            "s3:/b",
            "gs://b",
            "state",
            "s3://key:secret@b/x",
            "s3://b/x?region=eu",
            "s3://b/../x",
            "s3://b/a//c",
        ] {
            assert_eq!(S3Url::parse(wrong), None, "{wrong}");
        }
    }

    fn options(settings: &[&str]) -> Result<S3Options, Diagnostic> {
        let layers = settings.iter().try_fold(Layers::default(), |layers, setting| {
            layers.set(&format!("application.checkpoint.s3.{setting}"))
        })?;
        Ok(layers
            .checkpoints(&|name| (name == "SECRET").then(|| "hush".to_string()))?
            .s3)
    }

    #[test]
    fn options_and_what_is_secret_of_them() {
        let options = options(&[
            "endpoint=https://s3.example",
            "secret-access-key=${SECRET}",
            "session-token=hush",
            "allow-http=true",
            "lease=2 s",
            "lock=none",
        ])
        .unwrap();
        assert_eq!(options.secret_access_key.as_deref(), Some("hush"));
        assert_eq!((options.allow_http, options.lease), (Some(true), Some(2_000_000)));
        assert_eq!(options.lock, S3Lock::None);
        assert!(!format!("{options:?}").contains("hush"));
    }

    #[test]
    fn wrong_values() {
        for (wrong, what) in [
            ("allow-http=yes", "is true or false"),
            ("lock=file", "is lease or none"),
            ("lease=10ms", "is a duration from"),
            ("timeout=0", "is a duration of"),
        ] {
            let error = options(&[wrong]).unwrap_err();
            assert!(error.message.contains(what), "{wrong}: {error}");
        }
    }
}
