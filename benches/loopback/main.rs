//! `make bench`: what a proxy in front of Redis costs, on this machine, today.
//!
//! One run, one Redis, and in front of it every target in turn: direct, twemproxy, haproxy in TCP mode,
//! Tenantry with prefixing on. Machines get slower and faster from minute to minute, so figures of two runs
//! do not compare. Therefore the targets take turns within each round, the order rotates from round to round,
//! ratios are taken within a round, and what is printed is the median over the rounds. The figure to trust is
//! CPU time per command over a peer's in the same round: throughput also depends on who shares the cores.
//!
//! With `--cluster` the same is done with a cluster of three primaries (see [`cluster`]): clients of the cluster
//! itself, Tenantry in front of it, and Tenantry in front of one Redis, which tells what the cluster adds.
//! With `--compression` values of JSON are stored compressed and as they come.
//!
//! With `--breaker` nothing is compared with others: Redis is stopped under load and continued, and what its clients
//! read meanwhile is told (see [`breaker`]).
//! With `--fairness` it is measured what one tenant's load does to another's latency (see [`fairness`]).
//!
//! With `--limits` it is measured how well a rate is kept, and what refusing costs another tenant (see [`limits`]).
//!
//! With `--fleet` nothing is compared: four proxies share one budget, and what they grant is printed (see [`fleet`]).
//!
//! The load comes from this very process (see [`load`]): common load generators cost several times what a
//! proxy costs and so hide the differences. The exception is `redis-benchmark`, the client of a cluster. Linux only, because CPU time and memory are read from `/proc`.
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts become figures for people, far below the range where that loses anything"
)]

mod breaker;
mod cluster;
mod cost;
mod crowd;
mod fairness;
mod fleet;
mod limits;
mod load;
mod options;
mod redis_benchmark;
mod replies;
mod report;
mod round;
mod target;
mod workload;

use std::io::Write as _;

use clap::Parser as _;

use options::Options;
use report::Report;
use target::{Idle, Stand};

fn main() -> anyhow::Result<()> {
    options::raise_file_limit()?;
    let options = Options::parse();
    if options.fleet {
        return fleet::run(&mut std::io::stdout().lock());
    }
    let stand = Stand::build(options.targets())?;
    if options.breaker {
        return breaker::tell(&stand, &mut std::io::stdout().lock());
    }
    if options.fairness {
        writeln!(std::io::stdout(), "{}", fairness::measure(&stand, &options)?)?;
        return Ok(());
    }
    if options.limits {
        writeln!(std::io::stdout(), "{}", limits::measure(&stand)?)?;
        return Ok(());
    }
    let mut report = Report::of_this_machine(&options);
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", report.head())?;
    for workload in options.workloads() {
        let rounds = round::measure(&stand, workload, &options)?;
        writeln!(out, "{}", report.workload(workload, &rounds))?;
    }
    if !options.cluster && !options.compression && !options.guards {
        if options.crowd > 0 {
            writeln!(out, "{}", Report::crowd(options.crowd, &crowd::measure(&stand, &options)?))?;
        }
        writeln!(out, "{}", Report::idle(&measure_idle(&stand, &options)?))?;
    }
    writeln!(out, "{}", report.summary())?;
    Ok(())
}

fn measure_idle(stand: &Stand, options: &Options) -> anyhow::Result<Vec<Idle>> {
    let mut rows = Vec::new();
    for &connections in options.idle.iter().filter(|&&connections| connections > 0) {
        for &kind in options.targets().iter().filter(|kind| !kind.is_direct()) {
            eprintln!("idle: {connections} connections through {kind}");
            rows.push(stand.idle(kind, connections)?);
        }
    }
    Ok(rows)
}
