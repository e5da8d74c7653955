//! Names of servers that tell two of them apart and nothing else: what Redis makes of 40 random hexadecimal
//! digits, the proxy derives, so that every worker and every instance says the same.

use bytes::Bytes;
use sha2::{Digest, Sha256};

/// Digits of Redis' run and node ids.
const DIGITS: usize = 40;

/// 40 hexadecimal digits that only depend on `parts`, which cannot be found from them.
pub(super) fn pseudonym(parts: &[&str]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        // Lengths, so that no two lists of parts are one text.
        digest.update(part.len().to_le_bytes());
        digest.update(part);
    }
    let mut digits = format!("{:x}", Bytes::copy_from_slice(&digest.finalize()));
    digits.truncate(DIGITS);
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pseudonym_is_stable_and_depends_on_every_part() {
        let expected = pseudonym(&["run", "abc", "acme"]);
        assert_eq!(40, expected.len());
        assert!(expected.bytes().all(|digit| digit.is_ascii_hexdigit()), "{expected}");
        assert_eq!(expected, pseudonym(&["run", "abc", "acme"]));
        for other in
            [["node", "abc", "acme"], ["run", "abd", "acme"], ["run", "abc", "acma"], ["run", "abcacme", ""]]
        {
            assert_ne!(expected, pseudonym(&other));
        }
    }
}
