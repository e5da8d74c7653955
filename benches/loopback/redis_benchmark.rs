//! `redis-benchmark` as the load: with `--cluster` a client that knows where the keys are, without it an
//! ordinary one.
//!
//! It costs more than a proxy does, so it says what a user may expect rather than what a proxy costs. As a client
//! of a cluster it gives all commands of a pipeline one hash tag, another for each pipeline; as an ordinary one it
//! cannot, so that a pipeline's commands are for every node.

use std::process::Command;

use anyhow::{Context as _, ensure};

use crate::target::{Kind, Target};
use crate::workload::{Verb, Workload};

/// Slots of a cluster, and the keys of a run.
const KEYS: usize = 16_384;

/// Commands that leave hardly any key unset.
const COMMANDS_TO_FILL: usize = 12 * KEYS;

/// What a run achieved.
pub(crate) struct Outcome {
    pub(crate) commands: usize,
    pub(crate) commands_per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

/// Sets the keys that the workload touches.
pub(crate) fn fill(target: &Target, workload: &Workload) -> anyhow::Result<()> {
    run(target, "set", workload, 16, COMMANDS_TO_FILL).map(drop)
}

/// Sends as many commands as keep a machine busy for about `seconds`.
pub(crate) fn load(target: &Target, workload: &Workload, seconds: f64) -> anyhow::Result<Outcome> {
    let per_second = if workload.depth == 1 { 60_000.0 } else { 200_000.0 };
    let test = if workload.verb == Verb::Set { "set" } else { "get" };
    run(target, test, workload, workload.depth, (seconds * per_second) as usize)
}

fn run(
    target: &Target,
    test: &str,
    workload: &Workload,
    depth: usize,
    commands: usize,
) -> anyhow::Result<Outcome> {
    let is_cluster_client = target.kind == Kind::DirectCluster;
    // A client of the cluster takes so many keys from every slot.
    let keys = if is_cluster_client { 1 } else { KEYS };
    let mut command = Command::new("redis-benchmark");
    command.arg("-h").arg(target.address.ip().to_string());
    let options = [
        ("-p", usize::from(target.address.port())),
        ("-c", workload.connections),
        ("-P", depth),
        ("-d", workload.value),
        ("-n", commands),
        ("-r", keys),
        // As a client of a cluster it would have one for each node.
        ("--threads", 1),
    ];
    for (name, value) in options {
        command.arg(name).arg(value.to_string());
    }
    command.args(["--csv", "-t", test]).args(is_cluster_client.then_some("--cluster"));
    let output = command.output().context("cannot run redis-benchmark; it comes with Redis")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "redis-benchmark: {}: {said}{complaint}", output.status);
    outcome(&said, commands).with_context(|| format!("redis-benchmark said {said}{complaint}"))
}

/// Reads the table of two lines: names and figures.
fn outcome(said: &str, commands: usize) -> Option<Outcome> {
    let mut table = said.lines().skip_while(|line| !line.starts_with("\"test\"")).map(cells);
    let (names, figures) = (table.next()?, table.next()?);
    let figure = |name: &str| figures.get(names.iter().position(|one| *one == name)?)?.parse().ok();
    Some(Outcome {
        commands,
        commands_per_second: figure("rps")?,
        p50_ms: figure("p50_latency_ms")?,
        p99_ms: figure("p99_latency_ms")?,
    })
}

fn cells(line: &str) -> Vec<&str> {
    line.split(',').map(|cell| cell.trim_matches('"')).collect()
}
