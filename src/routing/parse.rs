//! What nodes and sentinels say of where everything is, as plain values.
//!
//! Replies in, [`Layout`]s out; nobody is asked here. Read are `CLUSTER SHARDS` (since Redis 7), `CLUSTER SLOTS`
//! (before), `CLUSTER INFO`, `SENTINEL GET-MASTER-ADDR-BY-NAME`, `SENTINEL MASTER`, `SENTINEL REPLICAS`, `ROLE` and
//! the message of `+switch-master`. A reply that is none of these, or that contradicts itself, is [`Unreadable`] as
//! a whole: who asked asks somebody else, and what was believed before stays.
//!
//! What is made of the less usual parts of a cluster's reply:
//!
//! | the reply says | it means |
//! |---|---|
//! | two shards own one slot | unreadable: a node knows one owner for each slot |
//! | no endpoint (null or empty) | the host that was asked (*CLUSTER SLOTS*, "Nested Result Array") |
//! | endpoint `?` | a node without host name where names are preferred: its `ip`, else the host that was asked |
//! | a replica that is not `online` | left out: it has failed, or has no data yet |
//! | a primary that has failed | it still owns its slots, until another one has them |
//! | a primary that has failed and owns nothing | left out: it has been replaced |
//! | a primary that owns nothing | kept: keys of slots that are on their way to it are there already |
//! | slots, but no primary | left out: the slots are nobody's for the moment |

use std::cmp::Ordering;
use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::str::FromStr;

use super::topology::identity_of;
use crate::command::slot::SLOTS;
use crate::resp::cursor::{Cursor, Value};

/// Shards of one cluster: as many nodes as the specification aims at.
const MAX_SHARDS: usize = 1000;
/// Replicas of one shard.
const MAX_REPLICAS: usize = 100;
/// Ranges of one shard: of all shards there are not more than slots, or two would own one.
const MAX_RANGES: usize = SLOTS as usize;
/// The longest name that a resolver takes.
const MAX_HOST: usize = 255;
/// The longest id: those of nodes and runs have 40 digits.
const MAX_ID: usize = 64;
/// Stands for a host name that is not known.
const UNKNOWN: &str = "?";

/// The reply is not what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the reply cannot be read")]
pub struct Unreadable;

/// A node, as others name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announced {
    /// Its host, IPv6 without brackets.
    pub host: String,
    /// Its port, not 0.
    pub port: u16,
    /// Its id in a cluster, or its run id; empty if nobody said.
    pub id: String,
}

impl Announced {
    /// What goes into `SCAN` cursors when this is the primary: of its id, or of its address if it has none.
    pub fn identity(&self) -> u8 {
        if self.id.is_empty() {
            return identity_of(&format!("{}:{}", self.host, self.port));
        }
        identity_of(&self.id)
    }

    fn compare(&self, other: &Self) -> Ordering {
        (&self.id, &self.host, self.port).cmp(&(&other.id, &other.host, other.port))
    }

    fn checked(host: &str, port: u16, id: &str) -> Result<Self, Unreadable> {
        let is_usable = is_host(host) && port != 0 && id.len() <= MAX_ID;
        is_usable.then(|| Self { host: host.to_owned(), port, id: id.to_owned() }).ok_or(Unreadable)
    }
}

/// Whether `host` may be the name or the address of one.
pub(super) fn is_host(host: &str) -> bool {
    !host.is_empty()
        && host.len() <= MAX_HOST
        && host.bytes().all(|byte| byte.is_ascii_graphic())
        && host != UNKNOWN
}

/// The nodes of one shard and what it owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardLayout {
    /// Who takes writes.
    pub primary: Announced,
    /// Who follows it and can be read from.
    pub replicas: Vec<Announced>,
    /// What it owns, ascending.
    pub slots: Vec<RangeInclusive<u16>>,
}

/// Every shard, ordered by the lowest slot it owns; those without slots last, by their ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The shards. No slot is in two of them.
    pub shards: Vec<ShardLayout>,
}

impl Layout {
    fn checked(mut shards: Vec<ShardLayout>) -> Result<Self, Unreadable> {
        if shards.len() > MAX_SHARDS {
            return Err(Unreadable);
        }
        for shard in &mut shards {
            shard.slots.sort_unstable_by_key(|range| *range.start());
            // A server names them in the order of a hash table.
            shard.replicas.sort_by(Announced::compare);
        }
        let lowest = |shard: &ShardLayout| shard.slots.first().map_or(SLOTS, |range| *range.start());
        shards.sort_by(|a, b| lowest(a).cmp(&lowest(b)).then_with(|| a.primary.compare(&b.primary)));
        let mut ranges: Vec<&RangeInclusive<u16>> = shards.iter().flat_map(|shard| &shard.slots).collect();
        ranges.sort_unstable_by_key(|range| *range.start());
        let overlap = ranges.windows(2).any(|pair| matches!(pair, [a, b] if a.end() >= b.start()));
        if overlap { Err(Unreadable) } else { Ok(Self { shards }) }
    }

    /// Number of slots that somebody owns.
    pub fn owned(&self) -> usize {
        self.shards.iter().flat_map(|shard| &shard.slots).map(ExactSizeIterator::len).sum()
    }
}

/// Values of a reply, one after the other.
struct Reader<'a>(Cursor<'a>);

impl<'a> Reader<'a> {
    fn new(reply: &'a [u8]) -> Self {
        Self(Cursor::new(reply))
    }

    /// How many elements follow.
    fn elements(&mut self) -> Result<usize, Unreadable> {
        match self.0.next_value() {
            Some(Value::Array(elements)) => Ok(elements),
            _ => Err(Unreadable),
        }
    }

    /// How many names, each with its value, follow.
    fn pairs(&mut self) -> Result<usize, Unreadable> {
        match self.0.next_value() {
            Some(Value::Array(elements)) if elements % 2 == 0 => Ok(elements / 2),
            Some(Value::Map(pairs)) => Ok(pairs),
            _ => Err(Unreadable),
        }
    }

    /// A word or a number; null is the empty word.
    fn word(&mut self) -> Result<&'a str, Unreadable> {
        match self.0.next_value() {
            Some(Value::Bulk(word) | Value::Line(b'+' | b':', word)) => {
                std::str::from_utf8(word).map_err(|_| Unreadable)
            }
            Some(Value::Null) => Ok(""),
            _ => Err(Unreadable),
        }
    }

    fn number<N: FromStr>(&mut self) -> Result<N, Unreadable> {
        self.word()?.parse().map_err(|_| Unreadable)
    }

    fn range(&mut self) -> Result<RangeInclusive<u16>, Unreadable> {
        let (first, last) = (self.number()?, self.number()?);
        if first <= last && last < SLOTS { Ok(first..=last) } else { Err(Unreadable) }
    }

    fn skip(&mut self) -> Result<(), Unreadable> {
        self.0.skip_value().ok_or(Unreadable)
    }
}

/// What `CLUSTER SHARDS` says of a node.
#[derive(Default)]
struct Node<'a> {
    id: &'a str,
    endpoint: &'a str,
    ip: &'a str,
    port: u16,
    role: &'a str,
    health: &'a str,
}

impl<'a> Node<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Unreadable> {
        let mut node = Self::default();
        for _ in 0..reader.pairs()? {
            match reader.word()? {
                "id" => node.id = reader.word()?,
                "endpoint" => node.endpoint = reader.word()?,
                "ip" => node.ip = reader.word()?,
                "port" => node.port = reader.number()?,
                "role" => node.role = reader.word()?,
                "health" => node.health = reader.word()?,
                _ => reader.skip()?,
            }
        }
        Ok(node)
    }

    fn is_primary(&self) -> bool {
        self.role == "master"
    }

    fn has_failed(&self) -> bool {
        self.health == "fail"
    }

    fn announced(&self, asked: &str) -> Result<Announced, Unreadable> {
        Announced::checked(host(self.endpoint, self.ip, asked), self.port, self.id)
    }
}

/// Where a node is, by what was announced.
fn host<'a>(endpoint: &'a str, ip: &'a str, asked: &'a str) -> &'a str {
    match endpoint {
        "" => asked,
        UNKNOWN if ip.is_empty() => asked,
        UNKNOWN => ip,
        endpoint => endpoint,
    }
}

/// The reply to `CLUSTER SHARDS` of the node at host `asked`.
pub fn cluster_shards(reply: &[u8], asked: &str) -> Result<Layout, Unreadable> {
    let mut reader = Reader::new(reply);
    let mut shards = Vec::new();
    for _ in 0..reader.elements()? {
        shards.extend(shard(&mut reader, asked)?);
        if shards.len() > MAX_SHARDS {
            return Err(Unreadable);
        }
    }
    Layout::checked(shards)
}

fn shard(reader: &mut Reader<'_>, asked: &str) -> Result<Option<ShardLayout>, Unreadable> {
    let (mut slots, mut nodes) = (Vec::new(), Vec::new());
    for _ in 0..reader.pairs()? {
        match reader.word()? {
            "slots" => {
                let ranges = reader.pairs()?;
                if ranges > MAX_RANGES {
                    return Err(Unreadable);
                }
                slots = (0..ranges).map(|_| reader.range()).collect::<Result<_, _>>()?;
            }
            "nodes" => {
                let count = reader.elements()?;
                // The primary, and one that it has replaced.
                if count > MAX_REPLICAS + 2 {
                    return Err(Unreadable);
                }
                nodes = (0..count).map(|_| Node::read(reader)).collect::<Result<_, _>>()?;
            }
            _ => reader.skip()?,
        }
    }
    if nodes.is_empty() {
        return Err(Unreadable);
    }
    let mut primaries: Vec<&Node<'_>> = nodes.iter().filter(|node| node.is_primary()).collect();
    primaries.sort_by_key(|node| node.has_failed());
    let Some(primary) = primaries.first() else { return Ok(None) };
    if slots.is_empty() && primary.has_failed() {
        return Ok(None);
    }
    let replicas = nodes.iter().filter(|node| !node.is_primary() && node.health == "online");
    let replicas = replicas.map(|node| node.announced(asked)).collect::<Result<_, _>>()?;
    Ok(Some(ShardLayout { primary: primary.announced(asked)?, replicas, slots }))
}

/// The reply to `CLUSTER SLOTS` of the node at host `asked`. It has one entry for each range, and no shards
/// without slots.
pub fn cluster_slots(reply: &[u8], asked: &str) -> Result<Layout, Unreadable> {
    let mut reader = Reader::new(reply);
    let mut shards: Vec<ShardLayout> = Vec::new();
    let mut of_primary = HashMap::new();
    let entries = reader.elements()?;
    if entries > MAX_RANGES {
        return Err(Unreadable);
    }
    for _ in 0..entries {
        let nodes = reader.elements()?.checked_sub(2).ok_or(Unreadable)?;
        let range = reader.range()?;
        if !(1..=MAX_REPLICAS + 1).contains(&nodes) {
            return Err(Unreadable);
        }
        let primary = node_of_range(&mut reader, asked)?;
        let replicas = (1..nodes).map(|_| node_of_range(&mut reader, asked)).collect::<Result<_, _>>()?;
        let place = (primary.id.clone(), primary.host.clone(), primary.port);
        let position = *of_primary.entry(place).or_insert(shards.len());
        match shards.get_mut(position) {
            Some(shard) => shard.slots.push(range),
            None => shards.push(ShardLayout { primary, replicas, slots: vec![range] }),
        }
    }
    Layout::checked(shards)
}

/// `[endpoint, port, id, [name, value, …]]`; the id is missing before Redis 4, the last before Redis 7.
fn node_of_range(reader: &mut Reader<'_>, asked: &str) -> Result<Announced, Unreadable> {
    let elements = reader.elements()?;
    if elements < 2 {
        return Err(Unreadable);
    }
    let (endpoint, port) = (reader.word()?, reader.number()?);
    let id = if elements > 2 { reader.word()? } else { "" };
    let mut ip = "";
    if elements > 3 {
        for _ in 0..reader.pairs()? {
            match reader.word()? {
                "ip" => ip = reader.word()?,
                _ => reader.skip()?,
            }
        }
    }
    for _ in 4..elements {
        reader.skip()?;
    }
    Announced::checked(host(endpoint, ip, asked), port, id)
}

/// How a node sees its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClusterState {
    /// Whether it believes the cluster to be able to serve.
    pub is_ok: bool,
    /// The highest epoch it knows: higher is later.
    pub epoch: u64,
}

/// The reply to `CLUSTER INFO`.
pub fn cluster_info(reply: &[u8]) -> Result<ClusterState, Unreadable> {
    let text = Reader::new(reply).word()?;
    let value = |name: &str| {
        let of_line = |line: &'_ str| line.strip_prefix(name)?.strip_prefix(':').map(str::to_owned);
        text.lines().find_map(of_line).ok_or(Unreadable)
    };
    let epoch = value("cluster_current_epoch")?.parse().map_err(|_| Unreadable)?;
    Ok(ClusterState { is_ok: value("cluster_state")? == "ok", epoch })
}

/// The reply to `SENTINEL GET-MASTER-ADDR-BY-NAME`, without an id; `None`: it watches no group of that name.
pub fn sentinel_address(reply: &[u8]) -> Result<Option<Announced>, Unreadable> {
    let mut reader = Reader::new(reply);
    match reader.0.next_value() {
        Some(Value::Array(2)) => Announced::checked(reader.word()?, reader.number()?, "").map(Some),
        Some(Value::Null) => Ok(None),
        _ => Err(Unreadable),
    }
}

/// A node, as a sentinel sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// The node; its id is its run id.
    pub node: Announced,
    /// Whether the sentinel cannot reach it, or it does not follow its primary.
    pub is_down: bool,
    /// Of a primary: the epoch of the failover that made it one; higher is later.
    pub epoch: u64,
}

impl Watched {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Unreadable> {
        let (mut ip, mut port, mut id, mut is_down, mut epoch) = ("", 0, "", false, 0);
        for _ in 0..reader.pairs()? {
            match reader.word()? {
                "ip" => ip = reader.word()?,
                "port" => port = reader.number()?,
                "runid" => id = reader.word()?,
                "flags" => {
                    let down = |flag| matches!(flag, "s_down" | "o_down" | "disconnected");
                    is_down |= reader.word()?.split(',').any(down);
                }
                "config-epoch" => epoch = reader.number()?,
                "master-link-status" => is_down |= reader.word()? != "ok",
                _ => reader.skip()?,
            }
        }
        Ok(Self { node: Announced::checked(ip, port, id)?, is_down, epoch })
    }
}

/// The reply to `SENTINEL MASTER`.
pub fn sentinel_primary(reply: &[u8]) -> Result<Watched, Unreadable> {
    Watched::read(&mut Reader::new(reply))
}

/// The reply to `SENTINEL REPLICAS`: those that can be read from, in the order of their ids.
pub fn sentinel_replicas(reply: &[u8]) -> Result<Vec<Announced>, Unreadable> {
    let mut reader = Reader::new(reply);
    let count = reader.elements()?;
    if count > MAX_REPLICAS {
        return Err(Unreadable);
    }
    let watched = (0..count).map(|_| Watched::read(&mut reader)).collect::<Result<Vec<_>, _>>()?;
    let up = watched.into_iter().filter(|replica| !replica.is_down);
    let mut replicas: Vec<Announced> = up.map(|replica| replica.node).collect();
    replicas.sort_by(Announced::compare);
    Ok(replicas)
}

/// What a server says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It takes writes.
    Primary,
    /// It follows another.
    Replica {
        /// Whether it has all that its primary has, or gets it as it comes.
        is_linked: bool,
    },
    /// It watches others.
    Sentinel,
}

/// The reply to `ROLE`.
pub fn role(reply: &[u8]) -> Result<Role, Unreadable> {
    let mut reader = Reader::new(reply);
    let elements = reader.elements()?;
    match (reader.word()?, elements) {
        ("master", _) => Ok(Role::Primary),
        ("sentinel", _) => Ok(Role::Sentinel),
        ("slave", 5) => {
            // The address of its primary.
            reader.skip()?;
            reader.skip()?;
            Ok(Role::Replica { is_linked: reader.word()? == "connected" })
        }
        _ => Err(Unreadable),
    }
}

/// What a sentinel tells those who are subscribed to `+switch-master`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Switched {
    /// The group that has another primary.
    pub group: String,
    /// That primary, without an id.
    pub primary: Announced,
}

/// The message of `+switch-master`: `group old-host old-port new-host new-port`.
pub fn switched(message: &[u8]) -> Result<Switched, Unreadable> {
    let words: Vec<&str> = std::str::from_utf8(message).map_err(|_| Unreadable)?.split(' ').collect();
    let [group, _, _, host, port] = words[..] else { return Err(Unreadable) };
    let primary = Announced::checked(host, port.parse().map_err(|_| Unreadable)?, "")?;
    Ok(Switched { group: group.to_owned(), primary })
}

#[cfg(test)]
mod tests;
