//! Commands that change a session's ties: transactions, watched keys, subscriptions, tracking, `WAIT`.
//!
//! Each is one short function from the session's state to the next step. None of these commands may reach a
//! shared connection; a transaction without `WATCH` does, in one piece, because Redis forgets it with its last
//! byte.

use bytes::{Bytes, BytesMut};

use super::affinity::{Affinity, Over, Slot, Trace, Watch, slot_of_pushes};
use super::batch::{Batch, Due, Sent};
use super::local;
use super::machine::{Session, Step, Surroundings};
use super::patience;
use super::rescue::text;
use super::subscriptions::{Change, Kind, Naming};
use super::tracking::{self, Caching, Wish};
use super::transaction::{Outcome, Queued, Transaction, fixed};
use crate::command::CommandSpec;
use crate::resp::reply::ReplyWriter;
use crate::resp::{OwnedRequest, Request, Version};
use crate::tenant::requests::{self, Fixed};

/// What decides besides the session itself.
#[derive(Clone, Copy)]
pub(super) struct Moment<'m> {
    pub(super) around: Surroundings<'m>,
    /// The client wants the reply.
    pub(super) is_wanted: bool,
    /// It is owed earlier ones.
    pub(super) is_owed: bool,
}

/// An error for the client; a transaction under way will fail.
type Refusal = Vec<u8>;

/// The step of a command whose service is `Tied`.
pub(super) fn step(
    session: &mut Session,
    spec: &'static CommandSpec,
    request: &Request<'_>,
    moment: Moment<'_>,
    answer: &mut BytesMut,
) -> Result<Step<'static>, Refusal> {
    if let Some((kind, ends)) = Kind::of(spec.name) {
        return subscribe(session, kind, ends, request, moment, answer);
    }
    match spec.name {
        "MULTI" => multi(session, answer),
        "EXEC" => exec(session, moment, answer),
        "DISCARD" => discard(session, moment, answer),
        "UNWATCH" => Ok(unwatch(session, moment, answer)),
        "CLIENT TRACKING" => track(session, request, moment, answer),
        "CLIENT CACHING" => caching(session, request, moment, answer),
        _ => wait(session, request, moment),
    }
}

/// What must happen before a request can take the connection in `slot`; `None`: nothing.
pub(super) fn before(session: &Session, slot: Slot, is_owed: bool) -> Option<Step<'static>> {
    if session.affinity.as_ref().is_some_and(|affinity| affinity.holds(slot)) {
        return None;
    }
    Some(if is_owed { Step::Wait } else { Step::Lease(slot) })
}

fn ok(answer: &mut BytesMut, moment_is_wanted: bool) -> Step<'static> {
    ReplyWriter::new(answer, Version::Resp2).simple("OK");
    if moment_is_wanted { Step::Answer } else { Step::Silence }
}

// ---- Transactions ----

fn multi(session: &mut Session, answer: &mut BytesMut) -> Result<Step<'static>, Refusal> {
    let namespace = session.namespace().ok_or(text::NOAUTH)?;
    let affinity = session.affinity.get_or_insert_default();
    affinity.transaction = Some(Transaction::begin(namespace));
    ReplyWriter::new(answer, Version::Resp2).simple("OK");
    Ok(Step::Answer)
}

/// Keeps a request until `EXEC`.
pub(super) fn queue(
    session: &mut Session,
    queued: Queued,
    limit: usize,
    answer: &mut BytesMut,
) -> Result<Step<'static>, Refusal> {
    let transaction = session.affinity.as_mut().and_then(|affinity| affinity.transaction.as_mut());
    if transaction.is_some_and(|transaction| transaction.push(queued, limit)) {
        ReplyWriter::new(answer, Version::Resp2).simple("QUEUED");
        return Ok(Step::Answer);
    }
    Err(format!("ERR the transaction is longer than {limit} bytes (max_request)").into_bytes())
}

fn exec(session: &mut Session, moment: Moment<'_>, answer: &mut BytesMut) -> Result<Step<'static>, Refusal> {
    let Some(affinity) = &mut session.affinity else { return Err(text::EXEC_WITHOUT_MULTI.to_vec()) };
    let Some(transaction) = &affinity.transaction else { return Err(text::EXEC_WITHOUT_MULTI.to_vec()) };
    let is_watching = affinity.watch.is_upstream();
    // What was sent over the session's own connection goes first.
    if moment.is_owed && affinity.own.is_some() && !affinity.needs(Slot::Own, session.version) {
        return Ok(Step::Wait);
    }
    if transaction.outcome == Outcome::Aborted {
        let says = [b"-", text::EXECABORT].concat();
        return Ok(end_transaction(session, moment, &says, answer));
    }
    let was_lost = affinity.forget_watched() == Watch::Lost;
    let Some(transaction) = affinity.transaction.take() else {
        return Err(text::EXEC_WITHOUT_MULTI.to_vec());
    };
    if was_lost {
        ReplyWriter::new(answer, session.version).null_array();
        return Ok(Step::Answer);
    }
    let over = if affinity.needs(Slot::Own, session.version) || is_watching {
        Over::Leased(Slot::Own, Trace::Forget)
    } else {
        Over::Shared
    };
    let before = session.namespace();
    let batch = transaction.into_batch(is_watching, |spec, request| {
        let mut bytes = BytesMut::new();
        let mut reply = ReplyWriter::new(&mut bytes, session.version);
        local::answer(session, spec, &request.as_request(), &moment.around, &mut reply);
        bytes.freeze()
    });
    match batch {
        Ok(requests) => {
            let has_selected = session.database() != before.as_ref().map_or(0, |before| before.database);
            if let Some(affinity) = &mut session.affinity {
                affinity.before_exec = before.filter(|_| has_selected);
            }
            Ok(Step::Batch(Box::new(Batch { over, requests, is_wanted: moment.is_wanted })))
        }
        Err(answers) => {
            ReplyWriter::new(answer, session.version).array(answers.len());
            for part in &answers {
                answer.extend_from_slice(part);
            }
            Ok(Step::Answer)
        }
    }
}

fn discard(
    session: &mut Session,
    moment: Moment<'_>,
    answer: &mut BytesMut,
) -> Result<Step<'static>, Refusal> {
    if session.transaction().is_none() {
        return Err(text::DISCARD_WITHOUT_MULTI.to_vec());
    }
    Ok(end_transaction(session, moment, b"+OK", answer))
}

/// `EXEC` that was refused for `reason`.
pub(super) fn abort(
    session: &mut Session,
    reason: &[u8],
    moment: Moment<'_>,
    answer: &mut BytesMut,
) -> Step<'static> {
    let reason = reason.strip_prefix(b"ERR ").unwrap_or(reason);
    let says = [b"-".as_slice(), text::EXECABORT_BECAUSE, reason].concat();
    end_transaction(session, moment, &says, answer)
}

/// Ends a transaction that is not carried out. Redis forgets watched keys with it, so the upstream must.
fn end_transaction(
    session: &mut Session,
    moment: Moment<'_>,
    says: &[u8],
    answer: &mut BytesMut,
) -> Step<'static> {
    let said = [says, b"\r\n"].concat();
    if let Some(affinity) = &mut session.affinity {
        affinity.transaction = None;
    }
    let due = Due::Answer(Bytes::copy_from_slice(&said));
    if let Some(step) = forget_watched(session, moment.is_wanted, due) {
        return step;
    }
    answer.extend_from_slice(&said);
    Step::Answer
}

/// Makes the upstream forget watched keys, if there are any.
fn forget_watched(session: &mut Session, is_wanted: bool, due: Due) -> Option<Step<'static>> {
    let namespace = session.namespace()?;
    let affinity = session.affinity.as_mut()?;
    if !affinity.forget_watched().is_upstream() {
        return None;
    }
    let over = Over::Leased(Slot::Own, Trace::Forget);
    let requests = vec![fixed(Fixed::Unwatch, &namespace, due)?];
    Some(Step::Batch(Box::new(Batch { over, requests, is_wanted })))
}

fn unwatch(session: &mut Session, moment: Moment<'_>, answer: &mut BytesMut) -> Step<'static> {
    let step = forget_watched(session, moment.is_wanted, Due::Reply);
    step.unwrap_or_else(|| ok(answer, moment.is_wanted))
}

// ---- Waiting for replicas ----

/// `WAIT` waits for what its connection wrote, which here went over another. Any command makes a connection's
/// own position the present one (Redis: `c->woff` after each command), so a `PING` goes before it: it then waits for
/// all that was written, the client's own writes included.
fn wait(session: &mut Session, request: &Request<'_>, moment: Moment<'_>) -> Result<Step<'static>, Refusal> {
    if let Some(step) = before(session, Slot::Own, moment.is_owed) {
        return Ok(step);
    }
    let args: Vec<&[u8]> = request.args().collect();
    let namespace = session.namespace().ok_or(text::NOAUTH)?;
    let request = requests::as_said(&args, &namespace).ok_or(text::SYNTAX)?;
    let mut requests = Vec::from_iter(fixed(Fixed::Ping, &namespace, Due::Nobody));
    requests.push(Sent { request, due: Due::Reply });
    let over = Over::Leased(Slot::Own, Trace::Waits(patience::of_wait(&args)));
    Ok(Step::Batch(Box::new(Batch { over, requests, is_wanted: moment.is_wanted })))
}

// ---- Publish and subscribe ----

fn subscribe(
    session: &mut Session,
    kind: Kind,
    ends: bool,
    request: &Request<'_>,
    moment: Moment<'_>,
    answer: &mut BytesMut,
) -> Result<Step<'static>, Refusal> {
    let slot = slot_of_pushes(session.version);
    let names: Vec<&[u8]> = request.args().skip(1).collect();
    let (Some(bound), Some(view)) = (&session.bound, session.view(&moment.around)) else {
        return Err(text::UPSTREAM_REFUSED_PROXY.to_vec());
    };
    let naming = Naming { binding: &bound.binding, shared_database: view.database, version: session.version };
    if !ends {
        fits(kind, &names, naming, view.limits.max_bulk)?;
        if let Some(step) = before(session, slot, moment.is_owed) {
            return Ok(step);
        }
    }
    let namespace = bound.namespace.clone();
    let affinity = session.affinity.get_or_insert_default();
    let is_subscribed = !affinity.subscriptions.is_empty();
    let change = if ends {
        affinity.subscriptions.remove(kind, &names, naming)
    } else {
        let added = affinity.subscriptions.add(kind, names.iter().copied(), naming);
        added.ok_or(text::TOO_MANY_SUBSCRIPTIONS)?
    };
    if change.requests.is_empty() || (ends && !is_subscribed) {
        answer.extend_from_slice(&change.answer);
        return Ok(Step::AnswerAlways);
    }
    let requests = confirmed(change, &namespace);
    // Confirmations are pushes: they come whatever `CLIENT REPLY` says.
    Ok(Step::Batch(Box::new(Batch { over: Over::Leased(slot, Trace::Stain), requests, is_wanted: true })))
}

/// Refuses a name that would close the connection.
fn fits(kind: Kind, names: &[&[u8]], naming: Naming<'_>, limit: usize) -> Result<(), Refusal> {
    match names.iter().map(|name| naming.longest(kind, name)).find(|len| *len > limit) {
        Some(len) => Err(format!(
            "ERR channel is {len} bytes long with its tenant's prefix, limit is {limit} (proto-max-bulk-len)"
        )
        .into_bytes()),
        None => Ok(()),
    }
}

fn confirmed(change: Change, namespace: &std::sync::Arc<crate::tenant::directory::Namespace>) -> Vec<Sent> {
    let mut answer = Some(change.answer.freeze());
    let last = change.requests.len().saturating_sub(1);
    let sent = change.requests.into_iter().enumerate().filter_map(|(at, (command, names))| {
        let count = u32::try_from(names.len()).unwrap_or(u32::MAX);
        let answer = if at == last { answer.take() } else { None };
        let request = requests::subscription(command, &names, namespace)?;
        Some(Sent { request, due: Due::Confirmations { count, answer } })
    });
    sent.collect()
}

// ---- Tracking ----

fn track(
    session: &mut Session,
    request: &Request<'_>,
    moment: Moment<'_>,
    answer: &mut BytesMut,
) -> Result<Step<'static>, Refusal> {
    let now = session.affinity.as_ref().and_then(|affinity| affinity.tracking.as_ref());
    let tenant = session.bound.as_ref().map_or(usize::MAX, |bound| bound.binding.tenant().index);
    let exists = |id| moment.around.peers.exists(tenant, id);
    let wish = tracking::read(request, now, &exists)?;
    let namespace = session.namespace().ok_or(text::NOAUTH)?;
    let was_upstream = now.is_some_and(|now| session.version == Version::Resp3 || now.is_redirected());
    match wish {
        Wish::Off => {
            if let Some(affinity) = &mut session.affinity {
                affinity.tracking = None;
            }
            if !was_upstream {
                return Ok(ok(answer, moment.is_wanted));
            }
            let requests = Vec::from_iter(fixed(Fixed::TrackingOff, &namespace, Due::Reply));
            let over = Over::Leased(Slot::Own, Trace::Stain);
            Ok(Step::Batch(Box::new(Batch { over, requests, is_wanted: moment.is_wanted })))
        }
        // A RESP2 client that redirects to nobody is told nothing, so nothing needs to be tracked.
        Wish::On(tracking) if session.version == Version::Resp2 && !tracking.is_redirected() => {
            session.affinity.get_or_insert_default().tracking = Some(tracking);
            Ok(ok(answer, moment.is_wanted))
        }
        Wish::On(tracking) => {
            let slots = [Slot::Own, slot_of_pushes(session.version)];
            if let Some(step) = slots.iter().find_map(|slot| before(session, *slot, moment.is_owed)) {
                return Ok(step);
            }
            let Some(bound) = &session.bound else { return Err(text::NOAUTH.to_vec()) };
            let affinity = session.affinity.get_or_insert_default();
            let redirect = affinity.ear.filter(|_| session.version == Version::Resp2);
            let asked = requests::tracking_on(&tracking.tracked(redirect), &bound.binding, &namespace);
            affinity.tracking = Some(tracking);
            let mut requests = Vec::new();
            // What was broadcast before would overlap with itself.
            requests.extend(fixed(Fixed::TrackingOff, &namespace, Due::Nobody).filter(|_| was_upstream));
            requests.push(Sent { request: asked.ok_or(text::SYNTAX)?, due: Due::Reply });
            let over = Over::Leased(Slot::Own, Trace::Stain);
            Ok(Step::Batch(Box::new(Batch { over, requests, is_wanted: moment.is_wanted })))
        }
    }
}

fn caching(
    session: &mut Session,
    request: &Request<'_>,
    moment: Moment<'_>,
    answer: &mut BytesMut,
) -> Result<Step<'static>, Refusal> {
    let namespace = session.namespace().ok_or(text::NOAUTH)?;
    let version = session.version;
    let tracking = session.affinity.as_mut().and_then(|affinity| affinity.tracking.as_mut());
    let caching = tracking::read_caching(request, tracking.as_deref())?;
    let mut is_upstream = false;
    if let Some(tracking) = tracking {
        tracking.caching = Some(caching);
        is_upstream = version == Version::Resp3 || tracking.is_redirected();
    }
    if !is_upstream {
        return Ok(ok(answer, moment.is_wanted));
    }
    let words = match caching {
        Caching::Yes => Fixed::CachingYes,
        Caching::No => Fixed::CachingNo,
    };
    let requests = Vec::from_iter(fixed(words, &namespace, Due::Reply));
    let over = Over::Leased(Slot::Own, Trace::Stain);
    Ok(Step::Batch(Box::new(Batch { over, requests, is_wanted: moment.is_wanted })))
}

impl Affinity {
    /// Gives up every tie; the connections are the shell's to close.
    pub(super) fn cut(&mut self) {
        *self = Self { own: self.own, ear: self.ear, ..Self::default() };
    }
}

/// A request that a transaction keeps for the proxy to answer.
pub(super) fn kept(spec: &'static CommandSpec, request: &Request<'_>) -> Option<Queued> {
    let args: Vec<&[u8]> = request.args().collect();
    Some(Queued::Local(spec, OwnedRequest::from_args(&args)?))
}
