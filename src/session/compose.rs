//! Answers that are composed: of several upstream requests, or of what is known of other clients.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::asker::Asker;
use super::configure::{Configuration, configuration};
use super::downstream::{Core, Downstream};
use super::info::{ClientCounts, TenantFacts, Traffic, info_text};
use super::keyspace::{Flushed, Keyspace, Stop};
use super::machine::UpstreamView;
use super::rescue::{self, text};
use super::spread;
use crate::clients::{self, Outcome, Question};
use crate::command::CommandSpec;
use crate::resp::cursor::{Cursor, Value};
use crate::resp::reply::ReplyWriter;
use crate::resp::{OwnedRequest, Request, Version};
use crate::tenant::UpstreamLimits;
use crate::tenant::directory::{Binding, Namespace};
use crate::tenant::requests::Fixed;

/// How an answer is composed.
pub(super) enum Composed {
    /// It has been written.
    Now {
        /// The connection ends after it.
        closes: bool,
    },
    /// It will be there when this is done.
    Later(Pin<Box<dyn Future<Output = Bytes>>>),
}

/// Begins to compose the answer to a request whose service is `Composed`; one that is there at once is
/// appended to `answer`.
pub(super) fn begin(
    downstream: &Rc<Downstream>,
    core: &mut Core,
    spec: Option<&'static CommandSpec>,
    request: &Request<'_>,
    answer: &mut BytesMut,
) -> Composed {
    let mut reply = ReplyWriter::new(answer, core.session.version());
    let (Some(spec), Some(card)) = (spec, core.card.clone()) else {
        reply.error(text::NOAUTH);
        return Composed::Now { closes: false };
    };
    let commons = &downstream.commons;
    let Some(among) = commons.clients_of(&core.session) else { return Composed::Now { closes: false } };
    if spec.name == "MONITOR" {
        // Redis says nothing at all to a client that monitors already.
        if among.watch(&card) {
            reply.simple("OK");
        }
        core.session.monitors();
        return Composed::Now { closes: false };
    }
    let question = Question {
        asker: &card,
        among,
        spec,
        request: *request,
        release: commons.release(&core.session),
        now_ms: commons.clock.millis(),
        has_user: &|name| commons.has_user(&core.session, name),
    };
    if let Some(outcome) = clients::answer(&question, &mut reply) {
        return Composed::Now { closes: outcome == Outcome::CloseAfterReply };
    }
    if spec.name == "COMMAND COUNT" {
        reply.integer(i64::try_from(commons.served_commands(&core.session)).unwrap_or(i64::MAX));
        return Composed::Now { closes: false };
    }
    if let Some(walk) = Walk::begin(downstream, core, spec, request) {
        return Composed::Later(Box::pin(walk.answer()));
    }
    reply.error(text::UPSTREAM_REFUSED_PROXY);
    Composed::Now { closes: false }
}

/// One composed answer that takes upstream requests.
struct Walk {
    asker: Asker,
    spec: &'static CommandSpec,
    request: OwnedRequest,
    binding: Arc<Binding>,
    namespace: Arc<Namespace>,
    limits: UpstreamLimits,
    version: Version,
    /// The port that the client is connected to.
    port: u16,
}

impl Walk {
    fn begin(
        downstream: &Rc<Downstream>,
        core: &Core,
        spec: &'static CommandSpec,
        request: &Request<'_>,
    ) -> Option<Self> {
        let args: Vec<&[u8]> = request.args().collect();
        let binding = Arc::clone(core.session.binding()?);
        let namespace = Arc::clone(core.session.namespace_ref()?);
        let upstream = binding.tenant().upstream;
        let limits = downstream.commons.with_view(upstream, |view: &UpstreamView| view.limits)?;
        Some(Self {
            asker: Asker::new(downstream, core.tenant, &namespace)?,
            spec,
            request: OwnedRequest::from_args(&args)?,
            binding,
            namespace,
            limits,
            version: core.session.version(),
            port: core.card.as_ref().map_or(0, |card| port_of(&card.origin().laddr)),
        })
    }

    async fn answer(self) -> Bytes {
        let walks = self.asker.commons().walks_of(self.asker.tenant());
        // It is never closed. What takes a request or two does not wait for what takes thousands.
        let _turn = if self.is_long() { walks.acquire().await.ok() } else { None };
        let mut answer = BytesMut::new();
        let mut reply = ReplyWriter::new(&mut answer, self.version);
        let request = self.request.as_request();
        let keyspace = Keyspace {
            errand: &self.asker,
            binding: &self.binding,
            namespace: &self.namespace,
            limits: self.limits,
        };
        match self.spec.name {
            "SCAN" => {
                let secret = &self.asker.commons().shared.cursor_secret;
                keyspace.scan(&request, secret, &mut reply).await;
            }
            "KEYS" => keyspace.keys(&request, &mut reply).await,
            "RANDOMKEY" => keyspace.random_key(fastrand::u64(..), &mut reply).await,
            "DBSIZE" => keyspace.dbsize(&mut reply).await,
            "FLUSHDB" | "FLUSHALL" => {
                let what = if self.spec.name == "FLUSHDB" { Flushed::Database } else { Flushed::All };
                keyspace.flush(&request, what, &mut reply).await;
                if answer.starts_with(b"+") {
                    self.asker.flushed(&self.binding);
                }
            }
            "MOVE" => keyspace.move_key(&request, &mut reply).await,
            "INFO" => self.info(&keyspace, &mut reply).await,
            "CONFIG SET" => self.configure(&mut reply).await,
            "WAIT" | "WAITAOF" => spread::wait(&self.asker, &request, &self.namespace, &mut reply).await,
            "PUBSUB CHANNELS" | "PUBSUB SHARDCHANNELS" | "PUBSUB NUMSUB" => {
                spread::pubsub(&self.asker, &request, (&self.namespace, self.limits), &mut reply).await;
            }
            _ => reply.error(text::NOT_IN_TRANSACTION),
        }
        if answer.strip_prefix(b"-").is_some_and(|error| error.starts_with(text::WITHHELD)) {
            self.asker.commons().count_violation(self.asker.tenant());
        }
        answer.freeze()
    }

    /// Whether it looks at all keys, or at many.
    fn is_long(&self) -> bool {
        match self.spec.name {
            "MOVE"
            | "CONFIG SET"
            | "WAIT"
            | "WAITAOF"
            | "PUBSUB CHANNELS"
            | "PUBSUB SHARDCHANNELS"
            | "PUBSUB NUMSUB" => false,
            "INFO" => self.shows_keys(),
            _ => true,
        }
    }

    /// Whether `INFO` shows numbers of keys.
    fn shows_keys(&self) -> bool {
        let request = self.request.as_request();
        let names_them = |section: &[u8]| {
            [b"keyspace".as_slice(), b"default", b"all", b"everything"]
                .iter()
                .any(|name| section.eq_ignore_ascii_case(name))
        };
        request.argc() == 1 || request.args().skip(1).any(names_them)
    }

    /// `INFO`: the upstream's, with the tenant's own numbers in it.
    async fn info(&self, keyspace: &Keyspace<'_, Asker>, reply: &mut ReplyWriter<'_>) {
        let commons = self.asker.commons();
        let upstream = match self.asker.ask_fixed(Fixed::Info, &self.namespace).await {
            Ok(upstream) => upstream,
            Err(error) => return reply.raw(&error),
        };
        let Some(Value::Bulk(text)) = Cursor::new(&upstream).next_value() else {
            return reply.error(text::UPSTREAM_REFUSED_PROXY);
        };
        let channels = spread::count_channels(&self.asker, (&self.namespace, self.limits)).await;
        let keys = if self.shows_keys() { self.keys_by_database(keyspace).await } else { Ok(Vec::new()) };
        let keys = match keys {
            Ok(keys) => keys,
            Err(stop) => return stop.answer(reply),
        };
        let Some(clients) = commons.shared.clients.of(self.binding.tenant()) else { return };
        let totals = clients.traffic().totals(commons.clock.millis());
        let [connected, blocked, tracking] =
            clients.census().map(|count| u64::try_from(count).unwrap_or(u64::MAX));
        let facts = TenantFacts {
            tenant: self.binding.tenant().name.as_str(),
            uptime: Duration::from_millis(commons.clock.millis()),
            port: self.port,
            has_cluster_persona: self.binding.tenant().has_cluster_persona,
            clients: ClientCounts { connected, blocked, tracking },
            traffic: Traffic {
                connections: totals.connections,
                commands: totals.commands,
                commands_per_second: totals.commands_per_second,
                bytes_in: totals.bytes_in,
                bytes_out: totals.bytes_out,
            },
            channels,
            patterns: u64::try_from(clients.distinct_patterns()).unwrap_or(u64::MAX),
            keys: &keys,
        };
        let request = self.request.as_request();
        let text = info_text(&String::from_utf8_lossy(text), &facts, request.args().skip(1));
        reply.verbatim(text.as_bytes());
    }

    /// The numbers of keys. Asked for by name they are counted; in the midst of everything else they may be
    /// as old as ten counts take, because many clients ask for `INFO` whenever they connect.
    async fn keys_by_database(&self, keyspace: &Keyspace<'_, Asker>) -> Result<Vec<(u32, u64)>, Stop> {
        let commons = self.asker.commons();
        let request = self.request.as_request();
        let is_named = request.args().skip(1).any(|section| section.eq_ignore_ascii_case(b"keyspace"));
        let place = self.binding.namespaces().first().map(|home| home.prefix.clone());
        let begun = commons.clock.read_millis();
        if !is_named
            && let Some(place) = &place
            && let Some(known) = commons.key_counts.borrow().get(place)
            && begun < known.good_until_ms
        {
            return Ok(known.counts.clone());
        }
        let counts: Vec<(u32, u64)> = keyspace.count_by_database().await?.into_iter().collect();
        let now = commons.clock.read_millis();
        let took = now.saturating_sub(begun);
        // A count that costs nothing is always made anew.
        let kept = if took < LONG_COUNT_MS { 0 } else { took.saturating_mul(10) };
        let good_until_ms = now.saturating_add(kept);
        if let Some(place) = place {
            let known = KeyCounts { counts: counts.clone(), good_until_ms };
            commons.key_counts.borrow_mut().insert(place, known);
        }
        Ok(counts)
    }

    /// `CONFIG SET`: of what concerns everybody, only what is the case already.
    async fn configure(&self, reply: &mut ReplyWriter<'_>) {
        let answer = match self.asker.ask_fixed(Fixed::Notifications, &self.namespace).await {
            Ok(answer) => answer,
            Err(error) => return reply.raw(&error),
        };
        let mut cursor = Cursor::new(&answer);
        let flags = match (cursor.next_value(), cursor.next_value(), cursor.next_value()) {
            (Some(Value::Array(_)), Some(_), Some(Value::Bulk(flags))) => flags,
            _ => b"",
        };
        match configuration(&self.request.as_request(), flags) {
            Configuration::InForce => reply.simple("OK"),
            Configuration::NoPermission => {
                let commons = self.asker.commons();
                let user = self.binding.user_name();
                let refusal = commons.with_view(self.binding.tenant().upstream, |view| {
                    rescue::no_permission(self.spec, user, &view.persona)
                });
                reply.error(&refusal.unwrap_or_else(|| text::UPSTREAM_REFUSED_PROXY.to_vec()));
            }
            Configuration::Refused(error) => reply.error(&error),
        }
    }
}

fn port_of(address: &str) -> u16 {
    address.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(0)
}

/// Milliseconds from which on a count of keys is long: its result is told for ten times as long.
const LONG_COUNT_MS: u64 = 20;

/// Numbers of keys by database, and how long they may be told.
pub(super) struct KeyCounts {
    counts: Vec<(u32, u64)>,
    good_until_ms: u64,
}
