//! The tables and functions in the database: made when it is empty, and looked at otherwise.

use tokio_postgres::error::SqlState;

use super::connection::Connection;
use super::state::told;

/// The format of the tables and functions.
const FORMAT: i32 = 1;

const SCHEMA: &str = include_str!("schema.sql");

/// Held while the schema is made, so that of several processes that start at once one makes it.
const MAKING: &str = "SELECT pg_advisory_xact_lock(7309471087405494896)";

/// Sees to it that the database has the format of this version.
///
/// # Errors
///
/// When it has another format, or belongs to something else.
pub(super) async fn agree(connection: &Connection) -> Result<(), String> {
    match format(connection).await? {
        Some(FORMAT) => Ok(()),
        Some(found) if found > FORMAT => Err(format!(
            "the database has format {found}, this version of Orlop knows format {FORMAT}: run the version that made it"
        )),
        Some(found) => Err(format!("the database has format {found}, older than {FORMAT}: run `orlop migrate`")),
        None => {
            make(connection).await?;
            match format(connection).await? {
                Some(FORMAT) => Ok(()),
                _ => Err("the database has no tables of Orlop after they were made".into()),
            }
        }
    }
}

/// The format of the database; nothing if it has no tables of Orlop.
async fn format(connection: &Connection) -> Result<Option<i32>, String> {
    match connection.client.query_typed("SELECT format FROM orlop.meta", &[]).await {
        Ok(rows) => match rows.as_slice() {
            [row] => Ok(Some(row.get(0))),
            _ => Err("the database has a schema `orlop` that does not say its format: it is not Orlop's".into()),
        },
        Err(error)
            if [Some(&SqlState::UNDEFINED_TABLE), Some(&SqlState::INVALID_SCHEMA_NAME)].contains(&error.code()) =>
        {
            Ok(None)
        }
        Err(error) => Err(told(&error)),
    }
}

/// Makes all of it in one transaction.
async fn make(connection: &Connection) -> Result<(), String> {
    // Several statements at once are one transaction, of which the server commits all or nothing.
    let statements = format!("BEGIN; {MAKING}; {SCHEMA} COMMIT;");
    match connection.client.batch_execute(&statements).await {
        Ok(()) => {
            tracing::info!("the tables of the registry were made in the database");
            Ok(())
        }
        Err(error) => {
            let _ = connection.client.batch_execute("ROLLBACK").await;
            let state = error.code().cloned();
            match state {
                // Another process has made it meanwhile: what it made is looked at next.
                Some(state) if state == SqlState::DUPLICATE_SCHEMA && format(connection).await?.is_some() => Ok(()),
                Some(state) if state == SqlState::DUPLICATE_SCHEMA => Err(
                    "the database has a schema `orlop` that is not Orlop's: give the registry a database of its own"
                        .into(),
                ),
                Some(state) if state == SqlState::INSUFFICIENT_PRIVILEGE => Err(format!(
                    "{}; the user of the registry has to own the database, or may be granted CREATE on it",
                    told(&error)
                )),
                _ => Err(told(&error)),
            }
        }
    }
}
