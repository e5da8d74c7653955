//! Cuts a request whose keys lie in several slots into one request for each slot.
//!
//! A plain client expects `MGET` to work on any keys, and a cluster answers it within one slot only (*Redis
//! cluster specification*, "Implemented subset"). What is lost is that the request is one moment: so it is
//! done for the few commands whose rows say that they may be cut ([`CommandSpec::splits`]), and a failure of
//! one part does not undo the others.
//!
//! Invariants: every name is in exactly one part, equal names are in the same part, and within a part the
//! order is the client's (`MSET a 1 a 2` leaves 2).

use std::collections::HashMap;

use bytes::{BufMut, Bytes, BytesMut};

use super::compression::{Stored, Storing, Tally};
use super::prefix::Prefix;
use super::scope::{CrossSlot, OwnedScoped, Scoped, Unscopable, UpstreamLimits};
use crate::command::slot::slot_of_parts;
use crate::command::{CommandSpec, NameSpec};
use crate::resp::Request;
use crate::resp::edit::{put_bulk, put_bulk_header};

/// The part of a request whose names lie in one slot.
#[derive(Clone, Debug)]
pub struct SplitPart {
    /// What is sent.
    pub request: OwnedScoped,
    /// Which of the client's names it has, in ascending order; the first name of the request is 0.
    pub positions: Vec<usize>,
}

/// Why a request is not cut. `Display` is the error reply without `-`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsplittable {
    /// Its command must not be, or the request stands in a transaction.
    #[error(transparent)]
    CrossSlot(#[from] CrossSlot),
    /// What all parts have in common (the path of `JSON.MGET`) is too long to be repeated so often.
    #[error(transparent)]
    TooLong(#[from] Unscopable),
}

/// One request for each slot in which `scoped`, a request of the command `spec`, has names; in the order in
/// which the slots appear in it.
///
/// A list that is cut short (`MSET a 1 b`) is refused by the server in its own words: only its end is sent.
pub fn split(
    spec: &'static CommandSpec,
    scoped: &Scoped<'_>,
    limits: UpstreamLimits,
) -> Result<Vec<SplitPart>, Unsplittable> {
    let received = scoped.as_received().filter(|_| spec.splits().is_some());
    let words = received.and_then(|(request, prefix)| Words::of(spec, request, prefix)).ok_or(CrossSlot)?;
    let parts = words.by_slot();
    let repeated = words.repeated_len().saturating_mul(parts.len());
    if repeated > limits.max_request {
        return Err(Unscopable::RequestTooLong { len: repeated, limit: limits.max_request }.into());
    }
    let mut storing = scoped.stores();
    let part = |(slot, positions): (u16, Vec<usize>)| SplitPart {
        request: scoped.part(words.written(&positions, &mut storing), slot),
        positions,
    };
    Ok(parts.into_iter().map(part).collect())
}

/// A request as its command reads it: `first` words (the command's name), then up to `end` entries of `step`
/// words that begin with a name each, then what is about all of them.
struct Words<'a> {
    args: Vec<&'a [u8]>,
    first: usize,
    end: usize,
    step: usize,
    prefix: &'a [u8],
}

impl<'a> Words<'a> {
    /// `None`: the names of this command do not stand in one list.
    fn of(spec: &'static CommandSpec, request: &Request<'a>, prefix: &'a Prefix) -> Option<Self> {
        let [NameSpec::Range { first, last, step, .. }] = *spec.names else { return None };
        let after = usize::try_from(last.checked_add(1)?.checked_neg()?).ok()?;
        Some(Self {
            args: request.args().collect(),
            first: first as usize,
            end: request.argc().checked_sub(after)?,
            step: usize::try_from(step).ok().filter(|step| *step > 0)?,
            prefix: prefix.as_bytes(),
        })
    }

    fn entries(&self) -> impl Iterator<Item = &[&'a [u8]]> {
        self.args.get(self.first..self.end).unwrap_or_default().chunks(self.step)
    }

    fn entry(&self, at: usize) -> &[&'a [u8]] {
        let start = self.first.saturating_add(at.saturating_mul(self.step));
        let end = start.saturating_add(self.step).min(self.end);
        self.args.get(start..end).unwrap_or_default()
    }

    /// The slots, each with the positions of its names.
    fn by_slot(&self) -> Vec<(u16, Vec<usize>)> {
        let (mut parts, mut part_of) = (Vec::<(u16, Vec<usize>)>::new(), HashMap::new());
        for (position, entry) in self.entries().enumerate() {
            let slot = slot_of_parts(self.prefix, entry.first().copied().unwrap_or_default());
            if entry.len() < self.step {
                return vec![(slot, vec![position])];
            }
            let part = *part_of.entry(slot).or_insert(parts.len());
            match parts.get_mut(part) {
                Some((_, positions)) => positions.push(position),
                None => parts.push((slot, vec![position])),
            }
        }
        parts
    }

    fn head(&self) -> &[&'a [u8]] {
        self.args.get(..self.first).unwrap_or_default()
    }

    fn tail(&self) -> &[&'a [u8]] {
        self.args.get(self.end..).unwrap_or_default()
    }

    /// Bytes of what each part has.
    fn repeated_len(&self) -> usize {
        self.head().iter().chain(self.tail()).map(|word| word.len()).sum()
    }

    /// The request with the names at `positions` only, and what of its values was compressed; of `storing` is said
    /// how values are stored, and which word of an entry is one.
    fn written(&self, positions: &[usize], storing: &mut Option<(Storing, usize)>) -> (Bytes, Tally) {
        let before = storing.as_ref().map(|(storing, _)| storing.tally()).unwrap_or_default();
        let entries = || positions.iter().map(|position| self.entry(*position));
        let words = entries().map(<[_]>::len).sum::<usize>();
        let words = words.saturating_add(self.head().len()).saturating_add(self.tail().len());
        let mut out = BytesMut::new();
        out.put_u8(b'*');
        out.extend_from_slice(itoa::Buffer::new().format(words).as_bytes());
        out.extend_from_slice(b"\r\n");
        for word in self.head() {
            put_bulk(&mut out, word);
        }
        for entry in entries() {
            let Some((name, rest)) = entry.split_first() else { continue };
            put_bulk_header(&mut out, self.prefix.len().saturating_add(name.len()));
            out.extend_from_slice(self.prefix);
            out.extend_from_slice(name);
            out.extend_from_slice(b"\r\n");
            for (at, word) in rest.iter().enumerate() {
                match storing {
                    Some((storing, after_key)) if at.saturating_add(1) == *after_key => {
                        put_stored(&mut out, storing.store(word), word);
                    }
                    Some(_) | None => put_bulk(&mut out, word),
                }
            }
        }
        for word in self.tail() {
            put_bulk(&mut out, word);
        }
        let after = storing.as_ref().map(|(storing, _)| storing.tally()).unwrap_or_default();
        (out.freeze(), after.since(before))
    }
}

/// Appends `value` as it is stored.
fn put_stored(out: &mut BytesMut, stored: Stored, value: &[u8]) {
    match stored {
        Stored::AsItCame => put_bulk(out, value),
        Stored::Behind(header) => put_bulk(out, &[&header, value].concat()),
        Stored::Framed(frame) => put_bulk(out, &frame),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Located, identify, locate};
    use crate::resp::{OwnedRequest, SendQueue};
    use crate::tenant::{Keyed, scope};
    use proptest::prelude::*;

    const LIMITS: UpstreamLimits = UpstreamLimits { max_bulk: 1000, max_request: 1000 };

    /// The parts of a request of the namespace `acme:`, each as words and positions.
    fn parts(words: &[&str]) -> Result<Vec<(String, Vec<usize>)>, Unsplittable> {
        let owned = OwnedRequest::from_args(words).unwrap();
        let request = owned.as_request();
        let spec = identify(&request).unwrap();
        let mut located = Located::new();
        locate(spec, &request, &mut located).unwrap();
        let namespace = crate::tenant::example_namespace();
        let scoped = scope(spec, request, &located, &namespace, LIMITS, None).unwrap();
        let parts = split(spec, &scoped, LIMITS)?;
        Ok(parts.into_iter().map(|part| (sent(&part.request), part.positions)).collect())
    }

    fn sent(request: &OwnedScoped) -> String {
        assert!(matches!(request.keyed(), Keyed::In(_)));
        let mut queue = SendQueue::default();
        request.as_scoped().queue(&mut queue);
        let text = String::from_utf8(queue.tail().to_vec()).unwrap();
        let words: Vec<&str> = text.split("\r\n").skip(2).step_by(2).collect();
        assert!(text.starts_with(&format!("*{}\r\n", words.len())));
        words.join(" ")
    }

    fn words(line: &str) -> Vec<&str> {
        line.split(' ').collect()
    }

    #[test]
    fn names_of_one_slot_go_together_in_the_order_of_the_request() {
        for (line, expected) in [
            (
                "MGET {1}a {2}a {1}b {1}a",
                vec![("MGET acme:{1}a acme:{1}b acme:{1}a", vec![0, 2, 3]), ("MGET acme:{2}a", vec![1])],
            ),
            (
                "mset {1}a 1 {2}a {3} {1}a 2",
                vec![("mset acme:{1}a 1 acme:{1}a 2", vec![0, 2]), ("mset acme:{2}a {3}", vec![1])],
            ),
            ("DEL {2}a {1}a", vec![("DEL acme:{2}a", vec![0]), ("DEL acme:{1}a", vec![1])]),
            ("UNLINK {1}a {1}b", vec![("UNLINK acme:{1}a acme:{1}b", vec![0, 1])]),
            (
                "EXISTS {1}a {1}a {2}",
                vec![("EXISTS acme:{1}a acme:{1}a", vec![0, 1]), ("EXISTS acme:{2}", vec![2])],
            ),
            ("TOUCH {1} {2}", vec![("TOUCH acme:{1}", vec![0]), ("TOUCH acme:{2}", vec![1])]),
            (
                "JSON.MGET {1} {2} {1}b $.{1}",
                vec![
                    ("JSON.MGET acme:{1} acme:{1}b $.{1}", vec![0, 2]),
                    ("JSON.MGET acme:{2} $.{1}", vec![1]),
                ],
            ),
            (
                "PUBSUB SHARDNUMSUB {1} {2}",
                vec![("PUBSUB SHARDNUMSUB acme:{1}", vec![0]), ("PUBSUB SHARDNUMSUB acme:{2}", vec![1])],
            ),
        ] {
            let expected: Vec<(String, Vec<usize>)> =
                expected.into_iter().map(|(line, positions)| (line.to_owned(), positions)).collect();
            assert_eq!(Ok(expected), parts(&words(line)), "{line}");
        }
    }

    #[test]
    fn what_must_be_done_at_once_is_not_cut() {
        for line in ["MSETNX {1} a {2} b", "RENAME {1} {2}", "SUNION {1} {2}", "MSETEX 2 {1} a {2} b"] {
            assert_eq!(Err(Unsplittable::CrossSlot(CrossSlot)), parts(&words(line)), "{line}");
        }
        assert_eq!(
            "CROSSSLOT Keys in request don't hash to the same slot",
            Unsplittable::CrossSlot(CrossSlot).to_string()
        );
    }

    /// The server says that there are too few arguments, and has set nothing.
    #[test]
    fn of_a_list_that_is_cut_short_only_the_end_is_sent() {
        assert_eq!(Ok(vec![("MSET acme:{2}".to_owned(), vec![1])]), parts(&words("MSET {1} a {2}")));
    }

    #[test]
    fn a_path_is_not_repeated_beyond_the_length_of_a_request() {
        let path = "p".repeat(300);
        let cut = |keys: &str| parts(&words(&format!("JSON.MGET {keys} {path}"))).map(|parts| parts.len());
        assert_eq!(Ok(3), cut("{1} {2} {3}"));
        assert_eq!(
            Err(Unsplittable::TooLong(Unscopable::RequestTooLong { len: 1236, limit: 1000 })),
            cut("{1} {2} {3} {4}")
        );
    }

    proptest! {
        /// Each name is in one part, the one of its slot, and the parts are in order.
        #[test]
        fn every_name_is_in_the_part_of_its_slot(names in prop::collection::vec("[{}ab]{0,3}", 1..20)) {
            let line: Vec<&str> = std::iter::once("DEL").chain(names.iter().map(String::as_str)).collect();
            let found = parts(&line).unwrap();
            let mut slots = Vec::new();
            for (request, positions) in &found {
                let physical = positions.iter().map(|at| format!("acme:{}", names[*at]));
                let physical: Vec<String> = physical.collect();
                prop_assert_eq!(&format!("DEL {}", physical.join(" ")), request);
                let mut of_part: Vec<u16> =
                    physical.iter().map(|name| crate::command::slot::slot(name.as_bytes())).collect();
                of_part.dedup();
                prop_assert_eq!(1, of_part.len());
                slots.extend(of_part);
                prop_assert!(positions.is_sorted());
            }
            prop_assert!(found.is_sorted_by_key(|(_, positions)| positions[0]));
            let mut all: Vec<usize> = found.into_iter().flat_map(|(_, positions)| positions).collect();
            all.sort_unstable();
            prop_assert_eq!((0..names.len()).collect::<Vec<usize>>(), all);
            let distinct: std::collections::BTreeSet<u16> = slots.iter().copied().collect();
            prop_assert_eq!(slots.len(), distinct.len());
        }
    }
}
