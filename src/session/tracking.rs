//! `CLIENT TRACKING`: what a client wants to be told of, and what it is told.
//!
//! The upstream tracks for the session's own connection; the proxy keeps what was asked for, because answers
//! about it (`TRACKINGINFO`, errors about prefixes) must be in the client's names, and because a redirection
//! names another client of the tenant and not an upstream connection. See *Client-side caching in Redis*.

use crate::resp::reply::ReplyWriter;
use crate::resp::scan::strict_integer;
use crate::resp::{Request, Version};
use crate::tenant::requests::Tracked;

use super::rescue::text;

/// Prefixes of one client. Each stands upstream once for each of the tenant's databases, and the server compares
/// all with all.
const MAX_PREFIXES: usize = 64;

/// Which keys are tracked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Those that were read.
    Default,
    /// Those read by a command behind `CLIENT CACHING YES`.
    OptIn,
    /// Those read, but for a command behind `CLIENT CACHING NO`.
    OptOut,
    /// All that begin with one of these.
    Broadcast(Vec<Box<[u8]>>),
}

/// Tracking that is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tracking {
    pub(super) mode: Mode,
    is_noloop: bool,
    /// The client that is told instead.
    pub(super) redirect: Option<Redirect>,
    /// What `CLIENT CACHING` said about the next command.
    pub(super) caching: Option<Caching>,
}

/// Where invalidations go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Redirect {
    /// The other client's `CLIENT ID`.
    pub(super) id: u64,
    /// It has gone.
    pub(super) is_broken: bool,
}

/// `CLIENT CACHING`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caching {
    /// `YES`.
    Yes,
    /// `NO`.
    No,
}

/// What `CLIENT TRACKING` asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// `ON`, as it will be then.
    On(Tracking),
    /// `OFF`.
    Off,
}

/// The options of one request, as they are read.
#[derive(Default)]
struct Options {
    redirect: Option<u64>,
    has_broadcast: bool,
    is_noloop: bool,
    opt: Opt,
    prefixes: Vec<Box<[u8]>>,
}

/// `OPTIN` and `OPTOUT`.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Opt {
    #[default]
    Neither,
    In,
    Out,
    Both,
}

impl Opt {
    fn with(self, other: Self) -> Self {
        if self == Self::Neither || self == other { other } else { Self::Both }
    }
}

impl Tracking {
    /// Whether it is by prefix.
    pub(super) fn is_broadcast(&self) -> bool {
        matches!(self.mode, Mode::Broadcast(_))
    }

    /// Whether invalidations go to another client.
    pub(super) fn is_redirected(&self) -> bool {
        self.redirect.is_some()
    }

    /// What the upstream is told; `redirect`: to send invalidations over another connection.
    pub(super) fn tracked(&self, redirect: Option<u64>) -> Tracked<'_> {
        Tracked {
            broadcast: match &self.mode {
                Mode::Broadcast(prefixes) => Some(prefixes),
                Mode::Default | Mode::OptIn | Mode::OptOut => None,
            },
            option: match &self.mode {
                Mode::OptIn => Some("OPTIN"),
                Mode::OptOut => Some("OPTOUT"),
                Mode::Default | Mode::Broadcast(_) => None,
            },
            is_noloop: self.is_noloop,
            redirect,
        }
    }
}

/// Reads `CLIENT TRACKING …` in the order in which Redis checks it; `now` is the tracking that is on, and
/// `exists` knows the tenant's clients.
pub(super) fn read(
    request: &Request<'_>,
    now: Option<&Tracking>,
    exists: &dyn Fn(u64) -> bool,
) -> Result<Wish, Vec<u8>> {
    let options = read_options(request, exists)?;
    let switch = request.arg(2).unwrap_or_default();
    if switch.eq_ignore_ascii_case(b"OFF") {
        return Ok(Wish::Off);
    }
    if !switch.eq_ignore_ascii_case(b"ON") {
        return Err(text::SYNTAX.to_vec());
    }
    check(&options, now)?;
    let mode = match (options.has_broadcast, options.opt) {
        (true, _) => Mode::Broadcast(merged(options.prefixes, now)?),
        (false, Opt::In) => Mode::OptIn,
        (false, Opt::Out) => Mode::OptOut,
        (false, Opt::Neither | Opt::Both) => Mode::Default,
    };
    Ok(Wish::On(Tracking {
        mode,
        is_noloop: options.is_noloop,
        redirect: options.redirect.map(|id| Redirect { id, is_broken: false }),
        caching: None,
    }))
}

fn read_options(request: &Request<'_>, exists: &dyn Fn(u64) -> bool) -> Result<Options, Vec<u8>> {
    let mut options = Options::default();
    let mut args = request.args().skip(3);
    while let Some(word) = args.next() {
        let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
        let mut ahead = args.clone();
        let operand = ahead.next();
        match operand {
            Some(id) if is("REDIRECT") => {
                args = ahead;
                if options.redirect.is_some() {
                    return Err(b"ERR A client can only redirect to a single other client".to_vec());
                }
                let id = strict_integer(id).ok_or(text::NOT_AN_INTEGER)?;
                let found = u64::try_from(id).ok().filter(|id| exists(*id));
                options.redirect =
                    Some(found.ok_or(b"ERR The client ID you want redirect to does not exist")?);
            }
            Some(prefix) if is("PREFIX") => {
                args = ahead;
                options.prefixes.push(prefix.into());
            }
            _ if is("BCAST") => options.has_broadcast = true,
            _ if is("OPTIN") => options.opt = options.opt.with(Opt::In),
            _ if is("OPTOUT") => options.opt = options.opt.with(Opt::Out),
            _ if is("NOLOOP") => options.is_noloop = true,
            _ => return Err(text::SYNTAX.to_vec()),
        }
    }
    Ok(options)
}

fn check(options: &Options, now: Option<&Tracking>) -> Result<(), &'static [u8]> {
    if !options.has_broadcast && !options.prefixes.is_empty() {
        return Err(b"ERR PREFIX option requires BCAST mode to be enabled");
    }
    let was_broadcast = now.map(|now| matches!(now.mode, Mode::Broadcast(_)));
    if was_broadcast.is_some_and(|was| was != options.has_broadcast) {
        return Err(b"ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it with a different mode.");
    }
    if options.has_broadcast && options.opt != Opt::Neither {
        return Err(b"ERR OPTIN and OPTOUT are not compatible with BCAST");
    }
    let switches = |now: &Tracking| {
        matches!((&now.mode, options.opt), (Mode::OptIn, Opt::Out) | (Mode::OptOut, Opt::In))
    };
    if options.opt == Opt::Both {
        return Err(b"ERR You can't specify both OPTIN mode and OPTOUT mode");
    }
    if now.is_some_and(switches) {
        return Err(b"ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling it with a different mode.");
    }
    Ok(())
}

/// The prefixes of a broadcast from now on. None may begin another.
fn merged(wanted: Vec<Box<[u8]>>, now: Option<&Tracking>) -> Result<Vec<Box<[u8]>>, Vec<u8>> {
    let had = match now.map(|now| &now.mode) {
        Some(Mode::Broadcast(had)) => had.as_slice(),
        _ => &[],
    };
    let meet = |a: &[u8], b: &[u8]| a.starts_with(b) || b.starts_with(a);
    for (at, prefix) in wanted.iter().enumerate() {
        if let Some(other) = had.iter().find(|other| meet(prefix, other)) {
            return Err(overlap(prefix, "an existing prefix", other));
        }
        if let Some(other) = wanted.iter().skip(at.saturating_add(1)).find(|other| meet(prefix, other)) {
            return Err(overlap(prefix, "another provided prefix", other));
        }
    }
    let mut prefixes: Vec<Box<[u8]>> = had.to_vec();
    if !wanted.is_empty() {
        prefixes.extend(wanted);
    } else if !prefixes.iter().any(|prefix| prefix.is_empty()) {
        prefixes.push(Box::default());
    }
    if prefixes.len() > MAX_PREFIXES {
        return Err(text::TOO_MANY_PREFIXES.to_vec());
    }
    // The server keeps them in order.
    prefixes.sort_unstable();
    Ok(prefixes)
}

fn overlap(prefix: &[u8], what: &str, other: &[u8]) -> Vec<u8> {
    let printed = |name: &[u8]| name.split(|byte| *byte == 0).next().unwrap_or_default().to_vec();
    let (prefix, other) = (printed(prefix), printed(other));
    [
        b"ERR Prefix '".as_slice(),
        &prefix,
        b"' overlaps with ",
        what.as_bytes(),
        b" '",
        &other,
        b"'. Prefixes for a single client must not overlap.",
    ]
    .concat()
}

/// Reads `CLIENT CACHING YES|NO`.
pub(super) fn read_caching(request: &Request<'_>, now: Option<&Tracking>) -> Result<Caching, &'static [u8]> {
    let Some(Tracking { mode, .. }) = now else {
        return Err(
            b"ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled",
        );
    };
    let word = request.arg(2).unwrap_or_default();
    if word.eq_ignore_ascii_case(b"YES") {
        return if *mode == Mode::OptIn {
            Ok(Caching::Yes)
        } else {
            Err(b"ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.")
        };
    }
    if word.eq_ignore_ascii_case(b"NO") {
        return if *mode == Mode::OptOut {
            Ok(Caching::No)
        } else {
            Err(b"ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.")
        };
    }
    Err(text::SYNTAX)
}

/// `CLIENT GETREDIR`.
pub(super) fn redirection(now: Option<&Tracking>) -> i64 {
    match now {
        None => -1,
        Some(now) => now.redirect.map_or(0, |redirect| i64::try_from(redirect.id).unwrap_or(i64::MAX)),
    }
}

/// `CLIENT TRACKINGINFO`.
pub(super) fn describe(now: Option<&Tracking>, reply: &mut ReplyWriter<'_>) {
    let mut flags: Vec<&str> = vec![if now.is_some() { "on" } else { "off" }];
    let mut prefixes: &[Box<[u8]>] = &[];
    if let Some(now) = now {
        match &now.mode {
            Mode::Default => {}
            Mode::Broadcast(wanted) => {
                flags.push("bcast");
                prefixes = wanted;
            }
            Mode::OptIn => flags.push("optin"),
            Mode::OptOut => flags.push("optout"),
        }
        flags.extend(now.caching.map(|caching| match caching {
            Caching::Yes => "caching-yes",
            Caching::No => "caching-no",
        }));
        flags.extend(now.is_noloop.then_some("noloop"));
        flags.extend(now.redirect.is_some_and(|redirect| redirect.is_broken).then_some("broken_redirect"));
    }
    reply.map(3);
    reply.bulk(b"flags");
    reply.set(flags.len());
    for flag in flags {
        reply.bulk(flag.as_bytes());
    }
    reply.bulk(b"redirect");
    reply.integer(redirection(now));
    reply.bulk(b"prefixes");
    reply.array(prefixes.len());
    for prefix in prefixes {
        reply.bulk(prefix);
    }
}

/// An invalidation as a client reads it: of `keys`, or of everything. The null of the latter is in the version of
/// the client that `tracks`, wherever it is redirected to (Redis 7.0).
pub(super) fn invalidation(
    keys: Option<&[&[u8]]>,
    (version, tracks): (Version, Version),
    reply: &mut ReplyWriter<'_>,
) {
    match version {
        Version::Resp3 => {
            reply.push(2);
            reply.bulk(b"invalidate");
        }
        Version::Resp2 => {
            reply.array(3);
            reply.bulk(b"message");
            reply.bulk(b"__redis__:invalidate");
        }
    }
    let Some(keys) = keys else {
        reply.set_version(tracks);
        return reply.null();
    };
    reply.array(keys.len());
    for key in keys {
        reply.bulk(key);
    }
}
