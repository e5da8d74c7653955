//! One thread, one event loop, nothing shared on the hot path.
//!
//! A worker has its own sessions, its own upstream connections and its own counters; the kernel spreads
//! connections over workers at accept. Crossing threads for each command doubles its cost (measured, see
//! `docs/performance.md`).

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::LocalSet;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::listener::BoundListener;
use crate::metrics::publish::Registry;
use crate::session::{Commons, Shared};
use crate::settings::{DownstreamLimits, ScopedSettings, UpstreamSettings};

/// How often a worker's counters are added to the process' ones (a scrape is at most this old), and spare
/// memory is given back.
const PUBLISH_EVERY: Duration = Duration::from_millis(250);
/// How long requests under way may take after the process was asked to stop.
const DRAIN_FOR: Duration = Duration::from_secs(5);
/// How often a draining worker looks whether it is done.
const DRAIN_LOOK: Duration = Duration::from_millis(10);

/// What a worker is made from.
#[derive(Clone)]
pub struct WorkerParts {
    /// What all workers share.
    pub shared: Shared,
    /// What one client may take.
    pub limits: DownstreamLimits,
    /// What answers about a tenant's own part need.
    pub scoped: ScopedSettings,
    /// Where requests go.
    pub upstreams: Arc<[UpstreamSettings]>,
    /// Where counters go.
    pub registry: Registry,
    /// Ends the worker.
    pub shutdown: CancellationToken,
}

impl WorkerParts {
    /// Runs the worker on this thread until shutdown. Connections are accepted once `listeners` arrive.
    pub fn run(self, listeners: oneshot::Receiver<Vec<BoundListener>>) -> std::io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .on_thread_unpark(clock::thread_woke)
            .build()?;
        let local = LocalSet::new();
        local.block_on(&runtime, self.serve(listeners));
        Ok(())
    }

    async fn serve(self, listeners: oneshot::Receiver<Vec<BoundListener>>) {
        let commons = Commons::new(self.shared, self.limits, &self.scoped, &self.upstreams, &self.registry);
        let followers: Vec<_> = (0..commons.upstreams())
            .map(|upstream| tokio::task::spawn_local(Rc::clone(&commons).follow(upstream)))
            .collect();
        let minding = tokio::task::spawn_local(Rc::clone(&commons).mind_memory());
        let publishing = tokio::task::spawn_local(publish(Rc::clone(&commons), self.registry));
        let mut acceptors = Vec::new();
        tokio::select! {
            listeners = listeners => {
                for listener in listeners.unwrap_or_default() {
                    acceptors.push(tokio::task::spawn_local(listener.serve(Rc::clone(&commons))));
                }
                self.shutdown.cancelled().await;
            }
            () = self.shutdown.cancelled() => {}
        }
        acceptors.iter().for_each(tokio::task::JoinHandle::abort);
        drain(&commons).await;
        publishing.abort();
        minding.abort();
        followers.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

/// Waits until no reply is owed, for [`DRAIN_FOR`] at most.
async fn drain(commons: &Commons) {
    let looks = DRAIN_FOR.as_millis() / DRAIN_LOOK.as_millis();
    for _ in 0..looks {
        if commons.owed() == 0 {
            return;
        }
        tokio::time::sleep(DRAIN_LOOK).await;
    }
    tracing::warn!(owed = commons.owed(), "stopped with requests under way");
    commons.give_up();
}

async fn publish(commons: Rc<Commons>, registry: Registry) {
    let mut publisher = registry.publisher();
    let mut interval = tokio::time::interval(PUBLISH_EVERY);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        commons.add_up_traffic();
        publisher.publish(&mut commons.metrics().borrow_mut());
        publisher.retries_left_are(commons.retries_left());
        commons.release_unused();
    }
}
