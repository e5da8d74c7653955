//! Configuration as an operator meets it: what a file, the environment and flags come to, and what is said
//! about mistakes. Reports are compared whole, since their wording is what the operator works with.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop where it stands")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use tenantry::command::slot::slot;
use tenantry::command::{Selection, find};
use tenantry::config::keys::{Fallback, KEYS, Kind, Section};
use tenantry::config::layers::{Environment, Flags};
use tenantry::config::{self, Config, Sources, reference};
use tenantry::policy::in_flight::Ceiling;
use tenantry::settings::{
    Address, Amount, Deployment, Endpoint, FleetSettings, LogFormat, MemorySettings, OutputLimit, Password,
    Restore, RetrySettings, TopologySettings, UpstreamSettings,
};
use tenantry::tenant::Rules;
use tenantry::tenant::compression::Compression;
use tenantry::tenant::directory::{Binding, OnUnavailable, Order, ReadFrom};
use tenantry::tenant::limits::{Limits, OnExceed, Scope};
use tenantry::tenant::prefix::TenantName;
use tenantry::tenant::rules::{Sizes, Ttl};

fn sources(flags: Flags, environment: &[(&str, &str)]) -> Sources {
    let environment: Environment = environment.iter().copied().collect();
    Sources { flags, environment, cores: NonZeroUsize::new(2).unwrap() }
}

fn with_file(text: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
    config::parse(Some(("t.toml", text)), &sources(Flags::default(), environment))
        .map_err(|report| report.to_string())
}

fn without_file(environment: &[(&str, &str)]) -> Result<Config, String> {
    config::parse(None, &sources(Flags::default(), environment)).map_err(|report| report.to_string())
}

fn with_flags(flags: Flags, environment: &[(&str, &str)], text: &str) -> Config {
    config::parse(Some(("t.toml", text)), &sources(flags, environment)).unwrap()
}

fn for_acme() -> Flags {
    Flags { tenant: Some("acme".to_owned()), ..Flags::default() }
}

fn acme() -> TenantName {
    TenantName::parse("acme").unwrap()
}

/// What is wrong with `text`, exactly.
#[track_caller]
fn assert_report(text: &str, expected: &str) {
    assert_eq!(expected.trim_start(), with_file(text, &[]).map(|config| config.summary()).unwrap_err());
}

fn node(host: &str, port: u16) -> Endpoint {
    Endpoint::Tcp { host: host.to_owned(), port }
}

fn tcp(text: &str) -> Address {
    Address::Tcp(text.parse().unwrap())
}

// Good configurations.

#[test]
fn a_tenant_is_all_that_must_be_said() {
    let config = config::parse(None, &sources(for_acme(), &[])).unwrap();
    assert_eq!(2, config.workers.get());
    let [listener] = config.listeners.as_slice() else { panic!("{:?}", config.listeners) };
    assert_eq!((tcp("127.0.0.1:6380"), Some(acme())), (listener.address.clone(), listener.tenant.clone()));
    assert_eq!(Some("127.0.0.1:9180".parse().unwrap()), config.admin.map(|admin| admin.address));
    let [upstream] = config.upstreams.as_slice() else { panic!("{:?}", config.upstreams) };
    assert_eq!(
        ("main", "127.0.0.1:6379"),
        (upstream.name.as_str(), upstream.deployment.to_string().as_str())
    );
    let binding = config.directory.listener_binding(&acme()).unwrap();
    assert_eq!("acme@15:", binding.namespace(15).unwrap().prefix.as_str());
    assert_eq!(
        "configuration is good: 1 listener, 1 upstream, 1 tenant, 0 users, 2 workers",
        config.summary()
    );
}

#[test]
fn the_cluster_example_is_three_tenants() {
    let config = with_file(include_str!("../config/cluster.toml"), &[]).unwrap();
    assert_eq!(
        "configuration is good: 3 listeners, 1 upstream (main: cluster, 3 seeds), 3 tenants, 0 users, 2 workers",
        config.summary()
    );
    let globex = config.directory.listener_binding(&TenantName::parse("globex").unwrap()).unwrap();
    assert_eq!("{globex}@1:", globex.namespace(1).unwrap().prefix.as_str());
}

#[test]
fn the_standalone_example_is_two_tenants() {
    let text = include_str!("../config/standalone.toml");
    let config = with_file(text, &[]).unwrap();
    assert_eq!(
        "configuration is good: 2 listeners, 1 upstream, 2 tenants, 2 users, 2 workers",
        config.summary()
    );
    let shop = config.directory.authenticate(b"globex-shop", b"globex-shop").unwrap();
    assert_eq!("globex:shop:", shop.namespace(shop.home_database()).unwrap().prefix.as_str());
    for password in ["globex-session", "globex-session-next"] {
        let session = config.directory.authenticate(b"globex-session", password.as_bytes()).unwrap();
        assert_eq!("globex@1:session:", session.namespace(session.home_database()).unwrap().prefix.as_str());
    }
    assert!(config.directory.listener_binding(&TenantName::parse("globex").unwrap()).is_none());
}

#[test]
fn every_setting_arrives() {
    let text = r#"
workers = 3
database_count = 4
log = { format = "json", level = "debug" }
[[listener]]
address = "unix:/run/tenantry/acme.sock"
tenant = "acme"
unix_mode = "0660"
[admin]
enabled = false
[upstream.cache]
url = "redis://u:p@[::1]:7000/2"
connect_timeout = "1s"
reply_timeout = "2s"
reconnect_min = "3ms"
reconnect_max = "4s"
idle_timeout = "5m"
window = 64
[upstream.other]
url = "unix:///run/redis.sock"
[downstream]
max_connections = 5
max_request = "2MiB"
max_bulk = 1048576
max_output = "16KiB"
max_pipeline = 6
[start]
wait_for_upstream = true
[tenant.acme]
prefix = "a/"
upstream = "other"
"#;
    let config = with_file(text, &[]).unwrap();
    assert_eq!((3, None), (config.workers.get(), config.admin));
    let listener = &config.listeners[0];
    assert_eq!(Address::Unix(PathBuf::from("/run/tenantry/acme.sock")), listener.address);
    assert_eq!(Some(0o660), listener.unix_mode);
    let cache = &config.upstreams[0];
    assert_eq!(Deployment::Node(node("::1", 7000)), cache.deployment);
    let credentials =
        (cache.username.as_deref(), cache.password.as_ref().map(Password::reveal), cache.database);
    assert_eq!((Some("u"), Some("p"), 2), credentials);
    assert_eq!(
        (Duration::from_secs(1), Duration::from_secs(2)),
        (cache.connect_timeout, cache.reply_timeout)
    );
    assert_eq!(
        (Duration::from_millis(3), Duration::from_secs(4)),
        (cache.reconnect_min, cache.reconnect_max)
    );
    assert_eq!((Duration::from_secs(300), 64), (cache.idle_timeout, cache.window));
    assert_eq!("unix:/run/redis.sock", config.upstreams[1].deployment.to_string());
    let limits = config.downstream;
    assert_eq!((5, 2 << 20, 1 << 20), (limits.max_connections, limits.max_request, limits.max_bulk));
    assert_eq!((16 << 10, 6), (limits.output.hard, limits.max_pipeline));
    assert_eq!((true, LogFormat::Json), (config.start.wait_for_upstream, config.log.format));
    assert_eq!(tracing::Level::DEBUG, config.log.level);
    let binding = config.directory.listener_binding(&acme()).unwrap();
    assert_eq!(("a@3/", 1), (binding.namespace(3).unwrap().prefix.as_str(), binding.tenant().upstream));
    assert!(binding.namespace(4).is_none());
}

const ACME: &str = "[[listener]]\naddress = \"127.0.0.1:6380\"\ntenant = \"acme\"\n[tenant.acme]\n";

#[test]
fn a_cluster_is_an_upstream_with_seeds() {
    let text = ACME.to_owned()
        + r#"
upstream = "main"
[upstream.main]
url = "redis+cluster://u:p@a:1,[::1]"
address_map = ["10.0.0.1:6379=203.0.113.5:7001", "[fd00::1]:6379 = nat:7002"]
topology_refresh = "1m"
topology_refresh_min = "250ms"
max_redirects = 16
[upstream.other]
url = "redis+cluster://a"
"#;
    let config = with_file(&text, &[]).unwrap();
    let [main, other] = config.upstreams.as_slice() else { panic!("{:?}", config.upstreams) };
    assert_eq!(Deployment::Cluster { seeds: vec![node("a", 1), node("::1", 6379)] }, main.deployment);
    let credentials = (main.username.as_deref(), main.password.as_ref().map(Password::reveal));
    assert_eq!((Some("u"), Some("p"), 0), (credentials.0, credentials.1, main.database));
    let mapped =
        vec![(node("10.0.0.1", 6379), node("203.0.113.5", 7001)), (node("fd00::1", 6379), node("nat", 7002))];
    assert_eq!(mapped, main.address_map);
    let refresh = |every, min| TopologySettings {
        refresh_every: Duration::from_millis(every),
        refresh_min: Duration::from_millis(min),
    };
    assert_eq!((refresh(60_000, 250), 16), (main.topology, main.max_redirects));
    assert_eq!((refresh(30_000, 1_000), 5), (other.topology, other.max_redirects));
    assert!(other.address_map.is_empty());
    assert_eq!(
        "configuration is good: 1 listener, 2 upstreams (main: cluster, 2 seeds; other: cluster, 1 seed), \
         1 tenant, 0 users, 2 workers",
        config.summary()
    );
}

#[test]
fn sentinels_have_credentials_of_their_own() {
    let text = ACME.to_owned()
        + r#"
[upstream.main]
url = "redis+sentinel://u:p@a,b:1/mymaster/2"
sentinel_username = "watcher"
sentinel_password = "env:WATCHER"
"#;
    let config = with_file(&text, &[("WATCHER", "w")]).unwrap();
    let main = &config.upstreams[0];
    let Deployment::Sentinel(asked) = &main.deployment else { panic!("{:?}", main.deployment) };
    assert_eq!(
        ("mymaster", vec![node("a", 26379), node("b", 1)]),
        (asked.group.as_str(), asked.sentinels.clone())
    );
    let of_sentinels = (asked.username.as_deref(), asked.password.as_ref().map(Password::reveal));
    assert_eq!((Some("watcher"), Some("w")), of_sentinels);
    let of_nodes = (main.username.as_deref(), main.password.as_ref().map(Password::reveal));
    assert_eq!((Some("u"), Some("p"), 2), (of_nodes.0, of_nodes.1, main.database));
    assert_eq!(
        "configuration is good: 1 listener, 1 upstream (main: group mymaster, 2 sentinels), 1 tenant, 0 users, \
         2 workers",
        config.summary()
    );
}

#[test]
fn sentinels_go_with_native_databases() {
    let native = "databases = \"native\"\n".to_owned() + ACME;
    let text = native + "[upstream.main]\nurl = \"redis+sentinel://a/mymaster\"\n";
    let config = with_file(&text, &[]).unwrap();
    let binding = config.directory.listener_binding(&acme()).unwrap();
    assert_eq!(Some(3), binding.namespace(3).unwrap().native);
}

#[test]
fn a_cluster_can_come_from_a_flag_or_variables() {
    let url = "redis+cluster://a:1,b:2";
    let cluster = Deployment::Cluster { seeds: vec![node("a", 1), node("b", 2)] };
    let flags = Flags { upstream: Some(url.to_owned()), ..for_acme() };
    let by_flag = config::parse(None, &sources(flags, &[])).unwrap();
    assert_eq!(cluster, by_flag.upstreams[0].deployment);
    let tenant = ("TENANTRY_TENANT", "acme");
    for name in ["TENANTRY_UPSTREAM", "TENANTRY_UPSTREAM_MAIN_URL", "REDIS_URL"] {
        let config = without_file(&[tenant, (name, url)]).unwrap();
        assert_eq!(cluster, config.upstreams[0].deployment, "{name}");
    }
    let environment = [
        tenant,
        ("TENANTRY_UPSTREAM_MAIN_URL", "redis+sentinel://a/mymaster"),
        ("TENANTRY_UPSTREAM_MAIN_SENTINEL_PASSWORD", "in clear"),
        ("TENANTRY_UPSTREAM_MAIN_ADDRESS_MAP", "10.0.0.1:1=nat:1, 10.0.0.2:1=nat:2"),
        ("TENANTRY_UPSTREAM_MAIN_MAX_REDIRECTS", "0"),
        ("TENANTRY_TENANT_ACME_ORDER", "relaxed"),
        ("TENANTRY_TENANT_ACME_READ_FROM", "nearest"),
        ("TENANTRY_TENANT_ACME_COLOCATE", "true"),
    ];
    let config = without_file(&environment).unwrap();
    let main = &config.upstreams[0];
    let Deployment::Sentinel(asked) = &main.deployment else { panic!("{:?}", main.deployment) };
    assert_eq!(Some("in clear"), asked.password.as_ref().map(Password::reveal));
    assert_eq!((None, 2, 0), (main.password.as_ref(), main.address_map.len(), main.max_redirects));
    let tenant = config.directory.listener_binding(&acme()).unwrap().tenant().clone();
    assert_eq!((Order::Relaxed, ReadFrom::Nearest, true), (tenant.order, tenant.read_from, tenant.colocates));
}

#[test]
fn a_tenant_says_how_it_uses_a_cluster() {
    let tenant = |lines: &str| {
        let config = with_file(&format!("{ACME}{lines}"), &[]).unwrap();
        let tenant = config.directory.listener_binding(&acme()).unwrap().tenant().clone();
        (tenant.order, tenant.read_from)
    };
    assert_eq!((Order::Strict, ReadFrom::Primary), tenant(""));
    for (word, expected) in [("strict", Order::Strict), ("relaxed", Order::Relaxed)] {
        assert_eq!(expected, tenant(&format!("order = \"{word}\"")).0, "{word}");
    }
    for (word, expected) in [
        ("primary", ReadFrom::Primary),
        ("prefer-replica", ReadFrom::PreferReplica),
        ("replica", ReadFrom::Replica),
        ("nearest", ReadFrom::Nearest),
    ] {
        assert_eq!(expected, tenant(&format!("read_from = \"{word}\"")).1, "{word}");
    }
}

#[test]
fn compression_is_a_tenants_or_a_users_and_others_of_the_same_keys_can_read() {
    let text = r#"
[[listener]]
address = "127.0.0.1:1"
[tenant.acme]
compression = "lz4"
compress_above = "2KiB"
[[tenant.acme.user]]
name = "same"
secrets = ["sha256:4fe6ae1bd397d68b149f8a86069f5e6806a937d7d0b2f31830c48008b268bda0"]
[[tenant.acme.user]]
name = "smaller"
secrets = ["sha256:4fe6ae1bd397d68b149f8a86069f5e6806a937d7d0b2f31830c48008b268bda0"]
compress_above = "64B"
[[tenant.acme.user]]
name = "off"
secrets = ["sha256:4fe6ae1bd397d68b149f8a86069f5e6806a937d7d0b2f31830c48008b268bda0"]
compression = "off"
[tenant.globex]
[[tenant.globex.user]]
name = "archive"
secrets = ["sha256:4fe6ae1bd397d68b149f8a86069f5e6806a937d7d0b2f31830c48008b268bda0"]
prefix = "archive:"
compression = "lz4"
[[tenant.globex.user]]
name = "reports"
secrets = ["sha256:4fe6ae1bd397d68b149f8a86069f5e6806a937d7d0b2f31830c48008b268bda0"]
prefix = "reports:"
[[tenant.globex.user]]
name = "reader"
secrets = ["sha256:4fe6ae1bd397d68b149f8a86069f5e6806a937d7d0b2f31830c48008b268bda0"]
prefix = "archive:"
"#;
    let config = with_file(text, &[]).unwrap();
    let compresses = |above| Some(Compression { above: Some(above) });
    for (user, expected) in [
        ("same", compresses(2048)),
        ("smaller", compresses(64)),
        ("off", Some(Compression { above: None })),
        ("archive", compresses(1024)),
        ("reports", None),
        ("reader", Some(Compression { above: None })),
    ] {
        let binding = config.directory.authenticate(user.as_bytes(), b"globex-secret").unwrap();
        assert_eq!(expected, binding.compression(), "{user}");
    }
}

#[test]
fn compression_that_there_is_not_is_refused() {
    assert_report(
        &format!("{ACME}compression = \"zip\"\ncompress_above = \"8B\"\n"),
        r#"
t.toml:5:15: tenant.acme.compression: is not "off", "read" or "lz4"
    write "off", "read" or "lz4"
t.toml:6:18: tenant.acme.compress_above: is out of range
    write "64MiB" or the like (B, KiB, MiB, GiB, TiB), 64B to 1MiB
2 mistakes in the configuration"#,
    );
}

#[test]
fn nodes_are_measured_where_a_tenant_reads_from_the_nearest() {
    let text = r#"
[[listener]]
address = "127.0.0.1:1"
tenant = "acme"
[upstream.far]
url = "redis+cluster://far"
[upstream.near]
url = "redis+cluster://near"
[tenant.acme]
upstream = "near"
read_from = "nearest"
[tenant.globex]
upstream = "far"
read_from = "replica"
[[tenant.globex.user]]
name = "globex"
secrets = ["sha256:4fe6ae1bd397d68b149f8a86069f5e6806a937d7d0b2f31830c48008b268bda0"]
"#;
    let config = with_file(text, &[]).unwrap();
    let measured = config.upstreams.iter().map(|upstream| (upstream.name.as_str(), upstream.measures_nodes));
    assert_eq!(vec![("far", false), ("near", true)], measured.collect::<Vec<_>>());
}

#[test]
fn a_colocated_tenant_has_its_name_as_hash_tag() {
    let text = r#"
[[listener]]
address = "127.0.0.1:1"
tenant = "acme"
[tenant.acme]
colocate = true
[tenant.globex]
colocate = true
prefix = "team-a/"
[[tenant.globex.user]]
name = "session"
secrets = ["env:P"]
prefix = "session:"
[tenant.initech]
colocate = false
[[listener]]
address = "127.0.0.1:2"
tenant = "initech"
"#;
    let config = with_file(text, &[("P", "p")]).unwrap();
    let prefixes = |binding: Arc<Binding>| {
        let of_database = |database| {
            let namespace = binding.namespace(database).unwrap();
            format!("{} {}", namespace.prefix, namespace.channels)
        };
        [0, 1].map(of_database)
    };
    let listener =
        |name: &str| prefixes(config.directory.listener_binding(&TenantName::parse(name).unwrap()).unwrap());
    assert_eq!(["{acme}: {acme}:", "{acme}@1: {acme}:"], listener("acme"));
    assert_eq!(["initech: initech:", "initech@1: initech:"], listener("initech"));
    let session = prefixes(config.directory.authenticate(b"session", b"p").unwrap());
    assert_eq!(["{team-a}/session: {team-a}/session:", "{team-a}@1/session: {team-a}/session:"], session);
}

// Precedence.

#[test]
fn flags_go_before_environment_before_file_before_default() {
    let file = "workers = 3\n[tenant.acme]\n[[listener]]\naddress = \"127.0.0.1:1\"\ntenant = \"acme\"\n";
    let environment = [("TENANTRY_WORKERS", "4"), ("TENANTRY_LISTEN", "127.0.0.1:2")];
    let flags =
        Flags { workers: Some("5".to_owned()), listen: Some("127.0.0.1:3".to_owned()), ..Flags::default() };
    let seen = |config: &Config| (config.workers.get(), config.listeners[0].address.clone());
    assert_eq!((3, tcp("127.0.0.1:1")), seen(&with_file(file, &[]).unwrap()));
    assert_eq!((4, tcp("127.0.0.1:2")), seen(&with_file(file, &environment).unwrap()));
    assert_eq!((5, tcp("127.0.0.1:3")), seen(&with_flags(flags, &environment, file)));
}

#[test]
fn an_empty_variable_is_not_set() {
    let config =
        without_file(&[("TENANTRY_TENANT", "acme"), ("TENANTRY_WORKERS", ""), ("REDIS_URL", "")]).unwrap();
    assert_eq!(
        (2, "127.0.0.1:6379"),
        (config.workers.get(), config.upstreams[0].deployment.to_string().as_str())
    );
}

#[test]
fn everything_can_come_from_variables() {
    let environment = [
        ("TENANTRY_LISTENER_1_ADDRESS", "127.0.0.1:1"),
        ("TENANTRY_LISTENER_2_ADDRESS", "127.0.0.1:2"),
        ("TENANTRY_LISTENER_2_TENANT", "acme"),
        ("TENANTRY_UPSTREAM_MAIN_URL", "redis://cache"),
        ("TENANTRY_UPSTREAM_MAIN_PASSWORD", "in clear"),
        ("TENANTRY_TENANT_ACME_PREFIX", "a:"),
        ("TENANTRY_TENANT_ACME_USER_1_NAME", "bob"),
        ("TENANTRY_TENANT_ACME_USER_1_SECRETS", "env:OLD, env:NEW"),
        ("TENANTRY_START_WAIT_FOR_UPSTREAM", "true"),
        ("TENANTRY_DOWNSTREAM_MAX_PIPELINE", "7"),
        ("TENANTRY_DOWNSTREAM_MAX_BULK", "1MiB"),
        ("TENANTRY_ADMIN_ENABLED", "false"),
        ("OLD", "old password"),
        ("NEW", "new password"),
    ];
    let config = without_file(&environment).unwrap();
    assert_eq!(tcp("127.0.0.1:2"), config.listeners[1].address);
    assert_eq!("in clear", config.upstreams[0].password.as_ref().unwrap().reveal());
    assert!(config.directory.authenticate(b"bob", b"old password").is_some());
    assert_eq!("bob", config.directory.authenticate(b"bob", b"new password").unwrap().user_name());
    let limits = (config.downstream.max_pipeline, config.downstream.max_bulk, config.start.wait_for_upstream);
    assert_eq!((7, 1 << 20, true), limits);
    assert!(config.admin.is_none());
}

#[test]
fn variables_find_names_with_dashes() {
    let file = "[upstream.us-east]\nurl = \"a\"\n[tenant.acme]\n[[listener]]\naddress = \"127.0.0.1:1\"\ntenant = \"acme\"\n";
    let config = with_file(file, &[("TENANTRY_UPSTREAM_US_EAST_URL", "b")]).unwrap();
    let upstreams: Vec<String> =
        config.upstreams.iter().map(|u| format!("{} {}", u.name, u.deployment)).collect();
    assert_eq!(vec!["us-east b:6379"], upstreams);
}

#[test]
fn a_key_with_a_longer_namesake_is_found_by_the_names_in_the_file() {
    let variable = ("TENANTRY_UPSTREAM_EU_SENTINEL_PASSWORD", "p");
    let passwords = |name: &str| {
        let file = format!("{ACME}[upstream.{name}]\nurl = \"redis+sentinel://a/main\"\n");
        let config = with_file(&file, &[variable]).unwrap();
        let [upstream] = config.upstreams.as_slice() else { panic!("{:?}", config.upstreams) };
        let Deployment::Sentinel(asked) = &upstream.deployment else { panic!("{upstream:?}") };
        (upstream.password.is_some(), asked.password.is_some())
    };
    assert_eq!((false, true), passwords("eu"));
    assert_eq!((true, false), passwords("eu-sentinel"));
}

#[test]
fn redis_variables_name_the_upstream_only_where_nothing_else_does() {
    let endpoint = |config: Config| {
        let upstream = &config.upstreams[0];
        let password = upstream.password.as_ref().map(|password| password.reveal().to_owned());
        (upstream.deployment.to_string(), upstream.database, password)
    };
    let parts = [("REDIS_HOST", "cache"), ("REDIS_PORT", "7000"), ("REDIS_DB", "2"), ("REDIS_PASSWORD", "p")];
    let tenant = [("TENANTRY_TENANT", "acme")];
    let all = [tenant.as_slice(), &parts].concat();
    assert_eq!(("cache:7000".to_owned(), 2, Some("p".to_owned())), endpoint(without_file(&all).unwrap()));
    let url = [all.as_slice(), &[("REDIS_URL", "redis://:q@url:7001/3")]].concat();
    assert_eq!(("url:7001".to_owned(), 3, Some("q".to_owned())), endpoint(without_file(&url).unwrap()));
    let ours = [url.as_slice(), &[("TENANTRY_UPSTREAM", "ours")]].concat();
    assert_eq!(("ours:6379".to_owned(), 0, None), endpoint(without_file(&ours).unwrap()));
    let file = "[upstream.main]\nurl = \"file\"\n";
    assert_eq!(("file:6379".to_owned(), 0, None), endpoint(with_file(file, &url).unwrap()));
}

#[test]
fn variables_that_an_orchestrator_sets_for_services_are_ignored() {
    let environment = [
        ("TENANTRY_TENANT", "acme"),
        ("TENANTRY_SERVICE_HOST", "10.0.0.1"),
        ("TENANTRY_SERVICE_PORT", "6380"),
        ("TENANTRY_SERVICE_PORT_REDIS", "6380"),
        ("TENANTRY_PORT", "tcp://10.0.0.1:6380"),
        ("TENANTRY_PORT_6380_TCP_ADDR", "10.0.0.1"),
        ("TENANTRY_ADMIN_PORT", "tcp://10.0.0.1:9180"),
        ("REDIS_PORT", "tcp://10.0.0.2:6379"),
    ];
    let config = without_file(&environment).unwrap();
    assert_eq!("127.0.0.1:6379", config.upstreams[0].deployment.to_string());
}

// Secrets.

#[test]
fn secrets_come_from_variables_files_and_digests() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("secret");
    std::fs::write(&path, "from file\n").unwrap();
    let text = format!(
        "[tenant.acme]\n[[tenant.acme.user]]\nname = \"default\"\nsecrets = [\"env:ACME\", \"file:{0}\", \
         \"sha256:f52fbd32b2b3b86ff88ef6c490628285f482af15ddcb29541f94bcf526a3f6c7\"]\n\
         [[listener]]\naddress = \"127.0.0.1:1\"\n[upstream.main]\nurl = \"cache\"\npassword = \"file:{0}\"\n",
        path.display()
    );
    let config = with_file(&text, &[("ACME", "from variable")]).unwrap();
    for password in ["from variable", "from file", "hunter2"] {
        assert!(config.directory.authenticate(b"default", password.as_bytes()).is_some(), "{password}");
    }
    assert!(config.directory.authenticate(b"default", b"from file\n").is_none());
    assert!(config.directory.has_user(b"default"));
    assert_eq!("from file", config.upstreams[0].password.as_ref().unwrap().reveal());
}

#[test]
fn nothing_that_is_printed_shows_a_secret() {
    let text = "[upstream.main]\nurl = \"redis://:hunter2@cache\"\n[tenant.acme]\n[[tenant.acme.user]]\n\
                name = \"a\"\nsecrets = [\"env:A\"]\n[[listener]]\naddress = \"127.0.0.1:1\"\n";
    let config = with_file(text, &[("A", "hunter2")]).unwrap();
    assert!(!format!("{config:?}").contains("hunter2"), "{config:?}");
    let flawed = "[upstream.a]\nurl = \"redis://:hunter2/@cache\"\n[upstream.b]\nurl = \"hunter2://x\"\n\
                  password = \"hunter2\"\n[upstream.c]\nurl = \"redis://x:hunter2\"\n[tenant.acme]\n\
                  [[tenant.acme.user]]\nname = \"a\"\nsecrets = [\"hunter2\", \"sha256:hunter2\"]\n";
    let report = with_file(flawed, &[]).unwrap_err();
    assert!(!report.contains("hunter2"), "{report}");
}

// Deadlines, retries, degradation.

/// How long the upstream may take for each of these commands, in seconds.
fn timeouts(upstream: &UpstreamSettings, commands: &[&str]) -> Vec<u64> {
    let of = |name: &&str| {
        let index = find(name).unwrap().index();
        upstream.reply_timeout_of(u16::try_from(index).unwrap()).as_secs()
    };
    commands.iter().map(of).collect()
}

#[test]
fn the_smallest_class_that_has_a_command_says_how_long_its_reply_may_take() {
    let text = format!(
        "{ACME}[upstream.main]\nurl = \"redis://127.0.0.1\"\nreply_timeout = \"9s\"\n\
         [upstream.main.class.get]\nreply_timeout = \"1s\"\n\
         [upstream.main.class.read]\nreply_timeout = \"5s\"\n\
         [upstream.main.class.scan]\nreply_timeout = \"4s\"\n\
         [upstream.main.class.both]\ncommands = \"+get +mget\"\nreply_timeout = \"2s\"\n\
         [upstream.main.class.either]\ncommands = \"+mget +hget\"\nreply_timeout = \"3s\"\n\
         [upstream.main.class.write]\n"
    );
    let upstream = &with_file(&text, &[]).unwrap().upstreams[0];
    assert_eq!(
        vec![1, 2, 3, 4, 5, 9],
        timeouts(upstream, &["GET", "MGET", "HGET", "HSCAN", "STRLEN", "SET"]),
        "of two that are as small the shorter; a class without a timeout has the upstream's"
    );
    assert_eq!(Duration::from_secs(1), upstream.shortest_reply_timeout());
    assert_eq!(Duration::from_secs(9), upstream.reply_timeout_of(u16::MAX));
}

#[test]
fn deadlines_retries_and_degradation_can_come_from_variables() {
    let environment = [
        ("TENANTRY_TENANT", "acme"),
        ("TENANTRY_UPSTREAM_MAIN_URL", "redis://127.0.0.1"),
        ("TENANTRY_UPSTREAM_MAIN_CLASS_WRITE_REPLY_TIMEOUT", "3s"),
        ("TENANTRY_UPSTREAM_MAIN_CLASS_REPORTS_COMMANDS", "+zunion"),
        ("TENANTRY_UPSTREAM_MAIN_CLASS_REPORTS_REPLY_TIMEOUT", "4s"),
        ("TENANTRY_UPSTREAM_MAIN_RETRY_PERCENT", "5"),
        ("TENANTRY_UPSTREAM_MAIN_RETRY_MINIMUM", "0"),
        ("TENANTRY_TENANT_ACME_ON_UNAVAILABLE", "nil"),
    ];
    let config = without_file(&environment).unwrap();
    assert_eq!(vec![3, 4, 10], timeouts(&config.upstreams[0], &["SET", "ZUNION", "GET"]));
    assert_eq!(RetrySettings { percent: 5, minimum: 0 }, config.upstreams[0].retry);
    assert_eq!(OnUnavailable::Nil, config.directory.tenants()[0].on_unavailable);
    // An upstream may be called like a section of another.
    let file =
        format!("{ACME}upstream = \"main_class_a\"\n[upstream.main_class_a]\nurl = \"redis://127.0.0.1\"\n");
    let config = with_file(&file, &[("TENANTRY_UPSTREAM_MAIN_CLASS_A_REPLY_TIMEOUT", "3s")]).unwrap();
    assert_eq!(vec![3], timeouts(&config.upstreams[0], &["GET"]));
}

#[test]
fn flawed_deadlines_retries_and_degradation_are_all_told() {
    assert_report(
        &format!(
            "{ACME}on_unavailable = \"null\"\n[upstream.main]\nurl = \"redis://127.0.0.1\"\n\
             [upstream.main.class.reeds]\nreply_timeout = \"1s\"\n\
             [upstream.main.class.read]\nreply_timeout = \"0s\"\n\
             [upstream.main.class.keys]\nreply_timeout = \"2h\"\n\
             [upstream.main.class.mine]\ncommands = \"read\"\n\
             [upstream.main.class.yours]\ncommands = \"+@reads\"\n\
             [upstream.main.class.theirs]\ncommands = \"+nosuch\"\n\
             [upstream.main.class.nobodys]\ncommands = \"+get -get\"\ntimeout = \"1s\"\n\
             [upstream.main.retry]\npercent = 101\nminimum = -1\nratio = 0.2\n"
        ),
        "
t.toml:5:18: tenant.acme.on_unavailable: is not \"error\" or \"nil\"
    write \"error\" or \"nil\"
t.toml:8:22: upstream.main.class.reeds: names no class of commands
    name it after an ACL category such as read, write or scripting, a command, or scan; or say which commands: commands = \"+@read -keys\"
t.toml:11:17: upstream.main.class.read.reply_timeout: is out of range
    write \"250ms\" or the like (ms, s, m, h), 1ms to 1h
t.toml:12:22: upstream.main.class.keys: has no command that is sent as clients send it
    name others: what the proxy answers itself or composes of several requests has the upstream's reply_timeout for each of them
t.toml:13:17: upstream.main.class.keys.reply_timeout: is out of range
    write \"250ms\" or the like (ms, s, m, h), 1ms to 1h
t.toml:15:12: upstream.main.class.mine.commands: 'read' begins with neither '+' nor '-'
    write +command, -command, +@category or -@category, with spaces between
t.toml:17:12: upstream.main.class.yours.commands: there is no category '@reads'
    redis-cli ACL CAT lists the categories
t.toml:19:12: upstream.main.class.theirs.commands: there is no command 'nosuch'
    docs/commands.md lists the commands; a subcommand is written config|get
t.toml:21:12: upstream.main.class.nobodys.commands: chooses no command
    begin with +@all to take commands away from all: \"+@all -keys\"; rules begin with none
t.toml:22:1: upstream.main.class.nobodys.timeout: no such key
    known here: commands, reply_timeout
t.toml:24:11: upstream.main.retry.percent: is out of range
    write a whole number, 0 to 100
t.toml:25:11: upstream.main.retry.minimum: is out of range
    write a whole number, 0 to 1000000
t.toml:26:1: upstream.main.retry.ratio: no such key
    known here: percent, minimum
13 mistakes in the configuration",
    );
}
// What a tenant or user may do.

#[test]
fn a_connection_is_held_to_the_rules_of_its_tenant_and_its_user() {
    let text = ACME.to_owned()
        + r#"
commands = "+@all -keys"
max_arguments = 100
max_key_size = 512
max_value_size = "1MiB"
default_ttl = "24h"
max_ttl = "48h"
[[tenant.acme.user]]
name = "reader"
secrets = ["env:SECRET"]
commands = "+@read -mget"
read_only = true
max_value_size = "1KiB"
max_ttl = "1h"
[[tenant.acme.user]]
name = "same"
secrets = ["env:SECRET"]
[tenant.globex]
[[tenant.globex.user]]
name = "free"
secrets = ["env:SECRET"]
[[tenant.globex.user]]
name = "mortal"
secrets = ["env:SECRET"]
max_ttl = "2h"
"#;
    let config = with_file(&text, &[("SECRET", "s")]).unwrap();
    let rules = |user: &[u8]| {
        let binding = config.directory.authenticate(user, b"s").unwrap();
        binding.rules().cloned()
    };
    let of_tenant = config.directory.listener_binding(&acme()).unwrap().rules().cloned().unwrap();
    let same = rules(b"same").unwrap();
    assert_eq!((of_tenant.sizes, of_tenant.ttl), (same.sizes, same.ttl));
    let sizes = Sizes { max_arguments: Some(100), max_key: Some(512), max_value: Some(1 << 20) };
    assert_eq!(sizes, of_tenant.sizes);
    let hours = |hours: u64| Some(hours * 3_600_000);
    assert_eq!(Ttl { default: hours(24), max: hours(48) }, of_tenant.ttl);
    let runs = |rules: &Rules, name: &str| rules.commands.as_ref().unwrap().has(find(name).unwrap());
    assert_eq!(
        (true, false, false),
        (runs(&of_tenant, "SET"), runs(&of_tenant, "KEYS"), of_tenant.is_read_only)
    );
    let reader = rules(b"reader").unwrap();
    let reads = ["GET", "SET", "MGET", "KEYS"].map(|name| runs(&reader, name));
    assert_eq!(([true, false, false, false], true), (reads, reader.is_read_only));
    assert_eq!(Sizes { max_value: Some(1 << 10), ..sizes }, reader.sizes);
    assert_eq!(Ttl { default: hours(1), max: hours(1) }, reader.ttl);
    assert!(rules(b"free").is_none());
    assert_eq!(Ttl { default: hours(2), max: hours(2) }, rules(b"mortal").unwrap().ttl);
}

#[test]
fn rules_that_contradict_each_other_are_told() {
    assert_report(RULES_AGAINST_EACH_OTHER, RULES_AGAINST_EACH_OTHER_TOLD);
}

const RULES_AGAINST_EACH_OTHER: &str = r#"
[tenant.a]
commands = "-keys"
read_only = "maybe"
max_arguments = 0
max_key_size = "0B"
max_value_size = "99999999999TiB"
default_ttl = "48h"
max_ttl = "24h"
[tenant.b]
commands = "+@all -@nosuch"
default_ttl = "0s"
max_ttl = -1
[[tenant.b.user]]
name = "u"
secrets = ["sha256:307c609f87da43c3d563428a4f7efdf9857f4871fd10465732c4ab11a985a08c"]
commands = "+select|0"
[tenant.c]
commands = "+@read"
max_arguments = 10
max_key_size = 10
max_value_size = 10
max_ttl = "1h"
[[tenant.c.user]]
name = "v"
secrets = ["sha256:307c609f87da43c3d563428a4f7efdf9857f4871fd10465732c4ab11a985a08c"]
commands = "+set keys"
max_arguments = 11
max_key_size = 11
max_value_size = 11
default_ttl = "2h"
max_ttl = "3h"
[[tenant.c.user]]
name = "w"
secrets = ["sha256:307c609f87da43c3d563428a4f7efdf9857f4871fd10465732c4ab11a985a08c"]
commands = "+set +nosuch|x"
[[tenant.c.user]]
name = "x"
secrets = ["sha256:307c609f87da43c3d563428a4f7efdf9857f4871fd10465732c4ab11a985a08c"]
commands = "+set +del"
"#;

const RULES_AGAINST_EACH_OTHER_TOLD: &str = r#"

t.toml:3:12: tenant.a.commands: chooses no command
    begin with +@all to take commands away from all: "+@all -keys"; rules begin with none
t.toml:4:13: tenant.a.read_only: is a text, not true or false
    write true or false
t.toml:5:17: tenant.a.max_arguments: is out of range
    write a whole number, 2 to 1048576
t.toml:6:16: tenant.a.max_key_size: is out of range
    write "64MiB" or the like (B, KiB, MiB, GiB, TiB), 1B to 4095MiB
t.toml:7:18: tenant.a.max_value_size: is too large
    write "64MiB" or the like (B, KiB, MiB, GiB, TiB), 1B to 4095MiB
t.toml:8:15: tenant.a.default_ttl: is larger than max_ttl
    lower it, or raise max_ttl
t.toml:11:12: tenant.b.commands: there is no category '@nosuch'
    redis-cli ACL CAT lists the categories
t.toml:12:15: tenant.b.default_ttl: is out of range
    write "250ms" or the like (ms, s, m, h), 1ms to 878400h
t.toml:13:11: tenant.b.max_ttl: is a number, not a duration
    write "250ms" or the like (ms, s, m, h), 1ms to 878400h
t.toml:17:12: tenant.b.user[1].commands: 'select|0' chooses a first argument, which is not supported: the whole command is 'select'
    choose the whole command, or leave it out
t.toml:27:12: tenant.c.user[1].commands: 'keys' begins with neither '+' nor '-'
    write +command, -command, +@category or -@category, with spaces between
t.toml:28:17: tenant.c.user[1].max_arguments: is larger than its tenant's max_arguments
    lower it, or raise its tenant's max_arguments
t.toml:29:16: tenant.c.user[1].max_key_size: is larger than its tenant's max_key_size
    lower it, or raise its tenant's max_key_size
t.toml:30:18: tenant.c.user[1].max_value_size: is larger than its tenant's max_value_size
    lower it, or raise its tenant's max_value_size
t.toml:31:15: tenant.c.user[1].default_ttl: is larger than its tenant's max_ttl
    lower it, or raise its tenant's max_ttl
t.toml:32:11: tenant.c.user[1].max_ttl: is larger than its tenant's max_ttl
    lower it, or raise its tenant's max_ttl
t.toml:36:12: tenant.c.user[2].commands: there is no command 'nosuch|x'
    docs/commands.md lists the commands; a subcommand is written config|get
t.toml:40:12: tenant.c.user[3].commands: allows no command that its tenant may run
    allow some that the tenant's commands allow
18 mistakes in the configuration"#;

// The reference.

#[test]
fn the_reference_is_what_the_key_table_says() {
    let expected = reference::render();
    let written = concat!(env!("CARGO_TARGET_TMPDIR"), "/reference.toml");
    std::fs::write(written, &expected).unwrap();
    assert_eq!(expected, include_str!("../config/reference.toml"), "cp {written} config/reference.toml");
}

/// The lines of the reference with their `#` taken off, where `is_wanted` says so. Prose has a space behind
/// it.
fn uncommented(is_wanted: impl Fn(Section, &str) -> bool) -> String {
    let mut section = Section::Top;
    let mut lines = Vec::new();
    for line in include_str!("../config/reference.toml").lines() {
        let Some(line) = line.strip_prefix('#').filter(|line| !line.is_empty() && !line.starts_with(' '))
        else {
            continue;
        };
        let header = Section::ALL.iter().find(|section| section.header() == line);
        section = header.copied().unwrap_or(section);
        let key = line.split(" = ").next().unwrap();
        if header.is_some() || is_wanted(section, key) {
            lines.push(line);
        }
    }
    lines.join("\n")
}

#[test]
fn restore_is_checked_unless_the_operator_says_otherwise() {
    for (expected, line) in [
        (Restore::Checked, ""),
        (Restore::Checked, "restore = \"checked\""),
        (Restore::Always, "restore = \"always\""),
        (Restore::Never, "restore = \"never\""),
    ] {
        let text = format!(
            "[[listener]]\naddress = \"127.0.0.1:6380\"\ntenant = \"acme\"\n[tenant.acme]\n\
             [upstream.main]\nurl = \"redis://127.0.0.1:6379\"\n{line}\n"
        );
        assert_eq!(expected, with_file(&text, &[]).unwrap().upstreams[0].restore, "{line}");
    }
}

#[test]
fn the_reference_shows_the_defaults() {
    let has_value = |section: Section, name: &str| match section.key(name).unwrap().fallback {
        Fallback::Text(_) | Fallback::Integer(_) | Fallback::Truth(_) | Fallback::Required => true,
        // Without it the section would say nothing.
        Fallback::Absent(_) => {
            matches!(
                (section, name),
                (Section::Listener, "tenant") | (Section::LimitClass, "requests_per_second")
            )
        }
    };
    let shown = with_file(&uncommented(has_value), &[]).unwrap();
    let default = config::parse(None, &sources(for_acme(), &[])).unwrap();
    let settings = |config: &Config| {
        let Config { workers, listeners, admin, upstreams, fleet, downstream, memory, start, log, .. } =
            config;
        format!(
            "{workers:?} {listeners:?} {admin:?} {upstreams:?} {fleet:?} {downstream:?} {memory:?} {start:?} {log:?}"
        )
    };
    assert_eq!(settings(&default), settings(&shown));
    assert!(shown.directory.authenticate(b"acme", b"acme-secret").is_some());
}

#[test]
fn every_example_of_the_reference_is_a_good_value() {
    // Examples of keys that exclude each other stand side by side; that is all that may be said about them.
    let expected = "\
t.toml:11:13: listener[1].unix_mode: applies to unix: sockets only
    leave it out, or listen on \"unix:/absolute/path\"
t.toml:19:21: upstream.main.sentinel_username: applies to redis+sentinel:// only
    leave it out, or name sentinels in the url
t.toml:20:21: upstream.main.sentinel_password: applies to redis+sentinel:// only
    leave it out, or name sentinels in the url
t.toml:77:13: tenant.acme.limits.max_delay: applies to on_exceed = \"delay\" only
    leave it out, or write on_exceed = \"delay\"
t.toml:88:10: tenant.acme.user[1].prefix: prefix 'acme:session:' of user 'acme' begins with prefix 'acme:' of the \
tenant's listener
    keep them apart: give the tenant's listener a prefix of its own instead of 'acme:' (remove the listener's tenant \
and add a user with a prefix)
5 mistakes in the configuration";
    let environment = [("UPSTREAM_PASSWORD", "p"), ("SENTINEL_PASSWORD", "s"), ("CURSOR_SECRET", "c")];
    let report = with_file(&uncommented(|_, _| true), &environment).unwrap_err();
    assert_eq!(expected, report);
}

#[test]
fn the_environment_reaches_every_key() {
    for key in KEYS {
        let header = format!("#{}", key.section.header());
        let is_before = |line: &&str| key.section != Section::Top && *line != header;
        let lines: Vec<&str> =
            include_str!("../config/reference.toml").lines().skip_while(is_before).collect();
        let at = lines.iter().position(|line| line.starts_with(&format!("#{} = ", key.name))).unwrap();
        let variable = lines[at - 1].trim_start_matches("# ");
        // A value that no key takes: the report must point at the variable and the key.
        let flawed = match key.kind {
            Kind::Text | Kind::Texts => continue,
            Kind::Integer { .. }
            | Kind::Size { .. }
            | Kind::Amount { .. }
            | Kind::Duration { .. }
            | Kind::Truth
            | Kind::Rate
            | Kind::Choice(_) => "?",
        };
        let report = without_file(&[("TENANTRY_TENANT", "acme"), (variable, flawed)]).unwrap_err();
        assert!(report.starts_with(&format!("environment {variable}: ")), "{report}");
        assert!(report.contains(key.name), "{report}");
    }
}

// Isolation.

/// A tenant: prefix, whether it has a listener, whether it is colocated, and its users' prefixes.
type Written = (String, bool, bool, Vec<Option<String>>);

/// A document with these tenants.
fn document_of(tenants: &[Written]) -> String {
    let mut text =
        "database_count = 12\n[[listener]]\naddress = \"127.0.0.1:0\"\ntenant = \"t0\"\n".to_owned();
    for (number, (prefix, has_listener, colocates, users)) in tenants.iter().enumerate() {
        writeln!(text, "[tenant.t{number}]\nprefix = \"{prefix}\"\ncolocate = {colocates}").unwrap();
        for (user, feature) in users.iter().enumerate() {
            let feature =
                feature.as_ref().map_or(String::new(), |feature| format!("prefix = \"{feature}\"\n"));
            let name = format!("[[tenant.t{number}.user]]\nname = \"{number}-{user}\"");
            writeln!(text, "{name}\nsecrets = [\"env:P\"]\n{feature}").unwrap();
        }
        if *has_listener {
            writeln!(text, "[[listener]]\naddress = \"127.0.0.1:0\"\ntenant = \"t{number}\"").unwrap();
        }
    }
    text
}

/// Every prefix that any connection can come to have, once per tenant.
fn reachable_prefixes(config: &Config, tenants: &[Written]) -> BTreeSet<(Vec<u8>, usize)> {
    let users = tenants
        .iter()
        .enumerate()
        .flat_map(|(t, (.., users))| (0..users.len()).map(move |u| format!("{t}-{u}")));
    let by_user = users.map(|user| config.directory.authenticate(user.as_bytes(), b"p").unwrap());
    let by_listener =
        config.listeners.iter().filter_map(|l| config.directory.listener_binding(l.tenant.as_ref()?));
    let bindings: Vec<_> = by_user.chain(by_listener).collect();
    let of_binding = |binding: &Arc<Binding>| {
        let prefix = |database| binding.namespace(database).unwrap().prefix.as_bytes().to_vec();
        (0..binding.databases())
            .map(|database| (prefix(database), binding.tenant().index))
            .collect::<Vec<_>>()
    };
    bindings.iter().flat_map(of_binding).collect()
}

proptest! {
    /// Few letters and all the separators, so that prefixes meet often.
    #[test]
    fn no_accepted_configuration_has_a_namespace_that_begins_another(
        tenants in prop::collection::vec((
            "[ab1]{0,2}[:@_]?[ab1]{0,2}[:_]",
            any::<bool>(),
            any::<bool>(),
            prop::collection::vec(prop::option::of("[ab1@]{0,2}[:_]"), 0..3),
        ), 1..4)
    ) {
        if let Ok(config) = with_file(&document_of(&tenants), &[("P", "p")]) {
            let prefixes: Vec<(Vec<u8>, usize)> = reachable_prefixes(&config, &tenants).into_iter().collect();
            // Sorted, so whatever begins another stands right before one that it begins.
            for pair in prefixes.windows(2) {
                prop_assert!(!pair[1].0.starts_with(&pair[0].0), "{:?}", pair);
            }
        }
    }
}

proptest! {
    /// Names with braces among them: a client's own hash tags must not count.
    #[test]
    fn all_keys_of_a_colocated_tenant_are_in_one_slot(
        prefix in "[a-c]{1,3}[:/]([a-c]{1,3}[-:])?",
        features in prop::option::of(prop::sample::subsequence(vec!["cart:", "x@1/", "s-"], 1..=3)),
        names in prop::collection::vec("[{}ab:]{0,8}", 1..6),
    ) {
        let users = features.map_or(vec![None], |all| all.into_iter().map(|one| Some(one.to_owned())).collect());
        let has_listener = users == [None];
        let tenants = [
            ("first:".to_owned(), true, false, vec![]),
            (prefix, has_listener, true, users),
        ];
        let config = with_file(&document_of(&tenants), &[("P", "p")]).unwrap();
        let reachable = reachable_prefixes(&config, &tenants);
        let prefixes = reachable.iter().filter(|(_, tenant)| *tenant == 1).map(|(prefix, _)| prefix);
        let slots: BTreeSet<u16> = prefixes
            .flat_map(|prefix| names.iter().map(|name| slot(&[prefix, name.as_bytes()].concat())))
            .collect();
        prop_assert_eq!(1, slots.len());
    }
}

// Mistakes.

#[test]
fn syntax_errors_are_all_told() {
    assert_report(
        "workers = 
tenant = [
x
",
        "
t.toml:1:11: not TOML: string values must be quoted, expected literal string
    config/reference.toml shows every key in its place
t.toml:3:1: not TOML: string values must be quoted, expected literal string
    config/reference.toml shows every key in its place
t.toml:3:2: not TOML: unclosed array, expected `]`
    config/reference.toml shows every key in its place
3 mistakes in the configuration",
    );
}

#[test]
fn an_empty_file_lacks_a_tenant() {
    assert_report(
        "",
        "
t.toml: no tenant is configured
    give a file: tenantry --config FILE (config/standalone.toml is an example),
    or one tenant: tenantry --tenant acme (listens on 127.0.0.1:6380, for redis://127.0.0.1:6379)
1 mistake in the configuration",
    );
}

#[test]
fn unknown_keys_are_told_with_what_was_meant() {
    assert_report(
        r#"wrokers = 1
[[listener]]
address = "127.0.0.1:1"
tenant = "acme"
prot = 1
[admin]
port = 1
[upstream.main]
url = "cache"
conect_timeout = "1s"
[upstream.main.breaker]
consecutive_failurs = 5
[tenant.acme]
prefx = "a:"
[tenant.acme.quotas]
[listen]
"#,
        "
t.toml:1:1: wrokers: no such key
    did you mean workers?
t.toml:5:1: listener[1].prot: no such key
    known here: address, tenant, unix_mode
t.toml:7:1: admin.port: no such key
    known here: enabled, address
t.toml:10:1: upstream.main.conect_timeout: no such key
    did you mean connect_timeout?
t.toml:12:1: upstream.main.breaker.consecutive_failurs: no such key
    did you mean consecutive_failures?
t.toml:14:1: tenant.acme.prefx: no such key
    did you mean prefix?
t.toml:15:14: tenant.acme.quotas: no such key
    known here: prefix, upstream, cluster_persona, order, read_from, on_unavailable, weight, colocate, commands, read_only, max_arguments, \
max_key_size, max_value_size, default_ttl, max_ttl, compression, compress_above, user, limits
t.toml:16:2: listen: no such key
    did you mean listener?
8 mistakes in the configuration",
    );
}

#[test]
fn values_of_the_wrong_type() {
    assert_report(
        r#"workers = 1.5
database_count = "16"
databases = 1
log = 3
listener = "127.0.0.1:1"
start = { wait_for_upstream = "yes" }
[upstream.main]
url = 1
connect_timeout = 2
window = 99999999999999999999
[tenant]
acme = 3
[[tenant.globex.user]]
name = true
secrets = "env:X"
"#,
        r#"
t.toml:1:11: workers: is a number with a fraction, not a whole number
    write a whole number, 1 to 1024
t.toml:2:18: database_count: is a text, not a whole number
    write a whole number, 1 to 1024
t.toml:3:13: databases: is a number, not a text
    write "virtual" or "native"
t.toml:4:7: log: is a number, not a section
    write it as a section, with [brackets] around its name
t.toml:5:12: listener: is a text, not a list of sections
    write each as a section, with [[brackets]] around its name
t.toml:6:31: start.wait_for_upstream: is a text, not true or false
    write true or false
t.toml:8:7: upstream.main.url: is a number, not a text
    write a text in quotes
t.toml:9:19: upstream.main.connect_timeout: is a number, not a duration
    write "250ms" or the like (ms, s, m, h), 1ms to 10m
t.toml:10:10: upstream.main.window: is too large a number, not a whole number
    write a whole number, 1 to 1000000
t.toml:12:8: tenant.acme: is a number, not a section
    write it as a section, with [brackets] around its name
t.toml:14:8: tenant.globex.user[1].name: is true or false, not a text
    write a text in quotes
t.toml:15:11: tenant.globex.user[1].secrets: is a text, not a list of texts
    write a list of texts: ["…", "…"]
12 mistakes in the configuration"#,
    );
}

#[test]
fn breakers_that_contradict_themselves() {
    let text = |lines: &str| {
        format!(
            "[[listener]]\naddress = \"127.0.0.1:1\"\ntenant = \"acme\"\n[tenant.acme]\n\
             [upstream.main]\nurl = \"cache\"\n[upstream.main.breaker]\n{lines}"
        )
    };
    assert_report(
        &text(
            "open_for_min = \"31s\"\nwindow = \"1ms\"\nfailure_percent = 101\nmin_requests = 0\nconsecutive_failures = -1\n",
        ),
        r#"
t.toml:8:16: upstream.main.breaker.open_for_min: is larger than open_for_max
    lower it, or raise open_for_max
t.toml:9:10: upstream.main.breaker.window: is out of range
    write "250ms" or the like (ms, s, m, h), 100ms to 1h
t.toml:10:19: upstream.main.breaker.failure_percent: is out of range
    write a whole number, 0 to 100
t.toml:11:16: upstream.main.breaker.min_requests: is out of range
    write a whole number, 1 to 1000000000
t.toml:12:24: upstream.main.breaker.consecutive_failures: is out of range
    write a whole number, 0 to 1000000
5 mistakes in the configuration"#,
    );
    assert_report(
        &text("slow_percent = 10\nconsecutive_failures = 0\nfailure_percent = 0\n"),
        "
t.toml:7:16: upstream.main.breaker: nothing can open the breaker: consecutive_failures and failure_percent are 0, \
and there is no slow_reply
    write enabled = false, or one of them
t.toml:8:16: upstream.main.breaker.slow_percent: says how many replies may be slow, but not from when on they are
    leave it out, or write slow_reply as well
2 mistakes in the configuration",
    );
    assert_report(
        &text("slow_reply = \"10s\"\n"),
        "
t.toml:8:14: upstream.main.breaker.slow_reply: is not below reply_timeout, after which a reply is not waited for
    lower it, or raise reply_timeout
1 mistake in the configuration",
    );
    assert!(
        with_file(&text("enabled = false\nconsecutive_failures = 0\nfailure_percent = 0\n"), &[]).is_ok()
    );
}

#[test]
fn values_out_of_range() {
    assert_report(
        r#"workers = 0
database_count = 1025
databases = "both"
[[listener]]
address = "127.0.0.1:1"
tenant = "acme"
[downstream]
max_bulk = "2GiB"
max_request = "5GiB"
max_output = 1
max_pipeline = -1
[log]
format = "xml"
[tenant.acme]
[upstream.main]
url = "cache"
connect_timeout = "2"
reply_timeout = "0s"
reconnect_min = "3s"
idle_timeout = "1.5h"
window = 0
"#,
        r#"
t.toml:1:11: workers: is out of range
    write a whole number, 1 to 1024
t.toml:2:18: database_count: is out of range
    write a whole number, 1 to 1024
t.toml:3:13: databases: is not "virtual" or "native"
    write "virtual" or "native"
t.toml:9:15: downstream.max_request: is out of range
    write "64MiB" or the like (B, KiB, MiB, GiB, TiB), 16KiB to 4095MiB
t.toml:10:14: downstream.max_output: is out of range
    write "64MiB" or the like (B, KiB, MiB, GiB, TiB), 16KiB to 1TiB
t.toml:11:16: downstream.max_pipeline: is out of range
    write a whole number, 1 to 1000000
t.toml:13:10: log.format: is not "pretty" or "json"
    write "pretty" or "json"
t.toml:17:19: upstream.main.connect_timeout: has no unit
    write "250ms" or the like (ms, s, m, h), 1ms to 10m
t.toml:18:17: upstream.main.reply_timeout: is out of range
    write "250ms" or the like (ms, s, m, h), 1ms to 1h
t.toml:19:17: upstream.main.reconnect_min: is larger than reconnect_max
    lower it, or raise reconnect_max
t.toml:20:16: upstream.main.idle_timeout: does not begin with a whole number
    write "250ms" or the like (ms, s, m, h), 1s to 24h
t.toml:21:10: upstream.main.window: is out of range
    write a whole number, 1 to 1000000
12 mistakes in the configuration"#,
    );
}

#[test]
fn addresses_that_nobody_can_use() {
    assert_report(
        r#"[[listener]]
address = "127.0.0.1:6380"
tenant = "acne"
unix_mode = "0660"
[[listener]]
address = "unix:relative"
unix_mode = "rw"
tenant = "acme"
[[listener]]
address = "127.0.0.1:9180"
tenant = "acme"
[[listener]]
address = "localhost:1"
[[listener]]
tenant = "acme"
[tenant.acme]
"#,
        r#"
t.toml:3:10: listener[1].tenant: names no configured tenant
    write "acme"
t.toml:4:13: listener[1].unix_mode: applies to unix: sockets only
    leave it out, or listen on "unix:/absolute/path"
t.toml:6:11: listener[2].address: is not an IP address with a port
    write "127.0.0.1:6380", "[::1]:6380" or "unix:/absolute/path" or the like
t.toml:7:13: listener[2].unix_mode: is not a file mode
    write three or four octal digits in quotes, such as "0660"
t.toml:12:1: listener[4]: nobody can use it: it has no tenant, and no tenant has a user
    give the listener a tenant = "…", or a tenant a [[tenant.NAME.user]] to authenticate as
t.toml:13:11: listener[4].address: is not an IP address with a port
    write "127.0.0.1:6380", "[::1]:6380" or "unix:/absolute/path" or the like
t.toml:14:1: listener[5].address: is missing
    write it, such as address = "127.0.0.1:6380"
t.toml: admin.address: is the address of listener[3] already
    give each an address of its own
8 mistakes in the configuration"#,
    );
}

#[test]
fn an_admin_address_must_be_a_port() {
    assert_report(
        r#"[admin]
address = "unix:/run/admin.sock"
[[listener]]
address = "127.0.0.1:1"
tenant = "acme"
[tenant.acme]
"#,
        r#"
t.toml:2:11: admin.address: is not an IP address with a port
    write "127.0.0.1:9180" or the like
1 mistake in the configuration"#,
    );
}

#[test]
fn upstreams_that_cannot_be_reached() {
    assert_report(
        r#"[[listener]]
address = "127.0.0.1:1"
tenant = "acme"
[upstream.a]
url = "redis://:pass/word@cache"
[upstream.b]
url = "rediss://cache"
password = "hunter2"
[upstream.C]
url = "redis://u@cache"
[upstream.d]
username = "u"
[upstream.e]
url = "redis://cache?db=1"
[tenant.acme]
[tenant.globex]
upstream = "z"
"#,
        r#"
t.toml:5:7: upstream.a.url: port is not a number from 1 to 65535
    write redis://[user[:password]@]host[:port][/db], redis+cluster://[user[:password]@]host[:port],…, redis+sentinel://[user[:password]@]host[:port],…/group[/db] or unix:///path[?db=N], with '/', '@', ':', '?' and '%' in user and password percent-encoded
t.toml:7:7: upstream.b.url: scheme rediss:// is not yet in this version
    use redis://, redis+cluster://, redis+sentinel:// or unix://
t.toml:8:12: upstream.b.password: is written in clear
    write "env:NAME" or "file:/path": Redis must be told it in clear, so a digest will not do
t.toml:9:11: upstream.C: an upstream's name is made of a-z, 0-9, '_' and '-'
    rename it
t.toml:10:7: upstream.C.url: has a username but no password
    add the password: user:password@ in the url, or password = "env:NAME"
t.toml:11:11: upstream.d.url: is missing
    write it, such as url = "redis://127.0.0.1:6379"
t.toml:14:7: upstream.e.url: parameter after '?' is not known
    only unix:///path?db=N has a parameter; redis:// has its database after the host: /N
t.toml:15:9: tenant.acme.upstream: is missing, and there are 5 upstreams
    write "a", "b", "C", "d" or "e"
t.toml:17:12: tenant.globex.upstream: names no configured upstream
    write "a", "b", "C", "d" or "e"
9 mistakes in the configuration"#,
    );
}

#[test]
fn clusters_and_sentinels_that_cannot_be_found() {
    assert_report(
        r#"databases = "native"
[[listener]]
address = "127.0.0.1:1"
tenant = "acme"
[upstream.a]
url = "redis+cluster://a:1,b:2/1"
[upstream.b]
url = "redis+cluster://a:1,hunter2@,b"
[upstream.c]
url = "redis+sentinel://a:1"
[upstream.d]
url = "redis+cluster://a"
[upstream.e]
url = "redis+cluster://u@b"
[tenant.acme]
upstream = "d"
"#,
        r#"
t.toml:1:13: databases: is "native", but upstream 'd' is a cluster, which has database 0 only
    write databases = "virtual": then SELECT works on a cluster too
t.toml:1:13: databases: is "native", but upstream 'e' is a cluster, which has database 0 only
    write databases = "virtual": then SELECT works on a cluster too
t.toml:6:7: upstream.a.url: a cluster has database 0 only
    leave it out: tenants have their databases all the same, told apart by their keys' prefixes
t.toml:8:7: upstream.b.url: host is empty or has characters that no host name has
    write redis://[user[:password]@]host[:port][/db], redis+cluster://[user[:password]@]host[:port],…, redis+sentinel://[user[:password]@]host[:port],…/group[/db] or unix:///path[?db=N], with '/', '@', ':', '?' and '%' in user and password percent-encoded
t.toml:10:7: upstream.c.url: name of the sentinels' group is empty or has spaces
    write redis://[user[:password]@]host[:port][/db], redis+cluster://[user[:password]@]host[:port],…, redis+sentinel://[user[:password]@]host[:port],…/group[/db] or unix:///path[?db=N], with '/', '@', ':', '?' and '%' in user and password percent-encoded
t.toml:14:7: upstream.e.url: has a username but no password
    add the password: user:password@ in the url, or password = "env:NAME"
6 mistakes in the configuration"#,
    );
}

#[test]
fn a_cluster_with_too_many_seeds() {
    let seeds: Vec<String> = (1..=101).map(|number| format!("h{number}")).collect();
    assert_report(
        &format!("{ACME}[upstream.main]\nurl = \"redis+cluster://{}\"\n", seeds.join(",")),
        "
t.toml:6:7: upstream.main.url: has more than 100 hosts
    name a few of them: the others are learned from these
1 mistake in the configuration",
    );
}

#[test]
fn settings_of_clusters_and_sentinels_that_do_not_fit() {
    assert_report(
        r#"[[listener]]
address = "127.0.0.1:1"
tenant = "acme"
[upstream.a]
url = "redis+cluster://a"
sentinel_username = "watcher"
sentinel_password = "env:PATH_TO_NOWHERE"
address_map = ["10.0.0.1:6379", "10.0.0.1:6379=nat", "a:1=b:1", "a:1=c:1", 5]
topology_refresh = "2s"
topology_refresh_min = "3s"
max_redirects = 17
[upstream.b]
url = "redis+sentinel://a/mymaster"
sentinel_username = "watcher"
address_map = "a:1=b:1"
topology_refresh = "25h"
topology_refresh_min = "9ms"
[upstream.c]
url = "redis+sentinel://a/mymaster"
sentinel_password = "hunter2"
[tenant.acme]
upstream = "a"
"#,
        r#"
t.toml:6:21: upstream.a.sentinel_username: applies to redis+sentinel:// only
    leave it out, or name sentinels in the url
t.toml:7:21: upstream.a.sentinel_password: environment variable PATH_TO_NOWHERE is not set
    set PATH_TO_NOWHERE where tenantry is started
t.toml:7:21: upstream.a.sentinel_password: applies to redis+sentinel:// only
    leave it out, or name sentinels in the url
t.toml:8:16: upstream.a.address_map: is not two addresses with ports and '=' between them
    write "10.0.0.1:6379=203.0.113.5:7001" or the like: what the node announces, '=', and where to reach it
t.toml:8:33: upstream.a.address_map: is not two addresses with ports and '=' between them
    write "10.0.0.1:6379=203.0.113.5:7001" or the like: what the node announces, '=', and where to reach it
t.toml:8:65: upstream.a.address_map: says twice where a:1 is
    keep one of them
t.toml:8:76: upstream.a.address_map: is a number, not a text
    write a text in quotes
t.toml:10:24: upstream.a.topology_refresh_min: is larger than topology_refresh
    lower it, or raise topology_refresh
t.toml:11:17: upstream.a.max_redirects: is out of range
    write a whole number, 0 to 16
t.toml:14:21: upstream.b.sentinel_username: needs sentinel_password
    add it: sentinel_password = "env:NAME"
t.toml:15:15: upstream.b.address_map: is a text, not a list of texts
    write a list of texts: ["…", "…"]
t.toml:16:20: upstream.b.topology_refresh: is out of range
    write "250ms" or the like (ms, s, m, h), 1s to 24h
t.toml:17:24: upstream.b.topology_refresh_min: is out of range
    write "250ms" or the like (ms, s, m, h), 10ms to 1h
t.toml:20:21: upstream.c.sentinel_password: is written in clear
    write "env:NAME" or "file:/path": Redis must be told it in clear, so a digest will not do
14 mistakes in the configuration"#,
    );
}

#[test]
fn tenants_that_cannot_use_a_cluster_so() {
    assert_report(
        r#"[[listener]]
address = "127.0.0.1:1"
tenant = "acme"
[tenant.acme]
order = "loose"
read_from = "replicas"
colocate = "yes"
[tenant.globex]
prefix = ":"
colocate = true
order = 1
[tenant.initech]
prefix = "initech"
colocate = true
"#,
        r#"
t.toml:5:9: tenant.acme.order: is not "strict" or "relaxed"
    write "strict" or "relaxed"
t.toml:6:13: tenant.acme.read_from: is not "primary", "prefer-replica", "replica" or "nearest"
    write "primary", "prefer-replica", "replica" or "nearest"
t.toml:7:12: tenant.acme.colocate: is a text, not true or false
    write true or false
t.toml:9:10: tenant.globex.prefix: prefix ':' has nothing before its separator, which could be the hash tag of all keys
    write a word before it: "acme:"
t.toml:11:9: tenant.globex.order: is a number, not a text
    write "strict" or "relaxed"
t.toml:13:10: tenant.initech.prefix: prefix 'initech' does not end with a separator (such as ':' '-' '_' '/' '.'), so the number of a virtual database has no place in it
    end it with one: "initech:"
6 mistakes in the configuration"#,
    );
}

#[test]
fn users_that_cannot_authenticate() {
    assert_report(
        r#"[[listener]]
address = "127.0.0.1:1"
[tenant.acme]
[[tenant.acme.user]]
name = "bob"
secrets = ["hunter2", "sha256:12", "env:NOPE", "file:/no/such/secret", 3]
[[tenant.acme.user]]
name = "eve"
secrets = []
database = 16
[[tenant.acme.user]]
name = "a b"
[tenant.globex]
[[tenant.globex.user]]
name = "bob"
secrets = ["sha256:307c609f87da43c3d563428a4f7efdf9857f4871fd10465732c4ab11a985a08c"]
"#,
        r#"
t.toml:6:12: tenant.acme.user[1].secrets: is written in clear
    write "env:NAME", "file:/path", or "sha256:<digest>" with the digest from: printf %s 'the password' | sha256sum
t.toml:6:23: tenant.acme.user[1].secrets: a sha256 secret has 64 hexadecimal digits; this has 2 characters
    make it with: printf %s 'the password' | sha256sum
t.toml:6:36: tenant.acme.user[1].secrets: environment variable NOPE is not set
    set NOPE where tenantry is started
t.toml:6:48: tenant.acme.user[1].secrets: file /no/such/secret cannot be read: entity not found
    check the path, and who may read the file
t.toml:6:72: tenant.acme.user[1].secrets: is a number, not a text
    write a text in quotes
t.toml:9:11: tenant.acme.user[2].secrets: user 'eve' has no secret
    add one: secrets = ["env:NAME"]
t.toml:10:12: tenant.acme.user[2].database: user 'eve' starts in database 16; there are 0 to 15
    choose a smaller one, or raise database_count
t.toml:11:1: tenant.acme.user[3].secrets: is missing
    write it, such as secrets = ["sha256:307c609f87da43c3d563428a4f7efdf9857f4871fd10465732c4ab11a985a08c"]
t.toml:12:8: tenant.acme.user[3].name: a user's name must not hold spaces or control characters; it has ' '
    rename it
t.toml:15:8: tenant.globex.user[1].name: is the name of tenant.acme.user[1] already, and AUTH finds the tenant by the user's name
    rename it
10 mistakes in the configuration"#,
    );
}

#[test]
fn names_and_prefixes_that_redis_would_read_otherwise() {
    assert_report(
        r#"[[listener]]
address = "127.0.0.1:1"
tenant = "nosep"
[tenant.Upper]
[tenant."-dash"]
[tenant.tag]
prefix = "{tag}:"
[tenant.nosep]
prefix = "nosep"
[tenant.at]
prefix = "at@"
[tenant.empty]
prefix = ""
[tenant.space]
prefix = "a b:"
"#,
        r#"
t.toml:4:9: tenant.Upper: a tenant's name is made of a-z, 0-9, '_' and '-'; it has 'U'
    rename it; its keys' prefix can be chosen apart, with prefix = "…"
t.toml:5:9: tenant.-dash: a tenant's name begins with a letter a-z or a digit, not with '-'
    rename it; its keys' prefix can be chosen apart, with prefix = "…"
t.toml:7:10: tenant.tag.prefix: prefix holds '{' at byte 0
    use printable ASCII without space and * ? [ ] \ ^ { }, which mean something in Redis' patterns
t.toml:9:10: tenant.nosep.prefix: prefix 'nosep' does not end with a separator (such as ':' '-' '_' '/' '.'), so the number of a virtual database has no place in it
    end it with one: "nosep:"
t.toml:11:10: tenant.at.prefix: prefix 'at@' does not end with a separator (such as ':' '-' '_' '/' '.'), so the number of a virtual database has no place in it
    end it with one: "at@:"
t.toml:13:10: tenant.empty.prefix: a prefix must not be empty
    leave it out for the default, or write something like "acme:"
t.toml:15:10: tenant.space.prefix: prefix holds a space at byte 1
    use printable ASCII without space and * ? [ ] \ ^ { }, which mean something in Redis' patterns
7 mistakes in the configuration"#,
    );
}

#[test]
fn namespaces_that_meet() {
    assert_report(
        r#"[[listener]]
address = "127.0.0.1:1"
tenant = "acme"
[tenant.acme]
[[tenant.acme.user]]
name = "session"
secrets = ["sha256:307c609f87da43c3d563428a4f7efdf9857f4871fd10465732c4ab11a985a08c"]
prefix = "session:"
[tenant.evil]
prefix = "acme:evil:"
[tenant.same]
prefix = "acme:"
[tenant.second-database]
prefix = "acme@2:"
[tenant.globex]
[[tenant.globex.user]]
name = "plain"
secrets = ["sha256:307c609f87da43c3d563428a4f7efdf9857f4871fd10465732c4ab11a985a08c"]
[[tenant.globex.user]]
name = "cart"
secrets = ["sha256:307c609f87da43c3d563428a4f7efdf9857f4871fd10465732c4ab11a985a08c"]
prefix = "cart:"
"#,
        "
t.toml:8:10: tenant.acme.user[1].prefix: prefix 'acme:session:' of user 'session' begins with prefix 'acme:' of the tenant's listener
    keep them apart: give the tenant's listener a prefix of its own instead of 'acme:' (remove the listener's tenant and add a user with a prefix)
t.toml:10:10: tenant.evil.prefix: prefix 'acme:evil:' of tenant 'evil' begins with prefix 'acme:' of tenant 'acme'
    give one of them another prefix: a name in the inner one would be a name in the outer one
t.toml:12:10: tenant.same.prefix: prefix 'acme:' of tenant 'same' is the prefix of tenant 'acme'
    give one of them another prefix: a name in the inner one would be a name in the outer one
t.toml:12:10: tenant.same.prefix: prefix 'acme:evil:' of tenant 'evil' begins with prefix 'acme:' of tenant 'same'
    give one of them another prefix: a name in the inner one would be a name in the outer one
t.toml:14:10: tenant.second-database.prefix: prefix 'acme@2:' of tenant 'second-database' is the prefix of tenant 'acme'
    give one of them another prefix: a name in the inner one would be a name in the outer one
t.toml:14:10: tenant.second-database.prefix: prefix 'acme@2:' of tenant 'second-database' is the prefix of tenant 'same'
    give one of them another prefix: a name in the inner one would be a name in the outer one
t.toml:22:10: tenant.globex.user[2].prefix: prefix 'globex:cart:' of user 'cart' begins with prefix 'globex:' of user 'plain'
    keep them apart: give user 'plain' a prefix of its own instead of 'globex:'
7 mistakes in the configuration",
    );
}

#[test]
fn a_configuration_without_file_and_tenant_is_taught_how() {
    let environment = [];
    let expected = "
configuration: no tenant is configured
    give a file: tenantry --config FILE (config/standalone.toml is an example),
    or one tenant: tenantry --tenant acme (listens on 127.0.0.1:6380, for redis://127.0.0.1:6379)
1 mistake in the configuration";
    assert_eq!(expected.trim_start(), without_file(&environment).unwrap_err());
}

#[test]
fn mistakes_in_variables_are_told_with_their_names() {
    let environment = [
        ("TENANTRY_TENANT", "acme"),
        ("TENANTRY_WROKERS", "3"),
        ("TENANTRY_LISTENER_3_ADDRESS", "127.0.0.1:1"),
        ("TENANTRY_WORKERS", "many"),
        ("TENANTRY_ADMIN", "localhost"),
        ("TENANTRY_START_WAIT_FOR_UPSTREAM", "yes"),
        ("REDIS_HOST", "cache"),
        ("REDIS_PORT", "99999"),
    ];
    let expected = r#"
environment REDIS_PORT: port is not a number from 1 to 65535
    write redis://[user[:password]@]host[:port][/db], redis+cluster://[user[:password]@]host[:port],…, redis+sentinel://[user[:password]@]host[:port],…/group[/db] or unix:///path[?db=N], with '/', '@', ':', '?' and '%' in user and password percent-encoded
environment TENANTRY_ADMIN: admin.address: is not an IP address with a port
    write "127.0.0.1:9180" or the like
environment TENANTRY_LISTENER_3_ADDRESS: the list has 0 so far
    number them from 1 without gaps
environment TENANTRY_START_WAIT_FOR_UPSTREAM: start.wait_for_upstream: is a text, not true or false
    write true or false
environment TENANTRY_WORKERS: workers: is a text, not a whole number
    write a whole number, 1 to 1024
environment TENANTRY_WROKERS: names no key
    a key's variable is TENANTRY_ and its path in capitals, joined by _: TENANTRY_UPSTREAM_MAIN_URL; config/reference.toml has every key
6 mistakes in the configuration"#;
    assert_eq!(expected.trim_start(), without_file(&environment).unwrap_err());
}

#[test]
fn a_fleet_meets_at_one_upstream_or_at_each_tenants() {
    let text = r#"
[upstream.main]
url = "a"
[upstream.budgets]
url = "b"
[tenant.acme]
upstream = "main"
[[listener]]
address = "127.0.0.1:0"
tenant = "acme"
"#;
    let fleet = with_file(text, &[]).unwrap().fleet;
    assert_eq!(FleetSettings { upstream: None, interval: Duration::from_millis(100) }, fleet);
    let named = format!("{text}[fleet]\nupstream = \"budgets\"\ninterval = \"50ms\"");
    let fleet = with_file(&named, &[]).unwrap().fleet;
    assert_eq!(FleetSettings { upstream: Some(1), interval: Duration::from_millis(50) }, fleet);
}

#[test]
fn a_fleet_is_told_what_is_wrong_with_it() {
    assert_report(
        r#"[[listener]]
address = "127.0.0.1:0"
tenant = "acme"
[tenant.acme]
prefix = "tenantry@fleet:"
[tenant.acme.limits]
requests_per_second = 1000
scope = "galaxy"
[fleet]
upstream = "budget"
interval = "10ms"
leases = 3
"#,
        r#"t.toml:5:10: tenant.acme.prefix: prefix 'tenantry@fleet:' is where the proxy keeps budgets that several processes share ('tenantry@fleet:')
    choose another one
t.toml:8:9: tenant.acme.limits.scope: is not "process" or "fleet"
    write "process" or "fleet"
t.toml:10:12: fleet.upstream: names no configured upstream
    write "main"
t.toml:11:12: fleet.interval: is out of range
    write "250ms" or the like (ms, s, m, h), 20ms to 1s
t.toml:12:1: fleet.leases: no such key
    known here: upstream, interval
5 mistakes in the configuration"#,
    );
}

#[test]
fn a_short_form_must_have_one_meaning() {
    let environment = [
        ("TENANTRY_TENANT", "acme"),
        ("TENANTRY_LISTENER_1_ADDRESS", "127.0.0.1:1"),
        ("TENANTRY_LISTENER_2_ADDRESS", "127.0.0.1:2"),
        ("TENANTRY_UPSTREAM_A_URL", "a"),
        ("TENANTRY_UPSTREAM_B_URL", "b"),
        ("TENANTRY_UPSTREAM", "c"),
    ];
    let expected = r#"
environment TENANTRY_LISTENER_1_ADDRESS: listener[1]: nobody can use it: it has no tenant, and no tenant has a user
    give the listener a tenant = "…", or a tenant a [[tenant.NAME.user]] to authenticate as
environment TENANTRY_LISTENER_2_ADDRESS: listener[2]: nobody can use it: it has no tenant, and no tenant has a user
    give the listener a tenant = "…", or a tenant a [[tenant.NAME.user]] to authenticate as
environment TENANTRY_TENANT: cannot say which of 2 is meant
    use TENANTRY_LISTENER_<NUMBER>_<KEY>, or keep one listener in the file
environment TENANTRY_TENANT: tenant.acme.upstream: is missing, and there are 2 upstreams
    write "a" or "b"
environment TENANTRY_UPSTREAM: cannot say which of 2 is meant
    use TENANTRY_UPSTREAM_<NAME>_URL, or keep one upstream in the file
5 mistakes in the configuration"#;
    assert_eq!(expected.trim_start(), without_file(&environment).unwrap_err());
}

#[test]
fn a_file_that_is_not_there_is_said_so() {
    let flags = Flags { config: Some(PathBuf::from("no/such.toml")), ..Flags::default() };
    let expected = "no/such.toml: cannot be read: entity not found\n    \
                    check the path after --config, and who may read the file\n1 mistake in the configuration";
    assert_eq!(expected, config::load(&sources(flags, &[])).unwrap_err().to_string());
}

#[test]
fn the_file_can_be_named_by_a_variable() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("t.toml");
    std::fs::write(&path, include_str!("../config/standalone.toml")).unwrap();
    let path = path.display().to_string();
    assert!(config::load(&sources(Flags::default(), &[("TENANTRY_CONFIG", &path)])).is_ok());
}

// Limits.

/// What is wrong with these lines of tenant acme, which has a listener.
#[track_caller]
fn assert_limits_report(lines: &str, expected: &str) {
    let text = format!("[[listener]]\naddress = \"127.0.0.1:1\"\ntenant = \"acme\"\n[tenant.acme]\n{lines}");
    assert_report(&text, expected);
}

/// Limits of tenant acme, its user bob and two classes; user eve has none.
const LIMITS: &str = r#"
[[listener]]
address = "127.0.0.1:1"
tenant = "acme"
[tenant.acme]
[tenant.acme.limits]
requests_per_second = { rate = 1000, burst = 100 }
request_bytes_per_second = 1048576
connections = 50
in_flight = 200
on_exceed = "delay"
dry_run = true
[tenant.acme.limits.class.scan]
requests_per_second = 0.25
[tenant.acme.limits.class.slow_ones]
commands = "+keys +config|get"
reply_bytes_per_second = { rate = 2.5, burst = 7 }
[[tenant.acme.user]]
name = "bob"
secrets = ["sha256:307c609f87da43c3d563428a4f7efdf9857f4871fd10465732c4ab11a985a08c"]
[tenant.acme.user.limits]
requests_per_second = { rate = 10 }
scope = "fleet"
[[tenant.acme.user]]
name = "eve"
secrets = ["sha256:307c609f87da43c3d563428a4f7efdf9857f4871fd10465732c4ab11a985a08c"]
"#;

#[test]
fn limits_of_tenants_users_and_classes_arrive() {
    let config = with_file(LIMITS, &[]).unwrap();
    let [of_acme, of_bob] = config.directory.limits() else { panic!("{:?}", config.directory.limits()) };
    let told = |limits: &Limits| -> Vec<String> {
        let rates = limits.rates.iter();
        rates.map(|limit| format!("{}: {limit}, {} at once", limit.name(), limit.level(0).burst)).collect()
    };
    let expected = [
        "requests_per_second: 1000 requests/s, 100 at once",
        "request_bytes_per_second: 1048576 request bytes/s, 1048576 at once",
        "class.scan.requests_per_second: 0.25 scan requests/s, 1 at once",
        "class.slow_ones.reply_bytes_per_second: 2.5 slow_ones reply bytes/s, 7 at once",
    ];
    assert_eq!(expected.to_vec(), told(of_acme));
    assert_eq!(["requests_per_second: 10 requests/s, 10 at once"].to_vec(), told(of_bob));
    let counts =
        |limits: &Limits| [&limits.connections, &limits.in_flight].map(|c| c.as_ref().map(Ceiling::most));
    assert_eq!(([Some(50), Some(200)], [None, None]), (counts(of_acme), counts(of_bob)));
    assert_eq!((OnExceed::Delay(1_000_000_000), true), (of_acme.on_exceed, of_acme.is_dry_run));
    assert_eq!((OnExceed::Reject, false), (of_bob.on_exceed, of_bob.is_dry_run));
    assert_eq!((Scope::Process, Scope::Fleet), (of_acme.scope, of_bob.scope));
    assert_eq!(
        ("tenant 'acme'", "user 'bob' of tenant 'acme'"),
        (of_acme.owner.to_string().as_str(), of_bob.owner.to_string().as_str())
    );
    let numbers =
        |binding: Arc<Binding>| binding.limits().iter().map(|limits| limits.number).collect::<Vec<_>>();
    let of_user = |name: &[u8]| numbers(config.directory.authenticate(name, b"acme-secret").unwrap());
    assert_eq!(vec![0], numbers(config.directory.listener_binding(&acme()).unwrap()));
    assert_eq!((vec![0, 1], vec![0]), (of_user(b"bob"), of_user(b"eve")));
    let classes: Vec<&Selection> =
        of_acme.rates.iter().filter_map(|limit| Some(&limit.class.as_ref()?.commands)).collect();
    let has = |class: usize, name: &str| classes[class].has(find(name).unwrap());
    assert_eq!([true, true, false], ["SCAN", "HSCAN", "KEYS"].map(|name| has(0, name)));
    assert_eq!(
        [true, true, false, false],
        ["KEYS", "CONFIG GET", "CONFIG SET", "SCAN"].map(|name| has(1, name))
    );
}

#[test]
fn limits_can_come_from_variables() {
    let config = without_file(&[
        ("TENANTRY_TENANT", "acme"),
        ("TENANTRY_TENANT_ACME_LIMITS_REQUESTS_PER_SECOND", "0.5"),
        ("TENANTRY_TENANT_ACME_LIMITS_CLASS_KEYS_REQUESTS_PER_SECOND", "0.1"),
        ("TENANTRY_TENANT_ACME_USER_1_NAME", "bob"),
        ("TENANTRY_TENANT_ACME_USER_1_SECRETS", "env:PASSWORD"),
        ("TENANTRY_TENANT_ACME_USER_1_LIMITS_CONNECTIONS", "3"),
        ("PASSWORD", "p"),
    ])
    .unwrap();
    let [of_acme, of_bob] = config.directory.limits() else { panic!("{:?}", config.directory.limits()) };
    let rates: Vec<String> = of_acme.rates.iter().map(ToString::to_string).collect();
    assert_eq!(["0.5 requests/s", "0.1 keys requests/s"].to_vec(), rates);
    assert_eq!(Some(3), of_bob.connections.as_ref().map(Ceiling::most));
}

#[test]
fn rates_that_are_none() {
    assert_limits_report(
        r#"[tenant.acme.limits]
requests_per_second = 0
request_bytes_per_second = -5
reply_bytes_per_second = 99999999999
[tenant.acme.limits.class.get]
requests_per_second = "many"
request_bytes_per_second = 0.00001
reply_bytes_per_second = 0.1234567
[tenant.acme.limits.class.set]
requests_per_second = { burst = 10 }
request_bytes_per_second = { rate = 0, burst = 0, per = "1h" }
reply_bytes_per_second = { rate = 0.001, burst = 1000000000000 }
[tenant.acme.limits.class.del]
requests_per_second = { rate = 1, burst = -1 }
request_bytes_per_second = { rate = 1, burst = 0.5 }
reply_bytes_per_second = 9999999999999999999999
"#,
        r"
t.toml:6:23: tenant.acme.limits.requests_per_second: is out of range
    write a number per second (0.0001 to 1000000000), or { rate = 1000, burst = 100 } with what is allowed at once
t.toml:7:28: tenant.acme.limits.request_bytes_per_second: is out of range
    write a number per second (0.0001 to 1000000000), or { rate = 1000, burst = 100 } with what is allowed at once
t.toml:8:26: tenant.acme.limits.reply_bytes_per_second: is out of range
    write a number per second (0.0001 to 1000000000), or { rate = 1000, burst = 100 } with what is allowed at once
t.toml:10:23: tenant.acme.limits.class.get.requests_per_second: is a text, not a rate
    write a number per second (0.0001 to 1000000000), or { rate = 1000, burst = 100 } with what is allowed at once
t.toml:11:28: tenant.acme.limits.class.get.request_bytes_per_second: is out of range
    write a number per second (0.0001 to 1000000000), or { rate = 1000, burst = 100 } with what is allowed at once
t.toml:12:26: tenant.acme.limits.class.get.reply_bytes_per_second: is out of range
    write a number per second (0.0001 to 1000000000), or { rate = 1000, burst = 100 } with what is allowed at once
t.toml:14:23: tenant.acme.limits.class.set.requests_per_second: has no rate
    write a number per second (0.0001 to 1000000000), or { rate = 1000, burst = 100 } with what is allowed at once
t.toml:15:37: tenant.acme.limits.class.set.request_bytes_per_second.rate: is out of range
    write a number per second (0.0001 to 1000000000), or { rate = 1000, burst = 100 } with what is allowed at once
t.toml:15:48: tenant.acme.limits.class.set.request_bytes_per_second.burst: is not a whole number from 1 to 1000000000000
    write how much is allowed at once, such as burst = 100
t.toml:15:51: tenant.acme.limits.class.set.request_bytes_per_second.per: no such key
    known here: rate, burst
t.toml:16:26: tenant.acme.limits.class.set.reply_bytes_per_second: would take more than 30 days to be allowed again
    lower the burst, or raise the rate
t.toml:18:43: tenant.acme.limits.class.del.requests_per_second.burst: is not a whole number from 1 to 1000000000000
    write how much is allowed at once, such as burst = 100
t.toml:19:48: tenant.acme.limits.class.del.request_bytes_per_second.burst: is not a whole number from 1 to 1000000000000
    write how much is allowed at once, such as burst = 100
t.toml:20:26: tenant.acme.limits.class.del.reply_bytes_per_second: is too large a number, not a rate
    write a number per second (0.0001 to 1000000000), or { rate = 1000, burst = 100 } with what is allowed at once
14 mistakes in the configuration",
    );
}

/// Nearly every line of it is wrong.
const CONTRADICTIONS: &str = r#"[tenant.acme.limits]
requests_per_second = 100
connections = 20000
in_flight = 0
max_delay = "1s"
on_exceed = "block"
scope = "galaxy"
[tenant.acme.limits.class.write]
requests_per_second = 200
[tenant.acme.limits.class.BIG]
commands = "@all"
[tenant.acme.limits.class.lunch]
requests_per_second = 1
[tenant.acme.limits.class.odd]
commands = "+get -get"
requests_per_second = 1
[tenant.acme.limits.class.keys]
[[tenant.acme.user]]
name = "bob"
secrets = ["sha256:307c609f87da43c3d563428a4f7efdf9857f4871fd10465732c4ab11a985a08c"]
[tenant.acme.user.limits]
requests_per_second = 101
in_flight = 10
[[tenant.acme.user]]
name = "eve"
secrets = ["sha256:307c609f87da43c3d563428a4f7efdf9857f4871fd10465732c4ab11a985a08c"]
[tenant.acme.user.limits]
connections = 5
on_exceed = "reject"
[[tenant.acme.user]]
name = "ann"
secrets = ["sha256:307c609f87da43c3d563428a4f7efdf9857f4871fd10465732c4ab11a985a08c"]
[tenant.acme.user.limits]
dry_run = true
"#;

#[test]
fn limits_that_contradict_each_other_or_limit_nothing() {
    assert_limits_report(
        CONTRADICTIONS,
        r#"
t.toml:7:15: tenant.acme.limits.connections: is larger than downstream.max_connections
    lower it, or raise downstream.max_connections
t.toml:8:13: tenant.acme.limits.in_flight: is out of range
    write a whole number, 1 to 1000000
t.toml:9:13: tenant.acme.limits.max_delay: applies to on_exceed = "delay" only
    leave it out, or write on_exceed = "delay"
t.toml:10:13: tenant.acme.limits.on_exceed: is not "reject" or "delay"
    write "reject" or "delay"
t.toml:11:9: tenant.acme.limits.scope: is not "process" or "fleet"
    write "process" or "fleet"
t.toml:13:23: tenant.acme.limits.class.write.requests_per_second: is more than requests_per_second of all commands, so it is never reached
    lower it, or raise requests_per_second of all commands
t.toml:14:27: tenant.acme.limits.class.BIG: a class's name is made of a-z, 0-9 and '_'
    rename it
t.toml:15:12: tenant.acme.limits.class.BIG.commands: '@all' begins with neither '+' nor '-'
    write +command, -command, +@category or -@category, with spaces between
t.toml:16:27: tenant.acme.limits.class.lunch: names no class of commands
    name it after an ACL category such as read, write or scripting, a command, or scan; or say which commands: commands = "+@read -keys"
t.toml:19:12: tenant.acme.limits.class.odd.commands: chooses no command
    begin with +@all to take commands away from all: "+@all -keys"; rules begin with none
t.toml:21:27: tenant.acme.limits.class.keys: limits nothing
    add a limit, such as requests_per_second = 1000, or remove the section
t.toml:26:23: tenant.acme.user[1].limits.requests_per_second: is more than the tenant's requests_per_second, so it is never reached
    lower it, or raise the tenant's requests_per_second
t.toml:33:13: tenant.acme.user[2].limits.on_exceed: applies to rates only, and there is none
    leave it out, or add a rate, such as requests_per_second = 1000
t.toml:37:19: tenant.acme.user[3].limits: limits nothing
    add a limit, such as requests_per_second = 1000, or remove the section
14 mistakes in the configuration"#,
    );
}

#[test]
fn settings_of_memory_arrive() {
    let text = r#"max_memory = "256MiB"
max_client_memory = "30%"
[[listener]]
address = "127.0.0.1:1"
tenant = "acme"
[downstream]
max_output = "16KiB"
max_output_soft = "16KiB"
max_output_soft_for = "3s"
[tenant.acme]
"#;
    let Config { memory, downstream, .. } = with_file(text, &[]).unwrap();
    let expected =
        MemorySettings { process: Some(Amount::Bytes(256 << 20)), clients: Some(Amount::Percent(30)) };
    assert_eq!(expected, memory);
    let expected = OutputLimit { hard: 16 << 10, soft: Some(16 << 10), soft_for: Duration::from_secs(3) };
    assert_eq!(expected, downstream.output);
    // Redis' own.
    let expected = OutputLimit { hard: 32 << 20, soft: Some(8 << 20), soft_for: Duration::from_secs(60) };
    assert_eq!(expected, downstream.subscriber_output);
}

#[test]
fn what_there_is_of_memory_and_what_may_be_taken_must_go_together() {
    assert_report(
        r#"workers = 4
max_memory = "64MiB"
max_client_memory = "65MiB"
[[listener]]
address = "127.0.0.1:1"
tenant = "acme"
[downstream]
max_connections = 50000
max_output = "1MiB"
max_output_soft = "2MiB"
max_output_soft_for = "0s"
max_subscriber_output_soft = "33MiB"
[tenant.acme]
"#,
        r#"
t.toml:2:14: max_memory: is not enough for 50000 connections and 4 workers, which take 102MiB
    raise it, or lower downstream.max_connections or workers
t.toml:3:21: max_client_memory: is larger than max_memory
    lower it, or raise max_memory
t.toml:10:19: downstream.max_output_soft: is larger than max_output
    lower it, or raise max_output
t.toml:11:23: downstream.max_output_soft_for: is out of range
    write "250ms" or the like (ms, s, m, h), 1ms to 1h
t.toml:12:30: downstream.max_subscriber_output_soft: is larger than max_subscriber_output
    lower it, or raise max_subscriber_output
5 mistakes in the configuration"#,
    );
}

#[test]
fn amounts_of_memory_are_sizes_or_percentages() {
    assert_report(
        r#"max_memory = "0%"
max_client_memory = "101%"
[[listener]]
address = "127.0.0.1:1"
tenant = "acme"
[tenant.acme]
"#,
        r#"
t.toml:1:14: max_memory: is out of range
    write "512MiB", "75%" or the like, 64MiB to 1TiB, or 1% to 100%
t.toml:2:21: max_client_memory: is out of range
    write "512MiB", "75%" or the like, 1MiB to 1TiB, or 1% to 100%
2 mistakes in the configuration"#,
    );
    for (written, finding) in [
        ("0", "is out of range"),
        ("\"half\"", "does not begin with a whole number"),
        ("true", "is true or false, not a size or a percentage"),
    ] {
        let report = with_file(
            &format!(
                "max_memory = {written}\n[[listener]]\naddress = \"127.0.0.1:1\"\ntenant = \"acme\"\n[tenant.acme]\n"
            ),
            &[],
        );
        let report = report.expect_err("a mistake");
        assert!(report.contains(&format!("max_memory: {finding}\n")), "{report}");
    }
    let environment = [("TENANTRY_MAX_MEMORY", "80%")];
    let text = "[[listener]]\naddress = \"127.0.0.1:1\"\ntenant = \"acme\"\n[tenant.acme]\n";
    assert_eq!(Some(Amount::Percent(80)), with_file(text, &environment).unwrap().memory.process);
    assert_eq!(MemorySettings::default(), with_file(text, &[]).unwrap().memory);
    assert_eq!(
        MemorySettings::default(),
        with_file(text, &[("TENANTRY_MAX_MEMORY", "auto")]).unwrap().memory
    );
}
