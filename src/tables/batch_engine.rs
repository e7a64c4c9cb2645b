//! The batch engine: runs a logical plan over tables to its end.
//!
//! Its work is done on threads of its own, which the whole process shares, so that it may be called from anywhere: a task's
//! thread, a user's, one that belongs to an async runtime.

use std::sync::{Arc, OnceLock};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{ExecutionPlanProperties, collect};
use datafusion::prelude::SessionConfig;
use tokio::runtime::Runtime;

use crate::error::{Error, Result};

/// Threads that run queries.
const THREADS: usize = 2;

/// Rows in a batch of results.
const BATCH_ROWS: usize = 8_192;

/// Runs logical plans whose scans read [`super::provider::SlotProvider`]s or rows in memory.
#[derive(Clone)]
pub struct BatchEngine {
    state: Arc<SessionState>,
}

impl Default for BatchEngine {
    fn default() -> Self {
        // One partition: queries over tables are small, and many may run at once.
        let config = SessionConfig::new()
            .with_target_partitions(1)
            .with_batch_size(BATCH_ROWS);
        let state = SessionStateBuilder::new()
            .with_config(config)
            .with_default_features()
            .build();
        BatchEngine { state: Arc::new(state) }
    }
}

impl BatchEngine {
    /// All rows of a plan, and their schema. *Errors.* A value that an expression fails on; a table that cannot be reached.
    pub fn run(&self, plan: LogicalPlan) -> Result<(SchemaRef, Vec<RecordBatch>)> {
        let state = self.state.clone();
        let (answer, result) = std::sync::mpsc::sync_channel(1);
        runtime()?.spawn(async move {
            let run = async {
                let physical = state.create_physical_plan(&plan).await?;
                let schema = physical.schema();
                debug_assert_eq!(physical.output_partitioning().partition_count(), 1);
                let batches = collect(physical, state.task_ctx()).await?;
                Ok::<_, datafusion::error::DataFusionError>((schema, batches))
            };
            // Whoever asked may have gone.
            let _ = answer.send(run.await);
        });
        let answer = result.recv().map_err(|_| Error::failed("the query was given up"))?;
        Ok(answer?)
    }
}

/// The threads, started with the first query.
fn runtime() -> Result<&'static Runtime> {
    static RUNTIME: OnceLock<Option<Runtime>> = OnceLock::new();
    let start = || {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder
            .worker_threads(THREADS)
            .thread_name("eventflux-query")
            .build()
            .ok()
    };
    RUNTIME
        .get_or_init(start)
        .as_ref()
        .ok_or_else(|| Error::failed("the threads for queries cannot be started"))
}
