//! Commands that are about the connection itself: the proxy holds that state, so it answers them.
//!
//! Each answers as Redis 7.0 does, argument checks and error texts included; what differs between releases
//! follows the upstream's persona. None of them may ever reach a shared upstream connection.

use crate::command::{CommandSpec, Unidentified};
use crate::resp::Request;
use crate::resp::reply::ReplyWriter;
use crate::resp::scan::strict_integer;

use super::cluster::{self, Endpoint, Node};
use super::greeting;
use super::machine::{Replies, Session, Surroundings};
use super::rescue::text;
use super::tenantry;
use super::tracking::{self, Tracking};

/// What follows an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing special.
    Stay,
    /// The answer is not to be sent.
    Silence,
    /// The answer is to be sent although replies were off.
    SpeakAgain,
    /// The connection ends.
    Close,
}

/// Answers a command whose service is `Local`.
pub(super) fn answer(
    session: &mut Session,
    spec: &'static CommandSpec,
    request: &Request<'_>,
    around: &Surroundings<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Next {
    match spec.name {
        "AUTH" => greeting::auth(session, request, around, reply),
        "HELLO" => greeting::hello(session, request, around, reply),
        "RESET" => return greeting::reset(session, around, reply),
        "QUIT" => {
            reply.simple("OK");
            return Next::Close;
        }
        "PING" => ping(session, request, reply),
        "ECHO" => reply.bulk(request.arg(1).unwrap_or_default()),
        "SELECT" => select(session, request, reply),
        "ROLE" => {
            reply.array(3);
            reply.bulk(b"master");
            reply.integer(0);
            reply.array(0);
        }
        "ACL WHOAMI" => reply.bulk(session.user().as_bytes()),
        "MODULE LIST" => reply.array(0),
        "CLIENT ID" => reply.integer(i64::try_from(session.client_id()).unwrap_or(i64::MAX)),
        "CLIENT GETNAME" if session.name.is_empty() => reply.null(),
        "CLIENT GETNAME" => reply.bulk(&session.name),
        "CLIENT SETNAME" => set_name(session, request, reply),
        "CLIENT SETINFO" => set_info(session, request, reply),
        "CLIENT REPLY" => return client_reply(session, request, reply),
        "CLIENT NO-EVICT" => {
            if let Some(is_on) = on_or_off(request, reply) {
                session.is_unevictable = is_on;
            }
        }
        "CLIENT NO-TOUCH" => drop(on_or_off(request, reply)),
        "CLIENT GETREDIR" => reply.integer(tracking::redirection(tracked(session))),
        "CLIENT TRACKINGINFO" => tracking::describe(tracked(session), reply),
        // No client capability changes what a standalone upstream answers; a transaction forgets watched keys
        // itself.
        "CLIENT CAPA" | "UNWATCH" => reply.simple("OK"),
        // No open-source server knows it; clients that ask carry on.
        "CLIENT MAINT_NOTIFICATIONS" => reply.error(&unknown(spec).refusal(request)),
        name if name.starts_with("CLUSTER ") || matches!(name, "ASKING" | "READONLY" | "READWRITE") => {
            about_cluster(session, spec, request, reply);
        }
        "TENANTRY HELP" => tenantry::help(reply),
        "TENANTRY LIMITS" => tenantry::limits(around.quota, reply),
        _ => reply.error(&unknown(spec).refusal(request)),
    }
    Next::Stay
}

/// What a server says that does not have the command.
fn unknown(spec: &'static CommandSpec) -> Unidentified {
    match spec.container() {
        Some(container) => Unidentified::UnknownSubcommand { container },
        None => Unidentified::UnknownCommand,
    }
}

fn tracked(session: &Session) -> Option<&Tracking> {
    session.ties().and_then(|ties| ties.tracking.as_ref())
}

fn ping(session: &Session, request: &Request<'_>, reply: &mut ReplyWriter<'_>) {
    let is_subscriber = session.ties().is_some_and(|ties| ties.is_restricted(session.version));
    if is_subscriber && request.argc() <= 2 {
        // A subscriber reads arrays only.
        reply.array(2);
        reply.bulk(b"pong");
        return reply.bulk(request.arg(1).unwrap_or_default());
    }
    match (request.argc(), request.arg(1)) {
        (1, _) => reply.simple("PONG"),
        (2, Some(message)) => reply.bulk(message),
        _ => reply.error(b"ERR wrong number of arguments for 'ping' command"),
    }
}

/// Answers as the one node of a cluster, or as a standalone server.
fn about_cluster(
    session: &Session,
    spec: &'static CommandSpec,
    request: &Request<'_>,
    reply: &mut ReplyWriter<'_>,
) {
    let (Some(endpoint), Some(binding)) = (&session.endpoint, session.binding()) else {
        return reply.error(text::NO_CLUSTER);
    };
    let node = Node::of_tenant(binding.tenant().name.as_str(), Endpoint::clone(endpoint));
    if !node.answer(spec, request, reply) {
        reply.error(&unknown(spec).refusal(request));
    }
}

fn select(session: &mut Session, request: &Request<'_>, reply: &mut ReplyWriter<'_>) {
    let Some(number) = strict_integer(request.arg(1).unwrap_or_default()) else {
        return reply.error(text::NOT_AN_INTEGER);
    };
    // Redis reads a C `int` and has a text of its own for what is none.
    let Ok(database) = i32::try_from(number) else { return reply.error(text::NOT_A_C_INT) };
    if database != 0 && session.has_cluster_persona() {
        return reply.error(cluster::SELECT_REFUSED);
    }
    match u32::try_from(database).ok().filter(|database| session.select(*database)) {
        Some(_) => reply.simple("OK"),
        None => reply.error(text::DATABASE_OUT_OF_RANGE),
    }
}

/// Whether Redis accepts this as a client's name: printable ASCII without the blank.
pub(super) fn is_client_name(name: &[u8]) -> bool {
    name.iter().all(|byte| (b'!'..=b'~').contains(byte))
}

fn set_name(session: &mut Session, request: &Request<'_>, reply: &mut ReplyWriter<'_>) {
    let name = request.arg(2).unwrap_or_default();
    if is_client_name(name) {
        session.name = name.into();
        reply.simple("OK");
    } else {
        reply.error(text::BAD_CLIENT_NAME);
    }
}

fn set_info(session: &mut Session, request: &Request<'_>, reply: &mut ReplyWriter<'_>) {
    let attribute = request.arg(2).unwrap_or_default();
    let attribute_is = |name: &str| attribute.eq_ignore_ascii_case(name.as_bytes());
    let Some(attribute_name) = ["lib-name", "lib-ver"].into_iter().find(|name| attribute_is(name)) else {
        return reply.error(&[b"ERR Unrecognized option '", attribute, b"'"].concat());
    };
    let value = request.arg(3).unwrap_or_default();
    if is_client_name(value) {
        let library = session.library.get_or_insert_default();
        *(if attribute_name == "lib-name" { &mut library.name } else { &mut library.version }) = value.into();
        reply.simple("OK");
    } else {
        let error = format!("ERR {attribute_name} cannot contain spaces, newlines or special characters.");
        reply.error(error.as_bytes());
    }
}

fn client_reply(session: &mut Session, request: &Request<'_>, reply: &mut ReplyWriter<'_>) -> Next {
    let mode = request.arg(2).unwrap_or_default();
    if mode.eq_ignore_ascii_case(b"ON") {
        session.replies = Replies::On;
        reply.simple("OK");
        return Next::SpeakAgain;
    }
    if mode.eq_ignore_ascii_case(b"OFF") {
        session.replies = Replies::Off;
        return Next::Silence;
    }
    if mode.eq_ignore_ascii_case(b"SKIP") {
        if session.replies != Replies::Off {
            session.replies = Replies::SkipNext;
        }
        return Next::Silence;
    }
    reply.error(text::SYNTAX);
    Next::Stay
}

/// `NO-EVICT` protects a connection as far as `session/weight.rs` says; `NO-TOUCH` would need an upstream
/// connection of its own, and its loss only means that reads count as use (`docs/commands.md` lists the
/// difference).
fn on_or_off(request: &Request<'_>, reply: &mut ReplyWriter<'_>) -> Option<bool> {
    let mode = request.arg(2).unwrap_or_default();
    let is_on = mode.eq_ignore_ascii_case(b"ON");
    if is_on || mode.eq_ignore_ascii_case(b"OFF") {
        reply.simple("OK");
        return Some(is_on);
    }
    reply.error(text::SYNTAX);
    None
}
