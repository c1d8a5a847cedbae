//! The page of a sorted list, out of entries that come in another order; and the order in which people read names.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Ordering;

/// The place of an entry in a sorted list: by a number, and where that is the same by name.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) number: u64,
    pub(super) name: String,
    /// How names compare.
    pub(super) names: fn(&str, &str) -> Ordering,
}

impl Place {
    /// The place that a page has named as its end. Any text is a place: it need not exist, and is only compared (SPEC N7).
    pub(super) fn read(text: &str, names: fn(&str, &str) -> Ordering) -> Self {
        let read = |(number, name): (&str, &str)| Some((number.parse().ok()?, String::from(name)));
        let (number, name) = text.split_once(':').and_then(read).unwrap_or((0, text.into()));
        Self { number, name, names }
    }

    /// The place as a page names it.
    pub(super) fn text(&self) -> String {
        alloc::format!("{}:{}", self.number, self.name)
    }
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Place {}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Place {
    fn cmp(&self, other: &Self) -> Ordering {
        self.number.cmp(&other.number).then_with(|| (self.names)(&self.name, &other.name))
    }
}

/// The first entries of many in their order behind a place, as they are offered in any order. It holds a page of them.
pub(super) struct Ranked<T> {
    n: usize,
    after: Option<Place>,
    descending: bool,
    held: BTreeMap<Place, T>,
    more: bool,
}

impl<T> Ranked<T> {
    pub(super) fn new(n: usize, after: Option<Place>, descending: bool) -> Self {
        Self { n, after, descending, held: BTreeMap::new(), more: false }
    }

    /// Offers an entry, which is made only when there is room for it.
    pub(super) fn offer(&mut self, place: Place, entry: impl FnOnce() -> T) {
        let descending = self.descending;
        let before = |a: &Place, b: &Place| if descending { a > b } else { a < b };
        if self.after.as_ref().is_some_and(|after| !before(after, &place)) {
            return;
        }
        if self.held.len() == self.n {
            self.more = true;
            let last = if descending { self.held.first_key_value() } else { self.held.last_key_value() };
            if last.is_none_or(|(last, _)| !before(&place, last)) {
                return;
            }
            if descending {
                self.held.pop_first()
            } else {
                self.held.pop_last()
            };
        }
        self.held.insert(place, entry());
    }

    /// The entries in their order, and the place behind which the next page begins.
    pub(super) fn page(self) -> (Vec<(Place, T)>, Option<String>) {
        let entries = self.held.into_iter();
        let entries: Vec<_> = if self.descending { entries.rev().collect() } else { entries.collect() };
        let next = entries.last().filter(|_| self.more).map(|(place, _)| place.text());
        (entries, next)
    }
}

/// The order of names byte by byte, as the lists under `/v2/` have it.
pub(super) fn bytewise(a: &str, b: &str) -> Ordering {
    a.cmp(b)
}

/// The order in which people read names: numbers in them by their values, so that v1.9 is before v1.10.
pub(super) fn natural(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a.as_bytes(), b.as_bytes());
    while let (Some(&l), Some(&r)) = (left.first(), right.first()) {
        if l.is_ascii_digit() && r.is_ascii_digit() {
            let (l, r);
            (l, left) = number(left);
            (r, right) = number(right);
            match l.len().cmp(&r.len()).then_with(|| l.cmp(r)) {
                Ordering::Equal => {}
                other => return other,
            }
        } else if l == r {
            (left, right) = (&left[1..], &right[1..]);
        } else {
            return l.cmp(&r);
        }
    }
    // What differs in zeros alone has an order too.
    left.len().cmp(&right.len()).then_with(|| a.cmp(b))
}

/// The digits at the beginning without their zeros in front, and the rest.
fn number(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let zeros = text[..end].iter().position(|byte| *byte != b'0').unwrap_or(end);
    (&text[zeros..end], &text[end..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn names_are_in_the_order_in_which_people_read_them() {
        let sorted = ["1", "2", "10", "a", "a1b2", "a1b10", "a01b11", "v1.9", "v1.9.1", "v1.10", "v1.10-rc1", "va"];
        for (at, a) in sorted.iter().enumerate() {
            for (other, b) in sorted.iter().enumerate() {
                assert_eq!(natural(a, b), at.cmp(&other), "{a} {b}");
            }
        }
        assert_eq!(natural("v01", "v1"), Ordering::Less);
        assert_eq!(natural("v1", "v01"), Ordering::Greater);
        let long = "9".repeat(128);
        assert_eq!(natural(&long, &alloc::format!("1{long}")), Ordering::Less);
    }

    /// Each entry stands on exactly one page, whichever order they are offered in.
    #[test]
    fn pages_have_each_entry_once() {
        let offered = [(3, "c"), (1, "a"), (3, "a"), (2, "x"), (1, "b")];
        let all = |descending: bool| {
            let (mut seen, mut after) = (vec![], None);
            loop {
                let mut ranked = Ranked::new(2, after.as_deref().map(|after| Place::read(after, natural)), descending);
                for (number, name) in offered {
                    ranked.offer(Place { number, name: name.into(), names: natural }, || name);
                }
                let (page, next) = ranked.page();
                assert!(page.len() <= 2);
                seen.extend(page.into_iter().map(|(place, name)| (place.number, name)));
                match next {
                    Some(next) => after = Some(next),
                    None => return seen,
                }
            }
        };
        assert_eq!(all(false), [(1, "a"), (1, "b"), (2, "x"), (3, "a"), (3, "c")]);
        assert_eq!(all(true), [(3, "c"), (3, "a"), (2, "x"), (1, "b"), (1, "a")]);
    }
}
