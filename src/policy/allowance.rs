//! A worker's slice of a bucket: most commands are paid from a number of the worker's own.
//!
//! A worker draws about a millisecond's worth of tokens at once ([`Tokens::slice`]) and spends them without touching what
//! all workers share. Every token that is spent was taken from the bucket before, so no number of workers grants more
//! than the bucket; what a worker holds and does not spend is missing elsewhere, so its timer hands it in.
//!
//! **Invariant**: tokens spent and tokens held are tokens drawn.

use std::cell::Cell;

use super::bucket::Refused;
use super::tokens::Tokens;

/// Tokens that one worker has drawn and not spent.
#[derive(Debug, Default)]
pub struct Allowance {
    held: Cell<u64>,
    /// When the bucket was last found to owe nothing.
    settled_at: Cell<u64>,
}

impl Allowance {
    /// Spends `cost` tokens, all or none. `now`: nanoseconds of the bucket's clock.
    #[inline]
    pub fn take(&self, bucket: &impl Tokens, now: u64, cost: u64) -> Result<(), Refused> {
        match self.held.get().checked_sub(cost) {
            Some(rest) => {
                self.held.set(rest);
                Ok(())
            }
            None => self.draw(bucket, now, cost),
        }
    }

    /// Whether as many tokens are held; spends nothing.
    #[inline]
    pub fn has(&self, cost: u64) -> bool {
        self.held.get() >= cost
    }

    /// Spends tokens that are held.
    #[inline]
    pub fn spend(&self, cost: u64) {
        self.held.set(self.held.get().saturating_sub(cost));
    }

    /// Whether the bucket was found to owe nothing at this very time.
    #[inline]
    pub fn is_settled(&self, now: u64) -> bool {
        self.settled_at.get() == now && now > 0
    }

    /// How long the bucket will owe something, in nanoseconds; 0: it does not. It is looked at once for each `now`.
    #[inline]
    pub fn owes_for(&self, bucket: &impl Tokens, now: u64) -> u64 {
        if self.is_settled(now) {
            return 0;
        }
        let owes_for = bucket.owes_for(now);
        if owes_for == 0 {
            self.settled_at.set(now);
        }
        owes_for
    }

    #[inline(never)]
    fn draw(&self, bucket: &impl Tokens, now: u64, cost: u64) -> Result<(), Refused> {
        let missing = cost.saturating_sub(self.held.get());
        let drawn = bucket.draw(now, missing, missing.max(bucket.slice()))?;
        self.held.set(drawn.saturating_sub(missing));
        Ok(())
    }

    /// Spends `cost` tokens that may still be to come, in `max_wait` nanoseconds at the latest; returns how long to wait
    /// for them.
    pub fn reserve(&self, bucket: &impl Tokens, now: u64, cost: u64, max_wait: u64) -> Result<u64, Refused> {
        let missing = cost.saturating_sub(self.held.get());
        let wait = bucket.reserve(now, missing, max_wait)?;
        self.held.set(self.held.get().saturating_sub(cost));
        Ok(wait)
    }

    /// Spends `cost` tokens whether they are there or not.
    pub fn charge(&self, bucket: &impl Tokens, now: u64, cost: u64) {
        let missing = cost.saturating_sub(self.held.get());
        self.held.set(self.held.get().saturating_sub(cost));
        if missing > 0 {
            bucket.charge(now, missing);
        }
    }

    /// What was spent was not used after all. No more is kept than is left of a slice that has been begun.
    pub fn put_back(&self, bucket: &impl Tokens, cost: u64) {
        let held = self.held.get().saturating_add(cost);
        let kept = held.min(bucket.slice().saturating_sub(1));
        self.held.set(kept);
        if held > kept {
            bucket.give_back(held.saturating_sub(kept));
        }
    }

    /// Gives back what is held, so that others can have it.
    pub fn hand_in(&self, bucket: &impl Tokens) {
        let held = self.held.take();
        if held > 0 {
            bucket.give_back(held);
        }
    }

    /// Tokens held.
    pub fn held(&self) -> u64 {
        self.held.get()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::bucket::{Bucket, Pace};
    use super::*;

    const MS: u64 = 1_000_000;
    const SECOND: u64 = 1_000 * MS;
    const HOUR: u64 = 3600 * SECOND;

    fn team(workers: usize) -> Vec<Allowance> {
        (0..workers).map(|_| Allowance::default()).collect()
    }

    #[test]
    fn a_slice_is_drawn_once_and_spent_bit_by_bit() {
        let bucket = Bucket::new(Pace { rate: 1, per: HOUR, burst: 100 });
        let fast = Bucket::new(Pace::per_second(100_000, 1600));
        let one = Allowance::default();
        assert_eq!(Ok(()), one.take(&bucket, 0, 1));
        assert_eq!((0, 99), (one.held(), bucket.level(0).remaining));
        assert_eq!(Ok(()), one.take(&fast, 0, 1));
        assert_eq!((99, 1500), (one.held(), fast.level(0).remaining));
        assert_eq!(Ok(()), one.take(&fast, 0, 150));
        assert_eq!((49, 1400), (one.held(), fast.level(0).remaining));
        one.hand_in(&fast);
        assert_eq!((0, 1449), (one.held(), fast.level(0).remaining));
    }

    #[test]
    fn a_burst_that_does_not_come_back_is_counted_exactly_by_any_number_of_workers() {
        for workers in [1, 2, 3, 4, 16] {
            let bucket = Bucket::new(Pace { rate: 1, per: HOUR, burst: 100 });
            let team = team(workers);
            let granted = (0..1000).filter(|n| team[n % workers].take(&bucket, *n as u64, 1).is_ok()).count();
            assert_eq!(100, granted, "{workers} workers");
        }
    }

    /// Ten times what is allowed, for ten seconds.
    #[test]
    fn a_rate_is_kept_within_two_percent_by_any_number_of_workers() {
        for (rate, burst) in [(1000, 100), (20_000, 100), (50_000, 50_000)] {
            for workers in [1, 2, 4, 7] {
                let (bucket, team) = (Bucket::new(Pace::per_second(rate, burst)), team(workers));
                let step = SECOND / (10 * rate);
                let offered = 10 * SECOND / step;
                let granted = (0..offered)
                    .filter(|n| {
                        team[usize::try_from(*n).unwrap() % workers].take(&bucket, n * step, 1).is_ok()
                    })
                    .count() as u64;
                let most = 10 * rate + burst;
                assert!(granted <= most && granted >= most - rate / 5, "{granted} of {most} by {workers}");
            }
        }
    }

    #[test]
    fn what_is_put_back_is_there_for_others_where_every_token_counts() {
        let bucket = Bucket::new(Pace { rate: 1, per: HOUR, burst: 10 });
        let one = Allowance::default();
        assert_eq!(Ok(()), one.take(&bucket, 0, 4));
        one.put_back(&bucket, 4);
        assert_eq!((0, 10), (one.held(), bucket.level(0).remaining));
    }

    #[test]
    fn what_is_reserved_takes_what_is_held_first() {
        let bucket = Bucket::new(Pace::per_second(100_000, 160));
        let one = Allowance::default();
        assert_eq!(Ok(()), one.take(&bucket, 0, 1));
        assert_eq!(9, one.held());
        assert_eq!(Ok(0), one.reserve(&bucket, 0, 159, MS));
        assert_eq!((0, 0), (one.held(), bucket.level(0).remaining));
        assert_eq!(Ok(MS), one.reserve(&bucket, 0, 100, MS));
        assert!(one.reserve(&bucket, 0, 1, MS).is_err());
    }

    #[derive(Clone, Copy, Debug)]
    enum Event {
        Passes(u64),
        Takes(usize, u64),
        PutsBack(usize),
        HandsIn(usize),
    }

    fn events() -> impl Strategy<Value = Vec<Event>> {
        let event = prop_oneof![
            (0..3 * MS).prop_map(Event::Passes),
            (0..3_usize, 1..50_u64).prop_map(|(who, cost)| Event::Takes(who, cost)),
            (0..3_usize).prop_map(Event::PutsBack),
            (0..3_usize).prop_map(Event::HandsIn),
        ];
        proptest::collection::vec(event, 1..300)
    }

    proptest! {
        #[test]
        fn workers_together_never_spend_more_than_the_bucket_grants(
            rate in 1_000..200_000_u64,
            burst in 50..1_000_u64,
            events in events(),
        ) {
            let (bucket, team) = (Bucket::new(Pace::per_second(rate, burst)), team(3));
            let (mut now, mut spent, mut last) = (0, 0, [0; 3]);
            for event in events {
                match event {
                    Event::Passes(nanos) => now += nanos,
                    Event::Takes(who, cost) => {
                        if team[who].take(&bucket, now, cost).is_ok() {
                            spent += cost;
                            last[who] = cost;
                        }
                    }
                    Event::PutsBack(who) => {
                        team[who].put_back(&bucket, last[who]);
                        spent -= std::mem::take(&mut last[who]);
                    }
                    Event::HandsIn(who) => team[who].hand_in(&bucket),
                }
                let held: u64 = team.iter().map(Allowance::held).sum();
                let most = u128::from(burst) + u128::from(rate) * u128::from(now) / u128::from(SECOND);
                prop_assert!(u128::from(spent + held) <= most, "{spent} and {held} at {now}");
            }
        }
    }
}
