//! The protocol: finds frame boundaries, holds requests, builds replies. Imports nothing of ours.
//!
//! Wire: *Redis serialization protocol specification* (RESP2, RESP3, inline commands). What Redis 7.0 accepts
//! beyond that document (and how it words each protocol error) was checked against a running server.

// Bytes of strangers end here: nothing in this module may panic on them.
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::cast_possible_truncation)
)]

pub mod buffer_pool;
pub mod cursor;
pub mod edit;
mod inline;
pub mod reply;
pub mod reply_scan;
pub mod request;
pub mod scan;
pub mod send_queue;

pub use buffer_pool::BufferPool;
pub use reply::Version;
pub use reply_scan::{Progress, ReplyError, ReplyScanner};
pub use request::{OwnedRequest, Request, Span};
pub use scan::{Framing, ProtocolError, RequestScanner, Scan, ScanLimits};
pub use send_queue::SendQueue;
