//! Where secrets are kept: `env:NAME`, `file:/path`, or, for users, `sha256:<digest>`.
//!
//! A secret in clear is refused in the file: files are copied, committed and pasted into tickets. In a
//! variable of ours it is taken as it is, since a variable is one of the two places where it may stand.

use super::layers::Environment;
use super::mistake::{Place, SecretMistake};
use crate::settings::Password;
use crate::tenant::secret::Secret;

/// Reads secrets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Secrets<'e> {
    pub(super) environment: &'e Environment,
}

/// The bytes of a secret, and what to call where they came from.
struct Found {
    bytes: Vec<u8>,
    origin: String,
}

impl Secrets<'_> {
    /// One of a user's secrets.
    pub(super) fn of_user(self, written: &str) -> Result<Secret, SecretMistake> {
        if let Some(hex) = written.strip_prefix("sha256:") {
            return Ok(Secret::from_hex(hex)?);
        }
        let found = self.referred_to(written)?.ok_or(SecretMistake::InClear { allows_digest: true })?;
        Ok(Secret::of_password(&found.bytes))
    }

    /// The password that an upstream is told.
    pub(super) fn of_upstream(self, written: &str, place: &Place) -> Result<Password, SecretMistake> {
        let found = match (self.referred_to(written)?, place) {
            (Some(found), _) => found,
            (None, Place::Environment(_)) => return Ok(Password::new(written.to_owned())),
            (None, Place::File { .. } | Place::Flag(_) | Place::Whole) => {
                return Err(SecretMistake::InClear { allows_digest: false });
            }
        };
        let text = String::from_utf8(found.bytes);
        text.map(Password::new).map_err(|_| SecretMistake::NotText { origin: found.origin })
    }

    /// `None`: it refers to nothing.
    fn referred_to(self, written: &str) -> Result<Option<Found>, SecretMistake> {
        let found = if let Some(name) = written.strip_prefix("env:") {
            let value = self.environment.get(name);
            let value = value.ok_or_else(|| SecretMistake::Unset { name: name.to_owned() })?;
            Found { bytes: value.as_bytes().to_vec(), origin: format!("environment variable {name}") }
        } else if let Some(path) = written.strip_prefix("file:") {
            let bytes = std::fs::read(path);
            let bytes =
                bytes.map_err(|error| SecretMistake::File { path: path.to_owned(), kind: error.kind() })?;
            Found { bytes: without_line_end(bytes), origin: format!("file {path}") }
        } else {
            return Ok(None);
        };
        if found.bytes.is_empty() {
            Err(SecretMistake::Empty { origin: found.origin })
        } else {
            Ok(Some(found))
        }
    }
}

/// Editors and `echo` end files with a line end that nobody means to be part of the password.
fn without_line_end(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_line_end_is_taken_off() {
        for (written, expected) in
            [("p", "p"), ("p\n", "p"), ("p\r\n", "p"), ("p\n\n", "p\n"), (" p ", " p "), ("\n", "")]
        {
            assert_eq!(expected.as_bytes(), without_line_end(written.as_bytes().to_vec()), "{written:?}");
        }
    }
}
