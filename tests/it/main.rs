//! The built binary in front of real Redis servers, compared with a Redis that nobody stands in front of.
//!
//! Every test starts its own `redis-server` and its own `tenantry` on free ports and ends both. A missing
//! `redis-server` is a failing test that says what to install.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a broken expectation ends the test; the functions around a test are test code as well"
)]

mod breaker;
mod clients;
mod cluster;
mod cluster_channels;
mod cluster_persona;
mod commandline;
mod compression;
mod cut;
mod deadlines;
mod degradation;
mod deployments;
mod dev;
mod dialogue;
mod failover;
mod fairness;
mod fleet;
mod hygiene;
mod isolation;
mod keyspace;
mod leases;
mod limits;
mod mutations;
mod operations;
mod oracle;
mod overload;
mod protocol;
mod regressions;
mod sentinel;
mod servers;
mod tenants;
mod texts;
mod tools;
mod upstream;
mod wire;

#[path = "../../src/session/transcripts/notation.rs"]
mod notation;
