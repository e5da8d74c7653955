//! The rounds of one workload.

use std::time::Duration;

use anyhow::Context as _;

use crate::cost;
use crate::load::{self, Fleet};
use crate::options::Options;
use crate::target::{Kind, Stand, Target};
use crate::workload::Workload;

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
    let targets = stand.start_all(options.targets.iter().filter(|kind| workload.suits(**kind)))?;
    for target in &targets {
        load::send_all(target.address, workload.preload())
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

pub(crate) fn measure_one(
    stand: &Stand,
    target: &Target,
    workload: &Workload,
    batches: &[Box<[u8]>],
    seconds: f64,
) -> anyhow::Result<Sample> {
    let held = stand.upstream_connections(target)?;
    let mut fleet = Fleet::connect(target.address, workload.connections, batches, workload.replies())?;
    fleet.drive(WARM_UP)?;
    let before = (target.cpu_time()?, cost::cpu_time(stand.redis_pid())?, load::now());
    let mut tally = fleet.drive(Duration::from_secs_f64(seconds))?;
    let took = before.2.elapsed().as_secs_f64();
    let proxy = target.cpu_time()?.saturating_sub(before.0);
    let redis = cost::cpu_time(stand.redis_pid())?.saturating_sub(before.1);
    let resident = target.resident()?;
    let upstream = [held, stand.upstream_connections(target)?];
    fleet.drain()?;
    tally.latencies.sort_unstable();
    let commands = (tally.batches * workload.depth).max(1) as f64;
    Ok(Sample {
        kind: target.kind,
        commands_per_second: commands / took,
        proxy_us: proxy.as_secs_f64() * 1e6 / commands,
        redis_us: redis.as_secs_f64() * 1e6 / commands,
        p50_ms: quantile(&tally.latencies, 0.50),
        p99_ms: quantile(&tally.latencies, 0.99),
        resident,
        upstream,
    })
}

/// In milliseconds, of sorted microseconds.
fn quantile(sorted: &[u32], share: f64) -> f64 {
    let place = ((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(place).map_or(f64::NAN, |&micros| f64::from(micros) / 1e3)
}
