//! Which files a cache has, and in which order they were used.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use orlop_core::digest::Digest;

use super::fill::Fill;
use crate::storage::disk::Opened;

/// For how long bytes that were hashed are taken for right without being hashed again.
const TRUSTED: Duration = Duration::from_secs(24 * 3600);

/// The files of a cache, in memory.
pub(super) struct Index {
    capacity: u64,
    /// How many bytes the files have, with what is reserved for those that are being filled.
    bytes: u64,
    files: HashMap<Digest, File>,
    /// The same by when they were last used, the one used last at the end.
    order: BTreeMap<u64, Digest>,
    turn: u64,
    /// What is being read, from the store or a file, for all who want it.
    pub(super) fills: HashMap<Digest, Arc<Fill>>,
}

/// A file of the cache.
struct File {
    size: u64,
    turn: u64,
    /// When its bytes were found to be right, and when it had last been written to then.
    verified: Option<(Instant, SystemTime)>,
    /// It, as long as somebody reads it.
    open: Weak<Opened>,
    /// When its use was last noted on the disk.
    noted: Option<Instant>,
}

impl Index {
    pub(super) fn new(capacity: u64) -> Self {
        let (files, order, fills) = (HashMap::new(), BTreeMap::new(), HashMap::new());
        Self { capacity, bytes: 0, files, order, turn: 0, fills }
    }

    /// How many bytes there are, with what is reserved.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether a blob is small enough to be kept: one of more than half of the cache would only throw out the rest.
    pub(super) fn takes(&self, size: u64) -> bool {
        size <= self.capacity / 2
    }

    /// Adds a file; and if its bytes are right, when it was last written to, and it as it is open.
    pub(super) fn add(&mut self, digest: Digest, size: u64, verified: Option<(SystemTime, &Arc<Opened>)>) {
        self.remove(&digest);
        self.turn += 1;
        self.order.insert(self.turn, digest);
        self.bytes += size;
        let open = verified.map_or_else(Weak::new, |(_, open)| Arc::downgrade(open));
        let verified = verified.map(|(modified, _)| (Instant::now(), modified));
        self.files.insert(digest, File { size, turn: self.turn, verified, open, noted: None });
    }

    /// Takes a file out. Its name on the disk is the caller's to remove.
    pub(super) fn remove(&mut self, digest: &Digest) -> bool {
        let Some(file) = self.files.remove(digest) else { return false };
        self.order.remove(&file.turn);
        self.bytes -= file.size;
        true
    }

    /// Counts bytes that are going to come, or have not.
    pub(super) fn reserve(&mut self, size: u64) {
        self.bytes += size;
    }

    pub(super) fn release(&mut self, size: u64) {
        self.bytes -= size;
    }

    /// A file that is used now: its size, and it if it is open.
    pub(super) fn use_file(&mut self, digest: &Digest) -> Option<(u64, Option<Arc<Opened>>)> {
        let file = self.files.get_mut(digest)?;
        self.order.remove(&file.turn);
        self.turn += 1;
        file.turn = self.turn;
        self.order.insert(self.turn, *digest);
        Some((file.size, file.open.upgrade()))
    }

    /// Whether the bytes of a file were found to be right, not long ago, and it has not been written to since. Remembers
    /// that it is open.
    pub(super) fn is_trusted(&mut self, digest: &Digest, modified: SystemTime, open: &Arc<Opened>) -> bool {
        let Some(file) = self.files.get_mut(digest) else { return false };
        file.open = Arc::downgrade(open);
        file.verified.is_some_and(|(at, then)| then == modified && at.elapsed() < TRUSTED)
    }

    /// The bytes of a file are right.
    pub(super) fn trust(&mut self, digest: &Digest, modified: SystemTime) {
        if let Some(file) = self.files.get_mut(digest) {
            file.verified = Some((Instant::now(), modified));
        }
    }

    /// Whether the use of a file is to be noted on the disk, which is done once an hour.
    pub(super) fn notes(&mut self, digest: &Digest) -> bool {
        let Some(file) = self.files.get_mut(digest) else { return false };
        let due = file.noted.is_none_or(|noted| noted.elapsed() > Duration::from_secs(3600));
        if due {
            file.noted = Some(Instant::now());
        }
        due
    }

    /// Takes out what was not used for longest, until `more` bytes have room; `None` when that cannot be. Files that are
    /// being read stay: to remove them would free nothing. Their names are the caller's to remove.
    pub(super) fn make_room(&mut self, more: u64) -> Option<Vec<Digest>> {
        let over = (self.bytes + more).saturating_sub(self.capacity);
        let freed = self.evictable(over)?;
        for digest in &freed {
            self.remove(digest);
        }
        Some(freed)
    }

    /// Takes out what was not used for longest, until that many bytes are free on the disk.
    pub(super) fn free(&mut self, bytes: u64) -> Vec<Digest> {
        let freed = self.evictable(bytes).unwrap_or_default();
        for digest in &freed {
            self.remove(digest);
        }
        freed
    }

    fn evictable(&self, bytes: u64) -> Option<Vec<Digest>> {
        let (mut freed, mut out) = (0, Vec::new());
        for digest in self.order.values() {
            if freed >= bytes {
                break;
            }
            let Some(file) = self.files.get(digest) else { continue };
            if file.open.strong_count() == 0 && !self.fills.contains_key(digest) {
                freed += file.size;
                out.push(*digest);
            }
        }
        (freed >= bytes).then_some(out)
    }
}

#[cfg(test)]
mod tests {
    use orlop_core::digest::Algorithm;

    use super::*;

    fn digest(number: u8) -> Digest {
        Algorithm::Sha256.digest(&[number])
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first_and_what_is_read_stays() {
        let mut index = Index::new(100);
        for number in 0..5 {
            index.add(digest(number), 20, None);
        }
        assert!(index.use_file(&digest(0)).is_some());
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, "bytes").unwrap();
        let open = Arc::new(Opened::open(&path).unwrap().unwrap());
        assert!(!index.is_trusted(&digest(1), SystemTime::UNIX_EPOCH, &open), "nothing is trusted unread");
        assert_eq!(index.make_room(30), Some(vec![digest(2), digest(3)]));
        assert_eq!(index.bytes(), 60);
        assert_eq!(index.make_room(100), None, "one of them is read");
        assert_eq!(index.bytes(), 60);
        drop(open);
        assert_eq!(index.make_room(100), Some(vec![digest(1), digest(4), digest(0)]));
        assert_eq!((index.bytes(), index.takes(50), index.takes(51)), (0, true, false));
    }

    #[test]
    fn a_file_is_trusted_until_it_is_written_to() {
        let mut index = Index::new(100);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, "bytes").unwrap();
        let open = Arc::new(Opened::open(&path).unwrap().unwrap());
        let modified = SystemTime::now();
        index.add(digest(0), 5, Some((modified, &open)));
        assert!(index.is_trusted(&digest(0), modified, &open));
        assert!(!index.is_trusted(&digest(0), modified + Duration::from_nanos(1), &open));
        index.trust(&digest(0), modified + Duration::from_nanos(1));
        assert!(index.is_trusted(&digest(0), modified + Duration::from_nanos(1), &open));
    }
}
