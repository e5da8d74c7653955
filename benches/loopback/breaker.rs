//! What clients read of a Redis that hangs: it is stopped under load (`SIGSTOP`) and continued.
//!
//! Fifty clients, each with one request at a time and a millisecond after each reply, as an application that tries
//! again. The same story twice: with the breaker as it is by default, and without. What is told is the time of the
//! first failures, that of errors from then on, how many connections Redis was made to take, and how long it took
//! from `SIGCONT` until each client had been served again.

use std::io::{self, Read as _, Write};
use std::net::TcpStream as StdStream;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::load::{self, now};
use crate::target::{Kind, Stand, Target};
use crate::workload::request;

const CLIENTS: usize = 50;
/// Between a reply and the next request.
const PAUSE: Duration = Duration::from_millis(1);
/// Load before Redis is stopped.
const BEFORE: Duration = Duration::from_secs(1);
/// For how long Redis is stopped.
const STOPPED: Duration = Duration::from_secs(10);
/// How long it may take until all are served again.
const PATIENCE: Duration = Duration::from_secs(60);
/// Lines of the upstream; shorter times than by default, so that the story is.
const IMPATIENT: &str = "reply_timeout = \"1s\"\nconnect_timeout = \"1s\"\n";
const OFF: &str = "[upstream.main.breaker]\nenabled = false\n";

/// Tells the story.
pub(crate) fn tell(stand: &Stand, out: &mut impl Write) -> anyhow::Result<()> {
    writeln!(
        out,
        "{CLIENTS} clients, {} ms between requests, reply_timeout and connect_timeout 1 s, one worker; \
         Redis is stopped for {} s\n",
        PAUSE.as_millis(),
        STOPPED.as_secs()
    )?;
    for (title, breaker) in [("breaker on (defaults)", ""), ("breaker off", OFF)] {
        let target = stand.start_with(Kind::Tenantry, &format!("{IMPATIENT}{breaker}"))?;
        let story = Story::play(stand, &target)?;
        writeln!(out, "{title}\n{}", story.text())?;
    }
    Ok(())
}

/// One reply.
struct Answer {
    sent_at: Instant,
    took: Duration,
    is_error: bool,
    /// It was not asked because the breaker is open.
    is_refused: bool,
    client: usize,
}

/// What happened.
struct Story {
    answers: Vec<Answer>,
    stopped_at: Instant,
    continued_at: Instant,
    /// Connections that Redis has taken from the stop on.
    connections: u64,
}

impl Story {
    fn play(stand: &Stand, target: &Target) -> anyhow::Result<Self> {
        let mut clients = Clients::connect(target)?;
        let mut answers = Vec::new();
        clients.drive(BEFORE, &mut answers)?;
        let before = connections_received(stand)?;
        stand.signal_redis("-STOP")?;
        let stopped_at = now();
        let outcome = clients.drive(STOPPED, &mut answers);
        // Whatever has happened, somebody else may need Redis.
        stand.signal_redis("-CONT")?;
        let continued_at = now();
        outcome?;
        let end = continued_at + PATIENCE;
        while !all_served(&answers, continued_at) {
            ensure!(now() < end, "not all clients are served {} s after SIGCONT", PATIENCE.as_secs());
            clients.drive(Duration::from_millis(20), &mut answers)?;
        }
        clients.drive(BEFORE, &mut answers)?;
        // This one is the question's own.
        let connections = connections_received(stand)?.saturating_sub(before + 1);
        Ok(Self { answers, stopped_at, continued_at, connections })
    }

    fn text(&self) -> String {
        let opened_at = self.answers.iter().filter(|answer| answer.is_refused).map(Answer::at).min();
        let limit = opened_at.unwrap_or(self.continued_at);
        let errors = || self.answers.iter().filter(|answer| answer.is_error);
        let before = self.answers.iter().filter(|answer| answer.at() < self.stopped_at);
        let first = errors().filter(|answer| answer.sent_at < limit);
        let later = errors().filter(|answer| answer.sent_at >= limit && answer.sent_at < self.continued_at);
        let served = (0..CLIENTS).filter_map(|client| served_at(&self.answers, self.continued_at, client));
        let after = |at: Instant| format!("{:.0} ms", (at - self.continued_at).as_secs_f64() * 1e3);
        let (first_served, last_served) = (served.clone().min(), served.max());
        let opened = opened_at.map_or_else(
            || "never".to_owned(),
            |at| format!("{:.2} s", (at - self.stopped_at).as_secs_f64()),
        );
        format!(
            "  replies before SIGSTOP          {}\n  first refused after SIGSTOP     {opened}\n  errors before that              {}\n  \
               errors from then until SIGCONT  {}\n  connections taken by Redis      {}\n  \
               first client served             {} after SIGCONT\n  all clients served              {}\n",
            times(before),
            times(first),
            times(later),
            self.connections,
            first_served.map_or_else(String::new, after),
            last_served.map_or_else(String::new, after),
        )
    }
}

impl Answer {
    fn at(&self) -> Instant {
        self.sent_at + self.took
    }
}

/// Number and quantiles of how long errors took.
fn times<'a>(answers: impl Iterator<Item = &'a Answer>) -> String {
    let mut took: Vec<Duration> = answers.map(|answer| answer.took).collect();
    took.sort_unstable();
    let Some(max) = took.last() else { return "none".to_owned() };
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    let max = max.as_secs_f64() * 1e3;
    format!("{}, p50 {:.3} ms, p99 {:.3} ms, max {max:.3} ms", took.len(), at(0.5), at(0.99))
}

/// When a client was first served again by a request that it sent after `since`.
fn served_at(answers: &[Answer], since: Instant, client: usize) -> Option<Instant> {
    let of_client = answers.iter().filter(|answer| answer.client == client && answer.sent_at >= since);
    of_client.filter(|answer| !answer.is_error).map(Answer::at).min()
}

fn all_served(answers: &[Answer], since: Instant) -> bool {
    (0..CLIENTS).all(|client| served_at(answers, since, client).is_some())
}

fn connections_received(stand: &Stand) -> anyhow::Result<u64> {
    let stats = load::ask(stand.redis_address(), &request(&[b"INFO", b"stats"]))?;
    let number = stats.lines().find_map(|line| line.strip_prefix("total_connections_received:"));
    number.context("Redis says how many connections it has taken")?.trim().parse().context("a number")
}

/// The clients, on one thread.
struct Clients {
    poll: Poll,
    events: Events,
    all: Vec<Client>,
    ask: Vec<u8>,
}

struct Client {
    stream: TcpStream,
    /// When its request was sent; `None`: when the next is due.
    sent_at: Option<Instant>,
    due: Instant,
    received: Vec<u8>,
}

impl Clients {
    fn connect(target: &Target) -> anyhow::Result<Self> {
        let poll = Poll::new()?;
        let mut all = Vec::with_capacity(CLIENTS);
        for number in 0..CLIENTS {
            let stream = StdStream::connect(target.address)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(stream);
            poll.registry().register(&mut stream, Token(number), Interest::READABLE)?;
            all.push(Client { stream, sent_at: None, due: now(), received: Vec::new() });
        }
        Ok(Self { poll, events: Events::with_capacity(64), all, ask: request(&[b"INCR", b"counter"]) })
    }

    fn drive(&mut self, duration: Duration, answers: &mut Vec<Answer>) -> anyhow::Result<()> {
        let end = now() + duration;
        while now() < end {
            for client in &mut self.all {
                let at = now();
                if client.sent_at.is_none() && client.due <= at {
                    client.stream.write_all(&self.ask)?;
                    client.sent_at = Some(at);
                }
            }
            match self.poll.poll(&mut self.events, Some(PAUSE)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error.into()),
                Ok(()) | Err(_) => {}
            }
            for event in &self.events {
                let number = event.token().0;
                answers.extend(self.all[number].read(number)?);
            }
        }
        Ok(())
    }
}

impl Client {
    /// Its reply, if that is complete: all of them are lines.
    fn read(&mut self, number: usize) -> anyhow::Result<Option<Answer>> {
        let mut buffer = [0; 4096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => bail!("the proxy closed a connection"),
                Ok(read) => self.received.extend_from_slice(&buffer[..read]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        if !self.received.ends_with(b"\r\n") {
            return Ok(None);
        }
        let line = String::from_utf8_lossy(&std::mem::take(&mut self.received)).into_owned();
        let at = now();
        let sent_at = self.sent_at.take().context("a reply that nobody has asked for")?;
        self.due = at + PAUSE;
        let (is_error, is_refused) = (line.starts_with('-'), line.contains("breaker is open"));
        Ok(Some(Answer { sent_at, took: at - sent_at, is_error, is_refused, client: number }))
    }
}
