//! Tokens, good and bad.

use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, KeyPair,
};
use serde_json::{Value, json};

use super::*;
use crate::config::layers::Layers;
use crate::error::SourceText;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn token(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let message = format!(
        "{}.{}",
        encode(header.to_string().as_bytes()),
        encode(claims.to_string().as_bytes())
    );
    let signature = sign(message.as_bytes());
    format!("{message}.{}", encode(&signature))
}

fn hmac(algorithm: ring::hmac::Algorithm, secret: &[u8]) -> impl Fn(&[u8]) -> Vec<u8> {
    let key = ring::hmac::Key::new(algorithm, secret);
    move |message| ring::hmac::sign(&key, message).as_ref().to_vec()
}

fn hs256(claims: &Value) -> String {
    token(
        &json!({"alg": "HS256"}),
        claims,
        hmac(ring::hmac::HMAC_SHA256, SECRET.as_bytes()),
    )
}

fn jwt(options: &str) -> crate::error::Result<Jwt> {
    let text = format!("[server.auth.jwt]\n{options}");
    let layers = Layers::default().toml(SourceText::new("e.toml", text)).unwrap();
    let options = layers.server(&|_| None).unwrap().unwrap();
    Jwt::new(&options.auth.unwrap().jwt.unwrap())
}

fn verify(jwt: &Jwt, token: &str) -> std::result::Result<Verified, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(jwt.verify(token))
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

#[test]
fn claims_are_checked() {
    let jwt = jwt(&format!(
        "secret = '{SECRET}'\nissuer = ['i', 'j']\naudience = 'a, b'\nleeway = '10 s'\n"
    ))
    .unwrap();
    let exp = now() + 60;
    let good = json!({"sub": "ann", "exp": exp, "iss": "j", "aud": ["x", "b"]});
    let verified = verify(&jwt, &hs256(&good)).unwrap();
    assert_eq!(
        (verified.claims.name("sub").as_deref(), verified.until),
        (Some("ann"), exp + 10)
    );
    for (change, expected) in [
        (json!({}), None),
        (json!({"aud": "a"}), None),
        (json!({"exp": exp as f64 + 0.5}), None),
        (json!({"exp": now() - 5}), None),
        (json!({"nbf": now() + 5}), None),
        (json!({"exp": now() - 11}), Some(Kind::TokenExpired)),
        (json!({"exp": 0}), Some(Kind::TokenExpired)),
        (json!({"exp": null}), Some(Kind::TokenInvalid)),
        (json!({"exp": -1}), Some(Kind::TokenInvalid)),
        (json!({"exp": "soon"}), Some(Kind::TokenInvalid)),
        (json!({"exp": 1e300}), Some(Kind::TokenInvalid)),
        (json!({"nbf": now() + 60}), Some(Kind::TokenInvalid)),
        (json!({"nbf": "x"}), Some(Kind::TokenInvalid)),
        (json!({"iss": "k"}), Some(Kind::TokenInvalid)),
        (json!({"iss": null}), Some(Kind::TokenInvalid)),
        (json!({"iss": ["j"]}), Some(Kind::TokenInvalid)),
        (json!({"aud": "c"}), Some(Kind::TokenInvalid)),
        (json!({"aud": ["c", 1]}), Some(Kind::TokenInvalid)),
        (json!({"aud": []}), Some(Kind::TokenInvalid)),
        (json!({"aud": null}), Some(Kind::TokenInvalid)),
        (json!({"aud": {"b": 1}}), Some(Kind::TokenInvalid)),
    ] {
        let mut claims = good.clone();
        for (name, value) in change.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let outcome = verify(&jwt, &hs256(&claims)).map_err(|failure| failure.kind);
        assert_eq!(outcome.err(), expected, "{change}");
    }
    let without = json!({"sub": "ann", "iss": "j", "aud": "a"});
    assert_eq!(verify(&jwt, &hs256(&without)).unwrap_err().kind, Kind::TokenInvalid);
}

#[test]
fn a_token_for_somebody_is_refused_where_nobody_is_configured() {
    let jwt = jwt(&format!("secret = '{SECRET}'\n")).unwrap();
    let exp = now() + 60;
    assert!(verify(&jwt, &hs256(&json!({"exp": exp}))).is_ok());
    assert!(verify(&jwt, &hs256(&json!({"exp": exp, "aud": "x"}))).is_err());
}

#[test]
fn malformed_tokens_are_refused() {
    let jwt = jwt(&format!("secret = '{SECRET}'\n")).unwrap();
    let claims = json!({"exp": now() + 60});
    let good = hs256(&claims);
    let sign = || hmac(ring::hmac::HMAC_SHA256, SECRET.as_bytes());
    let [header, payload, signature]: [&str; 3] = good.split('.').collect::<Vec<_>>().try_into().unwrap();
    let none = format!("{}.{payload}.", encode(br#"{"alg":"none"}"#));
    let mut flipped = base64(signature).unwrap();
    flipped[0] ^= 1;
    let bad = [
        String::new(),
        ".".to_string(),
        "..".to_string(),
        "a.b.c".to_string(),
        format!("{header}.{payload}"),
        format!("{header}.{payload}."),
        format!("{good}.x"),
        format!("{good}="),
        format!("{header}.{payload}.{}", encode(&flipped)),
        format!(
            "{header}.{}.{signature}",
            encode(br#"{"exp":99999999999,"admin":true}"#)
        ),
        format!("{}.{payload}.{signature}", encode(br#"{"alg":"HS256","typ":"JWT"}"#)),
        none.clone(),
        format!("{none}{signature}"),
        token(&json!({"alg": "None"}), &claims, sign()),
        token(&json!({"alg": "hs256"}), &claims, sign()),
        token(&json!({"alg": ["HS256"]}), &claims, sign()),
        token(&json!({}), &claims, sign()),
        token(&json!([]), &claims, sign()),
        token(&json!({"alg": "HS384"}), &claims, sign()),
        token(&json!({"alg": "HS256", "crit": ["exp"]}), &claims, sign()),
        token(&json!({"alg": "HS256", "kid": 5}), &claims, sign()),
        token(&json!({"alg": "HS256", "kid": "x".repeat(300)}), &claims, sign()),
        token(&json!({"alg": "HS256"}), &json!([1]), sign()),
        token(
            &json!({"alg": "HS256"}),
            &json!({"exp": now() + 60, "x": "y".repeat(20_000)}),
            sign(),
        ),
        token(
            &json!({"alg": "HS256"}),
            &claims,
            hmac(ring::hmac::HMAC_SHA256, b"another secret"),
        ),
        token(&json!({"alg": "HS256"}), &claims, |_| Vec::new()),
    ];
    for token in &bad {
        let failure = verify(&jwt, token).unwrap_err();
        assert_eq!(failure.kind, Kind::TokenInvalid, "{token:.80}: {failure:?}");
    }
    assert!(verify(&jwt, &good).is_ok());
    // A name of a key is a name, and nothing is looked up by it.
    let named = token(
        &json!({"alg": "HS256", "kid": "../../dev/null' OR 1=1"}),
        &claims,
        sign(),
    );
    assert!(verify(&jwt, &named).is_ok());
    let hs512 = token(
        &json!({"alg": "HS512"}),
        &claims,
        hmac(ring::hmac::HMAC_SHA512, SECRET.as_bytes()),
    );
    assert!(verify(&jwt, &hs512).is_ok());
    let only = super::tests::jwt(&format!("secret = '{SECRET}'\nalgorithms = ['HS256']\n")).unwrap();
    assert!(verify(&only, &hs512).is_err());
    assert!(super::tests::jwt(&format!("secret = '{SECRET}'\nalgorithms = ['RS256']\n")).is_err());
}

fn ec(algorithm: &'static EcdsaSigningAlgorithm) -> EcdsaKeyPair {
    let random = SystemRandom::new();
    let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
    EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).unwrap()
}

fn jwk_of(pair: &EcdsaKeyPair, curve: &str, id: &str) -> Value {
    let (x, y) = pair.public_key().as_ref()[1..].split_at(pair.public_key().as_ref().len() / 2);
    json!({"kty": "EC", "crv": curve, "x": encode(x), "y": encode(y), "kid": id})
}

#[test]
fn keys_of_a_set_by_name_kind_and_use() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    let (p256, p384) = (
        ec(&ECDSA_P256_SHA256_FIXED_SIGNING),
        ec(&ECDSA_P384_SHA384_FIXED_SIGNING),
    );
    let ed = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let other = ec(&ECDSA_P256_SHA256_FIXED_SIGNING);
    let mut encrypts = jwk_of(&other, "P-256", "enc");
    encrypts["use"] = json!("enc");
    let mut signs = jwk_of(&other, "P-256", "signs");
    signs["key_ops"] = json!(["sign"]);
    let keys = json!({"keys": [
        jwk_of(&p256, "P-256", "a"),
        jwk_of(&p384, "P-384", "b"),
        {"kty": "OKP", "crv": "Ed25519", "x": encode(ed.public_key().as_ref()), "kid": "c", "alg": "EdDSA", "use": "sig"},
        {"kty": "oct", "k": encode(SECRET.as_bytes()), "kid": "secret"},
        encrypts,
        signs,
        {"kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA", "kid": "short"},
        {"kty": "PQ", "kid": "new"},
        17,
    ]});
    std::fs::write(&path, keys.to_string()).unwrap();
    let jwt = jwt(&format!("jwks.file = '{}'\njwks.cooldown = '1 hour'\n", path.display())).unwrap();
    let claims = json!({"exp": now() + 60});
    let random = SystemRandom::new();
    let by = |pair: &EcdsaKeyPair, header: Value| {
        token(&header, &claims, |message| {
            pair.sign(&random, message).unwrap().as_ref().to_vec()
        })
    };
    let by_ed = |header: Value| token(&header, &claims, |message| ed.sign(message).as_ref().to_vec());
    for (token, is_good) in [
        (by(&p256, json!({"alg": "ES256", "kid": "a"})), true),
        (by(&p256, json!({"alg": "ES256"})), true),
        (by(&p384, json!({"alg": "ES384", "kid": "b"})), true),
        (by_ed(json!({"alg": "EdDSA", "kid": "c"})), true),
        (by(&p256, json!({"alg": "ES256", "kid": "b"})), false),
        (by(&p384, json!({"alg": "ES256", "kid": "b"})), false),
        (by(&p256, json!({"alg": "ES384", "kid": "a"})), false),
        (by_ed(json!({"alg": "ES256", "kid": "c"})), false),
        (by(&other, json!({"alg": "ES256", "kid": "enc"})), false),
        (by(&other, json!({"alg": "ES256", "kid": "signs"})), false),
        (by(&other, json!({"alg": "ES256"})), false),
        (
            token(
                &json!({"alg": "HS256", "kid": "secret"}),
                &claims,
                hmac(ring::hmac::HMAC_SHA256, SECRET.as_bytes()),
            ),
            false,
        ),
        // What is public is no secret.
        (
            token(
                &json!({"alg": "HS256", "kid": "a"}),
                &claims,
                hmac(ring::hmac::HMAC_SHA256, p256.public_key().as_ref()),
            ),
            false,
        ),
    ] {
        let outcome = verify(&jwt, &token);
        assert_eq!(outcome.is_ok(), is_good, "{token}: {outcome:?}");
    }
}

#[test]
fn keys_that_cannot_be_read_are_told_of_and_old_ones_are_good_for_a_while() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    let pair = ec(&ECDSA_P256_SHA256_FIXED_SIGNING);
    let random = SystemRandom::new();
    let good = token(
        &json!({"alg": "ES256", "kid": "a"}),
        &json!({"exp": now() + 60}),
        |message| pair.sign(&random, message).unwrap().as_ref().to_vec(),
    );
    let jwt = jwt(&format!(
        "jwks.file = '{}'\njwks.cooldown = '10 ms'\njwks.max-age = '300 ms'\n",
        path.display()
    ))
    .unwrap();
    assert_eq!(verify(&jwt, &good).unwrap_err().kind, Kind::AuthUnavailable);
    std::thread::sleep(std::time::Duration::from_millis(20));
    std::fs::write(&path, json!({"keys": [jwk_of(&pair, "P-256", "a")]}).to_string()).unwrap();
    assert!(verify(&jwt, &good).is_ok());
    assert_eq!(jwt.generation(), 1);
    for broken in ["", "{", "{\"keys\":5}", "{\"keys\":[]}", &"x".repeat(300 << 10)] {
        std::fs::write(&path, broken).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(15));
        let other = token(
            &json!({"alg": "ES256", "kid": "b"}),
            &json!({"exp": now() + 60}),
            |_| vec![0; 64],
        );
        assert_eq!(verify(&jwt, &other).unwrap_err().kind, Kind::TokenInvalid);
        assert!(verify(&jwt, &good).is_ok());
    }
    std::thread::sleep(std::time::Duration::from_millis(350));
    assert_eq!(verify(&jwt, &good).unwrap_err().kind, Kind::AuthUnavailable);
}
