//! Whether the database and the object store belong together: both have the same id. With those of two registries, garbage
//! collection would remove the objects of one because the records of the other do not name them.

use object_store::path::Path;
use object_store::{Error, ObjectStoreExt, PutMode};
use orlop_core::Fault;
use uuid::Uuid;

use super::fault::fault;
use super::store::Store;
use crate::storage::shared::records::Records;

/// What stands behind the id in the database until the store has it too.
const NEW: &str = " new";

/// Sees whether a store belongs to the records, and marks it if both are new. A database of the format before has no
/// place for the id.
///
/// # Errors
///
/// When it belongs to others, or one of the two cannot be used.
pub(super) async fn check(store: &dyn Store, prefix: &Path, records: &Records) -> Result<(), String> {
    if !records.keeps_store_id() {
        tracing::warn!(
            "whether the object store is that of the database is not looked at, as the database is of the version before: run \
             `orlop migrate` when all servers are of this version"
        );
        return Ok(());
    }
    let path = prefix.clone().join("registry");
    let failed = |fault: Fault| format!("the database cannot be used: {fault}");
    // The database is read before the store, which has the id before the one in the database is complete.
    let first = records.store_id().await.map_err(failed)?;
    let mut marked = marked(store, &path).await?;
    // Both may have been made meanwhile, by another process that starts.
    let known = match first {
        None if marked.is_some() => records.store_id().await.map_err(failed)?,
        first => first,
    };
    let known = match known {
        Some(known) => known,
        None if marked.is_some() => {
            return Err(format!(
                "the object store belongs to a registry whose records are in another database ({path} has its id, which the \
                 database does not have): name that database, or a prefix of its own for this registry"
            ));
        }
        None => {
            records.replace_store_id(None, &format!("{}{NEW}", Uuid::new_v4())).await.map_err(failed)?;
            // Of several that start at once, the first one counts, and may have marked the store meanwhile.
            let known = records.store_id().await.map_err(failed)?;
            marked = self::marked(store, &path).await?;
            known.ok_or("the database does not keep what is written to it")?
        }
    };
    let id = known.strip_suffix(NEW).unwrap_or(&known);
    if id != known {
        if marked.is_none() {
            match store.put_opts(&path, id.to_owned().into(), PutMode::Create.into()).await {
                Ok(_) | Err(Error::AlreadyExists { .. }) => {}
                Err(error) => return Err(fault("write", &path, &error).to_string()),
            }
            marked = self::marked(store, &path).await?;
        }
        if marked.as_deref() == Some(id) {
            records.replace_store_id(Some(&known), id).await.map_err(failed)?;
        }
    }
    match marked {
        Some(marked) if marked == id => Ok(()),
        Some(marked) => Err(format!(
            "the object store belongs to another registry than the database ({path} has the id {marked}, the database \
             {id}): name the two that belong together"
        )),
        None => Err(format!(
            "the object store is not that of the database: it has no {path} with the id {id}; name the bucket and prefix of \
             this registry, or restore its objects"
        )),
    }
}

async fn marked(store: &dyn Store, path: &Path) -> Result<Option<String>, String> {
    let failed = |error: &Error| fault("read", path, error).to_string();
    match store.get(path).await {
        Ok(found) => {
            let bytes = found.bytes().await.map_err(|error| failed(&error))?;
            Ok(Some(String::from_utf8_lossy(&bytes).trim().to_owned()))
        }
        Err(Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(failed(&error)),
    }
}
