//! What stands behind the proxy while it is compared. The measure is a plain server whatever that is.

use crate::servers::{Deployment, Proxy, RedisCluster, RedisServer, SentinelGroup, Setup};

/// A deployment of Redis, and how a tenant's keys lie in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// One server.
    Standalone,
    /// The primary that Sentinels name; it has a replica.
    Sentinel,
    /// A cluster, with all keys of a tenant in one slot (`colocate = true`).
    Colocated,
    /// A cluster, with every key in the slot of its own name.
    Spread,
}

impl Place {
    pub(super) fn deploy(self) -> Deployment {
        match self {
            Self::Standalone => Deployment::Standalone(RedisServer::start()),
            Self::Sentinel => Deployment::Sentinel(SentinelGroup::start()),
            Self::Colocated | Self::Spread => Deployment::Cluster(RedisCluster::start_without_replicas()),
        }
    }

    pub(super) fn proxy(self, deployment: &Deployment) -> Proxy {
        let tenant_lines = if self == Self::Colocated { "colocate = true" } else { "" };
        Proxy::start(&Setup { tenant_lines, ..Setup::for_upstream(deployment.url()) })
    }

    /// What the stored names of tenant `acme` begin with, up to the separator or the number of a database.
    pub(super) fn acme_stem(self) -> &'static str {
        if self == Self::Colocated { "{acme}" } else { "acme" }
    }

    /// The prefix of tenant `acme`.
    pub(super) fn acme(self) -> &'static [u8] {
        if self == Self::Colocated { b"{acme}:" } else { b"acme:" }
    }

    /// The prefix of tenant `globex`.
    pub(super) fn globex(self) -> &'static [u8] {
        if self == Self::Colocated { b"{globex}:" } else { b"globex:" }
    }

    pub(super) fn is_cluster(self) -> bool {
        matches!(self, Self::Colocated | Self::Spread)
    }

    /// Whether a line of the list of exceptions is about it that says so.
    pub(super) fn is(self, condition: &str) -> bool {
        match condition {
            "with replicas" => self == Self::Sentinel,
            "on clusters" => self.is_cluster(),
            "when spread" => self == Self::Spread,
            _ => panic!("no place is called `{condition}`"),
        }
    }
}

/// Makes of each comparison, a function of a [`Place`], a test for each place.
macro_rules! in_every_place {
    ($comparison:ident) => {
        mod $comparison {
            use super::Place;

            #[test]
            fn standalone() {
                super::$comparison(Place::Standalone);
            }

            #[test]
            fn sentinel() {
                super::$comparison(Place::Sentinel);
            }

            #[test]
            fn colocated_on_a_cluster() {
                super::$comparison(Place::Colocated);
            }

            #[test]
            fn spread_over_a_cluster() {
                super::$comparison(Place::Spread);
            }
        }
    };
}

pub(super) use in_every_place;
