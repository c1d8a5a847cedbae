//! Tags as versions.

use alloc::format;

use semver::Version;

/// A tag as a version (SemVer 2.0.0). A `v` in front is passed over, and `1` and `1.2` are `1.0.0` and `1.2.0`.
pub fn version(tag: &str) -> Option<Version> {
    let text = tag.strip_prefix('v').unwrap_or(tag);
    let (numbers, rest) = text.split_at(text.find(['-', '+']).unwrap_or(text.len()));
    let missing = 3_usize.checked_sub(numbers.split('.').count())?;
    Version::parse(&format!("{numbers}{}{rest}", ".0".repeat(missing))).ok()
}
