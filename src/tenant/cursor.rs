//! Cursors of `SCAN` as a tenant sees them: numbers that tell nothing.
//!
//! The upstream's cursor is a position in the table of all tenants' keys, so its size tells how many there
//! are. What a client gets instead is a permutation of the numbers below 2^52 under a key of its own
//! namespace: 0 stays 0, because it begins and ends a walk, and any other number may stand for any other.
//! Nothing is remembered: a cursor is as good after a restart, and on another instance with the same secret,
//! as it was before.
//!
//! **52 bits**, because clients written in JavaScript read numbers as doubles, which are exact up to 2^53; an
//! upstream's cursor is smaller than its table, so it would take 10^15 keys to outgrow them. A block cipher
//! has more bits than that; hence a Feistel network, as *NIST SP 800-38G* builds permutations of odd sizes:
//! ten rounds over two halves of 26 bits, whose round function is SHA-256 under the key, cut to a half. The
//! key has a fixed length and so has all that follows it, so nothing can be appended to what was hashed. Ten
//! hashes are nothing beside the page that follows, and the crate is here already. The cycle through 0 is
//! closed without it ("cycle walking"), which leaves 0 to itself and a permutation of the rest.
//!
//! **Several shards.** A cursor is a position in the table of one server, whose order no other server shares.
//! So where there is more than one server, the 52 bits also say whose position it is ([`Place`]):
//!
//! | the keys lie on | bits, from the highest |
//! |---|---|
//! | a server by itself | 52 of its cursor |
//! | one shard, whose primary may be replaced | 8 of the primary's identity, 44 of its cursor |
//! | the shards of a cluster | a zero, 14 of the shard's lowest slot, 8 of the identity, 29 of its cursor |
//! | the same, and the cursor is larger | a one, the lowest 14 of the cursor, 8 of the identity, its next 29 |
//!
//! The last is for servers that have a table for each slot (Redis 7.4, Valkey 8.0 and later): the lowest bits
//! of their cursors are a slot of theirs, which finds the shard as well as its lowest one does. Without it
//! one slot with 2^15 buckets would be too many.
//!
//! A number that a client invents stands for some position too, as in Redis, where it shows keys of the
//! client's namespace and no others. The permutation hides sizes; it guards nothing.

use sha2::{Digest, Sha256};

use super::directory::Namespace;
use crate::command::slot::SLOTS;

/// Bits of one half of a cursor.
const HALF_BITS: u32 = 26;
/// A half with all bits set.
const HALF: u64 = (1 << HALF_BITS) - 1;
/// One more than the largest cursor.
const END: u64 = 1 << (2 * HALF_BITS);
/// Rounds of the network, as in FF1.
const ROUNDS: u8 = 10;

/// Bits that tell one primary of a shard from another.
const IDENTITY_BITS: u32 = 8;
/// Bits of a slot's number.
const SLOT_BITS: u32 = SLOTS.ilog2();
/// Bits of an upstream's cursor, where the walk covers one shard.
const SHARD_BITS: u32 = 2 * HALF_BITS - IDENTITY_BITS;
/// Bits of an upstream's cursor, or of what is left of it without its slot, where it covers a cluster.
const TABLE_BITS: u32 = SHARD_BITS - SLOT_BITS - 1;
/// Set where the slot is that of the cursor.
const IS_OF_CURSOR: u64 = END >> 1;

/// What a walk covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// A server by itself.
    Server,
    /// One shard, whose primary may be replaced.
    Shard,
    /// All shards of a cluster, one after the other.
    Cluster,
}

/// How far a walk has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// A slot of the shard that it has come to; 0 where there is one shard only.
    pub slot: u16,
    /// The identity of the shard's primary; 0 of a server by itself.
    pub identity: u8,
    /// That server's cursor.
    pub cursor: u64,
}

impl Place {
    /// As one number for [`CursorCipher::hide`]; `None`: the server's cursor is too large. `owns` says
    /// whether the shard owns a slot.
    pub fn packed(self, extent: Extent, owns: impl Fn(u16) -> bool) -> Option<u64> {
        let identity = u64::from(self.identity);
        match extent {
            Extent::Server => Some(self.cursor),
            Extent::Shard => Some(identity << SHARD_BITS | of_bits(SHARD_BITS, self.cursor)?),
            Extent::Cluster => {
                let all = |slot, table| {
                    u64::from(slot) << (IDENTITY_BITS + TABLE_BITS) | identity << TABLE_BITS | table
                };
                if let Some(cursor) = of_bits(TABLE_BITS, self.cursor) {
                    return Some(all(self.slot, cursor));
                }
                let (table, slot) = (of_bits(TABLE_BITS, self.cursor >> SLOT_BITS)?, low_slot(self.cursor));
                owns(slot).then(|| IS_OF_CURSOR | all(slot, table))
            }
        }
    }

    /// The place that such a number stands for.
    pub fn unpacked(extent: Extent, number: u64) -> Self {
        match extent {
            Extent::Server => Self { slot: 0, identity: 0, cursor: number },
            Extent::Shard => {
                Self { slot: 0, identity: low_byte(number >> SHARD_BITS), cursor: low(SHARD_BITS, number) }
            }
            Extent::Cluster => {
                let (slot, table) =
                    (low_slot(number >> (IDENTITY_BITS + TABLE_BITS)), low(TABLE_BITS, number));
                let is_of_cursor = number & IS_OF_CURSOR != 0;
                let cursor = if is_of_cursor { table << SLOT_BITS | u64::from(slot) } else { table };
                Self { slot, identity: low_byte(number >> TABLE_BITS), cursor }
            }
        }
    }
}

/// `number`, if it has no more than so many bits.
fn of_bits(bits: u32, number: u64) -> Option<u64> {
    Some(number).filter(|number| *number == low(bits, *number))
}

/// The lowest bits of `number`.
fn low(bits: u32, number: u64) -> u64 {
    number & !(u64::MAX << bits)
}

fn low_slot(number: u64) -> u16 {
    u16::try_from(low(SLOT_BITS, number)).unwrap_or_default()
}

fn low_byte(number: u64) -> u8 {
    u8::try_from(low(u8::BITS, number)).unwrap_or_default()
}

/// The permutation of one namespace.
#[derive(Clone)]
pub struct CursorCipher {
    key: [u8; 32],
}

/// Shows no key.
impl std::fmt::Debug for CursorCipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CursorCipher(***)")
    }
}

impl CursorCipher {
    /// The permutation of `namespace` under a secret of the proxy; instances with one secret understand each
    /// other's cursors.
    pub fn new(secret: &[u8; 32], namespace: &Namespace) -> Self {
        let native = namespace.native.unwrap_or(u32::MAX).to_le_bytes();
        let key = Sha256::new()
            .chain_update(b"tenantry scan cursor")
            .chain_update(secret)
            .chain_update(native)
            .chain_update(namespace.prefix.as_bytes())
            .finalize();
        Self { key: key.into() }
    }

    /// The upstream's cursor as the client gets it; `None`: it is larger than any client's can be.
    pub fn hide(&self, upstream: u64) -> Option<u64> {
        around_zero(upstream, |cursor| self.forward(cursor))
    }

    /// The upstream's cursor behind a client's; `None`: it is larger than any that was given out.
    pub fn reveal(&self, shown: u64) -> Option<u64> {
        around_zero(shown, |cursor| self.backward(cursor))
    }

    fn forward(&self, cursor: u64) -> u64 {
        let (left, right) = (0..ROUNDS)
            .fold((cursor >> HALF_BITS, cursor & HALF), |(l, r), round| (r, l ^ self.round(round, r)));
        left << HALF_BITS | right
    }

    fn backward(&self, cursor: u64) -> u64 {
        let (left, right) = (0..ROUNDS)
            .rev()
            .fold((cursor >> HALF_BITS, cursor & HALF), |(l, r), round| (r ^ self.round(round, l), l));
        left << HALF_BITS | right
    }

    /// A half that nobody without the key can tell from a random one.
    fn round(&self, round: u8, half: u64) -> u64 {
        let digest =
            Sha256::new().chain_update(self.key).chain_update([round]).chain_update(half.to_le_bytes());
        let digest: [u8; 32] = digest.finalize().into();
        digest.first_chunk::<8>().map_or(0, |first| u64::from_le_bytes(*first) & HALF)
    }
}

/// `permute` on the numbers from 1: what would become 0 becomes what 0 would.
fn around_zero(cursor: u64, permute: impl Fn(u64) -> u64) -> Option<u64> {
    match cursor {
        0 => Some(0),
        END.. => None,
        _ => match permute(cursor) {
            0 => Some(permute(0)),
            permuted => Some(permuted),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cipher() -> CursorCipher {
        CursorCipher::new(&[7; 32], &crate::tenant::example_namespace())
    }

    #[test]
    fn a_walk_begins_and_ends_with_0() {
        assert_eq!((Some(0), Some(0)), (cipher().hide(0), cipher().reveal(0)));
    }

    /// The numbers next to the hole: what 0 would become, and what would become 0.
    #[test]
    fn the_cycle_through_0_is_closed_without_it() {
        let cipher = cipher();
        let (after, before) = (cipher.forward(0), cipher.backward(0));
        assert_ne!(0, after);
        assert_eq!((Some(after), Some(before)), (cipher.hide(before), cipher.reveal(after)));
    }

    #[test]
    fn a_number_with_more_than_52_bits_is_no_cursor() {
        for number in [1 << 52, u64::MAX] {
            assert_eq!((None, None), (cipher().hide(number), cipher().reveal(number)));
        }
        assert!(cipher().hide((1 << 52) - 1).is_some());
    }

    /// A restart or an upgrade must not break the walks of clients. The numbers are those of a second
    /// program, written from the head comment.
    #[test]
    fn the_same_secret_gives_the_same_cursors_for_ever() {
        let expected = [111_959_459_807_735, 4_330_385_195_604_947, 1_943_461_165_081_128].map(Some);
        assert_eq!(expected, [1, 2, 3].map(|upstream| cipher().hide(upstream)));
    }

    #[test]
    fn secrets_and_namespaces_have_permutations_of_their_own() {
        let other_secret = CursorCipher::new(&[8; 32], &crate::tenant::example_namespace());
        assert_ne!(cipher().hide(1), other_secret.hide(1));
    }

    #[test]
    fn the_fields_of_a_place_have_their_bits() {
        let place = Place { slot: 0x2001, identity: 0xa5, cursor: 0x1234_5678 };
        let packed = |place: Place, extent| place.packed(extent, |slot| slot == 0x0765).unwrap();
        assert_eq!(0x0000_0000_1234_5678, packed(place, Extent::Server));
        assert_eq!(0x000a_5000_1234_5678, packed(place, Extent::Shard));
        assert_eq!(0x2001 << 37 | 0xa5 << 29 | 0x1234_5678, packed(place, Extent::Cluster));
        let larger = Place { cursor: 0x0123_4567 << 14 | 0x0765, ..place };
        assert_eq!(1 << 51 | 0x0765 << 37 | 0xa5 << 29 | 0x0123_4567, packed(larger, Extent::Cluster));
    }

    #[test]
    fn a_cursor_that_does_not_fit_has_no_place() {
        let packed = |cursor, extent| Place { slot: 1, identity: 2, cursor }.packed(extent, |slot| slot == 7);
        assert_eq!(None, packed(1 << 44, Extent::Shard));
        assert!(packed((1 << 44) - 1, Extent::Shard).is_some());
        assert_eq!(None, packed(1 << 29, Extent::Cluster), "slot 0 is not the shard's");
        assert!(packed(1 << 29 | 7, Extent::Cluster).is_some());
        assert_eq!(None, packed(1 << 43 | 7, Extent::Cluster));
    }

    proptest! {
        #[test]
        fn a_place_that_was_packed_is_found_again(
            slot in 0..SLOTS, identity in any::<u8>(), bits in 0u32..45, cursor in any::<u64>()
        ) {
            let place = Place { slot, identity, cursor: low(bits, cursor) };
            for extent in [Extent::Shard, Extent::Cluster] {
                let Some(packed) = place.packed(extent, |_| true) else {
                    prop_assert!(place.cursor >= 1 << 43);
                    continue;
                };
                prop_assert!(packed < END);
                let found = Place::unpacked(extent, packed);
                let expected = match extent {
                    Extent::Cluster if place.cursor < 1 << 29 => slot,
                    Extent::Cluster => low_slot(place.cursor),
                    Extent::Shard | Extent::Server => 0,
                };
                prop_assert_eq!(Place { slot: expected, ..place }, found);
            }
            prop_assert_eq!(place.cursor, Place::unpacked(Extent::Server, place.cursor).cursor);
        }

        /// Clients may invent any.
        #[test]
        fn every_number_stands_for_some_place(number in any::<u64>()) {
            for extent in [Extent::Server, Extent::Shard, Extent::Cluster] {
                prop_assert!(Place::unpacked(extent, number).slot < SLOTS);
            }
        }

        #[test]
        fn what_was_hidden_is_revealed(cursor in 0..END) {
            let hidden = cipher().hide(cursor).expect("it has 52 bits");
            prop_assert!(hidden < END);
            prop_assert_eq!(cursor == 0, hidden == 0);
            prop_assert_eq!(Some(cursor), cipher().reveal(hidden));
            prop_assert_eq!(Some(cursor), cipher().hide(cipher().reveal(cursor).expect("it has 52 bits")));
        }

        /// Small tables have small cursors; what is shown must be anywhere all the same.
        #[test]
        fn small_cursors_do_not_stay_small(first in 1u64..1_000_000) {
            let shown = (first..first + 64).filter_map(|cursor| cipher().hide(cursor));
            let small = shown.filter(|shown| *shown < END / 16).count();
            prop_assert!(small < 32, "{} of 64 are in the lowest sixteenth", small);
        }
    }
}
