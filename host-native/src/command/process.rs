//! What a server process asks of its system: threads, file descriptors, an address, and to be told when to stop.

use std::error::Error;
use std::future::Future;
use std::io;
use std::time::Duration;

use rustix::process::{Resource, getrlimit, setrlimit};
use sd_notify::NotifyState;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};

use crate::settings::Limits;

/// How many threads may wait for disks at once. More would only queue in the disk, and each has a stack and a heap.
const BLOCKING_THREADS: usize = 32;

/// How many bytes a heap keeps that are not used: enough that one body's come and go within it.
const KEPT_MEMORY: usize = 4 << 20;

/// The threads that serve, and those that may wait for disks.
///
/// # Errors
///
/// When the system gives no threads.
pub fn runtime() -> Result<Runtime, Box<dyn Error>> {
    Ok(Builder::new_multi_thread().enable_all().max_blocking_threads(BLOCKING_THREADS).build()?)
}

/// The same for a command that does one thing after the other: with few threads, for each has a heap of its own, which
/// keeps what others have freed of it.
///
/// # Errors
///
/// When the system gives no threads.
pub fn runtime_of_a_command() -> Result<Runtime, Box<dyn Error>> {
    const THREADS: usize = 3;
    Ok(Builder::new_multi_thread().worker_threads(1).enable_all().max_blocking_threads(THREADS).build()?)
}

/// Has the allocator keep memory that was freed, some MiB a heap, for the next who wants some. It gives back to the
/// system what is freed in pieces as large as those of a body, and every page costs a fault to have again: some
/// 80,000 of them for a GiB that is pushed.
///
/// What it keeps is twice the largest piece that it ever mapped on its own and got back (mallopt(3), on
/// `M_MMAP_THRESHOLD`), so it is given one here.
pub fn keep_freed_memory() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(KEPT_MEMORY / 2)));
}

/// How many files the server has open for itself: records, log, listeners, webhooks.
const OWN_FILES: u64 = 64;

/// Allows this process as many open files as it may allow itself, and bounds connections by that: where no file can be
/// opened, nothing can be pulled or pushed, and no connection accepted.
pub fn within_file_limit(limits: Limits) -> Limits {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!("the number of open files cannot be raised: {error}");
    }
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let connections = limits.connections.min(connections_within(files));
    if connections < limits.connections {
        tracing::warn!(
            "the system allows this process {files} open files, enough for {connections} connections: raise that limit \
             (`ulimit -n`, LimitNOFILE of systemd), or set max-connections, now {}, to less",
            limits.connections
        );
    }
    Limits { connections, ..limits }
}

/// How many connections so many files are enough for: each takes one, and what is sent and received by it some more.
fn connections_within(files: u64) -> usize {
    usize::try_from(files.saturating_sub(OWN_FILES) / 3).unwrap_or(usize::MAX).max(1)
}

/// Listens on `HOST:PORT`, as that setting has it.
///
/// # Errors
///
/// When that is no address of this machine, or cannot be had.
pub async fn listen(setting: &str, address: &str) -> Result<TcpListener, Box<dyn Error>> {
    TcpListener::bind(address).await.map_err(|error| cannot_listen(setting, address, &error).into())
}

fn cannot_listen(setting: &str, address: &str, error: &io::Error) -> String {
    let cure = match error.kind() {
        io::ErrorKind::AddrInUse => "another process uses it: choose another port, or stop that process".into(),
        io::ErrorKind::PermissionDenied => format!(
            "{error}; ports below 1024 need root or the capability CAP_NET_BIND_SERVICE (the service of the package has \
             it): choose a port from 1024 on"
        ),
        _ => format!("{error}; write HOST:PORT with an address of this machine, such as 127.0.0.1:5000"),
    };
    format!("{setting} = {address}: cannot listen on it: {cure}")
}

/// Tells the service manager how it stands, if there is one.
pub fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!("the service manager is not told: {error}");
    }
}

/// Comes true at the first SIGTERM or SIGINT. A second one ends the process at once.
///
/// # Errors
///
/// When signals cannot be caught.
pub fn stop_signal() -> Result<impl Future<Output = ()>, Box<dyn Error>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        either(&mut terminate, &mut interrupt).await;
        tokio::spawn(async move {
            either(&mut terminate, &mut interrupt).await;
            tracing::warn!("told twice to stop");
            std::process::exit(1);
        });
    })
}

/// How long what is unfinished may take to end after a signal, such as a write that waits for a disk.
const GRACE: Duration = Duration::from_secs(5);

/// Does work of a command until it is done or a signal ends it: what it comes to, or the number of the signal. Then
/// `leave` has a moment, and what is dropped has another to remove its files; a second signal ends that too.
///
/// # Errors
///
/// When the system gives no threads, or signals cannot be caught.
pub(super) fn until_signal<T>(
    work: impl Future<Output = T>,
    leave: impl Future<Output = ()>,
) -> Result<Result<T, u8>, Box<dyn Error>> {
    let (runtime, waiting) = (runtime()?, Builder::new_current_thread().enable_all().build()?);
    let (mut interrupt, mut terminate) = waiting
        .block_on(async { io::Result::Ok((signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)) })?;
    let done = runtime.block_on(async {
        tokio::select! {
            done = work => Ok(done),
            _ = interrupt.recv() => Err(2),
            _ = terminate.recv() => Err(15),
        }
    });
    if done.is_err() {
        let patient = runtime.block_on(async {
            tokio::select! {
                _ = tokio::time::timeout(GRACE, leave) => true,
                () = either(&mut terminate, &mut interrupt) => false,
            }
        });
        let grace = if patient { GRACE } else { Duration::ZERO };
        waiting.block_on(async {
            let ended = tokio::task::spawn_blocking(move || runtime.shutdown_timeout(grace));
            tokio::select! {
                _ = ended => {}
                () = either(&mut terminate, &mut interrupt) => {}
            }
        });
        waiting.shutdown_background();
    }
    Ok(done)
}

async fn either(one: &mut tokio::signal::unix::Signal, other: &mut tokio::signal::unix::Signal) {
    tokio::select! {
        _ = one.recv() => {}
        _ = other.recv() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_what_is_sent_and_received() {
        for (files, connections) in [(u64::MAX, usize::MAX / 3), (65_536, 21_824), (1024, 320), (64, 1), (0, 1)] {
            assert!(connections_within(files).abs_diff(connections) <= 64, "{files}");
        }
    }

    #[test]
    fn what_keeps_from_listening_is_told_with_the_setting_and_the_cure() {
        for (kind, expected) in [
            (io::ErrorKind::AddrInUse, "choose another port"),
            (io::ErrorKind::PermissionDenied, "CAP_NET_BIND_SERVICE"),
            (io::ErrorKind::AddrNotAvailable, "write HOST:PORT"),
        ] {
            let told = cannot_listen("plain-addr", "0.0.0.0:443", &kind.into());
            assert!(told.starts_with("plain-addr = 0.0.0.0:443: ") && told.contains(expected), "{told}");
        }
    }
}
