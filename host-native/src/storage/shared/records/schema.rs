//! The tables and functions in the database: made when it is empty, and looked at otherwise.

use tokio_postgres::error::SqlState;

use super::connection::Connection;
use super::state::told;

/// The format of the tables and functions, which `orlop migrate` makes.
const FORMAT: i32 = 2;

/// The oldest format that this version serves: that of the version before, so that servers of both run side by side
/// until all are of this one, and `orlop migrate` is run.
const SERVED: i32 = 1;

/// The first format that has a place for the id of the object store.
pub(super) const WITH_STORE: i32 = 2;

/// A change of the tables from a format to the next. The functions of the newest format come after the last one.
struct Migration {
    from: i32,
    statements: &'static str,
}

/// All changes that this version can make, in order. The next format is a row here, with [`FORMAT`] one higher; functions
/// that the version before calls stay until the format after that. For some time, databases of format 1 had what makes
/// format 2.
const MIGRATIONS: [Migration; 1] =
    [Migration { from: 1, statements: "ALTER TABLE orlop.meta ADD COLUMN IF NOT EXISTS store text;" }];

const TABLES: &str = include_str!("tables.sql");
const FUNCTIONS: &str = include_str!("functions.sql");

/// Held while the schema is made, so that of several processes that start at once one makes it.
const MAKING: &str = "SELECT pg_advisory_xact_lock(7309471087405494896)";

/// Sees to it that the database has a format that this version serves. Returns which one.
///
/// # Errors
///
/// When it has another format, or belongs to something else.
pub(super) async fn agree(connection: &Connection) -> Result<i32, String> {
    match format(connection).await? {
        Some(served @ SERVED..=FORMAT) => Ok(served),
        Some(found) if found > FORMAT => Err(format!(
            "the database has format {found}, this version of Orlop knows format {FORMAT}: run the version that made it"
        )),
        Some(found) => Err(format!(
            "the database has format {found}, and this version of Orlop serves format {SERVED} and newer: run `orlop \
             migrate`"
        )),
        None => {
            make(connection).await?;
            match format(connection).await? {
                Some(FORMAT) => Ok(FORMAT),
                _ => Err("the database has no tables of Orlop after they were made".into()),
            }
        }
    }
}

/// Changes the tables and functions to the format of this version, if they are older. Returns what was done.
///
/// # Errors
///
/// When they have a format that this version does not know.
pub(super) async fn migrate(connection: &Connection) -> Result<String, String> {
    let failed = |error: tokio_postgres::Error| told(&error);
    // Whoever waits for a table (pg_dump reads it, say) holds up all who start meanwhile.
    let begin = format!("BEGIN; SET LOCAL lock_timeout = '10s'; {MAKING}");
    connection.client.batch_execute(&begin).await.map_err(failed)?;
    let migrated = async {
        let found = format(connection).await?.ok_or(
            "the database has no tables of Orlop: `orlop serve` makes them when it starts, in the newest format",
        )?;
        let steps = steps(found, FORMAT, &MIGRATIONS)?;
        for Migration { from, statements } in &steps {
            let next = from + 1;
            let change = format!("{statements} UPDATE orlop.meta SET format = {next};");
            connection.client.batch_execute(&change).await.map_err(failed)?;
        }
        if !steps.is_empty() {
            connection.client.batch_execute(FUNCTIONS).await.map_err(failed)?;
        }
        Ok(match steps.len() {
            0 => {
                format!("the database has format {FORMAT}, the newest that this version of Orlop knows: nothing to do")
            }
            _ => format!("the database had format {found} and has format {FORMAT} now"),
        })
    }
    .await;
    let end = if migrated.is_ok() { "COMMIT" } else { "ROLLBACK" };
    connection.client.batch_execute(end).await.map_err(failed)?;
    migrated
}

/// The changes that lead from one format to another.
fn steps(found: i32, wanted: i32, all: &[Migration]) -> Result<Vec<&Migration>, String> {
    if found > wanted {
        return Err(format!(
            "the database has format {found}, this version of Orlop knows format {wanted}: run the version that made it"
        ));
    }
    let step = |from| all.iter().find(|migration| migration.from == from);
    (found..wanted).map(step).collect::<Option<_>>().ok_or_else(|| {
        format!("this version of Orlop cannot change format {found} into {wanted}: run an older one first")
    })
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
    let statements = format!("BEGIN; {MAKING}; {TABLES} {FUNCTIONS} COMMIT;");
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_format_is_changed_step_by_step() {
        let all = [1, 2, 3].map(|from| Migration { from, statements: "" });
        let from = |found| steps(found, 4, &all).map(|steps| steps.iter().map(|step| step.from).collect::<Vec<_>>());
        assert_eq!(from(1), Ok(vec![1, 2, 3]));
        assert_eq!(from(3), Ok(vec![3]));
        assert_eq!(from(4), Ok(vec![]));
        assert!(from(0).unwrap_err().contains("run an older one first"));
        assert!(from(5).unwrap_err().contains("run the version that made it"));
    }

    #[test]
    fn each_format_that_was_ever_served_can_be_changed_into_the_newest() {
        assert_eq!(steps(1, FORMAT, &MIGRATIONS).unwrap().len() + 1, usize::try_from(FORMAT).unwrap());
        assert!((FORMAT - 1..=FORMAT).contains(&SERVED));
    }
}
