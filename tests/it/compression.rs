//! Values that are stored compressed are read as they were written, by whoever is to read them.

use tenantry::tenant::compression::MAX_VALUE;

use crate::servers::{
    Deployment, Kind, Protocol, Proxy, RedisServer, Setup, on_every_deployment_and_protocol,
};
use crate::wire::{Client, command, show};

on_every_deployment_and_protocol! {
    replies_are_those_of_a_redis_that_compresses_nothing,
    transactions_and_watched_keys_read_what_was_written,
}

const LZ4: &str = "compression = \"lz4\"";

fn proxy_with(url: String, tenant_lines: &'static str) -> Proxy {
    Proxy::start(&Setup { tenant_lines, ..Setup::for_upstream(url) })
}

/// Text that compresses well.
fn text(len: usize) -> Vec<u8> {
    let rows =
        (0..).flat_map(|id| format!("{{\"id\":{id},\"name\":\"user\",\"active\":true}},").into_bytes());
    rows.take(len).collect()
}

/// Bytes that do not compress.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    let next = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    });
    next.take(len).collect()
}

/// What begins like a stored frame, and is none that is right.
fn forged() -> Vec<Vec<u8>> {
    let frame = |rest: &[u8]| [b"\xf5TNV", rest].concat();
    vec![
        frame(b""),
        frame(b"\x01\x01\xff\xff\xff\xff\x1f\x00\x01\x00"),
        frame(b"\x01\x01\x00\x00\x10\x00\x1f\x00\x01\x00"),
        frame(&[&b"\x01\x01\x00\x04\x00\x00"[..], &noise(100)].concat()),
        frame(b"\x01\x00\x05\x00\x00\x00four"),
        frame(b"\x07\x01\x00\x04\x00\x00whatever"),
    ]
}

/// Values of all kinds, none of which an oracle would know from another.
fn values() -> Vec<Vec<u8>> {
    let mut values = vec![
        Vec::new(),
        b"short".to_vec(),
        text(1024),
        text(1025),
        text(20_000),
        text(300_000),
        text(MAX_VALUE),
        text(MAX_VALUE + 1),
        noise(5000),
        noise(70_000),
        vec![b'7'; 2000],
        b"line\r\n".repeat(1000),
        // A frame as the proxy would store it, plain.
        b"\xf5TNV\x01\x00\x04\x00\x00\x00four".to_vec(),
        [b"\xf5TNV".as_slice(), &text(4000)].concat(),
        [b"\xf5TNV".as_slice(), &text(2 * MAX_VALUE)].concat(),
        b"HYLL".repeat(1000),
    ];
    values.extend(forged());
    values
}

fn words(line: &str) -> Vec<Vec<u8>> {
    line.split(' ').map(|word| word.as_bytes().to_vec()).collect()
}

/// The line, with `value` after it.
fn with(line: &str, value: &[u8]) -> Vec<Vec<u8>> {
    let mut words = words(line);
    words.push(value.to_vec());
    words
}

/// Every command that is understood, on every value; all keys are in the slot of `tag`, if there is one.
fn script(tag: &str) -> Vec<Vec<Vec<u8>>> {
    let mut script = Vec::new();
    for value in values() {
        let key = |name: &str| format!("{tag}{name}");
        script.extend([
            with(&format!("SET {}", key("a")), &value),
            words(&format!("GET {}", key("a"))),
            with(&format!("SETNX {}", key("a")), b"other"),
            [with(&format!("SET {}", key("a")), &value), words("XX GET")].concat(),
            [with(&format!("SET {}", key("none")), &value), words("XX GET EX 100")].concat(),
            with(&format!("GETSET {}", key("a")), &value),
            with(&format!("SETEX {} 1000", key("b")), &value),
            words(&format!("GETEX {} PERSIST", key("b"))),
            words(&format!("TTL {}", key("b"))),
            with(&format!("PSETEX {} 1000000", key("c")), &value),
            with(&format!("MSET {} v {}", key("d"), key("e")), &value),
            words(&format!("MGET {} {} {} {} {}", key("a"), key("none"), key("e"), key("list"), key("a"))),
            words(&format!("GETDEL {}", key("e"))),
            words(&format!("EXISTS {} {} {}", key("c"), key("e"), key("d"))),
        ]);
    }
    script
}

/// What must be in one slot, or is refused by the server.
fn script_of_one_slot() -> Vec<Vec<Vec<u8>>> {
    let mut script: Vec<_> = [
        "RPUSH {t}list x",
        "GET {t}list",
        "SET {t}list",
        "SET {t}a v NOPTION",
        "SETEX {t}a 0 v",
        "MSET {t}a v {t}b",
        "GETSET {t}list v",
        "SET {t}n 41",
        "INCR {t}n",
        "GET {t}n",
        "PFADD {t}hll a b c",
        "PFCOUNT {t}hll",
        "SORT {t}list ALPHA",
    ]
    .iter()
    .map(|line| words(line))
    .collect();
    let value = text(5000);
    script.extend([
        with("MSETNX {t}x 1 {t}y", &value),
        words("GET {t}y"),
        with("MSETNX {t}x 1 {t}z", &value),
        words("RENAME {t}y {t}z"),
        words("COPY {t}z {t}y"),
        words("MGET {t}x {t}y {t}z {t}list"),
        with("SET {t}digits", &[b'1'; 17]),
        words("INCRBYFLOAT {t}digits 1"),
        words("TYPE {t}z"),
    ]);
    script
}

fn compare(mut plain: Client, mut proxied: Client, script: &[Vec<Vec<u8>>]) {
    for argv in script {
        let line: Vec<String> = argv.iter().map(|word| show(&word[..word.len().min(40)])).collect();
        let (expected, found) = (plain.call(argv), proxied.call(argv));
        assert!(expected == found, "{}: {} and {}", line.join(" "), head(&expected), head(&found));
    }
    // The same, pipelined: every reply in its turn.
    let bytes: Vec<u8> = script.iter().flat_map(|argv| command(argv)).collect();
    let writers = [plain.send_beside(bytes.clone()), proxied.send_beside(bytes)];
    for at in 0..script.len() {
        let (expected, found) = (plain.frame(), proxied.frame());
        assert!(expected == found, "pipelined {at}: {} and {}", head(&expected), head(&found));
    }
    for writer in writers {
        writer.join().unwrap().unwrap();
    }
}

fn head(reply: &[u8]) -> String {
    format!("{} bytes {}", reply.len(), show(&reply[..reply.len().min(60)]))
}

fn replies_are_those_of_a_redis_that_compresses_nothing(kind: Kind, protocol: Protocol) {
    let (deployment, oracle) = (Deployment::start(kind), RedisServer::start());
    let proxy = proxy_with(deployment.url(), LZ4);
    let script = [script(""), script_of_one_slot()].concat();
    compare(protocol.connect(oracle.port), protocol.connect(proxy.acme_port()), &script);
    // It was stored as it should be.
    let mut acme = proxy.acme();
    for (len, is_shorter) in [(1024, false), (1025, true), (300_000, true), (MAX_VALUE + 1, false)] {
        assert_eq!("+OK\\r\\n", show(&acme.call(&with("SET k", &text(len)))));
        let stored = deployment.client_for("acme:k").call(&["STRLEN", "acme:k"]);
        let stored: usize = std::str::from_utf8(&stored[1..]).unwrap().trim().parse().unwrap();
        assert_eq!(is_shorter, stored < len / 2, "{stored} for {len}");
        assert!(is_shorter || stored == len);
    }
}

fn transactions_and_watched_keys_read_what_was_written(kind: Kind, protocol: Protocol) {
    let (deployment, oracle) = (Deployment::start(kind), RedisServer::start());
    let proxy = proxy_with(deployment.url(), LZ4);
    let (mut plain, mut proxied) = (protocol.connect(oracle.port), protocol.connect(proxy.acme_port()));
    let one_slot: Vec<_> = script("{t}");
    for commands in [&one_slot[..150], &one_slot[150..], &script_of_one_slot()] {
        let mut expected = Vec::new();
        for client in [&mut plain, &mut proxied] {
            let mut replies = vec![client.call(&["WATCH", "{t}w"]), client.call(&["GET", "{t}a"])];
            replies.push(client.call(&["MULTI"]));
            // What the server would only tell at `EXEC` if it were sent then is not queued.
            for argv in commands.iter().filter(|argv| argv[0] != b"SET" || argv.len() > 2) {
                replies.push(client.call(argv));
            }
            replies.push(client.call(&["EXEC"]));
            replies.push(client.call(&["GET", "{t}a"]));
            if expected.is_empty() {
                expected = replies;
            } else {
                for (at, (expected, found)) in expected.iter().zip(&replies).enumerate() {
                    assert!(expected == found, "reply {at}: {} and {}", head(expected), head(found));
                }
            }
        }
    }
}

#[test]
fn what_was_written_otherwise_reads_as_it_is_stored() {
    let redis = RedisServer::start();
    let proxy = proxy_with(redis.url(), LZ4);
    let (mut direct, mut acme) = (redis.client(), proxy.acme());
    let mut values = forged();
    values.extend([text(5000), noise(100), text(5 << 20), [b"\xf5TNV".as_slice(), &noise(3 << 20)].concat()]);
    for value in values {
        assert_eq!("+OK\\r\\n", show(&direct.call(&with("SET acme:k", &value))));
        let (expected, found) = (direct.call(&["GET", "acme:k"]), acme.call(&["GET", "k"]));
        assert!(expected == found, "{} and {}", head(&expected), head(&found));
        let (expected, found) = (direct.call(&["MGET", "acme:k", "acme:k"]), acme.call(&["MGET", "k", "k"]));
        assert!(expected == found, "{} and {}", head(&expected), head(&found));
    }
}

#[test]
fn a_reply_that_would_be_very_long_is_refused_before_it_is_made() {
    let redis = RedisServer::start();
    let proxy = proxy_with(redis.url(), LZ4);
    let mut acme = proxy.acme();
    assert_eq!("+OK\\r\\n", show(&acme.call(&with("SET k", &vec![b'a'; MAX_VALUE]))));
    let before = proxy.resident_kib();
    let many: Vec<&str> = std::iter::once("MGET").chain(std::iter::repeat_n("k", 2000)).collect();
    assert_eq!(
        "-UNAVAILABLE the reply is longer than 256 MiB once its values are decompressed; ask for fewer at once\\r\\n",
        show(&acme.call(&many))
    );
    let grown = proxy.resident_kib().saturating_sub(before);
    assert!(grown < 600 << 10, "{grown} KiB");
    assert_eq!(MAX_VALUE + "$1048576\r\n\r\n".len(), acme.call(&["GET", "k"]).len());
}

#[test]
fn what_would_see_stored_bytes_is_refused_and_aborts_a_transaction() {
    let redis = RedisServer::start();
    let proxy = proxy_with(redis.url(), LZ4);
    let mut acme = proxy.acme();
    for (line, name) in [
        ("APPEND k v", "append"),
        ("STRLEN k", "strlen"),
        ("GETRANGE k 0 1", "getrange"),
        ("SETBIT k 1 1", "setbit"),
        ("BITOP NOT d k", "bitop"),
        ("LCS a b", "lcs"),
        ("SORT l GET o_*", "sort"),
    ] {
        let expected = format!(
            "-ERR \\'{name}\\' would see compressed values: compression is on for tenant \\'acme\\'\\r\\n"
        );
        assert_eq!(expected, acme.ask(line), "{line}");
    }
    assert_eq!("+OK\\r\\n", acme.ask("MULTI"));
    assert!(acme.ask("APPEND k v").starts_with("-ERR"));
    assert_eq!(
        "-EXECABORT Transaction discarded because of previous errors.\\r\\n",
        acme.ask("EXEC"),
        "a refused command aborts"
    );
}

#[test]
fn who_compresses_nothing_any_more_still_reads_it_and_who_never_did_sees_frames() {
    let redis = RedisServer::start();
    let [compresses, reads, knows_nothing] =
        [LZ4, "compression = \"read\"", ""].map(|lines| proxy_with(redis.url(), lines));
    let (mut writer, mut reader, mut other) = (compresses.acme(), reads.acme(), knows_nothing.acme());
    let value = text(5000);
    writer.call(&with("SET k", &value));
    assert_eq!(writer.call(&["GET", "k"]), reader.call(&["GET", "k"]));
    let raw = other.call(&["GET", "k"]);
    assert!(raw.len() < 1000 && raw.windows(4).any(|four| four == b"\xf5TNV"), "{}", head(&raw));
    reader.call(&with("SET k", &value));
    assert_eq!(writer.call(&["GET", "k"]), other.call(&["GET", "k"]));
    // One that only reads escapes what it writes all the same.
    reader.call(&with("SET k", b"\xf5TNV"));
    assert_eq!("$4\\r\\n\\xf5TNV\\r\\n", show(&writer.call(&["GET", "k"])));
    assert!(reader.ask("STRLEN k").starts_with("-ERR \\'strlen\\' would see"));
    assert_eq!(":14\\r\\n", other.ask("STRLEN k"));
}

#[test]
fn what_is_saved_is_counted_wherever_the_request_goes() {
    let deployment = Deployment::start(Kind::Cluster);
    let proxy = proxy_with(deployment.url(), LZ4);
    let (mut acme, value) = (proxy.acme(), text(5000));
    let before_and_after = |page: &str| {
        ["input", "output"].map(|name| {
            let series = format!("tenantry_compression_{name}_bytes_total{{tenant=\"acme\"}} ");
            let line = page.lines().find_map(|line| line.strip_prefix(&series));
            line.map_or(0, |figure| figure.parse::<u64>().unwrap())
        })
    };
    acme.call(&with("SET k", &value));
    acme.call(&with("MSET a short b", &value));
    acme.ask("MULTI");
    acme.call(&with("SET k", &value));
    acme.ask("EXEC");
    acme.ask("WATCH k");
    acme.call(&with("SET k", &value));
    let mut last = [0, 0];
    proxy.wait_for("four values to be counted", || {
        last = before_and_after(&proxy.admin("/metrics").unwrap().body);
        last[0] >= 20_000
    });
    let [written, stored] = last;
    assert!(written == 20_000 && (1..10_000).contains(&stored), "{written} {stored}");
}

/// `reports-secret` as in the other tenants.
const USERS: &str = r#"
[tenant.hooli]
[[tenant.hooli.user]]
name = "writer"
secrets = ["sha256:cba98f988f2e420084bcd5700ca8ebdc8c2a17d47b9ede26e35dd9e0fb25b0c5"]
compression = "lz4"
compress_above = "100B"
[[tenant.hooli.user]]
name = "reader"
secrets = ["sha256:cba98f988f2e420084bcd5700ca8ebdc8c2a17d47b9ede26e35dd9e0fb25b0c5"]
"#;

#[test]
fn what_one_user_compresses_the_others_of_its_tenant_read() {
    let redis = RedisServer::start();
    let proxy = Proxy::start(&Setup { sections: USERS, ..Setup::for_upstream(redis.url()) });
    let [mut writer, mut reader] = ["writer", "reader"].map(|user| {
        let mut client = proxy.open();
        assert_eq!("+OK\\r\\n", client.ask(&format!("AUTH {user} reports-secret")));
        client
    });
    let value = text(500);
    writer.call(&with("SET k", &value));
    assert_eq!(writer.call(&["GET", "k"]), reader.call(&["GET", "k"]));
    assert!(redis.client().call(&["GET", "hooli:k"]).len() < 300);
    reader.call(&with("SET k", &value));
    assert_eq!(":500\\r\\n", redis.client().ask("STRLEN hooli:k"));
}

#[test]
fn pushes_come_beside_values_that_are_decompressed() {
    let redis = RedisServer::start();
    let proxy = proxy_with(redis.url(), LZ4);
    let (mut tracking, mut other) = (Client::tcp_resp3(proxy.acme_port()), proxy.acme());
    let value = text(100_000);
    other.call(&with("SET k", &value));
    assert_eq!("+OK\\r\\n", tracking.ask("CLIENT TRACKING ON"));
    let expected = other.call(&["GET", "k"]);
    assert!(expected == tracking.call(&["GET", "k"]));
    other.call(&with("SET k", &value[1..]));
    assert_eq!(">2\\r\\n$10\\r\\ninvalidate\\r\\n*1\\r\\n$1\\r\\nk\\r\\n", show(&tracking.frame()));
    assert!(other.call(&["GET", "k"]) == tracking.call(&["GET", "k"]));
}

#[test]
fn keys_that_get_a_time_to_live_have_their_values_compressed_too() {
    let (redis, oracle) = (RedisServer::start(), RedisServer::start());
    let proxy = proxy_with(redis.url(), "compression = \"lz4\"\ndefault_ttl = \"1h\"");
    let script: Vec<_> = [script(""), script_of_one_slot()].concat();
    let has_no_time = |argv: &Vec<Vec<u8>>| argv[0] != b"TTL";
    compare(oracle.client(), proxy.acme(), &script.into_iter().filter(has_no_time).collect::<Vec<_>>());
    let (mut acme, value) = (proxy.acme(), text(5000));
    for line in ["SET k", "SETNX l", "GETSET m", "MSET n"] {
        acme.call(&with(line, &value));
    }
    for key in ["k", "l", "m", "n"] {
        let stored = redis.client().ask(&format!("STRLEN acme:{key}"));
        assert!(stored[1..].trim_end_matches("\\r\\n").parse::<usize>().unwrap() < 2000, "{key} {stored}");
        assert!(redis.client().ask(&format!("TTL acme:{key}")).starts_with(":3"), "{key}");
    }
}
