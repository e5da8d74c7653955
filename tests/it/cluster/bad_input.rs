//! Clusters that are not as they should be.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::{OnDrop, bulk, setup_for, slot_of, tag_of, tags_of};
use crate::sentinel::forward;
use crate::servers::{Impostor, Node, Proxy, RedisCluster, Setup, Shape, free_port};
use crate::texts::{NOT_SENT, PERHAPS_EXECUTED, UNAVAILABLE};
use crate::wire::{Client, show, words};

/// What is answered while nobody has said which nodes there are.
const NODES_UNKNOWN: &str =
    "-UNAVAILABLE the nodes of the upstream are not known yet; the command was not sent\\r\\n";

/// What is answered for slots that nobody owns.
const NOT_SERVED: &str = "-CLUSTERDOWN Hash slot not served\\r\\n";

/// An upstream with these seeds, which forgets a failure fast.
fn seeded(ports: &[u16]) -> Setup {
    let seeds: Vec<String> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    let mut setup = Setup::for_upstream(format!("redis+cluster://{}", seeds.join(",")));
    setup.upstream_lines += "\ntopology_refresh = \"1s\"\ntopology_refresh_min = \"50ms\"";
    setup
}

/// Every shard is written to and read from.
fn assert_served(proxy: &Proxy, cluster: &RedisCluster) {
    let mut acme = proxy.acme();
    for node in cluster.primaries() {
        let tag = tag_of(cluster, node);
        assert_eq!("+OK\\r\\n", acme.ask(&format!("SET {{{tag}}}k v")));
        assert_eq!(bulk("v"), cluster.client(node).ask(&format!("GET acme:{{{tag}}}k")));
        assert_eq!(bulk("v"), acme.ask(&format!("GET {{{tag}}}k")));
    }
}

#[test]
fn one_seed_that_lives_is_enough() {
    let cluster = RedisCluster::start_without_replicas();
    let [.., last] = cluster.primaries()[..] else { panic!("three primaries") };
    let proxy = Proxy::start(&seeded(&[free_port(), free_port(), cluster.server(last).port]));
    assert_served(&proxy, &cluster);
}

#[test]
fn a_cluster_that_is_not_there_at_the_start_is_found_later() {
    let cluster = RedisCluster::start_without_replicas();
    let seed = free_port();
    let proxy = Proxy::start_unready(&seeded(&[seed]));
    proxy.wait_for_readiness(503, "the nodes of upstream 'main' are not known yet");
    let mut acme = proxy.acme();
    for request in ["GET k", "MGET a b c", "BLPOP l 0", "WATCH k", "PUBLISH c m", "DBSIZE", "SUBSCRIBE c"] {
        assert_eq!(NODES_UNKNOWN, acme.ask(request), "{request}");
    }
    assert_eq!("+PONG\\r\\n", acme.ask("PING"));
    assert_eq!("+OK\\r\\n", acme.ask("MULTI"));
    assert_eq!("+QUEUED\\r\\n", acme.ask("SET k v"));
    assert_eq!(NODES_UNKNOWN, acme.ask("EXEC"));
    assert_eq!("-ERR EXEC without MULTI\\r\\n", acme.ask("EXEC"));
    forward(seed, cluster.server(cluster.primaries()[0]).port);
    proxy.wait_until_ready();
    assert_served(&proxy, &cluster);
}

#[test]
fn seeds_that_talk_nonsense_are_passed_over() {
    let cluster = RedisCluster::start_without_replicas();
    let [first, second, _] = cluster.primaries()[..] else { panic!("three primaries") };
    let (one, other) = (cluster.server(first).port, cluster.server(second).port);
    let true_shards = {
        let mut client = cluster.client(first);
        String::from_utf8(client.call(&["CLUSTER", "SHARDS"])).expect("a cluster of printable names")
    };
    let half = true_shards[..true_shards.len() / 2].to_owned();
    let two_owners = shards(&[(one, 0, 9000), (other, 9000, 16383)]);
    let beyond = shards(&[(one, 0, 16384)]);
    let of_nobody = "*0\r\n".to_owned();
    for said in [
        "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "!@#$%^&*()\r\n".to_owned(),
        "*-7\r\n".to_owned(),
        "$5\r\nhello\r\n".to_owned(),
        "*1000000000\r\n".to_owned(),
        "-ERR no\r\n".to_owned(),
        half,
        two_owners,
        beyond,
        of_nobody,
    ] {
        let told = said.clone();
        let impostor = Impostor::start(move |request| match request {
            "CLUSTER INFO" if told.starts_with('*') => cluster_info(),
            _ => told.clone(),
        });
        let mut setup = seeded(&[impostor.port, one]);
        // Who says half and waits is given up after so long.
        setup.upstream_lines =
            setup.upstream_lines.replace("connect_timeout = \"2s\"", "connect_timeout = \"500ms\"");
        // Seeds are asked in random order; some process asks it first.
        let proxies = std::iter::repeat_with(|| Proxy::start(&setup));
        for proxy in proxies.take(20) {
            assert_served(&proxy, &cluster);
            if impostor.requests() > 0 {
                break;
            }
        }
        assert!(impostor.requests() > 0, "nobody asked who says {said:?}");
    }
}

fn cluster_info() -> String {
    let text = "cluster_state:ok\r\ncluster_current_epoch:1000\r\n";
    format!("${}\r\n{text}\r\n", text.len())
}

/// `CLUSTER SHARDS` of primaries, each with a port and a range.
fn shards(primaries: &[(u16, u16, u16)]) -> String {
    let mut text = format!("*{}\r\n", primaries.len());
    for (port, first, last) in primaries {
        write!(text, "*4\r\n$5\r\nslots\r\n*2\r\n:{first}\r\n:{last}\r\n$5\r\nnodes\r\n*1\r\n*14\r\n")
            .unwrap();
        write!(text, "$2\r\nid\r\n$5\r\n{port}\r\n$4\r\nport\r\n:{port}\r\n").unwrap();
        for (name, value) in [("ip", "127.0.0.1"), ("endpoint", "127.0.0.1"), ("role", "master")] {
            write!(text, "${}\r\n{name}\r\n${}\r\n{value}\r\n", name.len(), value.len()).unwrap();
        }
        text += "$18\r\nreplication-offset\r\n:0\r\n$6\r\nhealth\r\n$6\r\nonline\r\n";
    }
    text
}

/// Other clients use a slot that is served, until told to stop; returns how many requests each has made.
fn beside<T>(proxy: &Proxy, tag: &str, scenario: impl FnOnce(&AtomicU64) -> T) -> T {
    let (is_over, served) = (AtomicBool::new(false), AtomicU64::new(0));
    let serve = |key: usize| {
        let mut acme = proxy.acme();
        let mut number = 0;
        while !is_over.load(Ordering::Relaxed) {
            number += 1;
            assert_eq!(format!(":{number}\\r\\n"), acme.ask(&format!("INCR {{{tag}}}{key}")));
            assert_eq!(bulk(&number.to_string()), acme.ask(&format!("GET {{{tag}}}{key}")));
            served.fetch_add(1, Ordering::Relaxed);
        }
    };
    let serve = &serve;
    std::thread::scope(|scope| {
        let end = OnDrop(&is_over);
        let others: Vec<_> = (0..4).map(|key| scope.spawn(move || serve(key))).collect();
        let outcome = scenario(&served);
        drop(end);
        for other in others {
            other.join().expect("others do not notice");
        }
        outcome
    })
}

/// A reply of the proxy's own.
fn assert_unavailable(reply: &str) {
    let says_what_became = reply.contains(NOT_SENT) != reply.contains(PERHAPS_EXECUTED);
    assert!(reply.starts_with(UNAVAILABLE) && says_what_became, "{reply}");
}

#[test]
fn half_a_cluster_that_is_frozen_is_answered_for_and_the_rest_is_served() {
    half_a_cluster(RedisCluster::freeze, RedisCluster::thaw);
}

#[test]
fn half_a_cluster_that_is_dead_is_answered_for_and_the_rest_is_served() {
    half_a_cluster(RedisCluster::kill, RedisCluster::restart);
}

fn half_a_cluster(leave: fn(&mut RedisCluster, Node), come_back: fn(&mut RedisCluster, Node)) {
    // With only one of three left, nobody is left to say that the others have failed.
    let mut cluster = RedisCluster::start_with(Shape::PrimariesOnly, &["--cluster-node-timeout", "600000"]);
    let [living, one, two] = cluster.primaries()[..] else { panic!("three primaries") };
    let tags = [living, one, two].map(|node| tag_of(&cluster, node));
    let mut setup = setup_for(&cluster, "reconnect_max = \"100ms\"");
    setup.upstream_lines =
        setup.upstream_lines.replace("\"10s\"", "\"300ms\"").replace("\"2s\"", "\"300ms\"");
    let proxy = Proxy::start(&setup);
    beside(&proxy, &tags[0], |served| {
        let mut clients = [proxy.acme(), Client::tcp_resp3(proxy.acme_port())];
        let ask_all = |clients: &mut [Client; 2]| {
            for client in clients {
                let nodes: Vec<String> =
                    tags.iter().map(|tag| client.ask(&format!("SET {{{tag}}} v"))).collect();
                assert_eq!("+OK\\r\\n", nodes[0]);
                assert_unavailable(&nodes[1]);
                assert_unavailable(&nodes[2]);
                let [kept, lost, _] = &tags;
                for request in [
                    format!("GET {{{lost}}}"),
                    format!("MGET {{{kept}}} {{{lost}}}"),
                    format!("BLPOP {{{lost}}}l 0.1"),
                    format!("WATCH {{{lost}}}"),
                ] {
                    assert_unavailable(&client.ask(&request));
                }
                // In one pipeline, each has its own answer.
                client.send(
                    &tags.iter().rev().flat_map(|tag| words(&format!("GET {{{tag}}}"))).collect::<Vec<_>>(),
                );
                let replies: Vec<String> = client.frames(3).iter().map(|reply| show(reply)).collect();
                assert_unavailable(&replies[0]);
                assert_unavailable(&replies[1]);
                assert_eq!(bulk("v"), replies[2]);
            }
        };
        leave(&mut cluster, one);
        leave(&mut cluster, two);
        let before = served.load(Ordering::Relaxed);
        ask_all(&mut clients);
        ask_all(&mut clients);
        proxy.wait_for("the others to be served", || served.load(Ordering::Relaxed) > before + 100);
        come_back(&mut cluster, one);
        come_back(&mut cluster, two);
        for client in &mut clients {
            for tag in &tags {
                let line = format!("SET {{{tag}}} again");
                proxy.wait_for("the cluster to be whole", || client.ask(&line) == "+OK\\r\\n");
            }
        }
    });
}

#[test]
fn a_slot_nobody_owns_is_answered_as_redis_does_and_others_are_served() {
    let cluster = RedisCluster::start_with(Shape::PrimariesOnly, &["--cluster-require-full-coverage", "no"]);
    let [owner, ..] = cluster.primaries()[..] else { panic!("three primaries") };
    let [lost, kept] = [0, 1].map(|at| tags_of(&cluster, owner).nth(at).expect("a node has slots"));
    let proxy = Proxy::start(&setup_for(&cluster, "topology_refresh_min = \"50ms\"\nmax_redirects = 2"));
    beside(&proxy, &kept, |_| {
        let mut clients = [proxy.acme(), Client::tcp_resp3(proxy.acme_port())];
        for client in &mut clients {
            assert_eq!("+OK\\r\\n", client.ask(&format!("SET {{{lost}}} v")));
        }
        for node in cluster.nodes() {
            let delete = format!("CLUSTER DELSLOTS {}", slot_of(&lost));
            assert_eq!("+OK\\r\\n", cluster.client(node).ask(&delete));
        }
        for client in &mut clients {
            for request in
                ["GET {x}", "SET {x} v", "BLPOP {x}l 0", "WATCH {x}", "MGET {x} {x}2", "MGET {x} {y}"]
            {
                let request =
                    request.replace("{x}", &format!("{{{lost}}}")).replace("{y}", &format!("{{{kept}}}"));
                assert_eq!(NOT_SERVED, client.ask(&request), "{request}");
            }
            assert_eq!("+OK\\r\\n", client.ask("UNWATCH"));
            client.send(&[words("MULTI"), words(&format!("SET {{{lost}}} v")), words("EXEC")].concat());
            assert_eq!("+OK\\r\\n+QUEUED\\r\\n", show(&client.frames(2).concat()));
            let reply = show(&client.frame());
            assert!(
                reply.starts_with("-EXECABORT ") && reply.contains("CLUSTERDOWN") || reply == NOT_SERVED,
                "{reply}"
            );
        }
        for node in cluster.nodes() {
            let add = format!("CLUSTER SETSLOT {} NODE {}", slot_of(&lost), cluster.id(owner));
            assert_eq!("+OK\\r\\n", cluster.client(node).ask(&add));
        }
        for client in &mut clients {
            let line = format!("SET {{{lost}}} v");
            proxy.wait_for("the slot to have an owner", || client.ask(&line) == "+OK\\r\\n");
        }
    });
}

#[test]
fn a_node_that_comes_and_one_that_goes_are_not_noticed() {
    let mut cluster = RedisCluster::start_without_replicas();
    let [first, ..] = cluster.primaries()[..] else { panic!("three primaries") };
    let tags: Vec<String> = tags_of(&cluster, first).take(20).collect();
    let proxy = Proxy::start(&setup_for(&cluster, "topology_refresh_min = \"50ms\""));
    beside(&proxy, &tags[0], |served| {
        let more = |served: &AtomicU64| {
            let before = served.load(Ordering::Relaxed);
            proxy.wait_for("others to be served", || served.load(Ordering::Relaxed) > before + 50);
        };
        let added = cluster.add_primary();
        for tag in &tags {
            cluster.migrate_slots(slot_of(tag)..=slot_of(tag), first, added);
        }
        more(served);
        assert_eq!(added, cluster.primary_of(&tags[0]));
        for tag in &tags {
            cluster.migrate_slots(slot_of(tag)..=slot_of(tag), added, first);
        }
        more(served);
        cluster.remove(added);
        more(served);
    });
}

#[test]
fn nodes_whose_names_lead_nowhere_are_reached_where_the_operator_says() {
    let options = ["--cluster-preferred-endpoint-type", "hostname"];
    let cluster = RedisCluster::start_with(Shape::PrimariesOnly, &options);
    let mut map = Vec::new();
    for (number, node) in cluster.nodes().into_iter().enumerate() {
        let name = format!("node-{number}.invalid");
        let announce = format!("CONFIG SET cluster-announce-hostname {name}");
        assert_eq!("+OK\\r\\n", cluster.client(node).ask(&announce));
        let port = cluster.server(node).port;
        map.push(format!("\"{name}:{port}=127.0.0.1:{port}\""));
    }
    let [source, target, _] = cluster.primaries()[..] else { panic!("three primaries") };
    let knows_all = |node: Node| {
        let shards = show(&cluster.client(node).call(&["CLUSTER", "NODES"]));
        (0..3).all(|number| shards.contains(&format!("node-{number}.invalid")))
    };
    crate::servers::wait_for("nodes to know each other's names", || {
        cluster.nodes().into_iter().all(knows_all)
    });
    let tag = tag_of(&cluster, source);
    let line = format!(
        "address_map = [{}]\ntopology_refresh_min = \"1h\"\ntopology_refresh = \"1h\"",
        map.join(", ")
    );
    let proxy = Proxy::start(&setup_for(&cluster, &line));
    assert_served(&proxy, &cluster);
    let mut acme = proxy.acme();
    // Redirections name them as well.
    let mut migration = cluster.migration(source, target);
    migration.begin(slot_of(&tag));
    assert_eq!("+OK\\r\\n", acme.ask(&format!("SET {{{tag}}}new v")));
    assert_eq!(bulk("v"), acme.ask(&format!("GET {{{tag}}}new")));
    while migration.move_keys(slot_of(&tag), 100) > 0 {}
    migration.finish(slot_of(&tag));
    assert_eq!(bulk("v"), acme.ask(&format!("GET {{{tag}}}new")));
    assert_eq!(bulk("v"), acme.ask(&format!("GET {{{tag}}}k")));
}
