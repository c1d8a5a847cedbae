//! The whole contract between the registry and whoever hosts it: the [effects](Effect).
//!
//! An effect is a typed question that the core asks and a host answers. The table in this file is all
//! a host must be able to do; it names no word of a registry, only bodies, bytes at rest and records.
//!
//! What every host promises:
//!
//! * Parts and contents are **write-once**: an id is written by one call and never again.
//! * [`Commit`] is **atomic and isolated**: its expectations hold at the moment its changes appear, all
//!   together or not at all. [`Get`] reads one snapshot.
//! * What an outcome acknowledges is **durable** (it survives a power cut), but for a commit that asked
//!   for [`Durability::Eventual`], and for [`Erase`]: what comes back is a stray, which the sweep finds.
//!   Durability keeps order: when a commit is durable, so is every earlier one.
//! * An effect answered with a [`Fault`] may have happened or not.

use alloc::{string::String, vec::Vec};
use core::fmt::{self, Debug};
use core::time::Duration;

use bytes::Bytes;
use uuid::Uuid;

use crate::digest::Digest;
use crate::keys::{Key, Prefix};
use crate::meter::Meter;
use crate::step::{Ask, Flow, Reply};

/// A typed question of the core to its host.
pub trait Effect: Clone + Debug + Send + 'static + question::Askable {
    /// What a host answers when it could do as asked.
    type Outcome: Clone + Debug + Send + 'static;
}

/// Declares every effect once: its struct, its variant of [`Step`], and how one becomes the other.
macro_rules! effects {
    ($( $(#[$meta:meta])* $name:ident { $( $(#[$field_meta:meta])* $field:ident : $type:ty ),* $(,)? } -> $outcome:ty; )*) => {
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
        /// `R` is what the call results in: a [`Response`](crate::Response), or the report of a sweep.
        #[must_use = "a call that is not driven to its end does nothing"]
        #[derive(Debug)]
        pub enum Step<R = crate::Response> {
            $( #[doc = concat!("The core asks for [`", stringify!($name), "`].")] $name(Ask<$name, R>), )*
            /// The call is over, with this result.
            Respond(R),
        }

        impl<R> Step<R> {
            /// The name of the effect asked for, or `Respond`.
            pub fn name(&self) -> &'static str {
                match self { $( Self::$name(_) => stringify!($name), )* Self::Respond(_) => "Respond" }
            }

            /// What is asked, as text for transcripts and debuggers.
            pub fn describe(&self) -> String where R: Debug {
                match self {
                    $( Self::$name(ask) => alloc::format!("{:?}", ask.effect), )*
                    Self::Respond(result) => alloc::format!("{result:?}"),
                }
            }

            /// Answers whatever is asked with a fault; a finished call stays finished.
            pub fn fail(self, fault: Fault) -> Step<R> {
                match self { $( Self::$name(ask) => ask.answer(Err(fault)), )* done @ Self::Respond(_) => done }
            }
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

effects! {
    // ── the body of the request ──────────────────────────────────────────────────────────────────────────
    /// Reads the body into memory, `limit` bytes at most (manifests).
    Collect { limit: u64 } -> Collected;
    /// Streams the body into the new part `part`, showing every byte to `meter` first. Stops at the first
    /// byte past the meter's limit. A body of no bytes makes no part.
    Receive { part: PartId, meter: Meter } -> Received;

    // ── bytes at rest: write-once, named by ids the core makes ───────────────────────────────────────────
    /// Makes `content` out of `parts`, in order, atomically: it is there whole or not at all. The parts stay.
    /// One part is a rename-like act, no byte is copied; no parts make an empty content.
    Assemble { parts: Vec<PartId>, content: ContentId } -> ();
    /// Reads a small content whole. `None` when it is not there or larger than `limit` bytes.
    Load { content: ContentId, limit: u64 } -> Option<Bytes>;
    /// Reads a content past `meter`, which comes back; `None` when the content is not there.
    Measure { content: ContentId, meter: Meter } -> Option<Meter>;
    /// Removes a part or content. Removing what is not there is fine.
    Erase { target: Object } -> ();
    /// Lists the objects after `after` in the order of [`Object`], `limit` at most, none only at the end. For the
    /// sweep alone.
    Inventory { after: Option<Object>, limit: usize } -> Vec<Stored>;

    // ── records: one ordered map from key to value, transactional ────────────────────────────────────────
    /// Looks up keys in one snapshot; the answer has one entry a key, in their order.
    Get { keys: Vec<Key> } -> Vec<Option<Value>>;
    /// Lists entries under `prefix`, after the key `after`, in byte order of the keys: at most `limit`, and
    /// fewer when their values grow past `bytes` (but never none when there is one).
    Scan { prefix: Prefix, after: Option<Key>, limit: usize, bytes: usize } -> Vec<(Key, Value)>;
    /// Changes records if every expectation holds, all or nothing: first the deletes, then the puts.
    Commit { expect: Vec<Expect>, put: Vec<(Key, Value)>, delete: Vec<Key>, durability: Durability } -> Committed;
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

/// What became of a body that was to be received into a part. What the meter counted is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The meter, advanced by every byte that is in the part.
    pub meter: Meter,
    /// How the body ended.
    pub end: BodyEnd,
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
}

/// A write-once run of bytes that belongs to an upload: one request body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartId {
    /// The upload session it was sent to; for an upload of a single request, the nonce of that call.
    pub upload: Uuid,
    /// The nonce of the call that received it.
    pub nonce: Uuid,
}

/// A write-once content: the bytes of a blob. The digest is what its maker claims; a blob record vouches for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentId {
    /// The digest the bytes are meant to have; it leads the name so that a directory of them can be read by a person.
    pub digest: Digest,
    /// The nonce of the call that made it, so that no two calls ever write under one name.
    pub nonce: Uuid,
}

/// Bytes at rest. The order is that of [`Inventory`]: parts before contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Object {
    /// A part of an upload.
    Part(PartId),
    /// The content of a blob.
    Content(ContentId),
}

/// An entry of the [`Inventory`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// What is stored.
    pub object: Object,
    /// Its size in bytes.
    pub size: u64,
    /// How long ago it was last written to, or came to be under this name, whichever is later.
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
    /// Anything else.
    Failed(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(reason) => write!(f, "no space left: {reason}"),
            Self::Failed(reason) => f.write_str(reason),
        }
    }
}

impl core::error::Error for Fault {}

impl fmt::Display for PartId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.upload, self.nonce)
    }
}

impl fmt::Display for ContentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.digest, self.nonce)
    }
}
