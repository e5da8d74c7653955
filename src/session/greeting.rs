//! How a connection gets its tenant, and how it loses it: `AUTH`, `HELLO`, `RESET`.
//!
//! A refused greeting changes nothing: protocol version, name and tenant stay as they were (Redis 7.2 and
//! later check all options of `HELLO` before they apply any; 7.0 keeps the name of a greeting whose
//! credentials are wrong).

use std::sync::Arc;

use crate::resp::reply::ReplyWriter;
use crate::resp::scan::strict_integer;
use crate::resp::{Request, Version};
use crate::tenant::directory::{Binding, Directory};

use super::affinity::Slot;
use super::local::{Next, is_client_name};
use super::machine::{Replies, Session, Surroundings};
use super::rescue::text;

/// The user that `AUTH <password>` means.
const DEFAULT_USER: &[u8] = b"default";

/// `AUTH [user] password`.
pub(super) fn auth(
    session: &mut Session,
    request: &Request<'_>,
    around: &Surroundings<'_>,
    reply: &mut ReplyWriter<'_>,
) {
    let (user, password) = match (request.argc(), request.arg(1), request.arg(2)) {
        // The listener needs no password, as a Redis whose default user has none.
        (2, ..) if session.home.is_some() && !around.directory.has_user(DEFAULT_USER) => {
            return reply.error(text::NO_PASSWORD_CONFIGURED);
        }
        (2, Some(password), _) => (DEFAULT_USER, password),
        (3, Some(user), Some(password)) => (user, password),
        _ => return reply.error(text::SYNTAX),
    };
    match authenticate(session, around.directory, user, password) {
        Some(binding) => match session.bind(binding, around.peers) {
            Ok(()) => reply.simple("OK"),
            Err(error) => reply.error(&error),
        },
        None => reply.error(text::WRONGPASS),
    }
}

/// Whom these credentials make of the connection.
fn authenticate(
    session: &Session,
    directory: &Directory,
    user: &[u8],
    password: &[u8],
) -> Option<Arc<Binding>> {
    let binding = directory.authenticate(user, password);
    if binding.is_none() && user == DEFAULT_USER && !directory.has_user(DEFAULT_USER) {
        // A default user without a password accepts any.
        return session.home.clone();
    }
    binding
}

/// What `HELLO` asks for, once every option has been read.
#[derive(Default)]
struct Wishes<'a> {
    version: Option<Version>,
    credentials: Option<(&'a [u8], &'a [u8])>,
    name: Option<&'a [u8]>,
}

/// `HELLO [version [AUTH user password] [SETNAME name]]`.
pub(super) fn hello(
    session: &mut Session,
    request: &Request<'_>,
    around: &Surroundings<'_>,
    reply: &mut ReplyWriter<'_>,
) {
    let wishes = match read_wishes(request) {
        Ok(wishes) => wishes,
        Err(error) => return reply.error(&error),
    };
    // What is tracked for nobody in RESP2 would have to be tracked upstream in RESP3.
    let is_tracking = session.ties().is_some_and(|ties| ties.tracking.is_some());
    let is_tied = is_tracking || session.needs(Slot::Own) || session.needs(Slot::Ear);
    if is_tied && wishes.version.is_some_and(|version| version != session.version) {
        return reply.error(text::VERSION_IS_TIED);
    }
    if let Some((user, password)) = wishes.credentials {
        match authenticate(session, around.directory, user, password) {
            Some(binding) => {
                if let Err(error) = session.bind(binding, around.peers) {
                    return reply.error(&error);
                }
            }
            None => return reply.error(text::WRONGPASS),
        }
    }
    if !session.is_bound() {
        let is_newer = session.persona(around).is_at_least(7, 2);
        return reply.error(if is_newer { text::HELLO_NOAUTH } else { text::HELLO_NOAUTH_7_0 });
    }
    if let Some(name) = wishes.name {
        session.name = name.into();
    }
    if let Some(version) = wishes.version {
        session.version = version;
        reply.set_version(version);
    }
    reply.map(7);
    reply.bulk(b"server");
    reply.bulk(b"redis");
    reply.bulk(b"version");
    reply.bulk(session.persona(around).version.as_bytes());
    reply.bulk(b"proto");
    reply.integer(i64::from(session.version.number()));
    reply.bulk(b"id");
    reply.integer(i64::try_from(session.client_id()).unwrap_or(i64::MAX));
    reply.bulk(b"mode");
    reply.bulk(if session.has_cluster_persona() { b"cluster" } else { b"standalone" });
    reply.bulk(b"role");
    reply.bulk(b"master");
    // Modules' entries carry file paths of the server.
    reply.bulk(b"modules");
    reply.array(0);
}

fn read_wishes<'a>(request: &Request<'a>) -> Result<Wishes<'a>, Vec<u8>> {
    let mut wishes = Wishes::default();
    let mut args = request.args().skip(1);
    if let Some(version) = args.next() {
        wishes.version = Some(match strict_integer(version) {
            Some(2) => Version::Resp2,
            Some(3) => Version::Resp3,
            Some(_) => return Err(text::NOPROTO.to_vec()),
            None => return Err(text::BAD_PROTOCOL_VERSION.to_vec()),
        });
    }
    while let Some(option) = args.next() {
        let mut ahead = args.clone();
        if option.eq_ignore_ascii_case(b"AUTH")
            && let (Some(user), Some(password)) = (ahead.next(), ahead.next())
        {
            wishes.credentials = Some((user, password));
        } else if option.eq_ignore_ascii_case(b"SETNAME")
            && let Some(name) = ahead.next()
        {
            if !is_client_name(name) {
                return Err(text::BAD_CLIENT_NAME.to_vec());
            }
            wishes.name = Some(name);
        } else {
            let option = option.split(|byte| *byte == 0).next().unwrap_or_default();
            return Err([b"ERR Syntax error in HELLO option '", option, b"'"].concat());
        }
        args = ahead;
    }
    Ok(wishes)
}

/// `RESET`: everything as it was when the connection was accepted. `CLIENT REPLY OFF` ends before the answer, so that
/// this is heard; `CLIENT REPLY SKIP` still takes it.
///
/// A connection that has no place in its listener's tenant any more ends.
pub(super) fn reset(session: &mut Session, around: &Surroundings<'_>, reply: &mut ReplyWriter<'_>) -> Next {
    let next = if session.replies == Replies::Off { Next::SpeakAgain } else { Next::Stay };
    match session.home.clone() {
        Some(home) => {
            if let Err(error) = session.bind(home, around.peers) {
                reply.error(&error);
                return Next::Close;
            }
        }
        None => session.unbind(),
    }
    if let Some(affinity) = &mut session.affinity {
        affinity.cut();
    }
    session.version = Version::Resp2;
    session.name = Box::default();
    session.replies = Replies::On;
    reply.simple("RESET");
    next
}
