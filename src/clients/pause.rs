//! `CLIENT PAUSE`: which of the tenant's requests wait, and until when.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::command::{CommandSpec, Flags};

/// Commands that are held with the writes although they carry no such flag: what they do may reach replicas
/// (publishing, scripts, the cache inside a `HyperLogLog`).
const MAY_REPLICATE: &[&str] = &["EVAL", "EVALSHA", "FCALL", "PFCOUNT", "PUBLISH", "SPUBLISH"];

/// A pause that is going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    /// Its end, in milliseconds since the epoch of all times here.
    pub until_ms: u64,
    /// Whether every request waits, or only those that write.
    pub is_all: bool,
}

impl Pause {
    /// Whether a request of this command waits. `EXEC` does if a command that it runs would.
    pub fn holds(self, spec: &CommandSpec) -> bool {
        self.is_all || spec.flags.contains(Flags::WRITE) || MAY_REPLICATE.contains(&spec.name)
    }
}

/// The pause of one tenant: `until_ms` shifted up by one bit, the lowest bit says whether all wait. 0: none.
#[derive(Debug, Default)]
pub(super) struct PauseState(AtomicU64);

impl PauseState {
    /// The pause at this moment. One relaxed load while there is none.
    pub(super) fn at(&self, now_ms: u64) -> Option<Pause> {
        current(self.0.load(Ordering::Relaxed), now_ms)
    }

    /// Begins a pause, or adds to one: a second never ends the first earlier and never lets through what it
    /// held (Redis takes the later end and the stricter mode).
    pub(super) fn begin(&self, pause: Pause, now_ms: u64) {
        let added = |packed: u64| {
            let merged = current(packed, now_ms).map_or(pause, |running| Pause {
                until_ms: running.until_ms.max(pause.until_ms),
                is_all: running.is_all | pause.is_all,
            });
            Some(merged.until_ms.min(u64::MAX >> 1) << 1 | u64::from(merged.is_all))
        };
        let updated = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, added);
        debug_assert!(updated.is_ok(), "there is always a new value");
    }

    /// Ends it.
    pub(super) fn end(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

fn current(packed: u64, now_ms: u64) -> Option<Pause> {
    let pause = Pause { until_ms: packed >> 1, is_all: packed & 1 == 1 };
    (packed != 0 && pause.until_ms > now_ms).then_some(pause)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::find;

    fn writes(until_ms: u64) -> Pause {
        Pause { until_ms, is_all: false }
    }

    fn all(until_ms: u64) -> Pause {
        Pause { until_ms, is_all: true }
    }

    #[test]
    fn a_pause_ends_by_itself_or_by_order() {
        let state = PauseState::default();
        assert_eq!(None, state.at(0));
        state.begin(writes(150), 100);
        assert_eq!((Some(writes(150)), None), (state.at(149), state.at(150)));
        state.begin(all(250), 200);
        state.end();
        assert_eq!(None, state.at(200));
    }

    #[test]
    fn a_second_pause_never_shortens_or_loosens_the_first() {
        let state = PauseState::default();
        state.begin(all(500), 0);
        state.begin(writes(300), 0);
        assert_eq!(Some(all(500)), state.at(1));
        state.begin(writes(900), 0);
        assert_eq!(Some(all(900)), state.at(1));
    }

    #[test]
    fn a_pause_that_is_over_does_not_count() {
        let state = PauseState::default();
        state.begin(all(500), 0);
        state.begin(writes(900), 600);
        assert_eq!(Some(writes(900)), state.at(600));
        state.begin(all(0), 700);
        assert_eq!(Some(all(900)), state.at(700), "a timeout of 0 makes it stricter, as in Redis");
    }

    #[test]
    fn what_may_reach_replicas_waits_with_the_writes() {
        let holds =
            |words: &str| writes(1).holds(find(words).unwrap_or_else(|| panic!("{words} is unknown")));
        for words in ["SET", "DEL", "PUBLISH", "SPUBLISH", "PFCOUNT", "EVAL", "EVALSHA", "FCALL"] {
            assert!(holds(words), "{words}");
        }
        for words in ["GET", "MULTI", "EVAL_RO", "SCRIPT LOAD", "CLIENT UNPAUSE", "SUBSCRIBE"] {
            assert!(!holds(words), "{words}");
        }
        assert!(all(1).holds(find("CLIENT UNPAUSE").expect("in the table")));
    }
}
