//! Registries of several processes that are broken on purpose: they show two clients what no one registry can.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use orlop_conformance::tester::exchange::AnyTarget;
use orlop_conformance::tester::fleet::{Door, Played, Settings, play};
use orlop_conformance::tester::memory::InMemory;
use orlop_conformance::tester::{Answer, Exchange, Target, Unreachable};

/// What is wrong with one of two processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    None,
    /// It has records of its own.
    Apart,
    /// It remembers what it was once told, and does not ask again.
    Stale,
    /// It acknowledges some changes of tags and does not make them.
    Loses,
    /// After a deletion it still answers.
    Resurrects,
    /// It says of some uploads that they are where they began.
    GoesBack,
    /// It acknowledges blobs and keeps none.
    KeepsNoBlob,
    /// It forgets a blob that was read once, when it has answered much since.
    Forgets,
    /// It breaks off half of all answers: that is not wrong.
    BreaksOff,
}

/// A process of a registry.
struct Process {
    registry: Rc<InMemory>,
    flaw: Flaw,
    asked: Cell<usize>,
    remembered: RefCell<BTreeMap<String, Answer>>,
    /// When something was read first, as the number of the request.
    read: RefCell<BTreeMap<String, usize>>,
}

/// After how many requests one that forgets has forgotten: some rounds.
const FORGOTTEN: usize = 300;

impl Target for Process {
    async fn send(&self, exchange: Exchange) -> Result<Answer, Unreachable> {
        // As on a network, others are faster now and then.
        for _ in 0..self.asked.get() % 3 {
            tokio::task::yield_now().await;
        }
        self.asked.set(self.asked.get() + 1);
        let now_and_then = self.asked.get().is_multiple_of(4);
        let (method, target) = (exchange.method.as_str(), exchange.target.as_str());
        let (manifest, of_tag) = (target.contains("/manifests/"), !target.contains("/manifests/sha256:"));
        let lost = match self.flaw {
            Flaw::Loses => method == "PUT" && manifest && of_tag && now_and_then,
            Flaw::KeepsNoBlob => method == "PUT" && target.contains("digest=") && now_and_then,
            _ => false,
        };
        if lost {
            let body = bytes::Bytes::new();
            return Ok(Answer { status: 201, headers: Vec::new(), body });
        }
        let key = format!("{method} {target}");
        let remembered = self.remembered.borrow().get(&key).cloned();
        let deletes = method == "DELETE";
        let mut answer = match (self.flaw, remembered) {
            (Flaw::Stale, Some(old)) if now_and_then && method == "GET" && manifest => old,
            (Flaw::Resurrects, Some(old)) if now_and_then => old,
            _ => self.registry.answer(&exchange),
        };
        if self.flaw == Flaw::Stale || (self.flaw == Flaw::Resurrects && answer.status == 200 && !deletes) {
            self.remembered.borrow_mut().insert(key, answer.clone());
        }
        if self.flaw == Flaw::Forgets && method == "GET" && target.contains("/blobs/sha256:") {
            let first = *self.read.borrow_mut().entry(target.to_owned()).or_insert(self.asked.get());
            if self.asked.get() - first > FORGOTTEN {
                answer.status = 404;
            }
        }
        if self.flaw == Flaw::GoesBack && answer.status == 204 && now_and_then {
            answer.headers.retain(|(name, _)| name != "Range");
            answer.headers.push(("Range".into(), "0-0".into()));
        }
        if self.flaw == Flaw::BreaksOff && self.asked.get().is_multiple_of(2) {
            return Err(Unreachable::Dropped("on purpose".into()));
        }
        Ok(answer)
    }
}

/// How many rounds each team plays: more than are left to the end.
const ROUNDS: usize = 12;

/// Two processes, of which the second has a flaw.
fn played(flaw: Flaw) -> Played {
    let one = Rc::new(InMemory::default());
    let other = if flaw == Flaw::Apart { Rc::new(InMemory::default()) } else { one.clone() };
    let process = |registry, flaw, name: &str| {
        let (remembered, read) = (RefCell::default(), RefCell::default());
        let process = Process { registry, flaw, asked: Cell::new(0), remembered, read };
        let target: Rc<dyn AnyTarget> = Rc::new(process);
        Door { name: name.into(), target }
    };
    let doors = [process(one, Flaw::None, "one"), process(other, flaw, "other")];
    let settings = Settings {
        clients: 6,
        duration: Duration::ZERO,
        rounds: ROUNDS,
        seed: 20_261_126,
        prefix: "several".into(),
        progress: Arc::default(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(play(&doors, &settings))
}

#[test]
fn nothing_is_wrong_with_two_processes_of_one_registry() {
    let played = played(Flaw::None);
    assert!(played.failures.is_empty(), "{:#?}", played.failures);
    assert!(played.histories > 0 && played.acknowledged > 50 && played.unanswered == 0, "{}", played.summary());
    // Six keys a round, of two teams, and all of it is deleted again.
    assert_eq!(played.histories, 6 * 2 * ROUNDS, "{}", played.summary());
    assert_eq!(played.deleted, 2 * ROUNDS, "{}", played.summary());
}

#[test]
fn lost_answers_are_no_failure() {
    let played = played(Flaw::BreaksOff);
    assert!(played.failures.is_empty(), "{:#?}", played.failures);
    assert!(played.unanswered > 20, "{}", played.summary());
}

#[test]
fn what_no_one_registry_can_show_is_found() {
    let flaws =
        [Flaw::Apart, Flaw::Stale, Flaw::Loses, Flaw::Resurrects, Flaw::GoesBack, Flaw::KeepsNoBlob, Flaw::Forgets];
    for flaw in flaws {
        let played = played(flaw);
        let failure = played.failures.first().unwrap_or_else(|| panic!("{flaw:?} is not found: {}", played.summary()));
        assert!(failure.operations.len() <= 40, "{flaw:?}: {failure:#?}");
        if matches!(flaw, Flaw::Stale | Flaw::Loses | Flaw::Resurrects | Flaw::GoesBack) {
            let unexplained = played.failures.iter().find(|failure| failure.came == "there is none");
            let unexplained = unexplained.unwrap_or_else(|| panic!("{flaw:?}: {:#?}", played.failures));
            assert!(unexplained.operations.len() <= 12, "{flaw:?}: {unexplained:#?}");
        }
    }
}
