//! In front of a cluster: redirections that clients never see, nodes that are gone, frozen or talk nonsense,
//! reads from replicas, and the order of what goes to several nodes.

mod bad_input;
mod order;
mod reads;
mod redirections;

use std::sync::atomic::{AtomicBool, Ordering};

use tenantry::command::slot::slot;

use crate::servers::{Node, Proxy, RedisCluster, Setup};
use crate::wire::Client;

/// A cluster of three primaries behind a proxy.
fn behind_proxy(lines: &str) -> (RedisCluster, Proxy) {
    let cluster = RedisCluster::start_without_replicas();
    let proxy = Proxy::start(&setup_for(&cluster, lines));
    (cluster, proxy)
}

/// The usual set-up with more lines for the upstream.
pub(crate) fn setup_for(cluster: &RedisCluster, lines: &str) -> Setup {
    let mut setup = Setup::for_upstream(cluster.url());
    setup.upstream_lines = format!("{}\n{lines}", setup.upstream_lines);
    setup
}

/// Hash tags whose slots belong to `node`, all different.
fn tags_of(cluster: &RedisCluster, node: Node) -> impl Iterator<Item = String> {
    (0..).map(|number| format!("tag{number}")).filter(move |tag| cluster.primary_of(tag) == node)
}

/// One of them.
pub(crate) fn tag_of(cluster: &RedisCluster, node: Node) -> String {
    tags_of(cluster, node).next().expect("a node has slots")
}

/// A tag's slot.
pub(crate) fn slot_of(tag: &str) -> u16 {
    slot(tag.as_bytes())
}

/// The sum over all its series of one of the proxy's counters.
fn counted(proxy: &Proxy, name: &str) -> u64 {
    let page = proxy.admin("/metrics").expect("the admin port answers").body;
    let of = |line: &str| {
        let (series, number) = line.rsplit_once(' ')?;
        let is_it = series.split('{').next() == Some(name);
        is_it.then(|| number.parse::<u64>().ok()).flatten()
    };
    page.lines().filter_map(of).sum()
}

/// A section of `INFO`.
fn info(client: &mut Client, section: &str) -> String {
    String::from_utf8(client.call(&["INFO", section])).expect("INFO is text")
}

/// How often a node has carried out `command`, as `INFO commandstats` calls it.
fn calls(client: &mut Client, command: &str) -> u64 {
    let statistics = info(client, "commandstats");
    let start = format!("cmdstat_{command}:calls=");
    let rest = statistics.split(&start).nth(1).unwrap_or("0,");
    rest.split(',').next().and_then(|number| number.parse().ok()).expect("a number of calls")
}

/// How many clients block on a node.
fn blocked(client: &mut Client) -> u64 {
    let clients = info(client, "clients");
    let rest = clients.split("blocked_clients:").nth(1).expect("INFO says how many block");
    rest.lines().next().and_then(|number| number.parse().ok()).expect("a number of clients")
}

/// A bulk string as clients are shown it.
pub(crate) fn bulk(text: &str) -> String {
    format!("${}\\r\\n{text}\\r\\n", text.len())
}

/// Says that it is over, also when an assertion fails.
struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
