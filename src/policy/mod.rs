//! May this happen now? Limits, breakers and budgets: each is given the time and returns a verdict.
//!
//! Nothing here knows of a clock, a socket or a command. The shell asks, performs the verdict and counts it. What
//! several workers share is atomic numbers, never a lock on the path of a command that is allowed.

pub mod allowance;
pub mod breaker;
pub mod bucket;
pub mod fair_share;
pub mod fleet;
pub mod in_flight;
pub mod pressure;
pub mod purse;
pub mod retry_budget;
pub mod tokens;
