//! What a server process has used, by its own account in `/proc/PID`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, WaitId, WaitIdOptions};

use crate::Outcome;

/// How many ticks `/proc` counts in a second: fixed in the interface of Linux.
const TICKS: f64 = 100.0;

/// A process to ask.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    directory: PathBuf,
}

impl Process {
    pub(crate) fn new(pid: u32) -> Self {
        Self { directory: format!("/proc/{pid}").into() }
    }

    /// User and system time of all its threads, also of those that have ended. Exact to a tick of 10 ms.
    pub(crate) fn cpu(&self) -> Outcome<Duration> {
        self.times(&[11, 12])
    }

    /// The same with its child processes, also those that have ended.
    pub(crate) fn cpu_of_family(&self) -> Outcome<Duration> {
        let mut total = self.times(&[11, 12, 13, 14])?;
        for thread in fs::read_dir(self.directory.join("task"))?.flatten() {
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            let children = children.split_whitespace().filter_map(|pid| pid.parse().ok());
            // One that ends meanwhile is its parent's the next time.
            total += children.filter_map(|pid| Self::new(pid).cpu_of_family().ok()).sum::<Duration>();
        }
        Ok(total)
    }

    /// The sum of some fields of `stat` that are times.
    fn times(&self, fields: &[usize]) -> Outcome<Duration> {
        let stat = fs::read_to_string(self.directory.join("stat"))?;
        // The name, in parentheses, may hold anything.
        let all: Vec<_> = stat.rsplit_once(')').ok_or("a strange stat")?.1.split_whitespace().collect();
        let ticks = |index: &usize| all.get(*index).and_then(|field| field.parse::<f64>().ok()).unwrap_or_default();
        Ok(Duration::from_secs_f64(fields.iter().map(ticks).sum::<f64>() / TICKS))
    }

    /// The memory it holds, in bytes.
    pub(crate) fn rss(&self) -> Outcome<f64> {
        self.status("VmRSS:")
    }

    /// The most memory it has held since [`reset_peak`](Self::reset_peak), in bytes.
    pub(crate) fn peak(&self) -> Outcome<f64> {
        self.status("VmHWM:")
    }

    /// Forgets the most memory it has held.
    pub(crate) fn reset_peak(&self) -> Outcome<()> {
        Ok(fs::write(self.directory.join("clear_refs"), "5")?)
    }

    /// How many bytes it has caused to be written to disks.
    pub(crate) fn written(&self) -> Outcome<f64> {
        let io = fs::read_to_string(self.directory.join("io"))?;
        Ok(field(&io, "write_bytes:").unwrap_or_default())
    }

    /// How many bytes it has written to files and sockets, by sendfile too.
    pub(crate) fn sent(&self) -> Outcome<f64> {
        let io = fs::read_to_string(self.directory.join("io"))?;
        Ok(field(&io, "wchar:").unwrap_or_default())
    }

    fn status(&self, name: &str) -> Outcome<f64> {
        let status = fs::read_to_string(self.directory.join("status"))?;
        Ok(field(&status, name).ok_or("the process has ended")? * 1024.0)
    }
}

/// What a program has used from its start to its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spent {
    pub(crate) took: Duration,
    /// User and system time, in seconds.
    pub(crate) cpu: f64,
    /// The most memory it has held, in bytes.
    pub(crate) peak: f64,
}

impl Spent {
    /// Runs a program to its end, what it prints in `log`. Fails if it does.
    pub(crate) fn by(command: &mut Command, log: &Path) -> Outcome<Self> {
        /// How long the least time is between two looks at what it holds.
        const PAUSE: Duration = Duration::from_millis(5);
        let output = fs::File::create(log)?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let began = Instant::now();
        let mut child = command.spawn()?;
        let process = Process::new(child.id());
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or("a strange process")?;
        // One that has ended and was not waited for still says what it has used, but no more what it has held.
        let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        let mut peak = 0.0;
        while rustix::process::waitid(WaitId::Pid(pid), ended)?.is_none() {
            peak = process.peak().unwrap_or(peak);
            std::thread::sleep(PAUSE);
        }
        let (took, cpu) = (began.elapsed(), process.cpu()?.as_secs_f64());
        let status = child.wait()?;
        if status.success() {
            return Ok(Self { took, cpu, peak });
        }
        let log = fs::read_to_string(log).unwrap_or_default();
        Err(format!("{command:?} ended with {status}: {log}").into())
    }
}

fn field(text: &str, name: &str) -> Option<f64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value.split_whitespace().next()?.parse().ok()
}
