//! A container registry as a pure state machine: request descriptions in, storage effects and responses out.
//!
//! This crate knows everything about the OCI distribution-spec and the Docker Registry HTTP API V2, and nothing
//! about sockets, files, threads, clocks or chance. Whoever hosts it answers typed questions.
//!
//! # A tour
//!
//! A call begins with [`Registry::call`], which runs to its first question and gives a [`Step`]. The host does
//! what is asked, answers, and gets the next step, until the step is the response:
//!
//! ```
//! use orlop_core::effect::{BodyEnd, Committed, Durability, Received};
//! use orlop_core::memory::{Memory, request};
//! use orlop_core::{Config, Registry, Step};
//! use std::time::Duration;
//!
//! let registry = Registry::new(Config::default());
//! let mut memory = Memory::new(); // the reference host; here it only lends us a clock and random numbers
//!
//! // A client posts a whole blob.
//! let digest = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
//! let post = request("POST", format!("/v2/greetings/blobs/uploads/?digest={digest}"));
//! let step = registry.call(post, memory.ambient());
//!
//! // The core wants the body streamed into an object, past a meter that counts and hashes. Bytes as few as these
//! // come back instead: they will be a record.
//! let Step::Receive(ask) = step else { panic!() };
//! let mut meter = ask.effect.meter.clone();
//! meter.update(b"hello");
//! let received = Received { meter, end: BodyEnd::Whole, kept: Some("hello".into()), took: Duration::ZERO };
//! let step = ask.answer(Ok(received));
//!
//! // The digest is right. Is the blob known, does the repository hold it, does the repository exist?
//! let Step::Get(ask) = step else { panic!() };
//! assert_eq!(ask.effect.keys[0].as_str(), format!("blob/{digest}"));
//! let step = ask.answer(Ok(vec![None, None, None]));
//!
//! // One conditional commit makes it a blob of the repository, durably.
//! let Step::Commit(ask) = step else { panic!() };
//! assert_eq!(ask.effect.durability, Durability::Durable);
//! let Step::Respond(response) = ask.answer(Ok(Committed::Done)) else { panic!() };
//! assert_eq!(response.status, 201);
//! assert_eq!(response.header("Location"), Some(format!("/v2/greetings/blobs/{digest}").as_str()));
//! ```
//!
//! Dropping an [`Ask`](step::Ask) is a crash; answering it with a [`Fault`] is a failing disk. Nothing else can go
//! wrong between the core and its host, so both can be tried at every point of every call.
//!
//! # Where to read on
//!
//! [`effect`] is the contract with a host, [`keys`] the map of the registry, [`error`] what a client is told when
//! something is wrong, [`config`] what an operator decides, [`caller`] what a caller may do, [`memory`] the reference host.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod ambient;
#[cfg(feature = "api")]
pub mod api_token;
pub mod asked;
pub mod base_url;
pub mod caller;
mod conditional;
pub mod config;
pub mod digest;
pub mod effect;
pub mod error;
pub mod event;
mod flows;
pub mod http;
pub mod judge;
pub mod keys;
mod manifest;
pub mod media;
pub mod memory;
pub mod meter;
pub mod mirror;
pub mod name;
pub mod object;
pub mod operation;
pub mod pattern;
pub mod platform;
pub mod protect;
mod range;
pub mod record;
pub mod registry;
pub mod retention;
#[cfg(feature = "api")]
pub mod secret;
#[cfg(feature = "api")]
pub mod sign_in;
pub mod stall;
pub mod step;
pub mod takeover;
pub mod target;

pub use ambient::{Ambient, Timestamp};
pub use asked::{Access, Action, Asked};
pub use base_url::BaseUrl;
pub use caller::{Caller, Rights};
pub use config::Config;
pub use effect::{Effect, Fault, Step};
pub use error::Error;
pub use http::{Body, Headers, Method, Piece, Pull, PullCount, Request, Response};
pub use operation::{Operation, Summary};
pub use registry::{
    Acquired, Agreement, Arrival, Census, CheckReport, Claim, Damage, DamagedPage, Deleted, DeletedPage, Departure,
    Disagreement, Drift, Eviction, Family, Finding, Gathering, Holdings, Immovable, Job, Lease, Located, Mirrored,
    Named, NeededBy, Part, Purged, QuotaUsage, Recount, Refused, Registry, Remaining, Report, RepositoryUsage,
    Retained, RetentionReport, Run, ScrubTotal, Scrubbed, Suspected, Undeleted, Undeleting, Usage, named,
};
