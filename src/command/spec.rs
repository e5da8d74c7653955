//! The vocabulary of the command table: what one row says, as types.
//!
//! A row answers five questions: does the server take these words (`arity`), which arguments are names that
//! belong to a tenant (`names`), where do names come back (`reply`), which node and which kind of upstream
//! connection may carry it (`routing`, `connection`), and what the proxy does with it (`verdict`).

use bitflags::bitflags;

use super::service::Service;
use super::values::Values;
use super::word::Word;

/// One command or subcommand. Rows live in [`TABLE`](super::TABLE) only: a `&'static CommandSpec` always
/// comes from it.
#[derive(Debug)]
pub struct CommandSpec {
    /// Upper case; a subcommand carries its container: `CONFIG GET`.
    pub name: &'static str,
    /// The chapter of the Redis manual it stands in.
    pub group: Group,
    /// Which servers have it.
    pub since: Since,
    /// Whether a server was seen to answer it as the row says, or only its documentation was read.
    pub evidence: Evidence,
    /// Number of words, command and subcommand included: positive is exact, negative is a minimum. `None`:
    /// not known, so the server checks it.
    pub arity: Option<i16>,
    /// What `COMMAND` reports, less `movablekeys` (the server derives it from the key positions).
    pub flags: Flags,
    /// The arguments that are names, in ascending order of position.
    pub names: &'static [NameSpec],
    /// Where names occur in the reply.
    pub reply: ReplyRule,
    /// How it spreads over the nodes of a cluster.
    pub routing: Routing,
    /// Which upstream connection may carry it; [`locate`](super::locate) narrows it to one request.
    pub connection: Connection,
    /// What the proxy does with it, once every part of Tenantry exists.
    pub verdict: Verdict,
    /// How a second word is read.
    pub subcommands: Subcommands,
    /// What a reader must know that the fields cannot say; empty for most.
    pub note: &'static str,
    /// The facts below follow from the row's place and its other fields; [`numbered`](super::table) fills
    /// them in.
    pub(super) derived: Derived,
}

/// What the compiler works out about a row while it builds the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Derived {
    /// Position in the table.
    pub(super) index: u16,
    /// Position of the container's row, or [`TOP_LEVEL`].
    pub(super) container: u16,
    /// The word that finds the row: the name, or its second half for a subcommand.
    pub(super) word: Word,
    /// What this version does with it.
    pub(super) service: Service,
    /// What it has to do with string values.
    pub(super) values: Values,
}

/// Stands for "no container" in [`Derived::container`].
pub(super) const TOP_LEVEL: u16 = u16::MAX;

impl CommandSpec {
    /// Position in [`TABLE`](super::TABLE): a dense, stable number for counters and labels.
    pub fn index(&'static self) -> usize {
        usize::from(self.derived.index)
    }

    /// Whether it is the proxy's own, which no server knows.
    pub fn is_ours(&self) -> bool {
        self.name.starts_with("TENANTRY")
    }

    /// Whether the name has two words.
    pub fn is_subcommand(&self) -> bool {
        self.derived.container != TOP_LEVEL
    }

    /// What this version of Tenantry does with the command.
    pub fn service(&self) -> Service {
        self.derived.service
    }

    /// Whether `argc` words (the command's name included) satisfy the arity.
    pub fn accepts(&self, argc: usize) -> bool {
        match self.arity {
            None => true,
            Some(arity) if arity < 0 => argc >= usize::from(arity.unsigned_abs()),
            Some(arity) => argc == usize::from(arity.unsigned_abs()),
        }
    }

    /// How the replies become one if a request is cut into one for each slot; `None`: it must not be cut.
    pub const fn splits(&self) -> Option<Merge> {
        match self.routing {
            Routing::SplitSum => Some(Merge::Sum),
            Routing::SplitAllSucceeded => Some(Merge::AllOk),
            Routing::SplitInOrder => {
                // `PUBSUB SHARDNUMSUB` answers with each name and its number.
                let each = if self.reply.names_channels() { 2 } else { 1 };
                Some(Merge::Ordered { each })
            }
            Routing::SingleSlot
            | Routing::SingleSlotOrAnyNode
            | Routing::AllShards(_)
            | Routing::AllNodes(_)
            | Routing::AnyNode
            | Routing::Coordinator
            | Routing::Cursor
            | Routing::None => None,
        }
    }
}

/// How the replies to the parts of a request that was cut per slot become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Merge {
    /// They are numbers; their sum.
    Sum,
    /// They are arrays; all elements, in the order in which the request named what they are about.
    Ordered {
        /// Elements for each name.
        each: usize,
    },
    /// `OK`, if all are.
    AllOk,
}

/// Groups of the Redis manual; each module is a group of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are those of the Redis manual")]
pub enum Group {
    Array,
    Bitmap,
    Cluster,
    Connection,
    Generic,
    Geo,
    Hash,
    HyperLogLog,
    List,
    ModuleBloom,
    ModuleJson,
    ModuleSearch,
    ModuleTimeSeries,
    PubSub,
    Scripting,
    Server,
    Set,
    SortedSet,
    Stream,
    String,
    Transactions,
    VectorSet,
}

/// The first releases that have a command. Of a module's command, the release of the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Since {
    /// In Redis (or the module for Redis).
    pub redis: Release,
    /// In Valkey.
    pub valkey: Release,
}

/// When a command appeared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// Never.
    Absent,
    /// In this release.
    In(&'static str),
    /// It exists; the release is not recorded.
    Undated,
    /// In Valkey's module of the same purpose (valkey-json, valkey-bloom, valkey-search).
    Module,
}

/// Where a row's facts come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// A running server reported the key positions.
    Seen,
    /// Published metadata; nobody ran it.
    Documented,
}

bitflags! {
    /// Command flags as `COMMAND` names them.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Flags: u32 {
        /// May change data.
        const WRITE = 1;
        /// Only reads data.
        const READONLY = 1 << 1;
        /// Refused when the server is out of memory.
        const DENYOOM = 1 << 2;
        /// Administration.
        const ADMIN = 1 << 3;
        /// Publishing and subscribing.
        const PUBSUB = 1 << 4;
        /// Not callable from scripts.
        const NOSCRIPT = 1 << 5;
        /// May hold the connection until something happens.
        const BLOCKING = 1 << 6;
        /// Allowed while the dataset is loading.
        const LOADING = 1 << 7;
        /// Allowed on a replica that lost its master.
        const STALE = 1 << 8;
        /// Not shown by `MONITOR`.
        const SKIP_MONITOR = 1 << 9;
        /// Not kept in the slow log.
        const SKIP_SLOWLOG = 1 << 10;
        /// Accepted during a cluster import.
        const ASKING = 1 << 11;
        /// Constant or logarithmic time.
        const FAST = 1 << 12;
        /// Allowed before authentication.
        const NO_AUTH = 1 << 13;
        /// Keys are optional.
        const NO_MANDATORY_KEYS = 1 << 14;
        /// Not allowed while a diskless load runs.
        const NO_ASYNC_LOADING = 1 << 15;
        /// Not allowed inside a transaction.
        const NO_MULTI = 1 << 16;
        /// Not allowed inside a transaction of Valkey 9; Redis has no such rule for it.
        const NO_MULTI_VALKEY = 1 << 17;
        /// Allowed while a script keeps the server busy.
        const ALLOW_BUSY = 1 << 18;
        /// Added by a module.
        const MODULE = 1 << 19;
        /// Runs a script. The server knows it but its `COMMAND` does not print it.
        const SCRIPT_RUNNER = 1 << 20;
    }
}

impl Flags {
    /// All of `flags` together.
    pub(super) const fn of(flags: &[Flags]) -> Flags {
        let mut union = Flags::empty();
        let mut i = 0;
        while i < flags.len() {
            union = union.union(flags[i]);
            i += 1;
        }
        union
    }
}

/// What a name in a request names, hence how a tenant's prefix is put on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NameKind {
    /// A key.
    Key,
    /// A glob over keys.
    KeyPattern,
    /// The beginning of keys, taken literally.
    KeyPrefix,
    /// A `BY` or `GET` pattern of `SORT`: its first `*` is replaced by an element.
    SortPattern,
    /// A publish/subscribe channel.
    Channel,
    /// A channel of the sharded publish/subscribe.
    ShardChannel,
    /// A glob over channels.
    ChannelPattern,
    /// A number of a database.
    Database,
    /// A search index.
    Index,
    /// A second name of a search index.
    Alias,
    /// A search dictionary.
    Dictionary,
    /// The number of a search cursor.
    Cursor,
    /// A function library.
    Library,
    /// A glob over function libraries.
    LibraryPattern,
    /// A function.
    Function,
}

impl NameKind {
    /// Whether it names channels, which no database has to itself.
    pub const fn is_channel(self) -> bool {
        matches!(self, Self::Channel | Self::ShardChannel | Self::ChannelPattern)
    }
}

/// What happens to what a name names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It is read.
    ReadOnly,
    /// It is read and changed.
    ReadWrite,
    /// As `ReadWrite`, less with some arguments (the server calls it `variable_flags`).
    Varies,
    /// It is replaced without being read.
    Overwrite,
    /// It is removed.
    Remove,
    /// Only the name itself is used.
    None,
}

/// A rule that finds names among the arguments. Positions count from the command's name, which is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameSpec {
    /// Every `step`-th argument from `first` to `last`.
    Range {
        /// What they name.
        kind: NameKind,
        /// First position.
        first: u32,
        /// Last position; negative counts from the end, -1 is the last argument.
        last: i32,
        /// Distance between two names, at least 1.
        step: u32,
        /// What happens to them.
        access: Access,
    },
    /// As many keys as the argument at `count_at` says, every `step`-th one from `count_at + 1`.
    ///
    /// If the count is no number, out of range, or zero where `zero` forbids it, **every** argument after it
    /// is marked: the server then refuses the request in its own words, and nothing it could have taken for a
    /// key was left alone.
    NumKeys {
        /// Position of the count.
        count_at: u32,
        /// Distance between two keys, at least 1.
        step: u32,
        /// Whether no keys at all is a valid request.
        zero: bool,
        /// What happens to the keys.
        access: Access,
    },
    /// Options from `first` to the end, walked as the server walks them: operands are consumed before the
    /// next option is looked for, and an option may be repeated.
    ///
    /// A word that is no option, or an option whose operands are missing, is marked as a key together with
    /// everything after it. No option begins with a prefix, so the server refuses the request in its own
    /// words.
    Options {
        /// Position of the first option.
        first: u32,
        /// The options.
        options: &'static [Opt],
    },
    /// As `Options`, and one of them ([`Operands::Streams`]) has to occur.
    Streams {
        /// Position of the first option.
        first: u32,
        /// The options.
        options: &'static [Opt],
    },
    /// The word `BLOCK` at or after `first` makes the request block. Names nothing.
    BlockWord {
        /// First position that is looked at.
        first: u32,
    },
    /// `WORD count name...` at or after `first`, wherever `WORD` occurs. Over-eager (a field may be called
    /// like the option), so good enough to refuse or explain a request, not to rewrite it.
    Counted {
        /// The option, upper case.
        word: &'static str,
        /// What its operands name.
        kind: NameKind,
        /// First position that is looked at.
        first: u32,
    },
    /// `TERMS INCLUDE|EXCLUDE dictionary` at or after `first`; over-eager like `Counted`.
    Terms {
        /// First position that is looked at.
        first: u32,
    },
    /// The arguments from `at` are a command of their own, with its own names.
    Nested {
        /// Position of the inner command's name.
        at: u32,
    },
    /// The arguments from `at` are a command that is looked at and not run, so its names reach nothing and
    /// stay as they are. It has to be one that is served.
    Described {
        /// Position of the inner command's name.
        at: u32,
    },
    /// `DEBUG`: the server reports no keys, yet most of its subcommands take them; all arguments after the
    /// subcommand are marked.
    Debug,
}

/// One option of [`NameSpec::Options`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opt {
    /// The word, upper case.
    pub word: &'static str,
    /// What follows it.
    pub operands: Operands,
}

/// What follows an option's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operands {
    /// This many operands that name nothing.
    Plain(u32),
    /// One operand that names nothing; the request blocks.
    Block,
    /// One name.
    Name(NameKind, Access),
    /// One `SORT` pattern, or exactly `#`, which names nothing.
    GetPattern,
    /// Names up to the end.
    Rest(NameKind, Access),
    /// Keys, then as many ids, up to the end. If they are not pairs, all are marked (the server refuses
    /// them).
    Streams(Access),
}

/// Where names occur in a reply, hence how the prefix is taken off, or what in it a tenant must not see.
/// Closed: a reply that fits none is not forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReplyRule {
    /// Nowhere.
    NoNames,
    /// Null, or an array that begins with a key (`BLPOP`, `LMPOP`).
    FirstElementKey,
    /// Null, an array of pairs that begin with a key, or (RESP3) a map from keys.
    Xread,
    /// As `Xread`; a `-NOGROUP` error carries the key.
    XreadOrNoGroup,
    /// Only in a `-NOGROUP` error.
    NoGroupError,
    /// An array (or RESP3 set) of keys.
    ArrayOfKeys,
    /// Null or one key.
    ScalarKey,
    /// A cursor, then an array of keys.
    Scan,
    /// Channels and numbers in turn, flat in both protocols.
    AlternatingChannelCount,
    /// An array of channels.
    ArrayOfChannels,
    /// One confirmation per name, then messages out of band (`SUBSCRIBE` and its kin).
    Subscription,
    /// Invalidations out of band, which carry keys.
    Invalidations,
    /// The `prefixes` of `CLIENT TRACKINGINFO`.
    TrackingPrefixes,
    /// Whatever the script returned.
    Script,
    /// One reply for each queued command, each by its own rule.
    Exec,
    /// `sourceKey`, the keys of `rules`, `keySelfName`.
    TsInfo,
    /// Keys and group names of time series that match a filter.
    TimeSeries,
    /// Documents, index and alias names of the search module; the layout follows the request's options.
    Search,
    /// Names of libraries and functions, and their code.
    Functions,
    /// Entries that carry the arguments of past commands, client addresses and names.
    LogEntries,
    /// Keys and numbers in turn, per metric (`HOTKEYS GET`).
    HotKeys,
    /// Prose or lines of text about the whole server or all its clients.
    FreeText,
    /// Nowhere, and only a part of it is for a tenant to see.
    Listing(Listing),
}

/// A reply that lists what the server has, of which a tenant sees what it is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Listing {
    /// `COMMAND`: an entry for each command, with entries of its subcommands.
    Commands,
    /// `COMMAND INFO`: the same entries, but one or null for each name in the request, if it has any.
    CommandsByName,
    /// `COMMAND DOCS`: a map from names, with maps of subcommands.
    CommandDocs,
    /// `COMMAND LIST`: names of commands and subcommands.
    CommandNames,
    /// `ACL CAT`: the same, if the request has a category; otherwise the categories.
    Category,
    /// `CONFIG GET`: a map from parameters.
    Parameters,
}

impl ReplyRule {
    /// Whether the names are channels, which no database has to itself.
    pub const fn names_channels(self) -> bool {
        matches!(self, Self::AlternatingChannelCount | Self::ArrayOfChannels)
    }

    /// The rule for the reply to a request of `argc` words: what two listings hold depends on whether the
    /// request has arguments.
    #[must_use]
    pub const fn of_request(self, argc: usize) -> Self {
        let has_arguments = argc > 2;
        if matches!(self, Self::Listing(Listing::CommandsByName)) && !has_arguments {
            Self::Listing(Listing::Commands)
        } else if matches!(self, Self::Listing(Listing::Category)) && !has_arguments {
            Self::NoNames
        } else {
            self
        }
    }
}

/// How a command spreads over a cluster's nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Routing {
    /// All its names share a slot.
    SingleSlot,
    /// As `SingleSlot`; without names any node will do.
    SingleSlotOrAnyNode,
    /// May be cut per slot; the replies' elements are put back in order.
    SplitInOrder,
    /// May be cut per slot; the replies are added up. Equal keys stay in one part.
    SplitSum,
    /// May be cut per slot; succeeds if every part does.
    SplitAllSucceeded,
    /// One node per shard.
    AllShards(Gather),
    /// Every node.
    AllNodes(Gather),
    /// Any node.
    AnyNode,
    /// Any node; the module there asks the others.
    Coordinator,
    /// The cursor tells the shard.
    Cursor,
    /// It is never forwarded.
    None,
}

/// How the replies of several nodes become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Gather {
    /// The first one, if all succeed.
    AllSucceeded,
    /// The first success.
    OneSucceeded,
    /// Their sum.
    Sum,
    /// A sum for each channel.
    SumPerChannel,
    /// The smallest.
    Min,
    /// All distinct elements.
    Union,
    /// All elements.
    Concat,
    /// A rule of its own.
    Special,
}

/// Which upstream connection may carry a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Connection {
    /// Any; it is shared with other clients.
    Shared,
    /// None: the proxy holds the state it is about.
    Local,
    /// One of its own while it waits.
    Blocking,
    /// `Blocking` with the option `BLOCK`, else `Shared`.
    BlockingIfBlock,
    /// The same one from `WATCH` or `MULTI` to `EXEC` or `DISCARD`.
    Transaction,
    /// The one that holds the subscriptions.
    PubSub,
    /// The one that receives the invalidations.
    Tracking,
    /// The one that carried the client's last write.
    Wait,
    /// One on which the proxy has prepared the client's field sets.
    FieldSets,
    /// It is never forwarded.
    None,
}

/// What the proxy does with a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Forwards it unchanged.
    Pass,
    /// Puts the prefix on the names and takes it off the reply, or cuts the reply to what a tenant may see.
    Rewrite,
    /// Answers it, or composes the answer, without asking about the keyspace.
    Emulate,
    /// Answers for the tenant's part of what the command is about.
    Scoped,
    /// Serves it to an operator's identity only.
    AdminOnly,
    /// Refuses it.
    Deny,
    /// Has only subcommands.
    Container,
}

/// How the second word of a command is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subcommands {
    /// As an argument.
    None,
    /// As a subcommand; an unknown one is an error.
    Named,
    /// As an argument by the server; the table has rows for some of its values, the command's own row is for
    /// the others.
    Flat,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::TABLE;

    #[test]
    fn only_what_need_not_happen_at_once_is_cut() {
        let cut = TABLE.iter().filter_map(|row| Some((row.name, row.splits()?)));
        let expected = [
            ("DEL", Merge::Sum),
            ("EXISTS", Merge::Sum),
            ("JSON.MGET", Merge::Ordered { each: 1 }),
            ("MGET", Merge::Ordered { each: 1 }),
            ("MSET", Merge::AllOk),
            ("PUBSUB SHARDNUMSUB", Merge::Ordered { each: 2 }),
            ("TOUCH", Merge::Sum),
            ("UNLINK", Merge::Sum),
        ];
        assert_eq!(expected.to_vec(), cut.collect::<Vec<_>>());
    }
}
