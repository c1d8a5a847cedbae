//! The loop that performs effects, and the bodies of requests.

pub mod body;
pub mod directory;
mod receive;
pub mod run;
