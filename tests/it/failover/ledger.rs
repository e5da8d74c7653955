//! What one client reads from its own counters, and whether that can be true.
//!
//! A counter has one writer, which sends its next request for it when the last one is answered. So an increment
//! that is acknowledged with *n* says that there were exactly *n* of them: one more than the last known number,
//! or as many more as there were requests in between of which the proxy had said that they may have been
//! executed. A larger step is an increment that was executed and refused, or executed twice; a smaller one is
//! an acknowledged increment that is gone.
//!
//! Redis itself loses acknowledged writes when a replica takes the place of a primary that it has not heard
//! everything of. What that replica had heard is known ([`super::witness`]), and then a counter may fall back
//! once, but not below that.

/// Numbers of a counter's own: a number of another counter is recognised.
pub(crate) const NUMBERS: u64 = 1_000_000;

/// What a client read about one of its counters, in the order of its requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// The reply to an increment.
    Incremented(u64),
    /// The reply to a read.
    Read(u64),
    /// An increment that may have been executed.
    Unknown,
}

/// The entries of one counter, compared as they come.
pub(crate) struct Ledger {
    /// The number it was set to.
    base: u64,
    /// The last number known to be right.
    known: u64,
    /// Increments since then that may have been executed.
    unknown: u64,
    /// What the replica that took over had heard of it, until it is used.
    kept: Option<u64>,
    /// Acknowledged increments that Redis has lost.
    lost_by_redis: u64,
}

impl Ledger {
    /// Of a counter that was set to `base`; `kept` if its primary was replaced by a replica that had only heard
    /// of the increments up to there.
    pub(crate) fn new(base: u64, kept: Option<u64>) -> Self {
        Self { base, known: base, unknown: 0, kept, lost_by_redis: 0 }
    }

    /// Compares all entries and what is stored in the end; says how many acknowledged increments Redis has
    /// lost.
    pub(crate) fn check(mut self, entries: &[Entry], stored: u64) -> Result<u64, String> {
        for entry in entries {
            match *entry {
                Entry::Unknown => self.unknown += 1,
                Entry::Incremented(number) => self.observe(number, 1)?,
                Entry::Read(number) => self.observe(number, 0)?,
            }
        }
        self.observe(stored, 0).map_err(|why| format!("what is stored in the end: {why}"))?;
        Ok(self.lost_by_redis)
    }

    /// A number that is there after `own` increments of the request's own.
    fn observe(&mut self, number: u64, own: u64) -> Result<(), String> {
        if !(self.base..self.base + NUMBERS).contains(&number) {
            return Err(format!("{number} belongs to another counter, this one's begin at {}", self.base));
        }
        let follows = |from: u64| (from + own..=from + own + self.unknown).contains(&number);
        let kept = self.kept.filter(|kept| *kept < self.known);
        if follows(self.known) {
        } else if let Some(kept) = kept.filter(|kept| follows(*kept)) {
            self.lost_by_redis += self.known - kept;
            self.kept = None;
        } else {
            let Self { known, unknown, .. } = self;
            return Err(format!(
                "read {number} after {known}, {own} own and {unknown} unknown increments; a replica that took \
                 over had {kept:?}"
            ));
        }
        // A request is unknown because its connection has ended, and what Redis has not executed by then it
        // does not execute later.
        self.known = number;
        self.unknown = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Entry::{Incremented, Read, Unknown};
    use super::*;

    fn check(kept: Option<u64>, entries: &[Entry], stored: u64) -> Option<u64> {
        Ledger::new(0, kept).check(entries, stored).ok()
    }

    #[test]
    fn numbers_that_follow_each_other_are_right() {
        let entries =
            [Incremented(1), Read(1), Incremented(2), Unknown, Unknown, Incremented(4), Read(4), Unknown];
        assert_eq!(Some(0), check(None, &entries, 4));
        assert_eq!(Some(0), check(None, &entries, 5));
    }

    #[test]
    fn lost_repeated_and_foreign_numbers_are_found() {
        for (entries, stored) in [
            (&[Incremented(1), Incremented(1)] as &[Entry], 1),
            (&[Incremented(1), Incremented(3)], 3),
            (&[Incremented(1), Unknown, Incremented(4)], 4),
            (&[Incremented(1), Read(0)], 1),
            (&[Incremented(1), Read(2)], 2),
            (&[Incremented(1)], 0),
            (&[Incremented(1)], 2),
            (&[Incremented(NUMBERS + 1)], 1),
        ] {
            assert_eq!(None, check(None, entries, stored), "{entries:?}, {stored}");
        }
    }

    #[test]
    fn a_counter_falls_back_to_what_the_replica_had_and_only_once() {
        let old = [Incremented(1), Incremented(2), Incremented(3)];
        for (kept, new, stored, expected) in [
            (1, &[Incremented(2), Incremented(3)] as &[Entry], 3, Some(2)),
            (1, &[], 1, Some(2)),
            (1, &[Unknown, Incremented(3)], 3, Some(2)),
            (1, &[Unknown, Unknown, Incremented(5)], 5, Some(0)),
            (2, &[Incremented(2)], 2, None),
            (3, &[Incremented(3)], 3, None),
            (1, &[Incremented(2), Incremented(2)], 2, None),
            (1, &[Incremented(1)], 1, None),
        ] {
            assert_eq!(expected, check(Some(kept), &[&old, new].concat(), stored), "{kept}, {new:?}");
        }
    }
}
