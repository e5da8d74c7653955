//! Which node is which: a number for each address, the same for all workers.
//!
//! Connections are shared by node, and what is looked up for each request must be small and comparable; an
//! address is neither. Numbers are given once and never taken back: a node that has gone may come again, and
//! connections to it may still owe replies.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::routing::topology::NodeId;
use crate::settings::Endpoint;

/// Addresses that are ever told apart. A cluster has a thousand nodes at most; the rest is for those that change
/// their addresses whenever they start. What upstreams announce beyond it is not believed.
const MAX_NODES: usize = 1 << 16;

/// The addresses of all nodes that have been heard of.
#[derive(Debug, Default)]
pub struct Nodes {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    endpoints: Vec<Endpoint>,
    numbers: HashMap<Endpoint, NodeId>,
}

impl Nodes {
    /// The number of the node at `endpoint`, a new one if it is new. `None`: there are too many.
    pub fn number(&self, endpoint: &Endpoint) -> Option<NodeId> {
        let mut known = self.known();
        if let Some(node) = known.numbers.get(endpoint) {
            return Some(*node);
        }
        let number = known.endpoints.len();
        let node = NodeId(u32::try_from(number).ok().filter(|_| number < MAX_NODES)?);
        known.endpoints.push(endpoint.clone());
        known.numbers.insert(endpoint.clone(), node);
        Some(node)
    }

    /// Where the node is.
    pub fn endpoint(&self, node: NodeId) -> Option<Endpoint> {
        self.known().endpoints.get(usize::try_from(node.0).ok()?).cloned()
    }

    /// Nothing is ever half done under the lock.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the node that is announced at `announced` is to be reached.
pub fn reachable(map: &[(Endpoint, Endpoint)], announced: Endpoint) -> Endpoint {
    let mapped = map.iter().find(|(from, _)| *from == announced).map(|(_, to)| to.clone());
    mapped.unwrap_or(announced)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_keeps_its_number() {
        let nodes = Nodes::default();
        let at = |port| Endpoint::Tcp { host: "10.0.0.1".into(), port };
        assert_eq!(
            [Some(NodeId(0)), Some(NodeId(1)), Some(NodeId(0))],
            [1, 2, 1].map(|port| nodes.number(&at(port)))
        );
        assert_eq!((Some(at(2)), None), (nodes.endpoint(NodeId(1)), nodes.endpoint(NodeId(2))));
    }

    #[test]
    fn what_is_announced_may_be_reached_elsewhere() {
        let at = |host: &str, port| Endpoint::Tcp { host: host.into(), port };
        let map = [(at("10.0.0.1", 1), at("localhost", 7))];
        assert_eq!(at("localhost", 7), reachable(&map, at("10.0.0.1", 1)));
        assert_eq!(at("10.0.0.1", 2), reachable(&map, at("10.0.0.1", 2)));
    }
}
