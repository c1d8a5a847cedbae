//! What a registry must do, as tests.
//!
//! [`system`] is a registry under test, spoken to in requests and responses, and [`image`] what is pushed to it;
//! [`tester`] tests any registry at an address; [`explore`] runs calls of the core in every order, with a crash and
//! a fault at every point, and checks the invariants after each; [`model`] is the registry as a plain value, which
//! random histories are held against; [`contract`] holds a storage host to the effects it runs.

pub mod contract;
#[cfg(feature = "explore")]
pub mod explore;
#[cfg(feature = "model")]
pub mod fuzz;
pub mod image;
#[cfg(feature = "model")]
pub mod model;
pub mod system;
pub mod tester;
