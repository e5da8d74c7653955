//! More than the proxy can hold: it refuses the newest and closes the heaviest, and everybody else is served.

use crate::servers::{Proxy, RedisServer, Setup};
use crate::wire::{Client, command, show};

/// A value that is large beside the ceilings below.
const LARGE: usize = 1 << 20;

fn metric(proxy: &Proxy, series: &str) -> u64 {
    let page = proxy.admin("/metrics").expect("the admin port answers").body;
    let value =
        |line: &str| line.strip_prefix("tenantry_")?.strip_prefix(series)?.strip_prefix(' ')?.parse().ok();
    page.lines().find_map(value).unwrap_or_else(|| panic!("no series {series} in\n{page}"))
}

fn evicted(proxy: &Proxy, limit: &str) -> u64 {
    metric(proxy, &format!("clients_evicted_total{{bound=\"{limit}\"}}"))
}

/// A proxy with these lines under `[downstream]` and at the top.
fn proxy_with(redis: &RedisServer, downstream_lines: &'static str, top_lines: &'static str) -> Proxy {
    let setup = Setup { downstream_lines, top_lines, max_bulk: "1MiB", ..Setup::for_upstream(redis.url()) };
    Proxy::start(&setup)
}

/// A client that asks for the large value so many times and does not read it.
fn slow_reader(proxy: &Proxy, times: usize) -> Client {
    let mut client = proxy.acme();
    client.send(&command(&["GET", "large"]).repeat(times));
    client
}

fn store_large_value(proxy: &Proxy) {
    let value = "x".repeat(LARGE);
    assert_eq!(b"+OK\r\n".to_vec(), proxy.acme().call(&["SET", "large", &value]));
}

#[test]
fn clients_that_do_not_read_are_closed_before_memory_runs_out_and_others_are_served() {
    let redis = RedisServer::start();
    let proxy = proxy_with(&redis, "", "max_memory = \"128MiB\"");
    store_large_value(&proxy);
    let mut bystander = proxy.acme();
    // Four times the ceiling, if all of it were held.
    let slow: Vec<Client> = (0..16).map(|_| slow_reader(&proxy, 32)).collect();
    let mut answers = [0_u64; 2];
    proxy.wait_for("clients to be evicted", || {
        let reply = bystander.ask("INCR served");
        let is_refused = reply.starts_with("-UNAVAILABLE the proxy is short of memory");
        assert!(is_refused || reply.starts_with(':'), "{reply}");
        answers[usize::from(is_refused)] += 1;
        assert!(proxy.resident_kib() < 128 << 10, "{} KiB", proxy.resident_kib());
        evicted(&proxy, "max_memory") > 0
    });
    drop(slow);
    proxy.wait_for("memory to be normal", || metric(&proxy, "memory_level") == 0);
    let [served, _] = answers;
    assert!(served > 0, "a small request of somebody else was refused each time");
    assert_eq!(
        format!(":{}\\r\\n", served + 1),
        bystander.ask("INCR served"),
        "what was refused was not done"
    );
}

/// Clients that hold a MiB each and must not be evicted, so many that memory is tight and stays so.
fn make_memory_tight(proxy: &Proxy) -> Vec<Client> {
    let half = format!("*100\r\n$4\r\nMSET\r\n${LARGE}\r\n{}", "x".repeat(LARGE - 64));
    let mut holders = Vec::new();
    while metric(proxy, "memory_level") < 2 {
        let mut holder = proxy.acme();
        // Unless it has just become so, and the new one is refused.
        if holder.ask("CLIENT NO-EVICT ON") == "+OK\\r\\n" {
            holder.send(half.as_bytes());
        }
        holders.push(holder);
        assert!(holders.len() < 64, "more than the ceiling, and memory is not tight");
    }
    holders
}

#[test]
fn while_memory_is_tight_the_new_and_the_large_are_refused_and_all_others_go_on() {
    const REFUSED: &str =
        "-UNAVAILABLE the proxy is short of memory; the command was not sent; retry in 100 ms\\r\\n";
    let redis = RedisServer::start();
    let proxy = proxy_with(&redis, "", "max_memory = \"64MiB\"");
    let (mut client, mut waiting) = (proxy.acme(), proxy.acme());
    waiting.send(&command(&["BLPOP", "list", "0"]));
    let large = "x".repeat(16 << 10);
    assert_eq!("+OK\\r\\n", show(&client.call(&["SET", "k", &large])));
    let holders = make_memory_tight(&proxy);
    let refused = proxy.acme().until_closed();
    let expected =
        "-UNAVAILABLE the proxy is short of memory and takes no new connections; retry in 1000 ms\\r\\n";
    assert_eq!(expected, show(&refused));
    assert_eq!(REFUSED, show(&client.call(&["SET", "k", &large])));
    assert_eq!(REFUSED, client.ask("KEYS *"));
    assert_eq!("+OK\\r\\n", client.ask("SET k small"));
    assert_eq!("$5\\r\\nsmall\\r\\n", client.ask("GET k"));
    assert_eq!("+OK\\r\\n", client.ask("MULTI"));
    assert_eq!(REFUSED, show(&client.call(&["SET", "k", &large])));
    let aborted = "-EXECABORT Transaction discarded because of previous errors.\\r\\n";
    assert_eq!(aborted, client.ask("EXEC"));
    // What was accepted before is finished.
    assert_eq!(":1\\r\\n", client.ask("RPUSH list element"));
    assert_eq!("*2\\r\\n$4\\r\\nlist\\r\\n$7\\r\\nelement\\r\\n", show(&waiting.frame()));
    assert_eq!("ready\n", proxy.wait_for_readiness(200, ""), "other instances would not be better off");
    drop(holders);
    proxy.wait_for("memory to be normal", || metric(&proxy, "memory_level") == 0);
    assert_eq!("+OK\\r\\n", show(&proxy.acme().call(&["SET", "k", &large])));
    proxy.wait_for("refusals to be counted", || {
        let count = |what: &str| metric(&proxy, &format!("refused_for_memory_total{{what=\"{what}\"}}"));
        count("connection") >= 1 && count("request") == 3
    });
}

#[test]
fn a_client_is_closed_that_stays_beyond_the_soft_limit() {
    let redis = RedisServer::start();
    let lines = "max_output_soft = \"64KiB\"\nmax_output_soft_for = \"300ms\"";
    let proxy = proxy_with(&redis, lines, "");
    store_large_value(&proxy);
    let mut slow = slow_reader(&proxy, 16);
    let mut quick = proxy.acme();
    proxy.wait_for("the slow one to be closed", || {
        assert_eq!(LARGE + 12, quick.call(&["GET", "large"]).len());
        evicted(&proxy, "max_output_soft") == 1
    });
    // What the kernel had taken is still delivered.
    assert!(slow.try_until_closed().is_ok_and(|read| read.len() < 16 * LARGE));
    assert_eq!(0, evicted(&proxy, "max_output"));
    assert_eq!("+PONG\\r\\n", quick.ask("PING"));
}

#[test]
fn a_subscriber_that_never_reads_is_closed_beyond_its_soft_limit() {
    let redis = RedisServer::start();
    let lines = "max_subscriber_output_soft = \"64KiB\"\nmax_subscriber_output_soft_for = \"200ms\"";
    let proxy = proxy_with(&redis, lines, "");
    let (mut slow, mut publisher) = (proxy.acme(), proxy.acme());
    slow.ask("SUBSCRIBE c");
    let message = command(&["PUBLISH", "c", &"x".repeat(64 << 10)]);
    // The kernel's buffers take some megabytes; the hard limit is 32 MiB.
    let enough = 16 << 20;
    for _ in 0..enough / message.len() {
        publisher.send(&message);
        publisher.frame();
    }
    proxy.wait_for("the slow one to be closed", || evicted(&proxy, "max_subscriber_output_soft") == 1);
    assert_eq!(0, evicted(&proxy, "max_subscriber_output"));
    proxy.wait_for("its subscription to end", || publisher.ask("PUBLISH c end") == ":0\\r\\n");
}

#[test]
fn beyond_the_hard_limit_a_client_is_closed_at_once() {
    let redis = RedisServer::start();
    let proxy = proxy_with(&redis, "max_output = \"2MiB\"", "");
    store_large_value(&proxy);
    let slow = slow_reader(&proxy, 32);
    proxy.wait_for("the slow one to be closed", || evicted(&proxy, "max_output") == 1);
    assert_eq!("+PONG\\r\\n", proxy.acme().ask("PING"));
    drop(slow);
}

#[test]
fn clients_that_hold_most_are_closed_first_unless_they_asked_not_to_be() {
    const HEAVY: usize = 7;
    let redis = RedisServer::start();
    let proxy = proxy_with(&redis, "", "max_client_memory = \"8MiB\"");
    let large = "x".repeat(LARGE);
    // Requests that are never finished.
    let begin = |client: &mut Client, values: usize| {
        client.send(b"*100\r\n$4\r\nMSET\r\n");
        // It may be closed before it has sent all.
        let value = format!("${LARGE}\r\n{large}\r\n").into_bytes();
        assert!((0..values).all(|_| client.try_send(&value).is_ok()) || values == HEAVY);
    };
    let (mut light, mut heavy, mut kept) = (proxy.acme(), proxy.acme(), proxy.acme());
    assert_eq!("+OK\\r\\n", kept.ask("CLIENT NO-EVICT ON"));
    begin(&mut light, 1);
    begin(&mut kept, 2);
    proxy.wait_for("both to be weighed", || metric(&proxy, "client_memory_bytes") >= 3 << 20);
    assert_eq!(0, evicted(&proxy, "max_client_memory"));
    begin(&mut heavy, HEAVY);
    proxy.wait_for("the heaviest to be closed", || evicted(&proxy, "max_client_memory") == 1);
    let farewell =
        String::from_utf8_lossy(&heavy.try_until_closed().unwrap_or_else(|read| read)).into_owned();
    assert!(
        farewell.is_empty() || farewell.starts_with("-UNAVAILABLE the proxy is short of memory"),
        "{farewell}"
    );
    // The others go on where they were.
    for client in [&mut light, &mut kept] {
        client.send(&[b'x'; 16]);
    }
    proxy.wait_for("what it held to be given back", || metric(&proxy, "client_memory_bytes") < 8 << 20);
    assert_eq!(1, evicted(&proxy, "max_client_memory"));
    assert_eq!("+PONG\\r\\n", proxy.acme().ask("PING"));
}

#[test]
fn the_newest_connection_is_refused_in_the_words_of_redis_and_the_others_stay() {
    let redis = RedisServer::start_with(&["--maxclients", "3"]);
    let direct: Vec<Client> = (0..3).map(|_| redis.client()).collect();
    let expected = redis.client().until_closed();
    drop(direct);
    let upstream = RedisServer::start();
    let proxy = proxy_with(&upstream, "max_connections = 3", "");
    let mut clients: Vec<Client> = (0..3).map(|_| proxy.acme()).collect();
    for client in &mut clients {
        assert_eq!("+PONG\\r\\n", client.ask("PING"));
    }
    assert_eq!(show(&expected), show(&proxy.acme().until_closed()));
    proxy.wait_for("that to be counted", || metric(&proxy, "connections_refused_total") == 1);
    drop(clients.pop());
    proxy.wait_for("the place to be free", || {
        let mut next = proxy.acme();
        next.try_send(b"PING\r\n").is_ok() && next.try_frame().is_ok_and(|reply| reply == b"+PONG\r\n")
    });
    assert_eq!("+PONG\\r\\n", clients[0].ask("PING"));
}

/// Redis closes such a connection without a word; the proxy says why before.
#[test]
fn a_request_beyond_the_query_buffer_limit_ends_the_connection_as_in_redis() {
    const LIMIT: usize = 1 << 20;
    let redis = RedisServer::start_with(&["--client-query-buffer-limit", "1mb"]);
    let proxy = proxy_with(&redis, "max_request = \"1MiB\"", "");
    let set = |len: usize| command(&["SET", "k", &"x".repeat(len)]);
    for mut client in [redis.client(), proxy.acme()] {
        client.send(&set(LIMIT - 100));
        assert_eq!(b"+OK\r\n".to_vec(), client.frame());
    }
    let said = |mut client: Client| {
        drop(client.try_send(&set(LIMIT)));
        client.try_until_closed().unwrap_or_else(|read| read)
    };
    assert_eq!("", show(&said(redis.client())));
    assert_eq!("-ERR Protocol error: request is longer than 1048576 bytes\\r\\n", show(&said(proxy.acme())));
    proxy.wait_for("that to be counted", || metric(&proxy, "protocol_errors_total") == 1);
    assert_eq!("+PONG\\r\\n", proxy.acme().ask("PING"));
}
