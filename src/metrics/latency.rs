//! Latency histograms: counting into a bucket without a float, a division or a search.
//!
//! The bounds go 1, 2.5, 5, 10, so each is at least twice the one before it, and an octave `[2ⁿ, 2ⁿ⁺¹)` holds
//! at most one of them. One look at the leading zeros therefore leaves two candidate buckets, and one
//! comparison decides.

use super::names::Family;
use super::text;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many buckets there are, the one without an upper bound included.
pub const BUCKETS: usize = 19;

/// Upper bounds (inclusive) of the buckets, in microseconds: 25 µs to 10 s. The last bucket (`+Inf`) ends
/// where `u32` does, 71 minutes, which is also the longest time that can be recorded.
pub const BOUNDS_MICROS: [u32; BUCKETS] = [
    25,
    50,
    100,
    250,
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    u32::MAX,
];

/// The same bounds in seconds, as the exposition's `le` label spells them.
pub const BOUNDS_SECONDS: [&str; BUCKETS] = [
    "0.000025", "0.00005", "0.0001", "0.00025", "0.0005", "0.001", "0.0025", "0.005", "0.01", "0.025",
    "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf",
];

/// For each number of significant bits: the bucket of the smallest value that has so many.
const FIRST_BUCKET: [u8; 33] = first_buckets();

const fn first_buckets() -> [u8; 33] {
    let mut table = [0; 33];
    let mut bits = 1;
    while bits <= 32 {
        let smallest = 1_u32 << (bits - 1);
        while BOUNDS_MICROS[table[bits] as usize] < smallest {
            table[bits] += 1;
        }
        bits += 1;
    }
    table
}

/// The bucket that counts a duration of `micros` microseconds; always below [`BUCKETS`].
#[inline]
pub fn bucket_of(micros: u32) -> usize {
    let significant_bits = (u32::BITS - micros.leading_zeros()) as usize;
    let first = usize::from(FIRST_BUCKET[significant_bits]);
    first + usize::from(micros > BOUNDS_MICROS[first])
}

/// One histogram of one worker: how many durations fell into each bucket since the last publish, and their
/// sum.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LatencyCounts {
    /// Durations per bucket (not cumulative).
    pub(super) buckets: [u32; BUCKETS],
    /// Sum of all durations, in microseconds.
    pub(super) sum_micros: u64,
}

impl LatencyCounts {
    /// Counts `count` durations of `micros` microseconds each.
    #[inline]
    pub fn record(&mut self, micros: u32, count: u32) {
        let bucket = &mut self.buckets[bucket_of(micros)];
        *bucket = bucket.wrapping_add(count);
        self.sum_micros = self.sum_micros.wrapping_add(u64::from(micros) * u64::from(count));
    }

    /// Nothing was recorded since the last publish.
    pub(super) fn is_empty(&self) -> bool {
        self.buckets.iter().all(|count| *count == 0)
    }
}

/// One histogram of the process: what all workers have published into it since the start.
///
/// Relaxed ordering is enough: each number stands for itself, and a render between two additions of one
/// publish is behind by part of it, which the next scrape makes good.
#[derive(Debug, Default)]
pub(super) struct SharedLatency {
    buckets: [AtomicU64; BUCKETS],
    sum_micros: AtomicU64,
}

impl SharedLatency {
    /// Nothing was ever published into it.
    pub(super) fn is_empty(&self) -> bool {
        self.buckets.iter().all(|count| count.load(Ordering::Relaxed) == 0)
    }

    /// Adds what a worker counted, and sets the worker's counts back to zero.
    pub(super) fn take(&self, counts: &mut LatencyCounts) {
        for (total, count) in self.buckets.iter().zip(&mut counts.buckets) {
            if *count > 0 {
                total.fetch_add(u64::from(mem::take(count)), Ordering::Relaxed);
            }
        }
        self.sum_micros.fetch_add(mem::take(&mut counts.sum_micros), Ordering::Relaxed);
    }

    /// Appends the series of one label value: cumulative buckets, sum, count. The count is the last bucket's
    /// by construction, so the two can never disagree.
    pub(super) fn render(&self, out: &mut String, family: &Family, (label, value): (&str, &str)) {
        let mut cumulated: u64 = 0;
        for (bucket, bound) in self.buckets.iter().zip(BOUNDS_SECONDS) {
            cumulated += bucket.load(Ordering::Relaxed);
            let labels = [(label, value), ("le", bound)];
            text::sample(out, family, "_bucket", &labels, &cumulated.to_string());
        }
        let sum = text::seconds(self.sum_micros.load(Ordering::Relaxed));
        text::sample(out, family, "_sum", &[(label, value)], &sum);
        text::sample(out, family, "_count", &[(label, value)], &cumulated.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bucket of a bound, and of the next microsecond after it.
    fn around(bound: u32) -> (usize, usize) {
        (bucket_of(bound), bucket_of(bound + 1))
    }

    #[test]
    fn each_bound_belongs_to_its_bucket_and_the_next_microsecond_to_the_next() {
        assert_eq!(around(25), (0, 1));
        assert_eq!(around(50), (1, 2));
        assert_eq!(around(100), (2, 3));
        assert_eq!(around(250), (3, 4));
        assert_eq!(around(500), (4, 5));
        assert_eq!(around(1_000), (5, 6));
        assert_eq!(around(2_500), (6, 7));
        assert_eq!(around(5_000), (7, 8));
        assert_eq!(around(10_000), (8, 9));
        assert_eq!(around(25_000), (9, 10));
        assert_eq!(around(50_000), (10, 11));
        assert_eq!(around(100_000), (11, 12));
        assert_eq!(around(250_000), (12, 13));
        assert_eq!(around(500_000), (13, 14));
        assert_eq!(around(1_000_000), (14, 15));
        assert_eq!(around(2_500_000), (15, 16));
        assert_eq!(around(5_000_000), (16, 17));
        assert_eq!(around(10_000_000), (17, 18));
    }

    #[test]
    fn shortest_and_longest_durations_have_a_bucket() {
        assert_eq!(bucket_of(0), 0);
        assert_eq!(bucket_of(1), 0);
        assert_eq!(bucket_of(u32::MAX), 18);
    }

    #[test]
    fn every_power_of_two_falls_where_a_search_of_the_bounds_finds_it() {
        for bits in 0..32 {
            for micros in [(1_u32 << bits) - 1, 1 << bits, (1 << bits) + 1] {
                let searched = BOUNDS_MICROS.iter().position(|bound| micros <= *bound).unwrap();
                assert_eq!(bucket_of(micros), searched, "{micros} µs");
            }
        }
    }

    #[test]
    fn recording_many_adds_each_of_them() {
        let mut counts = LatencyCounts::default();
        counts.record(30, 3);
        counts.record(25, 1);
        assert_eq!(counts.buckets[..3], [1, 3, 0]);
        assert_eq!(counts.sum_micros, 115);
    }

    #[test]
    fn spelled_bounds_are_the_counted_ones() {
        for (micros, seconds) in BOUNDS_MICROS.iter().zip(BOUNDS_SECONDS).take(BUCKETS - 1) {
            let spelled = seconds.parse::<f64>().unwrap() * 1e6;
            assert!((spelled - f64::from(*micros)).abs() < 1e-6, "{micros} µs is spelled {seconds} s");
        }
    }
}
