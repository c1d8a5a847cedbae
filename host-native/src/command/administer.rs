//! What an administrator asks for beside serving: settings checked and shown, users, rights explained, a reload.

use std::error::Error;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};

use crate::auth::identity::{Identities, Identity};
use crate::auth::rules::{Rules, explain as explain_rules};
use crate::command::cli::{Backup, Explain, Named};
use crate::command::config::Effective;
use crate::command::control;
use crate::request::live::Live;
use crate::server::tls::Tls;
use crate::settings::Settings;
use crate::storage;

type Done = Result<(), Box<dyn Error>>;

/// `orlop config check`: the settings and every file they name, as a server would read them.
///
/// # Errors
///
/// With what is wrong.
pub fn check(settings: &Settings, file: Option<&Path>) -> Done {
    for odd in sound(settings)? {
        println!("warning: {odd}");
    }
    match file {
        Some(file) => println!("{} is in order", file.display()),
        None => println!("the settings are in order; there is no configuration file"),
    }
    Ok(())
}

/// What is odd about settings that are in order.
fn sound(settings: &Settings) -> Result<Vec<String>, Box<dyn Error>> {
    let (_, odd) = Live::new(settings)?;
    Tls::open(&settings.tls)?;
    Ok(odd)
}

/// `orlop config show`
///
/// # Errors
///
/// None.
pub fn show(effective: &[Effective]) -> Done {
    effective.iter().for_each(|setting| println!("{setting}"));
    Ok(())
}

/// `orlop user …`
///
/// # Errors
///
/// When there is no password file, or what is asked cannot be done.
pub fn user(named: &Named, change: impl Fn(&Path, &str, bool) -> Result<(), String>) -> Done {
    let path = named.auth.htpasswd.as_deref();
    let path = path.ok_or("which password file? Set auth-htpasswd, in the configuration file or as a flag")?;
    Ok(change(path, &named.name, named.bcrypt)?)
}

/// `orlop access explain`
///
/// # Errors
///
/// When the settings are wrong, or there can be no such repository or tag.
pub fn explain(asked: &Explain) -> Done {
    let identities = Identities::new(&asked.auth)?;
    let can_be_known = identities.can_ask() || asked.tls.client_ca.is_some();
    let rules = Rules::new(&asked.auth.rules, &asked.auth.groups, can_be_known)?;
    let identity = match (asked.user.as_str(), asked.user.strip_prefix("certificate:")) {
        ("anonymous", _) => Identity::anonymous(),
        (_, Some(name)) => Identity::anonymous().with_certificate(vec![name.to_owned()]),
        (name, None) => Identity::user(name),
    };
    if identity.user_name().is_some_and(|user| !identities.may_be(user)) {
        println!("there is no user {identity}; if there were:");
    }
    let name = asked.repository.parse().map_err(|_| format!("no repository is called `{}`", asked.repository))?;
    let tag = asked.tag.as_ref().map(|tag| tag.parse().map_err(|_| format!("no tag is called `{tag}`"))).transpose()?;
    print!("{}", explain_rules(&rules, &identity, asked.action, &name, tag.as_ref()));
    Ok(())
}

/// `orlop backup`
///
/// # Errors
///
/// When no server has the data directory, or it cannot.
pub fn back_up(backup: &Backup) -> Done {
    println!("{}", control::ask(&backup.storage.data, "backup")?);
    Ok(())
}

/// `orlop reload`: checks the settings, and tells the server that has the data directory.
///
/// # Errors
///
/// When the settings are wrong, or no server runs there.
pub fn reload(settings: &Settings, file: Option<&Path>) -> Done {
    check(settings, file)?;
    let data = &settings.storage.data;
    let server = storage::holder(data).and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    let server =
        server.ok_or_else(|| format!("no server has {} open: name the data directory with --data", data.display()))?;
    kill_process(server, Signal::HUP).map_err(|error| format!("the server cannot be told: {error}"))?;
    Ok(())
}
