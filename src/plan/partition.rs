//! `PARTITION WITH (key OF stream, …) BEGIN … END`: each key has its own state.
//!
//! The key becomes a column, [`PARTITION_KEY`], of the streams that are partitioned, and every SELECT of the block carries it
//! on: as one more key where it groups or looks back (OVER), and as one more column of `#streams`. What has state without groups (windows, LIMIT,
//! output rates) gets an operator for each key ([`crate::operators::keyed`]). So aggregates of a million keys are one table,
//! and conditions are evaluated for all keys at once. A stream without a key gets that of each partition alive
//! ([`super::broadcast_node`]).

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion_common::DataFusionError;
use datafusion_expr::{LogicalPlan, LogicalPlanBuilder};

use eventflux_sqlparser::{OptionDef, Partition, PatternNode, PatternNodeKind, Query, RelationSource, StatementKind};
use sqlparser::ast::{Expr, Ident, SelectItem, SetExpr};
use sqlparser::tokenizer::Span;

use super::text::Text;
use crate::config::duration::parse;
use crate::error::{Code, Diagnostic};
use crate::operators::keyed::Purge;

/// The column of a partition's key.
pub const PARTITION_KEY: &str = "__partition";

/// A block.
#[derive(Debug, Clone)]
pub struct Scope {
    /// Its number in the app.
    pub number: usize,
    /// Where it stands.
    pub span: Span,
    /// The partitioned streams, by their exact names, with their keys.
    pub keys: Vec<(String, Expr)>,
    /// When unused keys are forgotten.
    pub purge: Option<Purge>,
}

impl Scope {
    /// Of a statement whose stream names have been resolved.
    pub fn new(
        number: usize,
        partition: &Partition,
        streams: Vec<String>,
        span: Span,
        text: &Text,
    ) -> Result<Self, Diagnostic> {
        let keys = partition.keys.iter().map(|key| key.expr.clone());
        Ok(Scope {
            number,
            span,
            keys: streams.into_iter().zip(keys).collect(),
            purge: purge(&partition.options, text)?,
        })
    }

    /// The name of an inner stream among all streams.
    pub fn inner_name(&self, name: &str) -> String {
        format!("#{name}@{}", self.number)
    }

    /// Writes the inner streams of a query by their names among all streams.
    pub fn localise(&self, query: &mut Query) {
        for relation in &mut query.relations {
            if let RelationSource::Stream { name, inner, .. } = &mut relation.source
                && std::mem::take(inner)
            {
                name.value = self.inner_name(&name.value);
                name.quote_style = Some('"');
            }
            if let RelationSource::Pattern(pattern) = &mut relation.source {
                self.localise_pattern(&mut pattern.root);
            }
        }
        if let Some(target) = &mut query.target
            && std::mem::take(&mut target.inner)
        {
            target.name.value = self.inner_name(&target.name.value);
        }
    }

    fn localise_pattern(&self, node: &mut PatternNode) {
        match &mut node.kind {
            PatternNodeKind::Chain(parts) | PatternNodeKind::And(parts) | PatternNodeKind::Or(parts) => {
                parts.iter_mut().for_each(|part| self.localise_pattern(part));
            }
            PatternNodeKind::Group(inner) => self.localise_pattern(inner),
            PatternNodeKind::Element(element) | PatternNodeKind::Absent { element, .. } => {
                if std::mem::take(&mut element.inner) {
                    element.stream.value = self.inner_name(&element.stream.value);
                    element.stream.quote_style = Some('"');
                }
            }
        }
    }

    /// Whether a stream's events carry the key.
    pub fn carries(&self, stream: &str) -> bool {
        stream.starts_with('#') || self.keys.iter().any(|(name, _)| name == stream)
    }
}

/// `WITH (idle = 1 HOUR, check = 1 MINUTE)`.
fn purge(options: &[OptionDef], text: &Text) -> Result<Option<Purge>, Diagnostic> {
    let mut idle = None;
    let mut check = None;
    for option in options {
        let slot = match option.key.to_lowercase().as_str() {
            "idle" => &mut idle,
            "check" => &mut check,
            _ => {
                let error = Diagnostic::new(
                    Code::UnknownOption,
                    format!("a PARTITION has no option '{}'", option.key),
                );
                return Err(text.at(error.hint("it has idle and check"), option.key_span));
            }
        };
        *slot = Some(duration(option, text)?);
    }
    let default = 60_000_000;
    Ok(idle.map(|idle| Purge {
        idle,
        check: check.unwrap_or(default).min(idle),
    }))
}

fn duration(option: &OptionDef, text: &Text) -> Result<i64, Diagnostic> {
    let micros = parse(&option.value.text);
    micros.filter(|micros| *micros > 0).ok_or_else(|| {
        let error = Diagnostic::new(
            Code::Duration,
            format!("'{}' must be a constant duration above zero", option.key),
        );
        text.at(error.hint("such as 1 HOUR"), option.value_span)
    })
}

/// The query of a partitioned stream with its key as a column.
pub fn keyed_stream(stream: &str, key: &Expr, several: bool) -> Result<Query, Diagnostic> {
    let name = stream.replace('"', "\"\"");
    // Keys of several streams must be of one type.
    let key_text = if several { "CAST(NULL AS STRING)" } else { "NULL" };
    let text = format!("SELECT *, {key_text} AS \"{PARTITION_KEY}\" FROM \"{name}\"");
    let internal = || Diagnostic::new(Code::Syntax, format!("the key of '{stream}' cannot be planned"));
    let statements = eventflux_sqlparser::parse(&text).map_err(|_| internal())?;
    let Some(StatementKind::Query(mut query)) = statements.into_iter().next().map(|statement| statement.kind) else {
        return Err(internal());
    };
    if let SetExpr::Select(select) = query.body.body.as_mut()
        && let Some(SelectItem::ExprWithAlias { expr, .. }) = select.projection.last_mut()
    {
        match expr {
            Expr::Cast { expr, .. } => **expr = key.clone(),
            plain => *plain = key.clone(),
        }
    }
    Ok(query)
}

/// The number of the block that a stream is private to.
pub fn block_of(stream: &str) -> Option<usize> {
    let (_, number) = stream.strip_prefix('#')?.rsplit_once('@')?;
    number.parse().ok()
}

/// Columns without the partition's key, which is the last.
pub fn without_key(schema: &Schema) -> Schema {
    let fields = schema.fields().iter().filter(|field| field.name() != PARTITION_KEY);
    Schema::new(fields.cloned().collect::<Vec<_>>())
}

/// A plan without the partition's key, for a table.
pub fn without_partition(plan: LogicalPlan) -> Result<LogicalPlan, DataFusionError> {
    let columns = plan
        .schema()
        .columns()
        .into_iter()
        .filter(|column| column.name != PARTITION_KEY);
    let columns: Vec<_> = columns.map(datafusion_expr::Expr::Column).collect();
    LogicalPlanBuilder::from(plan).project(columns)?.build()
}

/// A target's columns and after them the partition's key.
pub fn with_key(target: &SchemaRef, plan: &LogicalPlan, columns: &mut Vec<Ident>) -> SchemaRef {
    let mut fields: Vec<_> = target.fields().iter().cloned().collect();
    fields.extend(
        plan.schema()
            .fields()
            .iter()
            .filter(|field| field.name() == PARTITION_KEY)
            .cloned(),
    );
    if !columns.is_empty() {
        columns.push(Ident::with_quote('"', PARTITION_KEY));
    }
    Arc::new(Schema::new(fields))
}
