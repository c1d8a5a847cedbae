//! Which processes use a registry: each has a record that it renews, so that a registry is not copied to another place
//! while it is served.
//!
//! Whoever comes writes its own record first and then reads those of the others. So of two that may not be there at
//! once, and come at once, at least one sees the other.

use std::sync::Arc;
use std::time::Duration;

use orlop_core::Fault;
use orlop_core::effect::{Commit, Durability, Expect, Scan, Value};
use orlop_core::keys::{Key, Prefix};
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::records::Records;
use super::seconds;

/// Under which keys of the host the records are.
const PROCESSES: &str = "process/";

/// For how long a record counts that is not renewed: a process that was killed is waited for that long.
const LIFETIME: Duration = Duration::from_secs(60);

/// How often a process renews its record. Clocks may differ by 30 s.
const RENEW: Duration = Duration::from_secs(20);

/// What a process does with a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// It serves it, or works on it beside servers. Many may.
    Serve,
    /// It copies it to another place, so that nothing may change. Many may: what a killed one has left keeps nobody from
    /// going on.
    Copy,
}

/// A process that uses a registry, until it says that it has [left](Self::leave), or for a minute after its end.
pub(crate) struct Presence {
    records: Arc<Records>,
    key: Key,
    renewing: JoinHandle<()>,
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.renewing.abort();
    }
}

impl Presence {
    /// Says that this process uses a registry so.
    ///
    /// # Errors
    ///
    /// When another one uses it in a way that does not go with that.
    pub(super) async fn enter(records: &Arc<Records>, holder: Uuid, how: Use) -> Result<Self, String> {
        let key = Key::of_host(&format!("{PROCESSES}{holder}"));
        let failed = |fault: Fault| format!("the database cannot be used: {fault}");
        renew(records, &key, how).await.map_err(failed)?;
        let present = others(records, &key).await.map_err(failed)?;
        let now = seconds();
        let gone: Vec<_> = present.iter().filter(|other| other.until <= now).collect();
        if !gone.is_empty() {
            let expect = gone.iter().map(|other| Expect::Exactly(other.key.clone(), other.value.clone())).collect();
            let delete = gone.iter().map(|other| other.key.clone()).collect();
            // One of them may have been renewed meanwhile: the next one that comes looks again.
            let _ = records.commit(Commit { expect, delete, ..empty() }).await;
        }
        let in_the_way = |other: &&Other| other.until > now && how != other.how;
        if let Some(other) = present.iter().find(in_the_way) {
            let _ = records.commit(Commit { delete: vec![key], ..empty() }).await;
            return Err(other.refusal(other.until - now));
        }
        let renewing = tokio::spawn({
            let (records, key) = (records.clone(), key.clone());
            async move {
                loop {
                    tokio::time::sleep(RENEW).await;
                    if let Err(fault) = renew(&records, &key, how).await {
                        tracing::warn!("the record of this process in the database is not renewed: {fault}");
                    }
                }
            }
        });
        Ok(Self { records: records.clone(), key, renewing })
    }

    /// This process does not use it any more.
    pub(crate) async fn leave(self) {
        self.renewing.abort();
        // What stays counts for a minute.
        let _ = self.records.commit(Commit { delete: vec![self.key.clone()], ..empty() }).await;
    }
}

/// The processes that use a registry now, for an administrator.
pub(super) async fn present(records: &Records) -> Result<Vec<String>, Fault> {
    let now = seconds();
    let all = others(records, &Key::of_host(PROCESSES)).await?;
    Ok(all.into_iter().filter(|other| other.until > now).map(|other| other.who).collect())
}

struct Other {
    key: Key,
    value: Value,
    until: u64,
    how: Use,
    who: String,
}

impl Other {
    fn refusal(&self, left: u64) -> String {
        let does = if self.how == Use::Copy { "is being copied by" } else { "is used by" };
        format!(
            "the registry in the database {does} {}: wait for its end, or stop it; if it was killed, that is noticed in \
             {left} s",
            self.who
        )
    }

    fn read(key: Key, value: Value) -> Option<Self> {
        let text = std::str::from_utf8(&value).ok()?;
        let (until, rest) = text.split_once(' ')?;
        let (how, who) = rest.split_once(' ')?;
        let how = if how == "copy" { Use::Copy } else { Use::Serve };
        Some(Self { until: until.parse().ok()?, how, who: who.into(), key, value })
    }
}

async fn others(records: &Records, own: &Key) -> Result<Vec<Other>, Fault> {
    let scan = Scan { prefix: Prefix::of_host(PROCESSES), after: None, limit: usize::MAX, bytes: usize::MAX };
    let found = records.scan(scan).await?;
    Ok(found.into_iter().filter(|(key, _)| key != own).filter_map(|(key, value)| Other::read(key, value)).collect())
}

async fn renew(records: &Records, key: &Key, how: Use) -> Result<(), Fault> {
    let how = match how {
        Use::Copy => "copy",
        Use::Serve => "serve",
    };
    let machine = rustix::system::uname();
    let (process, machine) = (std::process::id(), machine.nodename().to_string_lossy());
    let value = format!("{} {how} process {process} on {machine}", seconds() + LIFETIME.as_secs()).into();
    records.commit(Commit { put: vec![(key.clone(), value)], ..empty() }).await.map(drop)
}

fn empty() -> Commit {
    let durability = Durability::Eventual;
    Commit { expect: vec![], put: vec![], add: vec![], delete: vec![], durability, reclaims: true }
}
