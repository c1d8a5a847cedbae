//! Ranges: `Range` of a download (RFC 9110, section 14; SPEC C7–C11) and `Content-Range` of a chunk (SPEC F).

use alloc::vec::Vec;
use core::ops::Range;

use crate::config::RANGES;

/// What a `Range` field asks of a content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Selection {
    /// Everything: no range, or one that is to be ignored.
    Whole,
    /// These bytes, in this order; never empty, each range not empty and within the content.
    Ranges(Vec<Range<u64>>),
    /// Nothing that the content has: 416.
    Unsatisfiable,
}

/// Reads a `Range` field for a content of `size` bytes.
///
/// An unknown unit or a field against the grammar is ignored (RFC 9110, 14.2), but for a range that ends before
/// it begins, which peers and the official suite want refused (SPEC C8). More ranges than anyone needs, or ranges
/// that repeat bytes until they are more than the content, are answered with the whole (RFC 9110, 17.15).
pub(crate) fn select(field: &str, size: u64) -> Selection {
    let Some(set) = field.strip_prefix("bytes=") else { return Selection::Whole };
    let mut ranges = Vec::new();
    let mut specs = 0;
    for spec in set.split(',').map(str::trim).filter(|spec| !spec.is_empty()) {
        specs += 1;
        if specs > RANGES {
            return Selection::Whole;
        }
        match resolve(spec, size) {
            Some(range) if range.is_empty() => {}
            Some(range) => ranges.push(range),
            None => return Selection::Whole,
        }
    }
    let asked = ranges.iter().fold(0u64, |sum, range| sum.saturating_add(range.end - range.start));
    match () {
        () if specs == 0 => Selection::Whole,
        () if ranges.is_empty() => Selection::Unsatisfiable,
        () if asked > size => Selection::Whole,
        () => Selection::Ranges(ranges),
    }
}

/// One range of the set, clamped to the content; empty when the content has nothing of it, `None` when it is
/// against the grammar.
fn resolve(spec: &str, size: u64) -> Option<Range<u64>> {
    let (first, last) = spec.split_once('-')?;
    if first.is_empty() {
        let suffix = number(last)?;
        return Some(size.saturating_sub(suffix)..size);
    }
    let first = number(first)?;
    let end = if last.is_empty() { size } else { number(last)?.saturating_add(1).min(size) };
    Some(if first < end { first..end } else { 0..0 })
}

/// The first offset and the length of a chunk: `<start>-<end>`, both inclusive, no unit
/// (OCI distribution-spec, "Pushing a blob in chunks"). `None` when the field is against the grammar (SPEC F4).
pub(crate) fn chunk(field: &str) -> Option<(u64, u64)> {
    let (start, end) = field.split_once('-')?;
    let (start, end) = (strict_number(start)?, strict_number(end)?);
    let length = end.checked_sub(start)?.checked_add(1)?;
    Some((start, length))
}

/// Digits only. A number beyond 64 bits is beyond every content.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

/// Digits only, within 64 bits: an offset that must be met exactly.
fn strict_number(text: &str) -> Option<u64> {
    number(text).filter(|_| text.parse::<u64>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    /// SPEC C7, C8, C10, U25.
    #[test]
    fn a_range_is_clamped_refused_or_ignored() {
        use Selection::{Ranges, Unsatisfiable, Whole};
        let check = |field: &str, expected: Selection| assert_eq!(select(field, 1000), expected, "{field}");
        let one = |range: Range<u64>| Ranges(vec![range]);
        check("bytes=0-0", one(0..1));
        check("bytes=10-19", one(10..20));
        check("bytes=10-", one(10..1000));
        check("bytes=-10", one(990..1000));
        check("bytes=-5000", one(0..1000));
        check("bytes=990-5000", one(990..1000));
        check("bytes=990-99999999999999999999999", one(990..1000));
        check("bytes=0-0, 5-6 ,,-1", Ranges(vec![0..1, 5..7, 999..1000]));
        check("bytes=0-0,2000-", one(0..1));
        check("bytes=1000-", Unsatisfiable);
        check("bytes=1000-1001,5000-", Unsatisfiable);
        check("bytes=500-0", Unsatisfiable);
        check("bytes=-0", Unsatisfiable);
        check("bytes=99999999999999999999999-", Unsatisfiable);
        check("bytes=", Whole);
        check("bytes=a-b", Whole);
        check("bytes=1", Whole);
        check("bytes=--1", Whole);
        check("bytes=+1-2", Whole);
        check("lines=0-1", Whole);
        check("bytes=0-,0-", Whole);
        assert_eq!(select("bytes=0-", 0), Unsatisfiable);
        assert_eq!(select("bytes=-1", 0), Unsatisfiable);
    }

    #[test]
    fn more_ranges_than_anyone_needs_are_the_whole() {
        let field = |n: usize| {
            let specs: Vec<_> = (0..n).map(|i| alloc::format!("{i}-{i}")).collect();
            alloc::format!("bytes={}", specs.join(","))
        };
        assert!(matches!(select(&field(RANGES), 1 << 20), Selection::Ranges(_)));
        assert_eq!(select(&field(RANGES + 1), 1 << 20), Selection::Whole);
    }

    /// SPEC F1, F4.
    #[test]
    fn a_chunk_has_a_start_and_an_inclusive_end() {
        assert_eq!(chunk("0-0"), Some((0, 1)));
        assert_eq!(chunk("10-19"), Some((10, 10)));
        for malformed in ["", "-", "1", "1-", "-1", "2-1", "bytes 0-1", "bytes=0-1", "0-1/2", "0-1 ", "+0-1", "a-b"] {
            assert_eq!(chunk(malformed), None, "{malformed}");
        }
        assert_eq!(chunk("0-18446744073709551616"), None);
        assert_eq!(chunk("0-18446744073709551615"), None);
    }
}
