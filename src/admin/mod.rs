//! The admin port: what an operator, Prometheus and a container's probes ask over HTTP.
//!
//! It has a thread and a runtime of its own, so that rendering thousands of series never delays a command,
//! and a stuck worker can still be looked at. [`router`] says what is there; [`server`] keeps each connection
//! within bounds; [`topology`] shows the upstreams' nodes, and `breakers` which of them are asked.
//!
//! [`router`]: crate::admin::router
//! [`server`]: crate::admin::server
//! [`topology`]: crate::admin::topology

mod breakers;
pub mod router;
pub mod server;
pub mod topology;

pub use router::AdminState;
pub use server::{AdminError, serve};
pub use topology::{Topologies, Watched};
