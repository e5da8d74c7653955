//! A primary, its replica, and three Sentinels that watch them.

use std::process::Command;
use std::sync::Arc;

use super::redis::REDIS_REMEDY;
use super::{
    FOLLOWED_AT_ONCE, Process, RedisServer, START_ATTEMPTS, START_LIMIT, free_ports, map_of, node_id, order,
    wait_for, wait_until,
};
use crate::wire::{Client, Tree};

/// The name under which Sentinels know the group.
pub(crate) const GROUP: &str = "mymaster";

/// How often Sentinels look and speak, in milliseconds. Were they to speak more often, the others would correct
/// what the leader has begun before it has told them; were they to look more often, they would find what they
/// know of the replica too old to promote it.
const PACE: &str = "SENTINEL DEBUG INFO-PERIOD 1000 PUBLISH-PERIOD 1000 ASK-PERIOD 100";

/// A Sentinel. `redis-server` is one when it is told so.
struct Sentinel {
    process: Option<Process>,
    directory: tempfile::TempDir,
    port: u16,
}

impl Sentinel {
    /// It keeps what it knows in its configuration file; what this one begins with, it would have found out in
    /// ten seconds.
    fn prepared(port: u16, configuration: &str) -> Self {
        let directory = tempfile::tempdir().expect("a scratch directory can be made");
        std::fs::write(directory.path().join("sentinel.conf"), configuration).expect("a configuration");
        Self { process: None, directory, port }
    }

    fn try_start(&mut self) -> bool {
        let mut command = Command::new("redis-server");
        command.current_dir(self.directory.path()).args(["sentinel.conf", "--sentinel"]);
        let mut process = Process::start("a Sentinel", &mut command, REDIS_REMEDY);
        let log = Arc::clone(&process.log);
        let watches = wait_until(&log, START_LIMIT, || {
            let has_ended = process.has_ended();
            (has_ended || log.contains("+monitor master")).then_some(!has_ended)
        });
        assert!(watches.is_some(), "a Sentinel does not watch after {START_LIMIT:?}:\n{}", log.text());
        self.process = Some(process);
        watches == Some(true) || {
            assert!(log.contains("ddress already in use"), "a Sentinel ended at start:\n{}", log.text());
            false
        }
    }

    fn client(&self) -> Client {
        Client::tcp(self.port)
    }

    fn primary_port(&self) -> u16 {
        let address = self.client().call(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", GROUP]);
        let address = Tree::of(&address);
        let port = String::from_utf8_lossy(address.elements()[1].payload()).parse();
        port.expect("a Sentinel names a port")
    }
}

/// Two nodes, one of which is the primary, and three Sentinels.
pub(crate) struct SentinelGroup {
    nodes: Vec<RedisServer>,
    sentinels: Vec<Sentinel>,
}

impl SentinelGroup {
    /// Starts without persistence. A primary that is silent for a second is given up.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts with more options for both nodes, as on the command line of `redis-server`.
    pub(crate) fn start_with(options: &[&str]) -> Self {
        for _ in 0..START_ATTEMPTS {
            let mut group = Self::prepared(options);
            if group.try_start() {
                group.wait_until_settled();
                return group;
            }
        }
        panic!("a group of Sentinels found a port taken {START_ATTEMPTS} times");
    }

    fn prepared(options: &[&str]) -> Self {
        let [primary, replica] = free_ports();
        let of_replica = format!("--replicaof 127.0.0.1 {primary}");
        let of_replica: Vec<&str> = of_replica.split(' ').collect();
        let node = |port, own: &[&str]| {
            let all = [FOLLOWED_AT_ONCE, own, options].concat();
            RedisServer::prepared(port, all.iter().map(ToString::to_string).collect())
        };
        let ports = free_ports::<3>();
        let ids = ports.map(|_| node_id());
        let configuration = |own: usize| {
            let mut lines = vec![
                format!("port {}", ports[own]),
                "bind 127.0.0.1".to_owned(),
                format!("sentinel myid {}", ids[own]),
                format!("sentinel monitor {GROUP} 127.0.0.1 {primary} 2"),
                format!("sentinel down-after-milliseconds {GROUP} 1000"),
                format!("sentinel failover-timeout {GROUP} 5000"),
                format!("sentinel known-replica {GROUP} 127.0.0.1 {replica}"),
            ];
            let others = ports.iter().zip(&ids).filter(|(port, _)| **port != ports[own]);
            lines.extend(
                others.map(|(port, id)| format!("sentinel known-sentinel {GROUP} 127.0.0.1 {port} {id}")),
            );
            lines.join("\n") + "\n"
        };
        let sentinels = (0..3).map(|own| Sentinel::prepared(ports[own], &configuration(own))).collect();
        Self { nodes: vec![node(primary, &[]), node(replica, &of_replica)], sentinels }
    }

    fn try_start(&mut self) -> bool {
        if !self.nodes.iter_mut().all(RedisServer::try_restart) {
            return false;
        }
        // A Sentinel that has seen a replica without its primary does not look again for a second.
        let mut replica = self.nodes[1].client();
        wait_for("a replica to follow", || replica.ask("INFO replication").contains("master_link_status:up"));
        let watch = self.sentinels.iter_mut().all(Sentinel::try_start);
        if watch {
            self.sentinels.iter().for_each(|sentinel| order(&mut sentinel.client(), PACE));
        }
        watch
    }

    /// How an upstream is configured for it.
    pub(crate) fn url(&self) -> String {
        let sentinels = self.sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port));
        format!("redis+sentinel://{}/{GROUP}", sentinels.collect::<Vec<_>>().join(","))
    }

    /// The node that a Sentinel names as the primary.
    pub(crate) fn primary(&self) -> &RedisServer {
        let port = self.primary_port();
        self.nodes.iter().find(|node| node.port == port).expect("the primary is one of the two")
    }

    /// The other one.
    pub(crate) fn replica(&self) -> &RedisServer {
        let port = self.primary_port();
        self.nodes.iter().find(|node| node.port != port).expect("the replica is one of the two")
    }

    /// Makes the replica the primary and waits until the old primary follows it.
    pub(crate) fn fail_over(&self) {
        self.promote_the_replica();
        self.wait_until_settled();
    }

    /// Makes the replica the primary and waits until every Sentinel names it. For some seconds the old primary
    /// still accepts writes, which will be lost: it is told last.
    pub(crate) fn promote_the_replica(&self) {
        let old = self.primary().port;
        let sentinel = self.running().next().expect("a Sentinel runs");
        order(&mut sentinel.client(), &format!("SENTINEL FAILOVER {GROUP}"));
        wait_for("Sentinels to name the new primary", || {
            self.running().all(|sentinel| sentinel.primary_port() != old)
        });
    }

    /// Ends the primary at once, as a crash would, and leaves the rest to the Sentinels.
    pub(crate) fn kill_primary(&mut self) {
        let port = self.primary().port;
        let primary = self.nodes.iter_mut().find(|node| node.port == port);
        primary.expect("the primary is one of the two").kill();
    }

    /// Ends the replica at once.
    pub(crate) fn kill_replica(&mut self) {
        let port = self.replica().port;
        let replica = self.nodes.iter_mut().find(|node| node.port == port);
        replica.expect("the replica is one of the two").kill();
    }

    /// Starts the node that was killed again, on its port; the Sentinels tell it whom to follow.
    pub(crate) fn restart_killed(&mut self) {
        self.nodes.iter_mut().filter(|node| !node.is_up()).for_each(RedisServer::restart);
    }

    /// Ends the Sentinel that the URL names first. The two others are still a majority.
    pub(crate) fn kill_first_sentinel(&mut self) {
        self.sentinels[0].process = None;
    }

    fn running(&self) -> impl Iterator<Item = &Sentinel> {
        self.sentinels.iter().filter(|sentinel| sentinel.process.is_some())
    }

    /// The port of the primary, by the word of the first Sentinel that runs.
    fn primary_port(&self) -> u16 {
        self.running().next().expect("a Sentinel runs").primary_port()
    }

    /// Waits until all Sentinels see each other, agree on a primary that runs, and see the replica follow it if
    /// it runs.
    pub(crate) fn wait_until_settled(&self) {
        wait_for("Sentinels to agree", || {
            let port = self.primary_port();
            let is_led = self.nodes.iter().any(|node| node.port == port && node.is_up() && is_primary(node));
            is_led && self.running().all(|sentinel| self.agrees(sentinel, port))
        });
    }

    fn agrees(&self, sentinel: &Sentinel, primary: u16) -> bool {
        let mut client = sentinel.client();
        let replicas = client.call(&["SENTINEL", "REPLICAS", GROUP]);
        let replicas: Vec<_> = Tree::of(&replicas).elements().iter().map(map_of).collect();
        let is_followed = |node: &RedisServer| {
            replicas.iter().any(|replica| {
                let says = |field: &str| replica.get(field).map(String::as_str);
                says("port") == Some(&node.port.to_string())
                    && says("flags") == Some("slave")
                    && says("master-link-status") == Some("ok")
            })
        };
        let others = self.nodes.iter().filter(|node| node.port != primary && node.is_up());
        let usable = format!("+OK {} usable", self.running().count());
        sentinel.primary_port() == primary
            && client.ask(&format!("SENTINEL CKQUORUM {GROUP}")).starts_with(&usable)
            && others.into_iter().all(is_followed)
    }
}

fn is_primary(node: &RedisServer) -> bool {
    node.client().ask("ROLE").contains("master")
}
