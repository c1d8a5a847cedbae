//! A bucket of S3 made of a directory: what is asked of one to read it, and what one answers that does not let itself be read.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::SystemTime;

/// How many names a page of a list has: few, so that there are many pages.
const PAGE: usize = 3;

/// What is answered in the place of what is there: to a request for this target, the n-th of all. With a status, fields of
/// the head, and the code of an error.
type Instead = dyn Fn(&str, usize) -> Option<(u16, &'static str, &'static str)> + Send + Sync;

/// A server with the bucket `bucket`, which has the files of a directory under the prefix `root/`.
pub(crate) struct S3 {
    pub(crate) port: u16,
    pub(crate) requests: Arc<AtomicUsize>,
}

struct Bucket {
    directory: PathBuf,
    instead: Box<Instead>,
    requests: Arc<AtomicUsize>,
}

impl S3 {
    /// One that answers as it should.
    pub(crate) fn of(directory: &Path) -> Self {
        Self::that(directory, |_, _| None)
    }

    /// One that now and then answers something else.
    pub(crate) fn that(
        directory: &Path,
        instead: impl Fn(&str, usize) -> Option<(u16, &'static str, &'static str)> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::<AtomicUsize>::default();
        let bucket = Bucket { directory: directory.into(), instead: Box::new(instead), requests: requests.clone() };
        let bucket = Arc::new(bucket);
        // It ends with the process.
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let bucket = bucket.clone();
                thread::spawn(move || bucket.serve(&client));
            }
        });
        Self { port, requests }
    }

    /// The flags by which it is reached.
    pub(crate) fn flags(&self) -> Vec<String> {
        let endpoint = format!("endpoint=http://127.0.0.1:{}", self.port);
        let options =
            [&endpoint, "allow_http=true", "region=us-east-1", "access_key_id=id", "secret_access_key=secret"];
        options.iter().flat_map(|option| ["--source-option".to_owned(), (*option).to_owned()]).collect()
    }
}

impl Bucket {
    fn serve(&self, client: &TcpStream) -> Option<()> {
        let mut lines = BufReader::new(client).lines();
        loop {
            let request = lines.next()?.ok()?;
            let signed = lines.by_ref().map_while(Result::ok).take_while(|line| !line.is_empty());
            // All lines are to be read.
            let signed =
                signed.filter(|line| line.to_ascii_lowercase().starts_with("authorization: aws4")).count() == 1;
            let mut parts = request.split(' ');
            let (method, target) = (parts.next()?, parts.next()?);
            let nth = self.requests.fetch_add(1, Ordering::Relaxed);
            let (status, fields, body) = match (self.instead)(target, nth) {
                Some((status, fields, code)) => (status, fields.to_owned(), error(code)),
                None if !signed => (403, String::new(), error("AccessDenied")),
                None => self.answer(target),
            };
            let head = format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\n{fields}\r\n", body.len());
            let mut client = client;
            client.write_all(head.as_bytes()).ok()?;
            client.write_all(if method == "HEAD" { b"" } else { &body }).ok()?;
        }
    }

    fn answer(&self, target: &str) -> (u16, String, Vec<u8>) {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let Some(key) = path.strip_prefix("/bucket") else { return (404, String::new(), error("NoSuchBucket")) };
        let key = decoded(key.trim_start_matches('/'));
        if key.is_empty() {
            let query: Vec<(&str, String)> =
                query.split('&').filter_map(|pair| pair.split_once('=')).map(|(name, v)| (name, decoded(v))).collect();
            let of = |name: &str| query.iter().find(|(is, _)| *is == name).map_or("", |(_, value)| value);
            return (
                200,
                String::new(),
                self.list(of("prefix"), of("delimiter"), of("continuation-token")).into_bytes(),
            );
        }
        let Some(file) = key.strip_prefix("root/").map(|key| self.directory.join(key)).filter(|file| file.is_file())
        else {
            return (404, String::new(), error("NoSuchKey"));
        };
        let written = httpdate::fmt_http_date(modified(&file));
        let bytes = fs::read(&file).unwrap();
        (200, format!("Last-Modified: {written}\r\nETag: \"{}\"\r\n", bytes.len()), bytes)
    }

    fn list(&self, prefix: &str, delimiter: &str, after: &str) -> String {
        let mut waiting = vec![self.directory.clone()];
        let mut entries = BTreeSet::new();
        while let Some(path) = waiting.pop() {
            for entry in fs::read_dir(&path).unwrap() {
                let entry = entry.unwrap().path();
                if entry.is_dir() {
                    waiting.push(entry);
                    continue;
                }
                let key = format!("root/{}", entry.strip_prefix(&self.directory).unwrap().display());
                let Some(rest) = key.strip_prefix(prefix) else { continue };
                match rest.split_once('/') {
                    Some((directory, _)) if delimiter == "/" => entries.insert(format!("{prefix}{directory}/")),
                    _ => entries.insert(key),
                };
            }
        }
        let page: Vec<&String> = entries.iter().filter(|entry| entry.as_str() > after).take(PAGE + 1).collect();
        let mut xml = String::from("<?xml version=\"1.0\"?><ListBucketResult>");
        for entry in page.iter().take(PAGE) {
            xml.push_str(&match entry.ends_with('/') {
                true => format!("<CommonPrefixes><Prefix>{entry}</Prefix></CommonPrefixes>"),
                false => {
                    let file = self.directory.join(entry.trim_start_matches("root/"));
                    let written = humantime::format_rfc3339_millis(modified(&file));
                    let size = file.metadata().unwrap().len();
                    format!("<Contents><Key>{entry}</Key><LastModified>{written}</LastModified><Size>{size}</Size></Contents>")
                }
            });
        }
        if page.len() > PAGE {
            xml.push_str(&format!("<NextContinuationToken>{}</NextContinuationToken>", page[PAGE - 1]));
        }
        xml + "</ListBucketResult>"
    }
}

fn modified(file: &Path) -> SystemTime {
    file.metadata().unwrap().modified().unwrap()
}

fn error(code: &str) -> Vec<u8> {
    format!("<Error><Code>{code}</Code><Message>no</Message><Region>eu-north-7</Region></Error>").into_bytes()
}

/// What a URL says, without its escapes.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, others @ ..] = rest {
        rest = others;
        match (*first, others) {
            (b'%', [a, b, others @ ..]) => {
                let hex = [*a, *b];
                bytes.push(u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap());
                rest = others;
            }
            (byte, _) => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).unwrap()
}
