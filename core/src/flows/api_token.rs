//! API tokens: made, found, listed, revoked, and when each was last used (SPEC AB).
//!
//! Each is one record, and each change one commit that expects it as it was read. So of a note that a token was used and its
//! revocation at the same moment the revocation stays.

use alloc::format;
use alloc::vec::Vec;

use super::Call;
use super::batch::{Batch, Found};
use super::places;
use crate::api_token::{ApiToken, ApiTokenId, ApiTokenPage, ApiTokenRecord, ApiTokenShown, NewApiToken};
use crate::config::{ATTEMPTS, PULLED_COARSELY, PULLS_A_COMMIT};
use crate::effect::{Committed, Durability, Get};
use crate::error::Error;
use crate::keys::{self, Key};
use crate::record;
use crate::secret::UserKey;

impl Call {
    /// Makes a token.
    pub(crate) async fn create_api_token(&self, new: &NewApiToken) -> Result<ApiToken, Error> {
        new.check()?;
        let (user, now) = (UserKey::of(&new.user), self.ambient.now);
        let mut actions = new.actions.clone();
        actions.sort_unstable();
        actions.dedup();
        for _ in 0..ATTEMPTS {
            let taken = self.places::<ApiTokenRecord>(&keys::api_tokens_of(&user)).await?;
            let most = self.config.api_tokens;
            let ended = |record: &ApiTokenRecord| record.has_ended(now);
            let place = match places::free(&taken, most) {
                Some(place) => Some(place),
                // One that has ended, or that does not read, opens nothing.
                None => taken.into_iter().find(|p| p.number < most && p.record.as_ref().is_none_or(ended)),
            };
            let Some(place) = place else {
                let told =
                    format!("{} has {most} API tokens, as many as a user may have: revoke one of them", new.user);
                return Err(Error::Denied(told));
            };
            let (number, key) = (place.number, keys::api_token(&user, place.number));
            let mut batch = Batch::default();
            batch.expect(place.unchanged(key.clone()));
            let NewApiToken { user: of, groups, by, name, repositories, expires, secret, proof, .. } = new.clone();
            let actions = actions.clone();
            let used = None;
            let record = ApiTokenRecord {
                user: of,
                groups,
                by,
                name,
                secret,
                proof,
                repositories,
                actions,
                created: now,
                expires,
                used,
            };
            batch.put(key, &record);
            if self.commit(batch, Durability::Durable).await? == Committed::Done {
                return Ok(ApiToken { id: ApiTokenId::of(user, number, &secret), record });
            }
        }
        Err(Error::Contention)
    }

    /// The tokens of a user, those too that have ended, in the order in which they were made.
    pub(crate) async fn api_tokens(&self, user: &str) -> Result<Vec<ApiToken>, Error> {
        let key = UserKey::of(user);
        let taken = self.places::<ApiTokenRecord>(&keys::api_tokens_of(&key)).await?;
        let tokens = taken.into_iter().filter_map(|place| {
            let record = place.record.filter(|record| record.user == user)?;
            Some(ApiToken { id: ApiTokenId::of(key.clone(), place.number, &record.secret), record })
        });
        let mut tokens: Vec<ApiToken> = tokens.collect();
        tokens.sort_by_key(|token| (token.record.created, token.id.place));
        Ok(tokens)
    }

    /// The tokens of all users, from behind `after` on.
    pub(crate) async fn all_api_tokens(&self, after: Option<Key>) -> Result<ApiTokenPage, Error> {
        let page = self.scan(&keys::all_api_tokens(), after).await?;
        let last = page.last().map(|(key, _)| key.clone());
        let tokens = page.iter().filter_map(|(key, value)| {
            let place = keys::all_api_tokens().rest(key).rsplit_once('/')?.1;
            // One that does not read is nobody's token; garbage collection names it.
            let record: ApiTokenRecord = record::decode(key, value).ok()?;
            let place = u8::from_str_radix(place, 16).ok()?;
            Some(ApiToken { id: ApiTokenId::of(UserKey::of(&record.user), place, &record.secret), record })
        });
        Ok(ApiTokenPage { tokens: tokens.collect(), after: last })
    }

    /// The token of a user that a client shows, if it is there, and has not ended.
    pub(crate) async fn shown_api_token(&self, user: &str, shown: &ApiTokenShown) -> Result<Option<ApiToken>, Error> {
        let key = UserKey::of(user);
        let found = self.api_token_at(&key, shown.place).await?;
        let right = |record: &ApiTokenRecord| {
            record.secret == shown.secret && record.user == user && !record.has_ended(self.ambient.now)
        };
        let record = found.map(|found| found.record).filter(right);
        Ok(record.map(|record| ApiToken { id: ApiTokenId::of(key, shown.place, &record.secret), record }))
    }

    /// The token of that id, if it is there, and has not ended.
    pub(crate) async fn api_token(&self, id: &ApiTokenId) -> Result<Option<ApiTokenRecord>, Error> {
        let found = self.named_api_token(id).await?.map(|found| found.record);
        Ok(found.filter(|record| !record.has_ended(self.ambient.now)))
    }

    /// Revokes a token. Whether there was one of that id.
    pub(crate) async fn revoke_api_token(&self, id: &ApiTokenId) -> Result<bool, Error> {
        for _ in 0..ATTEMPTS {
            let Some(found) = self.named_api_token(id).await? else { return Ok(false) };
            let mut batch = Batch::reclaiming();
            batch.expect(found.unchanged());
            batch.delete(found.key);
            // It must not be back after a power cut.
            if self.commit(batch, Durability::Durable).await? == Committed::Done {
                return Ok(true);
            }
        }
        Err(Error::Contention)
    }

    /// Writes down that these were used, once an hour at most for each. It waits for no disk.
    pub(crate) async fn note_api_tokens(&self, ids: &[ApiTokenId]) -> Result<(), Error> {
        for ids in ids.chunks(PULLS_A_COMMIT) {
            let batch = self.uses(ids).await?;
            if batch.is_empty() || self.commit(batch, Durability::Eventual).await? == Committed::Done {
                continue;
            }
            // Another host has noted one of them, or one is revoked.
            for id in ids {
                let batch = self.uses(core::slice::from_ref(id)).await?;
                if !batch.is_empty() {
                    self.commit(batch, Durability::Eventual).await?;
                }
            }
        }
        Ok(())
    }

    /// The change that notes these, but for those that were noted lately or are not there any more.
    async fn uses(&self, ids: &[ApiTokenId]) -> Result<Batch, Error> {
        let now = self.ambient.now;
        let keys: Vec<Key> = ids.iter().map(|id| keys::api_token(&id.user, id.place)).collect();
        let values = self.ask(Get { keys: keys.clone() }).await?;
        let mut batch = Batch::default();
        for ((id, key), value) in ids.iter().zip(keys).zip(values) {
            let found = Found::<ApiTokenRecord>::read(key, value).ok().flatten();
            let Some(found) = found.filter(|found| is_named(found, id)) else { continue };
            let noted = found.record.used.is_some_and(|used| now.since(used) < PULLED_COARSELY);
            // One that is named twice here is noted once.
            if !noted && !batch.put.iter().any(|(key, _)| *key == found.key) {
                batch.expect(found.unchanged());
                batch.put(found.key.clone(), &ApiTokenRecord { used: Some(now), ..found.record });
            }
        }
        Ok(batch)
    }

    async fn api_token_at(&self, user: &UserKey, place: u8) -> Result<Option<Found<ApiTokenRecord>>, Error> {
        let key = keys::api_token(user, place);
        let [value] = self.get([key.clone()]).await?;
        // One that does not read is nobody's token.
        Ok(Found::read(key, value).ok().flatten())
    }

    async fn named_api_token(&self, id: &ApiTokenId) -> Result<Option<Found<ApiTokenRecord>>, Error> {
        let found = self.api_token_at(&id.user, id.place).await?;
        Ok(found.filter(|found| is_named(found, id)))
    }
}

/// Whether it is the token of that id, and not one that has its place now.
fn is_named(found: &Found<ApiTokenRecord>, id: &ApiTokenId) -> bool {
    ApiTokenId::of(UserKey::of(&found.record.user), id.place, &found.record.secret) == *id
}
