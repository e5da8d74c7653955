//! In which slots the keys of a command lie, for a tenant whose keys are spread over a cluster. Which of its
//! arguments are keys is asked of the measure, so that the answer is Redis' own.
//!
//! What must be atomic and has keys in several slots is the one thing that such a tenant cannot have. It answers
//! `CROSSSLOT`, where the measure would carry it out; so it is not drawn, or not sent to the measure.

use std::collections::BTreeSet;

use tenantry::command::slot::slot;

use super::script::{Argv, name_of};
use crate::wire::{Client, Tree};

/// The hash tag of the second names of keys (`Grammar::of`).
pub(super) const TAG: &[u8] = b"{t}";

/// The answer, byte for byte.
pub(super) const CROSSSLOT: &[u8] = b"-CROSSSLOT Keys in request don't hash to the same slot\r\n";

/// What is taken apart by slot: nobody can see that it is not atomic.
const TAKEN_APART: [&str; 7] = ["DEL", "EXISTS", "MGET", "MSET", "PUBSUB SHARDNUMSUB", "TOUCH", "UNLINK"];

/// Databases that a tenant has.
const DATABASES: usize = 16;

/// The slots of a command's keys.
fn slots_of(argv: &[Vec<u8>], stem: &str, database: usize, direct: &mut Client) -> BTreeSet<u16> {
    let name = name_of(argv);
    let slot_in = |database: usize, key: &[u8]| {
        let prefix = if database == 0 { format!("{stem}:") } else { format!("{stem}@{database}:") };
        slot(&[prefix.as_bytes(), key].concat())
    };
    // Channels are no keys to Redis, but lie in slots.
    match name.as_str() {
        "SPUBLISH" => return argv.get(1).map(|channel| slot_in(0, channel)).into_iter().collect(),
        "PUBSUB SHARDNUMSUB" => return argv.iter().skip(2).map(|channel| slot_in(0, channel)).collect(),
        _ => {}
    }
    let reply = Tree::of(&getkeys(argv, direct));
    let mut slots: BTreeSet<u16> =
        reply.elements().iter().map(|key| slot_in(database, key.payload())).collect();
    let key = |at: usize| argv.get(at).map_or(&b""[..], Vec::as_slice);
    match name.as_str() {
        // Redis 7.0 finds no keys if there is no source, or no group.
        "PFMERGE" => slots.extend(argv.get(1).map(|key| slot_in(database, key))),
        "XREADGROUP" if slots.is_empty() => {
            let streams = argv.iter().position(|word| word.eq_ignore_ascii_case(b"STREAMS"));
            let rest = streams.map_or(&argv[..0], |at| &argv[at + 1..]);
            slots.extend(rest[..rest.len() / 2].iter().map(|key| slot_in(database, key)));
        }
        "MOVE" => slots.extend(number(key(2)).map(|other| slot_in(other, key(1)))),
        // A node of a cluster looks for it from here on, although a wrong number of words is before it.
        "GEORADIUS" | "GEORADIUSBYMEMBER" => {
            let is_store =
                |word: &[u8]| [&b"STORE"[..], b"STOREDIST"].iter().any(|one| word.eq_ignore_ascii_case(one));
            let options = argv.windows(2).skip(5).filter(|pair| is_store(&pair[0]));
            slots.extend(options.map(|pair| slot_in(database, &pair[1])));
        }
        // The last one counts, and both may be read.
        "COPY" => {
            let options = argv.windows(2).skip(3).filter(|pair| pair[0].eq_ignore_ascii_case(b"DB"));
            slots.extend(options.filter_map(|pair| Some(slot_in(number(&pair[1])?, key(2)))));
        }
        _ => {}
    }
    slots
}

/// Whether a server cannot tell which words are keys, so that some may and some may not decide about the slot.
fn is_malformed(argv: &[Vec<u8>], direct: &mut Client) -> bool {
    getkeys(argv, direct).starts_with(b"-ERR Invalid arguments")
}

fn getkeys(argv: &[Vec<u8>], direct: &mut Client) -> Vec<u8> {
    let words = argv.iter().map(Vec::as_slice);
    direct.call(&[&b"COMMAND"[..], b"GETKEYS"].into_iter().chain(words).collect::<Vec<_>>())
}

fn number(argument: &[u8]) -> Option<usize> {
    std::str::from_utf8(argument).ok()?.parse().ok().filter(|number| *number < DATABASES)
}

/// Whether a command that stands alone, in the first database, is refused. `stem` is what the tenant's prefixes
/// begin with.
pub(super) fn is_refused(argv: &[Vec<u8>], stem: &str, direct: &mut Client) -> bool {
    let is_whole = !TAKEN_APART.contains(&name_of(argv).as_str());
    is_whole && slots_of(argv, stem, 0, direct).len() > 1
}

/// Keys of a connection that belong together: what it watches, and what its open transaction has.
#[derive(Clone, Default)]
pub(super) struct Bond {
    slot: Option<u16>,
    in_transaction: bool,
    database: usize,
}

impl Bond {
    /// The measure says in which database the connection is; within a transaction it does not know yet.
    pub(super) fn begin_step(&mut self, database: usize) {
        if !self.in_transaction {
            self.database = database;
        }
    }

    /// The bond after commands of one connection; `None` if one of them is refused.
    pub(super) fn after(&self, commands: &[Argv], stem: &str, direct: &mut Client) -> Option<Self> {
        let mut bond = self.clone();
        commands.iter().all(|argv| bond.takes(argv, stem, direct)).then_some(bond)
    }

    fn takes(&mut self, argv: &[Vec<u8>], stem: &str, direct: &mut Client) -> bool {
        let name = name_of(argv);
        let slots = slots_of(argv, stem, self.database, direct);
        let is_bound = self.in_transaction || self.slot.is_some();
        if is_bound && is_malformed(argv, direct) {
            return false;
        }
        let binds = self.in_transaction || name == "WATCH";
        match name.as_str() {
            // Refused.
            "MULTI" | "EXEC" | "DISCARD" | "RESET" | "UNWATCH" if argv.len() > 1 => {}
            "MULTI" => self.in_transaction = true,
            "EXEC" | "DISCARD" if !self.in_transaction => {}
            "EXEC" | "DISCARD" => (self.slot, self.in_transaction) = (None, false),
            "RESET" => *self = Self::default(),
            "UNWATCH" if !self.in_transaction => self.slot = None,
            "SELECT" => {
                let chosen = argv.get(1).and_then(|argument| number(argument));
                self.database = chosen.unwrap_or(self.database);
            }
            _ => {}
        }
        if !binds && self.slot.is_none() {
            return slots.len() < 2 || TAKEN_APART.contains(&name.as_str());
        }
        let together: BTreeSet<u16> = slots.into_iter().chain(self.slot).collect();
        if binds {
            self.slot = together.first().copied();
        }
        together.len() < 2
    }
}
