//! What happened, for whoever looks it up: it is put beside the change by the commit that makes it
//! ([`tell`](Call::tell)), read from the last to the first, and forgotten when it is old.
//!
//! The keys count time backwards. So the last comes first, a page reads no more than it shows and passes over, and what is
//! old stands behind one key.

use alloc::string::String;
use alloc::vec::Vec;

use super::Call;
use super::batch::Batch;
use super::pages::Pages;
use crate::ambient::Timestamp;
use crate::caller::Right;
use crate::config::{ACTIVITY_READS, SCAN_BYTES, SCAN_PAGE};
use crate::effect::{Durability, Scan};
use crate::error::Error;
use crate::event::{Activity, Event, Looked};
use crate::keys::{self, Key};
use crate::record;

/// How many digits of a name are the time.
const TIME: usize = 14;

/// The smallest page that is read.
const LEAST: usize = 100;

impl Call {
    /// A page of what happened in repositories from which the caller may pull (SPEC AF20). It reads
    /// [`ACTIVITY_READS`] records at most.
    pub(crate) async fn activity(&self, looked: &Looked) -> Result<Activity, Error> {
        let prefix = keys::activities();
        let mut after = match (&looked.after, looked.until) {
            (Some(after), _) => Some(prefix.at(after)),
            (None, until) => until.map(keys::activity_of),
        };
        let (mut events, mut reads, mut last) = (Vec::new(), 0, String::new());
        while reads < ACTIVITY_READS {
            let limit = looked.n.clamp(LEAST, SCAN_PAGE).min(ACTIVITY_READS - reads);
            let scan = Scan { prefix: prefix.clone(), after: after.take(), limit, bytes: SCAN_BYTES };
            let page = self.ask(scan).await?;
            let Some((key, _)) = page.last() else { return Ok(Activity { events, next: None }) };
            (after, reads) = (Some(key.clone()), reads + page.len());
            for (key, value) in page {
                let name = prefix.rest(&key);
                last = name.into();
                // One that does not read is passed over.
                let Ok(event) = record::decode::<Event>(&key, &value) else { continue };
                if looked.from.is_some_and(|from| event.time < from) {
                    return Ok(Activity { events, next: None });
                }
                if self.sees(looked, &event) {
                    events.push((name.into(), event));
                }
                if events.len() >= looked.n {
                    return Ok(Activity { events, next: Some(last) });
                }
            }
        }
        // The caller may not see the last one, so its name is not told: the next page begins at its time, behind what was
        // shown of that. Only where that would be the same page again it goes on behind the name.
        let time = last.get(..TIME).unwrap_or_default();
        let again = looked.after.as_ref().is_some_and(|after| after.as_str() >= time);
        let next = match events.last() {
            Some((name, _)) if name.starts_with(time) => name.clone(),
            _ if again => last,
            _ => time.into(),
        };
        Ok(Activity { events, next: Some(next) })
    }

    /// Whether an event is looked for, and the caller may know of it.
    fn sees(&self, looked: &Looked, event: &Event) -> bool {
        let Ok(name) = event.repository.parse() else { return false };
        looked.wants(event, &name) && self.may(Right::Pull, &name) && !self.is_vouched_for(&name)
    }

    /// Forgets what is too old, and of more than are to be kept the oldest (SPEC AF24): how many.
    ///
    /// Nothing is decided upon what was read but by what never changes, the name of each; so nothing is expected, and two
    /// that do it at once do no harm. A crash leaves the rest to the next time.
    pub(crate) async fn prune_activity(&self) -> Result<u64, Error> {
        let prefix = keys::activities();
        let mut pages = Pages::after(&prefix, self.last_kept().await?);
        let mut forgotten = 0;
        while let Some(page) = pages.next(self).await? {
            let mut batch = Batch::reclaiming();
            forgotten += page.len() as u64;
            page.into_iter().for_each(|(key, _)| batch.delete(key));
            self.commit(batch, Durability::Eventual).await?;
        }
        Ok(forgotten)
    }

    /// The place behind which all is to be forgotten; none before all.
    async fn last_kept(&self) -> Result<Option<Key>, Error> {
        let lifetime = self.config.activity_lifetime;
        if lifetime.is_zero() {
            return Ok(None);
        }
        let since = self.ambient.now.0.saturating_sub(u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX));
        // What is just that old stays.
        let oldest = keys::activity_of(Timestamp(since.saturating_sub(1)));
        let prefix = keys::activities();
        let (mut pages, mut kept) = (Pages::new(&prefix), 0);
        while let Some(page) = pages.next(self).await? {
            for (key, _) in page {
                if key > oldest {
                    return Ok(Some(oldest));
                }
                kept += 1;
                if kept >= self.config.activities {
                    return Ok(Some(key));
                }
            }
        }
        Ok(Some(oldest))
    }
}
