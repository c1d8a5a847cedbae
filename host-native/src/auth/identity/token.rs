//! Tokens of a Docker token server: signed by a key that the administrator named, never by one that the token brings.

use std::path::PathBuf;
use std::sync::Arc;

use orlop_core::caller::Right;

use super::jwt::{Claims, Jwt, Validity};
use super::keys::{self, Key};
use super::{CERTIFICATE, Identity, Problem, scope, seconds};
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

impl Tokens {
    /// As the settings have it: all of it, or none. The keys of `before` are read again, if they are in the same file.
    pub(super) fn of(settings: &Auth, before: Option<&Self>) -> Result<Option<Self>, String> {
        let Auth { token_realm, token_service, token_issuer, token_keys, .. } = settings;
        match (token_realm, token_service, token_issuer, token_keys) {
            (None, None, None, None) => Ok(None),
            (Some(realm), Some(service), Some(issuer), Some(path)) => Ok(Some(Self {
                realm: realm.clone(),
                service: service.clone(),
                issuer: issuer.clone(),
                keys: match before.map(|before| &before.keys).filter(|keys| keys.is_of(&[path])) {
                    Some(keys) => {
                        keys.read_again()?;
                        keys.clone()
                    }
                    None => open(path.clone())?,
                },
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
        let token = Jwt::parse(token).ok_or(Problem::Malformed)?;
        let refused = |reason: &str, problem| {
            tracing::debug!("a token is refused: {reason}");
            Err(problem)
        };
        if !self.keys.get().iter().any(|key| key.has_signed(&token)) {
            return refused("no key of ours has signed it", Problem::Wrong);
        }
        let claims = match token.claims() {
            Ok(claims) => claims,
            Err(error) => return refused(&error.to_string(), Problem::Wrong),
        };
        if !claims.are_of(&self.issuer, &self.service) {
            return refused("it is of another issuer, or meant for another service", Problem::Wrong);
        }
        if claims.subject().starts_with(CERTIFICATE) {
            return refused("its subject is written like the name of a certificate", Problem::Wrong);
        }
        match claims.validity(seconds(), LEEWAY) {
            Validity::Now => Ok(identity(&claims)),
            Validity::NotYet => refused("it is not valid yet", Problem::Wrong),
            Validity::NoMore => refused("it is not valid any more", Problem::Expired),
        }
    }
}

fn open(path: PathBuf) -> Result<Arc<Watched<Vec<Key>>>, String> {
    let name = path.display().to_string();
    let named = name.clone();
    let make = move |files: &[Vec<u8>]| {
        let keys::KeySet { keys, passed_over } =
            keys::parse(&files[0]).map_err(|reason| format!("{named}: {reason}"))?;
        passed_over.iter().for_each(|told| tracing::warn!("token-keys: {told}"));
        if keys.is_empty() {
            // A key that was taken out of the set is out of force, also when it was the last one.
            tracing::error!("{named}: no key in it can be used, so every token is refused");
        }
        Ok(keys)
    };
    let keys = Watched::open(vec![path], make)?;
    if keys.get().is_empty() {
        return Err(format!("{name}: no key in it can be used: {}", keys::SUPPORTED));
    }
    Ok(keys)
}

fn identity(claims: &Claims) -> Identity {
    let granted = claims.access().iter().filter_map(|granted| {
        let mut rule = scope::rule(&granted.kind, &granted.name, granted.actions.iter().map(String::as_str))?;
        // Whoever may pull from a repository finds it in the catalog.
        if rule.rights.contains(&Right::Pull) {
            rule.rights.push(Right::List);
        }
        Some(rule)
    });
    let name = claims.subject().chars().filter(|c| !c.is_control()).take(255).collect();
    Identity::with_token(name, granted.collect())
}

#[cfg(test)]
pub(super) mod tests;
