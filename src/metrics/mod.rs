//! What is counted, where, and how it gets out.
//!
//! [`worker`] is what a worker touches: plain integers, on its own thread. [`publish`] adds them up for the
//! process a few times a second and renders the exposition. [`names`] is the one table that says which
//! metrics exist; [`label`] and [`latency`] are the closed sets they are split by. [`readiness`] is the one
//! fact that is not a number: which upstreams can be reached, and if not, why.
//!
//! [`worker`]: crate::metrics::worker
//! [`publish`]: crate::metrics::publish
//! [`names`]: crate::metrics::names
//! [`label`]: crate::metrics::label
//! [`latency`]: crate::metrics::latency
//! [`readiness`]: crate::metrics::readiness

pub mod label;
pub mod latency;
pub mod names;
mod process;
pub mod publish;
pub mod readiness;
mod text;
pub mod worker;
