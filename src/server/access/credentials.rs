//! Where clients put what they sign in with.

use axum::http::{HeaderMap, Uri, header};
use serde_json::Value;

use crate::server::failure::{Failure, Kind};

/// The header of API keys.
pub const API_KEY: &str = "x-api-key";

/// The parameter of URLs.
const PARAMETER: &str = "access_token";

/// What stands before a token.
const BEARER: &str = "bearer";

/// What is in the headers of a request. *Errors.* For what is no token nor key.
pub fn in_headers(headers: &HeaderMap) -> Result<Option<String>, Failure> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        return match value.to_str().ok().and_then(bearer) {
            Some(token) => Ok(Some(token.to_string())),
            None => Err(Failure::new(Kind::TokenInvalid, "write 'Authorization: Bearer …'")),
        };
    }
    match headers.get(API_KEY) {
        None => Ok(None),
        Some(value) => match value.to_str().map(str::trim) {
            Ok(key) if !key.is_empty() => Ok(Some(key.to_string())),
            _ => Err(Failure::new(Kind::TokenInvalid, "the API key is no text")),
        },
    }
}

fn bearer(text: &str) -> Option<&str> {
    let (scheme, token) = text.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case(BEARER) && !token.is_empty()).then_some(token)
}

/// What is in a URL, and the URL without it: nobody else is to see it.
pub fn in_url(uri: &Uri) -> Option<(String, Uri)> {
    let query = uri.query()?;
    let is_it = |part: &&str| part.split('=').next() == Some(PARAMETER);
    let found = query.split('&').find(is_it)?;
    let (_, token) = found.split_once('=')?;
    let rest: Vec<&str> = query.split('&').filter(|part| !is_it(part)).collect();
    let path = match rest.is_empty() {
        true => uri.path().to_string(),
        false => format!("{}?{}", uri.path(), rest.join("&")),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(path.parse().ok()?);
    Some((unescaped(token)?, Uri::from_parts(parts).ok()?))
}

/// A value of a URL's query as it is meant. Tokens and keys have ASCII only.
fn unescaped(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'%' => {
                let hex = [bytes.next()?, bytes.next()?];
                u8::from_str_radix(std::str::from_utf8(&hex).ok()?, 16).ok()?
            }
            byte => byte,
        };
        out.push(char::from(Some(byte).filter(u8::is_ascii_graphic)?));
    }
    Some(out)
}

/// What is in the payload with which a client of GraphQL begins: as a header would be called, there or among `headers`.
pub fn in_payload(payload: &Value) -> Result<Option<String>, Failure> {
    for object in [Some(payload), payload.get("headers")].into_iter().flatten() {
        let Value::Object(members) = object else { continue };
        for (name, value) in members {
            let is = |known: &str| name.eq_ignore_ascii_case(known);
            let text = value.as_str().map(str::trim).filter(|text| !text.is_empty());
            let found = match () {
                () if is("authorization") => text.and_then(bearer),
                () if is(API_KEY) || is("apiKey") || is("api_key") => text,
                () => continue,
            };
            return match found {
                Some(found) => Ok(Some(found.to_string())),
                None => Err(Failure::new(
                    Kind::TokenInvalid,
                    "write \"Authorization\": \"Bearer …\"",
                )),
            };
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn headers() {
        let of = |pairs: &[(&'static str, &'static str)]| {
            let headers = pairs.iter().map(|(name, value)| {
                (
                    header::HeaderName::from_static(name),
                    header::HeaderValue::from_static(value),
                )
            });
            in_headers(&headers.collect()).map_err(|failure| failure.kind)
        };
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(of(&[("authorization", "bEARER  a.b ")]), Ok(Some("a.b".into())));
        assert_eq!(of(&[("x-api-key", "k")]), Ok(Some("k".into())));
        assert_eq!(
            of(&[("authorization", "Bearer a"), ("x-api-key", "k")]),
            Ok(Some("a".into()))
        );
        for wrong in ["Basic YTpi", "Bearer", "Bearer ", "a.b.c"] {
            assert_eq!(
                of(&[("authorization", wrong), ("x-api-key", "k")]),
                Err(Kind::TokenInvalid)
            );
        }
    }

    #[test]
    fn urls() {
        for (uri, expected) in [
            ("/a?x=1&access_token=t%2Fk&y=2", Some(("t/k", "/a?x=1&y=2"))),
            ("http://h/a?access_token=t", Some(("t", "http://h/a"))),
            ("/a?access_tokens=t", None),
            ("/a?access_token=%0a", None),
            ("/a?access_token=%4", None),
            ("/a", None),
        ] {
            let found = in_url(&uri.parse().unwrap());
            let found = found.as_ref().map(|(token, uri)| (token.as_str(), uri.to_string()));
            let found = found.as_ref().map(|(token, uri)| (*token, uri.as_str()));
            assert_eq!(found, expected, "{uri}");
        }
    }

    #[test]
    fn payloads() {
        for (payload, expected) in [
            (json!({}), Ok(None)),
            (json!(null), Ok(None)),
            (json!({"Authorization": "Bearer t"}), Ok(Some("t"))),
            (json!({"authorization": "bearer t"}), Ok(Some("t"))),
            (json!({"headers": {"Authorization": "Bearer t"}}), Ok(Some("t"))),
            (json!({"X-API-Key": "k"}), Ok(Some("k"))),
            (json!({"apiKey": "k"}), Ok(Some("k"))),
            (json!({"authorization": "t"}), Err(Kind::TokenInvalid)),
            (json!({"authorization": 5}), Err(Kind::TokenInvalid)),
        ] {
            let found = in_payload(&payload).map_err(|failure| failure.kind);
            assert_eq!(found, expected.map(|found| found.map(str::to_string)), "{payload}");
        }
    }
}
