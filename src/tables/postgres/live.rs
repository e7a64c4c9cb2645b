//! [`Live`]: a transaction at the server, and statements in it.
//!
//! Statements are sent without waiting for the answers of those before them, where these are only `BEGIN` or `SAVEPOINT`.

use deadpool_postgres::Object;
use tokio_postgres::types::ToSql;

use super::link::{Link, Trouble};
use super::marks::Marks;
use super::values::Parameter;

/// Undoes what was done since the last savepoint.
const UNDO: &str = "ROLLBACK TO eventflux; RELEASE eventflux";

/// A transaction. Dropped without being committed or rolled back, its connection is closed, so that nobody gets it.
pub(super) struct Live {
    connection: Option<Object>,
    /// What is to be executed before the next statement.
    before: String,
    /// Whether there is a savepoint.
    has_savepoint: bool,
}

/// Parameters as the driver takes them.
pub(super) fn borrowed(parameters: &[Parameter]) -> Vec<&(dyn ToSql + Sync)> {
    parameters
        .iter()
        .map(|parameter| parameter.as_ref() as &(dyn ToSql + Sync))
        .collect()
}

impl Live {
    /// A transaction that begins with its first statement.
    pub async fn begin(link: &Link) -> Result<Self, Trouble> {
        Ok(Live {
            connection: Some(link.connection().await?),
            before: "BEGIN".to_string(),
            has_savepoint: false,
        })
    }

    /// Its connection.
    pub fn connection(&self) -> Result<&Object, Trouble> {
        let ended = || Trouble::Lost("the transaction has ended".to_string());
        self.connection.as_ref().ok_or_else(ended)
    }

    /// What is to be executed before the next statement; whoever takes it does it.
    pub fn take_before(&mut self) -> String {
        std::mem::take(&mut self.before)
    }

    /// Executes a statement that writes; the number of rows.
    pub async fn execute(&mut self, sql: &str, parameters: &[Parameter]) -> Result<u64, Trouble> {
        let before = self.take_before();
        let connection = self.connection()?;
        let statement = connection.prepare_cached(sql).await?;
        let parameters = borrowed(parameters);
        let prepare = async {
            match before.is_empty() {
                true => Ok(()),
                false => connection.batch_execute(&before).await,
            }
        };
        let execute = connection.execute(&statement, &parameters);
        let (prepared, done) = tokio::join!(biased; prepare, execute);
        prepared?;
        Ok(done?)
    }

    /// Makes a savepoint before the next statement.
    pub fn begin_attempt(&mut self) {
        let former = if self.has_savepoint { "; RELEASE eventflux" } else { "" };
        let before = std::mem::take(&mut self.before);
        self.before = format!("{before}{former}; SAVEPOINT eventflux");
        self.has_savepoint = true;
    }

    /// Executes a statement that writes, and undoes it if the server refuses it.
    pub async fn attempt(&mut self, sql: &str, parameters: &[Parameter]) -> Result<u64, Trouble> {
        self.begin_attempt();
        let done = self.execute(sql, parameters).await;
        if let Err(Trouble::Refused(..)) = done {
            self.undo().await?;
        }
        done
    }

    /// Undoes the last attempt.
    pub async fn undo(&mut self) -> Result<(), Trouble> {
        self.connection()?.batch_execute(UNDO).await?;
        self.has_savepoint = false;
        Ok(())
    }

    /// Commits, after `mark` has left its number. *Errors.* [`Trouble::Lost`] leaves open whether it took effect.
    pub async fn commit(mut self, mark: Option<(&Marks, i64)>) -> Result<(), Trouble> {
        let connection = self.connection()?;
        match mark {
            None => connection.batch_execute("COMMIT").await?,
            Some((marks, number)) => {
                let statement = connection.prepare_cached(&marks.leave()).await?;
                let values: [&(dyn ToSql + Sync); 2] = [&marks.writer, &number];
                let leave = connection.execute(&statement, &values);
                let (left, committed) = tokio::join!(biased; leave, connection.batch_execute("COMMIT"));
                // What fails makes a rollback of the commit.
                left?;
                committed?;
            }
        }
        // It goes back to the others.
        drop(self.connection.take());
        Ok(())
    }

    /// Rolls back.
    pub async fn roll_back(mut self) {
        let is_fresh = self.before == "BEGIN";
        let rolled_back = match self.connection() {
            Ok(_) if is_fresh => true,
            Ok(connection) => connection.batch_execute("ROLLBACK").await.is_ok(),
            Err(_) => false,
        };
        if rolled_back {
            drop(self.connection.take());
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            drop(Object::take(connection));
        }
    }
}
