//! Framing and refusals, row by row: the literal, a plain Redis and the proxy must agree.

use crate::servers::{Proxy, RedisServer};
use crate::texts;
use crate::wire::{Client, Tree, command, show, words};

/// What becomes of the connection after the reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    Closed,
}

use End::{Closed, Open};

/// Bytes sent, bytes expected.
type Row = (&'static [u8], &'static [u8], End);

const FRAMING: &[Row] = &[
    (b"PING\n", b"+PONG\r\n", Open),
    (b"  PING  \r\n", b"+PONG\r\n", Open),
    (b"\tPING\t\r\n", b"+PONG\r\n", Open),
    (b"ping hello\r\n", b"$5\r\nhello\r\n", Open),
    (b"\r\n\n\r\nPING\r\n", b"+PONG\r\n", Open),
    (b"   \r\nPING\r\n", b"+PONG\r\n", Open),
    (b"SET \"a\\x41\" 'c d'\r\nGET aA\r\n", b"+OK\r\n$3\r\nc d\r\n", Open),
    (b"ECHO \"\\r\\n\\t\\b\\a\\\\\\\"\\q\"\r\n", b"$8\r\n\r\n\t\x08\x07\\\"q\r\n", Open),
    (b"ECHO 'it\\'s'\r\n", b"$4\r\nit's\r\n", Open),
    (b"ECHO \"\"\r\n", b"$0\r\n\r\n", Open),
    (b"ECHO a\"b\"\r\n", b"$2\r\nab\r\n", Open),
    (b"ECHO \"a\"b\r\n", b"-ERR Protocol error: unbalanced quotes in request\r\n", Closed),
    (b"ECHO \"a\r\n", b"-ERR Protocol error: unbalanced quotes in request\r\n", Closed),
    (b"ECHO 'a\r\n", b"-ERR Protocol error: unbalanced quotes in request\r\n", Closed),
    (b"*0\r\nPING\r\n", b"+PONG\r\n", Open),
    (b"*-1\r\nPING\r\n", b"+PONG\r\n", Open),
    (b"*-10\r\nPING\r\n", b"+PONG\r\n", Open),
    (b"*x\r\n", b"-ERR Protocol error: invalid multibulk length\r\n", Closed),
    (b"*\r\n", b"-ERR Protocol error: invalid multibulk length\r\n", Closed),
    (b"*01\r\n", b"-ERR Protocol error: invalid multibulk length\r\n", Closed),
    (b"*+1\r\n", b"-ERR Protocol error: invalid multibulk length\r\n", Closed),
    (b"*1 \r\n", b"-ERR Protocol error: invalid multibulk length\r\n", Closed),
    (b"* 1\r\n", b"-ERR Protocol error: invalid multibulk length\r\n", Closed),
    (b"*-0\r\n", b"-ERR Protocol error: invalid multibulk length\r\n", Closed),
    (b"*2147483648\r\n", b"-ERR Protocol error: invalid multibulk length\r\n", Closed),
    (b"*99999999999999999999\r\n", b"-ERR Protocol error: invalid multibulk length\r\n", Closed),
    (b"*1\n$4\nPING\n\r\n", b"-ERR Protocol error: invalid multibulk length\r\n", Closed),
    // As many arguments are welcome; what is wrong here is the length of the first.
    (b"*1048577\r\n$x\r\n", b"-ERR Protocol error: invalid bulk length\r\n", Closed),
    (b"*2147483647\r\n$x\r\n", b"-ERR Protocol error: invalid bulk length\r\n", Closed),
    (b"*1\r\n+PING\r\n", b"-ERR Protocol error: expected '$', got '+'\r\n", Closed),
    (b"*1\r\n\r\n", b"-ERR Protocol error: expected '$', got ' '\r\n", Closed),
    (b"*2\r\n$4\r\nECHO\r\n:1\r\n", b"-ERR Protocol error: expected '$', got ':'\r\n", Closed),
    (b"*1\r\n$x\r\n", b"-ERR Protocol error: invalid bulk length\r\n", Closed),
    (b"*1\r\n$\r\n", b"-ERR Protocol error: invalid bulk length\r\n", Closed),
    (b"*1\r\n$-1\r\n", b"-ERR Protocol error: invalid bulk length\r\n", Closed),
    (b"*1\r\n$04\r\nPING\r\n", b"-ERR Protocol error: invalid bulk length\r\n", Closed),
    (b"*1\r\n$+4\r\nPING\r\n", b"-ERR Protocol error: invalid bulk length\r\n", Closed),
    (b"*1\r\n$4 \r\nPING\r\n", b"-ERR Protocol error: invalid bulk length\r\n", Closed),
    (b"*1\r\n$536870913\r\n", b"-ERR Protocol error: invalid bulk length\r\n", Closed),
    (b"*1\r\n$18446744073709551620\r\n", b"-ERR Protocol error: invalid bulk length\r\n", Closed),
    // The two bytes after a bulk are skipped unread: what follows them must not become somebody's request.
    (b"*1\r\n$4\r\nPINGxx", b"+PONG\r\n", Open),
    (b"*2\r\n$4\r\nECHO\r\n$1\r\na$1*1\r\n$4\r\nPING\r\n", b"$1\r\na\r\n+PONG\r\n", Open),
    (
        b"*3\r\n$3\r\nSET\r\n$5\r\nsmugg\r\r$3\r\nvalxx*2\r\n$3\r\nGET\r\n$5\r\nsmugg\n\n",
        b"+OK\r\n$3\r\nval\r\n",
        Open,
    ),
    (b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"", Closed),
    (b"*1\r\n$5\r\nHost:\r\n*1\r\n$4\r\nPING\r\n", b"", Closed),
    (b"QUIT\r\nPING\r\n", b"+OK\r\n", Closed),
    (b"*2\r\n$4\r\nquit\r\n$1\r\nx\r\n*1\r\n$4\r\nPING\r\n", b"+OK\r\n", Closed),
    (b"PING\r\nQUIT\r\nSET never executed\r\n", b"+PONG\r\n+OK\r\n", Closed),
    (b"SET early 1\r\n*1\r\n:\r\n", b"+OK\r\n-ERR Protocol error: expected '$', got ':'\r\n", Closed),
];

const REFUSALS: &[Row] = &[
    (b"*1\r\n$0\r\n\r\n", b"-ERR unknown command '', with args beginning with: \r\n", Open),
    (b"FOO\r\n", b"-ERR unknown command 'FOO', with args beginning with: \r\n", Open),
    (b"foo a b\r\n", b"-ERR unknown command 'foo', with args beginning with: 'a' 'b' \r\n", Open),
    (
        b"*2\r\n$4\r\nF\r\nO\r\n$5\r\na\r\nbc\r\n",
        b"-ERR unknown command 'F  O', with args beginning with: 'a  bc' \r\n",
        Open,
    ),
    (
        b"*2\r\n$3\r\nF\0O\r\n$3\r\na\0b\r\n",
        b"-ERR unknown command 'F', with args beginning with: 'a' \r\n",
        Open,
    ),
    (
        b"GETX acme:k globex:k\r\n",
        b"-ERR unknown command 'GETX', with args beginning with: 'acme:k' 'globex:k' \r\n",
        Open,
    ),
    (b"CONFIG FOO\r\n", b"-ERR unknown subcommand 'FOO'. Try CONFIG HELP.\r\n", Open),
    (b"client foo bar\r\n", b"-ERR unknown subcommand 'foo'. Try CLIENT HELP.\r\n", Open),
    (b"object foo k\r\n", b"-ERR unknown subcommand 'foo'. Try OBJECT HELP.\r\n", Open),
    (
        b"CLIENT MAINT_NOTIFICATIONS ON moving-endpoint-type none\r\n",
        b"-ERR unknown subcommand 'MAINT_NOTIFICATIONS'. Try CLIENT HELP.\r\n",
        Open,
    ),
    (b"CLIENT SETINFO LIB-NAME x\r\n", b"-ERR unknown subcommand 'SETINFO'. Try CLIENT HELP.\r\n", Open),
    (b"GET\r\n", b"-ERR wrong number of arguments for 'get' command\r\n", Open),
    (b"GeT a b\r\n", b"-ERR wrong number of arguments for 'get' command\r\n", Open),
    (b"OBJECT ENCODING\r\n", b"-ERR wrong number of arguments for 'object|encoding' command\r\n", Open),
    (b"XGROUP\r\n", b"-ERR wrong number of arguments for 'xgroup' command\r\n", Open),
    (b"CONFIG GET\r\n", b"-ERR wrong number of arguments for 'config|get' command\r\n", Open),
    (b"PING a b\r\n", b"-ERR wrong number of arguments for 'ping' command\r\n", Open),
    (b"ECHO\r\n", b"-ERR wrong number of arguments for 'echo' command\r\n", Open),
    (b"SELECT\r\n", b"-ERR wrong number of arguments for 'select' command\r\n", Open),
    (b"BLPOP k\r\n", b"-ERR wrong number of arguments for 'blpop' command\r\n", Open),
    (
        b"SENTINEL MASTERS\r\n",
        b"-ERR unknown command 'SENTINEL', with args beginning with: 'MASTERS' \r\n",
        Open,
    ),
    (b"JSON.GET k\r\n", b"-ERR unknown command 'JSON.GET', with args beginning with: 'k' \r\n", Open),
];

/// Ends an exchange that stays open: what came before this reply belongs to the row.
const MARKER: &[u8] = b"$15\r\nend of this row\r\n";

/// What a peer sends in reply, followed by a remark if the connection does not end as expected.
fn exchange(mut client: Client, sent: &[u8], end: End) -> Vec<u8> {
    // A peer that closes early may leave part of a long request unsent.
    drop(client.try_send(sent));
    if end == Closed {
        return client.try_until_closed().unwrap_or_else(|rest| [&rest, b"(left open)".as_slice()].concat());
    }
    client.send(&command(&["ECHO", "end of this row"]));
    let mut received = Vec::new();
    loop {
        match client.try_frame() {
            Ok(frame) if frame == MARKER => return received,
            Ok(frame) => received.extend(frame),
            Err(none) => return [received, format!("({none})").into_bytes()].concat(),
        }
    }
}

fn rows_agree(rows: &[Row]) {
    let (own, shared) = (RedisServer::start(), RedisServer::start());
    let proxy = Proxy::before(&shared);
    let mut wrong = Vec::new();
    for (sent, expected, end) in rows {
        let direct = exchange(own.client(), sent, *end);
        let proxied = exchange(proxy.acme(), sent, *end);
        for (who, received) in [("direct Redis", direct), ("proxy", proxied)] {
            if received != *expected {
                wrong.push(format!(
                    "{}\n  {who}: {}\n  expected: {}",
                    show(sent),
                    show(&received),
                    show(expected)
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {} rows differ:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

#[test]
fn framing_is_that_of_redis() {
    rows_agree(FRAMING);
}

#[test]
fn unknown_commands_and_wrong_arity_are_worded_as_in_redis() {
    rows_agree(REFUSALS);
}

#[test]
fn endless_lines_end_in_the_error_of_redis() {
    let (own, shared) = (RedisServer::start(), RedisServer::start());
    let proxy = Proxy::before(&shared);
    let rows: [(Vec<u8>, &str); 4] = [
        (vec![b'a'; 70_000], "-ERR Protocol error: too big inline request\r\n"),
        ([b"*".to_vec(), vec![b'1'; 70_000]].concat(), "-ERR Protocol error: too big mbulk count string\r\n"),
        (
            [b"*1\r\n$".to_vec(), vec![b'1'; 70_000]].concat(),
            "-ERR Protocol error: too big bulk count string\r\n",
        ),
        (
            [b"*1\r\n".to_vec(), vec![b'$'; 70_000]].concat(),
            "-ERR Protocol error: too big bulk count string\r\n",
        ),
    ];
    for (sent, expected) in rows {
        assert_eq!(expected, show_line(&exchange(own.client(), &sent, Closed)), "direct");
        assert_eq!(expected, show_line(&exchange(proxy.acme(), &sent, Closed)), "proxied");
    }
}

fn show_line(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn http_request_is_not_answered_with_data() {
    let (own, shared) = (RedisServer::start(), RedisServer::start());
    let proxy = Proxy::before(&shared);
    let request = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let direct = exchange(own.client(), request, Closed);
    assert_eq!(show(&direct), show(&exchange(proxy.acme(), request, Closed)));
}

#[test]
fn long_names_are_cut_in_the_error_as_redis_cuts_them() {
    let (own, shared) = (RedisServer::start(), RedisServer::start());
    let proxy = Proxy::before(&shared);
    let (mut direct, mut proxied) = (own.client(), proxy.acme());
    for name in [1, 127, 128, 129, 300] {
        for argument in [0, 1, 120, 126, 127, 128, 129, 500] {
            for count in [0, 1, 2, 3] {
                let mut argv = vec!["n".repeat(name)];
                argv.extend(std::iter::repeat_n("a".repeat(argument), count));
                assert_eq!(
                    show(&direct.call(&argv)),
                    show(&proxied.call(&argv)),
                    "{name} {argument} {count}"
                );
            }
        }
    }
}

#[test]
fn commands_for_operators_are_refused_as_by_redis_acl() {
    let redis = RedisServer::start();
    let proxy = Proxy::before(&redis);
    let mut acme = proxy.acme();
    for (line, name) in [
        ("ACL LIST", "acl|list"),
        ("CONFIG SET maxmemory 1", "config|set"),
        ("SHUTDOWN NOSAVE", "shutdown"),
        ("DEBUG SLEEP 0", "debug"),
        ("MIGRATE 127.0.0.1 1 k 0 10", "migrate"),
        ("REPLICAOF NO ONE", "replicaof"),
        ("SWAPDB 0 1", "swapdb"),
    ] {
        assert_eq!(
            texts::no_permission(name),
            show_line(&acme.call(&line.split(' ').collect::<Vec<_>>())),
            "{line}"
        );
    }
    assert_eq!("+PONG\\r\\n", acme.ask("PING"));
}

#[test]
fn large_value_may_arrive_in_a_thousand_pieces() {
    const PIECES: usize = 1000;
    const PIECE: usize = 20_000;
    let redis = RedisServer::start();
    let proxy = Proxy::before(&redis);
    let value: Vec<u8> = (0..PIECES * PIECE).map(|index| u8::try_from(index * 31 % 251).unwrap()).collect();
    let mut acme = proxy.acme();
    acme.send(format!("*3\r\n$3\r\nSET\r\n$5\r\nlarge\r\n${}\r\n", value.len()).as_bytes());
    value.chunks(PIECE).for_each(|piece| acme.send(piece));
    acme.send(b"\r\n");
    assert_eq!("+OK\\r\\n", show(&acme.frame()));
    let reply = acme.call(&["GET", "large"]);
    assert!(Tree::of(&reply).payload() == value, "the value read is not the value written");
    assert!(
        redis.client().call(&["GET", "acme:large"]) == reply,
        "the value stored is not the value written"
    );
}

#[test]
fn pipeline_may_arrive_byte_by_byte() {
    let redis = RedisServer::start();
    let proxy = Proxy::before(&redis);
    let mut acme = proxy.acme();
    let pipeline = [
        words("SET key value"),
        b"GET key\r\n".to_vec(),
        b"*0\r\n\r\n".to_vec(),
        words("MGET key other key"),
    ];
    for byte in pipeline.concat() {
        acme.send(&[byte]);
    }
    assert_eq!("+OK\\r\\n", show(&acme.frame()));
    assert_eq!("$5\\r\\nvalue\\r\\n", show(&acme.frame()));
    assert_eq!("*3\\r\\n$5\\r\\nvalue\\r\\n$-1\\r\\n$5\\r\\nvalue\\r\\n", show(&acme.frame()));
}

#[test]
fn replies_of_ten_thousand_pipelined_commands_come_in_order() {
    const COMMANDS: usize = 10_000;
    let (own, shared) = (RedisServer::start(), RedisServer::start());
    let proxy = Proxy::before(&shared);
    let pipeline: Vec<u8> = (0..COMMANDS).flat_map(pipelined).collect();
    let (mut direct, mut proxied) = (own.client(), proxy.acme());
    let senders = [direct.send_beside(pipeline.clone()), proxied.send_beside(pipeline)];
    let (expected, received) = (direct.frames(COMMANDS), proxied.frames(COMMANDS));
    for (index, (expected, received)) in expected.iter().zip(&received).enumerate() {
        assert_eq!(show(expected), show(received), "reply {index} to {}", show(&pipelined(index)));
    }
    for sender in senders {
        sender.join().expect("the sender ends").expect("everything is sent");
    }
}

/// Forwarded, local and refused commands, large and small replies in turn.
fn pipelined(index: usize) -> Vec<u8> {
    match index % 11 {
        0 => words("PING"),
        1 | 6 => words(&format!("ECHO {index}")),
        2 => words(&format!("SELECT {}", index % 3)),
        3 => words(&format!("SET key{} {index}", index % 7)),
        4 => words(&format!("GET key{}", index % 7)),
        5 => words("INCR counter"),
        7 => words(&format!("NOSUCH {index}")),
        8 => words(&format!("MGET key{} counter missing", index % 7)),
        9 => format!("PING inline{index}\r\n").into_bytes(),
        _ => command(&["SETEX", "large", "100000", &"x".repeat(index % 2000)]),
    }
}

#[test]
fn hello_inside_a_pipeline_changes_what_follows_it() {
    let (own, shared) = (RedisServer::start(), RedisServer::start());
    let proxy = Proxy::before(&shared);
    let pipeline: Vec<u8> = [
        "HSET h f v",
        "HGETALL h",
        "GET missing",
        "HELLO 3",
        "HGETALL h",
        "GET missing",
        "SMEMBERS missing",
        "ZADD z 1.5 m",
        "ZSCORE z m",
        "HELLO 2",
        "HGETALL h",
        "ZSCORE z m",
        "HELLO",
        "HELLO 3 SETNAME me",
        "CLIENT GETNAME",
        "HELLO 9",
        "HGETALL h",
    ]
    .iter()
    .flat_map(|line| words(line))
    .collect();
    let replies = |mut client: Client| {
        client.send(&pipeline);
        client.frames(17).iter().map(|frame| without_client_id(frame)).collect::<Vec<_>>()
    };
    let (expected, received) = (replies(own.client()), replies(proxy.acme()));
    assert_eq!(expected, received);
    assert_eq!("*2\\r\\n$1\\r\\nf\\r\\n$1\\r\\nv\\r\\n", received[1]);
    assert_eq!("%1\\r\\n$1\\r\\nf\\r\\n$1\\r\\nv\\r\\n", received[4]);
    assert_eq!("_\\r\\n", received[5]);
    assert_eq!(",1.5\\r\\n", received[8]);
    assert_eq!("*2\\r\\n$1\\r\\nf\\r\\n$1\\r\\nv\\r\\n", received[10]);
}

/// The greeting carries the number of the connection, which differs.
fn without_client_id(frame: &[u8]) -> String {
    let text = show(frame);
    match text.split_once("$2\\r\\nid\\r\\n:") {
        Some((before, after)) => {
            format!("{before}(id){}", after.trim_start_matches(|c: char| c.is_ascii_digit()))
        }
        None => text,
    }
}

#[test]
fn replies_are_sent_to_a_client_that_has_finished_sending() {
    let redis = RedisServer::start();
    let proxy = Proxy::before(&redis);
    let mut acme = proxy.acme();
    acme.send(&[words("SET k v"), words("PING"), words("GET k")].concat());
    acme.finish_sending();
    assert_eq!("+OK\\r\\n+PONG\\r\\n$1\\r\\nv\\r\\n", show(&acme.until_closed()));
}
