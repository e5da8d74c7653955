//! What went through all connections of one tenant, for `INFO`.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::locked;

/// Milliseconds over which the rate of commands is taken: what `INFO` calls instantaneous.
const RATE_OVER_MS: u64 = 1000;

/// The totals of one tenant since the process began. Workers add to them a few times a second.
#[derive(Debug, Default)]
pub struct Traffic {
    pub(super) connections: AtomicU64,
    commands: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    rate: Mutex<Rate>,
}

/// The last sample of the rate.
#[derive(Clone, Copy, Debug, Default)]
struct Rate {
    at_ms: u64,
    commands: u64,
    per_second: u64,
}

/// Totals at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Connections that were bound to the tenant.
    pub connections: u64,
    /// Requests of its clients.
    pub commands: u64,
    /// Requests in the last second or so.
    pub commands_per_second: u64,
    /// Bytes read from its clients.
    pub bytes_in: u64,
    /// Bytes written to its clients.
    pub bytes_out: u64,
}

impl Traffic {
    /// What a worker has counted since it last said.
    pub fn add(&self, commands: u64, bytes_in: u64, bytes_out: u64) {
        self.commands.fetch_add(commands, Ordering::Relaxed);
        self.bytes_in.fetch_add(bytes_in, Ordering::Relaxed);
        self.bytes_out.fetch_add(bytes_out, Ordering::Relaxed);
    }

    /// The totals; `now_ms` is the time on the clock that all callers share.
    pub fn totals(&self, now_ms: u64) -> Totals {
        let commands = self.commands.load(Ordering::Relaxed);
        let mut rate = locked(&self.rate);
        let elapsed = now_ms.saturating_sub(rate.at_ms);
        if elapsed >= RATE_OVER_MS {
            let per_second = commands.saturating_sub(rate.commands).saturating_mul(1000) / elapsed;
            *rate = Rate { at_ms: now_ms, commands, per_second };
        }
        Totals {
            connections: self.connections.load(Ordering::Relaxed),
            commands,
            commands_per_second: rate.per_second,
            bytes_in: self.bytes_in.load(Ordering::Relaxed),
            bytes_out: self.bytes_out.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_of_the_last_second_or_more() {
        let traffic = Traffic::default();
        traffic.add(500, 0, 0);
        assert_eq!(0, traffic.totals(10).commands_per_second);
        assert_eq!(250, traffic.totals(2000).commands_per_second);
        traffic.add(30, 5, 7);
        assert_eq!(250, traffic.totals(2900).commands_per_second);
        let totals = traffic.totals(3000);
        assert_eq!(
            (530, 30, 5, 7),
            (totals.commands, totals.commands_per_second, totals.bytes_in, totals.bytes_out)
        );
    }
}
