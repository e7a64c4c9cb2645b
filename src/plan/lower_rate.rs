//! From `OUTPUT … EVERY` to its operator.

use arrow::datatypes::SchemaRef;
use datafusion_expr::{Aggregate, LogicalPlan};
use eventflux_sqlparser::{OutputEvery, OutputKind, OutputRate, Query, duration_micros};

use super::lower::Flow;
use super::lower_slices::current_of;
use super::text::Text;
use crate::error::{Code, Diagnostic};
use crate::operators::output_rate::{Content, Every, OutputRatePlan, RateKind};

/// A checked OUTPUT clause.
#[derive(Debug, Clone)]
pub struct Rate {
    /// Which rows.
    pub kind: OutputKind,
    every: Every,
}

/// The columns of a row's group, and those that are aggregates.
#[derive(Debug, Default)]
pub struct Groups {
    keys: Vec<usize>,
    aggregates: Vec<usize>,
}

impl Rate {
    /// Of a query; `None` if it has no OUTPUT clause.
    pub fn of(query: &Query, text: &Text) -> Result<Option<Self>, Diagnostic> {
        let clause = query.output.as_ref();
        clause.map(|clause| Rate::new(clause, text)).transpose()
    }

    fn new(clause: &OutputRate, text: &Text) -> Result<Self, Diagnostic> {
        let every = match &clause.every {
            OutputEvery::Events(0) => {
                let error = Diagnostic::new(Code::Type, "OUTPUT EVERY needs at least one event");
                return Err(text.at(error, clause.span));
            }
            OutputEvery::Events(events) => Every::Events(*events),
            OutputEvery::Time(duration) => match duration_micros(duration) {
                Some(micros) if micros > 0 => Every::Time(micros),
                _ => {
                    let error = Diagnostic::new(
                        Code::Duration,
                        "OUTPUT EVERY needs a constant duration longer than zero",
                    );
                    return Err(text.at(error.hint("such as OUTPUT EVERY 5 SECONDS"), clause.span));
                }
            },
        };
        Ok(Rate {
            kind: clause.kind,
            every,
        })
    }

    /// The operator over rows of `schema`.
    pub fn plan(&self, groups: Groups, flow: Flow, schema: &SchemaRef) -> OutputRatePlan {
        let kind = match self.kind {
            OutputKind::All => RateKind::All,
            OutputKind::First => RateKind::First,
            OutputKind::Last => RateKind::Last,
            OutputKind::Snapshot => RateKind::Snapshot(match flow {
                Flow::Inserts | Flow::Changelog => Content::LastRows,
                Flow::Changes { .. } => Content::Window,
                Flow::Emissions => Content::Emission,
            }),
        };
        let key_types = groups.keys.iter().map(|&key| schema.field(key).data_type().clone());
        OutputRatePlan {
            kind,
            every: self.every,
            key_types: key_types.collect(),
            keys: groups.keys,
            aggregates: groups.aggregates,
        }
    }
}

impl Groups {
    /// Of the rows of a plan: those of its aggregation, if it has one.
    pub fn of(plan: &LogicalPlan) -> Result<Self, Diagnostic> {
        match plan {
            LogicalPlan::Filter(filter) => Groups::of(&filter.input),
            LogicalPlan::Sort(sort) => Groups::of(&sort.input),
            LogicalPlan::Limit(limit) => Groups::of(&limit.input),
            LogicalPlan::Aggregate(aggregate) => Ok(Groups::of_aggregate(aggregate)),
            LogicalPlan::TableScan(_)
            | LogicalPlan::Extension(_)
            | LogicalPlan::Union(_)
            | LogicalPlan::Projection(_) => Ok(Groups::default()),
            LogicalPlan::SubqueryAlias(alias) => Groups::of(&alias.input).map(|_| Groups::default()),
            _ => Err(
                Diagnostic::new(Code::Unsupported, "not supported yet: OUTPUT … EVERY over this query")
                    .hint("send the query to a stream with INSERT INTO, and limit a query on that"),
            ),
        }
    }

    fn of_aggregate(aggregate: &Aggregate) -> Self {
        let keys = aggregate.group_expr.len();
        let computed = aggregate.aggr_expr.iter().enumerate();
        let computed = computed.filter(|(_, expr)| current_of(expr).is_none());
        Groups {
            keys: (0..keys).collect(),
            aggregates: computed.map(|(index, _)| keys + index).collect(),
        }
    }
}
