//! What each client makes the proxy hold: the beginning of a request, and replies that it does not read.
//!
//! A client that holds little, which is nearly every one, is not looked at. One that holds [`LISTED_FROM`] is weighed
//! whenever that changes, and listed by its worker: the list is what is gone through when a soft limit may have run
//! out, and when memory is short. Then the heaviest are evicted first (Redis: `maxmemory-clients`), over all workers:
//! each evicts its own that hold at least half of what the heaviest of all holds, as Redis goes by powers of two.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use super::affinity::Affinity;
use super::commons::Commons;
use super::downstream::{Core, Downstream, Intake, Phase};
use super::rescue::text;
use super::shortage::Shortage;
use crate::memory::{Ceiling, Eviction, Order};
use crate::metrics::label::{Direction, Overrun};
use crate::policy::pressure::Level;
use crate::settings::OutputLimit;

/// Bytes from which on a client is weighed: the least that any limit can be.
pub(super) const LISTED_FROM: usize = 16 << 10;
/// Bytes from which on a client is not read while memory is short.
const HEAVY_FROM: usize = 64 << 10;

/// What one client holds.
#[derive(Debug, Default)]
pub(super) struct Weight {
    /// Bytes of requests that cannot be handled yet.
    query: usize,
    /// All it holds, as it was last counted.
    counted: usize,
    /// Milliseconds of the worker's clock, when what it has not read reached the soft limit.
    soft_since: Option<u64>,
    is_listed: bool,
}

impl Weight {
    /// There is nothing to be remembered.
    pub(super) fn is_nothing(&self) -> bool {
        self.counted == 0 && self.query == 0 && self.soft_since.is_none() && !self.is_listed
    }
}

/// What the clients of one worker hold.
#[derive(Default)]
pub(super) struct Holdings {
    /// Clients that hold much, or did a moment ago.
    listed: RefCell<Vec<Weak<Downstream>>>,
    /// Bytes of those that are counted.
    held: Cell<usize>,
    /// The number of the last order that was obeyed.
    obeyed: Cell<u64>,
    /// What the heaviest holds that may be evicted, or held a moment ago.
    heaviest: Cell<usize>,
}

impl Core {
    /// Whether it holds so much that it is not read while memory is short.
    fn is_heavy(&self) -> bool {
        self.seldom.as_ref().is_some_and(|seldom| seldom.weight.counted >= HEAVY_FROM)
    }

    /// Whether it is told what it has not asked for at this moment.
    fn is_told(&self) -> bool {
        self.session.ties().is_some_and(Affinity::is_told)
    }
}

impl Downstream {
    /// Requests that cannot be handled yet take so many bytes.
    #[inline]
    pub(super) fn keeps(&self, query: usize) {
        let mut core = self.core.borrow_mut();
        let is_known = core.seldom.as_ref().map_or(0, |seldom| seldom.weight.query) == query;
        if is_known || (query < LISTED_FROM && core.seldom.is_none()) {
            return;
        }
        core.seldom().weight.query = query;
        self.weigh(&mut core);
    }

    /// What the client holds may have changed. Ends it if it does not read what it is sent.
    pub(super) fn weigh(&self, core: &mut Core) {
        core.set_output_aside();
        let unread = core.unread();
        let query = core.seldom.as_ref().map_or(0, |seldom| seldom.weight.query);
        let total = unread.saturating_add(query);
        if core.phase == Phase::Dead || (total < LISTED_FROM && core.seldom.is_none()) {
            return;
        }
        if let Some(overrun) = self.overrun(core, unread) {
            let limit = overrun.label();
            tracing::info!(limit, unread, "client closed: it does not read what it is sent");
            self.commons.metrics.borrow_mut().client_evicted(overrun);
            return self.evict(core);
        }
        let counted = if total < LISTED_FROM { 0 } else { total };
        let weight = &mut core.seldom().weight;
        let before = std::mem::replace(&mut weight.counted, counted);
        let is_new = counted > 0 && !weight.is_listed;
        weight.is_listed |= is_new;
        self.commons.weight_changed(before, counted);
        if is_new {
            self.commons.holdings.listed.borrow_mut().push(Weak::clone(&self.this));
        }
        if counted > self.commons.holdings.heaviest.get() && !core.session.is_unevictable() {
            self.commons.heaviest_is(counted);
        }
    }

    /// The limit that `unread` bytes are beyond, if any.
    fn overrun(&self, core: &mut Core, unread: usize) -> Option<Overrun> {
        let commons = &self.commons;
        let is_told = core.is_told();
        let limits = if is_told { commons.limits.subscriber_output } else { commons.limits.output };
        let OutputLimit { hard, soft, soft_for } = limits;
        if unread > hard {
            return Some(if is_told { Overrun::SubscriberOutput } else { Overrun::Output });
        }
        let soft = soft?;
        if unread <= soft {
            if let Some(seldom) = &mut core.seldom {
                seldom.weight.soft_since = None;
            }
            return None;
        }
        let now = commons.clock.millis();
        let since = *core.seldom().weight.soft_since.get_or_insert(now);
        let is_over = u128::from(now.saturating_sub(since)) > soft_for.as_millis();
        is_over.then_some(if is_told { Overrun::SubscriberOutputSoft } else { Overrun::OutputSoft })
    }

    /// The connection ends, and what it held is given back.
    fn evict(&self, core: &mut Core) {
        core.die();
        self.unweigh(core);
        self.wake();
    }

    /// The client holds nothing any more.
    pub(super) fn unweigh(&self, core: &mut Core) {
        if let Some(seldom) = &mut core.seldom {
            let before = std::mem::take(&mut seldom.weight.counted);
            seldom.weight.query = 0;
            self.commons.weight_changed(before, 0);
        }
    }

    /// Whether memory is short and it holds much of it.
    #[inline]
    pub(super) fn is_too_heavy(&self, core: &Core) -> bool {
        core.seldom.is_some() && self.commons.shared.memory.level().is_short() && core.is_heavy()
    }
}

impl Commons {
    /// Which requests there is too little memory for.
    #[inline]
    pub(super) fn shortage(&self) -> Shortage {
        match self.shared.memory.level() {
            Level::Normal | Level::Elevated => Shortage::None,
            Level::Tight => Shortage::OfMuch,
            Level::Critical => Shortage::OfAll,
        }
    }

    fn heaviest_is(&self, bytes: usize) {
        self.holdings.heaviest.set(bytes);
        self.shared.memory.heaviest_is(self.number, bytes);
    }

    fn weight_changed(&self, before: usize, now: usize) {
        if before != now {
            let held = self.holdings.held.get().saturating_sub(before).saturating_add(now);
            self.holdings.held.set(held);
            self.shared.memory.worker_holds(self.number, held);
        }
    }

    /// Obeys orders about memory that come while the worker has nothing else to do. Ends with the worker.
    pub async fn mind_memory(self: Rc<Self>) {
        let mut orders = self.shared.memory.orders();
        while orders.changed().await.is_ok() {
            self.obey_orders();
        }
        std::future::pending::<()>().await;
    }

    /// Obeys the last order about memory, unless it has been obeyed. The worker looks for orders where memory grows: they
    /// come from another thread, and while this one has work the runtime looks for what others have only now and then.
    /// No connection's state may be in use.
    #[inline]
    pub(super) fn obey_orders(&self) {
        if self.shared.memory.last_order() != self.holdings.obeyed.get() {
            self.obey(self.shared.memory.order());
        }
    }

    #[cold]
    fn obey(&self, order: Order) {
        self.holdings.obeyed.set(order.number);
        let listed = self.look_after_heavy();
        if let Some(eviction) = order.evict {
            self.evict_heaviest(&listed, eviction);
        }
        if !order.level.is_short() {
            wake_all(&listed);
        }
    }

    /// Looks at clients that hold much, at their own pace: soft limits run out, and clients go that are not read.
    pub(super) fn revisit_heavy(&self) {
        let listed = self.look_after_heavy();
        if self.shared.memory.level().is_short() {
            wake_all(&listed);
        }
    }

    /// Looks at all clients that hold much: those that do no more leave the list, and those whose time is over are
    /// closed. The others are returned.
    fn look_after_heavy(&self) -> Vec<Rc<Downstream>> {
        let listed: Vec<Rc<Downstream>> =
            self.holdings.listed.take().iter().filter_map(Weak::upgrade).collect();
        let mut heaviest = 0;
        let mut heavy = Vec::with_capacity(listed.len());
        for downstream in listed {
            let mut core = downstream.core.borrow_mut();
            downstream.weigh(&mut core);
            let is_evictable = !core.session.is_unevictable();
            let Some(seldom) = core.seldom.as_mut().filter(|seldom| seldom.weight.is_listed) else {
                continue;
            };
            let counted = seldom.weight.counted;
            seldom.weight.is_listed = counted > 0;
            core.forget_nothings();
            if is_evictable {
                heaviest = counted.max(heaviest);
            }
            drop(core);
            if counted > 0 {
                heavy.push(downstream);
            }
        }
        self.heaviest_is(heaviest);
        self.holdings.listed.borrow_mut().extend(heavy.iter().map(Rc::downgrade));
        heavy
    }

    /// Ends the heaviest clients, until they have given up what is asked for.
    fn evict_heaviest(&self, listed: &[Rc<Downstream>], eviction: Eviction) {
        let least = self.shared.memory.heaviest() / 2;
        let weighed = listed.iter().filter_map(|downstream| {
            let core = downstream.core.borrow();
            let counted = core.seldom.as_ref().map_or(0, |seldom| seldom.weight.counted);
            let may_go = !core.session.is_unevictable() || eviction.is_last_resort;
            (may_go && counted > 0 && counted >= least).then_some((counted, downstream))
        });
        let mut heaviest: Vec<_> = weighed.collect();
        heaviest.sort_unstable_by_key(|(counted, _)| std::cmp::Reverse(*counted));
        for (counted, downstream) in heaviest {
            // Another worker may have evicted enough.
            if !self.shared.memory.claim(counted) {
                break;
            }
            let overrun = match eviction.of {
                Ceiling::Process => Overrun::Memory,
                Ceiling::Clients => Overrun::ClientMemory,
            };
            let limit = overrun.label();
            tracing::info!(limit, holds = counted, "client closed: it holds most while memory is short");
            self.metrics.borrow_mut().client_evicted(overrun);
            let mut core = downstream.core.borrow_mut();
            downstream.say_goodbye(&core);
            downstream.evict(&mut core);
        }
    }
}

impl Downstream {
    /// Tells a client why it is closed, where that cannot be taken for a part of a reply or for the reply to something
    /// else: it has read everything and is owed nothing.
    fn say_goodbye(&self, core: &Core) {
        let is_listening = core.session.wants_replies() && core.intake != Intake::Draining;
        if !core.has_output() && core.replies.is_empty() && is_listening {
            let error = [b"-", text::EVICTED, b"\r\n"].concat();
            // Who does not take it is closed all the same.
            if let Ok(written) = self.writer.try_write(&error) {
                self.commons.count_bytes(core.tenant, Direction::DownstreamOut, written);
            }
        }
    }
}

fn wake_all(heavy: &[Rc<Downstream>]) {
    for downstream in heavy {
        downstream.wake();
    }
}
