//! What a user proves who they are with, kept only as a digest.
//!
//! SHA-256 without salt or stretching, as Redis' own ACL keeps passwords: secrets of services are long and
//! random, and a reconnect storm of thousands of `AUTH` must not cost a second of CPU. What is in memory or
//! in the configuration is never the password itself.

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

/// Bytes of a SHA-256 digest.
const DIGEST_LEN: usize = 32;

/// The digest of one password.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; DIGEST_LEN]);

/// What follows `sha256:` is not 64 hexadecimal digits. The text itself is not kept: it may be a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a sha256 secret has 64 hexadecimal digits; this has {length} characters{}", told(*.all_digits))]
pub struct NotADigest {
    /// Characters found.
    pub length: usize,
    /// Whether all of them are hexadecimal digits.
    pub all_digits: bool,
}

fn told(all_digits: bool) -> &'static str {
    if all_digits { "" } else { ", not all of them hexadecimal" }
}

impl Secret {
    /// The secret whose password is `password`. Takes time in proportion to the password's length only.
    pub fn of_password(password: &[u8]) -> Self {
        Self(Sha256::digest(password).into())
    }

    /// The secret with this SHA-256 digest, in hexadecimal of either case (what `sha256sum` prints).
    pub fn from_hex(hex: &str) -> Result<Self, NotADigest> {
        let digits: Option<Vec<u8>> = hex.chars().map(hex_digit).collect();
        let refused = NotADigest { length: hex.chars().count(), all_digits: digits.is_some() };
        let digits = digits.ok_or(refused)?;
        let bytes: Vec<u8> =
            digits.chunks_exact(2).map(|pair| pair.iter().fold(0, |byte, d| byte << 4 | d)).collect();
        match (digits.len() % 2, <[u8; DIGEST_LEN]>::try_from(bytes)) {
            (0, Ok(digest)) => Ok(Self(digest)),
            _ => Err(refused),
        }
    }

    /// Whether both are digests of one password; takes the same time wherever they differ.
    pub fn is_same(&self, other: &Secret) -> Choice {
        self.0.ct_eq(&other.0)
    }
}

fn hex_digit(character: char) -> Option<u8> {
    u8::try_from(character.to_digit(16)?).ok()
}

/// Shows nothing of the digest: a short password can be guessed from it.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `printf %s hunter2 | sha256sum`
    const HUNTER2: &str = "f52fbd32b2b3b86ff88ef6c490628285f482af15ddcb29541f94bcf526a3f6c7";

    #[test]
    fn a_password_matches_its_published_digest() {
        let secret = Secret::from_hex(HUNTER2).unwrap();
        assert!(bool::from(secret.is_same(&Secret::of_password(b"hunter2"))));
        assert!(!bool::from(secret.is_same(&Secret::of_password(b"hunter3"))));
        assert_eq!(secret, Secret::from_hex(&HUNTER2.to_uppercase()).unwrap());
    }

    #[test]
    fn what_is_not_a_digest_is_refused_without_being_shown() {
        assert_eq!(
            "a sha256 secret has 64 hexadecimal digits; this has 7 characters, not all of them hexadecimal",
            Secret::from_hex("hunter2").unwrap_err().to_string()
        );
        for length in [0, 63, 65, 66] {
            assert_eq!(Err(NotADigest { length, all_digits: true }), Secret::from_hex(&"a".repeat(length)));
        }
    }

    #[test]
    fn debug_shows_no_digest() {
        assert_eq!("Secret(***)", format!("{:?}", Secret::of_password(b"hunter2")));
    }
}
