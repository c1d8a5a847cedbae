//! The conformance tester: does any registry do what the specifications say?
//!
//! A registry under test is a [`Target`]: something that answers an [`Exchange`]. The checks know no more of it than
//! that; they have no sockets, no clocks and no threads, so they run wherever a target can be had: over
//! [`http`], or in [`memory`], where the target is the core itself.
//!
//! | module | what it is |
//! |---|---|
//! | [`exchange`] | what is sent and what comes back |
//! | [`lab`] | the place a check works in: repositories of its own, a record of what was said |
//! | [`check`], [`checks`] | the table of checks, one for each testable item of `SPEC.md` |
//! | [`capabilities`] | what the specifications leave open, learnt from the target |
//! | [`history`] | random operations, judged by the core, shrunk to the shortest that fail |
//! | [`concurrent`] | several clients at once, checked for linearisability |
//! | `fleet` | several clients on several addresses of one registry, whatever fails meanwhile |
//! | [`linear`] | whether there is an order that explains what several clients saw |
//! | [`curl`] | what was said, as commands that say it again |
//! | [`run`], [`report`] | everything in order, and what is told of it |

pub mod capabilities;
#[cfg(feature = "model")]
pub mod challenge;
pub mod chance;
pub mod check;
pub mod checks;
#[cfg(feature = "command")]
pub mod command;
pub mod concurrent;
pub mod content;
pub mod curl;
pub mod exchange;
#[cfg(feature = "command")]
pub mod fleet;
pub mod history;
#[cfg(feature = "command")]
pub mod http;
pub mod lab;
pub mod linear;
#[cfg(feature = "command")]
pub mod login;
pub mod memory;
pub mod report;
pub mod run;

pub use check::{Check, Level};
pub use exchange::{Answer, Exchange, Payload, Target, Unreachable};
pub use lab::{Lab, Stop, Verdict};
