//! Commands about all keys of a tenant: `SCAN`, `KEYS`, `RANDOMKEY`, `DBSIZE`, `FLUSHDB`, `FLUSHALL`; and
//! `MOVE`, which needs an answer of its own.
//!
//! Redis would answer them for the whole server. Here each is a walk: pages of `SCAN` with the tenant's
//! prefix as the pattern, one after the other, so that other requests get their turn in between and the
//! upstream is never held for longer than one page takes. A walk sees every key that is there from its
//! beginning to its end (*SCAN*: guarantees), and a key more than once if the upstream's table changes its
//! size meanwhile.
//!
//! **Several shards** are walked one after the other. A key whose slot moves to another shard meanwhile may
//! be passed by; so a walk that finds at its end that shards have changed begins anew. A `SCAN` cannot know:
//! it goes on from what its cursor says (`tenant::cursor`). If a shard has another primary since, the shard
//! is begun anew, because the cursor is a position in the table of the old one; keys of slots that have moved
//! to a shard that was done before are missed, as they are by whoever scans the nodes of a cluster one by
//! one.
//!
//! **Every loop ends**: the upstream's cursor comes back to 0 after each slot of its table was seen; shards
//! are visited in the order of a snapshot, and a few snapshots at most; `SCAN` stops earlier, after a number
//! of pages; and nothing but a `FLUSH` goes on once its client has gone. That one goes on because half of it
//! is what nobody asked for.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::hash::BuildHasher as _;
use std::sync::Arc;

use bytes::Bytes;

use super::errand::{At, Errand, ShardAt};
use super::rescue::{self, text};
use crate::resp::Request;
use crate::resp::cursor::{Cursor, Value};
use crate::resp::reply::ReplyWriter;
use crate::resp::scan::strict_integer;
use crate::tenant::cursor::{CursorCipher, Extent, Place};
use crate::tenant::directory::{Binding, Namespace};
use crate::tenant::keyspace::{self, Filter, Immovable, Key, NoPage, Page, Territory};
use crate::tenant::scope::Unscopable;
use crate::tenant::{Keyed, OwnedScoped, UpstreamLimits};

/// Keys of the upstream that one page looks at. Of a million keys 1 000 keep Redis 7.0 for 0.8 ms, whether
/// they match or not; 100 take 0.1 ms but ten times the round trips, and 10 000 would be felt by everybody
/// (5.7 ms).
const PAGE: u32 = 1_000;

/// Pages that one `SCAN` takes to find as many keys as it was asked for. With the first of ten keys and each
/// twice as large as the last, that is ten thousand keys looked at, 8 ms of the upstream in all.
const MAX_SCAN_PAGES: usize = 16;

/// Times that one walk looks at all shards, if they keep changing.
const MAX_ROUNDS: usize = 3;

/// Keys that are told apart while they are counted; each takes 10 to 20 bytes. Further ones are counted as
/// often as they are shown, which is once unless the upstream's table changes its size during the walk.
const MAX_TOLD_APART: usize = 1 << 20;

/// Memory for the names that `KEYS` finds; the process serves other tenants too.
const MAX_LISTED_BYTES: usize = 256 * 1024 * 1024;

/// Memory that a name takes besides its bytes.
const NAME_OVERHEAD: usize = 64;

/// `SCAN` with a cursor that is no number.
const INVALID_CURSOR: &[u8] = b"ERR invalid cursor";

/// `KEYS` with more names than fit.
const TOO_MANY_KEYS: &[u8] = b"ERR too many keys match for one reply; use SCAN";

/// Why there is no answer yet.
#[derive(Debug)]
pub(super) enum Stop {
    /// This error is the answer (without `-`).
    Error(Bytes),
    /// The client has gone.
    Abandoned,
}

impl Stop {
    fn because(error: &'static [u8]) -> Self {
        Self::Error(Bytes::from_static(error))
    }

    /// The upstream's error as the tenant may see it.
    fn refused(error: Bytes) -> Self {
        rescue::replaces_in_cluster(&error).map_or(Self::Error(error), Self::because)
    }

    /// Writes the error, if anybody is there to read it.
    pub(super) fn answer(self, reply: &mut ReplyWriter<'_>) {
        match self {
            Self::Error(error) => reply.error(&error),
            Self::Abandoned => {}
        }
    }
}

impl From<Unscopable> for Stop {
    fn from(error: Unscopable) -> Self {
        Self::Error(Bytes::from(error.to_string()))
    }
}

impl From<Immovable> for Stop {
    fn from(error: Immovable) -> Self {
        Self::Error(Bytes::from(error.to_string()))
    }
}

impl From<NoPage> for Stop {
    fn from(error: NoPage) -> Self {
        match error {
            NoPage::Refused(error) => Self::refused(error),
            NoPage::Violation(_) => Self::because(text::WITHHELD),
        }
    }
}

/// What a flush deletes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flushed {
    /// `FLUSHDB`: the client's database.
    Database,
    /// `FLUSHALL`: all databases that the client may select.
    All,
}

/// The keyspace as one client sees it.
pub(super) struct Keyspace<'a, E> {
    /// Carries the requests.
    pub(super) errand: &'a E,
    /// Who the client is.
    pub(super) binding: &'a Binding,
    /// The database it has selected.
    pub(super) namespace: &'a Arc<Namespace>,
    /// What the upstream accepts.
    pub(super) limits: UpstreamLimits,
}

/// The shards that a walk visits, in this order; the errand's snapshot has them at the same positions, unless
/// there is only one to visit.
struct Course {
    extent: Extent,
    shards: Vec<(At, ShardAt)>,
}

impl Course {
    /// Where to go on: a position in `shards`, and the upstream's cursor there. `None`: behind the end.
    /// `owner` finds the position of the shard that owns a slot.
    fn resumed(&self, number: u64, owner: impl Fn(u16) -> Option<usize>) -> Option<(usize, u64)> {
        let place = Place::unpacked(self.extent, number);
        let at = match self.extent {
            Extent::Server | Extent::Shard => 0,
            Extent::Cluster => owner(place.slot).or_else(|| self.first_above(place.slot))?,
        };
        let (_, shard) = self.shards.get(at)?;
        let is_the_same = shard.identity.is_none_or(|identity| identity == place.identity);
        Some((at, if is_the_same { place.cursor } else { 0 }))
    }

    fn first_above(&self, slot: u16) -> Option<usize> {
        self.shards.iter().position(|(_, shard)| shard.lowest.is_some_and(|lowest| lowest > slot))
    }

    /// The shard behind the one at a position. One that owns nothing has no place that a cursor could say.
    fn after(&self, at: usize) -> Option<usize> {
        let next = at.checked_add(1)?;
        self.shards.get(next)?.1.lowest.map(|_| next)
    }

    /// What [`Course::resumed`] reads again.
    fn packed(&self, (at, cursor): (usize, u64), owner: impl Fn(u16) -> Option<usize>) -> Option<u64> {
        let (_, shard) = self.shards.get(at)?;
        let identity = shard.identity.unwrap_or_default();
        let place = Place { slot: shard.lowest.unwrap_or_default(), identity, cursor };
        place.packed(self.extent, |slot| owner(slot) == Some(at))
    }
}

/// A walk over a territory, page by page and shard by shard.
struct Pages<'w, E> {
    keyspace: &'w Keyspace<'w, E>,
    territory: &'w Territory,
    filter: Filter<'w>,
    /// The shards of this round that have not been seen to their end.
    shards: VecDeque<At>,
    /// Where in the first of them.
    cursor: u64,
    /// How often the walk has begun.
    rounds: usize,
}

impl<E: Errand> Pages<'_, E> {
    /// The keys of the next page; `None` after the last one.
    async fn next(&mut self) -> Result<Option<Vec<Key>>, Stop> {
        let errand = self.keyspace.errand;
        if self.shards.is_empty() && self.rounds < MAX_ROUNDS {
            errand.renew().await;
        }
        if self.shards.is_empty() && (self.rounds == 0 || self.rounds < MAX_ROUNDS && errand.has_moved()) {
            self.rounds = self.rounds.saturating_add(1);
            let course = self.keyspace.course(self.territory)?;
            self.shards = course.shards.into_iter().map(|(at, _)| at).collect();
        }
        let Some(at) = self.shards.front().copied() else { return Ok(None) };
        let page = self.keyspace.page(self.territory, (at, self.cursor), self.filter, PAGE).await?;
        self.cursor = page.next;
        if self.cursor == 0 {
            self.shards.pop_front();
        }
        Ok(Some(page.keys))
    }
}

impl<E: Errand> Keyspace<'_, E> {
    /// `SCAN`. `secret` hides the upstream's cursors.
    pub(super) async fn scan(&self, request: &Request<'_>, secret: &[u8; 32], reply: &mut ReplyWriter<'_>) {
        match self.scanned(request, &CursorCipher::new(secret, self.namespace)).await {
            Ok((cursor, keys)) => {
                reply.array(2);
                reply.bulk(itoa::Buffer::new().format(cursor).as_bytes());
                write_names(keys.iter(), keys.len(), reply);
            }
            Err(stop) => stop.answer(reply),
        }
    }

    async fn scanned(&self, request: &Request<'_>, cipher: &CursorCipher) -> Result<(u64, Vec<Key>), Stop> {
        let shown = client_cursor(request.arg(1).unwrap_or_default()).ok_or(Stop::because(INVALID_CURSOR))?;
        let (wanted, filter) = scan_options(request)?;
        // Redis accepts any number, too; one that was never given out stands behind the end.
        let Some(number) = cipher.reveal(shown) else { return Ok((0, Vec::new())) };
        let territory = Territory::of_database(self.namespace);
        self.errand.renew().await;
        let course = self.course(&territory)?;
        let owner = |slot| self.errand.owner(slot);
        let Some((mut shard, mut cursor)) = course.resumed(number, owner) else { return Ok((0, Vec::new())) };
        let mut count = u32::try_from(wanted).unwrap_or(u32::MAX).min(PAGE);
        let mut keys = Vec::new();
        for _ in 0..MAX_SCAN_PAGES {
            let Some((at, _)) = course.shards.get(shard) else { break };
            let page = self.page(&territory, (*at, cursor), filter, count).await?;
            keys.extend(page.keys);
            cursor = page.next;
            if cursor == 0 {
                let Some(next) = course.after(shard) else { return Ok((0, keys)) };
                shard = next;
            }
            if keys.len() as u64 >= wanted || self.errand.is_abandoned() {
                break;
            }
            count = count.saturating_mul(2).min(PAGE);
        }
        let hidden = course.packed((shard, cursor), owner).and_then(|number| cipher.hide(number));
        Ok((hidden.ok_or(Stop::because(text::CURSOR_TOO_LARGE))?, keys))
    }

    /// The shards that have the keys of a territory, by a new snapshot.
    fn course(&self, territory: &Territory) -> Result<Course, Stop> {
        let shards: Vec<(At, ShardAt)> =
            self.errand.shards().into_iter().enumerate().map(|(at, shard)| (At::Shard(at), shard)).collect();
        let extent = match shards.first() {
            None => return Err(Stop::because(text::NODES_UNKNOWN)),
            Some((_, shard)) if shard.identity.is_none() => Extent::Server,
            Some(_) if !self.errand.is_cluster() => Extent::Shard,
            Some(_) => Extent::Cluster,
        };
        let Some(slot) = territory.slot().filter(|_| extent == Extent::Cluster) else {
            return Ok(Course { extent, shards });
        };
        let only = self.errand.owner(slot).and_then(|at| shards.get(at)).copied();
        let only = only.ok_or(Stop::because(text::UNSERVED))?;
        Ok(Course { extent: Extent::Shard, shards: vec![only] })
    }

    /// `KEYS pattern`, each name once.
    pub(super) async fn keys(&self, request: &Request<'_>, reply: &mut ReplyWriter<'_>) {
        let filter = Filter { pattern: request.arg(1), kind: None };
        match self.found(filter).await {
            Ok(keys) => write_names(keys.iter(), keys.len(), reply),
            Err(stop) => stop.answer(reply),
        }
    }

    async fn found(&self, filter: Filter<'_>) -> Result<HashSet<Key>, Stop> {
        let (mut found, mut bytes) = (HashSet::new(), 0_usize);
        let territory = Territory::of_database(self.namespace);
        let mut pages = self.pages(&territory, filter);
        while let Some(keys) = pages.next().await? {
            for key in keys {
                let length = key.name().len();
                if found.insert(key) {
                    bytes = bytes.saturating_add(length).saturating_add(NAME_OVERHEAD);
                }
            }
            if bytes > MAX_LISTED_BYTES {
                return Err(Stop::because(TOO_MANY_KEYS));
            }
            self.stop_if_abandoned()?;
        }
        Ok(found)
    }

    /// `RANDOMKEY`: null only if the database has no key. `random` decides which.
    pub(super) async fn random_key(&self, random: u64, reply: &mut ReplyWriter<'_>) {
        match self.any_key(random).await {
            Ok(Some(key)) => reply.bulk(key.name()),
            Ok(None) => reply.null(),
            Err(stop) => stop.answer(reply),
        }
    }

    /// One of the keys on the first page that has any, from a random place of a random shard on: the upstream
    /// reduces any number to the size of its table. A second round from the beginning sees what lies before
    /// that place; then come the other shards.
    async fn any_key(&self, random: u64) -> Result<Option<Key>, Stop> {
        let territory = Territory::of_database(self.namespace);
        self.errand.renew().await;
        let mut shards = self.course(&territory)?.shards;
        // The place follows from the low bits, so the key on its page is taken by the high ones.
        let high = usize::try_from(random >> 32).unwrap_or(usize::MAX);
        let first = usize::from(random.to_be_bytes()[0]).checked_rem(shards.len()).unwrap_or_default();
        shards.rotate_left(first);
        for (at, _) in shards {
            for start in [random, 0] {
                let mut cursor = start;
                loop {
                    let mut page = self.page(&territory, (at, cursor), Filter::default(), PAGE).await?;
                    if let Some(key) = high.checked_rem(page.keys.len()) {
                        return Ok(Some(page.keys.swap_remove(key)));
                    }
                    self.stop_if_abandoned()?;
                    cursor = page.next;
                    if cursor == 0 {
                        break;
                    }
                }
            }
        }
        Ok(None)
    }

    /// `DBSIZE`.
    pub(super) async fn dbsize(&self, reply: &mut ReplyWriter<'_>) {
        match self.counted(&[Territory::of_database(self.namespace)]).await {
            Ok(counts) => reply.integer(i64::try_from(counts.values().sum::<u64>()).unwrap_or(i64::MAX)),
            Err(stop) => stop.answer(reply),
        }
    }

    /// How many keys each of the tenant's databases has that has any, for `INFO keyspace`.
    pub(super) async fn count_by_database(&self) -> Result<BTreeMap<u32, u64>, Stop> {
        self.counted(&Territory::all_of(self.binding)).await
    }

    async fn counted(&self, territories: &[Territory]) -> Result<BTreeMap<u32, u64>, Stop> {
        let mut counts = BTreeMap::new();
        for territory in territories {
            counts.extend(self.counted_in(territory).await?);
        }
        Ok(counts)
    }

    async fn counted_in(&self, territory: &Territory) -> Result<BTreeMap<u32, u64>, Stop> {
        let (mut counts, hasher, mut seen) = (BTreeMap::new(), RandomState::new(), HashSet::new());
        let (mut pages, mut round) = (self.pages(territory, Filter::default()), 0);
        while let Some(keys) = pages.next().await? {
            // Not all keys of the round before may have been told apart.
            if round != pages.rounds {
                round = pages.rounds;
                counts.clear();
                seen.clear();
            }
            for key in keys {
                // A hash of 64 bits in place of the key: among a million, two agree once in 10^7 walks.
                let hash = hasher.hash_one(&key);
                let is_new =
                    if seen.len() < MAX_TOLD_APART { seen.insert(hash) } else { !seen.contains(&hash) };
                *counts.entry(key.database()).or_insert(0_u64) += u64::from(is_new);
            }
            self.stop_if_abandoned()?;
        }
        Ok(counts)
    }

    /// `FLUSHDB` and `FLUSHALL`, in either way: `UNLINK` gives memory back in the background, and what is
    /// deleted page by page holds nobody up.
    ///
    /// One complete walk deletes every key that was there when it began, which is all that can be promised of
    /// a command that other clients race with. Unlike in Redis it is not atomic: what is written meanwhile
    /// may stay or go. Whoever runs this must not drop it when the client goes.
    pub(super) async fn flush(&self, request: &Request<'_>, what: Flushed, reply: &mut ReplyWriter<'_>) {
        let is_mode = |mode: &[u8]| mode.eq_ignore_ascii_case(b"ASYNC") || mode.eq_ignore_ascii_case(b"SYNC");
        if request.argc() > 2 || !request.arg(1).is_none_or(is_mode) {
            return reply.error(text::SYNTAX);
        }
        match self.flushed(what).await {
            Ok(()) => reply.simple("OK"),
            Err(stop) => stop.answer(reply),
        }
    }

    async fn flushed(&self, what: Flushed) -> Result<(), Stop> {
        let territories = match what {
            Flushed::Database => vec![Territory::of_database(self.namespace)],
            Flushed::All => Territory::all_of(self.binding),
        };
        for territory in territories {
            let mut pages = self.pages(&territory, Filter::default());
            while let Some(keys) = pages.next().await? {
                self.delete(&territory, &keys).await?;
            }
        }
        Ok(())
    }

    async fn delete(&self, territory: &Territory, mut keys: &[Key]) -> Result<(), Stop> {
        while !keys.is_empty() {
            let (requests, rest) = territory.unlink(keys, self.errand.is_cluster(), self.limits)?;
            let requests = requests.into_iter().map(|request| Ok((self.at(&request)?, request)));
            let requests = requests.collect::<Result<Vec<_>, Stop>>()?;
            for reply in self.errand.ask_all(&requests).await {
                integer(&reply.map_err(|error| Stop::Error(bare(&error)))?)?;
            }
            keys = rest;
        }
        Ok(())
    }

    /// `MOVE key db`.
    pub(super) async fn move_key(&self, request: &Request<'_>, reply: &mut ReplyWriter<'_>) {
        let answer = match keyspace::move_key(request, self.binding, self.namespace, self.limits) {
            Ok(request) => self.integer(&request).await,
            Err(immovable) => Err(immovable.into()),
        };
        match answer {
            Ok(number) => reply.integer(number),
            // `RENAMENX` calls an error what is 0 to `MOVE`.
            Err(Stop::Error(error)) if error.ends_with(b"no such key") => reply.integer(0),
            Err(stop) => stop.answer(reply),
        }
    }

    async fn integer(&self, request: &OwnedScoped) -> Result<i64, Stop> {
        integer(&self.ask(self.at(request)?, request).await?)
    }

    /// Where the keys of a request lie.
    fn at(&self, request: &OwnedScoped) -> Result<At, Stop> {
        match request.keyed() {
            Keyed::In(slot) => Ok(At::Slot(slot)),
            Keyed::Across if self.errand.is_cluster() => Err(Stop::because(text::CROSSSLOT)),
            Keyed::Across | Keyed::Nowhere => Ok(At::Home),
        }
    }

    async fn ask(&self, at: At, request: &OwnedScoped) -> Result<Bytes, Stop> {
        self.errand.ask(at, request.as_scoped()).await.map_err(|error| Stop::Error(bare(&error)))
    }

    async fn page(
        &self,
        territory: &Territory,
        (at, cursor): (At, u64),
        filter: Filter<'_>,
        count: u32,
    ) -> Result<Page, Stop> {
        let request = territory.page(cursor, filter, count, self.limits)?;
        let reply = self.ask(at, &request).await?;
        Ok(territory.read_page(&reply)?)
    }

    /// All keys of a territory. Those of a walk that begins anew come again.
    fn pages<'w>(&'w self, territory: &'w Territory, filter: Filter<'w>) -> Pages<'w, E> {
        Pages { keyspace: self, territory, filter, shards: VecDeque::new(), cursor: 0, rounds: 0 }
    }

    /// Nobody reads the answer any more.
    fn stop_if_abandoned(&self) -> Result<(), Stop> {
        if self.errand.is_abandoned() { Err(Stop::Abandoned) } else { Ok(()) }
    }
}

/// The number that a reply is.
fn integer(reply: &Bytes) -> Result<i64, Stop> {
    match Cursor::new(reply).next_value() {
        Some(Value::Line(b':', number)) => strict_integer(number).ok_or(Stop::because(text::WITHHELD)),
        Some(Value::Line(b'-', error)) => Err(Stop::refused(reply.slice_ref(error))),
        _ => Err(Stop::because(text::WITHHELD)),
    }
}

/// An error reply without `-` and line end.
fn bare(error: &Bytes) -> Bytes {
    let text = error.strip_prefix(b"-").unwrap_or(error);
    error.slice_ref(text.strip_suffix(b"\r\n").unwrap_or(text))
}

fn write_names<'k>(keys: impl Iterator<Item = &'k Key>, count: usize, reply: &mut ReplyWriter<'_>) {
    reply.array(count);
    keys.for_each(|key| reply.bulk(key.name()));
}

/// A cursor as Redis reads it, with `strtoul`: up to a NUL, nothing at all is 0, signs and leading zeros are
/// taken, and a negative number wraps.
fn client_cursor(text: &[u8]) -> Option<u64> {
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    if text.is_empty() {
        return Some(0);
    }
    let (is_negative, digits) = match text.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix(b"+").unwrap_or(text)),
    };
    // The parser would take a second sign.
    let is_number = digits.first().is_some_and(u8::is_ascii_digit);
    let number: u64 = std::str::from_utf8(digits).ok().filter(|_| is_number)?.parse().ok()?;
    Some(if is_negative { number.wrapping_neg() } else { number })
}

/// How many keys are wanted, and which.
fn scan_options<'r>(request: &Request<'r>) -> Result<(u64, Filter<'r>), Stop> {
    let (mut wanted, mut filter) = (10, Filter::default());
    let mut options = request.args().skip(2);
    while let Some(option) = options.next() {
        let operand = options.next().ok_or(Stop::because(text::SYNTAX))?;
        if option.eq_ignore_ascii_case(b"COUNT") {
            let count = strict_integer(operand).ok_or(Stop::because(text::NOT_AN_INTEGER))?;
            let count = u64::try_from(count).ok().filter(|count| *count > 0);
            wanted = count.ok_or(Stop::because(text::SYNTAX))?;
        } else if option.eq_ignore_ascii_case(b"MATCH") {
            filter.pattern = Some(operand);
        } else if option.eq_ignore_ascii_case(b"TYPE") {
            filter.kind = Some(operand);
        } else {
            return Err(Stop::because(text::SYNTAX));
        }
    }
    Ok((wanted, filter))
}

#[cfg(test)]
mod tests;
