//! The servers that several machines share, each of the tests' own: a port of its own, a directory that goes with it, and
//! ended when it is dropped.

use std::fs;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Read, Write};
use std::iter;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{OnceLock, mpsc};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use orlop::Engines;
use orlop_core::digest::Algorithm;
use tempfile::TempDir;

/// How long a server may take until it answers, on a machine that does other things too.
pub(crate) const START: Duration = Duration::from_secs(120);

/// How many connections a database takes.
const CONNECTIONS: usize = 200;

/// The user of the database, and of the object store.
pub(crate) const USER: &str = "orlop";
pub(crate) const SECRET: &str = "a secret of the tests";

/// A PostgreSQL of its own.
pub(crate) struct Postgres {
    /// Where the programs of its version are.
    binaries: PathBuf,
    directory: TempDir,
    port: u16,
    process: Child,
    databases: AtomicU32,
}

impl Postgres {
    /// Makes a cluster and starts it. Its texts are sorted by ICU, as no key of a registry may be.
    pub(crate) fn start() -> Self {
        Self::of(binaries(), CONNECTIONS)
    }

    /// One that takes so many connections.
    pub(crate) fn with_connections(connections: usize) -> Self {
        Self::of(binaries(), connections)
    }

    /// The same with a version; nothing if that is not installed.
    pub(crate) fn of_version(version: u32) -> Option<Self> {
        let binaries = PathBuf::from(format!("/usr/lib/postgresql/{version}/bin"));
        binaries.join("initdb").exists().then(|| Self::of(binaries, CONNECTIONS))
    }

    fn of(binaries: PathBuf, connections: usize) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        // PostgreSQL does not run as root: whoever it runs as owns its files.
        let data = directory.path().join("data");
        fs::create_dir(&data).expect("a directory for the database");
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("a directory to look into");
        own(&data);
        run(program(&binaries.join("initdb"))
            .args(["--username", USER, "--auth", "trust", "--no-sync", "--encoding", "UTF8"])
            .args(["--locale-provider=icu", "--icu-locale=en-US", "--locale=C.UTF-8", "--pgdata"])
            .arg(&data));
        let settings = format!("max_connections = {connections}\n");
        let mut file = fs::File::options().append(true).open(data.join("postgresql.conf")).expect("a file");
        file.write_all(settings.as_bytes()).expect("a file");
        let port = free_port();
        let process = serve(&binaries, &data, port);
        let postgres = Self { binaries, directory, port, process, databases: AtomicU32::new(0) };
        postgres.wait();
        postgres
    }

    /// The same, with an archive of its log, by which a backup is brought to any moment.
    pub(crate) fn archiving() -> Self {
        let mut postgres = Self::start();
        let archive = postgres.directory.path().join("archive");
        fs::create_dir(&archive).expect("a directory for the log");
        own(&archive);
        postgres.ask("postgres", "ALTER SYSTEM SET archive_mode = on");
        let copy = format!("cp %p {}/%f", archive.display());
        postgres.ask("postgres", &format!("ALTER SYSTEM SET archive_command = '{copy}'"));
        postgres.crash();
        postgres
    }

    /// Copies all of its files while it runs.
    pub(crate) fn back_up(&self) -> PathBuf {
        let backup = self.directory.path().join("backup");
        fs::create_dir(&backup).expect("a directory for the backup");
        fs::set_permissions(&backup, fs::Permissions::from_mode(0o700)).expect("a directory of its own");
        own(&backup);
        let source = format!("host=127.0.0.1 port={} user={USER}", self.port);
        run(program(&self.binaries.join("pg_basebackup"))
            .args(["--no-sync", "--checkpoint=fast", "--dbname", &source, "--pgdata"])
            .arg(&backup));
        backup
    }

    /// Puts a backup in the place of its files, and brings it to that moment.
    pub(crate) fn restore(&mut self, backup: &Path, moment: &str) {
        let last = self.ask("postgres", "SELECT pg_walfile_name(pg_switch_wal())");
        let archive = self.directory.path().join("archive");
        let began = Instant::now();
        while !archive.join(&last).exists() {
            assert!(began.elapsed() < START, "{last} is not archived");
            sleep(Duration::from_millis(20));
        }
        self.kill();
        let data = self.directory.path().join("data");
        fs::rename(&data, data.with_file_name("before")).expect("the files of before");
        fs::rename(backup, &data).expect("the backup");
        let settings = format!(
            "restore_command = 'cp {}/%f %p'\nrecovery_target_time = '{moment}'\nrecovery_target_action = promote\n",
            archive.display()
        );
        let written = fs::File::options().append(true).open(data.join("postgresql.auto.conf"));
        written.and_then(|mut file| file.write_all(settings.as_bytes())).expect("settings");
        fs::write(data.join("recovery.signal"), "").expect("a file");
        self.process = serve(&self.binaries, &data, self.port);
        self.wait();
        let began = Instant::now();
        while self.ask("postgres", "SELECT pg_is_in_recovery()") != "f" {
            assert!(began.elapsed() < START, "the recovery does not end");
            sleep(Duration::from_millis(20));
        }
    }

    /// Makes a standby that streams from it, and has commits wait for that one from now on.
    pub(crate) fn standby(&self) -> Self {
        self.standby_at(free_port())
    }

    /// Makes one that listens on that port, where another database was before.
    pub(crate) fn standby_at(&self, port: u16) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("a directory to look into");
        let data = directory.path().join("data");
        fs::create_dir(&data).expect("a directory for the database");
        fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).expect("a directory of its own");
        own(&data);
        let source = format!("host=127.0.0.1 port={} user={USER} application_name=standby", self.port);
        run(program(&self.binaries.join("pg_basebackup"))
            .args(["--no-sync", "--checkpoint=fast", "--write-recovery-conf", "--dbname", &source, "--pgdata"])
            .arg(&data));
        let process = serve(&self.binaries, &data, port);
        let standby = Self { binaries: self.binaries.clone(), directory, port, process, databases: AtomicU32::new(0) };
        standby.wait();
        self.ask("postgres", "ALTER SYSTEM SET synchronous_standby_names = 'standby'");
        self.ask("postgres", "SELECT pg_reload_conf()");
        self.wait_for_standby();
        standby
    }

    /// Waits until a standby has all that is acknowledged.
    pub(crate) fn wait_for_standby(&self) {
        let began = Instant::now();
        while self.ask("postgres", "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") != "1" {
            assert!(began.elapsed() < START, "the standby does not stream");
            sleep(Duration::from_millis(50));
        }
    }

    /// Makes it the primary, which waits for no standby.
    pub(crate) fn promote(&self) {
        self.ask("postgres", "ALTER SYSTEM SET synchronous_standby_names = ''");
        self.ask("postgres", "SELECT pg_reload_conf()");
        assert_eq!(self.ask("postgres", "SELECT pg_promote()"), "t");
    }

    /// Stops its processes where they stand, or lets them go on.
    pub(crate) fn suspend(&self, suspended: bool) {
        let signal = if suspended { "-STOP" } else { "-CONT" };
        // The one that starts the others first. Some of these end at that moment.
        run(Command::new("kill").args([signal, &self.process.id().to_string()]));
        let _ = Command::new("kill").arg(signal).args(self.children()).stderr(Stdio::null()).status();
    }

    /// Makes an empty database: its URL.
    pub(crate) fn database(&self) -> String {
        let name = format!("registry{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.ask("postgres", &format!("CREATE DATABASE {name}"));
        self.url(&name)
    }

    /// The URL of a database.
    pub(crate) fn url(&self, name: &str) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/{name}?sslmode=disable", self.port)
    }

    /// What psql prints of a statement.
    pub(crate) fn ask(&self, database: &str, statement: &str) -> String {
        let asked = self.psql(database, statement).output().expect("psql runs");
        assert!(asked.status.success(), "{statement}: {}", String::from_utf8_lossy(&asked.stderr));
        String::from_utf8(asked.stdout).expect("text").trim().to_owned()
    }

    /// How many processes say that they use a registry.
    pub(crate) fn users(&self, engines: &Engines) -> String {
        let statement = "SELECT count(*) FROM orlop.record WHERE convert_from(key, 'UTF8') LIKE 'host/process/%'";
        self.ask(database_of(&engines.records), statement)
    }

    /// What psql prints of a statement, if that can be made.
    pub(crate) fn try_ask(&self, database: &str, statement: &str) -> Option<String> {
        let asked = self.psql(database, statement).output().expect("psql runs");
        asked.status.success().then(|| String::from_utf8_lossy(&asked.stdout).trim().to_owned())
    }

    /// The plans of all statements that a statement makes within functions.
    pub(crate) fn plans(&self, database: &str, statement: &str) -> String {
        let settings = "LOAD 'auto_explain'; SET auto_explain.log_min_duration = 0; \
                        SET auto_explain.log_nested_statements = on; SET client_min_messages = log";
        let mut psql = self.psql(database, settings);
        let asked = psql.args(["--command", statement]).output().expect("psql runs");
        let told = String::from_utf8_lossy(&asked.stderr).into_owned();
        assert!(asked.status.success(), "{statement}: {told}");
        told
    }

    /// Has everyone log in with a password from now on, as the user of the tests cannot do by psql.
    pub(crate) fn want_passwords(&self, password: &str) {
        self.ask("postgres", &format!("ALTER ROLE {USER} PASSWORD '{password}'"));
        let rules = self.directory.path().join("data/pg_hba.conf");
        let text = "local all all trust\nhost registry0 all all scram-sha-256\nhost all all all trust\n";
        fs::write(rules, text).expect("a file");
        self.ask("postgres", "SELECT pg_reload_conf()");
    }

    /// The port it listens on.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// A connection on which nothing is asked; the code of the error when there is none to be had.
    pub(crate) fn idle(&self) -> Result<TcpStream, String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).expect("it listens");
        let parameters = format!("user\0{USER}\0database\0postgres\0\0");
        let length = u32::try_from(8 + parameters.len()).expect("a few bytes");
        // Version 3.0 of the protocol.
        let begin = [&length.to_be_bytes()[..], &(3_u32 << 16).to_be_bytes(), parameters.as_bytes()].concat();
        stream.write_all(&begin).expect("it reads");
        let mut kind = [0];
        stream.read_exact(&mut kind).expect("it answers");
        if kind[0] == b'R' {
            return Ok(stream);
        }
        let mut told = Vec::new();
        stream.read_to_end(&mut told).expect("it answers");
        let field = told[4..].split(|byte| *byte == 0).find(|field| field.first() == Some(&b'C'));
        Err(String::from_utf8_lossy(&field.expect("a code")[1..]).into_owned())
    }

    /// All connections that are left, on which nothing is asked.
    pub(crate) fn idle_all(&self) -> Vec<TcpStream> {
        let mut idle = Vec::new();
        loop {
            match self.idle() {
                Ok(stream) => idle.push(stream),
                Err(code) => {
                    assert_eq!(code, "53300", "too_many_connections");
                    return idle;
                }
            }
        }
    }

    /// A transaction that has made a statement, and ends when this is dropped.
    pub(crate) fn hold(&self, database: &str, statement: &str) -> Held {
        let mut psql = self.psql(database, &format!("BEGIN; {statement}; SELECT pg_sleep(600)"));
        let child = psql.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("psql runs");
        let held =
            "SELECT count(*) > 0 FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)%' AND wait_event = 'PgSleep'";
        let began = Instant::now();
        while self.ask("postgres", held) != "t" {
            assert!(began.elapsed() < START, "{statement} is not made");
            sleep(Duration::from_millis(20));
        }
        Held(
            child,
            self.psql(
                "postgres",
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'",
            ),
        )
    }

    fn psql(&self, database: &str, statement: &str) -> Command {
        let mut psql = Command::new(binaries().join("psql"));
        psql.args(["--no-psqlrc", "--tuples-only", "--no-align", "--host", "127.0.0.1", "--username", USER]);
        psql.args(["--port", &self.port.to_string(), "--dbname", database, "--command", statement]);
        psql.stdin(Stdio::null());
        psql
    }

    fn wait(&self) {
        let began = Instant::now();
        while !self.psql("postgres", "SELECT 1").output().is_ok_and(|asked| asked.status.success()) {
            if began.elapsed() > START {
                let log = fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
                panic!("PostgreSQL does not start:\n{log}");
            }
            sleep(Duration::from_millis(50));
        }
    }

    /// Kills it with all of its processes, as a machine that loses its power, and starts it again.
    pub(crate) fn crash(&mut self) {
        self.kill();
        self.process = serve(&self.binaries, &self.directory.path().join("data"), self.port);
        self.wait();
    }

    /// Kills it for good.
    pub(crate) fn kill(&mut self) {
        let children = self.children();
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = Command::new("kill").arg("-KILL").args(&children).stderr(Stdio::null()).status();
        // The next one does not start while one of them still has the memory that they share.
        let (began, lives) = (Instant::now(), |child: &String| Path::new("/proc").join(child).exists());
        while children.iter().any(lives) && began.elapsed() < Duration::from_secs(10) {
            sleep(Duration::from_millis(5));
        }
    }

    /// The processes that it has started.
    fn children(&self) -> Vec<String> {
        let children = Command::new("pgrep").args(["--parent", &self.process.id().to_string()]).output();
        let children = children.expect("pgrep runs").stdout;
        String::from_utf8_lossy(&children).split_whitespace().map(str::to_owned).collect()
    }
}

/// The name of the database of a URL.
pub(crate) fn database_of(url: &str) -> &str {
    url.rsplit('/').next().and_then(|name| name.split('?').next()).expect("a name")
}

/// A transaction that is held open.
pub(crate) struct Held(Child, Command);

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.1.output();
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.kill();
    }
}

fn serve(binaries: &Path, data: &Path, port: u16) -> Child {
    let log = fs::File::options().create(true).append(true).open(data.with_file_name("log")).expect("a log");
    let mut server = program(&binaries.join("postgres"));
    server.arg("-D").arg(data).args(["-p", &port.to_string(), "-h", "127.0.0.1"]);
    // No socket beside the port, and a wait for the disk at each commit, as Orlop wants it.
    server.args(["-c", "unix_socket_directories=", "-c", "wal_keep_size=64MB"]);
    server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    start(server).expect("PostgreSQL runs")
}

/// Starts a program that ends with these tests. The system ends it with the thread that has started it, and most threads of
/// tests end before: so that is one of its own.
pub(crate) fn start(program: Command) -> io::Result<Child> {
    type Wanted = (Command, mpsc::Sender<io::Result<Child>>);
    static STARTING: OnceLock<mpsc::Sender<Wanted>> = OnceLock::new();
    let starting = STARTING.get_or_init(|| {
        let (wanted, programs) = mpsc::channel::<Wanted>();
        thread::spawn(move || {
            for (mut program, started) in programs {
                let _ = started.send(program.spawn());
            }
        });
        wanted
    });
    let (started, child) = mpsc::channel();
    starting.send((program, started)).map_err(io::Error::other)?;
    child.recv().map_err(io::Error::other)?
}

/// One of PostgreSQL's programs, as a user that may run it.
pub(crate) fn program(path: &Path) -> Command {
    if !is_root() {
        return Command::new(path);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--pdeathsig=KILL", "--"]).arg(path);
    command
}

fn own(path: &Path) {
    if is_root() {
        run(Command::new("chown").arg("postgres:postgres").arg(path));
    }
}

fn is_root() -> bool {
    let told = Command::new("id").arg("--user").output().expect("id runs");
    told.stdout.trim_ascii() == b"0"
}

fn run(command: &mut Command) {
    let done = command.stdin(Stdio::null()).output().expect("it runs");
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
}

/// Where the newest PostgreSQL of this machine is.
fn binaries() -> PathBuf {
    let all = fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is installed: tests/fleet/install");
    let versions = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let newest = versions.max().expect("PostgreSQL is installed: tests/fleet/install");
    PathBuf::from(format!("/usr/lib/postgresql/{newest}/bin"))
}

/// Where an S3 server has old versions, if it keeps them.
const VERSIONS: &str = "versions";

/// An S3 server that keeps its objects in files, and checks signatures, conditions and sizes of parts as S3 does.
pub(crate) struct ObjectServer {
    directory: TempDir,
    port: u16,
    process: Child,
    prefixes: AtomicU32,
}

impl ObjectServer {
    /// Starts one with an empty bucket.
    pub(crate) fn start() -> Self {
        Self::with(&["data/bucket", "iam"])
    }

    /// One whose bucket keeps what is removed or written over, as an old version.
    pub(crate) fn with_versions() -> Self {
        let server = Self::with(&["data/bucket", "iam", VERSIONS]);
        let status = "<VersioningConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Status>Enabled</Status>\
                      </VersioningConfiguration>";
        // This version of curl signs what it is told the hash of the body is.
        let hash = Algorithm::Sha256.digest(status.as_bytes());
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--fail-with-body", "--request", "PUT", "--data", status]);
        curl.args(["--aws-sigv4", "aws:amz:us-east-1:s3", "--user", &format!("{USER}:{SECRET}")]);
        curl.args(["--header", &format!("x-amz-content-sha256: {}", hash.encoded())]);
        run(curl.arg(format!("http://127.0.0.1:{}/bucket?versioning=", server.port)));
        server
    }

    fn with(directories: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        for below in directories {
            fs::create_dir_all(directory.path().join(below)).expect("a directory");
        }
        let port = free_port();
        let process = gateway(directory.path(), port);
        let server = Self { directory, port, process, prefixes: AtomicU32::new(0) };
        server.wait();
        server
    }

    fn wait(&self) {
        let began = Instant::now();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        while TcpStream::connect(address).is_err() {
            assert!(began.elapsed() < START, "the S3 server does not start: see {}", self.directory.path().display());
            sleep(Duration::from_millis(50));
        }
    }

    /// Kills it.
    pub(crate) fn stop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Kills it, and starts it again after a while.
    pub(crate) fn crash(&mut self, pause: Duration) {
        self.stop();
        sleep(pause);
        self.process = gateway(self.directory.path(), self.port);
        self.wait();
    }

    /// The port it listens on.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Where the files are that it keeps its objects in.
    pub(crate) fn bucket(&self) -> PathBuf {
        self.directory.path().join("data/bucket")
    }

    /// The files in its bucket: objects, and parts of uploads that are open.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let mut directories = vec![self.directory.path().join("data/bucket")];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
                match entry.path() {
                    path if path.is_dir() => directories.push(path),
                    path => files.push(path),
                }
            }
        }
        files
    }

    /// Where a registry of its own may keep its objects, and its records in a database.
    pub(crate) fn engines(&self, records: String) -> Engines {
        self.engines_by(self.port, records)
    }

    /// The same by another port, behind which this server is.
    pub(crate) fn engines_by(&self, port: u16, records: String) -> Engines {
        let prefix = self.prefixes.fetch_add(1, Ordering::Relaxed);
        let options = [
            ("endpoint", format!("http://127.0.0.1:{port}")),
            ("region", "us-east-1".into()),
            ("access_key_id", USER.into()),
            ("secret_access_key", SECRET.into()),
            ("allow_http", "true".into()),
        ];
        Engines {
            records,
            password_file: None,
            objects: format!("s3://bucket/registry{prefix}"),
            options: options.map(|(name, value)| (name.to_owned(), value)).into(),
            ca: None,
            cache: None,
        }
    }
}

impl Drop for ObjectServer {
    fn drop(&mut self) {
        self.stop();
    }
}

fn gateway(directory: &Path, port: u16) -> Child {
    let log = fs::File::create(directory.join("log")).expect("a log");
    let mut server = Command::new(tools().join("bin/versitygw"));
    server.args(["--access", USER, "--secret", SECRET, "--port", &format!("127.0.0.1:{port}")]).arg("posix");
    let versions = directory.join(VERSIONS);
    if versions.exists() {
        server.arg("--versioning-dir").arg(versions);
    }
    server
        .arg(directory.join("data"))
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a log"))
        .stderr(log)
        .spawn()
        .expect("the S3 server is installed: tests/fleet/install")
}

/// Where `tests/fleet/install` puts what comes from no package of the system.
pub(crate) fn tools() -> PathBuf {
    let tools = std::env::var_os("ORLOP_TOOLS").map(PathBuf::from);
    tools.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools"))
}

/// A port that is free now. The system gives those from 32768 on to connections and to servers that ask for any port: one
/// of those may be taken before the server that is to have it listens.
pub(crate) fn free_port() -> u16 {
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    // Others look for one in the same moment, so each begins elsewhere.
    let mut any = iter::repeat_with(|| 10_000 + (RandomState::new().build_hasher().finish() % 22_000) as u16);
    any.by_ref().take(1000).find(is_free).expect("a free port")
}
