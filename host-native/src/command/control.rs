//! The socket in the data directory by which commands on this machine talk to the server: a line, and an answer.

use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream as Stream;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, fs};

use orlop_core::Claim;
use orlop_core::digest::Digest;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::command::check::data_directory;
use crate::command::gc::{self, Collection, Collector};
use crate::command::jobs::Jobs;
use crate::command::mirror::Mirrors;
use crate::command::reload::Reloading;
use crate::command::retention::Retaining;
use crate::command::scrub::Scrubber;
use crate::command::{activity, browse, delete, deleted, integrity, mirror, retention, scrub, token, usage};
use crate::request::live::Current;
use crate::settings::Data;
use crate::storage::Host;
use crate::sync::Syncing;

/// The name of the socket in a data directory.
const SOCKET: &str = "orlop.sock";

/// The longest line.
const LONGEST: u64 = 1 << 16;

/// How long a command may take to say what it wants, and to read its answer. Each is one line.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a command asks of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Make a backup.
    Backup,
    /// Collect garbage, or find out what there is.
    Gc(Collection),
    /// Read the settings again.
    Reload,
    /// Check everything that is stored.
    Check,
    /// Read everything that is stored again, and put what is damaged out of use.
    Scrub,
    /// List what is damaged.
    Damaged,
    /// Say where a blob is.
    Blob(Digest),
    /// Do something with mirrors.
    Mirror(mirror::Asked),
    /// Run the sync of that name, or all, or find out what a run would do.
    Sync {
        /// Which.
        name: Option<String>,
        /// Only find out what would be done.
        dry_run: bool,
    },
    /// Say how the sync of that name stands, or all.
    SyncStatus(Option<String>),
    /// Show or do what the rules of retention say.
    Retention(retention::Asked),
    /// Look up repositories, tags or an image.
    Browse(browse::Asked),
    /// Delete a tag, a manifest, or all that is in a repository.
    Delete(deleted::Image),
    /// List, undelete, purge or protect.
    Deleted(deleted::Asked),
    /// Say what repositories take, or count it anew.
    Usage(usage::Asked),
    /// Print what happened.
    Activity(activity::Asked),
    /// Make, list or revoke API tokens.
    Token(token::Asked),
    /// Say what is stored and how jobs stand.
    Status,
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = |name: Option<&String>| name.map(|name| format!(" name {name}")).unwrap_or_default();
        let option = |given: bool, option: &'static str| if given { option } else { "" };
        match self {
            Self::Backup => f.write_str("backup"),
            Self::Gc(Collection { dry_run, json }) => {
                write!(f, "gc{}{}", option(*dry_run, " dry-run"), option(*json, " json"))
            }
            Self::Reload => f.write_str("reload"),
            Self::Check => f.write_str("check"),
            Self::Scrub => f.write_str("scrub"),
            Self::Damaged => f.write_str("damaged"),
            Self::Blob(digest) => write!(f, "blob {digest}"),
            Self::Mirror(asked) => asked.fmt(f),
            Self::Retention(asked) => asked.fmt(f),
            Self::Browse(asked) => asked.fmt(f),
            Self::Delete(image) => write!(f, "delete {image}"),
            Self::Deleted(asked) => asked.fmt(f),
            Self::Sync { name, dry_run } => {
                write!(f, "sync run{}{}", option(*dry_run, " dry-run"), named(name.as_ref()))
            }
            Self::SyncStatus(name) => write!(f, "sync status{}", named(name.as_ref())),
            Self::Usage(asked) => asked.fmt(f),
            Self::Token(asked) => asked.fmt(f),
            Self::Activity(asked) => asked.fmt(f),
            Self::Status => f.write_str("status"),
        }
    }
}

/// Writes what is asked on the line of a request, behind its beginning: as JSON, which has no line break in it.
///
/// # Errors
///
/// When it cannot be written.
pub(super) fn write_asked(f: &mut fmt::Formatter<'_>, beginning: &str, asked: &impl Serialize) -> fmt::Result {
    // Names and texts always have a JSON form.
    write!(f, "{beginning}{}", serde_json::to_string(asked).map_err(|_| fmt::Error)?)
}

/// Reads it from the line.
///
/// # Errors
///
/// When it is none of these.
pub(super) fn read_asked<T: DeserializeOwned>(beginning: &str, line: &str) -> Result<T, String> {
    let asked = line.strip_prefix(beginning).unwrap_or_default();
    serde_json::from_str(asked).map_err(|error| format!("`{line}` is no command: {error}"))
}

impl FromStr for Request {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let words: Vec<&str> = line.split(' ').collect();
        let unknown = || format!("the server does not know the command `{line}`: it is of another version");
        Ok(match words.as_slice() {
            ["backup"] => Self::Backup,
            ["gc"] => Self::Gc(Collection { dry_run: false, json: false }),
            ["gc", "json"] => Self::Gc(Collection { dry_run: false, json: true }),
            ["gc", "dry-run"] => Self::Gc(Collection { dry_run: true, json: false }),
            ["gc", "dry-run", "json"] => Self::Gc(Collection { dry_run: true, json: true }),
            ["reload"] => Self::Reload,
            ["check"] => Self::Check,
            ["scrub"] => Self::Scrub,
            ["damaged"] => Self::Damaged,
            ["mirror", "list"] => Self::Mirror(mirror::Asked::List { json: false }),
            ["mirror", "list", "json"] => Self::Mirror(mirror::Asked::List { json: true }),
            ["mirror", "fetch", images] => Self::Mirror(mirror::Asked::Fetch(images.parse()?)),
            ["mirror", "evict", images] => Self::Mirror(mirror::Asked::Evict(images.parse()?)),
            ["retention", ..] => Self::Retention(line.parse()?),
            ["browse", ..] => Self::Browse(line.parse()?),
            ["delete", image] => Self::Delete(image.parse()?),
            ["deleted", ..] => Self::Deleted(line.parse()?),
            ["blob", digest] => Self::Blob(digest.parse().map_err(|_| format!("`{digest}` is not a digest"))?),
            ["sync", "run"] => Self::Sync { name: None, dry_run: false },
            ["sync", "run", "dry-run"] => Self::Sync { name: None, dry_run: true },
            ["sync", "run", "name", name] => Self::Sync { name: Some((*name).into()), dry_run: false },
            ["sync", "run", "dry-run", "name", name] => Self::Sync { name: Some((*name).into()), dry_run: true },
            ["sync", "status"] => Self::SyncStatus(None),
            ["sync", "status", "name", name] => Self::SyncStatus(Some((*name).into())),
            ["status"] => Self::Status,
            ["activity", ..] => Self::Activity(line.parse()?),
            ["token", ..] => Self::Token(line.parse()?),
            ["usage", asked @ ..] => Self::Usage(usage::Asked::of(asked).ok_or_else(unknown)?),
            _ => return Err(unknown()),
        })
    }
}

/// What a server answers by.
pub struct Control {
    /// The storage.
    pub host: Arc<Host>,
    /// What collects garbage.
    pub collector: Arc<Collector>,
    /// What reads everything again.
    pub scrubber: Arc<Scrubber>,
    /// What runs syncs.
    pub syncing: Arc<Syncing>,
    /// What deletes by the rules of retention.
    pub retaining: Arc<Retaining>,
    /// Where other settings come from.
    pub reloading: Arc<Reloading>,
    /// The settings in force.
    pub current: Current,
    /// One backup at a time: a second one would do the same.
    pub backing_up: Mutex<()>,
    /// The jobs that administrators begin by the API.
    pub jobs: Jobs,
    /// One count of what is stored at a time.
    pub counting: Arc<Mutex<()>>,
}

/// Listens in a data directory, for the user of the server and for root.
///
/// # Errors
///
/// When there can be no socket.
pub fn listen(directory: &Path) -> io::Result<UnixListener> {
    let path = directory.join(SOCKET);
    // This process has the lock of the directory, so the one that made this socket is gone.
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Does what commands ask, for ever. Each has a task of its own: one that says nothing keeps no other waiting.
pub async fn serve(listener: UnixListener, control: Arc<Control>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let control = control.clone();
                tokio::spawn(async move {
                    if let Err(error) = answer(stream, &control).await {
                        tracing::warn!("a command on the control socket got no answer: {error}");
                    }
                });
            }
            Err(error) => {
                tracing::warn!("the control socket accepts no commands: {error}");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

async fn answer(mut stream: UnixStream, control: &Control) -> io::Result<()> {
    let (reading, mut writing) = stream.split();
    let mut line = String::new();
    let mut reading = tokio::io::BufReader::new(reading.take(LONGEST));
    timeout(PATIENCE, reading.read_line(&mut line)).await??;
    let done = match line.trim().parse() {
        Ok(request) => control.perform(request).await,
        Err(reason) => Err(reason),
    };
    let told = match done {
        Ok(told) => format!("ok {told}\n"),
        Err(reason) => format!("error {reason}\n"),
    };
    timeout(PATIENCE, writing.write_all(told.as_bytes())).await?
}

impl Control {
    async fn perform(&self, request: Request) -> Result<String, String> {
        match request {
            Request::Backup => {
                let _one = self.backing_up.lock().await;
                let backup = self.host.back_up().await.map_err(|fault| fault.to_string())?;
                tracing::info!("backed up: {} records, {} files", backup.records, backup.files);
                Ok(format!("{} records and {} files in {}", backup.records, backup.files, backup.path.display()))
            }
            Request::Gc(collection) => {
                let report = match collection.dry_run {
                    true => self.collector.foretell().await,
                    // Whoever asks for it gets it, whatever another host does or did before it was killed.
                    false => self.collector.collect(Claim::Now).await,
                };
                gc::told(&report?, collection)
            }
            Request::Check => integrity::check_all(&self.host).await,
            Request::Scrub => self.scrubber.scrub_now().await,
            Request::Damaged => scrub::list_damaged(&self.host).await,
            Request::Mirror(asked) => Mirrors::from(self.current.mirrors()).perform(&self.host, &asked).await,
            Request::Blob(digest) => integrity::locate(&self.host, digest).await,
            Request::Retention(asked) => self.retaining.perform(&asked).await,
            Request::Browse(asked) => asked.perform(&self.current.registry(), &self.host).await,
            Request::Delete(image) => delete::perform(&self.current.registry(), &self.host, &image).await,
            Request::Deleted(asked) => deleted::answer(&self.current.registry(), &self.host, &asked).await,
            Request::Usage(asked) => asked.perform(&self.current.registry(), &self.host).await,
            Request::Activity(asked) => asked.perform(&self.current.registry(), &self.host).await,
            Request::Token(asked) => token::answer(&self.current.get().identities, &asked).await,
            Request::Status => self.status().await.map_err(String::from),
            Request::Sync { name, dry_run } => self.syncing.run_now(name.as_deref(), dry_run).await,
            Request::SyncStatus(name) => self.syncing.status(name.as_deref()).await,
            Request::Reload => {
                let reloading = self.reloading.clone();
                let done = tokio::task::spawn_blocking(move || reloading.reload()).await;
                done.map_err(|error| error.to_string())?
            }
        }
    }
}

/// Asks the server that has a data directory open, and returns its answer.
///
/// # Errors
///
/// When no server has it open, or the server cannot do it.
pub fn ask(data: &Data, request: Request) -> Result<String, String> {
    if data.engines.engines()?.is_some() {
        return Err(elsewhere(&request));
    }
    let directory = &data.directory;
    data_directory(directory)?;
    let shown = directory.display();
    if !directory.exists() {
        return Err(format!("there is no directory {shown}: name the data directory with --data"));
    }
    let mut stream = Stream::connect(directory.join(SOCKET)).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => no_server(directory, &request),
        io::ErrorKind::PermissionDenied => {
            format!("the server of {shown} takes no commands from this user: run this as root or as the server's user")
        }
        _ => format!("the server of {shown} cannot be asked: {error}"),
    })?;
    let mut told = String::new();
    let asked = writeln!(stream, "{request}").and_then(|()| stream.read_to_string(&mut told));
    asked.map_err(|error| format!("the server of {shown} does not answer: {error}"))?;
    match told.trim_end().split_once(' ') {
        Some(("ok", told)) => Ok(told.into()),
        Some((_, reason)) => Err(reason.into()),
        None => Err(format!("the server of {shown} stopped before it answered; its log may say why")),
    }
}

/// Servers that share a database have no socket: they may be on other machines.
fn elsewhere(request: &Request) -> String {
    match request {
        Request::Backup => "the database and the object store are backed up by their own tools".into(),
        _ => format!("servers that share a database take no `{request}`: send each of them SIGHUP"),
    }
}

fn no_server(directory: &Path, request: &Request) -> String {
    let shown = directory.display();
    let cure = match request {
        Request::Backup => {
            "copy the directory itself, which is a backup as long as no server runs, or start the server and run this again"
        }
        _ => "start the server, or name its data directory with --data",
    };
    format!("no server has {shown} open: {cure}")
}

#[cfg(test)]
mod tests {
    use orlop_core::digest::Algorithm;

    use super::*;

    #[test]
    fn requests_are_read_as_they_are_written() {
        let digest = Algorithm::Sha256.digest(b"");
        let collections = [(false, false), (false, true), (true, false), (true, true)];
        let collections = collections.map(|(dry_run, json)| Request::Gc(Collection { dry_run, json }));
        let images = || "hub/library/debian:12*".parse().unwrap();
        let mirrors = [
            mirror::Asked::List { json: false },
            mirror::Asked::List { json: true },
            mirror::Asked::Fetch(images()),
            mirror::Asked::Evict(images()),
        ];
        let deletes = ["a", "a/b:v1", &format!("a@{digest}")].map(|image| Request::Delete(image.parse().unwrap()));
        let others = [
            Request::Backup,
            Request::Reload,
            Request::Check,
            Request::Scrub,
            Request::Damaged,
            Request::Blob(digest),
            Request::Status,
        ];
        let browsed = Request::Browse("browse repositories?q=a%20b".parse().unwrap());
        let others = others.into_iter().chain(deletes).chain([browsed]).chain(mirrors.map(Request::Mirror));
        let names = || [None, Some("base".to_owned())].into_iter();
        let syncs = names().flat_map(|name| [(name.clone(), false), (name, true)]);
        let syncs = syncs.map(|(name, dry_run)| Request::Sync { name, dry_run });
        let syncs = syncs.chain(names().map(Request::SyncStatus));
        let (name, plan) = ("json".parse().unwrap(), "0123456789abcdef".to_owned());
        let retention = [
            retention::Asked::Plan { repositories: Vec::new(), json: true },
            retention::Asked::Plan { repositories: vec![name], json: false },
            retention::Asked::Apply { repository: "yes/a".parse().unwrap(), plan: plan.clone(), yes: false },
            retention::Asked::Apply { repository: "a".parse().unwrap(), plan, yes: true },
            retention::Asked::Status { json: false },
            retention::Asked::Status { json: true },
        ];
        let syncs = syncs.chain(retention.map(Request::Retention));
        let image = || "json/a:v1".parse().unwrap();
        let asked = [
            deleted::Asked::List { repository: Some("a".parse().unwrap()), json: true },
            deleted::Asked::Undelete { image: image(), force: true, named: Some("v2".parse().unwrap()), json: false },
            deleted::Asked::Purge { image: image(), force: false },
            deleted::Asked::Protect { marks: vec!["team/*:v*".parse().unwrap()], json: false },
            deleted::Asked::Unprotect { marks: vec!["team/app".parse().unwrap()] },
        ];
        let syncs = syncs.chain(asked.map(Request::Deleted));
        let usages = [usage::Asked::Recount, usage::Asked::Report(usage::Sort::Bytes, Some(10))].map(Request::Usage);
        for request in collections.into_iter().chain(others).chain(syncs).chain(usages) {
            assert_eq!(request.to_string().parse(), Ok(request));
        }
        assert!("dance".parse::<Request>().is_err());
    }
}
