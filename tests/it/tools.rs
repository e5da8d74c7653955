//! The tools that come with Redis, pointed at the proxy.

use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::servers::{Proxy, RedisServer};
use crate::wire::command;

/// Runs a tool to its end; what it printed on both outputs, and whether it was content.
fn run(tool: &str, arguments: &[&str], input: &[u8]) -> (bool, String) {
    let mut child = Command::new(tool)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| {
            panic!("{tool} does not start ({error}): it comes with Redis (`redis-tools`)")
        });
    let mut stdin = child.stdin.take().expect("stdin is piped");
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().expect("the tool ends");
    writer.join().expect("the writer ends").expect("the tool reads its input");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

/// What somebody types to look around.
const TYPED: &str = r#"PING
SET greeting "hello world"
GET greeting
GET missing
INCR greeting
RPUSH l a b "c\r\nd" "\x00\xff"
LRANGE l 0 -1
HSET h f 1 g 2
HGETALL h
ZADD z 1.5 a 2 b
ZRANGE z 0 -1 WITHSCORES
ZSCORE z a
XADD s 1-1 f v
XRANGE s - +
XREAD COUNT 1 STREAMS s 0
LMPOP 2 nolist l LEFT
SELECT 3
GET greeting
SELECT 0
TYPE h
OBJECT ENCODING h
EXISTS greeting h nosuch
NOSUCH x
GET
SORT l ALPHA
GEOADD g 13.361389 38.115556 Palermo
GEOPOS g Palermo nowhere
SETEX e 100000 v
PERSIST e
DEL greeting l h
"#;

#[test]
fn redis_cli_prints_what_it_prints_against_redis() {
    let (own, shared) = (RedisServer::start(), RedisServer::start());
    let proxy = Proxy::before(&shared);
    for options in [&[][..], &["-3"], &["--no-raw"], &["--json"], &["--csv"]] {
        let printed = |port: u16| {
            let port = port.to_string();
            run("redis-cli", &[&["-p", &port], options].concat(), TYPED.as_bytes())
        };
        let (direct, proxied) = (printed(own.port), printed(proxy.acme_port()));
        assert_eq!(direct, proxied, "redis-cli {options:?}");
        assert!(direct.0 && direct.1.contains("hello world"), "{}", direct.1);
    }
}

#[test]
fn redis_benchmark_finds_nothing_to_complain_about() {
    let redis = RedisServer::start();
    let proxy = Proxy::before(&redis);
    let port = proxy.acme_port().to_string();
    let tests = "set,get,incr,lpush,rpush,lpop,rpop,sadd,hset,spop,zadd,zpopmin,lrange,mset";
    for depth in ["1", "16"] {
        let arguments = ["-p", &port, "-n", "2000", "-c", "20", "-P", depth, "-q", "-t", tests];
        let (is_content, printed) = run("redis-benchmark", &arguments, b"");
        assert!(is_content, "{printed}");
        let complaints: Vec<&str> = printed.lines().filter(|line| is_complaint(line)).collect();
        assert!(complaints.is_empty(), "{printed}");
        assert!(printed.contains("MSET (10 keys)"), "it ran to its last test: {printed}");
    }
}

/// The benchmark asks CONFIG GET for two settings that it would print beside its figures, and warns when it
/// gets none; every other mention of an error counts.
fn is_complaint(line: &str) -> bool {
    line.to_lowercase().contains("err") && !line.contains("Could not fetch server CONFIG")
}

#[test]
fn redis_cli_pipe_loads_one_hundred_thousand_keys() {
    const KEYS: usize = 100_000;
    let redis = RedisServer::start();
    let proxy = Proxy::before(&redis);
    let input: Vec<u8> =
        (0..KEYS).flat_map(|index| command(&["SET", &format!("key:{index}"), &index.to_string()])).collect();
    let (is_content, printed) = run("redis-cli", &["-p", &proxy.acme_port().to_string(), "--pipe"], &input);
    assert!(is_content, "{printed}");
    assert!(printed.contains("errors: 0, replies: 100000"), "{printed}");
    assert_eq!(":100000\\r\\n", redis.client().ask("DBSIZE"));
    assert_eq!("$5\\r\\n99999\\r\\n", redis.client().ask("GET acme:key:99999"));
}
