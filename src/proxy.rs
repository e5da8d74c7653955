//! Puts the parts together: the only file that knows all of them.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, oneshot};
use tokio_util::sync::CancellationToken;

use crate::admin::{self, AdminState, Topologies, Watched};
use crate::clients::Clients;
use crate::command::TABLE;
use crate::config::Config;
use crate::fleet::{self, Fleet};
use crate::listener::{BoundListener, ListenerError};
use crate::memory::Gauge;
use crate::metrics::publish::{Names, Registry};
use crate::policy::retry_budget::RetryBudget;
use crate::session::Shared;
use crate::settings::{AdminSettings, ScopedSettings, StartSettings, UpstreamSettings};
use crate::tenant::directory::Directory;
use crate::upstream::nodes::Nodes;
use crate::upstream::{Discovery, Feed, Healths, discovery};
use crate::worker::WorkerParts;

/// Files besides those of clients: upstream connections, listeners, event loops, the admin port's clients.
const OTHER_FILES: u64 = 256;
/// How often a start that waits for its upstreams looks for them.
const LOOK_FOR_UPSTREAMS: Duration = Duration::from_millis(20);

/// Why the proxy cannot run.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener cannot be had.
    #[error(transparent)]
    Listener(#[from] ListenerError),
    /// The admin port cannot be had.
    #[error("cannot listen on {address}; stop what listens there, or choose another address (--admin)")]
    Admin {
        /// As configured.
        address: std::net::SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The admin port's thread cannot be started.
    #[error(transparent)]
    AdminThread(#[from] admin::AdminError),
    /// The operating system refuses threads, duplicates of sockets or signals.
    #[error("cannot start")]
    System(#[from] io::Error),
}

/// Runs until the process is asked to stop (SIGTERM, SIGINT), then finishes what is under way.
pub fn run(config: Config) -> Result<(), StartError> {
    let registry = registry(&config);
    let leases: usize = config.upstreams.iter().map(|upstream| upstream.max_leases).sum();
    allow_files(config.downstream.max_connections.saturating_add(leases));
    let listeners: Vec<BoundListener> = config
        .listeners
        .iter()
        .map(|settings| BoundListener::bind(settings, &config.directory))
        .collect::<Result<_, _>>()?;
    let admin_shutdown = CancellationToken::new();
    let nodes = Arc::new(Nodes::default());
    let (feeds, discoveries) = feeds(&config.upstreams, &nodes);
    let topologies = topologies(&config.upstreams, &feeds, &nodes);
    let memory = Arc::new(Gauge::new(config.memory, config.workers.get()));
    let fleet = Fleet::of(&config.directory, config.fleet);
    let limiters = fleet.limiters(&config.upstreams, &feeds, &nodes, &registry);
    let shared =
        shared(Arc::new(config.directory), &config.scoped, &config.upstreams, (nodes, feeds), &memory)?;
    let healths = Arc::clone(&shared.healths);
    let state = AdminState { registry: registry.clone(), topologies, healths, memory: Arc::clone(&memory) };
    let admin = serve_admin(config.admin, state, &admin_shutdown)?;
    let shutdown = CancellationToken::new();
    let parts = WorkerParts {
        shared,
        scoped: config.scoped,
        limits: config.downstream,
        upstreams: config.upstreams.into(),
        registry: registry.clone(),
        shutdown: shutdown.clone(),
    };
    registry.readiness().expect_workers(config.workers.get());
    let mut team = Vec::new();
    for number in 0..config.workers.get() {
        team.push(hire(number, parts.clone())?);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(async {
        tokio::select! {
            outcome = let_clients_in(config.start, listeners, &registry, &mut team) => outcome,
            never = discovery::run_all(discoveries) => match never {},
            never = memory.watch() => match never {},
            never = fleet::run_all(limiters) => match never {},
        }
    });
    registry.readiness().draining();
    shutdown.cancel();
    for (_, worker) in team {
        see_off("worker", worker);
    }
    // The admin port ends last: readiness is asked for while the workers drain.
    admin_shutdown.cancel();
    if let Some(admin) = admin {
        see_off("admin port", admin);
    }
    outcome
}

/// The series of the process, with what is known before anybody counts.
fn registry(config: &Config) -> Registry {
    let registry = Registry::new(Names {
        tenants: config.directory.tenants().iter().map(|tenant| tenant.name.as_str().to_owned()).collect(),
        commands: TABLE.iter().map(|row| row.full_name_lower().to_owned()).collect(),
        upstreams: config.upstreams.iter().map(|upstream| upstream.name.clone()).collect(),
    });
    for limits in config.directory.limits().iter().filter(|limits| limits.owner.user.is_none()) {
        let tenant = config.directory.tenants().iter().position(|tenant| tenant.name == limits.owner.tenant);
        if let Some((tenant, ceiling)) = tenant.zip(limits.connections.as_ref()) {
            registry.connection_limit_is(tenant, ceiling.most());
        }
    }
    for spare in spare_upstreams(config) {
        registry.readiness().is_spare(spare);
    }
    registry
}

/// What all workers share.
#[expect(clippy::disallowed_methods, reason = "the beginning of the process' time")]
fn shared(
    directory: Arc<Directory>,
    scoped: &ScopedSettings,
    upstreams: &[UpstreamSettings],
    (nodes, feeds): (Arc<Nodes>, Arc<[Feed]>),
    memory: &Arc<Gauge>,
) -> io::Result<Shared> {
    let leases = upstreams.iter().map(|upstream| Arc::new(Semaphore::new(upstream.max_leases)));
    let breakers = upstreams.iter().map(|upstream| (upstream.name.clone(), upstream.breaker));
    let budget =
        |settings: &UpstreamSettings| RetryBudget::new(settings.retry.percent, settings.retry.minimum);
    let epoch = Instant::now();
    Ok(Shared {
        feeds,
        healths: Arc::new(Healths::new(breakers, Arc::clone(&nodes), epoch)),
        retry_budgets: upstreams.iter().map(budget).collect(),
        nodes,
        clients: Arc::new(Clients::new(&directory)),
        directory,
        connections: Arc::new(AtomicUsize::new(0)),
        leases: leases.collect(),
        memory: Arc::clone(memory),
        cursor_secret: cursor_secret(scoped)?,
        epoch,
    })
}

/// What is known of each upstream's nodes, and who finds out more.
fn feeds(upstreams: &[UpstreamSettings], nodes: &Arc<Nodes>) -> (Arc<[Feed]>, Vec<Discovery>) {
    let each = upstreams.iter().map(|settings| Discovery::new(Arc::new(settings.clone()), Arc::clone(nodes)));
    let (discoveries, feeds): (Vec<Discovery>, Vec<Feed>) = each.unzip();
    (feeds.into(), discoveries)
}

/// The upstreams that no tenant needs, because they only keep budgets.
fn spare_upstreams(config: &Config) -> impl Iterator<Item = usize> {
    let is_needed = |upstream: &usize| {
        config.fleet.upstream != Some(*upstream)
            || config.directory.tenants().iter().any(|tenant| tenant.upstream == *upstream)
    };
    (0..config.upstreams.len()).filter(move |upstream| !is_needed(upstream))
}

/// What operators are shown of the upstreams' nodes.
fn topologies(upstreams: &[UpstreamSettings], feeds: &[Feed], nodes: &Arc<Nodes>) -> Topologies {
    let watched = upstreams.iter().zip(feeds).map(|(settings, feed)| Watched {
        name: settings.name.clone(),
        is_fixed: settings.deployment.is_fixed(),
        feed: feed.clone(),
    });
    Topologies::new(watched, Arc::clone(nodes))
}

/// The configured secret, or one that only this process knows.
fn cursor_secret(scoped: &ScopedSettings) -> io::Result<[u8; 32]> {
    if let Some(secret) = &scoped.cursor_secret {
        return Ok(Sha256::digest(secret.reveal().as_bytes()).into());
    }
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(io::Error::other)?;
    Ok(secret)
}

/// Opens the listeners, at once or when the upstreams are there, and waits for the signal to stop.
async fn let_clients_in(
    start: StartSettings,
    listeners: Vec<BoundListener>,
    registry: &Registry,
    team: &mut [Worker],
) -> Result<(), StartError> {
    let mut stop = StopSignals::listen()?;
    if start.wait_for_upstream && !upstreams_are_up(registry, &mut stop).await {
        return Ok(());
    }
    open(&listeners, team)?;
    drop(listeners);
    registry.readiness().listening();
    stop.received().await;
    Ok(())
}

fn serve_admin(
    settings: Option<AdminSettings>,
    state: AdminState,
    shutdown: &CancellationToken,
) -> Result<Option<JoinHandle<()>>, StartError> {
    let Some(AdminSettings { address }) = settings else { return Ok(None) };
    let listener = TcpListener::bind(address).map_err(|source| StartError::Admin { address, source })?;
    tracing::info!(%address, "admin port");
    Ok(Some(admin::serve(listener, state, shutdown.clone())?))
}

fn see_off(what: &str, thread: JoinHandle<()>) {
    if thread.join().is_err() {
        tracing::error!("a thread has failed: {what}");
    }
}

/// Raises the process' limit of open files to what the connections need, as Redis does; a lower hard limit is
/// told.
fn allow_files(max_connections: usize) {
    let wanted = u64::try_from(max_connections).unwrap_or(u64::MAX).saturating_add(OTHER_FILES);
    match rlimit::increase_nofile_limit(wanted) {
        Ok(allowed) if allowed < wanted => {
            tracing::warn!(
                allowed,
                wanted,
                "the limit of open files (ulimit -n) is below downstream.max_connections"
            );
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, wanted, "cannot raise the limit of open files"),
    }
}

/// A worker, and how it gets its listeners.
type Worker = (Option<oneshot::Sender<Vec<BoundListener>>>, JoinHandle<()>);

fn hire(number: usize, parts: WorkerParts) -> io::Result<Worker> {
    let (give, get) = oneshot::channel();
    let thread = std::thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
        if let Err(error) = parts.run(get) {
            tracing::error!(%error, "a worker cannot run");
        }
    })?;
    Ok((Some(give), thread))
}

/// Lets clients in: every worker accepts from every listener.
fn open(listeners: &[BoundListener], team: &mut [Worker]) -> Result<(), StartError> {
    for listener in listeners {
        listener.listen()?;
    }
    for (give, _) in team {
        let duplicates = listeners.iter().map(BoundListener::duplicate).collect::<io::Result<Vec<_>>>()?;
        if let Some(Err(_)) = give.take().map(|give| give.send(duplicates)) {
            tracing::error!("a worker has ended before it began");
        }
    }
    Ok(())
}

/// Waits until every worker has a connection to every upstream; `false` if the process is asked to stop
/// meanwhile.
async fn upstreams_are_up(registry: &Registry, stop: &mut StopSignals) -> bool {
    tracing::info!("waiting for the upstreams before listening (start.wait_for_upstream)");
    loop {
        if registry.readiness().is_served() {
            return true;
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_FOR_UPSTREAMS) => {}
            () = stop.received() => return false,
        }
    }
}

/// The signals that end the process in order.
struct StopSignals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl StopSignals {
    fn listen() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn received(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
        tracing::info!("stopping: no new connections, requests under way are finished");
    }
}
