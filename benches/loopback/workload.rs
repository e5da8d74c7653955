//! The workloads, and the bytes they send.

use std::ops::Range;

use fastrand::Rng;

use crate::target::Kind;

/// Keys of a workload with small values; fewer when the values are large, see [`Workload::keys`].
const KEYS: usize = 10_000;

/// Most bytes of values kept in Redis, and of requests prepared in advance, for one workload.
const BYTES_PREPARED: usize = 16 << 20;

/// Requests are the same in every run.
const SEED: u64 = 20_260_101;

/// Commands between `MULTI` and `EXEC`.
const COMMANDS_OF_A_TRANSACTION: usize = 5;

/// Keys that share a hash tag, where there are tags.
const KEYS_OF_A_TAG: usize = 10;

/// What one command does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    Set,
    /// `GET` or `SET`, by chance.
    Mixed,
    /// `MGET` of ten keys, counted as one command.
    MgetTen,
    /// Five commands between `MULTI` and `EXEC`, counted as one command.
    Transaction,
}

/// Which keys are sent at once.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keys {
    /// Any: those of a pipeline, and of one `MGET`, are on several nodes of a cluster.
    Anywhere,
    /// Those with one hash tag, which are in one slot.
    OneTag,
}

/// What values are made of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// Letters by chance, of which nothing can be saved.
    Letters,
    /// Rows of JSON.
    Json,
}

/// Who sends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sender {
    /// This process, see [`crate::load`].
    Own,
    /// The program that comes with Redis, which can be a client of a cluster, see [`crate::redis_benchmark`].
    RedisBenchmark,
}

/// One row of the benchmark.
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) verb: Verb,
    /// Bytes of a value.
    pub(crate) value: usize,
    pub(crate) connections: usize,
    /// Commands sent at once, and answered before the next are sent, on each connection.
    pub(crate) depth: usize,
    pub(crate) keys: Keys,
    pub(crate) sender: Sender,
    pub(crate) content: Content,
}

const fn workload(
    name: &'static str,
    verb: Verb,
    value: usize,
    connections: usize,
    depth: usize,
) -> Workload {
    let (keys, sender, content) = (Keys::Anywhere, Sender::Own, Content::Letters);
    Workload { name, verb, value, connections, depth, keys, sender, content }
}

/// The workloads on one Redis, in the order in which they are measured.
pub(crate) static SINGLE: [Workload; 13] = [
    workload("get64", Verb::Get, 64, 50, 1),
    workload("set64", Verb::Set, 64, 50, 1),
    workload("get64-p16", Verb::Get, 64, 50, 16),
    workload("set64-p16", Verb::Set, 64, 50, 16),
    workload("get64-p64", Verb::Get, 64, 50, 64),
    workload("set64-p64", Verb::Set, 64, 50, 64),
    workload("get64-c1000", Verb::Get, 64, 1000, 1),
    workload("get1k", Verb::Get, 1 << 10, 50, 1),
    workload("get16k", Verb::Get, 16 << 10, 50, 1),
    workload("get64k", Verb::Get, 64 << 10, 50, 1),
    workload("set64k", Verb::Set, 64 << 10, 50, 1),
    workload("mget10", Verb::MgetTen, 64, 50, 1),
    workload("multi5", Verb::Transaction, 64, 50, 1),
];

/// The workloads on a cluster. Those that are also measured on one Redis have the same names.
pub(crate) static CLUSTER: [Workload; 11] = [
    workload("rb-get", Verb::Get, 64, 50, 1).by(Sender::RedisBenchmark),
    workload("rb-set", Verb::Set, 64, 50, 1).by(Sender::RedisBenchmark),
    workload("rb-get-p16", Verb::Get, 64, 50, 16).by(Sender::RedisBenchmark),
    workload("rb-set-p16", Verb::Set, 64, 50, 16).by(Sender::RedisBenchmark),
    workload("get64", Verb::Get, 64, 50, 1),
    workload("set64", Verb::Set, 64, 50, 1),
    workload("get64-p16", Verb::Get, 64, 50, 16),
    workload("set64-p16", Verb::Set, 64, 50, 16),
    workload("set64-p16-tag", Verb::Set, 64, 50, 16).of(Keys::OneTag),
    workload("mget10", Verb::MgetTen, 64, 50, 1),
    workload("mget10-tag", Verb::MgetTen, 64, 50, 1).of(Keys::OneTag),
];

/// The workloads with values that can be compressed.
pub(crate) static COMPRESSION: [Workload; 4] = [
    workload("get4k-json", Verb::Get, 4 << 10, 50, 1).with(Content::Json),
    workload("set4k-json", Verb::Set, 4 << 10, 50, 1).with(Content::Json),
    workload("get64k-json", Verb::Get, 64 << 10, 50, 1).with(Content::Json),
    workload("set64k-json", Verb::Set, 64 << 10, 50, 1).with(Content::Json),
];

/// What goes on beside a crowd that waits, see [`crate::crowd`].
pub(crate) static BESIDE_A_CROWD: Workload = workload("crowd", Verb::Mixed, 64, 50, 1);

pub(crate) fn named(name: &str) -> Result<&'static Workload, String> {
    let all = || SINGLE.iter().chain(&CLUSTER).chain(&COMPRESSION);
    all().find(|workload| workload.name == name).ok_or_else(|| {
        let names: Vec<_> = all().map(|workload| workload.name).collect();
        format!("no workload `{name}`; there are {}", names.join(", "))
    })
}

impl Verb {
    /// Replies to one command as it is counted here: a transaction is seven requests.
    fn replies(self) -> usize {
        match self {
            Self::Get | Self::Set | Self::Mixed | Self::MgetTen => 1,
            Self::Transaction => 2 + COMMANDS_OF_A_TRANSACTION,
        }
    }
}

impl Workload {
    const fn by(self, sender: Sender) -> Self {
        Self { sender, ..self }
    }

    const fn of(self, keys: Keys) -> Self {
        Self { keys, ..self }
    }

    const fn with(self, content: Content) -> Self {
        Self { content, ..self }
    }

    /// Replies to one batch.
    pub(crate) fn replies(&self) -> usize {
        self.depth * self.verb.replies()
    }

    /// Whether a target can do this at all: twemproxy closes the connection on `MULTI`, and a cluster without
    /// a proxy needs a client that knows where the keys are.
    pub(crate) fn suits(&self, kind: Kind) -> bool {
        match kind {
            Kind::Twemproxy => self.verb != Verb::Transaction,
            Kind::DirectCluster => self.sender == Sender::RedisBenchmark,
            Kind::Direct => self.sender == Sender::Own,
            Kind::Haproxy
            | Kind::Tenantry
            | Kind::Compressing
            | Kind::Bare
            | Kind::Guarded
            | Kind::Cluster
            | Kind::Relaxed => true,
        }
    }

    /// For people: `GET 64 B, 50 connections, depth 1`.
    pub(crate) fn title(&self) -> String {
        let verb = match self.verb {
            Verb::Get => "GET",
            Verb::Set => "SET",
            Verb::Mixed => "GET or SET",
            Verb::MgetTen => "MGET of 10 ×",
            Verb::Transaction => "MULTI, 5 × GET or SET, EXEC of",
        };
        let (size, unit) = if self.value < 1024 { (self.value, "B") } else { (self.value >> 10, "KiB") };
        let keys = if self.keys == Keys::OneTag { ", one hash tag" } else { "" };
        let sender = if self.sender == Sender::RedisBenchmark { ", by redis-benchmark" } else { "" };
        let content = if self.content == Content::Json { " of JSON" } else { "" };
        format!(
            "{verb} {size} {unit}{content}, {} connections, depth {}{keys}{sender}",
            self.connections, self.depth
        )
    }

    /// `SET`s that fill every key the workload touches.
    pub(crate) fn preload(&self) -> impl Iterator<Item = Vec<u8>> {
        let value = self.sample_value();
        (0..self.key_count()).map(move |key| request(&[b"SET", &self.key_name(key), &value]))
    }

    /// Batches of `depth` requests each, to be sent one after the other, round and round.
    pub(crate) fn batches(&self) -> Vec<Box<[u8]>> {
        let mut rng = Rng::with_seed(SEED);
        let value = self.sample_value();
        let mut total = 0;
        let mut batches = Vec::new();
        while batches.len() < 16 || (batches.len() < 1024 && total < BYTES_PREPARED) {
            let mut batch = Vec::new();
            let keys = self.keys_of_a_batch(&mut rng);
            for _ in 0..self.depth {
                self.write_command(&mut batch, &value, &keys, &mut rng);
            }
            total += batch.len();
            batches.push(batch.into_boxed_slice());
        }
        batches
    }

    fn write_command(&self, batch: &mut Vec<u8>, value: &[u8], keys: &Range<usize>, rng: &mut Rng) {
        let key = |rng: &mut Rng| self.key_name(rng.usize(keys.clone()));
        match self.verb {
            Verb::Get => write_request(batch, &[b"GET", &key(rng)]),
            Verb::Set => write_request(batch, &[b"SET", &key(rng), value]),
            Verb::Mixed => write_get_or_set(batch, value, &key(rng), rng),
            Verb::Transaction => {
                write_request(batch, &[b"MULTI"]);
                for _ in 0..COMMANDS_OF_A_TRANSACTION {
                    write_get_or_set(batch, value, &key(rng), rng);
                }
                write_request(batch, &[b"EXEC"]);
            }
            Verb::MgetTen => {
                let keys: [Vec<u8>; 10] = std::array::from_fn(|_| key(rng));
                let mut arguments: Vec<&[u8]> = vec![b"MGET"];
                arguments.extend(keys.iter().map(Vec::as_slice));
                write_request(batch, &arguments);
            }
        }
    }

    fn key_count(&self) -> usize {
        (BYTES_PREPARED / self.value).min(KEYS)
    }

    /// The numbers of the keys that one batch may name.
    fn keys_of_a_batch(&self, rng: &mut Rng) -> Range<usize> {
        match self.keys {
            Keys::Anywhere => 0..self.key_count(),
            Keys::OneTag => {
                let tag = rng.usize(..self.key_count() / KEYS_OF_A_TAG);
                tag * KEYS_OF_A_TAG..(tag + 1) * KEYS_OF_A_TAG
            }
        }
    }

    fn key_name(&self, number: usize) -> Vec<u8> {
        match self.keys {
            Keys::Anywhere => format!("key:{number:06}").into_bytes(),
            Keys::OneTag => format!("{{{:04}}}:{number:06}", number / KEYS_OF_A_TAG).into_bytes(),
        }
    }

    fn sample_value(&self) -> Vec<u8> {
        let mut rng = Rng::with_seed(SEED);
        match self.content {
            Content::Letters => (0..self.value).map(|_| rng.u8(b'a'..=b'z')).collect(),
            Content::Json => {
                let rows = std::iter::repeat_with(|| json_row(&mut rng).into_bytes());
                rows.flatten().take(self.value).collect()
            }
        }
    }
}

/// What an application may keep of a user.
fn json_row(rng: &mut Rng) -> String {
    let (id, score) = (rng.u32(..1_000_000), rng.u32(..100_000));
    let (name, is_active) = (rng.u16(..), rng.bool());
    format!(
        r#"{{"id":{id},"name":"user-{name:x}","email":"u{id}@example.com","active":{is_active},"score":{score},"tags":["a","b{}"]}},"#,
        id % 7
    )
}

/// One request by itself.
pub(crate) fn request(arguments: &[&[u8]]) -> Vec<u8> {
    let mut buffer = Vec::new();
    write_request(&mut buffer, arguments);
    buffer
}

fn write_get_or_set(batch: &mut Vec<u8>, value: &[u8], key: &[u8], rng: &mut Rng) {
    if rng.bool() {
        write_request(batch, &[b"GET", key]);
    } else {
        write_request(batch, &[b"SET", key, value]);
    }
}

fn write_request(buffer: &mut Vec<u8>, arguments: &[&[u8]]) {
    buffer.extend_from_slice(format!("*{}\r\n", arguments.len()).as_bytes());
    for argument in arguments {
        buffer.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        buffer.extend_from_slice(argument);
        buffer.extend_from_slice(b"\r\n");
    }
}
