//! Starts `redis-server`, whole deployments of it and `tenantry` in scratch directories on free ports, waits
//! until they serve, and ends them when the test ends. What they wrote is shown when the test fails.

mod cluster;
mod deployment;
mod impostor;
mod proxy;
mod redis;
mod sentinel;

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{BufRead as _, BufReader, Read};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

pub(crate) use cluster::{DURABLE, Node, RedisCluster, SLOTS, Shape};
pub(crate) use deployment::{
    Deployment, Kind, Protocol, connections_with, on_every_deployment, on_every_deployment_and_protocol,
};
pub(crate) use impostor::Impostor;
pub(crate) use proxy::{Proxy, Setup};
pub(crate) use redis::RedisServer;
pub(crate) use sentinel::SentinelGroup;

use crate::wire::{Client, Tree};

/// How long a server may take to serve; a machine that builds something else at the same time is slow.
const START_LIMIT: Duration = Duration::from_secs(30);

/// Ports are found free and then used, so another process may take one in between; then all is tried again.
const START_ATTEMPTS: usize = 5;

/// What a primary is told so that a replica that says it follows has every write from then on. After a copy by
/// socket the primary would send nothing until the replica's next acknowledgement, a second later.
const FOLLOWED_AT_ONCE: &[&str] = &["--repl-diskless-sync", "no"];

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

/// Waits for what no process says by itself: whoever knows is asked again and again.
pub(crate) fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let found = wait_until(&Log::default(), START_LIMIT, || is_so().then_some(()));
    found.unwrap_or_else(|| panic!("waited {START_LIMIT:?} for {what}, in vain"));
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
    let [port] = free_ports();
    port
}

/// Ports nobody listens on at this moment. They lie below those that a kernel gives to whoever connects, so
/// that a server that is ended and started again finds its port free.
fn free_ports<const N: usize>() -> [u16; N] {
    // Held together until all are known, so that they differ.
    let held: [TcpListener; N] = std::array::from_fn(|_| {
        std::iter::repeat_with(|| TcpListener::bind(("127.0.0.1", port_of_chance())))
            .take(1_000)
            .find_map(Result::ok)
            .expect("a port can be bound")
    });
    held.map(|listener| listener.local_addr().expect("a bound socket has an address").port())
}

fn port_of_chance() -> u16 {
    let port = 10_000 + number_of_chance() % 20_000;
    u16::try_from(port).expect("below 30,000")
}

/// Two tests that run at the same time do not get the same.
fn number_of_chance() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Forty digits that no other node has, by which members of a cluster and Sentinels are told apart.
fn node_id() -> String {
    let digits = format!("{:016x}{:016x}{:016x}", number_of_chance(), number_of_chance(), number_of_chance());
    digits[..40].to_owned()
}

/// The text of a bulk string.
fn text_of(reply: &[u8]) -> String {
    String::from_utf8_lossy(Tree::of(reply).payload()).into_owned()
}

/// A map as RESP2 writes it, of strings.
fn map_of(entries: &Tree) -> BTreeMap<String, String> {
    let text = |tree: &Tree| String::from_utf8_lossy(tree.payload()).into_owned();
    entries.elements().chunks_exact(2).map(|entry| (text(&entry[0]), text(&entry[1]))).collect()
}

/// Sends a command that changes something and must not fail.
fn order(client: &mut Client, line: &str) {
    let reply = client.ask(line);
    assert_eq!("+OK\\r\\n", reply, "{line}");
}
