//! [`Gate`]: lets in who signs in with an API key or a token, and finds out what it may.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::extract::Request;
use axum::http::{Method, header};
use serde_json::json;

use super::Principal;
use super::api_keys::{ApiKeys, Hash, sha256};
use super::cache::Cache;
use super::credentials::{in_headers, in_url};
use super::jwt::Jwt;
use super::principal::At;
use super::roles::{Roles, There};
use crate::config::access::AuthOptions;
use crate::error::Result;
use crate::server::audit::Event;
use crate::server::failure::{Failure, Kind};

/// The latest end of what somebody signed in with: an [`Instant`] is not any time.
const LATEST: Duration = Duration::from_secs(10 * 365 * 24 * 3_600);

/// Where clients may sign in by their first message.
const SOCKETS: [&str; 2] = ["/ws", "/graphql"];

/// Who may come in.
pub struct Gate {
    open: Vec<String>,
    query_token: bool,
    keys: ApiKeys,
    jwt: Option<Jwt>,
    roles: Roles,
    cache: Cache,
}

impl Gate {
    /// As configured. *Errors.* Keys that cannot be read; roles of what is not there.
    pub fn new(options: &AuthOptions, there: There<'_>) -> Result<Self> {
        Ok(Gate {
            open: options.open.clone(),
            query_token: options.query_token,
            keys: ApiKeys::new(&options.keys),
            jwt: options.jwt.as_ref().map(Jwt::new).transpose()?,
            roles: Roles::new(&options.roles, &there)?,
            cache: Cache::new(options.remember),
        })
    }

    /// Whether something needs no credential.
    pub fn is_open(&self, what: &str) -> bool {
        self.open.iter().any(|open| open == what)
    }

    /// Keeps the keys of tokens as they are at their issuer. Never ends, if there is something to keep.
    pub async fn keep_keys(&self) {
        if let Some(jwks) = self.jwt.as_ref().and_then(Jwt::jwks) {
            jwks.refresh().await;
        }
    }

    /// Who sends a request. What it signs in with is taken out of its URL. *Errors.* If it is nobody, or nobody that is known.
    pub async fn admit(&self, request: &mut Request, at: At) -> std::result::Result<Principal, Failure> {
        let nobody = Principal::nobody().at(at.clone());
        match self.credential(request) {
            Ok(Some(credential)) => self.sign_in(&credential, at).await,
            Ok(None) if self.needs_none(request) => Ok(nobody),
            Ok(None) => {
                let message = "sign in: with 'Authorization: Bearer …', or 'X-API-Key: …'";
                let failure = Failure::new(Kind::Unauthenticated, message);
                nobody.note_refusal("", &failure);
                Err(failure)
            }
            Err(failure) => {
                nobody.note_refusal("", &failure);
                Err(failure)
            }
        }
    }

    fn credential(&self, request: &mut Request) -> std::result::Result<Option<String>, Failure> {
        let in_url = match self.query_token {
            true => in_url(request.uri()),
            false => None,
        };
        let found = in_headers(request.headers())?;
        Ok(match in_url {
            Some((token, uri)) => {
                *request.uri_mut() = uri;
                found.or(Some(token))
            }
            None => found,
        })
    }

    /// Whether a request is for what is open, or begins a connection on which its client signs in.
    fn needs_none(&self, request: &Request) -> bool {
        let path = request.uri().path();
        let is_open = path.strip_prefix('/').is_some_and(|name| self.is_open(name));
        let upgrade = request.headers().get(header::UPGRADE);
        let is_socket = upgrade.is_some_and(|upgrade| upgrade.as_bytes().eq_ignore_ascii_case(b"websocket"));
        is_open || is_socket && request.method() == Method::GET && SOCKETS.contains(&path)
    }

    /// Who has a key or a token. *Errors.* Why it is not good; that it cannot be verified now; that nobody may come in unnoted.
    pub async fn sign_in(&self, credential: &str, at: At) -> std::result::Result<Principal, Failure> {
        let hash = hash(credential, &at);
        let generation = self.jwt.as_ref().map_or(0, Jwt::generation);
        if let Some(known) = self.cache.find(&hash, generation) {
            return Ok(known.at(at));
        }
        match self.verified(credential).await {
            Ok((principal, by)) => {
                let principal = principal.at(at);
                let more = json!({"by": by, "roles": principal.roles()});
                let noted = &principal.place().audit;
                noted.note(Event::SignIn, &principal, "", "OK", more)?;
                // Verifying may have brought new keys.
                let generation = self.jwt.as_ref().map_or(0, Jwt::generation);
                self.cache.find(&hash, generation);
                self.cache.put(hash, generation, &principal.clone().at(At::default()));
                Ok(principal)
            }
            Err(failure) => {
                Principal::nobody().at(at).note_refusal("", &failure);
                Err(failure)
            }
        }
    }

    async fn verified(&self, credential: &str) -> std::result::Result<(Principal, &'static str), Failure> {
        if let Some(key) = self.keys.find(credential) {
            let rights = self.roles.rights(&key.roles, &key.claims);
            let principal = Principal::known(key.name.clone(), key.roles.clone(), rights, None);
            return Ok((principal, "key"));
        }
        let Some(jwt) = self.jwt.as_ref().filter(|_| credential.contains('.')) else {
            return Err(Failure::new(Kind::TokenInvalid, "this key or token is not known"));
        };
        let verified = jwt.verify(credential).await?;
        let claims = verified.claims;
        let Some(name) = claims.name(jwt.name_claim()) else {
            let message = format!("the token does not say who it is ({})", jwt.name_claim());
            return Err(Failure::new(Kind::TokenInvalid, message));
        };
        let mut roles = claims.words(jwt.roles_claim());
        roles.extend(jwt.roles().iter().cloned());
        roles.sort();
        roles.dedup();
        let rights = self.roles.rights(&roles, &claims);
        Ok((
            Principal::known(name, roles, rights, Some(end(verified.until))),
            "token",
        ))
    }
}

/// When so many seconds since 1970 will be.
fn end(until: u64) -> Instant {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Instant::now() + Duration::from_secs(until).saturating_sub(now).min(LATEST)
}

/// By what a credential from an address is remembered.
fn hash(credential: &str, at: &At) -> Hash {
    let address = at.address.map(|address| address.ip().to_string()).unwrap_or_default();
    sha256(&[address.as_bytes(), b" ", credential.as_bytes()])
}

/// The name of what a path is, as the audit has it.
pub fn endpoint(path: &str) -> &'static str {
    const ALL: [&str; 9] = [
        "/graphql",
        "/events",
        "/ws",
        "/publish",
        "/graphiql",
        "/live",
        "/metrics",
        "/health",
        "/ready",
    ];
    let first = path.split('/').nth(1).unwrap_or_default();
    match ALL.iter().find(|known| &known[1..] == first) {
        Some(known) => known,
        None if first.is_empty() => "/",
        None => "other",
    }
}
