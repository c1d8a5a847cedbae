//! TCP congestion control: which algorithm is in force, and under which of them pulls are measured. It decides how a
//! server's packets are cut and paced, on loopback too, and so what a pull costs.

use std::fs;
use std::net::{TcpListener, TcpStream};

use crate::Outcome;

/// The default of the network namespace.
const DEFAULT: &str = "/proc/sys/net/ipv4/tcp_congestion_control";

/// Those that react to loss: the benchmark measures under the first of them that can be set. Linux has cubic unless it
/// is told otherwise.
pub(crate) const BY_LOSS: [&str; 2] = ["cubic", "reno"];

/// The one that paces by a model of the path, which many servers use.
pub(crate) const BY_MODEL: &str = "bbr";

/// The algorithms that can be measured on this machine.
#[derive(Debug)]
pub(crate) struct Congestion {
    /// Those that pulls are measured under. The first is in force for everything else.
    pub(crate) measured: Vec<String>,
    /// Those that are not, and why.
    pub(crate) missing: Vec<(String, String)>,
    may_set: bool,
}

impl Congestion {
    /// Looks which there are, and puts the first of them in force. With `own_network` the network namespace is the
    /// benchmark's own, so that its default may be changed.
    pub(crate) fn find(own_network: bool) -> Outcome<Self> {
        let mut found = Self { measured: Vec::new(), missing: Vec::new(), may_set: own_network };
        if !own_network {
            let only = in_force()?;
            for name in BY_LOSS.into_iter().chain([BY_MODEL]).filter(|name| *name != only) {
                found.missing.push((name.into(), "the network namespace is not the benchmark's own".into()));
            }
            found.measured.push(only);
            return Ok(found);
        }
        for name in BY_LOSS.into_iter().chain([BY_MODEL]) {
            if name == BY_LOSS[1] && !found.measured.is_empty() {
                continue;
            }
            match found.set(name) {
                Ok(()) => found.measured.push(name.into()),
                Err(error) => found.missing.push((name.into(), error.to_string())),
            }
        }
        if found.measured.is_empty() {
            found.measured.push(in_force()?);
        }
        found.usual()?;
        Ok(found)
    }

    /// Puts one of those that are measured in force, for connections that are accepted from now on.
    pub(crate) fn set(&self, name: &str) -> Outcome<()> {
        if self.may_set {
            fs::write(DEFAULT, name)
                .map_err(|error| format!("a network namespace cannot be set to it here: {error}"))?;
        }
        // What a socket says counts, not what was asked for.
        let real = in_force()?;
        if real == name { Ok(()) } else { Err(format!("{name} was set, and {real} is in force").into()) }
    }

    /// Puts that in force which everything but pulls is measured under.
    pub(crate) fn usual(&self) -> Outcome<()> {
        self.set(&self.measured[0])
    }
}

/// The algorithm that a connection has which a server on 127.0.0.1 accepts now.
pub(crate) fn in_force() -> Outcome<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let _client = TcpStream::connect(listener.local_addr()?)?;
    let (accepted, _) = listener.accept()?;
    Ok(rustix::net::sockopt::tcp_congestion(&accepted)?)
}
