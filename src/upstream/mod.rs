//! Connections to Redis: carries routed bytes to a node and brings its replies back. Knows no tenant and no
//! command.

pub mod backoff;
pub mod connect;
mod connection;
pub mod dedicated;
pub mod discovery;
pub mod feed;
pub mod handshake;
pub mod health;
pub mod in_flight;
pub mod inbox;
pub mod lane;
pub mod nodes;
mod probe;
pub mod recipient;
pub mod symptom;
mod tally;

pub use dedicated::{Lease, Leases};
pub use discovery::Discovery;
pub use feed::Feed;
pub use handshake::Greeting;
pub use health::{Healths, NodeHealth};
pub use in_flight::Fate;
pub use lane::{Fingerprint, Lane, Load, Patience, Readiness};
pub use recipient::{
    Again, Batch, Confirm, Failure, Holder, Kept, LaneEvents, Pushed, Recipient, Take, Times,
};
