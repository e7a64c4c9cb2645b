//! Expected and actual rows beside each other, as a text table.

use super::capture::Captured;
use super::compare::Pattern;
use crate::error::Colour;
use crate::event::Op;

/// How many rows that are as expected stand around each difference.
const CONTEXT: usize = 2;
/// How many lines a table may have.
const LINES: usize = 60;
/// How wide a cell may be, in characters.
const WIDTH: usize = 48;

/// One line of the comparison.
#[derive(Debug, Clone)]
pub(super) enum Entry {
    /// A row that is as expected.
    Same { got: usize },
    /// A row of which nothing is said.
    Plain { got: usize },
    /// An expected row and the row in its place; `None` among the columns is the operation.
    Differ {
        expected: usize,
        got: usize,
        columns: Vec<Option<usize>>,
    },
    /// An expected row that did not come.
    Missing { expected: usize },
    /// A row that is not expected.
    Unexpected { got: usize },
}

/// A rendered comparison.
#[derive(Debug, Clone)]
pub(super) struct Table {
    lines: Vec<(Kind, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Expected,
    Got,
    Mark,
}

/// A line before the columns' widths are known.
struct Line {
    kind: Kind,
    number: String,
    cells: Vec<String>,
    /// The cells to underline on the next line.
    marks: Vec<usize>,
}

impl Table {
    /// Lays a comparison out.
    pub(super) fn new(captured: &Captured, patterns: &[Pattern], entries: &[Entry]) -> Self {
        let with_ops =
            patterns.iter().any(|pattern| pattern.op.is_some()) || captured.rows.iter().any(|row| row.op != Op::Insert);
        let mut header = Vec::new();
        if with_ops {
            header.push("op".to_string());
        }
        header.extend(captured.schema.fields().iter().map(|field| field.name().clone()));
        let shift = usize::from(with_ops);
        let got = |row: usize, kind: Kind| {
            let captured = &captured.rows[row];
            let op = with_ops.then(|| captured.op.sign().to_string());
            let cells = op
                .into_iter()
                .chain(captured.cells.iter().map(|cell| shorten(cell.to_string())));
            Line {
                kind,
                number: (row + 1).to_string(),
                cells: cells.collect(),
                marks: Vec::new(),
            }
        };
        let expected = |index: usize| {
            let pattern = &patterns[index];
            let op = with_ops.then(|| pattern.op.map_or("·", Op::sign).to_string());
            let cells = op
                .into_iter()
                .chain(pattern.wants.iter().map(|want| shorten(want.to_string())));
            Line {
                kind: Kind::Expected,
                number: (index + 1).to_string(),
                cells: cells.collect(),
                marks: Vec::new(),
            }
        };
        let mut lines = vec![Line {
            kind: Kind::Plain,
            number: String::new(),
            cells: header,
            marks: Vec::new(),
        }];
        let mut left_out = 0;
        for (index, entry) in entries.iter().enumerate() {
            if is_far(entries, index) || lines.len() >= LINES {
                left_out += 1;
                continue;
            }
            if left_out > 0 {
                lines.push(gap(left_out));
                left_out = 0;
            }
            match entry {
                Entry::Same { got: row } | Entry::Plain { got: row } => lines.push(got(*row, Kind::Plain)),
                Entry::Missing { expected: index } => lines.push(expected(*index)),
                Entry::Unexpected { got: row } => lines.push(got(*row, Kind::Got)),
                Entry::Differ {
                    expected: index,
                    got: row,
                    columns,
                } => {
                    lines.push(expected(*index));
                    let marks = columns
                        .iter()
                        .map(|column| column.map_or(0, |column| column + shift))
                        .collect();
                    lines.push(Line {
                        marks,
                        ..got(*row, Kind::Got)
                    });
                }
            }
        }
        if left_out > 0 {
            lines.push(gap(left_out));
        }
        Table { lines: align(&lines) }
    }

    /// The table as text, every line indented.
    pub(super) fn render(&self, colour: Colour, indent: &str) -> String {
        let mut text = String::new();
        for (kind, line) in &self.lines {
            let (on, off) = match (colour, kind) {
                (Colour::Never, _) | (_, Kind::Plain) => ("", ""),
                (Colour::Always, Kind::Expected) => ("\x1b[32m", "\x1b[0m"),
                (Colour::Always, Kind::Got | Kind::Mark) => ("\x1b[31m", "\x1b[0m"),
            };
            text.push_str(&format!("{indent}{on}{line}{off}\n"));
        }
        text
    }
}

/// Whether a line is only there to fill: as expected, and nothing near it differs.
fn is_far(entries: &[Entry], index: usize) -> bool {
    let same = |entry: &Entry| matches!(entry, Entry::Same { .. });
    let around = index.saturating_sub(CONTEXT)..(index + CONTEXT + 1).min(entries.len());
    entries[around].iter().all(same)
}

fn gap(rows: usize) -> Line {
    Line {
        kind: Kind::Plain,
        number: "…".to_string(),
        cells: vec![format!("{rows} more")],
        marks: Vec::new(),
    }
}

fn shorten(text: String) -> String {
    if text.chars().count() <= WIDTH {
        return text;
    }
    text.chars().take(WIDTH - 1).chain(['…']).collect()
}

fn align(lines: &[Line]) -> Vec<(Kind, String)> {
    let columns = lines.first().map_or(0, |header| header.cells.len());
    let length = |text: &str| text.chars().count();
    let width_of = |column: usize| {
        let rows = lines.iter().filter(|line| line.cells.len() == columns);
        rows.filter_map(|line| line.cells.get(column))
            .map(|cell| length(cell))
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width_of).collect();
    let numbers = lines.iter().map(|line| length(&line.number)).max().unwrap_or(0);
    let mut text = Vec::new();
    for line in lines {
        let sign = match line.kind {
            Kind::Expected => "-",
            Kind::Got => "+",
            Kind::Plain | Kind::Mark => " ",
        };
        let mut row = format!("{sign} {:>numbers$}", line.number);
        let mut marks = format!("  {:>numbers$}", "");
        for (column, cell) in line.cells.iter().enumerate() {
            let width = widths.get(column).copied().unwrap_or(0);
            row.push_str(&format!("  {cell:<width$}"));
            let mark = if line.marks.contains(&column) {
                "^".repeat(length(cell))
            } else {
                String::new()
            };
            marks.push_str(&format!("  {mark:<width$}"));
        }
        text.push((line.kind, row.trim_end().to_string()));
        if !line.marks.is_empty() {
            text.push((Kind::Mark, marks.trim_end().to_string()));
        }
    }
    text
}
