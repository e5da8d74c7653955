//! The one reply to a request that was cut per slot (`tenant::split`).
//!
//! The parts are answered by several nodes, in any order, and the client reads one reply: held here until the
//! last part has come. Whoever keeps a [`Gathering`] counts what it holds ([`Gathering::held_bytes`]) against
//! what its client may be owed.

use bytes::BytesMut;

use crate::command::Merge;
use crate::resp::Version;
use crate::resp::cursor::{Cursor, Value};
use crate::resp::reply::ReplyWriter;
use crate::resp::scan::strict_integer;
use crate::tenant::reply::Violation;

/// The replies to the parts of one request.
#[derive(Debug)]
pub struct Gathering {
    merge: Merge,
    parts: Vec<Part>,
    awaited: usize,
    held: usize,
}

#[derive(Debug)]
struct Part {
    /// Which names of the request it answers.
    positions: Vec<usize>,
    reply: Option<Box<[u8]>>,
}

impl Gathering {
    /// For parts that answer the names at these positions of the request, which each occur once.
    pub fn new(merge: Merge, parts: impl IntoIterator<Item = Vec<usize>>) -> Self {
        let parts: Vec<Part> = parts.into_iter().map(|positions| Part { positions, reply: None }).collect();
        Self { merge, awaited: parts.len(), parts, held: 0 }
    }

    /// How many names of the request the part `index` answers.
    pub fn names_of(&self, index: usize) -> usize {
        self.parts.get(index).map_or(0, |part| part.positions.len())
    }

    /// Bytes that wait for the other parts.
    pub fn held_bytes(&self) -> usize {
        self.held
    }

    /// The part `index` has been answered, as the client may see it. With the last one comes the reply: the
    /// first part's error, if any failed, else all of them as one.
    pub fn part_answered(&mut self, index: usize, reply: &[u8]) -> Option<Result<BytesMut, Violation>> {
        let part = self.parts.get_mut(index).filter(|part| part.reply.is_none())?;
        part.reply = Some(reply.into());
        self.held = self.held.saturating_add(reply.len());
        self.awaited = self.awaited.saturating_sub(1);
        if self.awaited > 0 {
            return None;
        }
        let parts = std::mem::take(&mut self.parts);
        self.held = 0;
        Some(merged(self.merge, &parts))
    }
}

fn merged(merge: Merge, parts: &[Part]) -> Result<BytesMut, Violation> {
    let replies = || parts.iter().filter_map(|part| part.reply.as_deref());
    if let Some(error) = replies().find(|reply| reply.starts_with(b"-")) {
        return Ok(BytesMut::from(error));
    }
    let mut out = BytesMut::new();
    match merge {
        Merge::Sum => {
            let sum = replies().map(integer).sum::<Option<i64>>().ok_or(Violation)?;
            ReplyWriter::new(&mut out, Version::Resp2).integer(sum);
        }
        Merge::AllOk if replies().all(|reply| reply == b"+OK\r\n") => {
            ReplyWriter::new(&mut out, Version::Resp2).simple("OK");
        }
        Merge::AllOk => return Err(Violation),
        Merge::Ordered { each } => {
            let elements = in_order(parts, each).ok_or(Violation)?;
            ReplyWriter::new(&mut out, Version::Resp2).array(elements.len().saturating_mul(each));
            for element in elements {
                out.extend_from_slice(element);
            }
        }
    }
    Ok(out)
}

/// The number that a reply is. A request has fewer names than would make the sum of such numbers overflow,
/// but they are the upstream's word.
fn integer(reply: &[u8]) -> Option<i64> {
    match Cursor::new(reply).next_value()? {
        Value::Line(b':', number) => strict_integer(number).filter(|number| u32::try_from(*number).is_ok()),
        Value::Line(..) | Value::Bulk(_) | Value::Array(_) | Value::Map(_) | Value::Null => None,
    }
}

/// What each name of the request is answered with: `each` elements, as they are.
fn in_order(parts: &[Part], each: usize) -> Option<Vec<&[u8]>> {
    let names = parts.iter().map(|part| part.positions.len()).sum();
    let mut in_order = vec![None; names];
    for part in parts {
        let reply = part.reply.as_deref()?;
        let mut cursor = Cursor::new(reply);
        if cursor.next_value()? != Value::Array(part.positions.len().checked_mul(each)?) {
            return None;
        }
        for position in &part.positions {
            let start = cursor.position();
            (0..each).try_for_each(|_| cursor.skip_value())?;
            *in_order.get_mut(*position)? = Some(reply.get(start..cursor.position())?);
        }
        if cursor.position() != reply.len() {
            return None;
        }
    }
    in_order.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Located, identify, locate};
    use crate::resp::{OwnedRequest, SendQueue};
    use crate::tenant::{OwnedScoped, UpstreamLimits, scope, split};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// What comes of these replies, which arrive in this order.
    fn gathered(
        merge: Merge,
        parts: &[&[usize]],
        replies: &[(usize, &str)],
    ) -> Option<Result<String, Violation>> {
        let mut gathering = Gathering::new(merge, parts.iter().map(|part| part.to_vec()));
        let (last, before) = replies.split_last().unwrap();
        for (index, reply) in before {
            assert_eq!(None, gathering.part_answered(*index, reply.as_bytes()));
        }
        let reply = gathering.part_answered(last.0, last.1.as_bytes())?;
        assert_eq!(0, gathering.held_bytes());
        Some(reply.map(|reply| String::from_utf8(reply.to_vec()).unwrap()))
    }

    fn merges(merge: Merge, parts: &[&[usize]], replies: &[(usize, &str)]) -> String {
        gathered(merge, parts, replies).expect("all have come").expect("no violation")
    }

    const ORDERED: Merge = Merge::Ordered { each: 1 };

    #[test]
    fn numbers_are_added_up_and_elements_put_back_in_order() {
        assert_eq!(":5\r\n", merges(Merge::Sum, &[&[0, 2], &[1]], &[(1, ":2\r\n"), (0, ":3\r\n")]));
        assert_eq!("+OK\r\n", merges(Merge::AllOk, &[&[0], &[1]], &[(0, "+OK\r\n"), (1, "+OK\r\n")]));
        assert_eq!(
            "*4\r\n$1\r\na\r\n$-1\r\n_\r\n*1\r\n:7\r\n",
            merges(
                ORDERED,
                &[&[0, 3], &[1], &[2]],
                &[(2, "*1\r\n_\r\n"), (0, "*2\r\n$1\r\na\r\n*1\r\n:7\r\n"), (1, "*1\r\n$-1\r\n"),]
            )
        );
        assert_eq!(
            "*4\r\n$1\r\na\r\n:1\r\n$1\r\nb\r\n:2\r\n",
            merges(
                Merge::Ordered { each: 2 },
                &[&[1], &[0]],
                &[(0, "*2\r\n$1\r\nb\r\n:2\r\n"), (1, "*2\r\n$1\r\na\r\n:1\r\n"),]
            )
        );
    }

    #[test]
    fn of_several_errors_the_one_of_the_first_part_is_the_reply() {
        for merge in [Merge::Sum, Merge::AllOk, ORDERED] {
            let replies = [(2, "-OOM\r\n"), (1, "-ERR second\r\n"), (0, ":1\r\n")];
            assert_eq!("-ERR second\r\n", merges(merge, &[&[0], &[1], &[2]], &replies), "{merge:?}");
        }
    }

    #[test]
    fn a_reply_of_another_shape_is_a_violation() {
        for (merge, reply) in [
            (Merge::Sum, "+OK\r\n"),
            (Merge::Sum, ":x\r\n"),
            (Merge::Sum, ":-1\r\n"),
            (Merge::AllOk, ":1\r\n"),
            (Merge::AllOk, "+QUEUED\r\n"),
            (ORDERED, ":1\r\n"),
            (ORDERED, "_\r\n"),
            (ORDERED, "*0\r\n"),
            (ORDERED, "*2\r\n:1\r\n:2\r\n"),
            (ORDERED, "*1\r\n"),
            (ORDERED, "*1\r\n:1\r\n:2\r\n"),
        ] {
            assert_eq!(Some(Err(Violation)), gathered(merge, &[&[0]], &[(0, reply)]), "{merge:?} {reply}");
        }
    }

    #[test]
    fn bytes_are_held_until_the_last_part_and_no_part_counts_twice() {
        let mut gathering = Gathering::new(Merge::Sum, [vec![0], vec![1]]);
        assert_eq!(0, gathering.held_bytes());
        assert_eq!(None, gathering.part_answered(1, b":1\r\n"));
        assert_eq!(None, gathering.part_answered(1, b":1\r\n"));
        assert_eq!(None, gathering.part_answered(2, b":1\r\n"));
        assert_eq!(4, gathering.held_bytes());
        assert_eq!(Some(Ok(BytesMut::from(&b":3\r\n"[..]))), gathering.part_answered(0, b":2\r\n"));
        assert_eq!(None, gathering.part_answered(0, b":2\r\n"));
    }

    /// The commands that are cut, over a map.
    fn run(store: &mut BTreeMap<String, String>, request: &[u8]) -> String {
        let text = std::str::from_utf8(request).unwrap();
        let words: Vec<&str> = text.split("\r\n").skip(2).step_by(2).collect();
        let keys = &words[1..];
        match words[0] {
            "MSET" => {
                store.extend(keys.chunks(2).map(|pair| (pair[0].to_owned(), pair[1].to_owned())));
                "+OK\r\n".to_owned()
            }
            "MGET" => keys.iter().fold(format!("*{}\r\n", keys.len()), |reply, key| {
                let value = store.get(*key).map(|value| format!("${}\r\n{value}\r\n", value.len()));
                reply + value.as_deref().unwrap_or("$-1\r\n")
            }),
            "DEL" => format!(":{}\r\n", keys.iter().filter(|key| store.remove(**key).is_some()).count()),
            _ => format!(":{}\r\n", keys.iter().filter(|key| store.contains_key(**key)).count()),
        }
    }

    fn bytes_of(request: &OwnedScoped) -> Vec<u8> {
        let mut queue = SendQueue::default();
        request.as_scoped().queue(&mut queue);
        queue.into_bytes().to_vec()
    }

    /// Runs a request whole, and cut into parts that are answered from the last to the first. No part has a
    /// key of another, so the order in which they run is no matter.
    fn whole_and_cut(store: &mut BTreeMap<String, String>, words: &[String]) -> (String, String) {
        let owned = OwnedRequest::from_args(words).unwrap();
        let request = owned.as_request();
        let spec = identify(&request).unwrap();
        let mut located = Located::new();
        locate(spec, &request, &mut located).unwrap();
        let namespace = crate::tenant::example_namespace();
        let limits = UpstreamLimits { max_bulk: 1 << 20, max_request: 1 << 20 };
        let scoped = scope(spec, request, &located, &namespace, limits, None).unwrap();
        let parts = split(spec, &scoped, limits).unwrap();
        let mut beside = store.clone();
        let whole = run(store, &bytes_of(&scoped.into_owned()));
        let positions = parts.iter().map(|part| part.positions.clone());
        let mut gathering = Gathering::new(spec.splits().unwrap(), positions);
        let mut cut = None;
        for (index, part) in parts.iter().enumerate().rev() {
            let reply = run(&mut beside, &bytes_of(&part.request));
            cut = gathering.part_answered(index, reply.as_bytes());
        }
        assert_eq!(*store, beside);
        (whole, String::from_utf8(cut.unwrap().unwrap().to_vec()).unwrap())
    }

    proptest! {
        /// A request that was cut leaves the same keys behind and has the same reply.
        #[test]
        fn a_request_that_was_cut_does_what_the_whole_one_does(
            requests in prop::collection::vec(
                (prop::sample::select(vec!["MSET", "MGET", "DEL", "EXISTS"]),
                 prop::collection::vec("[abc]|\\{[ab]\\}[ab]", 1..8)), 1..8)
        ) {
            let mut store = BTreeMap::new();
            for (number, (command, keys)) in requests.into_iter().enumerate() {
                let value = |at: usize| (command == "MSET").then(|| format!("{number}.{at}"));
                let entries = keys.into_iter().enumerate();
                let mut words = vec![command.to_owned()];
                words.extend(entries.flat_map(|(at, key)| std::iter::once(key).chain(value(at))));
                let (whole, cut) = whole_and_cut(&mut store, &words);
                prop_assert_eq!(whole, cut);
            }
        }
    }
}
