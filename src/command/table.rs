//! The table: one row per command and subcommand, in byte order of the names, each subcommand after its
//! container.
//!
//! A row shows what it does not share with its kind: `..keyed(group)` and its siblings below give the rest.
//! The facts were read from running servers (Redis 7.0.15, 8.0.6, 8.6.3 with modules, Valkey 9.1.2,
//! `RediSearch` 2.6.20) and, where a row says [`Documented`], from published metadata up to Redis 8.10.
//! `tests/beside_redis/command_table.rs` compares every row that the installed server knows with what that
//! server says.

use super::service::Service;
use super::spec::Access::{self, Overwrite, ReadOnly, ReadWrite, Remove, Varies};
use super::spec::Evidence::{Documented, Seen};
use super::spec::NameKind::{
    self, Alias, Channel, ChannelPattern, Database, Dictionary, Function, Index, Key, KeyPattern, KeyPrefix,
    Library, LibraryPattern, ShardChannel,
};
use super::spec::NameSpec::{
    self, BlockWord, Counted, Debug, Described, Nested, NumKeys, Options, Range, Streams, Terms,
};
use super::spec::Operands::{Block, GetPattern, Name, Plain, Rest};
use super::spec::Release::{Absent, In, Module, Undated};
use super::spec::ReplyRule::{
    AlternatingChannelCount, ArrayOfChannels, ArrayOfKeys, Exec, FirstElementKey, FreeText, Functions,
    HotKeys, Invalidations, LogEntries, NoGroupError, NoNames, ScalarKey, Scan, Script, Search, Subscription,
    TimeSeries, TrackingPrefixes, TsInfo, Xread, XreadOrNoGroup,
};
use super::spec::Routing::{
    self, AllNodes, AllShards, AnyNode, Coordinator, Cursor, SingleSlot, SingleSlotOrAnyNode,
    SplitAllSucceeded, SplitInOrder, SplitSum,
};
use super::spec::Subcommands::{self, Flat, Named};
use super::spec::{
    CommandSpec, Connection, Derived, Flags, Gather, Group, Listing, Operands, Opt, ReplyRule, Since,
    TOP_LEVEL, Verdict,
};
use super::values::Values;
use super::word::Word;

/// Number of rows.
pub const COMMANDS: usize = 627;

/// Every command and subcommand.
pub static TABLE: [CommandSpec; COMMANDS] = numbered([
    CommandSpec { name: "ACL", since: both("6.0.0"), arity: Some(-2), ..container(Group::Server) },
    CommandSpec {
        name: "ACL CAT",
        since: both("6.0.0"),
        arity: Some(-2),
        flags: of(&[NOSCRIPT, LOADING, STALE]),
        note: "leaves out what tenants are not served",
        ..listing(Group::Server, Listing::Category)
    },
    CommandSpec {
        name: "ACL DELUSER",
        since: both("6.0.0"),
        arity: Some(-3),
        flags: of(&[ADMIN, NOSCRIPT, LOADING, STALE]),
        routing: AllNodes(Gather::AllSucceeded),
        note: "shows or changes the users of all tenants",
        ..admin_only(Group::Server)
    },
    CommandSpec {
        name: "ACL DRYRUN",
        since: both("7.0.0"),
        arity: Some(-4),
        flags: of(&[ADMIN, NOSCRIPT, LOADING, STALE]),
        names: &[Nested { at: 3 }],
        routing: SingleSlot,
        note: "its answer names the key and the user",
        ..admin_only(Group::Server)
    },
    CommandSpec {
        name: "ACL GENPASS",
        since: both("6.0.0"),
        arity: Some(-2),
        flags: of(&[NOSCRIPT, LOADING, STALE]),
        ..passed(Group::Server)
    },
    CommandSpec {
        name: "ACL GETUSER",
        since: both("6.0.0"),
        arity: Some(3),
        flags: of(&[ADMIN, NOSCRIPT, LOADING, STALE]),
        note: "shows or changes the users of all tenants",
        ..admin_only(Group::Server)
    },
    CommandSpec {
        name: "ACL HELP",
        since: both("6.0.0"),
        arity: Some(2),
        flags: of(&[LOADING, STALE]),
        ..passed(Group::Server)
    },
    CommandSpec {
        name: "ACL LIST",
        since: both("6.0.0"),
        arity: Some(2),
        flags: of(&[ADMIN, NOSCRIPT, LOADING, STALE]),
        note: "shows or changes the users of all tenants",
        ..admin_only(Group::Server)
    },
    CommandSpec {
        name: "ACL LOAD",
        since: both("6.0.0"),
        arity: Some(2),
        flags: of(&[ADMIN, NOSCRIPT, LOADING, STALE]),
        note: "shows or changes the users of all tenants",
        ..admin_only(Group::Server)
    },
    CommandSpec {
        name: "ACL LOG",
        since: both("6.0.0"),
        arity: Some(-2),
        flags: of(&[ADMIN, NOSCRIPT, LOADING, STALE]),
        note: "shows or changes the users of all tenants",
        ..admin_only(Group::Server)
    },
    CommandSpec {
        name: "ACL SAVE",
        since: both("6.0.0"),
        arity: Some(2),
        flags: of(&[ADMIN, NOSCRIPT, LOADING, STALE]),
        routing: AllNodes(Gather::AllSucceeded),
        note: "shows or changes the users of all tenants",
        ..admin_only(Group::Server)
    },
    CommandSpec {
        name: "ACL SETUSER",
        since: both("6.0.0"),
        arity: Some(-3),
        flags: of(&[ADMIN, NOSCRIPT, LOADING, STALE]),
        routing: AllNodes(Gather::AllSucceeded),
        note: "shows or changes the users of all tenants",
        ..admin_only(Group::Server)
    },
    CommandSpec {
        name: "ACL USERS",
        since: both("6.0.0"),
        arity: Some(2),
        flags: of(&[ADMIN, NOSCRIPT, LOADING, STALE]),
        note: "shows or changes the users of all tenants",
        ..admin_only(Group::Server)
    },
    CommandSpec {
        name: "ACL WHOAMI",
        since: both("6.0.0"),
        arity: Some(2),
        flags: of(&[NOSCRIPT, LOADING, STALE]),
        ..emulated(Group::Server)
    },
    CommandSpec {
        name: "APPEND",
        since: both("2.0.0"),
        arity: Some(3),
        flags: of(&[WRITE, DENYOOM, FAST]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::String)
    },
    CommandSpec {
        name: "ARCOUNT",
        since: redis("8.8.0"),
        evidence: Documented,
        arity: Some(2),
        flags: of(&[READONLY, FAST]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::Array)
    },
    CommandSpec {
        name: "ARDEL",
        since: redis("8.8.0"),
        evidence: Documented,
        arity: Some(-3),
        flags: of(&[WRITE, FAST]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::Array)
    },
    CommandSpec {
        name: "ARDELRANGE",
        since: redis("8.8.0"),
        evidence: Documented,
        arity: Some(-4),
        flags: WRITE,
        names: &[key(1, ReadWrite)],
        ..keyed(Group::Array)
    },
    CommandSpec {
        name: "ARGET",
        since: redis("8.8.0"),
        evidence: Documented,
        arity: Some(3),
        flags: of(&[READONLY, FAST]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::Array)
    },
    CommandSpec {
        name: "ARGETRANGE",
        since: redis("8.8.0"),
        evidence: Documented,
        arity: Some(4),
        flags: READONLY,
        names: &[key(1, ReadOnly)],
        ..keyed(Group::Array)
    },
    CommandSpec {
        name: "ARGREP",
        since: redis("8.8.0"),
        evidence: Documented,
        arity: Some(-6),
        flags: READONLY,
        names: &[key(1, ReadOnly)],
        ..keyed(Group::Array)
    },
    CommandSpec {
        name: "ARINFO",
        since: redis("8.8.0"),
        evidence: Documented,
        arity: Some(-2),
        flags: READONLY,
        names: &[key(1, ReadOnly)],
        ..keyed(Group::Array)
    },
    CommandSpec {
        name: "ARINSERT",
        since: redis("8.8.0"),
        evidence: Documented,
        arity: Some(-3),
        flags: of(&[WRITE, DENYOOM, FAST]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::Array)
    },
    CommandSpec {
        name: "ARLASTITEMS",
        since: redis("8.8.0"),
        evidence: Documented,
        arity: Some(-3),
        flags: READONLY,
        names: &[key(1, ReadOnly)],
        ..keyed(Group::Array)
    },
    CommandSpec {
        name: "ARLEN",
        since: redis("8.8.0"),
        evidence: Documented,
        arity: Some(2),
        flags: of(&[READONLY, FAST]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::Array)
    },
    CommandSpec {
        name: "ARMGET",
        since: redis("8.8.0"),
        evidence: Documented,
        arity: Some(-3),
        flags: of(&[READONLY, FAST]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::Array)
    },
    CommandSpec {
        name: "ARMSET",
        since: redis("8.8.0"),
        evidence: Documented,
        arity: Some(-4),
        flags: of(&[WRITE, DENYOOM, FAST]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::Array)
    },
    CommandSpec {
        name: "ARNEXT",
        since: redis("8.8.0"),
        evidence: Documented,
        arity: Some(2),
        flags: of(&[READONLY, FAST]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::Array)
    },
    CommandSpec {
        name: "AROP",
        since: redis("8.8.0"),
        evidence: Documented,
        arity: Some(-5),
        flags: READONLY,
        names: &[key(1, ReadOnly)],
        ..keyed(Group::Array)
    },
    CommandSpec {
        name: "ARRING",
        since: redis("8.8.0"),
        evidence: Documented,
        arity: Some(-4),
        flags: of(&[WRITE, DENYOOM]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::Array)
    },
    CommandSpec {
        name: "ARSCAN",
        since: redis("8.8.0"),
        evidence: Documented,
        arity: Some(-4),
        flags: READONLY,
        names: &[key(1, ReadOnly)],
        ..keyed(Group::Array)
    },
    CommandSpec {
        name: "ARSEEK",
        since: redis("8.8.0"),
        evidence: Documented,
        arity: Some(3),
        flags: of(&[WRITE, FAST]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::Array)
    },
    CommandSpec {
        name: "ARSET",
        since: redis("8.8.0"),
        evidence: Documented,
        arity: Some(-4),
        flags: of(&[WRITE, DENYOOM, FAST]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::Array)
    },
    CommandSpec {
        name: "ASKING",
        since: both("3.0.0"),
        arity: Some(1),
        flags: FAST,
        note: "answers as a server without cluster support (Valkey 9 says OK to READONLY)",
        ..emulated(Group::Cluster)
    },
    CommandSpec {
        name: "AUTH",
        since: both("1.0.0"),
        arity: Some(-2),
        flags: of(&[NOSCRIPT, LOADING, STALE, FAST, NO_AUTH, ALLOW_BUSY]),
        note: "selects the tenant",
        ..emulated(Group::Connection)
    },
    CommandSpec {
        name: "BACKUP",
        since: redis("8.10.0"),
        evidence: Documented,
        arity: Some(2),
        ..container(Group::Server)
    },
    CommandSpec {
        name: "BACKUP ABORT",
        since: redis("8.10.0"),
        evidence: Documented,
        arity: Some(2),
        flags: of(&[ADMIN, NOSCRIPT]),
        ..admin_only(Group::Server)
    },
    CommandSpec {
        name: "BACKUP CLEANUP",
        since: redis("8.10.0"),
        evidence: Documented,
        arity: Some(2),
        flags: of(&[ADMIN, NOSCRIPT]),
        ..admin_only(Group::Server)
    },
    CommandSpec {
        name: "BACKUP HELP",
        since: redis("8.10.0"),
        evidence: Documented,
        arity: Some(2),
        flags: of(&[LOADING, STALE]),
        ..passed(Group::Server)
    },
    CommandSpec {
        name: "BACKUP LIST",
        since: redis("8.10.0"),
        evidence: Documented,
        arity: Some(2),
        flags: of(&[ADMIN, STALE]),
        ..admin_only(Group::Server)
    },
    CommandSpec {
        name: "BACKUP SEAL",
        since: redis("8.10.0"),
        evidence: Documented,
        arity: Some(2),
        flags: of(&[ADMIN, NOSCRIPT]),
        ..admin_only(Group::Server)
    },
    CommandSpec {
        name: "BACKUP START",
        since: redis("8.10.0"),
        evidence: Documented,
        arity: Some(2),
        flags: of(&[ADMIN, NOSCRIPT]),
        ..admin_only(Group::Server)
    },
    CommandSpec {
        name: "BACKUP STATUS",
        since: redis("8.10.0"),
        evidence: Documented,
        arity: Some(2),
        flags: of(&[ADMIN, STALE]),
        ..admin_only(Group::Server)
    },
    CommandSpec {
        name: "BF.ADD",
        since: module("1.0.0"),
        arity: Some(3),
        flags: of(&[WRITE, DENYOOM, MODULE]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::ModuleBloom)
    },
    CommandSpec {
        name: "BF.CARD",
        since: module("2.4.4"),
        arity: Some(2),
        flags: of(&[READONLY, MODULE, FAST]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::ModuleBloom)
    },
    CommandSpec {
        name: "BF.DEBUG",
        since: redis("1.0.0"),
        arity: Some(2),
        flags: of(&[READONLY, MODULE, FAST]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::ModuleBloom)
    },
    CommandSpec {
        name: "BF.EXISTS",
        since: module("1.0.0"),
        arity: Some(3),
        flags: of(&[READONLY, MODULE, FAST]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::ModuleBloom)
    },
    CommandSpec {
        name: "BF.INFO",
        since: module("1.0.0"),
        arity: Some(-2),
        flags: of(&[READONLY, MODULE, FAST]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::ModuleBloom)
    },
    CommandSpec {
        name: "BF.INSERT",
        since: module("1.0.0"),
        arity: Some(-4),
        flags: of(&[WRITE, DENYOOM, MODULE]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::ModuleBloom)
    },
    CommandSpec {
        name: "BF.LOAD",
        since: Since { redis: Absent, valkey: Module },
        evidence: Documented,
        names: &[key(1, ReadWrite)],
        note: "the payload is opaque to the proxy",
        ..keyed(Group::ModuleBloom)
    },
    CommandSpec {
        name: "BF.LOADCHUNK",
        since: redis("1.0.0"),
        arity: Some(4),
        flags: of(&[WRITE, DENYOOM, MODULE]),
        names: &[key(1, ReadWrite)],
        note: "the payload is opaque to the proxy",
        ..keyed(Group::ModuleBloom)
    },
    CommandSpec {
        name: "BF.MADD",
        since: module("1.0.0"),
        arity: Some(-3),
        flags: of(&[WRITE, DENYOOM, MODULE]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::ModuleBloom)
    },
    CommandSpec {
        name: "BF.MEXISTS",
        since: module("1.0.0"),
        arity: Some(-3),
        flags: of(&[READONLY, MODULE, FAST]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::ModuleBloom)
    },
    CommandSpec {
        name: "BF.RESERVE",
        since: module("1.0.0"),
        arity: Some(-4),
        flags: of(&[WRITE, DENYOOM, MODULE]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::ModuleBloom)
    },
    CommandSpec {
        name: "BF.SCANDUMP",
        since: redis("1.0.0"),
        arity: Some(3),
        flags: of(&[READONLY, MODULE, FAST]),
        names: &[key(1, ReadWrite)],
        note: "the payload is opaque to the proxy",
        ..keyed(Group::ModuleBloom)
    },
    CommandSpec {
        name: "BGREWRITEAOF",
        since: both("1.0.0"),
        arity: Some(1),
        flags: of(&[ADMIN, NOSCRIPT, NO_ASYNC_LOADING]),
        ..admin_only(Group::Server)
    },
    CommandSpec {
        name: "BGSAVE",
        since: both("1.0.0"),
        arity: Some(-1),
        flags: of(&[ADMIN, NOSCRIPT, NO_ASYNC_LOADING]),
        ..admin_only(Group::Server)
    },
    CommandSpec {
        name: "BITCOUNT",
        since: both("2.6.0"),
        arity: Some(-2),
        flags: READONLY,
        names: &[key(1, ReadOnly)],
        ..keyed(Group::Bitmap)
    },
    CommandSpec {
        name: "BITFIELD",
        since: both("3.2.0"),
        arity: Some(-2),
        flags: of(&[WRITE, DENYOOM]),
        names: &[key(1, Varies)],
        ..keyed(Group::Bitmap)
    },
    CommandSpec {
        name: "BITFIELD_RO",
        since: both("6.0.0"),
        arity: Some(-2),
        flags: of(&[READONLY, FAST]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::Bitmap)
    },
    CommandSpec {
        name: "BITOP",
        since: both("2.6.0"),
        arity: Some(-4),
        flags: of(&[WRITE, DENYOOM]),
        names: &[key(2, Overwrite), keys(3, -1, 1, ReadOnly)],
        ..keyed(Group::Bitmap)
    },
    CommandSpec {
        name: "BITPOS",
        since: both("2.8.7"),
        arity: Some(-3),
        flags: READONLY,
        names: &[key(1, ReadOnly)],
        ..keyed(Group::Bitmap)
    },
    CommandSpec {
        name: "BLMOVE",
        since: both("6.2.0"),
        arity: Some(6),
        flags: of(&[WRITE, DENYOOM, BLOCKING]),
        names: &[key(1, ReadWrite), key(2, ReadWrite)],
        connection: Connection::Blocking,
        note: "never blocks inside a transaction or a script",
        ..keyed(Group::List)
    },
    CommandSpec {
        name: "BLMOVEM",
        since: redis("8.10.0"),
        evidence: Documented,
        arity: Some(-6),
        flags: of(&[WRITE, DENYOOM, BLOCKING]),
        names: &[key(1, ReadWrite), key(2, ReadWrite)],
        connection: Connection::Blocking,
        note: "never blocks inside a transaction or a script",
        ..keyed(Group::List)
    },
    CommandSpec {
        name: "BLMPOP",
        since: both("7.0.0"),
        arity: Some(-5),
        flags: of(&[WRITE, BLOCKING]),
        names: &[counted_keys(2, ReadWrite)],
        reply: FirstElementKey,
        connection: Connection::Blocking,
        ..keyed(Group::List)
    },
    CommandSpec {
        name: "BLPOP",
        since: both("2.0.0"),
        arity: Some(-3),
        flags: of(&[WRITE, BLOCKING]),
        names: &[keys(1, -2, 1, ReadWrite)],
        reply: FirstElementKey,
        connection: Connection::Blocking,
        ..keyed(Group::List)
    },
    CommandSpec {
        name: "BRPOP",
        since: both("2.0.0"),
        arity: Some(-3),
        flags: of(&[WRITE, BLOCKING]),
        names: &[keys(1, -2, 1, ReadWrite)],
        reply: FirstElementKey,
        connection: Connection::Blocking,
        ..keyed(Group::List)
    },
    CommandSpec {
        name: "BRPOPLPUSH",
        since: both("2.2.0"),
        arity: Some(4),
        flags: of(&[WRITE, DENYOOM, BLOCKING]),
        names: &[key(1, ReadWrite), key(2, ReadWrite)],
        connection: Connection::Blocking,
        note: "never blocks inside a transaction or a script",
        ..keyed(Group::List)
    },
    CommandSpec {
        name: "BZMPOP",
        since: both("7.0.0"),
        arity: Some(-5),
        flags: of(&[WRITE, BLOCKING]),
        names: &[counted_keys(2, ReadWrite)],
        reply: FirstElementKey,
        connection: Connection::Blocking,
        ..keyed(Group::SortedSet)
    },
    CommandSpec {
        name: "BZPOPMAX",
        since: both("5.0.0"),
        arity: Some(-3),
        flags: of(&[WRITE, BLOCKING, FAST]),
        names: &[keys(1, -2, 1, ReadWrite)],
        reply: FirstElementKey,
        connection: Connection::Blocking,
        ..keyed(Group::SortedSet)
    },
    CommandSpec {
        name: "BZPOPMIN",
        since: both("5.0.0"),
        arity: Some(-3),
        flags: of(&[WRITE, BLOCKING, FAST]),
        names: &[keys(1, -2, 1, ReadWrite)],
        reply: FirstElementKey,
        connection: Connection::Blocking,
        ..keyed(Group::SortedSet)
    },
    CommandSpec {
        name: "CF.ADD",
        since: redis("1.0.0"),
        arity: Some(3),
        flags: of(&[WRITE, DENYOOM, MODULE]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::ModuleBloom)
    },
    CommandSpec {
        name: "CF.ADDNX",
        since: redis("1.0.0"),
        arity: Some(3),
        flags: of(&[WRITE, DENYOOM, MODULE]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::ModuleBloom)
    },
    CommandSpec {
        name: "CF.COMPACT",
        since: Since { redis: Undated, valkey: Absent },
        arity: Some(-1),
        flags: of(&[READONLY, MODULE, FAST]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::ModuleBloom)
    },
    CommandSpec {
        name: "CF.COUNT",
        since: redis("1.0.0"),
        arity: Some(3),
        flags: of(&[READONLY, MODULE, FAST]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::ModuleBloom)
    },
    CommandSpec {
        name: "CF.DEBUG",
        since: redis("1.0.0"),
        arity: Some(2),
        flags: of(&[READONLY, MODULE, FAST]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::ModuleBloom)
    },
    CommandSpec {
        name: "CF.DEL",
        since: redis("1.0.0"),
        arity: Some(3),
        flags: of(&[WRITE, MODULE, FAST]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::ModuleBloom)
    },
    CommandSpec {
        name: "CF.EXISTS",
        since: redis("1.0.0"),
        arity: Some(3),
        flags: of(&[READONLY, MODULE, FAST]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::ModuleBloom)
    },
    CommandSpec {
        name: "CF.INFO",
        since: redis("1.0.0"),
        arity: Some(2),
        flags: of(&[READONLY, MODULE, FAST]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::ModuleBloom)
    },
    CommandSpec {
        name: "CF.INSERT",
        since: redis("1.0.0"),
        arity: Some(-4),
        flags: of(&[WRITE, DENYOOM, MODULE]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::ModuleBloom)
    },
    CommandSpec {
        name: "CF.INSERTNX",
        since: redis("1.0.0"),
        arity: Some(-4),
        flags: of(&[WRITE, DENYOOM, MODULE]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::ModuleBloom)
    },
    CommandSpec {
        name: "CF.LOADCHUNK",
        since: redis("1.0.0"),
        arity: Some(4),
        flags: of(&[WRITE, DENYOOM, MODULE]),
        names: &[key(1, ReadWrite)],
        note: "the payload is opaque to the proxy",
        ..keyed(Group::ModuleBloom)
    },
    CommandSpec {
        name: "CF.MEXISTS",
        since: redis("1.0.0"),
        arity: Some(-3),
        flags: of(&[READONLY, MODULE, FAST]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::ModuleBloom)
    },
    CommandSpec {
        name: "CF.RESERVE",
        since: redis("1.0.0"),
        arity: Some(-3),
        flags: of(&[WRITE, DENYOOM, MODULE]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::ModuleBloom)
    },
    CommandSpec {
        name: "CF.SCANDUMP",
        since: redis("1.0.0"),
        arity: Some(3),
        flags: of(&[READONLY, MODULE, FAST]),
        names: &[key(1, ReadWrite)],
        note: "the payload is opaque to the proxy",
        ..keyed(Group::ModuleBloom)
    },
    CommandSpec { name: "CLIENT", since: both("2.4.0"), arity: Some(-2), ..container(Group::Connection) },
    CommandSpec {
        name: "CLIENT CACHING",
        since: both("6.0.0"),
        arity: Some(3),
        flags: of(&[NOSCRIPT, LOADING, STALE]),
        note: "applies to the very next command",
        ..emulated(Group::Connection)
    },
    CommandSpec {
        name: "CLIENT CAPA",
        since: valkey("8.0.0"),
        arity: Some(-3),
        flags: of(&[NOSCRIPT, LOADING, STALE, ALLOW_BUSY]),
        note: "accepted without effect",
        ..emulated(Group::Connection)
    },
    CommandSpec {
        name: "CLIENT GETNAME",
        since: both("2.6.9"),
        arity: Some(2),
        flags: of(&[NOSCRIPT, LOADING, STALE]),
        ..emulated(Group::Connection)
    },
    CommandSpec {
        name: "CLIENT GETREDIR",
        since: both("6.0.0"),
        arity: Some(2),
        flags: of(&[NOSCRIPT, LOADING, STALE]),
        ..emulated(Group::Connection)
    },
    CommandSpec {
        name: "CLIENT HELP",
        since: both("5.0.0"),
        arity: Some(2),
        flags: of(&[LOADING, STALE]),
        ..passed(Group::Connection)
    },
    CommandSpec {
        name: "CLIENT ID",
        since: both("5.0.0"),
        arity: Some(2),
        flags: of(&[NOSCRIPT, LOADING, STALE]),
        ..emulated(Group::Connection)
    },
    CommandSpec {
        name: "CLIENT IMPORT-SOURCE",
        since: valkey("8.1.0"),
        arity: Some(3),
        flags: of(&[NOSCRIPT, LOADING, STALE]),
        ..denied(Group::Connection)
    },
    CommandSpec {
        name: "CLIENT INFO",
        since: both("6.2.0"),
        arity: Some(2),
        flags: of(&[NOSCRIPT, LOADING, STALE]),
        reply: FreeText,
        note: "the server sees the proxy's connections, not the clients'",
        ..scoped(Group::Connection)
    },
    CommandSpec {
        name: "CLIENT KILL",
        since: both("2.4.0"),
        arity: Some(-3),
        flags: of(&[ADMIN, NOSCRIPT, LOADING, STALE]),
        note: "the server resolves ids and addresses among the clients of all tenants",
        ..scoped(Group::Connection)
    },
    CommandSpec {
        name: "CLIENT LIST",
        since: both("2.4.0"),
        arity: Some(-2),
        flags: of(&[ADMIN, NOSCRIPT, LOADING, STALE]),
        reply: FreeText,
        note: "the server sees the proxy's connections, not the clients'",
        ..scoped(Group::Connection)
    },
    CommandSpec {
        name: "CLIENT MAINT_NOTIFICATIONS",
        since: Since { redis: Absent, valkey: Absent },
        evidence: Documented,
        note: "clients send it when they connect and expect the error for an unknown subcommand",
        ..emulated(Group::Connection)
    },
    CommandSpec {
        name: "CLIENT NO-EVICT",
        since: both("7.0.0"),
        arity: Some(3),
        flags: of(&[ADMIN, NOSCRIPT, LOADING, STALE]),
        ..emulated(Group::Connection)
    },
    CommandSpec {
        name: "CLIENT NO-TOUCH",
        since: both("7.2.0"),
        arity: Some(3),
        flags: of(&[NOSCRIPT, LOADING, STALE]),
        note: "accepted without effect: reads still count for eviction",
        ..emulated(Group::Connection)
    },
    CommandSpec {
        name: "CLIENT PAUSE",
        since: both("3.0.0"),
        arity: Some(-3),
        flags: of(&[ADMIN, NOSCRIPT, LOADING, STALE]),
        note: "the server can only pause all tenants at once",
        ..scoped(Group::Connection)
    },
    CommandSpec {
        name: "CLIENT REPLY",
        since: both("3.2.0"),
        arity: Some(3),
        flags: of(&[NOSCRIPT, LOADING, STALE, NO_MULTI_VALKEY]),
        note: "OFF keeps back everything but pushes",
        ..emulated(Group::Connection)
    },
    CommandSpec {
        name: "CLIENT SETINFO",
        since: both("7.2.0"),
        arity: Some(4),
        flags: of(&[NOSCRIPT, LOADING, STALE]),
        ..emulated(Group::Connection)
    },
    CommandSpec {
        name: "CLIENT SETNAME",
        since: both("2.6.9"),
        arity: Some(3),
        flags: of(&[NOSCRIPT, LOADING, STALE]),
        ..emulated(Group::Connection)
    },
    CommandSpec {
        name: "CLIENT TRACKING",
        since: both("6.0.0"),
        arity: Some(-3),
        flags: of(&[NOSCRIPT, LOADING, STALE]),
        names: &[TRACKING_OPTIONS],
        reply: Invalidations,
        routing: AllNodes(Gather::Special),
        connection: Connection::Tracking,
        note: "an ACL does not check PREFIX; the error about overlapping prefixes shows them",
        ..emulated(Group::Connection)
    },
    CommandSpec {
        name: "CLIENT TRACKINGINFO",
        since: both("6.2.0"),
        arity: Some(2),
        flags: of(&[NOSCRIPT, LOADING, STALE]),
        reply: TrackingPrefixes,
        ..emulated(Group::Connection)
    },
    CommandSpec {
        name: "CLIENT UNBLOCK",
        since: both("5.0.0"),
        arity: Some(-3),
        flags: of(&[ADMIN, NOSCRIPT, LOADING, STALE]),
        note: "the server resolves ids and addresses among the clients of all tenants",
        ..scoped(Group::Connection)
    },
    CommandSpec {
        name: "CLIENT UNPAUSE",
        since: both("6.2.0"),
        arity: Some(2),
        flags: of(&[ADMIN, NOSCRIPT, LOADING, STALE]),
        note: "the server can only pause all tenants at once",
        ..scoped(Group::Connection)
    },
    CommandSpec { name: "CLUSTER", since: both("3.0.0"), arity: Some(-2), ..container(Group::Cluster) },
    CommandSpec {
        name: "CLUSTER ADDSLOTS",
        since: both("3.0.0"),
        arity: Some(-3),
        flags: of(&[ADMIN, STALE, NO_ASYNC_LOADING]),
        note: "administers the topology",
        ..denied(Group::Cluster)
    },
    CommandSpec {
        name: "CLUSTER ADDSLOTSRANGE",
        since: both("7.0.0"),
        arity: Some(-4),
        flags: of(&[ADMIN, STALE, NO_ASYNC_LOADING]),
        note: "administers the topology",
        ..denied(Group::Cluster)
    },
    CommandSpec {
        name: "CLUSTER BUMPEPOCH",
        since: both("3.0.0"),
        arity: Some(2),
        flags: of(&[ADMIN, STALE, NO_ASYNC_LOADING]),
        note: "administers the topology",
        ..denied(Group::Cluster)
    },
    CommandSpec {
        name: "CLUSTER CANCELSLOTMIGRATIONS",
        since: valkey("9.0.0"),
        arity: Some(2),
        flags: of(&[ADMIN, STALE, NO_ASYNC_LOADING]),
        note: "administers the topology",
        ..denied(Group::Cluster)
    },
    CommandSpec {
        name: "CLUSTER COUNT-FAILURE-REPORTS",
        since: both("3.0.0"),
        arity: Some(3),
        flags: of(&[ADMIN, LOADING, STALE]),
        note: "answers as a server without cluster support, or as a cluster of one node, as configured",
        ..emulated(Group::Cluster)
    },
    CommandSpec {
        name: "CLUSTER COUNTKEYSINSLOT",
        since: both("3.0.0"),
        arity: Some(3),
        flags: STALE,
        note: "a slot holds keys of several tenants",
        ..denied(Group::Cluster)
    },
    CommandSpec {
        name: "CLUSTER DELSLOTS",
        since: both("3.0.0"),
        arity: Some(-3),
        flags: of(&[ADMIN, STALE, NO_ASYNC_LOADING]),
        note: "administers the topology",
        ..denied(Group::Cluster)
    },
    CommandSpec {
        name: "CLUSTER DELSLOTSRANGE",
        since: both("7.0.0"),
        arity: Some(-4),
        flags: of(&[ADMIN, STALE, NO_ASYNC_LOADING]),
        note: "administers the topology",
        ..denied(Group::Cluster)
    },
    CommandSpec {
        name: "CLUSTER FAILOVER",
        since: both("3.0.0"),
        arity: Some(-2),
        flags: of(&[ADMIN, STALE, NO_ASYNC_LOADING]),
        note: "administers the topology",
        ..denied(Group::Cluster)
    },
    CommandSpec {
        name: "CLUSTER FLUSHSLOT",
        since: valkey("9.0.0"),
        arity: Some(-3),
        flags: of(&[WRITE, ADMIN, NO_ASYNC_LOADING]),
        note: "deletes keys of all tenants",
        ..denied(Group::Cluster)
    },
    CommandSpec {
        name: "CLUSTER FLUSHSLOTS",
        since: both("3.0.0"),
        arity: Some(2),
        flags: of(&[ADMIN, STALE, NO_ASYNC_LOADING]),
        note: "administers the topology",
        ..denied(Group::Cluster)
    },
    CommandSpec {
        name: "CLUSTER FORGET",
        since: both("3.0.0"),
        arity: Some(3),
        flags: of(&[ADMIN, STALE, NO_ASYNC_LOADING]),
        note: "administers the topology",
        ..denied(Group::Cluster)
    },
    CommandSpec {
        name: "CLUSTER GETKEYSINSLOT",
        since: both("3.0.0"),
        arity: Some(4),
        flags: STALE,
        reply: ArrayOfKeys,
        note: "a slot holds keys of several tenants",
        ..denied(Group::Cluster)
    },
    CommandSpec {
        name: "CLUSTER GETSLOTMIGRATIONS",
        since: valkey("9.0.0"),
        arity: Some(2),
        flags: of(&[ADMIN, STALE, NO_ASYNC_LOADING]),
        note: "administers the topology",
        ..denied(Group::Cluster)
    },
    CommandSpec {
        name: "CLUSTER HELP",
        since: both("5.0.0"),
        arity: Some(2),
        flags: of(&[LOADING, STALE]),
        note: "answers as a server without cluster support, or as a cluster of one node, as configured",
        ..emulated(Group::Cluster)
    },
    CommandSpec {
        name: "CLUSTER INFO",
        since: both("3.0.0"),
        arity: Some(2),
        flags: of(&[LOADING, STALE]),
        note: "answers as a server without cluster support, or as a cluster of one node, as configured",
        ..emulated(Group::Cluster)
    },
    CommandSpec {
        name: "CLUSTER KEYSLOT",
        since: both("3.0.0"),
        arity: Some(3),
        flags: of(&[LOADING, STALE]),
        names: &[key(2, Access::None)],
        note: "the slot of the key as the client knows it; no server reports the key",
        ..emulated(Group::Cluster)
    },
    CommandSpec {
        name: "CLUSTER LINKS",
        since: both("7.0.0"),
        arity: Some(2),
        flags: of(&[LOADING, STALE]),
        note: "answers as a server without cluster support, or as a cluster of one node, as configured",
        ..emulated(Group::Cluster)
    },
    CommandSpec {
        name: "CLUSTER MEET",
        since: both("3.0.0"),
        arity: Some(-4),
        flags: of(&[ADMIN, STALE, NO_ASYNC_LOADING]),
        note: "administers the topology",
        ..denied(Group::Cluster)
    },
    CommandSpec {
        name: "CLUSTER MIGRATESLOTS",
        since: valkey("9.0.0"),
        arity: Some(-4),
        flags: of(&[ADMIN, STALE, NO_ASYNC_LOADING]),
        note: "administers the topology",
        ..denied(Group::Cluster)
    },
    CommandSpec {
        name: "CLUSTER MIGRATION",
        since: redis("8.4.0"),
        arity: Some(-4),
        flags: of(&[ADMIN, STALE, NO_ASYNC_LOADING]),
        note: "administers the topology",
        ..denied(Group::Cluster)
    },
    CommandSpec {
        name: "CLUSTER MYID",
        since: both("3.0.0"),
        arity: Some(2),
        flags: of(&[LOADING, STALE]),
        note: "answers as a server without cluster support, or as a cluster of one node, as configured",
        ..emulated(Group::Cluster)
    },
    CommandSpec {
        name: "CLUSTER MYSHARDID",
        since: both("7.2.0"),
        arity: Some(2),
        flags: of(&[LOADING, STALE]),
        note: "answers as a server without cluster support, or as a cluster of one node, as configured",
        ..emulated(Group::Cluster)
    },
    CommandSpec {
        name: "CLUSTER NODES",
        since: both("3.0.0"),
        arity: Some(2),
        flags: of(&[LOADING, STALE]),
        note: "answers as a server without cluster support, or as a cluster of one node, as configured",
        ..emulated(Group::Cluster)
    },
    CommandSpec {
        name: "CLUSTER REPLICAS",
        since: both("5.0.0"),
        arity: Some(3),
        flags: of(&[ADMIN, LOADING, STALE]),
        note: "answers as a server without cluster support, or as a cluster of one node, as configured",
        ..emulated(Group::Cluster)
    },
    CommandSpec {
        name: "CLUSTER REPLICATE",
        since: both("3.0.0"),
        arity: Some(3),
        flags: of(&[ADMIN, STALE, NO_ASYNC_LOADING]),
        note: "administers the topology",
        ..denied(Group::Cluster)
    },
    CommandSpec {
        name: "CLUSTER RESET",
        since: both("3.0.0"),
        arity: Some(-2),
        flags: of(&[ADMIN, NOSCRIPT, STALE]),
        note: "administers the topology",
        ..denied(Group::Cluster)
    },
    CommandSpec {
        name: "CLUSTER SAVECONFIG",
        since: both("3.0.0"),
        arity: Some(2),
        flags: of(&[ADMIN, STALE, NO_ASYNC_LOADING]),
        note: "administers the topology",
        ..denied(Group::Cluster)
    },
    CommandSpec {
        name: "CLUSTER SET-CONFIG-EPOCH",
        since: both("3.0.0"),
        arity: Some(3),
        flags: of(&[ADMIN, STALE, NO_ASYNC_LOADING]),
        note: "administers the topology",
        ..denied(Group::Cluster)
    },
    CommandSpec {
        name: "CLUSTER SETSLOT",
        since: both("3.0.0"),
        arity: Some(-4),
        flags: of(&[ADMIN, STALE, NO_ASYNC_LOADING]),
        note: "administers the topology",
        ..denied(Group::Cluster)
    },
    CommandSpec {
        name: "CLUSTER SHARDS",
        since: both("7.0.0"),
        arity: Some(2),
        flags: of(&[LOADING, STALE]),
        note: "answers as a server without cluster support, or as a cluster of one node, as configured",
        ..emulated(Group::Cluster)
    },
    CommandSpec {
        name: "CLUSTER SLAVES",
        since: both("3.0.0"),
        arity: Some(3),
        flags: of(&[ADMIN, LOADING, STALE]),
        note: "answers as a server without cluster support, or as a cluster of one node, as configured",
        ..emulated(Group::Cluster)
    },
    CommandSpec {
        name: "CLUSTER SLOT-STATS",
        since: Since { redis: In("8.2.0"), valkey: In("8.0.0") },
        arity: Some(-4),
        flags: of(&[LOADING, STALE]),
        routing: AllShards(Gather::Special),
        note: "counts keys and traffic of all tenants",
        ..denied(Group::Cluster)
    },
    CommandSpec {
        name: "CLUSTER SLOTS",
        since: both("3.0.0"),
        arity: Some(2),
        flags: of(&[LOADING, STALE]),
        note: "answers as a server without cluster support, or as a cluster of one node, as configured",
        ..emulated(Group::Cluster)
    },
    CommandSpec {
        name: "CLUSTER SYNCSLOTS",
        since: Since { redis: In("8.4.0"), valkey: In("9.0.0") },
        arity: Some(-3),
        flags: of(&[ADMIN, STALE, NO_ASYNC_LOADING]),
        ..denied(Group::Cluster)
    },
    CommandSpec {
        name: "CLUSTERSCAN",
        since: valkey("9.1.0"),
        arity: Some(-2),
        flags: READONLY,
        names: &[SCAN_OPTIONS],
        reply: Scan,
        routing: Cursor,
        note: "the cursor is text with a hash tag",
        ..scoped(Group::Cluster)
    },
    CommandSpec {
        name: "CMS.INCRBY",
        since: redis("2.0.0"),
        arity: Some(-4),
        flags: of(&[WRITE, DENYOOM, MODULE]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::ModuleBloom)
    },
    CommandSpec {
        name: "CMS.INFO",
        since: redis("2.0.0"),
        arity: Some(2),
        flags: of(&[READONLY, MODULE]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::ModuleBloom)
    },
    CommandSpec {
        name: "CMS.INITBYDIM",
        since: redis("2.0.0"),
        arity: Some(4),
        flags: of(&[WRITE, DENYOOM, MODULE]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::ModuleBloom)
    },
    CommandSpec {
        name: "CMS.INITBYPROB",
        since: redis("2.0.0"),
        arity: Some(4),
        flags: of(&[WRITE, DENYOOM, MODULE]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::ModuleBloom)
    },
    CommandSpec {
        name: "CMS.MERGE",
        since: redis("2.0.0"),
        arity: Some(-4),
        flags: of(&[WRITE, DENYOOM, MODULE]),
        names: &[key(1, ReadWrite), counted_keys(2, ReadOnly)],
        note: "the module reports only the destination, so an ACL does not protect the sources",
        ..keyed(Group::ModuleBloom)
    },
    CommandSpec {
        name: "CMS.QUERY",
        since: redis("2.0.0"),
        arity: Some(-3),
        flags: of(&[READONLY, MODULE]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::ModuleBloom)
    },
    CommandSpec {
        name: "COMMAND",
        since: both("2.8.13"),
        arity: Some(-1),
        flags: of(&[LOADING, STALE]),
        subcommands: Named,
        note: "leaves out what tenants are not served",
        ..listing(Group::Server, Listing::Commands)
    },
    CommandSpec {
        name: "COMMAND COUNT",
        since: both("2.8.13"),
        arity: Some(2),
        flags: of(&[LOADING, STALE]),
        note: "the answer has to leave out what the proxy refuses",
        ..emulated(Group::Server)
    },
    CommandSpec {
        name: "COMMAND DOCS",
        since: both("7.0.0"),
        arity: Some(-2),
        flags: of(&[LOADING, STALE]),
        note: "leaves out what tenants are not served",
        ..listing(Group::Server, Listing::CommandDocs)
    },
    CommandSpec {
        name: "COMMAND GETKEYS",
        since: both("2.8.13"),
        arity: Some(-3),
        flags: of(&[LOADING, STALE]),
        names: &[Described { at: 2 }],
        note: "the server looks at the words of a request and at no key, so they are sent as they are",
        ..passed(Group::Server)
    },
    CommandSpec {
        name: "COMMAND GETKEYSANDFLAGS",
        since: both("7.0.0"),
        arity: Some(-3),
        flags: of(&[LOADING, STALE]),
        names: &[Described { at: 2 }],
        note: "the server looks at the words of a request and at no key, so they are sent as they are",
        ..passed(Group::Server)
    },
    CommandSpec {
        name: "COMMAND HELP",
        since: both("5.0.0"),
        arity: Some(2),
        flags: of(&[LOADING, STALE]),
        ..passed(Group::Server)
    },
    CommandSpec {
        name: "COMMAND INFO",
        since: both("2.8.13"),
        arity: Some(-2),
        flags: of(&[LOADING, STALE]),
        note: "answers for what tenants are not served as for an unknown command",
        ..listing(Group::Server, Listing::CommandsByName)
    },
    CommandSpec {
        name: "COMMAND LIST",
        since: both("7.0.0"),
        arity: Some(-2),
        flags: of(&[LOADING, STALE]),
        note: "leaves out what tenants are not served",
        ..listing(Group::Server, Listing::CommandNames)
    },
    CommandSpec { name: "COMMANDLOG", since: valkey("8.1.0"), arity: Some(-2), ..container(Group::Server) },
    CommandSpec {
        name: "COMMANDLOG GET",
        since: valkey("8.1.0"),
        arity: Some(4),
        flags: of(&[ADMIN, LOADING, STALE]),
        reply: LogEntries,
        routing: AllNodes(Gather::Special),
        note: "the server's log holds commands of all tenants",
        ..scoped(Group::Server)
    },
    CommandSpec {
        name: "COMMANDLOG HELP",
        since: valkey("8.1.0"),
        arity: Some(2),
        flags: of(&[LOADING, STALE]),
        ..passed(Group::Server)
    },
    CommandSpec {
        name: "COMMANDLOG LEN",
        since: valkey("8.1.0"),
        arity: Some(3),
        flags: of(&[ADMIN, LOADING, STALE]),
        routing: AllNodes(Gather::Sum),
        note: "the server's log holds commands of all tenants",
        ..scoped(Group::Server)
    },
    CommandSpec {
        name: "COMMANDLOG RESET",
        since: valkey("8.1.0"),
        arity: Some(3),
        flags: of(&[ADMIN, LOADING, STALE]),
        routing: AllNodes(Gather::AllSucceeded),
        note: "the server's log holds commands of all tenants",
        ..scoped(Group::Server)
    },
    CommandSpec { name: "CONFIG", since: both("2.0.0"), arity: Some(-2), ..container(Group::Server) },
    CommandSpec {
        name: "CONFIG GET",
        since: both("2.0.0"),
        arity: Some(-3),
        flags: of(&[ADMIN, NOSCRIPT, LOADING, STALE]),
        note: "shows the parameters that clients ask for, and no others",
        ..listing(Group::Server, Listing::Parameters)
    },
    CommandSpec {
        name: "CONFIG HELP",
        since: both("5.0.0"),
        arity: Some(2),
        flags: of(&[LOADING, STALE]),
        ..passed(Group::Server)
    },
    CommandSpec {
        name: "CONFIG RESETSTAT",
        since: both("2.0.0"),
        arity: Some(2),
        flags: of(&[ADMIN, NOSCRIPT, LOADING, STALE]),
        routing: AllNodes(Gather::AllSucceeded),
        ..admin_only(Group::Server)
    },
    CommandSpec {
        name: "CONFIG REWRITE",
        since: both("2.8.0"),
        arity: Some(2),
        flags: of(&[ADMIN, NOSCRIPT, LOADING, STALE]),
        routing: AllNodes(Gather::AllSucceeded),
        ..admin_only(Group::Server)
    },
    CommandSpec {
        name: "CONFIG SET",
        since: both("2.0.0"),
        arity: Some(-4),
        flags: of(&[ADMIN, NOSCRIPT, LOADING, STALE]),
        routing: AllNodes(Gather::AllSucceeded),
        note: "changes the server for all tenants",
        ..admin_only(Group::Server)
    },
    CommandSpec {
        name: "COPY",
        since: both("6.2.0"),
        arity: Some(-3),
        flags: of(&[WRITE, DENYOOM]),
        names: &[key(1, ReadOnly), key(2, Overwrite), COPY_OPTIONS],
        note: "DB means the tenant's databases",
        ..keyed(Group::Generic)
    },
    CommandSpec {
        name: "DBSIZE",
        since: both("1.0.0"),
        arity: Some(1),
        flags: of(&[READONLY, FAST]),
        routing: AllShards(Gather::Sum),
        note: "the server counts the keys of all tenants",
        ..scoped(Group::Server)
    },
    CommandSpec {
        name: "DEBUG",
        since: both("1.0.0"),
        arity: Some(-2),
        flags: of(&[ADMIN, NOSCRIPT, LOADING, STALE]),
        names: &[Debug],
        routing: SingleSlot,
        note: "its subcommands take keys that no server reports, so an ACL does not protect them",
        ..denied(Group::Server)
    },
    CommandSpec {
        name: "DECR",
        since: both("1.0.0"),
        arity: Some(2),
        flags: of(&[WRITE, DENYOOM, FAST]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::String)
    },
    CommandSpec {
        name: "DECRBY",
        since: both("1.0.0"),
        arity: Some(3),
        flags: of(&[WRITE, DENYOOM, FAST]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::String)
    },
    CommandSpec {
        name: "DEL",
        since: both("1.0.0"),
        arity: Some(-2),
        flags: WRITE,
        names: &[keys(1, -1, 1, Remove)],
        routing: SplitSum,
        note: "a key given twice counts twice, so equal keys stay in one part",
        ..keyed(Group::Generic)
    },
    CommandSpec {
        name: "DELEX",
        since: redis("8.4.0"),
        arity: Some(-2),
        flags: of(&[WRITE, FAST]),
        names: &[key(1, Varies)],
        ..keyed(Group::String)
    },
    CommandSpec {
        name: "DELIFEQ",
        since: valkey("9.0.0"),
        arity: Some(3),
        flags: of(&[WRITE, FAST]),
        names: &[key(1, Remove)],
        ..keyed(Group::String)
    },
    CommandSpec {
        name: "DIGEST",
        since: redis("8.4.0"),
        arity: Some(2),
        flags: of(&[READONLY, FAST]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::String)
    },
    CommandSpec {
        name: "DISCARD",
        since: both("2.0.0"),
        arity: Some(1),
        flags: of(&[NOSCRIPT, LOADING, STALE, FAST, ALLOW_BUSY]),
        connection: Connection::Transaction,
        ..emulated(Group::Transactions)
    },
    CommandSpec {
        name: "DUMP",
        since: both("2.6.0"),
        arity: Some(2),
        flags: READONLY,
        names: &[key(1, ReadOnly)],
        note: "the payload does not contain the key's name",
        ..keyed(Group::Generic)
    },
    CommandSpec {
        name: "ECHO",
        since: both("1.0.0"),
        arity: Some(2),
        flags: of(&[LOADING, STALE, FAST]),
        ..emulated(Group::Connection)
    },
    CommandSpec {
        name: "EVAL",
        since: both("2.6.0"),
        arity: Some(-3),
        flags: of(&[NOSCRIPT, STALE, SKIP_MONITOR, NO_MANDATORY_KEYS, SCRIPT_RUNNER]),
        names: &[optional_keys(2, ReadWrite)],
        reply: Script,
        routing: SingleSlotOrAnyNode,
        note: "a script can reach every key of the server",
        ..keyed(Group::Scripting)
    },
    CommandSpec {
        name: "EVALSHA",
        since: both("2.6.0"),
        arity: Some(-3),
        flags: of(&[NOSCRIPT, STALE, SKIP_MONITOR, NO_MANDATORY_KEYS, SCRIPT_RUNNER]),
        names: &[optional_keys(2, ReadWrite)],
        reply: Script,
        routing: SingleSlotOrAnyNode,
        note: "the server would run a script that another tenant loaded",
        ..keyed(Group::Scripting)
    },
    CommandSpec {
        name: "EVALSHA_RO",
        since: both("7.0.0"),
        arity: Some(-3),
        flags: of(&[READONLY, NOSCRIPT, STALE, SKIP_MONITOR, NO_MANDATORY_KEYS, SCRIPT_RUNNER]),
        names: &[optional_keys(2, ReadOnly)],
        reply: Script,
        routing: SingleSlotOrAnyNode,
        note: "the server would run a script that another tenant loaded",
        ..keyed(Group::Scripting)
    },
    CommandSpec {
        name: "EVAL_RO",
        since: both("7.0.0"),
        arity: Some(-3),
        flags: of(&[READONLY, NOSCRIPT, STALE, SKIP_MONITOR, NO_MANDATORY_KEYS, SCRIPT_RUNNER]),
        names: &[optional_keys(2, ReadOnly)],
        reply: Script,
        routing: SingleSlotOrAnyNode,
        note: "a script can reach every key of the server",
        ..keyed(Group::Scripting)
    },
    CommandSpec {
        name: "EXEC",
        since: both("1.2.0"),
        arity: Some(1),
        flags: of(&[NOSCRIPT, LOADING, STALE, SKIP_SLOWLOG]),
        reply: Exec,
        routing: SingleSlot,
        connection: Connection::Transaction,
        ..emulated(Group::Transactions)
    },
    CommandSpec {
        name: "EXISTS",
        since: both("1.0.0"),
        arity: Some(-2),
        flags: of(&[READONLY, FAST]),
        names: &[keys(1, -1, 1, ReadOnly)],
        routing: SplitSum,
        note: "a key given twice counts twice, so equal keys stay in one part",
        ..keyed(Group::Generic)
    },
    CommandSpec {
        name: "EXPIRE",
        since: both("1.0.0"),
        arity: Some(-3),
        flags: of(&[WRITE, FAST]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::Generic)
    },
    CommandSpec {
        name: "EXPIREAT",
        since: both("1.2.0"),
        arity: Some(-3),
        flags: of(&[WRITE, FAST]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::Generic)
    },
    CommandSpec {
        name: "EXPIRETIME",
        since: both("7.0.0"),
        arity: Some(2),
        flags: of(&[READONLY, FAST]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::Generic)
    },
    CommandSpec {
        name: "FAILOVER",
        since: both("6.2.0"),
        arity: Some(-1),
        flags: of(&[ADMIN, NOSCRIPT, STALE]),
        ..admin_only(Group::Server)
    },
    CommandSpec {
        name: "FCALL",
        since: both("7.0.0"),
        arity: Some(-3),
        flags: of(&[NOSCRIPT, STALE, SKIP_MONITOR, NO_MANDATORY_KEYS, SCRIPT_RUNNER]),
        names: &[name(Function, 1), optional_keys(2, ReadWrite)],
        reply: Script,
        routing: SingleSlotOrAnyNode,
        note: "the server has one set of function names for all tenants",
        ..keyed(Group::Scripting)
    },
    CommandSpec {
        name: "FCALL_RO",
        since: both("7.0.0"),
        arity: Some(-3),
        flags: of(&[READONLY, NOSCRIPT, STALE, SKIP_MONITOR, NO_MANDATORY_KEYS, SCRIPT_RUNNER]),
        names: &[name(Function, 1), optional_keys(2, ReadOnly)],
        reply: Script,
        routing: SingleSlotOrAnyNode,
        note: "the server has one set of function names for all tenants",
        ..keyed(Group::Scripting)
    },
    CommandSpec {
        name: "FLUSHALL",
        since: both("1.0.0"),
        arity: Some(-1),
        flags: WRITE,
        routing: AllShards(Gather::AllSucceeded),
        note: "the server would delete the keys of all tenants",
        ..scoped(Group::Server)
    },
    CommandSpec {
        name: "FLUSHDB",
        since: both("1.0.0"),
        arity: Some(-1),
        flags: WRITE,
        routing: AllShards(Gather::AllSucceeded),
        note: "the server would delete the keys of all tenants",
        ..scoped(Group::Server)
    },
    CommandSpec {
        name: "FT.ADD",
        since: Since { redis: Undated, valkey: Absent },
        arity: Some(-1),
        flags: of(&[WRITE, DENYOOM, MODULE]),
        names: &[name(Index, 1), key(2, ReadWrite)],
        note: "older versions of the module only",
        ..keyed(Group::ModuleSearch)
    },
    CommandSpec {
        name: "FT.AGGREGATE",
        since: module("1.1.0"),
        arity: Some(-3),
        flags: of(&[READONLY, MODULE]),
        names: &[name(Index, 1)],
        reply: Search,
        routing: Coordinator,
        note: "an expression may mention the key's name",
        ..keyed(Group::ModuleSearch)
    },
    CommandSpec {
        name: "FT.ALIASADD",
        since: redis("1.0.0"),
        arity: Some(3),
        flags: of(&[WRITE, DENYOOM, MODULE]),
        names: &[name(Alias, 1), name(Index, 2)],
        routing: Coordinator,
        ..keyed(Group::ModuleSearch)
    },
    CommandSpec {
        name: "FT.ALIASDEL",
        since: redis("1.0.0"),
        arity: Some(2),
        flags: of(&[WRITE, MODULE]),
        names: &[name(Alias, 1)],
        routing: Coordinator,
        ..keyed(Group::ModuleSearch)
    },
    CommandSpec {
        name: "FT.ALIASLIST",
        since: redis("8.10.0"),
        evidence: Documented,
        arity: Some(2),
        flags: of(&[READONLY, MODULE]),
        names: &[name(Index, 1)],
        reply: Search,
        routing: Coordinator,
        ..scoped(Group::ModuleSearch)
    },
    CommandSpec {
        name: "FT.ALIASUPDATE",
        since: redis("1.0.0"),
        arity: Some(3),
        flags: of(&[WRITE, DENYOOM, MODULE]),
        names: &[name(Alias, 1), name(Index, 2)],
        routing: Coordinator,
        ..keyed(Group::ModuleSearch)
    },
    CommandSpec {
        name: "FT.ALTER",
        since: redis("1.0.0"),
        arity: Some(-6),
        flags: of(&[WRITE, DENYOOM, MODULE]),
        names: &[name(Index, 1)],
        routing: Coordinator,
        ..keyed(Group::ModuleSearch)
    },
    CommandSpec {
        name: "FT.CONFIG",
        since: Since { redis: Undated, valkey: Absent },
        arity: Some(-2),
        flags: of(&[READONLY, MODULE]),
        ..container(Group::ModuleSearch)
    },
    CommandSpec {
        name: "FT.CONFIG GET",
        since: redis("1.0.0"),
        evidence: Documented,
        arity: Some(-3),
        flags: of(&[READONLY, MODULE]),
        ..admin_only(Group::ModuleSearch)
    },
    CommandSpec {
        name: "FT.CONFIG HELP",
        since: redis("1.0.0"),
        evidence: Documented,
        arity: Some(-3),
        flags: of(&[READONLY, MODULE]),
        routing: AnyNode,
        ..admin_only(Group::ModuleSearch)
    },
    CommandSpec {
        name: "FT.CONFIG SET",
        since: redis("1.0.0"),
        evidence: Documented,
        arity: Some(-3),
        flags: of(&[WRITE, MODULE]),
        ..admin_only(Group::ModuleSearch)
    },
    CommandSpec {
        name: "FT.CREATE",
        since: module("1.0.0"),
        arity: Some(-5),
        flags: of(&[WRITE, DENYOOM, MODULE]),
        names: &[name(Index, 1), Counted { word: "PREFIX", kind: KeyPrefix, first: 2 }],
        routing: Coordinator,
        note: "an index without PREFIX covers the keys of all tenants",
        ..keyed(Group::ModuleSearch)
    },
    CommandSpec {
        name: "FT.CURSOR",
        since: Since { redis: Undated, valkey: Absent },
        arity: Some(-2),
        flags: of(&[READONLY, MODULE]),
        ..container(Group::ModuleSearch)
    },
    CommandSpec {
        name: "FT.CURSOR DEL",
        since: redis("1.1.0"),
        evidence: Documented,
        arity: Some(-4),
        flags: of(&[READONLY, MODULE]),
        names: &[name(Index, 2), name(NameKind::Cursor, 3)],
        routing: Coordinator,
        note: "the server has one set of cursors for all tenants",
        ..keyed(Group::ModuleSearch)
    },
    CommandSpec {
        name: "FT.CURSOR GC",
        since: Since { redis: Undated, valkey: Absent },
        evidence: Documented,
        arity: Some(-2),
        flags: of(&[READONLY, MODULE]),
        ..denied(Group::ModuleSearch)
    },
    CommandSpec {
        name: "FT.CURSOR READ",
        since: redis("1.1.0"),
        evidence: Documented,
        arity: Some(-4),
        flags: of(&[READONLY, MODULE]),
        names: &[name(Index, 2), name(NameKind::Cursor, 3)],
        routing: Coordinator,
        note: "the server has one set of cursors for all tenants",
        ..keyed(Group::ModuleSearch)
    },
    CommandSpec {
        name: "FT.DEL",
        since: Since { redis: Undated, valkey: Absent },
        arity: Some(-1),
        flags: of(&[WRITE, MODULE]),
        names: &[name(Index, 1), key(2, ReadWrite)],
        note: "older versions of the module only",
        ..keyed(Group::ModuleSearch)
    },
    CommandSpec {
        name: "FT.DICTADD",
        since: redis("1.4.0"),
        arity: Some(-3),
        flags: of(&[WRITE, DENYOOM, MODULE]),
        names: &[name(Dictionary, 1)],
        routing: Coordinator,
        note: "the server has one set of dictionary names for all tenants",
        ..keyed(Group::ModuleSearch)
    },
    CommandSpec {
        name: "FT.DICTDEL",
        since: redis("1.4.0"),
        arity: Some(-3),
        flags: of(&[WRITE, MODULE]),
        names: &[name(Dictionary, 1)],
        routing: Coordinator,
        note: "the server has one set of dictionary names for all tenants",
        ..keyed(Group::ModuleSearch)
    },
    CommandSpec {
        name: "FT.DICTDUMP",
        since: redis("1.4.0"),
        arity: Some(2),
        flags: of(&[READONLY, MODULE]),
        names: &[name(Dictionary, 1)],
        routing: Coordinator,
        note: "the server has one set of dictionary names for all tenants",
        ..keyed(Group::ModuleSearch)
    },
    CommandSpec {
        name: "FT.DROP",
        since: Since { redis: Undated, valkey: Absent },
        arity: Some(-1),
        flags: of(&[WRITE, MODULE]),
        names: &[name(Index, 1)],
        routing: Coordinator,
        ..keyed(Group::ModuleSearch)
    },
    CommandSpec {
        name: "FT.DROPINDEX",
        since: module("2.0.0"),
        arity: Some(-2),
        flags: of(&[WRITE, MODULE]),
        names: &[name(Index, 1)],
        routing: Coordinator,
        ..keyed(Group::ModuleSearch)
    },
    CommandSpec {
        name: "FT.EXPLAIN",
        since: redis("1.0.0"),
        arity: Some(-3),
        flags: of(&[READONLY, MODULE]),
        names: &[name(Index, 1)],
        routing: Coordinator,
        ..keyed(Group::ModuleSearch)
    },
    CommandSpec {
        name: "FT.EXPLAINCLI",
        since: redis("1.0.0"),
        arity: Some(-3),
        flags: of(&[READONLY, MODULE]),
        names: &[name(Index, 1)],
        routing: Coordinator,
        ..keyed(Group::ModuleSearch)
    },
    CommandSpec {
        name: "FT.GET",
        since: Since { redis: Undated, valkey: Absent },
        arity: Some(-1),
        flags: of(&[READONLY, MODULE]),
        names: &[name(Index, 1), key(2, ReadWrite)],
        note: "older versions of the module only",
        ..keyed(Group::ModuleSearch)
    },
    CommandSpec {
        name: "FT.HYBRID",
        since: redis("8.4.4"),
        evidence: Documented,
        arity: Some(-7),
        flags: of(&[READONLY, MODULE]),
        names: &[name(Index, 1)],
        reply: Search,
        routing: Coordinator,
        ..keyed(Group::ModuleSearch)
    },
    CommandSpec {
        name: "FT.INFO",
        since: module("1.0.0"),
        arity: Some(2),
        flags: of(&[READONLY, MODULE]),
        names: &[name(Index, 1)],
        reply: Search,
        routing: Coordinator,
        ..keyed(Group::ModuleSearch)
    },
    CommandSpec {
        name: "FT.INTERNAL_UPDATE",
        since: Since { redis: Absent, valkey: Module },
        evidence: Documented,
        note: "internal to valkey-search",
        ..denied(Group::ModuleSearch)
    },
    CommandSpec {
        name: "FT.MGET",
        since: Since { redis: Undated, valkey: Absent },
        arity: Some(-1),
        flags: of(&[READONLY, MODULE]),
        names: &[name(Index, 1), keys(2, -1, 1, ReadOnly)],
        note: "older versions of the module only",
        ..keyed(Group::ModuleSearch)
    },
    CommandSpec {
        name: "FT.PROFILE",
        since: redis("2.2.0"),
        arity: Some(-5),
        flags: of(&[READONLY, MODULE]),
        names: &[name(Index, 1)],
        reply: Search,
        routing: Coordinator,
        ..keyed(Group::ModuleSearch)
    },
    CommandSpec {
        name: "FT.SAFEADD",
        since: Since { redis: Undated, valkey: Absent },
        arity: Some(-1),
        flags: of(&[WRITE, DENYOOM, MODULE]),
        names: &[name(Index, 1), key(2, ReadWrite)],
        note: "older versions of the module only",
        ..keyed(Group::ModuleSearch)
    },
    CommandSpec {
        name: "FT.SEARCH",
        since: module("1.0.0"),
        arity: Some(-3),
        flags: of(&[READONLY, MODULE]),
        names: &[name(Index, 1), Counted { word: "INKEYS", kind: Key, first: 3 }],
        reply: Search,
        routing: Coordinator,
        ..keyed(Group::ModuleSearch)
    },
    CommandSpec {
        name: "FT.SPELLCHECK",
        since: redis("1.4.0"),
        arity: Some(-3),
        flags: of(&[READONLY, MODULE]),
        names: &[name(Index, 1), Terms { first: 3 }],
        routing: Coordinator,
        ..keyed(Group::ModuleSearch)
    },
    CommandSpec {
        name: "FT.SUGADD",
        since: redis("1.0.0"),
        arity: Some(-4),
        flags: of(&[WRITE, DENYOOM, MODULE]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::ModuleSearch)
    },
    CommandSpec {
        name: "FT.SUGDEL",
        since: redis("1.0.0"),
        arity: Some(3),
        flags: of(&[WRITE, MODULE]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::ModuleSearch)
    },
    CommandSpec {
        name: "FT.SUGGET",
        since: redis("1.0.0"),
        arity: Some(-3),
        flags: of(&[READONLY, MODULE]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::ModuleSearch)
    },
    CommandSpec {
        name: "FT.SUGLEN",
        since: redis("1.0.0"),
        arity: Some(2),
        flags: of(&[READONLY, MODULE]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::ModuleSearch)
    },
    CommandSpec {
        name: "FT.SYNADD",
        since: Since { redis: Undated, valkey: Absent },
        arity: Some(-1),
        flags: of(&[WRITE, DENYOOM, MODULE]),
        names: &[name(Index, 1)],
        routing: Coordinator,
        ..keyed(Group::ModuleSearch)
    },
    CommandSpec {
        name: "FT.SYNDUMP",
        since: redis("1.2.0"),
        arity: Some(2),
        flags: of(&[READONLY, MODULE]),
        names: &[name(Index, 1)],
        routing: Coordinator,
        ..keyed(Group::ModuleSearch)
    },
    CommandSpec {
        name: "FT.SYNUPDATE",
        since: redis("1.2.0"),
        arity: Some(-4),
        flags: of(&[WRITE, DENYOOM, MODULE]),
        names: &[name(Index, 1)],
        routing: Coordinator,
        ..keyed(Group::ModuleSearch)
    },
    CommandSpec {
        name: "FT.TAGVALS",
        since: redis("1.0.0"),
        arity: Some(3),
        flags: of(&[READONLY, MODULE]),
        names: &[name(Index, 1)],
        routing: Coordinator,
        ..keyed(Group::ModuleSearch)
    },
    CommandSpec {
        name: "FT._ALIASADDIFNX",
        since: redis("1.0.0"),
        arity: Some(3),
        flags: of(&[WRITE, DENYOOM, MODULE]),
        names: &[name(Alias, 1), name(Index, 2)],
        routing: Coordinator,
        ..keyed(Group::ModuleSearch)
    },
    CommandSpec {
        name: "FT._ALIASDELIFX",
        since: redis("1.0.0"),
        arity: Some(2),
        flags: of(&[WRITE, MODULE]),
        names: &[name(Alias, 1)],
        routing: Coordinator,
        ..keyed(Group::ModuleSearch)
    },
    CommandSpec {
        name: "FT._ALTERIFNX",
        since: redis("1.0.0"),
        arity: Some(-6),
        flags: of(&[WRITE, DENYOOM, MODULE]),
        names: &[name(Index, 1)],
        routing: Coordinator,
        ..keyed(Group::ModuleSearch)
    },
    CommandSpec {
        name: "FT._CREATEIFNX",
        since: redis("1.0.0"),
        arity: Some(-5),
        flags: of(&[WRITE, DENYOOM, MODULE]),
        names: &[name(Index, 1), Counted { word: "PREFIX", kind: KeyPrefix, first: 2 }],
        routing: Coordinator,
        note: "an index without PREFIX covers the keys of all tenants",
        ..keyed(Group::ModuleSearch)
    },
    CommandSpec {
        name: "FT._DEBUG",
        since: Since { redis: Absent, valkey: Module },
        evidence: Documented,
        note: "internal to valkey-search",
        ..denied(Group::ModuleSearch)
    },
    CommandSpec {
        name: "FT._DROPIFX",
        since: Since { redis: Undated, valkey: Absent },
        arity: Some(-1),
        flags: of(&[WRITE, MODULE]),
        names: &[name(Index, 1)],
        routing: Coordinator,
        ..keyed(Group::ModuleSearch)
    },
    CommandSpec {
        name: "FT._DROPINDEXIFX",
        since: redis("2.0.0"),
        arity: Some(-2),
        flags: of(&[WRITE, MODULE]),
        names: &[name(Index, 1)],
        routing: Coordinator,
        ..keyed(Group::ModuleSearch)
    },
    CommandSpec {
        name: "FT._LIST",
        since: module("2.0.0"),
        arity: Some(-1),
        flags: of(&[READONLY, MODULE]),
        reply: Search,
        routing: Coordinator,
        note: "the server lists the indexes of all tenants",
        ..scoped(Group::ModuleSearch)
    },
    CommandSpec { name: "FUNCTION", since: both("7.0.0"), arity: Some(-2), ..container(Group::Scripting) },
    CommandSpec {
        name: "FUNCTION DELETE",
        since: both("7.0.0"),
        arity: Some(3),
        flags: of(&[WRITE, NOSCRIPT]),
        names: &[name(Library, 2)],
        routing: AllShards(Gather::AllSucceeded),
        note: "the server has one set of library names for all tenants",
        ..scoped(Group::Scripting)
    },
    CommandSpec {
        name: "FUNCTION DUMP",
        since: both("7.0.0"),
        arity: Some(2),
        flags: NOSCRIPT,
        note: "covers the libraries of all tenants",
        ..denied(Group::Scripting)
    },
    CommandSpec {
        name: "FUNCTION FLUSH",
        since: both("7.0.0"),
        arity: Some(-2),
        flags: of(&[WRITE, NOSCRIPT]),
        routing: AllShards(Gather::AllSucceeded),
        note: "the server would delete the libraries of all tenants",
        ..scoped(Group::Scripting)
    },
    CommandSpec {
        name: "FUNCTION HELP",
        since: both("7.0.0"),
        arity: Some(2),
        flags: of(&[LOADING, STALE]),
        ..passed(Group::Scripting)
    },
    CommandSpec {
        name: "FUNCTION KILL",
        since: both("7.0.0"),
        arity: Some(2),
        flags: of(&[NOSCRIPT, ALLOW_BUSY]),
        routing: AllShards(Gather::OneSucceeded),
        note: "the running script may be another tenant's",
        ..scoped(Group::Scripting)
    },
    CommandSpec {
        name: "FUNCTION LIST",
        since: both("7.0.0"),
        arity: Some(-2),
        flags: NOSCRIPT,
        names: &[FUNCTION_LIST_OPTIONS],
        reply: Functions,
        routing: AnyNode,
        ..scoped(Group::Scripting)
    },
    CommandSpec {
        name: "FUNCTION LOAD",
        since: both("7.0.0"),
        arity: Some(-3),
        flags: of(&[WRITE, DENYOOM, NOSCRIPT]),
        routing: AllShards(Gather::AllSucceeded),
        note: "the server has one set of library names for all tenants",
        ..scoped(Group::Scripting)
    },
    CommandSpec {
        name: "FUNCTION RESTORE",
        since: both("7.0.0"),
        arity: Some(-3),
        flags: of(&[WRITE, DENYOOM, NOSCRIPT]),
        routing: AllShards(Gather::AllSucceeded),
        note: "covers the libraries of all tenants",
        ..denied(Group::Scripting)
    },
    CommandSpec {
        name: "FUNCTION STATS",
        since: both("7.0.0"),
        arity: Some(2),
        flags: of(&[NOSCRIPT, ALLOW_BUSY]),
        reply: Functions,
        routing: AllShards(Gather::Special),
        note: "the running script may be another tenant's",
        ..scoped(Group::Scripting)
    },
    CommandSpec {
        name: "GEOADD",
        since: both("3.2.0"),
        arity: Some(-5),
        flags: of(&[WRITE, DENYOOM]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::Geo)
    },
    CommandSpec {
        name: "GEODIST",
        since: both("3.2.0"),
        arity: Some(-4),
        flags: READONLY,
        names: &[key(1, ReadOnly)],
        ..keyed(Group::Geo)
    },
    CommandSpec {
        name: "GEOHASH",
        since: both("3.2.0"),
        arity: Some(-2),
        flags: READONLY,
        names: &[key(1, ReadOnly)],
        ..keyed(Group::Geo)
    },
    CommandSpec {
        name: "GEOPOS",
        since: both("3.2.0"),
        arity: Some(-2),
        flags: READONLY,
        names: &[key(1, ReadOnly)],
        ..keyed(Group::Geo)
    },
    CommandSpec {
        name: "GEORADIUS",
        since: both("3.2.0"),
        arity: Some(-6),
        flags: of(&[WRITE, DENYOOM]),
        names: &[key(1, ReadWrite), GEORADIUS_OPTIONS],
        note: "the last STORE or STOREDIST is written; an ACL up to Redis 8.6 checks only the first",
        ..keyed(Group::Geo)
    },
    CommandSpec {
        name: "GEORADIUSBYMEMBER",
        since: both("3.2.0"),
        arity: Some(-5),
        flags: of(&[WRITE, DENYOOM]),
        names: &[key(1, ReadWrite), GEORADIUSBYMEMBER_OPTIONS],
        note: "as GEORADIUS; the member may be the word STORE",
        ..keyed(Group::Geo)
    },
    CommandSpec {
        name: "GEORADIUSBYMEMBER_RO",
        since: both("3.2.10"),
        arity: Some(-5),
        flags: READONLY,
        names: &[key(1, ReadOnly)],
        ..keyed(Group::Geo)
    },
    CommandSpec {
        name: "GEORADIUS_RO",
        since: both("3.2.10"),
        arity: Some(-6),
        flags: READONLY,
        names: &[key(1, ReadOnly)],
        ..keyed(Group::Geo)
    },
    CommandSpec {
        name: "GEOSEARCH",
        since: both("6.2.0"),
        arity: Some(-7),
        flags: READONLY,
        names: &[key(1, ReadOnly)],
        ..keyed(Group::Geo)
    },
    CommandSpec {
        name: "GEOSEARCHSTORE",
        since: both("6.2.0"),
        arity: Some(-8),
        flags: of(&[WRITE, DENYOOM]),
        names: &[key(1, Overwrite), key(2, ReadOnly)],
        ..keyed(Group::Geo)
    },
    CommandSpec {
        name: "GET",
        since: both("1.0.0"),
        arity: Some(2),
        flags: of(&[READONLY, FAST]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::String)
    },
    CommandSpec {
        name: "GETBIT",
        since: both("2.2.0"),
        arity: Some(3),
        flags: of(&[READONLY, FAST]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::Bitmap)
    },
    CommandSpec {
        name: "GETDEL",
        since: both("6.2.0"),
        arity: Some(2),
        flags: of(&[WRITE, FAST]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::String)
    },
    CommandSpec {
        name: "GETEX",
        since: both("6.2.0"),
        arity: Some(-2),
        flags: of(&[WRITE, FAST]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::String)
    },
    CommandSpec {
        name: "GETRANGE",
        since: both("2.4.0"),
        arity: Some(4),
        flags: READONLY,
        names: &[key(1, ReadOnly)],
        ..keyed(Group::String)
    },
    CommandSpec {
        name: "GETSET",
        since: both("1.0.0"),
        arity: Some(3),
        flags: of(&[WRITE, DENYOOM, FAST]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::String)
    },
    CommandSpec {
        name: "HDEL",
        since: both("2.0.0"),
        arity: Some(-3),
        flags: of(&[WRITE, FAST]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::Hash)
    },
    CommandSpec {
        name: "HELLO",
        since: both("6.0.0"),
        arity: Some(-1),
        flags: of(&[NOSCRIPT, LOADING, STALE, FAST, NO_AUTH, ALLOW_BUSY]),
        note: "the proxy composes the answer; after an error the protocol and the name are what they were",
        ..emulated(Group::Connection)
    },
    CommandSpec {
        name: "HEXISTS",
        since: both("2.0.0"),
        arity: Some(3),
        flags: of(&[READONLY, FAST]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::Hash)
    },
    CommandSpec {
        name: "HEXPIRE",
        since: Since { redis: In("7.4.0"), valkey: In("9.0.0") },
        arity: Some(-6),
        flags: of(&[WRITE, FAST]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::Hash)
    },
    CommandSpec {
        name: "HEXPIREAT",
        since: Since { redis: In("7.4.0"), valkey: In("9.0.0") },
        arity: Some(-6),
        flags: of(&[WRITE, FAST]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::Hash)
    },
    CommandSpec {
        name: "HEXPIRETIME",
        since: Since { redis: In("7.4.0"), valkey: In("9.0.0") },
        arity: Some(-5),
        flags: of(&[READONLY, FAST]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::Hash)
    },
    CommandSpec {
        name: "HGET",
        since: both("2.0.0"),
        arity: Some(3),
        flags: of(&[READONLY, FAST]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::Hash)
    },
    CommandSpec {
        name: "HGETALL",
        since: both("2.0.0"),
        arity: Some(2),
        flags: READONLY,
        names: &[key(1, ReadOnly)],
        ..keyed(Group::Hash)
    },
    CommandSpec {
        name: "HGETDEL",
        since: Since { redis: In("8.0.0"), valkey: In("9.1.0") },
        arity: Some(-5),
        flags: of(&[WRITE, FAST]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::Hash)
    },
    CommandSpec {
        name: "HGETEX",
        since: Since { redis: In("8.0.0"), valkey: In("9.0.0") },
        arity: Some(-5),
        flags: of(&[WRITE, FAST]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::Hash)
    },
    CommandSpec {
        name: "HIMPORT",
        since: redis("8.10.0"),
        evidence: Documented,
        arity: Some(-2),
        ..container(Group::Hash)
    },
    CommandSpec {
        name: "HIMPORT DISCARD",
        since: redis("8.10.0"),
        evidence: Documented,
        arity: Some(3),
        routing: AllShards(Gather::Special),
        note: "field sets belong to the connection that prepared them",
        ..emulated(Group::Hash)
    },
    CommandSpec {
        name: "HIMPORT DISCARDALL",
        since: redis("8.10.0"),
        evidence: Documented,
        arity: Some(2),
        routing: AllShards(Gather::Special),
        note: "field sets belong to the connection that prepared them",
        ..emulated(Group::Hash)
    },
    CommandSpec {
        name: "HIMPORT PREPARE",
        since: redis("8.10.0"),
        evidence: Documented,
        arity: Some(-4),
        flags: DENYOOM,
        routing: AllShards(Gather::Special),
        note: "field sets belong to the connection that prepared them",
        ..emulated(Group::Hash)
    },
    CommandSpec {
        name: "HIMPORT SET",
        since: redis("8.10.0"),
        evidence: Documented,
        arity: Some(-5),
        flags: of(&[WRITE, DENYOOM]),
        names: &[key(2, Overwrite)],
        connection: Connection::FieldSets,
        note: "needs the field set on the connection that carries it",
        ..keyed(Group::Hash)
    },
    CommandSpec {
        name: "HINCRBY",
        since: both("2.0.0"),
        arity: Some(4),
        flags: of(&[WRITE, DENYOOM, FAST]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::Hash)
    },
    CommandSpec {
        name: "HINCRBYFLOAT",
        since: both("2.6.0"),
        arity: Some(4),
        flags: of(&[WRITE, DENYOOM, FAST]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::Hash)
    },
    CommandSpec {
        name: "HKEYS",
        since: both("2.0.0"),
        arity: Some(2),
        flags: READONLY,
        names: &[key(1, ReadOnly)],
        ..keyed(Group::Hash)
    },
    CommandSpec {
        name: "HLEN",
        since: both("2.0.0"),
        arity: Some(2),
        flags: of(&[READONLY, FAST]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::Hash)
    },
    CommandSpec {
        name: "HMGET",
        since: both("2.0.0"),
        arity: Some(-3),
        flags: of(&[READONLY, FAST]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::Hash)
    },
    CommandSpec {
        name: "HMSET",
        since: both("2.0.0"),
        arity: Some(-4),
        flags: of(&[WRITE, DENYOOM, FAST]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::Hash)
    },
    CommandSpec { name: "HOTKEYS", since: redis("8.6.0"), arity: Some(-2), ..container(Group::Server) },
    CommandSpec {
        name: "HOTKEYS GET",
        since: redis("8.6.0"),
        arity: Some(2),
        flags: of(&[ADMIN, NOSCRIPT]),
        reply: HotKeys,
        routing: AllNodes(Gather::Special),
        note: "shows keys of all tenants",
        ..admin_only(Group::Server)
    },
    CommandSpec {
        name: "HOTKEYS HELP",
        since: redis("8.6.1"),
        arity: Some(2),
        flags: of(&[LOADING, STALE]),
        ..passed(Group::Server)
    },
    CommandSpec {
        name: "HOTKEYS RESET",
        since: redis("8.6.0"),
        arity: Some(2),
        flags: of(&[ADMIN, NOSCRIPT]),
        routing: AllNodes(Gather::Special),
        ..admin_only(Group::Server)
    },
    CommandSpec {
        name: "HOTKEYS START",
        since: redis("8.6.0"),
        arity: Some(-2),
        flags: of(&[ADMIN, NOSCRIPT]),
        routing: AllNodes(Gather::Special),
        ..admin_only(Group::Server)
    },
    CommandSpec {
        name: "HOTKEYS STOP",
        since: redis("8.6.0"),
        arity: Some(2),
        flags: of(&[ADMIN, NOSCRIPT]),
        routing: AllNodes(Gather::Special),
        ..admin_only(Group::Server)
    },
    CommandSpec {
        name: "HPERSIST",
        since: Since { redis: In("7.4.0"), valkey: In("9.0.0") },
        arity: Some(-5),
        flags: of(&[WRITE, FAST]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::Hash)
    },
    CommandSpec {
        name: "HPEXPIRE",
        since: Since { redis: In("7.4.0"), valkey: In("9.0.0") },
        arity: Some(-6),
        flags: of(&[WRITE, FAST]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::Hash)
    },
    CommandSpec {
        name: "HPEXPIREAT",
        since: Since { redis: In("7.4.0"), valkey: In("9.0.0") },
        arity: Some(-6),
        flags: of(&[WRITE, FAST]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::Hash)
    },
    CommandSpec {
        name: "HPEXPIRETIME",
        since: Since { redis: In("7.4.0"), valkey: In("9.0.0") },
        arity: Some(-5),
        flags: of(&[READONLY, FAST]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::Hash)
    },
    CommandSpec {
        name: "HPTTL",
        since: Since { redis: In("7.4.0"), valkey: In("9.0.0") },
        arity: Some(-5),
        flags: of(&[READONLY, FAST]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::Hash)
    },
    CommandSpec {
        name: "HRANDFIELD",
        since: both("6.2.0"),
        arity: Some(-2),
        flags: READONLY,
        names: &[key(1, ReadOnly)],
        ..keyed(Group::Hash)
    },
    CommandSpec {
        name: "HSCAN",
        since: both("2.8.0"),
        arity: Some(-3),
        flags: READONLY,
        names: &[key(1, ReadOnly)],
        ..keyed(Group::Hash)
    },
    CommandSpec {
        name: "HSET",
        since: both("2.0.0"),
        arity: Some(-4),
        flags: of(&[WRITE, DENYOOM, FAST]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::Hash)
    },
    CommandSpec {
        name: "HSETEX",
        since: Since { redis: In("8.0.0"), valkey: In("9.0.0") },
        arity: Some(-6),
        flags: of(&[WRITE, DENYOOM, FAST]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::Hash)
    },
    CommandSpec {
        name: "HSETNX",
        since: both("2.0.0"),
        arity: Some(4),
        flags: of(&[WRITE, DENYOOM, FAST]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::Hash)
    },
    CommandSpec {
        name: "HSTRLEN",
        since: both("3.2.0"),
        arity: Some(3),
        flags: of(&[READONLY, FAST]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::Hash)
    },
    CommandSpec {
        name: "HTTL",
        since: Since { redis: In("7.4.0"), valkey: In("9.0.0") },
        arity: Some(-5),
        flags: of(&[READONLY, FAST]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::Hash)
    },
    CommandSpec {
        name: "HVALS",
        since: both("2.0.0"),
        arity: Some(2),
        flags: READONLY,
        names: &[key(1, ReadOnly)],
        ..keyed(Group::Hash)
    },
    CommandSpec {
        name: "INCR",
        since: both("1.0.0"),
        arity: Some(2),
        flags: of(&[WRITE, DENYOOM, FAST]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::String)
    },
    CommandSpec {
        name: "INCRBY",
        since: both("1.0.0"),
        arity: Some(3),
        flags: of(&[WRITE, DENYOOM, FAST]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::String)
    },
    CommandSpec {
        name: "INCRBYFLOAT",
        since: both("2.6.0"),
        arity: Some(3),
        flags: of(&[WRITE, DENYOOM, FAST]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::String)
    },
    CommandSpec {
        name: "INCREX",
        since: redis("8.8.0"),
        evidence: Documented,
        arity: Some(-2),
        flags: of(&[WRITE, DENYOOM, FAST]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::String)
    },
    CommandSpec {
        name: "INFO",
        since: both("1.0.0"),
        arity: Some(-1),
        flags: of(&[LOADING, STALE]),
        reply: FreeText,
        routing: AllShards(Gather::Special),
        note: "the server reports about all tenants",
        ..scoped(Group::Server)
    },
    CommandSpec {
        name: "JSON.ARRAPPEND",
        since: module("1.0.0"),
        arity: Some(-3),
        flags: of(&[WRITE, DENYOOM, MODULE]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::ModuleJson)
    },
    CommandSpec {
        name: "JSON.ARRINDEX",
        since: module("1.0.0"),
        arity: Some(-4),
        flags: of(&[READONLY, MODULE]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::ModuleJson)
    },
    CommandSpec {
        name: "JSON.ARRINSERT",
        since: module("1.0.0"),
        arity: Some(-5),
        flags: of(&[WRITE, DENYOOM, MODULE]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::ModuleJson)
    },
    CommandSpec {
        name: "JSON.ARRLEN",
        since: module("1.0.0"),
        arity: Some(-2),
        flags: of(&[READONLY, MODULE]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::ModuleJson)
    },
    CommandSpec {
        name: "JSON.ARRPOP",
        since: module("1.0.0"),
        arity: Some(-2),
        flags: of(&[WRITE, MODULE]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::ModuleJson)
    },
    CommandSpec {
        name: "JSON.ARRTRIM",
        since: module("1.0.0"),
        arity: Some(5),
        flags: of(&[WRITE, MODULE]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::ModuleJson)
    },
    CommandSpec {
        name: "JSON.CLEAR",
        since: module("2.0.0"),
        arity: Some(-2),
        flags: of(&[WRITE, MODULE]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::ModuleJson)
    },
    CommandSpec {
        name: "JSON.DEBUG",
        since: module("1.0.0"),
        arity: Some(-2),
        flags: of(&[READONLY, MODULE]),
        names: &[keys(2, -1, 1, ReadOnly)],
        subcommands: Flat,
        ..keyed(Group::ModuleJson)
    },
    CommandSpec {
        name: "JSON.DEBUG HELP",
        since: redis("1.0.0"),
        evidence: Documented,
        note: "the server knows only JSON.DEBUG, whose first argument this is",
        ..passed(Group::ModuleJson)
    },
    CommandSpec {
        name: "JSON.DEBUG MEMORY",
        since: redis("1.0.0"),
        evidence: Documented,
        names: &[key(2, ReadOnly)],
        note: "the server knows only JSON.DEBUG, whose first argument this is",
        ..keyed(Group::ModuleJson)
    },
    CommandSpec {
        name: "JSON.DEL",
        since: module("1.0.0"),
        arity: Some(-2),
        flags: of(&[WRITE, MODULE]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::ModuleJson)
    },
    CommandSpec {
        name: "JSON.FORGET",
        since: module("1.0.0"),
        arity: Some(-2),
        flags: of(&[WRITE, MODULE]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::ModuleJson)
    },
    CommandSpec {
        name: "JSON.GET",
        since: module("1.0.0"),
        arity: Some(-2),
        flags: of(&[READONLY, MODULE]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::ModuleJson)
    },
    CommandSpec {
        name: "JSON.MERGE",
        since: redis("2.6.0"),
        arity: Some(-4),
        flags: of(&[WRITE, DENYOOM, MODULE]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::ModuleJson)
    },
    CommandSpec {
        name: "JSON.MGET",
        since: module("1.0.0"),
        arity: Some(-3),
        flags: of(&[READONLY, MODULE]),
        names: &[keys(1, -2, 1, ReadOnly)],
        routing: SplitInOrder,
        note: "RedisJSON reports only its first key, so an ACL does not protect the others",
        ..keyed(Group::ModuleJson)
    },
    CommandSpec {
        name: "JSON.MSET",
        since: module("2.6.0"),
        arity: Some(-4),
        flags: of(&[WRITE, DENYOOM, MODULE]),
        names: &[keys(1, -1, 3, ReadWrite)],
        note: "the server reports 1:-3:3; up to the end, a list cut short is covered as well",
        ..keyed(Group::ModuleJson)
    },
    CommandSpec {
        name: "JSON.NUMINCRBY",
        since: module("1.0.0"),
        arity: Some(4),
        flags: of(&[WRITE, MODULE]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::ModuleJson)
    },
    CommandSpec {
        name: "JSON.NUMMULTBY",
        since: module("1.0.0"),
        arity: Some(4),
        flags: of(&[WRITE, MODULE]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::ModuleJson)
    },
    CommandSpec {
        name: "JSON.NUMPOWBY",
        since: redis("1.0.0"),
        arity: Some(4),
        flags: of(&[WRITE, MODULE]),
        names: &[key(1, ReadWrite)],
        note: "not documented by the module",
        ..keyed(Group::ModuleJson)
    },
    CommandSpec {
        name: "JSON.OBJKEYS",
        since: module("1.0.0"),
        arity: Some(-2),
        flags: of(&[READONLY, MODULE]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::ModuleJson)
    },
    CommandSpec {
        name: "JSON.OBJLEN",
        since: module("1.0.0"),
        arity: Some(-2),
        flags: of(&[READONLY, MODULE]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::ModuleJson)
    },
    CommandSpec {
        name: "JSON.RESP",
        since: module("1.0.0"),
        arity: Some(-2),
        flags: of(&[READONLY, MODULE]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::ModuleJson)
    },
    CommandSpec {
        name: "JSON.SET",
        since: module("1.0.0"),
        arity: Some(-4),
        flags: of(&[WRITE, DENYOOM, MODULE]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::ModuleJson)
    },
    CommandSpec {
        name: "JSON.STRAPPEND",
        since: module("1.0.0"),
        arity: Some(-3),
        flags: of(&[WRITE, DENYOOM, MODULE]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::ModuleJson)
    },
    CommandSpec {
        name: "JSON.STRLEN",
        since: module("1.0.0"),
        arity: Some(-2),
        flags: of(&[READONLY, MODULE]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::ModuleJson)
    },
    CommandSpec {
        name: "JSON.TOGGLE",
        since: module("2.0.0"),
        arity: Some(3),
        flags: of(&[WRITE, MODULE]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::ModuleJson)
    },
    CommandSpec {
        name: "JSON.TYPE",
        since: module("1.0.0"),
        arity: Some(-2),
        flags: of(&[READONLY, MODULE]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::ModuleJson)
    },
    CommandSpec {
        name: "KEYS",
        since: both("1.0.0"),
        arity: Some(2),
        flags: READONLY,
        names: &[name(KeyPattern, 1)],
        reply: ArrayOfKeys,
        routing: AllShards(Gather::Concat),
        note: "the prefix, its glob bytes escaped, goes before the pattern",
        ..scoped(Group::Generic)
    },
    CommandSpec {
        name: "LASTSAVE",
        since: both("1.0.0"),
        arity: Some(1),
        flags: of(&[LOADING, STALE, FAST]),
        ..passed(Group::Server)
    },
    CommandSpec { name: "LATENCY", since: both("2.8.13"), arity: Some(-2), ..container(Group::Server) },
    CommandSpec {
        name: "LATENCY DOCTOR",
        since: both("2.8.13"),
        arity: Some(2),
        flags: of(&[ADMIN, NOSCRIPT, LOADING, STALE]),
        routing: AllNodes(Gather::Special),
        ..admin_only(Group::Server)
    },
    CommandSpec {
        name: "LATENCY GRAPH",
        since: both("2.8.13"),
        arity: Some(3),
        flags: of(&[ADMIN, NOSCRIPT, LOADING, STALE]),
        routing: AllNodes(Gather::Special),
        ..admin_only(Group::Server)
    },
    CommandSpec {
        name: "LATENCY HELP",
        since: both("2.8.13"),
        arity: Some(2),
        flags: of(&[LOADING, STALE]),
        ..passed(Group::Server)
    },
    CommandSpec {
        name: "LATENCY HISTOGRAM",
        since: both("7.0.0"),
        arity: Some(-2),
        flags: of(&[ADMIN, NOSCRIPT, LOADING, STALE]),
        routing: AllNodes(Gather::Special),
        ..admin_only(Group::Server)
    },
    CommandSpec {
        name: "LATENCY HISTORY",
        since: both("2.8.13"),
        arity: Some(3),
        flags: of(&[ADMIN, NOSCRIPT, LOADING, STALE]),
        routing: AllNodes(Gather::Special),
        ..admin_only(Group::Server)
    },
    CommandSpec {
        name: "LATENCY LATEST",
        since: both("2.8.13"),
        arity: Some(2),
        flags: of(&[ADMIN, NOSCRIPT, LOADING, STALE]),
        routing: AllNodes(Gather::Special),
        ..admin_only(Group::Server)
    },
    CommandSpec {
        name: "LATENCY RESET",
        since: both("2.8.13"),
        arity: Some(-2),
        flags: of(&[ADMIN, NOSCRIPT, LOADING, STALE]),
        routing: AllNodes(Gather::Sum),
        ..admin_only(Group::Server)
    },
    CommandSpec {
        name: "LCS",
        since: both("7.0.0"),
        arity: Some(-3),
        flags: READONLY,
        names: &[keys(1, 2, 1, ReadOnly)],
        ..keyed(Group::String)
    },
    CommandSpec {
        name: "LINDEX",
        since: both("1.0.0"),
        arity: Some(3),
        flags: READONLY,
        names: &[key(1, ReadOnly)],
        ..keyed(Group::List)
    },
    CommandSpec {
        name: "LINSERT",
        since: both("2.2.0"),
        arity: Some(5),
        flags: of(&[WRITE, DENYOOM]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::List)
    },
    CommandSpec {
        name: "LLEN",
        since: both("1.0.0"),
        arity: Some(2),
        flags: of(&[READONLY, FAST]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::List)
    },
    CommandSpec {
        name: "LMOVE",
        since: both("6.2.0"),
        arity: Some(5),
        flags: of(&[WRITE, DENYOOM]),
        names: &[key(1, ReadWrite), key(2, ReadWrite)],
        ..keyed(Group::List)
    },
    CommandSpec {
        name: "LMOVEM",
        since: redis("8.10.0"),
        evidence: Documented,
        arity: Some(-5),
        flags: of(&[WRITE, DENYOOM]),
        names: &[key(1, ReadWrite), key(2, ReadWrite)],
        ..keyed(Group::List)
    },
    CommandSpec {
        name: "LMPOP",
        since: both("7.0.0"),
        arity: Some(-4),
        flags: WRITE,
        names: &[counted_keys(1, ReadWrite)],
        reply: FirstElementKey,
        ..keyed(Group::List)
    },
    CommandSpec {
        name: "LOLWUT",
        since: both("5.0.0"),
        arity: Some(-1),
        flags: of(&[READONLY, FAST]),
        ..passed(Group::Server)
    },
    CommandSpec {
        name: "LPOP",
        since: both("1.0.0"),
        arity: Some(-2),
        flags: of(&[WRITE, FAST]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::List)
    },
    CommandSpec {
        name: "LPOS",
        since: both("6.0.6"),
        arity: Some(-3),
        flags: READONLY,
        names: &[key(1, ReadOnly)],
        ..keyed(Group::List)
    },
    CommandSpec {
        name: "LPUSH",
        since: both("1.0.0"),
        arity: Some(-3),
        flags: of(&[WRITE, DENYOOM, FAST]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::List)
    },
    CommandSpec {
        name: "LPUSHX",
        since: both("2.2.0"),
        arity: Some(-3),
        flags: of(&[WRITE, DENYOOM, FAST]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::List)
    },
    CommandSpec {
        name: "LRANGE",
        since: both("1.0.0"),
        arity: Some(4),
        flags: READONLY,
        names: &[key(1, ReadOnly)],
        ..keyed(Group::List)
    },
    CommandSpec {
        name: "LREM",
        since: both("1.0.0"),
        arity: Some(4),
        flags: WRITE,
        names: &[key(1, ReadWrite)],
        ..keyed(Group::List)
    },
    CommandSpec {
        name: "LSET",
        since: both("1.0.0"),
        arity: Some(4),
        flags: of(&[WRITE, DENYOOM]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::List)
    },
    CommandSpec {
        name: "LTRIM",
        since: both("1.0.0"),
        arity: Some(4),
        flags: WRITE,
        names: &[key(1, ReadWrite)],
        ..keyed(Group::List)
    },
    CommandSpec { name: "MEMORY", since: both("4.0.0"), arity: Some(-2), ..container(Group::Server) },
    CommandSpec {
        name: "MEMORY DOCTOR",
        since: both("4.0.0"),
        arity: Some(2),
        routing: AllShards(Gather::Special),
        ..admin_only(Group::Server)
    },
    CommandSpec {
        name: "MEMORY HELP",
        since: both("4.0.0"),
        arity: Some(2),
        flags: of(&[LOADING, STALE]),
        ..passed(Group::Server)
    },
    CommandSpec {
        name: "MEMORY MALLOC-STATS",
        since: both("4.0.0"),
        arity: Some(2),
        routing: AllShards(Gather::Special),
        ..admin_only(Group::Server)
    },
    CommandSpec {
        name: "MEMORY PURGE",
        since: both("4.0.0"),
        arity: Some(2),
        routing: AllShards(Gather::AllSucceeded),
        ..admin_only(Group::Server)
    },
    CommandSpec {
        name: "MEMORY STATS",
        since: both("4.0.0"),
        arity: Some(2),
        routing: AllShards(Gather::Special),
        ..admin_only(Group::Server)
    },
    CommandSpec {
        name: "MEMORY USAGE",
        since: both("4.0.0"),
        arity: Some(-3),
        flags: READONLY,
        names: &[key(2, ReadOnly)],
        note: "the figure includes the prefix",
        ..keyed(Group::Server)
    },
    CommandSpec {
        name: "MGET",
        since: both("1.0.0"),
        arity: Some(-2),
        flags: of(&[READONLY, FAST]),
        names: &[keys(1, -1, 1, ReadOnly)],
        routing: SplitInOrder,
        note: "no snapshot when it is cut",
        ..keyed(Group::String)
    },
    CommandSpec {
        name: "MIGRATE",
        since: both("2.6.0"),
        arity: Some(-6),
        flags: WRITE,
        names: &[key(3, ReadWrite), MIGRATE_OPTIONS],
        routing: SingleSlot,
        note: "sends any key to any address",
        ..denied(Group::Generic)
    },
    CommandSpec { name: "MODULE", since: both("4.0.0"), arity: Some(-2), ..container(Group::Server) },
    CommandSpec {
        name: "MODULE HELP",
        since: both("5.0.0"),
        arity: Some(2),
        flags: of(&[LOADING, STALE]),
        ..passed(Group::Server)
    },
    CommandSpec {
        name: "MODULE LIST",
        since: both("4.0.0"),
        arity: Some(2),
        flags: of(&[ADMIN, NOSCRIPT]),
        note: "answers that there are none; the server's answer shows paths",
        ..emulated(Group::Server)
    },
    CommandSpec {
        name: "MODULE LOAD",
        since: both("4.0.0"),
        arity: Some(-3),
        flags: of(&[ADMIN, NOSCRIPT, NO_ASYNC_LOADING]),
        ..admin_only(Group::Server)
    },
    CommandSpec {
        name: "MODULE LOADEX",
        since: both("7.0.0"),
        arity: Some(-3),
        flags: of(&[ADMIN, NOSCRIPT, NO_ASYNC_LOADING]),
        ..admin_only(Group::Server)
    },
    CommandSpec {
        name: "MODULE UNLOAD",
        since: both("4.0.0"),
        arity: Some(3),
        flags: of(&[ADMIN, NOSCRIPT, NO_ASYNC_LOADING]),
        ..admin_only(Group::Server)
    },
    CommandSpec {
        name: "MONITOR",
        since: both("1.0.0"),
        arity: Some(1),
        flags: of(&[ADMIN, NOSCRIPT, LOADING, STALE]),
        reply: FreeText,
        note: "the server shows the commands of all tenants",
        ..scoped(Group::Server)
    },
    CommandSpec {
        name: "MOVE",
        since: both("1.0.0"),
        arity: Some(3),
        flags: of(&[WRITE, FAST]),
        names: &[key(1, ReadWrite), name(Database, 2)],
        routing: SingleSlot,
        note: "the target is one of the tenant's databases",
        ..emulated(Group::Generic)
    },
    CommandSpec {
        name: "MSET",
        since: both("1.0.1"),
        arity: Some(-3),
        flags: of(&[WRITE, DENYOOM]),
        names: &[keys(1, -1, 2, Overwrite)],
        routing: SplitAllSucceeded,
        note: "not atomic when it is cut",
        ..keyed(Group::String)
    },
    CommandSpec {
        name: "MSETEX",
        since: Since { redis: In("8.4.0"), valkey: In("9.1.0") },
        arity: Some(-4),
        flags: of(&[WRITE, DENYOOM]),
        names: &[NumKeys { count_at: 1, step: 2, zero: false, access: Overwrite }],
        note: "with NX or XX it is all or nothing, so it is not cut although the server's own tip allows it",
        ..keyed(Group::String)
    },
    CommandSpec {
        name: "MSETNX",
        since: both("1.0.1"),
        arity: Some(-3),
        flags: of(&[WRITE, DENYOOM]),
        names: &[keys(1, -1, 2, Overwrite)],
        ..keyed(Group::String)
    },
    CommandSpec {
        name: "MULTI",
        since: both("1.2.0"),
        arity: Some(1),
        flags: of(&[NOSCRIPT, LOADING, STALE, FAST, ALLOW_BUSY, NO_MULTI_VALKEY]),
        routing: SingleSlot,
        connection: Connection::Transaction,
        note: "inside a transaction: an error that leaves it alive (Valkey 9: aborts it)",
        ..emulated(Group::Transactions)
    },
    CommandSpec { name: "OBJECT", since: both("2.2.3"), arity: Some(-2), ..container(Group::Generic) },
    CommandSpec {
        name: "OBJECT ENCODING",
        since: both("2.2.3"),
        arity: Some(3),
        flags: READONLY,
        names: &[key(2, ReadOnly)],
        ..keyed(Group::Generic)
    },
    CommandSpec {
        name: "OBJECT FREQ",
        since: both("4.0.0"),
        arity: Some(3),
        flags: READONLY,
        names: &[key(2, ReadOnly)],
        ..keyed(Group::Generic)
    },
    CommandSpec {
        name: "OBJECT HELP",
        since: both("6.2.0"),
        arity: Some(2),
        flags: of(&[LOADING, STALE]),
        ..passed(Group::Generic)
    },
    CommandSpec {
        name: "OBJECT IDLETIME",
        since: both("2.2.3"),
        arity: Some(3),
        flags: READONLY,
        names: &[key(2, ReadOnly)],
        ..keyed(Group::Generic)
    },
    CommandSpec {
        name: "OBJECT REFCOUNT",
        since: both("2.2.3"),
        arity: Some(3),
        flags: READONLY,
        names: &[key(2, ReadOnly)],
        ..keyed(Group::Generic)
    },
    CommandSpec {
        name: "PERSIST",
        since: both("2.2.0"),
        arity: Some(2),
        flags: of(&[WRITE, FAST]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::Generic)
    },
    CommandSpec {
        name: "PEXPIRE",
        since: both("2.6.0"),
        arity: Some(-3),
        flags: of(&[WRITE, FAST]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::Generic)
    },
    CommandSpec {
        name: "PEXPIREAT",
        since: both("2.6.0"),
        arity: Some(-3),
        flags: of(&[WRITE, FAST]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::Generic)
    },
    CommandSpec {
        name: "PEXPIRETIME",
        since: both("7.0.0"),
        arity: Some(2),
        flags: of(&[READONLY, FAST]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::Generic)
    },
    CommandSpec {
        name: "PFADD",
        since: both("2.8.9"),
        arity: Some(-2),
        flags: of(&[WRITE, DENYOOM, FAST]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::HyperLogLog)
    },
    CommandSpec {
        name: "PFCOUNT",
        since: both("2.8.9"),
        arity: Some(-2),
        flags: READONLY,
        names: &[keys(1, -1, 1, ReadWrite)],
        ..keyed(Group::HyperLogLog)
    },
    CommandSpec {
        name: "PFDEBUG",
        since: both("2.8.9"),
        arity: Some(3),
        flags: of(&[WRITE, DENYOOM, ADMIN]),
        names: &[key(2, ReadWrite)],
        ..keyed(Group::HyperLogLog)
    },
    CommandSpec {
        name: "PFMERGE",
        since: both("2.8.9"),
        arity: Some(-2),
        flags: of(&[WRITE, DENYOOM]),
        names: &[key(1, ReadWrite), keys(2, -1, 1, ReadOnly)],
        ..keyed(Group::HyperLogLog)
    },
    CommandSpec {
        name: "PFSELFTEST",
        since: both("2.8.9"),
        arity: Some(1),
        flags: ADMIN,
        ..admin_only(Group::HyperLogLog)
    },
    CommandSpec {
        name: "PING",
        since: both("1.0.0"),
        arity: Some(-1),
        flags: FAST,
        routing: AllShards(Gather::AllSucceeded),
        ..emulated(Group::Connection)
    },
    CommandSpec {
        name: "PSETEX",
        since: both("2.6.0"),
        arity: Some(4),
        flags: of(&[WRITE, DENYOOM]),
        names: &[key(1, Overwrite)],
        ..keyed(Group::String)
    },
    CommandSpec {
        name: "PSUBSCRIBE",
        since: both("2.0.0"),
        arity: Some(-2),
        flags: of(&[DENYOOM, PUBSUB, NOSCRIPT, LOADING, STALE]),
        names: &[names(ChannelPattern, 1, -1)],
        reply: Subscription,
        routing: AnyNode,
        connection: Connection::PubSub,
        note: "messages carry the pattern and the channel, which may be one of the server's own",
        ..keyed(Group::PubSub)
    },
    CommandSpec {
        name: "PSYNC",
        since: both("2.8.0"),
        arity: Some(-3),
        flags: of(&[ADMIN, NOSCRIPT, NO_ASYNC_LOADING, NO_MULTI]),
        ..denied(Group::Server)
    },
    CommandSpec {
        name: "PTTL",
        since: both("2.6.0"),
        arity: Some(2),
        flags: of(&[READONLY, FAST]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::Generic)
    },
    CommandSpec {
        name: "PUBLISH",
        since: both("2.0.0"),
        arity: Some(3),
        flags: of(&[PUBSUB, LOADING, STALE, FAST]),
        names: &[name(Channel, 1)],
        routing: AnyNode,
        note: "the reply counts the tenant's subscribers",
        ..keyed(Group::PubSub)
    },
    CommandSpec { name: "PUBSUB", since: both("2.8.0"), arity: Some(-2), ..container(Group::PubSub) },
    CommandSpec {
        name: "PUBSUB CHANNELS",
        since: both("2.8.0"),
        arity: Some(-2),
        flags: of(&[PUBSUB, LOADING, STALE]),
        names: &[name(ChannelPattern, 2)],
        reply: ArrayOfChannels,
        routing: AllShards(Gather::Union),
        note: "the server lists the channels of all tenants",
        ..scoped(Group::PubSub)
    },
    CommandSpec {
        name: "PUBSUB HELP",
        since: both("6.2.0"),
        arity: Some(2),
        flags: of(&[LOADING, STALE]),
        ..passed(Group::PubSub)
    },
    CommandSpec {
        name: "PUBSUB NUMPAT",
        since: both("2.8.0"),
        arity: Some(2),
        flags: of(&[PUBSUB, LOADING, STALE]),
        note: "the server counts the patterns of all tenants",
        ..scoped(Group::PubSub)
    },
    CommandSpec {
        name: "PUBSUB NUMSUB",
        since: both("2.8.0"),
        arity: Some(-2),
        flags: of(&[PUBSUB, LOADING, STALE]),
        names: &[names(Channel, 2, -1)],
        reply: AlternatingChannelCount,
        routing: AllShards(Gather::SumPerChannel),
        note: "counts the tenant's subscribers",
        ..keyed(Group::PubSub)
    },
    CommandSpec {
        name: "PUBSUB SHARDCHANNELS",
        since: both("7.0.0"),
        arity: Some(-2),
        flags: of(&[PUBSUB, LOADING, STALE]),
        names: &[name(ChannelPattern, 2)],
        reply: ArrayOfChannels,
        routing: AllShards(Gather::Union),
        ..scoped(Group::PubSub)
    },
    CommandSpec {
        name: "PUBSUB SHARDNUMSUB",
        since: both("7.0.0"),
        arity: Some(-2),
        flags: of(&[PUBSUB, LOADING, STALE]),
        names: &[names(ShardChannel, 2, -1)],
        reply: AlternatingChannelCount,
        routing: SplitInOrder,
        ..keyed(Group::PubSub)
    },
    CommandSpec {
        name: "PUNSUBSCRIBE",
        since: both("2.0.0"),
        arity: Some(-1),
        flags: of(&[PUBSUB, NOSCRIPT, LOADING, STALE]),
        names: &[names(ChannelPattern, 1, -1)],
        reply: Subscription,
        routing: AnyNode,
        connection: Connection::PubSub,
        note: "messages carry the pattern and the channel, which may be one of the server's own",
        ..keyed(Group::PubSub)
    },
    CommandSpec {
        name: "QUIT",
        since: both("1.0.0"),
        arity: Some(-1),
        flags: of(&[NOSCRIPT, LOADING, STALE, FAST, NO_AUTH, ALLOW_BUSY]),
        note: "what was pipelined after it is not executed",
        ..emulated(Group::Connection)
    },
    CommandSpec {
        name: "RANDOMKEY",
        since: both("1.0.0"),
        arity: Some(1),
        flags: READONLY,
        reply: ScalarKey,
        routing: AllShards(Gather::Special),
        note: "the server picks among the keys of all tenants",
        ..scoped(Group::Generic)
    },
    CommandSpec {
        name: "READONLY",
        since: both("3.0.0"),
        arity: Some(1),
        flags: of(&[LOADING, STALE, FAST]),
        note: "answers as a server without cluster support (Valkey 9 says OK to READONLY)",
        ..emulated(Group::Cluster)
    },
    CommandSpec {
        name: "READWRITE",
        since: both("3.0.0"),
        arity: Some(1),
        flags: of(&[LOADING, STALE, FAST]),
        note: "answers as a server without cluster support (Valkey 9 says OK to READONLY)",
        ..emulated(Group::Cluster)
    },
    CommandSpec {
        name: "RENAME",
        since: both("1.0.0"),
        arity: Some(3),
        flags: WRITE,
        names: &[key(1, ReadWrite), key(2, Overwrite)],
        ..keyed(Group::Generic)
    },
    CommandSpec {
        name: "RENAMENX",
        since: both("1.0.0"),
        arity: Some(3),
        flags: of(&[WRITE, FAST]),
        names: &[key(1, ReadWrite), key(2, Overwrite)],
        ..keyed(Group::Generic)
    },
    CommandSpec {
        name: "REPLCONF",
        since: both("3.0.0"),
        arity: Some(-1),
        flags: of(&[ADMIN, NOSCRIPT, LOADING, STALE, ALLOW_BUSY]),
        ..denied(Group::Server)
    },
    CommandSpec {
        name: "REPLICAOF",
        since: both("5.0.0"),
        arity: Some(3),
        flags: of(&[ADMIN, NOSCRIPT, STALE, NO_ASYNC_LOADING]),
        ..admin_only(Group::Server)
    },
    CommandSpec {
        name: "RESET",
        since: both("6.2.0"),
        arity: Some(1),
        flags: of(&[NOSCRIPT, LOADING, STALE, FAST, NO_AUTH, ALLOW_BUSY]),
        ..emulated(Group::Connection)
    },
    CommandSpec {
        name: "RESTORE",
        since: both("2.6.0"),
        arity: Some(-4),
        flags: of(&[WRITE, DENYOOM]),
        names: &[key(1, Overwrite)],
        note: "the payload is opaque to the proxy",
        ..keyed(Group::Generic)
    },
    CommandSpec {
        name: "RESTORE-ASKING",
        since: both("3.0.0"),
        arity: Some(-4),
        flags: of(&[WRITE, DENYOOM, ASKING]),
        names: &[key(1, Overwrite)],
        routing: SingleSlot,
        ..denied(Group::Server)
    },
    CommandSpec {
        name: "ROLE",
        since: both("2.8.12"),
        arity: Some(1),
        flags: of(&[NOSCRIPT, LOADING, STALE, FAST]),
        note: "answers as a master without replicas",
        ..emulated(Group::Server)
    },
    CommandSpec {
        name: "RPOP",
        since: both("1.0.0"),
        arity: Some(-2),
        flags: of(&[WRITE, FAST]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::List)
    },
    CommandSpec {
        name: "RPOPLPUSH",
        since: both("1.2.0"),
        arity: Some(3),
        flags: of(&[WRITE, DENYOOM]),
        names: &[key(1, ReadWrite), key(2, ReadWrite)],
        ..keyed(Group::List)
    },
    CommandSpec {
        name: "RPUSH",
        since: both("1.0.0"),
        arity: Some(-3),
        flags: of(&[WRITE, DENYOOM, FAST]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::List)
    },
    CommandSpec {
        name: "RPUSHX",
        since: both("2.2.0"),
        arity: Some(-3),
        flags: of(&[WRITE, DENYOOM, FAST]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::List)
    },
    CommandSpec {
        name: "SADD",
        since: both("1.0.0"),
        arity: Some(-3),
        flags: of(&[WRITE, DENYOOM, FAST]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::Set)
    },
    CommandSpec {
        name: "SAVE",
        since: both("1.0.0"),
        arity: Some(1),
        flags: of(&[ADMIN, NOSCRIPT, NO_ASYNC_LOADING, NO_MULTI]),
        ..admin_only(Group::Server)
    },
    CommandSpec {
        name: "SCAN",
        since: both("2.8.0"),
        arity: Some(-2),
        flags: READONLY,
        names: &[SCAN_OPTIONS],
        reply: Scan,
        routing: Cursor,
        note: "the server walks the keys of all tenants, and its cursors tell how many there are",
        ..scoped(Group::Generic)
    },
    CommandSpec {
        name: "SCARD",
        since: both("1.0.0"),
        arity: Some(2),
        flags: of(&[READONLY, FAST]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::Set)
    },
    CommandSpec { name: "SCRIPT", since: both("2.6.0"), arity: Some(-2), ..container(Group::Scripting) },
    CommandSpec {
        name: "SCRIPT DEBUG",
        since: both("3.2.0"),
        arity: Some(3),
        flags: NOSCRIPT,
        note: "turns the connection into a debugger's",
        ..denied(Group::Scripting)
    },
    CommandSpec {
        name: "SCRIPT EXISTS",
        since: both("2.6.0"),
        arity: Some(-3),
        flags: NOSCRIPT,
        routing: AllNodes(Gather::Special),
        note: "the server has one script cache for all tenants",
        ..scoped(Group::Scripting)
    },
    CommandSpec {
        name: "SCRIPT FLUSH",
        since: both("2.6.0"),
        arity: Some(-2),
        flags: NOSCRIPT,
        routing: AllNodes(Gather::Special),
        note: "the server has one script cache for all tenants",
        ..scoped(Group::Scripting)
    },
    CommandSpec {
        name: "SCRIPT HELP",
        since: both("5.0.0"),
        arity: Some(2),
        flags: of(&[LOADING, STALE]),
        ..passed(Group::Scripting)
    },
    CommandSpec {
        name: "SCRIPT KILL",
        since: both("2.6.0"),
        arity: Some(2),
        flags: of(&[NOSCRIPT, ALLOW_BUSY]),
        routing: AllShards(Gather::OneSucceeded),
        note: "the running script may be another tenant's",
        ..scoped(Group::Scripting)
    },
    CommandSpec {
        name: "SCRIPT LOAD",
        since: both("2.6.0"),
        arity: Some(3),
        flags: of(&[NOSCRIPT, STALE]),
        routing: AllNodes(Gather::Special),
        note: "the server has one script cache for all tenants",
        ..scoped(Group::Scripting)
    },
    CommandSpec {
        name: "SCRIPT SHOW",
        since: valkey("8.0.0"),
        arity: Some(3),
        flags: of(&[NOSCRIPT, STALE]),
        routing: AllNodes(Gather::Special),
        note: "the server has one script cache for all tenants",
        ..scoped(Group::Scripting)
    },
    CommandSpec {
        name: "SDIFF",
        since: both("1.0.0"),
        arity: Some(-2),
        flags: READONLY,
        names: &[keys(1, -1, 1, ReadOnly)],
        ..keyed(Group::Set)
    },
    CommandSpec {
        name: "SDIFFCARD",
        since: redis("8.10.0"),
        evidence: Documented,
        arity: Some(-3),
        flags: READONLY,
        names: &[counted_keys(1, ReadOnly)],
        ..keyed(Group::Set)
    },
    CommandSpec {
        name: "SDIFFSTORE",
        since: both("1.0.0"),
        arity: Some(-3),
        flags: of(&[WRITE, DENYOOM]),
        names: &[key(1, Overwrite), keys(2, -1, 1, ReadOnly)],
        ..keyed(Group::Set)
    },
    CommandSpec {
        name: "SEARCH.CLUSTERINFO",
        since: Since { redis: Undated, valkey: Absent },
        evidence: Documented,
        arity: Some(-1),
        flags: of(&[READONLY, MODULE, NOSCRIPT, LOADING]),
        ..denied(Group::ModuleSearch)
    },
    CommandSpec {
        name: "SEARCH.CLUSTERREFRESH",
        since: Since { redis: Undated, valkey: Absent },
        evidence: Documented,
        arity: Some(-1),
        flags: of(&[READONLY, MODULE, NOSCRIPT]),
        ..denied(Group::ModuleSearch)
    },
    CommandSpec {
        name: "SEARCH.CLUSTERSET",
        since: Since { redis: Undated, valkey: Absent },
        evidence: Documented,
        arity: Some(-1),
        flags: of(&[READONLY, MODULE, NOSCRIPT, LOADING]),
        ..denied(Group::ModuleSearch)
    },
    CommandSpec {
        name: "SELECT",
        since: both("1.0.0"),
        arity: Some(2),
        flags: of(&[LOADING, STALE, FAST]),
        names: &[name(Database, 1)],
        note: "selects one of the tenant's databases",
        ..emulated(Group::Connection)
    },
    CommandSpec {
        name: "SET",
        since: both("1.0.0"),
        arity: Some(-3),
        flags: of(&[WRITE, DENYOOM]),
        names: &[key(1, Varies)],
        ..keyed(Group::String)
    },
    CommandSpec {
        name: "SETBIT",
        since: both("2.2.0"),
        arity: Some(4),
        flags: of(&[WRITE, DENYOOM]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::Bitmap)
    },
    CommandSpec {
        name: "SETEX",
        since: both("2.0.0"),
        arity: Some(4),
        flags: of(&[WRITE, DENYOOM]),
        names: &[key(1, Overwrite)],
        ..keyed(Group::String)
    },
    CommandSpec {
        name: "SETNX",
        since: both("1.0.0"),
        arity: Some(3),
        flags: of(&[WRITE, DENYOOM, FAST]),
        names: &[key(1, Overwrite)],
        ..keyed(Group::String)
    },
    CommandSpec {
        name: "SETRANGE",
        since: both("2.2.0"),
        arity: Some(4),
        flags: of(&[WRITE, DENYOOM]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::String)
    },
    CommandSpec {
        name: "SHUTDOWN",
        since: both("1.0.0"),
        arity: Some(-1),
        flags: of(&[ADMIN, NOSCRIPT, LOADING, STALE, NO_MULTI, ALLOW_BUSY]),
        ..admin_only(Group::Server)
    },
    CommandSpec {
        name: "SINTER",
        since: both("1.0.0"),
        arity: Some(-2),
        flags: READONLY,
        names: &[keys(1, -1, 1, ReadOnly)],
        ..keyed(Group::Set)
    },
    CommandSpec {
        name: "SINTERCARD",
        since: both("7.0.0"),
        arity: Some(-3),
        flags: READONLY,
        names: &[counted_keys(1, ReadOnly)],
        ..keyed(Group::Set)
    },
    CommandSpec {
        name: "SINTERSTORE",
        since: both("1.0.0"),
        arity: Some(-3),
        flags: of(&[WRITE, DENYOOM]),
        names: &[key(1, Overwrite), keys(2, -1, 1, ReadOnly)],
        ..keyed(Group::Set)
    },
    CommandSpec {
        name: "SISMEMBER",
        since: both("1.0.0"),
        arity: Some(3),
        flags: of(&[READONLY, FAST]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::Set)
    },
    CommandSpec {
        name: "SLAVEOF",
        since: both("1.0.0"),
        arity: Some(3),
        flags: of(&[ADMIN, NOSCRIPT, STALE, NO_ASYNC_LOADING]),
        ..admin_only(Group::Server)
    },
    CommandSpec { name: "SLOWLOG", since: both("2.2.12"), arity: Some(-2), ..container(Group::Server) },
    CommandSpec {
        name: "SLOWLOG GET",
        since: both("2.2.12"),
        arity: Some(-2),
        flags: of(&[ADMIN, LOADING, STALE]),
        reply: LogEntries,
        routing: AllNodes(Gather::Special),
        note: "the server's log holds commands of all tenants",
        ..scoped(Group::Server)
    },
    CommandSpec {
        name: "SLOWLOG HELP",
        since: both("6.2.0"),
        arity: Some(2),
        flags: of(&[LOADING, STALE]),
        ..passed(Group::Server)
    },
    CommandSpec {
        name: "SLOWLOG LEN",
        since: both("2.2.12"),
        arity: Some(2),
        flags: of(&[ADMIN, LOADING, STALE]),
        routing: AllNodes(Gather::Sum),
        note: "the server's log holds commands of all tenants",
        ..scoped(Group::Server)
    },
    CommandSpec {
        name: "SLOWLOG RESET",
        since: both("2.2.12"),
        arity: Some(2),
        flags: of(&[ADMIN, LOADING, STALE]),
        routing: AllNodes(Gather::AllSucceeded),
        note: "the server's log holds commands of all tenants",
        ..scoped(Group::Server)
    },
    CommandSpec {
        name: "SMEMBERS",
        since: both("1.0.0"),
        arity: Some(2),
        flags: READONLY,
        names: &[key(1, ReadOnly)],
        ..keyed(Group::Set)
    },
    CommandSpec {
        name: "SMISMEMBER",
        since: both("6.2.0"),
        arity: Some(-3),
        flags: of(&[READONLY, FAST]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::Set)
    },
    CommandSpec {
        name: "SMOVE",
        since: both("1.0.0"),
        arity: Some(4),
        flags: of(&[WRITE, FAST]),
        names: &[key(1, ReadWrite), key(2, ReadWrite)],
        ..keyed(Group::Set)
    },
    CommandSpec {
        name: "SORT",
        since: both("1.0.0"),
        arity: Some(-2),
        flags: of(&[WRITE, DENYOOM]),
        names: &[key(1, ReadOnly), SORT_OPTIONS],
        note: "every BY, GET (except #) and STORE operand is rewritten; a cluster restricts BY and GET",
        ..keyed(Group::Generic)
    },
    CommandSpec {
        name: "SORT_RO",
        since: both("7.0.0"),
        arity: Some(-2),
        flags: READONLY,
        names: &[key(1, ReadOnly), SORT_RO_OPTIONS],
        note: "a cluster restricts BY and GET",
        ..keyed(Group::Generic)
    },
    CommandSpec {
        name: "SPOP",
        since: both("1.0.0"),
        arity: Some(-2),
        flags: of(&[WRITE, FAST]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::Set)
    },
    CommandSpec {
        name: "SPUBLISH",
        since: both("7.0.0"),
        arity: Some(3),
        flags: of(&[PUBSUB, LOADING, STALE, FAST]),
        names: &[name(ShardChannel, 1)],
        ..keyed(Group::PubSub)
    },
    CommandSpec {
        name: "SRANDMEMBER",
        since: both("1.0.0"),
        arity: Some(-2),
        flags: READONLY,
        names: &[key(1, ReadOnly)],
        ..keyed(Group::Set)
    },
    CommandSpec {
        name: "SREM",
        since: both("1.0.0"),
        arity: Some(-3),
        flags: of(&[WRITE, FAST]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::Set)
    },
    CommandSpec {
        name: "SSCAN",
        since: both("2.8.0"),
        arity: Some(-3),
        flags: READONLY,
        names: &[key(1, ReadOnly)],
        ..keyed(Group::Set)
    },
    CommandSpec {
        name: "SSUBSCRIBE",
        since: both("7.0.0"),
        arity: Some(-2),
        flags: of(&[DENYOOM, PUBSUB, NOSCRIPT, LOADING, STALE]),
        names: &[names(ShardChannel, 1, -1)],
        reply: Subscription,
        connection: Connection::PubSub,
        note: "counts shard channels only; the server unsubscribes on its own when a slot moves",
        ..keyed(Group::PubSub)
    },
    CommandSpec {
        name: "STRLEN",
        since: both("2.2.0"),
        arity: Some(2),
        flags: of(&[READONLY, FAST]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::String)
    },
    CommandSpec {
        name: "SUBSCRIBE",
        since: both("2.0.0"),
        arity: Some(-2),
        flags: of(&[DENYOOM, PUBSUB, NOSCRIPT, LOADING, STALE]),
        names: &[names(Channel, 1, -1)],
        reply: Subscription,
        routing: AnyNode,
        connection: Connection::PubSub,
        note: "one confirmation per channel, which counts channels and patterns together",
        ..keyed(Group::PubSub)
    },
    CommandSpec {
        name: "SUBSTR",
        since: both("1.0.0"),
        arity: Some(4),
        flags: READONLY,
        names: &[key(1, ReadOnly)],
        ..keyed(Group::String)
    },
    CommandSpec {
        name: "SUNION",
        since: both("1.0.0"),
        arity: Some(-2),
        flags: READONLY,
        names: &[keys(1, -1, 1, ReadOnly)],
        ..keyed(Group::Set)
    },
    CommandSpec {
        name: "SUNIONCARD",
        since: redis("8.10.0"),
        evidence: Documented,
        arity: Some(-3),
        flags: READONLY,
        names: &[counted_keys(1, ReadOnly)],
        ..keyed(Group::Set)
    },
    CommandSpec {
        name: "SUNIONSTORE",
        since: both("1.0.0"),
        arity: Some(-3),
        flags: of(&[WRITE, DENYOOM]),
        names: &[key(1, Overwrite), keys(2, -1, 1, ReadOnly)],
        ..keyed(Group::Set)
    },
    CommandSpec {
        name: "SUNSUBSCRIBE",
        since: both("7.0.0"),
        arity: Some(-1),
        flags: of(&[PUBSUB, NOSCRIPT, LOADING, STALE]),
        names: &[names(ShardChannel, 1, -1)],
        reply: Subscription,
        connection: Connection::PubSub,
        note: "counts shard channels only; the server unsubscribes on its own when a slot moves",
        ..keyed(Group::PubSub)
    },
    CommandSpec {
        name: "SWAPDB",
        since: both("4.0.0"),
        arity: Some(3),
        flags: of(&[WRITE, FAST]),
        names: &[names(Database, 1, 2)],
        note: "swaps the databases of all tenants",
        ..denied(Group::Server)
    },
    CommandSpec {
        name: "SYNC",
        since: both("1.0.0"),
        arity: Some(1),
        flags: of(&[ADMIN, NOSCRIPT, NO_ASYNC_LOADING, NO_MULTI]),
        ..denied(Group::Server)
    },
    CommandSpec {
        name: "TDIGEST.ADD",
        since: redis("2.4.0"),
        arity: Some(-3),
        flags: of(&[WRITE, DENYOOM, MODULE]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::ModuleBloom)
    },
    CommandSpec {
        name: "TDIGEST.BYRANK",
        since: redis("2.4.0"),
        arity: Some(-3),
        flags: of(&[READONLY, MODULE]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::ModuleBloom)
    },
    CommandSpec {
        name: "TDIGEST.BYREVRANK",
        since: redis("2.4.0"),
        arity: Some(-3),
        flags: of(&[READONLY, MODULE]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::ModuleBloom)
    },
    CommandSpec {
        name: "TDIGEST.CDF",
        since: redis("2.4.0"),
        arity: Some(-3),
        flags: of(&[READONLY, MODULE]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::ModuleBloom)
    },
    CommandSpec {
        name: "TDIGEST.CREATE",
        since: redis("2.4.0"),
        arity: Some(-2),
        flags: of(&[WRITE, DENYOOM, MODULE]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::ModuleBloom)
    },
    CommandSpec {
        name: "TDIGEST.INFO",
        since: redis("2.4.0"),
        arity: Some(2),
        flags: of(&[READONLY, MODULE]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::ModuleBloom)
    },
    CommandSpec {
        name: "TDIGEST.MAX",
        since: redis("2.4.0"),
        arity: Some(2),
        flags: of(&[READONLY, MODULE]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::ModuleBloom)
    },
    CommandSpec {
        name: "TDIGEST.MERGE",
        since: redis("2.4.0"),
        arity: Some(-4),
        flags: of(&[WRITE, DENYOOM, MODULE]),
        names: &[key(1, ReadWrite), counted_keys(2, ReadOnly)],
        note: "older modules report the destination only",
        ..keyed(Group::ModuleBloom)
    },
    CommandSpec {
        name: "TDIGEST.MIN",
        since: redis("2.4.0"),
        arity: Some(2),
        flags: of(&[READONLY, MODULE]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::ModuleBloom)
    },
    CommandSpec {
        name: "TDIGEST.QUANTILE",
        since: redis("2.4.0"),
        arity: Some(-3),
        flags: of(&[READONLY, MODULE]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::ModuleBloom)
    },
    CommandSpec {
        name: "TDIGEST.RANK",
        since: redis("2.4.0"),
        arity: Some(-3),
        flags: of(&[READONLY, MODULE]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::ModuleBloom)
    },
    CommandSpec {
        name: "TDIGEST.RESET",
        since: redis("2.4.0"),
        arity: Some(2),
        flags: of(&[WRITE, DENYOOM, MODULE]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::ModuleBloom)
    },
    CommandSpec {
        name: "TDIGEST.REVRANK",
        since: redis("2.4.0"),
        arity: Some(-3),
        flags: of(&[READONLY, MODULE]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::ModuleBloom)
    },
    CommandSpec {
        name: "TDIGEST.TRIMMED_MEAN",
        since: redis("2.4.0"),
        arity: Some(4),
        flags: of(&[READONLY, MODULE]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::ModuleBloom)
    },
    CommandSpec { name: "TENANTRY", since: OURS, arity: Some(-2), ..container(Group::Server) },
    CommandSpec {
        name: "TENANTRY HELP",
        since: OURS,
        arity: Some(2),
        flags: of(&[NOSCRIPT, LOADING, STALE]),
        note: "the proxy's own",
        ..emulated(Group::Server)
    },
    CommandSpec {
        name: "TENANTRY LIMITS",
        since: OURS,
        arity: Some(2),
        flags: of(&[NOSCRIPT, LOADING, STALE]),
        note: "the proxy's own: what the connection's tenant and user may take",
        ..emulated(Group::Server)
    },
    CommandSpec {
        name: "TIME",
        since: both("2.6.0"),
        arity: Some(1),
        flags: of(&[LOADING, STALE, FAST]),
        ..passed(Group::Server)
    },
    CommandSpec {
        name: "TIMESERIES.CLUSTERSET",
        since: Since { redis: Undated, valkey: Absent },
        arity: Some(-1),
        flags: of(&[READONLY, MODULE, NOSCRIPT]),
        ..denied(Group::ModuleTimeSeries)
    },
    CommandSpec {
        name: "TIMESERIES.REFRESHCLUSTER",
        since: Since { redis: Undated, valkey: Absent },
        arity: Some(-1),
        flags: of(&[READONLY, MODULE, NOSCRIPT]),
        ..denied(Group::ModuleTimeSeries)
    },
    CommandSpec {
        name: "TOPK.ADD",
        since: redis("2.0.0"),
        arity: Some(-3),
        flags: of(&[WRITE, DENYOOM, MODULE]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::ModuleBloom)
    },
    CommandSpec {
        name: "TOPK.COUNT",
        since: redis("2.0.0"),
        arity: Some(-3),
        flags: of(&[READONLY, MODULE]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::ModuleBloom)
    },
    CommandSpec {
        name: "TOPK.INCRBY",
        since: redis("2.0.0"),
        arity: Some(-4),
        flags: of(&[WRITE, DENYOOM, MODULE]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::ModuleBloom)
    },
    CommandSpec {
        name: "TOPK.INFO",
        since: redis("2.0.0"),
        arity: Some(2),
        flags: of(&[READONLY, MODULE]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::ModuleBloom)
    },
    CommandSpec {
        name: "TOPK.LIST",
        since: redis("2.0.0"),
        arity: Some(-2),
        flags: of(&[READONLY, MODULE]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::ModuleBloom)
    },
    CommandSpec {
        name: "TOPK.QUERY",
        since: redis("2.0.0"),
        arity: Some(-3),
        flags: of(&[READONLY, MODULE]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::ModuleBloom)
    },
    CommandSpec {
        name: "TOPK.RESERVE",
        since: redis("2.0.0"),
        arity: Some(-3),
        flags: of(&[WRITE, DENYOOM, MODULE]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::ModuleBloom)
    },
    CommandSpec {
        name: "TOUCH",
        since: both("3.2.1"),
        arity: Some(-2),
        flags: of(&[READONLY, FAST]),
        names: &[keys(1, -1, 1, ReadOnly)],
        routing: SplitSum,
        note: "a key given twice counts twice, so equal keys stay in one part",
        ..keyed(Group::Generic)
    },
    CommandSpec {
        name: "TRIMSLOTS",
        since: redis("8.4.0"),
        arity: Some(-5),
        flags: WRITE,
        ..denied(Group::Server)
    },
    CommandSpec {
        name: "TS.ADD",
        since: redis("1.0.0"),
        arity: Some(-4),
        flags: of(&[WRITE, DENYOOM, MODULE]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::ModuleTimeSeries)
    },
    CommandSpec {
        name: "TS.ALTER",
        since: redis("1.0.0"),
        arity: Some(-2),
        flags: of(&[WRITE, DENYOOM, MODULE]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::ModuleTimeSeries)
    },
    CommandSpec {
        name: "TS.CREATE",
        since: redis("1.0.0"),
        arity: Some(-2),
        flags: of(&[WRITE, DENYOOM, MODULE]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::ModuleTimeSeries)
    },
    CommandSpec {
        name: "TS.CREATERULE",
        since: redis("1.0.0"),
        arity: Some(-5),
        flags: of(&[WRITE, MODULE, FAST]),
        names: &[key(1, ReadOnly), key(2, ReadWrite)],
        note: "older modules report one key only",
        ..keyed(Group::ModuleTimeSeries)
    },
    CommandSpec {
        name: "TS.DECRBY",
        since: redis("1.0.0"),
        arity: Some(-3),
        flags: of(&[WRITE, DENYOOM, MODULE]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::ModuleTimeSeries)
    },
    CommandSpec {
        name: "TS.DEL",
        since: redis("1.6.0"),
        arity: Some(4),
        flags: of(&[WRITE, MODULE]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::ModuleTimeSeries)
    },
    CommandSpec {
        name: "TS.DELETERULE",
        since: redis("1.0.0"),
        arity: Some(3),
        flags: of(&[WRITE, MODULE]),
        names: &[key(1, ReadOnly), key(2, ReadWrite)],
        note: "older modules report one key only",
        ..keyed(Group::ModuleTimeSeries)
    },
    CommandSpec {
        name: "TS.GET",
        since: redis("1.0.0"),
        arity: Some(-2),
        flags: of(&[READONLY, MODULE]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::ModuleTimeSeries)
    },
    CommandSpec {
        name: "TS.INCRBY",
        since: redis("1.0.0"),
        arity: Some(-3),
        flags: of(&[WRITE, DENYOOM, MODULE]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::ModuleTimeSeries)
    },
    CommandSpec {
        name: "TS.INFO",
        since: redis("1.0.0"),
        arity: Some(-2),
        flags: of(&[READONLY, MODULE]),
        names: &[key(1, ReadOnly)],
        reply: TsInfo,
        ..keyed(Group::ModuleTimeSeries)
    },
    CommandSpec {
        name: "TS.MADD",
        since: redis("1.0.0"),
        arity: Some(-4),
        flags: of(&[WRITE, DENYOOM, MODULE]),
        names: &[keys(1, -1, 3, ReadWrite)],
        note: "errors of single items stand inside the array",
        ..keyed(Group::ModuleTimeSeries)
    },
    CommandSpec {
        name: "TS.MGET",
        since: redis("1.0.0"),
        arity: Some(-3),
        flags: of(&[READONLY, MODULE]),
        reply: TimeSeries,
        routing: Coordinator,
        note: "the filter matches series of all tenants",
        ..denied(Group::ModuleTimeSeries)
    },
    CommandSpec {
        name: "TS.MRANGE",
        since: redis("1.0.0"),
        arity: Some(-4),
        flags: of(&[READONLY, MODULE]),
        reply: TimeSeries,
        routing: Coordinator,
        note: "the filter matches series of all tenants",
        ..denied(Group::ModuleTimeSeries)
    },
    CommandSpec {
        name: "TS.MREVRANGE",
        since: redis("1.4.0"),
        arity: Some(-4),
        flags: of(&[READONLY, MODULE]),
        reply: TimeSeries,
        routing: Coordinator,
        note: "the filter matches series of all tenants",
        ..denied(Group::ModuleTimeSeries)
    },
    CommandSpec {
        name: "TS.NRANGE",
        since: redis("8.10.0"),
        evidence: Documented,
        arity: Some(-5),
        flags: of(&[READONLY, MODULE]),
        names: &[counted_keys(1, ReadOnly)],
        ..keyed(Group::ModuleTimeSeries)
    },
    CommandSpec {
        name: "TS.NREVRANGE",
        since: redis("8.10.0"),
        evidence: Documented,
        arity: Some(-5),
        flags: of(&[READONLY, MODULE]),
        names: &[counted_keys(1, ReadOnly)],
        ..keyed(Group::ModuleTimeSeries)
    },
    CommandSpec {
        name: "TS.QUERYINDEX",
        since: redis("1.0.0"),
        arity: Some(-2),
        flags: of(&[READONLY, MODULE]),
        reply: TimeSeries,
        routing: Coordinator,
        note: "lists series that an ACL forbids to read",
        ..denied(Group::ModuleTimeSeries)
    },
    CommandSpec {
        name: "TS.QUERYLABELS",
        since: redis("8.10.0"),
        evidence: Documented,
        arity: Some(-2),
        flags: of(&[READONLY, MODULE]),
        reply: TimeSeries,
        note: "lists labels of all tenants",
        ..denied(Group::ModuleTimeSeries)
    },
    CommandSpec {
        name: "TS.RANGE",
        since: redis("1.0.0"),
        arity: Some(-4),
        flags: of(&[READONLY, MODULE]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::ModuleTimeSeries)
    },
    CommandSpec {
        name: "TS.READ",
        since: redis("8.10.0"),
        evidence: Documented,
        arity: Some(-3),
        flags: of(&[READONLY, MODULE]),
        names: &[key(1, ReadOnly), BlockWord { first: 2 }],
        connection: Connection::BlockingIfBlock,
        note: "blocks with BLOCK, though it has no such flag",
        ..keyed(Group::ModuleTimeSeries)
    },
    CommandSpec {
        name: "TS.REVRANGE",
        since: redis("1.4.0"),
        arity: Some(-4),
        flags: of(&[READONLY, MODULE]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::ModuleTimeSeries)
    },
    CommandSpec {
        name: "TTL",
        since: both("1.0.0"),
        arity: Some(2),
        flags: of(&[READONLY, FAST]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::Generic)
    },
    CommandSpec {
        name: "TYPE",
        since: both("1.0.0"),
        arity: Some(2),
        flags: of(&[READONLY, FAST]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::Generic)
    },
    CommandSpec {
        name: "UNLINK",
        since: both("4.0.0"),
        arity: Some(-2),
        flags: of(&[WRITE, FAST]),
        names: &[keys(1, -1, 1, Remove)],
        routing: SplitSum,
        note: "a key given twice counts twice, so equal keys stay in one part",
        ..keyed(Group::Generic)
    },
    CommandSpec {
        name: "UNSUBSCRIBE",
        since: both("2.0.0"),
        arity: Some(-1),
        flags: of(&[PUBSUB, NOSCRIPT, LOADING, STALE]),
        names: &[names(Channel, 1, -1)],
        reply: Subscription,
        routing: AnyNode,
        connection: Connection::PubSub,
        note: "one confirmation per channel, which counts channels and patterns together",
        ..keyed(Group::PubSub)
    },
    CommandSpec {
        name: "UNWATCH",
        since: both("2.2.0"),
        arity: Some(1),
        flags: of(&[NOSCRIPT, LOADING, STALE, FAST, ALLOW_BUSY]),
        connection: Connection::Transaction,
        ..emulated(Group::Transactions)
    },
    CommandSpec {
        name: "VADD",
        since: redis("8.0.0"),
        arity: Some(-5),
        flags: of(&[WRITE, DENYOOM, MODULE]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::VectorSet)
    },
    CommandSpec {
        name: "VCARD",
        since: redis("8.0.0"),
        arity: Some(2),
        flags: of(&[READONLY, MODULE, FAST]),
        names: &[key(1, ReadWrite)],
        note: "only reads, whatever its key flags say",
        ..keyed(Group::VectorSet)
    },
    CommandSpec {
        name: "VDIM",
        since: redis("8.0.0"),
        arity: Some(2),
        flags: of(&[READONLY, MODULE, FAST]),
        names: &[key(1, ReadWrite)],
        note: "only reads, whatever its key flags say",
        ..keyed(Group::VectorSet)
    },
    CommandSpec {
        name: "VEMB",
        since: redis("8.0.0"),
        arity: Some(-3),
        flags: of(&[READONLY, MODULE, FAST]),
        names: &[key(1, ReadWrite)],
        note: "only reads, whatever its key flags say",
        ..keyed(Group::VectorSet)
    },
    CommandSpec {
        name: "VGETATTR",
        since: redis("8.0.0"),
        arity: Some(3),
        flags: of(&[READONLY, MODULE, FAST]),
        names: &[key(1, ReadWrite)],
        note: "only reads, whatever its key flags say",
        ..keyed(Group::VectorSet)
    },
    CommandSpec {
        name: "VINFO",
        since: redis("8.0.0"),
        arity: Some(2),
        flags: of(&[READONLY, MODULE, FAST]),
        names: &[key(1, ReadWrite)],
        note: "only reads, whatever its key flags say",
        ..keyed(Group::VectorSet)
    },
    CommandSpec {
        name: "VISMEMBER",
        since: redis("8.2.0"),
        arity: Some(3),
        flags: of(&[READONLY, MODULE]),
        names: &[key(1, ReadWrite)],
        note: "only reads, whatever its key flags say",
        ..keyed(Group::VectorSet)
    },
    CommandSpec {
        name: "VLINKS",
        since: redis("8.0.0"),
        arity: Some(-3),
        flags: of(&[READONLY, MODULE, FAST]),
        names: &[key(1, ReadWrite)],
        note: "only reads, whatever its key flags say",
        ..keyed(Group::VectorSet)
    },
    CommandSpec {
        name: "VRANDMEMBER",
        since: redis("8.0.0"),
        arity: Some(-2),
        flags: of(&[READONLY, MODULE]),
        names: &[key(1, ReadWrite)],
        note: "only reads, whatever its key flags say",
        ..keyed(Group::VectorSet)
    },
    CommandSpec {
        name: "VRANGE",
        since: redis("8.4.0"),
        arity: Some(-4),
        flags: of(&[READONLY, MODULE]),
        names: &[key(1, ReadWrite)],
        note: "only reads, whatever its key flags say",
        ..keyed(Group::VectorSet)
    },
    CommandSpec {
        name: "VREM",
        since: redis("8.0.0"),
        arity: Some(3),
        flags: of(&[WRITE, MODULE]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::VectorSet)
    },
    CommandSpec {
        name: "VSETATTR",
        since: redis("8.0.0"),
        arity: Some(4),
        flags: of(&[WRITE, MODULE, FAST]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::VectorSet)
    },
    CommandSpec {
        name: "VSIM",
        since: redis("8.0.0"),
        arity: Some(-4),
        flags: of(&[READONLY, MODULE]),
        names: &[key(1, ReadWrite)],
        note: "only reads, whatever its key flags say",
        ..keyed(Group::VectorSet)
    },
    CommandSpec {
        name: "WAIT",
        since: both("3.0.0"),
        arity: Some(3),
        flags: BLOCKING,
        routing: AllShards(Gather::Min),
        connection: Connection::Wait,
        note: "acknowledges the writes of the connection that asks",
        ..emulated(Group::Generic)
    },
    CommandSpec {
        name: "WAITAOF",
        since: both("7.2.0"),
        arity: Some(4),
        flags: BLOCKING,
        routing: AllShards(Gather::Min),
        connection: Connection::Wait,
        note: "acknowledges the writes of the connection that asks",
        ..emulated(Group::Generic)
    },
    CommandSpec {
        name: "WATCH",
        since: both("2.2.0"),
        arity: Some(-2),
        flags: of(&[NOSCRIPT, LOADING, STALE, FAST, ALLOW_BUSY, NO_MULTI_VALKEY]),
        names: &[keys(1, -1, 1, ReadOnly)],
        connection: Connection::Transaction,
        note: "inside a transaction: an error that leaves it alive (Valkey 9: aborts it)",
        ..keyed(Group::Transactions)
    },
    CommandSpec {
        name: "XACK",
        since: both("5.0.0"),
        arity: Some(-4),
        flags: of(&[WRITE, FAST]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::Stream)
    },
    CommandSpec {
        name: "XACKDEL",
        since: redis("8.2.0"),
        arity: Some(-6),
        flags: of(&[WRITE, FAST]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::Stream)
    },
    CommandSpec {
        name: "XADD",
        since: both("5.0.0"),
        arity: Some(-5),
        flags: of(&[WRITE, DENYOOM, FAST]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::Stream)
    },
    CommandSpec {
        name: "XAUTOCLAIM",
        since: both("6.2.0"),
        arity: Some(-6),
        flags: of(&[WRITE, FAST]),
        names: &[key(1, ReadWrite)],
        reply: NoGroupError,
        ..keyed(Group::Stream)
    },
    CommandSpec {
        name: "XCFGSET",
        since: redis("8.6.0"),
        arity: Some(-2),
        flags: of(&[WRITE, FAST]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::Stream)
    },
    CommandSpec {
        name: "XCLAIM",
        since: both("5.0.0"),
        arity: Some(-6),
        flags: of(&[WRITE, FAST]),
        names: &[key(1, ReadWrite)],
        reply: NoGroupError,
        ..keyed(Group::Stream)
    },
    CommandSpec {
        name: "XDEL",
        since: both("5.0.0"),
        arity: Some(-3),
        flags: of(&[WRITE, FAST]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::Stream)
    },
    CommandSpec {
        name: "XDELEX",
        since: redis("8.2.0"),
        arity: Some(-5),
        flags: of(&[WRITE, FAST]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::Stream)
    },
    CommandSpec { name: "XGROUP", since: both("5.0.0"), arity: Some(-2), ..container(Group::Stream) },
    CommandSpec {
        name: "XGROUP CREATE",
        since: both("5.0.0"),
        arity: Some(-5),
        flags: of(&[WRITE, DENYOOM]),
        names: &[key(2, ReadWrite)],
        ..keyed(Group::Stream)
    },
    CommandSpec {
        name: "XGROUP CREATECONSUMER",
        since: both("6.2.0"),
        arity: Some(5),
        flags: of(&[WRITE, DENYOOM]),
        names: &[key(2, ReadWrite)],
        reply: NoGroupError,
        ..keyed(Group::Stream)
    },
    CommandSpec {
        name: "XGROUP DELCONSUMER",
        since: both("5.0.0"),
        arity: Some(5),
        flags: WRITE,
        names: &[key(2, ReadWrite)],
        reply: NoGroupError,
        ..keyed(Group::Stream)
    },
    CommandSpec {
        name: "XGROUP DESTROY",
        since: both("5.0.0"),
        arity: Some(4),
        flags: WRITE,
        names: &[key(2, ReadWrite)],
        ..keyed(Group::Stream)
    },
    CommandSpec {
        name: "XGROUP HELP",
        since: both("5.0.0"),
        arity: Some(2),
        flags: of(&[LOADING, STALE]),
        ..passed(Group::Stream)
    },
    CommandSpec {
        name: "XGROUP SETID",
        since: both("5.0.0"),
        arity: Some(-5),
        flags: WRITE,
        names: &[key(2, ReadWrite)],
        reply: NoGroupError,
        ..keyed(Group::Stream)
    },
    CommandSpec {
        name: "XIDMPRECORD",
        since: redis("8.6.2"),
        arity: Some(5),
        flags: of(&[WRITE, DENYOOM, FAST]),
        names: &[key(1, ReadWrite)],
        note: "meant for replication of idempotent producers",
        ..keyed(Group::Stream)
    },
    CommandSpec { name: "XINFO", since: both("5.0.0"), arity: Some(-2), ..container(Group::Stream) },
    CommandSpec {
        name: "XINFO CONSUMERS",
        since: both("5.0.0"),
        arity: Some(4),
        flags: READONLY,
        names: &[key(2, ReadOnly)],
        reply: NoGroupError,
        ..keyed(Group::Stream)
    },
    CommandSpec {
        name: "XINFO GROUPS",
        since: both("5.0.0"),
        arity: Some(3),
        flags: READONLY,
        names: &[key(2, ReadOnly)],
        ..keyed(Group::Stream)
    },
    CommandSpec {
        name: "XINFO HELP",
        since: both("5.0.0"),
        arity: Some(2),
        flags: of(&[LOADING, STALE]),
        ..passed(Group::Stream)
    },
    CommandSpec {
        name: "XINFO STREAM",
        since: both("5.0.0"),
        arity: Some(-3),
        flags: READONLY,
        names: &[key(2, ReadOnly)],
        ..keyed(Group::Stream)
    },
    CommandSpec {
        name: "XLEN",
        since: both("5.0.0"),
        arity: Some(2),
        flags: of(&[READONLY, FAST]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::Stream)
    },
    CommandSpec {
        name: "XNACK",
        since: redis("8.8.0"),
        evidence: Documented,
        arity: Some(-7),
        flags: of(&[WRITE, FAST]),
        names: &[key(1, ReadWrite)],
        reply: NoGroupError,
        note: "the text of its NOGROUP error is not verified",
        ..keyed(Group::Stream)
    },
    CommandSpec {
        name: "XPENDING",
        since: both("5.0.0"),
        arity: Some(-3),
        flags: READONLY,
        names: &[key(1, ReadOnly)],
        reply: NoGroupError,
        ..keyed(Group::Stream)
    },
    CommandSpec {
        name: "XRANGE",
        since: both("5.0.0"),
        arity: Some(-4),
        flags: READONLY,
        names: &[key(1, ReadOnly)],
        ..keyed(Group::Stream)
    },
    CommandSpec {
        name: "XREAD",
        since: both("5.0.0"),
        arity: Some(-4),
        flags: of(&[READONLY, BLOCKING]),
        names: &[XREAD_OPTIONS],
        reply: Xread,
        connection: Connection::BlockingIfBlock,
        ..keyed(Group::Stream)
    },
    CommandSpec {
        name: "XREADGROUP",
        since: both("5.0.0"),
        arity: Some(-7),
        flags: of(&[WRITE, BLOCKING]),
        names: &[XREAD_OPTIONS],
        reply: XreadOrNoGroup,
        connection: Connection::BlockingIfBlock,
        note: "a group or consumer may be called STREAMS; COMMAND GETKEYS takes it for the option",
        ..keyed(Group::Stream)
    },
    CommandSpec {
        name: "XREVRANGE",
        since: both("5.0.0"),
        arity: Some(-4),
        flags: READONLY,
        names: &[key(1, ReadOnly)],
        ..keyed(Group::Stream)
    },
    CommandSpec {
        name: "XSETID",
        since: both("5.0.0"),
        arity: Some(-3),
        flags: of(&[WRITE, DENYOOM, FAST]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::Stream)
    },
    CommandSpec {
        name: "XTRIM",
        since: both("5.0.0"),
        arity: Some(-4),
        flags: WRITE,
        names: &[key(1, ReadWrite)],
        ..keyed(Group::Stream)
    },
    CommandSpec {
        name: "ZADD",
        since: both("1.2.0"),
        arity: Some(-4),
        flags: of(&[WRITE, DENYOOM, FAST]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::SortedSet)
    },
    CommandSpec {
        name: "ZCARD",
        since: both("1.2.0"),
        arity: Some(2),
        flags: of(&[READONLY, FAST]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::SortedSet)
    },
    CommandSpec {
        name: "ZCOUNT",
        since: both("2.0.0"),
        arity: Some(4),
        flags: of(&[READONLY, FAST]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::SortedSet)
    },
    CommandSpec {
        name: "ZDIFF",
        since: both("6.2.0"),
        arity: Some(-3),
        flags: READONLY,
        names: &[counted_keys(1, ReadOnly)],
        ..keyed(Group::SortedSet)
    },
    CommandSpec {
        name: "ZDIFFSTORE",
        since: both("6.2.0"),
        arity: Some(-4),
        flags: of(&[WRITE, DENYOOM]),
        names: &[key(1, Overwrite), counted_keys(2, ReadOnly)],
        ..keyed(Group::SortedSet)
    },
    CommandSpec {
        name: "ZINCRBY",
        since: both("1.2.0"),
        arity: Some(4),
        flags: of(&[WRITE, DENYOOM, FAST]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::SortedSet)
    },
    CommandSpec {
        name: "ZINTER",
        since: both("6.2.0"),
        arity: Some(-3),
        flags: READONLY,
        names: &[counted_keys(1, ReadOnly)],
        ..keyed(Group::SortedSet)
    },
    CommandSpec {
        name: "ZINTERCARD",
        since: both("7.0.0"),
        arity: Some(-3),
        flags: READONLY,
        names: &[counted_keys(1, ReadOnly)],
        ..keyed(Group::SortedSet)
    },
    CommandSpec {
        name: "ZINTERSTORE",
        since: both("2.0.0"),
        arity: Some(-4),
        flags: of(&[WRITE, DENYOOM]),
        names: &[key(1, Overwrite), counted_keys(2, ReadOnly)],
        ..keyed(Group::SortedSet)
    },
    CommandSpec {
        name: "ZLEXCOUNT",
        since: both("2.8.9"),
        arity: Some(4),
        flags: of(&[READONLY, FAST]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::SortedSet)
    },
    CommandSpec {
        name: "ZMPOP",
        since: both("7.0.0"),
        arity: Some(-4),
        flags: WRITE,
        names: &[counted_keys(1, ReadWrite)],
        reply: FirstElementKey,
        ..keyed(Group::SortedSet)
    },
    CommandSpec {
        name: "ZMSCORE",
        since: both("6.2.0"),
        arity: Some(-3),
        flags: of(&[READONLY, FAST]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::SortedSet)
    },
    CommandSpec {
        name: "ZPOPMAX",
        since: both("5.0.0"),
        arity: Some(-2),
        flags: of(&[WRITE, FAST]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::SortedSet)
    },
    CommandSpec {
        name: "ZPOPMIN",
        since: both("5.0.0"),
        arity: Some(-2),
        flags: of(&[WRITE, FAST]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::SortedSet)
    },
    CommandSpec {
        name: "ZRANDMEMBER",
        since: both("6.2.0"),
        arity: Some(-2),
        flags: READONLY,
        names: &[key(1, ReadOnly)],
        ..keyed(Group::SortedSet)
    },
    CommandSpec {
        name: "ZRANGE",
        since: both("1.2.0"),
        arity: Some(-4),
        flags: READONLY,
        names: &[key(1, ReadOnly)],
        ..keyed(Group::SortedSet)
    },
    CommandSpec {
        name: "ZRANGEBYLEX",
        since: both("2.8.9"),
        arity: Some(-4),
        flags: READONLY,
        names: &[key(1, ReadOnly)],
        ..keyed(Group::SortedSet)
    },
    CommandSpec {
        name: "ZRANGEBYSCORE",
        since: both("1.0.5"),
        arity: Some(-4),
        flags: READONLY,
        names: &[key(1, ReadOnly)],
        ..keyed(Group::SortedSet)
    },
    CommandSpec {
        name: "ZRANGESTORE",
        since: both("6.2.0"),
        arity: Some(-5),
        flags: of(&[WRITE, DENYOOM]),
        names: &[key(1, Overwrite), key(2, ReadOnly)],
        ..keyed(Group::SortedSet)
    },
    CommandSpec {
        name: "ZRANK",
        since: both("2.0.0"),
        arity: Some(-3),
        flags: of(&[READONLY, FAST]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::SortedSet)
    },
    CommandSpec {
        name: "ZREM",
        since: both("1.2.0"),
        arity: Some(-3),
        flags: of(&[WRITE, FAST]),
        names: &[key(1, ReadWrite)],
        ..keyed(Group::SortedSet)
    },
    CommandSpec {
        name: "ZREMRANGEBYLEX",
        since: both("2.8.9"),
        arity: Some(4),
        flags: WRITE,
        names: &[key(1, ReadWrite)],
        ..keyed(Group::SortedSet)
    },
    CommandSpec {
        name: "ZREMRANGEBYRANK",
        since: both("2.0.0"),
        arity: Some(4),
        flags: WRITE,
        names: &[key(1, ReadWrite)],
        ..keyed(Group::SortedSet)
    },
    CommandSpec {
        name: "ZREMRANGEBYSCORE",
        since: both("1.2.0"),
        arity: Some(4),
        flags: WRITE,
        names: &[key(1, ReadWrite)],
        ..keyed(Group::SortedSet)
    },
    CommandSpec {
        name: "ZREVRANGE",
        since: both("1.2.0"),
        arity: Some(-4),
        flags: READONLY,
        names: &[key(1, ReadOnly)],
        ..keyed(Group::SortedSet)
    },
    CommandSpec {
        name: "ZREVRANGEBYLEX",
        since: both("2.8.9"),
        arity: Some(-4),
        flags: READONLY,
        names: &[key(1, ReadOnly)],
        ..keyed(Group::SortedSet)
    },
    CommandSpec {
        name: "ZREVRANGEBYSCORE",
        since: both("2.2.0"),
        arity: Some(-4),
        flags: READONLY,
        names: &[key(1, ReadOnly)],
        ..keyed(Group::SortedSet)
    },
    CommandSpec {
        name: "ZREVRANK",
        since: both("2.0.0"),
        arity: Some(-3),
        flags: of(&[READONLY, FAST]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::SortedSet)
    },
    CommandSpec {
        name: "ZSCAN",
        since: both("2.8.0"),
        arity: Some(-3),
        flags: READONLY,
        names: &[key(1, ReadOnly)],
        ..keyed(Group::SortedSet)
    },
    CommandSpec {
        name: "ZSCORE",
        since: both("1.2.0"),
        arity: Some(3),
        flags: of(&[READONLY, FAST]),
        names: &[key(1, ReadOnly)],
        ..keyed(Group::SortedSet)
    },
    CommandSpec {
        name: "ZUNION",
        since: both("6.2.0"),
        arity: Some(-3),
        flags: READONLY,
        names: &[counted_keys(1, ReadOnly)],
        ..keyed(Group::SortedSet)
    },
    CommandSpec {
        name: "ZUNIONSTORE",
        since: both("2.0.0"),
        arity: Some(-4),
        flags: of(&[WRITE, DENYOOM]),
        names: &[key(1, Overwrite), counted_keys(2, ReadOnly)],
        ..keyed(Group::SortedSet)
    },
    CommandSpec {
        name: "_FT.CONFIG",
        since: Since { redis: Undated, valkey: Absent },
        evidence: Documented,
        arity: Some(-2),
        flags: of(&[READONLY, MODULE]),
        subcommands: Flat,
        ..denied(Group::ModuleSearch)
    },
    CommandSpec {
        name: "_FT.CONFIG GET",
        since: redis("1.0.0"),
        evidence: Documented,
        arity: Some(-3),
        flags: of(&[READONLY, MODULE]),
        ..denied(Group::ModuleSearch)
    },
    CommandSpec {
        name: "_FT.CONFIG HELP",
        since: redis("1.0.0"),
        evidence: Documented,
        arity: Some(-3),
        flags: of(&[READONLY, MODULE]),
        routing: AnyNode,
        ..admin_only(Group::ModuleSearch)
    },
    CommandSpec {
        name: "_FT.CONFIG SET",
        since: redis("1.0.0"),
        evidence: Documented,
        arity: Some(-3),
        flags: of(&[WRITE, MODULE]),
        ..denied(Group::ModuleSearch)
    },
    CommandSpec {
        name: "_FT.DEBUG",
        since: Since { redis: Undated, valkey: Absent },
        evidence: Documented,
        arity: Some(-2),
        flags: of(&[READONLY, MODULE]),
        ..denied(Group::ModuleSearch)
    },
]);

// ---- What rows have in common ----

/// A row of which nothing is known but its kind.
const fn row(group: Group, verdict: Verdict, routing: Routing, connection: Connection) -> CommandSpec {
    CommandSpec {
        name: "",
        group,
        since: Since { redis: Absent, valkey: Absent },
        evidence: Seen,
        arity: None,
        flags: Flags::empty(),
        names: &[],
        reply: NoNames,
        routing,
        connection,
        verdict,
        subcommands: Subcommands::None,
        note: "",
        derived: Derived {
            index: 0,
            container: TOP_LEVEL,
            word: Word::EMPTY,
            service: Service::Denied,
            values: Values::Elsewhere,
        },
    }
}

/// Forwarded on a shared connection with its names rewritten, all in one slot.
const fn keyed(group: Group) -> CommandSpec {
    row(group, Verdict::Rewrite, SingleSlot, Connection::Shared)
}

/// Forwarded as it is.
const fn passed(group: Group) -> CommandSpec {
    row(group, Verdict::Pass, AnyNode, Connection::Shared)
}

/// A command that lists what the server has; the reply is cut to what a tenant may see.
const fn listing(group: Group, listing: Listing) -> CommandSpec {
    CommandSpec {
        reply: ReplyRule::Listing(listing),
        ..row(group, Verdict::Rewrite, AnyNode, Connection::Shared)
    }
}

/// Answered by the proxy.
const fn emulated(group: Group) -> CommandSpec {
    row(group, Verdict::Emulate, Routing::None, Connection::Local)
}

/// Answered for the tenant's part of the server.
const fn scoped(group: Group) -> CommandSpec {
    row(group, Verdict::Scoped, Routing::None, Connection::Local)
}

/// For operators.
const fn admin_only(group: Group) -> CommandSpec {
    row(group, Verdict::AdminOnly, Routing::None, Connection::Shared)
}

/// For nobody.
const fn denied(group: Group) -> CommandSpec {
    row(group, Verdict::Deny, Routing::None, Connection::None)
}

/// Only its subcommands do something.
const fn container(group: Group) -> CommandSpec {
    CommandSpec { subcommands: Named, ..row(group, Verdict::Container, Routing::None, Connection::None) }
}

/// In Redis and Valkey since the same release.
const fn both(release: &'static str) -> Since {
    Since { redis: In(release), valkey: In(release) }
}

/// The proxy's own.
const OURS: Since = Since { redis: Absent, valkey: Absent };

/// In Redis only.
const fn redis(release: &'static str) -> Since {
    Since { redis: In(release), valkey: Absent }
}

/// In Valkey only.
const fn valkey(release: &'static str) -> Since {
    Since { redis: Absent, valkey: In(release) }
}

/// In a module for Redis since that release of it, and in Valkey's module of the same purpose.
const fn module(release: &'static str) -> Since {
    Since { redis: In(release), valkey: Module }
}

const WRITE: Flags = Flags::WRITE;
const READONLY: Flags = Flags::READONLY;
const DENYOOM: Flags = Flags::DENYOOM;
const ADMIN: Flags = Flags::ADMIN;
const PUBSUB: Flags = Flags::PUBSUB;
const NOSCRIPT: Flags = Flags::NOSCRIPT;
const BLOCKING: Flags = Flags::BLOCKING;
const LOADING: Flags = Flags::LOADING;
const STALE: Flags = Flags::STALE;
const SKIP_MONITOR: Flags = Flags::SKIP_MONITOR;
const SKIP_SLOWLOG: Flags = Flags::SKIP_SLOWLOG;
const ASKING: Flags = Flags::ASKING;
const FAST: Flags = Flags::FAST;
const NO_AUTH: Flags = Flags::NO_AUTH;
const NO_MANDATORY_KEYS: Flags = Flags::NO_MANDATORY_KEYS;
const NO_ASYNC_LOADING: Flags = Flags::NO_ASYNC_LOADING;
const NO_MULTI: Flags = Flags::NO_MULTI;
const NO_MULTI_VALKEY: Flags = Flags::NO_MULTI_VALKEY;
const ALLOW_BUSY: Flags = Flags::ALLOW_BUSY;
const MODULE: Flags = Flags::MODULE;
const SCRIPT_RUNNER: Flags = Flags::SCRIPT_RUNNER;

/// Several flags.
const fn of(flags: &[Flags]) -> Flags {
    Flags::of(flags)
}

/// One key.
const fn key(at: u16, access: Access) -> NameSpec {
    Range { kind: Key, first: at as u32, last: at as i32, step: 1, access }
}

/// Every `step`-th argument is a key; `last` may count from the end.
const fn keys(first: u32, last: i32, step: u32, access: Access) -> NameSpec {
    Range { kind: Key, first, last, step, access }
}

/// At least one key, as many as the argument at `count_at` says.
const fn counted_keys(count_at: u32, access: Access) -> NameSpec {
    NumKeys { count_at, step: 1, zero: false, access }
}

/// As [`counted_keys`], or none.
const fn optional_keys(count_at: u32, access: Access) -> NameSpec {
    NumKeys { count_at, step: 1, zero: true, access }
}

/// One name that is no key.
const fn name(kind: NameKind, at: u16) -> NameSpec {
    names(kind, at as u32, at as i32)
}

/// Names that are no keys; `last` may count from the end.
const fn names(kind: NameKind, first: u32, last: i32) -> NameSpec {
    Range { kind, first, last, step: 1, access: Access::None }
}

/// An option and what follows it.
const fn opt(word: &'static str, operands: Operands) -> Opt {
    Opt { word, operands }
}

// ---- Options that carry names, or stand before them ----

const COPY_OPTIONS: NameSpec =
    Options { first: 3, options: &[opt("DB", Name(Database, Access::None)), opt("REPLACE", Plain(0))] };

/// Only the last `STORE` is written, but an ACL of Redis up to 8.6 checks only the first: all are rewritten.
const SORT_OPTIONS: NameSpec = Options {
    first: 2,
    options: &[
        opt("ASC", Plain(0)),
        opt("DESC", Plain(0)),
        opt("ALPHA", Plain(0)),
        opt("LIMIT", Plain(2)),
        opt("BY", Name(NameKind::SortPattern, ReadOnly)),
        opt("GET", GetPattern),
        opt("STORE", Name(Key, Overwrite)),
    ],
};

/// Without `STORE`, which is a syntax error here.
const SORT_RO_OPTIONS: NameSpec = Options {
    first: 2,
    options: &[
        opt("ASC", Plain(0)),
        opt("DESC", Plain(0)),
        opt("ALPHA", Plain(0)),
        opt("LIMIT", Plain(2)),
        opt("BY", Name(NameKind::SortPattern, ReadOnly)),
        opt("GET", GetPattern),
    ],
};

const GEORADIUS_WORDS: &[Opt] = &[
    opt("WITHCOORD", Plain(0)),
    opt("WITHDIST", Plain(0)),
    opt("WITHHASH", Plain(0)),
    opt("ASC", Plain(0)),
    opt("DESC", Plain(0)),
    opt("ANY", Plain(0)),
    opt("COUNT", Plain(1)),
    opt("STORE", Name(Key, Overwrite)),
    opt("STOREDIST", Name(Key, Overwrite)),
];
const GEORADIUS_OPTIONS: NameSpec = Options { first: 6, options: GEORADIUS_WORDS };
const GEORADIUSBYMEMBER_OPTIONS: NameSpec = Options { first: 5, options: GEORADIUS_WORDS };

/// `XREAD` and `XREADGROUP` share a parser in the server, which refuses the other's options where it meets
/// them. So one list serves both, and the server says what is wrong. `CLAIM` is Redis 8.4, `MAXCOUNT` and
/// `MAXSIZE` 8.10.
const XREAD_WORDS: &[Opt] = &[
    opt("BLOCK", Block),
    opt("COUNT", Plain(1)),
    opt("GROUP", Plain(2)),
    opt("NOACK", Plain(0)),
    opt("CLAIM", Plain(1)),
    opt("MAXCOUNT", Plain(1)),
    opt("MAXSIZE", Plain(1)),
    opt("STREAMS", Operands::Streams(ReadOnly)),
];
const XREAD_OPTIONS: NameSpec = Streams { first: 1, options: XREAD_WORDS };

const MIGRATE_OPTIONS: NameSpec = Options {
    first: 6,
    options: &[
        opt("COPY", Plain(0)),
        opt("REPLACE", Plain(0)),
        opt("AUTH", Plain(1)),
        opt("AUTH2", Plain(2)),
        opt("KEYS", Rest(Key, ReadWrite)),
    ],
};

/// The last `MATCH` counts. `NOVALUES` is for `HSCAN`: the server refuses it here in a sentence of its own.
const SCAN_OPTIONS: NameSpec = Options {
    first: 2,
    options: &[
        opt("MATCH", Name(KeyPattern, Access::None)),
        opt("COUNT", Plain(1)),
        opt("TYPE", Plain(1)),
        opt("NOVALUES", Plain(0)),
    ],
};

/// Every `PREFIX` counts.
const TRACKING_OPTIONS: NameSpec = Options {
    first: 3,
    options: &[
        opt("PREFIX", Name(KeyPrefix, Access::None)),
        opt("REDIRECT", Plain(1)),
        opt("BCAST", Plain(0)),
        opt("OPTIN", Plain(0)),
        opt("OPTOUT", Plain(0)),
        opt("NOLOOP", Plain(0)),
    ],
};

const FUNCTION_LIST_OPTIONS: NameSpec = Options {
    first: 2,
    options: &[opt("LIBRARYNAME", Name(LibraryPattern, Access::None)), opt("WITHCODE", Plain(0))],
};

// ---- What follows from the rows ----

/// Gives each row its position, its container, the word that finds it, and its service.
const fn numbered(mut rows: [CommandSpec; COMMANDS]) -> [CommandSpec; COMMANDS] {
    let mut index = 0;
    let mut container = 0;
    while index < COMMANDS {
        let row = &rows[index];
        let (word, parent) = if let Some(word) = second_word(row.name) {
            (word, container)
        } else {
            container = position(index);
            (row.name.as_bytes(), TOP_LEVEL)
        };
        let word = Word::fold(word).expect("no name is longer than a word may be");
        let (service, values) = (Service::of(row), Values::of(row.name));
        rows[index].derived = Derived { index: position(index), container: parent, word, service, values };
        index += 1;
    }
    rows
}

/// A position as it is stored. The table is far shorter than 65,536 rows.
const fn position(index: usize) -> u16 {
    assert!(index < TOP_LEVEL as usize);
    #[allow(
        clippy::cast_possible_truncation,
        reason = "asserted above; TryFrom is not callable by the compiler"
    )]
    let position = index as u16;
    position
}

/// What follows the blank in `name`.
const fn second_word(name: &str) -> Option<&[u8]> {
    let name = name.as_bytes();
    let mut i = 0;
    while i < name.len() {
        if name[i] == b' ' {
            return Some(name.split_at(i + 1).1);
        }
        i += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_in_byte_order_and_know_their_place() {
        assert!(TABLE.windows(2).all(|pair| pair[0].name < pair[1].name));
        for (index, row) in TABLE.iter().enumerate() {
            assert_eq!(row.index(), index, "{}", row.name);
            assert_eq!(row.name, row.name.to_ascii_uppercase());
        }
    }

    #[test]
    fn a_subcommand_follows_its_container() {
        for row in &TABLE {
            let container = row.name.split_once(' ').map(|(container, _)| container);
            assert_eq!(row.container().map(|row| row.name), container, "{}", row.name);
            let named = row.container().is_none_or(|container| container.subcommands != Subcommands::None);
            assert!(named, "{} is not looked for", row.name);
        }
    }

    #[test]
    fn only_commands_without_a_verdict_of_their_own_are_containers() {
        for row in &TABLE {
            let container = row.verdict == Verdict::Container;
            assert!(
                !container || row.subcommands == Named && row.arity == Some(-2) || row.name == "BACKUP",
                "{}",
                row.name
            );
        }
    }

    #[test]
    fn what_is_forwarded_has_a_route_and_a_connection() {
        for row in TABLE.iter().filter(|row| matches!(row.service(), Service::Forward | Service::Guarded)) {
            assert_ne!(row.routing, Routing::None, "{}", row.name);
            // `session::affinity` says of each of these which connection it takes.
            let is_known = match row.connection {
                Connection::Shared | Connection::Blocking | Connection::BlockingIfBlock => true,
                Connection::Transaction => row.name == "WATCH",
                Connection::Local
                | Connection::PubSub
                | Connection::Tracking
                | Connection::Wait
                | Connection::FieldSets
                | Connection::None => false,
            };
            assert!(is_known, "{} needs {:?}", row.name, row.connection);
        }
    }

    #[test]
    fn what_is_rewritten_has_names_and_what_is_passed_has_none() {
        for row in &TABLE {
            match row.verdict {
                Verdict::Rewrite => {
                    let is_cut = matches!(row.reply, ReplyRule::Listing(_));
                    assert_eq!(is_cut, row.names.is_empty(), "{}", row.name);
                }
                Verdict::Pass => {
                    let has_none = row.names.iter().all(|rule| matches!(rule, Described { .. }));
                    assert!(has_none && row.reply == NoNames, "{}", row.name);
                }
                Verdict::Emulate
                | Verdict::Scoped
                | Verdict::AdminOnly
                | Verdict::Deny
                | Verdict::Container => {}
            }
        }
    }

    #[test]
    fn notes_are_one_line() {
        assert!(TABLE.iter().all(|row| row.note.len() <= 95 && !row.note.contains('\n')));
    }
}
