//! The deployments that other tests start, without a proxy: what those rely on.

use crate::servers::{
    DURABLE, Deployment, Kind, Protocol, RedisCluster, SentinelGroup, Shape, on_every_deployment,
    on_every_deployment_and_protocol,
};
use crate::wire::Client;

on_every_deployment! { everything_that_is_written_is_found_and_flushed, every_address_of_the_url_answers }

on_every_deployment_and_protocol! { every_primary_speaks_both_protocols }

fn everything_that_is_written_is_found_and_flushed(kind: Kind) {
    let deployment = Deployment::start(kind);
    let keys: Vec<String> = (0..30).map(|number| format!("key:{number}")).collect();
    for key in &keys {
        assert_eq!("+OK\\r\\n", deployment.client_for(key).ask(&format!("SET {key} v")), "{key}");
    }
    assert_eq!(keys.into_iter().collect::<std::collections::BTreeSet<_>>(), deployment.keys());
    deployment.flush();
    assert!(deployment.keys().is_empty());
}

fn every_address_of_the_url_answers(kind: Kind) {
    let deployment = Deployment::start(kind);
    let url = deployment.url();
    let ports: Vec<u16> = url.split("127.0.0.1:").skip(1).map(leading_number).collect();
    let expected = if kind == Kind::Standalone { 1 } else { 3 };
    assert_eq!(expected, ports.len(), "{url}");
    for port in ports {
        assert_eq!("+PONG\\r\\n", Client::tcp(port).ask("PING"), "{url}");
    }
}

fn leading_number(text: &str) -> u16 {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().expect("a port")
}

fn every_primary_speaks_both_protocols(kind: Kind, protocol: Protocol) {
    let deployment = Deployment::start_with(kind, &["--notify-keyspace-events", "KEA"]);
    let nothing = match protocol {
        Protocol::Resp2 => "$-1\\r\\n",
        Protocol::Resp3 => "_\\r\\n",
    };
    for primary in deployment.primaries() {
        let mut client = protocol.connect(primary.port);
        assert_eq!(nothing, client.ask("EVAL return(nil) 0"));
        assert!(client.ask("CONFIG GET notify-keyspace-events").contains("AKE"));
    }
}

/// Two keys of one slot.
const PAIR: [&str; 2] = ["{pair}:1", "{pair}:2"];

#[test]
fn a_slot_under_way_asks_and_says_try_again_until_it_has_moved() {
    let cluster = RedisCluster::start_without_replicas();
    let slot = 329;
    let source = cluster.primary_of(PAIR[0]);
    let target = cluster.primaries().into_iter().find(|node| *node != source).expect("another primary");
    let (mut old, mut new) = (cluster.client(source), cluster.client(target));
    assert_eq!(format!(":{slot}\\r\\n"), old.ask("CLUSTER KEYSLOT {pair}:1"));
    assert_eq!("+OK\\r\\n", old.ask("MSET {pair}:1 a {pair}:2 b"));
    let mut migration = cluster.migration(source, target);
    migration.begin(slot);
    assert_eq!(1, migration.move_keys(slot, 1));
    let at_source = PAIR.map(|key| old.ask(&format!("GET {key}")));
    let address = format!("127.0.0.1:{}", cluster.server(target).port);
    let asked = at_source.iter().filter(|reply| **reply == format!("-ASK {slot} {address}\\r\\n"));
    assert_eq!(1, asked.count(), "{at_source:?}");
    let try_again = "-TRYAGAIN Multiple keys request during rehashing of slot\\r\\n";
    assert_eq!(try_again, old.ask("MGET {pair}:1 {pair}:2"));
    assert_eq!(1, migration.move_keys(slot, 10));
    migration.finish(slot);
    cluster.wait_until_settled();
    assert_eq!(target, cluster.owner_of(slot));
    assert_eq!(format!("-MOVED {slot} {address}\\r\\n"), old.ask("GET {pair}:1"));
    assert_eq!("*2\\r\\n$1\\r\\na\\r\\n$1\\r\\nb\\r\\n", new.ask("MGET {pair}:1 {pair}:2"));
}

#[test]
fn a_thousand_slots_move_with_their_keys() {
    let cluster = RedisCluster::start();
    let [source, target, _] = cluster.primaries()[..] else { panic!("a cluster has three primaries") };
    let mut keys = 0;
    let mut client = cluster.client(source);
    for number in 0..3_000 {
        keys += usize::from(client.ask(&format!("SET key:{number} v")) == "+OK\\r\\n");
    }
    let size = |client: &mut Client| client.ask("DBSIZE");
    assert_eq!(format!(":{keys}\\r\\n"), size(&mut client));
    cluster.migrate_slots(0..=999, source, target);
    assert_eq!([target, source], [cluster.owner_of(999), cluster.owner_of(1000)]);
    assert_ne!(format!(":{keys}\\r\\n"), size(&mut client));
}

#[test]
fn replicas_take_over_when_told_and_when_their_primary_is_killed_or_frozen() {
    let mut cluster = RedisCluster::start_with(Shape::Replicated, DURABLE);
    let primary = cluster.primary_of("k");
    assert_eq!("+OK\\r\\n", cluster.client(primary).ask("SET k v"));
    let second = cluster.fail_over(primary);
    assert_eq!(second, cluster.primary_of("k"));
    assert_eq!(primary, cluster.replica_of(second));

    cluster.kill(second);
    cluster.wait_until_settled();
    assert_eq!(primary, cluster.primary_of("k"));
    cluster.restart(second);
    cluster.wait_until_settled();
    assert_eq!(3, cluster.replicas().len());

    cluster.freeze(primary);
    cluster.wait_until_settled();
    assert_eq!("$1\\r\\nv\\r\\n", cluster.client(second).ask("GET k"));
    cluster.thaw(primary);
    cluster.wait_until_settled();
    assert_eq!(second, cluster.primary_of("k"));
    assert_eq!(6, cluster.primaries().len() + cluster.replicas().len());
}

#[test]
fn a_durable_primary_that_is_started_again_has_its_place_and_its_keys() {
    let mut cluster = RedisCluster::start_with(Shape::PrimariesOnly, DURABLE);
    let primary = cluster.primary_of("k");
    assert_eq!("+OK\\r\\n", cluster.client(primary).ask("SET k v"));
    for node in cluster.nodes() {
        cluster.kill(node);
        cluster.restart(node);
        cluster.wait_until_settled();
    }
    assert_eq!("$1\\r\\nv\\r\\n", cluster.client(primary).ask("GET k"));
}

#[test]
fn sentinels_make_the_replica_the_primary_when_told_and_when_the_primary_is_killed_also_two_of_them() {
    let mut group = SentinelGroup::start();
    let (first, second) = (group.primary().port, group.replica().port);
    assert_eq!("+OK\\r\\n", group.primary().client().ask("SET k v"));
    group.fail_over();
    assert_eq!([second, first], [group.primary().port, group.replica().port]);
    group.kill_primary();
    group.wait_until_settled();
    assert_eq!(first, group.primary().port);
    assert_eq!("$1\\r\\nv\\r\\n", group.primary().client().ask("GET k"));
    group.restart_killed();
    group.wait_until_settled();
    assert_eq!(second, group.replica().port);
    group.kill_first_sentinel();
    group.kill_primary();
    group.wait_until_settled();
    assert_eq!(second, group.primary().port);
}
