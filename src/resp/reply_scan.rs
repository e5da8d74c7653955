//! Finds where replies end, in one pass over bytes that arrive in any pieces.
//!
//! A reply is forwarded as it streams in, so its end must be known without holding it: the scanner counts the
//! values still to come (an aggregate of `n` adds `n`, every other value takes one away) instead of keeping a
//! stack. Depth is therefore no matter, and neither is size: a bulk's payload is skipped by its length.
//!
//! Wire: *Redis serialization protocol*, RESP2 and RESP3 types. Attributes (`|`) belong to the value they
//! precede. Streamed strings and aggregates (`$?`, `*?`) are never sent by Redis and are refused.

/// The upstream sent what is no reply. Its connection must be closed: nothing after it can be attributed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// A value begins with an unknown type byte.
    #[error("unknown reply type {:?}", char::from(*.0))]
    UnknownType(u8),
    /// A length is not a number, or none that can be.
    #[error("reply has an invalid length")]
    InvalidLength,
}

/// How far one reply got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The reply ends after this many of the bytes given.
    Complete(usize),
    /// All bytes given belong to it, and more will come.
    Partial,
}

/// Where in a value the last bytes ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Within {
    /// Before a type byte.
    Type,
    /// In a line whose content does not matter.
    Line,
    /// In the number after a type byte that has a length; digits so far.
    Length { kind: u8, value: u64, is_negative: bool },
    /// In a payload: bytes left, its CRLF included.
    Payload(u64),
}

/// Progress within one reply.
#[derive(Clone, Copy, Debug)]
pub struct ReplyScanner {
    /// Values of this reply that have not ended; 0 before its first byte.
    values_left: u64,
    within: Within,
    /// Something of this reply has been seen before the value that begins now.
    is_within_reply: bool,
}

impl Default for ReplyScanner {
    fn default() -> Self {
        Self { values_left: 0, within: Within::Type, is_within_reply: false }
    }
}

impl ReplyScanner {
    /// No byte of the current reply has been seen.
    pub fn is_at_boundary(&self) -> bool {
        self.values_left == 0
    }

    /// Looks at the next bytes of the stream. After [`Progress::Complete`] the scanner stands at the next
    /// reply.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<Progress, ReplyError> {
        let mut at = 0;
        if self.is_at_boundary() && !bytes.is_empty() {
            self.values_left = 1;
        }
        while at < bytes.len() {
            at = match self.within {
                Within::Type => self.value(bytes, at)?,
                Within::Line => match memchr::memchr(b'\n', bytes.get(at..).unwrap_or_default()) {
                    Some(offset) => {
                        self.end_value();
                        at.saturating_add(offset).saturating_add(1)
                    }
                    None => bytes.len(),
                },
                Within::Length { .. } => self.length(bytes, at)?,
                Within::Payload(left) => {
                    let here = u64::try_from(bytes.len().saturating_sub(at)).unwrap_or(u64::MAX);
                    if here < left {
                        self.within = Within::Payload(left.saturating_sub(here));
                        bytes.len()
                    } else {
                        self.end_value();
                        at.saturating_add(usize::try_from(left).unwrap_or(usize::MAX))
                    }
                }
            };
            if self.values_left == 0 {
                *self = Self::default();
                return Ok(Progress::Complete(at));
            }
        }
        Ok(Progress::Partial)
    }

    fn end_value(&mut self) {
        self.values_left = self.values_left.saturating_sub(1);
        self.within = Within::Type;
    }

    /// A value begins at `at`.
    #[inline]
    fn value(&mut self, bytes: &[u8], at: usize) -> Result<usize, ReplyError> {
        let kind = bytes.get(at).copied().unwrap_or_default();
        let next = at.saturating_add(1);
        match kind {
            b'$' | b'*' | b'%' | b'~' | b'>' | b'=' | b'!' | b'|' => {
                self.within = Within::Length { kind, value: 0, is_negative: false };
                self.length(bytes, next)
            }
            b'+' | b'-' | b':' | b'_' | b'#' | b',' | b'(' => {
                self.within = Within::Line;
                Ok(next)
            }
            other => Err(ReplyError::UnknownType(other)),
        }
    }

    /// Reads the rest of a length; it may end here or in a later piece.
    #[inline]
    fn length(&mut self, bytes: &[u8], start: usize) -> Result<usize, ReplyError> {
        let Within::Length { kind, mut value, mut is_negative } = self.within else { return Ok(start) };
        let mut at = start;
        while let Some(byte) = bytes.get(at) {
            at = at.saturating_add(1);
            match byte {
                b'0'..=b'9' => {
                    value = value.wrapping_mul(10).wrapping_add(u64::from(byte.wrapping_sub(b'0')));
                    // Redis' largest is 512 MB of payload or 2^32 elements; far from overflow.
                    if value > u64::from(u32::MAX) {
                        return Err(ReplyError::InvalidLength);
                    }
                }
                b'-' => is_negative = true,
                b'\r' => {}
                b'\n' => {
                    self.begin(kind, value, is_negative);
                    return Ok(at);
                }
                _ => return Err(ReplyError::InvalidLength),
            }
        }
        self.within = Within::Length { kind, value, is_negative };
        Ok(at)
    }

    /// A length has been read: its payload or elements follow.
    #[inline]
    fn begin(&mut self, kind: u8, value: u64, is_negative: bool) {
        self.within = Within::Type;
        let is_first = !std::mem::replace(&mut self.is_within_reply, true);
        match kind {
            _ if is_negative => self.end_value(),
            b'$' | b'=' | b'!' => self.within = Within::Payload(value.saturating_add(2)),
            b'%' => {
                self.values_left = self.values_left.saturating_sub(1).saturating_add(value.saturating_mul(2));
            }
            b'|' => self.values_left = self.values_left.saturating_add(value.saturating_mul(2)),
            // Inside a reply a push stands beside its elements and is none of them: Redis 7.0 writes what a
            // command makes its own connection hear into the midst of the command's reply.
            b'>' if !is_first => self.values_left = self.values_left.saturating_add(value),
            _ => self.values_left = self.values_left.saturating_sub(1).saturating_add(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// One reply of each type, each followed by the length it should have.
    const REPLIES: &[&str] = &[
        "+OK\r\n",
        "-ERR no\r\n",
        ":1\r\n",
        "$-1\r\n",
        "$0\r\n\r\n",
        "$5\r\nhello\r\n",
        "*-1\r\n",
        "*0\r\n",
        "*2\r\n$1\r\na\r\n*2\r\n:1\r\n$-1\r\n",
        "_\r\n",
        "#t\r\n",
        ",3.14\r\n",
        "(12345678901234567890\r\n",
        "=8\r\ntxt:text\r\n",
        "!5\r\nERR x\r\n",
        "%2\r\n+a\r\n:1\r\n+b\r\n*1\r\n:2\r\n",
        "~2\r\n:1\r\n:2\r\n",
        ">2\r\n+invalidate\r\n_\r\n",
        "|1\r\n+ttl\r\n:3\r\n$1\r\na\r\n",
        "*1\r\n>2\r\n+message\r\n:1\r\n:7\r\n",
        "*2\r\n:1\r\n>2\r\n+message\r\n*1\r\n:2\r\n*1\r\n:7\r\n",
    ];

    #[test]
    fn each_type_ends_where_it_ends() {
        for reply in REPLIES {
            let bytes = format!("{reply}+next\r\n");
            assert_eq!(
                Ok(Progress::Complete(reply.len())),
                ReplyScanner::default().advance(bytes.as_bytes()),
                "{reply:?}"
            );
        }
    }

    #[test]
    fn before_the_last_element_a_reply_is_not_at_its_boundary() {
        let mut scanner = ReplyScanner::default();
        assert!(scanner.is_at_boundary());
        assert_eq!(Ok(Progress::Partial), scanner.advance(b"*2\r\n:1\r\n"));
        assert!(!scanner.is_at_boundary());
        assert_eq!(Ok(Progress::Complete(4)), scanner.advance(b":2\r\n"));
        assert!(scanner.is_at_boundary());
    }

    #[test]
    fn garbage_is_an_error() {
        assert_eq!(
            Err(ReplyError::UnknownType(b'H')),
            ReplyScanner::default().advance(b"HTTP/1.1 200 OK\r\n")
        );
        assert_eq!(Err(ReplyError::InvalidLength), ReplyScanner::default().advance(b"$x\r\n"));
        assert_eq!(Err(ReplyError::InvalidLength), ReplyScanner::default().advance(b"$99999999999\r\n"));
    }

    proptest! {
        /// A stream of replies, however it is cut, has the same boundaries.
        #[test]
        fn any_split_has_the_same_boundaries(
            picks in proptest::collection::vec(0..REPLIES.len(), 1..8),
            piece in 1usize..9,
        ) {
            let stream: String = picks.iter().map(|pick| REPLIES[*pick]).collect();
            let mut scanner = ReplyScanner::default();
            let mut ends = Vec::new();
            let mut consumed = 0;
            for chunk in stream.as_bytes().chunks(piece) {
                let mut rest = chunk;
                while !rest.is_empty() {
                    match scanner.advance(rest).expect("valid stream") {
                        Progress::Complete(len) => {
                            consumed += len;
                            ends.push(consumed);
                            rest = &rest[len..];
                        }
                        Progress::Partial => {
                            consumed += rest.len();
                            rest = &[];
                        }
                    }
                }
            }
            let mut expected = Vec::new();
            let mut end = 0;
            for pick in picks {
                end += REPLIES[pick].len();
                expected.push(end);
            }
            prop_assert_eq!(expected, ends);
            prop_assert!(scanner.is_at_boundary());
        }
    }
}
