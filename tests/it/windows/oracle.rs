//! DataFusion as the oracle, and how its answers are compared.

use std::fmt;

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, Float64Array, Int64Array};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;
use arrow::util::display::array_value_to_string;
use datafusion::prelude::{SessionConfig, SessionContext};
use tokio::runtime::{Builder, Runtime};

/// A finite table `arrived` of all events; `e` is the same with their order number `o` by time, ties as they came.
pub struct Oracle {
    context: SessionContext,
    runtime: Runtime,
}

impl Oracle {
    pub fn of(events: &RecordBatch) -> Self {
        let oracle = Self::of_nothing();
        oracle.table("arrived", events);
        let ordered =
            oracle.batch("SELECT *, CAST(row_number() OVER (ORDER BY t, i) AS BIGINT) AS o FROM arrived ORDER BY o");
        oracle.table("e", &ordered);
        oracle
    }

    /// Without tables.
    pub fn of_nothing() -> Self {
        let config = SessionConfig::new().with_target_partitions(1);
        Oracle {
            context: SessionContext::new_with_config(config),
            runtime: Builder::new_current_thread().build().unwrap(),
        }
    }

    /// One more table.
    pub fn table(&self, name: &str, rows: &RecordBatch) {
        self.context.register_batch(name, rows.clone()).unwrap();
    }

    /// The rows of a query.
    #[track_caller]
    pub fn ask(&self, sql: &str) -> Vec<Row> {
        rows(&self.batch(sql))
    }

    #[track_caller]
    fn batch(&self, sql: &str) -> RecordBatch {
        let answer = self.runtime.block_on(async {
            let frame = self.context.sql(sql).await?;
            let schema = frame.schema().inner().clone();
            Ok::<_, datafusion::error::DataFusionError>((schema, frame.collect().await?))
        });
        let (schema, batches) = answer.unwrap_or_else(|error| panic!("{error}\n{sql}"));
        let schema = batches.first().map_or(schema, RecordBatch::schema);
        concat_batches(&schema, &batches).unwrap()
    }
}

/// A value: floats are compared with a tolerance, all else as it is written.
#[derive(Clone)]
pub enum Cell {
    Float(f64),
    Text(String),
    List(Vec<Cell>),
}

pub type Row = Vec<Cell>;

impl fmt::Debug for Cell {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Cell::Float(value) => write!(out, "{value:?}"),
            Cell::Text(text) => write!(out, "{text}"),
            Cell::List(cells) => write!(out, "{cells:?}"),
        }
    }
}

/// The difference that two ways of computing a float may make. Values are around one, so below one it is absolute.
const TOLERANCE: f64 = 1e-9;

impl Cell {
    fn is(&self, other: &Cell) -> bool {
        match (self, other) {
            (Cell::Float(a), Cell::Float(b)) if a.is_nan() || b.is_nan() => a.is_nan() && b.is_nan(),
            (Cell::Float(a), Cell::Float(b)) => (a - b).abs() <= TOLERANCE * 1f64.max(a.abs()).max(b.abs()),
            (Cell::Text(a), Cell::Text(b)) => a == b,
            (Cell::List(a), Cell::List(b)) => same_row(a, b),
            _ => false,
        }
    }
}

fn same_row(a: &[Cell], b: &[Cell]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.is(b))
}

/// A batch row by row.
pub fn rows(batch: &RecordBatch) -> Vec<Row> {
    let columns: Vec<Vec<Cell>> = batch.columns().iter().map(cells).collect();
    let row = |row: usize| columns.iter().map(|column| column[row].clone()).collect();
    (0..batch.num_rows()).map(row).collect()
}

fn cells(column: &ArrayRef) -> Vec<Cell> {
    let null = || Cell::Text("NULL".to_string());
    match column.data_type() {
        DataType::Float32 | DataType::Float64 => {
            let floats = cast(column, &DataType::Float64).unwrap();
            let floats: &Float64Array = floats.as_primitive();
            floats
                .iter()
                .map(|value| value.map_or_else(null, Cell::Float))
                .collect()
        }
        DataType::List(_) => {
            let lists = column.as_list::<i32>();
            let list = |items: Option<ArrayRef>| items.map_or_else(null, |items| Cell::List(cells(&items)));
            lists.iter().map(list).collect()
        }
        // A moment is compared as microseconds.
        DataType::Timestamp(_, _) => {
            let micros: Int64Array = cast(column, &DataType::Int64).unwrap().as_primitive().clone();
            micros
                .iter()
                .map(|value| value.map_or_else(null, |value| Cell::Text(value.to_string())))
                .collect()
        }
        // With their scale, which must be the same.
        DataType::Decimal128(_, scale) => {
            let decimals: &Decimal128Array = column.as_primitive();
            let text = |value: i128| Cell::Text(format!("{value}e-{scale}"));
            decimals.iter().map(|value| value.map_or_else(null, text)).collect()
        }
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => {
            let texts = cast(column, &DataType::Utf8).unwrap();
            let texts = texts.as_string::<i32>();
            texts
                .iter()
                .map(|text| text.map_or_else(null, |text| Cell::Text(format!("{text:?}"))))
                .collect()
        }
        _ => (0..column.len())
            .map(|row| match column.is_null(row) {
                true => null(),
                false => Cell::Text(array_value_to_string(column, row).unwrap()),
            })
            .collect(),
    }
}

/// Whether the rows must come in the oracle's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    Exact,
    /// Rows are told apart by so many columns at their start.
    ByKey(usize),
}

/// What differs, if anything: the first row that is not the same.
pub fn difference(order: Order, mut got: Vec<Row>, mut want: Vec<Row>) -> Option<String> {
    if let Order::ByKey(columns) = order {
        for rows in [&mut got, &mut want] {
            rows.sort_by_key(|row| format!("{:?}", &row[..columns]));
        }
    }
    let different = got.iter().zip(&want).position(|(got, want)| !same_row(got, want));
    if let Some(row) = different {
        let columns = got[row].iter().zip(&want[row]).enumerate();
        let wrong: Vec<String> = columns
            .filter(|(_, (got, want))| !got.is(want))
            .map(|(column, (got, want))| format!("column {column}: got {got:?}, want {want:?}"))
            .collect();
        return Some(format!(
            "row {row}: {}\ngot  {:?}\nwant {:?}",
            wrong.join("; "),
            got[row],
            want[row]
        ));
    }
    (got.len() != want.len()).then(|| {
        let longer = if got.len() > want.len() { &got } else { &want };
        format!(
            "{} rows, want {}; the next is {:?}",
            got.len(),
            want.len(),
            longer[got.len().min(want.len())]
        )
    })
}
