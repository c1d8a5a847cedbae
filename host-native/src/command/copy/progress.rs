//! How far a copy is: a bar on a terminal, a line for each blob elsewhere.

use std::io::IsTerminal;

use bytesize::ByteSize;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::copy::{How, Told};
use crate::remote::Descriptor;

/// What the bar shows.
const BAR: &str = "{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}";

/// Shows on the standard error how far a copy is.
pub(super) struct Progress {
    bar: ProgressBar,
    lines: bool,
}

impl Progress {
    /// A bar, lines, or nothing at all.
    pub(super) fn new(quiet: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let target = if quiet || !terminal { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(None, target);
        if let Ok(style) = ProgressStyle::with_template(BAR) {
            bar.set_style(style);
        }
        Self { bar, lines: !quiet && !terminal }
    }

    /// Takes the bar away.
    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

impl Told for Progress {
    fn planned(&self, blobs: usize, bytes: u64) {
        self.bar.set_length(bytes);
        if self.lines && blobs > 0 {
            eprintln!("{blobs} blobs, {}", ByteSize(bytes).display().iec());
        }
    }

    fn moved(&self, bytes: u64) {
        self.bar.inc(bytes);
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
        if self.lines {
            eprintln!("{} {what} ({})", blob.digest, ByteSize(blob.size).display().iec());
        }
    }
}
