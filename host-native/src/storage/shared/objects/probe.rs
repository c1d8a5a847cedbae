//! Whether an object store does what a registry needs of it: tried at the start, with an object of a name of its own.

use bytes::Bytes;
use object_store::path::Path;
use object_store::{Error, ObjectStoreExt, PutMode, PutPayload};
use uuid::Uuid;

use super::fault::fault;
use super::store::{self, Store};

const BYTES: &[u8] = b"orlop tries whether this can be written, read and removed";

/// Tries a store.
///
/// # Errors
///
/// With what is missing, and what to do about it.
pub(super) async fn probe(store: &dyn Store, prefix: &Path) -> Result<(), String> {
    let directory = prefix.clone().join("probe").join(Uuid::new_v4().to_string());
    let (first, second) = (directory.clone().join("a"), directory.clone().join("b"));
    let failed = |what: &'static str, path: &Path| {
        let path = path.clone();
        move |error: Error| {
            format!("{}: see whether the bucket exists and the credentials may do this", fault(what, &path, &error))
        }
    };
    // The later name first, so that a store that lists by age is found out.
    for path in [&second, &first] {
        match store.put_opts(path, PutPayload::from_static(BYTES), PutMode::Create.into()).await {
            Ok(made) if made.version.as_ref().is_some_and(|version| version != "null") => tracing::warn!(
                "the bucket keeps versions: what garbage collection removes stays there and is billed, unless a lifecycle \
                 rule ends old versions"
            ),
            // No other probe has this name, so it was this one, in a request whose answer was lost.
            Ok(_) | Err(Error::AlreadyExists { .. }) => {}
            Err(error) => return Err(failed("create", path)(error)),
        }
    }
    let tried = try_it(store, &directory, &first, &second, failed).await;
    for path in [&first, &second] {
        let gone = store.delete(path).await;
        if tried.is_ok() {
            gone.map_err(failed("remove", path))?;
        }
    }
    tried
}

async fn try_it<F: Fn(Error) -> String>(
    store: &dyn Store,
    directory: &Path,
    first: &Path,
    second: &Path,
    failed: impl Fn(&'static str, &Path) -> F,
) -> Result<(), String> {
    match store.put_opts(first, PutPayload::from_static(BYTES), PutMode::Create.into()).await {
        Err(Error::AlreadyExists { .. }) => {}
        Ok(_) => {
            return Err(
                "the store writes over an object although it was asked to create one (If-None-Match: *): use a \
                        store that enforces conditional writes"
                    .into(),
            );
        }
        Err(error) => return Err(failed("create once more", first)(error)),
    }
    let read = store.get(first).await.map_err(failed("read", first))?;
    if read.bytes().await.map_err(failed("read", first))? != Bytes::from_static(BYTES) {
        return Err(format!("the store gives back other bytes than were written to {first}"));
    }
    let names = async |after: Option<&Path>| {
        let listed = store::list(store, directory, after, usize::MAX, |found| Some(found.location)).await;
        listed.map_err(failed("list", directory))
    };
    let listed = names(None).await?;
    if listed != [first.clone(), second.clone()] {
        return Err(format!("the store does not list all that was just written, in the order of names: {listed:?}"));
    }
    let after = names(Some(first)).await?;
    if after != [second.clone()] {
        return Err(format!("the store does not list what comes after a name: {after:?}"));
    }
    Ok(())
}
