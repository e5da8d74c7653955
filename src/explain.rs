//! `tenantry explain`: what would be sent for a command, and to where, without sending it.

use std::sync::Arc;

use bytes::BytesMut;

use crate::command::Located;
use crate::command::slot::SLOTS;
use crate::config::Config;
use crate::resp::cursor::{Cursor, Value};
use crate::resp::{OwnedRequest, SendQueue};
use crate::routing::topology::{NodeId, Shard, Topology};
use crate::session::{Over, Payloads, Peers, Persona, Session, Shortage, Step, Surroundings, UpstreamView};
use crate::settings::{Deployment, UpstreamSettings};
use crate::tenant::UpstreamLimits;
use crate::tenant::directory::Binding;
use crate::tenant::limits::Limits;

/// Explains `words` as `binding` would send them, in `database` if one is given.
pub fn explain(config: &Config, binding: &Arc<Binding>, database: Option<u32>, words: &[Vec<u8>]) -> String {
    let Some(request) = OwnedRequest::from_args(words) else { return "there is no command\n".to_owned() };
    let mut lines =
        vec![format!("tenant    {}", binding.tenant().name), format!("user      {}", binding.user_name())];
    let database = database.unwrap_or_else(|| binding.home_database());
    if binding.namespace(database).is_none() {
        lines.push(format!("database  {database} is out of range: the tenant has {}", binding.databases()));
        return lines.join("\n") + "\n";
    }
    lines.push(format!("database  {database}"));
    let unknown = Persona::default();
    let views = views(config, &unknown);
    let around = Surroundings {
        directory: &config.directory,
        upstreams: &views,
        unknown: &unknown,
        peers: &Alone,
        quota: None,
        shortage: Shortage::None,
    };
    // A session that needs connections of its own gets them before it is asked: asking changes it.
    let mut leases = Vec::new();
    loop {
        let session = Session::new(Some(Arc::clone(binding)), &Alone);
        let Ok(mut session) = session else { return lines.join("\n") + "\n" };
        session.select(database);
        for (slot, node) in &leases {
            session.leased(*slot, *node, 0);
        }
        let (mut located, mut answer) = (Located::new(), BytesMut::new());
        let (step, spec) =
            session.on_request(request.as_request(), &around, &mut located, None, (&mut answer, false));
        if let Step::Lease(slot, node) = step
            && !leases.contains(&(slot, node))
        {
            leases.push((slot, node));
            continue;
        }
        lines.extend(spec.map(|spec| format!("command   {}", spec.full_name_lower())));
        let rates =
            binding.limits().iter().flat_map(|limits| limits.rates.iter().map(move |rate| (limits, rate)));
        let concerned = rates.filter(|(_, rate)| spec.is_some_and(|spec| rate.concerns(spec)));
        lines.extend(concerned.map(|(limits, rate)| format!("limit     {rate} of {}", limits.owner)));
        lines.extend(told(config, &step, &answer));
        return lines.join("\n") + "\n";
    }
}

/// All upstreams as they are before they have answered, except that they are taken to check payloads.
fn views(config: &Config, unknown: &Persona) -> Vec<UpstreamView> {
    let limits =
        UpstreamLimits { max_bulk: config.downstream.max_bulk, max_request: config.downstream.max_request };
    let views = config.upstreams.iter().map(|upstream| UpstreamView {
        persona: unknown.clone(),
        topology: Arc::new(stand_in(&upstream.deployment)),
        limits,
        payloads: if upstream.restore.is_never() { Payloads::Denied } else { Payloads::Forwarded },
        database: upstream.database,
    });
    views.collect()
}

/// One node in the place of all: enough to tell what goes together and, on a cluster, by which slot.
fn stand_in(deployment: &Deployment) -> Topology {
    let node = NodeId(0);
    match deployment {
        Deployment::Node(_) | Deployment::Sentinel(_) => Topology::of_one_node(node),
        Deployment::Cluster { .. } => {
            let shard = Shard { primary: node, replicas: Box::default(), nearest: None, identity: 0 };
            Topology::cluster(vec![(shard, vec![0..=SLOTS - 1])])
        }
    }
}

/// What becomes of the request.
fn told(config: &Config, step: &Step<'_>, answer: &[u8]) -> Vec<String> {
    match step {
        Step::Forward { routed, over, .. } => {
            let mut queue = SendQueue::default();
            routed.queue(&mut queue);
            let over = if *over == Over::Shared { "shared connection" } else { "a connection of its own" };
            let upstream = config.upstreams.get(routed.upstream());
            let node = upstream.and_then(|upstream| unknown_node(&upstream.deployment, routed.to().slot));
            let upstream = upstream.map(|upstream| format!("{}, {over}", upstream_line(upstream)));
            let sent = format!("sent      {}", as_words(&queue.into_bytes()));
            upstream.into_iter().chain(node).chain([sent]).collect()
        }
        Step::Batch(batch) => {
            let sent = batch.requests.iter().map(|sent| {
                let mut queue = SendQueue::default();
                sent.request.as_scoped().queue(&mut queue);
                format!("sent      {}", as_words(&queue.into_bytes()))
            });
            sent.collect()
        }
        Step::Cut(cut) => {
            let sent = cut.parts.iter().map(|(request, to)| {
                let mut queue = SendQueue::default();
                request.as_scoped().queue(&mut queue);
                let slot = to.slot.map_or_else(String::new, |slot| format!("   (slot {slot})"));
                format!("sent      {}{slot}", as_words(&queue.into_bytes()))
            });
            let first = cut.parts.first().map(|(request, _)| request.as_scoped().upstream());
            let upstream = first.and_then(|upstream| config.upstreams.get(upstream)).map(upstream_line);
            upstream.into_iter().chain(sent).collect()
        }
        Step::Compose { .. } => vec!["answer    composed for the tenant's part of the server".to_owned()],
        Step::Answer
        | Step::Refused { .. }
        | Step::AnswerAlways
        | Step::AnswerThenClose
        | Step::Silence
        | Step::Close
        | Step::Lease(..)
        | Step::Delay(_)
        | Step::Wait => {
            vec![format!("sent      nothing, the proxy answers\nanswer    {}", one_line(answer))]
        }
    }
}

/// The upstream, with the one node that it is, or whom it is asked for.
fn upstream_line(UpstreamSettings { name, deployment, .. }: &UpstreamSettings) -> String {
    match deployment {
        Deployment::Node(_) => format!("upstream  {name} ({deployment})"),
        Deployment::Cluster { .. } => format!("upstream  {name} (cluster of {deployment})"),
        Deployment::Sentinel(asked) => {
            format!("upstream  {name} (group {} of sentinels {deployment})", asked.group)
        }
    }
}

/// What can be said of the node where it must be asked for.
fn unknown_node(deployment: &Deployment, slot: Option<u16>) -> Option<String> {
    let node = match (deployment, slot) {
        (Deployment::Node(_), _) => return None,
        (Deployment::Cluster { .. }, Some(slot)) => format!("the one that owns slot {slot}"),
        (Deployment::Cluster { .. }, None) => "one of the cluster".to_owned(),
        (Deployment::Sentinel(_), _) => "the primary".to_owned(),
    };
    Some(format!("node      {node}; not known without connecting"))
}

/// There are no other clients.
#[derive(Debug)]
struct Alone;

impl Peers for Alone {
    fn exists(&self, _: usize, _: u64) -> bool {
        false
    }

    fn is_beyond(&self, _: &Limits) {}
}

/// The words of a multibulk, as one would type them.
fn as_words(request: &[u8]) -> String {
    let mut cursor = Cursor::new(request);
    let mut words = Vec::new();
    while let Some(value) = cursor.next_value() {
        if let Value::Bulk(word) = value {
            let is_plain =
                !word.is_empty() && word.iter().all(|byte| (b'!'..=b'~').contains(byte) && *byte != b'"');
            words.push(if is_plain {
                String::from_utf8_lossy(word).into_owned()
            } else {
                format!("\"{}\"", word.escape_ascii())
            });
        }
    }
    words.join(" ")
}

fn one_line(reply: &[u8]) -> String {
    String::from_utf8_lossy(reply).trim_end().replace("\r\n", " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::layers::Flags;
    use crate::config::{Sources, parse};
    use crate::tenant::prefix::TenantName;

    fn explained(url: &str, tenant: &str, words: &[&str]) -> String {
        let text = format!(
            "[[listener]]\naddress = \"127.0.0.1:1\"\ntenant = \"acme\"\n[tenant.acme]\n{tenant}\n\
             [upstream.main]\nurl = \"{url}\"\n"
        );
        let config = parse(Some(("t.toml", &text)), &Sources::of_process(Flags::default())).unwrap();
        let binding = config.directory.binding_to_explain(&TenantName::parse("acme").unwrap(), None).unwrap();
        let words: Vec<Vec<u8>> = words.iter().map(|word| word.as_bytes().to_vec()).collect();
        explain(&config, &binding, Some(1), &words)
    }

    #[test]
    fn keys_of_a_colocated_tenant_are_shown_with_their_hash_tag() {
        let expected = "tenant    acme\nuser      default\ndatabase  1\ncommand   mget\n\
                        upstream  main (127.0.0.1:6379), shared connection\n\
                        sent      mget {acme}@1:a {acme}@1:{b}c\n";
        let url = "redis://127.0.0.1:6379";
        assert_eq!(expected, explained(url, "colocate = true", &["mget", "a", "{b}c"]));
    }

    #[test]
    fn limits_that_concern_the_command_are_shown() {
        let expected = "tenant    acme\nuser      default\ndatabase  1\ncommand   get\n\
                        limit     10 requests/s of tenant 'acme'\n\
                        limit     0.5 read reply bytes/s of tenant 'acme'\n\
                        upstream  main (127.0.0.1:6379), shared connection\nsent      get acme@1:k\n";
        let limits = "[tenant.acme.limits]\nrequests_per_second = 10\n\
                      [tenant.acme.limits.class.write]\nrequests_per_second = 1\n\
                      [tenant.acme.limits.class.read]\nreply_bytes_per_second = 0.5";
        assert_eq!(expected, explained("redis://127.0.0.1:6379", limits, &["get", "k"]));
    }

    #[test]
    fn a_node_that_must_be_asked_for_is_not_named() {
        for (url, nodes, node) in [
            ("redis+cluster://a:1,b:2", "cluster of a:1,b:2", "the one that owns slot 8633"),
            ("redis+sentinel://a,b/mymaster", "group mymaster of sentinels a:26379,b:26379", "the primary"),
        ] {
            let expected = format!(
                "tenant    acme\nuser      default\ndatabase  1\ncommand   get\n\
                 upstream  main ({nodes}), shared connection\n\
                 node      {node}; not known without connecting\nsent      get acme@1:k\n"
            );
            assert_eq!(expected, explained(url, "", &["get", "k"]), "{url}");
        }
    }

    #[test]
    fn what_a_cluster_takes_apart_is_shown_in_its_parts() {
        let url = "redis+cluster://a:1";
        let expected = "tenant    acme\nuser      default\ndatabase  1\ncommand   mget\n\
                        upstream  main (cluster of a:1)\n\
                        sent      mget acme@1:a   (slot 243)\nsent      mget acme@1:b   (slot 12432)\n";
        assert_eq!(expected, explained(url, "", &["mget", "a", "b"]));
    }

    #[test]
    fn what_a_cluster_would_refuse_works_for_a_colocated_tenant() {
        let last = |tenant| {
            let lines = explained("redis+cluster://a:1", tenant, &["rename", "a", "b"]);
            lines.lines().last().map(str::to_owned)
        };
        let refused = "answer    -CROSSSLOT Keys in request don't hash to the same slot";
        assert_eq!(Some(refused.to_owned()), last(""));
        assert_eq!(Some("sent      rename {acme}@1:a {acme}@1:b".to_owned()), last("colocate = true"));
    }
}
