//! Who reads a reply, and how.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::affinity::Over;
use super::batch::{Confirmed, Due, FirstOf, Part};
use super::downstream::Core;
use super::gather::Gathering;
use super::replies::Place;
use crate::tenant::ReplyPlan;

/// Who reads a reply, and how.
pub(super) enum Aim {
    /// The client, by this plan.
    Client(ReplyPlan),
    /// The same over a connection that also brings pushes: they may stand inside the reply.
    Tangled(ReplyPlan),
    /// Nobody.
    Nobody,
    /// Nobody, but if it is an error the connection is not what the following requests take it for.
    Required,
    /// The client reads this instead.
    Instead(Box<[u8]>),
    /// The client reads the answer when so many confirmations have come.
    Confirmations(Box<Confirmations>),
    /// The client, part by part.
    Exec(Box<[Part]>),
    /// The client reads the reply to the first of several requests.
    First(Box<First>),
    /// The client, with the replies to the other parts of its request; and which part it is.
    Part(Rc<RefCell<Gathered>>, usize, ReplyPlan),
    /// The proxy, on the client's behalf.
    Errand(Option<oneshot::Sender<Result<Bytes, Bytes>>>),
}

/// Confirmations that a request is owed.
pub(super) struct Confirmations {
    pub(super) left: u32,
    /// They say that subscriptions have ended.
    pub(super) ends: bool,
    /// Those of all requests that are answered together.
    pub(super) all: Rc<Confirmed>,
}

/// The first of several requests that are answered together.
pub(super) struct First {
    pub(super) of: FirstOf,
    /// Its reply, if it came by itself.
    pub(super) reply: Option<Box<[u8]>>,
}

/// A request that was cut, while its parts are under way.
pub(super) struct Gathered {
    pub(super) gathering: Gathering,
    pub(super) turn: Place,
    pub(super) is_wanted: bool,
}

impl Gathered {
    pub(super) fn new(gathering: Gathering, turn: Place, is_wanted: bool) -> Rc<RefCell<Self>> {
        Rc::new(RefCell::new(Self { gathering, turn, is_wanted }))
    }
}

impl First {
    /// Whether a reply is its own after which `left` more come before the last one.
    pub(super) fn is_answered_by(&self, left: u32) -> bool {
        !self.of.is_exec && left.saturating_add(1) == self.of.others
    }
}

impl Aim {
    /// So many confirmations of which nobody is told.
    pub(super) fn silent_confirmations(count: usize, ends: bool) -> Self {
        let left = u32::try_from(count).unwrap_or(u32::MAX);
        let all = Rc::new(Confirmed::new(left, Bytes::new()));
        Self::Confirmations(Box::new(Confirmations { left, ends, all }))
    }

    /// The aim of one request of a batch, and whether it has a turn among the client's replies.
    pub(super) fn of(due: Due, over: Over, plan: impl FnOnce() -> ReplyPlan) -> (Self, bool) {
        match due {
            Due::Nobody => (Self::Nobody, false),
            Due::Reply => (Self::client(over, plan()), true),
            Due::Answer(answer) => (Self::Instead(answer.as_ref().into()), true),
            Due::Confirmations { count, ends, all } => {
                (Self::Confirmations(Box::new(Confirmations { left: count, ends, all })), true)
            }
            Due::Exec(parts) if parts.iter().all(Part::is_relayed) => {
                (Self::client(over, ReplyPlan::Relay), true)
            }
            Due::Exec(parts) => (Self::Exec(parts.into()), true),
            Due::First(of) => (Self::First(Box::new(First { of, reply: None })), true),
        }
    }

    /// The client is about to read `reply`: a transaction has been carried out if that is an array.
    pub(super) fn was_answered(&self, core: &mut Core, reply: &[u8]) {
        if matches!(self, Self::Exec(_)) && (!reply.starts_with(b"*") || reply.starts_with(b"*-")) {
            core.session.exec_failed();
        }
    }

    /// The client's own reply, over this connection.
    #[inline]
    pub(super) fn client(over: Over, plan: ReplyPlan) -> Self {
        match over {
            Over::Shared => Self::Client(plan),
            Over::Leased(..) => Self::Tangled(plan),
        }
    }

    /// Whether the client has a turn for it.
    pub(super) fn has_turn(&self) -> bool {
        match self {
            Self::Client(_)
            | Self::Tangled(_)
            | Self::Instead(_)
            | Self::Exec(_)
            | Self::First(_)
            | Self::Confirmations(_) => true,
            Self::Nobody | Self::Required | Self::Errand(_) | Self::Part(..) => false,
        }
    }
}
