//! One downstream connection: what it is owed, who it belongs to, what its next step is.
//!
//! `machine` decides without I/O; `driver` reads requests from a socket, `turn` performs the steps, a `ticket` brings
//! each reply back to its `downstream`. `links` are connections of the session's own, `compose` makes answers
//! of several requests, `commons` is what all sessions of one worker share.

mod affinity;
mod batch;
pub mod cluster;
mod commons;
mod compose;
pub mod configure;
mod downstream;
mod driver;
mod errand;
mod exec;
mod greeting;
pub mod info;
mod keyspace;
mod links;
mod local;
mod machine;
mod neighbours;
mod patience;
mod persona;
mod pseudonym;
pub mod replies;
pub mod rescue;
mod reworded;
mod subscriptions;
mod ticket;
mod tied;
mod ties;
mod tracking;
mod transaction;
#[cfg(test)]
mod transcripts;
mod turn;

pub use affinity::{Over, Slot};
pub use commons::{Commons, Shared};
pub use driver::Driver;
pub use machine::{Peers, Session, Step, Surroundings, UpstreamView};
pub use persona::{Payloads, Persona};
