//! Public keys: of RSA, of elliptic curves; sets of keys that their issuer changes while the server runs.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use ring::rand::SystemRandom;
use ring::rsa::{KeyPair as RsaKeyPair, PublicKeyComponents};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA384,
    RsaEncoding,
};
use serde_json::{Value, json};

use super::{Served, code_of, config, encode, hmac, now, served, signed};
use crate::support::Scratch;

/// Makes a private key, which is given as DER; the public one is in the file `NAME.pem`.
fn private(scratch: &Scratch, name: &str, arguments: &[&str]) -> Vec<u8> {
    let openssl = |arguments: &[&str]| {
        let made = Command::new("openssl").args(arguments).output().expect("openssl");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    };
    let path = |end: &str| scratch.path(&format!("{name}.{end}")).display().to_string();
    let (key, der, public) = (path("key"), path("der"), path("pem"));
    openssl(&[&["genpkey", "-out", &key], arguments].concat());
    openssl(&[
        "pkcs8", "-topk8", "-nocrypt", "-in", &key, "-outform", "DER", "-out", &der,
    ]);
    openssl(&["pkey", "-in", &key, "-pubout", "-out", &public]);
    std::fs::read(der).unwrap()
}

/// Makes a key of RSA: the private one, and the public one as PEM.
fn rsa(scratch: &Scratch, name: &str, bits: usize) -> (RsaKeyPair, String) {
    let bits = format!("rsa_keygen_bits:{bits}");
    let der = private(scratch, name, &["-algorithm", "RSA", "-pkeyopt", &bits]);
    let pem = std::fs::read_to_string(scratch.path(&format!("{name}.pem"))).unwrap();
    let pair = RsaKeyPair::from_pkcs8(&der).unwrap();
    (pair, pem)
}

fn claims() -> Value {
    json!({"sub": "ann", "iss": "issuer", "aud": "eventflux", "exp": now() + 600, "roles": ["trader"], "account": "A"})
}

fn by_rsa(pair: &RsaKeyPair, encoding: &'static dyn RsaEncoding, header: Value) -> String {
    signed(&header, &claims(), |message| {
        let mut signature = vec![0; pair.public().modulus_len()];
        pair.sign(encoding, &SystemRandom::new(), message, &mut signature)
            .unwrap();
        signature
    })
}

fn rs256(pair: &RsaKeyPair, id: &str) -> String {
    by_rsa(pair, &RSA_PKCS1_SHA256, json!({"alg": "RS256", "kid": id}))
}

fn jwk(pair: &RsaKeyPair, id: &str) -> Value {
    let parts = PublicKeyComponents::<Vec<u8>>::from(pair.public());
    json!({"kty": "RSA", "use": "sig", "kid": id, "n": encode(&parts.n), "e": encode(&parts.e)})
}

fn with_keys(keys: &str) -> String {
    config("").replace("secret = 'a secret that is known to the issuer'", keys)
}

fn status(served: &Served, token: &str) -> String {
    let answer = served.ask("GET", "/metrics", token, "");
    match answer.status {
        200 => "200".to_string(),
        status => format!("{status} {}", code_of(&answer.json()).unwrap()),
    }
}

const INVALID: &str = "401 TOKEN_INVALID";

#[test]
fn a_public_key_is_no_secret() {
    let scratch = Scratch::new();
    let (pair, pem) = rsa(&scratch, "one", 2048);
    let (other, _) = rsa(&scratch, "two", 2048);
    let served = served(&with_keys(&format!(
        "public-key = '{}'",
        scratch.path("one.pem").display()
    )));
    assert_eq!(status(&served, &rs256(&pair, "any")), "200");
    assert_eq!(
        status(&served, &by_rsa(&pair, &RSA_PSS_SHA384, json!({"alg": "PS384"}))),
        "200"
    );
    for (what, token) in [
        ("another key", rs256(&other, "any")),
        (
            "another algorithm of RSA than it says",
            by_rsa(&pair, &RSA_PKCS1_SHA256, json!({"alg": "PS256"})),
        ),
        (
            "an algorithm of other keys",
            by_rsa(&pair, &RSA_PKCS1_SHA256, json!({"alg": "ES256"})),
        ),
        ("no algorithm", by_rsa(&pair, &RSA_PKCS1_SHA256, json!({"alg": "none"}))),
    ] {
        assert_eq!(status(&served, &token), INVALID, "{what}");
    }
    // The public key, which all know, taken for a secret: in every form it has.
    let der = ring::signature::KeyPair::public_key(&pair).as_ref().to_vec();
    for secret in [pem.as_bytes(), pem.trim().as_bytes(), der.as_slice()] {
        let token = signed(&json!({"alg": "HS256"}), &claims(), |message| hmac(secret, message));
        assert_eq!(status(&served, &token), INVALID);
    }
}

#[test]
fn keys_of_other_kinds() {
    let scratch = Scratch::new();
    let random = SystemRandom::new();
    let ec = private(
        &scratch,
        "ec",
        &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
    );
    let ec = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &ec, &random).unwrap();
    let ed = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&private(&scratch, "ed", &["-algorithm", "ED25519"])).unwrap();
    assert_eq!(ec.public_key().as_ref().len(), 65);
    let es256 = signed(&json!({"alg": "ES256"}), &claims(), |message| {
        ec.sign(&random, message).unwrap().as_ref().to_vec()
    });
    let eddsa = signed(&json!({"alg": "EdDSA"}), &claims(), |message| {
        ed.sign(message).as_ref().to_vec()
    });
    for (name, good, bad) in [("ec", &es256, &eddsa), ("ed", &eddsa, &es256)] {
        let served = served(&with_keys(&format!(
            "public-key = '{}'",
            scratch.path(&format!("{name}.pem")).display()
        )));
        assert_eq!(
            (status(&served, good).as_str(), status(&served, bad).as_str()),
            ("200", INVALID)
        );
    }
    // A key that is none, and one that fits none of the algorithms.
    let start = |keys: &str| {
        let app = super::build(&with_keys(keys)).unwrap();
        app.start().unwrap();
        let error = eventflux::server::Server::start(&app)
            .map(|_| ())
            .unwrap_err()
            .to_string();
        app.shutdown().unwrap();
        error
    };
    let pem = scratch.path("ec.pem").display().to_string();
    assert!(start(&format!("public-key = '{}'", scratch.path("ec.der").display())).contains("BEGIN PUBLIC KEY"));
    assert!(start(&format!("public-key = '{pem}'\nalgorithms = ['RS256']")).contains("fits the key"));
    assert!(start("jwks.url = 'http://issuer.example/keys'").contains("use https"));
}

/// An issuer's server: gives what it is told to, and counts how often.
struct Issuer {
    address: SocketAddr,
    answer: Arc<Mutex<String>>,
    asked: Arc<AtomicUsize>,
}

impl Issuer {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let issuer = Issuer {
            address: listener.local_addr().unwrap(),
            answer: Arc::default(),
            asked: Arc::default(),
        };
        let (answer, asked) = (issuer.answer.clone(), issuer.asked.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let mut bytes = [0; 4096];
                let _ = stream.read(&mut bytes);
                asked.fetch_add(1, Ordering::SeqCst);
                // That the other side has gone is its affair.
                let _ = stream.write_all(answer.lock().as_bytes());
            }
        });
        issuer
    }

    fn gives(&self, status: &str, body: &str) {
        *self.answer.lock() = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
    }

    fn gives_keys(&self, keys: &[Value]) {
        self.gives("200 OK", &json!({"keys": keys}).to_string());
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn pause() {
    std::thread::sleep(Duration::from_millis(350));
}

#[test]
fn keys_are_changed_without_a_restart() {
    let scratch = Scratch::new();
    let ((one, _), (two, _)) = (rsa(&scratch, "one", 2048), rsa(&scratch, "two", 2048));
    let issuer = Issuer::start();
    issuer.gives_keys(&[jwk(&one, "k1")]);
    let url = format!("http://{}/keys", issuer.address);
    let served = served(&with_keys(&format!(
        "jwks.url = '{url}'\njwks.cooldown = '300 ms'\njwks.refresh = '1 hour'"
    )));
    let (first, second) = (rs256(&one, "k1"), rs256(&two, "k2"));
    assert_eq!(status(&served, &first), "200");
    let begun = issuer.asked();
    for _ in 0..10 {
        assert_eq!(status(&served, &first), "200");
    }
    assert_eq!(issuer.asked(), begun, "what was verified is remembered");
    // Keys that are not known are asked for, but not for each token.
    pause();
    for at in 0..20 {
        assert_eq!(status(&served, &rs256(&two, &format!("k{}", at + 100))), INVALID);
    }
    assert_eq!(issuer.asked(), begun + 1);
    // A new key beside the old one.
    issuer.gives_keys(&[jwk(&one, "k1"), jwk(&two, "k2")]);
    pause();
    assert_eq!(
        (status(&served, &second), status(&served, &first)),
        ("200".to_string(), "200".to_string())
    );
    // The old one is withdrawn: known as soon as the keys are read again, for whatever reason.
    issuer.gives_keys(&[jwk(&two, "k2")]);
    pause();
    assert_eq!(status(&served, &rs256(&one, "k3")), INVALID);
    assert_eq!(
        (status(&served, &first).as_str(), status(&served, &second).as_str()),
        (INVALID, "200")
    );
    // The issuer fails: what is known is good.
    for (code, body) in [
        ("500 Oops", "{}"),
        ("200 OK", "nonsense"),
        ("200 OK", "{\"keys\":[]}"),
        ("302 Found\r\nlocation: http://127.0.0.2:1/", ""),
    ] {
        issuer.gives(code, body);
        pause();
        assert_eq!(status(&served, &rs256(&one, "k4")), INVALID, "{code}");
        assert_eq!(status(&served, &second), "200", "{code}");
    }
    issuer.gives(
        "200 OK",
        &format!("{{\"keys\":[],\"x\":\"{}\"}}", "y".repeat(300 << 10)),
    );
    pause();
    assert_eq!(status(&served, &rs256(&one, "k5")), INVALID);
    assert_eq!(status(&served, &second), "200");
}

#[test]
fn keys_are_read_again_every_so_often_and_once_for_many() {
    let scratch = Scratch::new();
    let ((one, _), (two, _)) = (rsa(&scratch, "one", 2048), rsa(&scratch, "two", 2048));
    let issuer = Issuer::start();
    issuer.gives("503 Later", "");
    let url = format!("http://{}/keys", issuer.address);
    let served = served(&with_keys(&format!(
        "jwks.url = '{url}'\njwks.cooldown = '200 ms'\njwks.refresh = '400 ms'"
    )));
    let (first, second) = (rs256(&one, "k1"), rs256(&two, "k2"));
    // No key has ever been read: it is not the token's fault.
    assert_eq!(status(&served, &first), "503 AUTH_UNAVAILABLE");
    // But keys of the API are good.
    assert_eq!(status(&served, "the key of the dashboard"), "200");
    issuer.gives_keys(&[jwk(&one, "k1")]);
    crate::support::wait_until("the keys", || status(&served, &first) == "200");
    issuer.gives_keys(&[jwk(&two, "k2")]);
    // Nobody asks with a new key: the old one is withdrawn all the same.
    crate::support::wait_until("the keys have changed", || status(&served, &first) == INVALID);
    assert_eq!(status(&served, &second), "200");
    let before = issuer.asked();
    let asking: Vec<_> = (0..16)
        .map(|_| {
            let (address, token) = (served.address, rs256(&one, "unknown"));
            std::thread::spawn(move || {
                let authorization = super::bearer(&token);
                let headers = [("authorization", authorization.as_str())];
                super::request(address, "GET", "/metrics", &headers, "").status
            })
        })
        .collect();
    for one in asking {
        assert_eq!(one.join().unwrap(), 401);
    }
    assert!(
        issuer.asked() - before <= 4,
        "{} for 16 tokens",
        issuer.asked() - before
    );
    // A key of 1024 bits verifies nothing.
    let weak = Path::new("weak");
    let (short, _) = {
        let made = std::panic::catch_unwind(|| rsa(&scratch, &weak.display().to_string(), 1024));
        match made {
            Ok(made) => made,
            // Nor does it sign here.
            Err(_) => return,
        }
    };
    issuer.gives_keys(&[jwk(&short, "weak")]);
    crate::support::wait_until("the weak key is refused", || {
        status(&served, &rs256(&short, "weak")) == INVALID
    });
}
