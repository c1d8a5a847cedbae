//! Fairness between clients: who counts as one client, and how much each takes of what all of them share.

mod client;
mod network;
mod share;

pub(crate) use self::client::Client;
pub(crate) use self::network::network_of;
pub(crate) use self::share::{Crowd, Slot};
