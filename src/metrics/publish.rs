//! From the workers' counts to the process-wide series and their text.
//!
//! Counters and gauges live in the Prometheus recorder, which is private to the [`Registry`] and not
//! installed for the whole process: nothing can be counted past the table in [`names`]. Histograms do not:
//! the recorder keeps every single sample until somebody drains it, while a worker has bucket counts already,
//! so those are added up and rendered here (`docs/decisions/0003-worker-local-metrics.md`).

use super::label::{
    BreakerPhase, Direction, ErrorCode, FailurePhase, LeaseReason, LimitAction, LimitKind, LossOutcome,
    NodeRole, Overrun, ResendCause, RetryVerdict, Shed, UpstreamState,
};
use super::latency::SharedLatency;
use super::names::{self, Family, Kind, Label};
use super::process;
use super::readiness::Readiness;
use super::text;
use super::worker::{ProcessCounts, TenantCounts, UpstreamCounts, WorkerMetrics};
use metrics::{Counter, Gauge, Key, Level, Metadata, Recorder, SharedString};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Label value of what has no name in the configuration or the command table.
const NONE: &str = "-";

/// Everything that can be a label value, in the order that gives each its number.
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// Tenants of the configuration.
    pub tenants: Vec<String>,
    /// Known commands as their label spells them: `get`, `config|get`.
    pub commands: Vec<String>,
    /// Upstreams of the configuration.
    pub upstreams: Vec<String>,
}

/// What is known of the nodes of one upstream, in numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TopologyFigures {
    /// How often somebody was asked.
    pub refreshes: u64,
    /// How often the answer was another one.
    pub changes: u64,
    /// Since when it has not been confirmed.
    pub age: Duration,
    /// Nodes by [`NodeRole`].
    pub nodes: [usize; NodeRole::COUNT],
    /// Slots without an owner.
    pub unserved: usize,
}

/// What one tenant's budgets of the fleet did since the last time, and how they are.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FleetFigures {
    /// Times that a slice was asked for.
    pub asks: u64,
    /// Times that something was granted.
    pub grants: u64,
    /// Times that there was no answer.
    pub failures: u64,
    /// Budgets that live on their last slices.
    pub alone: usize,
    /// Time since the last answer about the one that waits longest.
    pub age: Duration,
}

/// How the nodes of one upstream are, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BreakerFigures {
    /// Nodes by [`BreakerPhase`].
    pub nodes: [usize; BreakerPhase::COUNT],
    /// How often a node entered each.
    pub entered: [u64; BreakerPhase::COUNT],
    /// Requests that were not sent.
    pub rejected: u64,
}

/// What is known of the process' memory.
#[derive(Clone, Copy, Debug)]
pub struct MemoryFigures {
    /// Bytes it may take.
    pub ceiling: u64,
    /// How short it is, from 0.
    pub level: u8,
    /// Bytes that clients make it hold.
    pub held_by_clients: u64,
}

/// The series of the process. A clone is another handle to the same series.
#[derive(Clone)]
pub struct Registry {
    shared: Arc<Shared>,
}

/// What the registry, its clones and the publishers of all workers have in common.
struct Shared {
    recorder: PrometheusRecorder,
    exposition: PrometheusHandle,
    tenants: Vec<SharedString>,
    commands: Vec<SharedString>,
    upstreams: Vec<SharedString>,
    /// One per tenant and one for connections without; allocated when there is something to count.
    latencies: Vec<OnceLock<Box<Latencies>>>,
    readiness: Arc<Readiness>,
}

/// The histograms of one tenant.
#[derive(Default)]
struct Latencies {
    client: SharedLatency,
    upstream: SharedLatency,
    proxy: SharedLatency,
    delayed: SharedLatency,
}

/// Picks one of a tenant's histograms.
type Part = fn(&Latencies) -> &SharedLatency;

impl Registry {
    /// The series of a process with these tenants, commands and upstreams.
    pub fn new(names: Names) -> Self {
        let recorder = PrometheusBuilder::new().build_recorder();
        let shared = Shared {
            exposition: recorder.handle(),
            recorder,
            latencies: (0..=names.tenants.len()).map(|_| OnceLock::new()).collect(),
            readiness: Arc::new(Readiness::new(names.upstreams.iter().cloned())),
            tenants: shared_strings(names.tenants),
            commands: shared_strings(names.commands),
            upstreams: shared_strings(names.upstreams),
        };
        shared.describe();
        shared.start_at_zero();
        Self { shared: Arc::new(shared) }
    }

    /// Counts for one more worker, of the right size for these names.
    pub fn worker(&self) -> WorkerMetrics {
        let Shared { tenants, commands, upstreams, .. } = &*self.shared;
        WorkerMetrics::new(tenants.len(), commands.len(), upstreams.len())
    }

    /// What one worker publishes through; it keeps the handles that the worker has needed so far.
    pub fn publisher(&self) -> Publisher {
        Publisher { shared: Arc::clone(&self.shared), counters: HashMap::new(), gauges: HashMap::new() }
    }

    /// Where workers report which upstreams they reach.
    pub fn readiness(&self) -> &Arc<Readiness> {
        &self.shared.readiness
    }

    /// How many connections a tenant may have; only of tenants that have such a limit.
    pub fn connection_limit_is(&self, tenant: usize, most: u64) {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        self.shared.set(&names::CONNECTION_LIMIT, [tenant, 0], most);
    }

    /// Takes over what is known of the nodes of each upstream; `None`: it is one node, and no more is to be known.
    pub fn topologies_are(&self, topologies: impl IntoIterator<Item = Option<TopologyFigures>>) {
        for (upstream, figures) in topologies.into_iter().enumerate() {
            if let Some(figures) = figures {
                self.shared.update_topology(upstream, figures);
            }
        }
    }

    /// Adds what a tenant's budgets of the fleet did.
    pub fn fleet_is(&self, tenant: usize, figures: FleetFigures) {
        let (shared, at) = (&self.shared, [tenant, 0]);
        let FleetFigures { asks, grants, failures, alone, age } = figures;
        shared.counter(&names::FLEET_ASKS, at).increment(asks);
        shared.counter(&names::FLEET_GRANTS, at).increment(grants);
        shared.counter(&names::FLEET_FAILURES, at).increment(failures);
        shared.gauge(&names::FLEET_GRANT_AGE, at).set(age.as_secs_f64());
        shared.set(&names::FLEET_ALONE, at, alone);
    }

    /// Takes over how the nodes of each upstream are.
    pub fn breakers_are(&self, breakers: impl IntoIterator<Item = BreakerFigures>) {
        for (upstream, figures) in breakers.into_iter().enumerate() {
            self.shared.update_breakers(upstream, figures);
        }
    }

    /// Takes over how much memory there is and how short it is.
    pub fn memory_is(&self, MemoryFigures { ceiling, level, held_by_clients }: MemoryFigures) {
        #[expect(clippy::cast_precision_loss, reason = "the exposition has nothing but floating point")]
        let bytes = |bytes: u64| bytes as f64;
        self.shared.gauge(&names::MEMORY_CEILING, [0, 0]).set(bytes(ceiling));
        self.shared.gauge(&names::MEMORY_LEVEL, [0, 0]).set(f64::from(level));
        self.shared.gauge(&names::CLIENT_MEMORY, [0, 0]).set(bytes(held_by_clients));
    }

    /// All series as Prometheus text (version 0.0.4). Takes time in proportion to their number: for the
    /// admin thread, not for a worker.
    pub fn render(&self) -> String {
        self.shared.update_readiness();
        let mut out = self.shared.exposition.render();
        self.shared.render_latencies(&mut out);
        process::render(&mut out);
        out
    }
}

fn shared_strings(names: Vec<String>) -> Vec<SharedString> {
    names.into_iter().map(|name| SharedString::from_shared(Arc::from(name))).collect()
}

impl Shared {
    fn describe(&self) {
        for family in names::ALL {
            let (name, text) = (family.name.into(), family.description.into());
            match family.kind {
                Kind::Counter => self.recorder.describe_counter(name, None, text),
                Kind::Gauge => self.recorder.describe_gauge(name, None, text),
                Kind::Histogram => self.recorder.describe_histogram(name, None, text),
            }
        }
    }

    /// Makes the series whose absence would look like an answer: an alert on a violation must see the step
    /// from 0 to 1, and an upstream without failures differs from one that nobody watches.
    fn start_at_zero(&self) {
        let version = metrics::Label::from_static_parts(Label::Version.name(), env!("CARGO_PKG_VERSION"));
        let build = Key::from_parts(names::BUILD_INFO.name, vec![version]);
        self.recorder.register_gauge(&build, &METADATA).set(1.0);
        for tenant in 0..self.tenants.len() {
            self.counter(&names::TENANT_VIOLATIONS, [tenant, 0]).increment(0);
        }
        for family in [
            &names::CONNECTIONS_OPENED,
            &names::CONNECTIONS_REFUSED,
            &names::AUTHENTICATION_FAILURES,
            &names::PROTOCOL_ERRORS,
        ] {
            self.counter(family, [0, 0]).increment(0);
        }
        for limit in 0..Overrun::COUNT {
            self.counter(&names::CLIENTS_EVICTED, [limit, 0]).increment(0);
        }
        for what in 0..Shed::COUNT {
            self.counter(&names::REFUSED_FOR_MEMORY, [what, 0]).increment(0);
        }
        for upstream in 0..self.upstreams.len() {
            self.start_upstream_at_zero(upstream);
        }
    }

    fn start_upstream_at_zero(&self, upstream: usize) {
        self.counter(&names::UPSTREAM_CONNECTS, [upstream, 0]).increment(0);
        for state in 0..UpstreamState::COUNT {
            self.gauge(&names::UPSTREAM_CONNECTIONS, [upstream, state]).increment(0.0);
        }
        for phase in 0..FailurePhase::COUNT {
            self.counter(&names::UPSTREAM_FAILURES, [upstream, phase]).increment(0);
        }
        for outcome in 0..LossOutcome::COUNT {
            self.counter(&names::UPSTREAM_LOST, [upstream, outcome]).increment(0);
        }
        for reason in 0..LeaseReason::COUNT {
            self.gauge(&names::LEASES, [upstream, reason]).increment(0.0);
        }
        self.counter(&names::LEASES_REFUSED, [upstream, 0]).increment(0);
        for cause in 0..ResendCause::COUNT {
            self.counter(&names::UPSTREAM_RESENT, [upstream, cause]).increment(0);
        }
        for verdict in 0..RetryVerdict::COUNT {
            self.counter(&names::UPSTREAM_RETRIES, [upstream, verdict]).increment(0);
        }
    }

    fn update_readiness(&self) {
        for (upstream, is_up) in self.readiness.upstreams_up().into_iter().enumerate() {
            self.gauge(&names::UPSTREAM_UP, [upstream, 0]).set(f64::from(u8::from(is_up)));
        }
        for (upstream, away) in self.readiness.primaries_away().into_iter().enumerate() {
            self.set(&names::UPSTREAM_PRIMARIES_AWAY, [upstream, 0], away);
        }
    }

    fn update_topology(&self, upstream: usize, figures: TopologyFigures) {
        let TopologyFigures { refreshes, changes, age, nodes, unserved } = figures;
        self.counter(&names::TOPOLOGY_REFRESHES, [upstream, 0]).absolute(refreshes);
        self.counter(&names::TOPOLOGY_CHANGES, [upstream, 0]).absolute(changes);
        self.gauge(&names::TOPOLOGY_AGE, [upstream, 0]).set(age.as_secs_f64());
        for (role, count) in nodes.into_iter().enumerate() {
            self.set(&names::TOPOLOGY_NODES, [upstream, role], count);
        }
        self.set(&names::TOPOLOGY_UNSERVED, [upstream, 0], unserved);
    }

    fn update_breakers(&self, upstream: usize, figures: BreakerFigures) {
        for (phase, count) in figures.nodes.into_iter().enumerate() {
            self.set(&names::BREAKER_NODES, [upstream, phase], count);
        }
        for (phase, count) in figures.entered.into_iter().enumerate() {
            self.counter(&names::BREAKER_TRANSITIONS, [upstream, phase]).absolute(count);
        }
        self.counter(&names::BREAKER_REJECTED, [upstream, 0]).absolute(figures.rejected);
    }

    fn set(&self, family: &'static Family, at: impl Into<At>, value: usize) {
        self.gauge(family, at).set(f64::from(u32::try_from(value).unwrap_or(u32::MAX)));
    }

    fn counter(&self, family: &'static Family, at: impl Into<At>) -> Counter {
        self.recorder.register_counter(&self.key(family, at), &METADATA)
    }

    fn gauge(&self, family: &'static Family, at: impl Into<At>) -> Gauge {
        self.recorder.register_gauge(&self.key(family, at), &METADATA)
    }

    /// The series of a family at the given numbers, one per label of the family.
    fn key(&self, family: &'static Family, at: impl Into<At>) -> Key {
        let label =
            |(label, number): (&Label, usize)| metrics::Label::new(label.name(), self.value(*label, number));
        Key::from_parts(family.name, family.labels.iter().zip(at.into().0).map(label).collect::<Vec<_>>())
    }

    /// The label value that a number stands for.
    fn value(&self, label: Label, number: usize) -> SharedString {
        let configured = |names: &[SharedString]| names.get(number).cloned();
        let closed = |value: Option<&'static str>| value.map(SharedString::const_str);
        let value = match label {
            Label::Tenant => configured(&self.tenants),
            Label::Cmd => configured(&self.commands),
            Label::Upstream => configured(&self.upstreams),
            Label::Err => closed(ErrorCode::ALL.get(number).map(|value| value.label())),
            Label::Direction => closed(Direction::ALL.get(number).map(|value| value.label())),
            Label::State => closed(UpstreamState::ALL.get(number).map(|value| value.label())),
            Label::Phase => closed(FailurePhase::ALL.get(number).map(|value| value.label())),
            Label::Outcome => closed(LossOutcome::ALL.get(number).map(|value| value.label())),
            Label::Reason => closed(LeaseReason::ALL.get(number).map(|value| value.label())),
            Label::Cause => closed(ResendCause::ALL.get(number).map(|value| value.label())),
            Label::Limit => closed(LimitKind::ALL.get(number).map(|value| value.label())),
            Label::Action => closed(LimitAction::ALL.get(number).map(|value| value.label())),
            Label::Verdict => closed(RetryVerdict::ALL.get(number).map(|value| value.label())),
            Label::Role => closed(NodeRole::ALL.get(number).map(|value| value.label())),
            Label::Breaker => closed(BreakerPhase::ALL.get(number).map(|value| value.label())),
            Label::Bound => closed(Overrun::ALL.get(number).map(|value| value.label())),
            Label::What => closed(Shed::ALL.get(number).map(|value| value.label())),
            Label::Version => closed(Some(env!("CARGO_PKG_VERSION"))),
        };
        value.unwrap_or_else(|| SharedString::const_str(NONE))
    }

    /// The histograms family by family, as the format demands, although they are stored tenant by tenant.
    fn render_latencies(&self, out: &mut String) {
        let parts: [(&Family, Part); 4] = [
            (&names::CLIENT_SECONDS, |latencies| &latencies.client),
            (&names::UPSTREAM_SECONDS, |latencies| &latencies.upstream),
            (&names::PROXY_SECONDS, |latencies| &latencies.proxy),
            (&names::LIMIT_DELAY_SECONDS, |latencies| &latencies.delayed),
        ];
        for (family, part) in parts {
            text::start(out, family);
            for (tenant, latencies) in self.latencies.iter().enumerate() {
                if let Some(latency) =
                    latencies.get().map(|of| part(of)).filter(|latency| !latency.is_empty())
                {
                    let tenant = self.value(Label::Tenant, tenant);
                    latency.render(out, family, (Label::Tenant.name(), &tenant));
                }
            }
        }
    }
}

/// What the recorder asks for with each registration and does not use.
static METADATA: Metadata<'static> = Metadata::new("tenantry", Level::INFO, None);

/// The numbers of a series' labels, as many as its family has.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct At([usize; 3]);

impl From<[usize; 2]> for At {
    fn from([first, second]: [usize; 2]) -> Self {
        Self([first, second, 0])
    }
}

impl From<[usize; 3]> for At {
    fn from(numbers: [usize; 3]) -> Self {
        Self(numbers)
    }
}

/// A series: its family's name and the number of each of its labels.
type Place = (&'static str, At);

/// Adds one worker's counts to the series of the process. Belongs to its worker; no two share one.
pub struct Publisher {
    shared: Arc<Shared>,
    counters: HashMap<Place, Counter>,
    gauges: HashMap<Place, Gauge>,
}

impl Publisher {
    /// Adds what `worker` has counted since the last call and sets it back to zero. Costs a look at each
    /// tenant, and for those with traffic one at each command; a few times a second is often enough, and once
    /// an hour would still lose nothing below 2³² requests per command.
    pub fn publish(&mut self, worker: &mut WorkerMetrics) {
        for (tenant, counts) in worker.tenants.iter_mut().enumerate() {
            if let Some(counts) = counts.as_deref_mut().filter(|counts| counts.is_touched) {
                self.publish_tenant(tenant, counts);
            }
        }
        for (upstream, counts) in worker.upstreams.iter_mut().enumerate() {
            self.publish_upstream(upstream, counts);
        }
        self.publish_process(&mut worker.process);
    }

    /// How many requests may be sent again to each of some upstreams. What is left is the whole process': every worker
    /// says the same.
    pub fn retries_left_are(&mut self, left: impl Iterator<Item = (usize, u32)>) {
        for (upstream, left) in left {
            self.gauge(&names::UPSTREAM_RETRIES_LEFT, [upstream, 0]).set(f64::from(left));
        }
    }

    fn publish_tenant(&mut self, tenant: usize, counts: &mut TenantCounts) {
        counts.is_touched = false;
        for (command, count) in counts.commands.iter_mut().enumerate() {
            self.count(&names::COMMANDS, [tenant, command], u64::from(mem::take(count)));
        }
        for (code, count) in counts.errors.iter_mut().enumerate() {
            self.count(&names::ERROR_REPLIES, [tenant, code], u64::from(mem::take(count)));
        }
        for (direction, count) in counts.bytes.iter_mut().enumerate() {
            self.count(&names::BYTES, [tenant, direction], mem::take(count));
        }
        self.count(&names::TENANT_VIOLATIONS, [tenant, 0], u64::from(mem::take(&mut counts.violations)));
        self.count(&names::COMPRESSION_INPUT, [tenant, 0], mem::take(&mut counts.compression_input));
        self.count(&names::COMPRESSION_OUTPUT, [tenant, 0], mem::take(&mut counts.compression_output));
        self.count(&names::DEGRADED_REPLIES, [tenant, 0], u64::from(mem::take(&mut counts.degraded)));
        self.shift(&names::CONNECTIONS, [tenant, 0], mem::take(&mut counts.connections));
        for (limit, actions) in counts.limited.iter_mut().enumerate() {
            for (action, count) in actions.iter_mut().enumerate() {
                self.count(&names::LIMITED_REQUESTS, [tenant, limit, action], u64::from(mem::take(count)));
            }
        }
        if !counts.client.is_empty() || !counts.delayed.is_empty() {
            self.publish_latencies(tenant, counts);
        }
    }

    fn publish_latencies(&self, tenant: usize, counts: &mut TenantCounts) {
        if let Some(latencies) = self.shared.latencies.get(tenant) {
            let latencies = latencies.get_or_init(Box::default);
            latencies.client.take(&mut counts.client);
            latencies.upstream.take(&mut counts.upstream);
            latencies.proxy.take(&mut counts.proxy);
            latencies.delayed.take(&mut counts.delayed);
        }
    }

    fn publish_upstream(&mut self, upstream: usize, counts: &mut UpstreamCounts) {
        for (state, change) in counts.connections.iter_mut().enumerate() {
            self.shift(&names::UPSTREAM_CONNECTIONS, [upstream, state], mem::take(change));
        }
        for (phase, count) in counts.failures.iter_mut().enumerate() {
            self.count(&names::UPSTREAM_FAILURES, [upstream, phase], u64::from(mem::take(count)));
        }
        for (outcome, count) in counts.lost.iter_mut().enumerate() {
            self.count(&names::UPSTREAM_LOST, [upstream, outcome], mem::take(count));
        }
        for (reason, change) in counts.leases.iter_mut().enumerate() {
            self.shift(&names::LEASES, [upstream, reason], mem::take(change));
        }
        let refused = u64::from(mem::take(&mut counts.leases_refused));
        self.count(&names::LEASES_REFUSED, [upstream, 0], refused);
        for (cause, count) in counts.resent.iter_mut().enumerate() {
            self.count(&names::UPSTREAM_RESENT, [upstream, cause], u64::from(mem::take(count)));
        }
        for (verdict, count) in counts.retries.iter_mut().enumerate() {
            self.count(&names::UPSTREAM_RETRIES, [upstream, verdict], u64::from(mem::take(count)));
        }
        self.count(&names::UPSTREAM_CONNECTS, [upstream, 0], u64::from(mem::take(&mut counts.connects)));
    }

    fn publish_process(&mut self, counts: &mut ProcessCounts) {
        let ProcessCounts { opened, refused, auth_failures, protocol_errors, evicted, shed } =
            mem::take(counts);
        self.count(&names::CONNECTIONS_OPENED, [0, 0], u64::from(opened));
        self.count(&names::CONNECTIONS_REFUSED, [0, 0], u64::from(refused));
        self.count(&names::AUTHENTICATION_FAILURES, [0, 0], u64::from(auth_failures));
        self.count(&names::PROTOCOL_ERRORS, [0, 0], u64::from(protocol_errors));
        for (limit, count) in evicted.into_iter().enumerate() {
            self.count(&names::CLIENTS_EVICTED, [limit, 0], u64::from(count));
        }
        for (what, count) in shed.into_iter().enumerate() {
            self.count(&names::REFUSED_FOR_MEMORY, [what, 0], u64::from(count));
        }
    }

    /// Adds to a counter. A series that has counted nothing is not made: the number of series is that of the
    /// combinations in use.
    fn count(&mut self, family: &'static Family, at: impl Into<At>, count: u64) {
        if count > 0 {
            let (shared, at) = (&self.shared, at.into());
            self.counters
                .entry((family.name, at))
                .or_insert_with(|| shared.counter(family, at))
                .increment(count);
        }
    }

    /// Moves a gauge up or down.
    fn shift(&mut self, family: &'static Family, at: impl Into<At>, change: i32) {
        if change != 0 {
            self.gauge(family, at).increment(change);
        }
    }

    fn gauge(&mut self, family: &'static Family, at: impl Into<At>) -> &Gauge {
        let (shared, at) = (&self.shared, at.into());
        self.gauges.entry((family.name, at)).or_insert_with(|| shared.gauge(family, at))
    }
}

#[cfg(test)]
mod tests;
