//! What is known of the nodes of each upstream: a page for operators, and numbers for the metrics.
//!
//! It is read from where the workers read it, so that what is shown is what requests are routed by.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use crate::metrics::publish::TopologyFigures;
use crate::routing::topology::{MultiKeyScope, NodeId, Shard, Topology};
use crate::upstream::Feed;
use crate::upstream::nodes::Nodes;

/// The nodes of all upstreams.
#[derive(Clone, Debug)]
pub struct Topologies {
    upstreams: Arc<[Watched]>,
    nodes: Arc<Nodes>,
}

/// One upstream.
#[derive(Debug)]
pub struct Watched {
    /// Its name in the configuration.
    pub name: String,
    /// Whether it is one node for ever.
    pub is_fixed: bool,
    /// What is known.
    pub feed: Feed,
}

impl Topologies {
    /// Of these upstreams, in the order of the configuration.
    pub fn new(upstreams: impl IntoIterator<Item = Watched>, nodes: Arc<Nodes>) -> Self {
        Self { upstreams: upstreams.into_iter().collect(), nodes }
    }

    /// In numbers; `None`: one node for ever.
    pub fn figures(&self) -> impl Iterator<Item = Option<TopologyFigures>> {
        self.upstreams.iter().map(|upstream| (!upstream.is_fixed).then(|| upstream.figures()))
    }

    /// Each upstream with its shards, and each shard with its nodes.
    pub fn page(&self) -> String {
        let mut page = String::new();
        for upstream in self.upstreams.iter() {
            upstream.write(&mut page, &self.nodes, upstream.feed.age());
        }
        page
    }
}

impl Watched {
    fn figures(&self) -> TopologyFigures {
        let topology = self.feed.current();
        let replicas = topology.shards().iter().map(|shard| shard.replicas.len()).sum();
        TopologyFigures {
            refreshes: self.feed.refreshes(),
            changes: topology.version(),
            age: self.feed.age(),
            nodes: [topology.shards().len(), replicas],
            unserved: topology.unserved(),
        }
    }

    fn write(&self, page: &mut String, nodes: &Nodes, age: Duration) {
        let (name, topology) = (&self.name, self.feed.current());
        let line = match (self.is_fixed, topology.scope()) {
            (true, _) => "one node".to_owned(),
            (false, MultiKeyScope::Node) => standing(&topology, age),
            (false, MultiKeyScope::Slot) => {
                format!("{}, {} slots without owner", standing(&topology, age), topology.unserved())
            }
        };
        add(page, &format!("upstream '{name}': {line}"));
        if let Some(failure) = self.feed.failure() {
            add(page, &format!("  nobody can say more: {failure}"));
        }
        for (position, shard) in topology.shards().iter().enumerate() {
            write_shard(page, nodes, shard, &slots(&topology, position));
        }
    }
}

/// How old what is known is.
fn standing(topology: &Topology, age: Duration) -> String {
    format!("version {}, confirmed {} s ago", topology.version(), age.as_secs())
}

fn write_shard(page: &mut String, nodes: &Nodes, shard: &Shard, slots: &str) {
    let address = |node: NodeId| nodes.endpoint(node).map_or_else(|| "-".to_owned(), |at| at.to_string());
    let nearest = |node: NodeId| if shard.nearest == Some(node) { " nearest" } else { "" };
    add(page, &format!("  {} primary{}{slots}", address(shard.primary), nearest(shard.primary)));
    for replica in &shard.replicas {
        add(page, &format!("    {} replica{}", address(*replica), nearest(*replica)));
    }
}

/// ` 0-5460 5462`; nothing where slots do not matter.
fn slots(topology: &Topology, position: usize) -> String {
    if topology.scope() == MultiKeyScope::Node {
        return String::new();
    }
    let range = |range: &RangeInclusive<u16>| match (range.start(), range.end()) {
        (first, last) if first == last => format!(" {first}"),
        (first, last) => format!(" {first}-{last}"),
    };
    topology.slots_of(position).iter().map(range).collect()
}

fn add(page: &mut String, line: &str) {
    page.push_str(line);
    page.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Endpoint;
    use crate::upstream::feed::feed;

    fn nodes(count: u16) -> Arc<Nodes> {
        let nodes = Nodes::default();
        for port in 0..count {
            nodes.number(&Endpoint::Tcp { host: "10.0.0.1".into(), port: 7000 + port });
        }
        Arc::new(nodes)
    }

    fn shard(primary: u32, replicas: &[u32]) -> Shard {
        let replicas = replicas.iter().copied().map(NodeId).collect();
        Shard { primary: NodeId(primary), replicas, nearest: None, identity: 0 }
    }

    fn watched(is_fixed: bool, feed: Feed) -> Watched {
        Watched { name: "main".into(), is_fixed, feed }
    }

    /// What is shown of one upstream after 4.9 s.
    fn shown(upstream: &Watched, nodes: &Nodes) -> String {
        let mut page = String::new();
        upstream.write(&mut page, nodes, Duration::from_millis(4_900));
        page
    }

    #[test]
    fn a_cluster_is_shown_shard_by_shard() {
        let near = Shard { nearest: Some(NodeId(3)), ..shard(1, &[3]) };
        let claims = vec![(shard(0, &[2]), vec![0..=99, 101..=101]), (near, vec![200..=16383])];
        let (_publisher, feed) = feed(Topology::cluster(claims).with_version(4));
        let cluster = watched(false, feed);
        let expected = "upstream 'main': version 4, confirmed 4 s ago, 99 slots without owner\n  \
                        10.0.0.1:7000 primary 0-99 101\n    10.0.0.1:7002 replica\n  \
                        10.0.0.1:7001 primary 200-16383\n    10.0.0.1:7003 replica nearest\n";
        assert_eq!(expected, shown(&cluster, &nodes(4)));
        let TopologyFigures { changes, nodes, unserved, .. } = cluster.figures();
        assert_eq!((4, [2, 2], 99), (changes, nodes, unserved));
    }

    #[test]
    fn what_nobody_knows_is_said_with_the_reason() {
        let (publisher, feed) = feed(Topology::unknown());
        publisher.unanswered("connection refused".into());
        let expected = "upstream 'main': version 0, confirmed 4 s ago, 16384 slots without owner\n  \
                        nobody can say more: connection refused\n";
        assert_eq!(expected, shown(&watched(false, feed), &nodes(0)));
    }

    #[test]
    fn one_node_has_no_slots_and_no_numbers() {
        let (_publisher, feed) = feed(Topology::of_one_node(NodeId(0)));
        let topologies = Topologies::new([watched(true, feed)], nodes(1));
        assert_eq!("upstream 'main': one node\n  10.0.0.1:7000 primary\n", topologies.page());
        assert_eq!(vec![None], topologies.figures().collect::<Vec<_>>());
    }
}
