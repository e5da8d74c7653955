//! One downstream connection: what it is owed, who it belongs to, what its next step is.
//!
//! `machine` decides without I/O, `driver` performs the steps on a socket, `downstream` is where upstream replies meet
//! the client they belong to. `commons` is what all sessions of one worker share.

mod commons;
mod downstream;
mod driver;
mod greeting;
mod local;
mod machine;
mod persona;
pub mod replies;
pub mod rescue;
#[cfg(test)]
mod transcripts;
mod turn;

pub use commons::Commons;
pub use driver::Driver;
pub use machine::{Session, Step, Surroundings, UpstreamView};
pub use persona::Persona;
