//! Where the tokens of a limit come from: a bucket of this process, or slices of one that a whole fleet shares.

use std::sync::Arc;

use super::bucket::{Bucket, Level, Pace, Refused};
use super::purse::Purse;

/// What tokens are drawn from. Times are nanoseconds of the bucket's clock.
pub trait Tokens {
    /// How many somebody may draw at once who takes them one by one.
    fn slice(&self) -> u64;
    /// Takes at least `least` tokens and as many of `most` as there are; returns how many. Fewer are not taken.
    fn draw(&self, now: u64, least: u64, most: u64) -> Result<u64, Refused>;
    /// Takes `cost` tokens that will have come in `max_wait` nanoseconds at the latest; returns how long to wait for
    /// them.
    fn reserve(&self, now: u64, cost: u64, max_wait: u64) -> Result<u64, Refused>;
    /// Takes `cost` tokens whether they are there or not.
    fn charge(&self, now: u64, cost: u64);
    /// Puts back tokens that were taken and not used.
    fn give_back(&self, tokens: u64);
    /// How long something will be owed, in nanoseconds; 0: nothing is.
    fn owes_for(&self, now: u64) -> u64;
    /// How much is taken.
    fn level(&self, now: u64) -> Level;
}

/// Where the tokens of one limit come from.
#[derive(Debug)]
pub enum Grants {
    /// A bucket that the workers of this process share.
    Process(Bucket),
    /// What this process has leased of the bucket of a fleet.
    Fleet(Arc<Purse>),
}

impl Grants {
    /// A full bucket.
    pub fn of_process(pace: Pace) -> Self {
        Self::Process(Bucket::new(pace))
    }

    /// A purse that somebody will fill.
    pub fn of_fleet(pace: Pace) -> Self {
        Self::Fleet(Arc::new(Purse::new(pace)))
    }
}

impl Tokens for Bucket {
    fn slice(&self) -> u64 {
        Bucket::slice(self)
    }

    fn draw(&self, now: u64, least: u64, most: u64) -> Result<u64, Refused> {
        Bucket::draw(self, now, least, most)
    }

    fn reserve(&self, now: u64, cost: u64, max_wait: u64) -> Result<u64, Refused> {
        Bucket::reserve(self, now, cost, max_wait)
    }

    fn charge(&self, now: u64, cost: u64) {
        Bucket::charge(self, now, cost);
    }

    fn give_back(&self, tokens: u64) {
        Bucket::give_back(self, tokens);
    }

    fn owes_for(&self, now: u64) -> u64 {
        Bucket::owes_for(self, now)
    }

    fn level(&self, now: u64) -> Level {
        Bucket::level(self, now)
    }
}

impl Tokens for Grants {
    fn slice(&self) -> u64 {
        match self {
            Self::Process(bucket) => bucket.slice(),
            Self::Fleet(purse) => purse.slice(),
        }
    }

    fn draw(&self, now: u64, least: u64, most: u64) -> Result<u64, Refused> {
        match self {
            Self::Process(bucket) => bucket.draw(now, least, most),
            Self::Fleet(purse) => purse.draw(least, most),
        }
    }

    fn reserve(&self, now: u64, cost: u64, max_wait: u64) -> Result<u64, Refused> {
        match self {
            Self::Process(bucket) => bucket.reserve(now, cost, max_wait),
            Self::Fleet(purse) => purse.reserve(cost, max_wait),
        }
    }

    fn charge(&self, now: u64, cost: u64) {
        match self {
            Self::Process(bucket) => bucket.charge(now, cost),
            Self::Fleet(purse) => purse.charge(cost),
        }
    }

    fn give_back(&self, tokens: u64) {
        match self {
            Self::Process(bucket) => bucket.give_back(tokens),
            Self::Fleet(purse) => purse.put(tokens),
        }
    }

    fn owes_for(&self, now: u64) -> u64 {
        match self {
            Self::Process(bucket) => bucket.owes_for(now),
            Self::Fleet(purse) => purse.owes_for(),
        }
    }

    fn level(&self, now: u64) -> Level {
        match self {
            Self::Process(bucket) => bucket.level(now),
            Self::Fleet(purse) => purse.level(),
        }
    }
}
