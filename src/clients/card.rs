//! What is known about one connection: written by its own session, read by the others of its tenant.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Waker;

use bitflags::bitflags;

use super::mailbox::{Mailbox, Note};
use super::{is_word, locked};
use crate::command::{CommandSpec, TABLE};
use crate::resp::Version;

/// No command yet: the number of no row.
const NO_COMMAND: u16 = u16::MAX;

/// What a connection is from its first moment to its last.
#[derive(Clone, Debug)]
pub struct Origin {
    /// `CLIENT ID`, the tenant's own count.
    pub id: u64,
    /// The client's own address: `ip:port`, or `path:0` over a Unix socket.
    pub addr: Box<str>,
    /// The listener's, in the same form.
    pub laddr: Arc<str>,
    /// What stands for the file descriptor.
    pub fd: u32,
    /// Whether it came over a Unix socket.
    pub is_unix: bool,
    /// Seconds since the epoch of all times here.
    pub created_secs: u32,
}

bitflags! {
    /// States of a connection that `CLIENT LIST` shows as letters and that no other fact implies.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Marks: u16 {
        /// `O`: it runs `MONITOR`.
        const MONITOR = 1;
        /// `t`: it tracks keys.
        const TRACKING = 1 << 1;
        /// `B`: it tracks by prefix.
        const TRACKING_BCAST = 1 << 2;
        /// `R`: the client it redirects to has gone.
        const TRACKING_BROKEN_REDIRECT = 1 << 3;
        /// `r`: `READONLY` on a cluster.
        const READONLY = 1 << 4;
        /// `e`: `CLIENT NO-EVICT ON`.
        const NO_EVICT = 1 << 5;
        /// `T`: `CLIENT NO-TOUCH ON`.
        const NO_TOUCH = 1 << 6;
        /// `b`: its request waits for the end of a pause. A blocking command shows the same letter, and it
        /// alone can be unblocked: [`Card::set_blocked`].
        const HELD = 1 << 7;
    }
}

/// What changes now and then, and is asked for by other sessions only.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// `CLIENT SETNAME`; empty: none.
    pub name: Box<[u8]>,
    /// `ACL WHOAMI`.
    pub user: Arc<str>,
    /// The virtual database.
    pub database: u32,
    /// The RESP version.
    pub version: Version,
    /// `CLIENT SETINFO LIB-NAME`.
    pub lib_name: Box<[u8]>,
    /// `CLIENT SETINFO LIB-VER`.
    pub lib_ver: Box<[u8]>,
    /// Channels subscribed to.
    pub channels: u32,
    /// Patterns subscribed to.
    pub patterns: u32,
    /// Shard channels subscribed to.
    pub shard_channels: u32,
    /// Commands queued since `MULTI`; `None` outside of a transaction.
    pub queued: Option<u32>,
    /// Keys watched.
    pub watched: u32,
    /// The client that gets the invalidations; 0: this one.
    pub redirect: u64,
    /// The letters.
    pub marks: Marks,
}

impl Facts {
    /// Whether it has a subscription of any kind.
    pub fn is_subscribed(&self) -> bool {
        (self.channels, self.patterns, self.shard_channels) != (0, 0, 0)
    }

    /// Its class, as `TYPE` filters by it.
    pub fn client_type(&self) -> ClientType {
        if self.is_subscribed() { ClientType::PubSub } else { ClientType::Normal }
    }
}

/// Classes of clients. No client of a proxy is the last two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientType {
    /// Any other; `MONITOR` included.
    Normal,
    /// It has subscriptions.
    PubSub,
    /// A replica.
    Replica,
    /// A replica's master.
    Master,
}

impl ClientType {
    /// The class of a name, in any case.
    pub fn parse(name: &[u8]) -> Option<Self> {
        let names: [(&[u8], Self); 5] = [
            (b"normal", Self::Normal),
            (b"slave", Self::Replica),
            (b"replica", Self::Replica),
            (b"pubsub", Self::PubSub),
            (b"master", Self::Master),
        ];
        names.into_iter().find(|(known, _)| is_word(name, known)).map(|(_, class)| class)
    }
}

/// One connection. Its session holds it and [`TenantClients`](super::TenantClients) lists it.
#[derive(Debug)]
pub struct Card {
    origin: Origin,
    /// The last command's row in the low 16 bits, the second of the last interaction above: one store.
    last: AtomicU64,
    facts: Mutex<Facts>,
    mailbox: Mailbox,
}

impl Card {
    /// A card of a connection that has not said anything yet. `mailbox_limit` bounds the bytes that wait for
    /// its session.
    pub fn new(origin: Origin, facts: Facts, mailbox_limit: usize) -> Self {
        let last = AtomicU64::new(packed(NO_COMMAND, origin.created_secs));
        Self { origin, last, facts: Mutex::new(facts), mailbox: Mailbox::new(mailbox_limit) }
    }

    /// What does not change.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// `CLIENT ID`.
    pub fn id(&self) -> u64 {
        self.origin.id
    }

    /// By the owner, once per batch of requests: the last one's row in the command table, and when. A request
    /// that has no row is [`Card::touch_unknown`].
    pub fn touch(&self, command_index: u16, now_secs: u32) {
        self.last.store(packed(command_index, now_secs), Ordering::Relaxed);
    }

    /// By the owner: the last request was for no command that exists.
    pub fn touch_unknown(&self, now_secs: u32) {
        self.touch(NO_COMMAND, now_secs);
    }

    /// The last command, if there was one.
    pub fn last_command(&self) -> Option<&'static CommandSpec> {
        let last = self.last.load(Ordering::Relaxed);
        TABLE.get(usize::try_from(last & u64::from(u16::MAX)).ok()?)
    }

    /// The second of the last interaction.
    pub fn last_secs(&self) -> u32 {
        u32::try_from(self.last.load(Ordering::Relaxed) >> u16::BITS).unwrap_or(u32::MAX)
    }

    /// By the owner, when something changed.
    pub fn amend(&self, change: impl FnOnce(&mut Facts)) {
        change(&mut locked(&self.facts));
    }

    /// A copy of what changes now and then.
    pub fn facts(&self) -> Facts {
        locked(&self.facts).clone()
    }

    /// Looks at the facts without copying them; `look` must not take another lock.
    pub fn with_facts<T>(&self, look: impl FnOnce(&Facts) -> T) -> T {
        look(&locked(&self.facts))
    }

    /// By the owner: a blocking command begins (its client may be unblocked from now on) or has ended. An
    /// unblocking that nobody has taken yet is forgotten.
    pub fn set_blocked(&self, is_blocked: bool) {
        self.mailbox.set_blocked(is_blocked);
    }

    /// Whether it waits for a blocking command.
    pub fn is_blocked(&self) -> bool {
        self.mailbox.is_blocked()
    }

    /// From any thread: leaves a note and wakes the owner. `false`: it was not taken, since the client is not
    /// blocked (`Unblock`), is being ended already, or has not read what came before (then it is ended).
    pub fn post(&self, note: Note) -> bool {
        self.mailbox.post(note)
    }

    /// By the owner, on each poll.
    pub fn has_notes(&self) -> bool {
        self.mailbox.has_notes()
    }

    /// By the owner: everything that was posted, oldest first.
    pub fn take_notes(&self) -> Vec<Note> {
        self.mailbox.take_notes()
    }

    /// By the owner, whenever its task may have another waker: whom to wake when a note comes. Then it looks
    /// at [`Card::has_notes`] once more, for what came in between.
    pub fn set_waker(&self, waker: &Waker) {
        self.mailbox.set_waker(waker);
    }

    /// From any thread: the owner is to look around (a pause has ended).
    pub fn wake(&self) {
        self.mailbox.wake();
    }
}

fn packed(command_index: u16, secs: u32) -> u64 {
    u64::from(secs) << u16::BITS | u64::from(command_index)
}
