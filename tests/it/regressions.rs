//! Defects that an attack on the proxy found, each as what a client saw.

use crate::servers::{Proxy, RedisServer, Setup};
use crate::texts::UNAVAILABLE;
use crate::wire::{Client, command, show, words};

/// One worker, so that its memory is easy to reason about.
fn one_worker(redis: &RedisServer) -> Proxy {
    Proxy::start(&Setup { workers: 1, ..Setup::for_upstream(redis.url()) })
}

/// All bytes that `client` gets until the connection ends.
fn rest(client: &mut Client) -> String {
    let mut all = Vec::new();
    while let Ok(frame) = client.try_frame() {
        all.extend_from_slice(&frame);
    }
    show(&all)
}

#[test]
fn quit_without_a_reply_still_delivers_the_replies_before_it() {
    let redis = RedisServer::start();
    let proxy = one_worker(&redis);
    for silence in ["CLIENT REPLY OFF", "CLIENT REPLY SKIP"] {
        let mut acme = proxy.acme();
        acme.send(&[words("INCRBY n 0"), words(silence), words("QUIT")].concat());
        assert_eq!(":0\\r\\n", rest(&mut acme), "{silence}");
    }
}

#[test]
fn reset_speaks_again_only_after_reply_off() {
    let redis = RedisServer::start();
    let proxy = one_worker(&redis);
    for (silence, expected) in
        [("CLIENT REPLY OFF", "+RESET\\r\\n+PONG\\r\\n"), ("CLIENT REPLY SKIP", "+PONG\\r\\n")]
    {
        let stream = [words(silence), words("RESET"), words("PING")].concat();
        for mut client in [redis.client(), proxy.acme()] {
            client.send(&stream);
            client.finish_sending();
            assert_eq!(expected, rest(&mut client), "{silence}");
        }
    }
}

#[test]
fn request_without_a_reply_is_not_overtaken_when_the_protocol_changes() {
    const ROUNDS: usize = 50;
    let redis = RedisServer::start();
    let proxy = one_worker(&redis);
    let mut acme = proxy.acme();
    let mut version = 2;
    for round in 0..ROUNDS {
        // The value keeps the first connection busy, so that the second could be faster.
        let value = format!("{}{round:0>6}", "v".repeat(300_000));
        version = 5 - version;
        acme.send(
            &[
                words("CLIENT REPLY SKIP"),
                command(&["SET", "k", &value]),
                words(&format!("HELLO {version}")),
                words("GETRANGE k -6 -1"),
            ]
            .concat(),
        );
        acme.frame();
        assert_eq!(format!("$6\\r\\n{round:0>6}\\r\\n"), show(&acme.frame()));
    }
}

#[test]
fn answers_that_wait_for_a_slow_upstream_are_bounded() {
    const MEBIBYTES: usize = 300;
    let redis = RedisServer::start();
    let proxy = one_worker(&redis);
    let mut acme = proxy.acme();
    assert_eq!("+OK\\r\\n", acme.ask("SET k v"));
    let before = proxy.resident_kib();
    redis.freeze();
    acme.send(&words("GET k"));
    redis.wait_for_unread(1);
    let echo = command(&[b"ECHO".as_slice(), &vec![b'e'; 1 << 20]]);
    let sending = acme.send_beside(echo.repeat(MEBIBYTES));
    // A second client's answers show that the proxy has had its turns with the first one's requests.
    let mut second = proxy.acme();
    for _ in 0..2000 {
        assert_eq!("+PONG\\r\\n", second.ask("PING"));
    }
    let grown = proxy.resident_kib().saturating_sub(before);
    redis.thaw();
    assert_eq!("$1\\r\\nv\\r\\n", show(&acme.frame()));
    for _ in 0..MEBIBYTES {
        assert_eq!((1 << 20) + 12, acme.frame().len());
    }
    sending.join().unwrap().unwrap();
    assert!(grown < 64 * 1024, "the proxy grew by {grown} KiB");
}

#[test]
fn client_is_read_again_after_an_answer_that_left_at_once() {
    const ECHOES: usize = 40;
    let redis = RedisServer::start();
    let proxy = one_worker(&redis);
    let mut acme = proxy.acme();
    let echo = command(&[b"ECHO".as_slice(), &vec![b'e'; 1 << 20]]);
    let sending = acme.send_beside(echo.repeat(ECHOES));
    for _ in 0..ECHOES {
        assert_eq!((1 << 20) + 12, acme.frame().len());
    }
    sending.join().unwrap().unwrap();
}

#[test]
fn memory_of_a_large_answer_is_given_back() {
    let redis = RedisServer::start();
    let proxy = one_worker(&redis);
    let before = proxy.resident_kib();
    let mut acme = proxy.acme();
    assert_eq!((64 << 20) + 13, acme.call(&[b"ECHO".as_slice(), &vec![b'e'; 64 << 20]]).len());
    let mut request = format!("*{}\r\n$3\r\nDEL\r\n", 2_000_001).into_bytes();
    request.extend(b"$0\r\n\r\n".repeat(2_000_000));
    acme.send(&request);
    assert_eq!(":0\\r\\n", show(&acme.frame()));
    assert_eq!("+PONG\\r\\n", acme.ask("PING"));
    let grown = proxy.resident_kib().saturating_sub(before);
    assert!(grown < 48 * 1024, "the proxy kept {grown} KiB");
}

#[test]
fn what_the_upstream_says_to_the_proxy_is_not_shown_to_tenants() {
    let redis = RedisServer::start();
    let allowed = redis.client().ask("ACL SETUSER sidecar on >pw ~* &* +@all -info");
    assert_eq!("+OK\\r\\n", allowed);
    let setup = Setup::for_upstream(format!("redis://sidecar:pw@127.0.0.1:{}", redis.port));
    let proxy = Proxy::start_unready(&setup);
    proxy.wait_for_readiness(503, "INFO failed");
    let reply = proxy.acme().ask("GET k");
    assert!(reply.starts_with(UNAVAILABLE), "{reply}");
    assert!(reply.contains(": the upstream refused the proxy; the command was not sent"), "{reply}");
}

/// A subscriber hears at once that it may not write; so does one who monitors, in the words for subscribers.
#[test]
fn what_a_subscriber_may_not_send_is_refused_before_a_pause_or_a_monitor_has_a_say() {
    let redis = RedisServer::start();
    let proxy = one_worker(&redis);
    let refused = "-ERR Can\\'t execute \\'set\\': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET \
                   are allowed in this context\\r\\n";
    for connect in [&(|| redis.client()) as &dyn Fn() -> Client, &|| proxy.acme()] {
        let (mut subscriber, mut other) = (connect(), connect());
        assert_eq!("+OK\\r\\n", subscriber.ask("MONITOR"));
        subscriber.send(&[words("SUBSCRIBE news"), words("SET k v")].concat());
        // The confirmation, a line of what the monitor says itself, and the error.
        let heard = subscriber.frames(3);
        assert!(heard.iter().any(|frame| show(frame) == refused), "{heard:?}");
        assert_eq!("+OK\\r\\n", other.ask("CLIENT PAUSE 100000 WRITE"));
        let mut paused = connect();
        paused.ask("SUBSCRIBE news");
        assert_eq!(refused, paused.ask("SET k v"));
        assert_eq!("+OK\\r\\n", other.ask("CLIENT UNPAUSE"));
    }
}
