//! The native host of the Orlop registry: HTTP by axum and hyper, records in redb, bytes in files.
//!
//! It performs the effects the core asks for and knows no record. A request takes this way: *identify* whoever sends
//! it, ask the core what *access* it needs, *decide*, *limit*, *call* the core, *answer*.
//!
//! Each module is a room that imports from those below it alone:
//!
//! | room | what it does |
//! |---|---|
//! | [`command`] | what each verb does: serving, garbage collection, backups, users; flags, environment and file read into settings |
//! | [`server`] | listens, speaks HTTP/1.1 and HTTP/2, encrypts, is patient, stops without cutting off; what is where |
//! | [`request`] | one request to the last byte of its answer, the access and the audit log, what each client may take |
//! | `exchange` | images of archives and whole repositories, brought in and taken out |
//! | [`sync`] | repositories copied from and to other registries, regularly and after pushes |
//! | [`observe`] | what is told: Prometheus, OpenTelemetry, the log, webhooks, the address for administrators |
//! | [`auth`] | who sends a request (passwords, tokens, certificates), what that may do, and how it is refused |
//! | [`storage`] | the loop that performs effects, request bodies, the seam to the engine that keeps records and bytes |
//! | `storage::directory` | the embedded engine: redb and files, backups |
//! | `storage::disk` | files opened, read, and sent by the kernel; free space, the lock of a directory |
//! | [`copy`] | images copied between registries, layouts and archives |
//! | `distribution` | the data directory of distribution and docker-registry, read |
//! | [`remote`] | other registries, spoken to as a client |
//! | `crowd` | who counts as one client, and how much each takes of what all share |
//! | [`settings`] | every setting as a plain value |
#![forbid(unsafe_code)]

pub mod auth;
pub mod command;
pub mod copy;
pub(crate) mod crowd;
pub(crate) mod distribution;
pub(crate) mod exchange;
pub mod observe;
pub mod remote;
pub mod request;
pub mod server;
pub mod settings;
pub mod storage;
pub mod sync;

pub use settings::{CacheSettings, Engines, Limits, Options};
pub use storage::{Backup, Host, OpenError, RequestBody, Upstreams};
