//! Medians over the rounds, as Markdown.

use std::fmt::Write as _;
use std::fs;

use crate::crowd::Beside;
use crate::options::Options;
use crate::round::{Round, Sample};
use crate::target::{Idle, Kind, version};
use crate::workload::{BESIDE_A_CROWD, Workload};

/// Builds the tables; keeps what the summary needs.
pub(crate) struct Report {
    head: String,
    targets: Vec<Kind>,
    /// Whom the summary is about.
    subject: Kind,
    /// The proxy whose CPU time every other's is compared with.
    peer: Kind,
    summary: String,
}

/// Medians of one target over the rounds of one workload. A figure that nobody measured is NaN and shown as
/// `-`.
struct Line {
    commands_per_second: f64,
    of_direct: f64,
    proxy_us: f64,
    of_peer: f64,
    redis_us: f64,
    redis_bytes: f64,
    p50_ms: f64,
    p99_ms: f64,
    resident: f64,
    upstream: [f64; 2],
}

impl Report {
    pub(crate) fn of_this_machine(options: &Options) -> Self {
        let targets = options.targets().to_vec();
        let versions: Vec<String> = targets
            .iter()
            .filter(|kind| !kind.is_on_cluster())
            .filter_map(|&kind| version(kind).ok())
            .filter(|text| !text.is_empty())
            .collect();
        let head = format!(
            "# Loopback benchmark\n\n{}\n{}\n{} rounds of {} s, targets in turn within each, medians; one proxy \
             thread each.\n",
            machine(),
            versions.join("; "),
            options.rounds,
            options.seconds
        );
        let (subject, peer) = match options {
            Options { cluster: true, .. } => (Kind::Cluster, Kind::Tenantry),
            Options { compression: true, .. } => (Kind::Compressing, Kind::Tenantry),
            Options { guards: true, .. } => (Kind::Guarded, Kind::Bare),
            Options { .. } => (Kind::Tenantry, Kind::Twemproxy),
        };
        Self { head, targets, subject, peer, summary: String::new() }
    }

    pub(crate) fn head(&self) -> &str {
        &self.head
    }

    /// The table of one workload.
    pub(crate) fn workload(&mut self, workload: &Workload, rounds: &[Round]) -> String {
        let mut text = format!(
            "## {}: {}\n\n\
             | target | ops/s | of direct | proxy CPU µs | of {} | Redis CPU µs | Redis bytes | p50 ms | p99 ms | RSS MiB | to Redis |\n\
             |---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
            workload.name,
            workload.title(),
            self.peer
        );
        for &kind in self.targets.iter().filter(|kind| workload.suits(**kind)) {
            let line = Line::of(kind, self.peer, rounds);
            push_line(&mut text, &line.row(kind));
            if kind == self.subject {
                push_line(&mut self.summary, &line.summary_row(workload));
            }
        }
        text
    }

    /// How a crowd that waits slows down those who do not.
    pub(crate) fn crowd(size: usize, rounds: &[Vec<Beside>]) -> String {
        let mut text = format!(
            "## {}, beside {size} blocked in BLPOP and {size} subscribed\n\n\
             | target | alone, ops/s | beside them, ops/s | ratio | to Redis |\n|---|---:|---:|---:|---:|\n",
            BESIDE_A_CROWD.title()
        );
        let kinds = rounds.first().map_or(&[][..], |round| round);
        for Beside { kind, .. } in kinds {
            let over = |figure: &dyn Fn(&Beside) -> f64| {
                let of_kind =
                    |round: &Vec<Beside>| round.iter().find(|one| one.kind == *kind).map_or(f64::NAN, figure);
                median(rounds, of_kind)
            };
            let row = format!(
                "| {kind} | {} | {} | {} | {} → {} |",
                shown(over(&|one| one.alone), 0),
                shown(over(&|one| one.crowded), 0),
                shown(over(&|one| one.crowded / one.alone), 3),
                shown(over(&|one| one.upstream[0] as f64), 0),
                shown(over(&|one| one.upstream[1] as f64), 0),
            );
            push_line(&mut text, &row);
        }
        text
    }

    /// Memory per idle connection.
    pub(crate) fn idle(rows: &[Idle]) -> String {
        if rows.is_empty() {
            return String::new();
        }
        let mut text =
            "## Memory per idle connection\n\n| target | connections | bytes each |\n|---|---:|---:|\n"
                .to_owned();
        for Idle { kind, connections, bytes } in rows {
            push_line(&mut text, &format!("| {kind} | {connections} | {bytes} |"));
        }
        text
    }

    /// Tenantry on one page, as the README shows it.
    pub(crate) fn summary(&self) -> String {
        if self.summary.is_empty() {
            return String::new();
        }
        format!(
            "## {} in short\n\n| workload | ops/s | of direct | proxy CPU µs | of {} | p50 ms | p99 ms |\n\
             |---|---:|---:|---:|---:|---:|---:|\n{}",
            self.subject, self.peer, self.summary
        )
    }
}

impl Line {
    fn of(kind: Kind, peer: Kind, rounds: &[Round]) -> Self {
        let over = |figure: &dyn Fn(&Sample) -> f64| {
            median(rounds, |round| sample(round, kind).map_or(f64::NAN, figure))
        };
        let ratio = |is_other: &dyn Fn(Kind) -> bool, figure: &dyn Fn(&Sample) -> f64| {
            let other = |round: &Round| round.iter().find(|sample| is_other(sample.kind)).map(figure);
            median(rounds, |round| match (sample(round, kind), other(round)) {
                (Some(own), Some(other)) => figure(own) / other,
                _ => f64::NAN,
            })
        };
        let is_proxy = |figure: f64| if kind.is_direct() { f64::NAN } else { figure };
        Self {
            commands_per_second: over(&|sample| sample.commands_per_second),
            of_direct: ratio(&Kind::is_direct, &|sample| sample.commands_per_second),
            proxy_us: is_proxy(over(&|sample| sample.proxy_us)),
            of_peer: is_proxy(ratio(&|kind| kind == peer, &|sample| sample.proxy_us)),
            redis_us: over(&|sample| sample.redis_us),
            redis_bytes: over(&|sample| sample.redis_bytes),
            p50_ms: over(&|sample| sample.p50_ms),
            p99_ms: over(&|sample| sample.p99_ms),
            resident: is_proxy(over(&|sample| sample.resident as f64)),
            upstream: [0, 1].map(|when| is_proxy(over(&|sample| sample.upstream[when] as f64))),
        }
    }

    fn row(&self, kind: Kind) -> String {
        format!(
            "| {kind} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} → {} |",
            shown(self.commands_per_second, 0),
            shown(self.of_direct, 2),
            shown(self.proxy_us, 2),
            shown(self.of_peer, 2),
            shown(self.redis_us, 2),
            shown(self.redis_bytes, 0),
            shown(self.p50_ms, 2),
            shown(self.p99_ms, 2),
            shown(self.resident / f64::from(1 << 20), 1),
            shown(self.upstream[0], 0),
            shown(self.upstream[1], 0)
        )
    }

    fn summary_row(&self, workload: &Workload) -> String {
        format!(
            "| {} | {} | {} | {} | {} | {} | {} |",
            workload.title(),
            shown(self.commands_per_second, 0),
            shown(self.of_direct, 2),
            shown(self.proxy_us, 2),
            shown(self.of_peer, 2),
            shown(self.p50_ms, 2),
            shown(self.p99_ms, 2)
        )
    }
}

fn sample(round: &Round, kind: Kind) -> Option<&Sample> {
    round.iter().find(|sample| sample.kind == kind)
}

pub(crate) fn median<R>(rounds: &[R], figure: impl Fn(&R) -> f64) -> f64 {
    let mut figures: Vec<f64> = rounds.iter().map(figure).collect();
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    if figures.len() % 2 == 1 { figures[middle] } else { f64::midpoint(figures[middle - 1], figures[middle]) }
}

fn shown(figure: f64, decimals: usize) -> String {
    if figure.is_finite() { format!("{figure:.decimals$}") } else { "-".to_owned() }
}

fn push_line(text: &mut String, line: &str) {
    // Writing to a String cannot fail.
    writeln!(text, "{line}").ok();
}

fn machine() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("unknown processor", |(_, model)| model.trim());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{model}, {cores} cores for load, proxy and Redis together; Linux {}.", kernel.trim())
}
