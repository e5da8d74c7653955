//! Which arguments of a request are names.
//!
//! The promise: whatever argument **the server** would take for a key, channel or pattern is marked. Hence
//! the rules imitate the server's parsers to the letter, and where a request is malformed they mark too much
//! rather than too little: a marked word gets a prefix, no option or number begins with one, and so the
//! server refuses the request in its own words.

use smallvec::SmallVec;

use crate::resp::Request;

use super::identify::{Unidentified, identify};
use super::spec::{CommandSpec, Connection, NameKind, NameSpec, Operands, Opt};

/// An argument that is a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Its position; the command's name is 0.
    pub arg: u32,
    /// What it names.
    pub kind: NameKind,
}

/// The names of one request. Meant to be kept and filled again: [`locate`] clears it first, and a request
/// with few names allocates nothing.
#[derive(Clone, Debug)]
pub struct Located {
    /// The names, in ascending order of position, each position once.
    pub marks: SmallVec<[Mark; 12]>,
    /// The connection that this request needs: that of its command, made definite (`XREAD` with `BLOCK` is
    /// [`Connection::Blocking`]).
    pub connection: Connection,
    /// Marks from this position on are there for safety: the server takes none of them for a key, so they do not
    /// decide which node is asked.
    pub unkeyed_from: Option<u32>,
}

impl Located {
    /// No names yet.
    pub fn new() -> Self {
        Self { marks: SmallVec::new(), connection: Connection::None, unkeyed_from: None }
    }

    /// The positions of what the server takes for names, and so looks for in its slots.
    pub fn keyed(&self) -> impl Iterator<Item = &Mark> {
        let end = self.unkeyed_from.unwrap_or(u32::MAX);
        self.marks.iter().filter(move |mark| mark.arg < end)
    }

    /// What is marked from `arg` on is marked for safety only.
    fn unkeyed(&mut self, arg: usize) {
        self.unkeyed_from = self.unkeyed_from.or(u32::try_from(arg).ok());
    }

    fn mark(&mut self, arg: usize, kind: NameKind) {
        // Requests are shorter than 4 GiB and an argument takes several bytes, so positions fit.
        if let Ok(arg) = u32::try_from(arg) {
            self.marks.push(Mark { arg, kind });
        }
    }

    /// Marks every `step`-th of `args`. (`step_by` would divide first, which takes longer than one key does.)
    #[inline]
    fn mark_all(&mut self, args: std::ops::Range<usize>, step: u32, kind: NameKind) {
        let mut arg = args.start;
        while arg < args.end {
            self.mark(arg, kind);
            arg += step.max(1) as usize;
        }
    }
}

impl Default for Located {
    fn default() -> Self {
        Self::new()
    }
}

/// Why the names of a request cannot be located; it must not be forwarded then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unlocatable {
    /// The options end without the one that introduces the names.
    #[error("the options end without the one that introduces the names")]
    SyntaxError,
    /// They do, and one of them has an operand that is no number.
    #[error("the operand of an option is no number")]
    NotAnInteger,
    /// The command to be described is none that is served.
    #[error("the command to be described is none that is served")]
    NoCommand,
}

impl Unlocatable {
    /// The server's error for it, without the leading `-`.
    pub fn message(&self) -> &'static str {
        match self {
            Self::SyntaxError => "ERR syntax error",
            Self::NotAnInteger => "ERR value is not an integer or out of range",
            Self::NoCommand => "ERR Invalid command specified",
        }
    }
}

/// Marks the names of `request`, whose row is `spec`, in `located`. On an error `located` holds nothing of
/// use.
pub fn locate(
    spec: &'static CommandSpec,
    request: &Request<'_>,
    located: &mut Located,
) -> Result<(), Unlocatable> {
    located.marks.clear();
    located.unkeyed_from = None;
    located.connection =
        if spec.connection == Connection::BlockingIfBlock { Connection::Shared } else { spec.connection };
    for rule in spec.names {
        apply(rule, request, located)?;
    }
    Ok(())
}

#[inline]
fn apply(rule: &NameSpec, request: &Request<'_>, located: &mut Located) -> Result<(), Unlocatable> {
    match *rule {
        NameSpec::Range { kind, first, last, step, .. } => {
            let end = end_of(last, request.argc());
            located.mark_all(first as usize..end, step, kind);
        }
        NameSpec::NumKeys { count_at, step, zero, .. } => {
            counted_keys(request, located, count_at, step, zero);
        }
        NameSpec::Options { first, options } => {
            walk(request, located, first, options);
        }
        NameSpec::Streams { first, options } => {
            if walk(request, located, first, options) == Ended::WithOptions {
                return Err(without_streams(request, first, options));
            }
        }
        NameSpec::BlockWord { first } => {
            if request.args().skip(first as usize).any(|arg| arg.eq_ignore_ascii_case(b"BLOCK")) {
                located.connection = Connection::Blocking;
            }
        }
        NameSpec::Counted { word, kind, first } => counted_names(request, located, word, kind, first),
        NameSpec::Terms { first } => term_dictionaries(request, located, first),
        NameSpec::Nested { at } => nested(request, located, at),
        NameSpec::Described { at } => described(request, at)?,
        NameSpec::Debug => located.mark_all(2..request.argc(), 1, NameKind::Key),
    }
    Ok(())
}

/// One past the position `last`, which counts from the end when it is negative; never past the arguments.
fn end_of(last: i32, argc: usize) -> usize {
    let distance = last.unsigned_abs() as usize;
    if last < 0 { (argc + 1).saturating_sub(distance) } else { argc.min(distance + 1) }
}

/// [`NameSpec::NumKeys`].
fn counted_keys(request: &Request<'_>, located: &mut Located, count_at: u32, step: u32, zero: bool) {
    let first = count_at as usize + 1;
    let candidates = request.argc().saturating_sub(first);
    let span = request
        .arg(count_at as usize)
        .and_then(strict_integer)
        .filter(|&count| count > 0 || (zero && count == 0))
        .and_then(|count| usize::try_from(count).ok()?.checked_mul(step as usize))
        .filter(|&span| span <= candidates);
    if let Some(span) = span {
        located.mark_all(first..first + span, step, NameKind::Key);
    } else {
        located.unkeyed(first);
        located.mark_all(first..request.argc(), 1, NameKind::Key);
    }
}

/// How a walk over options ended.
#[derive(PartialEq, Eq)]
enum Ended {
    /// After the last option.
    WithOptions,
    /// With an option that takes all the rest, or with a word that the server will refuse.
    WithRest,
}

/// What the server says to options of which none introduces the streams: it stops at the first number that is
/// none, and only at the end misses the streams.
fn without_streams(request: &Request<'_>, first: u32, options: &[Opt]) -> Unlocatable {
    let mut at = first as usize;
    while let Some(word) = request.arg(at) {
        let option = options.iter().find(|option| word.eq_ignore_ascii_case(option.word.as_bytes()));
        at += match option.map(|option| option.operands) {
            Some(Operands::Plain(1)) if request.arg(at + 1).and_then(strict_integer).is_none() => {
                return Unlocatable::NotAnInteger;
            }
            Some(Operands::Plain(operands)) => 1 + operands as usize,
            Some(Operands::Block | Operands::Name(..) | Operands::GetPattern) => 2,
            Some(Operands::Rest(..) | Operands::Streams(_)) | None => 1,
        };
    }
    Unlocatable::SyntaxError
}

/// [`NameSpec::Options`].
fn walk(request: &Request<'_>, located: &mut Located, first: u32, options: &[Opt]) -> Ended {
    let mut at = first as usize;
    while let Some(word) = request.arg(at) {
        let option = options.iter().find(|option| word.eq_ignore_ascii_case(option.word.as_bytes()));
        let taken = option.and_then(|option| take(option.operands, request, located, at + 1));
        let Some(next) = taken else {
            located.unkeyed(at);
            located.mark_all(at..request.argc(), 1, NameKind::Key);
            return Ended::WithRest;
        };
        at = next;
        if option.is_some_and(|option| matches!(option.operands, Operands::Rest(..) | Operands::Streams(_))) {
            return Ended::WithRest;
        }
    }
    Ended::WithOptions
}

/// Marks what follows an option and returns the position after it, or `None` if it is not there.
fn take(operands: Operands, request: &Request<'_>, located: &mut Located, at: usize) -> Option<usize> {
    let argc = request.argc();
    match operands {
        Operands::Plain(count) => {
            let next = at + count as usize;
            (next <= argc).then_some(next)
        }
        Operands::Block => {
            request.arg(at)?;
            located.connection = Connection::Blocking;
            Some(at + 1)
        }
        Operands::Name(kind, _) => {
            request.arg(at)?;
            located.mark(at, kind);
            Some(at + 1)
        }
        Operands::GetPattern => {
            if request.arg(at)? != b"#" {
                located.mark(at, NameKind::SortPattern);
            }
            Some(at + 1)
        }
        Operands::Rest(kind, _) => {
            located.mark_all(at..argc, 1, kind);
            Some(argc)
        }
        Operands::Streams(_) => {
            request.arg(at)?;
            let rest = argc - at;
            let keys = if rest.is_multiple_of(2) { rest / 2 } else { rest };
            if keys == rest {
                located.unkeyed(at);
            }
            located.mark_all(at..at + keys, 1, NameKind::Key);
            Some(argc)
        }
    }
}

/// [`NameSpec::Counted`].
fn counted_names(request: &Request<'_>, located: &mut Located, word: &str, kind: NameKind, first: u32) {
    let mut at = first as usize;
    while let Some(arg) = request.arg(at) {
        at += 1;
        if !arg.eq_ignore_ascii_case(word.as_bytes()) {
            continue;
        }
        let left = request.argc().saturating_sub(at + 1);
        let count = request.arg(at).and_then(strict_integer).and_then(|count| usize::try_from(count).ok());
        let count = count.unwrap_or(left).min(left);
        located.mark_all(at + 1..at + 1 + count, 1, kind);
        at += 1 + count;
    }
}

/// [`NameSpec::Terms`].
fn term_dictionaries(request: &Request<'_>, located: &mut Located, first: u32) {
    let mut at = first as usize;
    while let Some(arg) = request.arg(at) {
        if arg.eq_ignore_ascii_case(b"TERMS") && request.arg(at + 2).is_some() {
            located.mark(at + 2, NameKind::Dictionary);
            at += 2;
        }
        at += 1;
    }
}

/// [`NameSpec::Nested`]: the names of the inner command. An inner command that is unknown, or has an inner
/// command itself, has no names (the server answers both with an error).
fn nested(request: &Request<'_>, located: &mut Located, at: u32) {
    let Some(spans) = request.spans().get(at as usize..).filter(|spans| !spans.is_empty()) else { return };
    let inner = Request::new(request.bytes(), spans);
    let Ok(spec) = identify(&inner) else { return };
    let connection = located.connection;
    let outer = located.marks.len();
    located.unkeyed(at as usize);
    for rule in spec.names.iter().filter(|rule| !matches!(rule, NameSpec::Nested { .. })) {
        if apply(rule, &inner, located).is_err() {
            break;
        }
    }
    for mark in located.marks.iter_mut().skip(outer) {
        mark.arg += at;
    }
    located.connection = connection;
}

/// [`NameSpec::Described`]. A name without arguments is left to the server: it has no keys, and how that is
/// said depends on the release.
fn described(request: &Request<'_>, at: u32) -> Result<(), Unlocatable> {
    let Some(spans) = request.spans().get(at as usize..).filter(|spans| spans.len() > 1) else {
        return Ok(());
    };
    match identify(&Request::new(request.bytes(), spans)) {
        // A wrong number of arguments is told in the server's words.
        Ok(spec) | Err(Unidentified::WrongArity { spec }) if spec.is_served() => Ok(()),
        Ok(_) | Err(_) => Err(Unlocatable::NoCommand),
    }
}

/// An integer as the server reads it: `-` is the only sign, no leading zeros, no blanks, 64 bits.
fn strict_integer(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let canonical = match digits {
        [b'0'] => digits.len() == text.len(),
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if !canonical {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::table::TABLE;
    use super::NameKind::{
        ChannelPattern, Database, Dictionary, Index, KeyPattern, KeyPrefix, ShardChannel, SortPattern,
    };
    use super::*;
    use crate::resp::OwnedRequest;

    /// Locates the names of a request whose words are separated by single blanks.
    fn located(line: &str) -> Result<Located, Unlocatable> {
        let request =
            OwnedRequest::from_args(&line.split(' ').collect::<Vec<_>>()).expect("a request has words");
        let spec = identify(&request.as_request()).unwrap_or_else(|error| panic!("{line}: {error}"));
        let mut located = Located::new();
        locate(spec, &request.as_request(), &mut located)?;
        Ok(located)
    }

    /// Asserts that the arguments at `keys`, and nothing else, are marked as keys.
    #[track_caller]
    fn assert_keys(line: &str, keys: &[u32]) {
        let located = located(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        let expected: Vec<Mark> = keys.iter().map(|&arg| Mark { arg, kind: NameKind::Key }).collect();
        assert_eq!(located.marks.to_vec(), expected, "{line}");
    }

    /// Asserts the marks as (position, kind).
    #[track_caller]
    fn assert_marks(line: &str, marks: &[(u32, NameKind)]) {
        let located = located(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        let expected: Vec<Mark> = marks.iter().map(|&(arg, kind)| Mark { arg, kind }).collect();
        assert_eq!(located.marks.to_vec(), expected, "{line}");
    }

    #[track_caller]
    fn connection(line: &str) -> Connection {
        located(line).unwrap_or_else(|error| panic!("{line}: {error}")).connection
    }

    #[test]
    fn ranges_of_keys() {
        assert_keys("PING", &[]);
        assert_keys("GET k", &[1]);
        assert_keys("set k v EX 5", &[1]);
        assert_keys("DEL a b c", &[1, 2, 3]);
        assert_keys("BLPOP a b 0", &[1, 2]);
        assert_keys("MSET a 1 b 2", &[1, 3]);
        assert_keys("BITOP AND d a b", &[2, 3, 4]);
        assert_keys("LCS a b LEN", &[1, 2]);
        assert_keys("OBJECT ENCODING k", &[2]);
        assert_keys("XGROUP CREATE s g $ MKSTREAM", &[2]);
        assert_keys("JSON.MGET a b c $.x", &[1, 2, 3]);
        assert_keys("TS.MADD a 1 2 b 3 4", &[1, 4]);
    }

    #[test]
    fn a_list_of_groups_that_is_cut_short_is_covered() {
        assert_keys("MSET a 1 b", &[1, 3]);
        assert_keys("JSON.MSET a $ 1 b $", &[1, 4]);
    }

    #[test]
    fn counted_keys_follow_their_count() {
        assert_keys("LMPOP 2 a b LEFT COUNT 5", &[2, 3]);
        assert_keys("ZUNIONSTORE d 2 a b WEIGHTS 1 2", &[1, 3, 4]);
        assert_keys("MSETEX 2 a 1 b 2 EX 5", &[2, 4]);
        assert_keys("CMS.MERGE d 2 a b WEIGHTS 1 2", &[1, 3, 4]);
        assert_keys("EVAL script 1 k arg", &[3]);
        assert_keys("EVAL script 0 arg arg", &[]);
    }

    #[test]
    fn a_count_that_the_server_refuses_marks_every_candidate() {
        for count in ["0", "-1", "3", "+1", "01", "1.0", "x", "", "9223372036854775808", "-0"] {
            assert_keys(&format!("ZDIFF {count} a b"), &[2, 3]);
        }
        assert_keys("ZDIFF 2 a b", &[2, 3]);
        assert_keys("ZUNIONSTORE d 0 a", &[1, 3]);
        assert_keys("EVAL script -1 k", &[3]);
        assert_keys("MSETEX 2 a 1 b", &[2, 3, 4]);
        assert_keys("MSETEX 9223372036854775807 a 1", &[2, 3]);
    }

    #[test]
    fn xread_marks_the_first_half_after_streams() {
        assert_keys("XREAD STREAMS a b 0 0", &[2, 3]);
        assert_keys("XREAD COUNT 2 streams STREAMS 0", &[4]);
        assert_keys("XREAD COUNT STREAMS STREAMS a 0", &[4]);
    }

    /// What a server does not take for a key does not have to be where the others are.
    #[test]
    fn names_that_are_marked_for_safety_do_not_decide_which_node_is_asked() {
        for (line, keys) in [
            ("ZUNIONSTORE d 2 a b", vec![1, 3, 4]),
            ("ZUNIONSTORE d 3 a b", vec![1]),
            ("LMPOP 0 a b", vec![]),
            ("XREAD STREAMS a b 0 0", vec![2, 3]),
            ("XREAD STREAMS a b 0", vec![]),
            ("SORT k STORE d", vec![1, 3]),
            ("SORT k STORE d NOSUCH a", vec![1, 3]),
            ("COMMAND GETKEYS RENAME a b", vec![]),
        ] {
            let located = located(line).unwrap_or_else(|error| panic!("{line}: {error}"));
            assert_eq!(keys, located.keyed().map(|mark| mark.arg).collect::<Vec<_>>(), "{line}");
        }
    }

    #[test]
    fn a_group_called_streams_is_no_option() {
        assert_keys("XREADGROUP GROUP g c STREAMS a >", &[5]);
        assert_keys("XREADGROUP COUNT 1 GROUP g STREAMS STREAMS k >", &[7]);
        assert_keys("XREADGROUP NOACK CLAIM 5 GROUP a b GROUP c d STREAMS k >", &[11]);
    }

    #[test]
    fn streams_without_as_many_ids_are_all_marked() {
        assert_keys("XREAD STREAMS a b 0", &[2, 3, 4]);
        assert_keys("XREADGROUP GROUP g c STREAMS a > b", &[5, 6, 7]);
    }

    #[test]
    fn an_unknown_option_and_all_after_it_are_marked() {
        assert_keys("XREAD FOO 1 STREAMS a 0", &[1, 2, 3, 4, 5]);
        assert_keys("XREAD COUNT 1 COUNT", &[3]);
        assert_keys("XREAD COUNT 1 STREAMS", &[3]);
        assert_keys("XREADGROUP GROUP g STREAMS a 0 >", &[4, 5, 6]);
        assert_keys("SORT_RO l STORE d", &[1, 2, 3]);
        assert_keys("GEORADIUS g 1 2 3 km COUNT 1 STORE", &[1, 8]);
    }

    #[test]
    fn xread_without_streams_is_a_syntax_error() {
        for line in ["XREAD COUNT 1 NOACK", "XREADGROUP GROUP g c COUNT 1 NOACK"] {
            let error = located(line).expect_err("nothing introduces the keys");
            assert_eq!(error.message(), "ERR syntax error");
        }
    }

    #[test]
    fn xread_blocks_only_with_the_option_block() {
        assert_eq!(connection("XREAD STREAMS block 0"), Connection::Shared);
        assert_eq!(connection("XREAD COUNT BLOCK STREAMS a 0"), Connection::Shared);
        assert_eq!(connection("XREAD block 0 STREAMS a $"), Connection::Blocking);
        assert_eq!(connection("XREADGROUP GROUP BLOCK BLOCK STREAMS a >"), Connection::Shared);
        assert_eq!(connection("TS.READ k BLOCK 5"), Connection::Blocking);
        assert_eq!(connection("TS.READ k 5"), Connection::Shared);
        assert_eq!(connection("BLPOP k 0"), Connection::Blocking);
        assert_eq!(connection("GET k"), Connection::Shared);
    }

    #[test]
    fn sort_consumes_operands_before_it_looks_for_options() {
        let key = NameKind::Key;
        assert_marks("SORT l BY STORE STORE d", &[(1, key), (3, SortPattern), (5, key)]);
        assert_marks(
            "SORT l BY w_* LIMIT GET BY GET # GET h_*->f ASC STORE x STORE d",
            &[(1, key), (3, SortPattern), (10, SortPattern), (13, key), (15, key)],
        );
        assert_marks("SORT l GET ## BY #", &[(1, key), (3, SortPattern), (5, SortPattern)]);
        assert_marks("SORT_RO l get #", &[(1, key)]);
    }

    #[test]
    fn every_destination_of_georadius_is_marked() {
        assert_keys("GEORADIUS g 1 2 300 km STORE a WITHDIST STOREDIST b store c", &[1, 7, 10, 12]);
        assert_keys("GEORADIUSBYMEMBER g STORE 1 km STORE a STORE b", &[1, 6, 8]);
        assert_keys("GEORADIUSBYMEMBER g m 1 km COUNT STORE ANY", &[1]);
        assert_keys("GEORADIUS_RO g 1 2 300 km STORE a", &[1]);
    }

    #[test]
    fn copy_marks_the_number_of_the_database() {
        let key = NameKind::Key;
        assert_marks("COPY a b", &[(1, key), (2, key)]);
        let both = [(1, key), (2, key), (4, Database), (7, Database)];
        assert_marks("COPY a b DB 1 REPLACE db 2", &both);
        assert_marks("COPY a b DB", &[(1, key), (2, key), (3, key)]);
        assert_marks("SWAPDB 0 1", &[(1, Database), (2, Database)]);
    }

    #[test]
    fn migrate_takes_one_key_or_a_list() {
        assert_keys("MIGRATE h 1 k 0 5", &[3]);
        assert_keys("MIGRATE h 1 k 0 5 COPY AUTH2 KEYS KEYS KEYS a b", &[3, 11, 12]);
    }

    #[test]
    fn patterns_and_prefixes() {
        assert_marks("KEYS a*", &[(1, KeyPattern)]);
        assert_marks("SCAN 0 MATCH a* COUNT 5 MATCH b*", &[(3, KeyPattern), (7, KeyPattern)]);
        assert_marks("SCAN 0 TYPE MATCH", &[]);
        assert_marks("CLIENT TRACKING ON PREFIX a PREFIX b BCAST", &[(4, KeyPrefix), (6, KeyPrefix)]);
        assert_marks("CLIENT TRACKING ON REDIRECT 5 NOLOOP", &[]);
    }

    #[test]
    fn channels() {
        assert_marks("SPUBLISH c m", &[(1, ShardChannel)]);
        assert_marks("PSUBSCRIBE a* b*", &[(1, ChannelPattern), (2, ChannelPattern)]);
        assert_marks("PUBSUB SHARDNUMSUB a b", &[(2, ShardChannel), (3, ShardChannel)]);
        assert_marks("PUBSUB CHANNELS", &[]);
        assert_marks("UNSUBSCRIBE", &[]);
    }

    #[test]
    fn names_of_the_search_module() {
        let key = NameKind::Key;
        assert_marks("FT.SUGADD s x 1", &[(1, key)]);
        assert_marks(
            "FT.CREATE i ON HASH PREFIX 2 a b SCHEMA x TEXT",
            &[(1, Index), (6, KeyPrefix), (7, KeyPrefix)],
        );
        assert_marks("FT.SEARCH i * INKEYS 1 a LIMIT 0 1", &[(1, Index), (5, key)]);
        assert_marks("FT.SEARCH i * INKEYS x a b", &[(1, Index), (5, key), (6, key)]);
        assert_marks(
            "FT.SPELLCHECK i q TERMS INCLUDE d TERMS EXCLUDE e",
            &[(1, Index), (5, Dictionary), (8, Dictionary)],
        );
        assert_marks("FT.MGET i a b", &[(1, Index), (2, key), (3, key)]);
    }

    #[test]
    fn an_inner_command_has_its_own_names() {
        assert_keys("ACL DRYRUN user MSET a 1 b 2", &[4, 6]);
        assert_keys("ACL DRYRUN user XREAD BLOCK 0 STREAMS s $", &[7]);
        assert_keys("ACL DRYRUN user SORT l STORE d", &[4, 6]);
        assert_keys("ACL DRYRUN user FOO bar", &[]);
        assert_keys("ACL DRYRUN user COMMAND GETKEYS GET k", &[]);
        assert_eq!(connection("ACL DRYRUN user XREAD BLOCK 0 STREAMS s $"), Connection::Shared);
    }

    #[test]
    fn a_command_that_is_only_described_keeps_its_names() {
        assert_keys("COMMAND GETKEYS MSET a 1 b 2", &[]);
        assert_keys("COMMAND GETKEYSANDFLAGS XREADGROUP COUNT 1 GROUP g STREAMS STREAMS k >", &[]);
        assert_keys("COMMAND GETKEYS GET too many", &[]);
        assert_keys("COMMAND GETKEYS PING", &[]);
        assert_eq!(connection("COMMAND GETKEYS XREAD BLOCK 0 STREAMS s $"), Connection::Shared);
    }

    #[test]
    fn a_command_that_is_not_served_is_not_described() {
        for line in [
            "COMMAND GETKEYS FOO k",
            "COMMAND GETKEYS DEBUG OBJECT k",
            "COMMAND GETKEYS CONFIG FOO",
            "COMMAND GETKEYSANDFLAGS ACL DRYRUN user GET k",
        ] {
            assert_eq!(located(line).map(drop), Err(Unlocatable::NoCommand), "{line}");
        }
    }

    #[test]
    fn debug_commands_mark_all_that_may_be_a_key() {
        assert_keys("DEBUG OBJECT k", &[2]);
        assert_keys("JSON.DEBUG MEMORY k $.a", &[2]);
        assert_keys("JSON.DEBUG FIELDS k $.a", &[2, 3]);
        assert_keys("JSON.DEBUG HELP", &[]);
    }

    #[test]
    fn integers_are_read_as_the_server_reads_them() {
        let accepted = [
            ("0", 0),
            ("7", 7),
            ("-7", -7),
            ("9223372036854775807", i64::MAX),
            ("-9223372036854775808", i64::MIN),
        ];
        for (text, number) in accepted {
            assert_eq!(strict_integer(text.as_bytes()), Some(number), "{text}");
        }
        for text in ["", "-", "-0", "+1", "01", "-01", " 1", "1 ", "1.0", "0x1", "9223372036854775808", "１"]
        {
            assert_eq!(strict_integer(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_kept_value_is_filled_anew() {
        let request = OwnedRequest::from_args(&["XREAD", "BLOCK", "0", "STREAMS", "a", "$"]).expect("words");
        let other = OwnedRequest::from_args(&["GET", "k"]).expect("words");
        let mut kept = Located::new();
        for request in [&request, &other] {
            let spec = identify(&request.as_request()).expect("known commands");
            locate(spec, &request.as_request(), &mut kept).expect("well formed");
        }
        assert_eq!(kept.marks.to_vec(), [Mark { arg: 1, kind: NameKind::Key }]);
        assert_eq!(kept.connection, Connection::Shared);
    }

    fn row() -> impl Strategy<Value = &'static CommandSpec> {
        (0..TABLE.len()).prop_map(|index| &TABLE[index])
    }

    /// Words among which every rule finds something to stumble over.
    fn word() -> impl Strategy<Value = Vec<u8>> {
        let words = [
            "STREAMS", "GROUP", "BLOCK", "STORE", "GET", "BY", "#", "KEYS", "MATCH", "PREFIX", "TERMS",
            "INKEYS", "DB", "COUNT",
        ];
        prop_oneof![
            prop::sample::select(words.to_vec()).prop_map(|word| word.as_bytes().to_vec()),
            row().prop_map(|row| row.name.as_bytes().to_vec()),
            (-3_i64..7).prop_map(|number| number.to_string().into_bytes()),
            Just(i64::MAX.to_string().into_bytes()),
            prop::collection::vec(any::<u8>(), 0..5),
        ]
    }

    proptest! {
        #[test]
        fn whatever_the_words_only_existing_arguments_are_marked_once_and_in_order(
            row in row(),
            rest in prop::collection::vec(word(), 0..14),
        ) {
            let mut args: Vec<Vec<u8>> = row.name.split(' ').map(|word| word.as_bytes().to_vec()).collect();
            args.extend(rest);
            let request = OwnedRequest::from_args(&args).expect("a request has words");
            let mut located = Located::new();
            // Rows are tried even when the arity is wrong: a server may be laxer than the table.
            let identified = identify(&request.as_request()).unwrap_or(row);
            for spec in [identified, row] {
                if locate(spec, &request.as_request(), &mut located).is_ok() {
                    let marks: Vec<usize> = located.marks.iter().map(|mark| mark.arg as usize).collect();
                    prop_assert!(marks.windows(2).all(|pair| pair[0] < pair[1]), "{marks:?}");
                    prop_assert!(marks.iter().all(|mark| (1..args.len()).contains(mark)), "{marks:?}");
                }
            }
        }

        #[test]
        fn any_bytes_are_identified_or_refused(
            args in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..6),
        ) {
            let request = OwnedRequest::from_args(&args).expect("a request has words");
            if let Ok(spec) = identify(&request.as_request()) {
                prop_assert!(spec.accepts(args.len()));
            }
        }
    }
}
