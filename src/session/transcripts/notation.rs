//! How transcripts are written; shared with `tests/beside_redis/transcripts.rs`, which tries them on a real server.
//!
//! A scenario is a title, its circumstances, and a dialogue:
//!
//! ```text
//! = a title, one sentence
//! : listener acme, upstream 7.0.15      who and what it talks to; both may be left out, and these are the defaults
//! : payloads unchecked                  the upstream does not check what RESTORE brings; or `unknown`, or `denied`
//! : a cluster                           the upstream is a cluster of three shards, nodes 0 to 2 with a third of the slots each
//! : relaxed order, colocated            the tenants are configured so
//! : commands +@all -keys, read only     … and so; also `largest value 4` (and key), `default ttl 1000`, `longest ttl 5000`
//! > SET k 'a b'                         words of a request; quotes as in a shell, \xHH inside "…"
//! >> GET k                              … while the client is owed earlier replies
//! <- >2\r\n…                            the upstream pushes this over a connection of the session's own
//! (loses its own connection)            the upstream ends that connection; or the other: `its ear`
//! (EXEC fails)                          the upstream does not carry it out
//! (the slot of acme:k moves to node 1)  the cluster has changed; a node that was none of it has joined
//! (node 3 replaces node 0)              … or another node has become a primary
//!
//! -> SET acme:k 'a b'                   sent upstream in these words …
//! -> GET acme:k over its own connection … over another connection than the one that all share
//! -> GET acme:k to node 0               … of a cluster, to this node
//! -> DEL acme:k to node 0 (part)        … in parts that make one reply
//! -> SET acme:k 'a b' (unwanted)        … or sent, and its reply dropped (CLIENT REPLY)
//! -> MULTI (for nobody)                 … or sent in the proxy's own right
//! -> EXEC (…, +PONG\r\n)                … whose reply is made of the upstream's elements and the proxy's
//! -> EXEC (its first part)               … of which the client reads the first; or `the first of these replies`
//! -> SUBSCRIBE acme:a (1 confirmed)     … and confirmed out of band
//! (gets its own connection)             it must have one first; `its ear` is the one that only brings pushes
//! (gives back its own connection)       nothing is owed, and nothing needs it any more
//! (waits)                               asked again when nothing is owed
//! (composed)                            the answer takes several upstream requests, or the knowledge of other clients
//! < +PONG\r\n                           answered by the proxy, byte for byte
//! (silence)                             nothing is said
//! (close)                               the connection ends, after the answer if there is one
//! ```
//!
//! The lines of the first group are given, those of the second follow from them.
//!
//! `: as redis` says that a Redis 7.0 says the same.

use std::fmt::Write as _;

/// One scenario as it is written, and what it wants to be tried with.
pub(crate) struct Scenario<'a> {
    /// File, line and title.
    pub(crate) place: String,
    circumstances: &'a str,
    /// Its lines, the client's and the proxy's.
    pub(crate) dialogue: Vec<&'a str>,
}

/// The scenarios of one file.
pub(crate) fn scenarios<'a>(file: &str, text: &'a str) -> Vec<Scenario<'a>> {
    let mut scenarios: Vec<Scenario<'a>> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if let Some(title) = line.strip_prefix("= ") {
            let place = format!("{file} line {}: {title}", number + 1);
            scenarios.push(Scenario { place, circumstances: "", dialogue: Vec::new() });
        } else if !line.is_empty() && !line.starts_with('#') {
            let scenario = scenarios.last_mut().expect("a file begins with a title");
            match line.strip_prefix(": ") {
                Some(circumstances) => scenario.circumstances = circumstances,
                None => scenario.dialogue.push(line),
            }
        }
    }
    scenarios
}

impl Scenario<'_> {
    /// The value of a circumstance, `listener acme` and the like.
    pub(crate) fn circumstance(&self, name: &str) -> Option<&str> {
        self.circumstances.split(", ").find_map(|one| one.strip_prefix(name)).map(str::trim)
    }
}

/// The words of a line: blanks part them; '…' is literal, in "…" `\xHH`, `\r`, `\n` and `\\` are bytes.
pub(crate) fn words(line: &str) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut rest = line.trim();
    while let Some(first) = rest.chars().next() {
        let (word, after) = match first {
            '\'' => rest[1..].split_once('\'').map(|(word, after)| (word.as_bytes().to_vec(), after)),
            '"' => rest[1..].split_once('"').map(|(word, after)| (unescaped(word), after)),
            _ => {
                let (word, after) = rest.split_once(' ').unwrap_or((rest, ""));
                Some((word.as_bytes().to_vec(), after))
            }
        }
        .expect("a quote that closes");
        words.push(word);
        rest = after.trim_start();
    }
    words
}

/// The bytes that a text with escapes stands for.
pub(crate) fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut parts = text.split('\\');
    bytes.extend_from_slice(parts.next().unwrap_or_default().as_bytes());
    for part in parts {
        let (byte, rest) = match part.as_bytes() {
            [b'r', rest @ ..] => (b'\r', rest),
            [b'n', rest @ ..] => (b'\n', rest),
            [b'x', high, low, rest @ ..] => {
                let digits = [*high, *low];
                let digits = std::str::from_utf8(&digits).expect("ASCII");
                (u8::from_str_radix(digits, 16).expect("two hexadecimal digits"), rest)
            }
            other => panic!("unknown escape {other:?}"),
        };
        bytes.push(byte);
        bytes.extend_from_slice(rest);
    }
    bytes
}

/// Bytes as they are written after `<`: line ends and what is not ASCII escaped.
pub(crate) fn escaped(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        match byte {
            b'\r' => text.push_str("\\r"),
            b'\n' => text.push_str("\\n"),
            b' '..=b'~' => text.push(char::from(*byte)),
            other => write!(text, "\\x{other:02x}").expect("a string takes everything"),
        }
    }
    text
}
