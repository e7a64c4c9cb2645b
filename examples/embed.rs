//! The embedding API: `cargo run --example embed`.
//!
//! One app, fed and heard in every way there is: typed rows in and out, a callback, an iterator, an async stream, a function
//! of our own, and inline mode.

use std::sync::Arc;

use arrow::array::{AsArray, Float64Array};
use arrow::datatypes::{DataType, Float64Type};
use datafusion_expr::ColumnarValue;
use eventflux::{EventFlux, Layers, Rows};
use futures::StreamExt;
use serde::{Deserialize, Serialize};

#[derive(Serialize)]
struct Reading<'a> {
    sensor: &'a str,
    celsius: f64,
}

#[derive(Debug, Deserialize)]
struct Alert {
    sensor: String,
    fahrenheit: f64,
}

const APP: &str = "
    CREATE STREAM Readings (sensor STRING, celsius DOUBLE);
    INSERT INTO Alerts SELECT sensor, fahrenheit(celsius) AS fahrenheit FROM Readings WHERE celsius > 30;
    INSERT INTO Sensors SELECT sensor FROM Readings;
";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    threaded()?;
    inline()?;
    Ok(())
}

/// The pipeline has a thread of its own; `send` hands events over.
fn threaded() -> Result<(), Box<dyn std::error::Error>> {
    let app = EventFlux::builder()
        .register_function("fahrenheit", vec![DataType::Float64], DataType::Float64, |arguments| {
            let arrays = ColumnarValue::values_to_arrays(arguments)?;
            let converted: Float64Array = arrays[0]
                .as_primitive::<Float64Type>()
                .unary(|celsius| celsius * 1.8 + 32.0);
            Ok(ColumnarValue::Array(Arc::new(converted)))
        })
        .config(Layers::default().set("application.error.strategy=fail")?)
        .sql(APP)
        .build()?;

    // Whoever listens subscribes before the start, and hears everything.
    app.on("Sensors", |batch| println!("callback: {} reading(s)", batch.num_rows()))?;
    let alerts = app.subscribe("Alerts")?;
    let also_alerts = app.subscribe("Alerts")?.stream();
    app.start()?;

    let readings = app.input("Readings")?;
    readings.send(Reading {
        sensor: "roof",
        celsius: 34.5,
    })?; // a struct, by name
    readings.send(("cellar", 14.0))?; // a tuple, by position
    readings.send_rows([("roof", 35.0), ("attic", 31.0)])?; // several as one batch

    // Everything that was sent is processed; the subscriptions end.
    app.wait()?;
    for batch in alerts {
        for alert in batch.rows::<Alert>()? {
            println!("iterator: {} has {:.1} °F", alert.sensor, alert.fahrenheit);
        }
    }
    let rows = futures::executor::block_on(also_alerts.map(|batch| batch.num_rows()).collect::<Vec<_>>());
    println!("async stream: {} alerts", rows.iter().sum::<usize>());
    for query in app.stats()?.queries {
        println!(
            "stats: {} took {} rows and gave {}",
            query.name, query.rows_in, query.rows_out
        );
    }
    Ok(())
}

/// The pipeline runs inside `send`: when that returns, all that the event causes has happened.
fn inline() -> Result<(), Box<dyn std::error::Error>> {
    let app = EventFlux::builder()
        .sql("CREATE STREAM Numbers (x LONG); INSERT INTO Even SELECT x FROM Numbers WHERE x % 2 = 0;")
        .inline()
        .build()?;
    let even = app.subscribe("Even")?;
    app.start()?;
    let numbers = app.input("Numbers")?;
    for x in 0..5 {
        numbers.send((x,))?;
        let batch = even.try_next();
        println!("inline: {x} is {}", if batch.is_some() { "even" } else { "odd" });
    }
    app.shutdown()?;
    Ok(())
}
