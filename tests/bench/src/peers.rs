//! The servers that are measured, and how each is started on 127.0.0.1.

use std::fs;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::engines::{EnginePrograms, Engines};
use crate::process::Process;

/// How long a server may take to come up: one of a million manifests that was killed may have to check them.
const START: Duration = Duration::from_secs(60);

/// A server to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Peer {
    /// This registry.
    Orlop,
    /// github.com/distribution/distribution, version 3.
    Distribution,
    /// The same, version 2, as Debian packages it.
    DockerRegistry,
    /// The registry that crane brings.
    Crane,
    /// The same idea as Orlop's core, in Go.
    Olareg,
    /// A registry with a store of its own.
    Zot,
    /// A web server that sends files by sendfile: the limit of a pull.
    Nginx,
    /// The least that can be done; see `floor`.
    Floor,
    /// This registry, with its records in PostgreSQL and its objects in an S3 server.
    Shared,
    /// Distribution, version 3, on the same S3 server.
    DistributionS3,
}

impl Peer {
    pub(crate) const ALL: [Self; 10] = [
        Self::Orlop,
        Self::Distribution,
        Self::DockerRegistry,
        Self::Crane,
        Self::Olareg,
        Self::Zot,
        Self::Nginx,
        Self::Floor,
        Self::Shared,
        Self::DistributionS3,
    ];

    /// Those that share engines with others of their kind, and Orlop by itself beside them.
    pub(crate) const SHARED: [Self; 3] = [Self::Shared, Self::DistributionS3, Self::Orlop];

    /// Those that can be a mirror of another registry.
    pub(crate) const MIRRORS: [Self; 2] = [Self::Orlop, Self::Distribution];

    /// Those that are registries.
    pub(crate) const REGISTRIES: [Self; 6] =
        [Self::Orlop, Self::Distribution, Self::DockerRegistry, Self::Crane, Self::Olareg, Self::Zot];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Orlop => "orlop",
            Self::Distribution => "distribution v3",
            Self::DockerRegistry => "docker-registry 2",
            Self::Crane => "crane",
            Self::Olareg => "olareg",
            Self::Zot => "zot",
            Self::Nginx => "nginx sendfile",
            Self::Floor => "floor",
            Self::Shared => "orlop, shared",
            Self::DistributionS3 => "distribution v3, S3",
        }
    }

    /// Whether it keeps its data in servers of their own.
    fn shares(self) -> bool {
        matches!(self, Self::Shared | Self::DistributionS3)
    }
}

/// Where the programs are, of those that could be had.
#[derive(Debug)]
pub(crate) struct Programs {
    found: Vec<(Peer, PathBuf)>,
    /// Those that could not be had, and why.
    pub(crate) missing: Vec<(Peer, String)>,
    /// The load generator of zot.
    pub(crate) zb: PathBuf,
    /// PostgreSQL and the S3 server.
    engines: Option<EnginePrograms>,
}

impl Programs {
    /// Looks for all of them. `tools` is where tests/peers/install puts what it builds.
    pub(crate) fn find(orlop: &Path, tools: &Path) -> Outcome<Self> {
        let mut programs = Self {
            found: Vec::new(),
            missing: Vec::new(),
            zb: tools.join("bin/zb"),
            engines: EnginePrograms::find(tools),
        };
        for peer in Peer::ALL {
            let candidates = match peer {
                Peer::Shared | Peer::DistributionS3 if programs.engines.is_none() => vec![],
                Peer::Orlop | Peer::Shared => vec![orlop.to_owned()],
                Peer::DockerRegistry => vec!["/usr/bin/docker-registry".into()],
                Peer::Nginx => vec!["/usr/sbin/nginx".into()],
                Peer::Floor => vec![std::env::current_exe()?],
                Peer::DistributionS3 => vec![tools.join("bin/distribution")],
                Peer::Distribution | Peer::Crane | Peer::Olareg | Peer::Zot => {
                    vec![tools.join("bin").join(peer.name().split(' ').next().unwrap_or_default())]
                }
            };
            match candidates.into_iter().find(|path| path.is_file()) {
                Some(path) => programs.found.push((peer, fs::canonicalize(path)?)),
                None => programs.missing.push((peer, why_missing(peer, tools))),
            }
        }
        if programs.get(Peer::Orlop).is_none() {
            return Err(format!("there is no {}: cargo build --release -p orlop", orlop.display()).into());
        }
        Ok(programs)
    }

    pub(crate) fn get(&self, peer: Peer) -> Option<&Path> {
        self.found.iter().find(|(found, _)| *found == peer).map(|(_, path)| path.as_path())
    }
}

/// What tests/peers/install has left as the reason.
fn why_missing(peer: Peer, tools: &Path) -> String {
    let failure = tools.join("bin").join(format!("{}.failure", peer.name()));
    match fs::read_to_string(failure) {
        Ok(text) if text.contains("403 Forbidden") => "the Go module proxy of this machine refuses it (403)".into(),
        Ok(text) => text.lines().last().unwrap_or("it did not build").to_owned(),
        Err(_) => "not installed".into(),
    }
}

/// A server that runs.
pub(crate) struct Server {
    pub(crate) peer: Peer,
    pub(crate) address: SocketAddr,
    /// How long it took from its start to its first answer.
    pub(crate) started_in: Duration,
    child: Child,
    process: Process,
    /// What it keeps its data in, which ends after it.
    engines: Option<Engines>,
}

impl Server {
    /// Starts `peer` on a free port with its data in `data`, and waits until it answers.
    pub(crate) fn start(programs: &Programs, peer: Peer, data: &Path, floor: crate::floor::Kind) -> Outcome<Self> {
        Self::start_with(programs, peer, data, floor, &[])
    }

    /// The same with more arguments.
    pub(crate) fn start_with(
        programs: &Programs,
        peer: Peer,
        data: &Path,
        floor: crate::floor::Kind,
        arguments: &[&str],
    ) -> Outcome<Self> {
        let address = free_address()?;
        let engines = match (&programs.engines, peer.shares()) {
            (Some(engines), true) => Some(Engines::start(engines, &directory(data)?)?),
            _ => None,
        };
        let (mut command, data) = command(programs, peer, data, address, floor, engines.as_ref())?;
        command.args(arguments);
        if let (Peer::Shared, Some(engines)) = (peer, &engines) {
            command.args(["--admin-addr", &engines.metrics().to_string()]);
        }
        let mut server = Self::begin(peer, command, &data, address)?;
        server.engines = engines;
        Ok(server)
    }

    /// Starts a mirror of the registry at `upstream`, in which everything has the name that it has there.
    pub(crate) fn start_mirror(programs: &Programs, peer: Peer, data: &Path, upstream: SocketAddr) -> Outcome<Self> {
        let address = free_address()?;
        let (mut command, data) = command(programs, peer, data, address, crate::floor::Kind::default(), None)?;
        let upstream = format!("http://{upstream}");
        if peer == Peer::Orlop {
            command.args(["--mirror", &format!("{{ prefix = \"\", upstream = \"{upstream}\" }}")]);
        } else {
            command.env("REGISTRY_PROXY_REMOTEURL", upstream);
        }
        Self::begin(peer, command, &data, address)
    }

    /// Starts distribution so that it changes nothing.
    pub(crate) fn start_read_only(programs: &Programs, data: &Path) -> Outcome<Self> {
        let (peer, address) = (Peer::Distribution, free_address()?);
        let (mut command, data) = command(programs, peer, data, address, crate::floor::Kind::default(), None)?;
        command.env("REGISTRY_STORAGE_MAINTENANCE_READONLY", "{enabled: true}");
        Self::begin(peer, command, &data, address)
    }

    /// Another process of the same registry, on the engines of this one, which must not end before it.
    pub(crate) fn beside(&self, programs: &Programs, data: &Path) -> Outcome<Self> {
        let address = free_address()?;
        let engines = self.engines.as_ref();
        let (command, data) = command(programs, self.peer, data, address, crate::floor::Kind::default(), engines)?;
        Self::begin(self.peer, command, &data, address)
    }

    /// Has another program use its engines.
    pub(crate) fn use_engines(&self, command: &mut Command) -> Outcome<()> {
        self.engines.as_ref().ok_or("it has no engines")?.for_orlop(command);
        Ok(())
    }

    /// An Orlop whose instructions callgrind counts, into the file `counts`.
    pub(crate) fn start_counted(programs: &Programs, data: &Path, counts: &Path) -> Outcome<Self> {
        let address = free_address()?;
        let (command, data) = command(programs, Peer::Orlop, data, address, crate::floor::Kind::default(), None)?;
        let mut counted = Command::new("valgrind");
        counted.arg("--tool=callgrind").arg(format!("--callgrind-out-file={}", counts.display()));
        counted.arg(command.get_program()).args(command.get_args());
        Self::begin(Peer::Orlop, counted, &data, address)
    }

    fn begin(peer: Peer, mut command: Command, data: &Path, address: SocketAddr) -> Outcome<Self> {
        let log = fs::File::create(data.join("log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let began = Instant::now();
        let mut child = command.spawn()?;
        while let Err(error) = TcpStream::connect(address) {
            if error.kind() != ErrorKind::ConnectionRefused || began.elapsed() > START {
                child.kill()?;
                return Err(format!("{} does not answer: {error}", peer.name()).into());
            }
            if let Some(status) = child.try_wait()? {
                let log = fs::read_to_string(data.join("log")).unwrap_or_default();
                return Err(format!("{} ended with {status}: {log}", peer.name()).into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        // Whoever listens may not yet answer.
        if !matches!(peer, Peer::Floor | Peer::Nginx) {
            crate::client::Connection::open(address)?.exchange("GET", "/v2/", "", &[])?;
        }
        let started_in = began.elapsed();
        let process = Process::new(child.id());
        Ok(Self { peer, address, started_in, child, process, engines: None })
    }

    /// The process to ask for what it has used.
    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    /// The database and the object store that it uses.
    pub(crate) fn engines(&self) -> Option<&Engines> {
        self.engines.as_ref()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills it as a crash does.
    pub(crate) fn crash(mut self) -> Outcome<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let asked = Instant::now();
        while asked.elapsed() < Duration::from_secs(10) {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address that nobody has; another may take it only in the next moment.
pub(crate) fn free_address() -> Outcome<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// A directory that is there, by its whole path.
fn directory(path: &Path) -> Outcome<PathBuf> {
    fs::create_dir_all(path)?;
    Ok(fs::canonicalize(path)?)
}

/// How a server is started, and where its data really are.
fn command(
    programs: &Programs,
    peer: Peer,
    data: &Path,
    address: SocketAddr,
    floor: crate::floor::Kind,
    engines: Option<&Engines>,
) -> Outcome<(Command, PathBuf)> {
    let program = programs.get(peer).ok_or_else(|| format!("there is no {}", peer.name()))?;
    let data = directory(data)?;
    let mut command = Command::new(program);
    let text = |path: &Path| path.to_string_lossy().into_owned();
    match peer {
        Peer::Orlop => {
            command.args(["serve", "--addr", &address.to_string(), "--log", "warn"]);
            command.args(["--data", &text(&data.join("data"))]);
        }
        Peer::Shared => {
            command.args(["serve", "--addr", &address.to_string(), "--log", "error"]);
            engines.ok_or("it has no engines")?.for_orlop(&mut command);
        }
        Peer::Distribution | Peer::DockerRegistry | Peer::DistributionS3 => {
            let config = data.join("config.yml");
            let storage = match engines {
                Some(engines) => engines.for_distribution(),
                None => format!("filesystem: {{rootdirectory: {}}}", text(&data.join("data"))),
            };
            fs::write(
                &config,
                format!(
                    "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nstorage:\n  {storage}\n  delete: \
                     {{enabled: true}}\nhttp: {{addr: {address}}}\n"
                ),
            )?;
            command.args(["serve", &text(&config)]).env("OTEL_TRACES_EXPORTER", "none");
        }
        Peer::Crane => {
            fs::create_dir_all(data.join("data"))?;
            command.args(["registry", "serve", "--address", &address.to_string()]);
            command.args(["--disk", &text(&data.join("data"))]);
        }
        Peer::Olareg => {
            command.args(["serve", "--addr", "127.0.0.1", "--port", &address.port().to_string()]);
            command.args(["--store-type", "dir", "--dir", &text(&data.join("data"))]);
        }
        Peer::Zot => {
            let config = data.join("config.json");
            let json = serde_json::json!({
                "storage": { "rootDirectory": data.join("data") },
                "http": { "address": "127.0.0.1", "port": address.port().to_string() },
                "log": { "level": "error" },
            });
            fs::write(&config, json.to_string())?;
            command.args(["serve", &text(&config)]);
        }
        Peer::Nginx => {
            fs::create_dir_all(data.join("data"))?;
            let config = data.join("nginx.conf");
            // One worker, in the process that was started: its account is the whole of it.
            fs::write(
                &config,
                format!(
                    "daemon off; master_process off; worker_processes 1; pid {0}/pid; error_log {0}/error error;\n\
                     events {{ worker_connections 1024; }}\nhttp {{ access_log off; sendfile on; tcp_nopush on; \
                     sendfile_max_chunk 2m; keepalive_requests 1000000; client_body_temp_path {0}/body; proxy_temp_path \
                     {0}/proxy; fastcgi_temp_path {0}/fastcgi; uwsgi_temp_path {0}/uwsgi; scgi_temp_path {0}/scgi;\n\
                     server {{ listen {address}; root {0}/data; }} }}\n",
                    text(&data)
                ),
            )?;
            command.args(["-c", &text(&config), "-p", &text(&data)]);
        }
        Peer::Floor => {
            command.args(["floor", floor.name(), &address.port().to_string(), &text(&data.join("data"))]);
        }
    }
    Ok((command, data))
}
