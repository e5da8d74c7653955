//! What a tenant or user may run, how large its data may be, and how long its keys live.

mod lifetimes;

use crate::servers::{Deployment, Kind, Proxy, RedisServer, Setup, on_every_deployment};
use crate::wire::{Client, show};

on_every_deployment! {
    a_tenant_that_may_only_read_changes_nothing,
    what_is_too_large_is_not_written,
}

/// A proxy whose tenants have these lines.
fn proxy_with(upstream: String, tenant_lines: &'static str) -> Proxy {
    Proxy::start(&Setup { tenant_lines, ..Setup::for_upstream(upstream) })
}

/// The words are those of a Redis whose user has the same rules.
#[test]
fn a_command_is_refused_as_by_the_acl_of_a_redis() {
    let (own, shared) = (RedisServer::start(), RedisServer::start());
    let proxy = proxy_with(shared.url(), r#"commands = "+@all -@dangerous -config +config|get -lpush""#);
    let rules = "ACL SETUSER v on nopass ~* &* +@all -@dangerous -config +config|get -lpush";
    let mut direct = own.client();
    assert_eq!("+OK\\r\\n", direct.ask(rules));
    assert_eq!("+OK\\r\\n", direct.ask("AUTH v x"));
    let mut client = proxy.acme();
    for line in [
        "KEYS *",
        "SORT k",
        "LPUSH k a",
        "lpush",
        "RPUSH k a",
        "CONFIG SET a b",
        "CONFIG FOO",
        "CONFIG",
        "MULTI",
        "RPUSH k b",
        "LPUSH k c",
        "EXEC",
        "LRANGE k 0 -1",
        "MULTI",
        "RPUSH k d",
        "EXEC",
        "SUBSCRIBE c",
        "KEYS *",
        "UNSUBSCRIBE c",
        "NOSUCH a",
        "CLIENT REPLY SKIP",
        "KEYS *\r\nPING",
        "RESET",
    ] {
        let inline = format!("{line}\r\n").into_bytes();
        direct.send(&inline);
        client.send(&inline);
        // Nothing is said about `CLIENT REPLY SKIP`, and about the one that follows.
        if line != "CLIENT REPLY SKIP" {
            assert_eq!(show(&direct.frame()), show(&client.frame()), "{line}");
        }
    }
}

#[test]
fn a_user_may_run_less_than_its_tenant() {
    let redis = RedisServer::start();
    let sections = r#"
[tenant.hooli]
commands = "+@all -keys"
[[tenant.hooli.user]]
name = "reader"
secrets = ["sha256:cba98f988f2e420084bcd5700ca8ebdc8c2a17d47b9ede26e35dd9e0fb25b0c5"]
commands = "+@read"
[[tenant.hooli.user]]
name = "writer"
secrets = ["sha256:cba98f988f2e420084bcd5700ca8ebdc8c2a17d47b9ede26e35dd9e0fb25b0c5"]
max_value_size = "4B"
"#;
    let proxy = Proxy::start(&Setup { sections, ..Setup::for_upstream(redis.url()) });
    let mut client = proxy.open();
    let refused =
        |name: &str| format!("-NOPERM this user has no permissions to run the \\'{name}\\' command\\r\\n");
    assert_eq!("+OK\\r\\n", client.ask("AUTH writer reports-secret"));
    assert_eq!("+OK\\r\\n", client.ask("SET k four"));
    assert_eq!(refused("keys"), client.ask("KEYS *"));
    assert_eq!("-ERR value is 5 bytes long, limit is 4 (max_value_size)\\r\\n", client.ask("SET k fifth"));
    assert_eq!("+OK\\r\\n", client.ask("AUTH reader reports-secret"));
    assert_eq!("$4\\r\\nfour\\r\\n", client.ask("GET k"));
    assert_eq!(refused("keys"), client.ask("KEYS *"));
    assert_eq!(refused("set"), client.ask("SET k v"));
    assert_eq!(refused("ping"), client.ask("PING"));
    // Who has no rules any more is not held to them.
    assert_eq!("+OK\\r\\n", client.ask("AUTH acme acme-secret"));
    assert_eq!("+OK\\r\\n", client.ask("SET k fifth"));
}

const MAY_ONLY_READ: &str = "-NOPERM this tenant or user may only read (read_only), and";

fn a_tenant_that_may_only_read_changes_nothing(kind: Kind) {
    let deployment = Deployment::start(kind);
    assert_eq!("+OK\\r\\n", deployment.client_for("acme:k").ask("SET acme:k v"));
    let proxy = proxy_with(deployment.url(), "read_only = true");
    let mut client = proxy.acme();
    assert_eq!(format!("{MAY_ONLY_READ} \\'set\\' may write\\r\\n"), client.ask("SET k w"));
    for line in ["DEL k", "FLUSHDB", "MOVE k 1", "COPY k l", "BLPOP k 0", "EXPIRE k 1", "SORT k"] {
        let reply = client.ask(line);
        assert!(reply.starts_with(MAY_ONLY_READ), "{line}: {reply}");
    }
    assert_eq!("$1\\r\\nv\\r\\n", client.ask("GET k"));
    assert_eq!(":0\\r\\n", client.ask("PUBLISH c m"));
    assert_eq!("+OK\\r\\n", client.ask("MULTI"));
    assert!(client.ask("SET k w").starts_with(MAY_ONLY_READ));
    assert_eq!("-EXECABORT Transaction discarded because of previous errors.\\r\\n", client.ask("EXEC"));
    assert_eq!("acme:k", deployment.keys().into_iter().collect::<Vec<_>>().join(" "));
}

fn what_is_too_large_is_not_written(kind: Kind) {
    let deployment = Deployment::start(kind);
    let lines = "max_key_size = 8\nmax_value_size = \"1KiB\"\nmax_arguments = 100";
    let proxy = proxy_with(deployment.url(), lines);
    let mut client = proxy.acme();
    let value = "v".repeat(1024);
    assert_eq!("+OK\\r\\n", client.ask(&format!("SET 12345678 {value}")));
    let too_long = "-ERR value is 1025 bytes long, limit is 1024 (max_value_size)\\r\\n";
    assert_eq!(too_long, client.ask(&format!("SET k {value}v")));
    assert_eq!(too_long, client.ask(&format!("HSET h {value}v v")));
    assert_eq!("-ERR key is 9 bytes long, limit is 8 (max_key_size)\\r\\n", client.ask("SET 123456789 v"));
    assert_eq!(
        "-ERR key is 9 bytes long, limit is 8 (max_key_size)\\r\\n",
        client.ask("COPY 12345678 {12345678")
    );
    let members = "m ".repeat(99);
    let too_many = "-ERR request has 101 arguments, limit is 100 (max_arguments)\\r\\n";
    assert_eq!(too_many, client.ask(format!("SADD s {members}").trim_end()));
    assert_eq!(":1\\r\\n", client.ask(format!("SADD s {}", "m ".repeat(98)).trim_end()));
    assert_eq!(
        "-ERR value is 1048576 bytes long, limit is 1024 (max_value_size)\\r\\n",
        client.ask("SETBIT b 8388600 1")
    );
    assert_eq!("+OK\\r\\n", client.ask("MULTI"));
    assert_eq!(too_long, client.ask(&format!("SET k {value}v")));
    assert_eq!("-EXECABORT Transaction discarded because of previous errors.\\r\\n", client.ask("EXEC"));
    // What has got in before can be read and deleted.
    let mut direct = deployment.client_for("acme:123456789");
    assert_eq!("+OK\\r\\n", direct.ask("SET acme:123456789 old"));
    assert_eq!("$3\\r\\nold\\r\\n", client.ask("GET 123456789"));
    assert_eq!(":1\\r\\n", client.ask("DEL 123456789"));
}

/// Asks each line in turn.
fn ask_all(client: &mut Client, lines: &str) -> Vec<String> {
    lines.lines().map(str::trim).filter(|line| !line.is_empty()).map(|line| client.ask(line)).collect()
}
