//! What commands print. Whoever reads it may have enough of it (`| head`): that ends neither a command nor what it prints
//! for others.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write};

use orlop_core::http::{Body, Response};
use serde_json::Value as Json;

/// Prints a line of what was asked for on the standard output. When it cannot be written for another reason than that its
/// reader is gone, the process ends with status 1: what is in a file would be a part of it, and look whole.
pub(crate) fn out(line: Arguments<'_>) {
    let mut output = io::stdout().lock();
    let written = output.write_fmt(line).and_then(|()| output.write_all(b"\n")).and_then(|()| output.flush());
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            note(format_args!("orlop: the standard output cannot be written: {error}"));
            std::process::exit(1);
        }
        _ => {}
    }
}

/// Why a request was refused, as its client would be told; or what went wrong, which a client is not told.
pub(super) fn refused(response: &Response) -> String {
    let Body::Bytes(body) = &response.body else { return String::new() };
    let body: Json = serde_json::from_slice(body).unwrap_or_default();
    let told = || body["errors"][0]["message"].as_str().unwrap_or_default().to_owned();
    response.fault.as_ref().map_or_else(told, ToString::to_string)
}

/// Prints a line on the standard error, if that can be.
pub(crate) fn note(line: Arguments<'_>) {
    let mut output = io::stderr().lock();
    // There is nowhere else to say so.
    let _ = output.write_fmt(line).and_then(|()| output.write_all(b"\n"));
}
