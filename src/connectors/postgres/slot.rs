//! The slot, the publication and the snapshot.

use tokio_postgres::Client;

use super::pgoutput::place;
use super::table::literal;
use super::wire::Wire;
use crate::connectors::pgwire::cells::quoted;
use crate::connectors::pgwire::client::{Server, Trouble};
use crate::error::Error;

/// Makes the publication if it is missing, and sees to it that the table is in it.
pub(super) async fn publication(client: &Client, server: &Server, name: &str, relation: &str) -> Result<(), Trouble> {
    let known = format!(
        "SELECT EXISTS (SELECT 1 FROM pg_publication WHERE pubname = {0}),
                EXISTS (SELECT 1 FROM pg_publication_tables t JOIN pg_class c ON c.relname = t.tablename
                        JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = t.schemaname
                        WHERE t.pubname = {0} AND c.oid = {1}::regclass)",
        literal(name),
        literal(relation)
    );
    let row = server.answered(client.query_one(&known, &[])).await?;
    let (is_there, has_table): (bool, bool) = (row.try_get(0)?, row.try_get(1)?);
    if !is_there {
        let make = format!(
            "CREATE PUBLICATION {} FOR TABLE {relation} WITH (publish_via_partition_root = true)",
            quoted(name)
        );
        return server.answered(client.batch_execute(&make)).await;
    }
    match has_table {
        true => Ok(()),
        false => Err(Trouble::Fatal(Error::failed(format!(
            "the publication '{name}' is there, but has no table '{relation}': ALTER PUBLICATION … ADD TABLE, or name another one"
        )))),
    }
}

/// Whether a slot can go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    /// It can, after any place from here on.
    From(u64),
    /// It has just been made: what was before is not in it.
    New,
}

/// Finds the slot, or makes it. One whose log was thrown away is made anew.
pub(super) async fn slot(client: &Client, server: &Server, wire: &mut Wire, name: &str) -> Result<Slot, Trouble> {
    let known = format!(
        "SELECT plugin::text, coalesce(wal_status, ''), coalesce(confirmed_flush_lsn::text, '')
         FROM pg_replication_slots WHERE slot_name = {}",
        literal(name)
    );
    if let Some(row) = server.answered(client.query_opt(&known, &[])).await? {
        let (plugin, status, confirmed): (Option<String>, String, String) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        if plugin.as_deref() != Some("pgoutput") {
            return Err(Trouble::Fatal(Error::failed(format!(
                "the slot '{name}' is there, but not for the plug-in pgoutput: name another one by slot"
            ))));
        }
        if status != "lost" {
            return Ok(Slot::From(place(&confirmed).unwrap_or_default()));
        }
        tracing::warn!(
            slot = name,
            "the server has thrown away the log that the slot needs: it is made anew"
        );
        let drop = format!("SELECT pg_drop_replication_slot({})", literal(name));
        server.answered(client.batch_execute(&drop)).await?;
    }
    wire.command(&format!(
        "CREATE_REPLICATION_SLOT {} LOGICAL pgoutput NOEXPORT_SNAPSHOT",
        quoted(name)
    ))
    .await?;
    Ok(Slot::New)
}

/// Opens a transaction that sees the database at one place of the log; which, and what keeps it.
///
/// A slot that lives as long as its connection tells both. The one that is followed may be older: what it gives up to that place is in
/// the snapshot.
pub(super) async fn snapshot(client: &Client, server: &Server) -> Result<(u64, Wire), Trouble> {
    let mut keeper = Wire::connect(server).await?;
    let name = format!("eventflux_snapshot_{:016x}", rand::random::<u64>());
    let make = format!("CREATE_REPLICATION_SLOT {name} TEMPORARY LOGICAL pgoutput EXPORT_SNAPSHOT");
    let rows = keeper.command(&make).await?;
    let cell = |at: usize| rows.first().and_then(|row| row.get(at)?.clone());
    let odd = || Trouble::Fatal(Error::failed("the server made no snapshot"));
    let at = cell(1).as_deref().and_then(place).ok_or_else(odd)?;
    let snapshot = cell(2).ok_or_else(odd)?;
    let begin = format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT {}",
        literal(&snapshot)
    );
    server.answered(client.batch_execute(&begin)).await?;
    Ok((at, keeper))
}
