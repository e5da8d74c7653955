//! Reads `grammar.txt`: what the oracle may type, as data.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::iter::Peekable;

use super::place::Place;
use super::sides::place_of_key;
use super::slots::TAG;

/// The shape of a piece of a command line.
#[derive(Debug)]
pub(super) enum Shape {
    /// A literal word.
    Word(Vec<u8>),
    /// `<name>`: a key of a kind, or a value of a slot.
    Slot(String),
    /// One after the other.
    All(Vec<Self>),
    /// `(a|b)`: one of them.
    OneOf(Vec<Self>),
    /// `[a]`: there or not.
    Maybe(Box<Self>),
    /// `{a}`: one to three times, drawn anew each time.
    Several(Box<Self>),
    /// `#{a}`: a count and then that many.
    Counted(Box<Self>),
}

/// One way to write a command.
#[derive(Debug)]
pub(super) struct Form {
    /// `SET`, `XINFO STREAM`, or `unknown` for what no server knows.
    pub(super) command: String,
    /// Everything after the command's own words.
    pub(super) arguments: Shape,
}

/// Values of one argument.
#[derive(Debug, Default)]
pub(super) struct Values {
    /// Accepted by a server at least sometimes.
    pub(super) good: Vec<Vec<u8>>,
    /// Refused.
    pub(super) bad: Vec<Vec<u8>>,
}

/// The whole file.
#[derive(Debug, Default)]
pub(super) struct Grammar {
    /// Kind of data → keys that hold it.
    pub(super) keys: BTreeMap<String, Vec<Vec<u8>>>,
    /// Name of a slot → its values.
    pub(super) slots: BTreeMap<String, Values>,
    /// Commands that load the data.
    pub(super) load: Vec<Vec<Vec<u8>>>,
    /// Command → its forms; the oracle draws a command first and then a form.
    pub(super) commands: BTreeMap<String, Vec<Form>>,
}

/// Commands whose second word belongs to the name.
pub(super) const CONTAINERS: [&str; 15] = [
    "ACL", "CLIENT", "CLUSTER", "COMMAND", "CONFIG", "FUNCTION", "LATENCY", "MEMORY", "MODULE", "OBJECT",
    "PUBSUB", "SCRIPT", "SLOWLOG", "XGROUP", "XINFO",
];

impl Grammar {
    /// Reads the file that lies beside this one.
    pub(super) fn read() -> Self {
        let mut grammar = Self::default();
        for line in include_str!("grammar.txt").lines() {
            let tokens = tokens(line);
            if let Some((first, rest)) = tokens.split_first() {
                grammar.take_line(first, rest);
            }
        }
        grammar
    }

    fn take_line(&mut self, first: &Token, rest: &[Token]) {
        match first {
            Token::Word(word) if word == b"key" => {
                self.keys.insert(rest[0].text(), plain_words(&rest[2..]));
            }
            Token::Word(word) if word == b"slot" => {
                let mut halves = rest[2..].split(|token| *token == Token::Mark('|'));
                let good = plain_words(halves.next().unwrap_or_default());
                let bad = plain_words(halves.next().unwrap_or_default());
                self.slots.insert(rest[0].text(), Values { good, bad });
            }
            Token::Word(word) if word == b"+" => self.load.push(plain_words(rest)),
            Token::Word(_) => self.take_command(first, rest),
            Token::Slot(_) | Token::Mark(_) => panic!("a line of the grammar starts with {first:?}"),
        }
    }

    fn take_command(&mut self, first: &Token, rest: &[Token]) {
        let mut command = first.text();
        let mut rest = rest;
        if CONTAINERS.contains(&command.as_str()) {
            command = format!("{command} {}", rest[0].text());
            rest = &rest[1..];
        }
        let mut tokens = rest.iter().peekable();
        let arguments = alternatives(&mut tokens);
        assert!(tokens.next().is_none(), "unbalanced brackets in the form of {command}");
        self.commands.entry(command.clone()).or_default().push(Form { command, arguments });
    }

    /// Takes over the slots of another file.
    pub(super) fn take_slots(&mut self, text: &str) {
        for line in text.lines().filter(|line| line.starts_with("slot ")) {
            let tokens = tokens(line);
            self.take_line(&tokens[0], &tokens[1..]);
        }
    }

    /// The grammar for a place: where keys lie in several slots, each has a second name with a hash tag, under
    /// which it holds the same. That one is drawn twice as often, so that several keys are often in one slot.
    pub(super) fn of(place: Place) -> Self {
        let mut grammar = Self::read();
        if place == Place::Spread {
            grammar.give_second_names();
        }
        grammar
    }

    fn give_second_names(&mut self) {
        let tagged = |key: &Vec<u8>| [TAG, key].concat();
        for (_, keys) in self.keys.iter_mut().filter(|(kind, _)| *kind != "odd") {
            let second: Vec<_> = keys.iter().map(tagged).collect();
            keys.extend(second.iter().cloned().chain(second.clone()));
        }
        let with_tag = |argv: &Vec<Vec<u8>>| {
            let mut argv = argv.clone();
            let place = place_of_key(&argv);
            argv[place] = tagged(&argv[place]);
            argv
        };
        let second: Vec<_> = self.load.iter().map(with_tag).collect();
        self.load.extend(second);
    }

    /// Gives the values of slots that are keys second names as well.
    pub(super) fn give_second_names_to(&mut self, slots: &[&str]) {
        for name in slots {
            let values = self.slots.get_mut(*name).expect("the slot exists");
            let second: Vec<_> = values.good.iter().map(|key| [TAG, key].concat()).collect();
            values.good.extend(second.iter().cloned().chain(second.clone()));
        }
    }

    /// All keys that hold something at the start of an epoch.
    pub(super) fn keys_with_data(&self) -> impl Iterator<Item = &Vec<u8>> {
        let empty = ["missing", "dst", "odd"];
        self.keys.iter().filter(move |(kind, _)| !empty.contains(&kind.as_str())).flat_map(|(_, keys)| keys)
    }
}

/// Reads the shape of a whole command line.
pub(super) fn shape(line: &str) -> Shape {
    let tokens = tokens(line);
    let mut tokens = tokens.iter().peekable();
    let shape = alternatives(&mut tokens);
    assert!(tokens.next().is_none(), "unbalanced brackets in {line}");
    shape
}

/// A word, or a bracket or bar that stands outside quotes.
#[derive(Debug, PartialEq, Eq)]
enum Token {
    Word(Vec<u8>),
    Slot(String),
    Mark(char),
}

impl Token {
    fn text(&self) -> String {
        match self {
            Self::Word(word) => String::from_utf8_lossy(word).into_owned(),
            Self::Slot(name) => name.clone(),
            Self::Mark(mark) => mark.to_string(),
        }
    }
}

fn plain_words(tokens: &[Token]) -> Vec<Vec<u8>> {
    tokens
        .iter()
        .map(|token| match token {
            Token::Word(word) => word.clone(),
            Token::Slot(_) | Token::Mark(_) => panic!("a list of words has {token:?} in it"),
        })
        .collect()
}

/// Splits a line. In data lines every bracket is an ordinary character: there, only blanks separate.
fn tokens(line: &str) -> Vec<Token> {
    let is_data = ["key ", "slot ", "+ "].iter().any(|start| line.starts_with(start));
    let mut tokens = Vec::new();
    let mut rest = if line.starts_with('#') { "" } else { line };
    while let Some(first) = rest.trim_start().chars().next() {
        rest = rest.trim_start();
        let (token, after) = match first {
            '"' => quoted(rest),
            '#' if !is_data && rest.starts_with("#{") => (Token::Mark('#'), &rest[1..]),
            '|' if rest[1..].starts_with(' ') || !is_data => (Token::Mark('|'), &rest[1..]),
            '[' | ']' | '(' | ')' | '{' | '}' if !is_data => (Token::Mark(first), &rest[1..]),
            '<' if !is_data => {
                let end = rest.find('>').expect("a slot ends with >");
                (Token::Slot(rest[1..end].to_owned()), &rest[end + 1..])
            }
            _ => bare(rest, is_data),
        };
        tokens.push(token);
        rest = after;
    }
    tokens
}

fn bare(text: &str, is_data: bool) -> (Token, &str) {
    let ends = |c: char| c == ' ' || (!is_data && "[](){}|<".contains(c));
    let end = text.find(ends).unwrap_or(text.len());
    (Token::Word(text.as_bytes()[..end].to_vec()), &text[end..])
}

/// A word in quotes; `\r \n \0 \" \\ \xHH` as redis-cli reads them.
fn quoted(text: &str) -> (Token, &str) {
    let mut word = Vec::new();
    let mut rest = &text[1..];
    loop {
        let (byte, length) = match rest.as_bytes() {
            [b'"', ..] => return (Token::Word(word), &rest[1..]),
            [b'\\', b'x', high, low, ..] => {
                let digits = [*high, *low];
                let digits = std::str::from_utf8(&digits).expect("two digits");
                (u8::from_str_radix(digits, 16).expect("two hexadecimal digits"), 4)
            }
            [b'\\', b'r', ..] => (b'\r', 2),
            [b'\\', b'n', ..] => (b'\n', 2),
            [b'\\', b'0', ..] => (0, 2),
            [b'\\', other, ..] => (*other, 2),
            [other, ..] => (*other, 1),
            [] => panic!("a quote is not closed: {text}"),
        };
        word.push(byte);
        rest = &rest[length..];
    }
}

type Tokens<'a> = Peekable<std::slice::Iter<'a, Token>>;

fn alternatives(tokens: &mut Tokens<'_>) -> Shape {
    let mut branches = vec![sequence(tokens)];
    while tokens.next_if(|token| **token == Token::Mark('|')).is_some() {
        branches.push(sequence(tokens));
    }
    if branches.len() == 1 { branches.remove(0) } else { Shape::OneOf(branches) }
}

fn sequence(tokens: &mut Tokens<'_>) -> Shape {
    let mut parts = Vec::new();
    while let Some(token) = tokens.next_if(|token| !matches!(token, Token::Mark('|' | ']' | ')' | '}'))) {
        parts.push(match token {
            Token::Word(word) => Shape::Word(word.clone()),
            Token::Slot(name) => Shape::Slot(name.clone()),
            Token::Mark('#') => {
                assert_eq!(tokens.next(), Some(&Token::Mark('{')), "# stands before a brace");
                Shape::Counted(Box::new(closed(tokens, '}')))
            }
            Token::Mark('(') => closed(tokens, ')'),
            Token::Mark('[') => Shape::Maybe(Box::new(closed(tokens, ']'))),
            Token::Mark('{') => Shape::Several(Box::new(closed(tokens, '}'))),
            Token::Mark(other) => panic!("unexpected {other} in the grammar"),
        });
    }
    Shape::All(parts)
}

fn closed(tokens: &mut Tokens<'_>, end: char) -> Shape {
    let inner = alternatives(tokens);
    assert_eq!(tokens.next(), Some(&Token::Mark(end)), "brackets of the grammar are balanced");
    inner
}

/// A word as redis-cli would accept it.
pub(super) fn quote(word: &[u8]) -> String {
    let is_plain =
        !word.is_empty() && word.iter().all(|byte| byte.is_ascii_graphic() && !b"\"'\\".contains(byte));
    if is_plain {
        return String::from_utf8_lossy(word).into_owned();
    }
    let mut text = String::from("\"");
    for byte in word {
        match byte {
            b'\r' => text.push_str("\\r"),
            b'\n' => text.push_str("\\n"),
            b'"' | b'\\' => text.extend(['\\', char::from(*byte)]),
            b' '..=b'~' => text.push(char::from(*byte)),
            other => write!(text, "\\x{other:02x}").expect("a string takes everything"),
        }
    }
    text.push('"');
    text
}
