//! A node that hangs, or that an operator has spoken about: who is refused, what goes on, and who asks whether it is
//! well again.

use crate::servers::{Proxy, RedisCluster, RedisServer, Setup, Shape};
use crate::texts::{NOT_SENT, UNAVAILABLE};
use crate::wire::{Client, show, words};

/// What a client reads of a node that is asked nothing.
const OPEN: &str = "the node\\'s breaker is open";

/// Impatient, so that a test need not be patient.
const IMPATIENT: &str = "connect_timeout = \"200ms\"\nreply_timeout = \"200ms\"\n\
                         reconnect_min = \"10ms\"\nreconnect_max = \"20ms\"";

/// No node of a cluster is given up by the others.
const PATIENT: &[&str] = &["--cluster-node-timeout", "60000"];

/// A breaker that opens soon, and stays open until somebody says otherwise.
const FOR_GOOD: &str =
    "[upstream.main.breaker]\nconsecutive_failures = 3\nopen_for_min = \"1h\"\nopen_for_max = \"1h\"\n";

/// One that opens soon, and asks often.
const BRIEFLY: &str =
    "[upstream.main.breaker]\nconsecutive_failures = 3\nopen_for_min = \"20ms\"\nopen_for_max = \"50ms\"\n";

fn start(url: String, sections: &'static str) -> Proxy {
    Proxy::start(&Setup { upstream_lines: IMPATIENT.into(), sections, ..Setup::for_upstream(url) })
}

/// Whether the reply is that of a node that is asked nothing, with all that it must say.
fn is_refused(reply: &str) -> bool {
    let is_open = reply.contains(OPEN);
    assert!(!is_open || reply.starts_with(UNAVAILABLE) && reply.contains(NOT_SENT), "{reply}");
    is_open
}

/// Asks until the breaker is open; every other answer is that of a node that does not reply.
fn ask_until_refused(proxy: &Proxy, client: &mut Client, line: &str) {
    proxy.wait_for("the breaker to open", || {
        let reply = client.ask(line);
        assert!(reply.starts_with(UNAVAILABLE), "{reply}");
        is_refused(&reply)
    });
}

fn breakers(proxy: &Proxy) -> String {
    proxy.admin("/breakers").expect("the admin port answers").body
}

/// An operator's word about the only upstream.
fn say(proxy: &Proxy, port: u16, breaker: &str) {
    let page = proxy.post("/breakers", &format!("upstream=main&node=127.0.0.1:{port}&breaker={breaker}"));
    assert_eq!(200, page.status, "{}", page.body);
}

fn entered(proxy: &Proxy, phase: &str) -> u64 {
    proxy.metric(&format!("tenantry_breaker_transitions_total{{upstream=\"main\",breaker=\"{phase}\"}}"))
}

#[test]
fn a_node_that_hangs_is_asked_nothing_until_a_probe_is_answered() {
    let redis = RedisServer::start();
    let proxy = start(redis.url(), FOR_GOOD);
    let (mut old, mut new) = (proxy.acme(), Client::tcp_resp3(proxy.acme_port()));
    for client in [&mut old, &mut new] {
        assert_eq!("+OK\\r\\n", client.ask("SET k v"));
    }
    redis.freeze();
    ask_until_refused(&proxy, &mut old, "INCR sent");
    for client in [&mut old, &mut new] {
        for _ in 0..100 {
            let reply = client.ask("INCR n");
            assert!(is_refused(&reply) && reply.contains("; retry in "), "{reply}");
        }
    }
    assert_eq!([1, 0, 0], ["open", "half_open", "closed"].map(|phase| entered(&proxy, phase)));
    assert!(proxy.metric("tenantry_breaker_rejected_total{upstream=\"main\"}") >= 200);
    assert_eq!(1, proxy.metric("tenantry_breaker_nodes{upstream=\"main\",breaker=\"open\"}"));
    proxy.wait_for_readiness(503, "the breaker of 1 of 1 primaries is open");
    assert!(proxy.has_logged("breaker open"));
    redis.thaw();
    // Nobody asks for an hour, and the operator knows better.
    assert!(is_refused(&old.ask("GET k")));
    say(&proxy, redis.port, "automatic");
    assert_eq!("$1\\r\\nv\\r\\n", proxy.ask_until_served(&mut old, "GET k"));
    proxy.wait_until_ready();
    assert_eq!("$-1\\r\\n", old.ask("GET n"), "what was refused was not sent");
}

#[test]
fn a_node_that_is_well_again_is_found_by_single_probes_and_without_a_burst_of_connections() {
    let redis = RedisServer::start();
    let proxy = start(redis.url(), BRIEFLY);
    let mut acme = proxy.acme();
    assert_eq!("+OK\\r\\n", acme.ask("SET k v"));
    let connects = || proxy.metric("tenantry_upstream_connects_total{upstream=\"main\"}");
    // As many as workers.
    proxy.wait_for("every worker to be connected", || connects() == 2);
    let before = connections(&redis);
    redis.freeze();
    ask_until_refused(&proxy, &mut acme, "INCR n");
    proxy.wait_for("some probes", || entered(&proxy, "half_open") >= 3);
    redis.thaw();
    assert_eq!("$1\\r\\nv\\r\\n", proxy.ask_until_served(&mut acme, "GET k"));
    proxy.wait_until_ready();
    proxy.wait_for("the worker to be connected again", || connects() >= 3);
    // Each attempt of a worker, each probe, and what serves now; and this test's own look.
    let failed: u64 = ["connect", "handshake", "reply_timeout"]
        .map(|phase| {
            proxy.metric(&format!("tenantry_upstream_failures_total{{upstream=\"main\",phase=\"{phase}\"}}"))
        })
        .into_iter()
        .sum();
    let most = 2 + 2 * entered(&proxy, "closed");
    assert!(connects() <= most, "two workers have connected {} times in all", connects());
    let accounted = failed + entered(&proxy, "half_open") + connects() - 2 + 1;
    assert!(connections(&redis) - before <= accounted, "{} of {accounted}", connections(&redis) - before);
    for line in ["breaker half-open", "breaker closed"] {
        assert!(proxy.has_logged(line), "{line}");
    }
}

/// How many connections the server has taken, that of who asks included.
fn connections(redis: &RedisServer) -> u64 {
    let stats = show(&redis.client().call(&["INFO", "stats"]));
    let number = stats.split("total_connections_received:").nth(1).and_then(|rest| rest.split('\\').next());
    number.and_then(|number| number.parse().ok()).expect("Redis says how many")
}

#[test]
fn a_server_that_says_that_it_serves_nobody_is_asked_again_by_probes_only() {
    // A replica without a primary, which serves no stale data.
    let redis = RedisServer::start_with(&["--replica-serve-stale-data", "no"]);
    let proxy = start(redis.url(), BRIEFLY);
    let mut acme = proxy.acme();
    assert_eq!("$-1\\r\\n", acme.ask("GET k"));
    assert_eq!("+OK\\r\\n", redis.client().ask("REPLICAOF 127.0.0.1 1"));
    proxy.wait_for("the breaker to open", || {
        let reply = acme.ask("GET k");
        assert!(reply.starts_with("-MASTERDOWN ") || is_refused(&reply), "{reply}");
        is_refused(&reply)
    });
    assert_eq!("+OK\\r\\n", redis.client().ask("REPLICAOF NO ONE"));
    assert_eq!("$-1\\r\\n", proxy.ask_until_served(&mut acme, "GET k"));
}

#[test]
fn a_node_that_answers_too_slowly_is_given_up_if_that_is_wanted() {
    let redis = RedisServer::start();
    let sections = "[upstream.main.breaker]\nslow_reply = \"50ms\"\nslow_percent = 1\nmin_requests = 1\n\
                    open_for_min = \"1h\"\nopen_for_max = \"1h\"\n";
    let proxy = Proxy::start(&Setup { sections, ..Setup::for_upstream(redis.url()) });
    let mut acme = proxy.acme();
    assert_eq!("+OK\\r\\n", acme.ask("SET k v"));
    let mut direct = redis.client();
    direct.send(&words("DEBUG SLEEP 0.3"));
    proxy.wait_for("the breaker to open", || is_refused(&acme.ask("GET k")));
    assert!(breakers(&proxy).contains("\"why\":\"its replies are too slow\""), "{}", breakers(&proxy));
}

#[test]
fn errors_that_a_tenant_can_bring_about_open_nothing() {
    let redis = RedisServer::start();
    let proxy = start(redis.url(), FOR_GOOD);
    let mut acme = proxy.acme();
    assert_eq!("+OK\\r\\n", acme.ask("SET text v"));
    for _ in 0..50 {
        assert!(acme.ask("LPUSH text v").starts_with("-WRONGTYPE "));
        assert!(acme.ask("INCR text").starts_with("-ERR value is not an integer"));
    }
    assert_eq!("$1\\r\\nv\\r\\n", acme.ask("GET text"));
    assert_eq!(0, entered(&proxy, "open"));
}

#[test]
fn only_what_is_on_the_node_that_hangs_fails_in_a_cluster_and_no_more_nodes_than_allowed_are_given_up() {
    let mut cluster = RedisCluster::start_with(Shape::PrimariesOnly, PATIENT);
    let proxy = start(cluster.url(), FOR_GOOD);
    let keys: Vec<String> = cluster
        .nodes()
        .into_iter()
        .map(|node| {
            let mut keys = (0..).map(|number| format!("k{number}"));
            keys.find(|key| cluster.primary_of(&format!("acme:{key}")) == node).expect("every node has keys")
        })
        .collect();
    let mut acme = proxy.acme();
    for key in &keys {
        assert_eq!("+OK\\r\\n", acme.ask(&format!("SET {key} v")));
    }
    let nodes = cluster.nodes();
    cluster.freeze(nodes[0]);
    ask_until_refused(&proxy, &mut acme, &format!("SET {} v", keys[0]));
    for _ in 0..50 {
        assert!(is_refused(&acme.ask(&format!("GET {}", keys[0]))));
        for key in &keys[1..] {
            assert_eq!("+OK\\r\\n", acme.ask(&format!("SET {key} v")));
        }
    }
    proxy.wait_for_readiness(200, "the breaker of 1 of 3 primaries is open: no ");
    // Half of three nodes is one.
    cluster.freeze(nodes[1]);
    for _ in 0..6 {
        let reply = acme.ask(&format!("SET {} v", keys[1]));
        assert!(reply.starts_with(UNAVAILABLE) && !is_refused(&reply), "{reply}");
    }
    assert_eq!(1, proxy.metric("tenantry_breaker_nodes{upstream=\"main\",breaker=\"open\"}"));
    assert_eq!("+OK\\r\\n", acme.ask(&format!("SET {} v", keys[2])));
    nodes[..2].iter().for_each(|node| cluster.thaw(*node));
    say(&proxy, cluster.server(nodes[0]).port, "automatic");
    for key in &keys {
        assert_eq!("$1\\r\\nv\\r\\n", proxy.ask_until_served(&mut acme, &format!("GET {key}")));
    }
}

#[test]
fn an_operator_may_open_a_breaker_and_may_forbid_it_to_open() {
    let redis = RedisServer::start();
    let proxy = start(redis.url(), FOR_GOOD);
    let mut acme = proxy.acme();
    assert_eq!("+OK\\r\\n", acme.ask("SET k v"));
    assert_eq!(
        format!(
            "[{{\"upstream\":\"main\",\"nodes\":[{{\"node\":\"127.0.0.1:{}\",\"breaker\":\"closed\",\
             \"by\":\"automatic\",\"why\":null,\"probe_in_ms\":null}}]}}]\n",
            redis.port
        ),
        breakers(&proxy)
    );
    say(&proxy, redis.port, "open");
    let reply = acme.ask("GET k");
    assert_eq!(
        "-UNAVAILABLE upstream \\'main\\': the node\\'s breaker is open (the operator\\'s word); \
         the command was not sent\\r\\n",
        reply
    );
    assert!(breakers(&proxy).contains("\"breaker\":\"open\",\"by\":\"operator\""), "{}", breakers(&proxy));
    proxy.wait_for_readiness(503, "the breaker of 1 of 1 primaries is open");
    say(&proxy, redis.port, "closed");
    assert_eq!("$1\\r\\nv\\r\\n", acme.ask("GET k"));
    redis.freeze();
    for _ in 0..6 {
        let reply = acme.ask("GET k");
        assert!(reply.starts_with(UNAVAILABLE) && !is_refused(&reply), "{reply}");
    }
    redis.thaw();
    assert_eq!("$1\\r\\nv\\r\\n", proxy.ask_until_served(&mut acme, "GET k"));
}

#[test]
fn an_operators_word_must_name_a_node_and_must_not_come_from_a_page() {
    let redis = RedisServer::start();
    let proxy = Proxy::before(&redis);
    for (form, status) in [
        ("", 400),
        ("upstream=main&node=127.0.0.1:1", 400),
        ("upstream=main&node=127.0.0.1:1&breaker=ajar", 400),
        ("upstream=main&node=127.0.0.1:1&breaker=open", 404),
        ("upstream=other&node=127.0.0.1:1&breaker=open", 404),
    ] {
        assert_eq!(status, proxy.post("/breakers", form).status, "{form}");
    }
}

#[test]
fn what_needs_a_connection_of_its_own_or_a_transaction_is_refused_as_well_and_what_has_one_goes_on() {
    let redis = RedisServer::start();
    let proxy = start(redis.url(), FOR_GOOD);
    for connect in [Client::tcp, Client::tcp_resp3] {
        let acme = || connect(proxy.acme_port());
        let (mut blocked, mut watching, mut listening, mut other) = (acme(), acme(), acme(), acme());
        blocked.send(&words("BLPOP list 0"));
        assert_eq!("+OK\\r\\n", watching.ask("WATCH k"));
        listening.send(&words("SUBSCRIBE news"));
        listening.frame();
        let mut direct = redis.client();
        proxy.wait_for("the client to block", || {
            show(&direct.call(&["INFO", "clients"])).contains("blocked_clients:1\\r")
        });
        assert_eq!("+OK\\r\\n", other.ask("MULTI"));
        assert_eq!("+QUEUED\\r\\n", other.ask("SET k mine"));
        say(&proxy, redis.port, "open");
        assert!(is_refused(&other.ask("EXEC")));
        for line in ["BLPOP another 0", "WATCH k", "DBSIZE", "MGET a b"] {
            let reply = other.ask(line);
            assert!(is_refused(&reply), "{line}: {reply}");
        }
        // What Redis knows of them and what they believe stay the same.
        assert_eq!(":1\\r\\n", direct.ask("RPUSH acme:list first"));
        assert!(show(&blocked.frame()).contains("first"));
        assert_eq!(":1\\r\\n", direct.ask("PUBLISH acme:news now"));
        assert!(show(&listening.frame()).contains("now"));
        for (line, expected) in
            [("MULTI", "+OK\\r\\n"), ("SET k v", "+QUEUED\\r\\n"), ("EXEC", "*1\\r\\n+OK\\r\\n")]
        {
            assert_eq!(expected, watching.ask(line));
        }
        say(&proxy, redis.port, "automatic");
        assert_eq!("$1\\r\\nv\\r\\n", proxy.ask_until_served(&mut other, "GET k"));
        assert_eq!(":0\\r\\n", other.ask("EXISTS list"));
    }
}
