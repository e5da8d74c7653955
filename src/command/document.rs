//! `docs/commands.md`, written from the table.

use std::fmt::Write as _;

use super::service::Service;
use super::spec::{CommandSpec, Connection, Group, Release, Verdict};
use super::table::TABLE;

const INTRODUCTION: &str = "\
# Commands

Every command and subcommand that Tenantry knows, and what this version does with it. A command that is
not listed is answered as Redis answers an unknown command. The page is written from the table in
`src/command/table.rs` (`TENANTRY_BLESS=1 cargo test document` writes it again), which a test compares
with a running server.

- **forwarded, names rewritten**: sent to the server with the tenant's prefix on every key, channel and
  pattern; the prefix is taken off the reply.
- **forwarded unchanged**: sent as it is; it has no names.
- **answered by the proxy**: the server never sees it.
- **refused: NOPERM**: no tenant may use it; the error is that of a user without the permission.
- **refused for now**: an error says what this version lacks. A later version will serve it.

Whatever a request looks like, each of its arguments that the server would take for a name is rewritten:
every repetition of an option, and keys that the server's own `COMMAND GETKEYS` overlooks. The texts of
errors, including those for malformed requests, are the server's.
";

/// The document.
pub fn commands_markdown() -> String {
    let mut page = INTRODUCTION.to_owned();
    for (group, title) in CHAPTERS {
        push(
            &mut page,
            format_args!("\n## {title}\n\n| Command | Since | What happens | Remarks |\n|---|---|---|---|\n"),
        );
        let rows = TABLE.iter().filter(|row| row.group == *group && row.verdict != Verdict::Container);
        for row in rows {
            let (since, service) = (since(row), service(row));
            push(
                &mut page,
                format_args!("| `{}` | {since} | {service} | {} |\n", row.name, escaped(row.note)),
            );
        }
    }
    page
}

/// All groups, in the order of the document.
const CHAPTERS: &[(Group, &str)] = &[
    (Group::Generic, "Keys"),
    (Group::String, "Strings"),
    (Group::Bitmap, "Bitmaps"),
    (Group::Hash, "Hashes"),
    (Group::List, "Lists"),
    (Group::Set, "Sets"),
    (Group::SortedSet, "Sorted sets"),
    (Group::Geo, "Geospatial indexes"),
    (Group::HyperLogLog, "HyperLogLog"),
    (Group::Stream, "Streams"),
    (Group::Array, "Arrays"),
    (Group::VectorSet, "Vector sets"),
    (Group::PubSub, "Publish and subscribe"),
    (Group::Transactions, "Transactions"),
    (Group::Scripting, "Scripts and functions"),
    (Group::Connection, "Connection"),
    (Group::Server, "Server"),
    (Group::Cluster, "Cluster"),
    (Group::ModuleJson, "Module: JSON"),
    (Group::ModuleBloom, "Module: Bloom, Cuckoo, Count-Min, Top-K, T-Digest"),
    (Group::ModuleTimeSeries, "Module: time series"),
    (Group::ModuleSearch, "Module: search"),
];

/// Appends to a string, which cannot fail.
fn push(page: &mut String, text: std::fmt::Arguments<'_>) {
    page.write_fmt(text).expect("a string takes any text");
}

fn service(row: &CommandSpec) -> String {
    match row.service() {
        Service::Forward if row.connection == Connection::BlockingIfBlock => {
            "forwarded, names rewritten; with `BLOCK` refused for now: ".to_owned()
                + super::Lacks::BlockingConnection.reason()
        }
        Service::Forward if row.names.is_empty() => "forwarded unchanged".to_owned(),
        Service::Forward => "forwarded, names rewritten".to_owned(),
        Service::Local => "answered by the proxy".to_owned(),
        Service::Denied | Service::AdminOnly => "refused: NOPERM".to_owned(),
        Service::NotYet(lack) => format!("refused for now: {}", lack.reason()),
    }
}

fn since(row: &CommandSpec) -> String {
    if let (Release::In(redis), true) = (row.since.redis, row.since.redis == row.since.valkey) {
        return redis.to_owned();
    }
    let named = |server: &str, release: Release| match release {
        Release::Absent => None,
        Release::In(release) => Some(format!("{server} {release}")),
        Release::Undated => Some(server.to_owned()),
        Release::Module => Some(format!("{server} module")),
    };
    let servers = [named("Redis", row.since.redis), named("Valkey", row.since.valkey)];
    servers.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// Text as a cell of a table.
fn escaped(note: &str) -> String {
    note.replace('|', "\\|").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_document_is_that_of_the_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/commands.md");
        let page = commands_markdown();
        if std::env::var_os("TENANTRY_BLESS").is_some() {
            std::fs::write(path, &page).expect("docs/commands.md is written");
        }
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            committed == page,
            "docs/commands.md is not that of the table: run TENANTRY_BLESS=1 cargo test document"
        );
    }

    #[test]
    fn every_command_has_a_line() {
        let page = commands_markdown();
        for row in TABLE.iter().filter(|row| row.verdict != Verdict::Container) {
            assert_eq!(page.matches(&format!("| `{}` |", row.name)).count(), 1, "{}", row.name);
        }
    }
}
