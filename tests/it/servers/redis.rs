//! One Redis server.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use super::{Process, START_ATTEMPTS, START_LIMIT, free_port, wait_until};
use crate::wire::Client;

/// A Redis server; without persistence unless it is told to have some.
pub(crate) struct RedisServer {
    process: Option<Process>,
    options: Vec<String>,
    directory: tempfile::TempDir,
    /// The TCP port; stays the same over restarts.
    pub(crate) port: u16,
}

impl RedisServer {
    /// Starts with defaults that keep small collections in their compact encodings.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts with more options, each as on the command line of `redis-server`.
    pub(crate) fn start_with(options: &[&str]) -> Self {
        let mut server = Self::prepared(0, options.iter().map(ToString::to_string).collect());
        for _ in 0..START_ATTEMPTS {
            server.port = free_port();
            if server.try_restart() {
                return server;
            }
        }
        panic!("redis-server found its port taken {START_ATTEMPTS} times");
    }

    /// One that is not started yet.
    pub(super) fn prepared(port: u16, options: Vec<String>) -> Self {
        let directory = tempfile::tempdir().expect("a scratch directory can be made");
        Self { process: None, options, directory, port }
    }

    /// Writes a file into the directory where the server runs.
    pub(super) fn write_file(&self, name: &str, text: &str) {
        std::fs::write(self.directory.path().join(name), text)
            .expect("a scratch directory can be written to");
    }

    /// Starts again on the same port, with what it has stored: nothing, without persistence.
    pub(crate) fn restart(&mut self) {
        assert!(self.try_restart(), "redis-server cannot have port {} again", self.port);
    }

    /// The same, with more options than before.
    pub(crate) fn restart_with(&mut self, options: &[&str]) {
        self.options.extend(options.iter().map(ToString::to_string));
        self.restart();
    }

    /// Starts, or finds that somebody has its port.
    pub(super) fn try_restart(&mut self) -> bool {
        let mut process = Process::start("redis-server", &mut self.command_line(), REDIS_REMEDY);
        let log = Arc::clone(&process.log);
        let ready = wait_until(&log, START_LIMIT, || {
            if log.contains("Ready to accept connections") {
                return Some(true);
            }
            process.has_ended().then_some(false)
        });
        match ready {
            Some(true) => self.process = Some(process),
            Some(false) if log.contains("ddress already in use") => return false,
            Some(false) => panic!("redis-server ended at start:\n{}", log.text()),
            None => panic!("redis-server is not ready after {START_LIMIT:?}:\n{}", log.text()),
        }
        true
    }

    fn command_line(&self) -> Command {
        let mut command = Command::new("redis-server");
        command.current_dir(self.directory.path());
        command.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"]);
        command.arg("--unixsocket").arg(self.socket());
        command.args(["--save", "", "--appendonly", "no", "--enable-debug-command", "yes"]);
        // Without it the proxy forwards no RESTORE.
        command.args(["--sanitize-dump-payload", "clients"]);
        for limit in ["hash-max-listpack", "zset-max-listpack"] {
            // Hash tables come back in an order that depends on a seed of the process; lists do not.
            command.args([&format!("--{limit}-entries"), "1024", &format!("--{limit}-value"), "4096"]);
        }
        command.args(&self.options);
        command
    }

    /// Whether it has been started and not been killed.
    pub(super) fn is_up(&self) -> bool {
        self.process.is_some()
    }

    /// Ends the server at once, as a crash would.
    pub(crate) fn kill(&mut self) {
        self.process = None;
    }

    /// Stops the process without closing its connections.
    pub(crate) fn freeze(&self) {
        self.process.as_ref().expect("the server runs").signal("-STOP");
    }

    /// Continues a frozen process.
    pub(crate) fn thaw(&self) {
        self.process.as_ref().expect("the server runs").signal("-CONT");
    }

    /// Waits until this many bytes have reached the server and are not read: requests to a frozen server are
    /// under way then, whoever sent them.
    pub(crate) fn wait_for_unread(&self, bytes: usize) {
        let log = &self.process.as_ref().expect("the server runs").log;
        let arrived = wait_until(log, START_LIMIT, || (self.unread_bytes() >= bytes).then_some(()));
        assert!(arrived.is_some(), "{} of {bytes} bytes have reached the frozen Redis", self.unread_bytes());
    }

    /// Receive queues of the kernel's sockets on the server's port.
    pub(crate) fn unread_bytes(&self) -> usize {
        let table = std::fs::read_to_string("/proc/net/tcp").expect("the kernel lists its sockets");
        let port = format!(":{:04X}", self.port);
        let of_row = |row: &str| {
            let fields: Vec<&str> = row.split_whitespace().collect();
            let is_established = fields.get(3) == Some(&"01");
            let queue = fields.get(4)?.split_once(':')?.1;
            (fields.get(1)?.ends_with(&port) && is_established)
                .then(|| usize::from_str_radix(queue, 16).unwrap_or(0))
        };
        table.lines().filter_map(of_row).sum()
    }

    /// A connection to the server itself.
    pub(crate) fn client(&self) -> Client {
        Client::tcp(self.port)
    }

    /// The Unix socket it listens on besides its port.
    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("redis.sock")
    }

    /// How an upstream is configured for it.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}

pub(super) const REDIS_REMEDY: &str = "install Redis 7 (`apt-get install redis-server`, `brew install redis`) \
                            so that redis-server, redis-cli and redis-benchmark are on the path";
