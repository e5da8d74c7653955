//! What is sent again within the budget of its upstream ([`RetryBudget`]).
//!
//! Only what waits for a node that failed: a redirection, and a read that the primary is asked instead of a replica, go
//! at once to somebody who has not.
//!
//! What was answered is counted here and told to the budget, which all workers share, a few times a second and before
//! it is asked: the path of an answered request has no shared number.

use std::cell::Cell;

use super::commons::Commons;
use crate::metrics::label::{ResendCause, RetryVerdict};
use crate::policy::retry_budget::{RetryBudget, Verdict};

/// What one worker has answered since it last told, by upstream.
#[derive(Debug)]
pub(super) struct Answered(Box<[Cell<u32>]>);

impl Answered {
    /// Nothing, of so many upstreams.
    pub(super) fn nothing(upstreams: usize) -> Self {
        Self((0..upstreams).map(|_| Cell::new(0)).collect())
    }

    /// So many more replies came from an upstream.
    #[inline]
    pub(super) fn add(&self, upstream: usize, replies: u32) {
        if let Some(count) = self.0.get(upstream) {
            count.set(count.get().saturating_add(replies));
        }
    }

    fn take(&self, upstream: usize) -> u32 {
        self.0.get(upstream).map_or(0, Cell::take)
    }
}

impl Commons {
    /// Whether a request of `upstream` may be sent again after a pause. Counts that.
    pub(super) fn may_retry(&self, upstream: usize, cause: ResendCause) -> bool {
        match cause {
            // The nodes have not failed, they do not agree yet.
            ResendCause::Moved | ResendCause::Ask => return true,
            ResendCause::Wait | ResendCause::Refresh | ResendCause::Lost => {}
        }
        let Some(budget) = self.shared.retry_budgets.get(upstream) else { return false };
        let now = self.clock.read_millis();
        self.tell(budget, upstream, now);
        let verdict = budget.ask(now);
        let counted = match verdict {
            Verdict::Granted => RetryVerdict::Granted,
            Verdict::Refused => RetryVerdict::Refused,
        };
        self.metrics.borrow_mut().retry(upstream, counted);
        verdict == Verdict::Granted
    }

    /// Retries that are left for each upstream that is more than one node, after what was answered lately.
    pub fn retries_left(&self) -> impl Iterator<Item = (usize, u32)> {
        let now = self.clock.read_millis();
        let moving = (0..self.upstreams()).filter(|upstream| self.is_moving(*upstream));
        moving.filter_map(move |upstream| {
            let budget = self.shared.retry_budgets.get(upstream)?;
            self.tell(budget, upstream, now);
            Some((upstream, budget.left(now)))
        })
    }

    fn tell(&self, budget: &RetryBudget, upstream: usize, now: u64) {
        let answered = self.answered.take(upstream);
        if answered > 0 {
            budget.answered(answered, now);
        }
    }
}
