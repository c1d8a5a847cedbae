//! Names and passwords in an `Authorization` field (RFC 7617).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The longest name and password together, encoded, in bytes: that of an identity token is no person's.
const LONGEST: usize = 28 << 10;

/// The name and the password. Base64 of what is no UTF-8 or has no colon is nobody's.
pub(super) fn parse(credentials: &str) -> Option<(String, String)> {
    let credentials = credentials.trim();
    if credentials.len() > LONGEST {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(credentials).ok()?).ok()?;
    let (name, password) = text.split_once(':')?;
    // A name with such a character would forge lines of a log and fields of a password file.
    let plain = |text: &str| !text.chars().any(char::is_control);
    (plain(name) && plain(password)).then(|| (name.into(), password.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_name_and_password_is_nobodys() {
        let of = |text: &str| parse(&STANDARD.encode(text));
        assert_eq!(of("alice:se:cret"), Some(("alice".into(), "se:cret".into())));
        assert_eq!(of(":"), Some((String::new(), String::new())));
        assert_eq!(of("alice"), None);
        assert_eq!(of("al\nice:x"), None);
        assert_eq!(parse("%%%"), None);
        assert_eq!(parse(&STANDARD.encode(b"\xff\xfe:x")), None);
        assert_eq!(of(&"x".repeat(5000)), None);
    }
}
