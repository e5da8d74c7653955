//! In which order one client's requests reach several nodes.
//!
//! A client's requests take effect in the order in which it sent them. To one node they go over one connection,
//! which keeps them in order; of two nodes either may be faster. So a request for another node waits for those
//! under way, unless all of them only read: then there is no effect to see out of order. A tenant may choose not
//! to wait ([`Order::Relaxed`]).
//!
//! Also when a slot has moved: what was sent to its former owner may still be on its way there, or back and on
//! to the next. So nothing follows under a newer topology until everything under way has been answered.

use crate::routing::Destination;
use crate::routing::topology::NodeId;
use crate::tenant::directory::Order;

/// Where a session's requests under way went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Course {
    /// `None`: to several nodes.
    node: Option<NodeId>,
    /// The topology that decided; its lower half is enough to tell two that follow each other.
    version: u32,
    /// Whether all of them only read.
    only_reads: bool,
}

impl Default for Course {
    fn default() -> Self {
        Self { node: None, version: 0, only_reads: true }
    }
}

/// The number of a topology, as far as it is compared.
fn short(version: u64) -> u32 {
    u32::try_from(version & u64::from(u32::MAX)).unwrap_or_default()
}

impl Course {
    /// A request for `to` under the topology `version` would follow; whether it may, if anything `is_owed`.
    #[inline]
    pub(super) fn admits(
        &mut self,
        to: Destination,
        (version, is_read): (u64, bool),
        order: Order,
        is_owed: bool,
    ) -> bool {
        let version = short(version);
        let is_same = self.node == Some(to.node);
        if is_owed {
            let may_pass = is_same || order == Order::Relaxed || (self.only_reads && is_read);
            if self.version != version || !may_pass {
                return false;
            }
            self.only_reads &= is_read;
            if !is_same {
                self.node = None;
            }
            return true;
        }
        *self = Self { node: Some(to.node), version, only_reads: is_read };
        true
    }

    /// The same for a request for several nodes.
    pub(super) fn admits_many(
        &mut self,
        (version, is_read): (u64, bool),
        order: Order,
        is_owed: bool,
    ) -> bool {
        let version = short(version);
        let may_pass = order == Order::Relaxed || (self.only_reads && is_read);
        if is_owed && (self.version != version || !may_pass) {
            return false;
        }
        let only_reads = is_read && (!is_owed || self.only_reads);
        *self = Self { node: None, version, only_reads };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::Access;

    fn to(node: u32) -> Destination {
        Destination { node: NodeId(node), access: Access::ReadWrite, slot: None }
    }

    const READ: (u64, bool) = (1, true);
    const WRITE: (u64, bool) = (1, false);

    #[test]
    fn effects_on_two_nodes_wait_for_each_other_and_reads_do_not() {
        let mut course = Course::default();
        assert!(course.admits(to(1), WRITE, Order::Strict, false));
        assert!(course.admits(to(1), READ, Order::Strict, true));
        assert!(!course.admits(to(2), READ, Order::Strict, true));
        assert!(course.admits(to(2), READ, Order::Strict, false));
        assert!(course.admits(to(3), READ, Order::Strict, true));
        assert!(!course.admits(to(3), WRITE, Order::Strict, true));
        assert!(!course.admits_many(WRITE, Order::Strict, true));
        assert!(course.admits_many(READ, Order::Strict, true));
        assert!(!course.admits(to(3), WRITE, Order::Strict, true));
        assert!(course.admits(to(3), READ, Order::Strict, true));
    }

    #[test]
    fn relaxed_order_waits_for_a_new_topology_only() {
        let mut course = Course::default();
        assert!(course.admits(to(1), WRITE, Order::Relaxed, false));
        assert!(course.admits(to(2), WRITE, Order::Relaxed, true));
        assert!(course.admits_many(WRITE, Order::Relaxed, true));
        assert!(!course.admits(to(2), (2, false), Order::Relaxed, true));
        assert!(course.admits(to(2), (2, false), Order::Relaxed, false));
    }
}
