//! Draws commands from the grammar and breaks some of them.

use std::collections::BTreeMap;

use fastrand::Rng;

use super::grammar::{Form, Grammar, Shape, quote};
use crate::wire::{Client, Tree};

/// One command to send to both sides.
#[derive(Debug, Clone)]
pub(super) struct Case {
    /// Its name in the grammar.
    pub(super) command: String,
    /// What is sent.
    pub(super) argv: Vec<Vec<u8>>,
    /// Sent on the connection that speaks RESP3.
    pub(super) is_resp3: bool,
}

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let words: Vec<String> = self.argv.iter().map(|word| quote(word)).collect();
        f.write_str(&words.join(" "))
    }
}

/// Where all randomness of the oracle is.
pub(super) struct Generator {
    pub(super) grammar: Grammar,
    /// Payloads of DUMP by type; they stand for `@string`, `@list`, …
    pub(super) dumps: BTreeMap<Vec<u8>, Vec<u8>>,
    commands: Vec<String>,
    every_key: Vec<Vec<u8>>,
    pub(super) rng: Rng,
}

/// Of one hundred drawn commands, so many are broken afterwards.
const BROKEN_PERCENT: u32 = 30;

/// What may replace any argument.
const STRAYS: [&[u8]; 14] = [
    b"",
    b"0",
    b"-1",
    b"abc",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"str",
    b"list",
    b"\r\n",
    b"\0",
    b"STORE",
    b"COUNT",
    b"1.5",
    b"acme:str",
];

impl Generator {
    pub(super) fn new(grammar: Grammar, seed: u64) -> Self {
        let commands = grammar.commands.keys().cloned().collect();
        let mut every_key: Vec<_> = grammar.keys_with_data().cloned().collect();
        every_key.extend(grammar.keys["missing"].iter().cloned());
        Self { grammar, dumps: BTreeMap::new(), commands, every_key, rng: Rng::with_seed(seed) }
    }

    /// Payloads for RESTORE, made by the server itself.
    pub(super) fn take_dumps(&mut self, store: &mut Client) {
        let samples = [
            ("@string", "str"),
            ("@list", "list"),
            ("@hash", "hash"),
            ("@set", "set"),
            ("@iset", "iset"),
            ("@zset", "zset"),
            ("@stream", "stream2"),
            ("@hll", "hll"),
        ];
        for (name, key) in samples {
            let payload = Tree::of(&store.call(&["DUMP", key])).payload().to_vec();
            self.dumps.insert(name.into(), payload);
        }
    }

    /// The next command, whole or broken.
    pub(super) fn draw(&mut self) -> Case {
        let command = self.commands[self.rng.usize(..self.commands.len())].clone();
        let forms = &self.grammar.commands[&command];
        let form = &forms[self.rng.usize(..forms.len())];
        let mut argv = Vec::new();
        let mut pen = Pen { grammar: &self.grammar, every_key: &self.every_key, rng: &mut self.rng };
        pen.write_form(form, &mut argv);
        for argument in &mut argv {
            if let Some(payload) = self.dumps.get(argument) {
                argument.clone_from(payload);
            }
        }
        if self.rng.u32(..100) < BROKEN_PERCENT {
            self.break_one(&mut argv);
        }
        Case { command, argv, is_resp3: self.rng.bool() }
    }

    /// A command of a form that is not the grammar's own.
    pub(super) fn write(&mut self, form: &Shape) -> Vec<Vec<u8>> {
        let mut argv = Vec::new();
        Pen { grammar: &self.grammar, every_key: &self.every_key, rng: &mut self.rng }.write(form, &mut argv);
        argv
    }

    /// One argument too few or too many.
    pub(super) fn miscount(&mut self, argv: &mut Vec<Vec<u8>>) {
        if argv.len() > 1 && self.rng.bool() {
            argv.pop();
        } else {
            argv.push(STRAYS[self.rng.usize(..STRAYS.len())].to_vec());
        }
    }

    /// One mistake that a program or a person makes.
    fn break_one(&mut self, argv: &mut Vec<Vec<u8>>) {
        let first = 1.min(argv.len() - 1);
        let at = self.rng.usize(first..argv.len());
        let stray = STRAYS[self.rng.usize(..STRAYS.len())].to_vec();
        match self.rng.u8(..7) {
            0 if argv.len() > 1 => drop(argv.remove(at)),
            1 => argv.truncate(at.max(1)),
            2 => {
                let end = (at + 1 + self.rng.usize(..3)).min(argv.len());
                let again = argv[at..end].to_vec();
                let place = if self.rng.bool() { argv.len() } else { end };
                argv.splice(place..place, again);
            }
            3 if at > 0 => {
                let other = self.rng.usize(1..argv.len());
                argv.swap(at, other);
            }
            4 => argv.push(stray),
            5 if at > 0 => argv.insert(at, stray),
            _ if at > 0 => argv[at] = stray,
            _ => {}
        }
    }
}

/// Writes one form as arguments.
struct Pen<'a> {
    grammar: &'a Grammar,
    every_key: &'a [Vec<u8>],
    rng: &'a mut Rng,
}

impl Pen<'_> {
    fn write_form(&mut self, form: &Form, argv: &mut Vec<Vec<u8>>) {
        if form.command != "unknown" {
            for word in form.command.split(' ') {
                let word = self.in_some_case(word.as_bytes());
                argv.push(word);
            }
        }
        self.write(&form.arguments, argv);
    }

    fn write(&mut self, shape: &Shape, argv: &mut Vec<Vec<u8>>) {
        match shape {
            Shape::Word(word) => {
                let word = self.in_some_case(word);
                argv.push(word);
            }
            Shape::Slot(name) => {
                let value = self.value(name);
                argv.push(value);
            }
            Shape::All(parts) => parts.iter().for_each(|part| self.write(part, argv)),
            Shape::OneOf(branches) => {
                let branch = &branches[self.rng.usize(..branches.len())];
                self.write(branch, argv);
            }
            Shape::Maybe(inner) => {
                if self.rng.bool() {
                    self.write(inner, argv);
                }
            }
            Shape::Several(inner) => {
                for _ in 0..self.rng.usize(1..=3) {
                    self.write(inner, argv);
                }
            }
            Shape::Counted(inner) => self.write_counted(inner, argv),
        }
    }

    fn write_counted(&mut self, inner: &Shape, argv: &mut Vec<Vec<u8>>) {
        let count = self.rng.usize(1..=3);
        let written = match self.rng.u8(..20) {
            0 => "0".to_owned(),
            1 => (count + 1).to_string(),
            2 => (count - 1).to_string(),
            3 => ["", "abc", "-1", "+1", "01", "1.0", " 1", "9223372036854775807", "2147483648"]
                [self.rng.usize(..9)]
            .to_owned(),
            _ => count.to_string(),
        };
        argv.push(written.into_bytes());
        for _ in 0..count {
            self.write(inner, argv);
        }
    }

    /// Upper, lower or mixed: Redis does not care. Words that are no keywords stay as they are.
    fn in_some_case(&mut self, word: &[u8]) -> Vec<u8> {
        let is_keyword = word.iter().all(|byte| !byte.is_ascii_lowercase());
        match self.rng.u8(..10) {
            0..=1 if is_keyword => word.to_ascii_lowercase(),
            2 if is_keyword => word
                .iter()
                .map(|byte| if self.rng.bool() { byte.to_ascii_lowercase() } else { *byte })
                .collect(),
            _ => word.to_vec(),
        }
    }

    fn value(&mut self, slot: &str) -> Vec<u8> {
        if slot == "any" {
            return if self.rng.u8(..10) == 0 { self.key("odd") } else { self.one_of(self.every_key) };
        }
        if self.grammar.keys.contains_key(slot) {
            return self.key(slot);
        }
        let values =
            self.grammar.slots.get(slot).unwrap_or_else(|| panic!("the grammar has no slot or key `{slot}`"));
        if !values.bad.is_empty() && self.rng.u8(..12) == 0 {
            return self.one_of(&values.bad);
        }
        let value = self.one_of(&values.good);
        if matches!(slot, "ttl" | "pttl") { self.far_and_unlike_others(&value) } else { value }
    }

    /// Expiry times that are drawn twice would make `EXPIRE key N GT` depend on the millisecond.
    fn far_and_unlike_others(&mut self, value: &[u8]) -> Vec<u8> {
        let base: u64 = std::str::from_utf8(value).unwrap().parse().expect("expiry times are numbers");
        (base + self.rng.u64(..base / 4)).to_string().into_bytes()
    }

    fn key(&mut self, kind: &str) -> Vec<u8> {
        let keys = &self.grammar.keys[kind];
        match self.rng.u8(..20) {
            0 => self.one_of(&self.grammar.keys["odd"]),
            1 => self.one_of(&self.grammar.keys["missing"]),
            2..=3 => self.one_of(self.every_key),
            4 => self.one_of(&self.grammar.keys["dst"]),
            _ => self.one_of(keys),
        }
    }

    fn one_of(&mut self, values: &[Vec<u8>]) -> Vec<u8> {
        values[self.rng.usize(..values.len())].clone()
    }
}
