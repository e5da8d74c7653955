//! What a tenant, a user or a class of commands may take: counted exactly by refills that take most of an hour.

use crate::servers::{Proxy, RedisServer, Setup};
use crate::wire::{Client, show, words};

/// A proxy with these limits of tenants, and its Redis.
fn limited(sections: &'static str) -> (RedisServer, Proxy) {
    let redis = RedisServer::start();
    let proxy = Proxy::start(&Setup { sections, ..Setup::for_upstream(redis.url()) });
    (redis, proxy)
}

/// The replies to these lines, sent in one piece.
fn pipelined(client: &mut Client, lines: &[&str]) -> Vec<String> {
    client.send(&lines.iter().flat_map(|line| words(line)).collect::<Vec<u8>>());
    client.frames(lines.len()).iter().map(|reply| show(reply)).collect()
}

/// As `show` writes it.
fn escaped(text: &str) -> String {
    text.replace('\'', "\\'")
}

fn is_limited(reply: &str, by: &str) -> bool {
    let rest = reply.strip_prefix("-RATELIMITED ").and_then(|rest| rest.strip_prefix(&escaped(by)));
    rest.and_then(|rest| rest.strip_prefix("; retry in ")).is_some_and(|rest| rest.ends_with(" ms\\r\\n"))
}

#[track_caller]
fn assert_limited(by: &str, reply: &str) {
    assert!(is_limited(reply, by), "{reply}");
}

/// Waits until so many requests or connections are counted for the limit of a tenant.
fn wait_for_count(proxy: &Proxy, count: u32, tenant: &str, limit: &str, action: &str) {
    let line = format!(
        "tenantry_limited_requests_total{{tenant=\"{tenant}\",limit=\"{limit}\",action=\"{action}\"}} {count}"
    );
    proxy.wait_for(&line, || {
        proxy.admin("/metrics").expect("the admin port answers").body.lines().any(|found| found == line)
    });
}

const TEN_REQUESTS: &str = "[tenant.acme.limits]\nrequests_per_second = { rate = 0.0003, burst = 10 }\n";
const ACME: &str = "tenant 'acme' exceeded 0.0003 requests/s";
const NULL: &str = "$-1\\r\\n";

#[test]
fn a_tenant_gets_its_burst_and_no_request_more_over_all_connections() {
    let (_redis, proxy) = limited(TEN_REQUESTS);
    let (mut first, mut second, mut globex) = (proxy.acme(), proxy.acme_by_socket(), proxy.globex());
    for _ in 0..5 {
        assert_eq!(NULL, first.ask("GET k"));
        assert_eq!(NULL, second.ask("GET k"));
    }
    for client in [&mut first, &mut second, &mut proxy.acme()] {
        assert_limited(ACME, &client.ask("GET k"));
        assert_limited(ACME, &client.ask("PING"));
    }
    let of_globex: Vec<String> = (0..20).map(|_| globex.ask("GET k")).collect();
    assert_eq!(vec![NULL; 20], of_globex);
    wait_for_count(&proxy, 6, "acme", "requests", "rejected");
}

#[test]
fn several_workers_share_one_budget_exactly() {
    let redis = RedisServer::start();
    let sections = "[tenant.acme.limits]\nrequests_per_second = { rate = 0.0003, burst = 123 }\n";
    let proxy = Proxy::start(&Setup { sections, workers: 4, ..Setup::for_upstream(redis.url()) });
    let mut clients: Vec<Client> = (0..16).map(|_| proxy.acme()).collect();
    for client in &mut clients {
        client.send(&words("INCR n").repeat(50));
    }
    let replies: Vec<String> =
        clients.iter_mut().flat_map(|client| client.frames(50)).map(|reply| show(&reply)).collect();
    assert_eq!(123, replies.iter().filter(|reply| reply.starts_with(':')).count());
    assert_eq!(677, replies.iter().filter(|reply| is_limited(reply, ACME)).count());
    assert_eq!("$3\\r\\n123\\r\\n", Client::tcp(redis.port).ask("GET acme:n"));
}

#[test]
fn replies_stay_in_order_whoever_gives_them() {
    let (_redis, proxy) = limited(TEN_REQUESTS);
    let mut client = proxy.acme();
    let replies =
        pipelined(&mut client, &["SET k v", "PING", "GET k", "ECHO a", "GET k", "PING", "APPEND k w"]);
    let expected = [
        "+OK\\r\\n",
        "+PONG\\r\\n",
        "$1\\r\\nv\\r\\n",
        "$1\\r\\na\\r\\n",
        "$1\\r\\nv\\r\\n",
        "+PONG\\r\\n",
        ":2\\r\\n",
    ];
    assert_eq!(expected.to_vec(), replies);
    let replies = pipelined(&mut client, &["GET k", "PING", "GET k", "GET k", "UNWATCH", "PING", "EXEC"]);
    assert_eq!(["$2\\r\\nvw\\r\\n", "+PONG\\r\\n", "$2\\r\\nvw\\r\\n"].to_vec(), replies[..3]);
    assert_limited(ACME, &replies[3]);
    assert_eq!("+OK\\r\\n", replies[4]);
    assert_limited(ACME, &replies[5]);
    assert_eq!("-ERR EXEC without MULTI\\r\\n", replies[6]);
}

#[test]
fn a_user_has_limits_of_its_own_besides_its_tenants() {
    let (_redis, proxy) = limited(
        r#"
[tenant.acme.limits]
requests_per_second = { rate = 0.0003, burst = 6 }
[[tenant.acme.user]]
name = "bob"
secrets = ["sha256:cba98f988f2e420084bcd5700ca8ebdc8c2a17d47b9ede26e35dd9e0fb25b0c5"]
[tenant.acme.user.limits]
requests_per_second = { rate = 0.0002, burst = 3 }
"#,
    );
    let (mut bob, mut acme) = (proxy.open(), proxy.acme());
    assert_eq!("+OK\\r\\n", bob.ask("AUTH bob reports-secret"));
    let replies: Vec<String> = (0..3).map(|_| bob.ask("GET k")).collect();
    assert_eq!(vec![NULL; 3], replies);
    for _ in 0..5 {
        assert_limited("user 'bob' of tenant 'acme' exceeded 0.0002 requests/s", &bob.ask("GET k"));
    }
    // What bob was refused, the tenant has not lost.
    let replies: Vec<String> = (0..3).map(|_| acme.ask("GET k")).collect();
    assert_eq!(vec![NULL; 3], replies);
    assert_limited(ACME, &acme.ask("GET k"));
    assert_eq!("+OK\\r\\n", bob.ask("AUTH bob reports-secret"));
}

#[test]
fn a_class_of_commands_is_limited_by_itself() {
    let (_redis, proxy) = limited(
        r#"
[tenant.acme.limits.class.keys]
requests_per_second = { rate = 0.0003, burst = 2 }
[tenant.acme.limits.class.changes]
commands = "+@write -set"
requests_per_second = { rate = 0.0003, burst = 1 }
"#,
    );
    let mut client = proxy.acme();
    assert_eq!(["*0\\r\\n"; 2], [0; 2].map(|_| client.ask("KEYS *")));
    assert_limited("tenant 'acme' exceeded 0.0003 keys requests/s", &client.ask("KEYS *"));
    assert_eq!(":1\\r\\n", client.ask("INCR n"));
    assert_limited("tenant 'acme' exceeded 0.0003 changes requests/s", &client.ask("DEL n"));
    assert_eq!(["+OK\\r\\n"; 5], [0; 5].map(|_| client.ask("SET n 1")));
    wait_for_count(&proxy, 2, "acme", "class_requests", "rejected");
}

#[test]
fn bytes_of_requests_are_counted_as_they_were_sent() {
    let (_redis, proxy) =
        limited("[tenant.acme.limits]\nrequest_bytes_per_second = { rate = 0.01, burst = 1000 }\n");
    let mut client = proxy.acme();
    // Ten requests of 100 bytes each.
    let line = format!("SET k {}", "x".repeat(73));
    assert_eq!(100, words(&line).len());
    assert_eq!(vec!["+OK\\r\\n"; 9], pipelined(&mut client, &[line.as_str(); 9]));
    assert_limited("tenant 'acme' exceeded 0.01 request bytes/s", &client.ask(&format!("{line}y")));
    assert_eq!("+OK\\r\\n", client.ask(&line));
    assert_limited("tenant 'acme' exceeded 0.01 request bytes/s", &client.ask("PING"));
}

#[test]
fn a_large_reply_is_paid_for_afterwards() {
    let (_redis, proxy) =
        limited("[tenant.acme.limits]\nreply_bytes_per_second = { rate = 1, burst = 10000 }\n");
    let (mut client, mut other) = (proxy.acme(), proxy.acme());
    assert_eq!("+OK\\r\\n", client.ask(&format!("SET large {}", "x".repeat(50_000))));
    assert_eq!(50_012, client.call(&["GET", "large"]).len() + 2);
    for client in [&mut client, &mut other] {
        assert_limited("tenant 'acme' exceeded 1 reply bytes/s", &client.ask("GET small"));
    }
    assert_eq!("$-1\\r\\n", proxy.globex().ask("GET small"));
}

#[test]
fn replies_to_a_class_of_commands_are_paid_for_by_it() {
    let (_redis, proxy) =
        limited("[tenant.acme.limits.class.hash]\nreply_bytes_per_second = { rate = 1, burst = 100 }\n");
    let mut client = proxy.acme();
    assert_eq!(":1\\r\\n", client.ask(&format!("HSET h f {}", "x".repeat(1000))));
    assert_eq!("+OK\\r\\n", client.ask(&format!("SET s {}", "x".repeat(1000))));
    assert_eq!([1009, 1009], [0; 2].map(|_| client.call(&["GET", "s"]).len()));
    assert_eq!(1020, client.call(&["HGETALL", "h"]).len());
    assert_limited("tenant 'acme' exceeded 1 hash reply bytes/s", &client.ask("HGETALL h"));
    assert_eq!(1009, client.call(&["GET", "s"]).len());
}

#[test]
fn a_reply_is_paid_for_by_its_class_also_where_rules_amended_the_request() {
    let (_redis, proxy) = limited(
        r#"
[tenant.acme.limits.class.string]
reply_bytes_per_second = { rate = 1, burst = 100 }
[[tenant.acme.user]]
name = "bob"
secrets = ["sha256:cba98f988f2e420084bcd5700ca8ebdc8c2a17d47b9ede26e35dd9e0fb25b0c5"]
default_ttl = "1h"
"#,
    );
    let mut bob = proxy.open();
    assert_eq!("+OK\\r\\n", bob.ask("AUTH bob reports-secret"));
    assert_eq!("+OK\\r\\n", bob.ask(&format!("SET s {}", "x".repeat(1000))));
    assert_eq!(1009, bob.call(&["GETSET", "s", "v"]).len());
    assert_limited("tenant 'acme' exceeded 1 string reply bytes/s", &bob.ask("GETSET s v"));
}

#[test]
fn a_tenant_has_so_many_connections_and_others_have_theirs() {
    let (_redis, proxy) = limited("[tenant.acme.limits]\nconnections = 2\n");
    let (mut first, mut second) = (proxy.acme(), proxy.acme_by_socket());
    assert_eq!(["+PONG\\r\\n"; 2], [first.ask("PING"), second.ask("PING")]);
    let full =
        escaped("-ERR max number of clients reached: tenant 'acme' has 2 connections, limit is 2\\r\\n");
    assert_eq!(full, show(&proxy.acme().until_closed()));
    let mut user = proxy.open();
    assert_eq!(full, user.ask("AUTH acme acme-secret"));
    assert_eq!(full, user.ask("HELLO 3 AUTH archive reports-secret"));
    assert_eq!("-NOAUTH Authentication required.\\r\\n", user.ask("PING"));
    assert_eq!("+OK\\r\\n", user.ask("AUTH globex globex-secret"));
    assert_eq!("+PONG\\r\\n", proxy.globex().ask("PING"));
    wait_for_count(&proxy, 3, "acme", "connections", "rejected");
    // Who has a place keeps it, whatever user of the tenant it becomes.
    assert_eq!("+OK\\r\\n", first.ask("AUTH acme acme-secret"));
    assert_eq!("+RESET\\r\\n", first.ask("RESET"));
    drop(second);
    proxy.wait_for("a place to be free", || user.ask("AUTH acme acme-secret") == "+OK\\r\\n");
    let limits = proxy.admin("/metrics").expect("metrics").body;
    assert!(limits.contains("tenantry_connection_limit{tenant=\"acme\"} 2\n"), "{limits}");
}

#[test]
fn a_tenant_has_so_many_requests_in_flight() {
    let (redis, proxy) = limited("[tenant.acme.limits]\nin_flight = 3\n");
    let refused = escaped("-RATELIMITED tenant 'acme' has 3 requests in flight, limit is 3\\r\\n");
    let mut client = proxy.acme();
    // All of one read: nothing is answered before all have been handled.
    let replies = pipelined(&mut client, &["INCR n"; 5]);
    assert_eq!([":1\\r\\n", ":2\\r\\n", ":3\\r\\n", &refused, &refused].to_vec(), replies);
    assert_eq!(":4\\r\\n", client.ask("INCR n"));
    let mut blocked: Vec<Client> = (0..3).map(|_| proxy.acme()).collect();
    for client in &mut blocked {
        client.send(&words("BLPOP queue 0"));
    }
    proxy.wait_for("three to be in flight", || client.ask("TENANTRY LIMITS").contains("current\\r\\n:3"));
    assert_eq!(refused, client.ask("GET k"));
    assert_eq!("$-1\\r\\n", proxy.globex().ask("GET k"));
    assert_eq!("+OK\\r\\n", client.ask("UNWATCH"));
    let mut direct = Client::tcp(redis.port);
    assert_eq!(":1\\r\\n", direct.ask("RPUSH acme:queue v"));
    proxy.wait_for("a place to be free", || client.ask("GET k") == "$-1\\r\\n");
    // Who goes leaves its place.
    blocked.clear();
    proxy.wait_for("all places to be free", || {
        pipelined(&mut client, &["GET k"; 3]).iter().all(|reply| reply == "$-1\\r\\n")
    });
}

#[test]
fn a_request_beyond_a_rate_can_wait_and_only_its_client_waits_with_it() {
    let (_redis, proxy) = limited(
        r#"
[tenant.acme.limits]
requests_per_second = { rate = 20, burst = 2 }
on_exceed = "delay"
max_delay = "1m"
"#,
    );
    let mut client = proxy.acme();
    client.send(&words("INCR n").repeat(6));
    assert_eq!(vec!["$-1\\r\\n"; 50], pipelined(&mut proxy.globex(), &["GET k"; 50]));
    let replies: Vec<String> = client.frames(6).iter().map(|reply| show(reply)).collect();
    assert_eq!((1..=6).map(|n| format!(":{n}\\r\\n")).collect::<Vec<_>>(), replies);
    wait_for_count(&proxy, 4, "acme", "requests", "delayed");
    let page = proxy.admin("/metrics").expect("metrics").body;
    assert!(page.contains("tenantry_limit_delay_seconds_count{tenant=\"acme\"} 4\n"), "{page}");
}

#[test]
fn a_request_that_would_wait_too_long_is_refused() {
    let (_redis, proxy) = limited(
        r#"
[tenant.acme.limits]
requests_per_second = { rate = 0.0003, burst = 2 }
on_exceed = "delay"
max_delay = "1m"
"#,
    );
    let replies = pipelined(&mut proxy.acme(), &["INCR n"; 4]);
    assert_eq!([":1\\r\\n", ":2\\r\\n"].to_vec(), replies[..2]);
    replies[2..].iter().for_each(|reply| assert_limited(ACME, reply));
}

#[test]
fn a_dry_run_counts_and_lets_pass() {
    let (_redis, proxy) = limited(
        r"
[tenant.acme.limits]
requests_per_second = { rate = 0.0003, burst = 2 }
connections = 1
in_flight = 1
dry_run = true
",
    );
    let (mut first, mut second) = (proxy.acme(), proxy.acme());
    assert_eq!(["+PONG\\r\\n"; 4], [0; 4].map(|_| first.ask("PING")));
    assert_eq!("+PONG\\r\\n", second.ask("PING"));
    wait_for_count(&proxy, 3, "acme", "requests", "dry_run");
    wait_for_count(&proxy, 1, "acme", "connections", "dry_run");
}

#[test]
fn a_refused_request_aborts_its_transaction_which_can_be_ended() {
    let (redis, proxy) =
        limited("[tenant.acme.limits]\nrequests_per_second = { rate = 0.0003, burst = 3 }\n");
    let replies = pipelined(&mut proxy.acme(), &["MULTI", "SET k v", "SET k w", "SET k x", "EXEC"]);
    assert_eq!(["+OK\\r\\n", "+QUEUED\\r\\n", "+QUEUED\\r\\n"].to_vec(), replies[..3]);
    assert_limited(ACME, &replies[3]);
    assert_eq!("-EXECABORT Transaction discarded because of previous errors.\\r\\n", replies[4]);
    assert_eq!("$-1\\r\\n", Client::tcp(redis.port).ask("GET acme:k"));
}

#[test]
fn what_ends_something_is_never_refused_but_paid_for() {
    let (_redis, proxy) =
        limited("[tenant.acme.limits]\nrequests_per_second = { rate = 0.0003, burst = 4 }\n");
    let mut client = proxy.acme();
    let replies = pipelined(&mut client, &["MULTI", "DISCARD", "SUBSCRIBE news", "GET k", "GET k"]);
    assert_eq!("-ERR Can\\'t execute", &replies[3][..19]);
    assert_limited(ACME, &replies[4]);
    let replies = pipelined(
        &mut client,
        &["UNSUBSCRIBE", "HELLO 2", "RESET", "AUTH acme acme-secret", "GET k", "QUIT"],
    );
    assert_eq!("+RESET\\r\\n+OK\\r\\n", replies[2..4].concat());
    assert_limited(ACME, &replies[4]);
    assert_eq!("+OK\\r\\n", replies[5]);
}

/// It is asked about again when the connection that it needs is there.
#[test]
fn a_request_that_waits_for_a_connection_of_its_own_is_paid_for_once() {
    let (_redis, proxy) =
        limited("[tenant.acme.limits]\nrequests_per_second = { rate = 0.0003, burst = 5 }\n");
    let mut client = proxy.acme();
    let replies =
        pipelined(&mut client, &["RPUSH q a b", "BLPOP q 0", "WATCH q", "MULTI", "GET k", "EXEC", "GET k"]);
    let expected = [
        ":2\\r\\n",
        "*2\\r\\n$1\\r\\nq\\r\\n$1\\r\\na\\r\\n",
        "+OK\\r\\n",
        "+OK\\r\\n",
        "+QUEUED\\r\\n",
        "*1\\r\\n$-1\\r\\n",
    ];
    assert_eq!(expected.to_vec(), replies[..6]);
    assert_limited(ACME, &replies[6]);
}

#[test]
fn a_client_can_ask_what_it_may_take() {
    let (_redis, proxy) = limited(
        r#"
[tenant.acme.limits]
requests_per_second = { rate = 1000000, burst = 500 }
connections = 100
in_flight = 64
[tenant.acme.limits.class.keys]
requests_per_second = 10
[[tenant.acme.user]]
name = "bob"
secrets = ["sha256:cba98f988f2e420084bcd5700ca8ebdc8c2a17d47b9ede26e35dd9e0fb25b0c5"]
[tenant.acme.user.limits]
reply_bytes_per_second = { rate = 0.5, burst = 7 }
"#,
    );
    let told = |name: &str, limit: &str, numbers: [u32; 4], map: &str| {
        let [burst, current, remaining, reset] = numbers;
        let text = |text: &str| format!("${}\\r\\n{text}\\r\\n", text.len());
        let numbers = [("burst", burst), ("current", current), ("remaining", remaining), ("reset", reset)];
        let numbers = numbers.map(|(field, number)| format!("{}:{number}\\r\\n", text(field))).concat();
        let texts = [("name", name), ("scope", "process"), ("limit", limit)];
        let texts = texts.map(|(field, value)| text(field) + &text(value)).concat();
        format!("{map}\\r\\n{texts}{numbers}")
    };
    let of_tenant = |map| {
        [
            told("tenant.class.keys.requests_per_second", "10", [10, 0, 10, 0], map),
            told("tenant.connections", "100", [100, 1, 99, 0], map),
            told("tenant.in_flight", "64", [64, 0, 64, 0], map),
        ]
        .concat()
    };
    // Longer than what is shown of a reply elsewhere.
    let limits = |client: &mut Client| {
        let reply = String::from_utf8(client.call(&["TENANTRY", "LIMITS"])).expect("limits are text");
        reply.replace("\r\n", "\\r\\n")
    };
    let mut client = proxy.acme();
    let reply = limits(&mut client);
    let (first, rest) = reply.split_once("tenant.class.keys").expect("the class has a limit");
    let head = "*4\\r\\n*14\\r\\n$4\\r\\nname\\r\\n$26\\r\\ntenant.requests_per_second\\r\\n$5\\r\\nscope\\r\\n$7\\r\\nprocess\\r\\n$5\\r\\nlimit\\r\\n$7\\r\\n1000000\\r\\n";
    assert!(first.starts_with(head), "{first}");
    assert!(of_tenant("*14").ends_with(rest), "{rest}");
    drop(client);
    let mut bob = proxy.open();
    let hello = bob.ask("HELLO 3 AUTH bob reports-secret");
    assert!(hello.starts_with("%7"), "{hello}");
    let reply = limits(&mut bob);
    let user = told("user.reply_bytes_per_second", "0.5", [7, 0, 7, 0], "%7");
    // The reply to HELLO has been paid for by then.
    let (before, _) = user.split_once("current").expect("it says what is taken");
    assert!(reply.contains(before), "{reply}");
    // Without limits there is nothing to tell.
    assert_eq!("*0\\r\\n", proxy.globex().ask("TENANTRY LIMITS"));
}
