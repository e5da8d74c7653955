//! What clients of a tenant read that rather has nothing than an error (`on_unavailable = "nil"`).
//!
//! What that would be is worked out when a request is sent, for such tenants alone, and travels with its ticket: the
//! request itself is gone by the time that it fails. Writes have no such reply, nor has anything on which a client
//! would act as if it knew: see [`Absent`].

use bytes::BytesMut;

use super::commons::Commons;
use super::machine::Session;
use super::rescue;
use super::ticket::Asked;
use crate::command::{Absent, CommandSpec};
use crate::metrics::label::ErrorCode;
use crate::resp::reply::ReplyWriter;
use crate::resp::{Request, Version};
use crate::tenant::directory::{Namespace, OnUnavailable};

/// Whether a session's reads may be answered without the upstream: what it reads decides nothing that it is about to
/// change in a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Degrades {
    /// If its tenant wants that.
    AsTenantWants,
    /// Never.
    Never,
}

impl Degrades {
    #[inline]
    pub(super) fn of(session: &Session) -> Self {
        if session.ties().is_some() { Self::Never } else { Self::AsTenantWants }
    }

    /// What `request` is answered if the upstream is not there, where that is no error.
    #[inline]
    pub(super) fn absent(
        self,
        spec: Option<&'static CommandSpec>,
        request: &Request<'_>,
        (namespace, version): (&Namespace, Version),
    ) -> Option<Absent> {
        let is_wanted = self == Self::AsTenantWants && namespace.tenant.on_unavailable == OnUnavailable::Nil;
        if is_wanted { Absent::of(spec?, request, version) } else { None }
    }
}

impl Commons {
    /// What the client of a request reads instead of its reply: `error`, or nothing where it wants that. Counts it.
    pub(super) fn instead(&self, of: Asked, error: &[u8]) -> BytesMut {
        let tenant = of.tenant as usize;
        if let Some(absent) = of.absent.filter(|_| rescue::is_unavailability(error)) {
            return self.degraded(tenant, absent);
        }
        self.count_error(tenant, ErrorCode::of_reply(error));
        let mut reply = BytesMut::new();
        ReplyWriter::new(&mut reply, Version::Resp2).error(error);
        reply
    }

    /// What there is without the upstream. Counts it.
    pub(super) fn degraded(&self, tenant: usize, absent: Absent) -> BytesMut {
        tracing::debug!(tenant, "read answered as if there were no such key");
        self.metrics.borrow_mut().degraded_reply(tenant);
        let mut reply = BytesMut::new();
        absent.write(&mut reply);
        reply
    }
}
