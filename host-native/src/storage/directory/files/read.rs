//! Reading objects: whole, past a meter, or into another one.

use std::io::{self, Read};
use std::path::PathBuf;
use std::time::Instant;

use bytes::Bytes;
use orlop_core::Fault;
use orlop_core::meter::Meter;

use super::object::ObjectFile;
use crate::storage::disk::{Pace, fault, open};

/// How many bytes are read at once past a meter.
const MEASURE_PIECE: usize = 256 << 10;

/// Reads objects whole, one behind the other; `None` when one is not there or they have more than `limit` bytes.
pub(super) fn load(paths: &[PathBuf], limit: u64) -> Result<Option<Bytes>, Fault> {
    let mut bytes = Vec::new();
    for path in paths {
        let Some(file) = open(path)? else { return Ok(None) };
        let failed = |error| fault::at("read", path, &error);
        let size = file.metadata().map_err(failed)?.len();
        if size > limit.saturating_sub(bytes.len() as u64) {
            return Ok(None);
        }
        bytes.reserve_exact(usize::try_from(size).unwrap_or_default());
        file.take(size).read_to_end(&mut bytes).map_err(failed)?;
    }
    Ok(Some(bytes.into()))
}

/// Reads objects past a meter, one behind the other, not faster than the pace; `None` when one is not there.
pub(super) fn measure(paths: &[PathBuf], mut meter: Meter, pace: Option<Pace>) -> Result<Option<Meter>, Fault> {
    let mut buffer = vec![0; MEASURE_PIECE];
    let (began, mut sum) = (Instant::now(), 0);
    for path in paths {
        let Some(mut file) = open(path)? else { return Ok(None) };
        while meter.room() > 0 {
            let most = usize::try_from(meter.room()).unwrap_or(usize::MAX).min(buffer.len());
            match file.read(&mut buffer[..most]) {
                Ok(0) => break,
                Ok(read) => {
                    meter.update(&buffer[..read]);
                    sum += read as u64;
                    let ahead = |pace: Pace| pace.time_for(sum).saturating_sub(began.elapsed());
                    pace.into_iter().for_each(|pace| std::thread::sleep(ahead(pace)));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(fault::at("read", path, &error)),
            }
        }
    }
    Ok(Some(meter))
}

/// Copies objects, one behind the other, into a new one; `false` when one is not there.
pub(super) fn join(paths: &[PathBuf], mut into: ObjectFile) -> Result<bool, Fault> {
    for path in paths {
        let Some(from) = open(path)? else { return Ok(false) };
        into.append_file(&from, path)?;
    }
    into.seal()?;
    Ok(true)
}
