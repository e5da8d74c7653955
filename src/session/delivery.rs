//! The replies of one read: written to their clients and counted together.

use std::rc::Rc;

use super::again::Retry;
use super::commons::Commons;
use super::downstream::{Core, Downstream};
use super::ticket::{Asked, Ticket};
use crate::clock::Micros;
use crate::metrics::label::Direction;
use crate::upstream::{Again, Batch, Fingerprint, Kept, Times};

/// The replies of one read, by client: written and counted together.
#[derive(Default)]
pub(super) struct Delivery {
    touched: Vec<Rc<Downstream>>,
    /// Requests to send again.
    again: Vec<Retry>,
    counts: Vec<Count>,
    commons: Option<Rc<Commons>>,
}

/// Replies of one tenant whose requests were read and sent together, and which came back together.
#[derive(Clone, Copy)]
struct Count {
    tenant: u32,
    upstream: u32,
    read_at: Micros,
    times: Times,
    replies: u32,
    bytes: usize,
}

impl Delivery {
    pub(super) fn touch(&mut self, downstream: &Rc<Downstream>, core: &mut Core) {
        if !core.is_in_batch {
            core.is_in_batch = true;
            self.touched.push(Rc::clone(downstream));
        }
    }

    /// Bytes of a reply came from upstream; with `times` it is complete.
    #[inline]
    pub(super) fn count(&mut self, ticket: &Ticket, bytes: usize, times: Option<Times>) {
        let of = ticket.of();
        if of.is_rationed {
            ticket.charge_reply(bytes);
        }
        let replies = u32::from(times.is_some());
        let times = times.unwrap_or_default();
        match self.counts.last_mut() {
            Some(last) if last.tenant == of.tenant && last.read_at == of.read_at && last.times == times => {
                last.replies = last.replies.saturating_add(replies);
                last.bytes = last.bytes.saturating_add(bytes);
            }
            _ => {
                if self.commons.is_none() {
                    self.commons = Some(Rc::clone(&ticket.downstream().commons));
                }
                let Asked { tenant, upstream, read_at, .. } = of;
                self.counts.push(Count { tenant, upstream, read_at, times, replies, bytes });
            }
        }
    }
}

impl Batch for Delivery {
    type Recipient = Ticket;

    fn again(&mut self, recipient: Ticket, request: Kept, from: Fingerprint, why: Again) {
        self.again.push(Retry { ticket: recipient, request, from, why });
    }

    fn finish(&mut self, read: &[u8]) {
        for downstream in self.touched.drain(..) {
            downstream.write_batch(read);
        }
        // Only now is nothing of theirs in `read` any more. No client can have sent anything since.
        self.again.drain(..).for_each(Retry::begin);
        if let Some(commons) = &self.commons {
            commons.obey_orders();
            let written_at = commons.clock.read();
            let mut metrics = commons.metrics.borrow_mut();
            for count in self.counts.drain(..) {
                let tenant = count.tenant as usize;
                metrics.bytes(tenant, Direction::UpstreamIn, count.bytes as u64);
                if count.replies > 0 {
                    let upstream = count.times.read_at.since(count.times.sent_at);
                    commons.answered.add(count.upstream as usize, count.replies);
                    metrics.answered_many(tenant, count.replies, written_at.since(count.read_at), upstream);
                }
            }
        }
    }
}
