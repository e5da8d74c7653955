//! Starts `redis-server` and `tenantry` in scratch directories on free ports, waits until they serve, and
//! ends them when the test ends. What they wrote is shown when the test fails.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use crate::texts::UNAVAILABLE;
use crate::wire::Client;

/// How long a server may take to serve; a machine that builds something else at the same time is slow.
const START_LIMIT: Duration = Duration::from_secs(30);

/// Ports are found free and then used, so another process may take one in between; then all is tried again.
const START_ATTEMPTS: usize = 5;

/// The clock of the tests: only for bounds on waiting, never for expected values.
#[expect(
    clippy::disallowed_methods,
    reason = "tests are the outermost shell; this is the only place that looks"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Asks again until `probe` gives something or the time is over. `log` is the event waited for in between:
/// a process that changes its state says so.
fn wait_until<T>(log: &Log, limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = now() + limit;
    loop {
        if let Some(found) = probe() {
            return Some(found);
        }
        if now() >= deadline {
            return None;
        }
        log.wait_for_more(Duration::from_millis(10));
    }
}

/// What a process has written so far.
#[derive(Default)]
struct Log {
    lines: Mutex<Vec<String>>,
    grown: Condvar,
}

impl Log {
    fn follow(self: &Arc<Self>, source: impl Read + Send + 'static) {
        let log = Arc::clone(self);
        std::thread::spawn(move || {
            for line in BufReader::new(source).split(b'\n').map_while(Result::ok) {
                log.lines.lock().unwrap().push(String::from_utf8_lossy(&line).into_owned());
                log.grown.notify_all();
            }
        });
    }

    fn contains(&self, text: &str) -> bool {
        self.lines.lock().unwrap().iter().any(|line| line.contains(text))
    }

    fn wait_for_more(&self, at_most: Duration) {
        let lines = self.lines.lock().unwrap();
        drop(self.grown.wait_timeout(lines, at_most).unwrap());
    }

    fn text(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }
}

/// A child process with its output; ended when dropped.
struct Process {
    child: Child,
    log: Arc<Log>,
    name: &'static str,
}

impl Process {
    fn start(name: &'static str, command: &mut Command, remedy: &str) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start ({error}): {remedy}"));
        let log = Arc::new(Log::default());
        log.follow(child.stdout.take().expect("stdout is piped"));
        log.follow(child.stderr.take().expect("stderr is piped"));
        Self { child, log, name }
    }

    fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child can be asked").is_some()
    }

    fn signal(&self, signal: &str) {
        let done = Command::new("kill").arg(signal).arg(self.child.id().to_string()).status();
        assert!(done.expect("the kill program exists").success(), "{} cannot be signalled", self.name);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A stopped process takes a SIGKILL too, and one that has ended is only collected.
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            eprintln!("--- output of {} (process {}) ---\n{}", self.name, self.child.id(), self.log.text());
        }
    }
}

/// A port nobody listens on at this moment.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port can be bound");
    listener.local_addr().expect("a bound socket has an address").port()
}

/// A Redis server without persistence.
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
        let directory = tempfile::tempdir().expect("a scratch directory can be made");
        let options = options.iter().map(ToString::to_string).collect();
        let mut server = Self { process: None, options, directory, port: 0 };
        for _ in 0..START_ATTEMPTS {
            server.port = free_port();
            if server.try_restart() {
                return server;
            }
        }
        panic!("redis-server found its port taken {START_ATTEMPTS} times");
    }

    /// Starts again on the same port, with nothing stored.
    pub(crate) fn restart(&mut self) {
        assert!(self.try_restart(), "redis-server cannot have port {} again", self.port);
    }

    /// The same, with more options than before.
    pub(crate) fn restart_with(&mut self, options: &[&str]) {
        self.options.extend(options.iter().map(ToString::to_string));
        self.restart();
    }

    fn try_restart(&mut self) -> bool {
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
    fn unread_bytes(&self) -> usize {
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

const REDIS_REMEDY: &str = "install Redis 7 (`apt-get install redis-server`, `brew install redis`) \
                            so that redis-server, redis-cli and redis-benchmark are on the path";

/// What a test wants to be different from the defaults.
pub(crate) struct Setup {
    /// URL of the upstream.
    pub(crate) upstream: String,
    /// Lines for `[upstream.main]` besides the URL.
    pub(crate) upstream_lines: String,
    /// Lines at the top of the document.
    pub(crate) top_lines: &'static str,
    /// Lines for `[downstream]`.
    pub(crate) downstream_lines: &'static str,
    /// Sections of the document besides those below.
    pub(crate) sections: &'static str,
    /// Limit of one argument, in the notation of the configuration.
    pub(crate) max_bulk: &'static str,
    /// Number of workers.
    pub(crate) workers: usize,
}

impl Setup {
    /// Two workers, the limits of Redis, patient timeouts.
    pub(crate) fn for_upstream(url: impl Into<String>) -> Self {
        Self {
            upstream: url.into(),
            upstream_lines: "connect_timeout = \"2s\"\nreply_timeout = \"10s\"".into(),
            top_lines: "",
            downstream_lines: "",
            sections: "",
            max_bulk: "512MiB",
            workers: 2,
        }
    }

    /// The whole configuration file. Tenant `acme` needs no credentials on its own listeners; the listener
    /// without a tenant knows the users below.
    fn document(&self, ports: &Ports, socket: &std::path::Path) -> String {
        let mut text = format!("workers = {}\n{}\n", self.workers, self.top_lines);
        for (address, tenant) in [
            (format!("127.0.0.1:{}", ports.acme), Some("acme")),
            (format!("127.0.0.1:{}", ports.globex), Some("globex")),
            (format!("127.0.0.1:{}", ports.open), None),
            (format!("unix:{}", socket.display()), Some("acme")),
        ] {
            writeln!(text, "[[listener]]\naddress = \"{address}\"").unwrap();
            if let Some(tenant) = tenant {
                writeln!(text, "tenant = \"{tenant}\"").unwrap();
            }
        }
        writeln!(text, "[admin]\naddress = \"127.0.0.1:{}\"", ports.admin).unwrap();
        writeln!(text, "[downstream]\nmax_bulk = \"{}\"\n{}", self.max_bulk, self.downstream_lines).unwrap();
        writeln!(text, "[upstream.main]\nurl = \"{}\"\n{}", self.upstream, self.upstream_lines).unwrap();
        text.push_str(self.sections);
        text.push_str(TENANTS);
        text
    }
}

/// Tenants and users; the secrets are SHA-256 of `acme-secret`, `globex-secret` and `reports-secret`.
const TENANTS: &str = r#"
[tenant.acme]
[[tenant.acme.user]]
name = "acme"
secrets = ["sha256:307c609f87da43c3d563428a4f7efdf9857f4871fd10465732c4ab11a985a08c"]
[[tenant.acme.user]]
name = "archive"
secrets = ["sha256:cba98f988f2e420084bcd5700ca8ebdc8c2a17d47b9ede26e35dd9e0fb25b0c5"]
database = 3
[tenant.globex]
[[tenant.globex.user]]
name = "globex"
secrets = ["sha256:4fe6ae1bd397d68b149f8a86069f5e6806a937d7d0b2f31830c48008b268bda0"]
[tenant.initech]
[[tenant.initech.user]]
name = "reports"
secrets = ["sha256:cba98f988f2e420084bcd5700ca8ebdc8c2a17d47b9ede26e35dd9e0fb25b0c5"]
prefix = "reports:"
[[tenant.initech.user]]
name = "cache"
secrets = ["sha256:cba98f988f2e420084bcd5700ca8ebdc8c2a17d47b9ede26e35dd9e0fb25b0c5"]
prefix = "cache:"
"#;

/// The ports of one proxy.
struct Ports {
    acme: u16,
    globex: u16,
    open: u16,
    admin: u16,
}

impl Ports {
    fn free() -> Self {
        // Held together until all four are known, so that they differ.
        let held: Vec<_> = (0..4).map(|_| TcpListener::bind("127.0.0.1:0").expect("a port")).collect();
        let port = |index: usize| held[index].local_addr().expect("a bound socket has an address").port();
        Self { acme: port(0), globex: port(1), open: port(2), admin: port(3) }
    }
}

/// A running proxy.
pub(crate) struct Proxy {
    process: Process,
    ports: Ports,
    directory: tempfile::TempDir,
}

impl Proxy {
    /// Starts in front of one Redis and waits until it is ready.
    pub(crate) fn before(redis: &RedisServer) -> Self {
        Self::start(&Setup::for_upstream(redis.url()))
    }

    /// Starts and waits until `/readyz` answers 200.
    pub(crate) fn start(setup: &Setup) -> Self {
        let proxy = Self::start_unready(setup);
        proxy.wait_until_ready();
        proxy
    }

    /// Starts and waits only until the process answers on its admin port.
    pub(crate) fn start_unready(setup: &Setup) -> Self {
        for _ in 0..START_ATTEMPTS {
            if let Some(proxy) = Self::try_start(setup) {
                return proxy;
            }
        }
        panic!("tenantry found a port taken {START_ATTEMPTS} times");
    }

    fn try_start(setup: &Setup) -> Option<Self> {
        let directory = tempfile::tempdir().expect("a scratch directory can be made");
        let ports = Ports::free();
        let file = directory.path().join("tenantry.toml");
        std::fs::write(&file, setup.document(&ports, &directory.path().join("acme.sock"))).expect("a config");
        let mut command = Command::new(env!("CARGO_BIN_EXE_tenantry"));
        command.arg("--config").arg(&file).current_dir(directory.path());
        // The configuration also reads the environment; what is set there for the tests is not meant for it.
        for (name, _) in std::env::vars_os() {
            if ["TENANTRY_", "REDIS_"].iter().any(|start| name.to_string_lossy().starts_with(start)) {
                command.env_remove(name);
            }
        }
        let process = Process::start("tenantry", &mut command, "the binary is built by cargo test");
        let mut proxy = Self { process, ports, directory };
        let log = Arc::clone(&proxy.process.log);
        let serves = wait_until(&log, START_LIMIT, || {
            if proxy.process.has_ended() {
                return Some(false);
            }
            (proxy.admin("/livez").ok()?.status == 200).then_some(true)
        });
        match serves {
            Some(true) => Some(proxy),
            Some(false) if log.text().to_lowercase().contains("address already in use") => None,
            Some(false) => panic!("tenantry ended at start:\n{}", log.text()),
            None => panic!("tenantry does not answer /livez after {START_LIMIT:?}:\n{}", log.text()),
        }
    }

    /// Waits until `/readyz` answers 200.
    pub(crate) fn wait_until_ready(&self) {
        self.wait_for_readiness(200, "");
    }

    /// Waits until `/readyz` answers `status` and says `words`; returns all it says.
    pub(crate) fn wait_for_readiness(&self, status: u16, words: &str) -> String {
        let mut last = String::new();
        let found = wait_until(&self.process.log, START_LIMIT, || {
            let page = self.admin("/readyz").ok()?;
            last = format!("{} {}", page.status, page.body);
            (page.status == status && page.body.contains(words)).then_some(page.body)
        });
        found.unwrap_or_else(|| {
            panic!("/readyz is not {status} with `{words}` after {START_LIMIT:?}, but {last}")
        })
    }

    /// Repeats a command on one connection until its worker has the upstream back: the wait between attempts
    /// to reconnect is the proxy's, and every answer in the meantime must be the one for a lost upstream.
    pub(crate) fn ask_until_served(&self, client: &mut Client, line: &str) -> String {
        let served = wait_until(&self.process.log, START_LIMIT, || {
            let reply = client.ask(line);
            (!reply.starts_with(UNAVAILABLE)).then_some(reply)
        });
        served
            .unwrap_or_else(|| panic!("`{line}` is not served {START_LIMIT:?} after the upstream came back"))
    }

    /// Waits until `is_so`.
    pub(crate) fn wait_for(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let outcome = wait_until(&self.process.log, START_LIMIT, || is_so().then_some(()));
        outcome.unwrap_or_else(|| panic!("waited for {what}, in vain"));
    }

    /// Asks the process to end, as an orchestrator does.
    pub(crate) fn terminate(&self) {
        self.process.signal("-TERM");
    }

    /// Where the admin port is.
    pub(crate) fn admin_address(&self) -> String {
        format!("127.0.0.1:{}", self.ports.admin)
    }

    /// Fetches one page of the admin port.
    pub(crate) fn admin(&self, path: &str) -> std::io::Result<Page> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.ports.admin))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        Ok(Page { status, body: body.to_owned() })
    }

    /// Whether the process still runs.
    pub(crate) fn is_up(&mut self) -> bool {
        !self.process.has_ended()
    }

    /// Resident memory in KiB, as the kernel counts it.
    pub(crate) fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.child.id()))
            .expect("the kernel tells about a running process");
        status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok())
            .expect("VmRSS is there")
    }

    /// Port of the listener that binds to tenant `acme`.
    pub(crate) fn acme_port(&self) -> u16 {
        self.ports.acme
    }

    /// Where clients say who they are.
    pub(crate) fn open_port(&self) -> u16 {
        self.ports.open
    }

    /// Port of the listener that binds to tenant `globex`.
    pub(crate) fn globex_port(&self) -> u16 {
        self.ports.globex
    }

    /// A connection bound to tenant `acme` by its listener.
    pub(crate) fn acme(&self) -> Client {
        Client::tcp(self.ports.acme)
    }

    /// A connection bound to tenant `globex` by its listener.
    pub(crate) fn globex(&self) -> Client {
        Client::tcp(self.ports.globex)
    }

    /// A connection to the listener that wants credentials.
    pub(crate) fn open(&self) -> Client {
        Client::tcp(self.ports.open)
    }

    /// A connection to the Unix socket that binds to tenant `acme`.
    pub(crate) fn acme_by_socket(&self) -> Client {
        Client::unix(&self.acme_socket())
    }

    /// The Unix socket that binds to tenant `acme`.
    pub(crate) fn acme_socket(&self) -> PathBuf {
        self.directory.path().join("acme.sock")
    }
}

/// A page of the admin port.
pub(crate) struct Page {
    /// HTTP status.
    pub(crate) status: u16,
    /// Everything after the head.
    pub(crate) body: String,
}
