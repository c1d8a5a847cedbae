//! Saying loudly what could not be tried.

use std::io::{self, Write};

/// Says that something is not tried here, and why. It is written past the capture of the test runner, in the form
/// that `tests/run` counts.
pub(crate) fn skipped(what: &str, reason: &str) {
    let _ = writeln!(io::stderr(), "test     SKIPPED {what}: {}", reason.trim());
}
