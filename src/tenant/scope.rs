//! The only door from a request to something that can be sent: every name in it gets its namespace's prefix.
//!
//! [`Scoped`] has no other constructor than [`scope`], and everything behind this module takes `Scoped` or
//! what is made from it. So forwarding a request whose names were not located and prefixed does not compile.

use std::cell::Cell;
use std::sync::Arc;

use bytes::Bytes;

use super::compression::{self, Compression, Stored, Storing, Tally};
use super::directory::Namespace;
use super::prefix::Prefix;
use super::reply::ReplyPlan;
use crate::command::slot::{slot, slot_of_parts};
use crate::command::{CommandSpec, Located, NameKind, ReplyRule, Shows, Values};
use crate::resp::edit::{self, Splicer};
use crate::resp::{OwnedRequest, Request, SendQueue};

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
        /// How its values are stored, if it writes or reads any; they are compressed when it is sent.
        values: Option<StoredValues>,
    },
    /// Written out, prefixes included.
    Written(&'a OwnedScoped),
}

/// The values of a request, where they may be compressed.
#[derive(Debug)]
struct StoredValues {
    compression: Compression,
    /// What was compressed when the request was sent.
    tally: Cell<Tally>,
    /// So many arguments after its key each value stands; 0: there are none.
    after_key: u8,
    /// Where they are in the reply.
    shows: Shows,
}

/// A scoped request that is kept: queued in a transaction, or written by the proxy itself.
#[derive(Clone, Debug)]
pub struct OwnedScoped {
    bytes: Bytes,
    plan: ReplyPlan,
    namespace: Arc<Namespace>,
    keyed: Keyed,
    tally: Tally,
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
            tally: Tally::default(),
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
    /// A value that must be told from a compressed one is longer than the upstream accepts with what tells it.
    #[error(
        "ERR value is {len} bytes long with the header that it is stored behind, limit is {limit} (proto-max-bulk-len)"
    )]
    ValueTooLong {
        /// Bytes with the header.
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
    Ok(Scoped { namespace, form: Form::Marked { request, located, prefix, rule, owner, values: None } })
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
    /// Stores the values that it writes, and reads those that it is told, as `compression` says.
    #[inline]
    pub fn store_values(
        &mut self,
        spec: &'static CommandSpec,
        compression: Option<Compression>,
        limits: UpstreamLimits,
    ) -> Result<(), Unscopable> {
        match (compression, spec.values()) {
            (Some(compression), Values::Understood { after_key, shows }) => {
                let stored = StoredValues { compression, tally: Cell::default(), after_key, shows };
                self.store(stored, limits)
            }
            _ => Ok(()),
        }
    }

    #[inline(never)]
    fn store(&mut self, mut stored: StoredValues, limits: UpstreamLimits) -> Result<(), Unscopable> {
        let Form::Marked { request, located, values, .. } = &mut self.form else { return Ok(()) };
        let (mut growth, mut changes) = (0_usize, false);
        for (_, value) in stored.of(request, located) {
            let grows = compression::growth(value);
            let len = value.len().saturating_add(grows);
            if grows > 0 && len > limits.max_bulk {
                return Err(Unscopable::ValueTooLong { len, limit: limits.max_bulk });
            }
            growth = growth.saturating_add(grows);
            changes |= stored.compression.may_change(value);
        }
        let prefixes = self.namespace.prefix.as_bytes().len().saturating_add(2);
        let prefixes = located.marks.len().saturating_mul(prefixes);
        let longest = request.bytes().len().saturating_add(growth).saturating_add(prefixes);
        if longest > limits.max_request {
            return Err(Unscopable::RequestTooLong { len: longest, limit: limits.max_request });
        }
        if !changes {
            // It goes the usual way.
            stored.after_key = 0;
        }
        *values = Some(stored);
        Ok(())
    }
}

impl StoredValues {
    /// The values of a request, and which arguments they are. One that the server takes for a key is none: then it
    /// refuses the request.
    fn of<'r>(
        &self,
        request: &'r Request<'r>,
        located: &'r Located,
    ) -> impl Iterator<Item = (usize, &'r [u8])> + use<'r> {
        let after_key = usize::from(self.after_key);
        let keys = located.marks.iter().map(|mark| mark.arg as usize).filter(move |_| after_key > 0);
        let nexts = located.marks.iter().skip(1).map(|mark| mark.arg as usize).chain([usize::MAX]);
        keys.zip(nexts).filter_map(move |(key, next)| {
            let at = key.saturating_add(after_key);
            Some((at, request.arg(at)?)).filter(|_| at < next)
        })
    }

    /// Appends the request with its values as they are stored, and returns its length in bytes.
    #[inline(never)]
    fn queue(
        &self,
        queue: &mut SendQueue,
        request: &Request<'_>,
        located: &Located,
        prefix: &Prefix,
        owner: Option<&Bytes>,
    ) -> usize {
        let mut splicer = Splicer::new(queue, request, owner);
        let mut storing = Storing::by(self.compression);
        let mut values = self.of(request, located).peekable();
        for mark in &located.marks {
            splicer.put_before(mark.arg as usize, prefix.as_bytes());
            let after = mark.arg.saturating_add(u32::from(self.after_key)) as usize;
            let Some((at, value)) = values.next_if(|(at, _)| *at == after) else { continue };
            match storing.store(value) {
                Stored::AsItCame => {}
                Stored::Behind(header) => splicer.put_before(at, &header),
                Stored::Framed(frame) => splicer.replace(at, frame),
            }
        }
        self.tally.set(storing.tally());
        splicer.finish()
    }
}

impl Scoped<'_> {
    /// Appends the request as it goes upstream and returns its length in bytes.
    pub fn queue(&self, queue: &mut SendQueue) -> usize {
        match &self.form {
            Form::Marked { request, located, prefix, owner, values: Some(values), .. }
                if values.after_key > 0 =>
            {
                values.queue(queue, request, located, prefix, *owner)
            }
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

    /// How its values are stored, and where they stand after their keys, if it writes any that may be compressed.
    pub(super) fn stores(&self) -> Option<(Storing, usize)> {
        match &self.form {
            Form::Marked { values: Some(values), .. } if values.after_key > 0 => {
                Some((Storing::by(values.compression), usize::from(values.after_key)))
            }
            Form::Marked { .. } | Form::Written(_) => None,
        }
    }

    /// A part of this request: `bytes` have some of its names, which all lie in `slot`.
    pub(super) fn part(&self, (bytes, tally): (Bytes, Tally), slot: u16) -> OwnedScoped {
        OwnedScoped {
            bytes,
            plan: self.reply_plan(),
            namespace: Arc::clone(self.namespace),
            keyed: Keyed::In(slot),
            tally,
        }
    }

    /// What of its values was compressed when it was last written out.
    #[inline]
    pub fn compressed(&self) -> Tally {
        match &self.form {
            Form::Marked { values, .. } => {
                values.as_ref().map(|values| values.tally.get()).unwrap_or_default()
            }
            Form::Written(request) => request.tally,
        }
    }

    /// What is to be done with the reply.
    pub fn reply_plan(&self) -> ReplyPlan {
        match &self.form {
            Form::Marked { values: Some(StoredValues { shows, .. }), .. } if *shows != Shows::Nothing => {
                ReplyPlan::Values(*shows)
            }
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
            tally: self.compressed(),
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

    /// The words of the request with values stored by `above`, and what is done with its reply.
    fn stored(above: u32, words: &[&str]) -> Result<(Vec<Vec<u8>>, ReplyPlan, Tally), Unscopable> {
        let owned = OwnedRequest::from_args(words).expect("words are not empty");
        let request = owned.as_request();
        let spec = identify(&request).expect("known");
        let mut located = Located::new();
        locate(spec, &request, &mut located).expect("located");
        let namespace = crate::tenant::example_namespace();
        let limits = UpstreamLimits { max_bulk: 600, max_request: 2000 };
        let compression = Some(Compression { above: Some(above) });
        let mut scoped = scope(spec, request, &located, &namespace, limits, None)?;
        scoped.store_values(spec, compression, limits)?;
        let mut queue = SendQueue::default();
        let queued = scoped.queue(&mut queue);
        let bytes = queue.into_bytes();
        assert_eq!(queued, bytes.len());
        let mut cursor = crate::resp::cursor::Cursor::new(&bytes);
        let mut sent = Vec::new();
        while let Some(value) = cursor.next_value() {
            if let crate::resp::cursor::Value::Bulk(word) = value {
                sent.push(word.to_vec());
            }
        }
        assert_eq!(bytes.len(), cursor.position());
        Ok((sent, scoped.reply_plan(), scoped.compressed()))
    }

    #[test]
    fn values_are_stored_where_they_stand() {
        let long = "long ".repeat(100);
        let framed = compression::stored(Some(64), long.as_bytes());
        for (line, expected) in [
            ("SET k LONG EX 9", "SET acme:k FRAMED EX 9"),
            ("SETNX k LONG", "SETNX acme:k FRAMED"),
            ("SETEX k 9 LONG", "SETEX acme:k 9 FRAMED"),
            ("MSET a LONG b short c LONG", "MSET acme:a FRAMED acme:b short acme:c FRAMED"),
            ("MSETEX 2 a LONG b v EX 9", "MSETEX 2 acme:a FRAMED acme:b v EX 9"),
            ("MSET a LONG b", "MSET acme:a FRAMED acme:b"),
            // No number of keys: every word is taken for one, and the server refuses it.
            ("MSETEX x a LONG", "MSETEX x acme:a acme:LONG"),
            ("HSET k f LONG", "HSET acme:k f LONG"),
            ("APPEND k LONG", "APPEND acme:k LONG"),
        ] {
            let words: Vec<&str> =
                line.split(' ').map(|word| if word == "LONG" { &long } else { word }).collect();
            let expected: Vec<Vec<u8>> = expected
                .split(' ')
                .map(|word| match word {
                    "FRAMED" => framed.clone(),
                    _ => word.replace("LONG", &long).into_bytes(),
                })
                .collect();
            let (sent, _, tally) = stored(64, &words).expect("it fits");
            assert_eq!(expected, sent, "{line}");
            let times = sent.iter().filter(|word| **word == framed).count();
            let expected = (500 * times, framed.len() * times);
            assert_eq!(expected, (tally.written as usize, tally.stored as usize), "{line}");
        }
    }

    #[test]
    fn replies_with_values_are_shown_as_they_were_written() {
        for (words, expected) in [
            (vec!["GET", "k"], Some(Shows::One)),
            (vec!["SET", "k", "v", "GET"], Some(Shows::One)),
            (vec!["MGET", "k", "l"], Some(Shows::Each)),
            (vec!["MSET", "k", "v"], None),
            (vec!["HGET", "k", "f"], None),
        ] {
            let (_, plan, _) = stored(64, &words).expect("it fits");
            let shows = if let ReplyPlan::Values(shows) = plan { Some(shows) } else { None };
            assert_eq!(expected, shows, "{words:?}");
        }
    }

    #[test]
    fn a_value_that_is_too_long_with_its_header_is_not_sent() {
        // It begins as `\xf5TNV` does only as bytes, which are no text.
        let like_a_frame = |len: usize| {
            let value = [b"\xf5TNV".to_vec(), vec![b'x'; len - 4]].concat();
            let request = OwnedRequest::from_args(&[b"SET".as_slice(), b"k", &value]).expect("words");
            let request = request.as_request();
            let spec = identify(&request).expect("known");
            let mut located = Located::new();
            locate(spec, &request, &mut located).expect("located");
            let namespace = crate::tenant::example_namespace();
            let limits = UpstreamLimits { max_bulk: 100, max_request: 150 };
            let compression = Some(Compression { above: None });
            let mut scoped = scope(spec, request, &located, &namespace, limits, None)?;
            scoped.store_values(spec, compression, limits)
        };
        assert_eq!(Ok(()), like_a_frame(90));
        assert_eq!(Err(Unscopable::ValueTooLong { len: 101, limit: 100 }), like_a_frame(91));
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
