//! A session that ends at any moment leaves nobody with a wrong or missing reply, and nothing of itself
//! behind.
//!
//! Every scenario of `cut.txt` is ended at each of its steps in each of the [`Cut`]s, and so is every
//! transcript of `src/session/transcripts` in two of them. In the meantime a session of the same tenant and
//! one of another go on with a conversation whose replies are known. Afterwards Redis lists no connection
//! that waits, listens or is in a transaction, and the sessions that take dedicated connections next see
//! nothing of the former's state.

use std::collections::BTreeMap;
use std::path::Path;

use crate::dialogue::{Act, Line, await_text, lines, shown};
use crate::notation::{Scenario, scenarios};
use crate::servers::{Proxy, RedisServer, Setup};
use crate::wire::{Client, Tree, command, show, words};

/// How a session ends.
#[derive(Clone, Copy, Debug)]
enum Cut {
    /// After the answer to a request, if it has one.
    Answered,
    /// Right behind a request.
    Unanswered,
    /// In the middle of a request.
    InsideRequest,
    /// After an answer, by saying that nothing more will be sent; the proxy closes.
    HalfClosed,
    /// After an answer, by another client of the tenant.
    Killed,
}

const CUTS: [Cut; 5] = [Cut::Answered, Cut::Unanswered, Cut::InsideRequest, Cut::HalfClosed, Cut::Killed];

/// What disturbs other sessions of the same tenant by design; those are tried in `isolation.txt`.
const DISTURBING: [&str; 4] = ["FLUSHALL", "CLIENT KILL", "CLIENT PAUSE", "CLIENT UNBLOCK"];

/// The conversation of the sessions that stay; `{}` is the number of the round.
const CONVERSATION: [(&str, &str); 19] = [
    ("SET w {}", "+OK"),
    ("GET w", "\"{}\""),
    ("RPUSH wl {}", ":1"),
    ("LMPOP 2 none wl LEFT", "[\"wl\", [\"{}\"]]"),
    ("RPUSH wl {}", ":1"),
    ("BLPOP none wl 0", "[\"wl\", \"{}\"]"),
    ("MULTI", "+OK"),
    ("GET w", "+QUEUED"),
    ("DEL w", "+QUEUED"),
    ("EXEC", "[\"{}\", :1]"),
    ("WATCH w", "+OK"),
    ("GET w", "nil"),
    ("MULTI", "+OK"),
    ("SETNX w {}", "+QUEUED"),
    ("EXEC", "[:1]"),
    ("XREAD BLOCK 1 STREAMS none $", "nil*"),
    ("MGET w none", "[\"{}\", nil]"),
    ("GET none", "nil"),
    ("DEL w", ":1"),
];

/// A session that stays.
struct Witness {
    client: Client,
    name: &'static str,
}

impl Witness {
    fn new(mut client: Client, name: &'static str) -> Self {
        // A database of its own, since the sessions that end write in the first.
        assert_eq!("+OK\\r\\n", client.ask("SELECT 1"));
        Self { client, name }
    }

    fn speak(&mut self, round: usize) {
        let said = CONVERSATION.iter().map(|(line, _)| line.replace("{}", &round.to_string()));
        let said: Vec<u8> = said.flat_map(|line| words(&line)).collect();
        self.client.send(&said);
    }

    fn listen(&mut self, round: usize) -> Result<(), String> {
        for (line, reply) in CONVERSATION {
            let heard =
                read(&mut self.client).map_err(|none| format!("{} after `{line}`: {none}", self.name))?;
            let reply = reply.replace("{}", &round.to_string());
            if heard != reply {
                return Err(format!("{} reads {heard} after `{line}` in round {round}", self.name));
            }
        }
        Ok(())
    }
}

fn read(client: &mut Client) -> Result<String, String> {
    client.try_frame().map(|frame| shown(&Tree::of(&frame))).map_err(|none| none.to_string())
}

/// Where sessions end.
struct Stage {
    proxy: Proxy,
    store: Client,
    witnesses: [Witness; 2],
    round: usize,
    _redis: RedisServer,
}

impl Stage {
    fn new() -> Self {
        // Looking often whether somebody has waited for long enough makes hundreds of such waits short.
        let redis = RedisServer::start_with(&["--notify-keyspace-events", "KEA", "--hz", "500"]);
        // One worker, so that every session takes its dedicated connection from the same pool.
        let proxy = Proxy::start(&Setup { workers: 1, ..Setup::for_upstream(redis.url()) });
        let witnesses = [Witness::new(proxy.acme(), "acme"), Witness::new(proxy.globex(), "globex")];
        let store = redis.client();
        Self { proxy, store, witnesses, round: 0, _redis: redis }
    }

    /// Plays a scenario up to a step, ends it there, and looks at what is left.
    fn cut(&mut self, scenario: &Scenario<'_>, step: usize, cut: Cut) -> Result<(), String> {
        self.round += 1;
        let steps = steps_of(scenario);
        for witness in &mut self.witnesses {
            witness.speak(self.round);
        }
        let outcome = self.play(&steps[..=step], cut, scenario.circumstance("resp3").is_some());
        for witness in &mut self.witnesses {
            witness.listen(self.round)?;
        }
        outcome?;
        self.await_idle_connections()?;
        let named = names(&steps);
        self.nothing_is_taken(&named)?;
        self.heirs_inherit_nothing(&named)?;
        self.touch(&named, &["DEL"]);
        Ok(())
    }

    fn play(&mut self, steps: &[Vec<Line>], cut: Cut, is_resp3: bool) -> Result<(), String> {
        let port = self.proxy.acme_port();
        let session = if is_resp3 { Client::tcp_resp3(port) } else { Client::tcp(port) };
        let connect = || Client::tcp(port);
        let mut cast = Cast::with(session, &connect);
        cast.play(steps, cut, &mut || self.await_blocked())?;
        cast.end(cut)
    }

    /// Waits until a connection is listed that waits inside a command for longer than the conversation may
    /// take.
    fn await_blocked(&mut self) -> Result<(), String> {
        for witness in &mut self.witnesses {
            witness.listen(self.round)?;
        }
        self.await_list("no connection is blocked", |list| {
            list.lines().any(|line| flags(line).contains('b'))
        })?;
        self.round += 1;
        for witness in &mut self.witnesses {
            witness.speak(self.round);
        }
        Ok(())
    }

    /// No connection of the proxy waits, listens, tracks, watches commands or is in a transaction.
    fn await_idle_connections(&mut self) -> Result<(), String> {
        self.await_list("a connection is not idle", |list| list.lines().all(is_idle))
    }

    fn await_list(&mut self, complaint: &str, is_so: impl Fn(&str) -> bool) -> Result<(), String> {
        await_list(&mut self.store, complaint, is_so)
    }

    /// What is pushed now is there, and not taken for somebody who has gone.
    fn nothing_is_taken(&mut self, named: &[Vec<u8>]) -> Result<(), String> {
        self.touch(named, &["DEL"]);
        let mut pusher = self.proxy.acme();
        for (line, reply) in [("RPUSH inbox x", ":1"), ("LRANGE inbox 0 -1", "[\"x\"]"), ("DEL inbox", ":1")]
        {
            pusher.send(&words(line));
            let heard = read(&mut pusher)?;
            if heard != reply {
                return Err(format!("`{line}` after the session had ended: {heard}"));
            }
        }
        Ok(())
    }

    /// Whoever takes a dedicated connection next sees nothing of the session that has ended.
    fn heirs_inherit_nothing(&mut self, named: &[Vec<u8>]) -> Result<(), String> {
        self.store.ask("MSET acme:heir acme globex:heir globex");
        let (acme, globex) = (self.proxy.acme_port(), self.proxy.globex_port());
        let mut heirs = [
            ("acme", Client::tcp(acme), "\"acme\""),
            ("globex", Client::tcp(globex), "\"globex\""),
            ("acme in RESP3", Client::tcp_resp3(acme), "\"acme\""),
            ("globex in RESP3", Client::tcp_resp3(globex), "\"globex\""),
        ];
        for (name, heir, value) in &mut heirs {
            expect(
                heir,
                name,
                &[("BLPOP none 0.001", None), ("WATCH heir", Some("+OK")), ("GET heir", Some(value))],
            )?;
        }
        // Whatever the session was tied to.
        self.touch(named, &["SET", "PUBLISH", "SPUBLISH"]);
        for (name, heir, value) in &mut heirs {
            let own = format!("[{value}]");
            let transaction =
                [("MULTI", "+OK"), ("GET heir", "+QUEUED"), ("EXEC", own.as_str()), ("GET heir", value)];
            expect(heir, name, &transaction.map(|(line, reply)| (line, Some(reply))))?;
        }
        Ok(())
    }

    /// Sends commands about every name of a scenario to Redis itself.
    fn touch(&mut self, named: &[Vec<u8>], commands: &[&str]) {
        for name in named {
            let name = [b"acme:", name.as_slice()].concat();
            for verb in commands {
                let mut argv = vec![verb.as_bytes(), &name];
                if *verb != "DEL" {
                    argv.push(b"touched");
                }
                self.store.call(&argv);
            }
        }
    }
}

/// Waits until what Redis lists is as it should be.
fn await_list(store: &mut Client, complaint: &str, is_so: impl Fn(&str) -> bool) -> Result<(), String> {
    await_text(store, &["CLIENT", "LIST"], is_so).map_err(|list| format!("{complaint}:\n{list}"))
}

fn has_blocked(list: &str) -> bool {
    list.lines().any(|line| flags(line).contains('b'))
}

/// The session that is to end, and those beside it.
struct Cast<'a> {
    /// Connects another session of the tenant.
    connect: &'a dyn Fn() -> Client,
    /// By their place in the scenario, with the numbers the tenant knows them by.
    clients: BTreeMap<char, (Client, Vec<u8>)>,
}

impl<'a> Cast<'a> {
    fn with(session: Client, connect: &'a dyn Fn() -> Client) -> Self {
        let mut cast = Self { connect, clients: BTreeMap::new() };
        cast.enter('1', session);
        cast
    }

    /// Asked before anything else: a subscriber may not ask later.
    fn enter(&mut self, who: char, mut client: Client) {
        let id = Tree::of(&client.call(&["CLIENT", "ID"])).payload().to_vec();
        self.clients.insert(who, (client, id));
    }

    fn client(&mut self, who: char) -> &mut Client {
        if !self.clients.contains_key(&who) {
            self.enter(who, (self.connect)());
        }
        &mut self.clients.get_mut(&who).expect("it has entered").0
    }

    /// A request; `{2}` stands for the number of the second client.
    fn request(&mut self, argv: &[Vec<u8>]) -> Vec<u8> {
        let named = |word: &Vec<u8>| match word.as_slice() {
            [b'{', who, b'}'] => {
                self.client(char::from(*who));
                self.clients[&char::from(*who)].1.clone()
            }
            _ => word.clone(),
        };
        command(&argv.iter().map(named).collect::<Vec<_>>())
    }

    /// Plays steps up to where the session is to end.
    fn play(
        &mut self,
        steps: &[Vec<Line>],
        cut: Cut,
        await_blocked: &mut dyn FnMut() -> Result<(), String>,
    ) -> Result<(), String> {
        for (index, step) in steps.iter().enumerate() {
            let is_last = index + 1 == steps.len();
            for line in step {
                match &line.act {
                    Act::Asks(argv) => {
                        let request = self.request(argv);
                        let is_half = is_last && matches!(cut, Cut::InsideRequest);
                        let length = if is_half { request.len() / 2 } else { request.len() };
                        // A session that has said QUIT may be closed already.
                        drop(self.client(line.who).try_send(&request[..length]));
                    }
                    Act::Reads(expected) => self.read(line.who, expected)?,
                    Act::Directs(_) => await_blocked()?,
                    Act::Utters(_) | Act::Leaves => return Err(format!("`{}` is no step", line.text)),
                }
                if is_last && matches!(cut, Cut::Unanswered | Cut::InsideRequest) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn read(&mut self, who: char, expected: &str) -> Result<(), String> {
        let heard = read(self.client(who)).map_err(|none| format!("`{expected}`: {none}"))?;
        let is_so = expected == "(any)" || heard.trim_end() == expected;
        if is_so { Ok(()) } else { Err(format!("`{expected}`: read {heard}")) }
    }

    /// Ends the session.
    fn end(mut self, cut: Cut) -> Result<(), String> {
        let (mut session, id) = self.clients.remove(&'1').expect("it is there");
        match cut {
            Cut::Answered | Cut::Unanswered | Cut::InsideRequest => return Ok(()),
            Cut::HalfClosed => session.finish_sending(),
            // None is killed if the session has ended itself.
            Cut::Killed => drop((self.connect)().call(&[b"CLIENT".as_slice(), b"KILL", b"ID", &id])),
        }
        session.try_until_closed().map(drop).map_err(|rest| format!("left open after {}", show(&rest)))
    }
}

/// Sends each line and compares its reply; `None` is any.
fn expect(client: &mut Client, name: &str, lines: &[(&str, Option<&str>)]) -> Result<(), String> {
    for (line, reply) in lines {
        client.try_send(&words(line)).map_err(|error| format!("{name} cannot send: {error}"))?;
        let heard = read(client).map_err(|none| format!("{name} after `{line}`: {none}"))?;
        if reply.is_some_and(|reply| reply != heard) || heard.starts_with("-ERR") {
            return Err(format!("{name} after the session had ended: `{line}` reads {heard}"));
        }
    }
    Ok(())
}

/// The value of `flags` in a line of `CLIENT LIST`.
fn flags(line: &str) -> &str {
    line.split(' ').find_map(|field| field.strip_prefix("flags=")).unwrap_or_default()
}

fn is_idle(line: &str) -> bool {
    let is_at_rest = !flags(line).contains(['b', 'x', 'd', 'P', 't', 'R', 'B', 'O']);
    is_at_rest
        && ["sub=0", "psub=0", "ssub=0", "multi=-1"]
            .iter()
            .all(|field| line.split(' ').any(|word| word == *field))
}

/// A request with what follows it up to the next one.
fn steps_of(scenario: &Scenario<'_>) -> Vec<Vec<Line>> {
    let mut steps: Vec<Vec<Line>> = Vec::new();
    for line in lines(scenario, &str::to_owned) {
        if matches!(line.act, Act::Asks(_)) && line.who == '1' {
            steps.push(Vec::new());
        }
        steps.last_mut().unwrap_or_else(|| panic!("{}: begins with a request", scenario.place)).push(line);
    }
    steps
}

/// Every word that could be the name of something.
fn names(steps: &[Vec<Line>]) -> Vec<Vec<u8>> {
    let requests = steps.iter().flatten().filter_map(|line| match &line.act {
        Act::Asks(words) => Some(words),
        Act::Utters(_) | Act::Reads(_) | Act::Leaves | Act::Directs(_) => None,
    });
    let mut names: Vec<Vec<u8>> = requests.flat_map(|words| words.iter().skip(1).cloned()).collect();
    names.push(b"inbox".to_vec());
    names.sort();
    names.dedup();
    names
}

/// Ends every scenario at each of its steps.
fn cut_everywhere(stage: &mut Stage, scenarios: &[Scenario<'_>], cuts: &[Cut]) -> usize {
    let mut tried = 0;
    for scenario in scenarios {
        for step in 0..steps_of(scenario).len() {
            for cut in cuts {
                tried += 1;
                let outcome = stage.cut(scenario, step, *cut);
                outcome.unwrap_or_else(|failure| {
                    panic!("{}, step {}, {cut:?}: {failure}", scenario.place, step + 1)
                });
            }
        }
    }
    stage.proxy.wait_for("every lease to be counted back", || {
        let page = stage.proxy.admin("/metrics").expect("it answers").body;
        let leases: Vec<&str> = page.lines().filter(|line| line.starts_with("tenantry_leases{")).collect();
        !leases.is_empty() && leases.iter().all(|line| line.ends_with(" 0"))
    });
    tried
}

/// Otherwise the scenarios would not get to where they are to be cut.
#[test]
fn the_scenarios_are_what_redis_answers() {
    let redis = RedisServer::start_with(&["--notify-keyspace-events", "KEA"]);
    let mut store = redis.client();
    for scenario in scenarios("tests/it/cut.txt", include_str!("cut.txt")) {
        let connect = || redis.client();
        let is_resp3 = scenario.circumstance("resp3").is_some();
        let session = if is_resp3 { Client::tcp_resp3(redis.port) } else { redis.client() };
        let mut cast = Cast::with(session, &connect);
        let mut await_blocked = || await_list(&mut store, "no connection is blocked", has_blocked);
        let played = cast.play(&steps_of(&scenario), Cut::Answered, &mut await_blocked);
        played.unwrap_or_else(|failure| panic!("{}: {failure}", scenario.place));
        drop(cast);
        await_list(&mut store, "a connection is not idle", |list| list.lines().all(is_idle)).unwrap();
        assert_eq!("+OK\\r\\n", store.ask("FLUSHALL"));
    }
}

#[test]
fn sessions_with_connections_of_their_own_may_end_at_any_step() {
    let scenarios = scenarios("tests/it/cut.txt", include_str!("cut.txt"));
    let tried = cut_everywhere(&mut Stage::new(), &scenarios, &CUTS);
    assert!(tried >= 300, "only {tried} sessions were cut");
}

#[test]
fn sessions_of_the_transcripts_may_end_at_any_step() {
    let mut stage = Stage::new();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/session/transcripts");
    let mut tried = 0;
    for entry in std::fs::read_dir(directory).expect("the transcripts are there") {
        let path = entry.expect("a directory entry").path();
        if path.extension().is_some_and(|extension| extension == "txt") {
            let text = std::fs::read_to_string(&path).expect("UTF-8");
            let written = scenarios(&path.display().to_string(), &text);
            let mut requests: Vec<Scenario<'_>> =
                written.into_iter().filter(|one| !is_disturbing(one)).collect();
            // What the proxy answers there, to tenants of its own, is not what is answered here.
            for one in &mut requests {
                one.dialogue.retain(|line| line.starts_with("> "));
            }
            requests.retain(|one| !one.dialogue.is_empty());
            tried += cut_everywhere(&mut stage, &requests, &[Cut::Unanswered, Cut::HalfClosed]);
        }
    }
    assert!(tried >= 500, "only {tried} sessions were cut");
}

fn is_disturbing(scenario: &Scenario<'_>) -> bool {
    scenario.dialogue.iter().any(|line| DISTURBING.iter().any(|words| line.to_uppercase().contains(words)))
}
