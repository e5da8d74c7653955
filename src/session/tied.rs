//! Commands that change a session's ties: transactions, watched keys, subscriptions, tracking, `WAIT`.
//!
//! Each is one short function from the session's state to the next step. None of these commands may reach a
//! shared connection; a transaction without `WATCH` does, in one piece, because Redis forgets it with its last
//! byte.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::affinity::{Affinity, Over, Slot, Trace, Watch, slot_of_pushes};
use super::batch::{Batch, Confirmed, Due, Sent};
use super::local;
use super::machine::{Session, Step, Surroundings};
use super::patience;
use super::rescue::text;
use super::routes::Misplaced;
use super::subscriptions::{self, Change, Kind, Naming};
use super::tracking::{self, Caching, Wish};
use super::transaction::{Outcome, Queued, Transaction, fixed};
use crate::command::CommandSpec;
use crate::command::slot::slot as slot_of;
use crate::resp::reply::ReplyWriter;
use crate::resp::{OwnedRequest, Request, Version};
use crate::routing::topology::{MultiKeyScope, NodeId, Topology};
use crate::routing::{Destination, home};
use crate::tenant::directory::{Namespace, Order};
use crate::tenant::requests::{self, Fixed};
use crate::tenant::{Keyed, OwnedScoped};

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

/// What must happen before a request can take the connection in `slot` to `node`; `None`: nothing.
pub(super) fn before(
    session: &Session,
    slot: Slot,
    node: NodeId,
    is_owed: bool,
) -> Option<Result<Step<'static>, Refusal>> {
    if let Some(affinity) = &session.affinity {
        if affinity.seat(slot, node).is_some() {
            return None;
        }
        // What is watched on one node cannot be decided about on another.
        if slot == Slot::Own && affinity.is_held_elsewhere(node, session.version) {
            return Some(Err(text::CROSSSLOT.to_vec()));
        }
    }
    Some(Ok(if is_owed { Step::Wait } else { Step::Lease(slot, node) }))
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
    let to = match session.place_transaction(&moment.around) {
        Ok(to) => Some(to),
        Err(Misplaced::Moved) => None,
        Err(Misplaced::Refused(error)) => {
            return Ok(end_transaction(session, moment, &[b"-", error.as_slice()].concat(), answer));
        }
    };
    if let Some(to) = to
        && !session.may_go(to, false, &moment)
    {
        return Ok(Step::Wait);
    }
    let Some(affinity) = &mut session.affinity else { return Err(text::EXEC_WITHOUT_MULTI.to_vec()) };
    let was_lost = affinity.forget_watched() == Watch::Lost;
    let Some(transaction) = affinity.transaction.take() else {
        return Err(text::EXEC_WITHOUT_MULTI.to_vec());
    };
    let Some(to) = to.filter(|_| !was_lost) else {
        ReplyWriter::new(answer, session.version).null_array();
        return Ok(Step::Answer);
    };
    Ok(carry_out(session, transaction, to, is_watching, moment, answer))
}

/// Sends a transaction, or answers it if the upstream has no part in it.
fn carry_out(
    session: &mut Session,
    transaction: Transaction,
    to: Destination,
    is_watching: bool,
    moment: Moment<'_>,
    answer: &mut BytesMut,
) -> Step<'static> {
    let over = if session.needs(Slot::Own) || is_watching {
        Over::Leased(Slot::Own, Trace::Forget)
    } else {
        Over::Shared
    };
    let before = session.namespace();
    let batch = transaction.into_batch(is_watching, to.node, |spec, request| {
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
            let is_wanted = moment.is_wanted;
            Step::Batch(Box::new(Batch { over, slot: to.slot, requests, is_wanted }))
        }
        Err(answers) => {
            ReplyWriter::new(answer, session.version).array(answers.len());
            for part in &answers {
                answer.extend_from_slice(part);
            }
            Step::Answer
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
    let node = affinity.own?.node;
    let requests = vec![fixed(Fixed::Unwatch, &namespace, node, due)?];
    Some(own_batch(Trace::Forget, requests, is_wanted))
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
    let Destination { node, slot, .. } = session.place(&moment.around, Keyed::Nowhere, false)?;
    if slot.is_some() {
        // Several nodes have to be asked.
        return Ok(if moment.is_owed { Step::Wait } else { Step::Compose { is_wanted: moment.is_wanted } });
    }
    if let Some(first) = before(session, Slot::Own, node, moment.is_owed) {
        return first;
    }
    let args: Vec<&[u8]> = request.args().collect();
    let namespace = session.namespace().ok_or(text::NOAUTH)?;
    let request = requests::as_said(&args, &namespace).ok_or(text::SYNTAX)?;
    let mut requests = Vec::from_iter(fixed(Fixed::Ping, &namespace, node, Due::Nobody));
    requests.push(Sent { request, node, due: Due::Reply });
    Ok(own_batch(Trace::Waits(patience::of_wait(&args)), requests, moment.is_wanted))
}

/// Requests over the session's own connection.
fn own_batch(trace: Trace, requests: Vec<Sent>, is_wanted: bool) -> Step<'static> {
    let over = Over::Leased(Slot::Own, trace);
    Step::Batch(Box::new(Batch { over, slot: None, requests, is_wanted }))
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
    let names: Vec<&[u8]> = request.args().skip(1).collect();
    let (Some(bound), Some(view)) = (&session.bound, session.view(&moment.around)) else {
        return Err(text::UPSTREAM_REFUSED_PROXY.to_vec());
    };
    let topology = Arc::clone(&view.topology);
    let is_spread = topology.scope() == MultiKeyScope::Slot;
    // What comes over ears and what is asked elsewhere have no order of their own.
    if is_spread && moment.is_owed {
        return Ok(Step::Wait);
    }
    let slot = if is_spread { Slot::Ear } else { slot_of_pushes(session.version) };
    let naming = Naming { binding: &bound.binding, shared_database: view.database, version: session.version };
    let namespace = bound.namespace.clone();
    if !ends {
        fits(kind, &names, naming, view.limits.max_bulk)?;
        let places = places(&topology, &namespace, subscriptions::physical(kind, &names, naming))?;
        if let Some(first) = places.iter().find_map(|node| before(session, slot, *node, moment.is_owed)) {
            return first;
        }
    }
    let affinity = session.affinity.get_or_insert_default();
    affinity.hears_apart = is_spread;
    let is_subscribed = !affinity.subscriptions.is_empty();
    let change = if ends {
        affinity.subscriptions.remove(kind, &names, naming)
    } else {
        affinity.subscriptions.may_spread_over(topology.shards().iter().map(|shard| shard.primary));
        let place = |kind, name: &[u8]| place_of(&topology, &namespace, kind, name);
        let added = affinity.subscriptions.add(kind, names.iter().copied(), naming, &place);
        added.ok_or(text::TOO_MANY_SUBSCRIPTIONS)?
    };
    if change.requests.is_empty() || (ends && !is_subscribed) {
        answer.extend_from_slice(&change.answer);
        return Ok(Step::AnswerAlways);
    }
    let requests = confirmed(change, ends, (affinity, slot), &namespace);
    let requests = match requests {
        Confirmable::Upstream(requests) => requests,
        Confirmable::Here(confirmations) => {
            answer.extend_from_slice(&confirmations);
            return Ok(Step::AnswerAlways);
        }
    };
    if is_spread {
        session.course.admits_many((topology.version(), false), Order::Strict, false);
    }
    // Confirmations are pushes: they come whatever `CLIENT REPLY` says.
    let over = Over::Leased(slot, Trace::Stain);
    Ok(Step::Batch(Box::new(Batch { over, slot: None, requests, is_wanted: true })))
}

/// Where a name of publish and subscribe is: shard channels are spread as keys are, the server's own channels are on
/// every node, and all others are at the tenant's home.
fn place_of(
    topology: &Topology,
    namespace: &Namespace,
    kind: Kind,
    name: &[u8],
) -> Option<subscriptions::Place> {
    if topology.scope() == MultiKeyScope::Node {
        return topology.primary_of(None).map(subscriptions::Place::Node);
    }
    if kind == Kind::Shard {
        let slot = slot_of(name);
        return topology.primary_of(Some(slot)).map(|node| subscriptions::Place::Slot(node, slot));
    }
    if !name.starts_with(namespace.channels.as_bytes()) {
        return Some(subscriptions::Place::Everywhere);
    }
    topology.primary_of(Some(home(namespace))).map(subscriptions::Place::Node)
}

/// The nodes that these names are on.
fn places(
    topology: &Topology,
    namespace: &Namespace,
    names: Vec<(Kind, Vec<u8>)>,
) -> Result<BTreeSet<NodeId>, Refusal> {
    if !topology.is_known() {
        return Err(text::NODES_UNKNOWN.into());
    }
    let mut nodes = BTreeSet::new();
    for (kind, name) in names {
        match place_of(topology, namespace, kind, &name).ok_or(text::UNSERVED)? {
            subscriptions::Place::Node(node) | subscriptions::Place::Slot(node, _) => nodes.extend([node]),
            subscriptions::Place::Nowhere(_) => {}
            subscriptions::Place::Everywhere => {
                nodes.extend(topology.shards().iter().map(|shard| shard.primary));
            }
        }
    }
    Ok(nodes)
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

/// Who can confirm a change.
enum Confirmable {
    /// The upstream, of these requests.
    Upstream(Vec<Sent>),
    /// Nobody but the proxy: what has ended was nowhere at the moment.
    Here(Bytes),
}

/// The requests of a change, to the nodes that the session has a connection for pushes to.
fn confirmed(
    change: Change,
    ends: bool,
    (affinity, slot): (&Affinity, Slot),
    namespace: &Arc<Namespace>,
) -> Confirmable {
    let mut requests: Vec<(OwnedScoped, NodeId, u32)> = Vec::new();
    for (command, place, names) in change.requests {
        let count = u32::try_from(names.len()).unwrap_or(u32::MAX);
        let Some(request) = requests::subscription(command, &names, namespace) else { continue };
        let nodes: Vec<NodeId> = match place {
            subscriptions::Place::Node(node) | subscriptions::Place::Slot(node, _) => vec![node],
            subscriptions::Place::Everywhere => affinity.subscriptions.spread().collect(),
            subscriptions::Place::Nowhere(_) => Vec::new(),
        };
        let connected = nodes.into_iter().filter(|node| affinity.seat(slot, *node).is_some());
        requests.extend(connected.map(|node| (request.clone(), node, count)));
    }
    let confirmations = change.answer.freeze();
    if requests.is_empty() {
        return Confirmable::Here(confirmations);
    }
    let total = requests.iter().map(|(.., count)| count).sum();
    let all = Rc::new(Confirmed::new(total, confirmations));
    let sent = requests.into_iter().map(|(request, node, count)| {
        let due = Due::Confirmations { count, ends, all: Rc::clone(&all) };
        Sent { request, node, due }
    });
    Confirmable::Upstream(sent.collect())
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
    let Destination { node, slot, .. } = session.place(&moment.around, Keyed::Nowhere, false)?;
    let was_upstream = now.is_some_and(|now| session.version == Version::Resp3 || now.is_redirected());
    match wish {
        Wish::Off => {
            if let Some(affinity) = &mut session.affinity {
                affinity.tracking = None;
            }
            if !was_upstream {
                return Ok(ok(answer, moment.is_wanted));
            }
            let requests = Vec::from_iter(fixed(Fixed::TrackingOff, &namespace, node, Due::Reply));
            Ok(own_batch(Trace::Stain, requests, moment.is_wanted))
        }
        // Keys are on several nodes, and each knows its own connections only.
        Wish::On(_) if slot.is_some() => Err(text::NO_TRACKING_ON_CLUSTER.to_vec()),
        // A RESP2 client that redirects to nobody is told nothing, so nothing needs to be tracked.
        Wish::On(tracking) if session.version == Version::Resp2 && !tracking.is_redirected() => {
            session.affinity.get_or_insert_default().tracking = Some(tracking);
            Ok(ok(answer, moment.is_wanted))
        }
        Wish::On(tracking) => {
            let slots = [Slot::Own, slot_of_pushes(session.version)];
            if let Some(first) = slots.iter().find_map(|slot| before(session, *slot, node, moment.is_owed)) {
                return first;
            }
            let Some(bound) = &session.bound else { return Err(text::NOAUTH.to_vec()) };
            let affinity = session.affinity.get_or_insert_default();
            let ear = affinity.seat(Slot::Ear, node).filter(|_| session.version == Version::Resp2);
            let redirect = ear.map(|seat| seat.id);
            let asked = requests::tracking_on(&tracking.tracked(redirect), &bound.binding, &namespace);
            affinity.tracking = Some(tracking);
            let mut requests = Vec::new();
            // What was broadcast before would overlap with itself.
            let off = fixed(Fixed::TrackingOff, &namespace, node, Due::Nobody);
            requests.extend(off.filter(|_| was_upstream));
            requests.push(Sent { request: asked.ok_or(text::SYNTAX)?, node, due: Due::Reply });
            Ok(own_batch(Trace::Stain, requests, moment.is_wanted))
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
    let node = session.place(&moment.around, Keyed::Nowhere, false)?.node;
    let requests = Vec::from_iter(fixed(words, &namespace, node, Due::Reply));
    Ok(own_batch(Trace::Stain, requests, moment.is_wanted))
}

impl Affinity {
    /// Gives up every tie; the connections are the shell's to close.
    pub(super) fn cut(&mut self) {
        let ears = std::mem::take(&mut self.ears);
        *self = Self { own: self.own, ears, hears_apart: self.hears_apart, ..Self::default() };
    }
}

/// A request that a transaction keeps for the proxy to answer.
pub(super) fn kept(spec: &'static CommandSpec, request: &Request<'_>) -> Option<Queued> {
    let args: Vec<&[u8]> = request.args().collect();
    Some(Queued::Local(spec, OwnedRequest::from_args(&args)?))
}
