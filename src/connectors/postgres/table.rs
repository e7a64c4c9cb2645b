//! What the table is, before anything is read: its columns, what names its rows, whether the server lets its changes be followed.

use arrow::datatypes::Schema;
use tokio_postgres::Client;

use crate::connectors::pgwire::cells::quoted;
use crate::connectors::pgwire::client::{Server, Trouble};
use crate::connectors::pgwire::describe;
use crate::error::{Code, Diagnostic, Error};

/// A table that can be followed.
#[derive(Debug)]
pub(super) struct Table {
    /// Its number in the catalog.
    pub oid: u32,
    /// By declared column: its name in the table.
    pub names: Vec<String>,
}

/// A text as SQL takes it.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The table, if it fits the stream. *Errors.* Why it does not, as a diagnostic.
pub(super) async fn inspect(
    client: &Client,
    server: &Server,
    relation: &str,
    (declared, key): (&Schema, &[usize]),
) -> Result<Table, Trouble> {
    let found = describe::columns(client, server, relation).await?;
    let places = describe::fit(declared, &found, &format!("'{relation}'")).map_err(Error::from)?;
    let names: Vec<String> = places.iter().map(|place| found[*place].name.clone()).collect();
    let text = format!(
        "SELECT c.oid, c.relkind::text, c.relreplident::text, current_setting('wal_level'),
                ARRAY(SELECT a.attname::text FROM pg_index i JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY(i.indkey)
                      WHERE i.indrelid = c.oid
                        AND CASE c.relreplident WHEN 'i' THEN i.indisreplident ELSE i.indisprimary END)
         FROM pg_class c WHERE c.oid = {}::regclass",
        literal(relation)
    );
    let row = server.answered(client.query_one(&text, &[])).await?;
    let (oid, kind, identity): (u32, String, String) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    let (level, naming): (String, Vec<String>) = (row.try_get(3)?, row.try_get(4)?);
    let refuse = |message: String, hint: &str| {
        let error = Diagnostic::new(Code::OptionValue, message).hint(hint);
        Err(Trouble::Fatal(Error::from(error)))
    };
    if !["r", "p"].contains(&kind.as_str()) {
        return refuse(
            format!("'{relation}' is not a table, and only tables can be followed"),
            "follow the tables that it is made of",
        );
    }
    if level != "logical" {
        return refuse(
            format!("the server's wal_level is '{level}', and changes can be followed only with 'logical'"),
            "set wal_level = logical in postgresql.conf and restart the server",
        );
    }
    let unnamed = key
        .iter()
        .find(|column| identity != "f" && !naming.contains(&names[**column]));
    if let Some(column) = unnamed {
        return refuse(
            format!(
                "'{}' is of the stream's PRIMARY KEY, but a deleted row of '{relation}' does not tell it (REPLICA IDENTITY)",
                names[*column]
            ),
            "ALTER TABLE … REPLICA IDENTITY FULL, or declare the primary key that the table has",
        );
    }
    Ok(Table { oid, names })
}

/// The values of some columns of the row with a key, as they are now; `None` when it is gone.
pub(super) async fn current(
    client: &Client,
    server: &Server,
    relation: &str,
    columns: &[String],
    key: &[(String, String)],
) -> Result<Option<Vec<Option<String>>>, Trouble> {
    let list: Vec<String> = columns.iter().map(|name| format!("{}::text", quoted(name))).collect();
    let conditions: Vec<String> = key
        .iter()
        .map(|(name, value)| format!("{} = {}", quoted(name), literal(value)))
        .collect();
    let text = format!(
        "SELECT {} FROM {relation} WHERE {}",
        list.join(", "),
        conditions.join(" AND ")
    );
    let row = server.answered(client.query_opt(&text, &[])).await?;
    let Some(row) = row else {
        return Ok(None);
    };
    let values: Result<_, tokio_postgres::Error> = (0..columns.len()).map(|at| row.try_get(at)).collect();
    Ok(Some(values?))
}
