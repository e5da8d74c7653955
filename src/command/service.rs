//! What this version of Tenantry does with a command: the single source for the session and for
//! `docs/commands.md`.

use super::TABLE;
use super::spec::{CommandSpec, Connection, Group, Verdict};

/// What happens to a request for a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Service {
    /// It is forwarded, with its names rewritten if it has any.
    Forward,
    /// It is forwarded if the upstream can be trusted with it, as `session::persona` knows.
    Guarded,
    /// It is forwarded, but said in other words than the client's.
    Reworded,
    /// The proxy answers it from what it knows of the connection.
    Local,
    /// It changes what binds the connection to an upstream connection of its own: transactions, subscriptions,
    /// tracking.
    Tied,
    /// Its answer is composed: of several upstream requests, or of what the proxy knows of other clients.
    Composed,
    /// It is refused for everybody.
    Denied,
    /// It is refused for tenants.
    AdminOnly,
    /// It is refused until the proxy has what it lacks.
    NotYet(Lacks),
}

/// What keeps a command from being served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lacks {
    /// Field sets prepared on an upstream connection.
    FieldSets,
    /// Keeping scripts and functions inside the tenant.
    ScriptConfinement,
    /// Names of search indexes, which the whole server shares.
    SearchNames,
    /// Scanning for keys of one slot, on a server that has such a scan.
    ScopedView,
}

impl Lacks {
    /// The reason in a few words, for an error reply and for the documentation.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::FieldSets => "needs a connection of its own for field sets",
            Self::ScriptConfinement => "needs scripts confined to the tenant",
            Self::SearchNames => "search index names are shared by the whole server",
            Self::ScopedView => "needs an answer scoped to the tenant",
        }
    }
}

impl Service {
    /// Whether a tenant is served the command.
    #[must_use]
    pub const fn is_served(self) -> bool {
        matches!(
            self,
            Self::Forward | Self::Guarded | Self::Reworded | Self::Local | Self::Tied | Self::Composed
        )
    }

    /// The service of a row; evaluated by the compiler for each of them.
    pub(super) const fn of(row: &CommandSpec) -> Service {
        let mut i = 0;
        while i < BY_NAME.len() {
            let (service, names) = BY_NAME[i];
            if contains(names, row.name) {
                return service;
            }
            i += 1;
        }
        match row.verdict {
            Verdict::Pass | Verdict::Rewrite => forwarded(row),
            Verdict::Emulate if starts_with(row.name, "CLUSTER ") => Self::Local,
            Verdict::Emulate | Verdict::Scoped => Self::NotYet(lacks(row)),
            Verdict::AdminOnly => Self::AdminOnly,
            // A container's own row is only ever an arity error.
            Verdict::Deny | Verdict::Container => Self::Denied,
        }
    }
}

/// Commands that are about a connection, a tenant or the server, by name: what they need cannot be told from
/// their rows.
const BY_NAME: &[(Service, &[&str])] = &[
    (
        Service::Local,
        &[
            "ACL WHOAMI",
            "ASKING",
            "AUTH",
            "CLIENT CAPA",
            "CLIENT GETNAME",
            "CLIENT GETREDIR",
            "CLIENT ID",
            "CLIENT MAINT_NOTIFICATIONS",
            "CLIENT NO-EVICT",
            "CLIENT NO-TOUCH",
            "CLIENT REPLY",
            "CLIENT SETINFO",
            "CLIENT SETNAME",
            "CLIENT TRACKINGINFO",
            "ECHO",
            "HELLO",
            "MODULE LIST",
            "PING",
            "QUIT",
            "READONLY",
            "READWRITE",
            "RESET",
            "ROLE",
            "SELECT",
            "TENANTRY HELP",
            "TENANTRY LIMITS",
        ],
    ),
    (
        Service::Tied,
        &[
            "CLIENT CACHING",
            "CLIENT TRACKING",
            "DISCARD",
            "EXEC",
            "MULTI",
            "PSUBSCRIBE",
            "PUNSUBSCRIBE",
            "SSUBSCRIBE",
            "SUBSCRIBE",
            "SUNSUBSCRIBE",
            "UNSUBSCRIBE",
            "UNWATCH",
            "WAIT",
            "WAITAOF",
        ],
    ),
    (
        Service::Composed,
        &[
            "CLIENT INFO",
            "CLIENT KILL",
            "CLIENT LIST",
            "CLIENT PAUSE",
            "CLIENT UNBLOCK",
            "CLIENT UNPAUSE",
            "COMMAND COUNT",
            "CONFIG SET",
            "DBSIZE",
            "FLUSHALL",
            "FLUSHDB",
            "INFO",
            "KEYS",
            "LATENCY DOCTOR",
            "LATENCY GRAPH",
            "LATENCY HELP",
            "LATENCY HISTOGRAM",
            "LATENCY HISTORY",
            "LATENCY LATEST",
            "LATENCY RESET",
            "MONITOR",
            "MOVE",
            "PUBSUB NUMPAT",
            "RANDOMKEY",
            "SCAN",
            "SLOWLOG GET",
            "SLOWLOG HELP",
            "SLOWLOG LEN",
            "SLOWLOG RESET",
        ],
    ),
    (
        Service::Forward,
        &[
            "COMMAND",
            "COMMAND DOCS",
            "COMMAND GETKEYS",
            "COMMAND GETKEYSANDFLAGS",
            "COMMAND INFO",
            "COMMAND LIST",
            "CONFIG GET",
            "WATCH",
        ],
    ),
    (Service::Guarded, &["RESTORE"]),
    (Service::Reworded, &["COPY", "PUBSUB CHANNELS", "PUBSUB NUMSUB", "PUBSUB SHARDCHANNELS"]),
];

impl CommandSpec {
    /// Whether a tenant finds it on the server: it is served, or one of its subcommands is.
    pub fn is_served(&self) -> bool {
        let index = self.derived.index;
        // Subcommands follow their container.
        let subcommands = TABLE.iter().skip(usize::from(index) + 1);
        self.service().is_served()
            || subcommands
                .take_while(|row| row.derived.container == index)
                .any(|row| row.service().is_served())
    }
}

const fn forwarded(row: &CommandSpec) -> Service {
    match (row.group, row.connection) {
        (Group::Scripting, _) if !matches!(row.verdict, Verdict::Pass) => {
            Service::NotYet(Lacks::ScriptConfinement)
        }
        // Suggestion dictionaries are ordinary keys; everything else of the module goes through an index.
        (Group::ModuleSearch, _)
            if !starts_with(row.name, "FT.SUG") && !matches!(row.verdict, Verdict::Pass) =>
        {
            Service::NotYet(Lacks::SearchNames)
        }
        (_, Connection::FieldSets) => Service::NotYet(Lacks::FieldSets),
        _ => Service::Forward,
    }
}

const fn lacks(row: &CommandSpec) -> Lacks {
    if matches!(row.group, Group::Scripting) {
        Lacks::ScriptConfinement
    } else if matches!(row.group, Group::ModuleSearch) {
        Lacks::SearchNames
    } else if starts_with(row.name, "HIMPORT ") {
        Lacks::FieldSets
    } else {
        Lacks::ScopedView
    }
}

pub(super) const fn contains(names: &[&str], name: &str) -> bool {
    let mut i = 0;
    while i < names.len() {
        if names[i].len() == name.len() && starts_with(name, names[i]) {
            return true;
        }
        i += 1;
    }
    false
}

/// `str::starts_with`, callable by the compiler.
const fn starts_with(text: &str, start: &str) -> bool {
    let (text, start) = (text.as_bytes(), start.as_bytes());
    if text.len() < start.len() {
        return false;
    }
    let mut i = 0;
    while i < start.len() {
        if text[i] != start[i] {
            return false;
        }
        i += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::find;

    fn service(words: &str) -> Service {
        find(words).unwrap_or_else(|| panic!("{words} is in the table")).service()
    }

    #[test]
    fn keyed_commands_are_forwarded() {
        for words in [
            "GET",
            "MSET",
            "SORT",
            "XREAD",
            "BLPOP",
            "PUBLISH",
            "FT.SUGADD",
            "TIME",
            "CONFIG HELP",
            "CONFIG GET",
        ] {
            assert_eq!(service(words), Service::Forward, "{words}");
        }
    }

    #[test]
    fn help_of_the_server_is_for_everybody() {
        for row in TABLE.iter().filter(|row| row.name.ends_with(" HELP") && row.group != Group::ModuleSearch)
        {
            assert!(row.service().is_served(), "{}", row.name);
        }
    }

    #[test]
    fn a_command_with_subcommands_is_served_if_one_of_them_is() {
        for (words, expected) in [
            ("GET", true),
            ("CONFIG", true),
            ("CONFIG REWRITE", false),
            ("COMMAND", true),
            ("DEBUG", false),
            ("SHUTDOWN", false),
            ("JSON.DEBUG", true),
        ] {
            assert_eq!(expected, find(words).is_some_and(CommandSpec::is_served), "{words}");
        }
    }

    #[test]
    fn what_needs_more_than_this_version_has_is_refused_for_now() {
        let lacks = [
            ("HIMPORT SET", Lacks::FieldSets),
            ("HIMPORT PREPARE", Lacks::FieldSets),
            ("EVAL", Lacks::ScriptConfinement),
            ("FCALL_RO", Lacks::ScriptConfinement),
            ("FUNCTION LOAD", Lacks::ScriptConfinement),
            ("FT.SEARCH", Lacks::SearchNames),
            ("FT._LIST", Lacks::SearchNames),
            ("CLUSTERSCAN", Lacks::ScopedView),
        ];
        for (words, lack) in lacks {
            assert_eq!(service(words), Service::NotYet(lack), "{words}");
        }
    }

    #[test]
    fn administration_is_refused() {
        assert_eq!(service("DEBUG"), Service::Denied);
        assert_eq!(service("CLUSTER GETKEYSINSLOT"), Service::Denied);
        assert_eq!(service("CONFIG REWRITE"), Service::AdminOnly);
    }

    #[test]
    fn every_command_named_here_is_in_the_table() {
        for (expected, names) in BY_NAME {
            for name in *names {
                assert_eq!(service(name), *expected, "{name}");
            }
        }
    }
}
