//! How well a rate is kept, and what refusing costs others: a tenant that may send 1,000 requests per second (100 at
//! once) is offered ten times as many for ten seconds, by one, two and four workers; beside it, another tenant asks for
//! one small value at a time.
//!
//! The load is open: so many requests are due at each moment, whatever became of those before.

use std::fmt::Write as _;
use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::load::{self, Fleet};
use crate::target::{Kind, Stand, Target, await_answer, free_address, log_name, spawn};
use crate::workload::request;

/// What the tenant may send per second.
const RATE: u32 = 1000;
/// How much of it at once.
const BURST: u32 = 100;
/// What it is offered per second.
const OFFERED: u32 = 10 * RATE;
/// For so many seconds.
const SECONDS: u32 = 10;
/// Over so many connections, which the workers share.
const CONNECTIONS: usize = 16;

/// What became of the requests that were offered.
#[derive(Default)]
struct Offered {
    accepted: u32,
    refused: u32,
}

/// Latencies of the other tenant, in microseconds.
struct Latency {
    p50: u32,
    p99: u32,
}

/// Measures all of it, and returns it as Markdown.
pub(crate) fn measure(stand: &Stand) -> anyhow::Result<String> {
    let mut text = format!(
        "# {OFFERED} requests/s offered for {SECONDS} s where {RATE}/s are allowed, {BURST} at once\n\n\
         | workers | accepted/s | deviation | refused/s | another tenant alone, p50 / p99 µs | beside it, p50 / p99 µs |\n\
         |---:|---:|---:|---:|---:|---:|\n"
    );
    for workers in [1, 2, 4] {
        eprintln!("limits: {workers} workers");
        let (limited, other, _process) = start(stand, workers)?;
        let own = [request(&[b"GET", b"small"]).into_boxed_slice()];
        load::send_all(other, std::iter::once(request(&[b"SET", b"small", &[b'v'; 64]])))?;
        let mut single = Fleet::connect(other, 1, &own, 1)?;
        single.drive(Duration::from_millis(500))?;
        let alone = latency(single.drive(Duration::from_secs(u64::from(SECONDS) / 2))?.latencies);
        let (offered, beside) = std::thread::scope(|scope| {
            let load = scope.spawn(|| offer(limited));
            let beside = single.drive(Duration::from_secs(u64::from(SECONDS)))?.latencies;
            let offered = load.join().map_err(|_| anyhow::anyhow!("the load's thread panicked"))??;
            anyhow::Ok((offered, latency(beside)))
        })?;
        single.drain()?;
        let expected = f64::from(RATE * SECONDS + BURST);
        let deviation = 100.0 * (f64::from(offered.accepted) / expected - 1.0);
        let per_second = |count: u32| count / SECONDS;
        let (accepted, refused) = (per_second(offered.accepted), per_second(offered.refused));
        let (Latency { p50, p99 }, Latency { p50: p50_beside, p99: p99_beside }) = (alone, beside);
        // Writing to a String cannot fail.
        writeln!(
            text,
            "| {workers} | {accepted} | {deviation:+.2} % | {refused} | {p50} / {p99} | {p50_beside} / {p99_beside} |"
        )
        .ok();
    }
    Ok(text)
}

/// A proxy with so many workers; the addresses of the tenant with the limit and of another.
fn start(stand: &Stand, workers: usize) -> anyhow::Result<(SocketAddr, SocketAddr, Target)> {
    let [limited, other, admin] = [free_address()?, free_address()?, free_address()?];
    let directory = stand.directory().join(format!("limits-{workers}"));
    fs::create_dir(&directory)?;
    let path = directory.join("tenantry.toml");
    let redis = stand.redis_address();
    let text = format!(
        "workers = {workers}\n\n[[listener]]\naddress = \"{limited}\"\ntenant = \"limited\"\n\n[[listener]]\n\
         address = \"{other}\"\ntenant = \"other\"\n\n[admin]\naddress = \"{admin}\"\n\n\
         [upstream.main]\nurl = \"redis://{redis}\"\n\n[tenant.limited]\n[tenant.limited.limits]\n\
         requests_per_second = {{ rate = {RATE}, burst = {BURST} }}\n\n[tenant.other]\n"
    );
    fs::write(&path, text)?;
    let mut command = Kind::Tenantry.command();
    command.arg("--config").arg(&path);
    let mut process = spawn(Kind::Tenantry, &mut command, &directory)?;
    await_answer(&mut process, &directory.join(log_name(Kind::Tenantry)), || {
        load::send_all(other, std::iter::once(request(&[b"SET", b"ready", b"1"])))
    })
    .with_context(|| format!("tenantry with {workers} workers does not start"))?;
    Ok((limited, other, Target { kind: Kind::Tenantry, address: other, process: Some(process) }))
}

/// Offers the load and counts the replies: each is one line, an error or not.
fn offer(address: SocketAddr) -> anyhow::Result<Offered> {
    let mut poll = Poll::new()?;
    let mut streams = Vec::with_capacity(CONNECTIONS);
    for number in 0..CONNECTIONS {
        let stream = std::net::TcpStream::connect(address)?;
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let mut stream = TcpStream::from_std(stream);
        poll.registry().register(&mut stream, Token(number), Interest::READABLE)?;
        streams.push((stream, true));
    }
    let ask = request(&[b"INCR", b"n"]);
    let (mut offered, mut sent, begin) = (Offered::default(), 0, load::now());
    let mut events = Events::with_capacity(CONNECTIONS);
    let total = OFFERED * SECONDS;
    while offered.accepted + offered.refused < total {
        let due = (begin.elapsed().as_secs_f64() * f64::from(OFFERED)) as u32;
        while sent < due.min(total) {
            // So small a request fits, or the proxy has stopped reading and the measurement fails.
            let stream = &mut streams[sent as usize % CONNECTIONS].0;
            stream.write_all(&ask).context("the proxy does not take what is offered")?;
            sent += 1;
        }
        poll.poll(&mut events, Some(Duration::from_millis(1)))?;
        for event in &events {
            let (stream, is_start) = &mut streams[event.token().0];
            count(stream, is_start, &mut offered)?;
        }
    }
    Ok(offered)
}

/// Counts the replies that have come; `is_start`: the next byte begins one.
fn count(stream: &mut TcpStream, is_start: &mut bool, offered: &mut Offered) -> anyhow::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        let read = match stream.read(&mut buffer) {
            Ok(0) => anyhow::bail!("the proxy has closed a connection"),
            Ok(read) => &buffer[..read],
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        for &byte in read {
            if *is_start {
                *(if byte == b'-' { &mut offered.refused } else { &mut offered.accepted }) += 1;
            }
            *is_start = byte == b'\n';
        }
    }
}

fn latency(mut micros: Vec<u32>) -> Latency {
    micros.sort_unstable();
    let at = |share: f64| micros.get((micros.len() as f64 * share) as usize).copied().unwrap_or_default();
    Latency { p50: at(0.50), p99: at(0.99) }
}
