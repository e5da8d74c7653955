//! What one worker counts, in plain integers of its own.
//!
//! Every method is called from the worker's thread only and does no more than add to a number: no atomic, no
//! lock, no clock, no allocation after a tenant's first command. A timer hands the numbers to
//! [`Publisher::publish`](super::publish::Publisher::publish) a few times a second, which adds them to the
//! process-wide series and sets them back to zero. So a counter here holds only what happened since the last
//! publish, and 32 bits are enough for anything counted once per command.
//!
//! Tenants, commands and upstreams are numbered from 0 in the order in which
//! [`Registry::new`](super::publish::Registry::new) got their names. Two numbers stand for "none of them":
//! [`WorkerMetrics::unbound`] for a connection that has no tenant yet and [`WorkerMetrics::unknown_command`].
//! A number beyond the table counts as that one too: a count may be filed under `-`, it is never lost.

use super::label::{
    Direction, ErrorCode, FailurePhase, LeaseReason, LimitAction, LimitKind, LossOutcome, Overrun,
    ResendCause, RetryVerdict, Shed, UpstreamState,
};
use super::latency::LatencyCounts;

/// The counts of one worker since its last publish.
#[derive(Debug)]
pub struct WorkerMetrics {
    /// One row per tenant and a last one for connections without a tenant; a row is allocated by its first
    /// count, so a thousand idle tenants cost eight bytes each.
    pub(super) tenants: Vec<Option<Box<TenantCounts>>>,
    /// One row per upstream.
    pub(super) upstreams: Vec<UpstreamCounts>,
    /// Counts that belong to no tenant.
    pub(super) process: ProcessCounts,
    /// How many commands have a name; a row has one more slot, for the unknown ones.
    commands: usize,
}

/// The counts of one tenant.
#[derive(Debug)]
pub(super) struct TenantCounts {
    /// Something was counted since the last publish.
    pub(super) is_touched: bool,
    /// Requests by command; the last slot is for unknown commands.
    pub(super) commands: Box<[u32]>,
    /// Request read → reply handed to the socket.
    pub(super) client: LatencyCounts,
    /// Request flushed upstream → reply read.
    pub(super) upstream: LatencyCounts,
    /// The difference of the two.
    pub(super) proxy: LatencyCounts,
    /// Error replies by [`ErrorCode`].
    pub(super) errors: [u32; ErrorCode::COUNT],
    /// Bytes by [`Direction`].
    pub(super) bytes: [u64; Direction::COUNT],
    /// Connections gained minus connections lost.
    pub(super) connections: i32,
    /// Replies or requests that were found outside their tenant.
    pub(super) violations: u32,
    /// Requests and connections that met a limit, by [`LimitKind`] and [`LimitAction`].
    pub(super) limited: [[u32; LimitAction::COUNT]; LimitKind::COUNT],
    /// How long requests beyond a rate had to wait.
    pub(super) delayed: LatencyCounts,
    /// Bytes of values that were compressed, as they were written.
    pub(super) compression_input: u64,
    /// Bytes of the same as they are stored.
    pub(super) compression_output: u64,
    /// Reads that were answered as if there were no key.
    pub(super) degraded: u32,
}

impl TenantCounts {
    fn new(slots: usize) -> Self {
        Self {
            is_touched: false,
            commands: vec![0; slots].into_boxed_slice(),
            client: LatencyCounts::default(),
            upstream: LatencyCounts::default(),
            proxy: LatencyCounts::default(),
            errors: [0; ErrorCode::COUNT],
            bytes: [0; Direction::COUNT],
            connections: 0,
            violations: 0,
            limited: [[0; LimitAction::COUNT]; LimitKind::COUNT],
            delayed: LatencyCounts::default(),
            compression_input: 0,
            compression_output: 0,
            degraded: 0,
        }
    }
}

/// The counts of one upstream.
#[derive(Debug, Clone, Default)]
pub(super) struct UpstreamCounts {
    /// Connections that entered each [`UpstreamState`] minus those that left it.
    pub(super) connections: [i32; UpstreamState::COUNT],
    /// Connections that became ready.
    pub(super) connects: u32,
    /// Failures by [`FailurePhase`].
    pub(super) failures: [u32; FailurePhase::COUNT],
    /// Requests lost by [`LossOutcome`].
    pub(super) lost: [u64; LossOutcome::COUNT],
    /// Leases that began for each [`LeaseReason`] minus those that ended.
    pub(super) leases: [i32; LeaseReason::COUNT],
    /// Clients that got no lease in time.
    pub(super) leases_refused: u32,
    /// Requests sent again for each [`ResendCause`].
    pub(super) resent: [u32; ResendCause::COUNT],
    /// Requests that were to be sent again because a node failed, by [`RetryVerdict`].
    pub(super) retries: [u32; RetryVerdict::COUNT],
}

/// The counts that belong to no tenant.
#[derive(Debug, Clone, Default)]
pub(super) struct ProcessCounts {
    /// Downstream connections accepted.
    pub(super) opened: u32,
    /// Downstream connections turned away at once.
    pub(super) refused: u32,
    /// `AUTH` or `HELLO … AUTH` that failed.
    pub(super) auth_failures: u32,
    /// Requests that were not RESP.
    pub(super) protocol_errors: u32,
    /// Clients closed because they held too much, by [`Overrun`].
    pub(super) evicted: [u32; Overrun::COUNT],
    /// What was refused because memory was short, by [`Shed`].
    pub(super) shed: [u32; Shed::COUNT],
}

impl WorkerMetrics {
    /// A worker's counts, all zero, for so many tenants, known commands and upstreams.
    /// [`Registry::worker`](super::publish::Registry::worker) makes one of the right size.
    pub fn new(tenants: usize, commands: usize, upstreams: usize) -> Self {
        Self {
            tenants: (0..=tenants).map(|_| None).collect(),
            upstreams: vec![UpstreamCounts::default(); upstreams],
            process: ProcessCounts::default(),
            commands,
        }
    }

    /// The number to count under while a connection has no tenant (label `tenant="-"`).
    pub fn unbound(&self) -> usize {
        self.tenants.len() - 1
    }

    /// The number to count a command under that is not in the table (label `cmd="-"`).
    pub fn unknown_command(&self) -> usize {
        self.commands
    }

    /// One request of `tenant`, whether it is forwarded, answered here or refused. Hot: one increment.
    #[inline]
    pub fn command(&mut self, tenant: usize, command: usize) {
        let slot = command.min(self.commands);
        if let Some(count) = self.tenant(tenant).commands.get_mut(slot) {
            *count = count.wrapping_add(1);
        }
    }

    /// One reply that came from upstream: `client_us` from the request's read to the reply's hand-over to the
    /// client's socket, `upstream_us` from the flush to the read of the reply, both in microseconds. The
    /// difference is what the proxy added. Hot.
    #[inline]
    pub fn answered(&mut self, tenant: usize, client_us: u32, upstream_us: u32) {
        self.answered_many(tenant, 1, client_us, upstream_us);
    }

    /// `count` replies with the same times, as [`WorkerMetrics::answered`] counts one. The clock is read once
    /// per batch, so the replies of a pipeline share their times: one call per batch instead of one per
    /// reply.
    #[inline]
    pub fn answered_many(&mut self, tenant: usize, count: u32, client_us: u32, upstream_us: u32) {
        let counts = self.tenant(tenant);
        counts.client.record(client_us, count);
        counts.upstream.record(upstream_us, count);
        counts.proxy.record(client_us.saturating_sub(upstream_us), count);
    }

    /// `count` replies that the proxy gave by itself: all of their time is the proxy's, and the
    /// upstream histogram does not see them.
    #[inline]
    pub fn answered_locally(&mut self, tenant: usize, count: u32, client_us: u32) {
        let counts = self.tenant(tenant);
        counts.client.record(client_us, count);
        counts.proxy.record(client_us, count);
    }

    /// One error reply to a client of `tenant`, from Redis or from the proxy.
    pub fn error_reply(&mut self, tenant: usize, code: ErrorCode) {
        let count = &mut self.tenant(tenant).errors[code as usize];
        *count = count.wrapping_add(1);
    }

    /// `count` bytes of `tenant` that went in `direction`. Once per read or write, not per command.
    #[inline]
    pub fn bytes(&mut self, tenant: usize, direction: Direction, count: u64) {
        let total = &mut self.tenant(tenant).bytes[direction as usize];
        *total = total.wrapping_add(count);
    }

    /// Values of `tenant` were compressed: bytes before and after.
    pub fn compressed(&mut self, tenant: usize, input: u64, output: u64) {
        let counts = self.tenant(tenant);
        counts.compression_input = counts.compression_input.wrapping_add(input);
        counts.compression_output = counts.compression_output.wrapping_add(output);
    }

    /// A downstream connection was accepted; `tenant` is its listener's, or [`WorkerMetrics::unbound`].
    pub fn connection_opened(&mut self, tenant: usize) {
        self.process.opened = self.process.opened.wrapping_add(1);
        self.tenant(tenant).connections += 1;
    }

    /// An open downstream connection went from one tenant to another (`AUTH`, `HELLO … AUTH`, `RESET`).
    pub fn connection_moved(&mut self, from: usize, to: usize) {
        self.tenant(from).connections -= 1;
        self.tenant(to).connections += 1;
    }

    /// A downstream connection that was counted as opened has ended while it belonged to `tenant`.
    pub fn connection_closed(&mut self, tenant: usize) {
        self.tenant(tenant).connections -= 1;
    }

    /// A downstream connection was turned away before it was opened (limit reached, or draining).
    pub fn connection_refused(&mut self) {
        self.process.refused = self.process.refused.wrapping_add(1);
    }

    /// An `AUTH` or `HELLO … AUTH` with a wrong user or password.
    pub fn authentication_failed(&mut self) {
        self.process.auth_failures = self.process.auth_failures.wrapping_add(1);
    }

    /// A downstream connection sent bytes that are not RESP.
    pub fn protocol_error(&mut self) {
        self.process.protocol_errors = self.process.protocol_errors.wrapping_add(1);
    }

    /// A client was closed because it held more than `limit` allows.
    pub fn client_evicted(&mut self, limit: Overrun) {
        let count = &mut self.process.evicted[limit as usize];
        *count = count.wrapping_add(1);
    }

    /// Something was refused because memory was short.
    pub fn refused_for_memory(&mut self, what: Shed) {
        let count = &mut self.process.shed[what as usize];
        *count = count.wrapping_add(1);
    }

    /// A request or reply was found outside its tenant and stopped. Must never happen; alert on it.
    pub fn tenant_violation(&mut self, tenant: usize) {
        let counts = self.tenant(tenant);
        counts.violations = counts.violations.wrapping_add(1);
    }

    /// A request of `tenant`, or a connection to it, has met a limit.
    pub fn limited(&mut self, tenant: usize, limit: LimitKind, action: LimitAction) {
        let count = &mut self.tenant(tenant).limited[limit as usize][action as usize];
        *count = count.wrapping_add(1);
    }

    /// A request of `tenant` has to wait for so many microseconds because it exceeds a rate.
    pub fn delayed(&mut self, tenant: usize, micros: u32) {
        self.tenant(tenant).delayed.record(micros, 1);
    }

    /// A connection to `upstream` is now in `state`; pair with [`WorkerMetrics::upstream_left`].
    pub fn upstream_entered(&mut self, upstream: usize, state: UpstreamState) {
        if let Some(counts) = self.upstreams.get_mut(upstream) {
            counts.connections[state as usize] += 1;
        }
    }

    /// A connection to `upstream` is no longer in `state`.
    pub fn upstream_left(&mut self, upstream: usize, state: UpstreamState) {
        if let Some(counts) = self.upstreams.get_mut(upstream) {
            counts.connections[state as usize] -= 1;
        }
    }

    /// A connection to `upstream` finished its handshake.
    pub fn upstream_connected(&mut self, upstream: usize) {
        if let Some(counts) = self.upstreams.get_mut(upstream) {
            counts.connects = counts.connects.wrapping_add(1);
        }
    }

    /// A connection to `upstream`, or an attempt at one, ended by a failure in `phase`.
    pub fn upstream_failed(&mut self, upstream: usize, phase: FailurePhase) {
        if let Some(counts) = self.upstreams.get_mut(upstream) {
            let count = &mut counts.failures[phase as usize];
            *count = count.wrapping_add(1);
        }
    }

    /// A client holds a connection to `upstream` of its own; pair with [`WorkerMetrics::lease_left`].
    pub fn lease_entered(&mut self, upstream: usize, reason: LeaseReason) {
        if let Some(counts) = self.upstreams.get_mut(upstream) {
            counts.leases[reason as usize] += 1;
        }
    }

    /// A client holds a connection to `upstream` no longer for this reason.
    pub fn lease_left(&mut self, upstream: usize, reason: LeaseReason) {
        if let Some(counts) = self.upstreams.get_mut(upstream) {
            counts.leases[reason as usize] -= 1;
        }
    }

    /// A request is sent to `upstream` again.
    pub fn request_again(&mut self, upstream: usize, cause: ResendCause) {
        if let Some(counts) = self.upstreams.get_mut(upstream) {
            let count = &mut counts.resent[cause as usize];
            *count = count.wrapping_add(1);
        }
    }

    /// A request was to be sent to `upstream` again because a node failed.
    pub fn retry(&mut self, upstream: usize, verdict: RetryVerdict) {
        if let Some(counts) = self.upstreams.get_mut(upstream) {
            let count = &mut counts.retries[verdict as usize];
            *count = count.wrapping_add(1);
        }
    }

    /// A read of `tenant` was answered as if there were no key.
    pub fn degraded_reply(&mut self, tenant: usize) {
        let counts = self.tenant(tenant);
        counts.degraded = counts.degraded.wrapping_add(1);
    }

    /// A client got no connection to `upstream` of its own in time.
    pub fn lease_refused(&mut self, upstream: usize) {
        if let Some(counts) = self.upstreams.get_mut(upstream) {
            counts.leases_refused = counts.leases_refused.wrapping_add(1);
        }
    }

    /// `count` requests were lost with a connection to `upstream`; each got an error reply that says
    /// `outcome`.
    pub fn requests_lost(&mut self, upstream: usize, outcome: LossOutcome, count: u64) {
        if let Some(counts) = self.upstreams.get_mut(upstream) {
            let total = &mut counts.lost[outcome as usize];
            *total = total.wrapping_add(count);
        }
    }

    /// Commands, bytes in and bytes out of each tenant since the last publish, where there are any.
    pub fn traffic(&self) -> impl Iterator<Item = (usize, [u64; 3])> {
        let tenants = self.tenants.iter().enumerate();
        tenants.filter_map(|(tenant, counts)| {
            let counts = counts.as_deref().filter(|counts| counts.is_touched)?;
            let commands = counts.commands.iter().map(|count| u64::from(*count)).sum();
            let bytes = |direction: Direction| counts.bytes[direction as usize];
            Some((tenant, [commands, bytes(Direction::DownstreamIn), bytes(Direction::DownstreamOut)]))
        })
    }

    /// The row of `tenant`, marked as changed; beyond the table, the row of unbound connections.
    #[inline]
    fn tenant(&mut self, tenant: usize) -> &mut TenantCounts {
        let slots = self.commands + 1;
        let row = tenant.min(self.tenants.len() - 1);
        let counts = self.tenants[row].get_or_insert_with(|| first_count(slots));
        counts.is_touched = true;
        counts
    }
}

/// Out of line: it runs once per tenant and worker, and would only make the hot path longer.
#[cold]
#[inline(never)]
fn first_count(slots: usize) -> Box<TenantCounts> {
    Box::new(TenantCounts::new(slots))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_tenant_has_no_row() {
        let mut metrics = WorkerMetrics::new(3, 10, 1);
        metrics.command(1, 4);
        let allocated: Vec<bool> = metrics.tenants.iter().map(Option::is_some).collect();
        assert_eq!(allocated, [false, true, false, false]);
    }

    #[test]
    fn command_is_counted_in_its_own_slot() {
        let mut metrics = WorkerMetrics::new(2, 3, 0);
        metrics.command(0, 2);
        metrics.command(0, 2);
        metrics.command(0, 0);
        assert_eq!(*metrics.tenant(0).commands, [1, 0, 2, 0]);
    }

    #[test]
    fn numbers_beyond_the_table_count_as_unbound_and_unknown() {
        let mut metrics = WorkerMetrics::new(2, 3, 1);
        assert_eq!((metrics.unbound(), metrics.unknown_command()), (2, 3));
        metrics.command(99, 99);
        metrics.upstream_connected(99);
        assert_eq!(*metrics.tenant(2).commands, [0, 0, 0, 1]);
    }

    #[test]
    fn time_of_a_reply_is_split_into_upstream_and_proxy() {
        let mut metrics = WorkerMetrics::new(1, 1, 1);
        metrics.answered(0, 130, 90);
        let counts = metrics.tenant(0);
        assert_eq!(counts.client.sum_micros, 130);
        assert_eq!(counts.upstream.sum_micros, 90);
        assert_eq!(counts.proxy.sum_micros, 40);
        assert_eq!(counts.client.buckets[3], 1);
        assert_eq!(counts.upstream.buckets[2], 1);
        assert_eq!(counts.proxy.buckets[1], 1);
    }

    #[test]
    fn local_reply_is_all_proxy_time() {
        let mut metrics = WorkerMetrics::new(1, 1, 1);
        metrics.answered_locally(0, 2, 7);
        let counts = metrics.tenant(0);
        assert_eq!((counts.client.sum_micros, counts.proxy.sum_micros), (14, 14));
        assert_eq!(counts.upstream, LatencyCounts::default());
    }

    #[test]
    fn upstream_time_longer_than_client_time_adds_nothing() {
        let mut metrics = WorkerMetrics::new(1, 1, 1);
        metrics.answered(0, 10, 12);
        assert_eq!(metrics.tenant(0).proxy.sum_micros, 0);
    }

    #[test]
    fn moved_connection_is_counted_once() {
        let mut metrics = WorkerMetrics::new(1, 1, 1);
        let unbound = metrics.unbound();
        metrics.connection_opened(unbound);
        metrics.connection_moved(unbound, 0);
        assert_eq!(metrics.tenant(unbound).connections, 0);
        assert_eq!(metrics.tenant(0).connections, 1);
        assert_eq!(metrics.process.opened, 1);
    }
}
