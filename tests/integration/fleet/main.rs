//! Registries on a database and an object store, which several servers share. `tests/run fleet` installs both and runs
//! this; the tests are ignored otherwise.

#[path = "../arriving.rs"]
mod arriving;
mod contract;
mod cutting;
mod database;
mod engines;
mod moving;
mod outcomes;
mod program;
mod proxy;
mod refusing;
