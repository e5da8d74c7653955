//! How string values are stored where a tenant has compression: in a frame that says of itself what it is.
//!
//! ```text
//!   F5 'T' 'N' 'V'   01        00 or 01                  u32, little endian     …
//!   magic            version   plain, or an LZ4 block    bytes of the value     the value, or the block
//! ```
//!
//! A value is stored in a frame if it gets shorter by that, and as it came otherwise. So values from before
//! compression was configured, and those that others write, read back unchanged. A value of a client's that begins
//! with the magic is framed as well, plain: else it would be read as what it is not. `F5` is in no UTF-8 text, and
//! begins none of the formats in which programs usually store objects.
//!
//! What the server keeps is what clients made it keep, so a frame may be forged (`RESTORE`, a client from before
//! compression, one that goes round the proxy). One that is not right is a value like any other and passed on as it
//! is. **Bounds**: nothing is allocated for a value that a frame only claims; a block has at most [`MAX_VALUE`]
//! bytes of value, which is also the longest that is compressed, so that a worker is held for no longer than a
//! millisecond, and of one request a few such values are (docs/decisions/0009-value-compression.md has the figures).

mod refused;
mod shown;

use std::cell::RefCell;

use bytes::{BufMut, BytesMut};
use lz4_flex::block;

pub use refused::sees_stored;
pub use shown::{TOO_LONG, is_plain, show};

/// The least value of `compress_above`, in bytes. A value of this length or less is never compressed whatever the
/// configuration was when it was written: it is framed only if it begins with the magic.
pub const LEAST_ABOVE: usize = 64;

/// The longest value that is compressed, in bytes: a millisecond of a worker.
pub const MAX_VALUE: usize = 1 << 20;

/// Bytes of values that are compressed in one request; further ones stay as they come. A client that writes a
/// gigabyte at once must not hold the worker for as long as that takes.
const MAX_REQUEST: usize = 4 * MAX_VALUE;

/// Bytes of a frame before its value or block.
pub const HEADER_LEN: usize = 10;

const MAGIC: [u8; 4] = *b"\xf5TNV";
const VERSION: u8 = 1;
const PLAIN: u8 = 0;
const LZ4: u8 = 1;

/// A byte of an LZ4 block stands for at most so many of the value (a run whose length goes on).
const LZ4_MAX_RATIO: usize = 255;

/// What a `HyperLogLog` begins with: it is a string that clients may carry about, and the server looks into.
const HYLL: &[u8] = b"HYLL";

/// The longest number that Redis reads out of a string (`INCRBYFLOAT`).
const MAX_NUMBER: usize = 5 * 1024;

/// How the values of a connection are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compression {
    /// Longer values, in bytes, are compressed; at least [`LEAST_ABOVE`]. `None`: none is, and those that are
    /// already can be read.
    pub above: Option<u32>,
}

impl Compression {
    /// Whether `value` may be stored otherwise than it is.
    #[inline]
    pub fn may_change(self, value: &[u8]) -> bool {
        self.is_long(value) || value.starts_with(&MAGIC)
    }

    fn is_long(self, value: &[u8]) -> bool {
        self.above.is_some_and(|above| value.len() > (above as usize).max(LEAST_ABOVE))
    }
}

/// How one value is stored.
#[derive(Debug, PartialEq, Eq)]
pub enum Stored {
    /// As it came.
    AsItCame,
    /// As it came, behind this.
    Behind([u8; HEADER_LEN]),
    /// In this frame.
    Framed(Vec<u8>),
}

/// The values of one request being stored.
#[derive(Clone, Copy, Debug)]
pub struct Storing {
    compression: Compression,
    /// Bytes that may still be compressed.
    left: usize,
    tally: Tally,
}

/// What was compressed of one request, in bytes; there are few of it (4 MiB at most).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Of the values as they were written.
    pub written: u32,
    /// Of the same as they are stored.
    pub stored: u32,
}

impl Tally {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let written = self.written.saturating_add(other.written);
        Self { written, stored: self.stored.saturating_add(other.stored) }
    }

    /// What came after `before`.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        let written = self.written.saturating_sub(before.written);
        Self { written, stored: self.stored.saturating_sub(before.stored) }
    }
}

impl Storing {
    /// As `compression` says.
    pub fn by(compression: Compression) -> Self {
        Self { compression, left: MAX_REQUEST, tally: Tally::default() }
    }

    /// What was compressed so far.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// How `value` is stored.
    pub fn store(&mut self, value: &[u8]) -> Stored {
        let most = self.left.min(MAX_VALUE);
        if self.compression.is_long(value) && value.len() <= most && !is_looked_into(value) {
            self.left = self.left.saturating_sub(value.len());
            if let Some(frame) = compressed(value) {
                self.tally =
                    self.tally.and(Tally { written: short(value.len()), stored: short(frame.len()) });
                return Stored::Framed(frame);
            }
        }
        match u32::try_from(value.len()) {
            Ok(len) if value.starts_with(&MAGIC) => Stored::Behind(header(PLAIN, len)),
            Ok(_) | Err(_) => Stored::AsItCame,
        }
    }
}

/// Whether a value is stored as it came whatever is or was configured, so that the server can compare with it.
pub fn is_always_plain(value: &[u8]) -> bool {
    value.len() <= LEAST_ABOVE && !value.starts_with(&MAGIC)
}

/// Bytes that storing `value` may add to it.
pub fn growth(value: &[u8]) -> usize {
    if value.starts_with(&MAGIC) { HEADER_LEN } else { 0 }
}

/// Whether what is stored so may be a frame; `start` is some of its beginning, of which a few bytes decide.
pub fn may_be_framed(start: &[u8]) -> bool {
    let (start, magic) = (start.iter().take(MAGIC.len()), MAGIC.iter());
    start.zip(magic).all(|(byte, of_magic)| byte == of_magic)
}

/// What is in a frame.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    codec: u8,
    len: usize,
    body: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The frame that `stored` is; `None`: it is none, or cannot be right.
    pub fn parse(stored: &'a [u8]) -> Option<Self> {
        let rest = stored.strip_prefix(&MAGIC)?;
        let ([version, codec], rest) = rest.split_first_chunk()?;
        let (len, body) = rest.split_first_chunk()?;
        let len = usize::try_from(u32::from_le_bytes(*len)).ok()?;
        let is_possible = match *codec {
            PLAIN => len == body.len(),
            LZ4 => {
                let most = body.len().saturating_mul(LZ4_MAX_RATIO);
                body.len() < len && len <= most && (LEAST_ABOVE..=MAX_VALUE).contains(&len)
            }
            _ => false,
        };
        (*version == VERSION && is_possible).then_some(Self { codec: *codec, len, body })
    }

    /// Bytes of the value, if the frame is right.
    pub fn value_len(&self) -> usize {
        self.len
    }

    /// Appends the value; `None`: the frame was not right, and nothing is appended.
    pub fn append_to(&self, out: &mut BytesMut) -> Option<()> {
        let start = out.len();
        if self.codec == PLAIN {
            out.extend_from_slice(self.body);
            return Some(());
        }
        out.put_bytes(0, self.len);
        let written = block::decompress_into(self.body, out.get_mut(start..)?).ok();
        if written != Some(self.len) {
            out.truncate(start);
            return None;
        }
        Some(())
    }
}

/// Whether the server must be able to look into the value: a number (`INCR`), a `HyperLogLog` (`PFADD`).
fn is_looked_into(value: &[u8]) -> bool {
    let is_numeric = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E');
    value.starts_with(HYLL) || (value.len() <= MAX_NUMBER && value.iter().all(is_numeric))
}

thread_local! {
    /// Where blocks are written before their length is known: a new place for each would have its pages cleared and
    /// mapped each time, which takes half as long as compressing.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Bytes of it that are kept for the next value.
const KEPT_SCRATCH: usize = 256 << 10;

/// The value in a frame; `None`: it saves less than an eighth.
fn compressed(value: &[u8]) -> Option<Vec<u8>> {
    SCRATCH.with_borrow_mut(|scratch| {
        let most = block::get_maximum_output_size(value.len());
        if scratch.len() < most {
            scratch.resize(most, 0);
        }
        let written = block::compress_into(value, scratch).ok();
        let body = written.and_then(|len| scratch.get(..len)).unwrap_or_default();
        let saved = value.len().saturating_sub(body.len()).saturating_sub(HEADER_LEN);
        let is_worth_it = written.is_some() && saved >= value.len() / 8;
        let frame = is_worth_it.then(|| [&header(LZ4, short(value.len())), body].concat());
        if scratch.len() > KEPT_SCRATCH {
            *scratch = Vec::new();
        }
        frame
    })
}

/// A length of at most [`MAX_VALUE`].
fn short(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

fn header(codec: u8, len: u32) -> [u8; HEADER_LEN] {
    let mut header = [0; HEADER_LEN];
    let parts = MAGIC.into_iter().chain([VERSION, codec]).chain(len.to_le_bytes());
    header.iter_mut().zip(parts).for_each(|(to, from)| *to = from);
    header
}

/// What is stored when `value` is written with this `compress_above`, as the tests of others need it.
#[cfg(test)]
pub(crate) fn stored(above: Option<u32>, value: &[u8]) -> Vec<u8> {
    match Storing::by(Compression { above }).store(value) {
        Stored::AsItCame => value.to_vec(),
        Stored::Behind(header) => [&header, value].concat(),
        Stored::Framed(frame) => frame,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What is read of what is stored.
    fn read(stored: &[u8]) -> Vec<u8> {
        let mut out = BytesMut::from(&b"before"[..]);
        if Frame::parse(stored).and_then(|frame| frame.append_to(&mut out)).is_some() {
            return out.split_off(b"before".len()).to_vec();
        }
        assert_eq!(b"before".as_slice(), &out);
        stored.to_vec()
    }

    fn text(len: usize) -> Vec<u8> {
        br#"{"id":17,"name":"somebody","active":true},"#.iter().copied().cycle().take(len).collect()
    }

    #[test]
    fn a_long_value_is_stored_in_a_shorter_frame() {
        let value = text(4096);
        let stored = stored(Some(1024), &value);
        assert_eq!(b"\xf5TNV\x01\x01\x00\x10\x00\x00".as_slice(), &stored[..HEADER_LEN]);
        assert!(stored.len() < 512, "{}", stored.len());
        assert_eq!(value, read(&stored));
    }

    #[test]
    fn what_need_not_or_must_not_be_compressed_is_stored_as_it_came() {
        let mut noise = 88_172_645_463_325_252_u64;
        let noise = std::iter::repeat_with(|| {
            noise ^= noise << 13;
            noise ^= noise >> 7;
            noise ^= noise << 17;
            noise.to_le_bytes()[3]
        });
        let cases = [
            (Some(1024), text(1024)),
            (Some(0), text(LEAST_ABOVE)),
            (None, text(4096)),
            (Some(1024), text(MAX_VALUE + 1)),
            (Some(1024), noise.take(4096).collect()),
            (Some(64), "1234567890".repeat(100).into_bytes()),
            (Some(64), [HYLL, &[0; 1000]].concat()),
        ];
        for (at, (above, value)) in cases.into_iter().enumerate() {
            assert!(value == stored(above, &value), "{at}");
        }
    }

    #[test]
    fn one_request_does_not_hold_the_worker_for_long() {
        let (value, mut storing) = (text(MAX_VALUE), Storing::by(Compression { above: Some(64) }));
        let framed = (0..10).filter(|_| matches!(storing.store(&value), Stored::Framed(_))).count();
        assert_eq!((4, 4 << 20), (framed, storing.tally().written));
        assert!(storing.tally().stored < 1 << 20);
        assert_eq!(Stored::Behind(header(PLAIN, 4)), storing.store(&MAGIC));
    }

    #[test]
    fn a_value_that_looks_like_a_frame_comes_back() {
        for value in [b"\xf5TNV".to_vec(), stored(Some(64), &text(1000)), stored(None, b"\xf5TNV")] {
            let stored = stored(None, &value);
            assert_eq!(HEADER_LEN + value.len(), stored.len());
            assert_eq!(growth(&value), HEADER_LEN);
            assert_eq!(value, read(&stored));
        }
    }

    #[test]
    fn a_forged_frame_is_a_value_like_any_other() {
        let frame = |codec, len: u32, body: &[u8]| [&header(codec, len)[..], body].concat();
        let good = stored(Some(64), &text(1000));
        for forged in [
            frame(LZ4, u32::MAX, &[0x1f, 0, 1, 0]),
            frame(LZ4, 1020, &[0x1f, 0, 1, 0]),
            frame(LZ4, 1000, &[0xff; 20]),
            frame(LZ4, 64, &[0; 64]),
            frame(LZ4, 1000, &[]),
            frame(PLAIN, 5, b"four"),
            frame(2, 4, b"four"),
            good[..good.len() - 1].to_vec(),
            [&good[..], b"x"].concat(),
            [b"\xf5TNV\x02", &good[5..]].concat(),
            b"\xf5TNV\x01".to_vec(),
        ] {
            assert_eq!(forged, read(&forged), "{forged:x?}");
        }
    }

    #[test]
    fn the_first_bytes_decide_whether_it_may_be_a_frame() {
        for (start, expected) in
            [(&b""[..], true), (b"\xf5", true), (b"\xf5TNV\x01", true), (b"\xf5TNX", false), (b"{", false)]
        {
            assert_eq!(expected, may_be_framed(start));
        }
    }

    /// Values of all kinds: text, noise, runs, and what begins like a frame.
    fn values() -> impl Strategy<Value = Vec<u8>> {
        let runs = prop::collection::vec((any::<u8>(), 0..300_usize), 0..40)
            .prop_map(|runs| runs.into_iter().flat_map(|(byte, len)| vec![byte; len]).collect::<Vec<u8>>());
        let noise = prop::collection::vec(any::<u8>(), 0..3000);
        let begins = prop_oneof![
            Just(Vec::new()),
            Just(MAGIC.to_vec()),
            Just(header(LZ4, 1000).to_vec()),
            Just(HYLL.to_vec())
        ];
        (begins, prop_oneof![runs, noise]).prop_map(|(begin, rest)| [begin, rest].concat())
    }

    proptest! {
        #[test]
        fn every_value_comes_back(value in values(), above in prop::option::of(0..2000_u32)) {
            let stored = stored(above, &value);
            prop_assert!(stored.len() <= value.len() + growth(&value));
            prop_assert_eq!(&value, &read(&stored));
            if is_always_plain(&value) {
                prop_assert_eq!(&value, &stored);
            }
            prop_assert!(stored == value || may_be_framed(&stored[..4]));
        }

        #[test]
        fn nothing_stored_can_take_more_than_its_bound(
            codec in 0..3_u8,
            len in prop_oneof![any::<u32>(), 0..5000_u32],
            body in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let forged = [&header(codec, len)[..], &body].concat();
            if let Some(frame) = Frame::parse(&forged) {
                prop_assert!(frame.value_len() <= MAX_VALUE.min(body.len() * LZ4_MAX_RATIO).max(body.len()));
            }
            let read = read(&forged);
            prop_assert!(read == forged || read.len() == len as usize);
        }

        /// A frame with one wrong byte is read as something of the promised length, or not at all.
        #[test]
        fn a_frame_with_a_wrong_byte_keeps_its_bounds(at in any::<prop::sample::Index>(), byte: u8) {
            let mut stored = stored(Some(64), &text(2000));
            let at = at.index(stored.len());
            stored[at] = byte;
            prop_assert!(read(&stored).len() <= MAX_VALUE);
        }
    }
}
