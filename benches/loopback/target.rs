//! What is measured: Redis or a cluster, and each proxy in front of it with one worker thread.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::slice;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use tempfile::TempDir;
use tenantry::dev::OwnedProcess;

use crate::workload::request;
use crate::{cluster, cost, load, options};

/// How long a target may take until it answers its first command.
const START_LIMIT: Duration = Duration::from_secs(10);

/// Files a proxy has open besides its connections.
const FILES_RESERVED: usize = 500;

/// Limits of every kind, which nobody reaches here.
const UNREACHED_LIMITS: &str = "[tenant.bench.limits]\nrequests_per_second = 100000000\n\
     request_bytes_per_second = 1000000000\nreply_bytes_per_second = 1000000000\nconnections = 100000\n\
     in_flight = 1000000\n[tenant.bench.limits.class.write]\nrequests_per_second = 90000000\n";

/// A way to Redis.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Direct,
    Twemproxy,
    Haproxy,
    Tenantry,
    /// The same, for a tenant with `compression = "lz4"`.
    Compressing,
    /// The same, without a breaker.
    Bare,
    /// The same, with a breaker and for a tenant with limits of every kind that it does not reach.
    Guarded,
    /// The cluster itself, for a client that knows where the keys are.
    DirectCluster,
    /// Tenantry in front of the cluster.
    Cluster,
    /// The same, for a tenant with `order = "relaxed"`.
    Relaxed,
}

impl Kind {
    /// The ways to one Redis.
    pub(crate) const SINGLE: [Self; 4] = [Self::Direct, Self::Twemproxy, Self::Haproxy, Self::Tenantry];

    /// The ways to a cluster, and those to one Redis that they are compared with.
    pub(crate) const CLUSTER: [Self; 5] =
        [Self::Direct, Self::DirectCluster, Self::Tenantry, Self::Cluster, Self::Relaxed];

    /// The ways to one Redis with values that can be compressed.
    pub(crate) const COMPRESSION: [Self; 3] = [Self::Direct, Self::Tenantry, Self::Compressing];

    /// With and without what guards tenants and nodes.
    pub(crate) const GUARDS: [Self; 4] = [Self::Direct, Self::Bare, Self::Tenantry, Self::Guarded];

    pub(crate) fn parse(name: &str) -> Result<Self, String> {
        let all =
            || Self::SINGLE.into_iter().chain(Self::CLUSTER).chain(Self::COMPRESSION).chain(Self::GUARDS);
        all().find(|kind| kind.name() == name).ok_or_else(|| {
            let mut names: Vec<_> = all().map(Self::name).collect();
            names.sort_unstable();
            names.dedup();
            format!("no target `{name}`; there are {}", names.join(", "))
        })
    }

    pub(crate) fn is_direct(self) -> bool {
        matches!(self, Self::Direct | Self::DirectCluster)
    }

    pub(crate) fn is_on_cluster(self) -> bool {
        matches!(self, Self::DirectCluster | Self::Cluster | Self::Relaxed)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Twemproxy => "twemproxy",
            Self::Haproxy => "haproxy",
            Self::Tenantry => "tenantry",
            Self::Compressing => "tenantry-lz4",
            Self::Bare => "tenantry-bare",
            Self::Guarded => "tenantry-guarded",
            Self::DirectCluster => "direct-cluster",
            Self::Cluster => "tenantry-cluster",
            Self::Relaxed => "tenantry-relaxed",
        }
    }

    /// The program and the package it is in.
    pub(crate) fn program(self) -> OsString {
        match self {
            Self::Direct | Self::DirectCluster => "redis-server".into(),
            Self::Twemproxy => "nutcracker".into(),
            Self::Haproxy => "haproxy".into(),
            Self::Tenantry
            | Self::Compressing
            | Self::Bare
            | Self::Guarded
            | Self::Cluster
            | Self::Relaxed => {
                std::env::var_os("TENANTRY_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_tenantry").into())
            }
        }
    }

    /// The program, as it is started.
    pub(crate) fn command(self) -> Command {
        let mut command = Command::new(self.program());
        // Tenantry reads its settings from the environment too, and refuses variables that are none.
        for (name, _) in std::env::vars_os() {
            let name_text = name.to_string_lossy();
            if name_text.starts_with("TENANTRY_") || name_text.starts_with("REDIS_") {
                command.env_remove(&name);
            }
        }
        command
    }

    /// What to do when the program is not there.
    fn remedy(self) -> &'static str {
        match self {
            Self::Direct | Self::DirectCluster => "install Redis (Debian: apt-get install redis-server)",
            Self::Twemproxy => {
                "install twemproxy (Debian: apt-get install nutcracker) or leave it out with --targets"
            }
            Self::Haproxy => {
                "install haproxy (Debian: apt-get install haproxy) or leave it out with --targets"
            }
            Self::Tenantry
            | Self::Compressing
            | Self::Bare
            | Self::Guarded
            | Self::Cluster
            | Self::Relaxed => "build it (cargo build --release), or name the binary in TENANTRY_BIN",
        }
    }

    /// Client connections a proxy can hold with so many files.
    fn capacity(self, files: usize) -> usize {
        let files = files.saturating_sub(FILES_RESERVED);
        match self {
            // One connection to Redis for each client connection.
            Self::Haproxy => files / 2,
            Self::Direct
            | Self::Twemproxy
            | Self::Tenantry
            | Self::Compressing
            | Self::Bare
            | Self::Guarded
            | Self::DirectCluster
            | Self::Cluster
            | Self::Relaxed => files,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What all targets share: a Redis, a cluster if any target needs one, and a directory for configurations and
/// logs. All of it ends on drop.
pub(crate) struct Stand {
    redis: Target,
    /// The primaries of the cluster; empty if there is none.
    cluster: Vec<Target>,
    directory: TempDir,
    files: usize,
}

/// Memory of idle connections through one proxy.
pub(crate) struct Idle {
    pub(crate) kind: Kind,
    pub(crate) connections: usize,
    /// What the proxy grew by, for each connection.
    pub(crate) bytes: u64,
}

/// A way to Redis that is up.
pub(crate) struct Target {
    pub(crate) kind: Kind,
    pub(crate) address: SocketAddr,
    /// None for direct: the process belongs to the stand.
    pub(crate) process: Option<OwnedProcess>,
}

impl Stand {
    /// Makes sure every program is there, then starts Redis.
    pub(crate) fn build(targets: &[Kind]) -> anyhow::Result<Self> {
        for &kind in targets {
            version(kind).map_err(|error| {
                anyhow!("cannot run {}: {error}; {}", kind.program().display(), kind.remedy())
            })?;
        }
        let directory = tempfile::Builder::new().prefix("tenantry-bench-").tempdir()?;
        let address = free_address()?;
        let mut command = Command::new(Kind::Direct.program());
        command
            .args(["--bind", "127.0.0.1", "--port", &address.port().to_string(), "--dir"])
            .arg(directory.path())
            .args(["--save", "", "--appendonly", "no", "--maxclients", "30000"]);
        let redis = start(Kind::Direct, address, &mut command, directory.path())?;
        let cluster = if targets.iter().any(|kind| kind.is_on_cluster()) {
            cluster::start(directory.path())?
        } else {
            Vec::new()
        };
        Ok(Self { redis, cluster, directory, files: options::file_limit()? })
    }

    /// The servers behind a target.
    fn servers(&self, kind: Kind) -> &[Target] {
        if kind.is_on_cluster() { &self.cluster } else { slice::from_ref(&self.redis) }
    }

    /// CPU time of the servers behind a target, together.
    pub(crate) fn redis_cpu_time(&self, kind: Kind) -> anyhow::Result<Duration> {
        self.servers(kind).iter().map(Target::cpu_time).sum()
    }

    /// Stops Redis itself (`-STOP`), or continues it (`-CONT`).
    pub(crate) fn signal_redis(&self, signal: &str) -> anyhow::Result<()> {
        let process = self.redis.process.as_ref().context("Redis is there")?;
        let status = Command::new("kill").arg(signal).arg(process.id().to_string()).status()?;
        if status.success() { Ok(()) } else { bail!("kill {signal}: {status}") }
    }

    /// Bytes that the servers behind a target have read and written, together.
    pub(crate) fn redis_traffic(&self, kind: Kind) -> anyhow::Result<u64> {
        let of_server = |server: &Target| {
            let stats = load::ask(server.address, &request(&[b"INFO", b"stats"]))?;
            let figure = |line: &str| {
                let of_network = ["total_net_input_bytes:", "total_net_output_bytes:"];
                of_network.iter().find_map(|name| line.trim().strip_prefix(name)?.parse::<u64>().ok())
            };
            Ok(stats.lines().filter_map(figure).sum::<u64>())
        };
        self.servers(kind).iter().map(of_server).sum()
    }

    /// Where configurations and logs are.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Where Redis itself is.
    pub(crate) fn redis_address(&self) -> SocketAddr {
        self.redis.address
    }

    /// Connections of a proxy to Redis; none for direct.
    pub(crate) fn upstream_connections(&self, target: &Target) -> anyhow::Result<usize> {
        let Some(process) = &target.process else { return Ok(0) };
        let servers = self.servers(target.kind).iter();
        servers.map(|server| cost::connections(process.id(), server.address.port())).sum()
    }

    pub(crate) fn start_all<'a>(
        &self,
        targets: impl Iterator<Item = &'a Kind>,
    ) -> anyhow::Result<Vec<Target>> {
        targets.map(|&kind| self.start(kind)).collect()
    }

    /// Starts a target of its own; Redis itself is there already.
    fn start(&self, kind: Kind) -> anyhow::Result<Target> {
        self.start_with(kind, "")
    }

    /// The same with more lines about Tenantry's upstream, and sections after it.
    pub(crate) fn start_with(&self, kind: Kind, upstream_lines: &str) -> anyhow::Result<Target> {
        let address = free_address()?;
        let path = self.directory.path().join(format!("{kind}.conf"));
        let mut command = kind.command();
        let configuration = match kind {
            Kind::Direct | Kind::DirectCluster => {
                let server = self.servers(kind).first().context("there is no cluster")?;
                return Ok(Target { kind, address: server.address, process: None });
            }
            Kind::Twemproxy => {
                let statistics = free_address()?.port().to_string();
                command
                    .args(["--stats-addr", "127.0.0.1", "--stats-port", &statistics, "--conf-file"])
                    .arg(&path);
                self.twemproxy(address)
            }
            Kind::Haproxy => {
                command.args(["-db", "-f"]).arg(&path);
                self.haproxy(address)
            }
            Kind::Tenantry
            | Kind::Compressing
            | Kind::Bare
            | Kind::Guarded
            | Kind::Cluster
            | Kind::Relaxed => {
                command.arg("--config").arg(&path);
                self.tenantry(kind, (address, free_address()?), upstream_lines)
            }
        };
        fs::write(&path, configuration)?;
        start(kind, address, &mut command, self.directory.path())
    }

    fn twemproxy(&self, address: SocketAddr) -> String {
        let redis = self.redis.address;
        format!(
            "bench:\n  listen: {address}\n  redis: true\n  preconnect: true\n  auto_eject_hosts: false\n  \
             server_connections: 1\n  hash: fnv1a_64\n  distribution: ketama\n  servers:\n   - {redis}:1\n"
        )
    }

    fn haproxy(&self, address: SocketAddr) -> String {
        let (redis, maxconn) = (self.redis.address, Kind::Haproxy.capacity(self.files));
        format!(
            "global\n  nbthread 1\n  maxconn {maxconn}\ndefaults\n  mode tcp\n  timeout connect 1h\n  \
             timeout client 1h\n  timeout server 1h\nlisten bench\n  bind {address}\n  server redis {redis}\n"
        )
    }

    fn tenantry(
        &self,
        kind: Kind,
        (address, admin): (SocketAddr, SocketAddr),
        upstream_lines: &str,
    ) -> String {
        let scheme = if kind.is_on_cluster() { "redis+cluster" } else { "redis" };
        let servers: Vec<_> = self.servers(kind).iter().map(|server| server.address.to_string()).collect();
        let servers = servers.join(",");
        let lines = match kind {
            Kind::Relaxed => "order = \"relaxed\"\n",
            Kind::Compressing => "prefix = \"compressed:\"\ncompression = \"lz4\"\n",
            Kind::Guarded => UNREACHED_LIMITS,
            Kind::Direct
            | Kind::Twemproxy
            | Kind::Haproxy
            | Kind::Tenantry
            | Kind::Bare
            | Kind::DirectCluster
            | Kind::Cluster => "",
        };
        let breaker = if kind == Kind::Bare { "[upstream.main.breaker]\nenabled = false\n" } else { "" };
        format!(
            "workers = 1\n\n[downstream]\nmax_connections = 100000\n\n\
             [[listener]]\naddress = \"{address}\"\ntenant = \"bench\"\n\n\
             [admin]\naddress = \"{admin}\"\n\n[upstream.main]\nurl = \"{scheme}://{servers}\"\n{upstream_lines}\n{breaker}\
             [tenant.bench]\n{lines}"
        )
    }

    /// What idle connections cost a fresh proxy: each has sent one `GET`. Fewer than asked for if the file
    /// limit does not allow so many.
    pub(crate) fn idle(&self, kind: Kind, connections: usize) -> anyhow::Result<Idle> {
        let connections = connections.min(kind.capacity(self.files));
        let target = self.start(kind)?;
        // The first command pays for what is made once.
        load::send_all(target.address, std::iter::once(request(&[b"SET", b"idle", b"1"])))?;
        let before = target.resident()?;
        let mut held = Vec::with_capacity(connections);
        let ask = request(&[b"GET", b"idle"]);
        for _ in 0..connections {
            let mut stream = TcpStream::connect(target.address)?;
            stream.write_all(&ask)?;
            load::await_replies(&mut stream, 1)?;
            held.push(stream);
        }
        let grown = target.resident()?.saturating_sub(before);
        Ok(Idle { kind, connections, bytes: grown / connections as u64 })
    }
}

impl Target {
    /// CPU time of the proxy; none for direct.
    pub(crate) fn cpu_time(&self) -> anyhow::Result<Duration> {
        self.process.as_ref().map_or(Ok(Duration::ZERO), |process| cost::cpu_time(process.id()))
    }

    /// Memory of the proxy; none for direct.
    pub(crate) fn resident(&self) -> anyhow::Result<u64> {
        self.process.as_ref().map_or(Ok(0), |process| cost::resident(process.id()))
    }
}

/// The first line a program prints about its version.
pub(crate) fn version(kind: Kind) -> std::io::Result<String> {
    let flag = if kind == Kind::Haproxy { "-v" } else { "--version" };
    let printed = Command::new(kind.program()).arg(flag).output()?;
    // nutcracker prints it as an error.
    let text = [printed.stdout, printed.stderr].concat();
    Ok(String::from_utf8_lossy(&text)
        .lines()
        .next()
        .unwrap_or_default()
        .trim_start_matches("This is ")
        .to_owned())
}

fn start(kind: Kind, address: SocketAddr, command: &mut Command, directory: &Path) -> anyhow::Result<Target> {
    let mut process = spawn(kind, command, directory)?;
    await_answer(&mut process, &directory.join(log_name(kind)), || {
        load::send_all(address, std::iter::once(request(&[b"SET", b"ready", b"1"])))
    })
    .with_context(|| format!("{kind} on {address} does not start"))?;
    Ok(Target { kind, address, process: Some(process) })
}

/// Starts the process; what it says goes to a file in `directory`, in which it runs.
pub(crate) fn spawn(kind: Kind, command: &mut Command, directory: &Path) -> anyhow::Result<OwnedProcess> {
    let file = File::create(directory.join(log_name(kind)))?;
    command.current_dir(directory).stdout(file.try_clone()?).stderr(file);
    OwnedProcess::spawn(command).map_err(|error| {
        anyhow!("cannot start {}: {error}; {}", command.get_program().display(), kind.remedy())
    })
}

pub(crate) fn log_name(kind: Kind) -> String {
    format!("{kind}.log")
}

/// Asks until the process answers. A listener of another program gives no event to wait for.
pub(crate) fn await_answer(
    process: &mut OwnedProcess,
    log: &Path,
    ask: impl Fn() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let end = load::now() + START_LIMIT;
    loop {
        let Err(error) = ask() else { return Ok(()) };
        let ended = process.ended()?;
        if ended.is_some() || load::now() > end {
            let said = fs::read_to_string(log).unwrap_or_default();
            let state =
                ended.map_or_else(|| "it still runs".to_owned(), |status| format!("it ended: {status}"));
            bail!("{error:#}; {state}; it said:\n{said}");
        }
        pause();
    }
}

#[expect(clippy::disallowed_methods, reason = "there is no event to wait for, see await_answer")]
pub(crate) fn pause() {
    std::thread::sleep(Duration::from_millis(10));
}

/// A port that was free a moment ago.
pub(crate) fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
