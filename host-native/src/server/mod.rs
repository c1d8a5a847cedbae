//! The doors: listeners, HTTP/1.1 and HTTP/2, TLS, and what is where.

mod connection;
pub(crate) mod http;
pub mod page;
pub mod serve;
mod site;
pub mod tls;
