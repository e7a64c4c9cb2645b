//! [`Jwks`]: the keys of an issuer, which changes them as it likes: read when the server starts, again every so often, and when a token
//! names a key that is not known. What was read stays good for a while when it cannot be read again.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use tokio::sync::Mutex;

use super::keys::KeySet;
use crate::config::access::{JwksOptions, JwksPlace};
use crate::error::{Error, Result};
use crate::server::failure::{Failure, Kind};

/// The largest set of keys, in bytes.
const LARGEST: usize = 256 << 10;

/// How often it may be led elsewhere on the same server.
const REDIRECTS: usize = 3;

/// How soon it is tried again when it could not be read.
const RETRY: Duration = Duration::from_secs(5);

/// The keys of an issuer.
pub struct Jwks {
    options: JwksOptions,
    allowed: Vec<String>,
    place: Place,
    known: RwLock<Known>,
    /// How often they have changed.
    generation: AtomicU64,
    /// Held by whoever reads them: when they were last tried to be read.
    reading: Mutex<Option<Instant>>,
}

enum Place {
    File(std::path::PathBuf),
    Url(Client, Url),
}

#[derive(Default)]
struct Known {
    keys: Arc<KeySet>,
    /// When they were read; never: there are none.
    read: Option<Instant>,
}

impl Jwks {
    /// Not read yet. *Errors.* A URL that is none, or where anybody in between could give other keys.
    pub fn new(options: &JwksOptions, allowed: &[String]) -> Result<Self> {
        let place = match &options.place {
            JwksPlace::File(path) => Place::File(path.clone()),
            JwksPlace::Url(url) => {
                let url =
                    checked(url, options.insecure).map_err(|why| Error::usage(format!("auth.jwt.jwks.url: {why}")))?;
                Place::Url(client(&url, options.timeout)?, url)
            }
        };
        Ok(Jwks {
            options: options.clone(),
            allowed: allowed.to_vec(),
            place,
            known: RwLock::default(),
            generation: AtomicU64::new(0),
            reading: Mutex::new(None),
        })
    }

    /// How often the keys have changed.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Reads the keys again and again. Never ends.
    pub async fn refresh(&self) {
        loop {
            let good = self.read(None).await;
            let pause = match good {
                true => self.options.refresh,
                false => RETRY.min(self.options.refresh),
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// The keys, read again if there is none of that name. *Errors.* When there are none at all.
    pub(super) async fn keys_for(&self, id: Option<&str>) -> std::result::Result<Arc<KeySet>, Failure> {
        let is_there = |keys: &KeySet| id.is_none_or(|id| keys.has(id));
        let known = self.current();
        if let Some(keys) = known.filter(|keys| !keys.is_empty() && is_there(keys)) {
            return Ok(keys);
        }
        self.read(Some(self.options.cooldown)).await;
        self.good()
    }

    /// The keys, read again because these did not verify a token. The same, if that was done lately.
    pub(super) async fn newer_than(&self, keys: &Arc<KeySet>) -> std::result::Result<Arc<KeySet>, Failure> {
        let now = self.good()?;
        if !Arc::ptr_eq(&now, keys) {
            return Ok(now);
        }
        self.read(Some(self.options.cooldown)).await;
        self.good()
    }

    /// The keys, unless they are too old.
    fn current(&self) -> Option<Arc<KeySet>> {
        let known = self.known.read();
        let is_good = known.read.is_some_and(|read| read.elapsed() < self.options.max_age);
        is_good.then(|| known.keys.clone())
    }

    fn good(&self) -> std::result::Result<Arc<KeySet>, Failure> {
        self.current().ok_or_else(|| {
            let message = "the keys that tokens are verified with cannot be read: try again";
            Failure::new(Kind::AuthUnavailable, message)
        })
    }

    /// Reads the keys, once for all who want it meanwhile, and not if that was tried less than `unless` ago. Whether they are known now.
    async fn read(&self, unless: Option<Duration>) -> bool {
        let asked = Instant::now();
        let mut tried = self.reading.lock().await;
        let lately = |at: Instant| at >= asked || unless.is_some_and(|pause| at.elapsed() < pause);
        if tried.is_some_and(lately) {
            return self.current().is_some();
        }
        let text = tokio::time::timeout(self.options.timeout, self.text()).await;
        *tried = Some(Instant::now());
        let text = text.unwrap_or_else(|_| Err("it took too long".to_string()));
        match text.and_then(|text| KeySet::jwks(&text, &self.allowed)) {
            Ok(keys) if !keys.is_empty() => {
                let mut known = self.known.write();
                known.read = Some(Instant::now());
                if !known.keys.is_same(&keys) {
                    known.keys = Arc::new(keys);
                    self.generation.fetch_add(1, Ordering::AcqRel);
                }
                true
            }
            Ok(_) => {
                tracing::warn!("the set of keys for tokens has no key that verifies signatures");
                false
            }
            Err(error) => {
                tracing::warn!(%error, "the keys for tokens cannot be read");
                false
            }
        }
    }

    async fn text(&self) -> std::result::Result<Vec<u8>, String> {
        match &self.place {
            Place::File(path) => file(path).await,
            Place::Url(client, url) => get(client, url).await,
        }
    }
}

async fn file(path: &Path) -> std::result::Result<Vec<u8>, String> {
    use std::io::Read;
    let path = path.to_path_buf();
    let read = tokio::task::spawn_blocking(move || {
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path)?;
        file.take(LARGEST as u64 + 1).read_to_end(&mut bytes)?;
        Ok::<_, std::io::Error>(bytes)
    });
    let read = read.await.map_err(|_| "it was given up".to_string())?;
    small(read.map_err(|error| error.to_string())?)
}

fn small(bytes: Vec<u8>) -> std::result::Result<Vec<u8>, String> {
    match bytes.len() > LARGEST {
        true => Err(format!("it has more than {LARGEST} bytes")),
        false => Ok(bytes),
    }
}

async fn get(client: &Client, url: &Url) -> std::result::Result<Vec<u8>, String> {
    let answer = client.get(url.clone()).send().await;
    // An error of reqwest shows the URL, and that may have a password in it.
    let mut answer = answer.map_err(|error| shown(error.without_url()))?;
    if !answer.status().is_success() {
        return Err(format!("the answer is {}", answer.status()));
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| shown(error.without_url()))? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > LARGEST {
            break;
        }
    }
    small(bytes)
}

/// An error with what is behind it.
fn shown(error: reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(inner) = source {
        text += &format!(": {inner}");
        source = inner.source();
    }
    text
}

/// Whom it goes to, as it is to be compared.
fn origin(url: &Url) -> (String, Option<String>, Option<u16>) {
    (
        url.scheme().to_string(),
        url.host_str().map(str::to_string),
        url.port_or_known_default(),
    )
}

fn client(url: &Url, timeout: Duration) -> Result<Client> {
    let own = origin(url);
    let policy =
        Policy::custom(
            move |attempt| match origin(attempt.url()) == own && attempt.previous().len() <= REDIRECTS {
                true => attempt.follow(),
                false => attempt.error("it leads to another server"),
            },
        );
    let client = Client::builder().redirect(policy).timeout(timeout).build();
    client.map_err(Error::failed)
}

/// A URL from which keys may be read.
fn checked(text: &str, insecure: bool) -> std::result::Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("this is no URL: {error}"))?;
    let is_local = match url.host_str() {
        Some("localhost") => true,
        Some(host) => {
            let host = host.trim_start_matches('[').trim_end_matches(']');
            host.parse::<std::net::IpAddr>()
                .is_ok_and(|address| address.is_loopback())
        }
        None => false,
    };
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_local || insecure => Ok(url),
        "http" => Err("whoever is between could give other keys: use https, or set jwks.insecure".to_string()),
        other => Err(format!("it is https, not {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::checked;

    #[test]
    fn urls() {
        for (url, insecure, is_good) in [
            ("https://issuer/keys", false, true),
            ("http://127.0.0.1:1/keys", false, true),
            ("http://[::1]:1/keys", false, true),
            ("http://localhost/keys", false, true),
            ("http://issuer/keys", false, false),
            ("http://127.0.0.1.evil/keys", false, false),
            ("http://issuer/keys", true, true),
            ("file:///etc/passwd", true, false),
            ("keys.json", false, false),
        ] {
            assert_eq!(checked(url, insecure).is_ok(), is_good, "{url}");
        }
    }
}
