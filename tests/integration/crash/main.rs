//! The disk host under real crashes: killed processes, power cuts, and disks that are full or fail.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod failing;
mod full;
mod journal;
mod kill;
mod power;
#[path = "../program.rs"]
mod program;
mod random;
mod reachable;
mod served;
mod server;
mod skipping;
#[path = "../small_disk.rs"]
mod small_disk;
mod verify;
mod worker;
