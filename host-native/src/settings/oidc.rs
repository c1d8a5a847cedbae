//! An identity provider as it is written: whose identity tokens log clients in, and what becomes of their claims.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;
use url::Url;

use super::claims::{Conditions, Template};
use super::mirror::{is_loopback, one_or_several, optional_time};
use super::redacted::redacted;
use super::table;

/// How far the clocks of a provider and of this machine may be apart.
const LEEWAY: Duration = Duration::from_secs(60);
const MOST_LEEWAY: Duration = Duration::from_secs(600);

/// An identity provider.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct OidcSetting {
    pub(crate) name: String,
    pub(crate) issuer: String,
    #[serde(default, deserialize_with = "one_or_several")]
    pub(crate) audience: Vec<String>,
    /// As whom the provider knows this registry where people sign in to the web page.
    pub(crate) client_id: Option<String>,
    pub(crate) client_secret_file: Option<PathBuf>,
    /// What the button of the web page says.
    title: Option<String>,
    #[serde(default)]
    scopes: Vec<String>,
    pub(crate) user: Option<Template>,
    #[serde(default)]
    pub(crate) groups: Vec<Template>,
    pub(crate) claims: Option<Conditions>,
    #[serde(default)]
    pub(crate) allow: Vec<AllowSetting>,
    #[serde(default)]
    pub(crate) same_names: bool,
    #[serde(default, deserialize_with = "optional_time")]
    leeway: Option<Duration>,
    /// A file with the keys of the provider, which is then not asked for them.
    pub(crate) keys: Option<PathBuf>,
    pub(crate) ca: Option<PathBuf>,
    /// Hosts that the provider may have its keys at, though their addresses are private.
    #[serde(default, deserialize_with = "one_or_several")]
    pub(crate) hosts: Vec<String>,
    /// A file with a token that the provider is asked with.
    pub(crate) token_file: Option<PathBuf>,
}

/// Some of the tokens of a provider, and who they log in.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct AllowSetting {
    pub(crate) claims: Conditions,
    pub(crate) user: Option<Template>,
    #[serde(default)]
    pub(crate) groups: Vec<Template>,
}

/// One table of TOML, as a flag takes it.
impl FromStr for OidcSetting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut setting: Self = table(text)?;
        setting.check()?;
        setting.name_its_own();
        Ok(setting)
    }
}

impl OidcSetting {
    fn check(&self) -> Result<(), String> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if !(1..=32).contains(&self.name.len()) || !self.name.bytes().all(plain) {
            return Err("`name` has 1 to 32 lower-case letters, digits and dashes".into());
        }
        if matches!(self.name.as_str(), "certificate" | "ldap" | "user" | "group") {
            return Err(format!("`name`: `{}` is what other names begin with; choose another one", self.name));
        }
        let url = self.url()?;
        if url.scheme() == "http" && !is_loopback(&url) && self.keys.is_none() {
            return Err(format!(
                "the keys of `{}` would be fetched unencrypted: use https, or name a file with them in `keys`",
                self.issuer
            ));
        }
        self.check_sign_in()?;
        if self.audience.is_empty() && self.client_id.is_none() || self.audience.iter().any(String::is_empty) {
            return Err("`audience` is what tokens are for: write it like \"registry.example.com\"".into());
        }
        if self.claims.is_none() && self.allow.is_empty() {
            return Err(format!(
                "whoever can get a token of `{}` would be let in: say in `claims`, or in [[oidc.allow]], what the claims of \
                 a token have to be, or write claims = {{}} to let in everybody",
                self.issuer
            ));
        }
        if let Some(template) =
            self.users().chain(self.all_groups()).find(|template| self.same_names && template.has_colon())
        {
            return Err(format!(
                "with `same-names` no name has a colon, and `{}` would: leave it out, or `same-names`",
                template.beginning()
            ));
        }
        if self.leeway() > MOST_LEEWAY {
            return Err("`leeway` is 10m at most: set the clocks".into());
        }
        if self.keys.is_some() && (self.ca.is_some() || self.token_file.is_some() || !self.hosts.is_empty()) {
            return Err("with `keys` the provider is not asked: leave `ca`, `hosts` and `token-file` out".into());
        }
        let host = |c: char| c.is_ascii_alphanumeric() || "._-:[]".contains(c);
        if let Some(text) = self.hosts.iter().find(|text| text.is_empty() || !text.chars().all(host)) {
            return Err(format!("`{text}` is not a host: write it like keys.example.com, or keys.example.com:8443"));
        }
        Ok(())
    }

    /// Whether what is said of signing in goes together.
    fn check_sign_in(&self) -> Result<(), String> {
        let plain = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
        let Some(client) = &self.client_id else {
            let named = [
                ("client-secret-file", self.client_secret_file.is_some()),
                ("title", self.title.is_some()),
                ("scopes", !self.scopes.is_empty()),
            ];
            return match named.iter().find(|(_, set)| *set) {
                Some((name, _)) => Err(format!("`{name}` is for signing in to the web page: set `client-id` too")),
                None => Ok(()),
            };
        };
        if !plain(client) {
            return Err("`client-id` is as whom the provider knows this registry: plain characters".into());
        }
        if self.keys.is_some() {
            return Err(
                "with `keys` the provider is not asked, so nobody can sign in there: leave `client-id` out".into()
            );
        }
        if let Some(scope) = self.scopes.iter().find(|scope| !plain(scope) || scope.contains(' ')) {
            return Err(format!("`scopes`: `{scope}` is no scope: write them like [\"profile\", \"groups\"]"));
        }
        if let Some(title) = self.title.as_ref().filter(|title| title.is_empty() || title.chars().count() > 64) {
            return Err(format!("`title`: `{title}` is to have 1 to 64 characters"));
        }
        Ok(())
    }

    /// What people know the provider by.
    pub(crate) fn title(&self) -> &str {
        self.title.as_deref().unwrap_or(&self.name)
    }

    /// What is asked of the provider beside who somebody is (OpenID Connect Core 1.0, section 5.4).
    pub(crate) fn scope(&self) -> String {
        let others = self.scopes.iter().map(String::as_str).filter(|scope| *scope != "openid");
        std::iter::once("openid").chain(others).collect::<Vec<_>>().join(" ")
    }

    /// Where the provider is.
    ///
    /// # Errors
    ///
    /// When an issuer is no such URL (OpenID Connect Core 1.0, section 2, `iss`).
    pub(crate) fn url(&self) -> Result<Url, String> {
        let shown = redacted(&self.issuer);
        let wrong =
            || format!("`issuer`: `{shown}` is not the URL of a provider: write it like https://id.example.com");
        let url = Url::parse(&self.issuer).map_err(|_| wrong())?;
        let bare = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
        if !bare || url.password().is_some() || !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(wrong());
        }
        Ok(url)
    }

    /// How far clocks may be apart.
    pub(crate) fn leeway(&self) -> Duration {
        self.leeway.unwrap_or(LEEWAY)
    }

    /// What is made of claims is put behind the name of the provider, unless it is behind a text with a colon already: no
    /// provider can make a name that is another's, and none can make one of the password file, which has no colon.
    fn name_its_own(&mut self) {
        let user = self.user.take().unwrap_or_else(|| Template::claim("sub"));
        self.user = Some(user);
        if self.same_names {
            return;
        }
        let own = format!("{}:", self.name);
        for template in self.templates_mut() {
            if !template.is_fixed() && !template.beginning().contains(':') {
                *template = template.clone().behind(own.clone());
            }
        }
    }

    fn templates_mut(&mut self) -> impl Iterator<Item = &mut Template> {
        let of_allow = self.allow.iter_mut().flat_map(|allow| allow.user.iter_mut().chain(&mut allow.groups));
        self.user.iter_mut().chain(&mut self.groups).chain(of_allow)
    }

    /// What names of users are made of.
    pub(crate) fn users(&self) -> impl Iterator<Item = &Template> {
        self.user.iter().chain(self.allow.iter().filter_map(|allow| allow.user.as_ref()))
    }

    /// What names of groups are made of.
    pub(crate) fn all_groups(&self) -> impl Iterator<Item = &Template> {
        self.groups.iter().chain(self.allow.iter().flat_map(|allow| &allow.groups))
    }

    /// Whether a token of it may put its owner into that group.
    pub(crate) fn may_give(&self, group: &str) -> bool {
        may_be(self.all_groups(), group)
    }

    /// Whether a token of it may be of that user.
    pub(crate) fn may_name(&self, user: &str) -> bool {
        may_be(self.users(), user)
    }
}

/// Whether that name can be made by one of these.
fn may_be<'t>(mut templates: impl Iterator<Item = &'t Template>, name: &str) -> bool {
    templates.any(|template| match template.is_fixed() {
        true => template.beginning() == name,
        false => name.starts_with(template.beginning()),
    })
}

/// Providers that do not go together with each other.
///
/// # Errors
///
/// When two have one name, or one could give names of another.
pub(crate) fn check_together(providers: &[OidcSetting]) -> Result<(), String> {
    for (place, OidcSetting { name, .. }) in providers.iter().enumerate() {
        if let Some(other) = providers[..place].iter().position(|other| other.name == *name) {
            let (number, other) = (place + 1, other + 1);
            return Err(format!("oidc {number} has the name `{name}`, which oidc {other} has: give it another one"));
        }
    }
    for (place, provider) in providers.iter().enumerate() {
        let number = place + 1;
        let users: Vec<_> = provider.users().collect();
        let groups: Vec<_> = provider.all_groups().collect();
        for (template, of_users) in
            users.iter().map(|user| (user, true)).chain(groups.iter().map(|group| (group, false)))
        {
            let Some(before) = template.before_colon().filter(|before| *before != provider.name) else { continue };
            // What is fixed in both is the same by intent.
            let gives = |theirs: &Template| {
                theirs.before_colon() == Some(before) && !(theirs.is_fixed() && template.is_fixed())
            };
            let mut others = providers.iter().enumerate().filter(|(at, _)| *at != place).map(|(_, other)| other);
            let of_other = others.any(|other| {
                let mut users = other.users().filter(|_| of_users);
                let mut groups = other.all_groups().filter(|_| !of_users);
                other.name == before || users.any(gives) || groups.any(gives)
            });
            if of_other || before == "certificate" {
                return Err(format!(
                    "oidc {number} would give names that begin with `{before}:`, which are not its own: write them in another \
                     way"
                ));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str =
        "name = 'github', issuer = 'https://token.actions.githubusercontent.com', audience = 'r.example'";

    fn parse(rest: &str) -> Result<OidcSetting, String> {
        format!("{{ {BASE}, {rest} }}").parse()
    }

    #[test]
    fn names_made_of_claims_stand_behind_the_name_of_the_provider() {
        let check = |user: &str, expected: &str| {
            let setting = parse(&format!("claims = {{}}, {user}")).unwrap();
            let expected = Template::try_from(expected.to_owned()).unwrap();
            assert_eq!(setting.users().next(), Some(&expected), "{user}");
        };
        check("groups = []", "github:{sub}");
        check("user = '{repository}'", "github:{repository}");
        check("user = 'x-{repository}'", "github:x-{repository}");
        check("user = 'gh:{repository}'", "gh:{repository}");
        check("user = 'ci'", "ci");
        check("user = '{repository}', same-names = true", "{repository}");
        let setting = parse("claims = {}, groups = ['ci', '{repository_owner}']").unwrap();
        assert!(setting.may_give("ci") && setting.may_give("github:acme") && !setting.may_give("acme"));
        assert!(setting.may_name("github:x") && !setting.may_name("x"));
    }

    #[test]
    fn what_would_let_in_everybody_or_cannot_be_is_refused() {
        let refused = |rest: &str, expected: &str| {
            let told = parse(rest).unwrap_err();
            assert!(told.contains(expected), "{rest}: {told}");
        };
        refused("user = '{sub}'", "write claims = {} to let in everybody");
        refused("claims = { ref = [] }", "empty list of the claim `ref`");
        refused("claims = { ref = 1.5 }", "a claim has to be a text");
        refused("claims = {}, user = '{'", "a brace that is not closed");
        refused("claims = {}, user = 'x:{sub}', same-names = true", "with `same-names` no name has a colon");
        refused("claims = {}, groups = ['a:b'], same-names = true", "with `same-names` no name has a colon");
        refused("claims = {}, leeway = '1h'", "10m at most");
        refused("claims = {}, keys = '/k', ca = '/c'", "is not asked");
        refused("claims = {}, hosts = ['https://x']", "is not a host");
        refused("claims = {}, title = 'x'", "set `client-id` too");
        refused("claims = {}, client-secret-file = '/s'", "set `client-id` too");
        refused("claims = {}, client-id = ''", "plain characters");
        refused("claims = {}, client-id = 'x', keys = '/k'", "leave `client-id` out");
        refused("claims = {}, client-id = 'x', scopes = ['a b']", "is no scope");
        refused("claims = {}, client-id = 'x', title = ''", "1 to 64 characters");
        let people =
            "{ name = 'x', issuer = 'https://id', client-id = 'r', claims = {}, scopes = ['openid', 'groups'] }";
        let people: OidcSetting = people.parse().unwrap();
        assert_eq!((people.title(), people.scope().as_str()), ("x", "openid groups"));
        let issuer = |issuer: &str| {
            format!("{{ name = 'x', issuer = '{issuer}', audience = 'a', claims = {{}} }}").parse::<OidcSetting>()
        };
        for right in
            ["https://id.example.com", "https://id.example.com/realms/x", "http://127.0.0.1:4000", "http://localhost"]
        {
            issuer(right).unwrap();
        }
        assert!(issuer("http://id.example.com").unwrap_err().contains("unencrypted"));
        for wrong in ["id.example.com", "https://id.example.com?a", "https://u:p@id.example.com", "ldap://x"] {
            let told = issuer(wrong).unwrap_err();
            assert!(told.contains("not the URL of a provider") && !told.contains("u:p"), "{told}");
        }
    }

    #[test]
    fn no_provider_gives_names_of_another() {
        let of = |name: &str, user: &str| -> OidcSetting {
            let text =
                format!("name = '{name}', issuer = 'https://{name}', audience = 'a', claims = {{}}, user = '{user}'");
            format!("{{ {text} }}").parse().unwrap()
        };
        check_together(&[of("one", "{sub}"), of("two", "two:{sub}")]).unwrap();
        let told = check_together(&[of("one", "{sub}"), of("one", "{sub}")]).unwrap_err();
        assert!(told.contains("oidc 2 has the name `one`"), "{told}");
        let (shared, fixed) = ("ci:{sub}", "ci:root");
        check_together(&[of("one", fixed), of("two", fixed)]).unwrap();
        for (one, two) in [(shared, shared), (shared, fixed), (fixed, shared)] {
            let told = check_together(&[of("one", one), of("two", two)]).unwrap_err();
            assert!(told.contains("would give names that begin with `ci:`"), "{told}");
        }
        for user in ["one:{sub}", "certificate:{sub}", "one:root"] {
            let told = check_together(&[of("one", "{sub}"), of("two", user)]).unwrap_err();
            assert!(told.contains("oidc 2 would give names that begin with"), "{told}");
        }
    }
}
