//! [`Marks`]: what tells a commit that took effect from one that did not.
//!
//! When the connection is lost while COMMIT is under way, the client cannot know whether it took effect. So each transaction
//! leaves its number in a small table, in the row of its writer; the number is there if, and only if, the transaction was
//! committed. (The server's own transaction numbers will not do: one that was not yet on the disk in a crash is given again.)

use deadpool_postgres::Object;
use tokio_postgres::error::SqlState;

use super::layout::quoted;
use super::link::Trouble;

/// The table that holds the numbers; one for each schema.
const TABLE: &str = "eventflux_commits";

/// How long the row of a writer that is gone is kept.
const KEPT: &str = "interval '30 days'";

/// The numbers of one writer.
#[derive(Debug)]
pub(super) struct Marks {
    table: String,
    /// Names the writer: no two are called alike.
    pub writer: String,
}

impl Marks {
    /// Makes the writer's row. `None`: whoever connects may not make tables here, and a commit in doubt is an error.
    pub async fn prepare(connection: &Object, schema: &str) -> Result<Option<Self>, Trouble> {
        let marks = Marks {
            table: format!("{}.{TABLE}", quoted(schema)),
            writer: format!("{:032x}", rand::random::<u128>()),
        };
        let make = format!(
            "CREATE TABLE IF NOT EXISTS {} (writer text PRIMARY KEY, number bigint NOT NULL, at timestamptz NOT NULL DEFAULT now())",
            marks.table
        );
        match connection.batch_execute(&make).await {
            Ok(()) => {}
            Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => return Ok(None),
            Err(error) => match Trouble::from(error) {
                // Somebody else made it at the same moment.
                Trouble::Refused(..) => {}
                trouble => return Err(trouble),
            },
        }
        connection.execute(&marks.leave(), &[&marks.writer, &0_i64]).await?;
        let forget = format!("DELETE FROM {} WHERE at < now() - {KEPT}", marks.table);
        connection.batch_execute(&forget).await?;
        Ok(Some(marks))
    }

    /// Leaves a number: parameters are the writer and the number.
    pub fn leave(&self) -> String {
        format!(
            "INSERT INTO {} AS c (writer, number) VALUES ($1, $2) \
             ON CONFLICT (writer) DO UPDATE SET number = excluded.number, at = now()",
            self.table
        )
    }

    /// Whether the transaction with a number was committed. Waits while it is still under way: it holds its row.
    pub async fn is_left(&self, connection: &Object, number: i64) -> Result<bool, Trouble> {
        let sql = format!("SELECT number FROM {} WHERE writer = $1 FOR UPDATE", self.table);
        let row = connection.query_opt(&sql, &[&self.writer]).await?;
        let left: Option<i64> = row.map(|row| row.try_get(0)).transpose()?;
        Ok(left == Some(number))
    }
}
