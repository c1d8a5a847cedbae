//! `orlop copy`: an image goes from one place to another.

mod logins;
mod progress;

use std::error::Error;
use std::path::{Path, PathBuf};

use bytesize::ByteSize;
use tokio::signal::ctrl_c;

use self::logins::Logins;
use self::progress::Progress;
use crate::command::cli::Copy;
use crate::command::process;
use crate::copy::{Archive, Copied, Copying, Destination, Layout, Place, Repository, Source};
use crate::remote::{Failure, Remote};
use crate::settings::{LoginSetting, RemoteSetting};

/// Copies an image, as the command line has it.
///
/// # Errors
///
/// When something was not copied: with what, and why.
pub fn copy(asked: &Copy) -> Result<(), Box<dyn Error>> {
    process::runtime()?.block_on(async {
        tokio::select! {
            done = run(asked) => done,
            interrupted = ctrl_c() => {
                interrupted?;
                Err("interrupted; what has been copied stays, and the same command goes on with the rest".into())
            }
        }
    })
}

async fn run(asked: &Copy) -> Result<(), Box<dyn Error>> {
    let source = Place::parse(&asked.source, asked.plain_http)?;
    let destination = Place::parse(&asked.destination, asked.plain_http)?;
    let logins = Logins::find(asked.authfile.as_deref())?;
    let (read, reference) = open_source(&source, asked, &logins).await?;
    // What would be written is found out from a layout that is thrown away, where there is none.
    let stand_in = tempfile::tempdir()?;
    let (write, tag) = open_destination(&destination, asked, &logins, stand_in.path()).await?;
    let reference = reference.unwrap_or_default();
    if tag.as_deref().is_some_and(|tag| tag.contains(':')) {
        return Err(format!("{}: a copy has its own digest: write a tag, or none", asked.destination).into());
    }
    // The tag of the source, if it has one: neither a digest nor the whole name of an image of docker's.
    let inherited = || {
        let of_file = reference.rsplit_once(':').map_or(reference.as_str(), |(_, tag)| tag);
        let tag = if matches!(source, Place::DockerArchive(..)) { of_file } else { &reference };
        Some(tag.to_owned()).filter(|tag| tag.parse::<orlop_core::name::Tag>().is_ok())
    };
    let tag = tag.or_else(inherited);
    let progress = Progress::new(asked.quiet);
    let copying = Copying {
        source: read.as_ref(),
        destination: write.as_ref(),
        platform: asked.platform.clone(),
        platforms: &[],
        referrers: asked.referrers,
        dry_run: asked.dry_run,
        told: &progress,
    };
    let copied = copying.copy(&reference, tag.as_deref()).await;
    progress.end();
    report(asked, &copied.map_err(|failure| told(&asked.source, failure))?)
}

fn report(asked: &Copy, copied: &Copied) -> Result<(), Box<dyn Error>> {
    let would = if asked.dry_run { "would be " } else { "" };
    let count = |count: usize, of: &str| format!("{count} {of}{}", if count == 1 { "" } else { "s" });
    let size = ByteSize(copied.bytes).display().iec();
    let mut line = format!("{} {would}copied ({size})", count(copied.blobs, "blob"));
    for (counted, how) in [(copied.mounted, "mounted"), (copied.there, "there already")] {
        if counted > 0 {
            line.push_str(&format!(", {counted} {how}"));
        }
    }
    line.push_str(&format!("; {} {would}written", count(copied.manifests, "manifest")));
    if !asked.quiet {
        println!("{line}");
    }
    if copied.failures.is_empty() {
        if !asked.quiet {
            println!("{}", copied.digest);
        }
        return Ok(());
    }
    copied.failures.iter().for_each(|failure| eprintln!("{failure}"));
    Err(format!(
        "{} was not copied as a whole: {} failed, as the lines above say; all else was copied, and the same command goes on \
         with the rest",
        asked.source,
        count(copied.failures.len(), "content")
    )
    .into())
}

/// The place that is read, and what is asked for there.
async fn open_source(
    place: &Place,
    asked: &Copy,
    logins: &Logins,
) -> Result<(Box<dyn Source>, Option<String>), Box<dyn Error>> {
    let wrong = |failure| told(&asked.source, failure);
    Ok(match place {
        Place::Registry { url, repository, reference } => {
            let mine = asked.src_username.clone().zip(asked.src_password_file.clone());
            let repository = open_repository(url, repository, mine, asked, logins).await?;
            (Box::new(repository), reference.clone().or(Some("latest".into())))
        }
        Place::Layout(path, reference) => (Box::new(Layout::open(path).await.map_err(wrong)?), reference.clone()),
        Place::LayoutArchive(path, reference) => {
            (Box::new(Layout::in_archive(path).await.map_err(wrong)?), reference.clone())
        }
        Place::DockerArchive(path, reference) => {
            (Box::new(Archive::open(path).await.map_err(wrong)?), reference.clone())
        }
    })
}

/// The place that is written to, and the tag there.
async fn open_destination(
    place: &Place,
    asked: &Copy,
    logins: &Logins,
    stand_in: &Path,
) -> Result<(Box<dyn Destination>, Option<String>), Box<dyn Error>> {
    let wrong = |failure| told(&asked.destination, failure);
    Ok(match place {
        Place::Registry { url, repository, reference } => {
            let mine = asked.dest_username.clone().zip(asked.dest_password_file.clone());
            (Box::new(open_repository(url, repository, mine, asked, logins).await?), reference.clone())
        }
        Place::Layout(path, reference) => {
            let path = if asked.dry_run && !path.exists() { stand_in } else { path };
            (Box::new(Layout::create(path).await.map_err(wrong)?), reference.clone())
        }
        Place::LayoutArchive(..) | Place::DockerArchive(..) => {
            let cure = "archives are only read; write a layout, oci:DIRECTORY, and put it into an archive by tar";
            return Err(format!("{}: {cure}", asked.destination).into());
        }
    })
}

async fn open_repository(
    url: &str,
    name: &str,
    mine: Option<(String, PathBuf)>,
    asked: &Copy,
    logins: &Logins,
) -> Result<Repository, Box<dyn Error>> {
    let setting = RemoteSetting::new(url)?;
    let login = match mine {
        Some((username, file)) => LoginSetting::PasswordFile { username, file },
        None => logins.of(&setting.url, name).await?,
    };
    let (realms, ca) = (asked.realms.clone(), asked.ca.clone());
    let setting = RemoteSetting { login, realms, allow_private: asked.allow_private, ca, ..setting };
    Ok(Repository { remote: Remote::open(&setting)?, name: name.to_owned() })
}

/// A failure, with the option that helps.
fn told(place: &str, failure: Failure) -> String {
    let reason = failure.to_string().replace("to its realms", "by --realm").replace("allow-private", "--allow-private");
    format!("{place}: {reason}")
}
