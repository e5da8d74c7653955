//! What to measure, from arguments or the environment, and the file limit it needs.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Context as _, anyhow};

use crate::target::Kind;
use crate::workload::{self, Workload};

/// Files wanted for this process and each child: 10,000 connections cost a TCP proxy two files each.
const FILES_WANTED: usize = 32_768;

/// Set for the process that runs under the raised limit, so that it is raised once only.
const RAISED: &str = "TENANTRY_BENCH_RAISED";

/// Measures Redis directly, through twemproxy, haproxy and Tenantry, interleaved in one run; or a cluster.
#[derive(clap::Parser)]
#[expect(clippy::struct_excessive_bools, reason = "one for each flag of the command line")]
pub(crate) struct Options {
    /// Rounds for each workload; the median is shown.
    #[arg(long, env = "BENCH_ROUNDS", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) rounds: u16,

    /// Measured seconds for each target in each round.
    #[arg(long, env = "BENCH_SECONDS", default_value_t = 1.0, value_parser = seconds)]
    pub(crate) seconds: f64,

    /// Measures a cluster of three primaries: clients of the cluster itself, and Tenantry in front of it and of
    /// one Redis. No idle connections and no crowd.
    #[arg(long, env = "BENCH_CLUSTER", group = "instead")]
    pub(crate) cluster: bool,

    /// Stops Redis under load and continues it, with the breaker on and off: what fifty clients read meanwhile.
    #[arg(long, env = "BENCH_BREAKER", group = "instead")]
    pub(crate) breaker: bool,

    /// Measures what limits and the breaker cost while they have nothing to say. No idle connections and no crowd.
    #[arg(long, env = "BENCH_GUARDS", group = "instead")]
    pub(crate) guards: bool,

    /// Measures values of JSON, stored compressed and as they come. No idle connections and no crowd.
    #[arg(long, env = "BENCH_COMPRESSION", group = "instead")]
    pub(crate) compression: bool,

    /// Measures what one tenant's load does to another's latency, and nothing else.
    #[arg(long, env = "BENCH_FAIRNESS", group = "instead")]
    pub(crate) fairness: bool,

    /// Measures how well a rate is kept, and what refusing costs another tenant, and nothing else.
    #[arg(long, env = "BENCH_LIMITS", group = "instead")]
    pub(crate) limits: bool,

    /// Measures how four proxies keep one rate together, and nothing else.
    #[arg(long, env = "BENCH_FLEET", group = "instead")]
    pub(crate) fleet: bool,

    /// Targets, separated by commas; by default all of one Redis, or those of the cluster.
    #[arg(long, env = "BENCH_TARGETS", value_delimiter = ',', value_parser = Kind::parse)]
    targets: Vec<Kind>,

    /// Workloads, separated by commas; by default all of one Redis, or those of the cluster.
    #[arg(long, env = "BENCH_WORKLOADS", value_delimiter = ',', value_parser = workload::named)]
    workloads: Vec<&'static Workload>,

    /// Numbers of idle connections to measure memory at, separated by commas; 0 for none.
    #[arg(long, env = "BENCH_IDLE", value_delimiter = ',', default_value = "1000,10000")]
    pub(crate) idle: Vec<usize>,

    /// How many clients are blocked, and as many subscribed, beside those that work; 0 to leave this out.
    #[arg(long, env = "BENCH_CROWD", default_value_t = 200)]
    pub(crate) crowd: usize,

    /// Given by `cargo bench` to every benchmark.
    #[arg(long, hide = true, action = clap::ArgAction::Count)]
    bench: u8,
}

impl Options {
    pub(crate) fn targets(&self) -> &[Kind] {
        match &*self.targets {
            _ if self.breaker => &[Kind::Tenantry],
            _ if self.fairness || self.limits => &[Kind::Direct, Kind::Tenantry],
            [] if self.cluster => &Kind::CLUSTER,
            [] if self.compression => &Kind::COMPRESSION,
            [] if self.guards => &Kind::GUARDS,
            [] => &Kind::SINGLE,
            asked_for => asked_for,
        }
    }

    pub(crate) fn workloads(&self) -> Vec<&'static Workload> {
        match &*self.workloads {
            [] if self.cluster => workload::CLUSTER.iter().collect(),
            [] if self.compression => workload::COMPRESSION.iter().collect(),
            [] => workload::SINGLE.iter().collect(),
            asked_for => asked_for.to_vec(),
        }
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.05..=60.0).contains(&seconds) => Ok(seconds),
        _ => Err(format!("expected seconds from 0.05 to 60, got `{text}`")),
    }
}

/// Runs this program again under a limit that is high enough, or as high as allowed.
///
/// Through the shell's `ulimit`, because a process cannot raise its own limit without unsafe code; children
/// inherit it.
pub(crate) fn raise_file_limit() -> anyhow::Result<()> {
    if file_limit()? >= FILES_WANTED || std::env::var_os(RAISED).is_some() {
        return Ok(());
    }
    let error = Command::new("sh")
        .arg("-c")
        .arg(format!(r#"ulimit -n {FILES_WANTED} 2>/dev/null || ulimit -n "$(ulimit -Hn)"; exec "$0" "$@""#))
        .arg(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env(RAISED, "1")
        .exec();
    Err(anyhow!(error).context("cannot run this program again through sh"))
}

/// How many files this process, and each child, may have open.
pub(crate) fn file_limit() -> anyhow::Result<usize> {
    let limits =
        std::fs::read_to_string("/proc/self/limits").context("make bench needs Linux and its /proc")?;
    let soft = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))
        .and_then(|values| values.split_whitespace().next())
        .context("/proc/self/limits has no line `Max open files`")?;
    if soft == "unlimited" { Ok(usize::MAX) } else { Ok(soft.parse()?) }
}
