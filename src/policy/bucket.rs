//! A rate with a burst: a token bucket kept as one moment in time, shared by all workers without a lock.
//!
//! This is GCRA (*ITU-T I.371*, "virtual scheduling"): instead of a level that somebody must refill, it keeps the
//! moment at which the bucket will be full again. A grant moves that moment by the time that its tokens take to
//! come back; what is available is how far it may still move before it lies more than a burst ahead.
//!
//! **Invariants**: over any time `t`, at most `burst + rate * t` tokens are granted by [`Bucket::take`] and its kin,
//! besides the part of a single cost that is above the burst (it could never be paid otherwise; it becomes a debt). A
//! clock that goes backwards neither grants a burst nor stops the refill.
//!
//! All times are nanoseconds of one monotonic clock, whose beginning all users of a bucket share.

use std::sync::atomic::{AtomicU64, Ordering};

/// Time is kept in parts of a nanosecond, so that a byte of a gigabyte per second is still 60 of them; 64 bits then
/// last for nine years of uptime.
const TICKS_PER_NANO: u64 = 64;

/// How far the readings of two workers may be apart: each reads its clock once per turn. Beyond it, the clock was set
/// back.
const SKEW: u64 = NANOS_PER_SECOND * TICKS_PER_NANO;

/// How often the latest time is written down: finer would only mean more writes to memory that all workers share.
const NOTED_EVERY: u64 = 1_000_000 * TICKS_PER_NANO;

/// The longest that a bucket may take to fill, in nanoseconds: 30 days. Longer ones are as good as none.
pub const LONGEST_REFILL: u64 = 30 * 24 * 3600 * NANOS_PER_SECOND;

/// What a bucket may owe, in ticks, if its burst is less: a minute. Whoever read a gigabyte where a megabyte per second
/// is allowed shall be able to go on some day.
const MOST_DEBT: u64 = 60 * NANOS_PER_SECOND * TICKS_PER_NANO;

/// What somebody may draw ahead of use, in ticks: a millisecond's worth.
const SLICE: u64 = 1_000_000 * TICKS_PER_NANO;

/// No term of a sum is larger, so that none overflows: more than a year.
const MOST_TICKS: u64 = 1 << 61;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// How fast tokens come, and how many may be saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Tokens that come in [`Pace::per`], at least 1. Rounded down to what [`Pace::per`] is a multiple of in parts of a
    /// nanosecond: by less than 1 in 64 for a thousand million per second, by nothing that matters for less.
    pub rate: u64,
    /// Nanoseconds, at least 1.
    pub per: u64,
    /// Tokens that may be taken at once, at least 1.
    pub burst: u64,
}

impl Pace {
    /// So many tokens in each second.
    pub fn per_second(rate: u64, burst: u64) -> Self {
        Self { rate, per: NANOS_PER_SECOND, burst }
    }

    /// Nanoseconds until an empty bucket is full.
    pub fn refill(self) -> u64 {
        self.ticks_for(self.burst) / TICKS_PER_NANO
    }

    /// What one token takes to come. Rounded up: never faster than the rate.
    fn unit(self) -> u64 {
        let ticks = u128::from(self.per) * u128::from(TICKS_PER_NANO);
        let unit = ticks.div_ceil(u128::from(self.rate.max(1)));
        u64::try_from(unit).unwrap_or(MOST_TICKS).clamp(1, MOST_TICKS)
    }

    fn ticks_for(self, tokens: u64) -> u64 {
        time_of(self.unit(), tokens)
    }
}

/// What so many tokens take to come, where one takes `unit`.
fn time_of(unit: u64, tokens: u64) -> u64 {
    unit.saturating_mul(tokens).min(MOST_TICKS)
}

/// It is not granted, and will be in so many nanoseconds if nobody else takes anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Nanoseconds, at least 1.
    pub retry_in: u64,
}

/// How much of a bucket is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// Tokens of a full bucket.
    pub burst: u64,
    /// Tokens taken and not come back; more than the burst if there are debts.
    pub current: u64,
    /// Tokens that may be taken now.
    pub remaining: u64,
    /// Nanoseconds until it is full again.
    pub reset: u64,
}

/// A rate and a burst, shared by whoever takes from it.
#[derive(Debug)]
pub struct Bucket {
    /// Ticks in which one token comes.
    unit: AtomicU64,
    /// Ticks in which an empty bucket fills.
    depth: AtomicU64,
    /// When it is full again, in ticks.
    full_at: AtomicU64,
    /// About the latest time seen, in ticks.
    latest: AtomicU64,
}

impl Bucket {
    /// A full bucket.
    pub fn new(pace: Pace) -> Self {
        Self {
            unit: AtomicU64::new(pace.unit()),
            depth: AtomicU64::new(pace.ticks_for(pace.burst)),
            full_at: AtomicU64::new(0),
            latest: AtomicU64::new(0),
        }
    }

    /// From now on tokens come at another pace. What is taken takes as long to come back as before.
    pub fn set_pace(&self, pace: Pace) {
        self.unit.store(pace.unit(), Ordering::Relaxed);
        self.depth.store(pace.ticks_for(pace.burst), Ordering::Relaxed);
    }

    /// Takes `cost` tokens, all or none.
    pub fn take(&self, now: u64, cost: u64) -> Result<(), Refused> {
        self.reserve(now, cost, 0).map(drop)
    }

    /// How long it will owe something, in nanoseconds; 0: it does not.
    pub fn owes_for(&self, now: u64) -> u64 {
        let (now, depth) = (self.latest(now), self.depth.load(Ordering::Relaxed));
        wait_for(0, (self.full_at.load(Ordering::Relaxed).max(now), now), depth)
    }

    /// Takes `cost` tokens that will have come in `max_wait` nanoseconds at the latest; returns how long to wait for
    /// them. Who reserves first waits less.
    pub fn reserve(&self, now: u64, cost: u64, max_wait: u64) -> Result<u64, Refused> {
        let now = self.latest(now);
        let (unit, depth) = (self.unit.load(Ordering::Relaxed), self.depth.load(Ordering::Relaxed));
        let cost = time_of(unit, cost);
        let mut full_at = self.full_at.load(Ordering::Relaxed);
        loop {
            let from = full_at.max(now);
            let wait = wait_for(cost, (from, now), depth);
            if wait > max_wait {
                return Err(Refused { retry_in: wait });
            }
            match self.moves(full_at, from.saturating_add(cost).min(furthest(now, depth))) {
                Ok(()) => return Ok(wait),
                Err(changed) => full_at = changed,
            }
        }
    }

    /// Takes at least `least` tokens and as many of `most` as there are; returns how many. Fewer are not taken.
    pub fn draw(&self, now: u64, least: u64, most: u64) -> Result<u64, Refused> {
        let now = self.latest(now);
        let (unit, depth) = (self.unit.load(Ordering::Relaxed), self.depth.load(Ordering::Relaxed));
        let mut full_at = self.full_at.load(Ordering::Relaxed);
        loop {
            let from = full_at.max(now);
            let wait = wait_for(time_of(unit, least), (from, now), depth);
            if wait > 0 {
                return Err(Refused { retry_in: wait });
            }
            let there = now.saturating_add(depth).saturating_sub(from) / unit;
            let taken = most.min(there).max(least);
            match self.moves(full_at, from.saturating_add(time_of(unit, taken)).min(furthest(now, depth))) {
                Ok(()) => return Ok(taken),
                Err(changed) => full_at = changed,
            }
        }
    }

    /// How many tokens somebody may draw at once who takes them one by one: those of a millisecond, and no more than a
    /// sixteenth of the burst; at least 1.
    pub fn slice(&self) -> u64 {
        let (unit, depth) = (self.unit.load(Ordering::Relaxed), self.depth.load(Ordering::Relaxed));
        (SLICE.min(depth / 16) / unit).max(1)
    }

    /// Takes `cost` tokens whether they are there or not: for what is known too late to be refused. The bucket may
    /// owe them then, a minute's or a burst's worth at most, and grants nothing until they have come.
    pub fn charge(&self, now: u64, cost: u64) {
        let now = self.latest(now);
        let (unit, depth) = (self.unit.load(Ordering::Relaxed), self.depth.load(Ordering::Relaxed));
        let cost = time_of(unit, cost);
        let furthest = furthest(now, depth);
        let mut full_at = self.full_at.load(Ordering::Relaxed);
        while let Err(changed) = self.moves(full_at, full_at.max(now).saturating_add(cost).min(furthest)) {
            full_at = changed;
        }
    }

    /// Puts back tokens that were taken and not used.
    pub fn give_back(&self, tokens: u64) {
        self.brought_forward(time_of(self.unit.load(Ordering::Relaxed), tokens));
    }

    /// How much of it is taken.
    pub fn level(&self, now: u64) -> Level {
        let now = self.latest(now);
        let (unit, depth) = (self.unit.load(Ordering::Relaxed), self.depth.load(Ordering::Relaxed));
        let taken = self.full_at.load(Ordering::Relaxed).saturating_sub(now);
        Level {
            burst: depth / unit,
            current: taken.div_ceil(unit),
            remaining: depth.saturating_sub(taken) / unit,
            reset: taken.div_ceil(TICKS_PER_NANO),
        }
    }

    fn moves(&self, from: u64, to: u64) -> Result<(), u64> {
        self.full_at.compare_exchange_weak(from, to, Ordering::Relaxed, Ordering::Relaxed).map(drop)
    }

    fn brought_forward(&self, ticks: u64) {
        let mut full_at = self.full_at.load(Ordering::Relaxed);
        while let Err(changed) = self.moves(full_at, full_at.saturating_sub(ticks)) {
            full_at = changed;
        }
    }

    /// The time in ticks, never before what others have seen. If the clock was set back, what is taken stays taken
    /// and comes back as fast as before.
    fn latest(&self, now: u64) -> u64 {
        let now = now.saturating_mul(TICKS_PER_NANO);
        let latest = self.latest.load(Ordering::Relaxed);
        match latest.checked_sub(now) {
            None if now.saturating_sub(latest) < NOTED_EVERY => now,
            None => self.latest.fetch_max(now, Ordering::Relaxed).max(now),
            Some(behind) if behind <= SKEW => latest,
            Some(behind) => {
                // One of those who notice at once sets it right.
                if self.latest.compare_exchange(latest, now, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                    self.brought_forward(behind);
                }
                now
            }
        }
    }
}

/// Nanoseconds until a cost can be paid by a bucket that is full again at `from`. More than a full bucket cannot be waited
/// for: it is granted when the bucket is full, on credit.
fn wait_for(cost: u64, (from, now): (u64, u64), depth: u64) -> u64 {
    let ticks = from.saturating_add(cost.min(depth)).saturating_sub(now.saturating_add(depth));
    ticks.div_ceil(TICKS_PER_NANO)
}

/// The latest moment at which a bucket may be full again: everything is taken, and as much owed as may be.
fn furthest(now: u64, depth: u64) -> u64 {
    now.saturating_add(depth).saturating_add(depth.max(MOST_DEBT))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use proptest::prelude::*;

    use super::*;

    const MS: u64 = 1_000_000;
    const SECOND: u64 = NANOS_PER_SECOND;
    const HOUR: u64 = 3600 * SECOND;

    fn bucket(rate: u64, burst: u64) -> Bucket {
        Bucket::new(Pace::per_second(rate, burst))
    }

    /// One token an hour: what the tests take does not come back while they run.
    fn hourly(burst: u64) -> Bucket {
        Bucket::new(Pace { rate: 1, per: HOUR, burst })
    }

    fn grants(bucket: &Bucket, now: u64) -> u64 {
        (0..1_000_000).take_while(|_| bucket.take(now, 1).is_ok()).count() as u64
    }

    #[test]
    fn grants_follow_the_clock() {
        let bucket = bucket(1000, 3);
        let told: Vec<_> = [0, 0, 0, 0, MS / 2, MS, MS, 10 * MS, 10 * MS, 10 * MS, 10 * MS]
            .map(|now| bucket.take(now, 1))
            .into();
        let refused = |retry_in| Err(Refused { retry_in });
        let expected = [
            Ok(()),
            Ok(()),
            Ok(()),
            refused(MS),
            refused(MS / 2),
            Ok(()),
            refused(MS),
            Ok(()),
            Ok(()),
            Ok(()),
            refused(MS),
        ];
        assert_eq!(expected.to_vec(), told);
    }

    #[test]
    fn a_burst_is_counted_exactly_whatever_the_rate() {
        for rate in [1, 3, 7, 999, 3000, 1_000_003, 999_999_937] {
            let bucket = bucket(rate, 100);
            assert_eq!(100, grants(&bucket, 5 * SECOND), "{rate}/s");
        }
        assert_eq!(100, grants(&hourly(100), 5 * SECOND));
    }

    #[test]
    fn what_costs_several_is_granted_as_a_whole_or_not_at_all() {
        let bucket = bucket(1000, 10);
        assert_eq!(Ok(()), bucket.take(0, 8));
        assert_eq!(Err(Refused { retry_in: MS }), bucket.take(0, 3));
        assert_eq!(Ok(()), bucket.take(0, 2));
    }

    #[test]
    fn what_costs_more_than_a_burst_is_granted_to_a_full_bucket_and_owed() {
        let bucket = bucket(1000, 10);
        assert_eq!(Ok(()), bucket.take(0, 25));
        assert_eq!(Err(Refused { retry_in: 16 * MS }), bucket.take(0, 1));
        assert_eq!(Level { burst: 10, current: 25, remaining: 0, reset: 25 * MS }, bucket.level(0));
    }

    #[test]
    fn those_who_reserve_wait_in_their_order_and_no_longer_than_they_may() {
        let bucket = bucket(1000, 1);
        let told: Vec<_> = (0..4).map(|_| bucket.reserve(0, 1, 2 * MS)).collect();
        assert_eq!(vec![Ok(0), Ok(MS), Ok(2 * MS), Err(Refused { retry_in: 3 * MS })], told);
    }

    #[test]
    fn a_charge_is_owed_and_what_is_owed_has_an_end() {
        let bucket = bucket(1000, 10);
        bucket.charge(0, 30);
        assert_eq!(Err(Refused { retry_in: 21 * MS }), bucket.take(0, 1));
        bucket.charge(0, u64::MAX);
        bucket.charge(0, u64::MAX);
        assert_eq!(Err(Refused { retry_in: 60 * SECOND + MS }), bucket.take(0, 1));
        assert_eq!(Ok(()), bucket.take(60 * SECOND + MS, 1));
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let bucket = hourly(10);
        assert_eq!(Ok(6), bucket.draw(0, 1, 6));
        assert_eq!(Ok(4), bucket.draw(0, 1, 6));
        assert_eq!(Err(Refused { retry_in: HOUR }), bucket.draw(0, 1, 6));
        bucket.give_back(3);
        assert_eq!(Ok(3), bucket.draw(0, 1, 6));
    }

    #[test]
    fn what_is_drawn_ahead_is_a_millisecond_and_little_of_the_burst() {
        let slices = [(1000, 100), (100_000, 100_000), (100_000, 100), (3, 10)]
            .map(|(rate, burst)| bucket(rate, burst).slice());
        assert_eq!([1, 100, 6, 1], slices);
        assert_eq!(1, hourly(100).slice());
    }

    #[test]
    fn a_debt_is_told_until_it_is_paid() {
        let bucket = bucket(1000, 10);
        assert_eq!(0, bucket.owes_for(0));
        bucket.charge(0, 30);
        assert_eq!(20 * MS, bucket.owes_for(0));
        assert_eq!(0, bucket.owes_for(20 * MS));
    }

    #[test]
    fn a_level_says_what_is_taken_and_when_it_is_back() {
        let bucket = bucket(1000, 100);
        assert_eq!(Level { burst: 100, current: 0, remaining: 100, reset: 0 }, bucket.level(0));
        assert_eq!(Ok(()), bucket.take(0, 60));
        assert_eq!(Level { burst: 100, current: 60, remaining: 40, reset: 60 * MS }, bucket.level(0));
        assert_eq!(Level { burst: 100, current: 35, remaining: 65, reset: 35 * MS }, bucket.level(25 * MS));
    }

    #[test]
    fn a_clock_that_was_set_back_grants_no_burst_and_goes_on_refilling() {
        for back_to in [0, 5 * SECOND, 9 * SECOND + 999 * MS] {
            let bucket = bucket(1000, 100);
            assert_eq!(100, grants(&bucket, 10 * SECOND));
            assert_eq!(0, grants(&bucket, back_to), "back to {back_to}");
            // The time of which others know already is waited for, a second at most; then it refills.
            assert_eq!(100, grants(&bucket, back_to + 2 * SECOND), "back to {back_to}");
            assert_eq!(0, grants(&bucket, back_to + 2 * SECOND), "back to {back_to}");
            assert_eq!(50, grants(&bucket, back_to + 2 * SECOND + 50 * MS), "back to {back_to}");
        }
    }

    #[test]
    fn no_configured_value_overflows() {
        let ends = [1, 2, SECOND, u64::MAX / 2, u64::MAX];
        for (rate, per, burst) in
            ends.iter().flat_map(|r| ends.iter().flat_map(move |p| ends.map(|b| (*r, *p, b))))
        {
            let bucket = Bucket::new(Pace { rate, per, burst });
            for now in [0, 1, SECOND, u64::MAX / TICKS_PER_NANO, u64::MAX] {
                for cost in ends {
                    assert!(bucket.take(now, cost).map_or_else(|refused| refused.retry_in > 0, |()| true));
                    assert!(bucket.reserve(now, cost, u64::MAX).is_ok());
                    bucket.charge(now, cost);
                    bucket.give_back(cost);
                    assert_eq!(cost, bucket.draw(now, cost, cost).unwrap_or(cost));
                    assert!(bucket.level(now).remaining <= bucket.level(now).burst);
                }
            }
        }
    }

    #[derive(Clone, Copy, Debug)]
    enum Event {
        Passes(u64),
        Take(u64),
        Draw(u64),
    }

    fn events() -> impl Strategy<Value = Vec<Event>> {
        let event = prop_oneof![
            (0..20 * MS).prop_map(Event::Passes),
            (1..8_u64).prop_map(Event::Take),
            (1..30_u64).prop_map(Event::Draw),
        ];
        proptest::collection::vec(event, 1..200)
    }

    proptest! {
        #[test]
        fn no_window_has_more_than_its_time_and_a_burst(
            rate in 1..50_000_u64,
            burst in 8..200_u64,
            events in events(),
        ) {
            let bucket = bucket(rate, burst);
            let (mut now, mut granted) = (0, vec![]);
            for event in events {
                match event {
                    Event::Passes(nanos) => now += nanos,
                    Event::Take(cost) => granted.push((now, bucket.take(now, cost).map_or(0, |()| cost))),
                    Event::Draw(most) => granted.push((now, bucket.draw(now, 1, most).unwrap_or(0))),
                }
            }
            for (first, (from, _)) in granted.iter().enumerate() {
                let mut sum = 0;
                for (until, tokens) in &granted[first..] {
                    sum += tokens;
                    let most = u128::from(burst) + u128::from(rate) * u128::from(until - from) / u128::from(SECOND);
                    prop_assert!(u128::from(sum) <= most, "{sum} in {} ns", until - from);
                }
            }
        }

        /// However the clock jumps, no more is granted than for the time that has passed forwards.
        #[test]
        fn jumps_of_the_clock_grant_nothing(jumps in proptest::collection::vec(-5_000..5_000_i64, 1..100)) {
            let bucket = bucket(100, 10);
            let (mut now, mut forwards, mut granted) = (60_000_i64, 0, 0);
            for jump in jumps {
                now = (now + jump).max(0);
                forwards += jump.max(0).unsigned_abs();
                granted += grants(&bucket, now.unsigned_abs() * MS);
                prop_assert!(granted <= 10 + forwards / 10, "{granted} after {forwards} ms");
            }
            // And it is full again when it has had the time for it.
            prop_assert_eq!(10, grants(&bucket, now.unsigned_abs() * MS + 2 * SECOND));
        }
    }

    #[test]
    fn several_threads_share_one_burst_exactly() {
        for _ in 0..50 {
            let (bucket, go) = (hourly(1000), AtomicBool::new(false));
            let total: u64 = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..4)
                    .map(|thread| {
                        let (bucket, go) = (&bucket, &go);
                        scope.spawn(move || {
                            while !go.load(Ordering::Acquire) {
                                std::hint::spin_loop();
                            }
                            // Each at a time of its own, none far from the others'.
                            (0..1000).filter(|n| bucket.take((thread * 100 + n) * 1000, 1).is_ok()).count()
                                as u64
                        })
                    })
                    .collect();
                go.store(true, Ordering::Release);
                threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
            });
            assert_eq!(1000, total);
        }
    }
}
