//! One request from its head to the last byte of its answer.

mod access;
mod admit;
pub(crate) mod answer;
pub(crate) mod crowd;
pub mod live;
pub(crate) mod proxies;
pub mod shares;
