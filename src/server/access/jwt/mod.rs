//! JSON Web Tokens: signed by an issuer whose keys are known, verified here (RFC 7519, RFC 7515, RFC 8725).
//!
//! What a token must have: three parts; a header with an algorithm that fits a key that is known, and no extension that would have to be
//! understood; a signature; a time until it is good; and issuer, audience and name as configured.

mod der;
mod jwks;
mod keys;
#[cfg(test)]
mod tests;

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

pub use jwks::Jwks;
use keys::KeySet;

use super::claims::Claims;
use crate::config::access::{JwtKeys, JwtOptions};
use crate::error::{Error, Result};
use crate::server::failure::{Failure, Kind};

/// The longest token, in bytes.
const LONGEST: usize = 16 << 10;

/// The longest name of a key, in bytes.
const LONGEST_ID: usize = 256;

/// Verifies tokens.
pub struct Jwt {
    options: JwtOptions,
    source: Source,
}

enum Source {
    /// Keys that stay as they are.
    Fixed(KeySet),
    /// Keys that change.
    Jwks(Box<Jwks>),
}

/// What a token says, when it is what it should be.
#[derive(Debug)]
pub struct Verified {
    /// Its claims.
    pub claims: Claims,
    /// Until when it is good, in seconds since 1970; the tolerance for clocks is in it.
    pub until: u64,
}

/// Bytes as tokens have them.
pub(super) fn base64(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

fn refused(message: impl Into<String>) -> Failure {
    Failure::new(Kind::TokenInvalid, message)
}

impl Jwt {
    /// As configured. *Errors.* A key that cannot be read; a URL that is none, or not safe.
    pub fn new(options: &JwtOptions) -> Result<Self> {
        let source = match &options.keys {
            JwtKeys::Secret(secret) => Source::Fixed(KeySet::secret(secret.reveal(), &options.algorithms)),
            JwtKeys::PublicKey(path) => {
                let shown = path.display();
                let text = std::fs::read(path).map_err(|error| Error::io(format!("cannot read {shown}"), error))?;
                let keys = KeySet::pem(&text, &options.algorithms);
                Source::Fixed(keys.map_err(|why| Error::usage(format!("auth.jwt.public-key: {shown}: {why}")))?)
            }
            JwtKeys::Jwks(jwks) => Source::Jwks(Box::new(Jwks::new(jwks, &options.algorithms)?)),
        };
        let options = options.clone();
        if matches!(&source, Source::Fixed(keys) if !keys.verifies_anything()) {
            return Err(Error::usage("auth.jwt.algorithms: none of them fits the key"));
        }
        Ok(Jwt { options, source })
    }

    /// The keys that change, if they do.
    pub fn jwks(&self) -> Option<&Jwks> {
        match &self.source {
            Source::Fixed(_) => None,
            Source::Jwks(jwks) => Some(jwks),
        }
    }

    /// How often the keys have changed: what was verified before is not any more.
    pub fn generation(&self) -> u64 {
        self.jwks().map_or(0, Jwks::generation)
    }

    /// Verifies a token. *Errors.* Why it is refused; no more of it than its reader may know.
    pub async fn verify(&self, token: &str) -> std::result::Result<Verified, Failure> {
        let token = Token::parse(token)?;
        match &self.source {
            Source::Fixed(keys) => token.signed(keys)?,
            Source::Jwks(jwks) => {
                let keys = jwks.keys_for(token.key_id.as_deref()).await?;
                if token.signed(&keys).is_err() {
                    // The issuer may have new keys that have no names, or the same.
                    let keys = jwks.newer_than(&keys).await?;
                    token.signed(&keys)?;
                }
            }
        }
        let claims = token.claims()?;
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        self.check(claims, now)
    }

    /// Checks what a token says about itself.
    fn check(&self, claims: Map<String, Value>, now: u64) -> std::result::Result<Verified, Failure> {
        let leeway = self.options.leeway.as_secs();
        let Some(expires) = seconds(claims.get("exp"))? else {
            return Err(refused("the token does not say until when it is good (exp)"));
        };
        let until = expires.saturating_add(leeway);
        if until <= now {
            return Err(Failure::new(Kind::TokenExpired, "the token has expired"));
        }
        if seconds(claims.get("nbf"))?.is_some_and(|from| from > now.saturating_add(leeway)) {
            return Err(refused("the token is not good yet (nbf)"));
        }
        let own = &self.options;
        let is_issuer = |issuer: &Value| own.issuer.iter().any(|known| issuer == known);
        if !own.issuer.is_empty() && !claims.get("iss").is_some_and(is_issuer) {
            return Err(refused("the token is of another issuer (iss)"));
        }
        let is_audience = |audience: &Value| own.audience.iter().any(|known| audience == known);
        let is_for_us = match claims.get("aud") {
            None | Some(Value::Null) => own.audience.is_empty(),
            Some(Value::Array(all)) => all.iter().any(is_audience),
            Some(one) => is_audience(one),
        };
        if !is_for_us {
            return Err(refused("the token is for somebody else (aud)"));
        }
        let claims = Claims::new(claims);
        Ok(Verified { claims, until })
    }

    /// The path of the claim with the name.
    pub fn name_claim(&self) -> &str {
        &self.options.name_claim
    }

    /// The path of the claim with the roles.
    pub fn roles_claim(&self) -> &str {
        &self.options.roles_claim
    }

    /// The roles of every token.
    pub fn roles(&self) -> &[String] {
        &self.options.roles
    }
}

/// A time as tokens have it: seconds since 1970, maybe with a fraction.
fn seconds(value: Option<&Value>) -> std::result::Result<Option<u64>, Failure> {
    match value {
        None => Ok(None),
        Some(value) => match (value.as_u64(), value.as_f64()) {
            (Some(whole), _) => Ok(Some(whole)),
            (None, Some(number)) if (0.0..1e15).contains(&number) => Ok(Some(number as u64)),
            _ => Err(refused("a time in the token is no number of seconds")),
        },
    }
}

/// A token in its parts, nothing of which is believed yet.
struct Token<'a> {
    algorithm: &'static str,
    key_id: Option<String>,
    /// What is signed.
    message: &'a str,
    payload: &'a str,
    signature: Vec<u8>,
}

impl<'a> Token<'a> {
    fn parse(text: &'a str) -> std::result::Result<Self, Failure> {
        if text.len() > LONGEST {
            return Err(refused(format!("a token has {LONGEST} bytes at most")));
        }
        let malformed = || refused("this is no token");
        let (message, signature) = text.rsplit_once('.').ok_or_else(malformed)?;
        let (header, payload) = message.split_once('.').ok_or_else(malformed)?;
        let object = |part: &str| -> Option<Map<String, Value>> { serde_json::from_slice(&base64(part)?).ok() };
        let header = object(header).ok_or_else(malformed)?;
        let signature = base64(signature).ok_or_else(malformed)?;
        let algorithm = header.get("alg").and_then(Value::as_str).and_then(keys::known);
        let Some(algorithm) = algorithm else {
            return Err(refused("the token is signed by an algorithm that is not allowed"));
        };
        if header.contains_key("crit") {
            return Err(refused("the token has extensions that are not understood (crit)"));
        }
        let key_id = match header.get("kid") {
            None => None,
            Some(Value::String(id)) if id.len() <= LONGEST_ID => Some(id.clone()),
            Some(_) => return Err(malformed()),
        };
        Ok(Token {
            algorithm,
            key_id,
            message,
            payload,
            signature,
        })
    }

    fn signed(&self, keys: &KeySet) -> std::result::Result<(), Failure> {
        let message = self.message.as_bytes();
        match keys.verifies(self.algorithm, self.key_id.as_deref(), message, &self.signature) {
            true => Ok(()),
            false => Err(refused("the token is not signed by a key that is known")),
        }
    }

    fn claims(&self) -> std::result::Result<Map<String, Value>, Failure> {
        let claims = base64(self.payload).and_then(|bytes| serde_json::from_slice(&bytes).ok());
        claims.ok_or_else(|| refused("this is no token"))
    }
}
