//! A private Redis and the proxy in front of it.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use tempfile::TempDir;
use tenantry::dev::OwnedProcess;

use crate::wire::Client;

/// How long a server may take until it answers.
const START_LIMIT: Duration = Duration::from_secs(10);

/// Both processes; they end on drop.
pub(crate) struct Stand {
    pub(crate) redis: SocketAddr,
    pub(crate) proxy: SocketAddr,
    admin: SocketAddr,
    _redis_process: OwnedProcess,
    proxy_process: OwnedProcess,
    _directory: TempDir,
}

impl Stand {
    pub(crate) fn build(ceiling: u64) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("tenantry-soak-").tempdir()?;
        let [redis, proxy, admin] = [free_address()?, free_address()?, free_address()?];
        let mut command = Command::new("redis-server");
        command.args([
            "--bind",
            "127.0.0.1",
            "--port",
            &redis.port().to_string(),
            "--save",
            "",
            "--appendonly",
            "no",
        ]);
        // Its own limits must not be what ends a subscriber.
        command.args(["--client-output-buffer-limit", "pubsub 0 0 0"]);
        let redis_process = start(&mut command, directory.path(), "redis", redis)?;
        let configuration = directory.path().join("tenantry.toml");
        fs::write(&configuration, document(ceiling, [redis, proxy, admin]))?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_tenantry"));
        command.arg("--config").arg(&configuration);
        for (name, _) in std::env::vars_os() {
            if ["TENANTRY_", "REDIS_"].iter().any(|start| name.to_string_lossy().starts_with(start)) {
                command.env_remove(name);
            }
        }
        let proxy_process = start(&mut command, directory.path(), "tenantry", proxy)?;
        Ok(Self { redis, proxy, admin, _redis_process: redis_process, proxy_process, _directory: directory })
    }

    /// Resident bytes of the proxy now.
    pub(crate) fn resident(&self) -> anyhow::Result<u64> {
        self.status("VmRSS:")
    }

    /// The most that the kernel has ever seen.
    pub(crate) fn peak(&self) -> anyhow::Result<u64> {
        self.status("VmHWM:")
    }

    fn status(&self, field: &str) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.proxy_process.id()))
            .context("the proxy has ended, or this is not Linux")?;
        let value = status.lines().find_map(|line| line.strip_prefix(field)).context("no such field")?;
        Ok(value.trim().trim_end_matches(" kB").parse::<u64>()? << 10)
    }

    /// The sum of all series of a metric; `None` while the admin port does not answer.
    pub(crate) fn metric(&self, name: &str) -> Option<u64> {
        let page = crate::wire::page(self.admin, "/metrics").ok()?;
        let values = page.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            let value = rest.starts_with(['{', ' ']).then(|| rest.rsplit(' ').next())??;
            value.parse::<u64>().ok()
        });
        Some(values.sum())
    }
}

fn document(ceiling: u64, [redis, proxy, admin]: [SocketAddr; 3]) -> String {
    format!(
        "max_memory = {ceiling}\n\n[downstream]\nmax_connections = 1000\n\n\
         [[listener]]\naddress = \"{proxy}\"\ntenant = \"soak\"\n\n[admin]\naddress = \"{admin}\"\n\n\
         [upstream.main]\nurl = \"redis://{redis}\"\n\n[tenant.soak]\n\n[log]\nlevel = \"warn\"\n"
    )
}

fn start(
    command: &mut Command,
    directory: &Path,
    name: &str,
    address: SocketAddr,
) -> anyhow::Result<OwnedProcess> {
    let log = directory.join(format!("{name}.log"));
    let file = File::create(&log)?;
    command.current_dir(directory).stdout(file.try_clone()?).stderr(file);
    let mut process =
        OwnedProcess::spawn(command).map_err(|error| anyhow!("cannot start {name}: {error}"))?;
    let end = now() + START_LIMIT;
    loop {
        let answer = Client::connect(address).and_then(|mut client| client.ask(&[b"PING"]));
        if answer.is_ok_and(|reply| reply == b"+PONG\r\n") {
            return Ok(process);
        }
        if process.ended()?.is_some() || now() > end {
            bail!("{name} does not serve; it said:\n{}", fs::read_to_string(&log).unwrap_or_default());
        }
        pause(Duration::from_millis(10));
    }
}

/// A port that was free a moment ago.
fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// Bytes for people.
pub(crate) fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

/// The clock of this benchmark.
#[expect(clippy::disallowed_methods, reason = "a soak is about time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// A part of the load does nothing for a while.
#[expect(clippy::disallowed_methods, reason = "the load is made of slow clients")]
pub(crate) fn pause(duration: Duration) {
    std::thread::sleep(duration);
}
