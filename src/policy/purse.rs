//! Tokens that were given, and how many are left: what workers take from where others decide how many there are.
//!
//! Beside [`super::bucket::Bucket`], whose tokens come with time, a purse is filled by somebody: whoever leases slices of
//! a budget that many processes share ([`super::fleet`]). Taking is one compare-and-swap; the purse says by itself, and
//! once, that it runs dry (`alarm`), because who fills it sleeps meanwhile.
//!
//! **Invariant**: tokens taken are never more than tokens put in, but for debts: what is charged after the fact, and
//! what is reserved ahead of its time.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use super::bucket::{LONGEST_REFILL, Level, Pace, Refused};

/// The shortest wait that a refusal names, in nanoseconds: sooner no answer comes from wherever tokens come from.
const SHORTEST_WAIT: u64 = 1_000_000;

/// How long it takes to fetch what is elsewhere, in nanoseconds: as long as [`super::fleet::LEAST_GAP`].
const A_ROUND_TRIP: u64 = super::fleet::LEAST_GAP;

/// In nanoseconds.
const MILLI: u128 = 1_000_000;
const MINUTE: u128 = 60_000_000_000;

/// Fractions of a nanosecond in which the time of one token is kept: a byte of a gigabyte per second takes one.
const FRACTIONS: u64 = 64;

/// Tokens, shared by all workers.
pub struct Purse {
    pace: Pace,
    /// Less than nothing is a debt.
    tokens: AtomicI64,
    /// Tokens that were asked for in vain, since the beginning.
    refused: AtomicU64,
    /// With less the alarm is raised.
    low: AtomicI64,
    /// It has been, and nobody has looked since.
    is_raised: AtomicBool,
    /// What one token takes to come, as far as is known, in [`FRACTIONS`].
    unit: AtomicU64,
    /// What others hold and would still give, as far as is known.
    elsewhere: AtomicU64,
    alarm: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl fmt::Debug for Purse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Purse")
            .field("pace", &self.pace)
            .field("tokens", &self.tokens)
            .finish_non_exhaustive()
    }
}

impl Purse {
    /// An empty purse for a budget of this pace.
    pub fn new(pace: Pace) -> Self {
        let purse = Self {
            pace,
            tokens: AtomicI64::new(0),
            refused: AtomicU64::new(0),
            low: AtomicI64::new(1),
            is_raised: AtomicBool::new(false),
            unit: AtomicU64::new(1),
            elsewhere: AtomicU64::new(pace.burst),
            alarm: OnceLock::new(),
        };
        purse.comes_at(pace.rate, pace.per);
        purse
    }

    /// From now on `alarm` is called by whoever finds it low, once until [`Purse::quiet`]: it must not block. Only the
    /// first one counts.
    pub fn on_low(&self, alarm: impl Fn() + Send + Sync + 'static) {
        self.alarm.get_or_init(|| Box::new(alarm));
    }

    /// The pace and burst of the whole budget.
    pub fn pace(&self) -> Pace {
        self.pace
    }

    /// Takes `cost` tokens, all or none.
    pub fn take(&self, cost: u64) -> Result<(), Refused> {
        self.reserve(cost, 0).map(drop)
    }

    /// Takes `cost` tokens that will have come in `max_wait` nanoseconds at the latest, as far as is known; returns how
    /// long to wait for them.
    pub fn reserve(&self, cost: u64, max_wait: u64) -> Result<u64, Refused> {
        // More than a burst cannot be saved: it is granted for all of that, on credit.
        let (least, cost_signed) = (signed(cost.min(self.pace.burst)), signed(cost));
        let mut tokens = self.tokens.load(Ordering::Relaxed);
        loop {
            let missing = least.saturating_sub(tokens);
            let wait = if missing <= 0 { 0 } else { self.wait_for(missing.unsigned_abs()) };
            if wait > max_wait {
                self.refused.fetch_add(cost, Ordering::Relaxed);
                self.look(tokens);
                return Err(Refused { retry_in: wait });
            }
            let left = tokens.saturating_sub(cost_signed);
            match self.tokens.compare_exchange_weak(tokens, left, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => {
                    self.look(left);
                    return Ok(wait);
                }
                Err(changed) => tokens = changed,
            }
        }
    }

    /// Takes at least `least` tokens and as many of `most` as there are; returns how many. Fewer are not taken.
    pub fn draw(&self, least: u64, most: u64) -> Result<u64, Refused> {
        let more = self.tokens().saturating_sub(signed(least)).max(0).unsigned_abs();
        let wanted = least.saturating_add(most.saturating_sub(least).min(more));
        // Somebody may have taken what was there a moment ago.
        self.take(wanted).map(|()| wanted).or_else(|_| self.take(least).map(|()| least))
    }

    /// How many tokens somebody may draw at once who takes them one by one: those of a millisecond, and no more than a
    /// sixteenth of what there is; at least 1.
    pub fn slice(&self) -> u64 {
        let in_a_milli = u128::from(self.pace.rate) * MILLI / u128::from(self.pace.per.max(1));
        let here = self.tokens().max(0).unsigned_abs() / 16;
        u64::try_from(in_a_milli).unwrap_or(u64::MAX).min(here).max(1)
    }

    /// How long it will owe something, in nanoseconds, as far as is known; 0: it does not.
    pub fn owes_for(&self) -> u64 {
        match self.tokens() {
            0.. => 0,
            debt => {
                self.look(debt);
                self.wait_for(debt.unsigned_abs())
            }
        }
    }

    /// Takes as many of `most` tokens as there are.
    pub fn take_up_to(&self, most: u64) -> u64 {
        let mut tokens = self.tokens.load(Ordering::Relaxed);
        loop {
            let taken = tokens.max(0).unsigned_abs().min(most);
            let left = tokens.saturating_sub(signed(taken));
            match self.tokens.compare_exchange_weak(tokens, left, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => {
                    self.look(left);
                    return taken;
                }
                Err(changed) => tokens = changed,
            }
        }
    }

    /// Takes `cost` tokens whether they are there or not: for what is known too late to be refused. What is owed has
    /// an end: a burst, or what comes in a minute.
    pub fn charge(&self, cost: u64) {
        let (cost, floor) = (signed(cost), self.most_debt().saturating_neg());
        let mut tokens = self.tokens.load(Ordering::Relaxed);
        loop {
            let left = tokens.saturating_sub(cost).max(floor).min(tokens);
            match self.tokens.compare_exchange_weak(tokens, left, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return self.look(left),
                Err(changed) => tokens = changed,
            }
        }
    }

    /// Puts tokens in, or back.
    pub fn put(&self, tokens: u64) {
        self.tokens.fetch_add(signed(tokens), Ordering::Relaxed);
    }

    /// What there is for this process: what it holds, and what it would get as far as is known.
    pub fn level(&self) -> Level {
        let burst = self.pace.burst;
        let here = self.tokens();
        let available = here.saturating_add(signed(self.elsewhere.load(Ordering::Relaxed)));
        let remaining = available.max(0).unsigned_abs().min(burst);
        let current = signed(burst).saturating_sub(available).max(0).unsigned_abs();
        let reset = u128::from(current) * u128::from(self.pace.per) / u128::from(self.pace.rate.max(1));
        Level { burst, current, remaining, reset: u64::try_from(reset).unwrap_or(LONGEST_REFILL) }
    }

    /// Tokens that are left; less than nothing is a debt.
    pub fn tokens(&self) -> i64 {
        self.tokens.load(Ordering::Relaxed)
    }

    /// Tokens that were asked for in vain, since the beginning.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Whether the alarm has been raised since it was quiet.
    pub fn is_low(&self) -> bool {
        self.is_raised.load(Ordering::Relaxed)
    }

    /// The alarm may be raised again, with less than `low` tokens.
    pub fn quiet(&self, low: u64) {
        self.low.store(signed(low), Ordering::Relaxed);
        self.is_raised.store(false, Ordering::Relaxed);
    }

    /// So many tokens come in `nanos` nanoseconds, as far as is known. Nothing: what is known stays.
    pub fn comes_at(&self, tokens: u64, nanos: u64) {
        let unit = (u128::from(nanos) * u128::from(FRACTIONS)).checked_div(u128::from(tokens));
        if let Some(unit) = unit {
            self.unit.store(u64::try_from(unit).unwrap_or(u64::MAX).max(1), Ordering::Relaxed);
        }
    }

    /// So many more would be given.
    pub fn left_elsewhere(&self, tokens: u64) {
        self.elsewhere.store(tokens, Ordering::Relaxed);
    }

    fn most_debt(&self) -> i64 {
        let in_a_minute = u128::from(self.pace.rate) * MINUTE / u128::from(self.pace.per.max(1));
        signed(u64::try_from(in_a_minute).unwrap_or(u64::MAX).max(self.pace.burst))
    }

    fn wait_for(&self, missing: u64) -> u64 {
        let comes_in = self.unit.load(Ordering::Relaxed).saturating_mul(missing) / FRACTIONS;
        let is_elsewhere = missing <= self.elsewhere.load(Ordering::Relaxed);
        let wait = if is_elsewhere { comes_in.min(A_ROUND_TRIP) } else { comes_in };
        wait.clamp(SHORTEST_WAIT, LONGEST_REFILL)
    }

    /// Raises the alarm if `tokens` are few. A look at two numbers that hardly ever change, unless it does.
    fn look(&self, tokens: i64) {
        if tokens < self.low.load(Ordering::Relaxed)
            && !self.is_raised.load(Ordering::Relaxed)
            && !self.is_raised.swap(true, Ordering::Relaxed)
        {
            self.alarm.get().inspect(|alarm| alarm());
        }
    }
}

/// Tokens as what may be a debt.
pub(super) fn signed(tokens: u64) -> i64 {
    i64::try_from(tokens).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    const MILLI: u64 = 1_000_000;

    fn purse() -> Purse {
        let purse = Purse::new(Pace::per_second(100, 10));
        purse.left_elsewhere(0);
        purse
    }

    #[test]
    fn what_is_taken_was_put_in() {
        let purse = purse();
        assert_eq!(Err(Refused { retry_in: 10 * MILLI }), purse.take(1));
        purse.put(3);
        assert_eq!((Ok(()), Ok(())), (purse.take(1), purse.take(2)));
        assert_eq!(Err(Refused { retry_in: 20 * MILLI }), purse.take(2));
        assert_eq!((0, 3), (purse.tokens(), purse.refused()));
        purse.put(5);
        assert_eq!((2, 3, 0), (purse.take_up_to(2), purse.take_up_to(9), purse.take_up_to(1)));
    }

    #[test]
    fn debts_are_paid_before_anything_is_taken() {
        let purse = purse();
        purse.put(1);
        purse.charge(5);
        purse.put(4);
        assert_eq!(Err(Refused { retry_in: 10 * MILLI }), purse.take(1));
        assert_eq!(Ok(10 * MILLI), purse.reserve(1, 10 * MILLI));
        assert_eq!(Err(Refused { retry_in: 20 * MILLI }), purse.reserve(1, 10 * MILLI));
        assert_eq!(-1, purse.tokens());
    }

    #[test]
    fn what_costs_more_than_a_burst_is_granted_for_a_whole_one_on_credit() {
        let purse = purse();
        purse.put(9);
        assert_eq!(Err(Refused { retry_in: 10 * MILLI }), purse.take(25));
        purse.put(1);
        assert_eq!(Ok(()), purse.take(25));
        assert_eq!(-15, purse.tokens());
    }

    #[test]
    fn the_alarm_is_raised_once_until_somebody_has_looked() {
        let raised = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&raised);
        let purse = purse();
        purse.on_low(move || {
            count.fetch_add(1, Ordering::Relaxed);
        });
        purse.put(10);
        purse.quiet(5);
        assert_eq!((Ok(()), 0), (purse.take(5), raised.load(Ordering::Relaxed)));
        assert_eq!((Ok(()), Ok(())), (purse.take(1), purse.take(1)));
        assert_eq!((1, true), (raised.load(Ordering::Relaxed), purse.is_low()));
        purse.quiet(5);
        assert!(!purse.is_low());
        purse.charge(1);
        assert_eq!(2, raised.load(Ordering::Relaxed));
    }

    #[test]
    fn what_is_elsewhere_can_be_had_at_once() {
        let purse = Purse::new(Pace { rate: 1, per: 3_600_000 * MILLI, burst: 10 });
        purse.left_elsewhere(2);
        assert_eq!(Err(Refused { retry_in: 10 * MILLI }), purse.take(2));
        assert_eq!(Err(Refused { retry_in: 3 * 3_600_000 * MILLI }), purse.take(3));
    }

    #[test]
    fn the_level_is_what_is_here_and_what_would_be_given() {
        let purse = purse();
        purse.left_elsewhere(4);
        purse.put(3);
        assert_eq!(Level { burst: 10, current: 3, remaining: 7, reset: 30 * MILLI }, purse.level());
        purse.charge(9);
        assert_eq!(Level { burst: 10, current: 12, remaining: 0, reset: 120 * MILLI }, purse.level());
    }
}
