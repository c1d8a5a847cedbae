//! Writing a file in pieces of a size that costs least.

use std::fs::File;
use std::io::{self, IoSlice, Write};

/// How many bytes are written at once at most. A file gets its memory in pieces as large as the writes. In a virtual
/// machine that gives free memory back to its host, pieces of a MiB are what it has given back: to get them again costs
/// up to six times what writing costs.
const WRITE: usize = 256 << 10;

/// Writes all of these bytes where the file stands.
pub(in crate::storage) fn write_all(mut file: &File, pieces: &[impl AsRef<[u8]>]) -> io::Result<()> {
    let parts = pieces.iter().flat_map(|piece| piece.as_ref().chunks(WRITE));
    let mut parts = parts.map(IoSlice::new).peekable();
    while parts.peek().is_some() {
        let mut length = 0;
        let mut fits = |part: &IoSlice<'_>| {
            length += part.len();
            length <= WRITE
        };
        let mut together: Vec<_> = std::iter::from_fn(|| parts.next_if(&mut fits)).collect();
        let mut left = together.as_mut_slice();
        while !left.is_empty() {
            match file.write_vectored(left) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => IoSlice::advance_slices(&mut left, written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}
