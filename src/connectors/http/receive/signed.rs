//! Whether a request was signed by who knows a secret.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use hyper::header::{HeaderMap, HeaderName};
use sha2::Sha256;

use crate::config::options::Options;
use crate::connectors::http::secrets::header_name;
use crate::connectors::http::signature::Signer;
use crate::error::{Code, Diagnostic};

/// How requests are signed.
#[derive(Debug, Clone)]
pub enum Signed {
    /// As Standard Webhooks say.
    Standard {
        /// The keys.
        signer: Signer,
        /// How far the time may be from the clock, in seconds.
        tolerance: i64,
    },
    /// The HMAC of the body in a header.
    Generic {
        /// The keys.
        keys: Keys,
        /// The header.
        header: HeaderName,
        /// What stands before the signature.
        prefix: String,
        /// How it is written.
        encoding: Encoding,
    },
    /// As Stripe does: the HMAC of a time and the body.
    Stripe {
        /// The keys.
        keys: Keys,
        /// How far the time may be from the clock, in seconds.
        tolerance: i64,
    },
}

/// Keys of HMAC-SHA256, any of which will do.
#[derive(Clone)]
pub struct Keys(Vec<Hmac<Sha256>>);

/// How a signature is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Two digits a byte.
    Hex,
    /// With the usual alphabet.
    Base64,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Keys")
    }
}

impl Keys {
    fn new(secrets: &str) -> Result<Self, String> {
        let keys = secrets
            .split_whitespace()
            .map(|secret| Hmac::new_from_slice(secret.as_bytes()));
        let keys: Vec<_> = keys.collect::<Result<_, _>>().map_err(|error| error.to_string())?;
        match keys.is_empty() {
            true => Err("it is empty".to_string()),
            false => Ok(Keys(keys)),
        }
    }

    /// A signature of the parts by the first key.
    fn sign(&self, parts: &[&[u8]]) -> Vec<u8> {
        let Some(mut mac) = self.0.first().cloned() else {
            return Vec::new();
        };
        parts.iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes().to_vec()
    }

    /// Whether a signature of the parts is by one of the keys. In constant time.
    fn verify(&self, parts: &[&[u8]], signature: &[u8]) -> bool {
        self.0.iter().any(|key| {
            let mut mac = key.clone();
            parts.iter().for_each(|part| mac.update(part));
            mac.verify_slice(signature).is_ok()
        })
    }
}

impl Signed {
    /// As the options say. *Errors.* What is missing, or no secret.
    pub fn new(options: &Options) -> Result<Option<Self>, Diagnostic> {
        let kind = options.text("hmac").unwrap_or("none");
        let generic = ["hmac.header", "hmac.prefix"];
        if kind != "generic"
            && let Some(option) = generic.iter().find(|option| options.text(option).is_some())
        {
            return Err(options.invalid(option, "it belongs to \"http.hmac\" = 'generic'"));
        }
        if kind != "standard-webhooks" && options.integer("hmac.remember").is_some_and(|ids| ids > 0) {
            return Err(options.invalid("hmac.remember", "it belongs to \"http.hmac\" = 'standard-webhooks'"));
        }
        let secret = match (kind, options.text("secret")) {
            ("none", None) => return Ok(None),
            ("none", Some(_)) => {
                let error = options.invalid("secret", "http.hmac does not say how requests are signed");
                return Err(error.hint("\"http.hmac\" = 'standard-webhooks', 'generic' or 'stripe'"));
            }
            (_, Some(secret)) => secret,
            (kind, None) => {
                let message = format!("\"http.hmac\" = '{kind}' needs http.secret");
                return Err(Diagnostic::new(Code::MissingOption, message)
                    .hint("\"http.secret\" = '${NAME}' takes it from the environment"));
            }
        };
        let invalid = |reason: String| options.invalid("secret", reason);
        let tolerance = options.duration("hmac.tolerance").unwrap_or_default() / 1_000_000;
        Ok(Some(match kind {
            "standard-webhooks" => Signed::Standard {
                signer: Signer::new(secret).map_err(invalid)?,
                tolerance,
            },
            "stripe" => Signed::Stripe {
                keys: Keys::new(secret).map_err(invalid)?,
                tolerance,
            },
            _ => Signed::Generic {
                keys: Keys::new(secret).map_err(invalid)?,
                header: header_name(options, "hmac.header", "X-Hub-Signature-256")?,
                prefix: options.text("hmac.prefix").unwrap_or("sha256=").to_string(),
                encoding: match options.text("hmac.encoding") {
                    Some("base64") => Encoding::Base64,
                    _ => Encoding::Hex,
                },
            },
        }))
    }

    /// The headers of a request that is to pass [`Signed::check`]: names and values.
    pub fn sign(&self, id: &str, now: i64, body: &[u8]) -> Vec<(HeaderName, String)> {
        match self {
            Signed::Standard { signer, .. } => vec![
                (HeaderName::from_static("webhook-id"), id.to_string()),
                (HeaderName::from_static("webhook-timestamp"), now.to_string()),
                (HeaderName::from_static("webhook-signature"), signer.sign(id, now, body)),
            ],
            Signed::Generic {
                keys,
                header,
                prefix,
                encoding,
            } => {
                let signature = keys.sign(&[body]);
                let signature = match encoding {
                    Encoding::Hex => to_hex(&signature),
                    Encoding::Base64 => STANDARD.encode(signature),
                };
                vec![(header.clone(), format!("{prefix}{signature}"))]
            }
            Signed::Stripe { keys, .. } => {
                let signature = to_hex(&keys.sign(&[now.to_string().as_bytes(), b".", body]));
                vec![(
                    HeaderName::from_static("stripe-signature"),
                    format!("t={now},v1={signature}"),
                )]
            }
        }
    }

    /// Checks a request at a time in seconds. *Errors.* Why it is refused.
    pub fn check(&self, headers: &HeaderMap, body: &[u8], now: i64) -> Result<(), &'static str> {
        match self {
            Signed::Standard { signer, tolerance } => {
                let id = text(headers, "webhook-id").ok_or("there is no header webhook-id")?;
                let time = text(headers, "webhook-timestamp").and_then(|time| time.parse().ok());
                let time: i64 = time.ok_or("there is no header webhook-timestamp with a time in seconds")?;
                is_near(time, now, *tolerance)?;
                let signature = text(headers, "webhook-signature").ok_or("there is no header webhook-signature")?;
                valid(signer.verify(id, time, body, signature))
            }
            Signed::Generic {
                keys,
                header,
                prefix,
                encoding,
            } => {
                let value = text(headers, header.as_str()).ok_or("the header with the signature is missing")?;
                let signature = value.trim().strip_prefix(prefix.as_str()).unwrap_or_default();
                let signature = match encoding {
                    Encoding::Hex => from_hex(signature),
                    Encoding::Base64 => STANDARD.decode(signature).ok(),
                };
                valid(signature.is_some_and(|signature| keys.verify(&[body], &signature)))
            }
            Signed::Stripe { keys, tolerance } => {
                let value = text(headers, "stripe-signature").ok_or("there is no header Stripe-Signature")?;
                let mut parts = value.split(',').filter_map(|part| part.trim().split_once('='));
                let time = parts.clone().find(|(name, _)| *name == "t").map(|(_, time)| time);
                let time = time.ok_or("Stripe-Signature has no time")?;
                let seconds = time.parse().map_err(|_| "Stripe-Signature has no time")?;
                is_near(seconds, now, *tolerance)?;
                valid(parts.any(|(name, signature)| {
                    let signature = from_hex(signature).filter(|_| name == "v1");
                    signature.is_some_and(|signature| keys.verify(&[time.as_bytes(), b".", body], &signature))
                }))
            }
        }
    }
}

fn valid(holds: bool) -> Result<(), &'static str> {
    match holds {
        true => Ok(()),
        false => Err("the signature does not hold"),
    }
}

fn is_near(time: i64, now: i64, tolerance: i64) -> Result<(), &'static str> {
    match time.abs_diff(now) <= tolerance.unsigned_abs() {
        true => Ok(()),
        false => Err("the time of the request is too far from the clock"),
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text
        .chars()
        .map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<_>>()?;
    let pairs = digits.chunks_exact(2);
    match pairs.remainder().is_empty() {
        true => Some(pairs.map(|pair| pair[0] << 4 | pair[1]).collect()),
        false => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::options::RawOption;
    use crate::connectors::http::source_options::SOURCE;

    fn signed(options: &[(&str, &str)]) -> Result<Option<Signed>, Diagnostic> {
        let raw: Vec<RawOption> = options
            .iter()
            .map(|(key, value)| RawOption::new(*key, *value))
            .collect();
        Signed::new(&Options::check("http", SOURCE, &raw).unwrap())
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    }

    /// The example of GitHub's documentation.
    #[test]
    fn as_github_signs() {
        let github = signed(&[
            ("hmac", "generic"),
            ("secret", "old It's-no-use"),
            ("hmac.header", "X-Hub-Signature-256"),
        ]);
        let wrong = github.unwrap().unwrap();
        let github = signed(&[("hmac", "generic"), ("secret", "old key")]).unwrap().unwrap();
        let mut mac: Hmac<Sha256> = Hmac::new_from_slice(b"key").unwrap();
        mac.update(b"Hello, World!");
        let hex = to_hex(&mac.finalize().into_bytes());
        let good = headers(&[("x-hub-signature-256", &format!("sha256={hex}"))]);
        assert_eq!(github.check(&good, b"Hello, World!", 0), Ok(()));
        assert!(github.check(&good, b"Hello, World?", 0).is_err());
        assert!(wrong.check(&good, b"Hello, World!", 0).is_err());
        for bad in [hex.as_str(), "sha256=", "sha256=0", "sha256=zz", "sha256=é"] {
            let Ok(value) = hyper::header::HeaderValue::from_str(bad) else {
                continue;
            };
            let mut headers = HeaderMap::new();
            headers.insert("x-hub-signature-256", value);
            assert!(github.check(&headers, b"Hello, World!", 0).is_err(), "{bad}");
        }
        assert!(github.check(&HeaderMap::new(), b"", 0).is_err());
        let own: HeaderMap = wrong
            .sign("", 0, b"x")
            .into_iter()
            .map(|(name, value)| (name, value.parse().unwrap()))
            .collect();
        assert_eq!(wrong.check(&own, b"x", 0), Ok(()));
    }

    #[test]
    fn as_stripe_signs() {
        let stripe = signed(&[("hmac", "stripe"), ("secret", "whsec_x")]).unwrap().unwrap();
        let mut mac: Hmac<Sha256> = Hmac::new_from_slice(b"whsec_x").unwrap();
        mac.update(b"1000.{}");
        let hex = to_hex(&mac.finalize().into_bytes()).to_uppercase();
        let good = headers(&[("stripe-signature", &format!("t=1000,v1=00,v1={hex},v0=1"))]);
        assert_eq!(stripe.check(&good, b"{}", 1_300), Ok(()));
        assert!(stripe.check(&good, b"{}", 1_301).is_err());
        assert!(stripe.check(&good, b"{}", 699).is_err());
        assert!(stripe.check(&good, b"{ }", 1_000).is_err());
        let other = headers(&[("stripe-signature", &format!("t=1001,v1={hex}"))]);
        assert!(stripe.check(&other, b"{}", 1_000).is_err());
    }

    #[test]
    fn what_is_missing_is_told() {
        for (options, why) in [
            (&[("hmac", "generic")] as &[(&str, &str)], "needs http.secret"),
            (&[("secret", "x")], "how requests are signed"),
            (&[("hmac", "standard-webhooks"), ("secret", "x")], "begins with whsec_"),
            (
                &[("hmac", "stripe"), ("secret", "x"), ("hmac.prefix", "y")],
                "belongs to",
            ),
            (
                &[("hmac", "stripe"), ("secret", "x"), ("hmac.remember", "9")],
                "belongs to",
            ),
            (&[("hmac", "generic"), ("secret", " ")], "empty"),
        ] {
            let error = signed(options).err().unwrap();
            assert!(error.message.contains(why), "{}", error.message);
        }
    }
}
