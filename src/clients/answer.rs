//! Commands that are answered from what is known about a tenant's clients.
//!
//! Argument checks and error texts are those of Redis 7.0.15, later releases where they differ. How many words
//! a command takes at least was checked when its row was found ([`identify`](crate::command::identify)).

use super::card::Card;
use super::mailbox::{Note, UnblockAs};
use super::pause::Pause;
use super::roll::TenantClients;
use super::{c_string, is_word, kill, latency, listing, slow_log};
use crate::command::CommandSpec;
use crate::resp::Request;
use crate::resp::reply::ReplyWriter;
use crate::resp::scan::strict_integer;

/// What an answer is made from.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// Who asks.
    pub asker: &'a Card,
    /// The clients of the asker's tenant.
    pub among: &'a TenantClients,
    /// The command.
    pub spec: &'static CommandSpec,
    /// The request.
    pub request: Request<'a>,
    /// Major and minor version of the upstream.
    pub release: (u32, u32),
    /// Milliseconds since the epoch of all times here.
    pub now_ms: u64,
    /// Whether the asker's tenant has a user of this name besides `default`.
    pub has_user: &'a dyn Fn(&[u8]) -> bool,
}

/// What follows an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a client that killed itself must be closed"]
pub enum Outcome {
    /// Nothing special.
    Stay,
    /// The asker's own connection ends once its reply has left.
    CloseAfterReply,
}

impl Question<'_> {
    /// Seconds since the epoch of all times here.
    pub(super) fn now_secs(&self) -> u32 {
        u32::try_from(self.now_ms / 1000).unwrap_or(u32::MAX)
    }

    /// The error for a subcommand with more words than any of its forms has.
    pub(super) fn refuse_arguments(&self, reply: &mut ReplyWriter<'_>) {
        let container = self.spec.container().map_or("", |container| container.name);
        let word = c_string(self.request.arg(1).unwrap_or_default());
        let start = b"ERR unknown subcommand or wrong number of arguments for '";
        let end = format!("'. Try {container} HELP.");
        reply.error(&[start, word, end.as_bytes()].concat());
    }
}

/// Writes the answer to a question; `None`: it is not one that is answered here, and nothing is written.
///
/// The asker's card is touched first, for its own line in the answer.
pub fn answer(question: &Question<'_>, reply: &mut ReplyWriter<'_>) -> Option<Outcome> {
    question.asker.touch(u16::try_from(question.spec.index()).unwrap_or(u16::MAX), question.now_secs());
    let clients = question.among;
    match question.spec.name {
        "CLIENT INFO" => listing::info(question, reply),
        "CLIENT LIST" => listing::list(question, reply),
        "CLIENT KILL" => return Some(kill::kill(question, reply)),
        "CLIENT UNBLOCK" => unblock(question, reply),
        "CLIENT PAUSE" => pause(question, reply),
        "CLIENT UNPAUSE" => {
            clients.unpause();
            reply.simple("OK");
        }
        "SLOWLOG GET" => slow_log::entries(question, reply),
        "SLOWLOG LEN" => reply.integer(i64::try_from(clients.slow_log().len()).unwrap_or(i64::MAX)),
        "SLOWLOG RESET" => {
            clients.slow_log().reset();
            reply.simple("OK");
        }
        "SLOWLOG HELP" => help(slow_log::HELP, reply),
        "LATENCY LATEST" | "LATENCY HISTORY" => latency::samples(reply),
        "LATENCY RESET" => latency::reset(reply),
        "LATENCY GRAPH" => latency::graph(question, reply),
        "LATENCY DOCTOR" => latency::doctor(reply),
        "LATENCY HISTOGRAM" => latency::histogram(reply),
        "LATENCY HELP" => help(latency::HELP, reply),
        "PUBSUB NUMPAT" => reply.integer(i64::try_from(clients.distinct_patterns()).unwrap_or(i64::MAX)),
        _ => return None,
    }
    Some(Outcome::Stay)
}

fn help(lines: &[&str], reply: &mut ReplyWriter<'_>) {
    reply.array(lines.len());
    for line in lines {
        reply.simple(line);
    }
}

/// `CLIENT UNBLOCK id [TIMEOUT|ERROR]`.
fn unblock(question: &Question<'_>, reply: &mut ReplyWriter<'_>) {
    let request = question.request;
    if request.argc() > 4 {
        return question.refuse_arguments(reply);
    }
    let reason = match request.arg(3) {
        None => UnblockAs::Timeout,
        Some(word) if is_word(word, b"TIMEOUT") => UnblockAs::Timeout,
        Some(word) if is_word(word, b"ERROR") => UnblockAs::Error,
        Some(_) => return reply.error(b"ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"),
    };
    let Some(id) = strict_integer(request.arg(2).unwrap_or_default()) else {
        return reply.error(b"ERR value is not an integer or out of range");
    };
    let target = u64::try_from(id).ok().and_then(|id| question.among.find(id));
    let is_unblocked = target.is_some_and(|card| card.post(Note::Unblock(reason)));
    reply.integer(i64::from(is_unblocked));
}

/// `CLIENT PAUSE timeout [WRITE|ALL]`.
fn pause(question: &Question<'_>, reply: &mut ReplyWriter<'_>) {
    let request = question.request;
    if request.argc() > 4 {
        return question.refuse_arguments(reply);
    }
    let is_all = match request.arg(3) {
        None => true,
        Some(word) if is_word(word, b"ALL") => true,
        Some(word) if is_word(word, b"WRITE") => false,
        Some(_) => return reply.error(b"ERR CLIENT PAUSE mode must be WRITE or ALL"),
    };
    let Some(timeout) = strict_integer(request.arg(2).unwrap_or_default()) else {
        return reply.error(b"ERR timeout is not an integer or out of range");
    };
    let Ok(timeout) = u64::try_from(timeout) else { return reply.error(b"ERR timeout is negative") };
    let end = question.now_ms.saturating_add(timeout);
    match i64::try_from(end) {
        Ok(_) => question.among.pause(Pause { until_ms: end, is_all }, question.now_ms),
        Err(_) if question.release >= (7, 2) => return reply.error(b"ERR timeout is out of range"),
        // Redis 7.0 adds without looking: the end lies in the past.
        Err(_) => {}
    }
    reply.simple("OK");
}

/// The error for a `TYPE` that is none.
pub(super) fn unknown_client_type(name: &[u8]) -> Vec<u8> {
    [b"ERR Unknown client type '", c_string(name), b"'"].concat()
}
