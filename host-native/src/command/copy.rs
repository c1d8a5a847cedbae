//! `orlop copy`: an image goes from one place to another.

mod logins;
mod places;
mod progress;
mod status;

use std::error::Error;

use bytesize::ByteSize;
use serde_json::json;

pub(super) use self::logins::Logins;
use self::places::{Target, open_source, open_target, told};
pub(super) use self::progress::Progress;
pub use self::status::Stopped;
use crate::command::cli::Copy;
use crate::command::process;
use crate::copy::{Copied, Copying, Failed, Place};

/// Copies an image, as the command line has it.
///
/// # Errors
///
/// [`Stopped`] when something was not copied: with what, and why.
pub fn copy(asked: &Copy) -> Result<(), Box<dyn Error>> {
    // A copy that is dropped removes its unfinished files.
    let number = match process::until_signal(run(asked), async {})? {
        Ok(done) => return Ok(done?),
        Err(number) => number,
    };
    let told = match Place::parse(&asked.destination, asked.trust.plain_http) {
        Ok(place) if place.is_archive() => "interrupted; no archive was written",
        _ => "interrupted; what has been copied stays, and the same command goes on with the rest",
    };
    Err(Stopped::signal(number, told.into()).into())
}

async fn run(asked: &Copy) -> Result<(), Stopped> {
    let place = |text| Place::parse(text, asked.trust.plain_http).map_err(Stopped::usage);
    let (from, to) = (place(&asked.source)?, place(&asked.destination)?);
    let logins = Logins::find(asked.trust.authfile.as_deref())?;
    let source = open_source(&from, asked, &logins).await?;
    let reference = match &from {
        Place::Registry { reference, .. } => reference.as_deref().unwrap_or("latest"),
        Place::Layout(_, reference) | Place::LayoutArchive(_, reference) | Place::DockerArchive(_, reference) => {
            reference.as_deref().unwrap_or_default()
        }
    };
    let (target, tag) = open_target(&to, asked, &logins, tag_of(&from, reference), from.image_name(reference)).await?;
    let progress = Progress::new(asked.quiet);
    let copying = Copying {
        source: source.as_ref(),
        destination: target.destination(),
        platform: asked.platform.clone(),
        platforms: &[],
        referrers: asked.referrers,
        mends: true,
        dry_run: asked.dry_run,
        told: &progress,
    };
    let copied = copying.copy(reference, tag.as_deref()).await;
    progress.end();
    let copied = copied.map_err(|failed| told(side(asked, &failed), &failed))?;
    if let (Target::Archive(archive), true) = (target, copied.failures.is_empty()) {
        let finished = archive.finish(&copied.digest).await;
        finished.map_err(|failure| told(&asked.destination, &Failed::writing(failure)))?;
    }
    report(asked, &to, &copied)
}

/// The tag of the source, if it has one: neither a digest nor the whole name of an image of docker's.
fn tag_of(from: &Place, reference: &str) -> Option<String> {
    let of_file = reference.rsplit_once(':').map_or(reference, |(_, tag)| tag);
    let tag = if matches!(from, Place::DockerArchive(..)) { of_file } else { reference };
    Some(tag.to_owned()).filter(|tag| tag.parse::<orlop_core::name::Tag>().is_ok())
}

/// Which of the two places a failure is of, as it was written.
fn side<'a>(asked: &'a Copy, failed: &Failed) -> &'a str {
    if failed.writing { &asked.destination } else { &asked.source }
}

fn report(asked: &Copy, to: &Place, copied: &Copied) -> Result<(), Stopped> {
    let count = |count: usize, of: &str| format!("{count} {of}{}", if count == 1 { "" } else { "s" });
    if asked.json {
        out!("{}", as_json(asked, copied));
    } else if !asked.quiet {
        let would = if asked.dry_run { "would be " } else { "" };
        let size = ByteSize(copied.bytes).display().iec();
        let mut line = format!("{} {would}copied ({size})", count(copied.blobs, "blob"));
        for (counted, how) in [(copied.mounted, "mounted"), (copied.there, "there already")] {
            if counted > 0 {
                line.push_str(&format!(", {counted} {how}"));
            }
        }
        out!("{line}; {} {would}written", count(copied.manifests, "manifest"));
    }
    if copied.failures.is_empty() {
        if !asked.quiet && !asked.json {
            out!("{}", copied.digest);
        }
        return Ok(());
    }
    copied.failures.iter().for_each(|failure| note!("{failure}"));
    let failed = count(copied.failures.len(), "content");
    let told = if to.is_archive() {
        format!("{} was not copied: {failed} failed, as the lines above say; no archive was written", asked.source)
    } else {
        format!(
            "{} was not copied as a whole: {failed} failed, as the lines above say; all else was copied, and the same \
             command goes on with the rest",
            asked.source
        )
    };
    Err(Stopped::because_of(&copied.reasons, told))
}

/// What came of a copy, for programs.
fn as_json(asked: &Copy, copied: &Copied) -> serde_json::Value {
    json!({
        "source": asked.source,
        "destination": asked.destination,
        "dryRun": asked.dry_run,
        "digest": copied.digest.to_string(),
        "blobs": { "copied": copied.blobs, "bytes": copied.bytes, "mounted": copied.mounted, "there": copied.there },
        "manifests": copied.manifests,
        "failures": copied.failures,
    })
}
