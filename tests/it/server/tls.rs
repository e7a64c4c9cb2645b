//! The server with a certificate: HTTP/1.1 and HTTP/2 by curl, WebSockets by rustls.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use eventflux::server::Server;
use eventflux::{EventFlux, Layers};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::json;

use super::Served;
use super::client::{Connection, Frame, Socket, connect};
use crate::support::{Running, Scratch, certificate};

fn served(scratch: &Scratch) -> Served {
    certificate(scratch, "server");
    let path = |name: &str| scratch.path(name).display().to_string();
    Served::with(&[
        &format!("tls.cert={}", path("server.pem")),
        &format!("tls.key={}", path("server.key")),
    ])
}

fn curl(scratch: &Scratch, arguments: &[&str]) -> Output {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--max-time", "20", "--cacert"]);
    command.arg(scratch.path("server.pem")).args(arguments);
    command.output().expect("curl")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn http_1_and_http_2() {
    let scratch = Scratch::new();
    let served = served(&scratch);
    let url = |path: &str| format!("https://{}{path}", served.address);
    for (flag, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let output = curl(
            &scratch,
            &[flag, "--write-out", " %{http_version} %{http_code}", &url("/health")],
        );
        let seen = text(&output.stdout);
        assert!(
            seen.starts_with("{\"status\":\"ok\"") && seen.ends_with(&format!(" {version} 200")),
            "{seen}"
        );
        served.put("IBM", 1, 5.5);
        served.has_rows(1);
        let query = r#"{"query": "{ positions { symbol } }"}"#;
        let json = "content-type: application/json";
        let output = curl(&scratch, &[flag, "--header", json, "--data", query, &url("/graphql")]);
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(answer, json!({"data": {"positions": [{"symbol": "IBM"}]}}));
    }
}

#[test]
fn what_is_not_encrypted_or_not_trusted_is_refused() {
    let scratch = Scratch::new();
    let served = served(&scratch);
    let plain = curl(&scratch, &[&format!("http://{}/health", served.address)]);
    assert!(!plain.status.success());
    let untrusted = Command::new("curl")
        .args([
            "--silent",
            "--max-time",
            "20",
            &format!("https://{}/health", served.address),
        ])
        .output()
        .unwrap();
    assert_eq!(untrusted.status.code(), Some(60));
    let old = curl(
        &scratch,
        &["--tls-max", "1.1", &format!("https://{}/health", served.address)],
    );
    assert!(!old.status.success());
    // The server goes on.
    let good = curl(&scratch, &[&format!("https://{}/health", served.address)]);
    assert!(good.status.success());
}

/// Many streams of events on one connection, each with all rows and changes, ended by the server.
#[test]
fn events_of_many_streams_on_one_http_2_connection() {
    let scratch = Scratch::new();
    let mut served = served(&scratch);
    served.put("IBM", 1, 5.5);
    served.has_rows(1);
    let mut command = Command::new("curl");
    command.args([
        "--silent",
        "--show-error",
        "--no-buffer",
        "--http2",
        "--parallel",
        "--cacert",
    ]);
    command.arg(scratch.path("server.pem")).stdin(Stdio::null());
    let streams = 8;
    for number in 0..streams {
        let output = scratch.path(&format!("{number}.txt"));
        let url = format!("https://{}/events/positions?every=10ms", served.address);
        command.arg("--output").arg(output).arg(url);
    }
    let mut running = Running::start(&mut command);
    let all = |what: &str| (0..streams).all(|number| holds(&scratch.path(&format!("{number}.txt")), what));
    running.wait_for("the rows", |_| all("event: ready"));
    for n in 0..50 {
        served.put("IBM", n, 5.5);
    }
    running.wait_for("the changes", |_| all("\"qty\":49"));
    let connections = curl(&scratch, &[&format!("https://{}/metrics", served.address)]);
    assert!(
        text(&connections.stdout).contains("eventflux_server_connections 2\n"),
        "all streams are to be on one connection"
    );
    served.server.take().unwrap().shutdown();
    running.wait_for("the end", |_| all("event: end"));
    let finished = running.end();
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
}

fn holds(path: &Path, what: &str) -> bool {
    std::fs::read_to_string(path).is_ok_and(|text| text.contains(what))
}

/// A connection that trusts the certificate.
fn encrypted(scratch: &Scratch, address: SocketAddr) -> Box<dyn Connection> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(scratch.path("server.pem")).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let session = ClientConnection::new(Arc::new(config), name).unwrap();
    Box::new(StreamOwned::new(session, connect(address)))
}

#[test]
fn web_sockets() {
    let scratch = Scratch::new();
    let served = served(&scratch);
    let open = |path: &str, protocol: &str| {
        Socket::over(encrypted(&scratch, served.address), served.address, path, protocol, "")
    };
    let mut socket = open("/graphql", "graphql-transport-ws");
    socket.send(&json!({"type": "connection_init"}));
    assert_eq!(socket.json(), json!({"type": "connection_ack"}));
    let query = "subscription { positions { operation data { symbol } } }";
    socket.send(&json!({"type": "subscribe", "id": "1", "payload": {"query": query}}));
    let mut plain = open("/ws", "");
    plain.send(
        &json!({"type": "publish", "id": "1", "stream": "Puts", "row": {"symbol": "ACME", "qty": 1, "price": 2.0}}),
    );
    assert_eq!(plain.json(), json!({"type": "ack", "id": "1", "rows": 1}));
    let change = &socket.json()["payload"]["data"]["positions"];
    assert_eq!(change, &json!({"operation": "INSERT", "data": {"symbol": "ACME"}}));
    socket.frame(8, &1000_u16.to_be_bytes());
    assert!(matches!(socket.receive(), Frame::Closed(_) | Frame::Gone));
}

#[test]
fn certificates_that_cannot_be_used() {
    let scratch = Scratch::new();
    certificate(&scratch, "server");
    certificate(&scratch, "other");
    scratch.write("empty.pem", "");
    for (cert, key, message) in [
        ("nowhere.pem", "server.key", "nowhere.pem"),
        ("empty.pem", "server.key", "there is no certificate in it"),
        ("server.pem", "server.pem", "server.pem"),
        ("server.pem", "other.key", "server.pem"),
    ] {
        let path = |name: &str| scratch.path(name).display().to_string();
        let layers = Layers::default()
            .set("server.bind=127.0.0.1:0")
            .and_then(|layers| layers.set(&format!("server.tls.cert={}", path(cert))))
            .and_then(|layers| layers.set(&format!("server.tls.key={}", path(key))))
            .unwrap();
        let sql = "CREATE STREAM S (x LONG);";
        let app = EventFlux::builder().sql(sql).config(layers).build().unwrap();
        app.start().unwrap();
        let error = Server::start(&app).unwrap_err().to_string();
        assert!(error.contains(message), "{cert} {key}: {error}");
        app.shutdown().unwrap();
    }
}
