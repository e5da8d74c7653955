//! The documents say what the code does: errors, names of files and modules, attempts on another tenant,
//! links.

#![allow(clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use tenantry::command::{Lacks, Selection, Unidentified, Unlocatable, find};
use tenantry::policy::bucket::Pace;
use tenantry::resp::{OwnedRequest, ProtocolError};
use tenantry::session::{Persona, rescue};
use tenantry::tenant::lifetime::ForEver;
use tenantry::tenant::limits::{ClassRules, LimitRules, Limits, OnExceed, Owner, Rate, Rates, Scope};
use tenantry::tenant::prefix::TenantName;
use tenantry::tenant::scope::Unscopable;
use tenantry::tenant::sizes::TooLarge;
use tenantry::upstream::health::reason as reason_of_breaker;
use tenantry::upstream::{Failure, Fate, Greeting};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

// ---- docs/errors.md ----

/// One example of every error text that the code can originate.
fn originated() -> Vec<String> {
    let mut texts = constants("src/session/rescue.rs");
    texts.extend(constants("src/listener.rs"));
    texts.extend(constants("src/upstream/connection.rs"));
    texts.extend(of_rescue());
    texts.extend(of_identification());
    texts.extend(protocol_errors().iter().map(|error| text(&error.to_reply())));
    texts.push(Unscopable::NameTooLong { len: 2, limit: 1 }.to_string());
    texts.push(Unscopable::RequestTooLong { len: 2, limit: 1 }.to_string());
    texts.push(Unscopable::ValueTooLong { len: 2, limit: 1 }.to_string());
    texts.extend(constants("src/tenant/compression/shown.rs"));
    texts.push(Unscopable::Unsupported { what: "another database" }.to_string());
    texts.extend(of_rules());
    texts.extend(literals("src/session/local.rs"));
    texts.extend(literals("src/session/greeting.rs"));
    texts.extend(constants("src/session/cluster.rs"));
    texts.extend(literals("src/session/cluster.rs"));
    for file in
        ["configure", "keyspace", "subscriptions", "tied", "tracking", "transaction", "reworded", "compose"]
    {
        texts.extend(literals(&format!("src/session/{file}.rs")));
    }
    for file in ["answer", "kill", "latency", "listing", "slow_log"] {
        texts.extend(literals(&format!("src/clients/{file}.rs")));
    }
    texts.extend(literals("src/tenant/keyspace.rs"));
    texts.push(Unlocatable::NoCommand.message().to_owned());
    texts
}

fn text(bytes: &[u8]) -> String {
    let text = String::from_utf8(bytes.to_vec()).expect("ASCII");
    text.trim_start_matches('-').trim_end_matches("\r\n").to_owned()
}

/// The values of a file's constants of type `&[u8]` that are error texts.
fn constants(path: &str) -> Vec<String> {
    let source = read(path);
    let declarations = source.split("const ").skip(1).filter_map(|rest| rest.split_once("\";"));
    let values = declarations.filter(|(declaration, _)| declaration.contains(": &[u8] ="));
    values.filter_map(|(declaration, _)| first_literal(declaration)).collect()
}

fn first_literal(code: &str) -> Option<String> {
    let (_, rest) = code.split_once("b\"")?;
    Some(text(rest.replace("\\r\\n", "\r\n").as_bytes()))
}

/// Stands where a literal ends and an argument goes on.
const CUT: &str = "x'";

/// Error texts that a file builds on the spot, with something in place of what it inserts.
fn literals(path: &str) -> Vec<String> {
    let source = read(path);
    let strings = source
        .split('"')
        .skip(1)
        .step_by(2)
        .filter(|literal| literal.len() > 4 && literal.starts_with("ERR "));
    // A quotation that another literal closes.
    let is_cut = |literal: &str| literal.ends_with('\'') && literal.matches('\'').count() % 2 == 1;
    strings
        .map(|literal| if is_cut(literal) { format!("{literal}{CUT}") } else { literal.to_owned() })
        .map(|literal| literal.replace("{attribute_name}", "lib-name"))
        .collect()
}

fn of_rescue() -> Vec<String> {
    let denied = find("CONFIG SET").expect("in the table");
    let newer = Persona::from_greeting(&Greeting { version: "7.2.0".into(), ..Greeting::default() });
    let failure = |fate, retry_in| Failure { fate, reason: Rc::from("connection refused"), retry_in };
    let wait = Some(Duration::from_millis(1));
    let owner = Owner { tenant: TenantName::parse("acme").expect("a name"), user: Some("bob".to_owned()) };
    let rate = Rate { written: "10".to_owned(), pace: Pace::per_second(10, 10) };
    let class = ClassRules {
        name: "keys".to_owned(),
        commands: Selection::of_class("keys").expect("a command"),
        rates: Rates { requests: Some(rate), ..Rates::default() },
    };
    let rules = LimitRules {
        rates: Rates::default(),
        classes: vec![class],
        connections: None,
        in_flight: None,
        on_exceed: OnExceed::Reject,
        is_dry_run: false,
        scope: Scope::Process,
    };
    let limits = Limits::new(0, owner.clone(), &rules);
    let limit = limits.rates.first().expect("the class has one");
    let reason = Rc::from(reason_of_breaker("no reply within 200 ms"));
    let breaker = Failure { reason, ..failure(Fate::NotSent, wait) };
    [
        rescue::no_permission(denied, "default", &Persona::default()),
        rescue::no_permission(denied, "default", &newer),
        rescue::not_yet(denied, Lacks::ScriptConfinement),
        rescue::only_subscriptions(denied),
        rescue::sees_stored(denied, &TenantName::parse("acme").expect("a name")),
        rescue::no_lease("main", Duration::from_secs(2)),
        rescue::rate_limited(&owner, limit, 1),
        rescue::too_many_in_flight(&owner, 1),
        rescue::too_many_connections(&owner, 1),
        rescue::unavailable("main", &failure(Fate::NotSent, wait)),
        rescue::unavailable("main", &breaker),
        rescue::unavailable("main", &failure(Fate::NotSent, None)),
        rescue::unavailable("main", &failure(Fate::MayHaveRun, None)),
    ]
    .iter()
    .map(|bytes| text(bytes))
    .collect()
}

fn of_rules() -> Vec<String> {
    let row = find("SADD").expect("in the table");
    vec![
        text(&rescue::read_only(row)),
        text(&rescue::needs_expire_options(row)),
        TooLarge::Arguments { count: 2, limit: 1 }.to_string(),
        TooLarge::Key { len: 2, limit: 1 }.to_string(),
        TooLarge::Value { len: 2, limit: 1 }.to_string(),
        ForEver { max: 1 }.to_string(),
    ]
}

fn of_identification() -> Vec<String> {
    let request = OwnedRequest::from_args(&["nosuch", "a"]).expect("a request has words");
    let row = find("CONFIG").expect("in the table");
    let refusals = [
        Unidentified::UnknownCommand,
        Unidentified::UnknownSubcommand { container: row },
        Unidentified::WrongArity { spec: row },
    ];
    refusals.iter().map(|refusal| text(&refusal.refusal(&request.as_request()))).collect()
}

fn protocol_errors() -> [ProtocolError; 10] {
    [
        ProtocolError::InvalidMultibulkLength,
        ProtocolError::UnauthenticatedMultibulkLength,
        ProtocolError::InvalidBulkLength,
        ProtocolError::UnauthenticatedBulkLength,
        ProtocolError::ExpectedBulk(b'x'),
        ProtocolError::TooBigMultibulkCount,
        ProtocolError::TooBigBulkCount,
        ProtocolError::TooBigInline,
        ProtocolError::UnbalancedQuotes,
        ProtocolError::RequestTooLong(1),
    ]
}

/// The texts of the page: the first cell of each row.
fn documented() -> Vec<String> {
    let page = read("docs/errors.md");
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| row.split('`').nth(1).unwrap_or_default().replace("\\|", "|")).collect()
}

/// Whether `text` is `pattern` with something in place of each `{…}`, or the beginning of such a text up to an
/// argument.
fn is_an_instance(text: &str, pattern: &str) -> bool {
    let beginning = text.strip_suffix(CUT).zip(pattern.split_once('{'));
    beginning.is_some_and(|(text, (before, _))| text == before) || is_instance_of(text, pattern)
}

fn is_instance_of(text: &str, pattern: &str) -> bool {
    let Some((before, rest)) = pattern.split_once('{') else { return text == pattern };
    let Some(mut text) = text.strip_prefix(before) else { return false };
    let rest = rest.split_once('}').map_or("", |(_, rest)| rest);
    loop {
        if is_instance_of(text, rest) {
            return true;
        }
        let Some(next) = text.chars().next() else { return false };
        text = &text[next.len_utf8()..];
    }
}

#[test]
fn every_error_has_a_row_and_every_row_an_error() {
    let (texts, patterns) = (originated(), documented());
    let mut wrong = Vec::new();
    for text in &texts {
        if !patterns.iter().any(|pattern| is_an_instance(text, pattern)) {
            wrong.push(format!("no row for: {text}"));
        }
    }
    for pattern in &patterns {
        if !texts.iter().any(|text| is_an_instance(text, pattern)) {
            wrong.push(format!("nothing says: {pattern}"));
        }
    }
    assert!(wrong.is_empty(), "docs/errors.md is out of step:\n  {}", wrong.join("\n  "));
}

// ---- ARCHITECTURE.md ----

#[test]
fn every_file_and_module_of_the_architecture_exists() {
    let page = read("ARCHITECTURE.md");
    let mut missing = Vec::new();
    let prose = page.split("```").step_by(2).collect::<String>();
    for name in prose.split('`').skip(1).step_by(2) {
        let is_path = name.contains('/') || [".rs", ".md", ".toml"].iter().any(|end| name.ends_with(end));
        let is_name = name.contains("::") && name.chars().all(|c| c.is_alphanumeric() || "_:".contains(c));
        if is_path && !is_there(name) || is_name && !is_an_item(name) {
            missing.push(name);
        }
    }
    assert!(missing.is_empty(), "ARCHITECTURE.md names what is not there: {missing:?}");
}

/// A path of the repository, or of `src/`.
fn is_there(path: &str) -> bool {
    // An address of the admin port is not a file.
    let is_address = path.starts_with('/');
    is_address || root().join(path).exists() || root().join("src").join(path).exists()
}

/// Whether `a::b::Item` is a module of ours that mentions the item, or a module itself.
fn is_an_item(name: &str) -> bool {
    let mut file = root().join("src");
    let mut parts = name.split("::").peekable();
    while let Some(part) = parts.peek() {
        let (directory, leaf) = (file.join(part), file.join(part).with_extension("rs"));
        if directory.is_dir() {
            file = directory;
        } else if leaf.is_file() {
            file = leaf;
        } else {
            break;
        }
        parts.next();
    }
    let file = if file.is_dir() { file.join("mod.rs") } else { file };
    let code = fs::read_to_string(file).unwrap_or_default();
    parts.all(|item| code.contains(item))
}

// ---- docs/threat-model.md ----

/// The titles of the attempts, under those of their chapters.
fn attempts() -> String {
    let table = read("tests/it/isolation.txt");
    let lines = table.lines().filter_map(|line| match line.strip_prefix("## ") {
        Some(chapter) => Some(format!("\n### {chapter}\n\n")),
        None => line.strip_prefix("= ").map(|title| format!("- {}\n", title.replace('*', "\\*"))),
    });
    lines.chain(["\n".to_owned()]).collect()
}

#[test]
fn the_threat_model_lists_the_attempts() {
    let page = read("docs/threat-model.md");
    let (before, rest) = page.split_once("<!-- attempts -->\n").expect("the list begins");
    let (listed, after) = rest.split_once("<!-- end of attempts -->").expect("the list ends");
    let attempts = attempts();
    if std::env::var_os("TENANTRY_BLESS").is_some() {
        let page = format!("{before}<!-- attempts -->\n{attempts}<!-- end of attempts -->{after}");
        fs::write(root().join("docs/threat-model.md"), page).expect("the page is written");
        return;
    }
    let is_in_step = listed == attempts;
    assert!(
        is_in_step,
        "docs/threat-model.md: write it with TENANTRY_BLESS=1 cargo test --test docs_in_step"
    );
}

// ---- Links ----

#[test]
fn links_between_documents_lead_somewhere() {
    let mut broken = Vec::new();
    for page in pages() {
        let text = fs::read_to_string(&page).expect("a page is text");
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.contains("://") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let file = if file.is_empty() { page.clone() } else { page.with_file_name("").join(file) };
            let is_found =
                fs::read_to_string(&file).is_ok_and(|text| has_heading(&text, anchor)) || file.is_dir();
            if !is_found {
                broken.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "links that lead nowhere:\n  {}", broken.join("\n  "));
}

/// The Markdown files of the root and of `docs/`.
fn pages() -> Vec<PathBuf> {
    let mut pages = Vec::new();
    for directory in ["", "docs", "docs/decisions"] {
        let entries = fs::read_dir(root().join(directory)).expect("a directory of documents");
        let paths = entries.map(|entry| entry.expect("a directory entry").path());
        pages.extend(paths.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    }
    pages
}

/// Whether a page has the heading that `anchor` names; every page has the empty one.
fn has_heading(text: &str, anchor: &str) -> bool {
    let slug = |heading: &str| -> String {
        let kept = heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        kept.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect()
    };
    anchor.is_empty() || text.lines().filter(|line| line.starts_with('#')).any(|line| slug(line) == anchor)
}
