//! A tenant with some clients, for the tests of this module, and those that concern several of its files.

#![allow(clippy::indexing_slicing, reason = "a broken expectation ends the test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use bytes::{Bytes, BytesMut};

use super::*;
use crate::command::{find, identify};
use crate::resp::reply::ReplyWriter;
use crate::resp::{OwnedRequest, Version};
use crate::tenant::directory::{DatabaseKind, Directory, OnUnavailable, Order, ReadFrom, TenantEntry};
use crate::tenant::prefix::TenantName;

/// Counts how often it was woken.
#[derive(Clone, Default)]
pub(super) struct Bell(Arc<Rings>);

#[derive(Default)]
struct Rings(AtomicUsize);

impl Wake for Rings {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Bell {
    pub(super) fn waker(&self) -> Waker {
        Arc::clone(&self.0).into()
    }

    pub(super) fn rings(&self) -> usize {
        self.0.0.load(Ordering::Relaxed)
    }
}

/// The card of a client that came in second 100 from port 5000 and its id.
pub(super) fn card(id: u64) -> Card {
    let origin = Origin {
        id,
        addr: format!("10.0.0.1:{}", 5000 + id).into(),
        laddr: "10.0.0.9:6379".into(),
        fd: 8,
        is_unix: false,
        created_secs: 100,
    };
    Card::new(origin, Facts { user: "default".into(), ..Facts::default() }, 1024)
}

/// A tenant whose client 1 asks, in second 110.
pub(super) struct Stage {
    pub(super) clients: TenantClients,
    pub(super) asker: Arc<Card>,
    release: (u32, u32),
    version: Version,
}

impl Stage {
    /// Only the asker is connected; the upstream is a Redis 7.0.
    pub(super) fn new() -> Self {
        let stage = Self {
            clients: TenantClients::default(),
            asker: Arc::new(card(1)),
            release: (7, 0),
            version: Version::Resp2,
        };
        stage.clients.enter(Arc::clone(&stage.asker));
        stage
    }

    /// Client `id` comes, and `change` describes it.
    fn with(&self, id: u64, change: impl FnOnce(&mut Facts)) -> Arc<Card> {
        let card = Arc::new(card(id));
        card.amend(change);
        self.clients.enter(Arc::clone(&card));
        card
    }

    /// The answer to the words of `line`, and what follows it.
    fn answered(&self, line: &str) -> (String, Outcome) {
        let request = OwnedRequest::from_args(&line.split(' ').collect::<Vec<_>>()).expect("it has words");
        let question = Question {
            asker: &self.asker,
            among: &self.clients,
            spec: identify(&request.as_request()).unwrap_or_else(|error| panic!("{line}: {error}")),
            request: request.as_request(),
            release: self.release,
            now_ms: 110_000,
            has_user: &|name| name == b"bob",
        };
        let mut out = BytesMut::new();
        let outcome = answer(&question, &mut ReplyWriter::new(&mut out, self.version));
        let text = String::from_utf8(out.to_vec()).expect("UTF-8");
        (text, outcome.unwrap_or_else(|| panic!("{line} is answered elsewhere")))
    }

    /// The answer of a request that does not end the asker's connection.
    pub(super) fn ask(&self, line: &str) -> String {
        let (text, outcome) = self.answered(line);
        assert_eq!(Outcome::Stay, outcome, "{line}");
        text
    }

    /// The ids that a list shows, in its order.
    fn listed(&self, line: &str) -> Vec<u64> {
        let text = self.ask(line);
        let ids = text.lines().filter_map(|line| line.strip_prefix("id="));
        ids.map(|line| line.split(' ').next().expect("a word").parse().expect("a number")).collect()
    }
}

#[test]
fn a_line_has_the_fields_of_the_upstreams_release() {
    let mut stage = Stage::new();
    stage.asker.amend(|facts| {
        facts.name = b"worker".as_slice().into();
        facts.lib_name = b"redis-py".as_slice().into();
        facts.lib_ver = b"8.1".as_slice().into();
        facts.database = 3;
        facts.watched = 2;
    });
    let start = "id=1 addr=10.0.0.1:5001 laddr=10.0.0.9:6379 fd=8 name=worker age=10 idle=0 flags=N db=3 sub=0 psub=0 ssub=0 multi=-1";
    let middle = "qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 omem=0 tot-mem=0 events=r cmd=client|info user=default redir=-1 resp=2";
    let lib = "lib-name=redis-py lib-ver=8.1";
    let expected = [
        ((7, 0), format!("{start} {middle}\n")),
        ((7, 2), format!("{start} {middle} {lib}\n")),
        ((7, 4), format!("{start} watch=2 {middle} {lib}\n")),
        ((8, 0), format!("{start} watch=2 {middle} {lib} io-thread=0\n")),
        (
            (8, 2),
            format!("{start} watch=2 {middle} {lib} io-thread=0 tot-net-in=0 tot-net-out=0 tot-cmds=0\n"),
        ),
    ];
    for (release, line) in expected {
        stage.release = release;
        assert_eq!(format!("${}\r\n{line}\r\n", line.len()), stage.ask("CLIENT INFO"), "{release:?}");
    }
    stage.version = Version::Resp3;
    let answer = stage.ask("CLIENT INFO");
    assert!(answer.starts_with("=346\r\ntxt:id=1 ") && answer.ends_with(" tot-cmds=0\n\r\n"), "{answer}");
}

#[test]
fn a_line_tells_what_a_client_is_doing() {
    let stage = Stage::new();
    let line = |id: u64, change: fn(&mut Facts)| {
        let card = stage.with(id, change);
        card.touch(u16::try_from(find("BLPOP").expect("in the table").index()).expect("small"), 107);
        let text = stage.ask(&format!("CLIENT LIST ID {id}"));
        text.split(' ').skip(6).filter(|field| !field.ends_with("=0")).collect::<Vec<_>>().join(" ")
    };
    let end = "events=r cmd=blpop user=default";
    assert_eq!(
        format!("idle=3 flags=Px sub=1 psub=2 ssub=3 multi=4 {end} redir=-1 resp=2\n\r\n"),
        line(2, |facts| {
            (facts.channels, facts.patterns, facts.shard_channels) = (1, 2, 3);
            facts.queued = Some(4);
        })
    );
    assert_eq!(
        format!("idle=3 flags=OtRBreT multi=-1 {end} redir=9 resp=3\n\r\n"),
        line(3, |facts| {
            facts.marks = Marks::all() - Marks::HELD;
            (facts.redirect, facts.version) = (9, Version::Resp3);
        })
    );
    assert_eq!(
        format!("idle=3 flags=bt multi=-1 {end} resp=2\n\r\n"),
        line(4, |facts| facts.marks = Marks::TRACKING | Marks::HELD),
        "tracking without a redirection is redir=0"
    );
    let blocked = stage.with(5, |_| {});
    blocked.set_blocked(true);
    blocked.touch_unknown(110);
    let text = stage.ask("CLIENT LIST ID 5");
    assert!(text.contains(" flags=b ") && text.contains(" cmd=NULL "), "{text}");
}

#[test]
fn a_list_is_filtered_by_type_or_by_id() {
    let stage = Stage::new();
    stage.with(3, |facts| facts.patterns = 1);
    stage.with(2, |facts| facts.marks = Marks::MONITOR);
    assert_eq!(vec![1, 2, 3], stage.listed("CLIENT LIST"));
    assert_eq!(vec![1, 2], stage.listed("client list type NORMAL"));
    assert_eq!(vec![3], stage.listed("CLIENT LIST TYPE pubsub"));
    for class in ["master", "replica", "slave"] {
        assert_eq!("$0\r\n\r\n", stage.ask(&format!("CLIENT LIST TYPE {class}")));
    }
    assert_eq!(vec![3, 1, 3], stage.listed("CLIENT LIST ID 3 99 1 -1 3"));
}

#[test]
fn a_list_has_a_bound() {
    let stage = Stage::new();
    stage.asker.amend(|facts| facts.name = vec![b'n'; 1 << 20].into());
    let ids = " 1".repeat(100);
    assert_eq!(64, stage.listed(&format!("CLIENT LIST ID{ids}")).len());
}

#[test]
fn a_card_is_small() {
    // Each connection has one, besides its session.
    assert!(size_of::<Card>() <= 256, "{} bytes", size_of::<Card>());
}

/// Who is left of clients 1 (asks), 2 (subscribed) and 3 (user bob, came from elsewhere, twenty seconds old).
#[track_caller]
fn assert_killed(line: &str, answer: &str, outcome: Outcome, left: &[u64]) {
    let mut stage = Stage::new();
    stage.release = (7, 4);
    let second = stage.with(2, |facts| facts.channels = 1);
    let origin = card(3).origin().clone();
    let origin = Origin { addr: "/t.sock:0".into(), is_unix: true, created_secs: 90, ..origin };
    let third = Arc::new(Card::new(origin, Facts { user: "bob".into(), ..Facts::default() }, 1024));
    stage.clients.enter(Arc::clone(&third));

    assert_eq!((answer.to_owned(), outcome), stage.answered(line), "{line}");
    assert_eq!(left, stage.listed("CLIENT LIST"), "{line}");
    for card in [second, third] {
        let notes = if left.contains(&card.id()) { vec![] } else { vec![Note::Kill] };
        assert_eq!(notes, card.take_notes(), "{line}: client {}", card.id());
    }
    assert!(!stage.asker.has_notes(), "the asker is told by the outcome");
}

#[test]
fn clients_are_killed_by_every_filter() {
    use Outcome::{CloseAfterReply, Stay};
    assert_killed("CLIENT KILL 10.0.0.1:5002", "+OK\r\n", Stay, &[1, 3]);
    assert_killed("CLIENT KILL 10.0.0.1:5001", "+OK\r\n", CloseAfterReply, &[1, 2, 3]);
    assert_killed("CLIENT KILL 10.0.0.1:1", "-ERR No such client\r\n", Stay, &[1, 2, 3]);
    assert_killed("CLIENT KILL ID 3", ":1\r\n", Stay, &[1, 2]);
    assert_killed("CLIENT KILL ID 1", ":0\r\n", Stay, &[1, 2, 3]);
    assert_killed("CLIENT KILL ID 1 SKIPME no", ":1\r\n", CloseAfterReply, &[1, 2, 3]);
    assert_killed("CLIENT KILL ADDR /t.sock:0", ":1\r\n", Stay, &[1, 2]);
    assert_killed("CLIENT KILL LADDR 10.0.0.9:6379", ":2\r\n", Stay, &[1]);
    assert_killed("CLIENT KILL LADDR 10.0.0.1:5002", ":0\r\n", Stay, &[1, 2, 3]);
    assert_killed("CLIENT KILL TYPE pubsub", ":1\r\n", Stay, &[1, 3]);
    assert_killed("CLIENT KILL USER bob", ":1\r\n", Stay, &[1, 2]);
    assert_killed("CLIENT KILL USER default", ":1\r\n", Stay, &[1, 3]);
    assert_killed("CLIENT KILL USER eve", "-ERR No such user 'eve'\r\n", Stay, &[1, 2, 3]);
    assert_killed("CLIENT KILL MAXAGE 20", ":1\r\n", Stay, &[1, 2]);
    assert_killed("CLIENT KILL MAXAGE 21", ":0\r\n", Stay, &[1, 2, 3]);
    assert_killed("CLIENT KILL SKIPME yes", ":2\r\n", Stay, &[1]);
    assert_killed("CLIENT KILL SKIPME no", ":3\r\n", CloseAfterReply, &[1]);
    assert_killed("CLIENT KILL ID 2 TYPE normal", ":0\r\n", Stay, &[1, 2, 3]);
    assert_killed("CLIENT KILL ID 2 ID 3", ":1\r\n", Stay, &[1, 2]);
}

#[test]
fn an_age_is_a_filter_from_7_4_on() {
    let mut stage = Stage::new();
    assert_eq!("-ERR syntax error\r\n", stage.ask("CLIENT KILL MAXAGE 10"));
    stage.release = (7, 4);
    assert_eq!("-ERR maxage is not an integer or out of range\r\n", stage.ask("CLIENT KILL MAXAGE x"));
    assert_eq!("-ERR maxage should be greater than 0\r\n", stage.ask("CLIENT KILL MAXAGE 0"));
}

#[test]
fn a_blocked_client_is_unblocked_once() {
    let stage = Stage::new();
    let blocked = stage.with(2, |_| {});
    assert_eq!(":0\r\n", stage.ask("CLIENT UNBLOCK 2"), "it does not wait");
    blocked.set_blocked(true);
    assert_eq!(":1\r\n", stage.ask("CLIENT UNBLOCK 2 error"));
    assert_eq!(":0\r\n", stage.ask("CLIENT UNBLOCK 2"));
    assert_eq!(vec![Note::Unblock(UnblockAs::Error)], blocked.take_notes());
    blocked.set_blocked(true);
    assert_eq!(":1\r\n", stage.ask("CLIENT UNBLOCK 2"));
    assert_eq!(vec![Note::Unblock(UnblockAs::Timeout)], blocked.take_notes());
    assert_eq!(":0\r\n", stage.ask("CLIENT UNBLOCK 99"));
}

#[test]
fn a_client_that_waits_for_the_end_of_a_pause_cannot_be_unblocked() {
    let stage = Stage::new();
    let held = stage.with(2, |facts| facts.marks.insert(Marks::HELD));
    assert_eq!(":0\r\n", stage.ask("CLIENT UNBLOCK 2"));
    assert!(!held.has_notes());
}

#[test]
fn a_pause_lasts_as_long_as_it_was_asked_for() {
    let mut stage = Stage::new();
    assert_eq!("+OK\r\n", stage.ask("CLIENT PAUSE 50 WRITE"));
    assert_eq!(Some(Pause { until_ms: 110_050, is_all: false }), stage.clients.paused_at(110_000));
    assert_eq!("+OK\r\n", stage.ask("CLIENT PAUSE 10"));
    assert_eq!(Some(Pause { until_ms: 110_050, is_all: true }), stage.clients.paused_at(110_049));
    let (held, bell) = (stage.with(2, |_| {}), Bell::default());
    held.set_waker(&bell.waker());
    assert_eq!("+OK\r\n", stage.ask("CLIENT UNPAUSE"));
    assert_eq!((None, 1), (stage.clients.paused_at(110_000), bell.rings()));

    assert_eq!("+OK\r\n", stage.ask("CLIENT PAUSE 9223372036854775807"));
    assert_eq!(None, stage.clients.paused_at(110_000), "7.0 wraps around");
    stage.release = (7, 2);
    assert_eq!("-ERR timeout is out of range\r\n", stage.ask("CLIENT PAUSE 9223372036854775807"));
}

#[test]
fn a_line_is_shown_to_all_that_watch() {
    let stage = Stage::new();
    let (first, second) = (stage.with(2, |_| {}), stage.with(3, |_| {}));
    assert!(!stage.clients.is_monitored());
    assert!(stage.clients.watch(&first) && stage.clients.watch(&second));
    assert!(!stage.clients.watch(&second), "once is enough");
    let shown = |text: &'static str| Note::Push(Bytes::from_static(text.as_bytes()));
    stage.clients.show(&Bytes::from_static(b"+1\r\n"));
    stage.clients.unwatch(2);
    assert_eq!(Marks::empty(), first.facts().marks);
    stage.clients.show(&Bytes::from_static(b"+2\r\n"));
    assert_eq!(vec![shown("+1\r\n")], first.take_notes());
    assert_eq!(vec![shown("+1\r\n"), shown("+2\r\n")], second.take_notes());
    assert!(stage.clients.is_monitored());
    stage.clients.leave(3);
    assert!(!stage.clients.is_monitored());
}

#[test]
fn a_monitor_that_is_killed_watches_no_more() {
    let stage = Stage::new();
    let monitor = stage.with(2, |_| {});
    stage.clients.watch(&monitor);
    assert_eq!(":1\r\n", stage.ask("CLIENT KILL ID 2"));
    assert!(!stage.clients.is_monitored());
}

#[test]
fn a_monitor_that_does_not_read_is_ended() {
    let stage = Stage::new();
    let monitor = stage.with(2, |_| {});
    stage.clients.watch(&monitor);
    for _ in 0..100 {
        stage.clients.show(&Bytes::from_static(b"+1795181060.046896 [0 10.0.0.1:5001] \"PING\"\r\n"));
    }
    assert_eq!(vec![Note::Kill], monitor.take_notes());
}

#[test]
fn a_flush_is_told_to_those_that_track() {
    let stage = Stage::new();
    let (tracks, does_not) = (stage.with(2, |facts| facts.marks = Marks::TRACKING), stage.with(3, |_| {}));
    stage.clients.flushed_all();
    assert_eq!(vec![Note::FlushedAll], tracks.take_notes());
    assert!(!does_not.has_notes());
}

#[test]
fn patterns_are_counted_once_each() {
    let stage = Stage::new();
    for pattern in [b"a*", b"b*", b"a*"] {
        stage.clients.pattern_added(pattern);
    }
    assert_eq!(":2\r\n", stage.ask("PUBSUB NUMPAT"));
    stage.clients.pattern_removed(b"a*");
    assert_eq!(":2\r\n", stage.ask("PUBSUB NUMPAT"));
    stage.clients.pattern_removed(b"a*");
    stage.clients.pattern_removed(b"never added");
    assert_eq!(":1\r\n", stage.ask("PUBSUB NUMPAT"));
}

fn two_tenants() -> (Directory, Clients) {
    let entry = |name: &str| {
        let name = TenantName::parse(name).expect("valid");
        let prefix = name.default_prefix();
        let users = Vec::new();
        TenantEntry {
            name,
            prefix,
            upstream: 0,
            databases: 16,
            database_kind: DatabaseKind::Virtual,
            has_cluster_persona: false,
            order: Order::Strict,
            read_from: ReadFrom::Primary,
            on_unavailable: OnUnavailable::Error,
            weight: 1,
            has_listener: true,
            rules: crate::tenant::Rules::default(),
            users,
            limits: None,
        }
    };
    let directory = Directory::new(&[entry("acme"), entry("other")]).expect("valid");
    let clients = Clients::new(&directory);
    (directory, clients)
}

#[test]
fn no_tenant_sees_or_touches_another() {
    let (directory, clients) = two_tenants();
    let [acme, other] = directory.tenants() else { panic!("two tenants") };
    let other = clients.of(other).expect("it is there");
    // The ids of two tenants are the same numbers.
    let theirs = [Arc::new(card(1)), Arc::new(card(2))];
    theirs[1].set_blocked(true);
    theirs[1].amend(|facts| facts.marks.insert(Marks::TRACKING));
    for card in &theirs {
        other.enter(Arc::clone(card));
    }
    other.watch(&theirs[0]);
    other.pattern_added(b"*");
    other.slow_log().record(SlowEntry::new(&theirs[0], Vec::new(), 1, 1));

    let acme = clients.of(acme).expect("it is there");
    let stage = Stage { clients: TenantClients::default(), ..Stage::new() };
    acme.enter(Arc::clone(&stage.asker));
    let ask = |line: &str| {
        let request = OwnedRequest::from_args(&line.split(' ').collect::<Vec<_>>()).expect("it has words");
        let question = Question {
            asker: &stage.asker,
            among: acme,
            spec: identify(&request.as_request()).expect("in the table"),
            request: request.as_request(),
            release: (7, 0),
            now_ms: 110_000,
            has_user: &|_| false,
        };
        let mut out = BytesMut::new();
        assert!(answer(&question, &mut ReplyWriter::new(&mut out, Version::Resp2)).is_some(), "{line}");
        String::from_utf8(out.to_vec()).expect("UTF-8")
    };
    assert_eq!(1, ask("CLIENT LIST").matches("id=").count());
    assert_eq!("$0\r\n\r\n", ask("CLIENT LIST ID 2"));
    assert_eq!(":0\r\n", ask("CLIENT UNBLOCK 2"));
    assert_eq!(":0\r\n", ask("CLIENT KILL SKIPME yes"));
    assert_eq!("-ERR No such client\r\n", ask("CLIENT KILL 10.0.0.1:5002"));
    assert_eq!("+OK\r\n", ask("CLIENT PAUSE 1000"));
    assert_eq!(":0\r\n", ask("SLOWLOG LEN"));
    assert_eq!("+OK\r\n", ask("SLOWLOG RESET"));
    assert_eq!(":0\r\n", ask("PUBSUB NUMPAT"));
    acme.flushed_all();
    acme.show(&Bytes::from_static(b"+1\r\n"));
    acme.leave(2);

    assert!(!acme.is_monitored());
    assert_eq!((2, 1, 1), (other.count(), other.slow_log().len(), other.distinct_patterns()));
    assert_eq!(None, other.paused_at(110_000));
    assert!(theirs.iter().all(|card| !card.has_notes()) && theirs[1].is_blocked());
}

#[test]
fn clients_come_and_go_on_several_threads_while_others_look() {
    let clients = TenantClients::default();
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let clients = &clients;
            scope.spawn(move || {
                for id in (0..200).map(|round| round * 4 + thread) {
                    let card = Arc::new(card(id));
                    clients.enter(Arc::clone(&card));
                    clients.watch(&card);
                    assert!(clients.cards().iter().any(|listed| listed.id() == id));
                    clients.show(&Bytes::from_static(b"+x\r\n"));
                    assert!(card.has_notes());
                    clients.leave(id);
                }
            });
        }
    });
    assert_eq!((0, false), (clients.count(), clients.is_monitored()));
}

#[test]
fn a_card_remembers_the_last_command_and_its_time() {
    let card = card(1);
    assert_eq!((None, 100), (card.last_command().map(|spec| spec.name), card.last_secs()));
    card.touch(u16::try_from(find("CLIENT LIST").expect("in the table").index()).expect("small"), u32::MAX);
    let last = (card.last_command().map(|spec| spec.name), card.last_secs());
    assert_eq!((Some("CLIENT LIST"), u32::MAX), last);
    card.touch_unknown(7);
    assert_eq!((None, 7), (card.last_command().map(|spec| spec.name), card.last_secs()));
}
