//! The pages that `build.rs` has embedded: the console and the playground.

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};

/// A page and the files that it is made of.
pub struct Page {
    /// Where it is, with a slash at both ends.
    pub(crate) at: &'static str,
    /// Its files, by their paths below that.
    pub(crate) files: &'static [File],
    /// Whether it is one program for all paths below, so that its index is what all of them give.
    pub(crate) has_routes: bool,
    policy: &'static str,
}

/// A file of a page.
pub struct File {
    path: &'static str,
    plain: &'static [u8],
    /// The same after gzip.
    zipped: Option<&'static [u8]>,
}

/// The console: what is in this registry, for people. It runs scripts and shows pictures of its own and no others, and
/// asks this server alone (CSP level 3).
pub static CONSOLE: Page = Page {
    at: "/console/",
    files: &include!(concat!(env!("OUT_DIR"), "/console.rs")),
    has_routes: true,
    policy: "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
};

/// The playground: a registry in the browser. The same, but it compiles WebAssembly and has workers.
pub static PLAYGROUND: Page = Page {
    at: "/playground/",
    files: &include!(concat!(env!("OUT_DIR"), "/playground.rs")),
    has_routes: false,
    policy: "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self'; \
             connect-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
};

/// What a file of no page may load: nothing.
const NOTHING: &str = "default-src 'none'; frame-ancestors 'none'";

/// Headers that every file has. `frame-ancestors` says what `X-Frame-Options` says, to newer browsers; a page of another
/// origin that opens one of these has no hold of its window.
const ALWAYS: [(HeaderName, &str); 5] = [
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::VARY, "Accept-Encoding"),
];

impl Page {
    /// The file at its root.
    pub(crate) fn index(&self) -> Option<&'static File> {
        self.files.iter().find(|file| file.path == "index.html")
    }

    /// The answer to a GET of a path below it that is no file: its index. What stands there as `./` is a part of the page, and
    /// is named as seen from that path, so that the page can also be where a proxy has put it.
    pub(crate) fn answer_below(&self, path: &str) -> Response {
        let depth = path.strip_prefix(self.at).unwrap_or_default().matches('/').count();
        let index = self.index().and_then(|file| std::str::from_utf8(file.plain).ok()).unwrap_or_default();
        let named = index.replace("=\"./", &format!("=\"./{}", "../".repeat(depth)));
        let fields = [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CACHE_CONTROL, "no-cache")];
        with_fields(named.into(), fields, self.policy)
    }

    /// The answer to a GET of one of its files.
    pub(crate) fn answer(&self, file: &File, request: &HeaderMap) -> Response {
        file.answer(request, self.policy)
    }
}

impl File {
    /// A file that is served as it is, and belongs to no page.
    pub(crate) const fn plain(path: &'static str, plain: &'static [u8]) -> Self {
        Self { path, plain, zipped: None }
    }

    /// Where it is, below its page.
    pub(crate) fn path(&self) -> &'static str {
        self.path
    }

    /// The answer to a GET of a file that belongs to no page.
    pub(crate) fn answer_alone(&self, request: &HeaderMap) -> Response {
        self.answer(request, NOTHING)
    }

    fn answer(&self, request: &HeaderMap, policy: &'static str) -> Response {
        let takes_gzip = request.get_all(header::ACCEPT_ENCODING).iter().any(|value| {
            let codings = value.to_str().unwrap_or_default().split(',').map(str::trim);
            codings.map(|coding| coding.split_once(';').unwrap_or((coding, ""))).any(|(coding, weight)| {
                coding.trim().eq_ignore_ascii_case("gzip") && !matches!(weight.trim(), "q=0" | "q=0.0" | "q=0.00")
            })
        });
        let (bytes, coding) = match self.zipped.filter(|_| takes_gzip) {
            Some(zipped) => (zipped, Some("gzip")),
            None => (self.plain, None),
        };
        // Names below assets/ have a hash of what is in the file.
        let keeps = self.path.starts_with("assets/");
        let caching = if keeps { "public, max-age=31536000, immutable" } else { "no-cache" };
        let coding = coding.map(|coding| (header::CONTENT_ENCODING, coding));
        let fields = [(header::CONTENT_TYPE, self.kind()), (header::CACHE_CONTROL, caching)];
        with_fields(Bytes::from_static(bytes), fields.into_iter().chain(coding), policy)
    }

    fn kind(&self) -> &'static str {
        match self.path.rsplit('.').next().unwrap_or_default() {
            "html" => "text/html; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            "js" => "text/javascript; charset=utf-8",
            "svg" => "image/svg+xml",
            "wasm" => "application/wasm",
            "yaml" => "application/yaml",
            _ => "application/octet-stream",
        }
    }
}

/// An answer with these fields, and those that every answer has.
fn with_fields(
    bytes: Bytes,
    fields: impl IntoIterator<Item = (HeaderName, &'static str)>,
    policy: &'static str,
) -> Response {
    let mut response = bytes.into_response();
    let always = ALWAYS.into_iter().chain([(header::CONTENT_SECURITY_POLICY, policy)]);
    for (name, value) in fields.into_iter().chain(always) {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_page_has_an_index() {
        for page in [&CONSOLE, &PLAYGROUND] {
            assert!(page.index().is_some(), "{}", page.at);
            assert!(page.at.starts_with('/') && page.at.ends_with('/'), "{}", page.at);
        }
    }

    #[test]
    fn parts_are_named_as_seen_from_the_path_that_was_asked_for() {
        let page = Page {
            at: "/console/",
            files: &[File { path: "index.html", plain: b"<script src=\"./a.js\">", zipped: None }],
            has_routes: true,
            policy: NOTHING,
        };
        for (path, from) in
            [("/console/", "./"), ("/console/a", "./"), ("/console/r/a", "./../"), ("/console/r/a/", "./../../")]
        {
            let body = page.answer_below(path).into_body();
            let read = axum::body::to_bytes(body, 1024);
            let body = tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(read);
            assert_eq!(body.expect("a body"), format!("<script src=\"{from}a.js\">"), "{path}");
        }
    }

    #[test]
    fn a_file_is_zipped_for_those_who_take_it() {
        let file = File { path: "index.html", plain: b"page", zipped: Some(b"zip") };
        let check = |accepts: &'static str, coding: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(accepts));
            let answer = PLAYGROUND.answer(&file, &headers);
            let given = answer.headers().get(header::CONTENT_ENCODING).map(|value| value.to_str().expect("text"));
            assert_eq!(given, coding, "{accepts}");
        };
        check("gzip, deflate, br", Some("gzip"));
        check("br, GZIP;q=0.5", Some("gzip"));
        check("gzip;q=0", None);
        check("br", None);
        check("", None);
    }
}
