//! The hash slot of a key, as a cluster computes it (*Redis cluster specification*, "Key distribution model").

use crc::{CRC_16_XMODEM, Crc, Table};

/// Slots of a cluster; they are numbered from 0.
pub const SLOTS: u16 = 16384;

/// Byte by byte with one table: keys are short, and the larger tables would push others out of the cache.
const CRC16: Crc<u16, Table<1>> = Crc::<u16, Table<1>>::new(&CRC_16_XMODEM);

/// The slot of `key`.
pub fn slot(key: &[u8]) -> u16 {
    CRC16.checksum(hashed(key)) % SLOTS
}

/// What of a key is hashed: what stands between the first `{` and the next `}`, unless that is nothing.
fn hashed(key: &[u8]) -> &[u8] {
    let tag = memchr::memchr(b'{', key).and_then(|open| {
        let inside = key.get(open + 1..)?;
        inside.get(..memchr::memchr(b'}', inside)?)
    });
    tag.filter(|tag| !tag.is_empty()).unwrap_or(key)
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
