//! `orlop export` and the imports that are copies: by a registry that is opened here, or by one that is spoken to.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytesize::ByteSize;
use orlop_core::name::Repository;
use orlop_core::{Config, Registry};
use serde_json::json;
use tempfile::TempDir;
use tracing_subscriber::filter::Targets;

use crate::command::check::data_directory;
use crate::command::cli::{ExportCommand, How, ImportedArchive, ImportedOci, ImportedRegistry, Reaching};
use crate::command::copy::{Logins, Progress, Stopped};
use crate::command::owner::Owner;
use crate::command::process;
use crate::command::storage::{Using, agree};
use crate::copy::{Collected, Contents, Failed, Format, Layout, Packed, Place, Tree, Unwritten};
use crate::exchange::{self, Outcome, Target, is_archive};
use crate::observe::log;
use crate::remote::{Failure, Remote};
use crate::settings::redacted::redacted;
use crate::settings::{Data, LogFormat, LoginSetting, Options, RemoteSetting, SyncSetting};
use crate::storage::{self, Host, Use};
use crate::sync::{self, Registry as Side};

type Done = Result<(), Box<dyn Error>>;

/// `orlop export …`
///
/// # Errors
///
/// [`Stopped`] when something was not exported.
pub fn export(asked: &ExportCommand) -> Done {
    let what = match asked {
        ExportCommand::Oci(asked) => &asked.what,
        ExportCommand::Distribution(asked) => &asked.what,
    };
    what.repositories.iter().try_for_each(|name| named(name))?;
    let told = match asked {
        _ if what.how.dry_run => DRY.into(),
        ExportCommand::Oci(asked) if is_archive(&asked.target) => format!("{} was not written", asked.target.display()),
        _ => GOES_ON.into(),
    };
    interruptible(&told, async |using| {
        let _log = log::start(warnings()?, LogFormat::Text);
        let progress = Progress::of_many(what.how.quiet);
        let registry = Opened::of(&what.how, Purpose::Reading, using).await?;
        let chosen = exchange::chosen(&registry.side, &what.repositories).await;
        let done = match (chosen, asked) {
            (Err(failed), _) => Err(Stopped::because(failed.reason, by_flags(&failed.to_string()))),
            (Ok(names), ExportCommand::Oci(asked)) => {
                oci(&registry.side, &asked.target, &names, &what.how, &progress).await
            }
            (Ok(names), ExportCommand::Distribution(asked)) => {
                tree(&registry.side, &asked.target, asked.copy, &names, &what.how, &progress).await
            }
        };
        progress.end();
        registry.close().await;
        done
    })
}

/// `orlop import oci`
///
/// # Errors
///
/// [`Stopped`] when something was not imported.
pub(super) fn import_oci(asked: &ImportedOci) -> Done {
    let open = async || Contents::layout(&asked.source).await;
    import(&asked.source, open, asked.repository.as_deref(), &asked.how)
}

/// `orlop import docker-archive`
///
/// # Errors
///
/// [`Stopped`] when something was not imported.
pub(super) fn import_archive(asked: &ImportedArchive) -> Done {
    let open = async || Contents::docker_archive(&asked.source).await;
    import(&asked.source, open, asked.repository.as_deref(), &asked.how)
}

/// `orlop import registry`
///
/// # Errors
///
/// [`Stopped`] when something was not imported.
pub(super) fn import_registry(asked: &ImportedRegistry) -> Done {
    let source = redacted(&asked.source);
    if !asked.all && asked.repositories.is_empty() {
        let told = format!("name repositories by --repositories, or say --all to bring in all that {source} lists");
        return Err(Stopped::usage(told).into());
    }
    if format!("{}a", asked.prefix).parse::<Repository>().is_err() {
        let told = format!("--prefix {}: no name of a repository can begin so: write it like `old/`", asked.prefix);
        return Err(Stopped::usage(told).into());
    }
    asked.repositories.iter().try_for_each(|name| named(name))?;
    interruptible(if asked.dry_run { DRY } else { GOES_ON }, async |using| {
        let _log = log::start(warnings()?, LogFormat::Text);
        let from = remote_setting(&asked.source, &asked.reaching).await?;
        let repositories = if asked.all { vec!["**".into()] } else { asked.repositories.clone() };
        let setting = SyncSetting::once(from, repositories, &asked.prefix)?;
        let cure = "add a `[[sync]]` to its configuration and start it by `orlop sync run`";
        let registry = Opened::here(&asked.data, Purpose::writing(asked.dry_run), cure, using).await?;
        let tell = |line: String| {
            if !asked.quiet {
                note!("{line}");
            }
        };
        let ran = match &registry.host {
            Some(host) => sync::run_once(&setting, host, asked.dry_run, tell).await,
            None => Err("it has no storage".into()),
        };
        registry.close().await;
        let sync::Ran { counts, failures } = ran?;
        if asked.json {
            out!("{}", json!({ "source": source, "dryRun": asked.dry_run, "counts": counts, "failures": failures }));
        } else if !asked.quiet {
            out!("{}{counts}", if asked.dry_run { "dry run, nothing was written: " } else { "" });
        }
        failures.iter().for_each(|failure| note!("{}", by_flags(failure)));
        match counts.failed {
            0 => Ok(()),
            failed => {
                let rest = match counts.copied + counts.there {
                    0 => "nothing was imported",
                    _ if asked.dry_run => "all else would be imported",
                    _ => "all else was imported, and the same command goes on with the rest",
                };
                Err(Stopped::from(format!("{failed} of {source} failed, as the lines above say; {rest}")))
            }
        }
    })
}

/// A repository or a pattern of repositories on the command line.
fn named(name: &str) -> Result<(), Stopped> {
    let plain = name.replace('*', "a");
    plain.parse::<Repository>().map(drop).map_err(|error| Stopped::usage(format!("`{name}`: {error}")))
}

/// What an interruption leaves: of what is copied image by image, and of a dry run.
const GOES_ON: &str = "what has been copied stays, and the same command goes on with the rest";
const DRY: &str = "nothing was written";

/// Does it until a signal ends it, of which `told` says what it leaves. What is unfinished then leaves nothing behind.
/// What it uses, it does not use any more.
fn interruptible(told: &str, work: impl AsyncFnOnce(&Using) -> Result<(), Stopped>) -> Done {
    let using = Using::default();
    match process::until_signal(work(&using), using.leave())? {
        Ok(done) => Ok(done?),
        Err(number) => Err(Stopped::signal(number, format!("interrupted; {told}")).into()),
    }
}

/// What the log lets through.
fn warnings() -> Result<Targets, Stopped> {
    "warn".parse().map_err(|error| Stopped::from(format!("the log: {error}")))
}

/// What a registry is opened for: whether its directory is made if there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Reading,
    Writing,
    /// To see what would be written.
    DryRun,
}

impl Purpose {
    fn writing(dry_run: bool) -> Self {
        if dry_run { Self::DryRun } else { Self::Writing }
    }
}

/// A registry as a side of a copy.
struct Opened {
    side: Side,
    host: Option<Arc<Host>>,
    using: Using,
    /// The data directory, and to whom it belongs.
    directory: Option<(PathBuf, Owner)>,
    /// Of a dry run into a directory that does not exist: an empty registry, which goes in the end.
    _empty: Option<TempDir>,
}

impl Opened {
    /// The one that is spoken to, or else the one of the settings.
    async fn of(how: &How, purpose: Purpose, using: &Using) -> Result<Self, Stopped> {
        let cure = "say --registry with its address, so that it is done through the server";
        let Some(address) = &how.registry else { return Self::here(&how.data, purpose, cure, using).await };
        let remote = Remote::open(&remote_setting(address, &how.reaching).await?)?;
        Ok(Self { side: Side::Remote(remote), host: None, using: using.clone(), directory: None, _empty: None })
    }

    /// The data directory, which is made if there is none, or the database and the object store. `cure` says what to do
    /// when a server has the directory open.
    async fn here(data: &Data, purpose: Purpose, cure: &str, using: &Using) -> Result<Self, Stopped> {
        let mut empty = None;
        let directory = data.engines.engines()?.is_none().then(|| (data.directory.clone(), Owner::of(&data.directory)));
        let host = match data.engines.engines()? {
            Some(engines) => {
                let host = Host::connect(&engines.without_cache(), &Options::default()).await;
                host.map_err(|error| error.to_string())?
            }
            None => {
                let directory = &data.directory;
                data_directory(directory)?;
                if storage::holder(directory).is_some() {
                    let shown = directory.display();
                    return Err(Stopped::from(format!("a server has {shown} open: {cure}, or stop it")));
                }
                let opened = match (directory.exists(), purpose) {
                    (false, Purpose::Reading) => {
                        let shown = directory.display();
                        return Err(Stopped::from(format!(
                            "there is no directory {shown}: name the data directory with --data, or a server with --registry"
                        )));
                    }
                    (false, Purpose::DryRun) => {
                        let made =
                            TempDir::new().map_err(|error| format!("there is no room for a dry run: {error}"))?;
                        Host::open(&empty.insert(made).path().join("data"), &Options::default())
                    }
                    _ => Host::open(directory, &Options::default()),
                };
                opened.map_err(|error| error.to_string())?
            }
        };
        let host = Arc::new(host);
        let registry = Registry::new(Config::default());
        agree(&registry, &host, &data.place()).await?;
        // Last, so that nothing is in between that fails and leaves it there.
        using.enter(&host, Use::Serve).await?;
        Ok(Self {
            side: sync::this_registry(&host, registry, "orlop"),
            host: Some(host),
            using: using.clone(),
            directory,
            _empty: empty,
        })
    }

    async fn close(self) {
        self.using.leave().await;
        drop((self.side, self.host));
        // Also what an import has made that failed is the server's.
        if let Some((directory, owner)) = &self.directory
            && let Err(error) = owner.give(directory)
        {
            tracing::warn!("{} is not given to whom it belongs: {error}", directory.display());
        }
    }
}

async fn remote_setting(address: &str, reaching: &Reaching) -> Result<RemoteSetting, Stopped> {
    // Read as the registry of an image is.
    let place = Place::parse(&format!("{}/x", address.trim_end_matches('/')), reaching.trust.plain_http);
    let shown = if address.contains("://") { redacted(address) } else { redacted(&format!("//{address}"))[2..].into() };
    let wrong = |reason: &str| Stopped::usage(format!("`{shown}` {reason}: write it like registry.example.com"));
    if address.contains('@') {
        let told = format!("`{shown}` has a login in it, which is given by --username and --password-file");
        return Err(Stopped::usage(told));
    }
    let url = match place {
        Ok(Place::Registry { url, repository, .. }) if matches!(repository.as_str(), "x" | "library/x") => url,
        Ok(Place::Registry { .. }) => return Err(wrong("has a path, and a registry has none")),
        _ => return Err(wrong("is no registry")),
    };
    let setting = RemoteSetting::new(&url)?;
    let login = match (&reaching.username, &reaching.password_file) {
        (Some(username), Some(file)) => LoginSetting::PasswordFile { username: username.clone(), file: file.clone() },
        _ => Logins::find(reaching.trust.authfile.as_deref())?.of(&setting.url, "").await?,
    };
    let (realms, redirects) = (reaching.trust.realms.clone(), reaching.redirects.clone());
    Ok(RemoteSetting { login, realms, redirects, ca: reaching.trust.ca.clone(), ..setting })
}

fn import(
    source: &Path,
    open: impl AsyncFnOnce() -> Result<Contents, Failure>,
    repository: Option<&str>,
    how: &How,
) -> Done {
    if let Some(name) = repository {
        named(name)?;
    }
    let shown = source.display().to_string();
    interruptible(if how.dry_run { DRY } else { GOES_ON }, async |using| {
        let _log = log::start(warnings()?, LogFormat::Text);
        let contents = open().await.map_err(|failure| told(&shown, &Failed::reading(failure)))?;
        let progress = Progress::of_many(how.quiet);
        let registry = Opened::of(how, Purpose::writing(how.dry_run), using).await?;
        let done = exchange::import(&contents, &registry.side, repository, how.dry_run, &progress).await;
        progress.end();
        registry.close().await;
        let outcome = done.map_err(|failure| told(&shown, &Failed::writing(failure)))?;
        report(&shown, &outcome, 0, how, false)
    })
}

async fn oci(side: &Side, target: &Path, names: &[String], how: &How, progress: &Progress) -> Result<(), Stopped> {
    let shown = target.display().to_string();
    let wrong = |failure| told(&shown, &Failed::writing(failure));
    let failed = |failed: Failed| told(&shown, &failed);
    let archive = is_archive(target);
    if archive {
        exchange::replaceable(target).await.map_err(wrong)?;
    }
    let outcome = match (archive, how.dry_run) {
        (true, true) => {
            let nothing = Target::Nothing(Unwritten(Format::Layout));
            exchange::export(side, names, &nothing, true, progress).await.map_err(failed)?
        }
        (true, false) => {
            let packed = Packed::create(target, Format::Layout).await.map_err(wrong)?;
            let outcome = {
                let into = Target::Layout(Collected::over(packed.layout(), false).await.map_err(wrong)?);
                exchange::export(side, names, &into, false, progress).await.map_err(failed)?
            };
            if outcome.failures.is_empty() {
                packed.finish(&orlop_core::digest::Algorithm::Sha256.digest(b"")).await.map_err(wrong)?;
            }
            outcome
        }
        (false, true) => {
            let layout = Layout::find(target).await.map_err(wrong)?;
            let into = match &layout {
                Some(layout) => Target::Layout(Collected::over(layout, true).await.map_err(wrong)?),
                None => Target::Nothing(Unwritten(Format::Layout)),
            };
            exchange::export(side, names, &into, true, progress).await.map_err(failed)?
        }
        (false, false) => {
            let layout = Layout::create(target).await.map_err(wrong)?;
            let into = Target::Layout(Collected::over(&layout, false).await.map_err(wrong)?);
            exchange::export(side, names, &into, false, progress).await.map_err(failed)?
        }
    };
    report(&shown, &outcome, 0, how, archive)
}

async fn tree(
    side: &Side,
    target: &Path,
    copy: bool,
    names: &[String],
    how: &How,
    progress: &Progress,
) -> Result<(), Stopped> {
    let shown = target.display().to_string();
    let tree =
        Tree::open(target, !copy, how.dry_run).await.map_err(|failure| told(&shown, &Failed::writing(failure)))?;
    let into = Target::Distribution(tree.clone());
    let outcome = exchange::export(side, names, &into, how.dry_run, progress).await;
    report(&shown, &outcome.map_err(|failed| told(&shown, &failed))?, tree.linked(), how, false)
}

/// What is told of another registry, with the flags of these commands in the place of settings.
fn by_flags(text: &str) -> String {
    text.replace("to its realms", "by --realm").replace("to its redirects", "by --redirect-to")
}

fn told(place: &str, failed: &Failed) -> Stopped {
    let text = by_flags(&failed.to_string());
    // Most say themselves which file they are about.
    let told = if text.contains(place) { text } else { format!("{place}: {text}") };
    Stopped::because(failed.reason, told)
}

/// `archive`: what is written is one file, as a whole or not at all.
fn report(place: &str, outcome: &Outcome, linked: u64, how: &How, archive: bool) -> Result<(), Stopped> {
    let Outcome { images, repositories, manifests, blobs, bytes, mounted, there, failures, reasons } = outcome;
    if how.json {
        let blobs = json!({ "copied": blobs, "bytes": bytes, "mounted": mounted, "there": there, "linked": linked });
        out!(
            "{}",
            json!({
                "place": place, "dryRun": how.dry_run, "repositories": repositories, "images": images,
                "manifests": manifests, "blobs": blobs, "failures": failures,
            })
        );
    } else if !how.quiet {
        let would = if how.dry_run { "would be " } else { "" };
        out!(
            "{images} images of {repositories} repositories: {blobs} blobs {would}copied ({}), {} of another repository, \
             {there} there already; {manifests} manifests {would}written",
            ByteSize(*bytes).display().iec(),
            mounted.saturating_sub(linked)
        );
        if linked > 0 {
            out!(
                "{linked} blobs share their files with the data directory: change neither their owner nor their mode, or use --copy"
            );
        }
    }
    if failures.is_empty() {
        return Ok(());
    }
    failures.iter().for_each(|failure| note!("{}", by_flags(failure)));
    let rest = match (how.dry_run, archive) {
        _ if images + manifests + blobs + mounted + there == 0 => "nothing was copied".into(),
        (true, _) => "all else would be copied".into(),
        (false, true) => format!("{place} was not written: name a directory to have all else"),
        (false, false) => "all else was copied, and the same command goes on with the rest".into(),
    };
    let count = failures.len();
    let plural = if count == 1 { "" } else { "s" };
    Err(Stopped::because_of(reasons, format!("{place}: {count} failure{plural}, as the lines above say; {rest}")))
}
