//! What is told of the server: metrics, traces, logs, webhooks.

pub mod admin;
pub mod log;
pub(crate) mod metrics;
mod outgoing;
pub mod traces;
pub mod webhooks;
