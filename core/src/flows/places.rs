//! Places: the few keys that a user has for records of one kind, so that no user makes more of them.

use alloc::vec::Vec;

use serde::de::DeserializeOwned;

use super::Call;
use super::pages::Pages;
use crate::effect::{Expect, Value};
use crate::error::Error;
use crate::keys::{Key, Prefix};
use crate::record;

/// A place, and what was read there.
pub(super) struct Place<T> {
    pub(super) number: u8,
    value: Option<Value>,
    /// Nothing where there is nothing, and where it does not read.
    pub(super) record: Option<T>,
}

impl<T> Place<T> {
    /// That nobody has taken or left the place since.
    pub(super) fn unchanged(self, key: Key) -> Expect {
        match self.value {
            Some(value) => Expect::Exactly(key, value),
            None => Expect::Absent(key),
        }
    }
}

/// The first of so many places that is free; nothing when all are taken.
pub(super) fn free<T>(taken: &[Place<T>], most: u8) -> Option<Place<T>> {
    let number = (0..most).find(|number| taken.iter().all(|place| place.number != *number))?;
    Some(Place { number, value: None, record: None })
}

impl Call {
    /// The places that are taken.
    pub(super) async fn places<T: DeserializeOwned>(&self, prefix: &Prefix) -> Result<Vec<Place<T>>, Error> {
        let (mut pages, mut taken) = (Pages::new(prefix), Vec::new());
        while let Some(page) = pages.next(self).await? {
            for (key, value) in page {
                let Ok(number) = u8::from_str_radix(prefix.rest(&key), 16) else { continue };
                taken.push(Place { number, record: record::decode(&key, &value).ok(), value: Some(value) });
            }
        }
        Ok(taken)
    }
}
