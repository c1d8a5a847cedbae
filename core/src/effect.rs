//! The whole contract between the registry and whoever hosts it: the [effects](Effect).
//!
//! An effect is a typed question that the core asks and a host answers. The table in this file is all
//! a host must be able to do; it names no word of a registry, only bodies, bytes at rest and records.
//!
//! What every host promises:
//!
//! * Objects are **write-once**: an id is written by one call and never again.
//! * [`Commit`] is **atomic and isolated**: its expectations hold at the moment its changes appear, all
//!   together or not at all. [`Get`] reads one snapshot.
//! * What an outcome acknowledges is **durable** (it survives a power cut), but for a commit that asked
//!   for [`Durability::Eventual`], and for [`Erase`]: an object that comes back is an orphan, which garbage
//!   collection finds. Durability keeps order: when a commit is durable, so is every earlier one.
//! * An effect answered with a [`Fault`] may have happened or not.
//! * A commit comes **in time**, by the [stall rule](crate::stall).

use alloc::{string::String, vec::Vec};
use core::fmt::{self, Debug};
use core::ops::Range;
use core::time::Duration;

use bytes::Bytes;

use crate::keys::{Key, Prefix};
use crate::meter::Meter;
use crate::mirror::{Answer, Fetching, Followed, Relayed, Source, Unmet, Wanted};
use crate::object::ObjectId;
use crate::step::{Ask, Flow, Reply, Rest};

/// A typed question of the core to its host.
pub trait Effect: Clone + Debug + Send + 'static + question::Askable {
    /// What a host answers when it could do as asked.
    type Outcome: Clone + Debug + Send + 'static;
}

/// Declares every effect once: its struct, its variant of [`Step`], and how one becomes the other. What else has to
/// name every effect takes the list from [`for_each_effect`](crate::for_each_effect).
macro_rules! effects {
    ($dollar:tt $( $(#[$meta:meta])* $name:ident { $( $(#[$field_meta:meta])* $field:ident : $type:ty ),* $(,)? } -> $outcome:ty; )*) => {
        $(
            $(#[$meta])*
            #[allow(missing_docs, reason = "the line above says what the fields are")]
            #[derive(Clone, Debug, PartialEq, Eq)]
            pub struct $name { $( $(#[$field_meta])* pub $field: $type ),* }

            impl Effect for $name { type Outcome = $outcome; }

            impl question::Askable for $name {
                fn question(self, reply: Reply<Self>) -> question::Question { question::Question::$name(self, reply) }
            }
        )*

        /// Where a call stands: it asks something of its host, or it is over.
        ///
        /// `R` is what the call results in: a [`Response`](crate::Response), or the report of a garbage collection.
        #[must_use = "a call that is not driven to its end does nothing"]
        #[derive(Debug)]
        pub enum Step<R = crate::Response> {
            $( #[doc = concat!("The core asks for [`", stringify!($name), "`].")] $name(Ask<$name, R>), )*
            /// The call is over, with this result.
            Respond(R),
            /// The result is here, and nobody waits for the rest: what the call cleans up and tells of.
            Answered(R, Rest),
        }

        impl<R> Step<R> {
            /// The name of the effect asked for, or `Respond`, or `Answered`.
            pub fn name(&self) -> &'static str {
                match self {
                    $( Self::$name(_) => stringify!($name), )*
                    Self::Respond(_) => "Respond",
                    Self::Answered(..) => "Answered",
                }
            }

            /// What is asked, as text for transcripts and debuggers.
            pub fn describe(&self) -> String where R: Debug {
                match self {
                    $( Self::$name(ask) => alloc::format!("{:?}", ask.effect), )*
                    Self::Respond(result) | Self::Answered(result, _) => alloc::format!("{result:?}"),
                }
            }

            /// Answers whatever is asked with a fault; a finished call stays finished.
            pub fn fail(self, fault: Fault) -> Step<R> {
                match self {
                    $( Self::$name(ask) => ask.answer(Err(fault)), )*
                    over @ (Self::Respond(_) | Self::Answered(..)) => over,
                }
            }

            /// The same call with another result: what `change` makes of its own.
            pub fn map<S>(self, change: impl FnOnce(R) -> S + Send + 'static) -> Step<S> where R: 'static {
                match self {
                    $( Self::$name(ask) => Step::$name(ask.map(change)), )*
                    Self::Respond(result) => Step::Respond(change(result)),
                    Self::Answered(result, rest) => Step::Answered(change(result), rest),
                }
            }
        }

        /// Calls a macro with the list of all effects and the names of their fields: `Erase { objects } …`. So a host
        /// or a test that handles each of them repeats none.
        ///
        /// ```
        /// macro_rules! names {
        ///     ($( $name:ident { $( $field:ident )* } )*) => { [$( (stringify!($name), vec![$( stringify!($field) ),*]) ),*] };
        /// }
        /// let effects = orlop_core::for_each_effect!(names);
        /// assert!(effects.contains(&("Join", vec!["from", "into"])));
        /// ```
        #[macro_export]
        macro_rules! for_each_effect {
            ($dollar call:ident) => { $dollar call! { $( $name { $( $field )* } )* } };
        }

        /// Kept out of the public names: how a typed question travels from the flow to [`Step`].
        pub(crate) mod question {
            use super::*;
            /// Turns an effect into the question that stands in a suspended flow.
            pub trait Askable: Sized { #[doc(hidden)] fn question(self, reply: Reply<Self>) -> Question where Self: Effect; }
            /// An effect together with the place its outcome goes.
            pub enum Question { $( $name($name, Reply<$name>), )* }
            impl Question {
                pub(crate) fn into_step<R>(self, flow: Flow<R>) -> Step<R> {
                    match self { $( Self::$name(effect, reply) => Step::$name(Ask::new(effect, reply, flow)), )* }
                }
            }
        }
    };
}

effects! { $
    // ── the body of the request ──────────────────────────────────────────────────────────────────────────
    /// Reads the body into memory, `limit` bytes at most (manifests).
    Collect { limit: u64 } -> Collected;
    /// Streams the body into the new object `object`, showing every byte to `meter` first. Stops at the first byte
    /// past the meter's limit. A body of no bytes makes no object. Nor does one of at most `keep` bytes: these come
    /// back with the outcome.
    ///
    /// When the body has not ended after `pause`, the outcome says so ([`BodyEnd::Later`]): the object stays open,
    /// and the next `Receive` of the call names it again and goes on with it. A call that ends or erases the object
    /// instead has abandoned it.
    Receive { object: ObjectId, meter: Meter, keep: usize, pause: Duration } -> Received;

    // ── objects: write-once bytes at rest, named by ids the core makes ────────────────────────────────────
    /// Joins objects into the new object `into`, in order; they stay. `false` when one of them is not there.
    Join { from: Vec<ObjectId>, into: ObjectId } -> bool;
    /// Reads objects whole, one behind the other. `None` when one is not there, or when they have more than `limit`
    /// bytes together.
    Load { objects: Vec<ObjectId>, limit: u64 } -> Option<Bytes>;
    /// Reads objects past `meter`, one behind the other, up to its limit, and gives it back; `None` when one is not there.
    Measure { objects: Vec<ObjectId>, meter: Meter } -> Option<Meter>;
    /// Removes objects. Removing an object that does not exist is fine.
    Erase { objects: Vec<ObjectId> } -> ();
    /// Lists the objects after `after` in the order of [`ObjectId`], `limit` at most, none only at the end. For
    /// garbage collection alone.
    Inventory { after: Option<ObjectId>, limit: usize } -> Vec<Stored>;

    // ── records: one ordered map from key to value, transactional ────────────────────────────────────────
    /// Looks up keys in one snapshot; the answer has one entry a key, in their order.
    Get { keys: Vec<Key> } -> Vec<Option<Value>>;
    /// Lists entries under `prefix`, after the key `after`, in byte order of the keys: at most `limit`, and
    /// fewer when their values grow past `bytes` (but never none when there is one).
    Scan { prefix: Prefix, after: Option<Key>, limit: usize, bytes: usize } -> Vec<(Key, Value)>;
    /// Changes records if every expectation holds, all or nothing: first the deletes, then the puts, then the
    /// additions to [counters](crate::record::count). A commit that `reclaims` frees space: a host makes it even
    /// when the disk is too full for others.
    Commit {
        expect: Vec<Expect>, put: Vec<(Key, Value)>, add: Vec<(Key, i64)>, delete: Vec<Key>,
        durability: Durability, reclaims: bool,
    } -> Committed;

    // ── upstreams: the registries that mirrors stand in front of ─────────────────────────────────────────
    /// Asks an upstream something small, and reads its answer whole: at most `limit` bytes, more are
    /// [`Unmet::Failed`]. A host that is asked the same several times at once asks the upstream once. It may remember
    /// for half a minute that the upstream does not have something, and for a minute what it has answered to the login of
    /// a caller.
    Inquire { wanted: Wanted, limit: u64 } -> Result<Answer, Unmet>;
    /// Streams a blob of an upstream into the new object `object`, as [`Receive`] does with the body of a request: past
    /// `meter`, to its limit, and with at most `keep` bytes given back in the place of an object, unless it broke off: then
    /// they may be in the object. [`BodyEnd::Later`] does not occur.
    ///
    /// When the connection broke ([`BodyEnd::Cut`]), the next `Fetch` of the call may name the object again and goes on
    /// with it: it asks the upstream, which may be another one, for the bytes behind those that the meter has seen. It is
    /// the same after an [`Unmet`], which takes nothing of the object. A host that does not have just these bytes of the
    /// object any more asks nothing, keeps nothing, and answers [`BodyEnd::Cut`] with a meter that has seen nothing.
    ///
    /// Whoever [follows](Follow) is shown all bytes but the last as they come, and the last one only when the meter has
    /// come to the digest of the blob.
    Fetch { source: Source, object: ObjectId, meter: Meter, keep: usize } -> Result<Received, Unmet>;
    /// Begins the fetch of a blob, unless it is under way already, and waits until its bytes come or it is over. It is a
    /// call of its own, and goes on without those who wait for it.
    Follow { fetching: Fetching } -> Followed;
    /// Asks an upstream for some bytes of a blob or all of them, to be sent on as they come
    /// ([`Body::Relayed`](crate::Body::Relayed)) and not to be kept. An upstream that does not give these alone has not
    /// given them. The last byte of a whole blob is sent on only when the blob is that of its digest.
    Relay { source: Source, range: Option<Range<u64>> } -> Result<Relayed, Unmet>;
}

/// The raw bytes of a record.
pub type Value = Bytes;

/// What became of a body that was to be collected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Collected {
    /// The whole body.
    Whole(Bytes),
    /// The body is longer than the limit.
    TooLarge,
    /// The client went away, stalled or broke the framing before the end.
    Cut,
    /// So many others are being collected that there is no memory for this one now.
    NoRoom,
}

/// What became of a body that was to be received. What the meter counted is durable, unless it came back as bytes
/// or is still to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The meter, advanced by every byte that was received.
    pub meter: Meter,
    /// How the body ended.
    pub end: BodyEnd,
    /// The bytes, if there were some and no more than were to be kept: then there is no object.
    pub kept: Option<Bytes>,
    /// How long it took since it was asked for.
    pub took: Duration,
}

/// How a streamed body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyEnd {
    /// At its end.
    Whole,
    /// At the meter's limit, with more to come.
    TooLarge,
    /// Early: the client went away, stalled or broke the framing.
    Cut,
    /// Not yet: the pause is over, and more may come.
    Later,
}

/// An entry of the [`Inventory`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// What is stored.
    pub object: ObjectId,
    /// Its size in bytes.
    pub size: u64,
    /// How long ago it was last written to.
    pub age: Duration,
}

/// What must be true of the records for a [`Commit`] to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// There is no record under the key.
    Absent(Key),
    /// There is a record under the key.
    Present(Key),
    /// The record under the key is this one, byte for byte.
    Exactly(Key, Value),
    /// No key begins with the prefix.
    NoneUnder(Prefix),
}

/// What became of a [`Commit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    /// All changes are made, and durable if that was asked.
    Done,
    /// An expectation did not hold; nothing changed.
    Conflict,
}

/// When a [`Commit`] may be acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Once it survives a power cut: all that a 201 or 202 promises to keep.
    Durable,
    /// At once: what may be lost in a crash without lying to a client (an upload session just opened).
    Eventual,
}

/// The storage could not do as asked. The reason is for the log of whoever runs the registry, never for clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// There is no space left.
    Full(String),
    /// It is out of reach for the moment: the same may well succeed in a few seconds.
    Unavailable(String),
    /// Anything else.
    Failed(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(reason) => write!(f, "no space left: {reason}"),
            Self::Unavailable(reason) => write!(f, "unavailable: {reason}"),
            Self::Failed(reason) => f.write_str(reason),
        }
    }
}

impl core::error::Error for Fault {}
