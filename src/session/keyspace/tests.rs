//! The walks over an upstream that is a set of names.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::ops::Range;

use bytes::BytesMut;

use super::*;
use crate::command::glob;
use crate::command::slot::{SLOTS, slot};
use crate::resp::{OwnedRequest, SendQueue, Version};
use crate::tenant::Scoped;
use crate::tenant::directory::DatabaseKind;

const LIMITS: UpstreamLimits = UpstreamLimits { max_bulk: 1 << 20, max_request: 1 << 24 };
const SECRET: [u8; 32] = [7; 32];

/// Buckets of a fake's table: a cursor is a bucket, whatever is stored or deleted meanwhile.
const BUCKETS: usize = 4_096;

/// The number in a request is a hint: pages are this small, so that a walk has several.
const MOST_ON_A_PAGE: usize = 100;

/// A server that is a set of names.
#[derive(Default)]
struct Server {
    /// Each with its bucket, in the order of the buckets.
    names: BTreeSet<(usize, String)>,
    /// Each server has an order of its own.
    seed: u64,
    identity: Option<u8>,
    /// Its cursors are large, and end with this slot of its own, as if it had a table for each.
    cursors_end: Option<u16>,
    last_page: Vec<String>,
}

/// The few commands that the walks send, over one server or several.
#[derive(Default)]
struct Upstream {
    servers: RefCell<Vec<Server>>,
    /// The position of each slot's owner.
    owners: RefCell<Vec<usize>>,
    /// Keys of one request must lie in one slot.
    is_cluster: bool,
    /// What happens before the request of this number.
    events: RefCell<BTreeMap<usize, Event>>,
    /// Something has happened since the shards were asked for.
    has_moved: Cell<bool>,
    /// What was said then.
    snapshot: RefCell<Snapshot>,
    /// Every request, as words.
    asked: RefCell<Vec<String>>,
    /// Shows each key once more on the page after its own, as a table does that changes its size.
    repeats: bool,
    /// Stored one by one, each before a page is read.
    arriving: RefCell<Vec<String>>,
    /// The client goes after so many requests.
    patience: Cell<Option<usize>>,
    /// What everything is answered with instead.
    failure: Option<Result<Bytes, Bytes>>,
}

#[derive(Default)]
struct Snapshot {
    /// Each shard's server, with its identity.
    servers: Vec<(usize, Option<u8>)>,
    /// Who owns each slot, as positions among these.
    owners: Vec<Option<usize>>,
}

/// The owner of a slot that is not served.
const NOBODY: usize = usize::MAX;

/// What a client reads of a server that has been replaced.
const GONE: &str = "-UNAVAILABLE upstream 'main': connection refused\r\n";

#[derive(Clone)]
enum Event {
    /// Another server with the same keys takes the place of this one.
    Failover(usize),
    /// Slots, and their keys, go to this server.
    Reshard(Range<u16>, usize),
    /// Another snapshot says the same.
    Nothing,
}

impl Server {
    fn bucket(&self, name: &str) -> usize {
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64 ^ self.seed, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        usize::try_from(hash >> 40).unwrap() % BUCKETS
    }

    fn keep(&mut self, name: String) {
        self.names.insert((self.bucket(&name), name));
    }

    fn remove(&mut self, name: &str) -> bool {
        self.names.remove(&(self.bucket(name), name.to_owned()))
    }

    fn has(&self, name: &str) -> bool {
        self.names.contains(&(self.bucket(name), name.to_owned()))
    }

    fn scan(&mut self, words: &[&str], repeats: bool) -> String {
        let [_, cursor, "MATCH", pattern, "COUNT", count, ..] = words else {
            panic!("not a page: {words:?}")
        };
        let (at, count) =
            (cursor.parse::<u64>().unwrap(), count.parse::<usize>().unwrap().min(MOST_ON_A_PAGE));
        let shift = if self.cursors_end.is_some() { 30 } else { 0 };
        let at = usize::try_from(at >> shift).unwrap() % BUCKETS;
        let (mut looked_at, mut next, mut shown) = (0, 0, Vec::new());
        for (bucket, name) in self.names.range((at, String::new())..) {
            // A bucket is looked at as a whole.
            if looked_at >= count && *bucket >= next {
                break;
            }
            (looked_at, next) = (looked_at + 1, bucket + 1);
            shown.extend(Some(name.clone()).filter(|n| glob::matches(pattern.as_bytes(), n.as_bytes())));
        }
        let is_end = self.names.range((next, String::new())..).next().is_none();
        let end = self.cursors_end.map_or(0, usize::from);
        let next = if is_end { 0 } else { next << shift | end }.to_string();
        let again = std::mem::replace(&mut self.last_page, shown.clone());
        shown.extend(again.into_iter().filter(|_| repeats));
        let mut reply = format!("*2\r\n${}\r\n{next}\r\n*{}\r\n", next.len(), shown.len());
        reply.extend(shown.iter().map(|name| format!("${}\r\n{name}\r\n", name.len())));
        reply
    }

    fn answer(&mut self, words: &[&str]) -> String {
        let number = match words {
            ["UNLINK", unlinked @ ..] => unlinked.iter().filter(|name| self.remove(name)).count(),
            ["RENAMENX", from, _] if !self.has(from) => return "-ERR no such key\r\n".to_owned(),
            ["RENAMENX", _, to] if self.has(to) => 0,
            ["RENAMENX", from, to] => {
                self.remove(from);
                self.keep((*to).to_owned());
                1
            }
            _ => panic!("not a request of a walk: {words:?}"),
        };
        format!(":{number}\r\n")
    }
}

impl Upstream {
    /// A server by itself.
    fn with(names: impl IntoIterator<Item = String>) -> Self {
        Self { is_cluster: false, ..Self::cluster(1, names) }.with_identities(|_| None)
    }

    /// Shards that own equal parts of the slots.
    fn cluster(shards: usize, names: impl IntoIterator<Item = String>) -> Self {
        let server = |seed| Server { seed, ..Server::default() };
        let servers = (0..shards as u64).map(server).collect();
        let owner = |slot| slot * shards / usize::from(SLOTS);
        let owners = (0..usize::from(SLOTS)).map(owner).collect();
        let upstream = Self {
            servers: RefCell::new(servers),
            owners: RefCell::new(owners),
            is_cluster: true,
            ..Self::default()
        };
        names.into_iter().for_each(|name| upstream.store(name));
        upstream.with_identities(|at| u8::try_from(at).ok())
    }

    fn with_identities(self, identity: impl Fn(usize) -> Option<u8>) -> Self {
        for (at, server) in self.servers.borrow_mut().iter_mut().enumerate() {
            server.identity = identity(at);
        }
        self
    }

    fn will(self, number: usize, event: Event) -> Self {
        self.events.borrow_mut().insert(number, event);
        self
    }

    fn position(&self, name: &str) -> usize {
        self.owners.borrow()[usize::from(slot(name.as_bytes()))]
    }

    fn store(&self, name: String) {
        let owner = self.position(&name);
        self.servers.borrow_mut()[owner].keep(name);
    }

    fn happens(&self, event: Event) {
        let mut servers = self.servers.borrow_mut();
        match event {
            Event::Failover(at) => {
                let server = &mut servers[at];
                server.identity = server.identity.map(|identity| identity + 100);
                server.seed += 100;
                let names = std::mem::take(&mut server.names);
                for (_, name) in names {
                    server.keep(name);
                }
            }
            Event::Reshard(slots, to) => {
                for slot in slots.clone() {
                    self.owners.borrow_mut()[usize::from(slot)] = to;
                }
                let is_moving = |name: &str| slots.contains(&slot(name.as_bytes()));
                for from in 0..servers.len() {
                    let all = std::mem::take(&mut servers[from].names);
                    let (moving, staying): (BTreeSet<_>, BTreeSet<_>) =
                        all.into_iter().partition(|(_, name)| is_moving(name));
                    servers[from].names = staying;
                    if let Some(to) = servers.get_mut(to) {
                        for (_, name) in moving {
                            to.keep(name);
                        }
                    }
                }
            }
            Event::Nothing => {}
        }
        self.has_moved.set(true);
    }

    fn count_of(&self, command: &str) -> usize {
        self.asked.borrow().iter().filter(|line| line.starts_with(command)).count()
    }

    fn stored(&self) -> Vec<String> {
        let servers = self.servers.borrow();
        let names = servers.iter().flat_map(|server| &server.names).map(|(_, name)| name.clone());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }
}

impl Errand for Upstream {
    fn shards(&self) -> Vec<ShardAt> {
        self.has_moved.set(false);
        let servers = self.servers.borrow();
        let owners = self.owners.borrow();
        let lowest = |server| owners.iter().position(|owner| *owner == server);
        let mut order: Vec<usize> = (0..servers.len()).collect();
        order.sort_by_key(|server| lowest(*server).unwrap_or(usize::MAX));
        let identity = |server: usize| servers[server].identity;
        let places = owners.iter().map(|owner| order.iter().position(|server| server == owner));
        let said = order.iter().map(|server| (*server, identity(*server))).collect();
        self.snapshot.replace(Snapshot { servers: said, owners: places.collect() });
        let lowest = |server| lowest(server).and_then(|slot| u16::try_from(slot).ok());
        order.into_iter().map(|at| ShardAt { lowest: lowest(at), identity: identity(at) }).collect()
    }

    fn owner(&self, slot: u16) -> Option<usize> {
        self.snapshot.borrow().owners.get(usize::from(slot)).copied().flatten()
    }

    async fn renew(&self) {}

    fn has_moved(&self) -> bool {
        self.has_moved.get()
    }

    fn is_cluster(&self) -> bool {
        self.is_cluster
    }

    async fn ask(&self, at: At, request: Scoped<'_>) -> Result<Bytes, Bytes> {
        let mut queue = SendQueue::default();
        request.queue(&mut queue);
        let text = String::from_utf8(queue.tail().to_vec()).unwrap();
        let words: Vec<&str> = text.split("\r\n").skip(2).step_by(2).collect();
        let number = self.asked.borrow().len();
        self.asked.borrow_mut().push(words.join(" "));
        if let Some(event) = self.events.borrow_mut().remove(&number) {
            self.happens(event);
        }
        if let Some(failure) = &self.failure {
            return failure.clone();
        }
        let at = match at {
            At::Home => 0,
            At::Shard(at) => {
                let (server, identity) = self.snapshot.borrow().servers[at];
                if identity != self.servers.borrow()[server].identity {
                    return Err(Bytes::from_static(GONE.as_bytes()));
                }
                server
            }
            At::Slot(slot) => self.owners.borrow()[usize::from(slot)],
        };
        if words[0] == "SCAN" {
            if let Some(name) = self.arriving.borrow_mut().pop() {
                self.store(name);
            }
            return Ok(Bytes::from(self.servers.borrow_mut()[at].scan(&words, self.repeats)));
        }
        let slots: BTreeSet<u16> = words[1..].iter().map(|name| slot(name.as_bytes())).collect();
        if self.is_cluster && slots.len() > 1 {
            return Ok(Bytes::from_static(b"-CROSSSLOT\r\n"));
        }
        if words[1..].iter().any(|name| self.position(name) != at) {
            return Ok(Bytes::from_static(b"-MOVED\r\n"));
        }
        Ok(Bytes::from(self.servers.borrow_mut()[at].answer(&words)))
    }

    async fn ask_all(&self, requests: &[(At, OwnedScoped)]) -> Vec<Result<Bytes, Bytes>> {
        let mut replies = Vec::new();
        for (at, request) in requests {
            replies.push(self.ask(*at, request.as_scoped()).await);
        }
        replies
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
    answer_to(&binding(), upstream, line)
}

/// What a client of database 0 of another tenant reads.
fn answer_to(binding: &Binding, upstream: &Upstream, line: &str) -> String {
    let namespace = binding.namespace(0).unwrap();
    let keyspace = Keyspace { errand: upstream, binding, namespace, limits: LIMITS };
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
        let seen = scanned(&binding(), &crowded(), count);
        assert_eq!(sorted(keys_of("", 12)), sorted(seen), "COUNT {count}");
    }
}

/// All that a client sees that goes on until its cursor is 0, also after an error.
fn scanned(binding: &Binding, upstream: &Upstream, count: &str) -> Vec<String> {
    let (mut cursor, mut seen) = ("0".to_owned(), Vec::new());
    for _ in 0..1_000 {
        let reply = answer_to(binding, upstream, &format!("SCAN {cursor} COUNT {count}"));
        if reply == GONE {
            continue;
        }
        seen.extend(names(&reply).into_iter().map(str::to_owned));
        cursor = reply.split("\r\n").nth(2).unwrap().to_owned();
        if cursor == "0" {
            return seen;
        }
        assert!(cursor.parse::<u64>().unwrap() < 1 << 52);
    }
    panic!("it does not end");
}

fn sorted(names: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut names: Vec<String> = names.into_iter().collect();
    names.sort();
    names
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
        let upstream = Upstream { failure: Some(failure), ..Upstream::with([]) };
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

// ---- Several shards ----

/// Three shards with 300 keys of the client's database, some of another of its own and many of others.
fn cluster() -> Upstream {
    let own = keys_of("acme:", 300).chain(keys_of("acme@1:", 100));
    Upstream::cluster(3, own.chain(keys_of("other:", 900)))
}

#[test]
fn a_walk_over_three_shards_sees_every_key_once() {
    for count in ["1", "40", "5000"] {
        assert_eq!(sorted(keys_of("", 300)), sorted(scanned(&binding(), &cluster(), count)), "COUNT {count}");
    }
    let reply = answer(&cluster(), "KEYS *");
    let found = names(&reply).into_iter().map(str::to_owned);
    assert_eq!(sorted(keys_of("", 300)), sorted(found));
    assert_eq!(":300\r\n", answer(&cluster(), "DBSIZE"));
}

#[test]
fn pages_of_all_shards_together_are_bounded() {
    let upstream = Upstream::cluster(30, keys_of("other:", 9_000));
    assert!(answer(&upstream, "SCAN 0").ends_with("\r\n*0\r\n"));
    assert_eq!(16, upstream.count_of("SCAN"));
}

/// What is lost of the 300 keys by a client that scans to the end.
fn lost(upstream: &Upstream) -> Vec<String> {
    let seen: BTreeSet<String> = scanned(&binding(), upstream, "10").into_iter().collect();
    keys_of("", 300).filter(|key| !seen.contains(key)).collect()
}

/// Each time before another of some sixty requests, so that every shard is met at its beginning, in its midst
/// and at its end.
#[test]
fn a_failover_in_the_middle_of_a_scan_loses_no_key() {
    for number in (0..60).step_by(3) {
        for shard in 0..3 {
            let upstream = cluster().will(number, Event::Failover(shard));
            assert_eq!(Vec::<String>::new(), lost(&upstream), "shard {shard}, request {number}");
        }
        let own = keys_of("acme:", 300).chain(keys_of("other:", 900));
        let watched = Upstream::with(own).with_identities(|_| Some(1)).will(number, Event::Failover(0));
        assert_eq!(Vec::<String>::new(), lost(&watched), "one shard, request {number}");
    }
}

/// With cursors of 42 bits, which end with the highest slot of each shard.
#[test]
fn cursors_of_tables_for_each_slot_are_given_out_whole() {
    for number in (0..60).step_by(3) {
        let upstream = cluster().will(number, Event::Failover(1));
        for (server, end) in upstream.servers.borrow_mut().iter_mut().zip([5460, 10921, 16383]) {
            server.cursors_end = Some(end);
        }
        assert_eq!(Vec::<String>::new(), lost(&upstream), "request {number}");
    }
}

/// The slot by which cursors find a shard goes to another shard, or to nobody.
#[test]
fn a_scan_goes_on_when_the_lowest_slot_of_its_shard_has_moved() {
    let second = SLOTS / 3 + 1;
    for number in (0..60).step_by(3) {
        for (slots, to) in
            [(second..second + 9, 0), (second - 9..second, 1), (0..9, 1), (second..second + 9, NOBODY)]
        {
            // No key is on the move, so none may be lost.
            let own = keys_of("acme:", 400).filter(|name| !slots.contains(&slot(name.as_bytes())));
            let own: Vec<String> = own.collect();
            let upstream = Upstream::cluster(3, own.iter().cloned().chain(keys_of("other:", 900)));
            let upstream = upstream.will(number, Event::Reshard(slots.clone(), to));
            let seen: BTreeSet<String> = scanned(&binding(), &upstream, "10").into_iter().collect();
            let own: BTreeSet<String> = own.iter().map(|name| name["acme:".len()..].to_owned()).collect();
            assert_eq!(own, seen, "{slots:?} to {to} before request {number}");
        }
    }
}

#[test]
fn a_flush_deletes_everything_on_all_shards_slot_by_slot() {
    let upstream = cluster();
    assert_eq!("+OK\r\n", answer(&upstream, "FLUSHDB"));
    let left = keys_of("acme@1:", 100).chain(keys_of("other:", 900));
    assert_eq!(sorted(left), upstream.stored());
    assert_eq!("+OK\r\n", answer(&upstream, "FLUSHALL"));
    assert_eq!(sorted(keys_of("other:", 900)), upstream.stored());
}

/// Keys of the last shard go to the first one, which has been walked by then.
#[test]
fn keys_that_move_while_all_keys_are_looked_at_are_met_by_looking_again() {
    let moving = || cluster().will(20, Event::Reshard(SLOTS - 3_000..SLOTS, 0));
    let upstream = moving();
    assert_eq!("+OK\r\n", answer(&upstream, "FLUSHALL"));
    assert_eq!(sorted(keys_of("other:", 900)), upstream.stored());
    assert_eq!(":300\r\n", answer(&moving(), "DBSIZE"));
    assert!(answer(&moving(), "KEYS *").starts_with("*300\r\n"));
}

/// A slot's keys come one by one, and the slot with the last of them.
#[test]
fn keys_on_a_shard_that_owns_no_slot_yet_are_seen() {
    let upstream = cluster();
    let mut newcomer = Server { identity: Some(9), ..Server::default() };
    newcomer.keep("acme:key_of_a_slot_on_its_way".to_owned());
    upstream.servers.borrow_mut().push(newcomer);
    assert!(answer(&upstream, "KEYS *").starts_with("*301\r\n"));
    assert_eq!(sorted(keys_of("", 300)), sorted(scanned(&binding(), &upstream, "10")));
}

#[test]
fn a_cluster_that_does_not_settle_is_looked_at_three_times() {
    for line in ["KEYS *", "DBSIZE", "FLUSHALL"] {
        let upstream = cluster();
        for number in 0..1_000 {
            upstream.events.borrow_mut().insert(number, Event::Nothing);
        }
        answer(&upstream, line);
        assert_eq!(9, upstream.count_of("SCAN 0 "), "{line}");
    }
}

#[test]
fn a_random_key_is_found_on_whichever_shard_has_one() {
    for name in ["key1", "key2", "key3", "key4", "key5"] {
        let upstream = Upstream::cluster(3, keys_of("other:", 900).chain([format!("acme:{name}")]));
        assert_eq!(format!("$4\r\n{name}\r\n"), answer(&upstream, "RANDOMKEY"));
    }
    let many = cluster();
    let found: Vec<String> = (0..200).map(|_| answer(&many, "RANDOMKEY")).collect();
    let found = found.iter().flat_map(|reply| names(reply));
    let shards: BTreeSet<usize> = found.map(|name| many.position(&format!("acme:{name}"))).collect();
    assert_eq!(3, shards.len());
    assert_eq!("$-1\r\n", answer(&Upstream::cluster(3, keys_of("other:", 900)), "RANDOMKEY"));
}

#[test]
fn a_key_is_moved_between_databases_within_its_slot_only() {
    let upstream = Upstream::cluster(3, ["acme:a", "acme:{x}a"].map(str::to_owned));
    assert_eq!("-CROSSSLOT Keys in request don't hash to the same slot\r\n", answer(&upstream, "MOVE a 2"));
    assert_eq!(":1\r\n", answer(&upstream, "MOVE {x}a 2"));
    assert_eq!(vec!["acme:a", "acme@2:{x}a"], upstream.stored());
}

/// Its keys are on one shard; the others need not be asked.
#[test]
fn of_a_tenant_that_colocates_its_keys_one_shard_is_walked() {
    let binding = crate::tenant::example_colocated_binding();
    let keys = || keys_of("{acme}:", 300).chain(keys_of("other:", 900));
    let owner = Upstream::cluster(3, []).position("{acme}:");
    for line in ["KEYS *", "DBSIZE", "FLUSHDB", "FLUSHALL"] {
        let upstream = Upstream::cluster(3, keys());
        let reply = answer_to(&binding, &upstream, line);
        assert!(
            ["*300", ":300", "+OK"].iter().any(|expected| reply.starts_with(expected)),
            "{line}: {reply}"
        );
        assert_eq!(1, upstream.count_of("SCAN 0 "), "{line}");
    }
    for number in (0..30).step_by(3) {
        let upstream = Upstream::cluster(3, keys()).will(number, Event::Failover(owner));
        let seen: BTreeSet<String> = scanned(&binding, &upstream, "10").into_iter().collect();
        assert_eq!(keys_of("", 300).collect::<BTreeSet<String>>(), seen, "request {number}");
    }
}

#[test]
fn without_a_shard_there_is_no_answer() {
    for line in ["SCAN 0", "KEYS *", "DBSIZE", "RANDOMKEY", "FLUSHDB"] {
        assert_eq!(
            "-UNAVAILABLE the nodes of the upstream are not known yet; the command was not sent\r\n",
            answer(&Upstream::default(), line),
            "{line}"
        );
    }
}

#[test]
fn a_cursor_that_cannot_be_hidden_is_not_given_out() {
    let page = Bytes::from_static(b"*2\r\n$19\r\n1000000000000000000\r\n*0\r\n");
    for upstream in [Upstream::with([]), Upstream::cluster(3, [])] {
        let upstream = Upstream { failure: Some(Ok(page.clone())), ..upstream };
        let reply = answer(&upstream, "SCAN 0");
        assert!(reply.starts_with("-UNAVAILABLE SCAN cannot go on"), "{reply}");
    }
}
