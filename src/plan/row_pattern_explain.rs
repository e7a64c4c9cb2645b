//! How EXPLAIN prints MATCH_RECOGNIZE: the program, and how each condition is evaluated.

use super::row_pattern::RowPatternSpec;
use super::row_pattern_names::MARK;
use crate::catalog::types;
use crate::row_patterns::leaf::From;
use crate::row_patterns::matcher::{Limit, MatcherPlan, Skip};
use crate::row_patterns::measures::Given;
use crate::windows::TimeDomain;

/// So many instructions are printed.
const SHOWN: usize = 40;

/// The lines of an operator.
pub fn lines(spec: &RowPatternSpec, matcher: &MatcherPlan, domain: TimeDomain) -> Vec<String> {
    let within = match spec.within {
        None => String::new(),
        Some(Limit::Time(micros)) if micros % 1_000 == 0 => format!(" within {} ms", micros / 1_000),
        Some(Limit::Time(micros)) => format!(" within {micros} µs"),
        Some(Limit::Rows(rows)) => format!(" within {rows} events"),
    };
    let mut lines = vec![format!("pattern {}{within} by {domain}", spec.text)];
    let column = |column: &usize| spec.columns.field(*column).name().clone();
    if !spec.keys.is_empty() {
        lines.push(format!(
            "by {}",
            spec.keys.iter().map(column).collect::<Vec<_>>().join(", ")
        ));
    }
    if spec.order.len() > 1 {
        let keys = spec.order[1..].iter();
        let keys: Vec<String> = keys.map(|key| column(&key.column)).collect();
        lines.push(format!("rows of one time by {}", keys.join(", ")));
    }
    lines.push(format!("{}, {}", rows(spec.given), skip(&spec.skip)));
    let program = spec.program.lines(|variable| spec.variables[variable as usize].clone());
    let more = program.len().saturating_sub(SHOWN);
    lines.extend(program.into_iter().take(SHOWN));
    if more > 0 {
        lines.push(format!("… {more} more"));
    }
    for variable in 0..spec.variables.len() {
        lines.extend(condition(spec, matcher, variable));
    }
    lines
}

fn rows(given: Given) -> &'static str {
    match given {
        Given::One => "one row a match",
        Given::All { unmatched: true, .. } => "all rows, unmatched ones too",
        Given::All { empty: false, .. } => "all rows of matches that are not empty",
        Given::All { .. } => "all rows of matches",
    }
}

fn skip(skip: &Skip) -> String {
    match skip {
        Skip::PastLastRow => "then past the last row".to_string(),
        Skip::ToNextRow => "then to the next row".to_string(),
        Skip::To { from, text, .. } => {
            let variable = text.rsplit(' ').next().unwrap_or_default();
            let end = match from {
                From::First => "first",
                From::Last => "last",
            };
            format!("then to the {end} {variable}")
        }
    }
}

fn condition(spec: &RowPatternSpec, matcher: &MatcherPlan, variable: usize) -> Option<String> {
    let conditions = &matcher.conditions;
    let mut parts = Vec::new();
    if let Some(of_row) = &conditions.of_row[variable] {
        parts.push(format!("where {of_row} (vectorised)"));
    }
    if let Some(of_past) = &conditions.of_past[variable] {
        let how = match of_past.scalar {
            Some(_) => "compiled, for each thread",
            None => "for each thread",
        };
        parts.push(format!("with {} ({how})", of_past.expr));
    }
    let text = types::in_our_names(&parts.join(", ")).replace(MARK, "");
    (!parts.is_empty()).then(|| format!("{} {text}", spec.variables[variable]))
}
