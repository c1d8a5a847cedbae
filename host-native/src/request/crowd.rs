//! How many there are of each: requests of a client, connections of an address.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

pub(crate) use crate::auth::network::network_of;

/// Those who are there, by name.
#[derive(Clone, Default)]
pub(crate) struct Crowd(Arc<Mutex<HashMap<String, usize>>>);

/// One of them, until this is dropped.
pub(crate) struct Slot {
    crowd: Crowd,
    name: String,
}

impl Crowd {
    /// One more of that name, if there are not `most` already.
    pub(crate) fn enter(&self, name: String, most: usize) -> Option<Slot> {
        let mut there = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = there.entry(name.clone()).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Slot { crowd: self.clone(), name })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut there = self.crowd.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = there.get_mut(&self.name) {
            *count -= 1;
            if *count == 0 {
                there.remove(&self.name);
            }
        }
    }
}
