//! Who may send next to a node that has enough to do: what is under way there is shared by weight.
//!
//! A node answers one connection's requests in their order, so whoever fills the connection delays everybody behind.
//! While little is under way anyone may send. Beyond the window only those may whose own part of it is not used up;
//! the others wait, first come first served within a flow, and flows are called in turn, as often as they weigh.
//! So a flow that sends little waits for about one window at most, however much the others have to send.
//!
//! A flow is whoever shares are counted for (a tenant); waiters are what wakes a session. Nothing is queued here: what
//! waits are sessions that are not read, so a crowd costs a waker each, and its requests stay with its clients.
//!
//! **Invariants**: whenever anybody waits, something is under way or somebody has been called; a flow below its share
//! is never refused.

use std::collections::VecDeque;
use std::sync::Arc;

/// The place of one waiter in its flow's queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queued {
    flow: usize,
    number: u64,
}

/// What is under way on one connection, by flow.
#[derive(Debug)]
pub struct FairShare<W> {
    /// Units under way beyond which shares count.
    window: u32,
    under_way: u32,
    /// By flow; 1 for those beyond.
    weights: Arc<[u32]>,
    flows: Vec<Flow<W>>,
    /// Of those flows that have anything under way or waiting.
    busy_weight: u32,
    waiting: usize,
    /// The flow that is called next, and how often in a row it still is.
    turn: usize,
    calls_left: u32,
    /// Units sent since waiters were called, and how many were.
    sent: u32,
    called: u32,
}

/// One flow.
#[derive(Debug)]
struct Flow<W> {
    weight: u32,
    under_way: u32,
    waiting: VecDeque<W>,
    /// How many have waited so far.
    queued: u64,
}

impl<W> Flow<W> {
    fn new(weight: u32) -> Self {
        Self { weight: weight.max(1), under_way: 0, waiting: VecDeque::new(), queued: 0 }
    }

    fn is_busy(&self) -> bool {
        self.under_way > 0 || !self.waiting.is_empty()
    }

    /// The number of the first that waits.
    fn first(&self) -> u64 {
        self.queued.saturating_sub(self.waiting.len() as u64)
    }
}

impl<W> FairShare<W> {
    /// Nothing is under way. `window`: units, at least 1. `weights`: by flow, at least 1; flows beyond weigh 1.
    pub fn new(window: u32, weights: Arc<[u32]>) -> Self {
        Self {
            window: window.max(1),
            under_way: 0,
            weights,
            flows: Vec::new(),
            busy_weight: 0,
            waiting: 0,
            turn: 0,
            calls_left: 0,
            sent: 0,
            called: 0,
        }
    }

    /// So many units were sent for `flow`. Whether it should send no more for now.
    #[inline]
    pub fn sent(&mut self, flow: usize, units: u32) -> bool {
        let Some(of) = self.flow(flow) else { return false };
        let was_busy = of.is_busy();
        of.under_way = of.under_way.saturating_add(units);
        let (own, weight) = (of.under_way, of.weight);
        if !was_busy {
            self.busy_weight = self.busy_weight.saturating_add(weight);
        }
        self.under_way = self.under_way.saturating_add(units);
        self.sent = self.sent.saturating_add(units);
        self.under_way >= self.window && own >= self.share(weight)
    }

    /// They have been answered.
    #[inline]
    pub fn answered(&mut self, flow: usize, units: u32) {
        self.under_way = self.under_way.saturating_sub(units);
        let Some(of) = self.flows.get_mut(flow) else { return };
        let was_busy = of.is_busy();
        of.under_way = of.under_way.saturating_sub(units);
        if was_busy && !of.is_busy() {
            self.busy_weight = self.busy_weight.saturating_sub(of.weight);
        }
    }

    /// Whether a session of `flow` may send. If not, it waits: `waiter` is made if it is not waiting already
    /// (`queued`), and will be called.
    pub fn admits(&mut self, flow: usize, queued: &mut Option<Queued>, waiter: impl FnOnce() -> W) -> bool {
        let is_roomy = self.under_way < self.window;
        if is_roomy && self.waiting == 0 {
            *queued = None;
            return true;
        }
        let Some(of) = self.flow(flow) else { return true };
        let (own, weight, first) = (of.under_way, of.weight, of.first());
        let mine = queued.filter(|queued| queued.flow == flow);
        let was_called = mine.is_some_and(|queued| queued.number < first);
        if own < self.share(weight) || (is_roomy && was_called) {
            *queued = None;
            return true;
        }
        if mine.is_none() || was_called {
            *queued = Some(self.queue(flow, waiter()));
        }
        false
    }

    fn queue(&mut self, flow: usize, waiter: W) -> Queued {
        self.waiting = self.waiting.saturating_add(1);
        let Some(of) = self.flows.get_mut(flow) else { return Queued { flow, number: 0 } };
        if !of.is_busy() {
            self.busy_weight = self.busy_weight.saturating_add(of.weight);
        }
        let number = of.queued;
        of.waiting.push_back(waiter);
        of.queued = of.queued.saturating_add(1);
        Queued { flow, number }
    }

    /// Whether anybody waits who could be called now.
    #[inline]
    pub fn has_calls(&self) -> bool {
        self.waiting > 0 && self.under_way < self.window
    }

    /// Calls as many as the room is likely to be enough for; all, if nothing is under way: nobody would call them
    /// later.
    pub fn call(&mut self, mut wake: impl FnMut(W)) {
        let room = self.window.saturating_sub(self.under_way);
        let each = self.sent.checked_div(self.called).unwrap_or(1).max(1);
        let count = if self.under_way == 0 { usize::MAX } else { (room / each).max(1) as usize };
        let count = count.min(self.waiting);
        (self.sent, self.called) = (0, u32::try_from(count).unwrap_or(u32::MAX));
        for _ in 0..count {
            if let Some(waiter) = self.next() {
                wake(waiter);
            }
        }
    }

    /// Everybody who waits, while what is under way stays so: they shall look again.
    pub fn release(&mut self) -> impl Iterator<Item = W> + use<W> {
        let mut all = Vec::new();
        for flow in &mut self.flows {
            let was_busy = flow.is_busy();
            all.extend(flow.waiting.drain(..));
            if was_busy && !flow.is_busy() {
                self.busy_weight = self.busy_weight.saturating_sub(flow.weight);
            }
        }
        self.waiting = 0;
        all.into_iter()
    }

    /// Everybody who waits: the connection has ended, and with it what was under way.
    pub fn reset(&mut self) -> impl Iterator<Item = W> + use<W> {
        (self.under_way, self.busy_weight, self.waiting) = (0, 0, 0);
        let mut all = Vec::new();
        for flow in &mut self.flows {
            flow.under_way = 0;
            all.extend(flow.waiting.drain(..));
        }
        all.into_iter()
    }

    /// Who is called next: flows in turn, as often in a row as they weigh.
    fn next(&mut self) -> Option<W> {
        // Each flow is looked at once, and the first once more with a new turn.
        for _ in 0..=self.flows.len() {
            let of =
                self.flows.get_mut(self.turn).filter(|flow| self.calls_left > 0 && !flow.waiting.is_empty());
            let Some(of) = of else {
                self.turn = self.turn.checked_add(1).filter(|turn| *turn < self.flows.len()).unwrap_or(0);
                self.calls_left = self.flows.get(self.turn).map_or(0, |flow| flow.weight);
                continue;
            };
            self.calls_left = self.calls_left.saturating_sub(1);
            let waiter = of.waiting.pop_front();
            if !of.is_busy() {
                self.busy_weight = self.busy_weight.saturating_sub(of.weight);
            }
            self.waiting = self.waiting.saturating_sub(1);
            return waiter;
        }
        None
    }

    /// The units that a flow of this weight may always have under way.
    fn share(&self, weight: u32) -> u32 {
        let share = u64::from(self.window) * u64::from(weight) / u64::from(self.busy_weight.max(weight));
        u32::try_from(share).unwrap_or(u32::MAX).max(1)
    }

    #[inline]
    fn flow(&mut self, flow: usize) -> Option<&mut Flow<W>> {
        if flow >= self.flows.len() {
            self.grow(flow);
        }
        self.flows.get_mut(flow)
    }

    #[cold]
    fn grow(&mut self, flow: usize) {
        let missing = self.flows.len()..=flow;
        let weights = Arc::clone(&self.weights);
        self.flows.extend(missing.map(|flow| Flow::new(weights.get(flow).copied().unwrap_or(1))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fair(window: u32, weights: &[u32]) -> FairShare<usize> {
        FairShare::new(window, weights.into())
    }

    fn called(fair: &mut FairShare<usize>) -> Vec<usize> {
        let mut called = Vec::new();
        fair.call(|waiter| called.push(waiter));
        called
    }

    #[test]
    fn while_there_is_room_anyone_may_send() {
        let mut fair = fair(10, &[1, 1]);
        assert!((0..9).all(|_| !fair.sent(0, 1)));
        assert!(fair.admits(0, &mut None, || 0));
        assert!(fair.sent(0, 1));
    }

    #[test]
    fn beyond_the_window_only_who_is_below_its_share() {
        let mut fair = fair(10, &[1, 1]);
        assert!(fair.sent(0, 10));
        assert!(!fair.admits(0, &mut None, || 0));
        assert!(fair.admits(1, &mut None, || 1));
        assert!(!fair.sent(1, 4));
        assert!(fair.sent(1, 1), "half of the window is its own");
        assert!(!fair.admits(1, &mut None, || 1));
    }

    #[test]
    fn a_heavier_flow_has_a_larger_share() {
        let mut fair = fair(12, &[1, 3]);
        assert!(fair.sent(0, 12));
        assert!(!fair.sent(1, 8));
        assert!(fair.sent(1, 1), "three quarters of the window");
    }

    #[test]
    fn flows_are_called_in_turn_as_often_as_they_weigh() {
        let mut fair = fair(4, &[1, 2]);
        fair.sent(0, 4);
        fair.sent(1, 4);
        for waiter in 0..6 {
            assert!(!fair.admits(usize::from(waiter % 2 == 1), &mut None, || waiter));
        }
        fair.answered(0, 4);
        fair.answered(1, 4);
        assert_eq!(vec![1, 3, 0, 5, 2, 4], called(&mut fair));
    }

    #[test]
    fn who_was_called_goes_before_who_comes_now() {
        let mut fair = fair(4, &[1, 1]);
        fair.sent(0, 3);
        fair.sent(1, 1);
        let (mut first, mut second) = (None, None);
        assert!(!fair.admits(0, &mut first, || 1));
        assert!(!fair.admits(0, &mut second, || 2));
        fair.answered(0, 1);
        assert_eq!(vec![1], called(&mut fair));
        assert!(!fair.admits(0, &mut None, || 3), "the second still waits");
        assert!(fair.admits(0, &mut first, || 9));
        assert!(!fair.admits(0, &mut second, || 9));
    }

    #[test]
    fn nobody_waits_when_the_connection_has_ended() {
        let mut fair = fair(1, &[]);
        fair.sent(3, 1);
        assert!(!fair.admits(3, &mut None, || 7));
        assert_eq!(vec![7], fair.reset().collect::<Vec<_>>());
        assert!(fair.admits(3, &mut None, || 8));
    }

    #[test]
    fn who_is_released_leaves_what_is_under_way() {
        let mut fair = fair(4, &[1, 1]);
        assert!(fair.sent(0, 4));
        assert!(!fair.admits(0, &mut None, || 7));
        assert_eq!(vec![7], fair.release().collect::<Vec<_>>());
        assert!(!fair.has_calls());
        assert!(!fair.admits(0, &mut None, || 8), "four are still under way");
        fair.answered(0, 4);
        assert_eq!(vec![8], called(&mut fair));
    }

    proptest! {
        /// Sessions of three flows send, wait and are answered in any order: a flow below its share is never refused,
        /// and once everything has been answered nobody waits uncalled.
        #[test]
        fn nobody_is_forgotten(events in proptest::collection::vec((0usize..3, 0u8..4, 1u32..5), 1..400)) {
            let mut fair = fair(8, &[1, 2, 5]);
            let mut under_way: [Vec<u32>; 3] = [vec![], vec![], vec![]];
            let mut waiting: Vec<(usize, Option<Queued>)> = Vec::new();
            let mut called: Vec<usize> = Vec::new();
            for (flow, event, units) in events {
                if event < 3 {
                    let mut queued = None;
                    let number = waiting.len();
                    if fair.admits(flow, &mut queued, || number) {
                        fair.sent(flow, units);
                        under_way[flow].push(units);
                    } else {
                        prop_assert!(!under_way[flow].is_empty(), "it has its share");
                        waiting.push((flow, queued));
                    }
                } else if let Some(units) = under_way[flow].pop() {
                    fair.answered(flow, units);
                    if fair.has_calls() {
                        fair.call(|waiter| called.push(waiter));
                    }
                }
            }
            for (flow, units) in under_way.iter_mut().enumerate().flat_map(|(flow, all)| all.drain(..).map(move |units| (flow, units))) {
                fair.answered(flow, units);
                if fair.has_calls() {
                    fair.call(|waiter| called.push(waiter));
                }
            }
            called.sort_unstable();
            prop_assert_eq!((0..waiting.len()).collect::<Vec<_>>(), called);
        }
    }
}
