//! Commands about all keys: each tenant has a keyspace of its own, whatever else lies in the upstream.

use std::collections::BTreeSet;

use crate::servers::{
    Deployment, Kind, Protocol, RedisServer, on_every_deployment, on_every_deployment_and_protocol,
};
use crate::wire::{Client, Tree, command, show, words};

on_every_deployment_and_protocol! {
    each_tenant_and_each_database_has_a_keyspace_of_its_own,
    keys_are_moved_and_copied_between_the_databases_of_a_tenant,
}

on_every_deployment! {
    a_scan_misses_no_key_while_the_upstream_grows,
    a_flush_deletes_what_is_the_tenants_and_nothing_else,
    a_flush_is_completed_although_its_client_has_gone,
    malformed_requests_are_refused_in_the_servers_words,
}

/// Stores `prefix0`, `prefix1`, … with one request.
fn store(client: &mut Client, prefix: &str, count: usize) {
    let keys = (0..count).flat_map(|number| [format!("{prefix}{number}"), "v".to_owned()]);
    let argv: Vec<String> = std::iter::once("MSET".to_owned()).chain(keys).collect();
    assert_eq!("+OK\\r\\n", show(&client.call(&argv)));
}

fn names(tree: &Tree) -> impl Iterator<Item = String> {
    tree.elements().iter().map(|name| show(name.payload()))
}

/// All names that a complete `SCAN` shows.
fn scanned(client: &mut Client, options: &str) -> BTreeSet<String> {
    let (mut cursor, mut seen) = ("0".to_owned(), BTreeSet::new());
    loop {
        let reply = Tree::of(&client.call(&format!("SCAN {cursor}{options}").split(' ').collect::<Vec<_>>()));
        let [next, page] = reply.elements() else { panic!("SCAN answered {reply:?}") };
        seen.extend(names(page));
        cursor = show(next.payload());
        if cursor == "0" {
            return seen;
        }
    }
}

fn numbered(prefix: &str, count: usize) -> BTreeSet<String> {
    (0..count).map(|number| format!("{prefix}{number}")).collect()
}

fn each_tenant_and_each_database_has_a_keyspace_of_its_own(kind: Kind, protocol: Protocol) {
    let deployment = Deployment::start(kind);
    let proxy = deployment.proxy();
    let (mut acme, mut globex) = (protocol.connect(proxy.acme_port()), protocol.connect(proxy.globex_port()));
    deployment.store(&numbered("acmeother:", 500));
    assert_eq!(":0\\r\\n", acme.ask("DBSIZE"));
    assert_eq!(protocol.null(), acme.ask("RANDOMKEY"));
    store(&mut acme, "a", 30);
    store(&mut globex, "g", 2_000);
    acme.ask("SELECT 1");
    acme.ask("SET one v");
    for (client, size) in [(&mut acme, ":1\\r\\n"), (&mut globex, ":2000\\r\\n")] {
        assert_eq!(size, client.ask("DBSIZE"));
    }
    assert_eq!("*1\\r\\n$3\\r\\none\\r\\n", acme.ask("KEYS *"));
    assert_eq!("$3\\r\\none\\r\\n", acme.ask("RANDOMKEY"));
    acme.ask("SELECT 0");
    assert_eq!(":30\\r\\n", acme.ask("DBSIZE"));
    assert_eq!(numbered("a", 30), scanned(&mut acme, ""));
    assert_eq!(numbered("a", 10), scanned(&mut acme, " COUNT 3 MATCH a?"));
    assert_eq!(BTreeSet::new(), scanned(&mut acme, " TYPE list"));
    assert_eq!(numbered("a2", 10), names(&Tree::of(&acme.call(&["KEYS", "a2?"]))).collect());
    assert_eq!("*0\\r\\n", acme.ask("KEYS none"));
}

fn a_scan_misses_no_key_while_the_upstream_grows(kind: Kind) {
    let deployment = Deployment::start(kind);
    let proxy = deployment.proxy();
    let mut acme = proxy.acme();
    store(&mut acme, "a", 3_000);
    let growing = {
        let (mut acme, mut globex) = (proxy.acme(), proxy.globex());
        std::thread::spawn(move || {
            for round in 0..20 {
                store(&mut acme, &format!("late{round}-"), 500);
                store(&mut globex, &format!("late{round}-"), 2_000);
            }
        })
    };
    // At least one while it grows, and one after.
    loop {
        let is_last = growing.is_finished();
        let seen = scanned(&mut acme, " COUNT 100");
        assert!(numbered("a", 3_000).is_subset(&seen));
        assert!(seen.iter().all(|name| name.starts_with('a') || name.starts_with("late")));
        if is_last {
            break;
        }
    }
    growing.join().expect("all is stored");
    assert_eq!(":13000\\r\\n", acme.ask("DBSIZE"));
}

fn a_flush_deletes_what_is_the_tenants_and_nothing_else(kind: Kind) {
    let deployment = Deployment::start(kind);
    let proxy = deployment.proxy();
    let (mut acme, mut globex) = (proxy.acme(), proxy.globex());
    deployment.store(&numbered("acmeother:", 100));
    store(&mut globex, "g", 100);
    store(&mut acme, "a", 2_500);
    acme.ask("SELECT 1");
    store(&mut acme, "b", 100);
    assert_eq!("+OK\\r\\n", acme.ask("FLUSHDB ASYNC"));
    assert_eq!(":0\\r\\n", acme.ask("DBSIZE"));
    assert_eq!(2_500, deployment.keys_with("acme:").len());
    store(&mut acme, "b", 100);
    assert_eq!("+OK\\r\\n", acme.ask("FLUSHALL"));
    let left: BTreeSet<String> = &numbered("acmeother:", 100) | &numbered("globex:g", 100);
    assert_eq!(left, deployment.keys());
}

fn a_flush_is_completed_although_its_client_has_gone(kind: Kind) {
    let deployment = Deployment::start(kind);
    let proxy = deployment.proxy();
    let mut acme = proxy.acme();
    store(&mut acme, "a", 20_000);
    acme.send(&words("FLUSHALL"));
    drop(acme);
    proxy.wait_for("the keys to go", || deployment.keys_with("acme").is_empty());
}

fn keys_are_moved_and_copied_between_the_databases_of_a_tenant(kind: Kind, protocol: Protocol) {
    let deployment = Deployment::start(kind);
    let proxy = deployment.proxy();
    let mut acme = protocol.connect(proxy.acme_port());
    // With a hash tag, so that a key is in one slot whatever its database.
    for (line, expected) in [
        ("SET {k} v EX 1000", "+OK\\r\\n"),
        ("COPY {k} {k} DB 2", ":1\\r\\n"),
        ("COPY {k} c{k} DB 1 DB 2", ":1\\r\\n"),
        ("COPY {k} c{k} DB 2", ":0\\r\\n"),
        ("COPY {k} c{k} DB 2 REPLACE", ":1\\r\\n"),
        ("MOVE {k} 2", ":0\\r\\n"),
        ("MOVE {k} 3", ":1\\r\\n"),
        ("MOVE {k} 3", ":0\\r\\n"),
        ("EXISTS {k}", ":0\\r\\n"),
    ] {
        assert_eq!(expected, acme.ask(line), "{line}");
    }
    let expected = ["acme@2:c{k}", "acme@2:{k}", "acme@3:{k}"].map(str::to_owned);
    assert_eq!(BTreeSet::from(expected), deployment.keys());
    acme.ask("SELECT 3");
    assert_eq!(":1\\r\\n", acme.ask("PERSIST {k}"), "a moved key keeps its time to live");
}

fn malformed_requests_are_refused_in_the_servers_words(kind: Kind) {
    let (direct, shared) = (RedisServer::start(), Deployment::start(kind));
    let proxy = shared.proxy();
    let (mut direct, mut acme) = (direct.client(), proxy.acme());
    for line in [
        "SCAN abc",
        "SCAN abc FOO",
        "SCAN 0x1",
        "SCAN -",
        "SCAN +-1",
        "SCAN 18446744073709551616",
        "SCAN 18446744073709551615",
        "SCAN -1",
        "SCAN 007",
        "SCAN 0 COUNT",
        "SCAN 0 COUNT 0",
        "SCAN 0 COUNT -1 COUNT 5",
        "SCAN 0 COUNT x FOO",
        "SCAN 0 COUNT 0 FOO",
        "SCAN 0 COUNT 01",
        "SCAN 0 COUNT 9223372036854775807",
        "SCAN 0 COUNT 9223372036854775808",
        "SCAN 0 FOO",
        "SCAN 0 MATCH",
        "SCAN 0 TYPE nonsense",
        "SCAN 0 NOVALUES",
        "SCAN",
        "KEYS",
        "KEYS a b",
        "DBSIZE x",
        "RANDOMKEY x",
        "FLUSHDB x",
        "FLUSHALL ASYNC SYNC",
        "MOVE {k}",
        "MOVE {k} 0",
        "MOVE {k} 16",
        "MOVE {k} -1",
        "MOVE {k} 01",
        "MOVE {k} x",
        "MOVE {k} 2147483648",
        "MOVE nothing{k} 1",
        "COPY {k} {k} DB 0",
        "COPY {k} {k} DB 1 DB 0",
        "COPY {k} {k} DB",
        "COPY {k} {k} DB 16 FOO",
        "COPY {k} {k} DB x FOO",
        "COPY {k} {k} DB 99999999999",
        "COPY {k} {k} REPLACE FOO",
        "COPY nothing{k} {k} DB 1",
    ] {
        assert_eq!(direct.ask(line), acme.ask(line), "{line}");
    }
    let nul = command(&[b"SCAN".as_slice(), b"0\0abc"]);
    let ask = |client: &mut Client| {
        client.send(&nul);
        show(&client.frame())
    };
    assert_eq!(ask(&mut direct), ask(&mut acme));
}
