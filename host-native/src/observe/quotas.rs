//! How full quotas are: shown in metrics, and logged when a soft limit is exceeded.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use orlop_core::{QuotaUsage, Registry};

use super::Observer;
use crate::storage::{Host, RequestBody, ambient};

/// How often that is looked at. It costs a record of each repository.
const LOOK: Duration = Duration::from_secs(30);

/// Looks at quotas for ever. `in_force` is asked for the registry each time.
pub async fn watch(in_force: impl Fn() -> Registry + Send + 'static, host: Arc<Host>, observer: Arc<Observer>) {
    let mut exceeded = BTreeSet::new();
    loop {
        match host.run(in_force().quotas(ambient()), &mut RequestBody::empty()).await {
            Ok(quotas) => {
                observer.metrics.quotas(&quotas);
                exceeded = log(&quotas, &exceeded);
            }
            Err(fault) => tracing::warn!("how full quotas are cannot be read: {fault}"),
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Logs which soft limits are exceeded and were not before, and says which are.
fn log(quotas: &[QuotaUsage], before: &BTreeSet<String>) -> BTreeSet<String> {
    let exceeded = |quota: &&QuotaUsage| quota.soft.is_some_and(|soft| quota.bytes > soft);
    for quota in quotas.iter().filter(exceeded).filter(|quota| !before.contains(&quota.quota)) {
        let QuotaUsage { quota, bytes, fullest, soft, limit, .. } = quota;
        let who = fullest.as_deref().unwrap_or("all its repositories together");
        let (soft, limit) = (soft.unwrap_or_default(), limit.map(|limit| format!(" of {limit}")).unwrap_or_default());
        tracing::warn!(quota, bytes, soft, "the quota {quota} is over its soft limit: {who}: {bytes} bytes{limit}");
    }
    quotas.iter().filter(exceeded).map(|quota| quota.quota.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_soft_limit_is_logged_once_until_there_is_less_again() {
        let quota = |bytes| {
            [QuotaUsage {
                quota: "team".into(),
                together: true,
                repositories: 2,
                bytes,
                fullest: None,
                soft: Some(10),
                limit: None,
            }]
        };
        let exceeded = log(&quota(11), &BTreeSet::new());
        assert!(exceeded.contains("team"));
        assert_eq!(log(&quota(12), &exceeded), exceeded);
        assert!(log(&quota(10), &exceeded).is_empty());
    }
}
