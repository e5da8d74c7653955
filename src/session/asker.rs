//! Asks the upstream on behalf of one client whose answer is composed.

use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::aim::Aim;
use super::commons::Commons;
use super::downstream::{Downstream, Phase};
use super::errand::{At, Errand, ShardAt};
use super::replies::ReplyQueue;
use super::rescue;
use super::ticket::{Asked, Carried, Ticket};
use crate::resp::Version;
use crate::resp::reply::ReplyWriter;
use crate::routing::parse::cluster_info;
use crate::routing::topology::{MultiKeyScope, NodeId, Topology};
use crate::routing::{Access, NoRoute, Routed};
use crate::tenant::directory::{Binding, Namespace};
use crate::tenant::requests::{self, Fixed};
use crate::tenant::{OwnedScoped, Scoped};
use crate::upstream::{Feed, Fingerprint, Holder, Load, Patience};

/// Asks on behalf of one client.
pub(super) struct Asker {
    downstream: Rc<Downstream>,
    tenant: usize,
    upstream: usize,
    namespace: Arc<Namespace>,
    /// The topology that positions of shards belong to.
    snapshot: RefCell<Arc<Topology>>,
}

/// How often it is looked whether a refresh has come, and for how long: a refresh begins within half as much again
/// as `topology_refresh_min`. What has not come by then is walked as it is known.
const RENEWAL_LOOK: Duration = Duration::from_millis(25);
const MAX_RENEWAL_LOOKS: usize = 120;

/// How often it is looked whether the client of a request that may wait for ever is still there.
const LOOK_FOR_CLIENT: Duration = Duration::from_millis(500);

/// What waits for a reply.
type Reply = oneshot::Receiver<Result<Bytes, Bytes>>;

async fn came(reply: Reply) -> Result<Bytes, Bytes> {
    reply.await.unwrap_or_else(|_| Err(Bytes::from_static(b"-UNAVAILABLE the proxy is shutting down\r\n")))
}

fn refused(error: NoRoute) -> Reply {
    let mut reply = bytes::BytesMut::new();
    ReplyWriter::new(&mut reply, Version::Resp2).error(&rescue::no_route(error));
    answered(Err(reply.freeze()))
}

fn answered(answer: Result<Bytes, Bytes>) -> Reply {
    let (say, reply) = oneshot::channel();
    drop(say.send(answer));
    reply
}

impl Asker {
    /// On behalf of `downstream`. `None`: there is no such upstream.
    pub(super) fn new(
        downstream: &Rc<Downstream>,
        tenant: usize,
        namespace: &Arc<Namespace>,
    ) -> Option<Self> {
        let upstream = namespace.tenant.upstream;
        let topology = downstream.commons.with_view(upstream, |view| Arc::clone(&view.topology))?;
        let (downstream, namespace) = (Rc::clone(downstream), Arc::clone(namespace));
        Some(Self { downstream, tenant, upstream, namespace, snapshot: RefCell::new(topology) })
    }

    /// The tenant's number in metrics.
    pub(super) fn tenant(&self) -> usize {
        self.tenant
    }

    pub(super) fn commons(&self) -> &Rc<Commons> {
        &self.downstream.commons
    }

    pub(super) async fn ask_fixed(&self, words: Fixed, namespace: &Arc<Namespace>) -> Result<Bytes, Bytes> {
        let request = requests::fixed(words, namespace).ok_or_else(|| Bytes::from_static(b"-ERR\r\n"))?;
        self.ask(At::Home, request.as_scoped()).await
    }

    /// The tenant's keys are gone: whoever tracks some is told, as Redis would.
    pub(super) fn flushed(&self, binding: &Binding) {
        if let Some(clients) = self.commons().shared.clients.of(binding.tenant()) {
            clients.flushed_all();
        }
    }

    fn now(&self) -> Arc<Topology> {
        // Not the worker's view, which follows a moment later.
        let now = self.commons().shared.feeds.get(self.upstream).map(Feed::current);
        now.unwrap_or_else(|| Arc::clone(&self.snapshot.borrow()))
    }

    fn send(&self, at: At, scoped: Scoped<'_>) -> Reply {
        let (routed, way) = match at {
            At::Shard(position) => match self.snapshot.borrow().shards().get(position) {
                // A cursor of one node means nothing to another.
                Some(shard) => (Ok(Routed::to_node(shard.primary, scoped)), Carried::Bound),
                None if self.snapshot.borrow().is_known() => return refused(NoRoute::Unserved),
                None => return refused(NoRoute::Unknown),
            },
            At::Home | At::Slot(_) => (self.now().route(scoped, false), Carried::Shared),
        };
        let routed = match routed {
            Ok(routed) => routed,
            Err((_, error)) => return refused(error),
        };
        let fingerprint = Fingerprint::of(&routed, Version::Resp2, Load::Light);
        let (ticket, reply) = self.ticket(routed.to().slot, way);
        let Some(lane) = self.commons().lane(fingerprint) else { return refused(NoRoute::Unserved) };
        if let Err((ticket, failure)) = lane.send(ticket, &routed) {
            ticket.refuse(&mut self.downstream.core.borrow_mut(), &failure);
        }
        reply
    }

    fn ticket(&self, slot: Option<u16>, way: Carried) -> (Ticket, Reply) {
        let (answer, reply) = oneshot::channel();
        let of = Asked::by_proxy(self.commons().clock.now(), self.tenant, self.upstream);
        let turn = (ReplyQueue::default().nobodys(), true);
        let aim = Aim::Errand(Some(answer));
        (Ticket::new(&self.downstream, turn, aim, Asked { slot, way, ..of }), reply)
    }

    /// Sends requests that wait to the primary of each shard, over connections of their own, and returns the
    /// replies to the last of each; those to the others are nobody's. Ends when the client has gone.
    pub(super) async fn ask_everywhere_apart(
        &self,
        requests: &[OwnedScoped],
        patience: Patience,
    ) -> Vec<Result<Bytes, Bytes>> {
        self.blocks();
        let primaries: Vec<NodeId> = self.now().shards().iter().map(|shard| shard.primary).collect();
        let each = primaries.iter().map(|node| self.ask_apart(*node, requests, patience));
        let mut each: Vec<_> = each.map(Box::pin).collect();
        let mut replies: Vec<Option<Result<Bytes, Bytes>>> = vec![None; each.len()];
        let mut look = tokio::time::interval(LOOK_FOR_CLIENT);
        std::future::poll_fn(|cx| {
            while look.poll_tick(cx).is_ready() {}
            for (ask, reply) in each.iter_mut().zip(&mut replies) {
                if reply.is_none()
                    && let std::task::Poll::Ready(came) = ask.as_mut().poll(cx)
                {
                    *reply = Some(came);
                }
            }
            let is_done = replies.iter().all(Option::is_some) || self.is_abandoned();
            if is_done { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
        replies.into_iter().flatten().collect()
    }

    /// The client blocks: when it sends no more it has gone, as when it blocks on a connection of its own.
    fn blocks(&self) {
        let mut core = self.downstream.core.borrow_mut();
        core.links.get_or_insert_default().is_blocked = true;
        self.downstream.describe(&mut core);
        drop(core);
        self.downstream.wake();
    }

    async fn ask_apart(
        &self,
        node: NodeId,
        requests: &[OwnedScoped],
        patience: Patience,
    ) -> Result<Bytes, Bytes> {
        let commons = self.commons();
        let too_late = || {
            let name = commons.upstream_name(self.upstream);
            let mut reply = bytes::BytesMut::new();
            let error = rescue::no_lease(name, commons.leases.wait(self.upstream));
            ReplyWriter::new(&mut reply, Version::Resp2).error(&error);
            reply.freeze()
        };
        let permits = commons.leases.permits(self.upstream).map(Arc::clone).ok_or_else(too_late)?;
        let permit = tokio::time::timeout(commons.leases.wait(self.upstream), permits.acquire_owned()).await;
        let permit = permit.ok().and_then(Result::ok).ok_or_else(too_late)?;
        let (version, access) = (Version::Resp2, Access::ReadWrite);
        let fingerprint =
            Fingerprint { upstream: self.upstream, node, access, version, database: None, load: Load::Light };
        // Nobody waits for pushes: nothing is subscribed to.
        let nobody: Weak<dyn Holder<Ticket>> = Weak::<Downstream>::new();
        let lease = commons.lease(fingerprint, permit, nobody).ok_or_else(too_late)?;
        let Some(lane) = lease.lane().map(Rc::clone) else { return Err(too_late()) };
        lane.be_patient(patience);
        let (ticket, reply) = self.ticket(None, Carried::Bound);
        let routed: Vec<Routed<'_>> =
            requests.iter().map(|request| Routed::to_node(node, request.as_scoped())).collect();
        if let Err((ticket, failure)) = lane.send_together(ticket, &routed) {
            ticket.refuse(&mut self.downstream.core.borrow_mut(), &failure);
        }
        let reply = came(reply).await;
        lane.be_patient(Patience::Usual);
        if reply.is_ok() {
            lease.give_back(&commons.leases);
        }
        reply
    }
}

impl Errand for Asker {
    async fn renew(&self) {
        let shards = self.shards().len();
        let Some(feed) = self.commons().shared.feeds.get(self.upstream).filter(|_| self.is_cluster()) else {
            return;
        };
        let Some(request) = requests::fixed(Fixed::ClusterInfo, &self.namespace) else { return };
        let asked: Vec<_> = (0..shards).map(|shard| (At::Shard(shard), request.clone())).collect();
        let answers = self.ask_all(&asked).await;
        let epochs = answers.iter().flatten().filter_map(|answer| cluster_info(answer).ok());
        let newest = epochs.map(|state| state.epoch).max().unwrap_or_default();
        for _ in 0..MAX_RENEWAL_LOOKS {
            if feed.epoch() >= newest {
                break;
            }
            feed.ask();
            tokio::time::sleep(RENEWAL_LOOK).await;
        }
    }

    fn shards(&self) -> Vec<ShardAt> {
        let now = self.now();
        let is_moving = self.commons().is_moving(self.upstream);
        let lowest = now.lowest_slots();
        let shards = now
            .shards()
            .iter()
            .zip(lowest)
            .map(|(shard, lowest)| ShardAt { lowest, identity: is_moving.then_some(shard.identity) });
        let shards = shards.collect();
        *self.snapshot.borrow_mut() = now;
        shards
    }

    fn owner(&self, slot: u16) -> Option<usize> {
        self.snapshot.borrow().position_of_owner(slot)
    }

    fn has_moved(&self) -> bool {
        !self.snapshot.borrow().has_owners_of(&self.now())
    }

    fn is_cluster(&self) -> bool {
        self.snapshot.borrow().scope() == MultiKeyScope::Slot
    }

    async fn ask(&self, at: At, request: Scoped<'_>) -> Result<Bytes, Bytes> {
        came(self.send(at, request)).await
    }

    async fn ask_all(&self, requests: &[(At, OwnedScoped)]) -> Vec<Result<Bytes, Bytes>> {
        let sent: Vec<Reply> =
            requests.iter().map(|(at, request)| self.send(*at, request.as_scoped())).collect();
        let mut replies = Vec::with_capacity(sent.len());
        for reply in sent {
            replies.push(came(reply).await);
        }
        replies
    }

    fn is_abandoned(&self) -> bool {
        self.downstream.core.borrow().phase == Phase::Dead
    }
}
