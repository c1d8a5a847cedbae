//! `orlop import distribution` and `orlop import s3`: the data of distribution or docker-registry is taken over, from a
//! directory or a bucket.
//!
//! All of it is looked at before anything is changed: whether it is such a directory, whether something writes to it,
//! what cannot be read, what is broken. Then the same way is gone twice more, and what is new is taken over page by page:
//! first the blobs, whose large pages are put in the order of their digests, so that neighbors among the records are
//! written together; then manifests and tags. A page is committed after its files are objects; so whoever kills the import
//! leaves at most the objects of two pages without records, for garbage collection, and the next import goes on from there.

mod fetch;
mod known;
mod progress;
mod report;
mod target;
mod walk;

use std::collections::HashSet;
use std::error::Error;
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::{fmt, io};

use bytesize::ByteSize;
use orlop_core::takeover::Presence;
use orlop_core::{Config, Registry};
use tokio::runtime::Handle;

use self::known::{Known, Unchanged};
use self::progress::Progress;
use self::report::Report;
use self::target::{Ready, Taker, Target};
use self::walk::{Out, Page, Part, Walk};
use crate::command::check::data_directory;
use crate::command::cli::{Distribution, S3, Taking};
use crate::command::owner::Owner;
use crate::command::process;
use crate::command::storage::agree;
use crate::distribution::{Kind, Reader, Source, activity};
use crate::observe::log;
use crate::settings::{Data, LogFormat, ObjectsOption, Options};
use crate::storage::{self, Bucket, Host, Means, means};

/// How many bytes of records are held in memory, and how many bytes their log has before they are moved into their file:
/// an import writes millions of them.
const RECORD_CACHE: usize = 16 << 20;
const RECORD_LOG: u64 = 64 << 20;

/// Of how many blobs at least so many must be there.
const MOST: u64 = 2;

/// What is broken, with `--strict`.
#[derive(Debug)]
pub struct Broken {
    found: u64,
    /// It has broken since all was looked at, and the rest was taken over.
    taken: bool,
}

impl Broken {
    /// The exit status of the process.
    pub fn status(&self) -> u8 {
        3
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let left = match self.taken {
            false => "nothing was changed",
            true => "since everything was looked at; the rest was imported",
        };
        let things = if self.found == 1 { "thing is" } else { "things are" };
        write!(f, "{} {things} broken there, and --strict is given: {left}", self.found)
    }
}

impl Error for Broken {}

/// Takes over a data directory.
///
/// # Errors
///
/// With what could not be done.
pub(super) fn import(asked: &Distribution) -> Result<(), Box<dyn Error>> {
    let directory = target(&asked.data)?;
    let source = Source::open(&asked.source)?;
    apart(&source, directory)?;
    free(directory)?;
    idle(&source, &asked.source, &asked.how)?;
    let how = How { copy: asked.copy, ..How::of(&asked.how, asked.source.clone(), asked.verify) };
    let _log = log::start("warn".parse()?, LogFormat::Text);
    process::runtime_of_a_command()?.block_on(Asked::new(source, None, how, &asked.data).done())
}

/// Takes over a bucket.
///
/// # Errors
///
/// With what could not be done.
pub(super) fn import_bucket(asked: &S3) -> Result<(), Box<dyn Error>> {
    free(target(&asked.data)?)?;
    let _log = log::start("warn".parse()?, LogFormat::Text);
    process::runtime()?.block_on(async {
        let options: Vec<_> = asked.source_option.iter().map(ObjectsOption::pair).collect();
        let bucket = Arc::new(Bucket::open(&asked.source, &options, asked.source_ca.as_deref()).await?);
        let root = PathBuf::from(asked.source.trim_end_matches('/'));
        let how = How::of(&asked.how, root.clone(), asked.verify);
        let (tree, taking) = (bucket.clone(), asked.how.clone());
        let source = tokio::task::spawn_blocking(move || {
            let source = Source::remote(&root, tree)?;
            idle(&source, &root, &taking).map(|()| source)
        });
        Asked::new(source.await??, Some(bucket), how, &asked.data).done().await
    })
}

/// The data directory that it is to go to.
fn target(data: &Data) -> Result<&PathBuf, Box<dyn Error>> {
    if data.engines.engines()?.is_some() {
        return Err(
            "other registries are imported into a data directory: import without records and objects, and then move the \
            registry by `orlop move --to shared`"
                .into(),
        );
    }
    data_directory(&data.directory)?;
    Ok(&data.directory)
}

/// Sees to it that no server uses the data directory.
fn free(directory: &Path) -> Result<(), String> {
    match storage::holder(directory) {
        None => Ok(()),
        Some(_) => {
            let shown = directory.display();
            Err(format!("a server has {shown} open: stop it, import, and start it again"))
        }
    }
}

/// Sees to it that nothing writes to the source, unless that is known.
fn idle(source: &Source, shown: &Path, how: &Taking) -> Result<(), String> {
    if how.read_only || how.live {
        return Ok(());
    }
    match activity(source) {
        None => Ok(()),
        Some(active) => Err(format!(
            "{} is being written to: {active}; make it read-only, or stop it, and say --read-only; or import what is there now \
             with --live, and once more when it is read-only",
            shown.display()
        )),
    }
}

/// How it is to be done.
#[derive(Clone, Debug)]
struct How {
    shown: PathBuf,
    dry_run: bool,
    strict: bool,
    verify: bool,
    copy: bool,
    live: bool,
    incomplete: bool,
    json: bool,
    report: Option<PathBuf>,
}

impl How {
    fn of(asked: &Taking, shown: PathBuf, verify: bool) -> Self {
        let Taking { dry_run, strict, live, incomplete, json, report, .. } = asked.clone();
        Self { shown, dry_run, strict, verify, copy: false, live, incomplete, json, report }
    }
}

/// What is asked for, once it was looked at.
struct Asked {
    source: Source,
    /// What the source is in, if that is a bucket.
    bucket: Option<Arc<Bucket>>,
    owner: Owner,
    directory: PathBuf,
    how: How,
    place: String,
}

/// How much there is to take over.
#[derive(Default)]
struct Survey {
    things: u64,
    unchanged: Unchanged,
    copied: u64,
    copied_bytes: u64,
    private: u64,
}

type Failed = Box<dyn Error + Send + Sync>;

impl Asked {
    fn new(source: Source, bucket: Option<Arc<Bucket>>, how: How, data: &Data) -> Self {
        let directory = data.directory.clone();
        Self { source, bucket, owner: Owner::of(&directory), directory, how, place: data.place() }
    }

    async fn done(self) -> Result<(), Box<dyn Error>> {
        let handle = Handle::current();
        // It waits for disks all the time.
        let done = tokio::task::spawn_blocking(move || self.import(&handle)).await?;
        done.map_err(|failed| -> Box<dyn Error> { failed })
    }

    fn import(&self, handle: &Handle) -> Result<(), Failed> {
        let How { dry_run, strict, .. } = self.how;
        self.can_report()?;
        let there = self.directory.join("FORMAT").exists();
        let mut target = if there { Some(self.open(handle)?) } else { None };
        let (means, reason) = self.means()?;
        let mut known = Known::default();
        // Blobs are hashed once: when they are taken over, unless nothing is to be changed before it is known. Those that
        // come from a bucket are always hashed then, so that it is the other time that is asked for.
        let verify = match self.bucket {
            None => self.how.verify && (dry_run || strict),
            Some(_) => self.how.verify || strict,
        };
        let (survey, report) = self.survey(target.as_ref(), means, verify, &mut known)?;
        self.refuse(&survey, &report, means, &reason)?;
        if strict && report.broken > 0 {
            self.tell(&report)?;
            return Err(Broken { found: report.broken, taken: false }.into());
        }
        if dry_run {
            return self.tell(&report);
        }
        let target = match target.take() {
            Some(target) => target,
            None => self.open(handle)?,
        };
        let mut taken = self.take(&target, !there, means, survey, &mut known);
        if !self.how.verify && self.bucket.is_none() && taken.as_ref().is_ok_and(|report| report.blobs > 0) {
            taken = target.scrub_anew().and(taken);
        }
        drop(target);
        // Also what an import has made that failed is the server's.
        self.owner.give(&self.directory)?;
        let taken = taken?;
        self.tell(&taken)?;
        if strict && taken.broken > 0 {
            return Err(Broken { found: taken.broken, taken: true }.into());
        }
        if self.how.live {
            note!(
                "{} was being written to: make it read-only and run this once more with --read-only in place of --live",
                self.how.shown.display()
            );
        }
        Ok(())
    }

    fn open(&self, handle: &Handle) -> Result<Target, Failed> {
        let options = Options { cache: RECORD_CACHE, log: RECORD_LOG, ..Options::default() };
        let host = Arc::new(Host::open(&self.directory, &options)?);
        handle.block_on(agree(&Registry::new(Config::default()), &host, &self.place))?;
        Ok(Target::new(host, handle.clone()))
    }

    /// How blobs can be taken over, and why not by links, if not so. It is tried where the data directory is or will be.
    fn means(&self) -> Result<(Means, String), Failed> {
        if self.source.is_remote() {
            return Ok((Means::Copy, String::new()));
        }
        let Some(file) = self.source.any_blob() else { return Ok((Means::Link, String::new())) };
        let absolute = std::path::absolute(&self.directory)?;
        let there = absolute.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/"));
        let trial = there.join(format!(".orlop-import-{}", std::process::id()));
        means(&file, &trial).map_err(|fault| fault.to_string().into())
    }

    /// Looks at everything, and changes nothing.
    fn survey(
        &self,
        target: Option<&Target>,
        means: Means,
        verify: bool,
        known: &mut Known,
    ) -> Result<(Survey, Report), String> {
        let (mut survey, mut seen) = (Survey::default(), HashSet::new());
        let progress = Progress::new("looking at what is there", None);
        let names = known.names.clone();
        let mut out = |page: Page, report: &mut Report| {
            survey.things += page.len();
            progress.done(page.len());
            let new: Vec<_> = page.blobs.iter().filter(|blob| seen.insert(names.of(&blob.digest))).collect();
            let digests: Vec<_> = new.iter().map(|blob| blob.digest).collect();
            let present = target.map_or_else(|| Ok(vec![Presence::Absent; digests.len()]), |t| t.present(&digests))?;
            for (blob, _) in new.iter().zip(present).filter(|(_, presence)| *presence != Presence::Here) {
                report.blobs += 1;
                report.blob_bytes += blob.size;
                survey.private += u64::from(blob.private);
                if means == Means::Copy || blob.private {
                    survey.copied += 1;
                    survey.copied_bytes += blob.size;
                }
            }
            report.links += page.blobs.len() as u64;
            report.manifests += page.manifests.len() as u64;
            match target {
                Some(target) => target.foretell(page.tags, report)?,
                None => report.tags += page.tags.len() as u64,
            }
            Ok(Vec::new())
        };
        let report = Report { dry_run: true, ..Report::default() };
        let walk = Walk {
            source: &self.source,
            target,
            part: Part::All,
            reader: self.reader(),
            verify,
            known,
            report,
            out: &mut out,
            page: Page::default(),
            damaged: target.map_or_else(|| Ok(HashSet::new()), |target| target.quarantined(&names))?,
            unchanged: Unchanged::default(),
            things: 0,
        };
        let (mut report, unchanged) = walk.learn()?;
        report.copied = survey.copied;
        survey.unchanged = unchanged;
        Ok((survey, report))
    }

    /// Whatever keeps it from being imported.
    fn refuse(&self, survey: &Survey, report: &Report, means: Means, reason: &str) -> Result<(), String> {
        let shown = self.how.shown.display();
        match report.count(Kind::Unreadable) {
            0 => {}
            some => {
                let mend = match self.bucket {
                    None => "run this as root, or let this user read them",
                    Some(_) => "let these credentials read them (s3:GetObject)",
                };
                return Err(format!(
                    "{some} files or directories cannot be read: {mend}; nothing was changed{}",
                    report.first(Kind::Unreadable)
                ));
            }
        }
        let missing = report.count(Kind::BlobMissing);
        let linked = missing + report.links;
        if missing * MOST > linked && !self.how.incomplete {
            return Err(format!(
                "{missing} of {linked} blobs and manifests that its repositories hold are missing in {shown}: copy it as a \
                 whole, or say --incomplete to import the rest; nothing was changed{}",
                report.first(Kind::BlobMissing)
            ));
        }
        if survey.private > 0 && means == Means::Link {
            note!(
                "{} blobs are copied and not linked: the owner of {} could not read them",
                survey.private,
                self.directory.display()
            );
        }
        if means == Means::Copy && survey.copied > 0 && !self.how.copy && self.bucket.is_none() {
            let size = ByteSize::b(survey.copied_bytes);
            if self.how.dry_run {
                note!("--copy is needed: blobs of {shown} cannot be linked, {reason}");
                return Ok(());
            }
            return Err(format!(
                "{} blobs of {shown} with {size} cannot be linked into {}: {reason}; say --copy to copy them, which takes that \
                 space; nothing was changed",
                survey.copied,
                self.directory.display()
            ));
        }
        self.room(survey.copied_bytes)
    }

    /// Whether there is room for what is copied.
    fn room(&self, bytes: u64) -> Result<(), String> {
        let there = std::path::absolute(&self.directory).unwrap_or_default();
        let there = there.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/"));
        let Ok(found) = rustix::fs::statvfs(there) else { return Ok(()) };
        let free = found.f_bavail.saturating_mul(found.f_frsize).saturating_sub(Options::default().keep_free);
        if bytes <= free {
            return Ok(());
        }
        Err(format!(
            "blobs with {} are to be copied, and {} are free for them in {}: make room; nothing was changed",
            ByteSize::b(bytes),
            ByteSize::b(free),
            there.display()
        ))
    }

    /// Takes over what is new.
    fn take(
        &self,
        target: &Target,
        fresh: bool,
        means: Means,
        survey: Survey,
        known: &mut Known,
    ) -> Result<Report, String> {
        let Survey { mut unchanged, things, .. } = survey;
        let progress = Progress::new("importing", Some(things - unchanged.things));
        let (source, bucket, owner) = (&self.source, self.bucket.as_deref(), self.owner);
        let names = &known.names.clone();
        let taker = Taker { target, source, bucket, owner, means, names, fresh };
        let mut here = HashSet::new();
        let damaged = target.quarantined(names)?;
        // Which blobs were found to have wrong bytes the walk must know before it goes on.
        let together = bucket.is_some() || !damaged.is_empty();
        let mut walk = |part, out: &mut Out<'_>| {
            // What the way for the blobs alone finds, the next one finds again.
            let report = if part == Part::Blobs { Report::default() } else { std::mem::take(&mut unchanged.report) };
            let walk = Walk {
                source,
                target: (!fresh).then_some(target),
                part,
                reader: self.reader(),
                verify: self.how.verify && bucket.is_none(),
                known,
                report,
                out,
                page: Page::default(),
                damaged: damaged.clone(),
                unchanged: unchanged.clone(),
                things: 0,
            };
            walk.go()
        };
        let record = |ready: Ready, report: &mut Report| {
            let things = ready.len();
            let wrong = taker.record(ready, report)?;
            progress.done(things);
            Ok::<_, String>(wrong)
        };
        if together {
            return walk(Part::All, &mut |page, report| record(taker.bring(page, &mut here, report)?, report));
        }
        // One page is recorded, the next is brought, and the one after that is looked for.
        std::thread::scope(|scope| {
            let (pages, found) = mpsc::sync_channel::<Page>(0);
            let (brought, ready) = mpsc::sync_channel::<Ready>(0);
            let bringing = scope.spawn(|| {
                let (mut report, brought) = (Report::default(), brought);
                for page in found {
                    // If whoever records them has failed, it says why.
                    if brought.send(taker.bring(page, &mut here, &mut report)?).is_err() {
                        break;
                    }
                }
                Ok::<_, String>(report)
            });
            let recording = scope.spawn(|| {
                let mut report = Report::default();
                ready.into_iter().try_for_each(|ready| record(ready, &mut report).map(drop))?;
                Ok::<_, String>(report)
            });
            let mut send = |page, _: &mut Report| match pages.send(page) {
                Ok(()) => Ok(Vec::new()),
                Err(_) => Err("it has failed".into()),
            };
            let walked = walk(Part::Blobs, &mut send).and_then(|_| walk(Part::Images, &mut send));
            drop(pages);
            // If one of them has failed, it is why the way ended.
            let panicked = |_| "an import panicked";
            let (brought, recorded) = (bringing.join().map_err(panicked)?, recording.join().map_err(panicked)?);
            let (recorded, brought) = (recorded?, brought?);
            let mut report = walked?;
            report.add(brought);
            report.add(recorded);
            Ok(report)
        })
    }

    fn reader(&self) -> Reader {
        Reader { user: self.owner.user, group: self.owner.group }
    }

    /// Whether the report can be written, before anything is done that takes long. What it has stays until then.
    fn can_report(&self) -> Result<(), String> {
        let Some(path) = &self.how.report else { return Ok(()) };
        let opened = OpenOptions::new().write(true).create(true).truncate(false).open(path);
        opened.map(drop).map_err(|error| unwritten(path, &error))
    }

    fn tell(&self, report: &Report) -> Result<(), Failed> {
        let json = report.json()?;
        out!("{}", if self.how.json { json.clone() } else { report.text() });
        match &self.how.report {
            Some(path) => Ok(fs::write(path, json + "\n").map_err(|error| unwritten(path, &error))?),
            None => Ok(()),
        }
    }
}

fn unwritten(path: &Path, error: &io::Error) -> String {
    format!("the report cannot be written to {}: {error}", path.display())
}

/// Sees to it that neither directory is in the other.
fn apart(source: &Source, directory: &Path) -> Result<(), String> {
    let absolute = std::path::absolute(directory).map_err(|error: io::Error| error.to_string())?;
    let there = absolute.ancestors().find_map(|path| Some((path.canonicalize().ok()?, path)));
    let resolved = match there {
        Some((resolved, path)) => resolved.join(absolute.strip_prefix(path).unwrap_or(Path::new(""))),
        None => absolute,
    };
    let inside = resolved.starts_with(source.whole()) || source.root().starts_with(&resolved);
    if inside {
        return Err(format!(
            "the data directory {} and {} are one in the other: name another with --data",
            directory.display(),
            source.whole().display()
        ));
    }
    Ok(())
}
