//! Whether an object store does what a registry needs of it: tried at the start, with an object of a name of its own.

use bytes::Bytes;
use object_store::path::Path;
use object_store::{Error, ObjectStoreExt, PutMode, PutPayload};
use uuid::Uuid;

use super::fault::fault;
use super::store::{self, Store};

const BYTES: &[u8] = b"orlop tries whether this can be written, read and removed";

/// What a store that was tried is like. What a registry needs, it does.
#[derive(Clone, Copy, Debug)]
pub(in crate::storage::shared) struct Probed {
    /// It keeps what is removed, as an old version.
    pub(in crate::storage::shared) versions: bool,
}

/// What is tried, for an administrator.
pub(in crate::storage::shared) const TRIED: &str =
    "create, conditional create, read after write, list in order, list after a name, remove";

/// Tries a store.
///
/// # Errors
///
/// With what is missing, and what to do about it.
pub(super) async fn probe(store: &dyn Store, prefix: &Path) -> Result<Probed, String> {
    let mut versions = false;
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
        let made = match store.put_opts(path, PutPayload::from_static(BYTES), PutMode::Create.into()).await {
            Ok(made) => made,
            // No other probe has this name, so it was this one, in a request whose answer was lost.
            Err(Error::AlreadyExists { .. }) => continue,
            Err(error) => return Err(failed("create", path)(error)),
        };
        if !versions && made.version.as_ref().is_some_and(|version| version != "null") {
            versions = true;
            tracing::warn!(
                "the bucket keeps versions: what garbage collection removes stays there and is billed, unless a lifecycle \
                 rule ends old versions"
            );
        }
    }
    let tried = try_it(store, &directory, &first, &second, failed).await;
    for path in [&first, &second] {
        let gone = store.delete(path).await;
        if tried.is_ok() {
            gone.map_err(failed("remove", path))?;
        }
    }
    tried.map(|()| Probed { versions })
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
