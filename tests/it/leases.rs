//! Connections of one's own: their bound, their loss, what they are counted for, and whom they hurt.

use crate::servers::{Deployment, Kind, Proxy, RedisServer, Setup, connections_with, on_every_deployment};
use crate::texts::{NOT_SENT, PERHAPS_EXECUTED, UNAVAILABLE};
use crate::wire::{Client, command, show, words};

on_every_deployment! {
    a_client_that_gets_no_connection_of_its_own_is_told_in_time_and_goes_on,
    a_client_that_waits_for_a_connection_gets_the_one_that_is_given_back,
    an_element_is_not_popped_for_a_client_that_has_gone,
    nobody_waits_for_replicas_for_a_client_that_has_gone,
    what_waits_behind_a_blocking_command_is_answered_in_order_and_runs_after_it,
    a_database_selected_in_a_transaction_that_failed_is_not,
    gauges_tell_what_connections_are_held_for,
    a_connection_that_is_given_back_remembers_nothing,
    a_subscribers_connection_is_not_given_back,
    a_subscriber_that_does_not_read_is_cut_off_and_nobody_else_is,
    transactions_without_watch_need_no_connection_of_their_own,
}

/// A proxy before `url` with more lines for its upstream.
fn proxy_with(url: String, upstream_lines: &str) -> Proxy {
    let mut setup = Setup::for_upstream(url);
    setup.upstream_lines = upstream_lines.into();
    Proxy::start(&setup)
}

fn leases(proxy: &Proxy, reason: &str) -> String {
    let page = proxy.admin("/metrics").expect("metrics").body;
    let series = format!("tenantry_leases{{upstream=\"main\",reason=\"{reason}\"}} ");
    page.lines().find_map(|line| line.strip_prefix(&series)).unwrap_or("absent").to_owned()
}

fn a_client_that_gets_no_connection_of_its_own_is_told_in_time_and_goes_on(kind: Kind) {
    let deployment = Deployment::start(kind);
    let proxy = proxy_with(deployment.url(), "max_leases = 1\nlease_wait = \"50ms\"");
    let mut first = proxy.acme();
    first.send(&words("BLPOP queue 0"));
    proxy.wait_for("the first client to block", || deployment.connections_with('b') == 1);
    let mut second = proxy.acme();
    second.send(&[words("BLPOP queue 0"), words("GET k")].concat());
    let refused = show(&second.frame());
    assert!(refused.starts_with(UNAVAILABLE) && refused.contains(NOT_SENT), "{refused}");
    assert_eq!("$-1\\r\\n", show(&second.frame()));
    assert_eq!(":1\\r\\n", second.ask("RPUSH queue v"));
    assert_eq!("*2\\r\\n$5\\r\\nqueue\\r\\n$1\\r\\nv\\r\\n", show(&first.frame()));
    // The connection is free again.
    second.send(&words("BLPOP queue 0"));
    assert_eq!(":1\\r\\n", first.ask("RPUSH queue w"));
    assert_eq!("*2\\r\\n$5\\r\\nqueue\\r\\n$1\\r\\nw\\r\\n", show(&second.frame()));
}

/// It must not give back the first to get the second, and so on for ever.
#[test]
fn a_client_that_needs_two_connections_and_gets_one_is_told_in_time() {
    let redis = RedisServer::start();
    let proxy = proxy_with(redis.url(), "max_leases = 1\nlease_wait = \"50ms\"");
    let (mut client, mut other) = (proxy.acme(), proxy.acme());
    let id = other.ask("CLIENT ID").trim_matches([':', '\\', 'r', 'n']).to_owned();
    let refused = client.ask(&format!("CLIENT TRACKING ON REDIRECT {id}"));
    assert!(refused.starts_with(UNAVAILABLE) && refused.contains(NOT_SENT), "{refused}");
    // It has let go of the one it had.
    other.send(&words("BLPOP queue 0"));
    assert_eq!(":1\\r\\n", client.ask("RPUSH queue v"));
    assert_eq!("*2\\r\\n$5\\r\\nqueue\\r\\n$1\\r\\nv\\r\\n", show(&other.frame()));
}

fn a_client_that_waits_for_a_connection_gets_the_one_that_is_given_back(kind: Kind) {
    let deployment = Deployment::start(kind);
    let proxy = proxy_with(deployment.url(), "max_leases = 1\nlease_wait = \"1h\"");
    let mut first = proxy.acme();
    first.send(&words("BLPOP queue 0"));
    proxy.wait_for("the first client to block", || deployment.connections_with('b') == 1);
    let mut second = proxy.acme();
    second.send(&[words("SUBSCRIBE news"), words("PING")].concat());
    drop(first);
    assert_eq!("*3\\r\\n$9\\r\\nsubscribe\\r\\n$4\\r\\nnews\\r\\n:1\\r\\n", show(&second.frame()));
    assert_eq!("*2\\r\\n$4\\r\\npong\\r\\n$0\\r\\n\\r\\n", show(&second.frame()));
}

fn an_element_is_not_popped_for_a_client_that_has_gone(kind: Kind) {
    let deployment = Deployment::start(kind);
    let proxy = deployment.proxy();
    for command in ["BLPOP {q} 0", "BLMOVE {q} {q}other LEFT RIGHT 0", "BLMPOP 0 1 {q} LEFT"] {
        let mut gone = proxy.acme();
        gone.send(&[words(command), words("SET behind 1")].concat());
        proxy.wait_for("it to block", || deployment.connections_with('b') == 1);
        drop(gone);
        proxy.wait_for("its connection to end", || deployment.connections_with('b') == 0);
        let mut stays = proxy.acme();
        assert_eq!(":1\\r\\n", stays.ask("RPUSH {q} v"));
        assert_eq!("$1\\r\\nv\\r\\n", stays.ask("LPOP {q}"), "{command}");
        assert_eq!("$-1\\r\\n", stays.ask("GET behind"), "{command}");
    }
}

fn nobody_waits_for_replicas_for_a_client_that_has_gone(kind: Kind) {
    let deployment = Deployment::start(kind);
    let proxy = deployment.proxy();
    let mut gone = proxy.acme();
    gone.send(&words("WAIT 9 0"));
    let waiting = deployment.primaries().len();
    proxy.wait_for("it to wait", || deployment.connections_with('b') == waiting);
    drop(gone);
    proxy.wait_for("its connections to end", || deployment.connections_with('b') == 0);
}

fn what_waits_behind_a_blocking_command_is_answered_in_order_and_runs_after_it(kind: Kind) {
    let deployment = Deployment::start(kind);
    let proxy = deployment.proxy();
    let (mut blocked, mut other) = (proxy.acme(), proxy.acme());
    let pipeline = ["BLPOP queue 0", "PING", "SET after 1", "BLPOP queue 0", "GET after", "ECHO end"];
    blocked.send(&pipeline.iter().flat_map(|line| words(line)).collect::<Vec<u8>>());
    proxy.wait_for("it to block", || deployment.connections_with('b') == 1);
    assert_eq!("$-1\\r\\n", other.ask("GET after"));
    assert_eq!(":1\\r\\n", other.ask("RPUSH queue a"));
    let heard: Vec<String> = blocked.frames(3).iter().map(|frame| show(frame)).collect();
    assert_eq!(["*2\\r\\n$5\\r\\nqueue\\r\\n$1\\r\\na\\r\\n", "+PONG\\r\\n", "+OK\\r\\n"], heard[..]);
    assert_eq!(":1\\r\\n", other.ask("RPUSH queue b"));
    let heard: Vec<String> = blocked.frames(3).iter().map(|frame| show(frame)).collect();
    assert_eq!(
        ["*2\\r\\n$5\\r\\nqueue\\r\\n$1\\r\\nb\\r\\n", "$1\\r\\n1\\r\\n", "$3\\r\\nend\\r\\n"],
        heard[..]
    );
}

#[test]
fn a_lost_connection_of_ones_own_is_never_silent() {
    let mut redis = RedisServer::start();
    let proxy = Proxy::before(&redis);
    let mut observer = redis.client();
    let (mut blocked, mut watching) = (proxy.acme(), proxy.acme());
    let (mut subscribed, mut tracking) = (proxy.acme(), Client::tcp_resp3(proxy.acme_port()));
    assert_eq!("+OK\\r\\n", watching.ask("WATCH k"));
    assert_eq!("*3\\r\\n$9\\r\\nsubscribe\\r\\n$1\\r\\nc\\r\\n:1\\r\\n", subscribed.ask("SUBSCRIBE c"));
    assert_eq!("+OK\\r\\n", tracking.ask("CLIENT TRACKING ON"));
    blocked.send(&words("BLPOP queue 0"));
    proxy.wait_for("it to block", || connections_with(&mut observer, 'b') == 1);
    redis.kill();
    let lost = show(&blocked.frame());
    assert!(lost.starts_with(UNAVAILABLE) && lost.contains(PERHAPS_EXECUTED), "{lost}");
    // Whoever would be told nothing more must know, as if it had lost Redis itself.
    assert_eq!(b"".to_vec(), subscribed.until_closed());
    assert_eq!(b"".to_vec(), tracking.until_closed());
    redis.restart();
    proxy.ask_until_served(&mut blocked, "SET k again");
    // What was watched may have changed.
    assert_eq!("+OK\\r\\n", watching.ask("MULTI"));
    assert_eq!("+QUEUED\\r\\n", watching.ask("SET k mine"));
    assert_eq!("*-1\\r\\n", watching.ask("EXEC"));
    // Its worker may be another one, which connects when it does.
    assert_eq!("$5\\r\\nagain\\r\\n", proxy.ask_until_served(&mut watching, "GET k"));
}

fn a_database_selected_in_a_transaction_that_failed_is_not(kind: Kind) {
    let deployment = Deployment::start(kind);
    let proxy = deployment.proxy();
    let (mut client, mut other) = (proxy.acme(), proxy.acme());
    assert_eq!("+OK\\r\\n", client.ask("WATCH {k}"));
    assert_eq!("+OK\\r\\n", other.ask("SET {k} other"));
    for line in [
        "MULTI",
        "SELECT 1",
        "SET {k} transaction",
        "EXEC",
        "GET {k}",
        "MULTI",
        "SELECT 1",
        "GET {k}",
        "EXEC",
        "GET {k}",
    ] {
        client.send(&words(line));
    }
    let heard: Vec<String> = client.frames(10).iter().map(|frame| show(frame)).collect();
    assert_eq!(["*-1\\r\\n", "$5\\r\\nother\\r\\n"], heard[3..5]);
    assert_eq!(["*2\\r\\n+OK\\r\\n$-1\\r\\n", "$-1\\r\\n"], heard[8..]);
}

fn gauges_tell_what_connections_are_held_for(kind: Kind) {
    let deployment = Deployment::start(kind);
    let proxy = deployment.proxy();
    let (mut blocked, mut watching) = (proxy.acme(), proxy.acme());
    let (mut subscribed, mut tracking) = (proxy.acme(), Client::tcp_resp3(proxy.acme_port()));
    watching.ask("WATCH k");
    subscribed.ask("SUBSCRIBE c");
    tracking.ask("CLIENT TRACKING ON");
    // On a cluster nothing is tracked.
    let tracks = if kind == Kind::Cluster { "0" } else { "1" };
    blocked.send(&words("BLPOP queue 0"));
    proxy.wait_for("it to block", || deployment.connections_with('b') == 1);
    for (reason, held) in [("blocked", "1"), ("watching", "1"), ("subscribed", "1"), ("tracking", tracks)] {
        proxy.wait_for(reason, || leases(&proxy, reason) == held);
    }
    drop((blocked, watching, subscribed, tracking));
    for reason in ["blocked", "watching", "subscribed", "tracking"] {
        proxy.wait_for(reason, || leases(&proxy, reason) == "0");
    }
}

fn a_connection_that_is_given_back_remembers_nothing(kind: Kind) {
    let deployment = Deployment::start(kind);
    let proxy = proxy_with(deployment.url(), "max_leases = 1");
    let (mut first, mut second) = (proxy.acme(), proxy.globex());
    // The lease of a watcher goes to the next one once EXEC, DISCARD or UNWATCH has been answered.
    for end in [vec!["MULTI", "EXEC"], vec!["MULTI", "DISCARD"], vec!["UNWATCH"]] {
        assert_eq!("+OK\\r\\n", first.ask("WATCH k"));
        for line in end {
            first.ask(line);
        }
        assert_eq!("+OK\\r\\n", first.ask("SET k changed"));
        assert_eq!("+OK\\r\\n", second.ask("WATCH k"));
        assert_eq!("+OK\\r\\n", first.ask("SET k again"));
        assert_eq!("+OK\\r\\n", second.ask("MULTI"));
        assert_eq!("+QUEUED\\r\\n", second.ask("SET k 1"));
        assert_eq!("*1\\r\\n+OK\\r\\n", second.ask("EXEC"));
    }
}

fn a_subscribers_connection_is_not_given_back(kind: Kind) {
    let deployment = Deployment::start(kind);
    let proxy = deployment.proxy();
    for line in ["SUBSCRIBE c", "PSUBSCRIBE *"] {
        let mut subscriber = proxy.acme();
        subscriber.ask(line);
        assert_eq!("+RESET\\r\\n", subscriber.ask("RESET"));
        proxy.wait_for("its connection to end", || deployment.connections_with('P') == 0);
    }
}

fn a_subscriber_that_does_not_read_is_cut_off_and_nobody_else_is(kind: Kind) {
    const BATCH: usize = 16;
    let deployment = Deployment::start(kind);
    let mut setup = Setup::for_upstream(deployment.url());
    setup.downstream_lines = "max_subscriber_output = \"64KiB\"";
    let proxy = Proxy::start(&setup);
    let (mut slow, mut quick, mut publisher) = (proxy.acme(), proxy.acme(), proxy.acme());
    slow.ask("SUBSCRIBE c");
    quick.ask("SUBSCRIBE c");
    let message = "x".repeat(16 * 1024);
    let batch = command(&["PUBLISH", "c", message.as_str()]).repeat(BATCH);
    let mut heard = 0;
    // The kernel's buffers hold some megabytes before the proxy's bound is reached.
    proxy.wait_for("the slow one to be cut off", || {
        publisher.send(&batch);
        quick.frames(BATCH);
        heard += BATCH;
        publisher.frames(BATCH).last().is_some_and(|receivers| receivers == b":1\r\n")
    });
    proxy.wait_for("its connection to end", || deployment.connections_with('P') == 1);
    assert!(heard > 4, "{heard}");
    assert_eq!(":1\\r\\n", publisher.ask("PUBLISH c end"));
    assert_eq!("*3\\r\\n$7\\r\\nmessage\\r\\n$1\\r\\nc\\r\\n$3\\r\\nend\\r\\n", show(&quick.frame()));
}

fn transactions_without_watch_need_no_connection_of_their_own(kind: Kind) {
    let deployment = Deployment::start(kind);
    let proxy = deployment.proxy();
    let mut clients: Vec<Client> = (0..50).map(|_| proxy.acme()).collect();
    let before = deployment.connections_with('N');
    let transaction: Vec<u8> = ["MULTI", "INCR {t}n", "GET {t}n", "LPUSH {t}l x", "LTRIM {t}l 0 9", "EXEC"]
        .iter()
        .flat_map(|line| words(line))
        .collect();
    for client in &mut clients {
        client.send(&transaction);
    }
    assert_eq!(before, deployment.connections_with('N'));
    for client in &mut clients {
        let replies = client.frames(6);
        assert!(replies[5].starts_with(b"*4\r\n:"), "{}", show(&replies[5]));
    }
    assert_eq!(before, deployment.connections_with('N'));
    assert_eq!("$2\\r\\n50\\r\\n", clients[0].ask("GET {t}n"));
}

#[test]
fn native_databases_are_those_of_the_upstream() {
    let redis = RedisServer::start();
    let mut setup = Setup::for_upstream(redis.url());
    setup.top_lines = "databases = \"native\"";
    let proxy = Proxy::start(&setup);
    let (mut acme, mut globex, mut direct) = (proxy.acme(), proxy.globex(), redis.client());
    for line in
        ["SELECT 3", "SET k in3", "COPY k k4 DB 4", "MOVE k 5", "SELECT 5", "WATCH k", "MULTI", "GET k"]
    {
        acme.ask(line);
    }
    assert_eq!("*1\\r\\n$3\\r\\nin3\\r\\n", acme.ask("EXEC"));
    assert_eq!("+OK\\r\\n", direct.ask("SELECT 5"));
    assert_eq!("$3\\r\\nin3\\r\\n", direct.ask("GET acme:k"));
    assert_eq!("+OK\\r\\n", direct.ask("SELECT 4"));
    assert_eq!("$3\\r\\nin3\\r\\n", direct.ask("GET acme:k4"));
    globex.ask("SELECT 5");
    assert_eq!("+OK\\r\\n", globex.ask("SET k theirs"));
    assert_eq!(":1\\r\\n", acme.ask("DBSIZE"));
    assert_eq!("+OK\\r\\n", acme.ask("FLUSHALL"));
    assert_eq!(":0\\r\\n", direct.ask("EXISTS acme:k4"));
    assert_eq!("$6\\r\\ntheirs\\r\\n", globex.ask("GET k"));
    // A connection of its own follows SELECT, and does not take the database to the next client.
    acme.ask("SELECT 2");
    acme.ask("WATCH k");
    acme.ask("SELECT 7");
    assert_eq!("+OK\\r\\n", acme.ask("SET where 7"));
    assert_eq!("+OK\\r\\n", acme.ask("UNWATCH"));
    direct.ask("SELECT 7");
    assert_eq!("$1\\r\\n7\\r\\n", direct.ask("GET acme:where"));
}
