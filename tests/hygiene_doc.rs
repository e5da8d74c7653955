//! The table of `docs/hygiene.md` is what the code does about each command.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::{env, fs, path::Path};

use tenantry::command::TABLE;
use tenantry::tenant::lifetime::{self, Lifetime, Statement, Which};

const HEAD: &str = "| command | what is done |\n|---|---|\n";

fn told(lifetime: Lifetime) -> &'static str {
    match lifetime {
        Lifetime::Creates(Which::First) => "`PEXPIRE … NX` of the key that it writes",
        Lifetime::Creates(Which::Others) => {
            "`PEXPIRE … NX` of the key that it writes to, not of the one that it takes from"
        }
        Lifetime::Creates(Which::All) => "`PEXPIRE … NX` of each key",
        Lifetime::MayState(_) => "`PEXPIRE … NX` of each key; with `max_ttl` also `PEXPIRE … LT`",
        Lifetime::TakesAlong => "nothing: the key lives as long as the one that it is made from",
        Lifetime::Never => "nothing: it creates no key",
        Lifetime::Persists => "refused with `max_ttl`, forwarded without",
        Lifetime::States(Statement::Set) => {
            "`PX` is added if no option says how long; with `KEEPTTL`, `PEXPIRE … NX`. What `EX` and `PX` say is cut to \
             `max_ttl`; after `EXAT` and `PXAT`, `PEXPIRE … LT`"
        }
        Lifetime::States(Statement::GetEx) => {
            "what `EX` and `PX` say is cut to `max_ttl`; after `EXAT` and `PXAT`, `PEXPIRE … LT`; `PERSIST` is refused with \
             `max_ttl`"
        }
        Lifetime::States(Statement::Seconds(_) | Statement::Milliseconds) => {
            "what it says is cut to `max_ttl`"
        }
        Lifetime::States(Statement::Absolute) => "`PEXPIRE … LT` with `max_ttl`",
        Lifetime::States(Statement::Restore) => {
            "0 becomes `default_ttl`, what is more is cut to `max_ttl`; with `ABSTTL`, `PEXPIRE … NX` or `LT`"
        }
    }
}

/// A row for all commands about which the same is done, in the order of their first names.
fn table() -> String {
    let mut rows: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (row, lifetime) in TABLE.iter().filter_map(|row| Some((row, lifetime::of(row)?))) {
        rows.entry(told(lifetime)).or_default().push(row.name);
    }
    let mut rows: Vec<(Vec<&str>, &str)> = rows.into_iter().map(|(told, names)| (names, told)).collect();
    rows.sort();
    rows.iter().fold(HEAD.to_owned(), |mut page, (names, told)| {
        let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        writeln!(page, "| {} | {told} |", names.join(", ")).expect("a string takes any text");
        page
    })
}

#[test]
fn the_page_says_of_each_command_what_is_done() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/hygiene.md");
    let committed = fs::read_to_string(&path).unwrap_or_default();
    let (prose, _) = committed.split_once(HEAD).expect("the page has its table");
    let expected = format!("{prose}{}", table());
    if env::var_os("TENANTRY_BLESS").is_some() {
        fs::write(&path, &expected).expect("the page can be written");
        return;
    }
    assert!(
        committed == expected,
        "docs/hygiene.md differs from src/tenant/lifetime.rs; write it with\n  \
         TENANTRY_BLESS=1 cargo test --test hygiene_doc"
    );
}
