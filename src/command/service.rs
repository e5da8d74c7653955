//! What this version of Tenantry does with a command: the single source for the session and for
//! `docs/commands.md`.

use super::spec::{CommandSpec, Connection, Group, Verdict};

/// What happens to a request for a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Service {
    /// It is forwarded, with its names rewritten if it has any.
    Forward,
    /// The proxy answers it.
    Local,
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
    /// An upstream connection that may wait.
    BlockingConnection,
    /// An upstream connection that stays with the client for a transaction.
    Transactions,
    /// Subscriptions.
    Subscriptions,
    /// Invalidation of client-side caches.
    Tracking,
    /// Knowing which connection carried the client's last write.
    WriteOrder,
    /// Field sets prepared on an upstream connection.
    FieldSets,
    /// An answer about the tenant's part of the server only.
    ScopedView,
    /// An answer composed from what the proxy allows.
    Introspection,
    /// Moving keys between a tenant's virtual databases.
    DatabaseMoves,
    /// Keeping scripts and functions inside the tenant.
    ScriptConfinement,
    /// Names of search indexes, which the whole server shares.
    SearchNames,
}

impl Lacks {
    /// The reason in a few words, for an error reply and for the documentation.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::BlockingConnection => "needs a connection of its own while it blocks",
            Self::Transactions => "needs a connection of its own for the transaction",
            Self::Subscriptions => "needs a connection of its own for subscriptions",
            Self::Tracking => "needs a connection of its own for invalidations",
            Self::WriteOrder => "needs the connection that carried the last write",
            Self::FieldSets => "needs a connection of its own for field sets",
            Self::ScopedView => "needs an answer scoped to the tenant",
            Self::Introspection => "needs an answer composed from what the proxy allows",
            Self::DatabaseMoves => "needs moves between virtual databases",
            Self::ScriptConfinement => "needs scripts confined to the tenant",
            Self::SearchNames => "search index names are shared by the whole server",
        }
    }
}

impl Service {
    /// The service of a request that needs `connection`, given the service of its command: `XREAD` is
    /// forwarded, but not with `BLOCK`.
    #[must_use]
    pub const fn over(self, connection: Connection) -> Service {
        if matches!((self, connection), (Self::Forward, Connection::Blocking)) {
            Self::NotYet(Lacks::BlockingConnection)
        } else {
            self
        }
    }

    /// The service of a row; evaluated by the compiler for each of them.
    pub(super) const fn of(row: &CommandSpec) -> Service {
        match row.verdict {
            Verdict::Pass => Self::Forward,
            Verdict::Rewrite => rewritten(row),
            Verdict::Emulate => emulated(row),
            Verdict::Scoped => Self::NotYet(scoped_lacks(row)),
            Verdict::AdminOnly => Self::AdminOnly,
            // A container's own row is only ever an arity error.
            Verdict::Deny | Verdict::Container => Self::Denied,
        }
    }
}

const fn rewritten(row: &CommandSpec) -> Service {
    match (row.group, row.connection) {
        (Group::Scripting, _) => Service::NotYet(Lacks::ScriptConfinement),
        // Suggestion dictionaries are ordinary keys; everything else of the module goes through an index.
        (Group::ModuleSearch, _) if !starts_with(row.name, "FT.SUG") => Service::NotYet(Lacks::SearchNames),
        (_, connection) => match lack_of(connection) {
            Some(lack) => Service::NotYet(lack),
            None => Service::Forward,
        },
    }
}

/// What a connection class needs beyond the shared connections.
const fn lack_of(connection: Connection) -> Option<Lacks> {
    match connection {
        Connection::Shared | Connection::BlockingIfBlock | Connection::Local | Connection::None => None,
        Connection::Blocking => Some(Lacks::BlockingConnection),
        Connection::Transaction => Some(Lacks::Transactions),
        Connection::PubSub => Some(Lacks::Subscriptions),
        Connection::Tracking => Some(Lacks::Tracking),
        Connection::Wait => Some(Lacks::WriteOrder),
        Connection::FieldSets => Some(Lacks::FieldSets),
    }
}

/// Emulated commands that the proxy answers already; of the `CLUSTER` subcommands, all that are emulated.
const ANSWERED: &[&str] = &[
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
];

const fn emulated(row: &CommandSpec) -> Service {
    if starts_with(row.name, "CLUSTER ") {
        return Service::Local;
    }
    let mut i = 0;
    while i < ANSWERED.len() {
        if ANSWERED[i].len() == row.name.len() && starts_with(row.name, ANSWERED[i]) {
            return Service::Local;
        }
        i += 1;
    }
    Service::NotYet(emulation_lacks(row))
}

const fn emulation_lacks(row: &CommandSpec) -> Lacks {
    if let Some(lack) = lack_of(row.connection) {
        return lack;
    }
    if starts_with(row.name, "CLIENT ") {
        Lacks::Tracking
    } else if starts_with(row.name, "HIMPORT ") {
        Lacks::FieldSets
    } else if starts_with(row.name, "MOVE") {
        Lacks::DatabaseMoves
    } else {
        Lacks::Introspection
    }
}

const fn scoped_lacks(row: &CommandSpec) -> Lacks {
    if matches!(row.group, Group::Scripting) {
        Lacks::ScriptConfinement
    } else if matches!(row.group, Group::ModuleSearch) {
        Lacks::SearchNames
    } else {
        Lacks::ScopedView
    }
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
        for words in
            ["GET", "MSET", "SORT", "XREAD", "PUBLISH", "PUBSUB NUMSUB", "FT.SUGADD", "TIME", "CONFIG HELP"]
        {
            assert_eq!(service(words), Service::Forward, "{words}");
        }
    }

    #[test]
    fn what_needs_more_than_a_shared_connection_is_refused_for_now() {
        let lacks = [
            ("BLPOP", Lacks::BlockingConnection),
            ("MULTI", Lacks::Transactions),
            ("WATCH", Lacks::Transactions),
            ("SUBSCRIBE", Lacks::Subscriptions),
            ("CLIENT TRACKING", Lacks::Tracking),
            ("CLIENT CACHING", Lacks::Tracking),
            ("WAIT", Lacks::WriteOrder),
            ("HIMPORT SET", Lacks::FieldSets),
            ("HIMPORT PREPARE", Lacks::FieldSets),
            ("KEYS", Lacks::ScopedView),
            ("INFO", Lacks::ScopedView),
            ("COMMAND", Lacks::Introspection),
            ("CONFIG GET", Lacks::Introspection),
            ("MOVE", Lacks::DatabaseMoves),
            ("EVAL", Lacks::ScriptConfinement),
            ("FCALL_RO", Lacks::ScriptConfinement),
            ("FUNCTION LOAD", Lacks::ScriptConfinement),
            ("FT.SEARCH", Lacks::SearchNames),
            ("FT._LIST", Lacks::SearchNames),
        ];
        for (words, lack) in lacks {
            assert_eq!(service(words), Service::NotYet(lack), "{words}");
        }
    }

    #[test]
    fn the_state_of_a_client_is_kept_by_the_proxy() {
        for words in
            ["HELLO", "AUTH", "CLIENT ID", "CLIENT MAINT_NOTIFICATIONS", "SELECT", "CLUSTER SLOTS", "ROLE"]
        {
            assert_eq!(service(words), Service::Local, "{words}");
        }
    }

    #[test]
    fn administration_is_refused() {
        assert_eq!(service("DEBUG"), Service::Denied);
        assert_eq!(service("CLUSTER GETKEYSINSLOT"), Service::Denied);
        assert_eq!(service("CONFIG SET"), Service::AdminOnly);
    }

    #[test]
    fn a_request_that_blocks_is_not_forwarded() {
        let refused = Service::NotYet(Lacks::BlockingConnection);
        assert_eq!(service("XREAD").over(Connection::Blocking), refused);
        assert_eq!(service("XREAD").over(Connection::Shared), Service::Forward);
        assert_eq!(service("DEBUG").over(Connection::Blocking), Service::Denied);
    }

    #[test]
    fn every_command_answered_by_name_is_in_the_table() {
        for name in ANSWERED {
            assert_eq!(service(name), Service::Local, "{name}");
        }
    }
}
