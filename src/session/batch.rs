//! Requests that go upstream together, and who reads which of their replies.

use bytes::Bytes;

use super::affinity::Over;
use crate::tenant::{OwnedScoped, ReplyPlan};

/// Requests that are sent one after the other with nothing between them; the client gets one reply.
#[derive(Debug)]
pub struct Batch {
    /// The connection that they take.
    pub over: Over,
    /// In the order in which they are sent.
    pub requests: Vec<Sent>,
    /// Whether the client wants the reply (`CLIENT REPLY`).
    pub is_wanted: bool,
}

/// One request and its reply.
#[derive(Debug)]
pub struct Sent {
    /// The request.
    pub request: OwnedScoped,
    /// Whose its reply is.
    pub due: Due,
}

/// Whose a reply is.
#[derive(Debug)]
pub enum Due {
    /// Nobody's.
    Nobody,
    /// The client's, scoped as the request's plan says.
    Reply,
    /// Once it has come, the client reads this.
    Answer(Bytes),
    /// There is none but one confirmation out of band for each name.
    Confirmations {
        /// How many.
        count: u32,
        /// What the client reads when all have come; `None`: another request of the batch has it.
        answer: Option<Bytes>,
    },
    /// The client's, with the parts of a transaction scoped each by its own plan.
    Exec(Vec<Part>),
}

/// One reply inside the reply to `EXEC`.
#[derive(Debug)]
pub enum Part {
    /// The upstream's, scoped.
    Upstream(ReplyPlan),
    /// The proxy's.
    Answer(Bytes),
}

impl Batch {
    /// One request over `over` whose reply is the client's.
    pub fn of_one(over: Over, request: OwnedScoped, is_wanted: bool) -> Self {
        Self { over, requests: vec![Sent { request, due: Due::Reply }], is_wanted }
    }
}
