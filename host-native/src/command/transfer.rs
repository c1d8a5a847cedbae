//! `orlop move`: a registry is copied from the data directory to a database and an object store, or back.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytesize::ByteSize;
use tokio::time::Instant;

use crate::command::check::data_directory;
use crate::command::cli::{Move, Place};
use crate::command::copy::Stopped;
use crate::command::process;
use crate::command::storage::Using;
use crate::observe::log;
use crate::settings::{Data, LogFormat, Options};
use crate::storage::transfer::{self, Copied, Progress};
use crate::storage::{Host, Use};

/// How many blobs in quarantine are named.
const NAMED: usize = 20;

/// How often it is told how far the copy has come.
const TELL: Duration = Duration::from_secs(5);

/// Copies a registry, or goes on with a copy that was interrupted.
///
/// # Errors
///
/// When one of the places is in use or cannot be used, the target is not empty, or bytes are not what they should be.
pub fn copy(asked: &Move) -> Result<(), Box<dyn Error>> {
    let data = &asked.data;
    let Some(engines) = data.engines.engines()? else {
        return Err("set records and objects too: `orlop move` copies between those and the data directory".into());
    };
    data_directory(&data.directory)?;
    if asked.to == Place::Shared && !data.directory.exists() {
        return Err(
            format!("there is no directory {}: name the data directory with --data", data.directory.display()).into()
        );
    }
    let _log = log::start("warn".parse()?, LogFormat::Text);
    // A data directory is locked while it is open; so no server and no second copy has it.
    let using = Using::default();
    let copying = async {
        let directory = Host::open(&data.directory, &Options::default())?;
        let shared = Arc::new(Host::connect(&engines, &Options::default()).await?);
        let copied = match asked.to {
            // Until the copy is complete, a record keeps servers from the target.
            Place::Shared => told(&directory, &shared).await,
            Place::Directory => {
                using.enter(&shared, Use::Copy).await?;
                let copied = told(&shared, &directory).await;
                using.leave().await;
                copied
            }
        };
        let copied = copied.map_err(|wrong| format!("{wrong}; nothing is lost: the source is as it was"))?;
        out!("{}", summary(&copied, asked.to, data));
        Ok(())
    };
    match process::until_signal(copying, using.leave())? {
        Ok(done) => done,
        Err(number) => {
            let told = "interrupted; the source is as it was, and the same command goes on with the rest";
            Err(Stopped::signal(number, told.into()).into())
        }
    }
}

/// Copies, and tells now and then how far that has come.
async fn told(from: &Host, to: &Host) -> Result<Copied, String> {
    let progress = Arc::new(Progress::default());
    let copying = transfer::copy(from, to, &progress);
    tokio::pin!(copying);
    let mut before = Before { bytes: 0, records: 0, comparing: false, at: Instant::now() };
    loop {
        tokio::select! {
            copied = &mut copying => return copied,
            () = tokio::time::sleep(TELL) => note!("{}", before.line(&progress)),
        }
    }
}

/// Where the progress stood when it was told last.
struct Before {
    bytes: u64,
    records: u64,
    comparing: bool,
    at: Instant,
}

impl Before {
    fn line(&mut self, progress: &Progress) -> String {
        let read = |number: &std::sync::atomic::AtomicU64| number.load(Ordering::Relaxed);
        let (records, of_records) = (read(&progress.records.done), read(&progress.records.all));
        let (bytes, of_bytes) = (read(&progress.bytes.done), read(&progress.bytes.all));
        let comparing = progress.comparing.load(Ordering::Relaxed);
        if comparing != self.comparing {
            *self = Self { bytes: 0, records: 0, comparing, at: self.at };
        }
        let seconds = self.at.elapsed().as_secs_f64().max(0.001);
        #[expect(clippy::cast_precision_loss, reason = "a rate, rounded when it is shown")]
        let rate = |more: u64| more as f64 / seconds;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate is not negative")]
        let speed = ByteSize::b(rate(bytes.saturating_sub(self.bytes)) as u64);
        let line = format!(
            "{}: {records} of {of_records} records, {} of {} in {} objects; {speed}/s, {:.0} records/s",
            if comparing { "comparing" } else { "copying" },
            ByteSize::b(bytes),
            ByteSize::b(of_bytes),
            read(&progress.objects),
            rate(records.saturating_sub(self.records)),
        );
        *self = Self { bytes, records, comparing, at: Instant::now() };
        line
    }
}

fn summary(copied: &Copied, to: Place, data: &Data) -> String {
    let Copied { records, hash, objects, bytes, damaged, quarantined } = copied;
    let target = match to {
        Place::Shared => format!("the {}", data.place()),
        Place::Directory => format!("the data directory {}", data.directory.display()),
    };
    let damaged = match damaged.len() {
        0 => String::new(),
        some => format!("\n{some} records do not read, and were copied as they are: see `orlop check`"),
    };
    let mut quarantine = String::new();
    if !quarantined.is_empty() {
        quarantine = format!(
            "\n{} blobs are in quarantine there too, and were copied only if their bytes are sound: see `orlop damaged`",
            quarantined.len()
        );
        let named = quarantined.iter().take(NAMED).map(|digest| format!("\n  {digest}"));
        quarantine.extend(named);
        if quarantined.len() > NAMED {
            quarantine.push_str("\n  …");
        }
    }
    format!(
        "copied and compared: {records} records with the hash {hash} in both places, {objects} objects with {}\n\
         {target} can be served now; do not serve the source beside it, since changes there are not copied{damaged}{quarantine}",
        ByteSize::b(*bytes)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_line_of_progress_has_counts_bytes_and_rates() {
        let progress = Progress::default();
        let set = |count: &transfer::Count, done, all| {
            count.done.store(done, Ordering::Relaxed);
            count.all.store(all, Ordering::Relaxed);
        };
        set(&progress.records, 100, 200);
        set(&progress.bytes, 10 << 20, 20 << 20);
        progress.objects.store(7, Ordering::Relaxed);
        let mut before = Before { bytes: 0, records: 0, comparing: false, at: Instant::now() };
        tokio::time::sleep(Duration::from_secs(10)).await;
        let line = before.line(&progress);
        assert_eq!(line, "copying: 100 of 200 records, 10.0 MiB of 20.0 MiB in 7 objects; 1.0 MiB/s, 10 records/s");
        progress.comparing.store(true, Ordering::Relaxed);
        set(&progress.records, 20, 200);
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert!(before.line(&progress).starts_with("comparing: 20 of 200 records, "), "counts begin anew");
    }
}
