//! The calls of a scenario in flight over one store.

use std::hash::{DefaultHasher, Hash as _, Hasher};
use std::time::Duration;

use orlop_core::effect::Committed;
use orlop_core::memory::RequestBody;
use orlop_core::stall::Stall;
use orlop_core::step::Rest;
use orlop_core::{Method, Report, Response, Step, Timestamp};

use super::mutation::Mutation;
use super::observation;
use super::scenario::{Begun, Call, Scenario, filled};
use super::store::{Failure, Heard, Store};

/// A store and the calls on it, each at some point of its way.
pub(super) struct World<'s> {
    scenario: &'s Scenario,
    pub(super) store: Store,
    flights: Vec<Flight>,
    /// The storage has failed.
    failed: bool,
    /// What has happened, in words, where somebody wants to read it.
    pub(super) told: Option<Vec<String>>,
}

/// A call in flight.
struct Flight {
    stage: Stage,
    heard: Heard,
    /// The storage failed it.
    failed: bool,
    /// What keeps its bytes from garbage collection, and since when it has some.
    stall: Stall,
    made: Option<Timestamp>,
    /// The calls that had ended when it began to do something, one bit for each.
    before: u32,
}

enum Stage {
    Asking(Step),
    Collecting(Step<Report>),
    /// The core has answered, the host is about to open the objects.
    Opening(Response, Option<Rest>),
    /// Time is about to pass.
    Waiting(Duration),
    /// The client has its answer, and the call does what is left.
    Resting(u16, String, Step<()>),
    Over(u16, String),
    Collected(Report),
    /// Never to be seen: the stage while it changes.
    Nowhere,
}

impl<'s> World<'s> {
    pub(super) fn new(scenario: &'s Scenario, mutation: Mutation) -> Self {
        let flights = (0..scenario.calls.len()).map(|call| Flight {
            stage: Stage::begin(scenario, call),
            heard: Heard::default(),
            failed: false,
            stall: stall(scenario, mutation, call),
            made: None,
            before: 0,
        });
        let flights = flights.collect();
        let store = Store::new(scenario.before.clone(), mutation);
        let store = if scenario.keeps() { store.keeping() } else { store };
        Self { scenario, store, flights, failed: false, told: None }
    }

    /// What can happen next: which call goes on, and whether the storage fails it.
    pub(super) fn options(&self, failures: bool) -> Vec<(usize, Failure)> {
        let mut options = Vec::new();
        for (call, flight) in self.flights.iter().enumerate() {
            let Some(asked) = flight.stage.asked() else { continue };
            options.push((call, Failure::None));
            if !failures || self.failed || asked == OPEN || asked == WAIT {
                continue;
            }
            options.push((call, Failure::WithoutDoing));
            // Whether a question was looked up before it failed makes no difference to anybody.
            if matches!(asked, "Receive" | "Join" | "Erase" | "Commit") {
                options.push((call, Failure::AfterDoing));
            }
        }
        options
    }

    /// What the calls have been told so far.
    pub(super) fn heard(&self) -> Vec<Heard> {
        self.flights.iter().map(|flight| flight.heard.clone()).collect()
    }

    /// Takes over what an earlier run took down on its way to this place; `None`: it will be, later.
    pub(super) fn heard_before(&mut self, heard: Option<&[Heard]>) {
        match heard {
            Some(heard) => self.flights.iter_mut().zip(heard).for_each(|(flight, heard)| flight.heard = heard.clone()),
            None => self.flights.iter_mut().for_each(|flight| flight.heard.known = true),
        }
    }

    /// Lets one call go on by one effect.
    pub(super) fn step(&mut self, call: usize, failure: Failure) {
        self.tell(call, failure);
        let over = (0..self.flights.len()).filter(|other| self.flights[*other].stage.has_answered());
        let over = over.fold(0, |over, other| over | 1 << other);
        let flight = &mut self.flights[call];
        if flight.heard.outcomes == 0 {
            flight.before = over;
        }
        if failure != Failure::None {
            self.failed = true;
            flight.failed = true;
        }
        let (no_body, body) = (RequestBody::default(), self.scenario.body(call));
        let now = Duration::from_millis(self.store.memory.now.0);
        flight.stage = match std::mem::replace(&mut flight.stage, Stage::Nowhere) {
            // The host keeps the stall rule: it makes no commit of a call that was held up for too long.
            Stage::Asking(Step::Commit(ask)) if flight.stall.check(now).is_err() => {
                self.failed = true;
                flight.failed = true;
                flight.heard.take_down(&"it was held up");
                Stage::of(ask.answer(flight.stall.check(now).map(|()| Committed::Conflict)))
            }
            Stage::Asking(step) => {
                let objects = self.store.memory.objects.len();
                let next = self.store.perform(step, &body, failure, &mut flight.heard);
                if self.store.memory.objects.len() > objects {
                    flight.stall.made(now);
                    flight.made.get_or_insert(self.store.memory.now);
                }
                Stage::of(next)
            }
            Stage::Waiting(time) => {
                self.store.advance(time);
                flight.heard.take_down(&PASSED);
                Stage::Over(200, PASSED.into())
            }
            Stage::Collecting(step) => match self.store.perform(step, &body, failure, &mut flight.heard) {
                Step::Respond(report) | Step::Answered(report, _) => Stage::Collected(report),
                asking => Stage::Collecting(asking),
            },
            Stage::Opening(response, rest) => {
                let opened = filled(&self.store.memory, response);
                flight.heard.take_down(&opened.is_some());
                match opened {
                    Some(response) => Stage::over(&response, rest),
                    None => Stage::begin(self.scenario, call),
                }
            }
            Stage::Resting(status, answer, step) => {
                Stage::resting(status, answer, self.store.perform(step, &no_body, failure, &mut flight.heard))
            }
            over => over,
        };
    }

    /// Whether the storage has failed a call.
    pub(super) fn has_failed(&self) -> bool {
        self.failed
    }

    /// Whether a call goes on for ever.
    pub(super) fn is_endless(&self) -> bool {
        self.flights.iter().any(|flight| flight.heard.outcomes > ENDLESS)
    }

    /// A number that tells this place from all others.
    pub(super) fn fingerprint(&mut self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.store.fingerprint().hash(&mut hasher);
        for flight in &self.flights {
            (flight.heard.fingerprint(), flight.heard.outcomes, flight.failed, flight.before).hash(&mut hasher);
            flight.made.map(|made| made.0).hash(&mut hasher);
        }
        hasher.finish()
    }

    /// Whether all calls have ended.
    pub(super) fn is_over(&self) -> bool {
        self.flights.iter().all(|flight| flight.stage.asked().is_none())
    }

    /// The answers that clients may rely on from now on; `crashed`: even after a crash.
    pub(super) fn answers(&self, crashed: bool) -> Vec<Option<String>> {
        let flights = self.flights.iter().zip(&self.scenario.calls);
        let answers = flights.map(|(flight, call)| match (&flight.stage, call) {
            // An upload session that has just been opened may be lost: nothing has been sent to it yet.
            (Stage::Over(202, _) | Stage::Resting(202, ..), Call::Request(request, _))
                if crashed && request.method == Method::Post =>
            {
                None
            }
            (_, call) if crashed && !call.is_lasting() => None,
            (Stage::Over(status, answer) | Stage::Resting(status, answer, _), _) if *status < 500 => {
                Some(answer.clone())
            }
            _ => None,
        });
        answers.collect()
    }

    /// Which calls may have happened, whatever they were answered.
    pub(super) fn possible(&self) -> Vec<bool> {
        self.flights.iter().map(|flight| flight.heard.outcomes > 0).collect()
    }

    /// For each call the calls that had ended when it began.
    pub(super) fn before(&self) -> Vec<u32> {
        self.flights.iter().map(|flight| flight.before).collect()
    }

    /// The call that failed although the storage never failed it. No client and no race may cause a 5xx.
    pub(super) fn failed_by_itself(&self) -> Option<String> {
        self.flights.iter().filter(|flight| !flight.failed).find_map(|flight| match &flight.stage {
            Stage::Over(500.., answer) | Stage::Resting(500.., answer, _) => Some(answer.clone()),
            Stage::Collected(Report { fault: Some(fault), .. }) => Some(fault.clone()),
            _ => None,
        })
    }

    fn tell(&mut self, call: usize, failure: Failure) {
        let Some(told) = &mut self.told else { return };
        let asked = match &self.flights[call].stage {
            Stage::Asking(step) => step.describe(),
            Stage::Collecting(step) => step.describe(),
            Stage::Resting(_, _, step) => step.describe(),
            Stage::Waiting(time) => format!("{WAIT} {time:?}"),
            _ => OPEN.into(),
        };
        let fails = match failure {
            Failure::None => "",
            Failure::AfterDoing => " [done, and fails]",
            Failure::WithoutDoing => " [fails]",
        };
        told.push(format!("call {call}: {asked}{fails}"));
    }
}

/// More effects than any call on the small stores of the scenarios has.
pub(super) const ENDLESS: usize = 1000;

/// What the host does by itself after a call: it opens the content to be streamed.
const OPEN: &str = "Open";

/// What happens by itself: time passes.
const WAIT: &str = "Wait";

/// What is told of that.
pub(super) const PASSED: &str = "passed";

/// The stall rule as the host of a call keeps it.
fn stall(scenario: &Scenario, mutation: Mutation, call: usize) -> Stall {
    let lifetime = scenario.config.call_lifetime;
    Stall::new(match mutation {
        Mutation::StallRuleForgotten => Duration::MAX,
        Mutation::LifetimeNotShared if scenario.is_on_other(call) => lifetime * 4,
        _ => lifetime,
    })
}

impl Stage {
    fn begin(scenario: &Scenario, call: usize) -> Self {
        match scenario.begin(call) {
            Begun::Answering(step) => Self::of(step),
            Begun::Collecting(step) => Self::Collecting(step),
            Begun::Waiting(time) => Self::Waiting(time),
        }
    }

    fn of(step: Step) -> Self {
        let (response, rest) = match step {
            Step::Respond(response) => (response, None),
            Step::Answered(response, rest) => (response, Some(rest)),
            asking => return Self::Asking(asking),
        };
        match response.body {
            orlop_core::Body::Pieces(_) => Self::Opening(response, rest),
            _ => Self::over(&response, rest),
        }
    }

    fn over(response: &Response, rest: Option<Rest>) -> Self {
        let answer = observation::text(response);
        match rest {
            None => Self::Over(response.status, answer),
            Some(rest) => Self::resting(response.status, answer, rest.begin()),
        }
    }

    fn resting(status: u16, answer: String, step: Step<()>) -> Self {
        match step {
            Step::Respond(()) | Step::Answered((), _) => Self::Over(status, answer),
            asking => Self::Resting(status, answer, asking),
        }
    }

    /// Whether the client, if there is one, has its answer.
    fn has_answered(&self) -> bool {
        matches!(self, Self::Resting(..)) || self.asked().is_none()
    }

    /// The name of what is to be done next; `None` when the call has ended.
    fn asked(&self) -> Option<&'static str> {
        match self {
            Self::Asking(step) => Some(step.name()),
            Self::Collecting(step) => Some(step.name()),
            Self::Opening(..) => Some(OPEN),
            Self::Waiting(_) => Some(WAIT),
            Self::Resting(_, _, step) => Some(step.name()),
            Self::Over(..) | Self::Collected(_) | Self::Nowhere => None,
        }
    }
}
