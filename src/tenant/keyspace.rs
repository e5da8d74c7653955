//! Requests of the proxy's own over a tenant's part of the keyspace: pages of `SCAN`, deletion of what they
//! found, and moves between a tenant's databases.
//!
//! Redis knows no part of a keyspace, so whatever is about all of a tenant's keys is a walk over everybody's,
//! with the tenant's prefix as the pattern. Names with a prefix exist in this module only. It hands out
//! [`Key`]s, which are made in one place, from a reply, after the prefix was seen; only they can be deleted.
//!
//! A walk covers one [`Territory`]: one database, or all databases that lie in the same upstream database.
//! The latter have prefixes with a common stem (`acme` of `acme:` and `acme@1:`), under which names of others
//! may lie as well (`acmeother:`). Those are passed over; a name without the stem, which the pattern asked
//! for, is a [`Violation`].

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::directory::{Binding, Namespace};
use super::prefix::Prefix;
use super::reply::Violation;
use super::scope::{Keyed, OwnedScoped, Unscopable, UpstreamLimits};
use crate::command::ReplyRule;
use crate::command::slot::{slot, slot_of_all};
use crate::resp::Request;
use crate::resp::cursor::{Cursor, Value};
use crate::resp::scan::strict_integer;

/// Longest list of names in one request that deletes, in bytes: a page of keys of usual length, but not a
/// page of keys of a megabyte each.
const MAX_UNLINKED_BYTES: usize = 1024 * 1024;

/// Most bytes that a request has before its arguments, its command included.
const COMMAND_BYTES: usize = 32;
/// Most bytes around an argument: its header and the line end behind it.
const ARGUMENT_BYTES: usize = 16;

/// What all these prefixes begin with.
pub(super) fn common_stem<'p>(mut prefixes: impl Iterator<Item = &'p Prefix>) -> &'p [u8] {
    let first = prefixes.next().map(Prefix::as_bytes).unwrap_or_default();
    prefixes.fold(first, |stem, prefix| {
        let same = stem.iter().zip(prefix.as_bytes()).take_while(|(a, b)| a == b).count();
        stem.get(..same).unwrap_or(stem)
    })
}

/// The namespace that a name lies in, and the name without its prefix. There is at most one: no prefix begins
/// another.
pub(super) fn owner<'n, 'k>(
    mut namespaces: impl Iterator<Item = &'n Arc<Namespace>>,
    name: &'k [u8],
) -> Option<(&'n Arc<Namespace>, &'k [u8])> {
    namespaces.find_map(|namespace| Some((namespace, namespace.prefix.strip(name)?)))
}

/// Which keys of a territory a page is to show.
#[derive(Clone, Copy, Debug, Default)]
pub struct Filter<'a> {
    /// A glob for the name; only where the territory is one database.
    pub pattern: Option<&'a [u8]>,
    /// A type, as `SCAN … TYPE` takes it.
    pub kind: Option<&'a [u8]>,
}

/// The part of an upstream database that one walk covers.
#[derive(Clone, Debug)]
pub struct Territory {
    /// Any of them: where the territory lies.
    here: Arc<Namespace>,
    /// In ascending order of their prefixes.
    namespaces: Vec<Arc<Namespace>>,
    /// What all their prefixes begin with.
    stem: Box<[u8]>,
}

/// A key that was found in a territory.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    physical: Bytes,
    prefix_len: usize,
    database: u32,
}

impl Key {
    /// Its name.
    pub fn name(&self) -> &[u8] {
        self.physical.get(self.prefix_len..).unwrap_or_default()
    }

    /// The tenant's database that it is in.
    pub fn database(&self) -> u32 {
        self.database
    }
}

/// One page of a walk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Where the next one begins; 0: this was the last.
    pub next: u64,
    /// The keys of the territory on this one; a page may have none.
    pub keys: Vec<Key>,
}

/// Why a reply is no page.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoPage {
    /// The upstream answered with this error (without `-`).
    #[error("{}", .0.escape_ascii())]
    Refused(Bytes),
    /// It is something else, or it names what was not asked for.
    #[error(transparent)]
    Violation(#[from] Violation),
}

impl Territory {
    /// One database.
    pub fn of_database(namespace: &Arc<Namespace>) -> Self {
        Self::over(namespace, vec![Arc::clone(namespace)])
    }

    /// All databases of a binding: one territory for all virtual ones, or one for each native one.
    pub fn all_of(binding: &Binding) -> Vec<Self> {
        let is_beside = |a: &Arc<Namespace>, b: &Arc<Namespace>| a.native == b.native;
        let groups = binding.namespaces().chunk_by(is_beside);
        groups.filter_map(|group| Some(Self::over(group.first()?, group.to_vec()))).collect()
    }

    fn over(here: &Arc<Namespace>, mut namespaces: Vec<Arc<Namespace>>) -> Self {
        namespaces.sort_by(|a, b| a.prefix.cmp(&b.prefix));
        let stem = common_stem(namespaces.iter().map(|namespace| &namespace.prefix)).into();
        Self { here: Arc::clone(here), namespaces, stem }
    }

    /// The slot of all its keys, if its prefixes put them into one.
    pub fn slot(&self) -> Option<u16> {
        let mut slots = self.namespaces.iter().map(|namespace| slot_of_all(namespace.prefix.as_bytes()));
        let first = slots.next()??;
        slots.all(|slot| slot == Some(first)).then_some(first)
    }

    /// The request for the page at `cursor` that looks at about `count` keys of the upstream, whoever's they
    /// are.
    pub fn page(
        &self,
        cursor: u64,
        filter: Filter<'_>,
        count: u32,
        limits: UpstreamLimits,
    ) -> Result<OwnedScoped, Unscopable> {
        let pattern = [&*self.stem, filter.pattern.unwrap_or(b"*")].concat();
        let (mut cursor_text, mut count_text) = (itoa::Buffer::new(), itoa::Buffer::new());
        let mut args: Vec<&[u8]> = vec![b"SCAN", cursor_text.format(cursor).as_bytes(), b"MATCH", &pattern];
        args.extend([b"COUNT".as_slice(), count_text.format(count).as_bytes()]);
        args.extend(filter.kind.into_iter().flat_map(|kind| [b"TYPE".as_slice(), kind]));
        written(&args, &self.here, limits, Keyed::Nowhere)
    }

    /// The page in the reply to such a request.
    pub fn read_page(&self, reply: &Bytes) -> Result<Page, NoPage> {
        let mut cursor = Cursor::new(reply);
        match cursor.next_value() {
            Some(Value::Array(2)) => {}
            Some(Value::Line(b'-', error)) => return Err(NoPage::Refused(reply.slice_ref(error))),
            _ => return Err(Violation.into()),
        }
        let Some(Value::Bulk(next)) = cursor.next_value() else { return Err(Violation.into()) };
        let next = std::str::from_utf8(next).ok().and_then(|text| text.parse().ok()).ok_or(Violation)?;
        let Some(Value::Array(found)) = cursor.next_value() else { return Err(Violation.into()) };
        let mut keys = Vec::new();
        for _ in 0..found {
            let Some(Value::Bulk(name)) = cursor.next_value() else { return Err(Violation.into()) };
            if !name.starts_with(&self.stem) {
                return Err(Violation.into());
            }
            keys.extend(self.key(reply.slice_ref(name)));
        }
        Ok(Page { next, keys })
    }

    /// The key of this name, if it is in the territory. Of sorted prefixes that do not begin each other, only
    /// the last one before a name can begin it.
    fn key(&self, physical: Bytes) -> Option<Key> {
        let before =
            self.namespaces.partition_point(|namespace| namespace.prefix.as_bytes() <= &physical[..]);
        let namespace = self.namespaces.get(before.checked_sub(1)?)?;
        namespace.prefix.strip(&physical)?;
        Some(Key { prefix_len: namespace.prefix.as_bytes().len(), database: namespace.database, physical })
    }

    /// The requests that delete the first of `keys`, as many as fit, and the rest. `is_cluster`: one request
    /// for each slot, else one for all.
    pub fn unlink<'k>(
        &self,
        keys: &'k [Key],
        is_cluster: bool,
        limits: UpstreamLimits,
    ) -> Result<(Vec<OwnedScoped>, &'k [Key]), Unscopable> {
        let mut left = MAX_UNLINKED_BYTES.min(limits.max_request).saturating_sub(COMMAND_BYTES);
        let fits = |key: &&Key| {
            let taken = key.physical.len().saturating_add(ARGUMENT_BYTES);
            let fits = taken <= left;
            left = left.saturating_sub(taken);
            fits
        };
        let fitting = keys.iter().take_while(fits).count().max(1);
        let (first, rest) = keys.split_at_checked(fitting).unwrap_or((keys, &[]));
        let mut together: BTreeMap<Option<u16>, Vec<&[u8]>> = BTreeMap::new();
        for key in first {
            let slot = is_cluster.then(|| slot(&key.physical));
            together.entry(slot).or_insert_with(|| vec![b"UNLINK"]).push(&key.physical);
        }
        let request = |args: Vec<&[u8]>| {
            let keyed = Keyed::of(args.iter().skip(1).copied());
            written(&args, &self.here, limits, keyed)
        };
        Ok((together.into_values().map(request).collect::<Result<_, _>>()?, rest))
    }
}

/// A request whose names have their prefixes, if the upstream accepts it.
fn written(
    args: &[&[u8]],
    namespace: &Arc<Namespace>,
    limits: UpstreamLimits,
    keyed: Keyed,
) -> Result<OwnedScoped, Unscopable> {
    let longest = args.iter().map(|arg| arg.len()).max().unwrap_or_default();
    if longest > limits.max_bulk {
        return Err(Unscopable::NameTooLong { len: longest, limit: limits.max_bulk });
    }
    let too_long = |len| Unscopable::RequestTooLong { len, limit: limits.max_request };
    let request = OwnedScoped::written(args, namespace, ReplyRule::NoNames, keyed);
    let request = request.ok_or_else(|| too_long(u32::MAX as usize))?;
    if request.len() > limits.max_request { Err(too_long(request.len())) } else { Ok(request) }
}

/// Why a key cannot go to another database. `Display` is the error reply without `-`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Immovable {
    /// An option that the command does not have.
    #[error("ERR syntax error")]
    Syntax,
    /// The database is no number.
    #[error("ERR value is not an integer or out of range")]
    NotAnInteger,
    /// The database is no C `int`; the missing word is Redis' own.
    #[error("ERR value is out of range, value must between -2147483648 and 2147483647")]
    NotACInt,
    /// There is no such database.
    #[error("ERR DB index is out of range")]
    NoSuchDatabase,
    /// It is there already.
    #[error("ERR source and destination objects are the same")]
    SameObject,
    /// The upstream would not take the request.
    #[error(transparent)]
    Unscopable(#[from] Unscopable),
}

/// The database of this number.
fn database<'b>(binding: &'b Binding, number: &[u8]) -> Result<&'b Arc<Namespace>, Immovable> {
    let number = strict_integer(number).ok_or(Immovable::NotAnInteger)?;
    let number = i32::try_from(number).map_err(|_| Immovable::NotACInt)?;
    let namespace = u32::try_from(number).ok().and_then(|number| binding.namespace(number));
    namespace.ok_or(Immovable::NoSuchDatabase)
}

fn in_namespace(namespace: &Namespace, name: &[u8]) -> Vec<u8> {
    [namespace.prefix.as_bytes(), name].concat()
}

/// `MOVE key db` out of `here`: between virtual databases a key is moved by renaming it. Where `MOVE` says 0
/// because there is no such key, `RENAMENX` answers with an error.
pub fn move_key(
    request: &Request<'_>,
    binding: &Binding,
    here: &Arc<Namespace>,
    limits: UpstreamLimits,
) -> Result<OwnedScoped, Immovable> {
    let key = request.arg(1).unwrap_or_default();
    let there = database(binding, request.arg(2).unwrap_or_default())?;
    if there.database == here.database {
        return Err(Immovable::SameObject);
    }
    let source = in_namespace(here, key);
    let request = match there.native {
        None => {
            let destination = in_namespace(there, key);
            let keyed = Keyed::of([&source[..], &destination]);
            written(&[b"RENAMENX", &source, &destination], here, limits, keyed)
        }
        Some(native) => {
            let (mut number, keyed) = (itoa::Buffer::new(), Keyed::of([&source[..]]));
            written(&[b"MOVE", &source, number.format(native).as_bytes()], here, limits, keyed)
        }
    };
    Ok(request?)
}

/// `COPY source destination [DB db] [REPLACE]` out of `here`. Options may be repeated; of several databases
/// the last one counts, but each must exist.
pub fn copy(
    request: &Request<'_>,
    binding: &Binding,
    here: &Arc<Namespace>,
    limits: UpstreamLimits,
) -> Result<OwnedScoped, Immovable> {
    let (mut there, mut replaces) = (here, false);
    let mut options = request.args().skip(3);
    while let Some(option) = options.next() {
        if option.eq_ignore_ascii_case(b"REPLACE") {
            replaces = true;
        } else if option.eq_ignore_ascii_case(b"DB") {
            there = database(binding, options.next().ok_or(Immovable::Syntax)?)?;
        } else {
            return Err(Immovable::Syntax);
        }
    }
    let (source, destination) = (request.arg(1).unwrap_or_default(), request.arg(2).unwrap_or_default());
    if there.database == here.database && source == destination {
        return Err(Immovable::SameObject);
    }
    let (source, destination) = (in_namespace(here, source), in_namespace(there, destination));
    let mut args: Vec<&[u8]> = vec![b"COPY", &source, &destination];
    let mut number = itoa::Buffer::new();
    if let Some(native) = there.native {
        args.extend([b"DB".as_slice(), number.format(native).as_bytes()]);
    }
    if replaces {
        args.push(b"REPLACE");
    }
    let keyed = Keyed::of([&source[..], &destination]);
    Ok(written(&args, here, limits, keyed)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::{OwnedRequest, SendQueue};
    use crate::tenant::directory::DatabaseKind;

    const LIMITS: UpstreamLimits = UpstreamLimits { max_bulk: 64, max_request: 400 };

    fn binding(has_native_databases: bool) -> Arc<Binding> {
        let kind = if has_native_databases { DatabaseKind::Native } else { DatabaseKind::Virtual };
        crate::tenant::example_binding(kind)
    }

    /// The words of a request as it is sent.
    fn words(request: &OwnedScoped) -> String {
        let mut queue = SendQueue::default();
        request.as_scoped().queue(&mut queue);
        let text = String::from_utf8(queue.tail().to_vec()).unwrap();
        let words: Vec<&str> = text.split("\r\n").skip(2).step_by(2).collect();
        words.join(" ")
    }

    fn here(binding: &Binding) -> Territory {
        Territory::of_database(binding.namespace(0).unwrap())
    }

    fn page(names: &[&str]) -> Bytes {
        let mut reply = format!("*2\r\n$2\r\n17\r\n*{}\r\n", names.len());
        reply.extend(names.iter().map(|name| format!("${}\r\n{name}\r\n", name.len())));
        Bytes::from(reply)
    }

    #[test]
    fn a_page_asks_for_names_with_the_prefix_only() {
        let binding = binding(false);
        let filter = Filter { pattern: Some(b"k?"), kind: Some(b"list") };
        let request = |territory: &Territory, filter| words(&territory.page(7, filter, 10, LIMITS).unwrap());
        assert_eq!("SCAN 7 MATCH acme:k? COUNT 10 TYPE list", request(&here(&binding), filter));
        assert_eq!("SCAN 7 MATCH acme:* COUNT 10", request(&here(&binding), Filter::default()));
        let empty = Filter { pattern: Some(b""), kind: None };
        assert_eq!("SCAN 7 MATCH acme: COUNT 10", request(&here(&binding), empty));
        let [all] = &Territory::all_of(&binding)[..] else { panic!("virtual databases lie in one") };
        assert_eq!("SCAN 7 MATCH acme* COUNT 10", request(all, Filter::default()));
    }

    #[test]
    fn native_databases_are_territories_of_their_own() {
        let territories = Territory::all_of(&binding(true));
        assert_eq!(16, territories.len());
        for (database, territory) in (0..).zip(&territories) {
            let request = territory.page(0, Filter::default(), 10, LIMITS).unwrap();
            assert_eq!("SCAN 0 MATCH acme:* COUNT 10", words(&request));
            let page = territory.read_page(&page(&["acme:k"])).unwrap();
            assert_eq!(vec![database], page.keys.iter().map(Key::database).collect::<Vec<u32>>());
        }
    }

    #[test]
    fn keys_of_a_page_know_their_database_and_those_of_others_are_passed_over() {
        let binding = binding(false);
        let all = &Territory::all_of(&binding)[0];
        let found = all
            .read_page(&page(&[
                "acme:k",
                "acme@1:k",
                "acme@15:",
                "acmeother:k",
                "acme@16:k",
                "acme",
                "acme:acme:",
            ]))
            .unwrap();
        assert_eq!(17, found.next);
        let keys: Vec<(u32, &[u8])> = found.keys.iter().map(|key| (key.database(), key.name())).collect();
        assert_eq!(vec![(0, b"k".as_slice()), (1, b"k"), (15, b""), (0, b"acme:")], keys);
    }

    #[test]
    fn a_name_that_was_not_asked_for_is_a_violation() {
        let binding = binding(false);
        for reply in [
            page(&["acme:k", "other:k"]),
            page(&["acme@1:k"]),
            Bytes::from_static(b"*1\r\n$1\r\n0\r\n"),
            Bytes::from_static(b"*2\r\n$1\r\nx\r\n*0\r\n"),
            Bytes::from_static(b"*2\r\n$1\r\n0\r\n*1\r\n"),
            Bytes::from_static(b":1\r\n"),
            Bytes::new(),
        ] {
            let read = here(&binding).read_page(&reply);
            assert_eq!(Err(NoPage::Violation(Violation)), read, "{}", reply.escape_ascii());
        }
        let refused = here(&binding).read_page(&Bytes::from_static(b"-LOADING later\r\n"));
        assert_eq!(Err(NoPage::Refused(Bytes::from_static(b"LOADING later"))), refused);
    }

    #[test]
    fn keys_that_were_found_are_deleted_where_they_are() {
        let binding = binding(false);
        let all = &Territory::all_of(&binding)[0];
        let keys = all.read_page(&page(&["acme:k", "acme@1:k"])).unwrap().keys;
        let (requests, rest) = all.unlink(&keys, false, LIMITS).unwrap();
        let requests: Vec<String> = requests.iter().map(words).collect();
        assert_eq!((vec!["UNLINK acme:k acme@1:k".to_owned()], 0), (requests, rest.len()));
    }

    #[test]
    fn in_a_cluster_keys_are_deleted_slot_by_slot() {
        let binding = binding(false);
        let keys = here(&binding).read_page(&page(&["acme:{2}", "acme:k", "acme:{2}b"])).unwrap().keys;
        let (requests, rest) = here(&binding).unlink(&keys, true, LIMITS).unwrap();
        let requests: Vec<(String, Keyed)> = requests.iter().map(|r| (words(r), r.keyed())).collect();
        let expected = [
            ("UNLINK acme:k".to_owned(), Keyed::In(2794)),
            ("UNLINK acme:{2} acme:{2}b".to_owned(), Keyed::In(5649)),
        ];
        assert_eq!((expected.to_vec(), 0), (requests, rest.len()));
    }

    #[test]
    fn many_bytes_of_names_are_deleted_in_several_requests() {
        let binding = binding(false);
        let names: Vec<String> = (0..20).map(|n| format!("acme:{n:0>40}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let keys = here(&binding).read_page(&page(&names)).unwrap().keys;
        let (mut rest, mut deleted) = (&keys[..], Vec::new());
        while !rest.is_empty() {
            let (requests, left) = here(&binding).unlink(rest, false, LIMITS).unwrap();
            let [request] = &requests[..] else { panic!("one server, one request") };
            deleted.extend(words(request).split(' ').skip(1).map(str::to_owned));
            rest = left;
        }
        assert_eq!(names, deleted);
    }

    #[test]
    fn what_the_upstream_would_refuse_is_not_sent() {
        let binding = binding(false);
        let pattern = [b'p'; 60];
        let filter = Filter { pattern: Some(&pattern), kind: None };
        let refused = here(&binding).page(0, filter, 10, LIMITS).map(|_| ()).unwrap_err();
        assert_eq!(Unscopable::NameTooLong { len: 65, limit: 64 }, refused);
    }

    type Build =
        fn(&Request<'_>, &Binding, &Arc<Namespace>, UpstreamLimits) -> Result<OwnedScoped, Immovable>;

    fn built(build: Build, binding: &Binding, line: &str) -> String {
        let request = OwnedRequest::from_args(&line.split(' ').collect::<Vec<_>>()).unwrap();
        let outcome = build(&request.as_request(), binding, binding.namespace(0).unwrap(), LIMITS);
        outcome.map_or_else(|error| format!("-{error}"), |request| words(&request))
    }

    #[test]
    fn a_key_is_moved_by_renaming_it() {
        let (virtual_ones, native_ones) = (binding(false), binding(true));
        assert_eq!("RENAMENX acme:k acme@3:k", built(move_key, &virtual_ones, "MOVE k 3"));
        assert_eq!("MOVE acme:k 3", built(move_key, &native_ones, "MOVE k 3"));
        for (database, expected) in [
            ("0", "-ERR source and destination objects are the same"),
            ("16", "-ERR DB index is out of range"),
            ("-1", "-ERR DB index is out of range"),
            ("01", "-ERR value is not an integer or out of range"),
            ("2147483648", "-ERR value is out of range, value must between -2147483648 and 2147483647"),
        ] {
            assert_eq!(expected, built(move_key, &virtual_ones, &format!("MOVE k {database}")), "{database}");
        }
    }

    #[test]
    fn a_copy_goes_to_the_last_database_that_is_named() {
        let (virtual_ones, native_ones) = (binding(false), binding(true));
        for (line, of_virtual, of_native) in [
            ("COPY a b DB 3", "COPY acme:a acme@3:b", "COPY acme:a acme:b DB 3"),
            ("COPY a a db 1 DB 2 replace", "COPY acme:a acme@2:a REPLACE", "COPY acme:a acme:a DB 2 REPLACE"),
            (
                "COPY a b REPLACE DB 1 REPLACE",
                "COPY acme:a acme@1:b REPLACE",
                "COPY acme:a acme:b DB 1 REPLACE",
            ),
            ("COPY a b DB 1 DB 0", "COPY acme:a acme:b", "COPY acme:a acme:b DB 0"),
            ("COPY DB REPLACE", "COPY acme:DB acme:REPLACE", "COPY acme:DB acme:REPLACE DB 0"),
        ] {
            assert_eq!(of_virtual, built(copy, &virtual_ones, line), "{line}");
            assert_eq!(of_native, built(copy, &native_ones, line), "{line}");
        }
        for (line, expected) in [
            ("COPY a a DB 1 DB 0", "-ERR source and destination objects are the same"),
            ("COPY a a DB", "-ERR syntax error"),
            ("COPY a b DB 16 FOO", "-ERR DB index is out of range"),
            ("COPY a b DB x FOO", "-ERR value is not an integer or out of range"),
            ("COPY a b REPLACE FOO", "-ERR syntax error"),
        ] {
            assert_eq!(expected, built(copy, &virtual_ones, line), "{line}");
        }
    }
}
