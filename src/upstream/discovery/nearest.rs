//! Which node of a shard answers fastest, for tenants that read from the nearest.
//!
//! Each node is sent a few `PING`s now and then, over a connection that is closed again, and the shortest answer
//! counts: the others waited for something. What was measured is smoothed, and another node must be faster by a
//! fifth before it takes the place of the one that is read from: a topology that changed with every measurement
//! would be of no use to who caches by node.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::{AskError, Discovery, Inquiry, accepted};
use crate::routing::topology::{NodeId, Shard, Topology};
use crate::settings::{Endpoint, UpstreamSettings};

/// Answers of which the shortest counts.
const PINGS: usize = 3;
/// Nodes that are measured at once.
const MAX_AT_ONCE: usize = 16;
/// How much of the difference a new measurement makes.
const WEIGHT: f64 = 0.25;
/// How long the answer of another node may take, compared with that of the present one, to be preferred.
const FASTER: f64 = 0.8;

/// Seconds that the nodes need to answer.
#[derive(Debug, Default)]
pub(super) struct Distances(HashMap<NodeId, f64>);

impl Distances {
    /// A node has answered so fast; `None`: not at all.
    fn measured(&mut self, node: NodeId, answered_in: Option<Duration>) {
        let Some(seconds) = answered_in.map(|time| time.as_secs_f64()) else {
            self.0.remove(&node);
            return;
        };
        let smoothed = self.0.entry(node).or_insert(seconds);
        *smoothed += (seconds - *smoothed) * WEIGHT;
    }

    /// Forgets all others.
    fn keep_only(&mut self, nodes: &HashSet<NodeId>) {
        self.0.retain(|node, _| nodes.contains(node));
    }

    /// The node of `shard` to read from, if it was `present` before.
    fn nearest(&self, shard: &Shard, present: Option<NodeId>) -> Option<NodeId> {
        let known = members(shard).filter_map(|node| Some((node, *self.0.get(&node)?)));
        let (best, fastest) = known.min_by(|(_, a), (_, b)| a.total_cmp(b))?;
        let is_member = |node: &NodeId| members(shard).any(|member| member == *node);
        let present = present.filter(is_member).unwrap_or(shard.primary);
        match self.0.get(&present) {
            Some(seconds) if fastest >= seconds * FASTER => Some(present),
            _ => Some(best),
        }
    }
}

fn members(shard: &Shard) -> impl Iterator<Item = NodeId> {
    std::iter::once(shard.primary).chain(shard.replicas.iter().copied())
}

impl Discovery {
    /// Measures for ever, if anybody wants to know: at once, when nodes come and go, and now and then.
    pub(super) async fn measure(&self) {
        if !self.settings.measures_nodes {
            std::future::pending::<()>().await;
        }
        let limits = self.settings.topology;
        let mut news = self.publisher.subscribe();
        loop {
            news.mark_unchanged();
            self.measure_once().await;
            sleep(limits.refresh_min.mul_f64(1.0 + fastrand::f64() / 2.0)).await;
            tokio::select! {
                _ = news.changed() => {}
                () = sleep(limits.refresh_every.mul_f64(1.0 - fastrand::f64() / 4.0)) => {}
            }
        }
    }

    async fn measure_once(&self) {
        let topology = self.publisher.current();
        let nodes: HashSet<NodeId> = topology.shards().iter().flat_map(members).collect();
        self.distances.borrow_mut().keep_only(&nodes);
        let mut waiting = nodes.into_iter();
        let mut under_way = JoinSet::new();
        loop {
            while under_way.len() < MAX_AT_ONCE
                && let Some(node) = waiting.next()
            {
                let (settings, endpoint) = (self.settings.clone(), self.nodes.endpoint(node));
                under_way.spawn(async move { (node, round_trip(&settings, endpoint).await) });
            }
            match under_way.join_next().await {
                Some(Ok((node, answered))) => self.distances.borrow_mut().measured(node, answered.ok()),
                Some(Err(_)) => {}
                None => break,
            }
        }
        self.publish(self.with_nearest(Topology::clone(&self.publisher.current())));
    }

    /// `topology` with the nearest node of each shard, as far as it is measured.
    pub(super) fn with_nearest(&self, topology: Topology) -> Topology {
        if !self.settings.measures_nodes {
            return topology;
        }
        let (current, distances) = (self.publisher.current(), self.distances.borrow());
        topology.with_nearest(|shard| {
            let present = current.shard_of(shard.primary).and_then(|shard| shard.nearest);
            distances.nearest(shard, present)
        })
    }
}

/// How long the node at `endpoint` takes to answer.
async fn round_trip(settings: &UpstreamSettings, endpoint: Option<Endpoint>) -> Result<Duration, AskError> {
    let endpoint = endpoint.ok_or(AskError::NotAsked)?;
    let credentials = (settings.username.as_deref(), settings.password.as_ref());
    let mut node = Inquiry::open(&endpoint, credentials, settings.connect_timeout).await?;
    let mut shortest = Duration::MAX;
    for _ in 0..PINGS {
        let asked_at = Instant::now();
        accepted("PING", &node.ask(&["PING"]).await?)?;
        shortest = shortest.min(asked_at.elapsed());
    }
    Ok(shortest)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The primary is node 0, its replicas are 1 and 2.
    fn shard() -> Shard {
        let replicas = Box::new([NodeId(1), NodeId(2)]);
        Shard { primary: NodeId(0), replicas, nearest: None, identity: 0 }
    }

    fn distances(millis: [Option<u64>; 3]) -> Distances {
        let mut distances = Distances::default();
        for (node, millis) in (0..).zip(millis) {
            distances.measured(NodeId(node), millis.map(Duration::from_millis));
        }
        distances
    }

    fn nearest(millis: [Option<u64>; 3], present: Option<u32>) -> Option<u32> {
        distances(millis).nearest(&shard(), present.map(NodeId)).map(|node| node.0)
    }

    #[test]
    fn the_nearest_is_the_fastest_of_those_that_answer() {
        assert_eq!(Some(2), nearest([Some(30), Some(20), Some(10)], None));
        assert_eq!(Some(1), nearest([Some(30), Some(20), None], None));
        assert_eq!(Some(1), nearest([None, Some(20), None], Some(2)));
        assert_eq!(None, nearest([None; 3], Some(1)));
    }

    #[test]
    fn another_node_must_be_faster_by_a_fifth() {
        assert_eq!(Some(0), nearest([Some(100), Some(81), None], None));
        assert_eq!(Some(1), nearest([Some(100), Some(79), None], None));
        assert_eq!(Some(1), nearest([Some(81), Some(100), None], Some(1)));
        assert_eq!(Some(0), nearest([Some(79), Some(100), None], Some(1)));
        // One that belongs to the shard no more.
        assert_eq!(Some(0), nearest([Some(90), Some(100), None], Some(9)));
    }

    #[test]
    fn one_slow_answer_changes_nothing() {
        let mut distances = distances([Some(80), Some(60), None]);
        let mut present = None;
        let mut seen = Vec::new();
        for millis in [100, 60, 200, 200, 200] {
            distances.measured(NodeId(1), Some(Duration::from_millis(millis)));
            present = distances.nearest(&shard(), present);
            seen.push(present.map(|node| node.0));
        }
        // 70 and 67.5 against 80 are not a fifth less.
        assert_eq!(vec![Some(0); 5], seen);
        distances.measured(NodeId(0), None);
        assert_eq!(Some(NodeId(1)), distances.nearest(&shard(), present));
    }

    #[test]
    fn what_is_measured_is_smoothed() {
        let mut distances = distances([Some(80), Some(40), None]);
        distances.measured(NodeId(1), Some(Duration::from_millis(80)));
        assert_eq!(Some(NodeId(1)), distances.nearest(&shard(), None));
        distances.keep_only(&HashSet::from([NodeId(0)]));
        assert_eq!(Some(NodeId(0)), distances.nearest(&shard(), Some(NodeId(1))));
    }
}
