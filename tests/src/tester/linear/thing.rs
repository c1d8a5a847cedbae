//! What clients share, as the smallest state that explains what they see of it.

use std::fmt;

use super::Model;

/// An operation and what came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// A tag was put on that manifest, or a blob or manifest was pushed.
    Put(usize),
    /// The tag names that manifest, or the blob is there; or nothing.
    Got(Option<usize>),
    /// Whether there was something to delete.
    Deleted(bool),
    /// A chunk of that size was taken at that offset.
    Appended(usize, usize),
    /// A chunk of that size was sent for that offset, and no answer came: it counts whole, in part, or not at all.
    Sent(usize, usize),
    /// A chunk for that offset was refused, since the session stands elsewhere.
    Late(usize),
    /// The session stands there.
    Stands(usize),
    /// There is no such session.
    Gone,
    /// The session was finished.
    Finished,
    /// It was refused and changed nothing.
    Refused,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put(n) => write!(f, "put {n}"),
            Self::Got(Some(n)) => write!(f, "got {n}"),
            Self::Got(None) => write!(f, "got nothing"),
            Self::Deleted(true) => write!(f, "deleted"),
            Self::Deleted(false) => write!(f, "found nothing to delete"),
            Self::Appended(start, size) | Self::Sent(start, size) => write!(f, "appended {size} bytes at {start}"),
            Self::Late(start) => write!(f, "was told that {start} is not where the session stands"),
            Self::Stands(offset) => write!(f, "was told that {offset} bytes are there"),
            Self::Gone => write!(f, "was told that there is no such session"),
            Self::Finished => write!(f, "finished"),
            Self::Refused => write!(f, "was refused"),
        }
    }
}

/// The state of what clients share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Thing {
    /// A tag, a blob or a manifest: what is there, if anything.
    Holds(Option<usize>),
    /// An upload: how many bytes it has, from the first number to the second.
    Upload(usize, usize),
    /// An upload that has ended.
    Ended,
}

impl Thing {
    /// A tag, blob or manifest that is not there.
    pub const NOTHING: Self = Self::Holds(None);

    /// An upload to which nothing was sent.
    pub const OPENED: Self = Self::Upload(0, 0);
}

impl Model for Thing {
    type Seen = Seen;

    fn after(&self, seen: &Seen) -> Option<Self> {
        let same = |holds: bool| holds.then_some(*self);
        match (*self, *seen) {
            (Self::Holds(_), Seen::Put(n)) => Some(Self::Holds(Some(n))),
            (Self::Holds(held), Seen::Got(found)) => same(held == found),
            // Two who delete at once may both be told that they did: nobody loses anything by that.
            (Self::Holds(_), Seen::Deleted(true)) => Some(Self::NOTHING),
            (Self::Holds(held), Seen::Deleted(false)) => same(held.is_none()),
            (Self::Upload(low, high), Seen::Appended(start, size)) => {
                (low..=high).contains(&start).then_some(Self::Upload(start + size, start + size))
            }
            (Self::Upload(low, high), Seen::Sent(start, size)) => {
                (low..=high).contains(&start).then_some(Self::Upload(start + 1, start + size))
            }
            (Self::Upload(low, high), Seen::Late(start)) => same((low, high) != (start, start)),
            (Self::Upload(low, high), Seen::Stands(offset)) => {
                (low..=high).contains(&offset).then_some(Self::Upload(offset, offset))
            }
            (Self::Upload(..), Seen::Finished) => Some(Self::Ended),
            // A registry that dies may forget a session to which nothing was sent: its client begins another.
            (Self::Upload(0, _) | Self::Ended, Seen::Gone) => Some(Self::Ended),
            (_, Seen::Refused) => Some(*self),
            _ => None,
        }
    }

    fn explains(first: &Seen, second: &Seen) -> bool {
        match (first, second) {
            (Seen::Put(n), Seen::Got(Some(found))) => n == found,
            (Seen::Deleted(true), Seen::Got(None) | Seen::Deleted(false)) => true,
            (Seen::Appended(..) | Seen::Sent(..) | Seen::Finished, _) => true,
            _ => false,
        }
    }
}
