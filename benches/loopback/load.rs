//! The load: many connections, one thread, non-blocking sockets, requests written in advance.
//!
//! A closed loop: each connection sends a batch, waits for all its replies, sends the next. Per batch this
//! costs one write, one read and one look at the clock; nothing is parsed but the framing of replies.

use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream as StdStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::replies::ReplyCounter;

/// Larger than any batch of replies that is waited for in one piece; also what a connection reads at once.
const READ_BUFFER: usize = 256 << 10;

/// How long a stopped load may wait for the replies it is still owed.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);

/// The clock of this benchmark.
#[expect(clippy::disallowed_methods, reason = "a benchmark is about time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// What one stretch of load achieved.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) batches: usize,
    /// From sending a batch until its last reply, in microseconds.
    pub(crate) latencies: Vec<u32>,
}

/// Connections under load.
pub(crate) struct Fleet<'a> {
    poll: Poll,
    events: Events,
    connections: Vec<Connection>,
    batches: &'a [Box<[u8]>],
    depth: usize,
    buffer: Box<[u8]>,
}

struct Connection {
    stream: TcpStream,
    replies: ReplyCounter,
    /// Replies still to come for the batch that is under way; 0 when none is.
    owed: usize,
    batch: usize,
    /// Bytes of the batch that have been written.
    written: usize,
    since: Instant,
}

impl<'a> Fleet<'a> {
    /// Connects; nothing is sent yet. Every batch has `depth` replies.
    pub(crate) fn connect(
        address: SocketAddr,
        connections: usize,
        batches: &'a [Box<[u8]>],
        depth: usize,
    ) -> anyhow::Result<Self> {
        let poll = Poll::new()?;
        let mut fleet = Vec::with_capacity(connections);
        for number in 0..connections {
            let mut stream = open(address)?;
            poll.registry().register(&mut stream, Token(number), Interest::READABLE | Interest::WRITABLE)?;
            // Each starts elsewhere, or all would ask for the same keys at the same time.
            let batch = (number * 7919) % batches.len();
            fleet.push(Connection {
                stream,
                replies: ReplyCounter::default(),
                owed: 0,
                batch,
                written: 0,
                since: now(),
            });
        }
        let buffer = vec![0; READ_BUFFER].into_boxed_slice();
        Ok(Self { poll, events: Events::with_capacity(1024), connections: fleet, batches, depth, buffer })
    }

    /// Loads the target for `duration`. May be called again: what is under way goes on.
    pub(crate) fn drive(&mut self, duration: Duration) -> anyhow::Result<Tally> {
        let mut tally = Tally::default();
        let end = now() + duration;
        for connection in self.connections.iter_mut().filter(|connection| connection.owed == 0) {
            connection.since = now();
            connection.start(self.batches, self.depth)?;
        }
        while let Some(left) = end.checked_duration_since(now()).filter(|left| !left.is_zero()) {
            self.turn(left, true, &mut tally)?;
        }
        Ok(tally)
    }

    /// Waits for what is still owed, so that the next target does not compete with it.
    pub(crate) fn drain(mut self) -> anyhow::Result<()> {
        let end = now() + DRAIN_LIMIT;
        let mut tally = Tally::default();
        while self.connections.iter().any(|connection| connection.owed > 0) {
            let Some(left) = end.checked_duration_since(now()) else {
                bail!("replies are missing {} s after the last request", DRAIN_LIMIT.as_secs());
            };
            self.turn(left, false, &mut tally)?;
        }
        Ok(())
    }

    /// One turn of the event loop.
    fn turn(&mut self, patience: Duration, go_on: bool, tally: &mut Tally) -> anyhow::Result<()> {
        match self.poll.poll(&mut self.events, Some(patience)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error.into()),
            Ok(()) | Err(_) => {}
        }
        for event in &self.events {
            let connection = &mut self.connections[event.token().0];
            if event.is_writable() {
                connection.write(self.batches)?;
            }
            if event.is_readable() && connection.read(&mut self.buffer)? {
                connection.complete(tally);
                if go_on {
                    connection.start(self.batches, self.depth)?;
                }
            }
        }
        Ok(())
    }
}

impl Connection {
    /// Sends the next batch.
    fn start(&mut self, batches: &[Box<[u8]>], depth: usize) -> io::Result<()> {
        self.batch = (self.batch + 1) % batches.len();
        self.written = 0;
        self.owed = depth;
        self.write(batches)
    }

    /// Writes what is left of the batch, as far as the socket takes it.
    fn write(&mut self, batches: &[Box<[u8]>]) -> io::Result<()> {
        while self.owed > 0 && self.written < batches[self.batch].len() {
            match self.stream.write(&batches[self.batch][self.written..]) {
                Ok(written) => self.written += written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads what there is; says whether the batch has been answered.
    fn read(&mut self, buffer: &mut [u8]) -> anyhow::Result<bool> {
        loop {
            let read = match self.stream.read(buffer) {
                Ok(0) => bail!("the target closed a connection under load"),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error.into()),
            };
            let replies = self.replies.count(&buffer[..read])?;
            self.owed = self.owed.checked_sub(replies).context("more replies than requests")?;
            // A read that did not fill the buffer emptied the socket: epoll tells us when there is more.
            if self.owed == 0 || read < buffer.len() {
                return Ok(self.owed == 0);
            }
        }
    }

    /// Notes the batch; the next one starts at the same moment.
    fn complete(&mut self, tally: &mut Tally) {
        let at = now();
        tally.batches += 1;
        tally.latencies.push((at - self.since).as_micros() as u32);
        self.since = at;
    }
}

fn open(address: SocketAddr) -> anyhow::Result<TcpStream> {
    // Blocking until connected: so many sockets at once would overflow the listener's backlog otherwise.
    let stream = StdStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    Ok(TcpStream::from_std(stream))
}

/// Sends requests over one blocking connection, some at a time, and waits for all replies.
pub(crate) fn send_all(address: SocketAddr, requests: impl Iterator<Item = Vec<u8>>) -> anyhow::Result<()> {
    let mut stream = StdStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
    stream.set_read_timeout(Some(DRAIN_LIMIT))?;
    let mut requests = requests.peekable();
    while requests.peek().is_some() {
        let some: Vec<_> = requests.by_ref().take(64).collect();
        stream.write_all(&some.concat())?;
        await_replies(&mut stream, some.len())?;
    }
    Ok(())
}

/// One request over a connection of its own; the text of its reply, a bulk string.
pub(crate) fn ask(address: SocketAddr, request: &[u8]) -> anyhow::Result<String> {
    let mut stream = StdStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
    stream.set_read_timeout(Some(DRAIN_LIMIT))?;
    stream.write_all(request)?;
    let mut reply = BufReader::new(stream);
    let mut header = String::new();
    reply.read_line(&mut header)?;
    let length =
        header.trim().strip_prefix('$').with_context(|| format!("no bulk string: {header}"))?.parse()?;
    let mut text = vec![0; length];
    reply.read_exact(&mut text)?;
    Ok(String::from_utf8(text)?)
}

/// Reads from a blocking connection until so many replies have come.
pub(crate) fn await_replies(stream: &mut StdStream, mut owed: usize) -> anyhow::Result<()> {
    let mut replies = ReplyCounter::default();
    let mut buffer = [0; 4096];
    while owed > 0 {
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            bail!("the target closed the connection with {owed} replies missing");
        }
        owed = owed.checked_sub(replies.count(&buffer[..read])?).context("more replies than requests")?;
    }
    Ok(())
}
