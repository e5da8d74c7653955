//! Counts replies by their framing, as cheaply as counting allows.

/// A reply that no workload may get. Such a run measures errors, not work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unexpected {
    #[error("error reply: {0}")]
    Error(String),
    #[error("nil reply: a key of the workload is missing")]
    Nil,
    #[error("not a reply: {0:?}")]
    NotReply(String),
}

/// Where in a stream of replies we are. RESP2 as the workloads get it: no pushes, no attributes.
#[derive(Default)]
pub(crate) struct ReplyCounter {
    /// Bytes of a bulk string still to come, with its line end.
    skip: usize,
    /// Values still to come before the current reply is complete; 0 between replies.
    values: usize,
    /// Beginning of a header line whose end has not come yet.
    line: Vec<u8>,
}

impl ReplyCounter {
    /// Takes what was read and says how many replies it completed.
    pub(crate) fn count(&mut self, mut bytes: &[u8]) -> Result<usize, Unexpected> {
        let mut replies = 0;
        while !bytes.is_empty() {
            if self.skip > 0 {
                let skipped = self.skip.min(bytes.len());
                bytes = &bytes[skipped..];
                self.skip -= skipped;
                replies += usize::from(self.skip == 0 && self.value_ended());
                continue;
            }
            let Some(end) = memchr::memchr(b'\n', bytes) else {
                self.line.extend_from_slice(bytes);
                break;
            };
            let (head, rest) = bytes.split_at(end + 1);
            bytes = rest;
            let ended = if self.line.is_empty() { self.header(head)? } else { self.joined(head)? };
            replies += usize::from(ended);
        }
        Ok(replies)
    }

    /// A header line that came in pieces.
    fn joined(&mut self, rest: &[u8]) -> Result<bool, Unexpected> {
        let mut line = std::mem::take(&mut self.line);
        line.extend_from_slice(rest);
        self.header(&line)
    }

    /// Takes a whole header line; says whether a reply ended with it.
    fn header(&mut self, line: &[u8]) -> Result<bool, Unexpected> {
        self.values = self.values.max(1);
        match line.first() {
            Some(b'+' | b':') => Ok(self.value_ended()),
            Some(b'-') => Err(Unexpected::Error(printable(line))),
            Some(b'$') => {
                self.skip = length(line)? + 2;
                Ok(false)
            }
            Some(b'*') => {
                self.values += length(line)?;
                Ok(self.value_ended())
            }
            _ => Err(Unexpected::NotReply(printable(line))),
        }
    }

    fn value_ended(&mut self) -> bool {
        self.values -= 1;
        self.values == 0
    }
}

fn length(line: &[u8]) -> Result<usize, Unexpected> {
    let digits = line.get(1..).unwrap_or_default().trim_ascii_end();
    if digits == b"-1" {
        return Err(Unexpected::Nil);
    }
    let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
    number.ok_or_else(|| Unexpected::NotReply(printable(line)))
}

fn printable(line: &[u8]) -> String {
    String::from_utf8_lossy(line).trim_end().to_owned()
}
