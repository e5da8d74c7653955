//! Sessions without sockets: what a client sends, and what becomes of it, as text.
//!
//! The scenarios are in `transcripts/*.txt`, their notation in `transcripts/notation.rs`.

mod notation;

use std::fmt::Write as _;
use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::BytesMut;

use notation::{Scenario, escaped, scenarios, unescaped, words};

use super::affinity::{Over, Slot, Trace};
use super::batch::{Batch, Due, Part, Sent};
use super::machine::{Peers, Session, Step, Surroundings, UpstreamView};
use super::persona::{Payloads, Persona};
use super::shortage::Shortage;
use super::subscriptions::{Heard, Said, write_invalidation};
use super::ties::Aftermath;
use crate::command::slot::{SLOTS, slot};
use crate::command::{Located, Release, Selection, Service, TABLE};
use crate::resp::cursor::{Cursor, Value};
use crate::resp::{OwnedRequest, SendQueue};
use crate::routing::topology::{MultiKeyScope, NodeId, Shard, Topology};
use crate::tenant::Rules;
use crate::tenant::directory::{
    Binding, DatabaseKind, Directory, OnUnavailable, Order, ReadFrom, TenantEntry, User, UserName,
};
use crate::tenant::limits::Limits;
use crate::tenant::prefix::{Prefix, TenantName};
use crate::tenant::rules::{Sizes, Ttl};
use crate::tenant::secret::Secret;
use crate::tenant::{UpstreamLimits, requests};
use crate::upstream::Greeting;

/// The node of an upstream that is no cluster.
const ONLY: NodeId = NodeId(0);

/// Small enough for a scenario to exceed.
const LIMITS: UpstreamLimits = UpstreamLimits { max_bulk: 64, max_request: 4096 };

const FILES: &[(&str, &str)] = &[
    ("binding.txt", include_str!("transcripts/binding.txt")),
    ("blocking.txt", include_str!("transcripts/blocking.txt")),
    ("cluster.txt", include_str!("transcripts/cluster.txt")),
    ("databases.txt", include_str!("transcripts/databases.txt")),
    ("local.txt", include_str!("transcripts/local.txt")),
    ("persona.txt", include_str!("transcripts/persona.txt")),
    ("refused.txt", include_str!("transcripts/refused.txt")),
    ("replies.txt", include_str!("transcripts/replies.txt")),
    ("rules.txt", include_str!("transcripts/rules.txt")),
    ("subscriptions.txt", include_str!("transcripts/subscriptions.txt")),
    ("tracking.txt", include_str!("transcripts/tracking.txt")),
    ("transactions.txt", include_str!("transcripts/transactions.txt")),
];

// ---- The world of every scenario ----

/// Tenants acme (listener, user alice), globex (listener, user bob; on request also the user `default`) and
/// archive (user reports, with a feature and a home database). All are in the same `circumstances`.
fn directory(has_default_user: bool, database_kind: DatabaseKind, circumstances: Tenancy) -> Directory {
    let Tenancy { order, is_colocated, rules } = circumstances;
    let user = |name: &str, password: &str| User {
        name: UserName::parse(name).expect("a user's name"),
        secrets: vec![Secret::of_password(password.as_bytes())],
        feature: None,
        database: 0,
        rules: Rules::default(),
        limits: None,
    };
    let tenant = |name: &str, has_listener, users| {
        let name = TenantName::parse(name).expect("a tenant's name");
        let prefix = name.default_prefix();
        let prefix = if is_colocated { prefix.colocated().expect("it has a name") } else { prefix };
        TenantEntry {
            name,
            prefix,
            upstream: 0,
            databases: 16,
            database_kind,
            has_cluster_persona: false,
            order,
            read_from: ReadFrom::Primary,
            on_unavailable: OnUnavailable::Error,
            weight: 1,
            has_listener,
            rules: rules.clone(),
            users,
            limits: None,
        }
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

/// What a scenario may want of its tenants.
#[derive(Clone, Default)]
struct Tenancy {
    order: Order,
    is_colocated: bool,
    rules: Rules,
}

fn rules_of(scenario: &Scenario<'_>) -> Rules {
    let number = |name| scenario.circumstance(name).map(|number| number.parse::<u32>().expect("a number"));
    let size = number("largest value").map(|size| size as usize);
    Rules {
        commands: scenario
            .circumstance("commands")
            .map(|rules| Selection::parse(Selection::NONE, rules).expect("good rules")),
        is_read_only: scenario.circumstance("read only").is_some(),
        sizes: Sizes { max_value: size, max_key: size, ..Sizes::default() },
        ttl: Ttl { default: number("default ttl").map(u64::from), max: number("longest ttl").map(u64::from) },
        ..Rules::default()
    }
}

/// A cluster of three shards, nodes 0 to 2, whose slots may move and whose nodes may be replaced.
struct Cluster {
    version: u64,
    primaries: Vec<NodeId>,
    /// The position of the owner of each slot.
    owners: Vec<usize>,
}

impl Cluster {
    fn new() -> Self {
        let owner = |slot: u16| usize::from(slot > 5460) + usize::from(slot > 10922);
        let primaries = (0..3).map(NodeId).collect();
        Self { version: 1, primaries, owners: (0..SLOTS).map(owner).collect() }
    }

    fn topology(&self) -> Topology {
        let shard = |(position, primary): (usize, &NodeId)| {
            let of_it = self.owners.iter().zip(0..).filter(move |(owner, _)| **owner == position);
            let slots: Vec<RangeInclusive<u16>> = of_it.map(|(_, slot)| slot..=slot).collect();
            let replicas = Box::default();
            (Shard { primary: *primary, replicas, nearest: None, identity: 0 }, slots)
        };
        let shards = self.primaries.iter().enumerate().map(shard).collect();
        Topology::cluster(shards).with_version(self.version)
    }

    fn change(&mut self, change: &Change<'_>) {
        self.version += 1;
        match *change {
            Change::Moves { key, to } => {
                let of_key = usize::from(slot(key.as_bytes()));
                let target = self.primaries.iter().position(|node| *node == to);
                self.owners[of_key] = target.unwrap_or_else(|| {
                    self.primaries.push(to);
                    self.primaries.len() - 1
                });
            }
            Change::Replaces { new, old } => {
                self.primaries.iter_mut().filter(|node| **node == old).for_each(|node| *node = new);
            }
        }
    }
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

fn view_of(persona: Persona, payloads: Payloads) -> UpstreamView {
    UpstreamView {
        persona,
        topology: Arc::new(Topology::of_one_node(ONLY)),
        limits: LIMITS,
        payloads,
        database: 0,
    }
}

// ---- Scenarios ----

/// Plays what the client and the upstream say; returns the whole dialogue as it really went.
fn play(scenario: &Scenario<'_>) -> Vec<String> {
    let is_native = scenario.circumstance("native databases").is_some();
    let databases = if is_native { DatabaseKind::Native } else { DatabaseKind::Virtual };
    let order = if scenario.circumstance("relaxed order").is_some() { Order::Relaxed } else { Order::Strict };
    let is_colocated = scenario.circumstance("colocated").is_some();
    let tenancy = Tenancy { order, is_colocated, rules: rules_of(scenario) };
    let directory = directory(scenario.circumstance("default user").is_some(), databases, tenancy);
    let home: Option<Arc<Binding>> = match scenario.circumstance("listener").unwrap_or("acme") {
        "of nobody" => None,
        name => directory.listener_binding(&TenantName::parse(name).expect("a tenant's name")),
    };
    let persona = persona(scenario.circumstance("upstream").unwrap_or("7.0.15"));
    let payloads = match scenario.circumstance("payloads") {
        Some("unchecked") => Payloads::Unchecked,
        Some("unknown") => Payloads::Unknown,
        Some("denied") => Payloads::Denied,
        _ => Payloads::Forwarded,
    };
    let mut cluster = scenario.circumstance("a cluster").map(|_| Cluster::new());
    let mut views = [view_of(persona, payloads)];
    let unknown = Persona::default();
    let mut session = Session::new(home, &PeerOne).expect("no limits");
    let mut went = Vec::new();
    for line in &scenario.dialogue {
        let Some(event) = Event::of(line) else { continue };
        went.push((*line).to_owned());
        if let Some(cluster) = &mut cluster {
            if let Event::Changed(change) = &event {
                cluster.change(change);
            }
            views[0].topology = Arc::new(cluster.topology());
        }
        let around = Surroundings {
            directory: &directory,
            upstreams: &views,
            unknown: &unknown,
            peers: &PeerOne,
            quota: None,
            shortage: Shortage::None,
        };
        went.extend(happened(&mut session, &around, &event));
    }
    went
}

/// A line that is given; the others follow from them.
enum Event<'a> {
    /// The client sends a request, perhaps while it is owed earlier replies.
    Said { words: &'a str, is_owed: bool },
    /// The upstream pushes something.
    Pushed(&'a str),
    /// The upstream ends a connection of the session's own.
    Lost(Slot),
    /// The upstream does not carry out the transaction.
    Failed,
    /// The cluster is not what it was.
    Changed(Change<'a>),
}

/// What may happen to a cluster.
enum Change<'a> {
    /// The slot of a key.
    Moves { key: &'a str, to: NodeId },
    /// A primary by another.
    Replaces { new: NodeId, old: NodeId },
}

impl<'a> Change<'a> {
    fn of(line: &'a str) -> Option<Self> {
        let line = line.strip_prefix('(')?.strip_suffix(')')?;
        let node = |text: &str| text.parse().ok().map(NodeId);
        if let Some(rest) = line.strip_prefix("the slot of ") {
            let (key, to) = rest.split_once(" moves to node ")?;
            return Some(Self::Moves { key, to: node(to)? });
        }
        let (new, old) = line.strip_prefix("node ")?.split_once(" replaces node ")?;
        Some(Self::Replaces { new: node(new)?, old: node(old)? })
    }
}

impl<'a> Event<'a> {
    fn of(line: &'a str) -> Option<Self> {
        let said = |is_owed| move |words| Self::Said { words, is_owed };
        let lost = |slot: &Slot| line == format!("(loses {})", name_of(*slot));
        line.strip_prefix("> ")
            .map(said(false))
            .or_else(|| line.strip_prefix(">> ").map(said(true)))
            .or_else(|| line.strip_prefix("<- ").map(Self::Pushed))
            .or_else(|| (line == "(EXEC fails)").then_some(Self::Failed))
            .or_else(|| Change::of(line).map(Self::Changed))
            .or_else(|| [Slot::Own, Slot::Ear].into_iter().find(lost).map(Self::Lost))
    }
}

fn happened(session: &mut Session, around: &Surroundings<'_>, event: &Event<'_>) -> Vec<String> {
    match *event {
        Event::Said { words, is_owed } => said(session, around, words, is_owed),
        Event::Failed => {
            session.exec_failed();
            Vec::new()
        }
        Event::Pushed(push) => {
            let mut went = heard(session, &unescaped(push));
            went.extend(changed(session, around));
            went
        }
        Event::Changed(_) => changed(session, around),
        Event::Lost(slot) => match session.lost(slot) {
            Aftermath::GoOn => Vec::new(),
            Aftermath::Close => vec!["(close)".to_owned()],
        },
    }
}

fn said(session: &mut Session, around: &Surroundings<'_>, line: &str, is_owed: bool) -> Vec<String> {
    let request = OwnedRequest::from_args(&words(line)).expect("a request has words");
    let (mut went, mut is_owed) = (Vec::new(), is_owed);
    // Asked again when nothing is owed any more, and for each connection that it gets first.
    for number in 1.. {
        let (mut located, mut answer) = (Located::new(), BytesMut::new());
        let (step, _) =
            session.on_request(request.as_request(), around, &mut located, None, (&mut answer, is_owed));
        went.extend(tell(&step, &answer, names_nodes(around)));
        if let Step::Lease(slot, node) = step {
            session.leased(slot, node, number);
        } else if is_owed && matches!(step, Step::Wait) {
            is_owed = false;
        } else {
            break;
        }
    }
    if is_owed {
        return went;
    }
    // Every reply has come: what is needed no more is given back.
    for slot in [Slot::Own, Slot::Ear] {
        let has_some = session.ties().is_some_and(|ties| match slot {
            Slot::Own => ties.own.is_some(),
            Slot::Ear => !ties.ears.is_empty(),
        });
        if has_some && !session.needs(slot) {
            session.released(slot);
            went.push(format!("(gives back {})", name_of(slot)));
        }
    }
    session.unwind();
    went
}

fn heard(session: &mut Session, push: &[u8]) -> Vec<String> {
    let mut out = BytesMut::new();
    match session.hear(push, 0, &mut out) {
        Heard::Invalidation(keys) => {
            write_invalidation(keys.as_deref(), (session.version(), session.version()), &mut out);
        }
        // Nobody has asked for it.
        Heard::Confirmation { ends: true } => {
            if let Some(names) = session.subscriptions() {
                names.mislay(push);
            }
        }
        Heard::Confirmation { ends: false } | Heard::Message | Heard::Nothing => {}
    }
    if out.is_empty() { vec!["(silence)".to_owned()] } else { vec![format!("< {}", escaped(&out))] }
}

/// The session's ears follow the cluster.
fn changed(session: &mut Session, around: &Surroundings<'_>) -> Vec<String> {
    let topology = Arc::clone(&around.upstreams[0].topology);
    let primaries: Vec<NodeId> = topology.shards().iter().map(|shard| shard.primary).collect();
    let owner = |slot| topology.primary_of(Some(slot));
    let mut went = Vec::new();
    let sought = session.subscriptions().map(|names| names.sought(&primaries, owner));
    for node in sought.unwrap_or_default() {
        if session.ties().is_some_and(|ties| ties.seat(Slot::Ear, node).is_none()) {
            session.leased(Slot::Ear, node, 0);
            went.push(format!("(gets its ear{})", to(node, true)));
        }
    }
    let said = session.subscriptions().map(|names| names.realigned(&primaries, owner));
    let namespace = session.namespace_ref().cloned();
    let line = |(node, command, names): Said| {
        let request = requests::subscription(command, &names, namespace.as_ref()?)?;
        let mut queue = SendQueue::default();
        request.as_scoped().queue(&mut queue);
        Some(sent(queue.tail(), Over::Leased(Slot::Ear, Trace::Stain), (node, true), " (for nobody)"))
    };
    went.extend(said.unwrap_or_default().into_iter().filter_map(line));
    went
}

/// Whether it matters which node is meant.
fn names_nodes(around: &Surroundings<'_>) -> bool {
    around.upstreams.iter().any(|view| view.topology.scope() == MultiKeyScope::Slot)
}

fn to(node: NodeId, is_named: bool) -> String {
    if is_named { format!(" to node {}", node.0) } else { String::new() }
}

fn name_of(slot: Slot) -> &'static str {
    match slot {
        Slot::Own => "its own connection",
        Slot::Ear => "its ear",
    }
}

/// A step in the notation of the transcripts.
fn tell(step: &Step<'_>, reply: &[u8], named: bool) -> Vec<String> {
    let answer = format!("< {}", escaped(reply));
    match step {
        Step::Forward { routed, is_wanted, over } => {
            let mut queue = SendQueue::default();
            routed.queue(&mut queue);
            let remark = if *is_wanted { "" } else { " (unwanted)" };
            vec![sent(queue.tail(), *over, (routed.to().node, named), remark)]
        }
        Step::Batch(batch) => batch.requests.iter().flat_map(|one| tell_sent(one, batch, named)).collect(),
        Step::Cut(cut) => {
            let parts = cut.parts.iter().map(|(request, to)| {
                let mut queue = SendQueue::default();
                request.as_scoped().queue(&mut queue);
                sent(queue.tail(), Over::Shared, (to.node, named), " (part)")
            });
            parts.collect()
        }
        Step::Compose { .. } => vec!["(composed)".to_owned()],
        Step::Wait => vec!["(waits)".to_owned()],
        Step::Lease(slot, node) => vec![format!("(gets {}{})", name_of(*slot), to(*node, named))],
        Step::Answer | Step::AnswerAlways | Step::Refused { is_wanted: true } => vec![answer],
        Step::AnswerThenClose if reply.is_empty() => vec!["(close)".to_owned()],
        Step::AnswerThenClose => vec![answer, "(close)".to_owned()],
        Step::Refused { is_wanted: false } | Step::Silence => vec!["(silence)".to_owned()],
        Step::Delay(nanos) => vec![format!("(again in {nanos} ns)")],
        Step::Close => vec!["(close)".to_owned()],
    }
}

/// A request of a batch, and what the client reads once its reply has come, if that is known.
fn tell_sent(one: &Sent, batch: &Batch, named: bool) -> Vec<String> {
    let mut queue = SendQueue::default();
    one.request.as_scoped().queue(&mut queue);
    let (due, answer) = match &one.due {
        Due::Nobody => (" (for nobody)".to_owned(), None),
        Due::Reply | Due::Exec(_) | Due::First(_) if !batch.is_wanted => (" (unwanted)".to_owned(), None),
        Due::Reply => (String::new(), None),
        Due::Answer(answer) => (" (for nobody)".to_owned(), Some(answer.clone()).filter(|_| batch.is_wanted)),
        Due::Confirmations { count, all, .. } => {
            let is_last = batch.requests.last().is_some_and(|last| std::ptr::eq(last, one));
            (format!(" ({count} confirmed)"), is_last.then(|| all.answer()))
        }
        Due::Exec(parts) => {
            let parts = parts.iter().map(|part| match part {
                Part::Upstream(_) => "…".to_owned(),
                Part::Answer(answer) => escaped(answer),
                Part::Unread => "(for nobody)".to_owned(),
            });
            (format!(" ({})", parts.collect::<Vec<_>>().join(", ")), None)
        }
        Due::First(first) if first.is_exec => (" (its first part)".to_owned(), None),
        Due::First(_) => (" (the first of these replies)".to_owned(), None),
    };
    let answer = answer.map(|answer| format!("< {}", escaped(&answer)));
    std::iter::once(sent(queue.tail(), batch.over, (one.node, named), &due)).chain(answer).collect()
}

fn sent(request: &[u8], over: Over, (node, named): (NodeId, bool), remark: &str) -> String {
    let over = match over {
        Over::Shared => "",
        Over::Leased(Slot::Own, _) => " over its own connection",
        Over::Leased(Slot::Ear, _) => " over its ear",
    };
    format!("-> {}{}{over}{remark}", written_out(request), to(node, named))
}

/// Client 1 exists, and no other.
#[derive(Debug)]
struct PeerOne;

impl Peers for PeerOne {
    fn exists(&self, _: usize, id: u64) -> bool {
        id == 1
    }

    fn is_beyond(&self, _: &Limits) {}
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
    let directory = directory(false, DatabaseKind::Virtual, Tenancy::default());
    let home = directory.listener_binding(&TenantName::parse("acme").expect("a tenant's name"));
    let persona = Persona::default();
    let views = [view_of(persona.clone(), Payloads::Forwarded)];
    let around = Surroundings {
        directory: &directory,
        upstreams: &views,
        unknown: &persona,
        peers: &PeerOne,
        quota: None,
        shortage: Shortage::None,
    };
    let mut unanswered = Vec::new();
    for row in TABLE.iter().filter(|row| row.service() == Service::Local) {
        let mut words: Vec<&str> = row.name.split(' ').collect();
        while !row.accepts(words.len()) {
            words.push("x");
        }
        let request = OwnedRequest::from_args(&words).expect("a request has words");
        let (mut located, mut answer) = (Located::new(), BytesMut::new());
        let mut session = Session::new(home.clone(), &PeerOne).expect("no limits");
        session.on_request(request.as_request(), &around, &mut located, None, (&mut answer, false));
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
