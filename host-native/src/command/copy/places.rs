//! The two places of a copy, opened: where the image is, and where it goes.

use std::path::{Path, PathBuf};

use super::logins::Logins;
use super::status::Stopped;
use crate::command::cli::Copy;
use crate::copy::{
    Archive, Destination, Failed, Format, Layout, Packed, Place, Repository, Source, Unwritten, image_name,
};
use crate::remote::{Failure, Remote};
use crate::settings::{LoginSetting, RemoteSetting};

/// Where an image goes.
pub(super) enum Target {
    /// A registry, a directory, or nowhere.
    Direct(Box<dyn Destination>),
    /// An archive, which is finished at the end.
    Archive(Packed),
}

impl Target {
    pub(super) fn destination(&self) -> &dyn Destination {
        match self {
            Self::Direct(destination) => destination.as_ref(),
            Self::Archive(archive) => archive,
        }
    }
}

/// The place that is read.
pub(super) async fn open_source(place: &Place, asked: &Copy, logins: &Logins) -> Result<Box<dyn Source>, Stopped> {
    let wrong = |path: &Path, failure: Failure| {
        let failed = if path.exists() { Failed::reading(failure) } else { Failed::missing(failure.to_string()) };
        told(&asked.source, &failed)
    };
    Ok(match place {
        Place::Registry { url, repository, .. } => {
            let mine = asked.src_username.clone().zip(asked.src_password_file.clone());
            Box::new(open_repository(url, repository, mine, asked, logins).await?)
        }
        Place::Layout(path, _) => Box::new(Layout::open(path).await.map_err(|failure| wrong(path, failure))?),
        Place::LayoutArchive(path, _) => {
            Box::new(Layout::in_archive(path).await.map_err(|failure| wrong(path, failure))?)
        }
        Place::DockerArchive(path, _) => Box::new(Archive::open(path).await.map_err(|failure| wrong(path, failure))?),
    })
}

/// The place that is written to, and the tag there. `inherited` is the tag of the source, and `name` what the image is
/// called there.
pub(super) async fn open_target(
    place: &Place,
    asked: &Copy,
    logins: &Logins,
    inherited: Option<String>,
    name: Option<String>,
) -> Result<(Target, Option<String>), Stopped> {
    let wrong = |failure| told(&asked.destination, &Failed::writing(failure));
    if let Place::DockerArchive(path, named) = place {
        if asked.referrers {
            let cure = "`docker load` takes an image without what refers to it: leave --referrers out";
            return Err(Stopped::usage(format!("{}: {cure}", asked.destination)));
        }
        let named = named.as_deref().map(image_name).transpose().map_err(Stopped::usage)?.or(name);
        let tag = named.as_deref().and_then(|name| Some(name.rsplit_once(':')?.1.to_owned()));
        return Ok((open_archive(path, Format::Docker(named), asked.dry_run).await.map_err(wrong)?, tag));
    }
    let (Place::Registry { reference, .. }
    | Place::Layout(_, reference)
    | Place::LayoutArchive(_, reference)
    | Place::DockerArchive(_, reference)) = place;
    if reference.as_deref().is_some_and(|reference| reference.contains(':')) {
        let cure = "a copy has its own digest: write a tag, or none";
        return Err(Stopped::usage(format!("{}: {cure}", asked.destination)));
    }
    let target = match place {
        Place::Registry { url, repository, .. } => {
            let mine = asked.dest_username.clone().zip(asked.dest_password_file.clone());
            Target::Direct(Box::new(open_repository(url, repository, mine, asked, logins).await?))
        }
        Place::Layout(path, _) if asked.dry_run => match Layout::find(path).await.map_err(wrong)? {
            Some(layout) => Target::Direct(Box::new(layout)),
            None => Target::Direct(Box::new(Unwritten(Format::Layout))),
        },
        Place::Layout(path, _) => Target::Direct(Box::new(Layout::create(path).await.map_err(wrong)?)),
        Place::LayoutArchive(path, _) | Place::DockerArchive(path, _) => {
            open_archive(path, Format::Layout, asked.dry_run).await.map_err(wrong)?
        }
    };
    Ok((target, reference.clone().or(inherited)))
}

async fn open_archive(path: &Path, format: Format, dry_run: bool) -> Result<Target, Failure> {
    if dry_run {
        return Ok(Target::Direct(Box::new(Unwritten(format))));
    }
    Packed::create(path, format).await.map(Target::Archive)
}

async fn open_repository(
    url: &str,
    name: &str,
    mine: Option<(String, PathBuf)>,
    asked: &Copy,
    logins: &Logins,
) -> Result<Repository, Stopped> {
    let setting = RemoteSetting::new(url)?;
    let login = match mine {
        Some((username, file)) => LoginSetting::PasswordFile { username, file },
        None => logins.of(&setting.url, name).await?,
    };
    let setting = RemoteSetting {
        login,
        realms: asked.trust.realms.clone(),
        redirects: asked.redirects.clone(),
        allow_private: asked.allow_private,
        ca: asked.trust.ca.clone(),
        ..setting
    };
    Ok(Repository { remote: Remote::open(&setting)?, name: name.to_owned() })
}

/// A failure of a place, with the option that helps.
pub(super) fn told(place: &str, failed: &Failed) -> Stopped {
    let reason = failed.to_string().replace("to its realms", "by --realm").replace("to its redirects", "by --redirect");
    Stopped::because(failed.reason, format!("{place}: {reason}"))
}
