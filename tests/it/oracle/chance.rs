//! What is not sent because two servers with the same data may answer it differently, or because it would
//! cost more memory or time than it tells. The state is asked from the direct server, so that only the draws
//! that really depend on chance are thrown away: `SPOP key 1000` of a set with three members is kept.

use super::coverage::{IN_SESSIONS, is_refused};
use super::script::name_of;
use crate::wire::{Client, Tree};

/// Whether this command is left out, given the data of the direct server.
pub(super) fn is_unfit(argv: &[Vec<u8>], direct: &mut Client) -> bool {
    is_left_out(argv) || depends_on_chance(argv, direct)
}

/// Whether [`depends_on_chance`] looks at what is stored: then the answer is about the moment it is asked for.
pub(super) fn depends_on_data(argv: &[Vec<u8>]) -> bool {
    const LOOKED_AT: [&[u8]; 15] = [
        b"SPOP",
        b"SRANDMEMBER",
        b"HRANDFIELD",
        b"ZRANDMEMBER",
        b"SORT",
        b"SORT_RO",
        b"SSCAN",
        b"ZSCAN",
        b"ZRANGEBYLEX",
        b"ZREVRANGEBYLEX",
        b"ZLEXCOUNT",
        b"ZREMRANGEBYLEX",
        b"ZRANGE",
        b"ZRANGESTORE",
        b"DUMP",
    ];
    LOOKED_AT.iter().any(|name| argv[0].eq_ignore_ascii_case(name))
}

/// Whether two servers with the same data may answer differently, or may take long.
pub(super) fn depends_on_chance(argv: &[Vec<u8>], direct: &mut Client) -> bool {
    let name = argv[0].to_ascii_uppercase();
    let key = argv.get(1).map_or(&b""[..], Vec::as_slice);
    match name.as_slice() {
        b"SET" | b"GETEX" | b"SETEX" | b"PSETEX" | b"EXPIRE" | b"PEXPIRE" | b"RESTORE" => {
            expires_soon(&name, argv)
        }
        b"SETRANGE" | b"SETBIT" | b"BITFIELD" => is_far_offset(argv),
        // No pattern matches this name in Redis 7.0, not even *; behind a prefix it is no empty name.
        b"SUBSCRIBE" | b"SSUBSCRIBE" => argv.iter().any(Vec::is_empty),
        b"XADD" => argv.iter().skip(2).any(|argument| argument == b"*"),
        b"XREAD" | b"XREADGROUP" => blocks(argv),
        b"XCLAIM" | b"XAUTOCLAIM" => argv.get(4).is_some_and(|idle| is_short_idle(idle)),
        b"XPENDING" => word_at(argv, 3) == b"IDLE" && argv.get(4).is_some_and(|idle| is_short_idle(idle)),
        b"SPOP" | b"SRANDMEMBER" => picks_at_random(argv, cardinality(direct, "SCARD", key)),
        b"HRANDFIELD" => picks_at_random(argv, cardinality(direct, "HLEN", key)),
        b"ZRANDMEMBER" => picks_at_random(argv, cardinality(direct, "ZCARD", key)),
        b"SORT" | b"SORT_RO" => {
            let has_table = is_hash_table(direct, key) || type_of(direct, key) == b"zset";
            has_table && (has_word(argv, b"BY") || has_member_with_nul(direct, key))
        }
        b"SSCAN" => is_hash_table(direct, key) && scans_in_pages(argv, cardinality(direct, "SCARD", key)),
        b"ZSCAN" | b"ZRANGEBYLEX" | b"ZREVRANGEBYLEX" | b"ZLEXCOUNT" | b"ZREMRANGEBYLEX" => {
            is_skip_list(direct, key)
        }
        b"ZRANGE" => has_word(argv, b"BYLEX") && is_skip_list(direct, key),
        b"ZRANGESTORE" => {
            has_word(argv, b"BYLEX") && argv.get(2).is_some_and(|key| is_skip_list(direct, key))
        }
        b"DUMP" => is_hash_table(direct, key) || type_of(direct, key) == b"stream",
        _ => false,
    }
}

/// SORT turns a sorted set into a skip list: its table has the order of a hash table, and what it answers for
/// a range of names when the scores differ depends on its random levels.
fn is_skip_list(direct: &mut Client, key: &[u8]) -> bool {
    direct.call(&[b"OBJECT".as_slice(), b"ENCODING", key]) == b"$8\r\nskiplist\r\n"
}

/// SORT ALPHA compares up to the first NUL: members that are the same so far stay in the order of the table.
fn has_member_with_nul(direct: &mut Client, key: &[u8]) -> bool {
    let members = match type_of(direct, key).as_slice() {
        b"set" => direct.call(&[b"SMEMBERS", key]),
        _ => direct.call(&[b"ZRANGE", key, b"0", b"-1"]),
    };
    members.contains(&0)
}

/// A mistake in one command may make another one of it: `CLIENT HELP` becomes `CLIENT LIST`.
fn is_left_out(argv: &[Vec<u8>]) -> bool {
    let name = name_of(argv);
    is_refused(&name) || IN_SESSIONS.contains(&name.as_str())
}

fn word_at(argv: &[Vec<u8>], index: usize) -> Vec<u8> {
    argv.get(index).map(|word| word.to_ascii_uppercase()).unwrap_or_default()
}

fn has_word(argv: &[Vec<u8>], word: &[u8]) -> bool {
    argv.iter().skip(1).any(|argument| argument.eq_ignore_ascii_case(word))
}

fn number(argument: &[u8]) -> Option<i64> {
    std::str::from_utf8(argument).ok()?.parse().ok()
}

/// A key that expires during the run would be there on one side and gone on the other.
fn expires_soon(name: &[u8], argv: &[Vec<u8>]) -> bool {
    const SOON: std::ops::Range<i64> = 1..90_000;
    let is_soon = |argument: &Vec<u8>| number(argument).is_some_and(|number| SOON.contains(&number));
    match name {
        b"SET" | b"GETEX" => argv.windows(2).any(|pair| {
            (pair[0].eq_ignore_ascii_case(b"EX") || pair[0].eq_ignore_ascii_case(b"PX")) && is_soon(&pair[1])
        }),
        _ => argv.get(2).is_some_and(is_soon),
    }
}

/// Half a gigabyte of zeros per command would test the memory of this machine.
fn is_far_offset(argv: &[Vec<u8>]) -> bool {
    argv.iter().skip(2).any(|argument| {
        let digits = argument.strip_prefix(b"#").unwrap_or(argument);
        number(digits).is_some_and(|offset| (10_000..=4_294_967_295).contains(&offset))
    })
}

/// Waiting for data is another test's business.
fn blocks(argv: &[Vec<u8>]) -> bool {
    let options = argv.iter().take_while(|argument| !argument.eq_ignore_ascii_case(b"STREAMS"));
    options.into_iter().any(|argument| argument.eq_ignore_ascii_case(b"BLOCK"))
}

/// Entries have been idle for as long as the run lasts: comparing that with a number is a race.
fn is_short_idle(argument: &[u8]) -> bool {
    number(argument).is_some_and(|idle| (1..10_000_000_000).contains(&idle))
}

fn picks_at_random(argv: &[Vec<u8>], members: i64) -> bool {
    match argv.get(2) {
        None => members > 1,
        Some(argument) => match number(argument) {
            // A negative count repeats members: a huge one fills the memory even if there is only one.
            Some(count) if count < 0 => members > 1 || (members == 1 && count < -100),
            Some(count) => count > 0 && count < members,
            None => false,
        },
    }
}

/// A set of strings is a hash table on Redis 7.0, and the order of its buckets depends on a seed that every
/// process draws at start.
fn is_hash_table(direct: &mut Client, key: &[u8]) -> bool {
    let encoding = direct.call(&[b"OBJECT".as_slice(), b"ENCODING", key]);
    encoding == b"$9\r\nhashtable\r\n" && type_of(direct, key) == b"set"
}

/// One page of a few buckets has other members on each server; a page that takes all has the same.
fn scans_in_pages(argv: &[Vec<u8>], members: i64) -> bool {
    /// COUNT of a scan that does not say.
    const DEFAULT_COUNT: i64 = 10;
    let from_the_middle = argv.get(2).is_some_and(|cursor| cursor != b"0" && number(cursor).is_some());
    let takes_all = argv.last().is_some_and(|count| number(count).is_some_and(|count| count > members));
    from_the_middle || (members >= DEFAULT_COUNT && !takes_all) || has_small_count(argv, members)
}

fn has_small_count(argv: &[Vec<u8>], members: i64) -> bool {
    argv.windows(2).any(|pair| {
        pair[0].eq_ignore_ascii_case(b"COUNT")
            && number(&pair[1]).is_some_and(|count| (1..=members).contains(&count))
    })
}

fn cardinality(direct: &mut Client, command: &str, key: &[u8]) -> i64 {
    let reply = direct.call(&[command.as_bytes(), key]);
    if reply.starts_with(b":") { number(Tree::of(&reply).payload()).unwrap_or(0) } else { 0 }
}

fn type_of(direct: &mut Client, key: &[u8]) -> Vec<u8> {
    Tree::of(&direct.call(&[b"TYPE".as_slice(), key])).payload().to_vec()
}
