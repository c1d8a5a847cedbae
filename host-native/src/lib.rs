//! The native host of the Orlop registry: HTTP by axum and hyper, records in redb, bytes in files.
//!
//! It knows no words of a registry. [`serve`](serve::serve) turns HTTP into requests of the core and back,
//! [`Host::run`] performs the effects the core asks for, and that is all there is:
//!
//! | module | what it does |
//! |---|---|
//! | [`cli`] | the command line |
//! | [`serve`] | accepts connections, stops without cutting off what runs |
//! | `connection` | a TCP connection with patience and a soft end |
//! | `answer`, `access` | one request to its answer, and its line in the log |
//! | `body`, `receive` | request bodies: read bounded, hashed and written while the next piece comes |
//! | `stream` | response bodies: files, read as fast as the client takes them |
//! | [`run`] | the loop that performs effects |
//! | `records` | the records: redb, and the one thread that writes |
//! | `files` | parts and contents |
//! | `space`, `directory`, `fault`, `blocking` | free space, the lock, errors, threads that may wait |
//! | [`sweep`] | giving space back |
//! | [`process`], [`log`] | what a server process asks of its system |
#![forbid(unsafe_code)]

mod access;
mod answer;
mod blocking;
pub mod body;
pub mod cli;
mod connection;
pub mod directory;
mod fault;
mod files;
pub mod limits;
pub mod log;
pub mod process;
mod receive;
mod records;
pub mod run;
pub mod serve;
mod space;
mod stream;
pub mod sweep;

pub use body::RequestBody;
pub use directory::OpenError;
pub use limits::Limits;
pub use run::{Host, Options};
