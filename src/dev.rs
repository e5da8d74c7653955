//! `tenantry dev`: two example tenants in front of a Redis that nobody else uses.
//!
//! A newcomer should see what Tenantry does within a minute, without a configuration, without touching a
//! Redis that holds somebody's data, and without anything to clean up. So the Redis is private (its own
//! directory, a Unix socket instead of a port, nothing written to disk) and ends with the command, however
//! the command ends: see `OwnedProcess`. A socket rather than a free port, because a port that was free a
//! moment ago may be taken now, and because other users of the machine cannot reach a socket in a directory
//! of mode 0700.
//!
//! The proxy itself is not started here: `run` hands the configuration to whoever can, so this module depends
//! on no other one.

use std::fmt::{self, Write as _};
use std::io::{self, BufRead as _, BufReader, Read as _, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

/// How long a fresh, empty Redis may take until it accepts connections. It needs some 20 ms; half a minute is
/// for a machine that is busy compiling. Only a Redis that hangs makes anybody wait this long.
const START_LIMIT: Duration = Duration::from_secs(30);

/// How long the answer to the first `PING` may take.
const PING_LIMIT: Duration = Duration::from_secs(5);

/// First port tried for the listeners; product default, so that the commands look as in the documentation.
const FIRST_LISTENER_PORT: u16 = 6380;

/// First port tried for the admin address; product default.
const FIRST_ADMIN_PORT: u16 = 9180;

/// How many ports after the first are tried before giving up.
const PORTS_TRIED: u16 = 100;

/// Starts the private Redis, prints what to try to `out`, and runs the proxy on the configuration it is
/// given.
///
/// `proxy` gets the configuration as TOML text and returns when the proxy has ended (Ctrl-C). The Redis ends
/// afterwards, also when `proxy` fails.
pub fn run<E: From<DevError>>(
    out: &mut dyn Write,
    proxy: impl FnOnce(&str) -> Result<(), E>,
) -> Result<(), E> {
    let redis = PrivateRedis::start()?;
    let plan = DevPlan::claim(redis.socket())?;
    write!(out, "{}", plan.banner()).and_then(|()| out.flush()).map_err(DevError::Banner)?;
    proxy(&plan.toml())
}

/// Why `tenantry dev` could not start.
#[derive(Debug, thiserror::Error)]
pub enum DevError {
    /// There is no `redis-server` on the `PATH`.
    #[error(
        "redis-server is not on the PATH: install it with `apt-get install redis-server` (Debian, Ubuntu), \
         `dnf install redis` (Fedora), `apk add redis` (Alpine), `pacman -S redis` (Arch) or \
         `brew install redis` (macOS) and try again; `make run` installs it by itself"
    )]
    RedisMissing,
    /// A program that is there could not be started.
    #[error("cannot start {program}: {source}")]
    Spawn {
        /// The program.
        program: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
    /// The directory for the socket could not be made.
    #[error("cannot make a private directory for Redis in {}: {source}; set TMPDIR to a directory you may write to", .parent.display())]
    Directory {
        /// Where it should have been made.
        parent: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Redis ended before it accepted connections.
    #[error("redis-server ended before it was ready; it said:\n{log}")]
    RedisEnded {
        /// Everything it printed.
        log: String,
    },
    /// Redis runs but does not get ready.
    #[error("redis-server was not ready after {} s; it said:\n{log}", .waited.as_secs())]
    RedisSilent {
        /// How long it was given.
        waited: Duration,
        /// Everything it printed.
        log: String,
    },
    /// Redis said it was ready, but a `PING` failed.
    #[error("redis-server at {} does not answer PING: {source}", .socket.display())]
    Ping {
        /// The socket it should listen on.
        socket: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Redis answered `PING` with something else than `PONG`.
    #[error("redis-server at {} answered PING with {answer:?}", .socket.display())]
    NotPong {
        /// The socket it listens on.
        socket: PathBuf,
        /// The first bytes of what it answered.
        answer: String,
    },
    /// Every port that was tried is in use.
    #[error("no free port on 127.0.0.1 from {first} to {last}: end one of the programs that listen there")]
    NoFreePort {
        /// The first port tried.
        first: u16,
        /// The last port tried.
        last: u16,
    },
    /// What to try could not be printed.
    #[error("cannot print: {0}")]
    Banner(io::Error),
}

/// A child process that ends when its owner does, however the owner ends.
///
/// Dropping it kills the child and waits for it. If the owner has no chance to drop anything (it was killed,
/// or aborted on a panic), a shell that waits on a pipe from the owner sees the pipe close and kills the
/// child. The child has a process group of its own: Ctrl-C ends the owner first, so the owner can still talk
/// to the child while it drains.
#[derive(Debug)]
pub struct OwnedProcess {
    child: Child,
    watcher: Child,
}

impl OwnedProcess {
    /// Starts `command` under watch.
    pub fn spawn(command: &mut Command) -> io::Result<Self> {
        let mut child = command.stdin(Stdio::null()).process_group(0).spawn()?;
        match Self::watch(child.id()) {
            Ok(watcher) => Ok(Self { child, watcher }),
            Err(error) => {
                end(&mut child);
                Err(error)
            }
        }
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How the child ended, if it has.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// What the child prints, if the command asked for a pipe; only the first call gets it.
    pub fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    fn watch(pid: u32) -> io::Result<Child> {
        Command::new("sh")
            .args(["-c", r#"read -r _; kill "$1""#, "watcher"])
            .arg(pid.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
    }
}

impl Drop for OwnedProcess {
    fn drop(&mut self) {
        // The watcher first: once the child is waited for, its process id may belong to somebody else.
        end(&mut self.watcher);
        end(&mut self.child);
    }
}

/// Kills and collects a child. Both calls fail only if it has already been collected, which is what is
/// wanted.
fn end(child: &mut Child) {
    child.kill().ok();
    child.wait().ok();
}

/// A `redis-server` of our own: empty, reachable by a Unix socket only, writing nothing to disk, ended on
/// drop.
#[derive(Debug)]
pub struct PrivateRedis {
    socket: PathBuf,
    // Order matters: fields are dropped as declared, and the directory goes after the process that uses it.
    process: OwnedProcess,
    _directory: TempDir,
}

impl PrivateRedis {
    /// Starts it and returns once it answers `PING`.
    pub fn start() -> Result<Self, DevError> {
        let directory = private_directory()?;
        let socket = directory.path().join("redis.sock");
        let mut process =
            OwnedProcess::spawn(&mut redis_command(directory.path(), &socket)).map_err(no_redis)?;
        let printed = process.take_stdout().map(lines_of);
        let redis = Self { socket, process, _directory: directory };
        if let Some(lines) = printed {
            wait_until_ready(&lines)?;
        }
        redis.ping()?;
        Ok(redis)
    }

    /// The Unix socket it listens on; gone after drop.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    fn ping(&self) -> Result<(), DevError> {
        let answer = exchange_ping(&self.socket)
            .map_err(|source| DevError::Ping { socket: self.socket.clone(), source })?;
        if &answer == b"+PONG\r\n" {
            return Ok(());
        }
        let answer = String::from_utf8_lossy(&answer).into_owned();
        Err(DevError::NotPong { socket: self.socket.clone(), answer })
    }
}

fn private_directory() -> Result<TempDir, DevError> {
    // tempfile makes it with mode 0700.
    tempfile::Builder::new()
        .prefix("tenantry-dev-")
        .tempdir()
        .map_err(|source| DevError::Directory { parent: std::env::temp_dir(), source })
}

fn redis_command(directory: &Path, socket: &Path) -> Command {
    let mut command = Command::new("redis-server");
    command
        .args(["--port", "0", "--unixsocketperm", "700", "--unixsocket"])
        .arg(socket)
        .arg("--dir")
        .arg(directory)
        // The log goes to standard output, where we wait for the line that says it is ready.
        .args(["--save", "", "--appendonly", "no", "--daemonize", "no", "--logfile", ""])
        // What a tenant's RESTORE brings is looked into.
        .args(["--sanitize-dump-payload", "clients"])
        .stdout(Stdio::piped());
    command
}

fn no_redis(source: io::Error) -> DevError {
    if source.kind() == io::ErrorKind::NotFound {
        DevError::RedisMissing
    } else {
        DevError::Spawn { program: "redis-server", source }
    }
}

/// The lines a child prints, as they come. They are read to the end even when nobody wants them any more: a
/// child whose pipe is full stops working.
fn lines_of(printed: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(printed).lines().map_while(Result::ok) {
            sender.send(line).ok();
        }
    });
    receiver
}

/// Waits for the line all of Redis and Valkey, old and new, print when they accept connections.
fn wait_until_ready(lines: &Receiver<String>) -> Result<(), DevError> {
    let mut log = String::new();
    loop {
        match lines.recv_timeout(START_LIMIT) {
            Ok(line) if line.to_ascii_lowercase().contains("ready to accept connections") => return Ok(()),
            Ok(line) => {
                log.push_str(&line);
                log.push('\n');
            }
            Err(RecvTimeoutError::Disconnected) => return Err(DevError::RedisEnded { log }),
            Err(RecvTimeoutError::Timeout) => return Err(DevError::RedisSilent { waited: START_LIMIT, log }),
        }
    }
}

fn exchange_ping(socket: &Path) -> io::Result<[u8; 7]> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PING_LIMIT))?;
    stream.write_all(b"PING\r\n")?;
    let mut answer = [0; 7];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

/// Where everything of one `tenantry dev` listens, and what follows from that: configuration and banner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevPlan {
    tenants: [ExampleTenant; 2],
    by_auth: SocketAddr,
    admin: SocketAddr,
    redis: PathBuf,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct ExampleTenant {
    name: &'static str,
    password: &'static str,
    listener: SocketAddr,
}

/// A command to try, and what `redis-cli` then shows in a terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    /// What it shows about Tenantry.
    pub point: &'static str,
    /// To be typed as it stands.
    pub command: String,
    /// What is printed, line by line; two keys may come in either order.
    pub prints: &'static [&'static str],
}

impl DevPlan {
    /// Chooses free ports on 127.0.0.1, the defaults where possible, in front of the Redis at `redis`.
    pub fn claim(redis: &Path) -> Result<Self, DevError> {
        let listeners = free_ports::<3>(FIRST_LISTENER_PORT)?;
        let admin = free_ports::<1>(FIRST_ADMIN_PORT)?;
        Ok(Self::new(listeners, admin, redis))
    }

    fn new([acme, globex, by_auth]: [u16; 3], [admin]: [u16; 1], redis: &Path) -> Self {
        Self {
            tenants: [
                ExampleTenant { name: "acme", password: "acme-secret", listener: local(acme) },
                ExampleTenant { name: "globex", password: "globex-secret", listener: local(globex) },
            ],
            by_auth: local(by_auth),
            admin: local(admin),
            redis: redis.to_owned(),
        }
    }

    /// The admin address: `/metrics`, `/livez`, `/readyz`.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// The configuration for the proxy.
    pub fn toml(&self) -> String {
        let upstream = toml::Value::from(format!("unix://{}", self.redis.display()));
        let mut text = format!(
            "[[listener]]\naddress = \"{}\"\n\n[admin]\naddress = \"{}\"\n\n[upstream.main]\nurl = {upstream}\n",
            self.by_auth, self.admin
        );
        for tenant in &self.tenants {
            text.push_str(&tenant.toml());
        }
        text
    }

    /// What is printed for the person at the terminal.
    pub fn banner(&self) -> String {
        let [acme, globex] = &self.tenants;
        let mut text = format!(
            "\
Two tenants share one Redis, and neither can tell. All of it is private to this
command and gone when you press Ctrl-C.

  {acme}
  {globex}
  by AUTH    {by_auth}    the user picks the tenant: {} / {}, {} / {}
  admin      {admin}    http://{admin}/metrics
  the Redis  {redis}

Try in another terminal:
",
            acme.name,
            acme.password,
            globex.name,
            globex.password,
            by_auth = self.by_auth,
            admin = self.admin,
            redis = self.redis.display(),
        );
        for trial in self.trials() {
            text.push_str(&trial.to_string());
        }
        text.push('\n');
        text
    }

    /// The commands to try, in order: each builds on those before it.
    pub fn trials(&self) -> Vec<Trial> {
        let [acme, globex] = &self.tenants;
        let (acme_port, globex_port, auth_port) =
            (acme.listener.port(), globex.listener.port(), self.by_auth.port());
        let cli = |point, arguments: String, prints| Trial {
            point,
            command: format!("redis-cli {arguments}"),
            prints,
        };
        let as_globex = format!("--no-auth-warning --user {} --pass {}", globex.name, globex.password);
        vec![
            cli("acme stores a value", format!("-p {acme_port} SET greeting 'hello from acme'"), &["OK"]),
            cli("globex does not see it", format!("-p {globex_port} GET greeting"), &["(nil)"]),
            cli(
                "globex stores its own under the same name",
                format!("-p {globex_port} SET greeting 'hello from globex'"),
                &["OK"],
            ),
            cli("acme's is untouched", format!("-p {acme_port} GET greeting"), &["\"hello from acme\""]),
            cli(
                "one port for all: AUTH picks the tenant",
                format!("-p {auth_port} {as_globex} GET greeting"),
                &["\"hello from globex\""],
            ),
            cli(
                "what Redis really holds",
                format!("-s {} KEYS '*'", shell_word(&self.redis)),
                &["1) \"acme:greeting\"", "2) \"globex:greeting\""],
            ),
        ]
    }
}

impl ExampleTenant {
    fn toml(&self) -> String {
        let Self { name, password, listener } = self;
        format!(
            "\n[[listener]]\naddress = \"{listener}\"\ntenant = \"{name}\"\n\n[tenant.{name}]\n\n\
             [[tenant.{name}.user]]\nname = \"{name}\"\nsecrets = [\"sha256:{}\"]\n",
            sha256_hex(password)
        )
    }
}

impl fmt::Display for ExampleTenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<9}  {}    tenant of this port, no password needed", self.name, self.listener)
    }
}

impl fmt::Display for Trial {
    /// The answer stands on lines of its own: a comment behind the command would not survive being pasted
    /// into every shell.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n  {}:\n    {}", self.point, self.command)?;
        self.prints.iter().try_for_each(|line| writeln!(f, "      {line}"))
    }
}

/// The first `N` free ports from `first` on, all different.
fn free_ports<const N: usize>(first: u16) -> Result<[u16; N], DevError> {
    // Kept until all are found, so that none is found twice.
    let mut held: Vec<TcpListener> = Vec::with_capacity(N);
    let last = first.saturating_add(PORTS_TRIED);
    let mut ports = [0; N];
    let mut candidates = first..=last;
    for port in &mut ports {
        let (free, listener) = candidates
            .by_ref()
            .find_map(|port| TcpListener::bind(local(port)).ok().map(|listener| (port, listener)))
            .ok_or(DevError::NoFreePort { first, last })?;
        *port = free;
        held.push(listener);
    }
    Ok(ports)
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))
}

fn sha256_hex(secret: &str) -> String {
    Sha256::digest(secret).iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a String cannot fail.
        write!(text, "{byte:02x}").ok();
        text
    })
}

/// The path as one word of a shell command, quoted only where that is needed.
fn shell_word(path: &Path) -> String {
    let text = path.display().to_string();
    if text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-+".contains(&byte)) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests;
