//! The discovery of nodes, beside real clusters and sentinels, and beside nodes that answer what a test wants.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tenantry::routing::topology::{MultiKeyScope, NodeId, Shard, Topology};
use tenantry::settings::{
    BreakerSettings, ClassTimeouts, Deployment, Endpoint, Password, Restore, RetrySettings, SentinelSettings,
    TopologySettings, UpstreamSettings,
};
use tenantry::upstream::Feed;
use tenantry::upstream::discovery::{Discovery, run_all};
use tenantry::upstream::nodes::Nodes;
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::servers::{RedisCluster, SentinelGroup, free_port};
use crate::wire::PATIENCE;

/// Longer than any test: what happens, happens because somebody asked or was told.
const NEVER: Duration = Duration::from_secs(3600);

fn here(port: u16) -> Endpoint {
    Endpoint::Tcp { host: "127.0.0.1".into(), port }
}

/// The endpoints of `scheme://one,two/group`.
fn endpoints(url: &str) -> Vec<Endpoint> {
    let hosts = url.split('/').nth(2).expect("a URL has hosts");
    let port = |host: &str| host.rsplit_once(':').expect("a port").1.parse().expect("a number");
    hosts.split(',').map(|host| here(port(host))).collect()
}

fn settings(deployment: Deployment) -> UpstreamSettings {
    let second = Duration::from_secs(1);
    UpstreamSettings {
        name: "main".into(),
        deployment,
        address_map: Vec::new(),
        topology: TopologySettings { refresh_every: NEVER, refresh_min: Duration::from_millis(20) },
        measures_nodes: false,
        max_redirects: 5,
        username: None,
        password: None,
        database: 0,
        connect_timeout: 5 * second,
        reply_timeout: second,
        class_timeouts: ClassTimeouts::default(),
        retry: RetrySettings { percent: 20, minimum: 10 },
        reconnect_min: second,
        reconnect_max: second,
        idle_timeout: second,
        window: 1,
        max_leases: 1,
        lease_wait: second,
        restore: Restore::Checked,
        breaker: BreakerSettings::OFF,
    }
}

fn cluster_of(seeds: Vec<Endpoint>) -> UpstreamSettings {
    settings(Deployment::Cluster { seeds })
}

/// A discovery that runs on a thread of its own until this is dropped.
struct Found {
    feed: Feed,
    nodes: Arc<Nodes>,
    runtime: Runtime,
    _end: DropGuard,
}

impl Found {
    fn by(settings: UpstreamSettings) -> Self {
        let nodes = Arc::new(Nodes::default());
        let (settings, end) = (Arc::new(settings), CancellationToken::new());
        let runtime = || Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (given, ended) = (Arc::clone(&nodes), end.clone());
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let (discovery, feed) = Discovery::new(settings, given);
            tell.send(feed).expect("the test waits");
            runtime().block_on(ended.run_until_cancelled(run_all(vec![discovery])));
        });
        Self { feed: told.recv().expect("a feed"), nodes, runtime: runtime(), _end: end.drop_guard() }
    }

    /// Waits for a topology of which `is_it` is true.
    fn wait_for(&mut self, what: &str, is_it: impl Fn(&Self, &Topology) -> bool) -> Arc<Topology> {
        loop {
            let current = self.feed.current();
            if is_it(self, &current) {
                return current;
            }
            let heard =
                self.runtime.block_on(async { tokio::time::timeout(PATIENCE, self.feed.changed()).await });
            assert_eq!(Ok(true), heard, "waited for {what}, and heard {current:?}");
        }
    }

    fn known(&mut self) -> Arc<Topology> {
        self.wait_for("any topology", |_, topology| topology.is_known())
    }

    /// Waits until so many refreshes have ended.
    fn wait_for_refreshes(&self, count: u64) {
        self.runtime.block_on(async {
            let reached = async {
                while self.feed.refreshes() < count {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            tokio::time::timeout(PATIENCE, reached).await.expect("so many refreshes");
        });
    }

    fn port(&self, node: NodeId) -> u16 {
        match self.nodes.endpoint(node) {
            Some(Endpoint::Tcp { port, .. }) => port,
            other => panic!("{node:?} is at {other:?}"),
        }
    }

    fn owner(&self, topology: &Topology, slot: u16) -> Option<u16> {
        topology.owner(slot).map(|shard| self.port(shard.primary))
    }

    fn ports(&self, shard: &Shard) -> Vec<u16> {
        std::iter::once(&shard.primary).chain(&shard.replicas).map(|node| self.port(*node)).collect()
    }
}

/// A server that answers what a test wants: to each request, given the number of its connection.
struct Impostor {
    port: u16,
}

impl Impostor {
    /// One connection after the other.
    fn new(mut answer: impl FnMut(usize, &str) -> String + Send + 'static) -> Self {
        let mut number = 0;
        Self::listen(move |stream| {
            serve(stream, number, &mut answer);
            number += 1;
        })
    }

    /// Several connections at a time.
    fn threaded(answer: impl Fn(&str) -> String + Clone + Send + 'static) -> Self {
        Self::listen(move |stream| {
            let answer = answer.clone();
            std::thread::spawn(move || serve(stream, 0, &mut |_, request: &str| answer(request)));
        })
    }

    fn listen(mut accept: impl FnMut(TcpStream) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port can be bound");
        let port = listener.local_addr().expect("an address").port();
        std::thread::spawn(move || listener.incoming().map_while(Result::ok).for_each(&mut accept));
        Self { port }
    }
}

/// The discovery sends a request when it has the reply to the one before, so each read brings one.
fn serve(mut stream: TcpStream, number: usize, answer: &mut impl FnMut(usize, &str) -> String) {
    let mut room = [0; 4096];
    while let Ok(len @ 1..) = stream.read(&mut room) {
        let request = String::from_utf8_lossy(&room[..len]).into_owned();
        let words = request.split("\r\n").filter(|line| !line.starts_with(['*', '$']));
        let reply = answer(number, words.collect::<Vec<_>>().join(" ").trim());
        if stream.write_all(reply.as_bytes()).is_err() {
            return;
        }
    }
}

/// A bulk string.
fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

/// What a node says that sees one primary, which owns everything, at `port`.
fn claims(port: u16, state: &str, epoch: u64, request: &str) -> String {
    match request {
        "CLUSTER INFO" => bulk(&format!("cluster_state:{state}\r\ncluster_current_epoch:{epoch}\r\n")),
        "CLUSTER SLOTS" => format!("*1\r\n*3\r\n:0\r\n:16383\r\n*3\r\n$-1\r\n:{port}\r\n$2\r\nid\r\n"),
        _ => {
            "-ERR unknown subcommand or wrong number of arguments for 'SHARDS'. Try CLUSTER HELP.\r\n".into()
        }
    }
}

#[test]
fn a_cluster_is_found_by_any_seed_and_found_again_after_a_failover() {
    let cluster = RedisCluster::start();
    let port = |node| cluster.server(node).port;
    let mut seeds = vec![here(free_port()), here(Impostor::new(|_, _| "HTTP/1.1 400\r\n\r\n".into()).port)];
    seeds.extend(endpoints(&cluster.url()).into_iter().take(1));
    let mut found = Found::by(cluster_of(seeds));
    let replicated = |_: &Found, topology: &Topology| {
        topology.is_known() && topology.shards().iter().all(|shard| !shard.replicas.is_empty())
    };
    let topology = found.known();
    assert_eq!((1, MultiKeyScope::Slot), (topology.version(), topology.scope()));
    let primaries = cluster.primaries();
    for (slot, owner) in [(0, 0), (5460, 0), (5461, 1), (10922, 1), (10923, 2), (16383, 2)] {
        assert_eq!(Some(port(primaries[owner])), found.owner(&topology, slot), "slot {slot}");
    }
    // A replica is not shown before it has been heard of its progress.
    let topology = loop {
        found.feed.ask();
        found.wait_for_refreshes(found.feed.refreshes() + 1);
        if replicated(&found, &found.feed.current()) {
            break found.feed.current();
        }
    };
    let expected: Vec<Vec<u16>> =
        primaries.iter().map(|node| vec![port(*node), port(cluster.replica_of(*node))]).collect();
    assert_eq!(expected, topology.shards().iter().map(|shard| found.ports(shard)).collect::<Vec<_>>());
    let promoted = cluster.fail_over(primaries[1]);
    found.feed.ask();
    let after = found.wait_for("the replica to own the slots", |found, topology| {
        found.owner(topology, 6000) == Some(port(promoted))
    });
    assert!(after.version() > topology.version());
    assert_ne!(topology.shards()[1].identity, after.shards()[1].identity);
    assert_eq!(topology.shards()[0].identity, after.shards()[0].identity);
}

#[test]
fn one_node_is_known_from_the_start() {
    let found = Found::by(settings(Deployment::Node(here(7))));
    let topology = found.feed.current();
    assert_eq!((MultiKeyScope::Node, Some(7)), (topology.scope(), found.owner(&topology, 16383)));
}

#[test]
fn nodes_are_reached_where_the_operator_says() {
    let cluster = RedisCluster::start_without_replicas();
    let ports: Vec<u16> = cluster.primaries().into_iter().map(|node| cluster.server(node).port).collect();
    let elsewhere = |port| Endpoint::Tcp { host: "localhost".into(), port };
    let address_map = ports.iter().map(|port| (here(*port), elsewhere(*port))).collect();
    let seeds = endpoints(&cluster.url());
    let mut found = Found::by(UpstreamSettings { address_map, ..cluster_of(seeds) });
    let topology = found.known();
    let reached: Vec<Option<Endpoint>> =
        topology.shards().iter().map(|shard| found.nodes.endpoint(shard.primary)).collect();
    assert_eq!(ports.into_iter().map(|port| Some(elsewhere(port))).collect::<Vec<_>>(), reached);
}

#[test]
fn a_cluster_outlives_its_seeds() {
    let mut cluster = RedisCluster::start();
    let [first, second, ..] = cluster.primaries()[..] else { panic!("a cluster has primaries") };
    let mut found = Found::by(cluster_of(vec![here(cluster.server(first).port)]));
    found.known();
    let heir = cluster.replica_of(first);
    cluster.kill(first);
    cluster.wait_until_settled();
    found.feed.ask();
    let topology = found.wait_for("the heir of the seed", |found, topology| {
        found.owner(topology, 0) == Some(cluster.server(heir).port)
    });
    assert_eq!(Some(cluster.server(second).port), found.owner(&topology, 6000));
}

#[test]
fn a_node_that_serves_is_believed_before_one_that_does_not() {
    let broken = Impostor::new(|_, request| claims(1, "fail", 99, request));
    let served = Impostor::new(|_, request| claims(2, "ok", 1, request));
    for seeds in [[broken.port, served.port], [served.port, broken.port]] {
        let mut found = Found::by(cluster_of(seeds.map(here).to_vec()));
        let topology = found.known();
        assert_eq!(Some(2), found.owner(&topology, 0));
    }
}

#[test]
fn of_nodes_that_do_not_serve_the_latest_is_believed() {
    let [old, late] = [3, 9].map(|epoch| {
        Impostor::new(move |_, request| claims(u16::try_from(epoch).unwrap(), "fail", epoch, request)).port
    });
    for seeds in [[old, late], [late, old]] {
        let mut found = Found::by(cluster_of(seeds.map(here).to_vec()));
        let topology = found.known();
        assert_eq!(Some(9), found.owner(&topology, 16383));
    }
}

#[test]
fn a_node_that_is_silent_is_not_waited_for() {
    let gate = Arc::new(Mutex::new(()));
    let _closed = gate.lock().unwrap();
    let inside = Arc::clone(&gate);
    let silent = Impostor::new(move |_, _| {
        drop(inside.lock());
        String::new()
    });
    let served = Impostor::new(|_, request| claims(2, "ok", 1, request));
    for seeds in [[silent.port, served.port], [served.port, silent.port]] {
        let settings = cluster_of(seeds.map(here).to_vec());
        let mut found = Found::by(UpstreamSettings { connect_timeout: NEVER, ..settings });
        let topology = found.known();
        assert_eq!(Some(2), found.owner(&topology, 0));
    }
}

#[test]
fn what_nobody_can_say_is_asked_again() {
    let seed = Impostor::new(|connection, request| match connection {
        0 => "*1\r\n".repeat(20),
        1 => "-ERR This instance has cluster support disabled\r\n".into(),
        2 if request == "CLUSTER SLOTS" => "*0\r\n".into(),
        _ => claims(7, "ok", 1, request),
    });
    // The first one is hung up on after `connect_timeout`: its reply has no end.
    let impatient = Duration::from_millis(200);
    let mut found =
        Found::by(UpstreamSettings { connect_timeout: impatient, ..cluster_of(vec![here(seed.port)]) });
    let topology = found.known();
    assert_eq!(Some(7), found.owner(&topology, 0));
    assert_eq!(1, topology.version());
    found.wait_for_refreshes(4);
}

#[test]
fn what_was_believed_stays_when_nobody_can_say_more() {
    let seed = Impostor::new(|connection, request| match connection {
        0 => claims(7, "ok", 1, request),
        _ => "garbage\r\n".into(),
    });
    let mut found = Found::by(cluster_of(vec![here(seed.port)]));
    found.known();
    found.feed.ask();
    found.wait_for_refreshes(3);
    assert_eq!(Some(7), found.owner(&found.feed.current(), 0));
}

#[test]
fn however_many_ask_during_a_refresh_one_more_follows() {
    let asked = Arc::new(Mutex::new(()));
    let closed = asked.lock().unwrap();
    let gate = Arc::clone(&asked);
    let seed = Impostor::new(move |_, request| {
        drop(gate.lock().unwrap());
        claims(7, "ok", 1, request)
    });
    let found = Found::by(cluster_of(vec![here(seed.port)]));
    for feed in [found.feed.clone(), found.feed.clone()] {
        (0..1000).for_each(|_| feed.ask());
    }
    drop(closed);
    found.wait_for_refreshes(2);
    // That nothing happens cannot be awaited; many times the shortest wait is enough to see it.
    found.runtime.block_on(async { tokio::time::sleep(Duration::from_millis(300)).await });
    assert_eq!(2, found.feed.refreshes());
}

#[test]
fn a_node_is_told_who_asks() {
    let seed = Impostor::new(|connection, request| match (connection, request) {
        (_, "AUTH me pw") => "+OK\r\n".into(),
        (0, _) => "-WRONGPASS invalid username-password pair or user is disabled.\r\n".into(),
        (_, request) => claims(7, "ok", 1, request),
    });
    let password = Some(Password::new("pw".into()));
    let username = Some("me".into());
    let mut found = Found::by(UpstreamSettings { username, password, ..cluster_of(vec![here(seed.port)]) });
    let topology = found.known();
    assert_eq!(Some(7), found.owner(&topology, 0));
}

/// A node that answers `PING` after a while.
fn pinged(after: Duration) -> Impostor {
    Impostor::threaded(move |request| {
        let (_silent, nothing) = std::sync::mpsc::channel::<()>();
        if request == "PING" {
            assert!(nothing.recv_timeout(after).is_err());
            return "+PONG\r\n".into();
        }
        "-ERR unknown command\r\n".into()
    })
}

#[test]
fn the_node_that_answers_fastest_is_the_nearest_if_somebody_wants_to_know() {
    let (primary, replica) = (pinged(Duration::from_millis(50)), pinged(Duration::ZERO));
    let (at, by) = (primary.port, replica.port);
    let seed = Impostor::threaded(move |request| match request {
        "CLUSTER SLOTS" => {
            let node = |port| format!("*3\r\n$-1\r\n:{port}\r\n$2\r\nid\r\n");
            format!("*1\r\n*4\r\n:0\r\n:16383\r\n{}{}", node(at), node(by))
        }
        _ => claims(at, "ok", 1, request),
    });
    let cluster = cluster_of(vec![here(seed.port)]);
    let mut unmeasured = Found::by(cluster.clone());
    assert_eq!(None, unmeasured.known().shards()[0].nearest);
    let mut found = Found::by(UpstreamSettings { measures_nodes: true, ..cluster });
    let topology = found.wait_for("a nearest node", |_, topology| {
        topology.shards().iter().any(|shard| shard.nearest.is_some())
    });
    assert_eq!(Some(by), topology.shards()[0].nearest.map(|node| found.port(node)));
}

fn group_of(sentinels: Vec<Endpoint>) -> UpstreamSettings {
    let group = "mymaster".into();
    settings(Deployment::Sentinel(SentinelSettings { sentinels, group, username: None, password: None }))
}

#[test]
fn sentinels_say_which_node_is_the_primary_and_tell_when_another_is() {
    let mut group = SentinelGroup::start();
    let ports = [group.primary().port, group.replica().port];
    let mut sentinels = vec![here(free_port())];
    sentinels.extend(endpoints(&group.url()));
    let mut found = Found::by(group_of(sentinels));
    let topology = found.known();
    assert_eq!((1, MultiKeyScope::Node), (topology.version(), topology.scope()));
    assert_eq!(vec![ports.to_vec()], topology.shards().iter().map(|s| found.ports(s)).collect::<Vec<_>>());
    assert_eq!(Some(ports[0]), found.owner(&topology, 16383));
    // Nobody asks from here on: it is heard.
    group.kill_primary();
    let after = found.wait_for("the replica to be the primary", |found, topology| {
        found.owner(topology, 0) == Some(ports[1])
    });
    assert_eq!(Vec::<NodeId>::new(), after.shards()[0].replicas.to_vec());
    assert_ne!(topology.shards()[0].identity, after.shards()[0].identity);
    group.restart_killed();
    group.wait_until_settled();
    found.feed.ask();
    found.wait_for("the old primary to be a replica", |found, topology| {
        found.ports(&topology.shards()[0]) == [ports[1], ports[0]]
    });
}

/// What a sentinel says that sees one node, at `port`, as the primary of `mymaster`.
fn watches(port: u16, epoch: u64, request: &str) -> String {
    let port = bulk(&port.to_string());
    match request {
        "SENTINEL GET-MASTER-ADDR-BY-NAME mymaster" => format!("*2\r\n$9\r\n127.0.0.1\r\n{port}"),
        "SENTINEL MASTER mymaster" => {
            let fields =
                ["runid", "r", "flags", "master", "config-epoch", &epoch.to_string()].map(bulk).concat();
            format!("*10\r\n$2\r\nip\r\n$9\r\n127.0.0.1\r\n$4\r\nport\r\n{port}{fields}")
        }
        "SENTINEL REPLICAS mymaster" => "*0\r\n".into(),
        "SUBSCRIBE +switch-master" => "*3\r\n$9\r\nsubscribe\r\n$14\r\n+switch-master\r\n:1\r\n".into(),
        _ => "-ERR unknown command\r\n".into(),
    }
}

/// A node that says it is a primary.
fn primary() -> u16 {
    Impostor::new(|_, _| "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n".into()).port
}

#[test]
fn a_primary_is_asked_whether_it_is_one() {
    let leader = primary();
    let replica = "*5\r\n$5\r\nslave\r\n$9\r\n127.0.0.1\r\n:1\r\n$9\r\nconnected\r\n:0\r\n";
    let follower = Impostor::new(|_, _| replica.into()).port;
    let wrong = Impostor::threaded(move |request| watches(follower, 9, request));
    let right = Impostor::threaded(move |request| watches(leader, 2, request));
    for sentinels in [[wrong.port, right.port], [right.port, wrong.port]] {
        let mut found = Found::by(group_of(sentinels.map(here).to_vec()));
        let topology = found.known();
        assert_eq!(Some(leader), found.owner(&topology, 0));
    }
}

#[test]
fn a_sentinel_that_is_behind_is_not_believed() {
    let (before, now) = (primary(), primary());
    let speaks = Arc::new(AtomicBool::new(false));
    let is_heard = Arc::clone(&speaks);
    let behind = Impostor::threaded(move |request| {
        if is_heard.load(Ordering::SeqCst) { watches(before, 1, request) } else { "-ERR not yet\r\n".into() }
    });
    let ahead = Impostor::threaded(move |request| watches(now, 2, request));
    let mut found = Found::by(group_of(vec![here(behind.port), here(ahead.port)]));
    let topology = found.known();
    assert_eq!(Some(now), found.owner(&topology, 0));
    speaks.store(true, Ordering::SeqCst);
    // Whom it asks first is chance.
    for _ in 0..10 {
        found.feed.ask();
        found.wait_for_refreshes(found.feed.refreshes() + 1);
    }
    assert_eq!(1, found.feed.current().version());
}
