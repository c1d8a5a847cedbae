//! How a sync stands, in words and as values.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::Sync;
use super::journal::{Journal, State};
use crate::observe::date::rfc3339_seconds as shown;

/// How a sync stands, in a few lines.
pub(super) fn status_of(name: &str, journal: &Journal, state: State) -> String {
    let began = shown(journal.began);
    let at = match &journal.at {
        Some((repository, tag)) => format!("done up to {repository}:{tag}"),
        None => "at the beginning".into(),
    };
    let stands = match state {
        State::Never => return format!("sync {name}: has not run yet"),
        State::Running => format!("running since {began}: {}; {at}", journal.doing),
        State::Interrupted => format!("interrupted, begun {began}; {at}; the next run goes on there"),
        State::Ended => {
            let how = if journal.counts.failed == 0 { "done" } else { "ended with failures" };
            format!("{how}, begun {began}, ended {}", shown(journal.ended.unwrap_or_default()))
        }
    };
    let succeeded = journal.succeeded.map_or("never".into(), shown);
    format!("sync {name}: {stands}\n  last without failures: {succeeded}\n  {}", journal.told())
}

/// How a sync stands.
pub(crate) struct Standing {
    pub(super) sync: Arc<Sync>,
    pub(super) journal: Journal,
    pub(super) state: State,
}

impl Standing {
    /// It for the API.
    pub(crate) fn told(&self) -> Json {
        let Self { sync, journal, .. } = self;
        let at = journal.at.as_ref().map(|(repository, tag)| json!({ "repository": repository, "tag": tag }));
        let every = |every: Duration| format!("every {}", humantime::format_duration(every));
        let on_push = sync.setting.on_push.then(|| "after each push".to_owned());
        let schedule: Vec<String> = sync.setting.every.map(every).into_iter().chain(on_push).collect();
        json!({
            "name": sync.name(),
            "from": sync.setting.from.to_string(),
            "to": sync.setting.to.to_string(),
            "schedule": Some(schedule.join(", ")).filter(|schedule| !schedule.is_empty()),
            "state": self.state(),
            "began": (journal.began > 0).then(|| shown(journal.began)),
            "ended": journal.ended.map(shown),
            "succeeded": journal.succeeded.map(shown),
            "doing": Some(&journal.doing).filter(|doing| !doing.is_empty() && self.is_running()),
            "at": at,
            "counts": journal.counts,
            "failures": journal.failures,
        })
    }

    /// The name of the sync.
    pub(crate) fn name(&self) -> &str {
        self.sync.name()
    }

    /// `never`, `running`, `interrupted` or `ended`.
    pub(crate) fn state(&self) -> &'static str {
        match self.state {
            State::Never => "never",
            State::Running => "running",
            State::Interrupted => "interrupted",
            State::Ended => "ended",
        }
    }

    /// Whether a run is under way.
    pub(crate) fn is_running(&self) -> bool {
        self.state == State::Running
    }

    /// When the last run began, and when it ended, in seconds since 1970.
    pub(crate) fn times(&self) -> (u64, Option<u64>) {
        (self.journal.began, self.journal.ended)
    }

    /// How many tags are done, and what it is doing.
    pub(crate) fn progress(&self) -> (u64, String) {
        let counts = &self.journal.counts;
        (counts.copied + counts.there + counts.deleted + counts.failed, self.journal.doing.clone())
    }

    /// What the last run has done, and how much failed.
    pub(crate) fn report(&self) -> (Json, u64) {
        let Journal { counts, failures, .. } = &self.journal;
        (json!({ "syncs": [{ "name": self.name(), "counts": counts, "failures": failures }] }), counts.failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_says_what_a_run_does_when_it_ran_and_what_failed() {
        let mut journal = Journal { began: 1_800_000_000, doing: "copying 3 tags of app".into(), ..Journal::default() };
        let status = |journal: &Journal, state| status_of("base", journal, state);
        assert_eq!(status(&Journal::default(), State::Never), "sync base: has not run yet");
        let counts = "0 tags copied, 0 unchanged, 0 deleted; 0 blobs (0 B) moved, 0 mounted";
        assert_eq!(
            status(&journal, State::Running),
            format!(
                "sync base: running since 2027-01-15T08:00:00Z: copying 3 tags of app; at the beginning\n  \
                 last without failures: never\n  {counts}; 0 failures"
            )
        );
        journal.reach("app", "1.2".into());
        let told = status(&journal, State::Interrupted);
        assert!(told.contains("interrupted, begun 2027-01-15T08:00:00Z; done up to app:1.2; the next run"), "{told}");
        journal.ended = Some(1_800_000_060);
        journal.succeeded = journal.ended;
        let told = status(&journal, State::Ended);
        assert!(told.contains("done, begun 2027-01-15T08:00:00Z, ended 2027-01-15T08:01:00Z\n"), "{told}");
        journal.fail("app", Some("1.3"), "lost".into());
        let told = status(&journal, State::Ended);
        assert!(told.contains("ended with failures") && told.ends_with("; 1 failures\n  app:1.3: lost"), "{told}");
    }
}
