//! What one connection has heard of its node since it last said so.
//!
//! Replies are counted here, in plain numbers, and handed over a few times a second. What says that the node is ill is
//! handed over with the read that brought it.

use std::rc::Rc;

use super::handshake::Script;
use super::lane::{Lane, Load};
use super::recipient::{Recipient, Times};
use super::symptom::Symptom;
use crate::clock::Micros;
use crate::policy::breaker::{Answers, Failure};

/// Microseconds between two reports, where a reply may take longer.
const REPORT_EVERY: u32 = 100_000;

/// The counts of one connection.
pub(super) struct Tally {
    answered: u32,
    slow: u32,
    /// From how many microseconds on a reply is slow.
    slow_from: u32,
    sick: Option<&'static str>,
    reported_at: Micros,
    report_every: u32,
}

impl Tally {
    pub(super) fn new<T: Recipient + 'static>(lane: &Lane<T>) -> Self {
        let timeout = u32::try_from(lane.settings.shortest_reply_timeout().as_micros()).unwrap_or(u32::MAX);
        Self {
            answered: 0,
            slow: 0,
            slow_from: match lane.fingerprint().load {
                Load::Light => lane.health.slow_micros(),
                // One tenant's large values take their time, however well the node is.
                Load::Heavy => u32::MAX,
            },
            sick: None,
            reported_at: lane.clock.now(),
            // What is silent for half of the timeout must have been heard of by then.
            report_every: REPORT_EVERY.min(timeout / 8),
        }
    }

    /// A reply is complete.
    #[inline]
    pub(super) fn count(&mut self, times: Times) {
        self.answered = self.answered.wrapping_add(1);
        self.slow = self.slow.wrapping_add(u32::from(times.read_at.since(times.sent_at) >= self.slow_from));
    }

    /// A complete error reply.
    pub(super) fn look_at(&mut self, error: &[u8]) {
        if let Some(what) = Symptom::of_reply(error) {
            self.sick = Some(what);
            self.answered = self.answered.saturating_sub(1);
        }
    }

    /// A read has been dealt with.
    #[inline]
    pub(super) fn after_read<T: Recipient + 'static>(&mut self, lane: &Rc<Lane<T>>, now: Micros) {
        if self.sick.is_some() || now.since(self.reported_at) >= self.report_every {
            self.report(lane, now, 0);
        }
    }

    /// Tells what has not been told; the last reply came `ago` milliseconds ago.
    #[cold]
    pub(super) fn report<T: Recipient + 'static>(&mut self, lane: &Rc<Lane<T>>, now: Micros, ago: u64) {
        self.reported_at = now;
        let (all, slow) = (std::mem::take(&mut self.answered), std::mem::take(&mut self.slow));
        let sick = self.sick.take();
        // What happens on one client's own connection says nothing of the node.
        if lane.purpose() == Script::Dedicated {
            return;
        }
        let answers = Answers { all, slow, ago };
        let too_slow = if all > 0 { lane.health.answered(answers) } else { None };
        let unserving = sick.and_then(|what| lane.health.failed(Failure::Fault { lasted: 0 }, what));
        lane.look_after(too_slow.or(unserving));
    }
}
