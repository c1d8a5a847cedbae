//! What is told of a server: metrics, traces, the log, webhooks, and the address for administrators.

pub mod admin;
pub mod date;
pub mod log;
pub(crate) mod metrics;
mod observer;
mod outgoing;
pub mod quotas;
pub mod traces;
pub mod webhooks;

pub use self::observer::Observer;
