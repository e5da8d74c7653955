//! The program's other commands: `check`, `explain`, `health`.

use std::process::{Command, Output};
use std::time::Duration;

use crate::servers::{Proxy, RedisCluster, RedisServer, SentinelGroup, Shape, now};

fn tenantry(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tenantry")).args(arguments).env_clear().output().unwrap()
}

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn explain_shows_what_would_be_sent() {
    let output = tenantry(&["explain", "--tenant", "acme", "--database", "2", "--", "mget", "a", "b c"]);
    assert_eq!(
        "tenant    acme\nuser      default\ndatabase  2\ncommand   mget\n\
         upstream  main (127.0.0.1:6379), shared connection\nsent      mget acme@2:a \"acme@2:b c\"\n",
        printed(&output)
    );
}

#[test]
fn explain_shows_what_the_proxy_answers_itself() {
    let output = tenantry(&["explain", "--tenant", "acme", "--", "ACL", "LIST"]);
    assert_eq!(
        "tenant    acme\nuser      default\ndatabase  0\ncommand   acl|list\n\
         sent      nothing, the proxy answers\n\
         answer    -NOPERM this user has no permissions to run the 'acl|list' command\n",
        printed(&output)
    );
}

#[test]
fn check_connects_to_the_upstreams_if_asked() {
    let redis = RedisServer::start();
    let output =
        tenantry(&["check", "--tenant", "acme", "--workers", "1", "--upstream", &redis.url(), "--connect"]);
    assert_eq!(
        "configuration is good: 1 listener, 1 upstream, 1 tenant, 0 users, 1 worker\n\
         upstream 'main' answers: Redis 7.0.15\n",
        printed(&output).replace(&version_of(&redis), "7.0.15")
    );
    assert!(output.status.success());
}

#[test]
fn check_says_if_restore_will_be_refused() {
    let redis = RedisServer::start_with(&["--sanitize-dump-payload", "no"]);
    let output =
        tenantry(&["check", "--tenant", "acme", "--workers", "1", "--upstream", &redis.url(), "--connect"]);
    let last = "upstream 'main' does not say that it checks payloads, so RESTORE will be refused: \
                set sanitize-dump-payload to 'clients' there\n";
    assert!(printed(&output).ends_with(last), "{}", printed(&output));
    assert!(output.status.success());
}

/// The installed server's version: the test must not depend on it.
fn version_of(redis: &RedisServer) -> String {
    let info = String::from_utf8(redis.client().call(&["INFO", "server"])).unwrap();
    let line = info.lines().find_map(|line| line.strip_prefix("redis_version:")).unwrap();
    line.trim().to_owned()
}

#[test]
fn check_says_which_upstream_is_not_there() {
    let upstream = format!("127.0.0.1:{}", crate::servers::free_port());
    let output =
        tenantry(&["check", "--tenant", "acme", "--workers", "1", "--upstream", &upstream, "--connect"]);
    assert_eq!(
        format!(
            "configuration is good: 1 listener, 1 upstream, 1 tenant, 0 users, 1 worker\n\
             upstream 'main' at {upstream}: connection refused\n"
        ),
        printed(&output)
    );
    assert_eq!(Some(1), output.status.code());
}

/// `tenantry check --connect` with one upstream: its lines but the first, and its exit code.
fn checked(upstream: &str) -> (Vec<String>, Option<i32>) {
    let arguments = ["check", "--tenant", "acme", "--workers", "1", "--connect", "--upstream", upstream];
    let output = tenantry(&arguments);
    (printed(&output).lines().skip(1).map(str::to_owned).collect(), output.status.code())
}

#[test]
fn check_names_each_node_of_a_cluster_and_what_it_does() {
    let cluster = RedisCluster::start_with(Shape::Replicated, &["--sanitize-dump-payload", "clients"]);
    let port = |node| cluster.server(node).port;
    let primaries = cluster.primaries();
    let version = version_of(cluster.server(primaries[0]));
    let mut expected = Vec::new();
    for (primary, slots) in primaries.iter().zip([5461, 5462, 5461]) {
        let (primary, replica) = (port(*primary), port(cluster.replica_of(*primary)));
        let answers = |port: u16| format!("upstream 'main': 127.0.0.1:{port} answers: Redis {version}");
        expected.push(format!("{}, primary of {slots} slots", answers(primary)));
        expected.push(format!("{}, replica of 127.0.0.1:{primary}", answers(replica)));
    }
    expected.push("upstream 'main' serves 16384 of 16384 slots".to_owned());
    // A node shows a replica once it has been told of its progress, which takes ten seconds or so.
    let deadline = now() + Duration::from_secs(60);
    let all = |checked: &(Vec<String>, _)| checked.0.len() == expected.len();
    let found = std::iter::repeat_with(|| checked(&cluster.url())).take_while(|_| now() < deadline).find(all);
    assert_eq!(Some((expected, Some(0))), found);
}

#[test]
fn check_complains_about_slots_that_nobody_owns_and_nodes_that_are_not_there() {
    let mut cluster = RedisCluster::start_with(
        Shape::PrimariesOnly,
        &["--sanitize-dump-payload", "clients", "--cluster-require-full-coverage", "no"],
    );
    let [first, second, third] = cluster.primaries()[..] else { panic!("a cluster has three primaries") };
    for node in [first, second, third] {
        assert_eq!("+OK\\r\\n", cluster.client(node).ask("CLUSTER DELSLOTS 0"));
    }
    let gone = cluster.server(third).port;
    cluster.kill(third);
    let (lines, code) = checked(&cluster.url());
    let refused = format!("upstream 'main' at 127.0.0.1:{gone}: connection refused");
    let slots = "upstream 'main' serves 16383 of 16384 slots".to_owned();
    assert!(lines.contains(&refused) && lines.contains(&slots), "{lines:#?}");
    assert_eq!((4, Some(1)), (lines.len(), code), "{lines:#?}");
}

#[test]
fn check_names_the_nodes_that_sentinels_watch() {
    let group = SentinelGroup::start_with(&["--sanitize-dump-payload", "clients"]);
    let (primary, replica) = (group.primary().port, group.replica().port);
    let version = version_of(group.primary());
    let answers = |port: u16| format!("upstream 'main': 127.0.0.1:{port} answers: Redis {version}");
    let expected = vec![
        format!("{}, primary", answers(primary)),
        format!("{}, replica of 127.0.0.1:{primary}", answers(replica)),
    ];
    assert_eq!((expected, Some(0)), checked(&group.url()));
}

#[test]
fn check_says_if_an_upstream_is_of_another_kind() {
    let (redis, cluster) = (RedisServer::start(), RedisCluster::start_without_replicas());
    let (one, member) = (redis.port, cluster.server(cluster.primaries()[0]).port);
    for (url, mode, remedy) in [
        (format!("redis+cluster://127.0.0.1:{one}"), "standalone", "redis://host:port"),
        (format!("redis://127.0.0.1:{member}"), "cluster", "redis+cluster://host:port"),
    ] {
        let address = url.split("//").nth(1).unwrap();
        let expected =
            format!("upstream 'main' at {address}: the upstream runs in {mode} mode: name it as {remedy}");
        assert_eq!((vec![expected], Some(1)), checked(&url));
    }
}

#[test]
fn check_says_if_sentinels_watch_no_such_group() {
    let group = SentinelGroup::start();
    let url = group.url().replace("/mymaster", "/other");
    let place = url.trim_start_matches("redis+sentinel://").trim_end_matches("/other");
    let expected = format!("upstream 'main' at {place}: it watches no group of that name");
    assert_eq!((vec![expected], Some(1)), checked(&url));
}

#[test]
fn mistakes_of_a_configuration_end_the_program_with_code_2() {
    let output = tenantry(&["--tenant", "Acme!", "--upstream", "http://x"]);
    assert_eq!(Some(2), output.status.code());
    let report = printed(&output);
    assert!(report.contains("--tenant") && report.contains("--upstream"), "{report}");
}

#[test]
fn health_is_what_readyz_says() {
    let mut redis = RedisServer::start();
    let proxy = Proxy::before(&redis);
    proxy.wait_until_ready();
    let health = || tenantry(&["health", "--admin", &proxy.admin_address()]);
    let output = health();
    assert_eq!((true, "ready\n".to_owned()), (output.status.success(), printed(&output)));
    redis.kill();
    proxy.wait_for_readiness(503, "cannot be reached");
    let output = health();
    assert_eq!(Some(1), output.status.code());
    assert!(printed(&output).contains("upstream 'main' cannot be reached"), "{}", printed(&output));
}
