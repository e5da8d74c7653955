//! One budget among several proxies. Where tokens do not come back while a test runs, they are counted exactly.

use tenantry::command::slot::slot;

use crate::servers::{Proxy, RedisCluster, RedisServer, SentinelGroup, Setup, free_port};
use crate::wire::Client;

/// 50 at once, and no other within the test: one takes a quarter of an hour.
const FIFTY: &str =
    "[tenant.acme.limits]\nscope = \"fleet\"\nrequests_per_second = { rate = 0.001, burst = 50 }\n";

/// Where the budget of `acme` is kept.
const KEY: &str = "tenantry@fleet:{acme}:requests_per_second";

/// A proxy in front of `url` with these limits.
fn limited(url: String, sections: &'static str) -> Setup {
    Setup { sections, workers: 1, ..Setup::for_upstream(url) }
}

/// The same, whose budgets are kept elsewhere.
fn kept_elsewhere(url: String, budgets: &str, sections: &'static str) -> Setup {
    let mut setup = limited(url, sections);
    let lines =
        ["", "[upstream.budgets]", &format!("url = \"{budgets}\""), "[fleet]", "upstream = \"budgets\"", ""];
    setup.upstream_lines.push_str(&lines.join("\n"));
    setup.tenant_lines = "upstream = \"main\"";
    setup
}

/// Several proxies, each with a client.
struct Fleet {
    proxies: Vec<Proxy>,
    clients: Vec<Client>,
    granted: usize,
}

impl Fleet {
    fn start(count: usize, setup: &Setup) -> Self {
        let proxies: Vec<Proxy> = (0..count).map(|_| Proxy::start(setup)).collect();
        let clients = proxies.iter().map(Proxy::acme).collect();
        Self { proxies, clients, granted: 0 }
    }

    /// One request of each client; whether any was granted.
    fn round(&mut self) -> bool {
        let replies = self.clients.iter_mut().map(|client| client.ask("GET k"));
        let granted = replies.filter(|reply| is_granted(reply)).count();
        self.granted += granted;
        granted > 0
    }

    /// Asks until so many have been granted.
    fn until(&mut self, granted: usize) {
        crate::servers::wait_for(&format!("{granted} requests to be granted"), || {
            self.round();
            self.granted >= granted
        });
    }

    /// Asks until every proxy has asked for more so many times.
    fn rounds(&mut self, count: u64) {
        let before = self.asks();
        crate::servers::wait_for("every proxy to have asked again", || {
            self.round();
            self.asks().iter().zip(&before).all(|(now, before)| *now >= before + count)
        });
    }

    /// How often each proxy has asked for more, or wanted to.
    fn asks(&self) -> Vec<u64> {
        let of = |proxy: &Proxy| metric(proxy, "fleet_asks_total") + metric(proxy, "fleet_failures_total");
        self.proxies.iter().map(of).collect()
    }

    /// Waits until so many of their budgets are alone, each.
    fn wait_until_alone(&mut self, budgets: u64) {
        crate::servers::wait_for("the limiter to be missed, or found", || {
            self.round();
            self.proxies.iter().all(|proxy| metric(proxy, "fleet_budgets_alone") == budgets)
        });
    }
}

/// Refused or not; nothing else is expected.
fn is_granted(reply: &str) -> bool {
    let is_refused = reply.starts_with("-RATELIMITED tenant \\'acme\\' exceeded 0.001 requests/s; retry in ");
    assert!(is_refused || reply == "$-1\\r\\n", "{reply}");
    !is_refused
}

/// The reply to `line`, once it is granted.
fn granted(proxy: &Proxy, client: &mut Client, line: &str) -> String {
    let mut reply = String::new();
    proxy.wait_for("a request to be granted", || {
        reply = client.ask(line);
        !reply.starts_with("-RATELIMITED ")
    });
    reply
}

/// A figure of tenant `acme`.
fn metric(proxy: &Proxy, name: &str) -> u64 {
    let page = proxy.admin("/metrics").expect("the admin port answers").body;
    let series = format!("tenantry_{name}{{tenant=\"acme\"}} ");
    page.lines().find_map(|line| line.strip_prefix(&series)?.parse().ok()).unwrap_or(0)
}

#[test]
fn what_does_not_come_back_is_granted_once_by_all_proxies_together() {
    let redis = RedisServer::start();
    let mut fleet = Fleet::start(3, &limited(redis.url(), FIFTY));
    fleet.until(50);
    fleet.rounds(3);
    assert_eq!(50, fleet.granted);
    // One that comes later has no budget of its own.
    let late = Proxy::start(&limited(redis.url(), FIFTY));
    let mut client = late.acme();
    for _ in 0..3 {
        let before = metric(&late, "fleet_asks_total");
        late.wait_for("the new proxy to have asked", || {
            assert!(!is_granted(&client.ask("GET k")));
            metric(&late, "fleet_asks_total") > before
        });
    }
}

#[test]
fn a_budget_is_no_tenants_key_and_goes_away_when_it_is_full() {
    let redis = RedisServer::start();
    let fast = "[tenant.acme.limits]\nscope = \"fleet\"\nrequests_per_second = { rate = 1000, burst = 50 }\n";
    let proxy = Proxy::start(&limited(redis.url(), fast));
    let mut client = proxy.acme();
    assert_eq!("$-1\\r\\n", granted(&proxy, &mut client, &format!("GET {KEY}")));
    assert_eq!("*0\\r\\n", granted(&proxy, &mut client, "KEYS *"));
    assert_eq!(":0\\r\\n", granted(&proxy, &mut client, "DBSIZE"));
    let mut server = redis.client();
    assert_eq!(":1\\r\\n", server.ask(&format!("EXISTS {KEY}")));
    proxy.wait_for("the key to go away", || server.ask("DBSIZE") == ":0\\r\\n");
}

#[test]
fn a_server_that_forgets_scripts_is_told_again() {
    let redis = RedisServer::start();
    let mut fleet = Fleet::start(2, &limited(redis.url(), FIFTY));
    fleet.until(10);
    assert_eq!("+OK\\r\\n", redis.client().ask("SCRIPT FLUSH"));
    fleet.until(50);
    fleet.rounds(2);
    assert_eq!(50, fleet.granted);
    assert_eq!(0, metric(&fleet.proxies[0], "fleet_failures_total"));
}

#[test]
fn a_budget_on_a_cluster_is_followed_when_its_slot_moves() {
    let cluster = RedisCluster::start_without_replicas();
    let mut fleet = Fleet::start(2, &limited(cluster.url(), FIFTY));
    fleet.until(20);
    let source = cluster.primary_of("acme");
    let target = *cluster.primaries().iter().find(|node| **node != source).expect("there are three");
    assert_eq!(":1\\r\\n", cluster.client(source).ask(&format!("EXISTS {KEY}")));
    let moved = slot(b"acme");
    cluster.migrate_slots(moved..=moved, source, target);
    fleet.until(50);
    fleet.rounds(3);
    assert_eq!(50, fleet.granted);
    assert_eq!(":1\\r\\n", cluster.client(target).ask(&format!("EXISTS {KEY}")));
}

#[test]
fn a_replica_that_takes_over_knows_what_was_granted() {
    let group = SentinelGroup::start();
    let mut fleet = Fleet::start(2, &limited(group.url(), FIFTY));
    fleet.until(45);
    group.promote_the_replica();
    fleet.rounds(5);
    fleet.wait_until_alone(0);
    fleet.rounds(5);
    // The last slices of the old primary may not have reached the new one. What it does not know at all it would grant
    // anew: 50.
    assert!((45..=60).contains(&fleet.granted), "{}", fleet.granted);
}

#[test]
fn while_the_budgets_redis_is_away_nothing_is_granted_that_was_not_before() {
    let (redis, mut budgets) = (RedisServer::start(), RedisServer::start());
    let mut fleet = Fleet::start(3, &kept_elsewhere(redis.url(), &budgets.url(), FIFTY));
    fleet.until(20);
    budgets.kill();
    fleet.wait_until_alone(1);
    fleet.rounds(5);
    assert!((20..=50).contains(&fleet.granted), "{}", fleet.granted);
    // It comes back without what it knew: a burst, once.
    let before = fleet.granted;
    budgets.restart();
    fleet.until(before + 50);
    fleet.rounds(3);
    assert_eq!(before + 50, fleet.granted);
    fleet.wait_until_alone(0);
}

/// What `docs/operations.md` says of it.
#[test]
fn a_redis_that_only_keeps_budgets_need_not_allow_more_than_is_documented() {
    let manual = include_str!("../../docs/operations.md");
    let of_limiters = |line: &&str| line.contains("ACL SETUSER") && line.contains("~tenantry@fleet:*");
    let rule = manual.lines().find(of_limiters).expect("operations.md shows an ACL for it");
    let (redis, budgets) = (RedisServer::start(), RedisServer::start());
    assert_eq!("+OK\\r\\n", budgets.client().ask(rule.trim()));
    let url = format!("redis://tenantry:choose-one@127.0.0.1:{}", budgets.port);
    let mut fleet = Fleet::start(2, &kept_elsewhere(redis.url(), &url, FIFTY));
    for proxy in &fleet.proxies {
        proxy.wait_for("every worker to be let in", || {
            proxy.admin("/readyz").expect("the admin port answers").body == "ready\n"
        });
    }
    fleet.until(50);
    assert_eq!("+OK\\r\\n", budgets.client().ask("SCRIPT FLUSH"));
    fleet.rounds(3);
    fleet.wait_until_alone(0);
    assert_eq!(50, fleet.granted);
}

#[test]
fn a_proxy_that_never_reached_the_budget_lives_on_a_tenth_of_it() {
    let redis = RedisServer::start();
    let nowhere = format!("redis://127.0.0.1:{}", free_port());
    let fast = "[tenant.acme.limits]\nscope = \"fleet\"\nrequests_per_second = { rate = 1000, burst = 50 }\n";
    // Nobody needs that upstream for anything else, so the proxy is ready without it.
    let proxy = Proxy::start(&kept_elsewhere(redis.url(), &nowhere, fast));
    let page = proxy.wait_for_readiness(200, "upstream 'budgets' cannot be reached: ");
    assert!(page.starts_with("ready\n"), "{page}");
    let mut client = proxy.acme();
    let mut granted = 0;
    proxy.wait_for("requests to be granted", || {
        let reply = client.ask("GET k");
        granted += usize::from(reply == "$-1\\r\\n");
        granted >= 20
    });
    proxy.wait_for("the limiter to be missed", || metric(&proxy, "fleet_budgets_alone") == 1);
}

#[test]
fn limits_say_that_they_are_the_fleets() {
    let redis = RedisServer::start();
    let proxy = Proxy::start(&limited(redis.url(), FIFTY));
    let mut client = proxy.acme();
    assert!(client.ask("TENANTRY LIMITS").contains("fleet"));
}
