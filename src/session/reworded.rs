//! Commands that are forwarded, but in other words than the client's: the client's own leave something out that
//! must be said, or name a database.

use bytes::BytesMut;

use super::affinity::{Over, Slot, Trace};
use super::batch::Batch;
use super::machine::{Session, Step};
use super::rescue::text;
use super::tied::{self, Moment};
use super::transaction::Queued;
use crate::command::CommandSpec;
use crate::resp::reply::ReplyWriter;
use crate::resp::{Request, Version};
use crate::routing::topology::MultiKeyScope;
use crate::tenant::{OwnedScoped, keyspace, requests};

/// The step of a command whose service is `Reworded`.
pub(super) fn step(
    session: &mut Session,
    spec: &'static CommandSpec,
    request: &Request<'_>,
    moment: Moment<'_>,
) -> Result<Step<'static>, Vec<u8>> {
    let is_spread =
        session.view(&moment.around).is_some_and(|view| view.topology.scope() == MultiKeyScope::Slot);
    if is_spread && spec.name.starts_with("PUBSUB ") {
        return Ok(if moment.is_owed { Step::Wait } else { Step::Compose { is_wanted: moment.is_wanted } });
    }
    let request = reworded(session, spec, request, &moment)?;
    let to = session.place(&moment.around, request.keyed(), false)?;
    let own = session.affinity.as_ref().filter(|affinity| {
        affinity.needs(Slot::Own, session.version) && !affinity.is_held_elsewhere(to.node, session.version)
    });
    let is_tied = own.is_some();
    let over = if is_tied { Over::Leased(Slot::Own, Trace::Nothing) } else { Over::Shared };
    let first = if is_tied {
        tied::before(session, Slot::Own, to.node, moment.is_owed)
    } else {
        session.before_shared(moment.is_owed).map(Ok)
    };
    if let Some(first) = first {
        return first;
    }
    if !session.may_go(to, false, &moment) {
        return Ok(Step::Wait);
    }
    Ok(Step::Batch(Box::new(Batch::of_one(over, to, request, moment.is_wanted))))
}

/// The same, queued in a transaction. What cannot be one request is refused.
pub(super) fn kept(
    session: &Session,
    spec: &'static CommandSpec,
    request: &Request<'_>,
    moment: &Moment<'_>,
) -> Result<Queued, Vec<u8>> {
    match reworded(session, spec, request, moment) {
        // Redis looks at its options when it runs.
        Err(error) if spec.name == "COPY" => {
            let mut answer = BytesMut::new();
            ReplyWriter::new(&mut answer, Version::Resp2).error(&error);
            Ok(Queued::Answer(answer.freeze()))
        }
        request => request.map(Queued::Upstream),
    }
}

fn reworded(
    session: &Session,
    spec: &'static CommandSpec,
    request: &Request<'_>,
    moment: &Moment<'_>,
) -> Result<OwnedScoped, Vec<u8>> {
    let (Some(bound), Some(view)) = (&session.bound, session.view(&moment.around)) else {
        return Err(text::UPSTREAM_REFUSED_PROXY.to_vec());
    };
    let here = session.transaction().map_or(&bound.namespace, |transaction| &transaction.namespace);
    match (spec.name, request.arg(2)) {
        ("COPY", _) => keyspace::copy(request, &bound.binding, here, view.limits)
            .map_err(|error| error.to_string().into_bytes()),
        ("PUBSUB CHANNELS" | "PUBSUB SHARDCHANNELS", pattern) => {
            let words = [b"PUBSUB".as_slice(), request.arg(1).unwrap_or_default()];
            let more = request.argc().saturating_sub(3);
            requests::channels(words, pattern.unwrap_or(b"*"), more, (here, view.limits))
                .map_err(|error| error.to_string().into_bytes())
        }
        ("PUBSUB NUMSUB", _) => {
            let names: Vec<&[u8]> = request.args().skip(2).collect();
            requests::subscribers(&names, (here, view.limits)).map_err(|error| error.to_string().into_bytes())
        }
        ("WAIT" | "WAITAOF" | "PING" | "ECHO", _) => {
            let args: Vec<&[u8]> = request.args().collect();
            requests::as_said(&args, here).ok_or_else(|| text::SYNTAX.to_vec())
        }
        _ => Err(text::NOT_IN_TRANSACTION.to_vec()),
    }
}
