//! Answers that every primary of a cluster has a part in, and none has keys: `WAIT`, `PUBSUB`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use super::asker::Asker;
use super::errand::{At, Errand};
use super::patience;
use super::rescue::{self, text};
use crate::resp::Request;
use crate::resp::cursor::{Cursor, Value};
use crate::resp::reply::ReplyWriter;
use crate::resp::scan::strict_integer;
use crate::tenant::directory::Namespace;
use crate::tenant::requests::{self, Fixed};
use crate::tenant::{OwnedScoped, UpstreamLimits};

/// `WAIT` of a client that may have written to any primary: what the least confirmed of them says. The `PING` before
/// it makes each wait for all that was written before (see `docs/decisions/0004-leases-and-ties.md`).
pub(super) async fn wait(
    asker: &Asker,
    request: &Request<'_>,
    namespace: &Arc<Namespace>,
    reply: &mut ReplyWriter<'_>,
) {
    let args: Vec<&[u8]> = request.args().collect();
    let (Some(ping), Some(wait)) =
        (requests::fixed(Fixed::Ping, namespace), requests::as_said(&args, namespace))
    else {
        return reply.error(text::SYNTAX);
    };
    let replies = asker.ask_everywhere_apart(&[ping, wait], patience::of_wait(&args)).await;
    let mut least: Option<Vec<i64>> = None;
    for came in &replies {
        let bytes = match came {
            Ok(bytes) => bytes,
            Err(error) => return reply.raw(error),
        };
        let Some(numbers) = numbers(bytes) else { return refuse(bytes, reply) };
        least = Some(match least {
            Some(least) => least.into_iter().zip(numbers).map(|(a, b)| a.min(b)).collect(),
            None => numbers,
        });
    }
    match least.as_deref() {
        Some([number]) => reply.integer(*number),
        // `WAITAOF`: of the node itself, and of its replicas.
        Some(several) => {
            reply.array(several.len());
            for number in several {
                reply.integer(*number);
            }
        }
        None => reply.error(text::NODES_UNKNOWN),
    }
}

/// A number, or those of an array.
fn numbers(reply: &[u8]) -> Option<Vec<i64>> {
    let mut cursor = Cursor::new(reply);
    let count = match cursor.next_value()? {
        Value::Line(b':', number) => return Some(vec![strict_integer(number)?]),
        Value::Array(count) => count,
        Value::Line(..) | Value::Bulk(_) | Value::Map(_) | Value::Null => return None,
    };
    (0..count)
        .map(|_| match cursor.next_value()? {
            Value::Line(b':', number) => strict_integer(number),
            Value::Line(..) | Value::Bulk(_) | Value::Array(_) | Value::Map(_) | Value::Null => None,
        })
        .collect()
}

/// Passes an error on; anything else is not what was asked for.
fn refuse(answer: &[u8], reply: &mut ReplyWriter<'_>) {
    match answer.strip_prefix(b"-") {
        Some(error) => {
            let error = error.strip_suffix(b"\r\n").unwrap_or(error);
            reply.error(rescue::replaces_in_cluster(error).unwrap_or(error));
        }
        None => reply.error(text::WITHHELD),
    }
}

/// How many of the tenant's channels have a subscriber.
pub(super) async fn count_channels(asker: &Asker, place: (&Arc<Namespace>, UpstreamLimits)) -> u64 {
    let Ok(request) = requests::channels([b"PUBSUB", b"CHANNELS"], b"*", 0, place) else { return 0 };
    let counted = each(asker, &request).await.and_then(|answers| merged(&answers, &request));
    counted.map_or(0, |channels| u64::try_from(channels.len()).unwrap_or(u64::MAX))
}

/// `PUBSUB CHANNELS`, `SHARDCHANNELS` and `NUMSUB`: of all primaries together.
pub(super) async fn pubsub(
    asker: &Asker,
    request: &Request<'_>,
    (namespace, limits): (&Arc<Namespace>, UpstreamLimits),
    reply: &mut ReplyWriter<'_>,
) {
    let subcommand = request.arg(1).unwrap_or_default();
    let is_count = subcommand.eq_ignore_ascii_case(b"NUMSUB");
    let written = if is_count {
        // A name that is asked for twice must not count twice.
        let names: BTreeSet<&[u8]> = request.args().skip(2).collect();
        requests::subscribers(&Vec::from_iter(names), (namespace, limits))
    } else {
        let more = request.argc().saturating_sub(3);
        let pattern = request.arg(2).unwrap_or(b"*");
        requests::channels([b"PUBSUB", subcommand], pattern, more, (namespace, limits))
    };
    let written = match written {
        Ok(written) => written,
        Err(error) => return reply.error(error.to_string().as_bytes()),
    };
    let answers = each(asker, &written).await;
    let channels = match answers.and_then(|answers| merged(&answers, &written)) {
        Ok(channels) => channels,
        Err(error) => return refuse(&error, reply),
    };
    if is_count {
        let names: Vec<&[u8]> = request.args().skip(2).collect();
        reply.array(names.len().saturating_mul(2));
        for name in names {
            reply.bulk(name);
            reply.integer(channels.get(name).copied().unwrap_or_default());
        }
    } else {
        reply.array(channels.len());
        for name in channels.keys() {
            reply.bulk(name);
        }
    }
}

/// What each primary answers.
async fn each(asker: &Asker, request: &OwnedScoped) -> Result<Vec<Bytes>, Bytes> {
    let shards = asker.shards().len();
    if shards == 0 {
        return Err(Bytes::from([b"-", text::NODES_UNKNOWN, b"\r\n"].concat()));
    }
    let requests: Vec<(At, OwnedScoped)> =
        (0..shards).map(|shard| (At::Shard(shard), request.clone())).collect();
    asker.ask_all(&requests).await.into_iter().collect()
}

/// The channels that they name, each with the sum of the numbers behind it, if there are numbers.
fn merged(answers: &[Bytes], request: &OwnedScoped) -> Result<BTreeMap<Vec<u8>, i64>, Bytes> {
    let withheld = || Bytes::from([b"-", text::WITHHELD, b"\r\n"].concat());
    let mut channels: BTreeMap<Vec<u8>, i64> = BTreeMap::new();
    for answer in answers {
        if answer.starts_with(b"-") {
            return Err(answer.clone());
        }
        let mut scoped = bytes::BytesMut::new();
        request.reply_plan().strip(answer, &mut scoped).map_err(|_| withheld())?;
        let mut cursor = Cursor::new(&scoped);
        let Some(Value::Array(count)) = cursor.next_value() else { return Err(withheld()) };
        let mut name: Option<&[u8]> = None;
        for _ in 0..count {
            match cursor.next_value() {
                Some(Value::Bulk(channel)) => {
                    channels.entry(channel.to_vec()).or_insert(0);
                    name = Some(channel);
                }
                Some(Value::Line(b':', number)) => {
                    if let Some(sum) = name.and_then(|name| channels.get_mut(name)) {
                        *sum = sum.saturating_add(strict_integer(number).unwrap_or_default());
                    }
                }
                _ => return Err(withheld()),
            }
        }
    }
    Ok(channels)
}
