//! Bytes received from one upstream connection, kept until the reply they belong to is complete.
//!
//! Replies are handed on as slices of this buffer. A reply that is cut off by the end of a read stays where
//! it is and the next read goes behind it, so that a client gets it with one write and nothing is copied;
//! only when the buffer has been used up is the beginning moved to the front. A reply larger than the buffer
//! is passed on piece by piece.

use std::ops::Range;

/// Bytes of the buffer. Sixteen 64 KiB values between two moves of a beginning; more gains nothing
/// measurable.
const CAPACITY: usize = 1024 * 1024;
/// Bytes of a dedicated connection's buffer: one client's traffic, and there may be a thousand of them.
const SMALL_CAPACITY: usize = 16 * 1024;
/// The share of the buffer below which a beginning is moved to the front: a smaller read would cost more than
/// the move.
const MIN_ROOM_SHARE: usize = 16;

/// The receive buffer of one upstream connection.
#[derive(Debug)]
pub struct Inbox {
    buffer: Box<[u8]>,
    /// First byte of the reply in progress.
    first: usize,
    /// First byte the scanner has not seen.
    scanned: usize,
    /// One past the last byte received.
    filled: usize,
}

impl Default for Inbox {
    fn default() -> Self {
        Self::of(CAPACITY)
    }
}

impl Inbox {
    /// The buffer of a dedicated connection.
    pub fn small() -> Self {
        Self::of(SMALL_CAPACITY)
    }

    fn of(capacity: usize) -> Self {
        Self { buffer: vec![0; capacity].into_boxed_slice(), first: 0, scanned: 0, filled: 0 }
    }

    /// Free bytes that make a read worth its while.
    fn min_room(&self) -> usize {
        self.buffer.len() / MIN_ROOM_SHARE
    }

    /// Forgets everything received: the connection is new.
    pub fn clear(&mut self) {
        (self.first, self.scanned, self.filled) = (0, 0, 0);
    }

    /// Where the next read goes; never empty after [`Inbox::make_room`].
    pub fn room(&mut self) -> &mut [u8] {
        self.buffer.get_mut(self.filled..).unwrap_or_default()
    }

    /// `len` bytes were read into [`Inbox::room`].
    pub fn received(&mut self, len: usize) {
        self.filled = self.filled.saturating_add(len).min(self.buffer.len());
    }

    /// Everything in the buffer: what ranges handed out refer to.
    pub fn bytes(&self) -> &[u8] {
        self.buffer.get(..self.filled).unwrap_or_default()
    }

    /// What the scanner has not seen.
    pub fn unscanned(&self) -> &[u8] {
        self.buffer.get(self.scanned..self.filled).unwrap_or_default()
    }

    /// The first byte of the reply in progress; 0 if none of it has come.
    pub fn first_byte(&self) -> u8 {
        self.bytes().get(self.first).copied().unwrap_or_default()
    }

    /// The reply in progress ends `len` bytes after what had been scanned: where it lies.
    pub fn complete(&mut self, len: usize) -> Range<usize> {
        self.scanned = self.scanned.saturating_add(len).min(self.filled);
        std::mem::replace(&mut self.first, self.scanned)..self.scanned
    }

    /// Everything received has been scanned and the reply in progress goes on.
    pub fn suspend(&mut self) {
        self.scanned = self.filled;
    }

    /// Takes what is there of the reply in progress out of the buffer: where it lies, until the next read.
    pub fn take_piece(&mut self) -> Range<usize> {
        std::mem::replace(&mut self.first, self.filled)..self.filled
    }

    /// Whether the reply in progress fills so much that only passing on what is there makes room.
    pub fn is_full(&self) -> bool {
        self.buffer.len().saturating_sub(self.filled) < self.min_room() && self.first < self.min_room()
    }

    /// Makes room for the next read. Ranges handed out before are void.
    pub fn make_room(&mut self) {
        if self.first >= self.filled {
            self.clear();
        } else if self.buffer.len().saturating_sub(self.filled) < self.min_room() {
            self.buffer.copy_within(self.first..self.filled, 0);
            self.scanned = self.scanned.saturating_sub(self.first);
            self.filled = self.filled.saturating_sub(self.first);
            self.first = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receive(inbox: &mut Inbox, bytes: &[u8]) {
        inbox.room()[..bytes.len()].copy_from_slice(bytes);
        inbox.received(bytes.len());
    }

    #[test]
    fn a_reply_cut_off_by_a_read_is_whole_after_the_next() {
        let mut inbox = Inbox::default();
        receive(&mut inbox, b"+OK\r\n$5\r\nhe");
        assert_eq!(0..5, inbox.complete(5));
        inbox.suspend();
        inbox.make_room();
        receive(&mut inbox, b"llo\r\n");
        let reply = inbox.complete(5);
        assert_eq!(b"$5\r\nhello\r\n", &inbox.bytes()[reply]);
        inbox.make_room();
        assert_eq!(CAPACITY, inbox.room().len());
    }

    #[test]
    fn a_beginning_moves_to_the_front_when_the_buffer_is_used_up() {
        let mut inbox = Inbox::default();
        let end = CAPACITY - 10;
        receive(&mut inbox, &vec![b'x'; end]);
        inbox.complete(end - 3);
        inbox.suspend();
        assert!(!inbox.is_full());
        inbox.make_room();
        assert_eq!((b"xxx".as_slice(), CAPACITY - 3), (inbox.bytes(), CAPACITY - inbox.filled));
        assert!(inbox.unscanned().is_empty());
    }

    #[test]
    fn a_reply_larger_than_the_buffer_leaves_in_pieces() {
        let mut inbox = Inbox::default();
        receive(&mut inbox, &vec![b'x'; CAPACITY]);
        inbox.suspend();
        assert!(inbox.is_full());
        assert_eq!(0..CAPACITY, inbox.take_piece());
        inbox.make_room();
        assert_eq!(CAPACITY, inbox.room().len());
    }
}
