//! Sessions of people who use the web page: begun, found, renewed, ended (SPEC AB).
//!
//! Each is one record, and each change one commit that expects it as it was read. So of a renewal and the end of a session
//! at the same moment the end stays: what is not there any more is not written again.

use super::Call;
use super::batch::{Batch, Found};
use super::places::{self, Place};
use crate::ambient::Timestamp;
use crate::config::{ATTEMPTS, Config, RENEWED};
use crate::effect::{Committed, Durability};
use crate::error::Error;
use crate::keys::{self, Key};
use crate::secret::UserKey;
use crate::sign_in::{NewSignIn, SignIn, SignInHandle, SignInRecord};

impl SignInRecord {
    /// When the session ends if it is not used again.
    pub(super) fn ends(&self, config: &Config) -> Timestamp {
        self.touched.after(config.sign_in_idle).min(self.began.after(config.sign_in_lifetime))
    }
}

impl Call {
    /// Begins a session, and says at which place. One that has ended gives its place away, then the one that has rested for
    /// longest.
    pub(crate) async fn sign_in(&self, new: &NewSignIn) -> Result<u8, Error> {
        let (user, now) = (UserKey::of(&new.user), self.ambient.now);
        for _ in 0..ATTEMPTS {
            let place = self.free_place(&user).await?;
            let (number, key) = (place.number, keys::sign_in(&user, place.number));
            let mut batch = Batch::reclaiming();
            batch.expect(place.unchanged(key.clone()));
            let NewSignIn { user, groups, by, mark, secret } = new.clone();
            batch.put(key, &SignInRecord { user, groups, by, mark, secret, began: now, touched: now });
            if self.commit(batch, Durability::Durable).await? == Committed::Done {
                return Ok(number);
            }
        }
        Err(Error::Contention)
    }

    /// The place that the next session takes.
    async fn free_place(&self, user: &UserKey) -> Result<Place<SignInRecord>, Error> {
        let taken = self.places::<SignInRecord>(&keys::sign_ins_of(user)).await?;
        let most = self.config.sign_ins.max(1);
        if let Some(place) = places::free(&taken, most) {
            return Ok(place);
        }
        // Before what was used least lately comes what has ended, or does not read: it is nobody's session.
        let rested = |place: &Place<SignInRecord>| {
            let live = place.record.as_ref().filter(|record| record.ends(&self.config) > self.ambient.now);
            live.map(|record| record.touched)
        };
        let first = taken.into_iter().filter(|place| place.number < most).min_by_key(rested);
        first.ok_or(Error::Contention)
    }

    /// The session that a browser shows, if it has not ended. Nothing is written.
    pub(crate) async fn signed_in(&self, handle: &SignInHandle) -> Result<Option<SignIn>, Error> {
        let Some(Found { record, .. }) = self.shown(handle).await? else { return Ok(None) };
        let (now, ends) = (self.ambient.now, record.ends(&self.config));
        let renew = now.since(record.touched) > self.config.sign_in_idle / RENEWED;
        Ok((ends > now).then_some(SignIn { record, ends, renew }))
    }

    /// Writes down that a session is used, unless that was done lately. It waits for no disk: a crash may end the session
    /// a little sooner.
    pub(crate) async fn renew_sign_in(&self, handle: &SignInHandle) -> Result<(), Error> {
        let Some(found) = self.shown(handle).await? else { return Ok(()) };
        let now = self.ambient.now;
        let renew = now.since(found.record.touched) > self.config.sign_in_idle / RENEWED;
        if !renew || found.record.ends(&self.config) <= now {
            return Ok(());
        }
        let mut batch = Batch::reclaiming();
        batch.expect(found.unchanged());
        batch.put(found.key.clone(), &SignInRecord { touched: now, ..found.record });
        // If somebody has changed it meanwhile, it was renewed, or has ended.
        self.commit(batch, Durability::Eventual).await.map(drop)
    }

    /// Ends a session. Whether there was one.
    pub(crate) async fn sign_out(&self, handle: &SignInHandle) -> Result<bool, Error> {
        for _ in 0..ATTEMPTS {
            let Some(found) = self.shown(handle).await? else { return Ok(false) };
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

    /// The record of the session whose secret was shown.
    async fn shown(&self, handle: &SignInHandle) -> Result<Option<Found<SignInRecord>>, Error> {
        let key: Key = keys::sign_in(&handle.user, handle.place);
        let [value] = self.get([key.clone()]).await?;
        // One that does not read is nobody's session.
        let found = Found::<SignInRecord>::read(key, value).ok().flatten();
        Ok(found.filter(|found| found.record.secret == handle.secret))
    }
}
