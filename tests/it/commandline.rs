//! The program's other commands: `check`, `explain`, `health`.

use std::process::{Command, Output};

use crate::servers::{Proxy, RedisServer};

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
