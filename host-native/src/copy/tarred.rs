//! Where in an archive (tar) which file is. An archive may be anybody's: what is read of it to find that out is bounded.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};

use tar::{EntryType, Header, PaxExtensions};

/// The size of a header, of which sizes in an archive are multiples.
const BLOCK: u64 = 512;

/// How large what stands before an entry may be: a long name, or further fields.
const EXTENSION: u64 = 1 << 20;

/// How many links are followed from one to the next.
const LINKS: usize = 8;

/// How files begin that are compressed, by what, and what decompresses them.
const COMPRESSED: [(&[u8], &str, &str); 4] = [
    (&[0x1f, 0x8b], "gzip", "gunzip"),
    (&[0x28, 0xb5, 0x2f, 0xfd], "zstd", "unzstd"),
    (&[0xfd, b'7', b'z', b'X', b'Z'], "xz", "unxz"),
    (b"BZh", "bzip2", "bunzip2"),
];

/// Offset and length of each file by its name. Links lead to the file that they name.
///
/// # Errors
///
/// When it cannot be read, is cut off, or is no archive that is not compressed.
pub(super) fn entries(file: &File) -> io::Result<HashMap<String, (u64, u64)>> {
    let mut magic = [0; 8];
    let read = file.read_at(&mut magic, 0)?;
    if let Some((_, how, tool)) = COMPRESSED.iter().find(|(begins, ..)| magic[..read].starts_with(begins)) {
        return Err(wrong(format!("it is compressed by {how}: decompress it first, for example by {tool}")));
    }
    let length = file.metadata()?.len();
    let (mut files, mut links) = (HashMap::new(), HashMap::new());
    let (mut at, mut before) = (0, Before::default());
    while at < length {
        let mut block = [0; BLOCK as usize];
        if at + BLOCK > length {
            return Err(if at == 0 { no_archive() } else { wrong("it is cut off".into()) });
        }
        file.read_exact_at(&mut block, at)?;
        if block.iter().all(|byte| *byte == 0) {
            break;
        }
        let header = Header::from_byte_slice(&block);
        if !is_sound(header) {
            return Err(if at == 0 { no_archive() } else { wrong(format!("at the byte {at} there is no header")) });
        }
        let kind = header.entry_type();
        let is_extension = matches!(
            kind,
            EntryType::GNULongName | EntryType::GNULongLink | EntryType::XHeader | EntryType::XGlobalHeader
        );
        let size = if is_extension { header.entry_size()? } else { before.size.unwrap_or(header.entry_size()?) };
        let data = at + BLOCK;
        let next = size.checked_next_multiple_of(BLOCK).and_then(|size| data.checked_add(size));
        if is_extension {
            if size > EXTENSION {
                return Err(wrong(format!("a name in it has {size} bytes; {EXTENSION} at most are read")));
            }
            let mut bytes = vec![0; usize::try_from(size).unwrap_or_default()];
            file.read_exact_at(&mut bytes, data).map_err(|_| wrong("it is cut off".into()))?;
            before.add(kind, bytes)?;
        } else {
            let said = std::mem::take(&mut before);
            let name = plain(&said.name.map_or_else(|| header.path().map(|path| path.into_owned()), |n| Ok(n.into()))?);
            let to: Option<PathBuf> = match said.link {
                Some(link) => Some(link.into()),
                None => header.link_name()?.map(|link| link.into_owned()),
            };
            match (kind, to) {
                (EntryType::Regular | EntryType::Continuous, _) => {
                    if data.checked_add(size).is_none_or(|end| end > length) {
                        return Err(wrong(format!("it is cut off: it ends within {}", name.escape_debug())));
                    }
                    files.insert(name, (data, size));
                }
                (EntryType::GNUSparse, _) => {
                    return Err(wrong("it has sparse files: pack it without --sparse".into()));
                }
                (EntryType::Symlink, Some(to)) => {
                    let beside = Path::new(&name).parent().unwrap_or(Path::new("")).join(to);
                    links.insert(name, plain(&beside));
                }
                (EntryType::Link, Some(to)) => {
                    links.insert(name, plain(&to));
                }
                _ => {}
            }
        }
        at = next.ok_or_else(|| wrong("it is cut off".into()))?;
    }
    for (name, first) in &links {
        let mut to = first;
        for _ in 0..LINKS {
            match links.get(to) {
                Some(next) => to = next,
                None => break,
            }
        }
        if let Some(&place) = files.get(to) {
            files.insert(name.clone(), place);
        }
    }
    Ok(files)
}

/// What stands before an entry and is about it.
#[derive(Default)]
struct Before {
    name: Option<String>,
    link: Option<String>,
    size: Option<u64>,
}

impl Before {
    fn add(&mut self, kind: EntryType, mut bytes: Vec<u8>) -> io::Result<()> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match kind {
            EntryType::GNULongName | EntryType::GNULongLink => {
                bytes.truncate(bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len()));
                let into = if kind == EntryType::GNULongName { &mut self.name } else { &mut self.link };
                *into = Some(text(&bytes));
            }
            EntryType::XHeader => {
                for field in PaxExtensions::new(&bytes) {
                    let field = field?;
                    match field.key_bytes() {
                        b"path" => self.name = Some(text(field.value_bytes())),
                        b"linkpath" => self.link = Some(text(field.value_bytes())),
                        b"size" => {
                            let size = text(field.value_bytes()).parse();
                            self.size = Some(size.map_err(|_| wrong("a size in it is no number".into()))?);
                        }
                        _ => {}
                    }
                }
            }
            // What is said of all entries: neither name nor size.
            _ => {}
        }
        Ok(())
    }
}

/// Whether a header has the sum that it says.
fn is_sound(header: &Header) -> bool {
    let bytes = header.as_bytes();
    let blank = [b' '; 8];
    let sum: u32 = bytes[..148].iter().chain(&blank).chain(&bytes[156..]).map(|byte| u32::from(*byte)).sum();
    header.cksum().is_ok_and(|said| said == sum)
}

fn wrong(reason: String) -> io::Error {
    io::Error::other(reason)
}

fn no_archive() -> io::Error {
    wrong("it is no archive (tar)".into())
}

/// A path without `.` and `..`, as names in archives are compared. Nothing is opened by it.
fn plain(path: &Path) -> String {
    let mut parts = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => parts.push(part.to_string_lossy().into_owned()),
            Component::ParentDir => {
                parts.pop();
            }
            _ => {}
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(archive: &[u8]) -> io::Result<HashMap<String, (u64, u64)>> {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(archive, 0).unwrap();
        entries(&file)
    }

    fn header(kind: EntryType, size: u64, name: &str) -> Header {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_path(name).unwrap();
        header.set_cksum();
        header
    }

    /// As GNU tar, and others by POSIX, write names that are longer than a header has room for.
    #[test]
    fn files_are_found_by_short_and_long_names_and_by_links() {
        let long = "blobs/".repeat(60) + "x";
        let mut archive = tar::Builder::new(Vec::new());
        archive.append_data(&mut header(EntryType::Regular, 3, "a"), "./a", &b"one"[..]).unwrap();
        archive.append_data(&mut header(EntryType::Regular, 3, "a"), &long, &b"two"[..]).unwrap();
        let mut link = header(EntryType::Symlink, 0, "d/link");
        archive.append_link(&mut link, "d/link", "../a").unwrap();
        archive.append_pax_extensions([("path", long.as_bytes()), ("size", b"5")]).unwrap();
        archive.append(&header(EntryType::Regular, 0, "short"), &b"three"[..]).unwrap();
        let bytes = archive.into_inner().unwrap();
        let found = read(&bytes).unwrap();
        assert_eq!(found["a"], (512, 3));
        assert_eq!(found["d/link"], found["a"]);
        let (at, size) = found[&long];
        assert_eq!(
            (&bytes[at as usize..][..5], size),
            (&b"three"[..], 5),
            "the later one, with the size of its fields"
        );
    }

    /// A name of 3 GiB costs an archive nothing, in a file with a hole.
    #[test]
    fn what_stands_before_an_entry_is_not_read_when_it_is_too_large() {
        for kind in [EntryType::GNULongName, EntryType::GNULongLink, EntryType::XHeader, EntryType::XGlobalHeader] {
            let file = tempfile::tempfile().unwrap();
            file.set_len(3 << 30).unwrap();
            file.write_all_at(header(kind, (3 << 30) - 1024, "x").as_bytes(), 0).unwrap();
            let told = entries(&file).unwrap_err().to_string();
            assert!(told.contains("bytes; 1048576 at most are read"), "{told}");
        }
    }

    #[test]
    fn what_is_no_archive_is_told_with_what_to_do() {
        let mut cut = header(EntryType::Regular, 10, "a").as_bytes().to_vec();
        cut.extend(b"123");
        for (bytes, expected) in [
            (&b"no archive at all"[..], "it is no archive (tar)"),
            (&[b'x'; 1024], "it is no archive (tar)"),
            (&[0x1f, 0x8b, 8, 0], "compressed by gzip"),
            (&[0x28, 0xb5, 0x2f, 0xfd, 0], "compressed by zstd: decompress it first, for example by unzstd"),
            (&cut, "it is cut off: it ends within a"),
        ] {
            let told = read(bytes).unwrap_err().to_string();
            assert!(told.contains(expected), "{told}");
        }
        assert!(read(&[0; 1024]).unwrap().is_empty());
    }
}
