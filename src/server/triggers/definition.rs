//! [`Definition`]: a trigger as its owner has asked for it, checked.

use std::fmt;
use std::net::ToSocketAddrs;
use std::sync::Arc;

use reqwest::Url;
use reqwest::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

use super::pace::Rate;
use crate::config::duration;
use crate::config::triggers::TriggerOptions;
use crate::connectors::http::address::is_public;
use crate::connectors::http::settings::{Allowed, JSON, OWN_HEADERS, Sending, Tally, checked};
use crate::connectors::http::signature::Signer;
use crate::event::Micros;
use crate::server::failure::{Failure, Kind};

/// The longest name.
const MAX_NAME: usize = 64;

/// The longest URL, in bytes.
const MAX_URL: usize = 2_048;

/// How many headers there may be, and how long a value may be.
const MAX_HEADERS: usize = 20;
const MAX_HEADER: usize = 4_096;

/// The longest secrets.
const MAX_SECRET: usize = 1_024;

/// The longest cool-down, and the longest time of a rate: 30 days.
const MAX_TIME: Micros = 30 * 86_400_000_000;

/// The most calls of a rate.
const MAX_RATE: u32 = 100_000;

/// What a client asks for.
#[derive(Debug, Default)]
pub struct Asked {
    /// What it is called.
    pub name: String,
    /// Where to.
    pub webhook: String,
    /// When it fires: as it was written, and as SQL.
    pub fire: (serde_json::Value, String),
    /// When it clears; `None`: when it does not fire.
    pub clear: Option<(serde_json::Value, String)>,
    /// Headers of each call.
    pub headers: Vec<(String, String)>,
    /// What calls are signed with.
    pub secret: Option<String>,
    /// How long after a FIRE a key does not fire again.
    pub cool_down: Option<String>,
    /// How many calls in which time.
    pub rate_limit: Option<(i64, String)>,
    /// Whether rows that are there already fire.
    pub initial: bool,
}

/// Who asks, and what it may see.
#[derive(Debug, Clone, Default)]
pub struct Owner {
    /// Its name.
    pub name: String,
    /// The condition on the rows that it may see; empty: all.
    pub row_filter: String,
    /// The columns that it may not see.
    pub hidden: Vec<String>,
}

/// A trigger.
#[derive(Clone, Serialize, Deserialize)]
pub struct Definition {
    /// Different for each trigger there ever was: part of the ids of its events.
    pub uid: String,
    /// What it is called.
    pub name: String,
    /// Whose it is.
    pub owner: String,
    /// When it was made.
    pub created_at: Micros,
    /// Where to.
    pub webhook: String,
    /// Headers of each call.
    pub headers: Vec<(String, String)>,
    /// What calls are signed with.
    pub secret: Option<String>,
    /// When it fires, as it was written.
    pub fire: serde_json::Value,
    /// When it clears, as it was written.
    pub clear: Option<serde_json::Value>,
    /// The same as SQL.
    pub fire_sql: String,
    /// See there.
    pub clear_sql: Option<String>,
    /// The condition on the rows that its owner may see; empty: all.
    pub row_filter: String,
    /// The columns that its owner may not see.
    pub hidden: Vec<String>,
    /// See [`Asked`].
    pub cool_down: Micros,
    /// How many calls in which time.
    pub rate: Option<Rate>,
    /// Whether rows that are there already fire.
    pub initial: bool,
}

impl fmt::Debug for Definition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // URLs, headers and secrets are nobody's business.
        f.debug_struct("Definition")
            .field("name", &self.name)
            .field("uid", &self.uid)
            .finish_non_exhaustive()
    }
}

impl Definition {
    /// Checks what is asked for, but for its conditions. *Errors.* What is wrong, without secrets.
    pub fn new(asked: Asked, owner: Owner, options: &TriggerOptions, now: Micros) -> Result<Self, Failure> {
        check_name(&asked.name)?;
        check_url(&asked.webhook, options)?;
        check_headers(&asked.headers)?;
        if asked.secret.as_ref().is_some_and(|secret| secret.len() > MAX_SECRET) {
            return Err(Failure::bad(format!("secret: it has {MAX_SECRET} bytes at most")));
        }
        if let Some(secret) = &asked.secret {
            Signer::new(secret).map_err(|why| Failure::bad(format!("secret: {why}")))?;
        }
        let cool_down = asked
            .cool_down
            .as_deref()
            .map(|text| time("cool_down", text))
            .transpose()?;
        let rate = asked.rate_limit.map(|(count, per)| rate(count, &per)).transpose()?;
        let or_true = |sql: String| match sql.is_empty() {
            true => "TRUE".to_string(),
            false => sql,
        };
        let (clear, clear_sql) = asked.clear.unzip();
        Ok(Definition {
            uid: format!("{:032x}", rand::random::<u128>()),
            name: asked.name,
            owner: owner.name,
            created_at: now,
            webhook: asked.webhook,
            headers: asked.headers,
            secret: asked.secret,
            fire: asked.fire.0,
            clear,
            fire_sql: or_true(asked.fire.1),
            clear_sql: clear_sql.map(or_true),
            row_filter: owner.row_filter,
            hidden: owner.hidden,
            cool_down: cool_down.unwrap_or_default(),
            rate,
            initial: asked.initial,
        })
    }

    /// How its calls are made.
    pub fn sending(&self, options: &TriggerOptions) -> Result<Arc<Sending>, String> {
        let mut headers = vec![(CONTENT_TYPE, HeaderValue::from_static(JSON))];
        for (name, value) in &self.headers {
            let mut value = HeaderValue::from_str(value).map_err(|error| error.to_string())?;
            value.set_sensitive(true);
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| error.to_string())?;
            headers.retain(|(known, _)| *known != name);
            headers.push((name, value));
        }
        Ok(Arc::new(Sending {
            url: Some(checked(&self.webhook)?),
            method: reqwest::Method::POST,
            headers,
            names: Vec::new(),
            signer: self.secret.as_deref().map(Signer::new).transpose()?,
            timeout: options.timeout,
            retry_after_max: options.retry_after_max,
            connect_timeout: options.timeout,
            allowed: allowed(options),
            tally: Tally::default(),
        }))
    }
}

/// What triggers may call.
pub fn allowed(options: &TriggerOptions) -> Allowed {
    Allowed {
        private: options.allow_private,
        hosts: options.allowed_hosts.clone(),
    }
}

fn check_name(name: &str) -> Result<(), Failure> {
    let is_good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    match (1..=MAX_NAME).contains(&name.len()) && name.chars().all(is_good) {
        true => Ok(()),
        false => Err(Failure::bad(format!(
            "name: 1 to {MAX_NAME} letters, digits, '_', '-' and '.'"
        ))),
    }
}

/// Whether a URL may be called, as far as it can be told now; at each call its address is looked at again.
fn check_url(text: &str, options: &TriggerOptions) -> Result<(), Failure> {
    if text.len() > MAX_URL {
        return Err(Failure::bad(format!("webhook: a URL has {MAX_URL} bytes at most")));
    }
    let url = checked(text).map_err(|why| Failure::bad(format!("webhook: {}", why.replace(USER_HINT, ""))))?;
    let refusal = allowed(options).refusal(&url);
    let refusal = refusal.or_else(|| (!options.allow_private).then(|| resolved_refusal(&url)).flatten());
    match refusal {
        Some(why) => Err(Failure::new(Kind::Forbidden, format!("webhook: {why}"))),
        None => Ok(()),
    }
}

/// What the check of URLs advises, which triggers have not.
const USER_HINT: &str = ": use http.basic.user and http.basic.password";

/// Why the addresses that a name has now must not be called. One that has none now may have some later.
fn resolved_refusal(url: &Url) -> Option<String> {
    let host = url.host_str()?;
    let all = (host, url.port_or_known_default()?).to_socket_addrs().ok()?;
    let all: Vec<_> = all.collect();
    let is_private = !all.is_empty() && !all.iter().any(|address| is_public(address.ip()));
    is_private.then(|| format!("{host} is an address of this machine or of a private network"))
}

fn check_headers(headers: &[(String, String)]) -> Result<(), Failure> {
    if headers.len() > MAX_HEADERS {
        return Err(Failure::bad(format!("headers: {MAX_HEADERS} at most")));
    }
    for (name, value) in headers {
        let parsed = HeaderName::from_bytes(name.as_bytes());
        let parsed = parsed.map_err(|_| Failure::bad(format!("headers: '{name}' is no name of a header")))?;
        if OWN_HEADERS.contains(&parsed.as_str()) {
            return Err(Failure::bad(format!("headers: {parsed} is set by the server")));
        }
        if value.len() > MAX_HEADER || HeaderValue::from_str(value).is_err() {
            return Err(Failure::bad(format!("headers: the value of {parsed} cannot be sent")));
        }
    }
    Ok(())
}

fn time(what: &str, text: &str) -> Result<Micros, Failure> {
    let short = Some(text).filter(|text| text.len() <= MAX_NAME);
    let micros = short
        .and_then(duration::parse)
        .filter(|micros| (1_000..=MAX_TIME).contains(micros));
    let shown: String = text.chars().take(MAX_NAME).collect();
    micros.ok_or_else(|| {
        Failure::bad(format!(
            "{what}: '{shown}' is no duration from 1 ms to 30 days, such as '5 minutes'"
        ))
    })
}

fn rate(count: i64, per: &str) -> Result<Rate, Failure> {
    let count = u32::try_from(count).ok().filter(|count| (1..=MAX_RATE).contains(count));
    let count = count.ok_or_else(|| Failure::bad(format!("rate_limit: count is from 1 to {MAX_RATE}")))?;
    Ok(Rate {
        count,
        per: time("rate_limit", per)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::layers::Layers;

    fn options() -> TriggerOptions {
        Layers::default_server().unwrap().triggers
    }

    fn asked() -> Asked {
        Asked {
            name: "high".to_string(),
            webhook: "https://8.8.8.8/hook".to_string(),
            ..Asked::default()
        }
    }

    fn refused(change: impl Fn(&mut Asked, &mut TriggerOptions)) -> String {
        let (mut asked, mut options) = (asked(), options());
        change(&mut asked, &mut options);
        let failure = Definition::new(asked, Owner::default(), &options, 0).expect_err("it is refused");
        assert!(!failure.message.contains("hush"), "{}", failure.message);
        failure.message
    }

    #[test]
    fn what_is_no_trigger() {
        for (name, good) in [
            ("", false),
            ("a b", false),
            ("a/b", false),
            ("ü", false),
            ("a.B-c_1", true),
        ] {
            assert_eq!(check_name(name).is_ok(), good, "{name}");
        }
        assert!(check_name(&"a".repeat(65)).is_err());
        for (url, why) in [
            ("hush", "it is no URL"),
            ("ftp://8.8.8.8/", "http://"),
            ("http://me:hush@8.8.8.8/", "it has a user in it"),
            ("http://10.0.0.1/", "private network"),
            ("http://localhost:1/", "private network"),
            ("http://[::ffff:127.0.0.1]/", "private network"),
            ("http://0x7f.1/", "private network"),
        ] {
            let message = refused(|asked, _| asked.webhook = url.to_string());
            assert!(message.contains(why), "{url}: {message}");
            assert!(!message.contains("http.basic"), "{message}");
        }
        let long = format!("https://8.8.8.8/{}", "x".repeat(2_048));
        assert!(refused(|asked, _| asked.webhook = long.clone()).contains("2048 bytes at most"));
        let message = refused(|_, options| options.allowed_hosts = vec!["other.com".to_string()]);
        assert!(message.contains("hosts that are allowed"), "{message}");
        for (name, value, why) in [
            ("a b", "x", "no name of a header"),
            ("Webhook-Id", "x", "set by the server"),
            ("A", "hu\nsh", "cannot be sent"),
        ] {
            let message = refused(|asked, _| asked.headers = vec![(name.to_string(), value.to_string())]);
            assert!(message.contains(why), "{message}");
        }
        assert!(
            refused(|asked, _| asked.headers = vec![("A".to_string(), "x".to_string()); 21]).contains("20 at most")
        );
        assert!(refused(|asked, _| asked.secret = Some("hush".to_string())).contains("begins with whsec_"));
        assert!(refused(|asked, _| asked.cool_down = Some("soon".to_string())).contains("no duration"));
        assert!(refused(|asked, _| asked.cool_down = Some("31 days".to_string())).contains("no duration"));
        assert!(refused(|asked, _| asked.rate_limit = Some((0, "1 s".to_string()))).contains("count is from 1"));
        assert!(refused(|asked, _| asked.rate_limit = Some((1, "x".to_string()))).contains("no duration"));
    }

    #[test]
    fn hosts() {
        let allowed = |hosts: &[&str]| Allowed {
            private: false,
            hosts: hosts.iter().map(|host| (*host).to_string()).collect(),
        };
        let refused = |hosts: &[&str], url: &str| allowed(hosts).refusal(&url.parse().unwrap()).is_some();
        assert!(!refused(&[], "https://a.example.com/"));
        assert!(!refused(&["*.example.com"], "https://A.b.Example.com./"));
        assert!(refused(&["*.example.com"], "https://example.com/"));
        assert!(refused(&["*.example.com"], "https://badexample.com/"));
        assert!(!refused(&["x.org", "example.com"], "https://example.com:8443/"));
        assert!(refused(&["example.com"], "https://example.com.evil.org/"));
        // A list does not open what is private.
        assert!(refused(&["localhost"], "http://localhost/"));
    }

    #[test]
    fn it_does_not_show_secrets() {
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let asked = Asked {
            secret: Some(secret.to_string()),
            ..asked()
        };
        let definition = Definition::new(asked, Owner::default(), &options(), 0).unwrap();
        assert!(!format!("{definition:?}").contains("MfKQ"));
        assert_eq!(definition.fire_sql, "TRUE");
        assert!(definition.sending(&options()).unwrap().signer.is_some());
    }
}
