//! The password file: a line a user, `name:hash`, as Apache's `htpasswd -B` and `orlop user` write it.

use std::collections::HashMap;

use argon2::password_hash::PasswordHasher;
use argon2::password_hash::phc::{Output, PasswordHash};
use argon2::{Argon2, Block, Params, Version};

/// What bcrypt is to cost for a new password: some 150 ms on a server of today.
const BCRYPT_COST: u32 = 11;

/// The users of a file.
#[derive(Debug, Default)]
pub(super) struct Users {
    hashes: HashMap<String, Hash>,
    /// One hash of each kind.
    kinds: HashMap<Kind, Hash>,
}

/// What tells how long a hash takes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Kind {
    /// By its cost.
    Bcrypt(u32),
    /// By its memory, passes and lanes.
    Argon2(u32, u32, u32),
}

/// How a password is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hash(String);

/// What argon2 fills, for one hash after the other: some 20 MiB, which are not to be asked of the system for each.
#[derive(Default)]
pub(super) struct Memory(Vec<Block>);

impl Users {
    /// Reads a file. Empty lines and those that begin with `#` say nothing.
    ///
    /// # Errors
    ///
    /// With the line that is wrong, and what would be right.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "it is no text in UTF-8".to_owned())?;
        let mut hashes = HashMap::new();
        for (number, line) in text.lines().map(str::trim).enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |reason: &str| format!("line {}: {reason}", number + 1);
            let (name, hash) = line.split_once(':').ok_or_else(|| wrong("a line is NAME:HASH"))?;
            check_name(name).map_err(|reason| wrong(&reason))?;
            let hash = Hash::parse(hash).map_err(|reason| wrong(&format!("the password of `{name}` {reason}")))?;
            if hashes.insert(name.to_owned(), hash).is_some() {
                return Err(wrong(&format!("the user `{name}` is there twice")));
            }
        }
        let kinds = hashes.values().filter_map(|hash| Some((hash.kind()?, hash.clone()))).collect();
        Ok(Self { hashes, kinds })
    }

    /// The names of all users, in no order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.hashes.keys().map(String::as_str)
    }

    /// How the password of a user is kept.
    pub(super) fn get(&self, name: &str) -> Option<&Hash> {
        self.hashes.get(name)
    }

    /// Whether this is the password of that user. To find that it is not takes equally long for each name.
    pub(super) fn check(&self, name: &str, password: &str, memory: &mut Memory) -> bool {
        let own = self.get(name);
        for hash in self.hashed(name) {
            let matches = hash.matches(password, memory);
            if matches && own.is_some_and(|own| own == hash) {
                return true;
            }
        }
        false
    }

    /// What a wrong password is held against: one hash of each kind in the file, that of the user first. It is as much
    /// work whether there is such a user or not, and however its password is kept.
    fn hashed(&self, name: &str) -> impl Iterator<Item = &Hash> {
        let own = self.get(name);
        let done = own.and_then(Hash::kind);
        let others = self.kinds.iter().filter(move |(kind, _)| Some(*kind) != done.as_ref()).map(|(_, hash)| hash);
        own.into_iter().chain(others)
    }
}

/// Whether a user may have that name.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    let odd = |c: char| c.is_control() || c.is_whitespace() || matches!(c, ':' | '#');
    if name.is_empty() || name.len() > 255 || name.chars().any(odd) {
        return Err("a name has 1 to 255 bytes, no spaces, and neither `:` nor `#`".into());
    }
    Ok(())
}

impl Hash {
    fn parse(text: &str) -> Result<Self, String> {
        let whole = |hash: PasswordHash| hash.salt.is_some() && hash.hash.is_some() && Params::try_from(&hash).is_ok();
        let bcrypt = ["$2y$", "$2b$", "$2a$"].iter().any(|kind| text.starts_with(kind));
        let sound =
            if bcrypt { text.parse::<bcrypt::HashParts>().is_ok() } else { PasswordHash::new(text).is_ok_and(whole) };
        match sound {
            true if bcrypt || text.starts_with("$argon2") => Ok(Self(text.into())),
            false if bcrypt || text.starts_with("$argon2") => Err("is damaged".into()),
            _ => Err("is hashed in a way that can be guessed; set it anew with `orlop user passwd`".into()),
        }
    }

    /// Hashes a password, with argon2id, or with bcrypt if others are to read the file.
    pub(super) fn make(password: &str, bcrypt: bool) -> Result<Self, String> {
        if bcrypt {
            // More than 72 bytes bcrypt does not look at.
            return bcrypt::non_truncating_hash(password, BCRYPT_COST).map(Self).map_err(|error| error.to_string());
        }
        let hash = Argon2::default().hash_password(password.as_bytes()).map_err(|error| error.to_string())?;
        Ok(Self(hash.to_string()))
    }

    fn kind(&self) -> Option<Kind> {
        if self.0.starts_with("$2") {
            return Some(Kind::Bcrypt(self.0.parse::<bcrypt::HashParts>().ok()?.get_cost()));
        }
        let params = Params::try_from(&PasswordHash::new(&self.0).ok()?).ok()?;
        Some(Kind::Argon2(params.m_cost(), params.t_cost(), params.p_cost()))
    }

    /// Whether this is the password. It takes long, as it should.
    pub(super) fn matches(&self, password: &str, memory: &mut Memory) -> bool {
        if self.0.starts_with("$2") {
            return bcrypt::verify(password, &self.0).unwrap_or(false);
        }
        self.argon2(password, memory).unwrap_or(false)
    }

    fn argon2(&self, password: &str, Memory(blocks): &mut Memory) -> Option<bool> {
        let hash = PasswordHash::new(&self.0).ok()?;
        let (salt, expected) = (hash.salt?, hash.hash?);
        let params = Params::try_from(&hash).ok()?;
        let version = hash.version.map_or(Ok(Version::default()), Version::try_from).ok()?;
        let algorithm = argon2::Algorithm::try_from(hash.algorithm.as_str()).ok()?;
        let needed = params.block_count();
        if blocks.len() < needed {
            blocks.clear();
            blocks.try_reserve_exact(needed).ok()?;
            blocks.resize(needed, Block::new());
        }
        let mut found = vec![0; expected.len()];
        let argon2 = Argon2::new(algorithm, version, params);
        argon2.hash_password_into_with_memory(password.as_bytes(), &salt, &mut found, &mut blocks[..]).ok()?;
        // It is compared in constant time.
        Some(Output::new(&found).ok()? == expected)
    }

    /// The hash as it is written.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by crypt(3) of Debian, as Apache's htpasswd does.
    const APACHE: &str = "alice:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a";

    fn matches(hash: &Hash, password: &str) -> bool {
        hash.matches(password, &mut Memory::default())
    }

    #[test]
    fn what_was_made_is_recognised() {
        for bcrypt in [true, false] {
            let hash = Hash::make("secret", bcrypt).unwrap();
            assert!(matches(&hash, "secret") && !matches(&hash, "Secret") && !matches(&hash, ""));
            let users = Users::parse(format!("# users\n\nalice:{}\n", hash.as_str()).as_bytes()).unwrap();
            assert!(users.get("alice").is_some_and(|hash| matches(hash, "secret")));
            assert!(users.get("bob").is_none());
        }
        let users = Users::parse(APACHE.as_bytes()).unwrap();
        let alice = users.get("alice").unwrap();
        assert!(matches(alice, "secret") && !matches(alice, "Secret"));
    }

    /// Memory is used again, also by hashes that need more of it, or less.
    #[test]
    fn memory_that_was_used_before_changes_no_answer() {
        let mut memory = Memory::default();
        for (kibibytes, lanes) in [(64, 1), (256, 4), (8, 1), (128, 2)] {
            let params = Params::new(kibibytes, 2, lanes, None).unwrap();
            let hash = Argon2::from(params).hash_password(b"secret").unwrap();
            let hash = Hash::parse(&hash.to_string()).unwrap();
            assert!(hash.matches("secret", &mut memory) && !hash.matches("Secret", &mut memory), "{kibibytes}");
            assert!(hash.matches("secret", &mut Memory::default()), "{kibibytes}");
        }
    }

    #[test]
    fn a_wrong_password_costs_the_same_whoever_it_is_said_to_be_of() {
        let argon2 = |kibibytes| {
            Argon2::from(Params::new(kibibytes, 2, 1, None).unwrap()).hash_password(b"secret").unwrap().to_string()
        };
        let hashes = [argon2(64), argon2(64), argon2(32), bcrypt::hash("secret", 4).unwrap()];
        let lines = hashes.iter().enumerate().map(|(user, hash)| format!("user{user}:{hash}\n"));
        let users = Users::parse(lines.collect::<String>().as_bytes()).unwrap();
        for name in ["user0", "user1", "user2", "user3", "nobody"] {
            let kinds: Vec<Kind> = users.hashed(name).map(|hash| hash.kind().unwrap()).collect();
            assert_eq!(kinds.len(), 3, "{name}: {kinds:?}");
            for kind in [Kind::Argon2(64, 2, 1), Kind::Argon2(32, 2, 1), Kind::Bcrypt(4)] {
                assert!(kinds.contains(&kind), "{name}: {kinds:?}");
            }
            assert_eq!(users.check(name, "secret", &mut Memory::default()), name != "nobody");
            assert!(!users.check(name, "Secret", &mut Memory::default()), "{name}");
        }
        assert_eq!(users.hashed("user3").next(), users.get("user3"), "a right password is not held up");
    }

    #[test]
    fn what_is_weak_or_damaged_is_refused_with_its_line() {
        let refused = |text: &str, expected: &str| {
            let told = Users::parse(text.as_bytes()).unwrap_err();
            assert!(told.contains(expected), "{told}");
        };
        refused("\nbob:$apr1$abc$def", "line 2: the password of `bob` is hashed in a way");
        refused("bob:{SHA}VBPuJHI7uixaa6LQGWx4s+5GKNE=", "in a way");
        refused("bob:secret", "in a way");
        refused("bob:$2y$05$short", "damaged");
        refused("bob:$argon2id$v=19$m=1", "damaged");
        refused("bob", "NAME:HASH");
        refused(&format!("{APACHE}\n{APACHE}"), "line 2: the user `alice` is there twice");
    }
}
