//! A stand-in for Materialize to try the source `materialize` with: a view `positions` that changes ten times a second.
//!
//! ```sh
//! cargo run --example materialize_emulator -- 6875
//! ```
//! What it does and does not do is said in `tests/it/emulators/materialize.rs`, which it is made of.

#[allow(dead_code)]
#[path = "../tests/it/emulators/mod.rs"]
mod emulators;

use std::time::Duration;

use emulators::materialize::Emulator;
use emulators::world::{Row, row};
use rand::RngExt;

const SYMBOLS: [&str; 8] = ["AAPL", "AMZN", "GOOG", "IBM", "INTC", "MSFT", "NVDA", "ORCL"];

fn main() -> std::io::Result<()> {
    let port = std::env::args()
        .nth(1)
        .and_then(|port| port.parse().ok())
        .unwrap_or(6875);
    let emulator = Emulator::start(port, None)?;
    let world = &emulator.world;
    world.create(
        "positions",
        &[
            ("id", 23),
            ("symbol", 25),
            ("quantity", 20),
            ("price", 701),
            ("trader", 25),
        ],
    );
    println!("listening on {}", emulator.url());
    let mut random = rand::rng();
    let mut rows: Vec<Option<Row>> = vec![None; 24];
    loop {
        let id = random.random_range(0..rows.len());
        let mut changes = Vec::new();
        if let Some(old) = rows[id].take() {
            changes.push((old, -1));
        }
        if changes.is_empty() || random.random_bool(0.9) {
            let symbol = SYMBOLS[id % SYMBOLS.len()];
            let quantity = random.random_range(1..1_000).to_string();
            let price = format!("{:.2}", random.random_range(20.0..400.0));
            let new = row(&[
                &id.to_string(),
                symbol,
                &quantity,
                &price,
                if id % 3 == 0 { "ana" } else { "bo" },
            ]);
            changes.push((new.clone(), 1));
            rows[id] = Some(new);
        }
        world.write("positions", &changes);
        std::thread::sleep(Duration::from_millis(100));
    }
}
