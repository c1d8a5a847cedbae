//! The effects that ask upstreams: what mutations make of them, and what trouble with the upstream does.

use std::time::Duration;

use bytes::Bytes;
use orlop_core::Method;
use orlop_core::effect::{Fault, Fetch, Inquire, Received, Relay};
use orlop_core::memory::RequestBody;
use orlop_core::mirror::{Answer, Relayed, Unmet};

use super::super::mirrored::{Trouble, altered};
use super::super::sample::digest;
use super::super::store::{Altered, Store, size_of};
use super::Mutation;

impl Altered for Inquire {
    const CHANGES: bool = false;

    fn perform(self, store: &mut Store, body: &RequestBody) -> Result<Result<Answer, Unmet>, Fault> {
        if store.mutation == Mutation::UpstreamNotAsked
            && let Some(digest) = self.wanted.resource.strip_prefix("blobs/")
        {
            let length = size_of(&store.memory, digest);
            return Ok(Ok(Answer { media_type: None, digest: None, length, next: None, body: Bytes::new() }));
        }
        store.execute(self, body)
    }

    fn troubled(self, store: &mut Store, trouble: Trouble) -> Result<Result<Answer, Unmet>, Fault> {
        let lies = |answer: Answer| match self.wanted.method {
            Method::Get => Answer { body: altered(&answer.body), ..answer },
            _ => Answer { digest: Some(digest(b"a lie")), length: answer.length.map(|length| length + 1), ..answer },
        };
        match unmet(trouble) {
            Some(unmet) => Ok(Err(unmet)),
            None => Ok(store.execute(self.clone(), &RequestBody::default())?.map(lies)),
        }
    }
}

impl Altered for Fetch {
    const CHANGES: bool = true;

    fn perform(self, store: &mut Store, body: &RequestBody) -> Result<Result<Received, Unmet>, Fault> {
        let fetched = store.execute(self.clone(), body)?.map(|received| match store.mutation {
            Mutation::ResumedFromTheStart if self.meter.count() > 0 => {
                self.replaced(store, received, |whole, new| whole.slice(..whole.len() - new))
            }
            Mutation::FetchedUnverified => {
                let right = received.meter.clone();
                let received = self.replaced(store, received, |whole, new| altered(&whole.slice(new..)));
                Received { meter: right, ..received }
            }
            _ => received,
        });
        store.fetched = fetched.clone().ok();
        store.delay(self.object);
        Ok(fetched)
    }

    fn troubled(self, store: &mut Store, trouble: Trouble) -> Result<Result<Received, Unmet>, Fault> {
        if trouble == Trouble::Breaks {
            // Half of what is left; the size is that of the blob that the upstream would send.
            let left = self.size(store).saturating_sub(self.meter.count());
            if let Some(upstream) = store.memory.upstreams.get_mut(&self.source.upstream) {
                upstream.breaks.push(usize::try_from(left / 2).unwrap_or(usize::MAX));
            }
            return self.perform(store, &RequestBody::default());
        }
        let fetched = match unmet(trouble) {
            Some(unmet) => Err(unmet),
            None => store
                .execute(self.clone(), &RequestBody::default())?
                .map(|received| self.replaced(store, received, |whole, new| altered(&whole.slice(new..)))),
        };
        store.fetched = fetched.clone().ok();
        Ok(fetched)
    }
}

/// What the fetch of a blob comes to.
trait Fetched {
    /// How many bytes the upstream says that the blob has; none when it has none.
    fn size(&self, store: &mut Store) -> u64;

    /// The same outcome with other new bytes: what `change` makes of all bytes, and of where the new ones begin.
    fn replaced(&self, store: &mut Store, received: Received, change: fn(Bytes, usize) -> Bytes) -> Received;
}

impl Fetched for Fetch {
    fn size(&self, store: &mut Store) -> u64 {
        store.size_upstream(&self.source)
    }

    fn replaced(&self, store: &mut Store, received: Received, change: fn(Bytes, usize) -> Bytes) -> Received {
        let before = usize::try_from(self.meter.count()).unwrap_or(usize::MAX);
        let stored = store.memory.objects.get_mut(&self.object);
        let whole =
            received.kept.clone().or_else(|| stored.as_ref().map(|(bytes, _)| bytes.clone())).unwrap_or_default();
        let new = change(whole.clone(), before.min(whole.len()));
        let mut meter = self.meter.clone();
        meter.update(&new);
        if received.kept.is_some() {
            return Received { meter, kept: Some(new), ..received };
        }
        if let Some((bytes, _)) = stored {
            *bytes = [whole.slice(..before.min(whole.len())), new].concat().into();
        }
        Received { meter, ..received }
    }
}

impl Altered for Relay {
    const CHANGES: bool = false;

    fn troubled(self, store: &mut Store, trouble: Trouble) -> Result<Result<Relayed, Unmet>, Fault> {
        match unmet(trouble) {
            Some(unmet) => Ok(Err(unmet)),
            None => {
                Ok(store.execute(self, &RequestBody::default())?.map(|Relayed { size }| Relayed { size: size + 1 }))
            }
        }
    }
}

/// What an upstream says that does not answer as it should; nothing when it answers with something else.
fn unmet(trouble: Trouble) -> Option<Unmet> {
    match trouble {
        Trouble::Absent => Some(Unmet::Absent),
        Trouble::Denied => Some(Unmet::Denied),
        Trouble::Paused => Some(Unmet::Paused(Duration::from_secs(1))),
        Trouble::Failed => Some(Unmet::Failed("it is to fail here".into())),
        Trouble::Lies | Trouble::Breaks => None,
    }
}
