//! Who may import whom: the module table of `ARCHITECTURE.md`, executed.
//!
//! Reads every `crate::` path in `src/` (and `super::` paths between the two halves of `session`) and fails
//! on an edge that the table does not have, on a permission that nobody uses, and on a file that belongs to
//! no row. A row that is marked pure must not touch sockets, clocks, files, the environment or randomness.

#![allow(clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What a pure module must not mention.
const IMPURE: &[&str] = &[
    "tokio::",
    "socket2::",
    "std::fs",
    "std::env",
    "std::thread",
    "std::net::Tcp",
    "std::os::unix::net",
    "Instant",
    "SystemTime",
    "fastrand::",
];

/// One row of the table.
struct Row {
    /// The modules it speaks for, `resp` or `session::machine`.
    modules: Vec<String>,
    /// What they may import: modules, or single items of one.
    imports: Vec<String>,
    is_pure: bool,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The rows between the table's head and the next blank line.
fn rows() -> Vec<Row> {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md is there");
    let lines = text.lines().skip_while(|line| !line.starts_with("| module |"));
    let rows: Vec<Row> = lines.skip(2).take_while(|line| line.starts_with('|')).map(row).collect();
    assert!(rows.len() > 10, "ARCHITECTURE.md has no table that begins with '| module |'");
    rows
}

fn row(line: &str) -> Row {
    let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
    let [modules, _, imports, pure] = cells[..] else { panic!("a row has four cells: {line}") };
    assert!(["yes", "no"].contains(&pure), "the last cell is yes or no: {line}");
    Row { modules: quoted(modules), imports: quoted(imports), is_pure: pure == "yes" }
}

/// What stands between backquotes.
fn quoted(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// A source file and the path of its module.
struct Source {
    module: String,
    text: String,
}

fn sources() -> Vec<Source> {
    let mut files = Vec::new();
    collect(&root().join("src"), &mut files);
    let relative = |file: &Path| file.strip_prefix(root().join("src")).expect("in src").to_path_buf();
    let module = |file: &Path| {
        let parts = relative(file).with_extension("");
        let parts: Vec<&str> = parts.iter().map(|part| part.to_str().expect("UTF-8")).collect();
        parts.join("::").trim_end_matches("::mod").to_owned()
    };
    let read = |file: PathBuf| Source {
        module: module(&file),
        text: fs::read_to_string(&file).expect("a source file is text"),
    };
    files.into_iter().map(read).filter(|source| !["lib", "main"].contains(&source.module.as_str())).collect()
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a source directory") {
        let path = entry.expect("a directory entry").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Lines of code: no comments.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim_start).filter(|line| !line.starts_with("//"))
}

/// The paths that `source` mentions, from the crate's root.
fn mentioned(source: &Source) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    for line in code(&source.text) {
        for (at, _) in line.match_indices("crate::") {
            paths.extend(expanded(&line[at + "crate::".len()..], line));
        }
        // `super::` from a file of `session` reaches its siblings, and so perhaps the other half.
        if let ("session", Some(_)) = (head(&source.module), source.module.split("::").nth(1)) {
            let siblings =
                line.match_indices("super::").map(|(at, _)| path_at(&line[at + "super::".len()..]));
            // Anything else is an item of the file, named from its tests.
            let is_file = |name: &str| root().join("src/session").join(name).with_extension("rs").exists();
            let siblings = siblings.filter(|sibling| is_file(head(sibling)));
            paths.extend(siblings.map(|sibling| format!("session::{sibling}")));
        }
    }
    paths
}

/// `a::b::{C, D}` as the paths it stands for.
fn expanded(text: &str, line: &str) -> Vec<String> {
    let path = path_at(text);
    let Some(group) = text[path.len()..].strip_prefix('{') else { return vec![path] };
    assert!(!path.is_empty(), "one `use` for each module, please: {line}");
    let group = group.split('}').next().unwrap_or_default();
    group.split(',').map(|item| format!("{path}{}", path_at(item.trim()))).collect()
}

fn path_at(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_' || *c == ':').collect()
}

fn head(path: &str) -> &str {
    path.split("::").next().unwrap_or_default()
}

/// Whether `path` is `module` or lies in it.
fn lies_in(path: &str, module: &str) -> bool {
    path.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// The row that speaks for `path`: the one with the longest module of which it is a part.
fn row_of<'r>(rows: &'r [Row], path: &str) -> Option<&'r Row> {
    let of =
        |row: &'r Row| row.modules.iter().filter(|module| lies_in(path, module)).map(move |m| (m.len(), row));
    rows.iter().flat_map(of).max_by_key(|(len, _)| *len).map(|(_, row)| row)
}

#[test]
fn every_import_is_in_the_table_and_every_permission_is_used() {
    let rows = rows();
    let mut used = BTreeSet::new();
    let mut wrong = Vec::new();
    for source in sources() {
        let Some(own) = row_of(&rows, &source.module) else {
            wrong.push(format!("{} belongs to no row", source.module));
            continue;
        };
        for path in mentioned(&source) {
            // What no row speaks for is an item of the file itself, or not ours.
            let Some(other) = row_of(&rows, &path) else { continue };
            if std::ptr::eq(own, other) {
                continue;
            }
            match own.imports.iter().find(|allowed| lies_in(&path, allowed)) {
                Some(allowed) => drop(used.insert(format!("{} of {}", allowed, own.modules.join(", ")))),
                None => wrong.push(format!("{} must not import {path}", source.module)),
            }
        }
    }
    for row in &rows {
        let unused =
            |allowed: &&String| !used.contains(&format!("{} of {}", allowed, row.modules.join(", ")));
        let unused = row.imports.iter().filter(unused);
        wrong.extend(unused.map(|allowed| format!("{:?} may import {allowed} but does not", row.modules)));
    }
    assert!(wrong.is_empty(), "change the code, or the table in ARCHITECTURE.md:\n  {}", wrong.join("\n  "));
}

#[test]
fn imports_go_one_way() {
    let rows = rows();
    let position =
        |path: &str| rows.iter().position(|row| row_of(&rows, path).is_some_and(|of| std::ptr::eq(of, row)));
    for (at, row) in rows.iter().enumerate() {
        for import in &row.imports {
            let of_import = position(import).unwrap_or_else(|| panic!("no row speaks for {import}"));
            assert!(of_import < at, "{:?} imports {import}, which stands below it in the table", row.modules);
        }
    }
}

#[test]
fn pure_modules_touch_nothing_outside() {
    let rows = rows();
    let mut wrong = Vec::new();
    for source in sources() {
        if !row_of(&rows, &source.module).is_some_and(|row| row.is_pure) {
            continue;
        }
        // Tests may read files and run what waits.
        if source.module.ends_with("::tests") {
            continue;
        }
        let shipped = source.text.split("#[cfg(test)]").next().unwrap_or_default();
        for line in code(shipped) {
            let found = IMPURE.iter().filter(|word| line.contains(*word));
            wrong.extend(found.map(|word| format!("{} mentions {word}: {line}", source.module)));
        }
    }
    assert!(wrong.is_empty(), "a row marked pure does not:\n  {}", wrong.join("\n  "));
}
