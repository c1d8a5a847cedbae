//! Other settings for a server that runs.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::command::check::{Checked, check};
use crate::command::cli::Command;
use crate::command::config::{CommandLine, Effective, places_of_rules, with_places};
use crate::observe::log::Log;
use crate::request::live::Current;
use crate::settings::{MirrorSetting, NEED_RESTART};

/// Where a server has its settings from, and which it started with.
pub struct Reloading {
    current: Current,
    line: CommandLine,
    log: Log,
    started: Vec<Effective>,
    one: Mutex<()>,
}

impl Reloading {
    /// Of a server that started with these settings.
    pub fn new(current: Current, line: CommandLine, log: Log, started: Vec<Effective>) -> Self {
        Self { current, line, log, started, one: Mutex::default() }
    }

    /// Reads the settings again and puts them in force. Settings that are wrong change nothing.
    ///
    /// # Errors
    ///
    /// With what is wrong.
    pub fn reload(&self) -> Result<String, String> {
        let _one = self.one.lock().unwrap_or_else(PoisonError::into_inner);
        match self.replace() {
            Ok(notes) => {
                tracing::info!("configuration reloaded");
                notes.iter().for_each(|note| tracing::warn!("{note}"));
                Ok(["configuration reloaded".to_owned()].into_iter().chain(notes).collect::<Vec<_>>().join("\n"))
            }
            Err(reason) => {
                tracing::error!("configuration not reloaded, the server keeps its settings: {reason}");
                Err(reason)
            }
        }
    }

    fn replace(&self) -> Result<Vec<String>, String> {
        let loaded = self.line.load().map_err(|error| error.to_string())?;
        let Command::Serve(settings) = loaded.cli.command else { return Ok(Vec::new()) };
        let checked =
            check(&settings, Some(&self.current.get())).map_err(|reason| with_places(&reason, &loaded.effective))?;
        let Checked { live, mut warnings, .. } = checked;
        if live.lets_anybody_write() && !self.current.get().lets_anybody_write() && !settings.auth.open {
            return Err(
                "every client could push and delete from now on: set users or rules, or allow it with open".into()
            );
        }
        self.log.set(settings.storage.log.clone());
        self.current.set(live.with_rules_at(places_of_rules(&loaded.effective)));
        warnings.extend(restarts(&self.started, &loaded.effective));
        if doors(&self.started) != doors(&loaded.effective) {
            warnings.push("addr of a mirror has changed: restart the server to put it in force".into());
        }
        Ok(warnings)
    }
}

/// The changes that a server takes over only when it starts.
fn restarts(started: &[Effective], now: &[Effective]) -> Vec<String> {
    let changed = now.iter().filter(|setting| NEED_RESTART.contains(&setting.key.as_str())).filter_map(|setting| {
        let before = started.iter().find(|before| before.key == setting.key)?;
        let shown = |values: &[String]| if values.is_empty() { "not set".to_owned() } else { values.join(", ") };
        let (old, new) = (shown(&before.values), shown(&setting.values));
        let key = &setting.key;
        (old != new)
            .then(|| format!("{key} has changed ({old} before, {new} now): restart the server to put it in force"))
    });
    changed.collect()
}

/// Where mirrors have an address of their own, and the prefix of each: what a server listens on from its start.
fn doors(effective: &[Effective]) -> Vec<(String, String)> {
    let mirrors = effective.iter().filter(|setting| setting.key == "mirror").flat_map(|setting| &setting.values);
    let mirrors = mirrors.filter_map(|value| value.parse::<MirrorSetting>().ok());
    mirrors.filter_map(|mirror| Some((mirror.addr?, mirror.prefix))).collect()
}

/// Reloads at each SIGHUP.
///
/// # Errors
///
/// When signals cannot be caught.
pub fn reload_when_told(reloading: Arc<Reloading>) -> std::io::Result<()> {
    let mut told: Signal = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while told.recv().await.is_some() {
            let reloading = reloading.clone();
            // What comes of it is in the log.
            let _ = tokio::task::spawn_blocking(move || reloading.reload()).await;
        }
    });
    Ok(())
}
