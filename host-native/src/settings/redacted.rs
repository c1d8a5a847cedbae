//! URLs as they may be shown: without what logs in.

/// The text without the user and the password that URLs in it have: `https://…@registry.example.com`.
pub(crate) fn redacted(text: &str) -> String {
    rewritten(text, "…@")
}

/// The text without them, as if they had not been written.
pub(crate) fn without_login(text: &str) -> String {
    rewritten(text, "")
}

/// The user whom a URL logs in as, decoded, if it has one.
pub(crate) fn user_of(text: &str) -> Option<String> {
    let url = url::Url::parse(text).ok()?;
    // The sign of a space in forms is itself in a name.
    let encoded = url.username().replace('+', "%2B");
    let decoded = url::form_urlencoded::parse(encoded.as_bytes()).next().map(|(user, _)| user.into_owned());
    decoded.filter(|user| !user.is_empty())
}

fn rewritten(text: &str, instead: &str) -> String {
    let (mut written, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find("//") {
        let (before, url) = rest.split_at(at + 2);
        written.push_str(before);
        let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | ',' | '<' | '>');
        let url_end = url.find(ends).unwrap_or(url.len());
        let authority = url.find(['/', '?', '#']).unwrap_or(url_end).min(url_end);
        // A password with a slash that was not encoded looks like a port and a path.
        let odd = url[..authority]
            .rsplit_once(':')
            .is_some_and(|(host, port)| !host.starts_with('[') && !port.bytes().all(|byte| byte.is_ascii_digit()));
        let end = if odd { url_end } else { authority };
        rest = match url[..end].rfind('@') {
            Some(login) => {
                written.push_str(instead);
                &url[login + 1..]
            }
            None => url,
        };
    }
    written + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_in_a_url_is_not_shown() {
        for (text, shown) in [
            ("https://ci:secret@registry.example.com/v2", "https://…@registry.example.com/v2"),
            ("`http://ci@h:5000`: no", "`http://…@h:5000`: no"),
            ("https://ci:se@cret@h", "https://…@h"),
            ("https://ci:se/cret@h/x", "https://…@h/x"),
            ("a https://x:y@h and http://z@i", "a https://…@h and http://…@i"),
            ("https://h:5000/app@sha256:1", "https://h:5000/app@sha256:1"),
            ("https://[::1]:5000/a@b", "https://[::1]:5000/a@b"),
            ("registry.example.com/team/app:v1", "registry.example.com/team/app:v1"),
            ("///", "///"),
            ("", ""),
        ] {
            assert_eq!(redacted(text), shown);
            assert_eq!(without_login(text), shown.replace("…@", ""));
        }
        assert_eq!(user_of("https://a%2Fb+c:d@h").as_deref(), Some("a/b+c"));
        assert_eq!(user_of("https://:d@h"), None);
        assert_eq!(user_of("https://h"), None);
    }
}
