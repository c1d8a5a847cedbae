//! Which object store a URL names, and how it is reached.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::client::HttpConnector;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::list::PaginatedListStore;
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::signer::Signer;
use object_store::{BackoffConfig, ObjectMeta, ObjectStore, RetryConfig};

/// What all stores can do.
pub(in crate::storage::shared) trait Store:
    ObjectStore + MultipartStore + PaginatedListStore + Signer
{
}

impl<S: ObjectStore + MultipartStore + PaginatedListStore + Signer> Store for S {}

/// How often a list is asked for whose answer breaks off.
const LISTING: usize = 4;

/// How long a request is tried again.
const TRYING: Duration = Duration::from_secs(30);

/// How often a request is tried again at most: with the pauses below, all of that time.
const TRIES: usize = 10;

/// How a store is opened, and what messages call it.
#[derive(Clone, Copy, Debug)]
pub(in crate::storage::shared) struct Opening {
    /// What has the URL.
    pub(in crate::storage::shared) what: &'static str,
    /// What has the options.
    pub(in crate::storage::shared) options: &'static str,
    /// How often a request is tried at most, if not for half a minute.
    pub(in crate::storage::shared) tries: Option<usize>,
}

impl Opening {
    /// That of the objects of a registry.
    pub(super) const OBJECTS: Self = Self { what: "objects =", options: "objects-option", tries: None };
}

/// Opens the store that a URL names, and says under which path in it everything is. What the URL does not say is taken
/// from the environment, as the tools of that store do, and from `options`.
///
/// # Errors
///
/// With what is wrong with it.
pub(in crate::storage::shared) fn open(
    url: &str,
    options: &[(String, String)],
    connector: impl HttpConnector,
    opening: Opening,
) -> Result<(Arc<dyn Store>, Path), String> {
    let Opening { what, options: named, tries } = opening;
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if bucket.is_empty() {
        return Err(format!("{what} {url} names no bucket: write {scheme}://BUCKET or {scheme}://BUCKET/PREFIX"));
    }
    let prefix = Path::parse(prefix).map_err(|error| format!("{what} {url}: `{prefix}` is not a path: {error}"))?;
    let backoff =
        BackoffConfig { init_backoff: Duration::from_millis(50), max_backoff: Duration::from_secs(5), base: 2.0 };
    let retry = RetryConfig { backoff, max_retries: tries.unwrap_or(TRIES), retry_timeout: TRYING };
    let wrong = |error: object_store::Error| format!("{what} {url} cannot be used: {error}");
    let unknown = |key: &str| format!("{named}: there is no option `{key}` for {scheme}://");
    /// Each builder has its own options.
    macro_rules! build {
        ($builder:expr) => {{
            let mut builder = $builder.with_retry(retry).with_http_connector(connector);
            for (key, value) in options {
                builder = builder.with_config(key.parse().map_err(|_| unknown(key))?, value);
            }
            Arc::new(builder.build().map_err(wrong)?)
        }};
    }
    let store: Arc<dyn Store> = match scheme {
        "s3" => build!(AmazonS3Builder::from_env().with_bucket_name(bucket)),
        "gs" => build!(GoogleCloudStorageBuilder::from_env().with_bucket_name(bucket)),
        "az" => build!(MicrosoftAzureBuilder::from_env().with_container_name(bucket)),
        _ => return Err(format!("{what} {url} is not an object store: write s3://BUCKET/PREFIX, gs:// or az://")),
    };
    Ok((store, prefix))
}

/// Lists what is under a directory, after a name if one is given: what `of` makes of the names, and so many at most. The
/// library tries again what is not answered, and not a list that breaks off in the middle of its answer.
pub(super) async fn list<T>(
    store: &dyn Store,
    directory: &Path,
    after: Option<&Path>,
    most: usize,
    of: impl Fn(ObjectMeta) -> Option<T>,
) -> object_store::Result<Vec<T>> {
    let mut tries = 0;
    loop {
        tries += 1;
        let listed = match after {
            Some(after) => store.list_with_offset(Some(directory), after),
            None => store.list(Some(directory)),
        };
        let meant = listed.try_filter_map(|found| std::future::ready(Ok(of(found))));
        match meant.take(most).try_collect().await {
            Err(object_store::Error::Generic { .. }) if tries < LISTING => {}
            listed => return listed,
        }
    }
}
