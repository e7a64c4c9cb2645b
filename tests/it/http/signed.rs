//! Requests that others sign: Standard Webhooks by its own library, GitHub's and Stripe's way by Python's hmac.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use super::client::App;
use crate::support::{certificate, repository};

const OLD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NEW: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX";

/// Signs and sends; it ends with the test.
struct Sender {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Drop for Sender {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Sender {
    /// `None`, having said so, where it cannot run.
    fn start(app: &App, kind: &str, secret: &str) -> Option<Self> {
        let mut child = Command::new("python3")
            .arg(repository().join("tests/it/http/sender.py"))
            .args([&app.port.to_string(), kind, secret])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let input = child.stdin.take()?;
        let output = BufReader::new(child.stdout.take()?);
        let mut sender = Sender { child, input, output };
        if sender.line().trim() != "ready" {
            eprintln!("skipped: no sender of webhooks here (Python, pip install standardwebhooks)");
            return None;
        }
        Some(sender)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line
    }

    /// The status of a request.
    fn send(&mut self, wanted: &Value) -> u16 {
        writeln!(self.input, "{wanted}").unwrap();
        self.line().trim().parse().unwrap()
    }
}

#[test]
fn standard_webhooks_while_secrets_change() {
    let options = format!(
        ", \"http.hmac\" = 'standard-webhooks', \"http.secret\" = '{NEW} {OLD}', \"http.hmac.tolerance\" = '1 minute'"
    );
    let app = App::start(&options);
    for secret in [OLD, NEW] {
        let Some(mut sender) = Sender::start(&app, "standard-webhooks", secret) else {
            return;
        };
        assert_eq!(sender.send(&json!({"body": r#"{"id": 1, "item": "é"}"#})), 202);
        assert_eq!(sender.send(&json!({"body": r#"{"id": 1}"#, "age": 40})), 202);
        for damage in ["body", "signature", "id", "time"] {
            assert_eq!(
                sender.send(&json!({"body": r#"{"id": 1}"#, "damage": damage})),
                403,
                "{damage}"
            );
        }
        for age in [90, -90, 1_000_000] {
            assert_eq!(sender.send(&json!({"body": r#"{"id": 1}"#, "age": age})), 403, "{age}");
        }
    }
    let mut stranger = Sender::start(&app, "standard-webhooks", "whsec_////////////////////////////////").unwrap();
    assert_eq!(stranger.send(&json!({"body": r#"{"id": 1}"#})), 403);
    assert_eq!(app.client().post("/orders", "", br#"{"id":1}"#).status, 403);
    assert_eq!(app.ids(4), [1, 1, 1, 1]);
}

#[test]
fn an_id_that_comes_again_is_taken_once() {
    let options =
        format!(", \"http.hmac\" = 'standard-webhooks', \"http.secret\" = '{OLD}', \"http.hmac.remember\" = 2");
    let app = App::start(&options);
    let Some(mut sender) = Sender::start(&app, "standard-webhooks", OLD) else {
        return;
    };
    let mut send = |id: &str, body: &str| sender.send(&json!({"id": id, "body": body}));
    assert_eq!(send("a", r#"{"id":1}"#), 202);
    assert_eq!(send("a", r#"{"id":1}"#), 202);
    // What was refused may come again.
    assert_eq!(send("b", r#"{"id":"x"}"#), 400);
    assert_eq!(send("b", r#"{"id":2}"#), 202);
    assert_eq!(send("a", r#"{"id":1}"#), 202);
    // Two are remembered.
    assert_eq!(send("c", r#"{"id":3}"#), 202);
    assert_eq!(send("a", r#"{"id":4}"#), 202);
    assert_eq!(app.ids(4), [1, 2, 3, 4]);
}

#[test]
fn as_github_and_stripe_sign() {
    for (kind, options) in [
        ("github", ", \"http.hmac\" = 'generic', \"http.secret\" = 'old It_s'"),
        ("stripe", ", \"http.hmac\" = 'stripe', \"http.secret\" = 'old It_s'"),
    ] {
        let app = App::start(options);
        let Some(mut sender) = Sender::start(&app, kind, "It_s") else {
            return;
        };
        assert_eq!(sender.send(&json!({"body": r#"{"id":1}"#})), 202, "{kind}");
        assert_eq!(
            sender.send(&json!({"body": r#"{"id":1}"#, "damage": "body"})),
            403,
            "{kind}"
        );
        assert_eq!(
            sender.send(&json!({"body": r#"{"id":1}"#, "damage": "signature"})),
            403,
            "{kind}"
        );
        let old = sender.send(&json!({"body": r#"{"id":2}"#, "age": 1000}));
        assert_eq!(old, if kind == "stripe" { 403 } else { 202 });
        let mut stranger = Sender::start(&app, kind, "its").unwrap();
        assert_eq!(stranger.send(&json!({"body": r#"{"id":1}"#})), 403, "{kind}");
        assert_eq!(
            app.client()
                .post("/orders", "x-hub-signature-256: sha256=\r\n", br#"{"id":1}"#)
                .status,
            403
        );
    }
}

/// By https, with a certificate that this test makes.
#[test]
fn under_tls() {
    let scratch = crate::support::Scratch::new();
    certificate(&scratch, "server");
    let curl = Command::new("curl").arg("--version").stdout(Stdio::null()).status();
    if !curl.is_ok_and(|curl| curl.success()) {
        eprintln!("skipped: no curl here");
        return;
    }
    let port = super::client::free_port();
    let options = ", \"http.tls.cert\" = 'server.pem', \"http.tls.key\" = 'server.key'";
    scratch.write("app.sql", super::client::sql(port, options));
    let app = App::run(scratch, port, &["run", "app.sql"]);
    let curl = |url: String, more: &[&str]| {
        let output = Command::new("curl")
            .args([
                "-s",
                "-o",
                "/dev/null",
                "-w",
                "%{http_code}",
                "-H",
                "content-type: application/json",
                "-d",
                r#"{"id":1}"#,
            ])
            .args(more)
            .arg(url)
            .current_dir(app.scratch.directory())
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(
        curl(format!("https://localhost:{port}/orders"), &["--cacert", "server.pem"]),
        "202"
    );
    assert_eq!(
        curl(format!("https://localhost:{port}/orders"), &[]),
        "000",
        "who does not know the certificate"
    );
    // Without TLS there is no answer, and no harm done.
    let mut plain = app.client();
    plain.write(super::client::request("/orders", "", br#"{"id":2}"#));
    assert!(plain.answer().is_none());
    assert_eq!(
        curl(
            format!("https://localhost:{port}/orders"),
            &["--cacert", "server.pem", "--tlsv1.2"]
        ),
        "202"
    );
    assert_eq!(app.ids(2), [1, 1]);
}
