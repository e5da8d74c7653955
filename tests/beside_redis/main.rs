//! Parts of the library beside a real Redis, without a proxy between: what a part says is what the server says.
//!
//! Needs `redis-server` on the `PATH`, of release 7.0 where words are compared: error texts differ between
//! releases. One that is missing is a failing test that says what to install.

#![allow(
    dead_code,
    unused_imports,
    unused_macros,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking and prints its seed; the harness of `tests/it` offers more than is used here"
)]

mod absent;
mod categories;
mod clients;
mod command_table;
mod discovery;
mod filters;
mod globs;
mod transcripts;

#[path = "../../src/session/transcripts/notation.rs"]
mod notation;
#[path = "../it/servers/mod.rs"]
mod servers;
#[path = "../it/texts.rs"]
mod texts;
#[path = "../it/wire.rs"]
mod wire;
