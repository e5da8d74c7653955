//! Buffers of large requests, kept for the next ones.
//!
//! A 64 KiB value is received into a buffer of its own, sent from it without a copy, and then the buffer is
//! free. Giving it back to the allocator each time costs more than the copy that was saved: the pages go back
//! to the kernel and are faulted in again (51 µs for a SET of 64 KiB against 25 µs with this pool).

use std::cell::RefCell;

use bytes::{Bytes, BytesMut};

/// Bytes kept at most, per worker.
const MAX_KEPT: usize = 4 * 1024 * 1024;
/// Buffers smaller than this are cheap to allocate.
const MIN_BUFFER: usize = 4 * 1024;
/// Larger ones are rare, and few of them would use up the pool.
const MAX_BUFFER: usize = 256 * 1024;

/// The spare buffers of one worker.
#[derive(Debug, Default)]
pub struct BufferPool {
    spares: RefCell<Spares>,
}

#[derive(Debug, Default)]
struct Spares {
    buffers: Vec<BytesMut>,
    /// Their capacities together.
    kept: usize,
    /// The fewest there were since the last [`BufferPool::release_unused`]: so many were not needed.
    idle: usize,
}

impl BufferPool {
    /// An empty buffer with room for `len` bytes.
    pub fn take(&self, len: usize) -> BytesMut {
        let spare = if len < MIN_BUFFER { None } else { self.spares.borrow_mut().pop() };
        let mut buffer = spare.unwrap_or_default();
        buffer.reserve(len);
        buffer
    }

    /// A buffer that is no longer needed.
    pub fn give(&self, buffer: BytesMut) {
        self.give_shared(buffer.freeze());
    }

    /// Bytes that have been written; their buffer is spare unless somebody else still holds a part of it.
    pub fn give_shared(&self, bytes: Bytes) {
        let Ok(mut buffer) = bytes.try_into_mut() else { return };
        buffer.clear();
        // What is left of a split buffer keeps all of it alive but reports its own part: the whole is what
        // counts.
        if buffer.try_reclaim(MAX_BUFFER.saturating_add(1)) {
            return;
        }
        let own_part = buffer.capacity();
        let capacity =
            if buffer.try_reclaim(own_part.saturating_add(1)) { buffer.capacity() } else { own_part };
        let mut spares = self.spares.borrow_mut();
        if (MIN_BUFFER..=MAX_BUFFER).contains(&capacity) && spares.kept.saturating_add(capacity) <= MAX_KEPT {
            spares.kept = spares.kept.saturating_add(capacity);
            spares.buffers.push(buffer);
        }
    }

    /// Gives what was not needed since the last call back to the allocator.
    pub fn release_unused(&self) {
        let mut spares = self.spares.borrow_mut();
        for _ in 0..spares.idle {
            drop(spares.pop());
        }
        spares.idle = spares.buffers.len();
    }
}

impl Spares {
    fn pop(&mut self) -> Option<BytesMut> {
        let buffer = self.buffers.pop()?;
        self.kept = self.kept.saturating_sub(buffer.capacity());
        self.idle = self.idle.min(self.buffers.len());
        Some(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_that_was_sent_is_used_again() {
        let pool = BufferPool::default();
        let mut buffer = pool.take(64 * 1024);
        buffer.extend_from_slice(&vec![b'x'; 64 * 1024]);
        let whole = buffer.freeze();
        let stretch = whole.slice(10..);
        let address = whole.as_ptr();
        drop(whole);
        pool.give_shared(stretch);
        let mut again = pool.take(64 * 1024);
        again.extend_from_slice(b"y");
        assert_eq!(address, again.as_ptr());
    }

    #[test]
    fn a_buffer_that_is_still_held_is_left_alone() {
        let pool = BufferPool::default();
        let mut buffer = pool.take(64 * 1024);
        buffer.extend_from_slice(b"x");
        let whole = buffer.freeze();
        pool.give_shared(whole.clone());
        assert_eq!(0, pool.spares.borrow().buffers.len());
        assert_eq!(b"x".as_slice(), &whole);
    }

    #[test]
    fn the_rest_of_a_huge_buffer_is_not_kept() {
        let pool = BufferPool::default();
        let mut buffer = BytesMut::with_capacity(16 * 1024 * 1024);
        buffer.resize(16 * 1024 * 1024 - 64 * 1024, b'x');
        let request = buffer.split().freeze();
        assert!((MIN_BUFFER..=MAX_BUFFER).contains(&buffer.capacity()));
        pool.give(buffer);
        assert_eq!(0, pool.spares.borrow().buffers.len());
        pool.give_shared(request.slice(request.len() - 20_000..));
        drop(request);
        assert_eq!(0, pool.spares.borrow().buffers.len());
    }

    #[test]
    fn what_is_not_used_is_released() {
        let pool = BufferPool::default();
        for _ in 0..100 {
            pool.give(BytesMut::with_capacity(64 * 1024));
        }
        assert_eq!(MAX_KEPT / (64 * 1024), pool.spares.borrow().buffers.len());
        pool.release_unused();
        let in_use: Vec<BytesMut> = (0..3).map(|_| pool.take(64 * 1024)).collect();
        for buffer in in_use {
            pool.give(buffer);
        }
        pool.release_unused();
        assert_eq!(3, pool.spares.borrow().buffers.len());
    }
}
