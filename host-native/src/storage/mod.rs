//! The storage: the loop that performs the core's effects, the bodies of requests, and the seam to what keeps records
//! and bytes.
//!
//! Each effect goes through one `match` in `run.rs`, and through one arm of `engine.rs` to the engine there is. Hashing,
//! batches, memory budgets and the rule for calls that stall stand above the seam, once for all engines; whatever is
//! of files and disks stands below it, in `directory`.

mod ambient;
mod body;
mod counters;
mod directory;
mod disk;
mod engine;
mod lease;
mod note;
mod receive;
mod run;
mod shared;
pub(crate) mod transfer;
mod upstreams;

pub(crate) use self::ambient::ambient;
pub use self::body::RequestBody;
pub(crate) use self::body::{Held, UNIT};
pub(crate) use self::counters::Counters;
pub(crate) use self::directory::{Adoption, Means, means};
pub use self::directory::{Backup, OpenError};
pub(crate) use self::disk::{Outbox, Pace, holder};
pub(crate) use self::lease::Leased;
pub(crate) use self::run::Belongings;
pub use self::run::Host;
pub(crate) use self::shared::{Bucket, Presence, Use, check_engines, migrate};
pub use self::upstreams::Upstreams;
