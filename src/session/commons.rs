//! What all sessions of one worker share: its lanes, clock, counters, buffers, and what it knows of the
//! upstreams.
//!
//! Everything here belongs to one thread; nothing is locked. Buffers are taken for one read and given back,
//! so an idle connection owns none.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::BytesMut;

use super::downstream::Ticket;
use super::machine::{Surroundings, UpstreamView};
use super::persona::Persona;
use crate::clock::Clock;
use crate::command::{CommandSpec, Located, Mark};
use crate::metrics::label::{Direction, ErrorCode, FailurePhase, LossOutcome, UpstreamState};
use crate::metrics::publish::Registry;
use crate::metrics::readiness::Readiness;
use crate::metrics::worker::WorkerMetrics;
use crate::resp::{BufferPool, Span, Version};
use crate::routing::Topology;
use crate::settings::{DownstreamLimits, UpstreamSettings};
use crate::tenant::UpstreamLimits;
use crate::tenant::directory::{Binding, Directory};
use crate::upstream::connect::ConnectError;
use crate::upstream::lane::Ended;
use crate::upstream::{Greeting, Lane, LaneEvents};

/// Bytes read from a client at once; a whole pipeline of 64 small requests fits sixteen times.
const READ_BUFFER: usize = 64 * 1024;
/// Bytes that each other buffer keeps between two requests; what one read can fill is kept.
const KEPT_SCRATCH: usize = 256 * 1024;

/// Buffers that are only used while one read is handled.
pub(super) struct Scratch {
    /// What the client sent.
    pub(super) read: Box<[u8]>,
    /// The arguments of the request being scanned.
    pub(super) spans: Vec<Span>,
    /// The names of the request being handled.
    pub(super) located: Located,
    /// Its answer, if the proxy gives it.
    pub(super) answer: BytesMut,
}

impl Scratch {
    /// Gives back what an exceptionally large request took: the scratch is kept for as long as the worker
    /// lives.
    pub(super) fn shrink(&mut self) {
        if self.answer.capacity() > KEPT_SCRATCH {
            self.answer = BytesMut::new();
        }
        if self.located.marks.capacity() > KEPT_SCRATCH / size_of::<Mark>() {
            self.located = Located::new();
        }
    }
}

/// The open lanes by upstream and RESP version; each ends when no session holds it.
type Lanes = HashMap<(usize, Version), Weak<Lane<Ticket>>>;

/// What the sessions of one worker share.
pub struct Commons {
    /// Who may be whom.
    pub(super) directory: Arc<Directory>,
    /// What one client may take.
    pub(super) limits: DownstreamLimits,
    /// The worker's clock.
    pub(super) clock: Rc<Clock>,
    /// The worker's counters.
    pub(super) metrics: RefCell<WorkerMetrics>,
    pub(super) scratch: RefCell<Scratch>,
    /// Buffers for requests that do not arrive at once.
    pub(super) pool: Rc<BufferPool>,
    pub(super) views: RefCell<Vec<UpstreamView>>,
    unknown: Persona,
    readiness: Arc<Readiness>,
    upstreams: Vec<Rc<UpstreamSettings>>,
    lanes: RefCell<Lanes>,
    /// Connections of all workers.
    connections: Arc<AtomicUsize>,
}

impl Commons {
    /// The commons of one worker. `connections` is shared by all workers.
    pub fn new(
        directory: Arc<Directory>,
        limits: DownstreamLimits,
        upstreams: &[UpstreamSettings],
        registry: &Registry,
        connections: Arc<AtomicUsize>,
    ) -> Rc<Self> {
        let view = |_: &UpstreamSettings| UpstreamView {
            persona: Persona::default(),
            topology: Topology::standalone(),
            limits: configured(&limits),
        };
        Rc::new(Self {
            directory,
            limits,
            clock: Rc::new(Clock::start()),
            metrics: RefCell::new(registry.worker()),
            pool: Rc::new(BufferPool::default()),
            scratch: RefCell::new(Scratch {
                read: vec![0; READ_BUFFER].into_boxed_slice(),
                spans: Vec::new(),
                located: Located::new(),
                answer: BytesMut::new(),
            }),
            views: RefCell::new(upstreams.iter().map(view).collect()),
            unknown: Persona::default(),
            readiness: Arc::clone(registry.readiness()),
            upstreams: upstreams.iter().cloned().map(Rc::new).collect(),
            lanes: RefCell::new(HashMap::new()),
            connections,
        })
    }

    /// The worker's counters, for publishing.
    pub fn metrics(&self) -> &RefCell<WorkerMetrics> {
        &self.metrics
    }

    /// Gives memory back that has not been needed lately.
    pub fn release_unused(&self) {
        self.pool.release_unused();
    }

    /// Number of upstreams.
    pub fn upstreams(&self) -> usize {
        self.upstreams.len()
    }

    /// Counts a connection; `false` if there are as many as `max_connections` already.
    pub(super) fn open_connection(&self) -> bool {
        if self.connections.fetch_add(1, Ordering::Relaxed) < self.limits.max_connections {
            return true;
        }
        self.close_connection();
        self.metrics.borrow_mut().connection_refused();
        false
    }

    /// A connection that was counted is closed.
    pub(super) fn close_connection(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }

    /// What upstreams accept as far as the configuration knows.
    pub(super) fn upstream_limits(&self) -> UpstreamLimits {
        configured(&self.limits)
    }

    /// What a session decides by.
    pub(super) fn surroundings<'a>(&'a self, views: &'a [UpstreamView]) -> Surroundings<'a> {
        Surroundings { directory: &self.directory, upstreams: views, unknown: &self.unknown }
    }

    /// The tenant's number in metrics.
    pub(super) fn tenant_number(&self, binding: Option<&Arc<Binding>>) -> usize {
        binding.map_or_else(|| self.metrics.borrow().unbound(), |binding| binding.tenant().index)
    }

    pub(super) fn upstream_name(&self, upstream: usize) -> &str {
        self.upstreams.get(upstream).map_or("-", |settings| settings.name.as_str())
    }

    /// The lane to `upstream` for clients of `version`, opened if there is none. `None`: there is no such
    /// upstream.
    pub(super) fn lane(self: &Rc<Self>, upstream: usize, version: Version) -> Option<Rc<Lane<Ticket>>> {
        let mut lanes = self.lanes.borrow_mut();
        if let Some(lane) = lanes.get(&(upstream, version)).and_then(Weak::upgrade) {
            return Some(lane);
        }
        let settings = Rc::clone(self.upstreams.get(upstream)?);
        let report = LaneReport {
            commons: Rc::downgrade(self),
            upstream,
            name: settings.name.clone(),
            state: Cell::new(None),
        };
        let lane =
            Lane::new(settings, version, Rc::clone(&self.clock), Rc::clone(&self.pool), Box::new(report));
        lanes.insert((upstream, version), Rc::downgrade(&lane));
        drop(tokio::task::spawn_local(Rc::clone(&lane).run()));
        Some(lane)
    }

    /// Keeps one lane to each upstream open, so that the worker knows whether it is there before a client
    /// asks.
    pub fn hold_lanes(self: &Rc<Self>) -> Vec<impl Sized + use<>> {
        (0..self.upstreams.len()).filter_map(|upstream| self.lane(upstream, Version::Resp2)).collect()
    }

    /// The process ends: whoever is still owed a reply is told.
    pub fn give_up(&self) {
        let lanes: Vec<_> = self.lanes.borrow().values().filter_map(Weak::upgrade).collect();
        for lane in lanes {
            lane.give_up();
        }
    }

    /// Replies that lanes owe.
    pub fn owed(&self) -> usize {
        self.lanes.borrow().values().filter_map(Weak::upgrade).map(|lane| lane.owed()).sum()
    }

    /// Counts a request, by its command if that is known.
    pub(super) fn count_command(&self, tenant: usize, spec: Option<&'static CommandSpec>) {
        let mut metrics = self.metrics.borrow_mut();
        let command = spec.map_or_else(|| metrics.unknown_command(), CommandSpec::index);
        metrics.command(tenant, command);
    }

    pub(super) fn count_bytes(&self, tenant: usize, direction: Direction, bytes: usize) {
        self.metrics.borrow_mut().bytes(tenant, direction, bytes as u64);
    }

    pub(super) fn count_error(&self, tenant: usize, code: ErrorCode) {
        self.metrics.borrow_mut().error_reply(tenant, code);
    }

    pub(super) fn count_violation(&self, tenant: usize) {
        self.metrics.borrow_mut().tenant_violation(tenant);
    }
}

fn configured(limits: &DownstreamLimits) -> UpstreamLimits {
    UpstreamLimits { max_bulk: limits.max_bulk, max_request: limits.max_request }
}

/// Tells the worker, its counters and `/readyz` what becomes of a lane.
struct LaneReport {
    commons: Weak<Commons>,
    upstream: usize,
    name: String,
    state: Cell<Option<UpstreamState>>,
}

impl LaneReport {
    /// The lane is in `state` now.
    fn enter(&self, commons: &Commons, state: Option<UpstreamState>) {
        let mut metrics = commons.metrics.borrow_mut();
        if let Some(left) = self.state.replace(state) {
            metrics.upstream_left(self.upstream, left);
        }
        if let Some(entered) = state {
            metrics.upstream_entered(self.upstream, entered);
        }
    }
}

impl LaneEvents for LaneReport {
    fn connecting(&self) {
        let Some(commons) = self.commons.upgrade() else { return };
        self.enter(&commons, Some(UpstreamState::Connecting));
    }

    fn connected(&self, greeting: &Greeting) {
        let Some(commons) = self.commons.upgrade() else { return };
        self.enter(&commons, Some(UpstreamState::Ready));
        commons.metrics.borrow_mut().upstream_connected(self.upstream);
        commons.readiness.upstream_up(self.upstream);
        if let Some(view) = commons.views.borrow_mut().get_mut(self.upstream) {
            view.persona = Persona::from_greeting(greeting);
            let configured = commons.upstream_limits();
            let max_bulk = greeting.max_bulk.map_or(configured.max_bulk, |max| configured.max_bulk.min(max));
            view.limits = UpstreamLimits { max_bulk, ..configured };
        }
        tracing::info!(upstream = %self.name, version = %greeting.version, "upstream connected");
    }

    fn disconnected(&self, ended: &Ended, lost_not_sent: u64, lost_may_have_run: u64) {
        let Some(commons) = self.commons.upgrade() else { return };
        let was_ready = self.state.get() == Some(UpstreamState::Ready);
        self.enter(&commons, Some(UpstreamState::Backoff));
        let mut metrics = commons.metrics.borrow_mut();
        metrics.upstream_failed(self.upstream, phase_of(ended));
        metrics.requests_lost(self.upstream, LossOutcome::NotSent, lost_not_sent);
        metrics.requests_lost(self.upstream, LossOutcome::MayHaveRun, lost_may_have_run);
        if was_ready {
            commons.readiness.upstream_down(self.upstream, &ended.to_string());
            tracing::warn!(upstream = %self.name, reason = %ended, lost_not_sent, lost_may_have_run, "upstream lost");
        } else {
            commons.readiness.upstream_failed(self.upstream, &ended.to_string());
            tracing::warn!(upstream = %self.name, reason = %ended, "cannot connect to upstream");
        }
    }

    fn released(&self) {
        let Some(commons) = self.commons.upgrade() else { return };
        if self.state.get() == Some(UpstreamState::Ready) {
            commons.readiness.upstream_released(self.upstream);
        }
        self.enter(&commons, None);
    }
}

/// The phase in which a connection failed.
fn phase_of(ended: &Ended) -> FailurePhase {
    match ended {
        Ended::NotConnected(ConnectError::Refused(_) | ConnectError::Protocol(_)) => FailurePhase::Handshake,
        Ended::NotConnected(ConnectError::Io(_) | ConnectError::TimedOut(_)) => FailurePhase::Connect,
        Ended::Closed | Ended::Lost(_) => FailurePhase::Closed,
        Ended::ReplyTimeout(_) => FailurePhase::ReplyTimeout,
        Ended::Protocol(_) | Ended::Unowed => FailurePhase::Protocol,
    }
}
