//! A bad event takes only itself: finding it in its batch, and reporting it.

use datafusion_common::DataFusionError;

use super::Output;
use super::expressions::reason;
use crate::error::{ErrorKind, RowError};
use crate::event::{EventBatch, Op, json_row};

/// Calls `evaluate` with a batch; if it fails, with its halves, until the events that fail stand alone and are reported.
///
/// `evaluate` must do nothing when it fails. An event is reported when it comes, not once more when it leaves. *Cost.* O(log rows) calls for each bad event.
pub fn isolate(
    batch: &EventBatch,
    out: &mut Output,
    evaluate: &mut dyn FnMut(&EventBatch, &mut Output) -> Result<(), DataFusionError>,
) {
    let mut waiting = vec![batch.clone()];
    while let Some(part) = waiting.pop() {
        let rows = part.num_rows();
        match evaluate(&part, out) {
            Ok(()) => {}
            Err(_) if rows == 1 && matches!(part.op(0), Op::Delete | Op::UpdateBefore) => {}
            Err(error) if rows <= 1 => report_all(&part, ErrorKind::Evaluate, &reason(&error), out),
            Err(_) => {
                waiting.push(part.slice(rows / 2, rows - rows / 2));
                waiting.push(part.slice(0, rows / 2));
            }
        }
    }
}

/// Reports every event of a batch.
pub fn report_all(batch: &EventBatch, kind: ErrorKind, message: &str, out: &mut Output) {
    for row in 0..batch.num_rows() {
        report(batch, row, kind, message, out);
    }
}

/// Reports one event.
pub fn report(batch: &EventBatch, row: usize, kind: ErrorKind, message: &str, out: &mut Output) {
    let at = out.now();
    out.error(RowError {
        kind,
        message: message.to_string(),
        event: json_row::row(batch.columns(), row),
        line: None,
        at,
        attempts: 1,
    });
}
