//! Configuration: which layer an option comes from, for every option there is; files, the environment, secrets, and what
//! `eventflux config` says of them.

use std::fs;

use eventflux::config::options::{OptionKind, OptionSpec};
use eventflux::connectors::{FormatUse, Registry};
use eventflux::error::SourceText;
use eventflux::plan::configured::{Configured, Origin};
use eventflux::plan::stream_options::STREAM_OPTIONS;
use eventflux::tables::registry::Backends;
use eventflux::{EventFlux, Layers};
use serde_json::Value;

use super::support::Scratch;

/// Two different values of a kind; none for texts, which options check in ways of their own.
fn two_values(spec: &OptionSpec) -> Option<[String; 2]> {
    Some(match spec.kind {
        OptionKind::Boolean => ["true".into(), "false".into()],
        OptionKind::Integer { min, .. } => [min.max(64).to_string(), (min.max(64) + 1).to_string()],
        OptionKind::Number if spec.name == "error.retry.multiplier" => ["1.5".into(), "3".into()],
        OptionKind::Number => ["0.25".into(), "0.5".into()],
        OptionKind::Duration => ["1 second".into(), "2 seconds".into()],
        OptionKind::Choice(words) => [words.first()?.to_string(), words.get(1)?.to_string()],
        OptionKind::Path => ["/tmp/a".into(), "/tmp/b".into()],
        OptionKind::Text => return None,
    })
}

/// Gives an option a value.
type Give = fn(&mut Givers, &str, &str);

/// The places that an option can be given in, the strongest first.
const GIVERS: [(Origin, Give); 4] = [
    (Origin::With, |givers, key, value| {
        givers.with += &format!(", \"{key}\" = '{value}'")
    }),
    (Origin::Set, |givers, key, value| {
        givers.layers = std::mem::take(&mut givers.layers)
            .set(&format!("{}.{key}={value}", givers.of[0]))
            .unwrap();
    }),
    (Origin::Environment, |givers, key, value| {
        let name = key.to_uppercase().replace('.', "__").replace('-', "_");
        let variable = (format!("EVENTFLUX__{}__{name}", givers.of[1]), value.to_string());
        givers.layers = std::mem::take(&mut givers.layers)
            .environment([variable].into_iter())
            .unwrap();
    }),
    (Origin::File, |givers, key, value| {
        let text = format!("[{}]\n{key} = '{value}'", givers.of[0]);
        givers.layers = std::mem::take(&mut givers.layers)
            .toml(SourceText::new("c.toml", text))
            .unwrap();
    }),
];

/// Whose option it is: its scope in keys, and the scope in the names of environment variables.
const STREAM: [&str; 2] = ["streams.S", "STREAMS__S"];
const TABLE: [&str; 2] = ["tables.K", "TABLES__K"];

struct Givers {
    of: [&'static str; 2],
    with: String,
    layers: Layers,
}

fn configured(of: [&str; 2], columns: &str, with: &str, layers: Layers) -> Vec<Configured> {
    let sql = match of == TABLE {
        true => format!("CREATE STREAM S (x LONG); CREATE TABLE K ({columns}) WITH ({with});"),
        false => format!("CREATE STREAM S ({columns}) WITH ({with});"),
    };
    let app = EventFlux::builder().sql(&sql).config(layers).disconnected().build();
    app.unwrap_or_else(|error| panic!("{with}: {error}")).configured()
}

const COLUMNS: &str = "x LONG, ts TIMESTAMP, WATERMARK FOR ts AS ts";

/// In each pair of places the stronger one gives the value; `columns` and `base` are what else the stream needs.
fn check_option(of: [&'static str; 2], columns: &str, base: &str, owner: &str, spec: &OptionSpec) -> usize {
    let Some([one, other]) = two_values(spec) else {
        return 0;
    };
    let key = match owner {
        "" => spec.name.to_string(),
        owner => format!("{owner}.{}", spec.name),
    };
    let mut pairs = 0;
    for (strong, (origin, give)) in GIVERS.iter().enumerate() {
        for (_, weaker) in &GIVERS[strong + 1..] {
            let mut givers = Givers {
                of,
                with: String::new(),
                layers: Layers::default(),
            };
            give(&mut givers, &key, &one);
            weaker(&mut givers, &key, &other);
            let found = configured(of, columns, &format!("{base}{}", givers.with), givers.layers);
            let option = found
                .iter()
                .find(|option| option.scope == of[0] && option.key == key)
                .expect("the option is listed");
            assert_eq!(
                (option.value.as_deref(), option.layer),
                (Some(one.as_str()), *origin),
                "{key}"
            );
            pairs += 1;
        }
    }
    pairs
}

/// What an option of the source `http` needs beside it; none for those that decide which others there may be.
fn beside_of_http(option: &str) -> Option<&'static str> {
    const POLLER: &str = ", \"http.mode\" = 'poll', \"http.url\" = 'https://example.com/', \"http.page.next\" = '$.next', \"http.page.param\" = 'c'";
    const RECEIVER: &str = ", \"http.bind\" = '127.0.0.1:9'";
    const SIGNED: &str = ", \"http.bind\" = '127.0.0.1:9', \"http.secret\" = 'whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz', \"http.hmac\" = 'standard-webhooks'";
    const GENERIC: &str = ", \"http.bind\" = '127.0.0.1:9', \"http.secret\" = 'whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz', \"http.hmac\" = 'generic'";
    let pollers = [
        "interval",
        "timeout",
        "method",
        "connect.timeout",
        "retry-after.max",
        "backoff.max",
    ];
    match option {
        "mode" | "auth" | "hmac" | "tls.cert" | "tls.key" => None,
        "hmac.encoding" => Some(GENERIC),
        _ if option.starts_with("hmac.") => Some(SIGNED),
        _ if option.starts_with("page.") || pollers.contains(&option) => Some(POLLER),
        _ => Some(RECEIVER),
    }
}

#[test]
fn the_stronger_layer_gives_each_option() {
    let registry = Registry::builtin();
    let mut pairs = 0;
    let decides = ["type", "extension", "format", "late", "order"];
    for spec in STREAM_OPTIONS.iter().filter(|spec| !decides.contains(&spec.name)) {
        pairs += check_option(
            STREAM,
            COLUMNS,
            "type = 'source', extension = 'file', format = 'json', path = 'x'",
            "",
            spec,
        );
    }
    // Nexmark has tables with columns of their own.
    for connector in registry.connectors().filter(|connector| connector.name() != "nexmark") {
        let sides = [
            ("source", connector.source().map(|side| (side.options(), side.format()))),
            ("sink", connector.sink().map(|side| (side.options(), side.format()))),
        ];
        for (kind, side) in sides {
            let Some((options, format)) = side else {
                continue;
            };
            for spec in options.iter().filter(|spec| !spec.name.contains('<')) {
                let mut base = format!("type = '{kind}', extension = '{}'", connector.name());
                if matches!(format, FormatUse::Bytes { default: None }) {
                    base += ", format = 'json'";
                }
                for required in options.iter().filter(|other| other.required && other.name != spec.name) {
                    let value = match (required.kind, connector.name()) {
                        (OptionKind::Text, "http") => "https://example.com/",
                        (OptionKind::Text, _) => "x",
                        _ => "1",
                    };
                    base += &format!(", \"{}\" = '{value}'", required.name);
                }
                // One of two must be given.
                if connector.name() == "materialize" && !["relation", "query"].contains(&spec.name) {
                    base += ", relation = 'x'";
                }
                if (connector.name(), kind) == ("http", "source") {
                    match beside_of_http(spec.name) {
                        Some(beside) => base += beside,
                        None => continue,
                    }
                }
                pairs += check_option(STREAM, COLUMNS, &base, connector.name(), spec);
            }
        }
    }
    // Schemas are read when the app is compiled: their files, and what goes with them, would have to be there.
    let of_schemas = ["schema", "schemas", "schema-id"];
    for format in registry.formats().filter(|format| format.name() != "protobuf") {
        let options = format.options().iter();
        for spec in options.filter(|spec| !spec.name.contains('<') && !of_schemas.contains(&spec.name)) {
            let base = format!(
                "type = 'source', extension = 'file', path = 'x', format = '{}'",
                format.name()
            );
            let columns = match format.name() {
                "text" => "line STRING",
                "bytes" => "message BYTES",
                _ => COLUMNS,
            };
            pairs += check_option(STREAM, columns, &base, format.name(), spec);
        }
    }
    assert!(pairs > 100, "{pairs}");
}

#[test]
fn the_stronger_layer_gives_each_option_of_a_table() {
    let mut pairs = 0;
    for backend in Backends::builtin().all() {
        let (name, options) = (backend.name(), backend.options());
        for spec in options {
            let mut base = format!("extension = '{name}'");
            for required in options.iter().filter(|other| other.required && other.name != spec.name) {
                base += &format!(", \"{}\" = '1'", required.name);
            }
            pairs += check_option(TABLE, "k LONG PRIMARY KEY, v LONG", &base, name, spec);
        }
    }
    assert!(pairs > 20, "{pairs}");
}

#[test]
fn tables_are_configured_from_files_and_settings() {
    let scratch = Scratch::new();
    scratch.write(
        "app.sql",
        "CREATE STREAM S (k LONG) WITH (type = 'source', extension = 'datagen', rows = 5, \"fields.k.kind\" = 'sequence');
CREATE TABLE Kept (k LONG PRIMARY KEY) WITH (extension = 'sqlite', id = 'kept');
UPSERT INTO Kept SELECT k FROM S;
",
    );
    // What a table needs may come from there, too.
    let missing = scratch.run(["validate", "app.sql"]).code(2);
    assert!(missing.stderr.contains("sqlite.path"), "{missing:?}");
    fs::create_dir(scratch.path("data")).unwrap();
    scratch.write("eventflux.toml", "[include]\nfiles = ['data/tables.toml']\n");
    scratch.write("data/tables.toml", "[tables.Kept.sqlite]\npath = 'kept.db'\n");
    scratch.run(["run", "app.sql"]).code(0);
    // Relative to the file that it is written in.
    assert!(scratch.path("data/kept.db").is_file());
    let listed = list(&scratch, &["--set", "tables.Kept.path=other.db"]);
    let of_kept: Vec<_> = listed
        .iter()
        .filter(|option| option["scope"] == "tables.Kept")
        .collect();
    let keys: Vec<_> = of_kept
        .iter()
        .map(|option| (&option["key"], &option["layer"]))
        .collect();
    let (with, set) = (Value::from("with"), Value::from("set"));
    assert_eq!(
        keys,
        [
            (&"extension".into(), &with),
            (&"id".into(), &with),
            (&"sqlite.path".into(), &set)
        ]
    );

    // A misspelt table explains what is missing; in a file of the machine it may be another app's.
    scratch.write("data/tables.toml", "[tables.Kpet.sqlite]\npath = 'kept.db'\n");
    let wrong = scratch.run(["validate", "app.sql"]).code(2);
    assert!(
        wrong.stderr.contains("the app has no table 'Kpet'") && wrong.stderr.contains("did you mean 'Kept'?"),
        "{wrong:?}"
    );
    let shared = Layers::default().shared_file(scratch.path("data/tables.toml")).unwrap();
    let sql = "CREATE STREAM S (k LONG); SELECT k FROM S;";
    EventFlux::builder().sql(sql).config(shared).build().unwrap();
}

const APP: &str =
    "CREATE STREAM Numbers (n LONG) WITH (type = 'source', extension = 'datagen', \"fields.n.kind\" = 'sequence');
SELECT n FROM Numbers;
";

fn list(scratch: &Scratch, arguments: &[&str]) -> Vec<Value> {
    let all = [&["config", "list", "app.sql", "--given", "--format", "json"], arguments].concat();
    let listed = scratch.run(all).code(0);
    serde_json::from_str(&listed.stdout).expect("a JSON array")
}

#[test]
fn files_include_others_and_are_weaker_the_further_away() {
    let scratch = Scratch::new();
    scratch.write("app.sql", APP);
    scratch.write(
        "eventflux.toml",
        "[include]\nfiles = ['more/common.toml']\n[streams.Numbers]\nrows = 3\n",
    );
    fs::create_dir(scratch.path("more")).unwrap();
    scratch.write(
        "more/common.toml",
        "[application]\nparallelism = 2\n[streams.Numbers.datagen]\nrows = 9\nseed = 4\n",
    );
    let listed = list(&scratch, &[]);
    let find = |key: &str| listed.iter().find(|option| option["key"] == key).expect("it is listed");
    assert_eq!(
        (&find("datagen.rows")["value"], &find("datagen.rows")["layer"]),
        (&"3".into(), &"file".into())
    );
    assert!(
        find("datagen.seed")["place"]["file"]
            .as_str()
            .unwrap()
            .ends_with("more/common.toml")
    );
    assert_eq!(find("parallelism")["place"]["line"], 2);
    let ran = scratch.run(["run", "app.sql"]).code(0);
    assert_eq!(ran.stdout.lines().count(), 3, "{ran:?}");

    scratch.write("more/common.toml", "[include]\nfiles = ['../eventflux.toml']\n");
    let round = scratch.run(["config", "validate", "app.sql"]).code(2);
    assert!(
        round.stderr.contains("includes itself") && round.stderr.contains("common.toml:2:10"),
        "{round:?}"
    );
}

#[test]
fn secrets_come_from_files_and_are_not_shown() {
    let scratch = Scratch::new();
    scratch.write("password", "s3cret-of-mine\n");
    let table = "CREATE TABLE T (k LONG PRIMARY KEY) WITH (extension = 'postgres', \"postgres.host\" = 'localhost', \"postgres.user\" = 'ann', \"postgres.password\" = '${file:password}');";
    scratch.write("app.sql", table);
    let listed = list(&scratch, &[]);
    let password = listed
        .iter()
        .find(|option| option["key"] == "postgres.password")
        .expect("it is listed");
    assert_eq!((&password["value"], &password["layer"]), (&Value::Null, &"with".into()));
    let text = scratch.run(["config", "list", "app.sql"]).code(0).stdout;
    assert!(
        text.contains("postgres.password = \"***\"") && !text.contains("s3cret"),
        "{text}"
    );

    // A wrong option beside it quotes the line.
    scratch.write(
        "app.sql",
        table
            .replace("${file:password}", "s3cret-of-mine")
            .replace("postgres.user", "postgres.usr"),
    );
    let wrong = scratch.run(["validate", "app.sql"]).code(2);
    assert!(
        wrong.stderr.contains("postgres.usr") && !wrong.stderr.contains("s3cret"),
        "{wrong:?}"
    );

    // A secret where something else must be is not shown, either.
    scratch.write(
        "app.sql",
        APP.replace("\"fields", "rows = '${file:password}', \"fields"),
    );
    let wrong = scratch.run(["validate", "app.sql"]).code(2);
    assert!(
        wrong.stderr.contains("not '***'") && !wrong.stderr.contains("s3cret"),
        "{wrong:?}"
    );
}

#[test]
fn the_schema_knows_what_files_may_hold() {
    let schema: Value = serde_json::from_str(&Scratch::new().run(["config", "schema"]).code(0).stdout).expect("JSON");
    let stream = &schema["properties"]["streams"]["additionalProperties"]["properties"];
    assert_eq!(stream["datagen"]["properties"]["rows"]["minimum"], 0);
    assert_eq!(stream["csv"]["properties"]["header"]["default"], "true");
    assert!(stream.get("extension").is_none() && stream.get("id").is_none());
    let table = &schema["properties"]["tables"]["additionalProperties"]["properties"];
    assert_eq!(table["max_size"]["minimum"], 1);
    assert!(table["sqlite"]["properties"]["path"].is_object());
    assert!(table.get("extension").is_none() && table.get("id").is_none());
    let application = &schema["properties"]["application"]["properties"];
    assert_eq!(application["parallelism"]["maximum"], 256);
    assert!(application["state"]["properties"]["ttl"].is_object());
}
