//! Who gets replies, and what a lane tells whom.
//!
//! A lane knows neither clients nor commands. It has a **recipient** for each request, a **holder** if it is
//! dedicated, and its worker's **events**; what all of them are, the session decides.

use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use super::handshake::Greeting;
use super::in_flight::Fate;
use super::lane::{Ended, Fingerprint};
use crate::clock::Micros;
use crate::resp::SendQueue;
use crate::routing::Routed;
use crate::settings::UpstreamSettings;

/// How a recipient wants its reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Take {
    /// In pieces as they arrive.
    Stream,
    /// In one piece, because it will be edited.
    Whole,
}

/// Why a request got no reply.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Whether it can have run.
    pub fate: Fate,
    /// What happened, for the client to read; names no address.
    pub reason: Rc<str>,
    /// When the lane will try to connect again, if it is waiting.
    pub retry_in: Option<Duration>,
}

/// Who gets a reply.
pub trait Recipient: Sized {
    /// What the replies of one read have in common: written out together at its end.
    type Batch: Batch<Recipient = Self>;

    /// Whose part of the lane its request takes.
    fn flow(&self) -> usize;

    /// How it wants the reply of which `start`, at least its type byte, has come.
    fn takes(&self, start: &[u8]) -> Take;

    /// A piece of the reply: `piece` of `read`. The last one has `times`.
    fn stream(&mut self, read: &[u8], piece: Range<usize>, times: Option<Times>, batch: &mut Self::Batch);

    /// The whole reply; `read` is the buffer that streamed pieces of this batch are slices of.
    fn whole(&mut self, read: &[u8], reply: &[u8], times: Times, batch: &mut Self::Batch);

    /// A confirmation came out of band while this was the oldest (`SUBSCRIBE` and its kin are answered by one
    /// for each name).
    fn confirm(&mut self, ends: bool, read: &[u8], times: Times, batch: &mut Self::Batch) -> Confirm;

    /// Whether it wants the replies to what was sent with the request, before it, also if they are no errors; `left`
    /// of them are still to come after the next.
    fn takes_preliminary(&self, left: u32) -> bool;

    /// A reply to what was sent with the request, before it: an error, or one that it takes.
    fn preliminary(&mut self, reply: &[u8], left: u32);

    /// Whether the request is to be sent again, elsewhere or later, instead of being told `error`, its reply. Only
    /// asked where requests are kept until they are answered.
    fn is_redirected(&self, error: &[u8]) -> bool;

    /// Whether the request may be sent again after its connection has ended.
    fn outlives(&self, fate: Fate) -> bool;

    /// How long the reply may take once nothing is owed before it.
    fn reply_timeout(&self, settings: &UpstreamSettings) -> Duration;

    /// There will be no reply, or no more of it.
    fn fail(self, failure: &Failure, batch: &mut Self::Batch);
}

/// A request that was sent, byte for byte, with what goes before it: it was routed when it was sent first.
#[derive(Clone, Debug)]
pub struct Kept {
    pub(super) bytes: Bytes,
    /// Replies that come before its own.
    pub(super) before: u32,
}

impl Kept {
    /// Without the `ASKING` that went before it: it was for another node.
    pub(super) fn without_asking(self) -> Self {
        match self.bytes.strip_prefix(b"*1\r\n$6\r\nASKING\r\n") {
            Some(rest) => Self { bytes: self.bytes.slice_ref(rest), before: self.before.saturating_sub(1) },
            None => self,
        }
    }

    /// Whether one of the words of its requests is `word`, in either case. A value may be it as well.
    pub fn mentions(&self, word: &str) -> bool {
        let bulk = format!("${}\r\n{word}\r\n", word.len());
        self.bytes.windows(bulk.len()).any(|bytes| bytes.eq_ignore_ascii_case(bulk.as_bytes()))
    }

    /// Requests that could not be queued, to be sent together.
    pub fn of(requests: &[Routed<'_>]) -> Self {
        let mut queue = SendQueue::default();
        for request in requests {
            request.queue(&mut queue);
        }
        let before = u32::try_from(requests.len().saturating_sub(1)).unwrap_or(u32::MAX);
        Self { bytes: queue.into_bytes(), before }
    }
}

/// Why a request is sent again.
#[derive(Debug)]
pub enum Again {
    /// Its node answered with this error reply.
    Redirected(Bytes),
    /// Its connection has ended.
    Lost(Failure),
}

/// Whose a dedicated connection is.
pub trait Holder<T: Recipient> {
    /// A push came.
    fn pushed(&self, read: &[u8], frame: &[u8], batch: &mut T::Batch) -> Pushed;
    /// A subscription has ended, and nobody has asked for it.
    fn unasked(&self, push: &[u8]);
    /// The connection has become ready, or has ended: what waits for it can go on.
    fn changed(&self);
}

/// What a confirmation was to whoever waits for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirm {
    /// Not one of those that it waits for.
    Other,
    /// One of them.
    One,
    /// The last: nothing more is owed.
    Last,
}

/// What a push was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// Something that happened by itself.
    Event,
    /// Part of the answer to the oldest request, unless that has asked for something else.
    Confirmation {
        /// A subscription has ended.
        ends: bool,
    },
}

/// When one request was sent and its reply read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// When the request was handed to the socket.
    pub sent_at: Micros,
    /// When the reply was read.
    pub read_at: Micros,
}

/// The replies of one read, by client.
pub trait Batch: Default {
    /// Who is answered.
    type Recipient;

    /// `request`, which was sent over the connection `from`, is to be sent again. Dealt with when the batch is
    /// finished.
    fn again(&mut self, recipient: Self::Recipient, request: Kept, from: Fingerprint, why: Again);

    /// Hands everything to the clients' sockets. `read` is the buffer that streamed pieces were slices of.
    fn finish(&mut self, read: &[u8]);
}

/// What the worker wants to know about its lanes. Not on the hot path.
pub trait LaneEvents {
    /// An attempt to connect begins.
    fn connecting(&self);
    /// A connection is ready.
    fn connected(&self, greeting: &Greeting);
    /// A connection, or an attempt at one, has ended; `lost` requests of each fate went with it.
    fn disconnected(&self, ended: &Ended, lost_not_sent: u64, lost_may_have_run: u64);
    /// A connection has ended because nobody used it, or nobody wants its node any more.
    fn released(&self);
    /// Whether its node is still one of the upstream's: if not, it need not be connected to again.
    fn is_wanted(&self) -> bool;
}
