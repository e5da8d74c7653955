//! The three ways in which Redis is deployed, as one thing: scenarios are written once and run in front of each.

use std::collections::BTreeSet;

use tenantry::command::slot::slot;

use super::{Proxy, RedisCluster, RedisServer, SLOTS, SentinelGroup, Setup, text_of};
use crate::wire::{Client, Tree, command, show};

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One server.
    Standalone,
    /// A primary and its replica, found by asking Sentinels.
    Sentinel,
    /// Three primaries.
    Cluster,
}

/// What a client of the proxy speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// What a connection begins with.
    Resp2,
    /// After `HELLO 3`.
    Resp3,
}

impl Protocol {
    /// Connects to a port of this host, where nobody has to authenticate.
    pub(crate) fn connect(self, port: u16) -> Client {
        match self {
            Self::Resp2 => Client::tcp(port),
            Self::Resp3 => Client::tcp_resp3(port),
        }
    }

    /// How a null bulk string is written.
    pub(crate) fn null(self) -> &'static str {
        match self {
            Self::Resp2 => "$-1\\r\\n",
            Self::Resp3 => "_\\r\\n",
        }
    }
}

/// A running deployment.
pub(crate) enum Deployment {
    /// Of [`Kind::Standalone`].
    Standalone(RedisServer),
    /// Of [`Kind::Sentinel`].
    Sentinel(SentinelGroup),
    /// Of [`Kind::Cluster`].
    Cluster(RedisCluster),
}

impl Deployment {
    /// Starts one without persistence.
    pub(crate) fn start(kind: Kind) -> Self {
        Self::start_with(kind, &[])
    }

    /// Starts with more options for each node, as on the command line of `redis-server`.
    pub(crate) fn start_with(kind: Kind, options: &[&str]) -> Self {
        match kind {
            Kind::Standalone => Self::Standalone(RedisServer::start_with(options)),
            Kind::Sentinel => Self::Sentinel(SentinelGroup::start_with(options)),
            Kind::Cluster => Self::Cluster(RedisCluster::start_with(super::Shape::PrimariesOnly, options)),
        }
    }

    /// How an upstream is configured for it.
    pub(crate) fn url(&self) -> String {
        match self {
            Self::Standalone(server) => server.url(),
            Self::Sentinel(group) => group.url(),
            Self::Cluster(cluster) => cluster.url(),
        }
    }

    /// A proxy before it.
    pub(crate) fn proxy(&self) -> Proxy {
        Proxy::start(&Setup::for_upstream(self.url()))
    }

    /// The primaries.
    pub(crate) fn primaries(&self) -> Vec<&RedisServer> {
        match self {
            Self::Standalone(server) => vec![server],
            Self::Sentinel(group) => vec![group.primary()],
            Self::Cluster(cluster) => {
                cluster.primaries().into_iter().map(|node| cluster.server(node)).collect()
            }
        }
    }

    /// The primary where there is one.
    pub(crate) fn only(&self) -> &RedisServer {
        let [only] = self.primaries()[..] else { panic!("a cluster has several primaries") };
        only
    }

    /// A connection to each primary.
    pub(crate) fn clients(&self) -> Vec<Client> {
        self.primaries().into_iter().map(RedisServer::client).collect()
    }

    /// A connection to the primary that has the physical key `key`.
    pub(crate) fn client_for(&self, key: &str) -> Client {
        match self {
            Self::Standalone(server) => server.client(),
            Self::Sentinel(group) => group.primary().client(),
            Self::Cluster(cluster) => cluster.client(cluster.primary_of(key)),
        }
    }

    /// Every physical key.
    pub(crate) fn keys(&self) -> BTreeSet<String> {
        let keys = |mut client: Client| {
            let keys = Tree::of(&client.call(&["KEYS", "*"]));
            let text = |key: &Tree| key.payload().escape_ascii().to_string();
            keys.elements().iter().map(text).collect::<Vec<_>>()
        };
        self.clients().into_iter().flat_map(keys).collect()
    }

    /// The physical keys that begin with `start`.
    pub(crate) fn keys_with(&self, start: &str) -> BTreeSet<String> {
        self.keys().into_iter().filter(|key| key.starts_with(start)).collect()
    }

    /// Stores something under physical keys, beside the proxy.
    pub(crate) fn store<'k>(&self, keys: impl IntoIterator<Item = &'k String>) {
        let mut primaries = self.clients();
        let mut stored = vec![0; primaries.len()];
        for key in keys {
            let slot = slot(key.as_bytes());
            let owner = SLOTS.iter().position(|slots| slots.contains(&slot)).unwrap_or_default();
            let at = owner.min(primaries.len() - 1);
            primaries[at].send(&command(&["SET", key, "v"]));
            stored[at] += 1;
        }
        for (primary, stored) in primaries.iter_mut().zip(stored) {
            assert!(primary.frames(stored).iter().all(|reply| reply == b"+OK\r\n"), "keys are stored");
        }
    }

    /// The proxy's connections that have a flag at the primaries (`CLIENT LIST`).
    pub(crate) fn connections_with(&self, flag: char) -> usize {
        self.clients().iter_mut().map(|client| connections_with(client, flag)).sum()
    }

    /// Deletes everything.
    pub(crate) fn flush(&self) {
        for mut client in self.clients() {
            assert_eq!("+OK\\r\\n", show(&client.call(&["FLUSHALL"])));
        }
    }
}

/// The proxy's connections that have a flag at one server (`CLIENT LIST`).
pub(crate) fn connections_with(server: &mut Client, flag: char) -> usize {
    let is_with = |line: &&str| {
        let flags = line.split(" flags=").nth(1).and_then(|rest| rest.split(' ').next());
        line.contains(" name=tenantry ") && flags.is_some_and(|flags| flags.contains(flag))
    };
    text_of(&server.call(&["CLIENT", "LIST"])).lines().filter(is_with).count()
}

/// Makes of each scenario, a function of a [`Kind`], a test for each way to deploy Redis:
/// `scenario::standalone`, `scenario::sentinel`, `scenario::cluster`.
macro_rules! on_every_deployment {
    ($($scenario:ident),+ $(,)?) => {$(
        mod $scenario {
            use $crate::servers::Kind;

            #[test]
            fn standalone() {
                super::$scenario(Kind::Standalone);
            }

            #[test]
            fn sentinel() {
                super::$scenario(Kind::Sentinel);
            }

            #[test]
            fn cluster() {
                super::$scenario(Kind::Cluster);
            }
        }
    )+};
}

/// The same for functions of a [`Kind`] and a [`Protocol`]: `scenario::cluster::resp3` and so on.
macro_rules! on_every_deployment_and_protocol {
    ($($scenario:ident),+ $(,)?) => {$(
        mod $scenario {
            $crate::servers::on_every_deployment_and_protocol!(@ $scenario standalone Standalone);
            $crate::servers::on_every_deployment_and_protocol!(@ $scenario sentinel Sentinel);
            $crate::servers::on_every_deployment_and_protocol!(@ $scenario cluster Cluster);
        }
    )+};
    (@ $scenario:ident $name:ident $kind:ident) => {
        mod $name {
            use $crate::servers::{Kind, Protocol};

            #[test]
            fn resp2() {
                super::super::$scenario(Kind::$kind, Protocol::Resp2);
            }

            #[test]
            fn resp3() {
                super::super::$scenario(Kind::$kind, Protocol::Resp3);
            }
        }
    };
}

pub(crate) use {on_every_deployment, on_every_deployment_and_protocol};
