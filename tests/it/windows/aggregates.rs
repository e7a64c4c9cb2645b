//! The calls of aggregates that are compared.

/// A call in the engine's words and in the oracle's, if those are others: what depends on the order of events says so there.
type Call = (&'static str, &'static str);

const SAME: &str = "";

/// What is counted, added and averaged.
const SUMS: &[Call] = &[
    ("count(*)", SAME),
    ("count(v)", SAME),
    ("count(s)", SAME),
    ("count(DISTINCT v)", SAME),
    ("count(DISTINCT s)", SAME),
    ("distinctCount(s)", "count(DISTINCT s)"),
    ("count(*) FILTER (WHERE b)", SAME),
    ("count(DISTINCT s) FILTER (WHERE v > 0)", SAME),
    ("sum(v)", SAME),
    ("sum(l)", SAME),
    ("sum(f)", "sum(CAST(f AS DOUBLE))"),
    ("sum(d)", SAME),
    ("sum(m)", SAME),
    ("sum(2 * v + 1)", SAME),
    ("sum(DISTINCT v)", SAME),
    ("sum(v) FILTER (WHERE d > 0)", SAME),
    ("avg(v)", SAME),
    ("avg(l)", SAME),
    ("avg(f)", "avg(CAST(f AS DOUBLE))"),
    ("avg(d)", SAME),
    ("avg(m)", SAME),
    ("avg(DISTINCT d)", SAME),
    ("sum(v) + max(v) - count(*)", SAME),
];

/// The least, the greatest, those in the middle, and what is true of all or one.
///
/// The oracle interpolates percentiles by millionths only; rounding takes that away, and of quarters nothing else.
/// Its `bit_xor(DISTINCT …)` of groups counts what is there twice, so it is left to the unit tests.
const EXTREMES: &[Call] = &[
    ("min(v)", SAME),
    ("max(v)", SAME),
    ("min(l)", SAME),
    ("max(f)", SAME),
    ("min(d)", SAME),
    ("max(m)", SAME),
    ("min(s)", SAME),
    ("max(s)", SAME),
    ("min(t)", SAME),
    ("max(DISTINCT v)", SAME),
    ("min(d) FILTER (WHERE NOT b)", SAME),
    ("bool_and(b)", SAME),
    ("bool_or(b)", SAME),
    ("and(b)", "bool_and(b)"),
    ("or(v > 0)", "bool_or(v > 0)"),
    ("bit_and(v)", SAME),
    ("bit_or(v)", SAME),
    ("bit_xor(v)", SAME),
    ("median(v)", SAME),
    ("median(d)", SAME),
    ("median(m)", SAME),
    ("median(DISTINCT d)", SAME),
    (
        "round(percentile(d, 0.3), 4)",
        "round(percentile_cont(0.3) WITHIN GROUP (ORDER BY d), 4)",
    ),
    ("round(percentile_cont(0.75) WITHIN GROUP (ORDER BY d DESC), 4)", SAME),
    (
        "percentile_cont(v, 0.5)",
        "percentile_cont(0.5) WITHIN GROUP (ORDER BY v)",
    ),
    (
        "round(approx_percentile(d, 0.9), 4)",
        "round(percentile_cont(0.9) WITHIN GROUP (ORDER BY d), 4)",
    ),
    ("approx_median(d)", "median(d)"),
    ("approx_distinct(v)", "count(DISTINCT v)"),
];

/// How values are spread, alone and together.
const SPREADS: &[Call] = &[
    ("stddev(v)", SAME),
    ("stddev(d)", SAME),
    ("stddev_samp(d)", SAME),
    ("stddev_pop(d)", SAME),
    ("variance(d)", "var_samp(d)"),
    ("var_samp(v)", SAME),
    ("var_pop(d)", SAME),
    ("var_pop(d) FILTER (WHERE b)", SAME),
    ("corr(d, e)", SAME),
    ("covar_samp(d, e)", SAME),
    ("covar_pop(d, e)", SAME),
    ("regr_slope(d, e)", SAME),
    ("regr_intercept(d, e)", SAME),
    ("regr_count(d, e)", SAME),
    ("regr_r2(d, e)", SAME),
    ("regr_avgx(d, e)", SAME),
    ("regr_avgy(d, e)", SAME),
    ("regr_sxx(d, e)", SAME),
    ("regr_syy(d, e)", SAME),
    ("regr_sxy(d, e)", SAME),
];

/// What depends on the order of events; `{o}` is it.
const LISTS: &[Call] = &[
    ("first(v)", "first_value(v ORDER BY {o})"),
    ("last(v)", "last_value(v ORDER BY {o})"),
    ("first_value(s)", "first_value(s ORDER BY {o})"),
    ("last_value(s)", "last_value(s ORDER BY {o})"),
    (
        "first(d) FILTER (WHERE b)",
        "first_value(d ORDER BY {o}) FILTER (WHERE b)",
    ),
    (
        "last(m) FILTER (WHERE v > 0)",
        "nth_value(m, -1 ORDER BY {o}) FILTER (WHERE v > 0)",
    ),
    (
        "first_value(s) IGNORE NULLS",
        "first_value(s ORDER BY {o}) FILTER (WHERE s IS NOT NULL)",
    ),
    (
        "last_value(b) IGNORE NULLS",
        "nth_value(b, -1 ORDER BY {o}) FILTER (WHERE b IS NOT NULL)",
    ),
    ("nth_value(v, 2)", "nth_value(v, 2 ORDER BY {o})"),
    (
        "any_value(s)",
        "first_value(s ORDER BY {o}) FILTER (WHERE s IS NOT NULL)",
    ),
    ("array_agg(v)", "array_agg(v ORDER BY {o})"),
    ("collect(s)", "array_agg(s ORDER BY {o})"),
    (
        "array_agg(d) FILTER (WHERE d > 0)",
        "array_agg(d ORDER BY {o}) FILTER (WHERE d > 0)",
    ),
    ("string_agg(s, ',')", "string_agg(s, ',' ORDER BY {o})"),
];

/// What has an order of its own. (The oracle takes one order a query.)
const BACKWARDS: &[Call] = &[
    ("first_value(d ORDER BY i DESC)", SAME),
    ("last(v ORDER BY i DESC)", "last_value(v ORDER BY i DESC)"),
    ("array_agg(m ORDER BY i DESC)", SAME),
    ("string_agg(s, '-' ORDER BY i DESC)", SAME),
];

/// Different values, in their order.
const NUMBERS: &[Call] = &[
    ("array_agg(DISTINCT v ORDER BY v)", SAME),
    (
        "unionSet(v)",
        "array_agg(DISTINCT v ORDER BY v) FILTER (WHERE v IS NOT NULL)",
    ),
];

/// The same of texts.
const TEXTS: &[Call] = &[
    ("string_agg(DISTINCT s, ',' ORDER BY s)", SAME),
    (
        "unionSet(s)",
        "array_agg(DISTINCT s ORDER BY s) FILTER (WHERE s IS NOT NULL)",
    ),
];

/// The order of events, each told apart.
const ORDER: &[Call] = &[
    ("first(i)", "first_value(i ORDER BY {o})"),
    ("last(i)", "last_value(i ORDER BY {o})"),
    ("nth_value(i, 3)", "nth_value(i, 3 ORDER BY {o})"),
    ("array_agg(i)", "array_agg(i ORDER BY {o})"),
];

/// For windows that events leave in any order: what leaves is known by its values, so that of equal ones any may be kept, and
/// lists of them are not compared.
pub const ANY_ORDER: &[&[Call]] = &[SUMS, EXTREMES, SPREADS, ORDER, BACKWARDS, NUMBERS, TEXTS];

/// All of them.
pub const FAMILIES: &[&[Call]] = &[SUMS, EXTREMES, SPREADS, LISTS, BACKWARDS, NUMBERS, TEXTS];

/// Those that do not depend on the order of events.
pub const UNORDERED: &[&[Call]] = &[SUMS, EXTREMES, SPREADS, BACKWARDS, NUMBERS, TEXTS];

/// The calls that OVER takes.
pub fn over() -> Vec<Vec<Call>> {
    let refused = ["round(", " + ", "DISTINCT", "ORDER BY", "IGNORE NULLS", "distinctCount"];
    // FILTER is for aggregates; with OVER, first and last are functions of rows.
    let of_rows = |call: &str| (call.starts_with("first") || call.starts_with("last")) && call.contains("FILTER");
    let takes = |call: &&Call| !refused.iter().any(|part| call.0.contains(part)) && !of_rows(call.0);
    [SUMS, EXTREMES, SPREADS, LISTS]
        .map(|calls| calls.iter().filter(takes).copied().collect())
        .to_vec()
}

/// The same number of columns for either: calls with names, and the oracle's, where events come in the order of `order`.
pub fn select(calls: &[Call], order: &str, event: &str) -> (String, String) {
    let named = |call: String, number: usize| format!("{call} AS a{number}");
    let engine = calls
        .iter()
        .enumerate()
        .map(|(number, (call, _))| named(call.to_string(), number));
    let oracle = calls.iter().enumerate().map(|(number, (call, other))| {
        let call = if other.is_empty() { call } else { other };
        named(of_event(&call.replace("{o}", order), event), number)
    });
    (
        engine.collect::<Vec<_>>().join(", "),
        oracle.collect::<Vec<_>>().join(", "),
    )
}

/// The call with its columns read of `event`, a table's alias; empty if there is only one table.
pub fn of_event(call: &str, event: &str) -> String {
    if event.is_empty() {
        return call.to_string();
    }
    let mut text = String::new();
    let mut word = String::new();
    let mut quoted = false;
    for letter in call.chars().chain([' ']) {
        if letter.is_alphanumeric() || letter == '_' {
            word.push(letter);
            continue;
        }
        // Columns have names of one letter.
        let column = !quoted && word.len() == 1 && word.chars().all(char::is_alphabetic);
        if column {
            text += &format!("{event}.");
        }
        text += &std::mem::take(&mut word);
        text.push(letter);
        quoted ^= letter == '\'';
    }
    text.trim_end().to_string()
}
