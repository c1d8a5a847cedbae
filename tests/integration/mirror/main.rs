//! Mirrors of other registries: `orlop serve` in front of another, with a way between them on which things go wrong.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod addressing;
mod breaking;
mod cached;
mod client;
mod credentials;
mod failing;
mod faults;
mod loops;
mod lying;
#[path = "../program.rs"]
mod program;
mod proxy;
#[path = "../crash/random.rs"]
#[allow(dead_code, reason = "the crash tests use more of it")]
mod random;
mod scene;
mod server;
mod sharing;
#[path = "../crash/skipping.rs"]
mod skipping;
#[path = "../small_disk.rs"]
mod small_disk;
