//! What a hostile tenant tries: `isolation.txt`, played in two worlds at once.
//!
//! In the first, tenant globex has data, channels and clients at work. In the second it has nothing. Whatever
//! acme reads may not depend on which of them it is in, may not contain what belongs to globex or to the
//! server, and must be the frame that the table says. After every attempt globex' data and the server's state
//! are what they were, and each of globex' clients does its next piece of work and has heard nothing else.
//!
//! What the table says acme reads is tried on a Redis of acme's own as well, so that an attempt is one that a
//! Redis takes seriously, and not a misspelt command.

mod bystanders;
mod stage;

use std::collections::{BTreeMap, BTreeSet};

use crate::dialogue::{Act, Line, lines, shown, shown_unordered};
use crate::notation::{Scenario, scenarios};
use crate::servers::{Kind, Proxy, RedisServer, Setup};
use crate::texts::NOT_YET;
use crate::wire::{Client, NoFrame, Tree, command, show};
use stage::{Databases, Stage, await_blocked};

/// What is played.
const TABLE: &str = include_str!("isolation.txt");

/// So many attempts at least.
const ATTEMPTS: usize = 150;

/// More failures than this say nothing new, and each may have waited for a reply in vain.
const FAILURES_SHOWN: usize = 12;

/// Requests longer than this are sent from a thread of their own: a proxy that is owed its replies' reading
/// need not read on.
const SENT_AT_ONCE: usize = 64 * 1024;

fn attempts() -> Vec<Scenario<'static>> {
    scenarios("tests/it/isolation.txt", TABLE)
}

#[test]
fn the_list_of_attempts_is_long_and_has_no_title_twice() {
    let attempts = attempts();
    let titles: BTreeSet<&str> =
        attempts.iter().filter_map(|one| one.place.split_once(": ")).map(|(_, t)| t).collect();
    assert_eq!(attempts.len(), titles.len());
    assert!(attempts.len() >= ATTEMPTS, "{} attempts", attempts.len());
}

#[test]
fn no_attempt_shows_or_changes_anything_of_another_tenant() {
    try_all(Kind::Standalone, Databases::Virtual);
}

#[test]
fn nor_does_one_where_sentinels_say_which_server_it_is() {
    try_all(Kind::Sentinel, Databases::Virtual);
}

#[test]
fn nor_does_one_where_tenants_share_the_databases_of_the_server() {
    try_all(Kind::Standalone, Databases::Native);
}

fn try_all(kind: Kind, databases: Databases) {
    let mut inhabited = Stage::with_globex(kind, databases);
    let mut deserted = Stage::without_globex(kind, databases);
    let mut failures = 0;
    let is_virtual = matches!(databases, Databases::Virtual);
    for attempt in attempts().iter().filter(|one| is_virtual || one.circumstance("virtual").is_none()) {
        let outcome = try_in_both(attempt, &mut inhabited, &mut deserted);
        if let Err(failure) = outcome {
            // At once, since there may be no recovery from it.
            println!("{}\n    {failure}", attempt.place);
            failures += 1;
            inhabited.recover();
            deserted.recover();
        }
        if failures >= FAILURES_SHOWN {
            break;
        }
    }
    assert_eq!(0, failures, "attempts that did not end as they should; they are printed above");
}

/// Not in the table, since Redis does not let a client end such a pause.
#[test]
fn a_tenant_that_pauses_all_its_clients_pauses_nobody_else() {
    let mut stage = Stage::with_globex(Kind::Standalone, Databases::Virtual);
    let (mut acme, mut paused) = (stage.acme(false, false), stage.acme(false, false));
    assert_eq!("+OK\\r\\n", acme.ask("CLIENT PAUSE 3600000 ALL"));
    paused.send(&command(&["GET", "k"]));
    stage.globex_works().unwrap();
    stage.is_as_it_was().unwrap();
}

/// Connections of their own are shared by all tenants, and so many there are here.
const LEASES: usize = 6;

#[test]
fn a_tenant_that_takes_every_lease_leaves_others_an_error_and_everything_else() {
    let redis = RedisServer::start();
    let mut setup = Setup::for_upstream(redis.url());
    setup.upstream_lines = format!("max_leases = {LEASES}\nlease_wait = \"50ms\"");
    let proxy = Proxy::start(&setup);
    let mut greedy: Vec<Client> = (0..LEASES).map(|_| proxy.acme()).collect();
    for client in &mut greedy {
        client.send(&command(&["BLPOP", "nosuch", "0"]));
    }
    await_blocked(&mut redis.client(), LEASES as u64).unwrap();
    let mut globex = proxy.globex();
    for waiting in ["BLPOP list 0", "WATCH k", "SUBSCRIBE news"] {
        let refusal = "-UNAVAILABLE upstream \\'main\\': no connection of its own for this client \
                       within 50 ms; the command was not sent\\r\\n";
        assert_eq!(refusal, globex.ask(waiting), "{waiting}");
    }
    for (line, reply) in [
        ("SET k v", "+OK\\r\\n"),
        ("MULTI", "+OK\\r\\n"),
        ("GET k", "+QUEUED\\r\\n"),
        ("EXEC", "*1\\r\\n$1\\r\\nv\\r\\n"),
        ("PUBLISH news x", ":0\\r\\n"),
        ("DBSIZE", ":1\\r\\n"),
        ("KEYS *", "*1\\r\\n$1\\r\\nk\\r\\n"),
    ] {
        assert_eq!(reply, globex.ask(line), "{line}");
    }
    drop(greedy);
    await_blocked(&mut redis.client(), 0).unwrap();
    // The last of them gives its place up when the proxy sees that it has gone.
    proxy.wait_for("a lease", || globex.ask("WATCH k") == "+OK\\r\\n");
    globex.send(&command(&["BLPOP", "list", "0"]));
    assert_eq!(":1\\r\\n", proxy.globex().ask("RPUSH list x"));
    assert_eq!("*2\\r\\n$4\\r\\nlist\\r\\n$1\\r\\nx\\r\\n", show(&globex.frame()));
}

#[test]
fn attempts_are_answered_as_by_a_redis_of_acmes_own() {
    let mut stage = Stage::direct();
    let mut failures = Vec::new();
    let mut tried = 0;
    for attempt in attempts().iter().filter(|attempt| attempt.circumstance("differs").is_none()) {
        stage.set();
        tried += 1;
        if let Err(failure) = Play::new(&stage, attempt, None).run(&mut stage) {
            failures.push(format!("{}\n    {failure}", attempt.place));
            stage.recover();
        }
    }
    assert!(failures.is_empty(), "{} attempts failed:\n{}", failures.len(), failures.join("\n"));
    assert!(tried >= ATTEMPTS / 2, "only {tried} attempts can be compared");
}

/// Plays one attempt where globex is, and then, with the same bytes, where it is not.
fn try_in_both(attempt: &Scenario<'_>, inhabited: &mut Stage, deserted: &mut Stage) -> Result<(), String> {
    inhabited.set();
    deserted.set();
    let read = Play::new(inhabited, attempt, None).run(inhabited)?;
    inhabited.globex_works()?;
    inhabited.is_as_it_was()?;
    let elsewhere = Play::new(inhabited, attempt, Some(&read)).run(deserted);
    elsewhere.map(drop).map_err(|failure| format!("where globex is not: {failure}"))
}

/// Frames that the lines `(same)` of an attempt have read.
type Read = Vec<String>;

/// One attempt while it is played.
struct Play<'a> {
    lines: Vec<Line>,
    /// The listener of the first connection, and its version of RESP.
    is_stranger: bool,
    is_resp3: bool,
    /// What no frame may contain.
    marks: Vec<Vec<u8>>,
    clients: BTreeMap<char, Client>,
    /// What `(same)` lines have read, and what they are compared with.
    read: Read,
    elsewhere: Option<&'a Read>,
}

impl<'a> Play<'a> {
    /// `stage` gives values to the names in braces.
    fn new(stage: &Stage, attempt: &Scenario<'_>, elsewhere: Option<&'a Read>) -> Self {
        let lines = lines(attempt, &|text| stage.fill(text));
        let by_acme = lines.iter().filter(|line| line.who != 'g');
        let sent: Vec<u8> = by_acme
            .flat_map(|line| match &line.act {
                Act::Asks(words) => words.concat(),
                Act::Utters(bytes) => bytes.clone(),
                Act::Reads(_) | Act::Leaves | Act::Directs(_) => Vec::new(),
            })
            .collect();
        let is_told = |mark: &[u8]| sent.windows(mark.len()).any(|window| window == mark);
        Self {
            // What acme says itself, it may hear again.
            marks: stage.marks().into_iter().filter(|mark| !is_told(mark)).collect(),
            is_stranger: attempt.circumstance("listener").is_some(),
            is_resp3: attempt.circumstance("resp3").is_some(),
            lines,
            clients: BTreeMap::new(),
            read: Read::new(),
            elsewhere,
        }
    }

    fn run(mut self, stage: &mut Stage) -> Result<Read, String> {
        let mut request = String::new();
        for line in std::mem::take(&mut self.lines) {
            self.perform(&line, stage).map_err(|failure| format!("{request} {}: {failure}", line.text))?;
            if matches!(line.act, Act::Asks(_) | Act::Utters(_)) {
                request = line.text;
            }
        }
        stage.globex_works()?;
        for (who, client) in std::mem::take(&mut self.clients) {
            self.end(client).map_err(|failure| format!("connection {who}: {failure}"))?;
        }
        Ok(self.read)
    }

    fn perform(&mut self, line: &Line, stage: &mut Stage) -> Result<(), String> {
        if line.who == 'g' {
            return stage.globex(&line.act);
        }
        match &line.act {
            Act::Directs(direction) => return stage.direct_play(direction),
            Act::Leaves => {
                let client = self.clients.remove(&line.who);
                // A thread may still be sending for it.
                client.expect("it has come").finish_sending();
            }
            Act::Asks(words) => {
                let sent = self.client(line.who, stage).try_send(&command(words));
                sent.map_err(|error| error.to_string())?;
            }
            Act::Utters(bytes) if bytes.len() <= SENT_AT_ONCE => {
                self.client(line.who, stage).try_send(bytes).map_err(|error| error.to_string())?;
            }
            Act::Utters(bytes) => drop(self.client(line.who, stage).send_beside(bytes.clone())),
            Act::Reads(expected) => {
                let frame = self.client(line.who, stage).try_frame();
                return self.compare(expected, frame);
            }
        }
        Ok(())
    }

    fn client(&mut self, who: char, stage: &Stage) -> &mut Client {
        let (is_stranger, is_resp3) = (self.is_stranger && who == '1', self.is_resp3 && who == '1');
        self.clients.entry(who).or_insert_with(|| stage.acme(is_stranger, is_resp3))
    }

    fn compare(&mut self, expected: &str, frame: Result<Vec<u8>, NoFrame>) -> Result<(), String> {
        let frame = match (expected, frame) {
            ("(close)", Err(NoFrame::Closed(rest))) if rest.is_empty() => return Ok(()),
            (_, Err(none)) => return Err(none.to_string()),
            (_, Ok(frame)) => frame,
        };
        self.is_clean(&frame)?;
        let heard = shown(&Tree::of(&frame));
        let (is_so, heard) = match expected.split_once(") ").unwrap_or((expected, "")) {
            ("(any)", _) => (!heard.contains(NOT_YET), heard),
            ("(denied)", _) => (is_denied(&heard), heard),
            ("(refused)", _) => (is_denied(&heard) || heard.contains(NOT_YET), heard),
            ("(same)", _) => return self.is_the_same(shown_unordered(&Tree::of(&frame))),
            ("(alike)", _) => return self.is_the_same(without_chance(&heard)),
            ("(unordered", expected) => {
                let heard = shown_unordered(&Tree::of(&frame));
                (heard == expected, heard)
            }
            _ => (heard.trim_end() == expected, heard),
        };
        if is_so { Ok(()) } else { Err(format!("read {heard}")) }
    }

    /// Notes the frame, or compares it with what was noted elsewhere.
    fn is_the_same(&mut self, heard: String) -> Result<(), String> {
        let noted = self.elsewhere.and_then(|read| read.get(self.read.len()));
        if heard.contains(NOT_YET) {
            return Err(format!("read {heard}"));
        }
        if let Some(noted) = noted.filter(|noted| **noted != heard) {
            return Err(format!("read {heard}, and where globex is {noted}"));
        }
        self.read.push(heard);
        Ok(())
    }

    fn is_clean(&self, bytes: &[u8]) -> Result<(), String> {
        let found = self.marks.iter().find(|mark| bytes.windows(mark.len()).any(|window| window == **mark));
        found.map_or(Ok(()), |mark| Err(format!("`{}` is in {}", show(mark), show(bytes))))
    }

    /// Nothing else has come for a connection when it ends.
    fn end(&self, mut client: Client) -> Result<(), String> {
        client.finish_sending();
        let rest = client.try_until_closed().map_err(|rest| format!("is left open after {}", show(&rest)))?;
        self.is_clean(&rest)?;
        if rest.is_empty() { Ok(()) } else { Err(format!("was also told {}", show(&rest))) }
    }
}

/// Fields of `INFO` and of a line of `CLIENT LIST` that differ from one proxy to the next, or from moment to
/// moment.
const CHANCE: [&str; 17] = [
    "addr",
    "laddr",
    "age",
    "idle",
    "uptime_in_seconds",
    "run_id",
    "process_id",
    "tcp_port",
    "master_replid",
    "instantaneous_ops_per_sec",
    // Workers publish what they have counted four times a second.
    "total_commands_processed",
    "total_net_input_bytes",
    "total_net_output_bytes",
    "connected_clients",
    "lru_clock",
    "server_time_usec",
    "rdb_last_save_time",
];

/// The fields of a text but for those of [`CHANCE`].
fn without_chance(text: &str) -> String {
    let text = text.replace("\\r\\n", " ").replace("\\n", " ");
    let is_kept = |field: &&str| !CHANCE.contains(&field.split([':', '=']).next().unwrap_or_default());
    // The length of the whole comes before it in a verbatim string only.
    text.split([' ', '"']).filter(is_kept).collect::<Vec<_>>().join(" ")
}

/// A command that no tenant may use: refused, or unknown.
fn is_denied(heard: &str) -> bool {
    [
        "-NOPERM ",
        "-ERR unknown command",
        "-ERR unknown subcommand",
        "-ERR This instance has cluster support disabled",
    ]
    .iter()
    .any(|start| heard.starts_with(start))
}
