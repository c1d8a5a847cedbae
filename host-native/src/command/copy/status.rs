//! Why a copy has failed, and the exit status that says so. The manual page orlop(7) lists these.

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt;

use crate::copy::Reason;

/// Why a copy has failed, in words and as an exit status.
#[derive(Debug)]
pub struct Stopped {
    status: u8,
    told: String,
}

/// Of a command line that is wrong: the status that all commands have for it.
const USAGE: u8 = 2;

/// Several contents have failed, for different reasons.
const SEVERAL: u8 = 8;

/// What a shell says of a process that was ended by a signal is this and the number of the signal.
const SIGNAL: u8 = 128;

impl Stopped {
    /// By a place on the command line that is none.
    pub(in crate::command) fn usage(told: String) -> Self {
        Self { status: USAGE, told }
    }

    /// By a signal of this number.
    pub(in crate::command) fn signal(number: u8, told: String) -> Self {
        Self { status: SIGNAL + number, told }
    }

    /// For this reason.
    pub(in crate::command) fn because(reason: Reason, told: String) -> Self {
        Self { status: status_of(reason), told }
    }

    /// For these reasons.
    pub(in crate::command) fn because_of(reasons: &BTreeSet<Reason>, told: String) -> Self {
        let mut all = reasons.iter();
        match (all.next(), all.next()) {
            (Some(_), Some(_)) => Self { status: SEVERAL, told },
            (only, _) => Self::because(only.copied().unwrap_or(Reason::Other), told),
        }
    }

    /// The exit status.
    pub fn status(&self) -> u8 {
        self.status
    }
}

fn status_of(reason: Reason) -> u8 {
    match reason {
        Reason::Other => 1,
        Reason::NotFound => 3,
        Reason::Denied => 4,
        Reason::Unreachable => 5,
        Reason::Damaged => 6,
        Reason::Refused => 7,
    }
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.told)
    }
}

impl Error for Stopped {}

impl From<String> for Stopped {
    fn from(told: String) -> Self {
        Self::because(Reason::Other, told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_that_differ_have_a_status_of_their_own() {
        let of = |reasons: &[Reason]| Stopped::because_of(&reasons.iter().copied().collect(), String::new()).status();
        assert_eq!(of(&[Reason::Denied, Reason::Denied]), 4);
        assert_eq!(of(&[Reason::Denied, Reason::Damaged]), 8);
        assert_eq!(of(&[]), 1);
    }
}
