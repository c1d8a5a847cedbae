//! Whether the locks of the database exclude each other. What makes commits of several processes safe beside each other is
//! one advisory lock; a database that speaks the protocol of PostgreSQL may take it and lock nothing.

use tokio_postgres::Error;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use super::connection::Connection;
use super::state::told;

const LOCK: &str = "SELECT pg_catalog.pg_advisory_xact_lock($1)";
const TRY: &str = "SELECT pg_catalog.pg_try_advisory_xact_lock($1)";

/// Has two connections try to get the same lock.
///
/// # Errors
///
/// When both get it, or it cannot be tried.
pub(super) async fn check(one: &Connection, other: &Connection) -> Result<(), String> {
    // A lock of its own, so that processes that start at once do not wait for each other.
    let key = i64::from_ne_bytes(Uuid::new_v4().as_u64_pair().1.to_ne_bytes());
    let parameters: [(&(dyn ToSql + Sync), Type); 1] = [(&key, Type::INT8)];
    let tried = async {
        // Within transactions, so that a pooler leaves each with the connection that it has.
        one.client.batch_execute("BEGIN").await?;
        one.client.query_typed(LOCK, &parameters).await?;
        other.client.batch_execute("BEGIN").await?;
        let had = other.client.query_typed_one(TRY, &parameters).await?.get::<_, bool>(0);
        other.client.batch_execute("ROLLBACK").await?;
        one.client.batch_execute("ROLLBACK").await?;
        Ok::<bool, Error>(had)
    };
    match tried.await {
        Ok(false) => Ok(()),
        Ok(true) => Err(format!(
            "two connections to {} had the same advisory lock at once (pg_advisory_xact_lock locks nothing there), so \
             commits would overwrite each other: use a PostgreSQL server",
            one.about.place
        )),
        Err(error) => Err(format!("the locks of the database cannot be tried: {}", told(&error))),
    }
}
