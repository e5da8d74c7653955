//! In front of a group that Sentinels watch: who is found by asking them, and what becomes of requests when another
//! node becomes the primary.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::servers::{Proxy, SentinelGroup, Setup, free_port};
use crate::texts::{NOT_SENT, PERHAPS_EXECUTED, UNAVAILABLE};
use crate::wire::{Client, show};

fn setup_for(url: &str) -> Setup {
    let mut setup = Setup::for_upstream(url);
    setup.upstream_lines +=
        "\ntopology_refresh = \"1s\"\ntopology_refresh_min = \"50ms\"\nreconnect_max = \"100ms\"";
    setup
}

/// Ports of the Sentinels.
fn sentinels(group: &SentinelGroup) -> Vec<u16> {
    let url = group.url();
    let hosts = url.split('/').nth(2).expect("a URL has hosts");
    hosts
        .split(',')
        .map(|host| host.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port"))
        .collect()
}

#[test]
fn one_sentinel_that_lives_is_enough() {
    let group = SentinelGroup::start();
    let last = *sentinels(&group).last().expect("three Sentinels");
    let url = format!(
        "redis+sentinel://127.0.0.1:{},127.0.0.1:{},127.0.0.1:{last}/mymaster",
        free_port(),
        free_port()
    );
    let proxy = Proxy::start(&setup_for(&url));
    for mut client in [proxy.acme(), Client::tcp_resp3(proxy.acme_port())] {
        assert_eq!("+OK\\r\\n", client.ask("SET k v"));
        assert_eq!("*2\\r\\n$1\\r\\nv\\r\\n$1\\r\\nv\\r\\n", client.ask("MGET k k"));
    }
    assert_eq!("$1\\r\\nv\\r\\n", group.primary().client().ask("GET acme:k"));
}

#[test]
fn a_group_that_sentinels_do_not_watch_is_not_ready_and_answered_for_at_once() {
    let group = SentinelGroup::start();
    let proxy = Proxy::start_unready(&setup_for(&group.url().replace("/mymaster", "/nobody")));
    proxy.wait_for_readiness(503, "the nodes of upstream 'main' are not known yet");
    let mut acme = proxy.acme();
    for request in ["GET k", "SET k v", "BLPOP k 0", "WATCH k", "DBSIZE"] {
        let unknown =
            "-UNAVAILABLE the nodes of the upstream are not known yet; the command was not sent\\r\\n";
        assert_eq!(unknown, acme.ask(request), "{request}");
    }
    assert_eq!("+PONG\\r\\n", acme.ask("PING"));
}

#[test]
fn sentinels_that_are_not_there_at_the_start_are_found_later() {
    let group = SentinelGroup::start();
    let port = free_port();
    let proxy = Proxy::start_unready(&setup_for(&format!("redis+sentinel://127.0.0.1:{port}/mymaster")));
    proxy.wait_for_readiness(503, "are not known yet");
    assert!(proxy.acme().ask("GET k").starts_with(UNAVAILABLE));
    let sentinel = sentinels(&group)[0];
    forward(port, sentinel);
    proxy.wait_until_ready();
    assert_eq!("+OK\\r\\n", proxy.acme().ask("SET k v"));
    assert_eq!("$1\\r\\nv\\r\\n", group.primary().client().ask("GET acme:k"));
}

/// Listens on one port and passes on to another, for as long as the test runs.
pub(crate) fn forward(from: u16, to: u16) {
    let listener = std::net::TcpListener::bind(("127.0.0.1", from)).expect("a port can be bound");
    let copy = |mut source: std::net::TcpStream, mut target: std::net::TcpStream| {
        std::thread::spawn(move || drop(std::io::copy(&mut source, &mut target)));
    };
    std::thread::spawn(move || {
        for near in listener.incoming().map_while(Result::ok) {
            let far = std::net::TcpStream::connect(("127.0.0.1", to)).expect("a server");
            copy(near.try_clone().expect("a socket"), far.try_clone().expect("a socket"));
            copy(far, near);
        }
    });
}

#[test]
fn what_was_acknowledged_is_there_after_a_planned_failover_and_more_is_written_to_the_new_primary() {
    let group = SentinelGroup::start();
    let proxy = Proxy::start(&setup_for(&group.url()));
    let (old, new) = (group.primary().port, group.replica().port);
    let mut acme = proxy.acme();
    for number in 1..=100 {
        assert_eq!(format!(":{number}\\r\\n"), acme.ask("INCR n"));
    }
    assert_eq!(":1\\r\\n", group.primary().client().ask("WAIT 1 0"));
    group.fail_over();
    assert_eq!([new, old], [group.primary().port, group.replica().port]);
    let sets = writes_to(&mut group.replica().client());
    // The first one after the failover, and all that follow.
    let first = proxy.ask_until_served(&mut acme, "INCR n");
    assert_eq!(":101\\r\\n", first);
    for number in 102..=200 {
        assert_eq!(format!(":{number}\\r\\n"), acme.ask("INCR n"));
    }
    assert_eq!("$3\\r\\n200\\r\\n", group.primary().client().ask("GET acme:n"));
    assert_eq!(sets, writes_to(&mut group.replica().client()), "clients write to the new primary only");
}

/// Writes that clients asked a node for, and that it refused because it is a replica.
fn writes_to(node: &mut Client) -> usize {
    let errors = String::from_utf8(node.call(&["INFO", "errorstats"])).expect("INFO is text");
    let count = errors.lines().find_map(|line| line.strip_prefix("errorstat_READONLY:count="));
    count.map_or(0, |count| count.trim().parse().expect("a number"))
}

#[test]
fn a_killed_primary_is_replaced_under_load_and_not_written_to_when_it_comes_back() {
    let mut group = SentinelGroup::start();
    let proxy = Proxy::start(&setup_for(&group.url()));
    let (is_over, written) = (AtomicBool::new(false), AtomicU64::new(0));
    let write = |key: usize| {
        let mut acme = proxy.acme();
        while !is_over.load(Ordering::Relaxed) {
            let reply = acme.ask(&format!("INCR n{key}"));
            if reply.starts_with(':') {
                written.fetch_add(1, Ordering::Relaxed);
            } else {
                assert!(reply.starts_with(UNAVAILABLE), "{reply}");
                assert!(reply.contains(NOT_SENT) != reply.contains(PERHAPS_EXECUTED), "{reply}");
            }
        }
    };
    let more = |what: &str| {
        let before = written.load(Ordering::Relaxed);
        proxy.wait_for(what, || written.load(Ordering::Relaxed) > before + 100);
    };
    let write = &write;
    std::thread::scope(|scope| {
        let end = OnDrop(&is_over);
        let writers: Vec<_> = (0..4).map(|key| scope.spawn(move || write(key))).collect();
        more("writes before");
        let (old, new) = (group.primary().port, group.replica().port);
        group.kill_primary();
        group.wait_until_settled();
        assert_eq!(new, group.primary().port);
        more("writes to the new primary");
        group.restart_killed();
        group.wait_until_settled();
        assert_eq!(old, group.replica().port);
        // Whoever was connected to it as a primary would write to it now, and be refused.
        let refused = writes_to(&mut group.replica().client());
        more("writes past the old primary");
        assert_eq!(refused, writes_to(&mut group.replica().client()));
        drop(end);
        for writer in writers {
            writer.join().expect("a writer reads what it must");
        }
    });
    let number = show(&proxy.acme().call(&["GET", "n0"]));
    assert_eq!(number, group.primary().client().ask("GET acme:n0"));
}

/// Says that it is over, also when an assertion fails.
struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_replica_of_the_group_serves_reads_and_is_missed_by_who_wants_nothing_else() {
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
"#;
    let mut group = SentinelGroup::start();
    let mut setup = setup_for(&group.url());
    setup.sections = READERS;
    let proxy = Proxy::start(&setup);
    let mut clients = ["prefer", "replica"].map(|tenant| {
        let mut client = proxy.open();
        assert_eq!("+OK\\r\\n", client.ask(&format!("AUTH {tenant} acme-secret")));
        client
    });
    let gets = |client: &mut Client| {
        let statistics = String::from_utf8(client.call(&["INFO", "commandstats"])).expect("INFO is text");
        let calls = statistics.split("cmdstat_get:calls=").nth(1).unwrap_or("0,");
        calls.split(',').next().and_then(|calls| calls.parse::<u64>().ok()).expect("a number")
    };
    for client in &mut clients {
        assert_eq!("+OK\\r\\n", client.ask("SET k v"));
        proxy.wait_for("the replica to have it", || client.ask("GET k") == "$1\\r\\nv\\r\\n");
        for _ in 0..10 {
            assert_eq!("$1\\r\\nv\\r\\n", client.ask("GET k"));
        }
    }
    assert_eq!(0, gets(&mut group.primary().client()));
    assert!(gets(&mut group.replica().client()) >= 20);
    group.kill_replica();
    let [prefer, replica] = &mut clients;
    for _ in 0..10 {
        assert_eq!("$1\\r\\nv\\r\\n", prefer.ask("GET k"));
    }
    let missed = "-UNAVAILABLE no replica that could be read from is known; the command was not sent\\r\\n";
    proxy.wait_for("the replica to be missed", || {
        let reply = replica.ask("GET k");
        assert!(reply.starts_with(UNAVAILABLE), "{reply}");
        reply == missed
    });
    assert_eq!("+OK\\r\\n", replica.ask("SET k w"));
    group.restart_killed();
    proxy.wait_for("the replica to be found", || replica.ask("GET k") == "$1\\r\\nw\\r\\n");
}
