//! When two replies are the same. Byte for byte, except for the commands in [`MASKS`].

use crate::wire::Tree;

/// What a comparison may overlook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Likeness {
    /// Nothing.
    Exact,
    /// The order of the elements.
    AnyOrder,
    /// The order of the elements inside the second element.
    AnyOrderInPage,
    /// Everything but the type and the number of elements.
    Shape,
    /// A difference of two integers up to this.
    Near(i64),
    /// How long an entry or a consumer has been idle, in milliseconds.
    IdleTime,
    /// Points in time in milliseconds that lie less than a minute apart.
    Clock,
}

/// Every command that is not compared byte for byte, and why.
pub(super) const MASKS: &[(&str, Likeness, &str)] = &[
    ("SMEMBERS", Likeness::AnyOrder, "order of a hash table depends on the seed of the process"),
    ("SUNION", Likeness::AnyOrder, "order of a hash table depends on the seed of the process"),
    ("SINTER", Likeness::AnyOrder, "order of a hash table depends on the seed of the process"),
    ("SDIFF", Likeness::AnyOrder, "order of a hash table depends on the seed of the process"),
    ("SPOP", Likeness::AnyOrder, "order of a hash table depends on the seed of the process"),
    ("SRANDMEMBER", Likeness::AnyOrder, "order of a hash table depends on the seed of the process"),
    ("SSCAN", Likeness::AnyOrderInPage, "order of a hash table depends on the seed of the process"),
    ("ACL CAT", Likeness::AnyOrder, "the server keeps its commands in a hash table"),
    ("TIME", Likeness::Shape, "the clock goes on between the two servers"),
    ("LASTSAVE", Likeness::Shape, "the servers started at different times"),
    ("LOLWUT", Likeness::Shape, "a picture drawn at random"),
    ("ACL GENPASS", Likeness::Shape, "a password drawn at random"),
    ("TTL", Likeness::Near(2), "the clock goes on between the two servers"),
    ("EXPIRETIME", Likeness::Near(2), "a relative expiry was set at two different moments"),
    ("PTTL", Likeness::Near(2000), "the clock goes on between the two servers"),
    ("PEXPIRETIME", Likeness::Near(2000), "a relative expiry was set at two different moments"),
    ("OBJECT IDLETIME", Likeness::Near(60), "the clock goes on between the two servers"),
    ("MEMORY USAGE", Likeness::Near(512), "the stored key is longer by the prefix; members are sampled"),
    ("XPENDING", Likeness::IdleTime, "entries were delivered at two different moments"),
    ("XINFO CONSUMERS", Likeness::IdleTime, "consumers were seen at two different moments"),
    ("XINFO STREAM", Likeness::Clock, "FULL tells when entries were delivered and consumers seen"),
];

/// How replies of a command are compared.
pub(super) fn likeness_of(command: &str) -> Likeness {
    MASKS.iter().find(|(name, ..)| *name == command).map_or(Likeness::Exact, |(_, likeness, _)| *likeness)
}

/// Whether two replies count as the same.
pub(super) fn are_alike(likeness: Likeness, left: &[u8], right: &[u8]) -> bool {
    if left == right {
        return true;
    }
    let (left, right) = (Tree::of(left), Tree::of(right));
    match likeness {
        Likeness::Exact => false,
        Likeness::AnyOrder => in_order(left) == in_order(right),
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
