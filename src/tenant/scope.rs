//! The only door from a request to something that can be sent: every name in it gets its namespace's prefix.
//!
//! [`Scoped`] has no other constructor than [`scope`], and everything behind this module takes `Scoped` or
//! what is made from it. So forwarding a request whose names were not located and prefixed does not compile.

use std::sync::Arc;

use bytes::Bytes;

use super::directory::Namespace;
use super::prefix::Prefix;
use super::reply::ReplyPlan;
use crate::command::slot::{slot, slot_of_parts};
use crate::command::{CommandSpec, Located, NameKind, ReplyRule};
use crate::resp::{OwnedRequest, Request, SendQueue, edit};

/// A request inside one tenant's namespace.
#[derive(Debug)]
pub struct Scoped<'a> {
    namespace: &'a Arc<Namespace>,
    form: Form<'a>,
}

/// How a scoped request exists.
#[derive(Debug)]
enum Form<'a> {
    /// As it was received; the prefix goes before each marked argument when it is sent.
    Marked {
        request: Request<'a>,
        located: &'a Located,
        prefix: &'a Prefix,
        rule: ReplyRule,
        owner: Option<&'a Bytes>,
    },
    /// Written out, prefixes included.
    Written(&'a OwnedScoped),
}

/// A scoped request that is kept: queued in a transaction, or written by the proxy itself.
#[derive(Clone, Debug)]
pub struct OwnedScoped {
    bytes: Bytes,
    plan: ReplyPlan,
    namespace: Arc<Namespace>,
    keyed: Keyed,
}

/// Where in a cluster the keys of a request lie; shard channels are spread as keys are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keyed {
    /// It has none. Patterns and ordinary channels are no keys.
    Nowhere,
    /// All in this slot.
    In(u16),
    /// In several slots.
    Across,
}

impl Keyed {
    /// Of both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Nowhere, keyed) | (keyed, Self::Nowhere) => keyed,
            (Self::In(a), Self::In(b)) if a == b => self,
            (Self::In(_) | Self::Across, Self::In(_) | Self::Across) => Self::Across,
        }
    }

    /// Of keys in these slots.
    pub(super) fn at(mut slots: impl Iterator<Item = u16>) -> Self {
        match slots.next() {
            None => Self::Nowhere,
            Some(first) if slots.all(|slot| slot == first) => Self::In(first),
            Some(_) => Self::Across,
        }
    }

    /// Of these physical keys.
    pub(super) fn of<'k>(keys: impl IntoIterator<Item = &'k [u8]>) -> Self {
        Self::at(keys.into_iter().map(slot))
    }
}

/// The keys of a request lie in several slots, and it cannot be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("CROSSSLOT Keys in request don't hash to the same slot")]
pub struct CrossSlot;

impl OwnedScoped {
    /// A request that the proxy writes in its own right; whoever calls has put the prefix on every name in
    /// `args`, and knows which of them are keys. `None`: it is too long to be one.
    pub(super) fn written(
        args: &[&[u8]],
        namespace: &Arc<Namespace>,
        rule: ReplyRule,
        keyed: Keyed,
    ) -> Option<Self> {
        let request = OwnedRequest::from_args(args)?;
        Some(Self {
            bytes: Bytes::copy_from_slice(request.as_request().bytes()),
            plan: ReplyPlan::new(rule, namespace, || 0),
            namespace: Arc::clone(namespace),
            keyed,
        })
    }

    /// Where its keys lie.
    pub fn keyed(&self) -> Keyed {
        self.keyed
    }

    /// The request to send.
    pub fn as_scoped(&self) -> Scoped<'_> {
        Scoped { namespace: &self.namespace, form: Form::Written(self) }
    }

    /// What is to be done with its reply.
    pub fn reply_plan(&self) -> &ReplyPlan {
        &self.plan
    }

    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Never: a request has at least its command's name.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// Why a request cannot be put into a namespace; it is not sent. `Display` is the error reply without `-`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unscopable {
    /// A name with its prefix is longer than the upstream accepts; it would close the connection of
    /// everybody.
    #[error("ERR key is {len} bytes long with its tenant's prefix, limit is {limit} (proto-max-bulk-len)")]
    NameTooLong {
        /// Bytes with the prefix.
        len: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// With the prefix on each of its names the request is longer than the upstream takes; it would close the
    /// connection of everybody.
    #[error(
        "ERR request is {len} bytes long with its tenant's prefixes, limit is {limit} (client-query-buffer-limit)"
    )]
    RequestTooLong {
        /// Bytes with all prefixes, at most.
        len: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// The request names another database, or something that is not a key or channel.
    #[error("ERR this form of the command names {what}, which this version of Tenantry does not support yet")]
    Unsupported {
        /// What it names.
        what: &'static str,
    },
}

/// What the upstream accepts; beyond it, it closes the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpstreamLimits {
    /// Bytes in one argument (`proto-max-bulk-len`).
    pub max_bulk: usize,
    /// Bytes in one request (`client-query-buffer-limit`).
    pub max_request: usize,
}

/// Puts `request` into `namespace`. `located` are its names; `owner` holds the request's bytes if they may be
/// shared instead of copied.
#[expect(clippy::inline_always, reason = "see `Session::on_request`")]
#[inline(always)]
pub fn scope<'a>(
    spec: &'static CommandSpec,
    request: Request<'a>,
    located: &'a Located,
    namespace: &'a Arc<Namespace>,
    limits: UpstreamLimits,
    owner: Option<&'a Bytes>,
) -> Result<Scoped<'a>, Unscopable> {
    // No command names keys and channels at once.
    let is_channel = located.marks.first().is_some_and(|mark| mark.kind.is_channel());
    let prefix = if is_channel { &namespace.channels } else { &namespace.prefix };
    let prefix_len = prefix.as_bytes().len();
    for mark in &located.marks {
        admit(mark.kind)?;
        let len = request.arg(mark.arg as usize).map_or(0, <[u8]>::len).saturating_add(prefix_len);
        if len > limits.max_bulk {
            return Err(Unscopable::NameTooLong { len, limit: limits.max_bulk });
        }
    }
    // A header grows by a digit or two with its name.
    let longest = located
        .marks
        .len()
        .saturating_mul(prefix_len.saturating_add(2))
        .saturating_add(request.bytes().len());
    if longest > limits.max_request {
        return Err(Unscopable::RequestTooLong { len: longest, limit: limits.max_request });
    }
    let rule = spec.reply.of_request(request.argc());
    Ok(Scoped { namespace, form: Form::Marked { request, located, prefix, rule, owner } })
}

/// Whether a name of this kind becomes the tenant's own by a prefix. A prefix has no glob characters (see
/// [`Prefix`](super::prefix::Prefix)), so patterns need no escaping.
fn admit(kind: NameKind) -> Result<(), Unscopable> {
    match kind {
        NameKind::Key
        | NameKind::KeyPattern
        | NameKind::KeyPrefix
        | NameKind::SortPattern
        | NameKind::Channel
        | NameKind::ShardChannel
        | NameKind::ChannelPattern => Ok(()),
        NameKind::Database => Err(Unscopable::Unsupported { what: "another database" }),
        NameKind::Index | NameKind::Alias | NameKind::Dictionary | NameKind::Cursor => {
            Err(Unscopable::Unsupported { what: "a search index" })
        }
        NameKind::Library | NameKind::LibraryPattern | NameKind::Function => {
            Err(Unscopable::Unsupported { what: "a function" })
        }
    }
}

/// Whether a cluster spreads what such a name names over its slots.
fn is_spread(kind: NameKind) -> bool {
    matches!(kind, NameKind::Key | NameKind::ShardChannel)
}

impl Scoped<'_> {
    /// Appends the request as it goes upstream and returns its length in bytes.
    pub fn queue(&self, queue: &mut SendQueue) -> usize {
        match &self.form {
            Form::Marked { request, located, prefix, owner, .. } => {
                let marks = located.marks.iter().map(|mark| mark.arg as usize);
                edit::queue_prefixed(queue, request, marks, prefix.as_bytes(), *owner)
            }
            Form::Written(request) => {
                queue.tail().extend_from_slice(&request.bytes);
                request.bytes.len()
            }
        }
    }

    /// The tenant's upstream, by number.
    pub fn upstream(&self) -> usize {
        self.namespace.tenant.upstream
    }

    /// The namespace it is in.
    pub fn namespace(&self) -> &Arc<Namespace> {
        self.namespace
    }

    /// The upstream database it is for, where databases are native.
    pub fn database(&self) -> Option<u32> {
        self.namespace.native
    }

    /// Where its keys lie, prefixes included. Only a cluster needs to know, so nothing is worked out before
    /// somebody asks.
    pub fn keyed(&self) -> Keyed {
        match &self.form {
            Form::Marked { request, located, prefix, .. } => {
                let keys = located.keyed().filter(|mark| is_spread(mark.kind));
                let keys = keys.map(|mark| request.arg(mark.arg as usize).unwrap_or_default());
                Keyed::at(keys.map(|key| slot_of_parts(prefix.as_bytes(), key)))
            }
            Form::Written(request) => request.keyed,
        }
    }

    /// The client's own words and the prefix that its names get, unless the proxy has written it out.
    pub(super) fn as_received(&self) -> Option<(&Request<'_>, &Prefix)> {
        match &self.form {
            Form::Marked { request, prefix, .. } => Some((request, prefix)),
            Form::Written(_) => None,
        }
    }

    /// A part of this request: `bytes` have some of its names, which all lie in `slot`.
    pub(super) fn part(&self, bytes: Bytes, slot: u16) -> OwnedScoped {
        OwnedScoped {
            bytes,
            plan: self.reply_plan(),
            namespace: Arc::clone(self.namespace),
            keyed: Keyed::In(slot),
        }
    }

    /// What is to be done with the reply.
    pub fn reply_plan(&self) -> ReplyPlan {
        match &self.form {
            Form::Marked { request, located, prefix, rule, .. } => {
                ReplyPlan::new(*rule, self.namespace, || {
                    let first = located.marks.first().and_then(|mark| request.arg(mark.arg as usize));
                    let printed =
                        first.unwrap_or_default().split(|byte| *byte == 0).next().unwrap_or_default();
                    u32::try_from(printed.len().saturating_add(prefix.as_bytes().len())).unwrap_or(u32::MAX)
                })
            }
            Form::Written(request) => request.plan.clone(),
        }
    }

    /// The same request, to be kept.
    pub fn into_owned(self) -> OwnedScoped {
        if let Form::Written(request) = self.form {
            return request.clone();
        }
        let mut queue = SendQueue::default();
        self.queue(&mut queue);
        OwnedScoped {
            keyed: self.keyed(),
            plan: self.reply_plan(),
            bytes: queue.into_bytes(),
            namespace: Arc::clone(self.namespace),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{identify, locate};
    use crate::resp::OwnedRequest;

    /// What `look` sees of the request in the namespace `acme:`.
    fn scoped<T>(words: &[&str], look: impl FnOnce(Scoped<'_>) -> T) -> Result<T, Unscopable> {
        let owned = OwnedRequest::from_args(words).expect("words are not empty");
        let request = owned.as_request();
        let spec = identify(&request).expect("known");
        let mut located = Located::new();
        locate(spec, &request, &mut located).expect("located");
        let namespace = crate::tenant::example_namespace();
        let limits = UpstreamLimits { max_bulk: 32, max_request: 200 };
        Ok(look(scope(spec, request, &located, &namespace, limits, None)?))
    }

    /// The request as it would be sent, as words.
    fn sent(words: &[&str]) -> Result<Vec<String>, Unscopable> {
        let mut queue = SendQueue::default();
        scoped(words, |scoped| scoped.queue(&mut queue))?;
        let text = String::from_utf8(queue.tail().to_vec()).expect("ASCII");
        Ok(text
            .split("\r\n")
            .filter(|line| !line.starts_with(['*', '$']) && !line.is_empty())
            .map(str::to_owned)
            .collect())
    }

    #[test]
    fn names_of_every_kind_get_the_prefix_and_nothing_else_does() {
        for (words, expected) in [
            (vec!["GET", "k"], vec!["GET", "acme:k"]),
            (vec!["MSET", "a", "1", "b", "2"], vec!["MSET", "acme:a", "1", "acme:b", "2"]),
            (
                vec!["SORT", "l", "BY", "w_*", "GET", "#", "STORE", "d"],
                vec!["SORT", "acme:l", "BY", "acme:w_*", "GET", "#", "STORE", "acme:d"],
            ),
            (vec!["PUBLISH", "c", "m"], vec!["PUBLISH", "acme:c", "m"]),
            (vec!["LMPOP", "2", "a", "b", "LEFT"], vec!["LMPOP", "2", "acme:a", "acme:b", "LEFT"]),
            (
                vec!["XREAD", "COUNT", "1", "STREAMS", "s", "0"],
                vec!["XREAD", "COUNT", "1", "STREAMS", "acme:s", "0"],
            ),
        ] {
            assert_eq!(Ok(expected.into_iter().map(str::to_owned).collect()), sent(&words));
        }
    }

    #[test]
    fn a_name_that_the_upstream_would_refuse_is_not_sent() {
        let key = "k".repeat(28);
        assert_eq!(Err(Unscopable::NameTooLong { len: 33, limit: 32 }), sent(&["GET", &key]));
        assert!(sent(&["GET", &key[..27]]).is_ok());
    }

    #[test]
    fn a_request_that_the_prefixes_make_too_long_is_not_sent() {
        let names = vec!["k"; 15];
        let words: Vec<&str> = std::iter::once("DEL").chain(names).collect();
        assert_eq!(Err(Unscopable::RequestTooLong { len: 224, limit: 200 }), sent(&words));
        assert!(sent(&words[..12]).is_ok());
    }

    #[test]
    fn another_database_is_not_reached() {
        assert_eq!(
            Err(Unscopable::Unsupported { what: "another database" }),
            sent(&["COPY", "a", "b", "DB", "1"])
        );
    }

    /// 2794 is what `CLUSTER KEYSLOT acme:k` of Redis 7.0.15 says, 4574 is that of `{u1}`.
    #[test]
    fn a_request_knows_the_slot_of_its_keys_and_so_does_one_that_is_kept() {
        for (words, expected) in [
            (vec!["GET", "k"], Keyed::In(2794)),
            (vec!["MGET", "k", "k"], Keyed::In(2794)),
            (vec!["SINTERSTORE", "{u1}a", "b{u1}", "{u1}"], Keyed::In(4574)),
            (vec!["MSET", "k", "{u1}", "{u1}", "k"], Keyed::Across),
            (vec!["SPUBLISH", "k", "m"], Keyed::In(2794)),
            (vec!["SORT", "k", "BY", "{u1}*", "GET", "x*"], Keyed::In(2794)),
            (vec!["ZUNIONSTORE", "k", "0", "{u1}"], Keyed::In(2794)),
            (vec!["LMPOP", "0", "k", "{u1}", "LEFT"], Keyed::Nowhere),
            (vec!["PUBLISH", "k", "m"], Keyed::Nowhere),
            (vec!["PING"], Keyed::Nowhere),
        ] {
            assert_eq!(Ok(expected), scoped(&words, |scoped| scoped.keyed()), "{words:?}");
            assert_eq!(Ok(expected), scoped(&words, |scoped| scoped.into_owned().keyed()), "{words:?}");
            let kept = |scoped: Scoped<'_>| scoped.into_owned().as_scoped().keyed();
            assert_eq!(Ok(expected), scoped(&words, kept), "{words:?}");
        }
    }
}
