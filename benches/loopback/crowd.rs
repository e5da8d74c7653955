//! What a crowd that waits costs those who work: some clients blocked in `BLPOP`, as many subscribed to a
//! channel on which nothing happens, and beside them the usual fifty.
//!
//! Within a round each target is measured alone and beside the crowd, right after each other and in changing
//! order; the crowd comes and goes each time, for a proxy as for Redis.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use anyhow::bail;

use crate::load;
use crate::options::Options;
use crate::round::measure_one;
use crate::target::{Kind, Stand, Target, pause};
use crate::workload::{BESIDE_A_CROWD, request};

/// How long the crowd may take to come, or to go.
const PATIENCE: Duration = Duration::from_secs(20);

/// One target in one round.
pub(crate) struct Beside {
    pub(crate) kind: Kind,
    /// Commands per second.
    pub(crate) alone: f64,
    pub(crate) crowded: f64,
    /// Connections from the proxy to Redis, alone and with the crowd.
    pub(crate) upstream: [usize; 2],
}

/// Measures every target that has connections of its own for such clients.
pub(crate) fn measure(stand: &Stand, options: &Options) -> anyhow::Result<Vec<Vec<Beside>>> {
    let kinds = options.targets().iter();
    let targets = stand.start_all(kinds.filter(|kind| **kind != Kind::Twemproxy && !kind.is_on_cluster()))?;
    for target in &targets {
        load::send_all(target.address, BESIDE_A_CROWD.preload())?;
    }
    let batches = BESIDE_A_CROWD.batches();
    let mut rounds = Vec::new();
    for number in 0..usize::from(options.rounds) {
        eprintln!("{}: round {} of {}", BESIDE_A_CROWD.name, number + 1, options.rounds);
        let mut round = Vec::new();
        for target in &targets {
            let mut beside = Beside { kind: target.kind, alone: 0.0, crowded: 0.0, upstream: [0; 2] };
            for is_crowded in [number % 2 == 0, number % 2 == 1] {
                let crowd = if is_crowded { gather(stand, target, options.crowd)? } else { Vec::new() };
                let sample = measure_one(stand, target, &BESIDE_A_CROWD, &batches, options.seconds)?;
                beside.upstream[usize::from(is_crowded)] = sample.upstream[1];
                *(if is_crowded { &mut beside.crowded } else { &mut beside.alone }) =
                    sample.commands_per_second;
                drop(crowd);
                await_waiting(stand, 0)?;
            }
            round.push(beside);
        }
        rounds.push(round);
    }
    Ok(rounds)
}

/// Connects the crowd, and waits until Redis has all of it.
fn gather(stand: &Stand, target: &Target, size: usize) -> anyhow::Result<Vec<TcpStream>> {
    let mut crowd = Vec::with_capacity(2 * size);
    for number in 0..2 * size {
        let is_subscriber = number % 2 == 0;
        let name = format!("crowd:{number}").into_bytes();
        let ask =
            if is_subscriber { request(&[b"SUBSCRIBE", &name]) } else { request(&[b"BLPOP", &name, b"0"]) };
        let mut stream = TcpStream::connect(target.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(&ask)?;
        if is_subscriber {
            load::await_replies(&mut stream, 1)?;
        }
        crowd.push(stream);
    }
    await_waiting(stand, size)?;
    Ok(crowd)
}

/// Waits until so many clients of Redis are blocked, and as many channels have a subscriber; nobody is told
/// of it.
fn await_waiting(stand: &Stand, size: usize) -> anyhow::Result<()> {
    let end = load::now() + PATIENCE;
    loop {
        let state = load::ask(stand.redis_address(), &request(&[b"INFO", b"everything"]))?;
        let figure = |name: &str| {
            state.lines().find_map(|line| line.strip_prefix(name)?.parse::<usize>().ok()).unwrap_or_default()
        };
        let waiting = (figure("blocked_clients:"), figure("pubsub_channels:"));
        if waiting == (size, size) {
            return Ok(());
        }
        if load::now() > end {
            bail!("of {size} clients {} are blocked, and {} are subscribed", waiting.0, waiting.1);
        }
        pause();
    }
}
