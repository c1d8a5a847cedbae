//! What a traced server did to its files, read from the log of `strace`.
//!
//! The log has a line for each system call, or two when another thread came in between. A call counts as done at
//! its end; that a sync had begun is told too, because it need not cover what was written after that.

use std::collections::HashMap;
use std::path::PathBuf;

/// What is traced: everything that changes a file or a directory, and what is sent to clients. At the end the
/// directory is compared with what the log makes of it, so that a call that is missing here is found.
pub(crate) const TRACED: &str = "openat,open,creat,close,dup,dup2,dup3,write,pwrite64,writev,pwritev,pwritev2,\
    ftruncate,truncate,fallocate,fsync,fdatasync,sync,syncfs,sync_file_range,msync,rename,renameat,renameat2,link,\
    linkat,symlink,symlinkat,unlink,unlinkat,mkdir,mkdirat,rmdir,copy_file_range,sendfile,splice,sendto,sendmsg";

/// Something that happened, in the order it did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Open {
        fd: i32,
        path: PathBuf,
        create: bool,
        truncate: bool,
    },
    Close {
        fd: i32,
    },
    /// `at` is where, or where the last write to the descriptor ended.
    Write {
        fd: i32,
        at: Option<u64>,
        bytes: Vec<u8>,
    },
    Copy {
        from: i32,
        to: i32,
        length: u64,
    },
    SetLength {
        fd: i32,
        length: u64,
    },
    SyncBegins {
        thread: u32,
        fd: i32,
    },
    SyncEnds {
        thread: u32,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Link {
        from: PathBuf,
        to: PathBuf,
    },
    Unlink {
        path: PathBuf,
    },
    MakeDirectory {
        path: PathBuf,
    },
    /// An answer to a request begins to go out to the client with this port.
    Answer {
        port: u16,
    },
}

/// Reads a log.
pub(crate) fn events(log: &str) -> Vec<Event> {
    let mut events = Vec::new();
    let mut unfinished: HashMap<u32, String> = HashMap::new();
    for line in log.lines() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let (Ok(thread), rest) = (thread.parse::<u32>(), rest.trim_start()) else { continue };
        if rest.starts_with("+++") || rest.starts_with("---") {
            continue;
        }
        if let Some(begun) = rest.strip_suffix("<unfinished ...>") {
            let call = Call::read(begun.trim_end());
            events.extend(call.begins(thread));
            unfinished.insert(thread, begun.trim_end().to_owned());
        } else if let Some(resumed) = rest.strip_prefix("<... ") {
            let begun = unfinished.remove(&thread).unwrap_or_else(|| panic!("nothing to resume: {line:.200}"));
            let end = resumed.split_once("resumed>").map_or("", |(_, end)| end);
            events.extend(Call::read(&format!("{begun}{end}")).ends(thread));
        } else {
            let call = Call::read(rest);
            events.extend(call.begins(thread));
            events.extend(call.ends(thread));
        }
    }
    events
}

/// A system call as the log has it.
struct Call<'l> {
    name: &'l str,
    arguments: Vec<&'l str>,
    /// What it gave back; nothing while it is under way, or when it failed.
    result: Option<i64>,
}

impl<'l> Call<'l> {
    fn read(text: &'l str) -> Self {
        let (name, rest) = text.split_once('(').unwrap_or_else(|| panic!("no call: {text:.200}"));
        // Strings are in hexadecimal, so these signs stand for themselves.
        let (arguments, result) = match rest.rfind(" = ") {
            Some(end) => {
                let result = &rest[end + 3..];
                let number = result.split(['<', ' ']).next().and_then(|number| number.parse().ok());
                (rest[..end].trim_end().trim_end_matches(')'), number.filter(|&result: &i64| result >= 0))
            }
            None => (rest, None),
        };
        Self { name, arguments: split(arguments), result }
    }

    fn argument(&self, index: usize) -> &'l str {
        self.arguments.get(index).copied().unwrap_or_else(|| panic!("{} has no argument {index}", self.name))
    }

    fn fd(&self, index: usize) -> i32 {
        let text = self.argument(index).split('<').next().unwrap_or_default();
        text.parse().unwrap_or_else(|_| panic!("{text} is no descriptor"))
    }

    fn number(&self, index: usize) -> u64 {
        self.argument(index).parse().unwrap_or_else(|_| panic!("{} is no number", self.argument(index)))
    }

    fn path(&self, index: usize) -> PathBuf {
        String::from_utf8(unescaped(self.argument(index))).expect("names of files are text").into()
    }

    /// A path that may be relative to the directory in the argument before it.
    fn path_at(&self, index: usize) -> PathBuf {
        let directory = self.argument(index - 1);
        let name = directory.split_once('<').and_then(|(_, name)| name.strip_suffix('>')).unwrap_or_default();
        let base = String::from_utf8(unescaped(&format!("\"{name}\""))).expect("names of files are text");
        PathBuf::from(base).join(self.path(index))
    }

    /// What is so as soon as the call begins.
    fn begins(&self, thread: u32) -> Option<Event> {
        match self.name {
            "fsync" | "fdatasync" => Some(Event::SyncBegins { thread, fd: self.fd(0) }),
            // Before it has ended, the number may be another thread's already.
            "close" => Some(Event::Close { fd: self.fd(0) }),
            "write" | "writev" | "sendto" | "sendmsg" => {
                let ends = self.argument(0).split_once("<TCP").and_then(|(_, ends)| ends.split_once("->"))?;
                let port = ends.1.trim_end_matches(['>', ']']).rsplit(':').next()?.parse().ok()?;
                self.data().starts_with(b"HTTP/1.1 ").then_some(Event::Answer { port })
            }
            _ => None,
        }
    }

    /// What is so once it has ended well.
    fn ends(&self, thread: u32) -> Option<Event> {
        if matches!(self.name, "fsync" | "fdatasync") {
            assert!(self.result.is_some(), "a sync failed while it was recorded");
            return Some(Event::SyncEnds { thread });
        }
        let result = self.result?;
        Some(match self.name {
            "openat" => {
                let flags = self.argument(2);
                let (create, truncate) = (flags.contains("O_CREAT"), flags.contains("O_TRUNC"));
                assert!(!flags.contains("O_APPEND"), "appending is not told from writing");
                Event::Open { fd: result as i32, path: self.path_at(1), create, truncate }
            }
            "close" => return None,
            "write" | "writev" if self.argument(0).contains("<TCP") => return None,
            "write" | "writev" => Event::Write { fd: self.fd(0), at: None, bytes: self.written(result) },
            "pwrite64" => Event::Write { fd: self.fd(0), at: Some(self.number(3)), bytes: self.written(result) },
            "sendto" | "sendmsg" => return None,
            "copy_file_range" => {
                assert_eq!((self.argument(1), self.argument(3)), ("NULL", "NULL"), "copied from where the files stand");
                Event::Copy { from: self.fd(0), to: self.fd(2), length: result as u64 }
            }
            "ftruncate" => Event::SetLength { fd: self.fd(0), length: self.number(1) },
            "rename" => Event::Rename { from: self.path(0), to: self.path(1) },
            "link" => Event::Link { from: self.path(0), to: self.path(1) },
            "linkat" => Event::Link { from: self.path_at(1), to: self.path_at(3) },
            "unlink" | "rmdir" => Event::Unlink { path: self.path(0) },
            "unlinkat" => Event::Unlink { path: self.path_at(1) },
            "mkdir" => Event::MakeDirectory { path: self.path(0) },
            other => panic!("what does {other} do to the disk? Say it here"),
        })
    }

    /// The bytes that were given to it.
    fn data(&self) -> Vec<u8> {
        let buffers = self.argument(1);
        if !buffers.starts_with('[') {
            return unescaped(buffers);
        }
        buffers.split("iov_base=").skip(1).flat_map(unescaped).collect()
    }

    /// The bytes among them that it took.
    fn written(&self, taken: i64) -> Vec<u8> {
        let mut bytes = self.data();
        assert!(bytes.len() as i64 >= taken, "the log has shortened what was written");
        bytes.truncate(taken as usize);
        bytes
    }
}

/// The arguments of a call.
fn split(text: &str) -> Vec<&str> {
    let mut arguments = Vec::new();
    let (mut depth, mut from) = (0_i32, 0);
    for (i, sign) in text.bytes().enumerate() {
        match sign {
            b'[' | b'{' | b'(' => depth += 1,
            b']' | b'}' | b')' => depth -= 1,
            b',' if depth == 0 => {
                arguments.push(text[from..i].trim());
                from = i + 1;
            }
            _ => {}
        }
    }
    arguments.push(text[from..].trim());
    arguments
}

/// The bytes of a string such as `"\x2f\x61"`.
fn unescaped(text: &str) -> Vec<u8> {
    let text = text.strip_prefix('"').unwrap_or_else(|| panic!("no string: {text:.100}"));
    let text = text.split('"').next().unwrap_or_default();
    let digits = text.split("\\x").skip(1);
    digits.map(|digits| u8::from_str_radix(digits, 16).expect("two digits of a byte")).collect()
}

#[test]
fn calls_are_read_also_when_threads_come_between() {
    let log = r#"7  openat(AT_FDCWD<\x2f>, "\x2f\x61", O_RDWR|O_CREAT|O_CLOEXEC, 0666) = 5<\x2f\x61>
7  pwrite64(5<\x2f\x61>, "\x01\x02", 2, 4096 <unfinished ...>
8  fdatasync(5<\x2f\x61> <unfinished ...>
7  <... pwrite64 resumed>)              = 2
8  <... fdatasync resumed>)             = 0
8  mkdir("\x2f\x62", 0777)              = -1 EEXIST (File exists)
8  writev(9<TCP:[127.0.0.1:80->127.0.0.1:4321]>, [{iov_base="\x48\x54\x54\x50\x2f\x31\x2e\x31\x20\x32", iov_len=10}], 1) = 10
7  +++ killed by SIGKILL +++
"#;
    let expected = [
        Event::Open { fd: 5, path: "/a".into(), create: true, truncate: false },
        Event::SyncBegins { thread: 8, fd: 5 },
        Event::Write { fd: 5, at: Some(4096), bytes: vec![1, 2] },
        Event::SyncEnds { thread: 8 },
        Event::Answer { port: 4321 },
    ];
    assert_eq!(events(log), expected);
}
