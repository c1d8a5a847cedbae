//! Fuzzing: whatever a client sends, the registry answers it as the model does, and the grammars keep their word.
//!
//! A [`Fuzz`] takes any bytes and panics when something does not hold. `tests/fuzz/run` lets libFuzzer search for such
//! bytes, led by the coverage that it sees; what it kept lies in `tests/fuzz/corpus/`, one directory for each, and is
//! gone through by `cargo test`. Inputs are text where they can be, so that people can read and write them.

mod grammars;
mod requests;

use std::sync::LazyLock;

use orlop_core::config::Pattern;
use orlop_core::{Config, Response};
use regex::Regex;
use serde_json::Value as Json;

use crate::image::{AMD64, ARM64, Manifest, sha256};
use crate::model::Model;
use crate::system::{self, Call, InMemory, System, get, manifest, post, put, uploads};

/// Something to be fuzzed.
pub struct Fuzz {
    /// What it is called: the name of its corpus.
    pub name: &'static str,
    /// What must hold for these bytes.
    ///
    /// # Panics
    ///
    /// When it does not.
    pub check: fn(&[u8]),
}

/// Everything that is fuzzed.
pub const ALL: [Fuzz; 11] = [
    Fuzz { name: "name", check: grammars::name },
    Fuzz { name: "digest", check: grammars::digest },
    Fuzz { name: "target", check: grammars::target },
    Fuzz { name: "query", check: grammars::query },
    Fuzz { name: "pattern", check: grammars::pattern },
    Fuzz { name: "challenge", check: grammars::challenge },
    Fuzz { name: "range", check: requests::range },
    Fuzz { name: "chunk", check: requests::chunk },
    Fuzz { name: "accept", check: requests::accept },
    Fuzz { name: "manifest", check: requests::manifest },
    Fuzz { name: "request", check: requests::request },
];

/// A registry and its model, with a little in them.
#[derive(Clone)]
struct World {
    registry: InMemory,
    model: Model,
    /// The path of a session that has taken `12`.
    session: String,
}

/// The content of the blob that is in every world.
const CONTENT: &str = "0123456789abcdef";

/// The world in which each check begins.
static WORLD: LazyLock<World> = LazyLock::new(|| {
    let config = Config { assemble: vec![Pattern::new("assembled/**")], blob_limit: 1000, ..Config::default() };
    let model = Model::new(config.clone());
    let mut world = World { registry: InMemory::new(config), model, session: String::new() };
    let images = [Manifest::image(AMD64, "layer"), Manifest::image(ARM64, "layer")];
    for repository in ["a", "assembled/c"] {
        for blob in images.iter().flat_map(Manifest::blobs).chain([&CONTENT.into(), &"{}".into()]) {
            world.ask(&post(format!("{}?digest={}", uploads(repository), sha256(blob))).body(blob.clone()));
        }
        for image in &images {
            world.ask(&put(manifest(repository, "v1")).header("Content-Type", image.media_type()).body(image.bytes()));
        }
        let about = Manifest::artifact("x/y", "layer").about(&images[0]);
        world.ask(
            &put(manifest(repository, about.digest())).header("Content-Type", about.media_type()).body(about.bytes()),
        );
    }
    let opened = world.ask(&post(uploads("a")));
    world.session = opened.header("Location").unwrap_or_default().into();
    world.ask(&system::patch(world.session.clone()).body("12"));
    world
});

impl World {
    /// Makes a call on both: the answer must be one that the model gives, and like every answer.
    #[track_caller]
    fn ask(&mut self, call: &Call) -> Response {
        let response = self.registry.send(&call.request, &call.body);
        usual(call, &response);
        let id = response.header("Docker-Upload-UUID").unwrap_or_default();
        let says = self.model.answer(call, id);
        let wrong: Vec<_> = says.iter().filter_map(|says| says.check(call.request.method, &response).err()).collect();
        assert!(wrong.len() < says.len(), "{call}\n{:?}\n{}", call.request.headers, wrong.join("\nor "));
        response
    }
}

/// What holds for every answer to every client (SPEC P1, P2, P5).
#[track_caller]
fn usual(call: &Call, response: &Response) {
    assert!(response.status < 500, "{call} gives {}", response.status);
    let body = match &response.body {
        orlop_core::Body::Bytes(bytes) => &bytes[..],
        _ => &[],
    };
    let fields = response.headers.iter().all(|(_, value)| value.bytes().all(|b| (b' '..=b'~').contains(&b)));
    assert!(fields, "{call}: a header field is no text: {:?}", response.headers);
    if response.status >= 400 && call.request.method != orlop_core::Method::Head {
        let document: Json = serde_json::from_slice(body).unwrap_or_default();
        let errors = document["errors"].as_array().cloned().unwrap_or_default();
        let code = |error: &Json| {
            let code = error["code"].as_str().unwrap_or_default();
            orlop_core::error::Code::ALL.iter().any(|known| known.as_str() == code)
        };
        assert!(!errors.is_empty() && errors.iter().all(code), "{call}: {document}");
    }
}

/// The bytes as text: what is none stands for the character that replaces it, as in header fields.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A call with the header fields in these lines; other lines are left out, and what has no meaning.
fn with_fields(mut call: Call, lines: &str) -> Call {
    for (name, value) in lines.lines().filter_map(|line| line.split_once(": ")) {
        // HTTP has no other characters in a field, and a host replaces what is no UTF-8.
        let sent = !value.contains(char::is_control);
        if sent && (!name.eq_ignore_ascii_case("accept") || value.split(',').all(is_understood)) {
            call = call.header(name, value.trim());
        }
    }
    call
}

/// Whether a media range has a type, and one weight at most that is right (RFC 9110, 12.4.2, 12.5.1). What others mean
/// is not said.
fn is_understood(range: &str) -> bool {
    static WEIGHT: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"^(0(\.[0-9]{0,3})?|1(\.0{0,3})?)$").expect("the expression is right"));
    let mut parameters = range.split(';').map(str::trim);
    let typed = range.trim().is_empty() || parameters.next().is_some_and(|media_type| media_type.contains('/'));
    let mut weights = parameters.filter_map(|parameter| parameter.strip_prefix(['q', 'Q'])?.strip_prefix('='));
    typed && weights.next().is_none_or(|weight| WEIGHT.is_match(weight)) && weights.next().is_none()
}

/// Gets a blob whose content is known, with these header fields.
fn get_content(fields: &str) -> Call {
    with_fields(get(system::blob("a", sha256(CONTENT))), fields)
}
