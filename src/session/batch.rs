//! Requests that go upstream together, and who reads which of their replies.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use bytes::Bytes;

use super::affinity::Over;
use super::gather::Gathering;
use crate::routing::Destination;
use crate::routing::topology::NodeId;
use crate::tenant::{OwnedScoped, ReplyPlan};

/// Requests that are sent one after the other with nothing between them; the client gets one reply.
#[derive(Debug)]
pub struct Batch {
    /// The connection that they take.
    pub over: Over,
    /// The slot that decided where they go.
    pub slot: Option<u16>,
    /// In the order in which they are sent.
    pub requests: Vec<Sent>,
    /// Whether the client wants the reply (`CLIENT REPLY`).
    pub is_wanted: bool,
}

/// A request that was cut into one for each slot; the client gets one reply.
#[derive(Debug)]
pub struct Cut {
    /// Its parts, and where each goes.
    pub parts: Vec<(OwnedScoped, Destination)>,
    /// Makes one reply of theirs.
    pub gathering: Gathering,
    /// Whether the client wants it (`CLIENT REPLY`).
    pub is_wanted: bool,
}

/// One request and its reply.
#[derive(Debug)]
pub struct Sent {
    /// The request.
    pub request: OwnedScoped,
    /// Where it goes.
    pub node: NodeId,
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
        /// They say that subscriptions have ended.
        ends: bool,
        /// Those of all requests of the batch.
        all: Rc<Confirmed>,
    },
    /// The client's, with the parts of a transaction scoped each by its own plan.
    Exec(Vec<Part>),
    /// That of the first of the requests that are sent together; it came before this one.
    First(FirstOf),
}

/// How the first of several requests is answered when all are sent for its sake.
#[derive(Clone, Debug)]
pub struct FirstOf {
    /// What is to be done with its reply.
    pub plan: ReplyPlan,
    /// How many requests follow it.
    pub others: u32,
    /// Whether all of them are in a transaction, whose `EXEC` is sent last: then this is the first part of its reply.
    pub is_exec: bool,
}

/// Confirmations that several requests are owed, perhaps over several connections.
#[derive(Debug)]
pub struct Confirmed {
    left: Cell<u32>,
    answer: RefCell<Bytes>,
}

impl Confirmed {
    /// So many, and what the client reads when all have come.
    pub fn new(count: u32, answer: Bytes) -> Self {
        Self { left: Cell::new(count), answer: RefCell::new(answer) }
    }

    /// One has come: the answer, if it was the last.
    pub fn one_came(&self) -> Option<Bytes> {
        self.left.set(self.left.get().saturating_sub(1));
        (self.left.get() == 0).then(|| self.answer.take())
    }

    /// What the client reads when all have come.
    pub fn answer(&self) -> Bytes {
        self.answer.borrow().clone()
    }
}

/// One reply inside the reply to `EXEC`.
#[derive(Debug)]
pub enum Part {
    /// The upstream's, scoped.
    Upstream(ReplyPlan),
    /// The proxy's.
    Answer(Bytes),
    /// That of a request of the proxy's own, which nobody reads.
    Unread,
}

impl Batch {
    /// One request over `over` whose reply is the client's.
    pub fn of_one(over: Over, to: Destination, request: OwnedScoped, is_wanted: bool) -> Self {
        let Destination { node, slot, .. } = to;
        Self { over, slot, requests: vec![Sent { request, node, due: Due::Reply }], is_wanted }
    }
}
