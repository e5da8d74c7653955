//! How many of something there may be at a time: a tenant's connections, its requests in flight.
//!
//! One number that all workers share ([`Ceiling`]). For what comes and goes with each request a worker keeps a few spare
//! places ([`Spares`]), so that most requests do not touch it; of a small ceiling it keeps none, and counts exactly.
//!
//! **Invariant**: places in use and spare places are places taken, and no more are taken than there are, but for those
//! that are taken anyway.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

/// So many at a time.
#[derive(Debug)]
pub struct Ceiling {
    most: u64,
    taken: AtomicU64,
}

impl Ceiling {
    /// None are taken.
    pub fn new(most: u64) -> Self {
        Self { most, taken: AtomicU64::new(0) }
    }

    /// How many there may be.
    pub fn most(&self) -> u64 {
        self.most
    }

    /// How many are taken; more than [`Ceiling::most`] if some were taken anyway.
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Takes as many of `wanted` as there are.
    pub fn take_up_to(&self, wanted: u64) -> u64 {
        let free = |taken: u64| self.most.saturating_sub(taken).min(wanted);
        let add = |taken: u64| (free(taken) > 0).then(|| taken.saturating_add(free(taken)));
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).map_or(0, free)
    }

    /// Takes one, also beyond the ceiling.
    pub fn take_anyway(&self) {
        self.taken.fetch_add(1, Ordering::Relaxed);
    }

    /// So many are free again.
    pub fn give_back(&self, count: u64) {
        if count > 0 {
            self.taken.fetch_sub(count, Ordering::Relaxed);
        }
    }

    /// How many a worker may keep spare: a 64th.
    fn spare(&self) -> u64 {
        self.most / 64
    }
}

/// Places that one worker has taken and that nobody is in.
#[derive(Debug, Default)]
pub struct Spares {
    count: Cell<u64>,
}

impl Spares {
    /// Whether there is a spare place.
    #[inline]
    pub fn has(&self) -> bool {
        self.count.get() > 0
    }

    /// Takes a place; `false`: there is none.
    #[inline]
    pub fn take(&self, ceiling: &Ceiling) -> bool {
        if let Some(rest) = self.count.get().checked_sub(1) {
            self.count.set(rest);
            return true;
        }
        let taken = ceiling.take_up_to(ceiling.spare().max(1));
        self.count.set(taken.saturating_sub(1));
        taken > 0
    }

    /// So many places are free again.
    pub fn give_back(&self, ceiling: &Ceiling, count: u64) {
        let free = self.count.get().saturating_add(count);
        let kept = free.min(ceiling.spare());
        self.count.set(kept);
        ceiling.give_back(free.saturating_sub(kept));
    }

    /// Gives back what is spare, so that others can have it.
    pub fn hand_in(&self, ceiling: &Ceiling) {
        ceiling.give_back(self.count.take());
    }

    /// Places that nobody is in.
    pub fn count(&self) -> u64 {
        self.count.get()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn places_are_taken_until_there_are_none_and_again_when_they_are_free() {
        let (ceiling, worker) = (Ceiling::new(3), Spares::default());
        assert_eq!([true, true, true, false], [0; 4].map(|_| worker.take(&ceiling)));
        worker.give_back(&ceiling, 2);
        assert_eq!((1, 0), (ceiling.taken(), worker.count()));
        assert_eq!([true, true, false], [0; 3].map(|_| worker.take(&ceiling)));
    }

    #[test]
    fn a_worker_keeps_a_64th_spare() {
        let (ceiling, worker) = (Ceiling::new(640), Spares::default());
        assert!(worker.take(&ceiling));
        assert_eq!((10, 9), (ceiling.taken(), worker.count()));
        worker.give_back(&ceiling, 1);
        assert_eq!((10, 10), (ceiling.taken(), worker.count()));
        worker.hand_in(&ceiling);
        assert_eq!((0, 0), (ceiling.taken(), worker.count()));
    }

    #[test]
    fn who_is_let_in_anyway_counts() {
        let ceiling = Ceiling::new(1);
        ceiling.take_anyway();
        ceiling.take_anyway();
        assert_eq!((2, 0), (ceiling.taken(), ceiling.take_up_to(1)));
        ceiling.give_back(2);
        assert_eq!(1, ceiling.take_up_to(5));
    }

    #[derive(Clone, Copy, Debug)]
    enum Event {
        Take(usize),
        GiveBack(usize, u64),
        HandIn(usize),
    }

    proptest! {
        #[test]
        fn no_more_are_in_than_there_are_places(
            most in 1..500_u64,
            events in proptest::collection::vec(
                prop_oneof![
                    4 => (0..3_usize).prop_map(Event::Take),
                    1 => (0..3_usize, 1..20_u64).prop_map(|(who, count)| Event::GiveBack(who, count)),
                    1 => (0..3_usize).prop_map(Event::HandIn),
                ],
                1..600,
            ),
        ) {
            let (ceiling, workers) = (Ceiling::new(most), [0; 3].map(|_| Spares::default()));
            let mut inside = [0; 3];
            for event in events {
                match event {
                    Event::Take(who) => inside[who] += u64::from(workers[who].take(&ceiling)),
                    Event::GiveBack(who, count) => {
                        let count = count.min(inside[who]);
                        inside[who] -= count;
                        workers[who].give_back(&ceiling, count);
                    }
                    Event::HandIn(who) => workers[who].hand_in(&ceiling),
                }
                let spare: u64 = workers.iter().map(Spares::count).sum();
                prop_assert_eq!(ceiling.taken(), inside.iter().sum::<u64>() + spare);
                prop_assert!(ceiling.taken() <= most);
            }
        }
    }
}
