//! Sums over the last so many milliseconds.
//!
//! A ring of ten counts, each for a tenth of the window. So what is counted leaves between nine and ten tenths of the
//! window later: exact enough for a share, at a fixed size whatever the traffic.

/// Counts that a window is cut into.
const PARTS: u64 = 10;

/// What is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Requests, however they ended.
    pub(super) requests: u64,
    /// Those that failed.
    pub(super) failed: u64,
    /// Those that were answered too slowly.
    pub(super) slow: u64,
}

/// One window.
#[derive(Debug)]
pub(super) struct Window {
    /// Milliseconds of one part.
    width: u64,
    parts: Vec<Counts>,
    /// The number of the part that was looked at last, counted from the beginning of time.
    at: u64,
}

impl Window {
    /// Of so many milliseconds.
    pub(super) fn new(millis: u64) -> Self {
        let parts = usize::try_from(PARTS).unwrap_or_default();
        Self { width: (millis / PARTS).max(1), parts: vec![Counts::default(); parts], at: 0 }
    }

    /// Adds to what is counted at `now`, which never goes back.
    pub(super) fn add(&mut self, now: u64, add: impl FnOnce(&mut Counts)) {
        self.advance(now);
        if let Some(counts) = self.part(self.at) {
            add(counts);
        }
    }

    /// All that is counted at `now`.
    pub(super) fn sum(&mut self, now: u64) -> Counts {
        self.advance(now);
        self.parts.iter().fold(Counts::default(), |sum, part| Counts {
            requests: sum.requests.saturating_add(part.requests),
            failed: sum.failed.saturating_add(part.failed),
            slow: sum.slow.saturating_add(part.slow),
        })
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.parts.fill(Counts::default());
    }

    /// Forgets what is too old.
    fn advance(&mut self, now: u64) {
        let to = now / self.width;
        let old = to.saturating_sub(self.at).min(PARTS);
        for back in 0..old {
            if let Some(part) = self.part(to.saturating_sub(back)) {
                *part = Counts::default();
            }
        }
        self.at = self.at.max(to);
    }

    fn part(&mut self, number: u64) -> Option<&mut Counts> {
        self.parts.get_mut(usize::try_from(number % PARTS).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_leaves_after_the_window() {
        let mut window = Window::new(1_000);
        window.add(50, |counts| counts.requests += 1);
        window.add(450, |counts| counts.requests += 10);
        assert_eq!(11, window.sum(999).requests);
        assert_eq!(10, window.sum(1_000).requests);
        assert_eq!(10, window.sum(1_399).requests);
        assert_eq!(0, window.sum(1_400).requests);
        window.add(1_400, |counts| counts.failed += 1);
        assert_eq!(Counts { failed: 1, ..Counts::default() }, window.sum(2_000));
        assert_eq!(Counts::default(), window.sum(1_000_000));
    }
}
