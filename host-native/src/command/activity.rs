//! What happened: forgotten regularly when it is old, and printed by `orlop activity`.

use std::error::Error;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use orlop_core::{Caller, Claim, Job, Registry, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::command::config::Effective;
use crate::command::control::{Request, read_asked, write_asked};
use crate::command::printed::refused;
use crate::command::start::by_the_servers_settings;
use crate::command::storage::by_server_or_here;
use crate::command::usage::Form;
use crate::command::{check, cli};
use crate::request::administer::activity::{Wanted, table, told};
use crate::request::live::Current;
use crate::storage::{self, Host, Leased, RequestBody, ambient};

/// What the line of a request begins with.
const LINE: &str = "activity ";

/// How often what is old is forgotten: what is kept besides is at most what happened in between.
const PAUSE: Duration = Duration::from_secs(600);

/// How soon after the start for the first time.
const FIRST: Duration = Duration::from_secs(60);

/// How far the clock may be set forward meanwhile. A machine that slept is no different.
const LEAP: Duration = Duration::from_secs(3600);

/// How many are read at once.
const PAGE: usize = 1000;

/// How many are printed at most: more than are kept for long.
const MOST: usize = 200_000;

/// Forgets what happened too long ago, for ever: one host at a time, where several have one storage.
pub async fn forget_regularly(current: Current, host: Arc<Host>) {
    let mut pause = FIRST;
    loop {
        let before = (Instant::now(), SystemTime::now());
        tokio::time::sleep(pause).await;
        pause = PAUSE;
        let waited = (before.0.elapsed(), before.1.elapsed().unwrap_or_default());
        if waited.1 > waited.0 + LEAP {
            // All would be old at once. If the clock is right now, so it will be next time.
            tracing::warn!("the clock was set forward by {:?}: no activity is forgotten now", waited.1 - waited.0);
            continue;
        }
        let registry = current.registry();
        let forget = async { host.run(registry.prune_activity(ambient()), &mut RequestBody::empty()).await };
        match host.under_lease(&registry, Job::Activity, Claim::Free, forget).await {
            Ok(Leased::Done(Ok(0)) | Leased::Held | Leased::Lost) => {}
            Ok(Leased::Done(Ok(count))) => tracing::debug!(count, "activity that was old is forgotten"),
            Ok(Leased::Done(Err(fault))) | Err(fault) => tracing::warn!("old activity is not forgotten: {fault}"),
        }
    }
}

/// What is asked of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    wanted: Wanted,
    /// How many at most; 0 is all.
    top: usize,
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

impl Asked {
    /// Looks it up: a list as JSON, the last first.
    ///
    /// # Errors
    ///
    /// When a word is none that it can be, or the storage fails.
    pub async fn perform(&self, registry: &Registry, host: &Host) -> Result<String, String> {
        let most = if self.top == 0 { MOST } else { self.top.min(MOST) };
        let (mut all, mut after) = (Vec::<Json>::new(), None);
        loop {
            let n = PAGE.min(most - all.len());
            let looked = self.wanted.looked(n, after.take()).map_err(|error| refused(&Response::from(error)))?;
            let step = registry.activity(Arc::new(Caller::anybody()), looked, ambient());
            let page = host.run(step, &mut RequestBody::empty()).await.map_err(|fault| fault.to_string())?;
            all.extend(page.events.iter().map(|(name, event)| told(name, event, true)));
            after = page.next;
            if after.is_none() || all.len() >= most {
                return serde_json::to_string(&all).map_err(|error| error.to_string());
            }
        }
    }
}

/// `orlop activity`: by the server that has the data directory open, or else by this process.
///
/// # Errors
///
/// When the storage cannot be read, or a word is none that it can be.
pub fn activity(activity: &cli::Activity, effective: &[Effective]) -> Result<(), Box<dyn Error>> {
    let settings = &activity.settings;
    let data = &settings.storage.data;
    if data.engines.engines()?.is_none() && storage::holder(&data.directory).is_some() {
        by_the_servers_settings(effective, "looks it up")?;
    }
    let cli::Activity { repository, user, happening, from, until, top, .. } = activity;
    let wanted = Wanted {
        repository: repository.clone(),
        user: user.clone(),
        happening: happening.clone(),
        from: from.clone(),
        until: until.clone(),
    };
    let asked = Asked { wanted, top: *top };
    let here = async |host: &Arc<Host>| {
        let live = check::check(settings, None)?.live;
        asked.perform(&Current::new(live).registry(), host).await
    };
    let found = by_server_or_here(data, &settings.options(), Request::Activity(asked.clone()), here)?;
    let form = if activity.json { Form::Json } else { activity.format };
    if form == Form::Json {
        out!("{found}");
        return Ok(());
    }
    let events: Vec<Json> = serde_json::from_str(&found)?;
    match form {
        Form::Csv => out!("{}", table(&events).trim_end()),
        _ => events.iter().for_each(|event| out!("{}", line(event))),
    }
    Ok(())
}

/// An event for people.
fn line(event: &Json) -> String {
    let text = |key: &str| event[key].as_str().unwrap_or_default();
    let tags = event["tags"].as_array().into_iter().flatten().filter_map(Json::as_str).collect::<Vec<_>>().join(", ");
    let (repository, digest) = (text("repository"), text("digest"));
    let what = match (tags.as_str(), digest) {
        ("", "") => repository.to_owned(),
        ("", digest) => format!("{repository}@{digest}"),
        (tags, _) => format!("{repository}:{tags}"),
    };
    let by = match text("by") {
        "" => String::new(),
        by => format!(" by {by}"),
    };
    let quota = match event["quota"]["name"].as_str() {
        Some(quota) => format!(" exceeds the soft limit of the quota {quota}"),
        None => String::new(),
    };
    format!("{} {:7} {what}{quota}{by}", text("time"), text("happening"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_asked_is_read_as_it_is_written() {
        let wanted =
            Wanted { repository: Some("team/**".into()), from: Some("2027-01-15".into()), ..Wanted::default() };
        for asked in [Asked { wanted, top: 7 }, Asked { wanted: Wanted::default(), top: 0 }] {
            assert_eq!(asked.to_string().parse(), Ok(asked));
        }
        assert!("activity dance".parse::<Asked>().is_err());
    }

    #[test]
    fn an_event_is_a_line() {
        let event = |tags: Json, digest: Json, by: &str| json!({ "time": "2027-01-15T08:00:00Z", "happening": "push", "repository": "a", "tags": tags, "digest": digest, "by": by });
        assert_eq!(
            line(&event(json!(["v1"]), json!("sha256:0"), "alice")),
            "2027-01-15T08:00:00Z push    a:v1 by alice"
        );
        assert_eq!(line(&event(json!([]), json!("sha256:0"), "")), "2027-01-15T08:00:00Z push    a@sha256:0");
        let mut over = event(json!([]), Json::Null, "bob");
        over["quota"] = json!({ "name": "team" });
        assert!(line(&over).ends_with("a exceeds the soft limit of the quota team by bob"), "{}", line(&over));
    }
}
