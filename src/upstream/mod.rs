//! Connections to Redis: carries routed bytes to a node and brings its replies back. Knows no tenant and no
//! command.

pub mod backoff;
pub mod connect;
mod connection;
pub mod dedicated;
pub mod handshake;
pub mod in_flight;
pub mod inbox;
pub mod lane;

pub use dedicated::{Lease, Leases};
pub use handshake::Greeting;
pub use in_flight::Fate;
pub use lane::{
    Batch, Failure, Fingerprint, Holder, Lane, LaneEvents, Patience, Pushed, Readiness, Recipient, Take,
    Times,
};
