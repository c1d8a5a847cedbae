//! The machine: what it is, and what others do on it meanwhile.

use std::fs;
use std::time::Instant;

use crate::Outcome;
use crate::process::Process;

/// Watches how much of the processors goes to neither the server nor the client.
pub(crate) struct Watch {
    began: Instant,
    machine: f64,
    ours: f64,
    server: Process,
}

impl Watch {
    pub(crate) fn begin(server: &Process) -> Outcome<Self> {
        Ok(Self { began: Instant::now(), machine: busy()?, ours: ours(server)?, server: server.clone() })
    }

    /// The share of all processors that others have used since, from 0 to 1.
    pub(crate) fn others(&self) -> Outcome<f64> {
        let all = self.began.elapsed().as_secs_f64() * processors() as f64;
        let theirs = (busy()? - self.machine) - (ours(&self.server)? - self.ours);
        Ok((theirs / all).clamp(0.0, 1.0))
    }
}

fn ours(server: &Process) -> Outcome<f64> {
    Ok(server.cpu()?.as_secs_f64() + Process::new(std::process::id()).cpu()?.as_secs_f64())
}

/// Seconds of processor time used by anybody since the machine began.
fn busy() -> Outcome<f64> {
    let stat = fs::read_to_string("/proc/stat")?;
    let line = stat.lines().next().ok_or("an empty /proc/stat")?;
    let ticks: Vec<f64> = line.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    // All but idle and waiting for disks; guests are in user time already.
    Ok(ticks.iter().take(8).enumerate().filter(|(i, _)| *i != 3 && *i != 4).map(|(_, ticks)| ticks).sum::<f64>()
        / 100.0)
}

pub(crate) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// How many bytes of memory it has; 0 when it does not say.
pub(crate) fn memory() -> usize {
    let told = after(&read("/proc/meminfo"), "MemTotal");
    told.split(' ').next().and_then(|kib| kib.parse::<usize>().ok()).unwrap_or_default() << 10
}

/// What it is, in a line.
pub(crate) fn described() -> String {
    let model = after(&read("/proc/cpuinfo"), "model name");
    let gib = memory() as f64 / (1_u64 << 30) as f64;
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{} × {model}, {gib:.0} GiB, Linux {}", processors(), kernel.trim())
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// What the first line that begins with this name says.
fn after(text: &str, name: &str) -> String {
    let found = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    found.trim_start_matches([' ', '\t', ':']).trim().to_owned()
}
