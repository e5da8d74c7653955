//! What a client is subscribed to, and what it reads of it.
//!
//! The upstream holds the same subscriptions under physical names, on a connection that serves this client
//! alone, so what `PUBLISH` and `PUBSUB NUMSUB` count is what they would count without a proxy. Confirmations
//! are written here, from the client's own names: one notification channel may stand for several upstream and
//! the other way round, so the upstream's counts are not the client's (*Redis Pub/Sub, "Format of pushed
//! messages"*).

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::{Bytes, BytesMut};

use super::tracking;
use crate::resp::Version;
use crate::resp::cursor::{Cursor, Value};
use crate::resp::reply::ReplyWriter;
use crate::routing::topology::NodeId;
use crate::tenant::directory::Binding;
use crate::tenant::events::EventNames;
use crate::tenant::requests;

/// Names one client may subscribe to; Redis has no bound but its memory.
pub(super) const MAX_SUBSCRIPTIONS: usize = 100_000;
/// Patterns among them: the server goes through all of a client's for each that is added, and twenty thousand
/// hold it for more than a second.
const MAX_PATTERNS: usize = 1000;

/// What is subscribed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// A channel.
    Channel,
    /// A glob over channels.
    Pattern,
    /// A channel of the sharded publish and subscribe.
    Shard,
}

impl Kind {
    /// What a command is about, and whether it ends subscriptions.
    pub(super) fn of(command: &str) -> Option<(Self, bool)> {
        match command {
            "SUBSCRIBE" => Some((Self::Channel, false)),
            "PSUBSCRIBE" => Some((Self::Pattern, false)),
            "SSUBSCRIBE" => Some((Self::Shard, false)),
            "UNSUBSCRIBE" => Some((Self::Channel, true)),
            "PUNSUBSCRIBE" => Some((Self::Pattern, true)),
            "SUNSUBSCRIBE" => Some((Self::Shard, true)),
            _ => None,
        }
    }

    fn command(self, ends: bool) -> &'static str {
        match (self, ends) {
            (Self::Channel, false) => "SUBSCRIBE",
            (Self::Pattern, false) => "PSUBSCRIBE",
            (Self::Shard, false) => "SSUBSCRIBE",
            (Self::Channel, true) => "UNSUBSCRIBE",
            (Self::Pattern, true) => "PUNSUBSCRIBE",
            (Self::Shard, true) => "SUNSUBSCRIBE",
        }
    }

    fn confirmation(self, ends: bool) -> &'static [u8] {
        match (self, ends) {
            (Self::Channel, false) => b"subscribe",
            (Self::Pattern, false) => b"psubscribe",
            (Self::Shard, false) => b"ssubscribe",
            (Self::Channel, true) => b"unsubscribe",
            (Self::Pattern, true) => b"punsubscribe",
            (Self::Shard, true) => b"sunsubscribe",
        }
    }
}

/// Whose names they are, and where their events are published.
#[derive(Clone, Copy, Debug)]
pub(super) struct Naming<'a> {
    pub(super) binding: &'a Binding,
    /// The upstream database that all virtual databases lie in.
    pub(super) shared_database: u32,
    /// The client's protocol version.
    pub(super) version: Version,
}

impl<'a> Naming<'a> {
    fn events(&self) -> EventNames<'a> {
        EventNames::new(self.binding, self.shared_database)
    }

    /// The length of the longest name that a client's name stands for upstream.
    pub(super) fn longest(self, kind: Kind, name: &[u8]) -> usize {
        physical_names(kind, name, self).iter().map(|(_, physical)| physical.len()).max().unwrap_or(0)
    }
}

/// On which nodes a name is subscribed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// On this one.
    Node(NodeId),
    /// On this one, because it owns the slot; names of different slots do not go into one request.
    Slot(NodeId, u16),
    /// On none: the node that it was on has lost the slot.
    Nowhere(u16),
    /// On every primary: what is published there is published nowhere else.
    Everywhere,
}

impl Place {
    fn node(self) -> Option<NodeId> {
        match self {
            Self::Node(node) | Self::Slot(node, _) => Some(node),
            Self::Nowhere(_) | Self::Everywhere => None,
        }
    }
}

/// Names to subscribe to on a node, or to unsubscribe from.
pub(super) type Said = (NodeId, &'static str, Vec<Vec<u8>>);

/// The names upstream for these names of a client.
pub(super) fn physical(kind: Kind, names: &[&[u8]], naming: Naming<'_>) -> Vec<(Kind, Vec<u8>)> {
    names.iter().flat_map(|name| physical_names(kind, name, naming)).collect()
}

/// What must be said upstream for a change, and what the client reads when it has been confirmed.
#[derive(Debug, Default)]
pub(super) struct Change {
    /// Commands with their physical names, and where they are said.
    pub(super) requests: Vec<(&'static str, Place, Vec<Vec<u8>>)>,
    /// The confirmations.
    pub(super) answer: BytesMut,
    /// Which request has the names of a command that are said at a place.
    like: BTreeMap<(&'static str, Place), usize>,
}

/// The subscriptions of one client.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    channels: Names,
    patterns: Names,
    shards: Names,
    /// What the upstream connections are subscribed to, each with how many of the client's names need it.
    physical: BTreeMap<(Kind, Vec<u8>), (usize, Place)>,
    /// How many of them are on every primary, and the nodes on which they are subscribed to.
    everywhere: usize,
    spread: BTreeSet<NodeId>,
}

/// Names in the order in which they were subscribed to, which is that in which Redis leaves patterns.
#[derive(Debug, Default)]
struct Names {
    by_age: BTreeMap<u64, Bytes>,
    ages: HashMap<Bytes, u64>,
}

impl Names {
    fn len(&self) -> usize {
        self.ages.len()
    }

    fn is_empty(&self) -> bool {
        self.ages.is_empty()
    }

    fn contains(&self, name: &[u8]) -> bool {
        self.ages.contains_key(name)
    }

    fn iter(&self) -> impl Iterator<Item = &Bytes> {
        self.by_age.values()
    }

    /// Whether it is new.
    fn insert(&mut self, name: Bytes) -> bool {
        if self.contains(&name) {
            return false;
        }
        let age = self.by_age.last_key_value().map_or(0, |(age, _)| age.saturating_add(1));
        self.by_age.insert(age, name.clone());
        self.ages.insert(name, age);
        true
    }

    /// Whether it was there.
    fn remove(&mut self, name: &[u8]) -> bool {
        let age = self.ages.remove(name);
        age.is_some_and(|age| self.by_age.remove(&age).is_some())
    }
}

/// What a push turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// The upstream confirms a subscription, or says that one has ended.
    Confirmation {
        /// It has ended.
        ends: bool,
    },
    /// A message: what the client reads has been written.
    Message,
    /// Keys were changed; `None`: all of them.
    Invalidation(Option<Vec<Bytes>>),
    /// Nothing for this client.
    Nothing,
}

impl Subscriptions {
    /// None.
    pub(super) fn is_empty(&self) -> bool {
        self.channels.is_empty() && self.patterns.is_empty() && self.shards.is_empty()
    }

    /// Channels, patterns, shard channels: as `CLIENT LIST` counts them.
    pub(super) fn counts(&self) -> [usize; 3] {
        [self.channels.len(), self.patterns.len(), self.shards.len()]
    }

    /// The patterns, for whoever counts them over all clients.
    pub(super) fn patterns(&self) -> impl Iterator<Item = &Bytes> {
        self.patterns.iter()
    }

    fn names(&mut self, kind: Kind) -> &mut Names {
        match kind {
            Kind::Channel => &mut self.channels,
            Kind::Pattern => &mut self.patterns,
            Kind::Shard => &mut self.shards,
        }
    }

    /// The number in a confirmation.
    fn count(&self, kind: Kind) -> usize {
        match kind {
            Kind::Channel | Kind::Pattern => self.channels.len().saturating_add(self.patterns.len()),
            Kind::Shard => self.shards.len(),
        }
    }

    /// `SUBSCRIBE` and its kin. `None`: the client would have too many.
    pub(super) fn add<'n>(
        &mut self,
        kind: Kind,
        names: impl ExactSizeIterator<Item = &'n [u8]>,
        naming: Naming<'_>,
        place: &dyn Fn(Kind, &[u8]) -> Option<Place>,
    ) -> Option<Change> {
        let of_kind = if kind == Kind::Pattern { self.patterns.len() } else { 0 };
        if self.physical.len().saturating_add(names.len()) > MAX_SUBSCRIPTIONS
            || (kind == Kind::Pattern && of_kind.saturating_add(names.len()) > MAX_PATTERNS)
        {
            return None;
        }
        let mut change = Change::default();
        for name in names {
            let is_new = self.names(kind).insert(Bytes::copy_from_slice(name));
            for (kind, physical) in physical_names(kind, name, naming) {
                let place = place(kind, &physical)?;
                let held = self.physical.entry((kind, physical.clone())).or_insert((0, place));
                self.everywhere += usize::from(held.0 == 0 && place == Place::Everywhere);
                held.0 += usize::from(is_new);
                if matches!(held.1, Place::Nowhere(_)) {
                    held.1 = place;
                }
                change.say(kind.command(false), held.1, physical);
            }
            self.confirm(&mut change.answer, kind, false, Some(name), naming.version);
        }
        Some(change)
    }

    /// `UNSUBSCRIBE` and its kin; without names, of all.
    pub(super) fn remove(&mut self, kind: Kind, names: &[&[u8]], naming: Naming<'_>) -> Change {
        let mut change = Change::default();
        let all: Vec<Bytes> = match names {
            [] => self.names(kind).iter().cloned().collect(),
            _ => names.iter().map(|name| Bytes::copy_from_slice(name)).collect(),
        };
        if all.is_empty() {
            self.confirm(&mut change.answer, kind, true, None, naming.version);
        }
        for name in all {
            if self.names(kind).remove(&name) {
                for (kind, physical) in physical_names(kind, &name, naming) {
                    if let Some(place) = self.release(kind, &physical) {
                        change.say(kind.command(true), place, physical);
                    }
                }
            }
            self.confirm(&mut change.answer, kind, true, Some(&name), naming.version);
        }
        change
    }

    /// The nodes that names are to be subscribed to on, now that these are the primaries and slots belong to whom
    /// `owner` says.
    pub(super) fn sought(
        &self,
        primaries: &[NodeId],
        owner: impl Fn(u16) -> Option<NodeId>,
    ) -> BTreeSet<NodeId> {
        let mut nodes = BTreeSet::new();
        for (_, place) in self.physical.values() {
            match *place {
                Place::Everywhere => nodes.extend(primaries),
                Place::Slot(_, slot) | Place::Nowhere(slot) => nodes.extend(owner(slot)),
                Place::Node(_) => {}
            }
        }
        nodes
    }

    /// What is to be said for it. It is taken to be so from now on.
    pub(super) fn realigned(
        &mut self,
        primaries: &[NodeId],
        owner: impl Fn(u16) -> Option<NodeId>,
    ) -> Vec<Said> {
        let mut change = Change::default();
        let primaries: BTreeSet<NodeId> = primaries.iter().copied().collect();
        for ((kind, name), (_, place)) in &mut self.physical {
            match *place {
                Place::Everywhere => {
                    for node in primaries.difference(&self.spread) {
                        change.say(kind.command(false), Place::Node(*node), name.clone());
                    }
                    // A replica tells of keys as well.
                    for node in self.spread.difference(&primaries) {
                        change.say(kind.command(true), Place::Node(*node), name.clone());
                    }
                }
                Place::Slot(_, slot) | Place::Nowhere(slot) => {
                    if let Some(node) = owner(slot).filter(|node| place.node() != Some(*node)) {
                        // A node that follows its successor still brings what is published there.
                        if place.node().is_some() {
                            change.say(kind.command(true), *place, name.clone());
                        }
                        *place = Place::Slot(node, slot);
                        change.say(kind.command(false), *place, name.clone());
                    }
                }
                Place::Node(_) => {}
            }
        }
        self.spread = primaries;
        let said = change.requests.into_iter();
        said.filter_map(|(command, place, names)| Some((place.node()?, command, names))).collect()
    }

    /// The upstream has ended the subscription to this shard channel, because its node has lost the slot.
    pub(super) fn mislay(&mut self, push: &[u8]) {
        let mut cursor = Cursor::new(push);
        let parts = (cursor.next_value(), cursor.next_value(), cursor.next_value());
        let (Some(Value::Array(_)), Some(Value::Bulk(b"sunsubscribe")), Some(Value::Bulk(name))) = parts
        else {
            return;
        };
        if let Some((_, place)) = self.physical.get_mut(&(Kind::Shard, name.to_vec()))
            && let Place::Slot(_, slot) = *place
        {
            *place = Place::Nowhere(slot);
        }
    }

    /// The shard channels of this slot are not on the node that they were taken to be on: which that was.
    pub(super) fn displace(&mut self, slot: u16) -> Option<NodeId> {
        let mut was_on = None;
        for (_, place) in self.physical.values_mut() {
            if matches!(*place, Place::Slot(_, of) if of == slot) {
                was_on = place.node();
                *place = Place::Nowhere(slot);
            }
        }
        was_on
    }

    /// Whether something is subscribed to on this node.
    pub(super) fn are_on(&self, node: NodeId) -> bool {
        (self.everywhere > 0 && self.spread.contains(&node))
            || self.physical.values().any(|(_, place)| place.node() == Some(node))
    }

    /// These are the primaries, for names that are to be on each. Those that are there already stay where they are until
    /// they are [realigned](Self::realigned), and others join them.
    pub(super) fn may_spread_over(&mut self, primaries: impl Iterator<Item = NodeId>) {
        if self.everywhere == 0 {
            self.spread = primaries.collect();
        }
    }

    /// The nodes on which the names are subscribed to that are on every primary.
    pub(super) fn spread(&self) -> impl Iterator<Item = NodeId> {
        self.spread.iter().copied()
    }

    /// Where the physical name was subscribed to, if nothing needs it any more.
    fn release(&mut self, kind: Kind, physical: &[u8]) -> Option<Place> {
        let key = (kind, physical.to_vec());
        let (users, place) = self.physical.get_mut(&key)?;
        *users = users.saturating_sub(1);
        let place = *place;
        if *users > 0 {
            return None;
        }
        self.physical.remove(&key);
        self.everywhere -= usize::from(place == Place::Everywhere);
        Some(place)
    }

    fn confirm(&self, out: &mut BytesMut, kind: Kind, ends: bool, name: Option<&[u8]>, version: Version) {
        let mut reply = ReplyWriter::new(out, version);
        reply.push(3);
        reply.bulk(kind.confirmation(ends));
        match name {
            Some(name) => reply.bulk(name),
            None => reply.null(),
        }
        reply.integer(i64::try_from(self.count(kind)).unwrap_or(i64::MAX));
    }

    /// Reads one push of the upstream and writes what the client reads of it.
    pub(super) fn hear(&self, push: &[u8], naming: Naming<'_>, out: &mut BytesMut) -> Heard {
        let mut cursor = Cursor::new(push);
        let (Some(Value::Array(_)), Some(Value::Bulk(kind))) = (cursor.next_value(), cursor.next_value())
        else {
            return Heard::Nothing;
        };
        let mut reply = ReplyWriter::new(out, naming.version);
        match kind {
            b"message" | b"smessage" => match (cursor.next_value(), cursor.next_value()) {
                (Some(Value::Bulk(channel)), Some(Value::Bulk(payload))) => {
                    self.message(kind, channel, payload, naming, &mut reply)
                }
                _ => Heard::Nothing,
            },
            b"pmessage" => match (cursor.next_value(), cursor.next_value(), cursor.next_value()) {
                (Some(Value::Bulk(pattern)), Some(Value::Bulk(channel)), Some(Value::Bulk(payload))) => {
                    self.pattern_message(pattern, channel, payload, naming, &mut reply)
                }
                _ => Heard::Nothing,
            },
            b"invalidate" => invalidated(&mut cursor, naming.binding),
            b"subscribe" | b"psubscribe" | b"ssubscribe" => Heard::Confirmation { ends: false },
            b"unsubscribe" | b"punsubscribe" | b"sunsubscribe" => Heard::Confirmation { ends: true },
            _ => Heard::Nothing,
        }
    }

    fn message(
        &self,
        kind: &[u8],
        channel: &[u8],
        payload: &[u8],
        naming: Naming<'_>,
        reply: &mut ReplyWriter<'_>,
    ) -> Heard {
        let events = naming.events();
        let Some(received) = events.received(channel, payload) else { return Heard::Nothing };
        // The channel of an event carries those of all the tenant's databases.
        let is_event = matches!(received.channel, Cow::Owned(_));
        if is_event && !self.channels.contains(&received.channel) {
            return Heard::Nothing;
        }
        write_message(reply, kind, &[&received.channel, received.payload]);
        Heard::Message
    }

    fn pattern_message(
        &self,
        pattern: &[u8],
        channel: &[u8],
        payload: &[u8],
        naming: Naming<'_>,
        reply: &mut ReplyWriter<'_>,
    ) -> Heard {
        let Some(home) = naming.binding.namespaces().first() else { return Heard::Nothing };
        if let (Some(pattern), Some(name)) = (home.channels.strip(pattern), home.channels.strip(channel)) {
            write_message(reply, b"pmessage", &[pattern, name, payload]);
            return Heard::Message;
        }
        // A pattern of ours, wider than the client's: each of the client's that the event matches.
        let events = naming.events();
        // It also brings the events of all other tenants, which must not cost a look at each pattern.
        if events.received(channel, payload).is_none() {
            return Heard::Nothing;
        }
        let mut heard = Heard::Nothing;
        for wanted in self.patterns.iter() {
            if let Some(received) = events.received_by_pattern(wanted, channel, payload)
                && events.upstream_patterns(wanted).iter().any(|wide| wide == pattern)
            {
                write_message(reply, b"pmessage", &[wanted, &received.channel, received.payload]);
                heard = Heard::Message;
            }
        }
        heard
    }
}

impl Change {
    fn say(&mut self, command: &'static str, place: Place, name: Vec<u8>) {
        let like = *self.like.entry((command, place)).or_insert(self.requests.len());
        match self.requests.get_mut(like) {
            Some((.., names)) => names.push(name),
            None => self.requests.push((command, place, vec![name])),
        }
    }
}

/// What a client's name is upstream; a name that also means notifications about keys has more than one.
fn physical_names(kind: Kind, name: &[u8], naming: Naming<'_>) -> Vec<(Kind, Vec<u8>)> {
    let Some(home) = naming.binding.namespaces().first() else { return Vec::new() };
    let mut physical = vec![(kind, requests::channel(name, home))];
    match kind {
        Kind::Shard => {}
        Kind::Channel => physical.extend(naming.events().upstream_channel(name).map(|event| (kind, event))),
        Kind::Pattern => {
            physical.extend(naming.events().upstream_patterns(name).into_iter().map(|wide| (kind, wide)));
        }
    }
    physical
}

fn write_message(reply: &mut ReplyWriter<'_>, kind: &[u8], parts: &[&[u8]]) {
    reply.push(parts.len().saturating_add(1));
    reply.bulk(kind);
    for part in parts {
        reply.bulk(part);
    }
}

/// The tenant's keys in an invalidation.
fn invalidated(cursor: &mut Cursor<'_>, binding: &Binding) -> Heard {
    match cursor.next_value() {
        Some(Value::Null) => Heard::Invalidation(None),
        Some(Value::Array(count)) => {
            let mut keys = Vec::new();
            for _ in 0..count {
                let Some(Value::Bulk(key)) = cursor.next_value() else { return Heard::Nothing };
                keys.extend(requests::tracked_key(key, binding).map(Bytes::copy_from_slice));
            }
            if keys.is_empty() { Heard::Nothing } else { Heard::Invalidation(Some(keys)) }
        }
        _ => Heard::Nothing,
    }
}

/// An invalidation as a client of the first version reads it; one of the second version tracks.
pub(super) fn write_invalidation(keys: Option<&[Bytes]>, versions: (Version, Version), out: &mut BytesMut) {
    let keys: Option<Vec<&[u8]>> = keys.map(|keys| keys.iter().map(Bytes::as_ref).collect());
    tracking::invalidation(keys.as_deref(), versions, &mut ReplyWriter::new(out, versions.0));
}
