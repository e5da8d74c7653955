//! What `tenantry check --connect` finds: whether every node of an upstream is there, and is what the configuration
//! says it is.
//!
//! Nodes are found and greeted as they are when the proxy runs, so that what is found here is what it would find.

use std::fmt::Display;
use std::sync::Arc;

use crate::command::slot::SLOTS;
use crate::resp::Version;
use crate::routing::Access;
use crate::routing::topology::{NodeId, Shard, Topology};
use crate::settings::{Deployment, Endpoint, Restore, UpstreamSettings};
use crate::upstream::connect::{ConnectError, connect};
use crate::upstream::discovery::{AskError, Discovery, Outcome};
use crate::upstream::handshake::{Refused, Script};
use crate::upstream::nodes::Nodes;
use crate::upstream::{Fingerprint, Greeting, Load};

/// One line about an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// As it should be, or worth knowing.
    Good(String),
    /// Not as it should be.
    Bad(String),
}

/// Everything that can be found out about one upstream.
pub async fn upstream(settings: UpstreamSettings) -> Vec<Finding> {
    let nodes = Arc::new(Nodes::default());
    let visit = Visit { settings: Arc::new(settings), nodes };
    let (discovery, _feed) = Discovery::new(Arc::clone(&visit.settings), Arc::clone(&visit.nodes));
    match discovery.once().await {
        Ok((topology, outcome)) => visit.all(&topology, outcome).await,
        Err(error) => vec![visit.not_found(error).await],
    }
}

/// One upstream that is looked at.
struct Visit {
    settings: Arc<UpstreamSettings>,
    nodes: Arc<Nodes>,
}

/// A node that should be there.
struct Member {
    endpoint: Endpoint,
    access: Access,
    /// What is said of it besides that it answers.
    role: String,
}

impl Visit {
    /// All nodes, and then the whole.
    async fn all(&self, topology: &Topology, outcome: Outcome) -> Vec<Finding> {
        let (mut findings, mut all_check_payloads) = (Vec::new(), true);
        for (position, shard) in topology.shards().iter().enumerate() {
            for Member { endpoint, access, role } in self.members(topology, position, shard) {
                findings.push(match self.greet(&endpoint, access).await {
                    Ok(Greeting { version, checks_payloads, .. }) => {
                        all_check_payloads &= checks_payloads || access == Access::ReadOnly;
                        Finding::Good(format!("{} answers: Redis {version}{role}", self.one_of_it(&endpoint)))
                    }
                    Err(error) => self.complaint(&endpoint, &error),
                });
            }
        }
        if matches!(self.settings.deployment, Deployment::Cluster { .. }) {
            findings.extend(self.of_the_cluster(topology, outcome));
        }
        if self.settings.restore == Restore::Checked && !all_check_payloads {
            findings.push(Finding::Good(unchecked_payloads(&self.settings.name)));
        }
        findings
    }

    /// The nodes of a shard.
    fn members(&self, topology: &Topology, position: usize, shard: &Shard) -> Vec<Member> {
        let address = |node: NodeId| self.nodes.endpoint(node);
        let slots: usize = topology.slots_of(position).iter().map(ExactSizeIterator::len).sum();
        let role = match &self.settings.deployment {
            Deployment::Node(_) => String::new(),
            Deployment::Sentinel(_) => ", primary".to_owned(),
            Deployment::Cluster { .. } => format!(", primary of {slots} slots"),
        };
        let Some(endpoint) = address(shard.primary) else { return Vec::new() };
        let follower = format!(", replica of {endpoint}");
        let replicas = shard.replicas.iter().filter_map(|node| {
            Some(Member { endpoint: address(*node)?, access: Access::ReadOnly, role: follower.clone() })
        });
        let replicas: Vec<Member> = replicas.collect();
        std::iter::once(Member { endpoint, access: Access::ReadWrite, role }).chain(replicas).collect()
    }

    fn of_the_cluster(&self, topology: &Topology, outcome: Outcome) -> Vec<Finding> {
        let (name, unserved) = (&self.settings.name, topology.unserved());
        let served = usize::from(SLOTS).saturating_sub(unserved);
        let line = format!("upstream '{name}' serves {served} of {SLOTS} slots");
        let mut findings = vec![if unserved == 0 { Finding::Good(line) } else { Finding::Bad(line) }];
        if outcome == Outcome::Doubtful {
            findings.push(Finding::Bad(format!("upstream '{name}' is down in the eyes of its own nodes")));
        }
        findings
    }

    async fn greet(&self, endpoint: &Endpoint, access: Access) -> Result<Greeting, ConnectError> {
        let (node, version) = (NodeId(0), Version::Resp2);
        let fingerprint =
            Fingerprint { upstream: 0, node, access, version, database: None, load: Load::Light };
        Ok(connect(&self.settings, endpoint, fingerprint, Script::Shared).await?.greeting)
    }

    /// Why no node is known. A server that is no member of a cluster says best by itself what it is.
    async fn not_found(&self, error: AskError) -> Finding {
        if let Deployment::Cluster { seeds } = &self.settings.deployment {
            for seed in seeds {
                let greeted = self.greet(seed, Access::ReadWrite).await;
                if let Err(error @ ConnectError::Refused(Refused::Mode { .. })) = greeted {
                    return self.complaint(seed, &error);
                }
            }
        }
        self.complaint(&self.settings.deployment, &error)
    }

    fn complaint(&self, place: &dyn Display, error: &dyn Display) -> Finding {
        Finding::Bad(format!("upstream '{}' at {place}: {error}", self.settings.name))
    }

    /// The upstream, and which of its nodes if it may have several.
    fn one_of_it(&self, endpoint: &Endpoint) -> String {
        let name = &self.settings.name;
        if self.settings.deployment.is_fixed() {
            return format!("upstream '{name}'");
        }
        format!("upstream '{name}': {endpoint}")
    }
}

fn unchecked_payloads(upstream: &str) -> String {
    format!(
        "upstream '{upstream}' does not say that it checks payloads, so RESTORE will be refused: \
         set sanitize-dump-payload to 'clients' there"
    )
}
