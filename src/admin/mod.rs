//! The admin port: what an operator, Prometheus and a container's probes ask over HTTP.
//!
//! It has a thread and a runtime of its own, so that rendering thousands of series never delays a command,
//! and a stuck worker can still be looked at. [`router`] says what is there; [`server`] keeps each connection
//! within bounds.
//!
//! [`router`]: crate::admin::router
//! [`server`]: crate::admin::server

pub mod router;
pub mod server;

pub use router::AdminState;
pub use server::{AdminError, serve};
