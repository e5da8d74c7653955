//! What is answered from a tenant's clients is what a real server answers about its own, byte for byte.

use std::sync::Arc;

use bytes::BytesMut;

use tenantry::clients::{
    Card, Facts, Marks, Origin, Outcome, Question, SlowEntry, TenantClients, answer, client_line,
    logged_args, monitor_line,
};
use tenantry::command::{find, identify};
use tenantry::resp::reply::ReplyWriter;
use tenantry::resp::{OwnedRequest, Version};

use crate::servers::RedisServer;
use crate::wire::{Client, Tree, show};

const RELEASE: (u32, u32) = (7, 0);

fn request<A: AsRef<[u8]>>(args: &[A]) -> OwnedRequest {
    OwnedRequest::from_args(args).expect("a request has words")
}

/// What the proxy answers to a client that is alone: an arity error of the command table, or an answer.
fn ours(asker: &Arc<Card>, args: &[&[u8]], version: Version) -> (Vec<u8>, Outcome) {
    let clients = TenantClients::default();
    clients.enter(Arc::clone(asker));
    let request = request(args);
    let mut out = BytesMut::new();
    let mut reply = ReplyWriter::new(&mut out, version);
    let outcome = match identify(&request.as_request()) {
        Ok(spec) => {
            let question = Question {
                asker,
                among: &clients,
                spec,
                request: request.as_request(),
                release: RELEASE,
                now_ms: 1_000_000,
                has_user: &|_| false,
            };
            answer(&question, &mut reply).unwrap_or_else(|| panic!("{} is answered elsewhere", spec.name))
        }
        Err(unidentified) => {
            reply.error(&unidentified.refusal(&request.as_request()));
            Outcome::Stay
        }
    };
    (out.to_vec(), outcome)
}

/// The card of `client`, which has just been accepted: what does not change is taken from the server's line.
fn card_of(client: &mut Client) -> Arc<Card> {
    let line = Tree::of(&client.call(&["CLIENT", "INFO"]));
    let line = String::from_utf8(line.payload().to_vec()).expect("UTF-8");
    let field = |name: &str| {
        let start = format!("{name}=");
        // In RESP3 the text's kind stands before it.
        let mut fields = line.trim_start_matches("txt:").split(' ');
        fields.find_map(|field| field.strip_prefix(start.as_str())).expect("it is there")
    };
    let origin = Origin {
        id: field("id").parse().expect("a number"),
        addr: field("addr").into(),
        laddr: field("laddr").into(),
        fd: field("fd").parse().expect("a number"),
        is_unix: field("addr").starts_with('/'),
        created_secs: 1000,
    };
    Arc::new(Card::new(origin, Facts { user: "default".into(), ..Facts::default() }, 0))
}

/// Requests whose answers do not depend on who else is connected. None of them pauses or ends the asker.
const REQUESTS: &[&[&[u8]]] = &[
    &[b"client", b"list", b"foo"],
    &[b"client", b"list", b"type"],
    &[b"client", b"list", b"type", b"foo"],
    &[b"client", b"list", b"type", b"a\r\nb"],
    &[b"client", b"list", b"type", b"a\0b"],
    &[b"client", b"list", b"type", b"normal", b"extra"],
    &[b"client", b"list", b"type", b"master"],
    &[b"client", b"list", b"type", b"slave"],
    &[b"client", b"list", b"type", b"Replica"],
    &[b"client", b"list", b"TYPE", b"pubsub\0x"],
    &[b"client", b"list", b"id"],
    &[b"client", b"list", b"id", b"abc"],
    &[b"client", b"list", b"id", b"0", b"-1"],
    &[b"client", b"list", b"id", b"1000000", b"01"],
    &[b"client", b"list", b"id", b"99999999999999999999"],
    &[b"client", b"list", b"user", b"default"],
    &[b"client", b"info", b"x"],
    &[b"client", b"unblock"],
    &[b"client", b"unblock", b"abc"],
    &[b"client", b"unblock", b"+1"],
    &[b"client", b"unblock", b"1000000"],
    &[b"client", b"unblock", b"-1"],
    &[b"client", b"unblock", b"1000000", b"foo"],
    &[b"client", b"unblock", b"abc", b"foo"],
    &[b"client", b"unblock", b"1000000", b"Error"],
    &[b"client", b"UNblock", b"1000000", b"timeout", b"x"],
    &[b"client", b"pause"],
    &[b"client", b"pause", b"abc"],
    &[b"client", b"pause", b"-1"],
    &[b"client", b"pause", b"-1", b"foo"],
    &[b"client", b"pause", b"abc", b"WRITE"],
    &[b"client", b"pause", b"0", b"ALL"],
    &[b"client", b"pause", b"99999999999999999999"],
    &[b"client", b"pause", b"9223372036854775807"],
    &[b"client", b"pAuse", b"1", b"all", b"x"],
    &[b"client", b"unpause"],
    &[b"client", b"unpause", b"x"],
    &[b"client", b"kill"],
    &[b"client", b"kill", b"1.2.3.4:5"],
    &[b"client", b"kill", b"id"],
    &[b"client", b"kill", b"id", b"abc"],
    &[b"client", b"kill", b"id", b"0"],
    &[b"client", b"kill", b"id", b"-1"],
    &[b"client", b"kill", b"id", b"1000000"],
    &[b"client", b"kill", b"id", b"9223372036854775808"],
    &[b"client", b"kill", b"id", b"1000000", b"foo"],
    &[b"client", b"kill", b"id", b"1000000", b"foo", b"bar"],
    &[b"client", b"kill", b"foo", b"bar"],
    &[b"client", b"kill", b"type", b"foo"],
    &[b"client", b"kill", b"type", b"normal"],
    &[b"client", b"kill", b"type", b"master"],
    &[b"client", b"kill", b"type", b"replica"],
    &[b"client", b"kill", b"type", b"pubsub"],
    &[b"client", b"kill", b"addr", b"1.2.3.4:5"],
    &[b"client", b"kill", b"laddr", b"1.2.3.4:5"],
    &[b"client", b"kill", b"user", b"nosuch"],
    &[b"client", b"kill", b"user", b"no\0such"],
    &[b"client", b"kill", b"user", b"default"],
    &[b"client", b"kill", b"user", b"default", b"skipme", b"foo"],
    &[b"client", b"kill", b"id", b"abc", b"user", b"nosuch"],
    &[b"client", b"kill", b"user", b"nosuch", b"id", b"abc"],
    &[b"client", b"kill", b"skipme"],
    &[b"client", b"kill", b"skipme", b"yes"],
    &[b"client", b"kill", b"maxage", b"10"],
    &[b"slowlog"],
    &[b"slowlog", b"foo"],
    &[b"slowlog", b"get", b"abc"],
    &[b"slowlog", b"get", b"-2"],
    &[b"slowlog", b"get", b"0"],
    &[b"slowlog", b"get", b"99999999999999999999"],
    &[b"slowlog", b"GeT", b"1", b"2"],
    &[b"slowlog", b"get"],
    &[b"slowlog", b"len"],
    &[b"slowlog", b"len", b"x"],
    &[b"slowlog", b"reset"],
    &[b"slowlog", b"reset", b"x"],
    &[b"slowlog", b"help"],
    &[b"latency"],
    &[b"latency", b"foo"],
    &[b"latency", b"latest"],
    &[b"latency", b"latest", b"x"],
    &[b"latency", b"history"],
    &[b"latency", b"history", b"command"],
    &[b"latency", b"reset"],
    &[b"latency", b"reset", b"a", b"b"],
    &[b"latency", b"graph"],
    &[b"latency", b"graph", b"a\r\nb"],
    &[b"latency", b"graph", b"a\0b"],
    &[b"latency", b"doctor"],
    &[b"latency", b"doctor", b"x"],
    &[b"latency", b"histogram", b"nosuch"],
    &[b"latency", b"help"],
    &[b"pubsub", b"numpat"],
    &[b"pubsub", b"numpat", b"x"],
];

#[test]
fn a_real_server_answers_the_same() {
    let server = RedisServer::start_with(&["--slowlog-log-slower-than", "-1"]);
    for version in [Version::Resp2, Version::Resp3] {
        let mut client = match version {
            Version::Resp2 => server.client(),
            Version::Resp3 => Client::tcp_resp3(server.port),
        };
        let card = card_of(&mut client);
        for args in REQUESTS {
            let (written, outcome) = ours(&card, args, version);
            let line = args.iter().map(|arg| show(arg)).collect::<Vec<_>>().join(" ");
            assert_eq!(show(&client.call(args)), show(&written), "{line}");
            assert_eq!(Outcome::Stay, outcome, "{line}");
        }
    }
}

#[test]
fn a_client_that_kills_itself_hears_of_it_before_the_end() {
    let server = RedisServer::start();
    let forms: [fn(&str) -> Vec<&str>; 3] = [
        |addr| vec!["client", "kill", addr],
        |addr| vec!["client", "kill", "addr", addr, "skipme", "no"],
        |_| vec!["client", "kill", "type", "normal", "skipme", "no"],
    ];
    for form in forms {
        let mut client = server.client();
        let card = card_of(&mut client);
        let args = form(&card.origin().addr);
        client.send(&crate::wire::command(&args));
        let args: Vec<&[u8]> = args.iter().map(|arg| arg.as_bytes()).collect();
        let (written, outcome) = ours(&card, &args, Version::Resp2);
        assert_eq!((show(&client.until_closed()), Outcome::CloseAfterReply), (show(&written), outcome));
    }
}

/// The fields of a line that the proxy does not count, and those that depend on the moment.
const NOT_COMPARED: &[&str] = &[
    "age",
    "idle",
    "qbuf",
    "qbuf-free",
    "argv-mem",
    "multi-mem",
    "rbs",
    "rbp",
    "obl",
    "oll",
    "omem",
    "tot-mem",
];

/// A line with a mark in place of each value that is not compared.
fn comparable(line: &[u8]) -> String {
    let line = std::str::from_utf8(line).expect("UTF-8");
    let shown = |field: &str| {
        let (name, value) = field.split_once('=').unwrap_or((field, ""));
        assert!(value.parse::<u64>().is_ok() || !NOT_COMPARED.contains(&name), "{field}");
        if NOT_COMPARED.contains(&name) { format!("{name}=…") } else { field.to_owned() }
    };
    line.split(' ').map(shown).collect::<Vec<_>>().join(" ")
}

/// A client does `said`; its line is then the one of a card that `change` describes.
#[track_caller]
fn assert_listed(server: &RedisServer, said: &[&str], last: &str, change: impl FnOnce(&Card)) {
    let (mut observer, mut client) = (server.client(), server.client());
    let card = card_of(&mut client);
    for line in said {
        let confirmed = client.call(&line.split(' ').collect::<Vec<_>>());
        assert!(!confirmed.starts_with(b"-"), "{line}: {}", show(&confirmed));
    }
    card.touch(u16::try_from(find(last).expect("in the table").index()).expect("small"), 1000);
    change(&card);
    let line = observer.call(&["CLIENT", "LIST", "ID", &card.id().to_string()]);
    let expected = comparable(Tree::of(&line).payload());
    assert_eq!(expected, comparable(&client_line(&card, RELEASE, 1010)), "{said:?}");
}

#[test]
fn a_line_has_the_servers_fields_in_its_order() {
    let server = RedisServer::start();
    assert_listed(&server, &[], "CLIENT INFO", |_| {});
    assert_listed(&server, &["HELLO 3 SETNAME me"], "HELLO", |card| {
        card.amend(|facts| (facts.version, facts.name) = (Version::Resp3, b"me".as_slice().into()));
    });
    assert_listed(&server, &["SELECT 3"], "SELECT", |card| card.amend(|facts| facts.database = 3));
    assert_listed(&server, &["WATCH k"], "WATCH", |card| card.amend(|facts| facts.watched = 1));
    assert_listed(&server, &["MULTI"], "MULTI", |card| card.amend(|facts| facts.queued = Some(0)));
    assert_listed(&server, &["MULTI", "PING", "GET k"], "GET", |card| {
        card.amend(|facts| facts.queued = Some(2));
    });
    assert_listed(
        &server,
        &["SUBSCRIBE a", "SUBSCRIBE b", "PSUBSCRIBE c", "SSUBSCRIBE d"],
        "SSUBSCRIBE",
        |card| {
            card.amend(|facts| (facts.channels, facts.patterns, facts.shard_channels) = (2, 1, 1));
        },
    );
    let mark = |marks: Marks| move |card: &Card| card.amend(|facts| facts.marks = marks);
    assert_listed(&server, &["CLIENT NO-EVICT ON"], "CLIENT NO-EVICT", mark(Marks::NO_EVICT));
    assert_listed(&server, &["MONITOR"], "MONITOR", mark(Marks::MONITOR));
    assert_listed(&server, &["HELLO 3", "CLIENT TRACKING ON BCAST"], "CLIENT TRACKING", |card| {
        card.amend(|facts| {
            (facts.version, facts.marks) = (Version::Resp3, Marks::TRACKING | Marks::TRACKING_BCAST);
        });
    });
    let mut redirected_to = server.client();
    let target = card_of(&mut redirected_to).id();
    assert_listed(&server, &[&format!("CLIENT TRACKING ON REDIRECT {target}")], "CLIENT TRACKING", |card| {
        card.amend(|facts| (facts.redirect, facts.marks) = (target, Marks::TRACKING));
    });
}

#[test]
fn a_blocked_client_shows_it() {
    let server = RedisServer::start();
    let (mut observer, mut client) = (server.client(), server.client());
    let card = card_of(&mut client);
    client.send(&crate::wire::words("BLPOP q 0"));
    card.touch(u16::try_from(find("BLPOP").expect("in the table").index()).expect("small"), 1000);
    card.set_blocked(true);
    // The server counts it as blocked in the same turn in which it shows it.
    while observer.call(&["INFO", "clients"]).windows(17).all(|text| text != b"blocked_clients:1") {}
    let line = observer.call(&["CLIENT", "LIST", "ID", &card.id().to_string()]);
    let expected = comparable(Tree::of(&line).payload());
    assert_eq!(expected, comparable(&client_line(&card, RELEASE, 1010)));
}

#[test]
fn a_client_of_a_unix_socket_is_shown_by_its_path() {
    let server = RedisServer::start();
    let (mut monitor, mut client) = (server.client(), Client::unix(&server.socket()));
    let card = card_of(&mut client);
    card.touch(u16::try_from(find("CLIENT INFO").expect("in the table").index()).expect("small"), 1000);
    let line = monitor.call(&["CLIENT", "LIST", "ID", &card.id().to_string()]);
    let expected = comparable(Tree::of(&line).payload());
    assert_eq!(expected, comparable(&client_line(&card, RELEASE, 1010)));

    assert_eq!("+OK\\r\\n", monitor.ask("MONITOR"));
    client.call(&["ping"]);
    assert_shown(&monitor.frame(), &card, &[b"ping"], 0);
}

/// `shown` is the line for a request of `client`.
#[track_caller]
fn assert_shown(shown: &[u8], client: &Card, args: &[&[u8]], database: u32) {
    let request = request(args);
    let spec = identify(&request.as_request()).expect("in the table");
    let time = std::str::from_utf8(&shown[1..18]).expect("digits").replace('.', "");
    let micros = time.parse().expect("a number");
    let line = monitor_line(spec, &request.as_request(), client, database, micros).expect("it is shown");
    assert_eq!(show(shown), show(&line));
}

#[test]
fn a_monitor_shows_the_same_lines() {
    let server = RedisServer::start();
    let (mut monitor, mut client) = (server.client(), server.client());
    let card = card_of(&mut client);
    assert_eq!("+OK\\r\\n", monitor.ask("MONITOR"));
    let said: &[(&[&[u8]], u32)] = &[
        (&[b"SeT", b"a b\n\"\x00\xff\\\r\t\x07\x08'~\x7f", b""], 0),
        (&[b"client", b"list"], 0),
        (&[b"auth", b"user", b"password"], 0),
        (&[b"hello", b"2", b"auth", b"default", b"password", b"setname", b"me"], 0),
        (&[b"hello", b"2", b"setname", b"auth"], 0),
        (&[b"select", b"3"], 3),
        (&[b"eval", b"return 1", b"0"], 3),
        (&[b"eval_ro", b"return 1", b"0"], 3),
        (&[b"config", b"get", b"port"], 3),
        (&[b"slowlog", b"len"], 3),
        (&[b"publish", b"c", b"m"], 3),
        (&[b"multi"], 3),
        (&[b"exec"], 3),
        (&[b"ping", b"the end"], 3),
    ];
    let mut tried = 0;
    for (args, database) in said {
        client.call(args);
        let request = request(args);
        let spec = identify(&request.as_request()).expect("in the table");
        if monitor_line(spec, &request.as_request(), &card, *database, 0).is_none() {
            // The next line is then another command's.
            continue;
        }
        assert_shown(&monitor.frame(), &card, args, *database);
        tried += 1;
    }
    assert_eq!(11, tried, "the administration's three are hidden");
}

#[test]
fn the_slow_log_has_the_same_entries() {
    let server = RedisServer::start_with(&["--slowlog-log-slower-than", "0"]);
    let mut client = server.client();
    let card = card_of(&mut client);
    let long = vec![b'v'; 200];
    let exact = vec![b'w'; 128];
    let many: Vec<Vec<u8>> = (0..40).map(|number: i32| number.to_string().into_bytes()).collect();
    let mut said: Vec<Vec<&[u8]>> = vec![
        vec![b"slowlog", b"reset"],
        vec![b"set", &long, &exact],
        vec![b"get", b"a b\n\"\x00\xff"],
        vec![b"auth", b"user", b"password"],
        vec![b"hello", b"2", b"auth", b"default", b"password"],
        vec![b"multi"],
        vec![b"exec"],
    ];
    for keys in [31, 32, 40] {
        said.push(
            std::iter::once(b"del".as_slice()).chain(many.iter().take(keys).map(Vec::as_slice)).collect(),
        );
    }
    let clients = TenantClients::default();
    for args in &said {
        client.call(args);
        let request = request(args);
        let spec = identify(&request.as_request()).expect("in the table");
        if let Some(args) = logged_args(spec, &request.as_request()) {
            clients.slow_log().record(SlowEntry::new(&card, args, 0, 0));
        }
    }
    let get = request(&["slowlog", "get", "-1"]);
    let question = Question {
        asker: &card,
        among: &clients,
        spec: find("SLOWLOG GET").expect("in the table"),
        request: get.as_request(),
        release: RELEASE,
        now_ms: 0,
        has_user: &|_| false,
    };
    let mut out = BytesMut::new();
    assert!(answer(&question, &mut ReplyWriter::new(&mut out, Version::Resp2)).is_some());
    let expected = without_times(&client.call(&["slowlog", "get", "-1"]));
    assert_eq!((9, expected), (without_times(&out).len(), without_times(&out)));
}

/// The entries of a slow log, newest first: without number, time and duration.
fn without_times(reply: &[u8]) -> Vec<Vec<Tree>> {
    let log = Tree::of(reply);
    let entries = log.elements().iter().map(Tree::elements);
    entries
        .map(|entry| {
            let is_number = |field: &Tree| matches!(field, Tree::Leaf(bytes) if bytes[0] == b':');
            assert!(entry.len() == 6 && entry[..3].iter().all(is_number), "{entry:?}");
            entry[3..].to_vec()
        })
        .collect()
}
