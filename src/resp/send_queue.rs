//! Bytes on their way to a peer: small pieces are copied together, large ones are kept as they are.
//!
//! One write per batch wants one contiguous buffer; a 100 MB value wants not to be copied. So requests are
//! appended to a tail, and a stretch of at least [`SHARED_FROM`] bytes that has an owner is queued by
//! reference.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};

use super::buffer_pool::BufferPool;

/// Stretches from this length on are shared instead of copied. Copying 16 KiB costs about as much as the two
/// extra entries of a vectored write; twice this would copy whole 16 KiB values, half of it gains nothing
/// measurable.
pub const SHARED_FROM: usize = 16 * 1024;
/// What the tail keeps for the next batch once it has been written; a larger one is given back to the
/// allocator.
const KEPT_CAPACITY: usize = 256 * 1024;

/// A queue of bytes to write, in order.
#[derive(Debug, Default)]
pub struct SendQueue {
    /// Finished pieces, oldest first.
    chunks: VecDeque<Bytes>,
    /// What follows them.
    tail: BytesMut,
    /// Bytes in `chunks`.
    chunked: usize,
}

impl SendQueue {
    /// Bytes waiting.
    pub fn len(&self) -> usize {
        self.chunked.saturating_add(self.tail.len())
    }

    /// Nothing waits.
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty() && self.tail.is_empty()
    }

    /// The buffer that small pieces are appended to.
    pub fn tail(&mut self) -> &mut BytesMut {
        &mut self.tail
    }

    /// Queues a large piece by reference, after everything queued so far.
    pub fn push_shared(&mut self, piece: Bytes) {
        if !self.tail.is_empty() {
            let tail = self.tail.split().freeze();
            self.chunked = self.chunked.saturating_add(tail.len());
            self.chunks.push_back(tail);
        }
        self.chunked = self.chunked.saturating_add(piece.len());
        self.chunks.push_back(piece);
    }

    /// Appends a copy of `piece`.
    pub fn push_slice(&mut self, piece: &[u8]) {
        self.tail.extend_from_slice(piece);
    }

    /// A copy of the first `len` bytes that wait.
    pub fn copy_front(&self, len: usize) -> Bytes {
        let mut front = BytesMut::with_capacity(len);
        for piece in self.chunks.iter().map(Bytes::as_ref).chain(std::iter::once(self.tail.as_ref())) {
            let wanted = len.saturating_sub(front.len()).min(piece.len());
            if front.len() >= len {
                break;
            }
            front.extend_from_slice(piece.get(..wanted).unwrap_or_default());
        }
        front.freeze()
    }

    /// Everything that waits, as slices for one write; as many as fit are filled in.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut filled: usize = 0;
        let pieces = self.chunks.iter().map(Bytes::as_ref).chain(std::iter::once(self.tail.as_ref()));
        for (slot, piece) in slices.iter_mut().zip(pieces.filter(|piece| !piece.is_empty())) {
            *slot = IoSlice::new(piece);
            filled = filled.saturating_add(1);
        }
        filled
    }

    /// Whether one plain write covers everything: the bytes, if so.
    pub fn as_single(&self) -> Option<&[u8]> {
        self.chunks.is_empty().then_some(self.tail.as_ref())
    }

    /// `written` bytes have left; shared pieces that have left completely go to `pool`.
    pub fn advance(&mut self, written: usize, pool: &BufferPool) {
        let mut left = written;
        while let Some(chunk) = self.chunks.front_mut() {
            let step = left.min(chunk.len());
            self.chunked = self.chunked.saturating_sub(step);
            left = left.saturating_sub(step);
            if step < chunk.len() {
                chunk.advance(step);
                return;
            }
            if let Some(chunk) = self.chunks.pop_front() {
                pool.give_shared(chunk);
            }
        }
        if left >= self.tail.len() {
            self.tail.clear();
            if self.tail.capacity() > KEPT_CAPACITY {
                self.tail = BytesMut::new();
            }
        } else {
            self.tail.advance(left);
        }
    }

    /// Everything that waits, in one piece.
    pub fn into_bytes(mut self) -> Bytes {
        if self.chunks.is_empty() {
            return self.tail.freeze();
        }
        let mut all = BytesMut::with_capacity(self.len());
        self.chunks.drain(..).for_each(|chunk| all.extend_from_slice(&chunk));
        all.extend_from_slice(&self.tail);
        all.freeze()
    }

    /// Drops everything that waits.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_leave_in_the_order_they_came() {
        let mut queue = SendQueue::default();
        queue.tail().extend_from_slice(b"one ");
        queue.push_shared(Bytes::from_static(b"two "));
        queue.push_shared(Bytes::from_static(b"three "));
        queue.tail().extend_from_slice(b"four");
        assert_eq!(18, queue.len());
        let mut seen = Vec::new();
        while !queue.is_empty() {
            let mut slices = [IoSlice::new(&[]); 2];
            let filled = queue.slices(&mut slices);
            let first = slices[..filled][0][..1].to_vec();
            seen.extend_from_slice(&first);
            queue.advance(1, &BufferPool::default());
        }
        assert_eq!(b"one two three four".to_vec(), seen);
        assert_eq!(0, queue.len());
    }
}
