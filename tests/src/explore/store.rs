//! The store under exploration: the memory host, performing one effect at a time, with what a crash would take.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash as _, Hasher};
use std::time::Duration;

use orlop_core::effect::{Commit, Committed, Durability, Effect, Fault, Received, Value};
use orlop_core::keys::Key;
use orlop_core::memory::{Memory, RequestBody};
use orlop_core::mirror::Source;
use orlop_core::object::ObjectId;
use orlop_core::record::BlobRecord;
use orlop_core::step::{Ask, start};
use orlop_core::{Request, Step};

use super::mirrored::Trouble;
use super::mutation::{Delayed, Mutation};

/// The records and bytes, and the records as a crash may find them again.
#[derive(Clone, Debug)]
pub(super) struct Store {
    pub(super) memory: Memory,
    /// The records before each eventual commit since the last durable one, oldest first. Durability keeps order,
    /// so a crash takes none of these commits, the last, the last two, or all.
    losable: Vec<BTreeMap<Key, Value>>,
    pub(super) mutation: Mutation,
    /// What the mutation holds back until after the next commit.
    delayed: Vec<Delayed>,
    /// That commit has been.
    due: bool,
    /// The objects that a record has named, if they stay for longer than all calls take.
    pub(super) kept: Option<BTreeSet<ObjectId>>,
    /// One of them that was erased all the same.
    pub(super) lost: Option<ObjectId>,
    /// What upstreams were told to change, in order.
    changes: Vec<String>,
    /// What the last fetch of a blob has come to.
    pub(super) fetched: Option<Received>,
    /// The last fingerprint, as long as nothing has changed: hashing is what an exploration would spend its time on.
    fingerprint: Option<u64>,
}

/// Whether the storage fails at an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    None,
    /// It says so, but the effect has happened.
    AfterDoing,
    /// It says so, and the effect has not happened.
    WithoutDoing,
    /// Not the storage fails, but the upstream.
    Upstream(Trouble),
}

impl Store {
    pub(super) fn new(memory: Memory, mutation: Mutation) -> Self {
        Self {
            memory,
            losable: Vec::new(),
            mutation,
            delayed: Vec::new(),
            due: false,
            kept: None,
            lost: None,
            changes: Vec::new(),
            fetched: None,
            fingerprint: None,
        }
    }

    /// The same, where objects that a record names now or later are not to be erased.
    pub(super) fn keeping(self) -> Self {
        let named = self.memory.records.keys().filter_map(named).collect();
        Self { kept: Some(named), ..self }
    }

    /// Takes down what is erased.
    pub(super) fn erased(&mut self, objects: &[ObjectId]) {
        let kept = |object: &&ObjectId| self.kept.as_ref().is_some_and(|kept| kept.contains(*object));
        self.lost = self.lost.or(objects.iter().find(kept).copied());
    }

    /// Performs the effect that is asked for. `heard` takes down what the call is told.
    pub(super) fn perform<R>(
        &mut self,
        step: Step<R>,
        body: &RequestBody,
        failure: Failure,
        heard: &mut Heard,
    ) -> Step<R> {
        macro_rules! each_effect {
            ($($effect:ident { $($field:ident)* })*) => {
                match step {
                    $(Step::$effect(ask) => self.answer(ask, body, failure, heard),)*
                    over @ (Step::Respond(_) | Step::Answered(..)) => over,
                }
            };
        }
        orlop_core::for_each_effect!(each_effect)
    }

    fn answer<E: Altered, R>(
        &mut self,
        ask: Ask<E, R>,
        body: &RequestBody,
        failure: Failure,
        heard: &mut Heard,
    ) -> Step<R> {
        if std::mem::take(&mut self.due) {
            self.memory.objects.extend(std::mem::take(&mut self.delayed));
            self.fingerprint = None;
        }
        let outcome = match failure {
            Failure::WithoutDoing => Err(Fault::Failed("it is to fail here".into())),
            Failure::None => ask.effect.clone().perform(self, body),
            Failure::Upstream(trouble) => ask.effect.clone().troubled(self, trouble),
            Failure::AfterDoing => {
                let _ = ask.effect.clone().perform(self, body);
                Err(Fault::Failed("it is to fail here".into()))
            }
        };
        heard.take_down(&outcome);
        ask.answer(outcome)
    }

    /// Lets the memory host do it. An effect by itself is a call that ends with the outcome.
    pub(super) fn execute<E: Altered>(&mut self, effect: E, body: &RequestBody) -> Result<E::Outcome, Fault> {
        if E::CHANGES {
            self.fingerprint = None;
        }
        match self.memory.perform(start(|io| async move { io.ask(effect).await }), body) {
            Step::Respond(outcome) => outcome,
            asked => panic!("one effect asks for one thing, not for {} too", asked.name()),
        }
    }

    /// How many bytes a blob has at its upstream; none when it is not there.
    pub(super) fn size_upstream(&self, source: &Source) -> u64 {
        let upstream = self.memory.upstreams.get(&source.upstream);
        upstream.and_then(|upstream| size_of(&upstream.memory, &source.digest.to_string())).unwrap_or_default()
    }

    /// Lets something happen to the upstreams.
    pub(super) fn change_upstreams(&mut self, request: &Request, body: &RequestBody) {
        super::scenario::change_upstreams(&mut self.memory, request, body);
        self.changes.push(request.target.clone());
        self.fingerprint = None;
    }

    /// Lets time pass.
    pub(super) fn advance(&mut self, time: Duration) {
        self.memory.advance(time);
        self.fingerprint = None;
    }

    /// Holds an object back that has just come to be, if the mutation says so.
    pub(super) fn delay(&mut self, object: ObjectId) {
        if self.mutation == Mutation::CommitBeforeObject {
            self.delayed.extend(self.memory.objects.remove_entry(&object));
            self.fingerprint = None;
        }
    }

    pub(super) fn commit(&mut self, commit: Commit) -> Result<Committed, Fault> {
        let before = (commit.durability == Durability::Eventual).then(|| self.memory.records.clone());
        let puts: Vec<ObjectId> = commit.put.iter().filter_map(|(key, _)| named(key)).collect();
        let committed = self.execute(commit, &RequestBody::default())?;
        if committed == Committed::Done
            && let Some(kept) = &mut self.kept
        {
            kept.extend(puts);
        }
        self.due = !self.delayed.is_empty();
        match before {
            _ if committed == Committed::Conflict => {}
            Some(before) => self.losable.push(before),
            None => self.losable.clear(),
        }
        Ok(committed)
    }

    /// What there may be after a crash at this moment.
    pub(super) fn after_crash(&self) -> impl Iterator<Item = Memory> {
        let kept = std::iter::once(&self.memory.records).chain(&self.losable);
        kept.map(|records| {
            let mut memory = self.memory.clone();
            memory.records.clone_from(records);
            memory
        })
    }

    /// A number that tells this store from all others, what a crash would take included.
    pub(super) fn fingerprint(&mut self) -> u64 {
        *self.fingerprint.get_or_insert_with(|| {
            let mut hasher = DefaultHasher::new();
            fingerprint(&self.memory).hash(&mut hasher);
            self.losable.hash(&mut hasher);
            (self.delayed.len(), self.due).hash(&mut hasher);
            // What upstreams were asked, the calls have heard; what they have is changed by calls alone.
            self.changes.hash(&mut hasher);
            self.memory.upstreams.values().for_each(|upstream| upstream.breaks.hash(&mut hasher));
            hasher.finish()
        })
    }
}

/// How many bytes a blob has, if it is there.
pub(super) fn size_of(memory: &Memory, digest: &str) -> Option<u64> {
    let record = memory.records.get(&Key::stored(format!("blob/{digest}")))?;
    serde_json::from_slice(record).ok().map(|BlobRecord { size, .. }| size)
}

/// The object that a record of this key names.
fn named(key: &Key) -> Option<ObjectId> {
    key.as_str().strip_prefix("object/")?.parse().ok()
}

/// A number that tells what is stored from everything else that could be, upstreams left out. Sixty-four bits: among the some hundred
/// thousand stores of a test run the chance that two share one is less than one in a billion.
pub(super) fn fingerprint(memory: &Memory) -> u64 {
    let mut hasher = DefaultHasher::new();
    memory.records.hash(&mut hasher);
    for (object, (bytes, since)) in &memory.objects {
        (object, bytes, since.0).hash(&mut hasher);
    }
    memory.now.0.hash(&mut hasher);
    hasher.finish()
}

/// An effect as a mutation may alter it on its way to the host; most go as they are.
pub(super) trait Altered: Effect {
    /// Whether it may change what is stored.
    const CHANGES: bool;

    fn perform(self, store: &mut Store, body: &RequestBody) -> Result<Self::Outcome, Fault> {
        store.execute(self, body)
    }

    /// What comes of it when the upstream gives trouble. Most effects have nothing to do with it.
    fn troubled(self, store: &mut Store, _: Trouble) -> Result<Self::Outcome, Fault> {
        self.perform(store, &RequestBody::default())
    }
}

macro_rules! unaltered {
    ($( $effect:ident changes $changes:literal; )*) => {
        $( impl Altered for orlop_core::effect::$effect { const CHANGES: bool = $changes; } )*
    };
}

unaltered! {
    Collect changes false;
    Load changes false;
    Measure changes false;
    Inventory changes false;
    Get changes false;
    Follow changes true;
}

/// Everything a call has been told. A call is a function of that, so two schedules that told it the same have
/// left it at the same place.
#[derive(Clone, Debug, Default)]
pub(super) struct Heard {
    hasher: DefaultHasher,
    pub(super) outcomes: usize,
    /// Only counts: what is told was taken down by an earlier run.
    pub(super) known: bool,
}

impl Heard {
    pub(super) fn take_down(&mut self, outcome: &impl std::fmt::Debug) {
        struct Into<'a>(&'a mut DefaultHasher);
        impl std::fmt::Write for Into<'_> {
            fn write_str(&mut self, text: &str) -> std::fmt::Result {
                self.0.write(text.as_bytes());
                Ok(())
            }
        }
        if !self.known {
            // A hasher takes whatever it is given.
            let _ = write!(Into(&mut self.hasher), "{outcome:?};");
        }
        self.outcomes += 1;
    }

    pub(super) fn fingerprint(&self) -> u64 {
        self.hasher.finish()
    }
}
