//! Dialogues between several connections and what they speak to, as `isolation.txt` and `cut.txt` write them.
//!
//! A scenario is a title and a dialogue; the notation of words, titles and circumstances is that of
//! `src/session/transcripts`. A number before the sign says which connection of the scenario is meant, the
//! first if there is none; `g` is somebody else, whose part each test explains.
//!
//! ```text
//! = a title, one sentence
//! : resp3                the first connection has said HELLO 3
//! > SET k 'a b'          the first connection sends a request
//! 2> GET k               the second one does; it is opened when it is first mentioned
//! ! *1\r\n$4\r\nPI       sent as it stands, `\r`, `\n` and `\xHH` being bytes
//! < +OK                  the next frame the first connection reads, written as [`shown`] writes it
//! < (close)              or it is closed
//! (2 leaves)             the second connection is closed by its client
//! ```

use std::time::Duration;

use crate::notation::{Scenario, escaped, unescaped, words};
use crate::servers::now;
use crate::wire::{Client, PATIENCE, Tree};

/// One line of a dialogue.
pub(crate) struct Line {
    /// Whose: a digit, or `g`.
    pub(crate) who: char,
    /// What it does.
    pub(crate) act: Act,
    /// As it is written, for reports.
    pub(crate) text: String,
}

/// What a connection does.
pub(crate) enum Act {
    /// Sends a request of these words.
    Asks(Vec<Vec<u8>>),
    /// Sends these bytes.
    Utters(Vec<u8>),
    /// Reads a frame, or the end.
    Reads(String),
    /// Is closed by its client.
    Leaves,
    /// A stage direction of the test's own.
    Directs(String),
}

/// The lines of a scenario, after `fill` has put values in place of names in braces.
pub(crate) fn lines(scenario: &Scenario<'_>, fill: &dyn Fn(&str) -> String) -> Vec<Line> {
    scenario.dialogue.iter().map(|text| line(text, fill)).collect()
}

fn line(text: &str, fill: &dyn Fn(&str) -> String) -> Line {
    let filled = fill(text);
    if let Some(direction) = filled.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
        let (who, act) = match direction.strip_suffix(" leaves") {
            Some(who) => (who.chars().next().unwrap_or('1'), Act::Leaves),
            None => ('1', Act::Directs(direction.to_owned())),
        };
        return Line { who, act, text: text.to_owned() };
    }
    let is_sign = |c: char| matches!(c, '>' | '<' | '!');
    let place = filled.find(is_sign).unwrap_or_else(|| panic!("no participant in `{text}`"));
    let who = filled[..place].chars().next().unwrap_or('1');
    let rest = filled[place + 1..].trim_start();
    let act = match &filled[place..=place] {
        ">" => Act::Asks(words(rest)),
        "!" => Act::Utters(unescaped(rest)),
        _ => Act::Reads(rest.to_owned()),
    };
    Line { who, act, text: text.to_owned() }
}

/// Asks a server until what it says, a text, is as it should be; nobody is told when a client begins to wait
/// there. What it says at last when it never is.
pub(crate) fn await_text(
    store: &mut Client,
    line: &[&str],
    is_so: impl Fn(&str) -> bool,
) -> Result<(), String> {
    let deadline = now() + PATIENCE;
    loop {
        let said = Tree::of(&store.call(line));
        let said = String::from_utf8_lossy(said.payload()).into_owned();
        if is_so(&said) {
            return Ok(());
        }
        if now() > deadline {
            return Err(said);
        }
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// A frame in one line: `+OK`, `:1`, `"bulk"`, `[array, …]`, `~[set]`, `%[key, value, …]`, `>[push]`; `nil`
/// is the null bulk string, `nil*` the null array and `_` the null of RESP3.
pub(crate) fn shown(frame: &Tree) -> String {
    render(frame, false)
}

/// The same with the elements of every array, set and push sorted as they are shown.
pub(crate) fn shown_unordered(frame: &Tree) -> String {
    render(frame, true)
}

fn render(frame: &Tree, is_sorted: bool) -> String {
    match frame {
        Tree::Leaf(bytes) => render_leaf(frame, bytes),
        Tree::Node(kind, elements) => {
            let mut parts: Vec<String> = elements.iter().map(|element| render(element, is_sorted)).collect();
            if is_sorted && *kind != b'%' {
                parts.sort();
            }
            let sign = if *kind == b'*' { String::new() } else { char::from(*kind).to_string() };
            format!("{sign}[{}]", parts.join(", "))
        }
    }
}

fn render_leaf(frame: &Tree, bytes: &[u8]) -> String {
    match bytes {
        b"$-1\r\n" => "nil".to_owned(),
        b"*-1\r\n" => "nil*".to_owned(),
        [b'$', ..] => format!("\"{}\"", escaped(frame.payload())),
        [kind @ (b'=' | b'!'), ..] => format!("{}\"{}\"", char::from(*kind), escaped(frame.payload())),
        _ => escaped(bytes.trim_ascii_end()),
    }
}
