//! When a run, or a repository of it, ends early: a login is refused, or a registry does not answer.

use super::run::Progress;
use crate::remote::Failure;

/// After how many requests in a row that a registry did not answer a repository is passed over, or the run ends.
const SILENT: u32 = 16;

/// How many repositories these are of when the run ends: one may be broken at a registry that answers for all others.
const SEVERAL: u32 = 3;

/// What failures are filed under that are about no repository in particular.
pub(super) const ALL: &str = "all repositories";

/// What ends before its end, for no more of it can be copied now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stopped {
    /// A repository.
    Repository,
    /// The run.
    Run,
}

/// What a run has met with.
pub(super) struct Course<'p> {
    pub(super) progress: &'p Progress,
    /// Nothing is written.
    pub(super) dry_run: bool,
    /// How often in a row a registry has not answered.
    silent: u32,
    /// How often of these in the repository that is being copied.
    here: u32,
    /// Of how many repositories they are.
    repositories: u32,
}

impl<'p> Course<'p> {
    pub(super) fn new(progress: &'p Progress, dry_run: bool) -> Self {
        Self { progress, dry_run, silent: 0, here: 0, repositories: 0 }
    }

    /// A repository begins.
    pub(super) fn enters(&mut self) {
        self.here = 0;
    }

    /// The registries answer.
    pub(super) fn works(&mut self) {
        (self.silent, self.here, self.repositories) = (0, 0, 0);
    }

    /// Notes a failure. A login that is refused, or a registry that has not answered for some time, ends the run: asking on
    /// would take hours and might lock the login out. If it has not answered for one repository only, that is passed over.
    pub(super) fn fails(
        &mut self,
        repository: &str,
        tag: Option<&str>,
        what: &str,
        failure: &Failure,
    ) -> Result<(), Stopped> {
        let mut journal = self.progress.journal();
        journal.fail(repository, tag, format!("{what}{failure}"));
        let stopped = match failure {
            Failure::LoginRefused(_) => "the login is refused",
            Failure::Unreachable(_) | Failure::Paused(_) => {
                self.silent += 1;
                self.here += 1;
                self.repositories += u32::from(self.here == 1);
                match (self.silent >= SILENT && self.repositories >= SEVERAL, self.here >= SILENT) {
                    (true, _) => "a registry does not answer",
                    (false, false) => return Ok(()),
                    (false, true) => {
                        journal.unfinished = true;
                        let told = "the rest of it is passed over, since a registry does not answer for it";
                        journal.fail(repository, None, told.into());
                        return Err(Stopped::Repository);
                    }
                }
            }
            _ => {
                drop(journal);
                self.works();
                return Ok(());
            }
        };
        journal.unfinished = true;
        journal.fail(ALL, None, format!("the run ended early, since {stopped}; the next one goes on where it stood"));
        Err(Stopped::Run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::journal::Journal;

    fn silent() -> Failure {
        Failure::Unreachable("lost".into())
    }

    #[test]
    fn a_run_ends_when_a_registry_has_not_answered_for_several_repositories() {
        let progress = Progress::new(Journal::default());
        let mut course = Course::new(&progress, false);
        let mut fails = |failure: Failure| {
            course.enters();
            course.fails("a", Some("1"), "", &failure).err()
        };
        assert!((1..SILENT).all(|_| fails(silent()).is_none()));
        assert_eq!(fails(Failure::Absent), None, "it answers");
        assert!((1..SILENT).all(|_| fails(silent()).is_none()));
        assert_eq!(fails(silent()), Some(Stopped::Run));
        let journal = progress.journal();
        assert!(journal.unfinished, "the next run goes on");
        assert!(journal.told().contains("a:1: lost\n  all repositories: the run ended early"), "{}", journal.told());
    }

    #[test]
    fn a_repository_that_a_registry_does_not_answer_for_is_passed_over() {
        let progress = Progress::new(Journal::default());
        let mut course = Course::new(&progress, false);
        let mut until_stopped = |repository: &str| {
            course.enters();
            (0..=SILENT).find_map(|tag| {
                let stopped = course.fails(repository, Some(&tag.to_string()), "", &silent()).err();
                stopped.map(|stopped| (tag + 1, stopped))
            })
        };
        assert_eq!(until_stopped("a"), Some((SILENT, Stopped::Repository)));
        assert!(progress.journal().told().contains("  a: the rest of it is passed over"));
        assert!(progress.journal().unfinished, "the next run looks at the rest");
        assert_eq!(until_stopped("b"), Some((SILENT, Stopped::Repository)));
        assert_eq!(until_stopped("c"), Some((1, Stopped::Run)), "it answers for none");
    }

    #[test]
    fn a_login_that_is_refused_is_not_tried_for_each_tag() {
        let progress = Progress::new(Journal::default());
        let refused = Failure::LoginRefused("registry.example.com answers 401".into());
        let stopped = Course::new(&progress, false).fails("a", None, "its tags cannot be listed: ", &refused);
        assert_eq!(stopped, Err(Stopped::Run));
        assert!(progress.journal().told().contains("since the login is refused"));
    }
}
