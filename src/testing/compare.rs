//! Expected rows against those that came: which fit which.

use super::capture::{Captured, CapturedRow};
use super::case::{Count, ExpectedRows, Further, Order};
use super::diff::{Entry, Table};
use super::rows::arrange;
use super::want::Want;
use crate::event::Op;

/// Up to how many comparisons the diff of two lists may take; beyond, rows are paired by their number.
const ALIGNMENT_LIMIT: usize = 1_000_000;

/// An expected row: what it does and what its columns must be, in the stream's order.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    pub(super) op: Option<Op>,
    pub(super) wants: Vec<Want>,
}

impl Pattern {
    fn fits(&self, row: &CapturedRow, tolerance: f64) -> bool {
        self.op.is_none_or(|op| op == row.op)
            && self
                .wants
                .iter()
                .zip(&row.cells)
                .all(|(want, cell)| want.fits(cell, tolerance))
    }

    /// The columns in which a row differs; the operation is `None`.
    fn differences(&self, row: &CapturedRow, tolerance: f64) -> Vec<Option<usize>> {
        let op = self.op.filter(|op| *op != row.op).map(|_| None);
        let cells = self.wants.iter().zip(&row.cells).enumerate();
        op.into_iter()
            .chain(
                cells
                    .filter(|(_, (want, cell))| !want.fits(cell, tolerance))
                    .map(|(index, _)| Some(index)),
            )
            .collect()
    }
}

/// What does not fit, as text; a table where rows differ.
#[derive(Debug, Clone)]
pub(super) enum Mismatch {
    /// The expectation itself does not fit the stream.
    Wrong(String),
    /// Another number of rows.
    Count { wanted: String, got: Table },
    /// Other rows.
    Rows { wanted: String, got: usize, table: Table },
}

/// Compares what came with what is expected.
pub(super) fn compare(expected: &ExpectedRows, captured: &Captured) -> Vec<Mismatch> {
    let mut mismatches = Vec::new();
    match patterns(expected, captured) {
        Err(reason) => return vec![Mismatch::Wrong(reason)],
        Ok(None) => {}
        Ok(Some(patterns)) => {
            let entries = match expected.order {
                Order::Exact => in_order(&patterns, captured, expected),
                Order::Any => in_any_order(&patterns, captured, expected),
            };
            if let Some(entries) = entries {
                let more = if expected.further == Further::Allowed {
                    " or more"
                } else {
                    ""
                };
                mismatches.push(Mismatch::Rows {
                    wanted: format!("{}{more}", count_text(patterns.len())),
                    got: captured.rows.len(),
                    table: Table::new(captured, &patterns, &entries),
                });
            }
        }
    }
    if let Some(Count { min, max }) = expected.count
        && !(min..=max).contains(&captured.rows.len())
        && mismatches.is_empty()
    {
        let wanted = match (min, max) {
            (min, max) if min == max => count_text(min),
            (0, max) => format!("at most {}", count_text(max)),
            (min, usize::MAX) => format!("at least {}", count_text(min)),
            (min, max) => format!("{min} to {}", count_text(max)),
        };
        let entries: Vec<Entry> = (0..captured.rows.len()).map(|got| Entry::Plain { got }).collect();
        mismatches.push(Mismatch::Count {
            wanted,
            got: Table::new(captured, &[], &entries),
        });
    }
    mismatches
}

/// `1 row`, `2 rows`.
pub(super) fn count_text(rows: usize) -> String {
    format!("{rows} {}", if rows == 1 { "row" } else { "rows" })
}

fn patterns(expected: &ExpectedRows, captured: &Captured) -> Result<Option<Vec<Pattern>>, String> {
    let length = match (&expected.rows, &expected.ops) {
        (None, None) => return Ok(None),
        (Some(rows), _) => rows.len(),
        (None, Some(ops)) => ops.len(),
    };
    let fields = captured.schema.fields();
    let pattern = |index: usize| {
        let op = expected.ops.as_ref().and_then(|ops| ops.get(index)).copied();
        let Some(row) = expected.rows.as_ref().and_then(|rows| rows.get(index)) else {
            return Ok(Pattern {
                op,
                wants: vec![Want::Any; fields.len()],
            });
        };
        let values =
            arrange(row, &captured.schema).map_err(|reason| format!("expected row {}: {reason}", index + 1))?;
        let wants = fields
            .iter()
            .zip(values)
            .map(|(field, value)| value.map_or(Want::Any, |value| Want::new(field, value)));
        Ok(Pattern {
            op,
            wants: wants.collect(),
        })
    };
    (0..length).map(pattern).collect::<Result<Vec<_>, String>>().map(Some)
}

/// `None` when all is as expected, else what stands beside what.
fn in_order(patterns: &[Pattern], captured: &Captured, expected: &ExpectedRows) -> Option<Vec<Entry>> {
    let rows = &captured.rows;
    let fits = |pattern: usize, row: usize| patterns[pattern].fits(&rows[row], expected.tolerance);
    let enough = match expected.further {
        Further::Allowed => rows.len() >= patterns.len(),
        Further::Refused => rows.len() == patterns.len(),
    };
    if enough && (0..patterns.len()).all(|index| fits(index, index)) {
        return None;
    }
    let common = common_subsequence(patterns.len(), rows.len(), fits);
    let mut entries = Vec::new();
    let (mut pattern, mut row) = (0, 0);
    for (next_pattern, next_row) in common.into_iter().chain([(patterns.len(), rows.len())]) {
        while pattern < next_pattern && row < next_row {
            entries.push(differ(patterns, captured, expected, pattern, row));
            pattern += 1;
            row += 1;
        }
        entries.extend((pattern..next_pattern).map(|expected| Entry::Missing { expected }));
        let further = expected.further == Further::Allowed && next_pattern == patterns.len() && next_row == rows.len();
        entries.extend((row..next_row).map(|got| {
            if further {
                Entry::Plain { got }
            } else {
                Entry::Unexpected { got }
            }
        }));
        if next_pattern < patterns.len() {
            entries.push(Entry::Same { got: next_row });
        }
        (pattern, row) = (next_pattern + 1, next_row + 1);
    }
    Some(entries)
}

fn differ(patterns: &[Pattern], captured: &Captured, expected: &ExpectedRows, pattern: usize, got: usize) -> Entry {
    match patterns[pattern].differences(&captured.rows[got], expected.tolerance) {
        columns if columns.is_empty() => Entry::Same { got },
        columns => Entry::Differ {
            expected: pattern,
            got,
            columns,
        },
    }
}

/// Pairs of indices that fit, ascending in both, as many as there can be.
fn common_subsequence(patterns: usize, rows: usize, fits: impl Fn(usize, usize) -> bool) -> Vec<(usize, usize)> {
    let head = (0..patterns.min(rows)).take_while(|&index| fits(index, index)).count();
    let mut pairs: Vec<(usize, usize)> = (0..head).map(|index| (index, index)).collect();
    let (height, width) = (patterns - head, rows - head);
    if height.saturating_mul(width) > ALIGNMENT_LIMIT {
        pairs.extend(
            (head..patterns.min(rows))
                .filter(|&index| fits(index, index))
                .map(|index| (index, index)),
        );
        return pairs;
    }
    // best[i][j]: how many pairs there are among the patterns from i and the rows from j on.
    let mut best = vec![vec![0_usize; width + 1]; height + 1];
    let mut fit = vec![vec![false; width]; height];
    for i in (0..height).rev() {
        for j in (0..width).rev() {
            fit[i][j] = fits(head + i, head + j);
            best[i][j] = match fit[i][j] {
                true => best[i + 1][j + 1] + 1,
                false => best[i + 1][j].max(best[i][j + 1]),
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < height && j < width {
        if fit[i][j] {
            pairs.push((head + i, head + j));
            (i, j) = (i + 1, j + 1);
        } else if best[i + 1][j] >= best[i][j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    pairs
}

fn in_any_order(patterns: &[Pattern], captured: &Captured, expected: &ExpectedRows) -> Option<Vec<Entry>> {
    let rows = &captured.rows;
    let matching = Matching::new(patterns.len(), rows.len(), |pattern, row| {
        patterns[pattern].fits(&rows[row], expected.tolerance)
    });
    let missing: Vec<usize> = (0..patterns.len())
        .filter(|&pattern| matching.row_of[pattern].is_none())
        .collect();
    let mut unmatched: Vec<usize> = (0..rows.len())
        .filter(|&row| matching.pattern_of[row].is_none())
        .collect();
    let too_many = expected.further == Further::Refused && !unmatched.is_empty();
    if missing.is_empty() && !too_many {
        return None;
    }
    let mut entries: Vec<Entry> = (0..rows.len())
        .filter(|&got| matching.pattern_of[got].is_some())
        .map(|got| Entry::Same { got })
        .collect();
    for pattern in missing {
        // The nearest of the rows that are left, if it has anything in common with what is missing.
        let near = unmatched
            .iter()
            .enumerate()
            .map(|(place, &row)| {
                (
                    patterns[pattern].differences(&rows[row], expected.tolerance).len(),
                    place,
                )
            })
            .min()
            .filter(|(differences, _)| {
                let compared = patterns[pattern]
                    .wants
                    .iter()
                    .filter(|want| !matches!(want, Want::Any))
                    .count();
                *differences < compared
            });
        entries.push(match near {
            Some((_, place)) => differ(patterns, captured, expected, pattern, unmatched.remove(place)),
            None => Entry::Missing { expected: pattern },
        });
    }
    let further = expected.further == Further::Allowed;
    entries.extend(unmatched.into_iter().map(|got| {
        if further {
            Entry::Plain { got }
        } else {
            Entry::Unexpected { got }
        }
    }));
    Some(entries)
}

/// A largest one-to-one matching of patterns and rows: a row that fits several patterns goes to the one that needs it.
///
/// Augmenting paths (Kuhn): a pattern that finds all its rows taken asks their holders to move on.
struct Matching {
    row_of: Vec<Option<usize>>,
    pattern_of: Vec<Option<usize>>,
}

impl Matching {
    fn new(patterns: usize, rows: usize, fits: impl Fn(usize, usize) -> bool) -> Self {
        let edges: Vec<Vec<usize>> = (0..patterns)
            .map(|pattern| (0..rows).filter(|&row| fits(pattern, row)).collect())
            .collect();
        let mut matching = Matching {
            row_of: vec![None; patterns],
            pattern_of: vec![None; rows],
        };
        for pattern in 0..patterns {
            matching.place(pattern, &edges);
        }
        matching
    }

    /// Breadth first, so that the depth of the stack does not grow with the rows.
    fn place(&mut self, start: usize, edges: &[Vec<usize>]) {
        let mut came_from: Vec<Option<usize>> = vec![None; self.pattern_of.len()];
        let mut queue = std::collections::VecDeque::from([start]);
        while let Some(pattern) = queue.pop_front() {
            for &row in &edges[pattern] {
                if came_from[row].is_some() {
                    continue;
                }
                came_from[row] = Some(pattern);
                match self.pattern_of[row] {
                    Some(holder) => queue.push_back(holder),
                    None => return self.shift(row, &came_from),
                }
            }
        }
    }

    fn shift(&mut self, free: usize, came_from: &[Option<usize>]) {
        let mut row = Some(free);
        while let Some(current) = row
            && let Some(pattern) = came_from[current]
        {
            self.pattern_of[current] = Some(pattern);
            row = self.row_of[pattern].replace(current);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Matching, common_subsequence};

    #[test]
    fn matching_moves_holders_on() {
        // Pattern 0 fits rows 0 and 1, pattern 1 only 0, pattern 2 fits 1 and 2.
        let fits = [[true, true, false], [true, false, false], [false, true, true]];
        let matching = Matching::new(3, 3, |pattern, row| fits[pattern][row]);
        assert_eq!(matching.row_of, [Some(1), Some(0), Some(2)]);
        let crowded = Matching::new(2, 3, |_, row| row == 1);
        assert_eq!(crowded.row_of, [Some(1), None]);
    }

    #[test]
    fn alignment_is_longest() {
        let (a, b) = ("abcd".as_bytes(), "xbcad".as_bytes());
        let pairs = common_subsequence(a.len(), b.len(), |i, j| a[i] == b[j]);
        assert_eq!(pairs, [(1, 1), (2, 2), (3, 4)]);
    }
}
