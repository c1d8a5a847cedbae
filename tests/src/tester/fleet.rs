//! Several clients on several addresses of one registry, for a while, whatever fails meanwhile.
//!
//! Teams of clients play one round after the other: each round has a repository of its own, and in it a few *keys* that
//! its clients share (tags, blobs, manifests, uploads), each asked by any address. What every client was told of a key is
//! kept with when it asked and when it was told, and must be [explained](super::linear) by some order. Some rounds later,
//! all keys of a round are asked once more, and then most rounds are deleted, so that a run of hours needs no more memory
//! and disk than one of minutes. What is left is asked at the end.
//!
//! A process that is killed, a database that fails over, a connection that breaks: the client gets 5xx or no answer at
//! all, and then what it asked for may have been done, may still be done later, or never. Whatever else it gets counts.

mod audit;
mod key;
mod round;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;

use super::chance::Chance;
use super::content::sha256;
use super::exchange::{Answer, AnyTarget, Exchange, Unreachable};
use super::history::Failure;
use round::Round;

/// How many clients share the keys of a round.
const TEAM: usize = 3;

/// How long the registry may give no answer at all before that is a failure of its own.
const PATIENCE: Duration = Duration::from_secs(180);

/// How many failures are told; after the first, no more rounds begin, and after the last, nothing more is asked.
const TOLD: usize = 5;

/// How many rounds a team plays until the first of them is asked for again.
const RECENT: usize = 8;

/// One round in so many is not deleted then, but kept until the end.
const KEPT_ONCE_IN: usize = 8;

/// An address of the registry.
pub struct Door {
    /// What it is called in histories.
    pub name: String,
    /// What answers there. It sends nothing twice: whether a request whose connection broke was done is not known.
    pub target: Rc<dyn AnyTarget>,
}

/// What is to be played.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How many clients work at once.
    pub clients: usize,
    /// How long new rounds begin.
    pub duration: Duration,
    /// How many rounds each team plays at least, however long that takes.
    pub rounds: usize,
    /// Where chance begins. What the clients do repeats with it, and not how they meet.
    pub seed: u64,
    /// The repositories begin with this.
    pub prefix: String,
    /// How far it is, for whoever watches.
    pub progress: Arc<Progress>,
}

/// How far clients have come.
#[derive(Debug, Default)]
pub struct Progress {
    /// How many changes were acknowledged.
    pub acknowledged: AtomicU64,
    /// How many rounds were played.
    pub played: AtomicU64,
    /// How many times a round was asked for again.
    pub asked_again: AtomicU64,
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [acknowledged, played, asked_again] =
            [&self.acknowledged, &self.played, &self.asked_again].map(|count| count.load(Ordering::Relaxed));
        write!(f, "{acknowledged} changes acknowledged, {played} rounds played, {asked_again} asked for again")
    }
}

/// What was played, and what came of it.
#[derive(Clone, Debug, Default)]
pub struct Played {
    /// How many keys had a history.
    pub histories: usize,
    /// How many operations were answered.
    pub operations: usize,
    /// How many changes were acknowledged.
    pub acknowledged: u64,
    /// How many rounds were deleted once they had been asked for again.
    pub deleted: usize,
    /// How long it took at the end to ask for all that were left, and to delete them.
    pub audit: Duration,
    /// How many requests got no answer that says whether they were done.
    pub unanswered: usize,
    /// How many found nobody at the address.
    pub unreached: usize,
    /// How many sessions were opened and not there any more when the first bytes came.
    pub forgotten: usize,
    /// How many answers had which status of 500 and more.
    pub faults: BTreeMap<u16, usize>,
    /// Answers of 500 and more that do not say when to come again, the first few.
    pub unhelpful: Vec<String>,
    /// How many requests for blobs were sent elsewhere.
    pub redirected: usize,
    /// The longest that an answer of 200 to 499 took.
    pub slowest: Duration,
    /// Histories that no order explains, and wrong answers.
    pub failures: Vec<Failure>,
}

impl Played {
    /// What was played, in a line.
    pub fn summary(&self) -> String {
        let faults: Vec<String> = self.faults.iter().map(|(status, times)| format!("{times} times {status}")).collect();
        let faults = if faults.is_empty() { "no fault".to_owned() } else { faults.join(", ") };
        format!(
            "clients at once: {} histories, {} operations answered, the slowest in {:.1} s; {} changes acknowledged; {} \
             without an answer that counts ({faults}), {} found nobody, {} sessions forgotten before their first byte, {} \
             redirected; {} rounds deleted again; {:.1} s for all that was left at the end",
            self.histories,
            self.operations,
            self.slowest.as_secs_f64(),
            self.acknowledged,
            self.unanswered,
            self.unreached,
            self.forgotten,
            self.redirected,
            self.deleted,
            self.audit.as_secs_f64()
        )
    }
}

/// Answers of 5xx that are told in full.
const SHOWN: usize = 10;

/// What a request came to.
pub(crate) enum Reply {
    /// This answer, which counts.
    Answer(Answer),
    /// It may have been done, or be done yet.
    Unknown,
    /// It was not done.
    Never,
}

/// The registry did what it must not.
#[derive(Clone, Debug)]
pub(crate) struct Wrong {
    pub(crate) expected: String,
    pub(crate) came: String,
}

pub(crate) fn wrong<T>(expected: impl Into<String>, came: impl ToString) -> Result<T, Wrong> {
    Err(Wrong { expected: expected.into(), came: came.to_string() })
}

/// Whether what has been tried since then may be tried again.
fn still_in_time(began: Instant, what: impl FnOnce() -> String) -> Result<(), Wrong> {
    match began.elapsed() < PATIENCE {
        true => Ok(()),
        false => wrong(format!("an answer to {} within {PATIENCE:?}", what()), "503 or none, each time"),
    }
}

/// What all clients have in common.
pub(crate) struct Fleet<'a> {
    doors: &'a [Door],
    settings: &'a Settings,
    began: Instant,
    played: RefCell<Played>,
    rounds: Cell<usize>,
}

/// Lets clients work, and judges what they saw.
pub async fn play(doors: &[Door], settings: &Settings) -> Played {
    let began = Instant::now();
    let fleet = Fleet { doors, settings, began, played: RefCell::default(), rounds: Cell::new(0) };
    let teams = join_all((0..settings.clients.div_ceil(TEAM)).map(|team| fleet.team(team))).await;
    let rounds: Vec<Round> = teams.into_iter().flatten().collect();
    let over = Instant::now();
    fleet.audit(rounds).await;
    let mut played = fleet.played.into_inner();
    played.audit = over.elapsed();
    played.acknowledged = settings.progress.acknowledged.load(Ordering::Relaxed);
    played
}

impl Fleet<'_> {
    /// One round after the other, until it is over. Returns those that are still there.
    async fn team(&self, team: usize) -> Vec<Round> {
        let clients = TEAM.min(self.settings.clients - team * TEAM);
        let (mut recent, mut kept) = (VecDeque::new(), Vec::new());
        let goes_on = |played: usize| played < self.settings.rounds || self.began.elapsed() < self.settings.duration;
        let mut played = 0;
        while goes_on(played) && self.played.borrow().failures.is_empty() {
            let number = self.rounds.replace(self.rounds.get() + 1);
            let mut chance = Chance::of(self.settings.seed, &format!("team {team}, round {played}"));
            played += 1;
            match Round::begin(self, number, &mut chance).await {
                Ok(round) => {
                    round.play(self, clients, &mut chance).await;
                    self.played.borrow_mut().histories += round.keys.len();
                    self.settings.progress.played.fetch_add(1, Ordering::Relaxed);
                    recent.push_back(round);
                }
                Err(wrong) => self.failed(number, &wrong.expected, &wrong.came, Vec::new()),
            }
            if recent.len() > RECENT
                && let Some(oldest) = recent.pop_front()
            {
                self.ask_again(&oldest, "some rounds later").await;
                match played % KEPT_ONCE_IN {
                    0 => kept.push(oldest),
                    _ => self.delete(&oldest, &mut chance).await,
                }
            }
        }
        kept.extend(recent);
        kept
    }

    /// A moment, for what happened before what: in microseconds.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Sends a request to any address, once: what came of it, and to which it went.
    pub(crate) async fn ask(&self, chance: &mut Chance, exchange: Exchange) -> Result<(Reply, &str), Wrong> {
        let door = &self.doors[chance.below(self.doors.len())];
        let asked = Instant::now();
        let told = format!("{} {}", exchange.method, exchange.target);
        let mut answer = door.target.send_any(exchange.clone()).await;
        // The bytes of a blob may be elsewhere (SPEC C12), where nobody knows when to come again.
        let elsewhere = answer.as_ref().ok().and_then(|answer| elsewhere(&exchange, answer));
        if let Some(url) = elsewhere {
            self.played.borrow_mut().redirected += 1;
            answer = door.target.send_any(Exchange { target: url, ..exchange }).await;
            if let Ok(Answer { status: 500.., .. }) = answer {
                answer = Err(Unreachable::Dropped("the store has a fault".into()));
            }
        }
        let reply = self.judge(&told, answer, asked.elapsed())?;
        if !matches!(reply, Reply::Answer(_)) {
            // Long enough that nobody spins, and short enough that what fails meanwhile is met.
            tokio::time::sleep(Duration::from_millis(20 + chance.below(130) as u64)).await;
        }
        Ok((reply, &door.name))
    }

    fn judge(&self, told: &str, answer: Result<Answer, Unreachable>, took: Duration) -> Result<Reply, Wrong> {
        let mut played = self.played.borrow_mut();
        match answer {
            Ok(answer) if answer.status >= 500 => {
                *played.faults.entry(answer.status).or_default() += 1;
                played.unanswered += 1;
                let says_when = matches!(answer.status, 502..=504) && answer.header("Retry-After").is_some();
                if !says_when && played.unhelpful.len() < SHOWN {
                    let line = format!("after {:.1} s: {told} got {answer}", self.began.elapsed().as_secs_f64());
                    played.unhelpful.push(line);
                }
                Ok(Reply::Unknown)
            }
            Ok(answer) if answer.status == 429 => Ok(Reply::Never),
            Ok(answer) => {
                played.operations += 1;
                played.slowest = played.slowest.max(took);
                Ok(Reply::Answer(answer))
            }
            Err(Unreachable::Gone(_)) => {
                played.unreached += 1;
                Ok(Reply::Never)
            }
            Err(Unreachable::Dropped(_)) => {
                played.unanswered += 1;
                Ok(Reply::Unknown)
            }
            Err(lost) => wrong(format!("an answer to {told}"), lost),
        }
    }

    /// Sends a request that may be sent again, until it is answered.
    pub(crate) async fn insist(&self, chance: &mut Chance, exchange: Exchange) -> Result<Answer, Wrong> {
        let began = Instant::now();
        loop {
            if let Reply::Answer(answer) = self.ask(chance, exchange.clone()).await?.0 {
                return Ok(answer);
            }
            still_in_time(began, || format!("{} {}", exchange.method, exchange.target))?;
        }
    }

    /// Something was acknowledged.
    pub(crate) fn acknowledged(&self) {
        self.settings.progress.acknowledged.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether so much was wrong that nothing more need be asked.
    fn has_told_enough(&self) -> bool {
        self.played.borrow().failures.len() >= TOLD
    }

    fn failed(&self, history: usize, expected: &str, came: &str, operations: Vec<String>) {
        let mut played = self.played.borrow_mut();
        if played.failures.len() < TOLD {
            played.failures.push(Failure {
                history,
                operations,
                expected: expected.to_owned(),
                came: came.to_owned(),
                signature: expected.to_owned(),
                curl: String::new(),
            });
        }
    }
}

/// Where an answer sends for a blob.
fn elsewhere(exchange: &Exchange, answer: &Answer) -> Option<String> {
    let blob = exchange.method == "GET" && exchange.target.contains("/blobs/sha256:");
    answer.header("Location").filter(|_| blob && answer.status == 307).map(str::to_owned)
}

/// Bytes of which each place is known, and that no other seed has.
pub(crate) fn content(seed: u64, from: usize, length: usize) -> Vec<u8> {
    let word = |place: usize| (seed ^ place as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    let words = from / 8..(from + length).div_ceil(8);
    let mut bytes = Vec::with_capacity(8 * words.len());
    // All clients are one thread, which is not optimised in tests: whole words, not bytes.
    for place in words {
        bytes.extend_from_slice(&(word(place) | 1).to_le_bytes());
    }
    bytes.drain(..from % 8);
    bytes.truncate(length);
    bytes
}

/// A blob that is made again whenever it is needed: a long run has more of them than memory holds.
#[derive(Clone, Debug)]
pub(crate) struct Blob {
    seed: u64,
    pub(crate) size: usize,
    pub(crate) digest: String,
}

impl Blob {
    pub(crate) fn new(seed: u64, size: usize) -> Self {
        Self { seed, size, digest: sha256(content(seed, 0, size)) }
    }

    pub(crate) fn bytes(&self) -> Bytes {
        content(self.seed, 0, self.size).into()
    }
}
