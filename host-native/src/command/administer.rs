//! What an administrator asks for beside serving: settings checked and shown, users, rights explained, a reload.

use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use orlop_core::record::FORMAT;
use orlop_core::{CheckReport, Damage};

use crate::auth::identity::{Identities, users};
use crate::auth::rules::{Rules, Telling, explain as explain_rules, named};
use crate::command::cli::{Backup, Blob, Explain, Migrate, Mirror, Stored, UserCommand};
use crate::command::config::{Effective, places_of_rules, with_places};
use crate::command::control::{self, Request};
use crate::command::mirror::Mirrors;
use crate::command::storage::by_server_or_here;
use crate::command::{check, integrity, process, scrub};
use crate::request::live::Current;
use crate::server::tls;
use crate::settings::{Auth, Options, Settings};
use crate::storage::{self, Host};

type Done = Result<(), Box<dyn Error>>;

/// `orlop config check`: the settings and every file they name, as a server would read them.
///
/// # Errors
///
/// With what is wrong.
pub fn check(settings: &Settings, effective: &[Effective], file: Option<&Path>, warnings: &[String]) -> Done {
    let checked = check::check(settings, None).map_err(|reason| with_places(&reason, effective))?;
    for warning in warnings.iter().chain(&checked.warnings).chain(&tls::ends_soon(&settings.tls)) {
        out!("warning: {warning}");
    }
    match file {
        Some(file) => out!("{} is in order", file.display()),
        None => out!("the settings are in order; there is no configuration file"),
    }
    Ok(())
}

/// `orlop config show`
///
/// # Errors
///
/// None.
pub fn show(effective: &[Effective]) -> Done {
    effective.iter().for_each(|setting| out!("{setting}"));
    Ok(())
}

/// `orlop user …`
///
/// # Errors
///
/// When there is no password file, or what is asked cannot be done.
pub fn user(asked: &UserCommand) -> Done {
    match asked {
        UserCommand::Add(named) => users::add(password_file(&named.auth)?, &named.name, named.bcrypt)?,
        UserCommand::Passwd(named) => {
            users::passwd(password_file(&named.auth)?, &named.name, named.bcrypt)?;
            let name = &named.name;
            note!("sessions of {name} end; API tokens stay: `orlop token revoke --user {name}` revokes them");
        }
        UserCommand::Remove(removed) => {
            users::remove(password_file(&removed.auth)?, &removed.name)?;
            let name = &removed.name;
            note!(
                "API tokens of {name} are refused from now on; before another user gets the name, revoke them with `orlop \
                 token revoke --user {name}`"
            );
        }
        UserCommand::List(listed) => {
            users::list(password_file(&listed.auth)?)?.iter().for_each(|name| out!("{name}"));
        }
    }
    Ok(())
}

fn password_file(auth: &Auth) -> Result<&Path, String> {
    let path = auth.htpasswd.as_deref();
    path.ok_or_else(|| "no password file is set: set auth-htpasswd, in the configuration file or as a flag".into())
}

/// `orlop access explain`
///
/// # Errors
///
/// When the settings are wrong, or there can be no such repository or tag.
pub fn explain(asked: &Explain, effective: &[Effective]) -> Done {
    let identities = Identities::new(&asked.auth)?;
    let can_be_known = identities.can_ask() || asked.tls.client_ca.is_some();
    let rules = Rules::new(&asked.auth, can_be_known)?;
    let identity = named(&asked.user, asked.in_group.clone());
    if identity.user_name().is_some_and(|user| !identities.may_be(user)) {
        out!("there is no user {identity}; if there were:");
    }
    let name = asked.repository.parse().map_err(|_| format!("`{}` is not a repository name", asked.repository))?;
    let tag =
        asked.tag.as_ref().map(|tag| tag.parse().map_err(|_| format!("`{tag}` is not a tag name"))).transpose()?;
    let places = places_of_rules(effective);
    let written = |at: usize| places.get(at).map(|(origin, text)| format!("{origin}: {text}"));
    let told = explain_rules(&rules, &identity, asked.action, &name, tag.as_ref(), Telling::Places(&written));
    told.lines.iter().for_each(|line| out!("{line}"));
    Ok(())
}

/// `orlop backup`
///
/// # Errors
///
/// When no server has the data directory open, or the backup fails.
pub fn back_up(backup: &Backup) -> Done {
    out!("{}", control::ask(&backup.data, Request::Backup)?);
    Ok(())
}

/// `orlop reload`: checks the settings, and has the server that has the data directory open read them again.
///
/// # Errors
///
/// When the settings are wrong, here or for the server, or no server runs there.
pub fn reload(settings: &Settings, effective: &[Effective], file: Option<&Path>, warnings: &[String]) -> Done {
    check(settings, effective, file, warnings)?;
    out!("{}", control::ask(&settings.storage.data, Request::Reload)?);
    Ok(())
}

/// `orlop check`
///
/// # Errors
///
/// When something is wrong with what is stored, or it cannot be read.
pub fn check_stored(asked: &Stored) -> Done {
    let here = async |host: &Arc<Host>| {
        let lines = host.examine().await.map_err(|fault| fault.to_string())?;
        // The report alone, if a program reads it.
        lines.iter().filter(|_| !asked.json).for_each(|line| out!("{line}"));
        integrity::check_all(host).await
    };
    let told = by_server_or_here(&asked.data, &Options::default(), Request::Check, here)?;
    let report: CheckReport = serde_json::from_str(&told)?;
    out!("{}", if asked.json { told } else { text(&report) });
    match (&report.fault, report.problems) {
        (Some(fault), _) => Err(format!("the check ended early, run it again: {fault}").into()),
        (None, 0) => Ok(()),
        (None, problems) => Err(format!("{problems} problems found").into()),
    }
}

/// `orlop migrate`
///
/// # Errors
///
/// When the storage cannot be used, or has a format that this version does not know.
pub fn migrate(asked: &Migrate) -> Done {
    let data = &asked.data;
    if let Some(engines) = data.engines.engines()? {
        out!("{}", process::runtime()?.block_on(storage::migrate(&engines))?);
    }
    // What opens the records refuses every format but its own.
    let here = async |_: &Arc<Host>| {
        Ok(format!("the records have format {FORMAT}, the newest that this version of Orlop knows"))
    };
    if data.engines.engines()?.is_none() && storage::holder(&data.directory).is_some() {
        out!("a server has {} open, so its format is the one of that version: nothing to do", data.directory.display());
        return Ok(());
    }
    out!("{}", by_server_or_here(data, &Options::default(), Request::Check, here)?);
    Ok(())
}

/// `orlop mirror …`: by the server that has the data directory open, or else by this process.
///
/// # Errors
///
/// With what could not be done.
pub fn mirror(mirror: &Mirror) -> Done {
    let (asked, settings) = (mirror.asked(), mirror.settings());
    let request = Request::Mirror(asked.clone());
    let here = async |host: &Arc<Host>| {
        let live = check::check(settings, None)?.live;
        Mirrors::from(Current::new(live).mirrors()).perform(host, &asked).await
    };
    out!("{}", by_server_or_here(&settings.storage.data, &settings.options(), request, here)?);
    Ok(())
}

/// `orlop blob`
///
/// # Errors
///
/// When there is no such blob, or the records cannot be read.
pub fn locate_blob(asked: &Blob) -> Done {
    let digest = asked.digest;
    let here = async |host: &Arc<Host>| integrity::locate(host, digest).await;
    out!("{}", by_server_or_here(&asked.data, &Options::default(), Request::Blob(digest), here)?);
    Ok(())
}

/// `orlop scrub`
///
/// # Errors
///
/// When something is damaged that was not known to be, or the storage cannot be read.
pub fn scrub(asked: &Stored) -> Done {
    let here = async |host: &Arc<Host>| scrub::scrub_here(host).await;
    let told = by_server_or_here(&asked.data, &Options::default(), Request::Scrub, here)?;
    let report: scrub::Scrub = serde_json::from_str(&told)?;
    out!("{}", if asked.json { told } else { report.text() });
    match (report.fault, report.findings.len()) {
        (Some(fault), _) => {
            Err(format!("not everything was read; see to the storage and run it again: {fault}").into())
        }
        (None, 0) => Ok(()),
        (None, 1) => Err("1 is damaged that was not known to be".into()),
        (None, many) => Err(format!("{many} are damaged that were not known to be").into()),
    }
}

/// `orlop damaged`
///
/// # Errors
///
/// When the records cannot be read.
pub fn damaged(asked: &Stored) -> Done {
    let here = async |host: &Arc<Host>| scrub::list_damaged(host).await;
    let told = by_server_or_here(&asked.data, &Options::default(), Request::Damaged, here)?;
    let listed: Vec<Damage> = serde_json::from_str(&told)?;
    out!("{}", if asked.json { scrub::json(&listed)? } else { scrub::table(&listed) });
    Ok(())
}

fn text(report: &CheckReport) -> String {
    let mut text = scrub::findings(&report.findings);
    // A string takes everything.
    let _ = write!(text, "{report}");
    if report.problems > 0 {
        text.push_str(CURE);
    }
    text
}

const CURE: &str = "\nWhat is damaged is out of use once a scrub has found it (`orlop scrub`), so that the next push, or a \
                    mirror, brings it again. Or restore the data directory from a backup.";
