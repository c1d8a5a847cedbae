//! Registries on a database and an object store, which several servers share. `tests/run fleet` installs both and runs
//! this; the tests are ignored otherwise.

#[path = "../arriving.rs"]
mod arriving;
mod balanced;
mod cache;
mod clocks;
mod collected;
mod contract;
mod counted;
mod crowd;
mod cutting;
mod database;
mod engines;
mod exchanged;
mod faulty;
mod healed;
mod kept;
mod migrating;
mod mirrored;
mod moving;
mod operator;
mod outcomes;
mod pair;
mod pooler;
mod processes;
#[path = "../program.rs"]
mod program;
mod promotion;
mod proxy;
mod redirects;
mod refusing;
mod registry;
mod replicated;
mod restored;
mod rolling;
#[path = "../crash/server.rs"]
#[allow(dead_code, reason = "the crash tests use more of it")]
mod server;
mod serving;
mod signed;
#[path = "../small_disk.rs"]
mod small_disk;
mod stores;
mod told;
