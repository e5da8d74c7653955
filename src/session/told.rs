//! What the primaries of one upstream have said of themselves to one worker, and what that makes of the upstream.
//!
//! A client sees one server, so the upstream is what all of its primaries are: as old as the oldest, with the
//! commands that all have and the smallest limit. What a primary has said counts until its connection ends, since
//! by the time it is there again it may be another server. `RESTORE` is forwarded only while every primary of the
//! topology is connected and has said that it checks payloads: a client's key may be on any of them.

use std::collections::HashMap;

use super::machine::UpstreamView;
use super::persona::{Payloads, Persona};
use crate::routing::topology::NodeId;
use crate::settings::Restore;
use crate::tenant::UpstreamLimits;
use crate::upstream::Greeting;

/// What the primaries that are connected have said.
#[derive(Debug, Default)]
pub(super) struct Told {
    by: HashMap<NodeId, Introduction>,
}

#[derive(Debug)]
struct Introduction {
    persona: Persona,
    max_bulk: Option<usize>,
    checks_payloads: bool,
}

impl Told {
    /// A primary is connected.
    pub(super) fn hear(&mut self, node: NodeId, greeting: &Greeting) {
        let Greeting { max_bulk, checks_payloads, .. } = *greeting;
        let persona = Persona::from_greeting(greeting);
        self.by.insert(node, Introduction { persona, max_bulk, checks_payloads });
    }

    /// It is so no more.
    pub(super) fn forget(&mut self, node: NodeId) {
        self.by.remove(&node);
    }

    /// Whether a primary is connected that has said that it checks payloads.
    pub(super) fn checks_payloads(&self, node: NodeId) -> bool {
        self.by.get(&node).is_some_and(|said| said.checks_payloads)
    }

    /// Puts into `view` what is known of the primaries of its topology. While none is connected, what was last
    /// known of version and commands stays.
    pub(super) fn describe(&self, view: &mut UpstreamView, restore: Restore, configured: UpstreamLimits) {
        let primaries: Vec<NodeId> = view.topology.shards().iter().map(|shard| shard.primary).collect();
        let known: Vec<&Introduction> = primaries.iter().filter_map(|node| self.by.get(node)).collect();
        if let Some(persona) = known.iter().map(|said| said.persona.clone()).reduce(Persona::common) {
            view.persona = persona;
        }
        let max_bulk = known.iter().filter_map(|said| said.max_bulk).chain([configured.max_bulk]).min();
        view.limits = UpstreamLimits { max_bulk: max_bulk.unwrap_or(configured.max_bulk), ..configured };
        let is_complete = !primaries.is_empty() && known.len() == primaries.len();
        view.payloads = match (restore, known.iter().all(|said| said.checks_payloads)) {
            (Restore::Never, _) => Payloads::Denied,
            (Restore::Always, _) => Payloads::Forwarded,
            (Restore::Checked, false) => Payloads::Unchecked,
            (Restore::Checked, true) if is_complete => Payloads::Forwarded,
            (Restore::Checked, true) => Payloads::Unknown,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::find;
    use crate::routing::topology::{Shard, Topology};
    use std::sync::Arc;

    const CONFIGURED: UpstreamLimits = UpstreamLimits { max_bulk: 1000, max_request: 5000 };

    fn view() -> UpstreamView {
        let shard = |node, slots| {
            let primary = NodeId(node);
            (Shard { primary, replicas: Box::default(), nearest: None, identity: 0 }, vec![slots])
        };
        UpstreamView {
            persona: Persona::default(),
            topology: Arc::new(Topology::cluster(vec![shard(1, 0..=99), shard(2, 100..=16383)])),
            limits: CONFIGURED,
            payloads: Payloads::Unknown,
            database: 0,
        }
    }

    fn greeting(version: &str, max_bulk: usize, checks_payloads: bool, commands: &[&str]) -> Greeting {
        let commands = commands.iter().map(ToString::to_string).collect();
        Greeting {
            version: version.into(),
            max_bulk: Some(max_bulk),
            checks_payloads,
            commands,
            client_id: 0,
        }
    }

    fn described(told: &Told, restore: Restore) -> UpstreamView {
        let mut view = view();
        told.describe(&mut view, restore, CONFIGURED);
        view
    }

    #[test]
    fn the_upstream_is_what_all_of_its_primaries_are() {
        let mut told = Told::default();
        told.hear(NodeId(1), &greeting("7.2.4", 700, true, &["get", "set"]));
        told.hear(NodeId(2), &greeting("7.0.15", 800, true, &["get", "touch"]));
        let UpstreamView { persona, limits, .. } = described(&told, Restore::Checked);
        assert_eq!(("7.0.15", 700), (persona.version.as_str(), limits.max_bulk));
        let has = ["GET", "SET", "TOUCH"].map(|name| persona.has(find(name).unwrap()));
        assert_eq!([true, false, false], has);
    }

    #[test]
    fn payloads_are_forwarded_while_every_primary_says_that_it_checks_them() {
        let (checks, believes) = (greeting("7.0.15", 1, true, &[]), greeting("7.0.15", 1, false, &[]));
        let mut told = Told::default();
        let payloads = |told: &Told| described(told, Restore::Checked).payloads;
        assert_eq!(Payloads::Unknown, payloads(&told));
        told.hear(NodeId(1), &checks);
        // Of no topology any more, or not yet.
        told.hear(NodeId(9), &believes);
        assert_eq!(Payloads::Unknown, payloads(&told));
        told.hear(NodeId(2), &checks);
        assert_eq!(Payloads::Forwarded, payloads(&told));
        told.forget(NodeId(2));
        assert_eq!(Payloads::Unknown, payloads(&told));
        told.hear(NodeId(2), &believes);
        assert_eq!(Payloads::Unchecked, payloads(&told));
        assert_eq!(Payloads::Forwarded, described(&told, Restore::Always).payloads);
        assert_eq!(Payloads::Denied, described(&told, Restore::Never).payloads);
    }

    #[test]
    fn what_a_primary_has_said_counts_until_it_is_gone() {
        let mut told = Told::default();
        told.hear(NodeId(1), &greeting("7.0.15", 10, true, &[]));
        assert_eq!(10, described(&told, Restore::Checked).limits.max_bulk);
        told.forget(NodeId(1));
        assert_eq!(CONFIGURED, described(&told, Restore::Checked).limits);
    }
}
