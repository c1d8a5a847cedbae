//! Runs the tests with one change.

use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// The variable that says which change to try.
pub(crate) const NUMBER: &str = "ORLOP_MUTANT";

/// Runs what follows with at most so many seconds of a processor, and 4 GiB: a change may make a loop endless. A clock
/// would stop tests as well that wait for a busy machine.
const LIMITED: &str = r#"ulimit -t "$1"; ulimit -v 4194304; ulimit -c 0; shift; exec "$@""#;

/// Some tests.
#[derive(Debug)]
pub(crate) struct Tests {
    pub(crate) name: &'static str,
    pub(crate) program: PathBuf,
    pub(crate) options: &'static [&'static str],
    /// Where they find their files.
    pub(crate) folder: PathBuf,
    /// How much time of a processor they may take.
    pub(crate) limit: Duration,
}

/// Tests in the order in which a change is tried by them.
pub(crate) type Pass = Vec<Tests>;

impl Tests {
    /// The same tests with a limit by how long they take as they are.
    ///
    /// # Errors
    ///
    /// When they do not pass.
    pub(crate) fn measured(self) -> Result<Self, Box<dyn std::error::Error>> {
        let before = spent()?;
        match self.outcome(0)? {
            None => Ok(Self { limit: 3 * (spent()? - before) + Duration::from_secs(5), ..self }),
            Some(by) => Err(format!("without a change the tests must pass: {by}").into()),
        }
    }

    /// Which of them notices the change.
    fn outcome(&self, number: usize) -> io::Result<Option<String>> {
        let mut command = Command::new("sh");
        command.args(["-c", LIMITED, "sh"]).arg(self.limit.as_secs().to_string());
        command.arg(&self.program).arg("--quiet").args(self.options).current_dir(&self.folder);
        // Random histories are the same for all.
        command.env(NUMBER, number.to_string()).env("PROPTEST_RNG_SEED", "1").env("RUST_BACKTRACE", "0");
        let output = command.output()?;
        if output.status.success() {
            return Ok(None);
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let failed = text.rsplit_once("failures:").map_or("", |(_, failed)| failed);
        let first = failed.lines().find_map(|line| line.strip_prefix("    "));
        Ok(Some(format!("{} {}", self.name, first.unwrap_or("did not end"))))
    }
}

/// How much time of a processor the programs took that have ended (proc_pid_stat(5): fields 16 and 17, in hundredths).
fn spent() -> io::Result<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The second field is the name of the program in brackets.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
    let hundredths: u64 = fields.skip(13).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Ok(Duration::from_millis(10 * hundredths))
}

/// The first test that notices the change, of these in their order.
pub(crate) fn noticed(tests: &[Tests], number: usize) -> io::Result<Option<String>> {
    for tests in tests {
        if let Some(by) = tests.outcome(number)? {
            return Ok(Some(by));
        }
    }
    Ok(None)
}
