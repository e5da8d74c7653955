//! How workers hear of an upstream's nodes, and ask to hear again.
//!
//! One discovery per process publishes snapshots; however many workers and requests ask at once, there is one
//! refresh ([`Publisher::asked`] is woken once for all who asked since it was last awaited).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::routing::topology::Topology;

/// The receiving end, one for each worker.
#[derive(Clone, Debug)]
pub struct Feed {
    topology: watch::Receiver<Arc<Topology>>,
    back: Arc<Back>,
}

/// The sending end, of the discovery.
#[derive(Debug)]
pub struct Publisher {
    topology: watch::Sender<Arc<Topology>>,
    back: Arc<Back>,
}

/// What goes the other way.
#[derive(Debug)]
struct Back {
    wanted: Notify,
    refreshes: AtomicU64,
    /// The epoch of the view that was published last.
    epoch: AtomicU64,
    standing: Mutex<Standing>,
}

/// How the last refreshes went.
#[derive(Debug)]
struct Standing {
    /// When somebody last gave a convincing answer; before that, when asking began.
    confirmed_at: Instant,
    /// Why nobody answered last time.
    failure: Option<String>,
}

impl Back {
    /// Nothing is ever half done under the lock.
    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Both ends; `first` is what is known at the beginning.
pub fn feed(first: Topology) -> (Publisher, Feed) {
    let (sender, receiver) = watch::channel(Arc::new(first));
    let standing = Mutex::new(Standing { confirmed_at: Instant::now(), failure: None });
    let back = Arc::new(Back {
        wanted: Notify::new(),
        refreshes: AtomicU64::new(0),
        epoch: AtomicU64::new(0),
        standing,
    });
    (Publisher { topology: sender, back: Arc::clone(&back) }, Feed { topology: receiver, back })
}

impl Feed {
    /// What is known now.
    pub fn current(&self) -> Arc<Topology> {
        Arc::clone(&self.topology.borrow())
    }

    /// What is known now; what is published afterwards has not been seen.
    pub fn see(&mut self) -> Arc<Topology> {
        Arc::clone(&self.topology.borrow_and_update())
    }

    /// Waits for the next snapshot that this end has not seen. `false`: there will be none. Cancel safe.
    pub async fn changed(&mut self) -> bool {
        self.topology.changed().await.is_ok()
    }

    /// What is known may be out of date: asks for a refresh, at some time.
    pub fn ask(&self) {
        self.back.wanted.notify_one();
    }

    /// How many refreshes there have been.
    pub fn refreshes(&self) -> u64 {
        self.back.refreshes.load(Ordering::Relaxed)
    }

    /// The epoch of what is known: a cluster's `cluster_current_epoch`, a group's `config-epoch`.
    pub fn epoch(&self) -> u64 {
        self.back.epoch.load(Ordering::Relaxed)
    }

    /// For how long nobody has given a convincing answer.
    pub fn age(&self) -> Duration {
        self.back.standing().confirmed_at.elapsed()
    }

    /// Why nobody answered when it was last asked, for operators; `None`: somebody did.
    pub fn failure(&self) -> Option<String> {
        self.back.standing().failure.clone()
    }
}

impl Publisher {
    /// What was published last.
    pub fn current(&self) -> Arc<Topology> {
        Arc::clone(&self.topology.borrow())
    }

    /// Hears of what is published.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Topology>> {
        self.topology.subscribe()
    }

    /// What is published is of this epoch.
    pub fn is_of(&self, epoch: u64) {
        self.back.epoch.store(epoch, Ordering::Relaxed);
    }

    /// Everybody hears of `topology`.
    pub fn publish(&self, topology: Arc<Topology>) {
        self.topology.send_replace(topology);
    }

    /// Waits until somebody has asked since this was last awaited. Cancel safe.
    pub async fn asked(&self) {
        self.back.wanted.notified().await;
    }

    /// The same as [`Feed::ask`], for who is nearer to the news than any worker.
    pub fn ask(&self) {
        self.back.wanted.notify_one();
    }

    /// Somebody has answered, convincingly or not.
    pub fn answered(&self, is_convincing: bool) {
        let mut standing = self.back.standing();
        standing.failure = None;
        if is_convincing {
            standing.confirmed_at = Instant::now();
        }
    }

    /// Nobody has answered.
    pub fn unanswered(&self, reason: String) {
        self.back.standing().failure = Some(reason);
    }

    /// A refresh has ended.
    pub fn refreshed(&self) {
        self.back.refreshes.fetch_add(1, Ordering::Relaxed);
    }
}
