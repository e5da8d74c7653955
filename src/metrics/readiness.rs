//! Which upstreams can be reached, and if not, why: what `/readyz` answers.
//!
//! Workers report when the state of a connection changes, which is rare, so one lock for all is enough; it is
//! never taken per request.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Longest failure text that is kept, in bytes; a longer one is cut.
const LONGEST_REASON: usize = 300;

/// What all workers together know about the upstreams.
///
/// An upstream counts as reachable while any worker has a connection to it, and also when the last one was
/// closed without a failure: a connection nobody used was given up, the node is not known to be away.
#[derive(Debug)]
pub struct Readiness {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    upstreams: Vec<Upstream>,
    /// How many workers there are; each must have reached an upstream once.
    workers: usize,
    listening: Listening,
}

/// Whether clients are let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listening {
    NotYet,
    Yes,
    NoLonger,
}

#[derive(Debug)]
struct Upstream {
    name: String,
    /// Connections that finished their handshake and are open, over all workers.
    connected: usize,
    /// Connections that ever finished their handshake.
    ever: usize,
    reached: Reached,
}

/// What the last connection, or the last attempt, showed.
#[derive(Debug)]
enum Reached {
    NotYet,
    Yes,
    No { reason: String },
}

impl Upstream {
    fn is_up(&self, workers: usize) -> bool {
        self.complaint(workers).is_none()
    }

    fn complaint(&self, workers: usize) -> Option<String> {
        let name = &self.name;
        match &self.reached {
            Reached::NotYet => Some(format!("upstream '{name}' has not been connected yet")),
            Reached::No { reason } if self.connected == 0 => {
                Some(format!("upstream '{name}' cannot be reached: {reason}"))
            }
            // What a worker says of the upstream's version and commands it learns when it connects.
            Reached::Yes if self.ever < workers => {
                Some(format!("upstream '{name}' has not been connected by every worker yet"))
            }
            Reached::No { .. } | Reached::Yes => None,
        }
    }
}

impl Readiness {
    /// Nothing is connected yet. The numbers of the upstreams are their places in `upstreams`; a report
    /// about a number beyond them is ignored.
    pub fn new(upstreams: impl IntoIterator<Item = String>) -> Self {
        let upstreams = upstreams
            .into_iter()
            .map(|name| Upstream { name, connected: 0, ever: 0, reached: Reached::NotYet })
            .collect();
        Self { state: Mutex::new(State { upstreams, workers: 1, listening: Listening::NotYet }) }
    }

    /// A connection to the upstream finished its handshake. Pair with [`Readiness::upstream_down`] or
    /// [`Readiness::upstream_released`].
    pub fn upstream_up(&self, upstream: usize) {
        self.change(upstream, |upstream| {
            upstream.connected += 1;
            upstream.ever = upstream.ever.saturating_add(1);
            upstream.reached = Reached::Yes;
        });
    }

    /// A connection that was up was lost. `reason` is shown to operators: lower case, no credentials.
    pub fn upstream_down(&self, upstream: usize, reason: &str) {
        self.change(upstream, |upstream| {
            upstream.connected = upstream.connected.saturating_sub(1);
            upstream.reached = Reached::No { reason: one_line(reason) };
        });
    }

    /// An attempt at a connection failed; connections that are up are not concerned.
    pub fn upstream_failed(&self, upstream: usize, reason: &str) {
        self.change(upstream, |upstream| upstream.reached = Reached::No { reason: one_line(reason) });
    }

    /// A connection that was up was closed by us because nobody needed it.
    pub fn upstream_released(&self, upstream: usize) {
        self.change(upstream, |upstream| upstream.connected = upstream.connected.saturating_sub(1));
    }

    /// Says how many workers there are: an upstream counts as reachable once each of them has connected.
    pub fn expect_workers(&self, workers: usize) {
        self.lock().workers = workers;
    }

    /// Clients are let in from now on.
    pub fn listening(&self) {
        self.lock().listening = Listening::Yes;
    }

    /// The process is about to end: not ready from now on, so that no new client is sent here.
    pub fn draining(&self) {
        self.lock().listening = Listening::NoLonger;
    }

    /// Ready, or every reason why not, one line each.
    pub fn report(&self) -> Result<(), Vec<String>> {
        let state = self.lock();
        let closed = match state.listening {
            Listening::NotYet => Some("the listeners are not open yet".to_owned()),
            Listening::Yes => None,
            Listening::NoLonger => Some("draining: new connections are refused".to_owned()),
        };
        let reasons: Vec<String> = closed
            .into_iter()
            .chain(state.upstreams.iter().filter_map(|upstream| upstream.complaint(state.workers)))
            .collect();
        if reasons.is_empty() { Ok(()) } else { Err(reasons) }
    }

    /// For each upstream, whether it can be reached.
    pub fn upstreams_up(&self) -> Vec<bool> {
        let state = self.lock();
        state.upstreams.iter().map(|upstream| upstream.is_up(state.workers)).collect()
    }

    fn change(&self, upstream: usize, change: impl FnOnce(&mut Upstream)) {
        if let Some(upstream) = self.lock().upstreams.get_mut(upstream) {
            change(upstream);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No change can leave the state half done, so a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The text without line ends and control characters, which a node's reply could contain, and not longer
/// than [`LONGEST_REASON`].
fn one_line(reason: &str) -> String {
    let mut line = String::new();
    for character in reason.chars() {
        if line.len() + character.len_utf8() > LONGEST_REASON {
            break;
        }
        line.push(if character.is_control() { ' ' } else { character });
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_upstream() -> Readiness {
        let readiness = Readiness::new(["main".to_owned()]);
        readiness.listening();
        readiness
    }

    #[test]
    fn not_ready_before_every_worker_has_connected_once() {
        let readiness = one_upstream();
        readiness.expect_workers(2);
        readiness.upstream_up(0);
        let complaint = "upstream 'main' has not been connected by every worker yet";
        assert_eq!(readiness.report(), Err(vec![complaint.to_owned()]));
        readiness.upstream_up(0);
        readiness.upstream_down(0, "reset");
        assert_eq!(readiness.report(), Ok(()));
    }

    #[test]
    fn not_ready_before_the_listeners_are_open() {
        let readiness = Readiness::new([]);
        assert_eq!(readiness.report(), Err(vec!["the listeners are not open yet".to_owned()]));
    }

    #[test]
    fn not_ready_before_the_first_connection() {
        let readiness = one_upstream();
        assert_eq!(readiness.report(), Err(vec!["upstream 'main' has not been connected yet".to_owned()]));
        assert_eq!(readiness.upstreams_up(), [false]);
    }

    #[test]
    fn ready_once_one_worker_is_connected_even_if_another_fails() {
        let readiness = one_upstream();
        readiness.upstream_up(0);
        readiness.upstream_failed(0, "connection refused");
        assert_eq!(readiness.report(), Ok(()));
        assert_eq!(readiness.upstreams_up(), [true]);
    }

    #[test]
    fn losing_the_last_connection_gives_its_reason() {
        let readiness = one_upstream();
        readiness.upstream_up(0);
        readiness.upstream_up(0);
        readiness.upstream_down(0, "closed by the node");
        assert_eq!(readiness.report(), Ok(()));
        readiness.upstream_down(0, "connection reset");
        let reason = "upstream 'main' cannot be reached: connection reset".to_owned();
        assert_eq!(readiness.report(), Err(vec![reason]));
    }

    #[test]
    fn connection_given_up_as_idle_leaves_the_upstream_ready() {
        let readiness = one_upstream();
        readiness.upstream_up(0);
        readiness.upstream_released(0);
        assert_eq!(readiness.report(), Ok(()));
        readiness.upstream_failed(0, "connection refused");
        assert!(readiness.report().is_err());
    }

    #[test]
    fn every_reason_is_reported() {
        let readiness = Readiness::new(["a".to_owned(), "b".to_owned(), "c".to_owned()]);
        readiness.upstream_up(1);
        readiness.upstream_failed(2, "handshake: WRONGPASS");
        readiness.draining();
        let reasons = vec![
            "draining: new connections are refused".to_owned(),
            "upstream 'a' has not been connected yet".to_owned(),
            "upstream 'c' cannot be reached: handshake: WRONGPASS".to_owned(),
        ];
        assert_eq!(readiness.report(), Err(reasons));
    }

    #[test]
    fn reason_is_one_line_of_bounded_length() {
        assert_eq!(one_line("a\r\nb"), "a  b");
        assert_eq!(one_line(&"é".repeat(400)).len(), 300);
    }
}
