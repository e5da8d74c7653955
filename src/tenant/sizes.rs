//! How large a request and what it writes may be.

use super::rules::Sizes;
use crate::command::{CommandSpec, Flags, Located, NameKind};
use crate::resp::Request;
use crate::resp::scan::strict_integer;

/// A request that is too large in one way. `Display` is the error reply without `-`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooLarge {
    /// It has too many arguments.
    #[error("ERR request has {count} arguments, limit is {limit} (max_arguments)")]
    Arguments {
        /// The command's name included.
        count: usize,
        /// How many it may have.
        limit: usize,
    },
    /// A key is too long.
    #[error("ERR key is {len} bytes long, limit is {limit} (max_key_size)")]
    Key {
        /// Bytes, without the tenant's prefix.
        len: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// A value is too long, or would become so.
    #[error("ERR value is {len} bytes long, limit is {limit} (max_value_size)")]
    Value {
        /// Bytes.
        len: usize,
        /// Bytes allowed.
        limit: usize,
    },
}

impl Sizes {
    /// Whether a request may have so many arguments.
    pub fn admit_count(&self, count: usize) -> Result<(), TooLarge> {
        match self.max_arguments {
            Some(limit) if count > limit => Err(TooLarge::Arguments { count, limit }),
            _ => Ok(()),
        }
    }

    /// Whether a command that writes may write this. What only deletes may name a key of any length, so that one from
    /// before there was a limit can be got rid of.
    pub fn admit(
        &self,
        spec: &CommandSpec,
        request: &Request<'_>,
        located: &Located,
    ) -> Result<(), TooLarge> {
        if (self.max_key, self.max_value) == (None, None)
            || !spec.flags.contains(Flags::WRITE)
            || only_deletes(spec)
        {
            return Ok(());
        }
        let mut marks = located.marks.iter().peekable();
        for (at, arg) in request.args().enumerate().skip(1) {
            let mark = marks.next_if(|mark| mark.arg as usize == at);
            let len = arg.len();
            match mark.map(|mark| mark.kind) {
                Some(NameKind::Key) => {
                    if let Some(limit) = self.max_key.filter(|limit| len > *limit) {
                        return Err(TooLarge::Key { len, limit });
                    }
                }
                Some(_) => {}
                None => self.admit_value(len)?,
            }
        }
        match self.max_value {
            Some(_) => self.admit_value(reach(spec, request)),
            None => Ok(()),
        }
    }

    fn admit_value(&self, len: usize) -> Result<(), TooLarge> {
        match self.max_value {
            Some(limit) if len > limit => Err(TooLarge::Value { len, limit }),
            _ => Ok(()),
        }
    }
}

fn only_deletes(spec: &CommandSpec) -> bool {
    matches!(spec.name, "DEL" | "UNLINK" | "GETDEL" | "DELEX" | "DELIFEQ")
}

/// How long a value must be at least to hold what is written at an offset; 0 for all other commands.
fn reach(spec: &CommandSpec, request: &Request<'_>) -> usize {
    let number =
        |at| request.arg(at).and_then(strict_integer).and_then(|number| usize::try_from(number).ok());
    match spec.name {
        "SETRANGE" => match request.arg(3) {
            Some([]) | None => 0,
            Some(value) => number(2).unwrap_or(0).saturating_add(value.len()),
        },
        "SETBIT" => number(2).map_or(0, |bit| (bit / 8).saturating_add(1)),
        "BITFIELD" => bitfield_reach(request),
        _ => 0,
    }
}

/// The last byte that a `SET` or `INCRBY` of `BITFIELD` touches, counted from 1.
fn bitfield_reach(request: &Request<'_>) -> usize {
    let mut longest = 0;
    let mut at = 2;
    while let Some(word) = request.arg(at) {
        let is = |operation: &[u8]| word.eq_ignore_ascii_case(operation);
        let (writes, width) = if is(b"OVERFLOW") {
            (false, 2)
        } else if is(b"GET") {
            (false, 3)
        } else {
            (true, 4)
        };
        if writes {
            let operand = |beyond: usize| request.arg(at.saturating_add(beyond)).unwrap_or_default();
            longest = longest.max(last_byte(operand(1), operand(2)).unwrap_or(0));
        }
        at = at.saturating_add(width);
    }
    longest
}

/// Of a field such as `u8`, at `16` or `#2`.
fn last_byte(kind: &[u8], offset: &[u8]) -> Option<usize> {
    let bits = usize::try_from(strict_integer(kind.get(1..)?)?).ok()?;
    let offset = match offset.strip_prefix(b"#") {
        Some(index) => usize::try_from(strict_integer(index)?).ok()?.saturating_mul(bits),
        None => usize::try_from(strict_integer(offset)?).ok()?,
    };
    Some(offset.saturating_add(bits).div_ceil(8))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{identify, locate};
    use crate::resp::OwnedRequest;

    const SIZES: Sizes = Sizes { max_arguments: Some(6), max_key: Some(4), max_value: Some(8) };

    fn refusal(words: &str) -> String {
        let args: Vec<&str> = words.split(' ').collect();
        let owned = OwnedRequest::from_args(&args).expect("words");
        let request = owned.as_request();
        let spec = identify(&request).expect("a row");
        let mut located = Located::new();
        locate(spec, &request, &mut located).expect("names");
        let admitted = SIZES.admit_count(request.argc()).and_then(|()| SIZES.admit(spec, &request, &located));
        admitted.err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn what_is_written_has_a_size() {
        for (words, expected) in [
            ("SET key1 12345678", ""),
            ("SET key12 1", "ERR key is 5 bytes long, limit is 4 (max_key_size)"),
            ("SET k 123456789", "ERR value is 9 bytes long, limit is 8 (max_value_size)"),
            ("HSET k field6789 v", "ERR value is 9 bytes long, limit is 8 (max_value_size)"),
            ("MSET a 1 b 123456789", "ERR value is 9 bytes long, limit is 8 (max_value_size)"),
            ("RENAME k longer", "ERR key is 6 bytes long, limit is 4 (max_key_size)"),
            ("XGROUP CREATE s g 0", ""),
            ("DEL longer", ""),
            ("GET longer", ""),
            ("ECHO 123456789", ""),
            ("SADD k 1 2 3 4", ""),
            ("SADD k 1 2 3 4 5", "ERR request has 7 arguments, limit is 6 (max_arguments)"),
            ("SETRANGE k 6 12", ""),
            ("SETRANGE k 7 12", "ERR value is 9 bytes long, limit is 8 (max_value_size)"),
            ("SETRANGE k 5368709 1", "ERR value is 5368710 bytes long, limit is 8 (max_value_size)"),
            ("SETRANGE k -1 1", ""),
            ("SETBIT k 63 1", ""),
            ("SETBIT k 64 1", "ERR value is 9 bytes long, limit is 8 (max_value_size)"),
            ("BITFIELD k SET u8 56 1", ""),
            ("BITFIELD k SET u8 57 1", "ERR value is 9 bytes long, limit is 8 (max_value_size)"),
            ("BITFIELD k SET i16 #4 1", "ERR value is 10 bytes long, limit is 8 (max_value_size)"),
            ("BITFIELD k GET u8 640", ""),
            ("BITFIELD k SET", ""),
        ] {
            assert_eq!(expected, refusal(words), "{words}");
        }
    }
}
