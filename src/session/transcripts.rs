//! Sessions without sockets: what a client sends, and what becomes of it, as text.
//!
//! The scenarios are in `transcripts/*.txt`, their notation in `transcripts/notation.rs`.

mod notation;

use std::fmt::Write as _;
use std::sync::Arc;

use bytes::BytesMut;

use notation::{Scenario, escaped, scenarios, words};

use super::machine::{Session, Step, Surroundings, UpstreamView};
use super::persona::Persona;
use crate::command::{Located, Release, Service, TABLE};
use crate::resp::cursor::{Cursor, Value};
use crate::resp::{OwnedRequest, SendQueue};
use crate::routing::Topology;
use crate::tenant::UpstreamLimits;
use crate::tenant::directory::{Binding, Directory, TenantEntry, User, UserName};
use crate::tenant::prefix::{Prefix, TenantName};
use crate::tenant::secret::Secret;
use crate::upstream::Greeting;

/// Small enough for a scenario to exceed.
const LIMITS: UpstreamLimits = UpstreamLimits { max_bulk: 64, max_request: 4096 };

const FILES: &[(&str, &str)] = &[
    ("binding.txt", include_str!("transcripts/binding.txt")),
    ("local.txt", include_str!("transcripts/local.txt")),
    ("persona.txt", include_str!("transcripts/persona.txt")),
    ("refused.txt", include_str!("transcripts/refused.txt")),
    ("replies.txt", include_str!("transcripts/replies.txt")),
];

// ---- The world of every scenario ----

/// Tenants acme (listener, user alice), globex (listener, user bob; on request also the user `default`) and
/// archive (user reports, with a feature and a home database).
fn directory(has_default_user: bool) -> Directory {
    let user = |name: &str, password: &str| User {
        name: UserName::parse(name).expect("a user's name"),
        secrets: vec![Secret::of_password(password.as_bytes())],
        feature: None,
        database: 0,
    };
    let tenant = |name: &str, has_listener, users| {
        let name = TenantName::parse(name).expect("a tenant's name");
        let prefix = name.default_prefix();
        TenantEntry { name, prefix, upstream: 0, databases: 16, has_listener, users }
    };
    let feature = Some(Prefix::parse("reports:").expect("a prefix"));
    let reports = User { feature, database: 2, ..user("reports", "reports-pw") };
    let mut of_globex = vec![user("bob", "bob-pw")];
    of_globex.extend(has_default_user.then(|| user("default", "default-pw")));
    Directory::new(&[
        tenant("acme", true, vec![user("alice", "alice-pw")]),
        tenant("globex", true, of_globex),
        tenant("archive", false, vec![reports]),
    ])
    .expect("a directory")
}

/// What a server of this version has, as far as the table says when commands came.
fn persona(version: &str) -> Persona {
    let release = |text: &str| -> Vec<u32> { text.split('.').map_while(|part| part.parse().ok()).collect() };
    let is_old = |since: Release| matches!(since, Release::In(first) if release(first) <= release(version));
    // Modules have versions of their own, and this server has none.
    let commands = TABLE.iter().filter(|row| is_old(row.since.redis) && !row.name.contains('.'));
    let commands = commands.map(|row| row.name.to_ascii_lowercase().replace(' ', "|")).collect();
    Persona::from_greeting(&Greeting { version: version.into(), commands, ..Greeting::default() })
}

// ---- Scenarios ----

/// Plays the client's lines; returns the whole dialogue as it really went.
fn play(scenario: &Scenario<'_>) -> Vec<String> {
    let directory = directory(scenario.circumstance("default user").is_some());
    let home: Option<Arc<Binding>> = match scenario.circumstance("listener").unwrap_or("acme") {
        "of nobody" => None,
        name => directory.listener_binding(&TenantName::parse(name).expect("a tenant's name")),
    };
    let persona = persona(scenario.circumstance("upstream").unwrap_or("7.0.15"));
    let views = [UpstreamView { persona, topology: Topology::standalone(), limits: LIMITS }];
    let unknown = Persona::default();
    let around = Surroundings { directory: &directory, upstreams: &views, unknown: &unknown };
    let mut session = Session::new(home);
    let mut went = Vec::new();
    for said in scenario.dialogue.iter().filter(|line| line.starts_with("> ")) {
        went.push((*said).to_owned());
        let request = OwnedRequest::from_args(&words(&said[2..])).expect("a request has words");
        let (mut located, mut answer) = (Located::new(), BytesMut::new());
        let (step, _) = session.on_request(request.as_request(), &around, &mut located, None, &mut answer);
        went.extend(tell(&step, &answer));
    }
    went
}

/// A step in the notation of the transcripts.
fn tell(step: &Step<'_>, reply: &[u8]) -> Vec<String> {
    let answer = format!("< {}", escaped(reply));
    match step {
        Step::Forward { routed, is_wanted } => {
            let mut queue = SendQueue::default();
            routed.queue(&mut queue);
            let unwanted = if *is_wanted { "" } else { " (unwanted)" };
            vec![format!("-> {}{unwanted}", written_out(queue.tail()))]
        }
        Step::Answer => vec![answer],
        Step::AnswerThenClose if reply.is_empty() => vec!["(close)".to_owned()],
        Step::AnswerThenClose => vec![answer, "(close)".to_owned()],
        Step::Silence => vec!["(silence)".to_owned()],
        Step::Close => vec!["(close)".to_owned()],
    }
}

/// A request as a line of words.
fn written_out(request: &[u8]) -> String {
    let mut cursor = Cursor::new(request);
    let mut words = Vec::new();
    while let Some(value) = cursor.next_value() {
        if let Value::Bulk(word) = value {
            let text = escaped(word);
            words.push(if text.is_empty() || text.contains(' ') { format!("'{text}'") } else { text });
        }
    }
    words.join(" ")
}

// ---- Tests ----

#[test]
fn sessions_go_as_their_transcripts_say() {
    let mut differences = String::new();
    for scenario in FILES.iter().flat_map(|(file, text)| scenarios(file, text)) {
        let went = play(&scenario);
        if scenario.dialogue != went {
            let written = scenario.dialogue.join("\n  ");
            let went = went.join("\n  ");
            write!(differences, "\n{}\nwritten:\n  {written}\nwent:\n  {went}\n", scenario.place)
                .expect("a string takes everything");
        }
    }
    assert_eq!("", differences, "{differences}");
}

/// `CLUSTER` subcommands have one answer, which a loop checks; everything else has its lines.
#[test]
fn every_command_that_the_proxy_answers_is_in_a_transcript() {
    let said: Vec<String> = FILES
        .iter()
        .flat_map(|(_, text)| text.lines())
        .filter_map(|line| line.strip_prefix("> "))
        .map(str::to_ascii_uppercase)
        .collect();
    let is_said = |name: &str| said.iter().any(|line| line == name || line.starts_with(&format!("{name} ")));
    let missing: Vec<&str> = TABLE
        .iter()
        .filter(|row| row.service() == Service::Local && !row.name.starts_with("CLUSTER "))
        .map(|row| row.name)
        .filter(|name| !is_said(name))
        .collect();
    assert!(missing.is_empty(), "no transcript has {missing:?}");
}

#[test]
fn every_command_that_the_proxy_answers_has_an_answer() {
    let directory = directory(false);
    let home = directory.listener_binding(&TenantName::parse("acme").expect("a tenant's name"));
    let persona = Persona::default();
    let views = [UpstreamView { persona: persona.clone(), topology: Topology::standalone(), limits: LIMITS }];
    let around = Surroundings { directory: &directory, upstreams: &views, unknown: &persona };
    let mut unanswered = Vec::new();
    for row in TABLE.iter().filter(|row| row.service() == Service::Local) {
        let mut words: Vec<&str> = row.name.split(' ').collect();
        while !row.accepts(words.len()) {
            words.push("x");
        }
        let request = OwnedRequest::from_args(&words).expect("a request has words");
        let (mut located, mut answer) = (Located::new(), BytesMut::new());
        let mut session = Session::new(home.clone());
        session.on_request(request.as_request(), &around, &mut located, None, &mut answer);
        if row.name.starts_with("CLUSTER ") {
            assert_eq!(b"-ERR This instance has cluster support disabled\r\n".as_slice(), &answer);
        }
        if answer.starts_with(b"-ERR unknown") {
            unanswered.push(row.name);
        }
    }
    // No open-source server knows it; that it is unknown is the answer.
    assert_eq!(vec!["CLIENT MAINT_NOTIFICATIONS"], unanswered);
}
