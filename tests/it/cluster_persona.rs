//! A tenant to which the proxy is a cluster of one node, for clients that only speak to clusters.

use std::process::Command;

use crate::servers::{Proxy, RedisServer, Setup};
use crate::wire::Client;

/// Tenant `lone`; the secret is SHA-256 of `lone-secret`.
const LONE: &str = r#"
[tenant.lone]
cluster_persona = true
[[tenant.lone.user]]
name = "lone"
secrets = ["sha256:421a70e1fb3784013c285b46ad1704bc5e41aaab8b99d4ef55a2cb52a5f5f065"]
"#;

fn proxy(redis: &RedisServer) -> Proxy {
    Proxy::start(&Setup { sections: LONE, ..Setup::for_upstream(redis.url()) })
}

/// A client of tenant `lone`.
fn lone(proxy: &Proxy) -> Client {
    let mut client = proxy.open();
    assert_eq!("+OK\\r\\n", client.ask("AUTH lone lone-secret"));
    client
}

/// What `redis-cli -c` prints.
fn cluster_cli(proxy: &Proxy, words: &[&str]) -> String {
    let port = proxy.open_port().to_string();
    let login = [
        "-c",
        "-h",
        "127.0.0.1",
        "-p",
        &port,
        "--user",
        "lone",
        "--pass",
        "lone-secret",
        "--no-auth-warning",
    ];
    let output = Command::new("redis-cli").args(login).args(words).output().expect("redis-cli is installed");
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn the_one_node_owns_every_slot_where_the_client_is_connected_to() {
    let redis = RedisServer::start();
    let proxy = proxy(&redis);
    let mut client = lone(&proxy);
    let id = client.ask("CLUSTER MYID");
    let id = id.strip_prefix("$40\\r\\n").and_then(|id| id.strip_suffix("\\r\\n")).expect("an id").to_owned();
    let port = proxy.open_port();
    let slots = |further: &str| {
        format!(
            "*1\\r\\n*3\\r\\n:0\\r\\n:16383\\r\\n*4\\r\\n$9\\r\\n127.0.0.1\\r\\n:{port}\\r\\n$40\\r\\n{id}\\r\\n{further}\\r\\n"
        )
    };
    assert_eq!(slots("*0"), client.ask("CLUSTER SLOTS"));
    let greeting = client.ask("HELLO 3");
    assert!(greeting.contains("$4\\r\\nmode\\r\\n$7\\r\\ncluster\\r\\n"), "{greeting}");
    assert_eq!(slots("%0"), client.ask("CLUSTER SLOTS"));
    assert_eq!(":12182\\r\\n", client.ask("CLUSTER KEYSLOT foo"));
    assert_eq!("+OK\\r\\n", client.ask("READONLY"));
    let mut sibling = lone(&proxy);
    assert_eq!(slots("*0"), sibling.ask("CLUSTER SLOTS"));
}

#[test]
fn a_cluster_has_one_database() {
    let redis = RedisServer::start();
    let proxy = proxy(&redis);
    let mut client = lone(&proxy);
    assert_eq!("+OK\\r\\n", client.ask("SELECT 0"));
    assert_eq!("-ERR SELECT is not allowed in cluster mode\\r\\n", client.ask("SELECT 1"));
    for (line, answer) in [("MULTI", "+OK"), ("SELECT 1", "+QUEUED"), ("SET k v", "+QUEUED")] {
        assert_eq!(format!("{answer}\\r\\n"), client.ask(line));
    }
    let refused = "-ERR SELECT is not allowed in cluster mode\\r\\n";
    assert_eq!(format!("*2\\r\\n{refused}+OK\\r\\n"), client.ask("EXEC"));
    assert_eq!("$1\\r\\nv\\r\\n", redis.client().ask("GET lone:k"));
    let enabled = "*2\\r\\n$15\\r\\ncluster-enabled\\r\\n$3\\r\\nyes\\r\\n";
    assert_eq!(enabled, client.ask("CONFIG GET cluster-enabled"));
}

#[test]
fn other_tenants_see_a_single_server() {
    let redis = RedisServer::start();
    let proxy = proxy(&redis);
    let disabled = "-ERR This instance has cluster support disabled\\r\\n";
    let mut client = lone(&proxy);
    assert_eq!("+OK\\r\\n", client.ask("AUTH globex globex-secret"));
    assert_eq!(disabled, client.ask("CLUSTER SLOTS"));
    assert_eq!("+OK\\r\\n", client.ask("SELECT 1"));
    let enabled = "*2\\r\\n$15\\r\\ncluster-enabled\\r\\n$2\\r\\nno\\r\\n";
    assert_eq!(enabled, client.ask("CONFIG GET cluster-enabled"));
    assert_eq!("+OK\\r\\n", client.ask("AUTH lone lone-secret"));
    assert_eq!(disabled, proxy.acme().ask("CLUSTER SLOTS"));
    assert!(client.ask("CLUSTER INFO").contains("cluster_state:ok"));
}

#[test]
fn redis_cli_takes_it_for_a_cluster() {
    let redis = RedisServer::start();
    let proxy = proxy(&redis);
    assert_eq!("OK\n", cluster_cli(&proxy, &["SET", "foo", "1"]));
    assert_eq!("2\n", cluster_cli(&proxy, &["INCR", "foo"]));
    assert_eq!("$1\\r\\n2\\r\\n", redis.client().ask("GET lone:foo"));
    let info = cluster_cli(&proxy, &["CLUSTER", "INFO"]);
    assert!(info.starts_with("cluster_state:ok\r\ncluster_slots_assigned:16384\r\n"), "{info}");
}
