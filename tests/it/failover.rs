//! Nodes come and go while twenty clients increment and read counters: what they read is true, and what was
//! acknowledged is there afterwards.
//!
//! Each test prints how long the deployment itself was not in service, as whoever speaks to it directly sees
//! it, and beside it how long the clients of the proxy read errors. Neither is compared with anything: both
//! depend on the machine.

mod ledger;
mod load;
mod witness;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::servers::{DURABLE, Proxy, RedisCluster, RedisServer, SentinelGroup, Setup, Shape, now};
use crate::wire::{Client, Tree};
use ledger::Ledger;
use load::{Load, Record};
use witness::{MEMORY, kept};

/// What a client may read while nodes come and go, by the first word; `docs/errors.md` has the texts. Whatever
/// says only that another node should be asked is for the proxy, not for its clients.
const DOCUMENTED: &[&str] = &["UNAVAILABLE", "CLUSTERDOWN", "TRYAGAIN", "LOADING", "READONLY", "MASTERDOWN"];

/// Pipelines of each client before something happens, and after all is well again.
const PIPELINES: u64 = 20;

/// No node is given up for being slow, where none is to be.
const PATIENT: &[&str] = &["--cluster-node-timeout", "60000"];

/// What happened and how long it took.
struct Event {
    title: &'static str,
    began: Instant,
    /// Until whoever speaks to the deployment directly was served again.
    own: Duration,
}

impl Event {
    /// `happen` returns when those who speak to the deployment directly are served.
    fn of(title: &'static str, happen: impl FnOnce()) -> Self {
        let began = now();
        happen();
        Self { title, began, own: now() - began }
    }
}

/// One proxy in front of a deployment, and the load on it.
struct Trial {
    proxy: Proxy,
    load: Load,
}

impl Trial {
    fn begin(url: String) -> Self {
        let proxy = Proxy::start(&Setup::for_upstream(url));
        let load = Load::start(&proxy);
        load.wait_until_served(&proxy, PIPELINES);
        Self { proxy, load }
    }

    /// Waits until everybody is served again, ends the load, and compares what was read with what the primaries
    /// have (`primary_of`, a physical key) and with what was `kept` of counters whose primary was replaced. Says
    /// how many errors there were.
    fn end(self, event: &Event, primary_of: &dyn Fn(&str) -> Client, kept: &BTreeMap<String, u64>) -> usize {
        self.load.wait_until_served(&self.proxy, PIPELINES);
        let records = self.load.end();
        let (lost, wrong) = compare(&records, primary_of, kept);
        println!("{}", report(&records, event, lost));
        assert!(wrong.is_empty(), "{} are wrong:\n  {}", wrong.len(), wrong.join("\n  "));
        records.iter().map(|record| record.errors.len()).sum()
    }
}

/// How many acknowledged increments Redis has lost, and everything that cannot be true.
fn compare(
    records: &[Record],
    primary_of: &dyn Fn(&str) -> Client,
    kept: &BTreeMap<String, u64>,
) -> (u64, Vec<String>) {
    let mut lost = 0;
    let mut wrong: Vec<_> =
        records.iter().flat_map(|record| &record.errors).filter_map(undocumented).collect();
    for (key, base, entries) in records.iter().flat_map(|record| &record.counters) {
        let stored = primary_of(key).call(&["GET", key]);
        let stored = std::str::from_utf8(Tree::of(&stored).payload()).ok().and_then(|text| text.parse().ok());
        match Ledger::new(*base, kept.get(key).copied()).check(entries, stored.unwrap_or(0)) {
            Ok(of_counter) => lost += of_counter,
            Err(why) => wrong.push(format!("{key}: {why}")),
        }
    }
    (lost, wrong)
}

/// What is wrong with an error that a client read.
fn undocumented((_, text): &(Instant, String)) -> Option<String> {
    let is_known = DOCUMENTED.contains(&code(text));
    let is_silent = !text.contains("127.0.0.1") && !text.contains("counter:");
    (!is_known || !is_silent).then(|| format!("a client read {text}"))
}

#[test]
fn every_code_that_clients_may_read_is_in_the_page_of_errors() {
    let page = include_str!("../../docs/errors.md");
    for code in DOCUMENTED {
        assert!(page.contains(&format!("`{code} ")), "{code} is not in docs/errors.md");
    }
}

/// The first word of an error.
fn code(text: &str) -> &str {
    text.trim_start_matches('-').split([' ', '\\']).next().unwrap_or_default()
}

/// The clients' side of an event beside the deployment's own.
fn report(records: &[Record], event: &Event, lost: u64) -> String {
    let since = |at: &Instant| at.saturating_duration_since(event.began);
    let mut codes = BTreeMap::new();
    for (_, text) in records.iter().flat_map(|record| &record.errors) {
        *codes.entry(code(text)).or_insert(0_u32) += 1;
    }
    let times = || records.iter().flat_map(|record| &record.errors).map(|(at, _)| since(at));
    let window = match (times().min(), times().max()) {
        (Some(from), Some(to)) => format!("{codes:?} from {from:.2?} to {to:.2?}"),
        _ => "none".to_owned(),
    };
    let gaps = records.iter().flat_map(|record| record.served.windows(2)).map(|pair| pair[1] - pair[0]);
    let pipelines: usize = records.iter().map(|record| record.served.len()).sum();
    format!(
        "{}: the deployment itself was back after {:.2?}; errors of clients: {window}; longest time between two \
         pipelines of one client that were served: {:.2?}, of {pipelines}; acknowledged increments that Redis \
         has lost: {lost}",
        event.title,
        event.own,
        gaps.max().unwrap_or_default(),
    )
}

/// Nothing was lost that a replica could not know.
fn nothing() -> BTreeMap<String, u64> {
    BTreeMap::new()
}

#[test]
fn a_thousand_slots_move_under_load_and_nobody_reads_an_error() {
    let cluster = RedisCluster::start_with(Shape::Replicated, PATIENT);
    let trial = Trial::begin(cluster.url());
    let [source, target, _] = cluster.primaries()[..] else { panic!("a cluster has three primaries") };
    let event = Event::of("1,000 slots moved", || cluster.migrate_slots(0..=999, source, target));
    let errors = trial.end(&event, &|key| cluster.client(cluster.primary_of(key)), &nothing());
    assert_eq!(0, errors, "somebody has every key at every moment");
}

#[test]
fn a_replica_takes_over_by_command_under_load() {
    let cluster = RedisCluster::start_with(Shape::Replicated, PATIENT);
    let trial = Trial::begin(cluster.url());
    let primary = cluster.primaries()[0];
    let replica = cluster.replica_of(primary);
    let event = Event::of("CLUSTER FAILOVER", || assert_eq!(replica, cluster.fail_over(primary)));
    trial.end(&event, &|key| cluster.client(cluster.primary_of(key)), &nothing());
}

#[test]
fn a_primary_is_killed_under_load() {
    let mut cluster = RedisCluster::start_with(Shape::Replicated, MEMORY);
    let primary = cluster.primaries()[0];
    let replica = cluster.replica_of(primary);
    let trial = Trial::begin(cluster.url());
    let event = Event::of("primary killed", || {
        cluster.kill(primary);
        cluster.wait_until_served(0);
    });
    cluster.wait_until_settled();
    assert_eq!(replica, cluster.owner_of(0));
    let kept = kept(cluster.server(replica));
    trial.end(&event, &|key| cluster.client(cluster.primary_of(key)), &kept);
}

#[test]
fn every_node_is_killed_and_started_again_in_turn_under_load() {
    // Nobody takes over: each comes back with what it has acknowledged.
    let mut cluster = RedisCluster::start_with(Shape::Replicated, &[DURABLE, PATIENT].concat());
    let primaries = cluster.primaries();
    let trial = Trial::begin(cluster.url());
    let began = now();
    let mut own = Duration::ZERO;
    for node in cluster.nodes() {
        let outage = Event::of("node started again", || {
            cluster.kill(node);
            cluster.restart(node);
            cluster.wait_until_settled();
        });
        own += outage.own;
    }
    assert_eq!(primaries, cluster.primaries(), "nobody has taken over");
    let event = Event { title: "every node started again", began, own };
    trial.end(&event, &|key| cluster.client(cluster.primary_of(key)), &nothing());
}

#[test]
fn sentinels_replace_a_primary_by_command_under_load() {
    let group = SentinelGroup::start_with(MEMORY);
    let trial = Trial::begin(group.url());
    let event = Event::of("SENTINEL FAILOVER", || group.promote_the_replica());
    group.wait_until_settled();
    trial.end(&event, &|_| group.primary().client(), &kept(group.primary()));
}

#[test]
fn sentinels_replace_a_killed_primary_under_load() {
    let mut group = SentinelGroup::start_with(MEMORY);
    let trial = Trial::begin(group.url());
    let event = Event::of("primary of Sentinels killed", || {
        group.kill_primary();
        group.wait_until_settled();
    });
    trial.end(&event, &|_| group.primary().client(), &kept(group.primary()));
}

#[test]
fn a_server_is_killed_and_started_again_under_load() {
    let mut server = RedisServer::start_with(DURABLE);
    let trial = Trial::begin(server.url());
    let event = Event::of("server started again", || {
        server.kill();
        server.restart();
    });
    trial.end(&event, &|_| server.client(), &nothing());
}
