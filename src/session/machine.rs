//! One client's session, without I/O: a request goes in, the next step comes out.
//!
//! What a request passes is one short list of gates ([`Session::on_request`]), each with its reason. The
//! session holds only what Redis would hold for the connection: who it is, its database, protocol version,
//! name, and whether it wants replies. Sockets, the order of replies and upstream connections are the
//! driver's.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::local::{self, Next};
use super::persona::Persona;
use super::rescue::{self, text};
use crate::command::{self, CommandSpec, Connection, Located, Service, Unidentified};
use crate::resp::reply::ReplyWriter;
use crate::resp::{Request, Version};
use crate::routing::{Routed, Topology};
use crate::tenant::directory::{Binding, Directory, Namespace};
use crate::tenant::{UpstreamLimits, scope};

/// What the session decides by, besides its own state: one snapshot for each request.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// Who may be whom.
    pub directory: &'a Directory,
    /// The upstreams, by number.
    pub upstreams: &'a [UpstreamView],
    /// The persona of an upstream that is not there.
    pub unknown: &'a Persona,
}

/// An upstream as a session sees it.
#[derive(Clone, Debug)]
pub struct UpstreamView {
    /// Its kind and version.
    pub persona: Persona,
    /// Its shards.
    pub topology: Topology,
    /// What it accepts.
    pub limits: UpstreamLimits,
}

/// What is to be done about a request.
#[derive(Debug)]
pub enum Step<'a> {
    /// Send it; the reply is the client's, unless it asked for silence.
    Forward {
        /// The request.
        routed: Routed<'a>,
        /// Whether the reply is wanted (`CLIENT REPLY`).
        is_wanted: bool,
    },
    /// The answer has been written.
    Answer,
    /// The answer has been written, and the connection ends after it.
    AnswerThenClose,
    /// There is nothing to say.
    Silence,
    /// The connection ends without a word.
    Close,
}

/// A connection that belongs to a tenant.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) binding: Arc<Binding>,
    pub(super) namespace: Arc<Namespace>,
    /// `CLIENT ID`.
    pub(super) client_id: u64,
}

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

/// One client's session.
#[derive(Debug)]
pub struct Session {
    /// What the listener binds to: the state that `RESET` returns to.
    pub(super) home: Option<Arc<Binding>>,
    pub(super) bound: Option<Bound>,
    pub(super) version: Version,
    pub(super) name: Box<[u8]>,
    pub(super) replies: Replies,
}

impl Session {
    /// A connection of a listener that binds to `home`, or to nothing.
    pub fn new(home: Option<Arc<Binding>>) -> Self {
        let mut session = Self {
            home: None,
            bound: None,
            version: Version::Resp2,
            name: Box::default(),
            replies: Replies::On,
        };
        if let Some(binding) = &home {
            session.bind(Arc::clone(binding));
        }
        session.home = home;
        session
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

    /// Makes the connection the tenant's, in the binding's home database.
    pub(super) fn bind(&mut self, binding: Arc<Binding>) {
        let Some(namespace) = binding.namespace(binding.home_database()).map(Arc::clone) else { return };
        // One connection has one number (`CLIENT ID`), until it changes tenants.
        let same = self.bound.as_ref().filter(|bound| Arc::ptr_eq(bound.binding.tenant(), binding.tenant()));
        let client_id = same.map_or_else(|| binding.tenant().issue_client_id(), |bound| bound.client_id);
        self.bound = Some(Bound { binding, namespace, client_id });
    }

    /// Changes the database; `false` if there is none of this number.
    pub fn select(&mut self, database: u32) -> bool {
        let Some(bound) = &mut self.bound else { return false };
        let Some(namespace) = bound.binding.namespace(database) else { return false };
        bound.namespace = Arc::clone(namespace);
        true
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
    /// of a known command, for whoever counts.
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
        answer: &mut BytesMut,
    ) -> (Step<'a>, Option<&'static CommandSpec>) {
        // A browser that was made to speak to Redis: no reply, no second request (Redis closes as well).
        if is_http(request.name()) {
            return (Step::Close, None);
        }
        let is_wanted = self.begin_request();
        let refused = |answer: &mut BytesMut, error: &[u8]| {
            ReplyWriter::new(answer, Version::Resp2).error(error);
            if is_wanted { Step::Answer } else { Step::Silence }
        };
        // Strangers learn nothing, not even which commands exist.
        if !self.is_bound() && !is_allowed_unbound(request.name()) {
            return (refused(answer, text::NOAUTH), None);
        }
        // What the upstream does not know is refused in its words, before anything else is said about it.
        let spec = match self.identify(&request, around) {
            Ok(spec) => spec,
            Err(error) => return (refused(answer, &error), None),
        };
        let step = match spec.service() {
            Service::Local => {
                let mut reply = ReplyWriter::new(answer, self.version);
                match local::answer(self, spec, &request, around, &mut reply) {
                    Next::Stay if is_wanted => Step::Answer,
                    Next::Stay | Next::Silence => Step::Silence,
                    Next::SpeakAgain => Step::Answer,
                    Next::Close => {
                        // What is owed for earlier requests is still delivered.
                        if !is_wanted {
                            answer.clear();
                        }
                        Step::AnswerThenClose
                    }
                }
            }
            Service::Forward => match self.forward(spec, request, around, located, owner) {
                Ok(routed) => Step::Forward { routed, is_wanted },
                Err(error) => refused(answer, &error),
            },
            Service::Denied | Service::AdminOnly => {
                refused(answer, &rescue::no_permission(spec, self.user(), self.persona(around)))
            }
            Service::NotYet(lacks) => refused(answer, &rescue::not_yet(spec, lacks)),
        };
        (step, Some(spec))
    }

    /// The row of the request, if the upstream has it too; otherwise the error.
    #[inline]
    fn identify(
        &self,
        request: &Request<'_>,
        around: &Surroundings<'_>,
    ) -> Result<&'static CommandSpec, Vec<u8>> {
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
        .map_err(|unidentified| unidentified.refusal(request))
    }

    /// Locates the names, puts them into the namespace, and picks the shard.
    #[expect(
        clippy::inline_always,
        reason = "a step is 100 bytes: not copying it twice is worth 7 % of a pipelined command"
    )]
    #[inline(always)]
    fn forward<'a>(
        &'a self,
        spec: &'static CommandSpec,
        request: Request<'a>,
        around: &Surroundings<'a>,
        located: &'a mut Located,
        owner: Option<&'a Bytes>,
    ) -> Result<Routed<'a>, Vec<u8>> {
        let Some(bound) = &self.bound else { return Err(text::NOAUTH.to_vec()) };
        command::locate(spec, &request, located).map_err(|error| error.message().as_bytes().to_vec())?;
        if located.connection != Connection::Shared
            && let Service::NotYet(lacks) = spec.service().over(located.connection)
        {
            return Err(rescue::not_yet(spec, lacks));
        }
        let Some(upstream) = around.upstreams.get(bound.binding.tenant().upstream) else {
            return Err(text::UPSTREAM_REFUSED_PROXY.to_vec());
        };
        let scoped = scope(spec, request, located, &bound.namespace, upstream.limits, owner)
            .map_err(|error| error.to_string().into_bytes())?;
        Ok(upstream.topology.route(scoped))
    }

    /// The kind of server the client believes to talk to.
    pub(super) fn persona<'a>(&self, around: &Surroundings<'a>) -> &'a Persona {
        let upstream = self.bound.as_ref().map_or(0, |bound| bound.binding.tenant().upstream);
        around.upstreams.get(upstream).map_or(around.unknown, |view| &view.persona)
    }

    /// Whether this request's reply is wanted; the next one's turn begins.
    fn begin_request(&mut self) -> bool {
        let was = self.replies;
        if was == Replies::SkipNext {
            self.replies = Replies::On;
        }
        was == Replies::On
    }
}

/// Commands that Redis allows before authentication (flag `no_auth`).
fn is_allowed_unbound(name: &[u8]) -> bool {
    [b"AUTH".as_slice(), b"HELLO", b"QUIT", b"RESET"].iter().any(|allowed| name.eq_ignore_ascii_case(allowed))
}

/// The first words of an HTTP request as Redis guards against them.
fn is_http(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"POST") || name.eq_ignore_ascii_case(b"Host:")
}
