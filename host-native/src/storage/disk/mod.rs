//! Files on a disk of this machine: opened, read, and sent to clients by the kernel. Used by the embedded engine, and by
//! the cache of the engine for several machines.

pub(in crate::storage) mod blocking;
pub(in crate::storage) mod fault;
mod lock;
mod opened;
mod pace;
mod sendfile;
pub(in crate::storage) mod space;
mod stream;
mod write;

pub(crate) use self::lock::holder;
pub(in crate::storage) use self::lock::{LOCK_FILE, Lock, LockError, sync_above};
pub(in crate::storage) use self::opened::{Opened, open};
pub(crate) use self::pace::Pace;
pub(crate) use self::sendfile::Outbox;
pub(in crate::storage) use self::stream::{Buffers, ContentBody, Part, Parts};
pub(in crate::storage) use self::write::write_all;
