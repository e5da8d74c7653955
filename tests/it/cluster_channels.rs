//! Publish and subscribe in front of a cluster: ordinary channels, shard channels, the events of keys; and `WAIT`,
//! which asks every primary as well.
//!
//! Subscriptions follow what they hear: a slot that moves, a primary that is replaced, a node that is added. The
//! client notices none of it.

use std::collections::{BTreeMap, BTreeSet};

use tenantry::command::slot::slot;

use crate::dialogue::shown;
use crate::servers::{Node, Protocol, Proxy, RedisCluster, Setup, Shape};
use crate::wire::{Client, Tree, words};

/// What every node publishes about its keys.
const EVENTS: &[&str] = &["--notify-keyspace-events", "KEA"];

/// Makes two tests of each scenario.
macro_rules! in_both_protocols {
    ($($scenario:ident),+ $(,)?) => {$(
        mod $scenario {
            use crate::servers::Protocol;

            #[test]
            fn resp2() {
                super::$scenario(Protocol::Resp2);
            }

            #[test]
            fn resp3() {
                super::$scenario(Protocol::Resp3);
            }
        }
    )+};
}

in_both_protocols! {
    ordinary_channels_are_heard_and_counted_over_all_connections,
    shard_channels_of_several_slots_are_one_subscription,
    a_shard_channel_is_heard_on_after_its_slot_has_moved,
    a_shard_channel_is_heard_on_after_its_primary_was_replaced,
    events_of_keys_on_every_primary_are_heard_once,
    events_are_heard_once_after_a_primary_was_replaced,
    events_are_heard_of_a_node_that_was_added,
    a_client_whose_events_end_is_closed,
    resetting_ends_every_subscription,
}

/// A proxy that soon knows what has changed, also when no request tells it.
fn proxy_before(cluster: &RedisCluster) -> Proxy {
    let mut setup = Setup::for_upstream(cluster.url());
    setup.upstream_lines.push_str("\ntopology_refresh = \"1s\"\ntopology_refresh_min = \"100ms\"");
    Proxy::start(&setup)
}

/// The next frame; whether it is a push is left out, because only RESP3 says so.
fn heard(client: &mut Client) -> String {
    shown(&Tree::of(&client.frame())).trim_start_matches('>').to_owned()
}

/// Sends a command and reads one frame.
fn say(client: &mut Client, line: &str) -> String {
    client.send(&words(line));
    heard(client)
}

/// A reply without its order.
fn sorted(client: &mut Client, line: &str) -> BTreeSet<String> {
    client.send(&words(line));
    Tree::of(&client.frame()).elements().iter().map(shown).collect()
}

fn await_no_leases(proxy: &Proxy) {
    let none = "tenantry_leases{upstream=\"main\",reason=\"subscribed\"} 0";
    proxy.wait_for("the connections for pushes to be given up", || {
        proxy.admin("/metrics").is_ok_and(|page| page.body.contains(none))
    });
}

/// A channel or key of tenant acme that lies on each primary.
fn one_on_each(cluster: &RedisCluster) -> Vec<String> {
    cluster.primaries().into_iter().map(|primary| names_on(cluster, primary).next().expect("some")).collect()
}

/// Channels or keys of tenant acme that lie on a primary, each in another slot.
fn names_on(cluster: &RedisCluster, primary: Node) -> impl Iterator<Item = String> {
    let slots = cluster.slots_of(primary);
    let names = (0..).map(|number| format!("n{number}"));
    names.filter(move |name| {
        slots.iter().any(|range| range.contains(&slot(format!("acme:{name}").as_bytes())))
    })
}

// ---- Ordinary channels ----

fn ordinary_channels_are_heard_and_counted_over_all_connections(protocol: Protocol) {
    let cluster = RedisCluster::start_without_replicas();
    let proxy = proxy_before(&cluster);
    let mut subscribers: Vec<Client> = (0..12).map(|_| protocol.connect(proxy.acme_port())).collect();
    for client in &mut subscribers {
        assert_eq!("[\"subscribe\", \"news\", :1]", say(client, "SUBSCRIBE news"));
    }
    let mut by_pattern: Vec<Client> = (0..4).map(|_| protocol.connect(proxy.acme_port())).collect();
    for client in &mut by_pattern {
        assert_eq!("[\"psubscribe\", \"n*s\", :1]", say(client, "PSUBSCRIBE n*s"));
    }
    let mut foreign = protocol.connect(proxy.globex_port());
    assert_eq!("[\"subscribe\", \"news\", :1]", say(&mut foreign, "SUBSCRIBE news"));
    assert_eq!("[\"psubscribe\", \"*\", :2]", say(&mut foreign, "PSUBSCRIBE *"));
    // So many connections that both workers have some.
    let mut publishers: Vec<Client> = (0..8).map(|_| protocol.connect(proxy.acme_port())).collect();
    for (number, client) in publishers.iter_mut().enumerate() {
        assert_eq!(":16", say(client, &format!("PUBLISH news {number}")));
        assert_eq!("[\"news\", :12, \"none\", :0]", say(client, "PUBSUB NUMSUB news none"));
        assert_eq!("[\"news\"]", say(client, "PUBSUB CHANNELS"));
        assert_eq!("[]", say(client, "PUBSUB CHANNELS x*"));
        assert_eq!(":1", say(client, "PUBSUB NUMPAT"));
    }
    for number in 0..publishers.len() {
        for client in &mut subscribers {
            assert_eq!(format!("[\"message\", \"news\", \"{number}\"]"), heard(client));
        }
        for client in &mut by_pattern {
            assert_eq!(format!("[\"pmessage\", \"n*s\", \"news\", \"{number}\"]"), heard(client));
        }
    }
    // What comes next is the confirmation: nobody heard anything twice, and the other tenant nothing at all.
    for client in &mut subscribers {
        assert_eq!("[\"unsubscribe\", \"news\", :0]", say(client, "UNSUBSCRIBE"));
    }
    assert_eq!("[\"unsubscribe\", \"news\", :1]", say(&mut foreign, "UNSUBSCRIBE news"));
    assert_eq!(":4", say(&mut publishers[0], "PUBLISH news end"));
    drop((foreign, by_pattern));
    await_no_leases(&proxy);
    assert_eq!("+PONG", say(&mut subscribers[0], "PING"));
}

// ---- Shard channels ----

fn shard_channels_of_several_slots_are_one_subscription(protocol: Protocol) {
    let cluster = RedisCluster::start_without_replicas();
    let proxy = proxy_before(&cluster);
    let mut names = one_on_each(&cluster);
    // Two of one node are of two slots, which Redis does not take together.
    names.extend(names_on(&cluster, cluster.primaries()[0]).nth(1));
    let [a, b, c, d] = &names[..] else { panic!("three primaries, and one more") };
    let (mut client, mut other) = (protocol.connect(proxy.acme_port()), proxy.acme());
    client.send(&words(&format!("SSUBSCRIBE {a} {b} {c} {d}")));
    for (number, name) in names.iter().enumerate() {
        assert_eq!(format!("[\"ssubscribe\", \"{name}\", :{}]", number + 1), heard(&mut client));
    }
    for name in &names {
        assert_eq!(":1", say(&mut other, &format!("SPUBLISH {name} m")));
        assert_eq!(format!("[\"smessage\", \"{name}\", \"m\"]"), heard(&mut client));
        assert_eq!(":0", say(&mut proxy.globex(), &format!("SPUBLISH {name} theirs")));
    }
    let all: BTreeSet<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
    assert_eq!(all, sorted(&mut other, "PUBSUB SHARDCHANNELS"));
    assert_eq!(
        BTreeSet::from([format!("\"{a}\"")]),
        sorted(&mut other, &format!("PUBSUB SHARDCHANNELS {a}"))
    );
    assert_eq!("[]", say(&mut proxy.globex(), "PUBSUB SHARDCHANNELS"));
    assert_eq!(
        format!("[\"{c}\", :1, \"none\", :0, \"{a}\", :1, \"{b}\", :1]"),
        say(&mut other, &format!("PUBSUB SHARDNUMSUB {c} none {a} {b}"))
    );
    assert_eq!(format!("[\"sunsubscribe\", \"{b}\", :3]"), say(&mut client, &format!("SUNSUBSCRIBE {b}")));
    assert_eq!(":0", say(&mut other, &format!("SPUBLISH {b} m")));
    client.send(&words("SUNSUBSCRIBE"));
    for (name, left) in [(a, 2), (c, 1), (d, 0)] {
        assert_eq!(format!("[\"sunsubscribe\", \"{name}\", :{left}]"), heard(&mut client));
    }
    await_no_leases(&proxy);
    assert_eq!("+PONG", say(&mut client, "PING"));
}

fn a_shard_channel_is_heard_on_after_its_slot_has_moved(protocol: Protocol) {
    let cluster = RedisCluster::start_without_replicas();
    let proxy = proxy_before(&cluster);
    let [a, b, _] = &one_on_each(&cluster)[..] else { panic!("three primaries") };
    let moving = slot(format!("acme:{a}").as_bytes());
    let [source, target, _] = cluster.primaries()[..] else { panic!("three primaries") };
    goes_on_hearing(&proxy, protocol, [a, b], || {
        cluster.migrate_slots(moving..=moving, source, target);
        // And back again.
        || cluster.migrate_slots(moving..=moving, target, source)
    });
}

fn a_shard_channel_is_heard_on_after_its_primary_was_replaced(protocol: Protocol) {
    let cluster = RedisCluster::start();
    let proxy = proxy_before(&cluster);
    let [a, b, _] = &one_on_each(&cluster)[..] else { panic!("three primaries") };
    goes_on_hearing(&proxy, protocol, [a, b], || {
        let second = cluster.fail_over(cluster.primary_of(&format!("acme:{a}")));
        let cluster = &cluster;
        move || assert_ne!(second, cluster.fail_over(second))
    });
}

/// Subscribes to two shard channels, changes where the first is, and changes it back. What was counted when it was
/// published is heard, once and in order.
fn goes_on_hearing<Back: FnOnce()>(
    proxy: &Proxy,
    protocol: Protocol,
    [moving, staying]: [&str; 2],
    change: impl FnOnce() -> Back,
) {
    let (mut client, mut publisher) = (protocol.connect(proxy.acme_port()), proxy.acme());
    client.send(&words(&format!("SSUBSCRIBE {moving} {staying}")));
    assert_eq!(format!("[\"ssubscribe\", \"{moving}\", :1]"), heard(&mut client));
    assert_eq!(format!("[\"ssubscribe\", \"{staying}\", :2]"), heard(&mut client));
    let mut is_heard = |client: &mut Client, message: &str| {
        proxy.wait_for("the channel to have its subscriber again", || {
            say(&mut publisher, &format!("SPUBLISH {moving} {message}")) == ":1"
        });
        assert_eq!(format!("[\"smessage\", \"{moving}\", \"{message}\"]"), heard(client));
        assert_eq!(":1", say(&mut publisher, &format!("SPUBLISH {staying} {message}")));
        assert_eq!(format!("[\"smessage\", \"{staying}\", \"{message}\"]"), heard(client));
    };
    is_heard(&mut client, "before");
    let back = change();
    is_heard(&mut client, "moved");
    back();
    is_heard(&mut client, "back");
    assert_eq!(
        format!("[\"sunsubscribe\", \"{moving}\", :1]"),
        say(&mut client, &format!("SUNSUBSCRIBE {moving}"))
    );
    assert_eq!(":0", say(&mut publisher, &format!("SPUBLISH {moving} unheard")));
    assert_eq!(format!("[\"sunsubscribe\", \"{staying}\", :0]"), say(&mut client, "SUNSUBSCRIBE"));
    await_no_leases(proxy);
    assert_eq!("+PONG", say(&mut client, "PING"));
}

// ---- Events of keys ----

/// Sets keys on every primary, in two databases; returns when the replicas have them as well, so that whatever they
/// say about it has been said.
fn set_keys(writer: &mut Client, keys: &[String], replicas: usize) {
    for key in keys {
        for database in [0, 3] {
            assert_eq!("+OK", say(writer, &format!("SELECT {database}")));
            assert_eq!("+OK", say(writer, &format!("SET {key} v")));
        }
    }
    assert_eq!(format!(":{replicas}"), say(writer, &format!("WAIT {replicas} 20000")));
}

/// A client that hears of everything in database 0, and one that hears of one key of database 3.
struct Listeners {
    of_all: Client,
    of_one: Client,
}

impl Listeners {
    fn new(proxy: &Proxy, protocol: Protocol, key: &str) -> Self {
        let connect = || protocol.connect(proxy.acme_port());
        let (mut of_all, mut of_one) = (connect(), connect());
        let (pattern, channel) = ("__keyevent@0__:*", format!("__keyspace@3__:{key}"));
        let confirmed = format!("[\"psubscribe\", \"{pattern}\", :1]");
        assert_eq!(confirmed, say(&mut of_all, &format!("PSUBSCRIBE {pattern}")));
        let confirmed = format!("[\"subscribe\", \"{channel}\", :1]");
        assert_eq!(confirmed, say(&mut of_one, &format!("SUBSCRIBE {channel}")));
        Self { of_all, of_one }
    }

    /// Each key was set once in database 0, and the one key in database 3.
    fn hear(&mut self, keys: &[String], key: &str) {
        let mut times: BTreeMap<String, usize> = BTreeMap::new();
        for _ in keys {
            *times.entry(heard(&mut self.of_all)).or_default() += 1;
        }
        let event = |key| format!("[\"pmessage\", \"__keyevent@0__:*\", \"__keyevent@0__:set\", \"{key}\"]");
        assert_eq!(keys.iter().map(|key| (event(key), 1)).collect::<BTreeMap<_, _>>(), times);
        assert_eq!(format!("[\"message\", \"__keyspace@3__:{key}\", \"set\"]"), heard(&mut self.of_one));
    }

    /// Nothing more was heard.
    fn end(mut self, proxy: &Proxy, key: &str) {
        let of_all = say(&mut self.of_all, "PUNSUBSCRIBE");
        assert_eq!("[\"punsubscribe\", \"__keyevent@0__:*\", :0]", of_all);
        let of_one = say(&mut self.of_one, "UNSUBSCRIBE");
        assert_eq!(format!("[\"unsubscribe\", \"__keyspace@3__:{key}\", :0]"), of_one);
        await_no_leases(proxy);
    }
}

/// Waits until both listeners have subscribed on a node, or are there no more; `others` are patterns that are not for
/// events.
fn await_listeners(
    proxy: &Proxy,
    cluster: &RedisCluster,
    node: Node,
    (key, count, others): (&str, usize, usize),
) {
    let mut client = cluster.client(node);
    let channel = format!("__keyspace@0__:acme@3:{key}");
    let of_one = format!("[\"{channel}\", :{count}]");
    proxy.wait_for("the node to have its listeners", || {
        say(&mut client, "PUBSUB NUMPAT") == format!(":{}", count + others)
            && say(&mut client, &format!("PUBSUB NUMSUB {channel}")) == of_one
    });
}

/// The patterns that somebody listens to on a node.
fn patterns(cluster: &RedisCluster, node: Node) -> usize {
    let count = say(&mut cluster.client(node), "PUBSUB NUMPAT");
    count[1..].parse().expect("a number")
}

fn events_of_keys_on_every_primary_are_heard_once(protocol: Protocol) {
    let cluster = RedisCluster::start_with(Shape::Replicated, EVENTS);
    let proxy = proxy_before(&cluster);
    let keys = one_on_each(&cluster);
    let mut foreign = protocol.connect(proxy.globex_port());
    assert_eq!("[\"psubscribe\", \"__key*\", :1]", say(&mut foreign, "PSUBSCRIBE __key*"));
    for key in &keys {
        let mut listeners = Listeners::new(&proxy, protocol, key);
        set_keys(&mut proxy.acme(), &keys, 1);
        listeners.hear(&keys, key);
        drop(listeners.of_one);
        let of_all = say(&mut listeners.of_all, "PUNSUBSCRIBE");
        assert_eq!("[\"punsubscribe\", \"__keyevent@0__:*\", :0]", of_all);
    }
    assert_eq!("[\"punsubscribe\", \"__key*\", :0]", say(&mut foreign, "PUNSUBSCRIBE"));
    await_no_leases(&proxy);
}

fn events_are_heard_once_after_a_primary_was_replaced(protocol: Protocol) {
    let cluster = RedisCluster::start_with(Shape::Replicated, EVENTS);
    let proxy = proxy_before(&cluster);
    let keys = one_on_each(&cluster);
    for key in &keys {
        let primary = cluster.primary_of(&format!("acme:{key}"));
        let mut listeners = Listeners::new(&proxy, protocol, key);
        // Ordinary channels and patterns stay where they are: every node brings what is published to them.
        let ordinary = patterns(&cluster, primary) - 1;
        let second = cluster.fail_over(primary);
        await_listeners(&proxy, &cluster, second, (key, 1, 0));
        await_listeners(&proxy, &cluster, primary, (key, 0, ordinary));
        set_keys(&mut proxy.acme(), &keys, 1);
        listeners.hear(&keys, key);
        listeners.end(&proxy, key);
    }
}

fn events_are_heard_of_a_node_that_was_added(protocol: Protocol) {
    let cluster = RedisCluster::start_with(Shape::Replicated, EVENTS);
    let proxy = proxy_before(&cluster);
    let keys = one_on_each(&cluster);
    let key = &keys[0];
    let primary = cluster.primary_of(&format!("acme:{key}"));
    let mut listeners = Listeners::new(&proxy, protocol, key);
    // A replica leaves and comes back as a primary without slots.
    let added = cluster.replica_of(primary);
    cluster.add_again(added);
    await_listeners(&proxy, &cluster, added, (key, 1, 0));
    let moving = slot(format!("acme:{key}").as_bytes());
    cluster.migrate_slots(moving..=moving, primary, added);
    let mut writer = proxy.acme();
    set_keys(&mut writer, &keys, 0);
    listeners.hear(&keys, key);
    listeners.end(&proxy, key);
}

fn a_client_whose_events_end_is_closed(protocol: Protocol) {
    let mut cluster = RedisCluster::start_with(Shape::PrimariesOnly, EVENTS);
    let proxy = proxy_before(&cluster);
    let names = one_on_each(&cluster);
    let mut listeners = Listeners::new(&proxy, protocol, &names[0]);
    let mut of_shard = protocol.connect(proxy.acme_port());
    assert_eq!(
        format!("[\"ssubscribe\", \"{}\", :1]", names[1]),
        say(&mut of_shard, &format!("SSUBSCRIBE {}", names[1]))
    );
    let lost = cluster.primary_of(&format!("acme:{}", names[0]));
    cluster.kill(lost);
    assert_eq!(b"".to_vec(), listeners.of_all.until_closed());
    assert_eq!(b"".to_vec(), listeners.of_one.until_closed());
    // What is elsewhere goes on.
    let sent = say(&mut proxy.acme(), &format!("SPUBLISH {} m", names[1]));
    assert_eq!(":1", sent);
    assert_eq!(format!("[\"smessage\", \"{}\", \"m\"]", names[1]), heard(&mut of_shard));
    drop(of_shard);
    await_no_leases(&proxy);
}

// ---- Mixed ----

fn resetting_ends_every_subscription(protocol: Protocol) {
    let cluster = RedisCluster::start_without_replicas();
    let proxy = proxy_before(&cluster);
    let [a, b, _] = &one_on_each(&cluster)[..] else { panic!("three primaries") };
    let mut client = protocol.connect(proxy.acme_port());
    assert_eq!("[\"subscribe\", \"news\", :1]", say(&mut client, "SUBSCRIBE news"));
    assert_eq!("[\"psubscribe\", \"*\", :2]", say(&mut client, "PSUBSCRIBE *"));
    client.send(&words(&format!("SSUBSCRIBE {a} {b}")));
    assert_eq!(format!("[\"ssubscribe\", \"{a}\", :1]"), heard(&mut client));
    assert_eq!(format!("[\"ssubscribe\", \"{b}\", :2]"), heard(&mut client));
    assert_eq!("+RESET", say(&mut client, "RESET"));
    await_no_leases(&proxy);
    let mut other = proxy.acme();
    proxy.wait_for("nobody to listen", || {
        say(&mut other, "PUBLISH news m") == ":0" && say(&mut other, &format!("SPUBLISH {a} m")) == ":0"
    });
    assert_eq!("+OK", say(&mut client, &format!("SET {b} v")));
    assert_eq!("\"v\"", say(&mut client, &format!("GET {b}")));
}

#[test]
fn a_subscriber_of_resp3_runs_commands_on_every_primary() {
    let cluster = RedisCluster::start_with(Shape::PrimariesOnly, EVENTS);
    let proxy = proxy_before(&cluster);
    let names = one_on_each(&cluster);
    let mut client = Protocol::Resp3.connect(proxy.acme_port());
    assert_eq!("[\"subscribe\", \"news\", :1]", say(&mut client, "SUBSCRIBE news"));
    assert_eq!("[\"psubscribe\", \"__keyspace@0__:*\", :2]", say(&mut client, "PSUBSCRIBE __keyspace@0__:*"));
    assert_eq!(
        format!("[\"ssubscribe\", \"{}\", :1]", names[2]),
        say(&mut client, &format!("SSUBSCRIBE {}", names[2]))
    );
    for name in &names {
        // The reply and the push come over two connections.
        client.send(&words(&format!("SET {name} v")));
        let event = format!("[\"pmessage\", \"__keyspace@0__:*\", \"__keyspace@0__:{name}\", \"set\"]");
        let both: BTreeSet<String> = [heard(&mut client), heard(&mut client)].into();
        assert_eq!(BTreeSet::from(["+OK".to_owned(), event]), both);
        assert_eq!("\"v\"", say(&mut client, &format!("GET {name}")));
        client.send(&[words("MULTI"), words(&format!("GET {name}")), words("EXEC")].concat());
        assert_eq!(["+OK", "+QUEUED", "[\"v\"]"], [(); 3].map(|()| heard(&mut client))[..]);
    }
    client.send(&words(&format!("MGET {}", names.join(" "))));
    assert_eq!("[\"v\", \"v\", \"v\"]", heard(&mut client));
    for (line, push) in [
        ("PUBLISH news m".to_owned(), "[\"message\", \"news\", \"m\"]".to_owned()),
        (format!("SPUBLISH {} m", names[2]), format!("[\"smessage\", \"{}\", \"m\"]", names[2])),
    ] {
        client.send(&words(&line));
        let both: BTreeSet<String> = [heard(&mut client), heard(&mut client)].into();
        assert_eq!(BTreeSet::from([":1".to_owned(), push]), both);
    }
    assert_eq!("+OK", say(&mut client, &format!("WATCH {}", names[0])));
    client.send(&[words("MULTI"), words(&format!("INCR {}x", names[0])), words("DISCARD")].concat());
    assert_eq!("+OK", heard(&mut client));
    drop([heard(&mut client), heard(&mut client)]);
    assert_eq!("[\"unsubscribe\", \"news\", :1]", say(&mut client, "UNSUBSCRIBE"));
    assert_eq!("[\"punsubscribe\", \"__keyspace@0__:*\", :0]", say(&mut client, "PUNSUBSCRIBE"));
    assert_eq!(format!("[\"sunsubscribe\", \"{}\", :0]", names[2]), say(&mut client, "SUNSUBSCRIBE"));
    await_no_leases(&proxy);
    assert_eq!("[\"v\", \"v\", \"v\"]", say(&mut client, &format!("MGET {}", names.join(" "))));
}

// ---- Waiting for replicas ----

/// The clients of a node that wait for something.
fn blocked(client: &mut Client) -> usize {
    let info = client.call(&["INFO", "clients"]);
    let info = String::from_utf8_lossy(&info).into_owned();
    let count = info.lines().find_map(|line| line.strip_prefix("blocked_clients:"));
    count.and_then(|count| count.trim().parse().ok()).expect("every node says so")
}

#[test]
fn waiting_for_replicas_asks_those_of_every_primary() {
    let mut cluster = RedisCluster::start();
    let proxy = proxy_before(&cluster);
    let names = one_on_each(&cluster);
    let mut client = proxy.acme();
    for name in &names {
        assert_eq!("+OK", say(&mut client, &format!("SET {name} v")));
    }
    assert_eq!(":1", say(&mut client, "WAIT 1 20000"));
    assert_eq!(":1", say(&mut client, "WAIT 2 50"));
    let primary = cluster.primary_of(&format!("acme:{}", names[1]));
    let replica = cluster.replica_of(primary);
    cluster.freeze(replica);
    assert_eq!("+OK", say(&mut client, &format!("SET {} w", names[1])));
    assert_eq!(":0", say(&mut client, "WAIT 1 50"));
    let mut observer = cluster.client(primary);
    assert_eq!(0, blocked(&mut observer));
    // A client that goes while it waits leaves nothing behind.
    let mut gone = proxy.acme();
    gone.send(&words("WAIT 1 0"));
    proxy.wait_for("it to wait", || blocked(&mut observer) == 1);
    drop(gone);
    proxy.wait_for("its connection to end", || blocked(&mut observer) == 0);
    cluster.thaw(replica);
    assert_eq!(":1", say(&mut client, "WAIT 1 20000"));
}
