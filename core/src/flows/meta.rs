//! What all hosts of one storage agree on: the first host writes it, later ones read it and agree or are refused.
//!
//! A crash before the commit leaves nothing, and the next host is the first. Two that start at once write one record:
//! each expects that there is none, and the one that comes second reads what the other has written.

use core::cmp::Ordering;
use core::fmt;
use core::time::Duration;

use serde::Deserialize;

use super::batch::{Batch, Found};
use super::{Call, fault};
use crate::config::ATTEMPTS;
use crate::effect::{Committed, Durability, Expect, Fault, Value};
use crate::error::Error;
use crate::keys;
use crate::record::{self, FORMAT, MetaRecord, SessionKey, UNFINISHED};

/// What a host has agreed on with the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// The secret with which hosts sign their tokens; none when no host has offered one.
    pub session_key: Option<SessionKey>,
}

/// Why a host may not use a storage. It has written nothing then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disagreement {
    /// The records have another format.
    Format {
        /// The format that they have.
        found: u32,
        /// The format that this version reads and writes.
        ours: u32,
    },
    /// A registry is being copied here, and the copy is not complete.
    Unfinished,
    /// The other hosts keep the [stall rule](crate::stall) for another lifetime of calls.
    CallLifetime {
        /// The lifetime of calls on the other hosts.
        found: Duration,
        /// The one that this host was to have.
        ours: Duration,
    },
    /// The storage failed.
    Storage(Fault),
}

/// The one field that the record has in every format.
#[derive(Deserialize)]
pub(super) struct Format {
    pub(super) format: u32,
}

impl Call {
    /// Agrees with the other hosts. `offered` becomes the session key if there is none yet.
    pub(crate) async fn agree(&self, offered: Option<SessionKey>) -> Result<Agreement, Disagreement> {
        for _ in 0..ATTEMPTS {
            let [meta, session_key] = self.get([keys::meta(), keys::session_key()]).await?;
            if let Some(meta) = &meta {
                self.check_meta(meta)?;
            }
            let known = Found::<SessionKey>::read(keys::session_key(), session_key)?.map(|found| found.record);
            // A disk that is too full for uploads must still let a server start, or nothing could be deleted.
            let mut batch = Batch::reclaiming();
            match &meta {
                Some(meta) => batch.expect(Expect::Exactly(keys::meta(), meta.clone())),
                None => {
                    batch.expect(Expect::Absent(keys::meta()));
                    let call_lifetime_ms = milliseconds(self.config.call_lifetime);
                    batch.put(keys::meta(), &MetaRecord { format: FORMAT, call_lifetime_ms });
                }
            }
            if let (None, Some(offered)) = (&known, &offered) {
                batch.expect(Expect::Absent(keys::session_key()));
                batch.put(keys::session_key(), offered);
            }
            // What a token is signed with must not be another one after a power cut, nor what the others rely on.
            if batch.is_empty() || self.commit(batch, Durability::Durable).await? == Committed::Done {
                return Ok(Agreement { session_key: known.or(offered) });
            }
        }
        Err(Error::Contention.into())
    }

    fn check_meta(&self, meta: &Value) -> Result<(), Disagreement> {
        let Format { format } = record::decode(&keys::meta(), meta).map_err(Error::from)?;
        if format == UNFINISHED {
            return Err(Disagreement::Unfinished);
        }
        if format != FORMAT {
            return Err(Disagreement::Format { found: format, ours: FORMAT });
        }
        let MetaRecord { call_lifetime_ms, .. } = record::decode(&keys::meta(), meta).map_err(Error::from)?;
        let ours = self.config.call_lifetime;
        if call_lifetime_ms != milliseconds(ours) {
            return Err(Disagreement::CallLifetime { found: Duration::from_millis(call_lifetime_ms), ours });
        }
        Ok(())
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl From<Error> for Disagreement {
    fn from(error: Error) -> Self {
        Self::Storage(fault(error))
    }
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Format { found, ours } => {
                write!(f, "the records have format {found}, and this version of Orlop reads format {ours}: ")?;
                match found.cmp(ours) {
                    Ordering::Less => f.write_str(
                        "start the version that wrote them, begin with an empty storage, and copy the images, for \
                         example by `skopeo sync`",
                    ),
                    _ => f.write_str("a newer version wrote them; start that one"),
                }
            }
            Self::Unfinished => f.write_str(
                "a registry is being copied here, and the copy is not complete: run `orlop move` again, which goes on with \
                 it",
            ),
            Self::CallLifetime { found, ours } => write!(
                f,
                "the records were written by hosts with a call lifetime of {found:?}, and this one has {ours:?}: garbage \
                 collection could erase what the others are receiving; give this host a call lifetime of {found:?}, or a \
                 storage of its own"
            ),
            Self::Storage(fault) => write!(f, "{fault}"),
        }
    }
}

impl core::error::Error for Disagreement {}

#[cfg(test)]
mod tests {
    use alloc::string::{String, ToString};

    use super::*;
    use crate::keys::Key;
    use crate::memory::{Memory, RequestBody};
    use crate::{Config, Registry, Step};

    const HOUR: Duration = Duration::from_secs(3600);

    fn registry(call_lifetime: Duration) -> Registry {
        Registry::new(Config { call_lifetime, ..Config::default() })
    }

    fn agree(memory: &mut Memory, registry: &Registry, offered: Option<u8>) -> Result<Agreement, Disagreement> {
        let ambient = memory.ambient();
        let offered = offered.map(|byte| SessionKey::new([byte; 32]));
        memory.run(registry.agree(offered, ambient), &RequestBody::default())
    }

    fn session_key(agreement: &Agreement) -> Option<u8> {
        agreement.session_key.as_ref().map(|key| key.bytes()[0])
    }

    fn stored(memory: &Memory, key: &Key) -> String {
        String::from_utf8_lossy(&memory.records[key]).into()
    }

    #[test]
    fn the_first_host_writes_what_the_others_read() {
        let mut memory = Memory::new();
        let registry = registry(HOUR);
        assert_eq!(session_key(&agree(&mut memory, &registry, None).unwrap()), None, "it signs no tokens");
        assert_eq!(stored(&memory, &keys::meta()), r#"{"format":2,"call_lifetime_ms":3600000}"#);
        assert_eq!(session_key(&agree(&mut memory, &registry, Some(1)).unwrap()), Some(1));
        assert_eq!(session_key(&agree(&mut memory, &registry, Some(2)).unwrap()), Some(1), "the first one counts");
        assert_eq!(session_key(&agree(&mut memory, &registry, None).unwrap()), Some(1));
        assert_eq!(memory.records.len(), 2);
    }

    #[test]
    fn of_two_that_start_at_once_both_have_the_key_of_the_first() {
        let mut memory = Memory::new();
        let mut step = registry(HOUR).agree(Some(SessionKey::new([2; 32])), memory.ambient());
        while !matches!(step, Step::Commit(_)) {
            step = memory.perform(step, &RequestBody::default());
        }
        agree(&mut memory, &registry(HOUR), Some(1)).unwrap();
        let late = memory.run(step, &RequestBody::default()).unwrap();
        assert_eq!(session_key(&late), Some(1));
    }

    #[test]
    fn records_without_meta_get_it() {
        let mut memory = Memory::new();
        memory.records.insert(Key::stored("of an older host"), "{}".into());
        agree(&mut memory, &registry(HOUR), Some(1)).unwrap();
        assert_eq!(memory.records.len(), 3);
    }

    #[test]
    fn a_host_that_differs_is_told_both_values_and_writes_nothing() {
        let mut memory = Memory::new();
        agree(&mut memory, &registry(HOUR), None).unwrap();
        let before = memory.records.clone();
        let refused = agree(&mut memory, &registry(2 * HOUR), Some(1)).unwrap_err();
        assert_eq!(refused, Disagreement::CallLifetime { found: HOUR, ours: 2 * HOUR });
        let told = refused.to_string();
        assert!(told.contains("3600s") && told.contains("7200s"), "{told}");
        for (format, cure) in [(1, "skopeo sync"), (3, "a newer version wrote them")] {
            // The rest may have another form.
            let other = alloc::format!(r#"{{"format":{format},"call_lifetime_ms":"PT1H"}}"#);
            memory.records.insert(keys::meta(), other.into());
            let refused = agree(&mut memory, &registry(HOUR), Some(1)).unwrap_err();
            assert_eq!(refused, Disagreement::Format { found: format, ours: 2 });
            let told = refused.to_string();
            let both = told.contains(&alloc::format!("format {format}")) && told.contains("format 2");
            assert!(both && told.contains(cure), "{told}");
        }
        assert_eq!(memory.records.len(), before.len());
    }

    #[test]
    fn a_damaged_record_is_named_and_stays() {
        for (key, value) in [(keys::meta(), "{}"), (keys::session_key(), "\"5ec2e7\"")] {
            let mut memory = Memory::new();
            agree(&mut memory, &registry(HOUR), Some(1)).unwrap();
            memory.records.insert(key.clone(), value.into());
            let told = agree(&mut memory, &registry(HOUR), Some(2)).unwrap_err().to_string();
            assert!(told.contains(key.as_str()) && !told.contains("5ec2e7"), "{told}");
            assert_eq!(stored(&memory, &key), value);
        }
    }

    #[test]
    fn a_session_key_is_not_shown() {
        let key = SessionKey::new([0xab; 32]);
        let agreement = Agreement { session_key: Some(key.clone()) };
        assert!(!alloc::format!("{agreement:?}").contains("ab"), "{agreement:?}");
        assert!(!alloc::format!("{agreement:?}").contains("171"), "{agreement:?}");
        let text = String::from(key.clone());
        assert_eq!((text.len(), SessionKey::try_from(text)), (64, Ok(key)));
    }
}
