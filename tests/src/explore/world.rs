//! The calls of a scenario in flight over one store.

mod following;

use std::hash::{DefaultHasher, Hash as _, Hasher};
use std::time::Duration;

use bytes::Bytes;
use orlop_core::digest::Digest;
use orlop_core::effect::{Committed, Follow};
use orlop_core::memory::{Memory, RequestBody};
use orlop_core::mirror::Fetching;
use orlop_core::stall::Stall;
use orlop_core::step::{Ask, Rest};
use orlop_core::{Body, Error, Method, Report, Request, Response, Step, Timestamp};

use super::mirrored::Trouble;
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
    /// The upstream has not done as it should.
    troubled: bool,
    /// What has happened, in words, where somebody wants to read it.
    pub(super) told: Option<Vec<String>>,
}

/// A call in flight.
struct Flight {
    stage: Stage,
    heard: Heard,
    /// The storage failed it.
    failed: bool,
    /// The upstream did not do for it as it should.
    troubled: bool,
    /// The fetch that it follows, by number of flight.
    follows: Option<usize>,
    /// Which blob it fetches, if it is a fetch.
    fetch: Option<Fetch>,
    /// What keeps its bytes from garbage collection, and since when it has some.
    stall: Stall,
    made: Option<Timestamp>,
    /// The calls that had ended when it began to do something, one bit for each.
    before: u32,
}

/// What those who follow the fetch of a blob are shown of it.
struct Fetch {
    /// The host that fetches it, and for whom else it may.
    on_other: bool,
    fetching: Fetching,
    /// How many bytes there are, once they come.
    size: Option<u64>,
    /// All of them, once they are known to be the right ones.
    bytes: Option<Bytes>,
}

enum Stage {
    Asking(Step),
    Collecting(Step<Report>),
    /// Something is about to happen to the upstreams.
    Changing(Request, RequestBody),
    /// The fetch of a blob.
    Fetching(Step<Result<(), Error>>),
    /// It is over, and does what is left.
    Fetched(Result<(), Error>, Option<Step<()>>),
    /// Waits until the bytes of a blob come, or its fetch is over.
    Following(Ask<Follow>),
    /// Sends the bytes of a blob on as they come.
    Streaming(Response, Option<Rest>),
    /// The core has answered, the host is about to open the objects.
    Opening(Response, Option<Rest>),
    /// Time is about to pass.
    Waiting(Duration),
    /// The client has its answer, and the call does what is left.
    Resting(u16, String, Step<()>),
    Over(u16, String),
    Collected(Report),
    /// The client has got other bytes than it was told: which, and the answer.
    Wrong(String, String),
    /// Never to be seen: the stage while it changes.
    Nowhere,
}

impl<'s> World<'s> {
    pub(super) fn new(scenario: &'s Scenario, mutation: Mutation) -> Self {
        let flight =
            |call| Flight::of(Stage::begin(scenario, call), stall(scenario, mutation, scenario.is_on_other(call)));
        let flights = (0..scenario.calls.len()).map(flight).collect();
        let store = Store::new(scenario.before.clone(), mutation);
        let store = if scenario.keeps() { store.keeping() } else { store };
        Self { scenario, store, flights, failed: false, troubled: false, told: None }
    }

    /// What can happen next: which call goes on, and whether the storage fails it.
    pub(super) fn options(&self, failures: bool) -> Vec<(usize, Failure)> {
        let mut options = Vec::new();
        for (call, flight) in self.flights.iter().enumerate() {
            let Some(asked) = flight.stage.asked() else { continue };
            if !self.can_go_on(flight) {
                continue;
            }
            options.push((call, Failure::None));
            if !failures || self.failed || self.troubled || asked.starts_with(' ') {
                continue;
            }
            options.extend(Trouble::of(asked).iter().map(|trouble| (call, Failure::Upstream(*trouble))));
            options.push((call, Failure::WithoutDoing));
            // Whether a question was looked up before it failed makes no difference to anybody.
            if matches!(asked, "Receive" | "Join" | "Erase" | "Commit" | "Fetch") {
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
        let over = (0..self.scenario.calls.len()).filter(|other| self.flights[*other].stage.has_answered());
        let over = over.fold(0, |over, other| over | 1 << other);
        let flight = &mut self.flights[call];
        if flight.heard.outcomes == 0 {
            flight.before = over;
        }
        match failure {
            Failure::None => {}
            Failure::Upstream(_) => (self.troubled, flight.troubled) = (true, true),
            Failure::WithoutDoing | Failure::AfterDoing => (self.failed, flight.failed) = (true, true),
        }
        let no_body = RequestBody::default();
        let body = if flight.fetch.is_some() { no_body.clone() } else { self.scenario.body(call) };
        let now = Duration::from_millis(self.store.memory.now.0);
        flight.stage = match std::mem::replace(&mut flight.stage, Stage::Nowhere) {
            // The host keeps the stall rule: it makes no commit of a call that was held up for too long.
            Stage::Asking(Step::Commit(ask)) if flight.stall.check(now).is_err() => {
                self.failed = true;
                flight.failed = true;
                flight.heard.take_down(&"it was held up");
                Stage::of(ask.answer(flight.stall.check(now).map(|()| Committed::Conflict)), &self.store.memory)
            }
            Stage::Fetching(Step::Commit(ask)) if flight.stall.check(now).is_err() => {
                self.failed = true;
                flight.failed = true;
                flight.heard.take_down(&"it was held up");
                Stage::fetching(ask.answer(flight.stall.check(now).map(|()| Committed::Conflict)))
            }
            Stage::Asking(Step::Follow(ask)) if failure == Failure::None => {
                flight.heard.take_down(&FOLLOW);
                return self.follow(call, ask);
            }
            Stage::Following(ask) => return self.go_on_following(call, ask),
            Stage::Streaming(response, rest) => return self.stream(call, response, rest),
            Stage::Asking(step) => {
                let objects = self.store.memory.objects.len();
                let next = self.store.perform(step, &body, failure, &mut flight.heard);
                if self.store.memory.objects.len() > objects {
                    flight.stall.made(now);
                    flight.made.get_or_insert(self.store.memory.now);
                }
                Stage::of(next, &self.store.memory)
            }
            Stage::Fetching(step) => {
                let source = if let Step::Fetch(ask) = &step { Some(ask.effect.clone()) } else { None };
                let objects = self.store.memory.objects.len();
                let next = self.store.perform(step, &no_body, failure, &mut flight.heard);
                if self.store.memory.objects.len() > objects {
                    flight.stall.made(now);
                    flight.made.get_or_insert(self.store.memory.now);
                }
                if let (Some(asked), Some(fetch)) = (source, &mut flight.fetch) {
                    fetch.show(&asked, &mut self.store);
                }
                Stage::fetching(next)
            }
            Stage::Fetched(result, Some(step)) => {
                Stage::fetched(result, self.store.perform(step, &no_body, failure, &mut flight.heard))
            }
            Stage::Changing(request, body) => {
                self.store.change_upstreams(&request, &body);
                flight.heard.take_down(&PASSED);
                Stage::Over(200, PASSED.into())
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
            (flight.troubled, flight.follows).hash(&mut hasher);
            flight.made.map(|made| made.0).hash(&mut hasher);
        }
        hasher.finish()
    }

    /// Whether all calls have ended.
    pub(super) fn is_over(&self) -> bool {
        self.flights.iter().all(|flight| flight.stage.asked().is_none())
    }

    /// Whether a purge has found what it was asked for.
    pub(super) fn has_purged(&self) -> bool {
        let purges = self.flights.iter().zip(&self.scenario.calls).filter(|(_, call)| matches!(call, Call::Purge(..)));
        let mut answers = purges.filter_map(|(flight, _)| match &flight.stage {
            Stage::Over(_, answer) | Stage::Resting(_, answer, _) => Some(answer),
            _ => None,
        });
        answers.any(|answer| !answer.contains("Err(Unknown("))
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
            // What an upstream did wrong may show, and a client that was cut off knows it.
            _ if flight.troubled => None,
            (Stage::Wrong(_, answer), _) => Some(answer.clone()),
            (Stage::Over(CUT, _) | Stage::Resting(CUT, ..), _) => None,
            // To take what is not here, or only just comes, out of a mirror changes nothing.
            (Stage::Over(404, _) | Stage::Resting(404, ..), Call::Request(request, _)) if self.evicts(request) => None,
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
        self.flights.iter().filter(|flight| !flight.failed && !flight.troubled).find_map(|flight| match &flight.stage {
            Stage::Over(500.., answer) | Stage::Resting(500.., answer, _) => Some(answer.clone()),
            Stage::Collected(Report { fault: Some(fault), .. }) => Some(fault.clone()),
            _ => None,
        })
    }

    /// The keys of the tags and manifests that clients know to be pushed or undeleted.
    pub(super) fn brought(&self) -> Vec<String> {
        let key = |repository: &str, reference: &str| match reference.contains(':') {
            true => format!("manifest/{repository}@{reference}"),
            false => format!("tag/{repository}:{reference}"),
        };
        let flights = self.flights.iter().zip(&self.scenario.calls);
        let brought = flights.filter_map(|(flight, call)| match (&flight.stage, call) {
            (Stage::Over(201, _) | Stage::Resting(201, ..), Call::Request(request, _)) => {
                let (repository, reference) = request.target.strip_prefix("/v2/")?.split_once("/manifests/")?;
                Some(key(repository, reference))
            }
            (Stage::Over(200, answer) | Stage::Resting(200, answer, _), Call::Undelete(name, reference, _))
                if answer.contains("Ok(") =>
            {
                Some(key(name.as_str(), &reference.to_string()))
            }
            _ => None,
        });
        brought.collect()
    }

    /// The client that got other bytes than those of the digest that it was told. (Whether it may still get those of a blob
    /// that is damaged is for the order of the calls to say.)
    pub(super) fn wrong(&self) -> Option<String> {
        self.flights.iter().find_map(|flight| match &flight.stage {
            Stage::Wrong(what, _) if !self.scenario.damaged.iter().any(|damaged| what.ends_with(damaged)) => {
                Some(what.clone())
            }
            _ => None,
        })
    }

    /// Whether a request takes something out of a mirror.
    fn evicts(&self, request: &Request) -> bool {
        let name = request.target.strip_prefix("/v2/").unwrap_or_default();
        request.method == Method::Delete && self.scenario.mirrored.is_of(name)
    }

    fn tell(&mut self, call: usize, failure: Failure) {
        let Some(told) = &mut self.told else { return };
        let asked = match &self.flights[call].stage {
            Stage::Asking(step) => step.describe(),
            Stage::Collecting(step) => step.describe(),
            Stage::Resting(_, _, step) => step.describe(),
            Stage::Fetching(step) => step.describe(),
            Stage::Fetched(_, Some(step)) => step.describe(),
            Stage::Waiting(time) => format!("{WAIT} {time:?}"),
            Stage::Changing(request, _) => format!("{CHANGE} {request:?}"),
            other => other.asked().unwrap_or_default().into(),
        };
        let fails = match failure {
            Failure::None => String::new(),
            Failure::AfterDoing => " [done, and fails]".into(),
            Failure::WithoutDoing => " [fails]".into(),
            Failure::Upstream(trouble) => format!(" [the upstream: {trouble:?}]"),
        };
        let who = if self.flights[call].fetch.is_some() { "fetch" } else { "call" };
        told.push(format!("{who} {call}: {}{fails}", asked.trim_start()));
    }
}

/// More effects than any call on the small stores of the scenarios has.
pub(super) const ENDLESS: usize = 1000;

/// What the host does by itself after a call: it opens the content to be streamed. (The names of what is no effect begin
/// with a space.)
const OPEN: &str = " Open";

/// What happens by itself: time passes.
const WAIT: &str = " Wait";

/// What happens elsewhere: something is pushed to the upstreams, or deleted there.
const CHANGE: &str = " Change the upstreams";

/// A call is shown how a fetch stands.
const FOLLOW: &str = " Follow";

/// A call sends on what comes.
const STREAM: &str = " Stream";

/// The status of an answer that was cut off.
const CUT: u16 = 0;

/// What is told of that.
pub(super) const PASSED: &str = "passed";

/// The stall rule as the host of a call keeps it.
fn stall(scenario: &Scenario, mutation: Mutation, on_other: bool) -> Stall {
    let lifetime = scenario.config.call_lifetime;
    Stall::new(match mutation {
        Mutation::StallRuleForgotten => Duration::MAX,
        Mutation::LifetimeNotShared if on_other => lifetime * 4,
        _ => lifetime,
    })
}

impl Flight {
    fn of(stage: Stage, stall: Stall) -> Self {
        Self {
            stage,
            heard: Heard::default(),
            failed: false,
            troubled: false,
            follows: None,
            fetch: None,
            stall,
            made: None,
            before: 0,
        }
    }
}

impl Stage {
    fn begin(scenario: &Scenario, call: usize) -> Self {
        match scenario.begin(call) {
            Begun::Answering(step) => Self::of(step, &scenario.before),
            Begun::Collecting(step) => Self::Collecting(step),
            Begun::Waiting(time) => Self::Waiting(time),
            Begun::Changing(request, body) => Self::Changing(request.clone(), body.clone()),
        }
    }

    fn of(step: Step, memory: &Memory) -> Self {
        let (response, rest) = match step {
            Step::Respond(response) => (response, None),
            Step::Answered(response, rest) => (response, Some(rest)),
            asking => return Self::Asking(asking),
        };
        match response.body {
            Body::Pieces(_) => Self::Opening(response, rest),
            Body::Coming(_) => Self::Streaming(response, rest),
            // Nothing comes between the last question of the call and this.
            Body::Relayed => Self::over(&memory.fill(response), rest),
            Body::Empty | Body::Bytes(_) => Self::over(&response, rest),
        }
    }

    fn over(response: &Response, rest: Option<Rest>) -> Self {
        if let Some(wrong) = wrong(response) {
            return Self::Wrong(wrong, observation::text(response));
        }
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

    fn fetching(step: Step<Result<(), Error>>) -> Self {
        match step {
            Step::Respond(result) => Self::Fetched(result, None),
            Step::Answered(result, rest) => Self::fetched(result, rest.begin()),
            asking => Self::Fetching(asking),
        }
    }

    fn fetched(result: Result<(), Error>, step: Step<()>) -> Self {
        match step {
            Step::Respond(()) | Step::Answered((), _) => Self::Fetched(result, None),
            asking => Self::Fetched(result, Some(asking)),
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
            Self::Fetching(step) => Some(step.name()),
            Self::Fetched(_, Some(step)) | Self::Resting(_, _, step) => Some(step.name()),
            Self::Opening(..) => Some(OPEN),
            Self::Waiting(_) => Some(WAIT),
            Self::Changing(..) => Some(CHANGE),
            Self::Following(_) => Some(FOLLOW),
            Self::Streaming(..) => Some(STREAM),
            Self::Over(..) | Self::Collected(_) | Self::Fetched(_, None) | Self::Wrong(..) | Self::Nowhere => None,
        }
    }
}

/// What is wrong with the bytes of a whole answer: they are not those of the digest that it names.
fn wrong(response: &Response) -> Option<String> {
    let Body::Bytes(bytes) = &response.body else { return None };
    let named: Digest = response.header("Docker-Content-Digest")?.parse().ok()?;
    let is_other = response.status == 200 && named.algorithm().digest(bytes) != named;
    is_other.then(|| format!("{:?} as {named}", String::from_utf8_lossy(bytes)))
}
