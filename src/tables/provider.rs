//! Tables as the batch engine reads them: a scan, or a lookup where a filter names values of a key or an index.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::scalar::ScalarValue;

use super::slot::TableSlot;
use super::{Access, Probe};

/// A table.
pub struct SlotProvider(pub Arc<TableSlot>);

impl fmt::Debug for SlotProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[async_trait]
impl TableProvider for SlotProvider {
    fn schema(&self) -> SchemaRef {
        self.0.def().schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn get_logical_plan(&'_ self) -> Option<Cow<'_, LogicalPlan>> {
        None
    }

    /// `column = value`s narrow what is read; the engine looks at the rows again.
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let pushed = |filter: &&Expr| match self.equality(filter) {
            Some(_) => TableProviderFilterPushDown::Inexact,
            None => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(pushed).collect())
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let all: Vec<usize> = (0..self.0.def().schema.fields().len()).collect();
        let columns = projection.unwrap_or(&all);
        let schema = Arc::new(self.0.def().schema.project(columns)?);
        let batches = self.read(columns, filters).map_err(external)?;
        let exec = MemorySourceConfig::try_new_exec(&[batches], schema, None)?;
        Ok(exec)
    }
}

impl SlotProvider {
    fn read(&self, columns: &[usize], filters: &[Expr]) -> crate::error::Result<Vec<RecordBatch>> {
        let table = self.0.table()?;
        let given: Vec<(usize, ScalarValue)> = filters.iter().filter_map(|filter| self.equality(filter)).collect();
        let def = self.0.def();
        let served = |index: &&Vec<usize>| {
            !index.is_empty()
                && index
                    .iter()
                    .all(|column| given.iter().any(|(given, _)| given == column))
        };
        let mut indexes = std::iter::once(&def.primary_key).chain(&def.indexes);
        let Some(index) = indexes.find(served) else {
            return table.scan(columns);
        };
        let value = |column: &usize| given.iter().find(|(given, _)| given == column).map(|(_, value)| value);
        let values = index.iter().filter_map(value).map(|value| value.to_array_of_size(1));
        let access = Access {
            equal: index.clone(),
            range: None,
        };
        let probe = Probe {
            rows: 1,
            equal: values.collect::<std::result::Result<_, _>>()?,
            low: None,
            high: None,
        };
        Ok(vec![table.lookup(&access, &probe, columns)?.rows])
    }

    /// The column and the value that a filter compares, if the value has the column's type.
    fn equality(&self, filter: &Expr) -> Option<(usize, ScalarValue)> {
        let Expr::BinaryExpr(BinaryExpr {
            left,
            op: Operator::Eq,
            right,
        }) = filter
        else {
            return None;
        };
        let (column, value) = match (left.as_ref(), right.as_ref()) {
            (Expr::Column(column), Expr::Literal(value, _)) | (Expr::Literal(value, _), Expr::Column(column)) => {
                (column, value)
            }
            _ => return None,
        };
        let schema = &self.0.def().schema;
        let index = schema.index_of(&column.name).ok()?;
        (value.data_type() == *schema.field(index).data_type()).then(|| (index, value.clone()))
    }
}

fn external(error: crate::error::Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
