//! One budget among four proxies: what they grant together, second by second.
//!
//! The budget is kept by a Redis of its own, so that it can be killed while requests go on. One thread offers twice the
//! budget, unevenly, in small pipelined portions every millisecond; granted is what is answered with something else than
//! `RATELIMITED`. What is printed is the sum over all proxies and how far it is off the budget.

use std::fmt::Write as _;
use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tempfile::TempDir;
use tenantry::dev::OwnedProcess;

use crate::load;
use crate::target::{Kind, await_answer, free_address, spawn};
use crate::workload::request;

/// Requests that the whole fleet may carry out in a second.
const BUDGET: u32 = 2_000;
/// What may be taken at once.
const BURST: u32 = 200;
/// Requests that are offered in a second, to all proxies together.
const OFFERED: f64 = 4_000.0;
/// How often they are sent.
const TICK: Duration = Duration::from_millis(1);

/// What happens at the beginning of a stretch.
#[derive(Clone, Copy)]
enum Event {
    /// Load is offered in these parts of a hundred.
    Load([f64; 4]),
    /// The last proxy ends.
    Leave,
    /// Another one takes its place.
    Join,
    /// The Redis that keeps the budget is killed.
    Kill,
    /// It comes back, empty.
    Restart,
}

/// One stretch: what happens, how it is called, and for how many seconds.
const PLAY: [(Event, &str, usize); 6] = [
    (Event::Load([60.0, 25.0, 10.0, 5.0]), "60/25/10/5 % of twice the budget", 6),
    (Event::Load([5.0, 60.0, 10.0, 25.0]), "5/60/10/25 %", 5),
    (Event::Leave, "the one with 25 % ends, the others stay as they are", 5),
    (Event::Join, "another one takes its place", 5),
    (Event::Kill, "the Redis that keeps the budget is killed", 6),
    (Event::Restart, "it comes back, empty", 5),
];

/// Processes and their directory.
struct Scene {
    directory: TempDir,
    /// Where the data is.
    data: (SocketAddr, OwnedProcess),
    /// Where the budget is.
    budget: (SocketAddr, Option<OwnedProcess>),
    proxies: Vec<Option<Proxy>>,
    /// Names of files.
    started: usize,
    parts: [f64; 4],
}

/// A proxy and the connection that loads it.
struct Proxy {
    /// Ends it when dropped.
    _process: OwnedProcess,
    stream: TcpStream,
    /// Requests that are due.
    due: f64,
    /// Written by the load, not by the kernel yet.
    unsent: Vec<u8>,
    /// Of a reply that has not ended.
    is_inside: bool,
    granted: u32,
}

/// Plays it, and prints each second.
pub(crate) fn run(out: &mut impl std::io::Write) -> anyhow::Result<()> {
    let mut scene = Scene::build()?;
    writeln!(out, "One budget of {BUDGET} requests/s, burst {BURST}, among four proxies (interval 100 ms).")?;
    writeln!(out, "{:>3}  {:>6} {:>6} {:>6} {:>6}  {:>6}  {:>7}", "s", "1", "2", "3", "4", "sum", "off")?;
    let mut second = 0;
    for (event, name, seconds) in PLAY {
        writeln!(out, "-- {name}")?;
        scene.happens(event)?;
        let mut sums = Vec::new();
        for _ in 0..seconds {
            let granted = scene.second()?;
            second += 1;
            let sum: u32 = granted.iter().sum();
            sums.push(sum);
            writeln!(out, "{second:>3}  {}  {sum:>6}  {:>6.1}%", columns(&granted), off(f64::from(sum)))?;
        }
        // The first second has the burst, or what the change costs.
        let settled = sums.get(1..).unwrap_or_default();
        let worst = settled.iter().map(|sum| off(f64::from(*sum))).max_by(|a, b| a.abs().total_cmp(&b.abs()));
        let mean = settled.iter().map(|sum| f64::from(*sum)).sum::<f64>() / settled.len().max(1) as f64;
        writeln!(
            out,
            "    after its first second: {:.1}% on average, at worst {:.1}%",
            off(mean),
            worst.unwrap_or(0.0)
        )?;
    }
    Ok(())
}

fn columns(granted: &[u32]) -> String {
    let mut text = String::new();
    for (number, granted) in granted.iter().enumerate() {
        let space = if number == 0 { "" } else { " " };
        // Writing to a String cannot fail.
        write!(text, "{space}{granted:>6}").ok();
    }
    text
}

/// In hundredths of the budget.
fn off(sum: f64) -> f64 {
    (sum / f64::from(BUDGET) - 1.0) * 100.0
}

impl Scene {
    fn build() -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("tenantry-bench-").tempdir()?;
        let (data, budget) = (free_address()?, free_address()?);
        let mut scene = Self {
            data: (data, redis(data, directory.path())?),
            budget: (budget, Some(redis(budget, directory.path())?)),
            proxies: Vec::new(),
            directory,
            started: 0,
            parts: [0.0; 4],
        };
        for _ in 0..4 {
            let proxy = scene.proxy()?;
            scene.proxies.push(Some(proxy));
        }
        Ok(scene)
    }

    fn happens(&mut self, event: Event) -> anyhow::Result<()> {
        match event {
            Event::Load(parts) => self.parts = parts,
            Event::Leave => self.proxies[3] = None,
            Event::Join => self.proxies[3] = Some(self.proxy()?),
            Event::Kill => self.budget.1 = None,
            Event::Restart => self.budget.1 = Some(redis(self.budget.0, self.directory.path())?),
        }
        Ok(())
    }

    fn proxy(&mut self) -> anyhow::Result<Proxy> {
        self.started += 1;
        let (address, admin) = (free_address()?, free_address()?);
        let directory = self.directory.path().join(format!("proxy-{}", self.started));
        fs::create_dir(&directory)?;
        let file = directory.join("tenantry.toml");
        fs::write(&file, self.configuration(address, admin))?;
        let mut command = Command::new(Kind::Tenantry.program());
        for (name, _) in std::env::vars_os() {
            if ["TENANTRY_", "REDIS_"].iter().any(|start| name.to_string_lossy().starts_with(start)) {
                command.env_remove(&name);
            }
        }
        command.arg("--config").arg(&file);
        let mut process = spawn(Kind::Tenantry, &mut command, &directory)?;
        let log = directory.join(crate::target::log_name(Kind::Tenantry));
        await_answer(&mut process, &log, || ready(admin)).context("a proxy does not start")?;
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Proxy { _process: process, stream, due: 0.0, unsent: Vec::new(), is_inside: false, granted: 0 })
    }

    fn configuration(&self, address: SocketAddr, admin: SocketAddr) -> String {
        format!(
            "workers = 1\n[[listener]]\naddress = \"{address}\"\ntenant = \"bench\"\n[admin]\naddress = \"{admin}\"\n\
             [upstream.main]\nurl = \"redis://{}\"\n[upstream.budgets]\nurl = \"redis://{}\"\n\
             [fleet]\nupstream = \"budgets\"\n[tenant.bench]\nupstream = \"main\"\n[tenant.bench.limits]\n\
             scope = \"fleet\"\nrequests_per_second = {{ rate = {BUDGET}, burst = {BURST} }}\n",
            self.data.0, self.budget.0
        )
    }

    /// A second of load; what each proxy granted.
    fn second(&mut self) -> anyhow::Result<[u32; 4]> {
        let start = load::now();
        let mut last = start;
        while start.elapsed() < Duration::from_secs(1) {
            let now = load::now();
            for (proxy, part) in self.proxies.iter_mut().zip(self.parts) {
                if let Some(proxy) = proxy {
                    proxy.due += OFFERED * part / 100.0 * (now - last).as_secs_f64();
                    proxy.turn()?;
                }
            }
            last = now;
            rest_until(now + TICK);
        }
        let mut granted = [0; 4];
        for (proxy, granted) in self.proxies.iter_mut().zip(&mut granted) {
            *granted = proxy.as_mut().map_or(0, |proxy| std::mem::take(&mut proxy.granted));
        }
        Ok(granted)
    }
}

impl Proxy {
    /// Sends what is due and counts what has come.
    fn turn(&mut self) -> anyhow::Result<()> {
        let get = request(&[b"GET", b"k"]);
        while self.due >= 1.0 {
            self.due -= 1.0;
            self.unsent.extend_from_slice(&get);
        }
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(written) => drop(self.unsent.drain(..written)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        let mut room = [0; 8 << 10];
        loop {
            match self.stream.read(&mut room) {
                Ok(0) => bail!("a proxy has closed its connection"),
                Ok(length) => self.count(&room[..length])?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Every reply is one line: a null, or an error.
    fn count(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            match (self.is_inside, piece) {
                (false, [b'$', ..]) => self.granted += 1,
                (false, [b'-', b'R', ..] | [b'-']) | (true, _) => {}
                (false, other) => bail!("a proxy answered {}", String::from_utf8_lossy(other)),
            }
            self.is_inside = piece.last() != Some(&b'\n');
        }
        Ok(())
    }
}

fn redis(address: SocketAddr, directory: &Path) -> anyhow::Result<OwnedProcess> {
    let directory = directory.join(format!("redis-{}", address.port()));
    fs::create_dir_all(&directory)?;
    let mut command = Command::new(Kind::Direct.program());
    command.args(["--bind", "127.0.0.1", "--port", &address.port().to_string()]);
    command.args(["--save", "", "--appendonly", "no"]);
    let mut process = spawn(Kind::Direct, &mut command, &directory)?;
    let log = directory.join(crate::target::log_name(Kind::Direct));
    await_answer(&mut process, &log, || load::send_all(address, std::iter::once(request(&[b"PING"]))))?;
    Ok(process)
}

/// Whether the proxy has its upstreams.
fn ready(admin: SocketAddr) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(admin)?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if answer.starts_with("HTTP/1.1 200") { Ok(()) } else { bail!("it is not ready: {answer}") }
}

#[expect(clippy::disallowed_methods, reason = "the load has a pace of its own")]
fn rest_until(end: Instant) {
    if let Some(rest) = end.checked_duration_since(load::now()) {
        std::thread::sleep(rest);
    }
}
