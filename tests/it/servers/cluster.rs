//! A Redis Cluster, with or without replicas.
//!
//! Its nodes are members from the beginning: each finds the whole cluster in its `nodes.conf`, as a node that is
//! started again does. So nobody has to be introduced to anybody, and a cluster serves after the two seconds for
//! which a primary that has just been started stays out of it, whatever it knows.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::ops::RangeInclusive;

use tenantry::command::slot::slot;

use super::{
    FOLLOWED_AT_ONCE, RedisServer, START_ATTEMPTS, free_port, free_ports, map_of, node_id, order, text_of,
    wait_for,
};
use crate::wire::{Client, Tree, show};

/// Options of a node that keeps what it has acknowledged over `kill -9`: it hands every write to the kernel
/// before it replies, and is never held up by a disk (`appendfsync`).
pub(crate) const DURABLE: &[&str] = &["--appendonly", "yes", "--appendfsync", "no"];

/// The slots of the primaries at the start.
pub(crate) const SLOTS: [RangeInclusive<u16>; 3] = [0..=5460, 5461..=10922, 10923..=16383];

/// One node of a cluster; its role may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Node(usize);

/// What a cluster is made of at the start.
#[derive(Clone, Copy)]
pub(crate) enum Shape {
    /// Three primaries with a replica each; a node that is silent for two seconds is given up.
    Replicated,
    /// Three primaries, for scenarios without failover: a machine that stalls for seconds changes nothing.
    PrimariesOnly,
}

impl Shape {
    fn size(self) -> usize {
        match self {
            Self::Replicated => 6,
            Self::PrimariesOnly => 3,
        }
    }

    fn options(self) -> &'static [&'static str] {
        match self {
            Self::Replicated => &["--cluster-node-timeout", "2000", "--cluster-replica-validity-factor", "0"],
            Self::PrimariesOnly => &["--cluster-node-timeout", "15000"],
        }
    }
}

/// What every node is told besides. Replicas stay where they are, so that tests know them.
const OPTIONS: &[&str] = &["--cluster-enabled", "yes", "--cluster-allow-replica-migration", "no"];

/// A running cluster.
pub(crate) struct RedisCluster {
    servers: Vec<RedisServer>,
    ids: Vec<String>,
    frozen: BTreeSet<Node>,
}

impl RedisCluster {
    /// Three primaries and three replicas, without persistence.
    pub(crate) fn start() -> Self {
        Self::start_with(Shape::Replicated, &[])
    }

    /// Three primaries.
    pub(crate) fn start_without_replicas() -> Self {
        Self::start_with(Shape::PrimariesOnly, &[])
    }

    /// Starts with more options for each node, as on the command line of `redis-server`.
    pub(crate) fn start_with(shape: Shape, options: &[&str]) -> Self {
        for _ in 0..START_ATTEMPTS {
            let mut cluster = Self::prepared(shape, options);
            if cluster.try_start() {
                cluster.wait_until_settled();
                return cluster;
            }
        }
        panic!("the nodes of a cluster found a port taken {START_ATTEMPTS} times");
    }

    fn prepared(shape: Shape, options: &[&str]) -> Self {
        let ports = free_ports::<12>();
        let members: Vec<Member> = ports.chunks_exact(2).take(shape.size()).map(Member::new).collect();
        let server = |(index, member): (usize, &Member)| {
            let bus = member.bus.to_string();
            let all =
                [OPTIONS, FOLLOWED_AT_ONCE, shape.options(), &["--cluster-port", &bus], options].concat();
            let server = RedisServer::prepared(member.port, all.iter().map(ToString::to_string).collect());
            server.write_file("nodes.conf", &nodes_conf(&members, index));
            server
        };
        let servers = members.iter().enumerate().map(server).collect();
        Self { servers, ids: members.into_iter().map(|member| member.id).collect(), frozen: BTreeSet::new() }
    }

    /// All at once: each has its own two seconds before it.
    fn try_start(&mut self) -> bool {
        std::thread::scope(|scope| {
            let starting: Vec<_> =
                self.servers.iter_mut().map(|server| scope.spawn(|| server.try_restart())).collect();
            starting.into_iter().all(|one| one.join().expect("a node that does not start has said why"))
        })
    }

    /// Starts a node that owns nothing yet, and waits until every node knows it.
    pub(crate) fn add_primary(&mut self) -> Node {
        let bus = free_port().to_string();
        let options = [OPTIONS, &["--cluster-node-timeout", "15000", "--cluster-port", &bus]].concat();
        let server = RedisServer::start_with(&options);
        self.ids.push(text_of(&server.client().call(&["CLUSTER", "MYID"])));
        let meet = format!("CLUSTER MEET 127.0.0.1 {} {bus}", server.port);
        order(&mut self.client(Node(0)), &meet);
        self.servers.push(server);
        self.wait_until_settled();
        Node(self.servers.len() - 1)
    }

    /// Takes a node that owns nothing out of the cluster, and ends it.
    pub(crate) fn remove(&mut self, node: Node) {
        let forget = format!("CLUSTER FORGET {}", self.id(node));
        let others = self.running().into_iter().filter(|other| *other != node);
        others.for_each(|other| order(&mut self.client(other), &forget));
        self.kill(node);
        self.wait_until_settled();
    }

    /// How an upstream is configured for it: three seeds.
    pub(crate) fn url(&self) -> String {
        let seeds = self.servers.iter().take(3).map(|server| format!("127.0.0.1:{}", server.port));
        format!("redis+cluster://{}", seeds.collect::<Vec<_>>().join(","))
    }

    /// Every node, also those that are down.
    pub(crate) fn nodes(&self) -> Vec<Node> {
        (0..self.servers.len()).map(Node).collect()
    }

    /// The nodes that run and own slots, in the order of their slots.
    pub(crate) fn primaries(&self) -> Vec<Node> {
        let mut owners: Vec<_> = self.rows().into_iter().filter(|row| !row.slots.is_empty()).collect();
        owners.sort_by_key(|row| *row.slots[0].start());
        let nodes = owners.iter().filter_map(|row| self.node(&row.id));
        nodes.filter(|node| self.is_up(*node)).collect()
    }

    /// The replicas that run.
    pub(crate) fn replicas(&self) -> Vec<Node> {
        let rows = self.rows();
        let replicas = rows.iter().filter(|row| row.primary.is_some());
        replicas.filter_map(|row| self.node(&row.id)).filter(|node| self.is_up(*node)).collect()
    }

    /// A replica of `primary` that runs.
    pub(crate) fn replica_of(&self, primary: Node) -> Node {
        let rows = self.rows();
        let id = Some(self.id(primary));
        let of = rows.iter().filter(|row| row.primary.as_deref() == id);
        let running = of.filter_map(|row| self.node(&row.id)).find(|node| self.is_up(*node));
        running.unwrap_or_else(|| panic!("{primary:?} has no replica"))
    }

    /// The primary that owns `slot`.
    pub(crate) fn owner_of(&self, slot: u16) -> Node {
        let rows = self.rows();
        let owner = rows.iter().find(|row| row.slots.iter().any(|slots| slots.contains(&slot)));
        owner.and_then(|row| self.node(&row.id)).unwrap_or_else(|| panic!("nobody owns slot {slot}"))
    }

    /// The slots of a primary.
    pub(crate) fn slots_of(&self, primary: Node) -> Vec<RangeInclusive<u16>> {
        let row = self.rows().into_iter().find(|row| row.id == self.id(primary));
        row.map(|row| row.slots).unwrap_or_default()
    }

    /// The primary that has the physical key `key`.
    pub(crate) fn primary_of(&self, key: &str) -> Node {
        self.owner_of(slot_of(key))
    }

    /// A connection to a node itself.
    pub(crate) fn client(&self, node: Node) -> Client {
        self.server(node).client()
    }

    /// The process of a node.
    pub(crate) fn server(&self, node: Node) -> &RedisServer {
        &self.servers[node.0]
    }

    /// How the cluster names a node.
    pub(crate) fn id(&self, node: Node) -> &str {
        &self.ids[node.0]
    }

    fn node(&self, id: &str) -> Option<Node> {
        self.ids.iter().position(|own| own == id).map(Node)
    }

    fn is_up(&self, node: Node) -> bool {
        self.server(node).is_up() && !self.frozen.contains(&node)
    }

    fn running(&self) -> Vec<Node> {
        self.nodes().into_iter().filter(|node| self.is_up(*node)).collect()
    }

    /// Ends a node at once, as a crash would.
    pub(crate) fn kill(&mut self, node: Node) {
        self.servers[node.0].kill();
    }

    /// Starts a killed node again, with what it has stored: its place in the cluster, and its keys if it is
    /// durable. A primary that has lost its keys makes its replicas lose theirs.
    pub(crate) fn restart(&mut self, node: Node) {
        self.servers[node.0].restart();
    }

    /// Stops a node without closing its connections.
    pub(crate) fn freeze(&mut self, node: Node) {
        self.server(node).freeze();
        self.frozen.insert(node);
    }

    /// Continues a frozen node.
    pub(crate) fn thaw(&mut self, node: Node) {
        self.server(node).thaw();
        self.frozen.remove(&node);
    }

    /// Makes the replica of `primary` take its place without loss, waits until every node agrees, and says who
    /// the new primary is.
    pub(crate) fn fail_over(&self, primary: Node) -> Node {
        let replica = self.replica_of(primary);
        order(&mut self.client(replica), "CLUSTER FAILOVER");
        wait_for("a replica to be the primary", || self.primaries().contains(&replica));
        self.wait_until_settled();
        replica
    }

    /// Makes a replica leave the cluster, and come back as a primary without slots.
    pub(crate) fn add_again(&self, replica: Node) {
        let others = self.running().into_iter().filter(|node| *node != replica);
        let addresses: Vec<_> = others.map(|node| self.bus_address(node)).collect();
        let mut client = self.client(replica);
        order(&mut client, "CLUSTER RESET");
        for address in addresses {
            order(&mut client, &format!("CLUSTER MEET {address}"));
        }
        wait_for("a node to be a primary", || !self.replicas().contains(&replica));
        self.wait_until_settled();
    }

    /// The address of a node as `CLUSTER MEET` takes it.
    fn bus_address(&self, node: Node) -> String {
        let asked = self.client(node).call(&["CONFIG", "GET", "cluster-port"]);
        let bus = map_of(&Tree::of(&asked)).remove("cluster-port").expect("every node has one");
        format!("127.0.0.1 {} {bus}", self.server(node).port)
    }

    /// Moves slots with their keys, one after the other, while everything is served.
    pub(crate) fn migrate_slots(&self, slots: RangeInclusive<u16>, source: Node, target: Node) {
        let mut migration = self.migration(source, target);
        for slot in slots {
            migration.begin(slot);
            while migration.move_keys(slot, 100) > 0 {}
            migration.finish(slot);
        }
        self.wait_until_settled();
    }

    /// The same step by step.
    pub(crate) fn migration(&self, source: Node, target: Node) -> Migration {
        let others = self.primaries().into_iter().filter(|node| ![source, target].contains(node));
        Migration {
            source: self.client(source),
            target: self.client(target),
            others: others.map(|node| self.client(node)).collect(),
            source_id: self.id(source).to_owned(),
            target_id: self.id(target).to_owned(),
            target_port: self.server(target).port,
        }
    }

    /// Waits until a node that runs takes writes to a slot, whoever it is.
    pub(crate) fn wait_until_served(&self, slot: u16) {
        let key = (0..1_000_000).map(|number| format!("probe:{number}")).find(|key| slot_of(key) == slot);
        let write = format!("SET {} v", key.expect("a slot has keys"));
        wait_for("a slot to be served", || {
            self.running().into_iter().any(|node| self.client(node).ask(&write) == "+OK\\r\\n")
        });
    }

    /// Waits until every node that runs serves, agrees with the others about who owns what, and follows its
    /// primary if it is a replica; and until no slot belongs to a node that does not run.
    pub(crate) fn wait_until_settled(&self) {
        wait_for("a settled cluster", || self.is_settled());
    }

    fn is_settled(&self) -> bool {
        let running = self.running();
        let mut views = running.iter().map(|node| self.view(*node));
        let Some(first) = views.next() else { return false };
        let is_in_service = |row: &Row| {
            let runs = self.node(&row.id).is_some_and(|node| running.contains(&node));
            runs && !row.is_failing || row.slots.is_empty() && !runs
        };
        self.rows().iter().all(is_in_service)
            && views.all(|view| view == first)
            && running.iter().all(|node| serves(&mut self.client(*node)))
    }

    /// What a node says about those that run.
    fn view(&self, node: Node) -> Vec<Row> {
        let rows = Row::all(&mut self.client(node));
        rows.into_iter().filter(|row| self.node(&row.id).is_some_and(|node| self.is_up(node))).collect()
    }

    /// What the first node that runs says about all.
    fn rows(&self) -> Vec<Row> {
        let node = self.running().into_iter().next().expect("a node of the cluster runs");
        Row::all(&mut self.client(node))
    }
}

fn slot_of(key: &str) -> u16 {
    slot(key.as_bytes())
}

/// Whether a node is content with its cluster and, as a replica, with its primary.
fn serves(client: &mut Client) -> bool {
    let state = text_of(&client.call(&["CLUSTER", "INFO"]));
    let replication = text_of(&client.call(&["INFO", "replication"]));
    let follows = replication.contains("role:master") || replication.contains("master_link_status:up");
    state.contains("cluster_state:ok") && follows
}

/// A live migration of slots, so that a test can stop anywhere in it.
pub(crate) struct Migration {
    source: Client,
    target: Client,
    others: Vec<Client>,
    source_id: String,
    target_id: String,
    target_port: u16,
}

impl Migration {
    /// From now on keys of the slot that the source does not have are asked of the target (`ASK`), and
    /// requests with keys on both are answered `TRYAGAIN`.
    pub(crate) fn begin(&mut self, slot: u16) {
        order(&mut self.target, &format!("CLUSTER SETSLOT {slot} IMPORTING {}", self.source_id));
        order(&mut self.source, &format!("CLUSTER SETSLOT {slot} MIGRATING {}", self.target_id));
    }

    /// Moves so many keys of the slot at most; says how many it were.
    pub(crate) fn move_keys(&mut self, slot: u16, at_most: usize) -> usize {
        let keys = self.source.call(&["CLUSTER", "GETKEYSINSLOT", &slot.to_string(), &at_most.to_string()]);
        let keys = Tree::of(&keys);
        if keys.elements().is_empty() {
            return 0;
        }
        let port = self.target_port.to_string();
        let mut migrate: Vec<&[u8]> =
            [b"MIGRATE" as &[u8], b"127.0.0.1", port.as_bytes(), b"", b"0", b"10000", b"KEYS"].to_vec();
        migrate.extend(keys.elements().iter().map(Tree::payload));
        assert_eq!("+OK\\r\\n", show(&self.source.call(&migrate)), "MIGRATE");
        keys.elements().len()
    }

    /// Gives the slot to the target. The order is that of the cluster specification: whoever reads `MOVED` from
    /// the source finds that the target knows.
    pub(crate) fn finish(&mut self, slot: u16) {
        let change = format!("CLUSTER SETSLOT {slot} NODE {}", self.target_id);
        for client in [&mut self.target, &mut self.source].into_iter().chain(&mut self.others) {
            order(client, &change);
        }
    }
}

/// What one node says about another or about itself.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    id: String,
    /// None of a primary.
    primary: Option<String>,
    is_failing: bool,
    slots: Vec<RangeInclusive<u16>>,
}

impl Row {
    /// In the order of their ids.
    fn all(client: &mut Client) -> Vec<Self> {
        let text = text_of(&client.call(&["CLUSTER", "NODES"]));
        let mut rows: Vec<_> = text.lines().map(Self::of).collect();
        rows.sort_by(|one, other| one.id.cmp(&other.id));
        rows
    }

    /// Slots under way stand in brackets, at their source and target only; they are left out.
    fn of(line: &str) -> Self {
        let words: Vec<&str> = line.split(' ').collect();
        let range = |text: &str| {
            let (first, last) = text.split_once('-').unwrap_or((text, text));
            Some(first.parse().ok()?..=last.parse().ok()?)
        };
        Self {
            id: words[0].to_owned(),
            primary: (words[3] != "-").then(|| words[3].to_owned()),
            is_failing: words[2].contains("fail"),
            slots: words[8..].iter().filter_map(|text| range(text)).collect(),
        }
    }
}

/// A node as it is planned.
struct Member {
    id: String,
    port: u16,
    bus: u16,
}

impl Member {
    fn new(ports: &[u16]) -> Self {
        Self { id: node_id(), port: ports[0], bus: ports[1] }
    }
}

/// The file in which the node number `own` finds all members: first the primaries, then the replica of each.
fn nodes_conf(members: &[Member], own: usize) -> String {
    let mut text = String::new();
    for (index, Member { id, port, bus }) in members.iter().enumerate() {
        let shard = index % SLOTS.len();
        let myself = if index == own { "myself," } else { "" };
        let (role, slots) = if index == shard {
            ("master -".to_owned(), format!(" {}-{}", SLOTS[shard].start(), SLOTS[shard].end()))
        } else {
            (format!("slave {}", members[shard].id), String::new())
        };
        let epoch = shard + 1;
        writeln!(text, "{id} 127.0.0.1:{port}@{bus} {myself}{role} 0 0 {epoch} connected{slots}").unwrap();
    }
    writeln!(text, "vars currentEpoch {} lastVoteEpoch 0", SLOTS.len()).unwrap();
    text
}
