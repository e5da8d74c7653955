//! When two replies are the same. Byte for byte, except for the commands in `exceptions.txt`.

use std::collections::BTreeSet;

use super::exceptions::Likeness;
use crate::wire::Tree;

/// Whether two replies count as the same.
pub(super) fn are_alike(likeness: Likeness, left: &[u8], right: &[u8]) -> bool {
    if left == right || likeness.is_about_bytes() {
        return left == right;
    }
    let (left, right) = (Tree::of(left), Tree::of(right));
    match likeness {
        Likeness::Exact
        | Likeness::Ids
        | Likeness::Clients
        | Likeness::Monitor
        | Likeness::AnyOrderOfFrames
        | Likeness::KeysBeforeNull => false,
        Likeness::AnyOrder => in_order(left) == in_order(right),
        Likeness::AnyOrderOfPairs => in_order_of_pairs(&left) == in_order_of_pairs(&right),
        Likeness::Part => is_part(&right, &left),
        Likeness::Type => shape(&left).0 == shape(&right).0,
        Likeness::Fields => has_fields_of(&right, &left),
        Likeness::AnyOrderInPage => page_in_order(left) == page_in_order(right),
        Likeness::Shape => shape(&left) == shape(&right),
        Likeness::Near(distance) => integer(&left)
            .zip(integer(&right))
            .is_some_and(|(left, right)| left.abs_diff(right) <= distance.unsigned_abs()),
        Likeness::IdleTime => without_idle_times(left) == without_idle_times(right),
        Likeness::Clock => differ_by_clocks_only(&left, &right),
    }
}

fn in_order(tree: Tree) -> Tree {
    match tree {
        Tree::Node(kind, mut elements) => {
            elements.sort();
            Tree::Node(kind, elements)
        }
        leaf @ Tree::Leaf(_) => leaf,
    }
}

fn page_in_order(tree: Tree) -> Tree {
    match tree {
        Tree::Node(kind, elements) => Tree::Node(kind, elements.into_iter().map(in_order).collect()),
        leaf @ Tree::Leaf(_) => leaf,
    }
}

fn in_order_of_pairs(tree: &Tree) -> Option<Vec<[Tree; 2]>> {
    let mut pairs: Vec<[Tree; 2]> = match tree {
        Tree::Node(_, elements) => elements.as_chunks().0.to_vec(),
        Tree::Leaf(_) => return None,
    };
    pairs.sort();
    Some(pairs)
}

fn is_part(part: &Tree, whole: &Tree) -> bool {
    let whole: BTreeSet<&Tree> = whole.elements().iter().collect();
    matches!(part, Tree::Node(..)) && part.elements().iter().all(|element| whole.contains(element))
}

/// Whether every line of one answer of INFO has its field in the other, in the same order; what is told of
/// databases is compared as well.
fn has_fields_of(part: &Tree, whole: &Tree) -> bool {
    let (Tree::Leaf(_), Tree::Leaf(_)) = (part, whole) else { return false };
    let mut whole_lines = lines_of(whole);
    lines_of(part).all(|line| whole_lines.any(|other| field(&other) == field(&line)))
        && databases(part) == databases(whole)
}

/// Fields that are there once a command has run or failed, in the order of a hash table.
const PASSING: [&str; 3] = ["cmdstat_", "errorstat_", "latency_percentiles_usec_"];

fn lines_of(tree: &Tree) -> impl Iterator<Item = String> {
    let text = String::from_utf8_lossy(tree.payload()).into_owned();
    let is_lasting = |line: &&str| !PASSING.iter().any(|start| line.starts_with(start));
    text.split("\r\n").filter(is_lasting).map(str::to_owned).collect::<Vec<_>>().into_iter()
}

fn field(line: &str) -> &str {
    line.split_once(':').map_or(line, |(name, _)| name)
}

/// `db0:keys=3` of every database that has keys.
fn databases(tree: &Tree) -> Vec<String> {
    let is_database = |line: &String| line.starts_with("db") && line.contains(":keys=");
    let only_keys = |line: String| line.split(",expires").next().unwrap_or_default().to_owned();
    lines_of(tree).filter(is_database).map(only_keys).collect()
}

fn shape(tree: &Tree) -> (u8, usize) {
    match tree {
        Tree::Leaf(bytes) => (bytes[0], 0),
        Tree::Node(kind, elements) => (*kind, elements.len()),
    }
}

fn integer(tree: &Tree) -> Option<i64> {
    let Tree::Leaf(bytes) = tree else { return None };
    if bytes[0] != b':' {
        return None;
    }
    std::str::from_utf8(tree.payload()).ok()?.parse().ok()
}

/// Blanks `[id, consumer, IDLE, count]` of XPENDING and the value after `idle` of XINFO CONSUMERS.
fn without_idle_times(tree: Tree) -> Tree {
    let Tree::Node(kind, mut elements) = tree else { return tree };
    for element in &mut elements {
        let Tree::Node(_, fields) = element else { continue };
        let named =
            fields.iter().position(|field| matches!(field, Tree::Leaf(bytes) if bytes == b"$4\r\nidle\r\n"));
        let place = named.map_or(2, |name| name + 1);
        if let Some(field) = fields.get_mut(place)
            && integer(field).is_some()
        {
            *field = Tree::Leaf(b"(idle)".to_vec());
        }
    }
    Tree::Node(kind, elements)
}

/// Equal, but for integers that are points in time.
fn differ_by_clocks_only(left: &Tree, right: &Tree) -> bool {
    /// Later than any counter of these tests: September 2001 in milliseconds.
    const A_TIME: i64 = 1_000_000_000_000;
    match (left, right) {
        (Tree::Node(kind, left), Tree::Node(other_kind, right)) => {
            kind == other_kind
                && left.len() == right.len()
                && left.iter().zip(right).all(|(left, right)| differ_by_clocks_only(left, right))
        }
        (Tree::Leaf(_), Tree::Leaf(_)) if left == right => true,
        _ => integer(left)
            .zip(integer(right))
            .is_some_and(|(left, right)| left > A_TIME && right > A_TIME && left.abs_diff(right) < 60_000),
    }
}
