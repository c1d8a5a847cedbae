//! Whether what is stored is what was pushed, and where the bytes of a blob are.

use std::fmt::Write as _;
use std::time::Instant;

use orlop_core::digest::Digest;
use orlop_core::{Config, Located, Registry};

use crate::storage::{Host, RequestBody, ambient};

/// Checks everything that a storage has, while it is served. Returns the report as JSON.
///
/// # Errors
///
/// None: what went wrong is part of the report.
pub async fn check_all(host: &Host) -> Result<String, String> {
    let began = Instant::now();
    // What the configuration says makes no difference to a check.
    let step = Registry::new(Config::default()).check(ambient());
    let report = host.run(step, &mut RequestBody::empty()).await;
    match report.problems {
        0 => tracing::info!("checked in {:.1} s: {report}", began.elapsed().as_secs_f64()),
        _ => tracing::error!("the check found damage: {report}"),
    }
    serde_json::to_string(&report).map_err(|error| error.to_string())
}

/// Where the bytes of a blob are, as it is printed.
///
/// # Errors
///
/// When there is no such blob, or the records cannot be read.
pub async fn locate(host: &Host, digest: Digest) -> Result<String, String> {
    let step = Registry::new(Config::default()).locate(digest, ambient());
    let located = host.run(step, &mut RequestBody::empty()).await.map_err(|fault| fault.to_string())?;
    let Some(Located { size, parts, repositories }) = located else {
        return Err(format!("there is no blob {digest} (of manifests, `orlop check` reads the bytes)"));
    };
    let mut text = format!("blob {digest}: {size} bytes\n");
    let mut offset = 0;
    for part in parts {
        let place = if part.among_records { "among the records".into() } else { host.place(&part.object) };
        // A string takes everything.
        let _ = writeln!(text, "bytes {offset}-{}: {place}", (offset + part.size).saturating_sub(1));
        offset += part.size;
    }
    let _ =
        write!(text, "repositories: {}", if repositories.is_empty() { "none".into() } else { repositories.join(", ") });
    Ok(text)
}
