//! Who sends a request, what it may do, and how it is refused.

pub mod identity;
pub(crate) mod problem;
pub(crate) mod refusal;
pub mod rules;
pub(crate) mod verdict;
