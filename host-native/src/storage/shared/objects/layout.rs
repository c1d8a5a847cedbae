//! How objects are named in a store: so that their names sort as objects do.

use object_store::path::{Path, PathPart};
use orlop_core::object::ObjectId;

/// Where the objects of a registry are in a store.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    directory: Path,
}

impl Layout {
    /// Objects under a path.
    pub(super) fn new(prefix: &Path) -> Self {
        Self { directory: prefix.clone().join("objects") }
    }

    /// What all names begin with.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The name of an object: its nonce, and its index in a fixed number of digits when that is not 0.
    pub(super) fn path(&self, object: &ObjectId) -> Path {
        let name = match object.index {
            0 => object.nonce.to_string(),
            index => format!("{}.{index:08x}", object.nonce),
        };
        self.directory.clone().join(PathPart::from(name))
    }

    /// The object of a name; nothing if it is none.
    pub(super) fn object(&self, path: &Path) -> Option<ObjectId> {
        let name = path.filename()?;
        let (nonce, index) = name.split_once('.').unwrap_or((name, "0"));
        let object = ObjectId { nonce: nonce.parse().ok()?, index: u32::from_str_radix(index, 16).ok()? };
        (self.path(&object) == *path).then_some(object)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn names_sort_as_objects_do_and_are_read_back() {
        let layout = Layout::new(&Path::from("a/b"));
        let mut objects: Vec<ObjectId> =
            [(1, 0), (1, 1), (1, 2), (1, 10), (1, u32::MAX), (2, 0), (1 << 120, 3), (u128::MAX, 0)]
                .map(|(nonce, index)| ObjectId { nonce: Uuid::from_u128(nonce), index })
                .into();
        objects.sort();
        let names: Vec<Path> = objects.iter().map(|object| layout.path(object)).collect();
        assert!(names.is_sorted(), "{names:?}");
        assert_eq!(names.iter().map(|name| layout.object(name)).collect::<Option<Vec<_>>>(), Some(objects));
        for other in ["a/b/objects/note", "a/b/objects/00000000-0000-0000-0000-000000000001.1", "x"] {
            assert_eq!(layout.object(&Path::from(other)), None, "{other}");
        }
    }
}
