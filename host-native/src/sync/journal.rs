//! What a sync has done, kept among the records of the registry: so that a run goes on after a restart, and `orlop sync
//! status` can say how it stands.

use std::fmt;
use std::time::{Duration, SystemTime};

use bytesize::ByteSize;
use orlop_core::digest::Digest;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::run::Became;

/// How many failures are named. All are counted.
const NAMED: usize = 100;

/// How many characters of the reason of a failure are kept.
const REASON: usize = 500;

/// What no settings ask images to consist of: those at the destination may lack something.
const IN_DOUBT: &str = "?";

/// How long after the journal was written last a run on another machine counts as under way.
const ALIVE: u64 = 60;

/// How many seconds after the first of them began runs go on with each other; after that, all is looked at again.
const GOES_ON: u64 = 24 * 3600;

/// The journal of a sync: its last run, or the one that is under way. Times are seconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Journal {
    /// When the run began.
    pub(super) began: u64,
    /// When the first run began that this one goes on with.
    pub(super) first: u64,
    /// When this was written.
    pub(super) written: u64,
    /// When the run ended; none while it is under way or was interrupted.
    pub(super) ended: Option<u64>,
    /// Whether it ended before it was through: the next one goes on with it.
    pub(super) unfinished: bool,
    /// When a run last ended without a failure.
    pub(super) succeeded: Option<u64>,
    /// The process that runs it.
    pub(super) process: Uuid,
    /// With which settings it runs: see [`super::Sync::fingerprint`].
    pub(super) settings: Option<Digest>,
    /// What images consist of by the settings of the last run without a failure: see [`super::Sync::completeness`]. In
    /// doubt as soon as something is copied with other settings; empty before anything is.
    pub(super) complete: String,
    /// The repository and tag up to which all is done, in the order of their names.
    pub(super) at: Option<(String, String)>,
    /// Where it stood when the run began.
    pub(super) from: Option<(String, String)>,
    /// What it is doing.
    pub(super) doing: String,
    /// What was done.
    pub(super) counts: Counts,
    /// What failed: at which repository and tag, and why. At most a hundred.
    pub(super) failures: Vec<Failed>,
}

/// What was counted of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Counts {
    /// Tags that were copied.
    pub(crate) copied: u64,
    /// Tags that were at the destination as they are at the source.
    pub(crate) there: u64,
    /// Tags that were deleted.
    pub(crate) deleted: u64,
    /// Blobs that were moved.
    pub(crate) blobs: u64,
    /// Bytes that were moved.
    pub(crate) bytes: u64,
    /// Blobs that were mounted.
    pub(crate) mounted: u64,
    /// What failed.
    pub(crate) failed: u64,
}

/// Something that failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failed {
    /// The repository.
    pub(super) repository: String,
    /// The tag, if it is about one.
    pub(super) tag: Option<String>,
    /// Why.
    pub(super) reason: String,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.tag {
            Some(tag) => write!(f, "{}:{tag}: {}", self.repository, self.reason),
            None => write!(f, "{}: {}", self.repository, self.reason),
        }
    }
}

/// How a run stands, as far as its journal tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Never,
    Running,
    Interrupted,
    Ended,
}

impl Journal {
    /// The journal of the next run with those settings, which goes on with this one if that was interrupted not long ago, or
    /// could not get to its end but got further than the one before.
    pub(super) fn next(self, process: Uuid, settings: Digest, now: u64) -> Self {
        let goes_on = self.began > 0
            && (self.ended.is_none() || (self.unfinished && self.at > self.from))
            && self.settings == Some(settings)
            && now.checked_sub(self.first).is_some_and(|passed| passed < GOES_ON)
            // Of those without a name it is not known where to go on.
            && self.counts.failed <= NAMED as u64;
        if goes_on && self.ended.is_none() {
            return Self { process, ..self };
        }
        if goes_on {
            let counts = Counts { failed: self.counts.failed, ..Counts::default() };
            let from = self.at.clone();
            return Self { process, began: now, ended: None, unfinished: false, from, counts, ..self };
        }
        let (succeeded, complete) = (self.succeeded, self.complete);
        Self { began: now, first: now, process, settings: Some(settings), succeeded, complete, ..Self::default() }
    }

    /// After which time the next run is due, if one is every so often; none when it is due now. A beginning in the future
    /// was noted by a clock that was wrong, and says nothing.
    pub(super) fn due_in(&self, every: Duration, now: u64) -> Option<Duration> {
        let passed = Duration::from_secs(now.checked_sub(self.began)?);
        every.checked_sub(passed).filter(|left| self.ended.is_some() && !left.is_zero())
    }

    /// Something is going to be copied with settings by which images consist of that, `sparse` if that is not all of an
    /// index. Whether this changes the journal, which is then to be kept before anything is copied: however the copy ends,
    /// images that have the right digest may lack something from now on.
    pub(super) fn begin(&mut self, completeness: &str, sparse: bool) -> bool {
        let changes =
            self.complete != completeness && self.complete != IN_DOUBT && (sparse || !self.complete.is_empty());
        if changes {
            self.complete = IN_DOUBT.into();
        }
        changes
    }

    /// A journal that counts what is copied, and takes no image for whole.
    pub(super) fn in_doubt() -> Self {
        Self { complete: IN_DOUBT.into(), ..Self::default() }
    }

    /// A tag is copied, or was there.
    pub(super) fn done(&mut self, repository: &str, tag: &str, became: Became) {
        self.forgive(repository, Some(tag));
        self.counts.note(became);
        self.reach(repository, tag.to_owned());
    }

    /// All tags up to this one need no other look, unless they failed.
    pub(super) fn reach(&mut self, repository: &str, tag: String) {
        let here = (repository.to_owned(), tag);
        if self.at.as_ref().is_none_or(|at| *at < here) {
            self.at = Some(here);
        }
    }

    /// How it stands. `own` says of the process that looks which it is and whether it runs the sync, `alone` that no
    /// other process uses the registry.
    pub(super) fn state(&self, own: (Uuid, bool), alone: bool, now: u64) -> State {
        match self.ended {
            _ if self.began == 0 => State::Never,
            Some(_) => State::Ended,
            None if own.1 => State::Running,
            None if !alone && self.process != own.0 && now.saturating_sub(self.written) < ALIVE => State::Running,
            None => State::Interrupted,
        }
    }

    /// Whether a tag needs no look in a run that goes on: it was done before that was interrupted, and did not fail. Of a
    /// repository that failed, and after which others were done, it is not known how far it was.
    pub(super) fn is_past(&self, repository: &str, tag: &str) -> bool {
        let Some((reached, last)) = &self.at else { return false };
        (repository, tag) <= (reached.as_str(), last.as_str())
            && !self.has_failed(repository, Some(tag))
            && (repository == reached || !self.has_failed(repository, None))
    }

    /// Whether a repository or a tag is among the failures.
    pub(super) fn has_failed(&self, repository: &str, tag: Option<&str>) -> bool {
        self.failures.iter().any(|failed| failed.repository == repository && failed.tag.as_deref() == tag)
    }

    /// Notes a failure, in the place of an earlier one of the same.
    pub(super) fn fail(&mut self, repository: &str, tag: Option<&str>, reason: String) {
        self.forgive(repository, tag);
        self.counts.failed += 1;
        if self.failures.len() < NAMED {
            let reason = reason.chars().take(REASON).collect();
            self.failures.push(Failed { repository: repository.into(), tag: tag.map(Into::into), reason });
        }
    }

    /// What failed before an interruption has worked now, or is tried again.
    pub(super) fn forgive(&mut self, repository: &str, tag: Option<&str>) {
        let before = self.failures.len();
        self.failures.retain(|failed| failed.repository != repository || failed.tag.as_deref() != tag);
        self.counts.failed -= (before - self.failures.len()) as u64;
    }

    /// The counts, and what failed in a line each.
    pub(super) fn told(&self) -> String {
        let mut lines = vec![self.counts.to_string()];
        lines.extend(self.failures.iter().map(|failed| format!("  {failed}")));
        let more = self.counts.failed.saturating_sub(self.failures.len() as u64);
        lines.extend((more > 0).then(|| format!("  and {more} more")));
        lines.join("\n")
    }
}

impl Counts {
    /// A tag is done.
    fn note(&mut self, became: Became) {
        match became {
            Became::Copied => self.copied += 1,
            Became::There => self.there += 1,
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { copied, there, deleted, blobs, bytes, mounted, failed } = self;
        write!(
            f,
            "{copied} tags copied, {there} unchanged, {deleted} deleted; {blobs} blobs ({}) moved, {mounted} mounted; \
             {failed} failures",
            ByteSize::b(*bytes).display().si()
        )
    }
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use orlop_core::digest::Algorithm;

    use super::*;

    const ONE: Uuid = Uuid::from_u128(1);
    const OTHER: Uuid = Uuid::from_u128(2);

    fn settings(text: &str) -> Digest {
        Algorithm::Sha256.digest(text.as_bytes())
    }

    #[test]
    fn a_run_that_was_interrupted_is_gone_on_with_and_looks_again_at_what_failed() {
        let mut journal = Journal::default().next(ONE, settings("a"), 1000);
        assert_eq!((journal.began, journal.is_past("a", "1")), (1000, false));
        journal.reach("b", "2".into());
        journal.reach("b", "1".into());
        journal.fail("b", Some("1"), "lost".into());
        let mut next = journal.clone().next(OTHER, settings("a"), 2000);
        assert_eq!((next.began, next.process), (1000, OTHER));
        let past = [("a", "9"), ("b", "1"), ("b", "2"), ("b", "3"), ("c", "1")].map(|(r, t)| next.is_past(r, t));
        assert_eq!(past, [true, false, true, false, false]);
        next.forgive("b", Some("1"));
        assert_eq!((next.counts.failed, next.failures.len()), (0, 0));
        assert_eq!(journal.clone().next(OTHER, settings("a"), 1000 + GOES_ON).at, None, "it is too long ago");
        assert_eq!(journal.next(OTHER, settings("b"), 2000).at, None, "other tags may be chosen");
        let ended = Journal { ended: Some(1500), succeeded: Some(1500), ..next };
        let again = ended.next(ONE, settings("a"), 3000);
        assert_eq!((again.began, again.at.clone(), again.succeeded), (3000, None, Some(1500)));
    }

    #[test]
    fn a_run_that_could_not_get_to_its_end_is_gone_on_with_as_a_run_of_its_own() {
        let mut journal = Journal::default().next(ONE, settings("a"), 1000);
        journal.reach("b", "2".into());
        journal.counts.note(Became::Copied);
        journal.fail("b", Some("2"), "lost".into());
        let stopped = Journal { ended: Some(1500), unfinished: true, ..journal };
        let next = stopped.clone().next(ONE, settings("a"), 2000);
        assert_eq!((next.began, next.ended, next.unfinished), (2000, None, false));
        assert_eq!((next.counts.copied, next.counts.failed), (0, 1));
        assert!(next.is_past("b", "1") && !next.is_past("b", "2"));
        let mut lost = stopped;
        (0..=NAMED).for_each(|tag| lost.fail("c", Some(&tag.to_string()), "lost".into()));
        let next = lost.next(ONE, settings("a"), 2000);
        assert_eq!((next.at, next.counts.failed), (None, 0), "some that failed have no name");
    }

    /// Or what is broken at the source would keep all else from being copied for ever.
    #[test]
    fn runs_go_on_with_each_other_for_a_day_as_long_as_they_get_further() {
        let stopped = |mut journal: Journal, tag: &str| {
            journal.reach("b", tag.into());
            Journal { ended: Some(journal.began), unfinished: true, ..journal }
        };
        let mut journal = stopped(Journal::default().next(ONE, settings("a"), 1000), "00");
        for hour in 1..24 {
            journal = stopped(journal.next(ONE, settings("a"), 1000 + hour * 3600), &format!("{hour:02}"));
            assert_eq!((journal.first, journal.began), (1000, 1000 + hour * 3600));
        }
        let next = |journal: &Journal, now| journal.clone().next(ONE, settings("a"), now);
        assert!(next(&journal, 1000 + GOES_ON - 1).is_past("b", "23"));
        let fresh = next(&journal, 1000 + GOES_ON);
        assert_eq!((fresh.at, fresh.first), (None, 1000 + GOES_ON), "the first of them began a day ago");
        assert_eq!(next(&journal, 999).at, None, "the first of them began in the future");
        let stuck = stopped(next(&journal, 1000 + GOES_ON - 2), "23");
        assert_eq!(next(&stuck, 1000 + GOES_ON - 1).at, None, "it got no further");
    }

    #[test]
    fn what_is_left_of_a_repository_that_was_passed_over_is_looked_at() {
        let mut journal = Journal::default().next(ONE, settings("a"), 1000);
        journal.reach("b", "2".into());
        journal.fail("b", None, "passed over".into());
        assert!(journal.is_past("b", "1") && !journal.is_past("b", "3"), "it is known how far that was");
        journal.reach("c", "1".into());
        assert!(journal.is_past("a", "9") && !journal.is_past("b", "1") && journal.is_past("c", "1"));
    }

    #[test]
    fn a_run_is_due_some_time_after_the_last_one_began_and_at_once_when_that_is_in_the_future() {
        let ended = Journal { began: 1000, ended: Some(1010), ..Journal::default() };
        let due_in = |journal: &Journal, now| journal.due_in(Duration::from_secs(60), now).map(|left| left.as_secs());
        assert_eq!([1000, 1059, 1060, 5000].map(|now| due_in(&ended, now)), [Some(60), Some(1), None, None]);
        assert_eq!(due_in(&ended, 999), None, "the clock was wrong");
        assert_eq!(due_in(&Journal { ended: None, ..ended }, 1059), None, "it was interrupted");
        assert_eq!(due_in(&Journal::default(), 5000), None, "there was none");
    }

    #[test]
    fn images_may_lack_something_as_soon_as_other_settings_copy() {
        for (complete, completeness, sparse, expected) in [
            ("", "false ", false, ""),
            ("", "false linux/amd64", true, IN_DOUBT),
            ("false ", "false ", false, "false "),
            ("false ", "false linux/amd64", true, IN_DOUBT),
            ("false linux/amd64", "false linux/amd64", true, "false linux/amd64"),
            ("false linux/amd64", "false ", false, IN_DOUBT),
            (IN_DOUBT, "false ", false, IN_DOUBT),
        ] {
            let mut journal = Journal { complete: complete.into(), ..Journal::default() };
            let changes = journal.begin(completeness, sparse);
            assert_eq!((journal.complete.as_str(), changes), (expected, complete != expected), "{complete:?}");
        }
    }

    #[test]
    fn a_journal_says_whether_a_run_is_under_way() {
        let run = Journal { began: 1000, written: 1010, process: ONE, ..Journal::default() };
        let ended = Journal { ended: Some(1011), ..run.clone() };
        for (journal, own, alone, now, expected) in [
            (&Journal::default(), (ONE, false), true, 1020, State::Never),
            (&run, (ONE, true), true, 1020, State::Running),
            (&run, (ONE, false), false, 1020, State::Interrupted),
            (&run, (OTHER, false), true, 1020, State::Interrupted),
            (&run, (OTHER, false), false, 1020, State::Running),
            (&run, (OTHER, false), false, 1070, State::Interrupted),
            (&ended, (OTHER, false), true, 1020, State::Ended),
        ] {
            assert_eq!(journal.state(own, alone, now), expected, "{journal:?}");
        }
    }

    /// A record is not made for megabytes.
    #[test]
    fn a_journal_stays_small_however_much_fails() {
        let mut journal = Journal::default();
        let long = "a".repeat(255);
        (0..20_000).for_each(|tag| journal.fail(&long, Some(&format!("{tag:0128}")), "lost ".repeat(10_000)));
        assert_eq!((journal.counts.failed, journal.failures.len()), (20_000, NAMED));
        let bytes = serde_json::to_vec(&journal).unwrap().len();
        assert!(bytes < 100 << 10, "{bytes}");
    }

    #[test]
    fn failures_are_counted_and_a_hundred_of_them_named() {
        let mut journal = Journal::default();
        (0..103).for_each(|tag| journal.fail("a", Some(&tag.to_string()), "lost".into()));
        assert!(journal.told().ends_with("  a:99: lost\n  and 3 more"), "{}", journal.told());
        assert!(
            journal
                .told()
                .starts_with("0 tags copied, 0 unchanged, 0 deleted; 0 blobs (0 B) moved, 0 mounted; 103 failures\n")
        );
    }
}
