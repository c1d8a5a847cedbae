//! The native host of the Orlop registry: HTTP by axum and hyper, records in redb, bytes in files.
//!
//! It performs the effects the core asks for and knows no record. A request takes this way: *identify* whoever sends
//! it, ask the core what *access* it needs, *decide*, *limit*, *call* the core, *answer*.
//!
//! | module | what it does |
//! |---|---|
//! | [`cli`], [`config`] | the settings: flags, environment, one TOML file; where each value comes from |
//! | [`start`], [`administer`] | what the commands do |
//! | [`serve`], `http`, `connection` | listens, speaks HTTP/1.1 and HTTP/2, is patient, stops without cutting off |
//! | [`tls`] | encryption, with certificates that may be exchanged |
//! | `answer`, `admit` | one request to its answer, and whether it may be made |
//! | [`identity`] | who sends it: passwords, tokens, certificates |
//! | [`rules`], `verdict` | what that may be, and what is said when it may not |
//! | [`shares`], `crowd`, `proxies` | what each client may take, and where it is |
//! | `access`, `metrics`, [`admin`], [`traces`], [`webhooks`] | what is told: the access and the audit log, Prometheus, OpenTelemetry, events |
//! | `outgoing` | the client by which it is told |
//! | [`live`], `watched` | what is exchanged while the server runs, and files that are read again |
//! | `body`, `receive` | request bodies: read bounded, hashed and written while the next piece comes |
//! | `stream`, `sendfile` | response bodies: files, sent by the kernel or read as fast as the client takes them |
//! | [`run`] | the loop that performs effects |
//! | `records` | the records: redb, and the one thread that writes |
//! | `files` | parts and contents |
//! | `backup`, [`control`] | a copy of it all as of one moment, and the socket by which it is asked for |
//! | `space`, `directory`, `fault`, `blocking` | free space, the lock, errors, threads that may wait |
//! | [`sweep`] | giving space back |
//! | [`playground`] | the files of the playground, at `/` |
//! | [`process`], [`log`] | what a server process asks of its system |
#![forbid(unsafe_code)]

pub mod auth;
pub mod command;
pub mod observe;
pub mod request;
pub mod server;
pub mod settings;
pub mod storage;

pub use settings::{Limits, Options};
pub use storage::{Backup, Host, OpenError, RequestBody};
