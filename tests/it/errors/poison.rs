//! Poison in files: with every strategy the good rows around it arrive, and memory stays bounded.

use std::io::Write;
use std::process::Stdio;

use serde_json::Value;

use super::letters;
use crate::support::{Running, Scratch};

/// Lines that are no record of `(n LONG, note STRING)`, with what they are.
fn poison() -> Vec<(&'static str, Vec<u8>)> {
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    let mut bytes = |count: usize| -> Vec<u8> {
        let next = |_| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            // No line end, and nothing that begins a record.
            match random as u8 {
                b'\n' | b'\r' | b'{' => 0xFE,
                byte => byte,
            }
        };
        (0..count).map(next).collect()
    };
    let deep = |depth: usize| [b"{\"n\":".to_vec(), vec![b'['; depth], vec![b']'; depth], b"}".to_vec()].concat();
    vec![
        ("random bytes", bytes(200)),
        ("many random bytes", bytes(100_000)),
        ("NUL", b"\0\0\0\0".to_vec()),
        ("NUL in a record", b"{\"n\":\0 1}".to_vec()),
        (
            "a byte-order mark amid the file and nothing else",
            b"\xEF\xBB\xBF".to_vec(),
        ),
        (
            "UTF-16",
            "{\"n\":1}"
                .encode_utf16()
                .flat_map(|unit| [unit as u8, (unit >> 8) as u8])
                .collect(),
        ),
        ("Latin-1", b"{\"n\":1,\"note\":\"caf\xE9\"}".to_vec()),
        ("a surrogate alone", b"{\"n\":1,\"note\":\"\\ud800\"}".to_vec()),
        ("deep", deep(100_000)),
        ("deep objects", b"{\"n\":".repeat(50_000)),
        ("a number out of range", b"{\"n\":9223372036854775808}".to_vec()),
        ("a number far out of range", b"{\"n\":1e999}".to_vec()),
        (
            "a number of many digits",
            [b"{\"n\":".to_vec(), vec![b'9'; 100_000], b"}".to_vec()].concat(),
        ),
        ("cut off", b"{\"n\":1,\"note\":\"".to_vec()),
        ("another type", b"{\"n\":{\"n\":1}}".to_vec()),
        ("not a record", b"42".to_vec()),
    ]
}

const STRATEGIES: [&str; 4] = [
    "",
    ", error.strategy = 'drop'",
    ", error.strategy = 'retry'",
    ", error.strategy = 'dlq', error.dlq.stream = 'Dead'",
];

fn app(options: &str) -> String {
    letters(
        "Dead",
        " WITH (type = 'sink', extension = 'file', format = 'json', path = 'dead.ndjson')",
    ) + &format!(
        "CREATE STREAM S (n LONG, note STRING)
         WITH (type = 'source', extension = 'file', format = 'json', path = 'in.ndjson'{options});
         CREATE STREAM T (n LONG) WITH (type = 'sink', extension = 'file', format = 'csv', csv.header = 'false', path = 'out.csv');
         INSERT INTO T SELECT n FROM S WHERE note IS NULL OR note <> '';\n"
    )
}

#[test]
fn the_good_rows_around_it_arrive() {
    let poison = poison();
    let mut input = Vec::new();
    for (row, (_, line)) in poison.iter().enumerate() {
        writeln!(input, "{{\"n\":{row}}}").unwrap();
        input.extend_from_slice(line);
        input.push(b'\n');
    }
    writeln!(input, "{{\"n\":{}}}", poison.len()).unwrap();
    for options in STRATEGIES {
        let scratch = Scratch::with(&[("app.sql", &app(options))]);
        scratch.write("in.ndjson", &input);
        scratch
            .run(["run", "app.sql", "--quiet", "--stats", "stats.json"])
            .code(0);
        let good: Vec<String> = (0..=poison.len()).map(|row| row.to_string()).collect();
        assert_eq!(scratch.lines("out.csv"), good, "{options}");
        let stats: Value = serde_json::from_str(&scratch.read("stats.json")).unwrap();
        assert_eq!(stats["errors"]["decode"], poison.len(), "{options}");
        if options.contains("Dead") {
            let dead = scratch.lines("dead.ndjson");
            assert_eq!(dead.len(), poison.len());
            for (line, (about, _)) in dead.iter().zip(&poison) {
                let row: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{about}: {error}"));
                assert_eq!(row["errorType"], "decode", "{about}");
            }
        }
    }
    let scratch = Scratch::with(&[("app.sql", &app(", error.strategy = 'fail'"))]);
    scratch.write("in.ndjson", &input);
    let failed = scratch.run(["run", "app.sql", "--quiet"]).code(1);
    failed.complains("error: stream S, line 2: ");
}

/// A line of 1 GB, made on the fly, is one bad event, and is not held.
#[test]
fn a_line_of_a_gigabyte() {
    const MOST_BYTES: u64 = 400 << 20;
    let text = letters("Dead", " WITH (type = 'sink', extension = 'file', format = 'json', path = 'dead.ndjson')")
        + "CREATE STREAM S (n LONG) WITH (type = 'source', extension = 'stdin', format = 'json',
             error.strategy = 'dlq', error.dlq.stream = 'Dead');
           CREATE STREAM T (n LONG) WITH (type = 'sink', extension = 'file', format = 'csv', csv.header = 'false', path = 'out.csv');
           INSERT INTO T SELECT n FROM S;";
    let scratch = Scratch::with(&[("app.sql", &text)]);
    let mut command = scratch.eventflux(["run", "app.sql", "--quiet", "--stats", "stats.json"]);
    let mut running = Running::start(command.stdin(Stdio::piped()));
    let mut stdin = running.child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || {
        let block = vec![b'x'; 1 << 20];
        stdin.write_all(b"{\"n\":1}\n{\"n\":\"").unwrap();
        (0..1024).for_each(|_| stdin.write_all(&block).unwrap());
        stdin.write_all(b"\"}\n{\"n\":2}\n").unwrap();
    });
    running.end().code(0);
    writer.join().unwrap();
    assert_eq!(scratch.lines("out.csv"), ["1", "2"]);
    let dead = scratch.lines("dead.ndjson");
    assert_eq!(dead.len(), 1);
    assert!(
        dead[0].contains("longer than json.max-record-bytes"),
        "{}",
        &dead[0][..200]
    );
    let stats: Value = serde_json::from_str(&scratch.read("stats.json")).unwrap();
    let peak = stats["peak_rss_bytes"].as_u64().unwrap();
    assert!(peak < MOST_BYTES, "{peak} bytes");
}
