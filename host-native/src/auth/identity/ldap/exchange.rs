//! What is said to a directory to log a user in: a search as the registry, a bind as the user, and a search for groups.
//!
//! Each login has a connection of its own, which ends with it: nothing is left of a bind for whoever comes next.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;

use ldap3::{Ldap as Handle, LdapConnAsync, LdapConnSettings, LdapError, Scope, SearchEntry, SearchOptions, StdStream};
use ldap3::{dn_escape, ldap_escape};
use rustls::ClientConfig;
use tokio::time::{Instant, timeout, timeout_at};
use url::Url;

use super::wire::connect;
use crate::settings::ldap::{DN, Ldap, USER};

/// Result codes of RFC 4511, appendix A.1, that say that it was not the right user or password.
const WRONG: [u32; 8] = [
    19, // constraintViolation: too many tries, or a password that has to be changed
    32, // noSuchObject
    34, // invalidDNSyntax
    48, // inappropriateAuthentication: the entry has no password
    49, // invalidCredentials
    50, // insufficientAccessRights
    53, // unwillingToPerform: the account is locked
    65, // objectClassViolation, as some say of entries that are no users
];

/// How many groups a user may be in, and how many bytes their names may have together: they are in tokens, which clients send
/// in a header. More are refused: with some left out, a rule that denies would not be found.
const MOST: usize = 1000;
const MOST_BYTES: usize = 16 << 10;

/// How many times as long as one answer a whole login may take.
const ANSWERS: u32 = 3;

/// Who a user is, as the directory says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) name: String,
    pub(super) groups: Vec<String>,
}

/// Why a login fails.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failed {
    /// There is no such user, or the password is wrong: with what the log says.
    Wrong(String),
    /// The password is right, and the user cannot log in all the same: with what everybody may know of that.
    Refused(String),
    /// The directory cannot be asked, or does not let itself be asked.
    Unreachable(String),
}

/// Logs a user in at the first server that answers. The password is not empty: with an empty one a directory takes a bind
/// for one of nobody, and lets it pass (RFC 4513, section 5.1.2).
pub(super) async fn log_in(
    settings: &Ldap,
    tls: &Arc<ClientConfig>,
    name: &str,
    password: &str,
) -> Result<Found, Failed> {
    if password.is_empty() || name.is_empty() {
        return Err(Failed::Wrong("a name and a password are needed".into()));
    }
    let mut failed = Failed::Unreachable("there is no server".into());
    // Of all servers together: each that hangs takes one answer's time, and the rest is for the one that answers.
    let others = u32::try_from(settings.url.len()).unwrap_or(u32::MAX).saturating_sub(1);
    let end = Instant::now() + settings.timeout.saturating_mul(ANSWERS.saturating_add(others));
    for url in &settings.url {
        let late = |_| Err(Failed::Unreachable("it takes too long: see ldap-timeout".into()));
        let answered = timeout_at(end, log_in_at(url, settings, tls, name, password)).await;
        match answered.unwrap_or_else(late) {
            Err(Failed::Unreachable(reason)) => failed = Failed::Unreachable(format!("{url}: {reason}")),
            done => return done,
        }
    }
    Err(failed)
}

async fn log_in_at(
    url: &Url,
    settings: &Ldap,
    tls: &Arc<ClientConfig>,
    name: &str,
    password: &str,
) -> Result<Found, Failed> {
    let connected = timeout(settings.timeout, connect(url, settings.start_tls, tls)).await;
    let late = |_| Err(format!("it does not answer within {} s", settings.timeout.as_secs_f64()));
    let socket = connected.unwrap_or_else(late).map_err(Failed::Unreachable)?;
    // The name of the socket is not looked at where one is given.
    let with_socket = LdapConnSettings::new().set_std_stream(StdStream::Unix(socket));
    let connected = LdapConnAsync::with_settings(with_socket, "ldapi:///").await;
    let (connection, mut handle) = connected.map_err(|error| unreachable("cannot be reached", &error))?;
    tokio::spawn(async move {
        if let Err(error) = connection.drive().await {
            tracing::debug!("a connection to a directory has ended: {error}");
        }
    });
    handle.with_timeout(settings.timeout);
    let found = conversation(&mut handle, settings, name, password).await;
    handle.with_timeout(settings.timeout);
    let _ = handle.unbind().await;
    found
}

async fn conversation(handle: &mut Handle, settings: &Ldap, name: &str, password: &str) -> Result<Found, Failed> {
    let dn = match &settings.user_dn {
        Some(template) => template.replace(USER, &dn_escape(name)),
        None => {
            bind_as_registry(handle, settings).await?;
            let base = settings.base.as_deref().unwrap_or_default();
            let filter = settings.filter.replace(USER, &ldap_escape(name));
            // One more than there should be, so that several are noticed.
            let asked = vec!["1.1".to_owned()];
            let (entries, more) = search(handle, settings, base, Scope::Subtree, &filter, asked, 2).await?;
            match &entries[..] {
                [] => return Err(Failed::Wrong("no entry is found".into())),
                [one] if !one.dn.is_empty() && !more => one.dn.clone(),
                _ => return Err(Failed::Wrong("ldap-filter finds more than one entry".into())),
            }
        }
    };
    bind(handle, settings, &dn, password).await?;
    // As whom it may be read: the user, or the registry, which may also read the groups.
    if settings.user_dn.is_none() && settings.bind_dn.is_some() {
        bind_as_registry(handle, settings).await?;
    }
    let attributes = [&settings.name, &settings.groups].into_iter().filter(|name| !name.is_empty()).cloned().collect();
    let (entries, _) = search(handle, settings, &dn, Scope::Base, "(objectClass=*)", attributes, 1).await?;
    let entry = entries.into_iter().next().ok_or_else(|| Failed::Wrong(format!("{dn} may not be read")))?;
    for attribute in [&settings.name, &settings.groups] {
        if is_partial(&entry, attribute) {
            let told = format!("the directory gives only a part of `{attribute}`, or it cannot be read");
            return Err(Failed::Refused(told));
        }
    }
    let names = values(&entry, &settings.name);
    let own = names.iter().find(|own| own.eq_ignore_ascii_case(name)).or(names.first());
    let own = own.ok_or_else(|| Failed::Wrong(format!("{dn} has no `{}` that may be read", settings.name)))?;
    let groups: BTreeSet<String> = match (&settings.group_filter, &settings.group_base) {
        (Some(filter), Some(base)) => {
            let filter = filter.replace(DN, &ldap_escape(dn.as_str())).replace(USER, &ldap_escape(own.as_str()));
            let (asked, most) = (vec!["cn".to_owned()], i32::try_from(MOST).unwrap_or(i32::MAX));
            let (found, more) = search(handle, settings, base, Scope::Subtree, &filter, asked, most).await?;
            if more {
                return Err(too_many());
            }
            found.iter().flat_map(|group| values(group, "cn").into_iter().take(1)).collect()
        }
        (_, base) => {
            let named = values(&entry, &settings.groups);
            named.iter().filter_map(|group| group_of(group, base.as_deref())).collect()
        }
    };
    let named = |group: &String| !group.is_empty() && !group.chars().any(char::is_control);
    let groups: Vec<String> = groups.into_iter().filter(named).collect();
    if groups.len() > MOST || groups.iter().map(String::len).sum::<usize>() > MOST_BYTES {
        return Err(too_many());
    }
    Ok(Found { name: own.clone(), groups })
}

fn too_many() -> Failed {
    let told = format!(
        "the directory (LDAP) has you in more than {MOST} groups, or in such with too long names: the administrator is to narrow \
         them by ldap-group-base or ldap-group-filter"
    );
    Failed::Refused(told)
}

async fn bind_as_registry(handle: &mut Handle, settings: &Ldap) -> Result<(), Failed> {
    let (Some(dn), Some(path)) = (&settings.bind_dn, &settings.bind_password_file) else { return Ok(()) };
    let password = fs::read_to_string(path)
        .map_err(|error| Failed::Unreachable(format!("{} cannot be read: {error}", path.display())))?;
    let password = password.lines().next().unwrap_or_default();
    if password.is_empty() {
        return Err(Failed::Unreachable(format!("{} has no password in its first line", path.display())));
    }
    bind(handle, settings, dn, password).await.map_err(|failed| match failed {
        Failed::Wrong(reason) => Failed::Unreachable(format!("{dn} (ldap-bind-dn) is not let in: {reason}")),
        failed => failed,
    })
}

async fn bind(handle: &mut Handle, settings: &Ldap, dn: &str, password: &str) -> Result<(), Failed> {
    let bound = handle.with_timeout(settings.timeout).simple_bind(dn, password).await;
    let result = bound.map_err(|error| unreachable("does not answer a bind", &error))?;
    match result.rc {
        0 => Ok(()),
        code if WRONG.contains(&code) => {
            Err(Failed::Wrong(format!("a bind as {dn} gives {}", told(code, &result.text))))
        }
        code => Err(Failed::Unreachable(format!("a bind as {dn} gives {}", told(code, &result.text)))),
    }
}

/// What a search finds, and whether there is more of it.
async fn search(
    handle: &mut Handle,
    settings: &Ldap,
    base: &str,
    scope: Scope,
    filter: &str,
    attributes: Vec<String>,
    most: i32,
) -> Result<(Vec<SearchEntry>, bool), Failed> {
    let seconds = i32::try_from(settings.timeout.as_secs()).unwrap_or(i32::MAX).max(1);
    let options = SearchOptions::new().sizelimit(most).timelimit(seconds);
    let searching = handle.with_timeout(settings.timeout).with_search_options(options);
    let found = searching.search(base, scope, filter, attributes).await;
    let found = found.map_err(|error| unreachable("does not answer a search", &error))?;
    let (entries, result) = (found.0, found.1);
    match result.rc {
        // 4 is sizeLimitExceeded, 32 noSuchObject.
        code @ (0 | 4) => Ok((entries.into_iter().map(SearchEntry::construct).collect(), code == 4)),
        32 => Ok((Vec::new(), false)),
        code => Err(Failed::Unreachable(format!("a search in {base:?} gives {}", told(code, &result.text)))),
    }
}

/// Whether there are values of an attribute that are not told: the rest of very many (`memberOf;range=0-1499`), or such as are
/// no text.
fn is_partial(entry: &SearchEntry, attribute: &str) -> bool {
    let of = |name: &str| name.split(';').next().is_some_and(|name| name.eq_ignore_ascii_case(attribute));
    let is_range = |name: &str| name.to_ascii_lowercase().contains(";range=");
    entry.bin_attrs.keys().any(|name| of(name)) || entry.attrs.keys().any(|name| is_range(name) && of(name))
}

/// The values of an attribute, whose name may be written in another case.
fn values(entry: &SearchEntry, attribute: &str) -> Vec<String> {
    let of = entry.attrs.iter().find(|(name, _)| name.eq_ignore_ascii_case(attribute));
    of.map(|(_, values)| values.clone()).unwrap_or_default()
}

/// The name of a group by the name of its entry, if that is below `base`: `cn=dev,ou=groups,dc=example` is `dev`.
fn group_of(dn: &str, base: Option<&str>) -> Option<String> {
    let (first, rest) = split_dn(dn)?;
    if let Some(base) = base {
        let normal = |dn: &str| dn.split(',').map(|part| part.trim().to_lowercase()).collect::<Vec<_>>().join(",");
        let (rest, base) = (normal(rest), normal(base));
        if rest != base && !rest.ends_with(&format!(",{base}")) {
            return None;
        }
    }
    let (_, value) = first.split_once('=')?;
    unescaped(value.trim())
}

/// The first part of the name of an entry, and the rest (RFC 4514).
fn split_dn(dn: &str) -> Option<(&str, &str)> {
    let mut escaped = false;
    for (at, byte) in dn.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b',' => return Some((&dn[..at], &dn[at + 1..])),
            _ => {}
        }
    }
    (!dn.is_empty()).then_some((dn, ""))
}

/// A value of such a part without its escapes.
fn unescaped(value: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.bytes().peekable();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        let first = rest.next()?;
        let high = char::from(first).to_digit(16);
        let low = rest.peek().and_then(|low| char::from(*low).to_digit(16));
        match (high, low) {
            (Some(high), Some(low)) => {
                rest.next();
                bytes.push(u8::try_from(high << 4 | low).ok()?);
            }
            _ => bytes.push(first),
        }
    }
    String::from_utf8(bytes).ok()
}

fn unreachable(what: &str, error: &LdapError) -> Failed {
    Failed::Unreachable(format!("it {what}: {error}"))
}

/// A result code with what the server says of it. Servers that it names are not asked: they would get the password.
fn told(code: u32, text: &str) -> String {
    if code == 10 {
        return "a referral: it has other servers asked, which the registry does not do; name them in ldap-url".into();
    }
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect();
    let colon = if text.is_empty() { "" } else { ": " };
    format!("the result code {code}{colon}{text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_only_a_part_is_noticed() {
        let entry = |attrs: &[&str], binary: &[&str]| SearchEntry {
            dn: "cn=alice,dc=example".into(),
            attrs: attrs.iter().map(|name| ((*name).to_owned(), vec!["cn=dev,dc=example".to_owned()])).collect(),
            bin_attrs: binary.iter().map(|name| ((*name).to_owned(), vec![vec![0xff]])).collect(),
        };
        for (attrs, binary, partial) in [
            (&["memberOf"][..], &[][..], false),
            (&["cn", "cn;lang-de", "memberof"], &["jpegPhoto"], false),
            (&["memberOf;range=0-1499"], &[], true),
            (&["memberOf", "MEMBEROF;Range=0-1499"], &[], true),
            (&["cn"], &["memberOf"], true),
        ] {
            assert_eq!(is_partial(&entry(attrs, binary), "memberOf"), partial, "{attrs:?} {binary:?}");
        }
    }

    #[test]
    fn a_group_is_the_first_part_of_its_name() {
        for (dn, base, group) in [
            ("cn=dev,ou=groups,dc=example", None, Some("dev")),
            ("CN=Build\\, all,OU=Groups,DC=example", None, Some("Build, all")),
            ("cn=a\\2cb\\c3\\a9,dc=x", None, Some("a,bé")),
            ("cn=dev", None, Some("dev")),
            ("cn=dev,ou=groups,dc=example", Some("OU=Groups, dc=Example"), Some("dev")),
            ("cn=dev,ou=a,ou=groups,dc=example", Some("ou=groups,dc=example"), Some("dev")),
            ("cn=dev,ou=evil,dc=example", Some("ou=groups,dc=example"), None),
            ("cn=dev,xou=groups,dc=example", Some("ou=groups,dc=example"), None),
            ("cn=ops\\,ou=groups,dc=example", Some("ou=groups,dc=example"), None),
            ("", None, None),
            ("dev", None, None),
            ("cn=a\\", None, None),
        ] {
            assert_eq!(group_of(dn, base).as_deref(), group, "{dn} {base:?}");
        }
    }

    /// A name is a value in a filter and in the name of an entry, and never more.
    #[test]
    fn a_name_cannot_change_the_question() {
        for (name, filter, dn) in [
            ("alice", "(uid=alice)", "uid=alice,dc=x"),
            ("*", "(uid=\\2a)", "uid=*,dc=x"),
            ("a)(uid=*", "(uid=a\\29\\28uid=\\2a)", "uid=a)(uid\\3d*,dc=x"),
            ("a,ou=admins", "(uid=a,ou=admins)", "uid=a\\2cou\\3dadmins,dc=x"),
            ("a\\", "(uid=a\\5c)", "uid=a\\5c,dc=x"),
            ("a+cn=b", "(uid=a+cn=b)", "uid=a\\2bcn\\3db,dc=x"),
            ("a\0b", "(uid=a\\00b)", "uid=a\\00b,dc=x"),
            ("{dn}", "(uid={dn})", "uid={dn},dc=x"),
        ] {
            assert_eq!("(uid={user})".replace(USER, &ldap_escape(name)), filter);
            assert_eq!("uid={user},dc=x".replace(USER, &dn_escape(name)), dn);
            assert!(ldap3::parse_filter(filter).is_ok(), "{filter}");
        }
    }
}
