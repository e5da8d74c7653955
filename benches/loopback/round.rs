//! The rounds of one workload.

use std::time::Duration;

use anyhow::Context as _;

use crate::load::{self, Fleet};
use crate::options::Options;
use crate::redis_benchmark::{self, Outcome};
use crate::target::{Kind, Stand, Target};
use crate::workload::{Sender, Workload};

/// Load before the measured window: connections, buffers and caches settle.
const WARM_UP: Duration = Duration::from_millis(150);

/// One target in one round.
pub(crate) struct Sample {
    pub(crate) kind: Kind,
    pub(crate) commands_per_second: f64,
    /// CPU time of the proxy per command, in microseconds; 0 for direct.
    pub(crate) proxy_us: f64,
    /// CPU time of Redis per command, in microseconds.
    pub(crate) redis_us: f64,
    /// Bytes that Redis read and wrote per command.
    pub(crate) redis_bytes: f64,
    /// From sending a batch to its last reply, in milliseconds.
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// Memory of the proxy under this load, in bytes; 0 for direct.
    pub(crate) resident: u64,
    /// Connections from the proxy to Redis, before and under this load; 0 for direct.
    pub(crate) upstream: [usize; 2],
}

/// All targets of one round, measured one after the other.
pub(crate) type Round = Vec<Sample>;

/// Measures every target in every round. The order rotates, so that nobody is always first.
pub(crate) fn measure(stand: &Stand, workload: &Workload, options: &Options) -> anyhow::Result<Vec<Round>> {
    let targets = stand.start_all(options.targets().iter().filter(|kind| workload.suits(**kind)))?;
    for target in &targets {
        fill(target, workload)
            .with_context(|| format!("{}: filling the keys through {}", workload.name, target.kind))?;
    }
    let batches = workload.batches();
    let mut rounds = Vec::new();
    for number in 0..usize::from(options.rounds) {
        eprintln!("{}: round {} of {}", workload.name, number + 1, options.rounds);
        let mut round = Round::new();
        for place in 0..targets.len() {
            let target = &targets[(place + number) % targets.len()];
            let sample = measure_one(stand, target, workload, &batches, options.seconds)
                .with_context(|| format!("{} through {}", workload.name, target.kind))?;
            round.push(sample);
        }
        rounds.push(round);
    }
    Ok(rounds)
}

fn fill(target: &Target, workload: &Workload) -> anyhow::Result<()> {
    match workload.sender {
        Sender::Own => load::send_all(target.address, workload.preload()),
        Sender::RedisBenchmark => redis_benchmark::fill(target, workload),
    }
}

pub(crate) fn measure_one(
    stand: &Stand,
    target: &Target,
    workload: &Workload,
    batches: &[Box<[u8]>],
    seconds: f64,
) -> anyhow::Result<Sample> {
    let held = stand.upstream_connections(target)?;
    if workload.sender == Sender::RedisBenchmark {
        let account = Account::open(stand, target)?;
        let outcome = redis_benchmark::load(target, workload, seconds)?;
        return account.close(held, &outcome);
    }
    let mut fleet = Fleet::connect(target.address, workload.connections, batches, workload.replies())?;
    fleet.drive(WARM_UP)?;
    let account = Account::open(stand, target)?;
    let begin = load::now();
    let mut tally = fleet.drive(Duration::from_secs_f64(seconds))?;
    let took = begin.elapsed().as_secs_f64();
    tally.latencies.sort_unstable();
    let commands = (tally.batches * workload.depth).max(1);
    let outcome = Outcome {
        commands,
        commands_per_second: commands as f64 / took,
        p50_ms: quantile(&tally.latencies, 0.50),
        p99_ms: quantile(&tally.latencies, 0.99),
    };
    let sample = account.close(held, &outcome)?;
    fleet.drain()?;
    Ok(sample)
}

/// CPU times when a load began.
struct Account<'a> {
    stand: &'a Stand,
    target: &'a Target,
    proxy: Duration,
    redis: Duration,
    traffic: u64,
}

impl<'a> Account<'a> {
    fn open(stand: &'a Stand, target: &'a Target) -> anyhow::Result<Self> {
        let (redis, traffic) = (stand.redis_cpu_time(target.kind)?, stand.redis_traffic(target.kind)?);
        Ok(Self { stand, target, proxy: target.cpu_time()?, redis, traffic })
    }

    /// The load is over; `held` are the connections to Redis before it.
    fn close(self, held: usize, outcome: &Outcome) -> anyhow::Result<Sample> {
        let proxy = self.target.cpu_time()?.saturating_sub(self.proxy);
        let redis = self.stand.redis_cpu_time(self.target.kind)?.saturating_sub(self.redis);
        let traffic = self.stand.redis_traffic(self.target.kind)?.saturating_sub(self.traffic);
        let per_command = |time: Duration| time.as_secs_f64() * 1e6 / outcome.commands as f64;
        Ok(Sample {
            kind: self.target.kind,
            commands_per_second: outcome.commands_per_second,
            proxy_us: per_command(proxy),
            redis_us: per_command(redis),
            redis_bytes: traffic as f64 / outcome.commands as f64,
            p50_ms: outcome.p50_ms,
            p99_ms: outcome.p99_ms,
            resident: self.target.resident()?,
            upstream: [held, self.stand.upstream_connections(self.target)?],
        })
    }
}

/// In milliseconds, of sorted microseconds.
fn quantile(sorted: &[u32], share: f64) -> f64 {
    let place = ((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(place).map_or(f64::NAN, |&micros| f64::from(micros) / 1e3)
}
