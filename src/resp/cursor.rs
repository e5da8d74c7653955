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

/// A reply without the pushes that stand inside it, and those pushes; `None` if there are none, or if the bytes
/// are no RESP.
pub fn untangled(reply: &[u8]) -> Option<(Vec<u8>, Vec<&[u8]>)> {
    let mut cursor = Cursor::new(reply);
    let (mut clean, mut pushes, mut copied) = (Vec::new(), Vec::new(), 0);
    while cursor.position() < reply.len() {
        let start = cursor.position();
        if start > 0 && reply.get(start) == Some(&b'>') {
            cursor.skip_value()?;
            clean.extend_from_slice(reply.get(copied..start)?);
            copied = cursor.position();
            pushes.push(reply.get(start..copied)?);
        } else {
            cursor.next_value()?;
        }
    }
    clean.extend_from_slice(reply.get(copied..)?);
    (!pushes.is_empty()).then_some((clean, pushes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pushes_are_taken_out_of_a_reply() {
        let reply = b"*2\r\n>2\r\n+message\r\n*1\r\n:9\r\n:1\r\n>1\r\n+x\r\n$1\r\n>\r\n";
        let (clean, pushes) = untangled(reply).expect("two pushes");
        assert_eq!(b"*2\r\n:1\r\n$1\r\n>\r\n".to_vec(), clean);
        assert_eq!(vec![b">2\r\n+message\r\n*1\r\n:9\r\n".as_slice(), b">1\r\n+x\r\n"], pushes);
        assert_eq!(None, untangled(b"*1\r\n:1\r\n"));
    }

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
