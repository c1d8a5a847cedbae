//! The playground: the files that `build.rs` has embedded, served at `/`.

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};

/// A file of the playground.
pub struct File {
    path: &'static str,
    plain: &'static [u8],
    /// The same after gzip.
    zipped: Option<&'static [u8]>,
}

/// Every file: those of the playground, or of a plain page that says how to get it.
pub static FILES: &[File] = &include!(concat!(env!("OUT_DIR"), "/playground.rs"));

/// What the page may load and ask: nothing but what comes from here (CSP level 3). It compiles WebAssembly, and runs no
/// script that is not a file.
const POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

/// Headers that every file has.
const ALWAYS: [(HeaderName, &str); 4] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::VARY, "Accept-Encoding"),
];

impl File {
    /// A file that is served as it is.
    pub(crate) const fn plain(path: &'static str, plain: &'static [u8]) -> Self {
        Self { path, plain, zipped: None }
    }

    /// Where it is served.
    pub fn paths(&self) -> impl Iterator<Item = &'static str> {
        let index = (self.path == "/index.html").then_some("/");
        index.into_iter().chain([self.path])
    }

    /// The answer to a GET.
    pub fn answer(&self, request: &HeaderMap) -> Response {
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
        let mut response = Bytes::from_static(bytes).into_response();
        let headers = response.headers_mut();
        let mut put = |name: HeaderName, value: &'static str| headers.insert(name, HeaderValue::from_static(value));
        put(header::CONTENT_TYPE, self.kind());
        // Names below assets/ have a hash of what is in the file.
        let keeps = self.path.starts_with("/assets/");
        put(header::CACHE_CONTROL, if keeps { "public, max-age=31536000, immutable" } else { "no-cache" });
        coding.map(|coding| put(header::CONTENT_ENCODING, coding));
        for (name, value) in ALWAYS {
            put(name, value);
        }
        response
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

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: File = File { path: "/index.html", plain: b"page", zipped: Some(b"zip") };

    #[test]
    fn there_is_a_page_at_the_root() {
        let paths: Vec<_> = FILES.iter().flat_map(File::paths).collect();
        assert!(paths.contains(&"/"), "{paths:?}");
        assert!(paths.iter().all(|path| !path.starts_with("/v2")), "{paths:?}");
    }

    #[test]
    fn a_file_is_zipped_for_those_who_take_it() {
        let check = |accepts: &'static str, coding: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(accepts));
            let answer = PAGE.answer(&headers);
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
