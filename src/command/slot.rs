//! The hash slot of a key, as a cluster computes it (*Redis cluster specification*, "Key distribution
//! model").

use crc::{CRC_16_XMODEM, Crc, Table};

/// Slots of a cluster; they are numbered from 0.
pub const SLOTS: u16 = 16384;

/// Byte by byte with one table: keys are short, and the larger tables would push others out of the cache.
const CRC16: Crc<u16, Table<1>> = Crc::<u16, Table<1>>::new(&CRC_16_XMODEM);

/// The slot of `key`.
pub fn slot(key: &[u8]) -> u16 {
    slot_of_parts(b"", key)
}

/// The slot of the key that is `prefix` followed by `name`, without putting them together.
pub fn slot_of_parts(prefix: &[u8], name: &[u8]) -> u16 {
    let (beginning, end) = hashed(prefix, name);
    let mut digest = CRC16.digest();
    digest.update(beginning);
    digest.update(end);
    digest.finalize() % SLOTS
}

/// The slot of every key that begins with `prefix`; `None`: they are spread.
pub fn slot_of_all(prefix: &[u8]) -> Option<u16> {
    let tag = behind(b'{', prefix).and_then(|inside| before(b'}', inside))?;
    (!tag.is_empty()).then(|| slot(tag))
}

/// What of a key in two parts is hashed, in two parts: what stands between the first `{` and the next `}`,
/// unless that is nothing.
fn hashed<'k>(prefix: &'k [u8], name: &'k [u8]) -> (&'k [u8], &'k [u8]) {
    let tag = match behind(b'{', prefix) {
        None => behind(b'{', name).and_then(|inside| Some((b"".as_slice(), before(b'}', inside)?))),
        Some(inside) => match before(b'}', inside) {
            Some(tag) => Some((tag, b"".as_slice())),
            None => before(b'}', name).map(|end| (inside, end)),
        },
    };
    tag.filter(|(beginning, end)| !beginning.is_empty() || !end.is_empty()).unwrap_or((prefix, name))
}

fn behind(byte: u8, text: &[u8]) -> Option<&[u8]> {
    text.get(memchr::memchr(byte, text)?.checked_add(1)?..)
}

fn before(byte: u8, text: &[u8]) -> Option<&[u8]> {
    text.get(..memchr::memchr(byte, text)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_checksum_is_that_of_the_specification() {
        assert_eq!(0x31c3, CRC16.checksum(b"123456789"));
    }

    /// What `CLUSTER KEYSLOT` of Redis 7.0.15 says.
    #[test]
    fn keys_have_the_slots_that_a_server_gives_them() {
        for (key, expected) in [
            ("", 0),
            ("foo", 12182),
            ("acme:k", 2794),
            ("{acme}:k", 11304),
            ("{acme}:{u1}:k", 11304),
            ("acme:{u1}:k", 4574),
            ("acme}:{u1}", 4574),
            ("u1", 4574),
        ] {
            assert_eq!(expected, slot(key.as_bytes()), "{key}");
        }
    }

    #[test]
    fn an_empty_or_open_tag_is_no_tag() {
        for key in ["{}foo", "foo{}", "foo{bar", "{}{foo}", "}foo{"] {
            assert_eq!(CRC16.checksum(key.as_bytes()) % SLOTS, slot(key.as_bytes()), "{key}");
        }
    }

    #[test]
    fn a_complete_tag_in_the_prefix_decides_the_slot_of_all_keys() {
        for (prefix, expected) in [
            ("{acme}:", Some(11304)),
            ("a{acme}@1:", Some(11304)),
            ("acme:", None),
            ("{}{acme}:", None),
            ("{acme", None),
        ] {
            assert_eq!(expected, slot_of_all(prefix.as_bytes()), "{prefix}");
        }
    }

    /// Many braces, few letters.
    fn any_part() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop::sample::select(b"{}{}ab:".to_vec()), 0..8)
    }

    /// The words of the specification's own example program, over a whole key.
    fn as_specified(key: &[u8]) -> u16 {
        let open = key.iter().position(|byte| *byte == b'{');
        let tag = open.and_then(|open| {
            let close = key[open + 1..].iter().position(|byte| *byte == b'}')?;
            (close != 0).then(|| &key[open + 1..open + 1 + close])
        });
        CRC16.checksum(tag.unwrap_or(key)) % SLOTS
    }

    proptest! {
        /// Wherever the tag begins and ends: in the prefix, in the name, or in both.
        #[test]
        fn a_key_in_two_parts_has_the_slot_of_the_whole(prefix in any_part(), name in any_part()) {
            let whole = [&prefix[..], &name].concat();
            prop_assert_eq!(as_specified(&whole), slot_of_parts(&prefix, &name));
            prop_assert_eq!(as_specified(&whole), slot(&whole));
            if let Some(slot) = slot_of_all(&prefix) {
                prop_assert_eq!(as_specified(&whole), slot);
            }
        }
    }
}
