//! How a condition between events and a table's rows is looked up: what of it a key or an index serves, and what is left.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion_common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion_common::{Column, DFSchema, DFSchemaRef, NullEquality, TableReference};
use datafusion_expr::utils::conjunction;
use datafusion_expr::{
    BinaryExpr, Cast, Expr, ExprSchemable, Join, LogicalPlan, Operator, TryCast, binary_expr, try_cast,
};

use super::context::Source;
use super::physical::{internal, physical_expr, reads_event_time};
use crate::error::{Code, Diagnostic};
use crate::operators::lookup::LookupPlan;
use crate::tables::slot::TableSlot;
use crate::tables::{Access, Bound, RangeAccess};

/// What the table's columns are qualified with in expressions over an event and a row.
pub const TABLE: &str = "__table";

/// A condition between events and a table, and what is made of the rows.
pub struct Lookups<'a> {
    /// The table.
    pub table: &'a Arc<TableSlot>,
    /// The events' columns, with their qualifiers.
    pub events: DFSchemaRef,
    /// What must hold, over the events' columns and the table's, which are qualified with [`TABLE`].
    pub conjuncts: Vec<Expr>,
    /// The table's columns that are needed beyond the condition.
    pub columns: Vec<usize>,
}

impl Lookups<'_> {
    /// The plan. The columns read are those needed, and those of the condition that is left, ascending.
    pub fn plan(&self) -> Result<LookupPlan, Diagnostic> {
        let parts = self.parts()?;
        let mut columns = self.columns.clone();
        for expr in &parts.residual {
            columns.extend(self.columns_of(expr));
        }
        columns.sort_unstable();
        columns.dedup();
        let joined = self.joined(&columns)?;
        let events = &self.events;
        let over_events = |expr: &Expr| physical_expr(expr, events);
        let residual = conjunction(parts.residual.iter().cloned());
        Ok(LookupPlan {
            table: self.table.clone(),
            access: Access {
                equal: parts.equal.iter().map(|(column, _)| *column).collect(),
                range: parts.range.as_ref().map(|range| RangeAccess {
                    column: range.column,
                    low: range.low.as_ref().map(|(_, bound)| *bound),
                    high: range.high.as_ref().map(|(_, bound)| *bound),
                }),
            },
            equal: parts
                .equal
                .iter()
                .map(|(_, expr)| over_events(expr))
                .collect::<Result<_, _>>()?,
            low: bound_of(&parts, |range| range.low.as_ref())
                .map(over_events)
                .transpose()?,
            high: bound_of(&parts, |range| range.high.as_ref())
                .map(over_events)
                .transpose()?,
            residual: residual.map(|residual| physical_expr(&residual, &joined)).transpose()?,
            columns,
            events: Arc::new(events.as_arrow().clone()),
        })
    }

    /// The values by which the columns in [`Access::equal`] are looked up.
    pub fn equal(&self) -> Result<Vec<(usize, Expr)>, Diagnostic> {
        Ok(self.parts()?.equal)
    }

    /// The columns of a pair: the event's and those of the table.
    pub fn joined(&self, columns: &[usize]) -> Result<DFSchema, Diagnostic> {
        let schema = &self.table.def().schema;
        let rows = columns.iter().map(|&column| {
            let field = Arc::new(schema.field(column).clone().with_nullable(true));
            (Some(TableReference::bare(TABLE)), field)
        });
        let events = self
            .events
            .iter()
            .map(|(qualifier, field)| (qualifier.cloned(), field.clone()));
        DFSchema::new_with_metadata(events.chain(rows).collect(), Default::default()).map_err(internal)
    }

    fn parts(&self) -> Result<Parts, Diagnostic> {
        let mut parts = Parts::default();
        for conjunct in &self.conjuncts {
            if reads_event_time(conjunct) {
                let error = Diagnostic::new(
                    Code::Unsupported,
                    "not supported yet: eventTimestamp() in a condition on a table",
                );
                return Err(error.hint("compute it before: FROM (SELECT *, eventTimestamp() AS t FROM S) AS q JOIN …"));
            }
            if !self.take(conjunct, &mut parts)? {
                parts.residual.push(conjunct.clone());
            }
        }
        Ok(parts)
    }

    /// Whether a part of the condition is served by the access whole.
    fn take(&self, conjunct: &Expr, parts: &mut Parts) -> Result<bool, Diagnostic> {
        let Expr::BinaryExpr(BinaryExpr { left, op, right }) = conjunct else {
            return Ok(false);
        };
        let (own, other, op) = match (self.is_of_table(left), self.is_of_table(right)) {
            (true, false) if !self.reads_table(right) => (left, right, *op),
            (false, true) if !self.reads_table(left) => match op.swap() {
                Some(op) => (right, left, op),
                None => return Ok(false),
            },
            _ => return Ok(false),
        };
        let Some((column, exact)) = self.column(own) else {
            return Ok(false);
        };
        let column_type = self.table.def().schema.field(column).data_type().clone();
        let other_type = other.get_type(&self.events).map_err(internal)?;
        let same = exact && other_type == column_type;
        match op {
            Operator::Eq if parts.equal.iter().all(|(taken, _)| *taken != column) => {
                let value = match same {
                    true => other.as_ref().clone(),
                    // What does not fit into the column's type equals none of its values; what is rounded is compared afterwards.
                    false => try_cast(other.as_ref().clone(), column_type),
                };
                parts.equal.push((column, value));
                Ok(same)
            }
            Operator::Gt | Operator::GtEq | Operator::Lt | Operator::LtEq if same && is_ordered(&column_type) => {
                Ok(parts.bound(column, op, other))
            }
            _ => Ok(false),
        }
    }

    /// The column that an expression is, also under a conversion; and whether it is the column itself.
    fn column(&self, expr: &Expr) -> Option<(usize, bool)> {
        match expr {
            Expr::Column(column) => Some((self.table.def().schema.index_of(&column.name).ok()?, true)),
            Expr::Cast(Cast { expr, .. }) | Expr::TryCast(TryCast { expr, .. }) => {
                self.column(expr).map(|(column, _)| (column, false))
            }
            _ => None,
        }
    }

    /// Whether it reads columns of the table, and of nothing else.
    fn is_of_table(&self, expr: &Expr) -> bool {
        let columns = expr.column_refs();
        !columns.is_empty() && columns.into_iter().all(is_table_column)
    }

    fn reads_table(&self, expr: &Expr) -> bool {
        expr.column_refs().into_iter().any(is_table_column)
    }

    fn columns_of(&self, expr: &Expr) -> Vec<usize> {
        let columns = expr.column_refs().into_iter().filter(|column| is_table_column(column));
        columns
            .filter_map(|column| self.table.def().schema.index_of(&column.name).ok())
            .collect()
    }
}

fn bound_of<'p>(parts: &'p Parts, side: impl Fn(&'p Range) -> Option<&'p (Expr, Bound)>) -> Option<&'p Expr> {
    parts.range.as_ref().and_then(side).map(|(expr, _)| expr)
}

/// Whether a column is one of the table's.
pub fn is_table_column(column: &Column) -> bool {
    column
        .relation
        .as_ref()
        .is_some_and(|relation| relation.table() == TABLE)
}

fn is_ordered(data_type: &DataType) -> bool {
    data_type.is_numeric()
        || data_type.is_temporal()
        || matches!(data_type, DataType::Utf8View | DataType::Utf8 | DataType::BinaryView)
}

#[derive(Default)]
struct Parts {
    equal: Vec<(usize, Expr)>,
    range: Option<Range>,
    residual: Vec<Expr>,
}

struct Range {
    column: usize,
    low: Option<(Expr, Bound)>,
    high: Option<(Expr, Bound)>,
}

impl Parts {
    /// Whether a comparison becomes a bound of the range, of which there is one.
    fn bound(&mut self, column: usize, op: Operator, value: &Expr) -> bool {
        let range = self.range.get_or_insert(Range {
            column,
            low: None,
            high: None,
        });
        if range.column != column {
            return false;
        }
        let (slot, bound) = match op {
            Operator::Gt => (&mut range.low, Bound::Exclusive),
            Operator::GtEq => (&mut range.low, Bound::Inclusive),
            Operator::Lt => (&mut range.high, Bound::Exclusive),
            _ => (&mut range.high, Bound::Inclusive),
        };
        let free = slot.is_none();
        if free {
            *slot = Some((value.clone(), bound));
        }
        free
    }
}

/// A relation that is a table, perhaps filtered, renamed and with fewer columns.
pub struct TableSide {
    /// The table.
    pub table: Arc<TableSlot>,
    /// What each column of the relation is: a column of the table, qualified with [`TABLE`].
    pub columns: Vec<Expr>,
    /// What must hold of a row.
    pub filters: Vec<Expr>,
}

impl TableSide {
    /// Of a plan; `None` if it is more than that.
    pub fn of(plan: &LogicalPlan) -> Result<Option<Self>, Diagnostic> {
        match plan {
            LogicalPlan::TableScan(scan) => {
                let source = Source::of(scan);
                let Some(table) = source.and_then(|source| source.table.clone()) else {
                    return Ok(None);
                };
                let fields = scan.projected_schema.fields().iter();
                let column = |field: &Arc<Field>| Expr::Column(Column::new(Some(TABLE), field.name()));
                Ok(Some(TableSide {
                    columns: fields.map(column).collect(),
                    filters: Vec::new(),
                    table,
                }))
            }
            LogicalPlan::SubqueryAlias(alias) => TableSide::of(&alias.input),
            LogicalPlan::Filter(filter) => {
                let Some(mut side) = TableSide::of(&filter.input)? else {
                    return Ok(None);
                };
                let condition = side.over_table(&filter.predicate, filter.input.schema())?;
                let parts = datafusion_expr::utils::split_conjunction_owned(condition);
                side.filters.extend(parts);
                Ok(Some(side))
            }
            LogicalPlan::Projection(projection) => {
                let Some(mut side) = TableSide::of(&projection.input)? else {
                    return Ok(None);
                };
                let exprs = projection
                    .expr
                    .iter()
                    .map(|expr| side.over_table(expr, projection.input.schema()));
                let exprs = exprs
                    .map(|expr| expr.map(Expr::unalias))
                    .collect::<Result<Vec<_>, _>>()?;
                if !exprs.iter().all(|expr| matches!(expr, Expr::Column(_))) {
                    return Ok(None);
                }
                side.columns = exprs;
                Ok(Some(side))
            }
            _ => Ok(None),
        }
    }

    /// An expression over the relation's columns as one over the table's.
    pub fn over_table(&self, expr: &Expr, schema: &DFSchema) -> Result<Expr, Diagnostic> {
        let replaced = expr.clone().transform_up(|node| match &node {
            Expr::Column(column) => match schema.maybe_index_of_column(column) {
                Some(index) => Ok(Transformed::yes(self.columns[index].clone())),
                None => Ok(Transformed::no(node)),
            },
            _ => Ok(Transformed::no(node)),
        });
        Ok(replaced.map_err(internal)?.data)
    }

    /// The table's columns that make up the relation.
    pub fn indices(&self) -> Vec<usize> {
        let schema = &self.table.def().schema;
        let index = |expr: &Expr| match expr {
            Expr::Column(column) => schema.index_of(&column.name).ok(),
            _ => None,
        };
        self.columns.iter().filter_map(index).collect()
    }
}

/// What a join asks of a pair, as a list: its keys and its condition. The columns of `table` become the table's own.
pub fn conjuncts(join: &Join, table: &TableSide, table_is_right: bool) -> Result<Vec<Expr>, Diagnostic> {
    let schema = match table_is_right {
        true => join.right.schema(),
        false => join.left.schema(),
    };
    let equals = match join.null_equality {
        NullEquality::NullEqualsNothing => Operator::Eq,
        NullEquality::NullEqualsNull => Operator::IsNotDistinctFrom,
    };
    let mut all = table.filters.clone();
    for (left, right) in &join.on {
        let (left, right) = match table_is_right {
            true => (left.clone(), table.over_table(right, schema)?),
            false => (table.over_table(left, schema)?, right.clone()),
        };
        all.push(binary_expr(left, equals, right));
    }
    if let Some(filter) = &join.filter {
        let filter = table.over_table(filter, schema)?;
        all.extend(datafusion_expr::utils::split_conjunction_owned(filter));
    }
    Ok(all)
}

/// Whether a plan reads tables only.
pub fn is_static(plan: &LogicalPlan) -> bool {
    let mut tables_only = true;
    let _ = plan.apply_with_subqueries(|node| {
        let own = match node {
            LogicalPlan::TableScan(scan) => {
                let source = Source::of(scan);
                source.is_some_and(|source| source.table.is_some())
            }
            _ => true,
        };
        tables_only &= own;
        Ok(match own {
            true => TreeNodeRecursion::Continue,
            false => TreeNodeRecursion::Stop,
        })
    });
    tables_only
}
