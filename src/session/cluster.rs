//! A cluster of one node, for clients that only speak to clusters: the node owns every slot, so such a client
//! sends everything here and is never redirected.
//!
//! The answers are those of Redis 7.0.15 for a node that was given all slots and has met nobody. Only for
//! tenants whose configuration asks for it; to the others the proxy is a single server without cluster
//! support.
//!
//! `COUNTKEYSINSLOT` and `GETKEYSINSLOT` are not answered here, and are refused like the rest of the
//! topology's administration: tools that move slots ask them for one slot after the other, each answer would
//! take a walk over the whole keyspace, and there is nowhere to move a slot to.

use std::net::SocketAddr;

use super::pseudonym::pseudonym;
use crate::command::CommandSpec;
use crate::command::slot::{SLOTS, slot};
use crate::resp::Request;
use crate::resp::reply::ReplyWriter;

/// What a cluster answers to `SELECT` of a database other than 0.
pub const SELECT_REFUSED: &[u8] = b"ERR SELECT is not allowed in cluster mode";

/// How far the port of the cluster bus is from the port for clients; clients only skip over it.
const BUS_OFFSET: u32 = 10_000;

/// Where clients are to connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Must not be empty: some client libraries cannot do with the meaning that Redis gives to that, the address
    /// they asked.
    pub host: String,
    /// The port there.
    pub port: u16,
}

impl Endpoint {
    /// From `ip:port`. The address of a Unix socket has no such form, and no client of a cluster asks there.
    pub fn of_address(address: &str) -> Self {
        match address.parse::<SocketAddr>() {
            Ok(address) => Self { host: address.ip().to_string(), port: address.port() },
            Err(_) => Self { host: "localhost".to_owned(), port: 0 },
        }
    }
}

/// The one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Where it is.
    pub endpoint: Endpoint,
    /// 40 hexadecimal digits.
    pub id: String,
    /// 40 hexadecimal digits, from Redis 7.2 on.
    pub shard_id: String,
}

impl Node {
    /// The node that a tenant sees. Its ids stay the same over restarts, and all instances of the proxy
    /// announce the same, so that a client that reconnects finds the cluster it knows.
    pub fn of_tenant(tenant: &str, endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            id: pseudonym(&["cluster node", tenant]),
            shard_id: pseudonym(&["cluster shard", tenant]),
        }
    }

    /// Answers a command about the cluster. `false`, with nothing written: the command is none that a client
    /// needs.
    pub fn answer(
        &self,
        spec: &'static CommandSpec,
        request: &Request<'_>,
        reply: &mut ReplyWriter<'_>,
    ) -> bool {
        match spec.name {
            // The node owns each slot, so there is nothing to allow and nobody to read from instead.
            "ASKING" | "READONLY" | "READWRITE" => reply.simple("OK"),
            "CLUSTER SLOTS" => self.slots(reply),
            "CLUSTER SHARDS" => self.shards(reply),
            "CLUSTER NODES" => reply.verbatim(self.line().as_bytes()),
            "CLUSTER INFO" => reply.verbatim(INFO.as_bytes()),
            "CLUSTER MYID" => reply.bulk(self.id.as_bytes()),
            "CLUSTER MYSHARDID" => reply.bulk(self.shard_id.as_bytes()),
            "CLUSTER KEYSLOT" => {
                // Of the key as the client knows it: it compares with what it computes itself.
                reply.integer(i64::from(slot(request.arg(2).unwrap_or_default())));
            }
            "CLUSTER LINKS" => reply.array(0),
            "CLUSTER REPLICAS" | "CLUSTER SLAVES" => self.about_node(request, reply, |reply| reply.array(0)),
            "CLUSTER COUNT-FAILURE-REPORTS" => self.about_node(request, reply, |reply| reply.integer(0)),
            "CLUSTER HELP" => {
                reply.array(HELP.len());
                for line in HELP {
                    reply.simple(line);
                }
            }
            _ => return false,
        }
        true
    }

    fn slots(&self, reply: &mut ReplyWriter<'_>) {
        reply.array(1);
        reply.array(3);
        all_slots(reply);
        reply.array(4);
        reply.bulk(self.endpoint.host.as_bytes());
        reply.integer(i64::from(self.endpoint.port));
        reply.bulk(self.id.as_bytes());
        // Further addresses.
        reply.map(0);
    }

    fn shards(&self, reply: &mut ReplyWriter<'_>) {
        reply.array(1);
        reply.map(2);
        reply.bulk(b"slots");
        reply.array(2);
        all_slots(reply);
        reply.bulk(b"nodes");
        reply.array(1);
        reply.map(7);
        reply.bulk(b"id");
        reply.bulk(self.id.as_bytes());
        reply.bulk(b"port");
        reply.integer(i64::from(self.endpoint.port));
        for (field, value) in
            [("ip", self.endpoint.host.as_str()), ("endpoint", &self.endpoint.host), ("role", "master")]
        {
            reply.bulk(field.as_bytes());
            reply.bulk(value.as_bytes());
        }
        reply.bulk(b"replication-offset");
        reply.integer(0);
        reply.bulk(b"health");
        reply.bulk(b"online");
    }

    /// The node's line in `CLUSTER NODES`.
    fn line(&self) -> String {
        let Self { endpoint: Endpoint { host, port }, id, .. } = self;
        let bus = u32::from(*port) + BUS_OFFSET;
        format!("{id} {host}:{port}@{bus} myself,master - 0 0 0 connected 0-{}\n", SLOTS - 1)
    }

    /// Answers a command whose argument is a node's id.
    fn about_node(
        &self,
        request: &Request<'_>,
        reply: &mut ReplyWriter<'_>,
        known: impl FnOnce(&mut ReplyWriter<'_>),
    ) {
        let asked = request.arg(2).unwrap_or_default();
        if asked == self.id.as_bytes() {
            known(reply);
        } else {
            // Redis prints a C string: up to its first zero.
            let printed = asked.split(|byte| *byte == 0).next().unwrap_or_default();
            reply.error(&[b"ERR Unknown node ", printed].concat());
        }
    }
}

/// The first slot and the last.
fn all_slots(reply: &mut ReplyWriter<'_>) {
    reply.integer(0);
    reply.integer(i64::from(SLOTS - 1));
}

/// What a node says of a cluster that it is all of.
const INFO: &str = "cluster_state:ok\r\n\
    cluster_slots_assigned:16384\r\n\
    cluster_slots_ok:16384\r\n\
    cluster_slots_pfail:0\r\n\
    cluster_slots_fail:0\r\n\
    cluster_known_nodes:1\r\n\
    cluster_size:1\r\n\
    cluster_current_epoch:0\r\n\
    cluster_my_epoch:0\r\n\
    cluster_stats_messages_sent:0\r\n\
    cluster_stats_messages_received:0\r\n\
    total_cluster_links_buffer_limit_exceeded:0\r\n";

/// The server's own help.
const HELP: &[&str] = &[
    "CLUSTER <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "ADDSLOTS <slot> [<slot> ...]",
    "    Assign slots to current node.",
    "ADDSLOTSRANGE <start slot> <end slot> [<start slot> <end slot> ...]",
    "    Assign slots which are between <start-slot> and <end-slot> to current node.",
    "BUMPEPOCH",
    "    Advance the cluster config epoch.",
    "COUNT-FAILURE-REPORTS <node-id>",
    "    Return number of failure reports for <node-id>.",
    "COUNTKEYSINSLOT <slot>",
    "    Return the number of keys in <slot>.",
    "DELSLOTS <slot> [<slot> ...]",
    "    Delete slots information from current node.",
    "DELSLOTSRANGE <start slot> <end slot> [<start slot> <end slot> ...]",
    "    Delete slots information which are between <start-slot> and <end-slot> from current node.",
    "FAILOVER [FORCE|TAKEOVER]",
    "    Promote current replica node to being a master.",
    "FORGET <node-id>",
    "    Remove a node from the cluster.",
    "GETKEYSINSLOT <slot> <count>",
    "    Return key names stored by current node in a slot.",
    "FLUSHSLOTS",
    "    Delete current node own slots information.",
    "INFO",
    "    Return information about the cluster.",
    "KEYSLOT <key>",
    "    Return the hash slot for <key>.",
    "MEET <ip> <port> [<bus-port>]",
    "    Connect nodes into a working cluster.",
    "MYID",
    "    Return the node id.",
    "NODES",
    "    Return cluster configuration seen by node. Output format:",
    "    <id> <ip:port> <flags> <master> <pings> <pongs> <epoch> <link> <slot> ...",
    "REPLICATE <node-id>",
    "    Configure current node as replica to <node-id>.",
    "RESET [HARD|SOFT]",
    "    Reset current node (default: soft).",
    "SET-CONFIG-EPOCH <epoch>",
    "    Set config epoch of current node.",
    "SETSLOT <slot> (IMPORTING <node-id>|MIGRATING <node-id>|STABLE|NODE <node-id>)",
    "    Set slot state.",
    "REPLICAS <node-id>",
    "    Return <node-id> replicas.",
    "SAVECONFIG",
    "    Force saving cluster configuration on disk.",
    "SLOTS",
    "    Return information about slots range mappings. Each range is made of:",
    "    start, end, master and replicas IP addresses, ports and ids",
    "SHARDS",
    "    Return information about slot range mappings and the nodes associated with them.",
    "LINKS",
    "    Return information about all network links between this node and its peers.",
    "    Output format is an array where each array element is a map containing attributes of a link",
    "HELP",
    "    Prints this help.",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{TABLE, find, identify};
    use crate::resp::{OwnedRequest, Version};
    use bytes::BytesMut;

    fn node() -> Node {
        Node { id: "i".repeat(40), ..Node::of_tenant("acme", Endpoint::of_address("10.1.2.3:6380")) }
    }

    /// The answer in RESP3, line ends as blanks.
    fn answered(words: &[&str]) -> String {
        let request = OwnedRequest::from_args(words).expect("words");
        let spec = identify(&request.as_request()).expect("known");
        let mut out = BytesMut::new();
        let mut reply = ReplyWriter::new(&mut out, Version::Resp3);
        assert!(node().answer(spec, &request.as_request(), &mut reply), "{words:?}");
        String::from_utf8(out.to_vec()).expect("ASCII").replace("\r\n", " ")
    }

    #[test]
    fn one_node_has_every_slot() {
        let id = "i".repeat(40);
        assert_eq!(
            format!("*1 *3 :0 :16383 *4 $8 10.1.2.3 :6380 $40 {id} %0 "),
            answered(&["CLUSTER", "SLOTS"])
        );
        let line = format!("{id} 10.1.2.3:6380@16380 myself,master - 0 0 0 connected 0-16383\n");
        assert_eq!(format!("={} txt:{line} ", line.len() + 4), answered(&["cluster", "nodes"]));
    }

    #[test]
    fn slots_are_those_of_the_keys_that_the_client_knows() {
        assert_eq!(":12182 ", answered(&["CLUSTER", "KEYSLOT", "foo"]));
        assert_eq!(":12182 ", answered(&["CLUSTER", "KEYSLOT", "a{foo}b"]));
    }

    #[test]
    fn another_node_is_unknown() {
        assert_eq!("*0 ", answered(&["CLUSTER", "REPLICAS", &"i".repeat(40)]));
        assert_eq!(":0 ", answered(&["CLUSTER", "COUNT-FAILURE-REPORTS", &"i".repeat(40)]));
        assert_eq!("-ERR Unknown node ab ", answered(&["CLUSTER", "SLAVES", "ab\0c"]));
    }

    #[test]
    fn a_node_is_where_its_client_is_connected_to() {
        let endpoint = |host: &str, port| Endpoint { host: host.to_owned(), port };
        assert_eq!(endpoint("::1", 6380), Endpoint::of_address("[::1]:6380"));
        assert_eq!(endpoint("localhost", 0), Endpoint::of_address("/run/tenantry.sock:0"));
    }

    #[test]
    fn tenants_have_nodes_of_their_own_that_stay_the_same() {
        let of = |tenant: &str| Node::of_tenant(tenant, Endpoint::of_address("[::1]:1"));
        assert_eq!(of("acme"), of("acme"));
        assert_ne!(of("acme").id, of("globex").id);
        assert_ne!(of("acme").id, of("acme").shard_id);
    }

    #[test]
    fn what_is_answered_here_never_goes_upstream() {
        use crate::command::Service;
        let request = OwnedRequest::from_args(&["CLUSTER", "REPLICAS", "x"]).expect("words");
        for row in &TABLE {
            let mut out = BytesMut::new();
            let mut reply = ReplyWriter::new(&mut out, Version::Resp2);
            if node().answer(row, &request.as_request(), &mut reply) {
                assert_eq!(Service::Local, row.service(), "{}", row.name);
            }
        }
        let refused = find("CLUSTER GETKEYSINSLOT").expect("in the table");
        let mut out = BytesMut::new();
        assert!(!node().answer(
            refused,
            &request.as_request(),
            &mut ReplyWriter::new(&mut out, Version::Resp2)
        ));
    }
}
