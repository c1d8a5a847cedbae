//! A bucket of another program, read and never written.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use object_store::list::PaginatedListOptions;
use object_store::{Error, GetResult, ObjectMeta, ObjectStoreExt};
use tokio::runtime::Handle;

use super::objects::{Opening, Store, connector, open_store, told};
use crate::distribution::{Item, Reader, Stat, Tree, What};
use crate::remote::{authorities, trusting};
use crate::storage::counters::Counters;

/// How many requests go on at once: each takes some ten milliseconds, of which most is waiting.
const AT_ONCE: usize = 32;

/// How often a request is tried until it is known that the bucket can be used.
const OPENING: usize = 4;

/// A bucket. Its files have the URL of the bucket in front: `s3://BUCKET/KEY`.
pub(crate) struct Bucket {
    store: Arc<dyn Store>,
    url: String,
    handle: Handle,
    failed: OnceLock<String>,
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Bucket").field(&self.url).finish()
    }
}

impl Bucket {
    /// Opens the bucket that a URL names, with or without a path behind it. Credentials and whatever else `options` do not
    /// say are taken from where the tools of AWS have them.
    ///
    /// # Errors
    ///
    /// When it cannot be listed, with what is to be done.
    pub(crate) async fn open(url: &str, options: &[(String, String)], ca: Option<&Path>) -> Result<Self, String> {
        let Some(rest) = url.strip_prefix("s3://") else {
            return Err(format!("{url} is not a bucket of S3: write s3://BUCKET or s3://BUCKET/ROOTDIRECTORY"));
        };
        let bucket = format!("s3://{}", rest.split('/').next().unwrap_or_default());
        let tls = authorities(ca).map(trusting);
        let tls = tls.map_err(|wrong| format!("--source-ca {}: {wrong}", ca.unwrap_or("".as_ref()).display()))?;
        let connector = connector(tls, &Counters::default());
        let opening = Opening { what: "the bucket", options: "--source-option", tries: Some(OPENING) };
        let (store, prefix) = open_store(url, options, connector.clone(), opening)?;
        let prefix = if prefix.as_ref().is_empty() { String::new() } else { format!("{prefix}/") };
        let first = PaginatedListOptions { max_keys: Some(1), ..PaginatedListOptions::default() };
        let listed = store.list_paginated(Some(&prefix), first).await;
        listed.map_err(|error| format!("{url} cannot be listed: {}", reason(&error)))?;
        let (store, _) = open_store(url, options, connector, Opening { tries: None, ..opening })?;
        Ok(Self { store, url: bucket, handle: Handle::current(), failed: OnceLock::new() })
    }

    /// The bytes of a file, as they come.
    ///
    /// # Errors
    ///
    /// As for whatever reads it: `NotFound` where there is none.
    pub(crate) async fn stream(&self, path: &Path) -> io::Result<BoxStream<'static, io::Result<Bytes>>> {
        let found = self.ask(path, self.store.get(&self.key(path)?)).await?;
        Ok(found.into_stream().map_err(|error| io::Error::other(reason(&error))).boxed())
    }

    /// The key of a path.
    fn key(&self, path: &Path) -> io::Result<object_store::path::Path> {
        let shown = path.to_str().and_then(|path| path.strip_prefix(&self.url));
        let key = shown.and_then(|key| object_store::path::Path::parse(key.trim_start_matches('/')).ok());
        key.ok_or_else(|| io::Error::other(format!("{} can be no key in {}", path.display(), self.url)))
    }

    async fn ask<T>(&self, path: &Path, asked: impl Future<Output = object_store::Result<T>>) -> io::Result<T> {
        if let Some(failed) = self.failed.get() {
            return Err(io::Error::other(failed.clone()));
        }
        asked.await.map_err(|error| match &error {
            Error::NotFound { .. } if code(&told(&error)).is_none_or(|code| code != "NoSuchBucket") => {
                io::Error::new(io::ErrorKind::NotFound, reason(&error))
            }
            Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
                io::Error::new(io::ErrorKind::PermissionDenied, reason(&error))
            }
            // Tried again for a while before.
            _ => {
                let failed = format!("{} cannot be read: {}", path.display(), reason(&error));
                io::Error::other(self.failed.get_or_init(|| failed).clone())
            }
        })
    }

    fn wait<T>(&self, path: &Path, asked: impl Future<Output = object_store::Result<T>>) -> io::Result<T> {
        self.handle.block_on(self.ask(path, asked))
    }
}

impl Tree for Bucket {
    fn list(&self, path: &Path, each: &mut dyn FnMut(Item)) -> io::Result<()> {
        let key = self.key(path)?;
        let prefix = if key.as_ref().is_empty() { String::new() } else { format!("{key}/") };
        let mut page_token = None;
        loop {
            let delimiter = Some(Cow::Borrowed("/"));
            let options = PaginatedListOptions { delimiter, page_token, ..PaginatedListOptions::default() };
            let page = self.wait(path, self.store.list_paginated(Some(&prefix), options))?;
            let directories = page.result.common_prefixes.iter().map(|at| (at, What::Directory));
            let files = page.result.objects.iter().map(|object| (&object.location, What::File));
            // What has the name of the directory itself stands for it, where a console has made it.
            for (at, what) in directories.chain(files).filter(|(at, _)| **at != key) {
                let name = at.filename().unwrap_or_default().to_owned();
                each(Item { name: Ok(name), what });
            }
            page_token = page.page_token;
            if page_token.is_none() {
                return Ok(());
            }
        }
    }

    fn small(&self, path: &Path, most: u64) -> io::Result<(Bytes, SystemTime)> {
        let key = self.key(path)?;
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        self.wait(path, async {
            let found: GetResult = self.store.get(&key).await?;
            let written = found.meta.last_modified.into();
            let (mut bytes, mut pieces) = (BytesMut::new(), found.into_stream());
            while bytes.len() < most
                && let Some(piece) = pieces.try_next().await?
            {
                bytes.extend_from_slice(&piece);
            }
            bytes.truncate(most);
            Ok((bytes.freeze(), written))
        })
    }

    fn stat(&self, path: &Path, _: Reader) -> io::Result<Stat> {
        let found: ObjectMeta = self.wait(path, self.store.head(&self.key(path)?))?;
        Ok(Stat { size: found.size, private: false })
    }

    fn read(&self, path: &Path, each: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        let key = self.key(path)?;
        self.wait(path, async {
            let mut pieces = self.store.get(&key).await?.into_stream();
            while let Some(piece) = pieces.try_next().await? {
                each(&piece);
            }
            Ok(())
        })
    }

    fn changed(&self, upload: &Path) -> Option<SystemTime> {
        let key = self.key(upload).ok()?;
        let first = PaginatedListOptions::default();
        let listed = self.wait(upload, self.store.list_paginated(Some(&format!("{key}/")), first)).ok()?;
        listed.result.objects.iter().map(|object| SystemTime::from(object.last_modified)).max()
    }

    fn at_once(&self) -> usize {
        AT_ONCE
    }

    fn failed(&self) -> Option<String> {
        self.failed.get().cloned()
    }
}

/// What an answer of S3 says, and what to do.
fn reason(error: &Error) -> String {
    let told = told(error);
    let code = code(&told);
    let answer = code.map_or_else(String::new, |code| format!(" ({code})"));
    let without = |what: &str| format!("{what}{answer}");
    match code.unwrap_or_default() {
        "NoSuchBucket" => without(
            "there is no such bucket: see to its name, and to the options endpoint and region of --source-option",
        ),
        "PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException" => {
            wrong_region(&told)
        }
        "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired" => {
            without(
                "the credentials are not accepted: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and AWS_SESSION_TOKEN for \
                 those of a session",
            )
        }
        "AccessDenied" | "AllAccessDisabled" => without(
            "the credentials do not allow it: they need s3:ListBucket for the bucket, and s3:GetObject for what is in it",
        ),
        _ if told.contains("incorrectly configured region") => wrong_region(&told),
        _ if told.contains("169.254.") => format!(
            "there are no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or --source-option \
             skip_signature=true for a bucket that everybody may read ({told})"
        ),
        _ if matches!(error, Error::PermissionDenied { .. } | Error::Unauthenticated { .. }) => format!(
            "the credentials do not allow it: they need s3:ListBucket for the bucket, and s3:GetObject for what is in it \
             ({told})"
        ),
        _ => told,
    }
}

fn wrong_region(told: &str) -> String {
    match between(told, "<Region>", "</Region>") {
        Some(region) => format!("the bucket is in another region: say --source-option region={region}"),
        None => "the bucket is in another region: name that with --source-option region=NAME".to_owned(),
    }
}

/// The code of the error that S3 has answered with, if it has.
fn code(told: &str) -> Option<&str> {
    between(told, "<Code>", "</Code>")
}

fn between<'t>(text: &'t str, before: &str, behind: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(before)?;
    rest.split_once(behind).map(|(found, _)| found)
}
