//! Requests, each made of the registry and of its model at the same time.

use std::collections::BTreeSet;
use std::fmt;

use orlop_core::Response;
use orlop_core::memory::RequestBody;
use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{CONTENT, WORLD, World, get_content, text, usual, with_fields};
use crate::image::{DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, sha256};
use crate::system::{self, Call, System, get, head, patch, put};

/// SPEC C7–C11: lines of `Range`, `If-Range`, `If-Match` and `If-None-Match`; a line without a name is a range.
pub(super) fn range(data: &[u8]) {
    let text = text(data);
    let lines = text.lines().map(|line| if line.contains(": ") { line.into() } else { format!("Range: bytes={line}") });
    let call = get_content(&lines.collect::<Vec<_>>().join("\n"));
    let response = WORLD.clone().ask(&call);
    // Nothing that the content does not have, and no more of it than there is.
    if response.status == 206
        && let Some(field) = response.header("Content-Range")
    {
        let numbers: Vec<usize> = field.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect();
        assert!(matches!(numbers[..], [first, last, size] if first <= last && last < size && size == CONTENT.len()));
    }
}

/// SPEC F1–F6, H5: the first line is `Content-Range`; the rest is the body. As a chunk, and as the last one.
pub(super) fn chunk(data: &[u8]) {
    let text = text(data);
    let (field, body) = text.split_once('\n').unwrap_or((&text, "345"));
    let whole = sha256(format!("12{body}"));
    for chunked in [false, true] {
        let mut world = WORLD.clone();
        let session = world.session.clone();
        let place = |call: system::Call| {
            let call = with_fields(call.body(body.to_owned()), &format!("Content-Range: {field}"));
            if chunked { call.chunked() } else { call }
        };
        world.ask(&place(patch(&session)));
        world.ask(&get(&session));
        let mut world = WORLD.clone();
        world.ask(&place(put(format!("{session}?digest={whole}"))));
        world.ask(&get(&session));
        world.ask(&get(system::blob("a", &whole)));
    }
}

/// SPEC J6–J8: lines of `Accept` and of conditions, on a tag that names an image and on one that is a list; a line
/// without a name is an `Accept`.
pub(super) fn accept(data: &[u8]) {
    let text = text(data);
    let lines = text.lines().map(|line| if line.contains(": ") { line.into() } else { format!("Accept: {line}") });
    let lines = lines.collect::<Vec<_>>().join("\n");
    for repository in ["a", "assembled/c"] {
        let mut world = WORLD.clone();
        let got = world.ask(&with_fields(get(system::manifest(repository, "v1")), &lines));
        let asked = world.ask(&with_fields(head(system::manifest(repository, "v1")), &lines));
        assert_eq!(got.status, asked.status);
        world.ask(&with_fields(put(system::manifest(repository, "v1")).body("{}"), &lines));
    }
}

/// SPEC K, M: the first byte chooses the type that the document is sent as, or none, or the one in its first line.
/// Where it is taken it is given back byte for byte.
pub(super) fn manifest(data: &[u8]) {
    let Some((choice, document)) = data.split_first() else { return };
    let (line, rest) = document.split_at(document.iter().position(|b| *b == b'\n').unwrap_or(0));
    let line = text(line);
    let (media_type, document) = match choice {
        b'0' => (Some(OCI_MANIFEST), document),
        b'1' => (Some(OCI_INDEX), document),
        b'2' => (Some(DOCKER_MANIFEST), document),
        b'3' => (Some(DOCKER_LIST), document),
        b'4' => (None, document),
        _ if !line.contains(char::is_control) => (Some(line.as_str()), rest),
        _ => return,
    };
    for repository in ["a", "b"] {
        let mut world = WORLD.clone();
        let call = put(system::manifest(repository, "pushed")).body(document.to_vec());
        let call = media_type.iter().fold(call, |call, media_type| call.header("Content-Type", media_type));
        let pushed = world.try_manifest(&call, document);
        if pushed.status != 201 {
            continue;
        }
        let got = world.ask(&get(system::manifest(repository, "pushed")));
        assert!(matches!(got.body, orlop_core::Body::Bytes(bytes) if bytes == document));
        if let Some(subject) = pushed.header("OCI-Subject") {
            world.ask(&get(system::referrers(repository, subject)));
        }
    }
}

impl World {
    /// Pushes a manifest. Where the specification leaves open whether a document can be read, as the registry will.
    fn try_manifest(&mut self, call: &Call, document: &[u8]) -> Response {
        if !is_open(document) {
            return self.ask(call);
        }
        let response = self.registry.clone().send(&call.request, &call.body);
        usual(call, &response);
        Response { status: 0, ..response }
    }
}

/// Whether the specification leaves open what a document is: two readers may see two things in a field given twice,
/// not every reader goes as deep as it is, and not every one takes a number of any size in a field that is nothing to
/// it (RFC 8259, 4, 6 and 9).
fn is_open(document: &[u8]) -> bool {
    let opened = document.iter().filter(|b| matches!(b, b'[' | b'{')).count();
    let open = ["twice", "number out of range"];
    opened > 100
        || serde_json::from_slice::<Once>(document)
            .is_err_and(|error| open.iter().any(|open| error.to_string().starts_with(open)))
}

/// A document in which no field is given twice.
struct Once;

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Once {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a document")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        let mut names = BTreeSet::new();
        while let Some(name) = map.next_key::<String>()? {
            if !names.insert(name) {
                return Err(A::Error::custom("twice"));
            }
            map.next_value::<Self>()?;
        }
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self, A::Error> {
        while list.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }
}

/// Everything: `METHOD target`, then header fields, an empty line, and the body. `SESSION` stands for the path of a
/// session, and after the request the world is looked at.
pub(super) fn request(data: &[u8]) {
    let (head, body) = match data.windows(2).position(|pair| pair == b"\n\n") {
        Some(end) => (&data[..end], &data[end + 2..]),
        None => (data, &[][..]),
    };
    let head = text(head);
    let (first, fields) = head.split_once('\n').unwrap_or((&head, ""));
    let Some((method, target)) = first.split_once(' ') else { return };
    // Manifests have a check of their own: what is wrong in one has no one name.
    let mut world = WORLD.clone();
    let target = target.replace("SESSION", &world.session).replace("CONTENT", &sha256(CONTENT));
    // A target has no other characters (RFC 9112, 3.2).
    if target.bytes().any(|b| !b.is_ascii_graphic()) {
        return;
    }
    let mut call = with_fields(system::request(method, target), fields);
    call.body = RequestBody::from(body.to_vec());
    call.request.length = Some(body.len() as u64).filter(|_| !fields.contains("Transfer-Encoding: chunked"));
    if method == "PUT" && call.request.target.contains("/manifests/") {
        world.try_manifest(&call, body);
    } else {
        world.ask(&call);
    }
    for look in ["/v2/_catalog", "/v2/a/tags/list", &world.session.clone()] {
        world.ask(&get(look));
    }
}
