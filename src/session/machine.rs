//! One client's session, without I/O: a request goes in, the next step comes out.
//!
//! What a request passes is one short list of gates ([`Session::on_request`]), each with its reason. The
//! session holds only what Redis would hold for the connection: who it is, its database, protocol version,
//! name, and whether it wants replies. Sockets, the order of replies and upstream connections are the
//! driver's.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::affinity::{Affinity, Over, Slot, Trace, Watch};
use super::batch::{Batch, Cut};
use super::cluster::Endpoint;
use super::course::Course;
use super::local::{self, Next};
use super::persona::{Payloads, Persona};
use super::quota::{Admission, Asked, Budget};
use super::rescue::{self, text};
use super::shortage::Shortage;
use super::tied::{self, Moment};
use super::transaction::{Outcome, Transaction};
use super::{patience, reworded};
use crate::command::{self, CommandSpec, Connection, Flags, Located, Service, Unidentified};
use crate::resp::reply::ReplyWriter;
use crate::resp::{Request, Version};
use crate::routing::topology::{NodeId, Topology};
use crate::routing::{Destination, Routed};
use crate::tenant::UpstreamLimits;
use crate::tenant::directory::{Binding, Directory, Namespace};
use crate::tenant::limits::{Limits, Seat};

/// What the session decides by, besides its own state: one snapshot for each request.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// Who may be whom.
    pub directory: &'a Directory,
    /// The upstreams, by number.
    pub upstreams: &'a [UpstreamView],
    /// The persona of an upstream that is not there.
    pub unknown: &'a Persona,
    /// The other clients.
    pub peers: &'a dyn Peers,
    /// What the connection's tenant and user may take; `None`: whatever there is.
    pub quota: Option<Budget<'a>>,
    /// What there is too little memory for.
    pub shortage: Shortage,
}

/// The clients of all tenants.
pub trait Peers: std::fmt::Debug {
    /// Whether the tenant has a client of this number.
    fn exists(&self, tenant: usize, id: u64) -> bool;

    /// A connection is beyond what these limits allow; unless it is a dry run, it was refused.
    fn is_beyond(&self, limits: &Limits);
}

/// An upstream as a session sees it.
#[derive(Clone, Debug)]
pub struct UpstreamView {
    /// Its kind and version.
    pub persona: Persona,
    /// Its shards.
    pub topology: Arc<Topology>,
    /// What it accepts.
    pub limits: UpstreamLimits,
    /// What becomes of `RESTORE`.
    pub payloads: Payloads,
    /// The database that all virtual databases lie in.
    pub database: u32,
}

/// Keys that one client may watch: the server goes through all of them for each that is added, and forty thousand
/// hold it for seconds.
const MAX_WATCHED: usize = 1000;

/// What is to be done about a request.
#[derive(Debug)]
pub enum Step<'a> {
    /// Send it; the reply is the client's, unless it asked for silence.
    Forward {
        /// The request.
        routed: Routed<'a>,
        /// Whether the reply is wanted (`CLIENT REPLY`).
        is_wanted: bool,
        /// The connection it takes.
        over: Over,
    },
    /// Send several requests with nothing between them.
    Batch(Box<Batch>),
    /// The answer is composed by whoever performs the step.
    Compose {
        /// Whether it is wanted.
        is_wanted: bool,
    },
    /// Ask again in so many nanoseconds: the request exceeds a rate, and has been charged.
    Delay(u64),
    /// Ask again when nothing is owed: the request takes another way than those before it.
    Wait,
    /// Ask again with this connection: the request needs one of its own.
    Lease(Slot, NodeId),
    /// Send parts of the request to several nodes.
    Cut(Box<Cut>),
    /// The answer has been written.
    Answer,
    /// The request was refused before it was looked at closely; the error has been written.
    Refused {
        /// Whether the client wants to hear it (`CLIENT REPLY`).
        is_wanted: bool,
    },
    /// The answer has been written, and `CLIENT REPLY` does not keep it back.
    AnswerAlways,
    /// The answer has been written, and the connection ends after it.
    AnswerThenClose,
    /// There is nothing to say.
    Silence,
    /// The connection ends without a word.
    Close,
}

impl Step<'_> {
    /// The step without what it borrows: any but `Forward`, which becomes silence.
    pub fn detached(self) -> Step<'static> {
        match self {
            Self::Forward { .. } | Self::Silence => Step::Silence,
            Self::Batch(batch) => Step::Batch(batch),
            Self::Compose { is_wanted } => Step::Compose { is_wanted },
            Self::Delay(wait) => Step::Delay(wait),
            Self::Wait => Step::Wait,
            Self::Lease(slot, node) => Step::Lease(slot, node),
            Self::Cut(cut) => Step::Cut(cut),
            Self::Answer => Step::Answer,
            Self::Refused { is_wanted } => Step::Refused { is_wanted },
            Self::AnswerAlways => Step::AnswerAlways,
            Self::AnswerThenClose => Step::AnswerThenClose,
            Self::Close => Step::Close,
        }
    }
}

/// A connection that belongs to a tenant.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) binding: Arc<Binding>,
    pub(super) namespace: Arc<Namespace>,
    /// `CLIENT ID`.
    pub(super) client_id: u64,
    /// Its places among the connections of its tenant and user, where they are counted.
    seats: Option<Box<Seats>>,
}

/// Places among the connections of a tenant and of its user.
#[derive(Debug, Default)]
struct Seats(Vec<Seat>);

/// `CLIENT REPLY`: which replies are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Replies {
    /// All.
    #[default]
    On,
    /// All but the next request's.
    SkipNext,
    /// None, until `CLIENT REPLY ON`.
    Off,
}

/// `CLIENT SETINFO`: what the client is written with.
#[derive(Clone, Debug, Default)]
pub(super) struct Library {
    pub(super) name: Box<[u8]>,
    pub(super) version: Box<[u8]>,
}

/// One client's session.
#[derive(Debug)]
pub struct Session {
    /// What the listener binds to: the state that `RESET` returns to.
    pub(super) home: Option<Arc<Binding>>,
    pub(super) bound: Option<Bound>,
    pub(super) version: Version,
    pub(super) name: Box<[u8]>,
    pub(super) replies: Replies,
    pub(super) is_unevictable: bool,
    /// Its binding has rules.
    pub(super) is_ruled: bool,
    pub(super) library: Option<Box<Library>>,
    /// What ties it to connections of its own.
    pub(super) affinity: Option<Box<Affinity>>,
    /// Where its requests under way went.
    pub(super) course: Course,
    /// Where the client is connected to, if its tenant sees a cluster there.
    pub(super) endpoint: Option<Box<Endpoint>>,
}

impl Session {
    /// A connection of a listener that binds to `home`, or to nothing. The error: `home` has no place for it.
    pub fn new(home: Option<Arc<Binding>>, peers: &dyn Peers) -> Result<Self, Vec<u8>> {
        let mut session = Self {
            home: None,
            bound: None,
            version: Version::Resp2,
            name: Box::default(),
            replies: Replies::On,
            is_unevictable: false,
            is_ruled: false,
            library: None,
            affinity: None,
            course: Course::default(),
            endpoint: None,
        };
        if let Some(binding) = &home {
            session.bind(Arc::clone(binding), peers)?;
        }
        session.home = home;
        Ok(session)
    }

    /// The protocol version in use.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The tenant, once there is one.
    pub fn binding(&self) -> Option<&Arc<Binding>> {
        self.bound.as_ref().map(|bound| &bound.binding)
    }

    /// Whether errors about the protocol may be told (`CLIENT REPLY`).
    pub fn wants_replies(&self) -> bool {
        self.replies == Replies::On
    }

    /// Whether the connection belongs to a tenant; strangers get tighter protocol limits.
    pub fn is_bound(&self) -> bool {
        self.bound.is_some()
    }

    /// Makes the connection the tenant's, in the binding's home database. The error: it has no place for it, and
    /// nothing has changed.
    pub(super) fn bind(&mut self, binding: Arc<Binding>, peers: &dyn Peers) -> Result<(), Vec<u8>> {
        let Some(namespace) = binding.namespace(binding.home_database()).map(Arc::clone) else {
            return Ok(());
        };
        let seats = self.seats_for(&binding, peers)?;
        // One connection has one number (`CLIENT ID`), until it changes tenants.
        let same = self.bound.as_ref().filter(|bound| Arc::ptr_eq(bound.binding.tenant(), binding.tenant()));
        let client_id = same.map_or_else(|| binding.tenant().issue_client_id(), |bound| bound.client_id);
        // What was watched, subscribed to or tracked belongs to the namespace that it was asked for in.
        let is_elsewhere = self.bound.as_ref().is_some_and(|bound| !bound.binding.is_same_place(&binding));
        if is_elsewhere && let Some(affinity) = &mut self.affinity {
            affinity.cut();
        }
        self.is_ruled = binding.rules().is_some();
        self.bound = Some(Bound { binding, namespace, client_id, seats });
        Ok(())
    }

    /// Its places among the connections of a binding; those that it has already are kept.
    fn seats_for(&mut self, binding: &Binding, peers: &dyn Peers) -> Result<Option<Box<Seats>>, Vec<u8>> {
        let counted = || binding.limits().iter().filter(|limits| limits.connections.is_some());
        let held = || self.bound.iter().flat_map(|bound| bound.seats.iter().flat_map(|seats| &seats.0));
        let mut taken = Vec::new();
        for limits in counted().filter(|limits| !held().any(|seat| seat.is_of(limits))) {
            let seat = Seat::take(limits);
            if seat.as_ref().map_or(true, Seat::is_beyond) {
                peers.is_beyond(limits);
            }
            taken.push(seat.map_err(|most| rescue::too_many_connections(&limits.owner, most))?);
        }
        let bound = self.bound.as_mut();
        let held = bound.and_then(|bound| bound.seats.take()).unwrap_or_default();
        taken.extend(held.0.into_iter().filter(|seat| counted().any(|limits| seat.is_of(limits))));
        Ok((!taken.is_empty()).then(|| Box::new(Seats(taken))))
    }

    /// Makes the connection a stranger's again.
    pub(super) fn unbind(&mut self) {
        self.is_ruled = false;
        self.bound = None;
    }

    /// Changes the database; `false` if there is none of this number.
    pub fn select(&mut self, database: u32) -> bool {
        let Some(bound) = &mut self.bound else { return false };
        let Some(namespace) = bound.binding.namespace(database) else { return false };
        bound.namespace = Arc::clone(namespace);
        true
    }

    /// Whether the tenant sees a cluster of one node.
    pub(super) fn has_cluster_persona(&self) -> bool {
        self.binding().is_some_and(|binding| binding.tenant().has_cluster_persona)
    }

    /// The client is connected to `address` (`ip:port`), which it reads of the node that its tenant sees there.
    pub fn is_connected_to(&mut self, address: &str) {
        self.endpoint = self.has_cluster_persona().then(|| Box::new(Endpoint::of_address(address)));
    }

    /// `CLIENT ID`; 0 before the connection has a tenant.
    pub(super) fn client_id(&self) -> u64 {
        self.bound.as_ref().map_or(0, |bound| bound.client_id)
    }

    /// `ACL WHOAMI`.
    pub(super) fn user(&self) -> &str {
        self.bound.as_ref().map_or("default", |bound| bound.binding.user_name())
    }

    /// Decides about one request. An answer, if the step has one, is appended to `answer`. `spec` is the row
    /// of a known command, for whoever counts. `is_owed`: earlier replies are under way.
    #[expect(
        clippy::inline_always,
        reason = "a step is 100 bytes: not copying it twice is worth 7 % of a pipelined command"
    )]
    #[inline(always)]
    pub fn on_request<'a>(
        &'a mut self,
        request: Request<'a>,
        around: &Surroundings<'a>,
        located: &'a mut Located,
        owner: Option<&'a Bytes>,
        (answer, is_owed): (&mut BytesMut, bool),
    ) -> (Step<'a>, Option<&'static CommandSpec>) {
        // A browser that was made to speak to Redis: no reply, no second request (Redis closes as well).
        if is_http(request.name()) {
            return (Step::Close, None);
        }
        let is_wanted = self.begin_request();
        // Strangers learn nothing, not even which commands exist.
        let moment = Moment { around: *around, is_wanted, is_owed };
        if !self.is_bound() && !is_allowed_unbound(request.name()) {
            return (self.refuse_early(&request, text::NOAUTH, moment, answer), None);
        }
        // What the upstream does not know is refused in its words, before anything else is said about it.
        let spec = match self.identify(&request, around) {
            Ok(spec) => spec,
            Err(unidentified) => {
                let error = unidentified.refusal(&request);
                let step = self.refuse_early(&request, &error, moment, answer);
                return (step, unidentified.spec());
            }
        };
        if self.is_ruled
            && let Err(error) = self.permit_by_rules(spec, &request, around)
        {
            return (self.refuse_early(&request, &error, moment, answer), Some(spec));
        }
        if around.shortage.refuses(spec, &request) {
            return (self.refuse_early(&request, text::SHORT_OF_MEMORY, moment, answer), Some(spec));
        }
        if let Some(budget) = around.quota
            && !budget.is_paid
            && !budget.quota.covers(Asked { spec, bytes: request.bytes().len() }, budget.now)
            && let Some(step) = self.before_admission((budget, spec), &request, moment, answer)
        {
            return (step, Some(spec));
        }
        if self.affinity.is_none() && spec.service() == Service::Forward {
            if let Err(error) = command::locate(spec, &request, located) {
                return (self.refuse(answer, error.message().as_bytes(), is_wanted), Some(spec));
            }
            if located.connection == Connection::Shared {
                if self.is_ruled
                    && let Some(step) = self.ruled(spec, &request, moment, located, answer)
                {
                    return (step, Some(spec));
                }
                let step = self.forward(spec, request, (moment, Over::Shared), located, owner);
                return (step.unwrap_or_else(|error| refusal(answer, &error, is_wanted)), Some(spec));
            }
        }
        (self.on_other_request(spec, request, moment, located, answer), Some(spec))
    }

    /// What the rules make of a request for the shared connection; `None`: it goes as it is.
    #[inline(never)]
    fn ruled(
        &mut self,
        spec: &'static CommandSpec,
        request: &Request<'_>,
        moment: Moment<'_>,
        located: &Located,
        answer: &mut BytesMut,
    ) -> Option<Step<'static>> {
        match self.amend(spec, request, &moment.around, located) {
            Ok(None) => None,
            Ok(Some(amendment)) => {
                let step = self.forward_amended(spec, *amendment, (moment, Over::Shared), located);
                Some(self.told(step, moment.is_wanted, answer))
            }
            Err(error) => Some(self.refuse(answer, &error, moment.is_wanted)),
        }
    }

    /// What limits have against a request that the worker's own part of them is not enough for; `None`: nothing.
    #[inline(never)]
    fn before_admission(
        &mut self,
        (budget, spec): (Budget<'_>, &'static CommandSpec),
        request: &Request<'_>,
        moment: Moment<'_>,
        answer: &mut BytesMut,
    ) -> Option<Step<'static>> {
        match budget.quota.admit(Asked { spec, bytes: request.bytes().len() }, budget.now) {
            Admission::Now => None,
            Admission::In(wait) => Some(self.told(Ok(Step::Delay(wait)), moment.is_wanted, answer)),
            Admission::Refused(error) => Some(self.refuse_early(request, &error, moment, answer)),
        }
    }

    /// A request that is not simply forwarded, or not over the shared connection.
    #[inline(never)]
    fn on_other_request<'a>(
        &'a mut self,
        spec: &'static CommandSpec,
        request: Request<'a>,
        moment: Moment<'a>,
        located: &'a mut Located,
        answer: &mut BytesMut,
    ) -> Step<'a> {
        if self.ties().is_some_and(|ties| ties.before_exec.is_some()) {
            if moment.is_owed {
                return self.told(Ok(Step::Wait), moment.is_wanted, answer);
            }
            self.exec_was_carried_out();
        }
        if let Err(error) = self.permit(spec, &request, &moment) {
            return self.refuse_early(&request, &error, moment, answer);
        }
        self.forget_caching(request.name());
        if self.transaction().is_some()
            && let Some(step) = self.in_transaction(spec, &request, moment, located, answer)
        {
            return match step {
                Ok(step) => self.told(Ok(step), moment.is_wanted, answer),
                Err(error) => self.refuse(answer, &error, moment.is_wanted),
            };
        }
        if matches!(spec.service(), Service::Forward | Service::Guarded) {
            return self.forward_tied(spec, request, moment, located, answer);
        }
        let step = match spec.service() {
            // What the client's own connection has to tell it comes before the answer.
            Service::Local
                if matches!(spec.name, "PING" | "ECHO")
                    && self.version == Version::Resp3
                    && self.needs(Slot::Own) =>
            {
                reworded::step(self, spec, &request, moment)
            }
            Service::Local => Ok(self.answer_locally(spec, &request, moment, answer)),
            Service::Tied => tied::step(self, spec, &request, moment, answer),
            Service::Reworded => reworded::step(self, spec, &request, moment),
            Service::Composed if moment.is_owed => Ok(Step::Wait),
            Service::Composed => Ok(Step::Compose { is_wanted: moment.is_wanted }),
            // Forwarded above, or refused by `permit`.
            Service::Forward
            | Service::Guarded
            | Service::Denied
            | Service::AdminOnly
            | Service::NotYet(_) => Ok(Step::Silence),
        };
        self.told(step, moment.is_wanted, answer)
    }

    /// A step, or the refusal it became, as the client may hear it.
    fn told(
        &mut self,
        step: Result<Step<'static>, Vec<u8>>,
        is_wanted: bool,
        answer: &mut BytesMut,
    ) -> Step<'static> {
        match step {
            Ok(Step::Answer) if !is_wanted => Step::Silence,
            Ok(Step::AnswerAlways) => Step::Answer,
            // The request will be asked about again, so `CLIENT REPLY SKIP` is still to come.
            Ok(step @ (Step::Wait | Step::Delay(_) | Step::Lease(..))) => {
                if !is_wanted && self.replies == Replies::On {
                    self.replies = Replies::SkipNext;
                }
                step
            }
            Ok(step) => step,
            // It was carried out, and this is its reply.
            Err(error) => {
                ReplyWriter::new(answer, Version::Resp2).error(&error);
                if is_wanted { Step::Answer } else { Step::Silence }
            }
        }
    }

    /// What a tenant may not run, not yet or not now.
    fn permit(
        &self,
        spec: &'static CommandSpec,
        request: &Request<'_>,
        moment: &Moment<'_>,
    ) -> Result<(), Vec<u8>> {
        match spec.service() {
            Service::Denied | Service::AdminOnly => {
                return Err(rescue::no_permission(spec, self.user(), self.persona(&moment.around)));
            }
            Service::NotYet(lacks) => return Err(rescue::not_yet(spec, lacks)),
            Service::Forward if has_old_arity(spec, request.argc(), self.persona(&moment.around)) => {
                return Err(Unidentified::WrongArity { spec }.refusal(request));
            }
            Service::Guarded => self.permit_payload(spec, &moment.around)?,
            // The upstream may be another one than when it was queued.
            Service::Tied if spec.name == "EXEC" && self.brings_payload() => {
                self.permit_payload(spec, &moment.around)?;
            }
            Service::Forward | Service::Local | Service::Tied | Service::Reworded | Service::Composed => {}
        }
        self.permit_now(spec)
    }

    /// What could crash the upstream (*redis.conf*: `sanitize-dump-payload`).
    fn permit_payload(&self, spec: &'static CommandSpec, around: &Surroundings<'_>) -> Result<(), Vec<u8>> {
        match self.view(around).map_or(Payloads::Unknown, |view| view.payloads) {
            Payloads::Forwarded => Ok(()),
            Payloads::Unchecked => Err(text::UNCHECKED_PAYLOAD.to_vec()),
            Payloads::Unknown => Err(text::UNKNOWN_PAYLOAD_CHECK.to_vec()),
            Payloads::Denied => Err(rescue::no_permission(spec, self.user(), self.persona(around))),
        }
    }

    /// What a client may not run because of what it does already.
    pub(super) fn permit_now(&self, spec: &'static CommandSpec) -> Result<(), Vec<u8>> {
        let is_restricted =
            self.affinity.as_ref().is_some_and(|affinity| affinity.is_restricted(self.version));
        if is_restricted && !is_allowed_subscribed(spec.name) {
            return Err(rescue::only_subscriptions(spec));
        }
        let is_monitor = self.affinity.as_ref().is_some_and(|affinity| affinity.is_monitor);
        if is_monitor && touches_keyspace(spec) {
            return Err(text::MONITOR_WITH_KEYS.to_vec());
        }
        Ok(())
    }

    /// Forwards a request that may block, of a session that may have ties.
    fn forward_tied<'a>(
        &'a mut self,
        spec: &'static CommandSpec,
        request: Request<'a>,
        moment: Moment<'a>,
        located: &'a mut Located,
        answer: &mut BytesMut,
    ) -> Step<'a> {
        let is_wanted = moment.is_wanted;
        if let Err(error) = command::locate(spec, &request, located) {
            return self.refuse(answer, error.message().as_bytes(), is_wanted);
        }
        let amendment =
            match self.is_ruled.then(|| self.amend(spec, &request, &moment.around, located)).transpose() {
                Ok(amendment) => amendment.flatten(),
                Err(error) => return self.refuse(answer, &error, is_wanted),
            };
        if spec.name == "WATCH" && self.ties().is_some_and(|ties| ties.watch == Watch::Lost) {
            // The transaction will fail whatever else is watched (Redis: `CLIENT_DIRTY_CAS`).
            ReplyWriter::new(answer, Version::Resp2).simple("OK");
            return self.told(Ok(Step::Answer), is_wanted, answer);
        }
        let to = match self.destination(spec, request, &moment.around, located) {
            Ok(to) => to,
            Err(error) => return self.refuse(answer, &error, is_wanted),
        };
        let over = self.over(spec, &request, located.connection, to);
        let first = match (over, to) {
            (Over::Leased(slot, _), Some(to)) => tied::before(self, slot, to.node, moment.is_owed),
            (Over::Leased(..) | Over::Shared, _) => self.before_shared(moment.is_owed).map(Ok),
        };
        match first {
            Some(Ok(step)) => return self.told(Ok(step), is_wanted, answer),
            Some(Err(error)) => return self.refuse(answer, &error, is_wanted),
            None => {}
        }
        if matches!(over, Over::Leased(_, Trace::Watch)) && !self.watch(request.argc().saturating_sub(1), to)
        {
            return self.refuse(answer, text::TOO_MANY_WATCHED, is_wanted);
        }
        if let Some(amendment) = amendment {
            let step = self.forward_amended(spec, *amendment, (moment, over), located);
            return self.told(step, is_wanted, answer);
        }
        let step = self.forward(spec, request, (moment, over), located, None);
        step.unwrap_or_else(|error| refusal(answer, &error, is_wanted))
    }

    /// So many more keys are watched; `false`: they would be too many.
    fn watch(&mut self, keys: usize, to: Option<Destination>) -> bool {
        let affinity = self.affinity.get_or_insert_default();
        affinity.watched_slots.insert(to.and_then(|to| to.slot));
        let already = if let Watch::Keys(count) = affinity.watch { count } else { 0 };
        let watched = already.saturating_add(keys);
        if watched > MAX_WATCHED {
            return false;
        }
        affinity.watch = Watch::Keys(watched);
        true
    }

    /// The connection that a request takes.
    pub(super) fn over(
        &self,
        spec: &CommandSpec,
        request: &Request<'_>,
        connection: Connection,
        to: Option<Destination>,
    ) -> Over {
        if connection == Connection::Blocking {
            return Over::Leased(Slot::Own, Trace::Waits(patience::of(spec, request)));
        }
        if spec.name == "WATCH" {
            return Over::Leased(Slot::Own, Trace::Watch);
        }
        match &self.affinity {
            Some(affinity)
                if affinity.needs(Slot::Own, self.version)
                    && to.is_some_and(|to| !affinity.is_held_elsewhere(to.node, self.version)) =>
            {
                Over::Leased(Slot::Own, Trace::Nothing)
            }
            _ => Over::Shared,
        }
    }

    /// What must happen before a request can take the shared connection: what was sent over the session's own
    /// must not be overtaken.
    pub(super) fn before_shared(&self, is_owed: bool) -> Option<Step<'static>> {
        let has_own = self.affinity.as_ref().is_some_and(|affinity| affinity.own.is_some());
        (is_owed && has_own).then_some(Step::Wait)
    }

    fn answer_locally(
        &mut self,
        spec: &'static CommandSpec,
        request: &Request<'_>,
        moment: Moment<'_>,
        answer: &mut BytesMut,
    ) -> Step<'static> {
        // These end ties, and with them the connections that still owe replies, or lead to the shared connection of
        // another native database, where what follows would overtake.
        let leads_elsewhere = matches!(spec.name, "RESET" | "AUTH" | "HELLO" | "SELECT");
        let has_other_ways = self.affinity.is_some() || self.is_native();
        if leads_elsewhere && has_other_ways && moment.is_owed {
            return Step::Wait;
        }
        let mut reply = ReplyWriter::new(answer, self.version);
        match local::answer(self, spec, request, &moment.around, &mut reply) {
            Next::Stay => Step::Answer,
            Next::Silence => Step::Silence,
            Next::SpeakAgain => Step::AnswerAlways,
            Next::Close => {
                // What is owed for earlier requests is still delivered.
                if !moment.is_wanted {
                    answer.clear();
                }
                Step::AnswerThenClose
            }
        }
    }

    /// Refuses a request before it is looked into. `EXEC` ends its transaction all the same (Redis:
    /// `execCommandAbort`).
    #[inline(never)]
    fn refuse_early(
        &mut self,
        request: &Request<'_>,
        error: &[u8],
        moment: Moment<'_>,
        answer: &mut BytesMut,
    ) -> Step<'static> {
        self.forget_caching(request.name());
        if request.name().eq_ignore_ascii_case(b"EXEC") {
            let step = tied::abort(self, error, moment, answer);
            return self.told(Ok(step), moment.is_wanted, answer);
        }
        self.refuse(answer, error, moment.is_wanted)
    }

    /// What `CLIENT CACHING` said is about the next command only, and neither `CLIENT` nor what is queued is one.
    fn forget_caching(&mut self, name: &[u8]) {
        let Some(affinity) = &mut self.affinity else { return };
        let is = |command: &[u8]| name.eq_ignore_ascii_case(command);
        let is_queued = affinity.transaction.is_some() && !is(b"EXEC") && !is(b"DISCARD");
        if let Some(tracking) = &mut affinity.tracking
            && !is_queued
            && !is(b"CLIENT")
            && !is(b"MULTI")
        {
            tracking.caching = None;
        }
    }

    /// Refuses a request. A transaction under way will fail.
    fn refuse(&mut self, answer: &mut BytesMut, error: &[u8], is_wanted: bool) -> Step<'static> {
        self.poison();
        refusal(answer, error, is_wanted)
    }

    /// A request was refused: a transaction under way will fail.
    pub fn poison(&mut self) {
        if let Some(transaction) = self.affinity.as_mut().and_then(|affinity| affinity.transaction.as_mut()) {
            transaction.outcome = Outcome::Aborted;
        }
    }

    /// The transaction under way.
    pub(super) fn transaction(&self) -> Option<&Transaction> {
        self.affinity.as_ref()?.transaction.as_ref()
    }

    /// Whether the transaction under way has a payload that the upstream must check.
    fn brings_payload(&self) -> bool {
        self.transaction().is_some_and(|transaction| transaction.brings_payload)
    }

    /// Where the session's names belong now.
    pub(super) fn namespace(&self) -> Option<Arc<Namespace>> {
        self.bound.as_ref().map(|bound| Arc::clone(&bound.namespace))
    }

    /// The row of the request, if the upstream has it too; otherwise the error.
    #[inline]
    fn identify(
        &self,
        request: &Request<'_>,
        around: &Surroundings<'_>,
    ) -> Result<&'static CommandSpec, Unidentified> {
        let persona = self.persona(around);
        let unknown = |row: &'static CommandSpec| match row.container() {
            Some(container) if persona.has(container) => Unidentified::UnknownSubcommand { container },
            _ => Unidentified::UnknownCommand,
        };
        // The upstream looks a command up before it counts arguments.
        match command::identify(request) {
            Ok(spec) if persona.has(spec) => Ok(spec),
            Ok(spec) | Err(Unidentified::WrongArity { spec }) if !persona.has(spec) => Err(unknown(spec)),
            Err(Unidentified::UnknownSubcommand { container }) if !persona.has(container) => {
                Err(Unidentified::UnknownCommand)
            }
            other => other,
        }
    }

    /// The kind of server the client believes to talk to.
    pub(super) fn persona<'a>(&self, around: &Surroundings<'a>) -> &'a Persona {
        let upstream = self.bound.as_ref().map_or(0, |bound| bound.binding.tenant().upstream);
        around.upstreams.get(upstream).map_or(around.unknown, |view| &view.persona)
    }

    /// The upstream of the session's tenant.
    pub(super) fn view<'a>(&self, around: &Surroundings<'a>) -> Option<&'a UpstreamView> {
        around.upstreams.get(self.bound.as_ref()?.binding.tenant().upstream)
    }

    /// Whether this request's reply is wanted; the next one's turn begins.
    pub(super) fn begin_request(&mut self) -> bool {
        let was = self.replies;
        if was == Replies::SkipNext {
            self.replies = Replies::On;
        }
        was == Replies::On
    }
}

/// Writes the error of a request that is not carried out.
fn refusal(answer: &mut BytesMut, error: &[u8], is_wanted: bool) -> Step<'static> {
    ReplyWriter::new(answer, Version::Resp2).error(error);
    Step::Refused { is_wanted }
}

/// Whether the upstream is too old for this number of arguments: the table has the arities of later releases.
/// Elsewhere the upstream says so itself; a transaction must know when it queues.
fn has_old_arity(spec: &CommandSpec, argc: usize, persona: &Persona) -> bool {
    match spec.name {
        "COMMAND GETKEYS" | "COMMAND GETKEYSANDFLAGS" => argc < 4 && !persona.is_at_least(8, 0),
        "ZRANK" | "ZREVRANK" => argc != 3 && !persona.is_at_least(7, 2),
        _ => false,
    }
}

/// What Redis refuses to a client that monitors, which it takes for a kind of replica.
pub(super) fn touches_keyspace(spec: &CommandSpec) -> bool {
    let may_replicate = matches!(spec.name, "PUBLISH" | "SPUBLISH" | "PFCOUNT");
    may_replicate || spec.flags.intersects(Flags::WRITE | Flags::READONLY)
}

/// What a subscribed RESP2 client may send (*Redis Pub/Sub*).
fn is_allowed_subscribed(name: &str) -> bool {
    matches!(
        name,
        "SUBSCRIBE"
            | "SSUBSCRIBE"
            | "PSUBSCRIBE"
            | "UNSUBSCRIBE"
            | "SUNSUBSCRIBE"
            | "PUNSUBSCRIBE"
            | "PING"
            | "QUIT"
            | "RESET"
    )
}

/// Commands that Redis allows before authentication (flag `no_auth`).
fn is_allowed_unbound(name: &[u8]) -> bool {
    [b"AUTH".as_slice(), b"HELLO", b"QUIT", b"RESET"].iter().any(|allowed| name.eq_ignore_ascii_case(allowed))
}

/// The first words of an HTTP request as Redis guards against them.
fn is_http(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"POST") || name.eq_ignore_ascii_case(b"Host:")
}
