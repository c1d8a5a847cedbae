//! The embedded storage: records in redb, bytes in files.

pub mod backup;
pub(crate) mod blocking;
mod fault;
pub(crate) mod files;
pub mod lock;
pub(crate) mod records;
pub(crate) mod sendfile;
mod space;
pub(crate) mod stream;
