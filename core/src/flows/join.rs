//! Joining small objects: an upload of very many small chunks becomes a blob of at most a few hundred objects.

use alloc::vec::Vec;

use super::Call;
use crate::config::{JOINED_OBJECT, LARGE_OBJECT, MANY_OBJECTS};
use crate::effect::Join;
use crate::error::Error;
use crate::object::ObjectId;
use crate::record::Extent;

/// Objects that stay as they are, or that are to become one.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Group {
    Stays(Extent),
    Joins(Vec<Extent>),
}

/// What joining has made.
pub(super) struct Joined {
    /// The same bytes in fewer objects.
    pub(super) extents: Vec<Extent>,
    /// Those of them that are new.
    pub(super) made: Vec<ObjectId>,
}

impl Call {
    /// Joins runs of small objects, if there are more objects than a blob should have. `None` when an object is gone.
    pub(super) async fn join(&self, extents: &[Extent]) -> Result<Option<Joined>, Error> {
        let mut joined = Joined { extents: Vec::new(), made: Vec::new() };
        for group in groups(extents, self.config.blob_objects) {
            let from = match group {
                Group::Stays(extent) => {
                    joined.extents.push(extent);
                    continue;
                }
                Group::Joins(from) => from,
            };
            let size = from.iter().map(|extent| extent.size).sum();
            // The object 0 of a call is the body that it received.
            let index = u32::try_from(joined.made.len() + 1).unwrap_or(u32::MAX);
            let into = ObjectId { nonce: self.ambient.nonce, index };
            joined.made.push(into);
            let from = from.iter().map(|extent| extent.object).collect();
            match self.io.ask(Join { from, into }).await {
                Ok(true) => joined.extents.push(Extent { object: into, size, small: false }),
                Ok(false) => {
                    self.erase_later(joined.made);
                    return Ok(None);
                }
                Err(fault) => {
                    self.erase_later(joined.made);
                    return Err(fault.into());
                }
            }
        }
        Ok(Some(joined))
    }
}

/// Which objects are to be joined: none while there are `few`, else runs of those that are not large, so that what is
/// copied is little and a blob has some hundred objects, or few thousand when it is huge.
fn groups(extents: &[Extent], few: usize) -> Vec<Group> {
    if extents.len() <= few {
        return extents.iter().copied().map(Group::Stays).collect();
    }
    let size: u64 = extents.iter().map(|extent| extent.size).sum();
    let large = LARGE_OBJECT.max(size / MANY_OBJECTS);
    let enough = (size / few.max(1) as u64).min(JOINED_OBJECT).max(large);
    let mut groups = Vec::new();
    let mut run = Vec::new();
    let mut run_size = 0;
    for extent in extents {
        let stays = extent.small || extent.size >= large;
        if !stays {
            run.push(*extent);
            run_size += extent.size;
        }
        if stays || run_size >= enough {
            groups.extend(Group::of(core::mem::take(&mut run)));
            run_size = 0;
        }
        if stays {
            groups.push(Group::Stays(*extent));
        }
    }
    groups.extend(Group::of(run));
    groups
}

impl Group {
    fn of(run: Vec<Extent>) -> Option<Self> {
        match run.as_slice() {
            [] => None,
            [single] => Some(Self::Stays(*single)),
            _ => Some(Self::Joins(run)),
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const FEW: usize = 256;

    fn extents(sizes: impl IntoIterator<Item = u64>) -> Vec<Extent> {
        let sized = sizes.into_iter().enumerate();
        sized.map(|(number, size)| extent(number, size)).collect()
    }

    fn extent(number: usize, size: u64) -> Extent {
        Extent { object: ObjectId::received_by(Uuid::from_u128(number as u128)), size, small: false }
    }

    fn flat(groups: &[Group]) -> Vec<Extent> {
        let of = |group: &Group| match group {
            Group::Stays(extent) => [*extent].into(),
            Group::Joins(run) => run.clone(),
        };
        groups.iter().flat_map(of).collect()
    }

    #[test]
    fn few_objects_stay_as_they_are() {
        let few = extents((0..FEW as u64).map(|_| 1));
        assert!(groups(&few, FEW).iter().all(|group| matches!(group, Group::Stays(_))));
    }

    #[test]
    fn many_small_objects_become_few_in_the_same_order() {
        for count in [FEW + 1, 4 * FEW, 10_000, 65_536] {
            let many = extents((0..count as u64).map(|number| (1 << 20) - number % 7));
            let groups = groups(&many, FEW);
            assert_eq!(flat(&groups), many);
            assert!(groups.len() <= 4 * FEW + 1, "{count} objects become {}", groups.len());
            assert!(groups.iter().all(|group| !matches!(group, Group::Joins(run) if run.len() < 2)));
        }
    }

    #[test]
    fn no_more_is_joined_than_makes_few_objects() {
        // 4 GiB in chunks of 1 MiB: objects of 16 MiB are as many as a blob should have.
        let many = extents((0..4096).map(|_| 1 << 20));
        let groups = groups(&many, FEW);
        assert_eq!(groups.len(), FEW);
        assert!(groups.iter().all(|group| matches!(group, Group::Joins(run) if run.len() == 16)));
    }

    #[test]
    fn a_small_object_between_large_ones_is_not_copied() {
        let many = extents((0..600).map(|number| if number % 2 == 0 { LARGE_OBJECT } else { 1 }));
        let groups = groups(&many, FEW);
        assert_eq!(flat(&groups), many);
        assert!(groups.iter().all(|group| matches!(group, Group::Stays(_))));
    }

    #[test]
    fn large_objects_and_bytes_in_records_are_not_copied() {
        // As if a client sent a large chunk between a hundred small ones, again and again.
        let mut many = extents((0..40_400).map(|number| if number % 101 == 0 { LARGE_OBJECT } else { 1 }));
        many[1].small = true;
        let groups = groups(&many, FEW);
        assert_eq!(flat(&groups), many);
        assert!(groups.len() <= 2 * 400 + 2, "{}", groups.len());
        for group in &groups {
            if let Group::Joins(run) = group {
                assert!(run.iter().all(|extent| extent.size == 1 && !extent.small));
            }
        }
    }

    #[test]
    fn a_blob_has_few_thousand_objects_whatever_its_size() {
        let huge = extents((0..65_536).map(|_| LARGE_OBJECT));
        assert!(groups(&huge, FEW).len() as u64 <= MANY_OBJECTS + 1);
    }
}
