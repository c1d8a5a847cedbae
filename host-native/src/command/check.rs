//! What must hold before a server starts, or takes over other settings. `serve`, `reload` and `config check` all ask
//! here, so that the check finds what the server would refuse. Only whether an address is in use is not looked at.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;

use orlop_core::retention;

use crate::auth::identity::TOKEN_USER;
use crate::observe::traces;
use crate::request::live::Live;
use crate::server::tls::Tls;
use crate::settings::{Settings, Who};
use crate::storage;

/// Settings in order, with all files that they name read.
pub struct Checked {
    /// The part that a running server can take over.
    pub live: Live,
    /// The encryption, if there is any.
    pub tls: Option<Tls>,
    /// What an administrator should know, though it stops nothing.
    pub warnings: Vec<String>,
}

/// Checks settings, and reads the files that they name. What a running server keeps over a reload is taken from `before`.
///
/// # Errors
///
/// With the first thing that is wrong.
pub fn check(settings: &Settings, before: Option<&Live>) -> Result<Checked, String> {
    match settings.storage.data.engines.engines()? {
        Some(engines) => storage::check_engines(&engines)?,
        None => data_directory(&settings.storage.data.directory)?,
    }
    let addresses = addresses(settings)?;
    distinct(&addresses)?;
    let (live, mut warnings) = before.map_or_else(|| Live::new(settings), |before| before.again(settings))?;
    named_clients(settings, live.takes_secrets())?;
    named_quotas(settings)?;
    retention::check(live.registry.retention())?;
    let tls = Tls::open(&settings.tls)?;
    for address in addresses.iter().filter(|address| address.serves_clients()) {
        warnings.extend(exposed(address, tls.is_some(), settings, &live)?);
    }
    warnings.extend(deletes_all_the_same(&live, settings));
    warnings.extend(of_providers(&live, settings));
    settings.watch.otlp_endpoint.as_deref().map_or(Ok(()), traces::check)?;
    Ok(Checked { live, tls, warnings })
}

/// A data directory may be missing, and is created then; but it is no file.
///
/// # Errors
///
/// When it is something else than a directory.
pub fn data_directory(path: &Path) -> Result<(), String> {
    match path.metadata() {
        Ok(found) if !found.is_dir() => Err(format!(
            "data = {} is not a directory: name a directory, which is created if it does not exist",
            path.display()
        )),
        _ => Ok(()),
    }
}

/// An address to listen on.
struct Address<'s> {
    setting: &'static str,
    text: &'s str,
    resolved: Vec<SocketAddr>,
}

impl Address<'_> {
    fn serves_clients(&self) -> bool {
        self.setting != "admin-addr"
    }

    /// Whether two listeners cannot have both.
    fn collides_with(&self, other: &Self) -> bool {
        let one_of = |one: &SocketAddr, other: &SocketAddr| {
            let all = one.ip().is_unspecified() || other.ip().is_unspecified();
            one.port() != 0 && one.port() == other.port() && (all || one.ip() == other.ip())
        };
        self.resolved.iter().any(|one| other.resolved.iter().any(|other| one_of(one, other)))
    }
}

fn addresses(settings: &Settings) -> Result<Vec<Address<'_>>, String> {
    let optional = [("plain-addr", &settings.tls.plain_addr), ("admin-addr", &settings.watch.admin_addr)];
    let optional = optional.into_iter().filter_map(|(setting, text)| Some((setting, text.as_deref()?)));
    let mirrors = settings.mirrors.iter().filter_map(|mirror| Some(("addr of a mirror", mirror.addr.as_deref()?)));
    let all = std::iter::once(("addr", settings.addr.as_str())).chain(optional).chain(mirrors);
    all.map(|(setting, text)| {
        let resolved = text.to_socket_addrs().map(Vec::from_iter).map_err(|error| {
            format!("{setting} = {text} is not an address: {error}; write HOST:PORT, such as 127.0.0.1:5000")
        })?;
        Ok(Address { setting, text, resolved })
    })
    .collect()
}

fn distinct(addresses: &[Address<'_>]) -> Result<(), String> {
    for (place, one) in addresses.iter().enumerate() {
        if let Some(other) = addresses[..place].iter().find(|other| one.collides_with(other)) {
            return Err(format!(
                "{} = {} and {} = {} are the same address: give each a port of its own",
                other.setting, other.text, one.setting, one.text
            ));
        }
    }
    Ok(())
}

/// A rule or a limit for clients that cannot log in would never match.
fn named_clients(settings: &Settings, login: bool) -> Result<(), String> {
    const LOGIN: &str = "set auth-htpasswd, ldap-url, an [[oidc]], or the token-… settings";
    let certificates = settings.tls.client_ca.is_some();
    let rules = settings.auth.rules.iter().enumerate().map(|(place, rule)| ("rule", place + 1, &rule.who));
    let limits = settings.shares.limit.iter().enumerate().map(|(place, limit)| ("limit", place + 1, &limit.who));
    for (what, number, who) in rules.chain(limits).flat_map(|(what, n, who)| who.iter().map(move |w| (what, n, w))) {
        let (named, cure) = match who {
            Who::User(name) if !login => (format!("the user `{name}`"), LOGIN),
            Who::Group(name) if !login => (format!("the group `{name}`"), LOGIN),
            Who::Certificate(name) if !certificates => (format!("the certificate `{name}`"), "set tls-client-ca"),
            Who::Authenticated if !login && !certificates => ("authenticated clients".into(), LOGIN),
            Who::Group(name) if !settings.auth.may_be_group(name) => {
                return Err(format!("{what} {number} names the group `{name}`, which does not exist: add a [[group]]"));
            }
            _ => continue,
        };
        return Err(format!("{what} {number} names {named}, but no client can log in that way: {cure}"));
    }
    Ok(())
}

/// Metrics and reports tell quotas apart by their names.
fn named_quotas(settings: &Settings) -> Result<(), String> {
    let quotas = &settings.shares.quota;
    for (place, quota) in quotas.iter().enumerate().filter(|(_, quota)| !quota.name.is_empty()) {
        if let Some(other) = quotas[..place].iter().position(|other| other.name == quota.name) {
            let (name, place, other) = (&quota.name, place + 1, other + 1);
            return Err(format!("quota {place} has the name `{name}`, which quota {other} has: give it another one"));
        }
    }
    Ok(())
}

/// A warning where clients may not delete and retention does: `no-delete` says what clients may.
fn deletes_all_the_same(live: &Live, settings: &Settings) -> Option<String> {
    let retains = !live.registry.retention().is_empty() && !settings.retention.retention_interval.is_zero();
    (retains && !settings.config().allow_delete).then(|| {
        "no-delete is set, and the rules of [[retention]] delete all the same every retention-interval: clients may not \
         delete, retention does; set retention-interval = \"0\" if nothing is to be deleted"
            .to_owned()
    })
}

/// Warnings of identity providers: everybody whom they vouch for may do everything, or a user has the name of all of them.
fn of_providers(live: &Live, settings: &Settings) -> Vec<String> {
    let providers = &settings.auth.oidc;
    let open = providers.iter().filter(|_| settings.auth.rules.is_empty());
    let open = open.map(|provider| {
        format!(
            "there are no rules, so every token of the provider `{}` that its settings let in may push and delete \
             everything: set rules",
            provider.name
        )
    });
    let hidden = !providers.is_empty() && live.identities.has_user(TOKEN_USER);
    let hidden = hidden.then(|| {
        format!("the user `{TOKEN_USER}` of the password file cannot log in: with [[oidc]] that is the name for tokens")
    });
    open.chain(hidden).collect()
}

/// Warnings of an address that other machines can reach.
fn exposed(address: &Address<'_>, tls: bool, settings: &Settings, live: &Live) -> Result<Vec<String>, String> {
    if address.resolved.iter().all(|resolved| resolved.ip().is_loopback()) {
        return Ok(Vec::new());
    }
    let (setting, text) = (address.setting, address.text);
    let mut warnings = Vec::new();
    if live.lets_anybody_write() {
        if !settings.auth.open {
            return Err(format!(
                "{setting} = {text} can be reached from other machines, and every client may push and delete: set users \
                 (auth-htpasswd, token-…, tls-client-ca) or rules, or allow it with --open"
            ));
        }
        warnings.push(format!("EVERY client that can reach {text} may push and delete, as --open allows"));
    }
    if live.takes_secrets() && !(tls && setting != "plain-addr") {
        warnings.push(format!(
            "{setting} = {text} can be reached from other machines and receives passwords and tokens unencrypted: set \
             tls-certificate and tls-key"
        ));
    }
    Ok(warnings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_collide_as_listeners_do() {
        let address =
            |text: &'static str| Address { setting: "addr", text, resolved: text.to_socket_addrs().unwrap().collect() };
        for (one, other, expected) in [
            ("127.0.0.1:5000", "127.0.0.1:5000", true),
            ("127.0.0.1:5000", "127.0.0.1:5001", false),
            ("0.0.0.0:5000", "127.0.0.1:5000", true),
            ("127.0.0.1:5000", "127.0.0.2:5000", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
        ] {
            assert_eq!(address(one).collides_with(&address(other)), expected, "{one} {other}");
        }
    }
}
