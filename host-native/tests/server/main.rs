//! The server as a process: what its clients and its operator see of it when things go wrong.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod access;
mod answers;
mod api_tokens;
mod attacks;
mod backup;
mod body;
mod certificates;
mod control;
mod copy;
mod crowding;
mod documents;
mod exchange;
mod fetching;
mod files;
mod healing;
mod import;
mod kept;
mod ldap;
mod limits;
mod locations;
mod logs;
mod mirror;
mod oidc;
mod pages;
mod passwords;
mod peers;
mod process;
mod protocol;
mod retention;
mod rights;
mod sessions;
mod settings;
mod sharing;
mod signing_in;
mod space;
mod started;
mod sync;
mod tags;
mod tls;
mod undeleting;
mod walk;
mod watching;
mod wire;
mod working;
