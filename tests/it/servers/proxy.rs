//! The proxy under test.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use super::{Process, RedisServer, START_ATTEMPTS, START_LIMIT, free_ports, wait_until};
use crate::texts::UNAVAILABLE;
use crate::wire::Client;

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
    /// Lines for every tenant.
    pub(crate) tenant_lines: &'static str,
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
            tenant_lines: "",
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
        for line in TENANTS.lines() {
            writeln!(text, "{line}").unwrap();
            if line.starts_with("[tenant.") {
                writeln!(text, "{}", self.tenant_lines).unwrap();
            }
        }
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
        let [acme, globex, open, admin] = free_ports();
        Self { acme, globex, open, admin }
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
        self.ask_admin(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
    }

    /// Sends a form to one page of the admin port.
    pub(crate) fn post(&self, path: &str, form: &str) -> Page {
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{form}",
            form.len()
        );
        self.ask_admin(&request).expect("the admin port answers")
    }

    /// One whole number of `/metrics`, by its name and labels as they are written there; 0 if it is not there.
    pub(crate) fn metric(&self, series: &str) -> u64 {
        let page = self.admin("/metrics").expect("the admin port answers").body;
        let value = page.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok());
        value.unwrap_or(0)
    }

    /// Whether the process has logged this.
    pub(crate) fn has_logged(&self, text: &str) -> bool {
        self.process.log.contains(text)
    }

    fn ask_admin(&self, request: &str) -> std::io::Result<Page> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.ports.admin))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(request.as_bytes())?;
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
