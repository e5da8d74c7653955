//! How long keys live: what each command does to it, and what is done about a request so that a key that is created
//! without a time to live gets one, and none gets a longer one than it may.
//!
//! Where a command has words for a time to live, they are put into the request ([`Amended::request`]). Where it has
//! none, `PEXPIRE key … NX` goes beside it ([`Amended::beside`]): it leaves a time that a key has, so a client's own
//! counts. The server's clock decides about absolute times, by `PEXPIRE key … LT`. Alternative that lost: asking
//! whether the key exists, before; two clients could ask at once, and a reply would have to be waited for.
//!
//! A key that is there without a time to live, from before there was a rule, gets one when it is written next.

use std::sync::LazyLock;

use smallvec::SmallVec;

use super::rules::Ttl;
use crate::command::{COMMANDS, CommandSpec, Flags, Located, NameKind, TABLE};
use crate::resp::scan::strict_integer;
use crate::resp::{OwnedRequest, Request};

/// What a command does to how long keys live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// It creates no key and makes none live longer.
    Never,
    /// It may create keys, these of those that it names, and has no words for how long they live.
    Creates(Which),
    /// The same, and it may say how long they live in words of its own.
    MayState(Which),
    /// A key of another name, or in another database, that lives as long as the one it is made from.
    TakesAlong,
    /// It ends a key's time to live.
    Persists,
    /// It says how long a key lives, or may.
    States(Statement),
}

/// Some of the keys that a request names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The first one.
    First,
    /// All but the first one.
    Others,
    /// All.
    All,
}

/// Where a request says how long a key lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statement {
    /// `SET key value`, then options.
    Set,
    /// `GETEX key`, then options; it creates nothing.
    GetEx,
    /// `EXPIRE key seconds`, `SETEX key seconds value`; in milliseconds it is this command.
    Seconds(&'static str),
    /// The same in milliseconds.
    Milliseconds,
    /// A point in time.
    Absolute,
    /// `RESTORE key ttl payload`, then options.
    Restore,
}

/// What is done about a request.
#[derive(Debug, Default)]
pub struct Amended {
    /// What is sent instead, if any of its words changes; its names stay where they are.
    pub request: Option<OwnedRequest>,
    /// What goes beside it.
    pub beside: SmallVec<[Beside; 2]>,
}

/// `PEXPIRE` of one of a request's keys, after the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beside {
    /// The key: an argument of the request.
    pub arg: u32,
    /// Milliseconds.
    pub ttl: u64,
    /// When it counts.
    pub when: When,
}

/// When a time to live replaces the one that there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// If there is none.
    IfNone,
    /// If there is none, or a longer one.
    IfLonger,
}

impl When {
    /// As `PEXPIRE` takes it.
    pub fn word(self) -> &'static str {
        match self {
            Self::IfNone => "NX",
            Self::IfLonger => "LT",
        }
    }
}

/// A request that would make a key live for ever. `Display` is the error reply without `-`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("ERR PERSIST is refused: keys live for at most {max} ms (max_ttl)")]
pub struct ForEver {
    /// Milliseconds.
    pub max: u64,
}

/// Commands with words for a time to live.
const STATING: &[(&str, Statement)] = &[
    ("EXPIRE", Statement::Seconds("PEXPIRE")),
    ("EXPIREAT", Statement::Absolute),
    ("GETEX", Statement::GetEx),
    ("PEXPIRE", Statement::Milliseconds),
    ("PEXPIREAT", Statement::Absolute),
    ("PSETEX", Statement::Milliseconds),
    ("RESTORE", Statement::Restore),
    ("SET", Statement::Set),
    ("SETEX", Statement::Seconds("PSETEX")),
];

/// Commands that never create a key.
const NEVER: &[&str] = &[
    "ARDEL",
    "ARDELRANGE",
    "BLMPOP",
    "BLPOP",
    "BRPOP",
    "BZMPOP",
    "BZPOPMAX",
    "BZPOPMIN",
    "CF.DEL",
    "CMS.INCRBY",
    "CMS.MERGE",
    "DEL",
    "DELEX",
    "DELIFEQ",
    "FLUSHALL",
    "FLUSHDB",
    "FT.SUGDEL",
    "GETDEL",
    "HDEL",
    "HEXPIRE",
    "HEXPIREAT",
    "HGETDEL",
    "HGETEX",
    "HPERSIST",
    "HPEXPIRE",
    "HPEXPIREAT",
    "JSON.ARRAPPEND",
    "JSON.ARRINSERT",
    "JSON.ARRPOP",
    "JSON.ARRTRIM",
    "JSON.CLEAR",
    "JSON.DEL",
    "JSON.FORGET",
    "JSON.NUMINCRBY",
    "JSON.NUMMULTBY",
    "JSON.NUMPOWBY",
    "JSON.STRAPPEND",
    "JSON.TOGGLE",
    "LINSERT",
    "LMPOP",
    "LPOP",
    "LPUSHX",
    "LREM",
    "LSET",
    "LTRIM",
    "PFDEBUG",
    "RPOP",
    "RPUSHX",
    "SPOP",
    "SREM",
    "TDIGEST.ADD",
    "TDIGEST.RESET",
    "TOPK.ADD",
    "TOPK.INCRBY",
    "TS.ALTER",
    "TS.CREATERULE",
    "TS.DEL",
    "TS.DELETERULE",
    "TS.MADD",
    "UNLINK",
    "VREM",
    "VSETATTR",
    "XACK",
    "XACKDEL",
    "XAUTOCLAIM",
    "XCFGSET",
    "XCLAIM",
    "XDEL",
    "XDELEX",
    "XGROUP CREATECONSUMER",
    "XGROUP DELCONSUMER",
    "XGROUP DESTROY",
    "XGROUP SETID",
    "XNACK",
    "XREADGROUP",
    "XSETID",
    "XTRIM",
    "ZMPOP",
    "ZPOPMAX",
    "ZPOPMIN",
    "ZREM",
    "ZREMRANGEBYLEX",
    "ZREMRANGEBYRANK",
    "ZREMRANGEBYSCORE",
];

/// Commands that create a key by what they do to the first one that they name.
const FIRST: &[&str] = &[
    "APPEND",
    "ARINSERT",
    "ARMSET",
    "ARRING",
    "ARSEEK",
    "ARSET",
    "BF.ADD",
    "BF.INSERT",
    "BF.LOADCHUNK",
    "BF.MADD",
    "BF.RESERVE",
    "BITFIELD",
    "BITOP",
    "CF.ADD",
    "CF.ADDNX",
    "CF.INSERT",
    "CF.INSERTNX",
    "CF.LOADCHUNK",
    "CF.RESERVE",
    "CMS.INITBYDIM",
    "CMS.INITBYPROB",
    "DECR",
    "DECRBY",
    "FT.SUGADD",
    "GEOADD",
    "GEOSEARCHSTORE",
    "GETSET",
    "HINCRBY",
    "HINCRBYFLOAT",
    "HMSET",
    "HSET",
    "HSETEX",
    "HSETNX",
    "INCR",
    "INCRBY",
    "INCRBYFLOAT",
    "JSON.MERGE",
    "JSON.SET",
    "LPUSH",
    "PFADD",
    "PFMERGE",
    "RPUSH",
    "SADD",
    "SDIFFSTORE",
    "SETBIT",
    "SETNX",
    "SETRANGE",
    "SINTERSTORE",
    "SUNIONSTORE",
    "TDIGEST.CREATE",
    "TDIGEST.MERGE",
    "TOPK.RESERVE",
    "TS.ADD",
    "TS.CREATE",
    "TS.DECRBY",
    "TS.INCRBY",
    "VADD",
    "XADD",
    "XGROUP CREATE",
    "XIDMPRECORD",
    "ZADD",
    "ZDIFFSTORE",
    "ZINCRBY",
    "ZINTERSTORE",
    "ZRANGESTORE",
    "ZUNIONSTORE",
];

/// Commands that create a key by what they take from the first one: `LMOVE`, and `SORT` with `STORE`.
const OTHERS: &[&str] = &[
    "BLMOVE",
    "BLMOVEM",
    "BRPOPLPUSH",
    "GEORADIUS",
    "GEORADIUSBYMEMBER",
    "LMOVE",
    "LMOVEM",
    "RPOPLPUSH",
    "SMOVE",
    "SORT",
];

/// The class of a command; `None`: it does not write, or tenants are not served it.
fn classified(name: &str) -> Option<Lifetime> {
    let is_in = |names: &[&str]| names.contains(&name);
    let stated = STATING.iter().find(|(stating, _)| *stating == name);
    match name {
        _ if stated.is_some() => stated.map(|(_, statement)| Lifetime::States(*statement)),
        "PERSIST" => Some(Lifetime::Persists),
        "COPY" | "MOVE" | "RENAME" | "RENAMENX" => Some(Lifetime::TakesAlong),
        "INCREX" => Some(Lifetime::MayState(Which::First)),
        "MSETEX" => Some(Lifetime::MayState(Which::All)),
        "MSET" | "MSETNX" | "JSON.MSET" => Some(Lifetime::Creates(Which::All)),
        _ if is_in(NEVER) => Some(Lifetime::Never),
        _ if is_in(FIRST) => Some(Lifetime::Creates(Which::First)),
        _ if is_in(OTHERS) => Some(Lifetime::Creates(Which::Others)),
        _ => None,
    }
}

static OF_ROWS: LazyLock<[Option<Lifetime>; COMMANDS]> =
    LazyLock::new(|| std::array::from_fn(|index| TABLE.get(index).and_then(|row| classified(row.name))));

/// What a command does to how long keys live; `None`: it does not write, or tenants are not served it.
pub fn of(spec: &'static CommandSpec) -> Option<Lifetime> {
    OF_ROWS.get(spec.index()).copied().flatten()
}

/// What is done about a request; `None`: nothing, it goes as it is.
pub fn amend(
    ttl: Ttl,
    spec: &'static CommandSpec,
    request: &Request<'_>,
    located: &Located,
) -> Result<Option<Amended>, ForEver> {
    if !spec.flags.contains(Flags::WRITE) {
        return Ok(None);
    }
    let Some(lifetime) = of(spec) else { return Ok(None) };
    let mut amended = Amended::default();
    match (lifetime, ttl.max) {
        (Lifetime::Never | Lifetime::TakesAlong, _) | (Lifetime::Persists, None) => {}
        (Lifetime::Persists, Some(max)) => return Err(ForEver { max }),
        (Lifetime::Creates(which), _) => amended.expire(which, located, default_of(ttl)),
        (Lifetime::MayState(which), _) => {
            amended.expire(which, located, default_of(ttl));
            amended.expire(which, located, max_of(ttl));
        }
        (Lifetime::States(statement), _) => state(&mut amended, statement, ttl, request, located)?,
    }
    Ok((amended.request.is_some() || !amended.beside.is_empty()).then_some(amended))
}

fn default_of(ttl: Ttl) -> Option<(u64, When)> {
    Some((ttl.default?, When::IfNone))
}

fn max_of(ttl: Ttl) -> Option<(u64, When)> {
    Some((ttl.max?, When::IfLonger))
}

impl Amended {
    fn expire(&mut self, which: Which, located: &Located, how: Option<(u64, When)>) {
        let Some((ttl, when)) = how else { return };
        let keys = located.keyed().filter(|mark| mark.kind == NameKind::Key).map(|mark| mark.arg);
        let beside = |arg| Beside { arg, ttl, when };
        match which {
            Which::First => self.beside.extend(keys.take(1).map(beside)),
            Which::Others => self.beside.extend(keys.skip(1).map(beside)),
            Which::All => self.beside.extend(keys.map(beside)),
        }
    }

    /// The request with other words in these places, and more behind it.
    fn reword(&mut self, request: &Request<'_>, words: &[(usize, &[u8])], more: &[&[u8]]) {
        let mut args: Vec<&[u8]> = request.args().collect();
        for (at, word) in words {
            if let Some(arg) = args.get_mut(*at) {
                *arg = word;
            }
        }
        args.extend_from_slice(more);
        self.request = OwnedRequest::from_args(&args);
    }
}

fn state(
    amended: &mut Amended,
    statement: Statement,
    ttl: Ttl,
    request: &Request<'_>,
    located: &Located,
) -> Result<(), ForEver> {
    match statement {
        Statement::Set => set(amended, ttl, request, located),
        Statement::GetEx => return getex(amended, ttl, request, located),
        Statement::Absolute => amended.expire(Which::First, located, max_of(ttl)),
        Statement::Seconds(in_milliseconds) => {
            if let Some(max) = ttl.max.filter(|max| exceeds(request.arg(2), SECOND, *max)) {
                let max = max.to_string();
                amended.reword(request, &[(0, in_milliseconds.as_bytes()), (2, max.as_bytes())], &[]);
            }
        }
        Statement::Milliseconds => {
            if let Some(max) = ttl.max.filter(|max| exceeds(request.arg(2), 1, *max)) {
                amended.reword(request, &[(2, max.to_string().as_bytes())], &[]);
            }
        }
        Statement::Restore => restore(amended, ttl, request, located),
    }
    Ok(())
}

const SECOND: i64 = 1000;

/// Whether a number of so many milliseconds each is more than `max` of them. What is no number, or too large to be
/// one, is the server's to refuse.
fn exceeds(number: Option<&[u8]>, unit: i64, max: u64) -> bool {
    let stated = number.and_then(strict_integer).and_then(|number| number.checked_mul(unit));
    stated.and_then(|stated| u64::try_from(stated).ok()).is_some_and(|stated| stated > max)
}

/// What the options of `SET` and `GETEX` say about how long the key lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    /// Nothing.
    Nothing,
    /// This operand of `EX` (1000 ms) or `PX` (1 ms).
    Relative { operand: usize, unit: i64 },
    /// A point in time.
    Absolute,
    /// `KEEPTTL`.
    Keeps,
    /// `PERSIST`.
    Persists,
    /// Something that the server refuses.
    Nonsense,
}

/// Reads options from `first` on, as the server does: operands are consumed before the next option is looked for.
fn said(request: &Request<'_>, first: usize) -> Said {
    let mut said = Said::Nothing;
    let mut at = first;
    while let Some(word) = request.arg(at) {
        let is = |option: &str| word.eq_ignore_ascii_case(option.as_bytes());
        let is_any = |options: &[&str]| options.iter().any(|option| is(option));
        let operand = at.saturating_add(1);
        let mut width = 1;
        if is("EX") || is("PX") {
            said = Said::Relative { operand, unit: if is("EX") { SECOND } else { 1 } };
            width = 2;
        } else if is("EXAT") || is("PXAT") {
            said = Said::Absolute;
            width = 2;
        } else if is("KEEPTTL") {
            said = Said::Keeps;
        } else if is("PERSIST") {
            said = Said::Persists;
        } else if is_any(&["IFEQ", "IFNE", "IFDEQ", "IFDNE"]) {
            width = 2;
        } else if !is_any(&["NX", "XX", "GET"]) {
            return Said::Nonsense;
        }
        at = at.saturating_add(width);
        if at > request.argc() {
            return Said::Nonsense;
        }
    }
    said
}

fn set(amended: &mut Amended, ttl: Ttl, request: &Request<'_>, located: &Located) {
    match said(request, 3) {
        Said::Nothing => {
            if let Some(default) = ttl.default {
                amended.reword(request, &[], &[b"PX", default.to_string().as_bytes()]);
            }
        }
        Said::Relative { operand, unit } => clamp_option(amended, ttl, request, (operand, unit)),
        Said::Absolute => amended.expire(Which::First, located, max_of(ttl)),
        // The key may be a new one.
        Said::Keeps => amended.expire(Which::First, located, default_of(ttl)),
        Said::Persists | Said::Nonsense => {}
    }
}

fn getex(amended: &mut Amended, ttl: Ttl, request: &Request<'_>, located: &Located) -> Result<(), ForEver> {
    match said(request, 2) {
        Said::Nothing | Said::Keeps | Said::Nonsense => {}
        Said::Relative { operand, unit } => clamp_option(amended, ttl, request, (operand, unit)),
        Said::Absolute => amended.expire(Which::First, located, max_of(ttl)),
        Said::Persists => return ttl.max.map_or(Ok(()), |max| Err(ForEver { max })),
    }
    Ok(())
}

fn clamp_option(amended: &mut Amended, ttl: Ttl, request: &Request<'_>, (operand, unit): (usize, i64)) {
    if let Some(max) = ttl.max.filter(|max| exceeds(request.arg(operand), unit, *max)) {
        let max = max.to_string();
        amended.reword(request, &[(operand.saturating_sub(1), b"PX"), (operand, max.as_bytes())], &[]);
    }
}

fn restore(amended: &mut Amended, ttl: Ttl, request: &Request<'_>, located: &Located) {
    let is_absolute = request.args().skip(4).any(|word| word.eq_ignore_ascii_case(b"ABSTTL"));
    let is_stated = request.arg(2) != Some(b"0");
    let instead = match (is_stated, ttl.max) {
        (false, _) if is_absolute => return amended.expire(Which::First, located, default_of(ttl)),
        (true, _) if is_absolute => return amended.expire(Which::First, located, max_of(ttl)),
        (false, _) => ttl.default,
        (true, max) => max.filter(|max| exceeds(request.arg(2), 1, *max)),
    };
    if let Some(instead) = instead {
        amended.reword(request, &[(2, instead.to_string().as_bytes())], &[]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{find, identify, locate};

    const DAY: Ttl = Ttl { default: Some(1000), max: None };
    const BOUNDED: Ttl = Ttl { default: Some(1000), max: Some(5000) };

    /// What is sent for `words`: the request and what goes beside it, as words.
    fn sent(ttl: Ttl, words: &str) -> Vec<String> {
        let args: Vec<&str> = words.split(' ').collect();
        let owned = OwnedRequest::from_args(&args).expect("words");
        let request = owned.as_request();
        let spec = identify(&request).expect("a row");
        let mut located = Located::new();
        locate(spec, &request, &mut located).expect("names");
        let amended = match amend(ttl, spec, &request, &located) {
            Ok(amended) => amended.unwrap_or_default(),
            Err(error) => return vec![error.to_string()],
        };
        let text = |request: &Request<'_>| {
            let words: Vec<String> =
                request.args().map(|word| String::from_utf8_lossy(word).into_owned()).collect();
            words.join(" ")
        };
        let first =
            amended.request.as_ref().map_or_else(|| text(&request), |owned| text(&owned.as_request()));
        let beside = amended.beside.iter().map(|Beside { arg, ttl, when }| {
            format!("PEXPIRE {} {ttl} {}", args[*arg as usize], when.word())
        });
        std::iter::once(first).chain(beside).collect()
    }

    #[test]
    fn a_key_that_is_created_without_a_time_to_live_gets_one() {
        for (words, expected) in [
            ("SET k v", vec!["SET k v PX 1000"]),
            ("set k v nx get", vec!["set k v nx get PX 1000"]),
            ("SET k v EX 9", vec!["SET k v EX 9"]),
            ("SET k v PXAT 9", vec!["SET k v PXAT 9"]),
            ("SET k v KEEPTTL", vec!["SET k v KEEPTTL", "PEXPIRE k 1000 NX"]),
            ("SET k v IFEQ EX", vec!["SET k v IFEQ EX PX 1000"]),
            ("SETNX k v", vec!["SETNX k v", "PEXPIRE k 1000 NX"]),
            ("SETEX k 9 v", vec!["SETEX k 9 v"]),
            ("GETSET k v", vec!["GETSET k v", "PEXPIRE k 1000 NX"]),
            ("MSET a 1 b 2", vec!["MSET a 1 b 2", "PEXPIRE a 1000 NX", "PEXPIRE b 1000 NX"]),
            ("LPUSH k v", vec!["LPUSH k v", "PEXPIRE k 1000 NX"]),
            ("LMOVE a b LEFT LEFT", vec!["LMOVE a b LEFT LEFT", "PEXPIRE b 1000 NX"]),
            ("BITOP NOT d a", vec!["BITOP NOT d a", "PEXPIRE d 1000 NX"]),
            ("SORT k BY w_* STORE d", vec!["SORT k BY w_* STORE d", "PEXPIRE d 1000 NX"]),
            ("SORT k", vec!["SORT k"]),
            ("SUNIONSTORE d a b", vec!["SUNIONSTORE d a b", "PEXPIRE d 1000 NX"]),
            ("XGROUP CREATE s g 0 MKSTREAM", vec!["XGROUP CREATE s g 0 MKSTREAM", "PEXPIRE s 1000 NX"]),
            ("RESTORE k 0 p", vec!["RESTORE k 1000 p"]),
            ("RESTORE k 9 p", vec!["RESTORE k 9 p"]),
            ("RESTORE k 0 p REPLACE absttl", vec!["RESTORE k 0 p REPLACE absttl", "PEXPIRE k 1000 NX"]),
            ("RENAME a b", vec!["RENAME a b"]),
            ("PERSIST k", vec!["PERSIST k"]),
            ("DEL k", vec!["DEL k"]),
            ("GET k", vec!["GET k"]),
            ("EXPIRE k 100000", vec!["EXPIRE k 100000"]),
        ] {
            assert_eq!(expected, sent(DAY, words), "{words}");
        }
    }

    #[test]
    fn no_key_gets_a_longer_time_to_live_than_it_may() {
        for (words, expected) in [
            ("SET k v EX 5", vec!["SET k v EX 5"]),
            ("SET k v EX 6 NX", vec!["SET k v PX 5000 NX"]),
            ("SET k v px 5001", vec!["SET k v PX 5000"]),
            ("SET k v EXAT 9", vec!["SET k v EXAT 9", "PEXPIRE k 5000 LT"]),
            ("SETEX k 6 v", vec!["PSETEX k 5000 v"]),
            ("PSETEX k 5000 v", vec!["PSETEX k 5000 v"]),
            ("PSETEX k 5001 v", vec!["PSETEX k 5000 v"]),
            ("EXPIRE k 6 GT", vec!["PEXPIRE k 5000 GT"]),
            ("EXPIRE k -1", vec!["EXPIRE k -1"]),
            ("PEXPIRE k 5001", vec!["PEXPIRE k 5000"]),
            ("EXPIREAT k 9", vec!["EXPIREAT k 9", "PEXPIRE k 5000 LT"]),
            ("PEXPIREAT k 9", vec!["PEXPIREAT k 9", "PEXPIRE k 5000 LT"]),
            ("GETEX k", vec!["GETEX k"]),
            ("GETEX k EX 6", vec!["GETEX k PX 5000"]),
            ("GETEX k PXAT 6", vec!["GETEX k PXAT 6", "PEXPIRE k 5000 LT"]),
            ("GETEX k PERSIST", vec!["ERR PERSIST is refused: keys live for at most 5000 ms (max_ttl)"]),
            ("PERSIST k", vec!["ERR PERSIST is refused: keys live for at most 5000 ms (max_ttl)"]),
            ("RESTORE k 5001 p", vec!["RESTORE k 5000 p"]),
            ("RESTORE k 5001 p ABSTTL", vec!["RESTORE k 5001 p ABSTTL", "PEXPIRE k 5000 LT"]),
            ("MSETEX 1 k v EX 9", vec!["MSETEX 1 k v EX 9", "PEXPIRE k 1000 NX", "PEXPIRE k 5000 LT"]),
        ] {
            assert_eq!(expected, sent(BOUNDED, words), "{words}");
        }
    }

    /// The server says what is wrong with it.
    #[test]
    fn what_the_server_refuses_is_sent_as_it_is() {
        for words in [
            "SET k v EX",
            "SET k v FOO",
            "SET k v EX 9223372036854775807",
            "SETEX k x v",
            "EXPIRE k 9223372036854775807",
            "GETEX k EX",
            "RESTORE k -1 p",
        ] {
            assert_eq!(vec![words.to_owned()], sent(BOUNDED, words));
        }
    }

    #[test]
    fn every_command_that_writes_and_is_served_has_one_class_and_no_other_has_one() {
        for row in &TABLE {
            let is_expected = row.flags.contains(Flags::WRITE) && row.service().is_served();
            let classes = [NEVER, FIRST, OTHERS].iter().filter(|names| names.contains(&row.name)).count()
                + STATING.iter().filter(|(name, _)| *name == row.name).count();
            assert_eq!(is_expected, of(row).is_some(), "{}", row.name);
            assert!(classes <= 1, "{}", row.name);
        }
        for name in [NEVER, FIRST, OTHERS].concat() {
            assert!(find(name).is_some(), "{name}");
        }
    }
}
