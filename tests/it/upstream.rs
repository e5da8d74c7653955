//! The upstream goes away, comes back, hangs, wants a password: what clients read meanwhile.

use crate::servers::{Proxy, RedisServer, Setup, free_port};
use crate::texts::{NOT_SENT, PERHAPS_EXECUTED, UNAVAILABLE};
use crate::wire::{Client, show, words};

fn assert_unavailable(reply: &[u8]) {
    let text = show(reply);
    assert!(text.starts_with(UNAVAILABLE), "{text}");
    assert!(
        text.contains(NOT_SENT) != text.contains(PERHAPS_EXECUTED),
        "says whether it may have run: {text}"
    );
}

#[test]
fn every_request_in_flight_is_answered_in_order_when_the_upstream_dies() {
    const REQUESTS: usize = 100;
    let mut redis = RedisServer::start();
    let proxy = Proxy::before(&redis);
    let mut acme = proxy.acme();
    assert_eq!("+OK\\r\\n", acme.ask("SET k v"));
    redis.freeze();
    let pipeline: Vec<u8> =
        (0..REQUESTS).flat_map(|index| [words("INCR n"), words(&format!("ECHO {index}"))].concat()).collect();
    acme.send(&pipeline);
    redis.wait_for_unread(REQUESTS * b"*2\r\n$4\r\nINCR\r\n$6\r\nacme:n\r\n".len());
    redis.kill();
    for index in 0..REQUESTS {
        let reply = acme.frame();
        assert_unavailable(&reply);
        assert!(show(&reply).contains(PERHAPS_EXECUTED), "it had been sent: {}", show(&reply));
        let number = index.to_string();
        assert_eq!(format!("${}\\r\\n{number}\\r\\n", number.len()), show(&acme.frame()));
    }
    redis.restart();
    assert_eq!("+OK\\r\\n", proxy.ask_until_served(&mut acme, "SET k again"));
    proxy.wait_until_ready();
    assert_eq!("$5\\r\\nagain\\r\\n", acme.ask("GET k"));
}

#[test]
fn upstream_that_was_never_there_is_named_by_readyz_and_answered_for_at_once() {
    let port = free_port();
    let mut setup = Setup::for_upstream(format!("redis://127.0.0.1:{port}"));
    // Whoever waited for the next attempt would wait for ever, as far as this test is concerned.
    setup.upstream_lines = "reconnect_min = \"1h\"\nreconnect_max = \"1h\"\nreply_timeout = \"1h\"".into();
    let proxy = Proxy::start_unready(&setup);
    proxy.wait_for_readiness(503, "cannot be reached");
    let mut acme = proxy.acme();
    for _ in 0..10 {
        let reply = acme.call(&["SET", "k", "v"]);
        assert_unavailable(&reply);
        assert!(show(&reply).contains(NOT_SENT), "{}", show(&reply));
    }
    assert_eq!("+PONG\\r\\n", acme.ask("PING"), "what needs no upstream is served");
}

#[test]
fn metrics_and_liveness_are_served_without_an_upstream() {
    let proxy = Proxy::start_unready(&Setup::for_upstream(format!("redis://127.0.0.1:{}", free_port())));
    assert_eq!(200, proxy.admin("/livez").expect("the admin port answers").status);
    let metrics = proxy.admin("/metrics").expect("the admin port answers");
    assert_eq!(200, metrics.status);
    assert!(metrics.body.contains("\ntenantry_"), "{}", metrics.body);
}

/// A Redis that only lets the proxy's user in.
fn guarded_redis() -> RedisServer {
    RedisServer::start_with(&[
        "--user", "tenantry", "on", ">s3cret", "~*", "&*", "+@all", "--user", "default", "off",
    ])
}

#[test]
fn upstream_with_user_and_password_serves_both_protocols_at_once() {
    let redis = guarded_redis();
    let proxy =
        Proxy::start(&Setup::for_upstream(format!("redis://tenantry:s3cret@127.0.0.1:{}", redis.port)));
    let (mut old, mut new) = (proxy.acme(), Client::tcp_resp3(proxy.acme_port()));
    assert_eq!(":1\\r\\n", old.ask("HSET h f v"));
    for _ in 0..20 {
        old.send(&words("HGETALL h"));
        new.send(&words("HGETALL h"));
        assert_eq!("*2\\r\\n$1\\r\\nf\\r\\n$1\\r\\nv\\r\\n", show(&old.frame()));
        assert_eq!("%1\\r\\n$1\\r\\nf\\r\\n$1\\r\\nv\\r\\n", show(&new.frame()));
    }
    let mut direct = redis.client();
    assert_eq!("+OK\\r\\n", direct.ask("AUTH tenantry s3cret"));
    assert_eq!("*1\\r\\n$6\\r\\nacme:h\\r\\n", direct.ask("KEYS *"));
}

#[test]
fn wrong_upstream_password_is_not_ready_and_does_not_tell_clients_the_password() {
    let redis = guarded_redis();
    let setup = Setup::for_upstream(format!("redis://tenantry:wr0ng@127.0.0.1:{}", redis.port));
    let proxy = Proxy::start_unready(&setup);
    let reason = proxy.wait_for_readiness(503, "WRONGPASS");
    let reply = proxy.acme().ask("GET k");
    assert!(reply.starts_with(UNAVAILABLE), "{reply}");
    assert!(!reply.contains("wr0ng") && !reason.contains("wr0ng"), "{reply} {reason}");
}

#[test]
fn upstream_may_be_a_unix_socket() {
    let redis = RedisServer::start();
    let proxy = Proxy::start(&Setup::for_upstream(format!("unix://{}", redis.socket().display())));
    assert_eq!("+OK\\r\\n", proxy.acme().ask("SET k v"));
    assert_eq!("$1\\r\\nv\\r\\n", redis.client().ask("GET acme:k"));
}

#[test]
fn silent_upstream_is_given_up_after_reply_timeout_and_used_again_when_it_speaks() {
    let redis = RedisServer::start();
    let mut setup = Setup::for_upstream(redis.url());
    setup.upstream_lines = "connect_timeout = \"2s\"\nreply_timeout = \"300ms\"".into();
    let proxy = Proxy::start(&setup);
    let mut acme = proxy.acme();
    assert_eq!("+OK\\r\\n", acme.ask("SET k v"));
    redis.freeze();
    let reply = acme.call(&["INCR", "n"]);
    assert_eq!(
        "-UNAVAILABLE upstream \\'main\\': no reply within 300 ms; the command may have been executed\\r\\n",
        show(&reply)
    );
    redis.thaw();
    assert_eq!("$1\\r\\nv\\r\\n", proxy.ask_until_served(&mut acme, "GET k"));
}

#[test]
fn key_that_the_prefix_makes_too_long_is_refused_and_the_connection_lives() {
    const LIMIT: usize = 1024;
    let redis = RedisServer::start();
    let mut setup = Setup::for_upstream(redis.url());
    setup.max_bulk = "1KiB";
    let proxy = Proxy::start(&setup);
    let mut acme = proxy.acme();
    let longest = "k".repeat(LIMIT - "acme:".len());
    assert_eq!("+OK\\r\\n", show(&acme.call(&["SET", &longest, "v"])));
    assert_eq!("$1\\r\\nv\\r\\n", show(&acme.call(&["GET", &longest])));
    for too_long in [format!("{longest}k"), "k".repeat(LIMIT)] {
        let reply = show(&acme.call(&["MGET", "fine", &too_long]));
        assert!(reply.starts_with("-ERR "), "{reply}");
        assert!(
            reply.contains(&(too_long.len() + "acme:".len()).to_string()) && reply.contains("1024"),
            "{reply}"
        );
    }
    assert_eq!("$1\\r\\nv\\r\\n", show(&acme.call(&["GET", &longest])), "the connection lives");
    acme.send(format!("*2\r\n$3\r\nGET\r\n${}\r\n", LIMIT + 1).as_bytes());
    assert_eq!("-ERR Protocol error: invalid bulk length\\r\\n", show(&acme.until_closed()));
}

#[test]
fn listeners_stay_closed_until_the_upstream_is_there_if_asked() {
    let mut redis = RedisServer::start();
    redis.kill();
    let setup = Setup { sections: "[start]\nwait_for_upstream = true\n", ..Setup::for_upstream(redis.url()) };
    let proxy = Proxy::start_unready(&setup);
    proxy.wait_for_readiness(503, "the listeners are not open yet");
    assert!(std::net::TcpStream::connect(("127.0.0.1", proxy.acme_port())).is_err());
    redis.restart();
    proxy.wait_until_ready();
    assert_eq!("+OK\\r\\n", proxy.acme().ask("SET k v"));
}

#[test]
fn connections_to_the_upstream_that_nobody_uses_are_closed() {
    let redis = RedisServer::start();
    let mut setup = Setup::for_upstream(redis.url());
    setup.workers = 1;
    setup.upstream_lines = "idle_timeout = \"1s\"".into();
    let proxy = Proxy::start(&setup);
    let connected = || {
        let page = proxy.admin("/metrics").map(|page| page.body).unwrap_or_default();
        let line = page.lines().find_map(|line| {
            line.strip_prefix("tenantry_upstream_connections{upstream=\"main\",state=\"ready\"} ")
                .map(str::to_owned)
        });
        line.and_then(|number| number.parse::<f64>().ok())
    };
    // One for RESP2 is kept to know whether the upstream is there; RESP3 clients need another.
    let mut acme = proxy.acme();
    acme.send(&words("HELLO 3"));
    acme.frame();
    assert_eq!("_\\r\\n", acme.ask("GET missing"));
    proxy.wait_for("two connections", || connected() == Some(2.0));
    drop(acme);
    proxy.wait_for("the one that nobody uses to be closed", || connected() == Some(1.0));
}

#[test]
fn restore_is_for_an_upstream_that_checks_payloads_or_by_the_operators_word() {
    const REFUSED: &str = "-ERR RESTORE is refused: the upstream does not say that it checks payloads, and a forged \
                           one can crash it; its operator can set sanitize-dump-payload to \\'clients\\' there\\r\\n";
    const DENIED: &str = "-NOPERM this user has no permissions to run the \\'restore\\' command\\r\\n";
    for (checks, restore, expected) in [
        ("no", "checked", REFUSED),
        ("clients", "checked", "+OK\\r\\n"),
        ("yes", "checked", "+OK\\r\\n"),
        ("no", "always", "+OK\\r\\n"),
        ("yes", "never", DENIED),
    ] {
        let redis = RedisServer::start_with(&["--sanitize-dump-payload", checks]);
        let mut setup = Setup::for_upstream(redis.url());
        setup.upstream_lines = format!("restore = \"{restore}\"");
        let proxy = Proxy::start(&setup);
        for mut acme in [proxy.acme(), Client::tcp_resp3(proxy.acme_port())] {
            assert_eq!("+OK\\r\\n", acme.ask("SET k v"));
            let payload = content(&acme.call(&["DUMP", "k"]));
            let reply = acme.call(&[b"RESTORE".as_slice(), b"copy", b"0", &payload, b"REPLACE"]);
            assert_eq!(expected, show(&reply), "{checks}, {restore}");
        }
        let copies = if expected == "+OK\\r\\n" { ":1\\r\\n" } else { ":0\\r\\n" };
        assert_eq!(copies, redis.client().ask("EXISTS acme:copy"), "{checks}, {restore}");
    }
}

/// What is in a bulk string.
fn content(frame: &[u8]) -> Vec<u8> {
    let start = frame.iter().position(|byte| *byte == b'\n').expect("a bulk string has a length") + 1;
    frame[start..frame.len() - b"\r\n".len()].to_vec()
}

#[test]
fn restore_is_judged_anew_when_the_upstream_comes_back_as_another() {
    let mut redis = RedisServer::start();
    let proxy = Proxy::start(&Setup { workers: 1, ..Setup::for_upstream(redis.url()) });
    let (mut acme, mut patient) = (proxy.acme(), proxy.acme());
    assert_eq!("+OK\\r\\n", patient.ask("MULTI"));
    assert_eq!("+QUEUED\\r\\n", patient.ask("RESTORE k 0 x"));
    assert_eq!("-ERR DUMP payload version or checksum are wrong\\r\\n", acme.ask("RESTORE k 0 x"));
    redis.kill();
    redis.restart_with(&["--sanitize-dump-payload", "no"]);
    let reply = proxy.ask_until_served(&mut acme, "RESTORE k 0 x");
    assert!(reply.starts_with("-ERR RESTORE is refused: "), "{reply}");
    let reply = patient.ask("EXEC");
    assert!(
        reply.starts_with("-EXECABORT Transaction discarded because of: RESTORE is refused: "),
        "{reply}"
    );
}

#[test]
fn connection_that_the_upstream_closes_is_opened_again() {
    let redis = RedisServer::start();
    let proxy = Proxy::before(&redis);
    let mut acme = proxy.acme();
    for _ in 0..5 {
        assert_eq!("+OK\\r\\n", proxy.ask_until_served(&mut acme, "SET k v"));
        assert!(
            redis.client().call(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).starts_with(b":")
        );
    }
    assert_eq!("$1\\r\\nv\\r\\n", proxy.ask_until_served(&mut acme, "GET k"));
}

#[test]
fn who_is_still_owed_a_reply_when_the_process_ends_is_told() {
    let redis = RedisServer::start();
    let proxy = Proxy::before(&redis);
    let mut acme = proxy.acme();
    assert_eq!("+OK\\r\\n", acme.ask("SET k v"));
    redis.freeze();
    acme.send(&words("INCR n"));
    redis.wait_for_unread(b"*2\r\n$4\r\nINCR\r\n$6\r\nacme:n\r\n".len());
    proxy.terminate();
    let reply = acme.frame();
    assert_unavailable(&reply);
    assert!(
        show(&reply).contains("shutting down") && show(&reply).contains(PERHAPS_EXECUTED),
        "{}",
        show(&reply)
    );
}

#[test]
fn client_that_misbehaves_is_closed_although_it_is_owed_a_reply() {
    let redis = RedisServer::start();
    let mut setup = Setup::for_upstream(redis.url());
    // Closing only when the reply is given up would be longer than the client's patience, which is a failure.
    setup.upstream_lines = "reply_timeout = \"1h\"".into();
    let proxy = Proxy::start(&setup);
    let mut acme = proxy.acme();
    redis.freeze();
    acme.send(&words("GET k"));
    acme.send(b"POST / HTTP/1.1\r\n\r\n");
    assert_eq!("", show(&acme.until_closed()));
    redis.thaw();
}

#[test]
fn wrong_passwords_are_counted_even_in_silence() {
    let redis = RedisServer::start();
    let proxy = Proxy::before(&redis);
    let mut stranger = proxy.open();
    assert!(stranger.ask("AUTH acme wrong").starts_with("-WRONGPASS"));
    assert!(stranger.ask("HELLO 3 AUTH nobody wrong").starts_with("-WRONGPASS"));
    let mut acme = proxy.acme();
    acme.send(&[words("CLIENT REPLY OFF"), words("AUTH acme wrong"), words("CLIENT REPLY ON")].concat());
    assert_eq!("+OK\\r\\n", show(&acme.frame()));
    let counted = || {
        proxy.admin("/metrics").is_ok_and(|page| {
            page.body.lines().any(|line| line == "tenantry_authentication_failures_total 3")
        })
    };
    proxy.wait_for("three failures to be counted", counted);
}
