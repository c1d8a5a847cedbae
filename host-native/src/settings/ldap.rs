//! Users of an LDAP directory.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use url::Url;

use super::number::time;

/// What stands for the name that a client sends.
pub(crate) const USER: &str = "{user}";

/// What stands for the name of the user's entry.
pub(crate) const DN: &str = "{dn}";

/// Users of an LDAP directory.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "LDAP")]
pub struct Ldap {
    /// The LDAP servers whose users log in with their passwords: ldaps://NAME, tried in their order (repeatable)
    ///
    /// ldap://NAME needs --ldap-start-tls, unless it is this machine.
    #[arg(id = "ldap_url", long = "ldap-url", env = "ORLOP_LDAP_URL", value_name = "URL", value_delimiter = ',', value_parser = server)]
    pub(crate) url: Vec<Url>,

    /// Encrypt connections to ldap://NAME by StartTLS
    #[arg(
        id = "ldap_start_tls",
        long = "ldap-start-tls",
        env = "ORLOP_LDAP_START_TLS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        default_value_t = false,
        action = clap::ArgAction::Set
    )]
    pub(crate) start_tls: bool,

    /// Authorities to trust for these connections beside those of the system (PEM)
    #[arg(id = "ldap_ca", long = "ldap-ca", env = "ORLOP_LDAP_CA", value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,

    /// The entry that the registry binds as to search for users; anonymous if not set
    #[arg(id = "ldap_bind_dn", long = "ldap-bind-dn", env = "ORLOP_LDAP_BIND_DN", value_name = "DN")]
    pub(crate) bind_dn: Option<String>,

    /// A file with the password of --ldap-bind-dn in its first line; read for each search
    #[arg(
        id = "ldap_bind_password_file",
        long = "ldap-bind-password-file",
        env = "ORLOP_LDAP_BIND_PASSWORD_FILE",
        value_name = "FILE"
    )]
    pub(crate) bind_password_file: Option<PathBuf>,

    /// Where users are searched for
    #[arg(id = "ldap_base", long = "ldap-base", env = "ORLOP_LDAP_BASE", value_name = "DN")]
    pub(crate) base: Option<String>,

    /// What finds the entry of a user, in which {user} is the name that the client sends
    #[arg(
        id = "ldap_filter",
        long = "ldap-filter",
        env = "ORLOP_LDAP_FILTER",
        default_value = "(uid={user})",
        value_name = "FILTER"
    )]
    pub(crate) filter: String,

    /// The entry of a user, if it needs no search: uid={user},ou=people,dc=example,dc=com
    #[arg(id = "ldap_user_dn", long = "ldap-user-dn", env = "ORLOP_LDAP_USER_DN", value_name = "DN")]
    pub(crate) user_dn: Option<String>,

    /// The attribute with the name of the user, as rules have it
    ///
    /// A directory takes ALICE for alice; what counts is what is in the entry.
    #[arg(
        id = "ldap_name",
        long = "ldap-name",
        env = "ORLOP_LDAP_NAME",
        default_value = "uid",
        value_name = "ATTRIBUTE"
    )]
    pub(crate) name: String,

    /// The attribute of the user with the groups that it is in; "" for none
    #[arg(
        id = "ldap_groups",
        long = "ldap-groups",
        env = "ORLOP_LDAP_GROUPS",
        default_value = "memberOf",
        value_name = "ATTRIBUTE"
    )]
    pub(crate) groups: String,

    /// What finds the groups of a user in the place of --ldap-groups: (member={dn}), or (memberUid={user})
    #[arg(
        id = "ldap_group_filter",
        long = "ldap-group-filter",
        env = "ORLOP_LDAP_GROUP_FILTER",
        value_name = "FILTER"
    )]
    pub(crate) group_filter: Option<String>,

    /// Below which entry groups are: others do not count
    #[arg(id = "ldap_group_base", long = "ldap-group-base", env = "ORLOP_LDAP_GROUP_BASE", value_name = "DN")]
    pub(crate) group_base: Option<String>,

    /// How long a server may take for each answer
    #[arg(
        id = "ldap_timeout",
        long = "ldap-timeout",
        env = "ORLOP_LDAP_TIMEOUT",
        default_value = "5s",
        value_name = "TIME",
        value_parser = answering
    )]
    pub(crate) timeout: Duration,
}

fn server(text: &str) -> Result<Url, String> {
    let wrong = || "write it like ldaps://ldap.example.com, without a path".to_owned();
    let url = Url::parse(text).map_err(|_| wrong())?;
    let bare = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
    let no_login = url.username().is_empty() && url.password().is_none();
    if !bare || !no_login || !matches!(url.scheme(), "ldap" | "ldaps") || url.host_str().is_none_or(str::is_empty) {
        return Err(wrong());
    }
    Ok(url)
}

/// Whether a server is on this machine. Hosts of such URLs are texts, also where they are addresses.
fn is_of_this_machine(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn answering(text: &str) -> Result<Duration, String> {
    match time(text)? {
        time if time.is_zero() || time > Duration::from_secs(60) => Err("write a time up to 60s".into()),
        time => Ok(time),
    }
}

impl Ldap {
    /// Whether there is a directory.
    pub(crate) fn is_set(&self) -> bool {
        !self.url.is_empty()
    }

    /// Whether what is set goes together.
    ///
    /// # Errors
    ///
    /// With what does not, and what to do.
    pub(crate) fn check(&self) -> Result<(), String> {
        if !self.is_set() {
            let named = [
                ("ldap-base", self.base.is_some()),
                ("ldap-user-dn", self.user_dn.is_some()),
                ("ldap-bind-dn", self.bind_dn.is_some()),
                ("ldap-group-filter", self.group_filter.is_some()),
            ];
            return match named.iter().find(|(_, set)| *set) {
                Some((name, _)) => Err(format!("{name} is set, and no server: set ldap-url")),
                None => Ok(()),
            };
        }
        for url in &self.url {
            if url.scheme() == "ldap" && !self.start_tls && !is_of_this_machine(url) {
                return Err(format!(
                    "ldap-url = {url} would get passwords unencrypted: use ldaps://, or set ldap-start-tls"
                ));
            }
        }
        if self.base.is_some() == self.user_dn.is_some() {
            return Err("set one of ldap-base, where users are searched for, and ldap-user-dn".into());
        }
        if self.bind_dn.is_some() != self.bind_password_file.is_some() {
            return Err("ldap-bind-dn and ldap-bind-password-file need each other".into());
        }
        if self.user_dn.is_some() && self.bind_dn.is_some() {
            return Err("with ldap-user-dn nothing is searched for: leave ldap-bind-dn out".into());
        }
        let holds = |setting: &str, text: &str| match text.contains(USER)
            || setting == "ldap-group-filter" && text.contains(DN)
        {
            true => Ok(()),
            false => {
                Err(format!("{setting} = {text} would be the same for every user: write {USER} where the name is"))
            }
        };
        if self.base.is_some() {
            holds("ldap-filter", &self.filter)?;
        }
        self.user_dn.as_deref().map_or(Ok(()), |text| holds("ldap-user-dn", text))?;
        self.group_filter.as_deref().map_or(Ok(()), |text| holds("ldap-group-filter", text))?;
        for (setting, filter) in
            [("ldap-filter", Some(&self.filter)), ("ldap-group-filter", self.group_filter.as_ref())]
        {
            let Some(filter) = filter else { continue };
            let tried = filter.replace(USER, "x").replace(DN, "x");
            if ldap3::parse_filter(&tried).is_err() {
                return Err(format!("{setting} = {filter} is no filter: write it like (uid={USER})"));
            }
        }
        if self.group_filter.is_some() && self.group_base.is_none() {
            return Err("ldap-group-filter needs ldap-group-base, where groups are searched for".into());
        }
        if self.name.is_empty() {
            return Err("ldap-name is the attribute with the name of the user, such as uid or sAMAccountName".into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        ldap: Ldap,
    }

    fn check(flags: &[&str]) -> Result<(), String> {
        let words = std::iter::once("orlop").chain(flags.iter().copied());
        let line: Line = clap::Parser::try_parse_from(words).map_err(|error| error.to_string())?;
        line.ldap.check()
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        let server = "--ldap-url=ldaps://ldap.example.com";
        let base = "--ldap-base=dc=example";
        check(&[]).unwrap();
        check(&[server, base]).unwrap();
        for here in ["127.0.0.1:389", "[::1]", "localhost"] {
            check(&[&format!("--ldap-url=ldap://{here}"), base]).unwrap();
        }
        check(&["--ldap-url=ldap://ldap.example.com", "--ldap-start-tls", base]).unwrap();
        check(&[server, "--ldap-user-dn=uid={user},dc=example"]).unwrap();
        check(&[server, base, "--ldap-group-filter=(member={dn})", "--ldap-group-base=dc=example"]).unwrap();
        for (flags, expected) in [
            (vec![base], "set ldap-url"),
            (vec!["--ldap-url=ldap://ldap.example.com", base], "unencrypted"),
            (vec!["--ldap-url=ldap://127.0.0.1.example.com", base], "unencrypted"),
            (vec!["--ldap-url=https://ldap.example.com", base], "ldaps://ldap.example.com"),
            (vec!["--ldap-url=ldaps://u:p@ldap.example.com", base], "ldaps://ldap.example.com"),
            (vec![server], "set one of ldap-base"),
            (vec![server, base, "--ldap-user-dn=uid={user}"], "set one of ldap-base"),
            (vec![server, base, "--ldap-bind-dn=cn=x"], "need each other"),
            (vec![server, base, "--ldap-filter=(uid=alice)"], "the same for every user"),
            (vec![server, base, "--ldap-filter=uid={user}("], "is no filter"),
            (vec![server, base, "--ldap-filter=(&(uid={user})"], "is no filter"),
            (vec![server, "--ldap-user-dn=uid=x"], "the same for every user"),
            (vec![server, base, "--ldap-group-filter=(member={dn})"], "needs ldap-group-base"),
            (vec![server, base, "--ldap-timeout=0"], "up to 60s"),
            (vec![server, base, "--ldap-name="], "uid or sAMAccountName"),
        ] {
            let told = check(&flags).unwrap_err();
            assert!(told.contains(expected), "{flags:?}: {told}");
        }
    }
}
