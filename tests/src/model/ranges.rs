//! Ranges and conditions, as RFC 9110 has them.

use std::ops::Range;

use orlop_core::Headers;

/// What a `Range` field asks of a content of `size` bytes (SPEC C7–C10): these ranges; none when it is to be ignored.
///
/// # Errors
///
/// Nothing of what is asked for is there: 416.
pub(super) fn ranges(field: &str, size: usize) -> Result<Option<Vec<Range<usize>>>, ()> {
    let Some(set) = field.strip_prefix("bytes=") else { return Ok(None) };
    let specs: Vec<&str> = set.split(',').map(str::trim).filter(|spec| !spec.is_empty()).collect();
    if specs.is_empty() || specs.len() > 1024 {
        return Ok(None);
    }
    let mut ranges = Vec::new();
    for spec in specs {
        let Some((first, last)) = spec.split_once('-') else { return Ok(None) };
        let number = |digits: &str| -> Option<u128> {
            let digits = digits.bytes().all(|b| b.is_ascii_digit()).then_some(digits)?;
            // Beyond every content, however long it is written.
            Some(digits.parse().unwrap_or(u128::MAX))
        };
        let (start, end) = match (first, last) {
            ("", "") => return Ok(None),
            ("", suffix) => match number(suffix) {
                Some(suffix) => ((size as u128).saturating_sub(suffix), size as u128),
                None => return Ok(None),
            },
            (first, "") => match number(first) {
                Some(first) => (first, size as u128),
                None => return Ok(None),
            },
            (first, last) => match (number(first), number(last)) {
                (Some(first), Some(last)) => (first, last.saturating_add(1).min(size as u128)),
                _ => return Ok(None),
            },
        };
        if start < end {
            ranges.push(start as usize..end as usize);
        }
    }
    if ranges.is_empty() {
        return Err(());
    }
    let asked: usize = ranges.iter().map(Range::len).sum();
    Ok(Some(ranges).filter(|_| asked <= size))
}

/// The first and the last byte of a chunk (SPEC F1, F4); none when the field is against the grammar.
pub(super) fn chunk(field: &str) -> Option<(u64, u64)> {
    let (first, last) = field.split_once('-')?;
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u64>().ok())?;
    let (first, last) = (number(first)?, number(last)?);
    (first <= last && last - first < u64::MAX).then_some((first, last))
}

/// What the conditions of a request come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    /// The request is to be done.
    Holds,
    /// `If-Match` names something else.
    Fails,
    /// `If-None-Match` names what is there.
    Known,
}

/// The conditions of a request on what is there (RFC 9110, 13.2.2; SPEC A7, C11, J8).
pub(super) fn condition(headers: &Headers, current: Option<&str>) -> Condition {
    let names = |field: &str| {
        let mut tags = field.split(',').map(str::trim);
        tags.any(|tag| {
            current
                .is_some_and(|current| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"') == current)
        })
    };
    let given = |name: &str| headers.get(name).is_some();
    if given("If-Match") && !headers.all("If-Match").any(names) {
        return Condition::Fails;
    }
    if headers.all("If-None-Match").any(names) { Condition::Known } else { Condition::Holds }
}
