//! Every statement form parses.

mod common;

use common::SAMPLES;
use eventflux_sqlparser::{LineIndex, parse};

#[test]
fn every_form_parses() {
    for sample in SAMPLES {
        if let Err(error) = parse(sample) {
            let at = LineIndex::new(sample).text(error.span);
            panic!("{error}\nat `{at}` in\n{sample}");
        }
    }
}
