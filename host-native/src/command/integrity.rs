//! Whether what is stored is what was pushed, and where the bytes of a blob are.

use std::error::Error;
use std::fmt::Write as _;
use std::time::Instant;

use orlop_core::digest::Digest;
use orlop_core::{CheckReport, Config, Finding, Located, Registry};

use crate::command::cli::{Blob, Check};
use crate::command::control::Request;
use crate::command::storage::by_server_or_here;
use crate::settings::Options;
use crate::storage::{Host, RequestBody, ambient};

type Done = Result<(), Box<dyn Error>>;

/// `orlop check`
///
/// # Errors
///
/// When something is wrong with what is stored, or it cannot be read.
pub fn check(asked: &Check) -> Done {
    let told = by_server_or_here(&asked.data.directory, &Options::default(), Request::Check, check_all)?;
    let report: CheckReport = serde_json::from_str(&told)?;
    println!("{}", if asked.json { told } else { text(&report) });
    match (&report.fault, report.problems) {
        (Some(fault), _) => Err(format!("the check ended early, run it again: {fault}").into()),
        (None, 0) => Ok(()),
        (None, problems) => Err(format!("{problems} problems found").into()),
    }
}

/// `orlop blob`
///
/// # Errors
///
/// When there is no such blob, or the records cannot be read.
pub fn blob(asked: &Blob) -> Done {
    let digest = asked.digest;
    let here = async |host: &Host| locate(host, digest).await;
    println!("{}", by_server_or_here(&asked.data.directory, &Options::default(), Request::Blob(digest), here)?);
    Ok(())
}

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

fn text(report: &CheckReport) -> String {
    let mut text = String::new();
    for Finding { what, problem, repositories } in &report.findings {
        // A string takes everything.
        let _ = write!(text, "{what}: {problem}");
        if !repositories.is_empty() {
            let _ = write!(text, " (repositories: {})", repositories.join(", "));
        }
        text.push('\n');
    }
    let _ = write!(text, "{report}");
    if report.problems > 0 {
        text.push_str(CURE);
    }
    text
}

const CURE: &str = "\nTo mend a blob or manifest, restore its file or the data directory from a backup; or delete it from \
    the repositories named, run `orlop gc`, and push the images again.";

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
