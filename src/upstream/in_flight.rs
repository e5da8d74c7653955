//! The replies one upstream connection owes, oldest first.
//!
//! Redis answers a connection's requests in the order they were sent, so the next reply belongs to the oldest
//! entry.
//! **Invariant**: one entry per reply owed, retired only by that reply (or all together, when the connection ends). An
//! entry whose client has gone stays and discards its reply; a reply that nobody is owed ends the connection,
//! because guessing would show one tenant another's data.

use std::collections::VecDeque;

use crate::clock::Micros;

/// Whether a request whose reply is lost can have been executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Its last byte never left: it cannot have run.
    NotSent,
    /// It left, and no reply came.
    MayHaveRun,
}

/// One reply owed.
#[derive(Debug)]
pub struct Owed<T> {
    /// Who gets it.
    pub recipient: T,
    /// When the request was handed to the socket.
    pub sent_at: Micros,
    /// Requests that were sent with it, before it.
    pub asked_before: u32,
    /// Replies to them that are still to come.
    pub before: u32,
    /// What it counts as among those under way.
    pub units: u32,
    /// Bytes of the request, and of what was sent with it.
    len: usize,
}

impl<T> Owed<T> {
    /// Bytes of the request, and of what was sent with it.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Never: a request has bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// The queue of one connection.
#[derive(Debug)]
pub struct InFlight<T> {
    owed: VecDeque<Owed<T>>,
    /// Entries at the end that have not been handed to the socket.
    unsent: usize,
}

/// What an emptied queue keeps allocated, in entries.
const KEPT_CAPACITY: usize = 16 * 1024;

impl<T> Default for InFlight<T> {
    fn default() -> Self {
        Self { owed: VecDeque::new(), unsent: 0 }
    }
}

impl<T> InFlight<T> {
    /// Replies owed.
    pub fn len(&self) -> usize {
        self.owed.len()
    }

    /// No reply is owed.
    pub fn is_empty(&self) -> bool {
        self.owed.is_empty()
    }

    /// A request of `len` bytes was queued that counts as `units`, with others whose replies come `before` its own.
    pub fn push(&mut self, recipient: T, (len, units): (usize, u32), before: u32) {
        self.owed.push_back(Owed {
            recipient,
            sent_at: Micros::default(),
            asked_before: before,
            before,
            units,
            len,
        });
        self.unsent += 1;
    }

    /// Everything queued is being handed to the socket at `now`.
    pub fn stamp(&mut self, now: Micros) {
        let first = self.owed.len().saturating_sub(self.unsent);
        for owed in self.owed.range_mut(first..) {
            owed.sent_at = now;
        }
        self.unsent = 0;
    }

    /// The entry the next reply belongs to.
    pub fn oldest(&mut self) -> Option<&mut Owed<T>> {
        self.owed.front_mut()
    }

    /// The oldest request, if it was handed to the socket.
    pub fn oldest_sent(&self) -> Option<&Owed<T>> {
        if self.unsent >= self.owed.len() { None } else { self.owed.front() }
    }

    /// The oldest entry's reply has come.
    pub fn retire(&mut self) -> Option<Owed<T>> {
        let owed = self.owed.pop_front();
        self.unsent = self.unsent.min(self.owed.len());
        if self.owed.is_empty() && self.owed.capacity() > KEPT_CAPACITY {
            self.owed = VecDeque::new();
        }
        owed
    }

    /// The connection has ended with `unwritten` bytes still in its queue: every entry with its fate, oldest
    /// first.
    pub fn abandon(&mut self, mut unwritten: usize) -> Vec<(Owed<T>, Fate)> {
        let mut fates = Vec::with_capacity(self.owed.len());
        while let Some(owed) = self.owed.pop_back() {
            // Redis runs complete requests only: one whose last byte is still here has not run.
            let fate = if unwritten > 0 { Fate::NotSent } else { Fate::MayHaveRun };
            unwritten = unwritten.saturating_sub(owed.len);
            fates.push((owed, fate));
        }
        fates.reverse();
        *self = Self::default();
        fates
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_belong_to_the_oldest_request() {
        let mut in_flight = InFlight::default();
        in_flight.push('a', (10, 1), 0);
        in_flight.push('b', (10, 1), 0);
        assert!(in_flight.oldest_sent().is_none());
        in_flight.stamp(Micros(5));
        in_flight.push('c', (10, 1), 0);
        assert_eq!(Some(Micros(5)), in_flight.oldest_sent().map(|owed| owed.sent_at));
        assert_eq!(Some('a'), in_flight.retire().map(|owed| owed.recipient));
        assert_eq!(Some('b'), in_flight.retire().map(|owed| owed.recipient));
        assert!(in_flight.oldest_sent().is_none());
        assert_eq!(Some('c'), in_flight.retire().map(|owed| owed.recipient));
        assert!(in_flight.is_empty());
    }

    #[test]
    fn a_request_whose_last_byte_is_still_here_cannot_have_run() {
        let queue = |unwritten| {
            let mut in_flight = InFlight::default();
            for name in ['a', 'b', 'c'] {
                in_flight.push(name, (10, 1), 0);
            }
            let fates = in_flight.abandon(unwritten);
            fates.into_iter().map(|(owed, fate)| (owed.recipient, fate)).collect::<Vec<_>>()
        };
        assert_eq!(vec![('a', Fate::MayHaveRun), ('b', Fate::MayHaveRun), ('c', Fate::MayHaveRun)], queue(0));
        assert_eq!(vec![('a', Fate::MayHaveRun), ('b', Fate::MayHaveRun), ('c', Fate::NotSent)], queue(1));
        assert_eq!(vec![('a', Fate::MayHaveRun), ('b', Fate::MayHaveRun), ('c', Fate::NotSent)], queue(10));
        assert_eq!(vec![('a', Fate::MayHaveRun), ('b', Fate::NotSent), ('c', Fate::NotSent)], queue(11));
        assert_eq!(vec![('a', Fate::NotSent), ('b', Fate::NotSent), ('c', Fate::NotSent)], queue(30));
    }
}
