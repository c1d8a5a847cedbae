//! The servers that registries on several machines share: PostgreSQL and an S3 server, each on 127.0.0.1, with its data in
//! a directory of the benchmark, and ended when it is dropped.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::peers::free_address;
use crate::process::Process;

/// How long one may take to come up.
const START: Duration = Duration::from_secs(60);

/// The user of both, and its key for the object store.
const USER: &str = "orlop";
const KEY: &str = "a-secret-of-the-benchmark";
const BUCKET: &str = "bucket";

/// Where the programs are.
#[derive(Clone, Debug)]
pub(crate) struct EnginePrograms {
    /// The directory of PostgreSQL's.
    database: PathBuf,
    store: PathBuf,
}

impl EnginePrograms {
    /// Those that Debian's packages and tests/fleet/install bring, if both are there.
    pub(crate) fn find(tools: &Path) -> Option<Self> {
        let mut versions: Vec<PathBuf> =
            fs::read_dir("/usr/lib/postgresql").ok()?.flatten().map(|version| version.path().join("bin")).collect();
        versions.retain(|binaries| binaries.join("initdb").is_file());
        versions.sort();
        let store = tools.join("bin/versitygw");
        Some(Self { database: versions.pop()?, store: store.is_file().then_some(store)? })
    }
}

/// A database and an object store.
pub(crate) struct Engines {
    /// The directory of PostgreSQL's programs.
    programs: PathBuf,
    database: Child,
    database_at: SocketAddr,
    store: Child,
    store_at: SocketAddr,
    /// Where an Orlop that uses them tells what it counts.
    metrics_at: SocketAddr,
    directory: PathBuf,
}

impl Engines {
    /// Starts both, empty, with their data in `directory`.
    pub(crate) fn start(programs: &EnginePrograms, directory: &Path) -> Outcome<Self> {
        let (database, files) = (directory.join("database"), directory.join("objects"));
        fs::create_dir_all(&database)?;
        fs::create_dir_all(files.join(BUCKET))?;
        // PostgreSQL does not run as root: whoever it runs as must come to its files.
        for ancestor in database.ancestors().take_while(|ancestor| ancestor.parent().is_some()) {
            let mode = fs::metadata(ancestor)?.permissions().mode();
            if mode & 0o001 == 0 {
                fs::set_permissions(ancestor, fs::Permissions::from_mode(mode | 0o111))?;
            }
        }
        if is_root() {
            done(Command::new("chown").arg("postgres:postgres").arg(&database))?;
        }
        let program = |name: &str| as_postgres(&programs.database.join(name));
        done(program("initdb").args(["--username", USER, "--auth", "trust", "--no-sync", "--pgdata"]).arg(&database))?;
        let (database_at, store_at) = (free_address()?, free_address()?);
        let log = |name: &str| fs::File::create(directory.join(name));
        let mut server = program("postgres");
        server.arg("-D").arg(&database).args(["-h", "127.0.0.1", "-p", &database_at.port().to_string()]);
        server.args(["-c", "unix_socket_directories=", "-c", "shared_buffers=256MB"]);
        let database = server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log("database.log")?).spawn()?;
        let mut gateway = Command::new(&programs.store);
        gateway.args(["--access", USER, "--secret", KEY, "--port", &store_at.to_string(), "posix"]);
        // Attributes of a file are too small for the list of the parts of some GiB.
        let attributes = directory.join("attributes");
        fs::create_dir_all(&attributes)?;
        gateway.arg("--sidecar").arg(attributes).arg(&files);
        let store = gateway.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log("store.log")?).spawn()?;
        let (programs, metrics_at, directory) = (programs.database.clone(), free_address()?, directory.to_owned());
        let engines = Self { programs, database, database_at, store, store_at, metrics_at, directory };
        for address in [database_at, store_at] {
            let began = Instant::now();
            while TcpStream::connect(address).is_err() {
                if began.elapsed() > START {
                    return Err(format!("nothing listens on {address}: see {}", engines.directory.display()).into());
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        let port = database_at.port().to_string();
        let began = Instant::now();
        // It listens before it takes anybody.
        while done(as_postgres(&engines.programs.join("createdb")).args([
            "-h",
            "127.0.0.1",
            "-p",
            &port,
            "-U",
            USER,
            USER,
        ]))
        .is_err()
        {
            if began.elapsed() > START {
                return Err(format!("the database takes nobody: see {}", engines.directory.display()).into());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(engines)
    }

    /// The URL of the database.
    fn url(&self) -> String {
        format!("postgres://{USER}@{}/{USER}?sslmode=disable", self.database_at)
    }

    /// What the database says to a statement.
    pub(crate) fn ask(&self, statement: &str) -> Outcome<String> {
        let mut psql = as_postgres(&self.programs.join("psql"));
        psql.args(["--no-psqlrc", "--tuples-only", "--no-align", "--command", statement, &self.url()]);
        let asked = psql.stdin(Stdio::null()).output()?;
        match asked.status.success() {
            true => Ok(String::from_utf8(asked.stdout)?.trim().to_owned()),
            false => Err(format!("{statement}: {}", String::from_utf8_lossy(&asked.stderr)).into()),
        }
    }

    /// Has an Orlop use them.
    pub(crate) fn for_orlop(&self, command: &mut Command) {
        command.args(["--records", &self.url()]);
        command.args(["--objects", &format!("s3://{BUCKET}/orlop")]);
        command.args(["--objects-option", &format!("endpoint=http://{}", self.store_at)]);
        command.args(["--objects-option", "allow_http=true", "--objects-option", "region=us-east-1"]);
        command.env("AWS_ACCESS_KEY_ID", USER).env("AWS_SECRET_ACCESS_KEY", KEY);
        // Where parts of uploads go that find no memory.
        command.env("TMPDIR", &self.directory);
    }

    /// The storage of a distribution on the object store, for its configuration.
    pub(crate) fn for_distribution(&self) -> String {
        format!(
            "s3: {{accesskey: {USER}, secretkey: {KEY}, region: us-east-1, regionendpoint: 'http://{}', bucket: {BUCKET}, \
             rootdirectory: /distribution, secure: false, forcepathstyle: true}}\n  redirect: {{disable: true}}",
            self.store_at
        )
    }

    /// The object store, to ask for what it has used.
    pub(crate) fn store(&self) -> Process {
        Process::new(self.store.id())
    }

    /// The first process of the database, to ask for what it and its children have used.
    pub(crate) fn database(&self) -> Process {
        Process::new(self.database.id())
    }

    /// Where an Orlop that uses them tells what it counts.
    pub(crate) fn metrics(&self) -> SocketAddr {
        self.metrics_at
    }
}

impl Drop for Engines {
    fn drop(&mut self) {
        let signal = |child: &Child, signal| {
            if let Some(pid) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
                let _ = rustix::process::kill_process(pid, signal);
            }
        };
        // At once, and with all of its processes.
        signal(&self.database, rustix::process::Signal::QUIT);
        signal(&self.store, rustix::process::Signal::KILL);
        let _ = self.database.wait();
        let _ = self.store.wait();
    }
}

/// A program of PostgreSQL, as a user that may run it.
fn as_postgres(path: &Path) -> Command {
    if !is_root() {
        return Command::new(path);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--pdeathsig=KILL", "--"]).arg(path);
    command
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Runs a command to its end.
fn done(command: &mut Command) -> Outcome<()> {
    let ended = command.stdin(Stdio::null()).output()?;
    if ended.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&ended.stderr)).into())
}
