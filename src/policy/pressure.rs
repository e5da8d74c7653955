//! How short the process is of memory, and how much must be given up for that.
//!
//! ```text
//!   used / ceiling   50%    60%    70%    80%    90%   100%
//!                     │      │      │      │      │      │
//!   Normal ───────────┼────► Elevated ────► Tight ► Critical
//!          ◄──────────┘ ◄───────────┘ ◄────┘◄─────┘        a level is left where the one below it is entered
//! ```
//!
//! Each level is left at a lower mark than it is entered at, so that one reply more or less does not switch it. What is
//! measured lags a little behind what was done about it; therefore orders to evict keep a distance in time, and each
//! asks for no more than what is above the mark below.
//!
//! Tight for long is not harmless either: somebody holds what is refused to others. After [`PATIENCE_MS`] it is treated
//! as critical memory is, down to where it ends.

/// Milliseconds between two orders to evict: what was freed is seen in the next measurement.
pub const ORDER_EVERY_MS: u64 = 10;
/// Milliseconds that memory may stay tight before the heaviest clients are evicted.
pub const PATIENCE_MS: u64 = 1000;

/// How short memory is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// It is not.
    #[default]
    Normal,
    /// What is free is given back to the system at once.
    Elevated,
    /// Who is new, or asks for much, is refused; who holds much is not read.
    Tight,
    /// Every request is refused, and the heaviest clients are evicted.
    Critical,
}

impl Level {
    /// All of them, from the lowest.
    pub const ALL: [Self; 4] = [Self::Normal, Self::Elevated, Self::Tight, Self::Critical];

    /// Whether anything is refused because of it.
    pub fn is_short(self) -> bool {
        self >= Self::Tight
    }

    /// As `as u8` made it; anything else is the highest.
    pub fn from_number(number: u8) -> Self {
        Self::ALL.get(usize::from(number)).copied().unwrap_or(Self::Critical)
    }

    /// Its name, for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Elevated => "elevated",
            Self::Tight => "tight",
            Self::Critical => "critical",
        }
    }

    /// Percent of the ceiling at which it begins, and at which it ends.
    fn marks(self) -> (u64, u64) {
        match self {
            Self::Normal => (0, 0),
            Self::Elevated => (60, 50),
            Self::Tight => (80, 70),
            Self::Critical => (90, 80),
        }
    }
}

/// What follows from one measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The level from now on.
    pub level: Level,
    /// Bytes that clients must give up now, the heaviest first; 0: none.
    pub evict: u64,
}

/// The level of one ceiling, from one measurement to the next.
#[derive(Clone, Debug)]
pub struct Pressure {
    ceiling: u64,
    level: Level,
    /// Milliseconds, when memory became tight or worse.
    short_since: Option<u64>,
    /// Milliseconds, when clients were last ordered to be evicted.
    ordered_at: Option<u64>,
}

impl Pressure {
    /// Nothing has been measured yet. `ceiling` is in bytes.
    pub fn new(ceiling: u64) -> Self {
        Self { ceiling, level: Level::Normal, short_since: None, ordered_at: None }
    }

    /// The level of the last measurement.
    pub fn level(&self) -> Level {
        self.level
    }

    /// `used` bytes were measured at `now_ms`, milliseconds of a clock that should not go backwards; if it does, what
    /// was waited for is waited for once more.
    pub fn observe(&mut self, now_ms: u64, used: u64) -> Verdict {
        self.level = self.next_level(used);
        if !self.level.is_short() {
            (self.short_since, self.ordered_at) = (None, None);
            return Verdict { level: self.level, evict: 0 };
        }
        let short_for = waited(&mut self.short_since, now_ms).unwrap_or(0);
        let is_overdue = self.level == Level::Critical || short_for >= PATIENCE_MS;
        let is_spaced =
            waited_since(&mut self.ordered_at, now_ms).is_none_or(|since| since >= ORDER_EVERY_MS);
        let evict = used.saturating_sub(self.bytes(self.level.marks().1));
        if !is_overdue || !is_spaced || evict == 0 {
            return Verdict { level: self.level, evict: 0 };
        }
        self.ordered_at = Some(now_ms);
        Verdict { level: self.level, evict }
    }

    /// The highest level that `used` enters, or that it does not leave yet.
    fn next_level(&self, used: u64) -> Level {
        let holds = |level: &Level| {
            let (begins, ends) = level.marks();
            let mark = if *level <= self.level { ends } else { begins };
            used >= self.bytes(mark)
        };
        Level::ALL.into_iter().rev().find(holds).unwrap_or_default()
    }

    fn bytes(&self, percent: u64) -> u64 {
        (self.ceiling / 100).saturating_mul(percent)
    }
}

/// Milliseconds since `since`, which is now if it was never, or if the clock has gone back.
fn waited(since: &mut Option<u64>, now_ms: u64) -> Option<u64> {
    since.get_or_insert(now_ms);
    waited_since(since, now_ms)
}

/// Milliseconds since `since`, if it ever was; a clock that has gone back begins anew.
fn waited_since(since: &mut Option<u64>, now_ms: u64) -> Option<u64> {
    let since = since.as_mut()?;
    *since = (*since).min(now_ms);
    Some(now_ms.saturating_sub(*since))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CEILING: u64 = 1000;

    fn verdict(level: Level, evict: u64) -> Verdict {
        Verdict { level, evict }
    }

    #[test]
    fn a_level_is_left_lower_than_it_is_entered() {
        let mut pressure = Pressure::new(CEILING);
        for (used, expected) in [
            (0, Level::Normal),
            (599, Level::Normal),
            (600, Level::Elevated),
            (500, Level::Elevated),
            (499, Level::Normal),
            (800, Level::Tight),
            (700, Level::Tight),
            (699, Level::Elevated),
            (799, Level::Elevated),
            (900, Level::Critical),
            (800, Level::Critical),
            (799, Level::Tight),
            (899, Level::Tight),
            (5000, Level::Critical),
            (0, Level::Normal),
        ] {
            assert_eq!(expected, pressure.observe(0, used).level, "{used}");
        }
    }

    #[test]
    fn critical_memory_is_given_up_at_once_and_then_in_steps() {
        let mut pressure = Pressure::new(CEILING);
        for (now, used, expected) in [
            (0, 950, verdict(Level::Critical, 150)),
            (5, 950, verdict(Level::Critical, 0)),
            (10, 980, verdict(Level::Critical, 180)),
            (19, 980, verdict(Level::Critical, 0)),
            (20, 790, verdict(Level::Tight, 0)),
            (30, 699, verdict(Level::Elevated, 0)),
            (31, 900, verdict(Level::Critical, 100)),
        ] {
            assert_eq!(expected, pressure.observe(now, used), "at {now}");
        }
    }

    #[test]
    fn tight_memory_is_given_up_when_it_stays_so() {
        let mut pressure = Pressure::new(CEILING);
        for (now, used, expected) in [
            (0, 850, verdict(Level::Tight, 0)),
            (999, 850, verdict(Level::Tight, 0)),
            (1000, 850, verdict(Level::Tight, 150)),
            (1005, 850, verdict(Level::Tight, 0)),
            (1010, 750, verdict(Level::Tight, 50)),
            (1020, 690, verdict(Level::Elevated, 0)),
            (1030, 850, verdict(Level::Tight, 0)),
        ] {
            assert_eq!(expected, pressure.observe(now, used), "at {now}");
        }
    }

    #[test]
    fn a_clock_that_goes_back_neither_hurries_nor_holds_up() {
        let mut pressure = Pressure::new(CEILING);
        assert_eq!(verdict(Level::Critical, 150), pressure.observe(5_000_000, 950));
        assert_eq!(verdict(Level::Critical, 0), pressure.observe(7, 950));
        assert_eq!(verdict(Level::Critical, 150), pressure.observe(17, 950));
        let mut pressure = Pressure::new(CEILING);
        assert_eq!(verdict(Level::Tight, 0), pressure.observe(5_000_000, 850));
        assert_eq!(verdict(Level::Tight, 0), pressure.observe(7, 850));
        assert_eq!(verdict(Level::Tight, 150), pressure.observe(1007, 850));
    }

    #[test]
    fn numbers_of_levels_read_back() {
        for level in Level::ALL {
            assert_eq!(level, Level::from_number(level as u8));
        }
        assert_eq!(Level::Critical, Level::from_number(77));
    }

    proptest! {
        #[test]
        fn whatever_is_measured_the_marks_hold(
            steps in proptest::collection::vec((0_u64..2000, 0_u64..1300, any::<bool>()), 1..200)
        ) {
            let mut pressure = Pressure::new(CEILING);
            let (mut now, mut ordered) = (10_000_u64, None::<u64>);
            let mut short_since = None::<u64>;
            for (pause, used, goes_back) in steps {
                now = if goes_back { now.saturating_sub(pause) } else { now + pause };
                let Verdict { level, evict } = pressure.observe(now, used);
                // Above the mark of a level nothing lower, below the mark where it ends nothing as high.
                prop_assert!(used < 900 || level == Level::Critical);
                prop_assert!(used < 800 || level >= Level::Tight);
                prop_assert!(used < 600 || level >= Level::Elevated);
                prop_assert!(used >= 800 || level < Level::Critical);
                prop_assert!(used >= 700 || level < Level::Tight);
                prop_assert!(used >= 500 || level == Level::Normal);
                if !level.is_short() {
                    (short_since, ordered) = (None, None);
                    prop_assert_eq!(0, evict);
                    continue;
                }
                let since = short_since.map_or(now, |since| since.min(now));
                short_since = Some(since);
                ordered = ordered.map(|at| at.min(now));
                let is_due = level == Level::Critical && used > 800 || level == Level::Tight && used > 700 && now - since >= PATIENCE_MS;
                let is_spaced = ordered.is_none_or(|at| now - at >= ORDER_EVERY_MS);
                prop_assert_eq!(is_due && is_spaced, evict > 0);
                prop_assert!(evict <= used);
                if evict > 0 {
                    ordered = Some(now);
                }
            }
        }
    }
}
