//! How a sync stands, in words.

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
