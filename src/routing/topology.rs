//! Which shards there are and which of them owns a slot: one immutable snapshot.
//!
//! A snapshot is never changed: who finds that shards have moved publishes another one, and a request keeps the
//! one that it was routed by. A standalone server is one shard that owns everything, and so is what a sentinel
//! watches; then no slot is looked up, and all keys of one server may meet in one request ([`MultiKeyScope`]).
//! A cluster has a table with an entry for each slot.
//!
//! Nodes are numbers ([`NodeId`]), because a snapshot is compared and copied while addresses belong to those who
//! connect.

use std::ops::RangeInclusive;

use sha2::{Digest, Sha256};

use crate::command::slot::SLOTS;

/// Stands in the slot table for a slot that no shard owns. No topology has so many shards.
const NOBODY: u16 = u16::MAX;

/// One node's address, as a number that means the same as long as the process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u32);

/// The nodes that hold the same keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    /// The node that takes writes.
    pub primary: NodeId,
    /// The nodes that follow it.
    pub replicas: Box<[NodeId]>,
    /// The node that answers fastest, if that is measured.
    pub nearest: Option<NodeId>,
    /// What tells this primary from the one before: see [`identity_of`].
    pub identity: u8,
}

/// Eight bits of the primary's announced id (of a cluster's node, or the run id that a sentinel knows).
///
/// They go into `SCAN` cursors, which one proxy gives out and another may be asked to go on with. A cursor means
/// something only to the node that made it, so it must be recognised when another node has become the primary;
/// and all proxies must agree, so that nothing that only one of them knows may enter.
pub fn identity_of(announced_id: &str) -> u8 {
    let digest: [u8; 32] = Sha256::digest(announced_id.as_bytes()).into();
    let [first, ..] = digest;
    first
}

/// Which keys may meet in one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MultiKeyScope {
    /// All keys of a node: a server that is no cluster.
    Node,
    /// Keys of the same slot (*Redis cluster specification*, "Implemented subset").
    Slot,
}

/// The shards, ordered by the lowest slot each owns.
#[derive(Clone, Debug)]
pub struct Topology {
    version: u64,
    shards: Box<[Shard]>,
    owners: Owners,
}

/// Who owns a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Owners {
    /// The first shard owns all: there is no other.
    First,
    /// The position of the owner in `shards`, or [`NOBODY`], for each slot.
    BySlot(Box<[u16]>),
}

impl Topology {
    /// What is known before anybody has been asked: no shard, and so nothing that a request might rely on.
    pub fn unknown() -> Self {
        Self { version: 0, shards: Box::default(), owners: Owners::BySlot(Box::default()) }
    }

    /// One node that owns everything, for ever.
    pub fn of_one_node(node: NodeId) -> Self {
        Self::single(Shard { primary: node, replicas: Box::default(), nearest: None, identity: 0 })
    }

    /// One shard that owns everything.
    pub fn single(shard: Shard) -> Self {
        Self { version: 0, shards: Box::new([shard]), owners: Owners::First }
    }

    /// A cluster's shards, each with the slots that it owns.
    ///
    /// A shard without slots comes last: nothing is routed to it, but slots may be on their way to it, and their
    /// keys are there already. A slot that is claimed twice belongs to the shard that owns the lower slot.
    pub fn cluster(mut shards: Vec<(Shard, Vec<RangeInclusive<u16>>)>) -> Self {
        shards.sort_by_key(|(_, ranges)| ranges.iter().map(|range| *range.start()).min().unwrap_or(SLOTS));
        let mut owners = vec![NOBODY; usize::from(SLOTS)].into_boxed_slice();
        for (position, (_, ranges)) in shards.iter().enumerate() {
            let position = u16::try_from(position).unwrap_or(NOBODY);
            for range in ranges {
                let first = usize::from(*range.start());
                let len = usize::from(*range.end()).saturating_add(1).saturating_sub(first);
                let unclaimed = |owner: &&mut u16| **owner == NOBODY;
                owners.iter_mut().skip(first).take(len).filter(unclaimed).for_each(|owner| *owner = position);
            }
        }
        let shards = shards.into_iter().map(|(shard, _)| shard).collect();
        Self { version: 0, shards, owners: Owners::BySlot(owners) }
    }

    /// The same, with its number: each snapshot that is published has a higher one than those before.
    #[must_use]
    pub fn with_version(self, version: u64) -> Self {
        Self { version, ..self }
    }

    /// The same, with the node of each shard that answers fastest.
    #[must_use]
    pub fn with_nearest(mut self, nearest: impl Fn(&Shard) -> Option<NodeId>) -> Self {
        for shard in &mut self.shards {
            shard.nearest = nearest(shard);
        }
        self
    }

    /// Its number; 0 until something has been published.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Which keys may meet in one request.
    pub fn scope(&self) -> MultiKeyScope {
        match self.owners {
            Owners::First => MultiKeyScope::Node,
            Owners::BySlot(_) => MultiKeyScope::Slot,
        }
    }

    /// All shards, ordered by the lowest slot each owns; those without slots last.
    pub fn shards(&self) -> &[Shard] {
        &self.shards
    }

    /// Whether a shard is known.
    pub fn is_known(&self) -> bool {
        !self.shards.is_empty()
    }

    /// The shard that owns `slot`.
    #[inline]
    pub fn owner(&self, slot: u16) -> Option<&Shard> {
        match &self.owners {
            Owners::First => self.shards.first(),
            Owners::BySlot(table) => self.shards.get(usize::from(*table.get(usize::from(slot))?)),
        }
    }

    /// The position among the shards of the one that owns `slot`.
    pub fn position_of_owner(&self, slot: u16) -> Option<usize> {
        let position = match &self.owners {
            Owners::First => 0,
            Owners::BySlot(table) => usize::from(*table.get(usize::from(slot))?),
        };
        (position < self.shards.len()).then_some(position)
    }

    /// The lowest slot that each shard owns; `None`: it owns none. Looks at all slots.
    pub fn lowest_slots(&self) -> Vec<Option<u16>> {
        let mut lowest = vec![None; self.shards.len()];
        for slot in (0..SLOTS).rev() {
            if let Some(shard) = self.position_of_owner(slot).and_then(|owner| lowest.get_mut(owner)) {
                *shard = Some(slot);
            }
        }
        lowest
    }

    /// The slots of the shard at `position` of [`Topology::shards`], ascending.
    pub fn slots_of(&self, position: usize) -> Vec<RangeInclusive<u16>> {
        let Owners::BySlot(table) = &self.owners else { return vec![0..=SLOTS - 1] };
        let of = |(_, owner): &(u16, &u16)| usize::from(**owner) == position;
        let mut ranges: Vec<RangeInclusive<u16>> = Vec::new();
        for (slot, _) in (0..SLOTS).zip(table).filter(of) {
            match ranges.last_mut() {
                Some(range) if range.end().checked_add(1) == Some(slot) => *range = *range.start()..=slot,
                _ => ranges.push(slot..=slot),
            }
        }
        ranges
    }

    /// Number of slots that nobody owns.
    pub fn unserved(&self) -> usize {
        match &self.owners {
            Owners::First => 0,
            Owners::BySlot(table) => {
                usize::from(SLOTS) - table.iter().filter(|owner| **owner != NOBODY).count()
            }
        }
    }

    /// The shard that `node` belongs to. Looks at one after the other.
    pub fn shard_of(&self, node: NodeId) -> Option<&Shard> {
        self.shards.iter().find(|shard| shard.primary == node || shard.replicas.contains(&node))
    }

    /// Whether in both the same primaries own the same slots.
    pub fn has_owners_of(&self, other: &Self) -> bool {
        let primaries =
            |topology: &Self| -> Vec<NodeId> { topology.shards.iter().map(|shard| shard.primary).collect() };
        self.owners == other.owners && primaries(self) == primaries(other)
    }

    /// Whether both say the same, whatever their numbers.
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.shards == other.shards && self.owners == other.owners
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(primary: u32, replicas: &[u32]) -> Shard {
        let replicas = replicas.iter().copied().map(NodeId).collect();
        Shard { primary: NodeId(primary), replicas, nearest: None, identity: 0 }
    }

    fn primary_of(topology: &Topology, slot: u16) -> Option<u32> {
        topology.owner(slot).map(|shard| shard.primary.0)
    }

    #[test]
    fn before_anybody_was_asked_no_slot_has_an_owner() {
        assert!(!Topology::unknown().is_known());
        assert_eq!(None, primary_of(&Topology::unknown(), 0));
    }

    #[test]
    fn a_single_shard_owns_every_slot() {
        let topology = Topology::single(shard(7, &[8]));
        assert_eq!([Some(7); 3], [0, 1, 16383].map(|slot| primary_of(&topology, slot)));
        assert_eq!(MultiKeyScope::Node, topology.scope());
        assert!(topology.is_known());
    }

    #[test]
    fn slots_belong_to_the_shard_that_claims_them_and_the_others_to_nobody() {
        let topology = Topology::cluster(vec![
            (shard(1, &[]), vec![5..=9, 0..=1]),
            (shard(2, &[]), vec![3..=4, 16383..=16383]),
        ]);
        let expected = [(0, Some(1)), (1, Some(1)), (2, None), (3, Some(2)), (4, Some(2)), (5, Some(1))];
        for (slot, owner) in expected.into_iter().chain([(9, Some(1)), (10, None), (16383, Some(2))]) {
            assert_eq!(owner, primary_of(&topology, slot), "slot {slot}");
        }
        assert_eq!(None, primary_of(&topology, 16384));
        assert_eq!(MultiKeyScope::Slot, topology.scope());
    }

    #[test]
    fn slots_are_told_by_their_ranges_and_those_that_nobody_owns_by_number() {
        let topology = Topology::cluster(vec![
            (shard(1, &[]), vec![5..=9, 0..=1]),
            (shard(2, &[]), vec![3..=4, 16383..=16383]),
            (shard(3, &[]), vec![]),
        ]);
        let ranges: Vec<_> = (0..4).map(|position| topology.slots_of(position)).collect();
        assert_eq!(vec![vec![0..=1, 5..=9], vec![3..=4, 16383..=16383], vec![], vec![]], ranges);
        assert_eq!(16384 - 10, topology.unserved());
        assert_eq!(16384, Topology::unknown().unserved());
        let single = Topology::single(shard(7, &[]));
        assert_eq!((vec![0..=16383], 0), (single.slots_of(0), single.unserved()));
    }

    #[test]
    fn a_slot_that_is_claimed_twice_has_one_owner() {
        let claims = vec![(shard(2, &[]), vec![5..=20]), (shard(1, &[]), vec![0..=9])];
        let topology = Topology::cluster(claims);
        assert_eq!([Some(1), Some(2)], [9, 10].map(|slot| primary_of(&topology, slot)));
    }

    #[test]
    fn shards_are_ordered_by_their_lowest_slot_and_those_without_come_last() {
        let topology = Topology::cluster(vec![
            (shard(3, &[]), Vec::new()),
            (shard(2, &[]), vec![100..=16383]),
            (shard(1, &[]), vec![50..=99, 0..=9]),
            (shard(4, &[]), Vec::new()),
        ]);
        let primaries: Vec<u32> = topology.shards().iter().map(|shard| shard.primary.0).collect();
        assert_eq!(vec![1, 2, 3, 4], primaries);
    }

    #[test]
    fn a_node_is_found_as_primary_and_as_replica() {
        let topology =
            Topology::cluster(vec![(shard(1, &[4, 5]), vec![0..=99]), (shard(2, &[6]), vec![100..=200])]);
        for (node, expected) in [(1, Some(1)), (5, Some(1)), (6, Some(2)), (9, None)] {
            let found = topology.shard_of(NodeId(node)).map(|shard| shard.primary.0);
            assert_eq!(expected, found, "node {node}");
        }
    }

    #[test]
    fn topologies_are_compared_by_what_they_say_and_not_by_their_number() {
        let of = |slots| Topology::cluster(vec![(shard(1, &[2]), vec![slots])]);
        assert!(of(0..=9).is_same_as(&of(0..=9).with_version(3)));
        assert!(!of(0..=9).is_same_as(&of(0..=10)));
        assert!(!Topology::single(shard(1, &[2])).is_same_as(&Topology::single(shard(1, &[]))));
        assert!(!Topology::single(shard(1, &[])).is_same_as(&Topology::unknown()));
        assert_eq!(3, of(0..=9).with_version(3).version());
    }

    #[test]
    fn another_primary_has_another_identity() {
        assert_eq!(0xe3, identity_of(""));
        assert_ne!(
            identity_of("4f864e95e01887cf793ee30817d37eb986c5d79a"),
            identity_of("496168d5c98364e2612ca3102360694e684927f6")
        );
    }
}
