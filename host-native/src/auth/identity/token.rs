//! Tokens of a Docker token server: signed by a key that the administrator named, never by one that the token brings.

use std::path::PathBuf;
use std::sync::Arc;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Validation, decode, decode_header};
use orlop_core::caller::{Right, Rule};
use orlop_core::config::Pattern;
use orlop_core::name::Repository;
use serde::Deserialize;

use super::keys::{self, Key};
use super::{Identity, Problem};
use crate::settings::Auth;
use crate::settings::watched::Watched;

/// How far clocks may be apart, in seconds.
const LEEWAY: u64 = 30;

/// The longest token, in bytes. One that grants a hundred repositories has some 10 KiB.
const LONGEST: usize = 24 << 10;

/// What tokens are held against.
pub(super) struct Tokens {
    realm: String,
    service: String,
    issuer: String,
    keys: Arc<Watched<Vec<Key>>>,
}

/// What a token says.
#[derive(Deserialize)]
struct Claims {
    #[serde(default)]
    sub: String,
    #[serde(default)]
    access: Vec<Granted>,
}

#[derive(Deserialize)]
struct Granted {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    actions: Vec<String>,
}

impl Tokens {
    /// As the settings have it: all of it, or none.
    pub(super) fn of(settings: &Auth) -> Result<Option<Self>, String> {
        let Auth { token_realm, token_service, token_issuer, token_keys, .. } = settings;
        match (token_realm, token_service, token_issuer, token_keys) {
            (None, None, None, None) => Ok(None),
            (Some(realm), Some(service), Some(issuer), Some(path)) => Ok(Some(Self {
                realm: realm.clone(),
                service: service.clone(),
                issuer: issuer.clone(),
                keys: open(path.clone())?,
            })),
            _ => Err("tokens need all of token-realm, token-service, token-issuer and token-keys".into()),
        }
    }

    pub(super) fn watch(&self) {
        self.keys.watch();
    }

    pub(super) fn realm(&self) -> &str {
        &self.realm
    }

    pub(super) fn service(&self) -> &str {
        &self.service
    }

    /// Whom the token is of, and what it grants.
    pub(super) fn check(&self, token: &str) -> Result<Identity, Problem> {
        if token.len() > LONGEST {
            return Err(Problem::Malformed);
        }
        let header = decode_header(token).map_err(|_| Problem::Malformed)?;
        let mut problem = Problem::Wrong;
        for key in self.keys.get().iter().filter(|key| key.may_have_signed(&header)) {
            let mut validation = Validation::new(key.algorithm);
            validation.set_audience(&[&self.service]);
            validation.set_issuer(&[&self.issuer]);
            validation.set_required_spec_claims(&["exp", "aud", "iss"]);
            validation.validate_nbf = true;
            validation.leeway = LEEWAY;
            match decode::<Claims>(token, &key.key, &validation) {
                Ok(data) => return Ok(identity(data.claims)),
                Err(error) => {
                    tracing::debug!("a token is refused: {error}");
                    if matches!(error.kind(), ErrorKind::ExpiredSignature) {
                        problem = Problem::Expired;
                    }
                }
            }
        }
        Err(problem)
    }
}

fn open(path: PathBuf) -> Result<Arc<Watched<Vec<Key>>>, String> {
    let name = path.display().to_string();
    Watched::open(vec![path], move |files| keys::parse(&files[0]).map_err(|reason| format!("{name}: {reason}")))
}

fn identity(claims: Claims) -> Identity {
    let granted = claims.access.iter().filter_map(|granted| {
        let name = match granted.kind.as_str() {
            "registry" if granted.name == "catalog" => {
                let repositories = [Pattern::new("**")].into();
                return Some(Rule { allow: true, rights: [Right::List].into(), repositories, tags: None });
            }
            // A name is a name here, and never a pattern.
            "repository" => granted.name.parse::<Repository>().ok()?,
            _ => return None,
        };
        let rights = granted.actions.iter().flat_map(|action| match action.as_str() {
            "pull" => &[Right::Pull, Right::List] as &[Right],
            "push" => &[Right::Upload, Right::CreateTag, Right::OverwriteTag],
            "delete" => &[Right::Delete],
            "*" => &Right::ALL,
            _ => &[],
        });
        let repositories = [Pattern::new(name.as_str())].into();
        Some(Rule { allow: true, rights: rights.copied().collect(), repositories, tags: None })
    });
    let name = claims.sub.chars().filter(|c| !c.is_control()).take(255).collect();
    Identity::with_token(name, granted.collect())
}

#[cfg(test)]
mod tests;
