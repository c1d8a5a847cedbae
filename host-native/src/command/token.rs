//! `orlop token`: API tokens of users, made, listed and revoked; and what a server does with them by itself.

use std::collections::HashMap;
use std::error::Error;
use std::fmt::{self, Write as _};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use orlop_core::api_token::{ApiAction, ApiToken, ApiTokenId};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::auth::identity::Identities;
use crate::auth::identity::api_token::Wanted;
use crate::auth::identity::sign_in::{PASSWORD, Vouched};
use crate::command::cli::{TokenAction, TokenCommand};
use crate::command::config::Effective;
use crate::command::control::{Request, read_asked, write_asked};
use crate::command::printed::refused;
use crate::command::start::by_the_servers_settings;
use crate::command::storage::{agree, by_server_or_here};
use crate::observe::date::rfc3339;
use crate::observe::log;
use crate::request::api_tokens::told;
use crate::request::live::{Current, Live};
use crate::settings::{LogFormat, Settings};
use crate::storage::{self, Host, ambient};

/// What the line of a request begins with.
const LINE: &str = "token ";

/// How often it is noted which tokens were used.
const NOTED: Duration = Duration::from_secs(10);

/// How often it is looked whether the users of tokens are still there. The first look is soon after the start.
const LOOKED: Duration = Duration::from_secs(300);

/// How long a user must be missing before the tokens go: the password file may be another one for a moment.
const MISSING: Duration = Duration::from_secs(3600);

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Asked {
    /// To make a token. The answer has it.
    Create {
        /// Of which user.
        user: String,
        /// What it is called.
        name: String,
        /// For which repositories.
        repositories: Vec<String>,
        /// What it allows.
        actions: Vec<ApiAction>,
        /// How long it lasts, in seconds; 0 is for ever.
        seconds: u64,
        /// As JSON.
        json: bool,
    },
    /// To list the tokens of a user, or of all.
    List {
        /// Whose.
        user: Option<String>,
        /// As JSON.
        json: bool,
    },
    /// To revoke these.
    Revoke {
        /// Which.
        ids: Vec<ApiTokenId>,
    },
    /// To revoke all of a user.
    Forget {
        /// Whose.
        user: String,
    },
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_asked(f, LINE, self)
    }
}

impl FromStr for Asked {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        read_asked(LINE, line)
    }
}

/// `orlop token …`
///
/// # Errors
///
/// With what could not be done, and why.
pub fn token(command: &TokenCommand, effective: &[Effective]) -> Result<(), Box<dyn Error>> {
    let (asked, settings) = match command {
        TokenCommand::Create(created) => {
            let actions = created.action.iter().map(|action| match action {
                TokenAction::Pull => ApiAction::Pull,
                TokenAction::Push => ApiAction::Push,
                TokenAction::Delete => ApiAction::Delete,
            });
            let asked = Asked::Create {
                user: created.user.clone(),
                name: created.name.clone(),
                repositories: created.repository.clone(),
                actions: actions.collect(),
                seconds: created.expires.as_secs(),
                json: created.json,
            };
            (asked, &created.settings)
        }
        TokenCommand::List(listed) => (Asked::List { user: listed.user.clone(), json: listed.json }, &listed.settings),
        TokenCommand::Revoke(revoked) => {
            let asked = match &revoked.user {
                Some(user) => Asked::Forget { user: user.clone() },
                None => {
                    let ids = revoked
                        .ids
                        .iter()
                        .map(|id| id.parse().map_err(|error| format!("`{id}` is not the id of a token: {error}")));
                    Asked::Revoke { ids: ids.collect::<Result<_, String>>()? }
                }
            };
            (asked, &revoked.settings)
        }
    };
    out!("{}", ask(&asked, settings, effective)?);
    Ok(())
}

/// Has it done by the server that has the data directory open, or else by this process.
fn ask(asked: &Asked, settings: &Settings, effective: &[Effective]) -> Result<String, Box<dyn Error>> {
    let data = &settings.storage.data;
    if data.engines.engines()?.is_none() && storage::holder(&data.directory).is_some() {
        by_the_servers_settings(effective, "does this")?;
    }
    let here = async |host: &Arc<Host>| {
        log::start(settings.storage.log.clone(), LogFormat::Text);
        let (live, _) = Live::new(settings)?;
        let key = agree(&live.registry, host, &data.place()).await?;
        let live = live.keeping(host.clone(), key)?;
        answer(&live.identities, asked).await
    };
    by_server_or_here(data, &settings.options(), Request::Token(asked.clone()), here)
}

/// Does what is asked, and says what is to be printed.
///
/// # Errors
///
/// With the reason why it is not done.
pub(crate) async fn answer(identities: &Identities, asked: &Asked) -> Result<String, String> {
    match asked {
        Asked::Create { user, name, repositories, actions, seconds, json } => {
            if !identities.has_user(user) {
                return Err(format!("there is no user `{user}` in the password file; `orlop user list` prints them"));
            }
            let of = Vouched { user: user.clone(), groups: Vec::new(), by: PASSWORD.into() };
            let expires = (*seconds > 0).then(|| ambient().now.after(Duration::from_secs(*seconds)));
            let (name, repositories, actions) = (name.clone(), repositories.clone(), actions.clone());
            let wanted = Wanted { name, repositories, actions, expires };
            let (token, secret) = identities.create_api_token(of, wanted).await.map_err(reason)?;
            if !json {
                return Ok(secret);
            }
            let mut value = told(&token);
            value["secret"] = secret.into();
            Ok(value.to_string())
        }
        Asked::List { user, json } => {
            let tokens = match user {
                Some(user) => identities.api_tokens(user).await,
                None => identities.all_api_tokens().await,
            };
            let tokens = tokens.map_err(reason)?;
            match json {
                true => Ok(Json::from(tokens.iter().map(told).collect::<Vec<_>>()).to_string()),
                false => Ok(table(&tokens)),
            }
        }
        Asked::Revoke { ids } => {
            let (mut said, mut failed) = (Vec::new(), false);
            for id in ids {
                let revoked = identities.revoke_api_token(id).await.map_err(reason)?;
                failed |= !revoked;
                said.push(match revoked {
                    true => format!("{id} is revoked"),
                    false => format!("there is no token {id}; `orlop token list` prints them"),
                });
            }
            if failed { Err(said.join("\n")) } else { Ok(said.join("\n")) }
        }
        Asked::Forget { user } => {
            let mut revoked = 0;
            for token in identities.api_tokens(user).await.map_err(reason)? {
                revoked += u64::from(identities.revoke_api_token(&token.id).await.map_err(reason)?);
            }
            Ok(match revoked {
                1 => format!("1 token of {user} is revoked"),
                _ => format!("{revoked} tokens of {user} are revoked"),
            })
        }
    }
}

/// What a client would be told.
fn reason(error: orlop_core::Error) -> String {
    refused(&error.into())
}

fn table(tokens: &[ApiToken]) -> String {
    let mut text = String::new();
    for ApiToken { id, record } in tokens {
        let actions: Vec<&str> = record.actions.iter().map(|action| action.as_str()).collect();
        let ends = match record.expires {
            None => "lasts for ever".into(),
            Some(expires) if record.has_ended(ambient().now) => format!("ended {}", rfc3339(expires)),
            Some(expires) => format!("ends {}", rfc3339(expires)),
        };
        let used = record.used.map_or_else(|| "never used".into(), |used| format!("last used {}", rfc3339(used)));
        // A string takes everything.
        let _ = writeln!(
            text,
            "{id}  {} {:?}\n    {} in {}; made {}, {ends}, {used}",
            record.user,
            record.name,
            actions.join(", "),
            record.repositories.join(", "),
            rfc3339(record.created)
        );
    }
    let count = if tokens.len() == 1 { "1 token".into() } else { format!("{} tokens", tokens.len()) };
    text + &count
}

/// Has it noted which tokens were used, every few seconds and for ever.
pub async fn note_regularly(current: Current) {
    let mut failing = false;
    loop {
        tokio::time::sleep(NOTED).await;
        match current.get().identities.note_uses().await {
            Ok(()) => failing = false,
            Err(error) => {
                if !failing {
                    tracing::warn!("the use of API tokens cannot be noted: {}", reason(error));
                }
                failing = true;
            }
        }
    }
}

/// Has it noted once more which tokens were used.
pub async fn note_last(current: &Current) {
    if let Err(error) = current.get().identities.note_uses().await {
        tracing::warn!("the last use of API tokens is not noted: {}", reason(error));
    }
}

/// Revokes the tokens of users who are gone, for ever. Until then they are refused: a user of the same name who comes later
/// is to have none of them.
pub async fn forget_regularly(current: Current) {
    let (mut missing, mut pause) = (HashMap::new(), NOTED);
    loop {
        tokio::time::sleep(pause).await;
        pause = LOOKED;
        if let Err(error) = forget(&current.get().identities, &mut missing, Instant::now()).await {
            tracing::warn!("the API tokens of users who are gone cannot be revoked: {}", reason(error));
        }
    }
}

/// Looks which users are missing, and revokes the tokens of those who have been for long enough.
async fn forget(
    identities: &Identities,
    missing: &mut HashMap<String, Instant>,
    now: Instant,
) -> Result<(), orlop_core::Error> {
    let mut lost = HashMap::new();
    for token in identities.all_api_tokens().await? {
        if !identities.has_lost(&token.record) {
            continue;
        }
        let since = missing.get(&token.record.user).copied().unwrap_or(now);
        if now.saturating_duration_since(since) >= MISSING {
            identities.revoke_api_token(&token.id).await?;
        } else {
            lost.insert(token.record.user, since);
        }
    }
    *missing = lost;
    Ok(())
}

#[cfg(test)]
mod tests {
    use orlop_core::{Config, Registry};
    use tempfile::TempDir;

    use super::*;
    use crate::auth::identity::new_key;
    use crate::settings::{Auth, Options};

    #[test]
    fn what_is_asked_is_read_as_it_is_written() {
        let asked = [
            Asked::Create {
                user: "alice".into(),
                name: "a b\"c".into(),
                repositories: vec!["team/**".into()],
                actions: ApiAction::ALL.into(),
                seconds: 7,
                json: true,
            },
            Asked::List { user: None, json: false },
            Asked::List { user: Some("alice".into()), json: true },
            Asked::Revoke { ids: vec!["0".repeat(40).parse().unwrap()] },
            Asked::Forget { user: "a b".into() },
        ];
        for asked in asked {
            assert_eq!(asked.to_string().parse(), Ok(asked));
        }
        assert!("token dance".parse::<Asked>().is_err());
    }

    #[tokio::test]
    async fn the_tokens_of_a_user_who_stays_missing_are_revoked() {
        let directory = TempDir::new().unwrap();
        let host = Arc::new(Host::open(&directory.path().join("data"), &Options::default()).unwrap());
        let users = directory.path().join("users");
        let line = |user: &str| format!("{user}:{}\n", bcrypt::hash("secret", 4).unwrap());
        let write = |names: &[&str]| {
            std::fs::write(&users, names.iter().map(|user| line(user)).collect::<String>()).unwrap();
        };
        write(&["alice", "bob"]);
        let settings = Auth { htpasswd: Some(users.clone()), ..Auth::default() };
        let registry = Registry::new(Config::default());
        let open = || Identities::new(&settings).unwrap();
        let keeping =
            |identities: Identities| identities.keeping(host.clone(), registry.clone(), new_key().unwrap()).unwrap();
        let both = keeping(open());
        for user in ["alice", "bob"] {
            let create = Asked::Create {
                user: user.into(),
                name: "ci".into(),
                repositories: vec!["**".into()],
                actions: vec![ApiAction::Pull],
                seconds: 0,
                json: false,
            };
            assert!(answer(&both, &create).await.unwrap().starts_with("orlop_"));
        }
        let count = async |identities: &Identities| identities.all_api_tokens().await.unwrap().len();
        let (mut missing, now) = (HashMap::new(), Instant::now());
        write(&["alice"]);
        let one = keeping(open());
        forget(&one, &mut missing, now).await.unwrap();
        assert_eq!(count(&one).await, 2, "he may be back in a moment");
        write(&["alice", "bob"]);
        forget(&keeping(open()), &mut missing, now + MISSING).await.unwrap();
        assert_eq!((count(&one).await, missing.len()), (2, 0), "he is");
        write(&["alice"]);
        let one = keeping(open());
        forget(&one, &mut missing, now + 2 * MISSING).await.unwrap();
        forget(&one, &mut missing, now + 3 * MISSING).await.unwrap();
        let left = one.all_api_tokens().await.unwrap();
        assert_eq!(left.iter().map(|token| token.record.user.as_str()).collect::<Vec<_>>(), ["alice"]);
    }
}
