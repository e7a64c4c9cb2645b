//! Who may do what, as it is configured.

use super::*;
use crate::config::layers::Layers;
use crate::config::server::ServerOptions;
use crate::error::{Colour, SourceText};

fn of(text: &str) -> Result<ServerOptions, Diagnostic> {
    let layers = Layers::default().toml(SourceText::of_files([("conf/e.toml", text.to_string())]))?;
    let lookup = |name: &str| match name {
        "KEY" => Some("0123456789abcdef".to_string()),
        "ACCOUNT" => Some("a\"1\", \"b".to_string()),
        _ => None,
    };
    Ok(layers.server(&lookup)?.unwrap_or_else(|| panic!("nothing in {text}")))
}

#[test]
fn all_of_it() {
    let options = of("
        [server.auth]
        open = ['health']
        query-token = true
        [[server.auth.keys]]
        name = 'dash'
        key = '${KEY}'
        roles = ['viewer', 'root']
        claims = { account = '${ACCOUNT}', level = 3, desks = ['x', 'y'], ok = true }
        [[server.auth.keys]]
        name = 'other'
        sha256 = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'
        [server.auth.jwt]
        jwks.url = 'https://issuer/keys'
        audience = ['eventflux']
        roles-claim = 'realm_access.roles'
        [server.auth.roles.viewer]
        read = '*'
        subscribe = ['positions', 'T.x']
        [server.auth.roles.viewer.relations.positions]
        row_filter = 'account = claims.account'
        hidden = ['cost']
        [server.auth.roles.viewer.relations.'T.x']
        hidden = ['a', 'b']
        [server.auth.roles.root]
        admin = true
        [server.audit]
        file = 'audit.jsonl'
        events = ['sent', 'refusal']
        sent = 'rows'
        on-failure = 'drop'")
    .unwrap();
    let auth = options.auth.unwrap();
    assert_eq!((auth.open, auth.query_token), (vec!["health".to_string()], true));
    let [dash, other] = auth.keys.as_slice() else {
        panic!("{:?}", auth.keys);
    };
    assert!(matches!(&dash.key, KeyText::Plain(key) if key.reveal() == "0123456789abcdef"));
    assert_eq!(dash.roles, ["viewer", "root"]);
    let claims = serde_json::to_value(&dash.claims).unwrap();
    let expected = serde_json::json!({"account": "a\"1\", \"b", "level": 3, "desks": ["x", "y"], "ok": true});
    assert_eq!(claims, expected);
    assert!(matches!(other.key, KeyText::Hash([0xe3, 0xb0, ..])));
    let jwt = auth.jwt.unwrap();
    assert!(matches!(&jwt.keys, JwtKeys::Jwks(jwks) if jwks.place == JwksPlace::Url("https://issuer/keys".into())));
    assert_eq!(jwt.leeway, Duration::from_secs(30));
    let viewer = &auth.roles["viewer"];
    assert_eq!((viewer.read.len(), viewer.subscribe.len(), viewer.admin), (1, 2, false));
    let positions = &viewer.relations["positions"];
    assert_eq!(positions.row_filter.as_deref(), Some("account = claims.account"));
    assert_eq!(viewer.relations["T.x"].hidden, ["a", "b"]);
    assert!(auth.roles["root"].admin);
    let audit = options.audit.unwrap();
    assert_eq!(audit.file, PathBuf::from("conf/audit.jsonl"));
    assert!(audit.rows && !audit.refuse);
}

#[test]
fn wrong_options_are_told_without_secrets() {
    let jwt = "[server.auth.jwt]\nsecret = '0123456789abcdef0123456789abcdef'\n";
    for (text, message, hint) in [
        ("[server.auth]", "[server.auth] is empty", "everybody may do everything"),
        ("[server.auth.jwt]", "[server.auth.jwt] is empty", ""),
        ("[server.auth]\nkeys = []", "[server.auth.keys] is empty", ""),
        (
            "[server.auth]\nopen = []",
            "says nobody who may sign in",
            "[[server.auth.keys]]",
        ),
        ("[server.auth]\nopen = ['x']", "says nobody who may sign in", ""),
        (
            "[[server.auth.keys]]\nkey = 'hunter2hunter2hunter2'",
            "has a name",
            "name =",
        ),
        (
            "[[server.auth.keys]]\nname = 'a'\nkey = 'hunter2'",
            "16 bytes or more",
            "",
        ),
        (
            "[[server.auth.keys]]\nname = 'a'",
            "neither 'key' nor 'sha256'",
            "key =",
        ),
        (
            "[[server.auth.keys]]\nname = 'a.b'\nkey = 'hunter2hunter2hunter2'",
            "without dots",
            "",
        ),
        (
            "[[server.auth.keys]]\nname = 'a'\nkey = 'hunter2hunter2hunter2'\nroles = ['x']",
            "no role 'x'",
            "[server.auth.roles.x]",
        ),
        (
            "[[server.auth.keys]]\nname = 'a'\nkey = 'hunter2hunter2hunter2'\n[[server.auth.keys]]\nname = 'a'\nkey = 'hunter2hunter2hunter2'",
            "an API key 'a' already",
            "",
        ),
        ("[server.auth.jwt]\nsecret = 'hunter2'", "32 bytes or more", ""),
        (
            "[server.auth.jwt]\nalgorithms = ['none']\npublic-key = 'x.pem'",
            "'none' is none of",
            "",
        ),
        ("[server.auth.jwt]\nissuer = 'x'", "does not say what", "jwks.url"),
        (
            &format!("{jwt}public-key = 'x.pem'"),
            "one of 'secret', 'public-key'",
            "keep one",
        ),
        (
            &format!("{jwt}[server.auth.roles.a]\nreed = 'x'"),
            "no option 'auth.roles.a.reed'",
            "did you mean 'read'?",
        ),
        (
            &format!("{jwt}[server.auth.roles.a.relations.t]\nrow_filters = 'x'"),
            "no option 'auth.roles.a.relations.t.row_filters'",
            "did you mean 'row_filter'?",
        ),
        ("[server.audit]\nsent = 'rows'", "needs the option 'file'", ""),
        ("[server.audit]\nfile = 'a'\nevents = ['x']", "'x' is none of", ""),
        (
            "[server.auth]\nquery-tokens = true",
            "no option 'auth.query-tokens'",
            "did you mean 'auth.query-token'?",
        ),
    ] {
        let error = of(text).map(|_| ()).unwrap_err();
        let shown = error.render(Colour::Never);
        assert!(error.message.contains(message), "{text}: {shown}");
        assert!(error.hint.clone().unwrap_or_default().contains(hint), "{text}: {shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn debug_shows_no_secrets() {
    let options = of("[server.auth.jwt]\nsecret = 'hunter2hunter2hunter2hunter2hunter2'\n").unwrap();
    assert!(!format!("{options:?}").contains("hunter2"));
}
