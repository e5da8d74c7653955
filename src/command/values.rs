//! What commands have to do with string values, for tenants whose values are stored compressed
//! (`tenant/compression.rs`): the single source for the session and for `docs/commands.md`.
//!
//! Every command is in one class. Those that are about keys of any type, or of strings, are named here, and a test
//! finds the one that is not; all others are about values of types of their own, which are stored as they come.

use super::spec::CommandSpec;

/// What a command has to do with string values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    /// Nothing.
    Elsewhere,
    /// It is about keys that may hold one, whatever it is.
    Whatever,
    /// It hands them on as they are stored.
    HandedOn,
    /// It tells how they are stored.
    Described,
    /// It looks into them, but only into what is never compressed: numbers and `HyperLogLog`s.
    Uncompressed,
    /// It writes or reads whole values, where the proxy finds them.
    Understood {
        /// So many arguments after each key stands its value; 0: it writes none.
        after_key: u8,
        /// Where they are in its reply.
        shows: Shows,
    },
    /// It would see how they are stored.
    Refused(Unless),
}

/// Where values are in a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shows {
    /// Nowhere.
    Nothing,
    /// It is one.
    One,
    /// Each element is one.
    Each,
}

/// When a command that would see how values are stored does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unless {
    /// It always would.
    Never,
    /// It compares with nothing, or with a value that is too short to be compressed.
    ComparesShort,
    /// It has no pattern that leads to strings.
    FollowsNothing,
}

impl Values {
    /// The class of a row; evaluated by the compiler for each of them.
    pub(super) const fn of(name: &str) -> Self {
        let mut i = 0;
        while i < BY_NAME.len() {
            let (values, names) = BY_NAME[i];
            if super::service::contains(names, name) {
                return values;
            }
            i += 1;
        }
        Self::Elsewhere
    }
}

impl CommandSpec {
    /// What it has to do with string values.
    pub fn values(&self) -> Values {
        self.derived.values
    }
}

const fn writes(after_key: u8) -> Values {
    Values::Understood { after_key, shows: Shows::Nothing }
}

const fn shows(shows: Shows) -> Values {
    Values::Understood { after_key: 0, shows }
}

/// Commands by class. `docs/commands.md` lists them in this order.
pub(super) const BY_NAME: &[(Values, &[&str])] = &[
    (Values::Understood { after_key: 1, shows: Shows::One }, &["GETSET", "SET"]),
    (shows(Shows::One), &["GET", "GETDEL", "GETEX"]),
    (shows(Shows::Each), &["MGET"]),
    (writes(1), &["MSET", "MSETEX", "MSETNX", "SETNX"]),
    (writes(2), &["PSETEX", "SETEX"]),
    (
        Values::Refused(Unless::Never),
        &[
            "APPEND",
            "BITCOUNT",
            "BITFIELD",
            "BITFIELD_RO",
            "BITOP",
            "BITPOS",
            "DIGEST",
            "EVAL",
            "EVALSHA",
            "EVALSHA_RO",
            "EVAL_RO",
            "FCALL",
            "FCALL_RO",
            "GETBIT",
            "GETRANGE",
            "LCS",
            "SETBIT",
            "SETRANGE",
            "STRLEN",
            "SUBSTR",
        ],
    ),
    (Values::Refused(Unless::ComparesShort), &["DELEX", "DELIFEQ"]),
    (Values::Refused(Unless::FollowsNothing), &["SORT", "SORT_RO"]),
    (
        Values::Uncompressed,
        &[
            "DECR",
            "DECRBY",
            "INCR",
            "INCRBY",
            "INCRBYFLOAT",
            "INCREX",
            "PFADD",
            "PFCOUNT",
            "PFDEBUG",
            "PFMERGE",
            "PFSELFTEST",
        ],
    ),
    (
        Values::HandedOn,
        &["COPY", "DUMP", "MIGRATE", "MOVE", "RENAME", "RENAMENX", "RESTORE", "RESTORE-ASKING"],
    ),
    (Values::Described, &["DEBUG", "MEMORY USAGE", "OBJECT", "OBJECT ENCODING", "OBJECT REFCOUNT"]),
    (
        Values::Whatever,
        &[
            "DEL",
            "EXISTS",
            "EXPIRE",
            "EXPIREAT",
            "EXPIRETIME",
            "KEYS",
            "OBJECT FREQ",
            "OBJECT HELP",
            "OBJECT IDLETIME",
            "PERSIST",
            "PEXPIRE",
            "PEXPIREAT",
            "PEXPIRETIME",
            "PTTL",
            "RANDOMKEY",
            "SCAN",
            "TOUCH",
            "TTL",
            "TYPE",
            "UNLINK",
            "WAIT",
            "WAITAOF",
            "WATCH",
        ],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Group, NameKind, NameSpec, TABLE, find};

    /// Whether a command may have to do with strings: those of their own groups, and those about keys of any type.
    fn may_touch_strings(row: &CommandSpec) -> bool {
        let has_keys = || {
            row.names.iter().any(|name| match name {
                NameSpec::Range { kind, .. } => *kind == NameKind::Key,
                NameSpec::NumKeys { .. } | NameSpec::Nested { .. } | NameSpec::Debug => true,
                NameSpec::Options { .. }
                | NameSpec::Streams { .. }
                | NameSpec::BlockWord { .. }
                | NameSpec::Counted { .. }
                | NameSpec::Terms { .. }
                | NameSpec::Described { .. } => false,
            })
        };
        match row.group {
            Group::String | Group::Bitmap | Group::HyperLogLog | Group::Generic => true,
            Group::Scripting | Group::Server | Group::Transactions => has_keys(),
            // Types of their own, channels, indexes; `CLUSTER KEYSLOT` only reads the name.
            Group::Array
            | Group::Cluster
            | Group::Connection
            | Group::Geo
            | Group::Hash
            | Group::List
            | Group::ModuleBloom
            | Group::ModuleJson
            | Group::ModuleSearch
            | Group::ModuleTimeSeries
            | Group::PubSub
            | Group::Set
            | Group::SortedSet
            | Group::Stream
            | Group::VectorSet => false,
        }
    }

    #[test]
    fn every_command_that_may_touch_strings_is_in_exactly_one_class() {
        for row in TABLE.iter().filter(|row| row.name != "ACL DRYRUN") {
            let listed = BY_NAME.iter().filter(|(_, names)| names.contains(&row.name)).count();
            assert_eq!(usize::from(may_touch_strings(row)), listed, "{}", row.name);
        }
        for name in BY_NAME.iter().flat_map(|(_, names)| *names) {
            assert!(find(name).is_some(), "{name}");
        }
    }

    #[test]
    fn what_reads_or_changes_a_part_of_a_value_is_refused() {
        let class = |name| find(name).expect("a row").values();
        for name in ["APPEND", "STRLEN", "GETRANGE", "SETBIT", "BITOP", "LCS", "EVAL"] {
            assert_eq!(Values::Refused(Unless::Never), class(name), "{name}");
        }
        assert_eq!(Values::Understood { after_key: 2, shows: Shows::Nothing }, class("SETEX"));
        assert_eq!(Values::Understood { after_key: 0, shows: Shows::Each }, class("MGET"));
        assert_eq!(Values::Elsewhere, class("HSET"));
    }
}
