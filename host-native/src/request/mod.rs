//! One request from its head to the last byte of its answer: who sends it, whether it may be made, the call, the access
//! log; and what is in force while it is made.

mod access;
pub(crate) mod administer;
mod admit;
pub(crate) mod answer;
pub(crate) mod api_tokens;
mod at_provider;
mod base;
mod content;
pub(crate) mod cors;
pub mod live;
mod memory;
pub(crate) mod peer;
pub(crate) mod presence;
pub(crate) mod proxies;
pub(crate) mod pulls;
mod redirect;
mod response;
mod roots;
pub(crate) mod shares;
mod sign_in;
mod source;
