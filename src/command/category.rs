//! The categories of Redis' ACL (*ACL*, "Command categories").
//!
//! A server puts a command into categories by its flags and by its place in the manual. So does this: a column of the
//! table would say the same a second time for six hundred rows. What does not follow is a list of exceptions, and
//! `tests/beside_redis/categories.rs` compares all of it with what a server says.

use super::spec::{CommandSpec, Flags, Group, Verdict};

/// Categories that are those of a flag.
const OF_FLAGS: &[(&str, Flags)] = &[
    ("write", Flags::WRITE),
    ("read", Flags::READONLY),
    ("admin", Flags::ADMIN),
    ("dangerous", Flags::ADMIN),
    ("pubsub", Flags::PUBSUB),
    ("blocking", Flags::BLOCKING),
    ("fast", Flags::FAST),
];

/// Categories that are a chapter of the manual.
const OF_GROUPS: &[(&str, Group)] = &[
    ("keyspace", Group::Generic),
    ("string", Group::String),
    ("list", Group::List),
    ("hash", Group::Hash),
    ("set", Group::Set),
    ("sortedset", Group::SortedSet),
    ("geo", Group::Geo),
    ("stream", Group::Stream),
    ("bitmap", Group::Bitmap),
    ("hyperloglog", Group::HyperLogLog),
    ("pubsub", Group::PubSub),
    ("connection", Group::Connection),
    ("transaction", Group::Transactions),
    ("scripting", Group::Scripting),
    ("json", Group::ModuleJson),
    ("bloom", Group::ModuleBloom),
    ("search", Group::ModuleSearch),
    ("timeseries", Group::ModuleTimeSeries),
];

/// What is not fast.
const SLOW: &str = "slow";

/// Commands that are in other categories than their flags and their chapter say: in these too, and not in those.
const EXCEPTIONS: &[(&[&str], &[&str], &[&str])] = &[
    (&["ASKING", "READONLY", "READWRITE"], &["connection"], &[]),
    (
        &[
            "COMMAND",
            "COMMAND COUNT",
            "COMMAND DOCS",
            "COMMAND GETKEYS",
            "COMMAND GETKEYSANDFLAGS",
            "COMMAND HELP",
            "COMMAND INFO",
            "COMMAND LIST",
        ],
        &["connection"],
        &[],
    ),
    (&["DBSIZE"], &["keyspace"], &[]),
    (&["FLUSHALL", "FLUSHDB", "RESTORE-ASKING", "SWAPDB"], &["keyspace", "dangerous"], &[]),
    (&["INFO", "KEYS", "MIGRATE", "RESTORE"], &["dangerous"], &[]),
    (&["LASTSAVE", "ROLE"], &["admin", "dangerous"], &[]),
    (&["PUBSUB HELP"], &[], &["pubsub"]),
    (&["SORT", "SORT_RO"], &["dangerous", "list", "set", "sortedset"], &["keyspace"]),
    (&["WAIT", "WAITAOF"], &["connection"], &["keyspace"]),
];

/// Whether there is such a category. Lower case.
pub(super) fn exists(category: &str) -> bool {
    category == SLOW
        || OF_FLAGS.iter().any(|(name, _)| *name == category)
        || OF_GROUPS.iter().any(|(name, _)| *name == category)
}

/// Whether a command is in a category.
pub(super) fn has(category: &str, row: &CommandSpec) -> bool {
    // A container is nothing by itself.
    if row.verdict == Verdict::Container {
        return category == SLOW;
    }
    for (_, more, less) in EXCEPTIONS.iter().filter(|(names, ..)| names.contains(&row.name)) {
        if more.contains(&category) || less.contains(&category) {
            return more.contains(&category);
        }
    }
    match category {
        SLOW => !row.flags.contains(Flags::FAST),
        // A script that only reads is no command that does.
        "read" if row.group == Group::Scripting => false,
        _ => {
            let is_flagged =
                |(name, flags): &(&str, Flags)| *name == category && row.flags.intersects(*flags);
            let is_grouped = |(name, group): &(&str, Group)| *name == category && row.group == *group;
            OF_FLAGS.iter().any(is_flagged) || OF_GROUPS.iter().any(is_grouped)
        }
    }
}
