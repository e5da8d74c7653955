//! The load: many threads, each one client that goes on until it is over.
//!
//! What they would have the proxy hold if it let them is ten times its ceiling: [`SLOW_READERS`] alone ask for that much
//! and read it at a trickle.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::bail;

use crate::ledger::Ledger;
use crate::stand::{Stand, mib, now, pause};
use crate::wire::{Client, Stopper, command};

/// Bytes of a large value.
const LARGE: usize = 1 << 20;
/// How many times the ceiling is asked for.
const OVERLOAD: u64 = 10;
const SLOW_READERS: usize = 40;
const LARGE_WRITERS: usize = 24;
const PIPELINERS: usize = 24;
const UNFINISHED: usize = 12;
const SUBSCRIBERS: usize = 6;
const COUNTERS: usize = 8;
/// Clients that connect anew for each request.
const STORM: usize = 2;
/// Requests that are pipelined at a time.
const PIPELINE: usize = 200;
/// How long a client waits that was refused, as the error says.
const AFTER_REFUSAL: Duration = Duration::from_millis(100);
/// Answers in a row that make a service.
const SERVED_IN_A_ROW: usize = 20;

/// What happened so far.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) is_over: AtomicBool,
    replies: AtomicU64,
    counted: AtomicU64,
    errors: Mutex<BTreeMap<String, u64>>,
}

impl Tally {
    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Counts a reply; `false` if it is an error.
    fn reply(&self, reply: &[u8]) -> bool {
        let Some(error) = reply.strip_prefix(b"-") else {
            self.replies.fetch_add(1, Ordering::Relaxed);
            return true;
        };
        // How long to wait is another number each time.
        let error = String::from_utf8_lossy(error);
        self.note(error.split("; retry in").next().unwrap_or_default().trim());
        false
    }

    fn note(&self, error: &str) {
        let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        *errors.entry(error.to_owned()).or_default() += 1;
    }

    /// What is known at this moment, in one line.
    pub(crate) fn line(&self, stand: &Stand, since: Instant) -> anyhow::Result<String> {
        let metric = |name| stand.metric(name).map_or_else(|| "?".to_owned(), |value| value.to_string());
        Ok(format!(
            "{:>6}s {:>9} {:>9} {:>6} {:>12} {:>10} {:>10} {:>9}",
            (now() - since).as_secs(),
            mib(stand.resident()?),
            mib(stand.peak()?),
            metric("tenantry_memory_level"),
            self.replies.load(Ordering::Relaxed),
            metric("tenantry_refused_for_memory_total"),
            metric("tenantry_clients_evicted_total"),
            self.counted.load(Ordering::Relaxed),
        ))
    }

    /// The errors that clients read or met, with their numbers.
    pub(crate) fn errors(&self) -> String {
        let errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        let text = "errors\n".to_owned();
        errors.iter().fold(text, |text, (error, count)| format!("{text}{count:>10}  {error}\n"))
    }
}

/// The large value that slow readers ask for.
pub(crate) fn prepare(stand: &Stand) -> anyhow::Result<()> {
    let reply = Client::connect(stand.proxy)?.ask(&[b"SET", b"large", &vec![b'x'; LARGE]])?;
    if reply != b"+OK\r\n" {
        bail!("the large value is not stored: {}", String::from_utf8_lossy(&reply));
    }
    Ok(())
}

/// All clients.
pub(crate) struct Crowd {
    threads: Vec<JoinHandle<()>>,
    open: Arc<Mutex<BTreeMap<usize, Stopper>>>,
    ledgers: Vec<Arc<Ledger>>,
}

/// What every client is given.
#[derive(Clone)]
struct Part {
    number: usize,
    proxy: SocketAddr,
    tally: Arc<Tally>,
    open: Arc<Mutex<BTreeMap<usize, Stopper>>>,
}

/// Starts all clients.
pub(crate) fn start(stand: &Stand, tally: &Arc<Tally>, ceiling: u64) -> Crowd {
    let mut crowd = Crowd { threads: Vec::new(), open: Arc::default(), ledgers: Vec::new() };
    let each = usize::try_from(ceiling * OVERLOAD / SLOW_READERS as u64).unwrap_or(usize::MAX) / LARGE;
    crowd.add(stand, tally, SLOW_READERS, move |part| part.repeat(|client| read_slowly(part, client, each)));
    crowd.add(stand, tally, LARGE_WRITERS, |part| part.repeat(|client| write_large(part, client)));
    crowd.add(stand, tally, PIPELINERS, |part| part.repeat(|client| pipeline(part, client)));
    crowd.add(stand, tally, UNFINISHED, |part| part.repeat(|client| begin_and_wait(part, client)));
    crowd.add(stand, tally, SUBSCRIBERS, |part| part.repeat(|client| subscribe_and_sleep(part, client)));
    crowd.add(stand, tally, 1, |part| part.repeat(|client| publish(part, client)));
    crowd.add(stand, tally, STORM, |part| part.repeat(|client| connect_only(part, client)));
    for number in 0..COUNTERS {
        let ledger = Arc::new(Ledger::new(number));
        crowd.ledgers.push(Arc::clone(&ledger));
        crowd.add(stand, tally, 1, move |part| part.repeat(|client| count(part, client, &ledger)));
    }
    crowd
}

impl Crowd {
    fn add(
        &mut self,
        stand: &Stand,
        tally: &Arc<Tally>,
        times: usize,
        act: impl Fn(&Part) + Clone + Send + 'static,
    ) {
        for _ in 0..times {
            let part = Part {
                number: self.threads.len(),
                proxy: stand.proxy,
                tally: Arc::clone(tally),
                open: Arc::clone(&self.open),
            };
            let act = act.clone();
            self.threads.push(std::thread::spawn(move || act(&part)));
        }
    }

    /// Ends all connections at once. What was promised to those who count.
    pub(crate) fn close(&self) -> Vec<Arc<Ledger>> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.values().for_each(Stopper::stop);
        self.ledgers.clone()
    }

    pub(crate) fn join(self) {
        for thread in self.threads {
            if thread.join().is_err() {
                eprintln!("a client of the load has failed");
            }
        }
    }
}

impl Part {
    /// Connects and acts, again and again.
    fn repeat(&self, act: impl Fn(&mut Client) -> io::Result<()>) {
        while !self.tally.is_over() {
            let outcome = Client::connect(self.proxy).and_then(|mut client| {
                let stopper = client.stopper()?;
                self.open.lock().unwrap_or_else(PoisonError::into_inner).insert(self.number, stopper);
                act(&mut client)
            });
            if let Err(error) = outcome
                && !self.tally.is_over()
            {
                self.tally.note(&format!("connection: {}", error.kind()));
                pause(AFTER_REFUSAL);
            }
        }
    }
}

/// Asks for much and reads it at 1 MB/s.
fn read_slowly(part: &Part, client: &mut Client, values: usize) -> io::Result<()> {
    client.send(&command(&[b"GET", b"large"]).repeat(values))?;
    let mut room = vec![0; 64 << 10];
    let mut left = values.saturating_mul(LARGE);
    while left > 0 && !part.tally.is_over() {
        pause(Duration::from_millis(60));
        left = left.saturating_sub(client.read_some(&mut room)?);
    }
    Ok(())
}

/// Writes large values, several at a time.
fn write_large(part: &Part, client: &mut Client) -> io::Result<()> {
    let key = format!("written:{}", part.number);
    let request = command(&[b"SET", key.as_bytes(), &vec![b'y'; LARGE]]);
    while !part.tally.is_over() {
        for _ in 0..4 {
            client.send(&request)?;
        }
        for _ in 0..4 {
            if !part.tally.reply(&client.reply()?) {
                pause(AFTER_REFUSAL);
            }
        }
    }
    Ok(())
}

/// Small requests, as many as go into one write.
fn pipeline(part: &Part, client: &mut Client) -> io::Result<()> {
    let key = format!("small:{}", part.number);
    let pair = [command(&[b"SET", key.as_bytes(), b"value"]), command(&[b"GET", key.as_bytes()])].concat();
    let requests = pair.repeat(PIPELINE / 2);
    while !part.tally.is_over() {
        client.send(&requests)?;
        let mut is_refused = false;
        for _ in 0..PIPELINE {
            is_refused |= !part.tally.reply(&client.reply()?);
        }
        if is_refused {
            pause(AFTER_REFUSAL);
        }
    }
    Ok(())
}

/// Sends half of a request and says no more for a while.
fn begin_and_wait(part: &Part, client: &mut Client) -> io::Result<()> {
    let request = command(&[b"SET", b"never", &vec![b'z'; 8 * LARGE]]);
    client.send(&request[..request.len() / 2])?;
    for _ in 0..30 {
        if !part.tally.is_over() {
            pause(AFTER_REFUSAL);
        }
    }
    Ok(())
}

/// Subscribes and does not read.
fn subscribe_and_sleep(part: &Part, client: &mut Client) -> io::Result<()> {
    client.send(&command(&[b"SUBSCRIBE", b"channel"]))?;
    for _ in 0..50 {
        if !part.tally.is_over() {
            pause(AFTER_REFUSAL);
        }
    }
    Ok(())
}

fn publish(part: &Part, client: &mut Client) -> io::Result<()> {
    let request = command(&[b"PUBLISH", b"channel", &vec![b'm'; 8 << 10]]);
    while !part.tally.is_over() {
        client.send(&request)?;
        part.tally.reply(&client.reply()?);
        pause(Duration::from_millis(1));
    }
    Ok(())
}

fn connect_only(part: &Part, client: &mut Client) -> io::Result<()> {
    part.tally.reply(&client.ask(&[b"PING"])?);
    Ok(())
}

/// Counts, one by one, and keeps the books.
fn count(part: &Part, client: &mut Client, ledger: &Ledger) -> io::Result<()> {
    let request = command(&[b"INCR", ledger.key().as_bytes()]);
    while !part.tally.is_over() {
        let reply = client.send(&request).and_then(|()| client.reply());
        let reply = reply.inspect_err(|_| ledger.doubt())?;
        if part.tally.reply(&reply) {
            ledger.acknowledge();
            part.tally.counted.fetch_add(1, Ordering::Relaxed);
        } else {
            if !reply.windows(12).any(|words| words == b"was not sent") {
                ledger.doubt();
            }
            pause(AFTER_REFUSAL);
        }
    }
    Ok(())
}

/// Waits until a new client is served, small and large, several times in a row; how long that is after `since`.
pub(crate) fn await_service(stand: &Stand, since: Instant, limit: Duration) -> anyhow::Result<Duration> {
    let large = vec![b'x'; LARGE];
    let is_served = || -> io::Result<bool> {
        let mut client = Client::connect(stand.proxy)?;
        let stored = client.ask(&[b"SET", b"after", &large])?;
        let read = client.ask(&[b"GET", b"after"])?;
        Ok(stored == b"+OK\r\n" && read == large)
    };
    let (mut begin, mut served) = (now(), 0);
    while served < SERVED_IN_A_ROW {
        if is_served().unwrap_or(false) {
            served += 1;
        } else {
            pause(Duration::from_millis(5));
            (begin, served) = (now(), 0);
        }
        if since.elapsed() > limit {
            bail!("no normal service within {} s", limit.as_secs());
        }
    }
    Ok(begin.saturating_duration_since(since))
}
