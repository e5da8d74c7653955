//! What one tenant's load does to another: a single connection that asks for one small value at a time, alone and
//! beside a crowd.
//!
//! A closed loop asks more often while it is answered fast; therefore latencies are weighted by their length: what is
//! shown is how long the request takes that is under way at a moment drawn at random.
//!
//! Each crowd is measured in front of Redis itself (which serves its connections in turn, but knows no tenants),
//! through Tenantry as it is, and through Tenantry with a window so wide that tenants do not take turns.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;

use crate::load::{self, Fleet};
use crate::options::Options;
use crate::report::median;
use crate::target::{Kind, Stand, Target, await_answer, free_address, log_name, spawn};
use crate::workload::request;

/// How long one stretch of the crowd's load is: it looks whether it should end after each.
const STRETCH: Duration = Duration::from_millis(50);

/// Who is beside the one whose latency is measured.
struct Crowd {
    name: &'static str,
    connections: usize,
    depth: usize,
    /// Bytes of its values.
    value: usize,
    writes: bool,
}

const CROWDS: [Crowd; 5] = [
    Crowd { name: "nobody", connections: 0, depth: 1, value: 64, writes: false },
    Crowd {
        name: "1,000 connections, 64 GETs at a time",
        connections: 1000,
        depth: 64,
        value: 64,
        writes: false,
    },
    Crowd {
        name: "1,000 connections, 64 SETs at a time",
        connections: 1000,
        depth: 64,
        value: 64,
        writes: true,
    },
    Crowd {
        name: "8 connections, GETs of 10 MB",
        connections: 8,
        depth: 1,
        value: 10_000_000,
        writes: false,
    },
    Crowd { name: "8 connections, SETs of 10 MB", connections: 8, depth: 1, value: 10_000_000, writes: true },
];

/// How the two reach Redis.
struct Way {
    name: &'static str,
    crowd: SocketAddr,
    single: SocketAddr,
    /// Ends with it; none for Redis itself.
    _process: Option<Target>,
}

/// One way beside one crowd.
struct Beside {
    way: &'static str,
    p50_ms: f64,
    p99_ms: f64,
    /// Batches of the crowd per second.
    crowd_per_second: f64,
}

/// Measures all of it, and returns it as Markdown.
pub(crate) fn measure(stand: &Stand, options: &Options) -> anyhow::Result<String> {
    let direct = stand.redis_address();
    let ways = [
        Way { name: "direct", crowd: direct, single: direct, _process: None },
        tenantry(stand, "tenantry", "")?,
        tenantry(stand, "tenantry, no turns", "window = 1000000\n")?,
    ];
    for way in &ways {
        let values = [64, 10_000_000].map(|len| request(&[b"SET", key(len), &vec![b'v'; len]]));
        load::send_all(way.crowd, values.into_iter())?;
        load::send_all(way.single, std::iter::once(request(&[b"SET", key(64), &[b'v'; 64]])))?;
    }
    let mut text =
        String::from("# One connection beside a crowd of another tenant: GET of 64 bytes, one at a time\n\n");
    for crowd in &CROWDS {
        eprintln!("beside {}", crowd.name);
        let rounds =
            (0..options.rounds).map(|_| ways.iter().map(|way| beside(way, crowd, options)).collect());
        let rounds: Vec<Vec<Beside>> = rounds.collect::<anyhow::Result<_>>()?;
        write!(text, "## Beside {}\n\n{}\n", crowd.name, table(&rounds))?;
    }
    Ok(text)
}

fn key(value: usize) -> &'static [u8] {
    if value > 64 { b"large" } else { b"small" }
}

fn tenantry(stand: &Stand, name: &'static str, window: &str) -> anyhow::Result<Way> {
    let [crowd, single, admin] = [free_address()?, free_address()?, free_address()?];
    let directory = stand.directory().join(name.replace([' ', ','], "-"));
    fs::create_dir(&directory)?;
    let path = directory.join("tenantry.toml");
    let redis = stand.redis_address();
    let text = format!(
        "workers = 1\n\n[[listener]]\naddress = \"{crowd}\"\ntenant = \"crowd\"\n\n[[listener]]\naddress = \"{single}\"\n\
         tenant = \"single\"\n\n[admin]\naddress = \"{admin}\"\n\n[upstream.main]\nurl = \"redis://{redis}\"\n{window}\n\
         [tenant.crowd]\n[tenant.single]\n"
    );
    fs::write(&path, text)?;
    let mut command = Kind::Tenantry.command();
    command.arg("--config").arg(&path);
    let mut process = spawn(Kind::Tenantry, &mut command, &directory)?;
    await_answer(&mut process, &directory.join(log_name(Kind::Tenantry)), || {
        load::send_all(single, std::iter::once(request(&[b"SET", b"ready", b"1"])))
    })
    .with_context(|| format!("{name} does not start"))?;
    let process = Some(Target { kind: Kind::Tenantry, address: single, process: Some(process) });
    Ok(Way { name, crowd, single, _process: process })
}

/// The latency of the single connection while the crowd is at work.
fn beside(way: &Way, crowd: &Crowd, options: &Options) -> anyhow::Result<Beside> {
    let value = vec![b'v'; crowd.value];
    let name = key(crowd.value);
    let one = if crowd.writes { request(&[b"SET", name, &value]) } else { request(&[b"GET", name]) };
    let batches = [one.repeat(crowd.depth).into_boxed_slice()];
    let own = [request(&[b"GET", key(64)]).into_boxed_slice()];
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let load = scope.spawn(|| -> anyhow::Result<f64> {
            let mut fleet = Fleet::connect(way.crowd, crowd.connections, &batches, crowd.depth)?;
            let (mut sent, begin) = (0, load::now());
            while !is_over.load(Ordering::Relaxed) {
                sent += fleet.drive(STRETCH)?.batches;
            }
            let per_second = sent as f64 / begin.elapsed().as_secs_f64();
            fleet.drain()?;
            Ok(per_second)
        });
        let mut single = Fleet::connect(way.single, 1, &own, 1)?;
        // Until the crowd is there.
        single.drive(Duration::from_millis(500))?;
        let mut tally = single.drive(Duration::from_secs_f64(options.seconds))?;
        is_over.store(true, Ordering::Relaxed);
        single.drain()?;
        tally.latencies.sort_unstable();
        let crowd_per_second = load.join().map_err(|_| anyhow::anyhow!("the crowd's thread panicked"))??;
        let [p50_ms, p99_ms] = [0.50, 0.99].map(|share| at_share_of_time(&tally.latencies, share));
        Ok(Beside { way: way.name, p50_ms, p99_ms, crowd_per_second })
    })
}

/// In milliseconds, of sorted microseconds: what is under way at this share of the time takes no longer.
fn at_share_of_time(sorted: &[u32], share: f64) -> f64 {
    let whole: f64 = sorted.iter().map(|&micros| f64::from(micros)).sum();
    let mut passed = 0.0;
    let at = sorted.iter().find(|&&micros| {
        passed += f64::from(micros);
        passed >= whole * share
    });
    at.map_or(f64::NAN, |&micros| f64::from(micros) / 1e3)
}

fn table(rounds: &[Vec<Beside>]) -> String {
    let mut text = String::from("| way | p50 ms | p99 ms | crowd, batches/s |\n|---|---:|---:|---:|\n");
    let ways = rounds.first().map_or(0, Vec::len);
    for way in 0..ways {
        let of = |figure: fn(&Beside) -> f64| median(rounds, |round: &Vec<Beside>| figure(&round[way]));
        let name = rounds[0][way].way;
        let (p50, p99) = (of(|beside| beside.p50_ms), of(|beside| beside.p99_ms));
        let crowd = of(|beside| beside.crowd_per_second);
        // Writing to a String cannot fail.
        writeln!(text, "| {name} | {p50:.3} | {p99:.3} | {crowd:.0} |").ok();
    }
    text
}
