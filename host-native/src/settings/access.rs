//! Access control: users, tokens, rules.

use std::path::PathBuf;

use clap::Args;

use super::{GroupSetting, Ldap, OidcSetting, RuleSetting};

/// Access control. Without users, tokens, client certificates and rules, every client may do everything.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Access control")]
pub struct Auth {
    /// The password file, as `orlop user` and `htpasswd -B` write it; read again when it changes
    ///
    /// Passwords are hashed with argon2 or bcrypt; weaker hashes are refused.
    #[arg(id = "auth_htpasswd", long = "auth-htpasswd", env = "ORLOP_AUTH_HTPASSWD", value_name = "FILE")]
    pub htpasswd: Option<PathBuf>,

    /// The URL at which clients get tokens from this registry: https://NAME/token
    ///
    /// With it, clients exchange the password for a token that is valid for five minutes and
    /// allows what it was asked for, and Docker's engine can pull
    /// without a login where anonymous may pull. Without it, Docker's engine needs a login for everything.
    #[arg(
        id = "auth_token_url",
        long = "auth-token-url",
        env = "ORLOP_AUTH_TOKEN_URL",
        value_name = "URL",
        value_parser = quotable
    )]
    pub token_url: Option<String>,

    /// The name of this registry in the password prompt of clients
    #[arg(
        id = "auth_realm",
        long = "auth-realm",
        env = "ORLOP_AUTH_REALM",
        default_value = "orlop",
        value_name = "TEXT",
        value_parser = quotable
    )]
    pub realm: String,

    /// The URL of a Docker token server at which clients get tokens
    #[arg(long, env = "ORLOP_TOKEN_REALM", value_name = "URL", value_parser = quotable)]
    pub token_realm: Option<String>,

    /// The name of this registry at the token server: the audience (aud) of tokens
    #[arg(
        long,
        env = "ORLOP_TOKEN_SERVICE",
        value_name = "NAME",
        value_parser = quotable
    )]
    pub token_service: Option<String>,

    /// The issuer (iss) of tokens
    #[arg(long, env = "ORLOP_TOKEN_ISSUER", value_name = "NAME")]
    pub token_issuer: Option<String>,

    /// The public keys that verify tokens: PEM or a JSON Web Key Set (JWKS); read again when the file changes
    ///
    /// RS256, ES256 and EdDSA are accepted, each with a key of its kind; other keys of a set are passed over. A key inside a token is never used.
    #[arg(long, env = "ORLOP_TOKEN_KEYS", value_name = "FILE")]
    pub token_keys: Option<PathBuf>,

    /// A rule, as a table of TOML; the first rule that matches a request decides (repeatable)
    ///
    /// { who = ["group:dev"], allow = ["pull", "push"], repositories = ["team/**"] }, or deny = […]. `who` lists anybody,
    /// anonymous, authenticated, user:NAME, group:NAME or certificate:NAME. The rights are pull, push, delete, list and
    /// all; push is upload, create-tag and overwrite-tag. With tags = ["v*"] the rule matches only these tags.
    #[arg(id = "rule", long = "rule", env = "ORLOP_RULE", value_name = "TABLE", value_delimiter = '\n')]
    pub rules: Vec<RuleSetting>,

    /// A group that rules may name: { name = "dev", members = ["alice", "bob"] } (repeatable)
    #[arg(id = "group", long = "group", env = "ORLOP_GROUP", value_name = "TABLE", value_delimiter = '\n')]
    pub groups: Vec<GroupSetting>,

    /// An identity provider whose tokens log clients in, as a table of TOML (repeatable)
    ///
    /// `{ name = "github", issuer = "https://token.actions.githubusercontent.com", audience = "registry.example.com" }`:
    /// a client logs in as the user `oidc` with an identity token as the password. The manual has all keys, among them
    /// `claims`, which the token has to have: orlop.toml(5).
    #[arg(id = "oidc", long = "oidc", env = "ORLOP_OIDC", value_name = "TABLE", value_delimiter = '\n')]
    pub oidc: Vec<OidcSetting>,

    /// Accept that every client that can reach the server may push and delete
    #[arg(
        long,
        env = "ORLOP_OPEN",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        default_value_t = false,
        action = clap::ArgAction::Set
    )]
    pub open: bool,

    /// Users of an LDAP directory.
    #[command(flatten)]
    pub ldap: Ldap,
}

impl Auth {
    /// Whether there may be such a group: one of the settings, or one that somebody who logs clients in may name.
    pub(crate) fn may_be_group(&self, name: &str) -> bool {
        let of_provider = || self.oidc.iter().any(|provider| provider.may_give(name));
        self.groups.iter().any(|group| group.name == name) || self.ldap.is_set() || of_provider()
    }
}

/// What goes between quotation marks into a header field.
fn quotable(text: &str) -> Result<String, String> {
    let allowed = |c: char| (c == ' ' || c.is_ascii_graphic()) && !matches!(c, '"' | '\\');
    if text.chars().all(allowed) {
        Ok(text.into())
    } else {
        Err("write printable ASCII without quotation marks and backslashes: it goes into a header field".into())
    }
}
