//! What a replica had heard of its primary when it took over: what Redis itself kept.
//!
//! Redis acknowledges a write before its replicas have it (*Redis replication*: "Redis uses by default
//! asynchronous replication"). A replica that has become a primary knows the number of the last byte that it had
//! heard (`second_repl_offset`), and it has the bytes themselves for replicas that were left behind. So they
//! can be asked for afterwards, and nobody had to watch.

use std::collections::BTreeMap;

use crate::servers::RedisServer;
use crate::wire::{Client, Tree, show};

/// What a node that may take over has to be told, so that it still has every byte then.
pub(crate) const MEMORY: &[&str] = &["--repl-backlog-size", "256mb"];

/// The counters as `primary` had them when it was still a replica.
pub(crate) fn kept(primary: &RedisServer) -> BTreeMap<String, u64> {
    let mut client = primary.client();
    let replication = client.call(&["INFO", "replication"]);
    let replication = String::from_utf8_lossy(Tree::of(&replication).payload()).into_owned();
    let first: usize = number(&replication, "repl_backlog_first_byte_offset");
    // That is the number of the first byte it has not heard.
    let end: usize = number(&replication, "second_repl_offset");
    let id = field(&replication, "master_replid2");
    let resumed = show(&client.call(&["PSYNC", id, &first.to_string()]));
    assert!(resumed.starts_with("+CONTINUE"), "{resumed}");
    heard(&mut client, end - first)
}

/// The counters after the first `length` bytes of the stream.
fn heard(client: &mut Client, mut length: usize) -> BTreeMap<String, u64> {
    let mut counters = BTreeMap::new();
    while length > 0 {
        let command = client.frame();
        length = length.checked_sub(command.len()).expect("a replica takes over between two commands");
        let words = Tree::of(&command);
        let words: Vec<_> = words
            .elements()
            .iter()
            .map(|word| String::from_utf8_lossy(word.payload()).into_owned())
            .collect();
        match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["SET", key, set] => drop(counters.insert(key.to_owned(), set.parse().expect("a number"))),
            ["INCR", key] => *counters.get_mut(key).expect("a counter is set first") += 1,
            _ => {}
        }
    }
    counters
}

fn number(replication: &str, name: &str) -> usize {
    field(replication, name).parse().expect("a number")
}

fn field<'i>(replication: &'i str, name: &str) -> &'i str {
    let value = replication.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.unwrap_or_else(|| panic!("INFO has no {name}"))
}
