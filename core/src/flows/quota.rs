//! Quotas: how much repositories may hold, each by itself or several together (SPEC Z1–Z9).
//!
//! What a repository has is a counter that each commit changes by a delta, so a quota costs a push the same however much
//! is there. What several have together is the sum of these counters, read when it is needed: no record is changed by all
//! of them, no counter can come to disagree with the others, and it is right at once when the settings say that other
//! repositories belong together, for hosts with other settings too.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::Call;
use super::batch::Batch;
use super::pages::Pages;
use crate::config::{LEASE_AHEAD, Quota, SUM_LIFETIME, SUMMED, WARNINGS};
use crate::digest::{Algorithm, Digest};
use crate::effect::{Durability, Expect, Get, Value};
use crate::error::Error;
use crate::event::Exceeded;
use crate::http::Response;
use crate::keys::{self, Key};
use crate::name::Repository;
use crate::pattern::{Pattern, Reach};
use crate::record::{self, GroupRecord, OverRecord};

/// How much more a repository may hold: by the quota that leaves it the least. Without a quota, anything.
#[derive(Clone, Debug, Default)]
pub(super) struct Allowance {
    tightest: Option<Bound>,
    /// Where each soft limit of it stands once what was asked about is here.
    soft: Vec<Soft>,
}

/// A quota, and what is held of it.
#[derive(Clone, Debug)]
struct Bound {
    quota: Quota,
    held: u64,
}

/// A soft limit, and what is known of it.
#[derive(Clone, Debug)]
struct Soft {
    /// Which of the settings it is.
    number: usize,
    quota: Quota,
    /// What there will be.
    bytes: u64,
    key: Key,
    /// That it was exceeded before, and who listens was told.
    over: Option<Value>,
}

impl Quota {
    /// Whether it speaks of a repository.
    pub fn speaks_of(&self, name: &Repository) -> bool {
        self.repositories.iter().any(|pattern| pattern.matches(name))
    }

    /// Its name, or its patterns when it has none.
    pub fn title(&self) -> String {
        match self.name.as_str() {
            "" => self.repositories.iter().map(Pattern::as_str).collect::<Vec<_>>().join(" "),
            name => name.into(),
        }
    }

    /// What records call it. Another set of patterns is another quota.
    pub(super) fn id(&self) -> Digest {
        let patterns = self.repositories.iter().map(Pattern::as_str).collect::<Vec<_>>().join("\n");
        Algorithm::Sha256.digest(format!("{}\n{}\n{patterns}", self.name, self.together).as_bytes())
    }

    fn over(&self, name: &Repository) -> Key {
        keys::over(&self.id(), Some(name).filter(|_| !self.together))
    }
}

impl Allowance {
    /// How many bytes may still come.
    pub(super) fn bytes(&self) -> u64 {
        self.tightest.as_ref().map_or(u64::MAX, Bound::left)
    }

    /// The answer to a body of unknown length that turned out to be longer than that.
    pub(super) fn overrun(&self, name: &Repository) -> Error {
        self.exceeded(name, "this needs more than is left")
    }

    fn exceeded(&self, name: &Repository, needed: &str) -> Error {
        let Some(Bound { quota, held }) = &self.tightest else { return Error::Denied(needed.into()) };
        let (title, bytes) = (quota.title(), quota.bytes);
        Error::Denied(match quota.together {
            false => format!(
                "the quota of {name} is {bytes} bytes; its blobs, manifests and open uploads have {held}, and {needed}"
            ),
            true => format!(
                "the quota {title} is {bytes} bytes for all its repositories together; their blobs, manifests and open \
                 uploads have {held}, and {needed}"
            ),
        })
    }

    /// The response with a warning for each soft limit that is exceeded (SPEC A10, Z5).
    pub(super) fn warned(&self, mut response: Response, name: &Repository) -> Response {
        let mut length = 0;
        for soft in self.soft.iter().filter(|soft| soft.is_exceeded()) {
            let warning = format!("299 - \"{}\"", soft.text(name));
            length += warning.len();
            if length > WARNINGS {
                break;
            }
            response = response.with("Warning", warning);
        }
        response
    }
}

impl Bound {
    fn left(&self) -> u64 {
        self.quota.bytes.saturating_sub(self.held)
    }
}

impl Soft {
    fn is_exceeded(&self) -> bool {
        self.bytes > self.quota.soft
    }

    /// What a client is told: what goes into a header field between quotation marks.
    fn text(&self, name: &Repository) -> String {
        let Quota { soft, bytes: limit, together, .. } = &self.quota;
        let who = match together {
            true => format!("the repositories of the quota {} have", self.quota.title()),
            false => format!("{name} has"),
        };
        let then = match *limit {
            u64::MAX => String::new(),
            limit => format!("; a push beyond {limit} bytes is refused"),
        };
        let text = format!("{who} {} bytes, and the soft limit is {soft}{then}", self.bytes);
        text.chars().filter(|c| matches!(c, ' '..='~') && !matches!(c, '"' | '\\')).collect()
    }
}

impl Call {
    /// Sees whether the repository may have `more` bytes besides what it has, `counted` of them being counted already,
    /// and says how many it may have at most. Nothing more comes with a `blob` that it holds. Bytes that other calls bring
    /// at the same moment are not seen, so it may grow past its quota by as much as is pushed at once.
    pub(super) async fn check_quota(
        &self,
        name: &Repository,
        blob: Option<&Digest>,
        more: u64,
        counted: u64,
    ) -> Result<Allowance, Error> {
        let mut allowance = Allowance::default();
        let quotas = self.quotas_of(name);
        if quotas.is_empty() {
            return Ok(allowance);
        }
        let overs = quotas.iter().filter(|(_, quota)| quota.soft < u64::MAX);
        let overs: Vec<_> = overs.map(|(number, quota)| (*number, (*quota).clone(), quota.over(name))).collect();
        let keys = core::iter::once(keys::usage(name)).chain(overs.iter().map(|(.., key)| key.clone()));
        let found = self.ask(Get { keys: keys.chain(blob.map(|blob| keys::link(name, blob))).collect() }).await?;
        if blob.is_some() && found.last().is_some_and(Option::is_some) {
            return Ok(allowance);
        }
        let mut found = found.into_iter();
        let usage = record::count(found.next().flatten().as_ref());
        let overs: Vec<_> = overs.into_iter().zip(found).collect();
        for (number, quota) in quotas {
            let held = match quota.together {
                true => self.held_together(quota, more).await?,
                false => usage,
            };
            let held = held.saturating_sub(counted);
            let bound = Bound { quota: quota.clone(), held };
            if let Some(((_, _, key), over)) = overs.iter().find(|((its, ..), _)| *its == number) {
                let bytes = held.saturating_add(more);
                allowance.soft.push(Soft { number, quota: quota.clone(), bytes, key: key.clone(), over: over.clone() });
            }
            if allowance.tightest.as_ref().is_none_or(|tightest| bound.left() < tightest.left()) {
                allowance.tightest = Some(bound);
            }
        }
        if more <= allowance.bytes() {
            Ok(allowance)
        } else {
            Err(allowance.exceeded(name, &format!("this needs {more} more")))
        }
    }

    /// The quotas of a repository, and which of the settings each is. A quota is for who pushes: a mirror has none.
    fn quotas_of(&self, name: &Repository) -> Vec<(usize, &Quota)> {
        let quotas = self.config.quotas.iter().enumerate();
        match self.config.mirror_of(name) {
            Some(_) => Vec::new(),
            None => quotas.filter(|(_, quota)| quota.speaks_of(name)).collect(),
        }
    }

    /// What all repositories of a quota have together. Where these are many, the sum of a moment ago, if `more` bytes are
    /// far from the quota then.
    async fn held_together(&self, quota: &Quota, more: u64) -> Result<u64, Error> {
        let (key, now) = (keys::group(&quota.id()), self.ambient.now);
        let sum: Option<GroupRecord> = match self.get([key.clone()]).await? {
            [Some(value)] => record::decode(&key, &value).ok(),
            [None] => None,
        };
        if let Some(GroupRecord { summed, bytes }) = sum {
            let recent = now.since(summed) <= SUM_LIFETIME && summed <= now.after(LEASE_AHEAD);
            let far = |limit: u64| bytes.saturating_add(more) <= limit - limit / 10;
            if recent && far(quota.bytes) && (far(quota.soft) || bytes > quota.soft) {
                return Ok(bytes);
            }
        }
        let (bytes, repositories) = self.sum(quota).await?;
        if repositories > SUMMED as u64 {
            let mut batch = Batch::default();
            batch.put(key, &GroupRecord { summed: now, bytes });
            // Of several that add up at once, any is right.
            self.commit(batch, Durability::Eventual).await?;
        }
        Ok(bytes)
    }

    /// Adds up what all repositories of a quota have, and says how many counters were read for it.
    pub(super) async fn sum(&self, quota: &Quota) -> Result<(u64, u64), Error> {
        let usages = keys::usages();
        let all: BTreeSet<&str> = quota.repositories.iter().map(Pattern::beginning).collect();
        let exact = |beginning: &str| {
            let mut its = quota.repositories.iter().filter(|pattern| pattern.beginning() == beginning);
            its.all(|pattern| pattern.reach() == Reach::One)
        };
        let (mut bytes, mut read, mut covered) = (0_u64, 0_u64, None::<&str>);
        let mut named = Vec::new();
        for beginning in all {
            // In the order of names: what a shorter beginning has covered comes right behind it.
            if covered.is_some_and(|covered| beginning.starts_with(covered)) {
                continue;
            }
            if exact(beginning) {
                let Ok(name) = beginning.parse::<Repository>() else { continue };
                if self.config.mirror_of(&name).is_some() {
                    continue;
                }
                named.push(keys::usage(&name));
                continue;
            }
            covered = Some(beginning);
            let prefix = usages.narrowed(beginning);
            let mut pages = Pages::new(&prefix);
            while let Some(page) = pages.next(self).await? {
                read += page.len() as u64;
                for (key, value) in page {
                    let Ok(name) = usages.rest(&key).parse::<Repository>() else { continue };
                    if quota.speaks_of(&name) && self.config.mirror_of(&name).is_none() {
                        bytes = bytes.saturating_add(record::count(Some(&value)));
                    }
                }
            }
        }
        if !named.is_empty() {
            read += named.len() as u64;
            let counters = self.ask(Get { keys: named }).await?;
            bytes = counters.iter().fold(bytes, |sum, usage| sum.saturating_add(record::count(usage.as_ref())));
        }
        Ok((bytes, read))
    }

    /// Notes by the commit of a push which soft limits it exceeds, and tells who listens: once, until a push finds that
    /// there is less again (SPEC Z6).
    pub(super) async fn note_quotas(
        &self,
        batch: &mut Batch,
        name: &Repository,
        allowance: &Allowance,
    ) -> Result<(), Error> {
        for Soft { number, quota, bytes, key, over } in &allowance.soft {
            match (over, *bytes > quota.soft) {
                (None, true) => {
                    batch.expect(Expect::Absent(key.clone()));
                    batch.put(key.clone(), &OverRecord { since: self.ambient.now });
                    let exceeded = Exceeded {
                        name: quota.title(),
                        together: quota.together,
                        bytes: *bytes,
                        soft: quota.soft,
                        limit: Some(quota.bytes).filter(|limit| *limit < u64::MAX),
                    };
                    self.tell_quota(batch, name, *number, exceeded).await?;
                }
                (Some(over), false) => {
                    batch.expect(Expect::Exactly(key.clone(), over.clone()));
                    batch.delete(key.clone());
                }
                _ => {}
            }
        }
        Ok(())
    }
}
