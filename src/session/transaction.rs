//! `MULTI`: requests are checked and kept, and leave together with `EXEC`.
//!
//! Kept here rather than upstream, because then a transaction needs no connection of its own: `MULTI`, what was
//! queued and `EXEC` are sent in one piece over the shared connection, and Redis runs them as one. What the
//! proxy answers itself is answered when `EXEC` is sent, and put into the reply at its place. Alternative that
//! lost: a connection from `MULTI` to `EXEC`, one per transacting client; it would show the few errors that only
//! the server can know (out of memory) at the queued command rather than at `EXEC`.
//!
//! **Invariant**: a request refused between `MULTI` and `EXEC` makes `EXEC` fail (*Transactions, "Errors inside a
//! transaction"*).

use std::sync::Arc;

use bytes::Bytes;

use super::batch::{Due, Part, Sent};
use crate::command::CommandSpec;
use crate::resp::OwnedRequest;
use crate::routing::topology::NodeId;
use crate::tenant::directory::Namespace;
use crate::tenant::requests::{self, Fixed};
use crate::tenant::{Keyed, OwnedScoped, ReplyPlan};

/// What a queued request takes besides its bytes, roughly: many tiny ones must not be free.
pub(super) const OVERHEAD: usize = 128;

/// Whether `EXEC` will be carried out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Yes.
    #[default]
    Sound,
    /// No: a request was refused.
    Aborted,
}

/// One queued request.
#[derive(Debug)]
pub(super) enum Queued {
    /// It is the upstream's to run.
    Upstream(OwnedScoped),
    /// The same, and requests of the proxy's own follow it.
    Followed(OwnedScoped, Vec<OwnedScoped>),
    /// This is its reply.
    Answer(Bytes),
    /// The proxy answers it when `EXEC` comes.
    Local(&'static CommandSpec, OwnedRequest),
}

/// A transaction that has been begun.
#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) outcome: Outcome,
    /// Where the next queued request belongs: `SELECT` may be queued as well.
    pub(super) namespace: Arc<Namespace>,
    queued: Vec<Queued>,
    size: usize,
    /// What is queued may change data.
    pub(super) writes: bool,
    /// What is queued has a payload that the upstream must check.
    pub(super) brings_payload: bool,
}

impl Transaction {
    /// Begun in `namespace`.
    pub(super) fn begin(namespace: Arc<Namespace>) -> Self {
        let (queued, size) = (Vec::new(), 0);
        Self { outcome: Outcome::Sound, namespace, queued, size, writes: false, brings_payload: false }
    }

    /// Where the keys of all its requests lie.
    pub(super) fn keyed(&self) -> Keyed {
        self.queued.iter().fold(Keyed::Nowhere, |keyed, queued| match queued {
            Queued::Upstream(request) | Queued::Followed(request, _) => keyed.and(request.keyed()),
            Queued::Answer(_) | Queued::Local(..) => keyed,
        })
    }

    /// Number of requests queued.
    pub(super) fn len(&self) -> usize {
        self.queued.len()
    }

    /// Keeps a request; `false` if all together take more than `limit` bytes.
    pub(super) fn push(&mut self, queued: Queued, limit: usize) -> bool {
        let len = match &queued {
            Queued::Upstream(request) => request.len(),
            Queued::Followed(request, others) => {
                let with = |len: usize, other: &OwnedScoped| {
                    len.saturating_add(other.len()).saturating_add(OVERHEAD)
                };
                others.iter().fold(request.len(), with)
            }
            Queued::Answer(answer) => answer.len(),
            Queued::Local(_, request) => request.as_request().bytes().len(),
        };
        let size = self.size.saturating_add(len).saturating_add(OVERHEAD);
        if size > limit {
            return false;
        }
        self.size = size;
        self.queued.push(queued);
        true
    }

    /// What is sent, and what the reply to `EXEC` is made of; `answer` makes the proxy's own parts. `None` for
    /// the requests: the upstream has no part in it.
    pub(super) fn into_batch(
        self,
        is_watching: bool,
        node: NodeId,
        mut answer: impl FnMut(&'static CommandSpec, &OwnedRequest) -> Bytes,
    ) -> Result<Vec<Sent>, Vec<Bytes>> {
        let namespace = self.namespace;
        let mut parts = Vec::with_capacity(self.queued.len());
        let mut sent = Vec::with_capacity(self.queued.len().saturating_add(2));
        sent.extend(fixed(Fixed::Multi, &namespace, node, Due::Nobody));
        for queued in self.queued {
            match queued {
                Queued::Answer(answer) => parts.push(Part::Answer(answer)),
                Queued::Local(spec, request) => parts.push(Part::Answer(answer(spec, &request))),
                Queued::Upstream(request) => {
                    parts.push(Part::Upstream(request.reply_plan().clone()));
                    sent.push(Sent { request, node, due: Due::Nobody });
                }
                Queued::Followed(request, others) => {
                    parts.push(Part::Upstream(request.reply_plan().clone()));
                    parts.extend(others.iter().map(|_| Part::Unread));
                    let all = std::iter::once(request).chain(others);
                    sent.extend(all.map(|request| Sent { request, node, due: Due::Nobody }));
                }
            }
        }
        if sent.len() == 1 && !is_watching {
            return Err(parts.into_iter().filter_map(Part::into_answer).collect());
        }
        sent.extend(fixed(Fixed::Exec, &namespace, node, Due::Exec(parts)));
        Ok(sent)
    }
}

impl Part {
    fn into_answer(self) -> Option<Bytes> {
        match self {
            Self::Answer(answer) => Some(answer),
            Self::Upstream(_) | Self::Unread => None,
        }
    }

    /// Whether the upstream's reply can be passed on as it is.
    pub(super) fn is_relayed(&self) -> bool {
        matches!(self, Self::Upstream(ReplyPlan::Relay))
    }
}

/// A request of fixed words in a batch.
pub(super) fn fixed(words: Fixed, namespace: &Arc<Namespace>, node: NodeId, due: Due) -> Option<Sent> {
    Some(Sent { request: requests::fixed(words, namespace)?, node, due })
}
