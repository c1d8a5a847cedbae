//! Several servers on a database and an object store, behind HAProxy by the configuration that the package brings.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use orlop::Engines;

use crate::engines::{ObjectServer, Postgres, free_port};

/// The configuration for three servers. What depends on the machine is replaced in it.
const CONFIGURATION: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../host-native/debian/haproxy-fleet.cfg"));

/// How many servers that names.
pub(crate) const SERVERS: usize = 3;

/// How long a server may take until it is ready, or has ended, on a machine that does other things too.
const PATIENCE: Duration = Duration::from_secs(60);

/// Variables that the servers get, with their values: a program of another version warns of one that it does not know, and
/// would refuse a flag.
pub(crate) type Settings = &'static [(&'static str, &'static str)];

/// Servers behind HAProxy, with all that they need. Everything ends when it is dropped.
pub(crate) struct Fleet {
    servers: Vec<Server>,
    haproxy: Child,
    directory: PathBuf,
    port: u16,
    engines: Engines,
    /// What each server is started with.
    settings: [Settings; SERVERS],
    _database: Postgres,
    _store: ObjectServer,
}

impl Fleet {
    /// Starts a database, an object store, servers with settings by their numbers, and HAProxy. All of them write their logs
    /// to the directory.
    pub(crate) fn start(program: &Path, directory: &Path, settings: [Settings; SERVERS]) -> Self {
        let (database, store) = (Postgres::start(), ObjectServer::start());
        let engines = store.engines(database.database());
        let servers: Vec<Server> = (0..SERVERS)
            .map(|number| {
                let place = Place { port: free_port(), admin: free_port(), log: server_log(directory, number) };
                Server::start(program, place, &engines, settings[number])
            })
            .collect();
        servers.iter().for_each(Server::wait);
        let port = free_port();
        let haproxy = balance(directory, port, &servers);
        let directory = directory.to_owned();
        let fleet = Self { servers, haproxy, directory, port, engines, settings, _database: database, _store: store };
        fleet.wait_for(|states| states.iter().all(|state| state == "UP"));
        fleet
    }

    /// Where HAProxy listens.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Stops a server as an administrator does, and starts this program in its place. Whether the server says that it
    /// has ended well.
    pub(crate) fn restart(&mut self, number: usize, program: &Path) -> bool {
        let Server { process, place } = &mut self.servers[number];
        signal(process, "-TERM");
        let ended = process.wait().expect("a process of our own ends");
        self.servers[number] = Server::start(program, place.clone(), &self.engines, self.settings[number]);
        self.wait_for(|states| states[number] == "UP");
        ended.success()
    }

    /// Waits until HAProxy sees the servers so.
    fn wait_for(&self, seen: impl Fn(&[String]) -> bool) {
        let began = Instant::now();
        loop {
            let states = self.states();
            match &states {
                Ok(states) if states.len() == SERVERS && seen(states) => return,
                _ => assert!(began.elapsed() < PATIENCE, "HAProxy says of the servers: {states:?}"),
            }
            sleep(Duration::from_millis(50));
        }
    }

    /// What HAProxy says of each server.
    fn states(&self) -> io::Result<Vec<String>> {
        let mut socket = UnixStream::connect(self.directory.join(SOCKET))?;
        socket.write_all(b"show stat\n")?;
        let mut table = String::new();
        socket.read_to_string(&mut table)?;
        let mut lines = table.lines();
        let heads: Vec<&str> = lines.next().unwrap_or_default().trim_start_matches("# ").split(',').collect();
        let column = |name: &str| heads.iter().position(|head| *head == name).unwrap_or(usize::MAX);
        let (name, status) = (column("svname"), column("status"));
        let lines = lines.map(|line| line.split(',').collect::<Vec<_>>());
        let servers = lines.filter(|line| line.get(name).is_some_and(|name| name.starts_with("orlop")));
        Ok(servers.filter_map(|line| line.get(status).map(|state| (*state).to_owned())).collect())
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        let _ = self.haproxy.kill();
        let _ = self.haproxy.wait();
    }
}

/// Where a server listens, and where it writes its log.
#[derive(Clone)]
struct Place {
    port: u16,
    admin: u16,
    log: PathBuf,
}

/// A running `orlop serve`.
struct Server {
    process: Child,
    place: Place,
}

impl Server {
    fn start(program: &Path, place: Place, engines: &Engines, settings: Settings) -> Self {
        let log = File::options().create(true).append(true).open(&place.log).expect("a log");
        let mut command = Command::new(program);
        command.args(["serve", "--trusted-proxy", "127.0.0.1", "--addr", &format!("127.0.0.1:{}", place.port)]);
        command.args(["--admin-addr", &format!("127.0.0.1:{}", place.admin)]);
        command.args(["--records", &engines.records, "--objects", &engines.objects]);
        // As an administrator gives credentials.
        command.envs(engines.options.iter().map(|(name, value)| (format!("AWS_{}", name.to_uppercase()), value)));
        command.envs(settings.iter().copied()).env("NO_COLOR", "1");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let process = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { process, place }
    }

    /// Waits until it says that it is ready.
    fn wait(&self) {
        let began = Instant::now();
        while !self.ready().unwrap_or_default() {
            if began.elapsed() > PATIENCE {
                panic!("the server does not start:\n{}", fs::read_to_string(&self.place.log).unwrap_or_default());
            }
            sleep(Duration::from_millis(50));
        }
    }

    fn ready(&self) -> io::Result<bool> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.place.admin))?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer.starts_with("HTTP/1.1 200 "))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The socket of HAProxy for administrators.
const SOCKET: &str = "haproxy.sock";

/// Starts HAProxy without encryption, in front of these servers.
fn balance(directory: &Path, port: u16, servers: &[Server]) -> Child {
    let mut configuration = CONFIGURATION.to_owned();
    let mut replace = |from: &str, to: &str| {
        assert_eq!(configuration.matches(from).count(), 1, "`{from}` in the configuration of HAProxy");
        configuration = configuration.replace(from, to);
    };
    replace(":443 ssl crt /etc/haproxy/registry.pem alpn h2,http/1.1", &format!("127.0.0.1:{port}"));
    replace("X-Forwarded-Proto https", "X-Forwarded-Proto http");
    let socket = directory.join(SOCKET);
    replace("/dev/log local0\n", &format!("stdout format raw local0\n    stats socket {}\n", socket.display()));
    // A request that a server has had and not answered is to be seen.
    replace("    retry-on conn-failure empty-response\n", "");
    // The restarts of a test are not to wait for it.
    replace("inter 1s", "inter 200ms");
    for (number, Server { place, .. }) in (1..).zip(servers) {
        let at = format!("orlop{number} 127.0.0.1:{} check port {}\n", place.port, place.admin);
        replace(&format!("orlop{number} 10.0.0.{number}:5000\n"), &at);
    }
    let file = directory.join("haproxy.cfg");
    fs::write(&file, configuration).expect("a configuration for HAProxy");
    let told = File::create(log(directory, "haproxy")).expect("a log");
    let also = told.try_clone().expect("a log");
    let mut haproxy = Command::new("haproxy");
    // Each connection takes open files, of which a machine may allow few.
    haproxy.args(["-db", "-n", "200", "-f"]).arg(file).env("PATH", format!("{}:/usr/sbin", path()));
    haproxy.stdin(Stdio::null()).stdout(told).stderr(also);
    haproxy.spawn().expect("HAProxy is installed: tests/fleet/install")
}

fn path() -> String {
    std::env::var("PATH").unwrap_or_default()
}

/// Where a server writes its log.
pub(crate) fn server_log(directory: &Path, number: usize) -> PathBuf {
    log(directory, &format!("orlop{number}"))
}

fn log(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}.log"))
}

fn signal(process: &Child, signal: &str) {
    let sent = Command::new("kill").args([signal, &process.id().to_string()]).status().expect("kill runs");
    assert!(sent.success(), "the server had ended before it was told to");
}
