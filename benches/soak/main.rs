//! `make soak ARGS=--overload`: ten times as much as there is room for, for as long as it is told.
//!
//! A private Redis, Tenantry in front of it with a small `max_memory`, and more clients than both can serve (see
//! [`crowd`]): slow readers of large replies, writers of large values, requests that are never finished, subscribers
//! that do not read, a storm of connections. Among them clients that count (see [`ledger`]): what was acknowledged to
//! them must be in Redis in the end.
//!
//! Three things are held against the promises: the largest amount of memory that the kernel ever saw the process take,
//! against its ceiling; acknowledged writes that are not there, which must be none; and how long it takes until
//! everybody is served again once the load has gone. The process exits with 1 if one of them is broken. Linux only,
//! because memory is read from `/proc`.

mod crowd;
mod ledger;
mod options;
mod stand;
mod wire;

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::Parser as _;

use crowd::Tally;
use options::Options;
use stand::Stand;

/// How long it may take until everybody is served again.
const RECOVERY_GOAL: Duration = Duration::from_secs(1);
/// How long it is waited for that.
const RECOVERY_LIMIT: Duration = Duration::from_secs(60);
/// How often memory and counts are printed.
const REPORT_EVERY: Duration = Duration::from_secs(5);

fn main() -> anyhow::Result<ExitCode> {
    let options = Options::parse();
    options.check()?;
    let stand = Stand::build(options.ceiling())?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", options.head())?;
    let tally = Arc::new(Tally::default());
    crowd::prepare(&stand)?;
    let crowd = crowd::start(&stand, &tally, options.ceiling());
    let began = stand::now();
    let until = began + options.duration();
    while stand::now() < until {
        stand::pause(REPORT_EVERY.min(until.saturating_duration_since(stand::now())));
        writeln!(out, "{}", tally.line(&stand, began)?)?;
    }
    tally.is_over.store(true, Ordering::Relaxed);
    let stopped = stand::now();
    let ledgers = crowd.close();
    let recovered = crowd::await_service(&stand, stopped, RECOVERY_LIMIT)?;
    crowd.join();
    let lost: u64 = ledgers.iter().map(|ledger| ledger.lost(&stand)).sum::<anyhow::Result<u64>>()?;
    let acknowledged: u64 = ledgers.iter().map(|ledger| ledger.acknowledged()).sum();
    let peak = stand.peak()?;
    writeln!(out, "\n{}", tally.errors())?;
    writeln!(out, "largest resident size   {} of {}", stand::mib(peak), stand::mib(options.ceiling()))?;
    writeln!(out, "acknowledged writes     {acknowledged}, of them lost {lost}")?;
    writeln!(out, "normal service again    {} ms after the load", recovered.as_millis())?;
    let is_kept = peak <= options.ceiling() && lost == 0 && acknowledged > 0 && recovered <= RECOVERY_GOAL;
    writeln!(out, "{}", if is_kept { "all promises kept" } else { "A PROMISE IS BROKEN" })?;
    Ok(if is_kept { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
