//! One downstream connection: what it is owed, who it belongs to, what its next step is.
//!
//! `machine` decides without I/O; `driver` reads requests from a socket, `turn` performs the steps, a `ticket` brings
//! each reply back to its `downstream`. `links` are connections of the session's own, `compose` makes answers
//! of several requests, `commons` is what all sessions of one worker share.

mod affinity;
mod again;
mod aim;
mod asker;
mod batch;
pub mod cluster;
mod commons;
mod compose;
pub mod configure;
mod course;
mod degrade;
mod delivery;
mod dispatch;
mod downstream;
mod driver;
mod errand;
mod exec;
pub mod gather;
mod greeting;
mod hearing;
pub mod info;
mod keyspace;
mod links;
mod local;
mod machine;
mod neighbours;
mod patience;
mod persona;
mod pseudonym;
mod queuing;
mod quota;
mod rations;
pub mod replies;

pub mod rescue;
mod retries;
mod reworded;
mod routes;
mod ruled;
pub mod shortage;
mod spread;
mod subscriptions;
mod tenantry;
mod ticket;
mod tied;
mod ties;
mod told;
mod tracking;
mod transaction;
#[cfg(test)]
mod transcripts;
mod turn;
mod volume;
mod weight;

pub use affinity::{Over, Slot};
pub use commons::{Commons, Shared};
pub use driver::Driver;
pub use machine::{Peers, Session, Step, Surroundings, UpstreamView};
pub use persona::{Payloads, Persona};
pub use shortage::Shortage;
