//! The walks over an upstream that is a set of names.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use bytes::BytesMut;

use super::*;
use crate::command::glob;
use crate::resp::{OwnedRequest, SendQueue, Version};
use crate::tenant::Scoped;
use crate::tenant::directory::DatabaseKind;

const LIMITS: UpstreamLimits = UpstreamLimits { max_bulk: 1 << 20, max_request: 1 << 24 };
const SECRET: [u8; 32] = [7; 32];

/// Slots of the fake's table: a cursor is a slot, whatever is stored or deleted meanwhile.
const SLOTS: usize = 4_096;

/// The number in a request is a hint: pages are this small, so that a walk has several.
const MOST_ON_A_PAGE: usize = 100;

/// The few commands that the walks send, over a set of names.
#[derive(Default)]
struct Upstream {
    /// Each with its slot, in the order of the slots.
    names: RefCell<BTreeSet<(usize, String)>>,
    /// Every request, as words.
    asked: RefCell<Vec<String>>,
    /// Shows each key once more on the page after its own, as a table does that changes its size.
    repeats: bool,
    last_page: RefCell<Vec<String>>,
    /// Stored one by one, each before a page is read.
    arriving: RefCell<Vec<String>>,
    /// The client goes after so many requests.
    patience: Cell<Option<usize>>,
    /// What everything is answered with instead.
    failure: Option<Result<Bytes, Bytes>>,
}

fn slotted(name: String) -> (usize, String) {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    (usize::try_from(hash >> 40).unwrap() % SLOTS, name)
}

impl Upstream {
    fn with(names: impl IntoIterator<Item = String>) -> Self {
        Self { names: RefCell::new(names.into_iter().map(slotted).collect()), ..Self::default() }
    }

    fn scan(&self, words: &[&str]) -> String {
        self.names.borrow_mut().extend(self.arriving.borrow_mut().pop().map(slotted));
        let [_, cursor, "MATCH", pattern, "COUNT", count, ..] = words else {
            panic!("not a page: {words:?}")
        };
        let (at, count) =
            (cursor.parse::<u64>().unwrap(), count.parse::<usize>().unwrap().min(MOST_ON_A_PAGE));
        let at = usize::try_from(at).unwrap() % SLOTS;
        let names = self.names.borrow();
        let (mut looked_at, mut next, mut shown) = (0, 0, Vec::new());
        for (slot, name) in names.range((at, String::new())..) {
            // A slot is looked at as a whole.
            if looked_at >= count && *slot >= next {
                break;
            }
            (looked_at, next) = (looked_at + 1, slot + 1);
            shown.extend(Some(name.clone()).filter(|n| glob::matches(pattern.as_bytes(), n.as_bytes())));
        }
        let is_end = names.range((next, String::new())..).next().is_none();
        let next = if is_end { 0 } else { next };
        let again = self.last_page.replace(shown.clone());
        shown.extend(again.into_iter().filter(|_| self.repeats));
        let next = next.to_string();
        let mut reply = format!("*2\r\n${}\r\n{next}\r\n*{}\r\n", next.len(), shown.len());
        reply.extend(shown.iter().map(|name| format!("${}\r\n{name}\r\n", name.len())));
        reply
    }

    fn answer(&self, words: &[&str]) -> String {
        let mut names = self.names.borrow_mut();
        let place = |name: &str| slotted(name.to_owned());
        let is_stored = |name: &str| names.contains(&place(name));
        let number = match words {
            ["UNLINK", unlinked @ ..] => unlinked.iter().filter(|name| names.remove(&place(name))).count(),
            ["RENAMENX", from, _] if !is_stored(from) => return "-ERR no such key\r\n".to_owned(),
            ["RENAMENX", _, to] if is_stored(to) => 0,
            ["RENAMENX", from, to] => {
                names.remove(&place(from));
                usize::from(names.insert(place(to)))
            }
            _ => panic!("not a request of a walk: {words:?}"),
        };
        format!(":{number}\r\n")
    }

    fn count_of(&self, command: &str) -> usize {
        self.asked.borrow().iter().filter(|line| line.starts_with(command)).count()
    }

    fn stored(&self) -> Vec<String> {
        let mut names: Vec<String> = self.names.borrow().iter().map(|(_, name)| name.clone()).collect();
        names.sort();
        names
    }
}

impl Errand for Upstream {
    async fn ask(&self, request: Scoped<'_>) -> Result<Bytes, Bytes> {
        let mut queue = SendQueue::default();
        request.queue(&mut queue);
        let text = String::from_utf8(queue.tail().to_vec()).unwrap();
        let words: Vec<&str> = text.split("\r\n").skip(2).step_by(2).collect();
        self.asked.borrow_mut().push(words.join(" "));
        if let Some(failure) = &self.failure {
            return failure.clone();
        }
        Ok(Bytes::from(if words[0] == "SCAN" { self.scan(&words) } else { self.answer(&words) }))
    }

    fn is_abandoned(&self) -> bool {
        self.patience.get().is_some_and(|requests| self.asked.borrow().len() >= requests)
    }
}

/// A tenant `acme` with 16 virtual databases.
fn binding() -> Arc<Binding> {
    crate::tenant::example_binding(DatabaseKind::Virtual)
}

/// What the client of database 0 reads.
fn answer(upstream: &Upstream, line: &str) -> String {
    let binding = binding();
    let namespace = binding.namespace(0).unwrap();
    let keyspace = Keyspace { errand: upstream, binding: &binding, namespace, limits: LIMITS };
    let words: Vec<&str> = line.split(' ').collect();
    let request = OwnedRequest::from_args(&words).unwrap();
    let request = request.as_request();
    let mut out = BytesMut::new();
    let mut reply = ReplyWriter::new(&mut out, Version::Resp2);
    let answered = async {
        match words[0] {
            "SCAN" => keyspace.scan(&request, &SECRET, &mut reply).await,
            "KEYS" => keyspace.keys(&request, &mut reply).await,
            "RANDOMKEY" => keyspace.random_key(fastrand::u64(..), &mut reply).await,
            "DBSIZE" => keyspace.dbsize(&mut reply).await,
            "FLUSHDB" => keyspace.flush(&request, Flushed::Database, &mut reply).await,
            "FLUSHALL" => keyspace.flush(&request, Flushed::All, &mut reply).await,
            "MOVE" => keyspace.move_key(&request, &mut reply).await,
            _ => panic!("{line} is none of these"),
        }
    };
    run(answered);
    String::from_utf8(out.to_vec()).unwrap()
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// The lines of a reply that are names.
fn names(reply: &str) -> Vec<&str> {
    reply.split("\r\n").filter(|line| line.starts_with("key")).collect()
}

fn keys_of(prefix: &str, count: usize) -> impl Iterator<Item = String> {
    (0..count).map(move |number| format!("{prefix}key{number}"))
}

/// Twelve keys in the client's database, three in another of its own, five hundred of others.
fn crowded() -> Upstream {
    let own = keys_of("acme:", 12).chain(keys_of("acme@1:", 3));
    Upstream::with(own.chain(keys_of("other:", 300)).chain(keys_of("acmeother:", 200)))
}

#[test]
fn a_scan_shows_every_key_of_the_database_and_no_other() {
    for count in ["1", "10", "5000"] {
        let upstream = crowded();
        let (mut cursor, mut seen) = ("0".to_owned(), BTreeSet::new());
        loop {
            let reply = answer(&upstream, &format!("SCAN {cursor} COUNT {count}"));
            seen.extend(names(&reply).into_iter().map(str::to_owned));
            cursor = reply.split("\r\n").nth(2).unwrap().to_owned();
            if cursor == "0" {
                break;
            }
            assert!(cursor.parse::<u64>().unwrap() < 1 << 52);
        }
        assert_eq!(keys_of("", 12).collect::<BTreeSet<String>>(), seen, "COUNT {count}");
    }
}

#[test]
fn a_scan_goes_on_until_it_has_as_many_as_were_asked_for() {
    let upstream = crowded();
    assert!(names(&answer(&upstream, "SCAN 0 COUNT 5")).len() >= 5);
    assert!(upstream.count_of("SCAN") > 1);
}

/// Somebody else may have a billion keys.
#[test]
fn a_scan_that_finds_nothing_stops_somewhere() {
    let upstream = Upstream::with(keys_of("other:", 50_000));
    let reply = answer(&upstream, "SCAN 0 COUNT 10");
    assert!(reply.ends_with("\r\n*0\r\n") && !reply.starts_with("*2\r\n$1\r\n0\r\n"), "{reply}");
    assert_eq!(16, upstream.count_of("SCAN"));
    let asked = upstream.asked.borrow();
    let counts: Vec<&str> = asked.iter().filter_map(|line| line.rsplit(' ').next()).collect();
    assert_eq!(["10", "20", "40", "80", "160", "320", "640", "1000", "1000"], counts[..9]);
}

#[test]
fn options_are_passed_on_and_the_last_of_each_counts() {
    let upstream = crowded();
    let reply = answer(&upstream, "SCAN 0 match x MATCH key1? TYPE list COUNT 3 type string count 9000");
    assert_eq!(vec!["key10", "key11"], {
        let mut found = names(&reply);
        found.sort_unstable();
        found
    });
    assert_eq!("SCAN 0 MATCH acme:key1? COUNT 1000 TYPE string", upstream.asked.borrow()[0]);
}

/// Tried on Redis 7.0.15.
#[test]
fn malformed_scans_are_refused_as_redis_does() {
    let (syntax, integer) = ("-ERR syntax error\r\n", "-ERR value is not an integer or out of range\r\n");
    for (line, expected) in [
        ("SCAN abc FOO", "-ERR invalid cursor\r\n"),
        ("SCAN 0x1", "-ERR invalid cursor\r\n"),
        ("SCAN --1", "-ERR invalid cursor\r\n"),
        ("SCAN -", "-ERR invalid cursor\r\n"),
        ("SCAN 18446744073709551616", "-ERR invalid cursor\r\n"),
        ("SCAN 0 COUNT", syntax),
        ("SCAN 0 COUNT 0", syntax),
        ("SCAN 0 COUNT -1 COUNT 5", syntax),
        ("SCAN 0 COUNT 0 FOO", syntax),
        ("SCAN 0 COUNT x FOO", integer),
        ("SCAN 0 COUNT 01", integer),
        ("SCAN 0 FOO", syntax),
        ("SCAN 0 MATCH", syntax),
        ("SCAN 0 NOVALUES", syntax),
    ] {
        let upstream = crowded();
        assert_eq!(expected, answer(&upstream, line), "{line}");
        assert_eq!(0, upstream.count_of("SCAN"), "{line}");
    }
}

#[test]
fn odd_cursors_are_read_as_redis_does() {
    for (text, expected) in [
        (b"".as_slice(), Some(0)),
        (b"007", Some(7)),
        (b"+1", Some(1)),
        (b"-0", Some(0)),
        (b"-1", Some(u64::MAX)),
        (b"1\0abc", Some(1)),
        (b" 1", None),
        (b"1 ", None),
        (b"+-1", None),
    ] {
        assert_eq!(expected, client_cursor(text), "{}", text.escape_ascii());
    }
    // Never given out: behind the end.
    assert_eq!("*2\r\n$1\r\n0\r\n*0\r\n", answer(&crowded(), "SCAN -1"));
}

#[test]
fn keys_shows_each_name_once() {
    let upstream = Upstream { repeats: true, ..crowded() };
    let reply = answer(&upstream, "KEYS key*");
    assert!(reply.starts_with("*12\r\n"), "{reply}");
    let found: BTreeSet<&str> = names(&reply).into_iter().collect();
    assert_eq!(12, found.len());
    assert_eq!("*0\r\n", answer(&crowded(), "KEYS nothing*"));
}

#[test]
fn dbsize_counts_each_key_of_the_database_once() {
    let upstream = Upstream { repeats: true, ..crowded() };
    assert_eq!(":12\r\n", answer(&upstream, "DBSIZE"));
    assert_eq!(":0\r\n", answer(&Upstream::with(keys_of("other:", 5)), "DBSIZE"));
}

#[test]
fn all_databases_are_counted_in_one_walk() {
    let upstream = Upstream { repeats: true, ..crowded() };
    let binding = binding();
    let namespace = binding.namespace(0).unwrap();
    let keyspace = Keyspace { errand: &upstream, binding: &binding, namespace, limits: LIMITS };
    let counts = run(keyspace.count_by_database()).unwrap();
    assert_eq!(BTreeMap::from([(0, 12), (1, 3)]), counts);
    let firsts = upstream.asked.borrow().iter().filter(|line| line.starts_with("SCAN 0 ")).count();
    assert_eq!(1, firsts);
}

#[test]
fn a_random_key_is_the_tenants_own_and_null_means_that_there_is_none() {
    let many = Upstream::with(keys_of("other:", 5_000).chain(["acme:key".to_owned()]));
    for _ in 0..20 {
        assert_eq!("$3\r\nkey\r\n", answer(&many, "RANDOMKEY"));
    }
    assert_eq!("$-1\r\n", answer(&Upstream::with(keys_of("other:", 5_000)), "RANDOMKEY"));
}

#[test]
fn a_flush_deletes_the_keys_of_one_database_or_of_all_and_leaves_others() {
    let upstream = crowded();
    assert_eq!("+OK\r\n", answer(&upstream, "FLUSHDB"));
    let left = keys_of("acme@1:", 3).chain(keys_of("acmeother:", 200)).chain(keys_of("other:", 300));
    assert_eq!(left.collect::<BTreeSet<String>>(), upstream.stored().into_iter().collect());
    assert_eq!("+OK\r\n", answer(&upstream, "FLUSHALL async"));
    let left = keys_of("acmeother:", 200).chain(keys_of("other:", 300));
    assert_eq!(left.collect::<BTreeSet<String>>(), upstream.stored().into_iter().collect());
}

#[test]
fn a_flush_with_another_argument_is_refused_and_deletes_nothing() {
    for line in ["FLUSHDB X", "FLUSHALL ASYNC SYNC", "FLUSHDB "] {
        let upstream = crowded();
        assert_eq!("-ERR syntax error\r\n", answer(&upstream, line));
        assert_eq!(0, upstream.asked.borrow().len());
    }
}

#[test]
fn what_was_there_when_a_flush_began_is_gone_when_it_ends() {
    let upstream = Upstream::with(keys_of("acme:", 3_000).chain(keys_of("other:", 3_000)));
    upstream.arriving.replace(keys_of("acme:late", 10).collect());
    assert_eq!("+OK\r\n", answer(&upstream, "FLUSHDB"));
    let left: Vec<String> = upstream.stored().into_iter().filter(|name| name.starts_with("acme:")).collect();
    assert!(left.iter().all(|name| name.starts_with("acme:late")), "{left:?}");
}

#[test]
fn walks_end_when_the_client_has_gone_but_a_flush_goes_on() {
    for line in ["KEYS *", "DBSIZE", "RANDOMKEY", "SCAN 0 COUNT 1000000"] {
        let upstream = Upstream::with(keys_of("other:", 20_000));
        upstream.patience.set(Some(2));
        answer(&upstream, line);
        assert_eq!(2, upstream.asked.borrow().len(), "{line}");
    }
    let upstream = Upstream::with(keys_of("acme:", 3_000));
    upstream.patience.set(Some(1));
    answer(&upstream, "FLUSHALL");
    assert_eq!(Vec::<String>::new(), upstream.stored());
}

#[test]
fn what_the_upstream_refuses_is_the_answer() {
    for (failure, expected) in [
        (Ok("-LOADING Redis is loading\r\n"), "-LOADING Redis is loading\r\n"),
        (Err("-UNAVAILABLE upstream 'main'\r\n"), "-UNAVAILABLE upstream 'main'\r\n"),
        (Err("UNAVAILABLE upstream 'main'"), "-UNAVAILABLE upstream 'main'\r\n"),
        (Ok("-NOPERM User proxy has no permissions\r\n"), "-UNAVAILABLE the upstream does not let"),
        (Ok("*2\r\n$1\r\n0\r\n*1\r\n$7\r\nother:k\r\n"), "-UNAVAILABLE the reply was withheld"),
        (Ok("+surprise\r\n"), "-UNAVAILABLE the reply was withheld"),
    ] {
        let failure = failure.map(Bytes::from).map_err(Bytes::from);
        let upstream = Upstream { failure: Some(failure), ..Upstream::default() };
        for line in ["SCAN 0", "KEYS *", "DBSIZE", "RANDOMKEY", "FLUSHDB", "FLUSHALL"] {
            let answer = answer(&upstream, line);
            assert!(answer.starts_with(expected) && answer.ends_with("\r\n"), "{line}: {answer}");
        }
    }
}

#[test]
fn a_key_is_moved_between_databases() {
    let upstream = Upstream::with(["acme:a", "acme:b", "acme@2:b"].map(str::to_owned));
    assert_eq!(":1\r\n", answer(&upstream, "MOVE a 2"));
    assert_eq!(":0\r\n", answer(&upstream, "MOVE a 2"));
    assert_eq!(":0\r\n", answer(&upstream, "MOVE b 2"));
    assert_eq!("-ERR DB index is out of range\r\n", answer(&upstream, "MOVE b 16"));
    assert_eq!(vec!["acme:b", "acme@2:a", "acme@2:b"], upstream.stored());
}
