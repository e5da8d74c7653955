//! Reads a complete reply value by value, for the few replies that must be edited.

/// The head of one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// `$` or `=` with a payload.
    Bulk(&'a [u8]),
    /// `*`, `~`, `>` with so many elements, which follow.
    Array(usize),
    /// `%` with so many pairs, which follow.
    Map(usize),
    /// `$-1`, `*-1` or `_`.
    Null,
    /// Any other value: the line after its type byte.
    Line(u8, &'a [u8]),
}

/// A position in a complete reply.
#[derive(Clone, Copy, Debug)]
pub struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// At the first byte of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes read so far.
    pub fn position(&self) -> usize {
        self.at
    }

    /// Reads one head (and its payload, if it has one). `None` at the end, or if the bytes are no RESP.
    pub fn next_value(&mut self) -> Option<Value<'a>> {
        let rest = self.bytes.get(self.at..)?;
        let kind = *rest.first()?;
        let line_feed = memchr::memchr(b'\n', rest)?;
        let line = rest.get(1..line_feed)?;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let after = self.at.checked_add(line_feed)?.checked_add(1)?;
        self.at = after;
        let length = || std::str::from_utf8(line).ok()?.parse::<i64>().ok();
        match kind {
            b'_' => Some(Value::Null),
            b'$' | b'=' | b'!' | b'*' | b'~' | b'>' | b'%' | b'|' => {
                let Ok(length) = usize::try_from(length()?) else { return Some(Value::Null) };
                match kind {
                    b'*' | b'~' | b'>' => Some(Value::Array(length)),
                    b'%' | b'|' => Some(Value::Map(length)),
                    _ => {
                        let end = after.checked_add(length)?;
                        let payload = self.bytes.get(after..end)?;
                        self.at = end.checked_add(2)?;
                        Some(Value::Bulk(payload))
                    }
                }
            }
            _ => Some(Value::Line(kind, line)),
        }
    }

    /// Passes over one whole value, its elements included. `None` if the bytes are no RESP.
    pub fn skip_value(&mut self) -> Option<()> {
        let mut left: usize = 1;
        while left > 0 {
            let more = match self.next_value()? {
                Value::Array(elements) => elements,
                Value::Map(pairs) => pairs.checked_mul(2)?,
                Value::Bulk(_) | Value::Null | Value::Line(..) => 0,
            };
            left = left.checked_sub(1)?.checked_add(more)?;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_head_by_head() {
        let mut cursor = Cursor::new(b"*2\r\n$1\r\na\r\n%1\r\n+k\r\n_\r\n");
        assert_eq!(Some(Value::Array(2)), cursor.next_value());
        assert_eq!(Some(Value::Bulk(b"a")), cursor.next_value());
        assert_eq!(Some(Value::Map(1)), cursor.next_value());
        assert_eq!(Some(Value::Line(b'+', b"k")), cursor.next_value());
        assert_eq!(Some(Value::Null), cursor.next_value());
        assert_eq!(None, cursor.next_value());
    }

    #[test]
    fn a_skipped_value_takes_its_elements_along() {
        let mut cursor = Cursor::new(b"*2\r\n*1\r\n:1\r\n$2\r\nab\r\n+next\r\n");
        assert_eq!(Some(()), cursor.skip_value());
        assert_eq!(Some(Value::Line(b'+', b"next")), cursor.next_value());
    }
}
