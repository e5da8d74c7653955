//! Reads from replicas: who serves them, and what becomes of them when a replica is gone.

use super::{bulk, calls, info, setup_for, slot_of, tag_of};
use crate::servers::{Node, Protocol, Proxy, RedisCluster};
use crate::wire::{Client, show, words};

/// A tenant for each way to read, whose user has its name.
const READERS: &str = r#"
[tenant.prefer]
read_from = "prefer-replica"
[[tenant.prefer.user]]
name = "prefer"
secrets = ["sha256:307c609f87da43c3d563428a4f7efdf9857f4871fd10465732c4ab11a985a08c"]
[tenant.replica]
read_from = "replica"
[[tenant.replica.user]]
name = "replica"
secrets = ["sha256:307c609f87da43c3d563428a4f7efdf9857f4871fd10465732c4ab11a985a08c"]
[tenant.nearest]
read_from = "nearest"
[[tenant.nearest.user]]
name = "nearest"
secrets = ["sha256:307c609f87da43c3d563428a4f7efdf9857f4871fd10465732c4ab11a985a08c"]
"#;

const NO_REPLICA: &str =
    "-UNAVAILABLE no replica that could be read from is known; the command was not sent\\r\\n";

fn start(reply_timeout: &str) -> (RedisCluster, Proxy) {
    let cluster = RedisCluster::start();
    let mut setup = setup_for(&cluster, "topology_refresh = \"1s\"\ntopology_refresh_min = \"50ms\"");
    let timeout = format!("reply_timeout = \"{reply_timeout}\"");
    setup.upstream_lines = setup.upstream_lines.replace("reply_timeout = \"10s\"", &timeout);
    setup.sections = READERS;
    let proxy = Proxy::start(&setup);
    (cluster, proxy)
}

fn client(proxy: &Proxy, protocol: Protocol, tenant: &str) -> Client {
    let mut client = Client::tcp(proxy.open_port());
    assert_eq!("+OK\\r\\n", client.ask(&format!("AUTH {tenant} acme-secret")));
    if protocol == Protocol::Resp3 {
        assert!(client.ask("HELLO 3").starts_with('%'));
    }
    client
}

/// How often the primaries, and how often the replicas, have carried out `command`.
fn calls_of_each(cluster: &RedisCluster, command: &str) -> [u64; 2] {
    let sum =
        |nodes: Vec<Node>| nodes.into_iter().map(|node| calls(&mut cluster.client(node), command)).sum();
    [sum(cluster.primaries()), sum(cluster.replicas())]
}

/// Writes a value and waits until it can be read, and is read from a replica.
fn settle(proxy: &Proxy, cluster: &RedisCluster, client: &mut Client, key: &str) {
    assert_eq!("+OK\\r\\n", client.ask(&format!("SET {key} v")));
    proxy.wait_for("a replica to serve", || {
        let before = calls_of_each(cluster, "get")[1];
        client.ask(&format!("GET {key}")) == bulk("v") && calls_of_each(cluster, "get")[1] > before
    });
}

#[test]
fn replicas_serve_the_reads_of_tenants_that_want_it_and_no_writes() {
    let (cluster, proxy) = start("10s");
    let tags: Vec<String> = cluster.primaries().into_iter().map(|node| tag_of(&cluster, node)).collect();
    for tenant in ["prefer", "replica"] {
        for protocol in [Protocol::Resp2, Protocol::Resp3] {
            let mut client = client(&proxy, protocol, tenant);
            for tag in &tags {
                settle(&proxy, &cluster, &mut client, &format!("{{{tag}}}"));
            }
            let (before, mget) = (calls_of_each(&cluster, "get"), calls_of_each(&cluster, "mget"));
            for tag in tags.iter().cycle().take(30) {
                assert_eq!(bulk("v"), client.ask(&format!("GET {{{tag}}}")));
            }
            let all: Vec<String> = tags.iter().map(|tag| format!("{{{tag}}}")).collect();
            let values = format!("*3\\r\\n{}", bulk("v").repeat(3));
            assert_eq!(values, client.ask(&format!("MGET {}", all.join(" "))));
            assert_eq!([before[0], before[1] + 30], calls_of_each(&cluster, "get"), "{tenant}");
            assert_eq!([mget[0], mget[1] + 3], calls_of_each(&cluster, "mget"), "{tenant}");
            // A transaction is the primary's, also one that only reads.
            client.send(&[words("MULTI"), words(&format!("GET {}", all[0])), words("EXEC")].concat());
            assert_eq!(format!("*1\\r\\n{}", bulk("v")), show(&client.frames(3)[2]));
            assert_eq!([before[0] + 1, before[1] + 30], calls_of_each(&cluster, "get"), "{tenant}");
            for tag in &all {
                assert_eq!(":1\\r\\n", client.ask(&format!("DEL {tag}")));
            }
        }
    }
    // Whoever says nothing reads from primaries.
    let (mut acme, before) = (proxy.acme(), calls_of_each(&cluster, "get"));
    for tag in &tags {
        assert_eq!("$-1\\r\\n", acme.ask(&format!("GET {{{tag}}}")));
    }
    assert_eq!([before[0] + 3, before[1]], calls_of_each(&cluster, "get"));
    for node in cluster.replicas() {
        let errors = info(&mut cluster.client(node), "errorstats");
        assert!(!errors.contains("READONLY") && !errors.contains("MOVED"), "{errors}");
    }
}

#[test]
fn reads_go_to_the_primary_at_once_when_the_replica_is_killed_and_preferred_only() {
    let (mut cluster, proxy) = start("10s");
    let [primary, ..] = cluster.primaries()[..] else { panic!("three primaries") };
    let (replica, key) = (cluster.replica_of(primary), format!("{{{}}}", tag_of(&cluster, primary)));
    let mut client = client(&proxy, Protocol::Resp2, "prefer");
    settle(&proxy, &cluster, &mut client, &key);
    cluster.freeze(replica);
    client.send(&words(&format!("GET {key}")).repeat(100));
    cluster.server(replica).wait_for_unread(100 * words(&format!("GET prefer:{key}")).len());
    cluster.kill(replica);
    for reply in client.frames(100) {
        assert_eq!(bulk("v"), show(&reply));
    }
    client.send(&words(&format!("GET {key}")).repeat(100));
    for reply in client.frames(100) {
        assert_eq!(bulk("v"), show(&reply));
    }
    // What it writes is in order with what it reads.
    client.send(&[words(&format!("GET {key}")), words(&format!("SET {key} w"))].concat().repeat(2));
    let replies = client.frames(4).concat();
    assert_eq!(format!("{}+OK\\r\\n{}+OK\\r\\n", bulk("v"), bulk("w")), show(&replies));
}

#[test]
fn reads_of_a_silent_replica_are_given_up_and_asked_of_the_primary() {
    let (mut cluster, proxy) = start("300ms");
    let [primary, ..] = cluster.primaries()[..] else { panic!("three primaries") };
    let (replica, key) = (cluster.replica_of(primary), format!("{{{}}}", tag_of(&cluster, primary)));
    let mut client = client(&proxy, Protocol::Resp3, "prefer");
    settle(&proxy, &cluster, &mut client, &key);
    cluster.freeze(replica);
    for _ in 0..3 {
        assert_eq!(bulk("v"), client.ask(&format!("GET {key}")));
    }
}

#[test]
fn who_wants_replicas_only_never_reads_from_a_primary() {
    let (mut cluster, proxy) = start("10s");
    let [primary, ..] = cluster.primaries()[..] else { panic!("three primaries") };
    let (replica, key) = (cluster.replica_of(primary), format!("{{{}}}", tag_of(&cluster, primary)));
    let mut client = client(&proxy, Protocol::Resp2, "replica");
    settle(&proxy, &cluster, &mut client, &key);
    let reads = calls(&mut cluster.client(primary), "get");
    cluster.kill(replica);
    proxy.wait_for("the replica to be missed", || {
        let reply = client.ask(&format!("GET {key}"));
        assert!(reply.starts_with("-UNAVAILABLE "), "{reply}");
        reply == NO_REPLICA
    });
    assert_eq!("+OK\\r\\n", client.ask(&format!("SET {key} w")), "writes need no replica");
    assert_eq!(NO_REPLICA, client.ask(&format!("MGET {key} {{x}}")));
    cluster.restart(replica);
    proxy.wait_for("the replica to be found", || client.ask(&format!("GET {key}")) == bulk("w"));
    assert_eq!(reads, calls(&mut cluster.client(primary), "get"));
}

#[test]
fn reads_follow_a_slot_that_moves() {
    let (cluster, proxy) = start("10s");
    let [source, target, _] = cluster.primaries()[..] else { panic!("three primaries") };
    let tag = tag_of(&cluster, source);
    let mut clients = ["prefer", "replica"].map(|tenant| client(&proxy, Protocol::Resp2, tenant));
    for client in &mut clients {
        settle(&proxy, &cluster, client, &format!("{{{tag}}}"));
    }
    cluster.migrate_slots(slot_of(&tag)..=slot_of(&tag), source, target);
    for client in &mut clients {
        proxy.wait_for("the new replica to have it", || client.ask(&format!("GET {{{tag}}}")) == bulk("v"));
    }
}
