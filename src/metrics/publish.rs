//! From the workers' counts to the process-wide series and their text.
//!
//! Counters and gauges live in the Prometheus recorder, which is private to the [`Registry`] and not
//! installed for the whole process: nothing can be counted past the table in [`names`]. Histograms do not:
//! the recorder keeps every single sample until somebody drains it, while a worker has bucket counts already,
//! so those are added up and rendered here (`docs/decisions/0003-worker-local-metrics.md`).

use super::label::{
    Direction, ErrorCode, FailurePhase, LeaseReason, LossOutcome, NodeRole, ResendCause, UpstreamState,
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

/// The three histograms of one tenant.
#[derive(Default)]
struct Latencies {
    client: SharedLatency,
    upstream: SharedLatency,
    proxy: SharedLatency,
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

    /// Takes over what is known of the nodes of each upstream; `None`: it is one node, and no more is to be known.
    pub fn topologies_are(&self, topologies: impl IntoIterator<Item = Option<TopologyFigures>>) {
        for (upstream, figures) in topologies.into_iter().enumerate() {
            if let Some(figures) = figures {
                self.shared.update_topology(upstream, figures);
            }
        }
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

    fn set(&self, family: &'static Family, at: [usize; 2], value: usize) {
        self.gauge(family, at).set(f64::from(u32::try_from(value).unwrap_or(u32::MAX)));
    }

    fn counter(&self, family: &'static Family, at: [usize; 2]) -> Counter {
        self.recorder.register_counter(&self.key(family, at), &METADATA)
    }

    fn gauge(&self, family: &'static Family, at: [usize; 2]) -> Gauge {
        self.recorder.register_gauge(&self.key(family, at), &METADATA)
    }

    /// The series of a family at the given numbers, one per label of the family.
    fn key(&self, family: &'static Family, at: [usize; 2]) -> Key {
        let label =
            |(label, number): (&Label, usize)| metrics::Label::new(label.name(), self.value(*label, number));
        Key::from_parts(family.name, family.labels.iter().zip(at).map(label).collect::<Vec<_>>())
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
            Label::Role => closed(NodeRole::ALL.get(number).map(|value| value.label())),
            Label::Version => closed(Some(env!("CARGO_PKG_VERSION"))),
        };
        value.unwrap_or_else(|| SharedString::const_str(NONE))
    }

    /// The histograms family by family, as the format demands, although they are stored tenant by tenant.
    fn render_latencies(&self, out: &mut String) {
        let parts: [(&Family, Part); 3] = [
            (&names::CLIENT_SECONDS, |latencies| &latencies.client),
            (&names::UPSTREAM_SECONDS, |latencies| &latencies.upstream),
            (&names::PROXY_SECONDS, |latencies| &latencies.proxy),
        ];
        for (family, part) in parts {
            text::start(out, family);
            for (tenant, latencies) in self.latencies.iter().enumerate() {
                if let Some(latencies) = latencies.get() {
                    let tenant = self.value(Label::Tenant, tenant);
                    part(latencies).render(out, family, (Label::Tenant.name(), &tenant));
                }
            }
        }
    }
}

/// What the recorder asks for with each registration and does not use.
static METADATA: Metadata<'static> = Metadata::new("tenantry", Level::INFO, None);

/// A series: its family's name and the number of each of its labels.
type Place = (&'static str, [usize; 2]);

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
        self.shift(&names::CONNECTIONS, [tenant, 0], mem::take(&mut counts.connections));
        if !counts.client.is_empty() {
            self.publish_latencies(tenant, counts);
        }
    }

    fn publish_latencies(&self, tenant: usize, counts: &mut TenantCounts) {
        if let Some(latencies) = self.shared.latencies.get(tenant) {
            let latencies = latencies.get_or_init(Box::default);
            latencies.client.take(&mut counts.client);
            latencies.upstream.take(&mut counts.upstream);
            latencies.proxy.take(&mut counts.proxy);
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
        self.count(&names::UPSTREAM_CONNECTS, [upstream, 0], u64::from(mem::take(&mut counts.connects)));
    }

    fn publish_process(&mut self, counts: &mut ProcessCounts) {
        let ProcessCounts { opened, refused, auth_failures, protocol_errors } = mem::take(counts);
        self.count(&names::CONNECTIONS_OPENED, [0, 0], u64::from(opened));
        self.count(&names::CONNECTIONS_REFUSED, [0, 0], u64::from(refused));
        self.count(&names::AUTHENTICATION_FAILURES, [0, 0], u64::from(auth_failures));
        self.count(&names::PROTOCOL_ERRORS, [0, 0], u64::from(protocol_errors));
    }

    /// Adds to a counter. A series that has counted nothing is not made: the number of series is that of the
    /// combinations in use.
    fn count(&mut self, family: &'static Family, at: [usize; 2], count: u64) {
        if count > 0 {
            let shared = &self.shared;
            self.counters
                .entry((family.name, at))
                .or_insert_with(|| shared.counter(family, at))
                .increment(count);
        }
    }

    /// Moves a gauge up or down.
    fn shift(&mut self, family: &'static Family, at: [usize; 2], change: i32) {
        if change != 0 {
            let shared = &self.shared;
            let gauge = self.gauges.entry((family.name, at)).or_insert_with(|| shared.gauge(family, at));
            gauge.increment(change);
        }
    }
}

#[cfg(test)]
mod tests;
