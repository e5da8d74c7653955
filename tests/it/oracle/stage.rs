//! One side of a session: the connections of its cast, and how the test learns that all has been said.
//!
//! A Redis that is asked directly is the measure. It is one thread, and the session's connections to it are Unix
//! sockets, where what is written has arrived. So after two round trips of another connection everything that
//! follows from a step has been executed and written, and can be read without waiting; what ends by a timeout
//! is waited for by asking how many timeouts are left. From the other side the same number of frames is awaited
//! on every connection, and as many blocked connections behind it: no barrier is sent there, because a barrier
//! is a command too and would change what it is to protect (`CLIENT CACHING` is about the very next command).

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::ear::invalidates_keys;
use super::grammar::{Grammar, quote};
use super::script::{Argv, Session, Step, name_of};
use super::store::{Load, Store};
use crate::servers::now;
use crate::wire::{Client, NoFrame, Tree, command, show};

/// Databases that sessions use.
const DATABASES: [usize; 4] = [0, 1, 2, 15];

/// Where the tenant of a side connects to.
#[derive(Debug, Clone)]
pub(super) enum Door {
    Port(u16),
    Socket(PathBuf),
}

impl Door {
    fn open(&self) -> Client {
        match self {
            Self::Port(port) => Client::tcp(*port),
            Self::Socket(path) => Client::unix(path),
        }
    }
}

/// What one connection received: frames, and at last perhaps the end.
pub(super) type Heard = Vec<Vec<u8>>;

/// Stands for the end of a connection where frames are compared.
pub(super) const CLOSED: &[u8] = b"(the connection is closed)";

/// A key and what the server makes of its contents.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stored {
    database: usize,
    key: Vec<u8>,
    digest: Vec<u8>,
}

impl fmt::Display for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.database, quote(&self.key), show(&self.digest))
    }
}

/// The line that describes a connection at this moment.
pub(super) struct Moment(String);

impl Moment {
    /// No subscription, no tracking.
    pub(super) fn is_untied(&self) -> bool {
        let is_tracking = self
            .0
            .split_once(" flags=")
            .is_some_and(|(_, rest)| rest.split(' ').next().is_some_and(|flags| flags.contains(['t', 'B'])));
        !is_tracking && self.0.contains(" sub=0 psub=0 ssub=0 ")
    }

    /// Neither blocked nor in a transaction, nor gone.
    pub(super) fn is_free(&self) -> bool {
        !self.is_blocked() && self.0.contains(" multi=-1 ")
    }

    /// Blocked by its command, or paused.
    pub(super) fn is_blocked(&self) -> bool {
        let flags = self.0.split_once(" flags=").and_then(|(_, rest)| rest.split(' ').next());
        flags.is_some_and(|flags| flags.contains('b'))
    }

    pub(super) fn is_in_first_database(&self) -> bool {
        self.database() == 0
    }

    pub(super) fn database(&self) -> usize {
        let rest = self.0.split_once(" db=").and_then(|(_, rest)| rest.split(' ').next());
        rest.and_then(|number| number.parse().ok()).unwrap_or_default()
    }
}

/// One side.
pub(super) struct Stage {
    /// For reports.
    pub(super) name: &'static str,
    door: Door,
    /// A connection of the tenant that takes no part in sessions.
    usher: Client,
    /// The Redis behind it.
    pub(super) store: Store,
    /// What the prefixes of the tenant's names begin with; a Redis of one's own has none.
    stem: Option<&'static str>,
    data: Option<Load>,
    /// Connections of subscribers that are not the session's.
    subscribed_before: usize,
}

/// The connections of one session.
pub(super) struct Cast {
    clients: Vec<Client>,
    /// What `CLIENT ID` said on each of them.
    pub(super) ids: Vec<Vec<u8>>,
    pub(super) is_closed: Vec<bool>,
    /// MONITOR shows the commands of the test's own connection as well.
    hides_store: bool,
    /// Invalidations of single keys do not count at this moment.
    pub(super) drops_keys: bool,
}

impl Stage {
    pub(super) fn new(name: &'static str, door: Door, store: Store, stem: Option<&'static str>) -> Self {
        let usher = door.open();
        let mut stage = Self { name, door, usher, store, stem, data: None, subscribed_before: 0 };
        stage.subscribed_before = stage.subscribers();
        // Whether a command was slow is chance.
        stage.store.order(&["CONFIG", "SET", "slowlog-log-slower-than", "-1"]);
        stage
    }

    /// What loads the data of the grammar, as one pipeline.
    pub(super) fn learn_data(&mut self, grammar: &Grammar) {
        let prefix = self.prefix_of(0);
        self.data = Some(self.store.load_of(super::sides::load_commands(grammar, prefix.as_bytes())));
    }

    /// What stored names of a database begin with.
    pub(super) fn prefix_of(&self, database: usize) -> String {
        match (self.stem, database) {
            (None, _) => String::new(),
            (Some(stem), 0) => format!("{stem}:"),
            (Some(stem), database) => format!("{stem}@{database}:"),
        }
    }

    /// Nothing but the data of the grammar, whatever the last session left.
    pub(super) fn prepare(&mut self, has_notifications: bool) {
        assert_eq!("+OK\\r\\n", self.usher.ask("CLIENT UNPAUSE"));
        self.await_quiet();
        self.clear();
        let data = self.data.as_ref().expect("the data was learnt");
        let failed = self.store.send(data).into_iter().find(|reply| reply.starts_with(b"-"));
        assert_eq!(None, failed.map(|reply| show(&reply)), "the data cannot be loaded");
        let events = if has_notifications { "KEA" } else { "" };
        self.store.order(&["CONFIG", "SET", "notify-keyspace-events", events]);
    }

    fn clear(&mut self) {
        if self.stem.is_none() {
            self.store.order(&["FLUSHALL"]);
            return;
        }
        let own: Vec<String> = DATABASES.map(|database| self.prefix_of(database)).into();
        let is_own = |key: &Vec<u8>| own.iter().any(|prefix| key.starts_with(prefix.as_bytes()));
        let keys = self.store.keys().into_iter().filter(is_own).collect();
        self.store.delete(keys);
    }

    /// Waits until connections of earlier sessions are gone from the server.
    fn await_quiet(&mut self) {
        let quiet = until(Duration::from_secs(20), || {
            (self.subscribers() == self.subscribed_before && self.clients_in("blocked_clients") == 0)
                .then_some(())
        });
        assert!(quiet.is_some(), "{}: connections of an ended session stay blocked or subscribed", self.name);
    }

    fn subscribers(&mut self) -> usize {
        let replies = self.store.call_each("CLIENT LIST TYPE pubsub");
        let lines = |reply: &Vec<u8>| String::from_utf8_lossy(Tree::of(reply).payload()).lines().count();
        replies.iter().map(lines).sum()
    }

    /// A number that `INFO clients` tells.
    fn clients_in(&mut self, field: &str) -> usize {
        self.store.call_each("INFO clients").iter().map(|info| number_in(info, field)).sum()
    }

    /// Connects everybody who takes part.
    pub(super) fn open(&self, session: &Session, patience: Duration) -> Cast {
        // The session's connections are Unix sockets then, and the test's own is not.
        let hides_store = matches!(self.door, Door::Socket(_));
        let mut cast = Cast {
            clients: Vec::new(),
            ids: Vec::new(),
            is_closed: Vec::new(),
            hides_store,
            drops_keys: false,
        };
        for speaks_resp3 in &session.speaks_resp3 {
            let mut client = self.door.open();
            if *speaks_resp3 {
                client.call(&["HELLO", "3"]);
            }
            cast.ids.push(Tree::of(&client.call(&["CLIENT", "ID"])).payload().to_vec());
            client.set_patience(patience);
            cast.clients.push(client);
            cast.is_closed.push(false);
        }
        cast
    }

    /// For the measure: hears everything that follows from what was sent, and counts who is blocked then. It
    /// is heard while it is said: a monitor shows the questions asked here too, and who does not read them is
    /// not told the rest.
    pub(super) fn settle(&mut self, cast: &mut Cast) -> (usize, Vec<Heard>) {
        let mut all = vec![Heard::new(); cast.clients.len()];
        self.store.only().call(&["PING"]);
        loop {
            let clients = self.store.only().call(&["INFO", "clients"]);
            let heard = cast.hear();
            let is_quiet = heard.iter().all(Vec::is_empty);
            all.iter_mut().zip(heard).for_each(|(all, heard)| all.extend(heard));
            if is_quiet && number_in(&clients, "clients_in_timeout_table") == 0 {
                return (number_in(&clients, "blocked_clients"), all);
            }
        }
    }

    /// For the other side: waits until as many are blocked as on the side of the measure.
    pub(super) fn await_blocked(&mut self, expected: usize, patience: Duration) -> usize {
        let mut blocked = 0;
        until(patience, || {
            blocked = self.clients_in("blocked_clients");
            (blocked == expected).then_some(())
        });
        blocked
    }

    /// What the server itself says of a connection.
    pub(super) fn moment_of(&mut self, id: &[u8]) -> Moment {
        let reply = self.store.only().call(&[b"CLIENT".as_slice(), b"LIST", b"ID", id]);
        Moment(String::from_utf8_lossy(Tree::of(&reply).payload()).into_owned())
    }

    /// Lets go on whoever was paused.
    pub(super) fn unpause(&mut self) -> Vec<u8> {
        self.usher.call(&["CLIENT", "UNPAUSE"])
    }

    /// Ends the waiting of a connection.
    pub(super) fn unblock(&mut self, id: &[u8]) -> Vec<u8> {
        self.usher.call(&[b"CLIENT".as_slice(), b"UNBLOCK", id])
    }

    /// Everything stored by this side's tenant under the names its clients use, with a digest of the contents.
    pub(super) fn contents(&mut self) -> Vec<Stored> {
        let mut contents = Vec::new();
        for database in DATABASES {
            if self.stem.is_none() {
                self.store.order(&["SELECT", &database.to_string()]);
            }
            let prefix = self.prefix_of(database).into_bytes();
            let stored = self.store.keys().into_iter().filter(|key| key.starts_with(&prefix)).collect();
            for (key, digest) in self.store.digests(stored) {
                contents.push(Stored { database, key: key[prefix.len()..].to_vec(), digest });
            }
        }
        if self.stem.is_none() {
            self.store.order(&["SELECT", "0"]);
        }
        contents
    }
}

impl Cast {
    /// Says something; who has been disconnected says nothing.
    pub(super) fn send(&mut self, speaker: usize, commands: &[Argv]) {
        if self.is_closed[speaker] {
            return;
        }
        let bytes: Vec<u8> = commands.iter().flat_map(|argv| command(&self.with_ids(argv))).collect();
        // The peer may close at any moment: then it is heard, not said.
        drop(self.clients[speaker].try_send(&bytes));
    }

    fn with_ids(&self, argv: &[Vec<u8>]) -> Argv {
        let with_id = |word: &Vec<u8>| {
            let number = std::str::from_utf8(word).ok()?.strip_prefix('@')?.parse::<usize>().ok()?;
            self.ids.get(number.checked_sub(1)?).cloned()
        };
        argv.iter().map(|word| with_id(word).unwrap_or_else(|| word.clone())).collect()
    }

    /// What has arrived on every connection.
    pub(super) fn hear(&mut self) -> Vec<Heard> {
        (0..self.clients.len()).map(|index| self.hear_one(index)).collect()
    }

    fn hear_one(&mut self, index: usize) -> Heard {
        if self.is_closed[index] {
            return Vec::new();
        }
        let (mut frames, is_closed) = self.clients[index].arrived();
        frames.retain(|frame| !self.is_hidden(frame));
        if is_closed {
            self.is_closed[index] = true;
            frames.push(CLOSED.to_vec());
        }
        frames
    }

    fn is_hidden(&self, frame: &[u8]) -> bool {
        (self.hides_store && is_of_the_store(frame)) || (self.drops_keys && invalidates_keys(frame))
    }

    /// Waits until every connection has received as many frames as expected of it, and takes what is there
    /// beyond them.
    pub(super) fn await_frames(&mut self, expected: &[Heard]) -> Vec<Heard> {
        let heard = expected.iter().enumerate().map(|(index, frames)| {
            let mut heard = Vec::new();
            while heard.len() < frames.len() && !self.is_closed[index] {
                match self.clients[index].try_frame() {
                    Ok(frame) if self.is_hidden(&frame) => {}
                    Ok(frame) => heard.push(frame),
                    Err(NoFrame::Closed(_)) => {
                        self.is_closed[index] = true;
                        heard.push(CLOSED.to_vec());
                    }
                    Err(NoFrame::Silent(_)) => break,
                }
            }
            heard.extend(self.hear_one(index));
            heard
        });
        heard.collect()
    }

    /// Goes on with a scan whose first page was heard, and puts all its keys in the page's place: how many
    /// pages there are, and in which order, is every server's own business.
    pub(super) fn follow_scan(&mut self, step: &Step, heard: &mut [Heard]) {
        let [argv] = step.commands.as_slice() else { return };
        let Some(page) = heard[step.speaker].last_mut() else { return };
        if name_of(argv) != "SCAN" || !page.starts_with(b"*2\r\n$") {
            return;
        }
        let mut keys = BTreeSet::new();
        loop {
            let tree = Tree::of(page);
            let cursor = tree.elements()[0].payload().to_vec();
            keys.extend(tree.elements()[1].elements().iter().map(|key| key.payload().to_vec()));
            if cursor == b"0" {
                break;
            }
            let mut next = argv.clone();
            next[1] = cursor;
            *page = self.clients[step.speaker].call(&next);
        }
        *page = command(&keys.into_iter().collect::<Vec<_>>());
    }
}

/// A line of MONITOR about a connection over TCP, where all of the session's are Unix sockets.
fn is_of_the_store(frame: &[u8]) -> bool {
    let is_line = frame.starts_with(b"+") && frame.len() > 30 && frame.contains(&b'[');
    is_line && frame.windows(11).take(40).any(|part| part == b" 127.0.0.1:")
}

fn number_in(info: &[u8], field: &str) -> usize {
    let text = String::from_utf8_lossy(info);
    let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')?.parse().ok());
    value.unwrap_or_else(|| panic!("INFO tells {field}"))
}

/// Asks again until there is an answer or patience ends.
fn until<T>(patience: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = now() + patience;
    loop {
        if let Some(found) = probe() {
            return Some(found);
        }
        if now() >= deadline {
            return None;
        }
        std::thread::yield_now();
    }
}
