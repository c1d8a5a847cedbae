//! A pooler of connections between Orlop and its database.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::engines::{Postgres, START, USER, free_port, program, start};

/// A PgBouncer in front of a PostgreSQL, in transaction mode.
pub(crate) struct Pooler<'p> {
    postgres: &'p Postgres,
    port: u16,
    process: Child,
    _directory: TempDir,
}

impl<'p> Pooler<'p> {
    pub(crate) fn to(postgres: &'p Postgres) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("a directory to look into");
        let (users, settings, port) = (directory.path().join("users"), directory.path().join("settings"), free_port());
        fs::write(&users, format!("\"{USER}\" \"\"\n")).expect("a file");
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = trust\nauth_file = {}\npool_mode = transaction\ndefault_pool_size = 4\n",
            postgres.port(),
            users.display()
        );
        fs::write(&settings, text).expect("a file");
        let path = Path::new("/usr/sbin/pgbouncer");
        assert!(path.exists(), "PgBouncer is installed: tests/fleet/install");
        let log = fs::File::create(directory.path().join("log")).expect("a log");
        let mut process = program(path);
        process.arg(&settings).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let process = start(process).expect("PgBouncer runs");
        let pooler = Self { postgres, port, process, _directory: directory };
        let (began, address) = (Instant::now(), SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        while TcpStream::connect(address).is_err() {
            assert!(began.elapsed() < START, "PgBouncer does not start");
            sleep(Duration::from_millis(50));
        }
        pooler
    }

    /// Makes an empty database: its URL through the pooler.
    pub(crate) fn database(&self) -> String {
        let direct = self.postgres.database();
        direct.replace(&format!(":{}/", self.postgres.port()), &format!(":{}/", self.port))
    }
}

impl Drop for Pooler<'_> {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
