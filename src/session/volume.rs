//! Which of the lanes a session's requests take: the one for what is small, or the one for large values.
//!
//! A connection carries one reply after the other, so 10 MB on it hold up everything behind. A session that sends or
//! gets large values is moved to a lane beside the usual one while nothing of its own is under way (its order stays),
//! and back after a while without any. What a request will bring is not known before: a first large reply still comes
//! over the usual lane. So that nobody makes every reply a first one by connecting anew, a tenant's new sessions begin
//! where its last one was ([`Expectations`]).

use std::cell::Cell;

use crate::upstream::Load;

/// Bytes of one request or reply that would hold up small ones: about a quarter of a millisecond at 1 GB/s.
const LARGE: usize = 256 << 10;
/// Small replies in a row after which no large value is expected any more.
const CALM: u8 = 64;

/// How large what a session sent and got has been lately.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Volume {
    load: Load,
    /// Small replies after which the session is light again; 0: it is.
    left: u8,
    /// Bytes that have come of a reply that is not complete.
    arriving: u32,
}

impl Volume {
    /// The lane that its requests take.
    #[inline]
    pub(super) fn load(self) -> Load {
        self.load
    }

    /// Whether a request of so many bytes belongs on the other lane.
    #[inline]
    pub(super) fn belongs_elsewhere(&mut self, request: usize) -> bool {
        if request >= LARGE {
            self.left = CALM;
        }
        let belongs = if self.left > 0 { Load::Heavy } else { Load::Light };
        self.load != belongs
    }

    /// Requests take the other lane from now on: nothing is under way on this one.
    pub(super) fn moves(&mut self) {
        self.load = if self.left > 0 { Load::Heavy } else { Load::Light };
    }

    /// Large values are expected: the tenant's sessions have had some lately.
    pub(super) fn expect_large(&mut self) {
        self.left = CALM;
    }

    /// Bytes of a reply have come, the last ones if it is complete. Whether it was a large one.
    #[inline]
    pub(super) fn arrived(&mut self, bytes: usize, is_complete: bool) -> bool {
        self.arriving = self.arriving.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        if !is_complete {
            return false;
        }
        let is_large = std::mem::take(&mut self.arriving) as usize >= LARGE;
        self.left = if is_large { CALM } else { self.left.saturating_sub(1) };
        is_large
    }
}

/// Whose new sessions are expected to get large values, by the tenant's number: those of whom a session got one, until
/// a session of theirs has had none for a while.
#[derive(Debug)]
pub(super) struct Expectations(Box<[Cell<bool>]>);

impl Expectations {
    /// Nothing is expected of so many tenants.
    pub(super) fn of(tenants: usize) -> Self {
        Self((0..tenants).map(|_| Cell::new(false)).collect())
    }

    /// Whether the tenant's sessions get large values.
    pub(super) fn is_large(&self, tenant: usize) -> bool {
        self.0.get(tenant).is_some_and(Cell::get)
    }

    /// Whether one of them got one, or had none for a while.
    pub(super) fn set(&self, tenant: usize, is_large: bool) {
        if let Some(expected) = self.0.get(tenant) {
            expected.set(is_large);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_request_goes_elsewhere_and_small_ones_follow_for_a_while() {
        let mut volume = Volume::default();
        assert!(!volume.belongs_elsewhere(LARGE - 1));
        assert!(volume.belongs_elsewhere(LARGE));
        volume.moves();
        assert_eq!(Load::Heavy, volume.load());
        for _ in 1..CALM {
            assert!(!volume.arrived(5, true));
            assert!(!volume.belongs_elsewhere(30));
        }
        volume.arrived(5, true);
        assert!(volume.belongs_elsewhere(30));
        volume.moves();
        assert_eq!(Load::Light, volume.load());
    }

    #[test]
    fn a_reply_is_as_large_as_its_pieces() {
        let mut volume = Volume::default();
        volume.arrived(LARGE / 2, false);
        assert!(!volume.belongs_elsewhere(30));
        assert!(volume.arrived(LARGE / 2, true));
        assert!(volume.belongs_elsewhere(30));
    }

    #[test]
    fn small_replies_leave_no_trace() {
        let mut volume = Volume::default();
        assert!((0..1000).all(|_| !volume.arrived(LARGE - 1, true)));
        assert!(!volume.belongs_elsewhere(30));
        assert_eq!(Load::Light, volume.load());
    }
}
