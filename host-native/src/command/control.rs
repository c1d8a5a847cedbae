//! The socket in the data directory by which an administrator on this machine talks to the server: a line, and a line back.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream as Stream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::storage::Host;

/// The name of the socket in a data directory.
const SOCKET: &str = "orlop.sock";

/// The longest line.
const LONGEST: u64 = 1 << 10;

/// How long whoever asks may take to ask, and to read the answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Listens in a data directory, for whoever the server runs as, and for root.
///
/// # Errors
///
/// When there can be no socket.
pub fn listen(directory: &Path) -> io::Result<UnixListener> {
    let path = directory.join(SOCKET);
    // Nobody else has the directory, so whoever made this one is gone.
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Does as it is told, for ever.
pub async fn serve(listener: UnixListener, host: Arc<Host>) {
    // One thing is done at a time, however many ask.
    let doing = Arc::new(Mutex::new(()));
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let (host, doing) = (host.clone(), doing.clone());
                // Whoever asks nothing, or does not read what it is told, keeps no other waiting.
                tokio::spawn(async move {
                    if let Err(error) = answer(stream, &host, &doing).await {
                        tracing::warn!("a request by the control socket got no answer: {error}");
                    }
                });
            }
            Err(error) => {
                tracing::warn!("no connection to the control socket can be accepted: {error}");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

async fn answer(mut stream: UnixStream, host: &Host, doing: &Mutex<()>) -> io::Result<()> {
    let (reading, mut writing) = stream.split();
    let mut line = String::new();
    timeout(PATIENCE, tokio::io::BufReader::new(reading.take(LONGEST)).read_line(&mut line)).await??;
    let told = match line.trim() {
        "backup" => {
            let _one = doing.lock().await;
            match host.back_up().await {
                Ok(backup) => {
                    tracing::info!("backed up: {} records, {} files", backup.records, backup.files);
                    format!("ok {} records and {} files in {}", backup.records, backup.files, backup.path.display())
                }
                Err(fault) => format!("error {fault}"),
            }
        }
        other => format!("error there is no `{other}`"),
    };
    timeout(PATIENCE, writing.write_all(format!("{told}\n").as_bytes())).await?
}

/// Asks the server that has a data directory, and returns what it says.
///
/// # Errors
///
/// When none has it, or it cannot do as asked.
pub fn ask(directory: &Path, what: &str) -> Result<String, String> {
    let path = directory.join(SOCKET);
    let mut stream = Stream::connect(&path).map_err(|error| {
        format!("no server answers at {}: {error}; name the data directory with --data", path.display())
    })?;
    let mut line = String::new();
    let asked = writeln!(stream, "{what}").and_then(|()| BufReader::new(stream).read_line(&mut line));
    asked.map_err(|error| format!("the server does not answer: {error}"))?;
    match line.trim().split_once(' ') {
        Some(("ok", told)) => Ok(told.into()),
        Some((_, reason)) => Err(reason.into()),
        None => Err("the server went away".into()),
    }
}
