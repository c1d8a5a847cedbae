//! How far a copy is: a bar on a terminal; elsewhere a line for each blob, and for large ones a line now and then. Of many
//! images, lines are only written now and then.

use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytesize::ByteSize;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::copy::{How, Told};
use crate::remote::Descriptor;

/// What the bar shows.
const BAR: &str = "{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}";

/// How often a line says how far a copy is, if no blob is done in between.
const EVERY: Duration = Duration::from_secs(10);

/// Shows on the standard error how far a copy is.
pub(in crate::command) struct Progress {
    /// It counts the bytes, whether it is shown or not.
    bar: ProgressBar,
    /// When the last line was written, where lines are.
    lines: Option<Mutex<Instant>>,
    /// Whether many images are copied, one after the other.
    many: bool,
}

impl Progress {
    /// A bar, lines, or nothing at all.
    pub(in crate::command) fn new(quiet: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let target = if quiet || !terminal { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(None, target);
        if let Ok(style) = ProgressStyle::with_template(BAR) {
            bar.set_style(style);
        }
        Self { bar, lines: (!quiet && !terminal).then(|| Mutex::new(Instant::now())), many: false }
    }

    /// The same for many images, which would be many lines.
    pub(in crate::command) fn of_many(quiet: bool) -> Self {
        let progress = Self::new(quiet);
        progress.bar.set_length(0);
        Self { many: true, ..progress }
    }

    /// Writes a line, if there are lines and the last one is that old.
    fn line(&self, after: Duration, text: impl FnOnce() -> String) {
        if let Some(last) = &self.lines {
            let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
            if last.elapsed() >= after {
                *last = Instant::now();
                note!("{}", text());
            }
        }
    }

    /// Writes how many bytes are done, of those that are known of.
    fn now_and_then(&self) {
        self.line(EVERY, || match self.bar.length().unwrap_or_default() {
            _ if self.many => format!("{} so far", size(self.bar.position())),
            all => format!("{} of {}", size(self.bar.position()), size(all)),
        });
    }

    /// Takes the bar away.
    pub(in crate::command) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

impl Told for Progress {
    fn planned(&self, blobs: usize, bytes: u64) {
        if self.many {
            return self.bar.inc_length(bytes);
        }
        self.bar.set_length(bytes);
        if blobs > 0 {
            let plural = if blobs == 1 { "" } else { "s" };
            self.line(Duration::ZERO, || format!("{blobs} blob{plural}, {}", size(bytes)));
        }
    }

    fn moved(&self, bytes: u64) {
        self.bar.inc(bytes);
        self.now_and_then();
    }

    fn done(&self, blob: &Descriptor, how: How) {
        let what = match how {
            How::There => "there already",
            How::Mounted => "mounted",
            How::Copied => "copied",
            How::Missing => "would be copied",
            How::Failed => "failed",
        };
        if matches!(how, How::There | How::Mounted) {
            self.bar.inc(blob.size);
        }
        if self.many {
            return self.now_and_then();
        }
        self.line(Duration::ZERO, || format!("{} {what} ({})", blob.digest, size(blob.size)));
    }
}

fn size(bytes: u64) -> String {
    ByteSize(bytes).display().iec().to_string()
}
