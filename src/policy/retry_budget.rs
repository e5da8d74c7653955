//! How many requests may be sent again: a share of those that were answered, and a few more.
//!
//! A node that fails gets its requests a second time, and that is what keeps it down. So what is sent again is bounded
//! by what went well: each answered request is worth a part of a retry for ten seconds, each second is worth a few
//! whatever was answered, and a retry that was granted weighs against both for ten seconds.
//!
//! **Invariant**: of the whole seconds `s - 9` to `s`, no more retries are granted in second `s` than the minimum of
//! ten seconds and the share of what was answered in them.
//!
//! A clock that goes back by less than the window changes nothing; by more, what was there is forgotten: neither gives
//! more than one window's minimum.
//!
//! Nothing here is on the path of a request that is answered: workers tell in bulk what was. Two that ask at the same
//! time may both be refused the last retry; they are never both granted it.

use std::sync::atomic::{AtomicU64, Ordering};

/// Seconds for which an answer, and a retry, count.
pub const WINDOW: usize = 10;

/// A retry, in the unit of the accounts: hundredths.
const RETRY: i64 = 100;

/// The budget of one upstream, shared by all workers.
#[derive(Debug)]
pub struct RetryBudget {
    /// What an answer is worth.
    percent: i64,
    /// What is there without any answer.
    reserve: i64,
    /// The accounts of the last seconds, each at the place that the second has modulo their number: which second it
    /// is in the upper half, its balance in the lower.
    seconds: [AtomicU64; WINDOW],
}

/// Whether a request may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may; that has been counted.
    Granted,
    /// There is nothing left: its client reads the error.
    Refused,
}

impl RetryBudget {
    /// So many retries for each hundred answers, and so many for each second.
    pub fn new(percent: u32, minimum: u32) -> Self {
        let seconds = i64::try_from(WINDOW).unwrap_or(i64::MAX);
        Self {
            percent: i64::from(percent),
            reserve: i64::from(minimum).saturating_mul(seconds).saturating_mul(RETRY),
            seconds: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    /// So many requests were answered, as of `now_ms` of a clock that all workers share.
    pub fn answered(&self, count: u32, now_ms: u64) {
        self.add(i64::from(count).saturating_mul(self.percent), now_ms);
    }

    /// Whether a request may be sent again at `now_ms`.
    pub fn ask(&self, now_ms: u64) -> Verdict {
        // Taken before it is looked at: of two that take the last one, neither can overlook the other.
        self.add(-RETRY, now_ms);
        if self.balance(now_ms) >= 0 {
            return Verdict::Granted;
        }
        self.add(RETRY, now_ms);
        Verdict::Refused
    }

    /// Retries that would be granted at `now_ms`.
    pub fn left(&self, now_ms: u64) -> u32 {
        u32::try_from(self.balance(now_ms).max(0) / RETRY).unwrap_or(u32::MAX)
    }

    fn balance(&self, now_ms: u64) -> i64 {
        let now = second(now_ms);
        let accounts = self.seconds.iter().map(|account| unpack(account.load(Ordering::Acquire)));
        let recent = accounts.filter(|(second, _)| is_recent(*second, now));
        self.reserve.saturating_add(recent.map(|(_, balance)| i64::from(balance)).sum())
    }

    fn add(&self, amount: i64, now_ms: u64) {
        let now = second(now_ms);
        let Some(account) = self.seconds.get(now as usize % WINDOW) else { return };
        let added = |packed| {
            // Another second at this place is more than a window away: it counts no more.
            let balance = if unpack(packed).0 == now { unpack(packed).1 } else { 0 };
            let balance = i64::from(balance).saturating_add(amount);
            let limits = i64::from(i32::MIN)..=i64::from(i32::MAX);
            let balance = balance.clamp(*limits.start(), *limits.end());
            Some(pack(now, i32::try_from(balance).unwrap_or(0)))
        };
        // It always succeeds, because the closure always gives a value.
        account.fetch_update(Ordering::AcqRel, Ordering::Acquire, added).ok();
    }
}

/// The second of a moment, from 1 on: 0 is that of an account which nobody has used. Wraps after 136 years.
fn second(now_ms: u64) -> u32 {
    u32::try_from(now_ms / 1000).unwrap_or(u32::MAX).saturating_add(1)
}

fn is_recent(second: u32, now: u32) -> bool {
    second > 0 && usize::try_from(now.abs_diff(second)).is_ok_and(|away| away < WINDOW)
}

fn pack(second: u32, balance: i32) -> u64 {
    u64::from(second) << 32 | u64::from(balance.cast_unsigned())
}

fn unpack(packed: u64) -> (u32, i32) {
    let half = |bits: u64| u32::try_from(bits & u64::from(u32::MAX)).unwrap_or(0);
    (half(packed >> 32), half(packed).cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What happens to a budget.
    #[derive(Clone, Copy, Debug)]
    enum Event {
        /// So many requests are answered.
        Answered(u32),
        /// So many ask to be sent again.
        Asked(u32),
        /// The clock goes on by so many milliseconds.
        After(u64),
    }
    use Event::{After, Answered, Asked};

    /// How many of each `Asked` were granted.
    fn granted(budget: &RetryBudget, events: &[Event]) -> Vec<u32> {
        let mut now_ms = 0;
        let mut granted = Vec::new();
        for event in events {
            match event {
                Answered(count) => budget.answered(*count, now_ms),
                After(ms) => now_ms += ms,
                Asked(count) => {
                    let verdicts = (0..*count).map(|_| budget.ask(now_ms));
                    let count = verdicts.filter(|verdict| *verdict == Verdict::Granted).count();
                    granted.push(u32::try_from(count).unwrap());
                }
            }
        }
        granted
    }

    #[test]
    fn retries_are_a_share_of_the_answers_and_the_minimum() {
        for (expected, (percent, minimum), events) in [
            // Nothing was answered: the minimum of ten seconds, and again when they are over.
            (vec![10], (20, 1), vec![Asked(100)]),
            (vec![10, 0, 10], (20, 1), vec![Asked(100), After(9_999), Asked(1), After(1), Asked(100)]),
            // A fifth of what was answered, as long as that was lately.
            (vec![20], (20, 0), vec![Answered(100), Asked(100)]),
            (vec![20], (20, 0), vec![Answered(100), After(9_999), Asked(100)]),
            (vec![0], (20, 0), vec![Answered(100), After(10_000), Asked(100)]),
            (vec![5, 5, 0], (10, 0), vec![Answered(100), Asked(5), After(1_000), Asked(9), Asked(1)]),
            // What is no whole retry is kept.
            (vec![0, 1], (20, 0), vec![Answered(4), Asked(1), Answered(1), Asked(9)]),
            // Both together.
            (vec![30], (20, 1), vec![Answered(100), Asked(100)]),
            // A retry weighs for as long as an answer counts.
            (
                vec![20, 0, 20],
                (20, 0),
                vec![
                    Answered(100),
                    After(5_000),
                    Asked(20),
                    After(5_000),
                    Answered(100),
                    Asked(20),
                    After(5_000),
                    Asked(99),
                ],
            ),
            (vec![0], (0, 0), vec![Answered(1_000_000), Asked(10)]),
            // What does not fit an account is as much as fits.
            (vec![3], (100, 0), vec![Answered(u32::MAX), Answered(u32::MAX), Asked(3)]),
        ] {
            let budget = RetryBudget::new(percent, minimum);
            assert_eq!(expected, granted(&budget, &events), "{percent} % and {minimum}/s, {events:?}");
        }
    }

    #[test]
    fn what_is_left_is_what_would_be_granted() {
        let budget = RetryBudget::new(20, 1);
        assert_eq!(10, budget.left(0));
        budget.answered(9, 0);
        assert_eq!(11, budget.left(500));
        assert_eq!(Verdict::Granted, budget.ask(500));
        assert_eq!(10, budget.left(500));
        assert_eq!(10, RetryBudget::new(20, 1).left(u64::MAX));
    }

    #[test]
    fn a_clock_that_goes_back_neither_bursts_nor_stalls() {
        let ask = |budget: &RetryBudget, now_ms| {
            (0..100).filter(|_| budget.ask(now_ms) == Verdict::Granted).count()
        };
        let budget = RetryBudget::new(20, 1);
        assert_eq!(10, ask(&budget, 100_000));
        assert_eq!(0, ask(&budget, 91_000), "what was granted a moment later weighs");
        assert_eq!(0, ask(&budget, 100_000));
        assert_eq!(10, ask(&budget, 50_000), "what was granted in the far future does not");
        assert_eq!(0, ask(&budget, 59_999));
        assert_eq!(10, ask(&budget, 60_000));
    }

    #[test]
    fn workers_that_ask_at_once_get_no_more_than_there_is() {
        let budget = RetryBudget::new(0, 100);
        let ask = || (0..1_000).filter(|_| budget.ask(0) == Verdict::Granted).count();
        let granted: usize = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
            workers.into_iter().map(|worker| worker.join().unwrap()).sum()
        });
        assert!(granted <= 1_000, "{granted}");
        let rest = (0..1_000).filter(|_| budget.ask(0) == Verdict::Granted).count();
        assert_eq!(1_000, granted + rest, "none is lost");
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            (0..2_000_u32).prop_map(Answered),
            (0..50_u32).prop_map(Asked),
            (0..12_000_u64).prop_map(After)
        ]
    }

    proptest! {
        /// Each retry is granted if, and only if, the last ten seconds have one more to give.
        #[test]
        fn a_retry_is_granted_while_the_last_ten_seconds_have_one(
            (percent, minimum) in (0..100_u32, 0..5_u32),
            events in prop::collection::vec(event(), 1..60),
        ) {
            let budget = RetryBudget::new(percent, minimum);
            let mut now_ms: u64 = 0;
            // Seconds, and what each answer or retry in them has changed, in hundredths.
            let mut accounts: Vec<(u64, i64)> = Vec::new();
            for event in events {
                match event {
                    Answered(count) => {
                        budget.answered(count, now_ms);
                        accounts.push((now_ms / 1000, i64::from(count * percent)));
                    }
                    After(ms) => now_ms += ms,
                    Asked(count) => for _ in 0..count {
                        let recent = accounts.iter().filter(|(second, _)| second + 10 > now_ms / 1000);
                        let balance = recent.map(|(_, change)| change).sum::<i64>() + i64::from(minimum) * 1_000;
                        let expected = if balance >= 100 { Verdict::Granted } else { Verdict::Refused };
                        prop_assert_eq!(i64::from(budget.left(now_ms)), balance.max(0) / 100);
                        prop_assert_eq!(expected, budget.ask(now_ms));
                        if expected == Verdict::Granted {
                            accounts.push((now_ms / 1000, -100));
                        }
                    },
                }
            }
        }
    }
}
