//! Makes equal what differs because the connections of the two sides are different sockets: ids, and the lines
//! that describe connections. `exceptions.txt` says for which replies.

use super::exceptions::Likeness;
use crate::wire::Tree;

/// Fields of a client's line that are compared; the values of the others are those of other sockets.
const COMPARED: [&str; 11] =
    ["name", "flags", "db", "sub", "psub", "ssub", "multi", "cmd", "user", "redir", "resp"];

/// A reply with the connections of its session under their numbers; `ids` has the id of number 1 first.
pub(super) fn named(likeness: Likeness, frame: &[u8], ids: &[Vec<u8>]) -> Vec<u8> {
    let is_text = frame.starts_with(b"$") || frame.starts_with(b"=");
    if likeness == Likeness::Ids {
        written(&with_numbers(Tree::of(frame), ids))
    } else if likeness == Likeness::Clients && is_text {
        clients(frame, ids)
    } else if likeness == Likeness::Monitor {
        without_time_and_address(frame)
    } else {
        frame.to_vec()
    }
}

fn number_of(id: &[u8], ids: &[Vec<u8>]) -> Option<usize> {
    ids.iter().position(|known| known == id).map(|index| index + 1)
}

/// The whole reply, or what follows the word that announces an id.
fn with_numbers(tree: Tree, ids: &[Vec<u8>]) -> Tree {
    match tree {
        Tree::Leaf(_) => numbered(tree, ids),
        Tree::Node(kind, mut elements) => {
            for index in 1..elements.len() {
                let announces = [&b"id"[..], b"redirect", b"tracking-redir-broken"];
                let before = &elements[index - 1];
                if matches!(before, Tree::Leaf(_)) && announces.contains(&before.payload()) {
                    elements[index] = numbered(elements[index].clone(), ids);
                }
            }
            Tree::Node(kind, elements)
        }
    }
}

fn numbered(tree: Tree, ids: &[Vec<u8>]) -> Tree {
    let is_integer = matches!(&tree, Tree::Leaf(bytes) if bytes.starts_with(b":"));
    let number = if is_integer { number_of(tree.payload(), ids) } else { None };
    number.map_or(tree, |number| Tree::Leaf(format!(":@{number}\r\n").into_bytes()))
}

pub(super) fn written(tree: &Tree) -> Vec<u8> {
    match tree {
        Tree::Leaf(bytes) => bytes.clone(),
        Tree::Node(kind, elements) => {
            let count = if *kind == b'%' { elements.len() / 2 } else { elements.len() };
            let header = format!("{}{count}\r\n", char::from(*kind)).into_bytes();
            std::iter::once(header).chain(elements.iter().map(written)).collect::<Vec<_>>().concat()
        }
    }
}

/// The lines of this session's connections only: there are others, which serve the test.
fn clients(frame: &[u8], ids: &[Vec<u8>]) -> Vec<u8> {
    let tree = Tree::of(frame);
    let text = String::from_utf8_lossy(tree.payload()).into_owned();
    let lines = text.trim_start_matches("txt:").lines().filter_map(|line| client_line(line, ids));
    format!("{}{}", char::from(frame[0]), lines.collect::<Vec<_>>().join("\n")).into_bytes()
}

fn client_line(line: &str, ids: &[Vec<u8>]) -> Option<String> {
    let mut fields = line.split(' ').filter_map(|field| field.split_once('='));
    let (_, id) = fields.next().filter(|(name, _)| *name == "id")?;
    let number = number_of(id.as_bytes(), ids)?;
    let rest = fields.map(|(name, value)| match name {
        "flags" => format!("flags={}", compared_flags(value)),
        // Redis keeps no more of a transaction that is aborted already.
        "multi" if value != "-1" => "multi=open".to_owned(),
        "redir" => match number_of(value.as_bytes(), ids) {
            Some(number) => format!("redir=@{number}"),
            None => format!("redir={value}"),
        },
        name if COMPARED.contains(&name) => format!("{name}={value}"),
        name => format!("{name}=*"),
    });
    Some(std::iter::once(format!("id=@{number}")).chain(rest).collect::<Vec<_>>().join(" "))
}

/// Without U, which marks a Unix socket, and without d: that a watched key has changed is the server's to know,
/// until `EXEC`.
fn compared_flags(flags: &str) -> String {
    let rest: String = flags.chars().filter(|flag| !"UdN".contains(*flag)).collect();
    if rest.is_empty() { "N".into() } else { rest }
}

/// `+1700000000.123456 [0 127.0.0.1:1234] "GET" "k"`: the database and the command remain.
fn without_time_and_address(frame: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(frame);
    let parts = text.split_once(" [").and_then(|(_, rest)| rest.split_once(' ')?.1.split_once("] "));
    let database = text.split_once(" [").and_then(|(_, rest)| rest.split(' ').next());
    match (database, parts) {
        (Some(database), Some((_, command))) => format!("+[{database}] {command}").into_bytes(),
        _ => frame.to_vec(),
    }
}
