//! The tenant's slow log: its own commands that took the upstream longer than a threshold.

use std::collections::VecDeque;
use std::sync::Mutex;

use super::answer::Question;
use super::card::Card;
use super::locked;
use super::monitor::redacted;
use crate::command::{CommandSpec, Flags};
use crate::resp::Request;
use crate::resp::reply::ReplyWriter;
use crate::resp::scan::strict_integer;

/// Most entries that are kept (`slowlog-max-len`).
const ENTRIES: usize = 128;

/// Entries that `SLOWLOG GET` shows when it is not told how many.
const SHOWN: i64 = 10;

/// Most arguments of an entry; if there are more, the last one says how many.
const ARGS: usize = 32;

/// Most bytes of an argument; what follows them is said in a number.
const ARG_BYTES: usize = 128;

/// One slow command, complete but for its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlowEntry {
    /// When it was noticed, in Unix seconds.
    pub unix_secs: u64,
    /// How long it took.
    pub micros: u64,
    /// What was asked, as the client wrote it: from [`logged_args`].
    pub args: Vec<Box<[u8]>>,
    /// The client's address.
    pub addr: Box<str>,
    /// The client's name.
    pub name: Box<[u8]>,
}

impl SlowEntry {
    /// An entry about a request of `client`, with what [`logged_args`] keeps of it.
    pub fn new(client: &Card, args: Vec<Box<[u8]>>, unix_secs: u64, micros: u64) -> Self {
        let name = client.with_facts(|facts| facts.name.clone());
        Self { unix_secs, micros, args, addr: client.origin().addr.clone(), name }
    }
}

/// The arguments of a request as the slow log keeps them; `None`: it never keeps this command.
pub fn logged_args(spec: &CommandSpec, request: &Request<'_>) -> Option<Vec<Box<[u8]>>> {
    if spec.flags.contains(Flags::SKIP_SLOWLOG) {
        return None;
    }
    let given = request.argc();
    let shown = if given > ARGS { ARGS - 1 } else { given };
    let mut args: Vec<Box<[u8]>> = redacted(spec, request).take(shown).map(truncated).collect();
    if given > shown {
        args.push(format!("... ({} more arguments)", given - shown).into_bytes().into());
    }
    Some(args)
}

fn truncated(arg: &[u8]) -> Box<[u8]> {
    match arg.split_at_checked(ARG_BYTES) {
        Some((shown, rest)) if !rest.is_empty() => {
            let rest = format!("... ({} more bytes)", rest.len());
            [shown, rest.as_bytes()].concat().into()
        }
        _ => arg.into(),
    }
}

/// The slow log of one tenant.
#[derive(Debug, Default)]
pub struct SlowLog {
    inside: Mutex<Inside>,
}

#[derive(Debug, Default)]
struct Inside {
    /// Newest first, each with its number.
    entries: VecDeque<(i64, SlowEntry)>,
    /// `RESET` does not begin again at 0.
    next_id: i64,
}

impl SlowLog {
    /// Keeps an entry; the oldest one goes if there are too many.
    pub fn record(&self, entry: SlowEntry) {
        let mut inside = locked(&self.inside);
        let id = inside.next_id;
        inside.next_id = id.saturating_add(1);
        inside.entries.truncate(ENTRIES - 1);
        inside.entries.push_front((id, entry));
    }

    /// How many are kept.
    pub fn len(&self) -> usize {
        locked(&self.inside).entries.len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets all.
    pub fn reset(&self) {
        locked(&self.inside).entries.clear();
    }

    fn newest(&self, count: usize) -> Vec<(i64, SlowEntry)> {
        locked(&self.inside).entries.iter().take(count).cloned().collect()
    }
}

/// `SLOWLOG GET [count]`.
pub(super) fn entries(question: &Question<'_>, reply: &mut ReplyWriter<'_>) {
    let request = question.request;
    if request.argc() > 3 {
        return question.refuse_arguments(reply);
    }
    let count = match request.arg(2).map(strict_integer) {
        None => SHOWN,
        Some(Some(count)) if count >= -1 => count,
        Some(_) => return reply.error(b"ERR count should be greater than or equal to -1"),
    };
    // -1 means all.
    let entries = question.among.slow_log().newest(usize::try_from(count).unwrap_or(usize::MAX));
    reply.array(entries.len());
    for (id, entry) in entries {
        reply.array(6);
        reply.integer(id);
        reply.integer(i64::try_from(entry.unix_secs).unwrap_or(i64::MAX));
        reply.integer(i64::try_from(entry.micros).unwrap_or(i64::MAX));
        reply.array(entry.args.len());
        for arg in &entry.args {
            reply.bulk(arg);
        }
        reply.bulk(entry.addr.as_bytes());
        reply.bulk(&entry.name);
    }
}

/// `SLOWLOG HELP`.
pub(super) const HELP: &[&str] = &[
    "SLOWLOG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "GET [<count>]",
    "    Return top <count> entries from the slowlog (default: 10, -1 mean all).",
    "    Entries are made of:",
    "    id, timestamp, time in microseconds, arguments array, client IP and port,",
    "    client name",
    "LEN",
    "    Return the length of the slowlog.",
    "RESET",
    "    Reset the slowlog.",
    "HELP",
    "    Prints this help.",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::tests::{Stage, card};
    use crate::command::identify;
    use crate::resp::OwnedRequest;

    fn entry(unix_secs: u64, args: &[&str]) -> SlowEntry {
        let client = card(7);
        client.amend(|facts| facts.name = b"n".as_slice().into());
        SlowEntry::new(&client, args.iter().map(|arg| arg.as_bytes().into()).collect(), unix_secs, 12)
    }

    fn logged(args: &[String]) -> Option<Vec<String>> {
        let request = OwnedRequest::from_args(args).expect("it has words");
        let spec = identify(&request.as_request()).expect("in the table");
        let args = logged_args(spec, &request.as_request())?;
        Some(args.into_iter().map(|arg| String::from_utf8(arg.into()).expect("ASCII")).collect())
    }

    fn strings(words: &str) -> Vec<String> {
        words.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn entries_are_shown_newest_first_with_growing_ids() {
        let stage = Stage::new();
        stage.clients.slow_log().record(entry(100, &["GET", "a"]));
        stage.clients.slow_log().record(entry(101, &["SET", "a", "b"]));
        let newest = "*6\r\n:1\r\n:101\r\n:12\r\n*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nb\r\n$13\r\n10.0.0.1:5007\r\n$1\r\nn\r\n";
        let oldest =
            "*6\r\n:0\r\n:100\r\n:12\r\n*2\r\n$3\r\nGET\r\n$1\r\na\r\n$13\r\n10.0.0.1:5007\r\n$1\r\nn\r\n";
        assert_eq!(format!("*2\r\n{newest}{oldest}"), stage.ask("SLOWLOG GET"));
        assert_eq!(format!("*1\r\n{newest}"), stage.ask("SLOWLOG GET 1"));
        assert_eq!(":2\r\n", stage.ask("SLOWLOG LEN"));
        assert_eq!("+OK\r\n", stage.ask("SLOWLOG RESET"));
        assert_eq!("*0\r\n", stage.ask("SLOWLOG GET -1"));
        stage.clients.slow_log().record(entry(100, &["GET", "a"]));
        assert!(stage.ask("SLOWLOG GET").starts_with("*1\r\n*6\r\n:2\r\n"), "ids go on after a reset");
    }

    #[test]
    fn the_log_keeps_the_newest_128_and_shows_10() {
        let stage = Stage::new();
        for second in 0..300 {
            stage.clients.slow_log().record(entry(second, &["PING"]));
        }
        assert_eq!(":128\r\n", stage.ask("SLOWLOG LEN"));
        assert!(stage.ask("SLOWLOG GET").starts_with("*10\r\n*6\r\n:299\r\n"));
        let all = stage.ask("SLOWLOG GET -1");
        assert!(all.starts_with("*128\r\n*6\r\n:299\r\n") && all.contains("*6\r\n:172\r\n:172\r\n"));
    }

    #[test]
    fn long_arguments_and_many_of_them_are_cut() {
        let mut args = strings("SET k");
        args.push("v".repeat(129));
        let expected = vec!["SET".to_owned(), "k".to_owned(), "v".repeat(128) + "... (1 more bytes)"];
        assert_eq!(Some(expected), logged(&args));
        args[2] = "v".repeat(128);
        assert_eq!(Some(args.clone()), logged(&args));

        let del = |keys: usize| [vec!["DEL".to_owned()], vec!["k".to_owned(); keys]].concat();
        assert_eq!(Some(del(31)), logged(&del(31)));
        let mut expected = del(30);
        expected.push("... (2 more arguments)".to_owned());
        assert_eq!(Some(expected), logged(&del(32)));
    }

    #[test]
    fn passwords_and_exec_are_not_kept() {
        assert_eq!(Some(strings("AUTH (redacted) (redacted)")), logged(&strings("AUTH u p")));
        assert_eq!(None, logged(&strings("EXEC")));
    }
}
