//! Slots that move while clients use them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::{OnDrop, behind_proxy, blocked, bulk, calls, counted, setup_for, slot_of, tag_of, tags_of};
use crate::servers::{Protocol, Proxy, RedisCluster, Setup, Shape};
use crate::wire::{show, words};

const PROTOCOLS: [Protocol; 2] = [Protocol::Resp2, Protocol::Resp3];

/// So many attempts that a test ends its migration before they are used up.
const PATIENT: &str = "max_redirects = 16";

/// Requests that were sent again.
const RESENT: &str = "tenantry_upstream_requests_resent_total";

#[test]
fn keys_of_a_slot_under_way_are_found_where_they_are() {
    let (cluster, proxy) = behind_proxy("");
    let [source, target, _] = cluster.primaries()[..] else { panic!("three primaries") };
    for (tag, protocol) in tags_of(&cluster, source).zip(PROTOCOLS) {
        let slot = slot_of(&tag);
        let mut acme = protocol.connect(proxy.acme_port());
        for number in 0..10 {
            assert_eq!("+OK\\r\\n", acme.ask(&format!("SET {{{tag}}}:{number} v{number}")));
        }
        let mut migration = cluster.migration(source, target);
        migration.begin(slot);
        assert_eq!(5, migration.move_keys(slot, 5));
        for number in 0..10 {
            assert_eq!(bulk(&format!("v{number}")), acme.ask(&format!("GET {{{tag}}}:{number}")));
            assert_eq!("+OK\\r\\n", acme.ask(&format!("SET {{{tag}}}:{number} w{number}")));
        }
        // What there is not is asked of both, and made at the target.
        assert_eq!(":1\\r\\n", acme.ask(&format!("RPUSH {{{tag}}}:new a")));
        assert_eq!(":2\\r\\n", acme.ask(&format!("RPUSH {{{tag}}}:new b")));
        while migration.move_keys(slot, 100) > 0 {}
        migration.finish(slot);
        for number in 0..10 {
            assert_eq!(bulk(&format!("w{number}")), acme.ask(&format!("GET {{{tag}}}:{number}")));
        }
        assert_eq!(":11\\r\\n", cluster.client(target).ask(&format!("CLUSTER COUNTKEYSINSLOT {slot}")));
    }
}

#[test]
fn keys_on_both_sides_of_a_migration_are_waited_for() {
    let (cluster, proxy) = behind_proxy(PATIENT);
    let [source, target, _] = cluster.primaries()[..] else { panic!("three primaries") };
    for (tag, protocol) in tags_of(&cluster, source).zip(PROTOCOLS) {
        let slot = slot_of(&tag);
        let mut acme = protocol.connect(proxy.acme_port());
        assert_eq!("+OK\\r\\n", acme.ask(&format!("MSET {{{tag}}}a 1 {{{tag}}}b 2")));
        let mut migration = cluster.migration(source, target);
        migration.begin(slot);
        assert_eq!(1, migration.move_keys(slot, 1));
        let before = counted(&proxy, RESENT);
        acme.send(&words(&format!("MGET {{{tag}}}a {{{tag}}}b")));
        proxy.wait_for("the request to be tried again", || counted(&proxy, RESENT) > before);
        assert_eq!(1, migration.move_keys(slot, 1));
        migration.finish(slot);
        assert_eq!("*2\\r\\n$1\\r\\n1\\r\\n$1\\r\\n2\\r\\n", show(&acme.frame()));
    }
}

#[test]
fn a_transaction_on_both_sides_of_a_migration_is_carried_out_once_and_whole() {
    let (cluster, proxy) = behind_proxy(PATIENT);
    let [source, target, _] = cluster.primaries()[..] else { panic!("three primaries") };
    for (tag, protocol) in tags_of(&cluster, source).zip(PROTOCOLS) {
        let slot = slot_of(&tag);
        let mut acme = protocol.connect(proxy.acme_port());
        assert_eq!("+OK\\r\\n", acme.ask(&format!("MSET {{{tag}}}a 1 {{{tag}}}b 1")));
        let mut migration = cluster.migration(source, target);
        migration.begin(slot);
        assert_eq!(1, migration.move_keys(slot, 1));
        let before = counted(&proxy, RESENT);
        acme.send(
            &[
                words("MULTI"),
                words(&format!("INCR {{{tag}}}a")),
                words(&format!("INCR {{{tag}}}b")),
                words("EXEC"),
            ]
            .concat(),
        );
        for expected in ["+OK\\r\\n", "+QUEUED\\r\\n", "+QUEUED\\r\\n"] {
            assert_eq!(expected, show(&acme.frame()));
        }
        proxy.wait_for("the transaction to be tried again", || counted(&proxy, RESENT) > before);
        assert_eq!(1, migration.move_keys(slot, 1));
        migration.finish(slot);
        assert_eq!("*2\\r\\n:2\\r\\n:2\\r\\n", show(&acme.frame()));
        assert_eq!(
            "*2\\r\\n$1\\r\\n2\\r\\n$1\\r\\n2\\r\\n",
            acme.ask(&format!("MGET {{{tag}}}a {{{tag}}}b"))
        );
    }
}

/// What the proxy adds to a request goes with it, and is done once.
#[test]
fn a_time_to_live_follows_its_key() {
    let cluster = RedisCluster::start_without_replicas();
    let proxy =
        Proxy::start(&Setup { tenant_lines: r#"default_ttl = "1h""#, ..setup_for(&cluster, PATIENT) });
    let [source, target, _] = cluster.primaries()[..] else { panic!("three primaries") };
    for (tag, protocol) in tags_of(&cluster, source).zip(PROTOCOLS) {
        let slot = slot_of(&tag);
        let mut acme = protocol.connect(proxy.acme_port());
        for key in ["a", "b"] {
            assert_eq!(":1\\r\\n", acme.ask(&format!("RPUSH {{{tag}}}{key} x")));
        }
        let mut migration = cluster.migration(source, target);
        migration.begin(slot);
        assert_eq!(1, migration.move_keys(slot, 1));
        for key in ["a", "b"] {
            assert_eq!(":2\\r\\n", acme.ask(&format!("RPUSH {{{tag}}}{key} y")));
        }
        assert_eq!(":1\\r\\n", acme.ask(&format!("RPUSH {{{tag}}}new x")));
        let before = counted(&proxy, RESENT);
        acme.send(&words(&format!("RPOPLPUSH {{{tag}}}a {{{tag}}}b")));
        proxy.wait_for("the request to be tried again", || counted(&proxy, RESENT) > before);
        while migration.move_keys(slot, 100) > 0 {}
        migration.finish(slot);
        assert_eq!("$1\\r\\ny\\r\\n", show(&acme.frame()));
        assert_eq!(":3\\r\\n", acme.ask(&format!("LLEN {{{tag}}}b")));
        assert_eq!(":4\\r\\n", acme.ask(&format!("RPUSH {{{tag}}}b z")));
        for key in ["a", "b", "new"] {
            let ttl = acme.ask(&format!("TTL {{{tag}}}{key}"));
            assert!(ttl.starts_with(":3") && ttl != ":3\\r\\n", "{key}: {ttl}");
        }
    }
}

#[test]
fn a_transaction_follows_its_keys() {
    let (cluster, proxy) = behind_proxy("");
    let [source, target, _] = cluster.primaries()[..] else { panic!("three primaries") };
    for (tag, protocol) in tags_of(&cluster, source).zip(PROTOCOLS) {
        let slot = slot_of(&tag);
        let mut acme = protocol.connect(proxy.acme_port());
        let mut transaction = |expected: &str| {
            for (line, expected) in [
                ("MULTI", "+OK\\r\\n"),
                (&format!("INCR {{{tag}}}n"), "+QUEUED\\r\\n"),
                ("PING", "+QUEUED\\r\\n"),
                ("EXEC", expected),
            ] {
                assert_eq!(expected, acme.ask(line), "{line}");
            }
        };
        transaction("*2\\r\\n:1\\r\\n+PONG\\r\\n");
        let mut migration = cluster.migration(source, target);
        migration.begin(slot);
        assert_eq!(1, migration.move_keys(slot, 10));
        transaction("*2\\r\\n:2\\r\\n+PONG\\r\\n");
        migration.finish(slot);
        transaction("*2\\r\\n:3\\r\\n+PONG\\r\\n");
    }
}

#[test]
fn a_watched_key_that_moves_never_lets_a_transaction_overwrite_what_changed() {
    let (cluster, proxy) = behind_proxy("");
    let [source, target, _] = cluster.primaries()[..] else { panic!("three primaries") };
    let mut tags = tags_of(&cluster, source);
    for protocol in PROTOCOLS {
        for is_finished in [false, true] {
            let tag = tags.next().expect("a node has slots");
            let slot = slot_of(&tag);
            let (mut acme, mut other) = (protocol.connect(proxy.acme_port()), proxy.acme());
            assert_eq!("+OK\\r\\n", acme.ask(&format!("SET {{{tag}}}k 1")));
            assert_eq!("+OK\\r\\n", acme.ask(&format!("WATCH {{{tag}}}k")));
            assert_eq!(bulk("1"), acme.ask(&format!("GET {{{tag}}}k")));
            let mut migration = cluster.migration(source, target);
            migration.begin(slot);
            assert_eq!(1, migration.move_keys(slot, 10));
            if is_finished {
                migration.finish(slot);
            }
            assert_eq!(":2\\r\\n", other.ask(&format!("INCR {{{tag}}}k")));
            assert_eq!("+OK\\r\\n", acme.ask("MULTI"));
            assert_eq!("+QUEUED\\r\\n", acme.ask(&format!("SET {{{tag}}}k mine")));
            let null = if protocol == Protocol::Resp2 { "*-1\\r\\n" } else { "_\\r\\n" };
            assert_eq!(null, acme.ask("EXEC"), "finished: {is_finished}");
            assert_eq!(bulk("2"), acme.ask(&format!("GET {{{tag}}}k")));
            if !is_finished {
                migration.finish(slot);
            }
            // Who begins anew, as one does, gets there when the nodes and the proxy agree on where the key is.
            proxy.wait_for("a transaction that is carried out", || {
                assert_eq!("+OK\\r\\n", acme.ask(&format!("WATCH {{{tag}}}k")));
                assert_eq!("+OK\\r\\n", acme.ask("MULTI"));
                assert_eq!("+QUEUED\\r\\n", acme.ask(&format!("SET {{{tag}}}k mine")));
                let reply = acme.ask("EXEC");
                assert!([null, "*1\\r\\n+OK\\r\\n"].contains(&&*reply), "{reply}");
                reply != null
            });
            assert_eq!(bulk("mine"), other.ask(&format!("GET {{{tag}}}k")));
        }
    }
}

#[test]
fn who_blocks_on_a_list_whose_slot_moves_is_served_at_the_new_owner() {
    let (cluster, proxy) = behind_proxy("");
    let [source, target, _] = cluster.primaries()[..] else { panic!("three primaries") };
    let (mut old, mut new) = (cluster.client(source), cluster.client(target));
    for (tag, protocol) in tags_of(&cluster, source).zip(PROTOCOLS) {
        let slot = slot_of(&tag);
        let mut acme = protocol.connect(proxy.acme_port());
        acme.send(&[words(&format!("BLPOP {{{tag}}}list 0")), words("PING")].concat());
        proxy.wait_for("the client to block", || blocked(&mut old) == 1);
        let mut migration = cluster.migration(source, target);
        migration.begin(slot);
        migration.finish(slot);
        proxy.wait_for("the client to block elsewhere", || blocked(&mut new) == 1);
        assert_eq!(0, blocked(&mut old));
        assert_eq!(":1\\r\\n", proxy.acme().ask(&format!("RPUSH {{{tag}}}list v")));
        let list = format!("{{{tag}}}list");
        assert_eq!(format!("*2\\r\\n{}{}", bulk(&list), bulk("v")), show(&acme.frame()));
        assert_eq!("+PONG\\r\\n", show(&acme.frame()));
    }
}

#[test]
fn who_blocks_on_a_list_of_a_slot_under_way_waits_where_it_will_be() {
    let (cluster, proxy) = behind_proxy("");
    let [source, target, _] = cluster.primaries()[..] else { panic!("three primaries") };
    let mut new = cluster.client(target);
    for (tag, protocol) in tags_of(&cluster, source).zip(PROTOCOLS) {
        let slot = slot_of(&tag);
        let mut migration = cluster.migration(source, target);
        migration.begin(slot);
        let mut acme = protocol.connect(proxy.acme_port());
        acme.send(&words(&format!("BLPOP {{{tag}}} 0")));
        proxy.wait_for("the client to block", || blocked(&mut new) == 1);
        assert_eq!(":1\\r\\n", proxy.acme().ask(&format!("RPUSH {{{tag}}} v")));
        assert_eq!(format!("*2\\r\\n{}{}", bulk(&format!("{{{tag}}}")), bulk("v")), show(&acme.frame()));
        migration.finish(slot);
    }
}

#[test]
fn pipelined_increments_of_a_key_count_once_each_and_in_order_while_its_slot_moves() {
    const PIPELINE: u64 = 200;
    // Moves follow each other faster here than nodes tell each other, and what is pipelined does not wait.
    let (cluster, proxy) = behind_proxy(&format!("topology_refresh_min = \"10ms\"\n{PATIENT}"));
    let [one, two, _] = cluster.primaries()[..] else { panic!("three primaries") };
    let tag = tag_of(&cluster, one);
    let slot = slot_of(&tag);
    let has_moved = AtomicBool::new(false);
    let rounds = [AtomicU64::new(0), AtomicU64::new(0)];
    let increment = |client: usize, protocol: Protocol| {
        let mut acme = protocol.connect(proxy.acme_port());
        let pipeline = words(&format!("INCR {{{tag}}}{client}")).repeat(200);
        let mut last = 0;
        while !has_moved.load(Ordering::Relaxed) {
            acme.send(&pipeline);
            for (reply, number) in acme.frames(200).into_iter().zip(last + 1..) {
                assert_eq!(format!(":{number}\\r\\n"), show(&reply));
            }
            last += PIPELINE;
            rounds[client].fetch_add(1, Ordering::Relaxed);
        }
        assert_eq!(bulk(&last.to_string()), acme.ask(&format!("GET {{{tag}}}{client}")));
    };
    let increment = &increment;
    std::thread::scope(|scope| {
        let end = OnDrop(&has_moved);
        let clients = [(0, Protocol::Resp2), (1, Protocol::Resp3)];
        let clients = clients.map(|(client, protocol)| scope.spawn(move || increment(client, protocol)));
        for (source, target) in [(one, two), (two, one)].into_iter().cycle().take(10) {
            // One move for a pipeline.
            let before = rounds.each_ref().map(|rounds| rounds.load(Ordering::Relaxed));
            proxy.wait_for("pipelines", || {
                rounds.iter().zip(before).all(|(rounds, before)| rounds.load(Ordering::Relaxed) > before + 1)
            });
            let mut migration = cluster.migration(source, target);
            migration.begin(slot);
            while migration.move_keys(slot, 1) > 0 {}
            migration.finish(slot);
        }
        drop(end);
        for client in clients {
            client.join().expect("a client reads what it must");
        }
    });
}

#[test]
fn however_many_clients_meet_moved_slots_nodes_are_asked_once_in_an_interval() {
    const CLIENTS: u64 = 250;
    let cluster = RedisCluster::start_without_replicas();
    let [first, second, third] = cluster.primaries()[..] else { panic!("three primaries") };
    let tags: Vec<String> = tags_of(&cluster, first).take(10).collect();
    let surveys = |cluster: &RedisCluster| -> u64 {
        cluster.nodes().into_iter().map(|node| calls(&mut cluster.client(node), "cluster|shards")).sum()
    };
    // The first interval lasts for as long as the test.
    let proxy =
        Proxy::start(&setup_for(&cluster, "topology_refresh = \"1h\"\ntopology_refresh_min = \"1h\""));
    assert_eq!(1, surveys(&cluster));
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| proxy.acme()).collect();
    for (source, target) in [(first, second), (second, third)] {
        for tag in &tags {
            cluster.migrate_slots(slot_of(tag)..=slot_of(tag), source, target);
        }
        let before = counted(&proxy, RESENT);
        let requests: Vec<u8> = tags.iter().flat_map(|tag| words(&format!("INCR {{{tag}}}n"))).collect();
        for client in &mut clients {
            client.send(&requests);
        }
        for client in &mut clients {
            let replies = client.frames(tags.len());
            assert!(replies.iter().all(|reply| reply.starts_with(b":")), "{}", show(&replies.concat()));
        }
        proxy.wait_for("redirections", || counted(&proxy, RESENT) >= before + CLIENTS * 10);
    }
    assert_eq!(1, surveys(&cluster));
    assert_eq!(bulk(&(2 * CLIENTS).to_string()), proxy.acme().ask(&format!("GET {{{}}}n", tags[0])));
}

/// The reply before it is in the same read as the redirection, and has not left when the refusal is known.
#[test]
fn a_refusal_among_replies_that_came_together_stays_in_its_place() {
    let mut cluster =
        RedisCluster::start_with(Shape::PrimariesOnly, &["--cluster-require-full-coverage", "no"]);
    let proxy = Proxy::start(&setup_for(&cluster, "topology_refresh = \"1h\""));
    let [source, target, _] = cluster.primaries()[..] else { panic!("three primaries") };
    let [stays, moves] = [0, 1].map(|number| tags_of(&cluster, source).nth(number).expect("a tag"));
    let mut acme = Protocol::Resp2.connect(proxy.acme_port());
    assert_eq!("+OK\\r\\n", acme.ask(&format!("SET {{{stays}}} here")));
    cluster.migrate_slots(slot_of(&moves)..=slot_of(&moves), source, target);
    cluster.kill(target);
    proxy.wait_for("the loss of the node", || counted(&proxy, "tenantry_upstream_primaries_away") > 0);
    let get = words(&format!("GET {{{stays}}}"));
    acme.send(&[get.clone(), words(&format!("SET {{{moves}}} 1")), get].concat());
    assert_eq!(bulk("here"), show(&acme.frame()));
    let refused = show(&acme.frame());
    assert!(refused.contains("the command was not sent"), "{refused}");
    assert_eq!(bulk("here"), show(&acme.frame()));
}

#[test]
fn what_was_watched_before_a_connection_moves_is_not_forgotten() {
    let (cluster, proxy) = behind_proxy("topology_refresh = \"1h\"");
    let [source, target, _] = cluster.primaries()[..] else { panic!("three primaries") };
    let tag = tag_of(&cluster, source);
    let mut acme = Protocol::Resp2.connect(proxy.acme_port());
    assert_eq!("+OK\\r\\n", acme.ask(&format!("WATCH {{{tag}}}1")));
    cluster.migrate_slots(slot_of(&tag)..=slot_of(&tag), source, target);
    assert_eq!("+OK\\r\\n", cluster.client(target).ask(&format!("SET acme:{{{tag}}}1 changed")));
    assert_eq!("+OK\\r\\n", acme.ask(&format!("WATCH {{{tag}}}2")));
    assert_eq!("+OK\\r\\n", acme.ask("MULTI"));
    assert_eq!("+QUEUED\\r\\n", acme.ask(&format!("SET {{{tag}}}3 x")));
    assert_eq!("*-1\\r\\n", acme.ask("EXEC"));
    assert_eq!("$-1\\r\\n", acme.ask(&format!("GET {{{tag}}}3")));
}

/// `SCAN` names no key, so the former owner does not say that it is not the owner any more.
#[test]
fn a_walk_goes_to_who_owns_the_slots_now() {
    let cluster = RedisCluster::start_without_replicas();
    let mut setup = setup_for(&cluster, "topology_refresh = \"1h\"");
    setup.tenant_lines = "colocate = true";
    let proxy = Proxy::start(&setup);
    let source = cluster.primary_of("acme");
    let target = cluster.primaries().into_iter().find(|node| *node != source).expect("another node");
    let mut acme = Protocol::Resp2.connect(proxy.acme_port());
    assert_eq!("+OK\\r\\n", acme.ask("MSET a 1 b 2 c 3"));
    cluster.migrate_slots(slot_of("acme")..=slot_of("acme"), source, target);
    assert_eq!(":3\\r\\n", acme.ask("DBSIZE"));
    cluster.migrate_slots(slot_of("acme")..=slot_of("acme"), target, source);
    assert_eq!("+OK\\r\\n", acme.ask("FLUSHALL"));
    assert_eq!("$-1\\r\\n", acme.ask("GET a"));
}

#[test]
fn a_watch_that_failed_watches_nothing() {
    let cluster = RedisCluster::start_with(Shape::PrimariesOnly, &["--cluster-require-full-coverage", "no"]);
    let proxy = Proxy::start(&setup_for(&cluster, "max_redirects = 0"));
    let [source, target, other] = cluster.primaries()[..] else { panic!("three primaries") };
    let tag = tag_of(&cluster, source);
    let mut acme = Protocol::Resp2.connect(proxy.acme_port());
    assert_eq!("+OK\\r\\n", acme.ask(&format!("MSET {{{tag}}}1 a {{{tag}}}2 b")));
    let mut migration = cluster.migration(source, target);
    migration.begin(slot_of(&tag));
    assert_eq!(1, migration.move_keys(slot_of(&tag), 1));
    let refused = acme.ask(&format!("WATCH {{{tag}}}1 {{{tag}}}2"));
    assert!(refused.starts_with("-TRYAGAIN"), "{refused}");
    let elsewhere = tag_of(&cluster, other);
    assert_eq!("+OK\\r\\n", acme.ask(&format!("WATCH {{{elsewhere}}}")));
    assert_eq!("+OK\\r\\n", acme.ask("MULTI"));
    assert_eq!("+QUEUED\\r\\n", acme.ask(&format!("SET {{{elsewhere}}} x")));
    assert_eq!("*1\\r\\n+OK\\r\\n", acme.ask("EXEC"));
}
