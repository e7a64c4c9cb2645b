//! A PostgreSQL server for the tests: a cluster of its own in a temporary folder, stopped when the tests end, however they
//! end.

use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use tempfile::TempDir;

/// Waits until nobody holds its standard input any more, then stops the server (with the command given) and removes its folder.
const KEEPER: &str = r#"cat >/dev/null; folder=$1; shift; "$@" >/dev/null 2>&1; rm -rf "$folder""#;

/// A running server.
pub struct Server {
    folder: TempDir,
    port: u16,
    _keeper: Child,
}

/// Where PostgreSQL's programs are: in the PATH, or where Debian puts them.
fn programs() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    if let Ok(versions) = std::fs::read_dir("/usr/lib/postgresql") {
        folders.extend(versions.flatten().map(|version| version.path().join("bin")));
    }
    let found = folders
        .into_iter()
        .find(|folder| folder.join("initdb").is_file() && folder.join("pg_ctl").is_file());
    found.expect("PostgreSQL is not installed: apt-get install postgresql, or run scripts/test")
}

/// A command as somebody who may run a server: root may not.
fn command(program: &str) -> Command {
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    if !is_root {
        return Command::new(program);
    }
    let mut command = Command::new("runuser");
    command.args(["-u", "postgres", "--", program]);
    command
}

fn run(mut command: Command) {
    let shown = format!("{command:?}");
    // The server inherits its output; a pipe would never end.
    let log = tempfile::tempfile().expect("a file");
    let status = command
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a file"))
        .stderr(log)
        .status();
    assert!(
        status.as_ref().is_ok_and(|status| status.success()),
        "{shown}: {status:?}"
    );
}

impl Server {
    pub fn start() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("eventflux-postgres-")
            .tempdir()
            .expect("a folder");
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).expect("a folder for all");
        let data = folder.path().join("data");
        let mut initdb = command(&program("initdb"));
        initdb.arg("-D").arg(&data);
        initdb.args([
            "-A",
            "trust",
            "-U",
            "postgres",
            "-E",
            "UTF8",
            "--no-locale",
            "--no-sync",
        ]);
        run(initdb);
        certificates(folder.path());
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        drop(listener);
        let stop = stop(&data);
        let mut keeper = Command::new("sh");
        keeper.args(["-c", KEEPER, "keeper"]).arg(folder.path());
        keeper.arg(stop.get_program()).args(stop.get_args());
        // What ends the tests does not end it.
        keeper.process_group(0);
        let keeper = keeper.stdin(Stdio::piped()).spawn().expect("a shell");
        let server = Server {
            folder,
            port,
            _keeper: keeper,
        };
        server.resume();
        server
    }

    /// The one that all tests share.
    pub fn shared() -> &'static Self {
        static SERVER: OnceLock<Server> = OnceLock::new();
        SERVER.get_or_init(Server::start)
    }

    pub fn url(&self) -> String {
        format!("postgresql://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// The certificate of the authority by which it proves that it is localhost.
    #[cfg(feature = "postgres-cdc")]
    pub fn authority(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    #[cfg(feature = "postgres-cdc")]
    pub fn port(&self) -> u16 {
        self.port
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Starts it (again).
    pub fn resume(&self) {
        let mut start = command(&program("pg_ctl"));
        start.arg("-D").arg(self.data());
        start.arg("-l").arg(self.folder.path().join("data/log"));
        let options = format!(
            "-p {} -k {} -c listen_addresses=127.0.0.1 -c fsync=off -c max_connections=300 \
             -c wal_level=logical -c max_replication_slots=100 -c max_wal_senders=100 \
             -c ssl=on -c ssl_cert_file=../server.pem -c ssl_key_file=../server.key",
            self.port,
            self.data().display()
        );
        start.args(["-w", "-o", &options, "start"]);
        run(start);
    }

    /// Stops it at once, as a crash would.
    pub fn crash(&self) {
        run(stop(&self.data()));
    }
}

/// Makes an authority, `ca.pem`, and a certificate by it for the name localhost.
fn certificates(folder: &Path) {
    let at = |name: &str| folder.join(name).display().to_string();
    std::fs::write(folder.join("names"), "subjectAltName = DNS:localhost\n").expect("a file");
    let (ca, ca_key) = (at("ca.pem"), at("ca.key"));
    let (pem, key, request, names) = (at("server.pem"), at("server.key"), at("server.csr"), at("names"));
    let new = ["req", "-newkey", "rsa:2048", "-nodes"];
    let steps: [&[&str]; 3] = [
        &[
            "-x509",
            "-days",
            "3650",
            "-subj",
            "/CN=An authority of the tests",
            "-keyout",
            &ca_key,
            "-out",
            &ca,
        ],
        &["-subj", "/CN=localhost", "-keyout", &key, "-out", &request],
        &[
            "x509",
            "-req",
            "-days",
            "3650",
            "-in",
            &request,
            "-CA",
            &ca,
            "-CAkey",
            &ca_key,
            "-CAcreateserial",
            "-out",
            &pem,
            "-extfile",
            &names,
        ],
    ];
    for (step, arguments) in steps.into_iter().enumerate() {
        // As the user who runs the server, whose key it must be.
        let mut openssl = command("openssl");
        openssl.args(if step < 2 { &new[..] } else { &[] }).args(arguments);
        run(openssl);
    }
}

/// Stops a server at once.
fn stop(data: &Path) -> Command {
    let mut stop = command(&program("pg_ctl"));
    stop.arg("-D").arg(data).args(["-m", "immediate", "-w", "stop"]);
    stop
}

fn program(name: &str) -> String {
    Path::new(&programs()).join(name).display().to_string()
}

impl Drop for Server {
    fn drop(&mut self) {
        self.crash();
    }
}
