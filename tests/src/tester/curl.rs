//! What was said to a registry, as shell lines with curl that say it again.
//!
//! Session URLs differ from run to run, so a `Location` that is used later becomes a variable of the shell.

use std::fmt::Write as _;

use super::exchange::{Answer, Exchange, Payload, Unreachable};

/// Runs of one byte longer than this are made by a command instead of written out.
const RUN: usize = 200;

/// The lines that say these exchanges again to the registry at `base`, with what came as comments.
pub fn script(base: &str, record: &[(Exchange, Result<Answer, Unreachable>)]) -> String {
    let mut lines = format!("R={base}\n");
    let posts = record.iter().any(|(exchange, _)| exchange.method == "POST");
    if posts {
        let _ = writeln!(
            lines,
            "location() {{ tr -d '\\r' | sed -n \"s#^[Ll]ocation: */#$R/#p; s#^[Ll]ocation: *http#http#p\"; }}"
        );
    }
    let used = |n: usize, location: &str| {
        !location.is_empty() && record[n + 1..].iter().any(|(later, _)| later.target.starts_with(location))
    };
    // (what the Location was, the variable that holds it)
    let mut known: Vec<(String, String)> = Vec::new();
    for (n, (exchange, answer)) in record.iter().enumerate() {
        let location = answer.as_ref().ok().and_then(|answer| answer.header("Location")).unwrap_or_default();
        let keep = exchange.method != "GET"
            && used(n, location)
            && location.contains("/blobs/uploads/")
            && !known.iter().any(|(text, _)| text == location);
        let command = command(exchange, &known);
        let came = match answer {
            Ok(answer) if answer.status == 0 => "cut off".to_owned(),
            // Only the last answer matters in full.
            Ok(answer) if n + 1 < record.len() => answer.status.to_string(),
            Ok(answer) => brief(answer),
            Err(error) => error.to_string(),
        };
        if keep {
            let variable = format!("L{}", known.len() + 1);
            let _ = writeln!(lines, "{variable}=$({command} | location)");
            known.push((location.to_owned(), variable));
        } else {
            let _ = writeln!(lines, "{command}");
        }
        let _ = writeln!(lines, "# came: {came}");
    }
    lines
}

fn brief(answer: &Answer) -> String {
    let mut line = answer.to_string().replace(['\n', '\r'], " ");
    if line.len() > 240 {
        let end = (0..=240).rev().find(|end| line.is_char_boundary(*end)).unwrap_or_default();
        line.truncate(end);
        line.push('…');
    }
    line
}

fn command(exchange: &Exchange, known: &[(String, String)]) -> String {
    let mut line = String::from("curl -sS -i");
    let path_is_odd = exchange.target.contains("..") || exchange.target.contains("//");
    if path_is_odd && !exchange.target.starts_with("http") {
        line.push_str(" --path-as-is");
    }
    match exchange.method.as_str() {
        "GET" => {}
        "HEAD" => line.push_str(" --head"),
        method => {
            let _ = write!(line, " -X {method}");
        }
    }
    let named = |name: &str| exchange.headers.iter().any(|(given, _)| given.eq_ignore_ascii_case(name));
    for (name, value) in &exchange.headers {
        let _ = write!(line, " -H {}", quote(&format!("{name}: {value}")));
    }
    if exchange.target.contains("/manifests/") && !named("accept") && matches!(exchange.method.as_str(), "GET" | "HEAD")
    {
        line.push_str(" -H 'Accept:'");
    }
    let mut before = String::new();
    if exchange.body != Payload::None {
        if !named("content-type") {
            line.push_str(" -H 'Content-Type:'");
        }
        match &exchange.body {
            Payload::Chunked(_) => line.push_str(" -H 'Transfer-Encoding: chunked'"),
            // curl would wait for bytes that never come: end it.
            Payload::Cut(_, promised) => {
                let _ = write!(line, " --max-time 2 -H 'Content-Length: {promised}'");
            }
            _ => {}
        }
        let bytes = exchange.body.bytes();
        if bytes.len() > 1000 {
            line.push_str(" -H 'Expect:'");
        }
        match plain(bytes) {
            Some(text) => {
                let _ = write!(line, " --data-binary {}", quote(text));
            }
            None => {
                before = format!("{{ {}; }} | ", pieces(bytes).join("; "));
                line.push_str(" --data-binary @-");
            }
        }
    }
    let target = &exchange.target;
    let url = match known.iter().rev().find(|(location, _)| target.starts_with(location.as_str())) {
        Some((location, variable)) => format!("\"${variable}{}\"", &target[location.len()..]),
        None if target.starts_with("http") => quote(target),
        None => format!("\"$R{}\"", target.replace('$', "\\$").replace('"', "\\\"").replace('`', "\\`")),
    };
    format!("{before}{line} {url}")
}

/// The bytes, if they can stand in a line as they are.
fn plain(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    let short = !text.starts_with('@') && text.chars().all(|c| !c.is_control()) && longest_run(bytes) < RUN;
    (short && text.len() < 4000).then_some(text)
}

fn longest_run(bytes: &[u8]) -> usize {
    bytes.chunk_by(|a, b| a == b).map(<[u8]>::len).max().unwrap_or_default()
}

/// Commands that print the bytes, one after the other.
fn pieces(bytes: &[u8]) -> Vec<String> {
    let mut pieces = Vec::new();
    let mut text = Vec::new();
    let flush = |text: &mut Vec<u8>, pieces: &mut Vec<String>| {
        if !text.is_empty() {
            let mut escaped = String::new();
            for byte in text.drain(..) {
                match byte {
                    b'\\' => escaped.push_str("\\\\"),
                    b'%' => escaped.push_str("%%"),
                    b'\'' => escaped.push_str("\\047"),
                    b' '..=b'~' => escaped.push(char::from(byte)),
                    _ => drop(write!(escaped, "\\{byte:03o}")),
                }
            }
            pieces.push(format!("printf -- '{escaped}'"));
        }
    };
    for run in bytes.chunk_by(|a, b| a == b) {
        if run.len() < RUN {
            text.extend_from_slice(run);
        } else {
            flush(&mut text, &mut pieces);
            pieces.push(format!("head -c {} /dev/zero | tr '\\0' '\\{:03o}'", run.len(), run[0]));
        }
    }
    flush(&mut text, &mut pieces);
    pieces
}

fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, location: Option<&str>) -> Answer {
        let headers = location.map(|location| ("location".to_owned(), location.to_owned()));
        Answer { status, headers: headers.into_iter().collect(), body: bytes::Bytes::new() }
    }

    #[test]
    fn a_session_becomes_a_variable_and_its_parameters_stay() {
        let url = "/v2/a/blobs/uploads/1?_state=x";
        let record = [
            (Exchange::new("POST", "/v2/a/blobs/uploads/").body(""), Ok(answer(202, Some(url)))),
            (Exchange::new("PATCH", url).chunked("it's"), Ok(answer(202, Some(url)))),
            (Exchange::new("PUT", format!("{url}&digest=d")).body(""), Ok(answer(201, None))),
        ];
        let script = script("http://r", &record);
        let lines: Vec<&str> = script.lines().filter(|line| !line.starts_with(['#', 'l'])).collect();
        assert!(
            lines[1]
                .starts_with("L1=$(curl -sS -i -X POST -H 'Content-Type:' --data-binary '' \"$R/v2/a/blobs/uploads/\"")
        );
        assert_eq!(
            lines[2],
            "curl -sS -i -X PATCH -H 'Content-Type:' -H 'Transfer-Encoding: chunked' --data-binary 'it'\\''s' \"$L1\""
        );
        assert!(lines[3].ends_with("--data-binary '' \"$L1&digest=d\""));
    }

    #[test]
    fn long_bodies_are_made_by_commands() {
        let body = format!("{{\"a\":\"{}\"}}", "x".repeat(5000));
        let line = command(&Exchange::new("PUT", "/v2/a/manifests/v").header("Content-Type", "t").body(body), &[]);
        assert_eq!(
            line,
            "{ printf -- '{\"a\":\"'; head -c 5000 /dev/zero | tr '\\0' '\\170'; printf -- '\"}'; } | \
             curl -sS -i -X PUT -H 'Content-Type: t' -H 'Expect:' --data-binary @- \"$R/v2/a/manifests/v\""
        );
    }
}
