//! What an operator sees of an upstream of several nodes.

use tenantry::command::slot::slot;

use crate::servers::{Proxy, RedisCluster, RedisServer, SentinelGroup, Setup, Shape};

/// The value of a series of `/metrics`, without the beginning `tenantry_` of its name.
fn metric(proxy: &Proxy, series: &str) -> Option<String> {
    let page = proxy.admin("/metrics").expect("the admin port answers").body;
    let value =
        |line: &str| line.strip_prefix("tenantry_")?.strip_prefix(series)?.strip_prefix(' ').map(Into::into);
    page.lines().find_map(value)
}

fn topology(proxy: &Proxy) -> String {
    proxy.admin("/topology").expect("the admin port answers").body
}

#[test]
fn a_cluster_without_one_primary_is_ready_and_says_that_it_is_away() {
    let mut cluster = RedisCluster::start_without_replicas();
    let proxy = Proxy::start(&Setup::for_upstream(cluster.url()));
    assert_eq!("ready\n", proxy.wait_for_readiness(200, ""));
    let [first, second, third] = cluster.primaries()[..] else { panic!("a cluster has three primaries") };
    let ports = [first, second, third].map(|node| cluster.server(node).port);
    let page = topology(&proxy);
    for (port, slots) in ports.iter().zip(["0-5460", "5461-10922", "10923-16383"]) {
        assert!(page.contains(&format!("  127.0.0.1:{port} primary {slots}\n")), "{page}");
    }
    cluster.kill(second);
    let page = proxy.wait_for_readiness(200, "cannot be reached");
    assert!(page.starts_with("ready\nupstream 'main': 1 of 3 primaries cannot be reached: "), "{page}");
    let count = |series: &str| metric(&proxy, &format!("{series}{{upstream=\"main\"}}"));
    let counts = ["upstream_up", "upstream_primaries_away", "topology_unserved_slots"].map(count);
    assert_eq!(["1", "1", "0"].map(|value| Some(value.to_owned())), counts);
    let primaries = metric(&proxy, r#"topology_nodes{upstream="main",role="primary"}"#);
    assert_eq!(Some("3"), primaries.as_deref());
    cluster.kill(first);
    cluster.kill(third);
    let page = proxy.wait_for_readiness(503, "cannot be reached");
    assert!(page.starts_with("upstream 'main' cannot be reached: "), "{page}");
}

#[test]
fn a_payload_is_refused_while_one_primary_of_three_does_not_check_it() {
    let cluster = RedisCluster::start_with(Shape::PrimariesOnly, &["--sanitize-dump-payload", "clients"]);
    let careless = cluster.primaries()[1];
    assert_eq!("+OK\\r\\n", cluster.client(careless).ask("CONFIG SET sanitize-dump-payload no"));
    let proxy = Proxy::start(&Setup { workers: 1, ..Setup::for_upstream(cluster.url()) });
    let refused = "-ERR RESTORE is refused: the upstream does not say that it checks payloads";
    let mut client = proxy.acme();
    proxy.wait_for("all primaries to be known", || {
        // While one has said nothing yet, the refusal is another one.
        client.ask("RESTORE k 0 x").starts_with(refused)
    });
    for key in ["a", "b", "c", "d"] {
        assert!(client.ask(&format!("RESTORE {key} 0 x")).starts_with(refused), "{key}");
    }
}

#[test]
fn a_slot_that_has_moved_is_counted_and_shown() {
    let cluster = RedisCluster::start_without_replicas();
    let proxy = Proxy::start(&Setup::for_upstream(cluster.url()));
    let mut client = proxy.acme();
    assert_eq!("+OK\\r\\n", client.ask("SET k v"));
    let moved = slot(b"acme:k");
    let source = cluster.owner_of(moved);
    let target = cluster.primaries().into_iter().find(|node| *node != source).expect("another primary");
    cluster.migrate_slots(moved..=moved, source, target);
    assert_eq!("$1\\r\\nv\\r\\n", client.ask("GET k"));
    let again = r#"upstream_requests_resent_total{upstream="main",cause="moved"}"#;
    proxy.wait_for("the redirection to be counted", || {
        metric(&proxy, again).is_some_and(|count| count != "0")
    });
    proxy.wait_for("the slot to be shown at its new owner", || {
        let line = format!("127.0.0.1:{} primary", cluster.server(target).port);
        let page = topology(&proxy);
        page.lines().any(|shown| shown.contains(&line) && shown.contains(&format!(" {moved}")))
    });
    let changes = metric(&proxy, r#"topology_changes_total{upstream="main"}"#);
    assert!(changes.is_some_and(|changes| changes.parse::<u64>().unwrap() > 1));
}

#[test]
fn what_sentinels_watch_is_shown_and_one_node_is_just_named() {
    let group = SentinelGroup::start();
    let proxy = Proxy::start(&Setup::for_upstream(group.url()));
    let expected = format!(
        "  127.0.0.1:{} primary\n    127.0.0.1:{} replica\n",
        group.primary().port,
        group.replica().port
    );
    let page = topology(&proxy);
    assert!(
        page.starts_with("upstream 'main': version 1, confirmed ") && page.ends_with(&expected),
        "{page}"
    );

    let redis = RedisServer::start();
    let proxy = Proxy::before(&redis);
    let expected = format!("upstream 'main': one node\n  127.0.0.1:{} primary\n", redis.port);
    assert_eq!(expected, topology(&proxy));
    assert_eq!(None, metric(&proxy, r#"topology_age_seconds{upstream="main"}"#));
}
