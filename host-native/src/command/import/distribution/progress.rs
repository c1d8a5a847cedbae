//! How far an import is: a bar on a terminal, elsewhere a line now and then.

use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// What is shown while all is looked at, and how many there are is not known.
const LOOKING: &str = "{spinner} {msg}: {pos}";

/// What is shown while it is taken over.
const BAR: &str = "{msg} {bar:30} {pos}/{len} {per_sec} {eta}";

/// How often a line is written where there is no terminal.
const EVERY: Duration = Duration::from_secs(10);

/// Shows on the standard error how many blobs, manifests and tags are done.
pub(super) struct Progress {
    bar: ProgressBar,
    what: &'static str,
    /// When the last line was written, where lines are.
    lines: Option<Mutex<Instant>>,
}

impl Progress {
    /// Of how many things, if that is known.
    pub(super) fn new(what: &'static str, of: Option<u64>) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let target = if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(of, target);
        if let Ok(style) = ProgressStyle::with_template(if of.is_some() { BAR } else { LOOKING }) {
            bar.set_style(style);
        }
        bar.set_message(what);
        Self { bar, what, lines: (!terminal).then(|| Mutex::new(Instant::now())) }
    }

    /// So many more are done.
    pub(super) fn done(&self, more: u64) {
        self.bar.inc(more);
        let Some(last) = &self.lines else { return };
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.elapsed() >= EVERY {
            *last = Instant::now();
            let of = self.bar.length().map(|of| format!(" of {of}")).unwrap_or_default();
            note!("{}: {}{of} blobs, manifests and tags", self.what, self.bar.position());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
