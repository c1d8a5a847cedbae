//! Why something was not copied, as far as what to do about it differs.

use std::fmt;

use crate::remote::Failure;

/// Why something was not copied. `orlop copy` has an exit status for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The source has no such image, or none for the platform.
    NotFound,
    /// A registry does not take the login, or does not allow it what is needed.
    Denied,
    /// A registry gives no answer, or none that helps: 5xx, or 429 for longer than is waited. Later it may.
    Unreachable,
    /// Content of the source is missing, or its digest or size is not what it should be.
    Damaged,
    /// The destination does not take it: a registry refuses it, or a disk cannot be written to.
    Refused,
    /// Anything else.
    Other,
}

/// What keeps an image from being copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// Why.
    pub reason: Reason,
    /// The same in words.
    pub failure: Failure,
    /// Whether it is the destination that keeps it, not the source.
    pub writing: bool,
}

impl Failed {
    /// Of a source.
    pub fn reading(failure: Failure) -> Self {
        let reason = reason_of(&failure, Reason::NotFound, Reason::Other);
        Self { reason, failure, writing: false }
    }

    /// Of a destination.
    pub fn writing(failure: Failure) -> Self {
        let reason = reason_of(&failure, Reason::Refused, Reason::Refused);
        Self { reason, failure, writing: true }
    }

    /// Of a source that has no such image, as the text says.
    pub fn missing(told: String) -> Self {
        Self { reason: Reason::NotFound, failure: Failure::Unusable(told), writing: false }
    }
}

fn reason_of(failure: &Failure, absent: Reason, unusable: Reason) -> Reason {
    match failure {
        Failure::Absent => absent,
        Failure::Denied(_) | Failure::LoginRefused(_) => Reason::Denied,
        Failure::Paused(_) | Failure::Unreachable(_) => Reason::Unreachable,
        Failure::Damaged(_) => Reason::Damaged,
        Failure::Unusable(_) => unusable,
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.failure.fmt(f)
    }
}

impl std::error::Error for Failed {}
