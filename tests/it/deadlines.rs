//! How long replies, connections and nodes are waited for, and how often they are tried again.

use std::net::TcpListener;

use crate::cluster::{bulk, setup_for, slot_of, tag_of};
use crate::servers::{Proxy, RedisCluster, RedisServer, Setup};
use crate::texts::UNAVAILABLE;
use crate::wire::{Client, show, words};

const OVERDUE: &str =
    "-UNAVAILABLE upstream \\'main\\': no reply within 300 ms; the command may have been executed\\r\\n";

/// A proxy before `redis`; writes have all the time in the world, and what is neither them nor in `sections` as well.
fn patient_proxy(redis: &RedisServer, sections: &'static str) -> Proxy {
    Proxy::start(&Setup {
        upstream_lines: "reply_timeout = \"1h\"\nreconnect_min = \"1ms\"\nreconnect_max = \"10ms\"".into(),
        sections,
        workers: 1,
        ..Setup::for_upstream(redis.url())
    })
}

#[test]
fn a_command_of_a_class_is_given_up_after_the_time_of_its_class() {
    let redis = RedisServer::start();
    let proxy = patient_proxy(&redis, "[upstream.main.class.read]\nreply_timeout = \"300ms\"\n");
    let mut acme = proxy.acme();
    assert_eq!("+OK\\r\\n", acme.ask("SET k v"));
    redis.freeze();
    assert_eq!(OVERDUE, acme.ask("GET k"));
    redis.thaw();
    assert_eq!("$1\\r\\nv\\r\\n", proxy.ask_until_served(&mut acme, "GET k"));
}

#[test]
fn of_several_classes_the_smallest_counts() {
    let redis = RedisServer::start();
    let sections = "[upstream.main.class.slow_reads]\ncommands = \"+@read -mget\"\nreply_timeout = \"1h\"\n\
                    [upstream.main.class.get]\nreply_timeout = \"300ms\"\n\
                    [upstream.main.class.read]\nreply_timeout = \"30m\"\n";
    let proxy = patient_proxy(&redis, sections);
    redis.freeze();
    assert_eq!(OVERDUE, proxy.acme().ask("GET k"));
    redis.thaw();
}

#[test]
fn what_waits_behind_a_longer_command_has_its_time_when_that_is_answered() {
    let redis = RedisServer::start();
    let proxy = patient_proxy(&redis, "[upstream.main.class.read]\nreply_timeout = \"300ms\"\n");
    let (mut behind, mut alone) = (proxy.acme(), Client::tcp_resp3(proxy.acme_port()));
    assert_eq!(
        "_\\r\\n",
        alone.ask("GET k"),
        "it has a connection of its own to the upstream, of its version"
    );
    redis.freeze();
    behind.send(&[words("INCR n"), words("GET k")].concat());
    redis.wait_for_unread(b"*2\r\n$4\r\nINCR\r\n$6\r\nacme:n\r\n*2\r\n$3\r\nGET\r\n$6\r\nacme:k\r\n".len());
    // Asked later than the others, and overdue: so the others would be, if they were not waited for.
    assert_eq!(OVERDUE, alone.ask("GET k"));
    redis.thaw();
    assert_eq!(":1\\r\\n", show(&behind.frame()));
    assert_eq!("$-1\\r\\n", show(&behind.frame()));
}

#[test]
fn what_waits_behind_an_overdue_command_is_lost_with_it() {
    let redis = RedisServer::start();
    let proxy = patient_proxy(&redis, "[upstream.main.class.read]\nreply_timeout = \"300ms\"\n");
    let mut acme = proxy.acme();
    redis.freeze();
    acme.send(&[words("GET k"), words("INCR n")].concat());
    assert_eq!(OVERDUE, show(&acme.frame()));
    assert_eq!(OVERDUE, show(&acme.frame()));
    redis.thaw();
}

#[test]
fn a_blocking_command_has_its_own_time_and_that_of_its_class() {
    let redis = RedisServer::start();
    let proxy = patient_proxy(&redis, "[upstream.main.class.blocking]\nreply_timeout = \"700ms\"\n");
    let mut acme = proxy.acme();
    assert_eq!("*-1\\r\\n", acme.ask("BLPOP queue 1"), "longer than the class may take");
    redis.freeze();
    let reply = acme.ask("BLPOP queue 0.1");
    assert!(reply.starts_with("-UNAVAILABLE upstream \\'main\\': no reply within 700 ms; "), "{reply}");
    redis.thaw();
}

#[test]
fn a_node_that_does_not_greet_is_given_up_after_connect_timeout() {
    // The kernel takes the connection; nobody ever says anything.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port can be bound");
    let port = silent.local_addr().expect("a bound socket has an address").port();
    let mut setup = Setup { workers: 1, ..Setup::for_upstream(format!("redis://127.0.0.1:{port}")) };
    setup.upstream_lines =
        "connect_timeout = \"300ms\"\nreconnect_min = \"1h\"\nreconnect_max = \"1h\"".into();
    let proxy = Proxy::start_unready(&setup);
    proxy.wait_for_readiness(503, "no answer within 300 ms");
    let reply = proxy.acme().ask("GET k");
    let begin =
        "-UNAVAILABLE upstream \\'main\\': no answer within 300 ms; the command was not sent; retry in ";
    assert!(reply.starts_with(begin), "{reply}");
}

#[test]
fn a_connection_of_its_own_is_waited_for_as_long_as_lease_wait_says() {
    let redis = RedisServer::start();
    let mut setup = Setup::for_upstream(redis.url());
    setup.upstream_lines = "max_leases = 1\nlease_wait = \"50ms\"".into();
    let proxy = Proxy::start(&setup);
    let (mut first, mut second) = (proxy.acme(), proxy.acme());
    assert_eq!("+OK\\r\\n", first.ask("WATCH k"));
    assert_eq!(
        "-UNAVAILABLE upstream \\'main\\': no connection of its own for this client within 50 ms; \
         the command was not sent\\r\\n",
        second.ask("WATCH k")
    );
}

/// One of the proxy's series.
fn figure(proxy: &Proxy, series: &str) -> u64 {
    let page = proxy.admin("/metrics").expect("the admin port answers").body;
    let number = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    number.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{series} is not in {page}"))
}

const GRANTED: &str = "tenantry_upstream_retries_total{upstream=\"main\",verdict=\"granted\"}";
const REFUSED: &str = "tenantry_upstream_retries_total{upstream=\"main\",verdict=\"refused\"}";
const LEFT: &str = "tenantry_upstream_retries_left{upstream=\"main\"}";
const MOVED: &str = "tenantry_upstream_requests_resent_total{upstream=\"main\",cause=\"moved\"}";

#[test]
fn without_a_retry_budget_redirections_are_followed_and_nothing_else_is_sent_again() {
    let mut cluster = RedisCluster::start_without_replicas();
    let mut setup = setup_for(&cluster, "topology_refresh = \"1h\"\ntopology_refresh_min = \"1h\"");
    setup.sections = "[upstream.main.retry]\npercent = 0\nminimum = 0\n";
    let proxy = Proxy::start(&setup);
    let mut acme = proxy.acme();
    let [source, target, _] = cluster.primaries()[..] else { panic!("a cluster has three primaries") };
    let tag = tag_of(&cluster, source);
    assert_eq!("+OK\\r\\n", acme.ask(&format!("SET {{{tag}}}k v")));
    cluster.migrate_slots(slot_of(&tag)..=slot_of(&tag), source, target);
    assert_eq!(bulk("v"), acme.ask(&format!("GET {{{tag}}}k")));
    proxy.wait_for("the redirection to be counted", || figure(&proxy, MOVED) == 1);
    assert_eq!([0, 0, 0], [GRANTED, REFUSED, LEFT].map(|series| figure(&proxy, series)));
    let other = tag_of(&cluster, source);
    assert_eq!("+OK\\r\\n", acme.ask(&format!("SET {{{other}}}k v")));
    cluster.kill(source);
    let reply = acme.ask(&format!("GET {{{other}}}k"));
    assert!(reply.starts_with(UNAVAILABLE), "{reply}");
    proxy.wait_for("the refusal to be counted", || figure(&proxy, REFUSED) == 1);
    assert_eq!(0, figure(&proxy, GRANTED));
}

#[test]
fn what_is_sent_again_comes_out_of_the_budget_until_that_is_empty() {
    let mut cluster = RedisCluster::start_without_replicas();
    let mut setup = setup_for(&cluster, "max_redirects = 1");
    // With a breaker nothing would be sent again to a node that is gone, once that is open.
    setup.sections =
        "[upstream.main.retry]\npercent = 100\nminimum = 1\n[upstream.main.breaker]\nenabled = false\n";
    let proxy = Proxy::start(&setup);
    let mut acme = proxy.acme();
    let node = cluster.primaries()[0];
    let tag = tag_of(&cluster, node);
    proxy.wait_for("the minimum of ten seconds", || figure(&proxy, LEFT) == 10);
    for _ in 0..5 {
        assert_eq!("$-1\\r\\n", acme.ask(&format!("GET {{{tag}}}k")));
    }
    proxy.wait_for("an answer to be worth a retry", || figure(&proxy, LEFT) > 10);
    cluster.kill(node);
    proxy.wait_for("nothing to be left", || {
        let reply = acme.ask(&format!("GET {{{tag}}}k"));
        assert!(reply.starts_with(UNAVAILABLE) || reply.starts_with("-CLUSTERDOWN "), "{reply}");
        figure(&proxy, REFUSED) > 0
    });
    assert!(figure(&proxy, GRANTED) >= 10, "{}", figure(&proxy, GRANTED));
}
