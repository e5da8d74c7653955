//! `CLIENT LIST` and `CLIENT INFO`: one line per connection, with the fields of the upstream's release.

use std::sync::Arc;

use super::answer::{Question, unknown_client_type};
use super::card::{Card, ClientType, Facts, Marks, Origin};
use super::is_word;
use crate::resp::reply::ReplyWriter;
use crate::resp::scan::strict_integer;

/// A list ends with the line that reaches this many bytes: `ID` lists a client as often as it is named, and the
/// name that a client gives itself may be long.
const LIST_BYTES: usize = 64 << 20;

/// `CLIENT INFO`.
pub(super) fn info(question: &Question<'_>, reply: &mut ReplyWriter<'_>) {
    reply.verbatim(&client_line(question.asker, question.release, question.now_secs()));
}

/// `CLIENT LIST [TYPE type | ID id [id …]]`.
pub(super) fn list(question: &Question<'_>, reply: &mut ReplyWriter<'_>) {
    let request = question.request;
    let option_is = |name: &[u8]| request.arg(2).is_some_and(|option| is_word(option, name));
    let cards = match (request.argc(), request.arg(3)) {
        (2, _) => question.among.cards(),
        (4, Some(name)) if option_is(b"TYPE") => match ClientType::parse(name) {
            Some(class) => of_type(question, class),
            None => return reply.error(&unknown_client_type(name)),
        },
        (4.., _) if option_is(b"ID") => match named(question) {
            Some(cards) => cards,
            None => return reply.error(b"ERR Invalid client ID"),
        },
        _ => return reply.error(b"ERR syntax error"),
    };
    let mut lines = Vec::new();
    for card in cards {
        lines.extend_from_slice(&client_line(&card, question.release, question.now_secs()));
        if lines.len() >= LIST_BYTES {
            break;
        }
    }
    reply.verbatim(&lines);
}

fn of_type(question: &Question<'_>, class: ClientType) -> Vec<Arc<Card>> {
    let mut cards = question.among.cards();
    cards.retain(|card| card.with_facts(Facts::client_type) == class);
    cards
}

/// The clients with the ids asked for, in that order; `None`: one is no number.
fn named(question: &Question<'_>) -> Option<Vec<Arc<Card>>> {
    let mut cards = Vec::new();
    for id in question.request.args().skip(3) {
        let id = strict_integer(id)?;
        cards.extend(u64::try_from(id).ok().and_then(|id| question.among.find(id)));
    }
    Some(cards)
}

/// The line of one client, its end included, with the fields that `release` (major, minor) has.
///
/// The proxy does not account memory, buffers and traffic per client: `qbuf`, `qbuf-free`, `argv-mem`,
/// `multi-mem`, `rbs`, `rbp`, `obl`, `oll`, `omem`, `tot-mem`, `io-thread`, `tot-net-in`, `tot-net-out` and
/// `tot-cmds` are always 0, and `events` is always `r`.
pub fn client_line(card: &Card, release: (u32, u32), now_secs: u32) -> Vec<u8> {
    let origin = card.origin();
    let mut line = Line(Vec::with_capacity(512));
    line.0.extend_from_slice(format!("id={}", origin.id).as_bytes());
    line.text("addr", origin.addr.as_bytes());
    line.text("laddr", origin.laddr.as_bytes());
    line.number("fd", origin.fd);
    let is_blocked = card.is_blocked();
    card.with_facts(|facts| {
        line.text("name", &facts.name);
        line.number("age", now_secs.saturating_sub(origin.created_secs));
        line.number("idle", now_secs.saturating_sub(card.last_secs()));
        line.text("flags", letters(origin, facts, is_blocked).as_bytes());
        line.state(facts, release);
        line.constants(&["qbuf", "qbuf-free", "argv-mem", "multi-mem", "rbs", "rbp"]);
        line.constants(&["obl", "oll", "omem", "tot-mem"]);
        line.text("events", b"r");
        line.text("cmd", card.last_command().map_or("NULL", |spec| spec.full_name_lower()).as_bytes());
        line.text("user", facts.user.as_bytes());
        let redirect = i64::try_from(facts.redirect).unwrap_or(i64::MAX);
        line.number("redir", if facts.marks.contains(Marks::TRACKING) { redirect } else { -1 });
        line.number("resp", facts.version.number());
        if release >= (7, 2) {
            line.text("lib-name", &facts.lib_name);
            line.text("lib-ver", &facts.lib_ver);
        }
    });
    if release >= (8, 0) {
        line.constants(&["io-thread"]);
    }
    if release >= (8, 2) {
        line.constants(&["tot-net-in", "tot-net-out", "tot-cmds"]);
    }
    line.0.push(b'\n');
    line.0
}

/// `name=value` after `name=value`.
struct Line(Vec<u8>);

impl Line {
    fn text(&mut self, name: &str, value: &[u8]) {
        self.0.push(b' ');
        self.0.extend_from_slice(name.as_bytes());
        self.0.push(b'=');
        self.0.extend_from_slice(value);
    }

    fn number(&mut self, name: &str, value: impl Into<i64>) {
        self.text(name, value.into().to_string().as_bytes());
    }

    fn constants(&mut self, names: &[&str]) {
        for name in names {
            self.text(name, b"0");
        }
    }

    fn state(&mut self, facts: &Facts, release: (u32, u32)) {
        self.number("db", facts.database);
        self.number("sub", facts.channels);
        self.number("psub", facts.patterns);
        self.number("ssub", facts.shard_channels);
        self.number("multi", facts.queued.map_or(-1, i64::from));
        if release >= (7, 4) {
            self.number("watch", facts.watched);
        }
    }
}

/// The letters in the server's order; `N`: none.
fn letters(origin: &Origin, facts: &Facts, is_blocked: bool) -> String {
    let has = |mark: Marks| facts.marks.contains(mark);
    let shown = [
        ('O', has(Marks::MONITOR)),
        ('P', facts.is_subscribed()),
        ('x', facts.queued.is_some()),
        ('b', is_blocked || has(Marks::HELD)),
        ('t', has(Marks::TRACKING)),
        ('R', has(Marks::TRACKING_BROKEN_REDIRECT)),
        ('B', has(Marks::TRACKING_BCAST)),
        ('U', origin.is_unix),
        ('r', has(Marks::READONLY)),
        ('e', has(Marks::NO_EVICT)),
        ('T', has(Marks::NO_TOUCH)),
    ];
    let letters: String = shown.iter().filter(|(_, is_shown)| *is_shown).map(|(letter, _)| *letter).collect();
    if letters.is_empty() { "N".to_owned() } else { letters }
}
