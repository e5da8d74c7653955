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
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::compose::KeyCounts;
use super::downstream::Downstream;
use super::machine::{Peers, Session, Surroundings, UpstreamView};
use super::persona::{Payloads, Persona};
use super::quota::{self, Budget, Quota};
use super::rations::Rations;
use super::retries::Answered;
use super::subscriptions;
use super::ticket::Ticket;
use super::told::Told;
use super::volume::Expectations;
use super::weight::Holdings;
use crate::clients::{Card, Clients, Note, SlowEntry, TenantClients};
use crate::clock::Clock;
use crate::command::{CommandSpec, Flags, Located, Mark, TABLE};
use crate::memory::Gauge;
use crate::metrics::label::{
    Direction, ErrorCode, FailurePhase, LimitAction, LimitKind, LossOutcome, Shed, UpstreamState,
};
use crate::metrics::publish::Registry;
use crate::metrics::readiness::Readiness;
use crate::metrics::worker::WorkerMetrics;
use crate::policy::retry_budget::RetryBudget;
use crate::resp::{BufferPool, Span, Version};
use crate::routing::Access;
use crate::routing::redirect::Target;
use crate::routing::topology::{NodeId, Topology};
use crate::settings::{DownstreamLimits, Endpoint, Restore, ScopedSettings, UpstreamSettings};
use crate::tenant::UpstreamLimits;
use crate::tenant::compression::Tally;
use crate::tenant::directory::{Binding, Directory};
use crate::tenant::limits::{Limits, Measure};
use crate::tenant::prefix::Prefix;
use crate::upstream::connect::ConnectError;
use crate::upstream::dedicated::Clean;
use crate::upstream::handshake::Script;
use crate::upstream::lane::Ended;
use crate::upstream::nodes::{Nodes, reachable};
use crate::upstream::{
    Failure, Feed, Fingerprint, Greeting, Healths, Holder, Lane, LaneEvents, Lease, Leases, Load, Times,
};

/// Bytes read from a client at once; a whole pipeline of 64 small requests fits sixteen times.
const READ_BUFFER: usize = 64 * 1024;
/// Bytes that each other buffer keeps between two requests; what one read can fill is kept.
const KEPT_SCRATCH: usize = 256 * 1024;

/// Walks over the keyspace that a worker does for one tenant at a time. Each keeps one page under way, which
/// holds Redis for 0.8 ms: more at once would be a tenant's way to slow down everybody.
const MAX_WALKS: usize = 2;

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

/// The open lanes; each ends when no session holds it.
type Lanes = HashMap<Fingerprint, Weak<Lane<Ticket>>>;

/// What all workers share.
#[derive(Clone, Debug)]
pub struct Shared {
    /// Who may be whom.
    pub directory: Arc<Directory>,
    /// Who is connected.
    pub clients: Arc<Clients>,
    /// Connections of clients.
    pub connections: Arc<AtomicUsize>,
    /// Dedicated upstream connections, one semaphore for each upstream.
    pub leases: Arc<[Arc<Semaphore>]>,
    /// The addresses of the upstreams' nodes.
    pub nodes: Arc<Nodes>,
    /// What is known of each upstream's nodes.
    pub feeds: Arc<[Feed]>,
    /// How they are.
    pub healths: Arc<Healths>,
    /// How short memory is.
    pub memory: Arc<Gauge>,
    /// How many requests of each upstream may be sent again.
    pub retry_budgets: Arc<[RetryBudget]>,
    /// What cursors of `SCAN` are encrypted with.
    pub cursor_secret: [u8; 32],
    /// The beginning of all clocks.
    pub epoch: Instant,
}

/// What the sessions of one worker share.
pub struct Commons {
    /// What all workers share.
    pub(super) shared: Shared,
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
    /// What the primaries of each upstream have said.
    told: RefCell<Vec<Told>>,
    unknown: Persona,
    readiness: Arc<Readiness>,
    /// Whose new sessions take the lane for large values.
    pub(super) expectations: Expectations,
    /// How often each tenant has its turn on a lane, by number.
    weights: Arc<[u32]>,
    /// The worker's number, in what it reports.
    pub(super) number: usize,
    /// What its clients hold.
    pub(super) holdings: Holdings,
    upstreams: Vec<Rc<UpstreamSettings>>,
    lanes: RefCell<Lanes>,
    /// Clients whose ears must be brought in line with a new topology.
    hearers: RefCell<Vec<Weak<Downstream>>>,
    /// The dedicated connections of this worker.
    pub(super) leases: Leases<Ticket>,
    /// Replies that the retry budgets have not been told of.
    pub(super) answered: Answered,
    /// Turns of the tenants' walks over the keyspace.
    walks: RefCell<HashMap<usize, Rc<Semaphore>>>,
    /// Numbers of keys that were counted lately, by where.
    pub(super) key_counts: RefCell<HashMap<Prefix, KeyCounts>>,
    /// From how many microseconds on a command is slow.
    pub(super) slow_micros: u32,
    /// When the last slow reply came: those that came with it waited for the same.
    last_slow: Cell<Times>,
    /// The worker's part of what tenants and users may take.
    rations: Rations,
}

impl Commons {
    /// The commons of one worker.
    pub fn new(
        shared: Shared,
        limits: DownstreamLimits,
        scoped: &ScopedSettings,
        upstreams: &[UpstreamSettings],
        registry: &Registry,
    ) -> Rc<Self> {
        let view = |(settings, feed): (&UpstreamSettings, &Feed)| UpstreamView {
            persona: Persona::default(),
            topology: feed.current(),
            limits: configured(&limits),
            payloads: Payloads::Unknown,
            database: settings.database,
        };
        let views: Vec<UpstreamView> = upstreams.iter().zip(shared.feeds.iter()).map(view).collect();
        let upstreams: Vec<Rc<UpstreamSettings>> = upstreams.iter().cloned().map(Rc::new).collect();
        let commons = Rc::new(Self {
            limits,
            clock: Rc::new(Clock::since(shared.epoch)),
            metrics: RefCell::new(registry.worker()),
            pool: Rc::new(BufferPool::default()),
            scratch: RefCell::new(Scratch {
                read: vec![0; READ_BUFFER].into_boxed_slice(),
                spans: Vec::new(),
                located: Located::new(),
                answer: BytesMut::new(),
            }),
            told: RefCell::new(views.iter().map(|_| Told::default()).collect()),
            views: RefCell::new(views),
            unknown: Persona::default(),
            expectations: Expectations::of(shared.directory.tenants().len()),
            weights: shared.directory.tenants().iter().map(|tenant| tenant.weight).collect(),
            number: registry.readiness().next_worker(),
            holdings: Holdings::default(),
            readiness: Arc::clone(registry.readiness()),
            lanes: RefCell::new(HashMap::new()),
            hearers: RefCell::default(),
            leases: Leases::new(&upstreams, &shared.leases),
            answered: Answered::nothing(upstreams.len()),
            upstreams,
            slow_micros: u32::try_from(scoped.slow_command.as_micros()).unwrap_or(u32::MAX),
            last_slow: Cell::default(),
            walks: RefCell::default(),
            key_counts: RefCell::default(),
            rations: Rations::new(&shared.directory),
            shared,
        });
        (0..commons.upstreams()).for_each(|upstream| commons.describe(upstream));
        commons
    }

    /// The worker's counters, for publishing.
    pub fn metrics(&self) -> &RefCell<WorkerMetrics> {
        &self.metrics
    }

    /// Tells each tenant what went through its connections since the counters were last published.
    pub fn add_up_traffic(&self) {
        let tenants = self.shared.directory.tenants();
        for (tenant, [commands, bytes_in, bytes_out]) in self.metrics.borrow().traffic() {
            if let Some(clients) = tenants.get(tenant).and_then(|tenant| self.shared.clients.of(tenant)) {
                clients.traffic().add(commands, bytes_in, bytes_out);
            }
        }
    }

    /// Gives memory back that has not been needed lately.
    pub fn release_unused(&self) {
        self.revisit_heavy();
        self.pool.release_unused();
        self.leases.release_unused();
        self.rations.hand_in();
    }

    /// Number of upstreams.
    pub fn upstreams(&self) -> usize {
        self.upstreams.len()
    }

    /// Counts a connection; `false` if there are as many as `max_connections` already.
    pub(super) fn open_connection(&self) -> bool {
        if self.shared.connections.fetch_add(1, Ordering::Relaxed) < self.limits.max_connections {
            return true;
        }
        self.close_connection();
        self.metrics.borrow_mut().connection_refused();
        false
    }

    /// Whether a new connection is refused because memory is short; if so, that is counted.
    pub(crate) fn refuses_connections(&self) -> bool {
        let is_short = self.shared.memory.level().is_short();
        if is_short {
            let mut metrics = self.metrics.borrow_mut();
            metrics.connection_refused();
            metrics.refused_for_memory(Shed::Connection);
        }
        is_short
    }

    /// A connection that was counted is closed.
    pub(super) fn close_connection(&self) {
        self.shared.connections.fetch_sub(1, Ordering::Relaxed);
    }

    /// What upstreams accept as far as the configuration knows.
    pub(super) fn upstream_limits(&self) -> UpstreamLimits {
        configured(&self.limits)
    }

    /// What a session decides by, whoever it belongs to.
    pub(super) fn surroundings<'a>(&'a self, views: &'a [UpstreamView]) -> Surroundings<'a> {
        Surroundings {
            directory: &self.shared.directory,
            upstreams: views,
            unknown: &self.unknown,
            peers: self,
            quota: None,
            shortage: self.shortage(),
        }
    }

    /// What the session's tenant and user may take; `None`: whatever there is.
    #[inline]
    pub(super) fn quota_of(&self, session: &Session) -> Option<&Rc<Quota>> {
        let binding = session.binding()?;
        self.rations.of(binding.quota()?, binding)
    }

    /// What a request is asked for against. `is_paid`: it has been charged.
    #[inline]
    pub(super) fn budget(&self, session: &Session, is_paid: bool) -> Option<Budget<'_>> {
        let quota = self.quota_of(session)?;
        Some(Budget { quota, now: self.clock.nanos(), is_paid })
    }

    /// Counts what became of a request that a limit had something against.
    pub(super) fn count_limited(&self, tenant: usize, noted: quota::Noted) {
        let limit = match noted.limit {
            quota::Limited::Rate(Measure::Requests, false) => LimitKind::Requests,
            quota::Limited::Rate(Measure::RequestBytes, false) => LimitKind::RequestBytes,
            quota::Limited::Rate(Measure::ReplyBytes, false) => LimitKind::ReplyBytes,
            quota::Limited::Rate(Measure::Requests, true) => LimitKind::ClassRequests,
            quota::Limited::Rate(Measure::RequestBytes, true) => LimitKind::ClassRequestBytes,
            quota::Limited::Rate(Measure::ReplyBytes, true) => LimitKind::ClassReplyBytes,
            quota::Limited::InFlight => LimitKind::InFlight,
        };
        let mut metrics = self.metrics.borrow_mut();
        match noted.action {
            quota::Action::Rejected => metrics.limited(tenant, limit, LimitAction::Rejected),
            quota::Action::DryRun => metrics.limited(tenant, limit, LimitAction::DryRun),
            quota::Action::Delayed(nanos) => {
                metrics.limited(tenant, limit, LimitAction::Delayed);
                metrics.delayed(tenant, u32::try_from(nanos / 1000).unwrap_or(u32::MAX));
            }
        }
    }

    /// The clients of the session's tenant.
    pub(super) fn clients_of(&self, session: &Session) -> Option<&Arc<TenantClients>> {
        self.shared.clients.of(session.binding()?.tenant())
    }

    /// The upstream database that the virtual databases of the session's tenant lie in.
    pub(super) fn shared_database(&self, session: &Session) -> u32 {
        let upstream = session.binding().map_or(usize::MAX, |binding| binding.tenant().upstream);
        self.upstreams.get(upstream).map_or(0, |settings| settings.database)
    }

    /// Shows an invalidation to the client that another one redirects to.
    pub(super) fn redirect(&self, session: &mut Session, keys: Option<&[Bytes]>, out: &mut BytesMut) {
        let Some(id) = session.redirect() else { return };
        let peer = self.clients_of(session).and_then(|clients| clients.find(id));
        let Some(peer) = peer else { return session.redirect_is_broken(out) };
        let (version, is_subscribed) = peer.with_facts(|facts| (facts.version, facts.is_subscribed()));
        // A RESP2 client hears it as a message, hence only while it listens to messages.
        if version == Version::Resp3 || is_subscribed {
            let mut push = BytesMut::new();
            subscriptions::write_invalidation(keys, (version, session.version()), &mut push);
            peer.post(Note::Push(push.freeze()));
        }
    }

    /// A command took long, as its tenant's `SLOWLOG` will say.
    #[cold]
    pub(super) fn note_slow(&self, session: &Session, card: &Card, command: u16, times: Times) {
        if self.last_slow.replace(times) == times {
            return;
        }
        let Some(spec) = TABLE.get(usize::from(command)) else { return };
        let Some(clients) = self.clients_of(session) else { return };
        if spec.flags.intersects(Flags::SKIP_SLOWLOG | Flags::BLOCKING) {
            return;
        }
        let words = spec.name.split(' ').map(|word| word.as_bytes().into()).collect();
        let micros = u64::from(times.read_at.since(times.sent_at));
        clients.slow_log().record(SlowEntry::new(card, words, unix_micros() / 1_000_000, micros));
    }

    /// A dedicated connection for `holder`.
    pub(super) fn lease(
        self: &Rc<Self>,
        fingerprint: Fingerprint,
        permit: OwnedSemaphorePermit,
        holder: Weak<dyn Holder<Ticket>>,
    ) -> Option<Lease<Clean, Ticket>> {
        let report = || -> Box<dyn LaneEvents> {
            Box::new(LeaseReport { commons: Rc::downgrade(self), upstream: fingerprint.upstream })
        };
        let health = self.shared.healths.of(fingerprint.upstream, fingerprint.node)?;
        self.leases.lease((health, fingerprint), permit, (&self.clock, &self.pool), report, holder)
    }

    /// The client hears of new topologies.
    pub(super) fn add_hearer(&self, hearer: &Weak<Downstream>) {
        let mut hearers = self.hearers.borrow_mut();
        // Those that have gone leave when there would be no room without them.
        if hearers.len() == hearers.capacity() {
            hearers.retain(|hearer| hearer.strong_count() > 0);
        }
        hearers.push(Weak::clone(hearer));
    }

    fn tell_hearers(&self) {
        self.hearers.borrow().iter().filter_map(Weak::upgrade).for_each(|hearer| hearer.wake());
    }

    /// How often one request may be sent again.
    pub(super) fn max_redirects(&self, upstream: usize) -> u8 {
        self.upstreams.get(upstream).map_or(0, |settings| settings.max_redirects)
    }

    /// How long a node may take to reply to a command.
    pub(super) fn reply_timeout(&self, upstream: usize, command: u16) -> Duration {
        self.upstreams.get(upstream).map_or(Duration::ZERO, |settings| settings.reply_timeout_of(command))
    }

    /// The node that another one, `from`, names.
    pub(super) fn node_at(&self, target: Target<'_>, from: Fingerprint) -> Option<NodeId> {
        let host = match (target.host, self.shared.nodes.endpoint(from.node)?) {
            (Some(host), _) => host.to_owned(),
            (None, Endpoint::Tcp { host, .. }) => host,
            (None, Endpoint::Unix(_)) => return None,
        };
        let announced = Endpoint::Tcp { host, port: target.port };
        let map = &self.upstreams.get(from.upstream)?.address_map;
        self.shared.nodes.number(&reachable(map, announced))
    }

    /// The topology of the session's upstream, if it can change and is known.
    pub(super) fn changing_topology(&self, session: &Session) -> Option<Arc<Topology>> {
        let upstream = session.binding()?.tenant().upstream;
        let topology = self.with_view(upstream, |view| Arc::clone(&view.topology))?;
        Some(topology).filter(|topology| self.is_moving(upstream) && topology.is_known())
    }

    /// Why the node cannot be reached, as far as the shared connection to it knows.
    pub(super) fn why_down(&self, to: Fingerprint) -> Option<Failure> {
        let health = self.shared.healths.of(to.upstream, to.node)?;
        if let Some(refusal) = health.refusal() {
            return Some(refusal);
        }
        let lane = self.lanes.borrow().get(&held(to.upstream, to.node)).and_then(Weak::upgrade)?;
        if lane.is_over() { None } else { lane.why_down() }
    }

    /// Whether its node is asked nothing now, because its breaker is open. Asks for other nodes.
    pub(super) fn is_refused(&self, to: Fingerprint) -> bool {
        let is_refused = self.shared.healths.of(to.upstream, to.node).is_some_and(|health| health.refuses());
        if is_refused && let Some(feed) = self.shared.feeds.get(to.upstream) {
            feed.ask();
        }
        is_refused
    }

    /// Whether the upstream's nodes change.
    pub(super) fn is_moving(&self, upstream: usize) -> bool {
        self.upstreams.get(upstream).is_some_and(|settings| !settings.deployment.is_fixed())
    }

    /// The tenant's number in metrics.
    pub(super) fn tenant_number(&self, binding: Option<&Arc<Binding>>) -> usize {
        binding.map_or_else(|| self.metrics.borrow().unbound(), |binding| binding.tenant().index)
    }

    pub(super) fn upstream_name(&self, upstream: usize) -> &str {
        self.upstreams.get(upstream).map_or("-", |settings| settings.name.as_str())
    }

    /// The shared lane of this fingerprint, opened if there is none. `None`: there is no such upstream.
    pub(super) fn lane(self: &Rc<Self>, fingerprint: Fingerprint) -> Option<Rc<Lane<Ticket>>> {
        let mut lanes = self.lanes.borrow_mut();
        let open = lanes.get(&fingerprint).and_then(Weak::upgrade).filter(|lane| !lane.is_over());
        if open.is_some() {
            return open;
        }
        let upstream = fingerprint.upstream;
        let settings = Rc::clone(self.upstreams.get(upstream)?);
        let health = self.shared.healths.of(upstream, fingerprint.node)?;
        let report = LaneReport {
            commons: Rc::downgrade(self),
            upstream,
            node: fingerprint.node,
            primary: (fingerprint == held(upstream, fingerprint.node)).then_some(fingerprint.node),
            name: settings.name.clone(),
            state: Cell::new(None),
        };
        let (clock, pool) = (Rc::clone(&self.clock), Rc::clone(&self.pool));
        let of = (Box::new(report) as Box<dyn LaneEvents>, Arc::clone(&self.weights));
        let lane = Lane::new(settings, (health, fingerprint, Script::Shared), clock, pool, of);
        lanes.insert(fingerprint, Rc::downgrade(&lane));
        drop(tokio::task::spawn_local(Rc::clone(&lane).run()));
        Some(lane)
    }

    /// Follows the upstream's topology, and keeps one lane to each of its primaries open, so that the worker
    /// knows whether it is there before a client asks. Ends with the worker.
    pub async fn follow(self: Rc<Self>, upstream: usize) {
        let Some(mut feed) = self.shared.feeds.get(upstream).cloned() else { return };
        loop {
            let topology = feed.current();
            self.shared.healths.topology_is(upstream, &topology);
            let primaries = topology.shards().iter().map(|shard| shard.primary);
            let numbers: Vec<u32> = primaries.clone().map(|node| node.0).collect();
            self.readiness.primaries_are(upstream, topology.version(), numbers);
            let _held: Vec<_> = primaries.filter_map(|node| self.lane(held(upstream, node))).collect();
            if let Some(view) = self.views.borrow_mut().get_mut(upstream) {
                view.topology = Arc::clone(&topology);
            }
            self.tell_hearers();
            self.describe(upstream);
            if !feed.changed().await {
                // It is one node for ever.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Makes of the upstream what its primaries are now.
    fn describe(&self, upstream: usize) {
        let (mut views, told) = (self.views.borrow_mut(), self.told.borrow());
        let known = views.get_mut(upstream).zip(told.get(upstream)).zip(self.upstreams.get(upstream));
        if let Some(((view, told), settings)) = known {
            told.describe(view, settings.restore, self.upstream_limits());
        }
    }

    /// Whether a payload may be sent to `node`, which was not the one that was asked first.
    pub(super) fn may_have_payload(&self, upstream: usize, node: NodeId) -> bool {
        match self.upstreams.get(upstream).map(|settings| settings.restore) {
            Some(Restore::Always) => true,
            Some(Restore::Checked) => {
                self.told.borrow().get(upstream).is_some_and(|told| told.checks_payloads(node))
            }
            Some(Restore::Never) | None => false,
        }
    }

    /// What a primary says of itself, or that it is connected no more.
    fn hear(&self, upstream: usize, primary: NodeId, greeting: Option<&Greeting>) {
        if let Some(told) = self.told.borrow_mut().get_mut(upstream) {
            match greeting {
                Some(greeting) => told.hear(primary, greeting),
                None => told.forget(primary),
            }
        }
        self.describe(upstream);
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
    #[inline]
    pub(super) fn count_command(&self, tenant: usize, spec: Option<&'static CommandSpec>) -> u16 {
        let mut metrics = self.metrics.borrow_mut();
        let command = spec.map_or_else(|| metrics.unknown_command(), CommandSpec::index);
        metrics.command(tenant, command);
        u16::try_from(command).unwrap_or(u16::MAX)
    }

    /// Major and minor version of the session's upstream.
    pub(super) fn release(&self, session: &Session) -> (u32, u32) {
        let upstream = session.binding().map_or(usize::MAX, |binding| binding.tenant().upstream);
        self.with_view(upstream, |view| view.persona.release()).unwrap_or_else(|| self.unknown.release())
    }

    /// How many commands the session's upstream has that a tenant is served.
    pub(super) fn served_commands(&self, session: &Session) -> usize {
        let upstream = session.binding().map_or(usize::MAX, |binding| binding.tenant().upstream);
        self.with_view(upstream, |view| view.persona.served_commands()).unwrap_or(0)
    }

    /// The turns of one tenant's walks over the keyspace.
    pub(super) fn walks_of(&self, tenant: usize) -> Rc<Semaphore> {
        let mut walks = self.walks.borrow_mut();
        Rc::clone(walks.entry(tenant).or_insert_with(|| Rc::new(Semaphore::new(MAX_WALKS))))
    }

    /// Whether the session's tenant has a user of this name.
    pub(super) fn has_user(&self, session: &Session, name: &[u8]) -> bool {
        session.binding().is_some_and(|binding| self.shared.directory.is_user_of(binding.tenant(), name))
    }

    /// Something of what is known of an upstream; `None`: there is no such upstream.
    pub(super) fn with_view<T>(&self, upstream: usize, of: impl FnOnce(&UpstreamView) -> T) -> Option<T> {
        self.views.borrow().get(upstream).map(of)
    }

    pub(super) fn count_bytes(&self, tenant: usize, direction: Direction, bytes: usize) {
        self.metrics.borrow_mut().bytes(tenant, direction, bytes as u64);
    }

    pub(super) fn count_error(&self, tenant: usize, code: ErrorCode) {
        self.metrics.borrow_mut().error_reply(tenant, code);
    }

    /// Values of a request were compressed.
    #[inline]
    pub(super) fn count_compressed(&self, tenant: usize, Tally { written, stored }: Tally) {
        if written > 0 {
            self.metrics.borrow_mut().compressed(tenant, u64::from(written), u64::from(stored));
        }
    }

    pub(super) fn count_violation(&self, tenant: usize) {
        self.metrics.borrow_mut().tenant_violation(tenant);
    }
}

impl Peers for Commons {
    fn exists(&self, tenant: usize, id: u64) -> bool {
        let tenant = self.shared.directory.tenants().get(tenant);
        let clients = tenant.and_then(|tenant| self.shared.clients.of(tenant));
        clients.is_some_and(|clients| clients.find(id).is_some())
    }

    fn is_beyond(&self, limits: &Limits) {
        let action = if limits.is_dry_run { LimitAction::DryRun } else { LimitAction::Rejected };
        let tenants = self.shared.directory.tenants();
        let tenant = tenants.iter().position(|tenant| tenant.name == limits.owner.tenant);
        let tenant = tenant.unwrap_or(tenants.len());
        self.metrics.borrow_mut().limited(tenant, LimitKind::Connections, action);
    }
}

impl std::fmt::Debug for Commons {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Commons")
    }
}

/// Microseconds since 1970, for what people read.
pub(super) fn unix_micros() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "this is the shell's wall clock")]
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |now| u64::try_from(now.as_micros()).unwrap_or(u64::MAX))
}

/// Counts what becomes of a dedicated connection.
struct LeaseReport {
    commons: Weak<Commons>,
    upstream: usize,
}

impl LaneEvents for LeaseReport {
    fn connecting(&self) {}

    fn connected(&self, _: &Greeting) {
        if let Some(commons) = self.commons.upgrade() {
            commons.metrics.borrow_mut().upstream_connected(self.upstream);
        }
    }

    fn disconnected(&self, ended: &Ended, lost_not_sent: u64, lost_may_have_run: u64) {
        let Some(commons) = self.commons.upgrade() else { return };
        let mut metrics = commons.metrics.borrow_mut();
        if !matches!(ended, Ended::Unwanted | Ended::NotAsked(_)) {
            metrics.upstream_failed(self.upstream, phase_of(ended));
            metrics.requests_lost(self.upstream, LossOutcome::NotSent, lost_not_sent);
            metrics.requests_lost(self.upstream, LossOutcome::MayHaveRun, lost_may_have_run);
        }
    }

    fn released(&self) {}

    fn is_wanted(&self) -> bool {
        true
    }
}

fn configured(limits: &DownstreamLimits) -> UpstreamLimits {
    UpstreamLimits { max_bulk: limits.max_bulk, max_request: limits.max_request }
}

/// The lane that each worker keeps open to a primary.
fn held(upstream: usize, node: NodeId) -> Fingerprint {
    let (access, version, load) = (Access::ReadWrite, Version::Resp2, Load::Light);
    Fingerprint { upstream, node, access, version, database: None, load }
}

/// Tells the worker, its counters and `/readyz` what becomes of a lane.
struct LaneReport {
    commons: Weak<Commons>,
    upstream: usize,
    node: NodeId,
    /// The node, if the lane is the one that is kept open to it while it is a primary.
    primary: Option<NodeId>,
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
        if let Some(primary) = self.primary {
            commons.hear(self.upstream, primary, Some(greeting));
            commons.readiness.primary_up(self.upstream, (commons.number, primary.0));
        }
        tracing::info!(upstream = %self.name, version = %greeting.version, "upstream connected");
    }

    fn disconnected(&self, ended: &Ended, lost_not_sent: u64, lost_may_have_run: u64) {
        let Some(commons) = self.commons.upgrade() else { return };
        let was_ready = self.state.get() == Some(UpstreamState::Ready);
        if let Some(primary) = self.primary {
            commons.hear(self.upstream, primary, None);
            let reason = ended.to_string();
            if was_ready {
                commons.readiness.primary_down(self.upstream, primary.0, &reason);
            } else {
                commons.readiness.primary_failed(self.upstream, primary.0, &reason);
            }
        }
        self.enter(&commons, Some(UpstreamState::Backoff));
        let mut metrics = commons.metrics.borrow_mut();
        if !matches!(ended, Ended::NotAsked(_)) {
            metrics.upstream_failed(self.upstream, phase_of(ended));
        }
        metrics.requests_lost(self.upstream, LossOutcome::NotSent, lost_not_sent);
        metrics.requests_lost(self.upstream, LossOutcome::MayHaveRun, lost_may_have_run);
        if was_ready {
            tracing::warn!(upstream = %self.name, reason = %ended, lost_not_sent, lost_may_have_run, "upstream lost");
        } else {
            tracing::warn!(upstream = %self.name, reason = %ended, "cannot connect to upstream");
        }
    }

    fn released(&self) {
        let Some(commons) = self.commons.upgrade() else { return };
        if let Some(primary) = self.primary {
            commons.hear(self.upstream, primary, None);
            if self.state.get() == Some(UpstreamState::Ready) {
                commons.readiness.primary_released(self.upstream, primary.0);
            }
        }
        self.enter(&commons, None);
    }

    fn is_wanted(&self) -> bool {
        let Some(commons) = self.commons.upgrade() else { return false };
        let is_node = commons.with_view(self.upstream, |view| view.topology.shard_of(self.node).is_some());
        is_node.unwrap_or(false)
    }
}

/// The phase in which a connection failed.
fn phase_of(ended: &Ended) -> FailurePhase {
    match ended {
        Ended::NotConnected(ConnectError::Refused(_) | ConnectError::Protocol(_)) => FailurePhase::Handshake,
        Ended::NotConnected(ConnectError::Io(_) | ConnectError::TimedOut(_)) => FailurePhase::Connect,
        Ended::Closed | Ended::Lost(_) | Ended::Unwanted | Ended::NotAsked(_) => FailurePhase::Closed,
        Ended::ReplyTimeout(_) => FailurePhase::ReplyTimeout,
        Ended::Protocol(_) | Ended::Unowed | Ended::HugePush => FailurePhase::Protocol,
    }
}
