//! What Redis replies to a command that only reads when there is no such key.
//!
//! A tenant may prefer that to an error while its upstream is not there (`on_unavailable = "nil"`). The reply depends
//! on the command, on its arguments and on the protocol version, so it is worked out when the request is sent and kept
//! with it, as eight bytes. Commands that are not listed here have no such reply: `docs/commands.md` says why, and
//! `tests/beside_redis/absent.rs` compares those that have one with what a server replies.

use bytes::BytesMut;

use super::spec::CommandSpec;
use super::table::{COMMANDS, TABLE};
use crate::resp::reply::ReplyWriter;
use crate::resp::{Request, Version};

/// The reply to one request about keys that are not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Absent {
    shape: Shape,
    version: Version,
    /// Elements, if it is a list of equal ones.
    count: u32,
}

/// What a reply looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Null,
    NullArray,
    Integer(i8),
    EmptyText,
    EmptyArray,
    EmptySet,
    EmptyMap,
    /// `+none`: the type of no key.
    NoType,
    /// Of `LCS … IDX`.
    NoMatches,
    /// An array of so many.
    Each(Element),
}

/// What a list of equal elements is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Element {
    Null,
    NullArray,
    Zero,
}

/// How the arguments of a command decide about its reply.
#[derive(Clone, Copy, Debug)]
enum Rule {
    /// Not at all.
    Always(Shape),
    /// There is an element for each from this position on.
    Each(Element, usize),
    /// It is an array if there is a third: how many elements are wanted.
    ArrayIfCounted,
    /// `BITFIELD_RO`: a number for each `GET type offset`.
    BitField,
    /// `BITPOS`: no key is bits of 0 without end.
    BitPosition,
    /// `LCS`: text, a length or positions.
    LongestCommon,
    /// `LPOS`: an array with the option `COUNT`.
    ListPosition,
    /// `ZRANK` and `ZREVRANK`, without options.
    Rank,
    /// `XREAD`, if it does not block.
    StreamRead,
}

const ZERO: Shape = Shape::Integer(0);
const NO_TTL: Shape = Shape::Integer(-2);

const BY_NAME: &[(Rule, &[&str])] = &[
    (
        Rule::Always(Shape::Null),
        &[
            "DUMP",
            "GEODIST",
            "GET",
            "HGET",
            "LINDEX",
            "MEMORY USAGE",
            "OBJECT ENCODING",
            "OBJECT FREQ",
            "OBJECT IDLETIME",
            "OBJECT REFCOUNT",
            "ZSCORE",
        ],
    ),
    (
        Rule::Always(ZERO),
        &[
            "BITCOUNT",
            "EXISTS",
            "GETBIT",
            "HEXISTS",
            "HLEN",
            "HSTRLEN",
            "LLEN",
            "PFCOUNT",
            "SCARD",
            "SINTERCARD",
            "SISMEMBER",
            "STRLEN",
            "TOUCH",
            "XLEN",
            "ZCARD",
            "ZCOUNT",
            "ZINTERCARD",
            "ZLEXCOUNT",
        ],
    ),
    (Rule::Always(NO_TTL), &["EXPIRETIME", "PEXPIRETIME", "PTTL", "TTL"]),
    (Rule::Always(Shape::NoType), &["TYPE"]),
    (Rule::Always(Shape::EmptyText), &["GETRANGE", "SUBSTR"]),
    (
        Rule::Always(Shape::EmptyArray),
        &[
            "GEORADIUSBYMEMBER_RO",
            "GEORADIUS_RO",
            "GEOSEARCH",
            "HKEYS",
            "HVALS",
            "LRANGE",
            "SORT_RO",
            "XRANGE",
            "XREVRANGE",
            "ZDIFF",
            "ZINTER",
            "ZRANGE",
            "ZRANGEBYLEX",
            "ZRANGEBYSCORE",
            "ZREVRANGE",
            "ZREVRANGEBYLEX",
            "ZREVRANGEBYSCORE",
            "ZUNION",
        ],
    ),
    (Rule::Always(Shape::EmptyMap), &["HGETALL"]),
    (Rule::Always(Shape::EmptySet), &["SDIFF", "SINTER", "SMEMBERS", "SUNION"]),
    (Rule::Each(Element::Null, 1), &["MGET"]),
    (Rule::Each(Element::Null, 2), &["GEOHASH", "HMGET", "ZMSCORE"]),
    (Rule::Each(Element::NullArray, 2), &["GEOPOS"]),
    (Rule::Each(Element::Zero, 2), &["SMISMEMBER"]),
    (Rule::ArrayIfCounted, &["HRANDFIELD", "SRANDMEMBER", "ZRANDMEMBER"]),
    (Rule::BitField, &["BITFIELD_RO"]),
    (Rule::BitPosition, &["BITPOS"]),
    (Rule::LongestCommon, &["LCS"]),
    (Rule::ListPosition, &["LPOS"]),
    (Rule::Rank, &["ZRANK", "ZREVRANK"]),
    (Rule::StreamRead, &["XREAD"]),
];

/// The rule of each row of the table; worked out by the compiler.
static RULES: [Option<Rule>; COMMANDS] = {
    let mut rules = [None; COMMANDS];
    let mut at = 0;
    while at < COMMANDS {
        rules[at] = rule_of(TABLE[at].name);
        at += 1;
    }
    rules
};

const fn rule_of(name: &str) -> Option<Rule> {
    let mut at = 0;
    while at < BY_NAME.len() {
        let (rule, names) = BY_NAME[at];
        if contains(names, name) {
            return Some(rule);
        }
        at += 1;
    }
    None
}

/// Each kind of reply in words, and the commands that have it.
pub(super) fn documented() -> impl Iterator<Item = (String, &'static [&'static str])> {
    BY_NAME.iter().map(|(rule, names)| (rule.in_words(), *names))
}

impl Absent {
    /// What `request` is answered in `version` where none of its keys is there. `None`: an error, or nothing that can
    /// be told from the request.
    pub fn of(spec: &'static CommandSpec, request: &Request<'_>, version: Version) -> Option<Self> {
        let rule = RULES.get(spec.index()).copied().flatten()?;
        let (shape, count) = rule.shape(request)?;
        Some(Self { shape, version, count: u32::try_from(count).ok()? })
    }

    /// Of a part of the request, which has so many of its names.
    #[must_use]
    pub fn of_part(self, names: usize) -> Self {
        Self { count: u32::try_from(names).unwrap_or(u32::MAX), ..self }
    }

    /// Appends it to `out`.
    pub fn write(self, out: &mut BytesMut) {
        let mut reply = ReplyWriter::new(out, self.version);
        match self.shape {
            Shape::Null => reply.null(),
            Shape::NullArray => reply.null_array(),
            Shape::Integer(number) => reply.integer(i64::from(number)),
            Shape::EmptyText => reply.bulk(b""),
            Shape::EmptyArray => reply.array(0),
            Shape::EmptySet => reply.set(0),
            Shape::EmptyMap => reply.map(0),
            Shape::NoType => reply.simple("none"),
            Shape::NoMatches => {
                reply.map(2);
                reply.bulk(b"matches");
                reply.array(0);
                reply.bulk(b"len");
                reply.integer(0);
            }
            Shape::Each(element) => {
                reply.array(self.count as usize);
                (0..self.count).for_each(|_| match element {
                    Element::Null => reply.null(),
                    Element::NullArray => reply.null_array(),
                    Element::Zero => reply.integer(0),
                });
            }
        }
    }
}

impl Shape {
    fn in_words(self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::NullArray => "null (in RESP2 a null array)".to_owned(),
            Self::Integer(number) => format!("`{number}`"),
            Self::EmptyText => "an empty string".to_owned(),
            Self::EmptyArray => "an empty array".to_owned(),
            Self::EmptySet => "an empty set (in RESP2 an array)".to_owned(),
            Self::EmptyMap => "an empty map (in RESP2 an array)".to_owned(),
            Self::NoType => "`none`".to_owned(),
            Self::NoMatches => "no matches".to_owned(),
            Self::Each(element) => {
                let each = match element {
                    Element::Null => Self::Null,
                    Element::NullArray => Self::NullArray,
                    Element::Zero => ZERO,
                };
                format!("an array with {}", each.in_words())
            }
        }
    }
}

impl Rule {
    /// The reply, for `docs/commands.md`.
    fn in_words(self) -> String {
        match self {
            Self::Always(shape) => shape.in_words(),
            Self::Each(element, _) => format!("{} for each name", Shape::Each(element).in_words()),
            Self::ArrayIfCounted => "null; an empty array if a count is given".to_owned(),
            Self::BitField => "an array with `0` for each `GET`".to_owned(),
            Self::BitPosition => "`0` for bit 0, `-1` for bit 1".to_owned(),
            Self::LongestCommon => "an empty string; `0` with `LEN`, no matches with `IDX`".to_owned(),
            Self::ListPosition => "null; an empty array with `COUNT`".to_owned(),
            Self::Rank => "null; an error with `WITHSCORE`".to_owned(),
            Self::StreamRead => format!("{}; an error with `BLOCK`", Shape::NullArray.in_words()),
        }
    }

    /// The reply to `request`, and how many elements it has if it is a list.
    fn shape(self, request: &Request<'_>) -> Option<(Shape, usize)> {
        let argc = request.argc();
        let shape = match self {
            Self::Always(shape) => shape,
            Self::Each(element, from) => return Some((Shape::Each(element), argc.saturating_sub(from))),
            Self::BitField => return Some((Shape::Each(Element::Zero), bit_fields(request)?)),
            Self::BitPosition => match request.arg(2)? {
                b"0" => ZERO,
                b"1" => Shape::Integer(-1),
                _ => return None,
            },
            Self::LongestCommon => longest_common(request)?,
            Self::ArrayIfCounted => one_or_several(argc > 2),
            Self::ListPosition => one_or_several(has_word(request, 3, "COUNT")),
            Self::Rank => (argc == 3).then_some(Shape::Null)?,
            Self::StreamRead => (!may_block(request)).then_some(Shape::NullArray)?,
        };
        Some((shape, 0))
    }
}

/// Nothing, where there may be one or so many.
fn one_or_several(is_counted: bool) -> Shape {
    if is_counted { Shape::EmptyArray } else { Shape::Null }
}

/// How many fields `BITFIELD_RO` gets; `None`: it does something else.
fn bit_fields(request: &Request<'_>) -> Option<usize> {
    let fields = request.argc().saturating_sub(2);
    let gets = request.args().skip(2).step_by(3).all(|word| word.eq_ignore_ascii_case(b"GET"));
    (gets && fields.is_multiple_of(3)).then_some(fields / 3)
}

/// What `LCS` is asked for; `None`: for two things at once.
fn longest_common(request: &Request<'_>) -> Option<Shape> {
    match (has_word(request, 3, "LEN"), has_word(request, 3, "IDX")) {
        (false, false) => Some(Shape::EmptyText),
        (true, false) => Some(ZERO),
        (false, true) => Some(Shape::NoMatches),
        (true, true) => None,
    }
}

/// Whether `XREAD` has `BLOCK` among the words that come before its keys.
fn may_block(request: &Request<'_>) -> bool {
    let mut options = request.args().skip(1).take_while(|word| !word.eq_ignore_ascii_case(b"STREAMS"));
    options.any(|word| word.eq_ignore_ascii_case(b"BLOCK"))
}

/// Whether one of the words from `first` on is `word`. The options that are looked for have numbers as operands.
fn has_word(request: &Request<'_>, first: usize, word: &str) -> bool {
    request.args().skip(first).any(|arg| arg.eq_ignore_ascii_case(word.as_bytes()))
}

const fn contains(names: &[&str], name: &str) -> bool {
    let mut at = 0;
    while at < names.len() {
        if is_same(names[at].as_bytes(), name.as_bytes()) {
            return true;
        }
        at += 1;
    }
    false
}

/// `==`, callable by the compiler.
const fn is_same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut at = 0;
    while at < a.len() {
        if a[at] != b[at] {
            return false;
        }
        at += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{find, identify};
    use crate::resp::OwnedRequest;

    fn reply(words: &str, version: Version) -> Option<String> {
        let words: Vec<&str> = words.split(' ').collect();
        let request = OwnedRequest::from_args(&words).expect("words");
        let spec = identify(&request.as_request()).expect("known");
        let mut out = BytesMut::new();
        Absent::of(spec, &request.as_request(), version)?.write(&mut out);
        Some(String::from_utf8(out.to_vec()).expect("ASCII").replace("\r\n", " "))
    }

    #[test]
    fn a_reply_is_that_of_its_command_its_arguments_and_its_version() {
        for (words, old, new) in [
            ("GET k", "$-1 ", "_ "),
            ("HGETALL k", "*0 ", "%0 "),
            ("SMEMBERS k", "*0 ", "~0 "),
            ("MGET a b", "*2 $-1 $-1 ", "*2 _ _ "),
            ("GEOPOS k a", "*1 *-1 ", "*1 _ "),
            ("TTL k", ":-2 ", ":-2 "),
            ("LPOS k a RANK 1", "$-1 ", "_ "),
            ("LPOS k a RANK 1 count 0", "*0 ", "*0 "),
            ("BITFIELD_RO k GET u8 0 get u8 8", "*2 :0 :0 ", "*2 :0 :0 "),
            ("XREAD COUNT 1 STREAMS BLOCK 0", "*-1 ", "_ "),
        ] {
            assert_eq!(Some(old), reply(words, Version::Resp2).as_deref(), "{words}");
            assert_eq!(Some(new), reply(words, Version::Resp3).as_deref(), "{words}");
        }
    }

    #[test]
    fn what_cannot_be_told_has_no_reply() {
        for words in [
            "SET k v",
            "SCAN 0",
            "HSCAN k 0",
            "XINFO STREAM k",
            "XREAD BLOCK 0 STREAMS k 0",
            "LCS a b LEN IDX",
            "BITPOS k 2",
            "BITFIELD_RO k SET u8 0 1",
            "BITFIELD_RO k GET u8",
        ] {
            assert_eq!(None, reply(words, Version::Resp2), "{words}");
        }
    }

    #[test]
    fn a_part_of_a_request_has_as_many_elements_as_names() {
        let request = OwnedRequest::from_args(&["MGET", "a", "b", "c"]).expect("words");
        let absent = Absent::of(find("MGET").expect("a row"), &request.as_request(), Version::Resp2);
        let mut out = BytesMut::new();
        absent.expect("a reply").of_part(1).write(&mut out);
        assert_eq!(b"*1\r\n$-1\r\n".as_slice(), &out);
    }

    #[test]
    fn every_command_named_here_is_in_the_table_and_only_reads() {
        for name in BY_NAME.iter().flat_map(|(_, names)| *names) {
            let row = find(name).unwrap_or_else(|| panic!("{name} is in the table"));
            assert!(row.flags.contains(crate::command::Flags::READONLY), "{name}");
        }
    }

    #[test]
    fn it_is_small_enough_to_travel_with_every_request() {
        assert_eq!(8, size_of::<Option<Absent>>());
    }
}
