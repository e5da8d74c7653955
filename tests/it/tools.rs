//! The tools that come with Redis, pointed at the proxy.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use crate::servers::{Proxy, RedisServer};
use crate::wire::{Client, PATIENCE, command};

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

/// Keys of a tenant whose biggest ones are known, and a database besides.
const KEYS: [&str; 8] = [
    "SET big-string xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "SET small x",
    "RPUSH big-list an-element-that-takes-some-memory another-element-that-takes-some-memory 3 4",
    "RPUSH list 1",
    "SADD set a b",
    "HSET hash f 1 g 2",
    "ZADD sorted 1 a",
    "XADD stream 1-1 f v",
];

/// A Redis of acme's own, and a proxy behind which globex has keys of the same names and more, all of them
/// bigger.
struct Desk {
    own: RedisServer,
    _shared: RedisServer,
    proxy: Proxy,
}

impl Desk {
    fn set() -> Self {
        let (own, shared) = (RedisServer::start(), RedisServer::start());
        let proxy = Proxy::before(&shared);
        let mut globex = proxy.globex();
        globex.ask(&format!("SET big-string {}", "g".repeat(5000)));
        globex.ask("RPUSH big-list g g g g g g g g g g");
        for index in 0..500 {
            globex.ask(&format!("SET globex-{index} g"));
        }
        for mut acme in [own.client(), proxy.acme()] {
            for line in KEYS {
                acme.ask(line);
            }
            acme.ask("SELECT 1");
            acme.ask("SET elsewhere x");
        }
        Self { own, _shared: shared, proxy }
    }

    /// What the tool prints on either side; it may not know of globex behind the proxy.
    fn run(&self, arguments: &[&str], input: &str) -> [(bool, String); 2] {
        let both = [self.own.port, self.proxy.acme_port()].map(|port| {
            let port = port.to_string();
            run("redis-cli", &[&["-p", &port], arguments].concat(), input.as_bytes())
        });
        let (_, printed) = &both[1];
        for mark in ["globex", "gggg", "acme:", "acme@", &self.own.port.to_string()] {
            assert!(!printed.contains(mark), "`{mark}` in what redis-cli {arguments:?} prints:\n{printed}");
        }
        both
    }
}

/// Lines in an order that does not depend on that of the keys, with `N` for numbers that measure memory.
fn sorted(printed: &str, measures_memory: bool) -> Vec<String> {
    let mut lines: Vec<String> = printed.lines().map(str::to_owned).collect();
    for line in lines.iter_mut().filter(|line| measures_memory && line.contains(" bytes")) {
        // The stored names are longer.
        let parts: Vec<&str> =
            line.split(|c: char| c.is_ascii_digit() || c == '.').filter(|part| !part.is_empty()).collect();
        *line = parts.join("N");
    }
    lines.sort();
    lines
}

/// From the heading of the summary on: what comes before depends on the order of the keys.
fn summary(printed: &str) -> &str {
    printed.split_once("-------- summary").unwrap_or_else(|| panic!("no summary in:\n{printed}")).1
}

#[test]
fn redis_cli_scans_the_tenants_keys() {
    let desk = Desk::set();
    for (options, expected) in [
        (&["--scan"][..], "big-list big-string hash list set small sorted stream"),
        (&["--scan", "--pattern", "*list"], "big-list list"),
        (
            &["--scan", "--pattern", "[^x]*", "-i", "0.001"],
            "big-list big-string hash list set small sorted stream",
        ),
        (&["--scan", "--pattern", "globex*"], ""),
        (&["--scan", "-n", "1"], "elsewhere"),
        (&["--scan", "-3"], "big-list big-string hash list set small sorted stream"),
    ] {
        for (is_content, printed) in desk.run(options, "") {
            assert!(is_content, "redis-cli {options:?}: {printed}");
            assert_eq!(expected, sorted(&printed, false).join(" "), "redis-cli {options:?}");
        }
    }
}

#[test]
fn redis_cli_finds_the_tenants_big_keys() {
    let desk = Desk::set();
    for (option, measures_memory) in [("--bigkeys", false), ("--memkeys", true)] {
        let [direct, proxied] = desk.run(&[option], "");
        assert!(direct.0 && proxied.0, "{}", proxied.1);
        assert!(proxied.1.contains("Sampled 8 keys"), "{}", proxied.1);
        let summaries = [direct.1, proxied.1].map(|printed| sorted(summary(&printed), measures_memory));
        assert_eq!(summaries[0], summaries[1], "redis-cli {option}");
    }
}

#[test]
fn redis_cli_fails_as_it_does_against_redis() {
    let desk = Desk::set();
    for arguments in [
        &["--hotkeys"][..],
        &["-e", "GET"],
        &["-e", "INCR", "big-list"],
        &["-e", "NOSUCH"],
        &["-n", "99", "PING"],
    ] {
        let [direct, proxied] = desk.run(arguments, "");
        assert_eq!(direct, proxied, "redis-cli {arguments:?}");
    }
    // A copy of the server's data is not for tenants; there is nothing to compare with.
    let [_, (is_content, printed)] = desk.run(&["--rdb", "-"], "");
    assert!(!is_content, "{printed}");
}

#[test]
fn redis_cli_measures_latency() {
    let desk = Desk::set();
    for (is_content, printed) in desk.run(&["--latency", "--raw", "-i", "0.2"], "") {
        assert!(is_content, "{printed}");
        let figures: Vec<f64> = printed.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        assert_eq!(4, figures.len(), "{printed}");
        assert!(figures[3] >= 1.0, "no samples: {printed}");
    }
}

#[test]
fn redis_cli_shows_the_tenant_its_own_server_and_clients() {
    let desk = Desk::set();
    let mut named = desk.proxy.globex();
    named.ask("CLIENT SETNAME globex-client");
    for options in [&[][..], &["-3"]] {
        let [_, (is_content, printed)] =
            desk.run(options, "INFO\nCLIENT LIST\nCLIENT INFO\nDBSIZE\nINFO keyspace\n");
        assert!(is_content, "{printed}");
        assert!(printed.contains("# Server") && printed.contains("redis_version:7.0"), "{printed}");
        assert_eq!(2, printed.matches("db0:keys=8,").count(), "{printed}");
        assert_eq!(2, printed.matches("db1:keys=1,").count(), "{printed}");
        let clients = printed.lines().filter(|line| line.starts_with("id=")).count();
        assert_eq!(2, clients, "one listed, and itself: {printed}");
    }
}

#[test]
fn redis_cli_works_in_another_database() {
    let desk = Desk::set();
    let typed = "KEYS *\nSET k v\nMOVE k 0\nDBSIZE\nMULTI\nGET elsewhere\nSELECT 0\nGET k\nEXEC\n\
                 GET k\nFLUSHDB\nDBSIZE\nSELECT 1\nDBSIZE\n";
    for options in [&["-n", "1"][..], &["-n", "1", "-3", "--no-raw"], &["-c", "-n", "1"]] {
        let [direct, proxied] = desk.run(options, typed);
        assert_eq!(direct, proxied, "redis-cli {options:?}");
        assert!(direct.0 && direct.1.contains("elsewhere"), "{}", direct.1);
        for mut acme in [desk.own.client(), desk.proxy.acme()] {
            acme.ask("SELECT 1");
            acme.ask("SET elsewhere x");
        }
    }
}

/// A tool that runs until it is ended; its lines as they come.
struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    fn start(tool: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new(tool)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{tool} does not start ({error})"));
        let stdout = child.stdout.take().expect("stdout is piped");
        let (heard, lines) = channel();
        std::thread::spawn(move || {
            BufReader::new(stdout).lines().map_while(Result::ok).try_for_each(|line| heard.send(line))
        });
        Self { child, lines }
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("the tool prints a line")
    }

    fn lines(&self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.line()).collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn redis_cli_prints_the_tenants_statistics() {
    let desk = Desk::set();
    // It prints to a pipe when there is a buffer full, so it has to be quick.
    let running =
        Running::start("redis-cli", &["-p", &desk.proxy.acme_port().to_string(), "--stat", "-i", "0.01"]);
    let lines = running.lines(4);
    assert!(lines[0].contains("- data -") && lines[1].starts_with("keys"), "{lines:?}");
    for line in &lines[2..] {
        // The first column sums the databases.
        assert_eq!(Some("9"), line.split_whitespace().next(), "{line}");
    }
}

#[test]
fn redis_cli_monitors_the_tenants_commands() {
    let desk = Desk::set();
    for option in ["-2", "-3"] {
        let running =
            Running::start("redis-cli", &["-p", &desk.proxy.acme_port().to_string(), option, "MONITOR"]);
        assert_eq!("OK", running.line());
        let (mut acme, mut globex) = (desk.proxy.acme(), desk.proxy.globex());
        for line in ["SET globex-1 g", "GET globex-1", "SELECT 1", "GET nosuch"] {
            globex.ask(line);
        }
        for line in ["GET small", "SELECT 1", "MGET elsewhere acme:small"] {
            acme.ask(line);
        }
        let shown = running.lines(3);
        let commands: Vec<&str> =
            shown.iter().filter_map(|line| line.split_once("] ")).map(|(_, shown)| shown).collect();
        let expected = [r#""GET" "small""#, r#""SELECT" "1""#, r#""MGET" "elsewhere" "acme:small""#];
        assert_eq!(expected.to_vec(), commands, "{shown:?}");
        let databases: Vec<bool> = ["[0 127.0.0.1:", "[1 127.0.0.1:", "[1 127.0.0.1:"]
            .iter()
            .zip(&shown)
            .map(|(place, line)| line.contains(place))
            .collect();
        assert_eq!(vec![true; 3], databases, "{shown:?}");
    }
}

#[test]
fn redis_cli_subscribes_to_the_tenants_channels() {
    let desk = Desk::set();
    for options in [&["SUBSCRIBE", "news"][..], &["-3", "PSUBSCRIBE", "n*"]] {
        let port = desk.proxy.acme_port().to_string();
        let running = Running::start("redis-cli", &[&["-p", &port], options].concat());
        let kind =
            if options[0] == "SUBSCRIBE" { ["subscribe", "news", "1"] } else { ["psubscribe", "n*", "1"] };
        assert_eq!(kind.map(str::to_owned).to_vec(), running.lines(3));
        let publish = |mut client: Client, text: &str| client.ask(&format!("PUBLISH news {text}"));
        assert_eq!(":0\\r\\n", publish(desk.proxy.globex(), "of-globex"));
        assert_eq!(":1\\r\\n", publish(desk.proxy.acme(), "of-acme"));
        let message: &[&str] = if options[0] == "SUBSCRIBE" {
            &["message", "news", "of-acme"]
        } else {
            &["pmessage", "n*", "news", "of-acme"]
        };
        assert_eq!(message, running.lines(message.len()));
    }
}
