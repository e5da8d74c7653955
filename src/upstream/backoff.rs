//! How long to wait before the next attempt to connect: doubling, jittered, bounded.

use std::time::Duration;

/// The waits of one connection, reset by success.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    /// Waits from `min`, doubling up to `max`.
    pub fn new(min: Duration, max: Duration) -> Self {
        Self { min, max, next: min }
    }

    /// The next wait: between half and all of the current step, so that many proxies do not come back
    /// together.
    /// `jitter` is uniform in 0..1.
    pub fn wait(&mut self, jitter: f64) -> Duration {
        let step = self.next;
        self.next = step.saturating_mul(2).min(self.max);
        step.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
    }

    /// An attempt succeeded.
    pub fn reset(&mut self) {
        self.next = self.min;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_maximum_and_start_over_after_success() {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_millis(300));
        let waits: Vec<u128> = (0..5).map(|_| backoff.wait(1.0).as_millis()).collect();
        assert_eq!(vec![50, 100, 200, 300, 300], waits);
        backoff.reset();
        assert_eq!(25, backoff.wait(0.0).as_millis());
    }
}
