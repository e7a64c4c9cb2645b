//! Configuration: which layer an option comes from, for every option there is; files, the environment, secrets, and what
//! `eventflux config` says of them.

use std::fs;

use eventflux::config::options::{OptionKind, OptionSpec};
use eventflux::connectors::{FormatUse, Registry};
use eventflux::error::SourceText;
use eventflux::plan::configured::{Configured, Origin};
use eventflux::plan::stream_options::STREAM_OPTIONS;
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
            .set(&format!("streams.S.{key}={value}"))
            .unwrap();
    }),
    (Origin::Environment, |givers, key, value| {
        let name = key.to_uppercase().replace('.', "__").replace('-', "_");
        let variable = (format!("EVENTFLUX__STREAMS__S__{name}"), value.to_string());
        givers.layers = std::mem::take(&mut givers.layers)
            .environment([variable].into_iter())
            .unwrap();
    }),
    (Origin::File, |givers, key, value| {
        let text = format!("[streams.S]\n{key} = '{value}'");
        givers.layers = std::mem::take(&mut givers.layers)
            .toml(SourceText::new("c.toml", text))
            .unwrap();
    }),
];

#[derive(Default)]
struct Givers {
    with: String,
    layers: Layers,
}

fn configured(columns: &str, with: &str, layers: Layers) -> Vec<Configured> {
    let sql = format!("CREATE STREAM S ({columns}) WITH ({with});");
    let app = EventFlux::builder().sql(&sql).config(layers).disconnected().build();
    app.unwrap_or_else(|error| panic!("{with}: {error}")).configured()
}

const COLUMNS: &str = "x LONG, ts TIMESTAMP, WATERMARK FOR ts AS ts";

/// In each pair of places the stronger one gives the value; `columns` and `base` are what else the stream needs.
fn check_option(columns: &str, base: &str, owner: &str, spec: &OptionSpec) -> usize {
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
            let mut givers = Givers::default();
            give(&mut givers, &key, &one);
            weaker(&mut givers, &key, &other);
            let found = configured(columns, &format!("{base}{}", givers.with), givers.layers);
            let option = found
                .iter()
                .find(|option| option.key == key)
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

#[test]
fn the_stronger_layer_gives_each_option() {
    let registry = Registry::builtin();
    let mut pairs = 0;
    let decides = ["type", "extension", "format", "late", "order"];
    for spec in STREAM_OPTIONS.iter().filter(|spec| !decides.contains(&spec.name)) {
        pairs += check_option(
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
                    base += &format!(", \"{}\" = '1'", required.name);
                }
                pairs += check_option(COLUMNS, &base, connector.name(), spec);
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
            pairs += check_option(columns, &base, format.name(), spec);
        }
    }
    assert!(pairs > 100, "{pairs}");
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
    assert!(stream.get("extension").is_none());
    let application = &schema["properties"]["application"]["properties"];
    assert_eq!(application["parallelism"]["maximum"], 256);
    assert!(application["state"]["properties"]["ttl"].is_object());
}
