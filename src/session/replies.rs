//! The replies one client is owed, in the order of its requests.
//!
//! **Invariant**: replies leave in request order. The usual reply is the oldest one owed and passes straight through;
//! one that comes early (answered by the proxy, or on another upstream connection) is held until it is its
//! turn.

use std::collections::VecDeque;

use bytes::BytesMut;

/// The place of one reply in its session's queue; wraps, because it is only compared with its neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(u32);

/// A reply behind one that came early.
#[derive(Debug)]
enum Slot {
    /// Nothing of it has come.
    Awaiting,
    /// It, or its beginning, came before its turn.
    Held { bytes: BytesMut, is_complete: bool },
}

/// The queue of one session.
///
/// Nearly always none came early, and then the queue is two numbers: no memory for an idle connection, no
/// slot to fill for each request of a pipeline.
#[derive(Debug, Default)]
pub struct ReplyQueue {
    /// The turn of the next reply.
    first: u32,
    /// Replies owed before any that came early.
    awaited: u32,
    /// The first that came early, and all after it.
    rest: VecDeque<Slot>,
    /// Bytes held in `rest`, or apart.
    held: usize,
}

impl ReplyQueue {
    /// Replies owed.
    pub fn len(&self) -> usize {
        (self.awaited as usize).saturating_add(self.rest.len())
    }

    /// No reply is owed.
    pub fn is_empty(&self) -> bool {
        self.awaited == 0 && self.rest.is_empty()
    }

    /// A request was sent: its reply has this turn.
    pub fn expect(&mut self) -> Place {
        let turn = Place(self.first.wrapping_add(u32::try_from(self.len()).unwrap_or(u32::MAX)));
        if self.rest.is_empty() {
            self.awaited = self.awaited.saturating_add(1);
        } else {
            self.rest.push_back(Slot::Awaiting);
        }
        turn
    }

    /// The place of a reply that the client does not get.
    pub fn nobodys(&self) -> Place {
        Place(self.first.wrapping_sub(1))
    }

    /// Whether the reply of `turn` is the next to leave.
    pub fn is_next(&self, turn: Place) -> bool {
        turn.0 == self.first
    }

    /// Whether a reply is held behind the next one, to leave with it.
    pub fn is_followed(&self) -> bool {
        self.awaited == 1 && !self.rest.is_empty()
    }

    /// The next reply has left completely. Whatever was held behind it is appended to `out`.
    pub fn next_has_left(&mut self, out: &mut BytesMut) {
        self.awaited = self.awaited.saturating_sub(1);
        self.first = self.first.wrapping_add(1);
        if self.awaited == 0 && !self.rest.is_empty() {
            self.release(out);
        }
    }

    /// Nothing is awaited before the first reply that came early: lets it go, and what can follow it.
    fn release(&mut self, out: &mut BytesMut) {
        while let Some(slot) = self.rest.pop_front() {
            let Slot::Held { bytes, is_complete } = slot else {
                self.awaited = self.awaited.saturating_add(1);
                continue;
            };
            if self.awaited > 0 {
                self.rest.push_front(Slot::Held { bytes, is_complete });
                return;
            }
            out.extend_from_slice(&bytes);
            self.held = self.held.saturating_sub(bytes.len());
            if is_complete {
                self.first = self.first.wrapping_add(1);
            } else {
                // Its beginning came early; the rest passes through.
                self.awaited = 1;
            }
        }
        self.rest = VecDeque::new();
    }

    /// A piece of a reply that is not next. A turn that is not owed is none of ours and is dropped.
    pub fn hold(&mut self, turn: Place, piece: &[u8], is_last: bool) {
        let position = turn.0.wrapping_sub(self.first);
        if position as usize >= self.len() {
            return;
        }
        // Those awaited behind it are no longer before any that came early.
        while self.awaited > position {
            self.rest.push_front(Slot::Awaiting);
            self.awaited = self.awaited.saturating_sub(1);
        }
        let Some(slot) = self.rest.get_mut(position.saturating_sub(self.awaited) as usize) else { return };
        self.held = self.held.saturating_add(piece.len());
        match slot {
            Slot::Awaiting => *slot = Slot::Held { bytes: BytesMut::from(piece), is_complete: is_last },
            Slot::Held { bytes, is_complete } => {
                bytes.extend_from_slice(piece);
                *is_complete = is_last;
            }
        }
    }

    /// Of a reply that is made of several, so many bytes have come where it were `before`.
    pub fn hold_apart(&mut self, before: usize, now: usize) {
        self.held = self.held.saturating_sub(before).saturating_add(now);
    }

    /// Bytes that came early.
    pub fn held_bytes(&self) -> usize {
        self.held
    }

    /// The proxy answers a request by itself: holds the answer until its turn. `false`: nothing is owed
    /// before it, so the bytes may leave at once, and were not taken.
    pub fn holds_answer(&mut self, reply: &[u8]) -> bool {
        if self.is_empty() {
            return false;
        }
        let turn = self.expect();
        self.hold(turn, reply, true);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_that_comes_early_waits_for_its_turn() {
        let mut replies = ReplyQueue::default();
        let first = replies.expect();
        assert!(replies.holds_answer(b"+PONG\r\n"));
        let third = replies.expect();
        assert!(replies.is_next(first) && !replies.is_next(third));
        replies.hold(third, b"$1\r\n", false);
        let mut out = BytesMut::new();
        replies.next_has_left(&mut out);
        assert_eq!(b"+PONG\r\n$1\r\n".as_slice(), &out);
        assert!(replies.is_next(third));
        replies.next_has_left(&mut out);
        assert!(replies.is_empty());
    }

    #[test]
    fn held_bytes_are_counted_until_they_leave() {
        let mut replies = ReplyQueue::default();
        replies.expect();
        assert!(replies.holds_answer(b"+PONG\r\n"));
        let third = replies.expect();
        replies.hold(third, b"$1\r\n", false);
        replies.hold(third, b"a\r\n", true);
        assert_eq!(14, replies.held_bytes());
        replies.next_has_left(&mut BytesMut::new());
        assert_eq!(0, replies.held_bytes());
    }

    #[test]
    fn with_nothing_owed_an_answer_leaves_at_once() {
        assert!(!ReplyQueue::default().holds_answer(b"+PONG\r\n"));
    }

    #[test]
    fn a_burst_leaves_no_memory_behind() {
        let mut replies = ReplyQueue::default();
        replies.expect();
        for _ in 0..1000 {
            assert!(replies.holds_answer(b"+PONG\r\n"));
        }
        let mut out = BytesMut::new();
        replies.next_has_left(&mut out);
        assert_eq!((7000, 0, 0), (out.len(), replies.rest.capacity(), replies.held_bytes()));
    }

    #[test]
    fn replies_leave_in_order_however_they_come() {
        const PIECES: [&[&[u8]]; 4] = [&[b"a"], &[b"b", b"B"], &[b"c"], &[b"d"]];
        // Each order in which four replies can come, the second in two pieces.
        let permutations = (0..256usize).map(|code| [code & 3, code >> 2 & 3, code >> 4 & 3, code >> 6]);
        for order in permutations.filter(|order| (0..4).all(|reply| order.contains(&reply))) {
            let mut replies = ReplyQueue::default();
            let turns: Vec<Place> = (0..4).map(|_| replies.expect()).collect();
            let mut out = BytesMut::new();
            for reply in order {
                for (number, piece) in PIECES[reply].iter().enumerate() {
                    let is_last = number + 1 == PIECES[reply].len();
                    if !replies.is_next(turns[reply]) {
                        replies.hold(turns[reply], piece, is_last);
                        continue;
                    }
                    out.extend_from_slice(piece);
                    if is_last {
                        replies.next_has_left(&mut out);
                    }
                }
            }
            assert_eq!(b"abBcd".as_slice(), &out, "{order:?}");
            assert!(replies.is_empty() && replies.held_bytes() == 0);
        }
    }
}
