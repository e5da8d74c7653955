//! Twenty clients that increment and read counters of their own, without a pause for anything that happens.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::ledger::{Entry, NUMBERS};
use crate::servers::{Protocol, Proxy, now};
use crate::texts::PERHAPS_EXECUTED;
use crate::wire::{Client, Tree, command, show};

/// How many clients.
pub(crate) const CLIENTS: usize = 20;

/// Counters of each; their keys have nothing in common, so that they lie in different slots.
const COUNTERS: usize = 10;

/// Counters in one pipeline, which increments and reads each.
const AT_ONCE: usize = 4;

/// Between two pipelines of a client. More load would measure the machine.
const PACE: Duration = Duration::from_millis(20);

/// One counter.
#[derive(Clone, Copy)]
struct Counter {
    client: usize,
    number: usize,
}

impl Counter {
    fn key(self) -> String {
        format!("counter:{}:{}", self.client, self.number)
    }

    /// As Redis stores it.
    fn physical_key(self) -> String {
        format!("{}:{}", tenant(self.client), self.key())
    }

    fn base(self) -> u64 {
        u64::try_from(self.client * COUNTERS + self.number + 1).expect("a small number") * NUMBERS
    }
}

/// Whose client this is.
fn tenant(client: usize) -> &'static str {
    if client.is_multiple_of(2) { "acme" } else { "globex" }
}

/// What one client has read.
pub(crate) struct Record {
    /// Of each counter: its physical key, what it was set to, what was read.
    pub(crate) counters: Vec<(String, u64, Vec<Entry>)>,
    /// Every error, as it was read.
    pub(crate) errors: Vec<(Instant, String)>,
    /// When pipelines were answered without an error.
    pub(crate) served: Vec<Instant>,
}

/// The clients at work.
pub(crate) struct Load {
    /// Dropped to end it.
    stop: Vec<Sender<()>>,
    clients: Vec<JoinHandle<Record>>,
    /// Of each client: pipelines answered without an error.
    served: Vec<Arc<AtomicU64>>,
}

impl Load {
    /// Sets all counters and begins.
    pub(crate) fn start(proxy: &Proxy) -> Self {
        let mut load = Self { stop: Vec::new(), clients: Vec::new(), served: Vec::new() };
        for number in 0..CLIENTS {
            let (stop, stopped) = channel();
            let client = LoadClient::new(proxy, number);
            load.served.push(Arc::clone(&client.rounds));
            load.stop.push(stop);
            load.clients.push(std::thread::spawn(move || client.run(&stopped)));
        }
        load
    }

    /// Waits until each client has been answered so many pipelines more without an error.
    pub(crate) fn wait_until_served(&self, proxy: &Proxy, pipelines: u64) {
        let count = |served: &Arc<AtomicU64>| served.load(Ordering::Relaxed);
        let before: Vec<u64> = self.served.iter().map(count).collect();
        proxy.wait_for("every client to be served", || {
            let has_ended = self.clients.iter().any(JoinHandle::is_finished);
            assert!(!has_ended, "a client of the load has ended");
            before.iter().zip(&self.served).all(|(before, served)| count(served) >= before + pipelines)
        });
    }

    /// Ends it, after the replies that are owed.
    pub(crate) fn end(self) -> Vec<Record> {
        drop(self.stop);
        let joined = self.clients.into_iter().map(JoinHandle::join);
        joined.map(|record| record.expect("a client of the load has said why it ended")).collect()
    }
}

/// One of them.
struct LoadClient {
    client: Client,
    counters: Vec<Counter>,
    entries: BTreeMap<usize, Vec<Entry>>,
    errors: Vec<(Instant, String)>,
    served: Vec<Instant>,
    rounds: Arc<AtomicU64>,
}

impl LoadClient {
    /// Half of the clients of each tenant speak RESP3.
    fn new(proxy: &Proxy, number: usize) -> Self {
        let port = if tenant(number) == "acme" { proxy.acme_port() } else { proxy.globex_port() };
        let protocol = if number % 4 < 2 { Protocol::Resp2 } else { Protocol::Resp3 };
        let mut client = protocol.connect(port);
        let counters: Vec<_> =
            (0..COUNTERS).map(|counter| Counter { client: number, number: counter }).collect();
        for counter in &counters {
            let set = client.call(&["SET", &counter.key(), &counter.base().to_string()]);
            assert_eq!("+OK\\r\\n", show(&set), "before anything has happened");
        }
        Self {
            client,
            counters,
            entries: BTreeMap::new(),
            errors: Vec::new(),
            served: Vec::new(),
            rounds: Arc::default(),
        }
    }

    fn run(mut self, stopped: &Receiver<()>) -> Record {
        let mut turn = 0;
        // Nobody sends anything; the end is that the sender is gone.
        while stopped.recv_timeout(PACE) == Err(RecvTimeoutError::Timeout) {
            let now_at = (turn..turn + AT_ONCE).map(|at| self.counters[at % COUNTERS]);
            self.round(&now_at.collect::<Vec<_>>());
            turn += AT_ONCE;
        }
        let counters = self.counters.iter().map(|counter| {
            let entries = self.entries.remove(&counter.number).unwrap_or_default();
            (counter.physical_key(), counter.base(), entries)
        });
        Record { counters: counters.collect(), errors: self.errors, served: self.served }
    }

    /// A pipeline that increments each of these counters and reads it.
    fn round(&mut self, counters: &[Counter]) {
        let requests = counters.iter().flat_map(|counter| {
            let key = counter.key();
            [command(&["INCR", &key]), command(&["GET", &key])].concat()
        });
        self.client.send(&requests.collect::<Vec<_>>());
        let errors_before = self.errors.len();
        for counter in counters {
            let incremented = self.client.frame();
            self.note(*counter, &incremented, Entry::Incremented);
            let read = self.client.frame();
            self.note(*counter, &read, Entry::Read);
        }
        if self.errors.len() == errors_before {
            self.served.push(now());
            self.rounds.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn note(&mut self, counter: Counter, reply: &[u8], entry: impl Fn(u64) -> Entry) {
        let entries = self.entries.entry(counter.number).or_default();
        if reply.starts_with(b"-") {
            let text = show(reply);
            // A read that may have been executed changes nothing.
            if text.contains(PERHAPS_EXECUTED) && matches!(entry(0), Entry::Incremented(_)) {
                entries.push(Entry::Unknown);
            }
            self.errors.push((now(), text));
            return;
        }
        let number = std::str::from_utf8(Tree::of(reply).payload()).ok().and_then(|text| text.parse().ok());
        entries.push(entry(number.unwrap_or_else(|| panic!("no number, but {}", show(reply)))));
    }
}
