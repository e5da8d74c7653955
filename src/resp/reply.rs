//! Builds the replies that the proxy gives itself, in the client's protocol version.

use bytes::{BufMut, BytesMut};

use super::edit::put_bulk;

/// The protocol version of one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Version {
    /// The version every connection begins with.
    #[default]
    Resp2,
    /// Chosen with `HELLO 3`.
    Resp3,
}

impl Version {
    /// The number that `HELLO` speaks of.
    pub fn number(self) -> u8 {
        match self {
            Self::Resp2 => 2,
            Self::Resp3 => 3,
        }
    }
}

/// Appends replies to a buffer.
#[derive(Debug)]
pub struct ReplyWriter<'a> {
    out: &'a mut BytesMut,
    version: Version,
}

impl<'a> ReplyWriter<'a> {
    /// Appends to `out` in `version`.
    pub fn new(out: &'a mut BytesMut, version: Version) -> Self {
        Self { out, version }
    }

    /// Goes on in another version: the reply of `HELLO` is in the one it chooses.
    pub fn set_version(&mut self, version: Version) {
        self.version = version;
    }

    fn line(&mut self, kind: u8, text: &[u8]) {
        self.out.put_u8(kind);
        self.out.extend_from_slice(text);
        self.out.extend_from_slice(b"\r\n");
    }

    fn head(&mut self, kind: u8, length: usize) {
        let mut text = itoa::Buffer::new();
        self.line(kind, text.format(length).as_bytes());
    }

    /// A reply that is complete already.
    pub fn raw(&mut self, reply: &[u8]) {
        self.out.extend_from_slice(reply);
    }

    /// `+text`. `text` has no line end: it is ours.
    pub fn simple(&mut self, text: &str) {
        self.line(b'+', text.as_bytes());
    }

    /// `-text`, code first (`ERR …`). Line ends inside become blanks, as Redis does it.
    pub fn error(&mut self, text: &[u8]) {
        self.out.put_u8(b'-');
        self.out.extend(text.iter().map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte }));
        self.out.extend_from_slice(b"\r\n");
    }

    /// `:number`.
    pub fn integer(&mut self, number: i64) {
        let mut text = itoa::Buffer::new();
        self.line(b':', text.format(number).as_bytes());
    }

    /// A bulk string.
    pub fn bulk(&mut self, payload: &[u8]) {
        put_bulk(self.out, payload);
    }

    /// The null of a scalar command.
    pub fn null(&mut self) {
        match self.version {
            Version::Resp2 => self.out.extend_from_slice(b"$-1\r\n"),
            Version::Resp3 => self.out.extend_from_slice(b"_\r\n"),
        }
    }

    /// The null of a command whose reply is otherwise an array.
    pub fn null_array(&mut self) {
        match self.version {
            Version::Resp2 => self.out.extend_from_slice(b"*-1\r\n"),
            Version::Resp3 => self.out.extend_from_slice(b"_\r\n"),
        }
    }

    /// Prose for people, marked as plain text in RESP3.
    pub fn verbatim(&mut self, text: &[u8]) {
        match self.version {
            Version::Resp2 => self.bulk(text),
            Version::Resp3 => {
                self.head(b'=', text.len().saturating_add(b"txt:".len()));
                self.out.extend_from_slice(b"txt:");
                self.out.extend_from_slice(text);
                self.out.extend_from_slice(b"\r\n");
            }
        }
    }

    /// The head of an array; its elements follow.
    pub fn array(&mut self, elements: usize) {
        self.head(b'*', elements);
    }

    /// The head of a set: an array in RESP2.
    pub fn set(&mut self, elements: usize) {
        match self.version {
            Version::Resp2 => self.head(b'*', elements),
            Version::Resp3 => self.head(b'~', elements),
        }
    }

    /// The head of a message that answers no request: an array in RESP2.
    pub fn push(&mut self, elements: usize) {
        match self.version {
            Version::Resp2 => self.head(b'*', elements),
            Version::Resp3 => self.head(b'>', elements),
        }
    }

    /// The head of a map of `pairs`: a flat array in RESP2.
    pub fn map(&mut self, pairs: usize) {
        match self.version {
            Version::Resp2 => self.head(b'*', pairs.saturating_mul(2)),
            Version::Resp3 => self.head(b'%', pairs),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(version: Version, write: impl FnOnce(&mut ReplyWriter<'_>)) -> Vec<u8> {
        let mut out = BytesMut::new();
        write(&mut ReplyWriter::new(&mut out, version));
        out.to_vec()
    }

    #[test]
    fn maps_and_nulls_depend_on_the_version() {
        assert_eq!(b"*4\r\n".to_vec(), written(Version::Resp2, |reply| reply.map(2)));
        assert_eq!(b"%2\r\n".to_vec(), written(Version::Resp3, |reply| reply.map(2)));
        assert_eq!(b"$-1\r\n".to_vec(), written(Version::Resp2, |reply: &mut ReplyWriter<'_>| reply.null()));
        assert_eq!(b"_\r\n".to_vec(), written(Version::Resp3, |reply: &mut ReplyWriter<'_>| reply.null()));
    }

    #[test]
    fn arrays_that_are_something_else_in_resp3_depend_on_the_version() {
        let null = |reply: &mut ReplyWriter<'_>| reply.null_array();
        assert_eq!(b"*-1\r\n".to_vec(), written(Version::Resp2, null));
        assert_eq!(b"_\r\n".to_vec(), written(Version::Resp3, null));
        assert_eq!(b"*3\r\n".to_vec(), written(Version::Resp2, |reply| reply.set(3)));
        assert_eq!(b"~3\r\n".to_vec(), written(Version::Resp3, |reply| reply.set(3)));
        assert_eq!(b"*3\r\n".to_vec(), written(Version::Resp2, |reply| reply.push(3)));
        assert_eq!(b">3\r\n".to_vec(), written(Version::Resp3, |reply| reply.push(3)));
    }

    #[test]
    fn prose_is_marked_as_text_in_resp3() {
        let prose = |reply: &mut ReplyWriter<'_>| reply.verbatim(b"a\n");
        assert_eq!(b"$2\r\na\n\r\n".to_vec(), written(Version::Resp2, prose));
        assert_eq!(b"=6\r\ntxt:a\n\r\n".to_vec(), written(Version::Resp3, prose));
    }

    #[test]
    fn an_error_stays_on_its_line() {
        assert_eq!(b"-ERR a  b\r\n".to_vec(), written(Version::Resp2, |reply| reply.error(b"ERR a\r\nb")));
    }
}
