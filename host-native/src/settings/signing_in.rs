//! Who signs in to the web page, and for how long.

use std::time::Duration;

use clap::Args;

use super::{Who, number};

/// Sessions of the web page.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Sign-in")]
pub struct SigningIn {
    /// How long a session of the web page lasts that is not used
    #[arg(long, env = "ORLOP_SESSION_IDLE", default_value = "12h", value_name = "TIME", value_parser = lasting)]
    pub(crate) session_idle: Duration,

    /// How long a session of the web page lasts at most
    #[arg(long, env = "ORLOP_SESSION_LIFETIME", default_value = "7d", value_name = "TIME", value_parser = lasting)]
    pub(crate) session_lifetime: Duration,

    /// Who administers the registry: user:NAME or group:NAME (repeatable)
    ///
    /// Administrators see and revoke the API tokens of all users. What they may push, pull and delete is for the rules to
    /// say.
    #[arg(long, env = "ORLOP_ADMINISTRATORS", value_name = "WHO", value_delimiter = ',', value_parser = administrator)]
    pub(crate) administrators: Vec<Who>,
}

fn lasting(text: &str) -> Result<Duration, String> {
    let time = number::time(text)?;
    match time < Duration::from_secs(60) {
        true => Err("a session lasts a minute at least".into()),
        false => Ok(time),
    }
}

fn administrator(text: &str) -> Result<Who, String> {
    match Who::try_from(text.to_owned())? {
        who @ (Who::User(_) | Who::Group(_)) => Ok(who),
        _ => Err(format!("`{text}` is nobody in particular: write user:NAME or group:NAME")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn administrators_are_users_and_groups() {
        assert_eq!(administrator("user:alice"), Ok(Who::User("alice".into())));
        assert_eq!(administrator("group:ops"), Ok(Who::Group("ops".into())));
        for wrong in ["anybody", "authenticated", "anonymous", "certificate:ci", "alice", ""] {
            assert!(administrator(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_session_lasts_a_minute_at_least() {
        assert_eq!(lasting("60s"), Ok(Duration::from_secs(60)));
        assert!(lasting("59s").is_err() && lasting("0").is_err());
    }
}
