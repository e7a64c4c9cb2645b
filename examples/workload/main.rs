//! The workload harness: one workload, timed, as one JSON object on a line.
//!
//! ```text
//! cargo run --release --example workload -- NAME [--events N] [--input memory|ndjson|csv] [--parallelism P] [--seed S]
//!     [--rate EVENTS_PER_SECOND] [--checkpoint INTERVAL] [--set NAME=VALUE]… [--runs N] [--no-checksum]
//! cargo run --release --example workload -- list
//! cargo run --release --example workload -- data NAME --events N --input ndjson|csv --dir FOLDER
//! ```
//! A workload is an app of `benches/apps`, which `eventflux run --stats` runs over files that `data` writes (`DATA` and `FORMAT` name
//! them), so that the same work can be timed as a whole process, and by other engines on the same files.
//!
//! With `--input memory` columns that are there already go through the embedding API on the calling thread (or, with
//! `--parallelism`, through the app's threads), and only that is timed; with files, from the start of the app to its end. The
//! checksum comes from another run, which is not timed. With `--rate` events are sent as the clock says, and what is measured is
//! how long each output row came after its event was due.

mod app;
mod data;
mod measure;
mod options;

use clap::Parser;
use options::{Failure, Options};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Failure> {
    let options = Options::parse();
    match options.name.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["list"] => {
            for (name, doc) in app::all()? {
                println!("{name:22} {doc}");
            }
            for (name, why) in app::INEXPRESSIBLE {
                println!("{name:22} not expressed: {why}");
            }
            Ok(())
        }
        ["data", name] => {
            let app = app::Workload::read(name, &options.set)?;
            let files = data::write(&app, options.events, options.seed, options.input.format(), &options.dir)?;
            files.iter().for_each(|file| println!("{}", file.display()));
            Ok(())
        }
        [name] => {
            println!("{}", measure::measure(name, &options)?);
            Ok(())
        }
        _ => Err("a name, `list`, or `data` and a name".into()),
    }
}
