//! A breaker: whether a node is asked at all, by how it has answered lately.
//!
//! ```text
//!             evidence                 time                    so many probes are answered
//!   Closed ─────────────► Open ──────────────────► HalfOpen ─────────────────────────────► Closed
//!                          ▲   twice as long, up to a cap │
//!                          └──────────────────────────────┘ a probe fails, or is never heard of again
//! ```
//!
//! **What counts.** Evidence is failures in a row, the share of failures in a window, or the share of slow replies in
//! it. One fact that many observe is one failure: when a node drops all connections at once, every worker sees that,
//! and it says no more than the first of them did. So an attempt counts only if it began after the failure that was
//! counted last. Silence is the exception: each request that a silent node owes is one of its own, unless the node
//! was heard meanwhile by anybody; then only this one connection has failed.
//!
//! **Time** is milliseconds of any clock that mostly goes forward. Only steps forward count: one that is set back
//! makes nothing last longer or shorter than what passes from then on.
//!
//! Invariants: at most one probe is out; every opening ends after the longest open time, or a probe more; and nothing
//! opens a closed breaker but the configured evidence.

mod window;

use window::Window;

/// What opens a breaker, and what closes it. A share or number of 0 means: not by that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Failures without a success in between.
    pub consecutive: u32,
    /// Failures in a hundred requests of the window.
    pub failure_percent: u8,
    /// Slow replies in a hundred requests of the window.
    pub slow_percent: u8,
    /// Requests in the window below which shares say nothing. At least 1.
    pub min_requests: u32,
    /// How far back shares look, in milliseconds.
    pub window: u64,
    /// The first open time, in milliseconds; doubles with each further one.
    pub open_min: u64,
    /// The longest open time, in milliseconds; at least `open_min`.
    pub open_max: u64,
    /// Probes that must be answered before it closes. At least 1.
    pub close_after: u32,
    /// After so many milliseconds a probe that nobody has heard of has failed.
    pub probe_limit: u64,
}

/// Requests that were answered, whatever the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// All of them.
    pub all: u32,
    /// Those that took too long.
    pub slow: u32,
    /// Milliseconds since the last of them.
    pub ago: u64,
}

/// Something went wrong that is the node's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Nothing came for `lasted` milliseconds, while `requests` waited.
    Silence {
        /// Requests that waited.
        requests: u32,
        /// For how long, in milliseconds.
        lasted: u64,
    },
    /// A connection, an attempt at one, or a reply that says that nobody is served.
    Fault {
        /// Milliseconds since what failed began.
        lasted: u64,
    },
}

/// Why a breaker opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// Failures in a row.
    Consecutive,
    /// The share of failures.
    Ratio,
    /// The share of slow replies.
    Slow,
}

/// What is asked of a breaker's node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Everything.
    Closed,
    /// Nothing.
    Open,
    /// One probe at a time.
    HalfOpen,
}

/// The right to ask once; its outcome is reported with it.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a probe that nobody reports on has failed"]
pub struct Probe(u64);

/// What an answered probe means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// It was given up before.
    TooLate,
    /// More of them are needed.
    GoOn,
    /// The breaker is closed.
    Closed,
}

#[derive(Debug)]
enum State {
    Closed {
        since: u64,
    },
    Open {
        until: u64,
        by: Evidence,
        /// Its end was brought forward once.
        is_hastened: bool,
    },
    HalfOpen {
        by: Evidence,
        answered: u32,
        out: Option<Out>,
    },
}

/// The probe that is out.
#[derive(Debug)]
struct Out {
    number: u64,
    until: u64,
}

/// One node's breaker.
#[derive(Debug)]
pub struct Breaker {
    thresholds: Thresholds,
    /// The latest `now`.
    latest: u64,
    /// Milliseconds that have passed, as far as `now` went forward.
    passed: u64,
    state: State,
    consecutive: u32,
    /// When a failure was counted last.
    failed_at: Option<u64>,
    /// When the node was heard last.
    heard_at: Option<u64>,
    window: Window,
    /// The open time before jitter, in milliseconds; 0 before the first.
    step: u64,
    probes: u64,
}

impl Breaker {
    /// Closed.
    pub fn new(thresholds: Thresholds) -> Self {
        Self {
            latest: 0,
            passed: 0,
            state: State::Closed { since: 0 },
            consecutive: 0,
            failed_at: None,
            heard_at: None,
            window: Window::new(thresholds.window),
            step: 0,
            probes: 0,
            thresholds,
        }
    }

    /// What is asked of the node.
    pub fn phase(&self) -> Phase {
        match self.state {
            State::Closed { .. } => Phase::Closed,
            State::Open { .. } => Phase::Open,
            State::HalfOpen { .. } => Phase::HalfOpen,
        }
    }

    /// The node has answered. `Some`: the answers are evidence enough to open.
    pub fn answered(&mut self, now: u64, answers: Answers) -> Option<Evidence> {
        let now = self.tick(now);
        if answers.all == 0 {
            return None;
        }
        let heard_at = now.saturating_sub(answers.ago);
        self.heard_at = self.heard_at.max(Some(heard_at));
        self.consecutive = 0;
        self.window.add(now, |counts| {
            counts.requests = counts.requests.saturating_add(u64::from(answers.all));
            counts.slow = counts.slow.saturating_add(u64::from(answers.slow));
        });
        // Replies that were under way are no news of a node that answers too slowly, or not always.
        if matches!(self.state, State::Open { by: Evidence::Consecutive, .. }) {
            self.bring_forward(now);
        }
        let is_slow = answers.slow > 0 && self.is_share(now, self.thresholds.slow_percent, |sum| sum.slow);
        (is_slow && self.phase() == Phase::Closed).then_some(Evidence::Slow)
    }

    /// Something has failed. `Some`: it is evidence enough to open.
    pub fn failed(&mut self, now: u64, failure: Failure) -> Option<Evidence> {
        let now = self.tick(now);
        let weight = self.weight(now, failure);
        if weight == 0 || self.phase() != Phase::Closed {
            return None;
        }
        self.failed_at = Some(now);
        self.consecutive = self.consecutive.saturating_add(weight);
        self.window.add(now, |counts| {
            counts.requests = counts.requests.saturating_add(u64::from(weight));
            counts.failed = counts.failed.saturating_add(u64::from(weight));
        });
        let Thresholds { consecutive, failure_percent, .. } = self.thresholds;
        if consecutive > 0 && self.consecutive >= consecutive {
            Some(Evidence::Consecutive)
        } else {
            self.is_share(now, failure_percent, |sum| sum.failed).then_some(Evidence::Ratio)
        }
    }

    /// How many failures it is, by the head of this module.
    fn weight(&self, now: u64, failure: Failure) -> u32 {
        let counts_alone = |lasted: u64| {
            let began = now.saturating_sub(lasted);
            u32::from(self.failed_at.is_none_or(|failed_at| failed_at <= began))
        };
        match failure {
            Failure::Fault { lasted } => counts_alone(lasted),
            Failure::Silence { requests, lasted } => {
                // Half: what was heard when the silence began is no sign of life.
                let is_heard =
                    self.heard_at.is_some_and(|heard_at| now.saturating_sub(heard_at) < lasted / 2);
                if is_heard { counts_alone(lasted) } else { requests.max(1) }
            }
        }
    }

    fn is_share(&mut self, now: u64, percent: u8, of: impl Fn(&window::Counts) -> u64) -> bool {
        let sum = self.window.sum(now);
        percent > 0
            && sum.requests >= u64::from(self.thresholds.min_requests)
            && of(&sum).saturating_mul(100) >= sum.requests.saturating_mul(u64::from(percent))
    }

    /// Opens a closed breaker, by evidence that it has reported; says for how many milliseconds. `jitter` is uniform
    /// in 0..1.
    pub fn open(&mut self, now: u64, by: Evidence, jitter: f64) -> u64 {
        let now = self.tick(now);
        if let State::Closed { since } = self.state
            && now.saturating_sub(since) >= self.step
        {
            // It has been well for as long as it was away.
            self.step = 0;
        }
        self.open_until(now, by, u64::MAX, jitter)
    }

    /// Opens for a time between half and all of the next step, so that many proxies do not come back together.
    fn open_until(&mut self, now: u64, by: Evidence, at_most: u64, jitter: f64) -> u64 {
        let Thresholds { open_min, open_max, .. } = self.thresholds;
        self.step = self.step.saturating_mul(2).clamp(open_min, open_max.min(at_most).max(open_min));
        let half = self.step / 2;
        let open_for = half.saturating_add(part(self.step.saturating_sub(half), jitter)).max(1);
        self.state = State::Open { until: now.saturating_add(open_for), by, is_hastened: false };
        open_for
    }

    /// Milliseconds until [`Breaker::probe`] can be asked for with success; `None`: it is closed.
    pub fn wait(&mut self, now: u64) -> Option<u64> {
        let now = self.tick(now);
        match &self.state {
            State::Closed { .. } => None,
            State::Open { until, .. } => Some(until.saturating_sub(now)),
            State::HalfOpen { out, .. } => Some(out.as_ref().map_or(0, |out| out.until.saturating_sub(now))),
        }
    }

    /// The right to ask the node once, if the time has come and no probe is out.
    pub fn probe(&mut self, now: u64, jitter: f64) -> Option<Probe> {
        let now = self.tick(now);
        let (by, answered) = match self.state {
            State::Open { until, by, .. } if until <= now => (by, 0),
            State::HalfOpen { by, answered, out: None } => (by, answered),
            State::HalfOpen { by, out: Some(Out { until, .. }), .. } if until <= now => {
                self.open_until(now, by, u64::MAX, jitter);
                return None;
            }
            State::Closed { .. } | State::Open { .. } | State::HalfOpen { .. } => return None,
        };
        self.probes = self.probes.wrapping_add(1);
        let out = Out { number: self.probes, until: now.saturating_add(self.thresholds.probe_limit.max(1)) };
        self.state = State::HalfOpen { by, answered, out: Some(out) };
        Some(Probe(self.probes))
    }

    /// A probe was answered.
    #[expect(clippy::needless_pass_by_value, reason = "who has reported has no probe any more")]
    pub fn probe_answered(&mut self, now: u64, probe: Probe) -> Answered {
        let now = self.tick(now);
        let close_after = self.thresholds.close_after;
        match &mut self.state {
            State::HalfOpen { answered, out, .. } if is_out(out.as_ref(), &probe) => {
                *out = None;
                *answered = answered.saturating_add(1);
                if *answered < close_after {
                    return Answered::GoOn;
                }
                self.close_at(now);
                self.heard_at = Some(now);
                Answered::Closed
            }
            State::Closed { .. } | State::Open { .. } | State::HalfOpen { .. } => Answered::TooLate,
        }
    }

    /// A probe was not answered, or with an error that counts: for how many milliseconds it is open again, `at_most`
    /// so many where that is more than the shortest. `None`: the probe was given up before.
    #[expect(clippy::needless_pass_by_value, reason = "who has reported has no probe any more")]
    pub fn probe_failed(&mut self, now: u64, probe: Probe, at_most: u64, jitter: f64) -> Option<u64> {
        let now = self.tick(now);
        match &self.state {
            State::HalfOpen { by, out, .. } if is_out(out.as_ref(), &probe) => {
                let by = *by;
                Some(self.open_until(now, by, at_most, jitter))
            }
            State::Closed { .. } | State::Open { .. } | State::HalfOpen { .. } => None,
        }
    }

    /// There is reason to believe that the node is well again: an opening ends now, and the next begins with the
    /// shortest.
    pub fn hasten(&mut self, now: u64) {
        let now = self.tick(now);
        self.step = 0;
        if let State::Open { until, .. } = &mut self.state {
            *until = now;
        }
    }

    /// A sign of life: the next probe is due, once for each opening.
    pub fn show_life(&mut self, now: u64) {
        let now = self.tick(now);
        self.bring_forward(now);
    }

    fn bring_forward(&mut self, now: u64) {
        if let State::Open { until, is_hastened, .. } = &mut self.state
            && !*is_hastened
        {
            (*until, *is_hastened) = ((*until).min(now), true);
        }
    }

    /// Forgets everything.
    pub fn close(&mut self, now: u64) {
        let now = self.tick(now);
        self.step = 0;
        self.close_at(now);
    }

    fn close_at(&mut self, now: u64) {
        self.state = State::Closed { since: now };
        self.consecutive = 0;
        self.failed_at = None;
        self.window.clear();
    }

    /// What has passed until `now`; what has passed stays, where `now` goes back.
    fn tick(&mut self, now: u64) -> u64 {
        self.passed = self.passed.saturating_add(now.saturating_sub(self.latest));
        self.latest = now;
        self.passed
    }
}

fn is_out(out: Option<&Out>, probe: &Probe) -> bool {
    out.is_some_and(|out| out.number == probe.0)
}

/// A part of `whole`.
fn part(whole: u64, of: f64) -> u64 {
    let parts = std::time::Duration::from_millis(whole).mul_f64(of.clamp(0.0, 1.0)).as_millis();
    u64::try_from(parts).unwrap_or(whole)
}

#[cfg(test)]
mod tests;
