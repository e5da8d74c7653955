//! What other threads have to tell a session, until it is polled.
//!
//! A session that is never told anything pays one atomic load per poll. One that does not keep up with what
//! it asked to be told (`MONITOR` behind a slow network) costs itself: beyond the bound nothing is left in
//! the mailbox but the order to end.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;

use bytes::Bytes;

use super::locked;

/// Charged for each note besides the bytes it carries, so that notes without bytes are bounded too.
const NOTE_COST: usize = 64;

/// One thing that a session is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// End the connection without another word (`CLIENT KILL`, or a mailbox that ran over). Nothing stands
    /// before or after it.
    Kill,
    /// End the blocking command.
    Unblock(UnblockAs),
    /// Complete frames in the client's RESP version, to be shown to it: a monitor's line, a redirected
    /// invalidation. In memory of their own: a slice would keep the whole buffer that it is of.
    Push(Bytes),
    /// The tenant's keyspace was flushed: a client that tracks keys must drop what it cached.
    FlushedAll,
}

/// What `CLIENT UNBLOCK` makes of the blocking command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnblockAs {
    /// It ends as if its timeout were over.
    Timeout,
    /// It ends with an `UNBLOCKED` error.
    Error,
}

/// The mailbox of one session.
#[derive(Debug)]
pub(super) struct Mailbox {
    has_notes: AtomicBool,
    limit: usize,
    inside: Mutex<Inside>,
}

#[derive(Debug, Default)]
struct Inside {
    notes: Vec<Note>,
    /// Sum of the notes' costs.
    cost: usize,
    state: State,
    waker: Option<Waker>,
}

/// Which notes are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Everything but `Unblock`.
    #[default]
    Running,
    /// Everything: the session waits for its blocking command.
    Blocked,
    /// Nothing: `Kill` was posted.
    Killed,
}

impl Mailbox {
    /// An empty mailbox that holds at most `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self { has_notes: AtomicBool::new(false), limit, inside: Mutex::default() }
    }

    /// Leaves a note and wakes the owner; `false`: it was not taken.
    pub(super) fn post(&self, note: Note) -> bool {
        let (is_taken, waker) = {
            let mut inside = locked(&self.inside);
            let is_taken = inside.take_in(note, self.limit);
            self.has_notes.store(!inside.notes.is_empty(), Ordering::Release);
            // Also when a note ran over: then the order to end has just been left.
            (is_taken, inside.waker.clone())
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        is_taken
    }

    /// Wakes the owner without telling it anything.
    pub(super) fn wake(&self) {
        let waker = locked(&self.inside).waker.clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Whether there is something to take.
    pub(super) fn has_notes(&self) -> bool {
        self.has_notes.load(Ordering::Acquire)
    }

    /// Everything, oldest first.
    pub(super) fn take_notes(&self) -> Vec<Note> {
        let mut inside = locked(&self.inside);
        self.has_notes.store(false, Ordering::Release);
        inside.cost = 0;
        std::mem::take(&mut inside.notes)
    }

    /// Whom to wake.
    pub(super) fn set_waker(&self, waker: &Waker) {
        let mut inside = locked(&self.inside);
        match &mut inside.waker {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }

    /// A blocking command begins or ends. An `Unblock` that came too late for one must not end the next.
    pub(super) fn set_blocked(&self, is_blocked: bool) {
        let mut inside = locked(&self.inside);
        inside.notes.retain(|note| !matches!(note, Note::Unblock(_)));
        inside.cost = inside.notes.iter().map(Note::cost).sum();
        self.has_notes.store(!inside.notes.is_empty(), Ordering::Release);
        if inside.state != State::Killed {
            inside.state = if is_blocked { State::Blocked } else { State::Running };
        }
    }

    /// Whether the session waits for a blocking command.
    pub(super) fn is_blocked(&self) -> bool {
        locked(&self.inside).state == State::Blocked
    }
}

impl Inside {
    fn take_in(&mut self, note: Note, limit: usize) -> bool {
        match (self.state, &note) {
            (State::Killed, _) | (State::Running, Note::Unblock(_)) => return false,
            (State::Running | State::Blocked, Note::Kill) => {
                self.kill();
                return true;
            }
            // One ends the command; a second would end the next.
            (State::Blocked, Note::Unblock(_)) => self.state = State::Running,
            // Dropping everything once is enough.
            (State::Running | State::Blocked, Note::FlushedAll) if self.notes.last() == Some(&note) => {
                return true;
            }
            (State::Running | State::Blocked, Note::Push(_) | Note::FlushedAll) => {}
        }
        self.cost = self.cost.saturating_add(note.cost());
        if self.cost > limit {
            self.kill();
            return false;
        }
        self.notes.push(note);
        true
    }

    fn kill(&mut self) {
        self.state = State::Killed;
        self.notes = vec![Note::Kill];
        self.cost = NOTE_COST;
    }
}

impl Note {
    fn cost(&self) -> usize {
        match self {
            Self::Push(frames) => frames.len().saturating_add(NOTE_COST),
            Self::Kill | Self::Unblock(_) | Self::FlushedAll => NOTE_COST,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::tests::Bell;

    fn push(text: &'static str) -> Note {
        Note::Push(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn a_note_wakes_the_owner_and_is_taken_once() {
        let (mailbox, bell) = (Mailbox::new(1024), Bell::default());
        mailbox.set_waker(&bell.waker());
        assert!(!mailbox.has_notes());
        assert!(mailbox.post(push("+a\r\n")));
        assert!(mailbox.post(Note::FlushedAll));
        assert_eq!((2, true), (bell.rings(), mailbox.has_notes()));
        assert_eq!(vec![push("+a\r\n"), Note::FlushedAll], mailbox.take_notes());
        assert_eq!((Vec::new(), false), (mailbox.take_notes(), mailbox.has_notes()));
    }

    #[test]
    fn a_mailbox_that_runs_over_holds_nothing_but_the_order_to_end() {
        let (mailbox, bell) = (Mailbox::new(2 * NOTE_COST + 10), Bell::default());
        mailbox.set_waker(&bell.waker());
        assert!(mailbox.post(push("+12\r\n")) && mailbox.post(push("+34\r\n")), "as much as it holds");
        mailbox.take_notes();
        assert!(mailbox.post(push("+12\r\n")));
        assert!(!mailbox.post(push("+345\r\n")), "one byte too many");
        assert_eq!(4, bell.rings());
        assert_eq!(vec![Note::Kill], mailbox.take_notes());
        assert!(!mailbox.post(push("+\r\n")), "it ends: there is nobody to show it to");
        assert!(!mailbox.has_notes());
    }

    #[test]
    fn what_was_taken_does_not_count_any_more() {
        let mailbox = Mailbox::new(2 * NOTE_COST);
        for _ in 0..100 {
            assert!(mailbox.post(push("+1\r\n")));
            assert_eq!(vec![push("+1\r\n")], mailbox.take_notes());
        }
    }

    #[test]
    fn the_order_to_end_replaces_what_waits() {
        let mailbox = Mailbox::new(1024);
        mailbox.post(push("+a\r\n"));
        assert!(mailbox.post(Note::Kill));
        assert!(!mailbox.post(Note::Kill), "once");
        assert_eq!(vec![Note::Kill], mailbox.take_notes());
    }

    #[test]
    fn notes_without_bytes_are_bounded_too() {
        let mailbox = Mailbox::new(10 * NOTE_COST);
        for _ in 0..100 {
            assert!(mailbox.post(Note::FlushedAll), "dropping everything once is enough");
        }
        assert_eq!(vec![Note::FlushedAll], mailbox.take_notes());
        let is_taken = |_: &i32| mailbox.post(push("")) && mailbox.post(Note::FlushedAll);
        assert_eq!(5, (0..100).take_while(is_taken).count());
        assert_eq!(vec![Note::Kill], mailbox.take_notes());
    }

    #[test]
    fn an_unblocking_ends_one_blocking_command() {
        let (mailbox, unblock) = (Mailbox::new(1024), Note::Unblock(UnblockAs::Error));
        assert!(!mailbox.post(unblock.clone()), "it does not wait");
        mailbox.set_blocked(true);
        assert!(mailbox.is_blocked());
        assert!(mailbox.post(unblock.clone()));
        assert!(!mailbox.post(unblock.clone()), "it has just been unblocked");
        assert_eq!(vec![unblock], mailbox.take_notes());
        assert!(!mailbox.is_blocked());
    }

    #[test]
    fn an_unblocking_that_came_too_late_does_not_end_the_next_command() {
        let mailbox = Mailbox::new(1024);
        mailbox.set_blocked(true);
        mailbox.post(push("+a\r\n"));
        mailbox.post(Note::Unblock(UnblockAs::Timeout));
        mailbox.set_blocked(false);
        mailbox.set_blocked(true);
        assert_eq!(vec![push("+a\r\n")], mailbox.take_notes());
        mailbox.set_blocked(true);
        mailbox.post(Note::Unblock(UnblockAs::Timeout));
        mailbox.set_blocked(false);
        assert!(!mailbox.has_notes());
    }

    #[test]
    fn notes_of_several_threads_all_arrive() {
        let mailbox = Mailbox::new(usize::MAX);
        let post_all = || (0..1000).filter(|_| mailbox.post(push("+x\r\n"))).count();
        let posted: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(post_all)).collect();
            threads.into_iter().map(|thread| thread.join().expect("it ends")).sum()
        });
        assert_eq!((4000, 4000), (posted, mailbox.take_notes().len()));
    }
}
