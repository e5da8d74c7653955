//! Requests that the proxy writes itself for one session: what a client sent says what they are about, but
//! their words are ours, and each name gets its prefix here.
//!
//! Like [`scope`](super::scope()), these are doors to [`Scoped`](super::Scoped), and there are no others.

use std::sync::Arc;

use super::directory::{Binding, Namespace};
use super::lifetime::Beside;
use super::scope::{Keyed, OwnedScoped, Unscopable, UpstreamLimits};
use crate::command::ReplyRule;
use crate::resp::Request;

/// A request of fixed words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fixed {
    /// `MULTI`.
    Multi,
    /// `EXEC`.
    Exec,
    /// `ASKING`: the next request is for keys that are on their way to the node.
    Asking,
    /// `CLUSTER INFO`: for the proxy only.
    ClusterInfo,
    /// `UNWATCH`.
    Unwatch,
    /// `PING`.
    Ping,
    /// `CLIENT TRACKING OFF`.
    TrackingOff,
    /// `CLIENT CACHING YES`.
    CachingYes,
    /// `CLIENT CACHING NO`.
    CachingNo,
    /// `INFO everything`: about the whole server, for the proxy only.
    Info,
    /// `CONFIG GET notify-keyspace-events`.
    Notifications,
}

/// One of these requests, for a session in `namespace`. `None` never happens: they are short.
pub fn fixed(request: Fixed, namespace: &Arc<Namespace>) -> Option<OwnedScoped> {
    let words: &[&[u8]] = match request {
        Fixed::Multi => &[b"MULTI"],
        Fixed::Exec => &[b"EXEC"],
        Fixed::Asking => &[b"ASKING"],
        Fixed::ClusterInfo => &[b"CLUSTER", b"INFO"],
        Fixed::Unwatch => &[b"UNWATCH"],
        Fixed::Ping => &[b"PING"],
        Fixed::TrackingOff => &[b"CLIENT", b"TRACKING", b"OFF"],
        Fixed::CachingYes => &[b"CLIENT", b"CACHING", b"YES"],
        Fixed::CachingNo => &[b"CLIENT", b"CACHING", b"NO"],
        Fixed::Info => &[b"INFO", b"everything"],
        Fixed::Notifications => &[b"CONFIG", b"GET", b"notify-keyspace-events"],
    };
    OwnedScoped::written(words, namespace, ReplyRule::NoNames, Keyed::Nowhere)
}

/// A command without names (`WAIT`, `PING`) in the client's own words.
pub fn as_said(args: &[&[u8]], namespace: &Arc<Namespace>) -> Option<OwnedScoped> {
    OwnedScoped::written(args, namespace, ReplyRule::NoNames, Keyed::Nowhere)
}

/// `PEXPIRE` of one of a request's keys, as `beside` wants it.
pub fn expire(beside: Beside, request: &Request<'_>, namespace: &Arc<Namespace>) -> Option<OwnedScoped> {
    let key = [namespace.prefix.as_bytes(), request.arg(beside.arg as usize)?].concat();
    let ttl = beside.ttl.to_string();
    OwnedScoped::written(
        &[b"PEXPIRE", &key, ttl.as_bytes(), beside.when.word().as_bytes()],
        namespace,
        ReplyRule::NoNames,
        Keyed::of([key.as_slice()]),
    )
}

/// `SELECT` of a native database on a connection of the session's own.
pub fn select(namespace: &Arc<Namespace>) -> Option<OwnedScoped> {
    let number = namespace.native?.to_string();
    OwnedScoped::written(&[b"SELECT", number.as_bytes()], namespace, ReplyRule::NoNames, Keyed::Nowhere)
}

/// `CLIENT UNBLOCK` of the session's own upstream connection `id`.
pub fn unblock(id: u64, with_error: bool, namespace: &Arc<Namespace>) -> Option<OwnedScoped> {
    let id = id.to_string();
    let how: &[u8] = if with_error { b"ERROR" } else { b"TIMEOUT" };
    OwnedScoped::written(
        &[b"CLIENT", b"UNBLOCK", id.as_bytes(), how],
        namespace,
        ReplyRule::NoNames,
        Keyed::Nowhere,
    )
}

/// `SUBSCRIBE` and its kin: `names` are physical, as [`channel`] or `events` make them.
pub fn subscription(command: &str, names: &[Vec<u8>], namespace: &Arc<Namespace>) -> Option<OwnedScoped> {
    let words: Vec<&[u8]> =
        std::iter::once(command.as_bytes()).chain(names.iter().map(Vec::as_slice)).collect();
    let keyed = match command {
        "SSUBSCRIBE" | "SUNSUBSCRIBE" => Keyed::of(names.iter().map(Vec::as_slice)),
        _ => Keyed::Nowhere,
    };
    OwnedScoped::written(&words, namespace, ReplyRule::NoNames, keyed)
}

/// A channel, a shard channel or a pattern of channels as it is called upstream.
pub fn channel(name: &[u8], namespace: &Namespace) -> Vec<u8> {
    [namespace.channels.as_bytes(), name].concat()
}

/// `PUBSUB CHANNELS` or `PUBSUB SHARDCHANNELS`: those of the tenant that match `pattern`. `more` arguments than
/// the command takes are as many for the server to complain of.
pub fn channels(
    words: [&[u8]; 2],
    pattern: &[u8],
    more: usize,
    (namespace, limits): (&Arc<Namespace>, UpstreamLimits),
) -> Result<OwnedScoped, Unscopable> {
    let pattern = channel(pattern, namespace);
    if pattern.len() > limits.max_bulk {
        return Err(Unscopable::NameTooLong { len: pattern.len(), limit: limits.max_bulk });
    }
    let [command, subcommand] = words;
    let mut words: Vec<&[u8]> = vec![command, subcommand, &pattern];
    words.extend(std::iter::repeat_n(b"".as_slice(), more));
    OwnedScoped::written(&words, namespace, ReplyRule::ArrayOfChannels, Keyed::Nowhere)
        .ok_or(Unscopable::RequestTooLong { len: pattern.len(), limit: limits.max_request })
}

/// `PUBSUB NUMSUB` of these channels.
pub fn subscribers(
    names: &[&[u8]],
    (namespace, limits): (&Arc<Namespace>, UpstreamLimits),
) -> Result<OwnedScoped, Unscopable> {
    let names: Vec<Vec<u8>> = names.iter().map(|name| channel(name, namespace)).collect();
    let longest = names.iter().map(Vec::len).max().unwrap_or_default();
    if longest > limits.max_bulk {
        return Err(Unscopable::NameTooLong { len: longest, limit: limits.max_bulk });
    }
    let words: Vec<&[u8]> =
        [b"PUBSUB".as_slice(), b"NUMSUB"].into_iter().chain(names.iter().map(Vec::as_slice)).collect();
    let request = OwnedScoped::written(&words, namespace, ReplyRule::AlternatingChannelCount, Keyed::Nowhere);
    let too_long = |len| Unscopable::RequestTooLong { len, limit: limits.max_request };
    let request = request.ok_or_else(|| too_long(u32::MAX as usize))?;
    if request.len() > limits.max_request { Err(too_long(request.len())) } else { Ok(request) }
}

/// What a client wants to be told of.
#[derive(Clone, Copy, Debug)]
pub struct Tracked<'a> {
    /// `BCAST`: the beginnings of keys. `None`: the keys that the connection reads.
    pub broadcast: Option<&'a [Box<[u8]>]>,
    /// `OPTIN` or `OPTOUT`.
    pub option: Option<&'static str>,
    /// `NOLOOP`.
    pub is_noloop: bool,
    /// The upstream connection that is told instead.
    pub redirect: Option<u64>,
}

/// `CLIENT TRACKING ON`. Invalidations know no databases (*Client-side caching, "The invalidation table"*), so a
/// broadcast covers the tenant's keys in all of them.
pub fn tracking_on(tracked: &Tracked<'_>, binding: &Binding, home: &Arc<Namespace>) -> Option<OwnedScoped> {
    let mut words: Vec<Vec<u8>> = [b"CLIENT".as_slice(), b"TRACKING", b"ON"].map(<[u8]>::to_vec).into();
    if let Some(id) = tracked.redirect {
        words.extend([b"REDIRECT".to_vec(), id.to_string().into_bytes()]);
    }
    if let Some(prefixes) = tracked.broadcast {
        words.push(b"BCAST".to_vec());
        // One for everything covers the others, and the server refuses prefixes that overlap.
        let all: [Box<[u8]>; 1] = [Box::default()];
        let wanted = if prefixes.iter().any(|prefix| prefix.is_empty()) { all.as_slice() } else { prefixes };
        for physical in distinct_prefixes(binding) {
            for prefix in wanted {
                words.extend([b"PREFIX".to_vec(), [physical, prefix].concat()]);
            }
        }
    }
    words.extend(tracked.option.map(|option| option.as_bytes().to_vec()));
    words.extend(tracked.is_noloop.then(|| b"NOLOOP".to_vec()));
    let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    OwnedScoped::written(&words, home, ReplyRule::NoNames, Keyed::Nowhere)
}

/// The prefixes of all the binding's databases; native ones share theirs.
fn distinct_prefixes(binding: &Binding) -> Vec<&[u8]> {
    let mut prefixes: Vec<&[u8]> =
        binding.namespaces().iter().map(|namespace| namespace.prefix.as_bytes()).collect();
    prefixes.dedup();
    prefixes
}

/// A key that an invalidation names, as the tenant calls it; `None`: it is not the tenant's.
pub fn tracked_key<'k>(physical: &'k [u8], binding: &Binding) -> Option<&'k [u8]> {
    binding.namespaces().iter().find_map(|namespace| namespace.prefix.strip(physical))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2794 is what `CLUSTER KEYSLOT acme:k` of Redis 7.0.15 says.
    #[test]
    fn only_shard_channels_are_spread_over_slots() {
        let namespace = crate::tenant::example_namespace();
        let names = [b"acme:k".to_vec()];
        for (command, names, expected) in [
            ("SSUBSCRIBE", &names[..], Keyed::In(2794)),
            ("SUNSUBSCRIBE", &names[..], Keyed::In(2794)),
            ("SUNSUBSCRIBE", &[], Keyed::Nowhere),
            ("SUBSCRIBE", &names[..], Keyed::Nowhere),
            ("PSUBSCRIBE", &names[..], Keyed::Nowhere),
        ] {
            let request = subscription(command, names, &namespace).unwrap();
            assert_eq!(expected, request.keyed(), "{command}");
        }
    }
}
