//! One hundred thousand request streams that something happened to on the way.
//!
//! Every stream is a few commands on keys of its own, damaged: bytes flipped, cut, repeated, lengths made
//! enormous, line ends put where none belong. A plain Redis and the proxy get the same bytes on a connection
//! of their own and must send the same bytes up to the close. Meanwhile another client is served, and the
//! process neither ends nor grows.

use std::path::Path;

use fastrand::Rng;

use crate::servers::{Proxy, RedisServer};
use crate::texts;
use crate::wire::{Client, command, show};

/// Streams sent; split over as many senders as below.
const STREAMS: u32 = 100_000;

/// Connections at work at the same time, and what the keys of each begin with: so different that no flipped
/// byte makes one sender's key of another's, whose order of commands nobody knows.
const SENDERS: [&str; 4] = ["left", "mint", "oboe", "salt"];

/// Streams between two looks at the process and at the other client.
const BETWEEN_LOOKS: u32 = 500;

/// Resident memory of the proxy that is never passed, in KiB. Lengths of up to 512 MiB are announced many
/// times: a single buffer made on such a header's say-so passes it.
const MEMORY_LIMIT_KIB: u64 = 96 * 1024;

/// Any number; a fixed one makes a red run red again.
const DEFAULT_SEED: u64 = 0x7e4a_4712_0002;

#[test]
fn damaged_streams_are_answered_as_by_redis_and_hurt_nobody_else() {
    let seed =
        std::env::var("TENANTRY_MUTATION_SEED").map_or(DEFAULT_SEED, |text| text.parse().expect("a number"));
    println!("mutations: TENANTRY_MUTATION_SEED={seed}");
    let (own, shared) = (RedisServer::start(), RedisServer::start());
    let mut proxy = Proxy::before(&shared);
    let mut bystander = proxy.globex();
    assert_eq!("+OK\\r\\n", bystander.ask("SET canary sings"));
    let (direct, proxied) = (own.socket(), proxy.acme_socket());
    for round in 0..STREAMS / BETWEEN_LOOKS {
        std::thread::scope(|scope| {
            let mut rng = Rng::with_seed(seed ^ u64::from(round));
            for sender in SENDERS {
                let (rng, direct, proxied) = (rng.fork(), &direct, &proxied);
                scope.spawn(move || send_streams(rng, sender, direct, proxied));
            }
        });
        assert!(proxy.is_up(), "the proxy ended in round {round}");
        assert_eq!("$5\\r\\nsings\\r\\n", bystander.ask("GET canary"), "round {round}");
        let resident = proxy.resident_kib();
        assert!(resident < MEMORY_LIMIT_KIB, "{resident} KiB resident after round {round}");
    }
    assert_eq!("*1\\r\\n$13\\r\\nglobex:canary\\r\\n", shared.client().ask("KEYS globex:*"));
}

fn send_streams(mut rng: Rng, sender: &str, direct_path: &Path, proxied_path: &Path) {
    for _ in 0..BETWEEN_LOOKS as usize / SENDERS.len() {
        let bytes = stream(&mut rng, sender);
        let (mut direct, mut proxied) = (Client::unix(direct_path), Client::unix(proxied_path));
        for client in [&mut direct, &mut proxied] {
            // Whoever finds a mistake closes, and the rest cannot be sent.
            drop(client.try_send(&bytes));
            client.finish_sending();
        }
        let (expected, received) = (direct.until_closed(), proxied.until_closed());
        let is_excused = is_refusal_of_ours(&received);
        if expected != received && is_excused {
            // One side may have executed more than the other.
            forget_keys(sender, [direct_path, proxied_path]);
        }
        assert!(
            expected == received || is_excused,
            "to {}\n  direct:  {}\n  proxied: {}",
            show(&bytes),
            show(&expected),
            show(&received)
        );
    }
}

fn forget_keys(sender: &str, sockets: [&Path; 2]) {
    let keys = ["a", "b", "c"].map(|end| format!("{sender}{end}"));
    for socket in sockets {
        let reply = Client::unix(socket).call(&["DEL", &keys[0], &keys[1], &keys[2], "", "missing"]);
        assert!(reply.starts_with(b":"), "{}", show(&reply));
    }
}

/// A flipped byte may make a command that tenants do not have; there Redis answers something else.
fn is_refusal_of_ours(received: &[u8]) -> bool {
    let received = String::from_utf8_lossy(received);
    received.contains(texts::NOT_YET) || received.contains("-NOPERM ")
}

/// One to six commands, most of them damaged a little.
fn stream(rng: &mut Rng, sender: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..rng.u8(1..=6) {
        bytes.extend(request(rng, sender));
    }
    for _ in 0..rng.u8(0..=3) {
        damage(rng, &mut bytes);
    }
    bytes
}

fn request(rng: &mut Rng, sender: &str) -> Vec<u8> {
    let key = format!("{sender}{}", rng.char('a'..='c'));
    let value = "v".repeat([0, 1, 7, 100, 5_000][rng.usize(..5)]);
    let argv: Vec<&str> = match rng.u8(..9) {
        0 => vec!["PING"],
        // A word that is no command when it comes to stand at the start of a line.
        1 => vec!["PING", "greeting"],
        2 => vec!["ECHO", &value],
        3 | 4 => vec!["SET", &key, &value],
        5 => vec!["APPEND", &key, "x\r\ny"],
        6 => vec!["MGET", &key, &key, "missing"],
        7 => vec!["DEL", &key],
        _ => vec!["GET", &key],
    };
    let is_inline = rng.u8(..4) == 0 && !argv.iter().any(|word| word.is_empty() || word.contains('\r'));
    if is_inline { [argv.join(" ").as_bytes(), b"\r\n"].concat() } else { command(&argv) }
}

/// What is put in the place of something else.
const STRANGE: [&[u8]; 16] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b"*",
    b"$",
    b"-1",
    b"*1\r\n",
    b"$4\r\n",
    b"536870912",
    b"536870913",
    b"2147483647",
    b"99999999999999999999",
    b"\"",
    b"*1048576\r\n",
    b"$-1\r\n",
];

fn damage(rng: &mut Rng, bytes: &mut Vec<u8>) {
    if bytes.is_empty() {
        return;
    }
    let at = rng.usize(..bytes.len());
    let end = (at + rng.usize(1..=40)).min(bytes.len());
    match rng.u8(..8) {
        0 => bytes[at] ^= 1 << rng.u8(..8),
        1 => bytes[at] = rng.u8(..),
        2 => bytes.truncate(at),
        3 => drop(bytes.drain(at..end)),
        4 => {
            let piece = bytes[at..end].to_vec();
            bytes.splice(at..at, piece);
        }
        5 => enlarge_a_length(rng, bytes),
        6 => {
            let strange = STRANGE[rng.usize(..STRANGE.len())];
            bytes.splice(at..at, strange.iter().copied());
        }
        _ => {
            let strange = STRANGE[rng.usize(..STRANGE.len())];
            bytes.splice(at..end, strange.iter().copied());
        }
    }
}

/// Puts an enormous or a wrong number after one of the headers.
fn enlarge_a_length(rng: &mut Rng, bytes: &mut Vec<u8>) {
    let headers: Vec<usize> = (0..bytes.len()).filter(|at| matches!(bytes[*at], b'*' | b'$')).collect();
    let Some(header) = headers.get(rng.usize(..headers.len().max(1))) else { return };
    let start = header + 1;
    let digits = bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let lengths: [&[u8]; 9] =
        [b"536870912", b"536870911", b"2147483647", b"1048576", b"70000", b"11", b"0", b"-1", b"007"];
    bytes.splice(start..start + digits, lengths[rng.usize(..lengths.len())].iter().copied());
}
