use std::process::{Command, Stdio};

use super::*;

fn plan() -> DevPlan {
    DevPlan::new([6380, 6381, 6382], [9180], Path::new("/tmp/dev/redis.sock"))
}

#[test]
fn configuration_binds_a_port_to_each_tenant_and_leaves_one_to_auth() {
    let expected = r#"[[listener]]
address = "127.0.0.1:6382"

[admin]
address = "127.0.0.1:9180"

[upstream.main]
url = "unix:///tmp/dev/redis.sock"

[[listener]]
address = "127.0.0.1:6380"
tenant = "acme"

[tenant.acme]

[[tenant.acme.user]]
name = "acme"
secrets = ["sha256:307c609f87da43c3d563428a4f7efdf9857f4871fd10465732c4ab11a985a08c"]

[[listener]]
address = "127.0.0.1:6381"
tenant = "globex"

[tenant.globex]

[[tenant.globex.user]]
name = "globex"
secrets = ["sha256:4fe6ae1bd397d68b149f8a86069f5e6806a937d7d0b2f31830c48008b268bda0"]
"#;
    assert_eq!(plan().toml(), expected);
}

#[test]
fn configuration_is_toml_even_with_quotes_in_the_path() {
    let plan = DevPlan::new([1, 2, 3], [4], Path::new("/tmp/a \"b\"/redis.sock"));
    let document: toml::Table = plan.toml().parse().unwrap();
    assert_eq!(document["upstream"]["main"]["url"].as_str(), Some("unix:///tmp/a \"b\"/redis.sock"));
    assert_eq!(document["listener"].as_array().unwrap().len(), 3);
}

#[test]
fn banner_says_what_to_type_and_what_it_prints() {
    assert_eq!(plan().banner(), include_str!("banner.txt"));
}

#[test]
fn path_with_a_quote_stays_one_shell_word() {
    assert_eq!(shell_word(Path::new("/tmp/dev-a_b/redis.sock")), "/tmp/dev-a_b/redis.sock");
    assert_eq!(shell_word(Path::new("/tmp/o'hara dir/r.sock")), r"'/tmp/o'\''hara dir/r.sock'");
}

#[test]
fn taken_ports_are_passed_over() {
    let taken = TcpListener::bind(local(0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let [first, second] = free_ports::<2>(port).unwrap();
    assert!(port < first && first < second, "{port} {first} {second}");
}

#[test]
fn no_free_port_names_the_range() {
    let error = DevError::NoFreePort { first: 6380, last: 6480 };
    assert_eq!(
        error.to_string(),
        "no free port on 127.0.0.1 from 6380 to 6480: end one of the programs that listen there"
    );
}

#[test]
fn private_redis_answers_and_is_gone_after_drop() {
    let redis = PrivateRedis::start().unwrap();
    let socket = redis.socket().to_owned();
    assert_eq!(&exchange_ping(&socket).unwrap(), b"+PONG\r\n");
    drop(redis);
    assert!(!socket.parent().unwrap().exists());
}

#[test]
fn private_redis_shows_the_physical_keys_to_the_printed_command() {
    let redis = PrivateRedis::start().unwrap();
    let plan = DevPlan::new([1, 2, 3], [4], redis.socket());
    store(&redis, "acme:greeting");
    let trial = plan.trials().pop().unwrap();
    let shell = Command::new("sh").args(["-c", &trial.command]).env("FAKETTY", "1").output().unwrap();
    assert_eq!(String::from_utf8(shell.stdout).unwrap(), "1) \"acme:greeting\"\n");
}

#[test]
fn redis_that_ends_early_reports_what_it_said() {
    let mut child =
        OwnedProcess::spawn(Command::new("sh").args(["-c", "echo fatal: no memory"]).stdout(Stdio::piped()))
            .unwrap();
    let error = wait_until_ready(&lines_of(child.take_stdout().unwrap())).unwrap_err();
    assert_eq!(error.to_string(), "redis-server ended before it was ready; it said:\nfatal: no memory\n");
}

#[test]
fn missing_program_is_reported_with_the_remedy() {
    let error = OwnedProcess::spawn(&mut Command::new("/nonexistent/redis-server")).unwrap_err();
    assert!(no_redis(error).to_string().contains("`apt-get install redis-server`"));
}

#[test]
fn child_ends_although_its_owner_was_killed() {
    let mut child =
        OwnedProcess::spawn(Command::new("sh").args(["-c", "exec cat /dev/zero"]).stdout(Stdio::piped()))
            .unwrap();
    let mut printed = child.take_stdout().unwrap();
    // What is left of a killed owner: nobody kills the child, but the pipe to the watcher is closed.
    drop(child.watcher.stdin.take());
    io::copy(&mut printed, &mut io::sink()).unwrap();
    assert!(!child.child.wait().unwrap().success());
}

#[test]
fn proxy_gets_the_configuration_after_the_banner_and_its_error_comes_back() {
    let mut printed = Vec::new();
    let result = run(&mut printed, |toml| -> Result<(), DevError> {
        let document: toml::Table = toml.parse().unwrap();
        let url = document["upstream"]["main"]["url"].as_str().unwrap();
        assert_eq!(&exchange_ping(Path::new(url.strip_prefix("unix://").unwrap())).unwrap(), b"+PONG\r\n");
        Err(DevError::NoFreePort { first: 1, last: 2 })
    });
    assert!(matches!(result, Err(DevError::NoFreePort { first: 1, last: 2 })));
    assert!(String::from_utf8(printed).unwrap().starts_with("Two tenants share one Redis"));
}

fn store(redis: &PrivateRedis, key: &str) {
    let status = Command::new("redis-cli")
        .arg("-s")
        .arg(redis.socket())
        .args(["SET", key, "value"])
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
}
