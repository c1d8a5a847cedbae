//! Who may do what.

use std::path::PathBuf;

use clap::Args;

use super::{GroupSetting, RuleSetting};

/// Who may do what. With no way to tell who somebody is and no rules, anybody may do everything.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Who may do what")]
pub struct Auth {
    /// The users and their passwords, as `htpasswd -B` and `orlop user` write them; read again when it changes
    ///
    /// bcrypt and argon2 are taken, anything weaker is refused.
    #[arg(id = "auth_htpasswd", long = "auth-htpasswd", env = "ORLOP_AUTH_HTPASSWD", value_name = "FILE")]
    pub htpasswd: Option<PathBuf>,

    /// Where clients reach this registry for tokens of its own: https://NAME/token
    ///
    /// With it, they trade a password for a token that is good for five minutes and for what it was asked for, and
    /// Docker's engine can pull where anonymous may. Without it, it asks for a login everywhere.
    #[arg(
        id = "auth_token_url",
        long = "auth-token-url",
        env = "ORLOP_AUTH_TOKEN_URL",
        value_name = "URL",
        value_parser = quotable
    )]
    pub token_url: Option<String>,

    /// What this registry is called where a password is asked for
    #[arg(
        id = "auth_realm",
        long = "auth-realm",
        env = "ORLOP_AUTH_REALM",
        default_value = "orlop",
        value_name = "TEXT",
        value_parser = quotable
    )]
    pub realm: String,

    /// Where clients get tokens: the address of a Docker token server
    #[arg(id = "token_realm", long = "token-realm", env = "ORLOP_TOKEN_REALM", value_name = "URL", value_parser = quotable)]
    pub token_realm: Option<String>,

    /// The name of this registry at the token server: what a token must be meant for (aud)
    #[arg(
        id = "token_service",
        long = "token-service",
        env = "ORLOP_TOKEN_SERVICE",
        value_name = "NAME",
        value_parser = quotable
    )]
    pub token_service: Option<String>,

    /// Who must have made a token (iss)
    #[arg(id = "token_issuer", long = "token-issuer", env = "ORLOP_TOKEN_ISSUER", value_name = "NAME")]
    pub token_issuer: Option<String>,

    /// The public keys that tokens are signed with: PEM, or a set in JSON (JWKS); read again when it changes
    ///
    /// RS256, ES256 and EdDSA are taken, each with a key of its kind; other keys of a set are passed over. A key that a
    /// token brings is never used.
    #[arg(id = "token_keys", long = "token-keys", env = "ORLOP_TOKEN_KEYS", value_name = "FILE")]
    pub token_keys: Option<PathBuf>,

    /// A rule, as a table of TOML; the first that speaks of a request decides (repeatable)
    ///
    /// { who = ["group:dev"], allow = ["pull", "push"], repositories = ["team/**"] } or deny = […]. Who is anybody,
    /// anonymous, authenticated, user:NAME, group:NAME or certificate:NAME. What is pull, push, delete, list or all;
    /// push is upload, create-tag and overwrite-tag. With tags = ["v*"] a rule speaks of these tags alone.
    #[arg(id = "rule", long = "rule", env = "ORLOP_RULE", value_name = "TABLE", value_delimiter = '\n')]
    pub rules: Vec<RuleSetting>,

    /// A group that rules may name: { name = "dev", members = ["alice", "bob"] } (repeatable)
    #[arg(id = "group", long = "group", env = "ORLOP_GROUP", value_name = "TABLE", value_delimiter = '\n')]
    pub groups: Vec<GroupSetting>,

    /// Listen beyond this machine although anybody may push
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
}

/// What goes between quotation marks into a header field.
fn quotable(text: &str) -> Result<String, String> {
    let allowed = |c: char| (c == ' ' || c.is_ascii_graphic()) && !matches!(c, '"' | '\\');
    if text.chars().all(allowed) {
        Ok(text.into())
    } else {
        Err("it goes into a header field: printable ASCII without quotation marks and backslashes".into())
    }
}
