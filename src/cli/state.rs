//! `eventflux state`: what is in a folder of checkpoints, here or in S3.

use std::fmt::Write;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use super::{exit, output};
use crate::config::checkpoints::{StateDir, WHAT_A_DIR_IS};
use crate::config::s3::S3Options;
use crate::error::{Code, Diagnostic, Result};
use crate::event::Micros;
use crate::recovery::cipher::{Cipher, KEY_VARIABLE, WHAT_A_KEY_IS};
use crate::recovery::folder::{Folder, copy, numbers, read, read_manifest};
use crate::recovery::manifest::{Content, Entry, Manifest, Place};
use crate::recovery::store::Store;

const EXAMPLES: &str = "\
Examples:
  eventflux state list state                      the checkpoints in a folder, and whether they are whole
  eventflux state inspect state                   what the newest holds, and where the sources stood
  eventflux state inspect state --checkpoint 12   the same of another one
  eventflux state gc state --retain 1             remove all but the newest, and what nothing refers to
  eventflux state export state --to copy          copy the newest into a folder of its own

Where DIR is s3://bucket/prefix, the server and the credentials are taken from AWS_ENDPOINT_URL, AWS_REGION,
AWS_ACCESS_KEY_ID and so on. The key of encrypted checkpoints is looked for in EVENTFLUX_STATE_KEY.
Running apps go on meanwhile; `gc` alone needs the folder for itself.";

/// Look into a folder of checkpoints, tidy it up, copy a checkpoint.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct State {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// List the checkpoints, and whether they are whole.
    List {
        /// The folder, or s3://bucket/prefix.
        #[arg(value_parser = state_dir, value_hint = clap::ValueHint::AnyPath)]
        dir: StateDir,
        /// How to print them.
        #[arg(long, value_enum, default_value_t = Format::Human)]
        format: Format,
    },
    /// Show what a checkpoint holds, and where the sources and sinks stood.
    Inspect {
        /// The folder, or s3://bucket/prefix.
        #[arg(value_parser = state_dir, value_hint = clap::ValueHint::AnyPath)]
        dir: StateDir,
        /// The checkpoint. [default: the newest]
        #[arg(long, value_name = "NUMBER")]
        checkpoint: Option<u64>,
        /// How to print it.
        #[arg(long, value_enum, default_value_t = Format::Human)]
        format: Format,
    },
    /// Remove old checkpoints, and what nothing refers to.
    Gc {
        /// The folder, or s3://bucket/prefix.
        #[arg(value_parser = state_dir, value_hint = clap::ValueHint::AnyPath)]
        dir: StateDir,
        /// How many checkpoints to keep.
        #[arg(long, value_name = "COUNT", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=1000))]
        retain: u16,
    },
    /// Copy a checkpoint that is whole into a folder of its own.
    Export {
        /// The folder, or s3://bucket/prefix.
        #[arg(value_parser = state_dir, value_hint = clap::ValueHint::AnyPath)]
        dir: StateDir,
        /// The checkpoint. [default: the newest]
        #[arg(long, value_name = "NUMBER")]
        checkpoint: Option<u64>,
        /// Where to: a folder, or s3://bucket/prefix, that holds no checkpoints.
        #[arg(long, value_name = "DIR", value_parser = state_dir, value_hint = clap::ValueHint::AnyPath)]
        to: StateDir,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Human,
    Json,
}

impl State {
    /// Does what is asked; the exit code.
    pub fn execute(self) -> u8 {
        let done = match self.what {
            What::List { dir, format } => list(&dir, format),
            What::Inspect {
                dir,
                checkpoint,
                format,
            } => inspect(&dir, checkpoint, format),
            What::Gc { dir, retain } => gc(&dir, retain.into()),
            What::Export { dir, checkpoint, to } => export(&dir, checkpoint, &to),
        };
        match done {
            Ok(text) => output::print(&text),
            Err(error) => {
                output::report(&error);
                exit::BAD_INPUT
            }
        }
    }
}

/// A place of checkpoints on the command line.
pub(super) fn state_dir(text: &str) -> std::result::Result<StateDir, String> {
    StateDir::parse(text).ok_or_else(|| format!("checkpoints are kept in a folder or in S3, {WHAT_A_DIR_IS}"))
}

/// A folder that has checkpoints already.
fn open(dir: &StateDir) -> Result<Store> {
    let Some(store) = Store::existing(dir, &S3Options::default())? else {
        let message = format!("there are no checkpoints in {dir}");
        let error = Diagnostic::new(Code::Missing, message);
        return Err(error
            .hint("name the place that --state-dir or checkpoint.dir names")
            .into());
    };
    store.encrypted(key()?)
}

/// The key in the environment.
fn key() -> Result<Option<Cipher>> {
    let Ok(key) = std::env::var(KEY_VARIABLE) else {
        return Ok(None);
    };
    Cipher::of_text(&key).map(Some).ok_or_else(|| {
        let error = Diagnostic::new(Code::OptionValue, format!("{KEY_VARIABLE} is not a key"));
        error.hint(format!("a key is {WHAT_A_KEY_IS}")).into()
    })
}

fn list(dir: &StateDir, format: Format) -> Result<String> {
    let store = open(dir)?;
    let mut rows = Vec::new();
    for number in numbers(&store)? {
        let damage = read(&store, number)?.err();
        rows.push((number, read_manifest(&store, number)?.ok(), damage));
    }
    if format == Format::Json {
        let rows = rows.iter().map(|(number, manifest, damage)| {
            json!({
                "checkpoint": number,
                "taken_at": manifest.as_ref().map(|manifest| time(manifest.taken_at)),
                "state_bytes": manifest.as_ref().map(Manifest::bytes),
                "damage": damage,
            })
        });
        return Ok(format!("{}\n", Value::Array(rows.collect())));
    }
    let mut text = format!("{:>10}  {:<24}  {:>14}  whole\n", "checkpoint", "taken", "state bytes");
    for (number, manifest, damage) in rows {
        let (taken, bytes) = manifest.map_or((String::new(), String::new()), |manifest| {
            (time(manifest.taken_at), manifest.bytes().to_string())
        });
        let whole = damage.map_or("yes".to_string(), |why| format!("no: {why}"));
        let _ = writeln!(text, "{number:>10}  {taken:<24}  {bytes:>14}  {whole}");
    }
    Ok(text)
}

/// The checkpoint that is asked for, or the newest.
fn chosen(store: &Store, dir: &StateDir, checkpoint: Option<u64>) -> Result<u64> {
    let there = numbers(store)?;
    let found = match checkpoint {
        Some(number) => there.contains(&number).then_some(number),
        None => there.last().copied(),
    };
    found.ok_or_else(|| {
        let what = checkpoint.map_or("no checkpoint".to_string(), |number| format!("no checkpoint {number}"));
        let error = Diagnostic::new(Code::Missing, format!("there is {what} in {dir}"));
        error.hint("`eventflux state list` shows those that are there").into()
    })
}

fn damaged(number: u64, why: &str) -> Diagnostic {
    Diagnostic::new(Code::StateDamaged, format!("checkpoint {number} is damaged: {why}"))
        .hint("`eventflux state list` shows those that are whole")
}

fn inspect(dir: &StateDir, checkpoint: Option<u64>, format: Format) -> Result<String> {
    let store = open(dir)?;
    let number = chosen(&store, dir, checkpoint)?;
    let manifest = read_manifest(&store, number)?.map_err(|why| damaged(number, &why))?;
    let damage = read(&store, number)?.err();
    if format == Format::Json {
        return Ok(format!("{}\n", as_json(&manifest, damage.as_deref())));
    }
    let mut text = format!(
        "checkpoint {number}, taken {}, by version {}, {} bytes of state{}\n",
        time(manifest.taken_at),
        manifest.engine,
        manifest.bytes(),
        match manifest.workers {
            1 => String::new(),
            workers => format!(", keys on {workers} workers"),
        }
    );
    if let Some(why) = damage {
        let _ = writeln!(text, "damaged: {why}");
    }
    places(&mut text, "sources", &manifest.sources);
    places(&mut text, "sinks", &manifest.sinks);
    entries(&mut text, "operators", &manifest.operators);
    entries(&mut text, "tables", &manifest.tables);
    Ok(text)
}

fn places(text: &mut String, what: &str, places: &[Place]) {
    if places.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n{what}");
    for place in places {
        let position = place.position.as_ref().map_or("-".to_string(), Value::to_string);
        let ended = if place.ended { "  at its end" } else { "" };
        let _ = writeln!(text, "  {}  {position}{ended}", place.stream);
    }
}

fn entries(text: &mut String, what: &str, entries: &[Entry]) {
    if entries.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n{what:<42}  {:>14}  {:>14}", "bytes", "stored");
    for entry in entries {
        let stored = entry.parts.iter().map(|part| match &part.content {
            Content::Object { stored, .. } => *stored,
            Content::Inline { .. } => 0,
        });
        let (name, bytes, stored) = (&entry.name, entry.bytes(), stored.sum::<u64>());
        let _ = writeln!(text, "  {name:<40}  {bytes:>14}  {stored:>14}");
    }
}

fn as_json(manifest: &Manifest, damage: Option<&str>) -> Value {
    let places = |places: &[Place]| -> Vec<Value> {
        let place = |place: &Place| json!({"stream": place.stream, "position": place.position, "ended": place.ended});
        places.iter().map(place).collect()
    };
    let entries = |entries: &[Entry]| -> Vec<Value> {
        let entry =
            |entry: &Entry| json!({"name": entry.name, "bytes": entry.bytes(), "fingerprint": entry.fingerprint});
        entries.iter().map(entry).collect()
    };
    json!({
        "checkpoint": manifest.number,
        "taken_at": time(manifest.taken_at),
        "engine": manifest.engine,
        "workers": manifest.workers,
        "state_bytes": manifest.bytes(),
        "damage": damage,
        "sources": places(&manifest.sources),
        "sinks": places(&manifest.sinks),
        "operators": entries(&manifest.operators),
        "tables": entries(&manifest.tables),
    })
}

fn gc(dir: &StateDir, retain: usize) -> Result<String> {
    open(dir)?;
    let mut folder = Folder::open(dir, &S3Options::default(), key()?)?;
    let removed = folder.remove_old(retain)?;
    Ok(format!(
        "removed {} checkpoint(s) and {} object(s)\n",
        removed.checkpoints, removed.objects
    ))
}

fn export(dir: &StateDir, checkpoint: Option<u64>, to: &StateDir) -> Result<String> {
    let store = open(dir)?;
    let number = chosen(&store, dir, checkpoint)?;
    let copied = copy(&store, number, (to, &S3Options::default()), key()?)?;
    match copied {
        Ok(bytes) => Ok(format!("copied checkpoint {number}, {bytes} bytes, to {to}\n")),
        Err(why) => Err(damaged(number, &why).into()),
    }
}

/// Microseconds since the epoch, for people.
fn time(micros: Micros) -> String {
    let time: Option<DateTime<Utc>> = DateTime::from_timestamp_micros(micros);
    time.map_or("-".to_string(), |time| {
        time.to_rfc3339_opts(SecondsFormat::Millis, true)
    })
}
