//! The log of the records: what has changed since redb was last made durable, in the order in which it did.
//!
//! redb can make each change durable by itself, but then it writes every page on the way to a record, and after a crash
//! it reads its whole file, unless the change also wrote down which pages are free and waited for the disk twice. So
//! changes are appended here, which is one write and one wait for the disk, and redb keeps them in memory. Once the log
//! is full, redb is made durable in the form that opens at once, and the log begins anew: a *checkpoint*. After a crash
//! the log is applied again to what the last checkpoint has left.
//!
//! Why no change is lost, made twice or made up:
//!
//! * The log has a number, and redb holds the number of the log that belongs to it. A checkpoint raises it in the very
//!   transaction that makes redb durable, so what is in the log by then no longer counts.
//! * The changes are values, not differences: to apply all of them again leads to the same records.
//! * Each entry has a checksum that goes on from that of the entry before it, and the first from the number. So the log
//!   ends where the first entry is not whole, and nothing that an earlier log or an earlier run has left behind follows.
//! * What was read at the opening is written once more: it may be in memory alone, after an error of the disk.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use orlop_core::effect::Value;
use orlop_core::keys::Key;

/// The name of the log in a data directory.
pub(super) const LOG_FILE: &str = "records.log";

/// What stands before the changes of an entry: their length and the checksum.
const HEAD: usize = 8;

/// Stands for the length of a value where the record is deleted.
const DELETED: u32 = u32::MAX;

/// The log, at its end.
pub(super) struct Log {
    file: File,
    /// Where the next entry goes.
    end: u64,
    /// The checksum of the last entry.
    sum: u32,
    /// Whether there is an entry that is not durable.
    unsynced: bool,
}

/// The changes of one transaction, on their way into the log.
#[derive(Default)]
pub(super) struct Entry(Vec<u8>);

/// A change that was read from the log: the key, and the value unless the record is deleted.
pub(super) type Change<'l> = (&'l [u8], Option<&'l [u8]>);

impl Log {
    /// Opens the log in `directory`, which is made if there is none, and gives each change of its entries of that
    /// `number` to `apply`, in order. All of them are durable then.
    pub(super) fn open(
        directory: &Path,
        number: u64,
        mut apply: impl FnMut(Change<'_>) -> Result<(), redb::Error>,
    ) -> Result<Self, redb::Error> {
        let path = directory.join(LOG_FILE);
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let (mut end, mut sum) = (0, first_sum(number));
        while let Some((changes, next)) = entry(&bytes[end..], sum) {
            end += HEAD + changes.len();
            sum = next;
            Changes(changes).try_for_each(&mut apply)?;
        }
        if end > 0 {
            file.write_all_at(&bytes[..end], 0)?;
            file.sync_data()?;
        }
        Ok(Self { file, end: end as u64, sum, unsynced: false })
    }

    /// Appends an entry. It is durable after the next [`sync`](Self::sync).
    pub(super) fn append(&mut self, entry: Entry) -> io::Result<()> {
        let Entry(mut bytes) = entry;
        let too_long = |_| io::Error::new(io::ErrorKind::InvalidInput, "changes that are too long for the log");
        let length = u32::try_from(bytes.len().saturating_sub(HEAD)).map_err(too_long)?;
        let Some((head, changes)) = bytes.split_first_chunk_mut::<HEAD>() else { return Ok(()) };
        let sum = next_sum(self.sum, changes);
        *head = numbers(length, sum);
        self.file.write_all_at(&bytes, self.end)?;
        self.end += bytes.len() as u64;
        self.sum = sum;
        self.unsynced = true;
        Ok(())
    }

    /// Makes all entries durable. Whether it had to wait for the disk.
    pub(super) fn sync(&mut self) -> io::Result<bool> {
        let waits = self.unsynced;
        if waits {
            self.file.sync_data()?;
            self.unsynced = false;
        }
        Ok(waits)
    }

    /// How many bytes it has.
    pub(super) fn length(&self) -> u64 {
        self.end
    }

    /// Begins anew as the log of that number, over what it had. A file longer than `most` bytes gives the rest back.
    pub(super) fn restart(&mut self, number: u64, most: u64) -> io::Result<()> {
        (self.end, self.sum, self.unsynced) = (0, first_sum(number), false);
        if self.file.metadata()?.len() > most {
            self.file.set_len(most)?;
        }
        Ok(())
    }
}

impl Entry {
    /// Adds a change: a value, or that the record is deleted.
    pub(super) fn push(&mut self, key: &Key, value: Option<&Value>) {
        let Self(bytes) = self;
        if bytes.is_empty() {
            bytes.resize(HEAD, 0);
        }
        let key = key.as_str().as_bytes();
        // Neither comes near: keys and values have bounds far below.
        let short = |length| u32::try_from(length).unwrap_or(DELETED - 1);
        bytes.extend(numbers(short(key.len()), value.map_or(DELETED, |value| short(value.len()))));
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(value.map_or(&[], |value| value.as_ref()));
    }

    /// Whether nothing changes.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The changes of an entry.
struct Changes<'l>(&'l [u8]);

impl<'l> Iterator for Changes<'l> {
    type Item = Change<'l>;

    fn next(&mut self) -> Option<Change<'l>> {
        let (lengths, rest) = self.0.split_first_chunk::<HEAD>()?;
        let (key, value) = two(*lengths);
        let (key, rest) = rest.split_at_checked(key as usize)?;
        let value_length = if value == DELETED { 0 } else { value as usize };
        let (bytes, rest) = rest.split_at_checked(value_length)?;
        self.0 = rest;
        Some((key, (value != DELETED).then_some(bytes)))
    }
}

/// The changes of the first entry in `bytes` and its checksum, if it is whole and follows on `sum`.
fn entry(bytes: &[u8], sum: u32) -> Option<(&[u8], u32)> {
    let (head, rest) = bytes.split_first_chunk::<HEAD>()?;
    let (length, expected) = two(*head);
    let changes = rest.get(..length as usize).filter(|changes| !changes.is_empty())?;
    let found = next_sum(sum, changes);
    (found == expected).then_some((changes, found))
}

fn first_sum(number: u64) -> u32 {
    crc32fast::hash(&number.to_le_bytes())
}

/// The checksum of an entry with these changes that follows on `sum`. That their length goes in keeps bytes of zero from
/// being one.
fn next_sum(sum: u32, changes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(sum);
    hasher.update(&(changes.len() as u64).to_le_bytes());
    hasher.update(changes);
    hasher.finalize()
}

fn numbers(first: u32, second: u32) -> [u8; HEAD] {
    (u64::from(first) | u64::from(second) << 32).to_le_bytes()
}

fn two(bytes: [u8; HEAD]) -> (u32, u32) {
    let both = u64::from_le_bytes(bytes);
    (both as u32, (both >> 32) as u32)
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn put(key: &str, value: &'static str) -> Entry {
        let mut entry = Entry::default();
        entry.push(&Key::stored(key), Some(&Value::from_static(value.as_bytes())));
        entry
    }

    /// Opens the log and says what is in it: `key=value`, and `key` where the record is deleted.
    fn opened(directory: &TempDir, number: u64) -> (Log, Vec<String>) {
        let mut found = Vec::new();
        let log = Log::open(directory.path(), number, |(key, value)| {
            let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
            found.push(value.map_or_else(|| text(key), |value| format!("{}={}", text(key), text(value))));
            Ok(())
        });
        (log.unwrap(), found)
    }

    fn written(directory: &TempDir) -> Vec<u8> {
        std::fs::read(directory.path().join(LOG_FILE)).unwrap()
    }

    #[test]
    fn what_was_appended_is_read_in_order_and_gone_on_with() {
        let directory = TempDir::new().unwrap();
        let (mut log, found) = opened(&directory, 7);
        assert!(found.is_empty());
        let mut both = put("a", "1");
        both.push(&Key::stored("b"), None);
        log.append(both).unwrap();
        log.append(put("c", "")).unwrap();
        assert_eq!((log.sync().unwrap(), log.sync().unwrap()), (true, false));
        let (mut log, found) = opened(&directory, 7);
        assert_eq!(found, ["a=1", "b", "c="]);
        log.append(put("d", "2")).unwrap();
        assert_eq!(opened(&directory, 7).1, ["a=1", "b", "c=", "d=2"]);
    }

    #[test]
    fn a_log_of_another_number_does_not_count() {
        let directory = TempDir::new().unwrap();
        let (mut log, _) = opened(&directory, 7);
        log.append(put("a", "1")).unwrap();
        assert!(opened(&directory, 8).1.is_empty());
        assert!(opened(&directory, 0).1.is_empty());
        log.restart(8, 0).unwrap();
        assert!(written(&directory).is_empty(), "what is above the bound is given back");
        log.append(put("b", "2")).unwrap();
        assert_eq!(opened(&directory, 8).1, ["b=2"]);
    }

    #[test]
    fn the_log_ends_before_what_is_not_whole() {
        let directory = TempDir::new().unwrap();
        let (mut log, _) = opened(&directory, 7);
        log.append(put("a", "1")).unwrap();
        let first = usize::try_from(log.length()).unwrap();
        log.append(put("b", "22")).unwrap();
        let whole = written(&directory);
        let path = directory.path().join(LOG_FILE);
        for end in 0..whole.len() {
            // Both what was never written and what was written as zeros.
            for longer in [false, true] {
                let mut torn = whole[..end].to_vec();
                torn.resize(if longer { whole.len() } else { end }, 0);
                std::fs::write(&path, &torn).unwrap();
                assert_eq!(opened(&directory, 7).1.len(), usize::from(end >= first), "cut at {end}");
            }
        }
        for index in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[index] ^= 0x10;
            std::fs::write(&path, &damaged).unwrap();
            assert_eq!(opened(&directory, 7).1.len(), usize::from(index >= first), "damaged at {index}");
        }
    }

    #[test]
    fn what_an_earlier_run_left_behind_does_not_follow() {
        let directory = TempDir::new().unwrap();
        let (mut log, _) = opened(&directory, 7);
        log.append(put("a", "1")).unwrap();
        log.append(put("b", "2")).unwrap();
        // The first entry was lost, and another of the same length is in its place.
        let mut bytes = written(&directory);
        bytes[HEAD] ^= 1;
        std::fs::write(directory.path().join(LOG_FILE), bytes).unwrap();
        let (mut log, found) = opened(&directory, 7);
        assert!(found.is_empty());
        log.append(put("a", "3")).unwrap();
        assert_eq!(opened(&directory, 7).1, ["a=3"]);
    }
}
