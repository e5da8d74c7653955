//! One tenant has much to send, another little: who goes first. Large values beside small ones.

use crate::servers::{Proxy, RedisServer, Setup};
use crate::wire::{show, words};

const WINDOW: usize = 10;

/// One worker, and a window of ten requests.
fn narrow(redis: &RedisServer) -> Proxy {
    let mut setup = Setup::for_upstream(redis.url());
    setup.workers = 1;
    setup.upstream_lines = format!("window = {WINDOW}\nreply_timeout = \"1h\"");
    Proxy::start(&setup)
}

/// Bytes of `INCR n` for a tenant, as Redis receives it.
fn incr(tenant: &str) -> usize {
    format!("*2\r\n$4\r\nINCR\r\n${}\r\n{tenant}:n\r\n", tenant.len() + 2).len()
}

#[test]
fn a_tenant_that_sends_little_passes_the_queue_of_one_that_sends_much() {
    const CROWD: usize = 20;
    const EACH: usize = 50;
    let redis = RedisServer::start();
    let proxy = narrow(&redis);
    let mut crowd: Vec<_> = (0..CROWD).map(|_| proxy.acme()).collect();
    let mut single = proxy.globex();
    assert_eq!(":1\\r\\n", single.ask("INCR n"));
    redis.client().ask("CONFIG RESETSTAT");
    redis.freeze();
    crowd[0].send(&words("INCR n").repeat(EACH));
    redis.wait_for_unread(WINDOW * incr("acme"));
    for client in &mut crowd[1..] {
        client.send(&words("INCR n").repeat(EACH));
    }
    single.send(&words("INCR n"));
    redis.wait_for_unread(WINDOW * incr("acme") + incr("globex"));
    // Each of the others may have sent one request before it learned that it must wait.
    let under_way = redis.unread_bytes();
    assert!(under_way <= (WINDOW + CROWD) * incr("acme") + incr("globex"), "{under_way} bytes under way");
    redis.thaw();
    assert_eq!(":2\\r\\n", show(&single.frame()));
    let mut numbers = Vec::new();
    for client in &mut crowd {
        let own: Vec<u32> = (0..EACH).map(|_| number(&client.frame())).collect();
        assert!(own.is_sorted(), "in the order of the requests: {own:?}");
        numbers.extend(own);
    }
    numbers.sort_unstable();
    let all = u32::try_from(CROWD * EACH).unwrap();
    assert_eq!((1..=all).collect::<Vec<_>>(), numbers, "nobody was forgotten, nothing ran twice");
}

fn number(reply: &[u8]) -> u32 {
    show(reply).trim_start_matches(':').trim_end_matches("\\r\\n").parse().unwrap()
}

#[test]
fn those_who_wait_for_their_turn_are_told_when_the_upstream_dies() {
    let mut redis = RedisServer::start();
    let proxy = narrow(&redis);
    let (mut first, mut second) = (proxy.acme(), proxy.acme());
    redis.freeze();
    first.send(&words("INCR n").repeat(50));
    redis.wait_for_unread(WINDOW * incr("acme"));
    second.send(&words("INCR n").repeat(50));
    redis.kill();
    for client in [&mut first, &mut second] {
        for _ in 0..50 {
            let reply = show(&client.frame());
            assert!(reply.starts_with("-UNAVAILABLE "), "{reply}");
        }
    }
    redis.restart();
    assert_eq!(":1\\r\\n", proxy.ask_until_served(&mut second, "INCR n"));
}

#[test]
fn those_who_wait_for_their_turn_are_told_when_the_breaker_opens() {
    let redis = RedisServer::start();
    let proxy = narrow(&redis);
    let (mut first, mut second) = (proxy.acme(), proxy.acme());
    redis.freeze();
    first.send(&words("INCR n").repeat(WINDOW));
    redis.wait_for_unread(WINDOW * incr("acme"));
    // One of them is sent before it is learned that the others must wait.
    second.send(&words("INCR n").repeat(50));
    redis.wait_for_unread((WINDOW + 1) * incr("acme"));
    let form = format!("upstream=main&node=127.0.0.1:{}&breaker=open", redis.port);
    assert_eq!(200, proxy.post("/breakers", &form).status);
    let refused = "tenantry_breaker_rejected_total{upstream=\"main\"}";
    proxy.wait_for("their refusal", || proxy.metric(refused) >= 49);
    redis.thaw();
    let replies: Vec<String> = (0..50).map(|_| show(&second.frame())).collect();
    assert_eq!(":11\\r\\n", replies[0]);
    assert!(replies[1..].iter().all(|reply| reply.starts_with("-UNAVAILABLE ")), "{replies:?}");
}

/// Connections that the proxy has to Redis.
fn upstream_connections(redis: &RedisServer) -> usize {
    show(&redis.client().call(&["CLIENT", "LIST", "TYPE", "normal"])).matches("id=").count() - 1
}

#[test]
fn large_values_take_a_connection_of_their_own_and_everything_stays_in_order() {
    const LARGE: usize = 300_000;
    let redis = RedisServer::start();
    let mut setup = Setup::for_upstream(redis.url());
    setup.workers = 1;
    let proxy = Proxy::start(&setup);
    let mut acme = proxy.acme();
    assert_eq!("+OK\\r\\n", acme.ask("SET k small"));
    assert_eq!(1, upstream_connections(&redis));
    let large = "v".repeat(LARGE);
    let bulk = format!("${LARGE}\r\n{large}\r\n");
    for _ in 0..3 {
        let mut pipeline = Vec::new();
        pipeline.extend(words("GET k"));
        pipeline.extend(crate::wire::command(&["SET", "k", &large]));
        pipeline.extend(words("STRLEN k"));
        pipeline.extend(words("GET k"));
        // Long enough to be back on the usual connection at its end.
        pipeline.extend(words("APPEND k !").repeat(100));
        pipeline.extend(words("SET k small"));
        acme.send(&pipeline);
        assert_eq!("$5\\r\\nsmall\\r\\n", show(&acme.frame()));
        assert_eq!("+OK\\r\\n", show(&acme.frame()));
        assert_eq!(format!(":{LARGE}\\r\\n"), show(&acme.frame()));
        assert_eq!(bulk.as_bytes(), acme.frame());
        for more in 1..=100 {
            assert_eq!(format!(":{}\\r\\n", LARGE + more), show(&acme.frame()));
        }
        assert_eq!("+OK\\r\\n", show(&acme.frame()));
    }
    assert_eq!(2, upstream_connections(&redis));
}

#[test]
fn who_only_reads_large_values_changes_connections_as_well() {
    let redis = RedisServer::start();
    let mut setup = Setup::for_upstream(redis.url());
    setup.workers = 1;
    let proxy = Proxy::start(&setup);
    redis.client().call(&["SETRANGE", "acme:k", "299999", "x"]);
    let mut acme = proxy.acme();
    for _ in 0..2 {
        assert_eq!(300_000 + "$300000\r\n\r\n".len(), acme.call(&["GET", "k"]).len());
    }
    assert_eq!(2, upstream_connections(&redis));
}
