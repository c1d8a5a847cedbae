//! The command line, and what it comes to.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};

use super::chance::Chance;
use super::fleet::{self, Door};
use super::http::{Http, Options, Spread};
use super::login::Credentials;
use super::report;
use super::run::{Findings, Profile, Progress, Quiet, Settings, run};

/// The registry does not do all that it must.
const DEVIATES: u8 = 1;

/// How long clients work at once where there are several addresses.
const SECONDS: u64 = 10;

/// It could not be tested, or not to the end.
const UNTESTED: u8 = 2;

/// Tests any container registry: does it do what the OCI distribution specification and Docker's registry API say?
///
/// It speaks HTTP alone, works in repositories below a prefix of its own, and deletes what it made where the registry
/// deletes. The exit code is 0 when nothing was found, 1 when something was, 2 when it could not be tested to the end.
///
/// Several addresses are those of several processes of one registry: each request goes to another one. At the end,
/// clients work on all of them at once for some seconds, and what each saw must have an explanation.
#[derive(Debug, Parser)]
#[command(name = "orlop-conformance", version, max_term_width = 110)]
pub struct Command {
    /// The registry, such as http://127.0.0.1:5000, or all addresses of it
    #[arg(value_name = "URL", required_unless_present = "list")]
    targets: Vec<String>,

    /// Say what is checked, and why some items of the specification are not, and do nothing
    #[arg(long)]
    list: bool,

    /// Do only the checks whose name or text has this in it; * stands for anything
    #[arg(long, value_name = "PATTERN")]
    checks: Option<String>,

    /// How many random histories to play
    #[arg(long, default_value_t = 50, value_name = "NUMBER")]
    histories: usize,

    /// How many operations each of them has
    #[arg(long, default_value_t = 40, value_name = "NUMBER")]
    operations: usize,

    /// How many histories to play in which several clients work at once
    #[arg(long, default_value_t = 30, value_name = "NUMBER")]
    concurrent: usize,

    /// Only let clients work at once for so long, over all addresses; processes may be killed meanwhile
    ///
    /// A request without an answer, or with 500 and more, may have been done or not, and both are right. Everything else
    /// is judged: no client may see what no order of all operations explains, and what was acknowledged must be there at
    /// the end. What was made is not deleted.
    #[arg(long, value_name = "NUMBER")]
    seconds: Option<u64>,

    /// How many clients these are
    #[arg(long, default_value_t = 12, value_name = "NUMBER")]
    clients: usize,

    /// Repeat the run that had this seed
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,

    /// Touch only repositories below this; without it, below orlop-conformance/ and the seed
    #[arg(long, value_name = "REPOSITORY")]
    prefix: Option<String>,

    /// Use repositories again once they are empty, so that fewer empty ones are left
    ///
    /// Without it each check and history has repositories of its own: what one leaves behind disturbs no other.
    #[arg(long)]
    reuse: bool,

    /// What counts as a failure: auto, oci, oci-next, docker, strict
    ///
    /// auto: what OCI 1.1 demands, and what Docker's API describes if the registry says that it speaks it.
    /// oci: OCI 1.1 alone. oci-next: the coming version of OCI too. docker: OCI 1.1 and Docker's API.
    /// strict: everything, good practice too.
    #[arg(long, default_value = "auto", value_name = "PROFILE")]
    profile: Profile,

    /// Write report.html, junit.xml and report.json there
    #[arg(long, value_name = "DIRECTORY")]
    report: Option<PathBuf>,

    /// Log in as this user; the password is taken from ORLOP_PASSWORD, or asked for
    #[arg(long, env = "ORLOP_USER", value_name = "NAME")]
    user: Option<String>,

    /// Trust the certificates in this file (PEM) beside the system's
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,

    /// Trust any certificate
    #[arg(long)]
    insecure: bool,
}

impl Command {
    /// Does what the command line says.
    pub fn run(self) -> ExitCode {
        if self.list {
            print!("{}", report::checks());
            return ExitCode::SUCCESS;
        }
        match self.test() {
            Ok(code) => code,
            Err(why) => {
                eprintln!("orlop-conformance: {why}");
                ExitCode::from(UNTESTED)
            }
        }
    }

    fn test(self) -> Result<ExitCode, String> {
        let seed = self.seed.unwrap_or_else(Chance::seed);
        let settings = Settings {
            checks: self.checks.clone(),
            histories: self.histories,
            operations: self.operations.max(1),
            concurrent: self.concurrent,
            seed,
            prefix: self.prefix.clone().unwrap_or_else(|| format!("orlop-conformance/{seed:x}")),
            profile: self.profile,
            reuse: self.reuse,
        };
        if settings.prefix.parse::<orlop_core::name::Repository>().is_err() || settings.prefix.len() > 100 {
            return Err(format!("--prefix {} is no name of a repository, or too long to go on from", settings.prefix));
        }
        let meant = settings.checks.iter().all(|p| super::checks::all().iter().any(|check| check.is_meant(p)));
        if !meant {
            return Err("--checks means no check; try a word such as tags, or an item such as N4".into());
        }
        let options =
            Options { credentials: self.credentials()?, ca: self.ca.clone(), insecure: self.insecure, once: false };
        let open = |options: &Options| -> Result<Vec<Http>, String> {
            self.targets.iter().map(|target| Http::new(target, options)).collect()
        };
        let targets = open(&options)?;
        let bases: Vec<String> = targets.iter().map(|http| http.base().to_owned()).collect();
        let base = bases.join(", ");
        let began = Instant::now();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
        let bar = std::io::stderr().is_terminal().then(Bar::new);
        let progress: &dyn Progress = bar.as_ref().map_or(&Quiet, |bar| bar);
        let seconds = self.seconds.or_else(|| (bases.len() > 1).then_some(SECONDS));
        let mut findings = match self.seconds {
            Some(_) => Findings::none(&base, settings.clone()),
            None => runtime.block_on(run(Rc::new(Spread::new(targets)), &bases[0], settings.clone(), progress)),
        };
        if let (Some(seconds), None) = (seconds, &findings.ended) {
            let targets = open(&Options { once: true, ..options.clone() })?;
            let door = |http: Http| Door { name: http.base().to_owned(), target: Rc::new(http) };
            let doors: Vec<Door> = targets.into_iter().map(door).collect();
            let work = fleet::Settings {
                clients: self.clients.max(1),
                duration: Duration::from_secs(seconds),
                rounds: 1,
                seed,
                prefix: format!("{}/fleet", settings.prefix),
                progress: Arc::default(),
            };
            progress.begins("clients work at once", 1);
            let played = runtime.block_on(fleet::play(&doors, &work));
            findings.concurrent.0 += played.histories;
            findings.concurrent.1.extend(played.failures.iter().cloned());
            if played.operations == 0 {
                findings.ended = Some(format!("nobody answers at {base}"));
            }
            println!("{}", played.summary());
        }
        drop(bar);
        print!("{}", report::summary(&findings));
        println!("{} in {:.1} s", base, began.elapsed().as_secs_f64());
        if let Some(directory) = &self.report {
            report::write(&findings, directory).map_err(|error| format!("the report: {error}"))?;
            println!("the report is in {}", directory.display());
        }
        Ok(code(&findings))
    }

    fn credentials(&self) -> Result<Option<Credentials>, String> {
        let Some(user) = self.user.clone() else { return Ok(None) };
        let password = match std::env::var("ORLOP_PASSWORD") {
            Ok(password) => password,
            Err(_) if std::io::stdin().is_terminal() => {
                rpassword::prompt_password(format!("password of {user}: ")).map_err(|error| error.to_string())?
            }
            Err(_) => return Err("--user needs a password: set ORLOP_PASSWORD".into()),
        };
        Ok(Some(Credentials { user, password }))
    }
}

fn code(findings: &Findings) -> ExitCode {
    if let Some(why) = &findings.ended {
        eprintln!("orlop-conformance: {why}");
        return ExitCode::from(UNTESTED);
    }
    if findings.all_is_well() { ExitCode::SUCCESS } else { ExitCode::from(DEVIATES) }
}

/// A bar on the terminal.
struct Bar(ProgressBar);

impl Bar {
    fn new() -> Self {
        let bar = ProgressBar::new(1);
        let style = ProgressStyle::with_template("{prefix} {bar:30} {pos}/{len} {wide_msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.enable_steady_tick(Duration::from_millis(200));
        Self(bar)
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

impl Progress for Bar {
    fn begins(&self, what: &str, steps: usize) {
        self.0.set_prefix(what.to_owned());
        self.0.set_length(steps as u64);
        self.0.set_position(0);
        self.0.set_message(String::new());
    }

    fn step(&self, what: &str) {
        self.0.inc(1);
        self.0.set_message(what.to_owned());
    }
}
